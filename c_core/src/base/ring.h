/*
 * ring.h: a bounded queue of fixed-size entries from one producer thread to one consumer thread,
 * without locks, allocation or system calls. The trading thread feeds the telemetry thread with it:
 * a full ring loses the entry (ring_push says so and counts it) rather than making trading wait.
 *
 * head is written by the producer alone, tail by the consumer alone; each reads the other's with
 * acquire order. Both only grow; their difference is the number of entries waiting.
 *
 * On a processor that reorders: the entry is copied in before head's release, and read after head's
 * acquire; it is copied out before tail's release, and overwritten after tail's acquire. A stale
 * view of the other's index only makes the ring look fuller, or emptier, than it is.
 */
#ifndef PURSER_BASE_RING_H
#define PURSER_BASE_RING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "arena.h"
#include "check.h"

struct ring {
    unsigned char *entries;
    uint64_t mask;
    size_t entry_bytes;
    /* producer writes */
    _Alignas(64) _Atomic uint64_t head;
    uint64_t lost; /* entries refused because the ring was full */
    /* consumer writes */
    _Alignas(64) _Atomic uint64_t tail;
};

/* ring_init: capacity entries (a power of two) from the arena. */
static inline void ring_init(struct ring *ring, struct arena *arena, uint64_t capacity,
                             size_t entry_bytes)
{
    CHECK(capacity > 0 && (capacity & (capacity - 1)) == 0 && entry_bytes > 0);
    ring->entries = arena_allocate(arena, capacity * entry_bytes);
    ring->mask = capacity - 1;
    ring->entry_bytes = entry_bytes;
    ring->lost = 0;
    atomic_init(&ring->head, 0);
    atomic_init(&ring->tail, 0);
}

/* ring_push: copies one entry in; false (and counted in lost) when the ring is full. Producer. */
static inline bool ring_push(struct ring *ring, const void *entry)
{
    uint64_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_acquire);
    if (head - tail > ring->mask) {
        ring->lost++;
        return false;
    }
    memcpy(ring->entries + (head & ring->mask) * ring->entry_bytes, entry, ring->entry_bytes);
    atomic_store_explicit(&ring->head, head + 1, memory_order_release);
    return true;
}

/* ring_pop: copies the oldest entry out; false when there is none. Consumer. */
static inline bool ring_pop(struct ring *ring, void *entry)
{
    uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    uint64_t head = atomic_load_explicit(&ring->head, memory_order_acquire);
    if (head == tail)
        return false;
    memcpy(entry, ring->entries + (tail & ring->mask) * ring->entry_bytes, ring->entry_bytes);
    atomic_store_explicit(&ring->tail, tail + 1, memory_order_release);
    return true;
}

#endif
