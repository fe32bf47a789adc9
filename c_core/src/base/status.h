/*
 * status.h: how the world's failures are reported: a negative status and a chain of sentences that
 * the origin starts (STATUS_SET) and callers extend while unwinding (STATUS_ADD). Read once, at
 * session level, with status_text().
 */
#ifndef PURSER_BASE_STATUS_H
#define PURSER_BASE_STATUS_H

enum status {
    STATUS_OK = 0,
    STATUS_AGAIN = -1,  /* would block: not an error */
    STATUS_CLOSED = -2, /* the peer or we closed it */
    STATUS_IO = -3,
    STATUS_PROTOCOL = -4, /* bytes that break the protocol */
    STATUS_LIMIT = -5,    /* a fixed limit is reached */
    STATUS_CONFIG = -6,
    STATUS_CREDENTIALS = -7,
    STATUS_TIMEOUT = -8,
    STATUS_TLS = -9,
    STATUS_REFUSED = -10,
};

/* status_set: starts a new chain for this thread and returns code. status_add appends ": text". */
int status_set(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));
int status_add(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));
const char *status_text(void);

#endif
