/*
 * oms.h: every order of ours from the intent to its end, in one fixed table.
 *
 * An order's reservation is freed only here, and only when the venue has said how the order ended
 * and every fill it speaks of is booked. A report that speaks of more fills than we have booked
 * makes the order UNKNOWN: it is asked for again, and the missing fills with it (reconcile).
 *
 * UNKNOWN: the order is queried by its client id with growing pauses. "Not found" counts only after
 * the order's own deadline (order.lands_until_ns) and a second of skew have passed, and only after
 * OMS_NOT_FOUND_ANSWERS such answers in a row is it taken as never arrived. Of an order that the
 * venue has acknowledged it counts only when a list of open orders (reconcile) lacked it too.
 *
 * A terminal order stays in the table until its place is needed, so that late and repeated reports
 * find it. Executions are remembered by (venue, symbol, execution id): each is booked exactly once,
 * whichever way and however often it arrives.
 */
#ifndef PURSER_OMS_OMS_H
#define PURSER_OMS_OMS_H

#include "../model/execution_report.h"
#include "../model/venue.h"

#define OMS_ORDERS            512
#define OMS_INDEX             2048 /* power of two, well above OMS_ORDERS */
#define OMS_SLOT_NONE         UINT32_MAX
#define OMS_NOT_FOUND_ANSWERS 3
#define OMS_SKEW_NS           1000000000
#define OMS_GUARD             16384 /* executions per generation of the duplicate guard; two are kept */

/* One order and what the table needs to know beside it. */
struct oms_entry {
    struct order order;
    struct venue *venue;
    uint16_t market; /* the engine's index of the instrument */
    uint8_t reducing;
    uint8_t left_behind; /* of an earlier run: no ledger slot of this run */
    uint8_t not_found;   /* answers in a row */
    uint8_t seen_open;   /* listed by the reconcile in progress */
    uint8_t heard_of;    /* the venue has said that it has it */
    uint8_t unlisted;    /* a list of open orders lacked it, and nothing was heard of it since */
    uint8_t adopted;     /* found at the venue: `filled` is the venue's count, not what we booked */
    uint8_t end_state;   /* the end the venue has told of, while fills of it are missing */
    int64_t ended_ns;
    int64_t cancel_sent_ns;
    int64_t next_cancel_ns;   /* a cancel is not sent (again) before this */
    int64_t received_ns;      /* of the tick that caused it; 0: none */
    int64_t venue_cumulative; /* lots the venue says are filled */
    int32_t next;             /* free list, or the next older terminal order */
    uint8_t used;
};

/* Two generations of 64-bit fingerprints; the older is dropped when the newer is full. */
struct oms_guard {
    uint64_t slots[2][OMS_GUARD * 2];
    int count;
    int newest;
};

struct oms {
    struct oms_entry entries[OMS_ORDERS];
    int32_t index[OMS_INDEX]; /* entry + 1, 0 empty, -1 deleted */
    int32_t free_head, terminal_head, terminal_tail;
    int open;    /* not terminal */
    int unknown; /* of those, UNKNOWN */
    int deleted; /* tombstones in the index */
    struct oms_guard guard;
};

/* What a report did to an order. */
enum oms_effect {
    OMS_IGNORED = 0,   /* nothing new */
    OMS_UPDATED = 1,   /* state or venue id changed */
    OMS_FILLED = 2,    /* a fill to book (then look at `ended`) */
    OMS_DUPLICATE = 3, /* an execution already booked */
    OMS_STRANGER = 4,  /* no such order in the table */
    OMS_IMPOSSIBLE = 5 /* the state table has no such step: report it, nothing changed */
};

struct oms_result {
    int effect;
    struct oms_entry *entry; /* NULL for strangers */
    bool first_answer;       /* this was the venue's first word on it */
    bool ended;              /* now terminal: release the reservation */
    bool became_live;        /* now known to be at the venue */
    bool became_unknown;
    bool fills_missing; /* the venue speaks of fills we do not have, or denies an order that it
                         * has acknowledged: reconcile */
    bool overfilled;    /* filled beyond its quantity */
};

void oms_init(struct oms *oms);

/* oms_add: a place for a new order, state PENDING_NEW; NULL when the table is full of open ones or
 * the id is known. oms_drop takes back an order that never left. */
struct oms_entry *oms_add(struct oms *oms, const struct order *order, struct venue *venue,
                          uint16_t market);
void oms_drop(struct oms *oms, struct oms_entry *entry);
struct oms_entry *oms_find(struct oms *oms, uint64_t client_order_id);

/* oms_reopen: an order that had ended is open at the venue after all. */
void oms_reopen(struct oms *oms, struct oms_entry *entry);

/* oms_next: walks the open orders: start with *cursor = 0; NULL at the end. */
struct oms_entry *oms_next(struct oms *oms, int *cursor);

/* oms_apply: one execution report through the guard and the state table. For EXEC_TRADE with
 * OMS_FILLED (or a stranger's fill that is new) the caller books it. */
void oms_apply(struct oms *oms, const struct execution_report *report, int64_t now_ns,
               struct oms_result *result);

/* oms_make_unknown: no answer in time, or the connection went down: true when that is news. */
bool oms_make_unknown(struct oms *oms, struct oms_entry *entry, int64_t now_ns);

/* oms_cancel_requested: the state after a cancel was handed to the venue. */
void oms_cancel_requested(struct oms_entry *entry, int64_t now_ns);

/* oms_query_due: an UNKNOWN order whose time to be asked for has come; marks the next time. */
bool oms_query_due(struct oms_entry *entry, int64_t now_ns);

/* oms_execution_seen: true when this execution was recorded before; records it. */
bool oms_execution_seen(struct oms *oms, uint16_t venue, const char *symbol,
                        const char *execution_id, bool reversed);

#endif
