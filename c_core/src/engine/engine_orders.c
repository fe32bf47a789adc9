/* An order's way out: checks, reservation, journal, gate, venue. And cancels. */
#include "engine_private.h"

#include <string.h>

#include "../base/clock.h"

#define SWEEP_INTERVAL_NS   5000000
#define CANCEL_RETRY_NS     1000000000
#define CANCEL_BUSY_NS      50000000
#define REFUSAL_INTERVAL_NS 1000000000
#define ACK_TIMEOUT_NS      1000000000

static int64_t clock_of(const struct engine *engine)
{
    return engine->config.clock_ns ? engine->config.clock_ns() : clock_now_ns();
}

/* Counted always, told at most once a second per reason: a strategy may ask again each tick. */
static int refuse(struct engine *engine, const struct order *order, int reason)
{
    engine->content.refusals[reason]++;
    if (engine->now_ns >= engine->next_refusal_ns[reason]) {
        engine->next_refusal_ns[reason] = engine->now_ns + REFUSAL_INTERVAL_NS;
        engine_say(engine, EVENT_WARNING, order->instrument ? order->instrument->venue : 0,
                   (uint16_t)reason, 0, "order_refused", "%s", reject_reason_text(reason));
    }
    return reason;
}

static void fill_view(struct engine *engine, const struct engine_market *market,
                      struct risk_view *view)
{
    struct engine_venue *ev = &engine->venues[market->venue_index];
    enum journal_room room = journal_room_now(engine->journal);
    *view = (struct risk_view){
        .now_ns = engine->now_ns,
        .mode = engine->config.mode,
        .venue = market->venue,
        .limits = &market->limits,
        .market = &market->top,
        .exposure = &market->exposure,
        .throttle = &ev->throttle,
        .runaway = &engine->runaway,
        .ledger = engine->ledger,
        .day_micros = engine_charged_day_micros(engine),
        .reconciled = ev->reconciled && engine->rebuilt,
        .cash_doubt = engine_cash_doubted(engine),
        .journal_ready = room == JOURNAL_ROOM_FREE,
        .journal_reserve = room != JOURNAL_ROOM_NONE,
        .delegated = market->delegated,
    };
    for (int d = 0; d < 2; d++)
        view->others_micros[d] = engine->used_micros[d] - market->exposure.used_micros[d];
}

static void charge(struct engine *engine, struct engine_market *market, const struct order *order)
{
    struct exposure_order open = {
        .client_order_id = order->client_order_id,
        .price = order->price,
        .remaining = order->quantity,
        .side = order->side,
        .strategy = order->strategy,
    };
    CHECK(exposure_add(&market->exposure, &open));
    engine_market_changed(engine, market);
}

/* Nothing left: every trace of the intent is taken back, and the journal says so. */
static void take_back(struct engine *engine, struct engine_market *market, struct oms_entry *entry,
                      int reason, bool slot_held)
{
    struct execution_report report = {
        .client_order_id = entry->order.client_order_id,
        .instrument = entry->order.instrument,
        .execution_type = EXEC_REJECTED,
        .order_state = ORDER_REJECTED,
        .side = entry->order.side,
        .reject_reason = (uint16_t)reason,
        .price = entry->order.price,
        .quantity = entry->order.quantity,
    };
    struct order ended = entry->order;
    ended.state = ORDER_REJECTED;
    engine_journal_report(engine, market, &ended, &report);
    exposure_remove(&market->exposure, entry->order.client_order_id);
    engine_market_changed(engine, market);
    if (slot_held && entry->order.ledger_slot != OMS_SLOT_NONE)
        ledger_release(engine->ledger, entry->order.ledger_slot, engine->used_micros,
                       engine->positions_micros, engine->now_ns);
    oms_drop(&engine->oms, entry);
}

/* From here the reservation is made: table, journal, gate, bytes. */
static int send(struct engine *engine, struct engine_market *market, struct risk_view *view,
                const struct risk_reservation *reservation, struct order *order)
{
    order->ledger_slot = market->delegated ? OMS_SLOT_NONE : reservation->slot;
    order->sent_ns = engine->now_ns;
    order->sent_wall_ms = engine_wall_ns(engine) / 1000000;
    struct oms_entry *entry = oms_add(&engine->oms, order, market->venue, market->index);
    if (!entry) {
        if (!market->delegated)
            ledger_release(engine->ledger, reservation->slot, engine->used_micros,
                           engine->positions_micros, engine->now_ns);
        return REJECT_OPEN_ORDERS;
    }
    entry->reducing = reservation->reducing;
    entry->received_ns = engine->tick_received_ns;
    charge(engine, market, order);
    engine_journal_order(engine, entry, JOURNAL_INTENT);
    view->now_ns = clock_of(engine); /* the turn may have stood still since it began */
    int reason = risk_gate(view, reservation);
    if (reason != REJECT_NONE) {
        take_back(engine, market, entry, reason, false);
        return reason;
    }
    entry->order.sent_ns = view->now_ns;
    entry->order.lands_until_ns = market->venue->validity_window_ns > 0
                                      ? view->now_ns + market->venue->validity_window_ns
                                      : LANDS_UNTIL_NONE;
    risk_throttle_add(view->throttle, engine->now_ns);
    if (market->venue->operations->submit(market->venue, &entry->order, view->now_ns) < 0) {
        take_back(engine, market, entry, REJECT_SESSION, true);
        return REJECT_SESSION;
    }
    if (engine->tick_received_ns > 0)
        histogram_record(&engine->content.tick_to_order,
                         clock_of(engine) - engine->tick_received_ns);
    engine->content.counters[COUNTER_ORDERS_SENT]++;
    return REJECT_NONE;
}

int engine_place(struct engine *engine, const struct order_request *request,
                 uint64_t *client_order_id)
{
    *client_order_id = 0;
    struct order order = {
        .side = request->side,
        .type = request->type,
        .time_in_force = request->time_in_force,
        .reduce_only = request->reduce_only,
        .strategy = request->strategy,
        .state = ORDER_PENDING_NEW,
        .price = request->price,
        .quantity = request->quantity,
        .created_ns = engine->now_ns,
    };
    if (request->market >= engine->market_count)
        return refuse(engine, &order, REJECT_UNKNOWN_INSTRUMENT);
    struct engine_market *market = ENGINE_MARKET(engine, request->market);
    order.instrument = market->instrument;
    if (engine->draining)
        return refuse(engine, &order, REJECT_NOT_ACTIVE);
    if (engine->foreign.other[0] && request->strategy != STRATEGY_NONE)
        return refuse(engine, &order, REJECT_FOREIGN);
    order.client_order_id = (uint64_t)ROLE_ENGINE << 56 |
                            (uint64_t)(engine->generation & 0xFFFFFF) << 32 | engine->next_sequence;
    journal_prepare(engine->journal);
    /* Marks that moved since the last reprice must not make a way out look like new risk. */
    if (engine->dirty && engine->charging &&
        exposure_reduces(&market->exposure, order.side, order.quantity))
        engine_reprice(engine);
    struct risk_view view;
    fill_view(engine, market, &view);
    view.duplicate = oms_find(&engine->oms, order.client_order_id) != NULL;
    struct risk_reservation reservation;
    int reason = risk_check(&view, &order, &reservation);
    if (reason != REJECT_NONE)
        return refuse(engine, &order, reason);
    engine->next_sequence++;
    reason = send(engine, market, &view, &reservation, &order);
    if (reason != REJECT_NONE)
        return refuse(engine, &order, reason);
    *client_order_id = order.client_order_id;
    return REJECT_NONE;
}

/* ---- cancels -------------------------------------------------------------------------------- */

static bool send_cancel(struct engine *engine, struct oms_entry *entry)
{
    struct engine_venue *ev = engine_venue_of(engine, entry->venue);
    entry->order.cancel_requested = 1;
    if (engine->now_ns < entry->next_cancel_ns || ev->session < SESSION_SYNCING)
        return false;
    entry->next_cancel_ns = engine->now_ns + CANCEL_BUSY_NS;
    if (!risk_throttle_allows(&ev->throttle, RISK_MESSAGE_CANCEL, engine->now_ns))
        return false;
    engine_journal_order(engine, entry, JOURNAL_CANCEL);
    if (entry->venue->operations->cancel(entry->venue, &entry->order, engine->now_ns) < 0)
        return false;
    risk_throttle_add(&ev->throttle, engine->now_ns);
    entry->next_cancel_ns = engine->now_ns + CANCEL_RETRY_NS;
    oms_cancel_requested(entry, engine->now_ns);
    engine->content.counters[COUNTER_CANCELS_SENT]++;
    engine->content.counters[COUNTER_ORPHANS_CANCELED] += entry->left_behind;
    return true;
}

bool engine_withdraw(struct engine *engine, uint64_t client_order_id)
{
    struct oms_entry *entry = oms_find(&engine->oms, client_order_id);
    if (!entry || order_state_is_terminal(entry->order.state))
        return false;
    if (entry->order.cancel_requested)
        return true;
    if (send_cancel(engine, entry))
        return true;
    engine->sweep_now = true;
    return false;
}

int engine_cancel(struct engine *engine, uint64_t client_order_id)
{
    if (client_order_id)
        return oms_find(&engine->oms, client_order_id) != NULL &&
               (engine_withdraw(engine, client_order_id) || engine->sweep_now);
    int count = 0;
    struct oms_entry *entry;
    for (int cursor = 0; (entry = oms_next(&engine->oms, &cursor)) != NULL; count++)
        engine_withdraw(engine, entry->order.client_order_id);
    return count;
}

/* ---- the sweep: what open orders need without anything new being told -------------------------
 */

static bool must_cancel(const struct engine *engine, const struct oms_entry *entry)
{
    if (engine->stopping || entry->left_behind || entry->order.cancel_requested)
        return true;
    if (ENGINE_MARKET(engine, entry->market)->delegated)
        return false;
    if (!engine->adding && !entry->reducing)
        return true;
    return entry->order.strategy == STRATEGY_QUOTER &&
           !engine_may_quote(engine, ENGINE_MARKET(engine, entry->market));
}

void engine_reserved_unknown(struct engine *engine, struct oms_entry *entry)
{
    engine->content.counters[COUNTER_UNKNOWN_ORDERS]++;
    if (entry->order.ledger_slot != OMS_SLOT_NONE)
        ledger_unknown(engine->ledger, entry->order.ledger_slot);
    engine_say(engine, EVENT_WARNING, entry->venue->id, 0, entry->order.client_order_id,
               "order_unknown",
               "no clear answer about the order; it stays charged and is asked for");
}

static bool answer_is_late(const struct engine *engine, const struct oms_entry *entry)
{
    int64_t patience = engine->config.risk.ack_timeout_ns > 0 ? engine->config.risk.ack_timeout_ns
                                                              : ACK_TIMEOUT_NS;
    if (entry->order.state == ORDER_PENDING_NEW)
        return engine->now_ns - entry->order.sent_ns > patience;
    return entry->order.state == ORDER_PENDING_CANCEL &&
           engine->now_ns - entry->cancel_sent_ns > patience;
}

static int sweep_one(struct engine *engine, struct oms_entry *entry)
{
    int work = 0;
    if (answer_is_late(engine, entry) && oms_make_unknown(&engine->oms, entry, engine->now_ns)) {
        engine_reserved_unknown(engine, entry);
        work++;
    }
    if (must_cancel(engine, entry))
        work += send_cancel(engine, entry);
    struct engine_venue *ev = engine_venue_of(engine, entry->venue);
    if (ev->session >= SESSION_SYNCING && oms_query_due(entry, engine->now_ns)) {
        entry->venue->operations->query(entry->venue, &entry->order, engine->now_ns);
        engine->content.counters[COUNTER_QUERIES]++;
        work++;
    }
    return work;
}

int engine_sweep(struct engine *engine)
{
    if (engine->oms.open == 0 || (engine->now_ns < engine->next_sweep_ns && !engine->sweep_now))
        return 0;
    engine->sweep_now = false;
    engine->next_sweep_ns = engine->now_ns + SWEEP_INTERVAL_NS;
    int work = 0;
    struct oms_entry *entry;
    for (int cursor = 0; (entry = oms_next(&engine->oms, &cursor)) != NULL;)
        work += sweep_one(engine, entry);
    return work;
}

/* ---- what strategies and the API see -----------------------------------------------------------
 */

bool engine_may_quote(const struct engine *engine, const struct engine_market *market)
{
    const struct engine_venue *ev = &engine->venues[market->venue_index];
    const struct venue *venue = market->venue;
    return engine->adding && !engine->stopping && engine->rebuilt && ev->reconciled &&
           ev->session == SESSION_READY && market->instrument->trading && market->top.synced &&
           engine->now_ns - venue->feed_ns <= market->limits.stale_ns && !engine->runaway.tripped;
}

const struct order *engine_order(struct engine *engine, uint64_t client_order_id)
{
    const struct oms_entry *entry = oms_find(&engine->oms, client_order_id);
    return entry ? &entry->order : NULL;
}

int engine_open_orders(struct engine *engine, struct order *out, int max)
{
    int count = 0, cursor = 0;
    struct oms_entry *entry;
    while (count < max && (entry = oms_next(&engine->oms, &cursor)) != NULL)
        out[count++] = entry->order;
    return count;
}

int engine_submit(struct engine *engine, const struct message_new_order *message,
                  uint64_t *client_order_id)
{
    *client_order_id = 0;
    struct order nothing = {0};
    char symbol[PROTOCOL_SYMBOL + 1] = {0};
    memcpy(symbol, message->symbol, PROTOCOL_SYMBOL);
    const struct engine_market *market = engine_market_find(engine, message->venue, symbol);
    if (!market)
        return refuse(engine, &nothing, REJECT_UNKNOWN_INSTRUMENT);
    struct order_request request = {
        .market = market->index,
        .side = message->side,
        .type = message->type,
        .time_in_force = message->time_in_force,
        .reduce_only = message->reduce_only,
        .strategy = message->strategy ? message->strategy : STRATEGY_MANUAL,
    };
    nothing.instrument = market->instrument;
    if (request.strategy >= RESTORED_STRATEGIES)
        return refuse(engine, &nothing, REJECT_BAD_ORDER);
    if (!instrument_price_from_e9(market->instrument, message->price_e9, &request.price))
        return refuse(engine, &nothing, REJECT_TICK_SIZE);
    if (!instrument_quantity_from_e9(market->instrument, message->quantity_e9, &request.quantity))
        return refuse(engine, &nothing, REJECT_LOT_SIZE);
    return engine_place(engine, &request, client_order_id);
}
