/* SPDX-License-Identifier: MIT */
/*
 * The closed set of outcomes an attempt can have, their classes, and what each means to a client.
 * Names are part of the contract with policies.
 */
#ifndef UPSTREAM_OUTCOME_H
#define UPSTREAM_OUTCOME_H

#include <stdbool.h>

#include "base/str.h"

enum outcome {
    OUTCOME_OK,
    OUTCOME_CLIENT_GONE,
    OUTCOME_CANCELLED,
    OUTCOME_CONNECT_ERROR,
    OUTCOME_TLS_ERROR,
    OUTCOME_DNS_ERROR,
    OUTCOME_STALE_CONNECTION,
    OUTCOME_TIMEOUT_CONNECT,
    OUTCOME_TIMEOUT_FIRST_BYTE,
    OUTCOME_TIMEOUT_FIRST_TOKEN,
    OUTCOME_TIMEOUT_IDLE,
    OUTCOME_TIMEOUT_TOTAL,
    OUTCOME_OVERLOADED,
    OUTCOME_SERVER_ERROR,
    OUTCOME_ERROR_EVENT,
    OUTCOME_EMPTY_RESPONSE,
    OUTCOME_INVALID_RESPONSE,
    OUTCOME_STREAM_BROKEN,
    OUTCOME_LIMIT_EXCEEDED,
    OUTCOME_QUEUE_FULL,
    OUTCOME_SUSPENDED,
    OUTCOME_RATE_LIMITED,
    OUTCOME_QUOTA_EXHAUSTED,
    OUTCOME_CONTENT_FILTERED,
    OUTCOME_CREDENTIAL_ERROR,
    OUTCOME_MODEL_UNAVAILABLE,
    OUTCOME_UNSUPPORTED, /* the target cannot be asked this: no translation, nothing was sent */
    OUTCOME_CONTEXT_TOO_LONG,
    OUTCOME_TOO_LARGE,
    OUTCOME_CLIENT_ERROR,
    OUTCOME_COUNT
};

enum outcome_class {
    CLASS_NONE,
    CLASS_BACKEND,
    CLASS_RATE_LIMIT,
    CLASS_INTERCEPTED,
    CLASS_CREDENTIAL,
    CLASS_MODEL,
    CLASS_CONTEXT,
    CLASS_CLIENT,
    CLASS_COUNT
};

const char *outcome_name(enum outcome o); /* "rate_limited" */
int outcome_parse(struct str name);       /* -1: none of that name */
enum outcome_class outcome_class(enum outcome o);
const char *class_name(enum outcome_class c); /* "rate_limit"; CLASS_NONE is "" */

/* The status of the gateway's own answer when an attempt without a usable answer is returned
 * (DESIGN section 5): 502, 503, 504, or 400. */
int outcome_gateway_status(enum outcome o);

/* Does it count against the target's facts? backend (but queue_full and suspended), rate_limit,
 * credential, model (but unsupported). */
bool outcome_blames_target(enum outcome o);

#endif
