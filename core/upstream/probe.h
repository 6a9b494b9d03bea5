/* SPDX-License-Identifier: MIT */
/*
 * Health probes: asks each provider that has `health` at its interval, with its key, and turns it
 * down or up in the shared target facts after enough verdicts in a row. Runs on the control thread
 * with a transport of its own. No interval overlaps itself; intervals are jittered by ±10 %; the
 * first probe goes out at once.
 */
#ifndef UPSTREAM_PROBE_H
#define UPSTREAM_PROBE_H

#include "base/log.h"
#include "config/config.h"
#include "state/targets.h"
#include "upstream/transport.h"

struct event_base;
struct probes;

struct probes *probes_new(struct event_base *base, struct transport *transport,
                          struct targets *targets,
                          const struct log *log); /* NULL: memory; all borrowed */
void probes_free(struct probes *p);
/* Adopts the providers of a new configuration (a reference is taken): those that kept name and
 * settings go on as they were, new ones start, those gone stop (and count as up). */
int probes_configure(struct probes *p, struct config *config);
/* Asks nothing any more, and lets go of what is under way; verdicts stay as they are. */
void probes_pause(struct probes *p);
/* Asks again, each provider at once. */
void probes_resume(struct probes *p);

/* For metrics: how many verdicts of each kind so far. */
struct probe_stats {
    unsigned long ok, failed;
};
void probes_stats(const struct probes *p, struct probe_stats *out);

#endif
