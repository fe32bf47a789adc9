#include "instance.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "crc32c.h"

#define FORMAT        "purser-instance 1\nid %08x\nhome %016llx %016llx\nmachine %08x\n"
#define TEXT_MAX      256
#define LOCK_TRIES    200
#define LOCK_PAUSE_NS 10000000

/* What a home is told by; two copies differ in at least one of them. */
struct home_mark {
    unsigned long long inode, born;
    unsigned machine;
};

static unsigned machine_mark(void)
{
    char text[64] = "";
    int fd = open("/etc/machine-id", O_RDONLY | O_CLOEXEC);
    ssize_t size = fd < 0 ? -1 : read(fd, text, sizeof text);
    if (fd >= 0)
        close(fd);
    return size > 0 ? crc32c(text, (size_t)size) : 0;
}

/* A device's number may change with a reboot, so it serves only where there is nothing better. */
static int home_mark_take(struct home_mark *out, int folder)
{
    struct statx info;
    if (statx(folder, "", AT_EMPTY_PATH, STATX_INO | STATX_BTIME, &info) != 0)
        return -errno;
    out->inode = info.stx_ino;
    out->born =
        (info.stx_mask & STATX_BTIME) != 0
            ? (unsigned long long)info.stx_btime.tv_sec * 1000000000 + info.stx_btime.tv_nsec
            : (unsigned long long)info.stx_dev_major << 32 | info.stx_dev_minor;
    out->machine = machine_mark();
    return 0;
}

static int file_check(int fd)
{
    struct stat info;
    if (fstat(fd, &info) != 0)
        return -errno;
    if (!S_ISREG(info.st_mode))
        return -EISDIR;
    return info.st_uid == geteuid() && (info.st_mode & 022) == 0 ? 0 : -EPERM;
}

/* The last line is the CRC-32C of those before it. */
static size_t file_text(char out[TEXT_MAX], uint32_t id, const struct home_mark *home)
{
    int length = snprintf(out, TEXT_MAX, FORMAT, id, home->inode, home->born, home->machine);
    uint32_t sum = crc32c(out, (size_t)length);
    length += snprintf(out + length, TEXT_MAX - (size_t)length, "sum %08x\n", sum);
    return (size_t)length;
}

/* The id in the file and whose it is. -ENOENT: there is no file. */
static int file_read(uint32_t *id, uint32_t *fate, int folder, const struct home_mark *home)
{
    char text[TEXT_MAX + 1], expected[TEXT_MAX];
    struct home_mark written = {0};
    unsigned number = 0;
    int fd = openat(folder, INSTANCE_FILE, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return -errno;
    int status = file_check(fd);
    ssize_t size = status == 0 ? read(fd, text, TEXT_MAX) : 0;
    if (size < 0)
        status = -errno;
    close(fd);
    if (status != 0)
        return status;
    text[size] = '\0';
    *fate = INSTANCE_DAMAGED;
    if (sscanf(text, FORMAT, &number, &written.inode, &written.born, &written.machine) != 4)
        return 0;
    file_text(expected, number, &written);
    if (number == 0 || strcmp(text, expected) != 0)
        return 0;
    bool same = written.inode == home->inode && written.born == home->born &&
                written.machine == home->machine;
    *fate = same ? INSTANCE_KEPT : INSTANCE_COPIED;
    *id = number;
    return 0;
}

static int id_draw(uint32_t *id)
{
    do
        if (getrandom(id, sizeof *id, 0) != (ssize_t)sizeof *id)
            return errno != 0 ? -errno : -EIO;
    while (*id == 0);
    return 0;
}

static int file_fill(int fd, const char *text, size_t length)
{
    ssize_t written = write(fd, text, length);
    if (written < 0)
        return -errno;
    if ((size_t)written != length)
        return -ENOSPC;
    return fsync(fd) == 0 ? 0 : -errno;
}

/* Whole and on disk before it has its name. */
static int file_write(uint32_t id, int folder, const struct home_mark *home)
{
    char text[TEXT_MAX], name[64];
    size_t length = file_text(text, id, home);
    snprintf(name, sizeof name, INSTANCE_FILE ".%lld", (long long)getpid());
    unlinkat(folder, name, 0); /* of an earlier process with this number */
    int fd = openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    int status = file_fill(fd, text, length);
    close(fd);
    if (status == 0 && renameat(folder, name, folder, INSTANCE_FILE) != 0)
        status = -errno;
    if (status != 0) {
        unlinkat(folder, name, 0);
        return status;
    }
    return fsync(folder) == 0 ? 0 : -errno;
}

/* One process at a time looks and writes. A file system without such locks is used without. */
static int folder_lock(int folder)
{
    for (int tries = 0; tries < LOCK_TRIES; tries++) {
        if (flock(folder, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK)
            return 0;
        nanosleep(&(struct timespec){.tv_nsec = LOCK_PAUSE_NS}, NULL);
    }
    return -EBUSY;
}

static int locked_read(uint32_t *id, uint32_t *fate, int folder, const struct home_mark *home)
{
    int status = file_read(id, fate, folder, home);
    if (status == -ENOENT)
        *fate = INSTANCE_MADE;
    else if (status != 0 || *fate == INSTANCE_KEPT)
        return status;
    status = id_draw(id);
    return status == 0 ? file_write(*id, folder, home) : status;
}

int instance_read(uint32_t *id, uint32_t *fate, const char *home)
{
    struct home_mark mark;
    *id = 0;
    *fate = INSTANCE_KEPT;
    int folder = open(home, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0)
        return -errno;
    int status = home_mark_take(&mark, folder);
    if (status == 0)
        status = file_read(id, fate, folder, &mark);
    /* Only who must write takes the lock, so that a home that is only read needs none. */
    if (status == -ENOENT || (status == 0 && *fate != INSTANCE_KEPT)) {
        status = folder_lock(folder);
        if (status == 0)
            status = locked_read(id, fate, folder, &mark);
    }
    close(folder);
    if (status != 0)
        *id = 0;
    return status;
}
