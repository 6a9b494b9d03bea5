/* SPDX-License-Identifier: MIT */
#include "gateway/attempt_clock.h"

#include "gateway/exchange.h"

struct due {
    usec at;
    enum outcome why;
};

static void deadline(struct due *due, usec at, enum outcome why) {
    if (at < due->at) {
        due->at = at;
        due->why = why;
    }
}

/* A clock that started at `since` (0: not yet) and may run for `limit` (0: off). */
static void consider(struct due *due, usec since, usec limit, enum outcome why) {
    if (since && limit) {
        deadline(due, since + limit, why);
    }
}

static void before_commit(const struct attempt *a, struct due *due) {
    bool maybe_stream = a->head_at ? a->event_stream : a->x->stream;
    if (a->state == ATTEMPT_QUEUED) {
        deadline(due, a->queue_deadline, OUTCOME_QUEUE_FULL);
    }
    if (!a->connected_at) {
        consider(due, a->admitted_at, a->limit.connect, OUTCOME_TIMEOUT_CONNECT);
    } else if (!a->head_at) {
        consider(due, a->connected_at, a->limit.first_byte, OUTCOME_TIMEOUT_FIRST_BYTE);
    }
    if (maybe_stream) {
        consider(due, a->admitted_at, a->limit.first_token, OUTCOME_TIMEOUT_FIRST_TOKEN);
    }
    consider(due, a->sent_at, a->limit.total, OUTCOME_TIMEOUT_TOTAL);
    deadline(due, a->x->deadline, OUTCOME_TIMEOUT_TOTAL);
    consider(due, a->admitted_at, a->limit.max_time, OUTCOME_LIMIT_EXCEEDED);
}

static struct due next_due(const struct attempt *a) {
    struct due due = {USEC_NEVER, OUTCOME_OK};
    if (!a->x) {
        consider(&due, a->ended_at, MAX_DRAIN_TIME, OUTCOME_CANCELLED);
    } else if (a->state == ATTEMPT_RELAYING) {
        if (!a->paused) {
            consider(&due, a->last_progress, a->limit.idle, OUTCOME_TIMEOUT_IDLE);
        }
        consider(&due, a->admitted_at, a->limit.max_time, OUTCOME_LIMIT_EXCEEDED);
    } else if (!a->known) {
        before_commit(a, &due);
    }
    return due;
}

static void on_timer(void *ctx) {
    struct attempt *a = ctx;
    struct due due = next_due(a);
    if (due.at <= clock_now()) {
        attempt_expire(a, due.why);
    } else {
        attempt_arm(a);
    }
}

int attempt_clock_init(struct attempt *a) {
    return timer_join(&a->worker->timers, &a->timer, on_timer, a);
}

void attempt_clock_release(struct attempt *a) {
    timer_leave(&a->worker->timers, &a->timer);
}

void attempt_arm(struct attempt *a) {
    struct due due = next_due(a);
    if (due.at == USEC_NEVER || (timer_is_set(&a->timer) && a->timer.at <= due.at)) {
        return; /* nothing runs, or the timer looks again before it is due */
    }
    worker_set_timer(a->worker, &a->timer, due.at);
}
