/* The arena hands out zeroed, aligned, separate memory until the seal; afterwards asking is a bug.
 */
#include "../../c_core/src/base/arena.h"
#include "../../c_core/src/base/check.h"
#include "../../c_core/src/base/status.h"

#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Runs an allocation in a child that must abort; its message is not wanted here. */
static void aborts(struct arena *arena, size_t size)
{
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        close(STDERR_FILENO);
        arena_allocate(arena, size);
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status));
}

int main(void)
{
    struct arena arena;
    CHECK(arena_init(&arena, 4096) == STATUS_OK);
    unsigned char *a = arena_allocate(&arena, 100), *b = arena_allocate(&arena, 100);
    CHECK((uintptr_t)a % 64 == 0 && (uintptr_t)b % 64 == 0 && b >= a + 100);
    for (int i = 0; i < 100; i++)
        CHECK(a[i] == 0);
    aborts(&arena, 4096);
    CHECK(arena_allocate(&arena, 0) != NULL);
    arena_seal(&arena);
    aborts(&arena, 1);
    arena_fini(&arena);
    CHECK(arena_init(&arena, SIZE_MAX / 2) == STATUS_LIMIT && strlen(status_text()) > 0);
    return 0;
}
