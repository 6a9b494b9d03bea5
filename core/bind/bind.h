/* SPDX-License-Identifier: MIT */
/*
 * The Lua face of the core: what policies may `require` and call. One thin file per module: check,
 * call, push.
 */
#ifndef BIND_BIND_H
#define BIND_BIND_H

#include "gateway/gateway.h"
#include "policy/policy.h"

/* One call of a function of the embedding program, while it runs (moongate.h has it opaque).
 * Results are kept here until it returns, so that its C code never meets Lua. */
#define HOST_RESULTS 8

struct host_value {
    enum value_type type; /* NIL, BOOL, NUM, STR */
    double number;
    bool flag;
    const char *text; /* borrowed (arguments) or owned (results) */
    size_t len;
};

struct moongate_call {
    struct host_value *args; /* borrowed */
    int n_args;
    struct host_value results[HOST_RESULTS];
    int n_results;
    char error[256];
};

struct host_function {
    char name[64];
    int (*fn)(struct moongate_call *call, void *ctx); /* 0, or -1 with call->error */
    void *ctx;
};

/* policy_env.host of every generation. */
struct bind_host {
    struct gateway *gateway;
    struct host_function *functions;
    size_t n_functions;
};

extern const struct policy_module bind_modules[]; /* "moongate", "moongate.host", "moongate.body" */
extern const struct gateway_bindings bind_bindings;

#endif
