/* SPDX-License-Identifier: MIT */
/*
 * One HTTP request that the caller waits for: what commands need that ask a running gateway or a
 * provider something. Owns an event base and a transport for the time of the call; nothing is kept
 * between two calls. It keeps the transport's rules: no redirect, no proxy, one send. Never for a
 * gateway's own threads: it blocks.
 */
#ifndef UPSTREAM_FETCH_H
#define UPSTREAM_FETCH_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"
#include "net/headers.h"
#include "upstream/outcome.h"

struct fetch_request {
    const char *method;            /* "GET" */
    const char *url;               /* absolute, http or https */
    const struct headers *headers; /* borrowed; NULL = none. Host, Content-Length and
                                      Accept-Encoding are the transport's */
    struct str body;               /* borrowed */
    struct str ca;   /* PEM: the authorities to trust for https; borrowed; empty: the system's */
    bool has_body;   /* true with no bytes: Content-Length: 0 */
    usec timeout;    /* from the start to the last byte; 0 = FETCH_TIME of base/limits.h */
    size_t max_body; /* of the answer; 0 = MAX_FETCH_BODY. A longer one is an error */
};

struct fetch_answer {
    enum outcome outcome; /* OUTCOME_OK: a whole answer came, whatever its status. Else what failed:
                             dns_error, connect_error, tls_error, timeout_total, empty_response,
                             invalid_response, stream_broken, limit_exceeded (longer than max_body,
                             or memory) */
    int status;           /* 0 = none came */
    struct headers headers;
    struct buf body; /* as far as it came */
};

void fetch_answer_init(struct fetch_answer *answer);
void fetch_answer_release(struct fetch_answer *answer);

/* Sends, waits and reads the whole answer into `answer`, which was initialised; what it held is
 * dropped. 0 when outcome is OUTCOME_OK; -1 with err otherwise, in words that name neither headers
 * nor body. Blocks up to the timeout (the resolving of a name may outlast it by what the system's
 * resolver takes to give up). Costs an event base and a connection: not for loops. */
int fetch(const struct fetch_request *request, struct fetch_answer *answer, struct err *err)
    __attribute__((warn_unused_result));

/* Was nobody there to ask (no such name, no connection, no TLS)? */
bool fetch_unreachable(const struct fetch_answer *answer);

#endif
