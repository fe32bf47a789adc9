#include "capture_check.h"

#include <string.h>
#include <zlib.h>

#include "../base/status.h"

#define LINE_MAX_BYTES (1 << 20)
#define LEVELS_MAX 16384
#define TICKERS_MAX 8192 /* tickers that may precede one delta */

/* Tickers wait here until a delta at or beyond their id arrives. */
struct ticker {
    int64_t id;
    struct top_of_book top;
};

struct check {
    struct capture_result *result;
    const struct capture_decoder *decoder;
    struct order_book book;
    struct book_sync sync;
    char *line;
    struct book_level *levels;
    struct ticker *tickers;
    size_t ticker_count;
    struct ticker latest; /* largest id not above the last delta's; id 0: none yet */
};

static bool same_top(const struct top_of_book *a, const struct top_of_book *b)
{
    return a->bid.ticks == b->bid.ticks && a->ask.ticks == b->ask.ticks &&
           a->bid_quantity.lots == b->bid_quantity.lots &&
           a->ask_quantity.lots == b->ask_quantity.lots;
}

static int keep_ticker(struct check *check, const struct capture_event *event)
{
    check->result->tickers++;
    if (check->ticker_count == TICKERS_MAX)
        return status_set(STATUS_LIMIT, "more than %d tickers without a delta", TICKERS_MAX);
    check->tickers[check->ticker_count++] = (struct ticker){event->ticker_id, event->ticker};
    return STATUS_OK;
}

static void choose_ticker(struct check *check, int64_t last_id)
{
    size_t taken = 0;
    while (taken < check->ticker_count && check->tickers[taken].id <= last_id)
        check->latest = check->tickers[taken++];
    check->ticker_count -= taken;
    memmove(check->tickers, check->tickers + taken, check->ticker_count * sizeof check->tickers[0]);
}

static void compare(void *context)
{
    struct check *check = context;
    struct capture_result *result = check->result;
    struct top_of_book top = order_book_top(&check->book);
    result->crossed += order_book_is_crossed(&check->book);
    choose_ticker(check, check->sync.last_id);
    if (check->latest.id == 0)
        return;
    result->checked++;
    if (same_top(&top, &check->latest.top))
        result->equal++;
    else if (result->first_line_different == 0)
        result->first_line_different = result->lines;
}

static int handle_line(struct check *check, const char *json, size_t length)
{
    struct capture_event event;
    int status = check->decoder->decode(&event, check->levels, LEVELS_MAX, json, length);
    if (status != STATUS_OK)
        return status;
    if (event.kind == CAPTURE_TICKER)
        return keep_ticker(check, &event);
    if (event.kind == CAPTURE_SNAPSHOT) {
        check->result->snapshots++;
        (void)book_sync_snapshot(&check->sync, &event.delta); /* the counters tell what came of it */
    } else if (event.kind == CAPTURE_DELTA) {
        check->result->deltas++;
        (void)book_sync_delta(&check->sync, &event.delta);
    }
    return STATUS_OK;
}

static int read_lines(struct check *check, gzFile file, const char *path)
{
    while (gzgets(file, check->line, LINE_MAX_BYTES) != NULL) {
        check->result->lines++;
        size_t length = strlen(check->line);
        while (length > 0 && (check->line[length - 1] == '\n' || check->line[length - 1] == '\r'))
            length--;
        if (length == 0)
            continue;
        const char *json = memchr(check->line, ' ', length);
        if (json == NULL)
            return status_set(STATUS_PROTOCOL, "%s:%lld is not `<local_ns> <json>`", path,
                              (long long)check->result->lines);
        json++;
        int status = handle_line(check, json, length - (size_t)(json - check->line));
        if (status != STATUS_OK)
            return status_add(status, "%s:%lld", path, (long long)check->result->lines);
    }
    int error;
    const char *text = gzerror(file, &error);
    if (error != Z_OK && error != Z_STREAM_END)
        return status_set(STATUS_IO, "%s cannot be read to its end (%s)", path, text);
    return STATUS_OK;
}

int capture_check_run(struct capture_result *result, const char *path,
                      const struct capture_decoder *decoder)
{
    *result = (struct capture_result){0};
    gzFile file = gzopen(path, "rb");
    if (file == NULL)
        return status_set(STATUS_IO, "cannot open the capture %s; check the path", path);
    struct check check = {.result = result, .decoder = decoder};
    struct arena arena;
    int status = arena_init(&arena, (size_t)16 << 20);
    if (status == STATUS_OK) {
        order_book_init(&check.book, &arena);
        book_sync_init(&check.sync, &arena, &check.book);
        check.sync.on_applied = compare;
        check.sync.context = &check;
        check.line = arena_allocate(&arena, LINE_MAX_BYTES);
        check.levels = arena_allocate(&arena, LEVELS_MAX * sizeof *check.levels);
        check.tickers = arena_allocate(&arena, TICKERS_MAX * sizeof *check.tickers);
        arena_seal(&arena);
        status = read_lines(&check, file, path);
        result->applied = check.sync.applied;
        result->dropped = check.sync.dropped;
        result->gaps = check.sync.gaps;
        result->bid_levels = order_book_levels(&check.book, BOOK_BID);
        result->ask_levels = order_book_levels(&check.book, BOOK_ASK);
        arena_fini(&arena);
    }
    gzclose(file);
    return status;
}

int capture_check_main(const char *path, const struct capture_decoder *decoder, FILE *out)
{
    struct capture_result r;
    int status = capture_check_run(&r, path, decoder);
    if (status != STATUS_OK) {
        fprintf(stderr, "trader: %s\n", status_text());
        return 1;
    }
    fprintf(out, "lines %lld, depth events %lld, tickers %lld, snapshots %lld\n",
            (long long)r.lines, (long long)r.deltas, (long long)r.tickers, (long long)r.snapshots);
    fprintf(out, "dropped %lld, applied %lld, gaps %lld, crossed %lld\n", (long long)r.dropped,
            (long long)r.applied, (long long)r.gaps, (long long)r.crossed);
    fprintf(out, "final levels %zu bids, %zu asks\n", r.bid_levels, r.ask_levels);
    fprintf(out, "top of book equal to the recorded best bid and ask: %lld of %lld\n",
            (long long)r.equal, (long long)r.checked);
    if (r.first_line_different != 0)
        fprintf(out, "first difference at line %lld\n", (long long)r.first_line_different);
    return r.checked > 0 && r.equal == r.checked ? 0 : 1;
}
