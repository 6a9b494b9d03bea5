/* SPDX-License-Identifier: MIT */
/*
 * A transport whose providers are scripts: what happens to a transfer, and when, is told step by
 * step by whoever plays the provider. Time is the world's; nothing happens by itself. Keeps the
 * rules of transport.h.
 */
#ifndef SIM_SIM_TRANSPORT_H
#define SIM_SIM_TRANSPORT_H

#include "upstream/transport.h"

struct sim_transport;

enum sim_step_kind { STEP_CONNECT, STEP_HEAD, STEP_DATA, STEP_END, STEP_FAIL };

struct sim_step {
    usec at; /* after the transfer's start; never before the step before it */
    enum sim_step_kind kind;
    bool reused;             /* CONNECT */
    int status;              /* HEAD; its headers are moved by sim_transport_play */
    struct headers headers;  /* HEAD */
    struct str data;         /* DATA: copied */
    enum outcome outcome;    /* FAIL */
    enum transfer_sent sent; /* FAIL */
};

/* Who is told: called from inside the transport's own functions, may call nothing of it. */
struct sim_watch {
    /* `ctx_of` is the ctx that the transfer was started with. -1: memory, it is not started. */
    int (*started)(void *ctx, unsigned long id, const struct transfer_request *request,
                   void *ctx_of);
    void (*cancelled)(void *ctx, unsigned long id);
    void *ctx;
};

/* NULL: memory. */
struct sim_transport *sim_transport_new(const struct sim_watch *watch);
struct transport *sim_transport_base(struct sim_transport *t); /* its ops->free frees all */

/* Adds a step to the transfer `id` (1, 2, … in order of their starts). 0; 1 when that transfer is
 * over (nothing is added); -1 with err: there never was one, memory, or more than MAX_SIM_SCRIPT
 * waits. Takes step->headers of a HEAD in every case. */
int sim_transport_play(struct sim_transport *t, unsigned long id, struct sim_step *step,
                       struct err *err);

usec sim_transport_next(const struct sim_transport *t); /* when the next step is due; USEC_NEVER */
/* Takes the first step that is due. False: none is. */
bool sim_transport_step(struct sim_transport *t, usec now);

#endif
