/* SPDX-License-Identifier: MIT */
/*
 * The table of calls, and how a method and a path find one in it. openapi.json describes the same
 * table; a test holds the two together. Also the calls that are about no part of the gateway.
 */
#include "admin/admin_internal.h"

static const struct admin_call CALLS[] = {
    {"GET", "/metrics", "Counters and gauges in Prometheus' text format.", BODY_NONE, NULL,
     admin_metrics},
    {"GET", "/healthz", "Does the process live?", BODY_NONE, NULL, admin_healthz},
    {"GET", "/readyz", "Does it take new work? 503 while it drains.", BODY_NONE, NULL,
     admin_readyz},
    {"GET", "/admin/", "This list of calls.", BODY_NONE, NULL, admin_list_calls},
    {"GET", "/admin/status", "The generation in force, its policies, and what is under way.",
     BODY_NONE, NULL, admin_status},
    {"GET", "/admin/targets", "Facts on every target, suspensions and breakers among them.",
     BODY_NONE, NULL, admin_targets},
    {"POST", "/admin/targets/{target}/suspend", "Leave a target alone, for a time or for good.",
     BODY_OPTIONAL, "suspend", admin_suspend},
    {"POST", "/admin/targets/{target}/resume", "End a suspension of a target and its quota group.",
     BODY_OPTIONAL, "resume", admin_resume},
    {"GET", "/admin/routes", "Every route with its policy's schema and the settings in force.",
     BODY_NONE, NULL, admin_routes},
    {"GET", "/admin/routes/{name}", "One route.", BODY_NONE, NULL, admin_route},
    {"GET", "/admin/routes/{name}/settings", "A route's overlay and the settings in force.",
     BODY_NONE, NULL, admin_settings},
    {"PUT", "/admin/routes/{name}/settings", "Replace a route's overlay.", BODY_REQUIRED,
     "settings", admin_put_settings},
    {"DELETE", "/admin/routes/{name}/settings",
     "Drop a route's overlay: the file's settings count.", BODY_NONE, "settings",
     admin_delete_settings},
    {"DELETE", "/admin/routes/{name}/settings/{key}", "Drop one setting of a route's overlay.",
     BODY_NONE, "settings", admin_delete_setting},
    {"POST", "/admin/routes/{name}/failover", "Switch the failover of a route on or off.",
     BODY_REQUIRED, "settings", admin_failover},
    {"GET", "/admin/generations", "The generations kept, and the last load that was refused.",
     BODY_NONE, NULL, admin_generations},
    {"POST", "/admin/generations/{id}/activate", "Put a generation that is kept in force again.",
     BODY_OPTIONAL, "activate", admin_activate},
    {"POST", "/admin/reload", "Load the files anew and put them in force.", BODY_OPTIONAL, "reload",
     admin_reload},
    {"POST", "/admin/check", "Try the files as they are now; nothing changes.", BODY_OPTIONAL, NULL,
     admin_check},
};

/* Does the path fit the pattern? The longest part that fits is taken. */
static bool fits(const char *pattern, struct str path, struct str *parts) {
    const char *brace = strchr(pattern, '{');
    size_t literal = brace ? (size_t)(brace - pattern) : strlen(pattern);
    if (path.n < literal || memcmp(path.p, pattern, literal) != 0) {
        return false;
    }
    struct str rest = str_make(path.p + literal, path.n - literal);
    if (!brace) {
        return rest.n == 0;
    }
    const char *slash = rest.n ? memchr(rest.p, '/', rest.n) : NULL;
    bool deep = strncmp(brace, "{target}", 8) == 0;
    size_t longest = deep || !slash ? rest.n : (size_t)(slash - rest.p);
    const char *after = strchr(brace, '}') + 1;
    for (size_t n = longest; n > 0; n--) {
        if (fits(after, str_make(rest.p + n, rest.n - n), parts + 1)) {
            parts[0] = str_make(rest.p, n);
            return true;
        }
    }
    return false;
}

const struct admin_call *admin_find_call(struct str method, struct str path,
                                         struct str parts[ADMIN_PARTS], struct buf *allow) {
    struct str wanted = str_is(method, "HEAD") ? STR("GET") : method;
    path = str_is(path, "/admin") ? STR("/admin/") : path; /* as a person types it */
    for (size_t i = 0; i < sizeof(CALLS) / sizeof(*CALLS); i++) {
        struct str found[ADMIN_PARTS] = {{NULL, 0}, {NULL, 0}};
        if (!fits(CALLS[i].path, path, found)) {
            continue;
        }
        if (str_is(wanted, CALLS[i].method)) {
            memcpy(parts, found, sizeof(found));
            return &CALLS[i];
        }
        bool get = strcmp(CALLS[i].method, "GET") == 0;
        if (buf_addf(allow, "%s%s%s", allow->len ? ", " : "", CALLS[i].method,
                     get ? ", HEAD" : "") != BUF_OK) {
            return NULL;
        }
    }
    return NULL;
}

bool admin_decode(struct str s, bool plus, struct buf *out) {
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c == '%') {
            int escaped = percent_byte(s, i);
            if (escaped < 0) {
                return false;
            }
            c = (char)escaped;
            i += 2;
        } else if (c == '+' && plus) {
            c = ' ';
        }
        if (!c || buf_addc(out, c) != BUF_OK) {
            return false;
        }
    }
    return true;
}

int admin_list_calls(struct admin_request *r, struct admin_answer *a) {
    (void)r;
    a->json = json_object();
    struct json *list = json_add_array(a->json, "calls");
    for (size_t i = 0; i < sizeof(CALLS) / sizeof(*CALLS); i++) {
        struct json *call = json_push_object(list);
        json_add_str(call, "method", str_of(CALLS[i].method));
        json_add_str(call, "path", str_of(CALLS[i].path));
        json_add_str(call, "summary", str_of(CALLS[i].summary));
    }
    return 0;
}

int admin_healthz(struct admin_request *r, struct admin_answer *a) {
    (void)r;
    a->type = "text/plain";
    return buf_adds(&a->text, "ok\n");
}

int admin_readyz(struct admin_request *r, struct admin_answer *a) {
    bool draining = atomic_load(&r->env->gateway->draining);
    a->type = "text/plain";
    a->status = draining ? 503 : 200;
    return buf_adds(&a->text, draining ? "draining\n" : "ready\n");
}
