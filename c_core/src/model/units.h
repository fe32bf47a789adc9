/*
 * units.h: price, quantity and money are different types, so that swapped arguments do not compile.
 * All arithmetic between them lives here; every operation that can overflow is checked (CHECK).
 *
 * A price counts ticks and a quantity counts lots of one instrument; instrument.h converts.
 */
#ifndef PURSER_MODEL_UNITS_H
#define PURSER_MODEL_UNITS_H

#include <stdint.h>

#include "../base/check.h"

struct price {
    int64_t ticks;
};
struct quantity {
    int64_t lots;
};
struct money {
    int64_t micros;
};

__extension__ typedef __int128 purser_int128;

/* money_add, money_sub: exact; an overflow is a bug. */
static inline struct money money_add(struct money a, struct money b)
{
    struct money r;
    CHECK(!__builtin_add_overflow(a.micros, b.micros, &r.micros));
    return r;
}

static inline struct money money_sub(struct money a, struct money b)
{
    struct money r;
    CHECK(!__builtin_sub_overflow(a.micros, b.micros, &r.micros));
    return r;
}

/* muldiv_up, muldiv_down: a * b / c with a 128-bit intermediate, rounded away from zero / toward
 * zero. c > 0. */
static inline int64_t muldiv_down(int64_t a, int64_t b, int64_t c)
{
    purser_int128 r = (purser_int128)a * b / c;
    CHECK(r <= INT64_MAX && r >= INT64_MIN);
    return (int64_t)r;
}

static inline int64_t muldiv_up(int64_t a, int64_t b, int64_t c)
{
    purser_int128 p = (purser_int128)a * b;
    purser_int128 r = p / c;
    if (p % c != 0)
        r += (p > 0) ? 1 : -1;
    CHECK(r <= INT64_MAX && r >= INT64_MIN);
    return (int64_t)r;
}

#endif
