/* SPDX-License-Identifier: MIT */
/*
 * Shared by the files of the loader only: loader.c (its life and views), reload.c (the
 * transaction), reload_change.c (rollback and settings), stage.c (from files to a checked
 * generation), publish.c (from one generation to the next under traffic).
 */
#ifndef GATEWAY_RELOAD_PARTS_H
#define GATEWAY_RELOAD_PARTS_H

#include "gateway/reload.h"

struct stage_plan {
    unsigned id;  /* of the generation */
    size_t lanes; /* 0: as many as the configuration has workers */
    struct snapshot
        *snapshot; /* borrowed, loaded for the first time; NULL: the files as they are */
    const struct overlay *overlay; /* NULL: the one in state_dir, which is put into the loader */
    bool proposed;                 /* the overlay is not kept yet */
};
/* NULL when diags has errors. Nothing of the loader changes, its overlay apart (see above). */
struct generation *stage(struct loader *l, const struct stage_plan *plan, struct diags *diags);
/* What a running gateway cannot change. */
void stage_check_fixed(const struct config *now, const struct config *next, struct diags *diags);

/* One load: what is asked for, and what becomes of it. */
struct load_job {
    const char *action; /* as the audit log calls it */
    const char *object; /* NULL: the configuration */
    struct load_cause cause;
    struct diags *diags;
    struct stage_plan plan;
    const struct overlay *overlay; /* to be kept once it is in force; NULL: as it is */
    char *before, *after;          /* JSON for the audit log; owned */
};

/* With nothing left NULL. The texts are borrowed. */
struct load_cause load_cause_of(const struct load_cause *given);
unsigned load_active_id(struct loader *l); /* 0: none */
/* The four below are called under `one`. False when the gateway stops: told. */
bool load_is_open(struct loader *l, struct diags *diags);
/* The whole transaction of a job whose plan is made. */
enum load_result load_run(struct loader *l, struct load_job *job);
/* There is nothing to do. */
enum load_result load_unchanged(struct loader *l, const struct load_job *job);
/* Logs, audits and remembers how it ended, and frees what the job owns. Returns `result`. */
enum load_result load_end(struct loader *l, struct load_job *job, enum load_result result);

/* Takes and gives back the right to load. A thread that runs the loop of an attached worker lets
 * that worker go on meanwhile. */
void publish_lock(struct loader *l);
void publish_unlock(struct loader *l);
/* Waits until all workers have let go of the generation before. False: they did not. */
bool publish_wait(struct loader *l);
/* Puts the first generation in force. */
void publish_first(struct loader *l, struct generation *g);
/* Puts the next one in force; its reference is taken. Under `one` and `lock`, after publish_wait.
 */
void publish_next(struct loader *l, struct generation *next);

#endif
