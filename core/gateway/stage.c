/* SPDX-License-Identifier: MIT */
/*
 * Staging a load: from files, or a snapshot that was kept, and the overlay to a generation that is
 * checked but not in force. All mistakes are told at once.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "gateway/reload_parts.h"
#include "upstream/transport.h"

static struct snapshot *read_files(struct loader *l, struct diags *diags) {
    struct err err;
    struct snapshot *snapshot =
        snapshot_read(l->config_file, (const char *const *)l->library, &err);
    if (!snapshot) {
        diags_error(diags, l->config_file, 0, "%s", err.text);
    }
    return snapshot;
}

/* At a start or check: the overlay as it was left. */
static int read_overlay(struct loader *l, const char *state_dir, const char *file,
                        struct diags *diags) {
    struct err err;
    overlay_release(&l->overlay);
    if (state_dir && overlay_read(&l->overlay, state_dir, &err)) {
        diags_error(diags, file, 0, "%s", err.text);
        return -1;
    }
    return 0;
}

/* The overlay counts in the hash like an input of the files. */
static int mix_overlay(const struct overlay *overlay, struct snapshot *snapshot) {
    struct buf text;
    buf_init(&text, MAX_OVERLAY);
    int rc = buf_adds(&text, "overlay ") || overlay_text(overlay, &text) ? -1 : 0;
    if (rc == 0) {
        snapshot_mix(snapshot, buf_str(&text));
    }
    buf_release(&text);
    return rc;
}

/* Where the overlay is kept, from the root if it is there: who is to edit it must find it. */
static void find_overlay(const char *state_dir, char out[PATH_MAX]) {
    char full[PATH_MAX];
    overlay_path(state_dir, out, PATH_MAX);
    if (realpath(out, full)) {
        str_copy(out, PATH_MAX, str_of(full));
    }
}

static int put_overlay(struct loader *l, const struct stage_plan *plan, struct snapshot *snapshot,
                       struct config *config, struct diags *diags) {
    char path[PATH_MAX];
    const char *file = "settings";
    if (config->state_dir) {
        find_overlay(config->state_dir, path);
        file = path;
    }
    if (!plan->overlay && read_overlay(l, config->state_dir, file, diags)) {
        return -1;
    }
    const struct overlay *overlay = plan->overlay ? plan->overlay : &l->overlay;
    if (overlay_merge(overlay, plan->proposed ? NULL : file, config, diags)) {
        return -1;
    }
    if (mix_overlay(overlay, snapshot)) {
        diags_error(diags, file, 0, "memory is short, or there is more than %zu bytes",
                    MAX_OVERLAY);
        return -1;
    }
    return 0;
}

/* Whoever needs libcurl gets it loaded now, and not while requests wait. */
static void load_libcurl(const struct config *config, struct snapshot *snapshot,
                         struct diags *diags) {
    char path[PATH_MAX];
    struct err err;
    for (size_t i = 0; i < config->n_providers; i++) {
        const struct config_provider *p = &config->providers[i];
        bool own =
            !p->proxy && p->transport == TRANSPORT_AUTO && native_transport_speaks(p->base_url);
        if (!own && curl_transport_check(&err) != 0) {
            snprintf(path, sizeof(path), "providers.%s", p->name);
            diags_error(
                diags, config->file, config_line(snapshot, path),
                "%s: this provider can only be reached through libcurl, which is missing: %s", path,
                err.text);
        }
    }
}

static void run_tests(struct loader *l, struct snapshot *snapshot, const struct config *config,
                      struct diags *diags) {
    if (!l->run_tests) {
        diags_error(diags, config->file, config_line(snapshot, "reload.tests"),
                    "reload.tests is set, but this program cannot run policies' tests");
        return;
    }
    size_t errors = diags->errors;
    int failed = l->run_tests(l->run_tests_ctx, snapshot, config, diags);
    if (failed && diags->errors == errors) {
        diags_error(diags, config->file, 0, "the policies' tests failed");
    }
}

static struct generation *stage_config(struct loader *l, const struct stage_plan *plan,
                                       struct snapshot *snapshot, struct config *config,
                                       struct diags *diags) {
    bool tests = config->reload_tests && !plan->snapshot; /* what was kept has passed them */
    size_t lanes = plan->lanes ? plan->lanes : (size_t)config->workers;
    if (config->reload_tests) {
        snapshot_mix_tests(snapshot); /* an edited test is a change */
    }
    load_libcurl(config, snapshot, diags);
    if (put_overlay(l, plan, snapshot, config, diags)) {
        return NULL;
    }
    struct generation *g =
        generation_stage(&l->gateway->env, plan->id, snapshot, config, lanes, diags);
    if (g && tests) {
        run_tests(l, snapshot, config, diags);
    }
    if (g && diags->errors) {
        loader_discard(g, lanes);
        g = NULL;
    }
    return g;
}

struct generation *stage(struct loader *l, const struct stage_plan *plan, struct diags *diags) {
    struct config_lua lua;
    struct generation *g = NULL;
    struct snapshot *snapshot =
        plan->snapshot ? snapshot_ref(plan->snapshot) : read_files(l, diags);
    if (!snapshot) {
        return NULL;
    }
    policy_config_lua(&l->gateway->env, &lua);
    struct config *config = config_load_all(snapshot, &lua, diags);
    if (config) {
        g = stage_config(l, plan, snapshot, config, diags);
        config_mask_diags(config, diags);
        config_unref(config);
    }
    snapshot_unref(snapshot);
    return g;
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

void stage_check_fixed(const struct config *now, const struct config *next, struct diags *d) {
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
