/*
 * risk_engine.h: the ordered table of pre-trade checks. Each check is a function that looks at one
 * thing and answers with a reject reason; the first that objects decides. The last one reserves in
 * the shared ledger, so a refused order never holds a reservation.
 *
 * Orders that only reduce the position skip the checks that a broken input could use to block an
 * exit (stale data, daily loss, clock, order count, runaway …): the table says which. Cancels never
 * come here; they only pass the throttle, which keeps room for them.
 */
#ifndef PURSER_RISK_RISK_ENGINE_H
#define PURSER_RISK_RISK_ENGINE_H

#include "../../../bridge/ledger.h"
#include "../model/venue.h"
#include "exposure.h"
#include "risk_limits.h"

/* Best prices of one instrument, copied out of the book when it changed. */
struct risk_market {
    struct price bid, ask;
    struct quantity bid_quantity, ask_quantity;
    bool synced;         /* the book has both sides and no gap */
    int64_t received_ns; /* when the bytes behind it were read */
};

/* Messages of the last 10 s in buckets of 100 ms. One fifth of the limit is for cancels only, and
 * half of that fifth is open to reducing orders. */
#define RISK_THROTTLE_BUCKETS 100
struct risk_throttle {
    int limit;
    int count;
    int64_t newest; /* number of the newest bucket */
    uint16_t buckets[RISK_THROTTLE_BUCKETS];
};

enum risk_message { RISK_MESSAGE_CANCEL, RISK_MESSAGE_REDUCING, RISK_MESSAGE_ORDER };

void risk_throttle_init(struct risk_throttle *throttle, int limit);
bool risk_throttle_allows(struct risk_throttle *throttle, int message, int64_t now_ns);
void risk_throttle_add(struct risk_throttle *throttle, int64_t now_ns);

/* Trips on a streak of refusals by the venue, on repeated executions, and on orders that fill
 * beyond their size. Once tripped it stays so until a person resumes (a new ledger epoch). */
struct risk_runaway {
    int reject_streak, reject_streak_max;
    int duplicates, duplicates_max;
    int64_t window_ns;
    bool tripped;
};

void risk_runaway_init(struct risk_runaway *runaway, const struct risk_config *config);
void risk_runaway_accepted(struct risk_runaway *runaway);
void risk_runaway_rejected(struct risk_runaway *runaway);
void risk_runaway_duplicate(struct risk_runaway *runaway, int64_t now_ns);

/* Everything a check may look at. The engine keeps one per instrument and sets the parts that
 * change before each order. */
struct risk_view {
    int64_t now_ns;
    uint32_t mode; /* 0 dry-run: no orders */
    const struct venue *venue;
    const struct risk_limits *limits;
    const struct risk_market *market;
    const struct exposure *exposure;
    struct risk_throttle *throttle;
    const struct risk_runaway *runaway;
    struct ledger *ledger;
    int64_t day_micros;       /* P&L of the day, all instruments */
    int64_t others_micros[2]; /* used apart from this instrument: loss so far and the others */
    bool reconciled;
    bool cash_doubt;      /* the venue's cash differs from the books */
    bool journal_ready;   /* room for an intent that adds risk */
    bool journal_reserve; /* room for one that reduces */
    bool duplicate;       /* this client order id is already known */
    bool delegated;       /* another process reserves for this venue */
};

/* What a successful risk_check leaves behind for the gate. */
struct risk_reservation {
    uint32_t slot;
    bool reducing;
    int64_t used_before_micros[2];
    int64_t used_after_micros[2];
};

/* risk_check: REJECT_NONE with the reservation made, or the reason. Does not count the message. */
int risk_check(const struct risk_view *view, const struct order *order,
               struct risk_reservation *reservation);

/* risk_gate: the last look before the bytes leave. On a denial the reservation is gone. */
int risk_gate(const struct risk_view *view, const struct risk_reservation *reservation);

/* risk_check_name: the name of the check in place n of the table, NULL after the last. */
const char *risk_check_name(int n);

#endif
