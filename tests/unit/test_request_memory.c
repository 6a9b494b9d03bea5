/* SPDX-License-Identifier: MIT */
/*
 * Memory that runs out under a request: each allocation of its whole path fails in turn, ours,
 * Lua's and libevent's: connection, head and body, scan, route, policy, attempt, gate, relay,
 * answer, access log. Nothing crashes or leaks (ASan looks), nobody is told that half an answer is
 * whole, and the next request works.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SOME 100 /* each act is two requests, or even a gateway of its own */
#include "policy/lane.h"

#include "../support/failing_requests.h"

#define POST(path, length, fields, body)                                                           \
    "POST " path " HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n" fields               \
    "content-length: " length "\r\n\r\n" body
#define PLAIN POST("/v1/chat/completions", "29", "", ASK_PLAIN)
#define STREAMED POST("/v1/chat/completions", "43", "", ASK_STREAM)
#define CHUNKED                                                                                    \
    "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"          \
    "10\r\n{\"model\":\"gpt\",\"\r\nd\r\nmessages\":[]}\r\n0\r\nx-trailer: 1\r\n\r\n"

struct path {
    const char *name, *handle, *text, *plays;
    int status;
    const char *body;
    bool cut;
};

static const struct path PATHS[] = {
    {"a JSON answer", "return req:send('a/m')", PLAIN, "g", 200, GOOD_BODY, false},
    {"a chunked request", "return req:send('a/m')", CHUNKED, "g", 200, GOOD_BODY, false},
    {"a stream", "return req:send('a/m')", STREAMED, "s", 200, STREAM_BODY, false},
    {"a stream that breaks off", "return req:send('a/m')", STREAMED, "b", 200, STREAM_BROKEN, true},
    {"failover after a 503",
     "local a = req:send('a/m'); if a.ok then return a end; return req:send('b/m')", STREAMED, "es",
     200, STREAM_BODY, false},
    {"the default plan", "error('none')", PLAIN, "xeg", 200, GOOD_BODY, false},
    {"options of send",
     "return req:send('a/n', { headers = { ['x-a'] = '1' }, set = { temperature = 0.5, list = { 1, "
     "'x' } }, first_token = 5, total = 9, max_bytes = 9000 })",
     PLAIN, "g", 200, GOOD_BODY, false},
    {"a race", "req:start('a/m'); req:start('b/m'); return req:wait()", STREAMED, "ss", 200,
     STREAM_BODY, false},
    {"an error passed on", "return req:send('a/m')", PLAIN, "e", 503, ERROR_BODY, false},
    {"no connection", "return req:send('a/m')", PLAIN, "x", 502, NULL, false},
    {"a local answer", "return req:respond { status = 201, json = { a = { 1, 2 } } }", PLAIN, "g",
     201, "{\"a\":[1,2]}", false},
    {"a local stream",
     "return req:respond { stream = function(out) out:write('one') out:write('two') end }", PLAIN,
     "g", 200, "onetwo", false},
    {"a refusal of the policy's", "return req:fail(418, 'teapot', 'short and stout')", PLAIN, "g",
     418, NULL, false},
    {"no such path", "return req:send('a/m')", POST("/nowhere", "2", "", "{}"), "g", 404, NULL,
     false},
    {"no JSON", "return req:send('a/m')", POST("/v1/chat/completions", "2", "", "{x"), "g", 400,
     NULL, false},
    {"the list of models", "return req:send('a/m')", "GET /v1/models HTTP/1.1\r\nhost: x\r\n\r\n",
     "g", 200, NULL, false},
};

static void requests(void **state) {
    /* Goal: whichever allocation of a request fails, its client is told no falsehood, nothing is
     * left over, and the next request is answered. */
    for (size_t i = 0; i < sizeof(PATHS) / sizeof(*PATHS); i++) {
        const struct path *p = &PATHS[i];
        struct asking a = {.world = asking_world(*state, p->handle),
                           .text = p->text,
                           .plays = p->plays,
                           .status = p->status,
                           .body = p->body,
                           .cut = p->cut};
        size_t failures = sweep(ask_and_again, &a);
        printf("%s: %zu failures; %zu good answers, %zu errors, %zu closed; %zu allocations\n",
               p->name, failures, a.whole, a.errors, a.closed, failing()->n);
        assert_true(failures >= 10);
        world_free(a.world);
    }
}

struct cold {
    struct folder *folder;
    struct asking totals;
};

static void ask_cold(void *ctx, size_t at) {
    struct cold *c = ctx;
    struct asking a = c->totals;
    a.world = asking_world(c->folder, "local a = req:send('a/m'); if a.ok then return a end\n"
                                      "moongate.metric('tries', 1, { x = 'y' })\n"
                                      "return req:send('b/m')");
    ask_and_again(&a, at);
    struct failing was = *failing();
    world_free(a.world);
    *failing() = was;
    c->totals = a;
}

static void first_requests(void **state) {
    /* Goal: the same for a gateway's first request, which makes what later ones find: coroutines,
     * facts, slots, series of metrics. */
    struct cold c = {
        .folder = *state,
        .totals = {.text = STREAMED, .plays = "es", .status = 200, .body = STREAM_BODY}};
    size_t failures = sweep(ask_cold, &c);
    printf("%zu failures; %zu good answers, %zu errors, %zu closed; %zu allocations\n", failures,
           c.totals.whole, c.totals.errors, c.totals.closed, failing()->n);
    assert_true(failures >= 50);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(requests, folder_make, folder_remove),
        cmocka_unit_test_setup_teardown(first_requests, folder_make, folder_remove),
    };
    event_set_mem_functions(__wrap_malloc, __wrap_realloc, free);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
