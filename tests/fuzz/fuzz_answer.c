/* SPDX-License-Identifier: MIT */
/*
 * Fuzz target: a provider's answer, through our own transport and a real socket. Whatever the bytes
 * are, the callbacks keep their rules (transport.h), and an answer in one piece, in portions, and
 * read by somebody who pauses comes to the same. The first three bytes of the input choose the
 * portions, the method and where a last run is cancelled.
 * Reads: upstream/native_transport.c upstream/link.c upstream/answer.c upstream/answer_reader.c
 * upstream/inflate.c
 *
 * Lives on from input to input: the loop and the transport.
 */
#include <errno.h>
#include <event2/event.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/limits.h"
#include "upstream/transport.h"

#define URL "http://127.0.0.1:1/v1/x"
#define TURNS 4     /* of the loop, that everything ready is surely handled */
#define IDLE_MAX 64 /* those that a run left open are closed before the next */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int connect(int fd, const struct sockaddr *to, socklen_t n);

static int provider = -1; /* the other end of the connection */

/* In place of the system's: no port is used up, and the other end is here. */
int connect(int fd, const struct sockaddr *to, socklen_t n) {
    int ends[2];
    (void)to;
    (void)n;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) != 0) {
        return -1;
    }
    dup2(ends[0], fd);
    close(ends[0]);
    provider = ends[1];
    return 0;
}

static void must(bool holds, const char *what) {
    if (!holds) {
        fprintf(stderr, "%s\n", what);
        abort();
    }
}

struct run {
    struct transfer *transfer; /* NULL: done or cancelled */
    bool pausing;              /* at each piece of data */
    bool inside;               /* and goes on from inside the callback, at every other one */
    int cancel_at;             /* the callback that cancels; 0: none */
    int calls, heads, status;
    bool done, cancelled;
    enum outcome outcome;
    uint64_t sum; /* of the data, in order */
    size_t total;
};

static void called(struct run *r) {
    must(r->transfer != NULL, "a callback after the last");
    if (++r->calls == r->cancel_at) {
        transfer_cancel(r->transfer);
        r->transfer = NULL;
        r->cancelled = true;
    }
}

static void on_connected(void *ctx, bool reused) {
    struct run *r = ctx;
    must(r->calls == 0, "connected is not the first callback");
    must(!reused, "a fresh connection was used before");
    called(r);
}

static void on_head(void *ctx, int status, const struct headers *headers) {
    struct run *r = ctx;
    must(++r->heads == 1, "two heads");
    must(status >= 200 && status <= 599, "a status that is none");
    must(headers->n <= MAX_HEADERS, "too many headers");
    r->status = status;
    called(r);
}

static void on_data(void *ctx, const char *data, size_t n) {
    struct run *r = ctx;
    must(r->heads == 1 && n > 0, "data before the head, or none");
    for (size_t i = 0; i < n; i++) {
        r->sum = (r->sum ^ (unsigned char)data[i]) * 1099511628211u;
    }
    r->total += n;
    called(r);
    if (r->transfer && r->pausing) {
        transfer_pause(r->transfer);
        if (r->inside && r->calls % 2) {
            transfer_resume(r->transfer);
        }
    }
}

static void on_done(void *ctx, const struct transfer_result *result) {
    struct run *r = ctx;
    must(r->transfer != NULL, "done after the last callback");
    r->transfer = NULL;
    r->done = true;
    r->outcome = result->outcome;
    must(result->detail != NULL, "no detail");
    must(result->sent == SENT_ALL, "the request was not sent whole");
    must(result->outcome == OUTCOME_OK || result->outcome == OUTCOME_INVALID_RESPONSE ||
             result->outcome == OUTCOME_EMPTY_RESPONSE || result->outcome == OUTCOME_STREAM_BROKEN,
         "an outcome that this cannot have");
    must(result->outcome != OUTCOME_OK || r->heads == 1, "an answer without a head");
    must(result->outcome != OUTCOME_STREAM_BROKEN || r->heads == 1, "a stream without a head");
}

static const struct transfer_events EVENTS = {on_connected, on_head, on_data, on_done};

struct rig {
    struct event_base *base;
    struct transport *transport;
    struct event *resume; /* goes before what the loop finds when it looks */
    struct run *run;
};

static void on_resume(evutil_socket_t fd, short what, void *arg) {
    struct rig *rig = arg;
    (void)fd;
    (void)what;
    if (rig->run->transfer) {
        transfer_resume(rig->run->transfer);
    }
}

/* From outside the loop or from inside, by turns. */
static void go_on(struct rig *rig, struct run *r) {
    if (r->transfer && r->pausing && r->calls % 2) {
        transfer_resume(r->transfer);
    } else if (r->transfer && r->pausing) {
        event_active(rig->resume, 0, 0);
    }
}

static void turn(struct rig *rig) {
    for (int i = 0; i < TURNS; i++) {
        event_base_loop(rig->base, EVLOOP_NONBLOCK);
    }
}

/* The whole answer in portions, then the end of the connection. */
static void play(struct rig *rig, struct run *r, bool head, struct str answer, size_t first,
                 size_t step) {
    struct headers none;
    rig->run = r;
    headers_init(&none, MAX_HEADERS, MAX_HEADER_BYTES);
    struct transfer_request request = {
        .method = head ? STR("HEAD") : STR("GET"), .url = URL, .headers = &none, .fresh = true};
    r->transfer = transfer_start(rig->transport, &request, &EVENTS, r);
    must(r->transfer != NULL, "no transfer");
    turn(rig);
    for (size_t at = 0, n = first ? first : step; at < answer.n && r->transfer; n = step) {
        n = n < answer.n - at ? n : answer.n - at;
        ssize_t w = send(provider, answer.p + at, n, MSG_NOSIGNAL);
        if (w < 0 && errno != EAGAIN) {
            break; /* it hung up */
        }
        at += w > 0 ? (size_t)w : 0;
        go_on(rig, r); /* together with what came */
        turn(rig);
    }
    close(provider);
    for (int i = 0; i == 0 || (r->transfer && r->pausing && i < 4096); i++) {
        go_on(rig, r);
        turn(rig);
    }
    must(r->done != r->cancelled, "it does not end");
    headers_release(&none);
}

static void compare(const struct run *whole, const struct run *other, const char *how) {
    bool ok = whole->outcome == OUTCOME_OK;
    bool same = ok == (other->outcome == OUTCOME_OK) && whole->status == other->status;
    if (!other->pausing) { /* who pauses may learn of a later fault before all data */
        same = same && whole->outcome == other->outcome && whole->total == other->total &&
               whole->sum == other->sum;
    }
    if (same && (!ok || (whole->total == other->total && whole->sum == other->sum))) {
        return;
    }
    fprintf(stderr, "%s: %s, status %d, %zu bytes; in one piece: %s, status %d, %zu bytes\n", how,
            outcome_name(other->outcome), other->status, other->total, outcome_name(whole->outcome),
            whole->status, whole->total);
    abort();
}

static void begin(struct rig *rig) {
    struct err err;
    rig->base = event_base_new();
    rig->transport = rig->base ? native_transport_new(rig->base, IDLE_MAX, &err) : NULL;
    rig->resume = rig->base ? event_new(rig->base, -1, 0, on_resume, rig) : NULL;
    must(rig->transport && rig->resume, "no transport");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct rig rig;
    if (size < 3 || size > KIB(16)) {
        return 0;
    }
    if (!rig.base) {
        begin(&rig);
    }
    struct str answer = str_make((const char *)data + 3, size - 3);
    bool head = data[2] & 1;
    size_t first = answer.n ? ((size_t)data[0] * 256 + data[1]) % answer.n : 0;
    size_t step = answer.n / 16 + data[1] % 7 + 1;
    struct run whole = {0}, split = {0}, paused = {.pausing = true, .inside = data[2] & 2};
    struct run cancelled = {.cancel_at = 1 + (data[2] >> 2) % 8};
    play(&rig, &whole, head, answer, answer.n, answer.n ? answer.n : 1);
    play(&rig, &split, head, answer, first, step);
    compare(&whole, &split, "in portions");
    play(&rig, &paused, head, answer, first, step);
    compare(&whole, &paused, "with pauses");
    play(&rig, &cancelled, head, answer, first, step);
    struct transport_stats stats;
    turn(&rig);
    rig.transport->ops->stats(rig.transport, &stats);
    must(stats.active == 0 && stats.connections == 0, "something is left");
    return 0;
}
