/*
 * pnl.h: what one instrument's fills came to. Integers only, and exact: price times quantity is a
 * whole number of micro-dollars on every instrument the engine trades (pnl_init refuses others).
 *
 *   quantity q   signed lots
 *   cost C       signed micros: what the open quantity cost (a short's cost is negative)
 *   a fill that makes |q| larger   C += price * signed quantity
 *   a fill that makes |q| smaller  released = C * closed / |q|, cut toward zero; C -= released;
 *                                  realized += proceeds - released
 *   a fill that flips              a close of everything (released = C exactly), then an open
 *   unrealized = q * mark - C
 *   day = realized + unrealized - fees
 *
 * Fees are summed in 1e-8 USD and rounded up to a micro only when shown or charged.
 *
 * A day rolls by settling the open quantity at the mark: the cost becomes q * mark and today's sums
 * start at zero, so that yesterday's result stays in yesterday; but for the fills of the new day
 * that came before the roll: what they come to at the mark is the first the new day has. A day
 * never goes back.
 */
#ifndef PURSER_PNL_PNL_H
#define PURSER_PNL_PNL_H

#include "../model/instrument.h"

struct pnl {
    const struct instrument *instrument;
    int64_t unit_micros; /* micros of one tick times one lot */
    int64_t day;         /* UTC day number of the sums below */
    int64_t position_lots;
    int64_t cost_micros;
    struct price mark;    /* 0 ticks: none yet; unrealized is then 0 */
    struct price opening; /* the mark at which the day began; 0 ticks: not known */
    int64_t realized_micros;
    int64_t fees_e8;
    int64_t volume_micros;
    int64_t cash_flow_micros;
    /* fills of the next day, already in what is above: signed lots, what they cost, their fees */
    int64_t ahead_lots, ahead_micros, ahead_fees_e8;
};

/* pnl_init: false when price times quantity is not a whole number of micros on this instrument. */
bool pnl_init(struct pnl *pnl, const struct instrument *instrument, int64_t day);

/* pnl_fill: books one fill. Quantity is positive; side is enum order_side. */
void pnl_fill(struct pnl *pnl, int side, struct price price, struct quantity quantity,
              int64_t fee_e8);

/* pnl_reverse: takes an earlier fill back: the opposite fill at the same price, and its fee. */
void pnl_reverse(struct pnl *pnl, int side, struct price price, struct quantity quantity,
                 int64_t fee_e8);

/* pnl_adopt: takes a position over that the books do not explain, at the cost given. */
void pnl_adopt(struct pnl *pnl, int64_t position_lots, int64_t cost_micros);

/* pnl_late: books a fill of a closed day, or takes one back: in today's sums it counts as if it
 * were made at the opening mark; what it came to until that mark, fee included, is the closed day's
 * and is returned. The opening must be known. */
int64_t pnl_late(struct pnl *pnl, int side, struct price price, struct quantity quantity,
                 int64_t fee_e8, bool reversed);

/* pnl_ahead: marks a fill (or one taken back) that is booked already as one of the next day: the
 * roll takes it out of the day that ends. pnl_ahead_micros: what those fills come to, at the mark
 * and with their fees. */
void pnl_ahead(struct pnl *pnl, int side, struct price price, struct quantity quantity,
               int64_t fee_e8, bool reversed);
int64_t pnl_ahead_micros(const struct pnl *pnl);

/* pnl_adjust: the venue changed the position without a fill. Lots that went left at `entry`, the
 * venue's average price of what was held: its wallet did not move, and what they had cost above
 * that (since a day's end they cost its mark) is lost. Lots that came cost `price` each. */
void pnl_adjust(struct pnl *pnl, int64_t position_lots, struct price entry, struct price price);

/* pnl_roll: starts a later day; false (and no change) for the same or an earlier one. */
bool pnl_roll(struct pnl *pnl, int64_t day);

int64_t pnl_unrealized(const struct pnl *pnl);
int64_t pnl_fees_micros(int64_t fees_e8); /* rounded up */
int64_t pnl_day_micros(const struct pnl *pnl);
int64_t pnl_day_number(int64_t wall_ns);

#endif
