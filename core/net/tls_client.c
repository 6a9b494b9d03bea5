/* SPDX-License-Identifier: MIT */
/*
 * Our side as a client: whom we trust, who we say we are, and the sessions that may be resumed. A
 * session is kept and given out as a copy, since OpenSSL changes sessions while they are in use and
 * our workers share the client.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/limits.h"
#include "net/tls_internal.h"

enum { MAX_NAME = 255 };

struct kept {
    char *name;
    SSL_SESSION *session;
};

struct tls_client {
    struct tls_base base;
    atomic_int refs;
    uint64_t id;
    struct tls_client_options options; /* texts owned */
    pthread_mutex_t lock;              /* of what follows */
    struct kept kept[MAX_TLS_SESSIONS];
    size_t oldest; /* the place that goes next */
};

/* ---- Sessions to resume ---- */

static struct kept *kept_for(struct tls_client *c, const char *name) {
    for (size_t i = 0; i < MAX_TLS_SESSIONS; i++) {
        if (c->kept[i].name && strcmp(c->kept[i].name, name) == 0) {
            return &c->kept[i];
        }
    }
    return NULL;
}

static struct kept *place_for(struct tls_client *c, const char *name) {
    struct kept *k = kept_for(c, name);
    if (k) {
        return k;
    }
    k = &c->kept[c->oldest];
    c->oldest = (c->oldest + 1) % MAX_TLS_SESSIONS;
    free(k->name);
    k->name = str_dup(str_of(name));
    return k;
}

void tls_client_keep(struct tls_client *c, const char *name, SSL_SESSION *session) {
    SSL_SESSION *copy = SSL_SESSION_is_resumable(session) ? SSL_SESSION_dup(session) : NULL;
    if (!copy) {
        ERR_clear_error();
        return;
    }
    pthread_mutex_lock(&c->lock);
    struct kept *k = place_for(c, name);
    SSL_SESSION_free(k->session);
    k->session = copy;
    pthread_mutex_unlock(&c->lock);
}

static int on_session(SSL *ssl, SSL_SESSION *session) {
    struct tls *t = tls_of(ssl);
    if (t && t->client && t->name) {
        tls_client_keep(t->client, t->name, session);
    }
    return 0; /* no reference kept */
}

static void resume(struct tls *t) {
    struct tls_client *c = t->client;
    pthread_mutex_lock(&c->lock);
    const struct kept *k = kept_for(c, t->name);
    SSL_SESSION *session = k && k->session ? SSL_SESSION_dup(k->session) : NULL;
    pthread_mutex_unlock(&c->lock);
    if (session) {
        SSL_set_session(t->ssl, session);
        SSL_SESSION_free(session);
    }
    ERR_clear_error();
}

/* ---- Whom we trust ---- */

static int trust_own(SSL_CTX *ctx, struct str pem, struct err *err) {
    X509_STORE *store = SSL_CTX_get_cert_store(ctx);
    if (tls_check_ca(pem, err) != 0) {
        return -1;
    }
    BIO *bio = BIO_new_mem_buf(pem.p, (int)pem.n);
    X509 *cert;
    int ok = bio != NULL;
    while (ok && (cert = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL) {
        ok = X509_STORE_add_cert(store, cert);
        X509_free(cert);
    }
    BIO_free(bio);
    ERR_clear_error();
    /* As libcurl does: a certificate in the file is trusted even if it is no root. */
    X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
    return ok ? 0 : err_set(err, "memory is short");
}

/* "5ad8a5d6.0": made by c_rehash. */
static bool is_hash_name(const char *name) {
    size_t n = strspn(name, "0123456789abcdef");
    return n == 8 && name[8] == '.' && name[9] >= '0' && name[9] <= '9';
}

static bool folder_is_hashed(const char *folder) {
    DIR *dir = opendir(folder);
    bool found = false;
    const struct dirent *entry;
    while (dir && !found && (entry = readdir(dir)) != NULL) {
        found = is_hash_name(entry->d_name);
    }
    if (dir) {
        closedir(dir);
    }
    return found;
}

/* A folder by hash costs nothing until a certificate is looked for; a bundle has to be parsed. */
static int trust_system(SSL_CTX *ctx, struct err *err) {
    const char *files[] = {X509_get_default_cert_file(), "/etc/ssl/certs/ca-certificates.crt",
                           "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"};
    const char *folder = X509_get_default_cert_dir();
    bool found = folder_is_hashed(folder) && SSL_CTX_load_verify_dir(ctx, folder) == 1;
    for (size_t i = 0; !found && i < sizeof(files) / sizeof(*files); i++) {
        found = SSL_CTX_load_verify_file(ctx, files[i]) == 1;
    }
    ERR_clear_error();
    return found ? 0
                 : err_set(err, "the system has no certificates of authorities (package "
                                "ca-certificates): give a file of your own as tls.ca");
}

/* Notes whose certificate is refused: OpenSSL forgets it. */
static int on_verify(int good, X509_STORE_CTX *store) {
    const SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    X509 *cert = good ? NULL : X509_STORE_CTX_get0_cert(store);
    struct tls *t = cert && ssl ? tls_of(ssl) : NULL;
    if (t) {
        tls_name_cert(cert, t->peer, sizeof(t->peer));
    }
    return good;
}

static int set_trust(struct tls_client *c, struct err *err) {
    const struct tls_client_options *o = &c->options;
    SSL_CTX_set_verify(c->base.ctx, o->verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE,
                       o->verify ? on_verify : NULL);
    if (o->ca.n > 0) {
        return trust_own(c->base.ctx, o->ca, err);
    }
    return o->verify ? trust_system(c->base.ctx, err) : 0;
}

/* ---- Life ---- */

static int copy_text(struct str *to, struct str from) {
    char *copy = from.n ? str_dup(from) : NULL;
    *to = str_make(copy, copy ? from.n : 0);
    return copy || from.n == 0 ? 0 : -1;
}

static void free_text(struct str *text) {
    if (text->n) {
        OPENSSL_cleanse((char *)(uintptr_t)text->p, text->n);
    }
    free((char *)(uintptr_t)text->p);
    *text = str_make(NULL, 0);
}

static int copy_options(struct tls_client *c, const struct tls_client_options *o, struct err *err) {
    c->options.verify = o->verify;
    if (copy_text(&c->options.ca, o->ca) || copy_text(&c->options.cert, o->cert) ||
        copy_text(&c->options.key, o->key)) {
        return err_set(err, "memory is short");
    }
    return 0;
}

/* Of the hashes of all that counts: texts that are joined could be cut elsewhere. */
static uint64_t identify(const struct tls_client_options *o) {
    unsigned char all[3 * HASH_SIZE + 1], hash[HASH_SIZE];
    uint64_t id = 0;
    hash_sha256(o->ca, all);
    hash_sha256(o->cert, all + HASH_SIZE);
    hash_sha256(o->key, all + 2 * HASH_SIZE);
    all[3 * HASH_SIZE] = o->verify;
    hash_sha256(str_make((const char *)all, sizeof(all)), hash);
    memcpy(&id, hash, sizeof(id));
    return id ? id : 1;
}

static int set_up(struct tls_client *c, struct err *err) {
    static const unsigned char alpn[] = "\010http/1.1";
    const struct tls_client_options *o = &c->options;
    SSL_CTX *ctx = c->base.ctx;
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx, on_session);
    if (SSL_CTX_set_alpn_protos(ctx, alpn, sizeof(alpn) - 1) != 0) {
        return err_set(err, "memory is short");
    }
    if (o->cert.n == 0 && o->key.n == 0) {
        return 0;
    }
    struct tls_identity identity = {o->cert, o->key};
    return tls_use_identity(ctx, &identity, err);
}

static void client_free(struct tls_client *c) {
    for (size_t i = 0; i < MAX_TLS_SESSIONS; i++) {
        free(c->kept[i].name);
        SSL_SESSION_free(c->kept[i].session);
    }
    free_text(&c->options.ca);
    free_text(&c->options.cert);
    free_text(&c->options.key);
    tls_base_release(&c->base);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

struct tls_client *tls_client_new(const struct tls_client_options *options, struct err *err) {
    struct tls_client *c = calloc(1, sizeof(*c));
    if (!c || pthread_mutex_init(&c->lock, NULL) != 0) {
        free(c);
        err_set(err, "memory is short");
        return NULL;
    }
    atomic_init(&c->refs, 1);
    c->id = identify(options);
    if (copy_options(c, options, err) == 0 &&
        tls_base_init(&c->base, TLS_client_method(), err) == 0 && set_up(c, err) == 0 &&
        set_trust(c, err) == 0) {
        return c;
    }
    client_free(c);
    return NULL;
}

struct tls_client *tls_client_ref(struct tls_client *c) {
    atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    return c;
}

void tls_client_unref(struct tls_client *c) {
    if (c && atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) == 1) {
        client_free(c);
    }
}

const struct tls_client_options *tls_client_options(const struct tls_client *c) {
    return &c->options;
}

uint64_t tls_client_id(const struct tls_client *c) {
    return c->id;
}

/* ---- Connecting ---- */

static bool is_address(const char *name) {
    unsigned char parsed[sizeof(struct in6_addr)];
    return inet_pton(AF_INET, name, parsed) == 1 || inet_pton(AF_INET6, name, parsed) == 1;
}

static int expect_name(struct tls *t) {
    X509_VERIFY_PARAM *param = SSL_get0_param(t->ssl);
    if (is_address(t->name)) { /* RFC 6066: an address is no server name */
        return X509_VERIFY_PARAM_set1_ip_asc(param, t->name);
    }
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return SSL_set_tlsext_host_name(t->ssl, t->name) == 1 &&
           X509_VERIFY_PARAM_set1_host(param, t->name, 0) == 1;
}

/* "api.example.com." is the same host, but no certificate says so. */
static char *copy_name(const char *name) {
    struct str s = str_of(name);
    s.n -= s.n > 1 && s.p[s.n - 1] == '.';
    return s.n > 0 && s.n <= MAX_NAME ? str_dup(s) : NULL;
}

struct tls *tls_connect(struct tls_client *c, int fd, const char *server_name) {
    struct tls *t = tls_new(&c->base, fd);
    if (!t) {
        return NULL;
    }
    t->client = tls_client_ref(c);
    t->name = copy_name(server_name);
    if (!t->name || expect_name(t) != 1) {
        ERR_clear_error();
        tls_free(t);
        return NULL;
    }
    SSL_set_connect_state(t->ssl);
    resume(t);
    return t;
}
