#include "http.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <curl/curl.h>

#include "../base/check.h"
#include "../base/clock.h"
#include "../base/status.h"
#include "pool.h"

#define HTTP_SOCKETS      32
#define HTTP_REQUEST_BODY 4096

struct http_slot {
    struct http *http;
    CURL *easy;
    struct curl_slist *headers;
    bool busy, too_long;
    struct http_request request;
    char request_body[HTTP_REQUEST_BODY];
    char error[CURL_ERROR_SIZE];
    char *body; /* HTTP_BODY_MAX + 1 bytes */
    struct http_response response;
};

struct http_socket {
    curl_socket_t fd; /* CURL_SOCKET_BAD: free */
    int64_t source;
    struct http *http;
};

struct http {
    CURLM *multi;
    struct loop *loop;
    struct arena bodies;
    int64_t timer;
    uint64_t tag;
    int in_flight;
    char ca_file[256];
    struct http_slot slots[HTTP_REQUESTS];
    struct http_socket sockets[HTTP_SOCKETS];
};

/* ---- libcurl's callbacks: bytes in ----------------------------------------------------------- */

static size_t on_body(char *bytes, size_t size, size_t count, void *context)
{
    struct http_slot *slot = context;
    size_t length = size * count;
    if (length > HTTP_BODY_MAX - slot->response.body_length) {
        slot->too_long = true;
        return 0; /* libcurl then gives up with CURLE_WRITE_ERROR */
    }
    memcpy(slot->body + slot->response.body_length, bytes, length);
    slot->response.body_length += length;
    return length;
}

static void read_header(const char *line, size_t length, const char *name, int64_t *out)
{
    size_t n = strlen(name);
    if (length > n + 1 && strncasecmp(line, name, n) == 0 && line[n] == ':') {
        char text[24] = "";
        size_t rest = length - n - 1 < sizeof text - 1 ? length - n - 1 : sizeof text - 1;
        memcpy(text, line + n + 1, rest);
        char *end;
        long long value = strtoll(text, &end, 10);
        if (end != text && value >= 0)
            *out = value;
    }
}

static size_t on_header(char *bytes, size_t size, size_t count, void *context)
{
    struct http_response *response = &((struct http_slot *)context)->response;
    size_t length = size * count;
    read_header(bytes, length, "X-MBX-USED-WEIGHT-1M", &response->used_weight);
    read_header(bytes, length, "X-MBX-ORDER-COUNT-10S", &response->order_count_10s);
    read_header(bytes, length, "X-MBX-ORDER-COUNT-1M", &response->order_count_1m);
    read_header(bytes, length, "Retry-After", &response->retry_after_s);
    return length;
}

/* ---- libcurl on the loop ----------------------------------------------------------------------
 */

static int transport_status(CURLcode code, const struct http_slot *slot)
{
    if (code == CURLE_OK)
        return STATUS_OK;
    if (slot->too_long)
        return STATUS_LIMIT;
    if (code == CURLE_OPERATION_TIMEDOUT)
        return STATUS_TIMEOUT;
    if (code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CONNECT_ERROR ||
        code == CURLE_SSL_CACERT_BADFILE || code == CURLE_SSL_CERTPROBLEM)
        return STATUS_TLS;
    return STATUS_IO;
}

static void finish(struct http_slot *slot, CURLcode code)
{
    struct http *http = slot->http;
    struct http_response *response = &slot->response;
    response->status = transport_status(code, slot);
    response->done_ns = clock_now_ns();
    response->text = slot->too_long           ? "the answer is too long"
                     : code == CURLE_OK       ? ""
                     : slot->error[0] != '\0' ? slot->error
                                              : curl_easy_strerror(code);
    long request_bytes = 0;
    curl_easy_getinfo(slot->easy, CURLINFO_REQUEST_SIZE, &request_bytes);
    curl_easy_getinfo(slot->easy, CURLINFO_RESPONSE_CODE, &response->code);
    response->sent = request_bytes > 0;
    slot->body[response->body_length] = '\0';
    response->body = slot->body;
    curl_multi_remove_handle(http->multi, slot->easy);
    curl_slist_free_all(slot->headers);
    slot->headers = NULL;
    http->tag = slot->request.tag;
    http->in_flight--;
    slot->request.on_done(slot->request.context, response);
    slot->busy = false; /* only now: the body belongs to the callback until it returns */
}

static void act(struct http *http, curl_socket_t fd, int mask)
{
    int running;
    curl_multi_socket_action(http->multi, fd, mask, &running);
    int left;
    CURLMsg *message;
    while ((message = curl_multi_info_read(http->multi, &left)) != NULL) {
        if (message->msg != CURLMSG_DONE)
            continue;
        CURLcode code = message->data.result;
        struct http_slot *slot = NULL;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&slot);
        finish(slot, code);
    }
}

static void on_socket_ready(void *context, uint32_t events, int64_t now_ns)
{
    struct http_socket *socket = context;
    (void)now_ns;
    int mask = 0;
    if (events & EPOLLIN)
        mask |= CURL_CSELECT_IN;
    if (events & EPOLLOUT)
        mask |= CURL_CSELECT_OUT;
    if (events & (EPOLLERR | EPOLLHUP))
        mask |= CURL_CSELECT_ERR;
    act(socket->http, socket->fd, mask);
}

static struct http_socket *socket_of(struct http *http, curl_socket_t fd)
{
    for (size_t i = 0; i < HTTP_SOCKETS; i++) {
        if (http->sockets[i].fd == fd)
            return &http->sockets[i];
    }
    return NULL;
}

static int on_curl_socket(CURL *easy, curl_socket_t fd, int what, void *context, void *unused)
{
    struct http *http = context;
    (void)easy, (void)unused;
    struct http_socket *socket = socket_of(http, fd);
    if (what == CURL_POLL_REMOVE) {
        if (socket != NULL) {
            loop_unwatch(http->loop, socket->source);
            socket->fd = CURL_SOCKET_BAD;
        }
        return 0;
    }
    uint32_t events = 0;
    if (what == CURL_POLL_IN || what == CURL_POLL_INOUT)
        events |= EPOLLIN;
    if (what == CURL_POLL_OUT || what == CURL_POLL_INOUT)
        events |= EPOLLOUT;
    if (socket != NULL)
        return loop_change(http->loop, socket->source, events) == STATUS_OK ? 0 : -1;
    socket = socket_of(http, CURL_SOCKET_BAD);
    if (socket == NULL)
        return -1;
    int64_t source = loop_watch(http->loop, fd, events, on_socket_ready, socket);
    if (source < 0)
        return -1;
    socket->fd = fd;
    socket->source = source;
    return 0;
}

static void on_time(void *context, int64_t now_ns)
{
    struct http *http = context;
    (void)now_ns;
    http->timer = -1;
    act(http, CURL_SOCKET_TIMEOUT, 0);
}

static int on_curl_timer(CURLM *multi, long timeout_ms, void *context)
{
    struct http *http = context;
    (void)multi;
    loop_timer_stop(http->loop, http->timer);
    http->timer = -1;
    if (timeout_ms >= 0) {
        int64_t at_ns = clock_now_ns() + timeout_ms * CLOCK_NS_PER_MS;
        http->timer = loop_timer_start(http->loop, at_ns, on_time, http);
    }
    return http->timer < 0 && timeout_ms >= 0 ? -1 : 0;
}

/* ---- life ------------------------------------------------------------------------------------ */

/* libcurl's strdup must come from the pool too. */
static char *pool_copy(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = pool_allocate(size);
    if (copy != NULL)
        memcpy(copy, text, size);
    return copy;
}

static int curl_start(void)
{
    static bool started;
    if (started)
        return STATUS_OK;
    int result = pool_init(POOL_BYTES_DEFAULT);
    if (result != STATUS_OK)
        return result;
    if (curl_global_init_mem(CURL_GLOBAL_DEFAULT, pool_allocate, pool_release, pool_resize,
                             pool_copy, pool_zeroed) != CURLE_OK)
        return status_set(STATUS_IO, "libcurl cannot start; check its installation");
    started = true;
    return STATUS_OK;
}

struct http *http_new(struct loop *loop, struct arena *arena, const char *ca_file)
{
    struct http *http = arena_allocate(arena, sizeof *http);
    if (ca_file != NULL && strlen(ca_file) >= sizeof http->ca_file) {
        status_set(STATUS_CONFIG, "the path of the CA file is too long");
        return NULL;
    }
    if (curl_start() != STATUS_OK ||
        arena_init(&http->bodies, HTTP_REQUESTS * (HTTP_BODY_MAX + 4096)) != STATUS_OK)
        return NULL;
    strcpy(http->ca_file, ca_file != NULL ? ca_file : "");
    http->loop = loop;
    http->timer = -1;
    for (size_t i = 0; i < HTTP_SOCKETS; i++)
        http->sockets[i] = (struct http_socket){.fd = CURL_SOCKET_BAD, .source = -1, .http = http};
    http->multi = curl_multi_init();
    CHECK(http->multi != NULL);
    curl_multi_setopt(http->multi, CURLMOPT_SOCKETFUNCTION, on_curl_socket);
    curl_multi_setopt(http->multi, CURLMOPT_SOCKETDATA, http);
    curl_multi_setopt(http->multi, CURLMOPT_TIMERFUNCTION, on_curl_timer);
    curl_multi_setopt(http->multi, CURLMOPT_TIMERDATA, http);
    curl_multi_setopt(http->multi, CURLMOPT_MAXCONNECTS, 8L);
    for (size_t i = 0; i < HTTP_REQUESTS; i++) {
        struct http_slot *slot = &http->slots[i];
        slot->http = http;
        slot->body = arena_allocate(&http->bodies, HTTP_BODY_MAX + 1);
        slot->easy = curl_easy_init();
        CHECK(slot->easy != NULL);
    }
    return http;
}

void http_free(struct http *http)
{
    if (http == NULL)
        return;
    for (size_t i = 0; i < HTTP_REQUESTS; i++) {
        struct http_slot *slot = &http->slots[i];
        if (slot->busy)
            curl_multi_remove_handle(http->multi, slot->easy);
        curl_slist_free_all(slot->headers);
        curl_easy_cleanup(slot->easy);
    }
    curl_multi_cleanup(http->multi);
    loop_timer_stop(http->loop, http->timer);
    for (size_t i = 0; i < HTTP_SOCKETS; i++) {
        if (http->sockets[i].fd != CURL_SOCKET_BAD)
            loop_unwatch(http->loop, http->sockets[i].source);
    }
    arena_fini(&http->bodies);
}

static void set_options(struct http_slot *slot, const char *url)
{
    CURL *easy = slot->easy;
    const struct http_request *request = &slot->request;
    bool posts = strcmp(request->method, "POST") == 0 || strcmp(request->method, "PUT") == 0;
    curl_easy_reset(easy);
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method);
    if (posts || request->body != NULL)
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, slot->request_body);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, slot->headers);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)(request->timeout_ns / CLOCK_NS_PER_MS));
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    if (slot->http->ca_file[0] != '\0') {
        curl_easy_setopt(easy, CURLOPT_CAINFO, slot->http->ca_file);
        curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
    }
    curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, request->once ? 1L : 0L);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "purser");
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, slot->error);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, slot);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, slot);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, slot);
}

static struct http_slot *free_slot(struct http *http)
{
    for (size_t i = 0; i < HTTP_REQUESTS; i++) {
        if (!http->slots[i].busy)
            return &http->slots[i];
    }
    return NULL;
}

int http_send(struct http *http, const struct http_request *request, int64_t now_ns)
{
    CHECK(request->on_done != NULL && request->timeout_ns > 0);
    struct http_slot *slot = free_slot(http);
    if (slot == NULL)
        return status_set(STATUS_LIMIT, "at most %d REST calls can be in flight", HTTP_REQUESTS);
    size_t body_length = request->body != NULL ? strlen(request->body) : 0;
    if (body_length >= sizeof slot->request_body || strlen(request->url) >= HTTP_URL)
        return status_set(STATUS_LIMIT, "the REST call is too long");
    slot->request = *request;
    memcpy(slot->request_body, request->body != NULL ? request->body : "", body_length + 1);
    slot->headers = NULL;
    for (size_t i = 0; i < HTTP_HEADERS && request->headers[i] != NULL; i++) {
        struct curl_slist *longer = curl_slist_append(slot->headers, request->headers[i]);
        CHECK(longer != NULL);
        slot->headers = longer;
    }
    slot->too_long = false;
    slot->error[0] = '\0';
    slot->response = (struct http_response){.sent_ns = now_ns,
                                            .used_weight = -1,
                                            .order_count_10s = -1,
                                            .order_count_1m = -1,
                                            .retry_after_s = -1};
    set_options(slot, request->url); /* libcurl copies the URL and the method */
    if (curl_multi_add_handle(http->multi, slot->easy) != CURLM_OK) {
        curl_slist_free_all(slot->headers);
        slot->headers = NULL;
        return status_set(STATUS_LIMIT, "libcurl does not take the REST call");
    }
    slot->busy = true;
    http->in_flight++;
    return STATUS_OK;
}

uint64_t http_tag(const struct http *http)
{
    return http->tag;
}

int http_in_flight(const struct http *http)
{
    return http->in_flight;
}
