/* Binance bytes become exact structs, in any spelling; bad bytes are refused; requests carry the
 * right signatures; and from a market frame to signed order bytes nothing touches the heap. */
#include "../../c_core/src/base/arena.h"
#include "../../c_core/src/connectors/crypto/binance_wire.h"

#include "../../bridge/reasons.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int64_t heap_calls;

#if !defined(PURSER_HEAP_TRAP) && !defined(__SANITIZE_ADDRESS__) /* both own malloc */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);

void *malloc(size_t size)
{
    heap_calls++;
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    heap_calls++;
    return __libc_calloc(count, size);
}
#endif

/* A literal and its length. */
#define TEXT(literal) (literal), sizeof(literal) - 1

static struct instrument bitcoin = {.symbol = "BTCUSDT",
                                    .tick_e9 = 100000000,
                                    .lot_e9 = 1000000,
                                    .price_decimals = 1,
                                    .quantity_decimals = 3};
static const struct instrument *const known[] = {&bitcoin};
static const struct binance_symbols symbols = {known, 1};
static struct binance_market_event event;
static struct book_level levels[64];

static const char DEPTH[] =
    "{\"stream\":\"btcusdt@depth@100ms\",\"data\":{\"e\":\"depthUpdate\",\"E\":1789469121904,"
    "\"T\":1789469121836,\"s\":\"BTCUSDT\",\"ps\":\"BTCUSDT\",\"U\":429012275424,\"u\":"
    "429012275789,"
    "\"pu\":429012275360,\"b\":[[\"77021.60\",\"650.004\"],[\"77000.00\",\"0.000\"]],"
    "\"a\":[[\"77021.70\",\"0.001\"]],\"st\":1}}";
static const char TICKER[] =
    "{\"stream\":\"btcusdt@bookTicker\",\"data\":{\"e\":\"bookTicker\",\"u\":429012276615,"
    "\"s\":\"BTCUSDT\",\"ps\":\"BTCUSDT\",\"b\":\"76947.30\",\"B\":\"0.037\",\"a\":\"76968.30\","
    "\"A\":\"2237.217\",\"T\":1789469121938,\"E\":1789469121959,\"st\":1}}";

static int market(const char *text)
{
    return binance_wire_market(&event, levels, 64, &symbols, text, strlen(text));
}

static void check_depth(void)
{
    const struct book_delta *delta = &event.delta;
    CHECK(event.kind == BINANCE_MARKET_DEPTH && event.instrument == &bitcoin);
    CHECK(delta->first_id == 429012275424 && delta->last_id == 429012275789);
    CHECK(delta->previous_id == 429012275360 && event.event_ms == 1789469121904);
    CHECK(event.transaction_ms == 1789469121836 && delta->bid_count == 2 && delta->ask_count == 1);
    CHECK(levels[0].price.ticks == 770216 && levels[0].quantity.lots == 650004);
    CHECK(levels[1].price.ticks == 770000 && levels[1].quantity.lots == 0);
    CHECK(levels[2].price.ticks == 770217 && levels[2].quantity.lots == 1);
}

static void reads_depth(void)
{
    CHECK(market(DEPTH) == STATUS_OK && strcmp(event.stream, "btcusdt@depth@100ms") == 0);
    check_depth();
    CHECK(market("{\"e\":\"depthUpdate\",\"E\":1789469121904,\"T\":1789469121836,\"s\":\"BTCUSDT\","
                 "\"U\":429012275424,\"u\":429012275789,\"pu\":429012275360,\"b\":[[\"77021.60\","
                 "\"650.004\"],[\"77000.00\",\"0.000\"]],\"a\":[[\"77021.70\",\"0.001\"]]}") == 0);
    check_depth();
    /* other order, blanks, other decimals, an unknown member */
    CHECK(market(
              " { \"data\" : { \"a\":[ [\"77021.7\" , \"0.0010\"] ], "
              "\"b\":[[\"77021.6\",\"650.004\"],"
              "[\"77000\",\"0\"]],\"new\":{\"x\":[1,null]}, \"pu\":429012275360,\"u\":429012275789,"
              "\"U\":429012275424,\"s\":\"BTCUSDT\",\"T\":1789469121836,\"E\":1789469121904,"
              "\"e\":\"depthUpdate\"} , \"stream\":\"btcusdt@depth\" }") == STATUS_OK);
    check_depth();
    CHECK(market(TICKER) == STATUS_OK && event.kind == BINANCE_MARKET_TICKER);
    CHECK(event.ticker_id == 429012276615 && event.ticker.bid.ticks == 769473);
    CHECK(event.ticker.ask.ticks == 769683 && event.ticker.bid_quantity.lots == 37);
    CHECK(event.ticker.ask_quantity.lots == 2237217 && event.event_ms == 1789469121959);
}

static void reads_other_market_events(void)
{
    CHECK(market("{\"e\":\"aggTrade\",\"E\":5,\"a\":77,\"s\":\"BTCUSDT\",\"p\":\"61800.30\",\"q\":"
                 "\"0.006\",\"nq\":\"0.006\",\"f\":1,\"l\":2,\"T\":4,\"m\":true,\"st\":1}") == 0);
    CHECK(event.kind == BINANCE_MARKET_TRADE && event.aggregated && event.trade_id == 77);
    CHECK(event.price.ticks == 618003 && event.quantity.lots == 6);
    CHECK(event.aggressor_side == SIDE_SELL && event.transaction_ms == 4);
    CHECK(market("{\"stream\":\"btcusdt@trade\",\"data\":{\"e\":\"trade\",\"E\":1,\"T\":1,\"s\":"
                 "\"BTCUSDT\",\"t\":9,\"p\":\"61800.20\",\"q\":\"0.015\",\"X\":\"MARKET\",\"m\":"
                 "false}}") == 0);
    CHECK(event.trade_id == 9 && !event.aggregated && event.aggressor_side == SIDE_BUY);
    CHECK(market("{\"result\":null,\"id\":3}") == 0 && event.kind == BINANCE_MARKET_REPLY);
    CHECK(event.reply_id == 3 && event.reply_code == 0);
    CHECK(market("{\"error\":{\"code\":2,\"msg\":\"Invalid request\"},\"id\":\"x\"}") == 0);
    CHECK(event.kind == BINANCE_MARKET_REPLY && event.reply_code == 2 && event.reply_id == -1);
    CHECK(market("{\"event\":{\"e\":\"serverShutdown\",\"E\":1}}") == 0);
    CHECK(event.kind == BINANCE_MARKET_SHUTDOWN);
    CHECK(market("{\"e\":\"markPriceUpdate\",\"E\":1,\"s\":\"BTCUSDT\",\"p\":\"11794.15000000\","
                 "\"T\":2}") == 0);
    CHECK(event.kind == BINANCE_MARKET_MARK && event.mark_price_e9 == 11794150000000);
    /* not ours: another symbol (even a non-ASCII one), COIN-M, an unknown event */
    CHECK(market("{\"e\":\"bookTicker\",\"u\":1,\"s\":\"\xe5\xb8\x81\",\"b\":\"1\",\"B\":\"1\","
                 "\"a\":\"2\",\"A\":\"1\",\"T\":1,\"E\":1,\"st\":1}") == 0);
    CHECK(event.instrument == NULL);
    CHECK(market("{\"e\":\"bookTicker\",\"u\":1,\"s\":\"BTCUSDT\",\"b\":\"1\",\"B\":\"1\",\"a\":"
                 "\"2\",\"A\":\"1\",\"T\":1,\"E\":1,\"st\":2}") == 0);
    CHECK(event.instrument == NULL);
    CHECK(market("{\"e\":\"kline\",\"E\":1,\"s\":\"BTCUSDT\",\"k\":{}}") == 0 && event.kind == 0);
}

/* Every prefix of a real frame, and frames with one bad number, are refused. */
static void refuses_bad_market_bytes(void)
{
    for (size_t n = 0; n < sizeof DEPTH - 1; n++)
        CHECK(binance_wire_market(&event, levels, 64, &symbols, DEPTH, n) == STATUS_PROTOCOL);
    for (size_t n = 0; n < sizeof TICKER - 1; n++)
        CHECK(binance_wire_market(&event, levels, 64, &symbols, TICKER, n) == STATUS_PROTOCOL);
    static const char *const numbers[] = {"77021.65", "1e3", "-1.00", "",
                                          "NaN",      "1.",  "x",     "99999999999999999999"};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        char text[512];
        snprintf(
            text, sizeof text,
            "{\"e\":\"depthUpdate\",\"E\":1,\"T\":1,\"s\":\"BTCUSDT\",\"U\":1,\"u\":2,\"pu\":0,"
            "\"b\":[[\"%s\",\"1.000\"]],\"a\":[]}",
            numbers[i]);
        CHECK(market(text) == STATUS_PROTOCOL);
    }
    CHECK(binance_wire_market(&event, levels, 2, &symbols, DEPTH, sizeof DEPTH - 1) ==
          STATUS_LIMIT);
    CHECK(market("[]") == STATUS_PROTOCOL && market("null") == STATUS_PROTOCOL);
}

static const char UPDATE[] =
    "{\"e\":\"ORDER_TRADE_UPDATE\",\"E\":1568879465651,\"T\":1568879465650,\"o\":{\"s\":"
    "\"BTCUSDT\","
    "\"c\":\"psp00ab-02000001000000ff\",\"S\":\"SELL\",\"o\":\"LIMIT\",\"f\":\"GTX\",\"q\":\"0."
    "010\","
    "\"p\":\"61800.20\",\"ap\":\"61800.2\",\"sp\":\"0\",\"x\":\"TRADE\",\"X\":\"PARTIALLY_FILLED\","
    "\"i\":8886774,\"l\":\"0.004\",\"z\":\"0.006\",\"L\":\"61800.20\",\"N\":\"USDT\","
    "\"n\":\"0.04944016\",\"T\":1568879465650,\"t\":555,\"b\":\"0\",\"a\":\"9.91\",\"m\":true,"
    "\"R\":false,\"wt\":\"CONTRACT_PRICE\",\"ot\":\"LIMIT\",\"ps\":\"BOTH\",\"cp\":false,\"rp\":"
    "\"0\","
    "\"pP\":false,\"si\":0,\"ss\":0,\"V\":\"EXPIRE_MAKER\",\"pm\":\"NONE\",\"gtd\":0,\"er\":\"0\"}"
    "}";

static struct binance_user_event user_event;

static int user(const char *text)
{
    return binance_wire_user(&user_event, &symbols, text, strlen(text));
}

static void reads_user_stream(void)
{
    const struct binance_order *order = &user_event.order;
    CHECK(user(UPDATE) == STATUS_OK && user_event.kind == BINANCE_USER_ORDER);
    CHECK(order->instrument == &bitcoin && order->side == SIDE_SELL && order->order_id == 8886774);
    CHECK(order->status == BINANCE_STATUS_PARTIALLY_FILLED && order->price.ticks == 618002);
    CHECK(order->quantity.lots == 10 && order->cumulative.lots == 6 && !order->reduce_only);
    CHECK(user_event.execution == BINANCE_EXECUTION_TRADE && user_event.trade_id == 555);
    CHECK(user_event.last_quantity.lots == 4 && user_event.last_price.ticks == 618002);
    CHECK(user_event.has_commission && user_event.commission_e8 == 4944016 && user_event.maker);
    CHECK(strcmp(user_event.commission_asset, "USDT") == 0 && user_event.forced == 0);
    CHECK(
        user(
            "{\"stream\":\"k\",\"data\":{\"e\":\"ORDER_TRADE_UPDATE\",\"E\":1,\"T\":1,\"o\":{\"s\":"
            "\"BTCUSDT\",\"c\":\"autoclose-1\",\"S\":\"BUY\",\"q\":\"0.010\",\"p\":\"0\",\"ap\":"
            "\"0\","
            "\"x\":\"CALCULATED\",\"X\":\"NEW_INSURANCE\",\"i\":1,\"l\":\"0\",\"z\":\"0\",\"L\":"
            "\"0\",\"T\":1,\"t\":0,\"m\":false,\"R\":false,\"er\":\"5\"}}}") == STATUS_OK);
    CHECK(user_event.forced == BINANCE_FORCED_LIQUIDATION && !user_event.has_commission);
    CHECK(user_event.expire_reason == 5 && user_event.execution == BINANCE_EXECUTION_CALCULATED);
    CHECK(
        user("{\"e\":\"TRADE_LITE\",\"E\":2,\"T\":1,\"s\":\"BTCUSDT\",\"q\":\"0.010\",\"p\":"
             "\"0.0000\",\"m\":false,\"c\":\"x\",\"S\":\"BUY\",\"L\":\"61800.30\",\"l\":\"0.010\","
             "\"t\":7,\"i\":8}") == STATUS_OK);
    CHECK(user_event.kind == BINANCE_USER_TRADE_LITE && user_event.last_price.ticks == 618003);
    CHECK(user("{\"e\":\"ACCOUNT_UPDATE\",\"E\":1,\"T\":1,\"a\":{\"m\":\"ORDER\",\"B\":[{\"a\":"
               "\"USDT\","
               "\"wb\":\"1.5\",\"cw\":\"1\",\"bc\":\"0\"}],\"P\":[{\"s\":\"BTCUSDT\",\"pa\":\"-0."
               "012\","
               "\"ep\":\"61800.21\",\"ps\":\"BOTH\"},{\"s\":\"ETHUSDT\",\"pa\":\"1\",\"ep\":\"1\","
               "\"ps\":\"BOTH\"}]}}") == STATUS_OK);
    CHECK(user_event.kind == BINANCE_USER_ACCOUNT && user_event.position_count == 1);
    CHECK(user_event.positions[0].quantity.lots == -12);
    CHECK(user_event.positions[0].entry_e9 == 61800210000000);
    CHECK(user("{\"e\":\"listenKeyExpired\",\"E\":\"1736996475556\",\"listenKey\":\"k\"}") == 0);
    CHECK(user_event.kind == BINANCE_USER_LISTEN_KEY_EXPIRED);
    CHECK(user("{\"e\":\"ALGO_UPDATE\",\"T\":1,\"E\":1,\"o\":{}}") == 0 && user_event.kind == 0);
    CHECK(strcmp(user_event.name, "ALGO_UPDATE") == 0);
    CHECK(user("{\"result\":null,\"id\":1}") == 0 && user_event.kind == BINANCE_USER_REPLY);
    for (size_t n = 0; n < sizeof UPDATE - 1; n++)
        CHECK(binance_wire_user(&user_event, &symbols, UPDATE, n) == STATUS_PROTOCOL);
    CHECK(binance_order_state(BINANCE_STATUS_EXPIRED_IN_MATCH) == ORDER_EXPIRED);
    CHECK(binance_order_state(BINANCE_STATUS_OTHER) == ORDER_UNKNOWN);
}

static void reads_replies(void)
{
    struct binance_reply reply;
    static const char placed[] =
        "{\"id\":12,\"status\":200,\"result\":{\"orderId\":325078477,\"symbol\":\"BTCUSDT\","
        "\"status\":"
        "\"NEW\",\"clientOrderId\":\"psp00ab-0200000100000001\",\"price\":\"61800.20\",\"origQty\":"
        "\"0.002\",\"executedQty\":\"0.000\",\"cumQty\":\"0.000\",\"timeInForce\":\"GTX\",\"type\":"
        "\"LIMIT\",\"reduceOnly\":false,\"side\":\"BUY\",\"updateTime\":1702555534435},"
        "\"rateLimits\":["
        "{\"rateLimitType\":\"ORDERS\",\"interval\":\"SECOND\",\"intervalNum\":10,\"limit\":300,"
        "\"count\":4},{\"rateLimitType\":\"REQUEST_WEIGHT\",\"interval\":\"MINUTE\","
        "\"intervalNum\":1,"
        "\"limit\":2400,\"count\":6}]}";
    CHECK(binance_wire_reply(&reply, &symbols, placed, sizeof placed - 1) == STATUS_OK);
    CHECK(reply.id == 12 && reply.http_status == 200 && reply.code == 0 && reply.has_order);
    CHECK(reply.order.order_id == 325078477 && reply.order.status == BINANCE_STATUS_NEW);
    CHECK(reply.orders_10s == 4 && reply.orders_1m == -1 && reply.weight_1m == 6);
    static const char refused[] = "{\"id\":null,\"status\":401,\"error\":{\"code\":-2015,\"msg\":"
                                  "\"Invalid API-key, IP, or permissions for action.\"}}";
    CHECK(binance_wire_reply(&reply, &symbols, refused, sizeof refused - 1) == STATUS_OK);
    CHECK(reply.id == -1 && reply.http_status == 401 && reply.code == -2015 && !reply.has_order);
    CHECK(strncmp(reply.message, "Invalid API-key", 15) == 0);
    CHECK(binance_wire_reply(&reply, &symbols, TEXT("{}")) == STATUS_PROTOCOL);
    int64_t code, ms;
    char message[BINANCE_TEXT], key[80], symbol[PROTOCOL_SYMBOL];
    bool dual;
    CHECK(binance_wire_error(&code, message,
                             TEXT("{\"code\":-1121,\"msg\":\"Invalid symbol.\"}")) == STATUS_OK);
    CHECK(code == -1121 && strcmp(message, "Invalid symbol.") == 0);
    CHECK(binance_wire_error(&code, message, TEXT("<html>")) == STATUS_PROTOCOL);
    CHECK(binance_wire_server_time(&ms, TEXT("{\"serverTime\":1499827319559}")) == 0);
    CHECK(ms == 1499827319559);
    CHECK(binance_wire_listen_key(key, sizeof key, TEXT("{\"listenKey\":\"abc\"}")) == 0);
    CHECK(strcmp(key, "abc") == 0);
    CHECK(binance_wire_listen_key(key, 3, TEXT("{\"listenKey\":\"abc\"}")) == STATUS_LIMIT);
    CHECK(binance_wire_position_mode(&dual, TEXT("{\"dualSidePosition\":false}")) == 0 && !dual);
    CHECK(binance_wire_countdown(
              symbol, &ms, TEXT("{\"symbol\":\"BTCUSDT\",\"countdownTime\":\"12000\"}")) == 0);
    CHECK(ms == 12000 && strcmp(symbol, "BTCUSDT") == 0);
}

static void reads_lists(void)
{
    struct scan list;
    struct binance_order order;
    struct binance_fill fill;
    struct binance_position position;
    static const char orders[] =
        "[{\"symbol\":\"BTCUSDT\",\"orderId\":1,\"clientOrderId\":\"a\",\"side\":\"BUY\","
        "\"status\":"
        "\"NEW\",\"price\":\"1.0\",\"origQty\":\"0.001\",\"executedQty\":\"0\",\"avgPrice\":\"0."
        "00\"},"
        "{\"symbol\":\"OTHER\",\"orderId\":2,\"clientOrderId\":\"b\",\"side\":\"SELL\",\"status\":"
        "\"PAUSED\",\"price\":\"0.00012345\",\"origQty\":\"1\",\"executedQty\":\"0\"}]";
    CHECK(binance_wire_list(&list, orders, sizeof orders - 1) == STATUS_OK);
    CHECK(binance_wire_order_next(&list, &order, &symbols) == 1 && order.price.ticks == 10);
    CHECK(binance_wire_order_next(&list, &order, &symbols) == 1 && order.instrument == NULL);
    CHECK(order.status == BINANCE_STATUS_OTHER && order.order_id == 2);
    CHECK(binance_wire_order_next(&list, &order, &symbols) == 0);
    CHECK(binance_wire_list(&list, orders, sizeof orders - 2) == STATUS_OK);
    while (binance_wire_order_next(&list, &order, &symbols) == 1)
        continue;
    CHECK(binance_wire_order_next(&list, &order, &symbols) == STATUS_PROTOCOL);
    static const char fills[] =
        "[{\"symbol\":\"BTCUSDT\",\"id\":698759,\"orderId\":25851813,\"side\":\"SELL\",\"price\":"
        "\"7819.0\",\"qty\":\"0.002\",\"quoteQty\":\"15.638\",\"commission\":\"-0.07819010\","
        "\"commissionAsset\":\"USDT\",\"maker\":false,\"buyer\":false,\"time\":1569514978020}]";
    CHECK(binance_wire_list(&list, fills, sizeof fills - 1) == STATUS_OK);
    CHECK(binance_wire_fill_next(&list, &fill, &symbols) == 1 && fill.trade_id == 698759);
    CHECK(fill.commission_e8 == -7819010 && fill.price.ticks == 78190 && fill.side == SIDE_SELL);
    CHECK(binance_wire_fill_next(&list, &fill, &symbols) == 0);
    static const char positions[] =
        "[{\"symbol\":\"BTCUSDT\",\"positionSide\":\"BOTH\",\"positionAmt\":"
        "\"-0.010\",\"entryPrice\":\"61800.123456789123\"}]";
    CHECK(binance_wire_list(&list, positions, sizeof positions - 1) == STATUS_OK);
    CHECK(binance_wire_position_next(&list, &position, &symbols) == 1);
    CHECK(position.quantity.lots == -10 && position.entry_e9 == 61800123456789);
    CHECK(binance_wire_position_next(&list, &position, &symbols) == 0);
    CHECK(binance_wire_list(&list, TEXT("{}")) == STATUS_PROTOCOL);
}

static void reads_exchange_info(void)
{
    static const char info[] =
        "{\"rateLimits\":[{\"rateLimitType\":\"REQUEST_WEIGHT\",\"interval\":\"MINUTE\","
        "\"intervalNum\":"
        "1,\"limit\":2400},{\"rateLimitType\":\"ORDERS\",\"interval\":\"SECOND\",\"intervalNum\":"
        "10,"
        "\"limit\":300}],\"symbols\":[{\"symbol\":\"ODD\",\"status\":\"TRADING\",\"filters\":[{"
        "\"minPrice\":"
        "\"0.05\",\"tickSize\":\"0.10\",\"maxPrice\":\"9\",\"filterType\":\"PRICE_FILTER\"}]},"
        "{\"symbol\":\"BTCUSDT\",\"status\":\"TRADING\",\"pricePrecision\":2,\"filters\":[{"
        "\"minPrice\":"
        "\"261.10\",\"tickSize\":\"0.10\",\"maxPrice\":\"809484\",\"filterType\":\"PRICE_FILTER\"},"
        "{\"minQty\":\"0.0001\",\"filterType\":\"LOT_SIZE\",\"maxQty\":\"1000\",\"stepSize\":\"0."
        "0001\"},"
        "{\"filterType\":\"MIN_NOTIONAL\",\"notional\":\"50\"},{\"multiplierDown\":\"0.9500\","
        "\"filterType\":\"PERCENT_PRICE\",\"multiplierUp\":\"1.0500\"}]}]}";
    struct instrument out = {.shock_ppm = 100000};
    struct binance_limits limits;
    CHECK(binance_wire_exchange_info(&out, &limits, "BTCUSDT", info, sizeof info - 1) == STATUS_OK);
    CHECK(out.tick_e9 == 100000000 && out.lot_e9 == 100000 && out.trading &&
          out.shock_ppm == 100000);
    CHECK(out.price_decimals == 1 && out.quantity_decimals == 4 && out.min_price.ticks == 2611);
    CHECK(out.max_price.ticks == 8094840 && out.max_quantity.lots == 10000000);
    CHECK(out.min_quantity.lots == 1 && out.min_notional.micros == 50000000);
    CHECK(out.percent_price_up_ppm == 1050000 && out.percent_price_down_ppm == 950000);
    CHECK(limits.weight_1m == 2400 && limits.orders_10s == 300 && limits.orders_1m == 0);
    CHECK(binance_wire_exchange_info(&out, NULL, "ODD", info, sizeof info - 1) == STATUS_REFUSED);
    CHECK(binance_wire_exchange_info(&out, NULL, "NONE", info, sizeof info - 1) == STATUS_REFUSED);
    CHECK(binance_wire_exchange_info(&out, NULL, "NONE", info, sizeof info - 3) == STATUS_PROTOCOL);
}

static void is_class(int64_t http, int64_t code, const char *message, int outcome, int reason)
{
    struct binance_class class = binance_wire_classify(http, code, message);
    CHECK(class.outcome == outcome && class.reason == reason);
}

static void classifies(void)
{
    is_class(200, 0, "", BINANCE_ACCEPTED, REJECT_NONE);
    is_class(200, 200, "done", BINANCE_ACCEPTED, REJECT_NONE);
    is_class(0, 0, NULL, BINANCE_UNKNOWN, REJECT_NONE);
    is_class(408, 0, "", BINANCE_UNKNOWN, REJECT_NONE);
    is_class(502, 0, "", BINANCE_UNKNOWN, REJECT_NONE);
    is_class(503, 0, "Unknown error, please check your request or try again later.",
             BINANCE_UNKNOWN, 0);
    is_class(503, -1001, "Internal error; unable to process your request. Please try again.",
             BINANCE_FAILED_QUERY, REJECT_NONE);
    is_class(503, 0, "Service Unavailable.", BINANCE_REJECTED_THROTTLE, REJECT_RATE_LIMITED);
    is_class(400, -1021, "", BINANCE_REJECTED_CLOCK, REJECT_CLOCK);
    is_class(400, -5028, "", BINANCE_REJECTED_CLOCK, REJECT_CLOCK);
    is_class(401, -2015, "", BINANCE_REJECTED_AUTH, REJECT_VENUE_AUTH);
    is_class(400, -1022, "", BINANCE_REJECTED_AUTH, REJECT_VENUE_AUTH);
    is_class(429, -1003, "", BINANCE_REJECTED_THROTTLE, REJECT_RATE_LIMITED);
    is_class(418, 0, "", BINANCE_REJECTED_THROTTLE, REJECT_RATE_LIMITED);
    is_class(400, -4400, "", BINANCE_REJECTED_RESTRICTION, REJECT_VENUE_MODE);
    is_class(400, -2023, "", BINANCE_REJECTED_RESTRICTION, REJECT_VENUE_MODE);
    is_class(400, -2019, "", BINANCE_REJECTED, REJECT_INSUFFICIENT_BALANCE);
    is_class(400, -2022, "", BINANCE_REJECTED, REJECT_VENUE_REJECT);
    is_class(400, -5022, "", BINANCE_REJECTED, REJECT_POST_ONLY_CROSS);
    is_class(400, -4164, "", BINANCE_REJECTED, REJECT_MIN_NOTIONAL);
    is_class(400, -1007, "", BINANCE_UNKNOWN, REJECT_NONE);
    is_class(400, -4116, "", BINANCE_LANDED_EARLIER, REJECT_NONE);
    is_class(400, -4046, "", BINANCE_NOTHING_TO_DO, REJECT_NONE);
    is_class(400, -2011, "", BINANCE_CANCEL_NO_ORDER, REJECT_NONE);
    is_class(400, -2013, "", BINANCE_QUERY_NO_ORDER, REJECT_NONE);
    is_class(400, -99999, "", BINANCE_UNKNOWN, REJECT_NONE);
}

static void names_orders(void)
{
    struct binance_prefix prefix, other;
    char text[BINANCE_CLIENT_ID];
    binance_prefix_make(&prefix, 'p', 0x1a2b3c4d, 0x00ab);
    binance_prefix_make(&other, 'l', 0x1a2b3c4d, 0x00ab);
    binance_client_id(text, &prefix, 0x02000001000000ff);
    CHECK(strcmp(text, "psp1a2b3c4d-02000001000000ff") == 0);
    CHECK(strlen(text) < PROTOCOL_QUERY_ID);
    CHECK(binance_client_id_parse(&prefix, text) == 0x02000001000000ff);
    CHECK(binance_client_id_parse(&other, text) == 0);
    CHECK(binance_client_id_parse(&prefix, "psp1a2b3c4d-02000001000000fg") == 0);
    CHECK(binance_client_id_parse(&prefix, "psp1a2b3c4d-0000000000000000") == 0);
    CHECK(binance_client_id_parse(&prefix, "psp1a2b3c4d-8200000100000001") == 0);
    CHECK(binance_client_id_parse(&prefix, "autoclose-1") == 0);
}

/* An order of release 0.1.0 is named to the venue as it was when it was placed. */
static void names_orders_of_before_the_upgrade(void)
{
    struct binance_prefix prefix;
    char text[BINANCE_CLIENT_ID];
    binance_prefix_make(&prefix, 'p', 0x1a2b3c4d, 0x00ab);
    uint64_t id = binance_client_id_parse(&prefix, "psp00ab-02000001000000ff");
    CHECK(id == (BINANCE_EARLIER | 0x02000001000000ff));
    binance_client_id(text, &prefix, id);
    CHECK(strcmp(text, "psp00ab-02000001000000ff") == 0);
    CHECK(binance_client_id_parse(&prefix, "psp00ac-02000001000000ff") == 0);
    CHECK(binance_client_id_parse(&prefix, "psl00ab-02000001000000ff") == 0);
}

static void is_other(const char *text, const char *expected)
{
    struct binance_prefix prefix;
    char name[BINANCE_OTHER_NAME];
    binance_prefix_make(&prefix, 'p', 0x1a2b3c4d, 0x00ab);
    uint64_t other = binance_client_id_other(&prefix, text);
    CHECK((other != 0) == (expected != NULL));
    if (expected == NULL)
        return;
    binance_other_name(name, &prefix, other);
    CHECK(strcmp(name, expected) == 0);
}

/* An id of Purser's form that is not ours names the Purser that wrote it; nobody else's does. */
static void names_other_pursers(void)
{
    is_other("psp1a2b3c4e-02000001000000ff", "instance 1a2b3c4e");
    is_other("psp0000000f-02000001000000ff", "instance 0000000f");
    is_other("psl1a2b3c4d-02000001000000ff", "instance 1a2b3c4d, live");
    is_other("psp00ac-02000001000000ff", "release 0.1.0 on machine 00ac");
    is_other("psp00ab-02000001000000ff", "release 0.1.0 on machine 00ab");
    is_other("psp1a2b3c4d-02000001000000ff", NULL); /* ours */
    is_other("psx1a2b3c4e-02000001000000ff", NULL);
    is_other("psp1a2b3c4E-02000001000000ff", NULL);
    is_other("psp1a2b3c4e_02000001000000ff", NULL);
    is_other("psp1a2b3c4e-0200000100000ff", NULL);
    is_other("psp1a2b3c4e-0000000000000000", NULL);
    is_other("autoclose-1", NULL);
    is_other("", NULL);
}

static void builds_requests(void)
{
    struct sign_key key;
    sign_init(&key, "testsecret", 10);
    struct binance_signer signer = {"testkey", &key, 5000};
    struct instrument two = bitcoin;
    two.price_decimals = 2;
    struct order order = {.instrument = &two,
                          .side = SIDE_BUY,
                          .type = ORDER_LIMIT,
                          .time_in_force = TIF_POST_ONLY,
                          .price = {642501},
                          .quantity = {10}};
    char out[1024];
    size_t n =
        binance_wire_place(out, sizeof out, 7, &signer, &order, "t1-000000000001", 1795423660346);
    /* the known answer for exactly these parameters */
    static const char expected[] =
        "{\"id\":7,\"method\":\"order.place\",\"params\":{\"apiKey\":\"testkey\","
        "\"newClientOrderId\":"
        "\"t1-000000000001\",\"price\":\"64250.10\",\"quantity\":\"0.010\",\"recvWindow\":5000,"
        "\"side\":"
        "\"BUY\",\"symbol\":\"BTCUSDT\",\"timeInForce\":\"GTX\",\"timestamp\":1795423660346,"
        "\"type\":"
        "\"LIMIT\",\"signature\":"
        "\"511d97e38ce087035a23e6c3eb88fb780c2feedbde3593cf623ab6e85d8a5558\"}}";
    CHECK(n == sizeof expected - 1 && strcmp(out, expected) == 0);
    CHECK(binance_wire_place(out, n, 7, &signer, &order, "t1-000000000001", 1795423660346) == 0);
    CHECK(binance_wire_place(out, n + 1, 7, &signer, &order, "t1-000000000001", 1795423660346) ==
          n);
    order.type = ORDER_MARKET;
    order.reduce_only = 1;
    CHECK(binance_wire_place(out, sizeof out, 8, &signer, &order, "a", 1) > 0);
    CHECK(strstr(out, "price") == NULL && strstr(out, "timeInForce") == NULL);
    CHECK(strstr(out, "\"reduceOnly\":\"true\"") != NULL && strstr(out, "\"MARKET\"") != NULL);
    CHECK(binance_wire_cancel(out, sizeof out, 9, &signer, "BTCUSDT", "a", 1) > 0);
    CHECK(strstr(out, "\"method\":\"order.cancel\"") != NULL);
    CHECK(binance_wire_status(out, sizeof out, 9, &signer, "BTCUSDT", "a", 1) > 0);
    CHECK(strstr(out, "\"origClientOrderId\":\"a\"") != NULL);

    static const char secret[] = "2b5eb11e18796d12d88f13dc27dbbd02c2cc51ff7059765ed9821957d82bb4d9";
    sign_init(&key, secret, sizeof secret - 1);
    n = binance_wire_signed_query(out, sizeof out, &signer,
                                  "symbol=BTCUSDT&side=BUY&type=LIMIT&quantity=1&price=9000&"
                                  "timeInForce=GTC",
                                  1591702613943);
    CHECK(n > 64 &&
          strcmp(out + n - 64, "3c661234138461fcc7a7d8746c6558c9842d4e10870d2ecbedf7777cad69"
                               "4af9") == 0);
    CHECK(binance_wire_signed_query(out, 100, &signer, "a=1", 1591702613943) == 0);
    CHECK(binance_wire_signed_query(out, sizeof out, &signer, "", 1) > 0 && out[0] == 'r');
    const char *streams[] = {"btcusdt@depth@100ms", "btcusdt@bookTicker"};
    CHECK(binance_wire_subscribe(out, sizeof out, 1, streams, 2) > 0);
    CHECK(strcmp(out, "{\"method\":\"SUBSCRIBE\",\"params\":[\"btcusdt@depth@100ms\","
                      "\"btcusdt@bookTicker\"],\"id\":1}") == 0);
}

/* Frame -> book -> top -> signed order, many times: not one heap call. */
static void needs_no_heap(void)
{
    static struct order_book book;
    struct arena arena;
    CHECK(arena_init(&arena, (size_t)8 << 20) == STATUS_OK);
    order_book_init(&book, &arena);
    arena_seal(&arena);
    struct sign_key key;
    sign_init(&key, "testsecret", 10);
    struct binance_signer signer = {"testkey", &key, 1500};
    struct order order = {.instrument = &bitcoin, .time_in_force = TIF_POST_ONLY, .quantity = {2}};
    char out[1024];
    int64_t before = heap_calls;
    for (int i = 0; i < 1000; i++) {
        CHECK(market(DEPTH) == STATUS_OK && market(TICKER) == STATUS_OK &&
              user(UPDATE) == STATUS_OK);
        CHECK(market(DEPTH) == STATUS_OK);
        for (size_t n = 0; n < event.delta.bid_count; n++)
            order_book_set(&book, BOOK_BID, levels[n].price, levels[n].quantity);
        order.price = order_book_top(&book).bid;
        CHECK(binance_wire_place(out, sizeof out, i, &signer, &order, "a", 1) > 0);
    }
    CHECK(heap_calls == before);
    arena_fini(&arena);
}

/* The opening of a day: the open of the first candle, when that is the one of the minute asked for.
 */
static void reads_an_opening_mark(void)
{
    const int64_t day_ms = 1795824000000;
    static const struct {
        const char *text;
        int status;
        int64_t mark_e9;
    } cases[] = {
        {"[[1795824000000,\"60123.45678901\",\"60200.0\",\"60000.0\",\"60100.0\",\"0\","
         "1795824059999,"
         "\"0\",60,\"0\",\"0\",\"0\"]]",
         STATUS_OK, 60123456789010},
        {"[]", STATUS_OK, 0},
        {"[[1795824060000,\"60123.4\"]]", STATUS_OK, 0}, /* the next minute's: not known */
        {"[[1795823940000,\"60123.4\"]]", STATUS_OK, 0},
        {"[[1795824000000,\"0\"]]", STATUS_PROTOCOL, 0},
        {"[[1795824000000,\"-5\"]]", STATUS_PROTOCOL, 0},
        {"[[1795824000000]]", STATUS_PROTOCOL, 0},
        {"[[\"x\",\"1\"]]", STATUS_PROTOCOL, 0},
        {"{\"code\":-1}", STATUS_PROTOCOL, 0},
        {"[[1795824000000,\"601", STATUS_PROTOCOL, 0},
        {"", STATUS_PROTOCOL, 0},
    };
    for (size_t n = 0; n < sizeof cases / sizeof cases[0]; n++) {
        int64_t mark_e9 = -1;
        int status = binance_wire_opening(&mark_e9, day_ms, cases[n].text, strlen(cases[n].text));
        CHECK(status == cases[n].status && (status != STATUS_OK || mark_e9 == cases[n].mark_e9));
    }
}

int main(void)
{
    reads_depth();
    reads_an_opening_mark();
    reads_other_market_events();
    refuses_bad_market_bytes();
    reads_user_stream();
    reads_replies();
    reads_lists();
    reads_exchange_info();
    classifies();
    names_orders();
    names_orders_of_before_the_upgrade();
    names_other_pursers();
    builds_requests();
    needs_no_heap();
    return 0;
}
