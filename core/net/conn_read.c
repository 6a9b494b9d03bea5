/* SPDX-License-Identifier: MIT */
/*
 * The reading side of a connection: input becomes whole requests, one at a time; what cannot become
 * one is refused. Also notices that the peer is gone. A body of known length is received where it
 * stays, all else by way of `in`.
 */
#include "net/conn_internal.h"

#include <errno.h>
#include <stdlib.h>

#define READS_PER_TURN 4 /* then others have their turn */
#define BODY_READ_SIZE KIB(128)
#define BODY_AHEAD KIB(256) /* of a body of known length that has room before it has come */
#define REFUSAL_FIELDS 16
#define REFUSAL_HEADER_BYTES KIB(4)
#define REFUSAL_BODY KIB(16)

void conn_begin_head(struct conn *c, usec now) {
    c->state = CONN_READ_HEAD;
    c->phase_since = now;
    c->scanned = 0;
    c->head_started = false;
    c->body = HTTP_BODY_NONE;
    c->head_method = false;
    c->minor = 1;
    c->keep_alive = true;
    c->answer_head_out = c->no_body = c->chunked = c->length_known = c->reset = c->was_full = false;
    c->answer_left = 0;
    c->request_ctx = NULL;
    if (conn_pending(c) == 0) {
        conn_drop_output(c);
    }
}

bool conn_wants_input(const struct conn *c) {
    if (c->eof) {
        return false;
    }
    return (c->state != CONN_ANSWERING && c->state != CONN_ANSWERED) ||
           c->in.len < MAX_HEADER_BYTES;
}

bool conn_input_blank(const struct conn *c) {
    for (size_t i = 0; i < c->in.len; i++) {
        if (i >= 4 || (c->in.data[i] != '\r' && c->in.data[i] != '\n')) {
            return false;
        }
    }
    return true;
}

bool conn_has_arrived(const struct conn *c) {
    char first;
    return conn_input_waits(c) || (!c->fed && recv(c->fd, &first, 1, MSG_PEEK | MSG_DONTWAIT) > 0);
}

void conn_refuse(struct conn *c, int status, const char *message) {
    struct headers headers;
    struct buf body;
    headers_init(&headers, REFUSAL_FIELDS, REFUSAL_HEADER_BYTES);
    buf_init(&body, REFUSAL_BODY);
    if (c->ops->refuse) {
        c->ops->refuse(c->ctx, status, message, &headers, &body);
    }
    if (!c->dead) {
        conn_refusal(c, status, &headers, buf_str(&body));
        conn_begin_closing(c);
    }
    headers_release(&headers);
    buf_release(&body);
}

/* The head's slices point into `in`; the request outlives that. */
static int keep_request_line(struct http_request *r, const struct http_head *head) {
    size_t method = head->method.n, target = head->target.n;
    r->raw = malloc(method + 1 + target + 1);
    if (!r->raw) {
        return -1;
    }
    memcpy(r->raw, head->method.p, method);
    r->raw[method] = ' ';
    memcpy(r->raw + method + 1, head->target.p, target);
    r->raw[method + 1 + target] = 0;
    const char *t = r->raw + method + 1;
    r->method = str_make(r->raw, method);
    r->target = str_make(t, target);
    r->path = str_make(t, head->path.n);
    r->query = str_make(t + target - head->query.n, head->query.n);
    r->minor = head->minor;
    return 0;
}

static const char NO_MEMORY[] = "the gateway has no memory for this body now; try again soon";

static void deliver(struct conn *c) {
    struct http_request *r = c->req;
    c->req = NULL;
    if (c->in.len == 0) {
        buf_release(&c->in); /* an answer may take long, and its connection should be small */
    }
    r->received = clock_now();
    c->state = CONN_ANSWERING;
    c->bytes_out = 0;
    c->ops->request(c->ctx, c, r);
}

static bool too_large(const struct conn *c, const struct http_head *head) {
    return head->body == HTTP_BODY_LENGTH && head->content_length > c->limits->body;
}

/* Minus a status when the request is not wanted, whatever its body would be. */
static int judge_head(struct conn *c, const struct http_head *head, struct err *err) {
    if (too_large(c, head)) {
        err_set(err, "the body is larger than %zu bytes", c->limits->body);
        return -413;
    }
    if (head->body == HTTP_BODY_LENGTH &&
        !pool_has(c->limits->pool, (size_t)head->content_length, POOL_INTAKE)) {
        err_set(err, "%s", NO_MEMORY);
        return -503;
    }
    int status = c->ops->head ? c->ops->head(c->ctx, head, &c->req->headers) : 0;
    if (status < 400) {
        return 0;
    }
    err_set(err, "%s", http_reason(status));
    return -status;
}

static void begin_body(struct conn *c, const struct http_head *head) {
    struct http_request *r = c->req;
    bool known = head->body == HTTP_BODY_LENGTH;
    /* A body of known length gets a buffer that grows to that and no further. */
    buf_init(&r->body, known ? (size_t)head->content_length : c->limits->body);
    buf_share(&r->body, c->limits->pool, POOL_INTAKE);
    c->body = head->body;
    c->body_left = head->content_length;
    http_chunks_init(&c->chunks);
    if (c->body == HTTP_BODY_NONE) {
        deliver(c);
        return;
    }
    c->state = CONN_READ_BODY;
    c->phase_since = clock_now();
    if (head->expect_continue && c->in.len == 0) {
        static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
        conn_output(c, go_on, sizeof(go_on) - 1);
        conn_turn_later(c);
    }
}

static bool make_request(struct conn *c) {
    c->req = calloc(1, sizeof(*c->req));
    if (!c->req) {
        return false;
    }
    headers_init(&c->req->headers, MAX_HEADERS, MAX_HEADER_BYTES);
    buf_init(&c->req->body, 0);
    memcpy(c->req->peer, c->peer, sizeof(c->req->peer));
    return true;
}

/* False: more input is needed, or the connection went elsewhere. */
static bool parse_head(struct conn *c) {
    struct err err;
    struct http_head head;
    if (conn_input_blank(c)) {
        return false;
    }
    if (!c->head_started) {
        c->head_started = true;
        c->phase_since = clock_now();
    }
    if (!c->req && !make_request(c)) {
        conn_lost(c);
        return false;
    }
    int used = http_read_head(c->in.data, c->in.len, &c->scanned, &head, &c->req->headers, &err);
    if (used == HTTP_MORE) {
        return false;
    }
    if (used < 0) {
        conn_refuse(c, -used, err.text);
        return false;
    }
    c->head_method = str_is(head.method, "HEAD");
    c->minor = head.minor;
    c->keep_alive = head.keep_alive;
    int r = judge_head(c, &head, &err);
    if (c->dead) {
        return false;
    }
    if (r == 0 && keep_request_line(c->req, &head) != 0) {
        err_set(&err, "memory is short");
        r = -500;
    }
    if (r != 0) {
        conn_refuse(c, -r, err.text);
        return false;
    }
    c->req->started = c->phase_since;
    c->req->wire_bytes = (size_t)used;
    buf_consume(&c->in, (size_t)used);
    begin_body(c, &head);
    return true;
}

static int take_known(struct conn *c, size_t *used) {
    size_t n = c->in.len < c->body_left ? c->in.len : (size_t)c->body_left;
    *used = n;
    if (buf_add(&c->req->body, c->in.data, n) != BUF_OK) {
        return -500;
    }
    c->body_left -= n;
    return c->body_left == 0;
}

static bool parse_body(struct conn *c) {
    struct err err;
    size_t used = 0;
    int r;
    if (c->body == HTTP_BODY_CHUNKED) {
        r = http_chunks_read(&c->chunks, c->in.data, c->in.len, &used, &c->req->body, &err);
    } else {
        r = take_known(c, &used);
    }
    if (r == -500) {
        r = -503;
        err_set(&err, "%s", NO_MEMORY);
    }
    c->req->wire_bytes += used;
    buf_consume(&c->in, used);
    if (r < 0) {
        conn_refuse(c, -r, err.text);
    } else if (r > 0) {
        deliver(c);
    }
    return false;
}

void conn_parse(struct conn *c) {
    if (!c->dead && c->state == CONN_READ_HEAD && !parse_head(c)) {
        return;
    }
    if (!c->dead && c->state == CONN_READ_BODY) {
        parse_body(c);
    }
}

static void on_eof(struct conn *c) {
    c->eof = true;
    if (c->state == CONN_ANSWERED || (c->state < CONN_ANSWERING && conn_pending(c) > 0)) {
        conn_begin_closing(c); /* the last answer is whole, and may still be read */
    } else if (c->state != CONN_CLOSING) {
        conn_lost(c);
    }
}

/* What recv said: the bytes read, 0 when there is nothing more to do now. */
static size_t received(struct conn *c, ssize_t n) {
    if (n > 0) {
        return (size_t)n;
    }
    if (n == 0) {
        on_eof(c);
    } else if (errno != EAGAIN && errno != EINTR) {
        conn_lost(c);
    }
    return 0;
}

/* True when it is worth reading on. */
static bool read_to_body(struct conn *c) {
    struct buf *body = &c->req->body;
    size_t want = c->body_left < BODY_READ_SIZE ? (size_t)c->body_left : BODY_READ_SIZE;
    size_t ahead = c->body_left < BODY_AHEAD ? (size_t)c->body_left : BODY_AHEAD;
    if (body->len == 0) {
        ahead = want; /* who has sent nothing yet claims less of what all share */
    }
    if (body->cap - body->len < want && buf_reserve(body, ahead) != BUF_OK) {
        conn_refuse(c, 503, NO_MEMORY);
        return false;
    }
    size_t n = received(c, conn_recv(c, body->data + body->len, want));
    if (n == 0) {
        return false;
    }
    body->len += n;
    body->data[body->len] = 0;
    c->body_left -= n;
    c->req->wire_bytes += n;
    if (c->body_left == 0) {
        deliver(c);
        return conn_input_waits(c); /* the loop tells of what else is pipelined behind it */
    }
    return n == want || conn_input_waits(c);
}

static bool read_to_input(struct conn *c) {
    char scratch[CONN_READ_SIZE];
    size_t n = received(c, conn_recv(c, scratch, sizeof(scratch)));
    if (n == 0) {
        return false;
    }
    if (c->state >= CONN_CLOSING) {
        return n == sizeof(scratch) || conn_input_waits(c);
    }
    if (buf_add(&c->in, scratch, n) != BUF_OK) {
        conn_lost(c);
        return false;
    }
    conn_parse(c);
    return n == sizeof(scratch) || conn_input_waits(c);
}

/* One read's worth, as read_to_input takes it. */
static size_t feed_some(struct conn *c, const char *data, size_t n) {
    n = n < CONN_READ_SIZE ? n : CONN_READ_SIZE;
    if (c->state >= CONN_CLOSING) {
        return n;
    }
    if (buf_add(&c->in, data, n) != BUF_OK) {
        conn_lost(c);
        return 0;
    }
    conn_parse(c);
    return n;
}

size_t conn_feed(struct conn *c, const char *data, size_t n) {
    size_t used = 0;
    conn_enter(c);
    while (used < n && !c->dead && conn_wants_input(c)) {
        used += feed_some(c, data + used, n - used);
    }
    conn_leave(c);
    return used;
}

void conn_feed_eof(struct conn *c) {
    conn_enter(c);
    if (!c->dead && !c->eof) {
        on_eof(c);
    }
    conn_leave(c);
}

void conn_on_readable(evutil_socket_t fd, short what, void *arg) {
    struct conn *c = arg;
    (void)fd;
    (void)what;
    conn_enter(c);
    bool more = !c->shaking || conn_shake(c);
    for (int i = 0; i < READS_PER_TURN && more && !c->dead && conn_wants_input(c); i++) {
        if (c->state == CONN_READ_BODY && c->body == HTTP_BODY_LENGTH && c->in.len == 0) {
            more = read_to_body(c);
        } else {
            more = read_to_input(c);
        }
    }
    conn_leave(c);
}
