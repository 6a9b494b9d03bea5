/* SPDX-License-Identifier: MIT */
/*
 * What the tests of the sandbox share: Lua text run in a fresh sandbox or in stock Lua, and two
 * policies (the one that is tested and a good neighbour) staged in one lane.
 */
#ifndef TESTS_SANDBOX_FIXTURE_H
#define TESTS_SANDBOX_FIXTURE_H

#include <lualib.h>

#include "policy_fixture.h"

static const char SANDBOX_GATEWAY[] =
    CONFIG_HEAD "{ name = 't', path = '/t', policy = 't' }, { name = 'good', path = '/good', "
                "policy = 'good' },\n" CONFIG_TAIL;

/* Writes `source` as policies/t.lua and the neighbour policies/good.lua, which answers "good100".
 */
static inline void sandbox_write(struct fixture *f, const char *source) {
    fixture_init(f);
    fixture_write(f, "gateway.lua", SANDBOX_GATEWAY);
    fixture_write(f, "lua/moongate/schema.lua", TINY_SCHEMA);
    fixture_write(f, "policies/t.lua", source);
    fixture_write(f, "policies/good.lua",
                  "return { handle = function()\n"
                  "  local t = {} for i = 1, 100 do t[i] = (tostring(i):gsub('%d', '%0')) end\n"
                  "  table.sort(t) return 'good' .. #t end }\n");
}

/* Runs Lua text in a fresh sandbox and returns its one text result (allocated). */
static inline char *in_sandbox(const char *source) {
    struct fixture f;
    struct box *box;
    struct err err = {""};
    const char *none[] = {NULL};
    char path[128], *out;

    fixture_init(&f);
    fixture_write(&f, "gateway.lua", SANDBOX_GATEWAY);
    fixture_write(&f, "lua/a/b.lua", "return { x = 1, inner = { y = 2 } }\n");
    fixture_write(&f, "lua/circle.lua", "return require 'circle'\n");
    fixture_write(&f, "lua/callable.lua",
                  "return setmetatable({}, { __call = function() return 'called' end })\n");
    snprintf(path, sizeof path, "%s/gateway.lua", f.dir);
    f.snapshot = snapshot_read(path, none, NULL);
    f.env.load_cpu = 300 * USEC_PER_SEC;
    box = box_new(&f.env, f.snapshot, NULL, &err);
    assert_non_null(box);
    if (luaL_loadbufferx(box->L, source, strlen(source), "@test.lua", "t") != LUA_OK) {
        fail_msg("%s", lua_tostring(box->L, -1));
    }
    if (box_call(box, 0, 1, &err) != BOX_OK) {
        out = strdup(err.text);
    } else {
        out = strdup(lua_isstring(box->L, -1) ? lua_tostring(box->L, -1) : "no text");
    }
    lua_settop(box->L, 0);
    box_free(box);
    fixture_release(&f);
    return out;
}

static inline char *in_stock(const char *source) {
    lua_State *L = luaL_newstate();
    char *out;

    luaL_openlibs(L);
    if (luaL_loadbufferx(L, source, strlen(source), "@test.lua", "t") != LUA_OK ||
        lua_pcall(L, 0, 1, 0) != LUA_OK) {
        fail_msg("stock Lua: %s", lua_tostring(L, -1));
    }
    out = strdup(lua_tostring(L, -1));
    lua_close(L);
    return out;
}

static inline void assert_sandbox(const char *source, const char *expected) {
    char *got = in_sandbox(source);

    if (!strstr(got, expected)) {
        fail_msg("%s\n  gave     %s\n  expected %s", source, got, expected);
    }
    free(got);
}

#endif
