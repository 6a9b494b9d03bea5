/* SPDX-License-Identifier: MIT */
/*
 * One worker of a real gateway on the test's own thread: its loop, real policies from a folder of
 * the test's own, clients over socket pairs, providers played through a scripted transport. Ends
 * with the checks that every test needs: no exchange, transfer, slot, attempt in flight or Lua run
 * is left. All waits end with a deadline and a failure.
 */
#ifndef SUPPORT_GATEWAY_WORLD_H
#define SUPPORT_GATEWAY_WORLD_H

#include <errno.h>
#include <event2/event.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bind/bind.h"
#include "gateway/exchange.h"
#include "gateway/reload.h"

#include "config_files.h"
#include "scripted_transport.h"

#define WORLD_CLIENTS 64
#define WORLD_DEADLINE (90 * USEC_PER_SEC)

/* Providers "a", "b" and "c"; the first of them with more fields. The one route runs
 * policies/own.lua over the targets a/m, b/m and c/m. A test may have one of its own. */
#ifndef WORLD_CONFIG
#define WORLD_CONFIG                                                                               \
    "return { listen = '127.0.0.1:0', workers = 1, log = { level = 'debug' }, providers = {\n"     \
    "  a = { dialect = 'openai', base_url = 'http://a.test/v1', api_key = 'sk-aaaaaa' %s },\n"     \
    "  b = { dialect = 'openai', base_url = 'http://b.test/v1', api_key = 'sk-bbbbbb' },\n"        \
    "  c = { dialect = 'openai', base_url = 'http://c.test/v1', api_key = 'sk-cccccc' } },\n"      \
    "  routes = { { name = 'chat', path = '/v1/*', policy = '%s',\n"                               \
    "    settings = { targets = { 'a/m', 'b/m', 'c/m' } } } } }\n"
#endif
#define WORLD_POLICY                                                                               \
    "local moongate = require 'moongate'\n"                                                        \
    "return { name = 'own', settings = { targets = { type = 'targets' } },\n"                      \
    "  handle = function(req, settings)\n%s\n  end }\n"

#define JSON_HEAD "content-type: application/json\n"
#define STREAM_HEAD "content-type: text/event-stream\n"
#define GOOD_BODY                                                                                  \
    "{\"id\":\"x\",\"object\":\"chat.completion\",\"choices\":[{\"index\":0,\"message\":"          \
    "{\"role\":\"assistant\",\"content\":\"hi\"},\"finish_reason\":\"stop\"}]}"
#define ERROR_BODY "{\"error\":{\"message\":\"boom\",\"type\":\"server_error\",\"code\":null}}"
#define ROLE_EVENT                                                                                 \
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n"
#define WORD_EVENT(word)                                                                           \
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"" word "\"}}]}\n\n"
#define FINISH_EVENT                                                                               \
    "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
#define DONE_EVENT "data: [DONE]\n\n"
#define ASK_PLAIN "{\"model\":\"gpt\",\"messages\":[]}"
#define ASK_STREAM "{\"model\":\"gpt\",\"stream\":true,\"messages\":[]}"

struct world_client {
    struct world *world;
    struct conn *conn; /* NULL once closed */
    int fd;            /* the client's end; -1: closed */
    bool eof;
    struct buf got;
};

struct world {
    struct folder *folder;
    struct gateway g;
    struct worker w;
    struct worker *workers[1];
    struct loader loader;
    struct bind_host host;
    struct scripted up;
    struct world_client clients[WORLD_CLIENTS];
    size_t n_clients;
    struct buf access, log; /* all lines so far */
};

/* What a client has got: read again at each look. */
struct world_answer {
    int status; /* 0: no head yet */
    struct str head;
    struct buf body; /* without the framing */
    bool whole;      /* its framing ended: the last chunk came, or all of the length */
};

/* ---- the client's connection, as a worker does it ---- */

static void world_request(void *ctx, struct conn *conn, struct http_request *request) {
    struct world_client *c = ctx;
    exchange_begin(&c->world->w, conn, request);
}

static void world_refuse(void *ctx, int status, const char *message, struct headers *headers,
                         struct buf *body) {
    (void)ctx;
    (void)headers;
    (void)body;
    fail_msg("the connection refused a request: %d %s", status, message);
}

static void world_gone(void *ctx, struct conn *conn, void *request_ctx) {
    (void)ctx;
    (void)conn;
    exchange_gone(request_ctx);
}

static void world_drained(void *ctx, struct conn *conn, void *request_ctx) {
    (void)ctx;
    (void)conn;
    exchange_drained(request_ctx);
}

static void world_closed(void *ctx, struct conn *conn) {
    struct world_client *c = ctx;
    assert_ptr_equal(conn, c->conn);
    c->conn = NULL;
}

static const struct conn_ops WORLD_OPS = {.request = world_request,
                                          .refuse = world_refuse,
                                          .gone = world_gone,
                                          .drained = world_drained,
                                          .closed = world_closed};

static inline struct world_client *world_connect(struct world *world) {
    int fds[2];
    assert_true(world->n_clients < WORLD_CLIENTS);
    struct world_client *c = &world->clients[world->n_clients++];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    evutil_make_socket_nonblocking(fds[1]);
    c->world = world;
    c->fd = fds[0];
    buf_init(&c->got, MIB(64));
    worker_generation(&world->w); /* limits as they are now */
    c->conn = conn_new(world->w.base, fds[1], &WORLD_OPS, c, &world->w.limits);
    assert_non_null(c->conn);
    return c;
}

static inline void client_send(struct world_client *c, const char *path, const char *fields,
                               const char *body) {
    struct buf text;
    buf_init(&text, MIB(1));
    assert_int_equal(buf_addf(&text,
                              "POST %s HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
                              "content-length: %zu\r\n%s\r\n%s",
                              path, strlen(body), fields, body),
                     BUF_OK);
    assert_int_equal(send(c->fd, text.data, text.len, MSG_NOSIGNAL), (ssize_t)text.len);
    buf_release(&text);
}

static inline void client_ask(struct world_client *c, const char *body) {
    client_send(c, "/v1/chat/completions", "", body);
}

static inline void client_read(struct world_client *c) {
    char block[65536];
    while (c->fd >= 0 && !c->eof) {
        ssize_t n = recv(c->fd, block, sizeof(block), MSG_DONTWAIT);
        if (n > 0) {
            assert_int_equal(buf_add(&c->got, block, (size_t)n), BUF_OK);
            continue;
        }
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            return;
        }
        c->eof = true;
    }
}

static inline void client_leave(struct world_client *c) {
    close(c->fd);
    c->fd = -1;
}

static inline void unchunk(struct str in, struct world_answer *out) {
    while (in.n) {
        char *end;
        const char *line = memchr(in.p, '\n', in.n);
        if (!line) {
            return;
        }
        size_t size = strtoul(in.p, &end, 16);
        size_t head = (size_t)(line - in.p) + 1;
        if (size == 0) {
            out->whole = in.n >= head + 2;
            return;
        }
        size_t there = in.n - head < size ? in.n - head : size;
        assert_int_equal(buf_add(&out->body, in.p + head, there), BUF_OK);
        if (in.n < head + size + 2) {
            return;
        }
        in = str_make(in.p + head + size + 2, in.n - head - size - 2);
    }
}

/* The (first) answer that the client has; the body is the caller's to release. */
static inline struct world_answer client_answer(struct world_client *c) {
    struct world_answer a = {0};
    buf_init(&a.body, MIB(64));
    client_read(c);
    const char *end = strstr(c->got.data, "\r\n\r\n");
    if (!end) {
        return a;
    }
    a.head = str_make(c->got.data, (size_t)(end - c->got.data) + 2);
    a.status = (int)strtol(c->got.data + strlen("HTTP/1.1 "), NULL, 10);
    struct str rest = str_make(end + 4, c->got.len - a.head.n - 2);
    const char *length = strcasestr(c->got.data, "\r\ncontent-length:");
    if (length && length < end) {
        size_t n = strtoul(length + strlen("\r\ncontent-length:"), NULL, 10);
        a.whole = rest.n >= n;
        assert_int_equal(buf_add(&a.body, rest.p, rest.n < n ? rest.n : n), BUF_OK);
    } else {
        unchunk(rest, &a);
    }
    return a;
}

static inline bool client_has(struct world_client *c, const char *text) {
    client_read(c);
    return memmem(c->got.data, c->got.len, text, strlen(text)) != NULL;
}

static inline bool client_whole(struct world_client *c) {
    struct world_answer a = client_answer(c);
    buf_release(&a.body);
    return a.whole;
}

/* ---- the world ---- */

static inline void world_turn(struct world *world) {
    event_base_loop(world->w.base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
}

static inline void world_pump(struct world *world) {
    struct timeval tick = {.tv_usec = 2000};
    event_base_loopexit(world->w.base, &tick);
    event_base_loop(world->w.base, EVLOOP_ONCE);
}

/* Lets the loop do all that it has to do now. */
static inline void world_settle(struct world *world) {
    for (int i = 0; i < 8; i++) {
        world_turn(world);
    }
}

#define WORLD_WAIT(world, condition)                                                               \
    do {                                                                                           \
        usec until_ = clock_now() + WORLD_DEADLINE;                                                \
        while (!(condition)) {                                                                     \
            if (clock_now() > until_) {                                                            \
                fail_msg("waited in vain for %s; log: %.800s; access: %.800s", #condition,         \
                         (world)->log.data, (world)->access.data);                                 \
            }                                                                                      \
            world_pump(world);                                                                     \
        }                                                                                          \
    } while (0)

static void world_access(void *ctx, const char *line, size_t n) {
    struct world *world = ctx;
    assert_int_equal(buf_add(&world->access, line, n) | buf_addc(&world->access, '\n'), BUF_OK);
}

static void world_log(void *ctx, enum log_level level, const char *line) {
    struct world *world = ctx;
    assert_int_equal(buf_addf(&world->log, "%s: %s\n", log_level_name(level), line), BUF_OK);
}

static inline void world_write_config(struct world *world, const char *provider,
                                      const char *policy) {
    char text[4096];
    snprintf(text, sizeof(text), WORLD_CONFIG, provider, policy);
    folder_write(world->folder, "gateway.lua", text);
}

static inline void world_write_policy(struct world *world, const char *handle) {
    char text[16384];
    assert_true((size_t)snprintf(text, sizeof(text), WORLD_POLICY, handle) < sizeof(text));
    folder_write(world->folder, "policies/own.lua", text);
}

/* `provider`: more fields of provider a (", max_inflight = 1"); `handle`: the body of the handler.
 */
static inline struct world *world_new(struct folder *folder, const char *provider,
                                      const char *handle) {
    const char *const library[] = {".", NULL};
    struct world *world = calloc(1, sizeof(*world));
    struct diags diags;
    struct err err = {""};
    assert_non_null(world);
    world->folder = folder;
    buf_init(&world->access, MIB(16));
    buf_init(&world->log, MIB(16));
    world_write_config(world, provider, "own");
    world_write_policy(world, handle);
    log_init(&world->g.log, world_log, world, LOG_LEVEL_DEBUG);
    world->g.access = world_access;
    world->g.access_ctx = world;
    world->g.bindings = &bind_bindings;
    world->host.gateway = &world->g;
#ifdef WORLD_FUNCTIONS /* of moongate.host */
    world->host.functions = WORLD_FUNCTIONS;
    world->host.n_functions = sizeof(WORLD_FUNCTIONS) / sizeof(*WORLD_FUNCTIONS);
#endif
    world->g.env =
        (struct policy_env){.modules = bind_modules, .host = &world->host, .log = &world->g.log};
    world->workers[0] = &world->w;
    world->g.workers = world->workers;
    world->g.n_workers = 1;
    char *file = folder_path(folder, "gateway.lua");
    assert_int_equal(state_init(&world->g.state), 0);
    assert_int_equal(loader_init(&world->loader, &world->g, file, library), 0);
    free(file);
    diags_init(&diags);
    struct generation *first = loader_stage(&world->loader, 1, &diags);
    if (!first) {
        fail_msg("no generation: %s", diags.n ? diags.list[0].message : "?");
    }
    diags_release(&diags);
    scripted_init(&world->up);
    if (worker_init(&world->w, &world->g, 0, NULL, &world->up.base, &err) != 0) {
        fail_msg("no worker: %s", err.text);
    }
    loader_publish_first(&world->loader, first);
    worker_generation(&world->w); /* as moongate_start.c does before it starts a worker */
    return world;
}

/* Somebody asks, gets this body, and leaves without a trace. */
static inline void world_expect_answer(struct world *world, const char *body) {
    struct world_client *c = world_connect(world);
    client_ask(c, ASK_PLAIN);
    WORLD_WAIT(world, client_whole(c));
    struct world_answer a = client_answer(c);
    assert_string_equal(a.body.data, body);
    buf_release(&a.body);
    client_leave(c);
    WORLD_WAIT(world, !c->conn);
    buf_release(&c->got);
    world->n_clients--;
}

static inline struct target_facts world_facts(struct world *world, const char *target) {
    struct target_facts facts;
    targets_facts(world->g.state.targets, str_of(target), STR(""), &facts);
    return facts;
}

/* `max` and `queue` as configured: asking sets them. */
static inline struct slots_stats world_slots(struct world *world, const char *name, int max,
                                             int queue) {
    struct slots_stats stats;
    slots_stats(slots_get(world->g.state.slots, str_of(name), max, queue), &stats);
    return stats;
}

static inline struct lane *world_lane(struct world *world) {
    return generation_lane(worker_generation(&world->w), 0);
}

/* No timer, attempt, transfer, coroutine or Lua value is held by any request. */
static inline void world_check_counts(struct world *world) {
    struct lane_stats lane;
    struct slots_stats slots;
    lane_stats(world_lane(world), &lane);
    slots_table_stats(world->g.state.slots, &slots);
    assert_int_equal(count_get(world->w.timers.joined), 0);
    assert_int_equal(count_get(world->w.n_attempts), 0);
    assert_int_equal(count_get(world->w.n_translations), 0);
    assert_int_equal(pool_used(&world->g.memory), 0);
    assert_int_equal(world->up.live, 0);
    assert_int_equal(lane.coroutines, 0);
    assert_int_equal(lane.references, 0);
    assert_int_equal(slots.inflight, 0);
    assert_int_equal(slots.queued, 0);
}

static inline size_t world_runs(struct world *world) {
    struct lane_stats stats;
    lane_stats(world_lane(world), &stats);
    return stats.runs;
}

/* Nothing of any request is left. */
static inline void world_check_idle(struct world *world) {
    static const char *const names[] = {"a/m", "b/m", "c/m"};
    assert_null(world->w.exchanges);
    assert_int_equal(atomic_load(&world->w.n_exchanges), 0);
    assert_null(world->w.ready);
    assert_int_equal(world_runs(world), 0);
    for (size_t i = 0; i < 3; i++) {
        char provider[2] = {names[i][0], '\0'};
        struct slots_stats slots = world_slots(world, provider, 1024, 256);
        assert_int_equal(world_facts(world, names[i]).inflight, 0);
        assert_int_equal(slots.inflight, 0);
        assert_int_equal(slots.queued, 0);
    }
}

static inline void world_free(struct world *world) {
    for (size_t i = 0; i < world->n_clients; i++) {
        struct world_client *c = &world->clients[i];
        if (c->fd >= 0) {
            client_leave(c);
        }
        WORLD_WAIT(world, !c->conn);
        buf_release(&c->got);
    }
    WORLD_WAIT(world, !world->w.leftovers);
    world_check_idle(world);
    world_check_counts(world);
    worker_release(&world->w);
    loader_finish(&world->loader);
    loader_release(&world->loader);
    state_release(&world->g.state);
    buf_release(&world->access);
    buf_release(&world->log);
    free(world);
}

#endif
