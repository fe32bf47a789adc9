/*
 * binance_levels.h: the price and quantity pairs of depth messages as exact ticks and lots. They
 * are nine tenths of all received bytes, so there are two readers of the usual spelling with the
 * same results: one digit at a time, and one that converts a pair at once with AVX2 where the build
 * has it (-march, see the Makefile). A third takes any spelling that JSON allows.
 */
#ifndef PURSER_CONNECTORS_BINANCE_LEVELS_H
#define PURSER_CONNECTORS_BINANCE_LEVELS_H

#include "../../base/decimal.h"
#include "binance_fields.h"

/* One grid of an instrument with the step for the number of decimals seen last: a venue prints all
 * prices of a symbol alike, so the general conversion runs once a message. */
struct grid {
    int64_t grid_e9;
    int decimals;     /* -1: none seen yet */
    int64_t step;     /* of the mantissa; 0: use the general conversion */
    uint64_t inverse; /* 2^64 / step, rounded up: divides values below 2^32 exactly */
};

static inline struct grid grid_for(int64_t grid_e9)
{
    return (struct grid){grid_e9, -1, 0, 0};
}

/* grid_adapt: to numbers with this many decimals. */
void grid_adapt(struct grid *grid, int decimals);

/* grid_convert: a mantissa with grid->decimals as a count of steps; false when it is off the grid.
 */
static inline bool grid_convert(const struct grid *grid, int64_t mantissa, int64_t *out)
{
    if (grid->step == 1) {
        *out = mantissa;
        return true;
    }
    if (grid->step == 0)
        return grid_count(out, mantissa, grid->decimals, grid->grid_e9);
    uint64_t value = (uint64_t)mantissa, step = (uint64_t)grid->step;
    __extension__ typedef unsigned __int128 uint128;
    uint64_t count =
        (value | step) >> 32 == 0 ? (uint64_t)((uint128)value * grid->inverse >> 64) : value / step;
    *out = (int64_t)count;
    return count * step == value;
}

/* grid_number: the unsigned decimal at the cursor as a count of steps. */
static inline bool grid_number(struct scan *scan, struct grid *grid, int64_t *out)
{
    int64_t mantissa;
    int decimals;
    if (!scan_mantissa(scan, &mantissa, &decimals))
        return false;
    if (decimals != grid->decimals)
        grid_adapt(grid, decimals);
    return grid_convert(grid, mantissa, out);
}

/* Levels read so far; full: the array was too small. */
struct level_array {
    struct book_level *levels;
    size_t count, capacity;
    bool full;
    struct grid price, quantity;
};

static inline struct level_array level_array_for(const struct instrument *instrument,
                                                 struct book_level *levels, size_t capacity)
{
    return (struct level_array){.levels = levels,
                                .capacity = capacity,
                                .price = grid_for(instrument->tick_e9),
                                .quantity = grid_for(instrument->lot_e9)};
}

/* levels_positional: [["61800.20","2.909"],…] from the cursor to its closing bracket, as the venue
 * writes it; *added is how many there were. False on anything else, and when the array is full.
 * levels_by_digit is the same without AVX2; they differ in speed alone. */
bool levels_positional(struct scan *scan, struct level_array *array, size_t *added);
bool levels_by_digit(struct scan *scan, struct level_array *array, size_t *added);

/* levels_any: a whole text of levels in any spelling that JSON allows; further items of a level are
 * ignored. */
bool levels_any(struct span text, struct level_array *array, size_t *added);

#endif
