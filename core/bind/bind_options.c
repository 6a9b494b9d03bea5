/* SPDX-License-Identifier: MIT */
/* The options of req:send. Every name is checked; a misspelt one names its nearest neighbour. */
#include "bind/bind_lua.h"

const char *const bind_send_options[] = {
    "model",   "key",   "api_key", "connect", "first_byte", "first_token",
    "idle",    "total", "force",   "fresh",   "max_bytes",  "max_seconds",
    "headers", "set",   "unset",   "strict",  NULL};

/* Keeps the value at the top in the table at `anchor`, so that it lives as long as the options.
 * Most options are numbers: the table is made when there is something to keep. Pops it. */
static void keep(lua_State *L, int anchor) {
    if (!lua_istable(L, anchor)) {
        lua_newtable(L);
        lua_replace(L, anchor);
    }
    luaL_ref(L, anchor);
}

/* The string at the top, kept. Pops it. */
static struct str keep_string(lua_State *L, int anchor, const char *what, size_t max) {
    struct str s;
    if (lua_type(L, -1) != LUA_TSTRING) {
        luaL_error(L, "send: %s: a string is expected, got a %s", what, luaL_typename(L, -1));
    }
    s.p = lua_tolstring(L, -1, &s.n);
    if (s.n > max) {
        luaL_error(L, "send: %s: %d bytes, at most %d may be given", what, (int)s.n, (int)max);
    }
    keep(L, anchor);
    return s;
}

static void read_headers(lua_State *L, int anchor, struct send_options *o) {
    bind_push_table(L, -1, "send: headers");
    int table = lua_gettop(L);
    lua_pushnil(L);
    while (lua_next(L, table)) {
        if (o->n_headers == MAX_EXTRA_HEADERS) {
            luaL_error(L, "send: headers: at most %d may be given", MAX_EXTRA_HEADERS);
        }
        struct header *h = &o->headers[o->n_headers++];
        if (lua_type(L, -1) == LUA_TNUMBER) {
            lua_pushstring(L, lua_tostring(L, -1));
            lua_replace(L, -2);
        }
        h->value = keep_string(L, anchor, "a header's value", MAX_HEADER_BYTES / 4);
        lua_pushvalue(L, -1);
        h->name = keep_string(L, anchor, "a header's name", 256);
        if (!header_name_ok(h->name) || !header_value_ok(h->value)) {
            luaL_error(L, "send: headers: \"%s\" is no header that can be sent", h->name.p);
        }
    }
    lua_settop(L, table - 1);
}

static struct jedit *new_edit(lua_State *L, struct send_options *o) {
    if (o->n_edits == MAX_SET_FIELDS) {
        luaL_error(L, "send: set and unset: at most %d fields may be given", MAX_SET_FIELDS);
    }
    return &o->edits[o->n_edits++];
}

static void read_set(lua_State *L, int anchor, struct send_options *o) {
    bind_push_table(L, -1, "send: set");
    int table = lua_gettop(L);
    lua_pushnil(L);
    while (lua_next(L, table)) {
        struct jedit *e = new_edit(L, o);
        bind_push_json(L, -1, LUA_STRING_MAX);
        e->raw.p = lua_tolstring(L, -1, &e->raw.n);
        keep(L, anchor); /* the text */
        lua_pop(L, 1);
        lua_pushvalue(L, -1);
        e->name = keep_string(L, anchor, "a name in set", 256);
    }
    lua_settop(L, table - 1);
}

static void read_unset(lua_State *L, int anchor, struct send_options *o) {
    bind_push_table(L, -1, "send: unset");
    int table = lua_gettop(L);
    for (lua_Integer i = 1; lua_rawgeti(L, table, i) != LUA_TNIL; i++) {
        struct jedit *e = new_edit(L, o);
        e->raw = str_make(NULL, 0);
        e->name = keep_string(L, anchor, "a name in unset", 256);
    }
    lua_settop(L, table - 1);
}

static unsigned long long read_bytes(lua_State *L) {
    double n = bind_check_number(L, -1);
    if (!(n >= 0 && n < 1e15)) {
        luaL_error(L, "send: max_bytes: a count of bytes is expected, got %s",
                   luaL_tolstring(L, -1, NULL));
    }
    return (unsigned long long)n;
}

/* The value at the top belongs to the option `name`. */
static void read_option(lua_State *L, const char *name, int anchor, struct send_options *o) {
    struct {
        const char *name;
        usec *to;
    } times[] = {
        {"connect", &o->connect}, {"first_byte", &o->first_byte}, {"first_token", &o->first_token},
        {"idle", &o->idle},       {"total", &o->total},           {"max_seconds", &o->max_seconds}};
    for (size_t i = 0; i < sizeof(times) / sizeof(*times); i++) {
        if (strcmp(name, times[i].name) == 0) {
            *times[i].to = bind_check_seconds(L, -1, name);
            return;
        }
    }
    if (strcmp(name, "model") == 0 || strcmp(name, "key") == 0) {
        lua_pushvalue(L, -1);
        *(name[0] == 'm' ? &o->model : &o->key) = keep_string(L, anchor, name, KIB(4));
    } else if (strcmp(name, "api_key") == 0) {
        lua_pushvalue(L, -1);
        o->api_key = keep_string(L, anchor, name, KIB(4));
    } else if (strcmp(name, "headers") == 0) {
        read_headers(L, anchor, o);
    } else if (strcmp(name, "set") == 0) {
        read_set(L, anchor, o);
    } else if (strcmp(name, "unset") == 0) {
        read_unset(L, anchor, o);
    } else if (strcmp(name, "max_bytes") == 0) {
        o->max_bytes = read_bytes(L);
    } else if (strcmp(name, "force") == 0) {
        o->force = lua_toboolean(L, -1);
    } else if (strcmp(name, "strict") == 0) {
        o->strict = lua_toboolean(L, -1);
    } else if (strcmp(name, "fresh") == 0) {
        o->fresh = lua_toboolean(L, -1);
    } else {
        const char *near = str_nearest(name, bind_send_options);
        luaL_error(L,
                   near ? "send: there is no option \"%s\"; did you mean \"%s\"?"
                        : "send: there is no option \"%s\"",
                   name, near);
    }
}

void bind_read_options(lua_State *L, int index, struct send_options *o) {
    lua_pushnil(L);
    int anchor = lua_gettop(L);
    if (lua_isnoneornil(L, index)) {
        return;
    }
    bind_push_table(L, index, "send: options");
    int table = lua_gettop(L);
    lua_pushnil(L);
    while (lua_next(L, table)) {
        if (lua_type(L, -2) != LUA_TSTRING) {
            luaL_error(L, "send: options have names; a %s was given", luaL_typename(L, -2));
        }
        read_option(L, lua_tostring(L, -2), anchor, o);
        lua_settop(L, table + 1);
    }
    lua_settop(L, anchor);
}
