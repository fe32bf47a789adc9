/* From configured limits to one instrument's ticks and lots. */
#include "risk_limits.h"

#include <stddef.h>

void risk_limits_resolve(struct risk_limits *limits, const struct risk_config *config,
                         const struct instrument *instrument)
{
    CHECK(instrument->lot_e9 > 0);
    *limits = (struct risk_limits){
        .max_order_quantity = {config->max_order_quantity_e9 / instrument->lot_e9},
        .max_order_notional = {config->max_order_notional_micros},
        .max_position = {config->max_position_e9 / instrument->lot_e9},
        .daily_loss = {config->daily_loss_micros},
        .price_collar_ppm = config->price_collar_ppm,
        .stale_ns = config->stale_ns,
        .clock_offset_max_ns =
            config->clock_offset_max_ns > 0 ? config->clock_offset_max_ns : 1000000000,
        .max_open_orders = config->max_open_orders,
    };
}

const char *risk_config_problem(const struct risk_config *config)
{
    if (config->max_order_quantity_e9 <= 0)
        return "risk.max_order_quantity is missing: set the largest quantity of one order";
    if (config->max_order_notional_micros <= 0)
        return "risk.max_order_notional_usd is missing: set the largest value of one order";
    if (config->max_position_e9 <= 0)
        return "risk.max_position is missing: set the largest position of one instrument";
    if (config->max_open_orders <= 0)
        return "risk.max_open_orders is missing: set how many orders may be open at once";
    if (config->price_collar_ppm <= 0)
        return "risk.price_collar_percent is missing: set how far from the market a price may be";
    if (config->orders_per_10s < 10)
        return "risk.orders_per_10s is missing or below 10: set how many messages may be sent in "
               "10 s";
    if (config->stale_ns <= 0)
        return "risk.stale_ms is missing: set after how long a silent feed is stale";
    if (config->daily_loss_micros <= 0)
        return "risk.daily_loss_usd is missing: set the loss of a day that stops trading";
    return NULL;
}
