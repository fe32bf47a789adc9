/*
 * reconcile.h: bringing our books and the venue's together, at start and after every gap. The venue
 * answers in this order: open orders, missed fills, positions, end.
 *
 *   open order we know     its state is taken over
 *   open order left behind it joins the table as an order of an earlier run and is cancelled; until
 *                          the cancel is confirmed the venue is not reconciled
 *   own order not listed   it is queried: it ended while we were not looking
 *   missed fill            booked exactly once (the duplicate guard knows what is booked)
 *   position               must equal ours. An empty journal has no books: the day's fills are then
 *                          asked for as well, and the day is made of them (engine_history.c).
 *                          Otherwise
 * a difference is asked about again, and one that persists halts trading.
 */
#ifndef PURSER_OMS_RECONCILE_H
#define PURSER_OMS_RECONCILE_H

#include "oms.h"

#define RECONCILE_MISMATCHES 3          /* in a row, then halt */
#define RECONCILE_RETRY_NS   2000000000 /* between tries after a mismatch */
#define RECONCILE_TIMEOUT_NS 10000000000
#define RECONCILE_HISTORY_NS 300000000000 /* a whole day's fills, page by page */
#define RECONCILE_POSITIONS  64

enum reconcile_phase {
    RECONCILE_IDLE = 0,   /* nothing asked; the session is down */
    RECONCILE_WANTED = 1, /* ask as soon as the connector takes it */
    RECONCILE_ASKED = 2,
    RECONCILE_SETTLING = 3, /* answered; orders of an earlier run or unknown ones are still open */
    RECONCILE_DONE = 4,
};

struct reconcile_position {
    int64_t lots;
    int64_t entry_ticks;
    bool told;
};

/* One venue's reconcile. */
struct reconcile {
    int phase;
    int mismatches;
    int64_t asked_ns;
    int64_t next_ns;
    bool adopt;     /* no books yet: they are made of what the venue tells of the day */
    char since[48]; /* newest execution booked at the venue; "" none */
    struct reconcile_position positions[RECONCILE_POSITIONS]; /* by the engine's market index */
};

void reconcile_want(struct reconcile *reconcile, int64_t now_ns);
/* reconcile_due: true when the venue should be asked now; the caller asks, then says how it went.
 */
bool reconcile_due(const struct reconcile *reconcile, int64_t now_ns);
void reconcile_asked(struct reconcile *reconcile, bool taken, int64_t now_ns, struct oms *oms,
                     const struct venue *venue);
void reconcile_position_told(struct reconcile *reconcile, uint16_t market, int64_t lots,
                             int64_t entry_ticks);
/* reconcile_answered: the end mark came; orders of ours that were not listed are asked for. */
void reconcile_answered(struct reconcile *reconcile, int64_t now_ns, struct oms *oms,
                        const struct venue *venue);
/* reconcile_settled: in SETTLING: true when no order of an earlier run and no UNKNOWN one is open
 * at the venue. */
bool reconcile_settled(const struct reconcile *reconcile, struct oms *oms,
                       const struct venue *venue);
/* reconcile_execution: remembers the newest execution id booked. */
void reconcile_execution(struct reconcile *reconcile, const char *execution_id);
/* reconcile_mismatch: counts one and wants another try; true when it has persisted. */
bool reconcile_mismatch(struct reconcile *reconcile, int64_t now_ns);

#endif
