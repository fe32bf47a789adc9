/* Entries leave the ring in order and whole while two threads use it, and a full ring says so. */
#include "../../c_core/src/base/ring.h"
#include "../../c_core/src/base/status.h"

#include <pthread.h>
#include <sched.h>

#define COUNT 200000

struct entry {
    uint64_t number, copy[5];
};

static struct ring shared;

static void *consume(void *unused)
{
    (void)unused;
    struct entry entry;
    for (uint64_t expected = 0; expected < COUNT;) {
        if (!ring_pop(&shared, &entry)) {
            sched_yield();
            continue;
        }
        CHECK(entry.number == expected);
        for (int i = 0; i < 5; i++)
            CHECK(entry.copy[i] == expected);
        expected++;
    }
    return NULL;
}

int main(void)
{
    struct arena arena;
    CHECK(arena_init(&arena, 1 << 20) == STATUS_OK);
    ring_init(&shared, &arena, 4, sizeof(struct entry));
    struct entry entry = {0};
    CHECK(!ring_pop(&shared, &entry));
    for (uint64_t i = 0; i < 4; i++)
        CHECK(ring_push(&shared, &entry));
    CHECK(!ring_push(&shared, &entry) && shared.lost == 1);
    ring_init(&shared, &arena, 256, sizeof(struct entry));
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, consume, NULL) == 0);
    for (uint64_t n = 0; n < COUNT;) {
        entry = (struct entry){n, {n, n, n, n, n}};
        if (ring_push(&shared, &entry))
            n++;
        else
            sched_yield();
    }
    pthread_join(thread, NULL);
    arena_fini(&arena);
    return 0;
}
