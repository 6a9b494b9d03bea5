/* SPDX-License-Identifier: MIT */
/*
 * Each transfer has its steps in a list and one timer in the transport's heap, set for the first of
 * them while the transfer is not paused. A transfer that ends or is cancelled inside one of its own
 * callbacks is freed when that returns.
 */
#include "sim/sim_transport.h"

#include <stdlib.h>

#include "base/limits.h"
#include "base/timers.h"

#define BLOCK KIB(16) /* delivered at once, as one read of a socket would */

struct waiting {
    struct waiting *next;
    struct sim_step step; /* step.data is `text` from `given` on */
    size_t cost;
    char text[];
};

struct sim_transfer {
    struct transfer base; /* first */
    struct sim_transport *of;
    struct sim_transfer *next, *prev;
    unsigned long id;
    struct transfer_events events;
    void *ctx;
    usec started;
    struct timer timer;
    struct waiting *first, **last;
    usec latest; /* of the steps given so far */
    bool connected, paused, over;
    bool busy; /* one of its callbacks is on the stack */
    enum transfer_sent sent;
};

struct sim_transport {
    struct transport base; /* first */
    struct sim_watch watch;
    struct timers timers;
    struct sim_transfer *live;
    size_t n_live;
    unsigned long last_id;
    size_t waiting; /* bytes of all steps that wait */
};

static struct sim_transport *of_base(const struct transport *t) {
    return (struct sim_transport *)(size_t)t;
}

static struct sim_transfer *of_transfer(const struct transfer *transfer) {
    return (struct sim_transfer *)(size_t)transfer;
}

static void drop_first(struct sim_transfer *x) {
    struct waiting *w = x->first;
    x->first = w->next;
    if (!x->first) {
        x->last = &x->first;
    }
    x->of->waiting -= w->cost;
    if (w->step.kind == STEP_HEAD) {
        headers_release(&w->step.headers);
    }
    free(w);
}

static void destroy(struct sim_transfer *x) {
    while (x->first) {
        drop_first(x);
    }
    free(x);
}

/* No callback of it is made from here on. */
static void end(struct sim_transfer *x) {
    x->over = true;
    timer_leave(&x->of->timers, &x->timer);
    *(x->prev ? &x->prev->next : &x->of->live) = x->next;
    if (x->next) {
        x->next->prev = x->prev;
    }
    x->of->n_live--;
}

static void arm(struct sim_transfer *x) {
    if (x->over) {
        return;
    }
    if (x->first && !x->paused) {
        timer_set(&x->of->timers, &x->timer, x->started + x->first->step.at);
    } else {
        timer_clear(&x->of->timers, &x->timer);
    }
}

static void connect_now(struct sim_transfer *x, bool reused) {
    if (!x->connected) {
        x->connected = true;
        x->sent = SENT_ALL;
        x->events.connected(x->ctx, reused);
    }
}

static void finish(struct sim_transfer *x, enum outcome outcome, enum transfer_sent sent) {
    struct transfer_result result = {outcome, sent, "simulated"};
    end(x);
    x->events.done(x->ctx, &result);
}

/* True when the step is used up. */
static bool give_data(struct sim_transfer *x, struct sim_step *step) {
    size_t n = step->data.n < BLOCK ? step->data.n : BLOCK;
    struct str block = str_make(step->data.p, n);
    step->data = str_make(step->data.p + n, step->data.n - n);
    if (n) {
        x->events.data(x->ctx, block.p, block.n);
    }
    return step->data.n == 0;
}

static bool take(struct sim_transfer *x, struct sim_step *step) {
    if (step->kind != STEP_FAIL) {
        connect_now(x, step->kind == STEP_CONNECT && step->reused);
    }
    if (x->over) {
        return true;
    }
    switch (step->kind) {
    case STEP_CONNECT:
        return true;
    case STEP_HEAD:
        x->events.head(x->ctx, step->status, &step->headers);
        return true;
    case STEP_DATA:
        return give_data(x, step);
    case STEP_END:
        finish(x, OUTCOME_OK, SENT_ALL);
        return true;
    case STEP_FAIL:
        finish(x, step->outcome, step->sent);
        return true;
    }
    return true;
}

static void on_step(void *ctx) {
    struct sim_transfer *x = ctx;
    x->busy = true;
    if (take(x, &x->first->step)) {
        drop_first(x);
    }
    x->busy = false;
    if (x->over) {
        destroy(x);
    } else {
        arm(x);
    }
}

static struct transfer *start(struct transport *base, const struct transfer_request *request,
                              const struct transfer_events *events, void *ctx) {
    struct sim_transport *t = of_base(base);
    struct sim_transfer *x = calloc(1, sizeof(*x));
    if (!x || timer_join(&t->timers, &x->timer, on_step, x) != 0) {
        free(x);
        return NULL;
    }
    if (t->watch.started(t->watch.ctx, t->last_id + 1, request, ctx) != 0) {
        timer_leave(&t->timers, &x->timer);
        free(x);
        return NULL;
    }
    x->base.ops = base->ops;
    x->of = t;
    x->id = ++t->last_id;
    x->events = *events;
    x->ctx = ctx;
    x->started = clock_now();
    x->last = &x->first;
    x->next = t->live;
    if (x->next) {
        x->next->prev = x;
    }
    t->live = x;
    t->n_live++;
    return &x->base;
}

static void pause_transfer(struct transfer *base) {
    struct sim_transfer *x = of_transfer(base);
    x->paused = true;
    arm(x);
}

static void resume_transfer(struct transfer *base) {
    struct sim_transfer *x = of_transfer(base);
    x->paused = false;
    arm(x);
}

static void cancel(struct transfer *base) {
    struct sim_transfer *x = of_transfer(base);
    end(x);
    x->of->watch.cancelled(x->of->watch.ctx, x->id);
    if (!x->busy) {
        destroy(x);
    }
}

static enum transfer_sent sent(const struct transfer *base) {
    return of_transfer(base)->sent;
}

static void stats(const struct transport *base, struct transport_stats *out) {
    const struct sim_transport *t = of_base(base);
    *out = (struct transport_stats){
        .active = t->n_live, .connections = t->n_live, .opened = t->last_id};
}

static void free_transport(struct transport *base) {
    struct sim_transport *t = of_base(base);
    while (t->live) {
        struct sim_transfer *x = t->live;
        end(x);
        destroy(x);
    }
    timers_release(&t->timers);
    free(t);
}

static const struct transport_ops OPS = {
    .start = start,
    .pause = pause_transfer,
    .resume = resume_transfer,
    .cancel = cancel,
    .sent = sent,
    .stats = stats,
    .free = free_transport,
};

struct sim_transport *sim_transport_new(const struct sim_watch *watch) {
    struct sim_transport *t = calloc(1, sizeof(*t));
    if (t) {
        t->base.ops = &OPS;
        t->watch = *watch;
        timers_init(&t->timers);
    }
    return t;
}

struct transport *sim_transport_base(struct sim_transport *t) {
    return &t->base;
}

static struct sim_transfer *find(const struct sim_transport *t, unsigned long id) {
    struct sim_transfer *x = t->live;
    while (x && x->id != id) {
        x = x->next;
    }
    return x;
}

/* The step's headers become those of the copy. NULL with err. */
static struct waiting *keep(struct sim_transport *t, struct sim_step *step, struct err *err) {
    size_t cost = sizeof(struct waiting) + step->data.n + step->headers.text.len;
    if (cost > MAX_SIM_SCRIPT - t->waiting) {
        err_set(err, "the providers of this world have more than %zu bytes still to say",
                MAX_SIM_SCRIPT);
        return NULL;
    }
    struct waiting *w = malloc(sizeof(*w) + step->data.n);
    if (!w) {
        err_set(err, "not enough memory");
        return NULL;
    }
    w->next = NULL;
    w->cost = cost;
    w->step = *step;
    if (step->data.n) {
        memcpy(w->text, step->data.p, step->data.n);
    }
    w->step.data = str_make(w->text, step->data.n);
    t->waiting += cost;
    return w;
}

int sim_transport_play(struct sim_transport *t, unsigned long id, struct sim_step *step,
                       struct err *err) {
    struct sim_transfer *x = find(t, id);
    struct waiting *w = x ? keep(t, step, err) : NULL;
    if (!w) {
        if (step->kind == STEP_HEAD) {
            headers_release(&step->headers);
        }
        bool past = !x && id >= 1 && id <= t->last_id;
        if (!x && !past) {
            err_set(err, "there is no transfer %lu", id);
        }
        return past ? 1 : -1;
    }
    x->latest = step->at > x->latest ? step->at : x->latest;
    w->step.at = x->latest;
    *x->last = w;
    x->last = &w->next;
    if (!x->busy) {
        arm(x);
    }
    return 0;
}

usec sim_transport_next(const struct sim_transport *t) {
    return timers_next(&t->timers);
}

bool sim_transport_step(struct sim_transport *t, usec now) {
    return timers_run_first(&t->timers, now);
}
