#include "channel.h"
#include "allocate.h"
#include "layout.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define REASON_SIZE 128
#define HEADER_SIZE ((uint32_t)sizeof(struct message_header))

struct channel {
    int fd;
    int state; /* enum channel_state */
    uint32_t role;
    uint32_t mode;
    uint32_t peer_role;
    char name[32];
    char reason[REASON_SIZE];
    int64_t heard_ns;     /* last whole message of the peer */
    int64_t heartbeat_ns; /* our last heartbeat */
    uint32_t sent_sequence;
    uint32_t received_sequence;
    uint32_t send_start; /* [send_start, send_end) waits to be written */
    uint32_t send_end;
    uint32_t receive_start; /* [receive_start, receive_end) waits to be parsed */
    uint32_t receive_end;
    char send[CHANNEL_BUFFER];
    char receive[CHANNEL_BUFFER];
};

uint64_t protocol_layout_hash(void)
{
    return PROTOCOL_LAYOUT_HASH;
}

uint32_t protocol_body_size(uint16_t kind)
{
    static const uint32_t sizes[] = {
        [MESSAGE_HELLO] = sizeof(struct message_hello),
        [MESSAGE_HEARTBEAT] = sizeof(struct message_heartbeat),
        [MESSAGE_SIGNAL] = sizeof(struct message_signal),
        [MESSAGE_NEW_ORDER] = sizeof(struct message_new_order),
        [MESSAGE_CANCEL_ORDER] = sizeof(struct message_cancel_order),
        [MESSAGE_EXECUTION_REPORT] = sizeof(struct message_execution_report),
        [MESSAGE_TOP_OF_BOOK] = sizeof(struct message_top_of_book),
        [MESSAGE_POSITION] = sizeof(struct message_position),
        [MESSAGE_HALT] = sizeof(struct message_halt),
        [MESSAGE_RISK_STATE] = sizeof(struct message_risk_state),
        [MESSAGE_EVENT] = sizeof(struct message_event),
        [MESSAGE_HEDGE] = sizeof(struct message_hedge),
    };

    return kind < sizeof sizes / sizeof sizes[0] ? sizes[kind] : 0;
}

struct channel *channel_new(uint32_t role, uint32_t mode, const char *name)
{
    struct channel *channel = ALLOCATE(struct channel);

    if (channel == NULL)
        return NULL;
    channel->fd = -1;
    channel->role = role;
    channel->mode = mode;
    snprintf(channel->name, sizeof channel->name, "%s", name);
    snprintf(channel->reason, sizeof channel->reason, "not connected yet");
    return channel;
}

void channel_free(struct channel *channel)
{
    if (channel == NULL)
        return;
    if (channel->fd >= 0)
        close(channel->fd);
    free(channel);
}

void channel_close(struct channel *channel, const char *reason)
{
    if (channel->state == CHANNEL_CLOSED)
        return;
    if (channel->fd >= 0)
        close(channel->fd);
    channel->fd = -1;
    channel->state = CHANNEL_CLOSED;
    snprintf(channel->reason, sizeof channel->reason, "%s", reason);
}

/* fail: closes with a reason and passes the error on. */
static int fail(struct channel *channel, int error, const char *reason)
{
    channel_close(channel, reason);
    return error;
}

/* queue: appends one message to the send buffer, moving what waits to its front when it must. */
static int queue(struct channel *channel, uint16_t kind, const void *body, uint32_t size,
                 int64_t now_ns)
{
    struct message_header header = {
        .length = HEADER_SIZE + size,
        .kind = kind,
        .version = PROTOCOL_VERSION,
        .sequence = channel->sent_sequence + 1,
        .sent_ns = now_ns,
    };

    if (size != protocol_body_size(kind) || size == 0)
        return -EMSGSIZE;
    if (channel->send_end + header.length > CHANNEL_BUFFER) {
        channel->send_end -= channel->send_start;
        memmove(channel->send, channel->send + channel->send_start, channel->send_end);
        channel->send_start = 0;
    }
    if (channel->send_end + header.length > CHANNEL_BUFFER)
        return fail(channel, -ENOBUFS, "the peer reads too slowly: the send buffer is full");
    memcpy(channel->send + channel->send_end, &header, HEADER_SIZE);
    memcpy(channel->send + channel->send_end + HEADER_SIZE, body, size);
    channel->send_end += header.length;
    channel->sent_sequence++;
    return 0;
}

static int queue_hello(struct channel *channel, int64_t now_ns)
{
    struct message_hello hello = {
        .layout_hash = protocol_layout_hash(),
        .role = channel->role,
        .mode = channel->mode,
        .pid = getpid(),
    };

    memcpy(hello.name, channel->name, sizeof hello.name);
    return queue(channel, MESSAGE_HELLO, &hello, sizeof hello, now_ns);
}

/* peer_is_ours: the process at the other end runs as the same user. */
static int peer_is_ours(int fd)
{
    struct ucred peer;
    socklen_t size = sizeof peer;

    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.uid == geteuid();
}

static int begin(struct channel *channel, int fd, int64_t now_ns)
{
    channel->fd = fd;
    channel->state = CHANNEL_GREETING;
    channel->peer_role = 0;
    channel->heard_ns = now_ns;
    channel->heartbeat_ns = now_ns;
    channel->sent_sequence = channel->received_sequence = 0;
    channel->send_start = channel->send_end = 0;
    channel->receive_start = channel->receive_end = 0;
    if (!peer_is_ours(fd))
        return fail(channel, -EPERM, "the peer runs as another user");
    return queue_hello(channel, now_ns);
}

int channel_connect(struct channel *channel, const char *path, int64_t now_ns)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd;

    if (channel->state != CHANNEL_CLOSED)
        return -EISCONN;
    if (strlen(path) >= sizeof address.sun_path)
        return -ENAMETOOLONG;
    memcpy(address.sun_path, path, strlen(path));
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    /* A Unix socket connects at once or not at all: EAGAIN means a full backlog. */
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        int error = errno;

        close(fd);
        snprintf(channel->reason, sizeof channel->reason, "cannot connect: %s", strerror(error));
        return -error;
    }
    return begin(channel, fd, now_ns);
}

int channel_accept(struct channel *channel, int fd, int64_t now_ns)
{
    if (channel->state != CHANNEL_CLOSED)
        return -EISCONN;
    return begin(channel, fd, now_ns);
}

int channel_fd(const struct channel *channel)
{
    return channel->fd;
}

int channel_wants_write(const struct channel *channel)
{
    return channel->state != CHANNEL_CLOSED && channel->send_end > channel->send_start;
}

int channel_state_now(const struct channel *channel)
{
    return channel->state;
}

const char *channel_close_reason(const struct channel *channel)
{
    return channel->reason;
}

uint32_t channel_peer_role(const struct channel *channel)
{
    return channel->peer_role;
}

int channel_send(struct channel *channel, uint16_t kind, const void *body, uint32_t size,
                 int64_t now_ns)
{
    if (channel->state != CHANNEL_OPEN)
        return -ENOTCONN;
    return queue(channel, kind, body, size, now_ns);
}

int channel_flush(struct channel *channel)
{
    int written = 0;

    if (channel->state == CHANNEL_CLOSED)
        return -ENOTCONN;
    while (channel->send_end > channel->send_start) {
        ssize_t sent = send(channel->fd, channel->send + channel->send_start,
                            channel->send_end - channel->send_start, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && errno == EAGAIN)
            return written;
        if (sent < 0)
            return fail(channel, -errno, "the peer closed the connection");
        channel->send_start += (uint32_t)sent;
        written += (int)sent;
    }
    channel->send_start = channel->send_end = 0;
    return written;
}

static int accept_hello(struct channel *channel, const struct message_hello *hello)
{
    if (hello->layout_hash != protocol_layout_hash())
        return fail(channel, -EPROTO, "the peer was built from another protocol.h; rebuild both");
    /* Dry-run (0) sends no orders and may listen to either. */
    if (hello->mode != channel->mode && hello->mode != 0 && channel->mode != 0)
        return fail(channel, -EPROTO, "one side trades on paper and the other live; stop one");
    channel->peer_role = hello->role;
    channel->state = CHANNEL_OPEN;
    return 0;
}

/* check_header: -EPROTO, with the reason, for anything that this protocol does not say. */
static int check_header(struct channel *channel, const struct message_header *header)
{
    if (header->length < HEADER_SIZE || header->length > PROTOCOL_FRAME_MAX)
        return fail(channel, -EPROTO, "a message's length is impossible");
    if (header->version != PROTOCOL_VERSION)
        return fail(channel, -EPROTO, "the peer speaks another protocol version; rebuild both");
    if (protocol_body_size(header->kind) == 0)
        return fail(channel, -EPROTO, "a message of unknown kind");
    if (header->length != HEADER_SIZE + protocol_body_size(header->kind))
        return fail(channel, -EPROTO, "a message's length is not its kind's");
    if (header->sequence != channel->received_sequence + 1)
        return fail(channel, -EPROTO, "a gap in the peer's sequence");
    if ((header->kind == MESSAGE_HELLO) != (channel->state == CHANNEL_GREETING))
        return fail(channel, -EPROTO, "HELLO must be the first message and only the first");
    return 0;
}

/* take: 1 a message for the caller, 0 not a whole one yet, 2 one handled inside, -errno closed. */
static int take(struct channel *channel, struct message_header *header, void *body, int64_t now_ns)
{
    uint32_t waiting = channel->receive_end - channel->receive_start;
    const char *at = channel->receive + channel->receive_start;
    int result;

    if (waiting < HEADER_SIZE)
        return 0;
    memcpy(header, at, HEADER_SIZE);
    result = check_header(channel, header);
    if (result != 0)
        return result;
    if (waiting < header->length)
        return 0;
    memcpy(body, at + HEADER_SIZE, header->length - HEADER_SIZE);
    channel->receive_start += header->length;
    channel->received_sequence = header->sequence;
    channel->heard_ns = now_ns;
    if (header->kind == MESSAGE_HELLO) {
        struct message_hello hello;

        memcpy(&hello, body, sizeof hello);
        result = accept_hello(channel, &hello);
        return result == 0 ? 2 : result;
    }
    return header->kind == MESSAGE_HEARTBEAT ? 2 : 1;
}

/* fill: one read into the buffer; bytes, 0 nothing there, -errno closed. */
static int fill(struct channel *channel)
{
    ssize_t got;

    if (channel->receive_start > 0) {
        channel->receive_end -= channel->receive_start;
        memmove(channel->receive, channel->receive + channel->receive_start, channel->receive_end);
        channel->receive_start = 0;
    }
    do {
        got = recv(channel->fd, channel->receive + channel->receive_end,
                   CHANNEL_BUFFER - channel->receive_end, MSG_DONTWAIT);
    } while (got < 0 && errno == EINTR);
    if (got < 0 && errno == EAGAIN)
        return 0;
    if (got < 0)
        return fail(channel, -errno, "the connection broke");
    if (got == 0)
        return fail(channel, -ECONNRESET,
                    channel->receive_end > 0 ? "the peer closed in the middle of a message"
                                             : "the peer closed the connection");
    channel->receive_end += (uint32_t)got;
    return (int)got;
}

int channel_receive(struct channel *channel, struct message_header *header, void *body,
                    int64_t now_ns)
{
    int result;

    if (channel->state == CHANNEL_CLOSED)
        return -ENOTCONN;
    for (;;) {
        do {
            result = take(channel, header, body, now_ns);
        } while (result == 2);
        if (result != 0)
            return result;
        result = fill(channel);
        if (result <= 0)
            return result;
    }
}

int channel_tick(struct channel *channel, int64_t progress, int64_t now_ns)
{
    int result = 0;

    if (channel->state == CHANNEL_CLOSED)
        return -ENOTCONN;
    if (now_ns - channel->heard_ns > CHANNEL_SILENCE_NS)
        return fail(channel, -ETIMEDOUT, "the peer has been silent for too long");
    if (channel->state == CHANNEL_OPEN && now_ns - channel->heartbeat_ns >= CHANNEL_HEARTBEAT_NS) {
        struct message_heartbeat heartbeat = {
            .last_sequence_received = channel->received_sequence,
            .progress = progress,
        };

        channel->heartbeat_ns = now_ns;
        result = queue(channel, MESSAGE_HEARTBEAT, &heartbeat, sizeof heartbeat, now_ns);
    }
    if (result == 0)
        result = channel_flush(channel);
    return result < 0 ? result : 0;
}
