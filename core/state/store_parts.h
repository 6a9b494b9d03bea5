/* SPDX-License-Identifier: MIT */
/*
 * What the files of the store share: shards, counts, and finding or making an item under its
 * shard's lock. For store*.c only.
 */
#ifndef STATE_STORE_PARTS_H
#define STATE_STORE_PARTS_H

#include <stdatomic.h>

#include "base/limits.h"
#include "state/shard.h"
#include "state/store.h"

enum { STORE_SHARDS = 16, STORE_KEY_BYTES = MAX_STORE_KEY + 3 };

struct store {
    struct shard shards[STORE_SHARDS];
    atomic_ulong count[ITEM_KINDS]; /* items of all shards, by kind */
    atomic_ulong refused;
    atomic_ulong expired;
};

/* A place in the store while its shard is locked. */
struct store_spot {
    struct store *store;
    struct shard *shard;
    struct item *item; /* NULL: absent (an expired one is removed first) */
    usec now;
    char bytes[STORE_KEY_BYTES]; /* the key: kind, length of the namespace, both names */
    size_t n;
};

/* Locks the shard of the key, sweeping a full store before. 0, or STORE_TOO_BIG and nothing is
 * locked. */
int store_enter(struct store *s, enum item_kind kind, struct str ns, struct str key,
                struct store_spot *spot) __attribute__((warn_unused_result));
void store_leave(struct store_spot *spot);

/* Makes the item that is absent: OK, or FULL, which is counted. */
int store_make(struct store_spot *spot, size_t size) __attribute__((warn_unused_result));
void store_drop(struct store_spot *spot); /* removes the item; it must be there */

#endif
