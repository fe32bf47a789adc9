/* The control path: what is asked for over REST, one table row a call. */
#include <stdio.h>
#include <string.h>

#include "binance_connector_session.h"

#define CLOCK_STALL_NS    5000000000
#define CALL_TIMEOUT_NS   5000000000LL
#define CLOCK_SAMPLES     3
#define CLOCK_EVERY_NS    (300 * 1000000000LL)
#define TOO_MANY_REQUESTS (-1003)
/* The longest ban is three days (Binance USD-M docs, "Limits"). */
#define HOLD_MAX_MS (3 * 24 * 3600 * 1000LL)
/* A listen key lives for 60 minutes (Binance USD-M docs, "Start User Data Stream"). */
#define LISTEN_KEY_KEEP_NS (30 * 60 * 1000000000LL)

enum call_auth { CALL_PUBLIC, CALL_KEYED, CALL_SIGNED };

struct call_row {
    const char *method, *path, *name;
    enum call_auth auth;
};

static const struct call_row calls[] = {
    [BINANCE_CALL_TIME] = {"GET", "/fapi/v1/time", "time", CALL_PUBLIC},
    [BINANCE_CALL_INFO] = {"GET", "/fapi/v1/exchangeInfo", "exchangeInfo", CALL_PUBLIC},
    [BINANCE_CALL_MODE] = {"GET", "/fapi/v1/positionSide/dual", "position mode", CALL_SIGNED},
    [BINANCE_CALL_KEY_NEW] = {"POST", "/fapi/v1/listenKey", "listenKey", CALL_KEYED},
    [BINANCE_CALL_KEY_KEEP] = {"PUT", "/fapi/v1/listenKey", "listenKey", CALL_KEYED},
    [BINANCE_CALL_DEPTH] = {"GET", "/fapi/v1/depth", "depth", CALL_PUBLIC},
    [BINANCE_CALL_COUNTDOWN] = {"POST", "/fapi/v1/countdownCancelAll", "countdownCancelAll",
                                CALL_SIGNED},
    [BINANCE_CALL_CANCEL_ALL] = {"DELETE", "/fapi/v1/allOpenOrders", "allOpenOrders", CALL_SIGNED},
    [BINANCE_CALL_CANCEL] = {"DELETE", "/fapi/v1/order", "cancel", CALL_SIGNED},
    [BINANCE_CALL_QUERY] = {"GET", "/fapi/v1/order", "query", CALL_SIGNED},
    [BINANCE_CALL_OPEN_ORDERS] = {"GET", "/fapi/v1/openOrders", "openOrders", CALL_SIGNED},
    [BINANCE_CALL_FILLS] = {"GET", "/fapi/v1/userTrades", "userTrades", CALL_SIGNED},
    [BINANCE_CALL_OWNER] = {"GET", "/fapi/v1/order", "query", CALL_SIGNED},
    [BINANCE_CALL_POSITIONS] = {"GET", "/fapi/v3/positionRisk", "positionRisk", CALL_SIGNED},
    [BINANCE_CALL_OPENING] = {"GET", "/fapi/v1/markPriceKlines", "markPriceKlines", CALL_PUBLIC},
    [BINANCE_CALL_BALANCE] = {"GET", "/fapi/v3/balance", "balance", CALL_SIGNED},
    [BINANCE_CALL_INCOME] = {"GET", "/fapi/v1/income", "income", CALL_SIGNED},
};

static void call_done(void *context, const struct http_response *response);

static struct binance_call_entry *call_entry(struct binance *b)
{
    for (int i = 0; i < HTTP_REQUESTS; i++)
        if (b->calls[i].call == 0)
            return &b->calls[i];
    return NULL;
}

int binance_call(struct binance *b, int call, int index, uint32_t run, uint64_t client_order_id,
                 const char *parameters, int64_t now_ns)
{
    char url[HTTP_URL], query[1024];
    const struct call_row *row = &calls[call];
    struct binance_call_entry *entry = call_entry(b);
    if (entry == NULL || now_ns < b->rest_hold_ns)
        return STATUS_LIMIT;
    if (row->auth == CALL_SIGNED) {
        if (binance_wire_signed_query(query, sizeof query, &b->signer, parameters,
                                      binance_wall_ms(b)) == 0)
            return STATUS_LIMIT;
        parameters = query;
    }
    if (snprintf(url, sizeof url, "%s%s%s%s", b->rest, row->path, parameters[0] ? "?" : "",
                 parameters) >= (int)sizeof url)
        return STATUS_LIMIT;
    struct http_request request = {
        .method = row->method,
        .url = url,
        .headers = {row->auth == CALL_PUBLIC ? NULL : b->api_key_header},
        .timeout_ns = CALL_TIMEOUT_NS,
        .on_done = call_done,
        .context = entry,
    };
    *entry = (struct binance_call_entry){b, call, index, run, client_order_id};
    int status = http_send(b->http, &request, now_ns);
    if (status != STATUS_OK)
        entry->call = 0;
    return status;
}

/* --- clock ------------------------------------------------------------------------------------ */

static void clock_again(struct binance *b)
{
    b->clock_samples = 0;
    b->clock_best_rtt_ns = INT64_MAX;
    b->clock_retry_ns = 0;
    b->clock_checked_ns = 0;
}

void binance_watch_stall(struct binance *b, int64_t now_ns)
{
    bool stood_still = b->worked_ns != 0 && now_ns - b->worked_ns >= CLOCK_STALL_NS;
    b->worked_ns = now_ns;
    if (!stood_still || !b->clock_known)
        return;
    b->clock_stale = true;
    clock_again(b);
}

/* See binance_venue_ms. */
static int64_t binance_window_ns(const struct binance *b)
{
    return b->recv_window_ms * CLOCK_NS_PER_MS + b->clock_best_rtt_ns / 2 + CLOCK_NS_PER_MS +
           CLOCK_NS_PER_S;
}

/* The sample with the shortest round trip has the smallest error: half of that round trip. */
static void on_time(struct binance *b, const struct binance_answer *answer, int64_t now_ns)
{
    int64_t server_ms;
    b->clock_asked = false;
    if (!answer->accepted || binance_wire_server_time(&server_ms, answer->http->body,
                                                      answer->http->body_length) != STATUS_OK) {
        b->clock_retry_ns = now_ns + binance_backoff_ns(b, b->start_failures++);
        return;
    }
    int64_t rtt = answer->http->done_ns - answer->http->sent_ns;
    if (b->clock_samples == 0 || rtt < b->clock_best_rtt_ns) {
        b->clock_best_rtt_ns = rtt;
        b->clock_best_base_ns =
            server_ms * CLOCK_NS_PER_MS + CLOCK_NS_PER_MS / 2 - (answer->http->done_ns - rtt / 2);
        b->clock_best_offset_ns = server_ms * CLOCK_NS_PER_MS + CLOCK_NS_PER_MS / 2 -
                                  (clock_wall_ns() - (now_ns - answer->http->done_ns) - rtt / 2);
    }
    if (++b->clock_samples < CLOCK_SAMPLES)
        return;
    int64_t offset = b->clock_best_offset_ns;
    b->clock_checked_ns = now_ns;
    b->clock_samples = 0;
    b->venue.clock_offset_ns = offset;
    b->venue_minus_ours_ns = b->clock_best_base_ns;
    b->venue.validity_window_ns = binance_window_ns(b);
    b->clock_stale = false;
    b->clock_known = offset < BINANCE_CLOCK_LIMIT_NS && offset > -BINANCE_CLOCK_LIMIT_NS;
    if (b->clock_known)
        return;
    b->clock_retry_ns = now_ns + 2000000000;
    b->clock_checked_ns = 0;
    binance_problem(b, "clock %+lld ms off the venue's: set this machine's time",
                    (long long)(-offset / CLOCK_NS_PER_MS));
    binance_event(
        b, EVENT_ERROR, "clock_refused",
        "this machine's clock differs from the venue's by %+lld ms (1000 allowed); set it, "
        "for example with chrony; no orders until then",
        (long long)(-offset / CLOCK_NS_PER_MS));
}

/* --- reference data --------------------------------------------------------------------------- */

static bool same_grid(const struct instrument *a, const struct instrument *b)
{
    return a->tick_e9 == b->tick_e9 && a->lot_e9 == b->lot_e9;
}

static bool info_symbol(struct binance *b, int index, const struct binance_answer *answer)
{
    struct binance_market *market = &b->markets[index];
    struct instrument found = market->instrument;
    struct binance_limits limits;
    int status = binance_wire_exchange_info(&found, &limits, found.symbol, answer->http->body,
                                            answer->http->body_length);
    if (status != STATUS_OK) {
        binance_problem(b,
                        status == STATUS_REFUSED ? "symbol %s is not listed at the venue"
                                                 : "exchangeInfo of %s cannot be understood",
                        market->instrument.symbol);
        return false;
    }
    if (market->known && !same_grid(&market->instrument, &found)) {
        binance_problem(b, "tick or lot of %s changed: restart the engine", found.symbol);
        binance_event(b, EVENT_ERROR, "grid_changed", "%s: restart the engine", found.symbol);
        return false;
    }
    bool news = !market->known;
    market->instrument = found;
    market->known = true;
    if (news)
        b->venue.events->on_instrument(b->venue.events->context, &b->venue, &market->instrument);
    return true;
}

static void on_info(struct binance *b, const struct binance_answer *answer, int64_t now_ns)
{
    b->info_asked = false;
    bool whole = answer->accepted;
    for (int i = 0; i < b->symbols_count && whole; i++)
        whole = info_symbol(b, i, answer);
    if (whole) {
        b->info_known = true;
        b->info_wanted = false;
        b->known.count = (size_t)b->symbols_count;
    } else {
        b->info_known = b->info_known && !answer->accepted;
        b->info_retry_ns = now_ns + binance_backoff_ns(b, 2 + b->start_failures++);
    }
}

static void on_mode(struct binance *b, const struct binance_answer *answer, int64_t now_ns)
{
    bool dual_side = true;
    b->mode_asked = false;
    if (answer->accepted && binance_wire_position_mode(&dual_side, answer->http->body,
                                                       answer->http->body_length) == STATUS_OK) {
        b->mode_known = !dual_side;
        if (!dual_side)
            return;
        binance_problem(b, "the account is in hedge mode: set one-way mode");
        binance_event(b, EVENT_ERROR, "position_mode_refused",
                      "the account is in hedge mode; switch it to one-way mode at the venue");
    }
    b->mode_retry_ns = now_ns + binance_backoff_ns(b, 2 + b->start_failures++);
}

/* --- listen key ------------------------------------------------------------------------------- */

void binance_listen_key_lost(struct binance *b)
{
    b->listen_key[0] = '\0';
    b->listen_key_ns = 0;
    b->key_retry_ns = 0;
}

static void on_key_new(struct binance *b, const struct binance_answer *answer, int64_t now_ns)
{
    b->key_asked = false;
    if (answer->accepted &&
        binance_wire_listen_key(b->listen_key, sizeof b->listen_key, answer->http->body,
                                answer->http->body_length) == STATUS_OK) {
        b->listen_key_ns = now_ns;
        return;
    }
    b->key_retry_ns = now_ns + binance_backoff_ns(b, 2 + b->start_failures++);
}

/* -1125: the key is dead although its stream may still be open (Binance USD-M docs, error codes).
 */
static void on_key_keep(struct binance *b, const struct binance_answer *answer, int64_t now_ns)
{
    b->key_asked = false;
    if (answer->accepted) {
        b->listen_key_ns = now_ns;
    } else if (answer->http->status == STATUS_OK && answer->code == -1125) {
        binance_event(b, EVENT_WARNING, "listen_key_expired", "found out by keep-alive");
        binance_link_rotate(&b->user_link, "the listen key is dead");
        binance_listen_key_lost(b);
    } else {
        b->key_retry_ns = now_ns + 5000000000;
    }
}

/* --- dead-man switch -------------------------------------------------------------------------- */

int64_t binance_dead_man_acked_ns(const struct binance *b)
{
    int64_t oldest = INT64_MAX;
    for (int i = 0; i < b->symbols_count; i++)
        if (b->markets[i].dead_man_acked_ns < oldest)
            oldest = b->markets[i].dead_man_acked_ns;
    return oldest;
}

/* The time of sending is taken as the time of arming: the venue cannot have counted from earlier.
 */
static void on_countdown(struct binance *b, const struct binance_answer *answer, int64_t now_ns)
{
    struct binance_market *market = &b->markets[answer->index];
    char symbol[PROTOCOL_SYMBOL];
    int64_t countdown_ms = 0;
    market->dead_man_asked = false;
    if (!answer->accepted ||
        binance_wire_countdown(symbol, &countdown_ms, answer->http->body,
                               answer->http->body_length) != STATUS_OK ||
        countdown_ms * CLOCK_NS_PER_MS != b->dead_man_timeout_ns) {
        b->counters.dead_man_failures++;
        market->dead_man_retry_ns = now_ns + 500000000;
        binance_event(b, EVENT_WARNING, "dead_man_failed", "%s: %lld %s", market->instrument.symbol,
                      (long long)answer->code, answer->message);
        return;
    }
    b->counters.dead_man_acks++;
    market->dead_man_acked_ns = market->dead_man_sent_ns;
    int64_t acked = binance_dead_man_acked_ns(b);
    if (acked == 0)
        return;
    b->venue.dead_man_armed_ns = acked;
    b->venue.dead_man_expires_ns = acked + b->dead_man_timeout_ns;
    b->venue.events->on_dead_man(b->venue.events->context, &b->venue, acked,
                                 b->venue.dead_man_expires_ns);
    binance_session_update(b, now_ns);
}

static void dead_man_turn(struct binance *b, int64_t now_ns)
{
    char parameters[96];
    if (!b->dead_man_allowed)
        return;
    for (int i = 0; i < b->symbols_count; i++) {
        struct binance_market *market = &b->markets[i];
        bool due = market->dead_man_acked_ns == 0 ||
                   now_ns - market->dead_man_acked_ns >= b->dead_man_timeout_ns / 4;
        if (!due || market->dead_man_asked || now_ns < market->dead_man_retry_ns)
            continue;
        snprintf(parameters, sizeof parameters, "symbol=%s&countdownTime=%lld",
                 market->instrument.symbol, (long long)(b->dead_man_timeout_ns / CLOCK_NS_PER_MS));
        market->dead_man_sent_ns = now_ns;
        market->dead_man_asked =
            binance_call(b, BINANCE_CALL_COUNTDOWN, i, 0, 0, parameters, now_ns) == STATUS_OK;
    }
}

/* --- all answers ------------------------------------------------------------------------------ */

static void answer_judge(struct binance *b, struct binance_answer *answer)
{
    const struct http_response *http = answer->http;
    const char *name = calls[answer->call].name;
    if (http->status != STATUS_OK) {
        snprintf(answer->message, sizeof answer->message, "%s", http->text ? http->text : "");
        answer->class =
            (struct binance_class){http->sent ? BINANCE_UNKNOWN : BINANCE_REJECTED_THROTTLE,
                                   http->sent ? REJECT_NONE : REJECT_SESSION};
        binance_problem(b, "%s: %.70s", name, answer->message);
        return;
    }
    answer->accepted = http->code == 200;
    if (answer->accepted)
        return;
    if (binance_wire_error(&answer->code, answer->message, http->body, http->body_length) !=
        STATUS_OK)
        snprintf(answer->message, sizeof answer->message, "HTTP %ld", http->code);
    answer->class = binance_wire_classify(http->code, answer->code, answer->message);
    binance_problem(b, "%s: %lld %.60s", name, (long long)answer->code, answer->message);
}

void binance_throttled(struct binance *b, int64_t code, const char *message, int64_t retry_after_s,
                       int64_t now_ns)
{
    bool address = code == TOO_MANY_REQUESTS; /* else only orders */
    int64_t pause_ms = address ? 10000 : 1000;
    int64_t banned_ms = binance_wire_banned_until_ms(message);
    if (retry_after_s > 0 && retry_after_s < HOLD_MAX_MS / 1000)
        pause_ms = retry_after_s * 1000;
    if (banned_ms > 0) {
        int64_t left_ms = banned_ms - binance_wall_ms(b);
        if (left_ms > pause_ms || retry_after_s == 0)
            pause_ms = left_ms > 1000 ? left_ms : 1000;
    }
    if (pause_ms > HOLD_MAX_MS)
        pause_ms = HOLD_MAX_MS;
    int64_t until_ns = now_ns + pause_ms * CLOCK_NS_PER_MS;
    if (until_ns > b->orders_hold_ns)
        b->orders_hold_ns = until_ns;
    if (!address)
        return;
    if (until_ns > b->rest_hold_ns + CLOCK_NS_PER_S)
        binance_event(b, EVENT_WARNING, "rate_limited", "no REST calls and no orders for %lld s",
                      (long long)(pause_ms / 1000));
    if (until_ns > b->rest_hold_ns)
        b->rest_hold_ns = until_ns;
}

/* What every refusal means for the whole session, whichever call it answered. */
static void answer_consequences(struct binance *b, const struct binance_answer *answer,
                                int64_t now_ns)
{
    if (answer->accepted || answer->http->status != STATUS_OK)
        return;
    if (answer->class.outcome == BINANCE_REJECTED_AUTH)
        binance_auth_refused(b, calls[answer->call].name, answer->code, answer->message);
    if (answer->class.outcome == BINANCE_REJECTED_CLOCK)
        clock_again(b);
    if (answer->http->code == 429 || answer->http->code == 418 || answer->http->code == 403)
        binance_throttled(b, TOO_MANY_REQUESTS, answer->message, answer->http->retry_after_s,
                          now_ns);
}

static void answer_dispatch(struct binance *b, const struct binance_answer *answer, int64_t now_ns)
{
    switch ((enum binance_call)answer->call) {
    case BINANCE_CALL_TIME:
        on_time(b, answer, now_ns);
        break;
    case BINANCE_CALL_INFO:
        on_info(b, answer, now_ns);
        break;
    case BINANCE_CALL_MODE:
        on_mode(b, answer, now_ns);
        break;
    case BINANCE_CALL_KEY_NEW:
        on_key_new(b, answer, now_ns);
        break;
    case BINANCE_CALL_KEY_KEEP:
        on_key_keep(b, answer, now_ns);
        break;
    case BINANCE_CALL_DEPTH:
        binance_market_snapshot(b, answer, now_ns);
        break;
    case BINANCE_CALL_COUNTDOWN:
        on_countdown(b, answer, now_ns);
        break;
    case BINANCE_CALL_CANCEL_ALL:
    case BINANCE_CALL_CANCEL:
    case BINANCE_CALL_QUERY:
        binance_order_rest_answer(b, answer, now_ns);
        break;
    case BINANCE_CALL_OPEN_ORDERS:
    case BINANCE_CALL_FILLS:
    case BINANCE_CALL_OWNER:
    case BINANCE_CALL_POSITIONS:
    case BINANCE_CALL_OPENING:
    case BINANCE_CALL_BALANCE:
    case BINANCE_CALL_INCOME:
        binance_reconcile_answer(b, answer, now_ns);
        break;
    }
}

static void call_done(void *context, const struct http_response *response)
{
    struct binance_call_entry *entry = context;
    struct binance *b = entry->session;
    struct binance_answer answer = {
        .call = entry->call,
        .index = entry->index,
        .run = entry->run,
        .client_order_id = entry->client_order_id,
        .http = response,
    };
    int64_t now_ns = clock_now_ns();
    entry->call = 0;
    b->work++;
    if (!b->started)
        return;
    answer_judge(b, &answer);
    answer_consequences(b, &answer, now_ns);
    answer_dispatch(b, &answer, now_ns);
}

/* binance_rest_turn: asks for whatever is missing or due. */
void binance_rest_turn(struct binance *b, int64_t now_ns)
{
    bool clock_due = !b->clock_known || b->clock_checked_ns == 0 || b->clock_samples > 0 ||
                     now_ns - b->clock_checked_ns > CLOCK_EVERY_NS;
    if (clock_due && !b->clock_asked && now_ns >= b->clock_retry_ns)
        b->clock_asked = binance_call(b, BINANCE_CALL_TIME, 0, 0, 0, "", now_ns) == STATUS_OK;
    if (!b->clock_known)
        return;
    if ((!b->info_known || b->info_wanted) && !b->info_asked && now_ns >= b->info_retry_ns)
        b->info_asked = binance_call(b, BINANCE_CALL_INFO, 0, 0, 0, "", now_ns) == STATUS_OK;
    if (!b->mode_known && !b->mode_asked && now_ns >= b->mode_retry_ns)
        b->mode_asked = binance_call(b, BINANCE_CALL_MODE, 0, 0, 0, "", now_ns) == STATUS_OK;
    if (!b->info_known || !b->mode_known)
        return;
    if (!b->key_asked && now_ns >= b->key_retry_ns) {
        if (b->listen_key[0] == '\0')
            b->key_asked = binance_call(b, BINANCE_CALL_KEY_NEW, 0, 0, 0, "", now_ns) == STATUS_OK;
        else if (now_ns - b->listen_key_ns > LISTEN_KEY_KEEP_NS)
            b->key_asked = binance_call(b, BINANCE_CALL_KEY_KEEP, 0, 0, 0, "", now_ns) == STATUS_OK;
    }
    dead_man_turn(b, now_ns);
}
