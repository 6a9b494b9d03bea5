/* SPDX-License-Identifier: MIT */
#include "admin/admin.h"

#include <stdlib.h>
#include <unistd.h>

#include "admin/admin_internal.h"
#include "base/jscan.h"
#include "net/conn.h"
#include "net/listener.h"

#define MAX_ADMIN_CONNECTIONS 256

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

struct page {
    const char *path;
    const char *type;
    bool needs_token;
    int (*write)(const struct admin_env *env, struct buf *out);
};

static int healthz(const struct admin_env *env, struct buf *out) {
    (void)env;
    return buf_adds(out, "ok\n");
}

static int readyz(const struct admin_env *env, struct buf *out) {
    return buf_adds(out, atomic_load(&env->gateway->draining) ? "draining\n" : "ready\n");
}

static const struct page PAGES[] = {
    {"/metrics", "text/plain; version=0.0.4; charset=utf-8", false, admin_metrics},
    {"/healthz", "text/plain", false, healthz},
    {"/readyz", "text/plain", false, readyz},
    {"/admin/status", "application/json", true, admin_status},
    {"/admin/targets", "application/json", true, admin_targets},
};

static const struct page *find_page(struct str path) {
    for (size_t i = 0; i < sizeof(PAGES) / sizeof(*PAGES); i++) {
        if (str_is(path, PAGES[i].path)) {
            return &PAGES[i];
        }
    }
    return NULL;
}

static void send(struct conn *conn, int status, const char *type, const struct buf *body) {
    struct headers headers;
    headers_init(&headers, 8, KIB(1));
    int bad = headers_add(&headers, STR("content-type"), str_of(type));
    bad |= headers_add(&headers, STR("cache-control"), STR("no-store"));
    bad |= status == 401 ? headers_add(&headers, STR("www-authenticate"), STR("Bearer")) : 0;
    conn_head(conn, bad ? 500 : status, &headers, (long long)body->len);
    conn_body(conn, body->data, body->len);
    conn_end(conn);
    headers_release(&headers);
}

static int write_error(struct buf *body, const char *code, const char *message) {
    int bad = buf_addf(body, "{\"error\":{\"code\":\"%s\",\"message\":", code);
    return bad | json_write_string(body, str_of(message)) | buf_adds(body, "}}\n");
}

static void send_error(struct conn *conn, int status, const char *code, const char *message) {
    struct buf body;
    buf_init(&body, KIB(2));
    if (write_error(&body, code, message) != 0) {
        buf_clear(&body);
    }
    send(conn, status, "application/json", &body);
    buf_release(&body);
}

static bool token_fits(const char *token, const struct http_request *r) {
    struct str given;
    unsigned char want[HASH_SIZE], got[HASH_SIZE];
    if (!headers_get(&r->headers, "authorization", &given) || given.n < 7 ||
        !str_case_eq(str_make(given.p, 7), STR("bearer "))) {
        return false;
    }
    hash_sha256(str_of(token), want);
    hash_sha256(str_trim(str_make(given.p + 7, given.n - 7)), got);
    return hash_equal(want, got, HASH_SIZE);
}

/* No token configured: open, which the configuration allows on loopback only. */
static bool authorised(const struct admin *a, const struct http_request *r) {
    struct generation *g = loader_current(a->env.loader);
    const char *token = generation_config(g)->admin_token;
    bool ok = !token || token_fits(token, r);
    generation_unref(g);
    return ok;
}

static void answer(struct admin *a, struct conn *conn, const struct http_request *r) {
    const struct page *page = find_page(r->path);
    bool for_admins = str_starts(r->path, "/admin/");
    if ((for_admins || (page && page->needs_token)) && !authorised(a, r)) {
        send_error(conn, 401, "unauthorised",
                   "this needs the admin token: Authorization: Bearer TOKEN");
        return;
    }
    if (!page) {
        send_error(conn, 404, "unknown_path",
                   "there is /metrics, /healthz, /readyz, /admin/status, /admin/targets");
        return;
    }
    if (!str_is(r->method, "GET") && !str_is(r->method, "HEAD")) {
        send_error(conn, 405, "method_not_allowed", "this can only be read: GET");
        return;
    }
    struct buf body;
    buf_init(&body, MAX_METRICS_TEXT);
    if (page->write(&a->env, &body) != 0) {
        send_error(conn, 500, "out_of_memory", "the answer is too large");
    } else {
        bool draining = page->write == readyz && atomic_load(&a->env.gateway->draining);
        send(conn, draining ? 503 : 200, page->type, &body);
    }
    buf_release(&body);
}

static void on_request(void *ctx, struct conn *conn, struct http_request *request) {
    struct admin_client *client = ctx;
    answer(client->admin, conn, request);
    http_request_free(request);
}

static void on_refuse(void *ctx, int status, const char *message, struct headers *headers,
                      struct buf *body) {
    (void)ctx;
    (void)status;
    if (write_error(body, "bad_request", message) != 0 ||
        headers_add(headers, STR("content-type"), STR("application/json")) != 0) {
        buf_clear(body);
    }
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

static const struct conn_ops OPS = {.request = on_request,
                                    .refuse = on_refuse,
                                    .gone = on_gone,
                                    .drained = on_gone,
                                    .closed = on_closed};

static void on_accept(void *ctx, int fd) {
    struct admin *a = ctx;
    struct admin_client *client =
        a->n_clients < MAX_ADMIN_CONNECTIONS ? calloc(1, sizeof(*client)) : NULL;
    if (!client) {
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
    }
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
