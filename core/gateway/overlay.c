/* SPDX-License-Identifier: MIT */
/*
 * The overlay in memory, as JSON, and put over a configuration. Each change is checked by reading
 * back what would be written, so that a file of ours can always be read again.
 */
#include "gateway/overlay.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/jscan.h"

static const char NAME[] = "settings.json";
static const int FORMAT = 1;

void overlay_init(struct overlay *o) {
    *o = (struct overlay){0};
}

static void route_release(struct overlay_route *r) {
    free(r->name);
    value_release(&r->settings);
}

void overlay_release(struct overlay *o) {
    for (size_t i = 0; i < o->n; i++) {
        route_release(&o->routes[i]);
    }
    free(o->routes);
    overlay_init(o);
}

int overlay_copy(struct overlay *dst, const struct overlay *src) {
    *dst = (struct overlay){.version = src->version,
                            .routes = calloc(src->n + 1, sizeof(*dst->routes))};
    for (size_t i = 0; dst->routes && i < src->n; i++) {
        struct overlay_route *r = &dst->routes[dst->n++];
        r->name = strdup(src->routes[i].name);
        r->version = src->routes[i].version;
        if (!r->name || value_copy(&r->settings, &src->routes[i].settings)) {
            overlay_release(dst);
            return -1;
        }
    }
    return dst->routes ? 0 : -1;
}

/* Where the route stands, or where it would. */
static size_t place_of(const struct overlay *o, const char *route, bool *found) {
    size_t i = 0;
    int order = 1;
    while (i < o->n && (order = strcmp(o->routes[i].name, route)) < 0) {
        i++;
    }
    *found = i < o->n && order == 0;
    return i;
}

const struct overlay_route *overlay_find(const struct overlay *o, const char *route) {
    bool found = false;
    size_t i = place_of(o, route, &found);
    return found ? &o->routes[i] : NULL;
}

long long overlay_version(const struct overlay *o, const char *route) {
    const struct overlay_route *r = overlay_find(o, route);
    return r ? r->version : 0;
}

static bool is_empty(const struct value *v) {
    return v->type != VALUE_TABLE || (v->as.t.n_fields == 0 && v->as.t.n_items == 0);
}

/* Forgets a route that has only its version left. */
static void make_room(struct overlay *o) {
    for (size_t i = 0; i < o->n; i++) {
        if (is_empty(&o->routes[i].settings)) {
            route_release(&o->routes[i]);
            o->n--;
            memmove(o->routes + i, o->routes + i + 1, (o->n - i) * sizeof(*o->routes));
            return;
        }
    }
}

/* The route's entry, made when there is none. NULL with err. */
static struct overlay_route *entry(struct overlay *o, const char *route, struct err *err) {
    bool found = false;
    size_t i = place_of(o, route, &found);
    if (found) {
        return &o->routes[i];
    }
    if (o->n >= MAX_OVERLAY_ROUTES) {
        make_room(o);
        i = place_of(o, route, &found);
    }
    if (o->n >= MAX_OVERLAY_ROUTES) {
        err_set(err, "settings are kept of %d routes already, which is as many as are allowed",
                MAX_OVERLAY_ROUTES);
        return NULL;
    }
    struct overlay_route *grown = realloc(o->routes, (o->n + 1) * sizeof(*grown));
    char *name = strdup(route);
    o->routes = grown ? grown : o->routes;
    if (!grown || !name) {
        free(name);
        err_set(err, "memory is short");
        return NULL;
    }
    memmove(grown + i + 1, grown + i, (o->n - i) * sizeof(*grown));
    grown[i] = (struct overlay_route){.name = name, .settings = value_table()};
    o->n++;
    return &grown[i];
}

/* ---- as JSON ---- */

static int add_route(const struct overlay_route *r, bool first, bool versions, struct buf *out) {
    int bad = first ? 0 : buf_addc(out, ',');
    bad = bad ? bad : json_write_string(out, str_of(r->name));
    bad = bad ? bad : buf_addc(out, ':');
    if (versions) {
        bad = bad ? bad : buf_addf(out, "{\"version\":%lld,\"settings\":", r->version);
    }
    bad = bad ? bad : value_to_json(&r->settings, out);
    return !bad && versions ? buf_addc(out, '}') : bad;
}

int overlay_text(const struct overlay *o, struct buf *out) {
    bool first = true;
    int bad = buf_addc(out, '{');
    for (size_t i = 0; i < o->n && !bad; i++) {
        if (!is_empty(&o->routes[i].settings)) {
            bad = add_route(&o->routes[i], first, false, out);
            first = false;
        }
    }
    return bad ? -1 : buf_addc(out, '}');
}

static int document(const struct overlay *o, struct buf *out, struct err *err) {
    int bad = buf_addf(out, "{\"format\":%d,\"version\":%lld,\"routes\":{", FORMAT, o->version);
    for (size_t i = 0; i < o->n && !bad; i++) {
        bad = add_route(&o->routes[i], i == 0, true, out);
    }
    bad = bad ? bad : buf_adds(out, "}}\n");
    return bad ? err_set(err,
                         "the settings of all routes together have more than %zu bytes, or "
                         "memory is short",
                         MAX_OVERLAY)
               : 0;
}

/* A whole number, > 0 where it must be. */
static bool whole(const struct value *v, long long least, long long *out) {
    if (!v || v->type != VALUE_INT || v->as.i < least) {
        return false;
    }
    *out = v->as.i;
    return true;
}

static int read_route(struct overlay *o, const struct value_field *f, struct err *err) {
    const struct value *settings = value_field(&f->value, "settings");
    long long version = 0;
    if (!whole(value_field(&f->value, "version"), 1, &version) || !settings ||
        settings->type != VALUE_TABLE || settings->as.t.n_items) {
        return err_set(err, "route \"%.100s\": expected a \"version\" and \"settings\"", f->name);
    }
    struct overlay_route *r = entry(o, f->name, err);
    if (!r || value_copy(&r->settings, settings)) {
        return r ? err_set(err, "memory is short") : -1;
    }
    r->version = version;
    return 0;
}

/* Into an empty o; on -1 it may hold a part. */
static int read_document(struct overlay *o, struct str text, struct err *err) {
    struct value root;
    long long format = 0;
    int rc = 0;
    if (value_from_json(&root, text, err)) {
        return -1;
    }
    const struct value *routes = value_field(&root, "routes");
    if (!whole(value_field(&root, "format"), 1, &format) || format != FORMAT) {
        rc = err_set(err, "expected \"format\": %d; was it written by another version?", FORMAT);
    } else if (!whole(value_field(&root, "version"), 0, &o->version) || !routes ||
               routes->type != VALUE_TABLE || routes->as.t.n_items) {
        rc = err_set(err, "expected a \"version\" and \"routes\", an object");
    }
    for (size_t i = 0; rc == 0 && i < routes->as.t.n_fields; i++) {
        rc = read_route(o, &routes->as.t.fields[i], err);
    }
    value_release(&root);
    return rc;
}

/* Can what would be written be read again? */
static int check(const struct overlay *o, struct err *err) {
    struct overlay again;
    struct buf text;
    overlay_init(&again);
    buf_init(&text, MAX_OVERLAY);
    int rc = document(o, &text, err) || read_document(&again, buf_str(&text), err) ? -1 : 0;
    buf_release(&text);
    overlay_release(&again);
    return rc;
}

/* ---- changing ---- */

/* The settings are taken over. */
static int put(struct overlay *o, const char *route, struct value settings, struct err *err) {
    struct overlay_route *r = entry(o, route, err);
    if (!r) {
        value_release(&settings);
        return -1;
    }
    value_release(&r->settings);
    r->settings = settings;
    r->version = ++o->version;
    return 0;
}

static int set_in(struct overlay *o, const char *route, const struct value *settings,
                  struct err *err) {
    struct value copy = value_table();
    if (settings && settings->type != VALUE_NIL) {
        if (settings->type != VALUE_TABLE || settings->as.t.n_items) {
            return err_set(err, "settings are names and their values, found %s",
                           settings->type == VALUE_TABLE ? "a list" : value_type_name(settings));
        }
        if (value_copy(&copy, settings)) {
            return err_set(err, "memory is short");
        }
    }
    return put(o, route, copy, err);
}

int overlay_set(struct overlay *o, const char *route, const struct value *settings,
                struct err *err) {
    struct overlay next;
    if (overlay_copy(&next, o)) {
        return err_set(err, "memory is short");
    }
    if (set_in(&next, route, settings, err) || check(&next, err)) {
        overlay_release(&next);
        return -1;
    }
    overlay_release(o);
    *o = next;
    return 0;
}

static const struct value *settings_of(const struct overlay *o, const char *route) {
    static const struct value none = {.type = VALUE_TABLE};
    const struct overlay_route *r = overlay_find(o, route);
    return r ? &r->settings : &none;
}

int overlay_adopt(struct overlay *o, const struct overlay *kept, struct err *err) {
    for (size_t i = 0; i < kept->n; i++) {
        const char *name = kept->routes[i].name;
        if (!value_equal(settings_of(o, name), &kept->routes[i].settings) &&
            set_in(o, name, &kept->routes[i].settings, err)) {
            return -1;
        }
    }
    for (size_t i = 0; i < o->n; i++) {
        if (!overlay_find(kept, o->routes[i].name) && !is_empty(&o->routes[i].settings) &&
            put(o, o->routes[i].name, value_table(), err)) {
            return -1;
        }
    }
    return 0;
}

/* ---- over a configuration ---- */

static int put_over(struct value *settings, const struct value *overlay) {
    for (size_t i = 0; i < overlay->as.t.n_fields; i++) {
        const struct value_field *f = &overlay->as.t.fields[i];
        struct value copy;
        if (value_copy(&copy, &f->value) || value_set_field(settings, str_of(f->name), copy)) {
            return -1;
        }
    }
    return 0;
}

static int merge_route(struct config_route *r, const struct value *overlay) {
    if (r->settings.type != VALUE_TABLE) { /* a mistake of the file, told already */
        return 0;
    }
    return value_copy(&r->file_settings, &r->settings) || value_copy(&r->overlay, overlay) ||
                   put_over(&r->settings, overlay)
               ? -1
               : 0;
}

static struct config_route *route_named(struct config *c, const char *name) {
    for (size_t i = 0; i < c->n_routes; i++) {
        if (strcmp(c->routes[i].name, name) == 0) {
            return &c->routes[i];
        }
    }
    return NULL;
}

int overlay_merge(const struct overlay *o, const char *file, struct config *config,
                  struct diags *diags) {
    config->overlay_file = file ? strdup(file) : NULL;
    int rc = file && !config->overlay_file ? -1 : 0;
    for (size_t i = 0; i < o->n && rc == 0; i++) {
        const struct overlay_route *kept = &o->routes[i];
        struct config_route *r = route_named(config, kept->name);
        if (is_empty(&kept->settings)) {
            continue;
        }
        if (r) {
            rc = merge_route(r, &kept->settings);
        } else {
            diags_warn(diags, file ? file : "settings", 0,
                       "there is no route \"%s\" in %s: its settings wait until there is one; to "
                       "drop them: moongate unset %s",
                       kept->name, config->file, kept->name);
        }
    }
    if (rc) {
        diags_error(diags, config->file, 0, "memory is short");
    }
    return rc;
}

/* ---- on the disk ---- */

void overlay_path(const char *state_dir, char *out, size_t size) {
    snprintf(out, size, "%s/%s", state_dir, NAME);
}

int overlay_read(struct overlay *o, const char *state_dir, struct err *err) {
    char path[PATH_MAX];
    struct err why;
    struct buf text;
    overlay_path(state_dir, path, sizeof(path));
    buf_init(&text, MAX_OVERLAY);
    int rc = file_read(path, &text, err);
    if (rc == 1 && read_document(o, buf_str(&text), &why)) {
        overlay_release(o);
        rc = err_set(err,
                     "damaged: %s; edit this file, or move it away to go on with the settings of "
                     "gateway.lua alone",
                     why.text);
    }
    buf_release(&text);
    return rc < 0 ? -1 : 0;
}

int overlay_write(const struct overlay *o, const char *state_dir, struct err *err) {
    struct buf text;
    buf_init(&text, MAX_OVERLAY);
    int rc = document(o, &text, err) ? -1 : file_replace(state_dir, NAME, buf_str(&text), err);
    buf_release(&text);
    return rc;
}
