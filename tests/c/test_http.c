/* REST calls deliver status, body and limits, time out, and tell whether the request can have left.
 */
#include "loopback_server.h"

#include "../../c_core/src/base/clock.h"
#include "../../c_core/src/base/status.h"
#include "../../c_core/src/net/http.h"
#include "../../c_core/src/net/tls.h"

static int listener;
static SSL_CTX *server_context;
static int connections;

static void answer(struct peer *peer, const char *head, const char *body)
{
    char text[4096];
    int n =
        snprintf(text, sizeof text, "%sContent-Length: %zu\r\n\r\n%s", head, strlen(body), body);
    peer_write(peer, text, (size_t)n);
}

/* What the path asks for; false: close the connection. */
static bool serve_request(struct peer *peer)
{
    char head[4096], body[64] = "";
    if (!peer_read_head(peer, head, sizeof head))
        return false;
    const char *length = strstr(head, "Content-Length: ");
    if (length != NULL)
        CHECK(peer_read_all(peer, body, strtoul(length + 16, NULL, 10)));
    if (strncmp(head, "GET /drop ", 10) == 0)
        return false;
    if (strncmp(head, "GET /slow ", 10) == 0) {
        char byte;
        return peer_read_all(peer, &byte, 1); /* until the client gives up */
    }
    if (strncmp(head, "GET /torn ", 10) == 0) {
        static const char torn[] = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf";
        peer_write(peer, torn, sizeof torn - 1);
        return false;
    }
    if (strncmp(head, "POST /order?a=1 ", 16) == 0) {
        CHECK(strstr(head, "X-MBX-APIKEY: key\r\n") != NULL && strcmp(body, "quantity=1") == 0);
        answer(peer,
               "HTTP/1.1 400 Bad Request\r\nx-mbx-used-weight-1m: 17\r\n"
               "X-MBX-ORDER-COUNT-10S: 3\r\nRetry-After: 9\r\n",
               "{\"code\":-1121}");
        return true;
    }
    CHECK(strncmp(head, "GET /time ", 10) == 0 || strncmp(head, "PUT /time ", 10) == 0 ||
          strncmp(head, "DELETE /time ", 13) == 0);
    answer(peer, "HTTP/1.1 200 OK\r\n", "{\"serverTime\":1}");
    return true;
}

static void *serve(void *count)
{
    for (int i = 0; i < *(int *)count; i++) {
        struct peer peer;
        if (server_accept(&peer, listener, server_context)) {
            connections++;
            while (serve_request(&peer))
                continue;
        }
        peer_close(&peer);
    }
    return NULL;
}

static struct loop loop;
static struct http *http;
static int done;
static struct http_response got;
static char got_body[256];
static uint64_t got_tag;

static void on_done(void *context, const struct http_response *response)
{
    CHECK(context == &done);
    got = *response;
    snprintf(got_body, sizeof got_body, "%s", response->body);
    got_tag = http_tag(http);
    done++;
}

static void call(const char *method, const char *scheme, const char *port, const char *target,
                 const char *body, int64_t timeout_ms)
{
    char url[128];
    snprintf(url, sizeof url, "%s://127.0.0.1:%s%s", scheme, port, target);
    struct http_request request = {.method = method,
                                   .url = url,
                                   .body = body,
                                   .headers = {"X-MBX-APIKEY: key"},
                                   .on_done = on_done,
                                   .context = &done,
                                   .tag = 42,
                                   .timeout_ns = timeout_ms * CLOCK_NS_PER_MS};
    done = 0;
    CHECK(http_send(http, &request, clock_now_ns()) == STATUS_OK && http_in_flight(http) == 1);
    int64_t deadline = clock_now_ns() + 90 * CLOCK_NS_PER_S;
    while (done == 0) {
        CHECK(clock_now_ns() < deadline);
        CHECK(loop_run_once(&loop, CLOCK_NS_PER_S / 10) >= 0);
    }
    CHECK(done == 1 && got_tag == 42 && http_in_flight(http) == 0);
}

static void calls(const char *scheme, const char *port)
{
    call("GET", scheme, port, "/time", NULL, 60000);
    CHECK(got.status == STATUS_OK && got.code == 200 &&
          strcmp(got_body, "{\"serverTime\":1}") == 0);
    CHECK(got.used_weight == -1 && got.sent && got.done_ns >= got.sent_ns);
    call("PUT", scheme, port, "/time", NULL, 60000);
    CHECK(got.status == STATUS_OK && got.code == 200);
    call("DELETE", scheme, port, "/time", NULL, 60000);
    CHECK(got.status == STATUS_OK && got.code == 200);
    call("POST", scheme, port, "/order?a=1", "quantity=1", 60000);
    CHECK(got.status == STATUS_OK && got.code == 400 && strcmp(got_body, "{\"code\":-1121}") == 0);
    CHECK(got.used_weight == 17 && got.order_count_10s == 3 && got.order_count_1m == -1);
    CHECK(got.retry_after_s == 9);
    CHECK(connections == 1); /* kept alive */
    /* on the kept connection, so that no handshake has to fit into its time */
    call("GET", scheme, port, "/slow", NULL, 500);
    CHECK(got.status == STATUS_TIMEOUT && got.sent && connections == 1);
    call("GET", scheme, port, "/torn", NULL, 60000);
    CHECK(got.status == STATUS_IO && got.sent);
}

int main(void)
{
    CHECK(tls_global_init() == STATUS_OK && loop_init(&loop) == STATUS_OK);
    struct arena arena;
    CHECK(arena_init(&arena, (size_t)1 << 20) == STATUS_OK);
    char port[8], path[] = "purser-ca-XXXXXX", other[] = "purser-ca-XXXXXX";
    CHECK(close(mkstemp(path)) == 0 && close(mkstemp(other)) == 0);
    listener = server_listen(port);
    server_context = server_tls(path, "IP:127.0.0.1");
    CHECK((http = http_new(&loop, &arena, path)) != NULL);
    int count = 2;
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, serve, &count) == 0);
    calls("https", port);
    pthread_join(thread, NULL);
    http_free(http);

    SSL_CTX_free(server_context);
    server_context = server_tls(other, "IP:127.0.0.1"); /* a CA that the client does not know */
    CHECK((http = http_new(&loop, &arena, path)) != NULL);
    count = 1;
    CHECK(pthread_create(&thread, NULL, serve, &count) == 0);
    call("GET", "https", port, "/time", NULL, 60000);
    CHECK(got.status == STATUS_TLS && !got.sent && got.text[0] != '\0');
    pthread_join(thread, NULL);
    close(listener);
    call("GET", "https", port, "/time", NULL, 60000);
    CHECK(got.status == STATUS_IO && !got.sent);
    call("GET", "ftp", port, "/time", NULL, 60000);
    CHECK(got.status == STATUS_IO && !got.sent);
    http_free(http);
    SSL_CTX_free(server_context);
    unlink(path);
    unlink(other);
    loop_fini(&loop);
    arena_fini(&arena);
    return 0;
}
