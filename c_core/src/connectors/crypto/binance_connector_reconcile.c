/*
 * What the venue holds of ours, asked step by step: open orders of each symbol, the wallet, the
 * history of cash, fills since the last one that is booked (or, for a day without books, the mark
 * it began at and all its fills), whose order each unknown fill belongs to, positions, the end. An
 * answer that fails is asked for again; a new run makes answers of an older one void.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "binance_connector_session.h"

#define OWNERS_MAX       200 /* order queries of one run: each costs weight 1 */
#define RETRY_FIRST      1
#define OPENING_REFUSALS 3
/* A reconcile soon after another means that positions differed: a fill was missed before one that
 * came. All since the last agreement are looked at again, and in turn with them the newest, only so
 * many: of those that are older than our journal nobody would know that they are booked. */
#define RECHECK_NS    10000000000LL
#define RECHECK_FILLS 40

static void reconcile_next(struct binance *b, int step)
{
    b->reconcile.step = step;
    b->reconcile.symbol = 0;
    b->reconcile.failures = 0;
    b->reconcile.retry_ns = 0;
}

void binance_reconcile_abort(struct binance *b)
{
    b->reconcile.step = BINANCE_RECONCILE_IDLE;
    b->reconcile.run++;
    b->reconcile.asked = false;
}

int binance_reconcile_start(struct venue *venue, const char *since_execution_id, int64_t now_ns)
{
    struct binance *b = binance_of(venue);
    if (venue->session_state != SESSION_SYNCING && venue->session_state != SESSION_READY)
        return STATUS_AGAIN;
    binance_reconcile_abort(b);
    b->reconcile.from_ms = venue->history_from_ms;
    b->reconcile.since = since_execution_id != NULL ? strtoll(since_execution_id, NULL, 10) : 0;
    memset(b->reconcile.positions_told, 0, sizeof b->reconcile.positions_told);
    b->reconcile.owners_asked = 0;
    b->reconcile.page_from = 0;
    bool soon = now_ns - b->reconciled_ns < RECHECK_NS;
    b->reconcile.rechecks = b->fills_complete && soon ? b->reconcile.rechecks + 1 : 0;
    for (int i = 0; i < b->symbols_count && !soon; i++)
        b->markets[i].agreed_trade_id = b->markets[i].ended_trade_id;
    reconcile_next(b, BINANCE_RECONCILE_ORDERS);
    binance_reconcile_turn(b, now_ns);
    return STATUS_OK;
}

void binance_fills_broken(struct binance *b)
{
    b->fills_complete = false;
}

void binance_fill_seen(struct binance *b, struct binance_market *market, int64_t trade_id)
{
    if (trade_id > market->last_trade_id)
        market->last_trade_id = trade_id;
    if (b->fills_complete)
        market->confirmed_trade_id = market->last_trade_id;
    else if (market->confirmed_trade_id == 0 && market->live_trade_id == 0 &&
             b->reconcile.step == BINANCE_RECONCILE_IDLE)
        market->live_trade_id = trade_id;
}

/* A fill that came live before the record was whole says nothing of those before it, so neither the
 * newest seen nor a `since` that it moved is used. Trade ids count per symbol: `since` is only used
 * when there is one symbol. */
int64_t binance_fills_from(const struct binance *b, int symbol)
{
    if (b->reconcile.page_from > 0)
        return b->reconcile.page_from;
    if (b->reconcile.from_ms > 0)
        return 0;
    if (b->reconcile.rechecks > 0)
        return b->reconcile.rechecks % 2 == 1 ? b->markets[symbol].agreed_trade_id : 0;
    const struct binance_market *market = &b->markets[symbol];
    int64_t since = b->reconcile.since;
    if (market->confirmed_trade_id > 0)
        return market->confirmed_trade_id;
    if (b->symbols_count > 1 || (market->live_trade_id > 0 && since >= market->live_trade_id))
        return 0;
    return since;
}

static int step_ask(struct binance *b, int64_t now_ns)
{
    const struct binance_reconcile *r = &b->reconcile;
    char parameters[128];
    const char *symbol = b->symbols[r->symbol].symbol;
    switch ((enum binance_reconcile_step)r->step) {
    case BINANCE_RECONCILE_ORDERS:
        snprintf(parameters, sizeof parameters, "symbol=%s", symbol);
        return binance_call(b, BINANCE_CALL_OPEN_ORDERS, r->symbol, r->run, 0, parameters, now_ns);
    case BINANCE_RECONCILE_OPENING:
        snprintf(parameters, sizeof parameters, "symbol=%s&interval=1m&startTime=%lld&limit=1",
                 symbol, (long long)r->from_ms);
        return binance_call(b, BINANCE_CALL_OPENING, r->symbol, r->run, 0, parameters, now_ns);
    case BINANCE_RECONCILE_WALLET:
        return binance_wallet_ask(b, now_ns);
    case BINANCE_RECONCILE_FILLS:
        if (binance_fills_from(b, r->symbol) > 0)
            snprintf(parameters, sizeof parameters, "symbol=%s&fromId=%lld&limit=%d", symbol,
                     (long long)binance_fills_from(b, r->symbol) + 1, BINANCE_FILLS_PAGE);
        else if (r->from_ms > 0)
            snprintf(parameters, sizeof parameters, "symbol=%s&startTime=%lld&limit=%d", symbol,
                     (long long)r->from_ms, BINANCE_FILLS_PAGE);
        else
            snprintf(parameters, sizeof parameters, "symbol=%s&limit=%d", symbol,
                     r->rechecks > 0 ? RECHECK_FILLS : BINANCE_FILLS_PAGE);
        return binance_call(b, BINANCE_CALL_FILLS, r->symbol, r->run, 0, parameters, now_ns);
    case BINANCE_RECONCILE_OWNERS:
        snprintf(parameters, sizeof parameters, "symbol=%s&orderId=%lld", symbol,
                 (long long)r->fills[r->fill].order_id);
        return binance_call(b, BINANCE_CALL_OWNER, r->symbol, r->run, 0, parameters, now_ns);
    case BINANCE_RECONCILE_POSITIONS:
        return binance_call(b, BINANCE_CALL_POSITIONS, 0, r->run, 0, "", now_ns);
    case BINANCE_RECONCILE_INCOME:
        return binance_income_ask(b, now_ns);
    case BINANCE_RECONCILE_IDLE:
        break;
    }
    return STATUS_OK;
}

void binance_reconcile_turn(struct binance *b, int64_t now_ns)
{
    struct binance_reconcile *r = &b->reconcile;
    if (r->step == BINANCE_RECONCILE_IDLE || r->asked || now_ns < r->retry_ns)
        return;
    r->asked = step_ask(b, now_ns) == STATUS_OK;
}

static int open_orders_read(struct binance *b, const struct binance_answer *answer)
{
    struct scan list;
    struct binance_order order;
    struct execution_report report;
    int more = binance_wire_list(&list, answer->http->body, answer->http->body_length);
    if (more < 0)
        return more;
    while ((more = binance_wire_order_next(&list, &order, &b->known)) == 1) {
        if (order.instrument == NULL)
            continue;
        uint64_t owner = binance_owner(b, order.client_id);
        binance_order_id_put(b, order.order_id, owner);
        binance_report_init(&report, &order, 0);
        binance_report_own(b, &report, owner, order.client_id);
        report.execution_type = EXEC_STATUS;
        b->venue.events->on_open_order(b->venue.events->context, &b->venue, &report);
    }
    return more < 0 ? more : STATUS_OK;
}

static int fills_read(struct binance *b, const struct binance_answer *answer)
{
    struct binance_reconcile *r = &b->reconcile;
    struct scan list;
    int more = binance_wire_list(&list, answer->http->body, answer->http->body_length);
    r->fill = 0;
    r->fills_count = 0;
    while (more >= 0 && r->fills_count < BINANCE_FILLS_PAGE) {
        more = binance_wire_fill_next(&list, &r->fills[r->fills_count], &b->known);
        if (more != 1)
            break;
        if (r->fills[r->fills_count].instrument != NULL)
            r->fills_count++;
    }
    return more < 0 ? more : STATUS_OK;
}

static void fill_report(struct binance *b, const struct binance_fill *fill, uint64_t owner)
{
    char name[32];
    struct execution_report report = {
        .venue_order_id = (uint64_t)fill->order_id,
        .instrument = fill->instrument,
        .execution_type = EXEC_TRADE,
        .order_state = ORDER_PARTIALLY_FILLED,
        .side = fill->side,
        .maker = fill->maker,
        .last_price = fill->price,
        .last_quantity = fill->quantity,
        .wall_ns = fill->time_ms * CLOCK_NS_PER_MS,
    };
    binance_fill_wallet(&report, fill->has_realized, fill->realized_e8, true, fill->commission_e8,
                        fill->commission_asset);
    report.fee_e8 =
        binance_commission_e8(fill->instrument, fill->commission_e8, fill->commission_asset, true,
                              fill->maker, fill->price, fill->quantity);
    snprintf(report.execution_id, sizeof report.execution_id, "%lld", (long long)fill->trade_id);
    snprintf(name, sizeof name, "order %lld", (long long)fill->order_id);
    binance_report_own(b, &report, owner, name);
    binance_fill_seen(b, &b->markets[fill->instrument->index], fill->trade_id);
    b->venue.events->on_execution(b->venue.events->context, &b->venue, &report);
}

/* fills_go_on: reports the page's fills until one belongs to an order that we must ask for. */
static void fills_go_on(struct binance *b)
{
    struct binance_reconcile *r = &b->reconcile;
    uint64_t owner;
    for (; r->fill < r->fills_count; r->fill++) {
        const struct binance_fill *fill = &r->fills[r->fill];
        if (!binance_order_id_get(b, fill->order_id, &owner)) {
            /* Of a whole day's fills it does not matter whose they were: all count. */
            if (r->from_ms == 0 && r->owners_asked < OWNERS_MAX) {
                r->owners_asked++;
                r->step = BINANCE_RECONCILE_OWNERS;
                return;
            }
            owner = 0;
        }
        fill_report(b, fill, owner);
    }
    r->step = BINANCE_RECONCILE_FILLS;
    bool full = r->fills_count == BINANCE_FILLS_PAGE;
    r->page_from = full ? r->fills[r->fills_count - 1].trade_id : 0;
    if (full)
        return; /* there may be more after it */
    if (++r->symbol == b->symbols_count)
        reconcile_next(b, BINANCE_RECONCILE_POSITIONS);
}

static void owner_read(struct binance *b, const struct binance_answer *answer)
{
    struct binance_order order;
    int64_t order_id = b->reconcile.fills[b->reconcile.fill].order_id;
    uint64_t owner = 0;
    if (answer->accepted && binance_wire_order(&order, &b->known, answer->http->body,
                                               answer->http->body_length) == STATUS_OK)
        owner = binance_owner(b, order.client_id);
    binance_order_id_put(b, order_id, owner);
    fills_go_on(b);
}

static int positions_read(struct binance *b, const struct binance_answer *answer)
{
    struct scan list;
    struct binance_position position;
    int more = binance_wire_list(&list, answer->http->body, answer->http->body_length);
    if (more < 0)
        return more;
    while ((more = binance_wire_position_next(&list, &position, &b->known)) == 1) {
        if (position.instrument == NULL || strcmp(position.position_side, "BOTH") != 0)
            continue;
        struct price entry = {position.entry_e9 / position.instrument->tick_e9};
        b->reconcile.positions_told[position.instrument->index] = true;
        b->venue.events->on_position(b->venue.events->context, &b->venue, position.instrument,
                                     position.quantity, entry);
    }
    if (more < 0)
        return more;
    for (int i = 0; i < b->symbols_count; i++)
        if (!b->reconcile.positions_told[i])
            b->venue.events->on_position(b->venue.events->context, &b->venue,
                                         &b->markets[i].instrument, (struct quantity){0},
                                         (struct price){0});
    return STATUS_OK;
}

/* A venue that refuses the question has no mark to tell; one that does not answer is asked again.
 */
static bool opening_read(struct binance *b, const struct binance_answer *answer)
{
    struct binance_reconcile *r = &b->reconcile;
    int64_t mark_e9 = 0;
    bool refused = answer->http->status == STATUS_OK && answer->http->code >= 400 &&
                   answer->http->code < 500 && r->failures + 1 >= OPENING_REFUSALS;
    if (!answer->accepted && !refused)
        return false;
    if (answer->accepted && binance_wire_opening(&mark_e9, r->from_ms, answer->http->body,
                                                 answer->http->body_length) != STATUS_OK)
        return false;
    b->venue.events->on_opening(b->venue.events->context, &b->venue,
                                &b->markets[r->symbol].instrument, mark_e9);
    if (++r->symbol == b->symbols_count)
        reconcile_next(b, BINANCE_RECONCILE_FILLS);
    return true;
}

static int after_cash(const struct binance_reconcile *r)
{
    return r->from_ms > 0 ? BINANCE_RECONCILE_OPENING : BINANCE_RECONCILE_FILLS;
}

/* step_answer: false when the answer was no use and the step must be asked again. */
static bool step_answer(struct binance *b, const struct binance_answer *answer, int64_t now_ns)
{
    struct binance_reconcile *r = &b->reconcile;
    if (r->step == BINANCE_RECONCILE_OWNERS) {
        bool gone = answer->class.outcome == BINANCE_QUERY_NO_ORDER;
        if (!answer->accepted && !gone)
            return false;
        owner_read(b, answer);
        return true;
    }
    if (r->step == BINANCE_RECONCILE_OPENING)
        return opening_read(b, answer);
    if (!answer->accepted)
        return false;
    if (r->step == BINANCE_RECONCILE_ORDERS) {
        if (open_orders_read(b, answer) != STATUS_OK)
            return false; /* half a list is no list: an order could be missing */
        if (++r->symbol == b->symbols_count)
            reconcile_next(b,
                           binance_cash_due(b, now_ns) ? BINANCE_RECONCILE_WALLET : after_cash(r));
    } else if (r->step == BINANCE_RECONCILE_WALLET) {
        if (!binance_wallet_read(b, answer))
            return false;
        binance_income_begin(b);
        reconcile_next(b, BINANCE_RECONCILE_INCOME);
    } else if (r->step == BINANCE_RECONCILE_INCOME) {
        int end = binance_income_read(b, answer, now_ns);
        if (end > 0)
            reconcile_next(b, after_cash(r));
        return end >= 0;
    } else if (r->step == BINANCE_RECONCILE_FILLS) {
        if (fills_read(b, answer) != STATUS_OK)
            return false;
        fills_go_on(b);
    } else if (r->step == BINANCE_RECONCILE_POSITIONS) {
        if (positions_read(b, answer) != STATUS_OK)
            return false;
        r->step = BINANCE_RECONCILE_IDLE;
        b->fills_complete = binance_link_is_open(&b->user_link) && !b->user_link.rotate;
        b->reconciled_ns = now_ns;
        for (int i = 0; i < b->symbols_count && b->fills_complete; i++)
            b->markets[i].confirmed_trade_id = b->markets[i].last_trade_id;
        for (int i = 0; i < b->symbols_count; i++)
            b->markets[i].ended_trade_id = b->markets[i].last_trade_id;
        b->venue.events->on_reconciled(b->venue.events->context, &b->venue);
    }
    return true;
}

void binance_reconcile_answer(struct binance *b, const struct binance_answer *answer,
                              int64_t now_ns)
{
    struct binance_reconcile *r = &b->reconcile;
    if (answer->run != r->run || r->step == BINANCE_RECONCILE_IDLE)
        return;
    r->asked = false;
    if (!step_answer(b, answer, now_ns)) {
        r->retry_ns = now_ns + binance_backoff_ns(b, RETRY_FIRST + r->failures++);
        binance_event(b, EVENT_WARNING, "reconcile_retried", "HTTP %ld, %lld %s",
                      answer->http->code, (long long)answer->code, answer->message);
        return;
    }
    r->failures = 0;
    binance_reconcile_turn(b, now_ns);
}
