/* SPDX-License-Identifier: MIT */
/*
 * One coroutine on behalf of a request. A run holds its lane from run_new to run_free. Its
 * coroutine is anchored in the registry under the run's address and goes with the run into the
 * lane's free list when it ended well; one that was killed or ran out of memory is never touched
 * again and left to the collector, since the only thing Lua 5.4.4 allows after a yield from a count
 * hook is to forget the coroutine.
 */
#include <stdint.h>
#include <stdlib.h>

#include "policy/lane.h"
#include "policy/policy_lua.h"

#define NO_POLICY SIZE_MAX

struct run {
    struct lane *lane;
    const struct run_entry *entry; /* borrowed */
    void *request;                 /* borrowed */
    lua_State *co;                 /* NULL: to be made */
    usec born, used;               /* CPU time used so far */
    usec allowed;                  /* for its one step; 0: as policies are */
    unsigned long long steps, bytes;
    unsigned long number; /* in its lane, from 1: none is used twice */
    enum kill_reason killed;
    size_t policy;     /* its index; NO_POLICY until a handler was pushed */
    int line;          /* of that route's handler */
    const char *label; /* "policies/failover.lua", NULL until a handler was pushed */
    bool started, over;
    bool goes_on;     /* the request has another run to come */
    struct run *next; /* in the free list */
};

static int make_thread(lua_State *L) {
    struct run *run = box_arg(L);

    run->co = lua_newthread(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, run);
    count_add(run->lane->threads, 1);
    return 0;
}

/* The key is there, so nothing is allocated and nothing can be raised. */
static void drop_thread(struct run *run) {
    lua_State *L = run->lane->box->L;

    if (run->co) {
        lua_pushnil(L);
        lua_rawsetp(L, LUA_REGISTRYINDEX, run);
        run->co = NULL;
        count_add(run->lane->threads, -1);
    }
}

static bool ensure_thread(struct run *run) {
    struct box *box = run->lane->box;

    if (run->co) {
        return true;
    }
    if (box_protect(box, make_thread, run, 0, 0, NULL) != BOX_OK) {
        run->co = NULL;
        return false;
    }
    return true;
}

static struct run *take_free(struct lane *lane) {
    struct run *run = lane->free_runs;

    if (!run) {
        run = calloc(1, sizeof *run);
        if (run) {
            run->lane = lane;
        }
        return run;
    }
    lane->free_runs = run->next;
    lane->n_free--;
    count_add(lane->kept, run->co ? -1 : 0);
    return run;
}

void run_discard(struct run *run) {
    struct lane *lane = run->lane;

    lane->free_runs = run->next;
    lane->n_free--;
    count_add(lane->kept, run->co ? -1 : 0);
    drop_thread(run);
    free(run);
}

struct run *run_new(struct lane *lane, const struct run_entry *entry, void *request) {
    struct run *run = lane->box ? take_free(lane) : NULL;

    if (!run) {
        return NULL;
    }
    if (!ensure_thread(run)) {
        free(run);
        return NULL;
    }
    run->entry = entry;
    run->request = request;
    run->policy = NO_POLICY;
    run->label = NULL;
    run->line = 0;
    run->born = 0;
    run->used = 0;
    run->steps = 0;
    run->bytes = 0;
    run->killed = KILL_NONE;
    run->started = false;
    run->over = false;
    run->goes_on = false;
    run->allowed = 0;
    run->next = NULL;
    lane_hold(lane);
    return run;
}

void run_free(struct run *run) {
    struct lane *lane;

    if (!run) {
        return;
    }
    lane = run->lane;
    if (!run->over && run->started) { /* it stands in the middle of something */
        drop_thread(run);
    }
    run->request = NULL;
    if (lane->n_free < LUA_FREE_RUNS) {
        run->next = lane->free_runs;
        lane->free_runs = run;
        lane->n_free++;
        count_add(lane->kept, run->co ? 1 : 0);
    } else {
        drop_thread(run);
        free(run);
    }
    lane_let_go(lane);
}

void run_allow(struct run *run, usec cpu) {
    usec patience = run->lane->box->env->resume_cpu;

    run->allowed = patience ? cpu * (patience / LUA_RESUME_CPU + 1) : cpu;
}

void *policy_request_or_null(lua_State *L) {
    struct lane *lane = policy_lane(L);

    return lane && lane->current && !lane->current->entry->apart ? lane->current->request : NULL;
}

unsigned long policy_run(lua_State *L) {
    struct lane *lane = policy_lane(L);

    return lane && lane->current ? lane->current->number : 0;
}

void *policy_request(lua_State *L) {
    void *request = policy_request_or_null(L);
    lua_Debug ar;

    if (!request) {
        ar.name = NULL;
        if (lua_getstack(L, 0, &ar)) {
            lua_getinfo(L, "n", &ar);
        }
        luaL_error(L, "%s may only be called while a request is handled",
                   ar.name ? ar.name : "this function");
    }
    return request;
}

/* Protected, on the main thread: what to run goes to the coroutine. Results: how many arguments it
 * has, or -1. */
static int push_entry(lua_State *L) {
    struct run *run = box_arg(L);
    int nargs = run->entry->push(L, run->request);

    if (nargs < 0) {
        lua_pushinteger(L, -1);
        return 1;
    }
    if (!lua_checkstack(run->co, nargs + 1)) {
        return luaL_error(L, "too many arguments");
    }
    lua_xmove(L, run->co, nargs + 1);
    lua_pushinteger(L, nargs);
    return 1;
}

struct taking {
    struct run *run;
    struct err *err;
    int n, verdict;
};

static int take_results(lua_State *L) {
    struct taking *t = box_arg(L);

    luaL_checkstack(L, t->n + LUA_MINSTACK, "too many results");
    lua_xmove(t->run->co, L, t->n);
    t->verdict = t->run->entry->take(L, t->n, t->run->request, t->err);
    return 0;
}

static enum run_status from_box(enum box_status status, enum run_status otherwise) {
    return status == BOX_NOMEM ? RUN_NOMEM : status == BOX_TIMEOUT ? RUN_TIMEOUT : otherwise;
}

static enum run_status returned(struct run *run, int n, struct err *err) {
    struct taking t = {.run = run, .err = err, .n = n};
    enum box_status status = box_protect(run->lane->box, take_results, &t, 0, 0, err);

    lua_settop(run->co, 0);
    if (status != BOX_OK) {
        return from_box(status, RUN_BAD_RESULT);
    }
    run->goes_on = t.verdict > 0;
    return t.verdict >= 0 ? RUN_DONE : RUN_BAD_RESULT;
}

/* An error in the coroutine. Resetting it closes its to-be-closed variables, still under the
 * budget, and makes it fit for the next run. */
static enum run_status raised(struct run *run, int status, struct err *err) {
    box_error_text(run->co, err);
    if (status == LUA_ERRMEM) {
        box_nomem_text(run->co, err);
        drop_thread(run);
        return RUN_NOMEM;
    }
    (void)lua_resetthread(run->co);
    lua_settop(run->co, 0);
    return RUN_ERROR;
}

static enum run_status resume(struct run *run, int nargs, struct err *err) {
    struct box *box = run->lane->box;
    int n = 0, status;

    box->running = run->co;
    if (box->budget.allowance <= 0) {
        box_hurry_hook(run->co); /* the account is overdrawn: no step is too short to be stopped */
    }
    status = lua_resume(run->co, box->L, nargs, &n);
    box->running = NULL;
    if (box->budget.killed) {
        return RUN_TIMEOUT;
    }
    if (status == LUA_YIELD) {
        lua_pop(run->co, n);
        return RUN_WAITING;
    }
    return status == LUA_OK ? returned(run, n, err) : raised(run, status, err);
}

static enum run_status start(struct run *run, struct err *err) {
    struct box *box = run->lane->box;
    enum box_status status;
    int nargs;

    run->started = true;
    run->born = clock_now();
    run->number = ++run->lane->numbered;
    count_add(run->lane->calls, run->entry->apart ? 0 : 1);
    if (run->lane->worn) {
        err_set(err, "the policies' memory (%zu bytes) is full of what they keep between requests",
                box->alloc.cap);
        return RUN_NOMEM;
    }
    if (lua_gethookcount(run->co) != LUA_STEP_COUNT) {
        box_arm_hook(run->co); /* otherwise its count goes on: the sum over its runs is right */
    }
    status = box_protect(box, push_entry, run, 0, 1, err);
    if (run->policy != NO_POLICY) {
        count_add(run->lane->policy_calls[run->policy], 1);
    }
    if (status != BOX_OK) {
        lua_settop(run->co, 0);
        return from_box(status, RUN_ERROR);
    }
    nargs = (int)lua_tointeger(box->L, -1);
    lua_pop(box->L, 1);
    if (nargs < 0) {
        err_set(err, "there is nothing to run");
        return RUN_BAD_RESULT;
    }
    return resume(run, nargs, err);
}

static usec per_resume(const struct run *run) {
    usec t = run->lane->box->env->resume_cpu;

    return t ? t : LUA_RESUME_CPU;
}

static usec per_request(const struct run *run) {
    usec t = run->lane->box->env->request_cpu;

    return t ? t : LUA_REQUEST_CPU;
}

/*
 * What this step may use. The request's account fills up slowly while it lives (by the request's
 * own clock, which a simulated gateway moves), so that a local stream of an hour is not stopped for
 * the sum of what it did, while a busy loop is.
 */
static usec allowance(const struct run *run) {
    usec total = per_request(run), left = total - run->used;

    if (run->allowed) {
        return run->allowed;
    }
    if (run->started) {
        left += (clock_now() - run->born) * total / (LUA_REFILL_SECONDS * USEC_PER_SEC);
    }
    return left < per_resume(run) ? left : per_resume(run);
}

/* A kill may end as a yield, as an error, or as a value that came of a caught error: the flag alone
 * decides. */
static enum run_status killed(struct run *run, struct err *err) {
    struct box *box = run->lane->box;

    if (run->allowed) {
        run->killed = KILL_STRETCH;
        box_timeout_text(box, run->allowed, "for one translation", err);
    } else if (box->budget.allowance < per_resume(run)) {
        run->killed = KILL_REQUEST;
        box_timeout_text(box, per_request(run), "for one request", err);
    } else {
        run->killed = KILL_STRETCH;
        box_timeout_text(box, per_resume(run), "without waiting", err);
    }
    drop_thread(run);
    return RUN_TIMEOUT;
}

/* What a step used, where everybody may read it. */
static void account_usage(struct run *run, const struct budget *b, usec cpu,
                          unsigned long long bytes) {
    struct lane *lane = run->lane;

    run->used += cpu;
    run->steps += b->steps;
    run->bytes += bytes;
    count_add(lane->cpu, cpu);
    count_add(lane->steps, b->steps);
    count_add(lane->allocated, bytes);
}

static void log_failure(const struct run *run, enum run_status status, const struct err *err) {
    const struct log *log = run->lane->box->env->log;
    static const char *const names[] = {
        [RUN_ERROR] = "failed",
        [RUN_TIMEOUT] = "was stopped",
        [RUN_NOMEM] = "ran out of memory",
        [RUN_BAD_RESULT] = "returned nothing useful",
    };

    if (log) {
        log_error(log, "%s:%d: policy %s%s%s (generation %u): %s",
                  run->label ? run->label : "policies", run->line, names[status],
                  run->killed ? ", kill reason " : "", kill_name(run->killed), run->lane->gen->id,
                  err->text);
    }
}

/* A run that a worn lane refused says nothing about its policy. */
static void account_failure(struct run *run, enum run_status status, const struct err *err) {
    struct lane *lane = run->lane;

    if (status == RUN_NOMEM) {
        run->killed = KILL_MEMORY;
    }
    if (run->killed) {
        count_add(lane->kills_by[run->killed], 1);
    } else {
        count_add(lane->errors, 1);
    }
    if (!run->entry->apart) {
        log_failure(run, status, err);
    }
    if (run->policy != NO_POLICY) {
        health_failed(lane->gen, run->policy, run->killed, err->text);
    }
}

static void account(struct run *run, enum run_status status, const struct err *err) {
    struct lane *lane = run->lane;

    lane_publish(lane);
    lane_check_soft_limit(lane);
    if (status == RUN_NOMEM) {
        lane_check_memory(lane);
    }
    if (status == RUN_WAITING) {
        return;
    }
    run->over = true;
    if (status != RUN_DONE) {
        account_failure(run, status, err);
    } else if (run->policy != NO_POLICY && !run->goes_on) {
        health_good(lane->gen, run->policy);
    }
}

void run_usage(const struct run *run, struct policy_usage *out) {
    *out = (struct policy_usage){.cpu = run->used, .steps = run->steps, .bytes = run->bytes};
}

enum kill_reason run_killed(const struct run *run) {
    return run->killed;
}

enum run_status run_step(struct run *run, struct err *err) {
    struct lane *lane = run->lane;
    struct box *box = lane->box;
    struct run *outer = lane->current;
    struct budget outer_budget = box->budget;
    lua_State *outer_running = box->running;
    unsigned long long outer_asked = box->alloc.asked;
    int top = lua_gettop(box->L);
    struct err own;
    enum run_status status;
    usec cpu;

    err = err ? err : &own;
    err->text[0] = '\0';
    lane->current = run;
    box->alloc.asked = 0;
    budget_arm(&box->budget, allowance(run));
    status = run->started ? resume(run, 0, err) : start(run, err);
    cpu = budget_disarm(&box->budget);
    account_usage(run, &box->budget, cpu, box->alloc.asked);
    if (box->budget.killed) {
        status = killed(run, err);
    }
    lua_settop(box->L, top);
    box->alloc.asked = outer_asked;
    box->budget = outer_budget;
    box->running = outer_running;
    lane->current = outer;
    account(run, status, err);
    return status;
}

void policy_about(lua_State *L, size_t route) {
    const struct generation *g = policy_lane(L)->gen;

    policy_lane(L)->current->policy = g->routes[route].policy;
    policy_lane(L)->current->label = g->policies[g->routes[route].policy].label;
    policy_lane(L)->current->line = g->routes[route].line;
}

void policy_push_handler(lua_State *L, size_t route) {
    struct lane *lane = policy_lane(L);

    luaL_checkstack(L, 2, "pushing a handler");
    lua_rawgeti(L, LUA_REGISTRYINDEX, lane->refs.handler[route]);
    lua_rawgeti(L, LUA_REGISTRYINDEX, lane->refs.settings[route]);
}
