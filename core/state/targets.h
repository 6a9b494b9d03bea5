/* SPDX-License-Identifier: MIT */
/*
 * Facts on targets (pairs of provider and model actually sent), providers and quota groups: what is
 * in flight, suspended, how fast, how often it failed. Shared by all workers, seen by the very next
 * decision, kept over reloads, keyed by name. Bounded by MAX_TARGETS: the idle entry seen longest
 * ago that is not suspended makes room. Thread-safe.
 */
#ifndef STATE_TARGETS_H
#define STATE_TARGETS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/clock.h"
#include "base/str.h"

struct targets;
struct target; /* a counted reference to one entry */

struct target_facts {
    char name[512]; /* "provider/model" or "provider" */
    bool unnamed;   /* one of the models that metrics do not name; see target_set_unnamed */
    char provider[128];
    usec suspended_for; /* 0 = not suspended; the longer of its own and its quota group's */
    char reason[128];   /* of that suspension */
    bool up;            /* verdict of the provider's probes; true before the first */
    usec up_since; /* monotonic time of the last verdict that turned it up, 0 when there was none */
    int inflight;
    double ewma_first_token; /* seconds; 0 = not known yet */
    double ewma_total;
    unsigned successes, failures; /* of the last 30 s */
    unsigned streak;              /* failures in a row */
    char last_error[256]; /* outcome and status of the last failure, empty when none; no bodies */
    usec last_error_at;   /* wall time, 0 when none */
};

/* A target's name, split at its first slash. model.p is NULL when there is none: the client's model
 * passes through. "provider#key" names a key of the provider's pool, which is suspended like a
 * target; key.p is NULL in all others. */
struct target_name {
    struct str provider, model, key;
};
struct target_name target_split(struct str name);

struct targets *targets_new(size_t max); /* NULL: memory */
void targets_free(struct targets *t);

/* The entry of that name, made when absent. `group` (may be empty) is the quota group it belongs to
 * now. NULL: memory, or the table is full of busy ones. */
struct target *target_get(struct targets *t, struct str name, struct str group);
/* Metrics count it with the others of its provider; see model_names.h. */
void target_set_unnamed(struct target *target);
void target_put(struct target *target); /* gives the reference back; NULL is a no-op */

void target_begin(struct target *target); /* an attempt starts: in flight + 1 */
/* It ended. first_token and total in seconds, 0 = not seen. `failed` and `succeeded` may both be
 * false (nobody's fault). `error` (may be NULL) is kept as last_error. */
struct target_end {
    bool succeeded, failed;
    double first_token, total;
    const char *error;
};
void target_done(struct target *target, const struct target_end *end);

/* The later deadline wins. With `group`, the whole quota group is suspended as one. Returns the
 * seconds (usec) it is now suspended for. */
usec targets_suspend(struct targets *t, struct str name, struct str group, bool whole_group,
                     usec duration, const char *reason);
void targets_resume(struct targets *t, struct str name,
                    struct str group); /* the target and its group */
/* Cheap: no entry is made. 0 = not suspended. */
usec targets_suspended_for(struct targets *t, struct str name, struct str group);
/* Facts of a target that may have no entry yet (then all zero, up). */
void targets_facts(struct targets *t, struct str name, struct str group, struct target_facts *out);

void targets_set_up(struct targets *t, struct str provider, bool up);
/* *up_since (may be NULL): as in target_facts. */
bool targets_is_up(struct targets *t, struct str provider, usec *up_since);

/* Calls fn for each entry and each suspended target that has none (a copy), by name, under no lock.
 * 0, or -1: memory. */
int targets_each(struct targets *t, void (*fn)(void *ctx, const struct target_facts *facts),
                 void *ctx);

/* For the state file: suspensions of targets and groups that still run, as wall-clock ends.
 * `serial` changes whenever a suspension does. */
unsigned long targets_serial(const struct targets *t);
struct buf;
int targets_save(
    struct targets *t,
    struct buf *json); /* {"version":1,"suspended":[{"name","group":bool,"until_ms","reason"}]} */
int targets_load(
    struct targets *t,
    struct str json); /* entries whose end has passed are skipped; -1: not such a document */

#endif
