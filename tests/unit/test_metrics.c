/* SPDX-License-Identifier: MIT */
/* Counters and histograms: added up over workers, written in Prometheus' text form, bounded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include <pthread.h>

#include "gateway/metrics.h"

static void collect(struct metrics *const *workers, size_t n, struct buf *out) {
    buf_init(out, MAX_METRICS_TEXT);
    assert_int_equal(metrics_collect(workers, n, out), 0);
}

static void assert_line(const struct buf *text, const char *line) {
    char whole[512];
    snprintf(whole, sizeof(whole), "\n%s\n", line);
    if (!strstr(text->data, whole)) {
        fail_msg("no line \"%s\" in:\n%s", line, text->data);
    }
}

static void sums(void **state) {
    /* Goal: what several workers counted is one number per series; collecting changes nothing. */
    struct metrics *workers[2] = {metrics_new(), metrics_new()};
    struct buf text;
    (void)state;
    metrics_add(workers[0], METRIC_REQUESTS, "route=\"a\"", 1);
    metrics_add(workers[0], METRIC_REQUESTS, "route=\"a\"", 1);
    metrics_add(workers[1], METRIC_REQUESTS, "route=\"a\"", 1);
    metrics_add(workers[1], METRIC_REQUESTS, "route=\"b\"", 2.5);
    metrics_add(workers[1], METRIC_CONNECTIONS, "", 1);
    for (int i = 0; i < 2; i++) {
        collect(workers, 2, &text);
        assert_line(&text, "moongate_requests_total{route=\"a\"} 3");
        assert_line(&text, "moongate_requests_total{route=\"b\"} 2.5");
        assert_line(&text, "moongate_connections_total{} 1");
        assert_line(&text, "# TYPE moongate_requests_total counter");
        assert_line(&text, "moongate_metrics_dropped_total 0");
        buf_release(&text);
    }
    metrics_free(workers[0]);
    metrics_free(workers[1]);
}

static void histograms(void **state) {
    /* Goal: buckets are cumulative, their bound included; sum and count fit. */
    struct metrics *m = metrics_new();
    struct buf text;
    (void)state;
    metrics_add(m, METRIC_DURATION, "x=\"1\"", 0.04);
    metrics_add(m, METRIC_DURATION, "x=\"1\"", 0.5);
    metrics_add(m, METRIC_DURATION, "x=\"1\"", 1000);
    collect(&m, 1, &text);
    assert_line(&text, "# TYPE gen_ai_server_request_duration_seconds histogram");
    assert_line(&text, "gen_ai_server_request_duration_seconds_bucket{x=\"1\",le=\"0.02\"} 0");
    assert_line(&text, "gen_ai_server_request_duration_seconds_bucket{x=\"1\",le=\"0.04\"} 1");
    assert_line(&text, "gen_ai_server_request_duration_seconds_bucket{x=\"1\",le=\"0.64\"} 2");
    assert_line(&text, "gen_ai_server_request_duration_seconds_bucket{x=\"1\",le=\"81.92\"} 2");
    assert_line(&text, "gen_ai_server_request_duration_seconds_bucket{x=\"1\",le=\"+Inf\"} 3");
    assert_line(&text, "gen_ai_server_request_duration_seconds_sum{x=\"1\"} 1000.54");
    assert_line(&text, "gen_ai_server_request_duration_seconds_count{x=\"1\"} 3");
    buf_release(&text);
    metrics_free(m);
}

static void labels(void **state) {
    /* Goal: values are escaped so that no model name can forge a line; what does not fit is left
     * out whole. */
    struct buf b;
    char longest[300];
    (void)state;
    buf_init(&b, MAX_LABELS);
    metrics_label(&b, "a", STR("x\"y\\z\n} 1"));
    metrics_label(&b, "b", STR(""));
    assert_string_equal(b.data, "a=\"x\\\"y\\\\z?} 1\",b=\"\"");
    memset(longest, '"', sizeof(longest));
    for (int i = 0; i < 8; i++) {
        metrics_label(&b, "c", str_make(longest, sizeof(longest)));
    }
    assert_true(b.len <= MAX_LABELS);
    assert_int_equal(b.data[b.len - 1], '"');
    size_t quotes = 0;
    for (size_t i = 0; i < b.len; i++) {
        quotes += b.data[i] == '"' && b.data[i - 1] != '\\';
    }
    assert_int_equal(quotes % 2, 0);
    buf_release(&b);
}

static void policy_families(void **state) {
    /* Goal: each name that policies count is a family of its own, its lines together under one
     * TYPE, whatever order they came in. */
    struct metrics *m = metrics_new();
    struct buf text;
    (void)state;
    metrics_add_policy(m, STR("hits"), "k=\"1\"", 1);
    metrics_add_policy(m, STR("misses"), "", 4);
    metrics_add_policy(m, STR("hits"), "k=\"2\"", 2);
    metrics_add_policy(m, STR("hits_more"), "", 3);
    collect(&m, 1, &text);
    assert_line(&text, "# TYPE moongate_custom_hits_total counter\n"
                       "moongate_custom_hits_total{k=\"1\"} 1\n"
                       "moongate_custom_hits_total{k=\"2\"} 2");
    assert_line(&text, "moongate_custom_misses_total{} 4");
    assert_line(&text, "moongate_custom_hits_more_total{} 3");
    const char *first = strstr(text.data, "# TYPE moongate_custom_hits_total ");
    assert_null(strstr(first + 1, "# TYPE moongate_custom_hits_total "));
    buf_release(&text);
    metrics_free(m);
}

static void bounded(void **state) {
    /* Goal: series beyond the maximum are dropped and counted; those that are there still count. */
    struct metrics *m = metrics_new();
    struct buf text;
    char label[32];
    (void)state;
    for (int i = 0; i < MAX_SERIES + 10; i++) {
        snprintf(label, sizeof(label), "n=\"%d\"", i);
        metrics_add(m, METRIC_REFUSED, label, 1);
    }
    metrics_add(m, METRIC_REFUSED, "n=\"0\"", 1);
    collect(&m, 1, &text);
    assert_line(&text, "moongate_metrics_dropped_total 10");
    assert_line(&text, "moongate_refused_total{n=\"0\"} 2");
    buf_release(&text);
    /* An output that is too small is an error, not half a page taken for a whole one. */
    buf_init(&text, 100);
    assert_int_equal(metrics_collect(&m, 1, &text), -1);
    buf_release(&text);
    metrics_free(m);
}

/* Goal: more series than a page holds make a page of those that fit, and it says how many do not.
 */
static void full_page(void **state) {
    struct metrics *m = metrics_new();
    struct buf text;
    char label[300];
    (void)state;
    for (int i = 0; i < MAX_SERIES; i++) {
        snprintf(label, sizeof(label), "n=\"%0250d\"", i);
        metrics_add(m, METRIC_DURATION, label, 1);
    }
    metrics_add(m, METRIC_POLICY, "own|", 1);
    collect(&m, 1, &text);
    assert_true(text.len <= SERIES_TEXT + KIB(16));
    assert_null(strstr(text.data, "moongate_metrics_left_out 0\n"));
    assert_non_null(strstr(text.data, "\nmoongate_metrics_left_out "));
    buf_release(&text);
    metrics_free(m);
}

#define COUNTS 5000

static void *count_all(void *arg) {
    for (int i = 0; i < COUNTS; i++) {
        metrics_add(arg, METRIC_REQUESTS, "", 1);
        metrics_add(arg, METRIC_TOKENS, "", i);
    }
    return NULL;
}

static void while_counting(void **state) {
    /* Goal: a page may be written while workers count; nothing is lost. */
    struct metrics *workers[3] = {metrics_new(), metrics_new(), metrics_new()};
    pthread_t threads[3];
    struct buf text;
    (void)state;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, count_all, workers[i]), 0);
    }
    for (int i = 0; i < 50; i++) {
        collect(workers, 3, &text);
        buf_release(&text);
    }
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
    }
    collect(workers, 3, &text);
    assert_line(&text, "moongate_requests_total{} 15000");
    assert_line(&text, "gen_ai_client_token_usage_count{} 15000");
    buf_release(&text);
    for (int i = 0; i < 3; i++) {
        metrics_free(workers[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(full_page),       cmocka_unit_test(sums),
        cmocka_unit_test(histograms),      cmocka_unit_test(labels),
        cmocka_unit_test(policy_families), cmocka_unit_test(bounded),
        cmocka_unit_test(while_counting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
