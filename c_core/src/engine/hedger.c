/*
 * hedger.c: brings the position that the bot asked for. The target is absolute, so a request that
 * is lost, late or repeated does no harm: what is still missing is the target less what fills with
 * this strategy's id have made. One order at a time: an immediate-or-cancel limit at the collar,
 * and the next one only after the venue has said how the last one ended.
 */
#include <string.h>

#include "strategy.h"

#define ASIDE_NS 1000000000 /* how long the quoter is asked to stay away */
#define PPM      1000000

static struct hedger *hedger_of(struct strategy *strategy)
{
    return (struct hedger *)strategy;
}

static int64_t clamp(int64_t value, int64_t most)
{
    if (value > most)
        return most;
    return value < -most ? -most : value;
}

/* Lots still to trade; 0 when what is missing is less than the smallest order. */
static int64_t missing_lots(const struct hedger *hedger, const struct engine_market *market,
                            const struct message_hedge *request)
{
    int64_t lot_e9 = market->instrument->lot_e9;
    int64_t target = clamp(request->target_e9, hedger->config.max_position_e9) / lot_e9;
    int64_t missing = target - market->strategy_lots[STRATEGY_HEDGER];
    int64_t size = missing < 0 ? -missing : missing;
    int64_t least = hedger->config.min_order_e9 / lot_e9;
    if (size == 0 || size < least || size < market->instrument->min_quantity.lots)
        return 0;
    return clamp(missing, market->limits.max_order_quantity.lots);
}

/* The mid plus or minus the collar, cut to a tick on the near side. */
static struct price limit_price(const struct hedger *hedger, const struct engine_market *market,
                                const struct message_hedge *request, int side)
{
    int64_t collar_ppm = hedger->config.collar_ppm;
    if (request->price_limit_ppm > 0 && request->price_limit_ppm < collar_ppm)
        collar_ppm = request->price_limit_ppm;
    int64_t twice = market->top.bid.ticks + market->top.ask.ticks;
    if (side == SIDE_BUY)
        return (struct price){muldiv_down(twice, PPM + collar_ppm, 2 * PPM)};
    return (struct price){muldiv_up(twice, PPM - collar_ppm, 2 * PPM)};
}

static bool may_act(struct hedger *hedger, const struct engine_market *market,
                    struct hedger_market *own, int64_t now_ns)
{
    if (!own->wanted || now_ns < own->next_ns || now_ns >= own->request.expires_ns)
        return false;
    if (own->order) {
        const struct order *order = engine_order(hedger->strategy.engine, own->order);
        if (order && !order_state_is_terminal(order->state))
            return false;
        own->order = 0;
    }
    return market->top.synced;
}

static void hedge(struct hedger *hedger, const struct engine_market *market, int64_t now_ns)
{
    struct engine *engine = hedger->strategy.engine;
    struct hedger_market *own = &hedger->markets[market->index];
    if (!may_act(hedger, market, own, now_ns))
        return;
    int64_t missing = missing_lots(hedger, market, &own->request);
    if (missing == 0)
        return;
    int side = missing > 0 ? SIDE_BUY : SIDE_SELL;
    struct quantity size = {missing > 0 ? missing : -missing};
    if (!engine_may_quote(engine, market) && !exposure_reduces(&market->exposure, side, size))
        return;
    struct order_request order = {
        .market = market->index,
        .side = (uint8_t)side,
        .type = ORDER_LIMIT,
        .time_in_force = TIF_IOC,
        .strategy = STRATEGY_HEDGER,
        .price = limit_price(hedger, market, &own->request, side),
        .quantity = size,
    };
    if (exposure_crosses(&market->exposure, side, order.price, false)) {
        /* Asked in each turn until the way is free, which takes one cancel's round trip. */
        engine_step_aside(engine, market->index, side ^ 1, now_ns + ASIDE_NS);
        return;
    }
    own->next_ns = now_ns + hedger->config.interval_ns;
    if (engine_place(engine, &order, &own->order) == REJECT_NONE)
        engine_hedge_sent(engine);
}

static void on_hedge(struct strategy *strategy, const struct message_hedge *request, int64_t now_ns)
{
    struct hedger *hedger = hedger_of(strategy);
    (void)now_ns;
    char symbol[PROTOCOL_SYMBOL + 1] = {0};
    memcpy(symbol, request->symbol, PROTOCOL_SYMBOL);
    const struct engine_market *market =
        engine_market_find(strategy->engine, VENUE_BINANCE, symbol);
    if (!market || market->index >= STRATEGY_MARKETS) {
        engine_say(strategy->engine, EVENT_WARNING, VENUE_BINANCE, REJECT_UNKNOWN_INSTRUMENT, 0,
                   "hedge_refused", "no instrument %.32s to hedge with", symbol);
        return;
    }
    struct hedger_market *own = &hedger->markets[market->index];
    own->request = *request;
    own->wanted = true;
    engine_tell_hedge_position(strategy->engine, market);
}

static void on_timer(struct strategy *strategy, int64_t now_ns)
{
    struct hedger *hedger = hedger_of(strategy);
    for (int n = 0; n < engine_market_count(strategy->engine) && n < STRATEGY_MARKETS; n++)
        if (hedger->markets[n].wanted)
            hedge(hedger, engine_market_at(strategy->engine, n), now_ns);
}

static void on_execution(struct strategy *strategy, const struct engine_market *market,
                         const struct order *order, const struct execution_report *report,
                         int64_t now_ns)
{
    struct hedger *hedger = hedger_of(strategy);
    (void)now_ns;
    if (market->index >= STRATEGY_MARKETS)
        return;
    if (order_state_is_terminal(order->state) &&
        hedger->markets[market->index].order == order->client_order_id)
        hedger->markets[market->index].order = 0;
    if (report->execution_type == EXEC_TRADE)
        engine_tell_hedge_position(strategy->engine, market);
}

void hedger_init(struct hedger *hedger, struct engine *engine, const struct hedger_config *config)
{
    static const struct strategy_operations operations = {
        .on_execution = on_execution,
        .on_timer = on_timer,
        .on_hedge = on_hedge,
    };
    memset(hedger, 0, sizeof *hedger);
    hedger->strategy = (struct strategy){
        .id = STRATEGY_HEDGER,
        .name = "hedger",
        .operations = &operations,
        .engine = engine,
    };
    hedger->config = *config;
}
