/* SPDX-License-Identifier: MIT */
/*
 * Memory that runs out under a binding: each allocation of each function that policies may call
 * fails in turn, ours and Lua's. The function raises or answers, the stack is as it was, nothing
 * leaks (ASan looks) or is left over, and the next request works. The list is held against
 * lua/meta.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SOME 100
#include "base/file.h"
#include "bind/bind.h"
#include "policy/lane.h"

#include "../support/failing_memory.h"

/* moongate.host of the test's gateway: from here to there allocations fail. */
static int host_arm(struct moongate_call *call, void *ctx) {
    (void)call;
    (void)ctx;
    begin(failing()->at);
    return 0;
}

static int host_disarm(struct moongate_call *call, void *ctx) {
    (void)call;
    (void)ctx;
    end();
    return 0;
}

/* A case may fail when an allocation did. */
static int host_complain(struct moongate_call *call, void *ctx) {
    (void)ctx;
    if (!failing()->hit) {
        fail_msg("%.*s", (int)call->args[0].len, call->args[0].text);
    }
    return 0;
}

static int host_value(struct moongate_call *call, void *ctx) {
    (void)ctx;
    char *text = strdup("a text of the host's");
    if (!text) {
        return -1;
    }
    call->results[call->n_results++] =
        (struct host_value){.type = VALUE_STR, .text = text, .len = strlen(text)};
    return 0;
}

static struct host_function functions[] = {{.name = "arm", .fn = host_arm},
                                           {.name = "disarm", .fn = host_disarm},
                                           {.name = "complain", .fn = host_complain},
                                           {.name = "value", .fn = host_value}};
#define WORLD_FUNCTIONS functions
#include "../support/failing_requests.h"

/* Bodies of function(req, a): a is an attempt that came to a good end. What they return is returned
 * by the handler; nothing: a. */
static const char *const CASES[] = {
    "assert(host.value(1, true, nil, 'text'))",
    "assert(req:header('host')); assert(req:header('x-none') == nil)",
    "assert(req:json('messages')); assert(req:json('model') == 'gpt')",
    "assert(req:send('b/m', { set = { n = 1.5, t = { 'x', { y = 'z' } } }, unset = { 'u' },"
    "  headers = { ['x-a'] = 'b', ['x-n'] = 1 }, model = 'other', key = 'sk-client' }))",
    "req:start('b/m'); req:start('c/m'); local b = req:wait(1); assert(b or req:wait(0) == nil)",
    "req:sleep(0)",
    "return req:respond { status = 200, headers = { ['x-a'] = 'b' }, json = { a = { 1, 2.5 } } }",
    "return req:respond { body = ('text'):rep(100) }",
    "assert(req:race({ { 'b/m' }, { 'c/m', { model = 'n' } } }, { delay = 1 }))",
    "assert(req:name('b') == 'b/gpt')",
    "req:deadline(60)",
    "req:note('a note of the policy' .. req.id)",
    "assert(req:unavailable(5, 'try again'))",
    "assert(req:fail(503, 'teapot', 'short and stout'))",
    "assert(req.id and req.method and req.path and req.model and req.environment); req.ctx.x = {}\n"
    "assert(#req.attempts == 1 and req.body_size > 0 and req.elapsed >= 0 and req.remaining > 0)",
    "assert(a:header('content-type'))",
    "assert(#a:body() > 0)",
    "assert(a:json('choices.0.message.content') == 'hi'); assert(a:json('choices'))",
    "a:fail('server_error', 'not good enough')",
    "local b = req:start('b/m'); b:cancel()",
    "assert(a.target and a.n == 1 and a.ok and a.outcome == 'ok' and a.status == 200 and a.time)",
    "local s = moongate.store('names'); assert(s:get('none') == nil); s:set('a', 'text', 60)\n"
    "s:add('b', 1); s:incr('n', 2, 60); s:cas('a', 'text', 'other'); s:ttl('a'); s:del('a')",
    "local w = moongate.window('names', 'key', 60); w:add(1); w:count()",
    "local b = moongate.bucket('names', 'key', 10, 20); b:take(1)",
    "assert(moongate.now() and moongate.wall() and moongate.random() and moongate.random(9))",
    "moongate.log('info', 'a line ' .. moongate.wall())",
    "moongate.metric('tries', 2, { reason = 'none', kind = 'x' .. moongate.wall() })",
    "assert(moongate.json({ a = { 1, 'x', true, moongate.null }, t = ('text'):rep(200) }))",
    "assert(moongate.hash('text'))",
    "assert(moongate.merge({ a = { b = 1 } }, { c = { 'd' } }).c[1] == 'd')",
    "assert(moongate.health('a/m').reason); assert(moongate.usable_in('a/m'))",
    "moongate.suspend('c/m', 60, 'a reason ' .. moongate.wall(), { group = false })\n"
    "moongate.resume('c/m')",
    "assert(moongate.provider('a/m') == 'a')",
    "return req:respond { stream = function(out) host.arm(); out:write(('text'):rep(50))\n"
    "  out:sleep(0); out:write('more'); host.disarm() end }",
    "return req:respond { stream = function(out) out:write('x'); host.arm(); out:abort(); "
    "host.disarm() end }",
};
#define N_CASES (sizeof(CASES) / sizeof(*CASES))

static const char PRELUDE[] =
    "local host = require 'moongate.host'\nlocal a = req:send('a/m')\nlocal cases = {}\n";
static const char CALL[] =
    "local case = cases[tonumber(req:header('x-case'))]\nhost.arm()\n"
    "local ok, result = pcall(case, req, a)\nhost.disarm()\n"
    "if not ok then host.complain(tostring(result)) end\nreturn ok and result or a";

static void write_handler(char *out, size_t size) {
    size_t n = (size_t)snprintf(out, size, "%s", PRELUDE);
    for (size_t i = 0; i < N_CASES; i++) {
        n += (size_t)snprintf(out + n, size - n, "cases[%zu] = function(req, a)\n%s\nend\n", i + 1,
                              CASES[i]);
        assert_true(n < size);
    }
    n += (size_t)snprintf(out + n, size - n, "%s", CALL);
    assert_true(n < size);
}

/* "function req:send(" in lua/meta: some case has ":send(" or ".send(". */
static void expect_cases_of(const char *file) {
    struct buf text;
    struct str rest, line;
    buf_init(&text, MIB(1));
    assert_int_equal(file_read(file, &text, NULL), 1);
    rest = buf_str(&text);
    while (str_split(&rest, '\n', &line)) {
        char name[64];
        bool found = false;
        if (sscanf(line.p, "function %*[a-z_]%63[.:a-z_]", name) != 1) {
            continue;
        }
        for (size_t i = 0; i < N_CASES && !found; i++) {
            found = strstr(CASES[i], name) != NULL;
        }
        if (!found) {
            fail_msg("%s: no case calls %s", file, name);
        }
    }
    buf_release(&text);
}

static void all_have_cases(void **state) {
    /* Goal: no function that policies may call is forgotten. */
    (void)state;
    expect_cases_of("lua/meta/moongate.lua");
    expect_cases_of("lua/meta/req.lua");
    expect_cases_of("lua/meta/attempt.lua");
}

static void bindings(void **state) {
    /* Goal: a binding that lacks memory raises or answers, and that is all that happens. */
    char handler[16000], text[512];
    write_handler(handler, sizeof(handler));
    struct world *world = asking_world(*state, handler);
    for (size_t i = 0; i < N_CASES; i++) {
        snprintf(text, sizeof(text),
                 "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-case: %zu\r\n"
                 "content-type: application/json\r\ncontent-length: 29\r\n\r\n" ASK_PLAIN,
                 i + 1);
        struct asking a = {.world = world,
                           .text = text,
                           .plays = "g",
                           .status = 200,
                           .cut = strstr(CASES[i], "abort") != NULL,
                           .by_policy = true};
        size_t failures = sweep(ask_and_again, &a);
        printf("%zu: %zu failures; %zu good answers, %zu errors, %zu closed; %.60s\n", i + 1,
               failures, a.whole, a.errors, a.closed, CASES[i]);
    }
    world_free(world);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_have_cases),
        cmocka_unit_test_setup_teardown(bindings, folder_make, folder_remove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
