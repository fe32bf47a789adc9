#include "wall_clock.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SLEW_FRACTION 2000 /* 500 ppm */

static const struct clock_shift no_shift;
const struct clock_shift *clock_shift = &no_shift;

static int64_t read_clock(clockid_t id)
{
    struct timespec now;

    clock_gettime(id, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int64_t wall_clock_ns(void)
{
    return read_clock(CLOCK_REALTIME) + clock_shift_wall_ns();
}

int64_t steady_clock_ns(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

int clock_shift_follow(const char *path)
{
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    struct stat info;
    void *memory;

    if (fd < 0)
        return -errno;
    if (fstat(fd, &info) != 0 || info.st_size < (off_t)sizeof(struct clock_shift)) {
        close(fd);
        return -EINVAL;
    }
    memory = mmap(NULL, sizeof(struct clock_shift), PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (memory == MAP_FAILED)
        return -errno;
    clock_shift = memory;
    return 0;
}

static int64_t within(int64_t value, int64_t most)
{
    if (value > most)
        return most;
    return value < -most ? -most : value;
}

void wall_watch_look(struct wall_watch *watch, struct wall_look *out, int64_t wall_ns,
                     int64_t boot_ns, int64_t monotonic_ns)
{
    int64_t apart = wall_ns - boot_ns - watch->anchor_ns;
    int64_t slept = boot_ns - monotonic_ns - watch->awake_ns;
    int64_t elapsed = boot_ns - watch->looked_ns;

    out->jumped_ns = out->slept_ns = 0;
    if (watch->looked_ns == 0) {
        watch->anchor_ns += apart;
        watch->awake_ns += slept;
    } else {
        if (apart > WALL_JUMP_NS || apart < -WALL_JUMP_NS) {
            out->jumped_ns = apart;
            watch->moved_ns += apart;
            watch->anchor_ns += apart;
        } else if (elapsed > 0) {
            watch->anchor_ns += within(apart, elapsed / SLEW_FRACTION);
        }
        out->slept_ns = slept > WALL_SLEPT_NS ? slept : 0;
        watch->awake_ns += slept;
    }
    watch->looked_ns = boot_ns;
}

int wall_watch_doubted(const struct wall_watch *watch)
{
    return watch->moved_ns > WALL_DOUBT_NS || watch->moved_ns < -WALL_DOUBT_NS;
}

void wall_watch_confirm(struct wall_watch *watch)
{
    watch->moved_ns = 0;
}
