/*
 * book_sync.h: when may a stream of deltas and a snapshot be trusted as one book? The rule for
 * Binance USD-M (Binance USD-M docs, "How to manage a local order book correctly", corrected on
 * recorded production data, where the documented U <= L <= u rejects valid snapshots on event
 * boundaries):
 *
 *   BUFFERING  deltas are kept. A snapshot with last id L arrives:
 *              - L < pu of the first kept delta: too old, ask for another (SYNC_SNAPSHOT_OLD).
 *              - deltas with u < L are dropped; u == L is kept, it can be the link.
 *   LINKING    the first applied delta must have pu <= L <= u, later ones pu == last u
 *   SYNCED     pu == last u, else a gap: the book is stale, back to BUFFERING with that delta kept
 *
 * No I/O and no clock. The snapshot is loaded into the book and kept deltas are applied by this
 * file, so that the connector and the replay of captures cannot differ.
 */
#ifndef PURSER_BOOK_BOOK_SYNC_H
#define PURSER_BOOK_BOOK_SYNC_H

#include "order_book.h"

#define BOOK_SYNC_DELTAS 1024  /* kept deltas */
#define BOOK_SYNC_LEVELS 65536 /* levels of all kept deltas together */

/* One message: levels holds the bids, then the asks. A snapshot has last_id alone. */
struct book_delta {
    int64_t first_id;    /* U */
    int64_t last_id;     /* u, or lastUpdateId */
    int64_t previous_id; /* pu */
    int64_t event_ms;
    size_t bid_count, ask_count;
    const struct book_level *levels;
};

enum book_sync_state { BOOK_BUFFERING = 0, BOOK_LINKING = 1, BOOK_SYNCED = 2 };

enum book_sync_result {
    SYNC_KEPT = 0,         /* waits for a snapshot */
    SYNC_DROPPED = 1,      /* older than the snapshot */
    SYNC_APPLIED = 2,      /* the book changed and is whole */
    SYNC_GAP = 3,          /* stale: ask for a snapshot */
    SYNC_SNAPSHOT_OLD = 4, /* ask for another one */
    SYNC_WAITING = 5,      /* the snapshot is loaded; the linking delta has not come yet */
};

struct kept_delta {
    struct book_delta delta; /* levels unused: see level_start */
    size_t level_start;
};

struct book_sync {
    struct order_book *book;
    /* May be NULL; runs after each single delta was applied (a snapshot can apply several). */
    void (*on_applied)(void *context);
    void *context;
    int state; /* enum book_sync_state */
    int64_t last_id;
    struct kept_delta *kept;
    struct book_level *levels;
    size_t kept_count, level_count;
    /* counters */
    int64_t applied, dropped, gaps, snapshots_old, overflows;
    int64_t first_applied_first_id, first_applied_last_id, first_applied_previous_id;
};

/* book_sync_init: in place; the kept deltas' memory (1.1 MB) from the arena. */
void book_sync_init(struct book_sync *sync, struct arena *arena, struct order_book *book);

/* book_sync_reset: forget everything (a new connection). The book is cleared. */
void book_sync_reset(struct book_sync *sync);

/* book_sync_delta: one delta, in order of arrival. SYNC_KEPT, SYNC_DROPPED, SYNC_APPLIED or
 * SYNC_GAP. After SYNC_GAP the state is BUFFERING, the book is cleared and the delta kept. When
 * more deltas come than can be kept the oldest knowledge is thrown away (overflows) and buffering
 * starts afresh with this one: a snapshot taken after it will link. */
enum book_sync_result book_sync_delta(struct book_sync *sync, const struct book_delta *delta);

/* book_sync_snapshot: while BUFFERING. SYNC_APPLIED: kept deltas linked, the book is whole.
 * SYNC_WAITING: loaded, the next delta decides. SYNC_SNAPSHOT_OLD: ask again. SYNC_GAP: the kept
 * deltas do not fit together. In another state: SYNC_DROPPED, nothing happens. */
enum book_sync_result book_sync_snapshot(struct book_sync *sync, const struct book_delta *snapshot);

static inline bool book_sync_is_whole(const struct book_sync *sync)
{
    return sync->state == BOOK_SYNCED;
}

#endif
