/* SPDX-License-Identifier: MIT */
/* The values of a body: making them, telling them apart, walking them. */
#include "policy/body_values.h"

#include "base/jscan.h"
#include "base/limits.h"
#include "policy/policy_lua.h"

static const char SOURCE[] = "moongate.body.source";
static const char TEXT[] = "moongate.text";
static const char RAW[] = "moongate.raw";
static const char BUFFER[] = "moongate.body.buffer";
static const char MARKS[BODY_MARKS]; /* their addresses are the metatables' keys */

/* All userdata of this module begin with their class. A light one has none. */
static void *of_class(lua_State *L, int index, const char *class) {
    if (lua_type(L, index) != LUA_TUSERDATA || !lua_getmetatable(L, index)) {
        return NULL;
    }
    lua_rawgetp(L, LUA_REGISTRYINDEX, class);
    bool same = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return same ? lua_touserdata(L, index) : NULL;
}

static void *push_new(lua_State *L, const char *class, size_t size, int uservalues) {
    void *value = lua_newuserdatauv(L, size, uservalues);
    lua_rawgetp(L, LUA_REGISTRYINDEX, class);
    lua_setmetatable(L, -2);
    return value;
}

struct body_source *body_push_source(lua_State *L, struct str bytes, bool checked) {
    struct body_source *s = push_new(L, SOURCE, sizeof(*s), 0);
    *s = (struct body_source){SOURCE, bytes, true, checked};
    return s;
}

void body_check_alive(lua_State *L, const struct body_source *source) {
    if (source && !source->alive) {
        luaL_error(L, "a text of a request or an answer that is over: it must not be kept");
    }
}

const struct body_source *body_anchor(lua_State *L, int anchor, struct str *bytes) {
    if (lua_type(L, anchor) == LUA_TSTRING) {
        bytes->p = lua_tolstring(L, anchor, &bytes->n);
        return NULL;
    }
    const struct body_source *s = of_class(L, anchor, SOURCE);
    if (!s) {
        luaL_error(L, "a JSON text is expected, got a %s", luaL_typename(L, anchor));
        return NULL;
    }
    body_check_alive(L, s);
    *bytes = s->bytes;
    return s;
}

struct body_text *body_to_text(lua_State *L, int index) {
    return of_class(L, index, TEXT);
}

struct body_raw *body_to_raw(lua_State *L, int index) {
    return of_class(L, index, RAW);
}

void body_check_text(lua_State *L, int index) {
    if (lua_type(L, index) != LUA_TSTRING && !body_to_text(L, index)) {
        luaL_error(L, "expected a string or a text, got %s",
                   body_to_raw(L, index) ? "raw JSON" : luaL_typename(L, index));
    }
}

struct body_text *body_push_leaf(lua_State *L, int anchor, struct str bytes, bool escaped) {
    struct str whole;
    anchor = lua_absindex(L, anchor);
    const struct body_source *source = body_anchor(L, anchor, &whole);
    struct body_text *t = push_new(L, TEXT, sizeof(*t), 1);
    *t = (struct body_text){TEXT, source, bytes, bytes.n, 1, 0, escaped, false};
    lua_pushvalue(L, anchor);
    lua_setiuservalue(L, -2, 1);
    return t;
}

void body_push_raw(lua_State *L, int anchor, struct str bytes) {
    struct str whole;
    anchor = lua_absindex(L, anchor);
    const struct body_source *source = body_anchor(L, anchor, &whole);
    struct body_raw *r = push_new(L, RAW, sizeof(*r), 1);
    *r = (struct body_raw){RAW, source, bytes};
    lua_pushvalue(L, anchor);
    lua_setiuservalue(L, -2, 1);
}

void body_push_raw_of_text(lua_State *L, int index) {
    index = lua_absindex(L, index);
    struct body_raw *r = push_new(L, RAW, sizeof(*r), 1);
    *r = (struct body_raw){RAW, NULL, {NULL, 0}};
    lua_pushvalue(L, index);
    lua_setiuservalue(L, -2, 1);
}

/* What the list on top of the stack makes of a rope. */
static struct body_text measure(lua_State *L) {
    struct body_text sum = {.class = TEXT};
    int list = lua_gettop(L);
    size_t n = lua_rawlen(L, list);
    for (size_t i = 1; i <= n; i++) {
        lua_rawgeti(L, list, (lua_Integer)i);
        const struct body_text *t = body_to_text(L, -1);
        sum.size += t ? t->size : lua_rawlen(L, -1);
        sum.parts += t ? t->parts : 1;
        sum.depth = t && t->depth > sum.depth ? t->depth : sum.depth;
        lua_pop(L, 1);
    }
    sum.depth++;
    return sum;
}

/* Appends the leaves of the value on top to the list at index `to`. Pops it. */
static void add_leaves(lua_State *L, int to) {
    const struct body_text *t = body_to_text(L, -1);
    if (!t || t->bytes.p) {
        lua_rawseti(L, to, (lua_Integer)lua_rawlen(L, to) + 1);
        return;
    }
    luaL_checkstack(L, 6, "a text of too many parts");
    lua_getiuservalue(L, -1, 1);
    size_t n = lua_rawlen(L, -1);
    policy_charge(L, n);
    for (size_t i = 1; i <= n; i++) {
        lua_rawgeti(L, -1, (lua_Integer)i);
        add_leaves(L, to);
    }
    lua_pop(L, 2);
}

/* The list on top becomes one of leaves. */
static void flatten(lua_State *L) {
    int from = lua_gettop(L);
    size_t n = lua_rawlen(L, from);
    lua_createtable(L, (int)n, 0);
    for (size_t i = 1; i <= n; i++) {
        lua_rawgeti(L, from, (lua_Integer)i);
        add_leaves(L, from + 1);
    }
    lua_replace(L, from);
}

void body_push_rope(lua_State *L) {
    struct body_text sum = measure(L);
    if (sum.parts > BODY_ROPE_PARTS) {
        luaL_error(L, "a text of more than %d parts", BODY_ROPE_PARTS);
    }
    if (sum.depth > BODY_ROPE_DEPTH) {
        flatten(L);
        sum.depth = 1;
    }
    struct body_text *t = push_new(L, TEXT, sizeof(*t), 1);
    *t = sum;
    lua_insert(L, -2);
    lua_setiuservalue(L, -2, 1);
}

static bool walk_string(lua_State *L, int index, body_visit visit, void *ctx) {
    struct body_part part = {.anchor = lua_absindex(L, index)};
    body_check_text(L, index);
    part.bytes.p = lua_tolstring(L, index, &part.bytes.n);
    return visit(L, &part, ctx);
}

static bool walk_leaf(lua_State *L, const struct body_text *t, int index, body_visit visit,
                      void *ctx) {
    body_check_alive(L, t->source);
    lua_getiuservalue(L, index, 1);
    struct body_part part = {t->bytes, t->escaped, t->url64, lua_gettop(L)};
    bool more = visit(L, &part, ctx);
    lua_settop(L, part.anchor - 1);
    return more;
}

bool body_walk(lua_State *L, int index, body_visit visit, void *ctx) {
    const struct body_text *t = body_to_text(L, index);
    bool more = true;
    luaL_checkstack(L, 8, "a text of too many parts");
    if (!t) {
        return walk_string(L, index, visit, ctx);
    }
    if (t->bytes.p) {
        return walk_leaf(L, t, index, visit, ctx);
    }
    lua_getiuservalue(L, index, 1);
    int list = lua_gettop(L);
    size_t n = lua_rawlen(L, list);
    for (size_t i = 1; more && i <= n; i++) {
        lua_rawgeti(L, list, (lua_Integer)i);
        more = body_walk(L, list + 1, visit, ctx);
        lua_settop(L, list);
    }
    lua_settop(L, list - 1);
    return more;
}

void body_part_said(const struct body_part *part, struct buf *out, size_t from) {
    for (size_t i = from; part->url64 && i < out->len; i++) {
        char c = out->data[i];
        out->data[i] = c == '-' ? '+' : c == '_' ? '/' : c;
    }
}

static bool add_plain(lua_State *L, const struct body_part *part, void *ctx) {
    struct buf *out = ctx;
    size_t before = out->len;
    policy_charge(L, 1 + part->bytes.n / 64);
    int bad = part->escaped ? jscan_unescape(part->bytes, out) : buf_add_str(out, part->bytes);
    if (bad) {
        luaL_error(L, "a text is longer than %d bytes", (int)out->max);
    }
    body_part_said(part, out, before);
    return true;
}

void body_add_plain(lua_State *L, int index, struct buf *out) {
    body_walk(L, index, add_plain, out);
}

static int buffer_gc(lua_State *L) {
    buf_release(lua_touserdata(L, 1));
    return 0;
}

struct buf *body_push_buf(lua_State *L, size_t max) {
    struct buf *b = lua_newuserdatauv(L, sizeof(*b), 0);
    buf_init(b, max);
    lua_rawgetp(L, LUA_REGISTRYINDEX, BUFFER);
    lua_setmetatable(L, -2);
    return b;
}

void body_set_mark(lua_State *L, int index, enum body_mark mark) {
    index = lua_absindex(L, index);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &MARKS[mark]);
    lua_setmetatable(L, index);
}

bool body_has_mark(lua_State *L, int index, enum body_mark mark) {
    if (!lua_getmetatable(L, index)) {
        return false;
    }
    lua_rawgetp(L, LUA_REGISTRYINDEX, &MARKS[mark]);
    bool same = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return same;
}

static int no_string(lua_State *L) {
    return luaL_error(L, "a text is not turned into a string: use moongate.body");
}

static int no_length(lua_State *L) {
    return luaL_error(L, "a text has no length: use body.size");
}

/*
 * Joining is no metamethod's work: Lua 5.4.4 as Debian 12 has it (with upstream's 42d40581, without
 * 603b2c64) goes on in the old stack when a __concat has made the stack move.
 */
static int no_concat(lua_State *L) {
    return luaL_error(L, "a text is not joined with ..: use body.join (Lua 5.4.4 loses operands of "
                         "longer joins)");
}

static void open_class(lua_State *L, const char *class, const luaL_Reg *methods) {
    lua_newtable(L);
    luaL_setfuncs(L, methods, 0);
    lua_pushstring(L, class);
    lua_setfield(L, -2, "__name");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_rawsetp(L, LUA_REGISTRYINDEX, class);
}

void body_open_values(lua_State *L) {
    static const luaL_Reg none[] = {{NULL, NULL}};
    static const luaL_Reg buffer[] = {{"__gc", buffer_gc}, {NULL, NULL}};
    static const luaL_Reg value[] = {
        {"__concat", no_concat}, {"__len", no_length}, {"__tostring", no_string}, {NULL, NULL}};
    open_class(L, SOURCE, none);
    open_class(L, BUFFER, buffer);
    open_class(L, TEXT, value);
    open_class(L, RAW, value);
    for (int i = 0; i < BODY_MARKS; i++) {
        lua_newtable(L);
        lua_pushboolean(L, 0);
        lua_setfield(L, -2, "__metatable");
        lua_rawsetp(L, LUA_REGISTRYINDEX, &MARKS[i]);
    }
}
