/* SPDX-License-Identifier: MIT */
/*
 * A lane's life, and what bindings ask of it. Loading happens on the control thread while the
 * generation is staged; afterwards the lane belongs to its worker.
 */
#include "policy/lane.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/luavalue.h"
#include "policy/policy_lua.h"
#include "policy/sandbox.h"

static void refs_release(struct lane_refs *refs) {
    free(refs->policy);
    free(refs->handler);
    free(refs->settings);
    *refs = (struct lane_refs){0};
}

static int refs_init(struct lane_refs *refs, const struct generation *g) {
    refs->policy = calloc(g->n_policies + 1, sizeof *refs->policy);
    refs->handler = calloc(g->config->n_variants + 1, sizeof *refs->handler);
    refs->settings = calloc(g->config->n_variants + 1, sizeof *refs->settings);
    if (!refs->policy || !refs->handler || !refs->settings) {
        refs_release(refs);
        return -1;
    }
    return 0;
}

/* An empty box with room for its references. */
static int open_box(struct lane *lane, struct err *err) {
    lane->n_dialects = 0;
    if (refs_init(&lane->refs, lane->gen) < 0) {
        return err_set(err, "not enough memory");
    }
    lane->box = box_new(lane->gen->env, lane->gen->snapshot, lane, err);
    if (!lane->box) {
        refs_release(&lane->refs);
        return -1;
    }
    return 0;
}

static void discard_runs(struct lane *lane) {
    while (lane->free_runs) {
        run_discard(lane->free_runs);
    }
}

static void close_box(struct lane *lane) {
    discard_runs(lane);
    box_free(lane->box);
    lane->box = NULL;
    refs_release(&lane->refs);
}

struct lane *lane_new(struct generation *g, struct err *err) {
    struct lane *lane = calloc(1, sizeof *lane);

    if (!lane) {
        err_set(err, "not enough memory");
        return NULL;
    }
    lane->gen = g;
    lane->policy_calls = calloc(g->n_policies + 1, sizeof *lane->policy_calls);
    if (!lane->policy_calls) {
        err_set(err, "not enough memory");
        free(lane);
        return NULL;
    }
    if (open_box(lane, err) < 0) {
        free(lane->policy_calls);
        free(lane);
        return NULL;
    }
    lane_publish(lane);
    return lane;
}

void lane_close(struct lane *lane) {
    close_box(lane);
    lane_publish(lane);
}

void lane_free(struct lane *lane) {
    if (lane) {
        close_box(lane);
        free(lane->policy_calls);
        free(lane);
    }
}

static int collect(lua_State *L) {
    (void)box_arg(L);
    lua_gc(L, LUA_GCCOLLECT);
    return 0;
}

void lane_check_memory(struct lane *lane) {
    struct alloc *a = &lane->box->alloc;

    if (lane->worn) {
        return;
    }
    if (box_protect(lane->box, collect, NULL, 0, 0, NULL) != BOX_OK || a->used > a->cap / 4 * 3) {
        lane->worn = true;
    }
    lane_publish(lane);
}

/* One basic step, well below a millisecond. It starts a collection if none is under way, which then
 * goes on with what runs allocate. */
static int collect_some(lua_State *L) {
    (void)box_arg(L);
    lua_pushboolean(L, lua_gc(L, LUA_GCSTEP, 0));
    return 1;
}

static bool above_soft_limit(const struct lane *lane) {
    return lane->box->alloc.used > lane->box->alloc.cap / 4 * 3;
}

void lane_check_soft_limit(struct lane *lane) {
    const struct log *log = lane->gen->env->log;
    struct box *box = lane->box;
    bool whole;

    if (!above_soft_limit(lane) || lane->worn ||
        box_protect(box, collect_some, NULL, 0, 1, NULL) != BOX_OK) {
        return;
    }
    whole = lua_toboolean(box->L, -1);
    lua_pop(box->L, 1);
    lane_publish(lane);
    if (whole && above_soft_limit(lane) && !atomic_flag_test_and_set(&lane->gen->warned_memory) &&
        log) {
        log_warn(log,
                 "generation %u: the policies keep %zu bytes in a state that may hold %zu; at the "
                 "cap their runs are stopped and the state is made anew",
                 lane->gen->id, box->alloc.used, box->alloc.cap);
    }
}

void lane_renew(struct lane *lane) {
    const struct log *log = lane->gen->env->log;
    struct box *old = lane->box;
    struct lane_refs old_refs = lane->refs;
    struct err err;

    discard_runs(lane);
    if (open_box(lane, &err) < 0 || lane_load(lane, NULL, &err) < 0 || lane_bind(lane, &err) < 0) {
        close_box(lane);
        lane->box = old;
        lane->refs = old_refs;
        if (log) {
            log_error(log, "a policy state whose memory is full cannot be renewed: %s", err.text);
        }
        return;
    }
    lane->worn = false;
    box_free(old);
    refs_release(&old_refs);
    lane_publish(lane);
    if (log) {
        log_warn(log, "generation %u: a policy state was made anew, its memory was full",
                 lane->gen->id);
    }
}

void lane_publish(struct lane *lane) {
    atomic_store_explicit(&lane->bytes, lane->box ? lane->box->alloc.used : 0,
                          memory_order_relaxed);
}

void lane_hold(struct lane *lane) {
    atomic_fetch_add_explicit(&lane->runs, 1, memory_order_relaxed);
}

void lane_let_go(struct lane *lane) {
    if (atomic_fetch_sub_explicit(&lane->runs, 1, memory_order_relaxed) > 1) {
        return;
    }
    if (lane->retired) {
        lane_retire(lane);
    } else if (lane->worn) {
        lane_renew(lane);
    }
}

void lane_retire(struct lane *lane) {
    struct generation *g = lane->gen;

    lane->retired = true;
    if (lane->box && atomic_load_explicit(&lane->runs, memory_order_relaxed) == 0) {
        lane_close(lane);
        generation_unref(g); /* may free the lane */
    }
}

void lane_stats(const struct lane *lane, struct lane_stats *out) {
    out->runs = atomic_load_explicit(&lane->runs, memory_order_relaxed);
    out->coroutines = count_get(lane->threads) - count_get(lane->kept);
    out->kept = count_get(lane->kept);
    out->references = count_get(lane->references);
    out->bytes = atomic_load_explicit(&lane->bytes, memory_order_relaxed);
    out->calls = atomic_load_explicit(&lane->calls, memory_order_relaxed);
    out->errors = atomic_load_explicit(&lane->errors, memory_order_relaxed);
    out->kills = 0;
    for (int i = 0; i < KILL_REASONS; i++) {
        out->kills_by[i] = atomic_load_explicit(&lane->kills_by[i], memory_order_relaxed);
        out->kills += out->kills_by[i];
    }
    out->used.cpu = atomic_load_explicit(&lane->cpu, memory_order_relaxed);
    out->used.steps = atomic_load_explicit(&lane->steps, memory_order_relaxed);
    out->used.bytes = atomic_load_explicit(&lane->allocated, memory_order_relaxed);
}

const char *const *lane_targets(const struct lane *lane, size_t route) {
    static const char *const none[] = {NULL};
    char **targets = lane->gen->routes[route].targets;

    return targets ? (const char *const *)targets : none;
}

usec lane_seconds(const struct lane *lane, size_t route, const char *name, usec otherwise) {
    double seconds;

    if (!value_number(value_field(&lane->gen->routes[route].settings, name), &seconds)) {
        return otherwise;
    }
    return usec_from_seconds(seconds);
}

int policy_ref(lua_State *L) {
    int ref = luaL_ref(L, LUA_REGISTRYINDEX);

    count_add(policy_lane(L)->references, 1);
    return ref;
}

void policy_unref(lua_State *L, int ref) {
    luaL_unref(L, LUA_REGISTRYINDEX, ref);
    count_add(policy_lane(L)->references, -1);
}

void lane_drop_ref(struct lane *lane, int ref) {
    if (lane->box) {
        policy_unref(lane->box->L, ref);
    }
}

static int compile(lua_State *L) {
    struct policy_file *p = box_arg(L);
    char chunk[256];

    snprintf(chunk, sizeof chunk, "@%s", p->label);
    if (luaL_loadbufferx(L, p->file->text, p->file->len, chunk, "t") != LUA_OK) {
        return lua_error(L);
    }
    return 1;
}

static int keep(lua_State *L) {
    int *ref = box_arg(L);

    *ref = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

static enum box_status load_policy(struct lane *lane, size_t i, struct err *err) {
    struct box *box = lane->box;
    enum box_status status = box_protect(box, compile, &lane->gen->policies[i], 0, 1, err);

    if (status == BOX_OK) {
        status = box_call(box, 0, 1, err);
    }
    return status;
}

/* In the first lane: tells every mistake, goes on with the next file. False when nothing more can
 * be looked at. */
static bool load_and_check(struct lane *lane, size_t i, struct diags *diags) {
    struct policy_file *p = &lane->gen->policies[i];
    struct err err;
    enum box_status status = load_policy(lane, i, &err);

    if (status != BOX_OK) {
        contract_report(diags, p->label, err.text);
        return status == BOX_ERROR;
    }
    lua_pushvalue(lane->box->L, -1);
    contract_check(lane, p, diags);
    if (box_protect(lane->box, keep, &lane->refs.policy[i], 1, 0, &err) != BOX_OK) {
        contract_report(diags, p->label, err.text);
        return false;
    }
    return true;
}

int lane_load(struct lane *lane, struct diags *diags, struct err *err) {
    size_t i;

    for (i = 0; i < lane->gen->n_policies; i++) {
        if (!lane->gen->policies[i].file) {
            continue;
        }
        if (diags) {
            if (!load_and_check(lane, i, diags)) {
                return -1;
            }
        } else if (load_policy(lane, i, err) != BOX_OK ||
                   box_protect(lane->box, keep, &lane->refs.policy[i], 1, 0, err) != BOX_OK) {
            return -1;
        }
    }
    return 0;
}

/* Where the route's handler, on top of the stack, begins; once, while the generation is staged. */
static void note_line(lua_State *L, struct generation *g, size_t route) {
    struct policy_route *r = &g->routes[route];
    lua_Debug info;

    if (r->line) {
        return;
    }
    lua_pushvalue(L, -1);
    lua_getinfo(L, ">S", &info);
    r->line = strcmp(info.short_src, g->policies[r->policy].label) == 0 ? info.linedefined : 1;
}

static int bind_routes(lua_State *L) {
    struct lane *lane = box_arg(L);
    struct generation *g = lane->gen;
    size_t i;

    for (i = 0; i < g->config->n_variants; i++) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, lane->refs.policy[g->routes[i].policy]);
        lua_getfield(L, -1, "handle");
        note_line(L, g, i);
        lane->refs.handler[i] = luaL_ref(L, LUA_REGISTRYINDEX);
        lua_pop(L, 1);
        value_to_lua(L, &g->routes[i].settings);
        policy_freeze(L);
        lane->refs.settings[i] = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    lua_gc(L, LUA_GCCOLLECT); /* what loading left behind; the worker starts with a clean heap */
    return 0;
}

struct preparing {
    struct lane *lane;
    size_t route;
};

/* Leaves the policy's `prepare` and the route's settings, or two nils. */
static int push_prepare(lua_State *L) {
    struct preparing *p = box_arg(L);
    struct lane *lane = p->lane;

    lua_rawgeti(L, LUA_REGISTRYINDEX, lane->refs.policy[lane->gen->routes[p->route].policy]);
    lua_getfield(L, -1, "prepare");
    lua_rawgeti(L, LUA_REGISTRYINDEX, lane->refs.settings[p->route]);
    return 2;
}

/* What policies make of their settings once, at the load's cost instead of the first request's. */
static int prepare_route(struct lane *lane, size_t route, struct err *err) {
    struct preparing p = {lane, route};

    if (box_protect(lane->box, push_prepare, &p, 0, 2, err) != BOX_OK) {
        return -1;
    }
    if (lua_isnil(lane->box->L, -2)) {
        lua_settop(lane->box->L, 0);
        return 0;
    }
    return box_call(lane->box, 1, 0, err) == BOX_OK ? 0 : -1;
}

int lane_bind(struct lane *lane, struct err *err) {
    int status = box_protect(lane->box, bind_routes, lane, 0, 0, err) == BOX_OK ? 0 : -1;

    for (size_t i = 0; status == 0 && i < lane->gen->config->n_variants; i++) {
        status = prepare_route(lane, i, err);
    }
    if (status == 0) {
        status = lane_load_dialects(lane, err);
    }
    lane_publish(lane);
    return status;
}

void *policy_host(lua_State *L) {
    return box_of(L)->env->host;
}

struct lane *policy_lane(lua_State *L) {
    return box_of(L)->lane;
}

struct config *policy_config(lua_State *L) {
    struct lane *lane = box_of(L)->lane;

    return lane ? lane->gen->config : NULL;
}

const struct log *policy_log(lua_State *L) {
    return box_of(L)->env->log;
}

const char *policy_lua_version(void) {
    return LUA_RELEASE;
}
