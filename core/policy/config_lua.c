/* SPDX-License-Identifier: MIT */
/*
 * The sandbox as config/ needs it to run gateway.lua: the same state without `require`, whose
 * globals C code may add to.
 */
#include "policy/box.h"

static struct lua_State *open_state(void *ctx) {
    struct box *box = box_new(ctx, NULL, NULL, NULL);

    return box ? box->L : NULL;
}

static int call_function(void *ctx, struct lua_State *L, int nargs, int nresults, struct err *err) {
    (void)ctx;
    return box_call(box_of(L), nargs, nresults, err) == BOX_OK ? 0 : -1;
}

static void close_state(void *ctx, struct lua_State *L) {
    (void)ctx;
    if (L) {
        box_free(box_of(L));
    }
}

void policy_config_lua(const struct policy_env *env, struct config_lua *out) {
    *out = (struct config_lua){
        .open = open_state, .call = call_function, .close = close_state, .ctx = (void *)env};
}
