/* SPDX-License-Identifier: MIT */
/*
 * A sandboxed Lua state with its allocator and budget: what a lane and a configuration load have in
 * common. Internal to policy/. The box is found from any thread of its state through the extra
 * space. Every call into Lua goes through box_protect (C code that may raise, on the main thread)
 * or box_call (script code, in a coroutine of its own so that it can be killed by a yield) or
 * run_step; nothing else may call an API function that allocates.
 */
#ifndef POLICY_BOX_H
#define POLICY_BOX_H

#include <lauxlib.h>
#include <lua.h>

#include "base/err.h"
#include "policy/alloc.h"
#include "policy/budget.h"
#include "policy/policy.h"

struct box {
    lua_State *L;       /* the main thread; its stack is empty between calls */
    lua_State *running; /* the thread whose hook is hurried by churn; NULL: none */
    struct alloc alloc;
    struct budget budget;         /* of the stretch under way */
    usec load_left;               /* what box_calls may still use */
    const struct policy_env *env; /* borrowed */
    struct snapshot *snapshot;    /* borrowed; NULL: no `require` (a configuration file) */
    struct lane *lane;            /* borrowed; NULL in a configuration load */
};

enum box_status { BOX_OK, BOX_ERROR, BOX_TIMEOUT, BOX_NOMEM };

/* NULL: memory, or the cap is too small for the libraries (err says). `snapshot` and `lane` may be
 * NULL. */
struct box *box_new(const struct policy_env *env, struct snapshot *snapshot, struct lane *lane,
                    struct err *err);
void box_free(struct box *box);

static inline struct box *box_of(lua_State *L) {
    return *(struct box **)lua_getextraspace(L);
}

/*
 * Runs fn protected on the main thread; its frame holds the nargs values that were on top of the
 * stack (box_arg, called first, takes its own argument away). BOX_OK leaves nresults values in
 * their place; otherwise they are gone.
 */
enum box_status box_protect(struct box *box, lua_CFunction fn, void *ud, int nargs, int nresults,
                            struct err *err);
/* Calls the function below its nargs arguments on the main thread's stack, in a fresh coroutine
 * under what is left of the load budget. Same results. */
enum box_status box_call(struct box *box, int nargs, int nresults, struct err *err);

/* The ud of a box_protect function. */
void *box_arg(lua_State *L);

/* Text of the error value on top of the stack; never raises, runs no metamethod. */
void box_error_text(lua_State *L, struct err *err);
/* What err says when a coroutine ended for want of memory: where, and how much there was. */
void box_nomem_text(lua_State *co, struct err *err);
/* Arms the hook of a thread afresh. */
void box_arm_hook(lua_State *L);
/* Makes the hook run before the thread's next instruction. */
void box_hurry_hook(lua_State *L);
/* What err says when a budget ran out. */
void box_timeout_text(const struct box *box, usec limit, const char *what, struct err *err);

#endif
