/* SPDX-License-Identifier: MIT */
/*
 * Names of providers and their addresses. A name is looked up on a thread of its own pool
 * (lookups.h) with the system's resolver, once for all who wait for it, and remembered: NAME_FRESH
 * without another look; then up to NAME_STALE it is still used while a look is under way; a failure
 * for NAME_FAILED. One event_base's thread.
 */
#ifndef UPSTREAM_RESOLVER_H
#define UPSTREAM_RESOLVER_H

#include <stdbool.h>
#include <sys/queue.h>

#include "base/clock.h"
#include "base/str.h"
#include "upstream/lookups.h"

struct event_base;
struct resolver;
struct known_name;

/* Somebody who waits for a name; held by the one who asks, until the answer or resolver_forget. */
struct resolver_wait {
    TAILQ_ENTRY(resolver_wait) place;
    struct known_name *name; /* NULL: not waiting */
    /* Once. `found`: at least one address, borrowed for the call; NULL: `detail` says why. */
    void (*done)(void *user, const struct addresses *found, const char *detail);
    void *user;
};

struct resolver_options {
    lookup_function *lookup; /* NULL: getaddrinfo(3) */
    void *ctx;
    usec fresh, stale, failed; /* 0: as limits.h says */
};

/* NULL: memory or descriptors. No thread before the first name. */
struct resolver *resolver_new(struct event_base *base, const struct resolver_options *options);
/* At once, whatever is under way. Nobody may be waiting any more. NULL is a no-op. */
void resolver_free(struct resolver *r);

/* Asks for a name's addresses; `wait` has its callback set. The answer comes from the loop, never
 * from inside. -1: memory, or too many names. */
int resolver_ask(struct resolver *r, struct str host, struct resolver_wait *wait)
    __attribute__((warn_unused_result));
void resolver_forget(struct resolver_wait *wait); /* a no-op when it does not wait */
/* The addresses known of this name do not work: whoever asks next gets them looked up anew. */
void resolver_doubt(struct resolver *r, struct str host);

#endif
