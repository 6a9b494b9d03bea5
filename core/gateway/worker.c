/* SPDX-License-Identifier: MIT */
#include "gateway/worker.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/thread.h"
#include "gateway/accesslog.h"
#include "gateway/answer.h"
#include "gateway/exchange.h"
#include "gateway/route.h"
#include "upstream/outbound.h"

struct client {
    struct worker *worker;
    struct conn *conn;
    struct client *next, *prev;
};

bool worker_done(const struct worker *w) {
    return w->stopping && !w->clients && !w->n_draining;
}

static void end_if_empty(struct worker *w) {
    if (!worker_done(w)) {
        return;
    }
    if (!w->attached) {
        event_base_loopbreak(w->base);
    }
}

static void on_request(void *ctx, struct conn *conn, struct http_request *request) {
    struct client *client = ctx;
    exchange_begin(client->worker, conn, request);
}

static void on_refuse(void *ctx, int status, const char *message, struct headers *headers,
                      struct buf *body) {
    struct client *client = ctx;
    answer_refusal(status, message, headers, body);
    accesslog_refused(client->worker, status);
}

void worker_client_gone(void *ctx, struct conn *conn, void *request_ctx) {
    (void)ctx;
    (void)conn;
    exchange_gone(request_ctx);
}

void worker_client_drained(void *ctx, struct conn *conn, void *request_ctx) {
    (void)ctx;
    (void)conn;
    exchange_drained(request_ctx);
}

static void on_closed(void *ctx, struct conn *conn) {
    struct client *client = ctx;
    struct worker *w = client->worker;
    (void)conn;
    *(client->prev ? &client->prev->next : &w->clients) = client->next;
    *(client->next ? &client->next->prev : &w->oldest) = client->prev;
    atomic_fetch_sub(&w->n_clients, 1);
    atomic_fetch_sub(&w->gateway->n_clients, 1);
    free(client);
    end_if_empty(w);
}

/* A large body of somebody without a key is not taken in. Small ones are: their refusal is logged
 * whole. */
int worker_judge_head(struct worker *w, const struct http_head *head,
                      const struct headers *headers) {
    const struct config *c = generation_config(worker_generation(w));
    bool large = head->body == HTTP_BODY_CHUNKED || head->content_length > MAX_BODY_OF_STRANGERS;
    if (!c->n_keys || head->body == HTTP_BODY_NONE || !large) {
        return 0;
    }
    return route_key(c, client_key(headers)) ? 0 : 401;
}

static int on_head(void *ctx, const struct http_head *head, const struct headers *headers) {
    struct client *client = ctx;
    return worker_judge_head(client->worker, head, headers);
}

static void on_tls_failed(void *ctx, const char *peer, const char *reason, const char *why) {
    const struct client *client = ctx;
    struct worker *w = client->worker;
    char labels[48];
    snprintf(labels, sizeof(labels), "reason=\"%s\"", reason);
    metrics_add(w->metrics, METRIC_TLS_FAILED, labels, 1);
    log_debug(&w->gateway->log, "TLS handshake with %s failed: %s", peer, why);
}

static const struct conn_ops CONN_OPS = {.request = on_request,
                                         .head = on_head,
                                         .refuse = on_refuse,
                                         .tls_failed = on_tls_failed,
                                         .gone = worker_client_gone,
                                         .drained = worker_client_drained,
                                         .closed = on_closed};

/* Of the connections that are here longest, one that waits for a request gives way. */
static bool evict_idle(struct worker *w) {
    struct client *c = w->oldest;
    for (int i = 0; c && i < EVICTION_LOOK; i++, c = c->prev) {
        if (conn_idle(c->conn)) {
            metrics_add(w->metrics, METRIC_EVICTED, "", 1);
            conn_kill(c->conn);
            return true;
        }
    }
    return false;
}

/* Workers that look at the same time may let in one more each. */
static bool has_room(struct worker *w) {
    return atomic_load(&w->gateway->n_clients) < w->max_clients || evict_idle(w);
}

static void list_client(struct worker *w, struct client *client) {
    client->worker = w;
    client->next = w->clients;
    *(client->next ? &client->next->prev : &w->oldest) = client;
    w->clients = client;
    atomic_fetch_add(&w->n_clients, 1);
    atomic_fetch_add(&w->gateway->n_clients, 1);
}

/* tls: NULL for plain text. */
static void open_conn(struct client *client, struct tls_server *tls, int fd) {
    struct worker *w = client->worker;
    client->conn = conn_new(w->base, fd, &CONN_OPS, client, &w->limits);
    if (!client->conn) {
        on_closed(client, NULL);
    } else if (tls && conn_start_tls(client->conn, tls) != 0) {
        conn_kill(client->conn);
    } else if (w->stopping) {
        conn_drain(client->conn, w->drain_grace);
    }
}

static void on_accept(void *ctx, int fd) {
    const struct worker_door *door = ctx;
    struct worker *w = door->worker;
    /* Limits and certificates are those of now, whatever the listener began with. */
    const struct config *config = generation_config(worker_generation(w));
    struct client *client = has_room(w) ? calloc(1, sizeof(*client)) : NULL;
    if (!client) {
        metrics_add(w->metrics, METRIC_REFUSED, "status=\"connection\"", 1);
        close(fd);
        return;
    }
    list_client(w, client);
    metrics_add(w->metrics, METRIC_CONNECTIONS, "", 1);
    open_conn(client, config->listen_tls[door->address], fd);
}

static void on_turn(evutil_socket_t fd, short what, void *arg) {
    struct worker *w = arg;
    (void)fd;
    (void)what;
    while (w->ready) {
        struct exchange *x = w->ready;
        w->ready = x->ready_next;
        if (!w->ready) {
            w->ready_tail = &w->ready;
        }
        x->ready = false;
        x->ready_next = NULL;
        exchange_step(x);
    }
}

/* Sets the loop's timer for the first of ours, unless it looks before that anyway. */
static void arm_clock(struct worker *w) {
    usec next = timers_next(&w->timers);
    if (w->by_hand || next >= w->clock_at) {
        return;
    }
    struct timeval in = usec_to_timeval(next - clock_now());
    if (event_add(w->clock, &in) == 0) {
        w->clock_at = next;
    }
}

/* The loop's clock is coarser than ours and may be early: ours decides. */
static void on_clock(evutil_socket_t fd, short what, void *arg) {
    struct worker *w = arg;
    (void)fd;
    (void)what;
    timers_run(&w->timers, clock_now());
    w->clock_at = USEC_NEVER;
    arm_clock(w);
}

void worker_set_timer(struct worker *w, struct timer *timer, usec at) {
    timer_set(&w->timers, timer, at);
    arm_clock(w);
}

void worker_ready(struct worker *w, struct exchange *x) {
    if (x->ready) {
        return;
    }
    x->ready = true;
    x->ready_next = NULL;
    *w->ready_tail = x;
    w->ready_tail = &x->ready_next;
    event_active(w->turn, EV_TIMEOUT, 0);
}

static void take_limits(struct worker *w, const struct config *c) {
    w->limits = (struct conn_limits){.body = c->body_max,
                                     .header_time = c->header_time,
                                     .body_time = c->body_time,
                                     .idle_time = c->idle_time,
                                     .write_time = c->write_time,
                                     .pool = &w->gateway->memory};
    w->max_clients = room_for(&w->gateway->room, c);
    atomic_store(&w->gateway->memory.max, c->memory);
}

struct generation *worker_generation(struct worker *w) {
    struct generation *now = atomic_load_explicit(&w->gateway->current, memory_order_acquire);
    if (now == w->generation) {
        return now;
    }
    struct generation *before = w->generation;
    w->generation = now;
    take_limits(w, generation_config(now));
    if (before) {
        lane_retire(generation_lane(before, w->index));
    }
    return now;
}

static struct worker *of_mail(struct mail *mail, size_t offset) {
    return (struct worker *)((char *)mail - offset);
}

static void on_swap(struct mail *mail) {
    struct worker *w = of_mail(mail, offsetof(struct worker, swap_mail));
    worker_generation(w);
    w->swapped(w->swapped_ctx);
}

static void drain_clients(struct worker *w, usec grace) {
    struct client *next;
    for (struct client *c = w->clients; c; c = next) {
        next = c->next;
        conn_drain(c->conn, grace);
    }
}

static void kill_clients(struct worker *w) {
    while (w->clients) {
        conn_kill(w->clients->conn);
    }
}

static void on_listener_drained(void *ctx) {
    const struct worker_door *door = ctx;
    struct worker *w = door->worker;
    w->n_draining--;
    end_if_empty(w);
}

static void on_stop(struct mail *mail) {
    struct worker *w = of_mail(mail, offsetof(struct worker, stop_mail));
    w->stopping = true;
    w->n_draining = w->n_listeners;
    drain_clients(w, w->drain_grace);
    for (size_t i = 0; i < w->n_listeners; i++) {
        listener_drain(w->listeners[i], on_listener_drained);
    }
    end_if_empty(w);
}

static void on_kill(struct mail *mail) {
    struct worker *w = of_mail(mail, offsetof(struct worker, kill_mail));
    for (size_t i = 0; i < w->n_listeners; i++) {
        listener_stop(w->listeners[i]);
    }
    w->n_draining = 0;
    while (w->exchanges) {
        exchange_kill(w->exchanges);
    }
    if (w->killed) {
        kill_clients(w);
    } else {
        drain_clients(w, 0); /* what was written goes out */
    }
    w->killed = true;
    end_if_empty(w);
}

int worker_init(struct worker *w, struct gateway *g, size_t index, struct event_base *base,
                struct transport *transport, struct err *err) {
    memset(w, 0, sizeof(*w));
    w->transport = transport;
    timers_init(&w->timers);
    w->clock_at = USEC_NEVER;
    w->gateway = g;
    w->index = index;
    w->mailbox.fd = -1;
    w->ready_tail = &w->ready;
    w->stop_mail.deliver = on_stop;
    w->kill_mail.deliver = on_kill;
    w->swap_mail.deliver = on_swap;
    w->attached = base != NULL;
    w->base = base ? base : event_base_new();
    if (!w->base || rng_init(&w->rng) != 0 || mailbox_open(&w->mailbox, w->base) != 0) {
        return err_set(err, "worker %zu: no event loop could be made", index);
    }
    w->turn = event_new(w->base, -1, 0, on_turn, w);
    w->clock = event_new(w->base, -1, 0, on_clock, w);
    w->metrics = metrics_new();
    if (!w->turn || !w->clock || !w->metrics) {
        return err_set(err, "worker %zu: out of memory", index);
    }
    if (!w->transport) {
        w->transport = transport_new(w->base, g->room.idle, err);
    }
    return w->transport ? 0 : -1;
}

int worker_listen(struct worker *w, size_t address, int fd) {
    struct worker_door *door = &w->doors[address];
    *door = (struct worker_door){w, address};
    struct listener *l = listener_new(w->base, fd, on_accept, door);
    if (!l) {
        return -1;
    }
    struct listener **grown = realloc(w->listeners, (w->n_listeners + 1) * sizeof(*grown));
    if (!grown) {
        listener_free(l);
        return -1;
    }
    w->listeners = grown;
    w->listeners[w->n_listeners++] = l;
    return 0;
}

static void *run(void *arg) {
    struct worker *w = arg;
    event_base_loop(w->base, EVLOOP_NO_EXIT_ON_EMPTY);
    return NULL;
}

int worker_start(struct worker *w, struct err *err) {
    w->thread_started = thread_start(&w->thread, run, w) == 0;
    return w->thread_started ? 0 : err_set(err, "worker %zu: no thread could be started", w->index);
}

void worker_release(struct worker *w) {
    while (w->exchanges) {
        exchange_kill(w->exchanges);
    }
    while (w->clients) {
        conn_kill(w->clients->conn);
    }
    while (w->leftovers) {
        attempt_free(w->leftovers);
    }
    for (size_t i = 0; i < w->n_listeners; i++) {
        listener_free(w->listeners[i]);
    }
    free(w->listeners);
    w->listeners = NULL;
    w->n_listeners = 0;
    if (w->generation) {
        worker_generation(w); /* a reload may have come after its loop ended */
        lane_retire(generation_lane(w->generation, w->index));
        w->generation = NULL;
    }
    if (w->transport) {
        w->transport->ops->free(w->transport);
    }
    mailbox_close(&w->mailbox);
    if (w->turn) {
        event_free(w->turn);
    }
    if (w->clock) {
        event_free(w->clock);
    }
    timers_release(&w->timers);
    metrics_free(w->metrics);
    if (w->base && !w->attached) {
        event_base_free(w->base);
    }
    w->base = NULL;
}
