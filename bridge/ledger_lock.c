#include "ledger_private.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

/*
 * The mutex is robust and shared between processes: when its owner is killed, the next one to lock
 * it is told so. Whatever the dead owner was doing is legal as it stands, because every right moves
 * with one store; only the sequence may be left odd.
 */

#define LOCK_TRIES       64
#define LOCK_WAIT_ROUNDS 10000
#define LOCK_WAIT_NS     100000

_Static_assert(sizeof(pthread_mutex_t) <= sizeof(((struct ledger_header *)0)->mutex),
               "the header must hold a mutex");
_Static_assert(offsetof(struct ledger_header, mutex) % _Alignof(pthread_mutex_t) == 0,
               "the mutex must be aligned: the mapping itself begins on a page");

static pthread_mutex_t *mutex_of(struct ledger_shared *shared)
{
    return (pthread_mutex_t *)(void *)shared->header.mutex;
}

int ledger_lock_init(struct ledger_shared *shared)
{
    pthread_mutexattr_t attributes;
    int error = pthread_mutexattr_init(&attributes);

    if (error != 0)
        return -error;
    error = pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    if (error == 0)
        error = pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    if (error == 0)
        error = pthread_mutex_init(mutex_of(shared), &attributes);
    pthread_mutexattr_destroy(&attributes);
    return -error;
}

/* relax: tells the processor that this thread only waits for another one's store. */
static void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static int lock_once(struct ledger_shared *shared)
{
    int error = pthread_mutex_trylock(mutex_of(shared));

    if (error == EOWNERDEAD)
        error = pthread_mutex_consistent(mutex_of(shared));
    if (error == 0 && (shared->header.alloc_sequence & 1) != 0)
        STORE(shared->header.alloc_sequence, shared->header.alloc_sequence + 1);
    return -error;
}

int ledger_lock_try(struct ledger_shared *shared)
{
    int result = -EBUSY;

    for (int attempt = 0; attempt < LOCK_TRIES && result == -EBUSY; attempt++) {
        if (attempt > 0)
            relax();
        result = lock_once(shared);
    }
    return result;
}

int ledger_lock_wait(struct ledger_shared *shared)
{
    const struct timespec pause = {.tv_sec = 0, .tv_nsec = LOCK_WAIT_NS};
    int result = -EBUSY;

    /* Never a blocking lock: its waiter flag would cost the hot path a system call at unlock. */
    for (int round = 0; round < LOCK_WAIT_ROUNDS && result == -EBUSY; round++) {
        result = ledger_lock_try(shared);
        if (result == -EBUSY)
            nanosleep(&pause, NULL);
    }
    return result;
}

void ledger_unlock(struct ledger_shared *shared)
{
    pthread_mutex_unlock(mutex_of(shared));
}

void rights_begin(struct ledger_shared *shared)
{
    __atomic_store_n(&shared->header.alloc_sequence, shared->header.alloc_sequence + 1,
                     __ATOMIC_RELAXED);
    /* No store of a right moves up before the odd number: a release fence would do. */
    ledger_fence_full();
}

void rights_end(struct ledger_shared *shared)
{
    STORE(shared->header.alloc_sequence, shared->header.alloc_sequence + 1);
}
