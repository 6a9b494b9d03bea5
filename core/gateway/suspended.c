/* SPDX-License-Identifier: MIT */
#include "gateway/suspended.h"

#include "base/limits.h"
#include "state/state.h"

static void warn_target(struct generation *g, size_t i, const char *target, usec left,
                        struct diags *diags) {
    const struct config *config = generation_config(g);
    const struct config_route *route = &config->routes[i];
    double hours = usec_to_seconds(left) / 3600;
    diags_warn(diags, config->file, config_route_line(generation_snapshot(g), i),
               "route \"%s\": target \"%s\" is suspended for another %.0f %s; "
               "`moongate resume %s` ends that",
               route->name ? route->name : "?", target, hours < 72 ? hours : hours / 24,
               hours < 72 ? "hours" : "days", target);
}

/* Does an earlier variant of the same route name the target? */
static bool named_before(struct generation *g, size_t variant, const char *target) {
    const struct config *config = generation_config(g);
    size_t route = config_variant(config, variant).route;
    for (size_t v = 0; v < variant; v++) {
        const char *const *list = lane_targets(generation_lane(g, 0), v);
        bool same = config_variant(config, v).route == route;
        for (; same && *list; list++) {
            if (strcmp(*list, target) == 0) {
                return true;
            }
        }
    }
    return false;
}

static void warn_variant(struct generation *g, size_t i, struct targets *targets,
                         struct diags *diags) {
    const struct config *config = generation_config(g);
    const char *const *list = lane_targets(generation_lane(g, 0), i);
    for (; list && *list; list++) {
        struct str name = str_of(*list);
        const struct config_provider *p = config_provider(config, target_split(name).provider);
        usec left = targets_suspended_for(targets, name, str_of(p ? p->quota_group : NULL));
        if (left > LONG_SUSPENSION && !named_before(g, i, *list)) {
            warn_target(g, config_variant(config, i).route, *list, left, diags);
        }
    }
}

void suspended_warn(struct generation *g, struct targets *targets, struct diags *diags) {
    for (size_t i = 0; i < generation_config(g)->n_variants; i++) {
        warn_variant(g, i, targets, diags);
    }
}

void suspended_warn_file(struct generation *g, struct diags *diags) {
    const struct config *config = generation_config(g);
    struct state state;
    struct err err;
    if (!config->state_dir || state_init(&state) != 0) {
        return;
    }
    if (state_look(&state, config->state_dir, &err) != 0) {
        diags_warn(diags, config->file, 0, "%s", err.text);
    }
    suspended_warn(g, state.targets, diags);
    state_release(&state);
}
