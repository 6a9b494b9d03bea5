/* SPDX-License-Identifier: MIT */
/* The gateway at a glance: what is in force since when, how its policies fare, what is under way.
 */
#include "admin/admin_internal.h"
#include "gateway/worker.h"

static void add_totals(struct json *root, const struct gateway *g) {
    size_t clients = 0, exchanges = 0;
    for (size_t i = 0; i < g->n_workers; i++) {
        clients += atomic_load(&g->workers[i]->n_clients);
        exchanges += atomic_load(&g->workers[i]->n_exchanges);
    }
    json_add_num(root, "workers", (double)g->n_workers);
    json_add_num(root, "connections", (double)clients);
    json_add_num(root, "requests_inflight", (double)exchanges);
}

/* Of all policies of the generation in force. */
static void add_policy(struct json *root, const struct generation *now) {
    struct lane_stats lanes;
    generation_stats(now, &lanes);
    struct json *policy = json_add_object(root, "policy");
    json_add_num(policy, "calls", (double)lanes.calls);
    json_add_num(policy, "errors", (double)lanes.errors);
    json_add_num(policy, "kills", (double)lanes.kills);
    json_add_num(policy, "memory", (double)lanes.bytes);
}

/* Each policy by itself. A switched-off one is answered for by the default plan. */
static void add_policies(struct json *root, const struct generation *now) {
    struct policy_health h;
    struct json *list = json_add_array(root, "policies");
    for (size_t i = 0; generation_policy(now, i, &h); i++) {
        struct json *one = json_push_object(list);
        json_add_str(one, "policy", str_of(h.name));
        json_add_str(one, "state", h.switched_off ? STR("switched_off") : STR("running"));
        json_add_str(one, "reason", str_of(h.reason));
        json_add_num(one, "calls", (double)h.calls);
        json_add_num(one, "errors", (double)h.errors);
        json_add_num(one, "kills", (double)h.kills);
    }
}

static void add_reloads(struct json *root, struct gateway *g) {
    struct json *reloads = json_add_object(root, "reloads");
    json_add_num(reloads, "applied", (double)atomic_load(&g->reloads_applied));
    json_add_num(reloads, "refused", (double)atomic_load(&g->reloads_refused));
    json_add_num(reloads, "unchanged", (double)atomic_load(&g->reloads_unchanged));
    json_add_bool(reloads, "last_was_refused", atomic_load(&g->reload_refused));
}

static void add_routes(struct json *root, const struct config *c) {
    struct json *routes = json_add_array(root, "routes");
    for (size_t i = 0; i < c->n_routes; i++) {
        struct json *route = json_push_object(routes);
        json_add_str(route, "name", str_of(c->routes[i].name));
        admin_add_route_path(route, &c->routes[i]);
        json_add_str(route, "policy", str_of(c->routes[i].policy));
    }
}

int admin_status(struct admin_request *r, struct admin_answer *a) {
    struct gateway *g = r->env->gateway;
    a->json = json_object();
    json_add_str(a->json, "version", str_of(r->env->version));
    json_add_num(a->json, "uptime", usec_to_seconds(clock_now() - g->started));
    json_add_num(a->json, "generation", generation_id(r->now));
    admin_add_hash(a->json, "hash", generation_hash(r->now));
    admin_add_time(a->json, "loaded_at", r->env->loader->loaded_at);
    json_add_bool(a->json, "watch", r->config->reload_watch);
    json_add_bool(a->json, "draining", atomic_load(&g->draining));
    add_totals(a->json, g);
    add_policy(a->json, r->now);
    add_policies(a->json, r->now);
    add_reloads(a->json, g);
    add_routes(a->json, r->config);
    return 0;
}
