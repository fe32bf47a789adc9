#include "crc32c.h"
#include "ledger_private.h"

#include <errno.h>

/* A draw takes this fraction of the limit more than it needs, so that the next orders need none. */
#define CHUNK_FRACTION 64
/* Idle rights above this many chunks go back unasked, all but one of them: the gap between the two
 * keeps a participant whose need swings a little from drawing and returning all the time. */
#define IDLE_CHUNKS 3

/* --- whole or damaged --- */

uint64_t rights_checksum(const struct ledger_shared *shared)
{
    int64_t amounts[2 * (3 + PROTOCOL_PARTICIPANTS)];
    int count = 0;

    for (int d = 0; d < 2; d++) {
        amounts[count++] = LOAD(shared->header.limit_micros[d]);
        amounts[count++] = LOAD(shared->header.headroom_micros[d]);
        amounts[count++] = LOAD(shared->header.ceiling_micros[d]);
        for (int i = 0; i < PROTOCOL_PARTICIPANTS; i++)
            amounts[count++] = LOAD(shared->participants[i].alloc_micros[d]);
    }
    return crc32c(amounts, sizeof amounts);
}

int rights_are_sane(const struct ledger_shared *shared)
{
    for (int d = 0; d < 2; d++) {
        int64_t limit = LOAD(shared->header.limit_micros[d]);
        int64_t headroom = LOAD(shared->header.headroom_micros[d]);
        int64_t ceiling = LOAD(shared->header.ceiling_micros[d]);

        if (!amount_is_valid(limit) || !amount_is_valid(headroom) || headroom > limit ||
            !amount_is_valid(ceiling))
            return 0;
        for (int i = 0; i < PROTOCOL_PARTICIPANTS; i++)
            if (!amount_is_valid(LOAD(shared->participants[i].alloc_micros[d])) ||
                !amount_is_valid(LOAD(shared->participants[i].used_micros[d])))
                return 0;
        if (rights_sum(shared, d) > ceiling)
            return 0;
    }
    return 1;
}

int rights_are_whole(const struct ledger_shared *shared)
{
    return LOAD(shared->header.rights_checksum) == rights_checksum(shared) &&
           rights_are_sane(shared);
}

void rights_repair(struct ledger_shared *shared)
{
    /* Rights that were given back just before the end take the ceiling with them. */
    rights_lower_ceiling(shared);
    STORE(shared->header.rights_checksum, rights_checksum(shared));
    STORE(shared->header.alloc_sequence, LOAD(shared->header.alloc_sequence) + 1);
}

/* change_begins: the caller has seen that the rights are whole. */
static void change_begins(struct ledger_shared *shared)
{
    __atomic_store_n(&shared->header.alloc_sequence, LOAD(shared->header.alloc_sequence) | 1,
                     __ATOMIC_RELAXED);
    /* No store of a right moves up before the odd number: a release fence would do. */
    ledger_fence_full();
}

int rights_begin(struct ledger_shared *shared)
{
    if (!rights_are_whole(shared))
        return -EBADMSG;
    change_begins(shared);
    return 0;
}

void rights_end(struct ledger_shared *shared)
{
    STORE(shared->header.rights_checksum, rights_checksum(shared));
    STORE(shared->header.alloc_sequence, (LOAD(shared->header.alloc_sequence) | 1) + 1);
}

/* --- amounts --- */

int64_t rights_chunk(const struct ledger_shared *shared, int dimension)
{
    return amount_of(LOAD(shared->header.limit_micros[dimension])) / CHUNK_FRACTION;
}

int64_t rights_sum(const struct ledger_shared *shared, int dimension)
{
    int64_t sum = 0;

    for (int i = 0; i < PROTOCOL_PARTICIPANTS; i++)
        sum += amount_of(LOAD(shared->participants[i].alloc_micros[dimension]));
    return sum;
}

void rights_lower_ceiling(struct ledger_shared *shared)
{
    for (int d = 0; d < 2; d++) {
        int64_t limit = shared->header.limit_micros[d];
        int64_t sum = rights_sum(shared, d);
        int64_t legal = sum > limit ? sum : limit;

        if (legal < shared->header.ceiling_micros[d])
            STORE(shared->header.ceiling_micros[d], legal);
    }
}

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* grant_one: how far alloc of one dimension rises; -1 when an all-or-nothing draw does not fit. */
static int64_t grant_one(const struct ledger *ledger, int dimension, int64_t used,
                         enum draw_mode mode)
{
    const struct ledger_header *header = &ledger->shared->header;
    int64_t most = smaller(header->limit_micros[dimension], header->ceiling_micros[dimension]);
    int64_t pool = most - rights_sum(ledger->shared, dimension);
    int64_t open_pool = pool - header->headroom_micros[dimension];
    int64_t need = used - ledger->granted_micros[dimension];
    int64_t spare = open_pool - need;

    if (need <= 0)
        return 0;
    if (need > (mode == DRAW_ORDER ? open_pool : pool)) {
        if (mode == DRAW_PASSIVE)
            return pool > 0 ? pool : 0;
        return -1;
    }
    if (spare <= 0 || rights_wanted_by_others(ledger, dimension))
        return need;
    return need + smaller(rights_chunk(ledger->shared, dimension), spare);
}

/* damaged: nobody may go on under rights that are not as they were left. */
static int damaged(struct ledger *ledger)
{
    (void)ledger_halt(ledger, HALT_LEDGER);
    return -EBADMSG;
}

/* own_rights_differ: the line does not hold what this handle stored there last. */
static int own_rights_differ(const struct ledger *ledger)
{
    return LOAD(ledger->line->alloc_micros[0]) != ledger->granted_micros[0] ||
           LOAD(ledger->line->alloc_micros[1]) != ledger->granted_micros[1];
}

static void store_rights(struct ledger *ledger, int dimension, int64_t micros)
{
    STORE(ledger->line->alloc_micros[dimension], micros);
    ledger->granted_micros[dimension] = micros;
}

/* draw_locked: the draw itself, with the lock held. The checksum is looked at for each draw and not
 * for each order: an order that needs no draw is judged by this handle's own memory of its rights,
 * and those were granted when everything was whole. */
static int draw_locked(struct ledger *ledger, const int64_t used_micros[2], enum draw_mode mode)
{
    int64_t grant[2];
    int result = 0;

    if (LOAD(ledger->line->generation) != ledger->generation)
        return -ESTALE;
    if (!rights_are_whole(ledger->shared) || own_rights_differ(ledger))
        return damaged(ledger);
    for (int d = 0; d < 2; d++) {
        grant[d] = grant_one(ledger, d, used_micros[d], mode);
        if (grant[d] < 0)
            return -ENOSPC;
        if (ledger->granted_micros[d] + grant[d] < used_micros[d])
            result = -ENOSPC;
    }
    if (grant[0] == 0 && grant[1] == 0)
        return result;
    change_begins(ledger->shared);
    for (int d = 0; d < 2; d++)
        store_rights(ledger, d, ledger->granted_micros[d] + grant[d]);
    rights_end(ledger->shared);
    return result;
}

int rights_draw(struct ledger *ledger, const int64_t used_micros[2], enum draw_mode mode, int wait)
{
    int result = ledger_lock(ledger, wait);

    if (result != 0)
        return result;
    result = draw_locked(ledger, used_micros, mode);
    ledger_unlock(ledger->shared);
    return result;
}

static int lower_locked(struct ledger *ledger, const int64_t keep_micros[2])
{
    if (LOAD(ledger->line->generation) != ledger->generation)
        return -ESTALE;
    if (own_rights_differ(ledger) || rights_begin(ledger->shared) != 0)
        return damaged(ledger);
    for (int d = 0; d < 2; d++) {
        int64_t charged = ledger->charged_micros[d];
        int64_t floor = keep_micros[d] > charged ? keep_micros[d] : charged;

        if (floor < ledger->granted_micros[d])
            store_rights(ledger, d, floor);
    }
    rights_lower_ceiling(ledger->shared);
    rights_end(ledger->shared);
    return 0;
}

int rights_lower(struct ledger *ledger, const int64_t keep_micros[2], int wait)
{
    int result = ledger_lock(ledger, wait);

    if (result != 0)
        return result;
    result = lower_locked(ledger, keep_micros);
    ledger_unlock(ledger->shared);
    return result;
}

int rights_wanted_by_others(const struct ledger *ledger, int dimension)
{
    for (uint32_t i = 0; i < PROTOCOL_PARTICIPANTS; i++)
        if (i != ledger->participant &&
            LOAD(ledger->shared->participants[i].want_micros[dimension]) > 0)
            return 1;
    return 0;
}

void rights_return_idle(struct ledger *ledger)
{
    const struct ledger_header *header = &ledger->shared->header;
    int64_t keep[2];
    int lower = 0;

    for (int d = 0; d < 2; d++) {
        int64_t chunk = rights_chunk(ledger->shared, d);
        int64_t used = ledger->charged_micros[d];
        int64_t alloc = ledger->granted_micros[d];
        int64_t open_limit =
            amount_of(LOAD(header->limit_micros[d])) - amount_of(LOAD(header->headroom_micros[d]));

        keep[d] = alloc;
        if (alloc <= used)
            continue;
        if (rights_sum(ledger->shared, d) > open_limit || rights_wanted_by_others(ledger, d))
            keep[d] = used;
        else if (alloc - used > IDLE_CHUNKS * chunk)
            keep[d] = used + chunk;
        lower |= keep[d] < alloc;
    }
    if (lower)
        (void)rights_lower(ledger, keep, 0);
}
