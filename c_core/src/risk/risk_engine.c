/* The ordered table of pre-trade checks. Read it from the table at the end upward. */
#include "risk_engine.h"

#include <string.h>

#define THROTTLE_BUCKET_NS  100000000
#define THROTTLE_BUCKETS    RISK_THROTTLE_BUCKETS
#define DUPLICATE_WINDOW_NS 10000000000

/* ---- throttle and runaway guard ---------------------------------------------------------- */

void risk_throttle_init(struct risk_throttle *throttle, int limit)
{
    memset(throttle, 0, sizeof *throttle);
    throttle->limit = limit;
}

static void throttle_advance(struct risk_throttle *throttle, int64_t now_ns)
{
    int64_t newest = now_ns / THROTTLE_BUCKET_NS;
    if (newest <= throttle->newest)
        return;
    int64_t steps = newest - throttle->newest;
    if (steps > THROTTLE_BUCKETS)
        steps = THROTTLE_BUCKETS;
    for (int64_t n = newest - steps + 1; n <= newest; n++) {
        uint16_t *bucket = &throttle->buckets[n % THROTTLE_BUCKETS];
        throttle->count -= *bucket;
        *bucket = 0;
    }
    throttle->newest = newest;
}

bool risk_throttle_allows(struct risk_throttle *throttle, int message, int64_t now_ns)
{
    throttle_advance(throttle, now_ns);
    int kept = 0;
    if (message == RISK_MESSAGE_ORDER)
        kept = (throttle->limit + 4) / 5;
    else if (message == RISK_MESSAGE_REDUCING)
        kept = (throttle->limit + 9) / 10;
    return throttle->count < throttle->limit - kept;
}

void risk_throttle_add(struct risk_throttle *throttle, int64_t now_ns)
{
    throttle_advance(throttle, now_ns);
    throttle->buckets[throttle->newest % THROTTLE_BUCKETS]++;
    throttle->count++;
}

void risk_runaway_init(struct risk_runaway *runaway, const struct risk_config *config)
{
    memset(runaway, 0, sizeof *runaway);
    runaway->reject_streak_max = config->reject_streak_max > 0 ? config->reject_streak_max : 20;
    runaway->duplicates_max = config->duplicate_fills_max > 0 ? config->duplicate_fills_max : 50;
}

void risk_runaway_accepted(struct risk_runaway *runaway)
{
    runaway->reject_streak = 0;
}

void risk_runaway_rejected(struct risk_runaway *runaway)
{
    if (++runaway->reject_streak >= runaway->reject_streak_max)
        runaway->tripped = true;
}

void risk_runaway_duplicate(struct risk_runaway *runaway, int64_t now_ns)
{
    if (now_ns - runaway->window_ns > DUPLICATE_WINDOW_NS) {
        runaway->window_ns = now_ns;
        runaway->duplicates = 0;
    }
    if (++runaway->duplicates >= runaway->duplicates_max)
        runaway->tripped = true;
}

/* ---- the checks: each looks at one thing --------------------------------------------------- */

struct check_input {
    const struct risk_view *view;
    const struct order *order;
    bool reducing;
};

static int check_mode(const struct check_input *in)
{
    return in->view->mode == 0 ? REJECT_MODE : REJECT_NONE;
}

/* A market order has no price that could be limited: an IOC limit at the collar says the same. */
static int check_shape(const struct check_input *in)
{
    const struct order *o = in->order;
    if (o->side > SIDE_SELL || o->type != ORDER_LIMIT || o->time_in_force > TIF_GTD)
        return REJECT_BAD_ORDER;
    return o->price.ticks > 0 && o->quantity.lots > 0 ? REJECT_NONE : REJECT_BAD_ORDER;
}

static int check_duplicate(const struct check_input *in)
{
    return in->view->duplicate ? REJECT_DUPLICATE : REJECT_NONE;
}

static int check_ledger_present(const struct check_input *in)
{
    return in->view->ledger || in->view->delegated ? REJECT_NONE : REJECT_NO_LEDGER;
}

/* A halt is answered before anything else is looked at, so that the reason is the true one. */
static int check_halted(const struct check_input *in)
{
    if (!in->view->ledger)
        return REJECT_NONE;
    uint32_t state = ledger_state_now(in->view->ledger);
    if (state == LEDGER_HALTED)
        return REJECT_HALTED;
    return state == LEDGER_CANCEL_ONLY ? REJECT_NOT_ACTIVE : REJECT_NONE;
}

static int check_session(const struct check_input *in)
{
    int state = in->view->venue->session_state;
    if (state == SESSION_READY || (in->reducing && state == SESSION_SYNCING))
        return REJECT_NONE;
    return REJECT_SESSION;
}

static int check_reconciled(const struct check_input *in)
{
    return in->view->reconciled ? REJECT_NONE : REJECT_NOT_RECONCILED;
}

static int check_cash(const struct check_input *in)
{
    return in->view->cash_doubt ? REJECT_CASH : REJECT_NONE;
}

static int check_trading(const struct check_input *in)
{
    return in->order->instrument->trading ? REJECT_NONE : REJECT_VENUE_MODE;
}

/* The last acknowledgement must be younger than half the switch's time-out. */
static int check_dead_man(const struct check_input *in)
{
    const struct venue *venue = in->view->venue;
    if (venue->dead_man_armed_ns <= 0 || venue->dead_man_expires_ns <= venue->dead_man_armed_ns)
        return REJECT_DEAD_MAN;
    int64_t half = (venue->dead_man_expires_ns - venue->dead_man_armed_ns) / 2;
    return in->view->now_ns < venue->dead_man_armed_ns + half ? REJECT_NONE : REJECT_DEAD_MAN;
}

static int check_journal(const struct check_input *in)
{
    bool room = in->reducing ? in->view->journal_reserve : in->view->journal_ready;
    return room ? REJECT_NONE : REJECT_JOURNAL;
}

static int check_clock(const struct check_input *in)
{
    int64_t offset = in->view->venue->clock_offset_ns;
    int64_t most = in->view->limits->clock_offset_max_ns;
    return offset <= most && offset >= -most ? REJECT_NONE : REJECT_CLOCK;
}

/* Staleness is judged by the venue's feed, not by silence of one quiet instrument. */
static int check_market(const struct check_input *in)
{
    const struct risk_market *market = in->view->market;
    if (!market->synced || market->bid.ticks <= 0 || market->ask.ticks <= market->bid.ticks)
        return REJECT_STALE_DATA;
    if (in->view->limits->stale_ns <= 0 ||
        in->view->now_ns - in->view->venue->feed_ns > in->view->limits->stale_ns)
        return REJECT_STALE_DATA;
    return REJECT_NONE;
}

static int check_tick(const struct check_input *in)
{
    const struct instrument *i = in->order->instrument;
    int64_t ticks = in->order->price.ticks;
    if (i->min_price.ticks > 0 && ticks < i->min_price.ticks)
        return REJECT_TICK_SIZE;
    return i->max_price.ticks > 0 && ticks > i->max_price.ticks ? REJECT_TICK_SIZE : REJECT_NONE;
}

static int check_lot(const struct check_input *in)
{
    const struct instrument *i = in->order->instrument;
    int64_t lots = in->order->quantity.lots;
    if (lots < i->min_quantity.lots)
        return REJECT_LOT_SIZE;
    return i->max_quantity.lots > 0 && lots > i->max_quantity.lots ? REJECT_LOT_SIZE : REJECT_NONE;
}

/* A reduce-only order is exempt (Binance USD-M docs, error -4164). */
static int check_min_notional(const struct check_input *in)
{
    const struct order *o = in->order;
    if (in->reducing && o->reduce_only)
        return REJECT_NONE;
    struct money notional = instrument_notional_down(o->instrument, o->price, o->quantity);
    return notional.micros < o->instrument->min_notional.micros ? REJECT_MIN_NOTIONAL : REJECT_NONE;
}

static int check_max_quantity(const struct check_input *in)
{
    return in->order->quantity.lots <= in->view->limits->max_order_quantity.lots
               ? REJECT_NONE
               : REJECT_MAX_QUANTITY;
}

static int check_max_notional(const struct check_input *in)
{
    const struct order *o = in->order;
    struct money notional = instrument_notional_up(o->instrument, o->price, o->quantity);
    return notional.micros <= in->view->limits->max_order_notional.micros ? REJECT_NONE
                                                                          : REJECT_MAX_NOTIONAL;
}

/* Without a market there is nothing to measure from: only an exit gets here then. */
static int check_collar(const struct check_input *in)
{
    const struct risk_market *market = in->view->market;
    if (!market->synced)
        return in->reducing ? REJECT_NONE : REJECT_STALE_DATA;
    int64_t twice = market->bid.ticks + market->ask.ticks;
    int64_t away = 2 * in->order->price.ticks - twice;
    away = away < 0 ? -away : away;
    return away <= muldiv_down(twice, in->view->limits->price_collar_ppm, 1000000)
               ? REJECT_NONE
               : REJECT_PRICE_COLLAR;
}

static int check_position(const struct check_input *in)
{
    const struct order *o = in->order;
    int64_t worst = exposure_worst_lots(in->view->exposure, o->side, o->quantity);
    return worst <= in->view->limits->max_position.lots ? REJECT_NONE : REJECT_POSITION_LIMIT;
}

/* Short positions can lose without bound: they need a stress move to be charged by. */
static int check_shock(const struct check_input *in)
{
    const struct order *o = in->order;
    return o->instrument->shock_ppm > 0 || o->side == SIDE_BUY ? REJECT_NONE : REJECT_NO_SHOCK;
}

static int check_open_orders(const struct check_input *in)
{
    if (in->view->exposure->count >= EXPOSURE_ORDERS)
        return REJECT_OPEN_ORDERS;
    int count = exposure_own_orders(in->view->exposure);
    return in->reducing || count < in->view->limits->max_open_orders ? REJECT_NONE
                                                                     : REJECT_OPEN_ORDERS;
}

static int check_self_trade(const struct check_input *in)
{
    return exposure_crosses(in->view->exposure, in->order->side, in->order->price, false)
               ? REJECT_SELF_TRADE
               : REJECT_NONE;
}

static int check_post_only(const struct check_input *in)
{
    const struct order *o = in->order;
    const struct risk_market *market = in->view->market;
    if (o->time_in_force != TIF_POST_ONLY || !market->synced)
        return REJECT_NONE;
    bool crosses = o->side == SIDE_BUY ? o->price.ticks >= market->ask.ticks
                                       : o->price.ticks <= market->bid.ticks;
    return crosses ? REJECT_POST_ONLY_CROSS : REJECT_NONE;
}

static int check_runaway(const struct check_input *in)
{
    return in->view->runaway->tripped ? REJECT_RUNAWAY : REJECT_NONE;
}

static int check_daily_loss(const struct check_input *in)
{
    int64_t most = in->view->limits->daily_loss.micros;
    return most > 0 && in->view->day_micros > -most ? REJECT_NONE : REJECT_DAILY_LOSS;
}

static int check_throttle(const struct check_input *in)
{
    int message = in->reducing ? RISK_MESSAGE_REDUCING : RISK_MESSAGE_ORDER;
    return risk_throttle_allows(in->view->throttle, message, in->view->now_ns) ? REJECT_NONE
                                                                               : REJECT_THROTTLE;
}

/* Who must pass: everyone, or those that add risk. A check that belongs to orders reserved by
 * another process too is marked: that process looks at the rest. */
enum check_scope { ALL, ADDING };

static const struct check {
    const char *name;
    int (*look)(const struct check_input *in);
    enum check_scope scope;
    bool delegated;
} checks[] = {
    {"mode", check_mode, ALL, true},
    {"shape", check_shape, ALL, true},
    {"duplicate", check_duplicate, ALL, true},
    {"ledger_present", check_ledger_present, ALL, false},
    {"halted", check_halted, ALL, true},
    {"session", check_session, ALL, true},
    {"reconciled", check_reconciled, ALL, false},
    {"cash", check_cash, ADDING, false},
    {"trading", check_trading, ALL, true},
    {"dead_man", check_dead_man, ADDING, false},
    {"journal", check_journal, ALL, false},
    {"clock", check_clock, ADDING, false},
    {"market", check_market, ADDING, false},
    {"tick", check_tick, ALL, true},
    {"lot", check_lot, ALL, true},
    {"min_notional", check_min_notional, ALL, true},
    {"max_quantity", check_max_quantity, ALL, false},
    {"max_notional", check_max_notional, ADDING, false},
    {"collar", check_collar, ALL, false},
    {"post_only", check_post_only, ALL, false},
    {"shock", check_shock, ADDING, false},
    {"position", check_position, ADDING, false},
    {"open_orders", check_open_orders, ALL, false},
    {"self_trade", check_self_trade, ALL, false},
    {"runaway", check_runaway, ADDING, true},
    {"daily_loss", check_daily_loss, ADDING, false},
    {"throttle", check_throttle, ALL, true},
};
#define CHECKS ((int)(sizeof checks / sizeof checks[0]))

/* The last of all: the shared budget. */
static int reserve(const struct risk_view *view, const struct order *order,
                   struct risk_reservation *out)
{
    struct exposure_order extra = {
        .client_order_id = order->client_order_id,
        .price = order->price,
        .remaining = order->quantity,
        .side = order->side,
        .strategy = order->strategy,
    };
    int64_t with[2];
    exposure_with(view->exposure, &extra, with);
    for (int d = 0; d < 2; d++) {
        out->used_before_micros[d] = view->others_micros[d] + view->exposure->used_micros[d];
        out->used_after_micros[d] = view->others_micros[d] + with[d];
    }
    struct ledger_order judged = {
        .client_order_id = order->client_order_id,
        .venue = order->instrument->venue,
        .side = order->side,
        .strategy = order->strategy,
        .reducing = out->reducing,
        .price_e9 = instrument_price_e9(order->instrument, order->price),
        .quantity_e9 = instrument_quantity_e9(order->instrument, order->quantity),
    };
    memcpy(judged.symbol, order->instrument->symbol, sizeof judged.symbol);
    judged.window_ns = view->venue->validity_window_ns;
    if (view->venue->operations != NULL && view->venue->operations->query_id != NULL)
        view->venue->operations->query_id(view->venue, order->client_order_id, judged.query_id);
    return ledger_reserve(view->ledger, &out->slot, &judged, out->used_after_micros, view->now_ns);
}

int risk_check(const struct risk_view *view, const struct order *order,
               struct risk_reservation *reservation)
{
    memset(reservation, 0, sizeof *reservation);
    struct check_input in = {
        .view = view,
        .order = order,
        .reducing = exposure_reduces(view->exposure, order->side, order->quantity),
    };
    reservation->reducing = in.reducing;
    for (int n = 0; n < CHECKS; n++) {
        if ((view->delegated && !checks[n].delegated) || (in.reducing && checks[n].scope == ADDING))
            continue;
        int reason = checks[n].look(&in);
        if (reason != REJECT_NONE)
            return reason;
    }
    return view->delegated ? REJECT_NONE : reserve(view, order, reservation);
}

int risk_gate(const struct risk_view *view, const struct risk_reservation *reservation)
{
    if (view->delegated)
        return REJECT_NONE;
    return ledger_gate(view->ledger, reservation->slot, reservation->used_before_micros,
                       view->now_ns);
}

const char *risk_check_name(int n)
{
    if (n == CHECKS)
        return "ledger";
    return n >= 0 && n < CHECKS ? checks[n].name : NULL;
}
