/* SPDX-License-Identifier: MIT */
/*
 * One shard of the store, for the files of state/ only: items by key, and a heap of those that end,
 * soonest first. What an item holds is its owner's business (values, windows, buckets); it embeds
 * struct item as its first member. Everything here is called with the shard's lock held, except
 * shard_init and shard_release.
 */
#ifndef STATE_SHARD_H
#define STATE_SHARD_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/map.h"
#include "base/str.h"

enum item_kind { ITEM_VALUE, ITEM_WINDOW, ITEM_BUCKET, ITEM_KINDS };

struct item {
    enum item_kind kind;
    usec expires;   /* monotonic; USEC_NEVER = not in the heap */
    size_t heap_at; /* place in the heap, SIZE_MAX = not in it */
    void *extra;    /* freed with the item; NULL or the text of a value */
    struct str key; /* owned, in the same block as the item */
};

struct shard {
    pthread_mutex_t lock;
    struct map *items;
    struct item **heap; /* room for every item, so that giving one an end cannot fail */
    size_t n_heap, cap_heap;
};

int shard_init(struct shard *s) __attribute__((warn_unused_result));
void shard_release(struct shard *s);

struct item *shard_find(const struct shard *s, struct str key); /* also one that has expired */

/* A zeroed item of `size` bytes that never expires. The key is copied. NULL: memory. */
struct item *shard_add(struct shard *s, struct str key, enum item_kind kind, size_t size);
void shard_remove(struct shard *s, struct item *item); /* and frees it */
void shard_expire_at(struct shard *s, struct item *item, usec expires);

/* An item whose time has come, or NULL. The caller removes it. */
struct item *shard_expired(const struct shard *s, usec now);

#endif
