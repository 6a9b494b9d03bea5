/* SPDX-License-Identifier: MIT */
/*
 * The transport over libcurl's multi interface: the life of transfers and of the transport, and the
 * callbacks of transfers. What a request becomes is curl_request.c's, events are curl_loop.c's,
 * outcomes curl_outcome.c's; reading the answer's head is answer.c's.
 *
 * libcurl forbids most calls from inside its callbacks, and our users may call anything from
 * theirs, which are made from inside libcurl's. So whatever cannot be done at once is noted in the
 * transfer's `want`, and curl_settle() does it when libcurl has returned. Completions are collected
 * there too. `inside` counts how deep in libcurl we are. Resuming is always put off, since
 * curl_easy_pause calls the write callback at once.
 *
 * libcurl sends a request again by itself when a reused connection fails before the answer (up to
 * five times, POST included). There is no option against it, but on its way it must either open a
 * socket or find another idle connection ready, and asks us both times: on_socket_open and on_ready
 * refuse the second time.
 */
#include <event2/event.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/count.h"
#include "base/limits.h"
#include "upstream/curl_internal.h"

enum { WANT_ADD = 1, WANT_RESUME = 2, WANT_REMOVE = 4 };

static const struct transport_ops OPS;

static void want(struct curl_transfer *x, unsigned what) {
    if (x->want == 0) {
        TAILQ_INSERT_TAIL(&x->owner->deferred, x, deferred);
    }
    x->want |= what;
    if (x->owner->inside == 0) {
        event_active(x->owner->kick, 0, 0);
    }
}

static void unwant(struct curl_transfer *x) {
    if (x->want != 0) {
        TAILQ_REMOVE(&x->owner->deferred, x, deferred);
        x->want = 0;
    }
}

/* ---- Callbacks of one transfer, made by libcurl ---- */

static curl_socket_t on_socket_open(void *arg, curlsocktype purpose,
                                    struct curl_sockaddr *address) {
    struct curl_transfer *x = arg;
    (void)purpose;
    if (x->ready) {
        x->resent = true;
        return CURL_SOCKET_BAD;
    }
    int fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
    if (fd < 0) {
        return CURL_SOCKET_BAD;
    }
    x->opened = true;
    count_add(x->owner->sockets, 1);
    return fd;
}

static int on_socket_close(void *arg, curl_socket_t fd) {
    struct curl_transport *t = arg;
    count_add(t->sockets, -1);
    return close(fd);
}

static int on_ready(void *arg, char *remote, char *local, int remote_port, int local_port) {
    struct curl_transfer *x = arg;
    (void)remote, (void)local, (void)remote_port, (void)local_port;
    if (x->dropped || x->ready) {
        x->resent = x->ready;
        return CURL_PREREQFUNC_ABORT;
    }
    x->ready = true;
    if (x->opened) {
        count_add(x->owner->opened, 1);
    }
    if (x->events.connected) {
        x->events.connected(x->ctx, !x->opened);
    }
    return x->dropped ? CURL_PREREQFUNC_ABORT : CURL_PREREQFUNC_OK;
}

static size_t on_read(char *to, size_t size, size_t count, void *arg) {
    struct curl_transfer *x = arg;
    if (x->dropped) {
        return CURL_READFUNC_ABORT; /* the body's bytes may be gone */
    }
    return outgoing_read(&x->out, to, size * count);
}

static size_t on_header(char *data, size_t size, size_t count, void *arg) {
    struct curl_transfer *x = arg;
    size_t n = size * count;
    if (x->dropped) {
        return 0;
    }
    switch (answer_line(&x->answer, str_make(data, n))) {
    case ANSWER_BAD:
        return 0;
    case ANSWER_HEAD:
        x->events.head(x->ctx, x->answer.status, &x->answer.headers);
        return x->dropped ? 0 : n;
    default:
        return n;
    }
}

static size_t on_body(char *data, size_t size, size_t count, void *arg) {
    struct curl_transfer *x = arg;
    size_t n = size * count;
    if (x->dropped || x->answer.phase != ANSWER_BODY) {
        return CURL_WRITEFUNC_ERROR;
    }
    if (x->paused) {
        x->held = true;
        return CURL_WRITEFUNC_PAUSE; /* all or nothing: the same bytes come again */
    }
    if (n > 0) {
        x->events.data(x->ctx, data, n);
    }
    return x->dropped ? CURL_WRITEFUNC_ERROR : n;
}

/* ---- Life of a transfer ---- */

/* What is the same for every request of a handle. */
static void set_constants(struct curl_transfer *x) {
    CURLcode (*const set)(CURL *, CURLoption, ...) = x->owner->lib.easy_setopt;
    CURL *e = x->easy;
    set(e, CURLOPT_PRIVATE, x);
    set(e, CURLOPT_ERRORBUFFER, x->error);
    set(e, CURLOPT_NOSIGNAL, 1L);   /* else a sigaction per handle and pass */
    set(e, CURLOPT_QUICK_EXIT, 1L); /* else cancelling waits for the resolver's thread */
    set(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    set(e, CURLOPT_PROTOCOLS_STR, "http,https");
    set(e, CURLOPT_FOLLOWLOCATION, 0L);
    set(e, CURLOPT_NOPROXY, ""); /* nothing from the environment, see PROXY, too */
    set(e, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    set(e, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    set(e, CURLOPT_PATH_AS_IS, 1L);
    set(e, CURLOPT_TCP_NODELAY, 1L);
    set(e, CURLOPT_TCP_KEEPALIVE, 1L);
    set(e, CURLOPT_MAXAGE_CONN, 60L);
    set(e, CURLOPT_ACCEPT_ENCODING, "identity"); /* what comes encoded anyway is decoded */
    set(e, CURLOPT_OPENSOCKETFUNCTION, on_socket_open);
    set(e, CURLOPT_OPENSOCKETDATA, x);
    set(e, CURLOPT_CLOSESOCKETFUNCTION, on_socket_close);
    set(e, CURLOPT_CLOSESOCKETDATA, x->owner); /* connections outlive their first transfer */
    set(e, CURLOPT_PREREQFUNCTION, on_ready);
    set(e, CURLOPT_PREREQDATA, x);
    set(e, CURLOPT_READFUNCTION,
        on_read); /* and no SEEKFUNCTION: what was read cannot be sent again */
    set(e, CURLOPT_READDATA, x);
    set(e, CURLOPT_HEADERFUNCTION, on_header);
    set(e, CURLOPT_HEADERDATA, x);
    set(e, CURLOPT_WRITEFUNCTION, on_body);
    set(e, CURLOPT_WRITEDATA, x);
}

static struct curl_transfer *transfer_new(struct curl_transport *t) {
    struct curl_transfer *x = TAILQ_FIRST(&t->spare);
    if (x) {
        TAILQ_REMOVE(&t->spare, x, link);
        t->n_spare--;
        return x;
    }
    x = calloc(1, sizeof *x);
    if (!x) {
        return NULL;
    }
    x->base.ops = &OPS;
    x->owner = t;
    x->easy = t->lib.easy_init();
    if (!x->easy) {
        free(x);
        return NULL;
    }
    answer_init(&x->answer);
    set_constants(x);
    return x;
}

static void transfer_free(struct curl_transfer *x) {
    curl_request_drop(x);
    x->owner->lib.easy_cleanup(x->easy);
    answer_release(&x->answer);
    free(x);
}

/* Out of the multi handle and of every list. Kept for the next request if it came to a good end: a
 * handle that failed carries libcurl's retry count and its wish to rewind the body into its next
 * transfer, and fails that too. */
static void retire(struct curl_transfer *x) {
    struct curl_transport *t = x->owner;
    unwant(x);
    if (x->added) {
        t->lib.multi_remove_handle(t->multi, x->easy);
        x->added = false;
    }
    TAILQ_REMOVE(&t->active, x, link);
    count_add(t->n_active, -1);
    t->lib.multi_setopt(t->multi, CURLMOPT_MAXCONNECTS,
                        (long)(count_get(t->n_active) + t->idle_max));
    if (count_get(t->n_active) == 0) {
        event_del(t->tick);
    }
    curl_request_drop(x);
    if (x->clean && t->n_spare < MAX_SPARE_TRANSFERS) {
        TAILQ_INSERT_HEAD(&t->spare, x, link);
        t->n_spare++;
    } else {
        transfer_free(x);
    }
}

static void finish(struct curl_transfer *x, CURLcode code) {
    struct transfer_result result = {.outcome = curl_outcome(x, code), .sent = curl_sent(&x->base)};
    result.detail = x->answer.fault ? x->answer.fault
                    : x->resent     ? "the idle connection was closed by the other side"
                                    : x->error;
    if (!*result.detail) {
        result.detail = x->owner->lib.easy_strerror(code);
    }
    bool silent = x->dropped;
    x->clean = code == CURLE_OK;
    x->dropped = true;
    if (x->added) {
        x->owner->lib.multi_remove_handle(x->owner->multi, x->easy);
        x->added = false;
    }
    if (!silent) {
        x->events.done(x->ctx, &result);
    }
    retire(x);
}

static void add(struct curl_transfer *x) {
    struct curl_transport *t = x->owner;
    CURLMcode code = t->lib.multi_add_handle(t->multi, x->easy);
    if (code == CURLM_OK) {
        x->added = true;
    } else {
        finish(x, CURLE_OUT_OF_MEMORY);
    }
}

static void resume(struct curl_transfer *x) {
    if (x->paused || !x->held || !x->added) {
        return;
    }
    x->held = false;
    x->owner->inside++;
    CURLcode code = x->owner->lib.easy_pause(x->easy, CURLPAUSE_CONT);
    x->owner->inside--;
    if (code != CURLE_OK && !x->dropped) {
        finish(x, code);
    }
}

/* One thing at a time, since each may make or end others. */
void curl_settle(struct curl_transport *t) {
    int left;
    for (;;) {
        struct curl_transfer *x = TAILQ_FIRST(&t->deferred);
        if (x) {
            unsigned what = x->want;
            unwant(x);
            if (what & WANT_REMOVE) {
                retire(x);
            } else if (what & WANT_ADD) {
                add(x);
            } else {
                resume(x);
            }
            continue;
        }
        CURLMsg *message = t->lib.multi_info_read(t->multi, &left);
        if (!message) {
            return;
        }
        CURLcode code = message->data.result; /* the message is gone with its handle */
        if (message->msg == CURLMSG_DONE &&
            t->lib.easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &x) == CURLE_OK && x) {
            finish(x, code);
        }
    }
}

/* ---- The interface ---- */

static struct transfer *op_start(struct transport *base, const struct transfer_request *r,
                                 const struct transfer_events *events, void *ctx) {
    struct curl_transport *t = (struct curl_transport *)base;
    struct str url = str_of(r->url);
    if (!str_starts(url, "http://") && !str_starts(url, "https://")) {
        return NULL;
    }
    struct curl_transfer *x = transfer_new(t);
    if (!x || curl_request_set(x, r) != 0) {
        if (x) {
            transfer_free(x);
        }
        return NULL;
    }
    answer_reset(&x->answer);
    x->events = *events;
    x->ctx = ctx;
    x->ready = x->opened = x->resent = x->paused = x->held = x->dropped = x->clean = false;
    x->error[0] = '\0';
    count_add(t->n_active, 1);
    if (count_get(t->n_active) == 1) {
        struct timeval second = {1, 0};
        event_add(t->tick, &second);
    }
    TAILQ_INSERT_TAIL(&t->active, x, link);
    if (t->inside > 0) {
        want(x, WANT_ADD);
        return &x->base;
    }
    /* libcurl counts busy connections too, so its maximum moves with them; the default would let a
     * dip in traffic close warm ones. */
    t->lib.multi_setopt(t->multi, CURLMOPT_MAXCONNECTS,
                        (long)(count_get(t->n_active) + t->idle_max));
    if (t->lib.multi_add_handle(t->multi, x->easy) != CURLM_OK) {
        retire(x);
        return NULL;
    }
    x->added = true;
    return &x->base;
}

static void op_pause(struct transfer *base) {
    struct curl_transfer *x = (struct curl_transfer *)base;
    x->paused = true;
}

static void op_resume(struct transfer *base) {
    struct curl_transfer *x = (struct curl_transfer *)base;
    x->paused = false;
    if (x->held && !x->dropped) {
        want(x, WANT_RESUME);
    }
}

static void op_cancel(struct transfer *base) {
    struct curl_transfer *x = (struct curl_transfer *)base;
    if (x->dropped) {
        return;
    }
    x->dropped = true;
    if (x->owner->inside > 0) {
        want(x, WANT_REMOVE);
    } else {
        retire(x);
    }
}

static void op_stats(const struct transport *base, struct transport_stats *out) {
    const struct curl_transport *t = (const struct curl_transport *)base;
    *out = (struct transport_stats){.active = count_get(t->n_active),
                                    .connections = count_get(t->sockets),
                                    .libcurl = count_get(t->sockets),
                                    .opened = count_get(t->opened)};
}

static void op_free(struct transport *base) {
    struct curl_transport *t = (struct curl_transport *)base;
    struct curl_transfer *x;
    while ((x = TAILQ_FIRST(&t->active))) {
        x->dropped = true;
        retire(x);
    }
    while ((x = TAILQ_FIRST(&t->spare))) {
        TAILQ_REMOVE(&t->spare, x, link);
        transfer_free(x);
    }
    if (t->multi) {
        t->lib.multi_cleanup(t->multi); /* may still call on_socket, on_timer and on_socket_close */
    }
    if (t->counted) {
        t->lib.global_cleanup();
    }
    struct event *events[] = {t->timer, t->tick, t->kick};
    for (size_t i = 0; i < 3; i++) {
        if (events[i]) {
            event_free(events[i]);
        }
    }
    free(t);
}

static const struct transport_ops OPS = {op_start,  op_pause, op_resume, op_cancel,
                                         curl_sent, op_stats, op_free};

struct transport *curl_transport_new(struct event_base *base, size_t idle_max, struct err *err) {
    struct curl_transport *t = calloc(1, sizeof *t);
    if (!t) {
        err_set(err, "out of memory for the upstream transport");
        return NULL;
    }
    t->base.ops = &OPS;
    t->events = base;
    t->idle_max = idle_max;
    TAILQ_INIT(&t->active);
    TAILQ_INIT(&t->spare);
    TAILQ_INIT(&t->deferred);
    if (curl_library_load(&t->lib, err) != 0) {
        free(t);
        return NULL;
    }
    t->counted = t->lib.global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK; /* thread-safe since 7.84 */
    t->multi = t->counted ? t->lib.multi_init() : NULL;
    t->timer = event_new(base, -1, 0, curl_on_timeout, t);
    t->tick = event_new(base, -1, EV_PERSIST, curl_on_timeout, t);
    t->kick = event_new(base, -1, 0, curl_on_kick, t);
    if (!t->multi || !t->timer || !t->tick || !t->kick) {
        err_set(err, "libcurl or libevent cannot be set up: out of memory?");
        op_free(&t->base);
        return NULL;
    }
    t->lib.multi_setopt(t->multi, CURLMOPT_SOCKETFUNCTION, curl_on_socket);
    t->lib.multi_setopt(t->multi, CURLMOPT_SOCKETDATA, t);
    t->lib.multi_setopt(t->multi, CURLMOPT_TIMERFUNCTION, curl_on_timer);
    t->lib.multi_setopt(t->multi, CURLMOPT_TIMERDATA, t);
    t->lib.multi_setopt(t->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
    return &t->base;
}

int curl_transport_check(struct err *err) {
    struct curl_library lib;
    return curl_library_load(&lib, err);
}

const char *curl_transport_version(void) {
    struct curl_library lib;
    return curl_library_load(&lib, NULL) == 0 ? lib.version() : "libcurl: none";
}
