/* SPDX-License-Identifier: MIT */
/*
 * One TLS session over a socket. OpenSSL's error queue is the thread's: it is emptied before each
 * call, and read only where a call failed. The socket is written with MSG_NOSIGNAL, since an
 * embedding program may not ignore SIGPIPE; OpenSSL's own socket BIO cannot do that.
 */
#include <errno.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "net/tls_internal.h"

/* Ours among the types of BIOs; only BIO_find_type would care. */
#define SOCKET_BIO (BIO_TYPE_SOURCE_SINK | 127)

static bool try_again(int error) {
    return error == EAGAIN || error == EWOULDBLOCK || error == EINTR;
}

static int socket_write(BIO *bio, const char *data, int n) {
    const struct tls *t = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    ssize_t sent = send(t->fd, data, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && try_again(errno)) {
        BIO_set_retry_write(bio);
    }
    return (int)sent;
}

static int socket_read(BIO *bio, char *out, int n) {
    const struct tls *t = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    ssize_t got = recv(t->fd, out, (size_t)n, MSG_DONTWAIT);
    if (got == 0) {
        BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
    } else if (got < 0 && try_again(errno)) {
        BIO_set_retry_read(bio);
    }
    return (int)got;
}

static long socket_ctrl(BIO *bio, int command, long number, void *pointer) {
    (void)number, (void)pointer;
    switch (command) {
    case BIO_CTRL_FLUSH:
        return 1;
    case BIO_CTRL_EOF:
        return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0;
    default:
        return 0;
    }
}

static BIO_METHOD *socket_method(void) {
    BIO_METHOD *m = BIO_meth_new(SOCKET_BIO, "socket");
    if (m && BIO_meth_set_write(m, socket_write) && BIO_meth_set_read(m, socket_read) &&
        BIO_meth_set_ctrl(m, socket_ctrl)) {
        return m;
    }
    BIO_meth_free(m);
    return NULL;
}

/* TLS 1.2 with forward secrecy and authenticated encryption, and all of TLS 1.3. Renegotiation was
 * never of use to anybody but attackers. */
static int set_protocol(SSL_CTX *ctx) {
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    /* Idle sessions hold no record buffers; output moves when more is added behind it. */
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(ctx, 1); /* a record's head and body in one recv */
    return SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) == 1 &&
                   SSL_CTX_set_cipher_list(ctx, "ECDHE+AESGCM:ECDHE+CHACHA20") == 1
               ? 0
               : -1;
}

int tls_base_init(struct tls_base *base, const SSL_METHOD *method, struct err *err) {
    ERR_clear_error();
    base->socket = socket_method();
    base->ctx = base->socket ? SSL_CTX_new(method) : NULL;
    if (!base->ctx || set_protocol(base->ctx) != 0) {
        return err_set(err, "TLS cannot be set up: %s", tls_reason());
    }
    return 0;
}

void tls_base_release(struct tls_base *base) {
    SSL_CTX_free(base->ctx);
    BIO_meth_free(base->socket);
}

const char *tls_reason(void) {
    unsigned long e = ERR_peek_last_error();
    const char *reason = e ? ERR_reason_error_string(e) : NULL;
    ERR_clear_error();
    return reason ? reason : "out of memory?";
}

struct tls *tls_new(const struct tls_base *base, int fd) {
    struct tls *t = calloc(1, sizeof(*t));
    BIO *bio = t ? BIO_new(base->socket) : NULL;
    if (!bio) {
        free(t);
        return NULL;
    }
    t->fd = fd;
    BIO_set_data(bio, t);
    BIO_set_init(bio, 1);
    t->ssl = SSL_new(base->ctx);
    if (!t->ssl || SSL_set_app_data(t->ssl, t) != 1) {
        SSL_free(t->ssl);
        BIO_free(bio);
        free(t);
        ERR_clear_error();
        return NULL;
    }
    SSL_set_bio(t->ssl, bio, bio);
    return t;
}

struct tls *tls_of(const SSL *ssl) {
    return SSL_get_app_data(ssl);
}

void tls_free(struct tls *t) {
    if (!t) {
        return;
    }
    tls_close(t);
    SSL_free(t->ssl);
    tls_server_unref(t->server);
    tls_client_unref(t->client);
    free(t->name);
    free(t);
}

/* Our own check failed: OpenSSL only says "certificate verify failed". Where nobody insists on the
 * check it is made all the same, and nothing fails for it. */
static bool explain_verify(struct tls *t) {
    long result = SSL_get_verify_result(t->ssl);
    if (result == X509_V_OK || SSL_get_verify_mode(t->ssl) == SSL_VERIFY_NONE) {
        return false;
    }
    bool other = result == X509_V_ERR_HOSTNAME_MISMATCH || result == X509_V_ERR_IP_ADDRESS_MISMATCH;
    snprintf(t->error, sizeof(t->error), "the certificate is not accepted: %s%s%s%s",
             X509_verify_cert_error_string(result), other ? ", it is for \"" : "",
             other ? t->peer : "", other ? "\"" : "");
    return true;
}

static int fail(struct tls *t, const char *what) {
    t->failed = true;
    if (!explain_verify(t)) {
        snprintf(t->error, sizeof(t->error), "%s", what);
    }
    ERR_clear_error();
    return TLS_FAILED;
}

static int cut_off(struct tls *t) {
    t->failed = true;
    snprintf(t->error, sizeof(t->error), "the connection was closed %s",
             t->ready ? "without a TLS close" : "in the TLS handshake");
    ERR_clear_error();
    return TLS_TRUNCATED;
}

static int protocol_error(struct tls *t) {
    unsigned long e = ERR_peek_last_error();
    int reason = ERR_GET_LIB(e) == ERR_LIB_SSL ? ERR_GET_REASON(e) : 0;
    if (reason == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
        return cut_off(t);
    }
    if (t->server && (reason == SSL_R_HTTP_REQUEST || reason == SSL_R_HTTPS_PROXY_REQUEST)) {
        fail(t, "plain HTTP was sent to a TLS port");
        return TLS_PLAIN_HTTP;
    }
    return fail(t, tls_reason());
}

/* What a call that returned r <= 0 means. */
static int outcome(struct tls *t, int r) {
    int saved = errno;
    switch (SSL_get_error(t->ssl, r)) {
    case SSL_ERROR_WANT_READ:
        return TLS_WANT_READ;
    case SSL_ERROR_WANT_WRITE:
        return TLS_WANT_WRITE;
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    case SSL_ERROR_SSL:
        return protocol_error(t);
    case SSL_ERROR_SYSCALL:
        return saved == 0 ? cut_off(t) : fail(t, strerror(saved));
    default:
        return fail(t, "the TLS session is in an unexpected state");
    }
}

static void before_call(void) {
    ERR_clear_error();
    errno = 0;
}

int tls_handshake(struct tls *t) {
    if (t->failed) {
        return TLS_FAILED;
    }
    before_call();
    int r = SSL_do_handshake(t->ssl);
    if (r == 1) {
        t->ready = true;
        return 0;
    }
    r = outcome(t, r);
    return r == 0 ? cut_off(t) : r;
}

ssize_t tls_read(struct tls *t, void *out, size_t n) {
    size_t got = 0;
    if (t->failed) {
        return TLS_FAILED;
    }
    before_call();
    int r = SSL_read_ex(t->ssl, out, n, &got);
    if (r == 1) {
        t->dry = false;
        return (ssize_t)got;
    }
    t->dry = true;
    return outcome(t, r);
}

ssize_t tls_write(struct tls *t, const void *data, size_t n) {
    size_t sent = 0;
    if (t->failed) {
        return TLS_FAILED;
    }
    before_call();
    int r = SSL_write_ex(t->ssl, data, n, &sent);
    if (r == 1) {
        return (ssize_t)sent;
    }
    r = outcome(t, r);
    return r == 0 ? fail(t, "written after the end") : r;
}

int tls_close(struct tls *t) {
    if (t->failed || !t->ready || (SSL_get_shutdown(t->ssl) & SSL_SENT_SHUTDOWN)) {
        return t->failed ? TLS_FAILED : 0;
    }
    before_call();
    int r = SSL_shutdown(t->ssl);
    if (r >= 0) {
        return 0;
    }
    r = outcome(t, r);
    return r == TLS_WANT_READ ? 0 : r;
}

void tls_silence(struct tls *t) {
    t->failed = true;
}

bool tls_pending(const struct tls *t) {
    return t->ready && !t->failed && !t->dry && SSL_has_pending(t->ssl) == 1;
}

bool tls_resumed(const struct tls *t) {
    return SSL_session_reused(t->ssl) == 1;
}

const char *tls_version(const struct tls *t) {
    return SSL_get_version(t->ssl);
}

const char *tls_error(const struct tls *t) {
    return t->error;
}
