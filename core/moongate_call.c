/* SPDX-License-Identifier: MIT */
/* Arguments and results of functions that the embedding program gives to policies. */
#include <stdio.h>
#include <stdlib.h>

#include "bind/bind.h"
#include "moongate.h"

static const struct host_value *arg(const struct moongate_call *call, int i, enum value_type type) {
    return i >= 0 && i < call->n_args && call->args[i].type == type ? &call->args[i] : NULL;
}

static void give(struct moongate_call *call, struct host_value value) {
    if (call->n_results < HOST_RESULTS) {
        call->results[call->n_results++] = value;
    } else if (value.type == VALUE_STR) {
        free((char *)(size_t)value.text);
    }
}

int moongate_arg_count(const struct moongate_call *call) {
    return call->n_args;
}

bool moongate_arg_string(const struct moongate_call *call, int i, const char **text, size_t *len) {
    const struct host_value *v = arg(call, i, VALUE_STR);
    if (v) {
        *text = v->text;
        *len = v->len;
    }
    return v != NULL;
}

bool moongate_arg_number(const struct moongate_call *call, int i, double *number) {
    const struct host_value *v = arg(call, i, VALUE_NUM);
    if (v) {
        *number = v->number;
    }
    return v != NULL;
}

bool moongate_arg_bool(const struct moongate_call *call, int i, bool *flag) {
    const struct host_value *v = arg(call, i, VALUE_BOOL);
    if (v) {
        *flag = v->flag;
    }
    return v != NULL;
}

void moongate_return_string(struct moongate_call *call, const char *text, size_t len) {
    size_t n = len < LUA_STRING_MAX ? len : LUA_STRING_MAX;
    char *copy = malloc(n + 1);
    if (!copy) {
        moongate_return_nil(call);
        return;
    }
    memcpy(copy, text, n);
    copy[n] = '\0';
    give(call, (struct host_value){.type = VALUE_STR, .text = copy, .len = n});
}

void moongate_return_number(struct moongate_call *call, double number) {
    give(call, (struct host_value){.type = VALUE_NUM, .number = number});
}

void moongate_return_bool(struct moongate_call *call, bool flag) {
    give(call, (struct host_value){.type = VALUE_BOOL, .flag = flag});
}

void moongate_return_nil(struct moongate_call *call) {
    give(call, (struct host_value){.type = VALUE_NIL});
}

int moongate_fail(struct moongate_call *call, const char *message) {
    snprintf(call->error, sizeof(call->error), "%s", message);
    return -1;
}
