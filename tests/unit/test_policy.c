/* SPDX-License-Identifier: MIT */
/*
 * Generations, lanes and runs: staging and every way it refuses, running and every way it ends,
 * retirement, and that all memory is given back.
 */
#include "policy_fixture.h"

#define ROUTE(policy, settings)                                                                    \
    "{ name = '" policy "', path = '/" policy "', policy = '" policy "', settings = {" settings    \
    "} },\n"

static void one_policy(struct fixture *f, const char *source) {
    fixture_init(f);
    fixture_write(f, "gateway.lua", CONFIG_HEAD ROUTE("t", "") ROUTE("good", "") CONFIG_TAIL);
    fixture_write(f, "lua/moongate/schema.lua", TINY_SCHEMA);
    fixture_write(f, "policies/t.lua", source);
    fixture_write(f, "policies/good.lua", "return { handle = function() return 'good' end }\n");
}

static void staged(struct fixture *f, const char *source) {
    one_policy(f, source);
    if (!fixture_stage(f, 1)) {
        fixture_print(f);
        fail_msg("staging refused the policy");
    }
}

static void keep_line(void *ctx, enum log_level level, const char *line) {
    (void)level;
    snprintf(ctx, 512, "%s", line);
}

static void assert_good(struct fixture *f) {
    struct fake_request r;
    struct err err;

    assert_int_equal(fixture_run(f->gen->lanes[0], &fixture_second, &r, &err), RUN_DONE);
    assert_string_equal(r.result, "good");
}

/* Goal: a sound configuration is staged; handlers get their completed, read-only settings; the
 * default plan lists targets with groups flattened. */
static void test_stage_ok(void **state) {
    struct fixture f;
    struct fake_request r;
    struct err err;
    const char *const *targets;

    (void)state;
    fixture_init(&f);
    fixture_write(&f, "gateway.lua",
                  CONFIG_HEAD ROUTE("t", "targets = { 'p/a', { target = 'p/b' }, { order = 'x', "
                                         "targets = { 'p/c', { target = 'p' } } } }") CONFIG_TAIL);
    fixture_write(&f, "lua/moongate/schema.lua", TINY_SCHEMA);
    fixture_write(&f, "lua/helper.lua", "local m = { greeting = 'hello' } return m\n");
    fixture_write(&f, "policies/t.lua",
                  "local helper = require 'helper'\n"
                  "local moongate = require 'moongate'\n"
                  "assert(moongate.loading())\n"
                  "return { settings = { targets = { required = true }, limit = { type = 'number', "
                  "default = 3 } },\n"
                  "  handle = function(req, settings)\n"
                  "    local ok = pcall(function() settings.limit = 4 end)\n"
                  "    local names = {}\n"
                  "    for i, t in ipairs(settings.targets) do names[i] = type(t) == 'table' and "
                  "'table' or t end\n"
                  "    return helper.greeting .. ' ' .. settings.limit .. ' ' .. tostring(ok) .. ' "
                  "' .. #settings.targets .. table.concat(names, ',')\n"
                  "       .. moongate.facts.answer .. tostring(moongate.loading())\n"
                  "  end }\n");
    if (!fixture_stage(&f, 2)) {
        fixture_print(&f);
        fail();
    }
    assert_int_equal(generation_id(f.gen), 7);
    targets = lane_targets(f.gen->lanes[0], 0);
    assert_string_equal(targets[0], "p/a");
    assert_string_equal(targets[1], "p/b");
    assert_string_equal(targets[2], "p/c");
    assert_string_equal(targets[3], "p");
    assert_null(targets[4]);
    assert_int_equal(fixture_run(generation_lane(f.gen, 1), &fixture_first, &r, &err), RUN_DONE);
    assert_string_equal(r.result, "hello 3 false 3p/a,table,table42false");
    fixture_release(&f);
}

static void assert_json(const struct value *v, const char *expected) {
    struct buf out;

    buf_init(&out, 1024);
    assert_int_equal(value_to_json(v, &out), BUF_OK);
    assert_string_equal(out.data, expected);
    buf_release(&out);
}

/* Goal: schema, version and completed settings of a route are there as data, without functions and
 * without a Lua state; a policy without any has an empty schema. */
static void test_told_as_data(void **state) {
    struct fixture f;

    (void)state;
    staged(&f, "return { version = '1.5', settings = { limit = { type = 'number', default = 3, "
               "judge = function() end } }, handle = function() return 'x' end }\n");
    assert_json(generation_schema(f.gen, 0), "{\"limit\":{\"default\":3,\"type\":\"number\"}}");
    assert_json(generation_settings(f.gen, 0), "{\"limit\":3}");
    assert_json(generation_policy_version(f.gen, 0), "\"1.5\"");
    assert_json(generation_schema(f.gen, 1), "{}");
    assert_json(generation_policy_version(f.gen, 1), "null");
    fixture_release(&f);
}

/* Goal: each fault of a policy file is refused with file and line. */
static void test_contract_faults(void **state) {
    static const struct {
        const char *source;
        const char *file;
        int line;
        const char *text;
    } cases[] = {
        {"local x = 1\nreturn { handle = function( end }\n", "policies/t.lua", 2, "expected"},
        {"local x = 1\nerror('boom')\nreturn { handle = function() end }\n", "policies/t.lua", 2,
         "boom"},
        {"local x = 1\n\n-- nothing\n", "policies/t.lua", 3, "returned nothing"},
        {"local x = 1\nreturn 42\n", "policies/t.lua", 2, "number"},
        {"local x = 1\nreturn {\n  name = 't',\n}\n", "policies/t.lua", 2, "'handle'"},
        {"local x = 1\nreturn {\n  name = 't',\n  handel = function() end,\n}\n", "policies/t.lua",
         4, "'handel'"},
        {"return {\n  name = 't',\n  handle = 'no',\n}\n", "policies/t.lua", 3, "string"},
        {"return {\n  settings = 5,\n  handle = function() end,\n}\n", "policies/t.lua", 2,
         "number"},
        {"x = 1\nreturn { handle = function() end }\n", "policies/t.lua", 1, "global 'x'"},
        {"local y = undefined_name\nreturn { handle = function() end }\n", "policies/t.lua", 1,
         "undefined_name"},
        {"local m = require 'nowhere'\nreturn { handle = function() end }\n", "policies/t.lua", 1,
         "nowhere"},
        {"\nwhile true do end\nreturn { handle = function() end }\n", "policies/t.lua", 2, "CPU"},
        {"require('moongate').wait()\nreturn { handle = function() end }\n", "policies/t.lua", 1,
         "may only be called while a request is handled"},
        {"\x1bLua", "policies/t.lua", -1, "binary"},
        {"local t = {}\nfor i = 1, 1e9 do t[i] = i end\nreturn { handle = function() end }\n",
         "policies/t.lua", -1, "memory"},
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fixture f;

        one_policy(&f, cases[i].source);
        f.env.load_cpu = strstr(cases[i].text, "memory") ? 10000000 : 300000;
        assert_null(fixture_stage(&f, 1));
        if (!fixture_has(&f, cases[i].file, cases[i].line, cases[i].text)) {
            fail_msg("case %zu: expected %s:%d: %s", i, cases[i].file, cases[i].line,
                     cases[i].text);
        }
        fixture_release(&f);
    }
}

/* Goal: faults of two policies and of the settings of two routes are all told at once, the settings
 * at their lines of gateway.lua. */
static void test_all_mistakes_at_once(void **state) {
    struct fixture f;

    (void)state;
    fixture_init(&f);
    fixture_write(&f, "gateway.lua",
                  CONFIG_HEAD                                                   /* lines 1 and 2 */
                  "{ name = 'a', path = '/a', policy = 'a', settings = {} },\n" /* 3 */
                  "{ name = 'b', path = '/b', policy = 'b', settings = {} },\n" /* 4 */
                  "{ name = 'c', path = '/c', policy = 'c', settings = {\n"     /* 5 */
                  "    limit = 'high',\n"                                       /* 6 */
                  "    unknown = 1,\n"                                          /* 7 */
                  "} },\n"
                  "{ name = 'd', path = '/d', policy = 'c', settings = {\n" /* 9 */
                  "    targets = { 'p/x', 'nobody/y' } } },\n"              /* 10 */
                  CONFIG_TAIL);
    fixture_write(&f, "lua/moongate/schema.lua", TINY_SCHEMA);
    fixture_write(&f, "policies/a.lua", "return {}\n");
    fixture_write(&f, "policies/b.lua", "return { handle = 1 }\n");
    fixture_write(&f, "policies/c.lua",
                  "return { settings = { limit = { type = 'number', default = 1 }, targets = {} }, "
                  "handle = function() end }\n");
    assert_null(fixture_stage(&f, 1));
    assert_true(fixture_has(&f, "policies/a.lua", 1, "handle"));
    assert_true(fixture_has(&f, "policies/b.lua", 1, "number"));
    assert_true(fixture_has(&f, "gateway.lua", 6, "routes[3].settings.limit: expected a number"));
    assert_true(fixture_has(&f, "gateway.lua", 7, "unknown"));
    assert_true(fixture_has(&f, "gateway.lua", 10, "nobody"));
    assert_int_equal(f.diags.errors, 5);
    fixture_release(&f);
}

/* Goal: a policy's own check can refuse and warn; warnings do not stop a load. */
static void test_own_check(void **state) {
    struct fixture f;

    (void)state;
    one_policy(&f, "return { handle = function() return 'x' end,\n"
                   "  check = function(settings) return { { path = '', message = 'just so', "
                   "warning = true } } end }\n");
    assert_non_null(fixture_stage(&f, 1));
    assert_true(fixture_has(&f, "gateway.lua", 3, "just so"));
    assert_int_equal(f.diags.errors, 0);
    fixture_release(&f);
    one_policy(&f, "return { handle = function() return 'x' end, check = function(settings) return "
                   "{ 'never' } end }\n");
    assert_null(fixture_stage(&f, 1));
    assert_true(fixture_has(&f, "gateway.lua", 3, "never"));
    fixture_release(&f);
    one_policy(&f, "return { handle = function() return 'x' end, check = function(settings)\n  "
                   "error('oops') end }\n");
    assert_null(fixture_stage(&f, 1));
    assert_true(fixture_has(&f, "gateway.lua", 3, "oops"));
    fixture_release(&f);
}

/* Goal: a run that waits keeps its place while others run in the same lane, and ends with its
 * result. */
static void test_waiting(void **state) {
    struct fixture f;
    struct fake_request r = {{0}, 0};
    struct err err;
    struct run *run;

    (void)state;
    staged(&f, "local moongate = require 'moongate'\n"
               "return { handle = function() local n = 0 for i = 1, 3 do n = moongate.wait() end "
               "return 'waited ' .. n end }\n");
    run = run_new(f.gen->lanes[0], &fixture_first, &r);
    assert_non_null(run);
    assert_int_equal(run_step(run, &err), RUN_WAITING);
    assert_good(&f);
    assert_int_equal(run_step(run, &err), RUN_WAITING);
    assert_int_equal(run_step(run, &err), RUN_WAITING);
    assert_int_equal(run_step(run, &err), RUN_DONE);
    assert_string_equal(r.result, "waited 3");
    assert_int_equal(lua_gettop(f.gen->lanes[0]->box->L), 0);
    run_free(run);
    assert_good(&f);
    fixture_release(&f);
}

/* Goal: every way to fail has its status, a message with file and line, is counted, and leaves the
 * lane to others. */
static void test_failures(void **state) {
    static const struct {
        const char *body;
        enum run_status status;
        const char *text;
    } cases[] = {
        {"error('boom')", RUN_ERROR, "policies/t.lua:2: boom"},
        {"error({})", RUN_ERROR, "table"},
        {"error(12)", RUN_ERROR, "12"},
        {"error()", RUN_ERROR, "nil"},
        {"local x = nil; return x.y", RUN_ERROR, "policies/t.lua:2: "},
        {"undeclared = 1", RUN_ERROR, "policies/t.lua:2: assignment to global 'undeclared'"},
        {"while true do end", RUN_TIMEOUT, "policies/t.lua:2: stopped"},
        {"local t = {} while true do t[#t + 1] = ('x'):rep(1e5) .. #t end", RUN_NOMEM, "memory"},
        {"return", RUN_BAD_RESULT, "nothing"},
        {"return {}", RUN_BAD_RESULT, "table"},
        {"local function f() return f() + 1 end return f()", RUN_NOMEM,
         "policies/t.lua:2: not enough memory"},
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fixture f;
        struct fake_request r;
        struct lane_stats stats;
        struct log log;
        struct err err;
        char source[512], line[512] = "";
        enum run_status status;

        snprintf(source, sizeof source, "return { handle = function(req, settings)\n%s\nend }\n",
                 cases[i].body);
        one_policy(&f, source);
        log_init(&log, keep_line, line, LOG_LEVEL_INFO);
        f.env.log = &log;
        f.env.resume_cpu = cases[i].status == RUN_TIMEOUT ? 0 : 10000000;
        f.env.request_cpu = 20000000;
        assert_non_null(fixture_stage(&f, 1));
        status = fixture_run(f.gen->lanes[0], &fixture_first, &r, &err);
        if (status != cases[i].status || !strstr(err.text, cases[i].text)) {
            fail_msg("case %zu: status %d, %s", i, (int)status, err.text);
        }
        assert_non_null(strstr(line, "(generation 7): "));
        assert_non_null(strstr(line, cases[i].text));
        assert_good(&f);
        generation_stats(f.gen, &stats);
        assert_int_equal(stats.calls, 2);
        assert_int_equal(stats.kills_by[KILL_MEMORY], cases[i].status == RUN_NOMEM);
        assert_int_equal(stats.kills_by[KILL_STRETCH], cases[i].status == RUN_TIMEOUT);
        assert_int_equal(stats.kills + stats.errors, 1);
        assert_int_equal(stats.runs, 0);
        fixture_release(&f);
    }
}

/* Goal: the budget of a request counts all its steps together, and C-side work is charged. */
static void test_budgets(void **state) {
    struct fixture f;
    struct fake_request r;
    struct err err;

    (void)state;
    one_policy(&f, "local moongate = require 'moongate'\n"
                   "return { handle = function() for i = 1, 1e6 do for j = 1, 20000 do end "
                   "moongate.wait() end end }\n");
    f.env.resume_cpu = 1000000;
    f.env.request_cpu = 20000;
    assert_non_null(fixture_stage(&f, 1));
    assert_int_equal(fixture_run(f.gen->lanes[0], &fixture_first, &r, &err), RUN_TIMEOUT);
    assert_non_null(strstr(err.text, "for one request"));
    assert_true(r.waits > 1);
    assert_good(&f);
    fixture_release(&f);
    one_policy(&f, "local moongate = require 'moongate'\n" /* many steps, each too short for a look
                                                              at the clock */
                   "return { handle = function() while true do moongate.wait() end end }\n");
    f.env.request_cpu = 50;
    assert_non_null(fixture_stage(&f, 1));
    assert_int_equal(fixture_run(f.gen->lanes[0], &fixture_first, &r, &err), RUN_TIMEOUT);
    assert_good(&f);
    fixture_release(&f);
    staged(&f, "local moongate = require 'moongate'\nreturn { handle = function() while true do "
               "moongate.charge(1e6) end end }\n");
    assert_int_equal(fixture_run(f.gen->lanes[0], &fixture_first, &r, &err), RUN_TIMEOUT);
    assert_non_null(strstr(err.text, "policies/t.lua:2: "));
    assert_good(&f);
    fixture_release(&f);
}

/* Goal: to-be-closed variables of a run that raised are closed, and a closer that loops is stopped.
 */
static void test_close_on_error(void **state) {
    struct fixture f;
    struct fake_request r;
    struct err err;

    (void)state;
    staged(&f,
           "local closed = 'no'\n"
           "return { handle = function()\n"
           "  if closed == 'yes' then return closed end\n"
           "  local guard <close> = setmetatable({}, { __close = function() closed = 'yes' end })\n"
           "  error('x') end }\n");
    assert_int_equal(fixture_run(f.gen->lanes[0], &fixture_first, &r, &err), RUN_ERROR);
    assert_int_equal(fixture_run(f.gen->lanes[0], &fixture_first, &r, &err), RUN_DONE);
    assert_string_equal(r.result, "yes");
    fixture_release(&f);
    staged(
        &f,
        "return { handle = function()\n"
        "  local guard <close> = setmetatable({}, { __close = function() while true do end end })\n"
        "  error('x') end }\n");
    assert_int_equal(fixture_run(f.gen->lanes[0], &fixture_first, &r, &err), RUN_TIMEOUT);
    assert_good(&f);
    fixture_release(&f);
}

/* Goal: a retired lane stays open while a run holds it and closes with the last one; the generation
 * goes with the last reference. */
static void test_retire(void **state) {
    struct fixture f;
    struct fake_request r = {{0}, 0};
    struct lane_stats stats;
    struct err err;
    struct run *run;
    struct lane *lane;

    (void)state;
    staged(&f, "local moongate = require 'moongate'\nreturn { handle = function() moongate.wait() "
               "return 'late' end }\n");
    lane = f.gen->lanes[0];
    run = run_new(lane, &fixture_first, &r);
    assert_int_equal(run_step(run, &err), RUN_WAITING);
    lane_retire(lane);
    lane_stats(lane, &stats);
    assert_int_equal(stats.runs, 1);
    assert_true(stats.bytes > 0);
    assert_int_equal(run_step(run, &err), RUN_DONE);
    assert_string_equal(r.result, "late");
    run_free(run);
    lane_stats(lane, &stats); /* the fixture still holds the generation */
    assert_int_equal(stats.bytes, 0);
    assert_null(run_new(lane, &fixture_first, &r));
    fixture_release(&f);
}

/* Goal: a run dropped in the middle of a wait is gone, the lane goes on. */
static void test_drop(void **state) {
    struct fixture f;
    struct fake_request r = {{0}, 0};
    struct err err;
    int i;

    (void)state;
    staged(&f, "local moongate = require 'moongate'\nreturn { handle = function() "
               "moongate.wait(1000) return 'x' end }\n");
    for (i = 0; i < 1000; i++) {
        struct run *run = run_new(f.gen->lanes[0], &fixture_first, &r);

        assert_int_equal(run_step(run, &err), RUN_WAITING);
        run_free(run);
        run = run_new(f.gen->lanes[0], &fixture_first, &r);
        run_free(run); /* never started */
    }
    run_free(NULL);
    assert_good(&f);
    fixture_release(&f);
}

/* Goal: lanes share nothing: what one holds in a local is not seen in the other, and a full one
 * does not hinder it. */
static void test_lanes_independent(void **state) {
    struct fixture f;
    struct fake_request r;
    struct err err;

    (void)state;
    one_policy(&f, "local n, hoard = 0, {}\n"
                   "return { handle = function() n = n + 1\n"
                   "  if n == 2 then for i = 1, 1e9 do hoard[i] = ('x'):rep(1000) .. i end end\n"
                   "  return 'call ' .. n end }\n");
    f.env.resume_cpu = f.env.request_cpu = 20000000;
    assert_non_null(fixture_stage(&f, 2));
    assert_int_equal(fixture_run(f.gen->lanes[0], &fixture_first, &r, &err), RUN_DONE);
    assert_string_equal(r.result, "call 1");
    assert_int_equal(fixture_run(f.gen->lanes[0], &fixture_first, &r, &err), RUN_NOMEM);
    assert_int_equal(fixture_run(f.gen->lanes[1], &fixture_first, &r, &err), RUN_DONE);
    assert_string_equal(r.result, "call 1");
    fixture_release(&f);
}

/* Goal: a policy that hoards between requests fills its state; once the runs that stand in it have
 * ended, the state is made anew and everybody is served again. */
static void test_hoarder(void **state) {
    struct fixture f;
    struct fake_request r, waiting = {{0}, 0};
    struct err err;
    struct run *run;
    int i;

    (void)state;
    one_policy(&f, "local moongate, hoard = require 'moongate', {}\n"
                   "return { handle = function()\n"
                   "  if #hoard == 0 then hoard[1] = 'x' moongate.wait() return 'waited' end\n"
                   "  for i = 1, 1e9 do hoard[#hoard + 1] = ('x'):rep(1000) .. #hoard end end }\n");
    f.env.resume_cpu = f.env.request_cpu = 20000000;
    assert_non_null(fixture_stage(&f, 1));
    run = run_new(f.gen->lanes[0], &fixture_first, &waiting);
    assert_int_equal(run_step(run, &err), RUN_WAITING);
    assert_int_equal(fixture_run(f.gen->lanes[0], &fixture_first, &r, &err), RUN_NOMEM);
    for (i = 0; i < 3; i++) {
        assert_int_equal(fixture_run(f.gen->lanes[0], &fixture_second, &r, &err), RUN_NOMEM);
        assert_non_null(strstr(err.text, "between requests"));
    }
    assert_int_equal(run_step(run, &err), RUN_DONE);
    assert_string_equal(waiting.result, "waited");
    run_free(run);
    assert_good(&f);
    assert_int_equal(fixture_run(f.gen->lanes[0], &fixture_first, &r, &err), RUN_DONE);
    fixture_release(&f);
}

/* Goal: all memory of a state is given back, whatever happened in it. */
static void test_memory_back_to_zero(void **state) {
    struct alloc a;
    lua_State *L;

    (void)state;
    alloc_init(&a, MIB(1), KIB(64));
    L = lua_newstate(alloc_call, &a);
    assert_non_null(L);
    assert_true(a.used > 0 && a.blocks > 0);
    assert_int_equal(luaL_loadstring(L, "local t = {} for i = 1, 1e9 do t[i] = {} end"), LUA_OK);
    assert_int_equal(lua_pcall(L, 0, 0, 0), LUA_ERRMEM);
    assert_true(a.used <= a.cap);
    lua_close(L);
    assert_int_equal(a.used, 0);
    assert_int_equal(a.blocks, 0);
    alloc_init(&a, 1000, 0); /* too small for any state */
    assert_null(lua_newstate(alloc_call, &a));
    assert_int_equal(a.used, 0);
}

/* Goal: wherever memory runs out, while a generation is staged or a request is handled, it ends
 * with a message and not a crash. */
static void test_without_memory(void **state) {
    static const char source[] =
        "return { settings = { list = { default = { 1, 2, { 3 } } } }, handle = function(req, "
        "settings)\n"
        "  local t = {} for i = 1, 100 do t[i] = ('%d'):format(i):gsub('1', 'one') end\n"
        "  table.sort(t) return table.concat(t) end }\n";
    int refused = 0, short_runs = 0, done = 0;
    const char *none[] = {NULL};
    struct config_lua lua;
    struct fixture f;
    char path[128];
    size_t bytes;

    (void)state;
    one_policy(&f, source);
    fixture_write(&f, "lua/dialects/openai.lua", "return { name = 'openai' }\n");
    snprintf(path, sizeof path, "%s/gateway.lua", f.dir);
    f.snapshot = snapshot_read(path, none, NULL);
    policy_config_lua(&f.env, &lua);
    f.config = config_load(f.snapshot, &lua, &f.diags);
    assert_non_null(f.config);
    for (bytes = KIB(1); bytes < KIB(72); bytes += 777) {
        struct fake_request r;
        struct err err;
        enum run_status status;

        f.env.state_bytes = bytes;
        f.gen = generation_stage(&f.env, 1, f.snapshot, f.config, 1, &f.diags);
        if (!f.gen) {
            refused++;
            assert_true(f.diags.errors > 0);
            diags_release(&f.diags);
            diags_init(&f.diags);
            continue;
        }
        status = fixture_run(f.gen->lanes[0], &fixture_first, &r, &err);
        assert_true(status == RUN_DONE || status == RUN_NOMEM);
        short_runs += status == RUN_NOMEM;
        done += status == RUN_DONE;
        lane_retire(f.gen->lanes[0]);
        generation_unref(f.gen);
        f.gen = NULL;
    }
    assert_true(refused > 0 && short_runs > 0 && done > 0);
    fixture_release(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stage_ok),          cmocka_unit_test(test_told_as_data),
        cmocka_unit_test(test_contract_faults),   cmocka_unit_test(test_all_mistakes_at_once),
        cmocka_unit_test(test_own_check),         cmocka_unit_test(test_waiting),
        cmocka_unit_test(test_failures),          cmocka_unit_test(test_budgets),
        cmocka_unit_test(test_close_on_error),    cmocka_unit_test(test_retire),
        cmocka_unit_test(test_hoarder),           cmocka_unit_test(test_drop),
        cmocka_unit_test(test_lanes_independent), cmocka_unit_test(test_memory_back_to_zero),
        cmocka_unit_test(test_without_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
