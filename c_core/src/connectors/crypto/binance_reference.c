/* binance_reference.c: exchangeInfo and the small control answers of binance_wire.h. */
#include "binance_fields.h"

/* Digits after the point that a grid of this step needs. */
static int decimals_of(int64_t step_e9)
{
    int decimals = 9;
    while (decimals > 0 && step_e9 % 10 == 0) {
        step_e9 /= 10;
        decimals--;
    }
    return decimals;
}

static int64_t amount_e9(bool *bad, struct span value)
{
    if (value.start == NULL)
        *bad = true;
    return field_amount(bad, value, 9);
}

static int apply_price_filter(struct instrument *out, struct span tick, struct span low,
                              struct span high)
{
    bool bad = false;
    int64_t tick_e9 = amount_e9(&bad, tick);
    int64_t low_e9 = amount_e9(&bad, low), high_e9 = amount_e9(&bad, high);
    if (bad || tick_e9 <= 0)
        return status_set(STATUS_PROTOCOL, "%s has a malformed PRICE_FILTER", out->symbol);
    if (low_e9 % tick_e9 != 0)
        return status_set(STATUS_REFUSED,
                          "%s has a price grid that does not start at zero; it "
                          "cannot be traded here",
                          out->symbol);
    out->tick_e9 = tick_e9;
    out->price_decimals = decimals_of(tick_e9);
    out->min_price.ticks = low_e9 / tick_e9;
    out->max_price.ticks = high_e9 / tick_e9;
    return STATUS_OK;
}

static int apply_lot_filter(struct instrument *out, struct span step, struct span low,
                            struct span high)
{
    bool bad = false;
    int64_t step_e9 = amount_e9(&bad, step);
    int64_t low_e9 = amount_e9(&bad, low), high_e9 = amount_e9(&bad, high);
    if (bad || step_e9 <= 0)
        return status_set(STATUS_PROTOCOL, "%s has a malformed LOT_SIZE", out->symbol);
    out->lot_e9 = step_e9;
    out->quantity_decimals = decimals_of(step_e9);
    out->min_quantity.lots = (low_e9 + step_e9 - 1) / step_e9;
    out->max_quantity.lots = high_e9 / step_e9;
    return STATUS_OK;
}

static int apply_filter(struct instrument *out, struct span filter)
{
    struct span type = {0}, tick = {0}, low = {0}, high = {0}, step = {0}, fewest = {0}, most = {0};
    struct span notional = {0}, up = {0}, down = {0};
    const struct field fields[] = {
        {"filterType", &type},     {"tickSize", &tick},     {"minPrice", &low},
        {"maxPrice", &high},       {"stepSize", &step},     {"minQty", &fewest},
        {"maxQty", &most},         {"notional", &notional}, {"multiplierUp", &up},
        {"multiplierDown", &down},
    };
    if (!fields_of(filter, fields, sizeof fields / sizeof fields[0]) || type.start == NULL)
        return status_set(STATUS_PROTOCOL, "%s has a malformed filter", out->symbol);
    if (span_is(type, "PRICE_FILTER"))
        return apply_price_filter(out, tick, low, high);
    if (span_is(type, "LOT_SIZE"))
        return apply_lot_filter(out, step, fewest, most);
    bool bad = false;
    if (span_is(type, "MIN_NOTIONAL")) {
        out->min_notional.micros = field_amount(&bad, notional, 6);
    } else if (span_is(type, "PERCENT_PRICE")) {
        out->percent_price_up_ppm = field_amount(&bad, up, 6);
        out->percent_price_down_ppm = field_amount(&bad, down, 6);
    }
    return bad ? status_set(STATUS_PROTOCOL, "%s has a malformed filter", out->symbol) : STATUS_OK;
}

static int apply_symbol(struct instrument *out, struct span name, struct span status,
                        struct span filters)
{
    span_copy(out->symbol, sizeof out->symbol, name);
    out->venue = VENUE_BINANCE;
    out->trading = status.start != NULL && span_is(status, "TRADING");
    out->tick_e9 = out->lot_e9 = 0;
    struct scan list;
    struct span filter;
    int result = filters.start != NULL
                     ? binance_wire_list(&list, filters.start, filters.length)
                     : status_set(STATUS_PROTOCOL, "%s has no filters", out->symbol);
    while (result == STATUS_OK && scan_next_item(&list) && fields_value(&list, &filter))
        result = apply_filter(out, filter);
    if (result != STATUS_OK)
        return result;
    if (!scan_at_end(&list) || out->tick_e9 == 0 || out->lot_e9 == 0)
        return status_set(STATUS_PROTOCOL, "%s lacks PRICE_FILTER or LOT_SIZE", out->symbol);
    return STATUS_OK;
}

static void apply_limit(struct binance_limits *limits, struct span row)
{
    struct span type = {0}, interval = {0}, limit = {0};
    const struct field fields[] = {
        {"rateLimitType", &type}, {"interval", &interval}, {"limit", &limit}};
    bool bad = !fields_of(row, fields, 3) || type.start == NULL || interval.start == NULL;
    int64_t value = field_int(&bad, limit);
    if (bad)
        return;
    bool minute = span_is(interval, "MINUTE");
    if (span_is(type, "REQUEST_WEIGHT") && minute)
        limits->weight_1m = value;
    else if (span_is(type, "ORDERS") && minute)
        limits->orders_1m = value;
    else if (span_is(type, "ORDERS") && span_is(interval, "SECOND"))
        limits->orders_10s = value;
}

int binance_wire_exchange_info(struct instrument *out, struct binance_limits *limits,
                               const char *symbol, const char *bytes, size_t length)
{
    struct span rate_limits = {0}, symbols = {0}, row;
    const struct field fields[] = {{"rateLimits", &rate_limits}, {"symbols", &symbols}};
    struct scan list;
    if (!fields_of((struct span){bytes, length}, fields, 2) || symbols.start == NULL)
        return status_set(STATUS_PROTOCOL, "exchangeInfo is not readable");
    if (limits != NULL && rate_limits.start != NULL) {
        *limits = (struct binance_limits){0};
        scan_init(&list, rate_limits.start, rate_limits.length);
        if (scan_array(&list)) {
            while (scan_next_item(&list) && fields_value(&list, &row))
                apply_limit(limits, row);
        }
    }
    int result = binance_wire_list(&list, symbols.start, symbols.length);
    while (result == STATUS_OK && scan_next_item(&list) && fields_value(&list, &row)) {
        struct span name = {0}, status = {0}, filters = {0};
        const struct field parts[] = {
            {"symbol", &name}, {"status", &status}, {"filters", &filters}};
        if (!fields_of(row, parts, 3) || name.start == NULL)
            return status_set(STATUS_PROTOCOL, "exchangeInfo has a malformed symbol");
        if (span_is(name, symbol))
            return apply_symbol(out, name, status, filters);
    }
    if (result != STATUS_OK || !scan_at_end(&list))
        return status_set(STATUS_PROTOCOL, "exchangeInfo has a malformed symbol list");
    return status_set(STATUS_REFUSED, "%s is not listed at the venue; check its name in the config",
                      symbol);
}

int binance_wire_server_time(int64_t *out_ms, const char *bytes, size_t length)
{
    struct span time = {0};
    const struct field fields[] = {{"serverTime", &time}};
    bool bad = !fields_of((struct span){bytes, length}, fields, 1);
    int64_t value = field_int(&bad, time);
    if (bad)
        return status_set(STATUS_PROTOCOL, "the answer carries no serverTime");
    *out_ms = value;
    return STATUS_OK;
}

int binance_wire_listen_key(char *out, size_t capacity, const char *bytes, size_t length)
{
    struct span key = {0};
    const struct field fields[] = {{"listenKey", &key}};
    if (!fields_of((struct span){bytes, length}, fields, 1) || key.length == 0)
        return status_set(STATUS_PROTOCOL, "the answer carries no listenKey");
    if (key.length >= capacity)
        return status_set(STATUS_LIMIT, "the listenKey is too long");
    span_copy(out, capacity, key);
    return STATUS_OK;
}

int binance_wire_position_mode(bool *dual_side, const char *bytes, size_t length)
{
    struct span dual = {0};
    const struct field fields[] = {{"dualSidePosition", &dual}};
    bool bad = !fields_of((struct span){bytes, length}, fields, 1) || dual.start == NULL;
    bool value = field_bool(&bad, dual);
    if (bad)
        return status_set(STATUS_PROTOCOL, "the answer carries no dualSidePosition");
    *dual_side = value;
    return STATUS_OK;
}

int binance_wire_countdown(char symbol[PROTOCOL_SYMBOL], int64_t *countdown_ms, const char *bytes,
                           size_t length)
{
    struct span name = {0}, time = {0};
    const struct field fields[] = {{"symbol", &name}, {"countdownTime", &time}};
    bool bad = !fields_of((struct span){bytes, length}, fields, 2) || name.start == NULL;
    int64_t value = field_int(&bad, time);
    if (bad)
        return status_set(STATUS_PROTOCOL, "the answer does not confirm the countdown");
    span_copy(symbol, PROTOCOL_SYMBOL, name);
    *countdown_ms = value;
    return STATUS_OK;
}
