/*
 * order_book.h: the price ladder of one instrument.
 *
 * Each side is an array of quantities indexed by tick modulo the window, with one bit per level, so
 * that setting a level is a store and a bit, and finding the next best is a few words of bitset.
 * Real updates touch levels all over a book of 5,000 a side, and some lie far from the market:
 * levels outside the window live in a sorted overflow store. The window follows the best price;
 * levels that leave it move to the store, and back.
 *
 * Invariant: when a side has levels, its best is in the window, and every level of the store is
 * worse than all of the window.
 *
 * All memory comes from the arena at order_book_init. When the store is full, the level farthest
 * from the market is forgotten and counted: levels never seen are unknown, not empty, so this loses
 * nothing that a snapshot's depth limit does not lose already.
 */
#ifndef PURSER_BOOK_ORDER_BOOK_H
#define PURSER_BOOK_ORDER_BOOK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/arena.h"
#include "../model/units.h"

#define ORDER_BOOK_WINDOW   131072 /* ticks of one side's window: a power of two, at least 512 */
#define ORDER_BOOK_OVERFLOW 8192   /* levels of one side's store */

enum book_side { BOOK_BID = 0, BOOK_ASK = 1 }; /* the same numbers as SIDE_BUY and SIDE_SELL */

struct book_level {
    struct price price;
    struct quantity quantity;
};

/* A side that is empty has quantity 0 and price 0. */
struct top_of_book {
    struct price bid, ask;
    struct quantity bid_quantity, ask_quantity;
};

struct order_book_side {
    int64_t *lots; /* by tick modulo window */
    uint64_t *bits;
    struct book_level *overflow; /* sorted by price, worst first */
    size_t overflow_count;
    size_t window_count;
    int64_t base; /* first tick of the window, a multiple of 64 */
    int64_t best; /* ticks; meaningless when both counts are 0 */
};

struct order_book {
    struct order_book_side sides[2];
    /* kept for the owner */
    int64_t recentred, forgotten;
};

/* order_book_init: in place. Two sides, 1 MB + 16 KB + 128 KB each. */
void order_book_init(struct order_book *book, struct arena *arena);
void order_book_clear(struct order_book *book);

/* order_book_set: the level at this price now has this quantity; 0 removes it (removing an unknown
 * level is normal). Prices and quantities are not negative: a decoder has checked that. */
void order_book_set(struct order_book *book, enum book_side side, struct price price,
                    struct quantity quantity);

/* order_book_load: clears, then sets a snapshot's levels. */
void order_book_load(struct order_book *book, const struct book_level *bids, size_t bid_count,
                     const struct book_level *asks, size_t ask_count);

struct top_of_book order_book_top(const struct order_book *book);
/* order_book_quantity: the quantity at a price; 0 when there is none. */
struct quantity order_book_quantity(const struct order_book *book, enum book_side side,
                                    struct price price);
/* order_book_levels: how many levels a side has. */
size_t order_book_levels(const struct order_book *book, enum book_side side);
/* order_book_depth: up to capacity levels, best first; returns how many. */
size_t order_book_depth(const struct order_book *book, enum book_side side, struct book_level *out,
                        size_t capacity);
/* order_book_is_crossed: both sides have levels and bid >= ask: the book is wrong. */
bool order_book_is_crossed(const struct order_book *book);
/* order_book_mid_e9, order_book_microprice_e9: USD times 1e9, rounded down; 0 when a side is empty.
 * The microprice weighs each side's price with the other side's quantity. */
int64_t order_book_mid_e9(const struct order_book *book, int64_t tick_e9);
int64_t order_book_microprice_e9(const struct order_book *book, int64_t tick_e9);

#endif
