/* Worst further loss over every subset of open orders, order by order. */
#include "exposure.h"

#include <string.h>

#define PPM 1000000

bool exposure_init(struct exposure *exposure, const struct instrument *instrument)
{
    memset(exposure, 0, sizeof *exposure);
    exposure->instrument = instrument;
    purser_int128 unit = (purser_int128)instrument->tick_e9 * instrument->lot_e9;
    if (unit <= 0 || unit % 1000000000000 != 0 || unit / 1000000000000 > INT64_MAX)
        return false;
    exposure->unit_micros = (int64_t)(unit / 1000000000000);
    return true;
}

bool exposure_add(struct exposure *exposure, const struct exposure_order *order)
{
    if (exposure->count == EXPOSURE_ORDERS)
        return false;
    exposure->orders[exposure->count++] = *order;
    return true;
}

static int place_of(const struct exposure *exposure, uint64_t client_order_id)
{
    for (int n = 0; n < exposure->count; n++)
        if (exposure->orders[n].client_order_id == client_order_id)
            return n;
    return -1;
}

void exposure_reduce(struct exposure *exposure, uint64_t client_order_id, struct quantity remaining)
{
    int n = place_of(exposure, client_order_id);
    if (n >= 0)
        exposure->orders[n].remaining.lots = remaining.lots > 0 ? remaining.lots : 0;
}

void exposure_remove(struct exposure *exposure, uint64_t client_order_id)
{
    int n = place_of(exposure, client_order_id);
    if (n >= 0)
        exposure->orders[n] = exposure->orders[--exposure->count];
}

const struct exposure_order *exposure_find(const struct exposure *exposure,
                                           uint64_t client_order_id)
{
    int n = place_of(exposure, client_order_id);
    return n < 0 ? NULL : &exposure->orders[n];
}

int exposure_own_orders(const struct exposure *exposure)
{
    int count = 0;
    for (int n = 0; n < exposure->count; n++)
        count += (exposure->orders[n].client_order_id & EXPOSURE_STRANGER) == 0;
    return count;
}

/* Sums while walking the orders, in micros times a million, so that one rounding ends it. */
struct worst {
    purser_int128 up, down;    /* loss if the market falls / rises after the worst subset */
    purser_int128 buys, sells; /* value at the mark */
};

static int64_t shock_of(const struct exposure *exposure)
{
    int64_t shock = exposure->instrument->shock_ppm;
    return shock > 0 ? shock : PPM;
}

static void worst_add(struct worst *worst, const struct exposure *exposure,
                      const struct exposure_order *order)
{
    int64_t mark = exposure->mark.ticks > 0 ? exposure->mark.ticks : order->price.ticks;
    int64_t beyond =
        order->side == SIDE_BUY ? order->price.ticks - mark : mark - order->price.ticks;
    purser_int128 lots_unit = (purser_int128)order->remaining.lots * exposure->unit_micros;
    purser_int128 move = lots_unit * mark * shock_of(exposure);
    purser_int128 cost = lots_unit * (beyond > 0 ? beyond : 0) * PPM +
                         lots_unit * order->price.ticks * exposure->instrument->taker_fee_ppm;
    purser_int128 against = cost > move ? cost - move : 0;
    if (order->side == SIDE_BUY) {
        worst->up += move + cost;
        worst->down += against;
        worst->buys += lots_unit * mark;
    } else {
        worst->down += move + cost;
        worst->up += against;
        worst->sells += lots_unit * mark;
    }
}

static int64_t ceiling(purser_int128 value, int64_t divisor)
{
    if (value <= 0)
        return 0;
    purser_int128 r = (value + divisor - 1) / divisor;
    CHECK(r <= INT64_MAX);
    return (int64_t)r;
}

/* Signed value of a position: at the mark, or what the books' one cost while there is no mark. */
static purser_int128 position_value(const struct exposure *exposure, int64_t lots,
                                    int64_t fallback_ticks)
{
    if (exposure->mark.ticks > 0)
        return (purser_int128)lots * exposure->mark.ticks * exposure->unit_micros;
    if (lots == exposure->position_lots)
        return exposure->cost_micros;
    return (purser_int128)lots * fallback_ticks * exposure->unit_micros;
}

/* Without a mark the told position is priced as the books' one, or at the highest price that the
 * instrument knows. */
static purser_int128 told_value(const struct exposure *exposure)
{
    int64_t ticks = exposure->instrument->max_price.ticks;
    if (exposure->position_lots != 0 && exposure->unit_micros > 0)
        ticks = exposure->cost_micros / (exposure->position_lots * exposure->unit_micros) + 1;
    return position_value(exposure, exposure->told_lots, ticks);
}

static purser_int128 magnitude(purser_int128 value)
{
    return value < 0 ? -value : value;
}

static void total(const struct exposure *exposure, purser_int128 held,
                  const struct exposure_order *extra, int64_t used_micros[2])
{
    struct worst worst = {.up = held * shock_of(exposure), .down = -held * shock_of(exposure)};
    for (int n = 0; n < exposure->count; n++)
        worst_add(&worst, exposure, &exposure->orders[n]);
    if (extra)
        worst_add(&worst, exposure, extra);
    used_micros[BUDGET_LOSS] = ceiling(worst.up > worst.down ? worst.up : worst.down, PPM);
    purser_int128 high = magnitude(held + worst.buys), low = magnitude(held - worst.sells);
    used_micros[BUDGET_NOTIONAL] = ceiling(high > low ? high : low, 1);
}

static void keep_larger(int64_t into[2], const int64_t other[2])
{
    for (int d = 0; d < 2; d++)
        if (other[d] > into[d])
            into[d] = other[d];
}

void exposure_with(const struct exposure *exposure, const struct exposure_order *extra,
                   int64_t used_micros[2])
{
    total(exposure, position_value(exposure, exposure->position_lots, 0), extra, used_micros);
    if (!exposure->told)
        return;
    int64_t told[2];
    total(exposure, told_value(exposure), extra, told);
    keep_larger(used_micros, told);
}

void exposure_update(struct exposure *exposure)
{
    purser_int128 held = magnitude(position_value(exposure, exposure->position_lots, 0));
    if (exposure->told && magnitude(told_value(exposure)) > held)
        held = magnitude(told_value(exposure));
    exposure->positions_micros[BUDGET_LOSS] = ceiling(held * shock_of(exposure), PPM);
    exposure->positions_micros[BUDGET_NOTIONAL] = ceiling(held, 1);
    exposure_with(exposure, NULL, exposure->used_micros);
}

static int64_t side_lots(const struct exposure *exposure, int side)
{
    int64_t lots = 0;
    for (int n = 0; n < exposure->count; n++)
        if (exposure->orders[n].side == side)
            lots += exposure->orders[n].remaining.lots;
    return lots;
}

static bool reduces(const struct exposure *exposure, int64_t lots, int side,
                    struct quantity quantity)
{
    int64_t held = side == SIDE_BUY ? -lots : lots;
    return held > 0 && side_lots(exposure, side) + quantity.lots <= held;
}

bool exposure_reduces(const struct exposure *exposure, int side, struct quantity quantity)
{
    return reduces(exposure, exposure->position_lots, side, quantity) &&
           (!exposure->told || reduces(exposure, exposure->told_lots, side, quantity));
}

static int64_t worst_lots(const struct exposure *exposure, int64_t lots, int side,
                          struct quantity quantity)
{
    int64_t high = lots + side_lots(exposure, SIDE_BUY) + (side == SIDE_BUY ? quantity.lots : 0);
    int64_t low = lots - side_lots(exposure, SIDE_SELL) - (side == SIDE_SELL ? quantity.lots : 0);
    high = high < 0 ? -high : high;
    low = low < 0 ? -low : low;
    return high > low ? high : low;
}

int64_t exposure_worst_lots(const struct exposure *exposure, int side, struct quantity quantity)
{
    int64_t worst = worst_lots(exposure, exposure->position_lots, side, quantity);
    if (!exposure->told)
        return worst;
    int64_t told = worst_lots(exposure, exposure->told_lots, side, quantity);
    return told > worst ? told : worst;
}

const struct exposure_order *exposure_crosses(const struct exposure *exposure, int side,
                                              struct price price, bool market)
{
    for (int n = 0; n < exposure->count; n++) {
        const struct exposure_order *other = &exposure->orders[n];
        if (other->side == side || other->remaining.lots == 0)
            continue;
        if (market || (side == SIDE_BUY ? price.ticks >= other->price.ticks
                                        : price.ticks <= other->price.ticks))
            return other;
    }
    return NULL;
}
