/*
 * loop.h: one thread, one epoll, a fixed table of descriptors and a fixed table of timers. The
 * engine calls loop_run_once in its duty cycle; handlers run inside it and may freely watch,
 * unwatch, start and stop, their own entry included. Nothing here allocates after loop_init.
 */
#ifndef PURSER_NET_LOOP_H
#define PURSER_NET_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

#define LOOP_SOURCES 64
#define LOOP_TIMERS  64

/* Handlers get the time that was read once after the wait (CLOCK_BOOTTIME). `events` are EPOLL*. */
struct loop_source {
    int fd; /* -1: free */
    uint32_t generation;
    uint32_t events;
    void (*on_ready)(void *context, uint32_t events, int64_t now_ns);
    void *context;
};

struct loop_timer {
    bool active;
    uint32_t generation;
    int64_t at_ns;
    void (*on_time)(void *context, int64_t now_ns);
    void *context;
};

struct loop {
    int epoll_fd;
    struct loop_source sources[LOOP_SOURCES];
    struct loop_timer timers[LOOP_TIMERS];
    int64_t next_timer_ns; /* INT64_MAX: none */
};

/* loop_init: in place. STATUS_OK or STATUS_IO. loop_fini closes the epoll descriptor only; the
 * watched descriptors belong to their owners. */
int loop_init(struct loop *loop);
void loop_fini(struct loop *loop);

/* loop_watch: an id >= 0, or STATUS_LIMIT when the table is full, STATUS_IO when epoll refuses. */
int64_t loop_watch(struct loop *loop, int fd, uint32_t events,
                   void (*on_ready)(void *context, uint32_t events, int64_t now_ns), void *context);
/* loop_change: other events for a watched id. loop_unwatch: forgets it, before the owner closes the
 * descriptor; an id that was already forgotten, or -1, is ignored, and events of it that were
 * already fetched are dropped. */
int loop_change(struct loop *loop, int64_t id, uint32_t events);
void loop_unwatch(struct loop *loop, int64_t id);

/* loop_timer_start: calls on_time once, at or after at_ns. An id >= 0, or STATUS_LIMIT. A handler
 * that wants to repeat starts it again. loop_timer_stop: an id that fired, was stopped, or is -1 is
 * ignored. */
int64_t loop_timer_start(struct loop *loop, int64_t at_ns,
                         void (*on_time)(void *context, int64_t now_ns), void *context);
void loop_timer_stop(struct loop *loop, int64_t id);

/* loop_run_once: waits until something is ready, a timer is due or timeout_ns passed (0: does not
 * wait; negative: no limit), runs the handlers, and returns how many ran, or STATUS_IO. */
int loop_run_once(struct loop *loop, int64_t timeout_ns);

#endif
