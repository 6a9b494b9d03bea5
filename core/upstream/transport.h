/* SPDX-License-Identifier: MIT */
/*
 * Carries one HTTP exchange to a provider. An interface, so that libcurl, a native implementation,
 * and a scripted one for tests can stand in for each other. A transport belongs to one event_base's
 * thread and all calls are made there.
 *
 * Rules that every implementation keeps:
 * - It sends a request at most once. A connection that fails before an answer is an error
 * (stale_connection when it had been used before), never a second send.
 * - No callback is made from inside transfer_start. After transfer_cancel or `done` no callback is
 * made any more.
 * - transfer_start, _pause, _resume and _cancel may be called at any time, from inside callbacks
 * too.
 * - It has no clocks of its own: whoever started a transfer cancels it when time is up.
 * - It decodes Transfer-Encoding and Content-Encoding, follows no redirect, uses no proxy from the
 * environment.
 * - An answer with both Content-Length and Transfer-Encoding, two Content-Lengths, one that is no
 * plain number, a Transfer-Encoding other than a single chunked, an interim answer that announces a
 * body, a head beyond MAX_ANSWER_HEAD or MAX_HEADERS, a line of it that does not end with CRLF, or
 * NUL, bare CR or other controls in it ends as OUTCOME_INVALID_RESPONSE. What is wrong behind the
 * head (malformed chunks above all) is OUTCOME_STREAM_BROKEN, since the head is out by then. Bytes
 * behind an answer are not delivered. The connection is not used again after any of these.
 */
#ifndef UPSTREAM_TRANSPORT_H
#define UPSTREAM_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"
#include "net/headers.h"
#include "upstream/outcome.h"

struct tls_client;
struct transport;
struct transport_ops;

/* One exchange; owned by the transport, valid until `done` or transfer_cancel. What follows in
 * memory is its implementation's. */
struct transfer {
    const struct transport_ops *ops;
};

enum transfer_sent { SENT_NOTHING, SENT_PARTIAL, SENT_ALL };

struct transfer_result {
    enum outcome outcome;    /* OUTCOME_OK: a complete answer was delivered. Else dns, connect, tls,
                              * stale_connection, invalid_response (lying framing), empty_response
                              * (closed without a byte of answer on a fresh connection),
                              * stream_broken (short body or reset after the head) */
    enum transfer_sent sent; /* how much of the request went out */
    const char *detail;      /* for the log; borrowed for the callback; names no key */
};

struct transfer_events {
    /* The connection (with TLS) is ready, nothing is sent yet. May be NULL. */
    void (*connected)(void *ctx, bool reused);
    /* Final status only, 1xx are skipped; headers borrowed for the call. */
    void (*head)(void *ctx, int status, const struct headers *headers);
    /* Decoded body bytes; n > 0. */
    void (*data)(void *ctx, const char *data, size_t n);
    /* Last. */
    void (*done)(void *ctx, const struct transfer_result *result);
};

struct transfer_request {
    struct str method;
    const char *url;               /* terminated; copied */
    const struct headers *headers; /* copied. Host, Content-Length, Transfer-Encoding,
                                      Accept-Encoding are the transport's */
    const struct str *body; /* pieces, sent one after another. The array is copied, the bytes are
                               BORROWED until done or cancel */
    size_t n_body;
    bool has_body; /* false: no Content-Length at all; true with no bytes: Content-Length: 0 */
    bool fresh;    /* open a new connection even when an idle one is there */
    usec connect_timeout;   /* a backstop only, 0 = none; the caller's clock is shorter */
    struct tls_client *tls; /* for https; borrowed for the call, referenced inside. NULL: the
                               system's authorities, verified, no certificate of ours. A connection
                               is used again only under the same tls_client_id. */
    const char *proxy; /* "http://[user:password@]host:port", or NULL: none. Copied. SECRET. https
                          goes through CONNECT. Only libcurl speaks to proxies. */
    bool libcurl;      /* do not use our own transport */
};

struct transport_stats {
    size_t active;      /* transfers under way */
    size_t connections; /* open sockets, idle ones included */
    size_t libcurl; /* of these: libcurl's, which sees the other side's close with its next use */
    unsigned long opened; /* connections made so far */
};

struct transport_ops {
    struct transfer *(*start)(struct transport *t, const struct transfer_request *request,
                              const struct transfer_events *events, void *ctx);
    void (*pause)(struct transfer *transfer); /* some more bytes, up to one read (16 KiB), may still
                                                 be delivered */
    void (*resume)(struct transfer *transfer);
    /* Closes the connection if an answer was under way. */
    void (*cancel)(struct transfer *transfer);
    enum transfer_sent (*sent)(const struct transfer *transfer);
    /* Any thread, as long as the transport lives; a moment's view. */
    void (*stats)(const struct transport *t, struct transport_stats *out);
    void (*free)(struct transport *t); /* cancels what is left, without callbacks */
};

struct transport {
    const struct transport_ops *ops;
};

/* NULL: memory (or the URL is none); nothing was started. */
static inline struct transfer *transfer_start(struct transport *t,
                                              const struct transfer_request *request,
                                              const struct transfer_events *events, void *ctx) {
    return t->ops->start(t, request, events, ctx);
}

static inline void transfer_pause(struct transfer *transfer) {
    transfer->ops->pause(transfer);
}
static inline void transfer_resume(struct transfer *transfer) {
    transfer->ops->resume(transfer);
}
static inline void transfer_cancel(struct transfer *transfer) {
    transfer->ops->cancel(transfer);
}
static inline enum transfer_sent transfer_sent(const struct transfer *transfer) {
    return transfer->ops->sent(transfer);
}

struct event_base;

/* What workers use: native for the URLs that it speaks (unless a proxy stands between, or the
 * request says `libcurl`), libcurl for all others, which is set up when the first of them comes.
 * `idle_max` counts for each of the two. NULL: memory. */
struct transport *transport_new(struct event_base *base, size_t idle_max, struct err *err);

/* Our own: HTTP/1.1 in plain text or through TLS. At most `idle_max` idle connections, none older
 * than 60 s idle. NULL: memory. */
struct transport *native_transport_new(struct event_base *base, size_t idle_max, struct err *err);
bool native_transport_speaks(const char *url);

/* libcurl: HTTP/1.1, one multi handle, one pool of idle connections as above. NULL: memory, or
 * there is no libcurl. */
struct transport *curl_transport_new(struct event_base *base, size_t idle_max, struct err *err);
/* Loads the library, which takes some milliseconds the first time. -1: it is not there. */
int curl_transport_check(struct err *err) __attribute__((warn_unused_result));
const char *curl_transport_version(void);

#endif
