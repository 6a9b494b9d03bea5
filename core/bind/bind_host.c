/* SPDX-License-Identifier: MIT */
/* The module `moongate.host`: functions of the embedding program. Their C code sees plain values,
 * never a Lua state, so it can neither raise through itself nor corrupt the stack. */
#include <stdlib.h>

#include "bind/bind_lua.h"

#define MAX_HOST_ARGS 16

static int host_gc(lua_State *L) {
    struct moongate_call *call = lua_touserdata(L, 1);
    for (int i = 0; i < call->n_results; i++) {
        if (call->results[i].type == VALUE_STR) {
            free((char *)(size_t)call->results[i].text);
        }
    }
    call->n_results = 0;
    return 0;
}

static struct moongate_call *push_call(lua_State *L) {
    struct moongate_call *call = lua_newuserdatauv(L, sizeof(*call), 0);
    memset(call, 0, sizeof(*call));
    bind_set_gc(L, "moongate.host_call", host_gc);
    return call;
}

static struct host_value read_arg(lua_State *L, int arg) {
    struct host_value v = {.type = VALUE_NIL};
    switch (lua_type(L, arg)) {
    case LUA_TBOOLEAN:
        v.type = VALUE_BOOL;
        v.flag = lua_toboolean(L, arg);
        break;
    case LUA_TNUMBER:
        v.type = VALUE_NUM;
        v.number = lua_tonumber(L, arg);
        break;
    case LUA_TSTRING:
        v.type = VALUE_STR;
        v.text = lua_tolstring(L, arg, &v.len);
        break;
    case LUA_TNIL:
        break;
    default:
        luaL_argerror(L, arg, "a string, number, boolean or nil is expected");
    }
    return v;
}

static void push_result(lua_State *L, const struct host_value *v) {
    switch (v->type) {
    case VALUE_BOOL:
        lua_pushboolean(L, v->flag);
        break;
    case VALUE_NUM:
        lua_pushnumber(L, v->number);
        break;
    case VALUE_STR:
        lua_pushlstring(L, v->text, v->len);
        break;
    default:
        lua_pushnil(L);
    }
}

/* Upvalue 1: the struct host_function. */
static int call_host(lua_State *L) {
    const struct host_function *f = lua_touserdata(L, lua_upvalueindex(1));
    struct host_value args[MAX_HOST_ARGS];
    int n = lua_gettop(L);
    luaL_argcheck(L, n <= MAX_HOST_ARGS, MAX_HOST_ARGS, "too many arguments");
    for (int i = 0; i < n; i++) {
        args[i] = read_arg(L, i + 1);
    }
    luaL_checkstack(L, HOST_RESULTS + 4, f->name);
    struct moongate_call *call = push_call(L);
    call->args = args;
    call->n_args = n;
    if (f->fn(call, f->ctx) != 0) {
        return luaL_error(L, "%s: %s", f->name, call->error[0] ? call->error : "failed");
    }
    call->args = NULL;
    for (int i = 0; i < call->n_results; i++) {
        push_result(L, &call->results[i]);
    }
    return call->n_results;
}

int bind_open_host(lua_State *L) {
    struct bind_host *host = policy_host(L);
    lua_newtable(L);
    for (size_t i = 0; i < host->n_functions; i++) {
        lua_pushlightuserdata(L, &host->functions[i]);
        lua_pushcclosure(L, call_host, 1);
        lua_setfield(L, -2, host->functions[i].name);
    }
    policy_freeze(L);
    return 1;
}

const struct policy_module bind_modules[] = {
    {"moongate", bind_open_moongate}, {"moongate.host", bind_open_host}, {NULL, NULL}};
