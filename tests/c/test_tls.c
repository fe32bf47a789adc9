/* TLS connects to a server whose certificate our CA signed for its address, and to no other. */
#include "loopback_server.h"

#include "../../c_core/src/base/clock.h"
#include "../../c_core/src/base/status.h"
#include "../../c_core/src/net/tls.h"

#include <poll.h>

static int listener;
static SSL_CTX *server_context;

static void *serve(void *unused)
{
    (void)unused;
    struct peer peer;
    if (server_accept(&peer, listener, server_context)) {
        char bytes[64];
        int n = peer_read(&peer, bytes, sizeof bytes);
        if (n > 0)
            peer_write(&peer, bytes, (size_t)n);
    }
    peer_close(&peer);
    return NULL;
}

/* Waits for the descriptor as a loop would; a minute at most. */
static void wait_ready(const struct tls *tls)
{
    struct pollfd wait = {.fd = tls_fd(tls), .events = POLLIN};
    if (tls_events(tls) & 4) /* EPOLLOUT */
        wait.events |= POLLOUT;
    CHECK(poll(&wait, 1, 60000) == 1);
}

static int connect_to(struct tls *tls, struct tls_context *context, const char *host,
                      const char *port)
{
    int status = tls_connect(tls, context, host, port);
    while (status == STATUS_AGAIN) {
        wait_ready(tls);
        status = tls_advance(tls);
    }
    return status;
}

static void echoes(struct tls *tls)
{
    char bytes[64];
    CHECK(tls_write(tls, "ping", 4) == 4);
    int64_t n;
    while ((n = tls_read(tls, bytes, sizeof bytes)) == STATUS_AGAIN)
        wait_ready(tls);
    CHECK(n == 4 && memcmp(bytes, "ping", 4) == 0);
    while ((n = tls_read(tls, bytes, sizeof bytes)) == STATUS_AGAIN)
        wait_ready(tls);
    CHECK(n == STATUS_CLOSED);
}

/* One connection, expected to end with this status; the text must mention `mentions`. */
static void attempt(struct tls_context *context, const char *host, const char *port, int expected,
                    const char *mentions)
{
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, serve, NULL) == 0);
    struct tls tls;
    CHECK(connect_to(&tls, context, host, port) == expected);
    if (expected == STATUS_OK)
        echoes(&tls);
    else
        CHECK(strstr(status_text(), mentions) != NULL);
    tls_close(&tls);
    tls_close(&tls);
    CHECK(tls_write(&tls, "x", 1) == STATUS_CLOSED);
    pthread_join(thread, NULL);
}

int main(void)
{
    CHECK(tls_global_init() == STATUS_OK);
    char port[8], path[] = "purser-ca-XXXXXX", other[] = "purser-ca-XXXXXX";
    CHECK(close(mkstemp(path)) == 0 && close(mkstemp(other)) == 0);
    listener = server_listen(port);
    attempt(NULL, "127.0.0.1", port, STATUS_OK, "");
    attempt(NULL, "localhost", port, STATUS_OK, "");
    SSL_CTX *good = server_tls(path, "IP:127.0.0.1,DNS:localhost");
    struct tls_context ours;
    CHECK(tls_context_init(&ours, path) == STATUS_OK);
    server_context = good;
    attempt(&ours, "127.0.0.1", port, STATUS_OK, "");
    attempt(&ours, "localhost", port, STATUS_OK, "");
    SSL_CTX_set_max_proto_version(good, TLS1_2_VERSION);
    attempt(&ours, "127.0.0.1", port, STATUS_OK, "");
    SSL_CTX_set_max_proto_version(good, TLS1_1_VERSION);
    attempt(&ours, "127.0.0.1", port, STATUS_TLS, "127.0.0.1");
    SSL_CTX *stranger = server_tls(other, "IP:127.0.0.1");
    server_context = stranger; /* right name, unknown CA */
    attempt(&ours, "127.0.0.1", port, STATUS_TLS, "refused");
    SSL_CTX_free(stranger);
    struct tls_context theirs;
    stranger = server_tls(other, "IP:127.0.0.2,DNS:example.org");
    CHECK(tls_context_init(&theirs, other) == STATUS_OK);
    server_context = stranger; /* known CA, wrong name */
    attempt(&theirs, "127.0.0.1", port, STATUS_TLS, "mismatch");
    attempt(&theirs, "localhost", port, STATUS_TLS, "mismatch");
    close(listener);
    struct tls tls;
    CHECK(connect_to(&tls, NULL, "127.0.0.1", port) == STATUS_IO);
    /* 64 letters between two dots: no name server is asked for what cannot be a name */
    char name[] = "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijkl.invalid";
    CHECK(connect_to(&tls, NULL, name, "443") == STATUS_IO);
    CHECK(strstr(status_text(), "resolve") != NULL);
    struct tls_context missing;
    CHECK(tls_context_init(&missing, "/nonexistent/ca.pem") == STATUS_TLS);
    tls_context_fini(&missing);
    tls_context_fini(&ours);
    tls_context_fini(&theirs);
    SSL_CTX_free(good);
    SSL_CTX_free(stranger);
    unlink(path);
    unlink(other);
    return 0;
}
