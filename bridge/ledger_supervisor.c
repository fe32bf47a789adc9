#include "ledger_private.h"

#include <errno.h>

void ledger_heartbeat_supervisor(struct ledger *ledger, int64_t now_ns, int64_t deadline_ns)
{
    struct ledger_shared *shared = ledger->shared;

    STORE(shared->header.supervisor_heartbeat_ns, now_ns);
    STORE(shared->header.lease_deadline_ns, deadline_ns);
    /* The lease is seen before acknowledgements are counted (roll_denies). */
    ledger_fence_full();
    /* Someone killed while moving a right left the sequence odd; taking the lock mends it. */
    if ((LOAD(shared->header.alloc_sequence) & 1) != 0 && ledger_lock(ledger, 0) == 0)
        ledger_unlock(shared);
}

/* set_limit_locked: with the lock held, between rights_begin and rights_end. */
static void set_limit_locked(struct ledger *ledger, const int64_t limit_micros[2],
                             const int64_t headroom_micros[2])
{
    struct ledger_header *header = &ledger->shared->header;

    for (int d = 0; d < 2; d++) {
        int64_t sum = rights_sum(ledger->shared, d);
        int64_t ceiling = sum < header->ceiling_micros[d] ? sum : header->ceiling_micros[d];

        /* A higher limit is within the ceiling before anyone can draw up to it. */
        if (limit_micros[d] > header->ceiling_micros[d])
            STORE(header->ceiling_micros[d], limit_micros[d]);
        /* A smaller headroom comes before the limit, a larger one after it: whoever dies between
         * leaves no headroom above its limit, which would be damage that nobody may repair. */
        if (headroom_micros[d] < header->headroom_micros[d])
            STORE(header->headroom_micros[d], headroom_micros[d]);
        STORE(header->limit_micros[d], limit_micros[d]);
        STORE(header->headroom_micros[d], headroom_micros[d]);
        STORE(header->ceiling_micros[d], ceiling > limit_micros[d] ? ceiling : limit_micros[d]);
    }
}

int ledger_set_limit(struct ledger *ledger, const int64_t limit_micros[2],
                     const int64_t headroom_micros[2])
{
    int error;

    for (int d = 0; d < 2; d++)
        if (limit_micros[d] < 0 || limit_micros[d] > LEDGER_AMOUNT_MAX || headroom_micros[d] < 0 ||
            headroom_micros[d] > limit_micros[d])
            return -EINVAL;
    error = ledger_lock(ledger, 1);
    if (error != 0)
        return error;
    error = rights_begin(ledger->shared);
    if (error == 0) {
        set_limit_locked(ledger, limit_micros, headroom_micros);
        rights_end(ledger->shared);
    } else {
        (void)ledger_halt(ledger, HALT_LEDGER);
    }
    ledger_unlock(ledger->shared);
    return error;
}

int64_t ledger_set_state(struct ledger *ledger, uint32_t state, uint32_t reason, int by_person)
{
    uint64_t *control = &ledger->shared->header.control;
    uint64_t seen = LOAD(*control);
    uint32_t epoch;

    if (state > LEDGER_HALTED)
        return -EINVAL;
    do {
        /* The byte as it stands: one that is no state means HALTED, and is overwritten all the
         * same, so that nobody has to guess at it any longer. */
        if (control_word_state(seen) == state) {
            epoch = control_epoch(seen);
            break;
        }
        if (state < control_state(seen) && !by_person)
            return -EPERM;
        epoch = control_next_epoch(seen);
    } while (!__atomic_compare_exchange_n(control, &seen, control_make(epoch, reason, state), 0,
                                          __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE));
    /* The other half of the fence in ledger_gate, also for who found it halted already. */
    ledger_fence_full();
    return epoch;
}

int64_t ledger_halt(struct ledger *ledger, uint32_t reason)
{
    return ledger_set_state(ledger, LEDGER_HALTED, reason, 0);
}

/* lower_to_used: with the lock held. Rights that are not whole stay as they are: what a dead
 * owner's damaged memory says is used must not make room for others. */
static void lower_to_used(struct ledger *ledger, struct ledger_participant *line)
{
    if (rights_begin(ledger->shared) != 0) {
        (void)ledger_halt(ledger, HALT_LEDGER);
        return;
    }
    for (int d = 0; d < 2; d++) {
        int64_t used = LOAD(line->used_micros[d]);

        if (used < line->alloc_micros[d])
            STORE(line->alloc_micros[d], used);
    }
    rights_lower_ceiling(ledger->shared);
    rights_end(ledger->shared);
}

int ledger_reclaim(struct ledger *ledger, uint32_t participant)
{
    struct ledger_participant *line;
    int charged;
    int error;

    if (participant >= PROTOCOL_PARTICIPANTS)
        return -EINVAL;
    line = &ledger->shared->participants[participant];
    error = ledger_lock(ledger, 1);
    if (error != 0)
        return error;
    /* The generation first: should the owner after all still run, it can charge nothing more. */
    STORE(line->generation, line->generation + 1);
    charged = slots_disown(line);
    for (int d = 0; d < 2; d++)
        STORE(line->want_micros[d], 0);
    lower_to_used(ledger, line);
    STORE(line->reconciled_ns, 0);
    STORE(line->pid, 0);
    ledger_unlock(ledger->shared);
    return charged;
}
