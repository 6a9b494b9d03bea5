/* SPDX-License-Identifier: MIT */
/*
 * Memory that runs out under a call of the admin API: each allocation from its connection to its
 * answer fails in turn. The client gets a whole answer, an error or a closed connection, and the
 * next call works. Loads have a sweep of their own (test_memory.c).
 */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SOME 60 /* each act is two calls */
#include "../support/failing_memory.h"
#include "../support/gateway_world.h"
#include "admin/admin.h"
#include "gateway/control.h"
#include "net/listener.h"

#define CALL(method, path, body)                                                                   \
    method " " path " HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n"                        \
           "content-type: application/json\r\ncontent-length: " body

struct call {
    const char *text;
    int status; /* of the good answer */
};

static const struct call CALLS[] = {
    {CALL("GET", "/metrics", "0\r\n\r\n"), 200},
    {CALL("GET", "/healthz", "0\r\n\r\n"), 200},
    {CALL("GET", "/readyz", "0\r\n\r\n"), 200},
    {CALL("GET", "/admin/", "0\r\n\r\n"), 200},
    {CALL("GET", "/admin/status", "0\r\n\r\n"), 200},
    {CALL("GET", "/admin/targets", "0\r\n\r\n"), 200},
    {CALL("POST", "/admin/targets/a/m/suspend", "18\r\n\r\n{\"why\":\"sweeping\"}"), 200},
    {CALL("POST", "/admin/targets/a/m/resume", "0\r\n\r\n"), 200},
    {CALL("GET", "/admin/routes", "0\r\n\r\n"), 200},
    {CALL("GET", "/admin/routes/chat", "0\r\n\r\n"), 200},
    {CALL("GET", "/admin/routes/chat/settings", "0\r\n\r\n"), 200},
    {CALL("POST", "/admin/routes/chat/failover", "16\r\n\r\n{\"enabled\":true}"), 422},
    {CALL("DELETE", "/admin/routes/chat/settings/none", "0\r\n\r\n"), 404},
    {CALL("GET", "/admin/generations", "0\r\n\r\n"), 200},
    {CALL("POST", "/admin/generations/99/activate", "0\r\n\r\n"), 404},
    {CALL("GET", "/nowhere", "0\r\n\r\n"), 404},
};

struct calling {
    struct world *world;
    const struct call *call;
    int port;
    size_t good, errors, closed;
};

static void quiet_log(void *ctx, enum log_level level, const char *line) {
    bool on = failing_pause();
    world_log(ctx, level, line);
    failing_go_on(on);
}

static void call_failing(void *ctx, size_t at) {
    struct calling *s = ctx;
    struct world_client c = {.world = s->world};
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)s->port),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    usec until = clock_now() + WORLD_DEADLINE;
    buf_init(&c.got, MIB(4));
    c.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(c.fd, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_true(send(c.fd, s->call->text, strlen(s->call->text), MSG_NOSIGNAL) > 0);
    begin(at);
    while (!c.eof) {
        world_turn(s->world);
        bool on = failing_pause();
        client_read(&c);
        assert_true(clock_now() < until);
        failing_go_on(on);
    }
    end();
    struct world_answer got = client_answer(&c);
    if (got.whole && got.status == s->call->status) {
        s->good++;
    } else if (!failing()->hit || (got.whole && got.status < 400)) {
        fail_msg("allocation %zu of %s: %.300s", at, s->call->text, c.got.data);
    } else if (got.whole) {
        s->errors++;
    } else {
        s->closed++;
    }
    buf_release(&got.body);
    buf_release(&c.got);
    buf_clear(&s->world->log);
    close(c.fd);
}

static void call_and_again(void *ctx, size_t at) {
    call_failing(ctx, at);
    struct failing was = *failing();
    call_failing(ctx, 0);
    *failing() = was;
}

static unsigned long none_dropped(void *ctx) {
    (void)ctx;
    return 0;
}

static void calls(void **state) {
    /* Goal: whatever cannot be had, no call ends in a false success, and the next one works. */
    struct calling s = {.world = world_new(*state, "", "return req:send('a/m')")};
    struct world *world = s.world;
    struct control control;
    struct err err;
    log_init(&world->g.log, quiet_log, world, LOG_LEVEL_DEBUG);
    assert_int_equal(
        control_init(&control, &world->g, generation_config(worker_generation(&world->w)), &err),
        0);
    int fd = listen_open("127.0.0.1:0", false, &err);
    s.port = listen_port(fd);
    struct admin_env env = {.gateway = &world->g,
                            .loader = &world->loader,
                            .control = &control,
                            .probes = control.probes,
                            .version = "test",
                            .log_dropped = none_dropped};
    struct admin *admin = admin_new(world->w.base, fd, &env);
    assert_non_null(admin);
    for (size_t i = 0; i < sizeof(CALLS) / sizeof(*CALLS); i++) {
        s.call = &CALLS[i];
        s.good = s.errors = s.closed = 0;
        size_t failures = sweep(call_and_again, &s);
        printf("%.*s: %zu failures; %zu good, %zu errors, %zu closed\n",
               (int)strcspn(s.call->text, "\r"), s.call->text, failures, s.good, s.errors,
               s.closed);
        assert_true(failures >= 8);
    }
    admin_free(admin);
    control_release(&control);
    world_free(world);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(calls, folder_make, folder_remove),
    };
    event_set_mem_functions(__wrap_malloc, __wrap_realloc, free);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
