/* SPDX-License-Identifier: MIT */
/*
 * Memory that runs out under a client's connection through TLS: each allocation of ours and of
 * libevent's fails in turn, from the accepted socket through handshake and request to the answer.
 * The client gets the whole answer, or the connection ends. (OpenSSL's own do not fail here.)
 */
#include <event2/event.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "../support/failing_memory.h"
#include "../support/tls_front.h"
#include "base/clock.h"
#include "base/limits.h"
#include "net/conn.h"

#define ASK "POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi"
#define PATIENCE (60 * USEC_PER_SEC)

struct ends {
    struct front_keys keys;
    struct event_base *base;
    int requests, closed;
    size_t answers;
};

static void on_request(void *ctx, struct conn *conn, struct http_request *request) {
    struct ends *e = ctx;
    e->requests++;
    conn_head(conn, 200, NULL, 2);
    conn_body(conn, "ok", 2);
    conn_end(conn);
    http_request_free(request);
}

static void on_refuse(void *ctx, int status, const char *message, struct headers *headers,
                      struct buf *body) {
    (void)ctx, (void)status, (void)message, (void)headers, (void)body;
}

static void on_gone(void *ctx, struct conn *conn, void *request_ctx) {
    (void)ctx, (void)conn, (void)request_ctx;
}

static void on_closed(void *ctx, struct conn *conn) {
    struct ends *e = ctx;
    (void)conn;
    e->closed++;
}

static void on_tls_failed(void *ctx, const char *peer, const char *reason, const char *why) {
    (void)ctx;
    assert_true(peer[0] && reason[0] && why[0]);
}

static const struct conn_ops OPS = {.request = on_request,
                                    .refuse = on_refuse,
                                    .tls_failed = on_tls_failed,
                                    .gone = on_gone,
                                    .drained = on_gone,
                                    .closed = on_closed};

/* The other end's next step; false: it has ended. */
static bool step(struct tls *peer, bool *shaken, char *got, size_t *n) {
    if (!*shaken) {
        int r = tls_handshake(peer);
        *shaken = r == 0;
        if (!*shaken) {
            return r == TLS_WANT_READ || r == TLS_WANT_WRITE;
        }
        return tls_write(peer, ASK, strlen(ASK)) > 0;
    }
    ssize_t r = tls_read(peer, got + *n, 1023 - *n);
    *n += r > 0 ? (size_t)r : 0;
    return r > 0 || r == TLS_WANT_READ || r == TLS_WANT_WRITE;
}

static void ask_failing(void *ctx, size_t at) {
    struct ends *e = ctx;
    struct conn_limits limits = {.body = KIB(64)};
    char got[1024] = "";
    size_t n = 0;
    bool shaken = false, on = true;
    int fds[2];
    usec until = clock_now() + PATIENCE;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    struct tls *peer = tls_connect(e->keys.client, fds[0], "front.test");
    e->requests = e->closed = 0;
    begin(at);
    struct conn *conn = conn_new(e->base, fds[1], &OPS, e, &limits);
    e->closed = conn ? e->closed : 1;
    if (conn && conn_start_tls(conn, e->keys.server) != 0) {
        conn_kill(conn);
    }
    while (on || !e->closed) {
        event_base_loop(e->base, EVLOOP_NONBLOCK);
        bool fails_too = failing_pause();
        on = on && step(peer, &shaken, got, &n);
        if (!on && fds[0] >= 0) {
            tls_free(peer);
            close(fds[0]);
            fds[0] = -1;
        }
        assert_true(clock_now() < until);
        failing_go_on(fails_too);
    }
    end();
    bool whole = n > 4 && strncmp(got, "HTTP/1.1 200 ", 13) == 0 && !strcmp(got + n - 2, "ok");
    assert_true(whole || failing()->hit);
    assert_int_equal(e->closed, 1);
    e->answers += whole;
}

static void ask_and_again(void *ctx, size_t at) {
    ask_failing(ctx, at);
    struct failing was = *failing();
    ask_failing(ctx, 0);
    *failing() = was;
}

static void connections(void **state) {
    /* Goal: whatever cannot be had, the connection ends once and leaks nothing (ASan looks), and
     * the next one is served. */
    struct ends e = {.base = event_base_new()};
    (void)state;
    front_keys_make(&e.keys);
    size_t failures = sweep(ask_and_again, &e);
    printf("%zu failures, %zu answers\n", failures, e.answers);
    assert_true(failures >= 10);
    front_keys_release(&e.keys);
    event_base_free(e.base);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(connections)};
    event_set_mem_functions(__wrap_malloc, __wrap_realloc, free);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
