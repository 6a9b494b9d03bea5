/* SPDX-License-Identifier: MIT */
/* The embedding API: several gateways in one process, functions of the program, an attached loop,
 * errors as values. */
#include <arpa/inet.h>
#include <event2/event.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "moongate.h"

struct folder {
    char path[64];
    char config[128];
};

static void write_file(const char *folder, const char *name, const char *text) {
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void make_folder(struct folder *f, const char *name, const char *policy) {
    char text[1024], below[128];
    snprintf(f->path, sizeof(f->path), "/tmp/moongate-api-%d-%s", (int)getpid(), name);
    snprintf(below, sizeof(below), "%s/policies", f->path);
    assert_int_equal(mkdir(f->path, 0700), 0);
    assert_int_equal(mkdir(below, 0700), 0);
    snprintf(f->config, sizeof(f->config), "%s/gateway.lua", f->path);
    snprintf(
        text, sizeof(text),
        "return { listen = '127.0.0.1:0', workers = 2, log = { access = 'off' }, providers = {},\n"
        "  routes = { { name = '%s', path = '/*', policy = 'own' } } }\n",
        name);
    write_file(f->path, "gateway.lua", text);
    write_file(f->path, "policies/own.lua", policy);
}

static void remove_folder(const struct folder *f) {
    char command[128];
    snprintf(command, sizeof(command), "rm -r %s", f->path);
    assert_int_equal(system(command), 0);
}

static const char *const LIBRARY[] = {".", NULL};

static void swallow(void *ctx, enum moongate_level level, const char *line) {
    (void)line;
    atomic_int *errors = ctx; /* the control thread logs, too */
    *errors += level == MOONGATE_ERROR;
}

static struct moongate *make(const struct folder *f, atomic_int *errors) {
    struct moongate_options options = {
        .config_file = f->config, .library = LIBRARY, .log = swallow, .log_ctx = errors};
    struct moongate_error error;
    struct moongate *gw = moongate_new(&options, &error);
    assert_non_null(gw);
    return gw;
}

/* One GET over a connection of its own; the whole answer in `out`. */
static void get(const char *address, const char *path, char *out, size_t size) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    char request[256];
    size_t got = 0;
    to.sin_port = htons((uint16_t)strtoul(strrchr(address, ':') + 1, NULL, 10));
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    int n = snprintf(request, sizeof(request),
                     "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", path);
    assert_int_equal(send(fd, request, (size_t)n, 0), n);
    for (ssize_t more = 1; more > 0 && got<size - 1; got += more> 0 ? (size_t)more : 0) {
        more = recv(fd, out + got, size - 1 - got, 0);
    }
    out[got] = '\0';
    close(fd);
}

#define SAYS(word)                                                                                 \
    "return { name = 'own', settings = {}, handle = function(req) return req:respond { body = "    \
    "'" word "' } end }"

/* Goal: two gateways live in one process, each with its own configuration, and stop independently.
 */
static void test_two_gateways(void **state) {
    struct folder one, two;
    struct moongate_error error;
    char answer[2048];
    atomic_int errors = 0;
    (void)state;
    make_folder(&one, "one", SAYS("first"));
    make_folder(&two, "two", SAYS("second"));
    struct moongate *a = make(&one, &errors), *b = make(&two, &errors);
    assert_int_equal(moongate_start(a, &error), 0);
    assert_int_equal(moongate_start(b, &error), 0);
    get(moongate_address(a, 0), "/", answer, sizeof(answer));
    assert_non_null(strstr(answer, "first"));
    get(moongate_address(b, 0), "/", answer, sizeof(answer));
    assert_non_null(strstr(answer, "second"));
    moongate_stop(a, 1);
    assert_int_equal(moongate_generation(a), 0);
    get(moongate_address(b, 0), "/", answer, sizeof(answer));
    assert_non_null(strstr(answer, "second"));
    moongate_free(a);
    moongate_free(b);
    assert_int_equal(errors, 0);
    remove_folder(&one);
    remove_folder(&two);
}

static int add(struct moongate_call *call, void *ctx) {
    double a, b;
    int *calls = ctx;
    if (!moongate_arg_number(call, 0, &a) || !moongate_arg_number(call, 1, &b)) {
        return moongate_fail(call, "add(a, b): two numbers are expected");
    }
    (*calls)++;
    moongate_return_number(call, a + b);
    moongate_return_string(call, "sum", 3);
    moongate_return_bool(call, moongate_arg_count(call) == 2);
    moongate_return_nil(call);
    return 0;
}

/* Goal: a policy calls a function of the program and gets all its results; a failure raises with
 * the function's own words. */
static void test_functions(void **state) {
    struct folder f;
    struct moongate_error error;
    char answer[2048];
    atomic_int errors = 0;
    int calls = 0;
    (void)state;
    make_folder(&f, "functions",
                "local host = require 'moongate.host'\n"
                "return { name = 'own', settings = {}, handle = function(req)\n"
                "  if req.path == '/bad' then\n"
                "    local ok, why = pcall(host.add, 'x')\n"
                "    return req:respond { body = tostring(ok) .. ' ' .. why }\n"
                "  end\n"
                "  local sum, word, two, none = host.add(40, 2)\n"
                "  return req:respond { body = ('%d %s %s %s'):format(sum, word, tostring(two), "
                "tostring(none)) }\n"
                "end }\n");
    struct moongate *gw = make(&f, &errors);
    assert_int_equal(moongate_add_function(gw, "2bad", add, NULL, &error), -1);
    assert_int_equal(moongate_add_function(gw, "add", add, &calls, &error), 0);
    assert_int_equal(moongate_start(gw, &error), 0);
    assert_int_equal(moongate_add_function(gw, "late", add, NULL, &error), -1);
    get(moongate_address(gw, 0), "/", answer, sizeof(answer));
    assert_non_null(strstr(answer, "42 sum true nil"));
    get(moongate_address(gw, 0), "/bad", answer, sizeof(answer));
    assert_non_null(strstr(answer, "false"));
    assert_non_null(strstr(answer, "two numbers are expected"));
    assert_int_equal(calls, 1);
    moongate_free(gw);
    remove_folder(&f);
}

struct asker {
    const char *address;
    char answer[2048];
    struct event_base *base;
};

static void *ask(void *arg) {
    struct asker *a = arg;
    get(a->address, "/", a->answer, sizeof(a->answer));
    event_base_loopbreak(a->base);
    return NULL;
}

static void tick(evutil_socket_t fd, short what, void *arg) {
    (void)fd;
    (void)what;
    (void)arg;
}

/* Goal: an attached gateway answers from within the caller's loop, reloads from its thread, and
 * leaves the loop usable. */
static void test_attached(void **state) {
    struct folder f;
    struct moongate_error error;
    struct asker asker;
    pthread_t thread;
    atomic_int errors = 0;
    (void)state;
    make_folder(&f, "attached", SAYS("before"));
    struct moongate *gw = make(&f, &errors);
    asker.base = event_base_new();
    struct event *beat = event_new(asker.base, -1, EV_PERSIST, tick, NULL);
    struct timeval each = {0, 10000};
    event_add(beat, &each); /* so that loopbreak from the other thread is seen */
    assert_int_equal(moongate_attach(gw, asker.base, &error), 0);
    asker.address = moongate_address(gw, 0);
    for (int round = 0; round < 2; round++) {
        pthread_create(&thread, NULL, ask, &asker);
        event_base_dispatch(asker.base);
        pthread_join(thread, NULL);
        assert_non_null(strstr(asker.answer, round ? "after" : "before"));
        write_file(f.path, "policies/own.lua", SAYS("after"));
        assert_int_equal(moongate_reload(gw, &error), round); /* applied, then unchanged */
    }
    assert_int_equal(moongate_generation(gw), 2);
    moongate_stop(gw, 1);
    moongate_free(gw);
    event_free(beat);
    assert_int_equal(event_base_loop(asker.base, EVLOOP_NONBLOCK),
                     1); /* nothing of ours is left in it */
    event_base_free(asker.base);
    assert_int_equal(errors, 0);
    remove_folder(&f);
}

/* Goal: an attached gateway with a file watch: loads of the control thread and of the loop's own
 * thread never wait for each other in vain, and none is lost. */
static void test_attached_watch(void **state) {
    struct folder f;
    struct moongate_error error;
    atomic_int errors = 0;
    (void)state;
    make_folder(&f, "watched", SAYS("0"));
    write_file(f.path, "gateway.lua",
               "return { listen = '127.0.0.1:0', log = { access = 'off' }, providers = {},\n"
               "  reload = { watch = true, debounce = 0.01 },\n"
               "  routes = { { name = 'r', path = '/*', policy = 'own' } } }\n");
    struct moongate *gw = make(&f, &errors);
    struct event_base *base = event_base_new();
    assert_int_equal(moongate_attach(gw, base, &error), 0);
    for (int round = 0; round < 30; round++) {
        char text[256];
        snprintf(text, sizeof(text), SAYS("%d"), round + 1);
        write_file(f.path, "policies/next", text);
        char from[128], to[128];
        snprintf(from, sizeof(from), "%s/policies/next", f.path);
        snprintf(to, sizeof(to), "%s/policies/own.lua", f.path);
        assert_int_equal(rename(from, to), 0);
        usleep((useconds_t)(round * 997 % 30) * 1000); /* the loop stands still meanwhile */
        if (moongate_reload_as(gw, "test", "round", &error) < 0) {
            fail_msg("%s", error.text);
        }
        assert_int_equal(moongate_generation(gw), round + 2); /* one of the two loaded it */
        if (round % 3 == 0) {
            event_base_loop(base, EVLOOP_NONBLOCK);
        }
    }
    moongate_stop(gw, 1);
    moongate_free(gw);
    event_base_free(base);
    assert_int_equal(errors, 0);
    remove_folder(&f);
}

static void count_errors(void *ctx, const char *file, int line, bool warning, const char *message) {
    atomic_int *found = ctx;
    assert_non_null(file);
    assert_true(line >= 0);
    assert_true(*message);
    *found += !warning;
}

/* Goal: a configuration with mistakes starts nothing, tells each through the callback, and the
 * gateway can be freed. */
static void test_broken(void **state) {
    struct folder f;
    struct moongate_error error;
    atomic_int found = 0;
    (void)state;
    make_folder(&f, "broken", "return 7");
    write_file(f.path, "gateway.lua",
               "return { lisen = 1, routes = { { name = 'r', path = '/*', policy = 'own' } } }");
    struct moongate_options options = {.config_file = f.config,
                                       .library = LIBRARY,
                                       .log = swallow,
                                       .log_ctx = &found,
                                       .diagnostic = count_errors,
                                       .diagnostic_ctx = &found};
    struct moongate *gw = moongate_new(&options, &error);
    assert_int_equal(moongate_check(gw, &error), -1);
    assert_true(found >= 2); /* the key and the policy */
    assert_int_equal(moongate_start(gw, &error), -1);
    assert_non_null(strstr(error.text, "mistake"));
    assert_null(moongate_address(gw, 0));
    moongate_free(gw);
    moongate_free(NULL);
    remove_folder(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_gateways), cmocka_unit_test(test_functions),
        cmocka_unit_test(test_attached), cmocka_unit_test(test_attached_watch),
        cmocka_unit_test(test_broken)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
