/* SPDX-License-Identifier: MIT */
/*
 * A gateway as a whole, and what the files of its public API share: moongate.c (made and freed),
 * moongate_start.c, moongate_stop.c, moongate_takeover.c, moongate_load.c, moongate_log.c. For
 * these only.
 */
#ifndef MOONGATE_INTERNAL_H
#define MOONGATE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "bind/bind.h"
#include "gateway/control.h"
#include "gateway/handover.h"
#include "gateway/listeners.h"
#include "gateway/reload.h"
#include "gateway/takeover.h"
#include "moongate.h"

#define MAX_FUNCTIONS 64

struct admin;
struct logfile;

struct moongate {
    struct gateway gateway;
    struct dialect_cache dialects; /* for the loader */
    struct loader loader;
    struct control control;
    struct admin *admin;
    struct listeners listeners;
    struct handover handover; /* to the process that comes after this one */
    struct takeover takeover; /* from the one before; during the start only */
    struct bind_host host;
    struct host_function functions[MAX_FUNCTIONS];
    struct moongate_options options; /* its strings are the loader's copies */
    struct logfile *error_log, *access_log;
    char addresses[MAX_LISTENERS][128];
    size_t n_addresses;
    char admin_address[128];
    char version[256];
    struct event_base *attached; /* borrowed; NULL when on threads of its own */
    pthread_t attached_thread;   /* which dispatches it */
    atomic_bool running;
    atomic_bool hurried; /* a stop does not wait for requests in flight any more */
};

/* Copies the text for the caller (NULL: it does not want to know). -1. */
int gw_fail(struct moongate_error *out, const char *text);

/* ---- moongate_log.c ---- */

/* The gateway's log_fn. Any thread. */
void gw_log(void *ctx, enum log_level level, const char *line);
/* Opens the files that the configuration names, unless the program takes the lines. -1 with err. */
int gw_open_logs(struct moongate *gw, const struct config *c, struct err *err);
/* Lines that found no room, or no reader. Any thread. */
unsigned long gw_log_dropped(void *ctx);

/* ---- moongate_load.c ---- */

/* Tells the program of each diagnostic and releases them. -1 with error when one is a mistake. */
int gw_tell(struct moongate *gw, struct diags *diags, struct moongate_error *error);
/* Hooks of the loader and the file watch. `settle`: the calling thread runs the attached worker's
 * loop, so nobody else can let that worker go on. */
void gw_on_published(void *ctx, struct config *config);
bool gw_settle(void *ctx);
void gw_on_files_changed(void *ctx); /* on the control thread */

/* ---- moongate_takeover.c ---- */

/* Asks the gateway that runs on the state_dir for its place. Its settings stay as they are from
 * then on, so what was staged before (`first`, taken) is staged again. NULL with error. */
struct generation *gw_begin_takeover(struct moongate *gw, struct generation *first, size_t lanes,
                                     struct moongate_error *error);
/* Serving already. -1: the other serves on, so this one must not. */
int gw_end_takeover(struct moongate *gw, struct moongate_error *error);
/* Listens for a successor. What is wrong with it is logged: it is no reason not to serve. */
void gw_allow_replacement(struct moongate *gw);
void gw_on_state_owned(void *ctx); /* on the control thread: state_dir is ours now */

/* ---- moongate_stop.c ---- */

/* Ends and frees all that start made, wherever it stopped. */
void gw_take_down(struct moongate *gw);

#endif
