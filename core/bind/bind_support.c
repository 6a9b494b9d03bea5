/* SPDX-License-Identifier: MIT */
/* Small things that every binding needs. */
#include <math.h>
#include <stdlib.h>

#include "bind/bind_lua.h"
#include "policy/sandbox.h"

#define BUF_CLASS "moongate.buf"

static int buf_gc(lua_State *L) {
    buf_release(lua_touserdata(L, 1)); /* looking its class up would ask for memory */
    return 0;
}

/* The metatable is registered when it is whole: memory may run out on the way. */
void bind_set_gc(lua_State *L, const char *name, lua_CFunction gc) {
    if (luaL_getmetatable(L, name) == LUA_TNIL) {
        lua_pop(L, 1);
        lua_createtable(L, 0, 1);
        lua_pushcfunction(L, gc);
        lua_setfield(L, -2, "__gc");
        lua_pushvalue(L, -1);
        lua_setfield(L, LUA_REGISTRYINDEX, name);
    }
    lua_setmetatable(L, -2);
}

void bind_text_push(lua_State *L, struct bind_text *t, size_t first, size_t max) {
    t->max = max;
    buf_over(&t->buf, lua_newuserdatauv(L, first + 1, 0), first);
    t->index = lua_gettop(L);
}

void bind_text_grow(lua_State *L, struct bind_text *t, const char *too_long) {
    size_t size = t->buf.max;
    if (size >= t->max) {
        luaL_error(L, "%s", too_long);
    }
    size = size * 4 < t->max ? size * 4 : t->max;
    struct buf larger;
    buf_over(&larger, lua_newuserdatauv(L, size + 1, 0), size);
    (void)!buf_add_str(&larger, buf_str(&t->buf)); /* it has room */
    t->buf = larger;
    lua_replace(L, t->index);
}

struct buf *bind_push_buf(lua_State *L, size_t max) {
    struct buf *b = lua_newuserdatauv(L, sizeof(*b), 0);
    buf_init(b, max);
    bind_set_gc(L, BUF_CLASS, buf_gc);
    return b;
}

void bind_push_table(lua_State *L, int index, const char *what) {
    if (frozen_push(L, index)) {
        return;
    }
    if (!lua_istable(L, index)) {
        luaL_error(L, "%s: a table is expected, got a %s", what, luaL_typename(L, index));
    }
    lua_pushvalue(L, index);
}

struct str bind_check_str(lua_State *L, int arg, size_t max) {
    struct str s;
    s.p = luaL_checklstring(L, arg, &s.n);
    if (s.n > max) {
        luaL_argerror(L, arg,
                      lua_pushfstring(L, "%I bytes, at most %I may be given", (lua_Integer)s.n,
                                      (lua_Integer)max));
    }
    return s;
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

size_t bind_sorted_names(lua_State *L, const char *what, const char **names, size_t max) {
    size_t n = 0;
    int table = lua_gettop(L);
    lua_pushnil(L);
    while (lua_next(L, table)) {
        if (lua_type(L, -2) != LUA_TSTRING || n == max) {
            luaL_error(L, "%s: a table of at most %d names is expected", what, (int)max);
        }
        names[n++] = lua_tostring(L, -2);
        lua_pop(L, 1);
    }
    qsort(names, n, sizeof(*names), by_name);
    return n;
}

/* A text that is taken for a number is walked. */
static void charge_number(lua_State *L, int index) {
    if (lua_type(L, index) == LUA_TSTRING) {
        policy_charge(L, lua_rawlen(L, index) / 32);
    }
}

double bind_check_number(lua_State *L, int index) {
    charge_number(L, index);
    return luaL_checknumber(L, index);
}

double bind_opt_number(lua_State *L, int index, double otherwise) {
    return lua_isnoneornil(L, index) ? otherwise : bind_check_number(L, index);
}

lua_Integer bind_check_integer(lua_State *L, int index) {
    charge_number(L, index);
    return luaL_checkinteger(L, index);
}

usec bind_check_seconds(lua_State *L, int index, const char *what) {
    int is_number;
    charge_number(L, index);
    double s = lua_tonumberx(L, index, &is_number);
    if (!is_number || isnan(s) || s < 0) {
        luaL_error(L, "%s: seconds (0 or more) are expected, got %s", what,
                   luaL_tolstring(L, index, NULL));
    }
    return usec_from_seconds(s);
}

void bind_push_str(lua_State *L, struct str s) {
    if (s.p) {
        lua_pushlstring(L, s.p, s.n);
    } else {
        lua_pushnil(L);
    }
}

void *bind_new_box(lua_State *L, const char *class, size_t size, int uservalues,
                   struct exchange *x) {
    struct req_box *box = lua_newuserdatauv(L, size, uservalues);
    *box = (struct req_box){class, x, x->number};
    lua_rawgetp(L, LUA_REGISTRYINDEX, class);
    lua_setmetatable(L, -2);
    return box;
}

void *bind_test_box(lua_State *L, int index, const char *class) {
    struct req_box *box = lua_touserdata(L, index); /* the only light one is moongate.null */
    return box && box->class == class ? box : NULL;
}

bool bind_is_live(lua_State *L, const struct req_box *box) {
    const struct exchange *x = policy_request_or_null(L);
    return x && x == box->x && x->number == box->number;
}

/* __index: upvalue 1 = what each name stands for, a method or a field's id, 2 = the getter, 3 = the
 * class's name. */
static int class_index(lua_State *L) {
    lua_settop(L, 2);
    lua_pushvalue(L, 2);
    switch (lua_rawget(L, lua_upvalueindex(1))) {
    case LUA_TFUNCTION:
        return 1;
    case LUA_TNUMBER: {
        bind_getter *get = lua_touserdata(L, lua_upvalueindex(2));
        return (*get)(L, (int)lua_tointeger(L, -1));
    }
    default:
        return luaL_error(L, "%s has no field or method \"%s\"",
                          lua_tostring(L, lua_upvalueindex(3)), luaL_tolstring(L, 2, NULL));
    }
}

static int class_newindex(lua_State *L) {
    return luaL_error(L, "\"%s\" cannot be set: keep what is yours in req.ctx",
                      luaL_tolstring(L, 2, NULL));
}

void bind_class(lua_State *L, const char *name, const luaL_Reg *methods,
                const struct bind_field *fields, bind_getter get, lua_CFunction gc) {
    luaL_newmetatable(L, name);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, name);
    lua_newtable(L);
    luaL_setfuncs(L, methods, 0);
    for (; fields && fields->name; fields++) {
        lua_pushinteger(L, fields->id);
        lua_setfield(L, -2, fields->name);
    }
    bind_getter *held = lua_newuserdatauv(L, sizeof(held), 0);
    *held = get;
    lua_pushstring(L, name);
    lua_pushcclosure(L, class_index, 3);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, class_newindex);
    lua_setfield(L, -2, "__newindex");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    if (gc) {
        lua_pushcfunction(L, gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_pop(L, 1);
}
