/* SPDX-License-Identifier: MIT */
/*
 * Certificates for tests, made in memory: authorities and what they sign, as PEM texts. Everything
 * made belongs to the caller, who frees it with cert_release. Failures end the test.
 */
#ifndef TESTS_CERTS_H
#define TESTS_CERTS_H

#include <assert.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "net/tls.h"

#define CERT_DAY (24 * 60 * 60)

struct cert {
    X509 *x509;
    EVP_PKEY *key;
    char *pem, *key_pem; /* terminated */
};

struct cert_options {
    const char *cn;
    const char *names;         /* "DNS:a.test,IP:127.0.0.1"; NULL: none */
    const struct cert *issuer; /* NULL: signs itself */
    bool ca, rsa;
    long from, until; /* seconds from now; both 0: yesterday to tomorrow */
};

static inline char *cert_text(BIO *bio) {
    char *data = NULL;
    long n = BIO_get_mem_data(bio, &data);
    char *text = strndup(data, (size_t)n);
    BIO_free(bio);
    return text;
}

static inline void cert_extend(X509 *x, X509 *issuer, int nid, const char *value) {
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    assert(e && X509_add_ext(x, e, -1) == 1);
    X509_EXTENSION_free(e);
}

static inline void cert_fill(X509 *x, const struct cert_options *o, EVP_PKEY *key) {
    static long serial = 1;
    long from = o->from || o->until ? o->from : -CERT_DAY;
    long until = o->from || o->until ? o->until : CERT_DAY;
    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), serial++);
    X509_gmtime_adj(X509_getm_notBefore(x), from);
    X509_gmtime_adj(X509_getm_notAfter(x), until);
    X509_set_pubkey(x, key);
    X509_NAME *name = X509_get_subject_name(x);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)o->cn, -1, -1, 0);
    X509_set_issuer_name(x, o->issuer ? X509_get_subject_name(o->issuer->x509) : name);
}

static inline struct cert cert_make(const struct cert_options *o) {
    struct cert c = {.x509 = X509_new(), .key = o->rsa ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256")};
    assert(c.x509 && c.key);
    cert_fill(c.x509, o, c.key);
    X509 *issuer = o->issuer ? o->issuer->x509 : c.x509;
    if (o->ca) {
        cert_extend(c.x509, issuer, NID_basic_constraints, "critical,CA:TRUE");
        cert_extend(c.x509, issuer, NID_key_usage, "critical,keyCertSign,cRLSign");
    }
    cert_extend(c.x509, issuer, NID_subject_key_identifier, "hash");
    if (o->names) {
        cert_extend(c.x509, issuer, NID_subject_alt_name, o->names);
    }
    assert(X509_sign(c.x509, o->issuer ? o->issuer->key : c.key, EVP_sha256()) > 0);
    BIO *pem = BIO_new(BIO_s_mem());
    BIO *key = BIO_new(BIO_s_mem());
    assert(PEM_write_bio_X509(pem, c.x509) == 1);
    assert(PEM_write_bio_PrivateKey(key, c.key, NULL, NULL, 0, NULL, NULL) == 1);
    c.pem = cert_text(pem);
    c.key_pem = cert_text(key);
    return c;
}

static inline struct cert cert_ca(const char *cn) {
    return cert_make(&(struct cert_options){.cn = cn, .ca = true});
}

static inline struct cert cert_for(const struct cert *ca, const char *names) {
    return cert_make(&(struct cert_options){.cn = "leaf", .names = names, .issuer = ca});
}

/* The key again, protected by a passphrase. The caller frees it. */
static inline char *cert_locked_key(const struct cert *c) {
    BIO *bio = BIO_new(BIO_s_mem());
    assert(PEM_write_bio_PKCS8PrivateKey(bio, c->key, EVP_aes_128_cbc(), "secret", 6, NULL, NULL));
    return cert_text(bio);
}

static inline void cert_release(struct cert *c) {
    X509_free(c->x509);
    EVP_PKEY_free(c->key);
    free(c->pem);
    free(c->key_pem);
}

static inline struct tls_identity cert_identity(const struct cert *c) {
    return (struct tls_identity){str_of(c->pem), str_of(c->key_pem)};
}

#endif
