/* SPDX-License-Identifier: MIT */
#include "sim/sim_gate.h"

#include <stdio.h>

#include "base/limits.h"
#include "sim/sim.h"

struct gate {
    struct diags *diags;
    int failed;
};

/* One failure: "file \t line \t what". */
static void tell(void *ctx, const char *text, size_t n) {
    struct gate *gate = ctx;
    struct str rest = str_make(text, n), file, line;
    unsigned long long number = 0;
    char name[256];
    if (!str_split(&rest, '\t', &file) || !str_split(&rest, '\t', &line) ||
        !str_to_u64(line, &number) || number > INT32_MAX) {
        return; /* sim_gate.lua prints nothing else */
    }
    str_copy(name, sizeof(name), file);
    diags_error(gate->diags, name, (int)number, "%.*s", (int)rest.n, rest.p);
    gate->failed++;
}

static bool listed(const char *const *names, size_t n, const char *name) {
    for (size_t i = 0; i < n; i++) {
        if (strcmp(names[i], name) == 0) {
            return true;
        }
    }
    return false;
}

/* The test files of the routes' policies, each once. */
static size_t find_tests(const struct snapshot *snapshot, const struct config *config,
                         const char **names) {
    size_t n = 0;
    for (size_t i = 0; i < config->n_routes; i++) {
        char name[512];
        snprintf(name, sizeof(name), "policies/%s_test.lua", config->routes[i].policy);
        const struct snapshot_file *file = snapshot_test_find(snapshot, name);
        if (file && !listed(names, n, file->name)) {
            names[n++] = file->name;
        }
    }
    names[n] = NULL;
    return n;
}

int sim_gate(void *ctx, struct snapshot *snapshot, const struct config *config,
             struct diags *diags) {
    const char *names[MAX_ROUTES + 1];
    struct gate gate = {.diags = diags};
    struct sim_run_options options = {
        .snapshot = snapshot, .args = names, .cpu = SIM_GATE_CPU, .print = tell, .ctx = &gate};
    struct err err;
    (void)ctx;
    if (find_tests(snapshot, config, names) == 0) {
        return 0;
    }
    if (sim_run(&options, "moongate.sim_gate", &err) < 0) {
        diags_error(diags, config->file, 0, "the policies' tests could not be run: %s", err.text);
        return -1;
    }
    return gate.failed;
}
