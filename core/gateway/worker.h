/* SPDX-License-Identifier: MIT */
/*
 * A worker: one thread with its event loop, listeners, transport to providers, and the requests
 * under way. Shares nothing with other workers but struct gateway. All functions are for its own
 * thread unless they say otherwise.
 */
#ifndef GATEWAY_WORKER_H
#define GATEWAY_WORKER_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/count.h"
#include "base/hash.h"
#include "base/timers.h"
#include "gateway/gateway.h"
#include "gateway/mailbox.h"
#include "gateway/metrics.h"
#include "net/conn.h"
#include "net/listener.h"
#include "upstream/transport.h"

struct event;
struct event_base;
struct client;
struct attempt;

/* One of a worker's listeners: what it accepts with. */
struct worker_door {
    struct worker *worker;
    size_t address; /* its place in the configuration's `listen`, whose TLS it speaks */
};

struct worker {
    struct gateway *gateway;
    size_t index;
    pthread_t thread; /* not used when attached */
    bool attached;    /* the loop is the embedder's */
    bool thread_started;
    struct event_base *base;
    struct mailbox mailbox; /* how other threads reach this one */
    struct transport *transport;
    struct timers timers; /* of its requests and attempts; set them with worker_set_timer */
    struct event *clock;  /* runs them: set no later than the next one is due, moved lazily */
    usec clock_at;        /* when it looks next; USEC_NEVER: it is not set */
    bool by_hand; /* its owner runs the timers by a clock of its own (a simulated gateway) */
    struct metrics *metrics;
    struct rng rng;
    struct listener **listeners;             /* owned; set before the thread starts */
    size_t n_listeners, n_draining;          /* those that still take what waits, once it stops */
    struct worker_door doors[MAX_LISTENERS]; /* one for each of the configuration's addresses */
    struct client *clients, *oldest;         /* list of open client connections, the newest first */
    atomic_size_t n_clients;
    struct exchange *exchanges; /* list of requests under way */
    atomic_size_t n_exchanges;
    atomic_size_t n_attempts;     /* theirs, and leftovers */
    atomic_size_t n_translations; /* of these */
    struct exchange *ready,
        **ready_tail; /* whose policy can go on; run by `turn` in the same iteration of the loop */
    struct event *turn;
    struct attempt *leftovers; /* answers drained after their end, for their connections' sake */
    struct generation
        *generation; /* the last one seen; its lane is retired when a newer one is taken */
    struct conn_limits limits; /* of the current generation */
    size_t max_clients;        /* likewise; of all workers */
    struct mail stop_mail;     /* no new connections, the loop ends when the last one is gone */
    struct mail
        kill_mail; /* cuts what is left with an error event; the second time closes what is left */
    struct mail swap_mail; /* take the current generation, let go of the one before */
    usec
        drain_grace; /* how long clients that may send again are waited for; set before stop_mail */
    bool stopping;   /* takes no new connections; the loop ends with the last one */
    bool killed;     /* kill_mail came once: answers were cut, connections drain */
    void (*swapped)(void *ctx); /* tells the control thread that the old generation takes no more
                                   requests here; set around a swap */
    void *swapped_ctx;
};

/* Makes a worker on `base` (borrowed when given, made when NULL) that reaches providers over
 * `transport` (taken, also on -1; NULL: libcurl). -1 with err. Any thread, before worker_start. On
 * -1 worker_release still frees what was made. */
int worker_init(struct worker *w, struct gateway *g, size_t index, struct event_base *base,
                struct transport *transport, struct err *err);
/* fd is taken, and is one of the configuration's `address`th, whose TLS it gets; before
 * worker_start. -1: memory */
int worker_listen(struct worker *w, size_t address, int fd);
int worker_start(struct worker *w, struct err *err); /* starts the thread */
void worker_release(struct worker *w);               /* after its thread ended */

/* Has a worker that was told to stop nothing left? For the thread that runs its loop. */
bool worker_done(const struct worker *w);

/* Takes the generation that is current now and retires the one before. Called for each new request
 * too, so a swap is seen at once. */
struct generation *worker_generation(struct worker *w);

/* A client's head was read: 401 when its body is too large for somebody without a key, else 0. */
int worker_judge_head(struct worker *w, const struct http_head *head,
                      const struct headers *headers);
/* The same for whoever owns a client's connection: conn_ops' `gone` and `drained`, for an exchange.
 */
void worker_client_gone(void *ctx, struct conn *conn, void *request_ctx);
void worker_client_drained(void *ctx, struct conn *conn, void *request_ctx);

/* Sets a timer of w->timers; it is never early. Costs no system call, and the loop's own timer is
 * touched only when nothing else would have looked in time. */
void worker_set_timer(struct worker *w, struct timer *timer, usec at);

/* Puts the exchange's policy on the ready list (once). */
void worker_ready(struct worker *w, struct exchange *x);

#endif
