/* SPDX-License-Identifier: MIT */
/* The module `moongate.host`: functions of the embedding program. Their C code sees plain values,
 * never a Lua state, so it can neither raise through itself nor corrupt the stack. */
#include <stdlib.h>

#include "bind/bind_lua.h"
#include "policy/body.h"

#define MAX_HOST_ARGS 16

static void free_results(struct moongate_call *call) {
    for (int i = 0; i < call->n_results; i++) {
        if (call->results[i].type == VALUE_STR) {
            free((char *)(size_t)call->results[i].text);
        }
    }
    call->n_results = 0;
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

/* (struct moongate_call) -> its results */
static int push_results(lua_State *L) {
    const struct moongate_call *call = lua_touserdata(L, 1);
    luaL_checkstack(L, HOST_RESULTS, "results");
    for (int i = 0; i < call->n_results; i++) {
        push_result(L, &call->results[i]);
    }
    return call->n_results;
}

/* Upvalue 1: the struct host_function. Nothing is raised while the results are alive. */
static int call_host(lua_State *L) {
    const struct host_function *f = lua_touserdata(L, lua_upvalueindex(1));
    struct host_value args[MAX_HOST_ARGS];
    struct moongate_call call = {.args = args, .n_args = lua_gettop(L)};
    luaL_argcheck(L, call.n_args <= MAX_HOST_ARGS, MAX_HOST_ARGS, "too many arguments");
    for (int i = 0; i < call.n_args; i++) {
        args[i] = read_arg(L, i + 1);
    }
    luaL_checkstack(L, HOST_RESULTS + 4, f->name);
    if (f->fn(&call, f->ctx) != 0) {
        free_results(&call);
        return luaL_error(L, "%s: %s", f->name, call.error[0] ? call.error : "failed");
    }
    int before = lua_gettop(L);
    lua_pushcfunction(L, push_results);
    lua_pushlightuserdata(L, &call);
    int status = lua_pcall(L, 1, LUA_MULTRET, 0);
    free_results(&call);
    return status == LUA_OK ? lua_gettop(L) - before : lua_error(L);
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

const struct policy_module bind_modules[] = {{"moongate", bind_open_moongate},
                                             {"moongate.host", bind_open_host},
                                             {"moongate.body", body_open},
                                             {NULL, NULL}};
