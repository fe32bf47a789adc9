/* binance_market.c: market streams and the depth snapshot of binance_wire.h. */
#include "binance_levels.h"

/* ---- positional messages ----------------------------------------------------------------------
 */

/* Everything up to the closing quote, which is consumed. */
static bool name(struct scan *scan, struct span *out)
{
    const char *end = memchr(scan->cursor, '"', (size_t)(scan->end - scan->cursor));
    if (end == NULL)
        return false;
    *out = (struct span){scan->cursor, (size_t)(end - scan->cursor)};
    scan->cursor = end + 1;
    return true;
}

/* The tail after the last field: `,"st":1` from 2026-06-30 on, and the brackets. */
static bool tail(struct scan *scan, bool combined)
{
    (void)scan_literal(scan, ",\"st\":1");
    return scan_literal(scan, "}") && (!combined || scan_literal(scan, "}")) &&
           scan->cursor == scan->end;
}

/* `"s":"BTCUSDT",` and the pair field that follows since 2026-06-30. */
static bool symbol(struct scan *scan, const struct binance_symbols *symbols,
                   const struct instrument **out)
{
    struct span text;
    if (!scan_literal(scan, "\"s\":\"") || !name(scan, &text) || !scan_literal(scan, ","))
        return false;
    *out = fields_instrument(symbols, text.start, text.length);
    if (scan_literal(scan, "\"ps\":\""))
        return name(scan, &text) && scan_literal(scan, ",");
    return true;
}

static bool depth_fast(struct scan *scan, struct binance_market_event *event,
                       struct book_level *levels, size_t capacity,
                       const struct binance_symbols *symbols, bool combined, bool *full)
{
    struct book_delta *delta = &event->delta;
    if (!(scan_digits(scan, &event->event_ms) && scan_literal(scan, ",\"T\":") &&
          scan_digits(scan, &event->transaction_ms) && scan_literal(scan, ",") &&
          symbol(scan, symbols, &event->instrument)))
        return false;
    event->kind = BINANCE_MARKET_DEPTH;
    if (event->instrument == NULL)
        return true; /* not ours: what follows does not matter */
    struct level_array array = level_array_for(event->instrument, levels, capacity);
    bool whole = scan_literal(scan, "\"U\":") && scan_digits(scan, &delta->first_id) &&
                 scan_literal(scan, ",\"u\":") && scan_digits(scan, &delta->last_id) &&
                 scan_literal(scan, ",\"pu\":") && scan_digits(scan, &delta->previous_id) &&
                 scan_literal(scan, ",\"b\":") &&
                 levels_positional(scan, &array, &delta->bid_count) &&
                 scan_literal(scan, ",\"a\":") &&
                 levels_positional(scan, &array, &delta->ask_count) && tail(scan, combined);
    *full = array.full;
    delta->levels = levels;
    delta->event_ms = event->event_ms;
    return whole;
}

static bool ticker_fast(struct scan *scan, struct binance_market_event *event,
                        const struct binance_symbols *symbols, bool combined)
{
    struct top_of_book *top = &event->ticker;
    if (!(scan_digits(scan, &event->ticker_id) && scan_literal(scan, ",") &&
          symbol(scan, symbols, &event->instrument)))
        return false;
    event->kind = BINANCE_MARKET_TICKER;
    if (event->instrument == NULL)
        return true;
    struct grid price = grid_for(event->instrument->tick_e9);
    struct grid quantity = grid_for(event->instrument->lot_e9);
    return scan_literal(scan, "\"b\":\"") && grid_number(scan, &price, &top->bid.ticks) &&
           scan_literal(scan, "\",\"B\":\"") &&
           grid_number(scan, &quantity, &top->bid_quantity.lots) &&
           scan_literal(scan, "\",\"a\":\"") && grid_number(scan, &price, &top->ask.ticks) &&
           scan_literal(scan, "\",\"A\":\"") &&
           grid_number(scan, &quantity, &top->ask_quantity.lots) &&
           scan_literal(scan, "\",\"T\":") && scan_digits(scan, &event->transaction_ms) &&
           scan_literal(scan, ",\"E\":") && scan_digits(scan, &event->event_ms) &&
           tail(scan, combined);
}

/* True when the message was one of the two frequent ones, in the order the venue writes them. */
static bool decode_fast(struct binance_market_event *event, struct book_level *levels,
                        size_t capacity, const struct binance_symbols *symbols, const char *bytes,
                        size_t length, bool *full)
{
    struct scan scan;
    struct span stream = {0};
    scan_init(&scan, bytes, length);
    bool combined = scan_literal(&scan, "{\"stream\":\"");
    if (combined && !(name(&scan, &stream) && scan_literal(&scan, ",\"data\":")))
        return false;
    bool done = false;
    if (scan_literal(&scan, "{\"e\":\"depthUpdate\",\"E\":"))
        done = depth_fast(&scan, event, levels, capacity, symbols, combined, full);
    else if (scan_literal(&scan, "{\"e\":\"bookTicker\",\"u\":"))
        done = ticker_fast(&scan, event, symbols, combined);
    if (done && combined)
        span_copy(event->stream, sizeof event->stream, stream);
    return done;
}

/* ---- any spelling -----------------------------------------------------------------------------
 */

static int decode_depth(struct binance_market_event *event, struct span payload,
                        struct book_level *levels, size_t capacity)
{
    struct span first = {0}, last = {0}, previous = {0}, bids = {0}, asks = {0};
    const struct field fields[] = {
        {"U", &first}, {"u", &last}, {"pu", &previous}, {"b", &bids}, {"a", &asks}};
    if (!fields_of(payload, fields, sizeof fields / sizeof fields[0]))
        return status_set(STATUS_PROTOCOL, "a depth event is not readable");
    struct book_delta *delta = &event->delta;
    bool bad = false;
    event->kind = BINANCE_MARKET_DEPTH;
    delta->first_id = field_int(&bad, first);
    delta->last_id = field_int(&bad, last);
    delta->previous_id = field_int(&bad, previous);
    delta->event_ms = event->event_ms;
    delta->levels = levels;
    struct level_array array = level_array_for(event->instrument, levels, capacity);
    bool whole =
        levels_any(bids, &array, &delta->bid_count) && levels_any(asks, &array, &delta->ask_count);
    if (array.full)
        return status_set(STATUS_LIMIT, "a depth event has more than %zu levels", capacity);
    if (bad || !whole)
        return status_set(STATUS_PROTOCOL, "a depth event has a malformed number");
    return STATUS_OK;
}

static int decode_ticker(struct binance_market_event *event, struct span payload)
{
    struct span id = {0}, bid = {0}, bid_quantity = {0}, ask = {0}, ask_quantity = {0};
    const struct field fields[] = {
        {"u", &id}, {"b", &bid}, {"B", &bid_quantity}, {"a", &ask}, {"A", &ask_quantity}};
    bool bad = !fields_of(payload, fields, sizeof fields / sizeof fields[0]);
    event->kind = BINANCE_MARKET_TICKER;
    event->ticker_id = field_int(&bad, id);
    event->ticker.bid = field_price(&bad, event->instrument, bid);
    event->ticker.ask = field_price(&bad, event->instrument, ask);
    event->ticker.bid_quantity = field_quantity(&bad, event->instrument, bid_quantity);
    event->ticker.ask_quantity = field_quantity(&bad, event->instrument, ask_quantity);
    return bad ? status_set(STATUS_PROTOCOL, "a bookTicker event is malformed") : STATUS_OK;
}

static int decode_trade(struct binance_market_event *event, struct span payload, bool aggregated)
{
    struct span id = {0}, price = {0}, quantity = {0}, maker = {0};
    const struct field fields[] = {
        {aggregated ? "a" : "t", &id}, {"p", &price}, {"q", &quantity}, {"m", &maker}};
    bool bad = !fields_of(payload, fields, sizeof fields / sizeof fields[0]);
    event->kind = BINANCE_MARKET_TRADE;
    event->aggregated = aggregated;
    event->trade_id = field_int(&bad, id);
    event->price = field_price(&bad, event->instrument, price);
    event->quantity = field_quantity(&bad, event->instrument, quantity);
    event->aggressor_side = field_bool(&bad, maker) ? SIDE_SELL : SIDE_BUY;
    return bad ? status_set(STATUS_PROTOCOL, "a trade event is malformed") : STATUS_OK;
}

static int decode_mark(struct binance_market_event *event, struct span payload)
{
    struct span price = {0};
    const struct field fields[] = {{"p", &price}};
    bool bad = !fields_of(payload, fields, 1);
    event->kind = BINANCE_MARKET_MARK;
    event->mark_price_e9 = field_amount(&bad, price, 9);
    return bad ? status_set(STATUS_PROTOCOL, "a markPriceUpdate event is malformed") : STATUS_OK;
}

static int decode_payload(struct binance_market_event *event, struct span payload,
                          struct book_level *levels, size_t capacity,
                          const struct binance_symbols *symbols)
{
    struct span type = {0}, event_time = {0}, time = {0}, symbol_text = {0}, class = {0};
    const struct field fields[] = {
        {"e", &type}, {"E", &event_time}, {"T", &time}, {"s", &symbol_text}, {"st", &class}};
    if (!fields_of(payload, fields, sizeof fields / sizeof fields[0]))
        return status_set(STATUS_PROTOCOL, "a market event is not a JSON object");
    bool bad = false;
    event->event_ms = field_int_or(&bad, event_time, 0);
    event->transaction_ms = field_int_or(&bad, time, 0);
    if (bad)
        return status_set(STATUS_PROTOCOL, "a market event has a malformed time");
    /* st 1 is USD-M; others share some streams since 2026-06-30 (Binance change log). */
    if (class.start == NULL || span_is(class, "1"))
        event->instrument = fields_instrument(symbols, symbol_text.start, symbol_text.length);
    if (type.start != NULL && span_is(type, "serverShutdown"))
        event->kind = BINANCE_MARKET_SHUTDOWN;
    if (event->instrument == NULL || type.start == NULL)
        return STATUS_OK;
    if (span_is(type, "depthUpdate"))
        return decode_depth(event, payload, levels, capacity);
    if (span_is(type, "bookTicker"))
        return decode_ticker(event, payload);
    if (span_is(type, "aggTrade") || span_is(type, "trade"))
        return decode_trade(event, payload, span_is(type, "aggTrade"));
    if (span_is(type, "markPriceUpdate"))
        return decode_mark(event, payload);
    return STATUS_OK;
}

/* {"result":null,"id":1}, {"error":{"code":2,"msg":".."},"id":1} or {"code":2,"msg":"..","id":1} */
static int decode_reply(struct binance_market_event *event, struct span id, struct span error,
                        struct span code)
{
    const struct field fields[] = {{"code", &code}};
    bool bad = error.start != NULL && !fields_of(error, fields, 1);
    event->kind = BINANCE_MARKET_REPLY;
    event->reply_code = field_int_or(&bad, code, error.start != NULL ? -1 : 0);
    bool unused = false;
    event->reply_id = field_int_or(&unused, id, -1);
    if (unused)
        event->reply_id = -1;
    return bad ? status_set(STATUS_PROTOCOL, "an answer to SUBSCRIBE is malformed") : STATUS_OK;
}

static int decode_any(struct binance_market_event *event, struct book_level *levels,
                      size_t capacity, const struct binance_symbols *symbols, const char *bytes,
                      size_t length)
{
    struct span stream = {0}, data = {0}, type = {0}, inner = {0};
    struct span result = {0}, id = {0}, error = {0}, code = {0};
    const struct field fields[] = {{"stream", &stream}, {"data", &data},     {"e", &type},
                                   {"event", &inner},   {"result", &result}, {"id", &id},
                                   {"error", &error},   {"code", &code}};
    struct span whole = {bytes, length};
    if (!fields_of(whole, fields, sizeof fields / sizeof fields[0]))
        return status_set(STATUS_PROTOCOL, "a market message is not a JSON object");
    if (stream.start != NULL)
        span_copy(event->stream, sizeof event->stream, stream);
    if (data.start != NULL)
        return decode_payload(event, data, levels, capacity, symbols);
    if (type.start != NULL)
        return decode_payload(event, whole, levels, capacity, symbols);
    if (inner.start != NULL)
        return decode_payload(event, inner, levels, capacity, symbols);
    if (result.start != NULL || error.start != NULL || code.start != NULL)
        return decode_reply(event, id, error, code);
    return STATUS_OK;
}

static void event_clear(struct binance_market_event *event)
{
    *event = (struct binance_market_event){.reply_id = -1};
}

int binance_wire_market(struct binance_market_event *event, struct book_level *levels,
                        size_t capacity, const struct binance_symbols *symbols, const char *bytes,
                        size_t length)
{
    bool full = false;
    event_clear(event);
    if (decode_fast(event, levels, capacity, symbols, bytes, length, &full))
        return STATUS_OK;
    if (full)
        return status_set(STATUS_LIMIT, "a depth event has more than %zu levels", capacity);
    event_clear(event);
    return decode_any(event, levels, capacity, symbols, bytes, length);
}

int binance_wire_snapshot(struct book_delta *snapshot, struct book_level *levels, size_t capacity,
                          const struct instrument *instrument, const char *bytes, size_t length)
{
    struct span id = {0}, time = {0}, bids = {0}, asks = {0};
    const struct field fields[] = {
        {"lastUpdateId", &id}, {"E", &time}, {"bids", &bids}, {"asks", &asks}};
    *snapshot = (struct book_delta){.levels = levels};
    struct span whole = {bytes, length};
    if (!fields_of(whole, fields, sizeof fields / sizeof fields[0]))
        return status_set(STATUS_PROTOCOL, "the depth snapshot is not a JSON object");
    bool bad = false;
    snapshot->last_id = field_int(&bad, id);
    snapshot->event_ms = field_int_or(&bad, time, 0);
    struct level_array array = level_array_for(instrument, levels, capacity);
    bool complete = levels_any(bids, &array, &snapshot->bid_count) &&
                    levels_any(asks, &array, &snapshot->ask_count);
    if (array.full)
        return status_set(STATUS_LIMIT, "the depth snapshot has more than %zu levels", capacity);
    if (bad || !complete)
        return status_set(STATUS_PROTOCOL, "the depth snapshot has a malformed number");
    return STATUS_OK;
}

/* ---- recorded captures ------------------------------------------------------------------------
 */

static int decode_capture(struct capture_event *out, struct book_level *levels, size_t capacity,
                          const char *bytes, size_t length)
{
    static const struct instrument recorded = {
        .symbol = "BTCUSDT", .tick_e9 = 100000000, .lot_e9 = 1000000};
    static const struct instrument *const known[] = {&recorded};
    static const struct binance_symbols symbols = {known, 1};
    *out = (struct capture_event){0};
    if (length > 15 && memcmp(bytes, "{\"lastUpdateId\"", 15) == 0) {
        out->kind = CAPTURE_SNAPSHOT;
        return binance_wire_snapshot(&out->delta, levels, capacity, &recorded, bytes, length);
    }
    struct binance_market_event event;
    int status = binance_wire_market(&event, levels, capacity, &symbols, bytes, length);
    if (status != STATUS_OK || event.instrument == NULL)
        return status;
    if (event.kind == BINANCE_MARKET_DEPTH) {
        out->kind = CAPTURE_DELTA;
        out->delta = event.delta;
    } else if (event.kind == BINANCE_MARKET_TICKER) {
        out->kind = CAPTURE_TICKER;
        out->ticker_id = event.ticker_id;
        out->ticker = event.ticker;
    }
    return STATUS_OK;
}

const struct capture_decoder binance_capture_decoder = {decode_capture};
