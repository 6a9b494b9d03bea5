/* SPDX-License-Identifier: MIT */
/*
 * The transport that workers use: our own where it can, libcurl for the rest. libcurl costs memory
 * even when nobody uses it, so it is set up with the first request for it.
 */
#include "upstream/transport.h"

#include <stdatomic.h>
#include <stdlib.h>

struct both {
    struct transport base;
    struct event_base *events;
    size_t idle_max;
    struct transport *native;
    _Atomic(struct transport *) curl; /* NULL before the first request for it */
};

static struct transfer *op_start(struct transport *base, const struct transfer_request *r,
                                 const struct transfer_events *events, void *ctx) {
    struct both *t = (struct both *)base;
    if (!r->proxy && !r->libcurl) {
        struct transfer *transfer = transfer_start(t->native, r, events, ctx);
        if (transfer ||
            native_transport_speaks(r->url)) { /* asked after, since it reads the URL again */
            return transfer;
        }
    }
    struct transport *curl = atomic_load_explicit(&t->curl, memory_order_relaxed);
    if (!curl) {
        curl = curl_transport_new(t->events, t->idle_max, NULL);
        atomic_store_explicit(&t->curl, curl, memory_order_release); /* others look: op_stats */
    }
    return curl ? transfer_start(curl, r, events, ctx) : NULL;
}

static void op_stats(const struct transport *base, struct transport_stats *out) {
    const struct both *t = (const struct both *)base;
    struct transport_stats more = {0};
    const struct transport *curl = atomic_load_explicit(&t->curl, memory_order_acquire);
    t->native->ops->stats(t->native, out);
    if (curl) {
        curl->ops->stats(curl, &more);
    }
    out->active += more.active;
    out->connections += more.connections;
    out->libcurl += more.libcurl;
    out->opened += more.opened;
}

static void op_free(struct transport *base) {
    struct both *t = (struct both *)base;
    t->native->ops->free(t->native);
    struct transport *curl = atomic_load_explicit(&t->curl, memory_order_relaxed);
    if (curl) {
        curl->ops->free(curl);
    }
    free(t);
}

/* Transfers carry the functions of whoever made them. */
static const struct transport_ops OPS = {op_start, NULL, NULL, NULL, NULL, op_stats, op_free};

struct transport *transport_new(struct event_base *base, size_t idle_max, struct err *err) {
    struct both *t = calloc(1, sizeof(*t));
    if (!t) {
        err_set(err, "out of memory for the upstream transport");
        return NULL;
    }
    t->base.ops = &OPS;
    t->events = base;
    t->idle_max = idle_max;
    t->native = native_transport_new(base, idle_max, err);
    if (!t->native) {
        free(t);
        return NULL;
    }
    return &t->base;
}
