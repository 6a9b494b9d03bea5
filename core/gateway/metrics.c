/* SPDX-License-Identifier: MIT */
#include "gateway/metrics.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/map.h"

#define MAX_BOUNDS 14
#define LATEST 4

static const double SECONDS[] = {0.01, 0.02, 0.04, 0.08,  0.16,  0.32,  0.64,
                                 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92};
static const double TOKENS[] = {1,     4,     16,     64,      256,     1024,     4096,
                                16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864};

struct family {
    const char *name, *help;
    const double *bounds; /* MAX_BOUNDS of them for a histogram, NULL for a counter */
};

static const struct family FAMILIES[METRIC_COUNT] = {
    [METRIC_REQUESTS] = {"moongate_requests_total", "Requests answered, by how they ended.", NULL},
    [METRIC_ATTEMPTS] = {"moongate_attempts_total", "Attempts at targets, by outcome.", NULL},
    [METRIC_POLICY_FAILURES] = {"moongate_policy_failures_total",
                                "Policy calls that failed, by reason.", NULL},
    [METRIC_POLICY_KILLS] = {"moongate_policy_kills_total",
                             "Policy calls that were stopped, by the limit they met.", NULL},
    [METRIC_POLICY_CPU] = {"moongate_policy_cpu_seconds_total", "CPU time that policies used.",
                           NULL},
    [METRIC_POLICY_STEPS] = {"moongate_policy_steps_total",
                             "Lua instructions and library steps that policies took.", NULL},
    [METRIC_DEFAULT_PLANS] = {"moongate_default_plans_total",
                              "Requests that the default plan answered.", NULL},
    [METRIC_TRANSLATIONS] = {"moongate_translations_total",
                             "Requests, answers and streams translated between dialects.", NULL},
    [METRIC_TLS_FAILED] = {"moongate_tls_handshakes_failed_total",
                           "TLS handshakes of clients that failed, by reason.", NULL},
    [METRIC_REFUSED] = {"moongate_refused_total", "Requests refused before a route was found.",
                        NULL},
    [METRIC_CONNECTIONS] = {"moongate_connections_total", "Client connections accepted.", NULL},
    [METRIC_EVICTED] = {"moongate_connections_evicted_total",
                        "Idle client connections closed to make room for new ones.", NULL},
    [METRIC_POLICY] = {"moongate_custom", "Counted by a policy.", NULL},
    [METRIC_DURATION] = {"gen_ai_server_request_duration_seconds",
                         "Time one attempt at a provider took.", SECONDS},
    [METRIC_FIRST_TOKEN] = {"gen_ai_server_time_to_first_token_seconds",
                            "Time to the first content of a stream.", SECONDS},
    [METRIC_TOKENS] = {"gen_ai_client_token_usage", "Tokens of a request, by type.", TOKENS},
    [METRIC_OPERATION] = {"gen_ai_client_operation_duration_seconds",
                          "Time the client's request took.", SECONDS},
};

struct series {
    struct str labels; /* the map's own copy; series are never taken away */
    double value;      /* of a counter; the sum of a histogram */
    unsigned long count;
    unsigned long buckets[MAX_BOUNDS];
};

struct metrics {
    pthread_mutex_t lock;
    struct map *series[METRIC_COUNT];
    /* Series that were counted lately: a request's are mostly those of the one before, and
     * comparing a text is quicker than hashing it. */
    struct series *latest[METRIC_COUNT][LATEST];
    unsigned long dropped;
    struct buf labels; /* of the worker's own thread */
};

struct metrics *metrics_new(void) {
    struct metrics *m = calloc(1, sizeof(*m));
    if (!m) {
        return NULL;
    }
    pthread_mutex_init(&m->lock, NULL);
    buf_init(&m->labels, MAX_LABELS);
    for (int i = 0; i < METRIC_COUNT; i++) {
        m->series[i] = map_new(MAX_SERIES);
        if (!m->series[i]) {
            metrics_free(m);
            return NULL;
        }
    }
    return m;
}

static void free_series(struct map *map) {
    size_t pos = 0;
    struct str key;
    void *value;
    while (map && map_next(map, &pos, &key, &value)) {
        free(value);
    }
    map_free(map);
}

void metrics_free(struct metrics *m) {
    if (!m) {
        return;
    }
    for (int i = 0; i < METRIC_COUNT; i++) {
        free_series(m->series[i]);
    }
    buf_release(&m->labels);
    pthread_mutex_destroy(&m->lock);
    free(m);
}

struct buf *metrics_labels(struct metrics *m) {
    buf_clear(&m->labels);
    return &m->labels;
}

static struct series *series_get(struct map *map, struct str labels) {
    struct series *s = map_get(map, labels);
    if (s || map_count(map) >= MAX_SERIES) {
        return s;
    }
    s = calloc(1, sizeof(*s));
    if (s && map_set(map, labels, s) != 0) {
        free(s);
        s = NULL;
    }
    if (s) {
        s->labels = map_key(map, labels);
    }
    return s;
}

static struct series *latest_get(struct metrics *m, enum metric metric, struct str labels) {
    struct series **latest = &m->latest[metric][labels.n % LATEST];
    if (!*latest || !str_eq((*latest)->labels, labels)) {
        *latest = series_get(m->series[metric], labels);
    }
    return *latest;
}

static void observe(struct series *s, const double *bounds, double value) {
    s->count++;
    s->value += value;
    for (int i = 0; bounds && i < MAX_BOUNDS; i++) {
        s->buckets[i] += value <= bounds[i];
    }
}

void metrics_add(struct metrics *m, enum metric metric, const char *labels, double by) {
    pthread_mutex_lock(&m->lock);
    struct series *s = latest_get(m, metric, str_of(labels));
    if (s) {
        observe(s, FAMILIES[metric].bounds, by);
    } else {
        m->dropped++;
    }
    pthread_mutex_unlock(&m->lock);
}

/* Series of policies are kept under "name|labels" and written by name. */
void metrics_add_policy(struct metrics *m, struct str name, const char *labels, double by) {
    struct buf key;
    buf_init(&key, MAX_LABELS + 128);
    if (buf_addf(&key, "%.*s|%s", (int)name.n, name.p, labels) == BUF_OK) {
        metrics_add(m, METRIC_POLICY, key.data, by);
    }
    buf_release(&key);
}

#define MAX_LABEL_VALUE 128

static bool is_plain(struct str value) {
    bool special = false;
    for (size_t i = 0; i < value.n; i++) {
        unsigned char c = (unsigned char)value.p[i];
        special |= c < 0x20 || c == 0x7f || c == '"' || c == '\\';
    }
    return !special;
}

/* `out` has room for twice the value. */
static size_t escape(struct str value, char *out) {
    size_t n = 0;
    for (size_t i = 0; i < value.n; i++) {
        unsigned char c = (unsigned char)value.p[i];
        if (c == '"' || c == '\\') {
            out[n++] = '\\';
        }
        out[n++] = c < 0x20 || c == 0x7f ? '?' : (char)c;
    }
    return n;
}

/* No formatted printing here: it runs a dozen times a request. */
void metrics_label(struct buf *labels, const char *name, struct str value) {
    char text[2 * MAX_LABEL_VALUE];
    size_t before = labels->len, n = value.n < MAX_LABEL_VALUE ? value.n : MAX_LABEL_VALUE;
    struct str shown = str_make(value.p, n);
    if (!is_plain(shown)) {
        shown = str_make(text, escape(shown, text));
    }
    if ((before && buf_addc(labels, ',')) || buf_adds(labels, name) || buf_adds(labels, "=\"") ||
        buf_add_str(labels, shown) || buf_addc(labels, '"')) {
        buf_truncate(labels, before);
    }
}

static int add_up(struct map *total, struct metrics *worker, int metric) {
    size_t pos = 0;
    struct str key;
    void *value;
    while (map_next(worker->series[metric], &pos, &key, &value)) {
        const struct series *from = value;
        struct series *to = series_get(total, key);
        if (!to) {
            return -1;
        }
        to->value += from->value;
        to->count += from->count;
        for (int i = 0; i < MAX_BOUNDS; i++) {
            to->buckets[i] += from->buckets[i];
        }
    }
    return 0;
}

static int write_histogram(struct buf *out, const struct family *f, struct str labels,
                           const struct series *s) {
    const char *comma = labels.n ? "," : "";
    int bad = 0;
    for (int i = 0; i < MAX_BOUNDS; i++) {
        bad |= buf_addf(out, "%s_bucket{%.*s%sle=\"%g\"} %lu\n", f->name, (int)labels.n, labels.p,
                        comma, f->bounds[i], s->buckets[i]);
    }
    bad |= buf_addf(out, "%s_bucket{%.*s%sle=\"+Inf\"} %lu\n", f->name, (int)labels.n, labels.p,
                    comma, s->count);
    bad |= buf_addf(out, "%s_sum{%.*s} %.9g\n", f->name, (int)labels.n, labels.p, s->value);
    bad |= buf_addf(out, "%s_count{%.*s} %lu\n", f->name, (int)labels.n, labels.p, s->count);
    return bad ? -1 : 0;
}

/* A page under way. Series that find no room are left out and counted: a page with most of them is
 * worth more than none. What is added behind the series has its room kept free. */
struct page {
    struct buf *out;
    unsigned long left_out;
};

static bool has_room(struct page *p) {
    bool room = p->out->len < SERIES_TEXT;
    p->left_out += room ? 0 : 1;
    return room;
}

static int write_family(struct page *page, const struct family *f, const struct map *total) {
    struct buf *out = page->out;
    size_t pos = 0;
    struct str labels;
    void *value;
    int bad = buf_addf(out, "# HELP %s %s\n# TYPE %s %s\n", f->name, f->help, f->name,
                       f->bounds ? "histogram" : "counter");
    while (!bad && map_next(total, &pos, &labels, &value)) {
        const struct series *s = value;
        if (!has_room(page)) {
            continue;
        }
        if (f->bounds) {
            bad = write_histogram(out, f, labels, s);
        } else {
            bad = buf_addf(out, "%s{%.*s} %.15g\n", f->name, (int)labels.n, labels.p, s->value);
        }
    }
    return bad ? -1 : 0;
}

static int by_key(const void *a, const void *b) {
    const struct str *x = a, *y = b;
    int order = memcmp(x->p, y->p, x->n < y->n ? x->n : y->n);
    return order ? order : (x->n > y->n) - (x->n < y->n);
}

static int write_policy_series(struct buf *out, struct str key, const struct series *s,
                               struct str *last) {
    struct str name;
    int bad = 0;
    str_split(&key, '|', &name);
    if (!str_eq(name, *last)) {
        bad = buf_addf(
            out,
            "# HELP moongate_custom_%.*s_total %s\n# TYPE moongate_custom_%.*s_total counter\n",
            (int)name.n, name.p, FAMILIES[METRIC_POLICY].help, (int)name.n, name.p);
        *last = name;
    }
    return bad | buf_addf(out, "moongate_custom_%.*s_total{%.*s} %.15g\n", (int)name.n, name.p,
                          (int)key.n, key.p, s->value);
}

/* One family per name: the series sorted, since a family's lines must stand together. */
static int write_policy_families(struct page *page, const struct map *total) {
    size_t n = 0, pos = 0;
    struct str *keys = calloc(map_count(total) + 1, sizeof(*keys));
    struct str last = {NULL, 0};
    void *value;
    int bad = keys ? 0 : -1;
    while (keys && map_next(total, &pos, &keys[n], &value)) {
        n++;
    }
    if (keys) {
        qsort(keys, n, sizeof(*keys), by_key);
    }
    for (size_t i = 0; i < n && !bad; i++) {
        if (has_room(page)) {
            bad = write_policy_series(page->out, keys[i], map_get(total, keys[i]), &last);
        }
    }
    free(keys);
    return bad;
}

static int write_losses(struct buf *out, unsigned long dropped, unsigned long left_out) {
    return buf_addf(
        out,
        "# HELP moongate_metrics_dropped_total Counts that found no room for their labels.\n"
        "# TYPE moongate_metrics_dropped_total counter\nmoongate_metrics_dropped_total %lu\n"
        "# HELP moongate_metrics_left_out Series that this page has no room for.\n"
        "# TYPE moongate_metrics_left_out gauge\nmoongate_metrics_left_out %lu\n",
        dropped, left_out);
}

int metrics_collect(struct metrics *const *workers, size_t n, struct buf *out) {
    struct page page = {out, 0};
    unsigned long dropped = 0;
    int bad = 0;
    for (int metric = 0; metric < METRIC_COUNT && !bad; metric++) {
        struct map *total = map_new(MAX_SERIES);
        for (size_t i = 0; total && i < n; i++) {
            pthread_mutex_lock(&workers[i]->lock);
            dropped += metric == 0 ? workers[i]->dropped : 0;
            bad |=
                add_up(total, workers[i], metric); /* more than fits in the sum counts as dropped */
            pthread_mutex_unlock(&workers[i]->lock);
        }
        dropped += bad ? 1 : 0;
        bad = !total                    ? -1
              : metric == METRIC_POLICY ? write_policy_families(&page, total)
                                        : write_family(&page, &FAMILIES[metric], total);
        free_series(total);
    }
    bad |= write_losses(out, dropped, page.left_out);
    return bad ? -1 : 0;
}
