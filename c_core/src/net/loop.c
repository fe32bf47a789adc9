#include "loop.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "../base/check.h"
#include "../base/clock.h"
#include "../base/status.h"

/* An id is generation << 8 | place, so that an old id is recognised when its place is used again.
 */
#define PLACE_BITS      8
#define GENERATION_MASK 0x7fffffffu

_Static_assert(LOOP_SOURCES <= 1 << PLACE_BITS && LOOP_TIMERS <= 1 << PLACE_BITS, "an id's place");

static int64_t make_id(uint32_t generation, size_t place)
{
    return (int64_t)(((uint64_t)(generation & GENERATION_MASK) << PLACE_BITS) | place);
}

int loop_init(struct loop *loop)
{
    memset(loop, 0, sizeof *loop);
    loop->next_timer_ns = INT64_MAX;
    for (size_t i = 0; i < LOOP_SOURCES; i++)
        loop->sources[i].fd = -1;
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (loop->epoll_fd < 0)
        return status_set(STATUS_IO, "epoll_create1 failed (%s); raise the descriptor limit",
                          strerror(errno));
    return STATUS_OK;
}

void loop_fini(struct loop *loop)
{
    if (loop->epoll_fd >= 0)
        close(loop->epoll_fd);
    loop->epoll_fd = -1;
}

static struct loop_source *source_of(struct loop *loop, int64_t id)
{
    if (id < 0)
        return NULL;
    size_t place = (size_t)id & ((1u << PLACE_BITS) - 1);
    if (place >= LOOP_SOURCES)
        return NULL;
    struct loop_source *source = &loop->sources[place];
    bool current = source->fd >= 0 && make_id(source->generation, place) == id;
    return current ? source : NULL;
}

int64_t loop_watch(struct loop *loop, int fd, uint32_t events,
                   void (*on_ready)(void *context, uint32_t events, int64_t now_ns), void *context)
{
    for (size_t place = 0; place < LOOP_SOURCES; place++) {
        struct loop_source *source = &loop->sources[place];
        if (source->fd >= 0)
            continue;
        int64_t id = make_id(source->generation + 1, place);
        struct epoll_event event = {.events = events, .data.u64 = (uint64_t)id};
        if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
            return status_set(STATUS_IO, "epoll cannot watch descriptor %d (%s)", fd,
                              strerror(errno));
        *source = (struct loop_source){.fd = fd,
                                       .generation = source->generation + 1,
                                       .events = events,
                                       .on_ready = on_ready,
                                       .context = context};
        return id;
    }
    return status_set(STATUS_LIMIT, "the loop watches at most %d descriptors", LOOP_SOURCES);
}

int loop_change(struct loop *loop, int64_t id, uint32_t events)
{
    struct loop_source *source = source_of(loop, id);
    CHECK(source != NULL);
    if (source->events == events)
        return STATUS_OK;
    struct epoll_event event = {.events = events, .data.u64 = (uint64_t)id};
    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_MOD, source->fd, &event) != 0)
        return status_set(STATUS_IO, "epoll cannot change descriptor %d (%s)", source->fd,
                          strerror(errno));
    source->events = events;
    return STATUS_OK;
}

void loop_unwatch(struct loop *loop, int64_t id)
{
    struct loop_source *source = source_of(loop, id);
    if (source == NULL)
        return;
    /* A failure means that the owner closed it already, which removed it. */
    (void)epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, source->fd, NULL);
    source->fd = -1;
}

int64_t loop_timer_start(struct loop *loop, int64_t at_ns,
                         void (*on_time)(void *context, int64_t now_ns), void *context)
{
    for (size_t place = 0; place < LOOP_TIMERS; place++) {
        struct loop_timer *timer = &loop->timers[place];
        if (timer->active)
            continue;
        *timer = (struct loop_timer){.active = true,
                                     .generation = timer->generation + 1,
                                     .at_ns = at_ns,
                                     .on_time = on_time,
                                     .context = context};
        if (at_ns < loop->next_timer_ns)
            loop->next_timer_ns = at_ns;
        return make_id(timer->generation, place);
    }
    return status_set(STATUS_LIMIT, "the loop has at most %d timers", LOOP_TIMERS);
}

void loop_timer_stop(struct loop *loop, int64_t id)
{
    if (id < 0)
        return;
    size_t place = (size_t)id & ((1u << PLACE_BITS) - 1);
    if (place < LOOP_TIMERS && make_id(loop->timers[place].generation, place) == id)
        loop->timers[place].active = false;
}

static void find_next_timer(struct loop *loop)
{
    loop->next_timer_ns = INT64_MAX;
    for (size_t i = 0; i < LOOP_TIMERS; i++) {
        if (loop->timers[i].active && loop->timers[i].at_ns < loop->next_timer_ns)
            loop->next_timer_ns = loop->timers[i].at_ns;
    }
}

/* Each timer that is due runs at most once a turn, so one that restarts itself cannot hold the
 * loop. */
static int run_timers(struct loop *loop, int64_t now_ns)
{
    if (now_ns < loop->next_timer_ns)
        return 0;
    uint32_t due[LOOP_TIMERS];
    for (size_t i = 0; i < LOOP_TIMERS; i++) {
        struct loop_timer *timer = &loop->timers[i];
        due[i] = timer->active && timer->at_ns <= now_ns ? timer->generation : 0;
    }
    int ran = 0;
    for (size_t i = 0; i < LOOP_TIMERS; i++) {
        struct loop_timer *timer = &loop->timers[i];
        if (due[i] == 0 || !timer->active || timer->generation != due[i])
            continue;
        timer->active = false;
        timer->on_time(timer->context, now_ns);
        ran++;
    }
    find_next_timer(loop);
    return ran;
}

/* Nanoseconds to wait, -1: no limit. */
static int64_t wait_ns(const struct loop *loop, int64_t timeout_ns)
{
    if (timeout_ns == 0 || loop->next_timer_ns == INT64_MAX)
        return timeout_ns;
    int64_t until = loop->next_timer_ns - clock_now_ns();
    if (until < 0)
        until = 0;
    return timeout_ns < 0 || until < timeout_ns ? until : timeout_ns;
}

/* Nanosecond waits where the kernel has them (Linux 5.11, and no container filter against it), else
 * milliseconds, rounded up so that a timer is never too early. */
static int wait_events(const struct loop *loop, struct epoll_event *events, int64_t wait)
{
    static bool coarse;
    if (!coarse) {
        struct timespec limit = {.tv_sec = wait / CLOCK_NS_PER_S, .tv_nsec = wait % CLOCK_NS_PER_S};
        int count =
            epoll_pwait2(loop->epoll_fd, events, LOOP_SOURCES, wait < 0 ? NULL : &limit, NULL);
        if (count >= 0 || (errno != ENOSYS && errno != EPERM))
            return count;
        coarse = true;
    }
    int64_t wait_ms = wait < 0 ? -1 : (wait + CLOCK_NS_PER_MS - 1) / CLOCK_NS_PER_MS;
    return epoll_wait(loop->epoll_fd, events, LOOP_SOURCES,
                      wait_ms > INT32_MAX ? INT32_MAX : (int)wait_ms);
}

int loop_run_once(struct loop *loop, int64_t timeout_ns)
{
    struct epoll_event events[LOOP_SOURCES];
    int count = wait_events(loop, events, wait_ns(loop, timeout_ns));
    if (count < 0 && errno != EINTR)
        return status_set(STATUS_IO, "waiting for events failed (%s)", strerror(errno));
    int64_t now_ns = clock_now_ns();
    int ran = 0;
    for (int i = 0; i < count; i++) {
        struct loop_source *source = source_of(loop, (int64_t)events[i].data.u64);
        if (source == NULL)
            continue; /* an earlier handler of this turn forgot it */
        source->on_ready(source->context, events[i].events, now_ns);
        ran++;
    }
    return ran + run_timers(loop, now_ns);
}
