/* SPDX-License-Identifier: MIT */
/*
 * The commit gate: holds an answer's bytes until it is known what the answer is, and judges it.
 * Nothing of it reaches a client before. Pure decisions over one attempt's held bytes: starts,
 * stops and reports nothing itself.
 */
#ifndef GATEWAY_GATE_H
#define GATEWAY_GATE_H

#include "gateway/attempt.h"

enum gate_result {
    GATE_WAIT,  /* not known yet */
    GATE_GOOD,  /* may commit: a->verdict is ok */
    GATE_FAILED /* a->verdict says how */
};

/* The head arrived. */
enum gate_result gate_head(struct attempt *a);
/* Bytes arrived: holds them. */
enum gate_result gate_data(struct attempt *a, struct str data);
/* The answer ended, well or not. Never GATE_WAIT. */
enum gate_result gate_end(struct attempt *a, const struct transfer_result *result);

#endif
