/* The channel: what two honest sides say, and how hostile bytes end the connection. */
#include "../../bridge/channel.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define REQUIRE(expression) ((expression) ? (void)0 : require_failed(#expression, __LINE__))

#define NOW 1000000000LL

static void require_failed(const char *expression, int line)
{
    fprintf(stderr, "test_channel.c:%d: %s\n", line, expression);
    abort();
}

struct pair {
    struct channel *a;
    struct channel *b;
};

static struct message_header header;
static char body[PROTOCOL_FRAME_MAX];

/* greeted: two channels over a socket pair that have exchanged HELLOs. */
static struct pair greeted(void)
{
    struct pair pair = {channel_new(ROLE_ENGINE, 1, "engine"), channel_new(ROLE_BOT, 1, "bot")};
    int fds[2];

    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) == 0);
    REQUIRE(channel_accept(pair.a, fds[0], NOW) == 0 && channel_accept(pair.b, fds[1], NOW) == 0);
    REQUIRE(channel_send(pair.a, MESSAGE_HALT, body, sizeof(struct message_halt), NOW) ==
            -ENOTCONN);
    REQUIRE(channel_wants_write(pair.a) == 1);
    REQUIRE(channel_flush(pair.a) > 0 && channel_flush(pair.b) > 0);
    REQUIRE(channel_receive(pair.a, &header, body, NOW) == 0);
    REQUIRE(channel_receive(pair.b, &header, body, NOW) == 0);
    REQUIRE(channel_state_now(pair.a) == CHANNEL_OPEN && channel_state_now(pair.b) == CHANNEL_OPEN);
    REQUIRE(channel_peer_role(pair.a) == ROLE_BOT && channel_peer_role(pair.b) == ROLE_ENGINE);
    return pair;
}

static void drop(struct pair pair)
{
    channel_free(pair.a);
    channel_free(pair.b);
}

static void test_messages_arrive_in_order(void)
{
    struct pair pair = greeted();

    for (int i = 1; i <= 500; i++) {
        struct message_hedge hedge = {.request_id = (uint64_t)i, .symbol = "BTCUSDT"};

        REQUIRE(channel_send(pair.a, MESSAGE_HEDGE, &hedge, sizeof hedge, NOW + i) == 0);
    }
    REQUIRE(channel_flush(pair.a) > 0 && channel_wants_write(pair.a) == 0);
    for (int i = 1; i <= 500; i++) {
        struct message_hedge hedge;

        REQUIRE(channel_receive(pair.b, &header, body, NOW) == 1);
        memcpy(&hedge, body, sizeof hedge);
        REQUIRE(header.kind == MESSAGE_HEDGE && header.sequence == (uint32_t)i + 1);
        REQUIRE(header.sent_ns == NOW + i && hedge.request_id == (uint64_t)i);
    }
    REQUIRE(channel_receive(pair.b, &header, body, NOW) == 0);
    REQUIRE(channel_send(pair.a, MESSAGE_HEDGE, body, 3, NOW) == -EMSGSIZE);
    REQUIRE(channel_send(pair.a, 99, body, 3, NOW) == -EMSGSIZE);
    channel_close(pair.a, "done");
    REQUIRE(channel_receive(pair.b, &header, body, NOW) == -ECONNRESET);
    REQUIRE(channel_fd(pair.b) == -1 &&
            strstr(channel_close_reason(pair.b), "peer closed") != NULL);
    drop(pair);
}

static void test_stalled_peer_is_dropped(void)
{
    struct pair pair = greeted();
    struct message_event event = {.level = EVENT_INFO};
    int result = 0;

    for (int i = 0; i < 100000 && result >= 0; i++) {
        result = channel_send(pair.a, MESSAGE_EVENT, &event, sizeof event, NOW);
        if (result == 0)
            result = channel_flush(pair.a);
    }
    REQUIRE(result == -ENOBUFS && channel_state_now(pair.a) == CHANNEL_CLOSED);
    REQUIRE(strstr(channel_close_reason(pair.a), "too slowly") != NULL);
    /* What was sent before is still read whole, then the end. */
    while ((result = channel_receive(pair.b, &header, body, NOW)) == 1)
        REQUIRE(header.kind == MESSAGE_EVENT);
    REQUIRE(result == -ECONNRESET);
    drop(pair);
}

static void test_heartbeats_and_silence(void)
{
    struct pair pair = greeted();

    for (int second = 1; second <= 8; second++) {
        int64_t now = NOW + second * (int64_t)CHANNEL_HEARTBEAT_NS;

        REQUIRE(channel_tick(pair.a, second, now) == 0 && channel_tick(pair.b, second, now) == 0);
        REQUIRE(channel_receive(pair.a, &header, body, now) == 0);
        REQUIRE(channel_receive(pair.b, &header, body, now) == 0);
    }
    REQUIRE(channel_tick(pair.a, 0, NOW + 8 * (int64_t)CHANNEL_HEARTBEAT_NS + CHANNEL_SILENCE_NS) ==
            0);
    REQUIRE(
        channel_tick(pair.a, 0, NOW + 8 * (int64_t)CHANNEL_HEARTBEAT_NS + CHANNEL_SILENCE_NS + 1) ==
        -ETIMEDOUT);
    REQUIRE(strstr(channel_close_reason(pair.a), "silent") != NULL);
    REQUIRE(channel_tick(pair.a, 0, NOW) == -ENOTCONN);
    drop(pair);
}

/* hello_frame: an honest HELLO to start from. */
static size_t hello_frame(char *frame)
{
    struct message_header first = {.length =
                                       sizeof(struct message_header) + sizeof(struct message_hello),
                                   .kind = MESSAGE_HELLO,
                                   .version = PROTOCOL_VERSION,
                                   .sequence = 1};
    struct message_hello hello = {.layout_hash = protocol_layout_hash(), .role = ROLE_BOT};

    memcpy(frame, &first, sizeof first);
    memcpy(frame + sizeof first, &hello, sizeof hello);
    return first.length;
}

/* ends_with: a fresh channel that is given these bytes closes for this reason. */
static void ends_with(const char *bytes, size_t size, const char *reason)
{
    struct channel *channel = channel_new(ROLE_ENGINE, 1, "engine");
    int fds[2];
    int result;

    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) == 0);
    REQUIRE(channel_accept(channel, fds[0], NOW) == 0);
    REQUIRE(send(fds[1], bytes, size, MSG_NOSIGNAL) == (ssize_t)size);
    close(fds[1]);
    while ((result = channel_receive(channel, &header, body, NOW)) == 1)
        ;
    REQUIRE(result < 0 && channel_state_now(channel) == CHANNEL_CLOSED &&
            channel_fd(channel) == -1);
    if (strstr(channel_close_reason(channel), reason) == NULL) {
        fprintf(stderr, "closed for \"%s\", expected \"%s\"\n", channel_close_reason(channel),
                reason);
        abort();
    }
    channel_free(channel);
}

static void test_hostile_frames(void)
{
    char frame[2 * PROTOCOL_FRAME_MAX];
    struct message_header second = {.length =
                                        sizeof(struct message_header) + sizeof(struct message_halt),
                                    .kind = MESSAGE_HALT,
                                    .version = PROTOCOL_VERSION,
                                    .sequence = 3};
    const uint32_t live = 2;
    size_t size = hello_frame(frame);

    memcpy(frame + sizeof(struct message_header) + offsetof(struct message_hello, mode), &live,
           sizeof live);
    ends_with(frame, size, "paper");
    size = hello_frame(frame);
    ends_with(frame, size, "peer closed the connection");
    ends_with(frame, size - 1, "middle");
    memset(frame + size, 0, sizeof frame - size);
    memcpy(frame + size, &second, sizeof second);
    ends_with(frame, size + second.length, "sequence");
    ends_with(frame + size, second.length, "sequence");
    second.sequence = 2;
    second.kind = 77;
    memcpy(frame + size, &second, sizeof second);
    ends_with(frame, size + second.length, "unknown kind");
    second.kind = MESSAGE_HALT;
    second.length -= 1;
    memcpy(frame + size, &second, sizeof second);
    ends_with(frame, size + second.length, "not its kind's");
    second.length = 0xFFFFFFFF;
    memcpy(frame + size, &second, sizeof second);
    ends_with(frame, size + 24, "impossible");
    second.length = 3;
    memcpy(frame + size, &second, sizeof second);
    ends_with(frame, size + 24, "impossible");
    second.length = sizeof(struct message_header) + sizeof(struct message_halt);
    second.sequence = 1;
    memcpy(frame + size, &second, sizeof second);
    ends_with(frame + size, second.length, "HELLO must be the first");
    frame[sizeof(struct message_header)] ^= 1;
    ends_with(frame, size, "another protocol.h");
    (void)hello_frame(frame);
    frame[6] ^= 1;
    ends_with(frame, size, "another protocol version");
}

static void test_random_bytes_never_pass(void)
{
    char frame[1024];
    unsigned seed = 1;

    for (int round = 0; round < 2000; round++) {
        size_t size = hello_frame(frame);

        for (size_t i = round % 2 == 0 ? 0 : size; i < sizeof frame; i++)
            frame[i] = (char)rand_r(&seed);
        ends_with(frame, sizeof frame, "");
    }
}

static void test_connect_to_a_listener(void)
{
    char folder[] = "/dev/shm/test-channel-XXXXXX";
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct channel *client = channel_new(ROLE_ENGINE, 1, "engine");
    struct channel *server = channel_new(ROLE_BOT, 1, "bot");
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);

    REQUIRE(mkdtemp(folder) != NULL && listener >= 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%s/bridge.sock", folder);
    REQUIRE(channel_connect(client, address.sun_path, NOW) == -ENOENT);
    REQUIRE(bind(listener, (const struct sockaddr *)&address, sizeof address) == 0);
    REQUIRE(channel_connect(client, address.sun_path, NOW) == -ECONNREFUSED);
    REQUIRE(listen(listener, 1) == 0);
    REQUIRE(channel_connect(client, address.sun_path, NOW) == 0);
    REQUIRE(channel_connect(client, address.sun_path, NOW) == -EISCONN);
    REQUIRE(channel_accept(server, accept(listener, NULL, NULL), NOW) == 0);
    REQUIRE(channel_flush(client) > 0 && channel_flush(server) > 0);
    REQUIRE(channel_receive(server, &header, body, NOW) == 0);
    REQUIRE(channel_receive(client, &header, body, NOW) == 0);
    REQUIRE(channel_state_now(client) == CHANNEL_OPEN);
    channel_close(client, "first");
    REQUIRE(channel_connect(client, address.sun_path, NOW) == 0);
    REQUIRE(channel_state_now(client) == CHANNEL_GREETING);
    channel_free(client);
    channel_free(server);
    close(listener);
    (void)unlink(address.sun_path);
    REQUIRE(rmdir(folder) == 0);
}

int main(void)
{
    test_messages_arrive_in_order();
    test_stalled_peer_is_dropped();
    test_heartbeats_and_silence();
    test_hostile_frames();
    test_random_bytes_never_pass();
    test_connect_to_a_listener();
    return 0;
}
