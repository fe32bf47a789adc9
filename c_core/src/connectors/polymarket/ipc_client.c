#include "ipc_client.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

#include "../../base/status.h"

#define RETRY_FIRST_NS    100000000LL
#define RETRY_MAX_NS      2000000000LL
#define TICK_NS           100000000LL
#define MESSAGES_PER_TURN 64 /* then the market gets its turn */

int ipc_client_init(struct ipc_client *client, struct loop *loop, const char *path, uint32_t mode)
{
    memset(client, 0, sizeof *client);
    client->loop = loop;
    client->source = -1;
    client->source_fd = -1;
    if (snprintf(client->path, sizeof client->path, "%s", path) >= (int)sizeof client->path)
        return status_set(STATUS_LIMIT, "the bridge socket's path is too long: %s", path);
    client->channel = channel_new(ROLE_ENGINE, mode, "engine");
    return client->channel != NULL ? STATUS_OK
                                   : status_set(STATUS_LIMIT, "no memory for the bridge");
}

static void source_forget(struct ipc_client *client)
{
    loop_unwatch(client->loop, client->source);
    client->source = -1;
    client->source_fd = -1;
}

void ipc_client_fini(struct ipc_client *client)
{
    if (client->channel == NULL)
        return;
    client->connected = false;
    source_forget(client);
    channel_close(client->channel, "the engine stops");
    channel_free(client->channel);
    client->channel = NULL;
}

void ipc_client_listen(struct ipc_client *client, const struct ipc_client_events *events)
{
    if (client->listeners_count < IPC_LISTENERS)
        client->listeners[client->listeners_count++] = events;
}

bool ipc_client_is_connected(const struct ipc_client *client)
{
    return client->connected;
}

/* One message to each listener that wants its kind. */
static void message_tell(const struct ipc_client_events *events, uint16_t kind, const void *body,
                         int64_t now_ns)
{
    switch ((enum message_kind)kind) {
    case MESSAGE_HEDGE:
        if (events->on_hedge != NULL)
            events->on_hedge(events->context, body, now_ns);
        break;
    case MESSAGE_TOP_OF_BOOK:
        if (events->on_top_of_book != NULL)
            events->on_top_of_book(events->context, body, now_ns);
        break;
    case MESSAGE_EXECUTION_REPORT:
        if (events->on_execution_report != NULL)
            events->on_execution_report(events->context, body, now_ns);
        break;
    case MESSAGE_POSITION:
        if (events->on_position != NULL)
            events->on_position(events->context, body, now_ns);
        break;
    case MESSAGE_HALT:
        if (events->on_halt != NULL)
            events->on_halt(events->context, body, now_ns);
        break;
    case MESSAGE_HELLO:
    case MESSAGE_HEARTBEAT:
    case MESSAGE_SIGNAL:
    case MESSAGE_NEW_ORDER:
    case MESSAGE_CANCEL_ORDER:
    case MESSAGE_RISK_STATE:
    case MESSAGE_EVENT:
        break;
    }
}

static void connection_tell(struct ipc_client *client, bool connected, int64_t now_ns)
{
    client->connected = connected;
    const char *reason = connected ? "" : channel_close_reason(client->channel);
    for (int i = 0; i < client->listeners_count; i++)
        if (client->listeners[i]->on_connection != NULL)
            client->listeners[i]->on_connection(client->listeners[i]->context, connected,
                                                reason != NULL ? reason : "", now_ns);
}

/* state_follow: after anything that may have opened or closed the channel. */
static void state_follow(struct ipc_client *client, int64_t now_ns)
{
    int state = channel_state_now(client->channel);
    if (state == CHANNEL_OPEN && !client->connected) {
        client->failures = 0;
        connection_tell(client, true, now_ns);
    }
    if (state != CHANNEL_CLOSED)
        return;
    if (client->source >= 0)
        source_forget(client);
    if (client->connected) {
        client->reconnects++;
        connection_tell(client, false, now_ns);
    }
}

/* interest_follow: watches for room to write only while something waits to be written. */
static void interest_follow(struct ipc_client *client)
{
    uint32_t events = EPOLLIN;
    if (channel_wants_write(client->channel) ||
        channel_state_now(client->channel) == CHANNEL_CONNECTING)
        events |= EPOLLOUT;
    if (client->source >= 0 && events != client->source_events) {
        client->source_events = events;
        loop_change(client->loop, client->source, events);
    }
}

static void on_ready(void *context, uint32_t events, int64_t now_ns)
{
    struct ipc_client *client = context;
    /* Read in place as a message of any kind: protocol.h knows no alignment of its own. */
    _Alignas(16) unsigned char body[PROTOCOL_FRAME_MAX];
    _Static_assert(_Alignof(max_align_t) <= 16, "the body must be aligned for every plain struct");
    struct message_header header;
    (void)events;
    channel_flush(client->channel);
    for (int i = 0; i < MESSAGES_PER_TURN; i++) {
        if (channel_receive(client->channel, &header, body, now_ns) != 1)
            break;
        client->received++;
        for (int l = 0; l < client->listeners_count; l++)
            message_tell(client->listeners[l], header.kind, body, now_ns);
    }
    state_follow(client, now_ns);
    interest_follow(client);
}

static void connect_now(struct ipc_client *client, int64_t now_ns)
{
    int64_t pause = RETRY_FIRST_NS << (client->failures < 5 ? client->failures : 5);
    client->connect_ns = now_ns + (pause < RETRY_MAX_NS ? pause : RETRY_MAX_NS);
    client->failures++;
    if (channel_connect(client->channel, client->path, now_ns) != 0)
        return;
    client->source_fd = channel_fd(client->channel);
    client->source_events = EPOLLIN | EPOLLOUT;
    client->source =
        loop_watch(client->loop, client->source_fd, client->source_events, on_ready, client);
    if (client->source < 0)
        channel_close(client->channel, "the event loop is full");
}

int ipc_client_do_work(struct ipc_client *client, int64_t now_ns)
{
    int work = 0;
    if (channel_state_now(client->channel) == CHANNEL_CLOSED) {
        state_follow(client, now_ns);
        if (now_ns >= client->connect_ns) {
            connect_now(client, now_ns);
            work = 1;
        }
        return work;
    }
    client->progress++;
    if (now_ns >= client->tick_ns) {
        client->tick_ns = now_ns + TICK_NS;
        channel_tick(client->channel, client->progress, now_ns);
    }
    state_follow(client, now_ns);
    interest_follow(client);
    return work;
}

bool ipc_client_send(struct ipc_client *client, uint16_t kind, const void *body, uint32_t size,
                     int64_t now_ns)
{
    if (!client->connected || channel_send(client->channel, kind, body, size, now_ns) != 0) {
        client->dropped++;
        return false;
    }
    client->sent++;
    channel_flush(client->channel);
    interest_follow(client);
    return true;
}
