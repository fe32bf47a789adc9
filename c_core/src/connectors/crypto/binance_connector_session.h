/*
 * binance_connector_session.h: the connector's state, shared by its parts only:
 *   binance_connector.c  the venue interface, the links' life, the session's state
 *   binance_connector_rest.c  REST calls, clock, reference data, listen key, dead-man switch
 *   binance_connector_books.c  books: deltas, snapshots, the check against bookTicker, silence
 *   binance_connector_orders.c  the WS API: place, cancel, query, time-outs
 *   binance_connector_user.c  the user stream
 *   binance_connector_reconcile.c  open orders, missed fills, positions
 *   binance_connector_cash.c  the wallet, the history of cash, account events
 */
#ifndef PURSER_CONNECTORS_BINANCE_CONNECTOR_SESSION_H
#define PURSER_CONNECTORS_BINANCE_CONNECTOR_SESSION_H

#include "../../../../bridge/reasons.h"
#include "../../base/clock.h"
#include "../../book/book_sync.h"
#include "../../net/http.h"
#include "../../net/websocket.h"
#include "binance_connector.h"
#include "binance_wire.h"

#define BINANCE_URL            320
#define BINANCE_TICKERS        1024 /* recent best prices of one symbol; a power of two */
#define BINANCE_REQUESTS       512  /* WS API requests without an answer; a power of two */
#define BINANCE_ORDER_IDS      8192 /* recent venue order ids and whose they are; a power of two */
#define BINANCE_FILLS_PAGE     1000
#define BINANCE_CLOCK_LIMIT_NS 1000000000LL

/* A websocket and when to open it again. The pause doubles after each failure and shrinks back only
 * after real data (a connection that opens and stays silent is a failure too). */
struct binance_link {
    struct binance *session;
    struct websocket socket;
    const char *name;
    int failures;
    int64_t retry_ns;  /* not before */
    int64_t opened_ns; /* 0: not open */
    int64_t data_ns;   /* last real message */
    int64_t pinged_ns;
    bool proven; /* it has carried data, or just lasted, since it was opened */
    bool rotate; /* close it at the next turn: serverShutdown, malformed frame */
    char why[96];
};

struct binance_ticker {
    int64_t id;
    struct top_of_book top;
};

/* One symbol's book and what checks it. */
struct binance_market {
    struct instrument instrument;
    struct order_book book;
    struct book_sync sync;
    bool known; /* exchangeInfo has told its grid */
    bool snapshot_wanted, snapshot_asked;
    int64_t snapshot_ns; /* when it was last asked for */
    int64_t depth_ns, ticker_ns;
    struct binance_ticker tickers[BINANCE_TICKERS];
    uint64_t tickers_count;
    bool check_pending; /* the ticker after this delta has not come yet */
    int64_t check_id;
    struct top_of_book check_top;
    int64_t dead_man_sent_ns, dead_man_acked_ns, dead_man_retry_ns;
    bool dead_man_asked;
    /* Our fills: the newest seen; the newest of an unbroken record; the first seen live before the
     * record was whole. */
    int64_t last_trade_id, confirmed_trade_id, live_trade_id;
    /* The newest at the end of the last reconcile, and of the last that the engine was content
     * with. */
    int64_t ended_trade_id, agreed_trade_id;
    char path_symbol[32]; /* lower case, for stream names */
};

enum binance_request_kind {
    BINANCE_REQUEST_NONE = 0,
    BINANCE_REQUEST_PLACE,
    BINANCE_REQUEST_CANCEL,
    BINANCE_REQUEST_STATUS
};

struct binance_request {
    int64_t id; /* 0: free */
    int kind;
    uint64_t client_order_id;
    const struct instrument *instrument;
    uint8_t side;
    struct price price;
    struct quantity quantity;
    int64_t sent_ns, deadline_ns;
};

struct binance_order_id {
    int64_t order_id;
    uint64_t owner; /* as binance_owner gives it */
};

enum binance_reconcile_step {
    BINANCE_RECONCILE_IDLE = 0,
    BINANCE_RECONCILE_ORDERS,
    BINANCE_RECONCILE_OPENING,
    BINANCE_RECONCILE_WALLET,
    BINANCE_RECONCILE_INCOME,
    BINANCE_RECONCILE_FILLS,
    BINANCE_RECONCILE_OWNERS,
    BINANCE_RECONCILE_POSITIONS,
};

/* Reading the wallet and the history of cash. */
struct binance_cash {
    int64_t done_ns;           /* end of the last reading; 0: none */
    int64_t until_ms;          /* the present when this reading of the history began */
    int64_t first_ms, last_ms; /* the window that is being read */
    int page;
    int64_t wallet_asked_ms;
};

struct binance_reconcile {
    int step;
    int symbol;
    uint32_t run; /* answers of an earlier run are ignored */
    bool asked;
    int64_t retry_ns;
    int failures;
    int64_t since;     /* newest trade id that is booked; 0: none */
    int64_t from_ms;   /* all fills since this time are wanted, whatever is booked; 0: no */
    int64_t page_from; /* newest trade id of a full page */
    int fill;          /* next fill of the page to report */
    int fills_count;
    int owners_asked;
    int rechecks; /* how often asked again soon after: look further back */
    bool positions_told[BINANCE_SYMBOLS_MAX];
    struct binance_fill *fills;
};

/* A REST call in flight; handed to http.h as the context of its answer. */
struct binance_call_entry {
    struct binance *session;
    int call; /* 0: free */
    int index;
    uint32_t run;
    uint64_t client_order_id;
};

struct binance {
    struct venue venue;
    struct arena *arena;
    struct loop *loop; /* NULL before the first start */
    struct http *http;
    struct tls_context tls;
    char rest[BINANCE_URL], streams[BINANCE_URL], ws_api[BINANCE_URL], ca_file[512];
    char api_key_header[192], api_key[160];
    struct sign_key sign_key;
    struct binance_signer signer;
    struct binance_prefix prefix;
    int64_t recv_window_ms, dead_man_timeout_ns, stale_ns;

    struct binance_market *markets; /* symbols_count of them */
    struct binance_symbol_settings symbols[BINANCE_SYMBOLS_MAX];
    int symbols_count;
    const struct instrument *instruments[BINANCE_SYMBOLS_MAX];
    struct binance_symbols known;
    struct book_level *levels; /* scratch of one message */
    struct binance_market_event *market_event;
    struct binance_user_event *user_event;

    struct binance_link market_link, user_link, api_link;

    /* start-up: each is asked for until answered */
    bool started, refused, clock_known, info_known, mode_known, info_wanted;
    bool clock_asked, info_asked, mode_asked, key_asked;
    int64_t clock_retry_ns, info_retry_ns, mode_retry_ns, key_retry_ns;
    int clock_samples;
    int64_t clock_best_rtt_ns, clock_best_offset_ns, clock_checked_ns;
    int64_t clock_best_base_ns;
    int64_t venue_minus_ours_ns; /* the venue's clock minus clock_now_ns */
    bool clock_stale;            /* this process stood still: not READY until it is measured anew */
    int64_t worked_ns;           /* the last duty cycle */
    int start_failures;
    char listen_key[128];
    int64_t listen_key_ns; /* when it was made or kept alive; 0: none */
    struct binance_call_entry calls[HTTP_REQUESTS];
    int64_t rest_hold_ns; /* the venue asked us to be quiet until then */

    bool dead_man_allowed;
    int cancel_all_left[BINANCE_SYMBOLS_MAX]; /* tries left of a cancel-all under way */
    int64_t cancel_all_retry_ns;

    struct binance_request requests[BINANCE_REQUESTS];
    int64_t next_request;
    int64_t order_event_ns; /* newest order event of the user stream */
    int64_t event_due_ns; /* an accepted request that the user stream has not confirmed; 0: none */
    int64_t orders_hold_ns; /* the venue throttled orders until then */
    struct binance_order_id order_ids[BINANCE_ORDER_IDS];
    struct binance_reconcile reconcile;
    struct binance_cash cash;
    bool fills_complete; /* reconciled, and the user stream has not been broken since */
    int64_t reconciled_ns;
    uint64_t random;
    int64_t next_turn_ns;
    int work;
    struct binance_counters counters;
    char problem[96]; /* the newest reason for not being READY */
};

static inline struct binance *binance_of(struct venue *venue)
{
    return (struct binance *)venue; /* venue is the first member */
}

/* Milliseconds of the venue's clock at an instant of clock_now_ns, for signed requests. The wall
 * clock has no part in it: it may jump, and an order's age must not.
 *
 * Until when can an order land? The venue takes it while its own clock V is at most T + recvWindow
 * (USD-M docs, "Timing security"), T being this stamp of the instant G of the gate. Our idea of V
 * is wrong by at most e, so that V passes T + recvWindow at G + recvWindow + e of our clock at the
 * latest. e is half of the best round trip at the last measurement, half of the millisecond in
 * which the venue tells its time, and how far the two clocks have run apart since (every 5 min).
 * validity_window_ns is recvWindow + half of that round trip + 1 ms + 1 s. The second covers the
 * drift many times over, and the venue's own clocks, which are not one: it takes stamps that are up
 * to 1 s ahead of the one that it looks at. What waits in buffers, in the kernel or on the way
 * does not count: the stamp stays. */
static inline int64_t binance_venue_ms(const struct binance *b, int64_t now_ns)
{
    return (now_ns + b->venue_minus_ours_ns) / CLOCK_NS_PER_MS;
}

static inline int64_t binance_wall_ms(const struct binance *b)
{
    return binance_venue_ms(b, clock_now_ns());
}

/* --- binance_connector.c --- */
void binance_event(struct binance *b, int level, const char *name, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void binance_session_update(struct binance *b, int64_t now_ns);
void binance_problem(struct binance *b, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* binance_auth_refused: latches; the engine halts on the event. */
void binance_auth_refused(struct binance *b, const char *what, int64_t code, const char *message);
int64_t binance_backoff_ns(struct binance *b, int failures);
void binance_link_data(struct binance_link *link, int64_t now_ns);
void binance_link_rotate(struct binance_link *link, const char *why);
bool binance_link_is_open(const struct binance_link *link);
/* Whose order it is, in one number: ours by our id, another Purser's by its mark (BINANCE_OTHER), 0
 * for anybody else's. binance_owner reads it from a client order id; binance_order_id_put, _get
 * remember it by the venue's id (get: false when not known); binance_report_own writes it into a
 * report, with the words for an order that is not ours. */
uint64_t binance_owner(const struct binance *b, const char *client_id);
void binance_order_id_put(struct binance *b, int64_t order_id, uint64_t owner);
bool binance_order_id_get(const struct binance *b, int64_t order_id, uint64_t *owner);
void binance_report_own(const struct binance *b, struct execution_report *report, uint64_t owner,
                        const char *client_id);
void binance_report_init(struct execution_report *report, const struct binance_order *order,
                         uint64_t client_order_id);

/* --- binance_connector_rest.c --- */
enum binance_call {
    BINANCE_CALL_TIME = 1,
    BINANCE_CALL_INFO,
    BINANCE_CALL_MODE,
    BINANCE_CALL_KEY_NEW,
    BINANCE_CALL_KEY_KEEP,
    BINANCE_CALL_DEPTH,
    BINANCE_CALL_COUNTDOWN,
    BINANCE_CALL_CANCEL_ALL,
    BINANCE_CALL_CANCEL,
    BINANCE_CALL_QUERY,
    BINANCE_CALL_OPEN_ORDERS,
    BINANCE_CALL_FILLS,
    BINANCE_CALL_OWNER,
    BINANCE_CALL_POSITIONS,
    BINANCE_CALL_OPENING,
    BINANCE_CALL_BALANCE,
    BINANCE_CALL_INCOME,
};
/* An answer, already judged. index and run come from the call. */
struct binance_answer {
    int call;
    int index;
    uint32_t run;
    uint64_t client_order_id;
    const struct http_response *http;
    int64_t code;
    char message[BINANCE_TEXT];
    struct binance_class class;
    bool accepted; /* 200 and a body */
};
/* binance_call: parameters are without recvWindow, timestamp and signature. */
int binance_call(struct binance *b, int call, int index, uint32_t run, uint64_t client_order_id,
                 const char *parameters, int64_t now_ns);
/* binance_watch_stall: after CLOCK_STALL_NS without a duty cycle (a suspend, a stop) what is known
 * of the venue's clock is old: a suspend may move CLOCK_BOOTTIME by the hardware clock's second,
 * which is all the margin of an order's last landing instant. No order leaves until it is measured
 * anew; cancels do. Call before anything of this cycle is delivered. */
void binance_watch_stall(struct binance *b, int64_t now_ns);
void binance_rest_turn(struct binance *b, int64_t now_ns);
/* binance_throttled: holds back what the venue asked us to hold back: for retry_after_s when it
 * told so, until the end of a ban, else for ten seconds when the address asked too much and one
 * second when only orders were too many. */
void binance_throttled(struct binance *b, int64_t code, const char *message, int64_t retry_after_s,
                       int64_t now_ns);
/* binance_listen_key_lost: another key is made, then the user stream opened. */
void binance_listen_key_lost(struct binance *b);
int64_t binance_dead_man_acked_ns(const struct binance *b);

/* --- binance_connector_books.c --- */
void binance_market_message(void *context, const char *bytes, size_t length, int64_t received_ns);
void binance_market_reset(struct binance *b, int64_t now_ns);
void binance_market_snapshot(struct binance *b, const struct binance_answer *answer,
                             int64_t now_ns);
void binance_market_turn(struct binance *b, int64_t now_ns);
bool binance_market_whole(const struct binance *b);

/* --- binance_connector_orders.c --- */
void binance_api_message(void *context, const char *bytes, size_t length, int64_t received_ns);
/* binance_requests_lost: the connection went: what was sent is UNKNOWN. */
void binance_requests_lost(struct binance *b, const char *why);
void binance_orders_turn(struct binance *b, int64_t now_ns);
int binance_submit(struct venue *venue, const struct order *order, int64_t now_ns);
int binance_cancel(struct venue *venue, const struct order *order, int64_t now_ns);
int binance_query(struct venue *venue, const struct order *order, int64_t now_ns);
void binance_query_id(const struct venue *venue, uint64_t client_order_id,
                      char out[PROTOCOL_QUERY_ID]);
int binance_cancel_all(struct venue *venue, int64_t now_ns);
/* binance_order_answer: an answer to place, cancel or status, from the WS API or from REST. */
void binance_order_answer(struct binance *b, const struct binance_request *request,
                          const struct binance_class *class, int64_t code, const char *message,
                          const struct binance_order *order, int64_t now_ns);
void binance_order_rest_answer(struct binance *b, const struct binance_answer *answer,
                               int64_t now_ns);

/* --- binance_connector_user.c --- */
/* binance_user_turn: no event heartbeat exists at the venue, so that a stream which says nothing
 * after the venue accepted an order is taken for blind and opened again. */
void binance_user_turn(struct binance *b, int64_t now_ns);
void binance_user_message(void *context, const char *bytes, size_t length, int64_t received_ns);
/* binance_commission_e8: the commission in USD times 1e8. */
int64_t binance_commission_e8(const struct instrument *instrument, int64_t commission_e8,
                              const char *asset, bool present, bool maker, struct price price,
                              struct quantity quantity);

/* --- binance_connector_reconcile.c --- */
int binance_reconcile_start(struct venue *venue, const char *since_execution_id, int64_t now_ns);
void binance_reconcile_abort(struct binance *b);
/* binance_fills_broken: from here on a fill may be missed until the next reconcile. */
void binance_fills_broken(struct binance *b);
/* binance_fill_seen: keeps the record of our trade ids. */
void binance_fill_seen(struct binance *b, struct binance_market *market, int64_t trade_id);
/* binance_fills_from: the trade id after which the fills of a reconcile are asked for; 0: the
 * newest that one answer holds. */
int64_t binance_fills_from(const struct binance *b, int symbol);
void binance_reconcile_turn(struct binance *b, int64_t now_ns);
void binance_reconcile_answer(struct binance *b, const struct binance_answer *answer,
                              int64_t now_ns);

/* --- binance_connector_cash.c --- */
/* binance_cash_due: false when the last reading is too fresh for another one. */
bool binance_cash_due(const struct binance *b, int64_t now_ns);
int binance_wallet_ask(struct binance *b, int64_t now_ns);
/* binance_wallet_read: false when the answer was no use. */
bool binance_wallet_read(struct binance *b, const struct binance_answer *answer);
void binance_income_begin(struct binance *b);
int binance_income_ask(struct binance *b, int64_t now_ns);
/* binance_income_read: -1 when the answer was no use, 0 when another page must be asked for, 1 when
 * the history is read to its end. */
int binance_income_read(struct binance *b, const struct binance_answer *answer, int64_t now_ns);
void binance_account_event(struct binance *b, const struct binance_user_event *event);
/* binance_fill_wallet: what a fill did to the wallet, when the venue told all of it. */
void binance_fill_wallet(struct execution_report *report, bool has_realized, int64_t realized_e8,
                         bool has_commission, int64_t commission_e8, const char *asset);

#endif
