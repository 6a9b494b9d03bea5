/* SPDX-License-Identifier: MIT */
/*
 * The listener, its connections, and the way of a request: whose token, which call, its body, the
 * answer, the audit line.
 */
#include "admin/admin.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "admin/admin_internal.h"
#include "net/conn.h"
#include "net/listener.h"

static const char TOKEN_WANTED[] =
    "this needs an admin token: Authorization: Bearer TOKEN; where none is configured, a loopback "
    "address or localhost in the address that is called";

struct admin_client {
    struct admin *admin;
    struct conn *conn;
    struct admin_client *next, *prev;
};

struct admin {
    struct admin_env env;
    struct event_base *base;
    struct listener *listener;
    struct conn_limits limits;
    struct admin_client *clients;
    size_t n_clients;
};

/* ---- answers ---- */

static int add_headers(struct headers *h, const struct admin_answer *a) {
    char tag[32];
    const char *type = a->json ? "application/json" : a->type;
    int bad = headers_add(h, STR("content-type"), str_of(type));
    bad |= headers_add(h, STR("cache-control"), STR("no-store"));
    bad |= a->status == 401 ? headers_add(h, STR("www-authenticate"), STR("Bearer")) : 0;
    bad |= a->allow ? headers_add(h, STR("allow"), str_of(a->allow)) : 0;
    if (a->etag >= 0) {
        snprintf(tag, sizeof(tag), "\"%lld\"", a->etag);
        bad |= headers_add(h, STR("etag"), str_of(tag));
    }
    return bad;
}

static void send(struct conn *conn, const struct admin_answer *a, const struct buf *body) {
    struct headers headers;
    headers_init(&headers, 8, KIB(2));
    int bad = add_headers(&headers, a);
    conn_head(conn, bad ? 500 : a->status, &headers, (long long)body->len);
    conn_body(conn, body->data, body->len);
    conn_end(conn);
    headers_release(&headers);
}

/* The answer's JSON as it is sent: with no secret in it. */
static int print(struct admin_answer *a, const struct config *c, struct buf *out) {
    struct json_texts masks = config_masks(c);
    if (!a->json || json_change_texts(a->json, &masks) != 0 || json_print(a->json, out) != BUF_OK) {
        return -1;
    }
    return buf_addc(out, '\n');
}

static void finish(struct conn *conn, struct admin_answer *a, const struct config *c) {
    struct buf body;
    if (a->type && !a->json) {
        send(conn, a, &a->text);
        return;
    }
    buf_init(&body, MAX_ADMIN_ANSWER);
    if (print(a, c, &body) != 0) {
        buf_clear(&body);
        admin_fail(a, 500, "out_of_memory", "the answer is too large");
        if (print(a, c, &body) != 0) {
            buf_clear(&body);
        }
    }
    send(conn, a, &body);
    buf_release(&body);
}

/* ---- requests ---- */

static void audit(const struct admin_request *r, const struct admin_answer *a) {
    const char *result = a->status < 400 ? "applied" : a->status == 412 ? "conflict" : "refused";
    struct audit_entry entry = {.who = r->who,
                                .why = r->why,
                                .action = r->call->action,
                                .object = r->part[0].data,
                                .before = a->before.len ? a->before.data : NULL,
                                .after = a->after.len ? a->after.data : NULL,
                                .result = result};
    loader_audit(r->env->loader, &entry);
}

static bool decode_parts(struct admin_request *r, struct admin_answer *a, const struct str *parts) {
    for (size_t i = 0; i < ADMIN_PARTS; i++) {
        if (!admin_decode(parts[i], false, &r->part[i])) {
            admin_fail(a, 400, "bad_path", "the path is not percent-encoded as it should be");
            return false;
        }
    }
    return true;
}

/* 404 or 405. */
static void no_call(const struct admin_request *r, struct admin_answer *a,
                    const struct buf *allow) {
    if (!allow->len) {
        admin_fail(a, 404, "unknown_path", "there is no such path; GET /admin/ lists all calls");
        return;
    }
    a->allow = allow->data;
    admin_fail(a, 405, "method_not_allowed", "%.*s is not possible here: %s",
               (int)(r->http->method.n < 32 ? r->http->method.n : 32), r->http->method.p,
               allow->data);
}

static void run(struct admin_request *r, struct admin_answer *a, const struct str *parts) {
    bool reads = strcmp(r->call->method, "GET") == 0;
    bool decoded = decode_parts(r, a, parts);
    if (decoded && r->rights < ADMIN_FULL && !reads) {
        admin_read_cause(r);
        admin_fail(a, 403, "read_only_token", "this token may only look: GET");
    } else if (decoded && !reads && admin_cross_origin(&r->http->headers)) {
        admin_read_cause(r);
        admin_fail(a, 403, "cross_origin", "a page of another origin may change nothing");
    } else if (decoded && (reads || admin_read_body(r, a))) {
        admin_read_cause(r);
        if (r->call->handle(r, a) != 0) {
            admin_fail(a, 500, "out_of_memory", "the answer is too large, or memory is short");
        }
    } else {
        admin_read_cause(r);
    }
    if (r->call->action && !a->audited) {
        audit(r, a);
    }
}

static bool for_admins(struct str path) {
    return str_starts(path, "/admin/") || str_is(path, "/admin");
}

static void judge(struct admin_request *r, struct admin_answer *a, struct buf *allow) {
    struct str parts[ADMIN_PARTS] = {{NULL, 0}, {NULL, 0}};
    r->rights =
        for_admins(r->http->path) ? admin_rights_of(r->config, &r->http->headers) : ADMIN_FULL;
    if (r->rights == ADMIN_NOBODY) {
        admin_fail(a, 401, "unauthorised", "%s", TOKEN_WANTED);
        return;
    }
    r->call = admin_find_call(r->http->method, r->http->path, parts, allow);
    if (r->call) {
        run(r, a, parts);
    } else {
        no_call(r, a, allow);
    }
}

static void answer(struct admin *admin, struct conn *conn, const struct http_request *http) {
    struct admin_request r = {.env = &admin->env, .http = http};
    struct admin_answer a = {.status = 200, .etag = -1};
    struct buf allow;
    buf_init(&allow, 128);
    buf_init(&a.text, MAX_METRICS_TEXT);
    buf_init(&a.before, MAX_ADMIN_BODY);
    buf_init(&a.after, MAX_ADMIN_BODY);
    for (size_t i = 0; i < ADMIN_PARTS; i++) {
        buf_init(&r.part[i], MAX_REQUEST_LINE);
    }
    r.now = loader_current(admin->env.loader);
    r.config = generation_config(r.now);
    judge(&r, &a, &allow);
    struct generation *last = loader_current(admin->env.loader);
    finish(conn, &a, generation_config(last)); /* a load may have brought new secrets */
    generation_unref(last);
    generation_unref(r.now);
    for (size_t i = 0; i < ADMIN_PARTS; i++) {
        buf_release(&r.part[i]);
    }
    value_release(&r.body);
    json_free(a.json);
    buf_release(&a.after);
    buf_release(&a.before);
    buf_release(&a.text);
    buf_release(&allow);
}

/* ---- connections ---- */

static void on_request(void *ctx, struct conn *conn, struct http_request *request) {
    struct admin_client *client = ctx;
    answer(client->admin, conn, request);
    http_request_free(request);
}

/* A body is read from those only who may send one. */
static int on_head(void *ctx, const struct http_head *head, const struct headers *headers) {
    struct admin_client *client = ctx;
    if (head->body == HTTP_BODY_NONE || !for_admins(head->path)) {
        return 0;
    }
    struct generation *now = loader_current(client->admin->env.loader);
    bool known = admin_rights_of(generation_config(now), headers) != ADMIN_NOBODY;
    generation_unref(now);
    return known ? 0 : 401;
}

static const char *code_of(int status) {
    switch (status) {
    case 401:
        return "unauthorised";
    case 408:
        return "timeout";
    case 413:
        return "too_large";
    default:
        return "bad_request";
    }
}

static void on_refuse(void *ctx, int status, const char *message, struct headers *headers,
                      struct buf *body) {
    struct admin_answer a = {.status = status, .etag = -1};
    (void)ctx;
    admin_fail(&a, status, code_of(status), "%s", status == 401 ? TOKEN_WANTED : message);
    if (json_print(a.json, body) != BUF_OK || add_headers(headers, &a) != 0) {
        buf_clear(body);
    }
    json_free(a.json);
}

static void on_gone(void *ctx, struct conn *conn, void *request_ctx) {
    (void)ctx; /* answers are written in the request's own turn: nothing waits */
    (void)conn;
    (void)request_ctx;
}

static void on_closed(void *ctx, struct conn *conn) {
    struct admin_client *client = ctx;
    struct admin *a = client->admin;
    (void)conn;
    *(client->prev ? &client->prev->next : &a->clients) = client->next;
    if (client->next) {
        client->next->prev = client->prev;
    }
    a->n_clients--;
    free(client);
}

static void on_tls_failed(void *ctx, const char *peer, const char *reason, const char *why) {
    const struct admin_client *client = ctx;
    (void)reason;
    log_debug(&client->admin->env.gateway->log, "admin: TLS handshake with %s failed: %s", peer,
              why);
}

static const struct conn_ops OPS = {.request = on_request,
                                    .head = on_head,
                                    .refuse = on_refuse,
                                    .tls_failed = on_tls_failed,
                                    .gone = on_gone,
                                    .drained = on_gone,
                                    .closed = on_closed};

/* With the certificate of the generation in force. */
static void start_tls(struct admin_client *client) {
    struct generation *now = loader_current(client->admin->env.loader);
    struct tls_server *tls = now ? generation_config(now)->admin_tls : NULL;
    bool failed = tls && conn_start_tls(client->conn, tls) != 0;
    if (failed) {
        conn_kill(client->conn);
    }
    generation_unref(now);
}

static void on_accept(void *ctx, int fd) {
    struct admin *a = ctx;
    struct admin_client *client =
        a->n_clients < MAX_ADMIN_CONNECTIONS ? calloc(1, sizeof(*client)) : NULL;
    if (!client) {
        atomic_fetch_add(&a->env.gateway->admin_refused, 1);
        close(fd);
        return;
    }
    client->admin = a;
    client->next = a->clients;
    if (client->next) {
        client->next->prev = client;
    }
    a->clients = client;
    a->n_clients++;
    client->conn = conn_new(a->base, fd, &OPS, client, &a->limits);
    if (!client->conn) {
        on_closed(client, NULL);
        return;
    }
    start_tls(client);
}

struct admin *admin_new(struct event_base *base, int fd, const struct admin_env *env) {
    struct admin *a = calloc(1, sizeof(*a));
    if (!a) {
        close(fd);
        return NULL;
    }
    a->env = *env;
    a->base = base;
    a->limits = (struct conn_limits){.body = MAX_ADMIN_BODY,
                                     .header_time = 10 * USEC_PER_SEC,
                                     .body_time = 10 * USEC_PER_SEC,
                                     .idle_time = 60 * USEC_PER_SEC,
                                     .write_time = 30 * USEC_PER_SEC};
    a->listener = listener_new(base, fd, on_accept, a);
    if (!a->listener) {
        free(a);
        return NULL;
    }
    return a;
}

struct listener *admin_listener(const struct admin *a) {
    return a->listener;
}

static void nothing_left(void *ctx) {
    (void)ctx;
}

void admin_leave(struct admin *a, usec grace) {
    struct admin_client *next;
    for (struct admin_client *c = a->clients; c; c = next) {
        next = c->next;
        conn_drain(c->conn, grace);
    }
    listener_drain(a->listener, nothing_left);
}

void admin_free(struct admin *a) {
    if (!a) {
        return;
    }
    listener_free(a->listener);
    while (a->clients) {
        conn_kill(a->clients->conn);
    }
    free(a);
}
