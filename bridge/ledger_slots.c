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

/* add_word: eight bytes more of a CRC-32C, without its final inversion. A slot is words all
 * through; put together in registers they need no loop, and nothing reads back the narrow fields
 * that were only just written. */
static inline uint32_t add_word(uint32_t crc, uint64_t word)
{
#ifdef __SSE4_2__
    return (uint32_t)__builtin_ia32_crc32di(crc, word);
#else
    return ~crc32c_extend(~crc, &word, sizeof word);
#endif
}

static inline uint32_t add_text(uint32_t crc, const char text[32])
{
    for (int i = 0; i < 4; i++) {
        uint64_t word;

        memcpy(&word, text + 8 * i, sizeof word);
        crc = add_word(crc, word);
    }
    return crc;
}

_Static_assert(PROTOCOL_SYMBOL == 32 && PROTOCOL_QUERY_ID == 32, "texts of four words");
_Static_assert(offsetof(struct ledger_slot, venue) == 16 &&
                   offsetof(struct ledger_slot, participant_generation) == 20 &&
                   offsetof(struct ledger_slot, quantity_e9) == 32,
               "client_order_id to quantity are four words");

static inline uint64_t attributes_word(uint16_t venue, uint8_t side, uint8_t strategy,
                                       uint32_t generation)
{
    return (uint64_t)venue | (uint64_t)side << 16 | (uint64_t)strategy << 24 |
           (uint64_t)generation << 32;
}

uint32_t order_checksum(const struct ledger_order *order, uint32_t generation, uint64_t delta_loss,
                        uint64_t delta_notional)
{
    uint32_t crc = add_word(UINT32_MAX, order->client_order_id);

    crc = add_word(crc, attributes_word(order->venue, order->side, order->strategy, generation));
    crc = add_word(crc, (uint64_t)order->price_e9);
    crc = add_word(crc, (uint64_t)order->quantity_e9);
    crc = add_word(add_word(crc, delta_loss), delta_notional);
    return ~add_text(add_text(crc, order->symbol), order->query_id);
}

uint32_t slot_checksum(const struct ledger_slot *slot)
{
    uint32_t crc = add_word(UINT32_MAX, slot->client_order_id);

    crc = add_word(crc, attributes_word(slot->venue, slot->side, slot->strategy,
                                        slot->participant_generation));
    crc = add_word(crc, (uint64_t)slot->price_e9);
    crc = add_word(crc, (uint64_t)slot->quantity_e9);
    crc = add_word(crc, (uint64_t)slot->delta_micros[0]);
    crc = add_word(crc, (uint64_t)slot->delta_micros[1]);
    return ~add_text(add_text(crc, slot->symbol), slot->query_id);
}

uint32_t slot_sent_checksum(const struct ledger_slot *slot)
{
    return ~add_word(add_word(UINT32_MAX, (uint64_t)slot->sent_ns), (uint64_t)slot->lands_until_ns);
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

int slot_is_order(const struct ledger_slot *slot)
{
    return slot->state <= SLOT_UNKNOWN || slot->crc == slot_checksum(slot);
}
