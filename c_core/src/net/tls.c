#include "tls.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "../../../bridge/allocate.h"
#include "../base/status.h"
#include "pool.h"

#define READ_AHEAD 65536

/* ---- one name resolution in its thread ------------------------------------------------------- */

/* Shared by the thread and the connection; whoever lets go last frees it. */
struct tls_lookup {
    pthread_mutex_t mutex;
    int holders;
    int event_fd;
    bool done;
    int error; /* of getaddrinfo */
    struct sockaddr_storage address;
    socklen_t address_length;
    char host[TLS_HOST];
    char port[TLS_PORT];
};

static void lookup_release(struct tls_lookup *lookup)
{
    pthread_mutex_lock(&lookup->mutex);
    int left = --lookup->holders;
    pthread_mutex_unlock(&lookup->mutex);
    if (left == 0) {
        close(lookup->event_fd);
        pthread_mutex_destroy(&lookup->mutex);
        free(lookup);
    }
}

static int resolve(struct tls_lookup *lookup, int flags)
{
    struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = flags | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    int error = getaddrinfo(lookup->host, lookup->port, &hints, &found);
    if (error != 0)
        return error;
    const struct addrinfo *chosen = found;
    for (const struct addrinfo *a = found; a != NULL; a = a->ai_next) {
        if (a->ai_family == AF_INET) { /* a host without an IPv6 route fails slowly on AAAA */
            chosen = a;
            break;
        }
    }
    memcpy(&lookup->address, chosen->ai_addr, chosen->ai_addrlen);
    lookup->address_length = chosen->ai_addrlen;
    freeaddrinfo(found);
    return 0;
}

static void *lookup_thread(void *argument)
{
    struct tls_lookup *lookup = argument;
    int error = resolve(lookup, AI_ADDRCONFIG);
    pthread_mutex_lock(&lookup->mutex);
    lookup->error = error;
    lookup->done = true;
    pthread_mutex_unlock(&lookup->mutex);
    uint64_t one = 1;
    if (write(lookup->event_fd, &one, sizeof one) != sizeof one)
        abort(); /* an eventfd of ours always takes the first write */
    lookup_release(lookup);
    return NULL;
}

static bool is_numeric(const char *host)
{
    unsigned char bytes[16];
    return inet_pton(AF_INET, host, bytes) == 1 || inet_pton(AF_INET6, host, bytes) == 1;
}

static int lookup_start(struct tls *tls)
{
    struct tls_lookup *lookup = ALLOCATE(struct tls_lookup);
    if (lookup == NULL)
        return status_set(STATUS_LIMIT, "no memory to resolve %s", tls->host);
    pthread_mutex_init(&lookup->mutex, NULL);
    lookup->holders = 1;
    lookup->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    memcpy(lookup->host, tls->host, sizeof lookup->host);
    memcpy(lookup->port, tls->port, sizeof lookup->port);
    if (strcmp(lookup->host, "localhost") == 0)
        memcpy(lookup->host, "127.0.0.1", sizeof "127.0.0.1");
    tls->lookup = lookup;
    if (lookup->event_fd < 0)
        return status_set(STATUS_IO, "eventfd failed (%s); raise the descriptor limit",
                          strerror(errno));
    tls->state = TLS_RESOLVING;
    if (is_numeric(lookup->host)) {
        lookup->error = resolve(lookup, AI_NUMERICHOST);
        lookup->done = true;
        return STATUS_OK;
    }
    lookup->holders = 2;
    pthread_t thread;
    int error = pthread_create(&thread, NULL, lookup_thread, lookup);
    if (error != 0) {
        lookup->holders = 1;
        return status_set(STATUS_LIMIT, "cannot start a thread to resolve %s (%s)", tls->host,
                          strerror(error));
    }
    pthread_detach(thread);
    return STATUS_OK;
}

/* ---- process-wide and shared settings ------------------------------------------------------- */

static void *openssl_allocate(size_t size, const char *file, int line)
{
    (void)file, (void)line;
    return pool_allocate(size);
}

static void *openssl_resize(void *memory, size_t size, const char *file, int line)
{
    (void)file, (void)line;
    return pool_resize(memory, size);
}

static void openssl_release(void *memory, const char *file, int line)
{
    (void)file, (void)line;
    pool_release(memory);
}

int tls_global_init(void)
{
    static bool installed;
    if (installed)
        return STATUS_OK;
    int result = pool_init(POOL_BYTES_DEFAULT);
    if (result != STATUS_OK)
        return result;
    if (CRYPTO_set_mem_functions(openssl_allocate, openssl_resize, openssl_release) != 1)
        return status_set(STATUS_TLS, "OpenSSL was used before tls_global_init; call it first");
    /* A peer that vanished is an error code of the write, not the end of the process. */
    signal(SIGPIPE, SIG_IGN);
    installed = true;
    return STATUS_OK;
}

static int openssl_error(const char *doing, const char *whom)
{
    unsigned long code = ERR_get_error();
    char text[160] = "no detail";
    if (code != 0)
        ERR_error_string_n(code, text, sizeof text);
    ERR_clear_error();
    return status_set(STATUS_TLS, "%s %s: %s", doing, whom, text);
}

int tls_context_init(struct tls_context *context, const char *ca_file)
{
    *context = (struct tls_context){0};
    SSL_CTX *ssl_context = SSL_CTX_new(TLS_client_method());
    if (ssl_context == NULL)
        return openssl_error("cannot set up", "TLS");
    context->ssl_context = ssl_context;
    SSL_CTX_set_min_proto_version(ssl_context, TLS1_2_VERSION);
    SSL_CTX_set_verify(ssl_context, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_mode(ssl_context,
                     SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(ssl_context, 1);
    SSL_CTX_set_default_read_buffer_len(ssl_context, READ_AHEAD);
    SSL_CTX_set_session_cache_mode(ssl_context, SSL_SESS_CACHE_OFF);
    if (SSL_CTX_set_ciphersuites(ssl_context, "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:"
                                              "TLS_CHACHA20_POLY1305_SHA256") != 1 ||
        SSL_CTX_set_cipher_list(ssl_context, "ECDHE+AESGCM:ECDHE+CHACHA20") != 1)
        return openssl_error("cannot choose ciphers for", "TLS");
    if (ca_file == NULL || ca_file[0] == '\0') {
        if (SSL_CTX_set_default_verify_paths(ssl_context) != 1)
            return openssl_error("cannot load the system's trust roots; install",
                                 "ca-certificates");
        return STATUS_OK;
    }
    if (strlen(ca_file) >= sizeof context->ca_file)
        return status_set(STATUS_CONFIG, "the path of the CA file is too long");
    strcpy(context->ca_file, ca_file);
    if (SSL_CTX_load_verify_locations(ssl_context, ca_file, NULL) != 1)
        return openssl_error("cannot read the CA file", ca_file);
    return STATUS_OK;
}

void tls_context_fini(struct tls_context *context)
{
    SSL_CTX_free(context->ssl_context);
    context->ssl_context = NULL;
}

/* ---- one connection -------------------------------------------------------------------------- */

static int ssl_start(struct tls *tls)
{
    tls->ssl = SSL_new(tls->context->ssl_context);
    if (tls->ssl == NULL || SSL_set_fd(tls->ssl, tls->fd) != 1)
        return openssl_error("cannot start TLS to", tls->host);
    X509_VERIFY_PARAM *verify = SSL_get0_param(tls->ssl);
    if (is_numeric(tls->host)) {
        if (X509_VERIFY_PARAM_set1_ip_asc(verify, tls->host) != 1)
            return openssl_error("cannot check the address of", tls->host);
    } else {
        X509_VERIFY_PARAM_set_hostflags(verify, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
        if (X509_VERIFY_PARAM_set1_host(verify, tls->host, 0) != 1 ||
            SSL_set_tlsext_host_name(tls->ssl, tls->host) != 1)
            return openssl_error("cannot check the name of", tls->host);
    }
    SSL_set_connect_state(tls->ssl);
    tls->state = TLS_HANDSHAKE;
    return STATUS_OK;
}

static int socket_start(struct tls *tls, const struct tls_lookup *lookup)
{
    tls->fd = socket(lookup->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (tls->fd < 0)
        return status_set(STATUS_IO, "socket failed (%s)", strerror(errno));
    int on = 1;
    (void)setsockopt(tls->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    tls->state = TLS_CONNECTING;
    tls->wants_write = true;
    if (connect(tls->fd, (const struct sockaddr *)&lookup->address, lookup->address_length) != 0 &&
        errno != EINPROGRESS)
        return status_set(STATUS_IO, "cannot connect to %s:%s (%s)", tls->host, tls->port,
                          strerror(errno));
    return STATUS_OK;
}

static int advance_resolving(struct tls *tls)
{
    struct tls_lookup *lookup = tls->lookup;
    pthread_mutex_lock(&lookup->mutex);
    bool done = lookup->done;
    pthread_mutex_unlock(&lookup->mutex);
    if (!done)
        return STATUS_AGAIN;
    if (lookup->error != 0)
        return status_set(STATUS_IO, "cannot resolve %s (%s); check the network and the name",
                          tls->host, gai_strerror(lookup->error));
    int result = socket_start(tls, lookup);
    tls->lookup = NULL;
    lookup_release(lookup);
    return result;
}

int tls_connect(struct tls *tls, struct tls_context *context, const char *host, const char *port)
{
    *tls = (struct tls){.fd = -1, .context = context};
    if (strlen(host) >= sizeof tls->host || strlen(port) >= sizeof tls->port)
        return status_set(STATUS_CONFIG, "the host name %.60s… or its port is too long", host);
    strcpy(tls->host, host);
    strcpy(tls->port, port);
    int result = lookup_start(tls);
    if (result != STATUS_OK) {
        tls_close(tls);
        return result;
    }
    if (!is_numeric(tls->lookup->host)) /* a thread resolves it */
        return STATUS_AGAIN;
    result = advance_resolving(tls);
    if (result != STATUS_OK) {
        tls_close(tls);
        return result;
    }
    return STATUS_AGAIN; /* even when it is connected already: the socket is writable then */
}

static int advance_connecting(struct tls *tls)
{
    struct sockaddr_storage peer;
    socklen_t length = sizeof peer;
    int error = 0;
    socklen_t error_length = sizeof error;
    getsockopt(tls->fd, SOL_SOCKET, SO_ERROR, &error, &error_length);
    if (error != 0)
        return status_set(STATUS_IO, "cannot connect to %s:%s (%s)", tls->host, tls->port,
                          strerror(error));
    if (getpeername(tls->fd, (struct sockaddr *)&peer, &length) != 0) {
        tls->wants_write = true;
        return STATUS_AGAIN;
    }
    tls->wants_write = false;
    if (tls->context == NULL) {
        tls->state = TLS_OPEN;
        return STATUS_OK;
    }
    return ssl_start(tls);
}

static int handshake_error(const struct tls *tls)
{
    long verdict = SSL_get_verify_result(tls->ssl);
    if (verdict != X509_V_OK) {
        ERR_clear_error();
        return status_set(STATUS_TLS, "the certificate of %s:%s is refused: %s", tls->host,
                          tls->port, X509_verify_cert_error_string(verdict));
    }
    if (ERR_peek_error() == 0)
        return status_set(STATUS_IO, "%s:%s closed the connection during the TLS handshake",
                          tls->host, tls->port);
    return openssl_error("TLS handshake with", tls->host);
}

static int advance_handshake(struct tls *tls)
{
    ERR_clear_error();
    int result = SSL_do_handshake(tls->ssl);
    if (result == 1) {
        tls->wants_write = false;
        tls->state = TLS_OPEN;
        return STATUS_OK;
    }
    int error = SSL_get_error(tls->ssl, result);
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) {
        tls->wants_write = error == SSL_ERROR_WANT_WRITE;
        return STATUS_AGAIN;
    }
    return handshake_error(tls);
}

int tls_advance(struct tls *tls)
{
    int result = STATUS_OK;
    if (tls->state == TLS_RESOLVING)
        result = advance_resolving(tls);
    if (result == STATUS_OK && tls->state == TLS_CONNECTING)
        result = advance_connecting(tls);
    if (result == STATUS_OK && tls->state == TLS_HANDSHAKE)
        result = advance_handshake(tls);
    if (result == STATUS_OK && tls->state == TLS_CLOSED)
        return status_set(STATUS_CLOSED, "the connection is closed");
    if (result != STATUS_OK && result != STATUS_AGAIN)
        tls_close(tls);
    return result;
}

int tls_fd(const struct tls *tls)
{
    return tls->lookup != NULL ? tls->lookup->event_fd : tls->fd;
}

uint32_t tls_events(const struct tls *tls)
{
    return tls->wants_write ? EPOLLIN | EPOLLOUT : EPOLLIN;
}

/* What a failed SSL_read or SSL_write means. */
static int64_t ssl_result(struct tls *tls, int result)
{
    int saved_errno = errno;
    int error = SSL_get_error(tls->ssl, result);
    if (error == SSL_ERROR_WANT_READ)
        return STATUS_AGAIN;
    if (error == SSL_ERROR_WANT_WRITE) {
        tls->wants_write = true;
        return STATUS_AGAIN;
    }
    if (error == SSL_ERROR_ZERO_RETURN)
        return status_set(STATUS_CLOSED, "%s:%s closed the connection", tls->host, tls->port);
    if (error == SSL_ERROR_SYSCALL && ERR_peek_error() == 0)
        return status_set(STATUS_IO, "connection to %s:%s lost (%s)", tls->host, tls->port,
                          saved_errno != 0 ? strerror(saved_errno) : "end of stream");
    int status = openssl_error("TLS with", tls->host);
    return status;
}

int64_t tls_read(struct tls *tls, void *bytes, size_t capacity)
{
    if (tls->state != TLS_OPEN)
        return status_set(STATUS_CLOSED, "the connection is not open");
    int length = capacity > INT32_MAX ? INT32_MAX : (int)capacity;
    if (tls->ssl != NULL) {
        ERR_clear_error();
        errno = 0;
        int result = SSL_read(tls->ssl, bytes, length);
        return result > 0 ? result : ssl_result(tls, result);
    }
    ssize_t n = recv(tls->fd, bytes, (size_t)length, 0);
    if (n > 0)
        return n;
    if (n == 0)
        return status_set(STATUS_CLOSED, "%s:%s closed the connection", tls->host, tls->port);
    if (errno == EAGAIN || errno == EINTR)
        return STATUS_AGAIN;
    return status_set(STATUS_IO, "connection to %s:%s lost (%s)", tls->host, tls->port,
                      strerror(errno));
}

int64_t tls_write(struct tls *tls, const void *bytes, size_t length)
{
    if (tls->state != TLS_OPEN)
        return status_set(STATUS_CLOSED, "the connection is not open");
    tls->wants_write = false;
    int limited = length > INT32_MAX ? INT32_MAX : (int)length;
    if (tls->ssl != NULL) {
        ERR_clear_error();
        errno = 0;
        int result = SSL_write(tls->ssl, bytes, limited);
        return result > 0 ? result : ssl_result(tls, result);
    }
    ssize_t n = send(tls->fd, bytes, (size_t)limited, MSG_NOSIGNAL);
    if (n >= 0)
        return n;
    if (errno == EAGAIN || errno == EINTR) {
        tls->wants_write = true;
        return STATUS_AGAIN;
    }
    return status_set(STATUS_IO, "connection to %s:%s lost (%s)", tls->host, tls->port,
                      strerror(errno));
}

void tls_close(struct tls *tls)
{
    if (tls->ssl != NULL) {
        if (tls->state == TLS_OPEN)
            (void)SSL_shutdown(tls->ssl);
        ERR_clear_error();
        SSL_free(tls->ssl);
        tls->ssl = NULL;
    }
    if (tls->lookup != NULL) {
        lookup_release(tls->lookup);
        tls->lookup = NULL;
    }
    /* A zeroed struct that never connected has fd 0, which is not ours. */
    if (tls->state != TLS_CLOSED && tls->fd >= 0)
        close(tls->fd);
    tls->fd = -1;
    tls->state = TLS_CLOSED;
    tls->wants_write = false;
}
