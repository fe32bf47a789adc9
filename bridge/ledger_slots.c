#include "crc32c.h"
#include "ledger_private.h"

#include <string.h>

#define COPY_TRIES 64

static uint32_t bucket_of(uint64_t client_order_id)
{
    return (uint32_t)((client_order_id * 0x9E3779B97F4A7C15ULL) >> 55);
}

_Static_assert(LEDGER_BUCKETS == 1 << 9, "bucket_of keeps nine bits");

static void chain(struct ledger *ledger, uint16_t slot, uint64_t client_order_id)
{
    uint32_t bucket = bucket_of(client_order_id);

    ledger->next[slot] = ledger->buckets[bucket];
    ledger->buckets[bucket] = slot;
}

void slots_index(struct ledger *ledger)
{
    ledger->free_count = 0;
    for (int b = 0; b < LEDGER_BUCKETS; b++)
        ledger->buckets[b] = LEDGER_NO_SLOT;
    /* Backwards, so that the stack hands out low slots first. */
    for (int s = PROTOCOL_SLOTS - 1; s >= 0; s--) {
        const struct ledger_slot *slot = &ledger->line->slots[s];

        ledger->reducing[s] = 0;
        if (LOAD(slot->state) == SLOT_FREE)
            ledger->free_slots[ledger->free_count++] = (uint16_t)s;
        else
            chain(ledger, (uint16_t)s, slot->client_order_id);
    }
}

uint16_t slots_find(const struct ledger *ledger, uint64_t client_order_id)
{
    uint16_t slot = ledger->buckets[bucket_of(client_order_id)];

    while (slot != LEDGER_NO_SLOT && ledger->line->slots[slot].client_order_id != client_order_id)
        slot = ledger->next[slot];
    return slot;
}

void slots_take(struct ledger *ledger, uint16_t slot, uint64_t client_order_id)
{
    ledger->free_count--;
    chain(ledger, slot, client_order_id);
}

void slots_put_back(struct ledger *ledger, uint16_t slot)
{
    uint16_t *link = &ledger->buckets[bucket_of(ledger->line->slots[slot].client_order_id)];

    while (*link != slot && *link != LEDGER_NO_SLOT)
        link = &ledger->next[*link];
    if (*link == slot)
        *link = ledger->next[slot];
    ledger->free_slots[ledger->free_count++] = slot;
}

uint32_t slot_checksum(const struct ledger_slot *slot)
{
    const size_t head = offsetof(struct ledger_slot, client_order_id);
    uint32_t crc;

    /* client_order_id to quantity, the charge and the names: what stays as long as the order. */
    crc = crc32c(&slot->client_order_id, offsetof(struct ledger_slot, filled_e9) - head);
    crc = crc32c_extend(crc, slot->delta_micros, sizeof slot->delta_micros);
    crc = crc32c_extend(crc, slot->symbol, sizeof slot->symbol);
    return crc32c_extend(crc, slot->query_id, sizeof slot->query_id);
}

uint32_t slot_sent_checksum(const struct ledger_slot *slot)
{
    return crc32c_extend(crc32c(&slot->sent_ns, sizeof slot->sent_ns), &slot->lands_until_ns,
                         sizeof slot->lands_until_ns);
}

int slots_disown(struct ledger_participant *line)
{
    int charged = 0;

    for (int s = 0; s < PROTOCOL_SLOTS; s++) {
        uint32_t state = LOAD(line->slots[s].state);

        if (state == SLOT_RESERVED)
            STORE(line->slots[s].state, SLOT_FREE);
        else if (state == SLOT_SENT || state == SLOT_LIVE)
            STORE(line->slots[s].state, SLOT_UNKNOWN);
        if (state != SLOT_FREE && state != SLOT_RESERVED)
            charged++;
    }
    return charged;
}

int slot_copy(const struct ledger_slot *slot, struct ledger_slot *out)
{
    for (int attempt = 0; attempt < COPY_TRIES; attempt++) {
        uint32_t generation = LOAD(slot->slot_generation);
        uint32_t state = LOAD(slot->state);

        if (state == SLOT_FREE)
            return 0;
        memcpy(out, slot, sizeof *out);
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        /* The same state before and after: then all that was stored before it is in the copy, which
         * a SENT that arrived in the middle of the copy would not promise. */
        if (LOAD(slot->state) == state && LOAD(slot->slot_generation) == generation)
            return 1;
    }
    return 0;
}
