/* SPDX-License-Identifier: MIT */
/* What an attempt leaves behind in target facts and metrics. */
#include <stdio.h>

#include "gateway/attempt.h"
#include "gateway/exchange.h"

static double seconds(usec from, usec to) {
    return from && to > from ? usec_to_seconds(to - from) : 0;
}

/* gen_ai.operation.name of the conventions, by the client's path. */
static struct str operation(struct str path) {
    static const struct {
        const char *end, *name;
    } known[] = {{"/chat/completions", "chat"},
                 {"/responses", "chat"},
                 {"/completions", "text_completion"},
                 {"/embeddings", "embeddings"}};
    for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++) {
        if (str_ends(path, known[i].end)) {
            return str_of(known[i].name);
        }
    }
    return STR("other");
}

void attempt_labels(const struct attempt *a, struct buf *labels) {
    metrics_label(labels, "gen_ai_operation_name", operation(a->x->request->path));
    metrics_label(labels, "gen_ai_provider_name", str_of(a->provider->name));
    metrics_label(labels, "gen_ai_request_model",
                  a->unnamed ? STR(OTHER_MODELS) : str_of(a->served_model));
}

static void label_target(const struct attempt *a, struct buf *labels) {
    char name[MAX_LABELS];
    snprintf(name, sizeof(name), "%s/" OTHER_MODELS, a->provider->name);
    metrics_label(labels, "target", str_of(a->unnamed ? name : a->name));
}

static void count(struct attempt *a, usec now) {
    struct metrics *m = a->worker->metrics;
    enum outcome o = a->verdict.outcome;
    struct buf *labels = metrics_labels(m);
    label_target(a, labels);
    metrics_label(labels, "outcome", str_of(outcome_name(o)));
    metrics_label(labels, "class", str_of(class_name(outcome_class(o))));
    metrics_add(m, METRIC_ATTEMPTS, labels->data, 1);
    buf_clear(labels);
    attempt_labels(a, labels);
    if (a->content_at && o == OUTCOME_OK) {
        metrics_add(m, METRIC_FIRST_TOKEN, labels->data, seconds(a->sent_at, a->content_at));
    }
    if (o != OUTCOME_OK) {
        metrics_label(labels, "error_type", str_of(outcome_name(o)));
    }
    metrics_add(m, METRIC_DURATION, labels->data, seconds(a->sent_at, now));
}

void attempt_account(struct attempt *a) {
    if (a->accounted) {
        return;
    }
    a->accounted = true;
    if (!a->begun) {
        return; /* passed over: not an attempt */
    }
    usec now = clock_now();
    a->ended_at = now;
    enum outcome o = attempt_outcome(a);
    char error[64] = "";
    if (outcome_blames_target(o)) {
        snprintf(error, sizeof(error), a->status ? "%s %d" : "%s", outcome_name(o), a->status);
    }
    struct target_end end = {
        .succeeded = o == OUTCOME_OK,
        .failed = error[0] != '\0',
        .first_token = o == OUTCOME_OK ? seconds(a->admitted_at, a->content_at) : 0,
        .total = o == OUTCOME_OK ? seconds(a->admitted_at + a->paused_for, now) : 0,
        .error = error[0] ? error : NULL,
    };
    target_done(a->facts, &end);
    count(a, now);
}
