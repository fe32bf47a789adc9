/*
 * risk_limits.h: the limits a person configured, and the same in one instrument's ticks and lots.
 * A limit that is zero or missing denies; it never means "none".
 */
#ifndef PURSER_RISK_RISK_LIMITS_H
#define PURSER_RISK_RISK_LIMITS_H

#include "../model/instrument.h"

/* As configured, in the units of protocol.h. */
struct risk_config {
    int64_t max_order_quantity_e9;
    int64_t max_order_notional_micros;
    int64_t max_position_e9;
    int64_t price_collar_ppm;
    int64_t stale_ns;
    int64_t daily_loss_micros;
    int64_t clock_offset_max_ns; /* 0: 1 s */
    int64_t ack_timeout_ns;      /* 0: 1 s; then an unanswered order is UNKNOWN */
    int max_open_orders;         /* per instrument */
    int orders_per_10s;          /* messages of all kinds; the last fifth is for cancels only */
    int reject_streak_max;       /* 0: 20 refusals by the venue in a row trip the runaway guard */
    int duplicate_fills_max;     /* 0: 50 repeated executions in 10 s trip it too */
};

struct risk_limits {
    struct quantity max_order_quantity;
    struct money max_order_notional;
    struct quantity max_position;
    struct money daily_loss;
    int64_t price_collar_ppm;
    int64_t stale_ns;
    int64_t clock_offset_max_ns;
    int max_open_orders;
};

/* risk_limits_resolve: converts for one instrument; quantities are cut down to whole lots. */
void risk_limits_resolve(struct risk_limits *limits, const struct risk_config *config,
                         const struct instrument *instrument);

/* risk_config_problem: a sentence saying which limit is missing and where to put it, or NULL. */
const char *risk_config_problem(const struct risk_config *config);

#endif
