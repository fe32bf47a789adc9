/* As in net/sign.c: only OpenSSL's older interface has a state that is a plain struct, so that a
 * running hash needs no heap. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "journal_chain.h"

#include <string.h>

#include <openssl/sha.h>

#include "../base/check.h"

_Static_assert(sizeof(SHA256_CTX) <= JOURNAL_CHAIN_STATE, "the state holds a SHA-256");
_Static_assert(SHA256_DIGEST_LENGTH == JOURNAL_DIGEST, "a digest is 32 bytes");
_Static_assert(sizeof(((struct journal_record *)0)->digest) >= JOURNAL_DIGEST, "a seal's room");

static void begin(struct journal_chain *chain)
{
    SHA256_CTX context;
    SHA256_Init(&context);
    SHA256_Update(&context, chain->head, JOURNAL_DIGEST);
    memcpy(chain->state, &context, sizeof context);
    chain->from = 0;
}

static void update(struct journal_chain *chain, const void *bytes, size_t length)
{
    SHA256_CTX context;
    memcpy(&context, chain->state, sizeof context);
    SHA256_Update(&context, bytes, length);
    memcpy(chain->state, &context, sizeof context);
}

void journal_chain_init(struct journal_chain *chain)
{
    memset(chain, 0, sizeof *chain);
    begin(chain);
}

void journal_chain_add(struct journal_chain *chain, const struct journal_record *record)
{
    if (chain->from == 0)
        chain->from = record->sequence;
    if (chain->first == 0)
        chain->first = record->sequence;
    update(chain, record, sizeof *record);
}

/* The seal's own digest and crc count as zero. */
static void digest_of(const struct journal_chain *chain, const struct journal_record *seal,
                      unsigned char out[JOURNAL_DIGEST])
{
    struct journal_record plain = *seal;
    plain.crc = 0;
    memset(plain.digest, 0, JOURNAL_DIGEST);
    SHA256_CTX context;
    memcpy(&context, chain->state, sizeof context);
    SHA256_Update(&context, &plain, sizeof plain);
    SHA256_Final(out, &context);
}

static void take(struct journal_chain *chain, const struct journal_record *seal)
{
    memcpy(chain->head, seal->digest, JOURNAL_DIGEST);
    chain->sealed = seal->sequence;
    begin(chain);
}

void journal_chain_seal(struct journal_chain *chain, struct journal_record *seal)
{
    CHECK(chain->from != 0 && chain->from < seal->sequence);
    unsigned char digest[JOURNAL_DIGEST];
    seal->kind = JOURNAL_SEAL;
    seal->position_e9 = (int64_t)chain->from;
    seal->quantity_e9 = (int64_t)chain->sealed;
    digest_of(chain, seal, digest);
    memcpy(seal->digest, digest, JOURNAL_DIGEST);
    take(chain, seal);
}

/* Of what it covers, something was retired with the oldest segments. */
static bool is_anchor(const struct journal_chain *chain, const struct journal_record *seal)
{
    return chain->sealed == 0 && chain->first > 1 &&
           (seal->quantity_e9 != 0 || (uint64_t)seal->position_e9 < chain->first);
}

bool journal_chain_check(struct journal_chain *chain, const struct journal_record *seal)
{
    if (chain->first == 0)
        chain->first = seal->sequence;
    if (!is_anchor(chain, seal)) {
        unsigned char digest[JOURNAL_DIGEST];
        if ((uint64_t)seal->quantity_e9 != chain->sealed ||
            (uint64_t)seal->position_e9 != chain->from)
            return false;
        digest_of(chain, seal, digest);
        if (memcmp(digest, seal->digest, JOURNAL_DIGEST) != 0)
            return false;
    }
    take(chain, seal);
    return true;
}

const unsigned char *journal_chain_digest(const struct journal_record *seal)
{
    return (const unsigned char *)seal->digest;
}
