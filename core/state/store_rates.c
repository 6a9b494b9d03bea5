/* SPDX-License-Identifier: MIT */
/*
 * Sliding windows and token buckets: the parts of the store that count over time. Both expire by
 * themselves once they hold nothing that a new one would not: an idle window is empty, an idle
 * bucket is full.
 */
#include <math.h>
#include <string.h>

#include "state/store_parts.h"

enum { SLICES = 32 };

struct window {
    struct item item;
    usec span;
    int64_t newest; /* number of the newest slice: its time divided by the slice's length */
    double slice[SLICES];
};

struct bucket {
    struct item item;
    double tokens;
    usec filled_at;
};

static int64_t slice_now(usec now, usec span) {
    usec length = span / SLICES;
    return now / (length > 0 ? length : 1);
}

/* Empties the slices that have gone out of the window since it was last touched. */
static void advance(struct window *w, usec now) {
    int64_t number = slice_now(now, w->span);
    int64_t steps = number - w->newest;
    if (steps >= SLICES) {
        memset(w->slice, 0, sizeof(w->slice));
    } else {
        for (int64_t i = 1; i <= steps; i++) {
            w->slice[(w->newest + i) % SLICES] = 0;
        }
    }
    if (steps > 0) {
        w->newest = number;
    }
}

static double total(const struct window *w) {
    double sum = 0;
    for (int i = 0; i < SLICES; i++) {
        sum += w->slice[i];
    }
    return sum;
}

static void window_start(struct window *w, usec span, usec now) {
    w->span = span;
    w->newest = slice_now(now, span);
    memset(w->slice, 0, sizeof(w->slice));
}

int store_window_add(struct store *s, struct str ns, struct str key, usec span, double n,
                     double *count) {
    struct store_spot spot;
    *count = 0;
    if (store_enter(s, ITEM_WINDOW, ns, key, &spot)) {
        return STORE_TOO_BIG;
    }
    bool made = !spot.item;
    int rc = made ? store_make(&spot, sizeof(struct window)) : STORE_OK;
    if (rc == STORE_OK) {
        struct window *w = (struct window *)spot.item;
        if (made || w->span != span) {
            window_start(w, span, spot.now);
        }
        advance(w, spot.now);
        w->slice[w->newest % SLICES] += isfinite(n) ? n : 0;
        *count = total(w);
        shard_expire_at(spot.shard, spot.item,
                        span < USEC_NEVER - spot.now ? spot.now + span : USEC_NEVER);
    }
    store_leave(&spot);
    return rc;
}

double store_window_count(struct store *s, struct str ns, struct str key, usec span) {
    struct store_spot spot;
    double count = 0;
    if (store_enter(s, ITEM_WINDOW, ns, key, &spot)) {
        return 0;
    }
    struct window *w = (struct window *)spot.item;
    if (w && w->span == span) {
        advance(w, spot.now);
        count = total(w);
    }
    store_leave(&spot);
    return count;
}

/* Time in which the rate gives that many tokens. */
static usec time_for(double tokens, double rate) {
    double seconds = rate > 0 ? tokens / rate : INFINITY;
    if (tokens <= 0) {
        return 0;
    }
    return seconds < 3e8 ? (usec)ceil(seconds * 1e6) : USEC_NEVER;
}

static void refill(struct bucket *b, double rate, double burst, usec now) {
    if (now > b->filled_at && rate > 0) {
        b->tokens += rate * usec_to_seconds(now - b->filled_at);
    }
    b->filled_at = now > b->filled_at ? now : b->filled_at;
    b->tokens = b->tokens < burst ? b->tokens : burst;
}

int store_bucket_take(struct store *s, struct str ns, struct str key, double rate, double burst,
                      double n, bool *taken, usec *wait) {
    struct store_spot spot;
    usec left = 0;
    *taken = false;
    n = n > 0 ? n : 0;
    burst = burst > 0 ? burst : 0;
    if (store_enter(s, ITEM_BUCKET, ns, key, &spot)) {
        return STORE_TOO_BIG;
    }
    bool made = !spot.item;
    int rc = made ? store_make(&spot, sizeof(struct bucket)) : STORE_OK;
    if (rc == STORE_OK) {
        struct bucket *b = (struct bucket *)spot.item;
        if (made) {
            b->tokens = burst;
            b->filled_at = spot.now;
        }
        refill(b, rate, burst, spot.now);
        *taken = n <= b->tokens + 1e-9; /* what rounding of many refills may have lost */
        b->tokens -= *taken ? n : 0;
        left = *taken ? 0 : n > burst ? USEC_NEVER : time_for(n - b->tokens, rate);
        usec full = time_for(burst - b->tokens, rate);
        shard_expire_at(spot.shard, spot.item,
                        full < USEC_NEVER - spot.now ? spot.now + full : USEC_NEVER);
    }
    store_leave(&spot);
    if (wait) {
        *wait = left;
    }
    return rc;
}
