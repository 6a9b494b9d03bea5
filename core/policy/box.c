/* SPDX-License-Identifier: MIT */
/*
 * See box.h. Runaway code is stopped by yielding from the count hook, which pcall cannot catch;
 * where that is impossible (inside a metamethod that C called) the hook raises, and goes on raising
 * at every instruction until the script is out of there.
 */
#include "policy/box.h"

#include <stdio.h>
#include <stdlib.h>

#include "policy/policy_lua.h"
#include "policy/sandbox.h"

static void hook(lua_State *L, lua_Debug *ar);

void box_arm_hook(lua_State *L) {
    lua_sethook(L, hook, LUA_MASKCOUNT, LUA_STEP_COUNT);
}

void box_hurry_hook(lua_State *L) {
    lua_sethook(L, hook, LUA_MASKCOUNT, 1);
}

/* "policies/x.lua:12: " of the nearest script function on the stack, or "". getinfo with S and l
 * allocates nothing. */
static void find_place(lua_State *L, char *out, size_t size) {
    lua_Debug ar;
    int level;

    out[0] = '\0';
    for (level = 0; level < 16 && lua_getstack(L, level, &ar); level++) {
        lua_getinfo(L, "Sl", &ar);
        if (ar.currentline > 0 && ar.source[0] == '@') {
            snprintf(out, size, "%s:%d: ", ar.short_src, ar.currentline);
            return;
        }
    }
}

/* Returns only to the hook machinery (which then yields); from a C function it does not return. */
static void stop(lua_State *L, struct box *box) {
    if (!box->budget.killed) {
        box->budget.killed = true;
        find_place(L, box->budget.where, sizeof box->budget.where);
    }
    box_hurry_hook(L);
    if (lua_isyieldable(L)) {
        lua_yield(L, 0);
        return;
    }
    luaL_error(L, "stopped: the CPU budget is used up");
}

/* Without a limit nothing is to be stopped, and a count hook costs every instruction. */
static void watch(const struct box *box, lua_State *L) {
    if (box->env->load_cpu != USEC_NEVER) {
        box_arm_hook(L);
    }
}

static void hook(lua_State *L, lua_Debug *ar) {
    struct box *box = box_of(L);
    bool hurried = lua_gethookcount(L) != LUA_STEP_COUNT; /* by churn, or to stop it */

    (void)ar;
    if (hurried ? budget_spent(&box->budget) : budget_charge(&box->budget, LUA_STEP_COUNT)) {
        stop(L, box);
    } else if (hurried) {
        box_arm_hook(L);
    }
}

void policy_charge(lua_State *L, size_t steps) {
    struct box *box = box_of(L);

    if (budget_charge(&box->budget, steps)) {
        stop(L, box);
    }
}

/* lua_sethook may be called at any moment, even from a signal handler: the hook then runs before
 * the next instruction. */
static void on_churn(void *ctx) {
    struct box *box = ctx;

    if (box->running && lua_gethook(box->running)) {
        box_hurry_hook(box->running);
    }
}

/* Not reached as long as every entry is protected; Lua aborts after it. */
static int on_panic(lua_State *L) {
    struct box *box = box_of(L);
    struct err err;

    box_error_text(L, &err);
    if (box->env->log) {
        log_error(box->env->log, "unprotected error in a Lua state: %s", err.text);
    }
    return 0;
}

void box_error_text(lua_State *L, struct err *err) {
    switch (lua_type(L, -1)) {
    case LUA_TSTRING:
        err_set(err, "%s", lua_tostring(L, -1));
        break;
    case LUA_TNUMBER: /* lua_tostring would allocate here */
        err_set(err, "error value %.14g", (double)lua_tonumber(L, -1));
        break;
    default:
        err_set(err, "the error value is a %s (expected a text)", luaL_typename(L, -1));
        break;
    }
}

void box_timeout_text(const struct box *box, usec limit, const char *what, struct err *err) {
    err_set(err, "%sstopped: more than %.7g ms of CPU time %s", box->budget.where,
            (double)limit / 1000, what);
}

void box_nomem_text(lua_State *co, struct err *err) {
    char where[96];

    find_place(co, where, sizeof where);
    err_set(err, "%snot enough memory (a policy's state may hold %zu bytes)", where,
            box_of(co)->alloc.cap);
}

static usec load_limit(const struct policy_env *env) {
    return env->load_cpu ? env->load_cpu : LUA_LOAD_CPU;
}

struct protected_call {
    lua_CFunction fn;
    void *ud;
};

void *box_arg(lua_State *L) {
    struct protected_call *call = lua_touserdata(L, 1);

    lua_remove(L, 1);
    return call->ud;
}

static int protected_entry(lua_State *L) {
    struct protected_call *call = lua_touserdata(L, 1);

    return call->fn(L);
}

static enum box_status failed(lua_State *L, int status, struct err *err) {
    box_error_text(L, err);
    lua_pop(L, 1);
    return status == LUA_ERRMEM ? BOX_NOMEM : BOX_ERROR;
}

enum box_status box_protect(struct box *box, lua_CFunction fn, void *ud, int nargs, int nresults,
                            struct err *err) {
    lua_State *L = box->L;
    struct protected_call call = {fn, ud};
    bool core = box->alloc.core;
    int status;

    if (!lua_checkstack(L, LUA_MINSTACK)) {
        lua_pop(L, nargs);
        err_set(err, "not enough memory");
        return BOX_NOMEM;
    }
    box->alloc.core = true;
    lua_pushcfunction(L, protected_entry); /* no upvalues: allocates nothing */
    lua_insert(L, -1 - nargs);
    lua_pushlightuserdata(L, &call);
    lua_insert(L, -1 - nargs);
    status = lua_pcall(L, nargs + 1, nresults, 0);
    box->alloc.core = core;
    return status == LUA_OK ? BOX_OK : failed(L, status, err);
}

static int new_thread(lua_State *L) {
    lua_newthread(L);
    return 1;
}

/* Moves what the coroutine returned to the main stack, above the thread that anchors it. */
static enum box_status take_results(lua_State *L, lua_State *co, int have, int want,
                                    struct err *err) {
    if (!lua_checkstack(co, want) || !lua_checkstack(L, want + 1)) {
        err_set(err, "not enough memory");
        return BOX_NOMEM;
    }
    for (; have > want; have--) {
        lua_pop(co, 1);
    }
    for (; have < want; have++) {
        lua_pushnil(co);
    }
    lua_xmove(co, L, want);
    return BOX_OK;
}

static enum box_status outcome(struct box *box, lua_State *co, int status, struct err *err) {
    if (box->budget.killed) {
        box_timeout_text(box, load_limit(box->env), "while loading", err);
        return BOX_TIMEOUT;
    }
    if (status == LUA_YIELD) {
        err_set(
            err,
            "a function that waits was called while the file is loaded (expected: inside handle)");
        return BOX_ERROR;
    }
    if (status == LUA_ERRMEM) {
        box_nomem_text(co, err);
        return BOX_NOMEM;
    }
    box_error_text(co, err);
    return BOX_ERROR;
}

/* The thread stands at `anchor` on the main stack, the function and its arguments above it. */
static enum box_status resume(struct box *box, int anchor, int nargs, int nresults,
                              struct err *err) {
    lua_State *L = box->L, *co = lua_tothread(L, anchor);
    int status, n = 0;

    if (!lua_checkstack(co, nargs + 1)) {
        err_set(err, "not enough memory");
        return BOX_NOMEM;
    }
    lua_xmove(L, co, nargs + 1);
    box->running = co;
    budget_arm(&box->budget, box->load_left > 0 ? box->load_left : 0);
    status = lua_resume(co, L, nargs, &n);
    box->load_left -= budget_disarm(&box->budget);
    box->running = NULL;
    if (status == LUA_OK && !box->budget.killed) {
        return take_results(L, co, n, nresults, err);
    }
    return outcome(box, co, status, err);
}

enum box_status box_call(struct box *box, int nargs, int nresults, struct err *err) {
    lua_State *L = box->L;
    int anchor = lua_gettop(L) - nargs;
    enum box_status status = box_protect(box, new_thread, NULL, 0, 1, err);

    if (status == BOX_OK) {
        lua_insert(L, anchor);
        watch(box, lua_tothread(L, anchor));
        status = resume(box, anchor, nargs, nresults, err);
    }
    if (status != BOX_OK) {
        lua_settop(L, anchor - 1);
        return status;
    }
    lua_remove(L, anchor);
    return BOX_OK;
}

static int setup(lua_State *L) {
    (void)box_arg(L);
    sandbox_open(L);
    return 0;
}

static usec left_of(const struct box *box) {
    return box->load_left > 0 ? box->load_left : 0;
}

/* Runs the coroutine on its own allowance; what it used is taken off the program's. */
static int run_within(struct box *box, lua_State *co, lua_State *from, usec cpu) {
    lua_State *outer = box->running;
    int n = 0;

    box->load_left -= budget_disarm(&box->budget);
    box->running = co;
    budget_arm(&box->budget, cpu < left_of(box) ? cpu : left_of(box));
    int status = lua_resume(co, from, 0, &n);
    box->load_left -= budget_disarm(&box->budget);
    box->running = outer;
    return status;
}

int policy_call_within(lua_State *L, usec cpu, const char *what) {
    struct box *box = box_of(L);
    lua_State *co = lua_newthread(L);
    struct err err;

    lua_insert(L, -2);
    lua_xmove(L, co, 1);
    box_arm_hook(co);
    int status = run_within(box, co, L, cpu);
    bool killed = box->budget.killed;
    if (killed && left_of(box) == 0) {
        box->budget.armed = true; /* the program is stopped where this ran out */
        stop(L, box);
    }
    if (killed) {
        box_timeout_text(box, cpu, what, &err);
    }
    budget_arm(&box->budget, left_of(box));
    lua_pushboolean(L, status == LUA_OK && !killed);
    if (killed) {
        lua_pushstring(L, err.text);
    } else if (status == LUA_YIELD) {
        lua_pushliteral(L, "a function that waits was called outside a request");
    } else if (status != LUA_OK) {
        lua_xmove(co, L, 1);
    }
    return status == LUA_OK && !killed ? 1 : 2;
}

struct box *box_new(const struct policy_env *env, struct snapshot *snapshot, struct lane *lane,
                    struct err *err) {
    struct box *box = calloc(1, sizeof *box);

    if (!box) {
        err_set(err, "not enough memory");
        return NULL;
    }
    alloc_init(&box->alloc, env->state_bytes ? env->state_bytes : LUA_STATE_BYTES, LUA_RESERVE);
    box->alloc.on_churn = on_churn;
    box->alloc.ctx = box;
    box->env = env;
    box->snapshot = snapshot;
    box->lane = lane;
    box->load_left = load_limit(env);
    box->L = lua_newstate(alloc_call, &box->alloc);
    if (!box->L) {
        err_set(err, "not enough memory for a Lua state of %zu bytes", box->alloc.cap);
        free(box);
        return NULL;
    }
    *(struct box **)lua_getextraspace(box->L) = box;
    lua_atpanic(box->L, on_panic);
    watch(box, box->L); /* before anything runs: threads made later inherit it */
    if (box_protect(box, setup, NULL, 0, 0, err) != BOX_OK) {
        box_free(box);
        return NULL;
    }
    return box;
}

void box_free(struct box *box) {
    if (box) {
        lua_close(box->L);
        free(box);
    }
}
