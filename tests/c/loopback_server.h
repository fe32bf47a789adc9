/*
 * loopback_server.h: for tests of the network layer: a listening socket on 127.0.0.1, a throw-away
 * CA with a certificate for 127.0.0.1, and a blocking server connection in a thread of the test.
 */
#ifndef PURSER_TESTS_LOOPBACK_SERVER_H
#define PURSER_TESTS_LOOPBACK_SERVER_H

#include "../../c_core/src/base/check.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct peer {
    int fd;
    SSL *ssl; /* NULL: plain */
};

static inline int server_listen(char port[8])
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&address, length) == 0 && listen(fd, 8) == 0);
    CHECK(getsockname(fd, (struct sockaddr *)&address, &length) == 0);
    snprintf(port, 8, "%u", ntohs(address.sin_port));
    return fd;
}

static inline X509 *make_certificate(EVP_PKEY *key, const char *name, X509 *issuer,
                                     EVP_PKEY *issuer_key, const char *alternative)
{
    X509 *certificate = X509_new();
    CHECK(certificate != NULL && X509_set_version(certificate, 2) == 1);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), issuer == NULL ? 1 : 2);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
    X509_set_pubkey(certificate, key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC,
                               (const unsigned char *)name, -1, -1, 0);
    X509 *signer = issuer != NULL ? issuer : certificate;
    X509_set_issuer_name(certificate, X509_get_subject_name(signer));
    X509V3_CTX context;
    X509V3_set_ctx(&context, signer, certificate, NULL, NULL, 0);
    const char *text = alternative != NULL ? alternative : "critical,CA:TRUE";
    int kind = alternative != NULL ? NID_subject_alt_name : NID_basic_constraints;
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, kind, text);
    CHECK(extension != NULL && X509_add_ext(certificate, extension, -1) == 1);
    X509_EXTENSION_free(extension);
    CHECK(X509_sign(certificate, issuer_key, EVP_sha256()) > 0);
    return certificate;
}

/* A server context whose certificate names 127.0.0.1 (or `alternative`); its CA goes to ca_path. */
static inline SSL_CTX *server_tls(const char *ca_path, const char *alternative)
{
    EVP_PKEY *ca_key = EVP_EC_gen("P-256"), *key = EVP_EC_gen("P-256");
    X509 *ca = make_certificate(ca_key, "test CA", NULL, ca_key, NULL);
    X509 *certificate = make_certificate(key, "test server", ca, ca_key, alternative);
    FILE *file = fopen(ca_path, "w");
    CHECK(file != NULL && PEM_write_X509(file, ca) == 1 && fclose(file) == 0);
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    CHECK(SSL_CTX_use_certificate(context, certificate) == 1);
    CHECK(SSL_CTX_use_PrivateKey(context, key) == 1);
    X509_free(ca);
    X509_free(certificate);
    EVP_PKEY_free(ca_key);
    EVP_PKEY_free(key);
    return context;
}

/* The next client; false when its TLS handshake failed (it may have refused us on purpose). */
static inline bool server_accept(struct peer *peer, int listener, SSL_CTX *context)
{
    *peer = (struct peer){.fd = accept(listener, NULL, NULL)};
    int on = 1;
    CHECK(peer->fd >= 0);
    CHECK(setsockopt(peer->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0);
    if (context == NULL)
        return true;
    peer->ssl = SSL_new(context);
    SSL_set_fd(peer->ssl, peer->fd);
    return SSL_accept(peer->ssl) == 1;
}

static inline int peer_read(struct peer *peer, void *bytes, int capacity)
{
    if (peer->ssl != NULL)
        return SSL_read(peer->ssl, bytes, capacity);
    return (int)recv(peer->fd, bytes, (size_t)capacity, 0);
}

static inline bool peer_read_all(struct peer *peer, void *bytes, size_t length)
{
    unsigned char *p = bytes;
    while (length > 0) {
        int n = peer_read(peer, p, (int)length);
        if (n <= 0)
            return false;
        p += n;
        length -= (size_t)n;
    }
    return true;
}

static inline void peer_write(struct peer *peer, const void *bytes, size_t length)
{
    const unsigned char *p = bytes;
    while (length > 0) {
        int n = peer->ssl != NULL ? SSL_write(peer->ssl, p, (int)length)
                                  : (int)send(peer->fd, p, length, MSG_NOSIGNAL);
        if (n <= 0)
            return; /* the client went away, which the test sees at its end */
        p += n;
        length -= (size_t)n;
    }
}

static inline void peer_close(struct peer *peer)
{
    if (peer->ssl != NULL) {
        SSL_shutdown(peer->ssl);
        SSL_free(peer->ssl);
    }
    close(peer->fd);
}

/* Reads a request's head, one byte at a time so that nothing behind it is taken. */
static inline bool peer_read_head(struct peer *peer, char *head, size_t capacity)
{
    size_t n = 0;
    while (n + 1 < capacity) {
        if (!peer_read_all(peer, head + n, 1))
            return false;
        head[++n] = '\0';
        if (n >= 4 && memcmp(head + n - 4, "\r\n\r\n", 4) == 0)
            return true;
    }
    return false;
}

/* Answers a WebSocket handshake; wrong: with an accept value that does not fit. */
static inline bool peer_upgrade(struct peer *peer, bool wrong)
{
    char head[4096], joined[128], accept_text[64], answer[256];
    unsigned char digest[SHA_DIGEST_LENGTH];
    if (!peer_read_head(peer, head, sizeof head))
        return false;
    const char *key = strstr(head, "Sec-WebSocket-Key: ");
    CHECK(key != NULL && strncmp(head, "GET /ws?a=b HTTP/1.1\r\n", 22) == 0);
    int n = snprintf(joined, sizeof joined, "%.24s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key + 19);
    SHA1((const unsigned char *)joined, (size_t)n - wrong, digest);
    EVP_EncodeBlock((unsigned char *)accept_text, digest, sizeof digest);
    n = snprintf(answer, sizeof answer,
                 "HTTP/1.1 101 Switching Protocols\r\nupgrade: WebSocket\r\nConnection: upgrade\r\n"
                 "sec-websocket-accept: %s\r\n\r\n",
                 accept_text);
    peer_write(peer, answer, (size_t)n);
    return true;
}

/* first: the frame's first byte. Lengths in the shortest form. */
static inline void peer_frame(struct peer *peer, int first, const void *payload, size_t length)
{
    unsigned char header[10] = {(unsigned char)first};
    size_t n = 2;
    if (length < 126) {
        header[1] = (unsigned char)length;
    } else if (length < 65536) {
        header[1] = 126;
        header[2] = (unsigned char)(length >> 8);
        header[3] = (unsigned char)length;
        n = 4;
    } else {
        header[1] = 127;
        for (int i = 0; i < 8; i++)
            header[2 + i] = (unsigned char)(length >> (56 - 8 * i));
        n = 10;
    }
    peer_write(peer, header, n);
    peer_write(peer, payload, length);
}

/* A client's frame, which must be masked: its first byte, or -1 at the end; payload gets a NUL. */
static inline int peer_read_frame(struct peer *peer, char *payload, size_t *length)
{
    unsigned char header[2], extended[2], mask[4];
    if (!peer_read_all(peer, header, 2))
        return -1;
    CHECK((header[1] & 0x80) != 0);
    *length = header[1] & 0x7f;
    if (*length == 126) {
        CHECK(peer_read_all(peer, extended, 2));
        *length = (size_t)extended[0] << 8 | extended[1];
    }
    CHECK(peer_read_all(peer, mask, 4) && peer_read_all(peer, payload, *length));
    for (size_t i = 0; i < *length; i++)
        payload[i] = (char)(payload[i] ^ mask[i & 3]);
    payload[*length] = '\0';
    return header[0];
}

#endif
