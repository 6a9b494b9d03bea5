/* SPDX-License-Identifier: MIT */
/*
 * The contract of a policy file: it returns a table with a function `handle`, and if it has
 * settings, a schema table. Everything that is wrong is reported, each with the line where the
 * field stands in the file, as far as its text shows it.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/lane.h"

struct contract {
    struct policy_file *file;
    struct diags *diags;
};

struct field {
    const char *name;
    int type;
    bool required;
    const char *expected;
};

static const struct field FIELDS[] = {
    {"handle", LUA_TFUNCTION, true, "a function (req, settings)"},
    {"settings", LUA_TTABLE, false, "a table of setting = { type = … }"},
    {"name", LUA_TSTRING, false, "a text"},
    {"version", LUA_TNONE, false, "a number or a text"},
    {"check", LUA_TFUNCTION, false, "a function (settings) that returns a list of problems"},
    {"prepare", LUA_TFUNCTION, false, "a function (settings)"},
    {"help", LUA_TSTRING, false, "a text"},
};
#define N_FIELDS (sizeof FIELDS / sizeof FIELDS[0])

/* Does `line` assign the field, or start with the word? */
static bool line_has(struct str line, const char *word, bool assigned) {
    size_t n = strlen(word), i;

    for (i = 0; i + n <= line.n; i++) {
        bool starts = i == 0 || !(isalnum((unsigned char)line.p[i - 1]) || line.p[i - 1] == '_' ||
                                  line.p[i - 1] == '.');

        if (starts && memcmp(line.p + i, word, n) == 0) {
            struct str rest = str_trim(str_make(line.p + i + n, line.n - i - n));

            if (!assigned || (rest.n > 0 && rest.p[0] == '=' && (rest.n < 2 || rest.p[1] != '='))) {
                return true;
            }
        }
        if (!assigned) {
            return false;
        }
    }
    return false;
}

/* The last line that starts with `return`: a policy ends with the table it returns. The last line
 * when there is none. */
static int return_line(const struct snapshot_file *file) {
    struct str rest = {file->text, file->len}, line;
    int n = 0, last = 0, filled = 1;

    while (str_split(&rest, '\n', &line)) {
        n++;
        last = line_has(line, "return", false) ? n : last;
        filled = str_trim(line).n > 0 ? n : filled;
    }
    return last ? last : filled;
}

/* Where the field is assigned, from the return on, else anywhere; 0 when nowhere. */
static int field_line(const struct snapshot_file *file, const char *name) {
    struct str rest = {file->text, file->len}, line;
    int n = 0, first = 0, from = return_line(file);

    while (str_split(&rest, '\n', &line)) {
        n++;
        if (line_has(line, name, true) || (n == from && str_has(line, name))) {
            if (n >= from) {
                return n;
            }
            first = first ? first : n;
        }
    }
    return first;
}

static int place(const struct snapshot_file *file, const char *name) {
    int line = field_line(file, name);

    return line ? line : return_line(file);
}

/* A key that is there and looks like the missing one. */
static const char *misspelt(lua_State *L, const char *name) {
    const char *one[] = {name, NULL};

    lua_pushnil(L);
    while (lua_next(L, 1)) {
        if (lua_type(L, -2) == LUA_TSTRING && str_nearest(lua_tostring(L, -2), one)) {
            const char *key = lua_tostring(L, -2);

            lua_pop(L, 2);
            return key; /* anchored by the table */
        }
        lua_pop(L, 1);
    }
    return NULL;
}

static void check_field(lua_State *L, struct contract *c, const struct field *f) {
    int type = lua_getfield(L, 1, f->name);

    lua_pop(L, 1);
    if (type == LUA_TNIL) {
        if (f->required) {
            const char *near = misspelt(L, f->name);

            diags_error(c->diags, c->file->label, place(c->file->file, near ? near : f->name),
                        "the policy has no field '%s' (expected %s)%s%s%s", f->name, f->expected,
                        near ? "; found '" : "", near ? near : "", near ? "', is that it?" : "");
        }
        return;
    }
    if (f->type == LUA_TNONE ? type != LUA_TNUMBER && type != LUA_TSTRING : type != f->type) {
        diags_error(c->diags, c->file->label, place(c->file->file, f->name),
                    "the policy's field '%s' is a %s (expected %s)", f->name, lua_typename(L, type),
                    f->expected);
    }
}

/* A field that nobody reads is most likely a slip of the pen; one that resembles a known name
 * certainly is. */
static void warn_unknown(lua_State *L, struct contract *c) {
    const char *names[N_FIELDS + 1];
    size_t i;

    for (i = 0; i < N_FIELDS; i++) {
        names[i] = FIELDS[i].name;
    }
    names[i] = NULL;
    lua_pushnil(L);
    while (lua_next(L, 1)) {
        const char *key = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : NULL;
        const char *near = key ? str_nearest(key, names) : NULL;

        if (near && strcmp(near, key) != 0) {
            diags_warn(c->diags, c->file->label, place(c->file->file, key),
                       "the policy's field '%s' is not known (did you mean '%s'?)", key, near);
        }
        lua_pop(L, 1);
    }
}

static int check_contract(lua_State *L) {
    struct contract *c = box_arg(L);
    size_t i, before = c->diags->errors;

    if (!lua_istable(L, 1)) {
        diags_error(
            c->diags, c->file->label, return_line(c->file->file),
            "the file returned %s (expected: return { handle = function(req, settings) … end })",
            lua_isnil(L, 1) ? "nothing" : luaL_typename(L, 1));
        return 0;
    }
    for (i = 0; i < N_FIELDS; i++) {
        check_field(L, c, &FIELDS[i]);
    }
    if (c->diags->errors == before) {
        warn_unknown(L, c);
        c->file->ok = true;
    }
    return 0;
}

void contract_check(struct lane *lane, struct policy_file *file, struct diags *diags) {
    struct contract c = {file, diags};
    struct err err;

    if (box_protect(lane->box, check_contract, &c, 1, 0, &err) != BOX_OK) {
        contract_report(diags, file->label, err.text);
    }
}

void contract_report(struct diags *diags, const char *file, const char *message) {
    const char *mark = strstr(message, ".lua:");
    char *end, *name;
    long line;

    if (!mark || !isdigit((unsigned char)mark[5])) {
        diags_error(diags, file, 0, "%s", message);
        return;
    }
    line = strtol(mark + 5, &end, 10);
    name = str_dup(str_make(message, (size_t)(mark + 4 - message)));
    while (*end == ':' || *end == ' ') {
        end++;
    }
    diags_error(diags, name ? name : file, (int)line, "%s", end);
    free(name);
}
