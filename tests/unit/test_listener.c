/* SPDX-License-Identifier: MIT */
/*
 * Listening: addresses good and bad, ports taken freely and shared, accepting, and running out of
 * descriptors.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <event2/event.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"
#include "net/listener.h"

#define DEADLINE (90 * USEC_PER_SEC)

struct counter {
    struct event_base *base;
    struct listener *listener;
    int accepted, drained;
    int taken[8];
    bool keep; /* the accepted sockets, in taken */
    bool stop_after_first;
};

static void on_accepted(void *ctx, int fd) {
    struct counter *c = ctx;
    c->accepted++;
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    if (c->keep) {
        c->taken[c->accepted - 1] = fd;
    } else {
        close(fd);
    }
    if (c->stop_after_first) {
        listener_stop(c->listener);
    }
}

static void pump(struct counter *c) {
    struct timeval tick = {.tv_usec = 5000};
    event_base_loopexit(c->base, &tick);
    event_base_loop(c->base, EVLOOP_ONCE);
}

static void connect_to(int client, int port) {
    struct sockaddr_in sin = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(client, (struct sockaddr *)&sin, sizeof(sin)), 0);
}

static int open_any(bool reuse_port) {
    struct err err;
    int fd = listen_open("127.0.0.1:0", reuse_port, &err);
    if (fd < 0) {
        fail_msg("%s", err.text);
    }
    return fd;
}

/* Goal: a malformed address is refused with a sentence that repeats it and says what was expected.
 */
static void test_bad_addresses(void **state) {
    (void)state;
    static const char *const bad[] = {"",
                                      "8080",
                                      "127.0.0.1",
                                      "127.0.0.1:",
                                      "127.0.0.1:x",
                                      "127.0.0.1:65536",
                                      "127.0.0.1:-1",
                                      "::1:80",
                                      "[::1:80",
                                      "h:+80"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct err err;
        assert_int_equal(listen_open(bad[i], false, &err), -1);
        assert_non_null(strstr(err.text, bad[i]));
        assert_non_null(strstr(err.text, "host:port"));
    }
}

/* Goal: port 0 takes a free port, which can be asked for; a port that is taken is an error that
 * says so. */
static void test_ports(void **state) {
    (void)state;
    int fd = open_any(false);
    int port = listen_port(fd);
    char name[64], expected[64], tiny[5];
    struct err err;
    assert_true(port > 0);
    assert_int_equal(listen_name(fd, name, sizeof(name)), 0);
    snprintf(expected, sizeof(expected), "127.0.0.1:%d", port);
    assert_string_equal(name, expected);
    assert_int_equal(listen_name(fd, tiny, sizeof(tiny)), -1);
    assert_int_equal(listen_open(name, false, &err), -1);
    assert_non_null(strstr(err.text, name));
    close(fd);
}

/* Goal: several workers may listen on one port. */
static void test_reuse_port(void **state) {
    (void)state;
    int one = open_any(true);
    char name[64];
    struct err err;
    assert_int_equal(listen_name(one, name, sizeof(name)), 0);
    int two = listen_open(name, true, &err);
    assert_true(two >= 0);
    assert_int_equal(listen_port(two), listen_port(one));
    close(one);
    close(two);
}

/* Goal: a port where somebody listens is not free, though it could be shared; one that was left is.
 */
static void test_check_free(void **state) {
    (void)state;
    int one = open_any(true);
    char name[64];
    struct err err;
    assert_int_equal(listen_name(one, name, sizeof(name)), 0);
    assert_int_equal(listen_check_free(name, &err), -1);
    assert_non_null(strstr(err.text, "in use by another process"));
    assert_int_equal(listen_check_free("127.0.0.1:0", &err), 0);
    close(one);
    assert_int_equal(listen_check_free(name, &err), 0);
    assert_int_equal(listen_check_free("nonsense", &err), -1);
}

/* Goal: connections are accepted, non-blocking and closed on exec; a listener may be stopped while
 * it accepts. */
static void test_accept(void **state) {
    (void)state;
    struct counter c = {.base = event_base_new()};
    int fd = open_any(false);
    int port = listen_port(fd);
    int clients[3];
    c.listener = listener_new(c.base, fd, on_accepted, &c);
    assert_non_null(c.listener);
    for (int i = 0; i < 3; i++) {
        clients[i] = socket(AF_INET, SOCK_STREAM, 0);
        connect_to(clients[i], port);
    }
    usec until = clock_now() + DEADLINE;
    while (c.accepted < 3 && clock_now() < until) {
        pump(&c);
    }
    assert_int_equal(c.accepted, 3);
    c.stop_after_first = true;
    for (int i = 0; i < 2; i++) {
        close(clients[i]);
        clients[i] = socket(AF_INET, SOCK_STREAM, 0);
        connect_to(clients[i], port);
    }
    until = clock_now() + DEADLINE;
    while (c.accepted < 4 && clock_now() < until) {
        pump(&c);
    }
    for (int i = 0; i < 3; i++) {
        pump(&c);
        close(clients[i]);
    }
    assert_int_equal(c.accepted, 4);
    listener_free(c.listener);
    event_base_free(c.base);
}

/* Goal: without descriptors accepting pauses, counts that, and goes on when there are some again.
 */
static void test_out_of_descriptors(void **state) {
    (void)state;
    struct counter c = {.base = event_base_new()};
    struct rlimit old, low;
    int fd = open_any(false);
    c.listener = listener_new(c.base, fd, on_accepted, &c);
    assert_non_null(c.listener);
    int client = socket(AF_INET, SOCK_STREAM, 0);
    connect_to(client, listen_port(fd));
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    int next = dup(client);
    close(next);
    low = (struct rlimit){.rlim_cur = (rlim_t)next, .rlim_max = old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    usec until = clock_now() + DEADLINE;
    while (listener_pauses(c.listener) < 2 && clock_now() < until) {
        pump(&c);
    }
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    assert_true(listener_pauses(c.listener) >= 2);
    assert_int_equal(c.accepted, 0);
    until = clock_now() + DEADLINE;
    while (c.accepted < 1 && clock_now() < until) {
        pump(&c);
    }
    assert_int_equal(c.accepted, 1);
    close(client);
    listener_free(c.listener);
    event_base_free(c.base);
}

static void on_drained(void *ctx) {
    struct counter *c = ctx;
    c->drained++;
}

static int connect_soon(int port) {
    struct sockaddr_in sin = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int client = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    connect(client, (struct sockaddr *)&sin, sizeof(sin));
    return client;
}

static bool is_connected(int client) {
    struct pollfd p = {.fd = client, .events = POLLOUT};
    return poll(&p, 1, 0) == 1 && !(p.revents & (POLLERR | POLLHUP));
}

/* Goal: draining takes what waits, lets nobody new in, and closes; nobody who was connected is
 * reset. */
static void test_drain(void **state) {
    (void)state;
    struct counter c = {.base = event_base_new(), .keep = true};
    int fd = open_any(true);
    int port = listen_port(fd), waiting[5];
    c.listener = listener_new(c.base, fd, on_accepted, &c);
    for (int i = 0; i < 5; i++) {
        waiting[i] = connect_soon(port);
        assert_true(is_connected(waiting[i]));
    }
    listener_drain(c.listener, on_drained);
    assert_int_equal(c.accepted, 5);
    assert_int_equal(c.drained, 0);
    int late = connect_soon(port);
    assert_false(is_connected(late)); /* its SYN was dropped, it is not refused either */
    usec until = clock_now() + DEADLINE;
    while (!c.drained && clock_now() < until) {
        pump(&c);
    }
    assert_int_equal(c.drained, 1);
    assert_int_equal(c.accepted, 5);
    for (int i = 0; i < 5; i++) {
        assert_true(is_connected(waiting[i]));
        close(waiting[i]);
        close(c.taken[i]);
    }
    close(late);
    listener_free(c.listener);
    event_base_free(c.base);
}

/* Goal: a kept socket is left with its queue, for whoever has it too. */
static void test_keep(void **state) {
    (void)state;
    struct counter c = {.base = event_base_new()};
    int fd = open_any(false), other = dup(fd);
    struct err err;
    c.listener = listener_new(c.base, fd, on_accepted, &c);
    listener_keep(c.listener);
    int client = connect_soon(listen_port(other));
    listener_drain(c.listener, on_drained);
    assert_int_equal(c.drained, 1);
    pump(&c);
    listener_free(c.listener);
    assert_int_equal(c.accepted, 0);
    assert_int_equal(listen_adopt(other, &err), 0);
    int taken = accept(other, NULL, NULL);
    assert_true(taken >= 0 && is_connected(client));
    close(taken);
    close(client);
    close(other);
    event_base_free(c.base);
}

/* Goal: sockets from elsewhere are known by their address, port 0 standing for any; what does not
 * listen is refused. */
static void test_matches(void **state) {
    (void)state;
    int fd = open_any(false), other = socket(AF_INET, SOCK_STREAM, 0);
    char name[64];
    struct err err;
    assert_int_equal(listen_name(fd, name, sizeof(name)), 0);
    assert_int_equal(listen_matches(fd, name, &err), 1);
    assert_int_equal(listen_matches(fd, "127.0.0.1:0", &err), 1);
    assert_int_equal(listen_matches(fd, "localhost:0", &err), 1);
    assert_int_equal(listen_matches(fd, "127.0.0.2:0", &err), 0);
    assert_int_equal(listen_matches(fd, "127.0.0.1:1", &err), 0);
    assert_int_equal(listen_matches(fd, "[::1]:0", &err), 0);
    assert_int_equal(listen_matches(fd, "nonsense", &err), -1);
    assert_int_equal(listen_adopt(other, &err), -1);
    assert_non_null(strstr(err.text, "no listening TCP socket"));
    assert_int_equal(listen_adopt(-1, &err), -1);
    close(other);
    close(fd);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_addresses), cmocka_unit_test(test_ports),
        cmocka_unit_test(test_reuse_port),    cmocka_unit_test(test_check_free),
        cmocka_unit_test(test_accept),        cmocka_unit_test(test_out_of_descriptors),
        cmocka_unit_test(test_drain),         cmocka_unit_test(test_keep),
        cmocka_unit_test(test_matches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
