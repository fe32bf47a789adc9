/*
 * allocate.h: the one way of taking an object from the heap. It asks for a type, so that the memory
 * is aligned as that type demands: calloc aligns to 16 bytes, and a type with an _Alignas member
 * may want 64. An object placed short of that works until a compiler copies it with aligned vector
 * stores, and then the process dies of a signal. tests/check_allocation.py refuses every other call
 * to the heap, and every type that wants more than ALIGNMENT_MOST.
 */
#ifndef PURSER_BRIDGE_ALLOCATE_H
#define PURSER_BRIDGE_ALLOCATE_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* What no type of ours exceeds: a cache line. The heap gives it (below), arena_allocate gives it,
 * and a mapping begins on a page, which is larger on every machine. */
#define ALIGNMENT_MOST 64

/* ALLOCATE: one zeroed object; ALLOCATE_ARRAY: count of them. NULL when there is no memory. free()
 * takes either back. */
#define ALLOCATE(type) ((type *)allocate_zeroed(1, sizeof(type), _Alignof(type)))
#define ALLOCATE_ARRAY(type, count)                                                                \
    ((type *)allocate_zeroed((size_t)(count), sizeof(type), _Alignof(type)))

/* ALLOCATE_GROWN: realloc for an array of a plain type (realloc keeps no alignment above 16: the
 * assertion refuses such a type). NULL leaves the old array as it is. */
#define ALLOCATE_GROWN(type, array, count)                                                         \
    ((type *)allocate_grown((array), (size_t)(count), sizeof(struct {                              \
                                _Static_assert(_Alignof(type) <= _Alignof(max_align_t),            \
                                               "realloc would lose the alignment of " #type);      \
                                type one;                                                          \
                            })))

/* A mapping holds objects of this type at its start. Pages are 4 KiB, 16 KiB or 64 KiB. */
#define MAPPING_HOLDS(type)                                                                        \
    _Static_assert(_Alignof(type) <= ALIGNMENT_MOST && ALIGNMENT_MOST <= 4096,                     \
                   "a page must be aligned for " #type)

static inline void *allocate_zeroed(size_t count, size_t size, size_t alignment)
{
    void *memory;

    if (alignment <= _Alignof(max_align_t))
        return calloc(count, size);
    if (count > SIZE_MAX / size)
        return NULL;
    /* The size of a type is a multiple of its alignment, as aligned_alloc demands. */
    memory = aligned_alloc(alignment, count * size);
    if (memory != NULL)
        memset(memory, 0, count * size);
    return memory;
}

static inline void *allocate_grown(void *array, size_t count, size_t size)
{
    return count > SIZE_MAX / size ? NULL : realloc(array, count * size);
}

#endif
