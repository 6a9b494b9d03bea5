/* SPDX-License-Identifier: MIT */
/*
 * Loads that do not begin with the files: an earlier generation put in force again, and a change of
 * a route's settings. Both go through the transaction of reload.c.
 */
#include <stdio.h>
#include <stdlib.h>

#include "gateway/reload_parts.h"

/* ---- an earlier generation ---- */

/* A snapshot to be loaded again, with a reference, and the overlay it had. -1: it is not known. */
static int find_kept(struct loader *l, unsigned id, struct snapshot **snapshot,
                     struct overlay *overlay, struct diags *diags) {
    pthread_mutex_lock(&l->lock);
    const struct history_entry *e = history_find(&l->history, id);
    int rc = e ? 0 : -1;
    *snapshot = e ? snapshot_again(e->snapshot) : NULL;
    bool copied = *snapshot && overlay_copy(overlay, &e->overlay) == 0;
    pthread_mutex_unlock(&l->lock);
    if (rc) {
        diags_error(diags, l->config_file, 0,
                    "generation %u is not among those that are kept (the last %d)", id,
                    MAX_KEPT_GENERATIONS);
    } else if (!copied) {
        diags_error(diags, l->config_file, 0, "memory is short");
        snapshot_unref(*snapshot);
        *snapshot = NULL;
    }
    return rc;
}

/* The overlay in force, changed to what `kept` says, so that versions go on. */
static int adopt(struct loader *l, const struct overlay *kept, struct overlay *out,
                 struct diags *diags) {
    struct err err;
    if (overlay_copy(out, &l->overlay)) {
        diags_error(diags, l->config_file, 0, "memory is short");
        return -1;
    }
    if (overlay_adopt(out, kept, &err)) {
        diags_error(diags, l->config_file, 0, "%s", err.text);
        overlay_release(out);
        return -1;
    }
    return 0;
}

static enum load_result activate(struct loader *l, unsigned id, struct load_job *job) {
    struct snapshot *snapshot = NULL;
    struct overlay kept, next;
    if (find_kept(l, id, &snapshot, &kept, job->diags)) {
        return LOAD_UNKNOWN;
    }
    if (!snapshot) {
        return LOAD_REFUSED;
    }
    enum load_result result = LOAD_REFUSED;
    if (adopt(l, &kept, &next, job->diags) == 0) {
        job->plan = (struct stage_plan){.id = id, .snapshot = snapshot, .overlay = &next};
        job->overlay = &next;
        result = load_run(l, job);
        overlay_release(&next);
    }
    overlay_release(&kept);
    snapshot_unref(snapshot);
    return result;
}

static char *number(unsigned n) {
    char *text = NULL;
    return asprintf(&text, "%u", n) < 0 ? NULL : text;
}

enum load_result loader_activate(struct loader *l, unsigned id, const struct load_cause *cause,
                                 struct diags *diags) {
    char object[16];
    snprintf(object, sizeof(object), "%u", id);
    struct load_job job = {
        .action = "activate", .object = object, .cause = load_cause_of(cause), .diags = diags};
    publish_lock(l);
    job.before = number(load_active_id(l));
    job.after = number(id);
    enum load_result result = LOAD_REFUSED;
    if (load_is_open(l, diags)) {
        result = id == load_active_id(l) ? load_unchanged(l, &job) : activate(l, id, &job);
    }
    result = load_end(l, &job, result);
    publish_unlock(l);
    return result;
}

/* ---- settings ---- */

static bool route_exists(const struct loader *l, const char *route) {
    const struct config *c = generation_config(atomic_load(&l->gateway->current));
    for (size_t i = 0; i < c->n_routes; i++) {
        if (strcmp(c->routes[i].name, route) == 0) {
            return true;
        }
    }
    return false;
}

/* The snapshot in force, to be loaded again; NULL: memory. */
static struct snapshot *snapshot_in_force(struct loader *l) {
    return snapshot_again(generation_snapshot(atomic_load(&l->gateway->current)));
}

static enum load_result change(struct loader *l, const char *route, const struct value *settings,
                               struct load_job *job) {
    struct overlay next;
    struct err err;
    struct snapshot *snapshot = snapshot_in_force(l);
    enum load_result result = LOAD_REFUSED;
    if (!snapshot || overlay_copy(&next, &l->overlay)) {
        diags_error(job->diags, l->config_file, 0, "memory is short");
        snapshot_unref(snapshot);
        return LOAD_REFUSED;
    }
    if (overlay_set(&next, route, settings, &err)) {
        diags_error(job->diags, "settings", 0, "routes.%s.settings: %s", route, err.text);
    } else {
        job->plan = (struct stage_plan){
            .id = l->next_id, .snapshot = snapshot, .overlay = &next, .proposed = true};
        job->overlay = &next;
        result = load_run(l, job);
    }
    overlay_release(&next);
    snapshot_unref(snapshot);
    return result;
}

/* The first look at what is asked for. LOAD_APPLIED: go on. */
static enum load_result may_change(struct loader *l, const char *route,
                                   const struct value *settings, long long if_version,
                                   struct diags *diags) {
    long long version = overlay_version(&l->overlay, route);
    if (!route_exists(l, route) && (settings || version == 0)) {
        diags_error(diags, l->config_file, 0, "there is no route \"%.200s\"", route);
        return LOAD_UNKNOWN;
    }
    if (if_version >= 0 && if_version != version) {
        diags_error(diags, "settings", 0,
                    "the settings of route \"%.200s\" have version %lld, not %lld: somebody "
                    "changed them meanwhile; look at them again",
                    route, version, if_version);
        return LOAD_CONFLICT;
    }
    return LOAD_APPLIED;
}

/* NULL where there is nothing, or memory is short. */
static char *settings_text(const struct value *settings) {
    struct buf text;
    buf_init(&text, MAX_OVERLAY);
    char *out = settings && value_to_json(settings, &text) == BUF_OK ? buf_take(&text) : NULL;
    buf_release(&text);
    return out;
}

enum load_result loader_change_settings(struct loader *l, const char *route,
                                        const struct value *settings, long long if_version,
                                        const struct load_cause *cause, struct diags *diags) {
    struct load_job job = {
        .action = "settings", .object = route, .cause = load_cause_of(cause), .diags = diags};
    publish_lock(l);
    const struct overlay_route *now = overlay_find(&l->overlay, route);
    job.before = settings_text(now ? &now->settings : NULL);
    job.after = settings_text(settings);
    enum load_result result = LOAD_REFUSED;
    if (load_is_open(l, diags)) {
        result = may_change(l, route, settings, if_version, diags);
        result = result == LOAD_APPLIED ? change(l, route, settings, &job) : result;
    }
    result = load_end(l, &job, result);
    publish_unlock(l);
    return result;
}
