/*
 * clock.h: the three clocks, in nanoseconds. Everything that is compared between processes or kept
 * across a suspend uses CLOCK_BOOTTIME (clock_now_ns), because a laptop's or VM's sleep must age
 * data and leases; venues are told CLOCK_REALTIME (clock_wall_ns); intervals inside one process may
 * use CLOCK_MONOTONIC. The core's decisions never read a clock: time is passed in. The first two
 * carry the shift of bridge/wall_clock.h, which is zero unless a test sets it.
 */
#ifndef PURSER_BASE_CLOCK_H
#define PURSER_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

#include "../../../bridge/wall_clock.h"

#define CLOCK_NS_PER_MS 1000000LL
#define CLOCK_NS_PER_S  1000000000LL

static inline int64_t clock_read_ns(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * CLOCK_NS_PER_S + t.tv_nsec;
}

/* clock_now_ns: nanoseconds since boot, sleep included: the clock of every *_ns field. */
static inline int64_t clock_now_ns(void)
{
    return clock_read_ns(CLOCK_BOOTTIME) + clock_shift_boot_ns();
}

/* clock_wall_ns: nanoseconds since the Unix epoch; may jump. */
static inline int64_t clock_wall_ns(void)
{
    return clock_read_ns(CLOCK_REALTIME) + clock_shift_wall_ns();
}

/* clock_mono_ns: never jumps, stops in a suspend. */
static inline int64_t clock_mono_ns(void)
{
    return clock_read_ns(CLOCK_MONOTONIC);
}

#endif
