/* SPDX-License-Identifier: MIT */
/*
 * Fuzzes the budgeted pattern matcher against stock string.find: same place, same captures, and a
 * mistake in the pattern is a mistake for both. The first byte of the input is the length of the
 * pattern, the rest the text. Inputs that need many steps are skipped, since stock Lua would take
 * forever.
 * Reads: policy/pattern.c
 *
 * Lives on from input to input: the stock Lua state.
 */
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "policy/pattern.h"

#define MAX_PATTERN 40
#define MAX_TEXT 100
#define MAX_STEPS 20000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct found {
    int status; /* 1 found, 0 not, -1 mistake in the pattern */
    struct matcher m;
    const char *from, *to;
};

static void ours(struct str text, struct str pat, struct found *out) {
    bool anchored = pat.n > 0 && pat.p[0] == '^';
    const char *at;

    matcher_init(&out->m, text, anchored ? str_make(pat.p + 1, pat.n - 1) : pat);
    out->status = 0;
    for (at = text.p; at <= text.p + text.n; at++) {
        const char *end = matcher_try(&out->m, at);
        struct capture c;
        int i;

        for (i = 0; end && i < out->m.level; i++) {
            if (matcher_get(&out->m, i, at, end, &c) < 0) {
                break;
            }
        }
        if (out->m.error) {
            out->status = -1;
            return;
        }
        if (end) {
            out->status = 1;
            out->from = at;
            out->to = end;
            return;
        }
        if (anchored) {
            return;
        }
    }
}

/* Stock find takes a pattern without these as plain text, even one with a stray ')'. */
static bool has_specials(struct str pat) {
    size_t i;

    for (i = 0; i < pat.n; i++) {
        if (pat.p[i] && strchr("^$*+?.([%-", pat.p[i])) {
            return true;
        }
    }
    return false;
}

static void die(struct str text, struct str pat, const char *what) {
    fprintf(stderr, "%s: pattern \"%.*s\" text \"%.*s\"\n", what, (int)pat.n, pat.p, (int)text.n,
            text.p);
    abort();
}

static void compare_captures(lua_State *L, struct str text, struct str pat, struct found *f) {
    int i;

    if (lua_gettop(L) != 2 + f->m.level) {
        die(text, pat, "another number of captures");
    }
    for (i = 0; i < f->m.level; i++) {
        struct capture c = {NULL, 0};
        size_t n;
        const char *s;

        if (matcher_get(&f->m, i, f->from, f->to, &c) < 0) {
            die(text, pat, "a capture is missing");
        }
        if (c.len == CAPTURE_POSITION) {
            if (!lua_isinteger(L, 3 + i) || lua_tointeger(L, 3 + i) != c.from - text.p + 1) {
                die(text, pat, "another position");
            }
            continue;
        }
        s = lua_tolstring(L, 3 + i, &n);
        if (n != (size_t)c.len || memcmp(s, c.from, n) != 0) {
            die(text, pat, "another capture");
        }
    }
}

static void compare(lua_State *L, struct str text, struct str pat, struct found *f) {
    int status;

    lua_getglobal(L, "string");
    lua_getfield(L, -1, "find");
    lua_remove(L, 1);
    lua_pushlstring(L, text.p, text.n);
    lua_pushlstring(L, pat.p, pat.n);
    status = lua_pcall(L, 2, LUA_MULTRET, 0);
    if ((status != LUA_OK) != (f->status < 0)) {
        die(text, pat, status != LUA_OK ? lua_tostring(L, -1) : f->m.error);
    }
    if (status != LUA_OK) {
        return;
    }
    if (lua_isnil(L, 1) != (f->status == 0)) {
        die(text, pat, f->status ? "only we found it" : "only stock Lua found it");
    }
    if (f->status == 0) {
        return;
    }
    if (lua_tointeger(L, 1) != f->from - text.p + 1 || lua_tointeger(L, 2) != f->to - text.p) {
        die(text, pat, "another place");
    }
    compare_captures(L, text, pat, f);
}

static lua_State *stock(void) {
    static lua_State *kept;
    if (!kept) {
        kept = luaL_newstate();
        if (!kept) {
            abort();
        }
        luaL_requiref(kept, "string", luaopen_string, 1);
    }
    lua_settop(kept, 0);
    return kept;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct str pat, text;
    struct found f;
    char *copy;

    if (size < 1 || data[0] > MAX_PATTERN || size - 1 < data[0] || size - 1 - data[0] > MAX_TEXT) {
        return 0;
    }
    copy = malloc(size + 1); /* Lua's strings end in a NUL that the algorithm may read */
    if (!copy) {
        return 0;
    }
    memcpy(copy, data, size);
    copy[size] = '\0';
    pat = str_make(copy + 1, data[0]);
    text = str_make(pat.p + pat.n, size - 1 - pat.n);
    ours(text, pat, &f);
    if (f.m.steps <= MAX_STEPS && has_specials(pat)) {
        compare(stock(), text, pat, &f);
    }
    free(copy);
    return 0;
}
