/* Segments of fixed size, mapped ahead of need. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../../../bridge/allocate.h"
#include "../base/clock.h"
#include "journal_files.h"

#define RECORD        JOURNAL_RECORD
#define RETRY_NS      1000000000
#define RETIRED       4
#define JOURNAL_EVENT 16 /* records that one event may need */

struct segment {
    struct journal_record *records; /* NULL: none */
    int number;
    size_t used;    /* of a retired one; the current one's is journal->used */
    size_t chained; /* records that the chain holds */
};

struct journal {
    char folder[JOURNAL_PATH - 64];
    size_t segment_bytes;
    size_t capacity; /* records of a segment */
    size_t used;     /* of the current segment */
    struct segment current, ahead;
    struct segment retired[RETIRED]; /* full, not yet unmapped */
    int retired_count;
    int oldest;
    uint64_t sequence;
    uint32_t mode, generation;
    struct journal_chain chain;
    struct journal_head head;
    int64_t seal_ns; /* not before */
    void (*checkpoint)(void *context);
    void *context;
    int64_t retry_ns;
    bool in_checkpoint;
    char problem[160];
    int backlog_count;
    struct journal_record backlog[JOURNAL_BACKLOG];
};

/* ---- writing -------------------------------------------------------------------------------- */

/* Makes and maps one segment, fully allocated, or leaves nothing behind. */
static int segment_make(struct journal *journal, struct segment *segment, int number)
{
    char path[JOURNAL_PATH];
    journal_segment_path(path, journal->folder, number);
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    int error = posix_fallocate(fd, 0, (off_t)journal->segment_bytes);
    void *map = MAP_FAILED;
    if (error == 0) {
        map = mmap(NULL, journal->segment_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
                   fd, 0);
        if (map == MAP_FAILED)
            error = errno;
    }
    close(fd);
    if (error) {
        unlink(path);
        snprintf(journal->problem, sizeof journal->problem,
                 "the journal cannot make segment %d (%s): free space in %.80s", number,
                 strerror(error), journal->folder);
        return -error;
    }
    journal->problem[0] = '\0';
    *segment = (struct segment){.records = map, .number = number};
    return 0;
}

static void write_record(struct journal *journal, struct journal_record *record)
{
    record->version = JOURNAL_VERSION;
    record->sequence = ++journal->sequence;
    record->crc = journal_crc(record);
    memcpy(&journal->current.records[journal->used++], record, RECORD);
}

static void write_open_record(struct journal *journal)
{
    struct journal_record record = {
        .kind = JOURNAL_OPEN,
        .wall_ns = clock_wall_ns(),
        .generation = journal->generation,
        .position_e9 = (int64_t)journal->mode,
    };
    write_record(journal, &record);
}

static void write_checkpoint(struct journal *journal)
{
    journal->in_checkpoint = true;
    if (journal->checkpoint)
        journal->checkpoint(journal->context);
    journal->in_checkpoint = false;
}

/* The segment ahead becomes the current one. No system call: the full one is unmapped later. */
static bool turn(struct journal *journal)
{
    if (!journal->ahead.records || journal->retired_count == RETIRED)
        return false;
    journal->current.used = journal->used;
    journal->retired[journal->retired_count++] = journal->current;
    journal->current = journal->ahead;
    journal->ahead.records = NULL;
    journal->used = 0;
    write_open_record(journal);
    return true;
}

/* The sequence goes on in the backlog only when it is written, so order is kept. */
static int defer(struct journal *journal, const struct journal_record *record, bool required)
{
    if (!required)
        return -ENOSPC;
    if (journal->backlog_count == JOURNAL_BACKLOG)
        return -ENOBUFS;
    journal->backlog[journal->backlog_count++] = *record;
    return -ENOSPC;
}

int journal_append(struct journal *journal, struct journal_record *record, bool required)
{
    if (record->wall_ns == 0)
        record->wall_ns = clock_wall_ns();
    if (journal->backlog_count > 0)
        return defer(journal, record, required);
    if (journal->used == journal->capacity)
        return defer(journal, record, required);
    write_record(journal, record);
    return 0;
}

void journal_prepare(struct journal *journal)
{
    if (journal->backlog_count == 0 && journal->capacity - journal->used < JOURNAL_EVENT &&
        turn(journal))
        write_checkpoint(journal);
}

enum journal_room journal_room_now(const struct journal *journal)
{
    if (journal->backlog_count > 0)
        return JOURNAL_ROOM_NONE;
    size_t left = journal->capacity - journal->used;
    if (journal->ahead.records && journal->retired_count < RETIRED)
        return JOURNAL_ROOM_FREE;
    size_t reserve =
        JOURNAL_RESERVE < journal->capacity / 2 ? JOURNAL_RESERVE : journal->capacity / 2;
    if (left > reserve)
        return JOURNAL_ROOM_FREE;
    /* The last records are for what the venue says, not for what we want to send. */
    return left > reserve / 4 ? JOURNAL_ROOM_RESERVE : JOURNAL_ROOM_NONE;
}

/* The state in memory is ahead of the backlog, so the checkpoint comes after it. */
static void write_backlog(struct journal *journal)
{
    int count = journal->backlog_count;
    for (int n = 0; n < count; n++) {
        if (journal->used == journal->capacity && !turn(journal)) {
            memmove(journal->backlog, &journal->backlog[n],
                    (size_t)(count - n) * sizeof journal->backlog[0]);
            journal->backlog_count = count - n;
            return;
        }
        write_record(journal, &journal->backlog[n]);
    }
    journal->backlog_count = 0;
    write_checkpoint(journal);
}

/* ---- the chain ------------------------------------------------------------------------------ */

static void chain_up(struct journal *journal, struct segment *segment, size_t used)
{
    for (; segment->chained < used; segment->chained++) {
        const struct journal_record *record = &segment->records[segment->chained];
        journal_chain_add(&journal->chain, record);
        if (record->generation > journal->generation)
            journal->generation = record->generation;
    }
}

/* What was written since the last call, in the order in which it was written. */
static void chain_written(struct journal *journal)
{
    for (int n = 0; n < journal->retired_count; n++)
        chain_up(journal, &journal->retired[n], journal->retired[n].used);
    chain_up(journal, &journal->current, journal->used);
}

/* The seal is no record of the books: without room for those it can wait, and the next one covers
 * all the same. */
static bool seal(struct journal *journal)
{
    if (journal->chain.from == 0 || journal->used == journal->capacity ||
        journal_room_now(journal) != JOURNAL_ROOM_FREE)
        return false;
    struct journal_record record = {
        .version = JOURNAL_VERSION,
        .wall_ns = clock_wall_ns(),
        .sequence = ++journal->sequence,
        .generation = journal->generation,
    };
    journal_chain_seal(&journal->chain, &record);
    record.crc = journal_crc(&record);
    memcpy(&journal->current.records[journal->used++], &record, RECORD);
    journal->current.chained = journal->used;
    journal_head_put(&journal->head, &record);
    return true;
}

static int chain_work(struct journal *journal, int64_t now_ns)
{
    chain_written(journal);
    if (now_ns < journal->seal_ns || !seal(journal))
        return 0;
    journal->seal_ns = now_ns + JOURNAL_SEAL_NS;
    return 1;
}

uint64_t journal_seal_head(const struct journal *journal, unsigned char digest[JOURNAL_DIGEST])
{
    memcpy(digest, journal->chain.head, JOURNAL_DIGEST);
    return journal->chain.sealed;
}

static void prune(struct journal *journal)
{
    while (journal->oldest > 0 && journal->current.number - journal->oldest >= JOURNAL_SEGMENTS) {
        char path[JOURNAL_PATH];
        journal_segment_path(path, journal->folder, journal->oldest++);
        unlink(path);
    }
}

int journal_do_work(struct journal *journal, int64_t now_ns)
{
    int work = chain_work(journal, now_ns);
    while (journal->retired_count > 0) {
        struct segment *old = &journal->retired[--journal->retired_count];
        munmap(old->records, journal->segment_bytes);
        work++;
    }
    if (!journal->ahead.records && now_ns >= journal->retry_ns) {
        if (segment_make(journal, &journal->ahead, journal->current.number + 1) == 0)
            prune(journal);
        else
            journal->retry_ns = now_ns + RETRY_NS;
        work++;
    }
    if (journal->backlog_count > 0 && journal->ahead.records) {
        write_backlog(journal);
        work++;
    }
    return work;
}

/* A segment that was made and never written is not history, and its space may be needed. */
static void drop_unwritten(struct journal *journal, struct segment *segment)
{
    if (!segment->records)
        return;
    char path[JOURNAL_PATH];
    journal_segment_path(path, journal->folder, segment->number);
    munmap(segment->records, journal->segment_bytes);
    unlink(path);
    segment->records = NULL;
}

/* A journal that is not believed is kept for people to look at, and read no more. */
static int set_aside(const char *folder, const int *numbers, int count)
{
    for (int n = 0; n < count; n++) {
        char path[JOURNAL_PATH], aside[JOURNAL_PATH];
        journal_segment_path(path, folder, numbers[n]);
        snprintf(aside, sizeof aside, "%s/distrusted-%08d.bin", folder, numbers[n]);
        if (rename(path, aside) != 0)
            return -errno;
    }
    return 0;
}

/* The first two segments, and the head. */
static int make_files(struct journal *journal, const struct journal_replayed *read)
{
    int *numbers;
    int count = journal_list(journal->folder, &numbers);
    int result = count < 0 ? count : 0;
    int next = count > 0 ? numbers[count - 1] + 1 : 1;
    journal->oldest = count > 0 ? numbers[0] : 1;
    if (result == 0 && read && read->distrusted) {
        result = set_aside(journal->folder, numbers, count);
        journal->oldest = next;
    }
    free(numbers);
    if (result == 0)
        result = segment_make(journal, &journal->current, next);
    if (result == 0)
        result = segment_make(journal, &journal->ahead, next + 1);
    if (result == 0)
        result = journal_head_open(&journal->head, journal->folder);
    return result;
}

int journal_open(struct journal **out, const char *folder, const struct journal_replayed *read,
                 uint32_t mode, uint32_t generation, size_t segment_bytes,
                 void (*checkpoint)(void *context), void *context)
{
    *out = NULL;
    struct journal *journal = ALLOCATE(struct journal);
    if (!journal)
        return -ENOMEM;
    snprintf(journal->folder, sizeof journal->folder, "%s", folder);
    journal->segment_bytes = segment_bytes ? segment_bytes : JOURNAL_SEGMENT_BYTES;
    journal->capacity = journal->segment_bytes / RECORD;
    journal->mode = mode;
    journal->generation = generation;
    journal->checkpoint = checkpoint;
    journal->context = context;
    journal_chain_init(&journal->chain);
    if (read) {
        journal->sequence = read->last_sequence;
        journal->chain = read->chain;
    }
    int result = make_files(journal, read);
    if (result < 0) {
        journal_close(journal);
        return result;
    }
    *out = journal;
    write_open_record(journal);
    write_checkpoint(journal);
    chain_written(journal);
    seal(journal);
    if (journal->used > 0 && journal->chain.sealed == journal->sequence)
        journal_head_reset(&journal->head, &journal->current.records[journal->used - 1]);
    return 0;
}

void journal_close(struct journal *journal)
{
    if (!journal)
        return;
    if (journal->used > 0) {
        chain_written(journal);
        seal(journal);
    }
    journal_head_close(&journal->head);
    drop_unwritten(journal, &journal->ahead);
    if (journal->used == 0)
        drop_unwritten(journal, &journal->current);
    if (journal->current.records)
        munmap(journal->current.records, journal->segment_bytes);
    for (int n = 0; n < journal->retired_count; n++)
        munmap(journal->retired[n].records, journal->segment_bytes);
    free(journal);
}

uint64_t journal_sequence(const struct journal *journal)
{
    return journal->sequence;
}

const char *journal_problem(const struct journal *journal)
{
    return journal->problem;
}
