/* SPDX-License-Identifier: MIT */
/*
 * Simulated gateways: each test is a small Lua program that makes a world, plays its providers and
 * looks at what its client got. Real policies in real lanes; no sockets, no waiting.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/limits.h"
#include "../support/config_files.h"
#include "sim/sim.h"

/* What every program begins with. */
static const char PREAMBLE[] =
    "local core = require 'moongate.sim_core'\n"
    "local function config(handle, provider, more)\n"
    "  local policy = [[local moongate = require 'moongate'\n"
    "    return { name = 'own', settings = { targets = { type = 'targets' } },\n"
    "      handle = function(req, settings) ]] .. handle .. ' end }'\n"
    "  local text = [[return { listen = '127.0.0.1:0', providers = {\n"
    "    a = { dialect = 'openai', base_url = 'http://a.test/v1', api_key = 'sk-aaaaaa' ]]\n"
    "    .. (provider or '') .. [[ },\n"
    "    b = { dialect = 'openai', base_url = 'http://b.test/v1', api_key = 'sk-bbbbbb' } },\n"
    "    routes = { { name = 'chat', path = '/v1/*', policy = 'own',\n"
    "      settings = { targets = { 'a/m', 'b/m' } } } } ]] .. (more or '') .. ' }'\n"
    "  return text, { ['policies/own.lua'] = policy }\n"
    "end\n"
    "local function world(handle, provider, more)\n"
    "  local text, files = config(handle, provider, more)\n"
    "  return core.world { config = text, files = files, seed = 7 }\n"
    "end\n"
    "local function same(a, b, what)\n"
    "  if a ~= b then error((what or '') .. ': ' .. tostring(a) .. ', expected ' .. tostring(b), "
    "2) end\n"
    "end\n"
    "local function near(a, b) if not a or math.abs(a - b) > 1e-5 then\n"
    "  error(tostring(a) .. ', expected about ' .. tostring(b), 2) end end\n"
    "local JSON = { ['content-type'] = 'application/json' }\n"
    "local STREAM = { ['content-type'] = 'text/event-stream' }\n"
    "local GOOD = '{\"id\":\"x\",\"object\":\"chat.completion\",\"choices\":[{\"index\":0,'\n"
    "  .. '\"message\":{\"role\":\"assistant\",\"content\":\"hi\"},\"finish_reason\":\"stop\"}]}'\n"
    "local function word(w) return 'data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"'\n"
    "  .. w .. '\"}}]}\\n\\n' end\n"
    "local FINISH = 'data: "
    "{\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\\n\\n'\n"
    "  .. 'data: [DONE]\\n\\n'\n"
    "local PLAIN = { body = '{\"model\":\"gpt\",\"messages\":[]}' }\n"
    "local ASK = { body = '{\"model\":\"gpt\",\"stream\":true,\"messages\":[]}' }\n"
    "local function good(at) at = at or 0 return { { kind = 'connect', at = at },\n"
    "  { kind = 'head', at = at, status = 200, headers = JSON }, { kind = 'data', at = at, data = "
    "GOOD },\n"
    "  { kind = 'end', at = at } } end\n"
    "local function fails(status, at) at = at or 0 return { { kind = 'head', at = at, status = "
    "status,\n"
    "  headers = JSON }, { kind = 'data', at = at, data = '{\"error\":{\"message\":\"boom\"}}' },\n"
    "  { kind = 'end', at = at } } end\n"
    "local function next_of(w, kind) local e = w:run(math.huge)\n"
    "  same(e and e.kind, kind, 'event') return e end\n"
    "local FAILOVER = [[ local a\n"
    "  for _, t in ipairs(settings.targets) do a = req:send(t, { total = 20, first_token = 3, idle "
    "= 4 })\n"
    "    if a.ok then return a end end return a ]]\n";

enum { CASE_CPU = 100000 }; /* usec */

struct output {
    struct buf text;
};

static void take_output(void *ctx, const char *text, size_t n) {
    struct output *out = ctx;
    assert_int_equal(buf_add(&out->text, text, n), BUF_OK);
}

static int run_program(const char *program, usec cpu, struct output *out, struct err *err) {
    static const char *const library[] = {".", NULL};
    static const char *const args[] = {"one", "two", NULL};
    void *state = NULL;
    assert_int_equal(folder_make(&state), 0);
    struct folder *f = state;
    struct buf text;
    buf_init(&text, MIB(1));
    assert_int_equal(buf_addf(&text, "%sreturn function(args)\n%s\nend\n", PREAMBLE, program),
                     BUF_OK);
    folder_write(f, "lua/program.lua", text.data);
    folder_write(f, "policies/own_test.lua", "return 'the test'");
    char *dir = folder_path(f, "");
    struct snapshot *s = snapshot_read_folder(dir, library, err);
    assert_non_null(s);
    struct sim_run_options options = {.snapshot = s,
                                      .args = args,
                                      .cpu = cpu,
                                      .case_cpu = CASE_CPU,
                                      .print = take_output,
                                      .ctx = out};
    int result = sim_run(&options, "program", err);
    snapshot_unref(s);
    free(dir);
    buf_release(&text);
    assert_int_equal(folder_remove(&state), 0);
    return result;
}

static void run(const char *program) {
    struct err err = {""};
    struct output out;
    buf_init(&out.text, MIB(1));
    int result = run_program(program, 0, &out, &err);
    buf_release(&out.text);
    if (result != 0) {
        fail_msg("%d: %s", result, err.text);
    }
}

static void fails_with(const char *program, usec cpu, const char *text) {
    struct err err = {""};
    struct output out;
    buf_init(&out.text, MIB(1));
    assert_int_equal(run_program(program, cpu, &out, &err), -1);
    buf_release(&out.text);
    if (!strstr(err.text, text)) {
        fail_msg("\"%s\" holds no \"%s\"", err.text, text);
    }
}

static void program_itself(void **state) {
    (void)state;
    struct err err = {""};
    struct output out;
    buf_init(&out.text, MIB(1));
    int result = run_program("core.print(args[1] .. args[2]) same(core.tests()[1], "
                             "'policies/own_test.lua') same(core.load('policies/own_test.lua')(), "
                             "'the test') same(core.decode(core.encode({ a = { 1, 2 } }), 'a.1'), "
                             "2) return 3",
                             0, &out, &err);
    assert_int_equal(result, 3);
    assert_string_equal(out.text.data, "onetwo");
    buf_release(&out.text);
    fails_with("error('no')", 0, "no");
    fails_with("while true do end", 50000, "stopped");
    fails_with("local w = world(FAILOVER) while true do w:run(1) end", 100000, "stopped");
    fails_with("core.load('nothing')", 0, "no file \"nothing\"");
    fails_with("require 'moongate'", 0, "module 'moongate' not found");
}

static void good_answer(void **state) {
    (void)state;
    run("local w = world(FAILOVER) same(w:now(), 1000)\n"
        "local id = w:start(PLAIN)\n"
        "local sent = next_of(w, 'sent')\n"
        "same(sent.provider, 'a') same(sent.request, id) same(sent.target, 'a/m')\n"
        "same(sent.url, 'http://a.test/v1/chat/completions')\n"
        "same(sent.headers.authorization, 'Bearer sk-aaaaaa')\n"
        "same(core.decode(sent.body, 'model'), 'm')\n"
        "same(w:play(sent.id, good(1.5)), true)\n"
        "local e = next_of(w, 'ended')\n"
        "same(e.request, id) same(e.status, 200) same(e.body, GOOD) same(e.whole, true)\n"
        "near(e.at, 1001.5) near(w:now(), 1001.5) same(e.access.attempts[1].outcome, 'ok')\n"
        "near(e.access.total_ms, 1500) same(e.headers['content-type'], 'application/json')\n"
        "same(e.access.time, '2023-11-14T22:13:21.500Z')\n"
        "same(w:play(sent.id, good()), false) same(w:run(2000), nil) near(w:now(), 2000)\n"
        "same(pcall(w.play, w, 99, good()), false)\n"
        "local again = world(FAILOVER) again:start(PLAIN) again:play(again:run(2000).id, "
        "good(1.5))\n"
        "same(again:run(2000).access.id, e.access.id)");
}

static void failover(void **state) {
    (void)state;
    run("local w = world(FAILOVER) w:start(PLAIN)\n"
        "w:play(next_of(w, 'sent').id, fails(500, 2))\n"
        "local sent = next_of(w, 'sent') same(sent.provider, 'b') near(sent.at, 1002)\n"
        "w:play(sent.id, good(1)) local e = next_of(w, 'ended') same(e.status, 200)\n"
        "same(e.access.attempts[1].outcome, 'server_error') near(e.at, 1003)\n"
        "same(w:facts('a/m').failures, 1) same(w:facts('b/m').successes, 1)\n"
        "w:suspend('a/m', 10, 'mine') near(w:facts('a/m').suspended_for, 10)\n"
        "w:start(PLAIN) same(next_of(w, 'sent').provider, 'b') w:resume('a/m')\n"
        "same(w:facts('a/m').suspended_for, 0) w:probe('a', false) same(w:facts('a/m').up, false)\n"
        "same(w:metrics():find('moongate_attempts_total', 1, true) ~= nil, true)");
}

static void connect_errors(void **state) {
    (void)state;
    run("local w = world(FAILOVER) w:start(PLAIN)\n"
        "w:play(next_of(w, 'sent').id, { { kind = 'fail', at = 0.5, outcome = 'connect_error',\n"
        "  sent = 'nothing' } })\n"
        "local sent = next_of(w, 'sent') near(sent.at, 1000.5)\n" /* never answers: total */
        "local gone = next_of(w, 'cancelled') same(gone.id, sent.id) near(gone.at, 1005.5)\n"
        "local e = next_of(w, 'ended') same(e.status, 504) near(e.at, 1005.5)\n"
        "same(e.access.attempts[1].outcome, 'connect_error')\n"
        "same(e.access.attempts[2].outcome, 'timeout_connect')");
}

static void stream_that_drips(void **state) {
    (void)state;
    run("local w = world(FAILOVER) w:start(ASK)\n"
        "local sent = next_of(w, 'sent')\n"
        "w:play(sent.id, { { kind = 'connect' }, { kind = 'head', at = 0.1, status = 200,\n"
        "  headers = STREAM }, { kind = 'data', at = 1, data = word('one') },\n"
        "  { kind = 'data', at = 4, data = word('two') } })\n"
        "w:play(sent.id, { { kind = 'data', at = 7, data = FINISH }, { kind = 'end', at = 7 } })\n"
        "local e = next_of(w, 'ended') same(e.whole, true) same(#e.chunks, 3)\n"
        "near(e.chunks[1].at, 1001) near(e.chunks[2].at, 1004) near(e.chunks[3].at, 1007)\n"
        "same(e.chunks[2].text, word('two')) same(e.body, word('one') .. word('two') .. FINISH)");
}

static void first_token_timeout(void **state) {
    (void)state;
    run("local w = world(FAILOVER) w:start(ASK)\n"
        "w:play(next_of(w, 'sent').id, { { kind = 'connect' }, { kind = 'head', at = 0.1,\n"
        "  status = 200, headers = STREAM } })\n"
        "near(next_of(w, 'cancelled').at, 1003)\n"
        "local sent = next_of(w, 'sent') near(sent.at, 1003)\n"
        "w:play(sent.id, { { kind = 'head', status = 200, headers = STREAM },\n"
        "  { kind = 'data', data = word('x') .. FINISH }, { kind = 'end' } })\n"
        "local e = next_of(w, 'ended') same(e.access.attempts[1].outcome, 'timeout_first_token')\n"
        "same(e.access.attempts[2].outcome, 'ok')");
}

static void cut_streams(void **state) {
    (void)state;
    run("local w = world(FAILOVER) w:start(ASK)\n" /* idle: 4 s after its last content */
        "w:play(next_of(w, 'sent').id, { { kind = 'head', status = 200, headers = STREAM },\n"
        "  { kind = 'data', at = 2, data = word('x') } })\n"
        "near(next_of(w, 'cancelled').at, 1006)\n"
        "local e = next_of(w, 'ended') near(e.at, 1006) same(e.whole, false)\n"
        "same(e.access['end'], 'upstream_cut') same(e.body:find('\"error\"', 1, true) ~= nil, "
        "true)\n"
        "w:start(ASK) w:play(next_of(w, 'sent').id, { { kind = 'head', status = 200,\n"
        "  headers = STREAM }, { kind = 'data', data = word('x') }, { kind = 'fail', at = 1,\n"
        "  outcome = 'stream_broken' } })\n"
        "e = next_of(w, 'ended') same(e.whole, false) near(e.at, 1007)\n"
        "same(e.access.attempts[1].outcome, 'stream_broken')");
}

static void client_leaves(void **state) {
    (void)state;
    run("local w = world(FAILOVER) local id = w:start(ASK) next_of(w, 'sent')\n"
        "same(w:run(1002), nil) w:leave(id)\n"
        "near(next_of(w, 'cancelled').at, 1002)\n"
        "local e = next_of(w, 'ended') same(e.request, id) same(e.status, 0) same(e.whole, false)\n"
        "same(e.access['end'], 'client_gone') w:leave(id)\n"
        "id = w:start(PLAIN) w:leave(id) same(next_of(w, 'sent').request, id)\n"
        "same(w:run(math.huge).kind, 'cancelled') same(w:run(math.huge).kind, 'ended')");
}

static void exact_waits(void **state) {
    (void)state;
    run("local w = world([[ req:sleep(0.25) if req.explaining then req:note('never') end\n"
        "  local a = req:send('a/m') if not a.ok then req:sleep(a.retry_after) end\n"
        "  return req:send('b/m') ]])\n"
        "w:start(PLAIN) local one = next_of(w, 'sent') near(one.at, 1000.25)\n"
        "w:play(one.id, { { kind = 'head', status = 429, headers = { ['retry-after'] = '7' } },\n"
        "  { kind = 'end' } })\n"
        "local two = next_of(w, 'sent') near(two.at, 1007.25) w:play(two.id, good())\n"
        "local e = next_of(w, 'ended') near(e.at, 1007.25) same(#e.notes, 0)");
}

static void notes_are_kept(void **state) {
    (void)state;
    run("local text, files = config([[ if req.explaining then req:note('first') end req:sleep(1)\n"
        "  for i = 1, 70 do req:note(('x'):rep(300)) end return req:send('a/m') ]])\n"
        "local w = core.world { config = text, files = files, explain = true }\n"
        "w:start(PLAIN) w:play(next_of(w, 'sent').id, good())\n"
        "local e = next_of(w, 'ended') same(#e.notes, 64) same(e.notes[1].text, 'first')\n"
        "near(e.notes[1].at, 1000) near(e.notes[2].at, 1001) same(#e.notes[2].text, 200)\n"
        "w = world([[ req:note('to the log') return req:send('a/m') ]], nil,\n"
        "  \", log = { level = 'debug' }\")\n"
        "w:start(PLAIN) next_of(w, 'sent') local all = table.concat(w:log(), '|')\n"
        "same(all:find('to the log', 1, true) ~= nil, true)");
}

static void queue_of_one(void **state) {
    (void)state;
    run("local w = world('return req:send(\"a/m\")', ', max_inflight = 1, queue = 1')\n"
        "w:start(PLAIN) w:start(PLAIN) w:start(PLAIN)\n"
        "local one = next_of(w, 'sent')\n"
        "local full = next_of(w, 'ended') same(full.access.attempts[1].outcome, 'queue_full')\n"
        "same(w:run(1003), nil) w:play(one.id, good(4))\n"
        "local two = next_of(w, 'sent') same(next_of(w, 'ended').request, 1)\n"
        "same(two.request, 2) near(two.at, 1004) w:play(two.id, good())\n"
        "same(next_of(w, 'ended').status, 200)");
}

static void default_plan(void **state) {
    (void)state;
    run("local w = world([[ error('broken') ]]) w:start(PLAIN)\n"
        "w:play(next_of(w, 'sent').id, fails(500)) w:play(next_of(w, 'sent').id, good())\n"
        "local e = next_of(w, 'ended') same(e.status, 200)\n"
        "local all = table.concat(w:log(), '|') same(all:find('broken', 1, true) ~= nil, true)\n"
        "w = world([[ while true do end ]]) w:start(PLAIN)\n" /* killed by real CPU time */
        "local sent = next_of(w, 'sent') near(sent.at, 1000) w:play(sent.id, good())\n"
        "same(next_of(w, 'ended').status, 200) all = table.concat(w:log(), '|')\n"
        "same(all:find('was stopped', 1, true) ~= nil, true)");
}

static void store_and_reload(void **state) {
    (void)state;
    run("local handle = [[ local s = moongate.store('n') s:incr('k', 1) return\n"
        "  req:send(s:get('to') or 'a/m') ]]\n"
        "local w = world(handle) w:set('n', 'to', 'b/m', 5) w:start(PLAIN)\n"
        "local sent = next_of(w, 'sent') same(sent.provider, 'b') same(w:store('n', 'k'), 1)\n"
        "w:play(sent.id, good()) next_of(w, 'ended') same(w:run(1006), nil) same(w:store('n', "
        "'to'), nil)\n"
        "local text, files = config(handle) same(w:reload(text, files), 1)\n"
        "text, files = config([[ return req:send('b/m') ]]) same(w:reload(text, files), 2)\n"
        "w:start(PLAIN) same(next_of(w, 'sent').provider, 'b')\n"
        "local id, why = w:reload('return { nothing = 1 }') same(id, nil)\n"
        "same(why[1]:find('gateway.lua:1: ', 1, true), 1)\n"
        "same(pcall(core.world, { config = 'return {' }), false)");
}

static void strangers(void **state) {
    (void)state;
    run("local w = world(FAILOVER, nil, \", keys = { { name = 'k', secret = 'sk-client' } }\")\n"
        "w:start(PLAIN) local e = next_of(w, 'ended') same(e.status, 401) same(e.whole, true)\n"
        "w:start { body = PLAIN.body, headers = { authorization = 'Bearer sk-client' } }\n"
        "next_of(w, 'sent') w:start { body = ('x'):rep(100000) }\n"
        "e = next_of(w, 'ended') same(e.status, 401) same(e.access['end'], 'refused')\n"
        "w:start { method = 'GET', path = '/nothing', headers = { authorization = 'Bearer "
        "sk-client' } }\n"
        "same(next_of(w, 'ended').status, 404)\n"
        "w:start { method = 'HEAD', path = '/' } e = next_of(w, 'ended') same(e.status, 200)\n"
        "same(pcall(w.start, w, { path = 'x\\r\\ny' }), false)");
}

static void many_worlds(void **state) {
    (void)state;
    run("for i = 1, 100 do local w = world(FAILOVER) w:start(PLAIN) w:run(1001) end\n"
        "local kept = {} local ok, why\n"
        "for i = 1, 65 do ok, why = pcall(function() kept[i] = world(FAILOVER) end) end\n"
        "same(ok, false) kept[1]:close() kept[65] = world(FAILOVER)\n"
        "same(pcall(kept[1].now, kept[1]), false)");
}

static void local_stream_for_ever(void **state) {
    (void)state;
    fails_with("local w = world([[ return req:respond { stream = function(out)\n"
               "  while true do out:sleep(1) end end } ]]) w:start(PLAIN) w:run(math.huge)",
               300000, "stopped");
}

static void cases_that_loop(void **state) {
    /* Goal: each call has its own time, is stopped with its place, and the program goes on; the
     * program's own time is the last word. */
    (void)state;
    run("local function loop() while true do end end\n"
        "local stopped = 'stopped: more than 100 ms of CPU time in one test'\n"
        "local function is_stopped(fn) local good, message = core.call(fn)\n"
        "  same(good, false) same(message:sub(-#stopped), stopped)\n"
        "  same(message:match('^lua/program.lua:%d+: ') ~= nil, true, message) end\n"
        "is_stopped(loop) is_stopped(function() while true do pcall(loop) end end)\n"
        "is_stopped(function() table.sort({ 3, 2, 1 }, loop) end)\n"
        "local t = setmetatable({}, { __lt = loop })\n"
        "is_stopped(function() table.sort({ t, t }) end)\n"
        "is_stopped(function() local w = world(FAILOVER) while true do w:run(1) end end)\n"
        "same(core.call(function() return 7 end), true)\n"
        "local e = {} local good, what = core.call(function() error(e) end)\n"
        "same(good, false) same(what, e)\n"
        "same(pcall(core.call), false)");
    fails_with("core.call(function() while true do end end) while true do end", 300000, "stopped");
    fails_with("core.call(function() while true do end end) error('went on')", 50000, "stopped");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(program_itself),    cmocka_unit_test(good_answer),
        cmocka_unit_test(failover),          cmocka_unit_test(connect_errors),
        cmocka_unit_test(stream_that_drips), cmocka_unit_test(first_token_timeout),
        cmocka_unit_test(cut_streams),       cmocka_unit_test(client_leaves),
        cmocka_unit_test(exact_waits),       cmocka_unit_test(notes_are_kept),
        cmocka_unit_test(queue_of_one),      cmocka_unit_test(default_plan),
        cmocka_unit_test(store_and_reload),  cmocka_unit_test(strangers),
        cmocka_unit_test(many_worlds),       cmocka_unit_test(local_stream_for_ever),
        cmocka_unit_test(cases_that_loop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
