/* Cost basis in whole micros; the rules are in the header. */
#include "pnl.h"

#include <string.h>

#define NS_PER_DAY   86400000000000
#define E8_PER_MICRO 100

bool pnl_init(struct pnl *pnl, const struct instrument *instrument, int64_t day)
{
    memset(pnl, 0, sizeof *pnl);
    pnl->instrument = instrument;
    pnl->day = day;
    purser_int128 unit = (purser_int128)instrument->tick_e9 * instrument->lot_e9;
    if (unit <= 0 || unit % 1000000000000 != 0 || unit / 1000000000000 > INT64_MAX)
        return false;
    pnl->unit_micros = (int64_t)(unit / 1000000000000);
    return true;
}

/* Exact value of lots at a price. */
static int64_t value_micros(const struct pnl *pnl, struct price price, int64_t lots)
{
    int64_t value;
    CHECK(!__builtin_mul_overflow(price.ticks, lots, &value));
    CHECK(!__builtin_mul_overflow(value, pnl->unit_micros, &value));
    return value;
}

static void add(int64_t *sum, int64_t amount)
{
    CHECK(!__builtin_add_overflow(*sum, amount, sum));
}

/* Buys or sells (signed lots) without fee and volume. */
static void trade(struct pnl *pnl, int64_t signed_lots, struct price price)
{
    int64_t held = pnl->position_lots;
    add(&pnl->cash_flow_micros, -value_micros(pnl, price, signed_lots));
    if (held != 0 && (held > 0) != (signed_lots > 0)) {
        int64_t held_size = held > 0 ? held : -held;
        int64_t size = signed_lots > 0 ? signed_lots : -signed_lots;
        int64_t closed = size < held_size ? size : held_size;
        int64_t released = closed == held_size ? pnl->cost_micros
                                               : muldiv_down(pnl->cost_micros, closed, held_size);
        int64_t closing = held > 0 ? -closed : closed;
        add(&pnl->realized_micros, -value_micros(pnl, price, closing));
        add(&pnl->realized_micros, -released);
        add(&pnl->cost_micros, -released);
        add(&pnl->position_lots, closing);
        signed_lots -= closing;
    }
    if (signed_lots != 0) {
        add(&pnl->cost_micros, value_micros(pnl, price, signed_lots));
        add(&pnl->position_lots, signed_lots);
    }
}

void pnl_fill(struct pnl *pnl, int side, struct price price, struct quantity quantity,
              int64_t fee_e8)
{
    CHECK(quantity.lots > 0 && price.ticks >= 0);
    trade(pnl, side == SIDE_BUY ? quantity.lots : -quantity.lots, price);
    add(&pnl->volume_micros, value_micros(pnl, price, quantity.lots));
    add(&pnl->fees_e8, fee_e8);
}

void pnl_reverse(struct pnl *pnl, int side, struct price price, struct quantity quantity,
                 int64_t fee_e8)
{
    CHECK(quantity.lots > 0 && price.ticks >= 0);
    trade(pnl, side == SIDE_BUY ? -quantity.lots : quantity.lots, price);
    add(&pnl->volume_micros, -value_micros(pnl, price, quantity.lots));
    add(&pnl->fees_e8, -fee_e8);
}

int64_t pnl_late(struct pnl *pnl, int side, struct price price, struct quantity quantity,
                 int64_t fee_e8, bool reversed)
{
    CHECK(quantity.lots > 0 && price.ticks >= 0 && pnl->opening.ticks > 0);
    int64_t lots = (side == SIDE_BUY) != reversed ? quantity.lots : -quantity.lots;
    int64_t result = value_micros(pnl, pnl->opening, lots);
    add(&result, -value_micros(pnl, price, lots));
    add(&result, -pnl_fees_micros(reversed ? -fee_e8 : fee_e8));
    trade(pnl, lots, pnl->opening);
    return result;
}

void pnl_adopt(struct pnl *pnl, int64_t position_lots, int64_t cost_micros)
{
    pnl->position_lots = position_lots;
    pnl->cost_micros = cost_micros;
}

void pnl_adjust(struct pnl *pnl, int64_t position_lots, struct price entry, struct price price)
{
    int64_t held = pnl->position_lots;
    bool same_side = held != 0 && position_lots != 0 && (held > 0) == (position_lots > 0);
    int64_t size = position_lots < 0 ? -position_lots : position_lots;
    int64_t held_size = held < 0 ? -held : held;
    int64_t kept = !same_side ? 0 : size < held_size ? position_lots : held;
    if (kept != held) {
        int64_t gone = held - kept;
        int64_t released = kept == 0 ? pnl->cost_micros
                                     : muldiv_down(pnl->cost_micros, held_size - size, held_size);
        add(&pnl->realized_micros, value_micros(pnl, entry, gone) - released);
        add(&pnl->cost_micros, -released);
    }
    if (position_lots != kept)
        add(&pnl->cost_micros, value_micros(pnl, price, position_lots - kept));
    pnl->position_lots = position_lots;
}

void pnl_ahead(struct pnl *pnl, int side, struct price price, struct quantity quantity,
               int64_t fee_e8, bool reversed)
{
    CHECK(quantity.lots > 0 && price.ticks >= 0);
    int64_t lots = (side == SIDE_BUY) != reversed ? quantity.lots : -quantity.lots;
    add(&pnl->ahead_lots, lots);
    add(&pnl->ahead_micros, value_micros(pnl, price, lots));
    add(&pnl->ahead_fees_e8, reversed ? -fee_e8 : fee_e8);
}

/* Without a mark nothing settles: open lots stay at their cost, and only what they closed among
 * themselves is a result. */
static int64_t ahead_result(const struct pnl *pnl)
{
    if (pnl->mark.ticks <= 0)
        return pnl->ahead_lots == 0 ? -pnl->ahead_micros : 0;
    return value_micros(pnl, pnl->mark, pnl->ahead_lots) - pnl->ahead_micros;
}

int64_t pnl_ahead_micros(const struct pnl *pnl)
{
    return ahead_result(pnl) - pnl_fees_micros(pnl->ahead_fees_e8);
}

bool pnl_roll(struct pnl *pnl, int64_t day)
{
    if (day <= pnl->day)
        return false;
    pnl->day = day;
    pnl->opening = pnl->mark;
    if (pnl->mark.ticks > 0)
        pnl->cost_micros = value_micros(pnl, pnl->mark, pnl->position_lots);
    pnl->realized_micros = ahead_result(pnl);
    pnl->fees_e8 = pnl->ahead_fees_e8;
    pnl->volume_micros = 0;
    pnl->cash_flow_micros = -pnl->ahead_micros;
    pnl->ahead_lots = pnl->ahead_micros = pnl->ahead_fees_e8 = 0;
    return true;
}

int64_t pnl_unrealized(const struct pnl *pnl)
{
    if (pnl->mark.ticks <= 0 || pnl->position_lots == 0)
        return 0;
    return value_micros(pnl, pnl->mark, pnl->position_lots) - pnl->cost_micros;
}

int64_t pnl_fees_micros(int64_t fees_e8)
{
    return fees_e8 > 0 ? (fees_e8 + E8_PER_MICRO - 1) / E8_PER_MICRO : fees_e8 / E8_PER_MICRO;
}

int64_t pnl_day_micros(const struct pnl *pnl)
{
    return pnl->realized_micros + pnl_unrealized(pnl) - pnl_fees_micros(pnl->fees_e8);
}

int64_t pnl_day_number(int64_t wall_ns)
{
    return wall_ns / NS_PER_DAY;
}
