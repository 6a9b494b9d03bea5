/* SPDX-License-Identifier: MIT */
/*
 * What owner and threads share is counted: each thread and the owner hold it, the last one frees
 * it. Everything in it but the function is under its lock, which nobody holds for longer than a few
 * instructions.
 */
#include "upstream/lookups.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/thread.h"

struct queue {
    struct lookup *head, **tail;
    size_t n;
};

struct lookups {
    lookup_function *function;
    void *ctx;
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct queue waiting, finished;
    int fd; /* an eventfd; -1 once closed */
    size_t threads, idle;
    bool closed; /* by the owner */
};

static void queue_init(struct queue *q) {
    q->head = NULL;
    q->tail = &q->head;
    q->n = 0;
}

static void queue_add(struct queue *q, struct lookup *lookup) {
    lookup->next = NULL;
    *q->tail = lookup;
    q->tail = &lookup->next;
    q->n++;
}

static struct lookup *queue_take(struct queue *q) {
    struct lookup *lookup = q->head;
    if (lookup) {
        q->head = lookup->next;
        q->tail = q->head ? q->tail : &q->head;
        q->n--;
    }
    return lookup;
}

static void queue_free(struct queue *q) {
    struct lookup *lookup;
    while ((lookup = queue_take(q))) {
        free(lookup);
    }
}

/* Called with the lock, which is gone after it. */
static void leave(struct lookups *l) {
    bool last = l->closed && l->threads == 0;
    pthread_mutex_unlock(&l->lock);
    if (last) {
        pthread_cond_destroy(&l->work);
        pthread_mutex_destroy(&l->lock);
        free(l);
    }
}

/* Waits for work under the lock. NULL: none came, or none will. */
static struct lookup *next_lookup(struct lookups *l) {
    struct timespec until;
    int timed_out = 0;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += LOOKUP_THREAD_IDLE;
    l->idle++;
    while (!l->waiting.head && !l->closed && !timed_out) {
        timed_out = pthread_cond_timedwait(&l->work, &l->lock, &until);
    }
    l->idle--;
    return queue_take(&l->waiting);
}

static void finish(struct lookups *l, struct lookup *lookup) {
    uint64_t one = 1;
    if (l->closed) {
        free(lookup);
        return;
    }
    queue_add(&l->finished, lookup);
    if (write(l->fd, &one, sizeof(one)) < 0) {
        return; /* only when it has been readable for 2^64 - 1 of them */
    }
}

static void *run(void *arg) {
    struct lookups *l = arg;
    struct lookup *lookup;
    pthread_mutex_lock(&l->lock);
    while ((lookup = next_lookup(l))) {
        pthread_mutex_unlock(&l->lock);
        lookup->result = l->function(l->ctx, lookup->host, &lookup->found, &lookup->err);
        pthread_mutex_lock(&l->lock);
        finish(l, lookup);
    }
    l->threads--;
    leave(l);
    return NULL;
}

/* Under the lock. A thread more, when all are busy and there may be more. What waits already is for
 * those that are idle: they may not have woken up yet. */
static void add_thread(struct lookups *l) {
    pthread_t thread;
    if (l->idle > l->waiting.n || l->threads == MAX_LOOKUP_THREADS) {
        return;
    }
    if (thread_start(&thread, run, l) == 0) {
        pthread_detach(thread);
        l->threads++;
    }
}

struct lookups *lookups_new(lookup_function *function, void *ctx) {
    struct lookups *l = calloc(1, sizeof(*l));
    pthread_condattr_t monotonic;
    if (!l) {
        return NULL;
    }
    l->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (l->fd < 0) {
        free(l);
        return NULL;
    }
    l->function = function;
    l->ctx = ctx;
    queue_init(&l->waiting);
    queue_init(&l->finished);
    pthread_mutex_init(&l->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&l->work, &monotonic);
    pthread_condattr_destroy(&monotonic);
    return l;
}

void lookups_close(struct lookups *l) {
    if (!l) {
        return;
    }
    pthread_mutex_lock(&l->lock);
    queue_free(&l->waiting);
    queue_free(&l->finished);
    close(l->fd);
    l->fd = -1;
    l->closed = true;
    pthread_cond_broadcast(&l->work);
    leave(l);
}

int lookups_fd(const struct lookups *l) {
    return l->fd;
}

int lookups_start(struct lookups *l, struct lookup *lookup) {
    pthread_mutex_lock(&l->lock);
    add_thread(l);
    bool can = l->threads > 0;
    if (can) {
        queue_add(&l->waiting, lookup);
        pthread_cond_signal(&l->work);
    }
    pthread_mutex_unlock(&l->lock);
    return can ? 0 : -1;
}

struct lookup *lookups_finished(struct lookups *l) {
    uint64_t count;
    pthread_mutex_lock(&l->lock);
    struct lookup *all = l->finished.head;
    queue_init(&l->finished);
    bool read_it = read(l->fd, &count, sizeof(count)) > 0;
    pthread_mutex_unlock(&l->lock);
    return read_it || all ? all : NULL;
}
