/* SPDX-License-Identifier: MIT */
/*
 * The parts of a running gateway that its threads share. Built by moongate_start.c; workers and the
 * control thread get a pointer to it. What is not marked otherwise is set before the threads start
 * and not changed while they run.
 */
#ifndef GATEWAY_GATEWAY_H
#define GATEWAY_GATEWAY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/log.h"
#include "base/pool.h"
#include "config/config.h"
#include "gateway/room.h"
#include "policy/policy.h"
#include "state/state.h"

struct worker;
struct exchange;

/* How a request ended. */
enum exchange_end { END_COMPLETE, END_UPSTREAM_CUT, END_CLIENT_GONE, END_LIMIT, END_REFUSED };

/* The Lua face of a request, given by bind/ through moongate.c: gateway/ itself sees no Lua. */
struct gateway_bindings {
    struct run_entry handle; /* handler(req, settings) */
    struct run_entry stream; /* the function of a local stream, with its `out` */
};

struct gateway {
    struct log log;
    void (*access)(void *ctx, const char *line, size_t n); /* one access log line; any thread */
    void *access_ctx;
    /* Told of each request just before it is accounted and freed; NULL: nobody is. Its own thread.
     */
    void (*ended)(void *ctx, const struct exchange *x, enum exchange_end end);
    void *ended_ctx;
    bool explain; /* exchanges keep the notes of their policies */
    struct state state;
    struct policy_env env;
    const struct gateway_bindings *bindings;
    _Atomic(struct generation *)
        current; /* what new requests use; written by the control thread only */
    struct worker **workers;
    size_t n_workers;
    usec started; /* monotonic */
    struct room room;
    struct pool memory;      /* of bodies, answers held and output, of all workers: limits.memory */
    atomic_size_t n_clients; /* of all workers */
    atomic_ulong admin_refused; /* connections to the admin listener beyond its maximum */
    atomic_bool beside;         /* another gateway has state_dir: nothing may be written there */
    atomic_bool draining;
    atomic_ulong reloads_applied, reloads_refused, reloads_unchanged;
    atomic_bool reload_refused; /* the last of them */
};

#endif
