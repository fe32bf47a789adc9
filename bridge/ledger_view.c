#include "ledger_private.h"

#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#define SNAPSHOT_TRIES 512
#define SNAPSHOT_YIELD 32
#define AUDIT_PICTURES 3

uint32_t ledger_state_now(const struct ledger *ledger)
{
    return control_state(LOAD(ledger->shared->header.control));
}

uint32_t ledger_epoch_now(const struct ledger *ledger)
{
    return control_epoch(LOAD(ledger->shared->header.control));
}

static void view_line(struct ledger_participant_view *out, const struct ledger_participant *line)
{
    for (int d = 0; d < 2; d++) {
        out->used_micros[d] = LOAD(line->used_micros[d]);
        out->positions_micros[d] = LOAD(line->positions_micros[d]);
        out->alloc_micros[d] = LOAD(line->alloc_micros[d]);
        out->want_micros[d] = LOAD(line->want_micros[d]);
    }
    out->heartbeat_ns = LOAD(line->heartbeat_ns);
    out->progress = LOAD(line->progress);
    out->pid = LOAD(line->pid);
    out->start_time = LOAD(line->start_time);
    out->reconciled_ns = LOAD(line->reconciled_ns);
    out->halt_ack = LOAD(line->halt_ack);
    out->state = LOAD(line->state);
    out->generation = LOAD(line->generation);
}

static void view_all(struct ledger_view *out, const struct ledger_shared *shared)
{
    for (int i = 0; i < PROTOCOL_PARTICIPANTS; i++)
        view_line(&out->participants[i], &shared->participants[i]);
    for (int d = 0; d < 2; d++) {
        out->limit_micros[d] = LOAD(shared->header.limit_micros[d]);
        out->headroom_micros[d] = LOAD(shared->header.headroom_micros[d]);
    }
}

static uint32_t slots_in_use(const struct ledger_participant *line)
{
    uint32_t count = 0;

    for (int s = 0; s < PROTOCOL_SLOTS; s++)
        count += LOAD(line->slots[s].state) != SLOT_FREE;
    return count;
}

void ledger_glance(const struct ledger *ledger, struct ledger_view *out, int64_t now_ns)
{
    const struct ledger_shared *shared = ledger->shared;
    uint64_t control;

    memset(out, 0, sizeof *out);
    for (int attempt = 1; attempt <= SNAPSHOT_TRIES && out->consistent == 0; attempt++) {
        uint64_t before = LOAD(shared->header.alloc_sequence);

        view_all(out, shared);
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        out->consistent = (before & 1) == 0 && LOAD(shared->header.alloc_sequence) == before;
        if (out->consistent == 0 && attempt % SNAPSHOT_YIELD == 0)
            sched_yield();
    }
    control = LOAD(shared->header.control);
    out->epoch = control_epoch(control);
    out->reason = control_reason(control);
    out->state = control_state(control);
    out->supervisor_heartbeat_ns = LOAD(shared->header.supervisor_heartbeat_ns);
    out->lease_deadline_ns = LOAD(shared->header.lease_deadline_ns);
    out->taken_ns = now_ns;
}

void ledger_snapshot(const struct ledger *ledger, struct ledger_view *out, int64_t now_ns)
{
    ledger_glance(ledger, out, now_ns);
    /* With a halt in the copy, the slots are counted as they are after it (see ledger_gate). */
    ledger_fence_full();
    for (int i = 0; i < PROTOCOL_PARTICIPANTS; i++)
        out->participants[i].open_orders = slots_in_use(&ledger->shared->participants[i]);
}

int ledger_slots(const struct ledger *ledger, uint32_t participant, struct ledger_slot *out,
                 int max)
{
    int count = 0;

    if (participant >= PROTOCOL_PARTICIPANTS)
        return 0;
    /* Whoever read of a halt and now asks for the slots sees every order that passed its gate. */
    ledger_fence_full();
    for (int s = 0; s < PROTOCOL_SLOTS && count < max; s++)
        count += slot_copy(&ledger->shared->participants[participant].slots[s], &out[count]) &&
                 slot_is_order(&out[count]);
    return count;
}

int ledger_slot_is_whole(const struct ledger_slot *slot)
{
    return slot->state <= SLOT_UNKNOWN && slot->crc == slot_checksum(slot);
}

int ledger_slot_landing_is_whole(const struct ledger_slot *slot)
{
    return slot->sent_crc == slot_sent_checksum(slot);
}

int ledger_find(const struct ledger *ledger, uint64_t client_order_id, uint32_t *slot)
{
    for (uint32_t s = 0; ledger->line != NULL && s < PROTOCOL_SLOTS; s++) {
        const struct ledger_slot *found = &ledger->line->slots[s];

        if (LOAD(found->state) != SLOT_FREE && found->client_order_id == client_order_id) {
            *slot = s;
            return 0;
        }
    }
    return -ENOENT;
}

int64_t ledger_lands_until(const struct ledger *ledger, uint64_t client_order_id)
{
    struct ledger_slot copy;
    uint32_t slot;

    if (ledger_find(ledger, client_order_id, &slot) != 0 ||
        !slot_copy(&ledger->line->slots[slot], &copy) || copy.client_order_id != client_order_id ||
        copy.sent_ns <= 0 || !ledger_slot_landing_is_whole(&copy))
        return LANDS_UNTIL_UNTOLD;
    return copy.lands_until_ns;
}

/* --- audit: each finding is counted, and the first one's sentence is kept --- */

struct audit {
    int violations;
    char *text;
    int text_size;
};

static void audit_add(struct audit *audit, const char *what, int participant, int64_t have,
                      int64_t allowed)
{
    if (audit->violations++ == 0 && audit->text != NULL && audit->text_size > 0)
        snprintf(audit->text, (size_t)audit->text_size,
                 "%s (participant %d: %" PRId64 ", allowed %" PRId64
                 "); halt with `control kill` and keep the ledger file for analysis",
                 what, participant, have, allowed);
}

/* audit_view: checks I1 and used <= alloc on one snapshot. */
static void audit_view(struct audit *audit, const struct ledger_view *view,
                       const int64_t ceiling[2])
{
    for (int d = 0; d < 2; d++) {
        int64_t sum = 0;

        for (int i = 0; i < PROTOCOL_PARTICIPANTS; i++) {
            const struct ledger_participant_view *line = &view->participants[i];

            sum += amount_of(line->alloc_micros[d]);
            if (line->alloc_micros[d] < 0 || line->used_micros[d] < 0)
                audit_add(audit, "an amount is negative", i, line->used_micros[d], 0);
            if (line->used_micros[d] > line->alloc_micros[d] && line->state != LEDGER_REDUCING)
                audit_add(audit, "more is used than the participant holds rights for", i,
                          line->used_micros[d], line->alloc_micros[d]);
        }
        if (sum > ceiling[d])
            audit_add(audit, "the rights of all participants are above the limit", -1, sum,
                      ceiling[d]);
    }
}

/* audit_amounts: a finding counts only when it stands in each of several pictures, because an owner
 * may leave REDUCING between the reading of its amounts and of its state. */
static void audit_amounts(struct audit *audit, const struct ledger *ledger)
{
    struct audit trial = {.violations = 1};

    for (int attempt = 0; attempt < AUDIT_PICTURES && trial.violations > 0; attempt++) {
        int64_t ceiling[2];
        struct ledger_view view;

        trial = (struct audit){.text = audit->text, .text_size = audit->text_size};
        for (int d = 0; d < 2; d++)
            ceiling[d] = LOAD(ledger->shared->header.ceiling_micros[d]);
        ledger_snapshot(ledger, &view, 0);
        if (view.consistent)
            audit_view(&trial, &view, ceiling);
    }
    audit->violations += trial.violations;
    if (trial.violations == 0 && audit->text != NULL && audit->text_size > 0)
        audit->text[0] = '\0';
}

static void audit_line(struct audit *audit, const struct ledger_participant *line, int participant)
{
    struct ledger_slot slots[PROTOCOL_SLOTS];
    int count = 0;

    for (int s = 0; s < PROTOCOL_SLOTS; s++)
        count += slot_copy(&line->slots[s], &slots[count]);
    for (int i = 0; i < count; i++) {
        if (slots[i].state > SLOT_UNKNOWN)
            audit_add(audit, "a slot is in no known state", participant, slots[i].state,
                      SLOT_UNKNOWN);
        if (slots[i].crc != slot_checksum(&slots[i]))
            audit_add(audit, "a slot's checksum is wrong", participant, slots[i].crc,
                      slot_checksum(&slots[i]));
        if (slots[i].participant_generation > LOAD(line->generation))
            audit_add(audit, "a slot is of a generation to come", participant,
                      slots[i].participant_generation, LOAD(line->generation));
        for (int j = 0; j < i; j++)
            if (slots[j].client_order_id == slots[i].client_order_id)
                audit_add(audit, "an order holds two slots", participant, 2, 1);
    }
}

int ledger_audit(const struct ledger *ledger, char *text, int text_size)
{
    struct audit audit = {.violations = 0, .text = text, .text_size = text_size};

    if (text != NULL && text_size > 0)
        text[0] = '\0';
    audit_amounts(&audit, ledger);
    if (audit.violations == 0)
        audit.violations += ledger_damage(ledger, text, text_size);
    for (int i = 0; i < PROTOCOL_PARTICIPANTS; i++)
        audit_line(&audit, &ledger->shared->participants[i], i);
    return audit.violations;
}
