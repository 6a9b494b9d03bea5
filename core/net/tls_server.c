/* SPDX-License-Identifier: MIT */
/*
 * Our side as a server: identities and the choice among them, ALPN, tickets. One SSL_CTX carries
 * the first identity; another one is put in its place in the session that asked for its name.
 * Sessions are resumed by ticket only, so no memory is kept for clients that left.
 */
#include <openssl/x509v3.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/limits.h"
#include "net/tls_internal.h"

struct chosen {
    X509 *cert;
    STACK_OF(X509) * chain;
    EVP_PKEY *key;
};

struct tls_server {
    struct tls_base base;
    atomic_int refs;
    size_t n;
    struct chosen identities[]; /* the first is also base.ctx's */
};

static bool has_name(X509 *cert, const char *name, unsigned flags) {
    return X509_check_host(cert, name, 0, flags | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS, NULL) == 1;
}

/* The place of the identity for a name. */
static size_t find(const struct tls_server *s, const char *name) {
    static const unsigned passes[] = {X509_CHECK_FLAG_NO_WILDCARDS, 0};
    for (size_t p = 0; p < 2; p++) {
        for (size_t i = 0; i < s->n; i++) {
            if (has_name(s->identities[i].cert, name, passes[p])) {
                return i;
            }
        }
    }
    return 0;
}

static int on_cert(SSL *ssl, void *arg) {
    const struct tls_server *s = arg;
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    size_t i = name && s->n > 1 ? find(s, name) : 0;
    if (i == 0) {
        return 1;
    }
    const struct chosen *c = &s->identities[i];
    SSL_certs_clear(ssl); /* else the first's certificate may still be the better fit */
    return SSL_use_cert_and_key(ssl, c->cert, c->key, c->chain, 1);
}

static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_n,
                   const unsigned char *offered, unsigned n, void *arg) {
    static const unsigned char ours[] = "\010http/1.1";
    unsigned char *chosen = NULL;
    (void)ssl, (void)arg;
    int r = SSL_select_next_proto(&chosen, out_n, ours, sizeof(ours) - 1, offered, n);
    *out = chosen;
    return r == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

static int set_up(struct tls_server *s) {
    static const unsigned char id[] = "moongate";
    SSL_CTX *ctx = s->base.ctx;
    SSL_CTX_set_cert_cb(ctx, on_cert, s);
    SSL_CTX_set_alpn_select_cb(ctx, on_alpn, NULL);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    return SSL_CTX_set_session_id_context(ctx, id, sizeof(id) - 1) == 1 ? 0 : -1;
}

static int add_identity(struct tls_server *s, const struct tls_identity *identity,
                        struct err *err) {
    struct chosen *c = &s->identities[s->n];
    if (s->n == 0 && tls_use_identity(s->base.ctx, identity, err) != 0) {
        return -1;
    }
    if (s->n > 0 && tls_check_pair(identity, err) != 0) {
        return -1;
    }
    c->cert = tls_read_cert(identity->cert, &c->chain, err);
    c->key = c->cert ? tls_read_key(identity->key, err) : NULL;
    s->n++;
    return c->key ? 0 : -1;
}

static void server_free(struct tls_server *s) {
    for (size_t i = 0; i < s->n; i++) {
        X509_free(s->identities[i].cert);
        sk_X509_pop_free(s->identities[i].chain, X509_free);
        EVP_PKEY_free(s->identities[i].key);
    }
    tls_base_release(&s->base);
    free(s);
}

struct tls_server *tls_server_new(const struct tls_identity *identities, size_t n,
                                  struct err *err) {
    if (n == 0 || n > MAX_TLS_IDENTITIES) {
        err_set(err, "expected 1 to %d certificates, found %zu", MAX_TLS_IDENTITIES, n);
        return NULL;
    }
    struct tls_server *s = calloc(1, sizeof(*s) + n * sizeof(s->identities[0]));
    if (!s) {
        err_set(err, "memory is short");
        return NULL;
    }
    atomic_init(&s->refs, 1);
    int r = tls_base_init(&s->base, TLS_server_method(), err);
    if (r == 0 && set_up(s) != 0) {
        r = err_set(err, "memory is short");
    }
    for (size_t i = 0; r == 0 && i < n; i++) {
        r = add_identity(s, &identities[i], err);
    }
    if (r == 0) {
        return s;
    }
    server_free(s);
    return NULL;
}

struct tls_server *tls_server_ref(struct tls_server *s) {
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

void tls_server_unref(struct tls_server *s) {
    if (s && atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) == 1) {
        server_free(s);
    }
}

struct tls *tls_accept(struct tls_server *s, int fd) {
    struct tls *t = tls_new(&s->base, fd);
    if (t) {
        t->server = tls_server_ref(s);
        SSL_set_accept_state(t->ssl);
    }
    return t;
}
