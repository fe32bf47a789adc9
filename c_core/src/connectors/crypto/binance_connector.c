#include "binance_connector.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "../../base/heap_trap.h"
#include "binance_connector_session.h"

#define BACKOFF_FIRST_NS 250000000LL
#define BACKOFF_MAX_NS   30000000000LL
#define OPEN_TIMEOUT_NS  10000000000LL
#define PING_AFTER_NS    3000000000LL
#define DEAD_AFTER_NS    10000000000LL
#define LASTED_NS        5000000000LL
/* The venue closes every connection after 24 h (Binance USD-M docs, "Websocket Market Streams"). */
#define ROTATE_AFTER_NS (23 * 3600 * 1000000000LL)
#define TURN_NS         20000000LL

void binance_event(struct binance *b, int level, const char *name, const char *format, ...)
{
    char text[PROTOCOL_TEXT];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (b->venue.events != NULL)
        b->venue.events->on_event(b->venue.events->context, &b->venue, level, name, text);
}

void binance_problem(struct binance *b, const char *format, ...)
{
    va_list arguments;
    if (b->refused)
        return; /* what follows from a refused key, closed streams and so on, does not hide it */
    va_start(arguments, format);
    vsnprintf(b->problem, sizeof b->problem, format, arguments);
    va_end(arguments);
}

void binance_auth_refused(struct binance *b, const char *what, int64_t code, const char *message)
{
    if (b->refused)
        return;
    binance_problem(b, "the venue refused the API key (%s: %lld %.40s)", what, (long long)code,
                    message);
    b->refused = true;
    binance_event(b, EVENT_ERROR, "auth_refused",
                  "%s: %lld %.60s; put a valid key with futures permission into the key file", what,
                  (long long)code, message);
}

/* xorshift64*: jitter needs no more. */
static uint64_t random_next(struct binance *b)
{
    b->random ^= b->random >> 12;
    b->random ^= b->random << 25;
    b->random ^= b->random >> 27;
    return b->random * 2685821657736338717ULL;
}

int64_t binance_backoff_ns(struct binance *b, int failures)
{
    int64_t pause = BACKOFF_MAX_NS;
    if (failures < 7)
        pause = BACKOFF_FIRST_NS << failures;
    if (pause > BACKOFF_MAX_NS)
        pause = BACKOFF_MAX_NS;
    return pause / 2 + (int64_t)(random_next(b) % (uint64_t)(pause / 2 + 1));
}

/* --- whose order is it ------------------------------------------------------------------------ */

uint64_t binance_owner(const struct binance *b, const char *client_id)
{
    uint64_t client_order_id = binance_client_id_parse(&b->prefix, client_id);
    return client_order_id != 0 ? client_order_id : binance_client_id_other(&b->prefix, client_id);
}

void binance_order_id_put(struct binance *b, int64_t order_id, uint64_t owner)
{
    if (order_id == 0)
        return;
    b->order_ids[(uint64_t)order_id & (BINANCE_ORDER_IDS - 1)] =
        (struct binance_order_id){order_id, owner};
}

bool binance_order_id_get(const struct binance *b, int64_t order_id, uint64_t *owner)
{
    const struct binance_order_id *entry =
        &b->order_ids[(uint64_t)order_id & (BINANCE_ORDER_IDS - 1)];
    *owner = entry->owner;
    return entry->order_id == order_id && order_id != 0;
}

void binance_report_own(const struct binance *b, struct execution_report *report, uint64_t owner,
                        const char *client_id)
{
    char name[BINANCE_OTHER_NAME];
    bool other = (owner & BINANCE_OTHER) != 0;
    report->client_order_id = other ? 0 : owner;
    report->owner = other ? OWNER_PURSER : owner != 0 ? OWNER_US : OWNER_PERSON;
    if (other) {
        binance_other_name(name, &b->prefix, owner);
        snprintf(report->text, sizeof report->text, "%s", name);
    } else if (owner == 0) {
        snprintf(report->text, sizeof report->text, "%.40s", client_id);
    }
}

void binance_report_init(struct execution_report *report, const struct binance_order *order,
                         uint64_t client_order_id)
{
    memset(report, 0, sizeof *report);
    report->client_order_id = client_order_id;
    report->venue_order_id = (uint64_t)order->order_id;
    report->instrument = order->instrument;
    report->side = order->side;
    report->order_state = (uint8_t)binance_order_state(order->status);
    report->price = order->price;
    report->quantity = order->quantity;
    report->cumulative = order->cumulative;
    report->wall_ns = order->update_ms * CLOCK_NS_PER_MS;
}

/* --- links ------------------------------------------------------------------------------------ */

bool binance_link_is_open(const struct binance_link *link)
{
    return link->socket.state == WEBSOCKET_OPEN;
}

static void link_prove(struct binance_link *link)
{
    if (!link->proven) {
        link->proven = true;
        link->failures = 0;
    }
}

void binance_link_data(struct binance_link *link, int64_t now_ns)
{
    link->data_ns = now_ns;
    link_prove(link);
}

void binance_link_rotate(struct binance_link *link, const char *why)
{
    link->rotate = true;
    snprintf(link->why, sizeof link->why, "%s", why);
}

static void link_on_open(void *context, int64_t now_ns)
{
    struct binance_link *link = context;
    link->opened_ns = now_ns;
    link->data_ns = now_ns;
    link->pinged_ns = now_ns;
    link->proven = false;
    binance_event(link->session, EVENT_INFO, "stream_opened", "%s", link->name);
    binance_session_update(link->session, now_ns);
}

static void link_on_close(void *context, int status, const char *reason, int64_t now_ns)
{
    struct binance_link *link = context;
    struct binance *b = link->session;
    (void)status;
    bool was_open = link->opened_ns != 0;
    link->opened_ns = 0;
    link->rotate = false;
    link->retry_ns = now_ns + binance_backoff_ns(b, link->failures++);
    if (was_open) {
        b->venue.disconnects++;
        b->counters.reconnects++;
    }
    binance_problem(b, "%s closed: %.60s", link->name, reason);
    binance_event(b, EVENT_WARNING, "stream_closed", "%s: %s", link->name, reason);
    if (link == &b->market_link)
        binance_market_reset(b, now_ns);
    if (link == &b->api_link)
        binance_requests_lost(b, "the order connection closed before the answer");
    if (link != &b->market_link)
        binance_reconcile_abort(b);
    if (link == &b->user_link) {
        binance_fills_broken(b);
        /* Asked for anew each time: the venue returns the same key while it lives, and a stream
         * opens, and stays silent, with a dead one (Binance USD-M docs, "Start User Data Stream").
         */
        binance_listen_key_lost(b);
    }
    binance_session_update(b, now_ns);
}

static void link_open(struct binance_link *link, const char *url,
                      void (*on_message)(void *, const char *, size_t, int64_t), int64_t now_ns)
{
    struct websocket_events events = {
        .context = link,
        .on_open = link_on_open,
        .on_message = on_message,
        .on_close = link_on_close,
    };
    struct binance *b = link->session;
    int status = websocket_connect(&link->socket, url, &b->tls, &events, OPEN_TIMEOUT_NS, now_ns);
    if (status != STATUS_OK) {
        link->retry_ns = now_ns + binance_backoff_ns(b, link->failures++);
        binance_problem(b, "%s: %.70s", link->name, status_text());
    }
}

/* link_turn: opens a closed link when its pause is over; pings a silent one, and closes a dead one.
 */
static void link_turn(struct binance_link *link, bool wanted, const char *url,
                      void (*on_message)(void *, const char *, size_t, int64_t), int64_t now_ns)
{
    struct websocket *socket = &link->socket;
    if (socket->state == WEBSOCKET_CLOSED) {
        if (wanted && now_ns >= link->retry_ns)
            link_open(link, url, on_message, now_ns);
        return;
    }
    if (socket->state != WEBSOCKET_OPEN)
        return;
    int64_t pulse =
        socket->last_receive_ns > link->opened_ns ? socket->last_receive_ns : link->opened_ns;
    /* The user stream and the WS API may rightly be silent: to last is all that they can prove. */
    if (link != &link->session->market_link && now_ns - link->opened_ns > LASTED_NS)
        link_prove(link);
    if (!wanted || link->rotate) {
        websocket_close(socket, 1000, link->rotate ? link->why : "not needed", now_ns);
    } else if (now_ns - link->opened_ns > ROTATE_AFTER_NS) {
        websocket_close(socket, 1000, "24 hours are nearly over", now_ns);
    } else if (now_ns - pulse > DEAD_AFTER_NS) {
        link->session->counters.stalls++;
        websocket_close(socket, 1001, "no byte for 10 s, pings unanswered", now_ns);
    } else if (now_ns - pulse > PING_AFTER_NS && now_ns - link->pinged_ns > PING_AFTER_NS) {
        link->pinged_ns = now_ns;
        websocket_ping(socket);
    }
}

static void links_turn(struct binance *b, int64_t now_ns)
{
    char url[1024];
    size_t length = (size_t)snprintf(url, sizeof url, "%s/public/stream?streams=", b->streams);
    for (int i = 0; i < b->symbols_count && length < sizeof url; i++) {
        const char *symbol = b->markets[i].path_symbol;
        length += (size_t)snprintf(url + length, sizeof url - length,
                                   "%s%s@depth@100ms/%s@bookTicker", i ? "/" : "", symbol, symbol);
    }
    bool ready = b->clock_known && b->info_known && b->mode_known && !b->refused;
    link_turn(&b->market_link, ready && length < WEBSOCKET_URL, url, binance_market_message,
              now_ns);
    link_turn(&b->api_link, ready, b->ws_api, binance_api_message, now_ns);
    snprintf(url, sizeof url, "%s/private/ws/%s", b->streams, b->listen_key);
    link_turn(&b->user_link, ready && b->listen_key[0] != '\0', url, binance_user_message, now_ns);
}

/* --- the session's state ---------------------------------------------------------------------- */

static int session_state(struct binance *b, const char **text, int64_t now_ns)
{
    if (!b->started || b->refused) {
        *text = b->refused ? b->problem : "stopped";
        return SESSION_DOWN;
    }
    *text = b->problem;
    if (!b->clock_known || !b->info_known || !b->mode_known)
        return SESSION_CONNECTING;
    if (!binance_link_is_open(&b->user_link) || !binance_link_is_open(&b->api_link))
        return SESSION_CONNECTING;
    if (b->clock_stale) {
        *text = "the venue's clock is being measured again";
        return SESSION_SYNCING;
    }
    if (!binance_market_whole(b)) {
        *text = "the order book is being synchronised";
        return SESSION_SYNCING;
    }
    int64_t acked = binance_dead_man_acked_ns(b);
    if (acked == 0 || now_ns - acked > b->dead_man_timeout_ns) {
        *text = "the dead-man switch is not armed";
        return SESSION_SYNCING;
    }
    *text = "";
    return SESSION_READY;
}

void binance_session_update(struct binance *b, int64_t now_ns)
{
    const char *text = "";
    int state = session_state(b, &text, now_ns);
    bool same_text = strncmp(text, b->venue.text, sizeof b->venue.text - 1) == 0;
    if (state == b->venue.session_state && same_text)
        return;
    bool changed = state != b->venue.session_state;
    b->venue.session_state = state;
    snprintf(b->venue.text, sizeof b->venue.text, "%.63s", text);
    if (changed && b->venue.events != NULL)
        b->venue.events->on_session(b->venue.events->context, &b->venue, state, b->venue.text);
}

static int venue_do_work(struct venue *venue, int64_t now_ns)
{
    struct binance *b = binance_of(venue);
    b->work = 0;
    if (b->loop == NULL)
        return 0;
    binance_watch_stall(b, now_ns);
    if (b->clock_stale && venue->session_state == SESSION_READY)
        binance_session_update(b, now_ns);
    int trap = heap_trap_pause(); /* each frame's handler arms it for itself */
    int ran = loop_run_once(b->loop, 0);
    heap_trap_resume(trap);
    int work = b->work + (ran > 0 ? ran : 0);
    b->work = 0;
    if (!b->started || now_ns < b->next_turn_ns)
        return work;
    b->next_turn_ns = now_ns + TURN_NS;
    binance_orders_turn(b, now_ns);
    trap = heap_trap_pause(); /* the control path may use libcurl and open connections */
    if (!b->refused)
        binance_rest_turn(b, now_ns);
    links_turn(b, now_ns);
    binance_market_turn(b, now_ns);
    binance_user_turn(b, now_ns);
    binance_reconcile_turn(b, now_ns);
    heap_trap_resume(trap);
    binance_session_update(b, now_ns);
    return work + b->work;
}

static void link_init(struct binance *b, struct binance_link *link, const char *name)
{
    link->session = b;
    link->name = name;
    websocket_init(&link->socket, b->arena, b->loop);
}

static int venue_start(struct venue *venue, struct loop *loop, int64_t now_ns)
{
    struct binance *b = binance_of(venue);
    if (b->loop == NULL) {
        b->loop = loop;
        b->http = http_new(loop, b->arena, b->ca_file);
        if (b->http == NULL)
            return status_add(STATUS_TLS, "the REST client");
        link_init(b, &b->market_link, "market stream");
        link_init(b, &b->user_link, "user stream");
        link_init(b, &b->api_link, "order connection");
    }
    b->started = true;
    b->next_turn_ns = 0;
    /* What was under way at a stop was never heard of again: all is asked anew. */
    b->clock_asked = b->info_asked = b->mode_asked = b->key_asked = false;
    for (int i = 0; i < b->symbols_count; i++)
        b->markets[i].dead_man_asked = b->markets[i].snapshot_asked = false;
    binance_reconcile_abort(b);
    b->random ^= (uint64_t)now_ns | 1;
    binance_problem(b, "connecting");
    binance_session_update(b, now_ns);
    return STATUS_OK;
}

static void venue_set_dead_man(struct venue *venue, bool may_renew)
{
    binance_of(venue)->dead_man_allowed = may_renew;
}

static bool venue_unsent(const struct venue *venue)
{
    return websocket_unsent(&((const struct binance *)venue)->api_link.socket);
}

static void venue_stop(struct venue *venue)
{
    struct binance *b = binance_of(venue);
    b->started = false;
    if (b->loop == NULL)
        return;
    websocket_abort(&b->market_link.socket);
    websocket_abort(&b->user_link.socket);
    websocket_abort(&b->api_link.socket);
    binance_session_update(b, 0);
}

static struct order_book *venue_book(struct venue *venue, uint16_t instrument_index)
{
    struct binance *b = binance_of(venue);
    return instrument_index < b->symbols_count ? &b->markets[instrument_index].book : NULL;
}

static const struct venue_operations operations = {
    .start = venue_start,
    .do_work = venue_do_work,
    .submit = binance_submit,
    .unsent = venue_unsent,
    .cancel = binance_cancel,
    .cancel_all = binance_cancel_all,
    .query = binance_query,
    .query_id = binance_query_id,
    .reconcile = binance_reconcile_start,
    .set_dead_man = venue_set_dead_man,
    .stop = venue_stop,
};

size_t binance_connector_bytes(int symbols_count)
{
    /* per symbol: the ladder (2.5 MB), kept deltas (1.2 MB); then three sockets (2.1 MB each), the
     * REST buffers, and this struct; untouched pages cost nothing */
    return (size_t)(32 + 5 * symbols_count + HTTP_REQUESTS * 5) << 20;
}

static bool text_copy(char *out, size_t size, const char *text)
{
    return snprintf(out, size, "%s", text != NULL ? text : "") < (int)size;
}

static int settings_copy(struct binance *b, const struct binance_settings *settings)
{
    bool fits = text_copy(b->rest, sizeof b->rest, settings->rest) &&
                text_copy(b->streams, sizeof b->streams, settings->streams) &&
                text_copy(b->ws_api, sizeof b->ws_api, settings->ws_api) &&
                text_copy(b->ca_file, sizeof b->ca_file, settings->ca_file) &&
                text_copy(b->api_key, sizeof b->api_key, settings->api_key);
    if (!fits || settings->symbols_count < 1 || settings->symbols_count > BINANCE_SYMBOLS_MAX)
        return status_set(STATUS_CONFIG, "an address or key is too long, or there are no symbols");
    snprintf(b->api_key_header, sizeof b->api_key_header, "X-MBX-APIKEY: %s", b->api_key);
    sign_init(&b->sign_key, settings->api_secret, strlen(settings->api_secret));
    b->signer = (struct binance_signer){b->api_key, &b->sign_key, settings->recv_window_ms};
    b->recv_window_ms = settings->recv_window_ms;
    b->dead_man_timeout_ns = settings->dead_man_timeout_ms * CLOCK_NS_PER_MS;
    b->stale_ns = settings->stale_ms * CLOCK_NS_PER_MS;
    b->symbols_count = settings->symbols_count;
    memcpy(b->symbols, settings->symbols, sizeof b->symbols);
    binance_prefix_make(&b->prefix, settings->environment, settings->instance, settings->host);
    return STATUS_OK;
}

static void market_init(struct binance *b, int index)
{
    struct binance_market *market = &b->markets[index];
    const struct binance_symbol_settings *symbol = &b->symbols[index];
    order_book_init(&market->book, b->arena);
    book_sync_init(&market->sync, b->arena, &market->book);
    for (size_t i = 0; i < sizeof market->path_symbol - 1 && symbol->symbol[i] != '\0'; i++) {
        char c = symbol->symbol[i];
        market->path_symbol[i] = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
    }
    market->instrument.venue = VENUE_BINANCE;
    market->instrument.index = (uint16_t)index;
    snprintf(market->instrument.symbol, sizeof market->instrument.symbol, "%s", symbol->symbol);
    market->instrument.shock_ppm = symbol->shock_ppm;
    market->instrument.maker_fee_ppm = symbol->maker_fee_ppm;
    market->instrument.taker_fee_ppm = symbol->taker_fee_ppm;
    b->instruments[index] = &market->instrument;
}

int binance_connector_new(struct venue **out, struct arena *arena,
                          const struct binance_settings *settings)
{
    struct binance *b = arena_allocate(arena, sizeof *b);
    b->arena = arena;
    int status = settings_copy(b, settings);
    if (status != STATUS_OK)
        return status;
    status = tls_context_init(&b->tls, b->ca_file);
    if (status != STATUS_OK)
        return status_add(status, "the certificate authority %s", b->ca_file);
    b->markets = arena_allocate(arena, sizeof *b->markets * (size_t)b->symbols_count);
    for (int i = 0; i < b->symbols_count; i++)
        market_init(b, i);
    b->known = (struct binance_symbols){b->instruments, 0};
    b->levels = arena_allocate(arena, sizeof *b->levels * BINANCE_LEVELS_MAX);
    b->market_event = arena_allocate(arena, sizeof *b->market_event);
    b->user_event = arena_allocate(arena, sizeof *b->user_event);
    b->reconcile.fills = arena_allocate(arena, sizeof(struct binance_fill) * BINANCE_FILLS_PAGE);
    b->dead_man_allowed = true;
    b->next_request = 1;
    b->random = (uint64_t)clock_wall_ns() | 1;
    b->venue.id = VENUE_BINANCE;
    b->venue.name = "binance";
    b->venue.operations = &operations;
    b->venue_minus_ours_ns = clock_wall_ns() - clock_now_ns(); /* until it is measured */
    b->venue.validity_window_ns = b->recv_window_ms * CLOCK_NS_PER_MS + CLOCK_NS_PER_S;
    b->venue.book = venue_book;
    *out = &b->venue;
    return STATUS_OK;
}

void binance_connector_free(struct venue *venue)
{
    struct binance *b = binance_of(venue);
    venue_stop(venue);
    venue->events = NULL;
    if (b->http != NULL)
        http_free(b->http);
    tls_context_fini(&b->tls);
    sign_wipe(&b->sign_key);
}

bool binance_connector_refused(const struct venue *venue)
{
    return ((const struct binance *)venue)->refused;
}

const struct binance_counters *binance_connector_counters(const struct venue *venue)
{
    return &((const struct binance *)venue)->counters;
}
