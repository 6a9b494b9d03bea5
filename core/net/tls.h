/* SPDX-License-Identifier: MIT */
/*
 * TLS 1.2 and 1.3 over sockets that do not block: who we are (tls_server), whom we trust
 * (tls_client), and one session (tls). The only room for openssl/ssl.h is net/tls*.
 *
 * Servers and clients are immutable, counted atomically, and may be used from all threads; a
 * session belongs to one thread. Nothing here waits, watches a socket or keeps a clock.
 *
 * PEM texts are checked where they come in, with messages fit for a diagnostic; no message and no
 * error shows a byte of a key.
 */
#ifndef NET_TLS_H
#define NET_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/str.h"

struct tls_server;
struct tls_client;
struct tls;

struct tls_identity {
    struct str cert, key; /* PEM: the certificate with its chain after it, and its private key */
};

struct tls_client_options {
    struct str ca; /* PEM certificates trusted instead of the system's; empty: the system's */
    struct str cert, key; /* PEM: what we show when asked who we are; both empty: nothing */
    bool verify;          /* the provider's certificate and name; false is for tests only */
};

/* ---- Looking at PEM texts: 0, or -1 with what was found and what was expected ---- */

struct tls_cert_info {
    int64_t not_before, not_after; /* seconds since the epoch */
    char subject[128];             /* its first name, or its subject */
};

/* A certificate and what follows it; *info (may be NULL) is of the first. */
int tls_check_cert(struct str pem, struct tls_cert_info *info, struct err *err)
    __attribute__((warn_unused_result));
int tls_check_key(struct str pem, struct err *err) __attribute__((warn_unused_result));
/* Both are good: do they belong together? */
int tls_check_pair(const struct tls_identity *identity, struct err *err)
    __attribute__((warn_unused_result));
/* At least one certificate, and nothing that cannot be read. */
int tls_check_ca(struct str pem, struct err *err) __attribute__((warn_unused_result));

/* ---- The two ends. All texts are copied. ---- */

/* n >= 1 identities, at most MAX_TLS_IDENTITIES: the client's SNI picks the first that has that
 * name, one that has it in full before one with a wildcard; the first identity is for all others.
 * NULL with err. */
struct tls_server *tls_server_new(const struct tls_identity *identities, size_t n, struct err *err);
struct tls_server *tls_server_ref(struct tls_server *s);
void tls_server_unref(struct tls_server *s); /* NULL is a no-op */

/* The system's certificates are looked up one by one where the system has a folder of them by hash
 * (no memory, no time here), otherwise its bundle is read now. NULL with err. */
struct tls_client *tls_client_new(const struct tls_client_options *options, struct err *err);
struct tls_client *tls_client_ref(struct tls_client *c);
void tls_client_unref(struct tls_client *c); /* NULL is a no-op */
/* As given; borrowed. SECRET: the key. */
const struct tls_client_options *tls_client_options(const struct tls_client *c);
/* The same for the same options, in every generation: connections may be shared under the same id
 * only. Never 0. */
uint64_t tls_client_id(const struct tls_client *c);

/* ---- Sessions ---- */

enum {
    TLS_WANT_READ = -1,  /* again when the socket can be read */
    TLS_WANT_WRITE = -2, /* again when it can be written; also from tls_read */
    TLS_TRUNCATED = -3,  /* the peer closed without saying so (no close_notify) */
    TLS_PLAIN_HTTP = -4, /* from the handshake of a server: the peer does not speak TLS but HTTP */
    TLS_FAILED = -5      /* tls_error says why; only tls_free is of use */
};

/* Borrow fd, which must not block and must stay open until tls_free. NULL: memory. */
struct tls *tls_accept(struct tls_server *s, int fd);
/* `server_name`: a host name (sent as SNI) or an address (without brackets); the certificate must
 * be for it. An earlier session with that name is resumed where possible. */
struct tls *tls_connect(struct tls_client *c, int fd, const char *server_name);
/* NULL is a no-op. Says close_notify when the socket takes it at once and nothing failed: call it
 * before closing fd. */
void tls_free(struct tls *t);

/* 0: done (then look at tls_pending: bytes may have come with it), or one of the above. */
int tls_handshake(struct tls *t) __attribute__((warn_unused_result));
/* > 0 bytes, 0: the peer said that it sends no more, or one of the above. Read until something
 * else than > 0 comes, or ask tls_pending: what was read from the socket already makes no event. */
ssize_t tls_read(struct tls *t, void *out, size_t n) __attribute__((warn_unused_result));
/* > 0 bytes taken, perhaps fewer than n, or one of the above. After TLS_WANT_* the same bytes must
 * come again, and more may follow them; they may have moved. n > 0. */
ssize_t tls_write(struct tls *t, const void *data, size_t n) __attribute__((warn_unused_result));
/* Neither tls_close nor tls_free says anything any more: the peer is to see that the end is none.
 */
void tls_silence(struct tls *t);
/* Says close_notify: no more is written. 0: said, or one of the above. */
int tls_close(struct tls *t);

/* Bytes may wait within the session that no event of the socket will tell of: read again. */
bool tls_pending(const struct tls *t);
bool tls_resumed(const struct tls *t);
/* "TLSv1.3", borrowed for ever. */
const char *tls_version(const struct tls *t);
/* What failed, for the log; "" when nothing did. */
const char *tls_error(const struct tls *t);

#endif
