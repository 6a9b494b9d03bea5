/* SPDX-License-Identifier: MIT */
/*
 * From JSON to the values of a body. The text was checked before, so this reads each byte once and
 * trusts the grammar; it never reads past the end all the same.
 */
#include <math.h>
#include <string.h>

#include "base/jscan.h"
#include "base/limits.h"
#include "policy/body_values.h"
#include "policy/policy_lua.h"

struct decoding {
    lua_State *L;
    int anchor, raw; /* indexes; raw 0: nothing stays raw */
    const char *start, *p, *end;
    size_t longest;
    size_t nodes;
};

static void damaged(const struct decoding *d) {
    luaL_error(d->L, "a JSON text is damaged at byte %d", (int)(d->p - d->start));
}

static char skip_space(struct decoding *d) {
    while (d->p < d->end && (*d->p == ' ' || *d->p == '\n' || *d->p == '\r' || *d->p == '\t')) {
        d->p++;
    }
    if (d->p == d->end) {
        damaged(d);
    }
    return *d->p;
}

/* p stands on the opening quote; after it, behind the closing one. What is between them. */
static struct str read_string(struct decoding *d) {
    const char *from = d->p + 1, *at = from;
    for (;;) {
        const char *quote = at < d->end ? memchr(at, '"', (size_t)(d->end - at)) : NULL;
        const char *slash = quote ? quote : d->end;
        if (!quote) {
            damaged(d);
        }
        while (slash > from && slash[-1] == '\\') {
            slash--;
        }
        at = quote + 1;
        if ((quote - slash) % 2 == 0) {
            d->p = at;
            return str_make(from, (size_t)(quote - from));
        }
    }
}

static void skip_value(struct decoding *d) {
    size_t depth = 0;
    do {
        char c = skip_space(d);
        if (c == '"') {
            read_string(d);
        } else if (c == '{' || c == '[') {
            depth++;
            d->p++;
        } else if (c == '}' || c == ']') {
            depth--;
            d->p++;
        } else if (c == ',' || c == ':') {
            d->p++;
        } else {
            while (d->p < d->end && !memchr(",:]} \t\r\n", *d->p, 8)) {
                d->p++;
            }
        }
    } while (depth);
}

/* Nearly all need neither unescaping nor repair. */
static bool is_plain(struct str s) {
    for (size_t i = 0; i < s.n; i++) {
        if ((unsigned char)s.p[i] >= 0x80 || s.p[i] == '\\') {
            return false;
        }
    }
    return true;
}

static void push_unescaped(lua_State *L, struct str s) {
    char storage[BODY_LONG * 3 + 1]; /* a byte that is no UTF-8 becomes three */
    struct buf plain;
    buf_over(&plain, storage, sizeof(storage) - 1);
    if (jscan_unescape(s, &plain) != 0) {
        luaL_error(L, "a text of a body is damaged");
    }
    lua_pushlstring(L, plain.data, plain.len);
}

static void push_string(lua_State *L, struct str s) {
    if (is_plain(s)) {
        lua_pushlstring(L, s.p, s.n);
    } else {
        push_unescaped(L, s);
    }
}

static void decode_string(struct decoding *d) {
    struct str s = read_string(d);
    if (s.n + 2 >= d->longest) {
        body_push_leaf(d->L, d->anchor, s, true);
    } else {
        push_string(d->L, s);
    }
}

static void decode_number(struct decoding *d) {
    char text[64];
    const char *from = d->p;
    while (d->p < d->end && memchr("0123456789+-.eE", *d->p, 15)) {
        d->p++;
    }
    struct str s = str_make(from, (size_t)(d->p - from));
    bool whole = !memchr(from, '.', s.n) && !memchr(from, 'e', s.n) && !memchr(from, 'E', s.n);
    str_copy(text, sizeof(text), s);
    if (s.n == 0) {
        damaged(d);
    }
    if (s.n >= sizeof(text) || !lua_stringtonumber(d->L, text)) {
        body_push_raw(d->L, d->anchor, s);
    } else if ((whole && !lua_isinteger(d->L, -1)) || isinf(lua_tonumber(d->L, -1))) {
        /* beyond 64 bits, or beyond all numbers: as it was written */
        lua_pop(d->L, 1);
        body_push_raw(d->L, d->anchor, s);
    }
}

static void decode(struct decoding *d, int depth);

/* Is the field whose name is on top of the stack one that stays raw? */
static bool stays_raw(const struct decoding *d) {
    if (!d->raw) {
        return false;
    }
    lua_pushvalue(d->L, -1);
    lua_rawget(d->L, d->raw);
    bool raw = lua_toboolean(d->L, -1);
    lua_pop(d->L, 1);
    return raw;
}

static void decode_field(struct decoding *d, int depth) {
    if (skip_space(d) != '"') {
        damaged(d);
    }
    struct str name = read_string(d);
    if (name.n >= BODY_NAME_MAX) {
        luaL_error(d->L, "a field's name is longer than %d bytes", (int)BODY_NAME_MAX);
    }
    push_string(d->L, name);
    skip_space(d);
    d->p++; /* the colon */
    char c = skip_space(d);
    if (c != 'n' && stays_raw(d)) {
        const char *from = d->p;
        skip_value(d);
        body_push_raw(d->L, d->anchor, str_make(from, (size_t)(d->p - from)));
    } else {
        decode(d, depth);
    }
    lua_rawset(d->L, -3);
}

/* Behind a value: goes on behind a comma, or behind the end. True: there is more. */
static bool more(struct decoding *d, char end) {
    char c = skip_space(d);
    d->p++;
    if (c != ',' && c != end) {
        damaged(d);
    }
    return c == ',';
}

static void decode_object(struct decoding *d, int depth) {
    d->p++;
    lua_newtable(d->L);
    if (skip_space(d) == '}') {
        d->p++;
        return;
    }
    do {
        decode_field(d, depth);
    } while (more(d, '}'));
}

static void decode_list(struct decoding *d, int depth) {
    lua_Integer n = 0;
    d->p++;
    lua_newtable(d->L);
    body_set_mark(d->L, -1, BODY_LIST);
    if (skip_space(d) == ']') {
        d->p++;
        return;
    }
    do {
        decode(d, depth);
        if (lua_isnil(d->L, -1)) {
            lua_pop(d->L, 1);
            lua_pushlightuserdata(d->L, NULL);
        }
        lua_rawseti(d->L, -2, ++n);
    } while (more(d, ']'));
}

static void decode_word(struct decoding *d, char c) {
    size_t n = c == 'f' ? 5 : 4;
    if (!memchr("tfn", c, 3) || (size_t)(d->end - d->p) < n) {
        damaged(d);
    }
    d->p += n;
    if (c == 'n') {
        lua_pushnil(d->L);
    } else {
        lua_pushboolean(d->L, c == 't');
    }
}

static void decode(struct decoding *d, int depth) {
    char c = skip_space(d);
    if (++d->nodes > BODY_NODES || depth > MAX_JSON_DEPTH) {
        luaL_error(d->L, "a body of more than %d values, or nested deeper than %d", BODY_NODES,
                   MAX_JSON_DEPTH);
    }
    if (d->nodes % 64 == 0) {
        policy_charge(d->L, 128);
    }
    if (c == '"') {
        decode_string(d);
    } else if (c == '{' || c == '[') {
        luaL_checkstack(d->L, 8, "JSON is nested too deeply");
        (c == '{' ? decode_object : decode_list)(d, depth + 1);
    } else if (c == '-' || (c >= '0' && c <= '9')) {
        decode_number(d);
    } else {
        decode_word(d, c);
    }
}

void body_decode(lua_State *L, int anchor, int raw, size_t longest) {
    struct decoding d = {.L = L,
                         .anchor = lua_absindex(L, anchor),
                         .raw = raw ? lua_absindex(L, raw) : 0,
                         .longest = longest < BODY_LONG ? longest : BODY_LONG};
    struct str text;
    struct err err;
    const struct body_source *source = body_anchor(L, d.anchor, &text);
    policy_charge(L, text.n / 64);
    if (!(source && source->checked) && jscan_check(text, &err) != JSCAN_OK) {
        luaL_error(L, "%s", err.text);
    }
    d.start = d.p = text.p;
    d.end = text.p + text.n;
    decode(&d, 0);
}
