/* SPDX-License-Identifier: MIT */
/*
 * `reload.tests`: the tests of the policies that routes name, as a gate before a load. A loader's
 * run_tests hook; moongate.c sets it.
 */
#ifndef SIM_SIM_GATE_H
#define SIM_SIM_GATE_H

#include "base/diag.h"
#include "config/config.h"
#include "config/snapshot.h"

/* Runs policies/NAME_test.lua of each policy that a route names; one without tests passes. How many
 * cases failed, each told to diags as an error with file and line; -1, told too, when they could
 * not be run or took more than SIM_GATE_CPU. ctx is not used. Blocks that long at most. */
int sim_gate(void *ctx, struct snapshot *snapshot, const struct config *config,
             struct diags *diags);

#endif
