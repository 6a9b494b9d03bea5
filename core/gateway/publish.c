/* SPDX-License-Identifier: MIT */
/*
 * From one generation to the next while traffic flows: one store publishes it, workers take it with
 * their next request or by mail, whichever is first, and the last of them that let go of the one
 * before lets the next load go on.
 */
#include <time.h>

#include "gateway/reload_parts.h"
#include "gateway/worker.h"
#include "upstream/keys.h"

#define SETTLE_NAP_NS 1000000 /* between two looks of an attached worker's thread */

static bool settle(struct loader *l) {
    return l->settle && l->settle(l->settle_ctx);
}

/* The load that holds the lock may wait for the very worker whose loop stands still here. */
void publish_lock(struct loader *l) {
    struct timespec nap = {0, SETTLE_NAP_NS};
    while (pthread_mutex_trylock(&l->one) != 0) {
        if (!settle(l)) {
            pthread_mutex_lock(&l->one);
            return;
        }
        nanosleep(&nap, NULL);
    }
}

void publish_unlock(struct loader *l) {
    pthread_mutex_unlock(&l->one);
    settle(l);
}

bool publish_wait(struct loader *l) {
    struct timespec until;
    settle(l);
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += MAX_LOAD_WAIT / USEC_PER_SEC;
    int late = 0;
    pthread_mutex_lock(&l->lock);
    while (l->pending && !late) {
        late = pthread_cond_timedwait(&l->let_go, &l->lock, &until);
    }
    bool done = l->pending == 0;
    pthread_mutex_unlock(&l->lock);
    return done;
}

/* On a worker's thread: it takes no more requests for the old generation. */
static void on_swapped(void *ctx) {
    struct loader *l = ctx;
    pthread_mutex_lock(&l->lock);
    l->pending--;
    if (l->pending == 0) {
        generation_unref(l->retiring);
        l->retiring = NULL;
        pthread_cond_broadcast(&l->let_go);
    }
    pthread_mutex_unlock(&l->lock);
}

static void put_in_force(struct loader *l, struct generation *g) {
    struct gateway *gw = l->gateway;
    l->next_id += generation_id(g) == l->next_id ? 1 : 0;
    l->loaded_at = clock_wall();
    atomic_store(&gw->log.level, generation_config(g)->log.level);
    atomic_store_explicit(&gw->current, g, memory_order_release);
    atomic_fetch_add(&gw->reloads_applied, 1);
    if (l->published) {
        l->published(l->published_ctx, generation_config(g));
    }
}

void publish_first(struct loader *l, struct generation *g) {
    put_in_force(l, g);
    atomic_store(&l->gateway->reloads_applied, 0);
}

void publish_next(struct loader *l, struct generation *next) {
    struct gateway *g = l->gateway;
    l->pending = g->n_workers;
    l->retiring = atomic_load(&g->current);
    put_in_force(l, next);
    keys_resume_renewed(generation_config(l->retiring), generation_config(next), g->state.targets);
    for (size_t i = 0; i < g->n_workers; i++) {
        struct worker *w = g->workers[i];
        w->swapped = on_swapped;
        w->swapped_ctx = l;
        mailbox_post(&w->mailbox, &w->swap_mail);
    }
}
