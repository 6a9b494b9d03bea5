/* SPDX-License-Identifier: MIT */
/*
 * How each policy of a generation fares, over all workers: counters, and the switch that takes it
 * out of service after POLICY_FAILURES_MAX failures in a row. Successes cost one load as long as
 * nothing failed, so that workers do not contend for the counter.
 */
#include <stdio.h>

#include "base/limits.h"
#include "policy/lane.h"

enum policy_state { POLICY_ON, POLICY_SWITCHING, POLICY_OFF };

const char *kill_name(enum kill_reason reason) {
    static const char *const names[KILL_REASONS] = {
        [KILL_NONE] = "",
        [KILL_STRETCH] = "stretch",
        [KILL_REQUEST] = "request",
        [KILL_MEMORY] = "memory",
    };

    return names[reason];
}

static struct policy_record *record_of(struct generation *g, size_t policy) {
    return &g->policies[policy].record;
}

void health_good(struct generation *g, size_t policy) {
    struct policy_record *r = record_of(g, policy);

    if (atomic_load_explicit(&r->row, memory_order_relaxed)) {
        atomic_store_explicit(&r->row, 0, memory_order_relaxed);
    }
}

static void switch_off(struct generation *g, size_t policy, const char *text) {
    struct policy_record *r = record_of(g, policy);
    int expected = POLICY_ON;

    if (!atomic_compare_exchange_strong(&r->state, &expected, POLICY_SWITCHING)) {
        return;
    }
    snprintf(r->reason, sizeof r->reason, "%s", text);
    atomic_store(&r->state, POLICY_OFF);
    if (g->env->log) {
        log_error(g->env->log,
                  "%s: policy failed %d times in a row and is switched off for generation %u: its "
                  "routes get the default plan, or are refused where on_error = \"deny\"; a reload "
                  "brings it back. The last failure: %s",
                  g->policies[policy].label, POLICY_FAILURES_MAX, g->id, r->reason);
    }
}

void health_failed(struct generation *g, size_t policy, enum kill_reason killed, const char *text) {
    struct policy_record *r = record_of(g, policy);

    atomic_fetch_add_explicit(killed ? &r->kills : &r->errors, 1, memory_order_relaxed);
    if (atomic_fetch_add(&r->row, 1) + 1 >= POLICY_FAILURES_MAX) {
        switch_off(g, policy, text);
    }
}

static bool is_off(const struct policy_record *r) {
    return atomic_load_explicit(&r->state, memory_order_acquire) == POLICY_OFF;
}

static unsigned long calls_of(const struct generation *g, size_t policy) {
    unsigned long sum = 0;

    for (size_t i = 0; i < g->n_lanes; i++) {
        sum += atomic_load_explicit(&g->lanes[i]->policy_calls[policy], memory_order_relaxed);
    }
    return sum;
}

bool generation_policy(const struct generation *g, size_t i, struct policy_health *out) {
    const struct policy_record *r;

    if (i >= g->n_policies) {
        return false;
    }
    r = &g->policies[i].record;
    *out = (struct policy_health){
        .name = g->policies[i].name,
        .label = g->policies[i].label,
        .calls = calls_of(g, i),
        .errors = atomic_load_explicit(&r->errors, memory_order_relaxed),
        .kills = atomic_load_explicit(&r->kills, memory_order_relaxed),
        .switched_off = is_off(r),
    };
    if (out->switched_off) {
        snprintf(out->reason, sizeof out->reason, "%s", r->reason);
    }
    return true;
}

bool generation_switched_off(const struct generation *g) {
    for (size_t i = 0; i < g->n_policies; i++) {
        if (is_off(&g->policies[i].record)) {
            return true;
        }
    }
    return false;
}

bool lane_switched_off(const struct lane *lane, size_t route) {
    return is_off(&lane->gen->policies[lane->gen->routes[route].policy].record);
}
