/* SPDX-License-Identifier: MIT */
/*
 * The writing side of a connection: answers are framed into one output buffer, which is sent at the
 * end of the turn. Nothing here calls the owner: what goes wrong is noted in `broken` and dealt
 * with in the turn.
 */
#include "net/conn_internal.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

#define CHUNK_FRAME 20         /* 16 hex digits, CRLF, CRLF */
#define BODY_WITH_HEAD KIB(16) /* shorter answers get room together with their head */
#define OUTPUT_KEPT KIB(128)   /* storage kept while an answer runs */

/* Room for n bytes, by closing the gap of what was sent before growing. */
static int make_room(struct conn *c, size_t n) {
    if (c->broken || c->dead) {
        return -1;
    }
    if (c->out_sent > 0 && n > c->out.cap - c->out.len) {
        buf_consume(&c->out, c->out_sent);
        c->out_sent = 0;
    }
    if (buf_reserve(&c->out, n) == BUF_OK) {
        return 0;
    }
    c->broken = true;
    conn_turn_later(c);
    return -1;
}

void conn_output(struct conn *c, const void *data, size_t n) {
    if (make_room(c, n) == 0 && buf_add(&c->out, data, n) != BUF_OK) {
        c->broken = true;
    }
}

static void output_chunk(struct conn *c, const void *data, size_t n) {
    static const char hex[] = "0123456789abcdef";
    char line[CHUNK_FRAME];
    size_t at = sizeof(line);
    line[--at] = '\n';
    line[--at] = '\r';
    for (size_t left = n; left > 0; left >>= 4) {
        line[--at] = hex[left & 15];
    }
    if (make_room(c, n + CHUNK_FRAME) != 0) {
        return;
    }
    if (buf_add(&c->out, line + at, sizeof(line) - at) != BUF_OK ||
        buf_add(&c->out, data, n) != BUF_OK || buf_add(&c->out, "\r\n", 2) != BUF_OK) {
        c->broken = true;
    }
}

void conn_drop_output(struct conn *c) {
    buf_release(&c->out);
    c->out_sent = 0;
}

static void output_sent(struct conn *c) {
    buf_reuse(&c->out, OUTPUT_KEPT);
    c->out_sent = 0;
}

void conn_flush(struct conn *c) {
    size_t before = c->out_sent;
    if (c->fed && conn_pending(c) > 0) {
        c->ops->output(c->ctx, c->out.data + c->out_sent, conn_pending(c));
        c->out_sent = c->out.len;
    }
    while (conn_pending(c) > 0) {
        ssize_t n = conn_send(c, c->out.data + c->out_sent, conn_pending(c));
        if (n > 0) {
            c->out_sent += (size_t)n;
            continue;
        }
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0 && errno != EAGAIN) {
            c->broken = true;
            conn_turn_later(c);
            return;
        }
        if (!c->blocked || c->out_sent > before) {
            c->stall_since = clock_now();
        }
        if (event_add(&c->writable, NULL) == 0) {
            c->blocked = true;
        } else {
            c->broken = true;
            conn_turn_later(c);
        }
        return;
    }
    c->blocked = false;
    if (c->out.len > 0) {
        output_sent(c);
    }
}

void conn_on_writable(evutil_socket_t fd, short what, void *arg) {
    struct conn *c = arg;
    (void)what;
    if (c->shaking) {
        conn_on_readable(fd, EV_READ, c); /* may free the connection */
        return;
    }
    if (c->read_on) {
        c->read_on = false;
        event_active(&c->readable, EV_READ, 0);
    }
    conn_enter(c);
    conn_flush(c);
    if (c->broken) {
        conn_lost(c);
    } else {
        conn_advance(c);
    }
    conn_leave(c);
}

/* Fields that are the connection's own business. */
static bool is_framing(struct str name) {
    static const char *const names[] = {
        "date",       "connection", "content-length", "transfer-encoding",
        "keep-alive", "trailer",    "upgrade"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (str_case_is(name, names[i])) {
            return true;
        }
    }
    return false;
}

static int write_fields(struct conn *c, int status, const struct headers *headers) {
    char date[30];
    clock_format_http(clock_wall(), date, sizeof(date));
    int r = http_write_status(&c->out, status);
    for (size_t i = 0; r == 0 && headers && i < headers->n; i++) {
        struct header f = headers_at(headers, i);
        if (!is_framing(f.name)) {
            r = http_write_field(&c->out, f.name, f.value);
        }
    }
    return r == 0 ? http_write_field(&c->out, STR("Date"), str_of(date)) : r;
}

static int write_framing(struct conn *c, bool with_length) {
    int r = BUF_OK;
    if (c->chunked) {
        r = buf_adds(&c->out, "Transfer-Encoding: chunked\r\n");
    } else if (with_length) {
        r = buf_adds(&c->out, "Content-Length: ") | buf_addn(&c->out, c->answer_left) |
            buf_add(&c->out, "\r\n", 2);
    }
    if (r == BUF_OK && !c->keep_alive) {
        r = buf_adds(&c->out, "Connection: close\r\n");
    } else if (r == BUF_OK && c->minor == 0) {
        r = buf_adds(&c->out, "Connection: keep-alive\r\n");
    }
    return r == BUF_OK ? buf_add(&c->out, "\r\n", 2) : r;
}

static void output_head(struct conn *c, int status, const struct headers *headers,
                        long long length) {
    bool never_long = status < 200 || status == 204 || status == 304;
    c->answer_head_out = true;
    c->no_body = c->head_method || never_long;
    c->length_known = length >= 0;
    c->answer_left = length >= 0 ? (uint64_t)length : 0;
    c->chunked = !c->length_known && !c->no_body && c->minor >= 1;
    if (c->draining || (!c->length_known && !c->no_body && !c->chunked)) {
        c->keep_alive =
            false; /* an HTTP/1.0 client takes the end of the connection for the end of the body */
    }
    size_t fields = headers ? headers->text.len + 4 * headers->n : 0;
    size_t body = c->answer_left < BODY_WITH_HEAD && !c->no_body ? (size_t)c->answer_left : 0;
    if (make_room(c, fields + 256 + body) != 0) {
        return;
    }
    if (write_fields(c, status, headers) != 0 ||
        write_framing(c, c->length_known && !never_long) != BUF_OK) {
        c->broken = true;
    }
}

void conn_refusal(struct conn *c, int status, const struct headers *headers, struct str body) {
    c->keep_alive = false;
    c->minor = 1;
    output_head(c, status, headers, (long long)body.n);
    if (!c->no_body) {
        conn_output(c, body.p, body.n);
    }
}

void conn_head(struct conn *c, int status, const struct headers *headers, long long length) {
    if (c->state != CONN_ANSWERING || c->answer_head_out || c->dead) {
        return;
    }
    output_head(c, status, headers, length);
    conn_turn_later(c);
}

void conn_body(struct conn *c, const void *data, size_t n) {
    if (c->state != CONN_ANSWERING || !c->answer_head_out || c->no_body || c->dead) {
        return;
    }
    if (c->length_known && n > c->answer_left) {
        n = (size_t)c->answer_left;
        c->keep_alive = false;
    }
    if (n == 0) {
        return; /* an empty chunk would be the last one */
    }
    if (c->chunked) {
        output_chunk(c, data, n);
    } else {
        conn_output(c, data, n);
    }
    c->answer_left -= c->length_known ? n : 0;
    c->bytes_out += n;
    if (conn_pending(c) > CLIENT_BUFFER_HIGH && !c->blocked && !c->broken) {
        conn_flush(c); /* lest the owner pauses its source for a socket that has room */
    }
    c->was_full = c->was_full || conn_full(c);
    conn_turn_later(c);
}

void conn_end(struct conn *c) {
    if (c->state != CONN_ANSWERING || c->dead) {
        return;
    }
    if (!c->answer_head_out || (c->length_known && !c->no_body && c->answer_left > 0)) {
        conn_abort(c);
        return;
    }
    if (c->chunked) {
        conn_output(c, "0\r\n\r\n", 5);
    }
    c->state = CONN_ANSWERED;
    conn_turn_later(c);
}

void conn_abort(struct conn *c) {
    if (c->state != CONN_ANSWERING || c->dead) {
        return;
    }
    c->reset = conn_ends_body(c);
    conn_begin_closing(c);
}

void conn_close_after(struct conn *c) {
    c->keep_alive = false;
}

bool conn_full(const struct conn *c) {
    bool tight = !pool_roomy(c->limits->pool);
    return conn_pending(c) > (tight ? CLIENT_BUFFER_LOW : CLIENT_BUFFER_HIGH);
}

size_t conn_bytes_out(const struct conn *c) {
    return c->bytes_out;
}
