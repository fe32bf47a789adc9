/*
 * exposure.h: what one instrument's position and open orders may cost at worst, in the two
 * dimensions of the budget.
 *
 * An order i that fills costs c_i = what its limit lies beyond the mark + the taker's fee, and
 * moves the position by its signed quantity s_i. With k = mark * shock the loss of a subset F is k
 * * |position + sum s_i| + sum c_i        over i in F |x| is the larger of x and -x, so the worst
 * subset is found per direction, order by order: an order belongs to the worst subset of the upward
 * direction when k * s_i + c_i > 0, and likewise downward. That is exact: the test compares it with
 * every subset. An order that only reduces the position therefore costs nothing until it fills, and
 * then frees.
 *
 *   loss      the maximum above, rounded up to a micro
 *   notional  mark * max(|position + all buys|, |position - all sells|)
 *
 * While the venue tells of another position than the books hold, each total is the larger of both
 * positions', and an order reduces only when it reduces both.
 *
 * No mark yet: the limit price of each order, and the position's cost, stand in for it. An
 * instrument without a shock is charged at 100 %.
 */
#ifndef PURSER_RISK_EXPOSURE_H
#define PURSER_RISK_EXPOSURE_H

#include "../model/order.h"

#define EXPOSURE_ORDERS 64 /* open orders of one instrument */

/* Marks the id of an order that is not ours (then the rest is the venue's id): it is charged like
 * one of ours and does not count as one. */
#define EXPOSURE_STRANGER (1ull << 63)

struct exposure_order {
    uint64_t client_order_id;
    struct price price;
    struct quantity remaining;
    uint8_t side;
    uint8_t strategy;
};

struct exposure {
    const struct instrument *instrument;
    int64_t unit_micros;
    int64_t position_lots;
    int64_t cost_micros;
    struct price mark;
    bool told;         /* the venue tells of another position than the books hold: */
    int64_t told_lots; /* the worse of both is charged until they agree */
    int count;
    struct exposure_order orders[EXPOSURE_ORDERS];
    int64_t used_micros[2];      /* position and orders; valid after exposure_update */
    int64_t positions_micros[2]; /* the position alone */
};

bool exposure_init(struct exposure *exposure, const struct instrument *instrument);

/* exposure_add: false when the table is full. exposure_reduce lowers what is left of an order;
 * exposure_remove forgets it. Both ignore an id that is not there. */
bool exposure_add(struct exposure *exposure, const struct exposure_order *order);
void exposure_reduce(struct exposure *exposure, uint64_t client_order_id,
                     struct quantity remaining);
void exposure_remove(struct exposure *exposure, uint64_t client_order_id);
const struct exposure_order *exposure_find(const struct exposure *exposure,
                                           uint64_t client_order_id);

/* exposure_own_orders: how many of them are ours. */
int exposure_own_orders(const struct exposure *exposure);

/* exposure_update: recomputes the totals after any change. */
void exposure_update(struct exposure *exposure);

/* exposure_with: the totals as they would be with one more order; NULL: as they are. */
void exposure_with(const struct exposure *exposure, const struct exposure_order *extra,
                   int64_t used_micros[2]);

/* exposure_reduces: true when the order is against the position and, with all open orders of its
 * side, cannot carry the position past flat. */
bool exposure_reduces(const struct exposure *exposure, int side, struct quantity quantity);

/* exposure_worst_lots: the larger end of the position if all buys or all sells fill, with an order
 * of this side and size added. */
int64_t exposure_worst_lots(const struct exposure *exposure, int side, struct quantity quantity);

/* exposure_crosses: an open order of ours on the other side that this one would trade with. */
const struct exposure_order *exposure_crosses(const struct exposure *exposure, int side,
                                              struct price price, bool market);

#endif
