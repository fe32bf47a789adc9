/*
 * wall_clock.h: whether the wall clock can be believed, and the shift that a test may give to it.
 *
 * Three clocks tell three things. CLOCK_REALTIME (the wall) names the day and stamps requests; a
 * person or a time server may set it. CLOCK_BOOTTIME runs evenly through a suspend, CLOCK_MONOTONIC
 * stands still in one. So a wall that moves against BOOTTIME was set, and a BOOTTIME that moves
 * against MONOTONIC says that the machine slept.
 *
 * A test shifts the clocks of all processes at once: PURSER_TEST_CLOCK names a file of four int64
 * (struct clock_shift) that each process maps and adds. It is obeyed on paper only.
 */
#ifndef PURSER_BRIDGE_WALL_CLOCK_H
#define PURSER_BRIDGE_WALL_CLOCK_H

#ifndef PURSER_CDEF
#include <stdint.h>
#endif

/* What moved: by more than this it is an event, and by more than that the wall is doubted. */
#define WALL_JUMP_NS  250000000
#define WALL_DOUBT_NS 5000000000
/* A sleep of the machine that is longer than this makes everything stale. */
#define WALL_SLEPT_NS 1000000000

struct clock_shift {
    int64_t wall_ns;       /* added to CLOCK_REALTIME by our processes */
    int64_t boot_ns;       /* added to CLOCK_BOOTTIME by our processes: a suspend */
    int64_t venue_wall_ns; /* added to CLOCK_REALTIME by the simulated venues */
    int64_t reserved0;
};

/* One watcher's memory. Zeroed, it begins with the first look. */
struct wall_watch {
    int64_t anchor_ns; /* wall minus BOOTTIME, as it was; follows a slew, which is no jump */
    int64_t awake_ns;  /* BOOTTIME minus MONOTONIC */
    int64_t looked_ns; /* BOOTTIME of the last look */
    int64_t moved_ns;  /* sum of all jumps since the wall was last confirmed */
    int64_t doubt_ns;  /* the doubt that this watcher put into a ledger; 0: none */
};

/* What one look found: 0 where nothing happened. */
struct wall_look {
    int64_t jumped_ns; /* the wall was set: positive is forward */
    int64_t slept_ns;  /* the machine stood still for so long */
};

/* wall_watch_look: the three clocks are passed in. Slow corrections (at most 500 ppm, the most that
 * the kernel slews) move the anchor; whatever is faster adds up until it is a jump. */
void wall_watch_look(struct wall_watch *watch, struct wall_look *out, int64_t wall_ns,
                     int64_t boot_ns, int64_t monotonic_ns);

/* wall_watch_doubted: all jumps together are more than may pass unconfirmed. */
int wall_watch_doubted(const struct wall_watch *watch);

/* wall_watch_confirm: somebody who knows the time has confirmed the wall. */
void wall_watch_confirm(struct wall_watch *watch);

/* wall_clock_ns, steady_clock_ns: CLOCK_REALTIME with the shift, and CLOCK_MONOTONIC. */
int64_t wall_clock_ns(void);
int64_t steady_clock_ns(void);

/* clock_shift_follow: maps the file of a test's shift for the life of the process; 0 or -errno. */
int clock_shift_follow(const char *path);

#ifndef PURSER_CDEF
/* Never NULL: without a test, a shift of nothing. One load, so that the hot path may read it. */
extern const struct clock_shift *clock_shift;

static inline int64_t clock_shift_wall_ns(void)
{
    return __atomic_load_n(&clock_shift->wall_ns, __ATOMIC_RELAXED);
}

static inline int64_t clock_shift_boot_ns(void)
{
    return __atomic_load_n(&clock_shift->boot_ns, __ATOMIC_RELAXED);
}
#endif

#endif
