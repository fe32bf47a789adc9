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
    int damaged;     /* opened in spite of its damage: to be read and halted, never joined */
    uint64_t inode;  /* of the file, by which a holder of the lock is known */
    size_t capacity; /* bytes mapped */
    /* Rights and charges as this handle last stored them. What memory says in their place is not
     * believed: a flipped bit in the own line must not make room for an order. */
    int64_t granted_micros[2];
    int64_t charged_micros[2];
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

/* control_word_state: the byte as it stands. control_state: what it means: a byte that is no state
 * is damage, and damage is HALTED. */
static inline uint32_t control_word_state(uint64_t control)
{
    return (uint32_t)(control & 0xFF);
}
static inline uint32_t control_state(uint64_t control)
{
    uint32_t state = control_word_state(control);

    return state > LEDGER_HALTED ? LEDGER_HALTED : state;
}
static inline uint32_t control_reason(uint64_t control)
{
    return (uint32_t)(control >> 16) & 0xFFFF;
}
static inline uint32_t control_epoch(uint64_t control)
{
    return (uint32_t)(control >> 32);
}
/* control_next_epoch: never 0, which a line that acknowledged nothing holds. */
static inline uint32_t control_next_epoch(uint64_t control)
{
    uint32_t epoch = control_epoch(control) + 1;

    return epoch == 0 ? 1 : epoch;
}
static inline uint64_t control_make(uint32_t epoch, uint32_t reason, uint32_t state)
{
    return ((uint64_t)epoch << 32) | ((uint64_t)(reason & 0xFFFF) << 16) | (state & 0xFF);
}

static inline int amount_is_valid(int64_t micros)
{
    return micros >= 0 && micros <= LEDGER_AMOUNT_MAX;
}
/* amount_of: for sums over memory that nobody has checked: what is no amount counts as nothing. */
static inline int64_t amount_of(int64_t micros)
{
    return amount_is_valid(micros) ? micros : 0;
}

/* --- ledger_lock.c --- */

int ledger_lock_init(struct ledger_shared *shared);
/* ledger_lock_try: a bounded number of tries without a system call; -EBUSY; -EBADMSG when the
 * lock's memory is damaged. */
int ledger_lock_try(struct ledger_shared *shared);
/* ledger_lock_wait: for callers off the hot path; -EBUSY after about a second. */
int ledger_lock_wait(struct ledger_shared *shared);
void ledger_unlock(struct ledger_shared *shared);
/* ledger_lock: either of them; a damaged lock halts. */
int ledger_lock(struct ledger *ledger, int wait);
/* ledger_lock_is_damaged: the lock is of no known kind, or held by nobody who could hold it. Reads
 * /proc when it is held. */
int ledger_lock_is_damaged(const struct ledger *ledger);

/* --- ledger_rights.c --- */

/* rights_begin, rights_end: bracket every change of limit, headroom, ceiling or alloc, under the
 * lock; the end stores their checksum. rights_begin changes nothing and returns -EBADMSG when the
 * rights are not whole: whoever stored a new checksum over damage would make it the truth. */
int rights_begin(struct ledger_shared *shared);
void rights_end(struct ledger_shared *shared);
/* rights_repair: with the lock held, after a change that its maker did not live to end: its values
 * are legal as they stand, so that the checksum is made anew. Values that cannot be are damage all
 * the same: rights_are_whole looks at both. */
void rights_repair(struct ledger_shared *shared);

uint64_t rights_checksum(const struct ledger_shared *shared);
/* rights_are_sane: every amount is one, headroom <= limit, sum(alloc) <= ceiling. */
int rights_are_sane(const struct ledger_shared *shared);
/* rights_are_whole: sane, and as the last change left them. With the lock held, or at an even
 * sequence that does not change meanwhile. */
int rights_are_whole(const struct ledger_shared *shared);

int64_t rights_chunk(const struct ledger_shared *shared, int dimension);
int64_t rights_sum(const struct ledger_shared *shared, int dimension);
/* rights_lower_ceiling: after rights were given back, the most that was ever legal shrinks too. */
void rights_lower_ceiling(struct ledger_shared *shared);
/* rights_draw: 0, -ENOSPC, -EBUSY (lock), -ESTALE (another generation owns the line), -EBADMSG: the
 * rights or the lock are damaged, and the ledger is halted. */
int rights_draw(struct ledger *ledger, const int64_t used_micros[2], enum draw_mode mode, int wait);
/* rights_lower: alloc down to keep, never below used; never waits. */
int rights_lower(struct ledger *ledger, const int64_t keep_micros[2], int wait);
/* rights_return_idle: the give-back rule: everything idle when another participant asks or the
 * headroom is in use, else what is above a few chunks. */
void rights_return_idle(struct ledger *ledger);
int rights_wanted_by_others(const struct ledger *ledger, int dimension);

/* --- ledger_day.c --- */

/* roll_denies: the reason for which the day's end or a doubted clock denies an order now. An exit
 * that a lapsed lease lets through takes the participant's acknowledgement back first. */
int roll_denies(const struct ledger_header *header, struct ledger_participant *line, int reducing,
                int64_t now_ns);

/* --- ledger_slots.c --- */

void slots_index(struct ledger *ledger);
uint16_t slots_find(const struct ledger *ledger, uint64_t client_order_id);
void slots_take(struct ledger *ledger, uint16_t slot, uint64_t client_order_id);
void slots_put_back(struct ledger *ledger, uint16_t slot);
/* slot_checksum: client_order_id to quantity, the charge and the names: what stays as long as the
 * order. order_checksum: the same of a slot that is yet to be written. */
uint32_t slot_checksum(const struct ledger_slot *slot);
uint32_t order_checksum(const struct ledger_order *order, uint32_t generation, uint64_t delta_loss,
                        uint64_t delta_notional);
/* slot_sent_checksum: of when it was sent and until when it can land. */
uint32_t slot_sent_checksum(const struct ledger_slot *slot);
/* slots_disown: a dead owner's slots: RESERVED becomes FREE (its bytes never left), SENT and LIVE
 * become UNKNOWN. Returns how many stay charged. */
int slots_disown(struct ledger_participant *line);
/* slot_copy: a whole copy of a slot in use; 0 when it is FREE. */
int slot_copy(const struct ledger_slot *slot, struct ledger_slot *out);
/* slot_is_order: not noise that lies where a slot was: its state is one, or its checksum is right.
 * A slot of which only one of the two is damaged counts: an order may stand behind it. */
int slot_is_order(const struct ledger_slot *slot);

/* --- ledger_check.c --- */

/* header_is_ours: magic, version, size, layout and boot are this program's and this boot's. */
int header_is_ours(const struct ledger_header *header);
/* ledger_boot_id: of the running kernel, NUL-padded; 0 or -EIO. */
int ledger_boot_id(char out[40]);

/* --- ledger_rescue.c --- */

/* What a file is that could not be adopted. */
enum ledger_remains {
    REMAINS_DAMAGED,   /* whatever is none of the others */
    REMAINS_OLD_BOOT,  /* whole, of an earlier boot: no order of it can be on its way */
    REMAINS_OLD_QUIET, /* of another layout, without an order in it */
    REMAINS_OLD_ORDERS /* of another layout and this boot, and it may hold orders */
};

enum ledger_remains ledger_remains_of(const char *path);
/* rescue_carry: every reservation of a damaged ledger into a new one, as UNKNOWN, with as much
 * charged as its lines and slots tell. */
void rescue_carry(struct ledger_shared *to, const struct ledger_shared *from);
/* rescue_keep: gives the damaged file a second name, path.damaged-N. */
int rescue_keep(const char *path);

/* --- ledger_file.c --- */

/* ledger_map: maps a file of ours that is open; size is the file's. */
int ledger_map(struct ledger **out, int fd, off_t size, uint64_t inode);

/* --- ledger_process.c --- */

int read_small_file(const char *path, char *text, size_t size);
/* ledger_somebody_lives: the process of one of these lines runs and is not this one. */
int ledger_somebody_lives(const struct ledger_shared *shared, int first, int last);

/* process_start_time: field 22 of /proc/PID/stat, or -1 when no such process runs any more. */
int64_t process_start_time(int64_t pid);
int process_is(int64_t pid, int64_t start_time);

#endif
