/* The WebSocket client follows RFC 6455 towards good and bad servers, and messages cost no heap
 * call. */
#include "loopback_server.h"

#include "../../c_core/src/base/clock.h"
#include "../../c_core/src/base/status.h"
#include "../../c_core/src/net/pool.h"
#include "../../c_core/src/net/websocket.h"

#include <stdatomic.h>

/* ---- counting heap calls of the client's thread ---------------------------------------------- */

static _Thread_local int64_t heap_calls;

#if !defined(PURSER_HEAP_TRAP) && !defined(__SANITIZE_ADDRESS__) /* both own malloc */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *memory, size_t size);

void *malloc(size_t size)
{
    heap_calls++;
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    heap_calls++;
    return __libc_calloc(count, size);
}

void *realloc(void *memory, size_t size)
{
    heap_calls++;
    return __libc_realloc(memory, size);
}
#endif

/* ---- the client -------------------------------------------------------------------------------
 */

#define BIG    70000
#define ECHOES 2000
#define FLOOD  5000

static struct loop loop;
static struct websocket ws;
static int opened, closed, close_status;
static int64_t messages;
static char last[BIG + 1];
static size_t last_length;
static bool echoing;
static const char ORDER[] =
    "{\"id\":1,\"method\":\"order.place\",\"params\":{\"symbol\":\"BTCUSDT\"}}";

static void on_open(void *context, int64_t now_ns)
{
    (void)context;
    CHECK(now_ns > 0);
    opened++;
}

static void on_message(void *context, const char *bytes, size_t length, int64_t received_ns)
{
    (void)context;
    CHECK(length <= BIG && received_ns <= clock_now_ns());
    memcpy(last, bytes, length);
    last[length] = '\0';
    last_length = length;
    messages++;
    if (echoing && messages < ECHOES)
        CHECK(websocket_send(&ws, ORDER, sizeof ORDER - 1) == STATUS_OK);
}

static void on_close(void *context, int status, const char *reason, int64_t now_ns)
{
    (void)context, (void)now_ns;
    CHECK(reason[0] != '\0');
    closed++;
    close_status = status;
}

static void connect_to(const char *scheme, const char *port, struct tls_context *tls)
{
    static const struct websocket_events events = {NULL, on_open, on_message, on_close};
    char url[64];
    snprintf(url, sizeof url, "%s://127.0.0.1:%s/ws?a=b", scheme, port);
    opened = closed = close_status = 0;
    messages = 0;
    CHECK(websocket_connect(&ws, url, tls, &events, 60 * CLOCK_NS_PER_S, clock_now_ns()) ==
          STATUS_OK);
}

/* Turns the loop until the counter reaches the value; a minute and a half at most. */
static void wait_for(const int64_t *counter, int64_t value)
{
    int64_t deadline = clock_now_ns() + 90 * CLOCK_NS_PER_S;
    while (*counter < value && closed == 0) {
        CHECK(clock_now_ns() < deadline);
        CHECK(loop_run_once(&loop, CLOCK_NS_PER_S / 10) >= 0);
    }
}

static void wait_closed(void)
{
    int64_t never = -1;
    wait_for(&never, 0);
    CHECK(closed == 1);
}

/* ---- servers ----------------------------------------------------------------------------------
 */

static int listener;
static SSL_CTX *server_context;
static char big[BIG];

static void serve_good(struct peer *peer)
{
    char payload[70000];
    size_t length;
    CHECK(peer_upgrade(peer, false));
    peer_frame(peer, 0x81, "hello", 5);
    CHECK(peer_read_frame(peer, payload, &length) == 0x81 && strcmp(payload, ORDER) == 0);
    peer_frame(peer, 0x01, "abc", 3); /* a ping between two fragments */
    peer_frame(peer, 0x89, "1234", 4);
    CHECK(peer_read_frame(peer, payload, &length) == 0x8a && strcmp(payload, "1234") == 0);
    peer_frame(peer, 0x00, "", 0);
    peer_frame(peer, 0x80, "def", 3);
    CHECK(peer_read_frame(peer, payload, &length) == 0x81);
    memset(big, 'x', sizeof big);
    peer_frame(peer, 0x81, big, sizeof big);
    CHECK(peer_read_frame(peer, payload, &length) == 0x89 && length == 0);
    peer_frame(peer, 0x8a, "", 0);
    peer_frame(peer, 0x88, "\x03\xe9going away", 12);
    CHECK(peer_read_frame(peer, payload, &length) == 0x88 && length == 2);
    CHECK((unsigned char)payload[0] == 3 && (unsigned char)payload[1] == 0xe9);
}

static void serve_wrong_accept(struct peer *peer)
{
    (void)peer_upgrade(peer, true);
}

static void serve_refusal(struct peer *peer)
{
    char head[4096];
    CHECK(peer_read_head(peer, head, sizeof head));
    static const char answer[] = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
    peer_write(peer, answer, sizeof answer - 1);
}

static void serve_masked(struct peer *peer)
{
    CHECK(peer_upgrade(peer, false));
    peer_write(peer, "\x81\x81mask!", 7);
}

static void serve_too_long(struct peer *peer)
{
    char payload[256];
    size_t length;
    CHECK(peer_upgrade(peer, false));
    peer_write(peer, "\x81\x7f\0\0\0\0\0\x10\0\x01", 10); /* one byte above 1 MB */
    CHECK(peer_read_frame(peer, payload, &length) == 0x88);
    CHECK((unsigned char)payload[0] == 3 && (unsigned char)payload[1] == 0xf1); /* 1009 */
}

static void serve_fragment_disorder(struct peer *peer)
{
    CHECK(peer_upgrade(peer, false));
    peer_frame(peer, 0x80, "x", 1);
}

static void serve_torn_frame(struct peer *peer)
{
    CHECK(peer_upgrade(peer, false));
    peer_write(peer, "\x81\x7e\x01", 3);
}

static void serve_echo(struct peer *peer)
{
    char payload[256];
    size_t length;
    CHECK(peer_upgrade(peer, false));
    peer_frame(peer, 0x81, "start", 5);
    while (peer_read_frame(peer, payload, &length) == 0x81)
        peer_frame(peer, 0x81, payload, length);
}

/* As many frames as make several turns, handed to the socket in one piece. */
static void serve_flood(struct peer *peer)
{
    static char frames[FLOOD * 8];
    char payload[256];
    size_t length, filled = 0;
    for (int n = 0; n < FLOOD; n++) {
        int digits = snprintf(frames + filled + 2, 6, "%d", n);
        frames[filled] = (char)0x81;
        frames[filled + 1] = (char)digits;
        filled += 2 + (size_t)digits;
    }
    CHECK(peer_upgrade(peer, false));
    peer_write(peer, frames, filled);
    (void)peer_read_frame(peer, payload, &length);
}

static void *server_thread(void *argument)
{
    void (*const *serve)(struct peer *) = argument;
    struct peer peer;
    if (server_accept(&peer, listener, server_context))
        (*serve)(&peer);
    peer_close(&peer);
    return NULL;
}

static pthread_t start_server(void (**serve)(struct peer *))
{
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, server_thread, serve) == 0);
    return thread;
}

/* ---- behaviours -------------------------------------------------------------------------------
 */

static void talks_to_good_server(const char *port)
{
    void (*serve)(struct peer *) = serve_good;
    pthread_t thread = start_server(&serve);
    connect_to("ws", port, NULL);
    wait_for(&messages, 1);
    CHECK(opened == 1 && strcmp(last, "hello") == 0);
    CHECK(websocket_send(&ws, ORDER, sizeof ORDER - 1) == STATUS_OK);
    wait_for(&messages, 2);
    CHECK(strcmp(last, "abcdef") == 0 && ws.pings_received == 1);
    CHECK(websocket_send(&ws, ORDER, sizeof ORDER - 1) == STATUS_OK);
    wait_for(&messages, 3);
    CHECK(last_length == BIG && memcmp(last, big, BIG) == 0);
    CHECK(websocket_ping(&ws) == STATUS_OK);
    wait_closed();
    CHECK(ws.pongs_received == 1);
    CHECK(close_status == STATUS_CLOSED && strstr(ws.close_text, "1001, going away") != NULL);
    CHECK(websocket_send(&ws, ORDER, sizeof ORDER - 1) == STATUS_CLOSED);
    pthread_join(thread, NULL);
}

static void ends_with(const char *port, void (*serve)(struct peer *), int status, int expect_open)
{
    pthread_t thread = start_server(&serve);
    connect_to("ws", port, NULL);
    wait_closed();
    CHECK(close_status == status && opened == expect_open && messages == 0);
    pthread_join(thread, NULL);
}

static void needs_no_heap(const char *port, struct tls_context *tls)
{
    void (*serve)(struct peer *) = serve_echo;
    pthread_t thread = start_server(&serve);
    connect_to("wss", port, tls);
    echoing = true;
    wait_for(&messages, 100); /* the first messages may still warm up buffers */
    int64_t before = heap_calls, pool_before = pool_heap_calls();
    wait_for(&messages, ECHOES);
    CHECK(messages == ECHOES && heap_calls == before && pool_heap_calls() == pool_before);
    echoing = false;
    websocket_close(&ws, 1000, "done", clock_now_ns());
    CHECK(closed == 1 && close_status == STATUS_CLOSED);
    pthread_join(thread, NULL);
}

/* A flood of one peer is taken in shares: no turn of the loop hands out more than its share of
 * frames, and nothing is lost or waited for although the last bytes have left the socket long
 * before.
 */
static void takes_a_flood_in_turns(const char *port, struct tls_context *tls)
{
    void (*serve)(struct peer *) = serve_flood;
    pthread_t thread = start_server(&serve);
    connect_to(tls != NULL ? "wss" : "ws", port, tls);
    int64_t deadline = clock_now_ns() + 10 * CLOCK_NS_PER_S;
    int most = 0;
    while (messages < FLOOD) {
        int64_t before = messages;
        CHECK(clock_now_ns() < deadline && closed == 0);
        CHECK(loop_run_once(&loop, CLOCK_NS_PER_S / 10) >= 0);
        CHECK(messages - before <= WEBSOCKET_TURN_FRAMES);
        most = messages - before > most ? (int)(messages - before) : most;
        CHECK(messages == 0 || atoi(last) == (int)messages - 1);
    }
    CHECK(most == WEBSOCKET_TURN_FRAMES && ws.more_timer < 0);
    websocket_close(&ws, 1000, "done", clock_now_ns());
    pthread_join(thread, NULL);
}

/* A connection that is closed in the middle of a flood hears no more of it. */
static void a_flood_ends_with_its_connection(const char *port)
{
    void (*serve)(struct peer *) = serve_flood;
    pthread_t thread = start_server(&serve);
    connect_to("ws", port, NULL);
    while (ws.more_timer < 0)
        CHECK(closed == 0 && loop_run_once(&loop, CLOCK_NS_PER_S / 10) >= 0);
    websocket_close(&ws, 1000, "enough", clock_now_ns());
    int64_t heard = messages;
    CHECK(loop_run_once(&loop, 0) == 0 && messages == heard);
    pthread_join(thread, NULL);
}

static void refuses_bad_addresses(void)
{
    static const struct websocket_events events = {NULL, on_open, on_message, on_close};
    static const char *const bad[] = {"http://x/", "ws://", "wss://host/", "ws://[::1",
                                      "ws://:80/"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        CHECK(websocket_connect(&ws, bad[i], NULL, &events, 1000, clock_now_ns()) == STATUS_CONFIG);
}

int main(void)
{
    CHECK(tls_global_init() == STATUS_OK);
    struct arena arena;
    CHECK(arena_init(&arena, (size_t)4 << 20) == STATUS_OK && loop_init(&loop) == STATUS_OK);
    websocket_init(&ws, &arena, &loop);
    char port[8], path[] = "purser-ca-XXXXXX";
    listener = server_listen(port);
    refuses_bad_addresses();
    talks_to_good_server(port);
    ends_with(port, serve_wrong_accept, STATUS_REFUSED, 0);
    ends_with(port, serve_refusal, STATUS_REFUSED, 0);
    CHECK(strstr(ws.close_text, "404 Not Found") != NULL);
    ends_with(port, serve_masked, STATUS_PROTOCOL, 1);
    ends_with(port, serve_too_long, STATUS_PROTOCOL, 1);
    ends_with(port, serve_fragment_disorder, STATUS_PROTOCOL, 1);
    ends_with(port, serve_torn_frame, STATUS_CLOSED, 1);
    takes_a_flood_in_turns(port, NULL);
    a_flood_ends_with_its_connection(port);
    CHECK(close(mkstemp(path)) == 0);
    server_context = server_tls(path, "IP:127.0.0.1");
    struct tls_context tls;
    CHECK(tls_context_init(&tls, path) == STATUS_OK);
    needs_no_heap(port, &tls);
    takes_a_flood_in_turns(port, &tls);
    tls_context_fini(&tls);
    SSL_CTX_free(server_context);
    unlink(path);
    close(listener);
    loop_fini(&loop);
    arena_fini(&arena);
    return 0;
}
