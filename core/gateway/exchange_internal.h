/* SPDX-License-Identifier: MIT */
/*
 * What the files that make up an exchange (exchange.c, intake.c, decide.c), its relay and its
 * answers share, and nobody else uses.
 */
#ifndef GATEWAY_EXCHANGE_INTERNAL_H
#define GATEWAY_EXCHANGE_INTERNAL_H

#include "gateway/exchange.h"

/* An empty exchange on the worker's list, holding its configuration. NULL: memory (the request is
 * freed). */
struct exchange *exchange_new(struct worker *w, struct conn *conn, struct http_request *request);

/* The answer is over (conn_end or conn_abort was called, or the client is gone): accounts, cancels
 * what is left, frees. */
void exchange_finish(struct exchange *x, enum exchange_end end);

/* Lets go of run and generation, cancels the attempts that are not relayed. */
void exchange_release_policy(struct exchange *x);

/* Frees the run (NULL is a no-op) and keeps what it used for exchange_usage. */
void exchange_end_run(struct exchange *x, struct run *run);

/* What the policy used for this request so far. */
struct policy_usage exchange_usage(const struct exchange *x);

/* Cancels the attempts that are not relayed. */
void exchange_stop_others(struct exchange *x);

/* decide.c: the policy's first step. May free x. */
void exchange_decide(struct exchange *x);

#endif
