/* SPDX-License-Identifier: MIT */
/*
 * What the files behind targets.h share. For targets*.c and suspensions.c only.
 */
#ifndef STATE_TARGETS_PARTS_H
#define STATE_TARGETS_PARTS_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/map.h"
#include "state/suspensions.h"
#include "state/targets.h"

/* Names come from clients where the model passes through: longer ones are cut, everywhere alike. */
enum { TARGET_NAME_MAX = sizeof(((struct target_facts *)0)->name) - 1 };

static inline struct str target_name(struct str name) {
    return str_make(name.p, name.n < TARGET_NAME_MAX ? name.n : TARGET_NAME_MAX);
}

struct targets {
    pthread_mutex_t lock; /* of everything below, held for microseconds */
    size_t max;
    struct map *entries;   /* name -> struct target */
    struct map *providers; /* name -> struct provider_state; only those with a verdict */
    struct suspensions suspensions;
    atomic_size_t n_suspensions; /* entries of that table, for looking without the lock */
    atomic_ulong serial;
    struct target *idle_first,
        *idle_last; /* entries without references, the one seen longest ago first */
};

#endif
