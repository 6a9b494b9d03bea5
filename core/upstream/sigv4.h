/* SPDX-License-Identifier: MIT */
/*
 * Signs requests as AWS wants it: Signature Version 4 in a header, the body's hash included. Signed
 * are Host, Content-Type and every x-amz-* field; other fields go out unsigned, whoever added them,
 * which AWS allows. Pure: knows no clock and no configuration.
 *
 * libcurl's own (CURLOPT_AWS_SIGV4) cannot be used: as of 7.88 it does not encode the path again
 * (the ':' and '/' of model ids), does not sort the query, signs fields that it was told not to
 * send, and takes a body that it reads bit by bit for an empty one.
 */
#ifndef UPSTREAM_SIGV4_H
#define UPSTREAM_SIGV4_H

#include "base/clock.h"
#include "base/str.h"
#include "net/headers.h"

struct sigv4_key {
    struct str access_key, secret_key; /* SECRET */
    struct str session_token;          /* empty: none. SECRET */
    struct str region, service;        /* "us-east-1", "bedrock" */
};

/* As it will go out; all borrowed. */
struct sigv4_request {
    struct str method;
    const char *url; /* terminated */
    const struct str *body;
    size_t n_body;
};

/* Sets X-Amz-Date, X-Amz-Security-Token (or removes it) and Authorization in *headers, which are
 * those that go out with the request; call it last. `wall` in usec since the epoch: AWS takes a
 * signature for five minutes. -1: memory, more than MAX_SIGNED fields or parameters, or the URL is
 * not one of a plain host. Costs a SHA-256 over the body: about 1 ms for each MiB. */
int sigv4_sign(const struct sigv4_key *key, const struct sigv4_request *request, usec wall,
               struct headers *headers) __attribute__((warn_unused_result));

#endif
