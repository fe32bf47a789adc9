#include "arena.h"

#include <string.h>
#include <sys/mman.h>

#include "../../../bridge/allocate.h"
#include "check.h"
#include "status.h"

#define ARENA_ALIGNMENT ALIGNMENT_MOST

int arena_init(struct arena *arena, size_t size_bytes)
{
    void *base = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED)
        return status_set(STATUS_LIMIT,
                          "cannot reserve %zu bytes of memory; free some and start again",
                          size_bytes);
    *arena = (struct arena){.base = base, .size_bytes = size_bytes};
    return STATUS_OK;
}

void *arena_allocate(struct arena *arena, size_t size_bytes)
{
    CHECK(!arena->sealed);
    size_t start = (arena->used_bytes + ARENA_ALIGNMENT - 1) & ~(size_t)(ARENA_ALIGNMENT - 1);
    CHECK(start <= arena->size_bytes && size_bytes <= arena->size_bytes - start);
    arena->used_bytes = start + size_bytes;
    return arena->base + start;
}

void arena_seal(struct arena *arena)
{
    arena->sealed = true;
}

void arena_fini(struct arena *arena)
{
    if (arena->base != NULL)
        munmap(arena->base, arena->size_bytes);
    *arena = (struct arena){0};
}
