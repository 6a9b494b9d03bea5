/* SPDX-License-Identifier: MIT */
/*
 * The construction of the sandbox: what is not allowed is not there, what is protected cannot be
 * changed. The ways to run away are in test_attacks.c, agreement with stock Lua in test_stock.c.
 */
#include "sandbox_fixture.h"

/* Goal: what the sandbox leaves out is not there, what it protects cannot be changed, and the
 * messages say where. */
static void test_limits_of_the_sandbox(void **state) {
    static const char *const absent[] = {
        "io",         "os",       "debug",  "coroutine",      "package", "load",
        "loadstring", "loadfile", "dofile", "collectgarbage", "rawset",  "warn"};
    char source[256];
    size_t i;

    (void)state;
    for (i = 0; i < sizeof absent / sizeof absent[0]; i++) {
        snprintf(source, sizeof source, "return tostring(%s)", absent[i]);
        assert_sandbox(source, "test.lua:1: global '");
    }
    assert_sandbox(
        "return tostring(string.dump) .. tostring(string.pack) .. tostring(math.randomseed)",
        "nilnilnil");
    assert_sandbox("local x\ny = 1", "test.lua:2: assignment to global 'y'");
    assert_sandbox("string.rep = 1", "read-only");
    assert_sandbox("print = 1", "assignment to global 'print'");
    assert_sandbox("_G.print = 1", "assignment to global 'print'");
    assert_sandbox("return tostring(getmetatable('')) .. tostring(getmetatable(string)) .. "
                   "tostring(getmetatable(_G))",
                   "falsefalsefalse");
    assert_sandbox("return select(2, pcall(setmetatable, {}, { __gc = print }))", "__gc");
    assert_sandbox("return select(2, pcall(setmetatable, {}, { __mode = 'k' }))", "__mode");
    assert_sandbox("return select(2, pcall(setmetatable, string, {}))", "read-only");
    assert_sandbox(
        "return select(2, pcall(setmetatable, setmetatable({}, { __metatable = 1 }), {}))",
        "protected");
    assert_sandbox("return require('a.b').x .. ' ' .. require('a.b').inner.y .. "
                   "tostring(require('a.b') == require('a.b'))",
                   "1 2true");
    assert_sandbox("require('a.b').x = 2",
                   "test.lua:1: attempt to change a read-only table (field 'x')");
    assert_sandbox("return require 'callable'()", "called");
    assert_sandbox("require 'circle'", "requires itself");
    assert_sandbox("require 'a.bb'", "did you mean lua/a/b.lua");
    assert_sandbox("require 'a/../../etc'", "not found");
    assert_sandbox(
        "return tostring(pcall(require, 'moongate')) .. require('moongate').facts.answer",
        "true42");
    assert_sandbox("require('moongate').facts.answer = 1", "read-only");
    assert_sandbox("return select(2, pcall(require('moongate').wait))",
                   "may only be called while a request is handled");
    assert_sandbox("return ('x'):rep(3) .. #('abc') .. ('%d'):format(7)", "xxx37");
}

/* Goal: the names in the libraries are these and no others, whatever a later Lua adds. */
static void test_names(void **state) {
    static const struct {
        const char *table, *names;
    } cases[] = {
        {"string", "byte char find format gmatch gsub len lower match rep reverse sub upper"},
        {"table", "concat insert move pack remove sort unpack"},
        {"math", "abs acos asin atan ceil cos deg exp floor fmod huge log max maxinteger min "
                 "mininteger modf pi rad random sin sqrt tan tointeger type ult"},
        {"utf8", "char charpattern codepoint codes len offset"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char source[512], expected[512], *got;

        snprintf(source, sizeof source,
                 "local t = {} for k in pairs(%s) do t[#t + 1] = k end table.sort(t) return "
                 "table.concat(t, ' ')",
                 cases[i].table);
        got = in_sandbox(source);
        snprintf(expected, sizeof expected, "%s", cases[i].names);
        assert_string_equal(got, expected);
        free(got);
    }
}

/* Goal: each bounded function refuses what would keep it busy, with its own message. */
static void test_bounds(void **state) {
    static const struct {
        const char *call, *message;
    } cases[] = {
        {"('x'):rep(1 << 21)", "resulting string longer than 1048576 bytes"},
        {"('x'):rep(math.maxinteger)", "resulting string longer"},
        {"('ab'):rep(3, ('x'):rep(600000))", "resulting string longer"},
        {"('x'):rep(1 << 20):byte(1, -1)", "string slice too long"},
        {"utf8.codepoint(('x'):rep(1 << 20), 1, -1)", "string slice too long"},
        {"('a'):rep(2000):gsub('a', ('b'):rep(1000))", "resulting string longer"},
        {"table.concat({ ('x'):rep(1 << 20), 'x' })", "resulting string longer"},
        {"table.concat({}, 'x', 1, 1 << 40)", "too many elements to concat"},
        {"table.unpack({}, 1, 100001)", "too many elements to unpack"},
        {"table.move({}, 1, 100001, 2)", "too many elements to move"},
        {"string.format('%1000d', 1)", "invalid conversion"},
        {"(('x'):rep(1 << 20) .. ('x'):rep(1 << 20) .. ('x'):rep(1 << 20))", "not enough memory"},
        {"('a'):rep(50):find(('a?'):rep(50) .. ('a'):rep(50))", "pattern needs more than 1000000 steps"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char source[256];

        snprintf(source, sizeof source, "return tostring(%s)", cases[i].call);
        assert_sandbox(source, cases[i].message);
    }
}

/* Goal: bytecode is refused where policies are read; it is not verified and could do anything. */
static void test_bytecode(void **state) {
    struct fixture f;

    (void)state;
    sandbox_write(&f, "\033Lua\x54 not really");
    assert_null(fixture_stage(&f, 1));
    assert_true(fixture_has(&f, "policies/t.lua", -1, "attempt to load a binary chunk"));
    fixture_release(&f);
}

/* Goal: a coroutine that was killed is forgotten at once, so nothing can ever resume it: Lua 5.4.4
 * does not survive that. */
static void test_killed_is_forgotten(void **state) {
    struct fake_request r = {.waits = 0};
    struct fixture f;
    struct run *run;
    struct err err;
    lua_State *L;

    (void)state;
    sandbox_write(&f, "return { handle = function() while true do end end }\n");
    assert_non_null(fixture_stage(&f, 1));
    L = f.gen->lanes[0]->box->L;
    run = run_new(f.gen->lanes[0], &fixture_first, &r);
    assert_non_null(run);
    assert_int_equal(lua_rawgetp(L, LUA_REGISTRYINDEX, run), LUA_TTHREAD);
    lua_pop(L, 1);
    assert_int_equal(run_step(run, &err), RUN_TIMEOUT);
    assert_int_equal(lua_rawgetp(L, LUA_REGISTRYINDEX, run), LUA_TNIL);
    lua_pop(L, 1);
    run_free(run);
    fixture_release(&f);
}

/* Goal: read-only tables serve like tables for everything that reads. */
static void test_frozen_reads(void **state) {
    (void)state;
    assert_sandbox("local s = require 'moongate'.facts\n"
                   "local out = {}\n"
                   "for k, v in pairs(s) do out[#out + 1] = k .. v end\n"
                   "local k, v = next(s)\n"
                   "return out[1] .. k .. v .. rawget(s, 'answer') .. rawlen(s) .. #s .. type(s) "
                   ".. tostring(next(s, 'answer'))",
                   "answer42answer424200tablenil");
    assert_sandbox("for _, f in ipairs { table.insert, table.remove, table.sort } do\n"
                   "  assert(select(2, pcall(f, string, 1)):find('read%-only'))\n"
                   "end\n"
                   "assert(not pcall(table.move, { 1 }, 1, 1, 1, string))\n"
                   "return table.concat(table.move(string, 1, 0, 1, {})) .. table.concat(math) .. "
                   "select('#', table.unpack(utf8)) .. 'fine'",
                   "0fine");
}

/* Goal: a configuration file's state takes functions from C but no globals from its script, and
 * knows no require. */
static void test_config_state(void **state) {
    struct policy_env env = {0};
    struct config_lua lua;
    struct lua_State *L;
    struct err err;

    (void)state;
    policy_config_lua(&env, &lua);
    L = lua.open(lua.ctx);
    assert_non_null(L);
    lua_pushcfunction(L, fixture_loading);
    lua_setglobal(L, "given");
    assert_int_equal(luaL_loadstring(L, "return given()"), LUA_OK);
    assert_int_equal(lua.call(lua.ctx, L, 0, 1, &err), 0);
    assert_true(lua_toboolean(L, -1));
    lua_settop(L, 0);
    assert_int_equal(luaL_loadstring(L, "x = 1"), LUA_OK);
    assert_int_equal(lua.call(lua.ctx, L, 0, 1, &err), -1);
    assert_non_null(strstr(err.text, "assignment to global 'x'"));
    assert_int_equal(luaL_loadstring(L, "return require"), LUA_OK);
    assert_int_equal(lua.call(lua.ctx, L, 0, 1, &err), -1);
    assert_int_equal(luaL_loadstring(L, "while true do end"), LUA_OK);
    assert_int_equal(lua.call(lua.ctx, L, 0, 1, &err), -1);
    assert_non_null(strstr(err.text, "CPU"));
    assert_int_equal(lua_gettop(L), 0);
    lua.close(lua.ctx, L);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_limits_of_the_sandbox),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_bytecode),
        cmocka_unit_test(test_killed_is_forgotten),
        cmocka_unit_test(test_frozen_reads),
        cmocka_unit_test(test_config_state),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
