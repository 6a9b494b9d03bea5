/* SPDX-License-Identifier: MIT */
/*
 * Loading as a transaction (DESIGN section 8): snapshot, hash, configuration, staging of every
 * lane, then one store that publishes the generation. Whatever fails before that leaves everything
 * as it was. Runs on the caller's thread, one load at a time; workers take the new generation with
 * their next request and let go of the old one by mail.
 */
#ifndef GATEWAY_RELOAD_H
#define GATEWAY_RELOAD_H

#include <pthread.h>

#include "gateway/gateway.h"

enum load_result { LOAD_APPLIED = 0, LOAD_UNCHANGED = 1, LOAD_REFUSED = -1 };

struct loader {
    struct gateway *gateway;
    char *config_file; /* owned */
    char **library;    /* owned, NULL-terminated */
    void (*published)(void *ctx,
                      struct config *config); /* told of each new configuration (borrowed) after it
                                                 is in force; may be NULL */
    void *published_ctx;
    bool closed;          /* under `one`: the gateway stops, nothing is loaded any more */
    pthread_mutex_t one;  /* held for a load */
    pthread_mutex_t lock; /* the three below */
    pthread_cond_t let_go;
    size_t pending; /* workers that may still use the generation before */
    struct generation *retiring;
    unsigned next_id;
    _Atomic usec loaded_at; /* wall time of the last load that was applied */
};

int loader_init(struct loader *l, struct gateway *g, const char *config_file,
                const char *const *library) __attribute__((warn_unused_result));
void loader_release(struct loader *l);

/* A configuration that is checked but not in force. NULL when diags has errors. `lanes` 0: as many
 * as the configuration has workers. */
struct generation *loader_stage(struct loader *l, size_t lanes, struct diags *diags);
/* Throws a staged generation away. */
void loader_discard(struct generation *g, size_t lanes);
/* The first generation, before workers run. */
void loader_publish_first(struct loader *l, struct generation *g);
/* Stages and puts in force while traffic flows. What only a restart can change (listen, workers,
 * admin.listen) is refused. */
enum load_result loader_reload(struct loader *l, struct diags *diags);
/* The generation in force, with a reference: for threads that are no worker. NULL when none is. */
struct generation *loader_current(struct loader *l);
/* Waits for a load that is under way; later ones are refused, until the next first publishing. */
void loader_close(struct loader *l);
/* Workers that run elsewhere must have let go: at the end. Frees the current generation's last
 * reference. */
void loader_finish(struct loader *l);

#endif
