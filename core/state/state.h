/* SPDX-License-Identifier: MIT */
/*
 * What outlives generations and is seen by all workers at once, gathered: target facts, store,
 * admission slots, the models that metrics name; and the file in state_dir that carries suspensions
 * over a restart.
 */
#ifndef STATE_STATE_H
#define STATE_STATE_H

#include "base/err.h"
#include "state/model_names.h"
#include "state/slots.h"
#include "state/store.h"
#include "state/targets.h"

struct state {
    struct targets *targets;
    struct store *store;
    struct slots_table *slots;
    struct model_names *names;
};

int state_init(struct state *s) __attribute__((warn_unused_result)); /* 0, or -1: memory */
void state_release(struct state *s);

/* DIR/suspensions.json, written to a temporary file, synced, renamed. The folder is made when
 * absent. -1 with err. A missing file loads as nothing; a damaged one is an error, is kept aside as
 * .damaged, and changes nothing. */
int state_save(struct state *s, const char *dir, struct err *err);
int state_load(struct state *s, const char *dir, struct err *err);
/* Like state_load, but leaves the disk as it is: for who only wants to know. */
int state_look(struct state *s, const char *dir, struct err *err);

#endif
