/* SPDX-License-Identifier: MIT */
/* What a world's configuration says, for programs that are given a configuration they do not know.
 */
#include "base/hash.h"
#include "bind/bind_lua.h"
#include "sim/sim_lua.h"

static void set_text(lua_State *L, const char *name, const char *text) {
    lua_pushstring(L, text);
    lua_setfield(L, -2, name);
}

static void add_text(lua_State *L, const char *text) {
    lua_pushstring(L, text);
    lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
}

/* The names and patterns that the route is limited to; nothing when it serves all. */
static void set_models(lua_State *L, const struct config_route *r) {
    if (!r->models && !r->n_aliases) {
        return;
    }
    lua_newtable(L);
    for (size_t i = 0; i < r->n_aliases; i++) {
        add_text(L, r->aliases[i].name);
    }
    for (char **m = r->models; m && *m; m++) {
        add_text(L, *m);
    }
    lua_setfield(L, -2, "models");
}

/* world:routes() -> list of { name, path, prefix, policy, models } in the order of the file */
int sim_routes(lua_State *L) {
    const struct config *c = world_config(sim_check_world(L)->world);
    lua_createtable(L, (int)c->n_routes, 0);
    for (size_t i = 0; i < c->n_routes; i++) {
        const struct config_route *r = &c->routes[i];
        lua_createtable(L, 0, 5);
        set_text(L, "name", r->name);
        set_text(L, "path", r->path);
        set_text(L, "policy", r->policy);
        lua_pushboolean(L, r->prefix);
        lua_setfield(L, -2, "prefix");
        set_models(L, r);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

/* world:providers() -> list of names */
int sim_providers(lua_State *L) {
    const struct config *c = world_config(sim_check_world(L)->world);
    lua_createtable(L, (int)c->n_providers, 0);
    for (size_t i = 0; i < c->n_providers; i++) {
        lua_pushstring(L, c->providers[i].name);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

/* world:secret(name) -> the secret of a client's key, to ask with, or nil. A configuration keeps
 * the hash with the key and the secrets for masking only. */
int sim_secret(lua_State *L) {
    const struct config *c = world_config(sim_check_world(L)->world);
    struct str name = bind_check_str(L, 2, MAX_TARGET_NAME);
    const struct config_key *key = NULL;
    for (size_t i = 0; i < c->n_keys; i++) {
        key = str_is(name, c->keys[i].name) ? &c->keys[i] : key;
    }
    for (size_t i = 0; key && c->secrets && c->secrets[i]; i++) {
        unsigned char hash[HASH_SIZE];
        hash_sha256(str_of(c->secrets[i]), hash);
        if (hash_equal(hash, key->hash, HASH_SIZE)) {
            lua_pushstring(L, c->secrets[i]);
            return 1;
        }
    }
    lua_pushnil(L);
    return 1;
}
