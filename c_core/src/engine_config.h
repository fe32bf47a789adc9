/*
 * engine_config.h: the engine's configuration file, its folders, and where the venue and the keys
 * are. Everything here runs before trading starts and may allocate.
 *
 * The file is JSON. Every key is known by a table: an unknown key, a missing key, a wrong type and
 * a value out of range are each an error that names the key and says what to write instead. Money,
 * prices, quantities and percentages are decimal strings, so that no float lies between the file
 * and the risk engine. config/binance.schema.json says the same for editors.
 */
#ifndef PURSER_ENGINE_CONFIG_H
#define PURSER_ENGINE_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONFIG_SYMBOLS_MAX 8
#define CONFIG_TEXT        256
#define CONFIG_PATH        512
#define CONFIG_ERROR       640

struct config_symbol {
    char symbol[32];
    int64_t shock_ppm, maker_fee_ppm, taker_fee_ppm;
};

struct config_risk {
    int64_t max_order_quantity_e9, max_order_notional_micros, max_position_e9, max_open_orders;
    int64_t price_collar_ppm, orders_per_10s, stale_ms, daily_loss_micros;
};

struct config_quoter {
    bool enabled;
    int64_t quantity_e9, spread_ticks, max_position_e9, requote_ticks, levels;
};

struct config_signal {
    bool enabled;
    int64_t interval_ms, volatility_half_life_s, volatility_floor_ppm;
};

struct config_hedger {
    bool enabled;
    int64_t max_position_e9, min_order_e9, collar_ppm, interval_ms;
};

struct config_session {
    int64_t recv_window_ms, dead_man_timeout_s;
    bool busy_poll; /* spin instead of sleeping in epoll: lower latency, one whole core */
    int64_t journal_segment_kb; /* 0, when not given: the journal's own default */
};

/* Where the venue is. Either `simulator` names a ready line in the runtime folder, or the three
 * addresses are given; `ca_file` adds a certificate authority to the system's. */
struct config_endpoints {
    char simulator[CONFIG_TEXT];
    char rest[CONFIG_TEXT], streams[CONFIG_TEXT], ws_api[CONFIG_TEXT], ca_file[CONFIG_PATH];
};

struct config_credentials {
    char simulator[CONFIG_TEXT];
    char file[CONFIG_PATH]; /* relative to the home folder */
};

struct trader_config {
    char path[CONFIG_PATH];
    char venue[32];
    char environment[32]; /* paper, testnet or live: a part of every client order id */
    struct config_endpoints endpoints;
    struct config_credentials credentials;
    struct config_symbol symbols[CONFIG_SYMBOLS_MAX];
    int symbols_count;
    struct config_risk risk;
    struct config_quoter quoter;
    struct config_signal signal;
    struct config_hedger hedger;
    struct config_session session;
};

/* trader_config_load: reads, checks and fills *out. STATUS_OK, or STATUS_CONFIG with a sentence in
 * error that names the file, the key and what to do. */
int trader_config_load(struct trader_config *out, const char *path, char error[CONFIG_ERROR]);

/* The limits a standalone engine puts into the ledger that it makes for itself. */
struct engine_budget {
    int64_t limit_micros[2]; /* loss, notional */
    int64_t headroom_micros[2];
};

/* engine_budget_load: reads budget.json. */
int engine_budget_load(struct engine_budget *out, const char *path, char error[CONFIG_ERROR]);

enum engine_mode { ENGINE_DRY_RUN = 0, ENGINE_PAPER = 1, ENGINE_LIVE = 2 };

/* engine_mode_from_text: -1 when it is none of dry-run, paper, live. */
int engine_mode_from_text(const char *text);
const char *engine_mode_name(int mode);

/* text_nearest: the candidate closest to `text`, or NULL when none is close: for "did you mean". */
const char *text_nearest(const char *text, const char *const *candidates, int count);

/* decimal_scaled: exact decimal text ("0.002") times 10^digits; false for signs other than a
 * leading minus, exponents, more decimals than fit, or overflow. */
bool decimal_scaled(int64_t *out, const char *text, int digits);

#endif
