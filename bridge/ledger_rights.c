#include "ledger_private.h"

#include <errno.h>

/* A draw takes this fraction of the limit more than it needs, so that the next orders need none. */
#define CHUNK_FRACTION 64
/* Idle rights above this many chunks go back unasked, all but one of them: the gap between the two
 * keeps a participant whose need swings a little from drawing and returning all the time. */
#define IDLE_CHUNKS 3

int64_t rights_chunk(const struct ledger_shared *shared, int dimension)
{
    return LOAD(shared->header.limit_micros[dimension]) / CHUNK_FRACTION;
}

int64_t rights_sum(const struct ledger_shared *shared, int dimension)
{
    int64_t sum = 0;

    for (int i = 0; i < PROTOCOL_PARTICIPANTS; i++)
        sum += LOAD(shared->participants[i].alloc_micros[dimension]);
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
    int64_t pool = header->limit_micros[dimension] - rights_sum(ledger->shared, dimension);
    int64_t open_pool = pool - header->headroom_micros[dimension];
    int64_t need = used - ledger->line->alloc_micros[dimension];
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

/* draw_locked: the draw itself, with the lock held. */
static int draw_locked(struct ledger *ledger, const int64_t used_micros[2], enum draw_mode mode)
{
    struct ledger_participant *line = ledger->line;
    int64_t grant[2];
    int result = 0;

    if (line->generation != ledger->generation)
        return -ESTALE;
    for (int d = 0; d < 2; d++) {
        grant[d] = grant_one(ledger, d, used_micros[d], mode);
        if (grant[d] < 0)
            return -ENOSPC;
        if (line->alloc_micros[d] + grant[d] < used_micros[d])
            result = -ENOSPC;
    }
    if (grant[0] == 0 && grant[1] == 0)
        return result;
    rights_begin(ledger->shared);
    for (int d = 0; d < 2; d++)
        STORE(line->alloc_micros[d], line->alloc_micros[d] + grant[d]);
    rights_end(ledger->shared);
    return result;
}

int rights_draw(struct ledger *ledger, const int64_t used_micros[2], enum draw_mode mode, int wait)
{
    int result = wait ? ledger_lock_wait(ledger->shared) : ledger_lock_try(ledger->shared);

    if (result != 0)
        return result;
    result = draw_locked(ledger, used_micros, mode);
    ledger_unlock(ledger->shared);
    return result;
}

int rights_lower(struct ledger *ledger, const int64_t keep_micros[2], int wait)
{
    struct ledger_participant *line = ledger->line;
    int result = wait ? ledger_lock_wait(ledger->shared) : ledger_lock_try(ledger->shared);

    if (result != 0)
        return result;
    if (line->generation != ledger->generation) {
        ledger_unlock(ledger->shared);
        return -ESTALE;
    }
    rights_begin(ledger->shared);
    for (int d = 0; d < 2; d++) {
        int64_t used = LOAD(line->used_micros[d]);
        int64_t floor = keep_micros[d] > used ? keep_micros[d] : used;

        if (floor < line->alloc_micros[d])
            STORE(line->alloc_micros[d], floor);
    }
    rights_lower_ceiling(ledger->shared);
    rights_end(ledger->shared);
    ledger_unlock(ledger->shared);
    return 0;
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
        int64_t used = LOAD(ledger->line->used_micros[d]);
        int64_t alloc = LOAD(ledger->line->alloc_micros[d]);
        int64_t open_limit = LOAD(header->limit_micros[d]) - LOAD(header->headroom_micros[d]);

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
