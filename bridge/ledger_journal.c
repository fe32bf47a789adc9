/* A participant's line remembers the newest seal of its journal. */
#include <string.h>

#include "ledger_private.h"

/* The sequence is 0 while the digest changes: who is killed between leaves no false one behind. */
void ledger_journal_put(struct ledger *ledger, uint32_t mode, int64_t sequence,
                        const uint8_t head[32])
{
    struct ledger_participant *line = ledger->line;

    if (line == NULL || LOAD(line->generation) != ledger->generation)
        return;
    STORE(line->journal_sequence, (int64_t)0);
    STORE(line->journal_mode, mode + 1);
    memcpy(line->journal_head, head, sizeof line->journal_head);
    STORE(line->journal_sequence, sequence);
}

int64_t ledger_journal_head(const struct ledger *ledger, uint32_t participant, uint32_t mode,
                            uint8_t head[32])
{
    const struct ledger_participant *line;

    if (participant >= PROTOCOL_PARTICIPANTS)
        return 0;
    line = &ledger->shared->participants[participant];
    memcpy(head, line->journal_head, sizeof line->journal_head);
    if (LOAD(line->journal_mode) != mode + 1)
        return 0;
    return LOAD(line->journal_sequence);
}
