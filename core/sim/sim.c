/* SPDX-License-Identifier: MIT */
#include "sim/sim.h"

#include "base/limits.h"
#include "policy/body.h"
#include "policy/policy.h"
#include "sim/sim_lua.h"

static const struct policy_module MODULES[] = {
    {"moongate.sim_core", sim_open_core}, {"moongate.body", body_open}, {NULL, NULL}};

int sim_run(const struct sim_run_options *options, const char *module, struct err *err) {
    struct sim sim = {.options = options};
    struct policy_env env = {.modules = MODULES,
                             .host = &sim,
                             .state_bytes = SIM_STATE_BYTES,
                             .load_cpu = options->cpu ? options->cpu : SIM_CPU};
    long long result = 0;
    int rc = policy_run_script(&env, options->snapshot, module, options->args, &result, err);
    dialect_cache_release(&sim.dialects);
    if (rc != 0) {
        return -1;
    }
    return result >= 0 && result < 256 ? (int)result : 1;
}
