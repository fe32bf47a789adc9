/*
 * websocket.h: a WebSocket client (RFC 6455) on a loop. Text messages come out whole; pings are
 * answered with their own payload; fragments are put together; everything the RFC forbids ends the
 * connection with a reason. All buffers come from the arena at websocket_init; a message sent or
 * received makes no heap call and messages that arrive in one frame are handed out in place.
 *
 * The framing is ours and not wslay's: wslay's event layer allocates a node and a copy per message
 * and queues what is sent, and its frame layer copies through a 4 KB buffer of its own; here the
 * sender must know at once whether the bytes of an order left, and the receiver must not touch the
 * heap. No extensions are offered, so frames are never compressed. Text is not checked to be UTF-8:
 * the decoders take bytes and refuse what they do not understand.
 *
 * One turn of the loop hands out at most WEBSOCKET_TURN_FRAMES frames and reads not much more than
 * WEBSOCKET_TURN_BYTES: a peer that floods one connection holds up neither the others nor the rest
 * of the duty cycle. What is left, in the socket or in OpenSSL, is taken up in the next turn, which
 * a timer that is due at once makes come without waiting.
 *
 * States: CLOSED -> CONNECTING -> OPEN -> CLOSED. on_close is called exactly once for each
 * websocket_connect that returned STATUS_OK, except when the owner calls websocket_abort. A closed
 * socket may be connected again, from a timer, not inside on_close.
 */
#ifndef PURSER_NET_WEBSOCKET_H
#define PURSER_NET_WEBSOCKET_H

#include "../base/arena.h"
#include "loop.h"
#include "tls.h"

#define WEBSOCKET_MESSAGE_MAX (1 << 20) /* bytes; a longer one ends the connection (1009) */
#define WEBSOCKET_PADDING     64        /* readable bytes after each message */
#define WEBSOCKET_SEND_BUFFER (1 << 16) /* bytes waiting for the socket at most */
#define WEBSOCKET_URL         512
/* A burst of the busiest 10 ms on record (593 messages of BTCUSDT, 590 KB a second) is three turns.
 */
#define WEBSOCKET_TURN_FRAMES 256
#define WEBSOCKET_TURN_BYTES  (1 << 18)

enum websocket_state { WEBSOCKET_CLOSED = 0, WEBSOCKET_CONNECTING = 1, WEBSOCKET_OPEN = 2 };

/* All three are required. */
struct websocket_events {
    void *context;
    void (*on_open)(void *context, int64_t now_ns);
    /* One whole text (or binary) message; bytes are valid during the call. received_ns was read
     * right after the bytes came out of the socket. */
    void (*on_message)(void *context, const char *bytes, size_t length, int64_t received_ns);
    /* status: enum status; reason: a sentence. */
    void (*on_close)(void *context, int status, const char *reason, int64_t now_ns);
};

struct websocket {
    int state;
    struct loop *loop;
    struct websocket_events events;
    struct tls tls;
    int64_t source; /* loop id; -1 */
    int source_fd;  /* the descriptor that is watched */
    uint32_t source_events;
    int64_t open_timer;
    int64_t more_timer;  /* due at once while a turn's work was cut short; -1 */
    int turn_frames;     /* handed out in this turn */
    uint32_t connection; /* counts connects and closes: notices a close from inside a handler */
    bool upgraded;       /* the handshake request was sent */
    char host[TLS_HOST], port[TLS_PORT];
    char target[WEBSOCKET_URL];
    char accept[32]; /* the Sec-WebSocket-Accept that we expect */
    /* receive: bytes start..filled of receive are not consumed yet */
    unsigned char *receive;
    size_t receive_start, receive_filled;
    unsigned char *message; /* fragments are gathered here */
    size_t message_length;
    int message_opcode; /* 0: no fragmented message in progress */
    /* send: bytes start..filled of send wait for the socket */
    unsigned char *send;
    size_t send_start, send_filled;
    uint64_t mask_state[4];
    /* read by the owner */
    int64_t last_receive_ns; /* any byte, pings included: the connection's pulse */
    int64_t messages_received, messages_sent, pings_received, pongs_received;
    char close_text[256];
};

/* websocket_init: in place; 2 MB + 64 KB from the arena, touched only as far as messages are long.
 */
void websocket_init(struct websocket *ws, struct arena *arena, struct loop *loop);

/* websocket_connect: url is ws://host[:port]/path or wss://...; context is needed for wss only (a
 * ws:// url ignores it); timeout_ns bounds everything until on_open. STATUS_OK: on_open or on_close
 * will follow. Any error: nothing was started and no event follows. */
int websocket_connect(struct websocket *ws, const char *url, struct tls_context *context,
                      const struct websocket_events *events, int64_t timeout_ns, int64_t now_ns);

/* websocket_send: one text message. STATUS_OK: the bytes were handed to the socket, or wait in our
 * buffer because the socket is full and will follow in order. Any error: not a byte of it left, and
 * none will (STATUS_CLOSED: not open; STATUS_LIMIT: our buffer has no room). */
int websocket_send(struct websocket *ws, const char *bytes, size_t length);

/* websocket_unsent: bytes of earlier messages wait for the socket. */
static inline bool websocket_unsent(const struct websocket *ws)
{
    return ws->send_start < ws->send_filled;
}

/* websocket_ping: an unsolicited ping with an empty payload; a pong moves last_receive_ns. */
int websocket_ping(struct websocket *ws);

/* websocket_close: sends a close frame with the code and closes; on_close is called (STATUS_CLOSED)
 * before it returns. websocket_abort: the same without any event. Both harmless when closed. */
void websocket_close(struct websocket *ws, int code, const char *reason, int64_t now_ns);
void websocket_abort(struct websocket *ws);

#endif
