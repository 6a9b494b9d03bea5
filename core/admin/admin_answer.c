/* SPDX-License-Identifier: MIT */
/* Answers that recur: an error, the outcome of a load, diagnostics. */
#include <stdarg.h>
#include <stdio.h>

#include "admin/admin_internal.h"
#include "base/hash.h"

int admin_fail(struct admin_answer *a, int status, const char *code, const char *fmt, ...) {
    char text[KIB(2)];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    json_free(a->json);
    a->json = json_object();
    a->status = status;
    struct json *error = json_add_object(a->json, "error");
    json_add_str(error, "code", str_of(code));
    json_add_str(error, "message", str_of(text));
    return 0;
}

static void add_diag(struct json *list, const char *file, int line, const char *message) {
    struct json *one = json_push_object(list);
    json_add_str(one, "file", str_of(file));
    json_add_num(one, "line", line);
    json_add_str(one, "message", str_of(message));
}

void admin_add_diags(struct json *obj, const char *name, const struct diags *diags, bool warnings) {
    struct json *list = json_add_array(obj, name);
    for (size_t i = 0; i < diags->n; i++) {
        const struct diag *d = &diags->list[i];
        if (d->warning == warnings) {
            add_diag(list, d->file, d->line, d->message);
        }
    }
    if (diags->dropped && !warnings) {
        char text[64];
        snprintf(text, sizeof(text), "%zu more not shown", diags->dropped);
        add_diag(list, "", 0, text);
    }
}

static unsigned active(struct loader *l) {
    struct generation *now = loader_current(l);
    unsigned id = now ? generation_id(now) : 0;
    generation_unref(now); /* NULL is a no-op */
    return id;
}

static int refused(struct admin_request *r, struct admin_answer *a, const struct diags *diags) {
    a->status = 422;
    a->json = json_object();
    json_add_bool(a->json, "ok", false);
    json_add_num(a->json, "active", active(r->env->loader));
    admin_add_diags(a->json, "diagnostics", diags, false);
    admin_add_diags(a->json, "warnings", diags, true);
    return 0;
}

static int failed(struct admin_answer *a, const struct diags *diags) {
    const char *message = "the change could not be written to state_dir";
    for (size_t i = 0; i < diags->n; i++) {
        message = diags->list[i].warning ? message : diags->list[i].message;
    }
    return admin_fail(a, 500, "not_saved", "nothing changed: %s", message);
}

static int conflict(struct admin_request *r, struct admin_answer *a, const char *route) {
    long long version = loader_overlay_version(r->env->loader, route);
    admin_fail(a, 412, "version_conflict",
               "the settings of route '%s' have version %lld, which is not what If-Match names; "
               "read them again",
               route, version);
    json_add_num(a->json, "version", (double)version);
    a->etag = version;
    return 0;
}

int admin_loaded(struct admin_request *r, struct admin_answer *a, enum load_result result,
                 const struct diags *diags, const char *route) {
    struct loader *l = r->env->loader;
    a->audited = r->call->action != NULL;
    switch (result) {
    case LOAD_REFUSED:
        return refused(r, a, diags);
    case LOAD_FAILED:
        return failed(a, diags);
    case LOAD_CONFLICT:
        return conflict(r, a, route);
    case LOAD_UNKNOWN:
        return admin_fail(a, 404, route ? "unknown_route" : "unknown_generation",
                          "there is no %s '%s'%s", route ? "route" : "generation", r->part[0].data,
                          route ? "" : " any more: GET /admin/generations lists those kept");
    case LOAD_APPLIED:
    case LOAD_UNCHANGED:
        break;
    }
    a->json = json_object();
    json_add_bool(a->json, "ok", true);
    json_add_num(a->json, "active", active(l));
    if (r->call->action) {
        json_add_bool(a->json, "changed", result == LOAD_APPLIED);
    }
    if (route) {
        a->etag = loader_overlay_version(l, route);
        json_add_num(a->json, "version", (double)a->etag);
        json_add_bool(a->json, "persistent", loader_persistent(l));
    }
    admin_add_diags(a->json, "warnings", diags, true);
    return 0;
}

void admin_add_time(struct json *obj, const char *name, usec wall) {
    char when[32];
    if (!wall) {
        json_add_null(obj, name);
        return;
    }
    clock_format(wall, when, sizeof(when));
    json_add_str(obj, name, str_of(when));
}

void admin_add_hash(struct json *obj, const char *name, const unsigned char *hash) {
    enum { SHOWN = 8 }; /* bytes: enough to tell generations apart */
    char hex[SHOWN * 2 + 1];
    hash_hex(hash, SHOWN, hex);
    json_add_str(obj, name, str_of(hex));
}
