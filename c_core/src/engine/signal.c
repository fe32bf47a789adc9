/*
 * signal.c: mid, microprice and annualised volatility of every market with a whole book, told to
 * the telemetry thread and to the bot at a bounded rate.
 *
 * Volatility is the exponentially weighted mean of squared log returns per second, sampled once a
 * second: faster sampling measures the bounce between bid and ask, not the market. Until a
 * half-life has passed the average is that of the samples so far, and the floor holds below. The
 * values are estimates, so this is the one place in the engine that calculates in floating point;
 * nothing here is money.
 */
#include <math.h>
#include <string.h>

#include "strategy.h"

#define SAMPLE_NS        1000000000
#define GAP_NS           5000000000 /* no return is taken across a longer silence */
#define SECONDS_PER_YEAR (365.0 * 86400.0)

static struct signal *signal_of(struct strategy *strategy)
{
    return (struct signal *)strategy;
}

static void sample(const struct signal_config *config, struct signal_market *market, int64_t mid_e9,
                   int64_t now_ns)
{
    int64_t elapsed_ns = now_ns - market->sample_ns;
    if (market->sample_ns > 0 && elapsed_ns < SAMPLE_NS)
        return;
    if (market->sample_ns > 0 && elapsed_ns <= GAP_NS) {
        double seconds = (double)elapsed_ns / 1e9;
        double change = log((double)mid_e9 / (double)market->sample_mid_e9);
        double half_life = (double)config->half_life_ns / 1e9;
        double kept = half_life > 0 ? exp2(-seconds / half_life) : 0;
        double weight = market->seconds * kept + seconds;
        market->variance = (market->variance * market->seconds * kept + change * change) / weight;
        market->seconds = weight;
    }
    market->sample_ns = now_ns;
    market->sample_mid_e9 = mid_e9;
}

static int64_t volatility_e9(const struct signal_config *config, const struct signal_market *market)
{
    int64_t estimate = (int64_t)(sqrt(market->variance * SECONDS_PER_YEAR) * 1e9);
    return estimate > config->volatility_floor_e9 ? estimate : config->volatility_floor_e9;
}

/* Each side's price weighted with the other side's quantity. */
static int64_t microprice_e9(const struct engine_market *market)
{
    const struct risk_market *top = &market->top;
    int64_t width_e9 = (top->ask.ticks - top->bid.ticks) * market->instrument->tick_e9;
    int64_t total = top->bid_quantity.lots + top->ask_quantity.lots;
    return top->bid.ticks * market->instrument->tick_e9 +
           muldiv_down(width_e9, top->bid_quantity.lots, total);
}

static void publish(struct signal *signal, const struct engine_market *market,
                    const struct signal_market *own)
{
    const struct instrument *i = market->instrument;
    struct message_signal message = {
        .venue = i->venue,
        .state = (uint16_t)(market->top.synced ? SESSION_READY : SESSION_SYNCING),
        .bid_e9 = instrument_price_e9(i, market->top.bid),
        .ask_e9 = instrument_price_e9(i, market->top.ask),
        .mid_e9 = own->latest.mid_e9,
        .microprice_e9 = own->latest.microprice_e9,
        .volatility_e9 = own->latest.volatility_e9,
        .venue_wall_ns = own->venue_wall_ns,
        .received_ns = market->top.received_ns,
    };
    memcpy(message.symbol, i->symbol, sizeof message.symbol);
    engine_signal_sent(signal->strategy.engine, &message);
}

/* A book that lost its sequence is told at once, so that nobody quotes on the last value. */
static void on_book(struct strategy *strategy, const struct engine_market *market, int64_t now_ns)
{
    struct signal *signal = signal_of(strategy);
    if (market->index >= STRATEGY_MARKETS || market->delegated)
        return;
    struct signal_market *own = &signal->markets[market->index];
    bool changed = own->synced != market->top.synced;
    own->synced = market->top.synced;
    if (market->top.synced) {
        const struct instrument *i = market->instrument;
        int64_t mid_e9 = (market->top.bid.ticks + market->top.ask.ticks) * i->tick_e9 / 2;
        sample(&signal->config, own, mid_e9, now_ns);
        if (!changed && now_ns - own->published_ns < signal->config.interval_ns)
            return;
        memcpy(own->latest.symbol, i->symbol, sizeof own->latest.symbol);
        own->latest.mid_e9 = mid_e9;
        own->latest.microprice_e9 = microprice_e9(market);
        own->latest.volatility_e9 = volatility_e9(&signal->config, own);
        own->latest.updated_ns = market->top.received_ns;
    } else if (!changed) {
        return;
    }
    own->latest.count++;
    own->published_ns = now_ns;
    own->venue_wall_ns = engine_wall_of(strategy->engine, market);
    publish(signal, market, own);
}

int signal_fill_page(const struct signal *signal, struct page_signal out[PAGE_SIGNALS])
{
    int count = 0;
    for (int n = 0; n < STRATEGY_MARKETS && count < PAGE_SIGNALS; n++)
        if (signal->markets[n].latest.count > 0)
            out[count++] = signal->markets[n].latest;
    return count;
}

void signal_init(struct signal *signal, struct engine *engine, const struct signal_config *config)
{
    static const struct strategy_operations operations = {.on_book = on_book};
    memset(signal, 0, sizeof *signal);
    signal->strategy = (struct strategy){
        .id = STRATEGY_NONE,
        .name = "signal",
        .operations = &operations,
        .engine = engine,
    };
    signal->config = *config;
}
