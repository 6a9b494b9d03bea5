/* SPDX-License-Identifier: MIT */
/*
 * Runs programs in Lua that simulate gateways: tests of policies, `simulate`, `explain`. They run
 * in a sandboxed state of their own with `require` over a snapshot and the module
 * moongate.sim_core; the gateways that they make (world.h) have states of their own, so an error in
 * one never passes through the other.
 */
#ifndef SIM_SIM_H
#define SIM_SIM_H

#include "base/clock.h"
#include "base/err.h"
#include "config/snapshot.h"

struct sim_run_options {
    struct snapshot *snapshot; /* library, policies and tests; borrowed for the run */
    const char *const *args;   /* NULL-terminated: what the program's function is called with */
    usec cpu;                  /* CPU time of the whole run; 0 = SIM_CPU, USEC_NEVER = no limit */
    usec case_cpu;             /* of it, for one case; 0 = SIM_CASE_CPU */
    void (*print)(void *ctx, const char *text, size_t n);    /* core.print; NULL: nowhere */
    void (*progress)(void *ctx, const char *text, size_t n); /* core.progress; NULL: nowhere */
    void *ctx;                                               /* for both */
};

/* Requires `module` ("moongate.sim_main") and calls the function that it returns with the list of
 * arguments. Its integer result (below 0 counts as 1), or -1 with err when it raised or was
 * stopped. Blocks; any thread. */
int sim_run(const struct sim_run_options *options, const char *module, struct err *err);

#endif
