/* SPDX-License-Identifier: MIT */
/*
 * The life of a configuration: the steps of a load in their order, references, and what readers ask
 * of it. Readers on any thread; nothing in it changes once it is loaded.
 */
#include "config/config.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/limits.h"
#include "config/config_load.h"
#include "net/tls.h"

enum { MAX_TOLD = 1600 };

static void tell(struct load *l, const struct path *at, bool warning, const char *fmt, va_list ap) {
    char text[MAX_TOLD];
    /* The search for the line is not cheap; past the limit nobody would see it. */
    int line = l->diags->n < MAX_DIAGS ? config_line(l->snapshot, at->text) : 0;
    vsnprintf(text, sizeof(text), fmt, ap);
    const char *sep = at->n ? ": " : "";
    if (warning) {
        diags_warn(l->diags, l->file, line, "%s%s%s", at->text, sep, text);
    } else {
        diags_error(l->diags, l->file, line, "%s%s%s", at->text, sep, text);
    }
}

void load_error(struct load *l, const struct path *at, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    tell(l, at, false, fmt, ap);
    va_end(ap);
}

void load_warn(struct load *l, const struct path *at, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    tell(l, at, true, fmt, ap);
    va_end(ap);
}

struct config *config_load_all(struct snapshot *snapshot, const struct config_lua *lua,
                               struct diags *diags) {
    struct load l = {snapshot, lua, diags, snapshot_config_path(snapshot)};
    struct config *c = NULL;
    struct value root;
    struct path at;
    if (config_run_file(&l, &root)) {
        return NULL;
    }
    path_init(&at);
    config_check(&l, &config_schema, &root, &at);
    config_rules(&l, &root);
    c = config_build(&l, &root);
    if (!c) {
        diags_error(diags, l.file, 0, "memory is short");
    }
    value_release(&root);
    return c;
}

struct config *config_load(struct snapshot *snapshot, const struct config_lua *lua,
                           struct diags *diags) {
    size_t errors = diags->errors;
    struct config *c = config_load_all(snapshot, lua, diags);
    if (diags->errors != errors) {
        config_unref(c);
        return NULL;
    }
    return c;
}

struct config *config_ref(struct config *c) {
    atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    return c;
}

void free_texts(char **list) {
    for (size_t i = 0; list && list[i]; i++) {
        free(list[i]);
    }
    free(list);
}

static void free_secret(char *secret) {
    if (secret) {
        explicit_bzero(secret, strlen(secret));
    }
    free(secret);
}

static void provider_release(struct config_provider *p) {
    free(p->name);
    free(p->dialect);
    free_texts(p->speaks);
    free(p->base_url);
    free(p->auth_name);
    free_secret(p->api_key);
    for (size_t i = 0; i < p->n_api_keys; i++) {
        free(p->api_keys[i].name);
        free(p->api_keys[i].label);
        free_secret(p->api_keys[i].secret);
    }
    free(p->api_keys);
    free_secret(p->aws.access_key);
    free_secret(p->aws.secret_key);
    free_secret(p->aws.session_token);
    free(p->aws.region);
    free(p->aws.service);
    free(p->quota_group);
    free_secret(p->proxy);
    tls_client_unref(p->tls);
    value_release(&p->headers);
    value_release(&p->fixed_headers);
    free_texts(p->prefixes);
    free(p->pass);
    free(p->health.method);
    free(p->health.path);
    free(p->health.body);
    free(p->health.status);
}

static void key_release(struct config_key *k) {
    free(k->name);
    free(k->environment);
    free_texts(k->models);
}

static void route_release(struct config_route *r) {
    free(r->name);
    free(r->path);
    free_texts(r->models);
    for (size_t i = 0; i < r->n_aliases; i++) {
        free(r->aliases[i].name);
        value_release(&r->aliases[i].targets);
    }
    free(r->aliases);
    free_texts(r->methods);
    free(r->policy);
    free(r->dialect);
    value_release(&r->settings);
    value_release(&r->file_settings);
    value_release(&r->overlay);
}

void config_free(struct config *c) {
    if (!c) {
        return;
    }
    for (size_t i = 0; i < c->n_providers; i++) {
        provider_release(&c->providers[i]);
    }
    for (size_t i = 0; i < c->n_keys; i++) {
        key_release(&c->keys[i]);
    }
    for (size_t i = 0; i < c->n_routes; i++) {
        route_release(&c->routes[i]);
    }
    for (size_t i = 0; c->secrets && c->secrets[i]; i++) {
        free_secret(c->secrets[i]);
    }
    free(c->secrets);
    free(c->providers);
    free(c->keys);
    free(c->routes);
    free(c->file);
    free(c->dir);
    free(c->state_dir);
    for (size_t i = 0; c->listen_tls && i < MAX_LISTENERS; i++) {
        tls_server_unref(c->listen_tls[i]);
    }
    free(c->listen_tls);
    tls_server_unref(c->admin_tls);
    free_texts(c->listen);
    free(c->admin_listen);
    free_secret(c->admin_token);
    free_secret(c->admin_read_token);
    free_texts(c->input_files);
    free(c->overlay_file);
    free(c->log.access);
    free(c->log.error);
    free(c);
}

void config_unref(struct config *c) {
    if (c && atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) == 1) {
        config_free(c);
    }
}

const struct config_provider *config_provider(const struct config *c, struct str name) {
    for (size_t i = 0; i < c->n_providers; i++) {
        if (str_is(name, c->providers[i].name)) {
            return &c->providers[i];
        }
    }
    return NULL;
}

const struct config_api_key *config_api_key(const struct config_provider *p, struct str name) {
    for (size_t i = 0; i < p->n_api_keys; i++) {
        if (str_is(name, p->api_keys[i].name)) {
            return &p->api_keys[i];
        }
    }
    return NULL;
}

bool config_only_aliases(const struct config_route *r) {
    return r->n_aliases > 0 && !r->models;
}

struct config_variant config_variant(const struct config *c, size_t variant) {
    size_t route = 0;
    if (variant < c->n_routes) {
        return (struct config_variant){variant, NULL};
    }
    while (variant - c->routes[route].first_alias >= c->routes[route].n_aliases) {
        route++; /* first_alias grows: below the first the difference wraps and is large */
    }
    const struct config_route *r = &c->routes[route];
    return (struct config_variant){route, &r->aliases[variant - r->first_alias]};
}

size_t config_variant_of(const struct config *c, size_t route, const char *model) {
    const struct config_route *r = &c->routes[route];
    for (size_t i = 0; model && i < r->n_aliases; i++) {
        if (strcmp(r->aliases[i].name, model) == 0) {
            return r->first_alias + i;
        }
    }
    return route;
}
