/*
 * bench_book: real deltas on a book of thousands of levels a side: setting one level, and the whole
 * way of a depth message from bytes over the sequence checks to the new top of book.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../bridge/allocate.h"
#include "frames.h"
#include "measure.h"

static struct frames frames;
static struct book_level levels[BINANCE_LEVELS_MAX];
static struct binance_market_event event;
static struct order_book book;
static struct book_sync sync;
static int64_t tops; /* so that nothing measured is left out by the compiler */

/* Every delta decoded beforehand, for the row that only sets levels. */
static struct book_level *all_levels;
static size_t *bid_counts, *ask_counts;

static void decode(const struct frame_text *frame)
{
    measure_stop_if(binance_wire_market(&event, levels, BINANCE_LEVELS_MAX, &frames_symbols,
                                        frame->bytes, frame->length) != STATUS_OK,
                    "a frame was refused");
}

/* A book as it is in the middle of the day: the snapshot, and all frames once. */
static void book_start(void)
{
    struct book_delta snapshot;
    measure_stop_if(binance_wire_snapshot(&snapshot, levels, BINANCE_LEVELS_MAX,
                                          frames_symbols.instruments[0], frames.snapshot.bytes,
                                          frames.snapshot.length) != STATUS_OK,
                    "the snapshot was refused");
    book_sync_reset(&sync);
    measure_stop_if(book_sync_snapshot(&sync, &snapshot) != SYNC_WAITING, "the snapshot is late");
}

static void run_messages(void *context)
{
    (void)context;
    book_start();
    for (size_t i = 0; i < frames.depth_count; i++) {
        decode(&frames.depth[i]);
        (void)book_sync_delta(&sync, &event.delta);
        struct top_of_book top = order_book_top(&book);
        tops += top.bid.ticks + order_book_is_crossed(&book);
    }
    measure_stop_if(!book_sync_is_whole(&sync) || sync.gaps != 0, "the frames leave a gap");
}

static void run_levels(void *context)
{
    (void)context;
    const struct book_level *level = all_levels;
    for (size_t i = 0; i < frames.depth_count; i++) {
        for (size_t n = 0; n < bid_counts[i]; n++, level++)
            order_book_set(&book, BOOK_BID, level->price, level->quantity);
        for (size_t n = 0; n < ask_counts[i]; n++, level++)
            order_book_set(&book, BOOK_ASK, level->price, level->quantity);
        tops += order_book_top(&book).bid.ticks;
    }
}

static void decode_all(int64_t count)
{
    all_levels = ALLOCATE_ARRAY(struct book_level, count);
    bid_counts = ALLOCATE_ARRAY(size_t, frames.depth_count);
    ask_counts = ALLOCATE_ARRAY(size_t, frames.depth_count);
    measure_stop_if(all_levels == NULL || bid_counts == NULL || ask_counts == NULL,
                    "no memory for the levels");
    struct book_level *out = all_levels;
    for (size_t i = 0; i < frames.depth_count; i++) {
        decode(&frames.depth[i]);
        bid_counts[i] = event.delta.bid_count;
        ask_counts[i] = event.delta.ask_count;
        memcpy(out, levels, (bid_counts[i] + ask_counts[i]) * sizeof *out);
        out += bid_counts[i] + ask_counts[i];
    }
}

int main(void)
{
    struct arena arena;
    frames_load(&frames);
    int64_t count = frames_levels(&frames, 0, frames.depth_count);
    measure_stop_if(frames.depth_count == 0 || frames.snapshot.bytes == NULL, "no depth frames");
    measure_stop_if(arena_init(&arena, (size_t)16 << 20) != STATUS_OK, "no memory for the book");
    order_book_init(&book, &arena);
    book_sync_init(&sync, &arena, &book);
    decode_all(count);
    int64_t messages = (int64_t)frames.depth_count;
    struct measured rows[] = {
        {"one level set, overflow and best price included", run_levels, NULL, count, 0, -1, 12},
        {"bytes, decode, sequence, book, top: one message", run_messages, NULL, messages, 0, -1,
         1200},
    };
    run_messages(NULL);
    printf("%s: %lld messages of %lld levels on average\n", frames.origin, (long long)messages,
           (long long)(count / messages));
    measure_rows(rows, 2);
    printf("book at the end: %zu bids, %zu asks\n", order_book_levels(&book, BOOK_BID),
           order_book_levels(&book, BOOK_ASK));
    measure_print(rows, 2, "order book");
    return 0;
}
