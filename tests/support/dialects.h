/* SPDX-License-Identifier: MIT */
/*
 * The dialects as they are shipped (lua/dialects/ below the current folder), loaded as a gateway
 * does it: a generation of its own, without routes, made once per program.
 */
#ifndef TESTS_DIALECTS_H
#define TESTS_DIALECTS_H

#include <stdio.h>
#include <stdlib.h>

#include "base/diag.h"
#include "policy/body.h"
#include "policy/policy.h"

static inline struct generation *dialects_generation(void) {
    static struct generation *made;
    static struct policy_env env;
    static const struct policy_module modules[] = {{"moongate.body", body_open}, {NULL, NULL}};
    static const char *const library[] = {".", NULL};
    static const char config[] = "return { listen = \"127.0.0.1:0\" }\n";
    struct config_lua lua;
    struct diags diags;
    struct err err = {""};
    if (made) {
        return made;
    }
    env.modules = modules;
    diags_init(&diags);
    policy_config_lua(&env, &lua);
    struct snapshot *library_only = snapshot_read_folder("tests/unit", library, &err);
    struct snapshot *s =
        library_only ? snapshot_derive(library_only, str_of(config), NULL, 0, &err) : NULL;
    struct config *c = s ? config_load(s, &lua, &diags) : NULL;
    made = c ? generation_stage(&env, 1, s, c, 1, &diags) : NULL;
    for (size_t i = 0; i < diags.n && !made; i++) {
        fprintf(stderr, "%s:%d: %s\n", diags.list[i].file, diags.list[i].line,
                diags.list[i].message);
    }
    if (!made) {
        fprintf(stderr, "the shipped dialects cannot be loaded: %s\n", err.text);
        abort();
    }
    config_unref(c);
    snapshot_unref(s);
    snapshot_unref(library_only);
    diags_release(&diags);
    return made;
}

/* Aborts when there is none of that name. */
static inline const struct dialect *shipped_dialect(const char *name) {
    const struct dialect *d = generation_dialect(dialects_generation(), str_of(name));
    if (!d) {
        fprintf(stderr, "there is no dialect %s\n", name);
        abort();
    }
    return d;
}

#endif
