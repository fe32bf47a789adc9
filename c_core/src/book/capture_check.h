/*
 * capture_check.h: replays a recorded capture (gzip, one `<local_ns> <json>` per line) through the
 * same decoder, synchronisation and book that trade, and compares the top of the book after each
 * applied delta with the recorded best bid and ask: the bookTicker with the largest update id that
 * is not above the delta's. Price and quantity must be equal.
 */
#ifndef PURSER_BOOK_CAPTURE_CHECK_H
#define PURSER_BOOK_CAPTURE_CHECK_H

#include <stdio.h>

#include "book_sync.h"

enum capture_kind {
    CAPTURE_OTHER = 0,
    CAPTURE_DELTA = 1,
    CAPTURE_SNAPSHOT = 2,
    CAPTURE_TICKER = 3
};

struct capture_event {
    int kind; /* enum capture_kind */
    struct book_delta delta;
    int64_t ticker_id;
    struct top_of_book ticker;
};

/* The venue's part: turns one line's JSON into an event, with levels in the caller's array.
 * STATUS_OK or an error that ends the replay. binance_wire.h has binance_capture_decoder. */
struct capture_decoder {
    int (*decode)(struct capture_event *event, struct book_level *levels, size_t capacity,
                  const char *bytes, size_t length);
};

struct capture_result {
    int64_t lines, deltas, tickers, snapshots;
    int64_t applied, dropped, gaps, crossed;
    int64_t checked, equal;       /* comparisons made, and those that agreed */
    int64_t first_line_different; /* 0: none */
    size_t bid_levels, ask_levels;
};

/* capture_check_run: fills the result; STATUS_OK when the file could be read to its end and decoded
 * (whether the tops agreed is in the result), else an error with status_text. */
int capture_check_run(struct capture_result *result, const char *path,
                      const struct capture_decoder *decoder);

/* capture_check_main: runs it, prints the result as text, and returns the exit code: 0 when at
 * least one event was checked and all were equal, 1 otherwise. */
int capture_check_main(const char *path, const struct capture_decoder *decoder, FILE *out);

#endif
