/* SPDX-License-Identifier: MIT */
/*
 * TLS sessions over socket pairs: both ends are ours, except where a test says what the other end
 * does, and each is pushed on in turn until both are done. Nothing here waits.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/limits.h"
#include "net/tls.h"
#include "../support/certs.h"

struct pki {
    struct cert ca, leaf, other_ca, stranger;
};

static int set_up(void **state) {
    struct pki *p = calloc(1, sizeof(*p));
    p->ca = cert_ca("Test CA");
    p->other_ca = cert_ca("Another CA");
    p->leaf = cert_for(&p->ca, "DNS:a.test,IP:127.0.0.1");
    p->stranger = cert_for(&p->other_ca, "DNS:a.test");
    *state = p;
    return 0;
}

static int tear_down(void **state) {
    struct pki *p = *state;
    cert_release(&p->ca);
    cert_release(&p->leaf);
    cert_release(&p->other_ca);
    cert_release(&p->stranger);
    free(p);
    return 0;
}

/* Two ends of one connection. */
struct pair {
    int fd[2];
    struct tls *server, *client;
    int server_result, client_result; /* of the handshakes */
};

static void pair_sockets(int fd[2]) {
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
}

static bool waits(int r) {
    return r == TLS_WANT_READ || r == TLS_WANT_WRITE;
}

static void shake(struct pair *p) {
    p->server_result = p->client_result = TLS_WANT_READ;
    for (int i = 0; i < 20 && (waits(p->server_result) || waits(p->client_result)); i++) {
        if (waits(p->client_result)) {
            p->client_result = tls_handshake(p->client);
        }
        if (waits(p->server_result)) {
            p->server_result = tls_handshake(p->server);
        }
    }
}

static struct pair connect_pair(struct tls_server *s, struct tls_client *c, const char *name) {
    struct pair p;
    pair_sockets(p.fd);
    p.server = tls_accept(s, p.fd[0]);
    p.client = tls_connect(c, p.fd[1], name);
    assert_non_null(p.server);
    assert_non_null(p.client);
    shake(&p);
    return p;
}

static void drop_pair(struct pair *p) {
    tls_free(p->client);
    tls_free(p->server);
    close(p->fd[0]);
    close(p->fd[1]);
}

static struct tls_server *server_of(const struct cert *c) {
    struct err err = {""};
    struct tls_identity id = cert_identity(c);
    struct tls_server *s = tls_server_new(&id, 1, &err);
    assert_string_equal(err.text, "");
    assert_non_null(s);
    return s;
}

static struct tls_client *client_trusting(const struct cert *ca) {
    struct err err = {""};
    struct tls_client_options o = {.ca = str_of(ca->pem), .verify = true};
    struct tls_client *c = tls_client_new(&o, &err);
    assert_string_equal(err.text, "");
    assert_non_null(c);
    return c;
}

/* Handshake of a server with this certificate and a client that trusts `ca`; what the client says.
 */
static char *refusal(const struct cert *leaf, const struct cert *ca, const char *name) {
    struct tls_server *s = server_of(leaf);
    struct tls_client *c = client_trusting(ca);
    struct pair p = connect_pair(s, c, name);
    assert_int_equal(p.client_result, TLS_FAILED);
    assert_int_not_equal(p.server_result, 0);
    char *text = strdup(tls_error(p.client));
    drop_pair(&p);
    tls_server_unref(s);
    tls_client_unref(c);
    return text;
}

/* Goal: the two ends agree on TLS 1.3, carry bytes both ways, and close so that the other knows. */
static void talks_and_closes(void **state) {
    struct pki *pki = *state;
    char got[16];
    struct tls_server *s = server_of(&pki->leaf);
    struct tls_client *c = client_trusting(&pki->ca);
    struct pair p = connect_pair(s, c, "a.test");
    tls_server_unref(s); /* sessions hold what they need */
    tls_client_unref(c);
    assert_int_equal(p.client_result, 0);
    assert_int_equal(p.server_result, 0);
    assert_string_equal(tls_version(p.client), "TLSv1.3");
    assert_int_equal(tls_read(p.server, got, sizeof(got)), TLS_WANT_READ);
    assert_int_equal(tls_write(p.client, "hello", 5), 5);
    assert_int_equal(tls_read(p.server, got, sizeof(got)), 5);
    assert_memory_equal(got, "hello", 5);
    assert_int_equal(tls_write(p.server, "you", 3), 3);
    assert_int_equal(tls_read(p.client, got, sizeof(got)), 3);
    assert_int_equal(tls_close(p.server), 0);
    assert_int_equal(tls_read(p.client, got, sizeof(got)), 0);
    assert_int_equal(tls_write(p.client, "x", 1), 1); /* one side only is closed */
    assert_string_equal(tls_error(p.client), "");
    drop_pair(&p);
}

/* Goal: an address is checked against the certificate's addresses, not its names. */
static void checks_addresses(void **state) {
    struct pki *pki = *state;
    struct tls_server *s = server_of(&pki->leaf);
    struct tls_client *c = client_trusting(&pki->ca);
    struct pair p = connect_pair(s, c, "127.0.0.1");
    assert_int_equal(p.client_result, 0);
    drop_pair(&p);
    tls_server_unref(s);
    tls_client_unref(c);
    char *text = refusal(&pki->leaf, &pki->ca, "127.0.0.2");
    assert_non_null(strstr(text, "IP address mismatch"));
    free(text);
}

/* Goal: wrong name, unknown authority, expired and not yet valid certificates are refused, each
 * with its reason. */
static void refuses_wrong_certificates(void **state) {
    struct pki *pki = *state;
    struct cert old = cert_make(&(struct cert_options){.cn = "old",
                                                       .names = "DNS:a.test",
                                                       .issuer = &pki->ca,
                                                       .from = -3 * CERT_DAY,
                                                       .until = -CERT_DAY});
    struct cert young = cert_make(&(struct cert_options){.cn = "young",
                                                         .names = "DNS:a.test",
                                                         .issuer = &pki->ca,
                                                         .from = CERT_DAY,
                                                         .until = 2 * CERT_DAY});
    struct {
        const struct cert *leaf, *ca;
        const char *name, *reason;
    } cases[] = {
        {&pki->leaf, &pki->ca, "b.test", "hostname mismatch, it is for \"a.test\""},
        {&pki->stranger, &pki->ca, "a.test", "unable to get local issuer certificate"},
        {&old, &pki->ca, "a.test", "certificate has expired"},
        {&young, &pki->ca, "a.test", "certificate is not yet valid"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        char *text = refusal(cases[i].leaf, cases[i].ca, cases[i].name);
        if (!strstr(text, cases[i].reason)) {
            fail_msg("found \"%s\", expected \"%s\"", text, cases[i].reason);
        }
        free(text);
    }
    cert_release(&old);
    cert_release(&young);
}

/* Goal: verify = false takes anything, and what fails later is not told as a certificate's fault.
 */
static void may_skip_verification(void **state) {
    struct pki *pki = *state;
    struct err err;
    struct tls_client_options o = {.verify = false};
    struct tls_server *s = server_of(&pki->stranger);
    struct tls_client *c = tls_client_new(&o, &err);
    struct pair p = connect_pair(s, c, "nobody.test");
    char byte;
    assert_int_equal(p.client_result, 0);
    assert_int_equal(write(p.fd[0], "no TLS record", 13), 13);
    ssize_t r = tls_read(p.client, &byte, 1);
    while (r == TLS_WANT_READ) {
        r = tls_read(p.client, &byte, 1);
    }
    assert_int_equal(r, TLS_FAILED);
    assert_null(strstr(tls_error(p.client), "certificate"));
    drop_pair(&p);
    tls_server_unref(s);
    tls_client_unref(c);
}

static void expect_certificate(struct tls_server *s, struct tls_client *c, const char *name,
                               bool good) {
    struct pair p = connect_pair(s, c, name);
    if ((p.client_result == 0) != good) {
        fail_msg("%s: %s", name, tls_error(p.client));
    }
    drop_pair(&p);
}

/* Goal: SNI picks by name, an exact one before a wildcard that stands earlier, the first for
 * strangers. */
static void picks_by_sni(void **state) {
    struct pki *pki = *state;
    struct err err = {""};
    struct cert wild = cert_for(&pki->other_ca, "DNS:*.b.test");
    struct cert exact = cert_for(&pki->ca, "DNS:x.b.test,DNS:second.test");
    struct tls_identity ids[] = {cert_identity(&pki->leaf), cert_identity(&wild),
                                 cert_identity(&exact)};
    struct tls_server *s = tls_server_new(ids, 3, &err);
    assert_non_null(s);
    struct tls_client *c = client_trusting(&pki->ca);
    struct tls_client *w = client_trusting(&pki->other_ca);
    expect_certificate(s, c, "a.test", true);
    expect_certificate(s, c, "second.test", true);
    expect_certificate(s, c, "x.b.test", true);
    expect_certificate(s, w, "y.b.test", true);
    expect_certificate(s, w, "Y.B.TEST", true);
    expect_certificate(s, w, "z.y.b.test", false); /* a wildcard is for one label */
    expect_certificate(s, c, "127.0.0.1", true);   /* no SNI: the first */
    struct pair p = connect_pair(s, c, "c.test");
    assert_non_null(strstr(tls_error(p.client), "it is for \"a.test\""));
    drop_pair(&p);
    tls_server_unref(s);
    tls_client_unref(c);
    tls_client_unref(w);
    cert_release(&wild);
    cert_release(&exact);
}

/* Goal: the certificate that SNI picked is shown also where the first one's kind of key would be
 * preferred. */
static void picks_whatever_the_key(void **state) {
    struct pki *pki = *state;
    struct err err;
    struct cert rsa = cert_make(&(struct cert_options){
        .cn = "rsa", .names = "DNS:rsa.test", .issuer = &pki->ca, .rsa = true});
    struct tls_identity ids[] = {cert_identity(&pki->leaf), cert_identity(&rsa)};
    struct tls_server *s = tls_server_new(ids, 2, &err);
    struct tls_client *c = client_trusting(&pki->ca);
    expect_certificate(s, c, "rsa.test", true);
    expect_certificate(s, c, "a.test", true);
    tls_server_unref(s);
    tls_client_unref(c);
    cert_release(&rsa);
}

/* Goal: what fits into the socket is taken, the rest later, from elsewhere in memory, with more
 * behind it; the reader gets every byte. */
static void writes_in_parts(void **state) {
    struct pki *pki = *state;
    enum { N = 1000000 };
    struct tls_server *s = server_of(&pki->leaf);
    struct tls_client *c = client_trusting(&pki->ca);
    struct pair p = connect_pair(s, c, "a.test");
    char *data = malloc(N), *moved = malloc(N), *got = malloc(N);
    size_t sent = 0, received = 0;
    unsigned blocked = 0;
    for (size_t i = 0; i < N; i++) {
        data[i] = (char)(i * 7 + i / 251);
    }
    while (received < N) {
        while (sent < N) {
            memcpy(moved + sent, data + sent, N - sent);
            char *from = blocked % 2 ? moved : data;
            ssize_t n = tls_write(p.server, from + sent, N - sent);
            if (n < 0) {
                assert_int_equal(n, TLS_WANT_WRITE);
                blocked++;
                break;
            }
            sent += (size_t)n;
        }
        ssize_t n;
        while ((n = tls_read(p.client, got + received, N - received)) > 0) {
            received += (size_t)n;
            if (received == N) {
                break;
            }
        }
    }
    assert_true(blocked > 1);
    assert_memory_equal(got, data, N);
    free(data);
    free(moved);
    free(got);
    drop_pair(&p);
    tls_server_unref(s);
    tls_client_unref(c);
}

/* Goal: bytes that came with others are told by tls_pending, for no event will. */
static void tells_what_is_pending(void **state) {
    struct pki *pki = *state;
    char got[4];
    struct tls_server *s = server_of(&pki->leaf);
    struct tls_client *c = client_trusting(&pki->ca);
    struct pair p;
    pair_sockets(p.fd);
    p.server = tls_accept(s, p.fd[0]);
    p.client = tls_connect(c, p.fd[1], "a.test");
    assert_int_equal(tls_handshake(p.client), TLS_WANT_READ);
    assert_int_equal(tls_handshake(p.server), TLS_WANT_READ);
    assert_int_equal(tls_handshake(p.client), 0);
    assert_int_equal(tls_write(p.client, "123456", 6), 6); /* beside the end of the handshake */
    assert_int_equal(tls_write(p.client, "78", 2), 2);
    assert_int_equal(tls_handshake(p.server), 0);
    assert_true(tls_pending(p.server));
    assert_int_equal(tls_read(p.server, got, 4), 4);
    assert_true(tls_pending(p.server));
    assert_int_equal(tls_read(p.server, got, 4), 2);
    assert_true(tls_pending(p.server)); /* the second record */
    assert_int_equal(tls_read(p.server, got, 4), 2);
    assert_memory_equal(got, "78", 2);
    assert_int_equal(tls_read(p.server, got, 4), TLS_WANT_READ);
    assert_false(tls_pending(p.server));
    drop_pair(&p);
    tls_server_unref(s);
    tls_client_unref(c);
}

/* Goal: an end without close_notify is no end, in the handshake and after it. */
static void knows_truncation(void **state) {
    struct pki *pki = *state;
    char got[4];
    struct tls_server *s = server_of(&pki->leaf);
    struct tls_client *c = client_trusting(&pki->ca);
    struct pair p = connect_pair(s, c, "a.test");
    assert_int_equal(tls_write(p.server, "abc", 3), 3);
    shutdown(p.fd[0], SHUT_WR);
    assert_int_equal(tls_read(p.client, got, 4), 3);
    assert_int_equal(tls_read(p.client, got, 4), TLS_TRUNCATED);
    assert_non_null(strstr(tls_error(p.client), "without a TLS close"));
    assert_int_equal(tls_read(p.client, got, 4), TLS_FAILED);
    drop_pair(&p);
    pair_sockets(p.fd);
    p.server = tls_accept(s, p.fd[0]);
    shutdown(p.fd[1], SHUT_WR);
    assert_int_equal(tls_handshake(p.server), TLS_TRUNCATED);
    tls_free(p.server);
    close(p.fd[0]);
    close(p.fd[1]);
    tls_server_unref(s);
    tls_client_unref(c);
}

/* Goal: plain HTTP to a TLS port is recognised, rubbish is an error, and neither raises SIGPIPE
 * when the other end is gone. */
static void refuses_what_is_not_tls(void **state) {
    struct pki *pki = *state;
    static const struct {
        const char *text;
        int result;
    } cases[] = {{"GET / HTTP/1.1\r\nHost: a\r\n\r\n", TLS_PLAIN_HTTP},
                 {"POST /v1/chat/completions HTTP/1.1\r\n", TLS_PLAIN_HTTP},
                 {"\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c", TLS_FAILED}};
    struct tls_server *s = server_of(&pki->leaf);
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        int fd[2];
        pair_sockets(fd);
        struct tls *t = tls_accept(s, fd[0]);
        size_t n = strlen(cases[i].text);
        assert_int_equal(write(fd[1], cases[i].text, n), n);
        close(fd[1]);
        assert_int_equal(tls_handshake(t), cases[i].result);
        assert_string_not_equal(tls_error(t), "");
        tls_free(t);
        close(fd[0]);
    }
    tls_server_unref(s);
}

/* A server of OpenSSL's own, which demands a certificate of `ca`. */
static SSL *demanding(const struct pki *pki, SSL_CTX *ctx, int fd) {
    assert_int_equal(SSL_CTX_use_certificate(ctx, pki->leaf.x509), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(ctx, pki->leaf.key), 1);
    X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), pki->ca.x509);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    SSL *ssl = SSL_new(ctx);
    SSL_set_fd(ssl, fd);
    SSL_set_accept_state(ssl);
    return ssl;
}

static int shake_with(struct tls *t, SSL *ssl) {
    char got[4];
    int r = TLS_WANT_READ, done = 0;
    for (int i = 0; i < 20 && (waits(r) || !done); i++) {
        r = waits(r) ? tls_handshake(t) : r;
        done = done || SSL_do_handshake(ssl) == 1;
        if (r == 0 && !done) { /* TLS 1.3: the refusal comes after the client's handshake */
            ssize_t n = tls_read(t, got, sizeof(got));
            r = n == TLS_FAILED ? TLS_FAILED : r;
            if (n == TLS_FAILED) {
                break;
            }
        }
    }
    ERR_clear_error();
    return r;
}

/* Goal: a client certificate is shown when it is demanded; without one the refusal is told. */
static void shows_its_certificate(void **state) {
    struct pki *pki = *state;
    struct err err = {""};
    struct cert me = cert_for(&pki->ca, "DNS:me.test");
    for (int with = 0; with < 2; with++) {
        struct tls_client_options o = {.ca = str_of(pki->ca.pem), .verify = true};
        if (with) {
            o.cert = str_of(me.pem);
            o.key = str_of(me.key_pem);
        }
        int fd[2];
        pair_sockets(fd);
        SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
        SSL *ssl = demanding(pki, ctx, fd[0]);
        struct tls_client *c = tls_client_new(&o, &err);
        struct tls *t = tls_connect(c, fd[1], "a.test");
        assert_int_equal(shake_with(t, ssl), with ? 0 : TLS_FAILED);
        assert_true(with || strstr(tls_error(t), "certificate required"));
        tls_free(t);
        tls_client_unref(c);
        SSL_free(ssl);
        SSL_CTX_free(ctx);
        close(fd[0]);
        close(fd[1]);
    }
    cert_release(&me);
}

/* Goal: TLS 1.1 and renegotiation are refused. */
static void refuses_old_ways(void **state) {
    struct pki *pki = *state;
    struct tls_server *s = server_of(&pki->leaf);
    int versions[] = {TLS1_1_VERSION, TLS1_2_VERSION};
    for (size_t i = 0; i < 2; i++) {
        int fd[2];
        pair_sockets(fd);
        SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
        SSL_CTX_set_security_level(ctx, 0);
        SSL_CTX_set_min_proto_version(ctx, versions[i]);
        SSL_CTX_set_max_proto_version(ctx, versions[i]);
        SSL *ssl = SSL_new(ctx);
        SSL_set_fd(ssl, fd[1]);
        SSL_set_connect_state(ssl);
        struct tls *t = tls_accept(s, fd[0]);
        bool good = shake_with(t, ssl) == 0;
        assert_int_equal(good, versions[i] == TLS1_2_VERSION);
        if (good) {
            char got[4];
            SSL_renegotiate(ssl);
            SSL_do_handshake(ssl);
            (void)!tls_read(t, got, sizeof(got));
            assert_int_equal(SSL_do_handshake(ssl), -1);
            assert_int_equal(SSL_get_error(ssl, -1), SSL_ERROR_SSL); /* no_renegotiation */
        }
        tls_free(t);
        SSL_free(ssl);
        SSL_CTX_free(ctx);
        ERR_clear_error();
        close(fd[0]);
        close(fd[1]);
    }
    tls_server_unref(s);
}

/* Goal: the second connection resumes the first one's session, also under TLS 1.3, where tickets
 * come after the handshake; another client knows nothing of it. */
static void resumes(void **state) {
    struct pki *pki = *state;
    char got[4];
    struct tls_server *s = server_of(&pki->leaf);
    struct tls_client *c = client_trusting(&pki->ca);
    struct tls_client *other = client_trusting(&pki->ca);
    struct {
        struct tls_client *client;
        const char *name;
        bool resumed;
    } steps[] = {{c, "a.test", false},
                 {c, "a.test", true},
                 {c, "127.0.0.1", false},
                 {c, "a.test", true},
                 {other, "a.test", false}};
    for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
        struct pair p = connect_pair(s, steps[i].client, steps[i].name);
        assert_int_equal(p.client_result, 0);
        assert_int_equal(tls_resumed(p.client), steps[i].resumed);
        assert_int_equal(tls_read(p.client, got, 4), TLS_WANT_READ); /* takes the tickets */
        drop_pair(&p);
    }
    tls_server_unref(s);
    tls_client_unref(c);
    tls_client_unref(other);
}

/* Goal: no number of names makes a client keep more than its bound. */
static void keeps_few_sessions(void **state) {
    struct pki *pki = *state;
    char name[32], got[4];
    struct cert wild = cert_for(&pki->ca, "DNS:*.w.test");
    struct tls_server *s = server_of(&wild);
    struct tls_client *c = client_trusting(&pki->ca);
    for (int i = 0; i < MAX_TLS_SESSIONS + 4; i++) {
        snprintf(name, sizeof(name), "n%d.w.test", i);
        struct pair p = connect_pair(s, c, name);
        assert_int_equal(tls_read(p.client, got, 4), TLS_WANT_READ);
        drop_pair(&p);
    }
    struct pair p = connect_pair(s, c, "n0.w.test");
    assert_false(tls_resumed(p.client)); /* its place went to a later name */
    drop_pair(&p);
    p = connect_pair(s, c, name);
    assert_true(tls_resumed(p.client));
    drop_pair(&p);
    tls_server_unref(s);
    tls_client_unref(c);
    cert_release(&wild);
}

/* Goal: connections may be shared under the same id: equal options only, whoever holds them. */
static void ids_tell_options_apart(void **state) {
    struct pki *pki = *state;
    struct err err;
    struct str ca = str_of(pki->ca.pem), cert = str_of(pki->leaf.pem),
               key = str_of(pki->leaf.key_pem);
    struct tls_client_options options[] = {
        {.ca = ca, .verify = true},
        {.ca = ca, .verify = false},
        {.ca = cert, .verify = true},
        {.ca = ca, .cert = cert, .key = key, .verify = true},
    };
    uint64_t ids[4];
    for (size_t i = 0; i < 4; i++) {
        struct tls_client *a = tls_client_new(&options[i], &err);
        struct tls_client *b = tls_client_new(&options[i], &err);
        assert_int_equal(tls_client_id(a), tls_client_id(b));
        assert_true(str_eq(tls_client_options(a)->ca, options[i].ca));
        ids[i] = tls_client_id(a);
        for (size_t k = 0; k < i; k++) {
            assert_int_not_equal(ids[i], ids[k]);
        }
        tls_client_unref(a);
        tls_client_unref(b);
    }
}

static void expect_text(int r, const struct err *err, const char *text) {
    assert_int_equal(r, -1);
    if (!strstr(err->text, text)) {
        fail_msg("found \"%s\", expected \"%s\"", err->text, text);
    }
    assert_null(strstr(err->text, "MI")); /* how base64 of keys begins */
}

/* Goal: each mistake in PEM texts is told apart, and no key is in what is told. */
static void tells_what_is_wrong_with_texts(void **state) {
    struct pki *pki = *state;
    struct err err = {""};
    struct str cert = str_of(pki->leaf.pem), key = str_of(pki->leaf.key_pem);
    char *locked = cert_locked_key(&pki->leaf);
    struct tls_cert_info info;
    assert_int_equal(tls_check_cert(cert, &info, &err), 0);
    assert_string_equal(info.subject, "a.test");
    assert_true(info.not_before < info.not_after);
    assert_int_equal(tls_check_key(key, &err), 0);
    expect_text(tls_check_cert(STR(""), NULL, &err), &err, "found nothing");
    expect_text(tls_check_cert(STR("hello"), NULL, &err), &err, "found none");
    expect_text(tls_check_cert(key, NULL, &err), &err, "found a private key");
    expect_text(tls_check_cert(str_make(cert.p, cert.n / 2), NULL, &err), &err, "cut off");
    expect_text(tls_check_key(STR(""), &err), &err, "found nothing");
    expect_text(tls_check_key(cert, &err), &err, "found a certificate");
    expect_text(tls_check_key(str_make(key.p, key.n / 2), &err), &err, "none that can be read");
    expect_text(tls_check_key(str_of(locked), &err), &err, "passphrase");
    expect_text(tls_check_ca(STR("x"), &err), &err, "found none");
    struct tls_identity wrong = {cert, str_of(pki->stranger.key_pem)};
    expect_text(tls_check_pair(&wrong, &err), &err,
                "the private key does not belong to the certificate of \"a.test\"");
    assert_null(tls_server_new(&wrong, 1, &err));
    assert_null(tls_server_new(&wrong, 0, &err));
    struct tls_client_options o = {.cert = cert, .key = wrong.key, .verify = false};
    assert_null(tls_client_new(&o, &err));
    free(locked);
}

/* Goal: a chain in one file is sent whole: a client that knows the root only accepts it. */
static void sends_its_chain(void **state) {
    struct pki *pki = *state;
    struct err err;
    struct cert middle =
        cert_make(&(struct cert_options){.cn = "Intermediate", .issuer = &pki->ca, .ca = true});
    struct cert leaf = cert_for(&middle, "DNS:chain.test");
    char *both = malloc(strlen(leaf.pem) + strlen(middle.pem) + 1);
    strcpy(both, leaf.pem);
    strcat(both, middle.pem);
    struct tls_identity ids[] = {cert_identity(&pki->leaf), {str_of(both), str_of(leaf.key_pem)}};
    struct tls_client *c = client_trusting(&pki->ca);
    for (size_t first = 0; first < 2; first++) { /* chosen by SNI, and as the only one */
        struct tls_server *s = tls_server_new(ids + first, 2 - first, &err);
        expect_certificate(s, c, "chain.test", true);
        tls_server_unref(s);
    }
    tls_client_unref(c);
    free(both);
    cert_release(&leaf);
    cert_release(&middle);
}

/* Goal: the system's store is found, without being read; a name with a final dot is the same host.
 */
static void knows_the_system(void **state) {
    struct pki *pki = *state;
    struct err err = {""};
    struct tls_client_options o = {.verify = true};
    struct tls_client *c = tls_client_new(&o, &err);
    assert_string_equal(err.text, "");
    struct tls_server *s = server_of(&pki->leaf);
    struct pair p = connect_pair(s, c, "a.test");
    assert_non_null(strstr(tls_error(p.client), "unable to get local issuer"));
    drop_pair(&p);
    tls_client_unref(c);
    c = client_trusting(&pki->ca);
    expect_certificate(s, c, "a.test.", true);
    assert_null(tls_connect(c, 0, ""));
    tls_client_unref(c);
    tls_server_unref(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(talks_and_closes),
        cmocka_unit_test(checks_addresses),
        cmocka_unit_test(refuses_wrong_certificates),
        cmocka_unit_test(may_skip_verification),
        cmocka_unit_test(picks_by_sni),
        cmocka_unit_test(picks_whatever_the_key),
        cmocka_unit_test(writes_in_parts),
        cmocka_unit_test(tells_what_is_pending),
        cmocka_unit_test(knows_truncation),
        cmocka_unit_test(refuses_what_is_not_tls),
        cmocka_unit_test(shows_its_certificate),
        cmocka_unit_test(refuses_old_ways),
        cmocka_unit_test(resumes),
        cmocka_unit_test(keeps_few_sessions),
        cmocka_unit_test(ids_tell_options_apart),
        cmocka_unit_test(tells_what_is_wrong_with_texts),
        cmocka_unit_test(sends_its_chain),
        cmocka_unit_test(knows_the_system),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
