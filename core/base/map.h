/* SPDX-License-Identifier: MIT */
/*
 * Hash map from bytes to pointers. Keys are copied; values are borrowed. The hash is keyed per
 * process (SipHash), since keys come from clients. Not thread-safe.
 */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

struct map;

struct map *map_new(size_t max); /* at most `max` entries; NULL when memory is short */
void map_free(struct map *m);    /* values are not freed */
size_t map_count(const struct map *m);

void *map_get(const struct map *m, struct str key); /* NULL when absent */
/* The map's own copy of the key, which lives as long as the entry; empty when absent. */
struct str map_key(const struct map *m, struct str key);
int map_set(struct map *m, struct str key, void *value)
    __attribute__((warn_unused_result));         /* 0, or -1: full or memory */
void *map_remove(struct map *m, struct str key); /* the value, or NULL */

/* Walk: start with *pos = 0; false at the end. The current entry may be removed during the walk,
 * nothing added. */
bool map_next(const struct map *m, size_t *pos, struct str *key, void **value);

#endif
