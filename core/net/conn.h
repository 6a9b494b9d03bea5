/* SPDX-License-Identifier: MIT */
/*
 * One client connection: reads requests one after another, whole with their bodies, hands each to
 * its owner, and writes the answer with back-pressure. Pipelined requests are answered in order:
 * the next is parsed only when the current answer is done. While an answer is awaited the socket
 * stays watched, so a client that leaves is known in the same turn of the loop (EOF counts as gone
 * once the input before it is read; a pipelined head that is buffered stops reading at
 * MAX_HEADER_BYTES, errors are still seen). All on one event_base's thread.
 *
 * I/O style: plain `struct event` and one buffer that keeps its storage while an answer runs; what
 * is written in a turn goes out with one send at the end of the turn (an event made active, run in
 * the same loop iteration), EV_WRITE is armed only after EAGAIN. TCP_NODELAY.
 *
 * Callbacks run from the loop, or from inside conn_kill and conn_drain (`closed` only), never from
 * inside the other functions. All functions may be called from all callbacks; a connection that
 * ends in its own callback is freed when that returns.
 *
 * Deadlines (struct conn_limits): whole head from its first byte; idle between requests; whole body
 * with a minimum rate of 1 KiB/s after the first 10 s; write stall (no byte taken by the peer for
 * so long while output waits). Passing one: 408 with Connection: close where an answer is still
 * possible, else close.
 */
#ifndef NET_CONN_H
#define NET_CONN_H

#include <stdbool.h>
#include <stddef.h>

#include "base/clock.h"
#include "net/http.h"

struct event_base;
struct conn;
struct tls_server;

struct conn_limits {
    size_t body;                                        /* bytes; more is 413 */
    usec header_time, body_time, idle_time, write_time; /* 0 = none */
    struct pool *pool; /* of bodies and output; NULL = counted nowhere. A body that finds no room in
                          it is a 503 */
};

/* A request as read. Owned by whoever holds it; http_request_free frees it. */
struct http_request {
    char *raw; /* owned: "METHOD target", which method, target, path and query are slices of */
    struct str method, target, path, query;
    struct headers headers;
    struct buf body; /* decoded, whole */
    int minor;
    char peer[64];     /* "127.0.0.1:1234" */
    usec started;      /* first byte of the head */
    usec received;     /* last byte of the body */
    size_t wire_bytes; /* head and body as received */
};
void http_request_free(struct http_request *r); /* NULL is a no-op */

struct conn_ops {
    /* A whole request is here. The request is taken. Answer now or later with the functions below.
     */
    void (*request)(void *ctx, struct conn *conn, struct http_request *request);
    /* Head read and acceptable so far: may refuse before the body is read (and before 100-continue
     * is sent) by returning a status >= 400, else 0. May be NULL. */
    int (*head)(void *ctx, const struct http_head *head, const struct headers *headers);
    /* A refusal by the connection itself (bad framing, 408, 413 …): append the error body (JSON) to
     * *body and the headers it needs (content-type) to *headers. Counted by the owner. `message` is
     * safe to show. */
    void (*refuse)(void *ctx, int status, const char *message, struct headers *headers,
                   struct buf *body);
    /* A TLS handshake failed, and no request comes: `reason` is "timeout", "closed" (by the peer),
     * "plain_http" (a refusal of 400 follows) or "failed", `why` is for the log. May be NULL. */
    void (*tls_failed)(void *ctx, const char *peer, const char *reason, const char *why);
    /* The client of the current request went away, or stalled past write_time, before conn_end: no
     * callback for this request follows and conn_* calls for it are no longer allowed. The
     * connection frees itself after this returns. */
    void (*gone)(void *ctx, struct conn *conn, void *request_ctx);
    /* Output fell below CLIENT_BUFFER_LOW after conn_full had been true. */
    void (*drained)(void *ctx, struct conn *conn, void *request_ctx);
    /* The connection is closed and about to be freed (always called, once, last). */
    void (*closed)(void *ctx, struct conn *conn);
    /* Of a connection without a socket: bytes for the client, which takes them all; borrowed. Must
     * call nothing of the connection: it may come from inside conn_body. */
    void (*output)(void *ctx, const char *data, size_t n);
};

/* Takes fd. `ops` and `limits` are borrowed for the connection's life; ctx is given back in each
 * callback. NULL: memory (fd is closed). */
struct conn *conn_new(struct event_base *base, int fd, const struct conn_ops *ops, void *ctx,
                      const struct conn_limits *limits);
/* Right after conn_new: the client speaks TLS. The handshake has to be complete within header_time;
 * all else is as without. An end without close_notify is an end all the same: the client is gone.
 * -1: memory, and the connection is to be killed. */
int conn_start_tls(struct conn *conn, struct tls_server *server)
    __attribute__((warn_unused_result));
/*
 * With fd -1 the connection has no socket: its owner feeds it, `output` takes what it says, and it
 * keeps no deadlines (a simulated gateway, whose time is not the loop's). Otherwise it is the same.
 * Both may call back and free the connection (`closed` was called then), and must not be called
 * from inside its callbacks. conn_feed returns how many bytes it took: fewer when more requests
 * than may wait behind an answer are fed.
 */
size_t conn_feed(struct conn *conn, const char *data, size_t n);
void conn_feed_eof(struct conn *conn); /* the client sends no more: it is gone */

/*
 * Shutdown by the owner: the connection takes no request beyond the answer that says Connection:
 * close, which is the next one whose head is still to come. A client that was promised that it may
 * send again (RFC 9112 section 9.3: an answer without that field) may have done so already, and
 * what it sends most often cannot be sent twice; so a connection that is idle, or has its answer's
 * head out, waits up to `grace` for one more request before it closes, and looks at the socket a
 * last time then. The grace begins when its answer ends. With grace 0 an idle one on which nothing
 * waits closes now. May be called again with another grace. Section 9.5 allows to close an idle
 * connection at any time: a request that crosses the FIN is lost, and a careful client tries it
 * again.
 */
void conn_drain(struct conn *conn, usec grace);
/* Closes now, whatever is under way; gone is not called, closed is. */
void conn_kill(struct conn *conn);
bool conn_idle(const struct conn *conn);
/* Adjusts the limits for what follows (reload). Borrowed. */
void conn_set_limits(struct conn *conn, const struct conn_limits *limits);

/* Remembered for gone and drained. */
void conn_set_request_ctx(struct conn *conn, void *request_ctx);

/*
 * The answer to the current request. Exactly one head, then any number of bodies, then one end or
 * abort; nothing may be called after that, and the next request may be delivered from within the
 * loop afterwards (never from inside conn_end). The connection adds Date, Connection, and
 * Content-Length or Transfer-Encoding; such fields in *headers (NULL: none), and Keep-Alive,
 * Trailer and Upgrade, are ignored. HEAD requests and 1xx/204/304 send no body whatever is given.
 * With HTTP/1.0 clients a body of unknown length is sent plain and ends with the connection.
 */
#define CONN_LENGTH_UNKNOWN ((long long)-1)
void conn_head(struct conn *conn, int status, const struct headers *headers, long long length);
/* Copies. With a known length, bytes beyond it are dropped and the connection closes after. */
void conn_body(struct conn *conn, const void *data, size_t n);
void conn_end(struct conn *conn);
/* Ends without the final chunk (or short of the length): what was written goes out, then FIN
 * (lingering close). The client can tell that the answer is not whole. */
void conn_abort(struct conn *conn);
/* Says Connection: close in the head to come, or just closes after this answer when the head is
 * out. */
void conn_close_after(struct conn *conn);

bool conn_full(const struct conn *conn); /* more than CLIENT_BUFFER_HIGH waits (CLIENT_BUFFER_LOW
                                           when memory is tight): stop feeding until drained */
size_t conn_bytes_out(const struct conn *conn); /* of the current answer's body, as given to
                                                   conn_body and not dropped */

#endif
