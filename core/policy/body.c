/* SPDX-License-Identifier: MIT */
/* The module `moongate.body`: what dialects call. */
#include "policy/body.h"

#include <limits.h>

#include "base/jscan.h"
#include "base/limits.h"
#include "policy/body_values.h"
#include "policy/policy_lua.h"
#include "policy/sandbox.h"

#define CHARACTER_MAX 4 /* bytes that one escape, or one pair of them, may become */

static struct body_raw *check_raw(lua_State *L, int index) {
    struct body_raw *r = body_to_raw(L, index);
    if (!r) {
        luaL_error(L, "expected raw JSON, got a %s", luaL_typename(L, index));
    }
    return r;
}

static size_t check_count(lua_State *L, int arg) {
    lua_Integer n = luaL_checkinteger(L, arg);
    luaL_argcheck(L, n >= 0, arg, "a count of bytes is expected");
    return (size_t)n;
}

static int b_is_text(lua_State *L) {
    luaL_checkany(L, 1);
    lua_pushboolean(L, lua_type(L, 1) == LUA_TSTRING || body_to_text(L, 1));
    return 1;
}

static int b_is_raw(lua_State *L) {
    luaL_checkany(L, 1);
    lua_pushboolean(L, body_to_raw(L, 1) != NULL);
    return 1;
}

static int b_size(lua_State *L) {
    body_check_text(L, 1);
    const struct body_text *t = body_to_text(L, 1);
    lua_pushinteger(L, (lua_Integer)(t ? t->size : lua_rawlen(L, 1)));
    return 1;
}

/* How many bytes at the front of an escaped text to read so that at least n bytes come of it: no
 * escape is cut. A byte that is no UTF-8 becomes three, so less may do. */
static size_t front(struct str s, size_t n) {
    size_t i = 0, got = 0;
    while (i < s.n && got < n) {
        bool escape = s.p[i] == '\\' && i + 1 < s.n;
        bool unicode = escape && s.p[i + 1] == 'u';
        size_t step = unicode ? 6 : escape ? 2 : 1;
        bool high = unicode && i + 8 < s.n && (s.p[i + 2] | 0x20) == 'd' && s.p[i + 6] == '\\' &&
                    s.p[i + 7] == 'u';
        i += high ? 12 : step; /* a pair stays together */
        got++;
    }
    while (i < s.n && ((unsigned char)s.p[i] & 0xc0) == 0x80) {
        i++; /* to the end of a character */
    }
    return i < s.n ? i : s.n;
}

struct heading {
    struct buf *out;
    size_t n;
};

static bool add_head(lua_State *L, const struct body_part *part, void *ctx) {
    struct heading *h = ctx;
    size_t before = h->out->len, left = h->n - before;
    struct str bytes = part->bytes;
    size_t used = part->escaped ? front(bytes, left) : left < bytes.n ? left : bytes.n;
    bytes.n = used;
    policy_charge(L, 1 + used / 64);
    if (part->escaped ? jscan_unescape(bytes, h->out) : buf_add_str(h->out, bytes)) {
        luaL_error(L, "not enough memory");
    }
    body_part_said(part, h->out, before);
    return h->out->len < h->n;
}

/* head(v, n) */
static int b_head(lua_State *L) {
    body_check_text(L, 1);
    struct heading h = {.n = check_count(L, 2)};
    luaL_argcheck(L, h.n <= LUA_STRING_MAX, 2, "too many bytes for a string");
    lua_settop(L, 1);
    h.out = body_push_buf(L, h.n * CHARACTER_MAX + 16);
    if (h.n) {
        body_walk(L, 1, add_head, &h);
    }
    lua_pushlstring(L, h.out->data, h.out->len < h.n ? h.out->len : h.n);
    buf_release(h.out);
    return 1;
}

struct rest {
    size_t skip; /* decoded bytes that are still to be left out */
    int list;    /* what follows */
    lua_Integer n;
};

/* A leaf of some of the part's bytes. */
static void push_part(lua_State *L, const struct body_part *part, struct str bytes) {
    body_push_leaf(L, part->anchor, bytes, part->escaped)->url64 = part->url64;
}

/* The piece in which the cut is: what is left of the characters read, then the bytes behind. */
static void cut_escaped(lua_State *L, const struct body_part *part, struct rest *r) {
    struct str bytes = part->bytes;
    struct buf *plain = body_push_buf(L, r->skip * CHARACTER_MAX + 16);
    size_t used = front(bytes, r->skip);
    if (jscan_unescape(str_make(bytes.p, used), plain) != 0) {
        luaL_error(L, "not enough memory");
    }
    body_part_said(part, plain, 0);
    size_t skipped = plain->len < r->skip ? plain->len : r->skip;
    if (plain->len > r->skip) {
        lua_pushlstring(L, plain->data + r->skip, plain->len - r->skip);
        lua_rawseti(L, r->list, ++r->n);
    }
    buf_release(plain);
    r->skip -= skipped;
    if (used < bytes.n) {
        push_part(L, part, str_make(bytes.p + used, bytes.n - used));
        lua_rawseti(L, r->list, ++r->n);
    }
}

static void cut_plain(lua_State *L, const struct body_part *part, struct rest *r) {
    struct str bytes = part->bytes;
    if (bytes.n <= r->skip) {
        r->skip -= bytes.n;
        return;
    }
    bytes = str_make(bytes.p + r->skip, bytes.n - r->skip);
    r->skip = 0;
    if (lua_type(L, part->anchor) == LUA_TSTRING && bytes.n < BODY_LONG && !part->url64) {
        lua_pushlstring(L, bytes.p, bytes.n);
    } else {
        push_part(L, part, bytes);
    }
    lua_rawseti(L, r->list, ++r->n);
}

static bool add_rest(lua_State *L, const struct body_part *part, void *ctx) {
    struct rest *r = ctx;
    policy_charge(L, 1 + r->skip / 64);
    if (part->escaped && r->skip) {
        cut_escaped(L, part, r);
    } else if (part->escaped) {
        push_part(L, part, part->bytes);
        lua_rawseti(L, r->list, ++r->n);
    } else {
        cut_plain(L, part, r);
    }
    return true;
}

/* after(v, n) */
static int b_after(lua_State *L) {
    body_check_text(L, 1);
    struct rest r = {.skip = check_count(L, 2), .list = 2};
    if (lua_type(L, 1) == LUA_TSTRING) {
        size_t n;
        const char *s = lua_tolstring(L, 1, &n);
        size_t skip = r.skip < n ? r.skip : n;
        lua_pushlstring(L, s + skip, n - skip);
        return 1;
    }
    lua_settop(L, 1);
    lua_newtable(L);
    body_walk(L, 1, add_rest, &r);
    body_push_rope(L);
    return 1;
}

static bool add_base64(lua_State *L, const struct body_part *part, void *ctx) {
    const int *list = ctx;
    body_push_leaf(L, part->anchor, part->bytes, part->escaped)->url64 = true;
    lua_rawseti(L, *list, (lua_Integer)lua_rawlen(L, *list) + 1);
    return true;
}

/* base64(v): in the plain alphabet, whichever it was in. A text is looked at when it is read. */
static int b_base64(lua_State *L) {
    body_check_text(L, 1);
    lua_settop(L, 1);
    if (lua_type(L, 1) == LUA_TSTRING) {
        struct body_part part = {.url64 = true};
        part.bytes.p = lua_tolstring(L, 1, &part.bytes.n);
        struct buf *plain = body_push_buf(L, part.bytes.n);
        policy_charge(L, part.bytes.n / 64);
        if (buf_add_str(plain, part.bytes) != 0) {
            return luaL_error(L, "not enough memory");
        }
        body_part_said(&part, plain, 0);
        lua_pushlstring(L, plain->len ? plain->data : "", plain->len);
        buf_release(plain);
        return 1;
    }
    int list = 2;
    lua_newtable(L);
    body_walk(L, 1, add_base64, &list);
    body_push_rope(L);
    return 1;
}

/* Replaces a list on top of at most LUA_STRING_MAX bytes, all strings, by one string. */
static bool join_strings(lua_State *L) {
    int list = lua_gettop(L);
    size_t n = lua_rawlen(L, list), size = 0;
    for (size_t i = 1; i <= n; i++) {
        bool string = lua_rawgeti(L, list, (lua_Integer)i) == LUA_TSTRING;
        size += string ? lua_rawlen(L, -1) : 0;
        lua_settop(L, list);
        if (!string || size > LUA_STRING_MAX) {
            return false;
        }
    }
    luaL_Buffer joined;
    luaL_buffinit(L, &joined);
    for (size_t i = 1; i <= n; i++) {
        lua_rawgeti(L, list, (lua_Integer)i);
        luaL_addvalue(&joined);
    }
    luaL_pushresult(&joined);
    lua_replace(L, list);
    policy_charge(L, size / 64);
    return true;
}

/* Numbers join as Lua joins them. */
static void check_piece(lua_State *L, int index) {
    if (lua_type(L, index) == LUA_TNUMBER) {
        lua_tolstring(L, index, NULL);
    }
    body_check_text(L, index);
}

/* join(list, sep) */
static int b_join(lua_State *L) {
    lua_settop(L, 2);
    luaL_checktype(L, 1, LUA_TTABLE);
    frozen_see_through(L, 1);
    bool separated = !lua_isnil(L, 2);
    lua_Integer n = (lua_Integer)lua_rawlen(L, 1), out = 0;
    if (separated) {
        body_check_text(L, 2);
    }
    policy_charge(L, (size_t)n * 2);
    lua_createtable(L, (int)n, 0);
    for (lua_Integer i = 1; i <= n; i++) {
        if (separated && i > 1) {
            lua_pushvalue(L, 2);
            lua_rawseti(L, 3, ++out);
        }
        lua_rawgeti(L, 1, i);
        check_piece(L, -1);
        lua_rawseti(L, 3, ++out);
    }
    if (!join_strings(L)) {
        body_push_rope(L);
    }
    return 1;
}

/* string(v, max): nil when it is longer */
static int b_string(lua_State *L) {
    body_check_text(L, 1);
    lua_Integer asked = luaL_optinteger(L, 2, (lua_Integer)LUA_BODY_MAX);
    size_t max = asked < 0 ? 0 : (size_t)asked < LUA_BODY_MAX ? (size_t)asked : LUA_BODY_MAX;
    const struct body_text *t = body_to_text(L, 1);
    lua_settop(L, 1);
    if (!t) {
        lua_settop(L, lua_rawlen(L, 1) <= (size_t)max ? 1 : 0);
        return lua_gettop(L);
    }
    if (t->size / 6 > max) { /* an escape of six bytes may stand for one */
        return 0;
    }
    struct buf *plain = body_push_buf(L, t->size * 3 + 16);
    body_add_plain(L, 1, plain);
    if (plain->len <= max) {
        lua_pushlstring(L, plain->data, plain->len);
    } else {
        lua_pushnil(L);
    }
    buf_release(plain);
    return 1;
}

/* raw(text) -> RAW, or nil and why */
static int b_raw(lua_State *L) {
    struct err err;
    body_check_text(L, 1);
    lua_settop(L, 1);
    const struct body_text *t = body_to_text(L, 1);
    struct str text = {NULL, 0};
    struct buf *plain = body_push_buf(L, t ? t->size * 3 + 16 : 0);
    if (t) {
        body_add_plain(L, 1, plain);
        text = buf_str(plain);
    } else {
        text.p = lua_tolstring(L, 1, &text.n);
    }
    policy_charge(L, text.n / 64);
    bool good = jscan_check(text, &err) == JSCAN_OK;
    buf_release(plain);
    if (!good) {
        lua_pushnil(L);
        lua_pushstring(L, err.text);
        return 2;
    }
    if (t) {
        body_push_raw_of_text(L, 1);
    } else {
        body_push_raw(L, 1, text);
    }
    return 1;
}

/* text(raw): the JSON itself */
static int b_text(lua_State *L) {
    const struct body_raw *r = check_raw(L, 1);
    lua_getiuservalue(L, 1, 1);
    if (!r->bytes.p) {
        return 1;
    }
    body_check_alive(L, r->source);
    if (r->bytes.n < BODY_LONG) {
        lua_pushlstring(L, r->bytes.p, r->bytes.n);
    } else {
        body_push_leaf(L, 2, r->bytes, false);
    }
    return 1;
}

/* Pushes the JSON of the RAW at index 1 as a Lua string. */
static void push_json(lua_State *L) {
    const struct body_raw *r = check_raw(L, 1);
    if (r->bytes.p) {
        body_check_alive(L, r->source);
        luaL_argcheck(L, r->bytes.n <= LUA_BODY_MAX, 1, "too large to be looked into");
        lua_pushlstring(L, r->bytes.p, r->bytes.n);
        return;
    }
    lua_getiuservalue(L, 1, 1);
    int text = lua_gettop(L);
    struct buf *plain = body_push_buf(L, LUA_BODY_MAX);
    body_add_plain(L, text, plain);
    lua_pushlstring(L, plain->data, plain->len);
    buf_release(plain);
}

/* table(raw): decoded */
static int b_table(lua_State *L) {
    lua_settop(L, 1);
    push_json(L);
    body_decode(L, -1, 0, BODY_LONG);
    return 1;
}

static int b_kind(lua_State *L) {
    const struct body_raw *r = check_raw(L, 1);
    char first = '\0';
    if (r->bytes.p) {
        body_check_alive(L, r->source);
        first = r->bytes.p[strspn(r->bytes.p, " \t\r\n")];
    } else {
        lua_settop(L, 1);
        lua_getiuservalue(L, 1, 1);
        struct heading h = {.n = 64};
        h.out = body_push_buf(L, KIB(1));
        body_walk(L, 2, add_head, &h);
        first = h.out->data[strspn(h.out->data, " \t\r\n")];
        buf_release(h.out);
    }
    lua_pushstring(L, first == '{'                   ? "object"
                      : first == '['                 ? "array"
                      : first == '"'                 ? "string"
                      : first == 't' || first == 'f' ? "boolean"
                      : first == 'n'                 ? "null"
                                                     : "number");
    return 1;
}

/* encode(value) -> JSON as a Lua string */
static int b_encode(lua_State *L) {
    luaL_checkany(L, 1);
    lua_settop(L, 1);
    struct buf *out = body_push_buf(L, LUA_BODY_MAX);
    body_encode(L, 1, out);
    lua_pushlstring(L, out->data, out->len);
    buf_release(out);
    return 1;
}

static int b_raw_of(lua_State *L) {
    b_encode(L);
    size_t n;
    const char *json = lua_tolstring(L, -1, &n);
    body_push_raw(L, -1, str_make(json, n));
    return 1;
}

/* Replaces the list of names at index, or nil, by a set. */
static void make_set(lua_State *L, int index) {
    if (lua_isnil(L, index)) {
        return;
    }
    frozen_see_through(L, index);
    lua_newtable(L);
    for (lua_Integer i = 1; lua_rawgeti(L, index, i) == LUA_TSTRING; i++) {
        lua_pushboolean(L, 1);
        lua_rawset(L, -3);
    }
    lua_pop(L, 1);
    lua_replace(L, index);
}

/* decode(text, raw names or nil, long): text is a string, or a source of the core's. */
static int b_decode(lua_State *L) {
    struct str text;
    lua_settop(L, 3);
    body_anchor(L, 1, &text);
    make_set(L, 2);
    size_t usual = text.n > BODY_LARGE ? BODY_LONG_IN_LARGE : BODY_LONG;
    lua_Integer asked = luaL_optinteger(L, 3, (lua_Integer)usual);
    body_decode(L, 1, lua_isnil(L, 2) ? 0 : 2, asked < 2 ? 2 : (size_t)asked);
    return 1;
}

/* raw_set(names) -> what decode makes of them, to be kept for many events */
static int b_raw_set(lua_State *L) {
    lua_settop(L, 1);
    make_set(L, 1);
    return 1;
}

static int mark(lua_State *L, enum body_mark which) {
    luaL_checktype(L, 1, LUA_TTABLE);
    frozen_check_writable(L, 1);
    lua_settop(L, 1);
    body_set_mark(L, 1, which);
    return 1;
}

static int b_list(lua_State *L) {
    return mark(L, BODY_LIST);
}

static int b_object(lua_State *L) {
    return mark(L, BODY_OBJECT);
}

static int b_ordered(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    lua_createtable(L, 0, 1);
    lua_insert(L, 1);
    lua_setfield(L, 1, "fields");
    body_set_mark(L, 1, BODY_ORDERED);
    return 1;
}

int body_open(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"is_text", b_is_text}, {"is_raw", b_is_raw}, {"head", b_head},
        {"after", b_after},     {"size", b_size},     {"base64", b_base64},
        {"join", b_join},       {"string", b_string}, {"raw", b_raw},
        {"text", b_text},       {"table", b_table},   {"raw_of", b_raw_of},
        {"kind", b_kind},       {"list", b_list},     {"object", b_object},
        {"ordered", b_ordered}, {"decode", b_decode}, {"encode", b_encode},
        {"raw_set", b_raw_set}, {NULL, NULL}};
    body_open_values(L);
    luaL_newlib(L, functions);
    lua_pushlightuserdata(L, NULL);
    lua_setfield(L, -2, "null");
    return 1;
}
