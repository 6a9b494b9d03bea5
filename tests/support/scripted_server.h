/* SPDX-License-Identifier: MIT */
/*
 * For the tests of a transport: a server on a thread of its own that follows a script over raw
 * sockets, so that it can do what no server should, and a client that counts every callback. Each
 * script counts the requests it read, so that a hidden second send cannot go unseen.
 */
#ifndef SUPPORT_SCRIPTED_SERVER_H
#define SUPPORT_SCRIPTED_SERVER_H

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/limits.h"
#include "tls_front.h"
#include "upstream/transport.h"

#define DEADLINE (90 * USEC_PER_SEC)
#define CRLF "\r\n"
#define OK_HEAD "HTTP/1.1 200 OK" CRLF

/* ---- The server ---- */

struct server {
    int listener;
    int port;
    int url_port;        /* that the client speaks to: the front's, if there is one */
    struct front *front; /* TLS before it; NULL: none */
    pthread_t thread;
    void (*script)(struct server *s);
    const char *text;    /* what the script sends, for those that need only that */
    atomic_int requests; /* whole requests read */
    atomic_int accepted;
    atomic_int closed;   /* the client closed */
    atomic_bool blocked; /* the client reads no more */
    atomic_bool go;
    _Atomic size_t sent;
    char last[200000]; /* the last request read, head and body */
    size_t last_n;
};

static inline int server_accept(struct server *s) {
    struct pollfd p = {s->listener, POLLIN, 0};
    if (poll(&p, 1, 20000) != 1) {
        return -1;
    }
    int fd = accept(s->listener, NULL, NULL);
    struct timeval tv = {20, 0};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
    s->accepted++;
    return fd;
}

/* Reads one request with its body. False when the client closed instead. */
static inline bool server_read(struct server *s, int fd) {
    s->last_n = 0;
    for (;;) {
        s->last[s->last_n] = '\0';
        char *end = strstr(s->last, CRLF CRLF);
        if (end) {
            char *length = strcasestr(s->last, CRLF "Content-Length:");
            size_t body = length && length < end ? strtoul(length + 17, NULL, 10) : 0;
            if (s->last_n >= (size_t)(end + 4 - s->last) + body) {
                s->requests++;
                return true;
            }
        }
        ssize_t n = recv(fd, s->last + s->last_n, sizeof s->last - 1 - s->last_n, 0);
        if (n <= 0) {
            s->closed++;
            return false;
        }
        s->last_n += (size_t)n;
    }
}

static inline void server_send(int fd, const char *text) {
    size_t n = strlen(text);
    while (n > 0) {
        ssize_t w = send(fd, text, n, MSG_NOSIGNAL);
        if (w <= 0) {
            return;
        }
        text += w;
        n -= (size_t)w;
    }
}

static inline void wait_readable(int fd) {
    struct pollfd p = {fd, POLLIN, 0};
    poll(&p, 1, 20000);
}

/* Set while tests run through TLS: servers get a front, clients believe it. */
static inline struct front_keys **through_tls(void) {
    static struct front_keys *keys;
    return &keys;
}

static inline void *server_main(void *arg) {
    struct server *s = arg;
    s->script(s);
    return NULL;
}

static inline void server_start(struct server *s, void (*script)(struct server *),
                                const char *text) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    memset(s, 0, sizeof *s);
    s->script = script;
    s->text = text;
    s->listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(s->listener, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(s->listener, 16), 0);
    getsockname(s->listener, (struct sockaddr *)&a, &n);
    s->port = ntohs(a.sin_port);
    s->front = *through_tls() ? front_start(*through_tls(), s->port) : NULL;
    s->url_port = s->front ? s->front->port : s->port;
    assert_int_equal(pthread_create(&s->thread, NULL, server_main, s), 0);
}

static inline void server_join(struct server *s) {
    pthread_join(s->thread, NULL);
    close(s->listener);
    front_stop(s->front);
}

/* Somebody connects; false: the test is over. */
static inline bool server_wait(struct server *s) {
    struct pollfd p = {s->listener, POLLIN, 0};
    while (!s->go && poll(&p, 1, 20) == 0) {
    }
    return !s->go;
}

/* One connection after another, each kept while the client keeps it: every request gets s->text. */
static inline void script_serve(struct server *s) {
    int fd;
    while (server_wait(s) && (fd = server_accept(s)) >= 0) {
        while (!s->go && server_read(s, fd)) {
            server_send(fd, s->text);
        }
        close(fd);
    }
}

/* One connection, one answer, then it waits for the client to close. */
static inline void script_once(struct server *s) {
    int fd = server_accept(s);
    if (server_read(s, fd)) {
        server_send(fd, s->text);
        server_read(s, fd);
    }
    close(fd);
}

/* One connection, one answer, and the server closes at once. */
static inline void script_answer_close(struct server *s) {
    int fd = server_accept(s);
    if (server_read(s, fd)) {
        server_send(fd, s->text);
    }
    close(fd);
}

/* ---- The client ---- */

enum point { AT_NONE, AT_CONNECTED, AT_HEAD, AT_DATA, AT_DONE };

typedef struct transport *(*transport_maker)(struct event_base *base, size_t idle_max,
                                             struct err *err);

struct fixture {
    struct event_base *base;
    transport_maker make; /* the implementation under test */
    struct transport *transport;
};

struct client {
    struct fixture *f;
    struct transfer *transfer;
    int connected, heads, datas, dones;
    bool reused;
    int status;
    char field[256]; /* x-test of the answer */
    char body[4096];
    size_t body_n, total;
    struct transfer_result result;
    char detail[256];
    enum point cancel_at, pause_at, start_at;
    struct client *next; /* started at start_at */
    const char *url;
    bool starting;
};

static inline void client_start(struct client *c, const char *method, const char *url,
                                const char *body);

static inline void act(struct client *c, enum point at) {
    assert_false(c->starting); /* no callback from inside transfer_start */
    if (c->cancel_at == at) {
        transfer_cancel(c->transfer);
        c->transfer = NULL;
    } else if (c->pause_at == at) {
        transfer_pause(c->transfer);
    }
    if (c->start_at == at) {
        c->start_at = AT_NONE;
        client_start(c->next, "GET", c->url, NULL);
    }
}

static inline void on_connected(void *ctx, bool reused) {
    struct client *c = ctx;
    assert_non_null(c->transfer);
    c->connected++;
    c->reused = reused;
    act(c, AT_CONNECTED);
}

static inline void on_head(void *ctx, int status, const struct headers *headers) {
    struct client *c = ctx;
    struct str value;
    assert_non_null(c->transfer);
    c->heads++;
    c->status = status;
    if (headers_get(headers, "X-Test", &value)) {
        snprintf(c->field, sizeof c->field, "%.*s", (int)value.n, value.p);
    }
    act(c, AT_HEAD);
}

static inline void on_data(void *ctx, const char *data, size_t n) {
    struct client *c = ctx;
    assert_non_null(c->transfer);
    assert_true(n > 0);
    c->datas++;
    c->total += n;
    size_t room = sizeof c->body - 1 - c->body_n;
    memcpy(c->body + c->body_n, data, n < room ? n : room);
    c->body_n += n < room ? n : room;
    act(c, AT_DATA);
}

static inline void on_done(void *ctx, const struct transfer_result *result) {
    struct client *c = ctx;
    assert_non_null(c->transfer);
    c->dones++;
    c->result = *result;
    snprintf(c->detail, sizeof c->detail, "%s", result->detail);
    c->transfer = NULL;
    act(c, AT_DONE);
}

static const struct transfer_events events = {on_connected, on_head, on_data, on_done};

struct extra {
    bool fresh;
    bool no_bytes; /* has_body with nothing in it */
    const struct str *pieces;
    size_t n_pieces;
    const char *const *fields; /* name, value, …, NULL */
};

static inline void client_start_with(struct client *c, const char *method, const char *url,
                                     const char *body, const struct extra *extra) {
    struct headers h;
    struct str piece = str_of(body);
    headers_init(&h, MAX_HEADERS, MAX_HEADER_BYTES);
    for (const char *const *f = extra->fields; f && *f; f += 2) {
        assert_int_equal(headers_add(&h, str_of(f[0]), str_of(f[1])), 0);
    }
    char *copy = strdup(url);
    struct transfer_request r = {
        .method = str_of(method), .url = copy, .headers = &h, .fresh = extra->fresh};
    r.tls = *through_tls() ? (*through_tls())->client : NULL;
    r.body = extra->pieces ? extra->pieces : &piece;
    r.n_body = extra->pieces ? extra->n_pieces : body ? 1 : 0;
    r.has_body = body || extra->no_bytes || extra->pieces;
    c->starting = true;
    c->transfer = transfer_start(c->f->transport, &r, &events, c);
    c->starting = false;
    assert_non_null(c->transfer);
    free(copy);
    headers_release(&h);
}

static inline void client_start(struct client *c, const char *method, const char *url,
                                const char *body) {
    struct extra none = {0};
    client_start_with(c, method, url, body, &none);
}

static inline void on_wake(evutil_socket_t fd, short what, void *arg) {
    (void)fd, (void)what, (void)arg;
}

/* Turns the loop until the condition holds; fails at the deadline. */
#define RUN_UNTIL(f, condition)                                                                    \
    do {                                                                                           \
        usec limit_ = clock_now() + DEADLINE;                                                      \
        struct event *wake_ = event_new((f)->base, -1, EV_PERSIST, on_wake, NULL);                 \
        struct timeval tv_ = {0, 10000};                                                           \
        event_add(wake_, &tv_);                                                                    \
        while (!(condition)) {                                                                     \
            event_base_loop((f)->base, EVLOOP_ONCE);                                               \
            assert_true(clock_now() < limit_);                                                     \
        }                                                                                          \
        event_free(wake_);                                                                         \
    } while (0)

static inline const char *url_of(const struct server *s) {
    static _Thread_local char url[64];
    snprintf(url, sizeof url, "%s://127.0.0.1:%d/v1/x?y=1", s->front ? "https" : "http",
             s->url_port);
    return url;
}

static inline int setup_with(void **state, transport_maker make) {
    struct fixture *f = calloc(1, sizeof *f);
    struct err err;
    f->base = event_base_new();
    f->make = make;
    f->transport = make(f->base, 8, &err);
    *state = f;
    return f->transport ? 0 : -1;
}

static inline int setup_curl(void **state) {
    return setup_with(state, curl_transport_new);
}

static inline int setup_native(void **state) {
    return setup_with(state, native_transport_new);
}

static inline int setup_tls(void **state, transport_maker make) {
    *through_tls() = calloc(1, sizeof(struct front_keys));
    front_keys_make(*through_tls());
    return setup_with(state, make);
}

static inline int setup_curl_tls(void **state) {
    return setup_tls(state, curl_transport_new);
}

static inline int setup_native_tls(void **state) {
    return setup_tls(state, native_transport_new);
}

static inline int teardown(void **state) {
    struct fixture *f = *state;
    if (f->transport) {
        f->transport->ops->free(f->transport);
    }
    event_base_free(f->base);
    free(f);
    if (*through_tls()) {
        front_keys_release(*through_tls());
        free(*through_tls());
        *through_tls() = NULL;
    }
    return 0;
}

/* A test over both transports, in plain text and through TLS. */
#define OVER_EACH(test)                                                                            \
    cmocka_unit_test_setup_teardown(test, setup_curl, teardown),                                   \
        cmocka_unit_test_setup_teardown(test, setup_curl_tls, teardown),                           \
        cmocka_unit_test_setup_teardown(test, setup_native, teardown),                             \
        cmocka_unit_test_setup_teardown(test, setup_native_tls, teardown)

static inline struct client *run(struct fixture *f, struct client *c, const char *method,
                                 const char *url, const char *body) {
    *c = (struct client){.f = f};
    client_start(c, method, url, body);
    RUN_UNTIL(f, c->dones > 0);
    assert_int_equal(c->dones, 1);
    return c;
}

static inline void script_close_unread(struct server *s) {
    int fd = server_accept(s);
    wait_readable(fd);
    close(fd);
}

#endif
