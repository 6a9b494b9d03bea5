/* SPDX-License-Identifier: MIT */
/*
 * An attempt's clocks, all in one timer that is moved lazily: it is set again only when something
 * must fire earlier than it would, so that content that flows costs no timer work.
 */
#ifndef GATEWAY_ATTEMPT_CLOCK_H
#define GATEWAY_ATTEMPT_CLOCK_H

#include "gateway/attempt.h"

int attempt_clock_init(struct attempt *a) __attribute__((warn_unused_result));
void attempt_clock_release(struct attempt *a);

/* Call after each change of state. */
void attempt_arm(struct attempt *a);

/* In attempt.c: a clock ran out. May free the attempt. */
void attempt_expire(struct attempt *a, enum outcome why);

#endif
