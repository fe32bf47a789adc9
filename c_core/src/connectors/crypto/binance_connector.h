/*
 * binance_connector.h: Binance USD-M futures as a venue (model/venue.h). Four connections: REST for
 * the control path, the /public market streams, the /private user stream, and the WS API for
 * orders.
 *
 * When each state is reported:
 *   CONNECTING  until the clock is known to be within a second of the venue's, the instruments and
 *               the position mode are known, and the user stream and the WS API are open
 *   SYNCING     from then on: the engine reconciles
 *   READY       also every book is whole and the dead-man switch is acknowledged and fresh
 *   DOWN        not started, stopped, or the venue refused the key
 *
 * do_work runs the loop that start was given, without waiting: whatever arrives is told during
 * do_work. Its caller waits, when there is nothing to do, on the loop's epoll descriptor.
 *
 * Any loss of the user stream or the WS API goes back to CONNECTING, so that the engine reconciles
 * again; every order that was waiting for an answer is then reported as UNKNOWN.
 */
#ifndef PURSER_CONNECTORS_BINANCE_CONNECTOR_H
#define PURSER_CONNECTORS_BINANCE_CONNECTOR_H

#include "../../base/arena.h"
#include "../../model/venue.h"

#define BINANCE_SYMBOLS_MAX 8

struct binance_symbol_settings {
    char symbol[PROTOCOL_SYMBOL];
    int64_t shock_ppm, maker_fee_ppm, taker_fee_ppm;
};

/* Texts are copied. */
struct binance_settings {
    const char *rest, *streams, *ws_api; /* without a trailing slash */
    const char *ca_file;                 /* NULL or "": the system's roots */
    const char *api_key, *api_secret;
    char environment;  /* p, t or l: a part of every client order id */
    uint32_t instance; /* likewise: which Purser sent it (bridge/instance.h) */
    uint16_t host;     /* which machine: a part of the ids that release 0.1.0 made */
    int64_t recv_window_ms, dead_man_timeout_ms, stale_ms;
    struct binance_symbol_settings symbols[BINANCE_SYMBOLS_MAX];
    int symbols_count;
};

struct binance_counters {
    int64_t frames, malformed_frames, resyncs, top_checks, top_mismatches;
    int64_t requests, timeouts, reconnects, stalls, dead_man_acks, dead_man_failures;
};

/* binance_connector_new: everything is allocated from the arena, but the connections' own state in
 * libcurl and OpenSSL. tls_global_init must have run. STATUS_OK or an error with status_text. */
int binance_connector_new(struct venue **out, struct arena *arena,
                          const struct binance_settings *settings);
void binance_connector_free(struct venue *venue);

/* binance_connector_refused: the venue refused the key: no use in trying again. */
bool binance_connector_refused(const struct venue *venue);
const struct binance_counters *binance_connector_counters(const struct venue *venue);

/* binance_connector_bytes: how large the arena must be for so many symbols. */
size_t binance_connector_bytes(int symbols_count);

#endif
