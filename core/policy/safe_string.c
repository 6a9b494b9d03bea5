/* SPDX-License-Identifier: MIT */
/*
 * The string functions whose work is not bounded by VM instructions: find, match, gmatch and gsub
 * over the budgeted matcher, rep with a cap on its result, and charges for those that walk a whole
 * string. Same results as stock Lua wherever stock Lua is not refused something.
 */
#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "policy/pattern.h"
#include "policy/policy_lua.h"
#include "policy/sandbox.h"

static void tick(void *ctx, size_t steps) {
    policy_charge(ctx, steps);
}

/* Raises what the matcher found wrong. */
static void check(lua_State *L, const struct matcher *m) {
    if (m->error) {
        luaL_where(L, m->where);
        lua_pushfstring(L, m->error, m->error_arg);
        lua_concat(L, 2);
        lua_error(L);
    }
}

static struct str check_str(lua_State *L, int arg) {
    struct str s;

    s.p = luaL_checklstring(L, arg, &s.n);
    return s;
}

/* Lua's starting position (1-based, negative from the end) as an offset; may be past the end. */
static size_t start_offset(lua_Integer pos, size_t len) {
    if (pos > 0) {
        return (size_t)pos - 1;
    }
    if (pos == 0 || pos < -(lua_Integer)len) {
        return 0;
    }
    return len - (size_t)-pos;
}

static bool cut_anchor(struct str *pat) {
    if (pat->n == 0 || pat->p[0] != '^') {
        return false;
    }
    pat->p++;
    pat->n--;
    return true;
}

static void start(lua_State *L, struct matcher *m, struct str s, struct str p) {
    matcher_init(m, s, p);
    m->tick = tick;
    m->ctx = L;
}

/* Within the prelude, which C called: the script is two levels further up. */
static void start_in_prelude(lua_State *L, struct matcher *m, struct str s, struct str p) {
    start(L, m, s, p);
    m->where = 3;
}

static void push_value(lua_State *L, struct matcher *m, int i, const char *from, const char *to) {
    struct capture c = {NULL, 0};

    if (matcher_get(m, i, from, to, &c) < 0) {
        check(L, m);
    }
    if (c.len == CAPTURE_POSITION) {
        lua_pushinteger(L, c.from - m->src.p + 1);
    } else {
        lua_pushlstring(L, c.from, (size_t)c.len);
    }
}

/* `whole`: push the whole match when there are no captures. */
static int push_captures(lua_State *L, struct matcher *m, const char *from, const char *to,
                         bool whole) {
    int i, n = whole ? matcher_count(m) : m->level;

    luaL_checkstack(L, n, "too many captures");
    for (i = 0; i < n; i++) {
        push_value(L, m, i, from, to);
    }
    return n;
}

/* The first match at or behind `from`; *end is its end. NULL: none. */
static const char *search(lua_State *L, struct matcher *m, const char *from, bool anchored,
                          const char **end) {
    const char *stop = m->src.p + m->src.n;

    for (; from <= stop; from++) {
        *end = matcher_try(m, from);
        check(L, m);
        if (*end) {
            return from;
        }
        if (anchored) {
            break;
        }
    }
    return NULL;
}

static bool is_plain(struct str p) {
    size_t i;

    for (i = 0; i < p.n; i++) {
        if (p.p[i] != '\0' && strchr("^$*+?.([%-", p.p[i])) {
            return false;
        }
    }
    return true;
}

/* memmem is linear in both lengths (two-way), unlike stock Lua's search. */
static int find_plain(lua_State *L, struct str s, struct str p, size_t init) {
    const char *hit;

    policy_charge(L, (s.n + p.n) / 32);
    hit = p.n == 0 ? s.p + init : memmem(s.p + init, s.n - init, p.p, p.n);
    if (!hit) {
        lua_pushnil(L);
        return 1;
    }
    lua_pushinteger(L, hit - s.p + 1);
    lua_pushinteger(L, hit - s.p + (lua_Integer)p.n);
    return 2;
}

static int find_or_match(lua_State *L, bool find) {
    struct str s = check_str(L, 1), p = check_str(L, 2);
    size_t init = start_offset(luaL_optinteger(L, 3, 1), s.n);
    const char *from, *end = NULL;
    struct matcher m;
    bool anchored;

    if (init > s.n) {
        lua_pushnil(L);
        return 1;
    }
    if (find && (lua_toboolean(L, 4) || is_plain(p))) {
        return find_plain(L, s, p, init);
    }
    anchored = cut_anchor(&p);
    start(L, &m, s, p);
    from = search(L, &m, s.p + init, anchored, &end);
    if (!from) {
        lua_pushnil(L);
        return 1;
    }
    if (!find) {
        return push_captures(L, &m, from, end, true);
    }
    lua_pushinteger(L, from - s.p + 1);
    lua_pushinteger(L, end - s.p);
    return push_captures(L, &m, from, end, false) + 2;
}

static int string_find(lua_State *L) {
    return find_or_match(L, true);
}

static int string_match(lua_State *L) {
    return find_or_match(L, false);
}

/* The first match at or behind offset `init` that does not end at offset `last`. */
static const char *search_next(lua_State *L, struct matcher *m, size_t init, lua_Integer last,
                               const char **end) {
    const char *from = m->src.p + init;

    while (init <= m->src.n) {
        from = search(L, m, from, false, end);
        if (!from || *end - m->src.p != last) {
            return from;
        }
        from++;
        init = (size_t)(from - m->src.p);
    }
    return NULL;
}

/* Upvalues: text, pattern, offset of the next try, offset where the last match ended (-1: none). */
static int gmatch_next(lua_State *L) {
    struct str s = check_str(L, lua_upvalueindex(1)), p = check_str(L, lua_upvalueindex(2));
    size_t init = (size_t)lua_tointeger(L, lua_upvalueindex(3));
    lua_Integer last = lua_tointeger(L, lua_upvalueindex(4));
    const char *from, *end = NULL;
    struct matcher m;

    start(L, &m, s, p);
    from = search_next(L, &m, init, last, &end);
    if (!from) {
        return 0;
    }
    lua_pushinteger(L, end - s.p);
    lua_copy(L, -1, lua_upvalueindex(3));
    lua_replace(L, lua_upvalueindex(4));
    return push_captures(L, &m, from, end, true);
}

static int string_gmatch(lua_State *L) {
    struct str s = check_str(L, 1);
    size_t init;

    check_str(L, 2);
    init = start_offset(luaL_optinteger(L, 3, 1), s.n);
    lua_settop(L, 2);
    lua_pushinteger(L, (lua_Integer)(init > s.n ? s.n + 1 : init));
    lua_pushinteger(L, -1);
    lua_pushcclosure(L, gmatch_next, 4);
    return 1;
}

int string_scan(lua_State *L) {
    struct str s = check_str(L, 1), p = check_str(L, 2);
    size_t init = (size_t)luaL_checkinteger(L, 3);
    lua_Integer last = luaL_checkinteger(L, 4);
    const char *from, *end = NULL;
    struct matcher m;
    bool anchored;

    anchored = cut_anchor(&p);
    start_in_prelude(L, &m, s, p);
    from = anchored ? search(L, &m, s.p + init, true, &end) : search_next(L, &m, init, last, &end);
    if (!from) {
        return 0;
    }
    lua_pushinteger(L, from - s.p);
    lua_pushinteger(L, end - s.p);
    return push_captures(L, &m, from, end, true) + 2;
}

static void add_limited(lua_State *L, luaL_Buffer *b, const char *text, size_t n) {
    if (n > LUA_REP_MAX || luaL_bufflen(b) > LUA_REP_MAX - n) {
        luaL_error(L, "resulting string longer than %d bytes", (int)LUA_REP_MAX);
    }
    luaL_addlstring(b, text, n);
}

/* One %-sequence of a replacement text, `c` behind the escape. */
static void add_escape(lua_State *L, luaL_Buffer *b, struct matcher *m, char c, const char *from,
                       const char *end) {
    struct capture got = {from, end - from};
    char digits[24];

    if (c == '%') {
        add_limited(L, b, "%", 1);
        return;
    }
    if (c < '0' || c > '9') {
        luaL_error(L, "invalid use of '%c' in replacement string", '%');
    }
    if (c != '0' && matcher_get(m, c - '1', from, end, &got) < 0) {
        check(L, m);
    }
    if (got.len == CAPTURE_POSITION) {
        snprintf(digits, sizeof digits, "%lld", (long long)(got.from - m->src.p + 1));
        add_limited(L, b, digits, strlen(digits));
        return;
    }
    add_limited(L, b, got.from, (size_t)got.len);
}

static void add_replacement(lua_State *L, luaL_Buffer *b, struct matcher *m, struct str repl,
                            const char *from, const char *end) {
    const char *stop = repl.p + repl.n;

    while (repl.p < stop) {
        const char *escape = memchr(repl.p, '%', (size_t)(stop - repl.p));

        if (!escape) {
            add_limited(L, b, repl.p, (size_t)(stop - repl.p));
            return;
        }
        add_limited(L, b, repl.p, (size_t)(escape - repl.p));
        add_escape(L, b, m, escape + 1 < stop ? escape[1] : '\0', from, end);
        repl.p = escape + 2;
    }
}

static int gsub_text(lua_State *L, lua_Integer max) {
    struct str s = check_str(L, 1), p = check_str(L, 2), repl = check_str(L, 3);
    bool anchored = cut_anchor(&p);
    const char *at = s.p, *last = NULL, *stop = s.p + s.n;
    lua_Integer n = 0;
    struct matcher m;
    luaL_Buffer b;

    start(L, &m, s, p);
    luaL_buffinit(L, &b);
    while (n < max) {
        const char *end = matcher_try(&m, at);

        check(L, &m);
        if (end && end != last) {
            n++;
            add_replacement(L, &b, &m, repl, at, end);
            at = last = end;
        } else if (at < stop) {
            add_limited(L, &b, at++, 1);
        } else {
            break;
        }
        if (anchored) {
            break;
        }
    }
    add_limited(L, &b, at, (size_t)(stop - at));
    luaL_pushresult(&b);
    lua_pushinteger(L, n);
    return 2;
}

static int gsub_done(lua_State *L, int status, lua_KContext ctx) {
    (void)L;
    (void)status;
    (void)ctx;
    return 2;
}

static int string_gsub(lua_State *L) {
    struct str s = check_str(L, 1);
    int type = lua_type(L, 3);
    lua_Integer max;

    check_str(L, 2);
    max = luaL_optinteger(L, 4, (lua_Integer)s.n + 1);
    luaL_argexpected(L,
                     type == LUA_TNUMBER || type == LUA_TSTRING || type == LUA_TFUNCTION ||
                         type == LUA_TTABLE,
                     3, "string/function/table");
    if (type == LUA_TNUMBER || type == LUA_TSTRING) {
        return gsub_text(L, max);
    }
    lua_settop(L, 3);
    lua_pushinteger(L, max);
    prelude_push(L, PRELUDE_GSUB);
    lua_insert(L, 1);
    lua_callk(L, 4, 2, 0, gsub_done);
    return 2;
}

/* The text and its separator, over and over. Doubles what is there: a million copies of one byte
 * must not be a million calls, since nobody can stop them on the way. `out` has room for one
 * separator more. */
static void fill(char *out, struct str s, struct str sep, size_t size) {
    size_t done = s.n + sep.n;

    memcpy(out, s.p, s.n);
    memcpy(out + s.n, sep.p, sep.n);
    while (done < size) {
        size_t more = done < size - done ? done : size - done;

        memcpy(out + done, out, more);
        done += more;
    }
}

static int string_rep(lua_State *L) {
    struct str s = check_str(L, 1), sep;
    lua_Integer n = luaL_checkinteger(L, 2);
    size_t each, size;
    luaL_Buffer b;

    sep.p = luaL_optlstring(L, 3, "", &sep.n);
    each = s.n + sep.n;
    if (n <= 0 ||
        each == 0) { /* stock Lua would count to n here even if there is nothing to repeat */
        lua_pushliteral(L, "");
        return 1;
    }
    if (each > LUA_REP_MAX || (lua_Unsigned)n > LUA_REP_MAX / each + 1 ||
        (size_t)n * each - sep.n > LUA_REP_MAX) {
        return luaL_error(L, "resulting string longer than %d bytes", (int)LUA_REP_MAX);
    }
    policy_charge(L, (size_t)n + (size_t)n * each / 32);
    size = (size_t)n * each - sep.n;
    fill(luaL_buffinitsize(L, &b, (size_t)n * each), s, sep, size);
    luaL_pushresultsize(&b, size);
    return 1;
}

/* Stock byte and codepoint, whose results grow the stack: charged for each, and capped. Upvalue:
 * the stock function. */
static int slice(lua_State *L) {
    struct str s = check_str(L, 1);
    sandbox_charge_texts(L);
    lua_Integer i = luaL_optinteger(L, 2, 1), j = luaL_optinteger(L, 3, i);
    lua_Integer len = (lua_Integer)s.n;
    lua_Integer from = i < 0 ? (i < -len ? 1 : len + i + 1) : i;
    lua_Integer to = j < 0 ? len + j + 1 : (j > len ? len : j);

    if (from <= to && to - from >= LUA_RANGE_MAX) {
        return luaL_error(L, "string slice too long");
    }
    policy_charge(L, from <= to ? (size_t)(to - from) + 1 : 1);
    return lua_tocfunction(L, lua_upvalueindex(1))(L);
}

static void cap_slice(lua_State *L, const char *name) {
    lua_getfield(L, -1, name);
    lua_pushcclosure(L, slice, 1);
    lua_setfield(L, -2, name);
}

void safe_string(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"find", string_find}, {"match", string_match}, {"gmatch", string_gmatch},
        {"gsub", string_gsub}, {"rep", string_rep},     {NULL, NULL},
    };
    static const char *const walkers[] = {"lower", "reverse", "upper", NULL};
    int i;

    luaL_setfuncs(L, functions, 0);
    for (i = 0; walkers[i]; i++) {
        sandbox_charge_by_length(L, walkers[i]);
    }
    cap_slice(L, "byte");
}

void safe_utf8(lua_State *L) {
    static const char *const walkers[] = {"len", "offset", NULL};
    int i;

    for (i = 0; walkers[i]; i++) {
        sandbox_charge_by_length(L, walkers[i]);
    }
    cap_slice(L, "codepoint");
}
