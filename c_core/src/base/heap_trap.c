#include "heap_trap.h"

#ifndef PURSER_HEAP_TRAP

int heap_trap_built(void)
{
    return 0;
}

int64_t heap_trap_calls(void)
{
    return 0;
}

int64_t heap_trap_sections(void)
{
    return 0;
}

#else

#include <execinfo.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* glibc's own entry points, below the names that this file takes over. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);
void *__libc_memalign(size_t alignment, size_t size);
void __libc_free(void *old);

static __thread int depth_armed __attribute__((tls_model("initial-exec")));
static _Atomic int64_t calls, sections;

int heap_trap_built(void)
{
    return 1;
}

int64_t heap_trap_calls(void)
{
    return atomic_load_explicit(&calls, memory_order_relaxed);
}

int64_t heap_trap_sections(void)
{
    return atomic_load_explicit(&sections, memory_order_relaxed);
}

void heap_trap_arm(void)
{
    depth_armed++;
}

void heap_trap_disarm(void)
{
    if (--depth_armed == 0)
        atomic_fetch_add_explicit(&sections, 1, memory_order_relaxed);
}

int heap_trap_pause(void)
{
    int depth = depth_armed;
    depth_armed = 0;
    return depth;
}

void heap_trap_resume(int depth)
{
    depth_armed = depth;
}

/* trapped: counts; the first few print their call stack, for whoever has to find the caller. */
static void trapped(void)
{
    int depth = heap_trap_pause();
    int64_t count = atomic_fetch_add_explicit(&calls, 1, memory_order_relaxed);
    const char *mode = getenv("PURSER_HEAP_TRAP");
    if (mode != NULL &&
        (strcmp(mode, "abort") == 0 || (strcmp(mode, "print") == 0 && count < 20))) {
        static const char text[] = "heap call on the path from tick to order:\n";
        void *frames[32];
        ssize_t written = write(STDERR_FILENO, text, sizeof text - 1);
        (void)written;
        backtrace_symbols_fd(frames, backtrace(frames, 32), STDERR_FILENO);
        if (strcmp(mode, "abort") == 0)
            abort();
    }
    heap_trap_resume(depth);
}

void *malloc(size_t size)
{
    if (depth_armed > 0)
        trapped();
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    if (depth_armed > 0)
        trapped();
    return __libc_calloc(count, size);
}

void *realloc(void *old, size_t size)
{
    if (depth_armed > 0)
        trapped();
    return __libc_realloc(old, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    if (depth_armed > 0)
        trapped();
    return __libc_memalign(alignment, size);
}

void free(void *old)
{
    if (depth_armed > 0 && old != NULL)
        trapped();
    __libc_free(old);
}

#endif
