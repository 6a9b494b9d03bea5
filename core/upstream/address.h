/* SPDX-License-Identifier: MIT */
/*
 * Internet addresses as values: a few of them, in the order in which they are to be tried. Ports
 * are added where a connection is made.
 */
#ifndef UPSTREAM_ADDRESS_H
#define UPSTREAM_ADDRESS_H

#include <netinet/in.h>
#include <stddef.h>
#include <string.h>

#include "base/limits.h"

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

struct addresses {
    union address at[MAX_ADDRESSES];
    size_t n;
};

/* Adds one without a port; `host` is a struct in_addr or in6_addr. What does not fit is dropped. */
static inline void addresses_add(struct addresses *a, int family, const void *host) {
    if (a->n == MAX_ADDRESSES) {
        return;
    }
    union address *to = &a->at[a->n++];
    memset(to, 0, sizeof(*to));
    to->any.sa_family = (sa_family_t)family;
    if (family == AF_INET) {
        memcpy(&to->v4.sin_addr, host, sizeof(to->v4.sin_addr));
    } else {
        memcpy(&to->v6.sin6_addr, host, sizeof(to->v6.sin6_addr));
    }
}

#endif
