/* SPDX-License-Identifier: MIT */
#include "gateway/route.h"

static bool path_fits(const struct config_route *r, struct str path) {
    return r->prefix ? str_starts(path, r->path) : str_is(path, r->path);
}

static bool method_fits(const struct config_route *r, struct str method) {
    for (char **m = r->methods; m && *m; m++) {
        if (str_is(method, *m)) {
            return true;
        }
    }
    return !r->methods;
}

static bool model_fits(char **globs, const char *model) {
    for (char **g = globs; model && g && *g; g++) {
        if (str_glob(*g, str_of(model))) {
            return true;
        }
    }
    return !globs;
}

static bool serves(const struct config *c, size_t i, const char *model) {
    return config_variant_of(c, i, model) != i ||
           (!config_only_aliases(&c->routes[i]) && model_fits(c->routes[i].models, model));
}

int route_find(const struct config *c, struct str method, struct str path, const char *model,
               struct route_miss *miss) {
    *miss = (struct route_miss){false, false};
    for (size_t i = 0; i < c->n_routes; i++) {
        const struct config_route *r = &c->routes[i];
        if (!path_fits(r, path)) {
            continue;
        }
        miss->path = true;
        if (!method_fits(r, method)) {
            continue;
        }
        miss->method = true;
        if (serves(c, i, model)) {
            return (int)i;
        }
    }
    return -1;
}

const struct config_key *route_key(const struct config *c, struct str secret) {
    unsigned char hash[HASH_SIZE];
    const struct config_key *found = NULL;
    hash_sha256(secret, hash);
    for (size_t i = 0; i < c->n_keys; i++) {
        if (hash_equal(hash, c->keys[i].hash, HASH_SIZE)) {
            found = &c->keys[i]; /* no early end: the time must not tell which key it was */
        }
    }
    return found;
}

bool route_key_allows(const struct config_key *key, const char *model) {
    return !key || !key->models || (model && model_fits(key->models, model));
}
