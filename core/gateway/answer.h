/* SPDX-License-Identifier: MIT */
/*
 * Answers of the gateway's own: errors in the client's dialect, and the headers that tell
 * which request and attempts an answer belongs to.
 */
#ifndef GATEWAY_ANSWER_H
#define GATEWAY_ANSWER_H

#include "gateway/exchange.h"

/* Request id, target and attempt trail; x-should-retry: false on a failure after at least one
 * attempt. */
int answer_headers(struct exchange *x, const struct attempt *served, int status,
                   struct headers *out) __attribute__((warn_unused_result));

/* "target=outcome:status:123ms,…", cut at MAX_TRAIL. */
int answer_trail(const struct exchange *x, struct buf *out) __attribute__((warn_unused_result));

/* Sends a whole answer and finishes the exchange (frees it). */
void answer_error(struct exchange *x, int status, const char *type, const char *code,
                  const char *message, enum exchange_end end);
/* 502: every attempt failed on the gateway's own credentials. `a` (may be NULL) is the attempt that
 * stands for them. */
void answer_refused_credentials(struct exchange *x, const struct attempt *a);
/* The decision's own response (no stream). */
void answer_response(struct exchange *x);
/* For an attempt that has no usable answer: the gateway's status for its outcome. */
void answer_failure(struct exchange *x, struct attempt *a);

/* For an attempt that brought an error status in another dialect: that status, in the client's. */
void answer_foreign_error(struct exchange *x, struct attempt *a);

/* For conn_ops.refuse: no exchange exists. */
void answer_refusal(int status, const char *message, struct headers *headers, struct buf *body);

#endif
