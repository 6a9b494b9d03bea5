/* SPDX-License-Identifier: MIT */
/*
 * Routes as they are in force: what they match, their policy with its settings' schema, and each
 * setting's value with where it comes from.
 */
#include "admin/admin_internal.h"

bool admin_find_route(const struct admin_request *r, struct admin_answer *a, size_t *index) {
    const char *names[MAX_ROUTES + 1];
    const char *wanted = r->part[0].data;
    size_t n = r->config->n_routes;
    for (size_t i = 0; i < n; i++) {
        names[i] = r->config->routes[i].name;
        if (strcmp(names[i], wanted) == 0) {
            *index = i;
            return true;
        }
    }
    names[n] = NULL;
    const char *near = str_nearest(wanted, names);
    admin_fail(a, 404, "unknown_route", "there is no route '%.200s'%s%s%s", wanted,
               near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
    return false;
}

void admin_add_route_path(struct json *route, const struct config_route *r) {
    struct buf path;
    buf_init(&path, MAX_REQUEST_LINE);
    if (buf_addf(&path, "%s%s", r->path, r->prefix ? "*" : "") == BUF_OK) {
        json_add_str(route, "path", buf_str(&path));
    }
    buf_release(&path);
}

static void add_list(struct json *obj, const char *name, char *const *list) {
    if (!list) {
        json_add_null(obj, name);
        return;
    }
    struct json *array = json_add_array(obj, name);
    for (; *list; list++) {
        json_push_str(array, str_of(*list));
    }
}

/* Public names and the targets that serve them. */
static void add_aliases(struct json *obj, const struct config_route *r,
                        const struct json_texts *masks) {
    struct json *aliases = json_add_object(obj, "aliases");
    for (size_t i = 0; i < r->n_aliases; i++) {
        json_add_value(aliases, r->aliases[i].name, &r->aliases[i].targets, masks);
    }
}

/* As the policy and the file say: shown with their own names, the secrets in them masked. */
static void add_setting(struct json *obj, const char *name, const struct config_route *route,
                        const struct value *value, const struct json_texts *masks) {
    const struct value *file =
        route->file_settings.type == VALUE_NIL ? &route->settings : &route->file_settings;
    const struct value *in_file = value_field(file, name);
    bool over = value_field(&route->overlay, name) != NULL;
    struct json *setting = json_add_object(obj, name);
    json_add_value(setting, "value", value, masks);
    json_add_str(setting, "source", over ? STR("overlay") : in_file ? STR("file") : STR("default"));
    if (over && in_file) {
        json_add_value(setting, "file", in_file, masks);
    }
}

/* Those of the schema, and what a policy's own check may have added. */
static void add_settings(struct json *route, const struct admin_request *r, size_t index) {
    const struct config_route *c = &r->config->routes[index];
    const struct value *schema = generation_schema(r->now, index);
    const struct value *settings = generation_settings(r->now, index);
    struct json_texts masks = config_masks(r->config);
    struct json *list = json_add_object(route, "settings");
    for (size_t i = 0; schema->type == VALUE_TABLE && i < schema->as.t.n_fields; i++) {
        const char *name = schema->as.t.fields[i].name;
        add_setting(list, name, c, value_field(settings, name), &masks);
    }
    for (size_t i = 0; settings->type == VALUE_TABLE && i < settings->as.t.n_fields; i++) {
        const struct value_field *f = &settings->as.t.fields[i];
        if (!value_field(schema, f->name)) {
            add_setting(list, f->name, c, &f->value, &masks);
        }
    }
}

/* Is the failover of this route on? NULL when its policy has no such switch. */
static void add_failover(struct json *route, const struct admin_request *r, size_t index) {
    const struct value *enabled = value_field(generation_settings(r->now, index), "enabled");
    if (enabled && enabled->type == VALUE_BOOL) {
        json_add_bool(route, "failover", enabled->as.b);
    } else {
        json_add_null(route, "failover");
    }
}

static void fill_route(struct json *route, const struct admin_request *r, size_t index,
                       long long version) {
    const struct config_route *c = &r->config->routes[index];
    bool deny = c->on_error == ON_ERROR_DENY;
    struct json_texts masks = config_masks(r->config);
    json_add_str(route, "name", str_of(c->name));
    admin_add_route_path(route, c);
    add_list(route, "models", c->models);
    add_aliases(route, c, &masks);
    add_list(route, "methods", c->methods);
    json_add_str(route, "policy", str_of(c->policy));
    json_add_value(route, "policy_version", generation_policy_version(r->now, index), &masks);
    json_add_str(route, "on_error", deny ? STR("deny") : STR("default_plan"));
    /* Where the route does not say: of clients that nothing else tells. */
    json_add_str(route, "dialect", c->dialect ? str_of(c->dialect) : STR("openai"));
    json_add_num(route, "version", (double)version);
    add_failover(route, r, index);
    json_add_value(route, "schema", generation_schema(r->now, index), &masks);
    add_settings(route, r, index);
}

int admin_routes(struct admin_request *r, struct admin_answer *a) {
    a->json = json_object();
    struct json *list = json_add_array(a->json, "routes");
    for (size_t i = 0; i < r->config->n_routes; i++) {
        long long version = loader_overlay_version(r->env->loader, r->config->routes[i].name);
        fill_route(json_push_object(list), r, i, version);
    }
    return 0;
}

int admin_route(struct admin_request *r, struct admin_answer *a) {
    size_t index = 0;
    if (!admin_find_route(r, a, &index)) {
        return 0;
    }
    a->etag = loader_overlay_version(r->env->loader, r->part[0].data);
    a->json = json_object();
    fill_route(a->json, r, index, a->etag);
    return 0;
}
