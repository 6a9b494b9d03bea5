/* SPDX-License-Identifier: MIT */
/* What the admin listener shows: gauges and counters as Prometheus text, status and targets as
 * JSON. Read-only; names no secret. */
#include "admin/admin_internal.h"
#include "base/map.h"
#include "gateway/worker.h"
#include "upstream/transport.h"

static int gauge(struct buf *out, const char *name, const char *help, const char *type,
                 double value) {
    return buf_addf(out, "# HELP %s %s\n# TYPE %s %s\n%s %.15g\n", name, help, name, type, name,
                    value);
}

struct totals {
    double clients, exchanges;
};

static struct totals sum_workers(const struct gateway *g) {
    struct totals t = {0, 0};
    for (size_t i = 0; i < g->n_workers; i++) {
        t.clients += (double)atomic_load(&g->workers[i]->n_clients);
        t.exchanges += (double)atomic_load(&g->workers[i]->n_exchanges);
    }
    return t;
}

static int per_worker(const struct gateway *g, struct buf *out) {
    int bad =
        buf_adds(out, "# HELP moongate_worker_connections Client connections open, by worker.\n"
                      "# TYPE moongate_worker_connections gauge\n");
    for (size_t i = 0; i < g->n_workers; i++) {
        bad |= buf_addf(out, "moongate_worker_connections{worker=\"%zu\"} %zu\n", i,
                        atomic_load(&g->workers[i]->n_clients));
    }
    return bad;
}

struct target_text {
    struct buf *inflight, *suspended;
    int bad;
};

static void add_target(void *ctx, const struct target_facts *f) {
    struct target_text *t = ctx;
    struct buf labels;
    buf_init(&labels, MAX_LABELS);
    metrics_label(&labels, "target", str_of(f->name));
    t->bad |= buf_addf(t->inflight, "moongate_target_inflight{%s} %d\n", labels.data, f->inflight);
    t->bad |= buf_addf(t->suspended, "moongate_target_suspended_seconds{%s} %.3f\n", labels.data,
                       usec_to_seconds(f->suspended_for));
    buf_release(&labels);
}

static int target_gauges(const struct gateway *g, struct buf *out) {
    struct buf inflight, suspended;
    buf_init(&inflight, MAX_METRICS_TEXT / 4);
    buf_init(&suspended, MAX_METRICS_TEXT / 4);
    struct target_text text = {&inflight, &suspended, 0};
    text.bad = targets_each(g->state.targets, add_target, &text);
    text.bad |= buf_adds(out, "# HELP moongate_target_inflight Attempts under way.\n"
                              "# TYPE moongate_target_inflight gauge\n");
    text.bad |= buf_add_str(out, buf_str(&inflight));
    text.bad |= buf_adds(
        out, "# HELP moongate_target_suspended_seconds Seconds left of a suspension, 0 = none.\n"
             "# TYPE moongate_target_suspended_seconds gauge\n");
    text.bad |= buf_add_str(out, buf_str(&suspended));
    buf_release(&inflight);
    buf_release(&suspended);
    return text.bad;
}

static int reload_counters(struct gateway *g, struct buf *out) {
    return buf_addf(out,
                    "# HELP moongate_reloads_total Loads after the start, by result.\n"
                    "# TYPE moongate_reloads_total counter\n"
                    "moongate_reloads_total{result=\"applied\"} %lu\n"
                    "moongate_reloads_total{result=\"refused\"} %lu\n"
                    "moongate_reloads_total{result=\"unchanged\"} %lu\n",
                    atomic_load(&g->reloads_applied), atomic_load(&g->reloads_refused),
                    atomic_load(&g->reloads_unchanged));
}

int admin_metrics(const struct admin_env *env, struct buf *out) {
    struct gateway *g = env->gateway;
    struct metrics *metrics[MAX_WORKERS];
    struct store_stats store;
    struct probe_stats probes;
    struct lane_stats lanes;
    for (size_t i = 0; i < g->n_workers; i++) {
        metrics[i] = g->workers[i]->metrics;
    }
    struct totals t = sum_workers(g);
    store_stats(g->state.store, &store);
    probes_stats(env->probes, &probes);
    struct generation *now = loader_current(env->loader);
    generation_stats(now, &lanes);
    int bad = metrics_collect(metrics, g->n_workers, out);
    bad |= per_worker(g, out) | target_gauges(g, out) | reload_counters(g, out);
    bad |= gauge(out, "moongate_connections", "Client connections open.", "gauge", t.clients);
    bad |= gauge(out, "moongate_requests_inflight", "Requests under way.", "gauge", t.exchanges);
    bad |=
        gauge(out, "moongate_generation", "The generation in force.", "gauge", generation_id(now));
    bad |= metrics_policies(now, out);
    generation_unref(now);
    bad |= gauge(out, "moongate_policy_memory_bytes", "Lua memory of the generation in force.",
                 "gauge", (double)lanes.bytes);
    bad |= gauge(out, "moongate_policy_calls_total", "Policy runs of the generation in force.",
                 "counter", (double)lanes.calls);
    bad |= gauge(out, "moongate_store_keys", "Keys in the store.", "gauge", (double)store.keys);
    bad |= gauge(out, "moongate_store_refused_total", "Writes that found the store full.",
                 "counter", (double)store.refused);
    bad |= gauge(out, "moongate_probes_ok_total", "Health probes that succeeded.", "counter",
                 (double)probes.ok);
    bad |= gauge(out, "moongate_probes_failed_total", "Health probes that failed.", "counter",
                 (double)probes.failed);
    bad |= gauge(out, "moongate_log_dropped_total", "Log lines that were not written.", "counter",
                 (double)env->log_dropped(env->log_ctx));
    return bad ? -1 : 0;
}

static int print(struct json *root, struct buf *out) {
    int bad = root ? json_print(root, out) : -1;
    json_free(root);
    return bad | buf_addc(out, '\n');
}

/* As the file says it. */
static void add_path(struct json *route, const struct config_route *r) {
    struct buf path;
    buf_init(&path, MAX_REQUEST_LINE);
    if (buf_addf(&path, "%s%s", r->path, r->prefix ? "*" : "") == BUF_OK) {
        json_add_str(route, "path", buf_str(&path));
    }
    buf_release(&path);
}

int admin_status(const struct admin_env *env, struct buf *out) {
    struct gateway *g = env->gateway;
    struct generation *now = loader_current(env->loader);
    const struct config *c = generation_config(now);
    struct totals t = sum_workers(g);
    struct lane_stats lanes;
    char hex[HASH_SIZE * 2 + 1], when[32];
    struct json *root = json_object();
    generation_stats(now, &lanes);
    hash_hex(generation_hash(now), 8, hex);
    json_add_str(root, "version", str_of(env->version));
    json_add_num(root, "uptime", usec_to_seconds(clock_wall() - g->started));
    json_add_num(root, "generation", generation_id(now));
    json_add_str(root, "hash", str_of(hex));
    clock_format(env->loader->loaded_at, when, sizeof(when));
    json_add_str(root, "loaded_at", str_of(when));
    json_add_bool(root, "draining", atomic_load(&g->draining));
    json_add_num(root, "workers", (double)g->n_workers);
    json_add_num(root, "connections", t.clients);
    json_add_num(root, "requests_inflight", t.exchanges);
    struct json *policy = json_add_object(root, "policy");
    json_add_num(policy, "calls", (double)lanes.calls);
    json_add_num(policy, "errors", (double)lanes.errors);
    json_add_num(policy, "kills", (double)lanes.kills);
    json_add_num(policy, "memory", (double)lanes.bytes);
    struct json *reloads = json_add_object(root, "reloads");
    json_add_num(reloads, "applied", (double)atomic_load(&g->reloads_applied));
    json_add_num(reloads, "refused", (double)atomic_load(&g->reloads_refused));
    json_add_num(reloads, "unchanged", (double)atomic_load(&g->reloads_unchanged));
    struct json *routes = json_add_array(root, "routes");
    for (size_t i = 0; i < c->n_routes; i++) {
        struct json *route = json_push_object(routes);
        json_add_str(route, "name", str_of(c->routes[i].name));
        add_path(route, &c->routes[i]);
        json_add_str(route, "policy", str_of(c->routes[i].policy));
    }
    generation_unref(now);
    return print(root, out);
}

struct target_list {
    struct json *array;
    struct store *store;
    struct map *seen; /* names listed */
    int bad;
};

static void add_breaker(struct target_list *list, struct json *t, const char *name) {
    struct store_value v;
    bool known =
        store_get(list->store, STR("breaker"), str_of(name), &v) == STORE_OK && v.type == STORE_STR;
    json_add_str(t, "breaker", known ? str_make(v.text, v.len) : STR("closed"));
}

static void list_target(void *ctx, const struct target_facts *f) {
    struct target_list *list = ctx;
    struct json *t = json_push_object(list->array);
    const char *slash = strchr(f->name, '/');
    char when[32];
    if (map_set(list->seen, str_of(f->name), list->seen) != 0) {
        list->bad = -1;
    }
    json_add_str(t, "target", str_of(f->name));
    json_add_str(t, "provider", str_of(f->provider));
    json_add_str(t, "model", str_of(slash ? slash + 1 : ""));
    json_add_bool(t, "up", f->up);
    json_add_num(t, "suspended_for", usec_to_seconds(f->suspended_for));
    json_add_str(t, "reason", str_of(f->reason));
    add_breaker(list, t, f->name);
    json_add_num(t, "inflight", f->inflight);
    json_add_num(t, "ewma_first_token", f->ewma_first_token);
    json_add_num(t, "ewma_total", f->ewma_total);
    json_add_num(t, "successes", f->successes);
    json_add_num(t, "failures", f->failures);
    json_add_num(t, "streak", f->streak);
    json_add_str(t, "last_error", str_of(f->last_error));
    if (f->last_error_at) {
        clock_format(f->last_error_at, when, sizeof(when));
        json_add_str(t, "last_error_at", str_of(when));
    } else {
        json_add_null(t, "last_error_at");
    }
}

/* Targets that routes name and nobody has asked for yet: what the probes found is seen before the
 * first request. */
static int list_configured(struct target_list *list, struct targets *targets,
                           struct generation *g) {
    const struct config *c = generation_config(g);
    for (size_t r = 0; r < c->n_routes; r++) {
        for (const char *const *t = lane_targets(generation_lane(g, 0), r); *t; t++) {
            struct target_facts f;
            const struct config_provider *p = config_provider(c, target_split(str_of(*t)).provider);
            if (p && !map_get(list->seen, str_of(*t))) {
                targets_facts(targets, str_of(*t), str_of(p->quota_group), &f);
                list_target(list, &f);
            }
        }
    }
    return list->bad;
}

int admin_targets(const struct admin_env *env, struct buf *out) {
    struct targets *targets = env->gateway->state.targets;
    struct json *root = json_object();
    struct target_list list = {.array = json_add_array(root, "targets"),
                               .store = env->gateway->state.store};
    list.seen = map_new(MAX_TARGETS * 2);
    int bad = list.seen ? targets_each(targets, list_target, &list) : -1;
    if (!bad) {
        struct generation *now = loader_current(env->loader);
        bad = list_configured(&list, targets, now);
        generation_unref(now);
    }
    map_free(list.seen);
    return print(root, out) | bad;
}
