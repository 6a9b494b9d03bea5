/* SPDX-License-Identifier: MIT */
/* world:play: what a provider does, read from Lua step by step. */
#include "bind/bind_lua.h"
#include "sim/sim_lua.h"

#define HEADERS_CLASS "moongate.step_headers"

static int headers_gc(lua_State *L) {
    headers_release(lua_touserdata(L, 1));
    return 0;
}

/* Headers that Lua frees unless they are taken (and initialised anew). Pushes them. */
static struct headers *push_headers(lua_State *L) {
    struct headers *h = lua_newuserdatauv(L, sizeof(*h), 0);
    headers_init(h, MAX_HEADERS * 2, MAX_ANSWER_HEAD * 2); /* more than a gateway takes */
    bind_set_gc(L, HEADERS_CLASS, headers_gc);
    return h;
}

int sim_field(lua_State *L, int table, const char *name, int type) {
    int found = lua_getfield(L, table, name);
    if (found != LUA_TNIL && found != type) {
        luaL_error(L, "%s: a %s is expected, got a %s", name, lua_typename(L, type),
                   lua_typename(L, found));
    }
    return found;
}

static void add_header(lua_State *L, struct headers *h, const char *name) {
    struct str value;
    value.p = lua_tolstring(L, -1, &value.n);
    if (!value.p || headers_add(h, str_of(name), value) != 0) {
        luaL_error(L, "headers: \"%s\" is no text, or they are too many", name);
    }
}

/* The table on top: { name = value, or a list of values }. By name: every run is the same. */
static void read_headers(lua_State *L, struct headers *h) {
    const char *names[MAX_HEADERS * 2];
    int table = lua_gettop(L);
    size_t n = bind_sorted_names(L, "headers", names, MAX_HEADERS * 2);
    for (size_t i = 0; i < n; i++) {
        lua_pushstring(L, names[i]);
        if (lua_rawget(L, table) != LUA_TTABLE) {
            add_header(L, h, names[i]);
            lua_pop(L, 1);
            continue;
        }
        lua_Integer values = (lua_Integer)lua_rawlen(L, -1);
        for (lua_Integer v = 1; v <= values; v++) {
            lua_rawgeti(L, -1, v);
            add_header(L, h, names[i]);
            lua_pop(L, 1);
        }
        lua_pop(L, 1);
    }
}

static void read_head(lua_State *L, int table, struct sim_step *step) {
    if (sim_field(L, table, "status", LUA_TNUMBER) == LUA_TNIL) {
        luaL_error(L, "a step of kind \"head\" has a status");
    }
    step->status = (int)lua_tointeger(L, -1);
    struct headers *h = push_headers(L);
    if (lua_getfield(L, table, "headers") != LUA_TNIL) {
        bind_push_table(L, -1, "headers");
        read_headers(L, h);
    }
    step->headers = *h; /* moved: nothing raises between here and sim_transport_play */
    headers_init(h, 0, 0);
}

static void read_fail(lua_State *L, int table, struct sim_step *step) {
    static const char *const sents[] = {"nothing", "partial", "all", NULL};
    sim_field(L, table, "outcome", LUA_TSTRING);
    const char *name = luaL_optstring(L, -1, "stream_broken");
    int outcome = outcome_parse(str_of(name));
    if (outcome < 0 || outcome == OUTCOME_OK) {
        luaL_error(L, "\"%s\" is no outcome of a failed transfer", name);
    }
    step->outcome = (enum outcome)outcome;
    sim_field(L, table, "sent", LUA_TSTRING);
    step->sent = (enum transfer_sent)luaL_checkoption(L, lua_gettop(L), "all", sents);
}

/* The step on top of the stack. What it borrows stays there. */
static void read_step(lua_State *L, struct sim_step *step) {
    static const char *const kinds[] = {"connect", "head", "data", "end", "fail", NULL};
    bind_push_table(L, -1, "a step");
    int table = lua_gettop(L);
    memset(step, 0, sizeof(*step));
    lua_getfield(L, table, "at");
    step->at = lua_isnil(L, -1) ? 0 : bind_check_seconds(L, -1, "at");
    lua_getfield(L, table, "kind");
    step->kind = (enum sim_step_kind)luaL_checkoption(L, lua_gettop(L), NULL, kinds);
    if (step->kind == STEP_CONNECT) {
        lua_getfield(L, table, "reused");
        step->reused = lua_toboolean(L, -1);
    } else if (step->kind == STEP_DATA) {
        sim_field(L, table, "data", LUA_TSTRING);
        step->data.p = luaL_optlstring(L, -1, "", &step->data.n);
    } else if (step->kind == STEP_FAIL) {
        read_fail(L, table, step);
    } else if (step->kind == STEP_HEAD) {
        read_head(L, table, step);
    }
}

/* world:play(transfer, steps) -> true, or false when the transfer is over. */
int sim_play(lua_State *L) {
    struct world_box *box = sim_check_world(L);
    lua_Integer id = luaL_checkinteger(L, 2);
    bind_push_table(L, 3, "steps");
    int list = lua_gettop(L);
    lua_Integer n = (lua_Integer)lua_rawlen(L, list);
    luaL_argcheck(L, n <= MAX_SIM_STEPS, 3, "too many steps at once");
    luaL_checkstack(L, 16, "play");
    int over = 0;
    for (lua_Integer i = 1; i <= n && !over; i++) {
        struct sim_step step;
        struct err err;
        lua_rawgeti(L, list, i);
        read_step(L, &step);
        struct clock_virtual *before = world_enter(box->world);
        over = world_play(box->world, (unsigned long)id, &step, &err);
        clock_use(before);
        if (over < 0) {
            return luaL_error(L, "play: %s", err.text);
        }
        lua_settop(L, list);
        policy_charge(L, 8 + step.data.n / 64);
    }
    lua_pushboolean(L, !over);
    return 1;
}
