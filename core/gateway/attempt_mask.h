/* SPDX-License-Identifier: MIT */
/*
 * Takes secrets out of what a provider said when it failed, once, where it comes in: providers like
 * to repeat the key that they refuse, and policies, logs, metrics and clients must not see it.
 */
#ifndef GATEWAY_ATTEMPT_MASK_H
#define GATEWAY_ATTEMPT_MASK_H

#include "gateway/attempt.h"

/* The held body, the message, the code and the header values of a failed attempt. */
void attempt_mask(struct attempt *a);
/* Message and code of its verdict. */
void attempt_mask_verdict(struct attempt *a);
/* Any text of the attempt's provider. */
void attempt_mask_text(const struct attempt *a, struct buf *text);

#endif
