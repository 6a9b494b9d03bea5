/* SPDX-License-Identifier: MIT */
/*
 * The transaction of a load, the same for all that can ask for one: stage, compare, check what
 * cannot change, write the overlay, publish. The steps are in stage.c and publish.c. Every end is
 * logged, audited and, when it was a refusal, remembered.
 */
#include "gateway/reload.h"

#include <stdio.h>
#include <stdlib.h>

#include "gateway/reload_parts.h"
#include "gateway/suspended.h"

struct load_cause load_cause_of(const struct load_cause *given) {
    return (struct load_cause){given && given->who ? given->who : "embedder",
                               given && given->why ? given->why : ""};
}

unsigned load_active_id(struct loader *l) {
    struct generation *now = atomic_load(&l->gateway->current);
    return now ? generation_id(now) : 0;
}

static const char *by(const struct load_cause *cause, char *out, size_t size) {
    snprintf(out, size, "%s%s%s", cause->who, *cause->why ? ": " : "", cause->why);
    return out;
}

/* The warnings, or the errors. A load that a stop overtook is nobody's mistake. */
static void log_diags(struct loader *l, const struct diags *diags, bool warnings) {
    enum log_level error = l->closed ? LOG_LEVEL_INFO : LOG_LEVEL_ERROR;
    enum log_level level = warnings ? LOG_LEVEL_WARN : error;
    const char *what = warnings ? "reload" : "reload refused";
    for (size_t i = 0; i < diags->n; i++) {
        const struct diag *d = &diags->list[i];
        char line[16] = "";
        if (d->warning != warnings) {
            continue;
        }
        if (d->line) {
            snprintf(line, sizeof(line), ":%d", d->line);
        }
        log_write(&l->gateway->log, level, "%s: %s%s: %s", what, d->file, line, d->message);
    }
}

/* Under l->lock. NULL: nothing was refused since. */
static void set_refused(struct loader *l, const struct load_job *job) {
    struct refused_load *r = &l->refused;
    diags_release(&r->diagnostics);
    r->at = job ? clock_wall() : 0;
    if (!job) {
        return;
    }
    str_copy(r->who, sizeof(r->who), str_of(job->cause.who));
    str_copy(r->why, sizeof(r->why), str_of(job->cause.why));
    for (size_t i = 0; i < job->diags->n; i++) {
        const struct diag *d = &job->diags->list[i];
        if (d->warning) {
            diags_warn(&r->diagnostics, d->file, d->line, "%s", d->message);
        } else {
            diags_error(&r->diagnostics, d->file, d->line, "%s", d->message);
        }
    }
}

/* The load's own secrets are masked already; those in force may stand in the files still. */
static void mask_diags(struct loader *l, const struct load_job *job) {
    struct generation *now = loader_current(l);
    if (now) {
        config_mask_diags(generation_config(now), job->diags);
    }
    generation_unref(now);
}

static void remember_refused(struct loader *l, const struct load_job *job) {
    mask_diags(l, job);
    log_diags(l, job->diags, false);
    atomic_fetch_add(&l->gateway->reloads_refused, 1);
    atomic_store(&l->gateway->reload_refused, true);
    pthread_mutex_lock(&l->lock);
    set_refused(l, job);
    pthread_mutex_unlock(&l->lock);
}

static const char *result_name(enum load_result result) {
    switch (result) {
    case LOAD_APPLIED:
        return "applied";
    case LOAD_UNCHANGED:
        return "unchanged";
    case LOAD_REFUSED:
        return "refused";
    case LOAD_CONFLICT:
        return "conflict";
    case LOAD_UNKNOWN:
        return "unknown";
    case LOAD_FAILED:
        break;
    }
    return "failed";
}

/* Every load ends here. */
enum load_result load_end(struct loader *l, struct load_job *job, enum load_result result) {
    struct audit_entry entry = {.who = job->cause.who,
                                .why = job->cause.why,
                                .action = job->action,
                                .object = job->object,
                                .before = job->before,
                                .after = job->after,
                                .result = result_name(result),
                                .logged = !job->object};
    if (result == LOAD_REFUSED || result == LOAD_FAILED) {
        remember_refused(l, job);
    }
    loader_audit(l, &entry);
    free(job->before);
    free(job->after);
    return result;
}

enum load_result load_unchanged(struct loader *l, const struct load_job *job) {
    char who[256];
    atomic_fetch_add(&l->gateway->reloads_unchanged, 1);
    atomic_store(&l->gateway->reload_refused, false);
    log_info(&l->gateway->log, "reload: nothing changed, generation %u stays (%s)",
             load_active_id(l), by(&job->cause, who, sizeof(who)));
    return LOAD_UNCHANGED;
}

/* May `next` follow? What speaks against it goes to the diags. */
static void check_next(struct loader *l, const struct load_job *job, struct generation *next) {
    struct generation *now = atomic_load(&l->gateway->current);
    stage_check_fixed(generation_config(now), generation_config(next), job->diags);
    if (!job->diags->errors && !publish_wait(l)) {
        diags_error(job->diags, l->config_file, 0,
                    "a worker still holds the generation before; try again");
    }
    pthread_mutex_lock(&l->lock);
    history_sweep(&l->history, generation_id(now));
    size_t live = history_live_count(&l->history);
    pthread_mutex_unlock(&l->lock);
    if (live > MAX_DRAINING) {
        diags_error(job->diags, l->config_file, 0,
                    "%zu generations still have requests in flight, more than the %d that are "
                    "allowed; try again when some have ended",
                    live, MAX_DRAINING);
    }
}

/* Writes what is to be kept, and copies it for the loader. On -1 nothing has changed. */
static int keep_overlay(struct loader *l, const struct load_job *job, const struct config *config,
                        struct overlay *overlay) {
    struct err err;
    if (!job->overlay) {
        return 0;
    }
    if (config->state_dir && atomic_load(&l->gateway->beside)) {
        diags_error(job->diags, config->state_dir, 0,
                    "another gateway has this state_dir and its settings: change them there, or "
                    "here when it has ended");
        return -1;
    }
    if (overlay_copy(overlay, job->overlay)) {
        err_set(&err, "memory is short");
    } else if (!config->state_dir || overlay_write(overlay, config->state_dir, &err) == 0) {
        return 0;
    } else {
        atomic_fetch_add(&l->overlay_failures, 1);
        overlay_release(overlay);
    }
    diags_error(job->diags, config->state_dir ? config->state_dir : config->file, 0,
                "the settings could not be kept, nothing was changed: %s", err.text);
    return -1;
}

static void publish(struct loader *l, const struct load_job *job, struct generation *next,
                    struct history_note *note, struct overlay *overlay) {
    pthread_mutex_lock(&l->lock);
    history_add(&l->history, note, next, job->cause.who, job->cause.why);
    if (job->overlay) {
        overlay_release(&l->overlay);
        l->overlay = *overlay;
    }
    set_refused(l, NULL);
    atomic_store(&l->gateway->reload_refused, false);
    publish_next(l, next);
    history_sweep(&l->history, generation_id(next));
    pthread_mutex_unlock(&l->lock);
}

/* A staged generation that nothing speaks against. Takes it. */
static enum load_result go(struct loader *l, struct load_job *job, struct generation *next) {
    const struct overlay *under = job->plan.overlay ? job->plan.overlay : &l->overlay;
    size_t workers = l->gateway->n_workers;
    struct history_note note;
    struct overlay overlay;
    char who[256];
    if (history_prepare(&note, under)) {
        diags_error(job->diags, l->config_file, 0, "memory is short");
        loader_discard(next, workers);
        return LOAD_REFUSED;
    }
    if (keep_overlay(l, job, generation_config(next), &overlay)) {
        history_abandon(&note);
        loader_discard(next, workers);
        return LOAD_FAILED;
    }
    mask_diags(l, job);
    log_diags(l, job->diags, true);
    unsigned id = generation_id(next);
    publish(l, job, next, &note, &overlay);
    log_info(&l->gateway->log, "reload: generation %u is in force (%s)", id,
             by(&job->cause, who, sizeof(who)));
    return LOAD_APPLIED;
}

static bool same_hash(const struct generation *a, const struct generation *b) {
    return hash_equal(generation_hash(a), generation_hash(b), HASH_SIZE);
}

/* Under `one`. */
enum load_result load_run(struct loader *l, struct load_job *job) {
    size_t workers = l->gateway->n_workers;
    struct generation *now = atomic_load(&l->gateway->current);
    job->plan.lanes = workers;
    struct generation *next = stage(l, &job->plan, job->diags);
    if (next && generation_id(next) == l->next_id && same_hash(now, next) &&
        !generation_switched_off(now)) { /* a reload brings a policy back */
        loader_discard(next, workers);
        return load_unchanged(l, job);
    }
    if (next) {
        check_next(l, job, next);
    }
    if (!next || job->diags->errors) {
        loader_discard(next, workers);
        return LOAD_REFUSED;
    }
    return go(l, job, next);
}

/* False: nothing is loaded any more, or not yet. */
bool load_is_open(struct loader *l, struct diags *diags) {
    if (!l->closed && atomic_load(&l->gateway->current)) {
        return true;
    }
    diags_error(diags, l->config_file, 0, "the gateway is being stopped or replaced");
    return false;
}

/* ---- what can be asked for ---- */

void loader_publish_first(struct loader *l, struct generation *g) {
    struct history_note note;
    const struct config *config = generation_config(g);
    l->closed = false;
    if (audit_open(&l->audit, config->state_dir)) {
        log_error(&l->gateway->log, "out of memory: audit entries go here");
    }
    int bad = history_prepare(&note, &l->overlay);
    pthread_mutex_lock(&l->lock);
    if (!bad) { /* without a record the first generation cannot be activated again */
        history_add(&l->history, &note, g, "start", "");
    }
    set_refused(l, NULL);
    atomic_store(&l->gateway->reload_refused, false);
    publish_first(l, g);
    pthread_mutex_unlock(&l->lock);
    loader_audit(l, &(struct audit_entry){
                        .who = "start", .action = "start", .result = "applied", .logged = true});
}

enum load_result loader_reload(struct loader *l, const struct load_cause *cause,
                               struct diags *diags) {
    struct load_job job = {.action = "reload", .cause = load_cause_of(cause), .diags = diags};
    publish_lock(l);
    job.plan = (struct stage_plan){.id = l->next_id, .overlay = &l->overlay};
    enum load_result result = load_is_open(l, diags) ? load_run(l, &job) : LOAD_REFUSED;
    result = load_end(l, &job, result);
    publish_unlock(l);
    return result;
}

int loader_check(struct loader *l, struct diags *diags) {
    publish_lock(l);
    bool running = atomic_load(&l->gateway->current) != NULL;
    struct stage_plan plan = {
        .id = l->next_id, .lanes = 1, .overlay = running ? &l->overlay : NULL};
    struct generation *g = stage(l, &plan, diags);
    if (g && running) {
        stage_check_fixed(generation_config(atomic_load(&l->gateway->current)),
                          generation_config(g), diags);
        suspended_warn(g, l->gateway->state.targets, diags);
    } else if (g) {
        suspended_warn_file(g, diags);
    }
    loader_discard(g, 1);
    publish_unlock(l);
    return diags->errors ? -1 : 0;
}
