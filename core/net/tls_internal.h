/* SPDX-License-Identifier: MIT */
/*
 * What the files of TLS share: tls.c (sessions), tls_server.c, tls_client.c (the two ends) and
 * tls_pem.c (texts). Nobody else includes this.
 */
#ifndef NET_TLS_INTERNAL_H
#define NET_TLS_INTERNAL_H

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "net/tls.h"

/* What sessions of both ends stand on. */
struct tls_base {
    SSL_CTX *ctx;
    BIO_METHOD *socket; /* writes without SIGPIPE */
};

struct tls {
    SSL *ssl;
    int fd;
    struct tls_server *server; /* one of the two, referenced */
    struct tls_client *client;
    char *name;    /* of the server, for a client's sessions; owned */
    bool ready;    /* the handshake is done */
    bool dry;      /* the last read found nothing whole */
    bool failed;   /* or closed without notice: nothing more can be said */
    char peer[64]; /* what a certificate that is refused is for */
    char error[200];
};

/* tls.c. 0, or -1 with err; base is to be released in either case. */
int tls_base_init(struct tls_base *base, const SSL_METHOD *method, struct err *err);
void tls_base_release(struct tls_base *base);
/* A session without an end yet. NULL: memory. */
struct tls *tls_new(const struct tls_base *base, int fd);
struct tls *tls_of(const SSL *ssl);
/* The reason of OpenSSL's last error, and an empty queue. */
const char *tls_reason(void);

/* tls_client.c */
void tls_client_keep(struct tls_client *c, const char *name, SSL_SESSION *session);

/* tls_pem.c. What is read belongs to the caller. NULL with err. */
X509 *tls_read_cert(struct str pem, STACK_OF(X509) * *chain, struct err *err);
EVP_PKEY *tls_read_key(struct str pem, struct err *err);
/* A certificate as people know it. */
void tls_name_cert(X509 *cert, char *out, size_t size);
/* Cert, chain and key into ctx. -1 with err. */
int tls_use_identity(SSL_CTX *ctx, const struct tls_identity *identity, struct err *err);

#endif
