#include "ledger.h"
#include "ledger_private.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* A refused draw asks the other participants for room this long after the last refusal. */
#define WANT_NS 2000000000

/* ledger_bug: the caller broke the rules of ledger.h. Trading stops; nothing is freed. */
static void ledger_bug(struct ledger *ledger)
{
    ledger_halt(ledger, HALT_BUG);
}

static int is_stale(const struct ledger *ledger)
{
    return ledger->line == NULL || LOAD(ledger->line->generation) != ledger->generation;
}

uint32_t ledger_generation(const struct ledger *ledger)
{
    return ledger->generation;
}

/* --- joining and leaving --- */

static int over_rights(const struct ledger_participant *line)
{
    return line->used_micros[0] > line->alloc_micros[0] ||
           line->used_micros[1] > line->alloc_micros[1];
}

int ledger_join(struct ledger *ledger, uint32_t participant, int64_t now_ns)
{
    struct ledger_participant *line;
    int error;

    if (participant >= PROTOCOL_PARTICIPANTS)
        return -EINVAL;
    if (ledger->damaged)
        return -EPROTO;
    line = &ledger->shared->participants[participant];
    error = ledger_lock(ledger, 1);
    if (error != 0)
        return error;
    if (line->pid != 0 && line->pid != getpid() && process_is(line->pid, line->start_time)) {
        ledger_unlock(ledger->shared);
        return -EBUSY;
    }
    STORE(line->generation, line->generation + 1);
    STORE(line->start_time, process_start_time(getpid()));
    STORE(line->pid, (int64_t)getpid());
    STORE(line->reconciled_ns, 0);
    /* Charges above the rights, left behind by a predecessor, stay marked as such. */
    STORE(line->state, over_rights(line) ? LEDGER_REDUCING : LEDGER_INIT);
    STORE(line->halt_ack, 0);
    STORE(line->want_micros[0], 0);
    STORE(line->want_micros[1], 0);
    STORE(line->heartbeat_ns, now_ns);
    line->role = participant;
    line->joined_ns = now_ns;
    (void)slots_disown(line);
    ledger->line = line;
    ledger->participant = participant;
    ledger->generation = line->generation;
    ledger->want_since_ns = 0;
    for (int d = 0; d < 2; d++) {
        ledger->granted_micros[d] = line->alloc_micros[d];
        ledger->charged_micros[d] = amount_of(line->used_micros[d]);
    }
    /* Rights in damaged memory are none; what was charged under them stays charged. */
    if (!rights_are_whole(ledger->shared)) {
        memset(ledger->granted_micros, 0, sizeof ledger->granted_micros);
        (void)ledger_halt(ledger, HALT_LEDGER);
    }
    slots_index(ledger);
    ledger_unlock(ledger->shared);
    return 0;
}

void ledger_set_access(struct ledger *ledger, uint64_t fingerprint)
{
    if (ledger->line != NULL && !is_stale(ledger))
        STORE(ledger->line->access_fingerprint, fingerprint);
}

void ledger_leave(struct ledger *ledger)
{
    const int64_t nothing[2] = {0, 0};

    if (ledger->line != NULL && !is_stale(ledger)) {
        for (int s = 0; s < PROTOCOL_SLOTS; s++)
            if (LOAD(ledger->line->slots[s].state) == SLOT_RESERVED)
                STORE(ledger->line->slots[s].state, SLOT_FREE);
        STORE(ledger->line->want_micros[0], 0);
        STORE(ledger->line->want_micros[1], 0);
        (void)rights_lower(ledger, nothing, 1);
        STORE(ledger->line->reconciled_ns, 0);
        STORE(ledger->line->pid, 0);
    }
    ledger->line = NULL;
    ledger->participant = PROTOCOL_PARTICIPANTS;
}

/* --- charging --- */

static void clear_want(struct ledger *ledger)
{
    if (ledger->want_since_ns != 0) {
        STORE(ledger->line->want_micros[0], 0);
        STORE(ledger->line->want_micros[1], 0);
        ledger->want_since_ns = 0;
    }
}

static void ask_for(struct ledger *ledger, const int64_t used_micros[2], int64_t now_ns)
{
    for (int d = 0; d < 2; d++) {
        int64_t missing = used_micros[d] - ledger->granted_micros[d];

        STORE(ledger->line->want_micros[d], missing > 0 ? missing : 0);
    }
    ledger->want_since_ns = now_ns;
}

/* fits: within the rights that this handle was granted, whatever its line says now. */
static int fits(const struct ledger *ledger, const int64_t used_micros[2])
{
    return used_micros[0] <= ledger->granted_micros[0] &&
           used_micros[1] <= ledger->granted_micros[1];
}

static int amounts_are_valid(const int64_t amounts_micros[2])
{
    return amount_is_valid(amounts_micros[0]) && amount_is_valid(amounts_micros[1]);
}

static void store_used(struct ledger *ledger, const int64_t used_micros[2])
{
    for (int d = 0; d < 2; d++) {
        ledger->charged_micros[d] = used_micros[d];
        STORE(ledger->line->used_micros[d], used_micros[d]);
    }
}

/* charge_passive: books a truth that cannot be refused. Rights are raised before used rises; when
 * they cannot be, the participant is REDUCING from before the store on. */
static int charge_passive(struct ledger *ledger, const int64_t used_micros[2],
                          const int64_t positions_micros[2], int64_t now_ns, int wait)
{
    struct ledger_participant *line = ledger->line;
    int result = 0;

    if (is_stale(ledger))
        return -ESTALE;
    if (!amounts_are_valid(used_micros)) {
        ledger_bug(ledger);
        return -EINVAL;
    }
    if (!fits(ledger, used_micros))
        result = rights_draw(ledger, used_micros, DRAW_PASSIVE, wait);
    if (result == -ESTALE)
        return result;
    if (result != 0) {
        STORE(line->state, LEDGER_REDUCING);
        ask_for(ledger, used_micros, now_ns);
    }
    store_used(ledger, used_micros);
    STORE(line->positions_micros[0], positions_micros[0]);
    STORE(line->positions_micros[1], positions_micros[1]);
    /* Out of REDUCING; once reconciled, out of anything that this line never was. */
    if (result == 0 && LOAD(line->state) != LEDGER_ACTIVE &&
        (LOAD(line->state) == LEDGER_REDUCING || LOAD(line->reconciled_ns) != 0)) {
        clear_want(ledger);
        STORE(line->state, LEDGER_ACTIVE);
    }
    return result == 0 ? 0 : -ENOSPC;
}

static int keeps(const uint64_t *keep, int keep_count, uint64_t client_order_id)
{
    for (int i = 0; i < keep_count; i++)
        if (keep[i] == client_order_id)
            return 1;
    return 0;
}

int ledger_rebuild(struct ledger *ledger, const int64_t used_micros[2],
                   const int64_t positions_micros[2], const uint64_t *keep, int keep_count,
                   int64_t now_ns)
{
    int result;

    if (!amounts_are_valid(used_micros))
        return -EINVAL;
    if (is_stale(ledger))
        return -ESTALE;
    result = charge_passive(ledger, used_micros, positions_micros, now_ns, 1);
    if (result == -ESTALE || result == -EINVAL)
        return result;
    for (int s = 0; s < PROTOCOL_SLOTS; s++) {
        struct ledger_slot *slot = &ledger->line->slots[s];

        if (!keeps(keep, keep_count, slot->client_order_id))
            STORE(slot->state, SLOT_FREE);
    }
    slots_index(ledger);
    if (result == 0) {
        (void)rights_lower(ledger, used_micros, 1);
        STORE(ledger->line->state, LEDGER_ACTIVE);
    }
    STORE(ledger->line->reconciled_ns, now_ns > 0 ? now_ns : 1);
    return result;
}

/* --- orders --- */

/* judge: may an order leave now? Read at reserve and once more at the gate. */
static int judge(const struct ledger *ledger, int reducing, int64_t now_ns)
{
    struct ledger_participant *line = ledger->line;
    uint32_t state;
    int reason;

    if (line == NULL)
        return REJECT_NO_LEDGER;
    state = control_state(LOAD(ledger->shared->header.control));
    if (state == LEDGER_HALTED)
        return REJECT_HALTED;
    if (state != LEDGER_ACTIVE && state != LEDGER_REDUCING)
        return REJECT_NOT_ACTIVE;
    if (LOAD(line->generation) != ledger->generation)
        return REJECT_STALE_GENERATION;
    if (LOAD(line->reconciled_ns) == 0)
        return REJECT_NOT_RECONCILED;
    reason = roll_denies(&ledger->shared->header, line, reducing, now_ns);
    if (reason != REJECT_NONE || reducing)
        return reason;
    if (state == LEDGER_REDUCING || LOAD(line->state) != LEDGER_ACTIVE)
        return REJECT_REDUCING;
    if (now_ns >= LOAD(ledger->shared->header.lease_deadline_ns))
        return REJECT_LEASE_EXPIRED;
    return REJECT_NONE;
}

/* charge_order: makes room for used_after, or says why there is none. */
static int charge_order(struct ledger *ledger, int reducing, const int64_t used_micros[2],
                        int64_t now_ns)
{
    const struct ledger_participant *line = ledger->line;
    int result = 0;

    if (!fits(ledger, used_micros)) {
        if (reducing && used_micros[0] <= ledger->charged_micros[0] &&
            used_micros[1] <= ledger->charged_micros[1])
            return REJECT_NONE;
        result = rights_draw(ledger, used_micros, reducing ? DRAW_REDUCING : DRAW_ORDER, 0);
    }
    if (result == 0) {
        /* A participant that is over its rights asks on until they fit. */
        if (line->state != LEDGER_REDUCING)
            clear_want(ledger);
        return REJECT_NONE;
    }
    if (result == -ENOSPC) {
        ask_for(ledger, used_micros, now_ns);
        return REJECT_BUDGET;
    }
    if (result == -ESTALE)
        return REJECT_STALE_GENERATION;
    return result == -EBUSY ? REJECT_LEDGER_BUSY : REJECT_NO_LEDGER;
}

static void write_slot(struct ledger *ledger, uint16_t index, const struct ledger_order *order,
                       const int64_t used_after_micros[2], uint32_t checksum)
{
    struct ledger_slot *slot = &ledger->line->slots[index];

    STORE(slot->slot_generation, slot->slot_generation + 1);
    __atomic_thread_fence(__ATOMIC_RELEASE);
    slot->client_order_id = order->client_order_id;
    slot->venue = order->venue;
    slot->side = order->side;
    slot->strategy = order->strategy;
    slot->participant_generation = ledger->generation;
    slot->price_e9 = order->price_e9;
    slot->quantity_e9 = order->quantity_e9;
    slot->filled_e9 = 0;
    for (int d = 0; d < 2; d++)
        slot->delta_micros[d] = used_after_micros[d] - ledger->charged_micros[d];
    slot->sent_ns = 0;
    slot->lands_until_ns = 0;
    slot->landed_ns = 0;
    memcpy(slot->symbol, order->symbol, sizeof slot->symbol);
    memcpy(slot->query_id, order->query_id, sizeof slot->query_id);
    slot->crc = checksum;
    ledger->reducing[index] = order->reducing != 0;
    ledger->window_ns[index] = order->window_ns;
    STORE(slot->state, SLOT_RESERVED);
}

int ledger_reserve(struct ledger *ledger, uint32_t *slot, const struct ledger_order *order,
                   const int64_t used_after_micros[2], int64_t now_ns)
{
    /* First of all, because it takes longest and nothing waits for it: it is ready when the slot is
     * written. Computed at the end, from the slot, it costs ten nanoseconds more. */
    uint32_t checksum =
        order_checksum(order, ledger->generation,
                       (uint64_t)used_after_micros[0] - (uint64_t)ledger->charged_micros[0],
                       (uint64_t)used_after_micros[1] - (uint64_t)ledger->charged_micros[1]);
    int reason = judge(ledger, order->reducing, now_ns);
    uint16_t index;

    if (reason != REJECT_NONE)
        return reason;
    if (order->client_order_id == 0 || !amounts_are_valid(used_after_micros))
        return REJECT_BAD_ORDER;
    if (slots_find(ledger, order->client_order_id) != LEDGER_NO_SLOT)
        return REJECT_DUPLICATE;
    if (ledger->free_count == 0)
        return REJECT_NO_SLOT;
    reason = charge_order(ledger, order->reducing, used_after_micros, now_ns);
    if (reason != REJECT_NONE)
        return reason;
    index = ledger->free_slots[ledger->free_count - 1];
    write_slot(ledger, index, order, used_after_micros, checksum);
    store_used(ledger, used_after_micros);
    slots_take(ledger, index, order->client_order_id);
    *slot = index;
    return REJECT_NONE;
}

/* held_slot: the slot when this handle may still write it; a FREE or impossible one is a bug of the
 * caller, and another generation's is not ours any more. */
static struct ledger_slot *held_slot(struct ledger *ledger, uint32_t slot)
{
    if (is_stale(ledger))
        return NULL;
    if (slot >= PROTOCOL_SLOTS || ledger->line->slots[slot].state == SLOT_FREE) {
        ledger_bug(ledger);
        return NULL;
    }
    return &ledger->line->slots[slot];
}

/* lands_until: a window that nobody named has no end. */
static int64_t lands_until(int64_t window_ns, int64_t now_ns)
{
    if (window_ns <= 0 || now_ns < 0 || window_ns >= LANDS_UNTIL_NONE - now_ns)
        return LANDS_UNTIL_NONE;
    return now_ns + window_ns;
}

int ledger_gate(struct ledger *ledger, uint32_t slot, const int64_t used_before_micros[2],
                int64_t now_ns)
{
    struct ledger_slot *held = held_slot(ledger, slot);
    int reason;

    if (held == NULL)
        return is_stale(ledger) ? REJECT_STALE_GENERATION : REJECT_BAD_ORDER;
    if (held->state != SLOT_RESERVED) {
        ledger_bug(ledger);
        return REJECT_DUPLICATE;
    }
    /* The slot and its charge are visible before the control word is read for the last time: who
     * halts now either stops this order or finds it among the slots. */
    ledger_fence_full();
    reason = judge(ledger, ledger->reducing[slot], now_ns);
    if (reason == REJECT_NONE) {
        STORE(held->sent_ns, now_ns);
        STORE(held->lands_until_ns, lands_until(ledger->window_ns[slot], now_ns));
        STORE(held->sent_crc, slot_sent_checksum(held));
        STORE(held->state, SLOT_SENT);
        return REJECT_NONE;
    }
    if (reason != REJECT_STALE_GENERATION) {
        STORE(held->state, SLOT_FREE);
        slots_put_back(ledger, (uint16_t)slot);
        if (amounts_are_valid(used_before_micros))
            store_used(ledger, used_before_micros);
        else
            ledger_bug(ledger);
    }
    return reason;
}

void ledger_live(struct ledger *ledger, uint32_t slot)
{
    struct ledger_slot *held = held_slot(ledger, slot);

    if (held == NULL)
        return;
    if (held->state == SLOT_RESERVED) {
        ledger_bug(ledger);
        return;
    }
    /* A later doubt (UNKNOWN) is then about its end, not about its arrival. */
    STORE(held->landed_ns, held->sent_ns);
    STORE(held->state, SLOT_LIVE);
}

void ledger_unknown(struct ledger *ledger, uint32_t slot)
{
    struct ledger_slot *held = held_slot(ledger, slot);

    if (held != NULL)
        STORE(held->state, SLOT_UNKNOWN);
}

void ledger_filled(struct ledger *ledger, uint32_t slot, int64_t filled_e9,
                   const int64_t used_micros[2], const int64_t positions_micros[2], int64_t now_ns)
{
    struct ledger_slot *held = held_slot(ledger, slot);

    if (held == NULL)
        return;
    STORE(held->filled_e9, filled_e9);
    (void)charge_passive(ledger, used_micros, positions_micros, now_ns, 0);
}

void ledger_release(struct ledger *ledger, uint32_t slot, const int64_t used_after_micros[2],
                    const int64_t positions_micros[2], int64_t now_ns)
{
    struct ledger_slot *held = held_slot(ledger, slot);

    if (held == NULL)
        return;
    STORE(held->state, SLOT_FREE);
    slots_put_back(ledger, (uint16_t)slot);
    (void)charge_passive(ledger, used_after_micros, positions_micros, now_ns, 0);
}

/* --- the duty cycle --- */

/* top_up: draws a little ahead of moving marks, so that a rise seldom meets a held lock. */
static void top_up(struct ledger *ledger, const int64_t used_micros[2])
{
    int64_t target[2];
    int low = 0;

    for (int d = 0; d < 2; d++) {
        int64_t chunk = rights_chunk(ledger->shared, d);
        int64_t alloc = ledger->granted_micros[d];
        int64_t open_pool = amount_of(LOAD(ledger->shared->header.limit_micros[d])) -
                            amount_of(LOAD(ledger->shared->header.headroom_micros[d])) -
                            rights_sum(ledger->shared, d);

        target[d] = alloc;
        if (used_micros[d] == 0 || alloc - used_micros[d] >= chunk / 8 || open_pool < chunk ||
            rights_wanted_by_others(ledger, d))
            continue;
        target[d] = alloc + chunk / 4;
        low = 1;
    }
    if (low)
        (void)rights_draw(ledger, target, DRAW_ORDER, 0);
}

int ledger_reprice(struct ledger *ledger, const int64_t used_micros[2],
                   const int64_t positions_micros[2], int64_t now_ns)
{
    int result;

    result = charge_passive(ledger, used_micros, positions_micros, now_ns, 0);
    if (result == -ESTALE || result == -EINVAL)
        return result;
    if (result == 0 && now_ns - ledger->want_since_ns > WANT_NS)
        clear_want(ledger);
    rights_return_idle(ledger);
    if (result == 0)
        top_up(ledger, used_micros);
    return result;
}

void ledger_beat(struct ledger *ledger, int64_t now_ns, int halted)
{
    uint64_t control = LOAD(ledger->shared->header.control);

    if (is_stale(ledger))
        return;
    if (halted && control_state(control) >= LEDGER_CANCEL_ONLY)
        STORE(ledger->line->halt_ack, control_epoch(control));
    STORE(ledger->line->progress, (int64_t)((uint64_t)ledger->line->progress + 1));
    STORE(ledger->line->heartbeat_ns, now_ns);
}
