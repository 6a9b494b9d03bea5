/* SPDX-License-Identifier: MIT */
/*
 * Where a URL points: scheme, host, port, and what the request says of them. Reads text and looks
 * nothing up. What wants care (user information, names that are not ASCII) is left to libcurl.
 */
#ifndef UPSTREAM_ORIGIN_H
#define UPSTREAM_ORIGIN_H

#include <stdbool.h>

#include "base/str.h"
#include "upstream/address.h"

/* Its slices are slices of the URL. */
struct origin {
    bool tls;
    struct str authority; /* as Host says it: without the default port */
    struct str path;      /* from the first '/' on, may be empty */
    const char *prefix;   /* "/" when the path does not begin with one, else "" */
    struct str host;      /* a name or an address, without brackets; at most MAX_HOST_NAME bytes */
    unsigned port;
    struct addresses
        numeric; /* of a numeric host or localhost; none: the name has to be looked up */
};

/* False: no http:// or https:// URL of a plain host, or one with bytes that want care. */
bool origin_parse(const char *url, struct origin *o);

#endif
