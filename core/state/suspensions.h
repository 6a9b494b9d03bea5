/* SPDX-License-Identifier: MIT */
/*
 * Who is left alone until when: targets and quota groups by name, apart from the facts on targets,
 * since a suspension outlives those. For targets*.c only, which holds its lock around every call.
 * Bounded by MAX_SUSPENSIONS.
 */
#ifndef STATE_SUSPENSIONS_H
#define STATE_SUSPENSIONS_H

#include <stdbool.h>

#include "base/clock.h"
#include "base/map.h"
#include "base/str.h"

struct suspension {
    usec until; /* monotonic */
    bool group;
    char reason[128];
    struct str name; /* in the same block */
};

struct suspensions {
    struct map *map; /* by a letter and the name; what has ended goes when it is met */
};

int suspensions_init(struct suspensions *s) __attribute__((warn_unused_result));
void suspensions_release(struct suspensions *s);

/* NULL when the name is not suspended, or no longer. */
const struct suspension *suspensions_find(struct suspensions *s, struct str name, bool group,
                                          usec now);

/* The later end wins. True when anything changed; false also when memory is short. */
bool suspensions_add(struct suspensions *s, struct str name, bool group, usec until,
                     const char *reason, usec now);
bool suspensions_remove(struct suspensions *s, struct str name, bool group);

#endif
