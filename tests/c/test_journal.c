/* The journal: what is written is read back, damage at any byte stops at the last good record, and
 * a full disk is known while there is still room for what must be written. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../c_core/src/base/check.h"
#include "../../c_core/src/oms/journal.h"

#define BYTES  ((size_t)(64 * 1024)) /* 256 records a segment */
#define RECORD sizeof(struct journal_record)

static char folder[256], head_file[272];

static void empty_folder(void)
{
    DIR *directory = opendir(folder);
    CHECK(directory != NULL);
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        char path[640];
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        unlink(path);
    }
    closedir(directory);
    unlink(head_file);
}

struct reading {
    int reports;
    int64_t last;
    bool in_order;
};

static void read_one(void *context, const struct journal_record *record)
{
    struct reading *reading = context;
    if (record->kind != JOURNAL_REPORT)
        return;
    reading->in_order = reading->in_order && record->position_e9 == reading->last + 1;
    reading->last = record->position_e9;
    reading->reports++;
}

static struct reading replay(struct journal_replayed *replayed)
{
    struct reading reading = {.in_order = true};
    CHECK(journal_replay(folder, read_one, &reading, replayed) == 0);
    return reading;
}

static struct journal *open_journal(const struct journal_replayed *read)
{
    struct journal *journal;
    CHECK(journal_open(&journal, folder, read, 1, 7, BYTES, NULL, NULL) == 0);
    return journal;
}

static void append(struct journal *journal, int64_t number)
{
    struct journal_record record = {.kind = JOURNAL_REPORT, .position_e9 = number};
    journal_prepare(journal);
    CHECK(journal_append(journal, &record, true) == 0);
}

/* Many segments, closed and opened again: every record comes back once and in order. */
static void goes_on_over_segments_and_restarts(void)
{
    struct journal_replayed replayed;
    empty_folder();
    int64_t number = 0;
    for (int round = 0; round < 3; round++) {
        struct journal *journal = open_journal(round ? &replayed : NULL);
        for (int n = 0; n < 400; n++) {
            append(journal, ++number);
            journal_do_work(journal, number);
        }
        journal_close(journal);
        struct reading reading = replay(&replayed);
        CHECK(reading.reports == number && reading.in_order && !replayed.damaged);
    }
    CHECK(replayed.segments >= 6);
}

/* A process that dies leaves its segment ahead behind: reading passes over it. */
static void survives_an_unclean_end(void)
{
    struct journal_replayed replayed;
    empty_folder();
    struct journal *journal = open_journal(NULL);
    append(journal, 1);
    replay(&replayed);
    struct journal *next = open_journal(&replayed);
    append(next, 2);
    struct reading reading = replay(&replayed);
    CHECK(reading.reports == 2 && reading.in_order && !replayed.damaged);
    journal_close(next);
    journal_close(journal);
}

static void flip(const char *path, off_t at)
{
    int fd = open(path, O_RDWR);
    CHECK(fd >= 0);
    unsigned char byte;
    CHECK(pread(fd, &byte, 1, at) == 1);
    byte ^= 0x40;
    CHECK(pwrite(fd, &byte, 1, at) == 1);
    close(fd);
}

/* A flipped byte anywhere stops the reading at the record before it, and a later run goes on. */
static void damage_stops_at_the_last_good_record(void)
{
    struct journal_replayed replayed;
    char path[320];
    empty_folder();
    snprintf(path, sizeof path, "%s/journal-00000001.bin", folder);
    struct journal *journal = open_journal(NULL);
    for (int n = 1; n <= 10; n++)
        append(journal, n);
    for (off_t at = 0; at < (off_t)(12 * RECORD); at++) {
        flip(path, at);
        struct reading reading = replay(&replayed);
        int whole =
            (int)((size_t)at / RECORD); /* before the damage; OPEN and its SEAL come first */
        CHECK(reading.reports == (whole > 1 ? whole - 2 : 0));
        CHECK(replayed.damaged && reading.in_order);
        flip(path, at);
    }
    flip(path, 7 * (off_t)RECORD + 40);
    struct reading reading = replay(&replayed);
    CHECK(reading.reports == 5);
    struct journal *next = open_journal(&replayed);
    append(next, 6);
    append(next, 7);
    reading = replay(&replayed);
    CHECK(reading.reports == 7 && reading.in_order && replayed.damaged && replayed.healed);
    journal_close(next);
    journal_close(journal);
}

/* Cut off at every length: never an invented record. */
static void truncation_loses_only_the_tail(void)
{
    struct journal_replayed replayed;
    char path[320];
    empty_folder();
    snprintf(path, sizeof path, "%s/journal-00000001.bin", folder);
    struct journal *journal = open_journal(NULL);
    for (int n = 1; n <= 6; n++)
        append(journal, n);
    journal_close(journal);
    for (off_t length = (off_t)(9 * RECORD); length >= 0; length -= 13) {
        CHECK(truncate(path, length) == 0);
        struct reading reading = replay(&replayed);
        int whole = (int)((size_t)length / RECORD); /* OPEN, SEAL, six reports, SEAL */
        int reports = whole > 1 ? whole - 2 : 0;
        CHECK(reading.reports == (reports < 6 ? reports : 6) && reading.in_order);
        CHECK(replayed.damaged == (whole < 9) && replayed.missing == (uint64_t)(9 - whole));
    }
}

/* Twelve spans of reports, each sealed, over two segments at least. Returns how many records. */
static size_t write_sealed(size_t bytes, int spans, int reports)
{
    struct journal *journal;
    int64_t number = 0, now_ns = 1;
    empty_folder();
    CHECK(journal_open(&journal, folder, NULL, 1, 7, bytes, NULL, NULL) == 0);
    for (int n = 0; n < spans; n++) {
        for (int r = 0; r < reports; r++)
            append(journal, ++number);
        journal_do_work(journal, now_ns += JOURNAL_SEAL_NS);
    }
    size_t count = (size_t)journal_sequence(journal);
    journal_close(journal);
    return count;
}

static void rewrite(const char *path, size_t record, size_t byte, unsigned char bit)
{
    struct journal_record changed;
    int fd = open(path, O_RDWR);
    CHECK(fd >= 0);
    CHECK(pread(fd, &changed, RECORD, (off_t)(record * RECORD)) == (ssize_t)RECORD);
    ((unsigned char *)&changed)[byte] ^= bit;
    changed.crc = journal_crc(&changed);
    CHECK(pwrite(fd, &changed, RECORD, (off_t)(record * RECORD)) == (ssize_t)RECORD);
    close(fd);
}

static uint32_t next_random(void)
{
    static uint32_t state = 20261128;
    state ^= state << 13;
    state ^= state >> 17;
    return state ^= state << 5;
}

/* Any byte of any record, rewritten with its checksum: the reading ends at the last seal before it,
 * and says which segment does not fit. */
static void a_rewritten_record_does_not_fit_its_chain(void)
{
    struct journal_replayed replayed;
    char path[320];
    size_t count =
        write_sealed(BYTES, 12, 5); /* OPEN SEAL, then twelve times five reports and a SEAL */
    CHECK(count == 2 + 12 * 6);
    snprintf(path, sizeof path, "%s/journal-00000001.bin", folder);
    for (int n = 0; n < 600; n++) {
        size_t record = n < (int)count ? (size_t)n : next_random() % count;
        size_t byte = 4 + next_random() % (RECORD - 4);
        unsigned char bit = (unsigned char)(1u << next_random() % 8);
        rewrite(path, record, byte, bit);
        struct reading reading = replay(&replayed);
        size_t spans = record < 2 ? 0 : (record - 2) / 6;
        CHECK(replayed.damaged && reading.in_order);
        /* A sequence or version that is wrong shows at once: what stood before it is read. */
        bool plain = byte >= 16;
        int most = (int)(5 * spans + (plain || record < 2 ? 0 : (record - 2) % 6));
        CHECK(replayed.distrusted ? record == count - 1 && reading.reports == 0
                                  : reading.reports >= (int)(5 * spans) && reading.reports <= most);
        CHECK(replayed.distrusted || strstr(replayed.text, "journal-00000001.bin") != NULL);
        rewrite(path, record, byte, bit);
    }
    struct reading reading = replay(&replayed);
    CHECK(reading.reports == 60 && !replayed.damaged);
}

/* Segments that go missing: the first is history that may be retired, a middle or last one is told.
 */
static void a_lost_segment_is_told(void)
{
    struct journal_replayed replayed;
    char path[320];
    for (int lost = 1; lost <= 4; lost++) {
        write_sealed(BYTES / 4, 12, 12); /* 64 records a segment */
        replay(&replayed);
        CHECK(replayed.segments == 4 && !replayed.damaged);
        uint64_t last = replayed.last_sequence;
        snprintf(path, sizeof path, "%s/journal-%08d.bin", folder, lost);
        CHECK(unlink(path) == 0);
        struct reading reading = replay(&replayed);
        CHECK(reading.reports > 0 && replayed.damaged == (lost > 1));
        CHECK(replayed.missing == last - replayed.last_sequence);
        CHECK((replayed.missing > 0) == (lost > 1));
    }
}

/* A journal of another making, whole in itself, is not what the head remembers: nothing of it is
 * believed, it is set aside, and what is written next is read again. */
static void another_journal_is_set_aside(void)
{
    struct journal_replayed replayed;
    char kept[272], path[320];
    write_sealed(BYTES, 3, 5);
    snprintf(kept, sizeof kept, "%s.kept", folder);
    CHECK(rename(head_file, kept) == 0);
    write_sealed(BYTES, 4, 5);
    CHECK(rename(kept, head_file) == 0);
    struct reading reading = replay(&replayed);
    CHECK(replayed.distrusted && replayed.damaged && reading.reports == 0);
    struct journal *journal = open_journal(&replayed);
    append(journal, 1);
    journal_close(journal);
    snprintf(path, sizeof path, "%s/distrusted-00000001.bin", folder);
    CHECK(access(path, F_OK) == 0);
    reading = replay(&replayed);
    CHECK(reading.reports == 1 && !replayed.damaged && !replayed.distrusted);
}

/* The folder is gone and the head is not: it says how many records there were. Without the head
 * nothing shows that the end is missing, and that is said. */
static void the_head_outlives_the_folder(void)
{
    struct journal_replayed replayed;
    char path[320];
    size_t count = write_sealed(BYTES, 3, 5);
    snprintf(path, sizeof path, "%s/journal-00000001.bin", folder);
    CHECK(unlink(path) == 0);
    struct reading reading = replay(&replayed);
    CHECK(reading.reports == 0 && replayed.damaged && replayed.missing == count);
    write_sealed(BYTES, 3, 5);
    CHECK(unlink(head_file) == 0);
    reading = replay(&replayed);
    CHECK(reading.reports == 15 && !replayed.damaged && replayed.headless);
}

/* A journal of 0.1.0 has no seals: it is read as before, and sealed from then on. */
static void a_journal_without_seals_is_sealed_on(void)
{
    struct journal_replayed replayed;
    char path[320];
    empty_folder();
    snprintf(path, sizeof path, "%s/journal-00000001.bin", folder);
    FILE *file = fopen(path, "w");
    CHECK(file != NULL);
    for (int n = 1; n <= 8; n++) {
        struct journal_record record = {.kind = JOURNAL_REPORT,
                                        .version = JOURNAL_VERSION,
                                        .sequence = (uint64_t)n,
                                        .position_e9 = n};
        record.crc = journal_crc(&record);
        CHECK(fwrite(&record, sizeof record, 1, file) == 1);
    }
    CHECK(fclose(file) == 0);
    struct reading reading = replay(&replayed);
    CHECK(reading.reports == 8 && !replayed.damaged && !replayed.headless);
    struct journal *journal = open_journal(&replayed);
    append(journal, 9);
    journal_close(journal);
    reading = replay(&replayed);
    CHECK(reading.reports == 9 && !replayed.damaged && replayed.chain.sealed > 0);
    rewrite(path, 3, 200, 1);
    reading = replay(&replayed);
    CHECK(reading.reports == 0 && replayed.damaged);
}

/* A link or a folder in a segment's place is named, and what to do about it. */
static void no_plain_file_is_named(void)
{
    struct journal_replayed replayed;
    struct reading reading = {.in_order = true};
    char path[320];
    snprintf(path, sizeof path, "%s/journal-00000002.bin", folder);
    for (int n = 0; n < 2; n++) {
        write_sealed(BYTES, 1, 5);
        unlink(path);
        CHECK((n == 0 ? symlink("journal-00000001.bin", path) : mkdir(path, 0700)) == 0);
        CHECK(journal_replay(folder, read_one, &reading, &replayed) < 0 && reading.reports == 0);
        CHECK(strstr(replayed.text, n == 0 ? "symbolic link" : "a folder") != NULL);
        CHECK(strstr(replayed.text, "journal-00000002.bin") != NULL);
        CHECK((n == 0 ? unlink(path) : rmdir(path)) == 0);
    }
}

static void limit_file_size(rlim_t bytes)
{
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_FSIZE, &limit) == 0);
    limit.rlim_cur = bytes;
    CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
}

/* Without space the room shrinks in steps, required records wait in memory, and all are there when
 * space is back. */
static void a_full_disk_loses_nothing(void)
{
    struct journal_replayed replayed;
    empty_folder();
    struct journal *journal = open_journal(NULL);
    int64_t number = 0, now_ns = 0;
    limit_file_size(4096);
    bool reserve = false, none = false;
    while (!none) {
        struct journal_record record = {.kind = JOURNAL_REPORT, .position_e9 = ++number};
        journal_prepare(journal);
        int result = journal_append(journal, &record, true);
        CHECK(result == 0 || result == -ENOSPC);
        journal_do_work(journal, now_ns += 1000000000);
        reserve = reserve || journal_room_now(journal) == JOURNAL_ROOM_RESERVE;
        none = result == -ENOSPC;
        CHECK(number < 2000);
    }
    CHECK(reserve && journal_problem(journal)[0] != '\0');
    CHECK(journal_room_now(journal) == JOURNAL_ROOM_NONE);
    struct journal_record intent = {.kind = JOURNAL_INTENT};
    CHECK(journal_append(journal, &intent, false) == -ENOSPC);
    for (int n = 0; n < 600; n++) {
        struct journal_record record = {.kind = JOURNAL_REPORT, .position_e9 = ++number};
        CHECK(journal_append(journal, &record, true) == -ENOSPC);
    }
    limit_file_size(RLIM_INFINITY);
    for (int n = 0; n < 10; n++)
        journal_do_work(journal, now_ns += 1000000000);
    CHECK(journal_room_now(journal) == JOURNAL_ROOM_FREE && journal_problem(journal)[0] == '\0');
    append(journal, ++number);
    journal_close(journal);
    struct reading reading = replay(&replayed);
    CHECK(reading.reports == number && reading.in_order && !replayed.damaged);
}

/* A journal that cannot even begin says so and leaves no file behind. */
static void refuses_to_begin_without_space(void)
{
    struct journal *journal;
    empty_folder();
    limit_file_size(4096);
    CHECK(journal_open(&journal, folder, NULL, 1, 7, BYTES, NULL, NULL) < 0);
    limit_file_size(RLIM_INFINITY);
    struct journal_replayed replayed;
    CHECK(replay(&replayed).reports == 0 && replayed.segments == 0);
}

int main(int argc, char **argv)
{
    signal(SIGXFSZ, SIG_IGN);
    if (argc == 2) { /* a journal of four segments, for the reader in another language */
        snprintf(folder, sizeof folder, "%s", argv[1]);
        snprintf(head_file, sizeof head_file, "%s.head", folder);
        write_sealed(BYTES / 4, 12, 12);
        return 0;
    }
    snprintf(folder, sizeof folder, "/dev/shm/test-journal-XXXXXX");
    CHECK(mkdtemp(folder) != NULL);
    snprintf(head_file, sizeof head_file, "%s.head", folder);
    goes_on_over_segments_and_restarts();
    survives_an_unclean_end();
    damage_stops_at_the_last_good_record();
    truncation_loses_only_the_tail();
    a_rewritten_record_does_not_fit_its_chain();
    a_lost_segment_is_told();
    another_journal_is_set_aside();
    the_head_outlives_the_folder();
    a_journal_without_seals_is_sealed_on();
    no_plain_file_is_named();
    a_full_disk_loses_nothing();
    refuses_to_begin_without_space();
    empty_folder();
    rmdir(folder);
    return 0;
}
