/*
 * log.h: one line per event, for people and grep:
 *
 *     2026-11-25T01:35:07.123456Z warning book_resynced BTCUSDT: gap after 512310...
 *
 * Names are past tense. Never on the hot path: a line is a formatted write(2). Lines of one name
 * are limited to LOG_BURST a second; the next line that passes says how many were left out.
 * Registered secrets are replaced by *** wherever they appear. Lines go to stderr, or to a file
 * opened for append with mode 0600. The logger never allocates, so it may be used anywhere.
 */
#ifndef PURSER_BASE_LOG_H
#define PURSER_BASE_LOG_H

#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_DEBUG = 0, LOG_INFO = 1, LOG_WARNING = 2, LOG_ERROR = 3 };

#define LOG_BURST   20 /* lines of one name per second */
#define LOG_SECRETS 8  /* registered secrets */

/* log_open: path NULL means stderr. Lines below level are not written. STATUS_OK or STATUS_IO. */
int log_open(const char *path, enum log_level level);
void log_close(void);

/* log_redact: from now on, text never appears in a line. Text shorter than 6 bytes is refused (it
 * would blank out ordinary words), as is a ninth secret: STATUS_LIMIT. */
int log_redact(const char *text);

/* log_event: writes one line. Newlines and control bytes in the text become spaces. */
void log_event(enum log_level level, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* log_suppressed: lines left out by the rate limit so far. */
int64_t log_suppressed(void);

#endif
