#include "polymarket_gateway.h"

#include <stdio.h>
#include <string.h>

#include "../../book/order_book.h"
#include "polymarket_types.h"

#define GATEWAY_ORDERS 64

struct gateway_token {
    struct instrument instrument;
    struct order_book *book;
    struct top_of_book top; /* as last told */
};

struct gateway_order {
    uint64_t client_order_id; /* 0: free */
    const struct instrument *instrument;
    uint8_t side;
};

struct gateway {
    struct venue venue; /* first member */
    struct arena *arena;
    struct ipc_client *client;
    struct ipc_client_events listener;
    struct gateway_token tokens[POLYMARKET_TOKENS];
    struct order_book *books; /* one ladder per token, made at start */
    int tokens_count;
    struct gateway_order orders[GATEWAY_ORDERS];
    bool started;
};

static struct gateway *gateway_of(struct venue *venue)
{
    return (struct gateway *)venue;
}

static struct gateway_token *token_find(struct gateway *gateway, const char symbol[PROTOCOL_SYMBOL])
{
    for (int i = 0; i < gateway->tokens_count; i++)
        if (memcmp(gateway->tokens[i].instrument.symbol, symbol, PROTOCOL_SYMBOL) == 0)
            return &gateway->tokens[i];
    return NULL;
}

static struct gateway_token *token_add(struct gateway *gateway, const char symbol[PROTOCOL_SYMBOL])
{
    if (gateway->tokens_count == POLYMARKET_TOKENS)
        return NULL;
    struct gateway_token *token = &gateway->tokens[gateway->tokens_count];
    polymarket_instrument_init(&token->instrument, (uint16_t)gateway->tokens_count, symbol);
    token->book = &gateway->books[gateway->tokens_count++];
    gateway->venue.events->on_instrument(gateway->venue.events->context, &gateway->venue,
                                         &token->instrument);
    return token;
}

static void level_set(struct gateway_token *token, enum book_side side, struct price *old,
                      int64_t price_e9, int64_t quantity_e9)
{
    struct price price = {price_e9 / POLYMARKET_TICK_E9};
    struct quantity quantity = {quantity_e9 / POLYMARKET_LOT_E9};
    if (old->ticks != 0 && old->ticks != price.ticks)
        order_book_set(token->book, side, *old, (struct quantity){0});
    if (price.ticks > 0)
        order_book_set(token->book, side, price, quantity);
    *old = price;
}

static void on_top_of_book(void *context, const struct message_top_of_book *top, int64_t now_ns)
{
    struct gateway *gateway = context;
    if (top->venue != VENUE_POLYMARKET || !gateway->started)
        return;
    struct gateway_token *token = token_find(gateway, top->symbol);
    if (token == NULL)
        token = token_add(gateway, top->symbol);
    if (token == NULL)
        return;
    bool usable = top->state == SESSION_READY;
    if (!usable)
        order_book_clear(token->book);
    level_set(token, BOOK_BID, &token->top.bid, usable ? top->bid_e9 : 0, top->bid_quantity_e9);
    level_set(token, BOOK_ASK, &token->top.ask, usable ? top->ask_e9 : 0, top->ask_quantity_e9);
    gateway->venue.feed_ns = now_ns;
    gateway->venue.events->on_book(gateway->venue.events->context, &gateway->venue,
                                   token->instrument.index, now_ns);
}

static struct gateway_order *order_find(struct gateway *gateway, uint64_t client_order_id)
{
    for (int i = 0; i < GATEWAY_ORDERS; i++)
        if (gateway->orders[i].client_order_id == client_order_id)
            return &gateway->orders[i];
    return NULL;
}

static bool state_is_end(uint8_t state)
{
    return state == ORDER_FILLED || state == ORDER_CANCELED || state == ORDER_REJECTED ||
           state == ORDER_EXPIRED;
}

static void on_execution_report(void *context, const struct message_execution_report *message,
                                int64_t now_ns)
{
    struct gateway *gateway = context;
    (void)now_ns;
    if (message->venue != VENUE_POLYMARKET || message->client_order_id >> 56 != ROLE_ENGINE)
        return;
    struct gateway_order *order = order_find(gateway, message->client_order_id);
    struct gateway_token *token = token_find(gateway, message->symbol);
    if (order == NULL || token == NULL)
        return;
    struct execution_report report = {
        .client_order_id = message->client_order_id,
        .instrument = &token->instrument,
        .execution_type = message->execution_type,
        .order_state = message->order_state,
        .side = message->side,
        .maker = message->maker,
        .provisional = message->provisional,
        .reject_reason = message->reject_reason,
        .price = {message->price_e9 / POLYMARKET_TICK_E9},
        .quantity = {message->quantity_e9 / POLYMARKET_LOT_E9},
        .cumulative = {message->cumulative_e9 / POLYMARKET_LOT_E9},
        .last_price = {message->last_price_e9 / POLYMARKET_TICK_E9},
        .last_quantity = {message->last_quantity_e9 / POLYMARKET_LOT_E9},
        .fee_e8 = message->fee_e8,
        .wall_ns = message->wall_ns,
    };
    memcpy(report.execution_id, message->execution_id, sizeof report.execution_id);
    memcpy(report.text, message->text, sizeof report.text);
    report.execution_id[sizeof report.execution_id - 1] = '\0';
    report.text[sizeof report.text - 1] = '\0';
    if (state_is_end(message->order_state))
        order->client_order_id = 0;
    gateway->venue.events->on_execution(gateway->venue.events->context, &gateway->venue, &report);
}

/* The bridge is gone: what the bot may or may not have done with our orders is not known. */
static void orders_unknown(struct gateway *gateway)
{
    for (int i = 0; i < GATEWAY_ORDERS; i++) {
        if (gateway->orders[i].client_order_id == 0)
            continue;
        struct execution_report report = {
            .client_order_id = gateway->orders[i].client_order_id,
            .instrument = gateway->orders[i].instrument,
            .execution_type = EXEC_UNKNOWN,
            .order_state = ORDER_UNKNOWN,
            .side = gateway->orders[i].side,
            .text = "the bridge to the bot is down",
        };
        gateway->venue.events->on_execution(gateway->venue.events->context, &gateway->venue,
                                            &report);
    }
}

static void session_set(struct gateway *gateway, int state, const char *text)
{
    gateway->venue.session_state = state;
    snprintf(gateway->venue.text, sizeof gateway->venue.text, "%.63s", text);
    gateway->venue.events->on_session(gateway->venue.events->context, &gateway->venue, state,
                                      gateway->venue.text);
}

static void on_connection(void *context, bool connected, const char *reason, int64_t now_ns)
{
    struct gateway *gateway = context;
    (void)now_ns;
    if (!gateway->started)
        return;
    if (connected) {
        session_set(gateway, SESSION_READY, "");
        return;
    }
    gateway->venue.disconnects++;
    for (int i = 0; i < gateway->tokens_count; i++) {
        order_book_clear(gateway->tokens[i].book);
        gateway->tokens[i].top = (struct top_of_book){0};
    }
    session_set(gateway, SESSION_CONNECTING, reason);
    orders_unknown(gateway);
}

/* --- the venue's operations ------------------------------------------------------------------- */

static int gateway_start(struct venue *venue, struct loop *loop, int64_t now_ns)
{
    struct gateway *gateway = gateway_of(venue);
    (void)loop;
    (void)now_ns;
    gateway->started = true;
    session_set(gateway, SESSION_CONNECTING, "waits for the bot");
    return STATUS_OK;
}

static int gateway_do_work(struct venue *venue, int64_t now_ns)
{
    (void)venue; /* the client is turned by its owner */
    (void)now_ns;
    return 0;
}

static int gateway_submit(struct venue *venue, const struct order *order, int64_t now_ns)
{
    struct gateway *gateway = gateway_of(venue);
    struct gateway_order *entry = order_find(gateway, 0);
    if (entry == NULL)
        return STATUS_LIMIT;
    struct message_new_order message = {
        .client_order_id = order->client_order_id,
        .venue = VENUE_POLYMARKET,
        .side = order->side,
        .type = order->type,
        .time_in_force = order->time_in_force,
        .reduce_only = order->reduce_only,
        .strategy = order->strategy,
        .price_e9 = instrument_price_e9(order->instrument, order->price),
        .quantity_e9 = instrument_quantity_e9(order->instrument, order->quantity),
    };
    memcpy(message.symbol, order->instrument->symbol, sizeof message.symbol);
    if (!ipc_client_send(gateway->client, MESSAGE_NEW_ORDER, &message, sizeof message, now_ns))
        return STATUS_CLOSED;
    *entry = (struct gateway_order){order->client_order_id, order->instrument, order->side};
    return STATUS_OK;
}

static int cancel_send(struct gateway *gateway, uint64_t client_order_id, int64_t now_ns)
{
    struct message_cancel_order message = {.client_order_id = client_order_id,
                                           .venue = VENUE_POLYMARKET};
    bool sent =
        ipc_client_send(gateway->client, MESSAGE_CANCEL_ORDER, &message, sizeof message, now_ns);
    return sent ? STATUS_OK : STATUS_CLOSED;
}

static int gateway_cancel(struct venue *venue, const struct order *order, int64_t now_ns)
{
    return cancel_send(gateway_of(venue), order->client_order_id, now_ns);
}

/* Each order by its id: an id of 0 would ask the bot to cancel whatever the sender owns, and the
 * bot's own quotes are not ours to cancel. */
static int gateway_cancel_all(struct venue *venue, int64_t now_ns)
{
    struct gateway *gateway = gateway_of(venue);
    int result = STATUS_OK;
    for (int i = 0; i < GATEWAY_ORDERS; i++)
        if (gateway->orders[i].client_order_id != 0 &&
            cancel_send(gateway, gateway->orders[i].client_order_id, now_ns) != STATUS_OK)
            result = STATUS_CLOSED;
    return result;
}

static int gateway_reconcile(struct venue *venue, const char *since_execution_id, int64_t now_ns)
{
    struct gateway *gateway = gateway_of(venue);
    (void)since_execution_id;
    (void)now_ns; /* the bot reconciles with the venue; here nothing is held */
    if (!ipc_client_is_connected(gateway->client))
        return STATUS_AGAIN;
    venue->events->on_reconciled(venue->events->context, venue);
    return STATUS_OK;
}

static void gateway_set_dead_man(struct venue *venue, bool may_renew)
{
    (void)venue; /* the venue's heartbeats are the bot's */
    (void)may_renew;
}

static void gateway_stop(struct venue *venue)
{
    gateway_of(venue)->started = false;
}

static struct order_book *gateway_book(struct venue *venue, uint16_t instrument_index)
{
    struct gateway *gateway = gateway_of(venue);
    return instrument_index < gateway->tokens_count ? gateway->tokens[instrument_index].book : NULL;
}

static const struct venue_operations operations = {
    .start = gateway_start,
    .do_work = gateway_do_work,
    .submit = gateway_submit,
    .cancel = gateway_cancel,
    .cancel_all = gateway_cancel_all,
    .query = gateway_cancel,
    .reconcile = gateway_reconcile,
    .set_dead_man = gateway_set_dead_man,
    .stop = gateway_stop,
};

struct venue *polymarket_gateway_new(struct arena *arena, struct ipc_client *client)
{
    struct gateway *gateway = arena_allocate(arena, sizeof *gateway);
    gateway->arena = arena;
    gateway->client = client;
    gateway->books = arena_allocate(arena, sizeof *gateway->books * POLYMARKET_TOKENS);
    for (int i = 0; i < POLYMARKET_TOKENS; i++)
        order_book_init(&gateway->books[i], arena);
    gateway->listener = (struct ipc_client_events){
        .context = gateway,
        .on_top_of_book = on_top_of_book,
        .on_execution_report = on_execution_report,
        .on_connection = on_connection,
    };
    ipc_client_listen(client, &gateway->listener);
    gateway->venue = (struct venue){
        .id = VENUE_POLYMARKET,
        .name = "polymarket",
        .operations = &operations,
        .validity_window_ns = 60000000000, /* no window at the venue: lookup plus a minute */
        .book = gateway_book,
    };
    return &gateway->venue;
}
