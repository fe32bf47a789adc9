/* The steps of one venue's reconcile; the engine makes the calls. */
#include "reconcile.h"

#include <string.h>

#define NOT_TAKEN_RETRY_NS 100000000

void reconcile_want(struct reconcile *reconcile, int64_t now_ns)
{
    reconcile->phase = RECONCILE_WANTED;
    reconcile->next_ns = now_ns;
}

bool reconcile_due(const struct reconcile *reconcile, int64_t now_ns)
{
    if (reconcile->phase == RECONCILE_WANTED)
        return now_ns >= reconcile->next_ns;
    return reconcile->phase == RECONCILE_ASKED &&
           now_ns - reconcile->asked_ns >
               (reconcile->adopt ? RECONCILE_HISTORY_NS : RECONCILE_TIMEOUT_NS);
}

void reconcile_asked(struct reconcile *reconcile, bool taken, int64_t now_ns, struct oms *oms,
                     const struct venue *venue)
{
    if (!taken) {
        reconcile->phase = RECONCILE_WANTED;
        reconcile->next_ns = now_ns + NOT_TAKEN_RETRY_NS;
        return;
    }
    reconcile->phase = RECONCILE_ASKED;
    reconcile->asked_ns = now_ns;
    memset(reconcile->positions, 0, sizeof reconcile->positions);
    struct oms_entry *entry;
    for (int cursor = 0; (entry = oms_next(oms, &cursor)) != NULL;)
        if (entry->venue == venue)
            entry->seen_open = 0;
}

void reconcile_position_told(struct reconcile *reconcile, uint16_t market, int64_t lots,
                             int64_t entry_ticks)
{
    if (market >= RECONCILE_POSITIONS)
        return;
    reconcile->positions[market] =
        (struct reconcile_position){.lots = lots, .entry_ticks = entry_ticks, .told = true};
}

/* An order sent after the question was asked cannot be in the answer. */
void reconcile_answered(struct reconcile *reconcile, int64_t now_ns, struct oms *oms,
                        const struct venue *venue)
{
    reconcile->phase = RECONCILE_SETTLING;
    struct oms_entry *entry;
    for (int cursor = 0; (entry = oms_next(oms, &cursor)) != NULL;) {
        if (entry->venue != venue || entry->seen_open ||
            entry->order.sent_ns >= reconcile->asked_ns)
            continue;
        entry->unlisted = 1;
        if (oms_make_unknown(oms, entry, now_ns))
            entry->order.next_query_ns = now_ns;
    }
}

bool reconcile_settled(const struct reconcile *reconcile, struct oms *oms,
                       const struct venue *venue)
{
    if (reconcile->phase != RECONCILE_SETTLING)
        return false;
    struct oms_entry *entry;
    for (int cursor = 0; (entry = oms_next(oms, &cursor)) != NULL;)
        if (entry->venue == venue && (entry->left_behind || entry->order.state == ORDER_UNKNOWN))
            return false;
    return true;
}

/* Venues number executions upward; a longer number is a later one. */
void reconcile_execution(struct reconcile *reconcile, const char *execution_id)
{
    char *since = reconcile->since;
    size_t known = strnlen(since, sizeof reconcile->since);
    size_t length = strnlen(execution_id, sizeof reconcile->since - 1);
    if (length < known || (length == known && strncmp(execution_id, since, length) <= 0))
        return;
    memset(since, 0, sizeof reconcile->since);
    memcpy(since, execution_id, length);
}

bool reconcile_mismatch(struct reconcile *reconcile, int64_t now_ns)
{
    reconcile->mismatches++;
    reconcile_want(reconcile, now_ns);
    reconcile->next_ns = now_ns + RECONCILE_RETRY_NS;
    return reconcile->mismatches >= RECONCILE_MISMATCHES;
}
