/* SPDX-License-Identifier: MIT */
/*
 * The transport that is our own: HTTP/1.1 in plain text. One request at a time on a connection, one
 * sendmsg for head and body (large bodies are never copied), one recv per turn of the loop into a
 * buffer that all transfers share.
 *
 * transfer_start makes no callback, so what is ready at once waits on the `kicked` list for the
 * transport's own event, which runs in the same turn of the loop. A transfer may be cancelled from
 * inside any of its callbacks: `busy` counts how deep in them it is, and the memory stays until it
 * is 0.
 */
#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>

#include "base/count.h"
#include "base/limits.h"
#include "net/http.h"
#include "upstream/answer.h"
#include "upstream/inflate.h"
#include "upstream/link.h"
#include "upstream/transport.h"
#include "upstream/wire_request.h"

#define READ_SIZE KIB(16)
#define IOV_PIECES 32 /* of a body in one sendmsg */

enum framing { BODY_NONE, BODY_LENGTH, BODY_CHUNKED, BODY_TO_CLOSE };

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
    int error; /* errno of what could not be made; 0 = none */

    struct wire_request request;
    bool written;   /* all of it is with the kernel */
    bool write_end; /* the other side takes no more; what it said may still be read */

    struct answer answer;
    struct buf line; /* the beginning of a line whose end has not come */
    bool is_head;    /* the request was a HEAD */
    enum framing framing;
    uint64_t left; /* BODY_LENGTH */
    struct http_chunks chunks;
    struct buf
        payload; /* unchunked bytes of one read; with `inflate` also what waits while paused */
    size_t payload_used;
    struct inflate *inflate; /* NULL: not needed */
    bool complete;           /* the last byte of the body is here */
    bool surplus;            /* and more that nobody asked for */
};

TAILQ_HEAD(native_list, native_transfer);

struct native {
    struct transport base; /* first */
    struct links *links;
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
    buf_release(&x->line);
    buf_release(&x->payload);
    answer_release(&x->answer);
    free(x);
}

/* It is over for its user; nothing of it is on the stack any more. */
static void retire(struct native_transfer *x) {
    struct native *t = x->owner;
    TAILQ_REMOVE(&t->active, x, place);
    count_add(t->n_active, -1);
    inflate_free(x->inflate);
    x->inflate = NULL;
    if (t->n_spare >= MAX_SPARE_TRANSFERS) {
        transfer_free(x);
        return;
    }
    wire_request_clear(&x->request);
    buf_reuse(&x->line, TRANSFER_STORAGE_KEPT);
    buf_reuse(&x->payload, TRANSFER_STORAGE_KEPT);
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
        buf_init(&x->line, MAX_ANSWER_HEAD);
        buf_init(&x->payload, SIZE_MAX / 2); /* holds what one read brought, never more */
        answer_init(&x->answer);
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

/* The connection may carry another request after this one. */
static bool may_keep(const struct native_transfer *x) {
    const struct headers *h = &x->answer.headers;
    if (!x->written || x->write_end || x->surplus || x->framing == BODY_TO_CLOSE) {
        return false;
    }
    return x->answer.minor >= 1 ? !headers_list_has(h, "connection", "close")
                                : headers_list_has(h, "connection", "keep-alive");
}

/* May free the transfer, when it is not busy. */
static void finish(struct native_transfer *x, enum outcome outcome, const char *detail) {
    struct transfer_result result = {
        .outcome = outcome, .sent = op_sent(&x->base), .detail = detail};
    struct link *link = x->link;
    x->link = NULL;
    x->dropped = true;
    unkick(x);
    if (outcome == OUTCOME_OK && may_keep(x)) {
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
        struct msghdr message = {.msg_iov = iov, .msg_iovlen = (size_t)count};
        ssize_t n = sendmsg(link_fd(x->link), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0) {
            wire_request_sent(&x->request, (size_t)n);
        } else if (n < 0 && errno == EAGAIN && link_want_write(x->link) == 0) {
            return;
        } else if (n == 0 || errno != EINTR) {
            x->write_end = true;
            return;
        }
    }
    x->written = !x->write_end;
}

/* ---- the answer ---- */

/* Gives decoded bytes to the user; false: stop, the transfer is over for it. */
static bool give(struct native_transfer *x, const char *data, size_t n) {
    if (n > 0) {
        x->events.data(x->ctx, data, n);
    }
    return !x->dropped;
}

/* Decodes what is in `payload`, until it is used up or the user has enough. */
static bool give_inflated(struct native_transfer *x) {
    enum inflate_result r = INFLATE_MORE;
    struct str in = str_make(x->payload.data + x->payload_used, x->payload.len - x->payload_used);
    bool more = true; /* decoded bytes may be waiting inside */
    while ((in.n > 0 || more) && !x->paused && r == INFLATE_MORE) {
        size_t n;
        r = inflate_step(x->inflate, &in, x->owner->inflated, sizeof(x->owner->inflated), &n);
        more = n == sizeof(x->owner->inflated);
        if (!give(x, x->owner->inflated, n)) {
            return false;
        }
    }
    x->payload_used = x->payload.len - in.n;
    if (r == INFLATE_BAD) {
        finish(x, OUTCOME_INVALID_RESPONSE, "the content coding is damaged");
        return false;
    }
    if (x->complete && in.n == 0 && r == INFLATE_MORE && !x->paused) {
        finish(x, OUTCOME_STREAM_BROKEN, "the content coding ends too soon");
        return false;
    }
    return true;
}

/* Forgets what of `payload` was given. */
static void drop_given(struct native_transfer *x) {
    buf_consume(&x->payload, x->payload_used);
    x->payload_used = 0;
}

/* Body bytes without their framing. */
static bool give_payload(struct native_transfer *x, const char *data, size_t n) {
    if (!x->inflate) {
        return give(x, data, n);
    }
    drop_given(x);
    if (buf_add(&x->payload, data, n) != BUF_OK) {
        finish(x, OUTCOME_INVALID_RESPONSE, "out of memory");
        return false;
    }
    return give_inflated(x);
}

/* What was unchunked. */
static bool give_unchunked(struct native_transfer *x) {
    if (x->inflate) {
        return give_inflated(x);
    }
    x->payload_used = x->payload.len;
    return give(x, x->payload.data, x->payload.len);
}

/* The body is complete, unless decoded bytes wait for a user who is paused. */
static void finish_body(struct native_transfer *x) {
    if (x->inflate && x->paused) {
        return; /* op_resume comes back here */
    }
    finish(x, OUTCOME_OK, "");
}

static void read_length(struct native_transfer *x, struct str in) {
    size_t n = in.n < x->left ? in.n : (size_t)x->left;
    x->left -= n;
    x->complete = x->left == 0;
    x->surplus = n < in.n;
    if (give_payload(x, in.p, n) && x->complete) {
        finish_body(x);
    }
}

static void read_chunks(struct native_transfer *x, struct str in) {
    struct err err;
    size_t used;
    drop_given(x);
    int r = http_chunks_read(&x->chunks, in.p, in.n, &used, &x->payload, &err);
    x->complete = r == 1;
    x->surplus = used < in.n;
    if (!give_unchunked(x)) {
        return;
    }
    if (r < 0) {
        finish(x, OUTCOME_STREAM_BROKEN, "the answer's chunks are malformed");
    } else if (x->complete) {
        finish_body(x);
    }
}

static void read_body(struct native_transfer *x, struct str in) {
    switch (x->framing) {
    case BODY_LENGTH:
        read_length(x, in);
        return;
    case BODY_CHUNKED:
        read_chunks(x, in);
        return;
    default:
        give_payload(x, in.p, in.n);
    }
}

static void find_framing(struct native_transfer *x) {
    const struct answer *a = &x->answer;
    struct str value;
    unsigned long long n = 0;
    http_chunks_init(&x->chunks);
    if (x->is_head || a->status == 204 || a->status == 304) {
        x->framing = BODY_NONE;
    } else if (headers_get(&a->headers, "transfer-encoding", &value)) {
        x->framing = BODY_CHUNKED; /* answer.c let nothing else through */
    } else if (headers_get(&a->headers, "content-length", &value) && str_to_u64(value, &n)) {
        x->framing = n ? BODY_LENGTH : BODY_NONE;
        x->left = n;
    } else {
        x->framing = BODY_TO_CLOSE;
    }
}

/* 0, or -1 when the transfer is over. */
static int find_coding(struct native_transfer *x) {
    struct str coding = {0};
    bool unknown;
    if (x->framing == BODY_NONE || !headers_get(&x->answer.headers, "content-encoding", &coding) ||
        inflate_not_needed(coding)) {
        return 0;
    }
    x->inflate = inflate_new(coding, &unknown);
    if (!x->inflate) {
        finish(x, OUTCOME_INVALID_RESPONSE,
               unknown ? "a content coding that nobody asked for and that is not understood"
                       : "out of memory");
        return -1;
    }
    return 0;
}

/* The head is complete. False when the transfer is over. */
static bool head_read(struct native_transfer *x, bool more) {
    find_framing(x);
    if (find_coding(x) != 0) {
        return false;
    }
    x->events.head(x->ctx, x->answer.status, &x->answer.headers);
    if (x->dropped) {
        return false;
    }
    if (x->framing == BODY_NONE) {
        x->surplus = more;
        finish(x, OUTCOME_OK, "");
        return false;
    }
    return true;
}

/* Takes one line off *in. False: its end has not come, or it cannot be kept (x->answer.fault). */
static bool take_line(struct native_transfer *x, struct str *in, struct str *line) {
    const char *lf = memchr(in->p, '\n', in->n);
    size_t n = lf ? (size_t)(lf + 1 - in->p) : in->n;
    *line = str_make(in->p, n);
    *in = str_make(in->p + n, in->n - n);
    if (lf && x->line.len == 0) {
        return true;
    }
    if (buf_add_str(&x->line, *line) != BUF_OK) {
        x->answer.fault = "the head is too long";
        return false;
    }
    *line = buf_str(&x->line);
    return lf != NULL;
}

/* False when the transfer is over or all bytes are used; *in is what the body begins with. */
static bool read_head(struct native_transfer *x, struct str *in) {
    struct str line;
    enum answer_result r = ANSWER_MORE;
    while (r == ANSWER_MORE && in->n > 0 && take_line(x, in, &line)) {
        r = answer_line(&x->answer, line);
        buf_clear(&x->line);
    }
    if (r == ANSWER_BAD || x->answer.fault) {
        finish(x, OUTCOME_INVALID_RESPONSE, x->answer.fault);
        return false;
    }
    return r == ANSWER_HEAD && head_read(x, in->n > 0) && in->n > 0;
}

static void feed(struct native_transfer *x, struct str in) {
    if (x->answer.phase == ANSWER_BODY || read_head(x, &in)) {
        read_body(x, in);
    }
}

/* The connection ended before the answer did, or with it. */
static void ended(struct native_transfer *x, int error) {
    const char *detail = error ? strerror(error) : "the provider closed the connection";
    if (x->answer.phase == ANSWER_BODY) {
        bool whole = x->framing == BODY_TO_CLOSE && !error;
        x->complete = whole;
        if (whole && x->inflate && !give_inflated(x)) {
            return;
        }
        if (whole) {
            finish_body(x);
        } else {
            finish(x, OUTCOME_STREAM_BROKEN, detail);
        }
        return;
    }
    if (x->answer.bytes || x->line.len) {
        finish(x, OUTCOME_INVALID_RESPONSE, "the answer's head is cut off");
    } else if (x->reused) {
        finish(x, OUTCOME_STALE_CONNECTION, "the idle connection was closed by the other side");
    } else {
        finish(x, OUTCOME_EMPTY_RESPONSE, detail);
    }
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
    ssize_t n = recv(link_fd(x->link), x->owner->block, READ_SIZE, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    x->busy++;
    if (n > 0) {
        feed(x, str_make(x->owner->block, (size_t)n));
    } else {
        ended(x, n < 0 ? errno : 0);
    }
    leave(x);
}

static void on_writable(void *user) {
    write_some(user);
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

static void on_connected(void *user, int error) {
    struct native_transfer *x = user;
    if (error) {
        finish(x, OUTCOME_CONNECT_ERROR, strerror(error));
    } else {
        begin_sending(x);
    }
}

/* After a pause. */
static void go_on(struct native_transfer *x) {
    if (x->paused) {
        return;
    }
    x->busy++;
    bool on = !x->inflate || give_inflated(x);
    if (on && x->complete) {
        finish_body(x);
    } else if (on && x->link && !x->paused) {
        link_watch(x->link, true);
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
        if (x->error) {
            finish(x, OUTCOME_CONNECT_ERROR, strerror(x->error));
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

static void find_link(struct native_transfer *x, const struct origin *to, bool fresh) {
    struct links *links = x->owner->links;
    x->link = fresh ? NULL : links_take(links, to, x);
    x->reused = x->link != NULL;
    x->error = 0;
    if (!x->link) {
        x->link = links_open(links, to, x);
        x->error = x->link ? 0 : errno;
    }
    if (x->reused || x->error) {
        kick(x);
    }
}

static struct transfer *op_start(struct transport *base, const struct transfer_request *r,
                                 const struct transfer_events *events, void *ctx) {
    struct native *t = (struct native *)base;
    struct origin to;
    if (!origin_parse(r->url, &to)) {
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
    x->is_head = str_is(r->method, "HEAD");
    x->written = x->write_end = false;
    x->connected = x->dropped = x->paused = x->complete = x->surplus = false;
    x->framing = BODY_NONE;
    x->payload_used = 0;
    answer_reset(&x->answer);
    TAILQ_INSERT_TAIL(&t->active, x, place);
    count_add(t->n_active, 1);
    find_link(x, &to, r->fresh);
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
