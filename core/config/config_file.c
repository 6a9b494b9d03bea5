/* SPDX-License-Identifier: MIT */
/*
 * Runs gateway.lua in the sandbox that was handed down, with env() and file() added, and copies out
 * the table it returns. A variable or file that is not there is told and stands as UNKNOWN_VALUE,
 * so that the rest of the file is still looked at. Nothing allocated here is alive while Lua may
 * raise.
 */
#include <lauxlib.h>
#include <limits.h>
#include <lua.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/limits.h"
#include "config/config_input.h"
#include "config/config_load.h"
#include "config/locate.h"
#include "config/luavalue.h"

/* What the chunk is called in Lua's messages. */
static const char *chunk_name(const struct load *l) {
    const char *slash = strrchr(l->file, '/');
    return slash ? slash + 1 : l->file;
}

/* The file that Lua means by `source`, as the user would name it. Lua shortens long names to
 * "...end". */
static const char *source_file(const struct load *l, struct str source) {
    if (str_is(source, chunk_name(l)) || str_starts(source, "...")) {
        return l->file;
    }
    for (size_t i = 0; i < snapshot_count(l->snapshot); i++) {
        const struct snapshot_file *f = snapshot_at(l->snapshot, i);
        if (str_is(source, f->name) || str_is(source, f->path)) {
            return f->path;
        }
    }
    return l->file;
}

/* Splits "source:12: message". False when there is no position. */
static bool split_position(struct str text, struct str *source, int *line, struct str *message) {
    for (size_t i = 1; i < text.n; i++) {
        unsigned long long n = 0;
        size_t end = i + 1;
        while (end < text.n && text.p[end] >= '0' && text.p[end] <= '9') {
            end++;
        }
        if (text.p[i] != ':' || end >= text.n || text.p[end] != ':') {
            continue;
        }
        if (!str_to_u64(str_make(text.p + i + 1, end - i - 1), &n) || n > INT_MAX) {
            continue;
        }
        *source = str_make(text.p, i);
        *line = (int)n;
        *message = str_trim(str_make(text.p + end + 1, text.n - end - 1));
        return true;
    }
    return false;
}

/* A syntax error quotes the token it stopped at, which may be a secret in quotes. */
static struct str without_literal(struct str message) {
    static const char *const literals[] = {" near '\"", " near ''", " near '[["};
    for (size_t i = 0; i < sizeof(literals) / sizeof(*literals); i++) {
        const char *at =
            message.n ? memmem(message.p, message.n, literals[i], strlen(literals[i])) : NULL;
        if (at) {
            return str_make(message.p, (size_t)(at - message.p));
        }
    }
    return message;
}

/* The first line of what the sandbox says, without the traceback. */
static void tell_lua_error(struct load *l, const struct err *err) {
    struct str text = str_of(err->text);
    struct str first = text;
    struct str source;
    struct str message;
    int line = 0;
    str_split(&text, '\n', &first);
    if (!split_position(first, &source, &line, &message)) {
        diags_error(l->diags, l->file, 0, "%.*s", (int)first.n, first.p);
        return;
    }
    message = without_literal(message);
    diags_error(l->diags, source_file(l, source), line, "%.*s", (int)message.n, message.p);
}

static struct load *load_of(lua_State *L) {
    return lua_touserdata(L, lua_upvalueindex(1));
}

/* Where the Lua code is that called us. */
static const char *caller(lua_State *L, struct load *l, int *line) {
    lua_Debug ar;
    *line = 0;
    if (!lua_getstack(L, 1, &ar) || !lua_getinfo(L, "Sl", &ar)) {
        return l->file;
    }
    *line = ar.currentline > 0 ? ar.currentline : 0;
    return source_file(l, str_of(ar.short_src));
}

/* env(name[, default]). An empty variable counts as not set. */
static int lua_env(lua_State *L) {
    struct load *l = load_of(L);
    const char *name = luaL_checkstring(L, 1);
    const char *value = getenv(name);
    bool given = value && *value;
    input_mix(l, 'e', str_of(name), given ? str_of(value) : STR(""));
    if (given) {
        lua_pushstring(L, value);
        return 1;
    }
    if (lua_gettop(L) >= 2) {
        lua_settop(L, 2);
        return 1;
    }
    int line = 0;
    const char *file = caller(L, l, &line);
    diags_error(l->diags, file, line,
                "env %.100s is %s; set it, or give a default: env(\"%.100s\", \"...\")", name,
                value ? "set but empty" : "not set", name);
    lua_pushstring(L, UNKNOWN_VALUE);
    return 1;
}

static int no_file(lua_State *L, struct load *l, const char *path, const char *why) {
    int line = 0;
    const char *file = caller(L, l, &line);
    diags_error(l->diags, file, line, "file %.200s: %s", path, why);
    lua_pushstring(L, UNKNOWN_VALUE);
    return 1;
}

/* file(path): its content, without one line end at its end. Paths are relative to the
 * configuration's folder. */
static int lua_file(lua_State *L) {
    struct load *l = load_of(L);
    struct stat st;
    char path[PATH_MAX];
    size_t length = 0;
    const char *name = luaL_checklstring(L, 1, &length);
    const char *wrong = input_find(l, str_make(name, length), path, &st);
    if (wrong) {
        return no_file(L, l, name, wrong);
    }
    char *text = lua_newuserdatauv(L, (size_t)st.st_size + 1, 0);
    wrong = input_read(path, &st, text);
    if (wrong) {
        return no_file(L, l, name, wrong);
    }
    size_t n = (size_t)st.st_size;
    size_t all = n;
    input_mix(l, 'f', str_of(name), str_make(text, n));
    n -= n && text[n - 1] == '\n';
    n -= n && n != all && text[n - 1] == '\r';
    lua_pushlstring(L, text, n);
    return 1;
}

static void add_function(lua_State *L, struct load *l, const char *name, lua_CFunction f) {
    lua_pushglobaltable(L);
    lua_pushstring(L, name);
    lua_pushlightuserdata(L, l);
    lua_pushcclosure(L, f, 1);
    lua_rawset(L, -3); /* raw: the sandbox may forbid new globals */
    lua_pop(L, 1);
}

/* Runs protected: takes the load, returns the compiled chunk. */
static int prepare(lua_State *L) {
    struct load *l = lua_touserdata(L, 1);
    const struct snapshot_file *f = snapshot_at(l->snapshot, 0);
    struct str text = str_make(f->text, f->len);
    if (str_starts(text, "\xEF\xBB\xBF")) { /* editors on Windows put it there */
        text = str_make(text.p + 3, text.n - 3);
    }
    add_function(L, l, "env", lua_env);
    add_function(L, l, "file", lua_file);
    lua_pushfstring(L, "@%s", chunk_name(l));
    if (luaL_loadbufferx(L, text.p, text.n, lua_tostring(L, -1), "t") != LUA_OK) {
        return lua_error(L);
    }
    return 1;
}

static void tell_bad(void *ctx, const char *path, const char *what, struct value *instead) {
    struct load *l = ctx;
    diags_error(l->diags, l->file, config_line(l->snapshot, path), "%s%s%s", path,
                *path ? ": " : "", what);
    if (value_set_str(instead, STR(UNKNOWN_VALUE))) {
        *instead = (struct value){0}; /* told again as missing, at worst */
    }
}

static void tell_twice(void *ctx, struct str name, int line, int first_line) {
    struct load *l = ctx;
    diags_error(l->diags, l->file, line,
                "\"%.*s\" is given twice in one table; the first is in line %d",
                (int)(name.n > 100 ? 100 : name.n), name.p, first_line);
}

static int take_result(struct load *l, lua_State *L, struct value *root) {
    struct err err;
    struct value_bad bad = {tell_bad, l};
    if (lua_type(L, -1) != LUA_TTABLE) {
        diags_error(l->diags, l->file, config_line(l->snapshot, ""),
                    "must return a table, returned %s",
                    lua_type(L, -1) == LUA_TNIL ? "nothing" : lua_typename(L, lua_type(L, -1)));
        return -1;
    }
    if (value_from_lua_all(L, -1, root, &bad, &err)) {
        diags_error(l->diags, l->file, 0, "%s", err.text);
        return -1;
    }
    const struct snapshot_file *f = snapshot_at(l->snapshot, 0);
    locate_twice(str_make(f->text, f->len), tell_twice, l);
    return 0;
}

int config_run_file(struct load *l, struct value *root) {
    const struct config_lua *lua = l->lua;
    struct err err;
    lua_State *L = lua->open(lua->ctx);
    int rc = -1;
    *root = (struct value){0};
    if (!L) {
        diags_error(l->diags, l->file, 0, "no Lua state could be made: memory is short");
        return -1;
    }
    err.text[0] = '\0';
    lua_pushcfunction(L, prepare);
    lua_pushlightuserdata(L, l);
    if (lua->call(lua->ctx, L, 1, 1, &err) || lua->call(lua->ctx, L, 0, 1, &err)) {
        tell_lua_error(l, &err);
    } else {
        rc = take_result(l, L, root);
    }
    lua->close(lua->ctx, L);
    return rc;
}
