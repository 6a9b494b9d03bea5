/* SPDX-License-Identifier: MIT */
/*
 * The policy runtime as the rest of the core sees it, without Lua: generations (one per load),
 * lanes (a worker's sandboxed Lua state of one generation) and runs (one coroutine on behalf of a
 * request). Knows no request: what a run is about is an opaque pointer that the bindings
 * understand.
 *
 * Threads: a generation is staged on the control thread, lanes included. After it is published each
 * lane is used by its worker only. policy_lua.h is the side that bindings see.
 */
#ifndef POLICY_POLICY_H
#define POLICY_POLICY_H

#include <stdbool.h>
#include <stddef.h>

#include "base/clock.h"
#include "base/diag.h"
#include "base/err.h"
#include "base/log.h"
#include "config/config.h"
#include "config/snapshot.h"
#include "upstream/dialect.h"

struct lua_State;
struct generation;
struct lane;
struct run;

const char *policy_lua_version(void); /* "Lua 5.4.4" */

/* A module written in C that policies may `require`. */
struct policy_module {
    const char *name;                 /* "moongate" */
    int (*open)(struct lua_State *L); /* pushes the module; called once per lane, protected.
                                         policy_host(L) gives the host pointer */
};

/* The dialects of the last good load, for the next one. Begins as {NULL}. One load at a time. */
struct dialect_set;
struct dialect_cache {
    struct dialect_set *last; /* a reference */
};
void dialect_cache_release(struct dialect_cache *cache);

/* What the runtime needs from above; borrowed for the life of every generation made with it. */
struct policy_env {
    const struct policy_module *modules; /* ends with a NULL name */
    void *host;                          /* for the bindings */
    const struct log *log;
    struct dialect_cache *dialects; /* NULL: every load compiles them */
    size_t state_bytes;           /* allocator cap of one lane; 0 = LUA_STATE_BYTES */
    usec resume_cpu, request_cpu; /* 0 = the defaults in limits.h */
    usec load_cpu;                /* the same; USEC_NEVER: no limit, a little faster */
};

/* The table that config_load needs, made of the sandbox here. */
void policy_config_lua(const struct policy_env *env, struct config_lua *out);

/*
 * Stages a generation: makes `lanes` states, loads every policy that a route names, checks the
 * contract (a table with `handle`, a `settings` schema), checks and completes each route's settings
 * with moongate.schema, and verifies that targets name providers that exist. All mistakes of all
 * routes go to *diags with file and line, warnings too. NULL when there are errors; nothing else
 * has changed then. Takes references to snapshot and config. Bounded by load_cpu per lane.
 */
struct generation *generation_stage(const struct policy_env *env, unsigned id,
                                    struct snapshot *snapshot, struct config *config, size_t lanes,
                                    struct diags *diags);

/*
 * Runs a program of ours in Lua: requires `module` of the snapshot (or of env->modules) in a
 * sandboxed state of its own, calls the function that it returns with a list of `args`
 * (NULL-terminated), and puts its integer result (0 when it returns nothing) into *result. Caps are
 * env's state_bytes and load_cpu. Blocks. 0, or -1 with err: what it raised, or that it was
 * stopped.
 */
int policy_run_script(const struct policy_env *env, struct snapshot *snapshot, const char *module,
                      const char *const *args, long long *result, struct err *err);

/* The dialect of that name, NULL: none. Lives as long as the generation. */
const struct dialect *generation_dialect(const struct generation *g, struct str name);
/* The client's dialect as its path tells, else its fields, else openai; never NULL. *out is what
 * that dialect reads in the path. */
const struct dialect *generation_client(const struct generation *g, struct str path,
                                        const struct headers *headers, struct client_path *out);

unsigned generation_id(const struct generation *g);
struct config *generation_config(const struct generation *g);     /* borrowed */
const unsigned char *generation_hash(const struct generation *g); /* HASH_SIZE bytes */

/*
 * What is known of a route of generation_config, as data: any thread may look while it holds a
 * reference, no Lua state is entered. Borrowed of the generation; `route` is below the
 * configuration's n_routes.
 */
/* Setting name -> { type, default, min, max, unit, help, values, fields, of … }. */
const struct value *generation_schema(const struct generation *g, size_t route);
/* Checked, and completed with the schema's defaults. */
const struct value *generation_settings(const struct generation *g, size_t route);
/* A number, a text, or NIL when the policy does not say. */
const struct value *generation_policy_version(const struct generation *g, size_t route);

/* Life: generation_stage returns one reference per lane and one for the caller. A lane's reference
 * goes when the lane is closed. The last one frees. */
struct generation *generation_ref(struct generation *g);
void generation_unref(struct generation *g);
struct lane *generation_lane(struct generation *g, size_t worker);
struct snapshot *generation_snapshot(const struct generation *g); /* borrowed */
/* A request begins or ends on the generation: it holds a reference and is counted. Any thread. */
void generation_enter(struct generation *g);
void generation_leave(struct generation *g);
size_t generation_requests(const struct generation *g); /* a moment's view */
/* True when the caller holds the only reference: nobody can come by another one. */
bool generation_alone(const struct generation *g);

/* On the lane's own thread, once the generation takes no more requests there: closes the state when
 * its last run lets go (now, if none holds it). */
void lane_retire(struct lane *lane);

/* Why a run was stopped. */
enum kill_reason {
    KILL_NONE,
    KILL_STRETCH, /* LUA_RESUME_CPU without waiting */
    KILL_REQUEST, /* LUA_REQUEST_CPU of all its stretches */
    KILL_MEMORY,  /* the state's cap */
    KILL_REASONS
};
const char *kill_name(enum kill_reason reason); /* "stretch", "request", "memory"; "" for none */

/*
 * What runs used. `cpu` is CPU time where a stretch was long enough to be looked at (see budget.h),
 * the time that passed, at most LUA_FIRST_LOOK, where not. `steps` are VM instructions, counted
 * LUA_STEP_COUNT at a time (what is left over is counted with the next run that gets the
 * coroutine), and the steps that library functions written in C charged. `bytes` is what was
 * allocated, whether or not it was collected since.
 */
struct policy_usage {
    usec cpu;
    unsigned long long steps, bytes;
};

/* Since the lane was made. `errors` and `kills` are runs; `kills` is the sum of `kills_by`. */
struct lane_stats {
    size_t runs, bytes; /* now: runs that hold the lane, memory of its state */
    size_t coroutines;  /* now: anchored for runs under way */
    size_t kept;        /* now: anchored, waiting to be used again */
    size_t references;  /* now: Lua values that requests hold */
    unsigned long calls, errors, kills;
    unsigned long kills_by[KILL_REASONS];
    struct policy_usage used;
};
void lane_stats(const struct lane *lane, struct lane_stats *out); /* any thread; a moment's view */
void generation_stats(const struct generation *g, struct lane_stats *sum);

/*
 * One policy of a generation. POLICY_FAILURES_MAX failures (error, kill, useless result) in a row,
 * over all lanes, switch it off for good in this generation: lane_switched_off then says that the
 * default plan is to answer instead.
 */
struct policy_health {
    const char *name;  /* "failover"; borrowed of the generation */
    const char *label; /* "policies/failover.lua"; borrowed of the generation */
    unsigned long calls, errors, kills;
    bool switched_off;
    char reason[160]; /* the last failure before it was switched off; empty otherwise */
};
/* Of the i-th policy that routes name, from 0; false when there is none. Any thread. */
bool generation_policy(const struct generation *g, size_t i, struct policy_health *out);
/* Is any of its policies switched off? Any thread. */
bool generation_switched_off(const struct generation *g);
/* Is the policy of this route? One load. */
bool lane_switched_off(const struct lane *lane, size_t route);

/* The default plan of a variant of a route (config.h): its targets in order, as strings, groups
 * flattened. NULL-terminated, borrowed; empty when the settings name none. */
const char *const *lane_targets(const struct lane *lane, size_t route);
/* A number of seconds in the route's completed settings; `otherwise` when there is none of that
 * name. */
usec lane_seconds(const struct lane *lane, size_t route, const char *name, usec otherwise);
/* Lets go of a registry reference that a binding took and nobody used. Cannot fail. */
void lane_drop_ref(struct lane *lane, int ref);

enum run_status {
    RUN_WAITING, /* the coroutine yielded: step again when what it waits for is there */
    RUN_DONE,    /* it returned and `take` accepted the result */
    RUN_ERROR,   /* it raised; err says where */
    RUN_TIMEOUT, /* killed: a budget ran out */
    RUN_NOMEM,
    RUN_BAD_RESULT /* it returned nothing useful; err says what was found and expected */
};

/* What to run. Both functions are called inside a protected call on the lane's main state. */
struct run_entry {
    /* Pushes the function and its arguments; returns how many arguments, or -1 when there is
     * nothing to run (RUN_BAD_RESULT). May raise. */
    int (*push)(struct lua_State *L, void *request);
    /* Looks at the n results on top of the stack. 0; 1 when it is taken but the request goes on
     * with another run, which is to tell whether the policy works; or -1 with err. May raise. */
    int (*take)(struct lua_State *L, int n, void *request, struct err *err);
    /* What it runs for is no request: modules find none, its failures are its caller's to log. */
    bool apart;
};

/* Makes a run (nothing executes yet) and holds the lane. NULL: memory. */
struct run *run_new(struct lane *lane, const struct run_entry *entry, void *request);
/* Before its only step: what that may use instead of a policy's budget. */
void run_allow(struct run *run, usec cpu);
/* Starts it or goes on with it. After anything but RUN_WAITING the run is over: only run_free may
 * follow. Counted and, for failures, logged here with file, line and generation. */
enum run_status run_step(struct run *run, struct err *err) __attribute__((warn_unused_result));
/* What it used so far, all its steps. */
void run_usage(const struct run *run, struct policy_usage *out);
/* Why the last step stopped it, KILL_NONE when it did not. */
enum kill_reason run_killed(const struct run *run);
/* Drops the coroutine (wherever it stands) and gives the lane back. Never from inside a step of the
 * same run. NULL is a no-op. */
void run_free(struct run *run);

#endif
