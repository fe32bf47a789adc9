/* Reading: first the whole chain is checked, then what holds is handed over. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../../bridge/allocate.h"
#include "../../../bridge/crc32c.h"
#include "journal_files.h"

uint32_t journal_crc(const struct journal_record *record)
{
    uint32_t zero = 0;
    uint32_t crc = crc32c(&zero, sizeof zero);
    return crc32c_extend(crc, (const char *)record + sizeof zero, JOURNAL_RECORD - sizeof zero);
}

/* ---- files ---------------------------------------------------------------------------------- */

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

int journal_list(const char *folder, int **out)
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

void journal_segment_path(char out[JOURNAL_PATH], const char *folder, int number)
{
    snprintf(out, JOURNAL_PATH, "%s/journal-%08d.bin", folder, number);
}

/* ---- one segment ---------------------------------------------------------------------------- */

MAPPING_HOLDS(struct journal_record);

struct read_segment {
    const struct journal_record *records; /* NULL: shorter than one record */
    size_t bytes;
    size_t count;
    size_t accepted; /* records that are believed */
    int number;
};

static int refuse(struct journal_replayed *out, int number, const char *what, int error)
{
    snprintf(out->text, sizeof out->text,
             "journal-%08d.bin is %s; the journal has only plain files: remove it (the venue's own "
             "records fill what is missing)",
             number, what);
    return error;
}

static int map_segment(const char *folder, struct read_segment *segment,
                       struct journal_replayed *out)
{
    char path[JOURNAL_PATH];
    struct stat status;
    journal_segment_path(path, folder, segment->number);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 && errno == ELOOP)
        return refuse(out, segment->number, "a symbolic link", -ELOOP);
    if (fd < 0)
        return -errno;
    int error = fstat(fd, &status) < 0 ? -errno : 0;
    if (error == 0 && S_ISDIR(status.st_mode))
        error = refuse(out, segment->number, "a folder", -EISDIR);
    else if (error == 0 && !S_ISREG(status.st_mode))
        error = refuse(out, segment->number, "no plain file", -EINVAL);
    if (error == 0 && status.st_size >= (off_t)JOURNAL_RECORD) {
        void *map = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (map == MAP_FAILED) {
            error = -errno;
        } else {
            segment->records = map;
            segment->bytes = (size_t)status.st_size;
            segment->count = segment->bytes / JOURNAL_RECORD;
            out->segments++;
        }
    }
    close(fd);
    return error;
}

static bool is_blank(const struct journal_record *record)
{
    static const struct journal_record blank;
    return memcmp(record, &blank, JOURNAL_RECORD) == 0;
}

/* A place is the end when it and all after it are blank; written bytes after a bad record are
 * damage. */
static bool blank_from(const struct read_segment *segment, size_t n)
{
    for (; n < segment->count; n++)
        if (!is_blank(&segment->records[n]))
            return false;
    return true;
}

/* ---- the chain ------------------------------------------------------------------------------ */

/* The place behind the last seal that fits: as far back as a break takes the reading. */
struct anchor {
    int segment;
    size_t accepted;
    uint64_t sequence;
    struct journal_chain chain;
};

struct walk {
    struct read_segment *segments;
    int count;
    struct journal_replayed *out;
    struct anchor anchor;
    int damaged_at;             /* newest segment with damage */
    bool begun;                 /* a record was read: the next must follow it */
    bool headed;                /* head is what the home folder remembers */
    struct journal_record head; /* … of the newest seal */
};

static bool is_good(const struct walk *walk, const struct journal_record *record)
{
    bool follows = !walk->begun || record->sequence == walk->out->last_sequence + 1;
    return follows && record->sequence != 0 && journal_crc(record) == record->crc &&
           record->version == JOURNAL_VERSION;
}

/* The newest damage is the one that is told: of older ones an earlier run has told. A segment
 * behind damage that does not follow is not news: it is what the damage cost. */
static void damaged(struct walk *walk, const char *what, int at, size_t n)
{
    struct journal_replayed *out = walk->out;
    if (out->damaged && walk->segments[at].accepted == 0 && n == 0)
        return;
    snprintf(out->text, sizeof out->text,
             "journal-%08d.bin %s at record %zu; read up to sequence %llu",
             walk->segments[at].number, what, n, (unsigned long long)out->last_sequence);
    out->damaged = true;
    walk->damaged_at = at;
}

/* An earlier run had found the damage: it began a segment behind it, and what the head covers is
 * here. */
static bool is_healed(const struct walk *walk)
{
    bool goes_on = false;
    for (int n = walk->damaged_at + 1; n < walk->count; n++)
        goes_on = goes_on || walk->segments[n].accepted > 0;
    return walk->out->damaged && goes_on && !walk->out->distrusted && walk->headed &&
           walk->out->last_sequence >= walk->head.sequence;
}

/* Back to the last seal that fits. Records behind it may have been rewritten. */
static void fall_back(struct walk *walk, int at)
{
    const struct anchor *anchor = &walk->anchor;
    for (int n = anchor->segment; n <= at; n++)
        walk->segments[n].accepted = n == anchor->segment ? anchor->accepted : 0;
    walk->out->last_sequence = anchor->sequence;
    walk->out->chain = anchor->chain;
}

/* False: the journal is another one than the head remembers. */
static bool agrees_with_head(const struct walk *walk, const struct journal_record *record)
{
    if (!walk->headed || record->sequence != walk->head.sequence)
        return true;
    return record->kind == JOURNAL_SEAL &&
           memcmp(journal_chain_digest(record), journal_chain_digest(&walk->head),
                  JOURNAL_DIGEST) == 0;
}

/* After damage only a segment goes on whose first record follows the last good one: it was begun by
 * a run that had read exactly as far. Segments between are not believed. */
static void walk_segment(struct walk *walk, int at)
{
    struct read_segment *segment = &walk->segments[at];
    struct journal_replayed *out = walk->out;
    size_t n = 0;
    for (; n < segment->count && is_good(walk, &segment->records[n]); n++) {
        const struct journal_record *record = &segment->records[n];
        if (!agrees_with_head(walk, record)) {
            out->distrusted = true;
            return;
        }
        bool seal = record->kind == JOURNAL_SEAL;
        if (seal && !journal_chain_check(&out->chain, record)) {
            walk->begun = true;
            fall_back(walk, at);
            damaged(walk, "does not fit its chain (a record was rewritten)", at, n);
            return;
        }
        if (!seal)
            journal_chain_add(&out->chain, record);
        walk->begun = true;
        out->last_sequence = record->sequence;
        segment->accepted = n + 1;
        if (seal)
            walk->anchor = (struct anchor){at, n + 1, record->sequence, out->chain};
    }
    if (!blank_from(segment, n))
        damaged(walk, "is damaged", at, n);
}

/* What the head says of records that are not there, or of a journal that is another one. */
static void judge_head(struct walk *walk)
{
    struct journal_replayed *out = walk->out;
    out->healed = is_healed(walk);
    out->headless = !walk->headed && out->chain.sealed != 0;
    if (!walk->headed)
        return;
    out->head_sequence = walk->head.sequence;
    out->head_generation = walk->head.generation;
    if (out->distrusted) {
        for (int n = 0; n < walk->count; n++)
            walk->segments[n].accepted = 0;
        journal_chain_init(&out->chain);
        out->last_sequence = 0;
        snprintf(
            out->text, sizeof out->text,
            "the journal is another one than the head remembers (sequence %llu): nothing in it "
            "is believed",
            (unsigned long long)out->head_sequence);
        out->damaged = true;
    } else if (out->last_sequence < out->head_sequence) {
        out->missing = out->head_sequence - out->last_sequence;
        if (!out->damaged)
            snprintf(out->text, sizeof out->text,
                     "%llu records are missing at the journal's end: it has %llu of %llu",
                     (unsigned long long)out->missing, (unsigned long long)out->last_sequence,
                     (unsigned long long)out->head_sequence);
        out->damaged = true;
    }
}

static void hand_over(const struct walk *walk, journal_reader *reader, void *context)
{
    for (int n = 0; n < walk->count; n++)
        for (size_t r = 0; r < walk->segments[n].accepted; r++) {
            reader(context, &walk->segments[n].records[r]);
            walk->out->records++;
        }
}

int journal_replay(const char *folder, journal_reader *reader, void *context,
                   struct journal_replayed *out)
{
    memset(out, 0, sizeof *out);
    journal_chain_init(&out->chain);
    int *numbers;
    struct walk walk = {.out = out};
    walk.anchor.chain = out->chain;
    int count = journal_list(folder, &numbers);
    int result = count < 0 ? count : journal_head_read(folder, &walk.head);
    walk.headed = result > 0;
    walk.segments = count > 0 ? ALLOCATE_ARRAY(struct read_segment, count) : NULL;
    if (count > 0 && !walk.segments)
        result = -ENOMEM;
    for (; result >= 0 && walk.count < count; walk.count++) {
        walk.segments[walk.count].number = numbers[walk.count];
        int error = map_segment(folder, &walk.segments[walk.count], out);
        if (error < 0)
            result = error;
    }
    for (int n = 0; result >= 0 && n < walk.count && !out->distrusted; n++)
        walk_segment(&walk, n);
    if (result >= 0) {
        judge_head(&walk);
        hand_over(&walk, reader, context);
    }
    for (int n = 0; n < walk.count; n++)
        if (walk.segments[n].records)
            munmap((void *)walk.segments[n].records, walk.segments[n].bytes);
    free(walk.segments);
    free(numbers);
    return result < 0 ? result : 0;
}
