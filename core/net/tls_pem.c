/* SPDX-License-Identifier: MIT */
/*
 * Certificates and private keys as PEM texts: reading them, and saying what is wrong with them. A
 * message names subjects and reasons, never a byte of a key.
 */
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <time.h>

#include "base/limits.h"
#include "net/tls_internal.h"

/* Asked for the passphrase of an encrypted text: there is none. */
static int no_passphrase(char *out, int size, int writing, void *asked) {
    (void)out, (void)size, (void)writing;
    *(bool *)asked = true;
    return -1;
}

static BIO *open_text(struct str pem, struct err *err) {
    if (pem.n > MAX_PEM) {
        err_set(err, "expected at most %zu bytes of PEM, found %zu", MAX_PEM, pem.n);
        return NULL;
    }
    BIO *bio = BIO_new_mem_buf(pem.n ? pem.p : "", (int)pem.n);
    if (!bio) {
        err_set(err, "memory is short");
    }
    return bio;
}

/* The next certificate; NULL with *broken false at the end of the text. */
static X509 *next_cert(BIO *bio, bool *broken) {
    bool asked = false;
    X509 *cert = PEM_read_bio_X509(bio, NULL, no_passphrase, &asked);
    unsigned long e = ERR_peek_last_error();
    *broken = !cert && !(ERR_GET_LIB(e) == ERR_LIB_PEM && ERR_GET_REASON(e) == PEM_R_NO_START_LINE);
    ERR_clear_error();
    return cert;
}

static void no_cert(struct str pem, struct err *err) {
    bool key = pem.n && memmem(pem.p, pem.n, "PRIVATE KEY-----", 16);
    err_set(err, "expected a PEM certificate (\"-----BEGIN CERTIFICATE-----\"), found %s",
            pem.n == 0 ? "nothing"
            : key      ? "a private key"
                       : "none");
}

X509 *tls_read_cert(struct str pem, STACK_OF(X509) * *chain, struct err *err) {
    BIO *bio = open_text(pem, err);
    STACK_OF(X509) *more = bio ? sk_X509_new_null() : NULL;
    bool broken = false;
    X509 *first = more ? next_cert(bio, &broken) : NULL;
    X509 *next;
    bool whole = first != NULL;
    while (whole && (next = next_cert(bio, &broken)) != NULL) {
        whole = sk_X509_num(more) < MAX_TLS_CHAIN && sk_X509_push(more, next) > 0;
        if (!whole) {
            X509_free(next);
            err_set(err, "expected at most %d certificates in one chain", MAX_TLS_CHAIN);
        }
    }
    if (bio && !more) {
        err_set(err, "memory is short");
    } else if (bio && broken) {
        err_set(err, "holds a PEM certificate that cannot be read: is it cut off?");
        whole = false;
    } else if (bio && !first) {
        no_cert(pem, err);
    }
    BIO_free(bio);
    if (whole && chain) {
        *chain = more;
    } else {
        sk_X509_pop_free(more, X509_free);
    }
    if (!whole) {
        X509_free(first);
        first = NULL;
    }
    return first;
}

EVP_PKEY *tls_read_key(struct str pem, struct err *err) {
    bool asked = false;
    BIO *bio = open_text(pem, err);
    if (!bio) {
        return NULL;
    }
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, &asked);
    BIO_free(bio);
    ERR_clear_error();
    if (!key && asked) {
        err_set(err, "the private key is protected by a passphrase, which nobody could type here; "
                     "expected one without (openssl pkey -in FILE -out FILE)");
    } else if (!key) {
        bool cert = pem.n && memmem(pem.p, pem.n, "BEGIN CERTIFICATE-----", 22);
        err_set(err, "expected a PEM private key (\"-----BEGIN PRIVATE KEY-----\"), found %s",
                pem.n == 0 ? "nothing"
                : cert     ? "a certificate"
                           : "none that can be read");
    }
    return key;
}

static bool first_dns_name(X509 *cert, char *out, size_t size) {
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    bool found = false;
    for (int i = 0; !found && i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type == GEN_DNS) {
            const unsigned char *text = ASN1_STRING_get0_data(name->d.dNSName);
            int n = ASN1_STRING_length(name->d.dNSName);
            str_copy(out, size, str_make((const char *)text, n > 0 ? (size_t)n : 0));
            found = out[0] != '\0';
        }
    }
    GENERAL_NAMES_free(names);
    return found;
}

void tls_name_cert(X509 *cert, char *out, size_t size) {
    out[0] = '\0';
    if (!first_dns_name(cert, out, size)) {
        X509_NAME_oneline(X509_get_subject_name(cert), out, (int)size);
    }
    for (char *p = out; *p; p++) { /* it goes into messages as it is */
        *p = (unsigned char)*p < ' ' || *p == 127 || *p == '"' ? '?' : *p;
    }
    ERR_clear_error();
}

static int64_t seconds_of(const ASN1_TIME *t) {
    struct tm tm;
    return ASN1_TIME_to_tm(t, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

int tls_check_cert(struct str pem, struct tls_cert_info *info, struct err *err) {
    X509 *cert = tls_read_cert(pem, NULL, err);
    if (cert && info) {
        info->not_before = seconds_of(X509_get0_notBefore(cert));
        info->not_after = seconds_of(X509_get0_notAfter(cert));
        tls_name_cert(cert, info->subject, sizeof(info->subject));
    }
    X509_free(cert);
    return cert ? 0 : -1;
}

int tls_check_key(struct str pem, struct err *err) {
    EVP_PKEY *key = tls_read_key(pem, err);
    EVP_PKEY_free(key);
    return key ? 0 : -1;
}

int tls_check_pair(const struct tls_identity *identity, struct err *err) {
    SSL_CTX *ctx = SSL_CTX_new(TLS_method());
    if (!ctx) {
        return err_set(err, "memory is short");
    }
    int r = tls_use_identity(ctx, identity, err);
    SSL_CTX_free(ctx);
    return r;
}

int tls_check_ca(struct str pem, struct err *err) {
    BIO *bio = open_text(pem, err);
    bool broken = false;
    size_t n = 0;
    X509 *cert;
    if (!bio) {
        return -1;
    }
    while ((cert = next_cert(bio, &broken)) != NULL) {
        X509_free(cert);
        n++;
    }
    BIO_free(bio);
    if (broken) {
        return err_set(err, "certificate %zu of it cannot be read: is it cut off?", n + 1);
    }
    if (n == 0) {
        no_cert(pem, err);
        return -1;
    }
    return 0;
}

/* 1 as OpenSSL says it. */
static int use(SSL_CTX *ctx, X509 *cert, EVP_PKEY *key, STACK_OF(X509) * chain, struct err *err) {
    char name[128];
    tls_name_cert(cert, name, sizeof(name));
    if (X509_check_private_key(cert, key) != 1) {
        ERR_clear_error();
        err_set(err, "the private key does not belong to the certificate of \"%s\"", name);
        return 0;
    }
    if (SSL_CTX_use_cert_and_key(ctx, cert, key, chain, 1) != 1) {
        err_set(err, "the certificate of \"%s\" cannot be used: %s", name, tls_reason());
        return 0;
    }
    return 1;
}

int tls_use_identity(SSL_CTX *ctx, const struct tls_identity *identity, struct err *err) {
    STACK_OF(X509) *chain = NULL;
    X509 *cert = tls_read_cert(identity->cert, &chain, err);
    EVP_PKEY *key = cert ? tls_read_key(identity->key, err) : NULL;
    int ok = key ? use(ctx, cert, key, chain, err) : 0;
    sk_X509_pop_free(chain, X509_free);
    X509_free(cert);
    EVP_PKEY_free(key);
    return ok == 1 ? 0 : -1;
}
