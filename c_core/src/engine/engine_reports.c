/* An execution report's way in: table, P&L, journal, ledger, then those who want to know. */
#include "engine_private.h"

#include <string.h>

#define SOFT_RECONCILE_NS 1000000000

void engine_want_reconcile(struct engine *engine, struct engine_venue *ev)
{
    int phase = ev->reconcile.phase;
    if ((phase == RECONCILE_DONE || phase == RECONCILE_SETTLING) &&
        engine->now_ns >= ev->next_soft_ns) {
        ev->next_soft_ns = engine->now_ns + SOFT_RECONCILE_NS;
        reconcile_want(&ev->reconcile, engine->now_ns);
    }
}

static void record_fill(struct engine *engine, const struct engine_market *market,
                        const struct order *order, const struct execution_report *report)
{
    struct page_fill fill = {
        .wall_ns = report->wall_ns ? report->wall_ns : engine_wall_ns(engine),
        .client_order_id = report->client_order_id,
        .venue = market->instrument->venue,
        .side = report->side,
        .strategy = order->strategy,
        .maker = report->maker,
        .provisional = report->provisional,
        .reversed = report->execution_type == EXEC_TRADE_REVERSED,
        .price_e9 = instrument_price_e9(market->instrument, report->last_price),
        .quantity_e9 = instrument_quantity_e9(market->instrument, report->last_quantity),
        .fee_e8 = report->fee_e8,
    };
    memcpy(fill.symbol, market->instrument->symbol, sizeof fill.symbol);
    memcpy(fill.execution_id, report->execution_id, sizeof fill.execution_id);
    engine_record_fill(engine, &fill);
}

/* What is left of signed_quantity after it has closed what it can of the lots held against it. */
static int64_t close_lots(int64_t *held, int64_t signed_quantity)
{
    if (*held == 0 || signed_quantity == 0 || (*held > 0) == (signed_quantity > 0))
        return signed_quantity;
    int64_t left = *held + signed_quantity;
    bool all = left == 0 || (left > 0) == (signed_quantity > 0);
    *held = all ? 0 : left;
    return all ? left : 0;
}

void engine_attribute_fill(int64_t held[RESTORED_STRATEGIES], int strategy, int64_t signed_quantity,
                           int64_t position)
{
    if (strategy != STRATEGY_NONE) {
        held[strategy] += signed_quantity;
        return;
    }
    int64_t foreign = position - signed_quantity;
    for (int s = 1; s < RESTORED_STRATEGIES; s++)
        foreign -= held[s];
    int64_t left = close_lots(&foreign, signed_quantity);
    left = close_lots(&held[STRATEGY_HEDGER], left);
    left = close_lots(&held[STRATEGY_QUOTER], left);
    for (int s = 1; s < RESTORED_STRATEGIES; s++)
        left = close_lots(&held[s], left);
    if (position == 0)
        memset(held, 0, RESTORED_STRATEGIES * sizeof *held);
    else
        held[STRATEGY_NONE] = foreign + left;
}

/* Books one fill, or takes one back. */
static void book_fill(struct engine *engine, struct engine_venue *ev, struct engine_market *market,
                      const struct order *order, const struct execution_report *report)
{
    bool reversed = report->execution_type == EXEC_TRADE_REVERSED;
    /* While there are no books of the venue, they are made of the whole day at once, later. */
    if (!market->delegated && !ev->reconcile.adopt) {
        if (engine_is_late(engine, market, report->wall_ns))
            engine_book_late(engine, market, report, reversed);
        else if (reversed)
            pnl_reverse(&market->pnl, report->side, report->last_price, report->last_quantity,
                        report->fee_e8);
        else
            pnl_fill(&market->pnl, report->side, report->last_price, report->last_quantity,
                     report->fee_e8);
        if (report->wall_ns > 0 && pnl_day_number(report->wall_ns) > engine->day)
            pnl_ahead(&market->pnl, report->side, report->last_price, report->last_quantity,
                      report->fee_e8, reversed);
        int64_t lots = report->last_quantity.lots;
        engine_attribute_fill(market->strategy_lots, order->strategy,
                              (report->side == SIDE_BUY) != reversed ? lots : -lots,
                              market->pnl.position_lots);
        engine_cash_fill(engine, ev, report, reversed);
    }
    ev->fills++;
    engine->content.counters[COUNTER_FILLS]++;
    reconcile_execution(&ev->reconcile, report->execution_id);
    record_fill(engine, market, order, report);
}

void engine_released(struct engine *engine, struct oms_entry *entry)
{
    if (entry->order.ledger_slot == OMS_SLOT_NONE || !engine->ledger)
        return;
    ledger_release(engine->ledger, entry->order.ledger_slot, engine->used_micros,
                   engine->positions_micros, engine->now_ns);
    entry->order.ledger_slot = OMS_SLOT_NONE;
}

/* The exposure and the ledger follow the order: less left of it, live, unknown, or gone. */
static void follow(struct engine *engine, struct engine_market *market, struct oms_entry *entry,
                   const struct oms_result *result)
{
    const struct order *order = &entry->order;
    if (market->delegated)
        return;
    if (result->ended)
        exposure_remove(&market->exposure, order->client_order_id);
    else
        exposure_reduce(&market->exposure, order->client_order_id,
                        (struct quantity){order->quantity.lots - order->filled.lots});
    if (result->ended || result->effect == OMS_FILLED || entry->adopted)
        engine_market_changed(engine, market);
    if (order->ledger_slot == OMS_SLOT_NONE)
        return;
    if (result->became_live)
        ledger_live(engine->ledger, order->ledger_slot);
    if (result->became_unknown)
        engine_reserved_unknown(engine, entry);
    if (result->effect == OMS_FILLED)
        ledger_filled(engine->ledger, order->ledger_slot,
                      instrument_quantity_e9(order->instrument, order->filled), engine->used_micros,
                      engine->positions_micros, engine->now_ns);
    if (result->ended)
        engine_released(engine, entry);
}

static void judge_refusal(struct engine *engine, const struct order *order,
                          const struct execution_report *report)
{
    int reason = report->reject_reason < REJECT_REASON_COUNT && report->reject_reason
                     ? report->reject_reason
                     : REJECT_VENUE_REJECT;
    engine->content.refusals[reason]++;
    engine->content.counters[COUNTER_VENUE_REJECTS]++;
    /* A quote that lost a race, a full bucket and a drifted clock are no sign of a runaway. */
    bool ordinary =
        reason == REJECT_POST_ONLY_CROSS || reason == REJECT_RATE_LIMITED || reason == REJECT_CLOCK;
    if (!ordinary)
        risk_runaway_rejected(&engine->runaway);
    engine_say(engine, ordinary ? EVENT_INFO : EVENT_WARNING, order->instrument->venue,
               (uint16_t)reason, order->client_order_id, "order_rejected",
               "the venue refused it (%d): %.64s", report->venue_code, report->text);
    if (reason == REJECT_VENUE_AUTH)
        engine_halt(engine, HALT_VENUE, "the venue refused our key or signature");
}

static void tell_strategies(struct engine *engine, const struct engine_market *market,
                            const struct order *order, const struct execution_report *report)
{
    int64_t outer_ns = engine->tick_received_ns;
    if (outer_ns == 0) /* an order that answers a fill is timed from the fill's frame */
        engine->tick_received_ns = market->venue->received_ns;
    for (int n = 0; n < engine->strategy_count; n++) {
        struct strategy *strategy = engine->strategies[n];
        if (strategy->id == order->strategy && strategy->operations->on_execution)
            strategy->operations->on_execution(strategy, market, order, report, engine->now_ns);
    }
    engine->tick_received_ns = outer_ns;
}

/* The order is charged without a slot of the ledger, and cancelled by the sweep. */
static void charge_left_behind(struct engine *engine, struct engine_market *market,
                               struct oms_entry *entry)
{
    struct exposure_order open = {
        .client_order_id = entry->order.client_order_id,
        .price = entry->order.price,
        .remaining = {entry->order.quantity.lots - entry->order.filled.lots},
        .side = entry->order.side,
        .strategy = entry->order.strategy,
    };
    entry->left_behind = 1;
    entry->order.ledger_slot = OMS_SLOT_NONE;
    if (!exposure_add(&market->exposure, &open))
        engine_halt(engine, HALT_BUG, "more orders are open at the venue than can be charged");
    engine_market_changed(engine, market);
    engine->sweep_now = true;
}

struct oms_entry *engine_leave_behind(struct engine *engine, struct engine_market *market,
                                      const struct order *order)
{
    struct oms_entry *entry = oms_add(&engine->oms, order, market->venue, market->index);
    if (!entry) {
        engine_halt(engine, HALT_BUG, "more orders are open at the venue than can be followed");
        return NULL;
    }
    entry->venue_cumulative = order->filled.lots;
    entry->heard_of = order->filled.lots > 0;
    charge_left_behind(engine, market, entry);
    return entry;
}

/* An order at the venue that carries our mark and that this run does not know. */
static struct oms_entry *adopt_order(struct engine *engine, struct engine_market *market,
                                     const struct execution_report *report)
{
    struct order order = {
        .client_order_id = report->client_order_id,
        .venue_order_id = report->venue_order_id,
        .instrument = market->instrument,
        .side = report->side,
        .type = ORDER_LIMIT,
        .state = report->cumulative.lots > 0 ? ORDER_PARTIALLY_FILLED : ORDER_WORKING,
        .price = report->price,
        .quantity = report->quantity,
        .filled = report->cumulative,
        .created_ns = engine->now_ns,
        .sent_ns = engine->now_ns,
        .lands_until_ns = engine->now_ns, /* it has landed */
        .acked_ns = engine->now_ns,
    };
    struct oms_entry *entry = engine_leave_behind(engine, market, &order);
    if (entry) {
        entry->adopted = entry->heard_of = 1;
        engine_say(engine, EVENT_WARNING, market->instrument->venue, 0, order.client_order_id,
                   "orphan_found", "an order of an earlier run is open; cancelling it");
    }
    return entry;
}

/* The venue lists an order as open that it had told the end of, or that was taken as never
 * arrived. An answer that crossed the end on its way is no contradiction. */
static void handle_ended_but_open(struct engine *engine, const struct engine_venue *ev,
                                  struct engine_market *market, struct oms_entry *entry,
                                  const struct execution_report *report)
{
    if (entry->ended_ns + OMS_SKEW_NS >= ev->reconcile.asked_ns)
        return;
    oms_reopen(&engine->oms, entry);
    entry->adopted = entry->heard_of = entry->seen_open = 1;
    entry->order.cancel_requested = 0;
    entry->order.filled = report->cumulative;
    entry->venue_cumulative = report->cumulative.lots;
    charge_left_behind(engine, market, entry);
    engine_halt(engine, HALT_BUG, "an order that had ended is open at the venue");
}

/* The rest of an order of ours of which this run learns by a fill. */
static void adopt_rest(struct engine *engine, struct engine_market *market,
                       const struct execution_report *report)
{
    if (report->client_order_id != 0 && report->order_state == ORDER_PARTIALLY_FILLED &&
        report->quantity.lots > report->cumulative.lots)
        adopt_order(engine, market, report);
}

/* A report about an order that is not in the table. */
static void handle_stranger(struct engine *engine, struct engine_venue *ev,
                            struct engine_market *market, const struct execution_report *report)
{
    struct order nobody = {
        .client_order_id = report->client_order_id,
        .instrument = market->instrument,
        .side = report->side,
        .state = report->order_state,
        .price = report->price,
        .quantity = report->quantity,
        .filled = report->cumulative,
    };
    engine->content.counters[COUNTER_FOREIGN_REPORTS]++;
    bool trade =
        report->execution_type == EXEC_TRADE || report->execution_type == EXEC_TRADE_REVERSED;
    if (trade && ev->reconcile.adopt) { /* engine_history.c books it */
        adopt_rest(engine, market, report);
        if (report->client_order_id == 0 &&
            report->quantity.lots > 0) /* live, not of the history */
            engine_stranger(engine, ev, market, report, false);
        return;
    }
    if (trade) {
        book_fill(engine, ev, market, &nobody, report);
        engine_market_changed(engine, market);
        engine_journal_report(engine, market, &nobody, report);
        engine_tell_report(engine, &nobody, report);
        engine_tell_position(engine, market);
        if (!market->delegated)
            engine_tell_hedge_position(engine, market);
        adopt_rest(engine, market, report);
    }
    if (report->client_order_id == 0)
        engine_stranger(engine, ev, market, report, false);
    else if (report->execution_type == EXEC_NEW)
        adopt_order(engine, market, report);
}

static void note_oddities(struct engine *engine, struct engine_venue *ev,
                          const struct oms_result *result, const struct execution_report *report)
{
    uint16_t venue = ev->venue->id;
    if (result->effect == OMS_IMPOSSIBLE) {
        engine->content.counters[COUNTER_IMPOSSIBLE_REPORTS]++;
        engine_say(engine, EVENT_ERROR, venue, 0, report->client_order_id, "report_impossible",
                   "report type %d in state %s; asking the venue again", report->execution_type,
                   order_state_name(result->entry->order.state));
        engine_want_reconcile(engine, ev);
    }
    if (result->overfilled) {
        engine_say(engine, EVENT_ERROR, venue, 0, report->client_order_id, "order_overfilled",
                   "filled beyond its quantity");
        engine_halt(engine, HALT_BUG, "an order was filled beyond its quantity");
    }
    bool late = result->effect == OMS_FILLED && !result->ended &&
                order_state_is_terminal(result->entry->order.state);
    if (result->fills_missing || late)
        engine_want_reconcile(engine, ev);
    if (result->first_answer && report->execution_type != EXEC_REJECTED)
        risk_runaway_accepted(&engine->runaway);
}

static void handle_known(struct engine *engine, struct engine_venue *ev,
                         struct engine_market *market, const struct execution_report *report,
                         const struct oms_result *result)
{
    struct oms_entry *entry = result->entry;
    if (result->first_answer && entry->order.sent_ns > 0)
        histogram_record(&engine->content.order_to_ack, engine->now_ns - entry->order.sent_ns);
    bool trade = result->effect == OMS_FILLED ||
                 (result->effect == OMS_UPDATED && report->execution_type == EXEC_TRADE_REVERSED);
    note_oddities(engine, ev, result, report);
    if (result->ended)
        entry->ended_ns = engine->now_ns;
    if (result->effect == OMS_IGNORED || result->effect == OMS_IMPOSSIBLE)
        return;
    if (trade)
        book_fill(engine, ev, market, &entry->order, report);
    follow(engine, market, entry, result);
    engine_journal_report(engine, market, &entry->order, report);
    if (report->execution_type == EXEC_REJECTED)
        judge_refusal(engine, &entry->order, report);
    engine_tell_report(engine, &entry->order, report);
    if (trade && !market->delegated)
        engine_tell_position(engine, market);
    struct order told = entry->order;
    tell_strategies(engine, market, &told, report);
}

static bool is_hollow_fill(const struct execution_report *report)
{
    bool trade =
        report->execution_type == EXEC_TRADE || report->execution_type == EXEC_TRADE_REVERSED;
    return trade && (report->last_quantity.lots <= 0 || report->last_price.ticks <= 0);
}

void engine_on_execution(void *context, struct venue *venue, const struct execution_report *report)
{
    struct engine *engine = context;
    struct engine_venue *ev = engine_venue_of(engine, venue);
    struct engine_market *market = NULL;
    engine->content.counters[COUNTER_REPORTS]++;
    journal_prepare(engine->journal);
    if (report->instrument)
        market = engine_market_of(engine, venue, report->instrument);
    struct oms_entry *entry = oms_find(&engine->oms, report->client_order_id);
    if (!market && entry)
        market = ENGINE_MARKET(engine, entry->market);
    if (!market) {
        engine_say(engine, EVENT_WARNING, venue->id, 0, report->client_order_id, "report_ignored",
                   "a report about an instrument that is not configured: %.64s", report->text);
        return;
    }
    if (is_hollow_fill(report)) {
        engine->content.counters[COUNTER_IMPOSSIBLE_REPORTS]++;
        engine_say(engine, EVENT_ERROR, venue->id, 0, report->client_order_id, "report_impossible",
                   "a fill without price or quantity; asking the venue again");
        engine_want_reconcile(engine, ev);
        return;
    }
    if (ev->reconcile.adopt && report->execution_type == EXEC_TRADE)
        engine_history_fill(engine, market, report);
    struct oms_result result;
    oms_apply(&engine->oms, report, engine->now_ns, &result);
    if (result.effect == OMS_DUPLICATE) {
        engine->content.counters[COUNTER_DUPLICATE_EXECUTIONS]++;
        /* A reconcile repeats what is known; the stream should not. */
        if (ev->reconcile.phase != RECONCILE_ASKED)
            risk_runaway_duplicate(&engine->runaway, engine->now_ns);
        reconcile_execution(&ev->reconcile, report->execution_id);
        return;
    }
    if (result.effect == OMS_STRANGER)
        handle_stranger(engine, ev, market, report);
    else
        handle_known(engine, ev, market, report, &result);
}

void engine_on_open_order(void *context, struct venue *venue, const struct execution_report *report)
{
    struct engine *engine = context;
    struct engine_market *market =
        report->instrument ? engine_market_of(engine, venue, report->instrument) : NULL;
    if (!market) {
        engine_say(engine, EVENT_WARNING, venue->id, 0, 0, "foreign_order_seen",
                   "an open order of an instrument that is not configured: %.64s", report->text);
        return;
    }
    if (report->client_order_id == 0) {
        engine_stranger(engine, engine_venue_of(engine, venue), market, report, true);
        return;
    }
    struct oms_entry *entry = oms_find(&engine->oms, report->client_order_id);
    if (!entry) {
        entry = adopt_order(engine, market, report);
        if (entry)
            entry->seen_open = 1;
        return;
    }
    if (order_state_is_terminal(entry->order.state)) {
        handle_ended_but_open(engine, engine_venue_of(engine, venue), market, entry, report);
        return;
    }
    entry->seen_open = 1;
    struct execution_report status = *report;
    status.execution_type = EXEC_STATUS;
    status.not_found = 0;
    if (status.order_state != ORDER_PARTIALLY_FILLED)
        status.order_state = ORDER_WORKING;
    engine_on_execution(engine, venue, &status);
}
