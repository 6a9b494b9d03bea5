/* SPDX-License-Identifier: MIT */
/*
 * Items by key with an expiry heap. Bounded by its users, who count items over all shards.
 */
#include "state/shard.h"

#include <stdlib.h>
#include <string.h>

#include "base/limits.h"

enum { FIRST_HEAP = 16 };

int shard_init(struct shard *s) {
    memset(s, 0, sizeof(*s));
    s->items = map_new(MAX_STORE_KEYS + MAX_WINDOWS + MAX_BUCKETS);
    if (!s->items) {
        return -1;
    }
    if (pthread_mutex_init(&s->lock, NULL)) {
        map_free(s->items);
        s->items = NULL;
        return -1;
    }
    return 0;
}

static void item_free(struct item *item) {
    free(item->extra);
    free(item);
}

void shard_release(struct shard *s) {
    size_t pos = 0;
    struct str key;
    void *value = NULL;
    if (!s->items) {
        return;
    }
    while (map_next(s->items, &pos, &key, &value)) {
        item_free(value);
    }
    map_free(s->items);
    s->items = NULL;
    free(s->heap);
    s->heap = NULL;
    pthread_mutex_destroy(&s->lock);
}

struct item *shard_find(const struct shard *s, struct str key) {
    return map_get(s->items, key);
}

static int make_room(struct shard *s) {
    size_t cap = s->cap_heap ? s->cap_heap * 2 : FIRST_HEAP;
    if (map_count(s->items) < s->cap_heap) {
        return 0;
    }
    struct item **heap = realloc(s->heap, cap * sizeof(*heap));
    if (!heap) {
        return -1;
    }
    s->heap = heap;
    s->cap_heap = cap;
    return 0;
}

struct item *shard_add(struct shard *s, struct str key, enum item_kind kind, size_t size) {
    struct item *item = make_room(s) ? NULL : calloc(1, size + key.n);
    if (!item) {
        return NULL;
    }
    char *copy = (char *)item + size;
    memcpy(copy, key.p, key.n);
    item->kind = kind;
    item->key = str_make(copy, key.n);
    item->expires = USEC_NEVER;
    item->heap_at = SIZE_MAX;
    if (map_set(s->items, item->key, item)) {
        free(item);
        return NULL;
    }
    return item;
}

static void put(struct shard *s, size_t at, struct item *item) {
    s->heap[at] = item;
    item->heap_at = at;
}

/* Moves the item from the hole at `at` to where it belongs. */
static void sift(struct shard *s, size_t at, struct item *item) {
    while (at > 0 && item->expires < s->heap[(at - 1) / 2]->expires) {
        put(s, at, s->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    for (;;) {
        size_t child = 2 * at + 1;
        if (child + 1 < s->n_heap && s->heap[child + 1]->expires < s->heap[child]->expires) {
            child++;
        }
        if (child >= s->n_heap || item->expires <= s->heap[child]->expires) {
            break;
        }
        put(s, at, s->heap[child]);
        at = child;
    }
    put(s, at, item);
}

void shard_expire_at(struct shard *s, struct item *item, usec expires) {
    size_t at = item->heap_at;
    item->expires = expires;
    if (expires == USEC_NEVER) {
        if (at == SIZE_MAX) {
            return;
        }
        item->heap_at = SIZE_MAX;
        struct item *last = s->heap[--s->n_heap];
        if (last != item) {
            sift(s, at, last);
        }
        return;
    }
    sift(s, at == SIZE_MAX ? s->n_heap++ : at, item);
}

void shard_remove(struct shard *s, struct item *item) {
    shard_expire_at(s, item, USEC_NEVER);
    map_remove(s->items, item->key);
    item_free(item);
}

struct item *shard_expired(const struct shard *s, usec now) {
    return s->n_heap > 0 && s->heap[0]->expires <= now ? s->heap[0] : NULL;
}
