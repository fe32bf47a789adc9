/*
 * cash.h: one venue's money that moved without a fill, and what its wallet should hold.
 *
 *   today      funding, insurance, fees, adjustments, rewards …: part of the day's result
 *   transfers  deposits, withdrawals, transfers: part of the wallet, never of the result
 *   books      what the wallet held when it was first read, plus what each fill and each movement
 *              changed it by, as the venue itself told it: exact to the venue's last digit
 *
 * A movement is told twice: by an event at once (provisional, without an id) and by a row of the
 * venue's history a little later (with its id, so that it counts exactly once). The event counts
 * until its row has come: an event and a row of the same amount and coin within CASH_MATCH_NS are
 * one movement, in whichever order they arrive; several events and rows of one moment are matched
 * by their sums. What stays unmatched for CASH_STALE_NS after the history was read past it is
 * dropped: from then on the comparison of wallet and books decides.
 *
 * Money of an unknown kind counts as a result when it left, and as a transfer when it came.
 *
 * A movement belongs to the day of its venue time. Learnt after that day closed, a loss counts
 * today and a gain does not; of a day that has not begun here yet, it counts in both, so that a
 * late roll hides nothing.
 */
#ifndef PURSER_PNL_CASH_H
#define PURSER_PNL_CASH_H

#include "../model/cash_report.h"

#define CASH_RECENT   128          /* events without a row, rows without an event */
#define CASH_UNTOLD   64           /* fills whose change of the wallet was not told with them */
#define CASH_MATCH_NS 60000000000  /* between an event and its row */
#define CASH_STALE_NS 600000000000 /* an event's patience for its row */
#define CASH_MOST_E8  400000000000000000 /* a movement above four billion dollars is no movement */
/* A sum of movements never goes beyond; ten times as much still fits. */
#define CASH_BOUND_E8 800000000000000000

struct cash_movement {
    int64_t wall_ns, amount_e8, wallet_e8;
    char asset[16];
    uint8_t kind;
};

struct cash {
    int64_t day; /* UTC day number of the sums */
    int64_t today_e8, transfers_e8;
    int64_t next_today_e8, next_transfers_e8; /* of a later day, which is included above */
    int64_t from_ns; /* movements until then are none of ours; 0: not begun */
    int64_t read_ns; /* the history was read to here */
    bool known;      /* books are valid */
    bool unpriced;   /* a loss of unknown worth: no new risk until a person resumes */
    bool beyond;     /* a sum reached its bound: the caller halts */
    int64_t books_e8;
    int64_t books_ns; /* movements until then are in the wallet that the books began with */
    struct cash_movement waiting[CASH_RECENT]; /* events, oldest first */
    int waiting_count;
    struct cash_movement rows[CASH_RECENT]; /* rows whose event has not come, oldest first */
    int rows_count;
    uint64_t told[CASH_RECENT]; /* identities of the newest events: a ring */
    int told_count;
    int64_t untold[CASH_UNTOLD]; /* trade ids: a ring */
    int untold_count;
};

void cash_init(struct cash *cash, int64_t day);

/* cash_event: a movement told by an event; false when it is known already or none of ours. */
bool cash_event(struct cash *cash, const struct cash_report *report);
/* cash_wants: the row is one of ours. The caller asks before it takes the row's key as seen: a row
 * of a fill that has not been told yet is wanted later. */
bool cash_wants(const struct cash *cash, const struct cash_report *report);
/* cash_row: a row of the history that was not seen before (the caller keeps the keys); false when
 * it is not wanted. A row of kind CASH_NONE completes a fill that did not tell its money. */
bool cash_row(struct cash *cash, const struct cash_report *report);
/* cash_fill: a fill changed the wallet by this much. */
void cash_fill(struct cash *cash, int64_t wallet_e8);
/* cash_fill_untold: a fill came without that: rows of the history with its trade id will tell.
 * False when that was known. */
bool cash_fill_untold(struct cash *cash, int64_t trade_id);
/* cash_fill_told: a fill came with it, so its rows tell nothing more. */
void cash_fill_told(struct cash *cash, int64_t trade_id);

/* cash_read_to: the history was read to its end at this venue time. Returns how many events were
 * dropped because no row explains them. */
int cash_read_to(struct cash *cash, int64_t wall_ns);
/* cash_begin: the wallet was read, and the books begin with it. */
void cash_begin(struct cash *cash, int64_t wallet_e8, int64_t wall_ns);
/* cash_agrees: the wallet that was read is what the books expect, to one smallest unit. Events
 * without which it is are taken as explained by rows. */
bool cash_agrees(struct cash *cash, int64_t wallet_e8);

/* cash_roll: a later day begins; false (and no change) for the same or an earlier one. */
bool cash_roll(struct cash *cash, int64_t day);

/* With the events whose rows are still to come. */
int64_t cash_today_e8(const struct cash *cash);
int64_t cash_transfers_e8(const struct cash *cash);
int64_t cash_expected_e8(const struct cash *cash);
/* cash_micros: e8 as micros, never in our favour. */
int64_t cash_micros(int64_t amount_e8);

#endif
