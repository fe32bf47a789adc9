/*
 * ledger_private.h: what the ledger's own files share: the handle, the lock, and the movement of
 * rights. Nothing outside bridge/ledger*.c includes it.
 */
#ifndef PURSER_BRIDGE_LEDGER_PRIVATE_H
#define PURSER_BRIDGE_LEDGER_PRIVATE_H

#include "ledger.h"

#include <stddef.h>
#include <sys/types.h>

/* Amounts above this are refused, so that sums of a few of them cannot overflow. */
#define LEDGER_AMOUNT_MAX ((int64_t)1 << 59)
#define LEDGER_BUCKETS    512
#define LEDGER_NO_SLOT    0xFFFF

/*
 * Memory order. Nothing here relies on the strong order of x86; each rule names its two sides.
 *
 *   a value published     STORE releases, LOAD acquires: who sees a value sees all that its writer
 *                         stored before it (REDUCING before used, alloc before used, a slot's
 *                         content before RESERVED, the whole file before its magic word).
 *   halt and gate         both store and then load what the other stored: the sender its slot, then
 *                         the control word; who halts the control word, then the slots. Release and
 *                         acquire do not order a store before a later load, on x86 no more than on
 *                         ARM: only ledger_fence_full on both sides does. Then at least one of the
 *                         two sees the other: the gate denies, or the slot is seen.
 *   a sequence (seqlock)  writer: odd, fence, content, release even. Reader: acquire the sequence,
 *                         content, acquire fence, the sequence again. A reader that saw any of the
 *                         new content meets the writer's fence, and so sees the odd number.
 *                         The slots' generation and the status page work in the same way.
 *   the mutex             acquires and releases by itself, also when a dead owner's passes on.
 */

/* Every shared field that changes is read and written through these two. */
#define LOAD(field)         __atomic_load_n(&(field), __ATOMIC_ACQUIRE)
#define STORE(field, value) __atomic_store_n(&(field), (value), __ATOMIC_RELEASE)

/* ledger_fence_full: every earlier load and store of this thread comes before every later one. */
static inline void ledger_fence_full(void)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

/* One process's mapping. The tables below line are the sending thread's own index of its slots: a
 * stack of free ones and a hash chain by client_order_id, so that no order scans the slots. */
struct ledger {
    struct ledger_shared *shared;
    struct ledger_participant *line; /* NULL until joined */
    uint32_t participant;
    uint32_t generation;
    int creator; /* made or adopted by this handle: the supervisor */
    int creator_pid;
    int64_t want_since_ns;
    uint32_t free_count;
    uint16_t free_slots[PROTOCOL_SLOTS];
    uint16_t buckets[LEDGER_BUCKETS];
    uint16_t next[PROTOCOL_SLOTS];
    uint8_t reducing[PROTOCOL_SLOTS];
    int64_t window_ns[PROTOCOL_SLOTS]; /* of the order that holds the slot */
};

/* How a draw behaves when not everything fits. */
enum draw_mode {
    DRAW_ORDER,    /* all or nothing; headroom stays untouched */
    DRAW_REDUCING, /* all or nothing; may use headroom */
    DRAW_PASSIVE,  /* takes what there is, headroom included: the risk exists already */
};

static inline uint32_t control_state(uint64_t control)
{
    return (uint32_t)(control & 0xFF);
}
static inline uint32_t control_reason(uint64_t control)
{
    return (uint32_t)(control >> 16) & 0xFFFF;
}
static inline uint32_t control_epoch(uint64_t control)
{
    return (uint32_t)(control >> 32);
}
static inline uint64_t control_make(uint32_t epoch, uint32_t reason, uint32_t state)
{
    return ((uint64_t)epoch << 32) | ((uint64_t)(reason & 0xFFFF) << 16) | (state & 0xFF);
}

/* --- ledger_lock.c --- */

int ledger_lock_init(struct ledger_shared *shared);
/* ledger_lock_try: a bounded number of tries without a system call; -EBUSY. */
int ledger_lock_try(struct ledger_shared *shared);
/* ledger_lock_wait: for callers off the hot path; -EBUSY after about a second. */
int ledger_lock_wait(struct ledger_shared *shared);
void ledger_unlock(struct ledger_shared *shared);

/* rights_begin, rights_end: bracket every change of alloc or limit, under the lock. */
void rights_begin(struct ledger_shared *shared);
void rights_end(struct ledger_shared *shared);

/* --- ledger_rights.c --- */

int64_t rights_chunk(const struct ledger_shared *shared, int dimension);
int64_t rights_sum(const struct ledger_shared *shared, int dimension);
/* rights_lower_ceiling: after rights were given back, the most that was ever legal shrinks too. */
void rights_lower_ceiling(struct ledger_shared *shared);
/* rights_draw: 0, -ENOSPC, -EBUSY (lock), -ESTALE (another generation owns the line). */
int rights_draw(struct ledger *ledger, const int64_t used_micros[2], enum draw_mode mode, int wait);
/* rights_lower: alloc down to keep, never below used; never waits. */
int rights_lower(struct ledger *ledger, const int64_t keep_micros[2], int wait);
/* rights_return_idle: the give-back rule: everything idle when another participant asks or the
 * headroom is in use, else what is above a few chunks. */
void rights_return_idle(struct ledger *ledger);
int rights_wanted_by_others(const struct ledger *ledger, int dimension);

/* --- ledger_day.c --- */

/* roll_denies: the reason for which the day's end or a doubted clock denies an order now. */
int roll_denies(const struct ledger_header *header, int reducing, int64_t now_ns);

/* --- ledger_slots.c --- */

void slots_index(struct ledger *ledger);
uint16_t slots_find(const struct ledger *ledger, uint64_t client_order_id);
void slots_take(struct ledger *ledger, uint16_t slot, uint64_t client_order_id);
void slots_put_back(struct ledger *ledger, uint16_t slot);
uint32_t slot_checksum(const struct ledger_slot *slot);
/* slot_sent_checksum: of when it was sent and until when it can land. */
uint32_t slot_sent_checksum(const struct ledger_slot *slot);
/* slots_disown: a dead owner's slots: RESERVED becomes FREE (its bytes never left), SENT and LIVE
 * become UNKNOWN. Returns how many stay charged. */
int slots_disown(struct ledger_participant *line);
/* slot_copy: a whole copy of a slot in use; 0 when it is FREE. */
int slot_copy(const struct ledger_slot *slot, struct ledger_slot *out);

/* --- ledger_file.c --- */

/* process_start_time: field 22 of /proc/PID/stat, or -1 when no such process runs any more. */
int64_t process_start_time(int64_t pid);
int process_is(int64_t pid, int64_t start_time);

#endif
