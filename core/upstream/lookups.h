/* SPDX-License-Identifier: MIT */
/*
 * Runs functions that block, one lookup of a name each, on a few threads that come when they are
 * needed and go when they have been idle. Nobody ever waits for such a thread: one that hangs in
 * the system's resolver holds what it needs and frees it when it comes back, long after its owner
 * is gone. (A library that is unloaded in that time takes the thread's code away with it: a program
 * that unloads must wait as long as its resolver may take.) All calls are made on one thread.
 */
#ifndef UPSTREAM_LOOKUPS_H
#define UPSTREAM_LOOKUPS_H

#include <stdbool.h>

#include "base/err.h"
#include "upstream/address.h"

/* Fills *found, or returns -1 with the reason in *err. Called on any thread, may block. */
typedef int lookup_function(void *ctx, const char *host, struct addresses *found, struct err *err);

struct lookup {
    struct lookup *next; /* the queue's */
    void *user;
    int result; /* 0, or -1 with the reason in `err` */
    struct addresses found;
    struct err err;
    char host[MAX_HOST_NAME + 1];
};

struct lookups;

/* NULL: memory or descriptors. `ctx` must live as long as the process: threads may outlive us. */
struct lookups *lookups_new(lookup_function *function, void *ctx);
/* Does not wait. What is under way comes to nothing. NULL is a no-op. */
void lookups_close(struct lookups *l);

int lookups_fd(const struct lookups *l); /* readable: there are finished ones */
/* Takes *lookup (from malloc) and runs it when a thread is free. -1: there is and will be none; the
 * lookup stays the caller's. */
int lookups_start(struct lookups *l, struct lookup *lookup) __attribute__((warn_unused_result));
/* All that have finished, linked by `next`; the caller frees them. NULL: none. */
struct lookup *lookups_finished(struct lookups *l);

#endif
