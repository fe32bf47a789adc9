#include "allocate.h"
#include "channel.h"
#include "ledger_private.h"

#include <errno.h>
#include <fcntl.h>
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

/* map_memory: the file where it is long enough; else anonymous memory, the file over its beginning,
 * so that nobody who reads the rest of a cut file is killed for it. */
static void *map_memory(int fd, off_t size)
{
    const int protection = PROT_READ | PROT_WRITE;
    const size_t whole = sizeof(struct ledger_shared);
    void *memory;

    if (size >= (off_t)whole)
        return mmap(NULL, whole, protection, MAP_SHARED | MAP_POPULATE, fd, 0);
    memory = mmap(NULL, whole, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory != MAP_FAILED && mmap(memory, (size_t)size, protection,
                                     MAP_SHARED | MAP_FIXED | MAP_POPULATE, fd, 0) == MAP_FAILED) {
        munmap(memory, whole);
        return MAP_FAILED;
    }
    return memory;
}

int ledger_map(struct ledger **out, int fd, off_t size, uint64_t inode)
{
    struct ledger *ledger = ALLOCATE(struct ledger);
    void *memory;

    if (ledger == NULL)
        return -ENOMEM;
    memory = map_memory(fd, size);
    if (memory == MAP_FAILED) {
        int error = errno;

        free(ledger);
        return -error;
    }
    (void)mlock(memory, sizeof(struct ledger_shared));
    ledger->shared = memory;
    ledger->inode = inode;
    ledger->capacity = (size_t)size;
    ledger->participant = PROTOCOL_PARTICIPANTS;
    *out = ledger;
    return 0;
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
        error = ledger_map(out, fd, info.st_size, info.st_ino);
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
                    const int64_t headroom_micros[2], const struct ledger_shared *damaged)
{
    struct ledger_header *header = &ledger->shared->header;
    int error = ledger_boot_id(header->boot_id);

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
    header->rights_checksum = rights_checksum(ledger->shared);
    if (damaged != NULL)
        rescue_carry(ledger->shared, damaged);
    error = take_supervision(ledger);
    STORE(header->magic, (uint64_t)PROTOCOL_LEDGER_MAGIC);
    return error;
}

/* temporary_new: an open file under a private name, and that name. */
static int temporary_new(const char *path, char name[PATH_MAX], int *fd)
{
    if (snprintf(name, PATH_MAX, "%s.new.%d", path, (int)getpid()) >= PATH_MAX)
        return -ENAMETOOLONG;
    (void)unlink(name);
    *fd = open(name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    return *fd < 0 ? -errno : 0;
}

/* into_place: a damaged file is kept under another name, and replaced in one step; where there is
 * none, -EEXIST when somebody else was first. */
static int into_place(const char *temporary, const char *path, int replace)
{
    int error = 0;

    if (!replace)
        return link(temporary, path) != 0 ? -errno : 0;
    error = rescue_keep(path);
    if (error == 0 && rename(temporary, path) != 0)
        error = -errno;
    return error;
}

/* create_new: makes the ledger under a private name and puts it into place whole, so that no other
 * process ever sees a half-made one. damaged: what it replaces, or NULL. */
static int create_new(struct ledger **out, const char *path, const int64_t limit_micros[2],
                      const int64_t headroom_micros[2], const struct ledger_shared *damaged)
{
    char temporary[PATH_MAX];
    struct stat info;
    int fd;
    int error = temporary_new(path, temporary, &fd);

    if (error != 0)
        return error;
    error = fchmod(fd, 0600) != 0 || fstat(fd, &info) != 0
                ? -errno
                : -posix_fallocate(fd, 0, sizeof(struct ledger_shared));
    if (error == 0)
        error = ledger_map(out, fd, sizeof(struct ledger_shared), info.st_ino);
    close(fd);
    if (error == 0) {
        error = fill_new(*out, limit_micros, headroom_micros, damaged);
        if (error == 0)
            error = into_place(temporary, path, damaged != NULL);
        if (error != 0) {
            ledger_close(*out);
            *out = NULL;
        }
    }
    (void)unlink(temporary);
    return error;
}

/* lock_to_adopt: -EPROTO when the lock cannot come free, because nobody lives who could hold it. */
static int lock_to_adopt(struct ledger *ledger)
{
    int error = ledger_lock(ledger, 1);

    if (error == -EBADMSG ||
        (error == -EBUSY && !ledger_somebody_lives(ledger->shared, 0, PROTOCOL_PARTICIPANTS - 1)))
        return -EPROTO;
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
    error = lock_to_adopt(*out);
    if (error == 0) {
        error = rights_are_whole(shared) ? take_supervision(*out) : -EPROTO;
        ledger_unlock(shared);
    }
    if (error != 0) {
        ledger_close(*out);
        *out = NULL;
        return error;
    }
    STORE(shared->header.lease_deadline_ns, 0);
    control = LOAD(shared->header.control);
    if (control_word_state(control) > LEDGER_HALTED)
        (void)ledger_halt(*out, HALT_LEDGER);
    while (control_state(control) != LEDGER_HALTED &&
           !__atomic_compare_exchange_n(
               &shared->header.control, &control,
               control_make(control_next_epoch(control), HALT_NONE, LEDGER_INIT), 0,
               __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
        ;
    return 0;
}

/* rescue: a new ledger, HALTED, with every order that can be read from the damaged one. Whoever
 * still maps that one must not trade on it beside its successor, so it is halted too. */
static int rescue(struct ledger **out, const char *path, const int64_t limit_micros[2],
                  const int64_t headroom_micros[2])
{
    static struct ledger_shared nothing; /* never written */
    struct ledger *damaged;
    int error = ledger_open_damaged(&damaged, path);

    if (error == -EPROTO) /* too short to hold anything */
        return create_new(out, path, limit_micros, headroom_micros, &nothing);
    if (error != 0)
        return error;
    if (ledger_somebody_lives(damaged->shared, ROLE_SUPERVISOR, ROLE_SUPERVISOR)) {
        error = -EEXIST;
    } else {
        (void)ledger_halt(damaged, HALT_LEDGER);
        error = create_new(out, path, limit_micros, headroom_micros, damaged->shared);
    }
    ledger_close(damaged);
    return error;
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

/* replace: what cannot be adopted. Only a whole ledger of another boot or layout is moved aside;
 * its orders, should there be any on their way, halt the new one. */
static int replace(struct ledger **out, int *origin, const char *path,
                   const int64_t limit_micros[2], const int64_t headroom_micros[2])
{
    enum ledger_remains remains = ledger_remains_of(path);
    int error;

    if (remains == REMAINS_DAMAGED) {
        *origin = LEDGER_RESCUED;
        return rescue(out, path, limit_micros, headroom_micros);
    }
    error = move_away(path);
    if (error == 0)
        error = create_new(out, path, limit_micros, headroom_micros, NULL);
    if (error == 0 && remains == REMAINS_OLD_ORDERS) {
        *origin = LEDGER_SUPERSEDED;
        (void)ledger_halt(*out, HALT_LEDGER);
    }
    return error;
}

/* create_or_adopt: with the folder locked. */
static int create_or_adopt(struct ledger **out, int *origin, const char *path,
                           const int64_t limit_micros[2], const int64_t headroom_micros[2])
{
    int error = adopt(out, path);

    if (error == 0) {
        *origin = LEDGER_ADOPTED;
        return ledger_set_limit(*out, limit_micros, headroom_micros);
    }
    if (error == -EPROTO)
        return replace(out, origin, path, limit_micros, headroom_micros);
    if (error != -ENOENT)
        return error;
    return create_new(out, path, limit_micros, headroom_micros, NULL);
}

int ledger_create(struct ledger **out, int *origin, const char *path, const int64_t limit_micros[2],
                  const int64_t headroom_micros[2], int64_t now_ns)
{
    int folder;
    int error;

    *out = NULL;
    *origin = LEDGER_NEW;
    for (int d = 0; d < 2; d++)
        if (limit_micros[d] < 0 || limit_micros[d] > LEDGER_AMOUNT_MAX || headroom_micros[d] < 0 ||
            headroom_micros[d] > limit_micros[d])
            return -EINVAL;
    folder = lock_folder(path);
    if (folder < 0)
        return folder;
    error = create_or_adopt(out, origin, path, limit_micros, headroom_micros);
    close(folder);
    if (error == 0) {
        STORE((*out)->shared->header.supervisor_heartbeat_ns, now_ns);
    } else if (*out != NULL) {
        ledger_close(*out);
        *out = NULL;
    }
    return error;
}
