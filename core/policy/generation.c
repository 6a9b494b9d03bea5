/* SPDX-License-Identifier: MIT */
/*
 * Staging: everything a load needs is made and checked here, on the control thread, before anybody
 * sees it; any mistake throws all of it away. The first lane is where mistakes are looked for and
 * reported, the others only repeat what worked there.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/lane.h"

static void generation_free(struct generation *g) {
    size_t i;

    for (i = 0; i < g->n_lanes; i++) {
        lane_free(g->lanes[i]);
    }
    free(g->lanes);
    for (i = 0; g->routes && i < g->config->n_variants; i++) {
        size_t t;

        value_release(&g->routes[i].settings);
        for (t = 0; t < g->routes[i].n_targets; t++) {
            free(g->routes[i].targets[t]);
        }
        free(g->routes[i].targets);
    }
    free(g->routes);
    for (i = 0; g->policies && i < g->n_policies; i++) {
        free(g->policies[i].label);
        value_release(&g->policies[i].schema);
        value_release(&g->policies[i].version);
    }
    free(g->policies);
    dialects_free(g);
    config_unref(g->config);
    snapshot_unref(g->snapshot);
    free(g);
}

static size_t find_policy(const struct generation *g, const char *name) {
    size_t i;

    for (i = 0; i < g->n_policies && strcmp(g->policies[i].name, name) != 0; i++) {
    }
    return i;
}

/* The policy files that routes name, each once. */
static int list_policies(struct generation *g, struct diags *diags) {
    size_t i;

    for (i = 0; i < g->config->n_variants; i++) {
        size_t r = config_variant(g->config, i).route;
        const struct config_route *route = &g->config->routes[r];
        size_t p;
        char label[256];

        if (!route->policy) { /* a mistake that was told already */
            g->routes[i].policy = g->config->n_routes;
            continue;
        }
        p = find_policy(g, route->policy);

        g->routes[i].policy = p;
        if (p < g->n_policies) {
            continue;
        }
        snprintf(label, sizeof label, "policies/%s.lua", route->policy);
        g->policies[p] = (struct policy_file){.name = route->policy,
                                              .file = snapshot_find(g->snapshot, label),
                                              .label = str_dup(str_of(label))};
        g->n_policies++;
        if (!g->policies[p].label) {
            return -1;
        }
        if (!g->policies[p].file) {
            diags_error(diags, snapshot_config_path(g->snapshot), config_route_line(g->snapshot, r),
                        "route '%s': there is no file %s", route->name, label);
        }
    }
    return 0;
}

static struct generation *generation_new(const struct policy_env *env, unsigned id,
                                         struct snapshot *snapshot, struct config *config,
                                         size_t lanes) {
    struct generation *g = calloc(1, sizeof *g);

    if (!g) {
        return NULL;
    }
    atomic_init(&g->refs, 1);
    atomic_flag_clear(&g->warned_memory);
    g->env = env;
    g->id = id;
    g->snapshot = snapshot_ref(snapshot);
    g->config = config_ref(config);
    snapshot_hash(snapshot, g->hash);
    g->routes = calloc(config->n_variants + 1, sizeof *g->routes);
    g->policies = calloc(config->n_routes + 1, sizeof *g->policies);
    g->lanes = calloc(lanes + 1, sizeof *g->lanes);
    if (!g->routes || !g->policies || !g->lanes) {
        generation_free(g);
        return NULL;
    }
    return g;
}

static struct lane *add_lane(struct generation *g, struct diags *diags) {
    struct err err;
    struct lane *lane = lane_new(g, &err);

    if (!lane) {
        contract_report(diags, snapshot_config_path(g->snapshot), err.text);
        return NULL;
    }
    g->lanes[g->n_lanes++] = lane;
    return lane;
}

/* 0 when there is nothing against this generation. */
static int stage_first(struct generation *g, struct diags *diags) {
    struct lane *lane;
    struct err err;

    if (list_policies(g, diags) < 0) {
        diags_error(diags, snapshot_config_path(g->snapshot), 0, "not enough memory");
        return -1;
    }
    lane = add_lane(g, diags);
    if (!lane || dialects_load(g, diags) < 0 || lane_load(lane, diags, &err) < 0) {
        return -1;
    }
    settings_check(lane, diags);
    if (diags->errors) {
        return -1;
    }
    if (lane_bind(lane, &err) < 0) {
        contract_report(diags, snapshot_config_path(g->snapshot), err.text);
        return -1;
    }
    return 0;
}

static int stage_next(struct generation *g, struct diags *diags) {
    struct lane *lane = add_lane(g, diags);
    struct err err;

    if (!lane) {
        return -1;
    }
    if (lane_load(lane, NULL, &err) < 0 || lane_bind(lane, &err) < 0) {
        contract_report(diags, snapshot_config_path(g->snapshot), err.text);
        return -1;
    }
    return 0;
}

struct generation *generation_stage(const struct policy_env *env, unsigned id,
                                    struct snapshot *snapshot, struct config *config, size_t lanes,
                                    struct diags *diags) {
    struct generation *g = generation_new(env, id, snapshot, config, lanes);
    int status;

    if (!g) {
        diags_error(diags, snapshot_config_path(snapshot), 0, "not enough memory");
        return NULL;
    }
    status = stage_first(g, diags);
    while (status == 0 && g->n_lanes < lanes) {
        status = stage_next(g, diags);
    }
    if (status < 0) {
        generation_free(g);
        return NULL;
    }
    atomic_fetch_add(&g->refs, (int)g->n_lanes);
    return g;
}

unsigned generation_id(const struct generation *g) {
    return g->id;
}

struct config *generation_config(const struct generation *g) {
    return g->config;
}

const unsigned char *generation_hash(const struct generation *g) {
    return g->hash;
}

struct generation *generation_ref(struct generation *g) {
    atomic_fetch_add(&g->refs, 1);
    return g;
}

void generation_unref(struct generation *g) {
    if (g && atomic_fetch_sub(&g->refs, 1) == 1) {
        generation_free(g);
    }
}

static const struct policy_file *policy_of(const struct generation *g, size_t route) {
    return &g->policies[g->routes[route].policy];
}

const struct value *generation_schema(const struct generation *g, size_t route) {
    const struct policy_file *p = policy_of(g, route);

    return p->same ? &p->same->schema : &p->schema;
}

const struct value *generation_policy_version(const struct generation *g, size_t route) {
    return &policy_of(g, route)->version;
}

const struct value *generation_settings(const struct generation *g, size_t route) {
    return &g->routes[route].settings;
}

struct snapshot *generation_snapshot(const struct generation *g) {
    return g->snapshot;
}

void generation_enter(struct generation *g) {
    generation_ref(g);
    atomic_fetch_add_explicit(&g->requests, 1, memory_order_relaxed);
}

void generation_leave(struct generation *g) {
    atomic_fetch_sub_explicit(&g->requests, 1, memory_order_relaxed);
    generation_unref(g);
}

size_t generation_requests(const struct generation *g) {
    return atomic_load_explicit(&g->requests, memory_order_relaxed);
}

bool generation_alone(const struct generation *g) {
    return atomic_load(&g->refs) == 1;
}

struct lane *generation_lane(struct generation *g, size_t worker) {
    return worker < g->n_lanes ? g->lanes[worker] : NULL;
}

void generation_stats(const struct generation *g, struct lane_stats *sum) {
    struct lane_stats one;
    size_t i;

    *sum = (struct lane_stats){0};
    for (i = 0; i < g->n_lanes; i++) {
        lane_stats(g->lanes[i], &one);
        sum->runs += one.runs;
        sum->bytes += one.bytes;
        sum->coroutines += one.coroutines;
        sum->kept += one.kept;
        sum->references += one.references;
        sum->calls += one.calls;
        sum->errors += one.errors;
        sum->kills += one.kills;
        for (int k = 0; k < KILL_REASONS; k++) {
            sum->kills_by[k] += one.kills_by[k];
        }
        sum->used.cpu += one.used.cpu;
        sum->used.steps += one.used.steps;
        sum->used.bytes += one.used.bytes;
    }
}
