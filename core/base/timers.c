/* SPDX-License-Identifier: MIT */
/* See timers.h. Places are 1-based: the children of place p are 2p and 2p + 1. */
#include "base/timers.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_ROOM 16

void timers_init(struct timers *t) {
    memset(t, 0, sizeof(*t));
}

void timers_release(struct timers *t) {
    free(t->heap);
    timers_init(t);
}

int timer_join(struct timers *t, struct timer *timer, void (*fn)(void *ctx), void *ctx) {
    if (count_get(t->joined) == t->cap) {
        size_t cap = t->cap ? t->cap * 2 : FIRST_ROOM;
        struct timer **heap = realloc(t->heap, cap * sizeof(*heap));
        if (!heap) {
            return -1;
        }
        t->heap = heap;
        t->cap = cap;
    }
    count_add(t->joined, 1);
    *timer = (struct timer){.at = USEC_NEVER, .fn = fn, .ctx = ctx};
    return 0;
}

static bool before(const struct timer *a, const struct timer *b) {
    return a->at < b->at || (a->at == b->at && a->order < b->order);
}

static void put(struct timers *t, struct timer *timer, size_t place) {
    t->heap[place - 1] = timer;
    timer->place = place;
}

static void rise(struct timers *t, struct timer *timer) {
    size_t place = timer->place;
    for (; place > 1 && before(timer, t->heap[place / 2 - 1]); place /= 2) {
        put(t, t->heap[place / 2 - 1], place);
    }
    put(t, timer, place);
}

static void sink(struct timers *t, struct timer *timer) {
    size_t place = timer->place;
    for (size_t child = 2 * place; child <= t->n; child = 2 * place) {
        if (child < t->n && before(t->heap[child], t->heap[child - 1])) {
            child++;
        }
        if (!before(t->heap[child - 1], timer)) {
            break;
        }
        put(t, t->heap[child - 1], place);
        place = child;
    }
    put(t, timer, place);
}

void timer_set(struct timers *t, struct timer *timer, usec at) {
    timer->at = at;
    timer->order = t->order++;
    if (!timer->place) {
        t->n++;
        timer->place = t->n;
    }
    rise(t, timer);
    sink(t, timer);
}

void timer_clear(struct timers *t, struct timer *timer) {
    size_t place = timer->place;
    if (!place) {
        return;
    }
    struct timer *last = t->heap[t->n - 1];
    t->n--;
    timer->place = 0;
    if (last != timer) {
        last->place = place;
        rise(t, last);
        sink(t, last);
    }
}

void timer_leave(struct timers *t, struct timer *timer) {
    if (timer->fn) {
        timer_clear(t, timer);
        timer->fn = NULL;
        count_add(t->joined, -1);
    }
}

usec timers_next(const struct timers *t) {
    return t->n ? t->heap[0]->at : USEC_NEVER;
}

bool timers_run_first(struct timers *t, usec now) {
    if (timers_next(t) > now || !t->n) {
        return false;
    }
    struct timer *timer = t->heap[0];
    timer_clear(t, timer);
    timer->fn(timer->ctx);
    return true;
}

/* Two timers of equal time are in the order in which they were set, but one that a function sets to
 * an earlier time may stand before those that were there: it waits, and they are run next time. */
size_t timers_run(struct timers *t, usec now) {
    uint64_t end = t->order;
    size_t run = 0;
    while (t->n && t->heap[0]->order < end && timers_run_first(t, now)) {
        run++;
    }
    return run;
}
