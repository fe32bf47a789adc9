/* Orders of the account that are not ours: a person's are charged and told, another Purser's halt.
 */
#include "engine_private.h"

#include <stdio.h>
#include <string.h>

#define STRANGERS_PER_MARKET 24 /* that may rest: the other places are for our own orders */
#define HALT_LATEST_NS       10000000000 /* after another Purser was seen */
#define CARD_PATIENCE_NS     1500000000  /* from when an order of ours could leave */
#define CARD_RETRY_NS        100000000
#define CARD_AWAY_MAX_PPM    30000 /* venues refuse prices farther from the mark */

/* ---- which orders, and what they may cost ---------------------------------------------------- */

static struct engine_stranger *find(struct engine_foreign *foreign, uint64_t venue_order_id)
{
    for (int n = 0; n < ENGINE_STRANGERS; n++)
        if (foreign->orders[n].venue_order_id == venue_order_id)
            return &foreign->orders[n];
    return NULL;
}

/* The place of the one that was heard of longest ago and does not rest. NULL: all rest. */
static struct engine_stranger *place_for(struct engine_foreign *foreign)
{
    struct engine_stranger *oldest = NULL;
    for (int n = 0; n < ENGINE_STRANGERS; n++) {
        struct engine_stranger *at = &foreign->orders[n];
        if (!at->rests && (!oldest || at->heard_ns < oldest->heard_ns))
            oldest = at;
    }
    return oldest;
}

static int resting(const struct engine_foreign *foreign, uint16_t market)
{
    int count = 0;
    for (int n = 0; n < ENGINE_STRANGERS; n++)
        count += foreign->orders[n].rests && foreign->orders[n].market == market;
    return count;
}

static void uncharge(struct engine *engine, struct engine_stranger *order)
{
    struct engine_market *market = ENGINE_MARKET(engine, order->market);
    if (!order->rests)
        return;
    order->rests = false;
    engine->content.counters[COUNTER_FOREIGN_OPEN]--;
    exposure_remove(&market->exposure, EXPOSURE_STRANGER | order->venue_order_id);
    engine_market_changed(engine, market);
}

static bool is_live(int state)
{
    return state == ORDER_WORKING || state == ORDER_PARTIALLY_FILLED;
}

/* A fill that was read later does not say what is left of its order: its charge stays until the
 * stream or a list says more. An order without a price fills or ends at once. */
static void charge(struct engine *engine, struct engine_market *market,
                   struct engine_stranger *order, const struct execution_report *report)
{
    struct exposure_order open = {
        .client_order_id = EXPOSURE_STRANGER | report->venue_order_id,
        .price = report->price,
        .remaining = {report->quantity.lots - report->cumulative.lots},
        .side = report->side,
        .strategy = STRATEGY_NONE,
    };
    if (report->quantity.lots == 0)
        return;
    uncharge(engine, order);
    if (!is_live(report->order_state) || open.remaining.lots <= 0 || open.price.ticks <= 0)
        return;
    if (resting(&engine->foreign, market->index) >= STRANGERS_PER_MARKET ||
        !exposure_add(&market->exposure, &open)) {
        engine_halt(engine, HALT_VENUE,
                    "more orders of others are open than can be charged: cancel some");
        return;
    }
    order->rests = true;
    engine->content.counters[COUNTER_FOREIGN_OPEN]++;
    engine_market_changed(engine, market);
}

static void tell(struct engine *engine, const struct engine_market *market,
                 const struct engine_stranger *order, const struct execution_report *report)
{
    const struct instrument *instrument = market->instrument;
    if (report->owner == OWNER_PERSON)
        engine_say(engine, EVENT_WARNING, instrument->venue, 0, 0, "foreign_order_seen",
                   order->rests ? "%.32s: an order that is not ours (%.40s) is open: it is charged"
                                : "%.32s: an order that is not ours (%.40s): what it did is booked",
                   instrument->symbol, report->text);
    else
        engine_say(engine, EVENT_WARNING, instrument->venue, 0, 0, "foreign_order_seen",
                   "%.32s: an order that is not ours: %.64s", instrument->symbol, report->text);
}

/* ---- another Purser ---------------------------------------------------------------------------
 */

/* What lies on the account from before is no second system at work: a fill of before our start, or
 * the end of an order. An order that is open, placed or filled now is. */
static bool is_at_work(const struct engine *engine, const struct engine_venue *ev,
                       const struct execution_report *report, bool listed)
{
    if (listed || report->execution_type == EXEC_NEW)
        return true;
    int64_t ours_ns = report->wall_ns - ev->venue->clock_offset_ns;
    bool lives = report->execution_type == EXEC_TRADE || report->execution_type == EXEC_STATUS;
    return lives && (report->wall_ns == 0 || ours_ns >= engine->foreign.since_wall_ns);
}

static void other_purser(struct engine *engine, const struct engine_venue *ev, const char *name)
{
    struct engine_foreign *foreign = &engine->foreign;
    if (foreign->other[0] || (engine->ledger && ledger_state_now(engine->ledger) == LEDGER_HALTED))
        return;
    memcpy(foreign->other, name, sizeof foreign->other - 1);
    foreign->venue_index = (int)(ev - engine->venues);
    foreign->halt_ns = engine->now_ns + HALT_LATEST_NS;
    foreign->able = false;
    foreign->card = 0;
    foreign->next_card_ns = 0;
    engine->adding = false;
    engine->sweep_now = true;
    engine_say(engine, EVENT_WARNING, ev->venue->id, REJECT_FOREIGN, 0, "other_purser_seen",
               "another Purser (%.63s) trades on this account: it is told, then both halt",
               foreign->other);
}

/* The smallest order that the venue takes, far from the market, immediate or cancel: it cannot
 * fill, and the other one sees it on its user stream and halts too. */
static bool card_make(const struct engine_market *market, struct order_request *out)
{
    const struct instrument *i = market->instrument;
    const struct risk_market *top = &market->top;
    if (!top->synced || !i->trading)
        return false;
    int64_t middle = (top->bid.ticks + top->ask.ticks) / 2;
    int64_t away_ppm = market->limits.price_collar_ppm / 10 * 9;
    away_ppm = away_ppm < CARD_AWAY_MAX_PPM ? away_ppm : CARD_AWAY_MAX_PPM;
    int64_t away = muldiv_down(middle, away_ppm, 1000000);
    bool sell = market->pnl.position_lots > 0;
    int64_t price = sell ? middle + away : middle - away;
    int64_t least = instrument_notional_down(i, (struct price){price}, (struct quantity){1}).micros;
    int64_t lots = least > 0 ? i->min_notional.micros / least + 1 : 1;
    *out = (struct order_request){
        .market = market->index,
        .side = sell ? SIDE_SELL : SIDE_BUY,
        .type = ORDER_LIMIT,
        .time_in_force = TIF_IOC,
        .strategy = STRATEGY_NONE,
        .price = {price},
        .quantity = {lots > i->min_quantity.lots ? lots : i->min_quantity.lots},
    };
    return true;
}

static void card_try(struct engine *engine)
{
    struct engine_foreign *foreign = &engine->foreign;
    struct order_request request;
    if (engine->now_ns < foreign->next_card_ns)
        return;
    foreign->next_card_ns = engine->now_ns + CARD_RETRY_NS;
    for (int n = 0; n < engine->market_count && foreign->card == 0; n++) {
        const struct engine_market *market = ENGINE_MARKET(engine, n);
        if (market->venue_index == foreign->venue_index && card_make(market, &request))
            engine_place(engine, &request, &foreign->card);
    }
}

static bool card_heard(struct engine *engine)
{
    const struct oms_entry *entry = oms_find(&engine->oms, engine->foreign.card);
    return !entry ||
           (entry->order.state != ORDER_PENDING_NEW && entry->order.state != ORDER_PENDING_CANCEL);
}

int engine_foreign_work(struct engine *engine)
{
    struct engine_foreign *foreign = &engine->foreign;
    if (!foreign->other[0] || foreign->halt_ns == 0)
        return 0;
    const struct engine_venue *ev = &engine->venues[foreign->venue_index];
    bool able = engine->view.state == LEDGER_ACTIVE && ev->session == SESSION_READY &&
                ev->reconciled && engine->rebuilt;
    if (able && !foreign->able) {
        foreign->able = true;
        int64_t latest = engine->now_ns + CARD_PATIENCE_NS;
        foreign->halt_ns = latest < foreign->halt_ns ? latest : foreign->halt_ns;
    }
    if (able && foreign->card == 0)
        card_try(engine);
    bool told = foreign->card != 0 && card_heard(engine);
    if (!told && engine->now_ns < foreign->halt_ns && engine->view.state < LEDGER_CANCEL_ONLY)
        return 1;
    foreign->halt_ns = 0;
    char text[PROTOCOL_TEXT];
    snprintf(text, sizeof text,
             "another Purser (%.40s) trades on this account: stop one of them, or give each an "
             "account of its own; then control resume",
             foreign->other);
    engine_halt(engine, HALT_FOREIGN, text);
    return 1;
}

/* A halt that has not come yet is not lifted: trading begins in a new epoch too. */
void engine_foreign_begin(struct engine *engine)
{
    if (engine->foreign.halt_ns != 0)
        return;
    engine->foreign.other[0] = '\0';
    engine->foreign.since_wall_ns = engine_wall_ns(engine);
}

/* ---- what the venue tells ---------------------------------------------------------------------
 */

void engine_stranger(struct engine *engine, struct engine_venue *ev, struct engine_market *market,
                     const struct execution_report *report, bool listed)
{
    struct engine_stranger *order = find(&engine->foreign, report->venue_order_id);
    bool news = !order || report->venue_order_id == 0;
    if (news)
        order = place_for(&engine->foreign);
    if (order && !market->delegated) {
        if (news)
            *order = (struct engine_stranger){.venue_order_id = report->venue_order_id,
                                              .market = market->index};
        order->heard_ns = engine->now_ns;
        order->listed = order->listed || listed;
        charge(engine, market, order, report);
        if (news)
            tell(engine, market, order, report);
    } else if (!order) {
        engine_halt(engine, HALT_VENUE,
                    "more orders of others are open than can be charged: cancel some");
    }
    if (report->owner == OWNER_VENUE)
        engine_halt(engine, HALT_VENUE, "the venue forced an order on the account");
    if (report->owner == OWNER_PURSER && is_at_work(engine, ev, report, listed))
        other_purser(engine, ev, report->text);
}

void engine_strangers_asked(struct engine *engine, const struct engine_venue *ev)
{
    for (int n = 0; n < ENGINE_STRANGERS; n++) {
        struct engine_stranger *order = &engine->foreign.orders[n];
        if (order->rests &&
            &engine->venues[ENGINE_MARKET(engine, order->market)->venue_index] == ev)
            order->listed = false;
    }
}

/* One that was heard of after the question cannot be in the answer. */
void engine_strangers_answered(struct engine *engine, const struct engine_venue *ev)
{
    for (int n = 0; n < ENGINE_STRANGERS; n++) {
        struct engine_stranger *order = &engine->foreign.orders[n];
        if (order->rests && !order->listed && order->heard_ns < ev->reconcile.asked_ns &&
            &engine->venues[ENGINE_MARKET(engine, order->market)->venue_index] == ev)
            uncharge(engine, order);
    }
}
