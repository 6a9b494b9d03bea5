/* SPDX-License-Identifier: MIT */
/*
 * The public API: assembles the parts, knows every one of them, does nothing else. Here a gateway
 * is made, freed, and asked for facts.
 */
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>

#include "bind/bind.h"
#include "moongate_internal.h"
#include "policy/policy.h"
#include "sim/sim_gate.h"

#ifndef MOONGATE_DATADIR
#define MOONGATE_DATADIR "/usr/local/share/moongate"
#endif

int gw_fail(struct moongate_error *out, const char *text) {
    if (out) {
        snprintf(out->text, sizeof(out->text), "%s", text);
    }
    return -1;
}

/* `curl`: its version, where it has to be known for that. */
static void write_version(char *out, size_t size, const char *curl) {
    snprintf(out, size, "moongate %s (%s, %s, libevent/%s)", MOONGATE_VERSION, policy_lua_version(),
             curl, event_get_version());
}

struct moongate *moongate_new(const struct moongate_options *options,
                              struct moongate_error *error) {
    static const char *const installed[] = {MOONGATE_DATADIR, NULL};
    const char *const *library = options->library ? options->library : installed;
    struct moongate *gw = calloc(1, sizeof(*gw));
    if (!gw) {
        gw_fail(error, "out of memory");
        return NULL;
    }
    struct gateway *g = &gw->gateway;
    log_init(&g->log, gw_log, gw, LOG_LEVEL_INFO);
    gw->options = *options;
    gw->host = (struct bind_host){.gateway = g, .functions = gw->functions};
    g->bindings = &bind_bindings;
    g->env = (struct policy_env){
        .modules = bind_modules, .host = &gw->host, .log = &g->log, .dialects = &gw->dialects};
    write_version(gw->version, sizeof(gw->version), "libcurl when needed");
    pool_init(&g->memory, 0);
    int bad = state_init(&g->state) | loader_init(&gw->loader, g, options->config_file, library);
    gw->loader.published = gw_on_published;
    gw->loader.published_ctx = gw;
    gw->loader.run_tests = sim_gate;
    gw->loader.settle = gw_settle;
    gw->loader.settle_ctx = gw;
    if (bad) {
        moongate_free(gw);
        gw_fail(error, "out of memory");
        return NULL;
    }
    gw->options.config_file = gw->loader.config_file;
    gw->options.library = NULL;
    return gw;
}

static bool is_name(const char *name) {
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
    return n > 0 && !name[n] && !(name[0] >= '0' && name[0] <= '9');
}

int moongate_add_function(struct moongate *gw, const char *name, moongate_function fn, void *ctx,
                          struct moongate_error *error) {
    if (gw->running || gw->host.n_functions == MAX_FUNCTIONS) {
        return gw_fail(error, gw->running ? "functions are added before the start"
                                          : "too many functions: at most 64");
    }
    if (!is_name(name) || strlen(name) >= sizeof(gw->functions[0].name)) {
        return gw_fail(error, "a function's name is of letters, digits and _, at most 63 of them");
    }
    struct host_function *f = &gw->functions[gw->host.n_functions++];
    snprintf(f->name, sizeof(f->name), "%s", name);
    f->fn = fn;
    f->ctx = ctx;
    return 0;
}

void moongate_free(struct moongate *gw) {
    if (!gw) {
        return;
    }
    moongate_stop(gw, -1);
    state_release(&gw->gateway.state);
    loader_release(&gw->loader);
    dialect_cache_release(&gw->dialects);
    free(gw);
}

/* ---- facts ---- */

unsigned moongate_generation(const struct moongate *gw) {
    if (!gw->running) {
        return 0;
    }
    struct generation *now = loader_current((struct loader *)(size_t)&gw->loader);
    unsigned id = now ? generation_id(now) : 0;
    generation_unref(now); /* NULL is a no-op */
    return id;
}

const char *moongate_address(const struct moongate *gw, size_t i) {
    return i < gw->n_addresses ? gw->addresses[i] : NULL;
}

const char *moongate_admin_address(const struct moongate *gw) {
    return gw->admin ? gw->admin_address : NULL;
}

void moongate_version(char *out, size_t size) {
    write_version(out, size, curl_transport_version());
}
