/* SPDX-License-Identifier: MIT */
/*
 * The parts of an attempt that do not move: which target it means, what is sent there (from the
 * untouched original request), its limits; and its bookkeeping when it is over.
 */
#ifndef GATEWAY_ATTEMPT_BUILD_H
#define GATEWAY_ATTEMPT_BUILD_H

#include "gateway/attempt.h"

/* An attempt that is ready to be admitted, its clocks at rest. NULL with err. */
struct attempt *attempt_build(struct exchange *x, const struct send_options *options,
                              struct err *err);
void attempt_release(struct attempt *a); /* frees the storage only */

struct str attempt_group(const struct attempt *a); /* its quota group, empty when none */

/* Takes it off the worker's list of leftovers. */
void attempt_forget_leftover(struct attempt *a);

#endif
