/* SPDX-License-Identifier: MIT */
/* Between Lua values and JSON text. */
#include <math.h>

#include "bind/bind_lua.h"

#define FIRST_TEXT 239 /* most values that policies write are shorter */

/* Writes; grows the text when it is full. */
#define PUT(L, out, write)                                                                         \
    do {                                                                                           \
        size_t before_ = (out)->buf.len;                                                           \
        while ((write) != BUF_OK) {                                                                \
            buf_truncate(&(out)->buf, before_);                                                    \
            bind_text_grow(L, out, "the JSON text is too long");                                   \
        }                                                                                          \
    } while (0)

static void encode(lua_State *L, int index, struct bind_text *out, int depth);

static void encode_number(lua_State *L, int index, struct bind_text *out) {
    if (lua_isinteger(L, index)) {
        PUT(L, out, buf_addf(&out->buf, "%lld", (long long)lua_tointeger(L, index)));
        return;
    }
    double n = lua_tonumber(L, index);
    if (isnan(n) || isinf(n)) {
        luaL_error(L, "JSON has no NaN and no infinity");
    }
    bool whole = n == floor(n) && fabs(n) < 1e15;
    PUT(L, out, whole ? buf_addf(&out->buf, "%.0f", n) : buf_addf(&out->buf, "%.17g", n));
}

static void encode_array(lua_State *L, int table, lua_Integer n, struct bind_text *out, int depth) {
    PUT(L, out, buf_addc(&out->buf, '['));
    for (lua_Integer i = 1; i <= n; i++) {
        PUT(L, out, i > 1 ? buf_addc(&out->buf, ',') : BUF_OK);
        lua_rawgeti(L, table, i);
        encode(L, lua_gettop(L), out, depth);
        lua_pop(L, 1);
    }
    PUT(L, out, buf_addc(&out->buf, ']'));
}

static void encode_object(lua_State *L, int table, struct bind_text *out, int depth) {
    bool first = true;
    PUT(L, out, buf_addc(&out->buf, '{'));
    lua_pushnil(L);
    while (lua_next(L, table)) {
        struct str key;
        if (lua_type(L, -2) != LUA_TSTRING) {
            luaL_error(L, "a JSON object has names, not a %s, as keys", luaL_typename(L, -2));
        }
        key.p = lua_tolstring(L, -2, &key.n);
        PUT(L, out, first ? BUF_OK : buf_addc(&out->buf, ','));
        PUT(L, out, json_write_string(&out->buf, key));
        PUT(L, out, buf_addc(&out->buf, ':'));
        encode(L, lua_gettop(L), out, depth);
        lua_pop(L, 1);
        first = false;
    }
    PUT(L, out, buf_addc(&out->buf, '}'));
}

static void encode_table(lua_State *L, int index, struct bind_text *out, int depth) {
    luaL_checkstack(L, 8, "JSON is nested too deeply");
    bind_push_table(L, index, "JSON");
    int table = lua_gettop(L);
    lua_Integer n = (lua_Integer)lua_rawlen(L, table);
    policy_charge(L, 4 + (size_t)n);
    if (n > 0) {
        encode_array(L, table, n, out, depth);
    } else {
        encode_object(L, table, out, depth);
    }
    lua_settop(L, table - 1);
}

static void encode(lua_State *L, int index, struct bind_text *out, int depth) {
    struct str s;
    switch (lua_type(L, index)) {
    case LUA_TNIL:
    case LUA_TLIGHTUSERDATA: /* moongate.null */
        PUT(L, out, buf_adds(&out->buf, "null"));
        break;
    case LUA_TBOOLEAN:
        PUT(L, out, buf_adds(&out->buf, lua_toboolean(L, index) ? "true" : "false"));
        break;
    case LUA_TNUMBER:
        encode_number(L, index, out);
        break;
    case LUA_TSTRING:
        s.p = lua_tolstring(L, index, &s.n);
        PUT(L, out, json_write_string(&out->buf, s));
        break;
    case LUA_TTABLE:
        if (depth >= MAX_VALUE_DEPTH) {
            luaL_error(L, "JSON is nested deeper than %d (or a table holds itself)",
                       MAX_VALUE_DEPTH);
        }
        encode_table(L, index, out, depth + 1);
        break;
    default:
        luaL_error(L, "a %s cannot be written as JSON", luaL_typename(L, index));
    }
}

void bind_push_json(lua_State *L, int index, size_t max) {
    struct bind_text out;
    index = lua_absindex(L, index);
    bind_text_push(L, &out, FIRST_TEXT, max);
    encode(L, index, &out, 0);
    lua_pushlstring(L, out.buf.data, out.buf.len);
    lua_replace(L, out.index);
}

static void decode(lua_State *L, struct str text, const struct jvalue *v, struct buf *scratch,
                   int depth);

static void decode_string(lua_State *L, struct str text, const struct jvalue *v,
                          struct buf *scratch) {
    buf_clear(scratch);
    if (jscan_string(text, v, scratch) != 0) {
        luaL_error(L, "a JSON text is damaged"); /* it was checked, and has room */
    }
    lua_pushlstring(L, scratch->data, scratch->len);
}

static void decode_table(lua_State *L, struct str text, const struct jvalue *v, struct buf *scratch,
                         int depth) {
    struct str key;
    struct jvalue item;
    size_t pos = 0;
    lua_Integer n = 0;
    luaL_checkstack(L, 6, "JSON is nested too deeply");
    lua_newtable(L);
    while (jscan_next(text, v, &pos, &key, &item) == 1) {
        if (v->type == JTYPE_ARRAY) {
            decode(L, text, &item, scratch, depth);
            lua_rawseti(L, -2, ++n);
        } else {
            struct jvalue name = {JTYPE_STRING, (size_t)(key.p - text.p) - 1, key.n + 2};
            decode_string(L, text, &name, scratch);
            decode(L, text, &item, scratch, depth);
            lua_rawset(L, -3);
        }
        policy_charge(L, 2);
    }
}

static void decode(lua_State *L, struct str text, const struct jvalue *v, struct buf *scratch,
                   int depth) {
    double number;
    switch (v->type) {
    case JTYPE_TRUE:
    case JTYPE_FALSE:
        lua_pushboolean(L, v->type == JTYPE_TRUE);
        break;
    case JTYPE_NUMBER:
        if (!lua_stringtonumber(L, lua_pushlstring(L, text.p + v->off, v->len))) {
            lua_pushnumber(L, jscan_number(text, v, &number) ? number : 0);
        }
        lua_remove(L, -2);
        break;
    case JTYPE_STRING:
        decode_string(L, text, v, scratch);
        break;
    case JTYPE_ARRAY:
    case JTYPE_OBJECT:
        if (depth >= MAX_JSON_DEPTH) {
            luaL_error(L, "JSON is nested deeper than %d", MAX_JSON_DEPTH);
        }
        decode_table(L, text, v, scratch, depth + 1);
        break;
    default:
        lua_pushnil(L);
    }
}

void bind_decode(lua_State *L, struct str text, const struct jvalue *value) {
    struct bind_text scratch;
    bind_text_push(L, &scratch, value->len + 4, 0); /* a text is no longer than it is written */
    decode(L, text, value, &scratch.buf, 0);
    lua_replace(L, scratch.index);
}

void bind_push_path(lua_State *L, struct str text, const char *path) {
    struct jvalue value;
    policy_charge(L, text.n / 64);
    if (jscan_find(text, path, &value) == 1) {
        bind_decode(L, text, &value);
    } else {
        lua_pushnil(L);
    }
}
