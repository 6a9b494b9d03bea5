/* SPDX-License-Identifier: MIT */
/*
 * lua/meta, which editors and the reference in policies/README.md are made of, against what a real
 * lane offers: the modules' functions, the classes' methods and fields, the fields of the tables
 * that calls give, the options they take. Both are brought to lists of "class.name", and the lists
 * are compared.
 */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../support/gateway_world.h"
#include "bind/bind_lua.h"
#include "policy/box.h"
#include "policy/lane.h"
#include "policy/sandbox.h"

int sim_open_core(lua_State *L); /* sim/sim_lua.h, whose struct world is another one */

#define MAX_NAMES 512

struct names {
    char *list[MAX_NAMES];
    size_t n;
};

static void add_name(struct names *names, const char *class_name, const char *name) {
    assert_true(names->n < MAX_NAMES);
    assert_true(asprintf(&names->list[names->n], "%s.%s", class_name, name) > 0);
    names->n++;
}

static bool has_name(const struct names *names, const char *name) {
    for (size_t i = 0; i < names->n; i++) {
        if (strcmp(names->list[i], name) == 0) {
            return true;
        }
    }
    return false;
}

/* How many of `these` are not among `those`; each is printed. */
static size_t missing(const struct names *these, const struct names *those, const char *what) {
    size_t n = 0;
    for (size_t i = 0; i < these->n; i++) {
        if (!has_name(those, these->list[i])) {
            print_error("%s: %s\n", these->list[i], what);
            n++;
        }
    }
    return n;
}

static void release_names(struct names *names) {
    while (names->n) {
        free(names->list[--names->n]);
    }
}

/* What lua/meta declares. */

struct meta_file {
    struct names *out;
    char module[64];  /* the module whose file it is, or empty */
    char subject[64]; /* the class that ---@field lines are of */
    struct {
        char variable[32], name[64];
    } locals[8]; /* `local x = {}`: what x stands for */
    size_t n_locals;
};

static const char *meaning(const struct meta_file *m, const char *variable) {
    for (size_t i = 0; i < m->n_locals; i++) {
        if (strcmp(m->locals[i].variable, variable) == 0) {
            return m->locals[i].name;
        }
    }
    fail_msg("%s is not declared", variable);
    return "";
}

static void read_meta_line(struct meta_file *m, const char *line) {
    char a[64], b[64], mark[2];
    if (sscanf(line, "---@meta %63[a-z0-9_.]", a) == 1) {
        snprintf(m->module, sizeof(m->module), "%s", a);
    } else if (sscanf(line, "---@class %63[A-Za-z0-9_.]", a) == 1) {
        snprintf(m->subject, sizeof(m->subject), "%s", a);
    } else if (sscanf(line, "---@field %63[a-z0-9_]", a) == 1) {
        add_name(m->out, m->subject, a);
    } else if (sscanf(line, "local %31[a-z0-9_] = {%1[}]", a, mark) == 2) {
        assert_true(m->n_locals < 8);
        snprintf(m->locals[m->n_locals].variable, 32, "%s", a);
        snprintf(m->locals[m->n_locals++].name, 64, "%s", *m->subject ? m->subject : m->module);
    } else if (sscanf(line, "function %63[a-z0-9_]%*1[.:]%63[a-z0-9_](", a, b) == 2) {
        add_name(m->out, meaning(m, a), b);
    } else if (sscanf(line, "%63[a-z0-9_].%63[a-z0-9_] = %1[n]", a, b, mark) == 3) {
        add_name(m->out, meaning(m, a), b);
    }
}

static void read_meta_file(struct names *out, const char *file) {
    char path[256], line[1024];
    struct meta_file m = {.out = out};
    snprintf(path, sizeof(path), "lua/meta/%s", file);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    while (fgets(line, sizeof(line), f)) {
        read_meta_line(&m, line);
    }
    fclose(f);
}

static void read_meta(struct names *out) {
    DIR *dir = opendir("lua/meta");
    assert_non_null(dir);
    for (struct dirent *e = readdir(dir); e; e = readdir(dir)) {
        if (str_ends(str_of(e->d_name), ".lua")) {
            read_meta_file(out, e->d_name);
        }
    }
    closedir(dir);
}

/* What a lane offers. */

static void add_keys(lua_State *L, int table, struct names *out, const char *class_name) {
    lua_pushnil(L);
    while (lua_next(L, table)) {
        add_name(out, class_name, lua_tostring(L, -2));
        lua_pop(L, 1);
    }
}

/* "moongate.request" is called moongate.Request in lua/meta. */
static void meta_name(char *to, size_t size, const char *name) {
    snprintf(to, size, "%s", name);
    char *at = strchr(to, '.') + 1;
    *at = (char)(*at - 'a' + 'A');
}

/* The first upvalue of a class's __index has its methods and its fields. */
static void add_class(lua_State *L, const char *name, struct names *out) {
    char meta[64];
    int metatable = lua_gettop(L);
    if (lua_getfield(L, metatable, "__index") == LUA_TFUNCTION && lua_getupvalue(L, -1, 1)) {
        meta_name(meta, sizeof(meta), name);
        add_keys(L, lua_gettop(L), out, meta);
    }
    lua_settop(L, metatable);
}

static void add_module(lua_State *L, const struct policy_module *m, struct names *out) {
    lua_pushcfunction(L, m->open);
    lua_call(L, 0, 1);
    policy_freeze(L); /* most are already */
    assert_true(frozen_push(L, -1));
    add_keys(L, lua_gettop(L), out, m->name);
    lua_settop(L, 0);
}

static int dump_lane(lua_State *L) {
    struct names *out = box_arg(L);
    for (const struct policy_module *m = bind_modules; m->name; m++) {
        add_module(L, m, out);
    }
    add_module(L, &(struct policy_module){"moongate.sim_core", sim_open_core}, out);
    lua_pushnil(L);
    while (lua_next(L, LUA_REGISTRYINDEX)) {
        if (lua_type(L, -2) == LUA_TSTRING && lua_istable(L, -1) &&
            str_starts(str_of(lua_tostring(L, -2)), "moongate.")) {
            add_class(L, lua_tostring(L, -2), out);
        }
        lua_settop(L, 1);
    }
    return 0;
}

static void add_words(struct names *out, const char *class_name, const char *const *words) {
    for (; *words; words++) {
        add_name(out, class_name, *words);
    }
}

/* A handler that tells the fields of the tables that calls give. */
#define TELL                                                                                       \
    "local a, names = req:start('a/m'), {}\n"                                                      \
    "moongate.suspend('b/m', 60, 'test')\n"                                                        \
    "for k in pairs(a.time) do names[#names + 1] = 'moongate.Times.' .. k end\n"                   \
    "for k in pairs(moongate.health('b/m')) do names[#names + 1] = 'moongate.Health.' .. k end\n"  \
    "a:cancel()\n"                                                                                 \
    "return req:respond { body = table.concat(names, ' ') .. ' ' }\n"

static void ask_world(struct world *world, struct names *out) {
    struct world_client *c = world_connect(world);
    char class_name[64], name[64];
    int used;
    client_ask(c, ASK_PLAIN);
    WORLD_WAIT(world, client_whole(c));
    struct world_answer a = client_answer(c);
    assert_int_equal(a.status, 200);
    for (const char *p = a.body.data;
         sscanf(p, "moongate.%63[A-Za-z].%63[a-z_] %n", class_name, name, &used) == 2; p += used) {
        char full[80];
        snprintf(full, sizeof(full), "moongate.%s", class_name);
        add_name(out, full, name);
    }
    buf_release(&a.body);
}

/* Shapes of the Lua library, and what a policy itself writes: not the core's. */
static bool is_the_cores(const char *name) {
    static const char *const OTHERS[] = {
        "FailoverHooks.", "Trigger.",     "Entry.", "Ring.",  "Rotation.",
        "Breaker.",       "RetryBudget.", "Plan.",  "Field.", "Problem.",
        "Policy.",        "Sim",          NULL};
    if (!str_starts(str_of(name), "moongate.")) {
        return true;
    }
    for (size_t i = 0; OTHERS[i]; i++) {
        if (str_starts(str_of(name + strlen("moongate.")), OTHERS[i])) {
            return false;
        }
    }
    return true;
}

static void definitions_are_what_is_registered(void **state) {
    /* Goal: an editor offers, and the reference tells, exactly what a policy can use. */
    struct names declared = {.n = 0}, all = {.n = 0}, registered = {.n = 0};
    struct world *world = world_new(*state, "", TELL);
    struct err err;
    read_meta(&all);
    for (size_t i = 0; i < all.n; i++) {
        if (is_the_cores(all.list[i])) {
            declared.list[declared.n++] = strdup(all.list[i]);
        }
    }
    assert_int_equal(box_protect(world_lane(world)->box, dump_lane, &registered, 0, 0, &err),
                     BOX_OK);
    add_words(&registered, "moongate.SendOptions", bind_send_options);
    add_words(&registered, "moongate.ResponseSpec", bind_respond_fields);
    ask_world(world, &registered);
    assert_true(registered.n > 80);
    size_t wrong = missing(&declared, &registered, "is in lua/meta, but no lane has it") +
                   missing(&registered, &declared, "is not in lua/meta");
    release_names(&all);
    release_names(&declared);
    release_names(&registered);
    world_free(world);
    assert_int_equal(wrong, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(definitions_are_what_is_registered, folder_make,
                                        folder_remove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
