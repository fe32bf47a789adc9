/* The Binance connector without a network: frames and answers go in, reports and states come out.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../c_core/src/connectors/crypto/binance_connector_session.h"

#define EXPECT(x)                                                                                  \
    do {                                                                                           \
        if (!(x)) {                                                                                \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x);                                \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

#define NOW 1000000000000LL

/* What the engine would have heard. */
struct heard {
    int books, executions;
    struct execution_report report; /* the newest */
    char event[32];                 /* the newest event's name */
    int level;
    bool synced; /* the book had a bid at the newest on_book */
    int movements, histories, positions;
    struct cash_report cash; /* the newest */
    int64_t wallet_e8;
    int64_t told_lots, told_entry_e9;
    bool after_fill;
};

static struct heard heard;
static struct venue *venue;
static struct binance *b;
static struct arena arena;
static struct loop loop;

static void on_session(void *context, struct venue *v, int state, const char *text)
{
    (void)context, (void)v, (void)state, (void)text;
}

static void on_instrument(void *context, struct venue *v, const struct instrument *instrument)
{
    (void)context, (void)v, (void)instrument;
}

static void on_book(void *context, struct venue *v, uint16_t index, int64_t received_ns)
{
    (void)context, (void)received_ns;
    heard.books++;
    heard.synced = order_book_top(v->book(v, index)).bid_quantity.lots > 0;
}

static void on_execution(void *context, struct venue *v, const struct execution_report *report)
{
    (void)context, (void)v;
    heard.executions++;
    heard.report = *report;
}

static void on_dead_man(void *context, struct venue *v, int64_t armed_ns, int64_t expires_ns)
{
    (void)context, (void)v, (void)armed_ns, (void)expires_ns;
}

static void on_event(void *context, struct venue *v, int level, const char *name, const char *text)
{
    (void)context, (void)v, (void)text;
    heard.level = level;
    snprintf(heard.event, sizeof heard.event, "%s", name);
}

static void on_cash(void *context, struct venue *v, const struct cash_report *report)
{
    (void)context, (void)v;
    heard.movements++;
    heard.cash = *report;
}

static void on_wallet(void *context, struct venue *v, int64_t wallet_e8, int64_t asked_wall_ns)
{
    (void)context, (void)v, (void)asked_wall_ns;
    heard.wallet_e8 = wallet_e8;
}

static void on_cash_read(void *context, struct venue *v, int64_t until_wall_ns)
{
    (void)context, (void)v, (void)until_wall_ns;
    heard.histories++;
}

static void on_position_changed(void *context, struct venue *v, const struct instrument *instrument,
                                struct quantity position, int64_t entry_e9, bool after_fill)
{
    (void)context, (void)v, (void)instrument;
    heard.positions++;
    heard.told_lots = position.lots;
    heard.told_entry_e9 = entry_e9;
    heard.after_fill = after_fill;
}

static const struct venue_events ears = {
    .on_cash = on_cash,
    .on_wallet = on_wallet,
    .on_cash_read = on_cash_read,
    .on_position_changed = on_position_changed,
    .on_session = on_session,
    .on_instrument = on_instrument,
    .on_book = on_book,
    .on_execution = on_execution,
    .on_dead_man = on_dead_man,
    .on_event = on_event,
};

static void connector_make(void)
{
    struct binance_settings settings = {
        .rest = "http://127.0.0.1:9",
        .streams = "ws://127.0.0.1:9",
        .ws_api = "ws://127.0.0.1:9/ws-fapi/v1",
        .api_key = "key",
        .api_secret = "secret",
        .environment = 'p',
        .instance = 0x1a2b3c4d,
        .host = 0xabcd,
        .recv_window_ms = 1500,
        .dead_man_timeout_ms = 12000,
        .stale_ms = 3000,
        .symbols = {{"BTCUSDT", 100000, 200, 500}},
        .symbols_count = 1,
    };
    EXPECT(tls_global_init() == STATUS_OK && loop_init(&loop) == STATUS_OK);
    EXPECT(arena_init(&arena, binance_connector_bytes(1)) == STATUS_OK);
    EXPECT(binance_connector_new(&venue, &arena, &settings) == STATUS_OK);
    venue->events = &ears;
    EXPECT(venue->operations->start(venue, &loop, NOW) == STATUS_OK);
    b = binance_of(venue);
    struct instrument *instrument = &b->markets[0].instrument;
    instrument->tick_e9 = 100000000;
    instrument->lot_e9 = 1000000;
    instrument->price_decimals = 1;
    instrument->quantity_decimals = 3;
    b->markets[0].known = true;
    b->known.count = 1;
    b->market_link.socket.state = WEBSOCKET_OPEN; /* as far as the parts can see */
    b->user_link.socket.state = WEBSOCKET_OPEN;
    b->api_link.socket.state = WEBSOCKET_OPEN;
}

static void market(const char *text)
{
    static char bytes[4096];
    memset(bytes, 0, sizeof bytes);
    memcpy(bytes, text, strlen(text));
    binance_market_message(&b->market_link, bytes, strlen(text), NOW);
}

static void user(const char *text)
{
    static char bytes[4096];
    memset(bytes, 0, sizeof bytes);
    memcpy(bytes, text, strlen(text));
    binance_user_message(&b->user_link, bytes, strlen(text), NOW);
}

static void api(const char *text)
{
    static char bytes[4096];
    memset(bytes, 0, sizeof bytes);
    memcpy(bytes, text, strlen(text));
    binance_api_message(&b->api_link, bytes, strlen(text), NOW);
}

static void depth(int64_t first, int64_t last, int64_t previous, const char *bid)
{
    char text[512];
    snprintf(
        text, sizeof text,
        "{\"stream\":\"btcusdt@depth@100ms\",\"data\":{\"e\":\"depthUpdate\",\"E\":1,\"T\":1,\"s\":"
        "\"BTCUSDT\",\"U\":%lld,\"u\":%lld,\"pu\":%lld,\"b\":[[\"%s\",\"2.000\"]],\"a\":[]}}",
        (long long)first, (long long)last, (long long)previous, bid);
    market(text);
}

static void ticker(int64_t id, const char *bid, const char *quantity)
{
    char text[512];
    snprintf(text, sizeof text,
             "{\"stream\":\"btcusdt@bookTicker\",\"data\":{\"e\":\"bookTicker\",\"u\":%lld,\"s\":"
             "\"BTCUSDT\","
             "\"b\":\"%s\",\"B\":\"%s\",\"a\":\"60001.0\",\"A\":\"1.000\",\"T\":1,\"E\":1}}",
             (long long)id, bid, quantity);
    market(text);
}

static void snapshot(int64_t id)
{
    char body[512];
    snprintf(body, sizeof body,
             "{\"lastUpdateId\":%lld,\"E\":1,\"T\":1,\"bids\":[[\"60000.0\",\"2.000\"]],\"asks\":[["
             "\"60001.0\",\"1.000\"]]}",
             (long long)id);
    struct http_response http = {
        .status = STATUS_OK, .code = 200, .body = body, .body_length = strlen(body)};
    struct binance_answer answer = {.call = BINANCE_CALL_DEPTH, .http = &http, .accepted = true};
    binance_market_snapshot(b, &answer, NOW);
}

/* A snapshot between two deltas makes a whole book. */
static void book_sync_up(void)
{
    binance_market_reset(b, NOW);
    depth(100, 110, 90, "59999.0");
    EXPECT(!binance_market_whole(b));
    snapshot(105);
    EXPECT(binance_market_whole(b) && heard.synced);
}

static void test_gap_empties_the_book(void)
{
    book_sync_up();
    int64_t before = venue->resyncs;
    depth(130, 140, 125, "59999.0"); /* pu should be 110 */
    EXPECT(!binance_market_whole(b) && !heard.synced);
    EXPECT(venue->resyncs == before + 1 && strcmp(heard.event, "book_resynced") == 0);
    EXPECT(b->markets[0].snapshot_wanted);
}

static void test_repeated_delta_is_ignored(void)
{
    book_sync_up();
    int64_t before = venue->resyncs;
    depth(111, 120, 110, "59998.0");
    depth(111, 120, 110, "59998.0");
    EXPECT(binance_market_whole(b) && venue->resyncs == before);
}

static void test_top_is_checked_against_ticker(void)
{
    book_sync_up();
    int64_t before = b->counters.top_checks;
    ticker(118, "60000.0", "2.000");
    depth(111, 120, 110, "59998.0");
    ticker(125, "60000.0", "1.500"); /* only now is 118 known to be the newest up to 120 */
    EXPECT(b->counters.top_checks == before + 1 && b->counters.top_mismatches == 0);
    EXPECT(binance_market_whole(b));
    depth(121, 130, 120, "59997.0"); /* the bid is still 2.000 here, and was 1.500 there */
    ticker(131, "60000.0", "1.500");
    EXPECT(b->counters.top_mismatches == 1 && !binance_market_whole(b));
}

static void test_malformed_frames_never_crash(void)
{
    static const char *const frames[] = {
        "{",
        "",
        "[]",
        "nonsense",
        "{\"stream\":\"btcusdt@depth@100ms\",\"data\":{\"e\":\"depthUpdate\"",
        "{\"e\":\"depthUpdate\",\"s\":\"BTCUSDT\",\"U\":1,\"u\":2,\"pu\":0,\"b\":[[\"1e5\",\"1\"]],"
        "\"a\":[]}",
    };
    for (size_t i = 0; i < sizeof frames / sizeof frames[0]; i++) {
        market(frames[i]);
        user(frames[i]);
        api(frames[i]);
    }
    book_sync_up();
    int64_t before = b->counters.malformed_frames;
    market("{\"stream\":");
    EXPECT(b->counters.malformed_frames == before + 1 && !binance_market_whole(b));
    b->user_link.rotate = b->api_link.rotate = false;
}

static void request_put(int64_t id, int kind)
{
    b->requests[id & (BINANCE_REQUESTS - 1)] = (struct binance_request){
        .id = id,
        .kind = kind,
        .client_order_id = 7,
        .instrument = &b->markets[0].instrument,
        .deadline_ns = NOW + 1000,
    };
}

/* An error answer to an order, and the report that it must become. */
static void test_answers_are_classified(void)
{
    static const struct {
        int status, code;
        const char *message;
        int type;
    } rows[] = {
        {400, -2019, "Margin is insufficient.", EXEC_REJECTED},
        {400, -5022, "Post Only", EXEC_REJECTED},
        {400, -4164, "notional", EXEC_REJECTED},
        {400, -1021, "Timestamp", EXEC_REJECTED},
        {503, -1008, "overload", EXEC_REJECTED},
        {408, -1007, "Timeout waiting for response", EXEC_UNKNOWN},
        {503, -1000, "Unknown error, please check your request or try again later.", EXEC_UNKNOWN},
        {400, -4116, "ClientOrderId is duplicated.", EXEC_UNKNOWN},
        {400, -987654, "never seen", EXEC_UNKNOWN},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[256];
        request_put(900, BINANCE_REQUEST_PLACE);
        int before = heard.executions;
        snprintf(text, sizeof text,
                 "{\"id\":900,\"status\":%d,\"error\":{\"code\":%d,\"msg\":\"%s\"}}",
                 rows[i].status, rows[i].code, rows[i].message);
        api(text);
        EXPECT(heard.executions == before + 1);
        EXPECT(heard.report.client_order_id == 7 && heard.report.execution_type == rows[i].type);
        EXPECT((heard.report.execution_type == EXEC_REJECTED) == (heard.report.reject_reason != 0));
        api(text); /* repeated: nobody waits for it any more */
        EXPECT(heard.executions == before + 1);
    }
}

static void test_cancel_of_a_gone_order_is_a_question(void)
{
    request_put(901, BINANCE_REQUEST_CANCEL);
    api("{\"id\":901,\"status\":400,\"error\":{\"code\":-2011,\"msg\":\"Unknown order sent.\"}}");
    EXPECT(heard.report.execution_type == EXEC_UNKNOWN);
    request_put(902, BINANCE_REQUEST_STATUS);
    api("{\"id\":902,\"status\":400,\"error\":{\"code\":-2013,\"msg\":\"Order does not exist.\"}}");
    EXPECT(heard.report.execution_type == EXEC_STATUS && heard.report.not_found == 1);
}

static void test_silence_and_loss_are_unknown(void)
{
    request_put(903, BINANCE_REQUEST_PLACE);
    int before = heard.executions;
    binance_orders_turn(b, NOW + 999);
    EXPECT(heard.executions == before);
    binance_orders_turn(b, NOW + 1001);
    EXPECT(heard.executions == before + 1 && heard.report.execution_type == EXEC_UNKNOWN);
    request_put(904, BINANCE_REQUEST_PLACE);
    request_put(905, BINANCE_REQUEST_CANCEL);
    request_put(906, BINANCE_REQUEST_STATUS);
    binance_requests_lost(b, "closed");
    EXPECT(heard.executions == before + 3); /* a lost query says nothing about its order */
}

static void order_event(const char *client_id, const char *execution, const char *status,
                        int trade_id)
{
    char text[1024];
    snprintf(text, sizeof text,
             "{\"e\":\"ORDER_TRADE_UPDATE\",\"E\":5,\"T\":4,\"o\":{\"s\":\"BTCUSDT\",\"c\":\"%s\","
             "\"S\":\"SELL\","
             "\"o\":\"LIMIT\",\"f\":\"GTC\",\"q\":\"0.010\",\"p\":\"60000.0\",\"ap\":\"60000.0\","
             "\"sp\":\"0\",\"x\":"
             "\"%s\",\"X\":\"%s\",\"i\":55,\"l\":\"0.004\",\"z\":\"0.004\",\"L\":\"60000.0\",\"N\":"
             "\"USDT\",\"n\":"
             "\"0.04800000\",\"T\":4,\"t\":%d,\"b\":\"0\",\"a\":\"0\",\"m\":true,\"R\":false,"
             "\"ps\":\"BOTH\",\"rp\":"
             "\"0\",\"er\":\"0\"}}",
             client_id, execution, status, trade_id);
    user(text);
}

static void test_fills_come_from_the_user_stream(void)
{
    char client_id[BINANCE_CLIENT_ID];
    uint64_t id = (uint64_t)ROLE_ENGINE << 56 | 77;
    binance_client_id(client_id, &b->prefix, id);
    order_event(client_id, "TRADE", "PARTIALLY_FILLED", 4242);
    EXPECT(heard.report.client_order_id == id && heard.report.execution_type == EXEC_TRADE);
    EXPECT(heard.report.last_price.ticks == 600000 && heard.report.last_quantity.lots == 4);
    EXPECT(heard.report.cumulative.lots == 4 && heard.report.fee_e8 == 4800000);
    EXPECT(heard.report.maker == 1 && heard.report.side == SIDE_SELL);
    EXPECT(strcmp(heard.report.execution_id, "4242") == 0);
    uint64_t owner = 0;
    EXPECT(binance_order_id_get(b, 55, &owner) && owner == id);
    int before = heard.executions;
    user("{\"e\":\"TRADE_LITE\",\"E\":5,\"T\":4,\"s\":\"BTCUSDT\",\"q\":\"0.010\",\"p\":\"60000."
         "0\",\"m\":true,"
         "\"c\":\"x\",\"S\":\"SELL\",\"L\":\"60000.0\",\"l\":\"0.004\",\"t\":4243,\"i\":55}");
    EXPECT(heard.executions == before); /* only the full event is booked */
}

static void test_forced_orders_are_said(void)
{
    order_event("autoclose-123", "CALCULATED", "FILLED", 4300);
    EXPECT(heard.report.client_order_id == 0 && strncmp(heard.report.text, "forced", 6) == 0);
    EXPECT(heard.report.owner == OWNER_VENUE);
    EXPECT(heard.level == EVENT_ERROR && strcmp(heard.event, "order_forced") == 0);
    order_event("somebody", "TRADE", "FILLED", 4301); /* a person's own order: booked, not halted */
    EXPECT(heard.report.client_order_id == 0 && strcmp(heard.report.text, "somebody") == 0);
    EXPECT(heard.report.owner == OWNER_PERSON);
}

/* Every step of an order that is not ours is told, with whose it is: it must be charged. */
static void test_the_orders_of_others_are_told(void)
{
    order_event("by-hand", "NEW", "NEW", 0);
    EXPECT(heard.report.owner == OWNER_PERSON && heard.report.execution_type == EXEC_NEW);
    EXPECT(heard.report.quantity.lots == 10 && heard.report.price.ticks == 600000);
    order_event("by-hand", "CANCELED", "CANCELED", 0);
    EXPECT(heard.report.execution_type == EXEC_CANCELED);
    order_event("psp0badcafe-0200000100000001", "NEW", "NEW", 0);
    EXPECT(heard.report.owner == OWNER_PURSER && heard.report.client_order_id == 0);
    EXPECT(strcmp(heard.report.text, "instance 0badcafe") == 0);
}

/* What this machine left open before the upgrade is ours; a new order of that form is another
 * Purser's, of that release. */
static void test_orders_of_before_the_upgrade_are_ours(void)
{
    order_event("pspabcd-0200000100000001", "TRADE", "PARTIALLY_FILLED", 4400);
    EXPECT(heard.report.owner == OWNER_US);
    EXPECT(heard.report.client_order_id == (BINANCE_EARLIER | 0x0200000100000001));
    order_event("pspabcd-0200000100000002", "NEW", "NEW", 0);
    EXPECT(heard.report.owner == OWNER_PURSER);
    EXPECT(strcmp(heard.report.text, "release 0.1.0 on machine abcd") == 0);
}

static void test_listen_key_expiry_renews(void)
{
    snprintf(b->listen_key, sizeof b->listen_key, "K");
    user("{\"e\":\"listenKeyExpired\",\"E\":\"5\",\"listenKey\":\"K\"}");
    EXPECT(b->listen_key[0] == '\0' && b->user_link.rotate);
    EXPECT(strcmp(heard.event, "listen_key_expired") == 0);
}

static void test_missed_fills_are_asked_from_the_unbroken_record(void)
{
    struct binance_market *m = &b->markets[0];
    m->last_trade_id = m->confirmed_trade_id = m->live_trade_id = 0;
    b->fills_complete = true;
    binance_fill_seen(b, m, 10);
    EXPECT(m->confirmed_trade_id == 10);
    binance_fills_broken(b);
    binance_fill_seen(b, m, 13); /* 11 and 12 were missed */
    EXPECT(m->last_trade_id == 13 && m->confirmed_trade_id == 10);
}

static void test_a_fill_missed_before_others_is_asked_from_the_last_agreement(void)
{
    struct binance_market *m = &b->markets[0];
    struct binance_reconcile kept = b->reconcile;
    int state = venue->session_state;
    int64_t reconciled_ns = b->reconciled_ns;
    venue->session_state = SESSION_READY;
    b->fills_complete = true;
    m->ended_trade_id = 100; /* the end of a reconcile; nobody asked again soon after */
    b->reconciled_ns = NOW;
    m->last_trade_id = m->confirmed_trade_id = 180; /* 101 was missed, 102 to 180 came */
    EXPECT(venue->operations->reconcile(venue, "180", NOW + 60000000000) == STATUS_OK);
    EXPECT(binance_fills_from(b, 0) == 180);
    m->ended_trade_id = 180;
    for (int again = 1; again <= 3; again++) { /* the positions differ */
        b->reconciled_ns = NOW + 60000000000;
        EXPECT(venue->operations->reconcile(venue, "180", NOW + 62000000000) == STATUS_OK);
        EXPECT(binance_fills_from(b, 0) == (again == 2 ? 0 : 100));
    }
    binance_reconcile_abort(b);
    b->reconcile = kept;
    b->reconciled_ns = reconciled_ns;
    venue->session_state = state;
}

static void test_no_order_without_a_fresh_dead_man(void)
{
    struct order order = {.client_order_id = 1, .instrument = &b->markets[0].instrument};
    venue->session_state = SESSION_READY;
    b->markets[0].dead_man_acked_ns = NOW;
    b->orders_hold_ns = 0;
    EXPECT(venue->operations->submit(venue, &order, NOW + 6000000001) == STATUS_REFUSED);
    venue->session_state = SESSION_SYNCING;
    EXPECT(venue->operations->submit(venue, &order, NOW + 1) == STATUS_REFUSED);
}

/* After a suspend no order leaves before the venue's clock is measured again. */
static void test_a_stall_makes_the_clock_stale(void)
{
    struct order order = {.client_order_id = 1, .instrument = &b->markets[0].instrument};
    bool clock_known = b->clock_known;
    b->clock_known = b->info_known = b->mode_known = true;
    b->worked_ns = NOW;
    b->clock_checked_ns = NOW;
    binance_watch_stall(b, NOW + 100000000);
    EXPECT(!b->clock_stale && b->clock_checked_ns == NOW);
    venue->session_state = SESSION_READY;
    binance_watch_stall(b, NOW + 10000000000);
    binance_session_update(b, NOW + 10000000000);
    EXPECT(b->clock_stale && b->clock_checked_ns == 0);
    EXPECT(venue->session_state == SESSION_SYNCING);
    EXPECT(venue->operations->submit(venue, &order, NOW + 10000000000) == STATUS_REFUSED);
    b->clock_stale = false;
    b->clock_known = clock_known;
    b->worked_ns = 0;
}

static void test_half_a_list_of_open_orders_is_asked_again(void)
{
    static const char body[] = "[{\"orderId\":5,\"symbol\":\"BTCUS";
    struct http_response http = {
        .status = STATUS_OK, .code = 200, .body = body, .body_length = sizeof body - 1};
    struct binance_answer answer = {
        .call = BINANCE_CALL_OPEN_ORDERS, .run = 7, .http = &http, .accepted = true};
    struct binance_reconcile kept = b->reconcile;
    b->reconcile.step = BINANCE_RECONCILE_ORDERS;
    b->reconcile.symbol = 0;
    b->reconcile.run = 7;
    b->reconcile.asked = true;
    b->reconcile.retry_ns = 0;
    binance_reconcile_answer(b, &answer, NOW);
    EXPECT(b->reconcile.step == BINANCE_RECONCILE_ORDERS && b->reconcile.retry_ns > NOW);
    b->reconcile = kept;
}

static void test_a_ban_holds_everything_back_until_it_ends(void)
{
    char message[BINANCE_TEXT];
    int64_t orders = b->orders_hold_ns, rest = b->rest_hold_ns;
    b->orders_hold_ns = b->rest_hold_ns = 0;
    binance_throttled(b, -1015, "Too many new orders", 0, NOW);
    EXPECT(b->orders_hold_ns == NOW + CLOCK_NS_PER_S && b->rest_hold_ns == 0);
    snprintf(message, sizeof message, "Way too many requests; IP(127.0.0.1) banned until %lld.",
             (long long)binance_wall_ms(b) + 60000);
    binance_throttled(b, -1003, message, 0, NOW);
    EXPECT(b->orders_hold_ns > NOW + 55 * CLOCK_NS_PER_S);
    EXPECT(b->orders_hold_ns <= NOW + 60 * CLOCK_NS_PER_S && b->rest_hold_ns == b->orders_hold_ns);
    EXPECT(strcmp(heard.event, "rate_limited") == 0);
    /* cancel-all cannot be sent meanwhile: it is not forgotten */
    bool known = b->clock_known;
    b->clock_known = true;
    EXPECT(venue->operations->cancel_all(venue, NOW) < 0);
    int left = b->cancel_all_left[0];
    binance_orders_turn(b, NOW + 2 * CLOCK_NS_PER_S);
    EXPECT(left > 0 && b->cancel_all_left[0] == left);
    b->cancel_all_left[0] = 0;
    b->clock_known = known;
    b->orders_hold_ns = orders;
    b->rest_hold_ns = rest;
}

static void test_a_second_start_asks_for_everything_again(void)
{
    /* start leaves links alone */
    b->clock_asked = b->key_asked = b->markets[0].dead_man_asked = true;
    EXPECT(venue->operations->start(venue, &loop, NOW) == STATUS_OK);
    EXPECT(!b->clock_asked && !b->key_asked && !b->markets[0].dead_man_asked);
}

static struct http_response page_http;

/* An answer of `rows` equal funding rows; `cut` leaves its last byte out. */
static struct binance_answer income_page(int rows, bool cut)
{
    static char body[256 * 1024];
    size_t length = 0;
    body[length++] = '[';
    for (int n = 0; n < rows; n++)
        length += (size_t)snprintf(body + length, sizeof body - length,
                                   "%s{\"symbol\":\"BTCUSDT\",\"incomeType\":\"FUNDING_FEE\","
                                   "\"income\":\"-1.5\",\"asset\":\"USDT\",\"time\":5,"
                                   "\"tranId\":%d,\"tradeId\":\"\"}",
                                   n > 0 ? "," : "", n);
    body[length++] = ']';
    page_http = (struct http_response){
        .status = STATUS_OK, .code = 200, .body = body, .body_length = length - cut};
    return (struct binance_answer){
        .call = BINANCE_CALL_INCOME, .http = &page_http, .accepted = true};
}

/* Ten days are two windows; a full page is followed by another one; half a page is none. */
static void test_the_history_is_read_to_its_end(void)
{
    int64_t day_ms = 86400000;
    venue->cash_since_ns = (binance_wall_ms(b) - 10 * day_ms) * CLOCK_NS_PER_MS;
    binance_income_begin(b);
    int64_t first_ms = b->cash.first_ms, middle_ms = b->cash.last_ms;
    EXPECT(middle_ms - first_ms == 7 * day_ms && b->cash.page == 1);
    heard.movements = heard.histories = 0;
    struct binance_answer answer = income_page(BINANCE_INCOME_PAGE, true);
    EXPECT(binance_income_read(b, &answer, NOW) == -1 && heard.movements == 0);
    answer = income_page(BINANCE_INCOME_PAGE, false);
    EXPECT(binance_income_read(b, &answer, NOW) == 0 && heard.movements == BINANCE_INCOME_PAGE);
    EXPECT(b->cash.page == 2 && b->cash.first_ms == first_ms && b->cash.last_ms == middle_ms);
    answer = income_page(3, false);
    EXPECT(binance_income_read(b, &answer, NOW) == 0 && heard.movements == 1003);
    EXPECT(b->cash.page == 1 && b->cash.first_ms == middle_ms && heard.histories == 0);
    answer = income_page(0, false);
    EXPECT(binance_income_read(b, &answer, NOW) == 1 && heard.histories == 1);
    EXPECT(heard.cash.amount_e8 == -150000000 && heard.cash.wallet_e8 == -150000000);
    EXPECT(strcmp(heard.cash.key, "FUNDING_FEE:2") == 0 && !heard.cash.provisional);
    EXPECT(!binance_cash_due(b, NOW + 1) && binance_cash_due(b, NOW + 60000000000));
}

/* Only what no fill explains is a movement; the same event has the same identity; a position is
 * told with what changed it. */
static void test_account_events_are_told(void)
{
    heard.movements = heard.positions = 0;
    user("{\"e\":\"ACCOUNT_UPDATE\",\"T\":4,\"E\":5,\"a\":{\"m\":\"ORDER\",\"B\":[{\"a\":\"USDT\","
         "\"wb\":\"10\",\"cw\":\"10\",\"bc\":\"0\"}],\"P\":[{\"s\":\"BTCUSDT\",\"pa\":\"0.004\","
         "\"ep\":"
         "\"60000.05\",\"ps\":\"BOTH\"}]}}");
    EXPECT(heard.movements == 0 && heard.positions == 1 && heard.after_fill);
    EXPECT(heard.told_lots == 4 && heard.told_entry_e9 == 60000050000000);
    static const char funding[] = "{\"e\":\"ACCOUNT_UPDATE\",\"T\":6,\"E\":7,\"a\":{\"m\":"
                                  "\"FUNDING_FEE\",\"B\":[{\"a\":\"USDT\","
                                  "\"wb\":\"9.5\",\"cw\":\"9.5\",\"bc\":\"-0.5\"}],\"P\":[]}}";
    user(funding);
    EXPECT(heard.movements == 1 && heard.cash.provisional && heard.cash.kind == CASH_FUNDING);
    EXPECT(heard.cash.amount_e8 == -50000000 && heard.cash.wall_ns == 6 * CLOCK_NS_PER_MS);
    uint64_t identity = heard.cash.identity;
    user(funding);
    EXPECT(heard.cash.identity == identity);
    user("{\"e\":\"ACCOUNT_UPDATE\",\"T\":6,\"E\":7,\"a\":{\"m\":\"FUNDING_FEE\",\"B\":[{\"a\":"
         "\"USDT\","
         "\"wb\":\"9\",\"cw\":\"9\",\"bc\":\"-0.5\"}],\"P\":[]}}");
    EXPECT(heard.cash.identity != identity);
    user("{\"e\":\"ACCOUNT_UPDATE\",\"T\":8,\"E\":9,\"a\":{\"m\":\"ADJUSTMENT\",\"B\":[{\"a\":"
         "\"BNB\","
         "\"wb\":\"9\",\"cw\":\"9\",\"bc\":\"-1\"}],\"P\":[{\"s\":\"BTCUSDT\",\"pa\":\"-25.000\","
         "\"ep\":"
         "\"60000\",\"ps\":\"BOTH\"},{\"s\":\"BTCUSDT\",\"pa\":\"1.000\",\"ep\":\"1\",\"ps\":"
         "\"LONG\"}]}}");
    EXPECT(heard.cash.wallet_e8 == 0 && heard.cash.amount_e8 == 0);
    EXPECT(heard.positions == 2 && !heard.after_fill && heard.told_lots == -25000);
}

/* The money of a fill is profit less commission, and only what left this wallet. */
static void test_fills_tell_their_money(void)
{
    struct execution_report report = {0};
    binance_fill_wallet(&report, true, 500, true, 40, "USDT");
    EXPECT(report.wallet_told && report.wallet_e8 == 460);
    binance_fill_wallet(&report, true, 500, true, 40, "BNB");
    EXPECT(report.wallet_told && report.wallet_e8 == 500);
    binance_fill_wallet(&report, true, 500, false, 0, "");
    EXPECT(!report.wallet_told);
    binance_fill_wallet(&report, false, 0, true, 40, "USDT");
    EXPECT(!report.wallet_told);
}

int main(void)
{
    connector_make();
    test_gap_empties_the_book();
    test_repeated_delta_is_ignored();
    test_top_is_checked_against_ticker();
    test_malformed_frames_never_crash();
    test_answers_are_classified();
    test_cancel_of_a_gone_order_is_a_question();
    test_silence_and_loss_are_unknown();
    test_fills_come_from_the_user_stream();
    test_forced_orders_are_said();
    test_the_orders_of_others_are_told();
    test_orders_of_before_the_upgrade_are_ours();
    test_listen_key_expiry_renews();
    test_missed_fills_are_asked_from_the_unbroken_record();
    test_a_fill_missed_before_others_is_asked_from_the_last_agreement();
    test_no_order_without_a_fresh_dead_man();
    test_a_stall_makes_the_clock_stale();
    test_half_a_list_of_open_orders_is_asked_again();
    test_a_ban_holds_everything_back_until_it_ends();
    test_the_history_is_read_to_its_end();
    test_account_events_are_told();
    test_fills_tell_their_money();
    test_a_second_start_asks_for_everything_again();
    b->market_link.socket.state = b->user_link.socket.state = b->api_link.socket.state =
        WEBSOCKET_CLOSED;
    binance_connector_free(venue);
    loop_fini(&loop);
    arena_fini(&arena);
    return 0;
}
