/* SPDX-License-Identifier: MIT */
/*
 * A program of the gateway's own in the sandbox: the same box as a lane's, without requests and
 * runs.
 */
#include "policy/box.h"
#include "policy/policy_lua.h"

struct program {
    const char *module;
    const char *const *args;
};

static int finish(lua_State *L, int status, lua_KContext ctx) {
    (void)status;
    (void)ctx;
    lua_Integer result = luaL_optinteger(L, -1, 0);

    lua_pushinteger(L, result);
    return 1;
}

static int call_main(lua_State *L, int status, lua_KContext ctx) {
    (void)status;
    if (!lua_isfunction(L, -1)) {
        return luaL_error(L, "module '%s' returned a %s; expected a function", lua_tostring(L, 1),
                          luaL_typename(L, -1));
    }
    lua_pushvalue(L, 2);
    lua_callk(L, 1, 1, ctx, finish);
    return finish(L, LUA_OK, ctx);
}

/* Arguments: the module's name, the list of arguments. Waits with continuations, so that the hook
 * can stop what it calls. */
static int program_main(lua_State *L) {
    lua_getglobal(L, "require");
    lua_pushvalue(L, 1);
    lua_callk(L, 1, 1, 0, call_main);
    return call_main(L, LUA_OK, 0);
}

static int push_program(lua_State *L) {
    struct program *p = box_arg(L);

    lua_pushcfunction(L, program_main);
    lua_pushstring(L, p->module);
    lua_newtable(L);
    for (int i = 0; p->args && p->args[i]; i++) {
        lua_pushstring(L, p->args[i]);
        lua_rawseti(L, -2, i + 1);
    }
    return 3;
}

int policy_run_script(const struct policy_env *env, struct snapshot *snapshot, const char *module,
                      const char *const *args, long long *result, struct err *err) {
    struct box *box = box_new(env, snapshot, NULL, err);
    struct program program = {module, args};
    enum box_status status;

    if (!box) {
        return -1;
    }
    status = box_protect(box, push_program, &program, 0, 3, err);
    if (status == BOX_OK) {
        status = box_call(box, 2, 1, err);
    }
    if (status == BOX_OK) {
        *result = lua_tointeger(box->L, -1);
    } else if (status == BOX_TIMEOUT) {
        box_timeout_text(box, env->load_cpu ? env->load_cpu : LUA_LOAD_CPU, "for the whole run",
                         err);
    }
    box_free(box);
    return status == BOX_OK ? 0 : -1;
}
