/* SPDX-License-Identifier: MIT */
/* The module moongate.sim_core. Internal to sim/. */
#ifndef SIM_SIM_LUA_H
#define SIM_SIM_LUA_H

#include <lauxlib.h>
#include <lua.h>

#include "sim/sim.h"
#include "sim/world.h"

#define WORLD_CLASS "moongate.world"

/* policy_env.host of the state that the program runs in. */
struct sim {
    const struct sim_run_options *options;
    size_t n_worlds; /* alive */
    struct dialect_cache dialects; /* for all its worlds */
};

struct world_box {
    struct sim *sim;
    struct world *world;       /* NULL once closed */
    struct world_event *event; /* the last one, whose parts may still be pushed */
};

int sim_open_core(lua_State *L); /* policy_module.open */

/* The world of the userdata at index 1; raises when it is none or closed. */
struct world_box *sim_check_world(lua_State *L);

/* sim_script.c: world:play(transfer, steps) */
int sim_play(lua_State *L);
/* sim_event.c: the event as a table. */
void sim_open_events(lua_State *L);
void sim_push_event(lua_State *L, const struct world_event *e);
/* A brief world's event as values, as world:next gives them. How many. */
int sim_push_brief(lua_State *L, const struct world_event *e);
/* sim_state.c: methods of a world about the state that its gateway shares. */
int sim_suspend(lua_State *L);
int sim_resume(lua_State *L);
int sim_facts(lua_State *L);
int sim_probe(lua_State *L);
int sim_store(lua_State *L);
int sim_set(lua_State *L);
int sim_metrics(lua_State *L);
int sim_log(lua_State *L);
/* sim_about.c: world:routes(), world:providers(), world:secret(name): what a configuration says. */
int sim_routes(lua_State *L);
int sim_providers(lua_State *L);
int sim_secret(lua_State *L);

/* Pushes the field of the table; raises when it is of another type (LUA_TNIL is fine: absent). */
int sim_field(lua_State *L, int table, const char *name, int type);

#endif
