/* SPDX-License-Identifier: MIT */
/* The state of a world's gateway as tests see and set it: targets, store, metrics, log. */
#include "bind/bind_lua.h"
#include "sim/sim_lua.h"
#include "upstream/keys.h"

static struct state *state_of(struct world_box *box) {
    return &world_gateway(box->world)->state;
}

/* The provider of the target or key at index 2. Raises when it is none of the world's. */
static const struct config_provider *check_target(lua_State *L, struct world_box *box,
                                                  struct str *target) {
    *target = bind_check_str(L, 2, MAX_TARGET_NAME);
    const struct config_provider *p =
        config_provider(world_config(box->world), target_split(*target).provider);
    if (!p) {
        luaL_error(L, "target \"%s\": there is no such provider", target->p);
    }
    return p;
}

/* world:suspend(target, seconds, reason) */
int sim_suspend(lua_State *L) {
    struct world_box *box = sim_check_world(L);
    struct str target;
    const struct config_provider *p = check_target(L, box, &target);
    struct str group = keys_group(p, target);
    usec duration = bind_check_seconds(L, 3, "suspend");
    const char *reason = luaL_optstring(L, 4, "test");
    struct clock_virtual *before = world_enter(box->world);
    targets_suspend(state_of(box)->targets, target, group, group.n > 0, duration, reason);
    clock_use(before);
    return 0;
}

int sim_resume(lua_State *L) {
    struct world_box *box = sim_check_world(L);
    struct str target;
    const struct config_provider *p = check_target(L, box, &target);
    struct str group = keys_group(p, target);
    struct clock_virtual *before = world_enter(box->world);
    targets_resume(state_of(box)->targets, target, group);
    clock_use(before);
    return 0;
}

int sim_facts(lua_State *L) {
    struct world_box *box = sim_check_world(L);
    struct target_facts facts;
    struct str target;
    const struct config_provider *p = check_target(L, box, &target);
    struct clock_virtual *before = world_enter(box->world);
    keys_facts(p, state_of(box)->targets, target, &facts);
    clock_use(before);
    bind_push_facts(L, &facts);
    return 1;
}

/* world:probe(provider, up): the verdict of its probes */
int sim_probe(lua_State *L) {
    struct world_box *box = sim_check_world(L);
    struct str target;
    check_target(L, box, &target);
    bool up = lua_toboolean(L, 3);
    struct clock_virtual *before = world_enter(box->world);
    targets_set_up(state_of(box)->targets, target_split(target).provider, up);
    clock_use(before);
    return 0;
}

int sim_store(lua_State *L) {
    struct world_box *box = sim_check_world(L);
    struct str ns = bind_check_str(L, 2, MAX_STORE_KEY), key = bind_check_str(L, 3, MAX_STORE_KEY);
    struct store_value value;
    struct clock_virtual *before = world_enter(box->world);
    if (store_get(state_of(box)->store, ns, key, &value) != STORE_OK) {
        value.type = STORE_NONE;
    }
    clock_use(before);
    return bind_push_value(L, &value);
}

/* world:set(ns, key, value[, ttl]) */
int sim_set(lua_State *L) {
    struct world_box *box = sim_check_world(L);
    struct str ns = bind_check_str(L, 2, MAX_STORE_KEY), key = bind_check_str(L, 3, MAX_STORE_KEY);
    struct store_value value;
    luaL_argcheck(L, !lua_isnoneornil(L, 4), 4, "a value is expected");
    bind_check_value(L, 4, &value);
    usec ttl = lua_isnoneornil(L, 5) ? 0 : bind_check_seconds(L, 5, "ttl");
    struct clock_virtual *before = world_enter(box->world);
    int result = store_set(state_of(box)->store, ns, key, &value, ttl);
    clock_use(before);
    return result == STORE_OK ? 0 : luaL_error(L, "set: the store is full, or the key too long");
}

int sim_metrics(lua_State *L) {
    struct world_box *box = sim_check_world(L);
    struct metrics *metrics = world_metrics(box->world);
    struct buf *out = bind_push_buf(L, MAX_METRICS_TEXT);
    if (metrics_collect(&metrics, 1, out) != 0) {
        return luaL_error(L, "metrics: the text is too long");
    }
    lua_pushlstring(L, out->data, out->len);
    buf_release(out);
    return 1;
}

/* world:log() -> list of lines so far */
int sim_log(lua_State *L) {
    struct str text = world_log(sim_check_world(L)->world), line;
    lua_Integer n = 0;
    lua_newtable(L);
    while (text.n && str_split(&text, '\n', &line)) {
        bind_push_str(L, line);
        lua_rawseti(L, -2, ++n);
    }
    return 1;
}
