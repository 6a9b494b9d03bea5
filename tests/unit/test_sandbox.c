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
        cmocka_unit_test(test_frozen_reads),
        cmocka_unit_test(test_config_state),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
