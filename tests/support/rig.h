/* SPDX-License-Identifier: MIT */
/*
 * A connection on an event loop with the peer's end in the test's hands. Requests are kept as they
 * come; callbacks are counted. What `request` does at once is chosen by `on_request`; nothing = the
 * test answers. All waits end with a deadline and a failure. With RIG_TLS defined all connections
 * speak TLS, and tests see the same bytes.
 */
#ifndef SUPPORT_RIG_H
#define SUPPORT_RIG_H

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/limits.h"
#include "net/conn.h"
#include "net/listener.h"
#include "net/tls.h"

#ifdef RIG_TLS
#include "certs.h"
#endif

#define RIG_REQUESTS 600
#define RIG_DEADLINE (90 * USEC_PER_SEC)

struct rig {
    struct event_base *base;
    struct conn *conn; /* NULL once closed */
    struct conn_limits limits;
    int peer;
    struct tls *peer_tls; /* NULL: plain */
    bool peer_eof;
    int peer_errno;
    struct buf got; /* by the peer */
    struct http_request *requests[RIG_REQUESTS];
    size_t n_requests;
    void (*on_request)(struct rig *rig, struct http_request *request);
    void (*on_gone)(struct rig *rig);
    void (*on_drained)(struct rig *rig);
    int head_status; /* what ops->head returns */
    int heads, refusals, gone, drained, closed;
    int refused_status, tls_failed;
    char tls_reason[16];
    void *gone_ctx;
};

static void rig_request(void *ctx, struct conn *conn, struct http_request *request) {
    struct rig *rig = ctx;
    assert_ptr_equal(conn, rig->conn);
    assert_true(rig->n_requests < RIG_REQUESTS);
    assert_int_equal(rig->closed, 0);
    rig->requests[rig->n_requests++] = request;
    if (rig->on_request) {
        rig->on_request(rig, request);
    }
}

static int rig_head(void *ctx, const struct http_head *head, const struct headers *headers) {
    struct rig *rig = ctx;
    assert_true(head->path.n > 0);
    assert_non_null(headers);
    rig->heads++;
    return rig->head_status;
}

static void rig_refuse(void *ctx, int status, const char *message, struct headers *headers,
                       struct buf *body) {
    struct rig *rig = ctx;
    rig->refusals++;
    rig->refused_status = status;
    assert_int_equal(headers_add(headers, STR("Content-Type"), STR("application/json")), 0);
    assert_int_equal(buf_addf(body, "{\"refused\":\"%s\"}", message), BUF_OK);
}

static void rig_gone(void *ctx, struct conn *conn, void *request_ctx) {
    struct rig *rig = ctx;
    assert_ptr_equal(conn, rig->conn);
    rig->gone++;
    rig->gone_ctx = request_ctx;
    if (rig->on_gone) {
        rig->on_gone(rig);
    }
}

static void rig_drained(void *ctx, struct conn *conn, void *request_ctx) {
    struct rig *rig = ctx;
    (void)request_ctx;
    assert_ptr_equal(conn, rig->conn);
    rig->drained++;
    if (rig->on_drained) {
        rig->on_drained(rig);
    }
}

static void rig_closed(void *ctx, struct conn *conn) {
    struct rig *rig = ctx;
    assert_ptr_equal(conn, rig->conn);
    rig->closed++;
    rig->conn = NULL;
}

static void rig_tls_failed(void *ctx, const char *peer, const char *reason, const char *why) {
    struct rig *rig = ctx;
    assert_true(peer[0] && why[0]);
    rig->tls_failed++;
    snprintf(rig->tls_reason, sizeof(rig->tls_reason), "%s", reason);
}

/* Of a connection without a socket. */
static void rig_output(void *ctx, const char *data, size_t n) {
    struct rig *rig = ctx;
    assert_int_equal(rig->closed, 0);
    assert_true(n > 0);
    assert_int_equal(buf_add(&rig->got, data, n), BUF_OK);
}

static const struct conn_ops rig_ops = {
    .request = rig_request,
    .head = rig_head,
    .refuse = rig_refuse,
    .tls_failed = rig_tls_failed,
    .gone = rig_gone,
    .drained = rig_drained,
    .closed = rig_closed,
    .output = rig_output,
};

#ifdef RIG_TLS
struct rig_ends {
    struct tls_server *server;
    struct tls_client *client;
};

/* Made once for all tests of the program. */
static const struct rig_ends *rig_ends(void) {
    static struct rig_ends ends;
    if (!ends.server) {
        struct err err;
        struct cert ca = cert_ca("Rig CA"), leaf = cert_for(&ca, "DNS:rig.test");
        struct tls_identity identity = cert_identity(&leaf);
        struct tls_client_options options = {.ca = str_of(ca.pem), .verify = true};
        ends.server = tls_server_new(&identity, 1, &err);
        ends.client = tls_client_new(&options, &err);
        cert_release(&ca);
        cert_release(&leaf);
    }
    return &ends;
}

static void rig_start_tls(struct rig *rig) {
    assert_int_equal(conn_start_tls(rig->conn, rig_ends()->server), 0);
}

static void rig_shake(struct rig *rig);
#else
static void rig_start_tls(struct rig *rig) {
    (void)rig;
}

static void rig_shake(struct rig *rig) {
    (void)rig;
}
#endif

static void rig_attach(struct rig *rig, int fd) {
    rig->conn = conn_new(rig->base, fd, &rig_ops, rig, &rig->limits);
    assert_non_null(rig->conn);
    if (fd >= 0) {
        rig_start_tls(rig);
    }
}

static void rig_accepted(void *ctx, int fd) {
    rig_attach(ctx, fd);
}

/* One look at everything: the loop, then the peer's end. */
static void rig_pump(struct rig *rig) {
    struct timeval tick = {.tv_usec = 2000};
    event_base_loopexit(rig->base, &tick);
    event_base_loop(rig->base, EVLOOP_ONCE);
}

static inline void rig_read_tls(struct rig *rig) {
    char block[16384];
    ssize_t n;
    while ((n = tls_read(rig->peer_tls, block, sizeof(block))) > 0) {
        assert_int_equal(buf_add(&rig->got, block, (size_t)n), BUF_OK);
    }
    if (n != TLS_WANT_READ) {
        rig->peer_eof = true;
        rig->peer_errno = n == TLS_FAILED ? ECONNRESET : 0;
    }
}

static inline void rig_read(struct rig *rig) {
    char block[65536];
    if (rig->peer < 0 || rig->peer_eof) {
        return;
    }
    if (rig->peer_tls) {
        rig_read_tls(rig);
        return;
    }
    ssize_t n = recv(rig->peer, block, sizeof(block), MSG_DONTWAIT);
    if (n > 0) {
        assert_int_equal(buf_add(&rig->got, block, (size_t)n), BUF_OK);
    } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
        rig->peer_eof = true;
        rig->peer_errno = n < 0 ? errno : 0;
    }
}

#define RIG_WAIT(rig, condition)                                                                   \
    do {                                                                                           \
        usec until_ = clock_now() + RIG_DEADLINE;                                                  \
        while (!(condition)) {                                                                     \
            if (clock_now() > until_) {                                                            \
                fail_msg("waited in vain for %s; the peer has: %.400s", #condition,                \
                         (rig)->got.data);                                                         \
            }                                                                                      \
            rig_pump(rig);                                                                         \
        }                                                                                          \
    } while (0)

/* The same, and the peer reads. */
#define RIG_WAIT_READING(rig, condition) RIG_WAIT(rig, (rig_read(rig), (condition)))

#ifdef RIG_TLS
static void rig_shake(struct rig *rig) {
    rig->peer_tls = tls_connect(rig_ends()->client, rig->peer, "rig.test");
    assert_non_null(rig->peer_tls);
    RIG_WAIT(rig, tls_handshake(rig->peer_tls) == 0);
    rig_pump(rig); /* the other side is ready, too */
}
#endif

/* Lets the loop do all that it has to do now. */
static inline void rig_settle(struct rig *rig) {
    for (int i = 0; i < 5; i++) {
        rig_pump(rig);
    }
}

static struct rig *rig_bare(void) {
    struct rig *rig = calloc(1, sizeof(*rig));
    assert_non_null(rig);
    rig->base = event_base_new();
    assert_non_null(rig->base);
    rig->limits = (struct conn_limits){.body = KIB(64)};
    buf_init(&rig->got, MIB(64));
    rig->peer = -1;
    return rig;
}

/* `type`: SOCK_STREAM, or SOCK_SEQPACKET, where each write of the connection is one packet. */
static inline struct rig *rig_new(int type) {
    struct rig *rig = rig_bare();
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, type, 0, fds), 0);
    rig->peer = fds[0];
    rig_attach(rig, fds[1]);
    rig_shake(rig);
    return rig;
}

/* Over TCP on loopback, for what only TCP does. */
static inline struct rig *rig_tcp(void) {
    struct rig *rig = rig_bare();
    struct err err;
    int fd = listen_open("127.0.0.1:0", false, &err);
    assert_true(fd >= 0);
    struct sockaddr_storage ss;
    socklen_t len = sizeof(ss);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&ss, &len), 0);
    struct listener *l = listener_new(rig->base, fd, rig_accepted, rig);
    assert_non_null(l);
    rig->peer = socket(ss.ss_family, SOCK_STREAM, 0);
    assert_int_equal(connect(rig->peer, (struct sockaddr *)&ss, len), 0);
    RIG_WAIT(rig, rig->conn);
    listener_free(l);
    rig_shake(rig);
    return rig;
}

static void rig_free_request(struct rig *rig, size_t i) {
    http_request_free(rig->requests[i]);
    rig->requests[i] = NULL;
}

/* Closes what is open; each connection must have reported its end exactly once. */
static void rig_free(struct rig *rig) {
    if (rig->conn) {
        conn_kill(rig->conn);
    }
    assert_int_equal(rig->closed, 1);
    for (size_t i = 0; i < rig->n_requests; i++) {
        rig_free_request(rig, i);
    }
    tls_free(rig->peer_tls);
    if (rig->peer >= 0) {
        close(rig->peer);
    }
    buf_release(&rig->got);
    event_base_free(rig->base);
    free(rig);
}

static inline void rig_hang_up(struct rig *rig) {
    tls_free(rig->peer_tls);
    rig->peer_tls = NULL;
    close(rig->peer);
    rig->peer = -1;
}

/* The peer sends no more. */
static inline void rig_half_close(struct rig *rig) {
    if (rig->peer_tls) {
        assert_int_equal(tls_close(rig->peer_tls), 0);
    }
    assert_int_equal(shutdown(rig->peer, SHUT_WR), 0);
}

static ssize_t rig_send_some(struct rig *rig, const char *data, size_t n) {
    if (!rig->peer_tls) {
        return send(rig->peer, data, n, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    ssize_t sent = tls_write(rig->peer_tls, data, n);
    errno = sent == TLS_WANT_WRITE ? EAGAIN : EPIPE;
    return sent > 0 ? sent : -1;
}

static void rig_send_bytes(struct rig *rig, const char *data, size_t n) {
    while (n > 0) {
        ssize_t sent = rig_send_some(rig, data, n);
        if (sent > 0) {
            data += sent;
            n -= (size_t)sent;
            continue;
        }
        assert_int_equal(errno, EAGAIN);
        rig_pump(rig);
    }
}

static inline void rig_send(struct rig *rig, const char *text) {
    rig_send_bytes(rig, text, strlen(text));
}

static inline bool rig_has(const struct rig *rig, const char *text) {
    return strstr(rig->got.data, text) != NULL;
}

static inline size_t rig_count(const struct rig *rig, const char *text) {
    size_t n = 0;
    for (const char *p = rig->got.data; (p = strstr(p, text)) != NULL; p++) {
        n++;
    }
    return n;
}

/* Answers the current request whole. */
static void rig_answer(struct rig *rig, int status, const char *body) {
    conn_head(rig->conn, status, NULL, (long long)strlen(body));
    conn_body(rig->conn, body, strlen(body));
    conn_end(rig->conn);
}

#endif
