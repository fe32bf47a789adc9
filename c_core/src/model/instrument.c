/* Conversions between ticks and lots and the units that cross process boundaries. */
#include "instrument.h"

/* price_e9 * quantity_e9 is USD times 1e18; a micro-dollar is 1e12 of those. */
#define E18_PER_MICRO 1000000000000

int64_t instrument_price_e9(const struct instrument *i, struct price p)
{
    int64_t r;
    CHECK(!__builtin_mul_overflow(p.ticks, i->tick_e9, &r));
    return r;
}

int64_t instrument_quantity_e9(const struct instrument *i, struct quantity q)
{
    int64_t r;
    CHECK(!__builtin_mul_overflow(q.lots, i->lot_e9, &r));
    return r;
}

struct money instrument_notional_up(const struct instrument *i, struct price p, struct quantity q)
{
    return (struct money){
        muldiv_up(instrument_price_e9(i, p), instrument_quantity_e9(i, q), E18_PER_MICRO)};
}

struct money instrument_notional_down(const struct instrument *i, struct price p, struct quantity q)
{
    return (struct money){
        muldiv_down(instrument_price_e9(i, p), instrument_quantity_e9(i, q), E18_PER_MICRO)};
}

bool instrument_price_from_e9(const struct instrument *i, int64_t e9, struct price *out)
{
    if (i->tick_e9 <= 0 || e9 % i->tick_e9 != 0)
        return false;
    out->ticks = e9 / i->tick_e9;
    return true;
}

bool instrument_quantity_from_e9(const struct instrument *i, int64_t e9, struct quantity *out)
{
    if (i->lot_e9 <= 0 || e9 % i->lot_e9 != 0)
        return false;
    out->lots = e9 / i->lot_e9;
    return true;
}
