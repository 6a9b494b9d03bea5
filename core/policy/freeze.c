/* SPDX-License-Identifier: MIT */
/*
 * Read-only tables. A face is an empty table whose metatable reads from the table behind it and
 * refuses assignment; `next`, the table library and rawget/rawlen see through it, so that it serves
 * like the table itself. The metatable holds the table under a key that no script can name.
 */
#include "base/limits.h"
#include "policy/policy_lua.h"
#include "policy/sandbox.h"

static const char FACE_KEY; /* its address is the key */

bool frozen_push(lua_State *L, int index) {
    if (!lua_istable(L, index) || !lua_getmetatable(L, index)) {
        return false;
    }
    if (lua_rawgetp(L, -1, &FACE_KEY) != LUA_TTABLE) {
        lua_pop(L, 2);
        return false;
    }
    lua_remove(L, -2);
    return true;
}

void frozen_see_through(lua_State *L, int index) {
    luaL_checktype(L, index, LUA_TTABLE);
    if (frozen_push(L, index)) {
        lua_replace(L, index);
    }
}

void frozen_check_writable(lua_State *L, int index) {
    luaL_checktype(L, index, LUA_TTABLE);
    if (frozen_push(L, index)) {
        luaL_error(L, "attempt to change a read-only table (make a copy of it first)");
    }
}

static int face_newindex(lua_State *L) {
    if (lua_type(L, 2) == LUA_TSTRING) {
        return luaL_error(L, "attempt to change a read-only table (field '%s')",
                          lua_tostring(L, 2));
    }
    return luaL_error(L, "attempt to change a read-only table");
}

static int face_len(lua_State *L) {
    lua_settop(L, 1);
    frozen_see_through(L, 1);
    lua_pushinteger(L, (lua_Integer)lua_rawlen(L, 1));
    return 1;
}

static int face_pairs(lua_State *L) {
    lua_pushcfunction(L, frozen_next);
    lua_pushvalue(L, 1);
    lua_pushnil(L);
    return 3;
}

int frozen_next(lua_State *L) {
    lua_settop(L, 2);
    frozen_see_through(L, 1);
    if (lua_next(L, 1)) {
        return 2;
    }
    lua_pushnil(L);
    return 1;
}

static void set_function(lua_State *L, const char *name, lua_CFunction fn) {
    lua_pushcfunction(L, fn);
    lua_setfield(L, -2, name);
}

/* Replaces the table on top by a face of it. */
static void put_face(lua_State *L) {
    int real = lua_gettop(L);

    lua_createtable(L, 0, 0);
    lua_createtable(L, 0, 8);
    lua_pushvalue(L, real);
    lua_rawsetp(L, -2, &FACE_KEY);
    lua_pushvalue(L, real);
    lua_setfield(L, -2, "__index");
    set_function(L, "__newindex", face_newindex);
    set_function(L, "__len", face_len);
    set_function(L, "__pairs", face_pairs);
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    if (luaL_getmetafield(L, real, "__call") != LUA_TNIL) {
        lua_setfield(L, -2, "__call");
    }
    lua_setmetatable(L, -2);
    lua_replace(L, real);
}

static bool is_face(lua_State *L, int index) {
    if (!frozen_push(L, index)) {
        return false;
    }
    lua_pop(L, 1);
    return true;
}

void freeze_shallow(lua_State *L) {
    if (lua_istable(L, -1) && !is_face(L, -1)) {
        luaL_checkstack(L, 8, "freezing a table");
        put_face(L);
    }
}

static void freeze_deep(lua_State *L, int depth) {
    int table = lua_gettop(L);

    if (!lua_istable(L, table) || is_face(L, table)) {
        return;
    }
    if (depth > MAX_VALUE_DEPTH) {
        luaL_error(L, "table nested deeper than %d cannot be made read-only", MAX_VALUE_DEPTH);
    }
    luaL_checkstack(L, 8, "freezing a table");
    lua_pushnil(L);
    while (lua_next(L, table)) {
        if (lua_istable(L, -1)) {
            freeze_deep(L, depth + 1);
            lua_pushvalue(L, -2);
            lua_insert(L, -2);
            lua_rawset(L, table); /* an existing key: the walk stays valid */
        } else {
            lua_pop(L, 1);
        }
    }
    put_face(L);
}

void policy_freeze(lua_State *L) {
    freeze_deep(L, 0);
}
