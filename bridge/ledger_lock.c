#include "ledger_private.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/*
 * The mutex is robust and shared between processes: when its owner is killed, the next one to lock
 * it is told so. Whatever the dead owner was doing is legal as it stands, because every right moves
 * with one store; only the sequence may be left odd and the checksum of the rights old.
 *
 * Its memory is shared too, and the C library asserts what it finds there: a kind that is not the
 * one it was made with is never passed to it. A lock word that names an owner who cannot be one is
 * damage as well; that is found by looking at /proc, off the hot path.
 */

#define LOCK_TRIES       64
#define LOCK_WAIT_ROUNDS 10000
#define LOCK_WAIT_NS     100000

_Static_assert(sizeof(pthread_mutex_t) <= sizeof(((struct ledger_header *)0)->mutex),
               "the header must hold a mutex");
_Static_assert(offsetof(struct ledger_header, mutex) % _Alignof(pthread_mutex_t) == 0,
               "the mutex must be aligned: the mapping itself begins on a page");

/* The bits of a futex word that hold the owner's thread id, and the kernel's word of its death. */
#define OWNER_MASK 0x3FFFFFFFU
#define OWNER_DIED 0x40000000U

static pthread_mutex_t *mutex_of(struct ledger_shared *shared)
{
    return (pthread_mutex_t *)(void *)shared->header.mutex;
}

static int make_mutex(pthread_mutex_t *mutex)
{
    pthread_mutexattr_t attributes;
    int error = pthread_mutexattr_init(&attributes);

    if (error != 0)
        return -error;
    error = pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    if (error == 0)
        error = pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    if (error == 0)
        error = pthread_mutex_init(mutex, &attributes);
    pthread_mutexattr_destroy(&attributes);
    return -error;
}

int ledger_lock_init(struct ledger_shared *shared)
{
    return make_mutex(mutex_of(shared));
}

/* kind_made: the kind that ledger_lock_init gives, read off a lock made the same way. */
static int kind_made(void)
{
    static int kind = -1;
    int known = __atomic_load_n(&kind, __ATOMIC_RELAXED);

    if (known < 0) {
        struct ledger_shared *model = NULL;
        union {
            pthread_mutex_t mutex;
            uint64_t storage[sizeof model->header.mutex / sizeof(uint64_t)];
        } made;

        memset(&made, 0, sizeof made);
        if (make_mutex(&made.mutex) != 0)
            return -1;
        known = made.mutex.__data.__kind;
        pthread_mutex_destroy(&made.mutex);
        __atomic_store_n(&kind, known, __ATOMIC_RELAXED);
    }
    return known;
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
    int error;

    if (mutex_of(shared)->__data.__kind != kind_made())
        return -EBADMSG;
    error = pthread_mutex_trylock(mutex_of(shared));
    if (error == EOWNERDEAD)
        error = pthread_mutex_consistent(mutex_of(shared));
    if (error == 0 && (LOAD(shared->header.alloc_sequence) & 1) != 0)
        rights_repair(shared);
    return error == 0 || error == EBUSY ? -error : -EBADMSG;
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

int ledger_lock(struct ledger *ledger, int wait)
{
    int error = wait ? ledger_lock_wait(ledger->shared) : ledger_lock_try(ledger->shared);

    if (error == -EBUSY && wait && ledger_lock_is_damaged(ledger))
        error = -EBADMSG;
    if (error == -EBADMSG)
        (void)ledger_halt(ledger, HALT_LEDGER);
    return error;
}

/* is_thread_of_a_line: of a process that holds a line of the ledger, or supervises it. */
static int is_thread_of_a_line(const struct ledger_shared *shared, uint32_t thread)
{
    char path[96];

    for (int i = 0; i < PROTOCOL_PARTICIPANTS; i++) {
        int64_t pid = LOAD(shared->participants[i].pid);

        snprintf(path, sizeof path, "/proc/%" PRId64 "/task/%u", pid, thread);
        if (pid > 0 && access(path, F_OK) == 0)
            return 1;
    }
    return 0;
}

/* could_hold: a thread lives, and its process maps this file; where that may not be looked at, its
 * process holds a line. */
static int could_hold(const struct ledger *ledger, uint32_t thread)
{
    char path[64];
    char line[512];
    FILE *maps;
    int found = 0;

    if (is_thread_of_a_line(ledger->shared, thread))
        return 1;
    snprintf(path, sizeof path, "/proc/%u/maps", thread);
    maps = fopen(path, "re");
    while (!found && maps != NULL && fgets(line, sizeof line, maps) != NULL) {
        uint64_t seen;

        if (sscanf(line, "%*s %*s %*s %*s %" SCNu64, &seen) == 1)
            found = seen == ledger->inode;
    }
    if (maps != NULL)
        fclose(maps);
    return found;
}

int ledger_lock_is_damaged(const struct ledger *ledger)
{
    const pthread_mutex_t *mutex = mutex_of(ledger->shared);
    uint32_t word = (uint32_t)__atomic_load_n(&mutex->__data.__lock, __ATOMIC_ACQUIRE);

    if (mutex->__data.__kind != kind_made())
        return 1;
    if (word == 0 || (word & OWNER_DIED) != 0 || could_hold(ledger, word & OWNER_MASK))
        return 0;
    /* Given back, or taken by another, while we looked: no damage. */
    return (uint32_t)__atomic_load_n(&mutex->__data.__lock, __ATOMIC_ACQUIRE) == word;
}
