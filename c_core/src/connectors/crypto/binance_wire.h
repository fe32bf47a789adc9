/*
 * binance_wire.h: Binance USD-M futures bytes <-> structs. No I/O, no clock, no state, no
 * allocation.
 *
 * Market data is decoded positionally (the field order that the venue has kept for years) and, when
 * anything differs, by the generic scanner, which takes any order and ignores what it does not
 * know. Prices and quantities become ticks and lots exactly; a number off the instrument's grid is
 * a protocol error, not a rounding. Everything decoded points into no message: results are copies.
 *
 * Defined in binance_market.c (with binance_levels.c), binance_orders.c, binance_cash.c,
 * binance_reference.c, binance_request.c and binance_error.c; binance_fields.h is what they share.
 *
 * Facts: Binance USD-M futures documentation (Websocket Market Streams, User Data Streams,
 * Websocket API General Info, New Order, Error Code), and recorded production and testnet frames.
 */
#ifndef PURSER_CONNECTORS_BINANCE_WIRE_H
#define PURSER_CONNECTORS_BINANCE_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../../base/scan.h"
#include "../../base/status.h"
#include "../../book/book_sync.h"
#include "../../book/capture_check.h"
#include "../../model/order.h"
#include "../../net/sign.h"

#define BINANCE_LEVELS_MAX 16384 /* levels of one message, both sides */
#define BINANCE_CLIENT_ID  40    /* "^[.A-Z:/a-z0-9_-]{1,36}$" and NUL */
#define BINANCE_STREAM     48
#define BINANCE_TEXT       96

/* The instruments that a decoder knows: symbols it does not find are skipped (instrument NULL).
 * Each needs symbol, tick_e9 and lot_e9. */
struct binance_symbols {
    const struct instrument *const *instruments;
    size_t count;
};

/* ---- market streams -------------------------------------------------------------------------- */

enum binance_market_kind {
    BINANCE_MARKET_OTHER = 0, /* understood as JSON, not needed: markPrice, kline, contractInfo … */
    BINANCE_MARKET_DEPTH = 1,
    BINANCE_MARKET_TICKER = 2,
    BINANCE_MARKET_TRADE = 3,    /* trade or aggTrade */
    BINANCE_MARKET_REPLY = 4,    /* answer to SUBSCRIBE: {"result":null,"id":..} or an error */
    BINANCE_MARKET_SHUTDOWN = 5, /* serverShutdown: rotate now */
    BINANCE_MARKET_MARK = 6,     /* markPriceUpdate */
};

struct binance_market_event {
    int kind;                            /* enum binance_market_kind */
    const struct instrument *instrument; /* NULL: unknown symbol, or st != 1: skip the event */
    char stream[BINANCE_STREAM];         /* combined form only; else "" */
    int64_t event_ms, transaction_ms;    /* E, T */
    struct book_delta delta;             /* DEPTH: levels are in the caller's array */
    int64_t ticker_id;                   /* TICKER: u */
    struct top_of_book ticker;
    int64_t trade_id; /* TRADE: t or a */
    struct price price;
    struct quantity quantity;
    uint8_t aggressor_side; /* enum order_side: m true means the aggressor sold */
    bool aggregated;        /* aggTrade */
    int64_t mark_price_e9;  /* MARK */
    int64_t reply_id;       /* REPLY; -1: null or not a number */
    int64_t reply_code;     /* REPLY: 0 accepted, else the error's code */
};

/* binance_wire_market: one message of a market stream, raw or combined. levels receives the depth's
 * levels (bids, then asks). A partial depth stream (@depth5/10/20) has the same event type: route
 * it by stream name. STATUS_OK, STATUS_PROTOCOL (malformed, or off the grid) or STATUS_LIMIT (more
 * than capacity levels). */
int binance_wire_market(struct binance_market_event *event, struct book_level *levels,
                        size_t capacity, const struct binance_symbols *symbols, const char *bytes,
                        size_t length);

/* binance_wire_snapshot: GET /fapi/v1/depth. The symbol is not in the answer. */
int binance_wire_snapshot(struct book_delta *snapshot, struct book_level *levels, size_t capacity,
                          const struct instrument *instrument, const char *bytes, size_t length);

/* binance_capture_decoder: recorded BTCUSDT combined-stream lines on the grid 0.10 / 0.001. */
extern const struct capture_decoder binance_capture_decoder;

/* ---- reference data -------------------------------------------------------------------------- */

struct binance_limits {
    int64_t weight_1m, orders_10s, orders_1m; /* 0: not stated */
};

/* binance_wire_exchange_info: fills `out` (grids, limits, filters, status; venue and symbol set,
 * fees, shock and index left alone) for the symbol. percent_price_*_ppm are the multipliers of the
 * mark times 1e6: a BUY at most mark * up / 1e6, a SELL at least mark * down / 1e6. STATUS_OK;
 * STATUS_REFUSED when the symbol is not listed; STATUS_PROTOCOL. limits may be NULL. A price grid
 * that does not start at a multiple of the tick is refused: our ticks count from zero. */
int binance_wire_exchange_info(struct instrument *out, struct binance_limits *limits,
                               const char *symbol, const char *bytes, size_t length);

/* binance_wire_server_time: GET /fapi/v1/time, in ms. */
int binance_wire_server_time(int64_t *out_ms, const char *bytes, size_t length);
/* binance_wire_listen_key: POST /fapi/v1/listenKey. */
int binance_wire_listen_key(char *out, size_t capacity, const char *bytes, size_t length);
/* binance_wire_position_mode: GET /fapi/v1/positionSide/dual; true: hedge mode, which we refuse. */
int binance_wire_position_mode(bool *dual_side, const char *bytes, size_t length);
/* binance_wire_countdown: POST /fapi/v1/countdownCancelAll -> {"symbol","countdownTime"}. */
int binance_wire_countdown(char symbol[PROTOCOL_SYMBOL], int64_t *countdown_ms, const char *bytes,
                           size_t length);

/* ---- orders, fills, positions -----------------------------------------------------------------
 */

enum binance_order_status {
    BINANCE_STATUS_OTHER = 0, /* a value we do not know: treat as not terminal, and log */
    BINANCE_STATUS_NEW,
    BINANCE_STATUS_PARTIALLY_FILLED,
    BINANCE_STATUS_FILLED,
    BINANCE_STATUS_CANCELED,
    BINANCE_STATUS_EXPIRED,
    BINANCE_STATUS_EXPIRED_IN_MATCH,
    BINANCE_STATUS_REJECTED,
    BINANCE_STATUS_NEW_INSURANCE,
    BINANCE_STATUS_NEW_ADL,
};

enum binance_execution {
    BINANCE_EXECUTION_OTHER = 0,
    BINANCE_EXECUTION_NEW,
    BINANCE_EXECUTION_CANCELED,
    BINANCE_EXECUTION_CALCULATED,
    BINANCE_EXECUTION_EXPIRED,
    BINANCE_EXECUTION_TRADE,
    BINANCE_EXECUTION_AMENDMENT,
};

/* binance_order_state: enum order_state for a status; ORDER_UNKNOWN for OTHER. */
int binance_order_state(int status);

/* An order as answers and queries show it. instrument NULL: foreign symbol, prices then unset. */
struct binance_order {
    const struct instrument *instrument;
    char symbol[PROTOCOL_SYMBOL];
    char client_id[BINANCE_CLIENT_ID];
    int64_t order_id;
    uint8_t side, reduce_only;
    int status; /* enum binance_order_status */
    struct price price;
    struct quantity quantity, cumulative;
    int64_t average_e9; /* avgPrice: queries only; 0 elsewhere */
    int64_t update_ms;
};

/* A fill as GET /fapi/v1/userTrades shows it. */
struct binance_fill {
    const struct instrument *instrument;
    char symbol[PROTOCOL_SYMBOL];
    int64_t trade_id, order_id;
    uint8_t side, maker;
    struct price price;
    struct quantity quantity;
    int64_t commission_e8;
    char commission_asset[16];
    int64_t realized_e8; /* what closing brought, by the venue's average entry, before commission */
    bool has_realized;
    int64_t time_ms;
};

/* A row of GET /fapi/v3/positionRisk. quantity is signed. */
struct binance_position {
    const struct instrument *instrument;
    char symbol[PROTOCOL_SYMBOL];
    char position_side[8]; /* BOTH in one-way mode */
    struct quantity quantity;
    int64_t entry_e9, mark_e9;
};

/* binance_wire_order: one order object (GET/DELETE /fapi/v1/order). */
int binance_wire_order(struct binance_order *out, const struct binance_symbols *symbols,
                       const char *bytes, size_t length);
/* A list (openOrders, userTrades, positionRisk): binance_wire_list starts it, then call the _next
 * of its kind until it does not return 1: 0 is the end, negative a status. */
int binance_wire_list(struct scan *list, const char *bytes, size_t length);
int binance_wire_order_next(struct scan *list, struct binance_order *out,
                            const struct binance_symbols *symbols);
/* binance_wire_opening: GET /fapi/v1/markPriceKlines with interval 1m: the open of the first candle
 * in 1e-9, 0 when there is none or it began more than a minute after from_ms. */
int binance_wire_opening(int64_t *mark_e9, int64_t from_ms, const char *bytes, size_t length);
int binance_wire_fill_next(struct scan *list, struct binance_fill *out,
                           const struct binance_symbols *symbols);
int binance_wire_position_next(struct scan *list, struct binance_position *out,
                               const struct binance_symbols *symbols);

/* ---- money without a fill ---------------------------------------------------------------------
 */

/* A row of GET /fapi/v1/income (Binance USD-M docs, "Get Income History"): one movement of cash.
 * tran_id is unique within one type and asset of one account; it is kept as text because its size
 * is not stated. */
struct binance_income {
    char type[32];  /* FUNDING_FEE, TRANSFER …, as the venue writes it */
    char asset[16]; /* the coin that moved; amount_e8 is in this coin */
    char symbol[PROTOCOL_SYMBOL];
    char tran_id[24];
    int64_t amount_e8; /* signed: what the wallet gained */
    int64_t trade_id;  /* 0: of no trade */
    int64_t time_ms;
    uint8_t kind; /* enum cash_kind; CASH_OTHER for a type that we do not know */
    bool of_fill; /* realised profit or commission of a trade: the fill itself carries it */
};

/* binance_wire_income_next: as the other lists. */
int binance_wire_income_next(struct scan *list, struct binance_income *out);
/* binance_income_key: "TYPE:tranId", what makes a row known again together with its asset. */
void binance_income_key(char out[48], const struct binance_income *row);
/* binance_cash_kind: enum cash_kind of an income type, or of the reason of an ACCOUNT_UPDATE. */
uint8_t binance_cash_kind(const char *name);
/* binance_is_dollar: one unit of the asset is counted as one dollar. */
bool binance_is_dollar(const char *asset);
/* binance_is_unpriced: a loss in a coin whose worth in dollars nothing tells. */
bool binance_is_unpriced(const char *asset, uint8_t kind, int64_t amount_e8);
/* binance_wire_wallet: the wallet balance of one asset in GET /fapi/v3/balance; 0 when the asset
 * is not listed. */
int binance_wire_wallet(int64_t *out_e8, const char *asset, const char *bytes, size_t length);
/* binance_wire_income_query: the parameters of one page of the history, first and last ms included;
 * pages count from 1. */
size_t binance_wire_income_query(char *out, size_t capacity, int64_t first_ms, int64_t last_ms,
                                 int page);

#define BINANCE_INCOME_PAGE 1000 /* rows of a full page: another one follows */

/* ---- user stream ----------------------------------------------------------------------------- */

enum binance_user_kind {
    BINANCE_USER_OTHER = 0,      /* ALGO_UPDATE, MARGIN_CALL, ACCOUNT_CONFIG_UPDATE …: see name */
    BINANCE_USER_ORDER = 1,      /* ORDER_TRADE_UPDATE */
    BINANCE_USER_TRADE_LITE = 2, /* may come first; no commission, no cumulative, no status */
    BINANCE_USER_ACCOUNT = 3,    /* ACCOUNT_UPDATE */
    BINANCE_USER_LISTEN_KEY_EXPIRED = 4,
    BINANCE_USER_REPLY = 5, /* answer to SUBSCRIBE */
    BINANCE_USER_SHUTDOWN = 6,
};

enum binance_forced {
    BINANCE_FORCED_NONE = 0,
    BINANCE_FORCED_LIQUIDATION,
    BINANCE_FORCED_ADL,
    BINANCE_FORCED_SETTLEMENT,
    BINANCE_FORCED_DELIVERY
};

#define BINANCE_ACCOUNT_POSITIONS 16
#define BINANCE_ACCOUNT_BALANCES  16

/* A row of ACCOUNT_UPDATE's B. change_e8 (bc) leaves out realised profit and commission: it is the
 * money that moved without a fill. */
struct binance_balance {
    char asset[16];
    int64_t wallet_e8, change_e8;
};

struct binance_user_event {
    int kind;      /* enum binance_user_kind */
    char name[32]; /* the venue's event type */
    int64_t event_ms, transaction_ms;
    /* ORDER and TRADE_LITE. order.update_ms is T */
    struct binance_order order;
    int execution;    /* enum binance_execution */
    int64_t trade_id; /* 0: no fill */
    struct price last_price;
    struct quantity last_quantity;
    int64_t commission_e8; /* 0 when absent */
    bool has_commission;
    char commission_asset[16];
    int64_t realized_e8; /* rp */
    bool has_realized;
    uint8_t maker;
    int expire_reason; /* er */
    int forced;        /* enum binance_forced, from the client id: raise a halt */
    /* ACCOUNT: the rows of B, and the rows of P whose symbol we know */
    char account_reason[24];
    struct binance_balance balances[BINANCE_ACCOUNT_BALANCES];
    size_t balance_count;
    struct binance_position positions[BINANCE_ACCOUNT_POSITIONS];
    size_t position_count;
};

int binance_wire_user(struct binance_user_event *event, const struct binance_symbols *symbols,
                      const char *bytes, size_t length);

/* ---- WS API answers and errors --------------------------------------------------------------- */

struct binance_reply {
    int64_t id; /* our request's; -1: null (the key was revoked, or the frame was unreadable) */
    int64_t http_status;
    int64_t code; /* error.code; 0: none */
    char message[BINANCE_TEXT];
    bool has_order;
    struct binance_order order;
    /* -1: not stated */
    int64_t weight_1m, orders_10s, orders_1m;
};

int binance_wire_reply(struct binance_reply *reply, const struct binance_symbols *symbols,
                       const char *bytes, size_t length);

/* binance_wire_error: a REST body {"code":-1121,"msg":".."}; STATUS_PROTOCOL when it is none. */
int binance_wire_error(int64_t *code, char message[BINANCE_TEXT], const char *bytes, size_t length);
/* binance_wire_banned_until_ms: the end of an address ban as the text of -1003 tells it, in the
 * venue's milliseconds; 0 when it tells none. */
int64_t binance_wire_banned_until_ms(const char *message);

/* What an answer means for the request (Binance USD-M docs, "Error Code" and "HTTP Return Codes").
 */
enum binance_outcome {
    BINANCE_ACCEPTED = 0,
    BINANCE_REJECTED,             /* certainly not done: release; do not retry unchanged */
    BINANCE_REJECTED_CLOCK,       /* certainly not done: resync the clock, sign again, retry once */
    BINANCE_REJECTED_AUTH,        /* never retry; halt the venue */
    BINANCE_REJECTED_THROTTLE,    /* certainly not done: back off */
    BINANCE_REJECTED_RESTRICTION, /* certainly not done: reduce only, or halt */
    BINANCE_FAILED_QUERY,         /* documented failure, still ask once */
    BINANCE_UNKNOWN,              /* may have been done: keep the reservation, ask */
    BINANCE_LANDED_EARLIER,       /* -4116: the id exists: adopt that order */
    BINANCE_NOTHING_TO_DO,        /* counts as success */
    BINANCE_CANCEL_NO_ORDER,      /* -2011: gone, one way or another: ask */
    BINANCE_QUERY_NO_ORDER, /* -2013: unknown, aged out, or too fresh: ask again before believing */
};

struct binance_class {
    int outcome; /* enum binance_outcome */
    int reason;  /* enum reject_reason for the REJECTED ones; else REJECT_NONE */
};

/* binance_wire_classify: http_status 0: no answer came. A code that the table lacks is UNKNOWN. */
struct binance_class binance_wire_classify(int64_t http_status, int64_t code, const char *message);

/* ---- client order ids -------------------------------------------------------------------------
 */

/* "ps", environment (p paper, t testnet, l live), 8 hex of the instance (bridge/instance.h), "-",
 * and 16 hex of our own id: 28 characters. Release 0.1.0 wrote 4 hex of the machine instead of the
 * instance: 24 characters. An order of this machine in that form is of before the upgrade. Its id
 * is kept apart from ours by BINANCE_EARLIER, and binance_client_id writes it as it was. */
#define BINANCE_EARLIER (1ull << 62)

struct binance_prefix {
    char text[13];
    char earlier[9];
};
void binance_prefix_make(struct binance_prefix *out, char environment, uint32_t instance,
                         uint16_t host);
/* binance_client_id: the one place that makes an id's text. binance_client_id_parse: 0 when it is
 * not ours. */
void binance_client_id(char out[BINANCE_CLIENT_ID], const struct binance_prefix *prefix,
                       uint64_t client_order_id);
uint64_t binance_client_id_parse(const struct binance_prefix *prefix, const char *text);

/* binance_client_id_other: which other Purser wrote this id, as a number with BINANCE_OTHER set; 0:
 * none did. binance_other_name says it: "instance 1a2b3c4d", with its environment where that is not
 * ours, or "release 0.1.0 on machine d77f". */
#define BINANCE_OTHER      (1ull << 63)
#define BINANCE_OTHER_NAME 48
uint64_t binance_client_id_other(const struct binance_prefix *prefix, const char *text);
void binance_other_name(char name[BINANCE_OTHER_NAME], const struct binance_prefix *prefix,
                        uint64_t other);

/* ---- requests: builders into the caller's buffer. All return the length, NUL-terminated, or 0
 * when it does not fit.
 * ------------------------------------------------------------------------------- */

struct binance_signer {
    const char *api_key;
    const struct sign_key *key;
    int64_t recv_window_ms;
};

/* WS API frames; parameters signed in alphabetical order (Binance USD-M docs, "Websocket API
 * General Info", SIGNED request example). LIMIT with GTC, IOC, FOK or GTX (post only), or MARKET.
 */
size_t binance_wire_place(char *out, size_t capacity, int64_t request_id,
                          const struct binance_signer *signer, const struct order *order,
                          const char *client_id, int64_t timestamp_ms);
size_t binance_wire_cancel(char *out, size_t capacity, int64_t request_id,
                           const struct binance_signer *signer, const char *symbol,
                           const char *client_id, int64_t timestamp_ms);
size_t binance_wire_status(char *out, size_t capacity, int64_t request_id,
                           const struct binance_signer *signer, const char *symbol,
                           const char *client_id, int64_t timestamp_ms);

/* binance_wire_signed_query: "<parameters>&recvWindow=..&timestamp=..&signature=.."; parameters may
 * be
 * "" and are sent as they are: percent-encode before. */
size_t binance_wire_signed_query(char *out, size_t capacity, const struct binance_signer *signer,
                                 const char *parameters, int64_t timestamp_ms);

/* binance_wire_subscribe: {"method":"SUBSCRIBE","params":[..],"id":..} */
size_t binance_wire_subscribe(char *out, size_t capacity, int64_t request_id,
                              const char *const *streams, size_t count);

#endif
