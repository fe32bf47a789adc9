/*
 * pool.h: a size-class allocator for libraries that insist on malloc (OpenSSL, libcurl). Freed
 * blocks go to a list of their class and are handed out again, so a connection in its steady state
 * never reaches the heap. Blocks above POOL_BLOCK_MAX, and requests when the pool is exhausted, go
 * to the heap and are counted. Thread-safe (a spin lock held for a few instructions), since a
 * resolver thread of libcurl may allocate.
 */
#ifndef PURSER_NET_POOL_H
#define PURSER_NET_POOL_H

#include <stddef.h>
#include <stdint.h>

#define POOL_BYTES_DEFAULT ((size_t)16 << 20)
#define POOL_BLOCK_MAX     131072

/* pool_init: reserves the pool's memory once (untouched pages cost nothing); a second call is a
 * no-op. STATUS_OK or STATUS_LIMIT. */
int pool_init(size_t size_bytes);

void *pool_allocate(size_t size);
void *pool_resize(void *block, size_t size);
void *pool_zeroed(size_t count, size_t size);
void pool_release(void *block);

/* pool_heap_calls: allocations that fell through to the heap so far. */
int64_t pool_heap_calls(void);

#endif
