/* SPDX-License-Identifier: MIT */
/*
 * Puts the sandbox together. Everything is an allow-list: a name that a later Lua adds is not there
 * until somebody adds it here. Left out on purpose:
 * - io, os, package, debug, coroutine: the outside world, and ways round the hook;
 * - load, loadfile, dofile, loadstring: code that is not in the snapshot; collectgarbage, warn;
 * rawset (it would write into read-only faces);
 * - string.dump (bytecode), string.pack/unpack/packsize (padding loops in C that no policy needs);
 * - math.randomseed (the generator belongs to everybody in the state).
 */
#include "policy/sandbox.h"

#include <lualib.h>
#include <string.h>

#include "policy/box.h"
#include "policy/policy_lua.h"

static const char *const BASE_NAMES[] = {"assert", "error",  "getmetatable", "ipairs",   "next",
                                         "pairs",  "pcall",  "print",        "rawequal", "rawget",
                                         "rawlen", "select", "setmetatable", "tonumber", "tostring",
                                         "type",   "xpcall", "_VERSION",     NULL};
static const char *const STRING_NAMES[] = {"byte",    "char", "find",  "format", "gmatch",
                                           "gsub",    "len",  "lower", "match",  "rep",
                                           "reverse", "sub",  "upper", NULL};
static const char *const TABLE_NAMES[] = {"concat", "insert", "move",   "pack",
                                          "remove", "sort",   "unpack", NULL};
static const char *const MATH_NAMES[] = {
    "abs",  "acos",   "asin", "atan", "ceil",       "cos",       "deg",        "exp",  "floor",
    "fmod", "huge",   "log",  "max",  "maxinteger", "min",       "mininteger", "modf", "pi",
    "rad",  "random", "sin",  "sqrt", "tan",        "tointeger", "type",       "ult",  NULL};
static const char *const UTF8_NAMES[] = {"char", "charpattern", "codepoint", "codes",
                                         "len",  "offset",      NULL};

/* Stock functions that walk all of a text to take it for a number, or to quote it. */
static const char *const BASE_READERS[] = {"select", NULL};
static const char *const STRING_READERS[] = {"char",  "find", "format", "gmatch", "gsub",
                                             "match", "rep",  "sub",    NULL};
static const char *const TABLE_READERS[] = {"concat", "insert", "move", "remove", "unpack", NULL};
static const char *const UTF8_READERS[] = {"char", NULL};
static const char *const STRING_ARITHMETIC[] = {"__add", "__sub",  "__mul", "__mod", "__pow",
                                                "__div", "__idiv", "__unm", NULL};
enum { SHORT_TEXTS = 1024 }; /* bytes that cost no more to walk than the call itself */

/* Replaces the table on top by a new one that has only these names of it. */
static void keep(lua_State *L, const char *const *names) {
    lua_newtable(L);
    for (; *names; names++) {
        lua_getfield(L, -2, *names);
        lua_setfield(L, -2, *names);
    }
    lua_remove(L, -2);
}

/* Removes every name that is not listed, in place: the string metatable and closures refer to this
 * very table. */
static void prune(lua_State *L, const char *const *names) {
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        const char *name = lua_tostring(L, -2);
        const char *const *n = names;

        lua_pop(L, 1);
        while (*n && strcmp(*n, name) != 0) {
            n++;
        }
        if (!*n) {
            lua_pushvalue(L, -1);
            lua_pushnil(L);
            lua_rawset(L, -4);
        }
    }
}

void sandbox_charge_texts(lua_State *L) {
    size_t length = 0;
    for (int i = lua_gettop(L); i > 0; i--) {
        length += lua_type(L, i) == LUA_TSTRING ? (size_t)lua_rawlen(L, i) : 0;
    }
    if (length > SHORT_TEXTS) {
        policy_charge(L, length / 32);
    }
}

/* Numbers may be given as texts, which are then walked: all arguments count. */
static int charge_by_length(lua_State *L) {
    sandbox_charge_texts(L);
    return lua_tocfunction(L, lua_upvalueindex(1))(L);
}

void sandbox_charge_by_length(lua_State *L, const char *name) {
    lua_getfield(L, -1, name);
    lua_pushcclosure(L, charge_by_length, 1);
    lua_setfield(L, -2, name);
}

/* For stock functions without upvalues, which are the wrapper's own place; others stay. */
static void charge_by_arguments(lua_State *L, const char *const *names) {
    for (; *names; names++) {
        bool wrapped = lua_getfield(L, -1, *names) == LUA_TFUNCTION && lua_iscfunction(L, -1);
        if (wrapped && lua_getupvalue(L, -1, 1)) {
            lua_pop(L, 1);
            wrapped = false;
        }
        if (wrapped) {
            lua_pushcclosure(L, charge_by_length, 1);
            lua_setfield(L, -2, *names);
        } else {
            lua_pop(L, 1);
        }
    }
}

static void open_library(lua_State *L, lua_CFunction open, const char *name) {
    lua_pushcfunction(L, open);
    lua_pushstring(L, name);
    lua_call(L, 1, 1);
}

/* luaL_argerror looks functions up there. */
void sandbox_name_functions(lua_State *L, const char *name) {
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    lua_pushvalue(L, -2);
    lua_setfield(L, -2, name);
    lua_pop(L, 1);
}

/* Adds the finished library on top to the globals below it, read-only. */
static void add_library(lua_State *L, const char *name) {
    sandbox_name_functions(L, name);
    freeze_shallow(L);
    lua_setfield(L, -2, name);
}

static void add_libraries(lua_State *L) {
    open_library(L, luaopen_string, "string");
    safe_string(L);
    prune(L, STRING_NAMES);
    charge_by_arguments(L, STRING_READERS);
    lua_pushliteral(L, "");
    lua_getmetatable(L, -1);
    charge_by_arguments(L, STRING_ARITHMETIC);
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 2);
    add_library(L, "string");
    open_library(L, luaopen_table, "table");
    safe_table(L);
    prune(L, TABLE_NAMES);
    charge_by_arguments(L, TABLE_READERS);
    add_library(L, "table");
    open_library(L, luaopen_math, "math");
    prune(L, MATH_NAMES);
    charge_by_arguments(L, MATH_NAMES);
    add_library(L, "math");
    open_library(L, luaopen_utf8, "utf8");
    safe_utf8(L);
    prune(L, UTF8_NAMES);
    charge_by_arguments(L, UTF8_READERS);
    add_library(L, "utf8");
}

static int undeclared(lua_State *L) {
    if (lua_type(L, 2) == LUA_TSTRING) {
        return luaL_error(
            L, "global '%s' does not exist (declare it with 'local', or check its spelling)",
            lua_tostring(L, 2));
    }
    return luaL_error(L, "a global of that kind does not exist");
}

static int no_assignment(lua_State *L) {
    const char *name = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "?";

    return luaL_error(L, "assignment to global '%s' (declare it with 'local')", name);
}

/* The configuration's own functions are put there from C; a script may add nothing. */
static int assignment_from_c(lua_State *L) {
    lua_Debug ar;

    if (lua_getstack(L, 1, &ar) && lua_getinfo(L, "S", &ar) && *ar.what != 'C') {
        return no_assignment(L);
    }
    lua_settop(L, 3);
    lua_rawset(L, 1);
    return 0;
}

/* Metatable of the globals on top of the stack. */
static void guard_globals(lua_State *L, lua_CFunction on_assignment) {
    lua_createtable(L, 0, 3);
    lua_pushcfunction(L, undeclared);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, on_assignment);
    lua_setfield(L, -2, "__newindex");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_setmetatable(L, -2);
}

/* Replaces the globals on top by the face that policies get: nothing in it can be set, not even
 * what exists. */
static void face_of_globals(lua_State *L) {
    lua_newtable(L);
    lua_pushliteral(L, "_G");
    lua_pushvalue(L, -2);
    lua_rawset(L, -4);
    lua_createtable(L, 0, 3);
    lua_pushvalue(L, -3);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, no_assignment);
    lua_setfield(L, -2, "__newindex");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_setmetatable(L, -2);
    lua_remove(L, -2);
}

void sandbox_open(lua_State *L) {
    bool policies = box_of(L)->snapshot != NULL;

    open_library(L, luaopen_base, "_G");
    safe_base(L);
    keep(L, BASE_NAMES);
    charge_by_arguments(L, BASE_READERS);
    sandbox_name_functions(L, "_G");
    add_libraries(L);
    prelude_open(L);
    if (policies) {
        require_open(L);
        lua_pushcfunction(L, sandbox_require);
        lua_setfield(L, -2, "require");
    }
    guard_globals(L, policies ? no_assignment : assignment_from_c);
    if (policies) {
        face_of_globals(L);
    }
    /* Chunks get the globals of the registry as their _ENV. */
    lua_rawseti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
    lua_settop(L, 0);
}
