/* SPDX-License-Identifier: MIT */
/*
 * The life of a connection: made, moved from state to state at the end of each turn of the loop,
 * closed, freed. Freeing happens in one place, conn_leave or conn_kill, when no callback of the
 * connection is on the stack.
 */
#include "net/conn_internal.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static void destroy(struct conn *c) {
    c->depth++; /* closed may call what it likes */
    c->ops->closed(c->ctx, c);
    http_request_free(c->req);
    buf_release(&c->in);
    buf_release(&c->out);
    free(c);
}

/* Lest a FIN makes the client take what it has for the whole answer. */
static void end_with_reset(struct conn *c) {
    struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
}

void conn_shut(struct conn *c) {
    if (c->dead) {
        return;
    }
    c->dead = true;
    if (conn_ends_body(c) && (c->state == CONN_ANSWERING || conn_pending(c) > 0)) {
        c->reset = true;
    }
    event_del(&c->readable);
    event_del(&c->writable);
    event_del(&c->turn);
    event_del(&c->timer);
    conn_drop_tls(c);
    if (c->reset && !c->fed) {
        end_with_reset(c);
    }
    if (!c->fed) {
        close(c->fd);
    }
    c->fd = -1;
}

void conn_enter(struct conn *c) {
    c->depth++;
}

/* Reading stops while enough input is buffered behind an answer. */
static void watch_input(struct conn *c) {
    bool want = conn_wants_input(c);
    if (want && conn_input_waits(c)) {
        event_active(&c->readable, EV_READ, 0);
    }
    if (want == c->reading || c->fed) {
        return;
    }
    int r = want ? event_add(&c->readable, NULL) : event_del(&c->readable);
    c->reading = want && r == 0;
    if (r != 0) {
        c->broken = true;
        conn_turn_later(c);
    }
}

void conn_leave(struct conn *c) {
    if (--c->depth > 0) {
        return;
    }
    if (c->dead) {
        destroy(c);
        return;
    }
    watch_input(c);
    conn_set_timer(c);
}

void conn_lost(struct conn *c) {
    if (c->state == CONN_ANSWERING) {
        c->reset = conn_ends_body(c);
        c->state = CONN_CLOSING;
        c->ops->gone(c->ctx, c, c->request_ctx);
    }
    conn_shut(c);
}

void conn_begin_closing(struct conn *c) {
    c->state = CONN_CLOSING;
    http_request_free(c->req);
    c->req = NULL;
    buf_release(&c->in);
    conn_turn_later(c);
}

/* All output is with the kernel. Closing now, with input unread, would send a RST that may overtake
 * it. */
static void begin_lingering(struct conn *c) {
    c->state = CONN_LINGERING;
    c->phase_since = clock_now();
    if (c->fed || c->shaking || (!c->reset && (c->eof || conn_say_end(c) != 0))) {
        conn_shut(c);
    }
}

static void next_request(struct conn *c) {
    if (!c->keep_alive || c->eof || (c->draining && c->drain_grace <= 0)) {
        conn_begin_closing(c);
        return;
    }
    c->drain_until = clock_now() + c->drain_grace; /* from now on the client may send again */
    if (conn_pending(c) > CLIENT_BUFFER_LOW) {
        return; /* a client that sends requests and reads no answers has to wait */
    }
    conn_begin_head(c, clock_now());
    conn_parse(c);
}

void conn_advance(struct conn *c) {
    if (c->was_full && conn_pending(c) < CLIENT_BUFFER_LOW && c->state == CONN_ANSWERING) {
        c->was_full = false;
        c->ops->drained(c->ctx, c, c->request_ctx);
    }
    if (c->dead) {
        return;
    }
    if (c->state == CONN_READ_HEAD && !c->head_started && conn_drained_out(c) &&
        !conn_has_arrived(c)) {
        conn_begin_closing(c);
    }
    if (c->state == CONN_ANSWERED) {
        next_request(c);
    }
    if (!c->dead && c->state == CONN_CLOSING && conn_pending(c) == 0) {
        begin_lingering(c);
    }
}

static void on_turn(evutil_socket_t fd, short what, void *arg) {
    struct conn *c = arg;
    (void)fd;
    (void)what;
    c->turn_due = false;
    conn_enter(c);
    if (!c->blocked && !c->broken) {
        conn_flush(c);
    }
    if (c->broken) {
        conn_lost(c);
    } else {
        conn_advance(c);
    }
    conn_leave(c);
}

void conn_turn_later(struct conn *c) {
    if (c->turn_due || c->dead) {
        return;
    }
    c->turn_due = true;
    event_active(&c->turn, EV_TIMEOUT, 0);
}

static void name_peer(struct conn *c) {
    struct sockaddr_storage ss;
    socklen_t len = sizeof(ss);
    char host[48], port[8];
    snprintf(c->peer, sizeof(c->peer), "local");
    if (getpeername(c->fd, (struct sockaddr *)&ss, &len) != 0 ||
        (ss.ss_family != AF_INET && ss.ss_family != AF_INET6) ||
        getnameinfo((struct sockaddr *)&ss, len, host, sizeof(host), port, sizeof(port),
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
        return;
    }
    snprintf(c->peer, sizeof(c->peer), ss.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
}

static int assign_events(struct conn *c) {
    if (event_assign(&c->readable, c->base, c->fd, EV_READ | EV_PERSIST, conn_on_readable, c) !=
            0 ||
        event_assign(&c->writable, c->base, c->fd, EV_WRITE, conn_on_writable, c) != 0 ||
        event_assign(&c->turn, c->base, -1, 0, on_turn, c) != 0 ||
        event_assign(&c->timer, c->base, -1, 0, conn_on_timer, c) != 0) {
        return -1;
    }
    return c->fed ? 0 : event_add(&c->readable, NULL);
}

static void dispose(int fd) {
    if (fd >= 0) {
        close(fd);
    }
}

struct conn *conn_new(struct event_base *base, int fd, const struct conn_ops *ops, void *ctx,
                      const struct conn_limits *limits) {
    struct conn *c = calloc(1, sizeof(*c));
    if (!c) {
        dispose(fd);
        return NULL;
    }
    c->base = base;
    c->fd = fd;
    c->fed = fd < 0;
    c->ops = ops;
    c->ctx = ctx;
    c->limits = limits;
    c->reading = true;
    c->timer_at = USEC_NEVER;
    buf_init(&c->in, MAX_HEADER_BYTES + CONN_READ_SIZE);
    buf_init(&c->out, MAX_CONN_OUTPUT);
    buf_share(&c->out, limits->pool, POOL_OUTPUT);
    if (assign_events(c) != 0) {
        dispose(fd);
        free(c);
        return NULL;
    }
    if (c->fed) {
        snprintf(c->peer, sizeof(c->peer), "local");
    } else {
        int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on,
                   sizeof(on)); /* fails on what is no such socket, where it is not needed */
        name_peer(c);
    }
    conn_begin_head(c, clock_now());
    conn_set_timer(c);
    return c;
}

void conn_kill(struct conn *c) {
    conn_shut(c);
    if (c->depth == 0) {
        destroy(c);
    }
}

void conn_drain(struct conn *c, usec grace) {
    c->draining = true;
    c->drain_grace = grace;
    c->drain_until = clock_now() + grace;
    if (grace <= 0 && conn_idle(c) && !conn_has_arrived(c)) {
        conn_kill(c);
        return;
    }
    if (!c->dead) {
        conn_set_timer(c);
    }
    conn_turn_later(c);
}

bool conn_idle(const struct conn *c) {
    return c->state == CONN_READ_HEAD && !c->head_started && conn_pending(c) == 0;
}

void conn_set_limits(struct conn *c, const struct conn_limits *limits) {
    c->limits = limits;
    if (!c->dead) {
        conn_set_timer(c);
    }
}

void conn_set_request_ctx(struct conn *c, void *request_ctx) {
    c->request_ctx = request_ctx;
}

void http_request_free(struct http_request *r) {
    if (!r) {
        return;
    }
    free(r->raw);
    headers_release(&r->headers);
    buf_release(&r->body);
    free(r);
}
