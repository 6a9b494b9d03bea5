/* SPDX-License-Identifier: MIT */
/*
 * The key-value store, sliding windows and token buckets that policies share. Values are numbers,
 * booleans and strings up to MAX_STORE_VALUE. Bounded: a new key in a full store is refused (after
 * expired ones were swept) and counted. Expiry by monotonic time. Thread-safe (sharded locks),
 * never waits on anything but them. Survives reloads, not restarts.
 */
#ifndef STATE_STORE_H
#define STATE_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/str.h"

struct store;

enum store_type { STORE_NONE, STORE_BOOL, STORE_INT, STORE_NUM, STORE_STR };

struct store_value {
    enum store_type type;
    union {
        bool b;
        int64_t i;
        double n;
    } as;
    size_t len;      /* of a string */
    char text[4096]; /* MAX_STORE_VALUE */
};

enum {
    STORE_OK = 0,
    STORE_ABSENT = 1,
    STORE_EXISTS = 2,
    STORE_MISMATCH = 3,
    STORE_FULL = -1,
    STORE_TYPE = -2,
    STORE_TOO_BIG = -3
};

struct store *store_new(void); /* NULL: memory */
void store_free(struct store *s);

/* ttl 0 = for ever. ns and key together are at most MAX_STORE_KEY bytes (STORE_TOO_BIG). */
int store_get(struct store *s, struct str ns, struct str key,
              struct store_value *out); /* OK, ABSENT */
int store_set(struct store *s, struct str ns, struct str key, const struct store_value *v,
              usec ttl); /* OK, FULL, TOO_BIG */
int store_add(struct store *s, struct str ns, struct str key, const struct store_value *v,
              usec ttl); /* only when absent: OK, EXISTS, … */
/* Adds to a number (absent counts as 0). ttl > 0 sets it when the key is made, and leaves it alone
 * otherwise. TYPE when it is no number. */
int store_incr(struct store *s, struct str ns, struct str key, double by, usec ttl, double *result);
/* Replaces `old` (type NONE: absent) by `new_value` (NONE: delete): OK, MISMATCH, … */
int store_cas(struct store *s, struct str ns, struct str key, const struct store_value *old,
              const struct store_value *new_value, usec ttl);
int store_del(struct store *s, struct str ns, struct str key); /* OK, ABSENT */
usec store_ttl(struct store *s, struct str ns,
               struct str key); /* left; 0 = for ever; -1 = absent */

/* Counts over the last `span`, in 32 slices. A window of another span under the same name starts
 * anew. */
int store_window_add(struct store *s, struct str ns, struct str key, usec span, double n,
                     double *count); /* OK, FULL */
double store_window_count(struct store *s, struct str ns, struct str key, usec span);

/* Token bucket: true when n tokens were there and are taken. *wait (may be NULL): time until they
 * would be. */
int store_bucket_take(struct store *s, struct str ns, struct str key, double rate, double burst,
                      double n, bool *taken, usec *wait);

struct store_stats {
    unsigned long keys, windows, buckets, refused, expired;
};
void store_stats(struct store *s, struct store_stats *out);

#endif
