/* SPDX-License-Identifier: MIT */
/*
 * Counters and histograms of one worker, by family and label text. Kept per worker so that counting
 * contends with nothing but a scrape; metrics_collect adds the workers up and writes Prometheus
 * text. Names: gen_ai_* where OpenTelemetry's GenAI conventions have one, moongate_* otherwise.
 */
#ifndef GATEWAY_METRICS_H
#define GATEWAY_METRICS_H

#include "base/buf.h"
#include "base/limits.h"
#include "base/str.h"

enum metric {
    METRIC_REQUESTS,        /* moongate_requests_total{route,status,end} */
    METRIC_ATTEMPTS,        /* moongate_attempts_total{target,outcome,class} */
    METRIC_POLICY_FAILURES, /* moongate_policy_failures_total{route,reason} */
    METRIC_POLICY_KILLS,    /* moongate_policy_kills_total{policy,reason} */
    METRIC_POLICY_CPU,      /* moongate_policy_cpu_seconds_total{policy} */
    METRIC_POLICY_STEPS,    /* moongate_policy_steps_total{policy} */
    METRIC_DEFAULT_PLANS,   /* moongate_default_plans_total{route} */
    METRIC_TRANSLATIONS,    /* moongate_translations_total{from,to,what,result} */
    METRIC_REFUSED,         /* moongate_refused_total{status}: before a route was found */
    METRIC_CONNECTIONS,     /* moongate_connections_total{} */
    METRIC_EVICTED,         /* moongate_connections_evicted_total{} */
    METRIC_TLS_FAILED,      /* moongate_tls_handshakes_failed_total{reason} */
    METRIC_POLICY, /* moongate_custom_NAME_total{…}: what policies count; see metrics_add_policy */
    METRIC_DURATION,    /* gen_ai_server_request_duration_seconds{…} histogram: one attempt */
    METRIC_FIRST_TOKEN, /* gen_ai_server_time_to_first_token_seconds{…} histogram */
    METRIC_TOKENS,      /* gen_ai_client_token_usage{…} histogram, by gen_ai_token_type */
    METRIC_OPERATION, /* gen_ai_client_operation_duration_seconds{…} histogram: the request as the
                         client saw it */
    METRIC_COUNT
};

struct metrics;
struct generation;

struct metrics *metrics_new(void); /* NULL: memory */
void metrics_free(struct metrics *m);

/* Counts `by` (counters) or observes it (histograms). `labels` is finished label text without
 * braces: `route="chat",status="200"`, made with metrics_label. */
void metrics_add(struct metrics *m, enum metric metric, const char *labels, double by);

/* Counts for a policy: the family is moongate_custom_NAME_total; name is of [a-z0-9_]. */
void metrics_add_policy(struct metrics *m, struct str name, const char *labels, double by);

/* An empty buf for labels, of which there is one: it is good until it is asked for again. Of the
 * worker's own thread. */
struct buf *metrics_labels(struct metrics *m);

/* Appends `name="value"` (escaped, cut short when needed) to labels, a buf of at most MAX_LABELS.
 */
void metrics_label(struct buf *labels, const char *name, struct str value);

/* Adds up n workers' metrics and writes them with HELP and TYPE lines. -1: out is full. */
int metrics_collect(struct metrics *const *workers, size_t n, struct buf *out)
    __attribute__((warn_unused_result));

/* gateway/metrics_policy.c: which policies of the generation in force are switched off. -1: out is
 * full. */
int metrics_policies(const struct generation *g, struct buf *out)
    __attribute__((warn_unused_result));

#endif
