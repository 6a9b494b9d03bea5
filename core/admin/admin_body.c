/* SPDX-License-Identifier: MIT */
/*
 * Bodies of requests: JSON objects whose fields are known by name. Whatever is wrong with one is
 * answered with what was found and what is expected. Also who asks, and why.
 */
#include <stdio.h>

#include "admin/admin_internal.h"

static bool blank(struct str s) {
    for (size_t i = 0; i < s.n; i++) {
        if (!memchr(" \t\r\n", s.p[i], 4)) {
            return false;
        }
    }
    return true;
}

bool admin_read_body(struct admin_request *r, struct admin_answer *a) {
    struct str text = buf_str(&r->http->body);
    struct err err;
    if (blank(text)) {
        if (r->call->body == BODY_REQUIRED) {
            admin_fail(a, 400, "no_body", "this needs a body: a JSON object");
        }
        return r->call->body != BODY_REQUIRED;
    }
    if (r->call->body == BODY_NONE) {
        admin_fail(a, 400, "unexpected_body", "%s %s takes no body", r->call->method,
                   r->call->path);
        return false;
    }
    if (value_from_json(&r->body, text, &err) != 0) {
        admin_fail(a, 400, "bad_json", "the body: %s", err.text);
        return false;
    }
    if (r->body.type != VALUE_TABLE || r->body.as.t.n_items ||
        text.p[strspn(text.p, " \t\r\n")] != '{') {
        admin_fail(a, 400, "not_an_object", "the body is a %s, expected a JSON object",
                   r->body.type == VALUE_TABLE ? "list" : value_type_name(&r->body));
        return false;
    }
    return true;
}

static void add_names(const char *const *names, struct buf *out) {
    for (size_t i = 0; names[i]; i++) {
        if (buf_addf(out, "%s%s", i ? ", " : "", names[i]) != BUF_OK) {
            return;
        }
    }
}

bool admin_body_fields(const struct admin_request *r, struct admin_answer *a,
                       const char *const *names) {
    for (size_t i = 0; i < r->body.as.t.n_fields && r->body.type == VALUE_TABLE; i++) {
        const char *name = r->body.as.t.fields[i].name;
        size_t k = 0;
        while (names[k] && strcmp(names[k], name) != 0) {
            k++;
        }
        if (!names[k]) {
            const char *near = str_nearest(name, names);
            struct buf all;
            buf_init(&all, KIB(1));
            add_names(names, &all);
            admin_fail(a, 400, "unknown_field", "unknown field \"%.64s\"%s%s%s; there are: %s",
                       name, near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "",
                       all.data);
            buf_release(&all);
            return false;
        }
    }
    return true;
}

static bool wrong(struct admin_answer *a, const char *name, const struct value *v,
                  const char *expected) {
    const char *found = v->type == VALUE_TABLE ? "list or object" : value_type_name(v);
    admin_fail(a, 400, "wrong_type", "%s: found a %s, expected %s", name, found, expected);
    return false;
}

bool admin_body_number(const struct admin_request *r, struct admin_answer *a, const char *name,
                       double *out) {
    const struct value *v = value_field(&r->body, name);
    return !v || value_number(v, out) || wrong(a, name, v, "a number");
}

bool admin_body_bool(const struct admin_request *r, struct admin_answer *a, const char *name,
                     bool *out) {
    const struct value *v = value_field(&r->body, name);
    if (v && v->type != VALUE_BOOL) {
        return wrong(a, name, v, "true or false");
    }
    *out = v ? v->as.b : *out;
    return true;
}

/* One line without secrets, whatever was sent: it comes to stand in logs. -1: memory. */
static int tidy(const struct config *c, struct str text, struct buf *out) {
    if (buf_add_str(out, text) != BUF_OK) {
        return -1;
    }
    config_mask(c, out);
    for (char *p = out->data; *p; p++) {
        *p = (unsigned char)*p < ' ' || *p == 127 ? ' ' : *p;
    }
    return 0;
}

bool admin_body_text(const struct admin_request *r, struct admin_answer *a, const char *name,
                     char *out, size_t size) {
    const struct value *v = value_field(&r->body, name);
    if (!v) {
        return true;
    }
    if (v->type != VALUE_STR) {
        return wrong(a, name, v, "a text");
    }
    struct buf text;
    buf_init(&text, MAX_ADMIN_BODY);
    bool fits = tidy(r->config, value_str(v), &text) == 0 && text.len < size;
    if (fits) {
        str_copy(out, size, buf_str(&text));
    } else {
        admin_fail(a, 400, "too_long", "%s: found %zu bytes, expected at most %zu", name,
                   value_str(v).n, size - 1);
    }
    buf_release(&text);
    return fits;
}

/* The value of `why` in the query. */
static bool query_why(struct str query, struct buf *out) {
    struct str pair;
    while (str_split(&query, '&', &pair)) {
        if (str_starts(pair, "why=")) {
            return admin_decode(str_make(pair.p + 4, pair.n - 4), true, out);
        }
    }
    return false;
}

void admin_read_cause(struct admin_request *r) {
    struct str why = value_str(value_field(&r->body, "why"));
    struct buf decoded, text;
    snprintf(r->who, sizeof(r->who), "admin %s%s", r->rights == ADMIN_READER ? "(read) " : "",
             r->http->peer);
    buf_init(&decoded, MAX_REQUEST_LINE);
    if (query_why(r->http->query, &decoded)) {
        why = buf_str(&decoded);
    } else if (!why.n) {
        headers_get(&r->http->headers, "x-moongate-why", &why);
    }
    buf_init(&text, MAX_ADMIN_BODY);
    if (tidy(r->config, why, &text) == 0) { /* before it is cut: half a secret is one, too */
        str_copy(r->why, sizeof(r->why), buf_str(&text));
    }
    buf_release(&text);
    buf_release(&decoded);
}
