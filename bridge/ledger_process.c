#include "ledger_private.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* read_small_file: the first bytes of a file of /proc as a string; -1 when it cannot be read. */
int read_small_file(const char *path, char *text, size_t size)
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
    if (read_small_file(path, text, sizeof text) != 0)
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

int ledger_somebody_lives(const struct ledger_shared *shared, int first, int last)
{
    for (int i = first; i <= last; i++) {
        int64_t pid = LOAD(shared->participants[i].pid);

        if (pid != getpid() && process_is(pid, LOAD(shared->participants[i].start_time)))
            return 1;
    }
    return 0;
}
