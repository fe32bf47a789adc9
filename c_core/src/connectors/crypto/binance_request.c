/* binance_request.c: client order ids and request builders of binance_wire.h. */
#include "binance_wire.h"

#include <stdio.h>

#include "../../base/check.h"
#include "../../base/decimal.h"

/* ---- text -------------------------------------------------------------------------------------
 */

struct text {
    char *out;
    size_t capacity, length;
    bool full;
};

static void append_n(struct text *text, const char *bytes, size_t n)
{
    if (text->full || n >= text->capacity - text->length) {
        text->full = true;
        return;
    }
    memcpy(text->out + text->length, bytes, n);
    text->length += n;
    text->out[text->length] = '\0';
}

static void append(struct text *text, const char *string)
{
    append_n(text, string, strlen(string));
}

static void append_int(struct text *text, int64_t value)
{
    char digits[DECIMAL_TEXT_MAX];
    append_n(text, digits, decimal_format(digits, value, 0, 0));
}

static size_t finish(const struct text *text)
{
    return text->full ? 0 : text->length;
}

/* ---- client order ids -------------------------------------------------------------------------
 */

static void append_hex(char *out, uint64_t value, int digits)
{
    for (int i = digits - 1; i >= 0; i--, value >>= 4)
        out[i] = "0123456789abcdef"[value & 15];
}

void binance_prefix_make(struct binance_prefix *out, char environment, uint32_t instance,
                         uint16_t host)
{
    memcpy(out->text, "psx00000000-", sizeof out->text);
    out->text[2] = environment;
    append_hex(out->text + 3, instance, 8);
    memcpy(out->earlier, "psx0000-", sizeof out->earlier);
    out->earlier[2] = environment;
    append_hex(out->earlier + 3, host, 4);
}

void binance_client_id(char out[BINANCE_CLIENT_ID], const struct binance_prefix *prefix,
                       uint64_t client_order_id)
{
    bool earlier = (client_order_id & BINANCE_EARLIER) != 0;
    const char *text = earlier ? prefix->earlier : prefix->text;
    size_t length = earlier ? sizeof prefix->earlier - 1 : sizeof prefix->text - 1;
    CHECK((client_order_id & BINANCE_OTHER) == 0);
    memset(out, 0, BINANCE_CLIENT_ID);
    memcpy(out, text, length);
    append_hex(out + length, client_order_id & ~BINANCE_EARLIER, 16);
}

/* Exactly so many hex digits, as append_hex writes them. */
static bool parse_hex(uint64_t *out, const char *text, size_t digits)
{
    *out = 0;
    for (size_t i = 0; i < digits; i++) {
        char c = text[i];
        if (c >= '0' && c <= '9')
            *out = *out << 4 | (uint64_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            *out = *out << 4 | (uint64_t)(c - 'a' + 10);
        else
            return false;
    }
    return true;
}

/* Ids of the two forms keep clear of the two marks. */
static bool parse_number(uint64_t *out, const char *text)
{
    return parse_hex(out, text, 16) && *out != 0 && (*out & (BINANCE_OTHER | BINANCE_EARLIER)) == 0;
}

uint64_t binance_client_id_parse(const struct binance_prefix *prefix, const char *text)
{
    size_t length = strlen(text), ours = sizeof prefix->text - 1;
    size_t earlier = sizeof prefix->earlier - 1;
    uint64_t value;
    if (length == ours + 16 && memcmp(text, prefix->text, ours) == 0)
        return parse_number(&value, text + ours) ? value : 0;
    if (length == earlier + 16 && memcmp(text, prefix->earlier, earlier) == 0)
        return parse_number(&value, text + earlier) ? value | BINANCE_EARLIER : 0;
    return 0;
}

static const char *environment_name(uint64_t letter)
{
    return letter == 'p' ? "paper" : letter == 't' ? "testnet" : letter == 'l' ? "live" : NULL;
}

/* The mark, the form, the letter of the environment, and the instance or machine. */
uint64_t binance_client_id_other(const struct binance_prefix *prefix, const char *text)
{
    uint64_t value, number;
    size_t length = strlen(text);
    bool earlier = length == sizeof prefix->earlier - 1 + 16;
    size_t digits = earlier ? 4 : 8;
    if ((!earlier && length != sizeof prefix->text - 1 + 16) || memcmp(text, "ps", 2) != 0 ||
        environment_name((unsigned char)text[2]) == NULL || !parse_hex(&number, text + 3, digits) ||
        text[3 + digits] != '-' || !parse_number(&value, text + 4 + digits))
        return 0;
    if (memcmp(text, prefix->text, sizeof prefix->text - 1) == 0)
        return 0;
    return BINANCE_OTHER | (earlier ? BINANCE_EARLIER : 0) |
           (uint64_t)(unsigned char)text[2] << 32 | number;
}

void binance_other_name(char name[BINANCE_OTHER_NAME], const struct binance_prefix *prefix,
                        uint64_t other)
{
    uint64_t letter = other >> 32 & 0xff;
    bool same = letter == (unsigned char)prefix->text[2];
    const char *environment = environment_name(letter);
    CHECK((other & BINANCE_OTHER) != 0 && environment != NULL);
    bool earlier = (other & BINANCE_EARLIER) != 0;
    snprintf(name, BINANCE_OTHER_NAME, "%s %0*llx%s%s",
             earlier ? "release 0.1.0 on machine" : "instance", earlier ? 4 : 8,
             (unsigned long long)(other & 0xffffffff), same ? "" : ", ", same ? "" : environment);
}

/* ---- WS API frames ----------------------------------------------------------------------------
 */

struct parameter {
    const char *name, *value; /* value NULL: left out */
    bool bare;                /* a JSON number, not a string */
};

/* parameters are sorted by name; the signature covers name=value joined by &. */
static size_t build_frame(char *out, size_t capacity, int64_t request_id, const char *method,
                          const struct sign_key *key, const struct parameter *parameters,
                          size_t count)
{
    char joined_text[768], signature[SIGN_HEX + 1];
    struct text joined = {joined_text, sizeof joined_text, 0, false};
    struct text frame = {out, capacity, 0, false};
    append(&frame, "{\"id\":");
    append_int(&frame, request_id);
    append(&frame, ",\"method\":\"");
    append(&frame, method);
    append(&frame, "\",\"params\":{");
    for (size_t i = 0; i < count; i++) {
        const struct parameter *p = &parameters[i];
        if (p->value == NULL)
            continue;
        append(&joined, joined.length > 0 ? "&" : "");
        append(&joined, p->name);
        append(&joined, "=");
        append(&joined, p->value);
        append(&frame, "\"");
        append(&frame, p->name);
        append(&frame, p->bare ? "\":" : "\":\"");
        append(&frame, p->value);
        append(&frame, p->bare ? "," : "\",");
    }
    if (joined.full)
        return 0;
    sign_hex(key, signature, joined.out, joined.length);
    append(&frame, "\"signature\":\"");
    append(&frame, signature);
    append(&frame, "\"}}");
    return finish(&frame);
}

static const char *time_in_force(uint8_t value)
{
    switch ((enum time_in_force)value) {
    case TIF_GTC:
        return "GTC";
    case TIF_IOC:
        return "IOC";
    case TIF_FOK:
        return "FOK";
    case TIF_POST_ONLY:
        return "GTX";
    case TIF_GTD:
        break;
    }
    return NULL;
}

/* The times that each signed request carries, as text. */
struct stamp {
    char window[DECIMAL_TEXT_MAX], timestamp[DECIMAL_TEXT_MAX];
};

static struct stamp stamp_of(const struct binance_signer *signer, int64_t timestamp_ms)
{
    struct stamp stamp;
    decimal_format(stamp.window, signer->recv_window_ms, 0, 0);
    decimal_format(stamp.timestamp, timestamp_ms, 0, 0);
    return stamp;
}

size_t binance_wire_place(char *out, size_t capacity, int64_t request_id,
                          const struct binance_signer *signer, const struct order *order,
                          const char *client_id, int64_t timestamp_ms)
{
    const struct instrument *instrument = order->instrument;
    bool limit = order->type == ORDER_LIMIT;
    const char *tif = time_in_force(order->time_in_force);
    if (limit && tif == NULL)
        return 0; /* GTD needs an expiry that the order does not carry */
    char price[DECIMAL_TEXT_MAX], quantity[DECIMAL_TEXT_MAX];
    struct stamp stamp = stamp_of(signer, timestamp_ms);
    decimal_format(price, instrument_price_e9(instrument, order->price), 9,
                   instrument->price_decimals);
    decimal_format(quantity, instrument_quantity_e9(instrument, order->quantity), 9,
                   instrument->quantity_decimals);
    const struct parameter parameters[] = {
        {"apiKey", signer->api_key, false},
        {"newClientOrderId", client_id, false},
        {"price", limit ? price : NULL, false},
        {"quantity", quantity, false},
        {"recvWindow", stamp.window, true},
        {"reduceOnly", order->reduce_only ? "true" : NULL, false},
        {"side", order->side == SIDE_BUY ? "BUY" : "SELL", false},
        {"symbol", instrument->symbol, false},
        {"timeInForce", limit ? tif : NULL, false},
        {"timestamp", stamp.timestamp, true},
        {"type", limit ? "LIMIT" : "MARKET", false},
    };
    return build_frame(out, capacity, request_id, "order.place", signer->key, parameters,
                       sizeof parameters / sizeof parameters[0]);
}

/* cancel and status name an order in the same way. */
static size_t build_about(char *out, size_t capacity, int64_t request_id, const char *method,
                          const struct binance_signer *signer, const char *symbol,
                          const char *client_id, int64_t timestamp_ms)
{
    struct stamp stamp = stamp_of(signer, timestamp_ms);
    const struct parameter parameters[] = {
        {"apiKey", signer->api_key, false},   {"origClientOrderId", client_id, false},
        {"recvWindow", stamp.window, true},   {"symbol", symbol, false},
        {"timestamp", stamp.timestamp, true},
    };
    return build_frame(out, capacity, request_id, method, signer->key, parameters,
                       sizeof parameters / sizeof parameters[0]);
}

size_t binance_wire_cancel(char *out, size_t capacity, int64_t request_id,
                           const struct binance_signer *signer, const char *symbol,
                           const char *client_id, int64_t timestamp_ms)
{
    return build_about(out, capacity, request_id, "order.cancel", signer, symbol, client_id,
                       timestamp_ms);
}

size_t binance_wire_status(char *out, size_t capacity, int64_t request_id,
                           const struct binance_signer *signer, const char *symbol,
                           const char *client_id, int64_t timestamp_ms)
{
    return build_about(out, capacity, request_id, "order.status", signer, symbol, client_id,
                       timestamp_ms);
}

/* ---- the rest ---------------------------------------------------------------------------------
 */

size_t binance_wire_signed_query(char *out, size_t capacity, const struct binance_signer *signer,
                                 const char *parameters, int64_t timestamp_ms)
{
    struct text text = {out, capacity, 0, false};
    append(&text, parameters);
    append(&text, parameters[0] != '\0' ? "&recvWindow=" : "recvWindow=");
    append_int(&text, signer->recv_window_ms);
    append(&text, "&timestamp=");
    append_int(&text, timestamp_ms);
    if (text.full)
        return 0;
    char signature[SIGN_HEX + 1];
    sign_hex(signer->key, signature, out, text.length);
    append(&text, "&signature=");
    append(&text, signature);
    return finish(&text);
}

size_t binance_wire_subscribe(char *out, size_t capacity, int64_t request_id,
                              const char *const *streams, size_t count)
{
    struct text text = {out, capacity, 0, false};
    append(&text, "{\"method\":\"SUBSCRIBE\",\"params\":[");
    for (size_t i = 0; i < count; i++) {
        append(&text, i > 0 ? ",\"" : "\"");
        append(&text, streams[i]);
        append(&text, "\"");
    }
    append(&text, "],\"id\":");
    append_int(&text, request_id);
    append(&text, "}");
    return finish(&text);
}
