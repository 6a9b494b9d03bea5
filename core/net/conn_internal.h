/* SPDX-License-Identifier: MIT */
/*
 * What the files of the connection share: conn.c (life and states), conn_read.c (requests),
 * conn_write.c (answers and output), conn_time.c (deadlines), conn_io.c (plain or TLS). Nobody else
 * includes this.
 */
#ifndef NET_CONN_INTERNAL_H
#define NET_CONN_INTERNAL_H

#include <event2/event.h>
#include <event2/event_struct.h>

#include "base/limits.h"
#include "net/conn.h"
#include "net/tls.h"

#define CONN_READ_SIZE KIB(16) /* one recv, by way of the stack */

/*
 * The way of one request is READ_HEAD, READ_BODY (left out when there is none), ANSWERING from the
 * call of ops->request to conn_end, ANSWERED until the turn's end has sent the output, and
 * READ_HEAD again. The way out is CLOSING (the last output is sent, input is dropped), LINGERING
 * (FIN sent, input is dropped), dead. Every state may go to dead at once. Orders are as written:
 * comparisons rely on them.
 */
enum conn_state {
    CONN_READ_HEAD,
    CONN_READ_BODY,
    CONN_ANSWERING,
    CONN_ANSWERED,
    CONN_CLOSING,
    CONN_LINGERING
};

struct conn {
    struct event_base *base;    /* borrowed */
    const struct conn_ops *ops; /* borrowed, called with ctx */
    void *ctx;
    const struct conn_limits *limits; /* borrowed */
    int fd;                           /* -1 once dead, and when there is no socket */
    bool fed;                         /* there is no socket */
    struct tls *tls;                  /* NULL: plain */
    bool shaking;                     /* the handshake is under way; the state is READ_HEAD */
    bool read_on; /* the session could not read without writing: see `writable` */
    char peer[64];

    struct event readable; /* pending while `reading` */
    struct event writable; /* pending while `blocked`, or while TLS waits to write */
    struct event turn;     /* made active, never added: the end of this turn of the loop */
    struct event timer;    /* pending while timer_at is not USEC_NEVER; may be early, never late */
    usec timer_at;

    enum conn_state state;
    int depth;     /* of callbacks of ours on the stack: nothing is freed while it is not 0 */
    bool dead;     /* fd closed, events gone; freed as soon as depth is 0 */
    bool draining; /* the next answer says Connection: close, and is the last */
    usec drain_grace, drain_until; /* how long a draining one waits for that request */
    bool broken;                   /* output could not be kept or sent: to be dropped in the turn */
    bool eof;                      /* the peer has sent its last byte */
    bool reading;
    bool blocked; /* the socket takes no more: EV_WRITE is awaited */
    bool turn_due;

    struct buf in;            /* read, not yet used */
    size_t scanned;           /* http_read_head's */
    bool head_started;        /* a head is being read, phase_since is when it began */
    struct http_request *req; /* being read */
    enum http_body body;
    uint64_t body_left; /* of a body of known length */
    struct http_chunks chunks;
    usec phase_since; /* when the idle wait, the head, the body or the lingering began */

    bool head_method;     /* the request was HEAD */
    int minor;            /* of the request */
    bool keep_alive;      /* another request may follow this answer */
    bool answer_head_out; /* conn_head was called */
    bool no_body;         /* HEAD, 1xx, 204, 304 */
    bool chunked;
    bool length_known;
    bool reset;           /* nothing but a RST can tell the client that the answer is not whole */
    uint64_t answer_left; /* of a known length */
    size_t bytes_out;
    void *request_ctx;
    bool was_full; /* drained is owed */

    struct buf out; /* sent up to out_sent */
    size_t out_sent;
    usec stall_since; /* while blocked: when the peer last took a byte */
};

static inline size_t conn_pending(const struct conn *c) {
    return c->out.len - c->out_sent;
}

/* The answer's body has no end of its own but the connection's: after a FIN it looks whole. */
static inline bool conn_ends_body(const struct conn *c) {
    return c->answer_head_out && !c->no_body && !c->length_known && !c->chunked;
}

/* conn.c. Each event callback stands between enter and leave; leave may free the connection. */
void conn_enter(struct conn *c);
void conn_leave(struct conn *c);
void conn_turn_later(struct conn *c); /* runs the end of the turn */
void conn_advance(
    struct conn *c); /* after output was sent: goes where the state and what is pending allow */
void conn_lost(struct conn *c); /* the peer is gone, or as good as gone */
void conn_shut(struct conn *c); /* dead */
void conn_begin_closing(struct conn *c);

/* Draining, and nobody waits for a further request any more. */
static inline bool conn_drained_out(const struct conn *c) {
    return c->draining && clock_now() >= c->drain_until;
}

/* conn_read.c */
void conn_on_readable(evutil_socket_t fd, short what, void *arg);
void conn_begin_head(struct conn *c, usec now);
void conn_parse(struct conn *c);
bool conn_has_arrived(const struct conn *c); /* input that was not looked at; EOF is none */
bool conn_input_blank(const struct conn *c); /* nothing but line ends between requests */
void conn_refuse(struct conn *c, int status, const char *message);
bool conn_wants_input(const struct conn *c);

/* conn_io.c. The first two as recv and send, which never wait. */
ssize_t conn_recv(struct conn *c, void *out, size_t n);
ssize_t conn_send(struct conn *c, const void *data, size_t n);
bool conn_input_waits(const struct conn *c); /* bytes are there that no event will tell of */
int conn_say_end(struct conn *c);            /* no more output: as shutdown */
void conn_drop_tls(struct conn *c);          /* before the socket is closed */
bool conn_shake(struct conn *c);             /* true: done, look for input */
void conn_shake_late(struct conn *c);        /* its deadline passed */

/* conn_write.c */
void conn_on_writable(evutil_socket_t fd, short what, void *arg);
void conn_flush(struct conn *c); /* sends what can be sent; sets broken */
void conn_output(struct conn *c, const void *data, size_t n);
void conn_drop_output(struct conn *c); /* gives its storage back */
void conn_refusal(struct conn *c, int status, const struct headers *headers, struct str body);

/* conn_time.c */
void conn_on_timer(evutil_socket_t fd, short what, void *arg);
void conn_set_timer(struct conn *c);

#endif
