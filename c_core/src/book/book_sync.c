#include "book_sync.h"

#include <string.h>

void book_sync_init(struct book_sync *sync, struct arena *arena, struct order_book *book)
{
    *sync = (struct book_sync){.book = book};
    sync->kept = arena_allocate(arena, BOOK_SYNC_DELTAS * sizeof *sync->kept);
    sync->levels = arena_allocate(arena, BOOK_SYNC_LEVELS * sizeof *sync->levels);
}

static void buffer_afresh(struct book_sync *sync)
{
    sync->state = BOOK_BUFFERING;
    sync->kept_count = 0;
    sync->level_count = 0;
    order_book_clear(sync->book);
}

void book_sync_reset(struct book_sync *sync)
{
    buffer_afresh(sync);
    sync->last_id = 0;
}

static void keep(struct book_sync *sync, const struct book_delta *delta)
{
    size_t levels = delta->bid_count + delta->ask_count;
    /* A delta that does not follow the kept ones makes them useless: no snapshot can link them. */
    bool follows = sync->kept_count == 0 ||
                   sync->kept[sync->kept_count - 1].delta.last_id == delta->previous_id;
    bool fits =
        sync->kept_count < BOOK_SYNC_DELTAS && levels <= BOOK_SYNC_LEVELS - sync->level_count;
    if (!follows || !fits) {
        sync->gaps += !follows;
        sync->overflows += !fits;
        sync->kept_count = 0;
        sync->level_count = 0;
    }
    if (levels > BOOK_SYNC_LEVELS)
        return; /* a single delta beyond all limits: a later one starts the buffer */
    if (levels > 0)
        memcpy(sync->levels + sync->level_count, delta->levels, levels * sizeof *delta->levels);
    struct kept_delta *kept = &sync->kept[sync->kept_count++];
    kept->delta = *delta;
    kept->level_start = sync->level_count;
    sync->level_count += levels;
}

static void apply(struct book_sync *sync, const struct book_delta *delta)
{
    const struct book_level *level = delta->levels;
    for (size_t i = 0; i < delta->bid_count; i++, level++)
        order_book_set(sync->book, BOOK_BID, level->price, level->quantity);
    for (size_t i = 0; i < delta->ask_count; i++, level++)
        order_book_set(sync->book, BOOK_ASK, level->price, level->quantity);
    if (sync->state == BOOK_LINKING) {
        sync->first_applied_first_id = delta->first_id;
        sync->first_applied_last_id = delta->last_id;
        sync->first_applied_previous_id = delta->previous_id;
    }
    sync->state = BOOK_SYNCED;
    sync->last_id = delta->last_id;
    sync->applied++;
    if (sync->on_applied != NULL)
        sync->on_applied(sync->context);
}

/* One delta after the snapshot: links, follows, is old, or leaves a gap. */
static enum book_sync_result advance(struct book_sync *sync, const struct book_delta *delta)
{
    int64_t last = sync->last_id;
    if (sync->state == BOOK_LINKING) {
        if (delta->last_id < last) {
            sync->dropped++;
            return SYNC_DROPPED;
        }
        if (delta->previous_id > last)
            return SYNC_GAP;
    } else if (delta->previous_id != last) {
        return SYNC_GAP;
    }
    apply(sync, delta);
    return SYNC_APPLIED;
}

enum book_sync_result book_sync_delta(struct book_sync *sync, const struct book_delta *delta)
{
    if (sync->state == BOOK_BUFFERING) {
        keep(sync, delta);
        return SYNC_KEPT;
    }
    enum book_sync_result result = advance(sync, delta);
    if (result == SYNC_GAP) {
        sync->gaps++;
        buffer_afresh(sync);
        keep(sync, delta);
    }
    return result;
}

enum book_sync_result book_sync_snapshot(struct book_sync *sync, const struct book_delta *snapshot)
{
    if (sync->state != BOOK_BUFFERING)
        return SYNC_DROPPED;
    if (sync->kept_count > 0 && snapshot->last_id < sync->kept[0].delta.previous_id) {
        sync->snapshots_old++;
        return SYNC_SNAPSHOT_OLD;
    }
    order_book_load(sync->book, snapshot->levels, snapshot->bid_count,
                    snapshot->levels + snapshot->bid_count, snapshot->ask_count);
    sync->state = BOOK_LINKING;
    sync->last_id = snapshot->last_id;
    for (size_t i = 0; i < sync->kept_count; i++) {
        struct book_delta delta = sync->kept[i].delta;
        delta.levels = sync->levels + sync->kept[i].level_start;
        if (advance(sync, &delta) == SYNC_GAP) {
            sync->gaps++;
            buffer_afresh(sync);
            return SYNC_GAP;
        }
    }
    sync->kept_count = 0;
    sync->level_count = 0;
    return sync->state == BOOK_SYNCED ? SYNC_APPLIED : SYNC_WAITING;
}
