/* SPDX-License-Identifier: MIT */
/*
 * Admission slots. One lock per provider, held for a few instructions; a slot that is given back
 * goes straight to the head of the queue, so a newcomer can never overtake. Owns the providers'
 * counters, never the waiters.
 */
#include "state/slots.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/limits.h"
#include "base/map.h"

struct slots {
    pthread_mutex_t lock;
    int max; /* 0 = no limit */
    int queue_max;
    int inflight;
    int queued;
    unsigned long refused;
    struct slot_waiter *head, *tail;
};

struct slots_table {
    pthread_mutex_t lock; /* of the map; taken before a provider's */
    struct map *by_name;
};

struct slots_table *slots_table_new(void) {
    struct slots_table *t = calloc(1, sizeof(*t));
    if (!t) {
        return NULL;
    }
    t->by_name = map_new(MAX_SLOTS);
    if (!t->by_name || pthread_mutex_init(&t->lock, NULL)) {
        map_free(t->by_name);
        free(t);
        return NULL;
    }
    return t;
}

void slots_table_free(struct slots_table *t) {
    size_t pos = 0;
    struct str name;
    void *value = NULL;
    if (!t) {
        return;
    }
    while (map_next(t->by_name, &pos, &name, &value)) {
        struct slots *s = value;
        pthread_mutex_destroy(&s->lock);
        free(s);
    }
    map_free(t->by_name);
    pthread_mutex_destroy(&t->lock);
    free(t);
}

static struct slots *slots_new(struct map *by_name, struct str provider) {
    struct slots *s = calloc(1, sizeof(*s));
    if (!s) {
        return NULL;
    }
    if (pthread_mutex_init(&s->lock, NULL)) {
        free(s);
        return NULL;
    }
    if (map_set(by_name, provider, s)) {
        pthread_mutex_destroy(&s->lock);
        free(s);
        return NULL;
    }
    return s;
}

static bool has_room(const struct slots *s) {
    return s->max <= 0 || s->inflight < s->max;
}

static void unlink_waiter(struct slots *s, struct slot_waiter *w) {
    if (w->prev) {
        w->prev->next = w->next;
    } else {
        s->head = w->next;
    }
    if (w->next) {
        w->next->prev = w->prev;
    } else {
        s->tail = w->prev;
    }
    w->next = w->prev = NULL;
    w->queued = false;
    s->queued--;
}

/* Under the lock: hands free slots to those who wait. */
static void grant_waiters(struct slots *s) {
    while (s->head && has_room(s)) {
        struct slot_waiter *w = s->head;
        unlink_waiter(s, w);
        s->inflight++;
        w->granted(w); /* w may be gone after this */
    }
}

struct slots *slots_get(struct slots_table *t, struct str provider, int max, int queue) {
    pthread_mutex_lock(&t->lock);
    struct slots *s = map_get(t->by_name, provider);
    if (!s) {
        s = slots_new(t->by_name, provider);
    }
    pthread_mutex_unlock(&t->lock);
    if (!s) {
        return NULL;
    }
    pthread_mutex_lock(&s->lock);
    s->max = max;
    s->queue_max = queue;
    grant_waiters(s); /* a reload may have raised the maximum */
    pthread_mutex_unlock(&s->lock);
    return s;
}

static void enqueue(struct slots *s, struct slot_waiter *w) {
    w->queued = true;
    w->next = NULL;
    w->prev = s->tail;
    if (s->tail) {
        s->tail->next = w;
    } else {
        s->head = w;
    }
    s->tail = w;
    s->queued++;
}

enum slots_result slots_acquire(struct slots *s, struct slot_waiter *waiter) {
    enum slots_result result = SLOT_REFUSED;
    pthread_mutex_lock(&s->lock);
    waiter->queued = false;
    waiter->next = waiter->prev = NULL;
    if (has_room(s)) {
        s->inflight++;
        result = SLOT_GRANTED;
    } else if (s->queued < s->queue_max) {
        enqueue(s, waiter);
        result = SLOT_QUEUED;
    } else {
        s->refused++;
    }
    pthread_mutex_unlock(&s->lock);
    return result;
}

bool slots_cancel(struct slots *s, struct slot_waiter *waiter) {
    pthread_mutex_lock(&s->lock);
    bool waiting = waiter->queued;
    if (waiting) {
        unlink_waiter(s, waiter);
    }
    pthread_mutex_unlock(&s->lock);
    return waiting;
}

void slots_release(struct slots *s) {
    pthread_mutex_lock(&s->lock);
    if (s->inflight > 0) {
        s->inflight--;
    }
    grant_waiters(s);
    pthread_mutex_unlock(&s->lock);
}

void slots_stats(struct slots *s, struct slots_stats *out) {
    pthread_mutex_lock(&s->lock);
    *out = (struct slots_stats){s->inflight, s->queued, s->refused};
    pthread_mutex_unlock(&s->lock);
}

void slots_table_stats(struct slots_table *t, struct slots_stats *sum) {
    size_t pos = 0;
    struct str name;
    void *value;
    *sum = (struct slots_stats){0};
    pthread_mutex_lock(&t->lock);
    while (map_next(t->by_name, &pos, &name, &value)) {
        struct slots_stats one;
        slots_stats(value, &one);
        sum->inflight += one.inflight;
        sum->queued += one.queued;
        sum->refused += one.refused;
    }
    pthread_mutex_unlock(&t->lock);
}
