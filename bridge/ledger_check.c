#include "channel.h"
#include "ledger_private.h"

#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#define CHECK_TRIES 64

int ledger_boot_id(char out[40])
{
    char text[64];

    memset(out, 0, 40);
    if (read_small_file("/proc/sys/kernel/random/boot_id", text, sizeof text) != 0)
        return -EIO;
    text[strcspn(text, "\n")] = '\0';
    memcpy(out, text, strnlen(text, 39));
    return 0;
}

static const char *header_fault(const struct ledger_header *header)
{
    char boot[40];

    if (LOAD(header->magic) != PROTOCOL_LEDGER_MAGIC)
        return "its first word is not a ledger's";
    if (header->version != PROTOCOL_VERSION || header->layout_hash != protocol_layout_hash())
        return "its layout is not this program's";
    if (header->size != sizeof(struct ledger_shared))
        return "it tells a wrong size of itself";
    if (ledger_boot_id(boot) != 0 || memcmp(boot, header->boot_id, sizeof boot) != 0)
        return "it is not of this boot";
    return NULL;
}

int header_is_ours(const struct ledger_header *header)
{
    return header_fault(header) == NULL;
}

/* rights_fault: judged only where no right changes meanwhile; NULL when one does all the time. */
static const char *rights_fault(const struct ledger_shared *shared)
{
    for (int attempt = 0; attempt < CHECK_TRIES; attempt++) {
        uint64_t before = LOAD(shared->header.alloc_sequence);
        int whole = LOAD(shared->header.rights_checksum) == rights_checksum(shared);
        int sane = rights_are_sane(shared);
        int legal = 1;

        for (int d = 0; d < 2; d++) {
            int64_t limit = LOAD(shared->header.limit_micros[d]);
            int64_t sum = rights_sum(shared, d);

            if (LOAD(shared->header.ceiling_micros[d]) > (sum > limit ? sum : limit))
                legal = 0;
        }
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        if ((before & 1) != 0 || LOAD(shared->header.alloc_sequence) != before) {
            sched_yield();
            continue;
        }
        if (!whole)
            return "limit, headroom, ceiling and rights do not match their checksum";
        if (!sane)
            return "an amount among limit, headroom, ceiling, rights and charges cannot be";
        return legal ? NULL : "the ceiling of all rights is above limit and rights";
    }
    return NULL;
}

int ledger_damage(const struct ledger *ledger, char *text, int text_size)
{
    const struct ledger_shared *shared = ledger->shared;
    const char *faults[4] = {NULL};
    int count = 0;

    if (ledger->capacity < sizeof(struct ledger_shared))
        faults[count++] = "its end is missing";
    if (header_fault(&shared->header) != NULL)
        faults[count++] = header_fault(&shared->header);
    if (rights_fault(shared) != NULL)
        faults[count++] = rights_fault(shared);
    if (ledger_lock_is_damaged(ledger))
        faults[count++] = "its lock is of no known kind, or held by nobody";
    if (text != NULL && text_size > 0)
        text[0] = '\0';
    if (count > 0 && text != NULL && text_size > 0)
        snprintf(text, (size_t)text_size,
                 "the ledger is damaged: %s; keep the ledger file for analysis", faults[0]);
    return count;
}
