/* SPDX-License-Identifier: MIT */
/*
 * Handing over to another process: the side of the running gateway (handover_wire.h tells the whole
 * conversation). Listens on DIR/handover.sock, on the control thread's loop, for one process at a
 * time, of the same user or root. Owns the right to write in state_dir, which changes hands with
 * it.
 *
 * Whatever goes wrong before the other has said that it serves (it ends, hangs for
 * HANDOVER_PATIENCE, talks nonsense), all is as it was before.
 */
#ifndef GATEWAY_HANDOVER_H
#define GATEWAY_HANDOVER_H

#include <event2/event_struct.h>
#include <pthread.h>

#include "gateway/control.h"
#include "gateway/listeners.h"
#include "gateway/reload.h"

struct handover_env {
    struct control *control;
    struct loader *loader;
    const struct listeners *listeners;
    void (*replaced)(void *ctx); /* the other serves; on the control thread, once */
    void *ctx;
};

enum handover_step { HANDOVER_IDLE, HANDOVER_ASKED, HANDOVER_YIELDED, HANDOVER_REPLACED };

struct handover {
    struct handover_env env;
    int listen_fd, peer_fd; /* -1: none */
    struct event acceptable, readable;
    struct mail watch_mail; /* begins to accept */
    long peer;              /* its process */
    enum handover_step step;
    pthread_mutex_t lock; /* what follows */
    bool stopping;        /* too late for a hand-over */
    bool replaced;        /* the sockets are the other's */
};

void handover_init(struct handover *h);
/* Begins to listen in the folder, in the place of whoever did before; the control thread runs. -1
 * with err. */
int handover_open(struct handover *h, const char *state_dir, const struct handover_env *env,
                  struct err *err) __attribute__((warn_unused_result));
/* Any thread: from now on nobody takes over. True when somebody did. */
bool handover_forbid(struct handover *h);
void handover_release(struct handover *h); /* after the control thread ended; before its release */

#endif
