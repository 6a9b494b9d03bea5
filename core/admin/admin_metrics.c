/* SPDX-License-Identifier: MIT */
/* Gauges and counters as Prometheus text. Needs no token and names no secret. */
#include <stdio.h>

#include "admin/admin_internal.h"
#include "base/count.h"
#include "gateway/control.h"
#include "gateway/reload.h"
#include "gateway/worker.h"
#include "upstream/transport.h"

static int gauge(struct buf *out, const char *name, const char *help, const char *type,
                 double value) {
    return buf_addf(out, "# HELP %s %s\n# TYPE %s %s\n%s %.15g\n", name, help, name, type, name,
                    value);
}

/* What is alive now, over all workers. Flat when nothing leaks: each is back where it was when the
 * last request is over, idle connections apart. */
struct totals {
    size_t clients, exchanges, attempts, translations, timers, transfers, connections, libcurl;
};

static void add_transport(struct totals *t, const struct transport *transport) {
    struct transport_stats stats;
    transport->ops->stats(transport, &stats);
    t->transfers += stats.active;
    t->connections += stats.connections;
    t->libcurl += stats.libcurl;
}

static struct totals sum_workers(const struct gateway *g) {
    struct totals t = {0};
    for (size_t i = 0; i < g->n_workers; i++) {
        const struct worker *w = g->workers[i];
        t.clients += count_get(w->n_clients);
        t.exchanges += count_get(w->n_exchanges);
        t.attempts += count_get(w->n_attempts);
        t.translations += count_get(w->n_translations);
        t.timers += count_get(w->timers.joined);
        add_transport(&t, w->transport);
    }
    return t;
}

static int alive(const struct admin_env *env, struct buf *out) {
    struct totals t = sum_workers(env->gateway);
    struct history_totals live;
    struct slots_stats slots;
    slots_table_stats(env->gateway->state.slots, &slots);
    loader_live(env->loader, &live);
    add_transport(&t, env->control->transport); /* probes */
    const struct {
        const char *name, *help;
        size_t value;
    } gauges[] = {
        {"moongate_connections", "Client connections open.", t.clients},
        {"moongate_requests_inflight", "Requests under way.", t.exchanges},
        {"moongate_attempts_open", "Attempts kept, those whose answer runs out included.",
         t.attempts},
        {"moongate_translations_open", "Attempts of these that are translated between dialects.",
         t.translations},
        {"moongate_timers", "Timers of requests and attempts.", t.timers},
        {"moongate_slots_inflight", "Admissions that providers' max_inflight counts.",
         (size_t)slots.inflight},
        {"moongate_slots_queued", "Attempts that wait for admission.", (size_t)slots.queued},
        {"moongate_upstream_transfers", "Exchanges with providers under way, probes included.",
         t.transfers},
        {"moongate_upstream_connections", "Connections to providers open, idle ones included.",
         t.connections},
        {"moongate_upstream_connections_libcurl",
         "Of these: libcurl's, which sees that a provider closed with its next use.", t.libcurl},
        {"moongate_generations", "Generations in memory.", live.generations},
        {"moongate_policy_runs", "Policy runs under way, in all generations.", live.runs},
        {"moongate_policy_coroutines", "Coroutines held by policy runs under way.",
         live.coroutines},
        {"moongate_policy_coroutines_kept", "Coroutines kept to be used again.", live.kept},
        {"moongate_policy_references", "Lua values held by requests under way.", live.references},
    };
    int bad = 0;
    for (size_t i = 0; i < sizeof(gauges) / sizeof(*gauges); i++) {
        bad |= gauge(out, gauges[i].name, gauges[i].help, "gauge", (double)gauges[i].value);
    }
    return bad;
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

/* Those of a provider's models that metrics do not name are one, "provider/other". */
struct target_text {
    struct buf *inflight, *suspended;
    struct target_facts other; /* of one provider; no name: none so far */
    int bad;
};

static void write_target(struct target_text *t, const struct target_facts *f) {
    struct buf labels;
    buf_init(&labels, MAX_LABELS);
    metrics_label(&labels, "target", str_of(f->name));
    t->bad |= buf_addf(t->inflight, "moongate_target_inflight{%s} %d\n", labels.data, f->inflight);
    t->bad |= buf_addf(t->suspended, "moongate_target_suspended_seconds{%s} %.3f\n", labels.data,
                       usec_to_seconds(f->suspended_for));
    buf_release(&labels);
}

static void write_other(struct target_text *t) {
    if (t->other.name[0]) {
        write_target(t, &t->other);
    }
    t->other.name[0] = '\0';
}

/* They come by name: those of a provider follow each other. */
static void add_target(void *ctx, const struct target_facts *f) {
    struct target_text *t = ctx;
    if (strcmp(f->provider, t->other.provider) != 0) {
        write_other(t);
    }
    if (!f->unnamed) {
        write_target(t, f);
    } else if (!t->other.name[0]) {
        t->other = *f;
        snprintf(t->other.name, sizeof(t->other.name), "%s/" OTHER_MODELS, f->provider);
    } else {
        t->other.inflight += f->inflight;
        t->other.suspended_for =
            f->suspended_for > t->other.suspended_for ? f->suspended_for : t->other.suspended_for;
    }
}

static int target_gauges(const struct gateway *g, struct buf *out) {
    struct buf inflight, suspended;
    buf_init(&inflight, MAX_METRICS_TEXT / 8);
    buf_init(&suspended, MAX_METRICS_TEXT / 8);
    struct target_text text = {.inflight = &inflight, .suspended = &suspended};
    int bad = targets_each(g->state.targets, add_target, &text);
    write_other(&text);
    text.bad |= bad;
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

/* What clients take together, what it may be at most, and what found no room. */
static int limits(const struct gateway *g, const struct config *now, struct buf *out) {
    const struct pool *memory = &g->memory;
    unsigned long pauses = 0;
    for (size_t i = 0; i < g->n_workers; i++) {
        for (size_t j = 0; j < g->workers[i]->n_listeners; j++) {
            pauses += listener_pauses(g->workers[i]->listeners[j]);
        }
    }
    int bad =
        gauge(out, "moongate_connections_limit",
              "Client connections there may be: limits.connections, or what descriptors allow.",
              "gauge", (double)room_for(&g->room, now));
    bad |= gauge(out, "moongate_accept_pauses_total",
                 "Times that accepting paused because descriptors or memory ran out.", "counter",
                 (double)pauses);
    bad |= gauge(out, "moongate_admin_refused_total",
                 "Connections to the admin listener beyond its maximum.", "counter",
                 (double)atomic_load(&g->admin_refused));
    bad |= gauge(out, "moongate_memory_bytes",
                 "Held of bodies and answers, buffers above 16 KiB, all requests together.",
                 "gauge", (double)pool_used(memory));
    bad |=
        gauge(out, "moongate_memory_limit_bytes", "limits.memory.", "gauge", (double)now->memory);
    return bad | gauge(out, "moongate_memory_refused_total",
                       "Bodies and answers that limits.memory left no room for.", "counter",
                       (double)atomic_load(&memory->refused));
}

static int file_failures(const struct admin_env *env, struct buf *out) {
    return buf_addf(
        out,
        "# HELP moongate_file_failures_total Writes of files in state_dir that failed.\n"
        "# TYPE moongate_file_failures_total counter\n"
        "moongate_file_failures_total{file=\"suspensions.json\"} %lu\n"
        "moongate_file_failures_total{file=\"settings.json\"} %lu\n"
        "moongate_file_failures_total{file=\"audit.log\"} %lu\n",
        atomic_load(&env->control->save_failures), atomic_load(&env->loader->overlay_failures),
        atomic_load(&env->loader->audit.failures));
}

static int write_metrics(const struct admin_env *env, struct generation *now, struct buf *out) {
    struct gateway *g = env->gateway;
    struct metrics *metrics[MAX_WORKERS];
    struct store_stats store;
    struct probe_stats probes;
    struct lane_stats lanes;
    for (size_t i = 0; i < g->n_workers; i++) {
        metrics[i] = g->workers[i]->metrics;
    }
    store_stats(g->state.store, &store);
    probes_stats(env->probes, &probes);
    generation_stats(now, &lanes);
    int bad = metrics_collect(metrics, g->n_workers, out);
    bad |= per_worker(g, out) | target_gauges(g, out) | reload_counters(g, out);
    bad |= alive(env, out);
    bad |=
        gauge(out, "moongate_generation", "The generation in force.", "gauge", generation_id(now));
    bad |= limits(g, generation_config(now), out) | file_failures(env, out);
    bad |= metrics_policies(now, out);
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

int admin_metrics(struct admin_request *r, struct admin_answer *a) {
    a->type = "text/plain; version=0.0.4; charset=utf-8";
    return write_metrics(r->env, r->now, &a->text);
}
