/* Timers run in time and once, descriptors call back, and a handler may forget anything safely. */
#include "../../c_core/src/base/check.h"
#include "../../c_core/src/base/clock.h"
#include "../../c_core/src/base/status.h"
#include "../../c_core/src/net/loop.h"

#include <sys/socket.h>
#include <unistd.h>

static struct loop loop;
static int64_t pair_ids[2];
static int readies, fired;
static int64_t other_timer = -1;

/* Both ends are ready in the same turn; whichever runs first forgets the other. */
static void on_ready(void *context, uint32_t events, int64_t now_ns)
{
    CHECK((events & EPOLLIN) != 0 && now_ns > 0);
    loop_unwatch(&loop, pair_ids[context == &pair_ids[0] ? 1 : 0]);
    readies++;
}

static void on_time(void *context, int64_t now_ns)
{
    CHECK(now_ns >= *(int64_t *)context);
    loop_timer_stop(&loop, other_timer);
    fired++;
}

static void on_repeat(void *context, int64_t now_ns)
{
    (void)context;
    fired++;
    CHECK(loop_timer_start(&loop, now_ns, on_repeat, NULL) >= 0);
}

int main(void)
{
    CHECK(loop_init(&loop) == STATUS_OK);
    int fds[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) == 0);
    for (int i = 0; i < 2; i++) {
        pair_ids[i] = loop_watch(&loop, fds[i], EPOLLIN, on_ready, &pair_ids[i]);
        CHECK(pair_ids[i] >= 0 && write(fds[i], "x", 1) == 1);
    }
    CHECK(loop_run_once(&loop, -1) == 1 && readies == 1);
    loop_unwatch(&loop, pair_ids[0]);
    loop_unwatch(&loop, pair_ids[1]);
    loop_unwatch(&loop, -1);
    CHECK(loop_run_once(&loop, 0) == 0);
    int64_t id = loop_watch(&loop, fds[0], EPOLLIN, on_ready, &pair_ids[0]);
    CHECK(id >= 0 && id != pair_ids[0]);
    loop_unwatch(&loop, pair_ids[0]); /* an old id does not hit the new owner */
    CHECK(loop_change(&loop, id, EPOLLIN | EPOLLOUT) == STATUS_OK);
    loop_unwatch(&loop, id);

    int64_t now_ns = clock_now_ns(), at_ns = now_ns + 2 * CLOCK_NS_PER_MS;
    CHECK(loop_timer_start(&loop, at_ns, on_time, &at_ns) >= 0);
    other_timer = loop_timer_start(&loop, at_ns, on_time, &at_ns);
    CHECK(loop_run_once(&loop, -1) == 1 && fired == 1); /* the second was stopped by the first */
    CHECK(loop_run_once(&loop, 0) == 0 && fired == 1);
    CHECK(loop_timer_start(&loop, 0, on_repeat, NULL) >= 0);
    CHECK(loop_run_once(&loop, -1) == 1 && fired == 2); /* a repeating timer cannot hold the loop */
    while (loop_timer_start(&loop, INT64_MAX, on_time, &at_ns) >= 0)
        continue;
    CHECK(loop_timer_start(&loop, INT64_MAX, on_time, &at_ns) == STATUS_LIMIT);
    close(fds[0]);
    close(fds[1]);
    loop_fini(&loop);
    return 0;
}
