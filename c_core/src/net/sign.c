/* The SHA-256 state must be copied, and copied without the heap. Only OpenSSL's older interface has
 * a state that is a plain struct; its successor allocates a context per copy. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "sign.h"

#include <string.h>

#include <openssl/crypto.h>
#include <openssl/sha.h>

#define BLOCK 64

_Static_assert(sizeof(SHA256_CTX) <= SIGN_STATE, "SIGN_STATE holds a SHA-256 state");

static void hash_pad(unsigned char *state, const unsigned char block[BLOCK], unsigned char pad)
{
    unsigned char padded[BLOCK];
    for (int i = 0; i < BLOCK; i++)
        padded[i] = block[i] ^ pad;
    SHA256_CTX context;
    SHA256_Init(&context);
    SHA256_Update(&context, padded, BLOCK);
    memcpy(state, &context, sizeof context);
    OPENSSL_cleanse(padded, sizeof padded);
    OPENSSL_cleanse(&context, sizeof context);
}

void sign_init(struct sign_key *key, const char *secret, size_t length)
{
    unsigned char block[BLOCK] = {0};
    if (length > BLOCK)
        SHA256((const unsigned char *)secret, length, block);
    else if (length > 0)
        memcpy(block, secret, length);
    hash_pad(key->inner, block, 0x36);
    hash_pad(key->outer, block, 0x5c);
    OPENSSL_cleanse(block, sizeof block);
}

void sign_hex(const struct sign_key *key, char out[SIGN_HEX + 1], const char *bytes, size_t length)
{
    static const char digits[] = "0123456789abcdef";
    unsigned char digest[SHA256_DIGEST_LENGTH];
    SHA256_CTX context;
    memcpy(&context, key->inner, sizeof context);
    SHA256_Update(&context, bytes, length);
    SHA256_Final(digest, &context);
    memcpy(&context, key->outer, sizeof context);
    SHA256_Update(&context, digest, sizeof digest);
    SHA256_Final(digest, &context);
    for (int i = 0; i < SHA256_DIGEST_LENGTH; i++) {
        out[2 * i] = digits[digest[i] >> 4];
        out[2 * i + 1] = digits[digest[i] & 15];
    }
    out[SIGN_HEX] = '\0';
}

void sign_wipe(struct sign_key *key)
{
    OPENSSL_cleanse(key, sizeof *key);
}
