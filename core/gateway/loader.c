/* SPDX-License-Identifier: MIT */
/*
 * The loader's life, and what others ask it about its generations.
 */
#include <stdlib.h>

#include "gateway/reload_parts.h"

/* ---- life ---- */

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
    overlay_init(&l->overlay);
    history_init(&l->history);
    diags_init(&l->refused.diagnostics);
    pthread_mutex_init(&l->one, NULL);
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->let_go, NULL);
    return audit_init(&l->audit, &g->log) == 0 && l->config_file && l->library ? 0 : -1;
}

void loader_release(struct loader *l) {
    free(l->config_file);
    free_list(l->library);
    overlay_release(&l->overlay);
    history_release(&l->history);
    diags_release(&l->refused.diagnostics);
    audit_release(&l->audit);
    pthread_mutex_destroy(&l->one);
    pthread_mutex_destroy(&l->lock);
    pthread_cond_destroy(&l->let_go);
}

struct generation *loader_stage(struct loader *l, size_t lanes, struct diags *diags) {
    struct stage_plan plan = {.id = l->next_id, .lanes = lanes};
    return stage(l, &plan, diags);
}

void loader_discard(struct generation *g, size_t lanes) {
    for (size_t i = 0; g && i < lanes; i++) {
        lane_retire(generation_lane(g, i));
    }
    if (g) {
        generation_unref(g);
    }
}

/* ---- views ---- */

void loader_each_generation(struct loader *l,
                            void (*fn)(void *ctx, const struct generation_record *record),
                            void *ctx) {
    pthread_mutex_lock(&l->lock);
    unsigned active = load_active_id(l);
    history_sweep(&l->history, active);
    for (const struct history_entry *e = l->history.list; e; e = e->next) {
        struct generation_record record;
        history_record(e, active, &record);
        fn(ctx, &record);
    }
    pthread_mutex_unlock(&l->lock);
}

void loader_live(struct loader *l, struct history_totals *out) {
    pthread_mutex_lock(&l->lock);
    history_sweep(&l->history, load_active_id(l));
    history_live_totals(&l->history, out);
    pthread_mutex_unlock(&l->lock);
}

bool loader_last_refused(struct loader *l,
                         void (*fn)(void *ctx, const struct refused_load *refused), void *ctx) {
    pthread_mutex_lock(&l->lock);
    bool refused = l->refused.at != 0;
    if (refused) {
        fn(ctx, &l->refused);
    }
    pthread_mutex_unlock(&l->lock);
    return refused;
}

long long loader_overlay_version(struct loader *l, const char *route) {
    pthread_mutex_lock(&l->lock);
    long long version = overlay_version(&l->overlay, route);
    pthread_mutex_unlock(&l->lock);
    return version;
}

bool loader_persistent(struct loader *l) {
    struct generation *now = loader_current(l);
    bool kept = now && generation_config(now)->state_dir;
    generation_unref(now); /* NULL is a no-op */
    return kept;
}

void loader_audit(struct loader *l, const struct audit_entry *entry) {
    struct generation *now = loader_current(l);
    struct audit_entry full = *entry;
    full.generation = now ? generation_id(now) : 0;
    audit_write(&l->audit, now ? generation_config(now) : NULL, &full);
    generation_unref(now);
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

/* ---- end ---- */

void loader_close(struct loader *l) {
    publish_lock(l);
    l->closed = true;
    publish_unlock(l);
}

void loader_open(struct loader *l) {
    publish_lock(l);
    l->closed = false;
    publish_unlock(l);
}

void loader_finish(struct loader *l) {
    pthread_mutex_lock(&l->lock); /* loader_current looks and takes its reference under it */
    struct generation *now = atomic_exchange(&l->gateway->current, NULL);
    l->pending = 0; /* the workers are gone */
    generation_unref(l->retiring);
    l->retiring = NULL;
    history_release(&l->history);
    pthread_mutex_unlock(&l->lock);
    generation_unref(now);
}
