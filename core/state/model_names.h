/* SPDX-License-Identifier: MIT */
/*
 * Which models metrics name. Where the model of a request passes through, clients choose it, and a
 * series for each would grow without end: the first MODEL_NAMES of a provider are named, those that
 * come later are "other" together. Configured ones need not ask. Shared by all workers, so that
 * their series agree; kept as long as the gateway lives, like the series. Thread-safe.
 */
#ifndef STATE_MODEL_NAMES_H
#define STATE_MODEL_NAMES_H

#include <stdbool.h>

#include "base/str.h"

#define OTHER_MODELS "other"

struct model_names;

struct model_names *model_names_new(void); /* NULL: memory */
void model_names_free(struct model_names *n);

/* Is it one that is named? `target`: "provider/model" as sent, `provider` its provider's name.
 * Costs a look-up under a lock. Without memory: no. */
bool model_names_has(struct model_names *n, struct str provider, struct str target);

#endif
