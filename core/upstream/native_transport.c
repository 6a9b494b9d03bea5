/* SPDX-License-Identifier: MIT */
/*
 * The transport that is our own: HTTP/1.1, in plain text or through TLS. One request at a time on a
 * connection (link.h), one write for head and body (large bodies are never copied), one read per
 * turn of the loop into a buffer that all transfers share.
 *
 * transfer_start makes no callback, so what is ready at once waits on the `kicked` list for the
 * transport's own event, which runs in the same turn of the loop. A transfer may be cancelled from
 * inside any of its callbacks: `busy` counts how deep in them it is, and the memory stays until it
 * is 0.
 */
#include <event2/event.h>
#include <stdlib.h>
#include <sys/queue.h>

#include "base/count.h"
#include "base/limits.h"
#include "net/tls.h"
#include "upstream/answer_reader.h"
#include "upstream/link.h"
#include "upstream/transport.h"
#include "upstream/wire_request.h"

#define READ_SIZE KIB(16)
#define IOV_PIECES 32 /* of a body in one write */

struct native_transfer {
    struct transfer base; /* first */
    struct native *owner;
    TAILQ_ENTRY(native_transfer) place; /* in owner->active or owner->spare */
    TAILQ_ENTRY(native_transfer) kick;  /* in owner->kicked while `is_kicked` */
    struct transfer_events events;
    void *ctx;
    struct link *link; /* NULL: none (any more) */
    int busy;
    bool is_kicked;
    bool reused;
    bool connected; /* the user was told */
    bool dropped;   /* cancelled or done: no callback any more */
    bool paused;

    struct wire_request request;
    bool written;   /* all of it is with the kernel */
    bool write_end; /* the other side takes no more; what it said may still be read */

    struct answer_reader answer;
};

TAILQ_HEAD(native_list, native_transfer);

struct native {
    struct transport base; /* first */
    struct links *links;
    struct tls_client *tls; /* for requests that bring none; NULL before the first of them */
    struct event *kick;
    struct native_list active, spare, kicked;
    atomic_size_t n_active;
    size_t n_spare;
    char block[READ_SIZE];
    char inflated[READ_SIZE];
};

/* ---- life ---- */

static void unkick(struct native_transfer *x) {
    if (x->is_kicked) {
        TAILQ_REMOVE(&x->owner->kicked, x, kick);
        x->is_kicked = false;
    }
}

static void kick(struct native_transfer *x) {
    if (!x->is_kicked) {
        TAILQ_INSERT_TAIL(&x->owner->kicked, x, kick);
        x->is_kicked = true;
        event_active(x->owner->kick, 0, 0);
    }
}

static void transfer_free(struct native_transfer *x) {
    wire_request_release(&x->request);
    answer_reader_release(&x->answer);
    free(x);
}

/* It is over for its user; nothing of it is on the stack any more. */
static void retire(struct native_transfer *x) {
    struct native *t = x->owner;
    TAILQ_REMOVE(&t->active, x, place);
    count_add(t->n_active, -1);
    if (t->n_spare >= MAX_SPARE_TRANSFERS) {
        transfer_free(x);
        return;
    }
    wire_request_clear(&x->request);
    answer_reader_clear(&x->answer, false); /* what it held may be large */
    TAILQ_INSERT_HEAD(&t->spare, x, place);
    t->n_spare++;
}

static void leave(struct native_transfer *x) {
    if (--x->busy == 0 && x->dropped) {
        retire(x);
    }
}

static struct native_transfer *transfer_new(struct native *t) {
    struct native_transfer *x = TAILQ_FIRST(&t->spare);
    if (x) {
        TAILQ_REMOVE(&t->spare, x, place);
        t->n_spare--;
        return x;
    }
    x = calloc(1, sizeof(*x));
    if (x) {
        x->owner = t;
        wire_request_init(&x->request);
        answer_reader_init(&x->answer);
    }
    return x;
}

static enum transfer_sent op_sent(const struct transfer *base) {
    const struct native_transfer *x = (const struct native_transfer *)base;
    if (x->written) {
        return SENT_ALL;
    }
    return x->request.text_out ? SENT_PARTIAL : SENT_NOTHING;
}

/* May free the transfer, when it is not busy. */
static void finish(struct native_transfer *x, enum outcome outcome, const char *detail) {
    char text[ERR_TEXT_MAX]; /* what `detail` points at may go with the connection */
    struct transfer_result result = {.outcome = outcome, .sent = op_sent(&x->base), .detail = text};
    struct link *link = x->link;
    str_copy(text, sizeof(text), str_of(detail));
    x->link = NULL;
    x->dropped = true;
    unkick(x);
    if (outcome == OUTCOME_OK && x->written && answer_reader_may_keep(&x->answer)) {
        link_keep(link);
    } else {
        link_close(link);
    }
    x->busy++;
    x->events.done(x->ctx, &result);
    leave(x);
}

/* ---- the request ---- */

/* As much as the socket takes. A side that takes no more may have answered all the same: what it
 * said, or its end, is found by reading. */
static void write_some(struct native_transfer *x) {
    struct iovec iov[IOV_PIECES];
    int count;
    while (!x->write_end && (count = wire_request_rest(&x->request, iov, IOV_PIECES)) > 0) {
        ssize_t n = link_write(x->link, iov, count);
        if (n > 0) {
            wire_request_sent(&x->request, (size_t)n);
        } else if (n == WIRE_AGAIN_WRITABLE) {
            return;
        } else {
            x->write_end = true;
        }
    }
    x->written = !x->write_end;
}

/* ---- the answer ---- */

static bool take_head(void *ctx, const struct answer *answer) {
    struct native_transfer *x = ctx;
    x->events.head(x->ctx, answer->status, &answer->headers);
    return !x->dropped;
}

static bool take_data(void *ctx, const char *data, size_t n) {
    struct native_transfer *x = ctx;
    x->events.data(x->ctx, data, n);
    return !x->dropped;
}

static struct answer_sink sink_of(struct native_transfer *x) {
    struct native *t = x->owner;
    return (struct answer_sink){
        .head = take_head, .body = {take_data, x, &x->paused, t->inflated, sizeof(t->inflated)}};
}

/* Ends the transfer when its answer has ended. */
static void after(struct native_transfer *x, enum body_step step) {
    if (step == BODY_WHOLE) {
        finish(x, OUTCOME_OK, "");
    } else if (step == BODY_FAILED) {
        finish(x, x->answer.body.fault, x->answer.body.detail);
    }
}

/* The connection has ended: properly, or because of `error` (else NULL). */
static void ended(struct native_transfer *x, const char *error) {
    struct answer_sink sink = sink_of(x);
    if (answer_reader_begun(&x->answer)) {
        after(x, answer_reader_end(&x->answer, error, &sink));
    } else if (x->reused) {
        finish(x, OUTCOME_STALE_CONNECTION, "the idle connection was closed by the other side");
    } else if (link_refused(x->link)) {
        finish(x, OUTCOME_TLS_ERROR, error);
    } else {
        finish(x, OUTCOME_EMPTY_RESPONSE, error ? error : "the provider closed the connection");
    }
}

/* One read. False: there was nothing, or there is nothing more to be read for now. */
static bool read_some(struct native_transfer *x) {
    ssize_t n = link_read(x->link, x->owner->block, READ_SIZE);
    if (n == WIRE_AGAIN || n == WIRE_AGAIN_WRITABLE) {
        return false;
    }
    if (n > 0) {
        struct answer_sink sink = sink_of(x);
        after(x, answer_reader_feed(&x->answer, str_make(x->owner->block, (size_t)n), &sink));
    } else {
        ended(x, n < 0 ? link_error(x->link) : NULL);
        return false;
    }
    return !x->dropped && !x->paused && link_pending(x->link);
}

static void on_readable(void *user) {
    struct native_transfer *x = user;
    if (x->paused) {
        link_watch(x->link, false);
        return;
    }
    if (x->is_kicked) {
        return; /* what waits comes before what is new; in this very turn */
    }
    x->busy++;
    while (read_some(x)) {
    }
    leave(x);
}

/* What the other side has said by now comes first: it may be all that it will say, and a write that
 * fails would hide it. */
static void on_writable(void *user) {
    struct native_transfer *x = user;
    x->busy++;
    on_readable(x);
    if (!x->dropped) {
        write_some(x);
    }
    leave(x);
}

/* ---- beginning, going on ---- */

static void begin_sending(struct native_transfer *x) {
    x->connected = true;
    x->busy++;
    if (x->events.connected) {
        x->events.connected(x->ctx, x->reused);
    }
    if (!x->dropped) {
        write_some(x);
    }
    leave(x);
}

static void on_connected(void *user, enum outcome outcome, const char *detail) {
    struct native_transfer *x = user;
    if (outcome == OUTCOME_OK) {
        begin_sending(x);
    } else {
        finish(x, outcome, detail);
    }
}

/* After a pause. */
static void go_on(struct native_transfer *x) {
    if (x->paused) {
        return;
    }
    x->busy++;
    struct answer_sink sink = sink_of(x);
    after(x, answer_reader_resume(&x->answer, &sink));
    if (x->dropped || x->paused) {
        leave(x);
        return;
    }
    if (!link_watch(x->link, true)) {
        finish(x, OUTCOME_STREAM_BROKEN, "out of memory");
    } else if (link_pending(x->link)) {
        on_readable(x);
    }
    leave(x);
}

static void on_kick(evutil_socket_t fd, short what, void *arg) {
    struct native *t = arg;
    struct native_transfer *x;
    (void)fd;
    (void)what;
    while ((x = TAILQ_FIRST(&t->kicked))) {
        unkick(x);
        if (!x->link) {
            finish(x, OUTCOME_CONNECT_ERROR, "out of memory for a connection");
        } else if (x->connected) {
            go_on(x);
        } else if (x->reused) {
            begin_sending(x);
        } /* else: resumed while the connection is being made */
    }
}

/* ---- the interface ---- */

static const struct transport_ops OPS;
static const struct link_ops LINK_OPS = {on_connected, on_readable, on_writable};

bool native_transport_speaks(const char *url) {
    struct origin to;
    return origin_parse(url, &to);
}

/* The client for a request through TLS; NULL: memory. */
static struct tls_client *client_of(struct native *t, const struct transfer_request *r) {
    static const struct tls_client_options usual = {.verify = true};
    if (r->tls) {
        return r->tls;
    }
    if (!t->tls) {
        t->tls = tls_client_new(&usual, NULL);
    }
    return t->tls;
}

static void find_link(struct native_transfer *x, const struct origin *to, struct tls_client *client,
                      bool fresh) {
    struct links *links = x->owner->links;
    x->link = fresh ? NULL : links_take(links, to, client, x);
    x->reused = x->link != NULL;
    if (!x->link) {
        x->link = links_open(links, to, client, x);
    }
    if (x->reused || !x->link) {
        kick(x);
    }
}

static struct transfer *op_start(struct transport *base, const struct transfer_request *r,
                                 const struct transfer_events *events, void *ctx) {
    struct native *t = (struct native *)base;
    struct origin to;
    struct tls_client *client = NULL;
    if (!origin_parse(r->url, &to) || (to.tls && !(client = client_of(t, r)))) {
        return NULL;
    }
    struct native_transfer *x = transfer_new(t);
    if (!x || wire_request_write(&x->request, r, &to) != 0) {
        if (x) {
            transfer_free(x);
        }
        return NULL;
    }
    x->base.ops = &OPS;
    x->events = *events;
    x->ctx = ctx;
    x->busy = 0;
    answer_reader_clear(&x->answer, str_is(r->method, "HEAD"));
    x->written = x->write_end = false;
    x->connected = x->dropped = x->paused = false;
    TAILQ_INSERT_TAIL(&t->active, x, place);
    count_add(t->n_active, 1);
    find_link(x, &to, client, r->fresh);
    return &x->base;
}

static void op_pause(struct transfer *base) {
    struct native_transfer *x = (struct native_transfer *)base;
    x->paused = true;
}

static void op_resume(struct transfer *base) {
    struct native_transfer *x = (struct native_transfer *)base;
    if (x->paused && !x->dropped) {
        x->paused = false;
        kick(x);
    }
}

static void op_cancel(struct transfer *base) {
    struct native_transfer *x = (struct native_transfer *)base;
    if (x->dropped) {
        return;
    }
    x->dropped = true;
    unkick(x);
    link_close(x->link);
    x->link = NULL;
    if (x->busy == 0) {
        retire(x);
    }
}

static void op_stats(const struct transport *base, struct transport_stats *out) {
    const struct native *t = (const struct native *)base;
    struct links_stats links;
    links_stats(t->links, &links);
    *out = (struct transport_stats){
        .active = count_get(t->n_active), .connections = links.connections, .opened = links.opened};
}

static void op_free(struct transport *base) {
    struct native *t = (struct native *)base;
    struct native_transfer *x;
    while ((x = TAILQ_FIRST(&t->active))) {
        op_cancel(&x->base);
    }
    while ((x = TAILQ_FIRST(&t->spare))) {
        TAILQ_REMOVE(&t->spare, x, place);
        transfer_free(x);
    }
    if (t->links) {
        links_free(t->links);
    }
    if (t->kick) {
        event_free(t->kick);
    }
    tls_client_unref(t->tls);
    free(t);
}

static const struct transport_ops OPS = {op_start, op_pause, op_resume, op_cancel,
                                         op_sent,  op_stats, op_free};

struct transport *native_transport_new(struct event_base *base, size_t idle_max, struct err *err) {
    struct native *t = calloc(1, sizeof(*t));
    if (!t) {
        err_set(err, "out of memory for the upstream transport");
        return NULL;
    }
    t->base.ops = &OPS;
    TAILQ_INIT(&t->active);
    TAILQ_INIT(&t->spare);
    TAILQ_INIT(&t->kicked);
    t->links = links_new(base, idle_max, &LINK_OPS);
    t->kick = event_new(base, -1, 0, on_kick, t);
    if (!t->links || !t->kick) {
        err_set(err, "out of memory for the upstream transport");
        op_free(&t->base);
        return NULL;
    }
    return &t->base;
}
