#include "websocket.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <sys/socket.h>

#include <openssl/evp.h>
#include <openssl/sha.h>

#include "../base/check.h"
#include "../base/clock.h"
#include "../base/status.h"

#define HEAD_MAX         16384 /* bytes of the handshake's answer */
#define FRAME_HEADER_MAX 14
#define CONTROL_MAX      125 /* payload of a control frame, RFC 6455 section 5.5 */
#define RECEIVE_BYTES    (WEBSOCKET_MESSAGE_MAX + FRAME_HEADER_MAX)

enum opcode {
    OPCODE_CONTINUATION = 0,
    OPCODE_TEXT = 1,
    OPCODE_BINARY = 2,
    OPCODE_CLOSE = 8,
    OPCODE_PING = 9,
    OPCODE_PONG = 10,
};

struct frame {
    bool final;
    int opcode;
    const unsigned char *payload;
    size_t length;
};

void websocket_init(struct websocket *ws, struct arena *arena, struct loop *loop)
{
    *ws = (struct websocket){
        .loop = loop, .source = -1, .open_timer = -1, .more_timer = -1, .tls = {.fd = -1}};
    ws->receive = arena_allocate(arena, RECEIVE_BYTES + WEBSOCKET_PADDING);
    ws->message = arena_allocate(arena, WEBSOCKET_MESSAGE_MAX + WEBSOCKET_PADDING);
    ws->send = arena_allocate(arena, WEBSOCKET_SEND_BUFFER);
    CHECK(getrandom(ws->mask_state, sizeof ws->mask_state, 0) == sizeof ws->mask_state);
    ws->mask_state[0] |= 1; /* the generator must not start from zeroes */
}

/* xoshiro256**: masks only have to differ from frame to frame; what they hide is our own JSON. */
static uint32_t next_mask(struct websocket *ws)
{
    uint64_t *s = ws->mask_state;
    uint64_t x = s[1] * 5;
    uint64_t result = ((x << 7) | (x >> 57)) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = (s[3] << 45) | (s[3] >> 19);
    return (uint32_t)(result >> 32);
}

/* ---- closing --------------------------------------------------------------------------------- */

void websocket_abort(struct websocket *ws)
{
    if (ws->state == WEBSOCKET_CLOSED)
        return;
    loop_unwatch(ws->loop, ws->source);
    loop_timer_stop(ws->loop, ws->open_timer);
    loop_timer_stop(ws->loop, ws->more_timer);
    ws->source = -1;
    ws->open_timer = -1;
    ws->more_timer = -1;
    tls_close(&ws->tls);
    ws->state = WEBSOCKET_CLOSED;
    ws->connection++;
}

static void finish(struct websocket *ws, int status, const char *reason, int64_t now_ns)
{
    if (ws->state == WEBSOCKET_CLOSED)
        return;
    snprintf(ws->close_text, sizeof ws->close_text, "%s", reason);
    websocket_abort(ws);
    ws->events.on_close(ws->events.context, status, ws->close_text, now_ns);
}

/* ---- sending --------------------------------------------------------------------------------- */

/* Hands waiting bytes to the socket. An error is not reported from here but by the loop, through
 * the read that fails next, so that no handler runs inside websocket_send. */
static void flush_send(struct websocket *ws)
{
    while (ws->send_start < ws->send_filled) {
        int64_t n =
            tls_write(&ws->tls, ws->send + ws->send_start, ws->send_filled - ws->send_start);
        if (n == STATUS_AGAIN)
            return;
        if (n < 0) {
            (void)shutdown(ws->tls.fd, SHUT_RDWR);
            ws->send_start = ws->send_filled;
            return;
        }
        ws->send_start += (size_t)n;
    }
    ws->send_start = 0;
    ws->send_filled = 0;
}

static int update_watch(struct websocket *ws);

static int send_frame(struct websocket *ws, int opcode, const char *bytes, size_t length)
{
    if (ws->state != WEBSOCKET_OPEN)
        return status_set(STATUS_CLOSED, "the WebSocket to %s is not open", ws->host);
    if (length + FRAME_HEADER_MAX > WEBSOCKET_SEND_BUFFER - ws->send_filled)
        return status_set(STATUS_LIMIT, "%s does not read what we send; %zu bytes wait", ws->host,
                          ws->send_filled - ws->send_start);
    unsigned char *p = ws->send + ws->send_filled;
    *p++ = (unsigned char)(0x80 | opcode);
    if (length <= CONTROL_MAX) {
        *p++ = (unsigned char)(0x80 | length);
    } else { /* the send buffer is smaller than what two length bytes can say */
        *p++ = 0x80 | 126;
        *p++ = (unsigned char)(length >> 8);
        *p++ = (unsigned char)length;
    }
    uint32_t mask = next_mask(ws);
    memcpy(p, &mask, sizeof mask);
    const unsigned char *key = p;
    p += sizeof mask;
    for (size_t i = 0; i < length; i++)
        p[i] = (unsigned char)bytes[i] ^ key[i & 3];
    ws->send_filled = (size_t)(p + length - ws->send);
    flush_send(ws);
    if (update_watch(ws) != STATUS_OK)
        (void)shutdown(ws->tls.fd,
                       SHUT_RDWR); /* the bytes may have left: the loop reports the end */
    return STATUS_OK;
}

_Static_assert(WEBSOCKET_SEND_BUFFER <= 65536, "two length bytes are enough for what is sent");

int websocket_send(struct websocket *ws, const char *bytes, size_t length)
{
    int result = send_frame(ws, OPCODE_TEXT, bytes, length);
    if (result == STATUS_OK)
        ws->messages_sent++;
    return result;
}

int websocket_ping(struct websocket *ws)
{
    return send_frame(ws, OPCODE_PING, "", 0);
}

static void send_close(struct websocket *ws, int code, const char *reason)
{
    char payload[CONTROL_MAX];
    size_t length = strlen(reason);
    if (length > sizeof payload - 2)
        length = sizeof payload - 2;
    payload[0] = (char)(code >> 8);
    payload[1] = (char)code;
    memcpy(payload + 2, reason, length);
    (void)send_frame(ws, OPCODE_CLOSE, payload, length + 2);
}

void websocket_close(struct websocket *ws, int code, const char *reason, int64_t now_ns)
{
    if (ws->state == WEBSOCKET_OPEN)
        send_close(ws, code, reason);
    finish(ws, STATUS_CLOSED, reason, now_ns);
}

/* Ends a connection whose peer broke the protocol, telling it why. */
static void protocol_error(struct websocket *ws, int code, const char *reason, int64_t now_ns)
{
    send_close(ws, code, reason);
    finish(ws, STATUS_PROTOCOL, reason, now_ns);
}

/* ---- receiving frames ------------------------------------------------------------------------ */

/* 1: a whole frame is at receive_start, 0: more bytes are needed, negative: the close code,
 * negated. */
static int parse_frame(struct websocket *ws, struct frame *frame, size_t *total)
{
    const unsigned char *p = ws->receive + ws->receive_start;
    size_t available = ws->receive_filled - ws->receive_start;
    if (available < 2)
        return 0;
    frame->final = (p[0] & 0x80) != 0;
    frame->opcode = p[0] & 0x0f;
    bool reserved = (p[0] & 0x70) != 0;
    bool masked = (p[1] & 0x80) != 0;
    uint64_t length = p[1] & 0x7f;
    bool control = frame->opcode >= OPCODE_CLOSE;
    if (reserved || masked || (control && (!frame->final || length > CONTROL_MAX)))
        return -1002;
    size_t header = length == 126 ? 4 : length == 127 ? 10 : 2;
    if (available < header)
        return 0;
    if (header > 2) {
        length = 0;
        for (size_t i = 2; i < header; i++)
            length = length << 8 | p[i];
    }
    if (length > WEBSOCKET_MESSAGE_MAX)
        return -1009;
    if (available < header + length)
        return 0;
    frame->payload = p + header;
    frame->length = (size_t)length;
    *total = header + (size_t)length;
    return 1;
}

static void deliver(struct websocket *ws, const unsigned char *bytes, size_t length,
                    int64_t received_ns)
{
    ws->messages_received++;
    ws->events.on_message(ws->events.context, (const char *)bytes, length, received_ns);
}

static void handle_data(struct websocket *ws, const struct frame *frame, int64_t received_ns)
{
    bool continues = frame->opcode == OPCODE_CONTINUATION;
    if (continues != (ws->message_opcode != 0)) {
        protocol_error(ws, 1002, "the peer's fragments are out of order", received_ns);
        return;
    }
    if (!continues && frame->final) {
        deliver(ws, frame->payload, frame->length, received_ns);
        return;
    }
    if (frame->length > WEBSOCKET_MESSAGE_MAX - ws->message_length) {
        protocol_error(ws, 1009, "a fragmented message is too long", received_ns);
        return;
    }
    memcpy(ws->message + ws->message_length, frame->payload, frame->length);
    ws->message_length += frame->length;
    if (!continues)
        ws->message_opcode = frame->opcode;
    if (!frame->final)
        return;
    size_t length = ws->message_length;
    ws->message_length = 0;
    ws->message_opcode = 0;
    deliver(ws, ws->message, length, received_ns);
}

static void handle_close(struct websocket *ws, const struct frame *frame, int64_t now_ns)
{
    int code = frame->length >= 2 ? frame->payload[0] << 8 | frame->payload[1] : 1005;
    int reason = frame->length > 2 ? (int)frame->length - 2 : 0;
    char text[256];
    snprintf(text, sizeof text, "%.80s closed the WebSocket: code %d%s%.*s", ws->host, code,
             reason > 0 ? ", " : "", reason, reason > 0 ? (const char *)frame->payload + 2 : "");
    send_close(ws, code == 1005 ? 1000 : code, "");
    finish(ws, STATUS_CLOSED, text, now_ns);
}

static void handle_frame(struct websocket *ws, const struct frame *frame, int64_t received_ns)
{
    switch (frame->opcode) {
    case OPCODE_CONTINUATION:
    case OPCODE_TEXT:
    case OPCODE_BINARY:
        handle_data(ws, frame, received_ns);
        break;
    case OPCODE_PING:
        ws->pings_received++;
        /* When the buffer is full the pong is left out: the next ping asks again. */
        (void)send_frame(ws, OPCODE_PONG, (const char *)frame->payload, frame->length);
        break;
    case OPCODE_PONG:
        ws->pongs_received++;
        break;
    case OPCODE_CLOSE:
        handle_close(ws, frame, received_ns);
        break;
    default:
        protocol_error(ws, 1002, "the peer sent an unknown kind of frame", received_ns);
    }
}

/* Handles the whole frames in the buffer, as many as the turn allows. Handlers may close: the
 * connection count tells. */
static void handle_frames(struct websocket *ws, int64_t received_ns)
{
    uint32_t connection = ws->connection;
    struct frame frame;
    size_t total;
    int found = 0;
    while (ws->turn_frames < WEBSOCKET_TURN_FRAMES &&
           (found = parse_frame(ws, &frame, &total)) > 0) {
        ws->turn_frames++;
        ws->receive_start += total;
        handle_frame(ws, &frame, received_ns);
        if (ws->connection != connection)
            return;
    }
    if (found < 0) {
        const char *reason =
            found == -1009 ? "the peer's message is too long" : "the peer's frame breaks RFC 6455";
        protocol_error(ws, -found, reason, received_ns);
        return;
    }
    size_t left = ws->receive_filled - ws->receive_start;
    if (ws->receive_start > 0) {
        memmove(ws->receive, ws->receive + ws->receive_start, left);
        ws->receive_start = 0;
        ws->receive_filled = left;
    }
}

/* ---- handshake ------------------------------------------------------------------------------- */

static void send_upgrade(struct websocket *ws)
{
    unsigned char nonce[16];
    CHECK(getrandom(nonce, sizeof nonce, 0) == sizeof nonce);
    char key[32];
    EVP_EncodeBlock((unsigned char *)key, nonce, sizeof nonce);
    char joined[80];
    int n = snprintf(joined, sizeof joined, "%s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
    unsigned char digest[SHA_DIGEST_LENGTH];
    SHA1((const unsigned char *)joined, (size_t)n, digest);
    EVP_EncodeBlock((unsigned char *)ws->accept, digest, sizeof digest);
    bool usual = strcmp(ws->port, ws->tls.context != NULL ? "443" : "80") == 0;
    bool brackets = strchr(ws->host, ':') != NULL;
    n = snprintf(
        (char *)ws->send, WEBSOCKET_SEND_BUFFER,
        "GET %s HTTP/1.1\r\nHost: %s%s%s%s%s\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n\r\n",
        ws->target, brackets ? "[" : "", ws->host, brackets ? "]" : "", usual ? "" : ":",
        usual ? "" : ws->port, key);
    ws->send_start = 0;
    ws->send_filled = (size_t)n;
    ws->upgraded = true;
    flush_send(ws);
}

/* The value of a header in the answer's head, blanks cut; length 0 when absent. */
static const char *header_value(const char *head, const char *name, size_t *length)
{
    size_t name_length = strlen(name);
    *length = 0;
    for (const char *line = strstr(head, "\r\n"); line != NULL; line = strstr(line, "\r\n")) {
        line += 2;
        if (strncasecmp(line, name, name_length) != 0 || line[name_length] != ':')
            continue;
        const char *value = line + name_length + 1;
        value += strspn(value, " \t");
        *length = strcspn(value, "\r\n");
        while (*length > 0 && (value[*length - 1] == ' ' || value[*length - 1] == '\t'))
            --*length;
        return value;
    }
    return NULL;
}

static const char *check_head(const struct websocket *ws, const char *head)
{
    size_t length;
    if (strncmp(head, "HTTP/1.1 101", 12) != 0)
        return "refused the upgrade";
    const char *upgrade = header_value(head, "Upgrade", &length);
    if (upgrade == NULL || length != 9 || strncasecmp(upgrade, "websocket", 9) != 0)
        return "answered without Upgrade: websocket";
    const char *accept = header_value(head, "Sec-WebSocket-Accept", &length);
    if (accept == NULL || length != strlen(ws->accept) || memcmp(accept, ws->accept, length) != 0)
        return "answered with a wrong Sec-WebSocket-Accept";
    if (header_value(head, "Sec-WebSocket-Extensions", &length) != NULL && length > 0)
        return "chose an extension that was not offered";
    return NULL;
}

/* Looks for the end of the answer's head. Frames may follow in the same bytes. */
static void handle_head(struct websocket *ws, int64_t now_ns)
{
    char *head = (char *)ws->receive;
    head[ws->receive_filled] = '\0';
    char *end = memmem(head, ws->receive_filled, "\r\n\r\n", 4);
    if (end == NULL) {
        if (ws->receive_filled > HEAD_MAX)
            finish(ws, STATUS_PROTOCOL, "the handshake's answer is too long", now_ns);
        return;
    }
    end[2] = '\0';
    const char *wrong = check_head(ws, head);
    if (wrong != NULL) {
        char text[160];
        snprintf(text, sizeof text, "%.60s %s: %.*s", ws->host, wrong,
                 (int)(strcspn(head, "\r\n") > 60 ? 60 : strcspn(head, "\r\n")), head);
        finish(ws, STATUS_REFUSED, text, now_ns);
        return;
    }
    ws->receive_start = (size_t)(end + 4 - head);
    loop_timer_stop(ws->loop, ws->open_timer);
    ws->open_timer = -1;
    ws->state = WEBSOCKET_OPEN;
    uint32_t connection = ws->connection;
    ws->events.on_open(ws->events.context, now_ns);
    if (ws->connection == connection)
        handle_frames(ws, now_ns);
}

/* ---- the loop's calls ------------------------------------------------------------------------ */

static void on_more(void *context, int64_t now_ns);

/* The turn's share is used up. One nanosecond ahead, so that the timer runs in the next turn. */
static void go_on_later(struct websocket *ws)
{
    int64_t now_ns = clock_now_ns();
    ws->more_timer = loop_timer_start(ws->loop, now_ns + 1, on_more, ws);
    if (ws->more_timer < 0)
        finish(ws, STATUS_LIMIT, status_text(), now_ns);
}

/* Frames that an earlier turn left in the buffer come first; they keep the time of their bytes. */
static void receive(struct websocket *ws)
{
    uint32_t connection = ws->connection;
    size_t bytes = 0;
    ws->turn_frames = 0;
    if (ws->state == WEBSOCKET_OPEN)
        handle_frames(ws, ws->last_receive_ns);
    while (ws->connection == connection) {
        if (ws->turn_frames == WEBSOCKET_TURN_FRAMES || bytes >= WEBSOCKET_TURN_BYTES) {
            go_on_later(ws);
            return;
        }
        int64_t n = tls_read(&ws->tls, ws->receive + ws->receive_filled,
                             RECEIVE_BYTES - ws->receive_filled);
        if (n == STATUS_AGAIN)
            return;
        int64_t now_ns = clock_now_ns();
        if (n < 0) {
            finish(ws, (int)n, status_text(), now_ns);
            return;
        }
        ws->receive_filled += (size_t)n;
        bytes += (size_t)n;
        ws->last_receive_ns = now_ns;
        if (ws->state == WEBSOCKET_OPEN)
            handle_frames(ws, now_ns);
        else
            handle_head(ws, now_ns);
    }
}

static void on_ready(void *context, uint32_t events, int64_t now_ns)
{
    struct websocket *ws = context;
    (void)events; /* reads and writes find out for themselves; a hang-up is a read of nothing */
    uint32_t connection = ws->connection;
    if (!ws->upgraded) {
        int result = tls_advance(&ws->tls);
        if (result != STATUS_OK && result != STATUS_AGAIN) {
            finish(ws, result, status_text(), now_ns);
            return;
        }
        if (result == STATUS_OK)
            send_upgrade(ws);
    } else {
        loop_timer_stop(ws->loop, ws->more_timer);
        ws->more_timer = -1;
        ws->tls.wants_write = false; /* set again by whatever still has to wait */
        flush_send(ws);
        receive(ws);
    }
    if (ws->connection == connection && update_watch(ws) != STATUS_OK)
        finish(ws, STATUS_IO, status_text(), now_ns);
}

static void on_more(void *context, int64_t now_ns)
{
    ((struct websocket *)context)->more_timer = -1;
    on_ready(context, 0, now_ns);
}

/* Keeps epoll in step with the descriptor (the resolver's, then the socket's) and with what it
 * waits for. Costs a system call only when something changed. */
static int update_watch(struct websocket *ws)
{
    int fd = tls_fd(&ws->tls);
    uint32_t events = tls_events(&ws->tls);
    if (ws->source >= 0 && ws->source_fd == fd)
        return loop_change(ws->loop, ws->source, events);
    loop_unwatch(ws->loop, ws->source);
    ws->source = loop_watch(ws->loop, fd, events, on_ready, ws);
    ws->source_fd = fd;
    return ws->source < 0 ? (int)ws->source : STATUS_OK;
}

static void on_open_timeout(void *context, int64_t now_ns)
{
    struct websocket *ws = context;
    ws->open_timer = -1;
    char text[160];
    snprintf(text, sizeof text, "%.100s did not complete the connection in time", ws->host);
    finish(ws, STATUS_TIMEOUT, text, now_ns);
}

/* ws[s]://host[:port][/target], an IPv6 address in brackets. */
static int parse_url(struct websocket *ws, const char *url, bool *plain)
{
    *plain = strncmp(url, "ws://", 5) == 0;
    if (!*plain && strncmp(url, "wss://", 6) != 0)
        return status_set(STATUS_CONFIG, "%.80s is not a ws:// or wss:// address", url);
    const char *host = url + (*plain ? 5 : 6);
    const char *target = host + strcspn(host, "/?");
    const char *end = target;
    bool brackets = *host == '[';
    if (brackets) {
        host++;
        end = host + strcspn(host, "]");
    } else {
        end = host + strcspn(host, ":/?");
    }
    size_t host_length = (size_t)(end - host);
    bool closed = *end == ']';
    end += closed;
    const char *port = *end == ':' ? end + 1 : "";
    size_t port_length = *end == ':' ? (size_t)(target - port) : 0;
    if (host_length == 0 || end > target || brackets != closed || host_length >= sizeof ws->host ||
        port_length >= sizeof ws->port || strlen(target) + 2 > sizeof ws->target)
        return status_set(STATUS_CONFIG, "the address %.80s cannot be understood", url);
    memcpy(ws->host, host, host_length);
    ws->host[host_length] = '\0';
    memcpy(ws->port, port, port_length);
    ws->port[port_length] = '\0';
    if (port_length == 0)
        strcpy(ws->port, *plain ? "80" : "443");
    snprintf(ws->target, sizeof ws->target, "%s%s", *target == '/' ? "" : "/", target);
    return STATUS_OK;
}

int websocket_connect(struct websocket *ws, const char *url, struct tls_context *context,
                      const struct websocket_events *events, int64_t timeout_ns, int64_t now_ns)
{
    CHECK(ws->state == WEBSOCKET_CLOSED);
    CHECK(events->on_open != NULL && events->on_message != NULL && events->on_close != NULL);
    bool plain;
    int result = parse_url(ws, url, &plain);
    if (result != STATUS_OK)
        return result;
    if (!plain && context == NULL)
        return status_set(STATUS_CONFIG, "%.80s needs TLS settings", url);
    ws->events = *events;
    ws->receive_start = ws->receive_filled = 0;
    ws->send_start = ws->send_filled = 0;
    ws->message_length = 0;
    ws->message_opcode = 0;
    ws->upgraded = false;
    ws->close_text[0] = '\0';
    result = tls_connect(&ws->tls, plain ? NULL : context, ws->host, ws->port);
    if (result != STATUS_AGAIN)
        return result;
    ws->state = WEBSOCKET_CONNECTING;
    ws->connection++;
    ws->last_receive_ns = now_ns;
    result = update_watch(ws);
    ws->open_timer = loop_timer_start(ws->loop, now_ns + timeout_ns, on_open_timeout, ws);
    if (result == STATUS_OK && ws->open_timer < 0)
        result = (int)ws->open_timer;
    if (result != STATUS_OK)
        websocket_abort(ws);
    return result;
}
