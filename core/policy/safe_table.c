/* SPDX-License-Identifier: MIT */
/*
 * The table library, bounded: raw access and raw length only (a __len or __index of a script cannot
 * make a loop in C), at most LUA_RANGE_MAX elements in one call, each charged. Reading functions
 * see through read-only tables, writing ones refuse them.
 */
#include <stdint.h>

#include "base/limits.h"
#include "policy/policy_lua.h"
#include "policy/sandbox.h"

/* Raises when [first, last] has too many elements; returns how many it has, and charges them. */
static lua_Unsigned range(lua_State *L, lua_Integer first, lua_Integer last, const char *what) {
    lua_Unsigned n;

    if (first > last) {
        return 0;
    }
    n = (lua_Unsigned)last - (lua_Unsigned)first;
    if (n >= LUA_RANGE_MAX) {
        luaL_error(L, "too many elements to %s (at most %d at once)", what, LUA_RANGE_MAX);
    }
    policy_charge(L, (size_t)n + 1);
    return n + 1;
}

static lua_Integer raw_length(lua_State *L, int index) {
    return (lua_Integer)lua_rawlen(L, index);
}

static int table_insert(lua_State *L) {
    lua_Integer end, pos, i;
    int n = lua_gettop(L);

    frozen_check_writable(L, 1);
    end = raw_length(L, 1) + 1;
    if (n == 2) {
        lua_rawseti(L, 1, end);
        return 0;
    }
    if (n != 3) {
        return luaL_error(L, "wrong number of arguments to 'insert'");
    }
    pos = luaL_checkinteger(L, 2);
    luaL_argcheck(L, (lua_Unsigned)pos - 1u < (lua_Unsigned)end, 2, "position out of bounds");
    range(L, pos, end, "insert before");
    for (i = end; i > pos; i--) {
        lua_rawgeti(L, 1, i - 1);
        lua_rawseti(L, 1, i);
    }
    lua_rawseti(L, 1, pos);
    return 0;
}

static int table_remove(lua_State *L) {
    lua_Integer size, pos;

    frozen_check_writable(L, 1);
    size = raw_length(L, 1);
    pos = luaL_optinteger(L, 2, size);
    if (pos != size) {
        luaL_argcheck(L, (lua_Unsigned)pos - 1u <= (lua_Unsigned)size, 2, "position out of bounds");
    }
    range(L, pos, size, "remove before");
    lua_rawgeti(L, 1, pos);
    for (; pos < size; pos++) {
        lua_rawgeti(L, 1, pos + 1);
        lua_rawseti(L, 1, pos);
    }
    lua_pushnil(L);
    lua_rawseti(L, 1, pos);
    return 1;
}

static int table_move(lua_State *L) {
    lua_Integer f = luaL_checkinteger(L, 2), e = luaL_checkinteger(L, 3),
                t = luaL_checkinteger(L, 4);
    int to = lua_isnoneornil(L, 5) ? 1 : 5;
    lua_Integer i, n;

    luaL_checktype(L, 1, LUA_TTABLE);
    frozen_check_writable(L, to);
    lua_settop(L, 5);
    n = (lua_Integer)range(L, f, e, "move");
    luaL_argcheck(L, n == 0 || t <= LUA_MAXINTEGER - n + 1, 4, "destination wrap around");
    lua_pushvalue(L, 1);
    frozen_see_through(L, 6);
    if (t > e || t <= f || !lua_rawequal(L, 6, to)) {
        for (i = 0; i < n; i++) {
            lua_rawgeti(L, 6, f + i);
            lua_rawseti(L, to, t + i);
        }
    } else {
        for (i = n - 1; i >= 0; i--) {
            lua_rawgeti(L, 6, f + i);
            lua_rawseti(L, to, t + i);
        }
    }
    lua_pushvalue(L, to);
    return 1;
}

static void add_field(lua_State *L, luaL_Buffer *b, int list, lua_Integer i) {
    lua_rawgeti(L, list, i);
    if (!lua_isstring(L, -1)) {
        luaL_error(L, "invalid value (%s) at index %I in table for 'concat'", luaL_typename(L, -1),
                   (LUAI_UACINT)i);
    }
    if (luaL_bufflen(b) + lua_rawlen(L, -1) > LUA_REP_MAX) {
        luaL_error(L, "resulting string longer than %d bytes", (int)LUA_REP_MAX);
    }
    luaL_addvalue(b);
}

static int concat_range(lua_State *L, lua_Integer i, lua_Integer last, struct str sep) {
    luaL_Buffer b;

    luaL_buffinit(L, &b);
    for (; i < last; i++) {
        add_field(L, &b, 1, i);
        luaL_addlstring(&b, sep.p, sep.n);
        if (luaL_bufflen(&b) > LUA_REP_MAX) {
            return luaL_error(L, "resulting string longer than %d bytes", (int)LUA_REP_MAX);
        }
    }
    if (i == last) {
        add_field(L, &b, 1, i);
    }
    luaL_pushresult(&b);
    return 1;
}

static int table_concat(lua_State *L) {
    lua_Integer first, last;
    struct str sep;

    frozen_see_through(L, 1);
    sep.p = luaL_optlstring(L, 2, "", &sep.n);
    first = luaL_optinteger(L, 3, 1);
    last = luaL_optinteger(L, 4, raw_length(L, 1));
    if (sep.n > LUA_REP_MAX) {
        return luaL_error(L, "separator longer than %d bytes", (int)LUA_REP_MAX);
    }
    range(L, first, last, "concat");
    return concat_range(L, first, last, sep);
}

int table_join(lua_State *L) {
    return concat_range(L, 1, luaL_checkinteger(L, 2), str_make("", 0));
}

static int table_unpack(lua_State *L) {
    lua_Integer first, last, i;
    lua_Unsigned n;

    frozen_see_through(L, 1);
    first = luaL_optinteger(L, 2, 1);
    last = luaL_optinteger(L, 3, raw_length(L, 1));
    n = range(L, first, last, "unpack");
    if (!lua_checkstack(L, (int)n)) {
        return luaL_error(L, "too many results to unpack");
    }
    for (i = 0; i < (lua_Integer)n; i++) {
        lua_rawgeti(L, 1, first + i);
    }
    return (int)n;
}

static int sort_done(lua_State *L, int status, lua_KContext ctx) {
    (void)L;
    (void)status;
    (void)ctx;
    return 0;
}

/* Without a comparator, what `<` will refuse is told here, so that the message names the script's
 * line and not the prelude's. */
static void check_comparable(lua_State *L, lua_Integer n) {
    int first = n > 1 ? lua_rawgeti(L, 1, 1) : LUA_TNONE;
    lua_Integer i;

    for (i = 2; i <= n; i++) {
        int type = lua_rawgeti(L, 1, i);

        if (type != first && (type < LUA_TTABLE || first < LUA_TTABLE)) {
            luaL_error(L, "attempt to compare %s with %s", lua_typename(L, type),
                       lua_typename(L, first));
        }
        if (type != LUA_TNUMBER && type < LUA_TSTRING) {
            luaL_error(L, "attempt to compare two %s values", lua_typename(L, type));
        }
        lua_pop(L, 1);
    }
}

static int table_sort(lua_State *L) {
    lua_Integer n;

    lua_settop(L, 2);
    frozen_check_writable(L, 1);
    n = raw_length(L, 1);
    range(L, 1, n, "sort");
    if (!lua_isnoneornil(L, 2)) {
        luaL_checktype(L, 2, LUA_TFUNCTION);
    } else {
        check_comparable(L, n);
    }
    lua_settop(L, 2);
    prelude_push(L, PRELUDE_SORT);
    lua_insert(L, 1);
    lua_pushinteger(L, n);
    lua_callk(L, 3, 0, 0, sort_done);
    return 0;
}

void safe_table(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"concat", table_concat},
        {"insert", table_insert},
        {"move", table_move},
        {"remove", table_remove},
        {"sort", table_sort},
        {"unpack", table_unpack},
        {NULL, NULL},
    };

    luaL_setfuncs(L, functions, 0);
}
