/* SPDX-License-Identifier: MIT */
/* The named targets, and how many each provider has. Counts stand in the map's pointers. */
#include "state/model_names.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/limits.h"
#include "base/map.h"

struct model_names {
    pthread_mutex_t lock;
    struct map *named;  /* target -> the table itself */
    struct map *counts; /* provider -> how many of its are named, as uintptr_t */
};

struct model_names *model_names_new(void) {
    struct model_names *n = calloc(1, sizeof(*n));
    if (!n) {
        return NULL;
    }
    pthread_mutex_init(&n->lock, NULL);
    n->named = map_new(MAX_TARGETS);
    n->counts = map_new(MAX_SLOTS);
    if (!n->named || !n->counts) {
        model_names_free(n);
        return NULL;
    }
    return n;
}

void model_names_free(struct model_names *n) {
    if (!n) {
        return;
    }
    map_free(n->named);
    map_free(n->counts);
    pthread_mutex_destroy(&n->lock);
    free(n);
}

/* Under the lock. */
static bool name_one(struct model_names *n, struct str provider, struct str target) {
    uintptr_t count = (uintptr_t)map_get(n->counts, provider);
    if (count >= MODEL_NAMES || map_set(n->named, target, n) != 0) {
        return false;
    }
    if (map_set(n->counts, provider, (void *)(count + 1)) != 0) {
        map_remove(n->named, target);
        return false;
    }
    return true;
}

bool model_names_has(struct model_names *n, struct str provider, struct str target) {
    pthread_mutex_lock(&n->lock);
    bool named = map_get(n->named, target) || name_one(n, provider, target);
    pthread_mutex_unlock(&n->lock);
    return named;
}
