/* SPDX-License-Identifier: MIT */
/* From the values of a body to JSON. Fields come sorted by name, so that the same value always
 * gives the same bytes, unless the table is an ordered one. */
#include <math.h>
#include <stdlib.h>

#include "base/jscan.h"
#include "base/jtext.h"
#include "base/limits.h"
#include "policy/body_values.h"
#include "policy/policy_lua.h"
#include "policy/sandbox.h"

#define FEW_FIELDS 24 /* of most objects: sorted on the C stack */

static void put(lua_State *L, const struct buf *out, int rc) {
    if (rc != BUF_OK) {
        luaL_error(L,
                   rc == BUF_FULL ? "what was written is longer than %d bytes"
                                  : "the gateway has no memory for what is written (%d bytes)",
                   (int)out->max);
    }
}

static void encode(lua_State *L, int index, struct buf *out, int depth);

/* The shortest digits that read back as the same number. */
static void encode_number(lua_State *L, int index, struct buf *out) {
    char text[40];
    double n = lua_tonumber(L, index);
    if (lua_isinteger(L, index)) {
        put(L, out, buf_addf(out, "%lld", (long long)lua_tointeger(L, index)));
        return;
    }
    if (isnan(n) || isinf(n)) {
        luaL_error(L, "JSON has no NaN and no infinity");
    }
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, n);
        if (strtod(text, NULL) == n) {
            break;
        }
    }
    for (char *c = text; *c; c++) { /* the locale's decimal point */
        *c = strchr("0123456789+-e", *c) ? *c : '.';
    }
    put(L, out, buf_adds(out, text));
}

static bool write_part(lua_State *L, const struct body_part *part, void *ctx) {
    struct buf *out = ctx;
    size_t before = out->len;
    policy_charge(L, 1 + part->bytes.n / 64);
    put(L, out, part->escaped ? utf8_add(out, part->bytes) : json_write_inner(out, part->bytes));
    body_part_said(part, out, before);
    return true;
}

static void encode_text(lua_State *L, int index, struct buf *out) {
    put(L, out, buf_addc(out, '"'));
    body_walk(L, index, write_part, out);
    put(L, out, buf_addc(out, '"'));
}

static void encode_raw(lua_State *L, const struct body_raw *r, int index, struct buf *out) {
    if (r->bytes.p) {
        body_check_alive(L, r->source);
        policy_charge(L, r->bytes.n / 64);
        put(L, out, utf8_add(out, r->bytes));
        return;
    }
    size_t before = out->len;
    struct err err;
    lua_getiuservalue(L, index, 1);
    body_add_plain(L, lua_gettop(L), out);
    lua_pop(L, 1);
    if (jscan_check(str_make(out->data + before, out->len - before), &err) != JSCAN_OK) {
        luaL_error(L, "raw JSON that is none: %s", err.text); /* it was, or it has been changed */
    }
}

static void encode_list(lua_State *L, int table, lua_Integer n, struct buf *out, int depth) {
    put(L, out, buf_addc(out, '['));
    for (lua_Integer i = 1; i <= n; i++) {
        put(L, out, i > 1 ? buf_addc(out, ',') : BUF_OK);
        lua_rawgeti(L, table, i);
        encode(L, table + 1, out, depth);
        lua_settop(L, table);
    }
    put(L, out, buf_addc(out, ']'));
}

static void encode_field(lua_State *L, struct str name, bool first, struct buf *out) {
    put(L, out, first ? BUF_OK : buf_addc(out, ','));
    put(L, out, json_write_string(out, name));
    put(L, out, buf_addc(out, ':'));
}

static int by_name(const void *a, const void *b) {
    const struct str *x = a, *y = b;
    int order = memcmp(x->p, y->p, x->n < y->n ? x->n : y->n);
    return order ? order : x->n < y->n ? -1 : x->n > y->n;
}

/* The names of the table at index, which keeps them; more than FEW_FIELDS stand in a userdata, left
 * on the stack. */
static struct str *list_names(lua_State *L, int table, struct str *few, size_t *count) {
    size_t n = 0, room = FEW_FIELDS;
    struct str *names = few;
    lua_pushnil(L);
    lua_insert(L, table + 1); /* the place of the userdata */
    lua_pushnil(L);
    while (lua_next(L, table)) {
        lua_pop(L, 1);
        if (lua_type(L, -1) != LUA_TSTRING) {
            luaL_error(L, "a JSON object has names, not a %s, as keys", luaL_typename(L, -1));
        }
        if (n == room) {
            struct str *more = lua_newuserdatauv(L, room * 4 * sizeof(*more), 0);
            memcpy(more, names, n * sizeof(*more));
            names = more;
            room *= 4;
            lua_replace(L, table + 1);
        }
        names[n].p = lua_tolstring(L, -1, &names[n].n);
        n++;
    }
    qsort(names, n, sizeof(*names), by_name);
    *count = n;
    return names;
}

static void encode_object(lua_State *L, int table, struct buf *out, int depth) {
    struct str few[FEW_FIELDS];
    size_t n;
    const struct str *names = list_names(L, table, few, &n);
    policy_charge(L, 2 + n * 2);
    put(L, out, buf_addc(out, '{'));
    for (size_t i = 0; i < n; i++) {
        encode_field(L, names[i], i == 0, out);
        lua_pushlstring(L, names[i].p, names[i].n);
        lua_rawget(L, table);
        encode(L, table + 2, out, depth);
        lua_settop(L, table + 1);
    }
    lua_settop(L, table);
    put(L, out, buf_addc(out, '}'));
}

/* The table's `fields` is a list of { name, value }. */
static void encode_ordered(lua_State *L, int table, struct buf *out, int depth) {
    bool first = true;
    lua_getfield(L, table, "fields");
    luaL_checktype(L, -1, LUA_TTABLE);
    lua_Integer n = (lua_Integer)lua_rawlen(L, table + 1);
    policy_charge(L, 2 + (size_t)n * 2);
    put(L, out, buf_addc(out, '{'));
    for (lua_Integer i = 1; i <= n; i++) {
        struct str name;
        lua_rawgeti(L, table + 1, i);
        luaL_checktype(L, -1, LUA_TTABLE);
        lua_rawgeti(L, table + 2, 2);
        if (!lua_isnil(L, -1)) {
            lua_rawgeti(L, table + 2, 1);
            name.p = luaL_checklstring(L, -1, &name.n);
            encode_field(L, name, first, out);
            lua_pop(L, 1);
            encode(L, table + 3, out, depth);
            first = false;
        }
        lua_settop(L, table + 1);
    }
    lua_settop(L, table);
    put(L, out, buf_addc(out, '}'));
}

static void encode_table(lua_State *L, int index, struct buf *out, int depth) {
    luaL_checkstack(L, LUA_MINSTACK, "JSON is nested too deeply");
    if (!frozen_push(L, index)) {
        lua_pushvalue(L, index);
    }
    int table = lua_gettop(L);
    lua_Integer n = (lua_Integer)lua_rawlen(L, table);
    policy_charge(L, 4 + (size_t)n);
    if (body_has_mark(L, table, BODY_ORDERED)) {
        encode_ordered(L, table, out, depth);
    } else if (n > 0 || body_has_mark(L, table, BODY_LIST)) {
        encode_list(L, table, n, out, depth);
    } else {
        encode_object(L, table, out, depth);
    }
    lua_settop(L, table - 1);
}

static void encode_userdata(lua_State *L, int index, struct buf *out) {
    const struct body_raw *r = body_to_raw(L, index);
    if (r) {
        encode_raw(L, r, index, out);
    } else if (body_to_text(L, index)) {
        encode_text(L, index, out);
    } else {
        luaL_error(L, "a userdata cannot be written as JSON");
    }
}

static void encode(lua_State *L, int index, struct buf *out, int depth) {
    struct str s;
    switch (lua_type(L, index)) {
    case LUA_TLIGHTUSERDATA: /* body.null */
        put(L, out, buf_adds(out, "null"));
        break;
    case LUA_TBOOLEAN:
        put(L, out, buf_adds(out, lua_toboolean(L, index) ? "true" : "false"));
        break;
    case LUA_TNUMBER:
        encode_number(L, index, out);
        break;
    case LUA_TSTRING:
        s.p = lua_tolstring(L, index, &s.n);
        policy_charge(L, s.n / 64);
        put(L, out, json_write_string(out, s));
        break;
    case LUA_TTABLE:
        if (depth >= MAX_JSON_DEPTH) {
            luaL_error(L, "JSON is nested deeper than %d (or a table holds itself)",
                       MAX_JSON_DEPTH);
        }
        encode_table(L, index, out, depth + 1);
        break;
    case LUA_TUSERDATA:
        encode_userdata(L, index, out);
        break;
    default:
        luaL_error(L, "a %s cannot be written as JSON", luaL_typename(L, index));
    }
}

void body_encode(lua_State *L, int index, struct buf *out) {
    encode(L, lua_absindex(L, index), out, 0);
}
