/* SPDX-License-Identifier: MIT */
/*
 * The settings of every route: checked and completed once, in the first lane, by moongate.schema
 * and by the policy's own `check`, then kept as plain values that every lane copies. Problems are
 * reported at the line of gateway.lua where the setting stands. Also draws up the default plans,
 * and keeps each policy's schema and version as plain values for those who show them.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "config/luavalue.h"
#include "config/path.h"
#include "policy/lane.h"
#include "policy/sandbox.h"

struct checking {
    struct lane *lane;
    struct diags *diags;
    size_t variant;                   /* of a route */
    size_t route;                     /* which one, in the configuration */
    const struct config_alias *alias; /* whose targets stand in place of the route's; NULL: none */
    int schema_check;                 /* in the registry: moongate.schema's functions */
    int schema_describe;
    bool quiet;  /* the same was told of the route itself */
    bool errors; /* of this variant */
};

/* The overlaid key that the path begins with; empty when the file's value counts. */
static struct str overlaid_key(const struct config_route *route, const char *path) {
    struct str key = str_make(path, strcspn(path, ".["));
    char name[256];

    snprintf(name, sizeof name, "%.*s", (int)(key.n < sizeof name ? key.n : 0), path);
    return value_field(&route->overlay, name) ? key : STR("");
}

/* A mistake in what an admin put over the file: told with the file where that is kept. */
static void report_overlaid(struct checking *c, struct str key, const char *path, bool warning,
                            const char *message) {
    const struct config *config = c->lane->gen->config;
    const char *route = config->routes[c->route].name;
    const char *kept = config->overlay_file;
    char hint[PATH_MAX + 512] = "";

    if (kept) {
        snprintf(hint, sizeof hint,
                 "; to take the value of gateway.lua again: moongate unset %s %.*s, or, when no "
                 "gateway runs, take it out of %s, or remove that file with all it keeps",
                 route, (int)key.n, key.p, kept);
    }
    kept = kept ? kept : "settings";
    if (warning) {
        diags_warn(c->diags, kept, 0, "routes.%s.settings.%s: %s", route, path, message);
    } else {
        diags_error(c->diags, kept, 0, "routes.%s.settings.%s: %s%s", route, path, message, hint);
        c->errors = true;
    }
}

/* What of a path lies within `targets`: "[2].retries" of "targets[2].retries"; NULL: it is another
 * setting's. */
static const char *within_targets(const char *path) {
    static const char name[] = "targets";
    const char *rest = strncmp(path, name, sizeof name - 1) == 0 ? path + sizeof name - 1 : NULL;

    return rest && (*rest == '\0' || *rest == '.' || *rest == '[') ? rest : NULL;
}

/* The path of a setting in gateway.lua; the targets of an alias stand with its name. */
static void full_path(const struct checking *c, const char *path, char *out, size_t size) {
    const char *rest = c->alias ? within_targets(path) : NULL;
    struct path at;

    if (!rest) {
        snprintf(out, size, "routes[%zu].settings%s%s", c->route + 1,
                 path[0] && path[0] != '[' ? "." : "", path);
        return;
    }
    if (!c->alias->listed && strncmp(rest, "[1]", 3) == 0) {
        rest += 3;
    }
    path_init(&at);
    path_field(&at, "routes");
    path_item(&at, c->route + 1);
    path_field(&at, "models");
    path_field(&at, c->alias->name);
    snprintf(out, size, "%s%s", at.text, rest);
}

/* Was this told of the route itself, whose other settings its aliases share? */
static bool told_before(const struct checking *c, bool of_alias, bool warning) {
    bool alias = c->variant >= c->lane->gen->config->n_routes;

    return c->quiet || (alias && !of_alias && warning);
}

/* At the setting's line, or at the nearest parent that can be found. */
static void report(struct checking *c, const char *path, bool warning, const char *message) {
    const struct generation *g = c->lane->gen;
    const char *file = snapshot_config_path(g->snapshot);
    bool of_alias = c->alias && within_targets(path);
    struct str overlaid = of_alias ? STR("") : overlaid_key(&g->config->routes[c->route], path);
    char full[512];
    int line;

    if (told_before(c, of_alias, warning)) {
        c->errors |= !warning;
        return;
    }
    if (overlaid.n) {
        report_overlaid(c, overlaid, path, warning, message);
        return;
    }
    full_path(c, path, full, sizeof full);
    line = config_line(g->snapshot, full);
    if (warning) {
        diags_warn(c->diags, file, line, "%s: %s", full, message);
    } else {
        diags_error(c->diags, file, line, "%s: %s", full, message);
        c->errors = true;
    }
}

static int keep_function(lua_State *L, const char *name) {
    if (lua_getfield(L, 1, name) != LUA_TFUNCTION) {
        return luaL_error(L, "lua/moongate/schema.lua:1: the module has no function '%s'", name);
    }
    return luaL_ref(L, LUA_REGISTRYINDEX);
}

/* Args: what `require` returned. Result: nothing; keeps its functions. */
static int keep_schema(lua_State *L) {
    struct checking *c = box_arg(L);

    c->schema_check = keep_function(L, "check");
    c->schema_describe = keep_function(L, "describe");
    return 0;
}

static int push_require(lua_State *L) {
    (void)box_arg(L);
    lua_pushcfunction(L, sandbox_require);
    lua_pushliteral(L, "moongate.schema");
    return 2;
}

static int load_schema(struct checking *c) {
    struct box *box = c->lane->box;
    struct err err;

    if (box_protect(box, push_require, NULL, 0, 2, &err) != BOX_OK ||
        box_call(box, 1, 1, &err) != BOX_OK ||
        box_protect(box, keep_schema, c, 1, 0, &err) != BOX_OK) {
        contract_report(c->diags, "lua/moongate/schema.lua", err.text);
        return -1;
    }
    return 0;
}

static void push_environment(lua_State *L, const struct config *config) {
    size_t i;

    lua_createtable(L, 0, 1);
    lua_createtable(L, 0, (int)config->n_providers);
    for (i = 0; i < config->n_providers; i++) {
        lua_pushboolean(L, 1);
        lua_setfield(L, -2, config->providers[i].name);
    }
    lua_setfield(L, -2, "providers");
}

static struct policy_file *policy_of(const struct checking *c) {
    struct generation *g = c->lane->gen;

    return &g->policies[g->routes[c->variant].policy];
}

/* Keeps the version of the route's policy. */
static int keep_version(lua_State *L) {
    struct checking *c = box_arg(L);
    struct err err;
    int type;

    lua_rawgeti(L, LUA_REGISTRYINDEX,
                c->lane->refs.policy[c->lane->gen->routes[c->variant].policy]);
    type = lua_getfield(L, -1, "version");
    if ((type == LUA_TNUMBER || type == LUA_TSTRING) &&
        value_from_lua(L, lua_gettop(L), &policy_of(c)->version, &err) < 0) {
        return luaL_error(L, "%s", err.text);
    }
    return 0;
}

/* Results: schema.describe, schema. */
static int push_describe(lua_State *L) {
    struct checking *c = box_arg(L);

    lua_rawgeti(L, LUA_REGISTRYINDEX, c->schema_describe);
    lua_rawgeti(L, LUA_REGISTRYINDEX,
                c->lane->refs.policy[c->lane->gen->routes[c->variant].policy]);
    if (lua_getfield(L, -1, "settings") == LUA_TNIL) {
        lua_pop(L, 1);
        lua_newtable(L);
    }
    lua_remove(L, -2);
    return 2;
}

/* A default that is no data is left out: the check of the settings judges it. */
static void leave_out(void *ctx, const char *path, const char *what, struct value *instead) {
    (void)ctx;
    (void)path;
    (void)what;
    (void)instead;
}

/* Policies that extend nothing share the library's schema, table and all. */
static bool share_schema(struct checking *c, const void *table) {
    struct generation *g = c->lane->gen;
    struct policy_file *own = policy_of(c);

    own->schema_table = table;
    for (size_t i = 0; i < g->n_policies; i++) {
        const struct policy_file *p = &g->policies[i];

        if (p->schema_table == table && p->schema.type != VALUE_NIL) {
            own->same = p;
            return true;
        }
    }
    return false;
}

/* Once for each policy, when a route of it has been checked: its schema is sound then. */
static enum box_status describe(struct checking *c, struct err *err) {
    static const struct value_bad bad = {leave_out, NULL};
    struct box *box = c->lane->box;
    struct value *out = &policy_of(c)->schema;
    enum box_status status = BOX_OK;

    if (out->type != VALUE_NIL || policy_of(c)->same) {
        return BOX_OK;
    }
    status = box_protect(box, keep_version, c, 0, 0, err);
    if (status == BOX_OK) {
        status = box_protect(box, push_describe, c, 0, 2, err);
    }
    if (status == BOX_OK && share_schema(c, lua_topointer(box->L, -1))) {
        lua_pop(box->L, 2);
        return BOX_OK;
    }
    if (status == BOX_OK) {
        status = box_call(box, 1, 1, err);
    }
    if (status != BOX_OK) {
        return status;
    }
    if (value_from_lua_all(box->L, lua_gettop(box->L), out, &bad, err) < 0) {
        status = BOX_ERROR;
    }
    lua_pop(box->L, 1);
    return status;
}

/* Results: schema.check, schema, settings, env. */
static int push_check(lua_State *L) {
    struct checking *c = box_arg(L);
    struct generation *g = c->lane->gen;
    const struct value *settings = &g->config->routes[c->route].settings;

    lua_rawgeti(L, LUA_REGISTRYINDEX, c->schema_check);
    lua_rawgeti(L, LUA_REGISTRYINDEX, c->lane->refs.policy[g->routes[c->variant].policy]);
    if (lua_getfield(L, -1, "settings") == LUA_TNIL) {
        lua_pop(L, 1);
        lua_newtable(L);
    }
    lua_remove(L, -2);
    if (settings->type == VALUE_NIL) {
        lua_newtable(L);
    } else {
        value_to_lua(L, settings);
    }
    if (c->alias) {
        value_to_lua(L, &c->alias->targets);
        lua_setfield(L, -2, "targets");
    }
    push_environment(L, g->config);
    return 4;
}

/* A mistake in the policy's schema: told with the policy's file. */
static void report_schema(struct checking *c, const char *path, const char *message) {
    const struct generation *g = c->lane->gen;
    char text[ERR_TEXT_MAX];

    snprintf(text, sizeof text, "%s: %s", path, message);
    contract_report(c->diags, g->policies[g->routes[c->variant].policy].label, text);
    c->errors = true;
}

static void read_problem(lua_State *L, struct checking *c) {
    const char *path = "", *message = NULL;
    bool warning = false, schema = false;

    if (lua_type(L, -1) == LUA_TSTRING) {
        report(c, "", false, lua_tostring(L, -1));
        return;
    }
    if (lua_istable(L, -1)) {
        lua_getfield(L, -1, "path");
        lua_getfield(L, -2, "message");
        lua_getfield(L, -3, "warning");
        path = lua_type(L, -3) == LUA_TSTRING ? lua_tostring(L, -3) : "";
        message = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : NULL;
        warning = lua_toboolean(L, -1);
        lua_getfield(L, -4, "schema");
        schema = lua_toboolean(L, -1);
    }
    if (schema && message) {
        report_schema(c, path, message);
        return;
    }
    report(c, path, warning, message ? message : "a check returned a problem without a message");
}

/* Args: completed settings, problems. Result: completed settings. */
static int read_problems(lua_State *L) {
    struct checking *c = box_arg(L);
    lua_Integer i, n;

    if (!lua_isnil(L, 2)) {
        frozen_see_through(L, 2);
        n = (lua_Integer)lua_rawlen(L, 2);
        for (i = 1; i <= n; i++) {
            lua_rawgeti(L, 2, i);
            read_problem(L, c);
            lua_settop(L, 2);
        }
    }
    lua_settop(L, 1);
    return 1;
}

/* Args: completed settings. Results: completed settings, the policy's check or nil, completed
 * settings. */
static int push_own_check(lua_State *L) {
    struct checking *c = box_arg(L);

    lua_rawgeti(L, LUA_REGISTRYINDEX,
                c->lane->refs.policy[c->lane->gen->routes[c->variant].policy]);
    lua_getfield(L, -1, "check");
    lua_remove(L, -2);
    lua_pushvalue(L, 1);
    return 3;
}

/* The completed settings are on top of the stack before and, if it went well, after. */
static enum box_status own_check(struct checking *c, struct err *err) {
    struct box *box = c->lane->box;
    enum box_status status = box_protect(box, push_own_check, c, 1, 3, err);

    if (status != BOX_OK) {
        return status;
    }
    if (lua_isnil(box->L, -2)) {
        lua_pop(box->L, 2);
        return BOX_OK;
    }
    status = box_call(box, 1, 1, err);
    if (status == BOX_OK) {
        return box_protect(box, read_problems, c, 2, 1, err);
    }
    lua_pop(box->L, 1);
    return status;
}

static enum box_status check_route(struct checking *c, struct err *err) {
    struct box *box = c->lane->box;
    struct value *out = &c->lane->gen->routes[c->variant].settings;
    enum box_status status = box_protect(box, push_check, c, 0, 4, err);

    if (status == BOX_OK) {
        status = box_call(box, 3, 2, err);
    }
    if (status == BOX_OK) {
        status = box_protect(box, read_problems, c, 2, 1, err);
    }
    if (status == BOX_OK && !c->errors) {
        status = own_check(c, err);
    }
    if (status != BOX_OK) {
        return status;
    }
    if (!c->errors && value_from_lua(box->L, lua_gettop(box->L), out, err) < 0) {
        status = BOX_ERROR;
    } else if (!c->errors && out->type != VALUE_TABLE) {
        err_set(err, "the check returned a %s instead of the completed settings",
                value_type_name(out));
        status = BOX_ERROR;
    }
    lua_pop(box->L, 1);
    return status;
}

static int add_target(struct policy_route *r, struct str name) {
    char **grown = realloc(r->targets, (r->n_targets + 2) * sizeof *grown);

    if (!grown) {
        return -1;
    }
    r->targets = grown;
    r->targets[r->n_targets] = str_dup(name);
    r->targets[r->n_targets + 1] = NULL;
    return r->targets[r->n_targets++] ? 0 : -1;
}

static struct str provider_of(struct str target) {
    const char *slash = target.n ? memchr(target.p, '/', target.n) : NULL;

    return slash ? str_make(target.p, (size_t)(slash - target.p)) : target;
}

/* A target or an entry: text, { target = } or a group { targets = }. */
static int plan_entry(struct checking *c, const struct value *v, const char *path) {
    struct generation *g = c->lane->gen;
    const struct value *inner = value_field(v, "target"), *list = value_field(v, "targets");
    struct str name = value_str(v->type == VALUE_TABLE && inner ? inner : v);
    size_t i;

    if (name.n > 0) {
        if (!config_provider(g->config, provider_of(name))) {
            char text[256];

            snprintf(text, sizeof text, "there is no provider '%.*s' (of target '%.*s')",
                     (int)provider_of(name).n, name.p, (int)name.n, name.p);
            report(c, path, false, text);
        } else if (c->alias && !memchr(name.p, '/', name.n)) {
            report(c, path, false,
                   "a target of a public name needs a model, as in \"provider/model\": the client "
                   "asks for a name that the provider does not know");
        }
        return add_target(&g->routes[c->variant], name);
    }
    for (i = 0; list && list->type == VALUE_TABLE && i < list->as.t.n_items; i++) {
        if (plan_entry(c, &list->as.t.items[i], path) < 0) {
            return -1;
        }
    }
    return 0;
}

static int draw_plan(struct checking *c) {
    const struct value *settings = &c->lane->gen->routes[c->variant].settings;
    const struct value *one = value_field(settings, "target"),
                       *list = value_field(settings, "targets");
    char path[64];
    size_t i;

    if (one && one->type == VALUE_STR) {
        return plan_entry(c, one, "target");
    }
    for (i = 0; list && list->type == VALUE_TABLE && i < list->as.t.n_items; i++) {
        snprintf(path, sizeof path, "targets[%zu]", i + 1);
        if (plan_entry(c, &list->as.t.items[i], path) < 0) {
            return -1;
        }
    }
    return 0;
}

/* False when the lane's load budget or memory is gone, so that looking further makes no sense. */
static bool check_one(struct checking *c) {
    struct err err;
    enum box_status status;

    c->errors = false;
    status = check_route(c, &err);
    if (status == BOX_OK && !c->errors) {
        status = describe(c, &err);
    }
    if (status != BOX_OK) {
        report(c, "", false, err.text);
        return status == BOX_ERROR;
    }
    if (!c->errors && draw_plan(c) < 0) {
        report(c, "", false, "not enough memory");
        return false;
    }
    return true;
}

/* Where all models of a route are aliases and its settings have no targets, those of the first
 * alias stand there: nobody asks for them. */
static void choose_targets(struct checking *c) {
    const struct config *config = c->lane->gen->config;
    struct config_variant v = config_variant(config, c->variant);
    const struct config_route *r = &config->routes[v.route];
    bool none = config_only_aliases(r) && !value_field(&r->settings, "targets");

    c->route = v.route;
    c->alias = !v.alias && none ? &r->aliases[0] : v.alias;
    c->quiet = v.alias == r->aliases && v.alias && none;
}

void settings_check(struct lane *lane, struct diags *diags) {
    struct checking c = {.lane = lane, .diags = diags};
    struct generation *g = lane->gen;

    if (load_schema(&c) < 0) {
        return;
    }
    for (c.variant = 0; c.variant < g->config->n_variants; c.variant++) {
        choose_targets(&c);
        if (g->policies[g->routes[c.variant].policy].ok && !check_one(&c)) {
            return;
        }
    }
}
