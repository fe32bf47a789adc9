/*
 * polymarket_types.h: Polymarket as C code sees it: a view of bridge/protocol.h. An outcome token
 * is an instrument of its own; its price is the probability in USD, and its quantity is in shares.
 *
 * The finest grid of the venue is used for every token (price 0.0001, quantity 0.01 shares:
 * Polymarket docs, "Orders", tick sizes 0.1 to 0.0001); the bot, which knows each market's own
 * tick, refuses what is not on it with TICK_SIZE.
 */
#ifndef PURSER_CONNECTORS_POLYMARKET_TYPES_H
#define PURSER_CONNECTORS_POLYMARKET_TYPES_H

#include "../../model/instrument.h"

#define POLYMARKET_TICK_E9 100000
#define POLYMARKET_LOT_E9  10000000
#define POLYMARKET_TOKENS  32 /* outcome tokens that C code may follow at once */

/* polymarket_instrument_init: the instrument of one outcome token. */
static inline void polymarket_instrument_init(struct instrument *instrument, uint16_t index,
                                              const char symbol[PROTOCOL_SYMBOL])
{
    *instrument = (struct instrument){
        .venue = VENUE_POLYMARKET,
        .index = index,
        .tick_e9 = POLYMARKET_TICK_E9,
        .lot_e9 = POLYMARKET_LOT_E9,
        .price_decimals = 4,
        .quantity_decimals = 2,
        .min_price = {1},
        .max_price = {9999},
        .min_quantity = {1},
        .max_quantity = {100000000},
        .shock_ppm = 1000000, /* a share can lose all of its price */
        .trading = true,
    };
    for (int i = 0; i < PROTOCOL_SYMBOL; i++)
        instrument->symbol[i] = symbol[i];
}

#endif
