/* SPDX-License-Identifier: MIT */
/*
 * How much CPU time one stretch of Lua (a resume, a load) may use. The monotonic clock decides
 * while it can: CPU time never exceeds it. Only a stretch that is longer than LUA_FIRST_LOOK by the
 * wall asks the thread's CPU clock, so that a worker that was merely preempted does not lose its
 * requests. One in which nobody looks (fewer than LUA_HOOK_COUNT steps) costs two clock reads.
 *
 * What ran before the CPU clock was asked counts as the time that passed, at most LUA_FIRST_LOOK:
 * more was preemption, or the few steps since the look before.
 */
#ifndef POLICY_BUDGET_H
#define POLICY_BUDGET_H

#include <stdbool.h>
#include <stddef.h>

#include "base/clock.h"

struct budget {
    usec allowance;           /* CPU time of this stretch */
    usec wall0;               /* monotonic time at its start */
    usec cpu0;                /* thread CPU time at the first look, -1 before */
    usec before;              /* what is counted for the time before the first look */
    size_t debt;              /* steps since the last look */
    unsigned long long steps; /* of the stretch: VM instructions and what C charged */
    bool armed;               /* a stretch is under way */
    bool killed;              /* it ran out; stays set until armed anew */
    char where[96];           /* "policies/x.lua:12: " of the kill, or empty */
};

void budget_arm(struct budget *b, usec allowance);
/* Ends the stretch and returns the CPU time it used. `killed` and `where` stay to be read. */
usec budget_disarm(struct budget *b);
/* A look at the clock: true when the stretch has run out (and always once it is killed). */
bool budget_spent(struct budget *b);
/* Adds steps; true when they add up to a look that finds the stretch spent. */
bool budget_charge(struct budget *b, size_t steps);

#endif
