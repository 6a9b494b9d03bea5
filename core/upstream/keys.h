/* SPDX-License-Identifier: MIT */
/*
 * A provider's pool of keys, held against the suspensions: which key an attempt sends that names
 * none, and since when a target cannot be asked because no key is left. Each key is suspended by
 * itself, under the name "provider#key" (config_api_key.label). Decides nothing about failures:
 * that is the policies' (lua/moongate/keys.lua). Thread-safe; a look-up or two for each key while
 * anything is suspended, else nothing.
 */
#ifndef UPSTREAM_KEYS_H
#define UPSTREAM_KEYS_H

#include "config/config.h"
#include "state/targets.h"

/* The first key of the pool that is not suspended, the first of all when each is; NULL when there
 * is no pool, or none that is sent (auth = "none", "passthrough"). Borrowed of the provider. */
const struct config_api_key *keys_first(const struct config_provider *p, struct targets *t);

/* Until one key of the pool may be used: 0 = now, or there is no pool. */
usec keys_suspended_for(const struct config_provider *p, struct targets *t);

/* targets_suspended_for of a target or a key of this provider: the longer of its own (its quota
 * group's) and, for a target, of the whole pool's. */
usec keys_target_suspended_for(const struct config_provider *p, struct targets *t, struct str name);
/* targets_facts, likewise. */
void keys_facts(const struct config_provider *p, struct targets *t, struct str name,
                struct target_facts *out);

/* Ends the suspensions of keys that have another secret in `next` than in `before`: what was held
 * against the old one says nothing about the new one. */
void keys_resume_renewed(const struct config *before, const struct config *next, struct targets *t);

/* The quota group that a suspension of this name may reach; empty for keys, which have none. */
struct str keys_group(const struct config_provider *p, struct str name);

#endif
