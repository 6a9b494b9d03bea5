/* SPDX-License-Identifier: MIT */
/* The stop: requests in flight finish or are cut, then all that the start made is freed. */
#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdlib.h>
#include <unistd.h>

#include "admin/admin.h"
#include "gateway/logfile.h"
#include "gateway/worker.h"
#include "moongate_internal.h"

#define WAIT_SLICE (USEC_PER_SEC / 20)
#define KILL_GRACE (2 * USEC_PER_SEC) /* for what was cut to reach its clients */

void gw_take_down(struct moongate *gw) {
    struct gateway *g = &gw->gateway;
    control_stop(&gw->control);
    handover_release(&gw->handover);
    admin_free(gw->admin);
    gw->admin = NULL;
    for (size_t i = 0; i < g->n_workers; i++) {
        worker_release(g->workers[i]);
        free(g->workers[i]);
    }
    free(g->workers);
    g->workers = NULL;
    g->n_workers = 0;
    listeners_release(&gw->listeners);
    loader_finish(&gw->loader);
    control_release(&gw->control);
    takeover_end(&gw->takeover); /* the other takes back what is free again by now */
    logfile_close(gw->access_log);
    logfile_close(gw->error_log);
    gw->access_log = gw->error_log = NULL;
    gw->running = false;
}

/* In naps: ThreadSanitizer does not know pthread_clockjoin_np, which would wait in one go, as a
 * join, and takes all that is freed after it for a race. */
static bool join_until(struct worker *w, usec deadline) {
    while (w->thread_started && pthread_tryjoin_np(w->thread, NULL) != 0) {
        if (clock_now() >= deadline) {
            return false;
        }
        usleep(1000);
    }
    w->thread_started = false;
    return true;
}

static void nothing(evutil_socket_t fd, short what, void *arg) {
    (void)fd;
    (void)what;
    (void)arg;
}

/* The embedder's loop, which nobody dispatches while we are asked to stop. */
static bool run_until(struct worker *w, usec deadline) {
    int stuck = 0; /* called from inside a callback of that loop: it cannot be run again */
    struct event nap;
    event_assign(&nap, w->base, -1, 0, nothing, NULL);
    while (!worker_done(w) && !stuck && clock_now() < deadline) {
        struct timeval soon = {0, 20000};
        event_add(&nap, &soon);
        stuck = event_base_loop(w->base, EVLOOP_ONCE) < 0;
    }
    event_del(&nap);
    return worker_done(w) || stuck;
}

static bool wait_slice(struct moongate *gw, usec deadline) {
    struct gateway *g = &gw->gateway;
    bool all = true;
    for (size_t i = 0; i < g->n_workers; i++) {
        all &=
            gw->attached ? run_until(g->workers[i], deadline) : join_until(g->workers[i], deadline);
    }
    return all;
}

/* In slices, so that moongate_hurry is heard. */
static bool wait_all(struct moongate *gw, usec deadline, bool patient) {
    bool all = false;
    while (!all && clock_now() < deadline && !(patient && gw->hurried)) {
        usec slice = clock_now() + WAIT_SLICE;
        all = wait_slice(gw, slice < deadline ? slice : deadline);
    }
    return all;
}

static void post_all(struct moongate *gw, size_t mail_offset) {
    for (size_t i = 0; i < gw->gateway.n_workers; i++) {
        struct worker *w = gw->gateway.workers[i];
        mailbox_post(&w->mailbox, (struct mail *)((char *)w + mail_offset));
    }
    if (gw->attached) {
        event_base_loop(gw->attached, EVLOOP_NONBLOCK);
    }
}

/* Within the drain time, so that who sends in the last moment can still be answered. Where another
 * process serves already nobody waits for the end of this one. */
static void set_grace(struct gateway *g, usec drain, bool replaced) {
    usec grace = drain / 2 < CONN_DRAIN_GRACE || replaced ? drain / 2 : CONN_DRAIN_GRACE;
    for (size_t i = 0; i < g->n_workers; i++) {
        g->workers[i]->drain_grace = grace;
    }
}

void moongate_stop(struct moongate *gw, double drain_seconds) {
    struct gateway *g = &gw->gateway;
    if (!gw->running) {
        return;
    }
    atomic_store(&g->draining, true); /* readiness says so before anything is waited for */
    bool replaced = handover_forbid(&gw->handover);
    loader_close(&gw->loader);
    struct generation *now = loader_current(&gw->loader);
    usec drain =
        drain_seconds < 0 ? generation_config(now)->drain_time : usec_from_seconds(drain_seconds);
    generation_unref(now);
    log_info(&g->log, "stopping: requests in flight may finish within %.1f s",
             usec_to_seconds(drain));
    set_grace(g, drain, replaced);
    post_all(gw, offsetof(struct worker, stop_mail));
    if (!wait_all(gw, clock_now() + drain, true)) {
        log_warn(&g->log, "%s: requests still in flight are cut",
                 gw->hurried ? "told to hurry" : "drain time is over");
        post_all(gw, offsetof(struct worker, kill_mail));
        if (!wait_all(gw, clock_now() + KILL_GRACE, false)) {
            post_all(gw, offsetof(struct worker, kill_mail));
            wait_all(gw, USEC_NEVER / 4, false);
        }
    }
    log_info(&g->log, "stopped");
    gw_take_down(gw);
}

void moongate_hurry(struct moongate *gw) {
    gw->hurried = true;
}
