/* The heap trap counts what it must: a call while armed, none while disarmed or paused. In a build
 * without the trap everything is empty and says so. */
#include "../../c_core/src/base/heap_trap.h"

#include <stdio.h>
#include <stdlib.h>

#define EXPECT(expression)                                                                         \
    do {                                                                                           \
        if (!(expression)) {                                                                       \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #expression);                       \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

static void *volatile keep; /* so that the compiler cannot leave the calls out */

static void use_heap(void)
{
    keep = malloc(32);
    free(keep);
    keep = aligned_alloc(64, 64);
    free(keep);
}

static int64_t counted(void (*work)(void))
{
    int64_t before = heap_trap_calls();

    heap_trap_arm();
    work();
    heap_trap_disarm();
    return heap_trap_calls() - before;
}

static void use_heap_paused(void)
{
    int depth = heap_trap_pause();

    use_heap();
    heap_trap_resume(depth);
}

static void use_nothing(void)
{
}

int main(void)
{
    int64_t expected = heap_trap_built() ? 4 : 0; /* each taken and given back */

    use_heap();
    EXPECT(heap_trap_calls() == 0);
    EXPECT(counted(use_nothing) == 0);
    EXPECT(counted(use_heap) == expected);
    EXPECT(counted(use_heap_paused) == 0);
    EXPECT(heap_trap_sections() == (heap_trap_built() ? 3 : 0));
    return 0;
}
