/* SPDX-License-Identifier: MIT */
/*
 * Fuzz target: a gateway.lua, run in its sandbox, checked against the schema, built and thrown
 * away. Whatever it says, the load ends, every mistake has a text and a line that the file has,
 * and a configuration that is taken holds together. Reads: config/config_file.c config/luavalue.c
 * config/config_check.c config/config_text.c config/config_rules.c config/config_build.c
 * config/locate.c config/luatok.c
 *
 * Its Lua may do what it likes with 2 ms of CPU time.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/limits.h"
#include "config/config.h"
#include "policy/policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define LOAD_CPU 2000

static void must(bool holds, const char *what) {
    if (!holds) {
        fprintf(stderr, "does not hold: %s\n", what);
        abort();
    }
}

static struct snapshot *make_snapshot(struct str text) {
    static struct snapshot *none;
    static const char *const folders[] = {NULL};
    static const struct snapshot_text policies[] = {
        {{"policies/failover.lua", 21}, {"return {}", 9}},
        {{"policies/own.lua", 16}, {"return {}", 9}}};
    struct err err = {""};
    if (!none) {
        none = snapshot_read_folder("tests/fuzz/seeds", folders, &err);
        must(none != NULL, err.text);
    }
    struct snapshot *s = snapshot_derive(none, text, policies, 2, &err);
    must(s != NULL, err.text);
    return s;
}

static void check_diags(const struct diags *d, struct str text) {
    int lines = 1;
    for (size_t i = 0; i < text.n; i++) {
        lines += text.p[i] == '\n' || text.p[i] == '\r';
    }
    for (size_t i = 0; i < d->n; i++) {
        must(d->list[i].file && d->list[i].message && d->list[i].message[0], "a mute mistake");
        /* error(text, level) names any line. */
        must(d->list[i].line >= 0, "a line below 0");
        must(d->list[i].line <= lines || memmem(text.p, text.n, "error", 5) ||
                 memmem(text.p, text.n, "assert", 6),
             "a line behind the file's end");
    }
}

static void check_provider(const struct config *c, const struct config_provider *p) {
    must(p->name && p->dialect && p->base_url, "a provider without a name");
    must(p->max_inflight >= 1 && p->queue >= 0, "a provider without room");
    must(p->connect_timeout >= 0 && p->idle_timeout >= 0 && p->request_timeout >= 0,
         "a time below 0");
    must(config_provider(c, str_of(p->name)) == p, "a provider that is not found by its name");
}

/* What errors keep from serving need not hold together. */
static void check_config(const struct config *c, const struct diags *d) {
    if (d->errors) {
        return;
    }
    must(c->workers >= 1 && c->workers <= MAX_WORKERS, "no workers, or too many");
    must(c->listen && c->listen[0], "nowhere to listen");
    must(c->n_providers <= MAX_PROVIDERS && c->n_routes <= MAX_ROUTES, "more than the limits");
    for (size_t i = 0; i < c->n_providers; i++) {
        check_provider(c, &c->providers[i]);
    }
    for (size_t i = 0; i < c->n_routes; i++) {
        const struct config_route *r = &c->routes[i];
        must(r->name && r->path && r->policy, "a route without a path or a policy");
        must(r->settings.type == VALUE_TABLE, "a route without settings");
    }
}

/* No secret of the configuration is left in its messages. */
static void check_masks(const struct config *c, struct diags *d) {
    config_mask_diags(c, d);
    for (size_t i = 0; c->secrets && c->secrets[i]; i++) {
        for (size_t j = 0; j < d->n && strlen(c->secrets[i]) >= 12; j++) {
            must(!strstr(d->list[j].message, c->secrets[i]), "a secret in a message");
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const struct policy_env env = {.load_cpu = LOAD_CPU, .state_bytes = MIB(4)};
    struct str text = str_make((const char *)data, size);
    struct config_lua lua;
    struct diags diags;
    if (size > KIB(16)) {
        return 0;
    }
    diags_init(&diags);
    policy_config_lua(&env, &lua);
    struct snapshot *s = make_snapshot(text);
    struct config *c = config_load_all(s, &lua, &diags);
    must(c || diags.errors, "a refusal without a reason");
    check_diags(&diags, text);
    if (c) {
        check_config(c, &diags);
        check_masks(c, &diags);
        config_line(s, "routes[1].settings.targets[2]");
    }
    config_unref(c);
    snapshot_unref(s);
    diags_release(&diags);
    return 0;
}
