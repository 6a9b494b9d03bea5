/* SPDX-License-Identifier: MIT */
/*
 * The control thread: health probes, the state file, the file watch, and the loop that the admin
 * listener runs on.
 * Nothing here touches traffic.
 */
#ifndef GATEWAY_CONTROL_H
#define GATEWAY_CONTROL_H

#include <pthread.h>
#include <stdatomic.h>

#include "gateway/gateway.h"
#include "gateway/mailbox.h"
#include "gateway/watch.h"
#include "upstream/probe.h"

struct event_base;

struct control {
    struct gateway *gateway;
    struct event_base *base;
    struct mailbox mailbox;
    struct transport *transport;
    struct probes *probes;
    struct watch *watch; /* NULL: none was asked for */
    struct event *save_timer;
    char *state_dir; /* owned; NULL: suspensions are not kept */
    int state_lock;  /* the right to write there; negative: another gateway has it, or it failed */
    bool yielded;    /* it was given away on purpose */
    void (*owned)(void *ctx); /* the right came later than the start; once, on the control thread;
                                 NULL: nobody wants to know */
    void *owned_ctx;
    unsigned long saved_serial;
    bool save_failed; /* logged once until it works again */
    atomic_ulong save_failures;
    pthread_t thread;
    bool running;
    struct mail configure_mail, quit_mail;
    pthread_mutex_t lock;       /* next_config */
    struct config *next_config; /* a reference, for the probes to adopt */
};

/* On -1 control_release still frees what was made. */
int control_init(struct control *c, struct gateway *g, const struct config *config, struct err *err)
    __attribute__((warn_unused_result));
/*
 * Takes the right to write in state_dir and loads the state file. When another gateway has it: -1
 * with err, or, with `beside`, 0: what is there is read, and each second it is looked whether the
 * other has ended (gateway->beside until then). Then the state file is read again.
 */
int control_open_state(struct control *c, bool beside, struct err *err)
    __attribute__((warn_unused_result));
/* Before the start: adds a file watch, which each configuration switches on or off. -1: memory */
int control_watch(struct control *c, const struct watch_options *options)
    __attribute__((warn_unused_result));
int control_start(struct control *c, struct err *err) __attribute__((warn_unused_result));
/* Ends the thread; what was on its loop may be freed after. Saves the state a last time. */
void control_stop(struct control *c);
void control_release(struct control *c);
/* On the control thread, or while it does not run: suspensions that changed are on the disk when it
 * returns 0. -1: there is no state_dir, or it failed, which is logged and tried again each second.
 * Blocks on the disk. */
int control_save(struct control *c);
/* On the control thread: saves the state and leaves state_dir and the probes to another process
 * from now on; takes both back (the right to write as soon as the other has let go). */
void control_yield(struct control *c);
void control_reclaim(struct control *c);
/* Any thread: probes and file watch adopt the configuration. */
void control_configure(struct control *c, struct config *config);

#endif
