/* SPDX-License-Identifier: MIT */
/*
 * The policy runtime as bindings see it. Everything here may raise Lua errors unless it says
 * otherwise.
 */
#ifndef POLICY_POLICY_LUA_H
#define POLICY_POLICY_LUA_H

#include <lauxlib.h>
#include <lua.h>

#include "policy/policy.h"

void *policy_host(lua_State *L); /* policy_env.host */
struct lane *policy_lane(lua_State *L);
struct config *policy_config(lua_State *L); /* borrowed; of the lane's generation */
const struct log *policy_log(lua_State *L);
/* The request of the run under way; raises "… may only be called while a request is handled" when
 * there is none. */
void *policy_request(lua_State *L);
/* Like it, NULL when there is none; does not raise. */
void *policy_request_or_null(lua_State *L);

/* The number of the run under way, which no other run of the lane ever has; 0: there is none. Does
 * not raise. */
unsigned long policy_run(lua_State *L);

/* Charges C-side work to the run under way (one step is about one VM instruction); stops the run
 * like the hook does when the budget is gone. */
void policy_charge(lua_State *L, size_t steps);

/* For programs (policy_run_script): calls the function on top of the stack, which it takes, in a
 * coroutine of its own with at most `cpu` of the program's CPU time, not within another such call.
 * Pushes true, or false and the error; a function that was stopped is told with its place and
 * `what` ("in one test"). When the program's own time is used up the program is stopped. */
int policy_call_within(lua_State *L, usec cpu, const char *what);

/* Replaces the table on top of the stack by a read-only face of it (and of every table in it):
 * indexable, iterable (pairs, ipairs, next, #), raising on assignment. */
void policy_freeze(lua_State *L);

/* Takes the value on top of the stack into the registry, counted: what a request holds of Lua must
 * be given back by its end. Returns the reference, above 0. */
int policy_ref(lua_State *L);
/* Gives it back; cannot fail, does not raise. lane_drop_ref is the same for those without a state.
 */
void policy_unref(lua_State *L, int ref);

/* In run_entry.push: the run serves this route. Names its policy in messages; does not raise. */
void policy_about(lua_State *L, size_t route);
/* Pushes the handler of the route and its completed, frozen settings: two values. */
void policy_push_handler(lua_State *L, size_t route);

#endif
