/* SPDX-License-Identifier: MIT */
/*
 * Which route a request takes and whether its key may take it. Pure.
 */
#ifndef GATEWAY_ROUTE_H
#define GATEWAY_ROUTE_H

#include "config/config.h"

/* The first route whose path, methods and models fit; its index, or -1. *path_known and
 * *method_known tell why not (404 for an unknown path, 405 for a method, 404 for a model). */
struct route_miss {
    bool path, method;
};
int route_find(const struct config *c, struct str method, struct str path, const char *model,
               struct route_miss *miss);

/* The configured key of that secret, compared in constant time over all keys; NULL when it is none.
 */
const struct config_key *route_key(const struct config *c, struct str secret);
/* May the key ask for the model? A key without a list may ask for any. */
bool route_key_allows(const struct config_key *key, const char *model);

#endif
