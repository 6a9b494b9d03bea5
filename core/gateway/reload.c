/* SPDX-License-Identifier: MIT */
#include "gateway/reload.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "gateway/worker.h"

#define SWAP_PATIENCE_S                                                                            \
    10 /* for workers to let go of the generation before the last; they need one turn of their     \
          loop */

static void free_list(char **list) {
    for (size_t i = 0; list && list[i]; i++) {
        free(list[i]);
    }
    free(list);
}

static char **copy_list(const char *const *list) {
    size_t n = 0;
    while (list && list[n]) {
        n++;
    }
    char **copy = calloc(n + 1, sizeof(*copy));
    for (size_t i = 0; copy && i < n; i++) {
        copy[i] = strdup(list[i]);
        if (!copy[i]) {
            free_list(copy);
            return NULL;
        }
    }
    return copy;
}

int loader_init(struct loader *l, struct gateway *g, const char *config_file,
                const char *const *library) {
    memset(l, 0, sizeof(*l));
    l->gateway = g;
    l->next_id = 1;
    l->config_file = strdup(config_file);
    l->library = copy_list(library);
    pthread_mutex_init(&l->one, NULL);
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->let_go, NULL);
    return l->config_file && l->library ? 0 : -1;
}

void loader_release(struct loader *l) {
    free(l->config_file);
    free_list(l->library);
    pthread_mutex_destroy(&l->one);
    pthread_mutex_destroy(&l->lock);
    pthread_cond_destroy(&l->let_go);
}

struct generation *loader_stage(struct loader *l, size_t lanes, struct diags *diags) {
    struct err err;
    struct config_lua lua;
    struct snapshot *snapshot =
        snapshot_read(l->config_file, (const char *const *)l->library, &err);
    if (!snapshot) {
        diags_error(diags, l->config_file, 0, "%s", err.text);
        return NULL;
    }
    policy_config_lua(&l->gateway->env, &lua);
    struct generation *g = NULL;
    struct config *config = config_load_all(snapshot, &lua, diags);
    if (config) {
        size_t n = lanes ? lanes : (size_t)config->workers;
        g = generation_stage(&l->gateway->env, l->next_id, snapshot, config, n, diags);
        config_unref(config);
    }
    snapshot_unref(snapshot);
    return g;
}

void loader_discard(struct generation *g, size_t lanes) {
    for (size_t i = 0; g && i < lanes; i++) {
        lane_retire(generation_lane(g, i));
    }
    if (g) {
        generation_unref(g);
    }
}

static void put_in_force(struct loader *l, struct generation *g) {
    struct gateway *gw = l->gateway;
    l->next_id++;
    l->loaded_at = clock_wall();
    atomic_store(&gw->log.level, generation_config(g)->log.level);
    atomic_store_explicit(&gw->current, g, memory_order_release);
    atomic_fetch_add(&gw->reloads_applied, 1);
    if (l->published) {
        l->published(l->published_ctx, generation_config(g));
    }
}

void loader_publish_first(struct loader *l, struct generation *g) {
    l->closed = false;
    put_in_force(l, g);
    atomic_store(&l->gateway->reloads_applied, 0);
}

static bool same_list(char **a, char **b) {
    size_t i = 0;
    for (; a[i] && b[i]; i++) {
        if (strcmp(a[i], b[i]) != 0) {
            return false;
        }
    }
    return !a[i] && !b[i];
}

static bool same_text(const char *a, const char *b) {
    return a && b ? strcmp(a, b) == 0 : a == b;
}

/* What a running gateway cannot change. */
static void check_fixed(const struct config *now, const struct config *next, struct diags *d) {
    static const char HOW[] =
        "is not what the gateway was started with: only a restart can change it";
    if (!same_list(now->listen, next->listen)) {
        diags_error(d, next->file, 0, "listen %s", HOW);
    }
    if (now->workers != next->workers) {
        diags_error(d, next->file, 0, "workers (%d, now %d) %s", next->workers, now->workers, HOW);
    }
    if (!same_text(now->admin_listen, next->admin_listen)) {
        diags_error(d, next->file, 0, "admin.listen %s", HOW);
    }
    if (!same_text(now->log.access, next->log.access) ||
        !same_text(now->log.error, next->log.error)) {
        diags_error(d, next->file, 0, "log.access or log.error %s", HOW);
    }
    if (!same_text(now->state_dir, next->state_dir)) {
        diags_error(d, next->file, 0, "state_dir %s", HOW);
    }
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

static bool wait_let_go(struct loader *l) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += SWAP_PATIENCE_S;
    int late = 0;
    pthread_mutex_lock(&l->lock);
    while (l->pending && !late) {
        late = pthread_cond_timedwait(&l->let_go, &l->lock, &until);
    }
    bool done = l->pending == 0;
    pthread_mutex_unlock(&l->lock);
    return done;
}

static void swap(struct loader *l, struct generation *next) {
    struct gateway *g = l->gateway;
    struct generation *before = atomic_load(&g->current);
    pthread_mutex_lock(&l->lock);
    l->pending = g->n_workers;
    l->retiring = before;
    pthread_mutex_unlock(&l->lock);
    put_in_force(l, next);
    for (size_t i = 0; i < g->n_workers; i++) {
        struct worker *w = g->workers[i];
        w->swapped = on_swapped;
        w->swapped_ctx = l;
        mailbox_post(&w->mailbox, &w->swap_mail);
    }
}

static void log_warnings(struct loader *l, const struct diags *diags) {
    for (size_t i = 0; i < diags->n; i++) {
        const struct diag *d = &diags->list[i];
        if (d->warning) {
            log_warn(&l->gateway->log, "reload: %s:%d: %s", d->file, d->line, d->message);
        }
    }
}

static enum load_result refused(struct loader *l, const struct diags *diags) {
    for (size_t i = 0; i < diags->n; i++) {
        const struct diag *d = &diags->list[i];
        if (!d->warning && d->line) {
            log_error(&l->gateway->log, "reload refused: %s:%d: %s", d->file, d->line, d->message);
        } else if (!d->warning) {
            log_error(&l->gateway->log, "reload refused: %s: %s", d->file, d->message);
        }
    }
    atomic_fetch_add(&l->gateway->reloads_refused, 1);
    return LOAD_REFUSED;
}

static enum load_result load(struct loader *l, struct diags *diags) {
    struct gateway *g = l->gateway;
    struct generation *now = atomic_load(&g->current);
    struct generation *next = loader_stage(l, g->n_workers, diags);
    if (next && hash_equal(generation_hash(now), generation_hash(next), HASH_SIZE) &&
        !generation_switched_off(now)) { /* a reload brings a policy back */
        loader_discard(next, g->n_workers);
        atomic_fetch_add(&g->reloads_unchanged, 1);
        log_info(&g->log, "reload: nothing changed, generation %u stays", generation_id(now));
        return LOAD_UNCHANGED;
    }
    if (next) {
        check_fixed(generation_config(now), generation_config(next), diags);
    }
    if (next && !diags->errors && !wait_let_go(l)) {
        diags_error(diags, l->config_file, 0,
                    "a worker still holds the generation before; try again");
    }
    if (!next || diags->errors) {
        loader_discard(next, g->n_workers);
        return refused(l, diags);
    }
    log_warnings(l, diags);
    unsigned id = generation_id(next);
    swap(l, next);
    log_info(&g->log, "reload: generation %u is in force", id);
    return LOAD_APPLIED;
}

enum load_result loader_reload(struct loader *l, struct diags *diags) {
    pthread_mutex_lock(&l->one);
    if (l->closed) {
        diags_error(diags, l->config_file, 0, "the gateway is being stopped");
    }
    enum load_result result = l->closed ? refused(l, diags) : load(l, diags);
    pthread_mutex_unlock(&l->one);
    return result;
}

struct generation *loader_current(struct loader *l) {
    pthread_mutex_lock(
        &l->lock); /* a generation that was replaced is let go of under this lock only */
    struct generation *g = atomic_load(&l->gateway->current);
    if (g) {
        generation_ref(g);
    }
    pthread_mutex_unlock(&l->lock);
    return g;
}

void loader_close(struct loader *l) {
    pthread_mutex_lock(&l->one);
    l->closed = true;
    pthread_mutex_unlock(&l->one);
}

void loader_finish(struct loader *l) {
    pthread_mutex_lock(&l->lock); /* loader_current looks and takes its reference under it */
    struct generation *now = atomic_exchange(&l->gateway->current, NULL);
    pthread_mutex_unlock(&l->lock);
    l->pending = 0; /* the workers are gone */
    if (l->retiring) {
        generation_unref(l->retiring);
        l->retiring = NULL;
    }
    if (now) {
        generation_unref(now);
    }
}
