/*
 * quoter.c: post-only quotes on both sides of every market that is ours to quote. Both prices shift
 * against the position, so that the side that brings it home trades first; a side whose fill would
 * carry the position past the maximum is left out. A quote moves only when its price is off by the
 * re-quote threshold, which keeps its place in the venue's queue.
 */
#include <string.h>

#include "strategy.h"

#define RETRY_NS 200000000 /* after a refusal */

static struct quoter *quoter_of(struct strategy *strategy)
{
    return (struct quoter *)strategy;
}

/* Rounds toward the middle, so that a quote is never farther away than asked. Works in half ticks.
 */
static int64_t wanted_ticks(const struct quoter *quoter, const struct engine_market *market,
                            int side, int level)
{
    int64_t spread = quoter->config.spread_ticks;
    int64_t skew_most = quoter->config.skew_ticks > 0 ? quoter->config.skew_ticks : spread;
    int64_t most = quoter->config.max_position_e9 / market->instrument->lot_e9;
    int64_t held = market->strategy_lots[STRATEGY_QUOTER];
    int64_t skew = most > 0 ? muldiv_down(2 * skew_most, held, most) : 0;
    int64_t middle = market->top.bid.ticks + market->top.ask.ticks - skew;
    int64_t away = spread + 2 * spread * level;
    if (side == SIDE_BUY) {
        int64_t ticks = (middle - away + 1) / 2;
        int64_t best = market->top.ask.ticks - 1 - level;
        return ticks < best ? ticks : best;
    }
    int64_t ticks = (middle + away) / 2;
    int64_t best = market->top.bid.ticks + 1 + level;
    return ticks > best ? ticks : best;
}

/* The position after all quotes of the side have filled must stay within the maximum. */
static bool has_room(const struct quoter *quoter, const struct engine_market *market, int side,
                     int level)
{
    int64_t most = quoter->config.max_position_e9 / market->instrument->lot_e9;
    int64_t lots = quoter->config.quantity_e9 / market->instrument->lot_e9 * (level + 1);
    int64_t held = market->strategy_lots[STRATEGY_QUOTER];
    return side == SIDE_BUY ? held + lots <= most : held - lots >= -most;
}

/* The new quote does not wait until the old one is confirmed gone, as long as both could fill
 * within the maximum. An old quote of the other side that it would trade with must be gone first:
 * its end brings us back here. */
static bool may_replace(const struct quoter *quoter, const struct engine_market *market, int side,
                        int64_t ticks)
{
    if (exposure_crosses(&market->exposure, side, (struct price){ticks}, false))
        return false;
    int64_t lots = quoter->config.quantity_e9 / market->instrument->lot_e9;
    for (int n = 0; n < market->exposure.count; n++) {
        const struct exposure_order *open = &market->exposure.orders[n];
        if (open->strategy == STRATEGY_QUOTER && open->side == side)
            lots += open->remaining.lots;
    }
    int64_t most = quoter->config.max_position_e9 / market->instrument->lot_e9;
    int64_t held = market->strategy_lots[STRATEGY_QUOTER];
    return side == SIDE_BUY ? held + lots <= most : held - lots >= -most;
}

static void place(struct quoter *quoter, const struct engine_market *market, int side, int level,
                  int64_t ticks, int64_t now_ns)
{
    struct quoter_side *own = &quoter->sides[market->index][side];
    struct order_request request = {
        .market = market->index,
        .side = (uint8_t)side,
        .type = ORDER_LIMIT,
        .time_in_force = TIF_POST_ONLY,
        .strategy = STRATEGY_QUOTER,
        .price = {ticks},
        .quantity = {quoter->config.quantity_e9 / market->instrument->lot_e9},
    };
    if (engine_place(quoter->strategy.engine, &request, &own->orders[level]) != REJECT_NONE)
        own->retry_ns = now_ns + RETRY_NS;
}

static void quote_level(struct quoter *quoter, const struct engine_market *market, int side,
                        int level, bool may_quote, int64_t now_ns)
{
    struct engine *engine = quoter->strategy.engine;
    struct quoter_side *own = &quoter->sides[market->index][side];
    const struct order *order =
        own->orders[level] ? engine_order(engine, own->orders[level]) : NULL;
    if (!order || order_state_is_terminal(order->state)) {
        own->orders[level] = 0;
        order = NULL;
    }
    bool wanted = may_quote && has_room(quoter, market, side, level) &&
                  engine_step_aside_until(engine, market->index, side) <= now_ns;
    if (!wanted) {
        if (order && !order->cancel_requested)
            engine_withdraw(engine, order->client_order_id);
        return;
    }
    int64_t ticks = wanted_ticks(quoter, market, side, level);
    if (ticks <= 0)
        return;
    if (order && !order->cancel_requested) {
        int64_t off =
            ticks > order->price.ticks ? ticks - order->price.ticks : order->price.ticks - ticks;
        if (off < quoter->config.requote_ticks)
            return;
        engine_withdraw(engine, order->client_order_id);
    }
    if (now_ns >= own->retry_ns && may_replace(quoter, market, side, ticks))
        place(quoter, market, side, level, ticks, now_ns);
}

static void quote(struct quoter *quoter, const struct engine_market *market, int64_t now_ns)
{
    if (market->index >= STRATEGY_MARKETS || market->delegated)
        return;
    bool may_quote = engine_may_quote(quoter->strategy.engine, market);
    int levels = quoter->config.levels;
    for (int level = 0; level < levels; level++) {
        quote_level(quoter, market, SIDE_BUY, level, may_quote, now_ns);
        quote_level(quoter, market, SIDE_SELL, level, may_quote, now_ns);
    }
}

static void on_book(struct strategy *strategy, const struct engine_market *market, int64_t now_ns)
{
    quote(quoter_of(strategy), market, now_ns);
}

/* A cancelled or filled quote is replaced at once, without waiting for the next tick. */
static void on_execution(struct strategy *strategy, const struct engine_market *market,
                         const struct order *order, const struct execution_report *report,
                         int64_t now_ns)
{
    struct quoter *quoter = quoter_of(strategy);
    if (market->index >= STRATEGY_MARKETS)
        return;
    if (report->execution_type == EXEC_REJECTED)
        quoter->sides[market->index][order->side].retry_ns = now_ns + RETRY_NS;
    if (order_state_is_terminal(order->state))
        quote(quoter, market, now_ns);
}

static void on_timer(struct strategy *strategy, int64_t now_ns)
{
    struct quoter *quoter = quoter_of(strategy);
    if (now_ns < quoter->next_ns)
        return;
    quoter->next_ns = now_ns + QUOTER_TIMER_NS;
    for (int n = 0; n < engine_market_count(strategy->engine); n++)
        quote(quoter, engine_market_at(strategy->engine, n), now_ns);
}

void quoter_init(struct quoter *quoter, struct engine *engine, const struct quoter_config *config)
{
    static const struct strategy_operations operations = {
        .on_book = on_book,
        .on_execution = on_execution,
        .on_timer = on_timer,
    };
    memset(quoter, 0, sizeof *quoter);
    quoter->strategy = (struct strategy){
        .id = STRATEGY_QUOTER,
        .name = "quoter",
        .operations = &operations,
        .engine = engine,
    };
    quoter->config = *config;
    if (quoter->config.levels < 1)
        quoter->config.levels = 1;
    if (quoter->config.levels > QUOTER_LEVELS)
        quoter->config.levels = QUOTER_LEVELS;
    if (quoter->config.requote_ticks < 1)
        quoter->config.requote_ticks = 1;
}
