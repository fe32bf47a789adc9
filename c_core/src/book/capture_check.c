#include "capture_check.h"

#include <string.h>
#include <zlib.h>

#include "../base/status.h"

#define LINE_MAX_BYTES (1 << 20)
#define LEVELS_MAX     16384
#define RECORDS_MAX    4194304 /* tops of either kind in one capture */

#define ARENA_BYTES (((size_t)16 << 20) + 2 * RECORDS_MAX * sizeof(struct record))

/* A top of book at an update id: ours after a delta, or the venue's. */
struct record {
    int64_t id;
    struct top_of_book top;
    int64_t line;
};

/* Both kinds are compared when the whole file is read, since a ticker can arrive after the delta
 * whose state it shows. */
struct record_list {
    struct record *records;
    size_t count;
};

struct check {
    struct capture_result *result;
    const struct capture_decoder *decoder;
    struct order_book book;
    struct book_sync sync;
    char *line;
    struct book_level *levels;
    struct record_list ours, tickers;
    bool full;
};

static bool same_top(const struct top_of_book *a, const struct top_of_book *b)
{
    return a->bid.ticks == b->bid.ticks && a->ask.ticks == b->ask.ticks &&
           a->bid_quantity.lots == b->bid_quantity.lots &&
           a->ask_quantity.lots == b->ask_quantity.lots;
}

static void record(struct check *check, struct record_list *list, int64_t id,
                   struct top_of_book top)
{
    if (list->count == RECORDS_MAX)
        check->full = true;
    else
        list->records[list->count++] = (struct record){id, top, check->result->lines};
}

static void on_applied(void *context)
{
    struct check *check = context;
    check->result->crossed += order_book_is_crossed(&check->book);
    record(check, &check->ours, check->sync.last_id, order_book_top(&check->book));
}

/* Each of our tops against the ticker with the largest id not above its own; ids only grow. */
static void compare(struct check *check)
{
    struct capture_result *result = check->result;
    const struct record_list *tickers = &check->tickers;
    size_t next = 0;
    for (size_t i = 0; i < check->ours.count; i++) {
        const struct record *mine = &check->ours.records[i];
        while (next < tickers->count && tickers->records[next].id <= mine->id)
            next++;
        if (next == 0)
            continue; /* no ticker is old enough: not checkable */
        result->checked++;
        if (same_top(&mine->top, &tickers->records[next - 1].top))
            result->equal++;
        else if (result->first_line_different == 0)
            result->first_line_different = mine->line;
    }
}

static int handle_line(struct check *check, const char *json, size_t length)
{
    struct capture_event event;
    int status = check->decoder->decode(&event, check->levels, LEVELS_MAX, json, length);
    if (status != STATUS_OK)
        return status;
    if (event.kind == CAPTURE_TICKER) {
        check->result->tickers++;
        record(check, &check->tickers, event.ticker_id, event.ticker);
    } else if (event.kind == CAPTURE_SNAPSHOT) {
        check->result->snapshots++;
        (void)book_sync_snapshot(&check->sync,
                                 &event.delta); /* the counters tell what came of it */
    } else if (event.kind == CAPTURE_DELTA) {
        check->result->deltas++;
        (void)book_sync_delta(&check->sync, &event.delta);
    }
    if (check->full)
        return status_set(STATUS_LIMIT, "more than %d tops; split the capture", RECORDS_MAX);
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
    int status = arena_init(&arena, ARENA_BYTES);
    if (status == STATUS_OK) {
        order_book_init(&check.book, &arena);
        book_sync_init(&check.sync, &arena, &check.book);
        check.sync.on_applied = on_applied;
        check.sync.context = &check;
        check.line = arena_allocate(&arena, LINE_MAX_BYTES);
        check.levels = arena_allocate(&arena, LEVELS_MAX * sizeof *check.levels);
        check.ours.records = arena_allocate(&arena, RECORDS_MAX * sizeof(struct record));
        check.tickers.records = arena_allocate(&arena, RECORDS_MAX * sizeof(struct record));
        arena_seal(&arena);
        status = read_lines(&check, file, path);
        compare(&check);
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
