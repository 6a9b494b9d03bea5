/* SPDX-License-Identifier: MIT */
/*
 * The table of outcomes. What each of them is called and which class it has stands here and nowhere
 * else.
 */
#include "upstream/outcome.h"

#include <stddef.h>

static const struct {
    const char *name;
    enum outcome_class class;
} outcomes[OUTCOME_COUNT] = {
    [OUTCOME_OK] = {"ok", CLASS_NONE},
    [OUTCOME_CLIENT_GONE] = {"client_gone", CLASS_NONE},
    [OUTCOME_CANCELLED] = {"cancelled", CLASS_NONE},
    [OUTCOME_CONNECT_ERROR] = {"connect_error", CLASS_BACKEND},
    [OUTCOME_TLS_ERROR] = {"tls_error", CLASS_BACKEND},
    [OUTCOME_DNS_ERROR] = {"dns_error", CLASS_BACKEND},
    [OUTCOME_STALE_CONNECTION] = {"stale_connection", CLASS_BACKEND},
    [OUTCOME_TIMEOUT_CONNECT] = {"timeout_connect", CLASS_BACKEND},
    [OUTCOME_TIMEOUT_FIRST_BYTE] = {"timeout_first_byte", CLASS_BACKEND},
    [OUTCOME_TIMEOUT_FIRST_TOKEN] = {"timeout_first_token", CLASS_BACKEND},
    [OUTCOME_TIMEOUT_IDLE] = {"timeout_idle", CLASS_BACKEND},
    [OUTCOME_TIMEOUT_TOTAL] = {"timeout_total", CLASS_BACKEND},
    [OUTCOME_OVERLOADED] = {"overloaded", CLASS_BACKEND},
    [OUTCOME_SERVER_ERROR] = {"server_error", CLASS_BACKEND},
    [OUTCOME_ERROR_EVENT] = {"error_event", CLASS_BACKEND},
    [OUTCOME_EMPTY_RESPONSE] = {"empty_response", CLASS_BACKEND},
    [OUTCOME_INVALID_RESPONSE] = {"invalid_response", CLASS_BACKEND},
    [OUTCOME_STREAM_BROKEN] = {"stream_broken", CLASS_BACKEND},
    [OUTCOME_LIMIT_EXCEEDED] = {"limit_exceeded", CLASS_BACKEND},
    [OUTCOME_QUEUE_FULL] = {"queue_full", CLASS_BACKEND},
    [OUTCOME_SUSPENDED] = {"suspended", CLASS_BACKEND},
    [OUTCOME_RATE_LIMITED] = {"rate_limited", CLASS_RATE_LIMIT},
    [OUTCOME_QUOTA_EXHAUSTED] = {"quota_exhausted", CLASS_RATE_LIMIT},
    [OUTCOME_CONTENT_FILTERED] = {"content_filtered", CLASS_INTERCEPTED},
    [OUTCOME_CREDENTIAL_ERROR] = {"credential_error", CLASS_CREDENTIAL},
    [OUTCOME_MODEL_UNAVAILABLE] = {"model_unavailable", CLASS_MODEL},
    [OUTCOME_UNSUPPORTED] = {"unsupported", CLASS_MODEL},
    [OUTCOME_CONTEXT_TOO_LONG] = {"context_too_long", CLASS_CONTEXT},
    [OUTCOME_TOO_LARGE] = {"too_large", CLASS_CONTEXT},
    [OUTCOME_CLIENT_ERROR] = {"client_error", CLASS_CLIENT},
};

static const char *const classes[CLASS_COUNT] = {
    [CLASS_NONE] = "",
    [CLASS_BACKEND] = "backend",
    [CLASS_RATE_LIMIT] = "rate_limit",
    [CLASS_INTERCEPTED] = "intercepted",
    [CLASS_CREDENTIAL] = "credential",
    [CLASS_MODEL] = "model",
    [CLASS_CONTEXT] = "context",
    [CLASS_CLIENT] = "client",
};

static bool known(enum outcome o) {
    return (unsigned)o < OUTCOME_COUNT;
}

const char *outcome_name(enum outcome o) {
    return known(o) ? outcomes[o].name : "unknown";
}

int outcome_parse(struct str name) {
    for (int i = 0; i < OUTCOME_COUNT; i++) {
        if (str_is(name, outcomes[i].name)) {
            return i;
        }
    }
    return -1;
}

enum outcome_class outcome_class(enum outcome o) {
    return known(o) ? outcomes[o].class : CLASS_NONE;
}

const char *class_name(enum outcome_class c) {
    return (unsigned)c < CLASS_COUNT ? classes[c] : "";
}

int outcome_gateway_status(enum outcome o) {
    switch (o) {
    case OUTCOME_TIMEOUT_CONNECT:
    case OUTCOME_TIMEOUT_FIRST_BYTE:
    case OUTCOME_TIMEOUT_FIRST_TOKEN:
    case OUTCOME_TIMEOUT_IDLE:
    case OUTCOME_TIMEOUT_TOTAL:
        return 504;
    case OUTCOME_QUEUE_FULL:
    case OUTCOME_SUSPENDED:
        return 503;
    case OUTCOME_UNSUPPORTED:
        return 400;
    default:
        return 502;
    }
}

bool outcome_blames_target(enum outcome o) {
    switch (outcome_class(o)) {
    case CLASS_BACKEND:
        return o != OUTCOME_QUEUE_FULL && o != OUTCOME_SUSPENDED;
    case CLASS_RATE_LIMIT:
    case CLASS_CREDENTIAL:
        return true;
    case CLASS_MODEL:
        return o != OUTCOME_UNSUPPORTED;
    default:
        return false;
    }
}
