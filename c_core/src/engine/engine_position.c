/*
 * Positions that change without a fill: by the venue's hand, or by a fill whose report was lost.
 *
 *   by hand        told with a reason that is no fill: the worse of both positions is charged in
 *                  the same duty cycle, and a reconcile is wanted. It books what fills it knows;
 *                  the rest is the change, and the books follow it.
 *
 *   after a fill   the position may be told before or after the fill's report: only when none came
 *                  within FILL_GRACE_NS it is charged, and the fill is looked for.
 */
#include "engine_private.h"

#define FILL_GRACE_NS 2000000000

static void charge_told(struct engine *engine, struct engine_market *market, int64_t lots)
{
    bool told = lots != market->pnl.position_lots;
    if (told == market->exposure.told && lots == market->exposure.told_lots)
        return;
    market->exposure.told = told;
    market->exposure.told_lots = lots;
    engine_market_changed(engine, market);
    if (!told)
        return;
    engine->sweep_now = true;
    engine_say(engine, EVENT_WARNING, market->instrument->venue, REJECT_NOT_RECONCILED, 0,
               "position_changed",
               "%.32s: the venue tells of %lld lots, our books hold %lld and no fill explains it; "
               "the worse of both is charged",
               market->instrument->symbol, (long long)lots, (long long)market->pnl.position_lots);
}

void engine_on_position_changed(void *context, struct venue *venue,
                                const struct instrument *instrument, struct quantity position,
                                int64_t entry_e9, bool after_fill)
{
    struct engine *engine = context;
    struct engine_venue *ev = engine_venue_of(engine, venue);
    struct engine_market *market = engine_market_of(engine, venue, instrument);
    if (!market || market->delegated || ev->reconcile.adopt)
        return;
    market->told_lots = position.lots;
    market->told_entry_e9 = entry_e9;
    if (position.lots == market->pnl.position_lots) {
        market->told_due_ns = 0;
        if (entry_e9 > 0)
            market->entry_e9 = entry_e9;
        return;
    }
    if (after_fill && !market->exposure.told) {
        if (market->told_due_ns == 0)
            market->told_due_ns = engine->now_ns + FILL_GRACE_NS;
        return;
    }
    market->told_by_hand = market->told_by_hand || !after_fill;
    market->told_due_ns = 0;
    charge_told(engine, market, position.lots);
    engine_want_reconcile(engine, ev);
}

void engine_position_differs(struct engine *engine, struct engine_market *market, int64_t lots)
{
    charge_told(engine, market, lots);
}

/* What lots that the venue added cost each, by the average entry before and after. */
static struct price price_of_change(const struct engine_market *market, int64_t lots)
{
    int64_t tick_e9 = market->instrument->tick_e9, held = market->pnl.position_lots;
    purser_int128 price_e9 = market->told_entry_e9;
    bool grown = held != 0 && lots != held && (held > 0) == (lots > held);
    if (grown && market->entry_e9 > 0)
        price_e9 =
            ((purser_int128)lots * market->told_entry_e9 - (purser_int128)held * market->entry_e9) /
            (lots - held);
    int64_t ticks = (int64_t)((price_e9 + tick_e9 / 2) / tick_e9);
    return (struct price){ticks > 0 ? ticks : market->pnl.mark.ticks};
}

/* At what price lots that the venue took away had been entered; the mark when it never said. */
static struct price entry_of_held(const struct engine_market *market)
{
    int64_t tick_e9 = market->instrument->tick_e9;
    if (market->entry_e9 <= 0)
        return market->pnl.mark;
    return (struct price){(market->entry_e9 + tick_e9 / 2) / tick_e9};
}

bool engine_settle_position(struct engine *engine, struct engine_market *market, int64_t lots)
{
    if (!market->told_by_hand || market->told_lots != lots)
        return false;
    int64_t held = market->pnl.position_lots;
    pnl_adjust(&market->pnl, lots, entry_of_held(market), price_of_change(market, lots));
    engine_attribute_fill(market->strategy_lots, STRATEGY_NONE, lots - held, lots);
    market->told_by_hand = false;
    market->exposure.told = false;
    engine_market_changed(engine, market);
    engine_journal_control(engine, JOURNAL_CONTROL_ADOPTED, market, market->instrument->venue,
                           lots);
    engine_journal_marks(engine);
    engine_tell_position(engine, market);
    engine_tell_hedge_position(engine, market);
    engine_say(engine, EVENT_WARNING, market->instrument->venue, 0, 0, "position_adjusted",
               "%.32s: the venue changed %lld lots to %lld without a fill; the books follow",
               market->instrument->symbol, (long long)held, (long long)lots);
    return true;
}

void engine_position_agrees(struct engine *engine, struct engine_market *market, int64_t entry_e9)
{
    market->told_by_hand = false;
    market->told_due_ns = 0;
    if (market->told_lots == market->pnl.position_lots && market->told_entry_e9 > 0)
        entry_e9 = market->told_entry_e9; /* the stream's has more digits */
    market->entry_e9 = entry_e9;
    if (market->exposure.told) {
        market->exposure.told = false;
        engine_market_changed(engine, market);
    }
}

/* After a fill's grace: a position that no report explains is a fill that was missed. */
static void watch_position(struct engine *engine, struct engine_market *market)
{
    struct engine_venue *ev = &engine->venues[market->venue_index];
    if (market->exposure.told && market->exposure.told_lots == market->pnl.position_lots)
        engine_position_agrees(engine, market, market->entry_e9);
    if (market->told_due_ns == 0)
        return;
    if (market->told_lots == market->pnl.position_lots) {
        market->told_due_ns = 0;
        market->entry_e9 = market->told_entry_e9;
    } else if (engine->now_ns >= market->told_due_ns) {
        market->told_due_ns = 0;
        charge_told(engine, market, market->told_lots);
        engine_want_reconcile(engine, ev);
    }
}

void engine_watch_positions(struct engine *engine)
{
    for (int n = 0; n < engine->market_count; n++)
        if (!ENGINE_MARKET(engine, n)->delegated)
            watch_position(engine, ENGINE_MARKET(engine, n));
}
