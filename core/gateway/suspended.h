/* SPDX-License-Identifier: MIT */
/*
 * Warns of targets that a route names and that are suspended for so long that nobody can have meant
 * it: a hint of a provider taken at its word, or a suspension by hand that was forgotten. Reads
 * facts only; sends nothing.
 */
#ifndef GATEWAY_SUSPENDED_H
#define GATEWAY_SUSPENDED_H

#include "base/diag.h"
#include "policy/policy.h"
#include "state/targets.h"

/* A warning for each such target of each route, at the route's line. Any thread. */
void suspended_warn(struct generation *g, struct targets *targets, struct diags *diags);

/* The same from the state file of the generation's state_dir, for a gateway that does not run;
 * nothing is changed. A file that cannot be read is a warning, too. Blocks on the disk. */
void suspended_warn_file(struct generation *g, struct diags *diags);

#endif
