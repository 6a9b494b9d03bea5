/* SPDX-License-Identifier: MIT */
/* The policy's turn: its steps, what it decided, what happens when it fails, and streams that it
 * writes itself. */
#include "gateway/answer.h"
#include "gateway/exchange_internal.h"
#include "gateway/relay.h"

static const char *const REASONS[] = {[RUN_ERROR] = "error",
                                      [RUN_TIMEOUT] = "timeout",
                                      [RUN_NOMEM] = "memory",
                                      [RUN_BAD_RESULT] = "bad_result"};

static bool counts(const struct attempt *a) {
    return a && a->verdict.outcome != OUTCOME_SUSPENDED;
}

/* Did every attempt fail on the gateway's own credentials? A key that was passed through is the
 * client's own. */
static bool all_refused_our_key(const struct exchange *x) {
    size_t refused = 0;
    for (size_t i = 0; i < x->n_attempts; i++) {
        const struct attempt *a = x->attempts[i];
        if (!counts(a)) {
            continue;
        }
        if (a->gate_outcome != OUTCOME_CREDENTIAL_ERROR) {
            return false;
        }
        refused += a->provider->auth != AUTH_PASSTHROUGH;
    }
    return refused > 0;
}

static void hand_over(struct exchange *x, struct attempt *a) {
    bool own_key = a->provider->auth == AUTH_PASSTHROUGH;
    x->relayed = a;
    if (!own_key && all_refused_our_key(x)) {
        answer_refused_credentials(x, a);
    } else if (attempt_has_answer(a) && a->foreign && a->status >= 400) {
        answer_foreign_error(x, a);
    } else if (attempt_has_answer(a)) {
        relay_begin(x, a);
    } else {
        answer_failure(x, a);
    }
}

static void policy_broken(struct exchange *x) {
    if (all_refused_our_key(x)) {
        answer_refused_credentials(x, NULL);
        return;
    }
    answer_error(x, 500, "gateway_error", "policy_failed",
                 "The gateway's policy for this route failed.", END_COMPLETE);
}

/* What the settings say, where they say it in the stock policy's words; an attempt is never without
 * a clock. */
static struct send_options plan_options(const struct exchange *x, const char *target) {
    return (struct send_options){
        .target = str_of(target),
        .first_token = lane_seconds(x->lane, x->route_index, "first_packet_timeout", 0),
        .idle = lane_seconds(x->lane, x->route_index, "idle_timeout", PLAN_IDLE),
        .total = lane_seconds(x->lane, x->route_index, "request_timeout", PLAN_TOTAL),
    };
}

/* Of two attempts in vain (either may be NULL) the one to show: the later real failure, else the
 * suspension that ends soonest. */
static struct attempt *plan_better(struct attempt *a, struct attempt *b) {
    if (!a || !b) {
        return a ? a : b;
    }
    if (counts(a) || counts(b)) {
        return counts(b) ? b : a;
    }
    return attempt_suspended_for(a) <= attempt_suspended_for(b) ? a : b;
}

/* The default plan: the route's targets in order, once each. */
static void plan_step(struct exchange *x) {
    const char *const *targets = lane_targets(x->lane, x->route_index);
    struct attempt *last = x->n_attempts ? x->attempts[x->n_attempts - 1] : NULL;
    while (!last || (last->known && last->verdict.outcome != OUTCOME_OK)) {
        const char *target = targets[x->plan_next];
        x->plan_best = plan_better(x->plan_best, last);
        if (!target) {
            last = x->plan_best;
            break;
        }
        x->plan_next++;
        struct send_options options = plan_options(x, target);
        struct err err;
        struct attempt *next = exchange_send(x, &options, &err);
        last = next ? next : last;
    }
    if (!last) {
        policy_broken(x);
    } else if (exchange_wait(x, (struct wait){WAIT_ATTEMPT, last, USEC_NEVER})) {
        return; /* until it is reported */
    } else {
        hand_over(x, last);
    }
}

static struct attempt *last_attempt(const struct exchange *x) {
    for (size_t i = x->n_attempts; i > 0; i--) {
        if (counts(x->attempts[i - 1])) {
            return x->attempts[i - 1];
        }
    }
    return NULL;
}

/* The route's answer when its policy gives none: `deny`, the default plan, or what an attempt it
 * made before has brought. */
static void without_policy(struct exchange *x) {
    struct attempt *last = last_attempt(x);
    if (x->route->on_error == ON_ERROR_DENY) {
        policy_broken(x);
    } else if (!last) {
        struct buf labels;
        buf_init(&labels, MAX_LABELS);
        metrics_label(&labels, "route", str_of(x->route->name));
        metrics_add(x->worker->metrics, METRIC_DEFAULT_PLANS, labels.data, 1);
        buf_release(&labels);
        x->plan = true;
        plan_step(x);
    } else if (last->known && attempt_has_answer(last)) {
        hand_over(x, last);
    } else {
        policy_broken(x);
    }
}

/* Counts a run that failed, and why it was stopped if it was. */
static void count_failure(struct exchange *x, enum run_status status) {
    enum kill_reason killed = run_killed(x->run);
    struct metrics *m = x->worker->metrics;
    struct buf labels;
    buf_init(&labels, MAX_LABELS);
    metrics_label(&labels, "route", str_of(x->route->name));
    metrics_label(&labels, "reason", str_of(REASONS[status]));
    metrics_add(m, METRIC_POLICY_FAILURES, labels.data, 1);
    if (killed) {
        buf_clear(&labels);
        metrics_label(&labels, "policy", str_of(x->route->policy));
        metrics_label(&labels, "reason", str_of(kill_name(killed)));
        metrics_add(m, METRIC_POLICY_KILLS, labels.data, 1);
    }
    buf_release(&labels);
}

static void local_finish(struct exchange *x) {
    if (x->local_aborted) {
        conn_abort(x->conn);
    } else {
        conn_end(x->conn);
    }
    exchange_finish(x, x->local_aborted ? END_UPSTREAM_CUT : END_COMPLETE);
}

static void local_begin(struct exchange *x) {
    struct lane *lane = x->lane;
    struct run *deciding = x->run;
    exchange_stop_others(x);
    int bad = answer_headers(x, NULL, x->decision.status, &x->decision.headers);
    x->run = bad ? NULL : run_new(lane, &x->worker->gateway->bindings->stream, x);
    exchange_end_run(x, deciding);
    if (!x->run) {
        answer_error(x, 500, "gateway_error", "out_of_memory", "The gateway is out of memory.",
                     END_COMPLETE);
        return;
    }
    x->state = EXCHANGE_LOCAL;
    x->status = x->decision.status;
    x->answered = true;
    conn_head(x->conn, x->status, &x->decision.headers, CONN_LENGTH_UNKNOWN);
    exchange_step(x);
}

static void decided(struct exchange *x) {
    struct decision *d = &x->decision;
    if (d->kind == DECIDED_ATTEMPT) {
        hand_over(x, d->attempt);
    } else if (d->status >= 400 && all_refused_our_key(x)) {
        answer_refused_credentials(x, NULL);
    } else if (x->deadline_set && exchange_remaining(x) == 0) {
        answer_error(x, 504, "gateway_error", "deadline_exceeded",
                     "The request's deadline passed before there was an answer.", END_COMPLETE);
    } else if (d->stream) {
        local_begin(x);
    } else {
        answer_response(x);
    }
}

static void local_step(struct exchange *x) {
    struct err err;
    enum run_status status = run_step(x->run, &err);
    if (status == RUN_WAITING && !x->local_aborted) {
        return;
    }
    if (status != RUN_DONE && status != RUN_WAITING) {
        count_failure(x, status);
    }
    x->local_aborted |= status != RUN_DONE;
    local_finish(x);
}

void exchange_step(struct exchange *x) {
    struct err err;
    if (x->plan) {
        plan_step(x);
        return;
    }
    if (x->state == EXCHANGE_LOCAL) {
        local_step(x);
        return;
    }
    enum run_status status = run_step(x->run, &err);
    if (x->revoked && status != RUN_WAITING) {
        answer_error(x, 401, "invalid_request_error", "invalid_api_key",
                     "The API key was taken away while the request was handled.", END_REFUSED);
    } else if (status == RUN_DONE) {
        decided(x);
    } else if (status != RUN_WAITING) {
        count_failure(x, status);
        without_policy(x);
    }
}

void exchange_decide(struct exchange *x) {
    x->run = run_new(x->lane, &x->worker->gateway->bindings->handle, x);
    if (!x->run) {
        answer_error(x, 500, "gateway_error", "out_of_memory", "The gateway is out of memory.",
                     END_COMPLETE);
    } else if (lane_switched_off(x->lane, x->route_index)) {
        without_policy(x); /* the run is not started, but holds the lane */
    } else {
        exchange_step(x);
    }
}

int exchange_decide_error(struct exchange *x, int status, const char *type, const char *code,
                          const char *message) {
    struct dialect_error e = {.status = status, .type = type, .code = code, .message = message};
    return exchange_decide_said(x, &e);
}

int exchange_decide_said(struct exchange *x, const struct dialect_error *e) {
    struct decision *d = &x->decision;
    d->kind = DECIDED_RESPONSE;
    d->status = e->status;
    buf_clear(&d->body);
    int bad = dialect_write_error(x->dialect, &d->body, e);
    return bad | headers_set(&d->headers, STR("content-type"), STR("application/json"));
}

void exchange_local_write(struct exchange *x, struct str data) {
    if (!x->local_aborted) {
        conn_body(x->conn, data.p, data.n);
    }
}

void exchange_local_abort(struct exchange *x) {
    x->local_aborted = true;
}

void exchange_kill(struct exchange *x) {
    if (x->state == EXCHANGE_RELAYING) {
        relay_cut(x, x->relayed, OUTCOME_CANCELLED);
    } else if (x->state == EXCHANGE_LOCAL) {
        x->local_aborted = true;
        local_finish(x);
    } else {
        answer_error(x, 503, "gateway_error", "shutting_down", "The gateway is shutting down.",
                     END_REFUSED);
    }
}
