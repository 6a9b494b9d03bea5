/* SPDX-License-Identifier: MIT */
#include "gateway/exchange.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "gateway/accesslog.h"
#include "gateway/exchange_internal.h"
#include "gateway/route.h"
#include "upstream/outbound.h"

/* Sets the timer for what the run waits for. */
static void arm(struct exchange *x) {
    usec until =
        x->wait.kind == WAIT_SLEEP || x->wait.kind == WAIT_ANY ? x->wait.until : USEC_NEVER;
    if (until == USEC_NEVER) {
        timer_clear(&x->worker->timers, &x->timer);
    } else {
        worker_set_timer(x->worker, &x->timer, until);
    }
}

static void on_timer(void *ctx) {
    struct exchange *x = ctx;
    if (x->wait.kind != WAIT_SLEEP && x->wait.kind != WAIT_ANY) {
        return;
    }
    x->wait.kind = WAIT_NOTHING;
    worker_ready(x->worker, x);
}

struct exchange *exchange_new(struct worker *w, struct conn *conn, struct http_request *request) {
    struct exchange *x = calloc(1, sizeof(*x));
    if (!x || timer_join(&w->timers, &x->timer, on_timer, x) != 0) {
        free(x);
        http_request_free(request);
        return NULL;
    }
    struct generation *g = worker_generation(w);
    x->worker = w;
    x->conn = conn;
    x->request = request;
    x->config = config_ref(generation_config(g));
    x->generation = generation_id(g);
    x->held = g;
    generation_enter(g);
    x->lane = generation_lane(g, w->index);
    x->deadline = request->started + MAX_REQUEST_TIME;
    x->dialect = generation_client(g, request->path, &request->headers, &x->asked);
    headers_init(&x->decision.headers, MAX_EXTRA_HEADERS + 8, MAX_HEADER_BYTES);
    buf_init(&x->decision.body, LUA_BODY_MAX);
    x->number = rng_next(&w->rng);
    memcpy(x->id, "mg-", 3);
    hash_hex((const unsigned char *)&x->number, sizeof(x->number), x->id + 3);
    x->next = w->exchanges;
    if (x->next) {
        x->next->prev = x;
    }
    w->exchanges = x;
    atomic_fetch_add(&w->n_exchanges, 1);
    return x;
}

static void unlist(struct exchange *x) {
    struct worker *w = x->worker;
    *(x->prev ? &x->prev->next : &w->exchanges) = x->next;
    if (x->next) {
        x->next->prev = x->prev;
    }
    atomic_fetch_sub(&w->n_exchanges, 1);
    if (x->ready) {
        struct exchange **at = &w->ready;
        while (*at != x) {
            at = &(*at)->ready_next;
        }
        *at = x->ready_next;
        if (w->ready_tail == &x->ready_next) {
            w->ready_tail = at;
        }
    }
}

void exchange_stop_others(struct exchange *x) {
    for (size_t i = 0; i < x->n_attempts; i++) {
        if (x->attempts[i] != x->relayed) {
            attempt_stop(x->attempts[i], OUTCOME_CANCELLED);
        }
    }
}

static void add_usage(struct policy_usage *sum, const struct run *run) {
    struct policy_usage used;
    run_usage(run, &used);
    sum->cpu += used.cpu;
    sum->steps += used.steps;
    sum->bytes += used.bytes;
}

struct policy_usage exchange_usage(const struct exchange *x) {
    struct policy_usage sum = x->used;
    if (x->run) {
        add_usage(&sum, x->run);
    }
    return sum;
}

void exchange_end_run(struct exchange *x, struct run *run) {
    if (run) {
        add_usage(&x->used, run);
        run_free(run);
    }
}

void exchange_release_policy(struct exchange *x) {
    x->wait.kind = WAIT_NOTHING;
    exchange_stop_others(x);
    if (x->decision.stream_ref) { /* a local stream that was decided on and never began */
        lane_drop_ref(x->lane, x->decision.stream_ref);
        x->decision.stream_ref = 0;
    }
    exchange_end_run(x, x->run);
    x->run = NULL;
    x->lane = NULL;
}

static void stop_attempts(struct exchange *x, enum exchange_end end) {
    for (size_t i = 0; i < x->n_attempts; i++) {
        struct attempt *a = x->attempts[i];
        if (end == END_CLIENT_GONE) {
            attempt_stop(a, OUTCOME_CLIENT_GONE);
        } else if (!a->known) {
            attempt_stop(a, OUTCOME_CANCELLED);
        } else {
            attempt_account(a);
        }
    }
}

void exchange_finish(struct exchange *x, enum exchange_end end) {
    x->wait.kind = WAIT_NOTHING;
    stop_attempts(x, end);
    accesslog_write(x, end);
    x->conn = NULL;
    exchange_release_policy(x);
    for (size_t i = 0; i < x->n_attempts; i++) {
        struct attempt *a = x->attempts[i];
        if (a == x->relayed && end == END_COMPLETE && attempt_may_leave(a)) {
            attempt_leave(a);
        } else {
            attempt_free(a);
        }
    }
    unlist(x);
    timer_leave(&x->worker->timers, &x->timer);
    headers_release(&x->decision.headers);
    buf_release(&x->decision.body);
    free(x->notes);
    free(x->model);
    http_request_free(x->request);
    config_unref(x->config);
    generation_leave(x->held);
    free(x);
}

void exchange_gone(struct exchange *x) {
    x->bytes_out = x->answered ? conn_bytes_out(x->conn) : 0;
    x->conn = NULL; /* it frees itself */
    exchange_finish(x, END_CLIENT_GONE);
}

void exchange_drained(struct exchange *x) {
    if (x->state == EXCHANGE_RELAYING) {
        attempt_resume(x->relayed);
    } else if (x->wait.kind == WAIT_ROOM) {
        x->wait.kind = WAIT_NOTHING;
        worker_ready(x->worker, x);
    }
}

static bool is_news(const struct attempt *a) {
    return a->known && !a->seen;
}

static bool wait_is_over(const struct exchange *x) {
    switch (x->wait.kind) {
    case WAIT_NOTHING:
        return true;
    case WAIT_ATTEMPT:
        return x->wait.attempt->known;
    case WAIT_ROOM:
        return !conn_full(x->conn);
    case WAIT_SLEEP:
        return x->wait.until <= clock_now();
    case WAIT_ANY:
        for (size_t i = 0; i < x->n_attempts; i++) {
            if (is_news(x->attempts[i])) {
                return true;
            }
        }
        return x->wait.until <= clock_now();
    }
    return true;
}

bool exchange_wait(struct exchange *x, struct wait wait) {
    if (x->state == EXCHANGE_DECIDING && wait.until > x->deadline) {
        wait.until = x->deadline;
    }
    x->wait = wait;
    if (wait_is_over(x)) {
        x->wait.kind = WAIT_NOTHING;
        return false;
    }
    arm(x);
    return true;
}

void exchange_notify(struct exchange *x) {
    bool waiting = x->wait.kind == WAIT_ATTEMPT || x->wait.kind == WAIT_ANY;
    if (waiting && wait_is_over(x)) {
        x->wait.kind = WAIT_NOTHING;
        worker_ready(x->worker, x);
    }
}

usec exchange_remaining(const struct exchange *x) {
    usec now = clock_now();
    return x->deadline > now ? x->deadline - now : 0;
}

void exchange_set_deadline(struct exchange *x, usec after_start) {
    usec latest = x->request->started + MAX_REQUEST_TIME;
    usec asked = x->request->started + after_start;
    x->deadline_set = true;
    x->deadline = asked < latest ? asked : latest;
    for (size_t i = 0; i < x->n_attempts; i++) {
        attempt_rearm(x->attempts[i]);
    }
}

/* A key that a reload took away makes no further attempts. */
static bool still_authorised(struct exchange *x) {
    const struct config *now = generation_config(worker_generation(x->worker));
    if (!now->n_keys || now == x->config) {
        return true;
    }
    const struct config_key *key = route_key(now, client_key(&x->request->headers));
    return key && route_key_allows(key, x->model);
}

struct attempt *exchange_send(struct exchange *x, const struct send_options *options,
                              struct err *err) {
    if (x->state != EXCHANGE_DECIDING || !x->conn) {
        err_set(err, "send: the request is answered already");
        return NULL;
    }
    if (!still_authorised(x)) {
        x->revoked = true;
        err_set(err, "send: the client's key was taken away by a reload");
        return NULL;
    }
    return attempt_new(x, options, err);
}

bool exchange_explaining(const struct exchange *x) {
    const struct gateway *g = x->worker->gateway;
    return g->explain || log_on(&g->log, LOG_LEVEL_DEBUG);
}

void exchange_note(struct exchange *x, struct str text) {
    const struct gateway *g = x->worker->gateway;
    if (!g->explain) {
        log_debug(&g->log, "policy note: %.*s request=%s",
                  (int)(text.n < MAX_NOTE ? text.n : MAX_NOTE), text.p, x->id);
        return;
    }
    if (!x->notes) {
        x->notes = calloc(MAX_NOTES, sizeof(*x->notes));
    }
    if (x->notes && x->n_notes < MAX_NOTES) {
        struct exchange_note *note = &x->notes[x->n_notes++];
        note->at = clock_now();
        str_copy(note->text, sizeof(note->text), text);
    }
}

void exchange_notef(struct exchange *x, const char *format, ...) {
    char text[MAX_NOTE];
    va_list args;
    if (!exchange_explaining(x)) {
        return;
    }
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    exchange_note(x, str_of(text));
}
