/*
 * trader.h: one running engine, put together: configuration, folders, ledger, journal, page, venue
 * connector, bridge client, telemetry, duty cycle. bin/trader and the C API (include/engine.h) are
 * both thin over this.
 *
 * Life: trader_create checks everything that can be checked without the venue and joins the ledger;
 * trader_run connects, reconciles, trades, and returns after trader_stop was asked for and every
 * order is confirmed gone (or 3 s have passed).
 */
#ifndef PURSER_TRADER_H
#define PURSER_TRADER_H

#include <stdbool.h>
#include <stdint.h>

/* The program's exit codes. */
enum trader_result {
    TRADER_OK = 0,
    TRADER_ERROR = 1,
    TRADER_USAGE = 2,
    TRADER_CONFIG = 4, /* configuration or credentials */
    TRADER_HALTED = 8, /* the halt latch is there */
};

#define TRADER_ERROR_TEXT 768

struct trader_options {
    int mode; /* enum engine_mode */
    const char *config_path;
    const char *home, *runtime; /* NULL: environment, then defaults */
    int simulator_wait_ms;      /* how long to wait for a simulator's ready line */
    /* Inside another program, which may have used OpenSSL before: its memory then comes from the
     * heap instead of the pool. Everything else is the same. */
    bool embedded;
};

struct engine; /* engine/engine.h */
struct trader;

/* trader_create: TRADER_OK, or an exit code and a sentence in error. */
int trader_create(struct trader **out, const struct trader_options *options,
                  char error[TRADER_ERROR_TEXT]);

/* trader_run: the duty cycle, on the calling thread, until trader_stop. Returns an exit code. */
int trader_run(struct trader *trader);

/* trader_stop: asks for a graceful end; callable from a signal handler and from any thread. */
void trader_stop(struct trader *trader);

/* trader_post: runs `work` on the trading thread between two duty cycles and waits for it. For the
 * C API; the trading path itself never waits. False when the thread is not running. */
bool trader_post(struct trader *trader, void (*work)(void *context), void *context);

struct engine *trader_engine(struct trader *trader);
void trader_free(struct trader *trader);

#endif
