/* SPDX-License-Identifier: MIT */
/*
 * Copying between Lua values and struct value. Reading uses raw access only, so no metamethod runs
 * and nothing raises; what lua_next hands out is never converted in place.
 */
#include "config/luavalue.h"

#include <lauxlib.h>
#include <lua.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include "base/limits.h"
#include "config/path.h"

struct reader {
    lua_State *L;
    const struct value_bad *bad; /* NULL: the first mistake ends it */
    struct err *err;
    size_t nodes;
    size_t depth;
    const void
        *above[MAX_VALUE_DEPTH]; /* the tables being read: a table among them contains itself */
    struct path path;
};

/* Cannot go on, whatever the mode. */
static int give_up(struct reader *r, const char *what) {
    return err_set(r->err, "%s%s%s", r->path.text, r->path.n ? ": " : "", what);
}

__attribute__((format(printf, 3, 4))) static int no_data(struct reader *r, struct value *out,
                                                         const char *fmt, ...) {
    char what[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof(what), fmt, ap);
    va_end(ap);
    *out = (struct value){0};
    if (!r->bad) {
        return give_up(r, what);
    }
    r->bad->tell(r->bad->ctx, r->path.text, what, out);
    return 0;
}

static int read_value(struct reader *r, struct value *out);

static int read_items(struct reader *r, struct value *table) {
    for (lua_Integer i = 1;; i++) {
        struct value item = {0};
        if (lua_rawgeti(r->L, -1, i) == LUA_TNIL) {
            lua_pop(r->L, 1);
            return 0;
        }
        size_t before = path_item(&r->path, (size_t)i);
        if (read_value(r, &item)) {
            return -1;
        }
        path_cut(&r->path, before);
        lua_pop(r->L, 1);
        if (value_add_item(table, item)) {
            return give_up(r, "memory is short");
        }
    }
}

/* The key is at -2, its value at -1. */
static int read_field(struct reader *r, struct value *table) {
    struct value field = {0};
    size_t n = 0;
    const char *name = lua_tolstring(r->L, -2, &n);
    if (memchr(name, 0, n)) {
        int rc = no_data(r, &field, "a key contains a zero byte; expected a name");
        value_release(&field); /* nothing stands for it: it has no name to stand under */
        return rc;
    }
    if (table->as.t.n_fields >= MAX_VALUE_FIELDS) {
        return give_up(r, "more named fields than one table may have");
    }
    size_t before = path_field(&r->path, name);
    if (read_value(r, &field)) {
        return -1;
    }
    path_cut(&r->path, before);
    if (field.type != VALUE_NIL && value_set_field(table, str_make(name, n), field)) {
        return give_up(r, "memory is short");
    }
    return 0;
}

/* The key at -2 is no string: fine when it is one of the n_items that read_items had. */
static int read_index(struct reader *r, size_t n_items, struct value *instead) {
    if (!lua_isinteger(r->L, -2)) {
        return no_data(r, instead, "a key is a %s; expected a name or a list index",
                       lua_typename(r->L, lua_type(r->L, -2)));
    }
    lua_Integer i = lua_tointeger(r->L, -2);
    if (i >= 1 && (size_t)i <= n_items) {
        return 0;
    }
    return no_data(r, instead,
                   "there is an item [%lld] but none at [%zu]; expected a list without holes",
                   (long long)i, n_items + 1);
}

/* One stand-in for all wrong keys together, so that a list is not taken for an empty one. */
static int read_fields(struct reader *r, struct value *table) {
    struct value instead = {0};
    size_t n_items = table->as.t.n_items;
    lua_pushnil(r->L);
    while (lua_next(r->L, -2)) {
        int rc = 0;
        if (lua_type(r->L, -2) == LUA_TSTRING) {
            rc = read_field(r, table);
        } else if (instead.type == VALUE_NIL) {
            rc = read_index(r, n_items, &instead);
        }
        if (rc) {
            value_release(&instead);
            return -1;
        }
        lua_pop(r->L, 1);
    }
    if (instead.type != VALUE_NIL && value_add_item(table, instead)) {
        return give_up(r, "memory is short");
    }
    return 0;
}

static int read_table(struct reader *r, struct value *out) {
    const void *self = lua_topointer(r->L, -1);
    if (r->depth >= MAX_VALUE_DEPTH) {
        return no_data(r, out, "tables are nested deeper than %d levels", MAX_VALUE_DEPTH);
    }
    for (size_t i = 0; i < r->depth; i++) {
        if (r->above[i] == self) {
            return no_data(r, out, "the table contains itself");
        }
    }
    if (!lua_checkstack(r->L, 4)) {
        return give_up(r, "memory is short");
    }
    r->above[r->depth++] = self;
    *out = value_table();
    if (read_items(r, out) || read_fields(r, out)) {
        value_release(out);
        return -1;
    }
    r->depth--;
    return 0;
}

/* The value on top of the stack, which stays there. After -1 the stack is as it happens to be. */
static int read_value(struct reader *r, struct value *out) {
    *out = (struct value){0};
    size_t n = 0;
    const char *s = NULL;
    if (++r->nodes > MAX_VALUE_NODES) {
        return give_up(r, "more values than a configuration may have");
    }
    switch (lua_type(r->L, -1)) {
    case LUA_TNIL:
        return 0;
    case LUA_TBOOLEAN:
        out->type = VALUE_BOOL;
        out->as.b = lua_toboolean(r->L, -1);
        return 0;
    case LUA_TNUMBER:
        if (lua_isinteger(r->L, -1)) {
            out->type = VALUE_INT;
            out->as.i = lua_tointeger(r->L, -1);
        } else {
            out->type = VALUE_NUM;
            out->as.n = lua_tonumber(r->L, -1);
        }
        return 0;
    case LUA_TSTRING:
        s = lua_tolstring(r->L, -1, &n);
        return value_set_str(out, str_make(s, n)) ? give_up(r, "memory is short") : 0;
    case LUA_TTABLE:
        return read_table(r, out);
    default:
        return no_data(r, out, "a %s is no data; expected a boolean, number, string or table",
                       lua_typename(r->L, lua_type(r->L, -1)));
    }
}

int value_from_lua_all(lua_State *L, int index, struct value *out, const struct value_bad *bad,
                       struct err *err) {
    struct reader r = {.L = L, .bad = bad, .err = err};
    int top = lua_gettop(L);
    int at = lua_absindex(L, index);
    *out = (struct value){0};
    path_init(&r.path);
    if (!lua_checkstack(L, 4)) {
        return give_up(&r, "memory is short");
    }
    lua_pushvalue(L, at);
    int rc = read_value(&r, out);
    lua_settop(L, top);
    return rc;
}

int value_from_lua(lua_State *L, int index, struct value *out, struct err *err) {
    return value_from_lua_all(L, index, out, NULL, err);
}

static void push_table(lua_State *L, const struct value *v) {
    size_t n_items = v->as.t.n_items;
    size_t n_fields = v->as.t.n_fields;
    luaL_checkstack(L, 3, "value nested too deep");
    lua_createtable(L, (int)n_items, (int)n_fields); /* both are far below INT_MAX: limits.h */
    for (size_t i = 0; i < n_items; i++) {
        value_to_lua(L, &v->as.t.items[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    for (size_t i = 0; i < n_fields; i++) {
        lua_pushstring(L, v->as.t.fields[i].name);
        value_to_lua(L, &v->as.t.fields[i].value);
        lua_rawset(L, -3);
    }
}

void value_to_lua(lua_State *L, const struct value *v) {
    switch (v->type) {
    case VALUE_NIL:
        lua_pushnil(L);
        return;
    case VALUE_BOOL:
        lua_pushboolean(L, v->as.b);
        return;
    case VALUE_INT:
        lua_pushinteger(L, (lua_Integer)v->as.i);
        return;
    case VALUE_NUM:
        lua_pushnumber(L, v->as.n);
        return;
    case VALUE_STR:
        lua_pushlstring(L, v->as.s.p, v->as.s.n);
        return;
    case VALUE_TABLE:
        push_table(L, v);
        return;
    }
}
