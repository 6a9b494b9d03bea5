/* SPDX-License-Identifier: MIT */
/*
 * The base functions that are not stock: those that must see through read-only tables, must not
 * open a way round the hook, or must keep finalizers and weak tables away from scripts.
 */
#include <string.h>

#include "base/limits.h"
#include "policy/policy_lua.h"
#include "policy/sandbox.h"

static int safe_rawget(lua_State *L) {
    luaL_checkany(L, 2);
    lua_settop(L, 2);
    frozen_see_through(L, 1);
    lua_rawget(L, 1);
    return 1;
}

static int safe_rawlen(lua_State *L) {
    luaL_argexpected(L, lua_istable(L, 1) || lua_type(L, 1) == LUA_TSTRING, 1, "table or string");
    lua_settop(L, 1);
    if (lua_istable(L, 1)) {
        frozen_see_through(L, 1);
    }
    lua_pushinteger(L, (lua_Integer)lua_rawlen(L, 1));
    return 1;
}

static void refuse_field(lua_State *L, const char *name) {
    lua_pushstring(L, name);
    if (lua_rawget(L, 2) != LUA_TNIL) {
        luaL_error(L, "metatable field '%s' is not available in policies", name);
    }
    lua_pop(L, 1);
}

static int safe_setmetatable(lua_State *L) {
    int type = lua_type(L, 2);

    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_argexpected(L, type == LUA_TNIL || type == LUA_TTABLE, 2, "nil or table");
    frozen_check_writable(L, 1);
    if (luaL_getmetafield(L, 1, "__metatable") != LUA_TNIL) {
        return luaL_error(L, "cannot change a protected metatable");
    }
    if (type == LUA_TTABLE) {
        if (frozen_push(L, 2)) {
            return luaL_error(
                L, "a read-only table cannot serve as a metatable (make a copy of it first)");
        }
        refuse_field(L, "__gc");
        refuse_field(L, "__mode");
    }
    lua_settop(L, 2);
    lua_setmetatable(L, 1);
    return 1;
}

static int tostring_done(lua_State *L, int status, lua_KContext ctx) {
    (void)status;
    (void)ctx;
    if (!lua_isstring(L, -1)) {
        return luaL_error(L, "'__tostring' must return a string");
    }
    lua_tolstring(L, -1, NULL); /* a number becomes a text, as in stock Lua */
    return 1;
}

/* Stock tostring, but a __tostring written in Lua can be stopped. */
static int safe_tostring(lua_State *L) {
    luaL_checkany(L, 1);
    if (luaL_getmetafield(L, 1, "__tostring") == LUA_TNIL) {
        luaL_tolstring(L, 1, NULL);
        return 1;
    }
    lua_pushvalue(L, 1);
    lua_callk(L, 1, 1, 0, tostring_done);
    return tostring_done(L, LUA_OK, 0);
}

static int handler_done(lua_State *L, int status, lua_KContext ctx) {
    (void)status;
    (void)ctx;
    lua_pushboolean(L, 0);
    lua_insert(L, -2);
    return 2;
}

/* Stack: f, handler, true, results … or the error on top. The handler runs after unwinding: stock
 * Lua runs it where hooks are off. */
static int xpcall_done(lua_State *L, int status, lua_KContext ctx) {
    (void)ctx;
    if (status == LUA_OK || status == LUA_YIELD) {
        return lua_gettop(L) - 2;
    }
    lua_pushvalue(L, 2);
    lua_insert(L, -2);
    status = lua_pcallk(L, 1, 1, 0, 0, handler_done);
    return handler_done(L, status, 0);
}

static int safe_xpcall(lua_State *L) {
    int n = lua_gettop(L);

    luaL_checktype(L, 2, LUA_TFUNCTION);
    lua_pushboolean(L, 1);
    lua_pushvalue(L, 1);
    lua_rotate(L, 3, 2);
    return xpcall_done(L, lua_pcallk(L, n - 2, LUA_MULTRET, 0, 0, xpcall_done), 0);
}

/* To the log, with the place it was called from. */
static int safe_print(lua_State *L) {
    const struct log *log = policy_log(L);
    int i, n = lua_gettop(L);
    luaL_Buffer b;

    if (!log || !log_on(log, LOG_LEVEL_INFO)) {
        return 0;
    }
    luaL_where(L, 1);
    luaL_buffinit(L, &b);
    for (i = 1; i <= n; i++) {
        size_t len;
        const char *text = luaL_tolstring(L, i, &len);

        lua_pushlstring(L, text, len < MAX_MESSAGE ? len : MAX_MESSAGE);
        lua_remove(L, -2);
        luaL_addvalue(&b);
        if (i < n) {
            luaL_addchar(&b, ' ');
        }
    }
    luaL_pushresult(&b);
    log_info(log, "%s%s", lua_tostring(L, n + 1), lua_tostring(L, -1));
    return 0;
}

void safe_base(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"next", frozen_next},
        {"print", safe_print},
        {"rawget", safe_rawget},
        {"rawlen", safe_rawlen},
        {"setmetatable", safe_setmetatable},
        {"tostring", safe_tostring},
        {"xpcall", safe_xpcall},
        {NULL, NULL},
    };

    luaL_setfuncs(L, functions, 0);
    sandbox_charge_by_length(L, "tonumber");
}
