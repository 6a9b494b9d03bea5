/* SPDX-License-Identifier: MIT */
/*
 * Generations, lanes and runs from the inside. Internal to policy/. A generation owns what all its
 * lanes share and never changes once it is staged (the completed settings, the default plans); a
 * lane owns one box and is used by one thread at a time. The numbers of lane_stats may be read by
 * any thread.
 */
#ifndef POLICY_LANE_H
#define POLICY_LANE_H

#include <stdatomic.h>

#include "base/count.h"
#include "base/value.h"
#include "policy/box.h"

/* How a policy fares; every worker counts its failures here, its calls in lane.policy_calls. */
struct policy_record {
    _Atomic unsigned long errors, kills;
    atomic_uint row;  /* failures since the last success */
    atomic_int state; /* enum policy_state */
    char reason[160]; /* written once, before POLICY_OFF is stored */
};

/* One policy file that some route names. */
struct policy_file {
    const char *name;                 /* "failover"; borrowed of the configuration */
    const struct snapshot_file *file; /* borrowed of the snapshot */
    char *label;                      /* "policies/failover.lua" */
    bool ok;                          /* loaded and fit for its contract, in the first lane */
    struct value schema;              /* its settings' schema as data; NIL until described, and
                                         where another policy's is the same table */
    const void *schema_table;         /* which table that is, in the first lane */
    const struct policy_file *same;   /* the policy whose `schema` is also this one's, or NULL */
    struct value version;             /* what the policy says: a number, a text or NIL */
    struct policy_record record;
};

/* What a variant of a route has beside its configuration. */
struct policy_route {
    size_t policy;         /* index of its policy_file */
    int line;              /* where its handler begins in that file */
    struct value settings; /* completed by the schema */
    char **targets;        /* default plan, NULL-terminated */
    size_t n_targets;
};

struct generation {
    atomic_int refs;
    atomic_size_t requests; /* that hold one of them */
    unsigned id;
    const struct policy_env *env; /* borrowed */
    struct snapshot *snapshot;    /* a reference */
    struct config *config;        /* a reference */
    unsigned char hash[HASH_SIZE];
    struct policy_file *policies;
    size_t n_policies;
    struct policy_route *routes;  /* as many as the configuration has variants */
    struct dialect_set *dialects; /* those of lua/dialects/; a reference */
    struct lane **lanes;
    size_t n_lanes;
    atomic_flag warned_memory; /* of its soft limit */
};

/* Registry references, -1 or 0 where there is nothing. */
struct lane_refs {
    int *policy;   /* per policy file: its table */
    int *handler;  /* per variant of a route */
    int *settings; /* likewise, read-only */
};

/*
 * A policy that hoards in a variable of its file fills the state for good. Such a lane is `worn`:
 * it starts no run any more (each ends as RUN_NOMEM at once, and the default plan answers), so it
 * drains; when the last run has let go the box is made anew from the same snapshot.
 */
struct lane {
    struct generation *gen; /* holds one reference while the box is open */
    struct box *box;        /* NULL once closed */
    struct lane_refs refs;  /* into the box */
    struct run *current;    /* the run inside Lua at this moment */
    struct run *free_runs;  /* finished ones, most with a coroutine ready for use */
    size_t n_free;
    unsigned long numbered; /* runs begun */
    bool retired;
    bool worn;
    const char *dialects[MAX_DIALECTS]; /* whose functions are loaded; borrowed of the generation */
    size_t n_dialects;
    usec failure_logged;             /* when a translation's failure was told last, 0: never */
    unsigned long failures_unlogged; /* of translations, since */
    _Atomic size_t runs, bytes;
    atomic_size_t threads;    /* coroutines anchored in the registry, those of free_runs included */
    atomic_size_t kept;       /* of these: in free_runs */
    atomic_size_t references; /* see policy_ref */
    _Atomic unsigned long calls, errors, kills_by[KILL_REASONS];
    _Atomic unsigned long *policy_calls; /* per policy file */
    _Atomic usec cpu;
    _Atomic unsigned long long steps, allocated;
};

/* A lane with an open box that holds no reference yet, or NULL with err. */
struct lane *lane_new(struct generation *g, struct err *err);
/* Closes the box and frees the runs kept; the struct stays for its numbers. No run may be left. */
void lane_close(struct lane *lane);
void lane_free(struct lane *lane);
/* After a run ended for want of memory: collects, and marks the lane worn if that does not help. */
void lane_check_memory(struct lane *lane);
/* Gives a worn lane that no run holds a new box. */
void lane_renew(struct lane *lane);
/* A run or a translation begins, ends: nobody closes the box between. The last one may close or
 * renew it. */
void lane_hold(struct lane *lane);
void lane_let_go(struct lane *lane);
void lane_publish(struct lane *lane); /* brings lane_stats up to date */

/* Loads every policy file into the lane. With `diags`: checks contracts and reports all mistakes
 * there (the first lane); the result counts only without. */
int lane_load(struct lane *lane, struct diags *diags, struct err *err);
/* Puts handlers and settings of all routes where policy_push_handler finds them, and lets policies
 * prepare for them. */
int lane_bind(struct lane *lane, struct err *err);

/* translate.c: loads the functions of the dialects that the configuration names, where it names
 * several: of others they are loaded when a client of theirs comes. -1 with err. */
int lane_load_dialects(struct lane *lane, struct err *err);

/* After a step: above three quarters of the cap some garbage is collected here and now (Lua itself
 * would wait until memory in use has doubled), and once a whole collection did not help the
 * generation warns, once. */
void lane_check_soft_limit(struct lane *lane);

/* health.c: one run of that policy came to a good end, failed. `killed`: KILL_NONE for an error.
 * The failure that is one too many switches the policy off and says so in the log. */
void health_good(struct generation *g, size_t policy);
void health_failed(struct generation *g, size_t policy, enum kill_reason killed, const char *text);

/* contract.c: takes the value that a policy file returned from the top of the main stack, and
 * reports what is wrong with it. */
void contract_check(struct lane *lane, struct policy_file *file, struct diags *diags);
/* Reports an error of Lua, splitting "file.lua:12: text" into its parts. */
void contract_report(struct diags *diags, const char *file, const char *message);

/* dialects.c: loads all dialects of the snapshot, checks that those that the configuration names
 * are there, and lets its providers adopt what theirs say. Mistakes go to diags. -1: nothing more
 * can be looked at. */
int dialects_load(struct generation *g, struct diags *diags);
void dialects_free(struct generation *g);

/* settings.c: completes and checks the settings of every route, and draws up the default plans.
 * Fills generation.routes. */
void settings_check(struct lane *lane, struct diags *diags);

/* run.c: frees a run that stands in the lane's free list. */
void run_discard(struct run *run);

#endif
