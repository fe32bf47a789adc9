/*
 * The day without a journal: what today's fills at the venue make of it.
 *
 *   fills of the day, as the venue lists them     f1 f2 … fn
 *   what was held when it began                   position now - (f1 + … + fn)
 *   what that had cost                            the venue's mark at 00:00 UTC; without one, the
 *                                                 known price that makes the loss larger
 *
 * The fills and the positions come in several answers, and fills may come in between. So the venue
 * is asked again until one whole pass brings no new fill and the same positions (or the first finds
 * neither fill nor position); only then are the books made, all at once, and written down.
 */
#include "engine_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define E18_PER_MICRO 1000000000000
#define PAUSE_NS      100000000
#define RECENT_FILLS  1000
#define NS_PER_DAY    86400000000000
#define NS_PER_MS     1000000
#define WHAT_FOLLOWS  "the day's result is made of the venue's own records before anything is sent"

void engine_journal_missing(struct engine *engine, const char *why)
{
    if (engine->history.told)
        return;
    engine->history.told = true;
    engine->content.counters[COUNTER_JOURNAL_MISSING] = 1;
    engine_say(engine, EVENT_ERROR, VENUE_NONE, REJECT_JOURNAL, 0, "journal_missing", "%.90s; %s",
               why, WHAT_FOLLOWS);
}

int64_t engine_day_start_ms(const struct engine *engine)
{
    return engine->day * (NS_PER_DAY / NS_PER_MS);
}

/* The day that the venue's fills are asked of: the books', or the venue's own when the ledger is
 * ahead of it, as after a clock that was. Such fills count in the books' day. */
static int64_t history_day(const struct engine *engine, const struct venue *venue)
{
    int64_t today = pnl_day_number(engine_wall_ns(engine) + venue->clock_offset_ns);
    return today < engine->day ? today : engine->day;
}

int64_t engine_history_from_ms(const struct engine *engine, const struct venue *venue)
{
    return history_day(engine, venue) * (NS_PER_DAY / NS_PER_MS);
}

/* ---- collecting ----------------------------------------------------------------------------- */

static bool is_before(const struct history_fill *fill, uint16_t market, int64_t execution)
{
    return fill->market < market || (fill->market == market && fill->execution < execution);
}

/* Where a fill belongs: by market, then by the venue's numbers. */
static int place_of(const struct history *history, uint16_t market, int64_t execution)
{
    int low = 0, high = history->count;
    while (low < high) {
        int middle = (low + high) / 2;
        if (is_before(&history->fills[middle], market, execution))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void engine_history_fill(struct engine *engine, const struct engine_market *market,
                         const struct execution_report *report)
{
    struct history *history = &engine->history;
    int64_t wall_ns = report->wall_ns ? report->wall_ns : engine_wall_ns(engine);
    if (market->delegated || pnl_day_number(wall_ns) < history_day(engine, market->venue))
        return;
    int64_t execution = strtoll(report->execution_id, NULL, 10);
    int at = place_of(history, market->index, execution);
    if (at < history->count && history->fills[at].market == market->index &&
        history->fills[at].execution == execution)
        return;
    if (history->count == HISTORY_FILLS) {
        history->overflow = true;
        return;
    }
    memmove(&history->fills[at + 1], &history->fills[at],
            (size_t)(history->count - at) * sizeof history->fills[0]);
    int64_t lots = report->last_quantity.lots;
    history->fills[at] = (struct history_fill){
        .execution = execution,
        .lots = report->side == SIDE_BUY ? lots : -lots,
        .price = report->last_price,
        .fee_e8 = report->fee_e8,
        .market = market->index,
    };
    history->count++;
}

void engine_history_opening(struct engine *engine, const struct engine_market *market,
                            int64_t mark_e9)
{
    engine->history.markets[market->index].opening_e9 = mark_e9;
}

bool engine_history_settled(struct engine *engine, const struct engine_venue *ev)
{
    struct history *history = &engine->history;
    bool settled = history->passes > 0 && history->count == history->count_before;
    bool nothing = history->count == 0;
    for (int n = 0; n < engine->market_count; n++) {
        if (ENGINE_MARKET(engine, n)->venue != ev->venue)
            continue;
        int64_t lots = ev->reconcile.positions[n].lots;
        settled = settled && lots == history->markets[n].lots_before;
        nothing = nothing && lots == 0;
        history->markets[n].lots_before = lots;
    }
    history->count_before = history->count;
    history->passes++;
    return settled || nothing;
}

/* ---- the books ------------------------------------------------------------------------------ */

static int64_t larger_loss(int64_t lots, int64_t a, int64_t b)
{
    if (a <= 0 || b <= 0)
        return a > 0 ? a : b;
    return (lots > 0) == (a > b) ? a : b;
}

/* What a position carried over midnight is taken to have been worth a unit. */
static int64_t opening_price_e9(struct engine *engine, const struct engine_market *market,
                                int64_t lots, int64_t entry_ticks, int64_t first_e9)
{
    int64_t told = engine->history.markets[market->index].opening_e9;
    if (told > 0)
        return told;
    int64_t mark_e9 = instrument_price_e9(market->instrument, market->pnl.mark);
    int64_t price = larger_loss(
        lots, instrument_price_e9(market->instrument, (struct price){entry_ticks}), first_e9);
    price = larger_loss(lots, price, mark_e9);
    engine_say(engine, EVENT_WARNING, market->instrument->venue, 0, 0, "opening_mark_unknown",
               "%.32s: the venue has no mark of 00:00 UTC; its entry price, the day's first fill "
               "or the present mark counts, whichever makes the loss larger",
               market->instrument->symbol);
    return price;
}

static int64_t carried_lots(const struct history *history, uint16_t market, int64_t lots_now,
                            int64_t *first_ticks)
{
    *first_ticks = 0;
    for (int n = 0; n < history->count; n++) {
        if (history->fills[n].market != market)
            continue;
        if (*first_ticks == 0)
            *first_ticks = history->fills[n].price.ticks;
        lots_now -= history->fills[n].lots;
    }
    return lots_now;
}

static void rebuild_market(struct engine *engine, struct engine_market *market,
                           const struct reconcile_position *told)
{
    struct history *history = &engine->history;
    const struct instrument *i = market->instrument;
    struct price mark = market->pnl.mark;
    int64_t first_ticks, cost = 0;
    int64_t lots = carried_lots(history, market->index, told->lots, &first_ticks);
    if (lots != 0) {
        int64_t price_e9 = opening_price_e9(engine, market, lots, told->entry_ticks,
                                            instrument_price_e9(i, (struct price){first_ticks}));
        cost = muldiv_down(lots * i->lot_e9, price_e9, E18_PER_MICRO);
    }
    CHECK(pnl_init(&market->pnl, i, engine->day));
    market->pnl.mark = mark;
    pnl_adopt(&market->pnl, lots, cost);
    for (int n = 0; n < history->count; n++) {
        const struct history_fill *fill = &history->fills[n];
        if (fill->market != market->index)
            continue;
        pnl_fill(&market->pnl, fill->lots > 0 ? SIDE_BUY : SIDE_SELL, fill->price,
                 (struct quantity){fill->lots > 0 ? fill->lots : -fill->lots}, fill->fee_e8);
    }
    CHECK(market->pnl.position_lots == told->lots);
    memset(market->strategy_lots, 0, sizeof market->strategy_lots);
    market->strategy_lots[STRATEGY_NONE] = told->lots;
    engine_market_changed(engine, market);
}

/* Of each market's fills the newest are written down: as many as a venue tells of when it is asked
 * without a beginning. */
static bool is_recent(const struct history *history, int n)
{
    return n + RECENT_FILLS >= history->count ||
           history->fills[n + RECENT_FILLS].market != history->fills[n].market;
}

/* The fills are known from now on: whoever tells of them again is not believed twice. */
static void write_down(struct engine *engine, struct engine_venue *ev)
{
    engine_journal_marks(engine);
    for (int n = 0; n < engine->history.count; n++) {
        const struct history_fill *fill = &engine->history.fills[n];
        const struct engine_market *market = ENGINE_MARKET(engine, fill->market);
        struct execution_report report = {0};
        if (market->venue != ev->venue)
            continue;
        snprintf(report.execution_id, sizeof report.execution_id, "%lld",
                 (long long)fill->execution);
        reconcile_execution(&ev->reconcile, report.execution_id);
        oms_execution_seen(&engine->oms, ev->venue->id, market->instrument->symbol,
                           report.execution_id, false);
        if (!is_recent(&engine->history, n))
            continue;
        journal_prepare(engine->journal);
        engine_journal_adopted(engine, market, &report);
    }
    engine_journal_marks(engine);
}

static void tell_position(struct engine *engine, const struct engine_venue *ev,
                          const struct engine_market *market)
{
    if (market->pnl.position_lots == 0)
        return;
    engine_say(engine, EVENT_WARNING, ev->venue->id, 0, 0, "position_adopted",
               "the journal is empty: took over %lld lots of %.32s",
               (long long)market->pnl.position_lots, market->instrument->symbol);
}

void engine_history_rebuild(struct engine *engine, struct engine_venue *ev)
{
    struct history *history = &engine->history;
    if (history->overflow) {
        engine_halt(engine, HALT_JOURNAL, "today has more fills than a lost day can be made of");
        return;
    }
    if (history->count > 0)
        engine_journal_missing(engine, "the venue has fills of today, and there is no journal");
    for (int n = 0; n < engine->market_count; n++) {
        struct engine_market *market = ENGINE_MARKET(engine, n);
        if (market->venue != ev->venue)
            continue;
        rebuild_market(engine, market, &ev->reconcile.positions[n]);
        engine_journal_control(engine, JOURNAL_CONTROL_ADOPTED, market, ev->venue->id,
                               market->pnl.position_lots);
        tell_position(engine, ev, market);
    }
    ev->reconcile.adopt = false;
    ev->venue->history_from_ms = 0;
    write_down(engine, ev);
    if (engine->history.told)
        engine_say(engine, EVENT_WARNING, ev->venue->id, 0, 0, "day_rebuilt",
                   "%d fills of the venue make today's result %lld micro-dollars", history->count,
                   (long long)engine->day_micros);
    history->count = history->passes = 0;
}

void engine_history_restart(struct engine *engine)
{
    struct history *history = &engine->history;
    history->count = history->count_before = history->passes = 0;
    history->overflow = false;
}

void engine_history_again(struct engine *engine, struct engine_venue *ev)
{
    reconcile_want(&ev->reconcile, engine->now_ns);
    ev->reconcile.next_ns = engine->now_ns + PAUSE_NS;
}
