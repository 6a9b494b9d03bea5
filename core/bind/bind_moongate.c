/* SPDX-License-Identifier: MIT */
/* The module `moongate`. */
#include <math.h>

#include "base/hash.h"
#include "bind/bind_lua.h"
#include "upstream/keys.h"

#define MAX_CUSTOM_LABELS 16 /* of one moongate.metric: more than fit in MAX_LABELS */

static struct gateway *gateway(lua_State *L) {
    struct bind_host *host = policy_host(L);
    return host->gateway;
}

static int m_now(lua_State *L) {
    lua_pushnumber(L, usec_to_seconds(clock_now()));
    return 1;
}

static int m_wall(lua_State *L) {
    lua_pushnumber(L, usec_to_seconds(clock_wall()));
    return 1;
}

static int m_random(lua_State *L) {
    struct exchange *x = policy_request(L);
    double unit = rng_unit(&x->worker->rng);
    if (lua_isnoneornil(L, 1)) {
        lua_pushnumber(L, unit);
        return 1;
    }
    lua_Integer n = bind_check_integer(L, 1);
    luaL_argcheck(L, n >= 1 && n <= 1000000000, 1, "a number from 1 to 1e9 is expected");
    lua_pushinteger(L, 1 + (lua_Integer)floor(unit * (double)n));
    return 1;
}

static int m_log(lua_State *L) {
    int level = log_level_parse(luaL_checkstring(L, 1));
    luaL_argcheck(L, level >= 0, 1, "\"debug\", \"info\", \"warn\" or \"error\" is expected");
    struct exchange *x = policy_request_or_null(L);
    size_t n;
    const char *text = luaL_tolstring(L, 2, &n);
    luaL_where(L, 1);
    log_write(policy_log(L), (enum log_level)level, "policy: %s%.*s%s%s", lua_tostring(L, -1),
              (int)(n < 2048 ? n : 2048), text, x ? " request=" : "", x ? x->id : "");
    return 0;
}

/* a-z, 0-9 and _, no digit first: what Prometheus takes as a name. */
static void check_name(lua_State *L, int arg, struct str name) {
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        bool fine = c == '_' || (c >= 'a' && c <= 'z') || (i && c >= '0' && c <= '9');
        luaL_argcheck(L, fine, arg, "a metric's or label's name is of a-z, 0-9 and _");
    }
    luaL_argcheck(L, name.n > 0 && name.n <= 64, arg, "a name has 1 to 64 letters");
}

/* Sorted: a table's own order differs between states, and a series is known by its text. */
static void add_labels(lua_State *L, int arg, struct buf *labels) {
    const char *names[MAX_CUSTOM_LABELS];
    bind_push_table(L, arg, "metric: labels");
    int table = lua_gettop(L);
    size_t n = bind_sorted_names(L, "metric: labels", names, MAX_CUSTOM_LABELS);
    for (size_t i = 0; i < n; i++) {
        struct str value;
        check_name(L, arg, str_of(names[i]));
        luaL_argcheck(L, strcmp(names[i], "route") != 0, arg,
                      "the label \"route\" is given by the gateway");
        lua_pushstring(L, names[i]);
        lua_rawget(L, table);
        value.p = luaL_tolstring(L, -1, &value.n);
        metrics_label(labels, names[i], value);
        lua_pop(L, 2);
    }
}

/* moongate.metric(name[, by[, labels]]) */
static int m_metric(lua_State *L) {
    struct exchange *x = policy_request(L);
    char storage[MAX_LABELS + 1];
    struct buf labels;
    lua_settop(L, 3);
    struct str name = bind_check_str(L, 1, 64);
    double by = bind_opt_number(L, 2, 1);
    check_name(L, 1, name);
    luaL_argcheck(L, by >= 0 && !isinf(by), 2, "a counter only grows");
    buf_over(&labels, storage, MAX_LABELS);
    metrics_label(&labels, "route", str_of(x->route->name));
    if (!lua_isnoneornil(L, 3)) {
        add_labels(L, 3, &labels);
    }
    metrics_add_policy(x->worker->metrics, name, labels.data, by);
    return 0;
}

int bind_json_text(lua_State *L) {
    luaL_checkany(L, 1);
    bind_push_json(L, 1, LUA_BODY_MAX);
    return 1;
}

static int m_hash(lua_State *L) {
    unsigned char hash[HASH_SIZE];
    lua_Integer n = 0;
    struct str text = bind_check_str(L, 1, LUA_STRING_MAX);
    policy_charge(L, text.n / 16);
    hash_sha256(text, hash);
    for (int i = 0; i < 6; i++) {
        n = n * 256 + hash[i];
    }
    lua_pushinteger(L, n);
    return 1;
}

/* Pushes a plain deep copy of the value at index. */
static void push_copy(lua_State *L, int index, int depth) {
    index = lua_absindex(L, index);
    if (!lua_istable(L, index)) {
        lua_pushvalue(L, index);
        return;
    }
    if (depth > MAX_VALUE_DEPTH) {
        luaL_error(L, "merge: nested deeper than %d (or a table holds itself)", MAX_VALUE_DEPTH);
    }
    luaL_checkstack(L, 8, "merge");
    bind_push_table(L, index, "merge");
    int table = lua_gettop(L);
    lua_newtable(L);
    lua_pushnil(L);
    while (lua_next(L, table)) {
        policy_charge(L, 4);
        lua_pushvalue(L, -2);
        push_copy(L, -2, depth + 1);
        lua_rawset(L, table + 1);
        lua_pop(L, 1);
    }
    lua_remove(L, table);
}

/* moongate.merge(a, b): a copy of a with b's fields in place of a's. */
static int m_merge(lua_State *L) {
    lua_settop(L, 2);
    luaL_checktype(L, 1, LUA_TTABLE);
    push_copy(L, 1, 0);
    if (!lua_isnil(L, 2)) {
        bind_push_table(L, 2, "merge");
        lua_pushnil(L);
        while (lua_next(L, 4)) {
            lua_pushvalue(L, -2);
            push_copy(L, -2, 0);
            lua_rawset(L, 3);
            lua_pop(L, 1);
        }
    }
    lua_settop(L, 3);
    return 1;
}

/* The provider of a target or key, checked; raises when there is none of that name. */
static const struct config_provider *check_provider(lua_State *L, int arg, struct str *target) {
    *target = bind_check_str(L, arg, MAX_TARGET_NAME);
    struct target_name name = target_split(*target);
    const struct config_provider *p = config_provider(policy_config(L), name.provider);
    if (!p) {
        luaL_error(L, "target \"%s\": there is no such provider", target->p);
    } else if (name.key.p && !config_api_key(p, name.key)) {
        luaL_error(L, "\"%s\": the provider has no such key", target->p);
    }
    return p;
}

static void set_number(lua_State *L, const char *name, double n) {
    lua_pushnumber(L, n);
    lua_setfield(L, -2, name);
}

void bind_push_facts(lua_State *L, const struct target_facts *f) {
    lua_createtable(L, 0, 12);
    set_number(L, "suspended_for", usec_to_seconds(f->suspended_for));
    lua_pushstring(L, f->reason);
    lua_setfield(L, -2, "reason");
    lua_pushboolean(L, f->up);
    lua_setfield(L, -2, "up");
    set_number(L, "up_since", usec_to_seconds(f->up_since));
    lua_pushinteger(L, f->inflight);
    lua_setfield(L, -2, "inflight");
    set_number(L, "ewma_first_token", f->ewma_first_token);
    set_number(L, "ewma_total", f->ewma_total);
    lua_pushinteger(L, f->successes);
    lua_setfield(L, -2, "successes");
    lua_pushinteger(L, f->failures);
    lua_setfield(L, -2, "failures");
    lua_pushinteger(L, f->streak);
    lua_setfield(L, -2, "streak");
}

static int m_health(lua_State *L) {
    struct str target;
    const struct config_provider *p = check_provider(L, 1, &target);
    struct target_facts f;
    keys_facts(p, gateway(L)->state.targets, target, &f);
    bind_push_facts(L, &f);
    return 1;
}

/* moongate.usable_in(target) -> seconds until it may be used (0 = now, math.huge = its provider is
 * down), up_since. Of moongate.health what the usual path needs, without a table. */
static int m_usable_in(lua_State *L) {
    struct str target;
    const struct config_provider *p = check_provider(L, 1, &target);
    struct targets *targets = gateway(L)->state.targets;
    usec up_since;
    if (targets_is_up(targets, str_of(p->name), &up_since)) {
        usec left = keys_target_suspended_for(p, targets, target);
        lua_pushnumber(L, usec_to_seconds(left));
    } else {
        lua_pushnumber(L, HUGE_VAL);
    }
    lua_pushnumber(L, usec_to_seconds(up_since));
    return 2;
}

/* moongate.suspend(target, seconds, reason[, { group = false }]) */
static int m_suspend(lua_State *L) {
    struct str target;
    policy_request(L); /* raises while a file is loaded: loading has no side effects */
    const struct config_provider *p = check_provider(L, 1, &target);
    usec duration = bind_check_seconds(L, 2, "suspend");
    const char *reason = luaL_optstring(L, 3, "policy");
    bool whole_group = true;
    if (!lua_isnoneornil(L, 4)) {
        bind_push_table(L, 4, "suspend: options");
        lua_getfield(L, -1, "group");
        whole_group = lua_isnil(L, -1) || lua_toboolean(L, -1);
    }
    struct str group = keys_group(p, target);
    usec left = targets_suspend(gateway(L)->state.targets, target, group, whole_group && group.n,
                                duration, reason);
    lua_pushnumber(L, usec_to_seconds(left));
    return 1;
}

static int m_resume(lua_State *L) {
    struct str target;
    policy_request(L);
    const struct config_provider *p = check_provider(L, 1, &target);
    targets_resume(gateway(L)->state.targets, target, keys_group(p, target));
    return 0;
}

/* The names of the pool's keys, in order, or nil. */
static void push_keys(lua_State *L, const struct config_provider *p) {
    if (!p || !p->n_api_keys) {
        lua_pushnil(L);
        return;
    }
    lua_createtable(L, (int)p->n_api_keys, 0);
    for (size_t i = 0; i < p->n_api_keys; i++) {
        lua_pushstring(L, p->api_keys[i].name);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
}

/* moongate.provider(target) -> provider name, model or nil, names of its keys or nil */
static int m_provider(lua_State *L) {
    struct target_name target = target_split(bind_check_str(L, 1, MAX_TARGET_NAME));
    bind_push_str(L, target.provider);
    bind_push_str(L, target.model);
    push_keys(L, config_provider(policy_config(L), target.provider));
    return 3;
}

int bind_open_moongate(lua_State *L) {
    static const luaL_Reg functions[] = {{"now", m_now},
                                         {"wall", m_wall},
                                         {"random", m_random},
                                         {"log", m_log},
                                         {"metric", m_metric},
                                         {"json", bind_json_text},
                                         {"hash", m_hash},
                                         {"merge", m_merge},
                                         {"store", bind_store},
                                         {"window", bind_window},
                                         {"bucket", bind_bucket},
                                         {"health", m_health},
                                         {"usable_in", m_usable_in},
                                         {"suspend", m_suspend},
                                         {"resume", m_resume},
                                         {"provider", m_provider},
                                         {NULL, NULL}};
    bind_open_req(L);
    bind_open_attempt(L);
    bind_open_response(L);
    bind_open_store(L);
    luaL_newlib(L, functions);
    lua_pushlightuserdata(L, NULL);
    lua_setfield(L, -2, "null");
    policy_freeze(L);
    return 1;
}
