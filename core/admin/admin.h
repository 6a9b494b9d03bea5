/* SPDX-License-Identifier: MIT */
/*
 * The admin listener: /metrics, /healthz and /readyz for machines; what is below /admin/ (bearer
 * token) for admins. Runs on the control thread's loop; JSON answers.
 */
#ifndef ADMIN_ADMIN_H
#define ADMIN_ADMIN_H

#include "gateway/gateway.h"
#include "gateway/reload.h"
#include "upstream/probe.h"

struct event_base;
struct admin;

struct admin_env {
    struct gateway *gateway;
    struct loader *loader;
    const struct probes *probes;
    const char *version; /* borrowed for the admin's life */
    unsigned long (*log_dropped)(void *ctx);
    void *log_ctx;
};

/* Takes fd. NULL: memory. `env` is copied. */
struct admin *admin_new(struct event_base *base, int fd, const struct admin_env *env);
void admin_free(struct admin *a); /* after the loop ended. NULL is a no-op */

#endif
