/* SPDX-License-Identifier: MIT */
/*
 * Fuzz target: all that a client sends on one connection. Whatever the bytes are, each request is
 * answered once and in order, what is refused ends the connection, and bytes in one piece, in
 * portions, and with answers that come late come to the same. The first two bytes of the input
 * choose the portions. Reads: net/conn.c net/conn_read.c net/conn_write.c net/http_head.c
 * net/http_chunks.c net/http_write.c net/headers.c
 */
#include <event2/event.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/limits.h"
#include "net/conn.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define BODY_MAX KIB(4)
#define TURNS 6 /* of the loop, that everything ready is surely handled */

static void must(bool holds, const char *what) {
    if (!holds) {
        fprintf(stderr, "does not hold: %s\n", what);
        abort();
    }
}

struct run {
    struct conn *conn; /* NULL once closed */
    bool late;         /* answers come from outside */
    struct http_request *waiting;
    int requests, refusals, answers; /* answers: heads of 200 and above, refusals included */
    bool head;                       /* the current request is HEAD */
    bool aborted;
    struct buf seen; /* what was understood */
    struct buf out;  /* what was said, without interim answers */
};

static void note(struct run *r, struct str s) {
    must(buf_add_str(&r->seen, s) == BUF_OK && buf_addc(&r->seen, '\n') == BUF_OK, "room");
}

static void put_body(struct run *r, struct str text) {
    conn_body(r->conn, text.p, text.n);
}

/* How it is answered is chosen by the first letter of the path. */
static void answer(struct run *r, struct http_request *request) {
    char kind = request->path.n > 1 ? request->path.p[1] : 'x';
    int status = kind == 'n' ? 204 : kind == 'm' ? 304 : 200;
    bool known = kind != 'c' && kind != 'a';
    r->answers++;
    conn_head(r->conn, status, &request->headers,
              known ? (long long)request->body.len : CONN_LENGTH_UNKNOWN);
    put_body(r, buf_str(&request->body));
    if (kind == 'a') {
        r->aborted = true;
        conn_abort(r->conn);
    } else {
        conn_end(r->conn);
    }
    http_request_free(request);
}

static void check_request(const struct http_request *q) {
    must(q->method.n > 0 && header_name_ok(q->method), "a method that is no token");
    must(q->path.n > 0 && q->path.n <= q->target.n, "a path that is no part of the target");
    must(!memchr(q->target.p, ' ', q->target.n) && !memchr(q->target.p, '\n', q->target.n),
         "a target with a space");
    must(q->body.len <= BODY_MAX && q->headers.n <= MAX_HEADERS, "more than the limits");
    must(headers_count(&q->headers, "host") <= 1, "two hosts");
    must(headers_count(&q->headers, "content-length") +
                 headers_count(&q->headers, "transfer-encoding") <=
             1,
         "two framings");
    for (size_t i = 0; i < q->headers.n; i++) {
        struct header h = headers_at(&q->headers, i);
        must(header_name_ok(h.name) && header_value_ok(h.value), "a field that breaks out");
    }
}

static void on_request(void *ctx, struct conn *conn, struct http_request *request) {
    struct run *r = ctx;
    must(conn == r->conn && !r->waiting, "a request while another is answered");
    must(r->refusals == 0 && !r->aborted, "a request after the end");
    check_request(request);
    r->requests++;
    note(r, request->method);
    note(r, request->target);
    note(r, buf_str(&request->body));
    for (size_t i = 0; i < request->headers.n; i++) {
        note(r, headers_at(&request->headers, i).name);
        note(r, headers_at(&request->headers, i).value);
    }
    if (r->late) {
        r->waiting = request;
    } else {
        answer(r, request);
    }
}

static void on_refuse(void *ctx, int status, const char *message, struct headers *headers,
                      struct buf *body) {
    struct run *r = ctx;
    (void)headers;
    must(status >= 400 && status <= 505 && message[0], "a refusal without a reason");
    must(++r->refusals == 1, "two refusals");
    r->answers++;
    must(buf_addf(body, "%s", message) == BUF_OK, "room");
}

static void on_gone(void *ctx, struct conn *conn, void *request_ctx) {
    struct run *r = ctx;
    (void)conn;
    (void)request_ctx;
    must(r->waiting != NULL, "gone without a request");
    http_request_free(r->waiting);
    r->waiting = NULL;
}

static void on_closed(void *ctx, struct conn *conn) {
    struct run *r = ctx;
    must(conn == r->conn, "closed twice");
    r->conn = NULL;
}

static void on_output(void *ctx, const char *data, size_t n) {
    static const struct str go_on = {"HTTP/1.1 100 Continue\r\n\r\n", 25};
    struct run *r = ctx;
    must(r->conn != NULL && n > 0, "output after the end");
    if (n >= go_on.n && memcmp(data, go_on.p, go_on.n) == 0) {
        data += go_on.n;
        n -= go_on.n;
    }
    must(buf_add(&r->out, data, n) == BUF_OK, "room");
}

static const struct conn_ops OPS = {.request = on_request,
                                    .refuse = on_refuse,
                                    .gone = on_gone,
                                    .closed = on_closed,
                                    .output = on_output};

static void turn(struct event_base *base, struct run *r) {
    for (int i = 0; i < TURNS; i++) {
        event_base_loop(base, EVLOOP_NONBLOCK);
        while (r->waiting && r->conn) {
            struct http_request *request = r->waiting;
            r->waiting = NULL;
            answer(r, request);
            event_base_loop(base, EVLOOP_NONBLOCK);
        }
    }
}

static void play(struct event_base *base, struct run *r, const char *data, size_t n, size_t first,
                 size_t step) {
    static const struct conn_limits limits = {.body = BODY_MAX};
    buf_init(&r->seen, MIB(4));
    buf_init(&r->out, MIB(4));
    r->conn = conn_new(base, -1, &OPS, r, &limits);
    must(r->conn != NULL, "memory");
    for (size_t at = 0, size = first ? first : step; at < n && r->conn; size = step) {
        size = size < n - at ? size : n - at;
        char *copy = malloc(size); /* of its own, so that one byte beyond is noticed */
        memcpy(copy, data + at, size);
        size_t taken = conn_feed(r->conn, copy, size);
        free(copy);
        at += taken;
        must(!r->conn || taken == size || r->waiting || taken > 0 || !conn_idle(r->conn),
             "an idle connection takes nothing");
        turn(base, r);
    }
    turn(base, r);
    if (r->conn) {
        conn_feed_eof(r->conn);
        turn(base, r);
    }
    must(!r->conn && !r->waiting, "a connection is left");
}

/* Every answer is whole, and there are as many as there should be. */
static void check_output(const struct run *r) {
    struct str text = buf_str(&r->out);
    int heads = 0;
    for (const char *at; (at = memmem(text.p, text.n, "HTTP/1.1 ", 9)) != NULL; heads++) {
        text = str_make(at + 9, text.n - (size_t)(at + 9 - text.p));
    }
    must(heads >= r->answers, "an answer is missing"); /* a body may look like a head */
    must(r->out.len == 0 || str_starts(buf_str(&r->out), "HTTP/1.1 "), "output before a head");
}

static void compare(const struct run *whole, const struct run *other, const char *how) {
    bool same = str_eq(buf_str(&whole->seen), buf_str(&other->seen)) &&
                str_eq(buf_str(&whole->out), buf_str(&other->out));
    if (!same) {
        fprintf(stderr, "%s:\n%s\n%s\nin one piece:\n%s\n%s\n", how, buf_str(&other->seen).p,
                buf_str(&other->out).p, buf_str(&whole->seen).p, buf_str(&whole->out).p);
        abort();
    }
}

static void release(struct run *r) {
    buf_release(&r->seen);
    buf_release(&r->out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct event_base *base;
    struct clock_virtual clock = {1000 * USEC_PER_SEC, 1700000000 * USEC_PER_SEC}; /* for Date */
    if (size < 2 || size > KIB(16)) {
        return 0;
    }
    if (!base) {
        base = event_base_new();
        must(base != NULL, "no loop");
    }
    clock_use(&clock);
    const char *text = (const char *)data + 2;
    size_t n = size - 2;
    size_t first = n ? ((size_t)data[0] * 256 + data[1]) % n : 0;
    struct run whole = {0}, split = {0}, late = {.late = true};
    play(base, &whole, text, n, n, n ? n : 1);
    check_output(&whole);
    play(base, &split, text, n, first, n / 16 + data[1] % 7 + 1);
    compare(&whole, &split, "in portions");
    play(base, &late, text, n, first, n ? n : 1);
    compare(&whole, &late, "late");
    release(&whole);
    release(&split);
    release(&late);
    clock_use(NULL);
    return 0;
}
