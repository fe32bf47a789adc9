/*
 * arena.h: all long-lived memory is taken from one mapping at start; then the arena is sealed and
 * stays as it is until exit. There is no free. Taking memory after the seal is a bug (CHECK), which
 * is how "no allocation after start" is kept true.
 */
#ifndef PURSER_BASE_ARENA_H
#define PURSER_BASE_ARENA_H

#include <stdbool.h>
#include <stddef.h>

struct arena {
    unsigned char *base;
    size_t size_bytes;
    size_t used_bytes;
    bool sealed;
};

/* arena_init: maps size_bytes of zeroed memory (pages cost nothing until touched). STATUS_OK, or
 * STATUS_LIMIT when the system refuses. */
int arena_init(struct arena *arena, size_t size_bytes);

/* arena_allocate: zeroed memory aligned to 64 bytes (a cache line, and the most that a
 * type of ours may want: ALIGNMENT_MOST of bridge/allocate.h), never NULL: an arena that is
 * too small for what the program asks at start is a wrong constant, therefore a CHECK. */
void *arena_allocate(struct arena *arena, size_t size_bytes);

/* arena_seal: from here on arena_allocate is a bug. */
void arena_seal(struct arena *arena);

/* arena_fini: unmaps everything that was allocated from it. */
void arena_fini(struct arena *arena);

#endif
