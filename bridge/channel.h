/*
 * channel.h: length-framed messages over a Unix socket, without blocking and without allocation
 * after channel_open. The caller owns the event loop: it polls channel_fd() and calls
 * channel_receive / channel_flush.
 *
 * Both sides send HELLO first (version, layout hash, role) and HEARTBEAT every second. The
 * connection ends, with a reason, on: a peer of another user (SO_PEERCRED), a different layout hash
 * or version, paper against live, a first message that is not HELLO, a length outside
 * header..PROTOCOL_FRAME_MAX or not the kind's own, an unknown kind, a sequence gap, no message for
 * CHANNEL_SILENCE_NS, or a peer that reads so slowly that the send buffer is full.
 */
#ifndef PURSER_BRIDGE_CHANNEL_H
#define PURSER_BRIDGE_CHANNEL_H

#ifndef PURSER_CDEF
#include "protocol.h"
#endif

#define CHANNEL_HEARTBEAT_NS 1000000000
#define CHANNEL_SILENCE_NS   5000000000
#define CHANNEL_BUFFER       262144 /* bytes each way */

enum channel_state {
    CHANNEL_CLOSED = 0,
    CHANNEL_CONNECTING = 1,
    CHANNEL_GREETING = 2,
    CHANNEL_OPEN = 3
};

struct channel;

/* channel_new: one allocation, buffers included. */
struct channel *channel_new(uint32_t role, uint32_t mode, const char *name);
void channel_free(struct channel *channel);

/* channel_connect: starts a non-blocking connect to the socket at path and queues HELLO. 0 or
 * -errno. May be called again after a close. */
int channel_connect(struct channel *channel, const char *path, int64_t now_ns);
/* channel_accept: takes over a connected socket (server side, and socketpairs in tests). */
int channel_accept(struct channel *channel, int fd, int64_t now_ns);

int channel_fd(const struct channel *channel);          /* -1 when closed */
int channel_wants_write(const struct channel *channel); /* 1: poll for POLLOUT too */
int channel_state_now(const struct channel *channel);
const char *channel_close_reason(const struct channel *channel); /* why it last closed */
uint32_t channel_peer_role(const struct channel *channel);

/* channel_send: queues one message; body is the struct of its kind. -ENOTCONN, -EMSGSIZE, or
 * -ENOBUFS after which the channel is closed (the peer stalled). */
int channel_send(struct channel *channel, uint16_t kind, const void *body, uint32_t size,
                 int64_t now_ns);

/* channel_flush: writes what it can. Bytes written, or -errno after which it is closed. */
int channel_flush(struct channel *channel);

/* channel_receive: reads what is there and copies out the next message: 1 a message, 0 none now,
 * -errno closed. body must hold PROTOCOL_FRAME_MAX bytes. HELLO and HEARTBEAT are handled inside
 * and not returned. */
int channel_receive(struct channel *channel, struct message_header *header, void *body,
                    int64_t now_ns);

/* channel_tick: heartbeats out, silence check; call it about every 100 ms. 0 or -errno (closed). */
int channel_tick(struct channel *channel, int64_t progress, int64_t now_ns);

void channel_close(struct channel *channel, const char *reason);

/* protocol_layout_hash: of protocol.h as compiled; protocol_body_size: of a kind, 0 unknown. */
uint64_t protocol_layout_hash(void);
uint32_t protocol_body_size(uint16_t kind);

#endif
