/* SPDX-License-Identifier: MIT */
/*
 * The key-value part of the store and what all its parts stand on: sixteen shards, each with its
 * own lock, and counts over all of them. At most one shard is locked at a time. Expired items go
 * when their key is used, when their shard is (a few each time), and all of them when the store is
 * full.
 */
#include "state/store.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "state/store_parts.h"

enum { SWEEP_EACH_TIME = 4 };

static const unsigned long kind_max[ITEM_KINDS] = {MAX_STORE_KEYS, MAX_WINDOWS, MAX_BUCKETS};

_Static_assert(sizeof(((struct store_value *)0)->text) == MAX_STORE_VALUE,
               "store.h repeats MAX_STORE_VALUE");

struct value_item {
    struct item item; /* .extra holds the text of a string */
    enum store_type type;
    union {
        bool b;
        int64_t i;
        double n;
    } as;
    size_t len;
};

struct store *store_new(void) {
    struct store *s = calloc(1, sizeof(*s));
    if (!s) {
        return NULL;
    }
    for (size_t i = 0; i < STORE_SHARDS; i++) {
        if (shard_init(&s->shards[i])) {
            store_free(s);
            return NULL;
        }
    }
    return s;
}

void store_free(struct store *s) {
    if (!s) {
        return;
    }
    for (size_t i = 0; i < STORE_SHARDS; i++) {
        shard_release(&s->shards[i]);
    }
    free(s);
}

static void remove_item(struct store *s, struct shard *shard, struct item *item) {
    atomic_fetch_sub(&s->count[item->kind], 1);
    shard_remove(shard, item);
}

/* Removes up to `most` expired items of the locked shard. */
static size_t sweep_shard(struct store *s, struct shard *shard, usec now, size_t most) {
    size_t n = 0;
    struct item *item = NULL;
    while (n < most && (item = shard_expired(shard, now)) != NULL) {
        remove_item(s, shard, item);
        n++;
    }
    if (n) {
        atomic_fetch_add(&s->expired, n);
    }
    return n;
}

static void sweep_all(struct store *s) {
    usec now = clock_now();
    for (size_t i = 0; i < STORE_SHARDS; i++) {
        pthread_mutex_lock(&s->shards[i].lock);
        sweep_shard(s, &s->shards[i], now, SIZE_MAX);
        pthread_mutex_unlock(&s->shards[i].lock);
    }
}

static struct str spot_key(const struct store_spot *spot) {
    return str_make(spot->bytes, spot->n);
}

int store_enter(struct store *s, enum item_kind kind, struct str ns, struct str key,
                struct store_spot *spot) {
    if (ns.n > MAX_STORE_KEY || key.n > MAX_STORE_KEY - ns.n) {
        return STORE_TOO_BIG;
    }
    char *p = spot->bytes;
    p[0] = (char)kind;
    p[1] = (char)(ns.n & 0xff);
    p[2] = (char)(ns.n >> 8);
    if (ns.n) {
        memcpy(p + 3, ns.p, ns.n);
    }
    if (key.n) {
        memcpy(p + 3 + ns.n, key.p, key.n);
    }
    spot->n = 3 + ns.n + key.n;
    spot->store = s;
    if (atomic_load(&s->count[kind]) >= kind_max[kind]) {
        sweep_all(s); /* now, since later one shard is locked and never two may be */
    }
    /* The high bits: the shard's own table takes the low ones. */
    spot->shard = &s->shards[hash_quick(spot_key(spot)) >> 60];
    pthread_mutex_lock(&spot->shard->lock);
    spot->now = clock_now(); /* under the lock, so that a shard's time never steps back */
    sweep_shard(s, spot->shard, spot->now, SWEEP_EACH_TIME);
    spot->item = shard_find(spot->shard, spot_key(spot));
    if (spot->item && spot->item->expires <= spot->now) {
        atomic_fetch_add(&s->expired, 1);
        store_drop(spot);
    }
    return 0;
}

void store_leave(struct store_spot *spot) {
    pthread_mutex_unlock(&spot->shard->lock);
}

void store_drop(struct store_spot *spot) {
    remove_item(spot->store, spot->shard, spot->item);
    spot->item = NULL;
}

int store_make(struct store_spot *spot, size_t size) {
    struct store *s = spot->store;
    enum item_kind kind = (enum item_kind)spot->bytes[0];
    spot->item = NULL;
    if (atomic_fetch_add(&s->count[kind], 1) < kind_max[kind]) {
        spot->item = shard_add(spot->shard, spot_key(spot), kind, size);
    }
    if (spot->item) {
        return STORE_OK;
    }
    atomic_fetch_sub(&s->count[kind], 1);
    atomic_fetch_add(&s->refused, 1);
    return STORE_FULL;
}

static struct value_item *value_of(const struct store_spot *spot) {
    return (struct value_item *)spot->item;
}

static usec end_of(usec now, usec ttl) {
    return ttl > 0 && ttl < USEC_NEVER - now ? now + ttl : USEC_NEVER;
}

/* A copy of the string's text, NULL for other types. 0, or -1 when memory is short. */
static int copy_text(const struct store_value *v, char **text) {
    *text = NULL;
    if (v->type == STORE_STR) {
        *text = str_dup(str_make(v->text, v->len));
    }
    return v->type == STORE_STR && !*text ? -1 : 0;
}

/* Takes over `text`. */
static void assign(struct value_item *item, const struct store_value *v, char *text) {
    free(item->item.extra);
    item->item.extra = text;
    item->type = v->type;
    item->len = v->type == STORE_STR ? v->len : 0;
    switch (v->type) {
    case STORE_BOOL:
        item->as.b = v->as.b;
        break;
    case STORE_INT:
        item->as.i = v->as.i;
        break;
    case STORE_NUM:
        item->as.n = v->as.n;
        break;
    default:
        break;
    }
}

static bool good_value(const struct store_value *v) {
    return v->type != STORE_NONE && (v->type != STORE_STR || v->len <= MAX_STORE_VALUE);
}

/* Writes the value to the locked spot, making the item when it is absent. */
static int write_value(struct store_spot *spot, const struct store_value *v, usec ttl) {
    char *text = NULL;
    if (copy_text(v, &text)) {
        atomic_fetch_add(&spot->store->refused, 1);
        return STORE_FULL;
    }
    if (!spot->item && store_make(spot, sizeof(struct value_item))) {
        free(text);
        return STORE_FULL;
    }
    assign(value_of(spot), v, text);
    shard_expire_at(spot->shard, spot->item, end_of(spot->now, ttl));
    return STORE_OK;
}

int store_get(struct store *s, struct str ns, struct str key, struct store_value *out) {
    struct store_spot spot;
    out->type = STORE_NONE;
    out->len = 0;
    if (store_enter(s, ITEM_VALUE, ns, key, &spot)) {
        return STORE_ABSENT;
    }
    const struct value_item *item = value_of(&spot);
    if (item) {
        out->type = item->type;
        out->len = item->len;
        memcpy(&out->as, &item->as, sizeof(out->as));
        if (item->type == STORE_STR) {
            memcpy(out->text, item->item.extra, item->len);
        }
    }
    store_leave(&spot);
    return item ? STORE_OK : STORE_ABSENT;
}

int store_set(struct store *s, struct str ns, struct str key, const struct store_value *v,
              usec ttl) {
    struct store_spot spot;
    if (!good_value(v) || store_enter(s, ITEM_VALUE, ns, key, &spot)) {
        return STORE_TOO_BIG;
    }
    int rc = write_value(&spot, v, ttl);
    store_leave(&spot);
    return rc;
}

int store_add(struct store *s, struct str ns, struct str key, const struct store_value *v,
              usec ttl) {
    struct store_value none = {.type = STORE_NONE};
    int rc = good_value(v) ? store_cas(s, ns, key, &none, v, ttl) : STORE_TOO_BIG;
    return rc == STORE_MISMATCH ? STORE_EXISTS : rc;
}

/* Whole numbers stay integers while they fit, so that counters read as such. */
static int add_number(struct value_item *item, double by) {
    bool whole = by == floor(by) && fabs(by) < 9007199254740992.0;
    int64_t sum = 0;
    if (item->type == STORE_INT && whole &&
        !__builtin_add_overflow(item->as.i, (int64_t)by, &sum)) {
        item->as.i = sum;
        return STORE_OK;
    }
    if (item->type == STORE_INT) {
        item->as.n = (double)item->as.i + by;
    } else if (item->type == STORE_NUM) {
        item->as.n += by;
    } else {
        return STORE_TYPE;
    }
    item->type = STORE_NUM;
    return STORE_OK;
}

int store_incr(struct store *s, struct str ns, struct str key, double by, usec ttl,
               double *result) {
    struct store_value zero = {.type = STORE_INT};
    struct store_spot spot;
    int rc = STORE_OK;
    *result = 0;
    if (!isfinite(by)) {
        return STORE_TYPE;
    }
    if (store_enter(s, ITEM_VALUE, ns, key, &spot)) {
        return STORE_TOO_BIG;
    }
    if (!spot.item) {
        rc = store_make(&spot, sizeof(struct value_item));
        if (rc == STORE_OK) {
            assign(value_of(&spot), &zero, NULL);
            shard_expire_at(spot.shard, spot.item, end_of(spot.now, ttl));
        }
    }
    if (rc == STORE_OK) {
        rc = add_number(value_of(&spot), by);
    }
    if (rc == STORE_OK) {
        const struct value_item *item = value_of(&spot);
        *result = item->type == STORE_INT ? (double)item->as.i : item->as.n;
    }
    store_leave(&spot);
    return rc;
}

static bool numeric(enum store_type type) {
    return type == STORE_INT || type == STORE_NUM;
}

static bool same_number(const struct value_item *item, const struct store_value *v) {
    if (item->type == STORE_INT && v->type == STORE_INT) {
        return item->as.i == v->as.i;
    }
    double a = item->type == STORE_INT ? (double)item->as.i : item->as.n;
    double b = v->type == STORE_INT ? (double)v->as.i : v->as.n;
    return a == b;
}

/* Numbers are the same when Lua says so: 1 and 1.0 are. */
static bool same(const struct value_item *item, const struct store_value *v) {
    if (!item || v->type == STORE_NONE) {
        return !item && v->type == STORE_NONE;
    }
    if (numeric(item->type) && numeric(v->type)) {
        return same_number(item, v);
    }
    if (item->type != v->type) {
        return false;
    }
    if (v->type == STORE_BOOL) {
        return item->as.b == v->as.b;
    }
    return str_eq(str_make(item->item.extra, item->len), str_make(v->text, v->len));
}

int store_cas(struct store *s, struct str ns, struct str key, const struct store_value *old,
              const struct store_value *new_value, usec ttl) {
    struct store_spot spot;
    int rc = STORE_OK;
    if ((new_value->type != STORE_NONE && !good_value(new_value)) ||
        (old->type == STORE_STR && old->len > MAX_STORE_VALUE) ||
        store_enter(s, ITEM_VALUE, ns, key, &spot)) {
        return STORE_TOO_BIG;
    }
    if (!same(value_of(&spot), old)) {
        rc = STORE_MISMATCH;
    } else if (new_value->type != STORE_NONE) {
        rc = write_value(&spot, new_value, ttl);
    } else if (spot.item) {
        store_drop(&spot);
    }
    store_leave(&spot);
    return rc;
}

int store_del(struct store *s, struct str ns, struct str key) {
    struct store_spot spot;
    if (store_enter(s, ITEM_VALUE, ns, key, &spot)) {
        return STORE_ABSENT;
    }
    bool there = spot.item != NULL;
    if (there) {
        store_drop(&spot);
    }
    store_leave(&spot);
    return there ? STORE_OK : STORE_ABSENT;
}

usec store_ttl(struct store *s, struct str ns, struct str key) {
    struct store_spot spot;
    usec left = -1;
    if (store_enter(s, ITEM_VALUE, ns, key, &spot)) {
        return -1;
    }
    if (spot.item) {
        left = spot.item->expires == USEC_NEVER ? 0 : spot.item->expires - spot.now;
    }
    store_leave(&spot);
    return left;
}

void store_stats(struct store *s, struct store_stats *out) {
    out->keys = atomic_load(&s->count[ITEM_VALUE]);
    out->windows = atomic_load(&s->count[ITEM_WINDOW]);
    out->buckets = atomic_load(&s->count[ITEM_BUCKET]);
    out->refused = atomic_load(&s->refused);
    out->expired = atomic_load(&s->expired);
}
