#include "pool.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "../base/status.h"

/* Classes are powers of two from 32 bytes; a 16-byte header lies in front of each block. */
#define CLASS_FIRST 5
#define CLASS_COUNT 13 /* 32 B to 128 KB */
#define FROM_HEAP   CLASS_COUNT

struct block {
    uint64_t size_class; /* 0..CLASS_COUNT - 1, or FROM_HEAP */
    uint64_t size;       /* as asked for */
};

_Static_assert(sizeof(struct block) % _Alignof(max_align_t) == 0 &&
                   (1 << CLASS_FIRST) % _Alignof(max_align_t) == 0,
               "what a block holds is aligned as malloc would");

struct free_block {
    struct free_block *next;
};

static struct {
    pthread_spinlock_t lock;
    unsigned char *base;
    size_t size_bytes, used_bytes;
    struct free_block *free[CLASS_COUNT];
    int64_t heap_calls;
    bool ready;
} pool;

int pool_init(size_t size_bytes)
{
    if (pool.ready)
        return STATUS_OK;
    void *base = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED)
        return status_set(STATUS_LIMIT, "cannot reserve %zu bytes for TLS; free some memory",
                          size_bytes);
    pthread_spin_init(&pool.lock, PTHREAD_PROCESS_PRIVATE);
    pool.base = base;
    pool.size_bytes = size_bytes;
    pool.ready = true;
    return STATUS_OK;
}

static unsigned class_of(size_t size)
{
    unsigned class = 0;
    while (((size_t)1 << (CLASS_FIRST + class)) < size)
        class ++;
    return class;
}

static struct block *take(unsigned class)
{
    struct block *block = NULL;
    pthread_spin_lock(&pool.lock);
    if (pool.free[class] != NULL) {
        struct free_block *head = pool.free[class];
        pool.free[class] = head->next;
        block = (struct block *)head - 1;
    } else {
        size_t bytes = sizeof(struct block) + ((size_t)1 << (CLASS_FIRST + class));
        if (pool.ready && bytes <= pool.size_bytes - pool.used_bytes) {
            block = (struct block *)(void *)(pool.base + pool.used_bytes);
            pool.used_bytes += bytes;
        }
    }
    pthread_spin_unlock(&pool.lock);
    return block;
}

void *pool_allocate(size_t size)
{
    if (size == 0)
        size = 1;
    struct block *block = NULL;
    uint64_t class = FROM_HEAP;
    if (size <= POOL_BLOCK_MAX) {
        class = class_of(size);
        block = take((unsigned)class);
    }
    if (block == NULL) {
        class = FROM_HEAP;
        if (size > SIZE_MAX - sizeof *block)
            return NULL;
        __atomic_add_fetch(&pool.heap_calls, 1, __ATOMIC_RELAXED);
        block = malloc(sizeof *block + size);
        if (block == NULL)
            return NULL;
    }
    block->size_class = class;
    block->size = size;
    return block + 1;
}

void pool_release(void *memory)
{
    if (memory == NULL)
        return;
    struct block *block = (struct block *)memory - 1;
    if (block->size_class == FROM_HEAP) {
        free(block);
        return;
    }
    struct free_block *head = memory;
    pthread_spin_lock(&pool.lock);
    head->next = pool.free[block->size_class];
    pool.free[block->size_class] = head;
    pthread_spin_unlock(&pool.lock);
}

void *pool_resize(void *memory, size_t size)
{
    if (memory == NULL)
        return pool_allocate(size);
    if (size == 0) {
        pool_release(memory);
        return NULL;
    }
    struct block *block = (struct block *)memory - 1;
    if (block->size_class != FROM_HEAP && size <= (size_t)1 << (CLASS_FIRST + block->size_class)) {
        block->size = size;
        return memory;
    }
    void *larger = pool_allocate(size);
    if (larger == NULL)
        return NULL;
    memcpy(larger, memory, block->size < size ? block->size : size);
    pool_release(memory);
    return larger;
}

void *pool_zeroed(size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes))
        return NULL;
    void *memory = pool_allocate(bytes);
    if (memory != NULL)
        memset(memory, 0, bytes);
    return memory;
}

int64_t pool_heap_calls(void)
{
    return __atomic_load_n(&pool.heap_calls, __ATOMIC_RELAXED);
}
