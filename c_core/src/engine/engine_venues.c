/* Sessions, instruments, books and reconcile: what connectors tell the engine. */
#include "engine_private.h"

#include <string.h>

#include "../book/order_book.h"

#define PERIODIC_RECONCILE_NS 60000000000
#define INCONCLUSIVE_MOST     20

struct engine_venue *engine_venue_of(struct engine *engine, const struct venue *venue)
{
    for (int n = 0; n < engine->venue_count; n++)
        if (engine->venues[n].venue == venue)
            return &engine->venues[n];
    CHECK(!"a venue that was added");
    return NULL;
}

static struct engine_market *market_at(struct engine *engine, const struct engine_venue *ev,
                                       uint16_t instrument_index)
{
    if (instrument_index >= ENGINE_VENUE_INSTRUMENTS || ev->by_index[instrument_index] == 0)
        return NULL;
    return ENGINE_MARKET(engine, ev->by_index[instrument_index] - 1);
}

struct engine_market *engine_market_of(struct engine *engine, const struct venue *venue,
                                       const struct instrument *instrument)
{
    return market_at(engine, engine_venue_of(engine, venue), instrument->index);
}

static void tell_strategies(struct engine *engine, const struct engine_market *market)
{
    for (int n = 0; n < engine->strategy_count; n++)
        if (engine->strategies[n]->operations->on_book)
            engine->strategies[n]->operations->on_book(engine->strategies[n], market,
                                                       engine->now_ns);
}

/* ---- sessions ------------------------------------------------------------------------------- */

/* The session is down: whatever was on its way is UNKNOWN, and fills cannot be seen. */
static void session_lost(struct engine *engine, struct engine_venue *ev)
{
    ev->reconciled = false;
    ev->reconcile.phase = RECONCILE_IDLE;
    struct oms_entry *entry;
    for (int cursor = 0; (entry = oms_next(&engine->oms, &cursor)) != NULL;) {
        bool waiting =
            entry->order.state == ORDER_PENDING_NEW || entry->order.state == ORDER_PENDING_CANCEL;
        if (entry->venue == ev->venue && waiting &&
            oms_make_unknown(&engine->oms, entry, engine->now_ns))
            engine_reserved_unknown(engine, entry);
    }
    for (int n = 0; n < engine->market_count; n++) {
        struct engine_market *market = ENGINE_MARKET(engine, n);
        if (market->venue != ev->venue || !market->top.synced)
            continue;
        market->top.synced = false;
        tell_strategies(engine, market);
    }
}

static const char *session_words(int session_state)
{
    static const char *const words[] = {"down", "connecting", "synchronising", "ready", "draining"};
    return session_state >= 0 && session_state <= SESSION_DRAINING ? words[session_state] : "?";
}

static void on_session(void *context, struct venue *venue, int session_state, const char *text)
{
    struct engine *engine = context;
    struct engine_venue *ev = engine_venue_of(engine, venue);
    int before = ev->session;
    ev->session = session_state;
    engine->sweep_now = true;
    if (before == session_state)
        return;
    bool up = session_state >= SESSION_SYNCING;
    engine_say(engine, up ? EVENT_INFO : EVENT_WARNING, venue->id, 0, 0, "session_changed", "%s",
               text && text[0] ? text : session_words(session_state));
    if (session_state < SESSION_SYNCING) {
        session_lost(engine, ev);
        return;
    }
    bool fresh = before < SESSION_SYNCING || session_state == SESSION_SYNCING;
    if (!ev->delegated && session_state != SESSION_DRAINING &&
        (fresh || ev->reconcile.phase == RECONCILE_IDLE))
        reconcile_want(&ev->reconcile, engine->now_ns);
}

static void on_dead_man(void *context, struct venue *venue, int64_t armed_ns, int64_t expires_ns)
{
    (void)context;
    venue->dead_man_armed_ns = armed_ns;
    venue->dead_man_expires_ns = expires_ns;
}

static void on_event(void *context, struct venue *venue, int level, const char *name,
                     const char *text)
{
    struct engine *engine = context;
    engine_say(engine, level, venue->id, 0, 0, name, "%s", text);
    if (level == EVENT_ERROR && strcmp(name, "auth_refused") == 0)
        engine_halt(engine, HALT_VENUE, "the venue refused our credentials");
}

/* ---- instruments and books --------------------------------------------------------------------
 */

static void on_instrument(void *context, struct venue *venue, const struct instrument *instrument)
{
    struct engine *engine = context;
    struct engine_venue *ev = engine_venue_of(engine, venue);
    if (instrument->index >= ENGINE_VENUE_INSTRUMENTS)
        return;
    struct engine_market *known = market_at(engine, ev, instrument->index);
    if (known) {
        risk_limits_resolve(&known->limits, &engine->config.risk, instrument);
        return;
    }
    if (engine->market_count == ENGINE_MARKETS) {
        engine_say(engine, EVENT_ERROR, venue->id, 0, 0, "instrument_refused",
                   "%.32s: too many instruments; configure fewer", instrument->symbol);
        return;
    }
    struct engine_market *market = ENGINE_MARKET(engine, engine->market_count);
    memset(market, 0, sizeof *market);
    market->venue = venue;
    market->instrument = instrument;
    market->index = (uint16_t)engine->market_count;
    market->venue_index = (uint16_t)(ev - engine->venues);
    market->delegated = ev->delegated;
    if (!pnl_init(&market->pnl, instrument, engine->day) ||
        !exposure_init(&market->exposure, instrument)) {
        engine_say(engine, EVENT_ERROR, venue->id, 0, 0, "instrument_refused",
                   "%.32s: a tick times a lot is not a whole number of micro-dollars",
                   instrument->symbol);
        return;
    }
    risk_limits_resolve(&market->limits, &engine->config.risk, instrument);
    engine->market_count++;
    ev->by_index[instrument->index] = (uint16_t)(market->index + 1);
    engine_claim_restored(engine, market);
    engine_market_changed(engine, market);
}

static void copy_top(struct engine_market *market, const struct top_of_book *top,
                     int64_t received_ns)
{
    market->top = (struct risk_market){
        .bid = top->bid,
        .ask = top->ask,
        .bid_quantity = top->bid_quantity,
        .ask_quantity = top->ask_quantity,
        .synced = top->bid_quantity.lots > 0 && top->ask_quantity.lots > 0 && top->bid.ticks > 0 &&
                  top->ask.ticks > top->bid.ticks,
        .received_ns = received_ns,
    };
}

static void on_book(void *context, struct venue *venue, uint16_t instrument_index,
                    int64_t received_ns)
{
    struct engine *engine = context;
    struct engine_market *market =
        market_at(engine, engine_venue_of(engine, venue), instrument_index);
    const struct order_book *book = market ? venue->book(venue, instrument_index) : NULL;
    if (!book)
        return;
    engine->content.counters[COUNTER_BOOK_UPDATES]++;
    struct top_of_book top = order_book_top(book);
    copy_top(market, &top, received_ns);
    if (market->top.synced) {
        int64_t mark = (top.bid.ticks + top.ask.ticks) / 2;
        if (mark != market->pnl.mark.ticks) {
            market->pnl.mark.ticks = mark;
            engine_market_changed(engine, market);
        }
    } else {
        engine->sweep_now = true;
    }
    engine->tick_received_ns = received_ns;
    tell_strategies(engine, market);
    engine->tick_received_ns = 0;
    engine_tell_top(engine, market);
}

static void on_trade(void *context, struct venue *venue, uint16_t instrument_index,
                     struct price price, struct quantity quantity, int aggressor_side,
                     int64_t received_ns)
{
    struct engine *engine = context;
    (void)venue;
    (void)instrument_index;
    (void)price;
    (void)quantity;
    (void)aggressor_side;
    (void)received_ns;
    engine->content.counters[COUNTER_TRADES]++;
}

/* ---- reconcile ------------------------------------------------------------------------------- */

static void on_position(void *context, struct venue *venue, const struct instrument *instrument,
                        struct quantity position, struct price entry)
{
    struct engine *engine = context;
    struct engine_market *market = engine_market_of(engine, venue, instrument);
    if (market)
        reconcile_position_told(&engine_venue_of(engine, venue)->reconcile, market->index,
                                position.lots, entry.ticks);
}

static void on_opening(void *context, struct venue *venue, const struct instrument *instrument,
                       int64_t mark_e9)
{
    struct engine *engine = context;
    struct engine_market *market = engine_market_of(engine, venue, instrument);
    if (market)
        engine_history_opening(engine, market, mark_e9);
}

/* The first position that differs. One that the venue had told to have changed by hand is settled:
 * the fills that it knows are booked by now, so the rest is the change. */
static struct engine_market *find_mismatch(struct engine *engine, const struct engine_venue *ev)
{
    struct engine_market *found = NULL;
    for (int n = 0; n < engine->market_count; n++) {
        struct engine_market *market = ENGINE_MARKET(engine, n);
        const struct reconcile_position *told = &ev->reconcile.positions[n];
        if (market->venue != ev->venue)
            continue;
        bool quiet = ev->fills == ev->fills_when_asked;
        if (market->pnl.position_lots == told->lots ||
            (quiet && engine_settle_position(engine, market, told->lots)))
            engine_position_agrees(engine, market, told->entry_ticks * market->instrument->tick_e9);
        else if (!found)
            found = market;
    }
    return found;
}

/* A fill that lands between the venue's two answers looks like a difference: then ask again. */
static void handle_mismatch(struct engine *engine, struct engine_venue *ev,
                            struct engine_market *market)
{
    if (ev->fills != ev->fills_when_asked && ev->inconclusive < INCONCLUSIVE_MOST) {
        ev->inconclusive++;
        reconcile_want(&ev->reconcile, engine->now_ns);
        ev->reconcile.next_ns = engine->now_ns + RECONCILE_RETRY_NS;
        return;
    }
    engine->content.counters[COUNTER_POSITION_MISMATCHES]++;
    engine_position_differs(engine, market, ev->reconcile.positions[market->index].lots);
    ev->reconciled = false;
    bool last = ev->reconcile.mismatches + 1 >= RECONCILE_MISMATCHES;
    engine_say(engine, last ? EVENT_ERROR : EVENT_WARNING, ev->venue->id, REJECT_NOT_RECONCILED, 0,
               "position_mismatch", "%.32s: our books say %lld lots, the venue %lld; asking again",
               market->instrument->symbol, (long long)market->pnl.position_lots,
               (long long)ev->reconcile.positions[market->index].lots);
    engine_journal_control(engine, JOURNAL_CONTROL_MISMATCH, market, ev->venue->id,
                           ev->reconcile.positions[market->index].lots);
    bool persists = reconcile_mismatch(&ev->reconcile, engine->now_ns);
    if (persists && ev->reconcile.mismatches == RECONCILE_MISMATCHES)
        engine_halt(engine, HALT_VENUE, "our position and the venue's differ and stay so");
}

static void on_reconciled(void *context, struct venue *venue)
{
    struct engine *engine = context;
    struct engine_venue *ev = engine_venue_of(engine, venue);
    if (ev->reconcile.phase != RECONCILE_ASKED)
        return;
    engine_strangers_answered(engine, ev);
    if (ev->reconcile.adopt && !engine_history_settled(engine, ev)) {
        engine_history_again(engine, ev);
        return;
    }
    if (ev->reconcile.adopt)
        engine_history_rebuild(engine, ev);
    if (ev->reconcile.adopt)
        return;
    engine_judge_cash(engine, ev);
    struct engine_market *mismatch = find_mismatch(engine, ev);
    if (mismatch) {
        handle_mismatch(engine, ev, mismatch);
        return;
    }
    ev->reconcile.mismatches = 0;
    ev->inconclusive = 0;
    int unknown = engine->oms.unknown;
    reconcile_answered(&ev->reconcile, engine->now_ns, &engine->oms, venue);
    if (engine->oms.unknown != unknown) {
        struct oms_entry *entry;
        for (int cursor = 0; (entry = oms_next(&engine->oms, &cursor)) != NULL;)
            if (entry->order.state == ORDER_UNKNOWN && entry->order.ledger_slot != OMS_SLOT_NONE)
                ledger_unknown(engine->ledger, entry->order.ledger_slot);
    }
    engine->sweep_now = true;
}

static int reconcile_one(struct engine *engine, struct engine_venue *ev)
{
    struct reconcile *reconcile = &ev->reconcile;
    bool cash = ev->next_cash_ns != 0 && engine->now_ns >= ev->next_cash_ns;
    if (reconcile->phase == RECONCILE_DONE && (cash || engine->now_ns >= ev->next_reconcile_ns))
        reconcile_want(reconcile, engine->now_ns);
    if (reconcile_due(reconcile, engine->now_ns)) {
        ev->fills_when_asked = ev->fills;
        ev->venue->history_from_ms =
            reconcile->adopt ? engine_history_from_ms(engine, ev->venue) : 0;
        ev->next_cash_ns = 0;
        engine_cash_asked(engine, ev);
        int result = ev->venue->operations->reconcile(ev->venue, reconcile->since, engine->now_ns);
        engine_strangers_asked(engine, ev);
        reconcile_asked(reconcile, result == STATUS_OK, engine->now_ns, &engine->oms, ev->venue);
        engine->content.counters[COUNTER_RECONCILES] += result == STATUS_OK;
        return 1;
    }
    if (reconcile->phase != RECONCILE_SETTLING ||
        (!ev->reconciled && !reconcile_settled(reconcile, &engine->oms, ev->venue)))
        return 0;
    reconcile->phase = RECONCILE_DONE;
    ev->next_reconcile_ns = engine->now_ns + PERIODIC_RECONCILE_NS;
    if (!ev->reconciled) {
        ev->reconciled = true;
        engine_journal_control(engine, JOURNAL_CONTROL_RECONCILED, NULL, ev->venue->id, 0);
        engine_say(engine, EVENT_INFO, ev->venue->id, 0, 0, "venue_reconciled",
                   "open orders, fills and positions agree");
    }
    return 1;
}

int engine_reconcile_work(struct engine *engine)
{
    int work = 0;
    for (int n = 0; n < engine->venue_count; n++) {
        struct engine_venue *ev = &engine->venues[n];
        if (!ev->delegated && ev->session >= SESSION_SYNCING)
            work += reconcile_one(engine, ev);
    }
    return work;
}

void engine_listen(struct engine *engine, struct venue *venue)
{
    engine->events = (struct venue_events){
        .context = engine,
        .on_session = on_session,
        .on_instrument = on_instrument,
        .on_book = on_book,
        .on_trade = on_trade,
        .on_execution = engine_on_execution,
        .on_open_order = engine_on_open_order,
        .on_position = on_position,
        .on_opening = on_opening,
        .on_reconciled = on_reconciled,
        .on_cash = engine_on_cash,
        .on_wallet = engine_on_wallet,
        .on_cash_read = engine_on_cash_read,
        .on_position_changed = engine_on_position_changed,
        .on_dead_man = on_dead_man,
        .on_event = on_event,
    };
    venue->events = &engine->events;
}
