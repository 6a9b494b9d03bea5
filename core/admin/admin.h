/* SPDX-License-Identifier: MIT */
/*
 * The admin listener: /metrics, /healthz and /readyz for machines; what is below /admin/ (bearer
 * token) for admins: what there is to see, and every change of a running gateway. Runs on the
 * control thread's loop, so that nothing here touches traffic; JSON bodies both ways, described by
 * openapi.json.
 */
#ifndef ADMIN_ADMIN_H
#define ADMIN_ADMIN_H

#include "gateway/gateway.h"
#include "gateway/reload.h"
#include "upstream/probe.h"

struct event_base;
struct admin;
struct control;

struct admin_env {
    struct gateway *gateway;
    struct loader *loader;
    struct control *control; /* on whose thread the admin runs */
    const struct probes *probes;
    const char *version; /* borrowed for the admin's life */
    unsigned long (*log_dropped)(void *ctx);
    void *log_ctx;
};

/* Takes fd. NULL: memory. `env` is copied. */
struct admin *admin_new(struct event_base *base, int fd, const struct admin_env *env);
struct listener *admin_listener(const struct admin *a); /* borrowed */
/* On its thread: another process answers at its address from now on. Stops accepting; clients that
 * are there may send one more request each, within `grace`. */
void admin_leave(struct admin *a, usec grace);
void admin_free(struct admin *a); /* after the loop ended. NULL is a no-op */

#endif
