/*
 * tls.h: a non-blocking client byte stream: TLS by OpenSSL, or plain TCP for ws:// and http://.
 *
 * Security: the peer's chain and its name (or IP address) are always verified, TLS 1.2 at least,
 * AES-GCM suites preferred (2.2 times cheaper than ChaCha20 on machines with AES instructions). A
 * custom CA file replaces the system's roots. There is no switch to turn verification off.
 *
 * Memory: tls_global_init hands OpenSSL a size-class pool, so reads and writes in the steady state
 * make no heap call. It must run before anything else in the process touches OpenSSL or libcurl.
 *
 * Name resolution: numeric addresses and localhost at once; other names in a thread of their own,
 * because getaddrinfo can block for seconds and trading must not. While it runs, tls_fd is an
 * eventfd; the caller re-registers when the descriptor changes (websocket.c does).
 */
#ifndef PURSER_NET_TLS_H
#define PURSER_NET_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TLS_HOST 128
#define TLS_PORT 8

struct ssl_st;
struct ssl_ctx_st;
struct tls_lookup;

enum tls_state {
    TLS_CLOSED = 0,
    TLS_RESOLVING = 1,
    TLS_CONNECTING = 2,
    TLS_HANDSHAKE = 3,
    TLS_OPEN = 4
};

/* The trust and cipher settings that connections share. */
struct tls_context {
    struct ssl_ctx_st *ssl_context;
    char ca_file[256]; /* empty: the system's roots */
};

struct tls {
    int state; /* enum tls_state */
    int fd;    /* -1 when closed */
    bool wants_write;
    struct ssl_st *ssl; /* NULL: plain TCP */
    struct tls_context *context;
    struct tls_lookup *lookup;
    char host[TLS_HOST];
    char port[TLS_PORT];
};

/* tls_global_init: installs the memory pool and ignores SIGPIPE. STATUS_OK, or STATUS_TLS when
 * OpenSSL was used before. A second call is a no-op. */
int tls_global_init(void);

/* tls_context_init: ca_file NULL or "": the system's roots. STATUS_TLS with a sentence when the
 * file cannot be read. */
int tls_context_init(struct tls_context *context, const char *ca_file);
void tls_context_fini(struct tls_context *context);

/* tls_connect: starts to connect, in place; context NULL means plain TCP. Returns at once with
 * STATUS_AGAIN (go on with tls_advance when tls_fd is ready), or an error. */
int tls_connect(struct tls *tls, struct tls_context *context, const char *host, const char *port);

/* tls_advance: goes on with resolving, connecting and the handshake. STATUS_OK once, when data can
 * flow; STATUS_AGAIN: wait for tls_events on tls_fd; else an error, with status_text saying what.
 */
int tls_advance(struct tls *tls);

int tls_fd(const struct tls *tls);
uint32_t tls_events(const struct tls *tls); /* EPOLLIN, and EPOLLOUT when it waits to write */

/* tls_read: bytes > 0, STATUS_AGAIN, STATUS_CLOSED, or an error. Read until STATUS_AGAIN: OpenSSL
 * reads ahead, so epoll alone does not tell that data is left. */
int64_t tls_read(struct tls *tls, void *bytes, size_t capacity);
/* tls_write: the number of bytes taken, STATUS_AGAIN when none (offer the same bytes again), or an
 * error. */
int64_t tls_write(struct tls *tls, const void *bytes, size_t length);

/* tls_close: says goodbye if that does not block, and closes. Harmless when closed. */
void tls_close(struct tls *tls);

#endif
