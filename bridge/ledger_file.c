#include "allocate.h"
#include "channel.h"
#include "ledger_private.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FOLDER_TRIES 1000

MAPPING_HOLDS(struct ledger_shared);

/* read_text: the first bytes of a small file of /proc as a string; -1 when it cannot be read. */
static int read_text(const char *path, char *text, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got;

    if (fd < 0)
        return -1;
    got = read(fd, text, size - 1);
    close(fd);
    if (got <= 0)
        return -1;
    text[got] = '\0';
    return 0;
}

int64_t process_start_time(int64_t pid)
{
    char path[64];
    char text[1024];
    const char *fields;
    char state;
    long threads;
    unsigned long long start;

    if (pid <= 0)
        return -1;
    snprintf(path, sizeof path, "/proc/%" PRId64 "/stat", pid);
    if (read_text(path, text, sizeof text) != 0)
        return -1;
    /* The name, field 2, may itself hold blanks and brackets: count from the last bracket. */
    fields = strrchr(text, ')');
    if (fields == NULL ||
        sscanf(fields + 1,
               " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %ld %*d %llu",
               &state, &threads, &start) != 3)
        return -1;
    /* A zombie whose threads are all gone runs no more code; it only waits to be collected. */
    if (state == 'X' || (state == 'Z' && threads <= 1))
        return -1;
    return (int64_t)start;
}

int process_is(int64_t pid, int64_t start_time)
{
    int64_t found = process_start_time(pid);

    return found >= 0 && found == start_time;
}

int64_t ledger_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_BOOTTIME, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec + clock_shift_boot_ns();
}

static int boot_id(char out[40])
{
    char text[64];

    memset(out, 0, 40);
    if (read_text("/proc/sys/kernel/random/boot_id", text, sizeof text) != 0)
        return -EIO;
    text[strcspn(text, "\n")] = '\0';
    memcpy(out, text, strnlen(text, 39));
    return 0;
}

static int map_file(struct ledger **out, int fd)
{
    struct ledger *ledger = ALLOCATE(struct ledger);
    void *memory;

    if (ledger == NULL)
        return -ENOMEM;
    memory = mmap(NULL, sizeof(struct ledger_shared), PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_POPULATE, fd, 0);
    if (memory == MAP_FAILED) {
        int error = errno;

        free(ledger);
        return -error;
    }
    (void)mlock(memory, sizeof(struct ledger_shared));
    ledger->shared = memory;
    ledger->participant = PROTOCOL_PARTICIPANTS;
    *out = ledger;
    return 0;
}

/* amounts_are_sane: no right is negative and no sum is beyond what was ever granted. */
static int amounts_are_sane(const struct ledger_shared *shared)
{
    for (int d = 0; d < 2; d++) {
        int64_t limit = shared->header.limit_micros[d];

        if (limit < 0 || limit > LEDGER_AMOUNT_MAX)
            return 0;
        for (int i = 0; i < PROTOCOL_PARTICIPANTS; i++) {
            int64_t alloc = LOAD(shared->participants[i].alloc_micros[d]);

            if (alloc < 0 || alloc > LEDGER_AMOUNT_MAX ||
                LOAD(shared->participants[i].used_micros[d]) < 0)
                return 0;
        }
        if (rights_sum(shared, d) > shared->header.ceiling_micros[d])
            return 0;
    }
    return 1;
}

static int header_is_ours(const struct ledger_header *header)
{
    char boot[40];

    return LOAD(header->magic) == PROTOCOL_LEDGER_MAGIC && header->version == PROTOCOL_VERSION &&
           header->size == sizeof(struct ledger_shared) &&
           header->layout_hash == protocol_layout_hash() && boot_id(boot) == 0 &&
           memcmp(boot, header->boot_id, sizeof boot) == 0;
}

int ledger_open(struct ledger **out, const char *path)
{
    int fd = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    struct stat info;
    int error = 0;

    *out = NULL;
    if (fd < 0)
        return errno == ELOOP || errno == EACCES ? -EPERM : -errno;
    if (fstat(fd, &info) != 0)
        error = -errno;
    else if (!S_ISREG(info.st_mode) || info.st_uid != geteuid() || (info.st_mode & 07777) != 0600)
        error = -EPERM;
    else if (info.st_size != (off_t)sizeof(struct ledger_shared))
        error = -EPROTO;
    else
        error = map_file(out, fd);
    close(fd);
    if (error == 0 && !header_is_ours(&(*out)->shared->header)) {
        ledger_close(*out);
        *out = NULL;
        error = -EPROTO;
    }
    return error;
}

void ledger_close(struct ledger *ledger)
{
    if (ledger == NULL)
        return;
    /* A forked child closes its copy without giving up its parent's place. */
    if (ledger->creator && ledger->creator_pid == getpid()) {
        struct ledger_shared *shared = ledger->shared;

        if (LOAD(shared->header.supervisor_pid) == ledger->creator_pid) {
            STORE(shared->participants[ROLE_SUPERVISOR].pid, 0);
            STORE(shared->header.supervisor_pid, 0);
        }
    }
    munmap(ledger->shared, sizeof(struct ledger_shared));
    free(ledger);
}

/* take_supervision: under the lock, puts this process into the supervisor's place. */
static int take_supervision(struct ledger *ledger)
{
    struct ledger_shared *shared = ledger->shared;
    struct ledger_participant *line = &shared->participants[ROLE_SUPERVISOR];
    int64_t before = LOAD(shared->header.supervisor_pid);

    if (before != 0 && before != getpid() && line->pid == before &&
        process_is(before, line->start_time))
        return -EEXIST;
    STORE(line->start_time, process_start_time(getpid()));
    STORE(line->pid, (int64_t)getpid());
    line->role = ROLE_SUPERVISOR;
    STORE(shared->header.supervisor_pid, (int64_t)getpid());
    ledger->creator = 1;
    ledger->creator_pid = getpid();
    return 0;
}

/* fill_new: everything but the magic, in a file that nobody else can see yet. */
static int fill_new(struct ledger *ledger, const int64_t limit_micros[2],
                    const int64_t headroom_micros[2])
{
    struct ledger_header *header = &ledger->shared->header;
    int error = boot_id(header->boot_id);

    if (error == 0)
        error = ledger_lock_init(ledger->shared);
    if (error != 0)
        return error;
    header->version = PROTOCOL_VERSION;
    header->size = sizeof(struct ledger_shared);
    header->layout_hash = protocol_layout_hash();
    for (int d = 0; d < 2; d++) {
        header->limit_micros[d] = limit_micros[d];
        header->headroom_micros[d] = headroom_micros[d];
        header->ceiling_micros[d] = limit_micros[d];
    }
    for (uint32_t i = 0; i < PROTOCOL_PARTICIPANTS; i++)
        ledger->shared->participants[i].role = i;
    STORE(header->control, control_make(1, HALT_NONE, LEDGER_INIT));
    error = take_supervision(ledger);
    STORE(header->magic, (uint64_t)PROTOCOL_LEDGER_MAGIC);
    return error;
}

/* create_new: makes the ledger under a private name and links it into place whole, so that no
 * other process ever sees a half-made one. -EEXIST when somebody else was first. */
static int create_new(struct ledger **out, const char *path, const int64_t limit_micros[2],
                      const int64_t headroom_micros[2])
{
    char temporary[PATH_MAX];
    int fd;
    int error;

    if (snprintf(temporary, sizeof temporary, "%s.new.%d", path, (int)getpid()) >=
        (int)sizeof temporary)
        return -ENAMETOOLONG;
    (void)unlink(temporary);
    fd = open(temporary, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    error = fchmod(fd, 0600) != 0 ? -errno : -posix_fallocate(fd, 0, sizeof(struct ledger_shared));
    if (error == 0)
        error = map_file(out, fd);
    close(fd);
    if (error == 0) {
        error = fill_new(*out, limit_micros, headroom_micros);
        if (error == 0 && link(temporary, path) != 0)
            error = -errno;
        if (error != 0) {
            ledger_close(*out);
            *out = NULL;
        }
    }
    (void)unlink(temporary);
    return error;
}

/* adopt: takes over an intact ledger with every charge in it; its state falls back to INIT, which
 * denies, unless it is HALTED. -EPROTO: not intact. */
static int adopt(struct ledger **out, const char *path)
{
    int error = ledger_open(out, path);
    struct ledger_shared *shared;
    uint64_t control;

    if (error != 0)
        return error;
    shared = (*out)->shared;
    error = ledger_lock_wait(shared);
    if (error == 0) {
        error = amounts_are_sane(shared) ? take_supervision(*out) : -EPROTO;
        /* Whoever still maps a damaged ledger must not trade on it beside its successor. */
        if (error == -EPROTO)
            (void)ledger_halt(*out, HALT_BUG);
        ledger_unlock(shared);
    }
    if (error != 0) {
        ledger_close(*out);
        *out = NULL;
        return error;
    }
    STORE(shared->header.lease_deadline_ns, 0);
    control = LOAD(shared->header.control);
    while (control_state(control) != LEDGER_HALTED &&
           !__atomic_compare_exchange_n(
               &shared->header.control, &control,
               control_make(control_epoch(control) + 1, HALT_NONE, LEDGER_INIT), 0,
               __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
        ;
    return 0;
}

static int move_away(const char *path)
{
    char old[PATH_MAX];

    if (snprintf(old, sizeof old, "%s.old", path) >= (int)sizeof old)
        return -ENAMETOOLONG;
    return rename(path, old) != 0 ? -errno : 0;
}

/* lock_folder: one creator at a time, so that none moves away what another has just made. The lock
 * ends with the descriptor. */
static int lock_folder(const char *path)
{
    const struct timespec pause = {.tv_sec = 0, .tv_nsec = 1000000};
    char copy[PATH_MAX];
    int fd;

    if (snprintf(copy, sizeof copy, "%s", path) >= (int)sizeof copy)
        return -ENAMETOOLONG;
    fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    for (int round = 0; round < FOLDER_TRIES; round++) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0)
            return fd;
        nanosleep(&pause, NULL);
    }
    close(fd);
    return -EBUSY;
}

/* create_or_adopt: with the folder locked. */
static int create_or_adopt(struct ledger **out, int *adopted, const char *path,
                           const int64_t limit_micros[2], const int64_t headroom_micros[2])
{
    int error = adopt(out, path);

    if (error == 0) {
        *adopted = 1;
        return ledger_set_limit(*out, limit_micros, headroom_micros);
    }
    if (error == -EPROTO)
        error = move_away(path);
    if (error != 0 && error != -ENOENT)
        return error;
    return create_new(out, path, limit_micros, headroom_micros);
}

int ledger_create(struct ledger **out, int *adopted, const char *path,
                  const int64_t limit_micros[2], const int64_t headroom_micros[2], int64_t now_ns)
{
    int folder;
    int error;

    *out = NULL;
    *adopted = 0;
    for (int d = 0; d < 2; d++)
        if (limit_micros[d] < 0 || limit_micros[d] > LEDGER_AMOUNT_MAX || headroom_micros[d] < 0 ||
            headroom_micros[d] > limit_micros[d])
            return -EINVAL;
    folder = lock_folder(path);
    if (folder < 0)
        return folder;
    error = create_or_adopt(out, adopted, path, limit_micros, headroom_micros);
    close(folder);
    if (error == 0) {
        STORE((*out)->shared->header.supervisor_heartbeat_ns, now_ns);
    } else if (*out != NULL) {
        ledger_close(*out);
        *out = NULL;
    }
    return error;
}
