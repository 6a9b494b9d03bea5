/* SPDX-License-Identifier: MIT */
/* Between Lua values and JSON text. */
#include <math.h>

#include "bind/bind_lua.h"

static void must(lua_State *L, int result) {
    if (result != BUF_OK) {
        luaL_error(L, result == BUF_FULL ? "the JSON text is too long" : "not enough memory");
    }
}

static void encode(lua_State *L, int index, struct buf *out, int depth);

static void encode_number(lua_State *L, int index, struct buf *out) {
    if (lua_isinteger(L, index)) {
        must(L, buf_addf(out, "%lld", (long long)lua_tointeger(L, index)));
        return;
    }
    double n = lua_tonumber(L, index);
    if (isnan(n) || isinf(n)) {
        luaL_error(L, "JSON has no NaN and no infinity");
    }
    bool whole = n == floor(n) && fabs(n) < 1e15;
    must(L, whole ? buf_addf(out, "%.0f", n) : buf_addf(out, "%.17g", n));
}

static void encode_array(lua_State *L, int table, lua_Integer n, struct buf *out, int depth) {
    must(L, buf_addc(out, '['));
    for (lua_Integer i = 1; i <= n; i++) {
        must(L, i > 1 ? buf_addc(out, ',') : BUF_OK);
        lua_rawgeti(L, table, i);
        encode(L, lua_gettop(L), out, depth);
        lua_pop(L, 1);
    }
    must(L, buf_addc(out, ']'));
}

static void encode_object(lua_State *L, int table, struct buf *out, int depth) {
    bool first = true;
    must(L, buf_addc(out, '{'));
    lua_pushnil(L);
    while (lua_next(L, table)) {
        struct str key;
        if (lua_type(L, -2) != LUA_TSTRING) {
            luaL_error(L, "a JSON object has names, not a %s, as keys", luaL_typename(L, -2));
        }
        key.p = lua_tolstring(L, -2, &key.n);
        must(L, first ? BUF_OK : buf_addc(out, ','));
        must(L, json_write_string(out, key));
        must(L, buf_addc(out, ':'));
        encode(L, lua_gettop(L), out, depth);
        lua_pop(L, 1);
        first = false;
    }
    must(L, buf_addc(out, '}'));
}

static void encode_table(lua_State *L, int index, struct buf *out, int depth) {
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

static void encode(lua_State *L, int index, struct buf *out, int depth) {
    struct str s;
    switch (lua_type(L, index)) {
    case LUA_TNIL:
    case LUA_TLIGHTUSERDATA: /* moongate.null */
        must(L, buf_adds(out, "null"));
        break;
    case LUA_TBOOLEAN:
        must(L, buf_adds(out, lua_toboolean(L, index) ? "true" : "false"));
        break;
    case LUA_TNUMBER:
        encode_number(L, index, out);
        break;
    case LUA_TSTRING:
        s.p = lua_tolstring(L, index, &s.n);
        must(L, json_write_string(out, s));
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

void bind_encode(lua_State *L, int index, struct buf *out) {
    encode(L, lua_absindex(L, index), out, 0);
}

static void decode(lua_State *L, struct str text, const struct jvalue *v, struct buf *scratch,
                   int depth);

static void decode_string(lua_State *L, struct str text, const struct jvalue *v,
                          struct buf *scratch) {
    buf_clear(scratch);
    must(L, jscan_string(text, v, scratch));
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
    struct buf *scratch = bind_push_buf(L, text.n + 4);
    decode(L, text, value, scratch, 0);
    buf_release(scratch);
    lua_remove(L, -2);
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
