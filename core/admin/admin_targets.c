/* SPDX-License-Identifier: MIT */
/*
 * Targets: what is known of each, and the two things that an admin may do to one. A suspension
 * counts for the very next decision of every worker and is on the disk before it is answered.
 */
#include <math.h>

#include "admin/admin_internal.h"
#include "base/jscan.h"
#include "base/map.h"
#include "gateway/control.h"
#include "upstream/keys.h"

/* Suspended without an end: what is kept then is the longest time there is. */
static bool for_good(usec suspended_for) {
    return suspended_for > usec_from_seconds(INFINITY) / 2;
}

struct target_list {
    struct json *array;
    const struct config *config;
    struct targets *targets;
    struct store *store;
    struct map *seen; /* names listed */
    int bad;
};

static void add_breaker(struct target_list *list, struct json *t, const char *name) {
    struct store_value v;
    bool known =
        store_get(list->store, STR("breaker"), str_of(name), &v) == STORE_OK && v.type == STORE_STR;
    json_add_str(t, "breaker", known ? str_make(v.text, v.len) : STR("closed"));
}

/* What speaks against asking it; of a target also that all keys of its provider are suspended. */
static void add_state(struct target_list *list, struct json *t, const struct target_facts *f) {
    struct target_facts whole = *f;
    const struct config_provider *p = config_provider(list->config, str_of(f->provider));
    if (p) {
        keys_facts(p, list->targets, str_of(f->name), &whole);
    }
    json_add_num(t, "suspended_for", usec_to_seconds(whole.suspended_for));
    json_add_str(t, "reason", str_of(whole.reason));
    add_breaker(list, t, f->name);
    json_add_bool(t, "until_resumed", for_good(whole.suspended_for));
}

/* A target, or a key of a provider's pool. */
static void list_target(void *ctx, const struct target_facts *f) {
    struct target_list *list = ctx;
    struct json *t = json_push_object(list->array);
    struct target_name name = target_split(str_of(f->name));
    if (map_set(list->seen, str_of(f->name), list->seen) != 0) {
        list->bad = -1;
    }
    json_add_str(t, "target", str_of(f->name));
    json_add_str(t, "provider", str_of(f->provider));
    json_add_str(t, "model", name.model.p ? name.model : STR(""));
    if (name.key.p) {
        json_add_str(t, "api_key", name.key);
    }
    json_add_bool(t, "up", f->up);
    add_state(list, t, f);
    json_add_num(t, "inflight", f->inflight);
    json_add_num(t, "ewma_first_token", f->ewma_first_token);
    json_add_num(t, "ewma_total", f->ewma_total);
    json_add_num(t, "successes", f->successes);
    json_add_num(t, "failures", f->failures);
    json_add_num(t, "streak", f->streak);
    json_add_str(t, "last_error", str_of(f->last_error));
    admin_add_time(t, "last_error_at", f->last_error_at);
}

static void list_unseen(struct target_list *list, const struct config_provider *p,
                        struct str name) {
    struct target_facts f;
    if (p && !map_get(list->seen, name)) {
        keys_facts(p, list->targets, name, &f);
        list_target(list, &f);
    }
}

/* Targets that routes name and nobody has asked for yet: what the probes found is seen before the
 * first request. And all keys of pools. */
static int list_configured(struct target_list *list, struct generation *g) {
    const struct config *c = list->config;
    for (size_t r = 0; r < c->n_variants; r++) {
        for (const char *const *t = lane_targets(generation_lane(g, 0), r); *t; t++) {
            struct str name = str_of(*t);
            list_unseen(list, config_provider(c, target_split(name).provider), name);
        }
    }
    for (size_t i = 0; i < c->n_providers; i++) {
        const struct config_provider *p = &c->providers[i];
        for (size_t k = 0; k < p->n_api_keys; k++) {
            list_unseen(list, p, str_of(p->api_keys[k].label));
        }
    }
    return list->bad;
}

int admin_targets(struct admin_request *r, struct admin_answer *a) {
    struct state *state = &r->env->gateway->state;
    a->json = json_object();
    struct target_list list = {.array = json_add_array(a->json, "targets"),
                               .config = r->config,
                               .targets = state->targets,
                               .store = state->store};
    list.seen = map_new(MAX_TARGETS * 2);
    int bad = list.seen ? targets_each(state->targets, list_target, &list) : -1;
    if (!bad) {
        bad = list_configured(&list, r->now);
    }
    map_free(list.seen);
    return bad;
}

/* ---- changes ---- */

static const struct config_provider *no_such_key(struct admin_answer *a,
                                                 const struct config_provider *p, struct str key) {
    const char *names[MAX_API_KEYS + 1];
    for (size_t i = 0; i < p->n_api_keys; i++) {
        names[i] = p->api_keys[i].name;
    }
    names[p->n_api_keys] = NULL;
    char word[128];
    str_copy(word, sizeof(word), key);
    const char *near = str_nearest(word, names);
    admin_fail(a, 404, "unknown_key", "provider '%s' has no key '%s'%s%s%s", p->name, word,
               near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
    return NULL;
}

/* The provider of the target or key that the path names; NULL with a 404. */
static const struct config_provider *find_provider(struct admin_request *r,
                                                   struct admin_answer *a) {
    const char *names[MAX_PROVIDERS + 1];
    struct str target = buf_str(&r->part[0]), name = target_split(target).provider;
    struct str key = target_split(target).key;
    const struct config_provider *p = config_provider(r->config, name);
    if (p && key.p && !config_api_key(p, key)) {
        return no_such_key(a, p, key);
    }
    if (p && target.n < MAX_TARGET_NAME) {
        return p;
    }
    for (size_t i = 0; i < r->config->n_providers; i++) {
        names[i] = r->config->providers[i].name;
    }
    names[r->config->n_providers] = NULL;
    char word[128];
    str_copy(word, sizeof(word), name);
    const char *near = p ? NULL : str_nearest(word, names);
    admin_fail(a, 404, "unknown_provider", "target '%.200s': %s '%s'%s%s%s", r->part[0].data,
               p ? "the name is too long, of provider" : "there is no provider", word,
               near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
    return NULL;
}

static void describe(struct buf *out, const struct admin_request *r,
                     const struct config_provider *p) {
    struct target_facts f;
    keys_facts(p, r->env->gateway->state.targets, buf_str(&r->part[0]), &f);
    if (buf_addf(out, "{\"suspended_for\":%.3f,\"reason\":", usec_to_seconds(f.suspended_for)) !=
            BUF_OK ||
        json_write_string(out, str_of(f.reason)) != BUF_OK || buf_addc(out, '}') != BUF_OK) {
        buf_clear(out);
    }
}

static void answer_saved(struct admin_request *r, struct admin_answer *a) {
    a->json = json_object();
    json_add_bool(a->json, "ok", true);
    json_add_str(a->json, "target", buf_str(&r->part[0]));
    json_add_bool(a->json, "persistent", control_save(r->env->control) == 0);
}

int admin_suspend(struct admin_request *r, struct admin_answer *a) {
    static const char *const fields[] = {"seconds", "reason", "group", "why", NULL};
    struct targets *targets = r->env->gateway->state.targets;
    struct target_facts facts;
    char reason[sizeof(facts.reason)] = "admin", why[MAX_MESSAGE];
    double seconds = INFINITY;
    bool group = false;
    const struct config_provider *p = find_provider(r, a);
    if (!p || !admin_body_fields(r, a, fields) || !admin_body_number(r, a, "seconds", &seconds) ||
        !admin_body_text(r, a, "reason", reason, sizeof(reason)) ||
        !admin_body_bool(r, a, "group", &group) ||
        !admin_body_text(r, a, "why", why, sizeof(why))) {
        return 0;
    }
    if (!(seconds > 0)) {
        return admin_fail(a, 400, "out_of_range",
                          "seconds: found %g, expected more than 0; leave it out to suspend until "
                          "the target is resumed",
                          seconds);
    }
    struct str quota_group = keys_group(p, buf_str(&r->part[0]));
    if (group && !quota_group.n) {
        return admin_fail(a, 422, "no_quota_group",
                          "'%s' has no quota_group that could be suspended as a whole",
                          r->part[0].data);
    }
    describe(&a->before, r, p);
    usec left = targets_suspend(targets, buf_str(&r->part[0]), quota_group, group,
                                usec_from_seconds(seconds), reason);
    describe(&a->after, r, p);
    answer_saved(r, a);
    json_add_num(a->json, "suspended_for", usec_to_seconds(left));
    json_add_bool(a->json, "until_resumed", for_good(left));
    return left > 0 ? 0 : -1;
}

int admin_resume(struct admin_request *r, struct admin_answer *a) {
    static const char *const fields[] = {"why", NULL};
    char why[MAX_MESSAGE];
    const struct config_provider *p = find_provider(r, a);
    if (!p || !admin_body_fields(r, a, fields) || !admin_body_text(r, a, "why", why, sizeof(why))) {
        return 0;
    }
    describe(&a->before, r, p);
    targets_resume(r->env->gateway->state.targets, buf_str(&r->part[0]),
                   keys_group(p, buf_str(&r->part[0])));
    describe(&a->after, r, p);
    answer_saved(r, a);
    return 0;
}
