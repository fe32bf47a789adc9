/*
 * http.h: REST calls on the loop, by libcurl's multi interface: connections are kept alive, TLS is
 * verified, redirects are not followed, nothing blocks. For the control path only (snapshots,
 * listen keys, reconciliation, the dead-man switch): libcurl's memory comes from the pool of
 * net/pool.h, and bodies go to buffers that are mapped at start.
 */
#ifndef PURSER_NET_HTTP_H
#define PURSER_NET_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/arena.h"
#include "loop.h"

#define HTTP_REQUESTS 16                /* in flight at most */
#define HTTP_BODY_MAX ((size_t)4 << 20) /* bytes of one answer; more is an error */
#define HTTP_URL      2048
#define HTTP_HEADERS  4

struct http;

struct http_response {
    /* Transport: STATUS_OK: an answer came, see code. STATUS_TIMEOUT, STATUS_IO, STATUS_TLS,
     * STATUS_LIMIT: none came; for a request that changes something the outcome is unknown, unless
     * `sent` is false. */
    int status;
    bool sent;        /* the request, or part of it, may have left */
    long code;        /* HTTP status */
    const char *body; /* NUL-terminated; valid during the call */
    size_t body_length;
    const char *text; /* why, when status is not STATUS_OK */
    int64_t sent_ns, done_ns;
    /* -1: header absent. X-MBX-USED-WEIGHT-1M, X-MBX-ORDER-COUNT-10S, -1M, Retry-After in s */
    int64_t used_weight, order_count_10s, order_count_1m, retry_after_s;
};

struct http_request {
    const char *method;                /* "GET", "POST", "PUT", "DELETE" */
    const char *url;                   /* with the query string; copied */
    const char *body;                  /* NULL: none; copied */
    const char *headers[HTTP_HEADERS]; /* "Name: value", NULL-terminated or full; copied */
    int64_t timeout_ns;                /* for the whole exchange */
    /* A kept-alive connection can turn out to be dead, and libcurl then sends the request again on
     * a new one. Set once for what must not be repeated: it gets a connection of its own. */
    bool once;
    void (*on_done)(void *context, const struct http_response *response);
    void *context;
    uint64_t tag; /* the caller's own, returned by http_tag during on_done */
};

/* http_new: about 120 KB from the arena; one client for one set of trust roots (ca_file NULL or "":
 * the system's). tls_global_init must have run. NULL with status_text on failure. */
struct http *http_new(struct loop *loop, struct arena *arena, const char *ca_file);
void http_free(struct http *http); /* cancels everything, without calling on_done */

/* http_send: STATUS_OK: on_done will be called once, later, from the loop. STATUS_LIMIT: too many
 * in flight or a text too long; nothing was sent. */
int http_send(struct http *http, const struct http_request *request, int64_t now_ns);

/* http_tag: the tag of the request whose on_done runs now. */
uint64_t http_tag(const struct http *http);
int http_in_flight(const struct http *http);

#endif
