/* SPDX-License-Identifier: MIT */
/*
 * The transport over libcurl's multi interface, driven by libevent. The only file that knows
 * curl.h. Reading the answer's head is answer.c's.
 *
 * libcurl forbids most calls from inside its callbacks, and our users may call anything from
 * theirs, which are made from inside libcurl's. So whatever cannot be done at once is noted in the
 * transfer's `want`, and settle() does it when libcurl has returned. Completions are collected
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
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/count.h"
#include "base/limits.h"
#include "net/tls.h"
#include "upstream/answer.h"
#include "upstream/curl_library.h"
#include "upstream/outgoing.h"
#include "upstream/transport.h"

enum { WANT_ADD = 1, WANT_RESUME = 2, WANT_REMOVE = 4 };

struct curl_transfer {
    struct transfer base; /* first */
    struct curl_transport *owner;
    CURL *easy;
    TAILQ_ENTRY(curl_transfer) link;     /* in owner->active or owner->spare */
    TAILQ_ENTRY(curl_transfer) deferred; /* in owner->deferred while `want` is not 0 */
    unsigned want;
    struct transfer_events events;
    void *ctx;
    struct outgoing out;
    struct tls_client *tls;  /* referenced while its texts are libcurl's; NULL: none */
    struct curl_slist *list; /* an array, linked; its lines are in `out` */
    struct answer answer;
    bool ready;   /* the connection stood once */
    bool opened;  /* this transfer opened a socket: the connection is not a reused one */
    bool resent;  /* libcurl was about to send again */
    bool paused;  /* the user does not want data now */
    bool held;    /* libcurl holds data back that the write callback refused */
    bool clean;   /* came to a good end: the handle may be used again */
    bool added;   /* in the multi handle */
    bool dropped; /* cancelled or done: no callback any more */
    char error[CURL_ERROR_SIZE];
};

TAILQ_HEAD(transfer_list, curl_transfer);

struct curl_transport {
    struct transport base;
    struct curl_library lib;
    struct event_base *events;
    CURLM *multi;
    struct event *timer; /* what libcurl asked for last */
    struct event *tick;  /* a look each second: 7.88.1 may forget to ask for a timer */
    struct event *kick;  /* settles what was put off outside of libcurl */
    struct transfer_list active, spare, deferred;
    atomic_size_t n_active;
    size_t n_spare;
    size_t idle_max;
    atomic_size_t sockets;
    atomic_ulong opened;
    bool counted; /* among the users of libcurl, which it sets itself up for and counts itself */
    unsigned inside;
};

/* One per socket that libcurl watches; made and freed in on_socket. */
struct watch {
    struct curl_transport *transport;
    struct event *event;
};

static const struct transport_ops OPS;

static void settle(struct curl_transport *t);

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

/* ---- Sockets and timers ---- */

static void on_socket_event(evutil_socket_t fd, short what, void *arg) {
    struct watch *w = arg;
    struct curl_transport *t = w->transport; /* w may be freed meanwhile */
    int running;
    int mask =
        ((what & EV_READ) ? CURL_CSELECT_IN : 0) | ((what & EV_WRITE) ? CURL_CSELECT_OUT : 0);
    t->inside++;
    t->lib.multi_socket_action(t->multi, fd, mask, &running);
    t->inside--;
    settle(t);
}

static void on_timeout(evutil_socket_t fd, short what, void *arg) {
    struct curl_transport *t = arg;
    int running;
    (void)fd, (void)what;
    t->inside++;
    t->lib.multi_socket_action(t->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    t->inside--;
    settle(t);
}

static void on_kick(evutil_socket_t fd, short what, void *arg) {
    (void)fd, (void)what;
    settle(arg);
}

/* "Returning -1 fails every transfer": memory so short that no event can be had leaves no better
 * choice. */
static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *assigned) {
    struct curl_transport *t = arg;
    struct watch *w = assigned;
    (void)easy; /* may be none of ours */
    if (what == CURL_POLL_REMOVE) {
        if (w) {
            event_free(w->event);
            free(w);
            t->lib.multi_assign(t->multi, fd, NULL);
        }
        return 0;
    }
    short events = (short)(EV_PERSIST | ((what & CURL_POLL_IN) ? EV_READ : 0) |
                           ((what & CURL_POLL_OUT) ? EV_WRITE : 0));
    if (!w) {
        w = calloc(1, sizeof *w);
        if (!w) {
            return -1;
        }
        w->transport = t;
        w->event = event_new(t->events, fd, events, on_socket_event, w);
        if (!w->event) {
            free(w);
            return -1;
        }
        t->lib.multi_assign(t->multi, fd, w);
    } else {
        event_del(w->event);
        event_assign(w->event, t->events, fd, events, on_socket_event, w);
    }
    return event_add(w->event, NULL);
}

static int on_timer(CURLM *multi, long ms, void *arg) {
    struct curl_transport *t = arg;
    (void)multi;
    if (ms < 0) {
        event_del(t->timer);
        return 0;
    }
    struct timeval tv = {ms / 1000, ms % 1000 * 1000};
    return event_add(t->timer, &tv);
}

/* ---- Building a request ---- */

/* The header lines as libcurl wants them: one without a value must end in ';' to be sent at all,
 * and "Name:" takes away a field of libcurl's own that the request does not have. */
static struct curl_slist *make_list(struct curl_transfer *x, const struct headers *headers) {
    static const char *const own[][2] = {{"Expect", "Expect:"},
                                         {"Accept", "Accept:"},
                                         {"Content-Type", "Content-Type:"},
                                         {"User-Agent", "User-Agent:"}};
    const size_t n_own = sizeof own / sizeof *own;
    struct curl_slist *list = malloc((x->out.n_lines + n_own) * sizeof *list);
    size_t n = 0;
    if (!list) {
        return NULL;
    }
    for (; n < x->out.n_lines; n++) {
        char *line = x->out.line[n];
        size_t end = strlen(line);
        if (end > 1 && line[end - 2] == ':' && strchr(line, ':') == line + end - 2) {
            memcpy(line + end - 2, ";", 2);
        }
        list[n] = (struct curl_slist){line, &list[n + 1]};
    }
    for (size_t i = 0; i < n_own; i++) {
        struct str unused;
        if (i == 0 || !headers_get(headers, own[i][0], &unused)) {
            list[n] = (struct curl_slist){(char *)(uintptr_t)own[i][1], &list[n + 1]};
            n++;
        }
    }
    list[n - 1].next = NULL;
    return list;
}

static int set_method(struct curl_transfer *x, const struct transfer_request *r) {
    CURLcode (*const set)(CURL *, CURLoption, ...) = x->owner->lib.easy_setopt;
    CURLcode code = CURLE_OK;
    set(x->easy, CURLOPT_HTTPGET, 1L); /* takes back what the handle's last request set */
    set(x->easy, CURLOPT_CUSTOMREQUEST, NULL);
    if (str_is(r->method, "HEAD")) {
        set(x->easy, CURLOPT_NOBODY, 1L);
        return 0;
    }
    if (r->has_body) {
        set(x->easy, CURLOPT_POST, 1L);
        set(x->easy, CURLOPT_POSTFIELDS, x->out.joined); /* NULL: through on_read */
        set(x->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)x->out.body_size);
    }
    if (!str_is(r->method, r->has_body ? "POST" : "GET")) {
        char *method = str_dup(r->method);
        code = method ? set(x->easy, CURLOPT_CUSTOMREQUEST, method) : CURLE_OUT_OF_MEMORY;
        free(method);
    }
    return code == CURLE_OK ? 0 : -1;
}

static CURLcode set_text(struct curl_transfer *x, CURLoption option, struct str text) {
    struct curl_blob blob = {(char *)(uintptr_t)text.p, text.n, CURL_BLOB_NOCOPY};
    return x->owner->lib.easy_setopt(x->easy, option, text.n ? &blob : NULL);
}

/* Connections remember what they were made with: libcurl shares none between different options. The
 * system's folder of authorities would be trusted beside ours. */
static int set_tls(struct curl_transfer *x, struct tls_client *tls) {
    CURLcode (*const set)(CURL *, CURLoption, ...) = x->owner->lib.easy_setopt;
    static const struct tls_client_options none = {.verify = true};
    const struct tls_client_options *o = tls ? tls_client_options(tls) : &none;
    const char *folder = o->ca.n ? NULL : x->owner->lib.version_info(CURLVERSION_NOW)->capath;
    x->tls = tls ? tls_client_ref(tls) : NULL;
    set(x->easy, CURLOPT_SSL_VERIFYPEER, o->verify ? 1L : 0L);
    set(x->easy, CURLOPT_SSL_VERIFYHOST, o->verify ? 2L : 0L);
    return set_text(x, CURLOPT_CAINFO_BLOB, o->ca) == CURLE_OK &&
                   set_text(x, CURLOPT_SSLCERT_BLOB, o->cert) == CURLE_OK &&
                   set_text(x, CURLOPT_SSLKEY_BLOB, o->key) == CURLE_OK &&
                   set(x->easy, CURLOPT_CAPATH, folder) == CURLE_OK
               ? 0
               : -1;
}

static int set_request(struct curl_transfer *x, const struct transfer_request *r) {
    CURLcode (*const set)(CURL *, CURLoption, ...) = x->owner->lib.easy_setopt;
    if (outgoing_init(&x->out, r) != 0) {
        return -1;
    }
    x->list = make_list(x, r->headers);
    if (!x->list || set_method(x, r) != 0 || set_tls(x, r->tls) != 0 ||
        set(x->easy, CURLOPT_PROXY, r->proxy ? r->proxy : "") != CURLE_OK ||
        set(x->easy, CURLOPT_URL, r->url) != CURLE_OK) {
        return -1;
    }
    set(x->easy, CURLOPT_HTTPHEADER, x->list);
    set(x->easy, CURLOPT_FRESH_CONNECT, r->fresh ? 1L : 0L);
    set(x->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)((r->connect_timeout + 999) / 1000));
    return 0;
}

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

/* ---- Life of a transfer ---- */

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

static void drop_request(struct curl_transfer *x) {
    outgoing_release(&x->out);
    free(x->list);
    x->list = NULL;
    if (x->tls) {
        set_text(x, CURLOPT_CAINFO_BLOB, str_make(NULL, 0));
        set_text(x, CURLOPT_SSLCERT_BLOB, str_make(NULL, 0));
        set_text(x, CURLOPT_SSLKEY_BLOB, str_make(NULL, 0));
    }
    tls_client_unref(x->tls);
    x->tls = NULL;
}

static void transfer_free(struct curl_transfer *x) {
    drop_request(x);
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
    drop_request(x);
    if (x->clean && t->n_spare < MAX_SPARE_TRANSFERS) {
        TAILQ_INSERT_HEAD(&t->spare, x, link);
        t->n_spare++;
    } else {
        transfer_free(x);
    }
}

static enum transfer_sent op_sent(const struct transfer *base) {
    const struct curl_transfer *x = (const struct curl_transfer *)base;
    long bytes = 0;
    curl_off_t uploaded = 0;
    x->owner->lib.easy_getinfo(x->easy, CURLINFO_REQUEST_SIZE, &bytes);
    x->owner->lib.easy_getinfo(x->easy, CURLINFO_SIZE_UPLOAD_T, &uploaded);
    if (!x->ready || (bytes == 0 && x->out.body_read == 0 && !x->resent)) {
        return SENT_NOTHING;
    }
    /* libcurl forgets its counts when it turns to a second try; what it was given is then the
     * cautious answer. */
    size_t out = x->resent ? x->out.body_read : (size_t)uploaded;
    return out >= x->out.body_size || (x->resent && x->out.joined) ? SENT_ALL : SENT_PARTIAL;
}

/* A server that wants a certificate of ours says so after a handshake of TLS 1.3, to the first read
 * or write. libcurl has no code for it. */
static bool refused_late(const struct curl_transfer *x, CURLcode code) {
    return (code == CURLE_RECV_ERROR || code == CURLE_SEND_ERROR) && x->answer.bytes == 0 &&
           strstr(x->error, "SSL") && strstr(x->error, " alert ");
}

static enum outcome before_head(const struct curl_transfer *x, CURLcode code) {
    switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
        return OUTCOME_DNS_ERROR;
    case CURLE_OPERATION_TIMEDOUT:
        return OUTCOME_TIMEOUT_CONNECT;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_CRL_BADFILE:
    case CURLE_SSL_ENGINE_INITFAILED:
    case CURLE_SSL_CLIENTCERT:
        return OUTCOME_TLS_ERROR;
    case CURLE_UNSUPPORTED_PROTOCOL: /* an answer like HTTP/0.9 */
    case CURLE_WEIRD_SERVER_REPLY:
        return x->ready ? OUTCOME_INVALID_RESPONSE : OUTCOME_CONNECT_ERROR;
    default:
        break;
    }
    if (!x->ready) {
        return OUTCOME_CONNECT_ERROR;
    }
    if (x->answer.bytes > 0) {
        return OUTCOME_INVALID_RESPONSE; /* half a head */
    }
    if (refused_late(x, code)) {
        return OUTCOME_TLS_ERROR;
    }
    return x->opened ? OUTCOME_EMPTY_RESPONSE : OUTCOME_STALE_CONNECTION;
}

static enum outcome classify(const struct curl_transfer *x, CURLcode code) {
    if (x->answer.fault) {
        return OUTCOME_INVALID_RESPONSE;
    }
    if (x->answer.phase != ANSWER_BODY) {
        return before_head(x, code);
    }
    switch (code) {
    case CURLE_OK:
        return OUTCOME_OK;
    case CURLE_BAD_CONTENT_ENCODING:
        return OUTCOME_INVALID_RESPONSE;
    default:
        return OUTCOME_STREAM_BROKEN;
    }
}

static void finish(struct curl_transfer *x, CURLcode code) {
    struct transfer_result result = {.outcome = classify(x, code), .sent = op_sent(&x->base)};
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
static void settle(struct curl_transport *t) {
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
    if (!x || set_request(x, r) != 0) {
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

static const struct transport_ops OPS = {op_start, op_pause, op_resume, op_cancel,
                                         op_sent,  op_stats, op_free};

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
    t->timer = event_new(base, -1, 0, on_timeout, t);
    t->tick = event_new(base, -1, EV_PERSIST, on_timeout, t);
    t->kick = event_new(base, -1, 0, on_kick, t);
    if (!t->multi || !t->timer || !t->tick || !t->kick) {
        err_set(err, "libcurl or libevent cannot be set up: out of memory?");
        op_free(&t->base);
        return NULL;
    }
    t->lib.multi_setopt(t->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    t->lib.multi_setopt(t->multi, CURLMOPT_SOCKETDATA, t);
    t->lib.multi_setopt(t->multi, CURLMOPT_TIMERFUNCTION, on_timer);
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
