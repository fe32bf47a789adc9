/*
 * ipc_client.h: the engine's end of the bridge to the bot: a channel (bridge/channel.h) on the
 * event loop that connects, greets, beats, and comes back by itself after any loss. Nothing here
 * waits; a message sent while the bot is away is dropped and counted, because each is either
 * repeated (signals, positions) or asked for again (hedge targets are absolute).
 */
#ifndef PURSER_CONNECTORS_IPC_CLIENT_H
#define PURSER_CONNECTORS_IPC_CLIENT_H

#include <stdbool.h>

#include "../../../../bridge/channel.h"
#include "../../net/loop.h"

/* Any may be NULL. Called on the loop's thread. */
struct ipc_client_events {
    void *context;
    void (*on_hedge)(void *context, const struct message_hedge *hedge, int64_t now_ns);
    void (*on_top_of_book)(void *context, const struct message_top_of_book *top, int64_t now_ns);
    void (*on_execution_report)(void *context, const struct message_execution_report *report,
                                int64_t now_ns);
    void (*on_position)(void *context, const struct message_position *position, int64_t now_ns);
    void (*on_halt)(void *context, const struct message_halt *halt, int64_t now_ns);
    /* connected: the greeting is over. reason: why the last connection ended, or "". */
    void (*on_connection)(void *context, bool connected, const char *reason, int64_t now_ns);
};

#define IPC_LISTENERS 2

struct ipc_client {
    struct channel *channel;
    struct loop *loop;
    const struct ipc_client_events *listeners[IPC_LISTENERS];
    int listeners_count;
    char path[512];
    int64_t source; /* loop id; -1 */
    int source_fd;
    uint32_t source_events;
    int64_t connect_ns, tick_ns;
    int failures;
    bool connected;
    int64_t progress;
    int64_t sent, received, dropped, reconnects;
};

/* ipc_client_init: one allocation, for the channel. STATUS_OK or STATUS_LIMIT. */
int ipc_client_init(struct ipc_client *client, struct loop *loop, const char *path, uint32_t mode);
void ipc_client_fini(struct ipc_client *client);

/* ipc_client_listen: events stay owned by the caller. */
void ipc_client_listen(struct ipc_client *client, const struct ipc_client_events *events);

/* ipc_client_do_work: connects when it is time, beats, and notices a loss. Returns work done. */
int ipc_client_do_work(struct ipc_client *client, int64_t now_ns);

/* ipc_client_send: SIGNAL, POSITION, RISK_STATE, EXECUTION_REPORT, NEW_ORDER, CANCEL_ORDER, EVENT.
 * False when the bot is not connected, or was too slow and has been dropped. */
bool ipc_client_send(struct ipc_client *client, uint16_t kind, const void *body, uint32_t size,
                     int64_t now_ns);
bool ipc_client_is_connected(const struct ipc_client *client);

#endif
