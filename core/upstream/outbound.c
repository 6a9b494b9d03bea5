/* SPDX-License-Identifier: MIT */
/*
 * See outbound.h. The lists of fields here are what keeps a client's secrets from providers and a
 * provider's from clients: what is on none of them passes.
 */
#include "upstream/outbound.h"

#include "base/limits.h"

/* ---- URL ---- */

/* Does the still encoded name read `name`? A client could else hide `key` as `%6bey`. */
static bool decodes_to(struct str encoded, const char *name) {
    size_t i = 0;
    for (; *name; name++, i++) {
        if (i >= encoded.n) {
            return false;
        }
        int escaped = percent_byte(encoded, i);
        if ((escaped < 0 ? encoded.p[i] : (char)escaped) != *name) {
            return false;
        }
        i += escaped < 0 ? 0 : 2;
    }
    return i == encoded.n;
}

static int add_encoded(struct buf *out, struct str s) {
    static const char digits[] = "0123456789ABCDEF";
    int rc = 0;
    for (size_t i = 0; i < s.n && rc == 0; i++) {
        unsigned char c = (unsigned char)s.p[i];
        bool plain = (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') ||
                     (c != '\0' && strchr("-._~", c));
        char escape[3] = {'%', digits[c >> 4], digits[c & 15]};
        rc = plain ? buf_addc(out, (char)c) : buf_add(out, escape, 3);
    }
    return rc;
}

static bool is_credential(const struct config_provider *p, struct str parameter) {
    struct str name;
    if (p->auth == AUTH_PASSTHROUGH || !str_split(&parameter, '=', &name)) {
        return false;
    }
    return decodes_to(name, "key") ||
           (p->auth == AUTH_QUERY && p->auth_name && decodes_to(name, p->auth_name));
}

static int add_parameter(struct buf *url, bool *first, struct str parameter) {
    int rc = buf_addc(url, *first ? '?' : '&');
    *first = false;
    return rc == 0 ? buf_add_str(url, parameter) : rc;
}

static int add_query(const struct config_provider *p, struct buf *url, bool *first,
                     struct str query, bool trusted) {
    struct str parameter;
    int rc = 0;
    while (rc == 0 && query.n > 0 && str_split(&query, '&', &parameter)) {
        if (trusted || !is_credential(p, parameter)) {
            rc = add_parameter(url, first, parameter);
        }
    }
    return rc;
}

/* A base URL may have a query of its own (Azure's api-version); it stays a query. */
static int join(const struct config_provider *p, const struct outbound *o, bool trusted,
                struct buf *url) {
    struct str rest = str_of(p->base_url), base;
    struct str key = o->key.n ? o->key : str_of(p->api_key);
    bool first = true;
    str_split(&rest, '?', &base);
    while (base.n > 0 && base.p[base.n - 1] == '/') { /* before a query */
        base.n--;
    }
    buf_clear(url);
    int rc = buf_add_str(url, base);
    rc = rc == 0 ? buf_add_str(url, o->path) : rc;
    rc = rc == 0 ? add_query(p, url, &first, rest, true) : rc;
    rc = rc == 0 ? add_query(p, url, &first, o->query, trusted) : rc;
    if (rc == 0 && p->auth == AUTH_QUERY && p->auth_name && key.n) {
        rc = add_parameter(url, &first, str_of(p->auth_name));
        rc = rc == 0 ? buf_addc(url, '=') : rc;
        rc = rc == 0 ? add_encoded(url, key) : rc;
    }
    return rc == 0 ? 0 : -1;
}

int outbound_fill_model(const char *path, struct str model, struct buf *out) {
    static const char place[] = "{model}";
    int rc = 0;
    for (const char *at; rc == 0 && (at = strstr(path, place)); path = at + sizeof place - 1) {
        rc = buf_add(out, path, (size_t)(at - path));
        rc = rc == 0 ? add_encoded(out, model) : rc;
    }
    return rc == 0 && buf_adds(out, path) == 0 ? 0 : -1;
}

/* The client's path below the prefix of the provider's that it has. */
static struct str cut_prefix(const struct config_provider *p, struct str path) {
    static const char *const v1[] = {"/v1", NULL};
    const char *const *prefix = p->prefixes ? (const char *const *)p->prefixes : v1;
    for (; *prefix; prefix++) {
        size_t n = strlen(*prefix);
        if (str_starts(path, *prefix) && (path.n == n || path.p[n] == '/')) {
            return str_make(path.p + n, path.n - n);
        }
    }
    return path;
}

/* The path with what the dialect puts before it, and the model in its place. */
static int build_path(const struct config_provider *p, const struct outbound *o, struct str rest,
                      struct buf *path) {
    int rc = p->pass && o->model.n ? outbound_fill_model(p->pass, o->model, path) : 0;
    if (rc == 0 && o->model.n && o->model_at.p && o->model_at.p >= rest.p) {
        const char *after = o->model_at.p + o->model_at.n;
        rc = buf_add(path, rest.p, (size_t)(o->model_at.p - rest.p));
        rc = rc == 0 ? add_encoded(path, o->model) : rc;
        rest = str_make(after, (size_t)(rest.p + rest.n - after));
    }
    return rc == 0 ? buf_add_str(path, rest) : rc;
}

int outbound_url(const struct config_provider *p, const struct outbound *o, struct buf *url) {
    struct outbound below = *o;
    struct buf path;
    below.path = cut_prefix(p, o->path);
    if (!p->pass && !o->model_at.p) {
        return join(p, &below, false, url);
    }
    buf_init(&path, url->max);
    int rc = build_path(p, o, below.path, &path);
    below.path = buf_str(&path);
    rc = rc == 0 ? join(p, &below, false, url) : -1;
    buf_release(&path);
    return rc;
}

int outbound_own_url(const struct config_provider *p, struct str path, struct str key,
                     struct buf *url) {
    struct str rest = path, bare;
    if (!str_split(&rest, '?', &bare)) {
        bare = path;
    }
    return join(p, &(struct outbound){.path = bare, .query = rest, .key = key}, true, url);
}

/* ---- Fields ---- */

static bool in(struct str name, const char *const *list) {
    for (; *list; list++) {
        if (str_case_is(name, *list)) {
            return true;
        }
    }
    return false;
}

static bool starts(struct str name, const char *prefix) {
    size_t n = strlen(prefix);
    return name.n >= n && str_case_eq(str_make(name.p, n), str_make(prefix, n));
}

/* Fields that are for the next hop only (RFC 9110, 7.6.1), and those that Connection says are. */
static bool hop_by_hop(const struct headers *h, struct str name) {
    static const char *const names[] = {
        "Connection", "Keep-Alive",     "TE", "Trailer", "Transfer-Encoding",
        "Upgrade",    "HTTP2-Settings", NULL};
    char terminated[128];
    if (in(name, names) || starts(name, "Proxy-")) {
        return true;
    }
    struct str unused;
    if (name.n >= sizeof terminated || !headers_get(h, "Connection", &unused)) {
        return false;
    }
    memcpy(terminated, name.p, name.n);
    terminated[name.n] = '\0';
    return headers_list_has(h, "Connection", terminated);
}

static bool for_provider(const struct config_provider *p, const struct headers *h,
                         struct str name) {
    static const char *const ours[] = {"Host",   "Content-Length", "Expect",    "Accept-Encoding",
                                       "Cookie", "Cookie2",        "Forwarded", NULL};
    static const char *const credentials[] = {"Authorization", "x-api-key", "x-goog-api-key",
                                              "api-key", NULL};
    if (in(name, ours) || starts(name, "X-Forwarded-") || starts(name, "x-moongate-") ||
        hop_by_hop(h, name)) {
        return false;
    }
    if (p->auth == AUTH_AWS && starts(name, "x-amz-")) {
        return false; /* our signature would say that it is ours */
    }
    return p->auth == AUTH_PASSTHROUGH || !in(name, credentials);
}

static int add_configured(const struct config_provider *p, struct headers *out) {
    if (p->headers.type != VALUE_TABLE) {
        return 0;
    }
    for (size_t i = 0; i < p->headers.as.t.n_fields; i++) {
        const struct value_field *f = &p->headers.as.t.fields[i];
        if (headers_set(out, str_of(f->name), value_str(&f->value)) != 0) {
            return -1;
        }
    }
    return 0;
}

/* What the provider's dialect wants to be said, where the client did not say it. */
static int add_fixed(const struct config_provider *p, struct headers *out) {
    struct str unused;
    if (p->fixed_headers.type != VALUE_TABLE) {
        return 0;
    }
    for (size_t i = 0; i < p->fixed_headers.as.t.n_fields; i++) {
        const struct value_field *f = &p->fixed_headers.as.t.fields[i];
        if (!headers_get(out, f->name, &unused) &&
            headers_add(out, str_of(f->name), value_str(&f->value)) != 0) {
            return -1;
        }
    }
    return 0;
}

static int add_bearer(struct str key, struct headers *out) {
    struct buf value;
    buf_init(&value, MAX_HEADER_BYTES);
    int rc = buf_adds(&value, "Bearer ");
    rc = rc == 0 ? buf_add_str(&value, key) : rc;
    rc = rc == 0 ? headers_set(out, STR("Authorization"), buf_str(&value)) : rc;
    buf_release(&value);
    return rc == 0 ? 0 : -1;
}

static int add_credential(const struct config_provider *p, struct str key, struct headers *out) {
    if (key.n == 0) {
        key = str_of(p->api_key);
    }
    if (key.n == 0) {
        return 0;
    }
    if (p->auth == AUTH_BEARER) {
        return add_bearer(key, out);
    }
    return p->auth == AUTH_HEADER && p->auth_name ? headers_set(out, str_of(p->auth_name), key) : 0;
}

int outbound_headers(const struct config_provider *p, const struct headers *client, struct str key,
                     struct headers *out) {
    headers_clear(out);
    for (size_t i = 0; i < client->n; i++) {
        struct header h = headers_at(client, i);
        if (for_provider(p, client, h.name) && headers_add(out, h.name, h.value) != 0) {
            return -1;
        }
    }
    /* The field that carries our key must not carry the client's, whatever its name; nor when we
     * have no key to put there. */
    if (p->auth == AUTH_HEADER && p->auth_name) {
        headers_remove(out, p->auth_name);
    }
    int bad = add_fixed(p, out) | add_configured(p, out);
    return bad ? -1 : add_credential(p, key, out);
}

int outbound_sign(const struct config_provider *p, const struct sigv4_request *request,
                  struct headers *out) {
    const struct config_aws *aws = &p->aws;
    struct sigv4_key key = {.access_key = str_of(aws->access_key),
                            .secret_key = str_of(aws->secret_key),
                            .session_token = str_of(aws->session_token),
                            .region = str_of(aws->region),
                            .service = str_of(aws->service)};
    return p->auth == AUTH_AWS ? sigv4_sign(&key, request, clock_wall(), out) : 0;
}

int inbound_headers(const struct headers *answer, struct headers *out) {
    static const char *const dropped[] = {"Content-Length", "Content-Encoding", "Set-Cookie",
                                          "Set-Cookie2", NULL};
    headers_clear(out);
    for (size_t i = 0; i < answer->n; i++) {
        struct header h = headers_at(answer, i);
        if (in(h.name, dropped) || starts(h.name, "x-moongate-") || hop_by_hop(answer, h.name)) {
            continue;
        }
        if (headers_add(out, h.name, h.value) != 0) {
            return -1;
        }
    }
    return 0;
}

struct str client_key(const struct headers *client) {
    struct str value;
    if (headers_get(client, "Authorization", &value) && starts(value, "Bearer ")) {
        value = str_trim(str_make(value.p + 7, value.n - 7));
        if (value.n > 0) {
            return value;
        }
    }
    if (headers_get(client, "x-api-key", &value) && value.n > 0) {
        return value;
    }
    if (headers_get(client, "x-goog-api-key", &value)) {
        return value;
    }
    return str_make(NULL, 0);
}
