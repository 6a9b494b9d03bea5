/* SPDX-License-Identifier: MIT */
#include "upstream/keys.h"

#include <string.h>

static bool has_pool(const struct config_provider *p) {
    return p->n_api_keys > 0 && p->auth != AUTH_NONE && p->auth != AUTH_PASSTHROUGH;
}

static usec key_suspended_for(const struct config_api_key *key, struct targets *t) {
    return targets_suspended_for(t, str_of(key->label), STR(""));
}

const struct config_api_key *keys_first(const struct config_provider *p, struct targets *t) {
    if (!has_pool(p)) {
        return NULL;
    }
    for (size_t i = 0; i < p->n_api_keys; i++) {
        if (key_suspended_for(&p->api_keys[i], t) == 0) {
            return &p->api_keys[i];
        }
    }
    return &p->api_keys[0];
}

usec keys_suspended_for(const struct config_provider *p, struct targets *t) {
    usec soonest = 0;
    for (size_t i = 0; has_pool(p) && i < p->n_api_keys; i++) {
        usec left = key_suspended_for(&p->api_keys[i], t);
        if (left == 0) {
            return 0;
        }
        soonest = i == 0 || left < soonest ? left : soonest;
    }
    return soonest;
}

usec keys_target_suspended_for(const struct config_provider *p, struct targets *t,
                               struct str name) {
    usec own = targets_suspended_for(t, name, keys_group(p, name));
    usec pool = target_split(name).key.p ? 0 : keys_suspended_for(p, t);
    return own > pool ? own : pool;
}

void keys_facts(const struct config_provider *p, struct targets *t, struct str name,
                struct target_facts *out) {
    targets_facts(t, name, keys_group(p, name), out);
    usec pool = target_split(name).key.p ? 0 : keys_suspended_for(p, t);
    if (pool > out->suspended_for) {
        out->suspended_for = pool;
        str_copy(out->reason, sizeof(out->reason), STR("all keys are suspended"));
    }
}

static void resume_renewed(const struct config_provider *before, const struct config_provider *next,
                           struct targets *t) {
    for (size_t i = 0; i < next->n_api_keys; i++) {
        const struct config_api_key *key = &next->api_keys[i];
        const struct config_api_key *old = config_api_key(before, str_of(key->name));
        if (old && strcmp(old->secret, key->secret) != 0) {
            targets_resume(t, str_of(key->label), STR(""));
        }
    }
}

void keys_resume_renewed(const struct config *before, const struct config *next,
                         struct targets *t) {
    for (size_t i = 0; i < next->n_providers; i++) {
        const struct config_provider *old =
            config_provider(before, str_of(next->providers[i].name));
        if (old) {
            resume_renewed(old, &next->providers[i], t);
        }
    }
}

struct str keys_group(const struct config_provider *p, struct str name) {
    return target_split(name).key.p ? STR("") : str_of(p->quota_group);
}
