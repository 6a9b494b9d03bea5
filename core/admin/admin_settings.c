/* SPDX-License-Identifier: MIT */
/*
 * The overlay of a route's settings: shown, replaced, dropped. A change is always the route's whole
 * overlay, checked, saved and put in force by the loader, or refused as a whole. Optimistic
 * locking: an overlay has a version, which is its entity tag.
 */
#include "admin/admin_internal.h"

int admin_settings(struct admin_request *r, struct admin_answer *a) {
    struct json_texts masks = config_masks(r->config);
    struct value none = value_table();
    size_t index = 0;
    if (!admin_find_route(r, a, &index)) {
        return 0;
    }
    const struct config_route *c = &r->config->routes[index];
    const struct value *settings = generation_settings(r->now, index);
    a->etag = loader_overlay_version(r->env->loader, c->name);
    a->json = json_object();
    json_add_str(a->json, "route", str_of(c->name));
    json_add_num(a->json, "version", (double)a->etag);
    json_add_value(a->json, "overlay", c->overlay.type == VALUE_TABLE ? &c->overlay : &none,
                   &masks);
    json_add_value(a->json, "effective", settings->type == VALUE_TABLE ? settings : &none, &masks);
    return 0;
}

enum { ANY = -1, NO_SUCH = -2 };

/* The version that one entity tag names: "7", or 7. Weak ones match nothing (RFC 9110 section
 * 13.1.1), nor does what was never a version. */
static long long read_tag(struct str tag) {
    unsigned long long number = 0;
    if (tag.n >= 2 && tag.p[0] == '"' && tag.p[tag.n - 1] == '"') {
        tag = str_make(tag.p + 1, tag.n - 2);
    }
    return str_to_u64(tag, &number) ? (long long)number : NO_SUCH;
}

/* Which version the overlay must have: the current one when it is among those named. */
static long long read_if_match(const struct admin_request *r) {
    long long now = loader_overlay_version(r->env->loader, r->part[0].data);
    struct str field, tag;
    if (!headers_get(&r->http->headers, "if-match", &field) || str_is(str_trim(field), "*")) {
        return ANY;
    }
    while (str_split(&field, ',', &tag)) {
        if (read_tag(str_trim(tag)) == now) {
            return now;
        }
    }
    return NO_SUCH;
}

/* `settings` NULL: none. */
static int change(struct admin_request *r, struct admin_answer *a, const struct value *settings,
                  long long version) {
    struct load_cause cause = {r->who, r->why};
    struct diags diags;
    diags_init(&diags);
    enum load_result result = version == NO_SUCH
                                  ? LOAD_CONFLICT
                                  : loader_change_settings(r->env->loader, r->part[0].data,
                                                           settings, version, &cause, &diags);
    int rc = admin_loaded(r, a, result, &diags, r->part[0].data);
    a->audited = version != NO_SUCH;
    diags_release(&diags);
    return rc;
}

/* Is there a text in it, or a name, that an answer has masked? */
static bool has_mask(const struct value *v) {
    bool found = v->type == VALUE_STR && str_has(value_str(v), CONFIG_MASK);
    for (size_t i = 0; v->type == VALUE_TABLE && i < v->as.t.n_items && !found; i++) {
        found = has_mask(&v->as.t.items[i]);
    }
    for (size_t i = 0; v->type == VALUE_TABLE && i < v->as.t.n_fields && !found; i++) {
        const struct value_field *f = &v->as.t.fields[i];
        found = str_has(str_of(f->name), CONFIG_MASK) || has_mask(&f->value);
    }
    return found;
}

/* What was read with GET and is sent back must not make a secret's mask the setting. */
static bool is_unmasked(const struct admin_request *r, struct admin_answer *a) {
    for (size_t i = 0; i < r->body.as.t.n_fields; i++) {
        const struct value_field *f = &r->body.as.t.fields[i];
        if (has_mask(&f->value)) {
            admin_fail(a, 400, "masked_value",
                       "setting '%.200s' holds \"" CONFIG_MASK "\", by which answers stand in for "
                       "a secret: send the secret itself, or leave the setting to gateway.lua",
                       f->name);
            return false;
        }
    }
    return true;
}

int admin_put_settings(struct admin_request *r, struct admin_answer *a) {
    size_t index = 0;
    if (!admin_find_route(r, a, &index) || !is_unmasked(r, a)) {
        return 0;
    }
    return change(r, a, r->body.as.t.n_fields ? &r->body : NULL, read_if_match(r));
}

/* The settings of a route that is no longer configured can be dropped, too. */
int admin_delete_settings(struct admin_request *r, struct admin_answer *a) {
    bool known = loader_overlay_version(r->env->loader, r->part[0].data) > 0;
    size_t index = 0;
    if (!known && !admin_find_route(r, a, &index)) {
        return 0;
    }
    return change(r, a, NULL, read_if_match(r));
}

/* A copy of the overlay without the key, or with `put` in its place. */
static int edited(const struct value *overlay, const char *key, const struct value *put,
                  struct value *out) {
    size_t n = overlay->type == VALUE_TABLE ? overlay->as.t.n_fields : 0;
    *out = value_table();
    for (size_t i = 0; i < n; i++) {
        const struct value_field *f = &overlay->as.t.fields[i];
        struct value copy;
        if (strcmp(f->name, key) != 0 && (value_copy(&copy, &f->value) != 0 ||
                                          value_set_field(out, str_of(f->name), copy) != 0)) {
            return -1;
        }
    }
    return put ? value_set_field(out, str_of(key), *put) : 0;
}

/* Changes one key of the overlay in force, unless it changed meanwhile. */
static int change_key(struct admin_request *r, struct admin_answer *a, size_t index,
                      const char *key, const struct value *put) {
    long long now = loader_overlay_version(r->env->loader, r->part[0].data);
    long long version = read_if_match(r);
    struct value settings;
    int rc = edited(&r->config->routes[index].overlay, key, put, &settings);
    if (rc == 0) {
        rc =
            change(r, a, settings.as.t.n_fields ? &settings : NULL, version == ANY ? now : version);
    }
    value_release(&settings);
    return rc;
}

int admin_delete_setting(struct admin_request *r, struct admin_answer *a) {
    const char *key = r->part[1].data;
    size_t index = 0;
    if (!admin_find_route(r, a, &index)) {
        return 0;
    }
    if (!value_field(&r->config->routes[index].overlay, key)) {
        return admin_fail(a, 404, "not_overlaid",
                          "the overlay of route '%s' has no setting '%.200s': nothing to drop",
                          r->part[0].data, key);
    }
    return change_key(r, a, index, key, NULL);
}

int admin_failover(struct admin_request *r, struct admin_answer *a) {
    static const char *const fields[] = {"enabled", "why", NULL};
    struct value on = {.type = VALUE_BOOL};
    char why[MAX_MESSAGE];
    size_t index = 0;
    if (!admin_find_route(r, a, &index) || !admin_body_fields(r, a, fields) ||
        !admin_body_bool(r, a, "enabled", &on.as.b) ||
        !admin_body_text(r, a, "why", why, sizeof(why))) {
        return 0;
    }
    if (!value_field(&r->body, "enabled")) {
        return admin_fail(a, 400, "missing_field", "enabled: is missing, expected true or false");
    }
    const struct value *setting = value_field(generation_schema(r->now, index), "enabled");
    if (!str_is(value_str(value_field(setting, "type")), "boolean")) {
        return admin_fail(a, 422, "no_such_setting",
                          "the policy '%s' of route '%s' has no setting 'enabled': its failover "
                          "cannot be switched",
                          r->config->routes[index].policy, r->part[0].data);
    }
    return change_key(r, a, index, "enabled", &on);
}
