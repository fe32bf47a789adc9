/* Segments of fixed size, mapped ahead of need. */
#include "journal.h"

#include <dirent.h>
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
#include "../../../bridge/crc32c.h"
#include "../base/check.h"
#include "../base/clock.h"

#define RECORD        sizeof(struct journal_record)
#define RETRY_NS      1000000000
#define RETIRED       4
#define JOURNAL_EVENT 16 /* records that one event may need */
#define PATH_BYTES    4096

struct segment {
    struct journal_record *records; /* NULL: none */
    int number;
};

struct journal {
    char folder[PATH_BYTES - 64];
    size_t segment_bytes;
    size_t capacity; /* records of a segment */
    size_t used;     /* of the current segment */
    struct segment current, ahead;
    struct segment retired[RETIRED]; /* full, not yet unmapped */
    int retired_count;
    int oldest;
    uint64_t sequence;
    uint32_t mode, generation;
    void (*checkpoint)(void *context);
    void *context;
    int64_t retry_ns;
    bool in_checkpoint;
    char problem[160];
    int backlog_count;
    struct journal_record backlog[JOURNAL_BACKLOG];
};

uint32_t journal_crc(const struct journal_record *record)
{
    uint32_t zero = 0;
    uint32_t crc = crc32c(&zero, sizeof zero);
    return crc32c_extend(crc, (const char *)record + sizeof zero, RECORD - sizeof zero);
}

/* ---- reading -------------------------------------------------------------------------------- */

/* "journal-00000012.bin" is 12; anything else 0. */
static int segment_number(const char *name)
{
    int number = 0, length = 0;
    if (sscanf(name, "journal-%8d.bin%n", &number, &length) != 1 || length != 20 || name[20])
        return 0;
    return number > 0 ? number : 0;
}

static int compare_numbers(const void *a, const void *b)
{
    return (*(const int *)a > *(const int *)b) - (*(const int *)a < *(const int *)b);
}

/* Numbers of the folder's segments, ascending; *out is freed by the caller. Count or -errno. */
static int list_segments(const char *folder, int **out)
{
    *out = NULL;
    DIR *directory = opendir(folder);
    if (!directory)
        return errno == ENOENT ? 0 : -errno;
    int count = 0, room = 0;
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        int number = segment_number(entry->d_name);
        if (!number)
            continue;
        if (count == room) {
            room = room ? 2 * room : 64;
            int *grown = ALLOCATE_GROWN(int, *out, room);
            if (!grown) {
                closedir(directory);
                return -ENOMEM;
            }
            *out = grown;
        }
        (*out)[count++] = number;
    }
    closedir(directory);
    if (count > 1)
        qsort(*out, (size_t)count, sizeof **out, compare_numbers);
    return count;
}

MAPPING_HOLDS(struct journal_record);

static bool is_blank(const struct journal_record *record)
{
    static const struct journal_record blank;
    return memcmp(record, &blank, RECORD) == 0;
}

/* A place is the end when it and all after it are blank; written bytes after a bad record are
 * damage. */
static bool blank_from(const struct journal_record *records, size_t n, size_t count)
{
    for (; n < count; n++)
        if (!is_blank(&records[n]))
            return false;
    return true;
}

static bool is_good(const struct journal_record *record, const struct journal_replayed *so_far)
{
    bool follows = so_far->records == 0 || record->sequence == so_far->last_sequence + 1;
    return follows && journal_crc(record) == record->crc && record->version == JOURNAL_VERSION;
}

/* One segment. After damage only a segment goes on whose first record follows the last good one: it
 * was begun by a run that had read exactly as far. Segments between are not believed. */
static void replay_records(const struct journal_record *records, size_t count, int number,
                           journal_reader *reader, void *context, struct journal_replayed *out)
{
    size_t n = 0;
    for (; n < count && is_good(&records[n], out); n++) {
        reader(context, &records[n]);
        out->records++;
        out->last_sequence = records[n].sequence;
    }
    if (blank_from(records, n, count))
        return;
    out->damaged = true;
    snprintf(out->text, sizeof out->text,
             "journal-%08d.bin is damaged at record %zu; read up to sequence %llu", number, n,
             (unsigned long long)out->last_sequence);
}

static void segment_path(char out[PATH_BYTES], const char *folder, int number)
{
    snprintf(out, PATH_BYTES, "%s/journal-%08d.bin", folder, number);
}

static int replay_segment(const char *folder, int number, journal_reader *reader, void *context,
                          struct journal_replayed *out)
{
    char path[PATH_BYTES];
    segment_path(path, folder, number);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return -errno;
    struct stat status;
    if (fstat(fd, &status) < 0 || status.st_size < (off_t)RECORD) {
        close(fd);
        return 0;
    }
    size_t bytes = (size_t)status.st_size;
    void *map = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    int error = errno;
    close(fd);
    if (map == MAP_FAILED)
        return -error;
    out->segments++;
    replay_records(map, bytes / RECORD, number, reader, context, out);
    munmap(map, bytes);
    return 0;
}

int journal_replay(const char *folder, journal_reader *reader, void *context,
                   struct journal_replayed *out)
{
    memset(out, 0, sizeof *out);
    int *numbers;
    int count = list_segments(folder, &numbers);
    int result = count < 0 ? count : 0;
    for (int n = 0; n < count && result == 0; n++)
        result = replay_segment(folder, numbers[n], reader, context, out);
    free(numbers);
    return result;
}

/* ---- writing -------------------------------------------------------------------------------- */

/* Makes and maps one segment, fully allocated, or leaves nothing behind. */
static int segment_make(struct journal *journal, struct segment *segment, int number)
{
    char path[PATH_BYTES];
    segment_path(path, journal->folder, number);
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
    segment->records = map;
    segment->number = number;
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

static void prune(struct journal *journal)
{
    while (journal->oldest > 0 && journal->current.number - journal->oldest >= JOURNAL_SEGMENTS) {
        char path[PATH_BYTES];
        segment_path(path, journal->folder, journal->oldest++);
        unlink(path);
    }
}

int journal_do_work(struct journal *journal, int64_t now_ns)
{
    int work = 0;
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
    char path[PATH_BYTES];
    segment_path(path, journal->folder, segment->number);
    munmap(segment->records, journal->segment_bytes);
    unlink(path);
    segment->records = NULL;
}

int journal_open(struct journal **out, const char *folder, uint64_t last_sequence, uint32_t mode,
                 uint32_t generation, size_t segment_bytes, void (*checkpoint)(void *context),
                 void *context)
{
    *out = NULL;
    struct journal *journal = ALLOCATE(struct journal);
    if (!journal)
        return -ENOMEM;
    snprintf(journal->folder, sizeof journal->folder, "%s", folder);
    journal->segment_bytes = segment_bytes ? segment_bytes : JOURNAL_SEGMENT_BYTES;
    journal->capacity = journal->segment_bytes / RECORD;
    journal->sequence = last_sequence;
    journal->mode = mode;
    journal->generation = generation;
    journal->checkpoint = checkpoint;
    journal->context = context;
    int *numbers;
    int count = list_segments(folder, &numbers);
    int result = count < 0 ? count : 0;
    int next = count > 0 ? numbers[count - 1] + 1 : 1;
    journal->oldest = count > 0 ? numbers[0] : 1;
    free(numbers);
    if (result == 0)
        result = segment_make(journal, &journal->current, next);
    if (result == 0)
        result = segment_make(journal, &journal->ahead, next + 1);
    if (result < 0) {
        journal_close(journal);
        return result;
    }
    *out = journal;
    write_open_record(journal);
    write_checkpoint(journal);
    return 0;
}

void journal_close(struct journal *journal)
{
    if (!journal)
        return;
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
