/* SPDX-License-Identifier: MIT */
/*
 * `require` inside the snapshot: modules written in C were opened when the lane was made; every
 * other name means a file of the same load, so an edit or a half-copied folder can never mix
 * versions. Each module is run once per lane and handed out read-only.
 */
#include <stdint.h>
#include <stdio.h>

#include "base/limits.h"
#include "config/snapshot.h"
#include "policy/box.h"
#include "policy/policy_lua.h"
#include "policy/sandbox.h"

static const char LOADED_KEY;

/* A module being loaded stands in the table as a mark of who loads it, so that what a killed run
 * left half-loaded is not taken for a circle. */
static void *loader_mark(lua_State *L) {
    unsigned long run = policy_run(L);

    return run ? (void *)(uintptr_t)run : box_of(L);
}

static int not_found(lua_State *L, const char *name) {
    const struct snapshot *s = box_of(L)->snapshot;
    const char *names[MAX_SNAPSHOT_FILES + 1];
    char wanted[256];
    size_t i, n = 0;
    const char *near;

    for (i = 0; i < snapshot_count(s) && n < MAX_SNAPSHOT_FILES; i++) {
        names[n++] = snapshot_at(s, i)->name;
    }
    names[n] = NULL;
    snprintf(wanted, sizeof wanted, "lua/%s.lua", name);
    for (i = 4; wanted[i] && i + 4 < strlen(wanted); i++) {
        wanted[i] = wanted[i] == '.' ? '/' : wanted[i];
    }
    near = str_nearest(wanted, names);
    return luaL_error(
        L, "module '%s' not found: neither %s nor policies/%s is part of this load%s%s%s", name,
        wanted, wanted + 4, near ? " (did you mean " : "", near ? near : "", near ? "?)" : "");
}

/* The chunk returned: stack is name, loaded table, …, value. */
static int loaded(lua_State *L, int status, lua_KContext ctx) {
    (void)status;
    (void)ctx;
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        lua_pushboolean(L, 1);
    }
    freeze_shallow(L);
    lua_pushvalue(L, 1);
    lua_pushvalue(L, -2);
    lua_rawset(L, 2);
    return 1;
}

static int load_module(lua_State *L, const char *name) {
    const struct snapshot_file *file = snapshot_module(box_of(L)->snapshot, name);
    char chunk[256];

    if (!file) {
        return not_found(L, name);
    }
    lua_pushvalue(L, 1);
    lua_pushlightuserdata(L, loader_mark(L));
    lua_rawset(L, 2);
    snprintf(chunk, sizeof chunk, "@%s", file->name);
    if (luaL_loadbufferx(L, file->text, file->len, chunk, "t") != LUA_OK) {
        return lua_error(L);
    }
    lua_pushvalue(L, 1);
    lua_callk(L, 1, 1, 0, loaded);
    return loaded(L, LUA_OK, 0);
}

int sandbox_require(lua_State *L) {
    const char *name = luaL_checkstring(L, 1);

    lua_settop(L, 1);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &LOADED_KEY);
    lua_pushvalue(L, 1);
    lua_rawget(L, 2);
    if (lua_islightuserdata(L, 3) && lua_touserdata(L, 3) == loader_mark(L)) {
        return luaL_error(L,
                          "module '%s' is being loaded already (it requires itself, directly or "
                          "through others), or it failed to load before",
                          name);
    }
    if (!lua_isnil(L, 3) && !lua_islightuserdata(L, 3)) {
        return 1;
    }
    lua_settop(L, 2);
    return load_module(L, name);
}

void require_open(lua_State *L) {
    const struct policy_module *module = box_of(L)->env->modules;

    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &LOADED_KEY);
    for (; module && module->name; module++) {
        lua_pushcfunction(L, module->open);
        lua_call(L, 0, 1);
        if (lua_istable(L, -1)) {
            sandbox_name_functions(L, module->name);
        }
        policy_freeze(L);
        lua_setfield(L, -2, module->name);
    }
    lua_pop(L, 1);
}
