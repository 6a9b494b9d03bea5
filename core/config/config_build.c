/* SPDX-License-Identifier: MIT */
/*
 * Turns a checked tree into struct config: fills the records from their schema, defaults included,
 * and does by hand what takes more than one shape. Where a value is wrong (config_check has told
 * it) its default stands, so that policies can still be held against the rest of the file. Fails
 * for memory only.
 */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/limits.h"
#include "config/config_load.h"

static bool good_text(const struct field *f, const struct value *v) {
    struct err ignored;
    return v->type == VALUE_STR && !is_unknown(v) &&
           (!f->rule || f->rule(value_str(v), &ignored) == 0);
}

/* The value, or NULL when it is not one that the field takes. */
static const struct value *fitting(const struct field *f, const struct value *v) {
    double n = 0;
    bool fits = false;
    if (!v) {
        return NULL;
    }
    switch (f->type) {
    case FIELD_BOOL:
        fits = v->type == VALUE_BOOL;
        break;
    case FIELD_INT:
    case FIELD_BYTES:
    case FIELD_SECONDS:
    case FIELD_WORKERS:
        fits = value_number(v, &n) && n >= f->min && n <= f->max;
        break;
    case FIELD_TEXT:
        fits = good_text(f, v);
        break;
    case FIELD_CHOICE:
        fits = v->type == VALUE_STR;
        break;
    default:
        fits = v->type == VALUE_TABLE;
        break;
    }
    return fits ? v : NULL;
}

static int store_text(char **out, const struct field *f, const struct value *v) {
    if (!v && !f->text) {
        return 0;
    }
    *out = str_dup(v ? value_str(v) : str_of(f->text));
    return *out ? 0 : -1;
}

static int store_texts(char ***out, const struct value *v) {
    if (!v) {
        return 0;
    }
    char **list = calloc(v->as.t.n_items + 1, sizeof(*list));
    *out = list;
    for (size_t i = 0; list && i < v->as.t.n_items; i++) {
        list[i] = str_dup(value_str(&v->as.t.items[i]));
        if (!list[i]) {
            return -1;
        }
    }
    return list ? 0 : -1;
}

static int choice(const struct field *f, const struct value *v) {
    for (int i = 0; v && f->words[i]; i++) {
        if (str_is(value_str(v), f->words[i])) {
            return i;
        }
    }
    return (int)f->def;
}

static int fill(const struct schema *schema, const struct value *v, void *record);

/* memcpy: the member has the type that its field_type names (config_schema.h). */
static int fill_field(const struct field *f, const struct value *given, void *record) {
    const struct value *v = fitting(f, given);
    char *member = (char *)record + f->offset;
    double n = f->def;
    value_number(v, &n);
    switch (f->type) {
    case FIELD_BOOL: {
        bool on = v ? v->as.b : f->def != 0;
        memcpy(member, &on, sizeof(on));
        return 0;
    }
    case FIELD_INT:
    case FIELD_CHOICE: {
        int i = f->type == FIELD_CHOICE ? choice(f, v) : (int)n;
        memcpy(member, &i, sizeof(i));
        return 0;
    }
    case FIELD_BYTES: {
        size_t bytes = (size_t)n;
        memcpy(member, &bytes, sizeof(bytes));
        return 0;
    }
    case FIELD_SECONDS: {
        usec t = usec_from_seconds(n);
        memcpy(member, &t, sizeof(t));
        return 0;
    }
    case FIELD_TEXT:
        return store_text((char **)(void *)member, f, v);
    case FIELD_TEXTS:
        return store_texts((char ***)(void *)member, v);
    case FIELD_TEXT_MAP:
    case FIELD_VALUE:
        return v ? value_copy((struct value *)(void *)member, v) : 0;
    case FIELD_RECORD:
        return fill(f->of, v, record);
    case FIELD_LIST:
    case FIELD_MAP:
    case FIELD_LISTEN:
    case FIELD_WORKERS:
    case FIELD_HEALTH:
    case FIELD_IDENTITIES:
    case FIELD_MODELS:
        break;
    }
    return 0;
}

/* v may be NULL: then there are only defaults. */
static int fill(const struct schema *schema, const struct value *v, void *record) {
    for (const struct field *f = schema->fields; f->name; f++) {
        if (!(f->flags & FIELD_BY_HAND) && fill_field(f, value_field(v, f->name), record)) {
            return -1;
        }
    }
    return 0;
}

/* Takes *path, a path relative to the configuration's folder, and leaves the whole one. */
static int resolve(struct load *l, char **path) {
    const char *dir = snapshot_dir(l->snapshot);
    char *whole = NULL;
    if (!*path || **path == '/' || strcmp(dir, ".") == 0) {
        return 0;
    }
    if (asprintf(&whole, "%s%s%s", dir, str_ends(str_of(dir), "/") ? "" : "/", *path) < 0) {
        return -1;
    }
    free(*path);
    *path = whole;
    return 0;
}

static int resolve_log(struct load *l, char **path) {
    bool word =
        strcmp(*path, "stdout") == 0 || strcmp(*path, "stderr") == 0 || strcmp(*path, "off") == 0;
    return word ? 0 : resolve(l, path);
}

static int build_health(struct config_health *health, const struct value *v) {
    health->enabled = v && (v->type == VALUE_TABLE || (v->type == VALUE_BOOL && v->as.b));
    return fill(&health_schema, v, health);
}

static int build_auth(struct config_provider *p) {
    struct str name;
    char *given = p->auth_name; /* fill put the text of `auth` there */
    p->auth_name = NULL;
    p->auth_given = given != NULL || p->aws.access_key != NULL;
    if (!given) {
        p->auth = p->aws.access_key             ? AUTH_AWS
                  : p->api_key || p->n_api_keys ? AUTH_BEARER
                                                : AUTH_NONE;
        return 0;
    }
    p->auth = auth_parse(str_of(given), &name);
    p->auth_name = name.n ? str_dup(name) : NULL;
    bool failed = name.n && !p->auth_name;
    free(given);
    return failed ? -1 : 0;
}

static size_t items_of(const struct value *list) {
    return list && list->type == VALUE_TABLE ? list->as.t.n_items : 0;
}

static int build_api_keys(struct config_provider *p, const struct value *list) {
    size_t n = items_of(list);
    n = n < MAX_API_KEYS ? n : MAX_API_KEYS;
    p->api_keys = n ? calloc(n, sizeof(*p->api_keys)) : NULL;
    for (size_t i = 0; p->api_keys && i < n; i++) {
        struct config_api_key *key = &p->api_keys[i];
        p->n_api_keys = i + 1;
        if (fill(&api_key_schema, &list->as.t.items[i], key) ||
            asprintf(&key->label, "%s#%s", p->name, key->name) < 0) {
            key->label = NULL;
            return -1;
        }
    }
    return n && !p->api_keys ? -1 : 0;
}

static int set_text(char **to, const char *text) {
    free(*to);
    *to = text ? str_dup(str_of(text)) : NULL;
    return text && !*to ? -1 : 0;
}

static int adopt_auth(struct config_provider *p, const char *auth) {
    struct str name = {NULL, 0};
    if (p->auth_given) {
        return 0;
    }
    p->auth =
        p->api_key || p->n_api_keys ? auth_parse(str_of(auth ? auth : "bearer"), &name) : AUTH_NONE;
    free(p->auth_name);
    p->auth_name = name.n ? str_dup(name) : NULL;
    return name.n && !p->auth_name ? -1 : 0;
}

static char **copy_texts(const char *const *texts, size_t n) {
    char **copy = calloc(n + 1, sizeof(*copy));
    for (size_t i = 0; copy && i < n; i++) {
        copy[i] = str_dup(str_of(texts[i]));
        if (!copy[i]) {
            free_texts(copy);
            return NULL;
        }
    }
    return copy;
}

static int adopt_speaks(struct config_provider *p, const struct config_dialect *d) {
    p->speaks = p->speaks ? p->speaks : copy_texts(d->speaks, d->n_speaks);
    return p->speaks ? 0 : -1;
}

static int adopt_paths(struct config_provider *p, const struct config_dialect *d) {
    free_texts(p->prefixes);
    p->prefixes = copy_texts(d->prefixes, d->n_prefixes);
    return p->prefixes ? set_text(&p->pass, d->pass) : -1;
}

int config_adopt_dialect(struct config_provider *p, const struct config_dialect *d) {
    value_release(&p->fixed_headers);
    int bad = d->headers ? value_copy(&p->fixed_headers, d->headers) : 0;
    bad |= adopt_paths(p, d) | adopt_auth(p, d->auth) | adopt_speaks(p, d);
    return bad ? -1 : 0;
}

bool config_speaks(const struct config_provider *p, const char *dialect) {
    for (char **s = p->speaks; s && *s; s++) {
        if (strcmp(*s, dialect) == 0) {
            return true;
        }
    }
    return !p->speaks && strcmp(p->dialect, dialect) == 0;
}

static int build_provider(struct config_provider *p, const char *name, const struct value *v) {
    p->name = str_dup(str_of(name));
    if (!p->name || fill(&provider_schema, v, p) || build_api_keys(p, value_field(v, "api_keys")) ||
        build_auth(p) || config_aws_build(p)) {
        return -1;
    }
    for (size_t n = strlen(p->base_url); n && p->base_url[n - 1] == '/'; n--) {
        p->base_url[n - 1] = '\0';
    }
    return build_health(&p->health, value_field(v, "health"));
}

static int build_providers(struct config *c, const struct value *v) {
    size_t n = v && v->type == VALUE_TABLE ? v->as.t.n_fields : 0;
    if (n == 0) {
        return 0;
    }
    c->providers = calloc(n, sizeof(*c->providers));
    for (size_t i = 0; c->providers && i < n; i++) {
        c->n_providers = i + 1;
        if (build_provider(&c->providers[i], v->as.t.fields[i].name, &v->as.t.fields[i].value)) {
            return -1;
        }
    }
    return c->providers ? 0 : -1;
}

/* The schema has no place for the secret: only its hash is kept here, the text goes to
 * config->secrets. */
static int build_keys(struct config *c, const struct value *v) {
    size_t n = items_of(v);
    if (n == 0) {
        return 0;
    }
    c->keys = calloc(n, sizeof(*c->keys));
    for (size_t i = 0; c->keys && i < n; i++) {
        c->n_keys = i + 1;
        if (fill(&key_schema, &v->as.t.items[i], &c->keys[i])) {
            return -1;
        }
        hash_sha256(value_str(value_field(&v->as.t.items[i], "secret")), c->keys[i].hash);
    }
    return c->keys ? 0 : -1;
}

static bool has_unknown(const struct value *v) {
    if (v->type != VALUE_TABLE) {
        return is_unknown(v);
    }
    for (size_t i = 0; i < v->as.t.n_items; i++) {
        if (has_unknown(&v->as.t.items[i])) {
            return true;
        }
    }
    for (size_t i = 0; i < v->as.t.n_fields; i++) {
        if (has_unknown(&v->as.t.fields[i].value)) {
            return true;
        }
    }
    return false;
}

/* A route that no policy can judge, for lack of the policy or of settings, is left without one. */
static void judge_route(struct load *l, struct config_route *r, const struct value *v) {
    char name[MAX_MODULE_NAME];
    const struct value *settings = value_field(v, "settings");
    const struct value *models = value_field(v, "models");
    snprintf(name, sizeof(name), "policies/%s.lua", r->policy);
    bool wrong = settings && (settings->type != VALUE_TABLE || has_unknown(settings));
    wrong = wrong || (models && has_unknown(models));
    if (wrong || !snapshot_find(l->snapshot, name)) {
        free(r->policy);
        r->policy = NULL;
    }
}

/* A list of targets from what stands for one: a list, one target, or one entry or group. */
static int build_targets(struct config_alias *alias, const struct value *v) {
    struct value one;
    alias->listed = v->type == VALUE_TABLE && v->as.t.n_fields == 0;
    if (alias->listed) {
        return value_copy(&alias->targets, v);
    }
    alias->targets = value_table();
    if (value_copy(&one, v)) {
        return -1;
    }
    return value_add_item(&alias->targets, one);
}

static int build_models(struct config_route *r, const struct value *v) {
    if (!v || v->type != VALUE_TABLE) {
        return 0;
    }
    size_t n = v->as.t.n_fields;
    r->aliases = n ? calloc(n, sizeof(*r->aliases)) : NULL;
    if ((n && !r->aliases) || (items_of(v) && store_texts(&r->models, v))) {
        return -1;
    }
    for (size_t i = 0; i < n; i++) {
        r->n_aliases = i + 1;
        r->aliases[i].name = str_dup(str_of(v->as.t.fields[i].name));
        if (!r->aliases[i].name || build_targets(&r->aliases[i], &v->as.t.fields[i].value)) {
            return -1;
        }
    }
    return 0;
}

static int build_route(struct load *l, struct config_route *r, const struct value *v) {
    if (fill(&route_schema, v, r) || build_models(r, value_field(v, "models"))) {
        return -1;
    }
    judge_route(l, r, v);
    size_t n = strlen(r->path);
    if (n && r->path[n - 1] == '*') {
        r->path[n - 1] = '\0';
        r->prefix = true;
    }
    if (r->settings.type == VALUE_NIL) {
        r->settings = value_table();
    }
    return 0;
}

static int build_routes(struct load *l, struct config *c, const struct value *v) {
    size_t n = items_of(v);
    if (n == 0) {
        return 0;
    }
    c->routes = calloc(n, sizeof(*c->routes));
    for (size_t i = 0; c->routes && i < n; i++) {
        c->n_routes = i + 1;
        if (build_route(l, &c->routes[i], &v->as.t.items[i])) {
            return -1;
        }
    }
    c->n_variants = n;
    for (size_t i = 0; c->routes && i < n; i++) {
        c->routes[i].first_alias = c->n_variants;
        c->n_variants += c->routes[i].n_aliases;
    }
    return c->routes ? 0 : -1;
}

static char *listener_address(const struct value *v) {
    return str_dup(v->type == VALUE_TABLE ? value_str(value_field(v, "address")) : value_str(v));
}

static int build_listen(struct config *c, const struct value *v) {
    bool list = v && v->type == VALUE_TABLE && v->as.t.n_fields == 0;
    size_t n = list ? v->as.t.n_items : 1;
    c->listen = calloc(n + 1, sizeof(*c->listen));
    c->listen_tls = calloc(MAX_LISTENERS, sizeof(*c->listen_tls));
    if (!c->listen || !c->listen_tls) {
        return -1;
    }
    for (size_t i = 0; i < n; i++) {
        c->listen[i] =
            v ? listener_address(list ? &v->as.t.items[i] : v) : str_dup(STR("127.0.0.1:8080"));
        if (!c->listen[i]) {
            return -1;
        }
    }
    return 0;
}

/* "auto": the cores that this process may use, which in a container are fewer than the machine's.
 */
static int count_workers(const struct value *v) {
    double n = 0;
    cpu_set_t cpus;
    if (value_number(v, &n) && n >= 1 && n <= MAX_WORKERS) {
        return (int)n;
    }
    int cores = sched_getaffinity(0, sizeof(cpus), &cpus) == 0 ? CPU_COUNT(&cpus) : 1;
    return cores < 1 ? 1 : cores > MAX_WORKERS ? MAX_WORKERS : cores;
}

static int build_inputs(struct config *c, const struct snapshot *s) {
    size_t n = 0;
    while (snapshot_input(s, n)) {
        n++;
    }
    c->input_files = calloc(n + 1, sizeof(*c->input_files));
    for (size_t i = 0; c->input_files && i < n; i++) {
        c->input_files[i] = str_dup(str_of(snapshot_input(s, i)));
        if (!c->input_files[i]) {
            return -1;
        }
    }
    return c->input_files ? 0 : -1;
}

static int build(struct load *l, struct config *c, const struct value *root) {
    c->file = str_dup(str_of(l->file));
    c->dir = str_dup(str_of(snapshot_dir(l->snapshot)));
    c->workers = count_workers(value_field(root, "workers"));
    if (!c->file || !c->dir || fill(&config_schema, root, c)) {
        return -1;
    }
    if (resolve(l, &c->state_dir) || resolve_log(l, &c->log.access) ||
        resolve_log(l, &c->log.error)) {
        return -1;
    }
    if (build_listen(c, value_field(root, "listen")) ||
        build_providers(c, value_field(root, "providers"))) {
        return -1;
    }
    if (build_keys(c, value_field(root, "keys")) ||
        build_routes(l, c, value_field(root, "routes"))) {
        return -1;
    }
    config_tls(l, root, c); /* its files are inputs */
    return build_inputs(c, l->snapshot) || config_secrets(c, root) ? -1 : 0;
}

struct config *config_build(struct load *l, const struct value *root) {
    struct config *c = calloc(1, sizeof(*c));
    if (!c) {
        return NULL;
    }
    atomic_init(&c->refs, 1);
    if (build(l, c, root)) {
        config_free(c);
        return NULL;
    }
    return c;
}
