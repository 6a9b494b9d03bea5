/* SPDX-License-Identifier: MIT */
/* Events of a world as tables. */
#include "bind/bind_lua.h"
#include "sim/sim_lua.h"

#define ENDED_CLASS "moongate.ended"

static void set_str(lua_State *L, const char *name, struct str value) {
    bind_push_str(L, value);
    lua_setfield(L, -2, name);
}

static void set_seconds(lua_State *L, const char *name, usec at) {
    lua_pushnumber(L, usec_to_seconds(at));
    lua_setfield(L, -2, name);
}

static void push_lower(lua_State *L, struct str text) {
    luaL_Buffer b;
    char *out = luaL_buffinitsize(L, &b, text.n);
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        out[i] = (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
    }
    luaL_pushresultsize(&b, text.n);
}

/* { name = value }, names in lower case, values of the same name joined with ", ". */
static void set_headers(lua_State *L, const struct headers *headers) {
    lua_createtable(L, 0, (int)headers->n);
    for (size_t i = 0; i < headers->n; i++) {
        struct header h = headers_at(headers, i);
        push_lower(L, h.name);
        lua_pushvalue(L, -1);
        if (lua_rawget(L, -3) == LUA_TSTRING) {
            lua_pushliteral(L, ", ");
            bind_push_str(L, h.value);
            lua_concat(L, 3);
        } else {
            lua_pop(L, 1);
            bind_push_str(L, h.value);
        }
        lua_rawset(L, -3);
    }
    lua_setfield(L, -2, "headers");
}

static void push_sent(lua_State *L, const struct world_event *e) {
    set_str(L, "provider", str_of(e->sent.provider));
    set_str(L, "target", str_of(e->sent.target));
    set_str(L, "api_key", str_of(e->sent.api_key));
    set_str(L, "url", str_of(e->sent.url));
    set_str(L, "body", buf_str(&e->sent.body));
    set_headers(L, &e->sent.headers);
}

static void set_chunks(lua_State *L, const struct world_answer *a) {
    lua_createtable(L, (int)a->n_chunks, 0);
    for (size_t i = 0; i < a->n_chunks; i++) {
        lua_createtable(L, 0, 2);
        set_seconds(L, "at", a->chunks[i].at);
        set_str(L, "text", str_make(a->body.data + a->chunks[i].from, a->chunks[i].n));
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_setfield(L, -2, "chunks");
}

static void set_notes(lua_State *L, const struct world_answer *a) {
    lua_createtable(L, (int)a->n_notes, 0);
    for (size_t i = 0; i < a->n_notes; i++) {
        lua_createtable(L, 0, 2);
        set_seconds(L, "at", a->notes[i].at);
        set_str(L, "text", str_of(a->notes[i].text));
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_setfield(L, -2, "notes");
}

static void push_ended(lua_State *L, const struct world_event *e) {
    const struct world_answer *a = &e->answer;
    lua_pushinteger(L, a->status);
    lua_setfield(L, -2, "status");
    lua_pushboolean(L, a->whole);
    lua_setfield(L, -2, "whole");
    set_str(L, "body", buf_str(&a->body));
    set_headers(L, &a->headers);
    set_chunks(L, a);
    set_notes(L, a);
    if (a->access) {
        set_str(L, "access_line", str_of(a->access));
        luaL_setmetatable(L, ENDED_CLASS);
    }
}

/* An ended event's `access` is read from its line when it is asked for: most tests never do. */
static int ended_index(lua_State *L) {
    struct str line;
    lua_settop(L, 2);
    if (lua_type(L, 2) != LUA_TSTRING || strcmp(lua_tostring(L, 2), "access") != 0) {
        lua_pushnil(L);
        return 1;
    }
    lua_pushliteral(L, "access_line");
    lua_rawget(L, 1);
    line.p = luaL_checklstring(L, 3, &line.n);
    bind_push_path(L, line, "");
    lua_pushvalue(L, 2);
    lua_pushvalue(L, -2);
    lua_rawset(L, 1);
    return 1;
}

void sim_open_events(lua_State *L) {
    luaL_newmetatable(L, ENDED_CLASS);
    lua_pushcfunction(L, ended_index);
    lua_setfield(L, -2, "__index");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
}

static const char *kind_name(const struct world_event *e) {
    static const char *const kinds[] = {
        [WORLD_SENT] = "sent", [WORLD_CANCELLED] = "cancelled", [WORLD_ENDED] = "ended"};
    return kinds[e->kind];
}

void sim_push_event(lua_State *L, const struct world_event *e) {
    luaL_checkstack(L, 12, "an event");
    lua_createtable(L, 0, 10);
    lua_pushstring(L, kind_name(e));
    lua_setfield(L, -2, "kind");
    set_seconds(L, "at", e->at);
    if (e->request) {
        lua_pushinteger(L, (lua_Integer)e->request);
        lua_setfield(L, -2, "request");
    }
    if (e->transfer) {
        lua_pushinteger(L, (lua_Integer)e->transfer);
        lua_setfield(L, -2, "id");
    }
    if (e->kind == WORLD_SENT) {
        push_sent(L, e);
    } else if (e->kind == WORLD_ENDED) {
        push_ended(L, e);
    }
}

int sim_push_brief(lua_State *L, const struct world_event *e) {
    int top = lua_gettop(L);
    luaL_checkstack(L, 12, "an event");
    lua_pushstring(L, kind_name(e));
    lua_pushnumber(L, usec_to_seconds(e->at));
    lua_pushinteger(L, (lua_Integer)(e->kind == WORLD_ENDED ? e->request : e->transfer));
    if (e->kind == WORLD_SENT) {
        lua_pushinteger(L, (lua_Integer)e->request);
        lua_pushstring(L, e->sent.provider);
        lua_pushstring(L, e->sent.target);
        lua_pushstring(L, e->sent.api_key); /* NULL is nil */
    } else if (e->kind == WORLD_ENDED) {
        const struct world_answer *a = &e->answer;
        lua_pushboolean(L, a->status == 200 && a->whole && a->complete);
        lua_pushinteger(L, (lua_Integer)a->attempts);
        lua_pushstring(L, a->provider); /* NULL is nil */
        if (a->first_token >= 0) {
            lua_pushnumber(L, usec_to_seconds(a->first_token));
        }
    }
    return lua_gettop(L) - top;
}
