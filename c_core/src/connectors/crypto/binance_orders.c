/* binance_orders.c: orders, fills, positions, the user stream and WS API answers of binance_wire.h.
 */
#include "binance_fields.h"

#include "../../base/decimal.h"

struct name {
    const char *text;
    int value;
};

static int value_of(const struct name *names, size_t count, struct span text)
{
    for (size_t i = 0; text.start != NULL && i < count; i++) {
        if (span_is(text, names[i].text))
            return names[i].value;
    }
    return 0; /* OTHER in every enum that is looked up */
}

static int status_of(struct span text)
{
    static const struct name names[] = {
        {"NEW", BINANCE_STATUS_NEW},
        {"PARTIALLY_FILLED", BINANCE_STATUS_PARTIALLY_FILLED},
        {"FILLED", BINANCE_STATUS_FILLED},
        {"CANCELED", BINANCE_STATUS_CANCELED},
        {"EXPIRED", BINANCE_STATUS_EXPIRED},
        {"EXPIRED_IN_MATCH", BINANCE_STATUS_EXPIRED_IN_MATCH},
        {"REJECTED", BINANCE_STATUS_REJECTED},
        {"NEW_INSURANCE", BINANCE_STATUS_NEW_INSURANCE},
        {"NEW_ADL", BINANCE_STATUS_NEW_ADL},
    };
    return value_of(names, sizeof names / sizeof names[0], text);
}

static int execution_of(struct span text)
{
    static const struct name names[] = {
        {"NEW", BINANCE_EXECUTION_NEW},
        {"CANCELED", BINANCE_EXECUTION_CANCELED},
        {"CALCULATED", BINANCE_EXECUTION_CALCULATED},
        {"EXPIRED", BINANCE_EXECUTION_EXPIRED},
        {"TRADE", BINANCE_EXECUTION_TRADE},
        {"AMENDMENT", BINANCE_EXECUTION_AMENDMENT},
    };
    return value_of(names, sizeof names / sizeof names[0], text);
}

int binance_order_state(int status)
{
    switch ((enum binance_order_status)status) {
    case BINANCE_STATUS_NEW:
    case BINANCE_STATUS_NEW_INSURANCE:
    case BINANCE_STATUS_NEW_ADL:
        return ORDER_WORKING;
    case BINANCE_STATUS_PARTIALLY_FILLED:
        return ORDER_PARTIALLY_FILLED;
    case BINANCE_STATUS_FILLED:
        return ORDER_FILLED;
    case BINANCE_STATUS_CANCELED:
        return ORDER_CANCELED;
    case BINANCE_STATUS_EXPIRED:
    case BINANCE_STATUS_EXPIRED_IN_MATCH:
        return ORDER_EXPIRED;
    case BINANCE_STATUS_REJECTED:
        return ORDER_REJECTED;
    case BINANCE_STATUS_OTHER:
        break;
    }
    return ORDER_UNKNOWN;
}

static const struct instrument *known(const struct binance_symbols *symbols, struct span symbol)
{
    return symbol.start != NULL ? fields_instrument(symbols, symbol.start, symbol.length) : NULL;
}

/* An order object of REST and of WS API results: long member names. */
static int decode_order(struct binance_order *out, const struct binance_symbols *symbols,
                        struct span object)
{
    struct span symbol = {0}, client = {0}, id = {0}, side = {0}, reduce = {0}, status = {0};
    struct span price = {0}, quantity = {0}, executed = {0}, average = {0}, update = {0};
    const struct field fields[] = {
        {"symbol", &symbol},    {"clientOrderId", &client}, {"orderId", &id},
        {"side", &side},        {"reduceOnly", &reduce},    {"status", &status},
        {"price", &price},      {"origQty", &quantity},     {"executedQty", &executed},
        {"avgPrice", &average}, {"updateTime", &update},
    };
    *out = (struct binance_order){0};
    if (!fields_of(object, fields, sizeof fields / sizeof fields[0]) || symbol.start == NULL ||
        status.start == NULL)
        return status_set(STATUS_PROTOCOL, "an answer is not an order");
    bool bad = false;
    out->instrument = known(symbols, symbol);
    span_copy(out->symbol, sizeof out->symbol, symbol);
    span_copy(out->client_id, sizeof out->client_id, client);
    out->order_id = field_int(&bad, id);
    out->side = field_side(&bad, side);
    out->reduce_only = reduce.start != NULL && field_bool(&bad, reduce);
    out->status = status_of(status);
    out->price = field_price(&bad, out->instrument, price);
    out->quantity = field_quantity(&bad, out->instrument, quantity);
    out->cumulative = field_quantity(&bad, out->instrument, executed);
    out->average_e9 = field_amount(&bad, average, 9);
    out->update_ms = field_int_or(&bad, update, 0);
    return bad ? status_set(STATUS_PROTOCOL, "an order in an answer has a malformed number")
               : STATUS_OK;
}

int binance_wire_order(struct binance_order *out, const struct binance_symbols *symbols,
                       const char *bytes, size_t length)
{
    return decode_order(out, symbols, (struct span){bytes, length});
}

/* ---- lists ------------------------------------------------------------------------------------
 */

int binance_wire_list(struct scan *list, const char *bytes, size_t length)
{
    scan_init(list, bytes, length);
    if (!scan_array(list))
        return status_set(STATUS_PROTOCOL, "an answer is not a JSON list");
    return STATUS_OK;
}

int binance_wire_order_next(struct scan *list, struct binance_order *out,
                            const struct binance_symbols *symbols)
{
    struct span item;
    int found = fields_item(list, &item);
    if (found <= 0)
        return found;
    int status = decode_order(out, symbols, item);
    return status == STATUS_OK ? 1 : status;
}

int binance_wire_fill_next(struct scan *list, struct binance_fill *out,
                           const struct binance_symbols *symbols)
{
    struct span item;
    int found = fields_item(list, &item);
    if (found <= 0)
        return found;
    struct span symbol = {0}, id = {0}, order = {0}, side = {0}, maker = {0}, price = {0};
    struct span quantity = {0}, commission = {0}, asset = {0}, realized = {0}, time = {0};
    const struct field fields[] = {
        {"symbol", &symbol},
        {"id", &id},
        {"orderId", &order},
        {"side", &side},
        {"maker", &maker},
        {"price", &price},
        {"qty", &quantity},
        {"commission", &commission},
        {"commissionAsset", &asset},
        {"realizedPnl", &realized},
        {"time", &time},
    };
    *out = (struct binance_fill){0};
    bool bad = !fields_of(item, fields, sizeof fields / sizeof fields[0]) || symbol.start == NULL;
    out->instrument = known(symbols, symbol);
    if (symbol.start != NULL)
        span_copy(out->symbol, sizeof out->symbol, symbol);
    out->trade_id = field_int(&bad, id);
    out->order_id = field_int(&bad, order);
    out->side = field_side(&bad, side);
    out->maker = field_bool(&bad, maker);
    out->price = field_price(&bad, out->instrument, price);
    out->quantity = field_quantity(&bad, out->instrument, quantity);
    out->commission_e8 = field_amount(&bad, commission, 8);
    span_copy(out->commission_asset, sizeof out->commission_asset, asset);
    out->has_realized = realized.start != NULL;
    out->realized_e8 = field_amount(&bad, realized, 8);
    out->time_ms = field_int_or(&bad, time, 0);
    return bad ? status_set(STATUS_PROTOCOL, "a fill in an answer is malformed") : 1;
}

int binance_wire_opening(int64_t *mark_e9, int64_t from_ms, const char *bytes, size_t length)
{
    struct scan list;
    int64_t opened_ms = 0;
    *mark_e9 = 0;
    scan_init(&list, bytes, length);
    if (!scan_array(&list))
        return status_set(STATUS_PROTOCOL, "a list of candles is none");
    if (!scan_next_item(&list))
        return list.failed ? status_set(STATUS_PROTOCOL, "a list of candles is malformed")
                           : STATUS_OK;
    struct span open = {0};
    bool whole = scan_array(&list) && scan_next_item(&list) && scan_int(&list, &opened_ms) &&
                 scan_next_item(&list) && scan_number(&list, &open);
    int64_t price_e9 = 0;
    if (!whole || !decimal_parse_half_up(&price_e9, open.start, open.length, 9) || price_e9 <= 0)
        return status_set(STATUS_PROTOCOL, "a candle is malformed");
    if (opened_ms >= from_ms && opened_ms < from_ms + 60000)
        *mark_e9 = price_e9;
    return STATUS_OK;
}

int binance_wire_position_next(struct scan *list, struct binance_position *out,
                               const struct binance_symbols *symbols)
{
    struct span item;
    int found = fields_item(list, &item);
    if (found <= 0)
        return found;
    struct span symbol = {0}, side = {0}, amount = {0}, entry = {0}, mark = {0};
    const struct field fields[] = {{"symbol", &symbol},
                                   {"positionSide", &side},
                                   {"positionAmt", &amount},
                                   {"entryPrice", &entry},
                                   {"markPrice", &mark}};
    *out = (struct binance_position){0};
    bool bad = !fields_of(item, fields, sizeof fields / sizeof fields[0]) || symbol.start == NULL;
    out->instrument = known(symbols, symbol);
    if (symbol.start != NULL)
        span_copy(out->symbol, sizeof out->symbol, symbol);
    span_copy(out->position_side, sizeof out->position_side, side);
    out->quantity = field_quantity(&bad, out->instrument, amount);
    out->entry_e9 = field_amount(&bad, entry, 9);
    out->mark_e9 = field_amount(&bad, mark, 9);
    return bad ? status_set(STATUS_PROTOCOL, "a position in an answer is malformed") : 1;
}

/* ---- user stream ------------------------------------------------------------------------------
 */

/* The venue marks orders that it placed for us by their client id (Binance USD-M docs, "Event:
 * Order Update"). */
static int forced_of(struct span client)
{
    static const struct name prefixes[] = {
        {"autoclose-", BINANCE_FORCED_LIQUIDATION},
        {"adl_autoclose", BINANCE_FORCED_ADL},
        {"settlement_autoclose-", BINANCE_FORCED_SETTLEMENT},
        {"delivery_autoclose-", BINANCE_FORCED_DELIVERY},
    };
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++) {
        size_t n = strlen(prefixes[i].text);
        if (client.start != NULL && client.length >= n &&
            memcmp(client.start, prefixes[i].text, n) == 0)
            return prefixes[i].value;
    }
    return BINANCE_FORCED_NONE;
}

static int decode_order_update(struct binance_user_event *event,
                               const struct binance_symbols *symbols, struct span object)
{
    struct span s = {0}, c = {0}, S = {0}, q = {0}, p = {0}, ap = {0}, x = {0}, X = {0}, i = {0};
    struct span l = {0}, z = {0}, L = {0}, N = {0}, n = {0}, T = {0}, t = {0}, m = {0}, R = {0};
    struct span er = {0}, rp = {0};
    const struct field fields[] = {
        {"s", &s}, {"c", &c}, {"S", &S}, {"q", &q}, {"p", &p},   {"ap", &ap}, {"x", &x},
        {"X", &X}, {"i", &i}, {"l", &l}, {"z", &z}, {"L", &L},   {"N", &N},   {"n", &n},
        {"T", &T}, {"t", &t}, {"m", &m}, {"R", &R}, {"er", &er}, {"rp", &rp},
    };
    if (!fields_of(object, fields, sizeof fields / sizeof fields[0]) || s.start == NULL)
        return status_set(STATUS_PROTOCOL, "an ORDER_TRADE_UPDATE has no readable order");
    bool bad = false;
    struct binance_order *order = &event->order;
    event->kind = BINANCE_USER_ORDER;
    order->instrument = known(symbols, s);
    span_copy(order->symbol, sizeof order->symbol, s);
    span_copy(order->client_id, sizeof order->client_id, c);
    order->order_id = field_int(&bad, i);
    order->side = field_side(&bad, S);
    order->reduce_only = R.start != NULL && field_bool(&bad, R);
    order->status = status_of(X);
    order->price = field_price(&bad, order->instrument, p);
    order->quantity = field_quantity(&bad, order->instrument, q);
    order->cumulative = field_quantity(&bad, order->instrument, z);
    order->average_e9 = field_amount(&bad, ap, 9);
    order->update_ms = field_int_or(&bad, T, event->transaction_ms);
    event->execution = execution_of(x);
    event->trade_id = field_int_or(&bad, t, 0);
    event->last_quantity = field_quantity(&bad, order->instrument, l);
    event->last_price = field_price(&bad, order->instrument, L);
    event->has_commission = n.start != NULL;
    event->commission_e8 = field_amount(&bad, n, 8);
    span_copy(event->commission_asset, sizeof event->commission_asset, N);
    event->has_realized = rp.start != NULL;
    event->realized_e8 = field_amount(&bad, rp, 8);
    event->maker = m.start != NULL && field_bool(&bad, m);
    event->expire_reason = (int)field_int_or(&bad, er, 0);
    event->forced = forced_of(c);
    return bad ? status_set(STATUS_PROTOCOL, "an ORDER_TRADE_UPDATE has a malformed number")
               : STATUS_OK;
}

static int decode_trade_lite(struct binance_user_event *event,
                             const struct binance_symbols *symbols, struct span object)
{
    struct span s = {0}, q = {0}, p = {0}, m = {0}, c = {0}, S = {0}, L = {0}, l = {0}, t = {0};
    struct span i = {0};
    const struct field fields[] = {{"s", &s}, {"q", &q}, {"p", &p}, {"m", &m}, {"c", &c},
                                   {"S", &S}, {"L", &L}, {"l", &l}, {"t", &t}, {"i", &i}};
    bool bad = !fields_of(object, fields, sizeof fields / sizeof fields[0]) || s.start == NULL;
    struct binance_order *order = &event->order;
    event->kind = BINANCE_USER_TRADE_LITE;
    order->instrument = known(symbols, s);
    span_copy(order->symbol, sizeof order->symbol, s);
    span_copy(order->client_id, sizeof order->client_id, c);
    order->order_id = field_int(&bad, i);
    order->side = field_side(&bad, S);
    order->price = field_price(&bad, order->instrument, p);
    order->quantity = field_quantity(&bad, order->instrument, q);
    order->update_ms = event->transaction_ms;
    event->execution = BINANCE_EXECUTION_TRADE;
    event->trade_id = field_int(&bad, t);
    event->last_quantity = field_quantity(&bad, order->instrument, l);
    event->last_price = field_price(&bad, order->instrument, L);
    event->maker = field_bool(&bad, m);
    event->forced = forced_of(c);
    return bad ? status_set(STATUS_PROTOCOL, "a TRADE_LITE is malformed") : STATUS_OK;
}

/* One row of ACCOUNT_UPDATE's P. Rows of symbols that we do not know are left out. */
static bool add_position(struct binance_user_event *event, const struct binance_symbols *symbols,
                         struct span row)
{
    struct span s = {0}, pa = {0}, ep = {0}, ps = {0};
    const struct field fields[] = {{"s", &s}, {"pa", &pa}, {"ep", &ep}, {"ps", &ps}};
    if (!fields_of(row, fields, sizeof fields / sizeof fields[0]) || s.start == NULL)
        return false;
    const struct instrument *instrument = known(symbols, s);
    if (instrument == NULL)
        return true;
    if (event->position_count == BINANCE_ACCOUNT_POSITIONS)
        return false;
    bool bad = false;
    struct binance_position *position = &event->positions[event->position_count++];
    *position = (struct binance_position){.instrument = instrument};
    span_copy(position->symbol, sizeof position->symbol, s);
    span_copy(position->position_side, sizeof position->position_side, ps);
    position->quantity = field_quantity(&bad, instrument, pa);
    position->entry_e9 = field_amount(&bad, ep, 9);
    return !bad;
}

/* One row of ACCOUNT_UPDATE's B. */
static bool add_balance(struct binance_user_event *event, struct span row)
{
    struct span a = {0}, wb = {0}, bc = {0};
    const struct field fields[] = {{"a", &a}, {"wb", &wb}, {"bc", &bc}};
    if (!fields_of(row, fields, sizeof fields / sizeof fields[0]) || a.start == NULL ||
        wb.start == NULL || event->balance_count == BINANCE_ACCOUNT_BALANCES)
        return false;
    bool bad = false;
    struct binance_balance *balance = &event->balances[event->balance_count++];
    *balance = (struct binance_balance){0};
    span_copy(balance->asset, sizeof balance->asset, a);
    balance->wallet_e8 = field_amount(&bad, wb, 8);
    balance->change_e8 = field_amount(&bad, bc, 8);
    return !bad;
}

static int decode_balances(struct binance_user_event *event, struct span balances)
{
    struct scan list;
    struct span row;
    if (balances.start == NULL)
        return STATUS_OK;
    int found = binance_wire_list(&list, balances.start, balances.length);
    while (found >= 0 && (found = fields_item(&list, &row)) > 0) {
        if (!add_balance(event, row))
            return status_set(STATUS_PROTOCOL, "an ACCOUNT_UPDATE has a malformed balance");
    }
    return found;
}

static int decode_account(struct binance_user_event *event, const struct binance_symbols *symbols,
                          struct span object)
{
    struct span reason = {0}, balances = {0}, positions = {0}, row;
    const struct field fields[] = {{"m", &reason}, {"B", &balances}, {"P", &positions}};
    event->kind = BINANCE_USER_ACCOUNT;
    if (!fields_of(object, fields, sizeof fields / sizeof fields[0]))
        return status_set(STATUS_PROTOCOL, "an ACCOUNT_UPDATE has no readable account");
    span_copy(event->account_reason, sizeof event->account_reason, reason);
    int status = decode_balances(event, balances);
    if (status != STATUS_OK || positions.start == NULL)
        return status;
    struct scan list;
    int found = binance_wire_list(&list, positions.start, positions.length);
    while (found >= 0 && (found = fields_item(&list, &row)) > 0) {
        if (!add_position(event, symbols, row))
            return status_set(STATUS_PROTOCOL, "an ACCOUNT_UPDATE has a malformed position");
    }
    return found;
}

static int decode_user_payload(struct binance_user_event *event,
                               const struct binance_symbols *symbols, struct span payload)
{
    struct span e = {0}, E = {0}, T = {0}, o = {0}, a = {0};
    const struct field fields[] = {{"e", &e}, {"E", &E}, {"T", &T}, {"o", &o}, {"a", &a}};
    if (!fields_of(payload, fields, sizeof fields / sizeof fields[0]) || e.start == NULL)
        return status_set(STATUS_PROTOCOL, "a user event is not readable");
    bool bad = false;
    span_copy(event->name, sizeof event->name, e);
    event->event_ms = field_int_or(&bad, E, 0);
    event->transaction_ms = field_int_or(&bad, T, 0);
    if (bad)
        return status_set(STATUS_PROTOCOL, "a user event has a malformed time");
    if (span_is(e, "ORDER_TRADE_UPDATE"))
        return decode_order_update(event, symbols, o);
    if (span_is(e, "TRADE_LITE"))
        return decode_trade_lite(event, symbols, payload);
    if (span_is(e, "ACCOUNT_UPDATE"))
        return decode_account(event, symbols, a);
    if (span_is(e, "listenKeyExpired"))
        event->kind = BINANCE_USER_LISTEN_KEY_EXPIRED;
    else if (span_is(e, "serverShutdown"))
        event->kind = BINANCE_USER_SHUTDOWN;
    return STATUS_OK;
}

int binance_wire_user(struct binance_user_event *event, const struct binance_symbols *symbols,
                      const char *bytes, size_t length)
{
    struct span data = {0}, inner = {0}, type = {0}, id = {0};
    const struct field fields[] = {{"data", &data}, {"event", &inner}, {"e", &type}, {"id", &id}};
    struct span whole = {bytes, length};
    *event = (struct binance_user_event){0};
    if (!fields_of(whole, fields, sizeof fields / sizeof fields[0]))
        return status_set(STATUS_PROTOCOL, "a user message is not a JSON object");
    if (data.start != NULL)
        return decode_user_payload(event, symbols, data);
    if (type.start != NULL)
        return decode_user_payload(event, symbols, whole);
    if (inner.start != NULL)
        return decode_user_payload(event, symbols, inner);
    if (id.start != NULL)
        event->kind = BINANCE_USER_REPLY;
    return STATUS_OK;
}

/* ---- WS API answers ---------------------------------------------------------------------------
 */

int binance_wire_error(int64_t *code, char message[BINANCE_TEXT], const char *bytes, size_t length)
{
    struct span number = {0}, text = {0};
    const struct field fields[] = {{"code", &number}, {"msg", &text}};
    bool bad = !fields_of((struct span){bytes, length}, fields, 2);
    int64_t value = field_int(&bad, number);
    if (bad)
        return status_set(STATUS_PROTOCOL, "the answer carries no error code");
    *code = value;
    span_copy(message, BINANCE_TEXT, text);
    return STATUS_OK;
}

static void read_limit(struct binance_reply *reply, struct span row)
{
    struct span type = {0}, interval = {0}, number = {0}, count = {0};
    const struct field fields[] = {{"rateLimitType", &type},
                                   {"interval", &interval},
                                   {"intervalNum", &number},
                                   {"count", &count}};
    bool bad = !fields_of(row, fields, 4) || type.start == NULL || interval.start == NULL;
    int64_t value = field_int(&bad, count);
    if (bad)
        return; /* a statistic, not an outcome */
    if (span_is(type, "REQUEST_WEIGHT") && span_is(interval, "MINUTE"))
        reply->weight_1m = value;
    else if (span_is(type, "ORDERS") && span_is(interval, "SECOND"))
        reply->orders_10s = value;
    else if (span_is(type, "ORDERS") && span_is(interval, "MINUTE"))
        reply->orders_1m = value;
}

int binance_wire_reply(struct binance_reply *reply, const struct binance_symbols *symbols,
                       const char *bytes, size_t length)
{
    struct span id = {0}, status = {0}, error = {0}, result = {0}, limits = {0}, row;
    const struct field fields[] = {{"id", &id},
                                   {"status", &status},
                                   {"error", &error},
                                   {"result", &result},
                                   {"rateLimits", &limits}};
    *reply = (struct binance_reply){.id = -1, .weight_1m = -1, .orders_10s = -1, .orders_1m = -1};
    if (!fields_of((struct span){bytes, length}, fields, sizeof fields / sizeof fields[0]))
        return status_set(STATUS_PROTOCOL, "a WS API answer is not a JSON object");
    bool bad = false;
    if (id.start != NULL && !decimal_parse(&reply->id, id.start, id.length, 0))
        reply->id = -1; /* null, or somebody else's */
    reply->http_status = field_int(&bad, status);
    if (bad)
        return status_set(STATUS_PROTOCOL, "a WS API answer has no status");
    struct scan list;
    if (limits.start != NULL &&
        binance_wire_list(&list, limits.start, limits.length) == STATUS_OK) {
        while (fields_item(&list, &row) > 0)
            read_limit(reply, row);
    }
    if (error.start != NULL)
        return binance_wire_error(&reply->code, reply->message, error.start, error.length);
    struct span symbol = {0}, order_status = {0};
    const struct field shape[] = {{"symbol", &symbol}, {"status", &order_status}};
    bool is_order =
        fields_of(result, shape, 2) && symbol.start != NULL && order_status.start != NULL;
    if (!is_order)
        return STATUS_OK;
    reply->has_order = true;
    return decode_order(&reply->order, symbols, result);
}
