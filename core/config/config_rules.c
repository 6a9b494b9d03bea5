/* SPDX-License-Identifier: MIT */
/*
 * The rules of gateway.lua that concern more than one value: names given twice, policies that are
 * not there, doors left open, routes that nothing reaches. Each bears with values of wrong types,
 * which config_check has told already.
 */
#include <stdio.h>

#include "base/limits.h"
#include "config/config_load.h"

static struct str text_at(const struct value *v, const char *name) {
    return value_str(value_field(v, name));
}

static size_t items_of(const struct value *list) {
    return list && list->type == VALUE_TABLE ? list->as.t.n_items : 0;
}

/* The path "LIST[i].NAME". */
static void item_path(struct path *at, const char *list, size_t i, const char *name) {
    path_init(at);
    path_field(at, list);
    path_item(at, i + 1);
    if (name) {
        path_field(at, name);
    }
}

/* Tells PATH.list[i].name when an earlier one is the same; `show` false for secrets. */
static void tell_same(struct load *l, const struct path *above, const struct value *table,
                      const char *list_name, const char *name, bool show) {
    const struct value *list = value_field(table, list_name);
    for (size_t i = 1; i < items_of(list); i++) {
        const struct value *field = value_field(&list->as.t.items[i], name);
        struct str text = value_str(field);
        for (size_t j = 0; text.n && !is_unknown(field) && j < i; j++) {
            if (!str_eq(text, text_at(&list->as.t.items[j], name))) {
                continue;
            }
            struct path at = *above;
            path_field(&at, list_name);
            path_item(&at, i + 1);
            path_field(&at, name);
            load_error(l, &at, "%s%.*s%s is also the %s of %s[%zu]; expected each to be different",
                       show ? "\"" : "it", show ? (int)(text.n > 100 ? 100 : text.n) : 0, text.p,
                       show ? "\"" : "", name, list_name, j + 1);
            break;
        }
    }
}

static void check_auth(struct load *l, const struct value *provider, struct path *at) {
    struct err ignored;
    struct str name;
    struct str auth = text_at(provider, "auth");
    bool key = value_field(provider, "api_key") || value_field(provider, "api_keys");
    if (auth.n == 0 || text_auth(auth, &ignored)) {
        return;
    }
    enum config_auth kind = auth_parse(auth, &name);
    size_t before = path_field(at, "auth");
    if (key && (kind == AUTH_NONE || kind == AUTH_PASSTHROUGH || kind == AUTH_AWS)) {
        load_warn(l, at, "the provider's api_key is never sent with auth = \"%.*s\"", (int)auth.n,
                  auth.p);
    } else if (!key && kind != AUTH_NONE && kind != AUTH_PASSTHROUGH && kind != AUTH_AWS) {
        load_warn(l, at,
                  "there is no api_key: only attempts whose policy names a key will carry one");
    }
    path_cut(at, before);
}

/* The keys of a provider: one or a pool, each of the pool by a name and a secret of its own. */
static void check_api_keys(struct load *l, const struct value *provider, struct path *at) {
    const struct value *keys = value_field(provider, "api_keys");
    if (!keys) {
        return;
    }
    tell_same(l, at, provider, "api_keys", "name", true);
    tell_same(l, at, provider, "api_keys", "secret", false);
    size_t before = path_field(at, "api_keys");
    if (value_field(provider, "api_key")) {
        load_error(l, at, "there is an api_key beside it; expected one of the two");
    } else if (keys->type == VALUE_TABLE && !items_of(keys) && !keys->as.t.n_fields) {
        load_error(l, at, "expected at least one key, found an empty list");
    }
    path_cut(at, before);
}

static void check_providers(struct load *l, const struct value *providers) {
    struct path at;
    path_init(&at);
    path_field(&at, "providers");
    if (!providers || providers->type != VALUE_TABLE) {
        return;
    }
    for (size_t i = 0; i < providers->as.t.n_fields; i++) {
        size_t before = path_field(&at, providers->as.t.fields[i].name);
        check_auth(l, &providers->as.t.fields[i].value, &at);
        check_api_keys(l, &providers->as.t.fields[i].value, &at);
        config_aws_check(l, &providers->as.t.fields[i].value, &at);
        path_cut(&at, before);
    }
}

static void check_keys(struct load *l, const struct value *keys) {
    static const char *const known[] = {"production", "sandbox", NULL};
    struct path at;
    for (size_t i = 0; i < items_of(keys); i++) {
        struct str secret = text_at(&keys->as.t.items[i], "secret");
        struct str environment = text_at(&keys->as.t.items[i], "environment");
        if (secret.n && secret.n < 6) {
            item_path(&at, "keys", i, "secret");
            load_warn(l, &at,
                      "shorter than 6 characters: too easy to guess, and too short to be masked in "
                      "messages");
        }
        const char *nearest = environment.n ? str_nearest(environment.p, known) : NULL;
        if (nearest && !str_is(environment, nearest)) {
            item_path(&at, "keys", i, "environment");
            load_warn(l, &at, "\"%.*s\" is not \"%s\", which may have been meant",
                      (int)environment.n, environment.p, nearest);
        }
    }
}

/* The listen value is a string, a table with an address, or a list of these. */
static struct str listen_address(const struct value *listen, size_t i, size_t *n) {
    const struct value *one = listen;
    *n = 1;
    if (listen && listen->type == VALUE_TABLE && listen->as.t.n_fields == 0) {
        *n = listen->as.t.n_items;
        one = i < *n ? &listen->as.t.items[i] : NULL;
    }
    return one && one->type == VALUE_TABLE ? text_at(one, "address") : value_str(one);
}

static void listen_path(struct path *at, const struct value *listen, size_t i) {
    path_init(at);
    path_field(at, "listen");
    if (listen->type == VALUE_TABLE && listen->as.t.n_fields == 0) {
        path_item(at, i + 1);
    }
}

static void check_same_address(struct load *l, const struct value *listen, size_t i,
                               struct str admin) {
    size_t n = 0;
    struct path at;
    struct str address = listen_address(listen, i, &n);
    listen_path(&at, listen, i);
    if (str_ends(address, ":0")) {
        return; /* each takes a free port of its own */
    }
    if (str_eq(address, admin)) {
        load_error(l, &at, "\"%.*s\" is also the address of admin.listen", (int)address.n,
                   address.p);
    }
    for (size_t j = 0; j < i; j++) {
        if (str_eq(address, listen_address(listen, j, &n))) {
            load_error(l, &at, "\"%.*s\" is given twice", (int)address.n, address.p);
            return;
        }
    }
}

static void check_listen_rules(struct load *l, const struct value *root) {
    const struct value *listen = value_field(root, "listen");
    struct str admin = text_at(value_field(root, "admin"), "listen");
    bool open = !value_field(root, "keys") || (items_of(value_field(root, "keys")) == 0);
    size_t n = listen ? 1 : 0;
    struct err ignored;
    for (size_t i = 0; i < n && i < MAX_LISTENERS; i++) {
        struct path at;
        struct str address = listen_address(listen, i, &n);
        if (address.n == 0 || text_address(address, &ignored)) {
            continue;
        }
        check_same_address(l, listen, i, admin);
        if (open && !address_is_loopback(address)) {
            listen_path(&at, listen, i);
            load_error(l, &at,
                       "\"%.*s\" can be reached from other machines and no keys are configured: "
                       "anybody could use "
                       "the providers; add keys, or listen on 127.0.0.1",
                       (int)address.n, address.p);
        }
    }
}

/* The two tokens must differ, and one that may only look is of no use where all may do all. */
static void check_read_token(struct load *l, const struct value *admin) {
    const struct value *read_token = value_field(admin, "read_token");
    const struct value *token = value_field(admin, "token");
    struct path at;
    if (!read_token || is_unknown(read_token) || (token && is_unknown(token))) {
        return;
    }
    path_init(&at);
    path_field(&at, "admin");
    path_field(&at, "read_token");
    if (!token) {
        load_error(l, &at,
                   "there is no admin.token beside it: without one everybody may change "
                   "everything; give a token, too");
    } else if (value_str(token).n && str_eq(value_str(token), value_str(read_token))) {
        load_error(l, &at,
                   "is the same as admin.token, so it could change everything; expected another");
    }
}

static void check_admin(struct load *l, const struct value *admin) {
    struct path at;
    struct err ignored;
    check_read_token(l, admin);
    struct str address = text_at(admin, "listen");
    if (address.n == 0 || text_address(address, &ignored) || value_field(admin, "token")) {
        return;
    }
    path_init(&at);
    path_field(&at, "admin");
    path_field(&at, "listen");
    if (!address_is_loopback(address)) {
        load_error(l, &at,
                   "\"%.*s\" can be reached from other machines and there is no admin.token; give "
                   "one, or listen on "
                   "127.0.0.1",
                   (int)address.n, address.p);
    }
}

/* "failover" of "policies/failover.lua" into out; false for other files and names that do not fit.
 */
static bool policy_name(const struct snapshot_file *f, char *out, size_t size) {
    struct str name = str_of(f->name);
    if (!str_starts(name, "policies/") || name.n - 9 - 4 >= size) {
        return false;
    }
    snprintf(out, size, "%.*s", (int)(name.n - 9 - 4), name.p + 9);
    return true;
}

enum { MAX_SUGGESTED = 64, POLICY_NAME = 129 };

static void missing_policy(struct load *l, struct str policy, const struct path *at) {
    char text[MAX_SUGGESTED][POLICY_NAME];
    const char *names[MAX_SUGGESTED + 1];
    size_t n = 0;
    for (size_t i = 0; i < snapshot_count(l->snapshot) && n < MAX_SUGGESTED; i++) {
        if (policy_name(snapshot_at(l->snapshot, i), text[n], POLICY_NAME)) {
            names[n] = text[n];
            n++;
        }
    }
    names[n] = NULL;
    const char *nearest = str_nearest(policy.p, names);
    if (nearest) {
        load_error(l, at, "there is no policies/%.*s.lua; did you mean \"%s\"?", (int)policy.n,
                   policy.p, nearest);
    } else {
        load_error(l, at, "there is no policies/%.*s.lua, neither beside %s nor in the library",
                   (int)policy.n, policy.p, l->file);
    }
}

static void check_policies(struct load *l, const struct value *routes) {
    struct err ignored;
    for (size_t i = 0; i < items_of(routes); i++) {
        char name[POLICY_NAME + 16];
        struct path at;
        const struct value *field = value_field(&routes->as.t.items[i], "policy");
        struct str policy = value_str(field);
        if (policy.n == 0 || is_unknown(field) || text_policy(policy, &ignored)) {
            continue;
        }
        snprintf(name, sizeof(name), "policies/%s.lua", policy.p);
        if (!snapshot_find(l->snapshot, name)) {
            item_path(&at, "routes", i, "policy");
            missing_policy(l, policy, &at);
        }
    }
}

static bool path_covers(struct str a, struct str b) {
    if (!str_ends(a, "*")) {
        return str_eq(a, b);
    }
    size_t n = a.n - 1;
    return b.n >= n && memcmp(a.p, b.p, n) == 0;
}

/* How many words a list has; the names of aliases are words, too. */
static size_t words_of(const struct value *list) {
    return list && list->type == VALUE_TABLE ? list->as.t.n_items + list->as.t.n_fields : 0;
}

static struct str word_at(const struct value *list, size_t i) {
    size_t n = list->as.t.n_items;
    return i < n ? value_str(&list->as.t.items[i]) : str_of(list->as.t.fields[i - n].name);
}

/* Does every word of b match one of a? Without a list all do. Globs in b are taken by their text:
 * "gpt-*" covers "gpt-4*". */
static bool words_cover(const struct value *a, const struct value *b) {
    if (words_of(a) == 0) {
        return true;
    }
    if (words_of(b) == 0) {
        return false;
    }
    for (size_t i = 0; i < words_of(b); i++) {
        struct str word = word_at(b, i);
        bool matched = false;
        for (size_t j = 0; j < words_of(a) && !matched; j++) {
            struct str pattern = word_at(a, j);
            bool question = word.n && memchr(word.p, '?', word.n);
            matched =
                str_eq(pattern, word) || (pattern.n && !question && str_glob(pattern.p, word));
        }
        if (!matched) {
            return false;
        }
    }
    return true;
}

static bool route_covers(const struct value *a, const struct value *b) {
    struct str path = text_at(a, "path");
    return path.n && path_covers(path, text_at(b, "path")) &&
           words_cover(value_field(a, "models"), value_field(b, "models")) &&
           words_cover(value_field(a, "methods"), value_field(b, "methods"));
}

static void check_reach(struct load *l, const struct value *routes) {
    for (size_t i = 1; i < items_of(routes); i++) {
        for (size_t j = 0; j < i; j++) {
            struct path at;
            if (!route_covers(&routes->as.t.items[j], &routes->as.t.items[i])) {
                continue;
            }
            item_path(&at, "routes", i, NULL);
            load_warn(l, &at, "can never be reached: routes[%zu] takes all its requests before",
                      j + 1);
            break;
        }
    }
}

static void check_aliases(struct load *l, const struct value *routes) {
    size_t n = 0;
    for (size_t i = 0; i < items_of(routes); i++) {
        const struct value *models = value_field(&routes->as.t.items[i], "models");
        n += models && models->type == VALUE_TABLE ? models->as.t.n_fields : 0;
    }
    if (n > MAX_ALIASES) {
        struct path at;
        path_init(&at);
        path_field(&at, "routes");
        load_error(l, &at, "expected at most %d models with targets of their own, found %zu",
                   MAX_ALIASES, n);
    }
}

static double number_or(const struct value *limits, const char *name, size_t otherwise) {
    double n = (double)otherwise;
    (void)value_number(value_field(limits, name), &n);
    return n;
}

/* A body takes up to three quarters of the memory (base/pool.h), and its buffer its whole size. */
static void check_memory(struct load *l, const struct value *limits) {
    double memory = number_or(limits, "memory", DEFAULT_MEMORY);
    double body = number_or(limits, "body", DEFAULT_BODY_MAX);
    struct path at;
    if (body <= memory * 3 / 4) {
        return;
    }
    path_init(&at);
    path_field(&at, "limits");
    path_field(&at, value_field(limits, "memory") ? "memory" : "body");
    load_error(
        l, &at,
        "a request of limits.body (%.0f bytes) would never fit: limits.memory (%.0f) must be "
        "at least %.0f",
        body, memory, body * 4 / 3 + 1);
}

void config_rules(struct load *l, const struct value *root) {
    const struct value *routes = value_field(root, "routes");
    check_providers(l, value_field(root, "providers"));
    struct path top;
    path_init(&top);
    tell_same(l, &top, root, "keys", "name", true);
    tell_same(l, &top, root, "keys", "secret", false);
    tell_same(l, &top, root, "routes", "name", true);
    check_keys(l, value_field(root, "keys"));
    check_listen_rules(l, root);
    check_admin(l, value_field(root, "admin"));
    check_memory(l, value_field(root, "limits"));
    check_policies(l, routes);
    check_aliases(l, routes);
    check_reach(l, routes);
    if (!routes) {
        struct path at;
        path_init(&at);
        path_field(&at, "routes");
        load_warn(l, &at, "there are none: every request will be answered with 404");
    }
}
