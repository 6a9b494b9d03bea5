/* SPDX-License-Identifier: MIT */
/*
 * What the tests of policy/ share: a configuration written to a temporary folder and staged, a
 * module written in C, and one way to run a route's handler.
 */
#ifndef TESTS_POLICY_FIXTURE_H
#define TESTS_POLICY_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "policy/body.h"
#include "policy/lane.h"
#include "policy/policy_lua.h"

#define MAX_FIXTURE_FILES 16

struct fixture {
    char dir[64];
    char *files[MAX_FIXTURE_FILES];
    size_t n_files;
    struct policy_env env;
    struct snapshot *snapshot;
    struct config *config;
    struct diags diags;
    struct generation *gen;
};

/* The request of a test run: what the handler returned. */
struct fake_request {
    char result[256];
    int waits;
};

/* moongate.wait(n): waits n times, returns how often it was resumed. */
static inline int fixture_wait_k(lua_State *L, int status, lua_KContext left) {
    struct fake_request *r = policy_request(L);

    (void)status;
    if (left == 0) {
        lua_pushinteger(L, r->waits);
        return 1;
    }
    r->waits++;
    return lua_yieldk(L, 0, left - 1, fixture_wait_k);
}

static inline int fixture_wait(lua_State *L) {
    policy_request(L);
    return fixture_wait_k(L, LUA_OK, (lua_KContext)luaL_optinteger(L, 1, 1));
}

static inline int fixture_charge(lua_State *L) {
    policy_charge(L, (size_t)luaL_checkinteger(L, 1));
    return 0;
}

static inline int fixture_loading(lua_State *L) {
    lua_pushboolean(L, policy_request_or_null(L) == NULL);
    return 1;
}

static inline int fixture_open(lua_State *L) {
    static const luaL_Reg functions[] = {{"wait", fixture_wait},
                                         {"charge", fixture_charge},
                                         {"loading", fixture_loading},
                                         {NULL, NULL}};

    luaL_newlib(L, functions);
    lua_newtable(L);
    lua_pushinteger(L, 42);
    lua_setfield(L, -2, "answer");
    lua_setfield(L, -2, "facts");
    return 1;
}

static inline const struct policy_module *fixture_modules(void) {
    static const struct policy_module modules[] = {
        {"moongate", fixture_open}, {"moongate.body", body_open}, {NULL, NULL}};

    return modules;
}

static inline void fixture_init(struct fixture *f) {
    memset(f, 0, sizeof *f);
    strcpy(f->dir, "/tmp/moongate-policy-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    f->env.modules = fixture_modules();
    diags_init(&f->diags);
}

static inline void fixture_write(struct fixture *f, const char *name, const char *text) {
    char path[256], *slash;
    FILE *file;

    assert_true(snprintf(path, sizeof path, "%s/%s", f->dir, name ? name : "") < (int)sizeof path);
    for (slash = path + strlen(f->dir) + 1; (slash = strchr(slash, '/')) != NULL; slash++) {
        *slash = '\0';
        mkdir(path, 0700);
        *slash = '/';
    }
    file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    assert_true(f->n_files < MAX_FIXTURE_FILES);
    f->files[f->n_files++] = strdup(path);
}

/* A schema checker that is enough for these tests: required fields, defaults, numbers, and unknown
 * names. */
#define TINY_SCHEMA                                                                                \
    "local m = {}\n"                                                                               \
    "function m.check(schema, settings, env)\n"                                                    \
    "  local out, problems = {}, {}\n"                                                             \
    "  for k, v in pairs(settings) do\n"                                                           \
    "    if not schema[k] then problems[#problems + 1] = { path = k, message = 'unknown setting' " \
    "} end\n"                                                                                      \
    "    out[k] = v\n"                                                                             \
    "  end\n"                                                                                      \
    "  for k, s in pairs(schema) do\n"                                                             \
    "    if out[k] == nil then out[k] = s.default end\n"                                           \
    "    if out[k] == nil and s.required then problems[#problems + 1] = { path = k, message = "    \
    "'is missing' } end\n"                                                                         \
    "    if s.type == 'number' and out[k] ~= nil and type(out[k]) ~= 'number' then\n"              \
    "      problems[#problems + 1] = { path = k, message = 'expected a number' }\n"                \
    "    end\n"                                                                                    \
    "  end\n"                                                                                      \
    "  return out, problems\n"                                                                     \
    "end\n"                                                                                        \
    "function m.describe(schema) return schema end\n"                                              \
    "return m\n"

#define CONFIG_HEAD                                                                                \
    "return { listen = '127.0.0.1:0', providers = { p = { dialect = 'openai', base_url = "         \
    "'http://127.0.0.1:9' } },\n  routes = {\n"
#define CONFIG_TAIL "  } }\n"

/* Reads what was written. gateway.lua must be among it. NULL generation when staging refuses; see
 * diags. */
static inline struct generation *fixture_stage(struct fixture *f, size_t lanes) {
    const char *none[] = {NULL};
    struct config_lua lua;
    struct err err = {""};
    char path[128];

    fixture_write(f, "lua/dialects/openai.lua", "return { name = \"openai\" }\n");
    snprintf(path, sizeof path, "%s/gateway.lua", f->dir);
    f->snapshot = snapshot_read(path, none, &err);
    assert_string_equal(err.text, "");
    assert_non_null(f->snapshot);
    policy_config_lua(&f->env, &lua);
    f->config = config_load(f->snapshot, &lua, &f->diags);
    if (f->config) {
        f->gen = generation_stage(&f->env, 7, f->snapshot, f->config, lanes, &f->diags);
    }
    return f->gen;
}

static inline void fixture_print(const struct fixture *f) {
    size_t i;

    for (i = 0; i < f->diags.n; i++) {
        print_message("%s:%d: %s%s\n", f->diags.list[i].file, f->diags.list[i].line,
                      f->diags.list[i].warning ? "warning: " : "", f->diags.list[i].message);
    }
}

/* Is there an error at that line of a file ending so, holding that text? */
static inline bool fixture_has(const struct fixture *f, const char *file, int line,
                               const char *text) {
    size_t i;

    for (i = 0; i < f->diags.n; i++) {
        const struct diag *d = &f->diags.list[i];

        if (str_ends(str_of(d->file), file) && (line < 0 || d->line == line) &&
            strstr(d->message, text)) {
            return true;
        }
    }
    fixture_print(f);
    return false;
}

static inline void fixture_release(struct fixture *f) {
    size_t i;

    for (i = 0; f->gen && i < f->gen->n_lanes; i++) {
        lane_retire(f->gen->lanes[i]);
    }
    generation_unref(f->gen);
    config_unref(f->config);
    snapshot_unref(f->snapshot);
    diags_release(&f->diags);
    for (i = 0; i < f->n_files; i++) {
        char *slash;

        unlink(f->files[i]);
        while ((slash = strrchr(f->files[i], '/')) != NULL &&
               slash > f->files[i] + strlen(f->dir)) {
            *slash = '\0';
            rmdir(f->files[i]);
        }
        free(f->files[i]);
    }
    rmdir(f->dir);
}

static inline int fixture_push(lua_State *L, struct fake_request *r, size_t route) {
    policy_about(L, route);
    policy_push_handler(L, route);
    lua_pushlightuserdata(L, r);
    lua_insert(L, -2);
    return 2;
}

static inline int fixture_push_first(lua_State *L, void *request) {
    return fixture_push(L, request, 0);
}

static inline int fixture_push_second(lua_State *L, void *request) {
    return fixture_push(L, request, 1);
}

static inline int fixture_take(lua_State *L, int n, void *request, struct err *err) {
    struct fake_request *r = request;

    if (n < 1 || lua_type(L, -n) != LUA_TSTRING) {
        return err_set(err, "the handler returned %s (expected a text)",
                       n < 1 ? "nothing" : luaL_typename(L, -n));
    }
    snprintf(r->result, sizeof r->result, "%s", lua_tostring(L, -n));
    return 0;
}

static const struct run_entry fixture_first = {fixture_push_first, fixture_take, false};
static const struct run_entry fixture_second = {fixture_push_second, fixture_take, false};

/* Runs to the end, resuming whenever it waits. */
static inline enum run_status fixture_run(struct lane *lane, const struct run_entry *entry,
                                          struct fake_request *r, struct err *err) {
    struct run *run;
    enum run_status status;

    memset(r, 0, sizeof *r);
    run = run_new(lane, entry, r);
    assert_non_null(run);
    do {
        status = run_step(run, err);
    } while (status == RUN_WAITING);
    run_free(run);
    return status;
}

#endif
