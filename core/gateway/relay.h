/* SPDX-License-Identifier: MIT */
/*
 * After commit: an attempt's bytes on their way to the client. Streams are passed on event by
 * event, unchanged, up to their end marker; a stream that breaks gets an error event and never a
 * clean end. The relay ends the exchange.
 */
#ifndef GATEWAY_RELAY_H
#define GATEWAY_RELAY_H

#include "gateway/exchange.h"

/* Commits x to `a` (reported ok, or with an answer of its own): writes the head and what was held.
 * May finish (free) the exchange. */
void relay_begin(struct exchange *x, struct attempt *a);
/* More bytes of the attempt. False: the exchange is over, and freed. */
bool relay_data(struct exchange *x, struct attempt *a, struct str data);
/* The transfer ended. Frees the exchange. */
void relay_end(struct exchange *x, struct attempt *a, const struct transfer_result *result);
/* A clock or a limit ended it. Frees the exchange. */
void relay_cut(struct exchange *x, struct attempt *a, enum outcome why);

#endif
