/* SPDX-License-Identifier: MIT */
/*
 * Builds what goes to a provider: its URL from the client's path and query, its headers from the
 * client's, its credential. Used by attempts and by probes. (DESIGN section 4, Headers.)
 */
#ifndef UPSTREAM_OUTBOUND_H
#define UPSTREAM_OUTBOUND_H

#include "base/buf.h"
#include "config/config.h"
#include "net/headers.h"
#include "upstream/sigv4.h"

/* What is asked of a provider; borrowed. */
struct outbound {
    struct str path, query; /* the client's */
    struct str key;         /* replaces the provider's api_key when not empty */
    struct str model;       /* that is asked for, plain; empty: none */
    struct str model_at;    /* in `path`, where it is to stand; p NULL: nowhere */
};

/* base_url + what the provider's dialect puts before paths + path without the dialect's prefix
 * ("/v1") and with the model in its place + query without any `key` parameter + for AUTH_QUERY
 * the key (percent-encoded). Terminated. -1: full or memory. */
int outbound_url(const struct config_provider *p, const struct outbound *o, struct buf *url)
    __attribute__((warn_unused_result));

/* Adds `path` with the model, percent-encoded, in place of each "{model}". 0, -1: full or memory.
 */
int outbound_fill_model(const char *path, struct str model, struct buf *out)
    __attribute__((warn_unused_result));

/* For requests of our own: base_url + path as it is (its query included) + for AUTH_QUERY `key`, or
 * the provider's when it is empty. Terminated. -1: full or memory. */
int outbound_own_url(const struct config_provider *p, struct str path, struct str key,
                     struct buf *url) __attribute__((warn_unused_result));

/* Copies the client's end-to-end fields that a provider may see into *out, then adds the provider's
 * own fields and its credential. `key` replaces the provider's api_key when not empty. For
 * AUTH_PASSTHROUGH the client's credential fields stay. */
int outbound_headers(const struct config_provider *p, const struct headers *client, struct str key,
                     struct headers *out) __attribute__((warn_unused_result));

/* The last thing done to the fields before they go out: for AUTH_AWS signs the request with the
 * provider's keys as of now, so that it must leave within minutes. Others are left as they are. -1:
 * it cannot be signed (sigv4.h). */
int outbound_sign(const struct config_provider *p, const struct sigv4_request *request,
                  struct headers *out) __attribute__((warn_unused_result));

/* Copies the provider's fields that a client may see: all but hop-by-hop ones and those Connection
 * lists, Content-Length, Content-Encoding, Set-Cookie, x-moongate-*. */
int inbound_headers(const struct headers *answer, struct headers *out)
    __attribute__((warn_unused_result));

/* The client's key as the gateway reads it: Authorization: Bearer, x-api-key, x-goog-api-key, in
 * this order; empty when none. */
struct str client_key(const struct headers *client);

#endif
