/* SPDX-License-Identifier: MIT */
/*
 * Taking over from a running gateway: the side of the one that starts (handover_wire.h tells the
 * whole conversation). Blocks, each answer at most HANDOVER_ANSWER seconds. Whatever fails, closing
 * the conversation before takeover_done leaves the running gateway as it was.
 */
#ifndef GATEWAY_TAKEOVER_H
#define GATEWAY_TAKEOVER_H

#include "base/err.h"
#include "gateway/listeners.h"

struct takeover {
    int fd;      /* -1: there is no conversation */
    long pid;    /* of the running gateway */
    int sockets; /* that it passed */
    bool ended;  /* it hung up without a word: who would serve on says no */
};

/* Finds the gateway that runs on the state_dir and gets its listening sockets, which are given to
 * `into`. 1; 0 when there is none; -1 with err. */
int takeover_begin(struct takeover *t, const char *state_dir, struct listeners *into,
                   struct err *err) __attribute__((warn_unused_result));
/* From 0 on the state_dir is ours. -1 with err. Without a conversation: 0. */
int takeover_claim(struct takeover *t, struct err *err) __attribute__((warn_unused_result));
/* We serve: the other one drains. 0; 1 when it did not confirm, err says so: in time, and it will
 * drain when it comes to itself, or at all, because it is at its end; -1 with err when it went on
 * meanwhile: we must not. Ends the conversation. */
int takeover_done(struct takeover *t, const struct listeners *used, struct err *err)
    __attribute__((warn_unused_result));
void takeover_end(struct takeover *t); /* idempotent */

#endif
