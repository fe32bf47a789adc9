#include "binance_fields.h"

#include "../../base/decimal.h"

bool fields_value(struct scan *scan, struct span *out)
{
    if (scan_peek(scan) == '"')
        return scan_text(scan, out);
    const char *start = scan->cursor;
    if (!scan_skip(scan))
        return false;
    *out = (struct span){start, (size_t)(scan->cursor - start)};
    return true;
}

static bool fields_read(struct scan *scan, const struct field *fields, size_t count)
{
    struct span key;
    if (!scan_object(scan))
        return false;
    while (scan_next_key(scan, &key)) {
        size_t i = 0;
        while (i < count && !span_is(key, fields[i].name))
            i++;
        if (!(i < count ? fields_value(scan, fields[i].value) : scan_skip(scan)))
            return false;
    }
    return !scan->failed;
}

bool fields_of(struct span object, const struct field *fields, size_t count)
{
    struct scan scan;
    if (object.start == NULL)
        return false;
    scan_init(&scan, object.start, object.length);
    return fields_read(&scan, fields, count) && scan_at_end(&scan);
}

int fields_item(struct scan *list, struct span *out)
{
    if (scan_next_item(list) && fields_value(list, out))
        return 1;
    if (scan_at_end(list))
        return 0;
    return status_set(STATUS_PROTOCOL, "a list in an answer is malformed");
}

int64_t field_int(bool *bad, struct span value)
{
    int64_t out = 0;
    if (value.start == NULL || !decimal_parse(&out, value.start, value.length, 0))
        *bad = true;
    return out;
}

int64_t field_int_or(bool *bad, struct span value, int64_t when_absent)
{
    if (value.start == NULL || span_is(value, "null") || value.length == 0)
        return when_absent;
    return field_int(bad, value);
}

int64_t field_amount(bool *bad, struct span value, int scale)
{
    int64_t out = 0;
    if (value.start != NULL && !decimal_parse_half_up(&out, value.start, value.length, scale))
        *bad = true;
    return out;
}

bool field_bool(bool *bad, struct span value)
{
    if (value.start != NULL && span_is(value, "true"))
        return true;
    if (value.start != NULL && !span_is(value, "false"))
        *bad = true;
    return false;
}

uint8_t field_side(bool *bad, struct span value)
{
    bool sell = value.start != NULL && span_is(value, "SELL");
    if (!sell && (value.start == NULL || !span_is(value, "BUY")))
        *bad = true;
    return sell ? SIDE_SELL : SIDE_BUY;
}

bool grid_count(int64_t *out, int64_t mantissa, int decimals, int64_t grid_e9)
{
    purser_int128 e9 = mantissa;
    for (; decimals > 9; decimals--) {
        if (e9 % 10 != 0)
            return false;
        e9 /= 10;
    }
    e9 *= decimal_power(9 - decimals);
    if (grid_e9 <= 0 || e9 % grid_e9 != 0)
        return false;
    purser_int128 count = e9 / grid_e9;
    if (count > INT64_MAX)
        return false;
    *out = (int64_t)count;
    return true;
}

static int64_t grid_of(bool *bad, struct span value, int64_t grid_e9)
{
    struct scan scan;
    int64_t mantissa = 0, count = 0;
    int decimals = 0;
    if (value.start == NULL) {
        *bad = true;
        return 0;
    }
    scan_init(&scan, value.start, value.length);
    bool minus = scan_literal(&scan, "-");
    if (!scan_mantissa(&scan, &mantissa, &decimals) || scan.cursor != scan.end ||
        !grid_count(&count, mantissa, decimals, grid_e9))
        *bad = true;
    return minus ? -count : count;
}

struct price field_price(bool *bad, const struct instrument *instrument, struct span value)
{
    if (instrument == NULL)
        return (struct price){0};
    return (struct price){grid_of(bad, value, instrument->tick_e9)};
}

struct quantity field_quantity(bool *bad, const struct instrument *instrument, struct span value)
{
    if (instrument == NULL)
        return (struct quantity){0};
    return (struct quantity){grid_of(bad, value, instrument->lot_e9)};
}

const struct instrument *fields_instrument(const struct binance_symbols *symbols,
                                           const char *symbol, size_t length)
{
    if (symbols == NULL || symbol == NULL || length >= PROTOCOL_SYMBOL)
        return NULL;
    for (size_t i = 0; i < symbols->count; i++) {
        const char *known = symbols->instruments[i]->symbol;
        if (memcmp(known, symbol, length) == 0 && known[length] == '\0')
            return symbols->instruments[i];
    }
    return NULL;
}
