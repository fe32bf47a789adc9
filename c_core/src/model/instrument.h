/*
 * instrument.h: one tradable contract at a venue: grids, limits, stress, and the conversions
 * between ticks and lots and the units that cross process boundaries (e9, micros).
 */
#ifndef PURSER_MODEL_INSTRUMENT_H
#define PURSER_MODEL_INSTRUMENT_H

#include <stdbool.h>

#include "../../../bridge/protocol.h"
#include "units.h"

struct instrument {
    uint16_t venue; /* enum venue_id */
    uint16_t index; /* its place in the engine's table */
    char symbol[PROTOCOL_SYMBOL];
    int64_t tick_e9;    /* USD per tick, times 1e9 */
    int64_t lot_e9;     /* units per lot, times 1e9 */
    int price_decimals; /* digits after the point on the wire */
    int quantity_decimals;
    struct price min_price, max_price;
    struct quantity min_quantity, max_quantity;
    struct money min_notional;
    int64_t percent_price_up_ppm,
        percent_price_down_ppm; /* venue's band around the mark; 0: none */
    int64_t maker_fee_ppm, taker_fee_ppm;
    int64_t shock_ppm; /* stress move; 0: none set: long at 100 %, no shorts */
    bool trading;
};

/* instrument_notional: price times quantity, rounded up / down to a micro-dollar. */
struct money instrument_notional_up(const struct instrument *i, struct price p, struct quantity q);
struct money instrument_notional_down(const struct instrument *i, struct price p,
                                      struct quantity q);
int64_t instrument_price_e9(const struct instrument *i, struct price p);
int64_t instrument_quantity_e9(const struct instrument *i, struct quantity q);
/* Exact conversions back: false when not on the grid. */
bool instrument_price_from_e9(const struct instrument *i, int64_t e9, struct price *out);
bool instrument_quantity_from_e9(const struct instrument *i, int64_t e9, struct quantity *out);

#endif
