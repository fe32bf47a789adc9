/*
 * journal_chain.h: the hash chain that shows whether a journal is the one that was written.
 *
 *   records  r1 r2 r3  SEAL a  r4 r5  SEAL b  …
 *   a = SHA-256(32 zero bytes | r1 r2 r3 | SEAL a without its digest and crc)
 *   b = SHA-256(a             | r4 r5    | SEAL b without its digest and crc)
 *
 * A CRC finds what breaks by itself; whoever rewrites a record also rewrites its CRC, and then the
 * next seal no longer fits. Whoever rewrites the seals too is found by the head: the newest seal,
 * of which the home folder and the ledger keep a copy each.
 *
 * A seal holds: the digest in digest, in position_e9 the sequence of the first record that it
 * covers, in quantity_e9 the sequence of the seal before it (0: none). Journals of 0.1.0 have no
 * seals: what they hold is covered by the first seal that is written after them. When the oldest
 * segments were retired, the first seal that is left cannot be checked; it is the chain's anchor.
 *
 * Nothing here allocates or waits. SHA-256 runs only where the journal works off the order path.
 */
#ifndef PURSER_OMS_JOURNAL_CHAIN_H
#define PURSER_OMS_JOURNAL_CHAIN_H

#include <stdbool.h>

#include "../../../bridge/protocol.h"

#define JOURNAL_DIGEST      32
#define JOURNAL_CHAIN_STATE 128

struct journal_chain {
    _Alignas(16) unsigned char state[JOURNAL_CHAIN_STATE]; /* SHA-256 over head and what waits */
    unsigned char head[JOURNAL_DIGEST];                    /* of the last seal; zero before it */
    uint64_t sealed;                                       /* its sequence; 0: none yet */
    uint64_t from;                                         /* first record that waits; 0: none */
    uint64_t first; /* first record of all; above 1 when older ones were retired */
};

void journal_chain_init(struct journal_chain *chain);

/* journal_chain_add: the next record, whole, which is not a seal. */
void journal_chain_add(struct journal_chain *chain, const struct journal_record *record);

/* journal_chain_seal: makes the seal of all that waits. The caller has set its sequence and
 * version, and sets its crc afterwards. */
void journal_chain_seal(struct journal_chain *chain, struct journal_record *seal);

/* journal_chain_check: a seal that was read: true when it fits, and then it is the chain's head. */
bool journal_chain_check(struct journal_chain *chain, const struct journal_record *seal);

/* journal_chain_digest: the digest inside a seal. */
const unsigned char *journal_chain_digest(const struct journal_record *seal);

#endif
