/* SPDX-License-Identifier: MIT */
/*
 * The sandbox: every known way to run away is stopped and leaves the state usable, what is not
 * allowed is not there, and the bounded library functions give the results of the stock ones.
 */
#include "policy_fixture.h"

#include <lualib.h>

#define ATTACK_ALARM                                                                               \
    60 /* seconds of wall clock after which an attack counts as not stopped; far above what any    \
          machine needs */

static const char GATEWAY[] =
    CONFIG_HEAD "{ name = 't', path = '/t', policy = 't' }, { name = 'good', path = '/good', "
                "policy = 'good' },\n" CONFIG_TAIL;

static void stage(struct fixture *f, const char *source) {
    fixture_init(f);
    fixture_write(f, "gateway.lua", GATEWAY);
    fixture_write(f, "lua/moongate/schema.lua", TINY_SCHEMA);
    fixture_write(f, "policies/t.lua", source);
    fixture_write(f, "policies/good.lua",
                  "return { handle = function()\n"
                  "  local t = {} for i = 1, 100 do t[i] = (tostring(i):gsub('%d', '%0')) end\n"
                  "  table.sort(t) return 'good' .. #t end }\n");
}

struct attack {
    const char *name;
    const char *body;
};

/* TRAPS 1.2, row by row, and variations that reach the same causes through what the sandbox adds.
 */
static const struct attack ATTACKS[] = {
    {"endless loop", "while true do end"},
    {"goto loop", "::a:: goto a"},
    {"pcall loop", "local function loop() while true do end end while true do pcall(loop) end"},
    {"recursive pcall", "local f f = function() pcall(f) pcall(f) end f()"},
    {"xpcall, looping handler", "local function loop() while true do end end xpcall(loop, loop)"},
    {"xpcall, error, looping handler", "xpcall(error, function() while true do end end, 'x')"},
    {"xpcall in its own handler",
     "local f f = function() xpcall(error, f, 'x') xpcall(error, f, 'x') end f()"},
    {"sort comparator loops", "table.sort({ 3, 2, 1 }, function() while true do end end)"},
    {"xpcall over a looping comparator",
     "local function loop() while true do end end xpcall(function() table.sort({ 3, 2, 1 }, loop) "
     "end, loop)"},
    {"recursive pcall in a comparator",
     "local f f = function() pcall(f) pcall(f) end table.sort({ 3, 2, 1 }, f)"},
    {"inconsistent comparator", "local t = {} for i = 1, 1000 do t[i] = i end while true do "
                                "table.sort(t, function() return true end) end"},
    {"gsub callback loops", "('x'):gsub('x', function() while true do end end)"},
    {"gsub callback with recursive pcall",
     "local f f = function() pcall(f) pcall(f) end ('x'):gsub('x', f)"},
    {"gsub table with __index",
     "('x'):gsub('x', setmetatable({}, { __index = function() while true do end end }))"},
    {"__close loops",
     "do local x <close> = setmetatable({}, { __close = function() while true do end end }) end"},
    {"__close loops on error", "pcall(function() local x <close> = setmetatable({}, { __close = "
                               "function() while true do end end }) error('x') end)"},
    {"__gc", "setmetatable({}, { __gc = function() while true do end end }) error('not refused')"},
    {"string.rep of nothing", "local s = (''):rep(1 << 62) while true do s = s:rep(1 << 62) end"},
    {"string.rep of nothing with a separator",
     "while true do pcall(string.rep, '', 1 << 62, '') end"},
    {"string.rep large", "local s = ('x'):rep(60000000) error(#s)"},
    {"string.rep in a loop", "while true do local s = ('x'):rep(1000000) end"},
    {"table.move", "table.move({}, 1, 1 << 50, 2)"},
    {"table.move in a loop", "local t = {} while true do table.move(t, 1, 99999, 2) end"},
    {"table.insert with __len", "table.insert(setmetatable({}, { __len = function() return 1 << 50 "
                                "end }), 1, 'x') while true do end"},
    {"table.remove with __len", "table.remove(setmetatable({}, { __len = function() return 1 << 50 "
                                "end }), 1) while true do end"},
    {"table.concat with __len",
     "table.concat(setmetatable({}, { __len = function() return 1 << 50 end })) while true do end"},
    {"table.unpack with __len",
     "table.unpack(setmetatable({}, { __len = function() return 1 << 50 end })) while true do end"},
    {"table.sort with __len",
     "table.sort(setmetatable({}, { __len = function() return 1 << 50 end })) while true do end"},
    {"table.concat with a range", "table.concat({}, '', 1, 1 << 62)"},
    {"table.unpack with a range", "table.unpack({}, math.mininteger, math.maxinteger)"},
    {"table.concat in a loop",
     "local t = {} for i = 1, 50000 do t[i] = '0123456789' end while true do table.concat(t) end"},
    {"lazy pattern", "local s = ('a'):rep(50000) while true do s:find('.-.-.-.-b') end"},
    {"optional pattern", "local s = ('a'):rep(40) while true do s:find(('a?'):rep(40) .. s) end"},
    {"lazy pattern under pcall",
     "local s = ('a'):rep(50000) while true do pcall(string.find, s, '.-.-.-.-b') end"},
    {"gsub over a large text", "local s = ('a'):rep(1000000) while true do s:gsub('a', 'b') end"},
    {"gmatch of a bad pattern",
     "for w in ('a'):rep(50000):gmatch('.-.-.-.-b') do end while true do end"},
    {"large sets",
     "local p = '[' .. ('b'):rep(100000) .. ']*c' while true do ('a'):rep(1000):find(p) end"},
    {"back references",
     "local s = ('a'):rep(100000) while true do pcall(string.find, s, '(.*)%1%1%1b') end"},
    {"balance", "local s = ('('):rep(100000) while true do pcall(string.find, s, '%b()') end"},
    {"plain find, quadratic in stock Lua", "local s, p = ('a'):rep(1000000), ('a'):rep(500000) .. "
                                           "'b' while true do s:find(p, 1, true) end"},
    {"table of a billion", "local t = {} for i = 1, 1000000000 do t[i] = i end"},
    {"table of a billion under pcall",
     "while true do pcall(function() local t = {} for i = 1, 1000000000 do t[i] = i end end) end"},
    {"string doubling", "local s = 'x' while true do s = s .. s end"},
    {"string doubling under pcall",
     "local s = 'x' while true do pcall(function() while true do s = s .. s end end) end"},
    {"upper of a large text", "local s = ('x'):rep(1000000) while true do s:upper() end"},
    {"concatenation of large texts",
     "local s = ('x'):rep(1000000) while true do local t = s .. 'y' end"},
    {"comparison of large texts", "local s, t = ('x'):rep(1000000) .. 'a', ('x'):rep(1000000) .. "
                                  "'b' while true do local b = s < t end"},
    {"string.byte of a large text",
     "local s = ('x'):rep(900000) while true do pcall(string.byte, s, 1, -1) end"},
    {"utf8.len of a large text", "local s = ('x'):rep(1000000) while true do utf8.len(s) end"},
    {"tonumber of a large text", "local s = (' '):rep(1000000) while true do tonumber(s) end"},
    {"string.format of large texts",
     "local s = ('x'):rep(1000000) while true do local t = ('%s'):format(s) end"},
    {"__tostring loops",
     "tostring(setmetatable({}, { __tostring = function() while true do end end }))"},
    {"__tostring in format loops",
     "('%s'):format(setmetatable({}, { __tostring = function() while true do end end }))"},
    {"recursive pcall in a __tostring in format",
     "local f f = function() pcall(f) pcall(f) end while true do pcall(string.format, '%s', "
     "setmetatable({}, { __tostring = f })) end"},
    {"xpcall in a __tostring in format",
     "local f f = function() xpcall(f, f) xpcall(f, f) end while true do pcall(string.format, "
     "'%s', setmetatable({}, { __tostring = f })) end"},
    {"deep recursion, pcall in a __tostring in format",
     "local function loop() while true do end end local function deep(n) if n > 0 then return "
     "(deep(n - 1)) end while true do pcall(loop) end end\n"
     "('%s'):format(setmetatable({}, { __tostring = function() deep(10000) end }))"},
    {"__close in a __tostring in format",
     "('%s'):format(setmetatable({}, { __tostring = function() while true do pcall(function()\n"
     "  local x <close> = setmetatable({}, { __close = function() while true do end end }) end) "
     "end end }))"},
    {"ipairs with a looping __index",
     "for i in ipairs(setmetatable({}, { __index = function() while true do end end })) do end"},
    {"ipairs without end",
     "for i in ipairs(setmetatable({}, { __index = function() return 1 end })) do end"},
    {"string arithmetic with a looping metamethod",
     "local x = 'a' + setmetatable({}, { __add = function() while true do end end })"},
    {"__index chain", "local t = setmetatable({}, { __index = function(t, k) while true do end end "
                      "}) local x = t.x"},
    {"__eq, __lt, __concat loops", "local m = { __lt = function() while true do end end } local x "
                                   "= setmetatable({}, m) < setmetatable({}, m)"},
    {"pairs with a looping __pairs",
     "for k in pairs(setmetatable({}, { __pairs = function() while true do end end })) do end"},
    {"error value with a looping __tostring",
     "error(setmetatable({}, { __tostring = function() while true do end end, __name = 'x' }))"},
    {"infinite recursion", "local function f() return 1 + f() end f()"},
    {"infinite recursion under pcall",
     "local f f = function() return 1 + select(2, pcall(f)) end while true do pcall(f) end"},
    {"string metatable recursion", "local t = setmetatable({}, {}) getmetatable(t).__index = t "
                                   "while true do local x = pcall(function() return t.x end) end"},
    {"many coroutineless closures",
     "local t = {} while true do t[#t + 1] = function() return t end end"},
    {"print of large texts", "local s = ('x'):rep(1000000) while true do print(s, s) end"},
    {"require in a loop", "while true do pcall(require, 'nowhere') end"},
};

static enum run_status attack(struct lane *lane, struct err *err) {
    struct fake_request r;
    enum run_status status;

    alarm(ATTACK_ALARM);
    status = fixture_run(lane, &fixture_first, &r, err);
    alarm(0);
    return status;
}

/* Goal: each attack ends by itself, as anything but success, several times over, and another policy
 * in the same state works afterwards. */
static void test_attacks(void **state) {
    size_t i;

    (void)state;
    for (i = 0; i < sizeof ATTACKS / sizeof ATTACKS[0]; i++) {
        struct fixture f;
        struct fake_request r;
        struct err err;
        char source[1024];
        int round;

        snprintf(source, sizeof source,
                 "return { handle = function(req, settings)\n%s\nreturn 'not stopped' end }\n",
                 ATTACKS[i].body);
        stage(&f, source);
        if (!fixture_stage(&f, 1)) {
            fixture_print(&f);
            fail_msg("%s: not staged", ATTACKS[i].name);
        }
        for (round = 0; round < 3; round++) {
            enum run_status status = attack(f.gen->lanes[0], &err);

            if (status == RUN_DONE || status == RUN_WAITING) {
                fail_msg("%s: status %d", ATTACKS[i].name, (int)status);
            }
            if (fixture_run(f.gen->lanes[0], &fixture_second, &r, &err) != RUN_DONE) {
                fail_msg("after %s: %s", ATTACKS[i].name, err.text);
            }
            assert_string_equal(r.result, "good100");
            assert_int_equal(lua_gettop(f.gen->lanes[0]->box->L), 0);
        }
        assert_true(f.gen->lanes[0]->box->alloc.used <= LUA_STATE_BYTES + LUA_RESERVE);
        fixture_release(&f);
    }
}

/* Goal: the same attacks while the file is loaded end the load with a message and nothing else. */
static void test_attacks_at_load(void **state) {
    size_t i;

    (void)state;
    for (i = 0; i < sizeof ATTACKS / sizeof ATTACKS[0]; i++) {
        struct fixture f;
        char source[1024];

        snprintf(source, sizeof source, "do %s end\nerror('ran through')\n", ATTACKS[i].body);
        stage(&f, source);
        f.env.load_cpu = 60000;
        alarm(ATTACK_ALARM);
        assert_null(fixture_stage(&f, 1));
        alarm(0);
        assert_true(f.diags.errors > 0);
        fixture_release(&f);
    }
}

/* Runs Lua text in a fresh sandbox and returns its one text result (allocated). */
static char *in_sandbox(const char *source) {
    struct fixture f;
    struct box *box;
    struct err err = {""};
    const char *none[] = {NULL};
    char path[128], *out;

    fixture_init(&f);
    fixture_write(&f, "gateway.lua", GATEWAY);
    fixture_write(&f, "lua/a/b.lua", "return { x = 1, inner = { y = 2 } }\n");
    fixture_write(&f, "lua/circle.lua", "return require 'circle'\n");
    fixture_write(&f, "lua/callable.lua",
                  "return setmetatable({}, { __call = function() return 'called' end })\n");
    snprintf(path, sizeof path, "%s/gateway.lua", f.dir);
    f.snapshot = snapshot_read(path, none, NULL);
    f.env.load_cpu = 300 * USEC_PER_SEC;
    box = box_new(&f.env, f.snapshot, NULL, &err);
    assert_non_null(box);
    if (luaL_loadbufferx(box->L, source, strlen(source), "@test.lua", "t") != LUA_OK) {
        fail_msg("%s", lua_tostring(box->L, -1));
    }
    if (box_call(box, 0, 1, &err) != BOX_OK) {
        out = strdup(err.text);
    } else {
        out = strdup(lua_isstring(box->L, -1) ? lua_tostring(box->L, -1) : "no text");
    }
    lua_settop(box->L, 0);
    box_free(box);
    fixture_release(&f);
    return out;
}

static char *in_stock(const char *source) {
    lua_State *L = luaL_newstate();
    char *out;

    luaL_openlibs(L);
    if (luaL_loadbufferx(L, source, strlen(source), "@test.lua", "t") != LUA_OK ||
        lua_pcall(L, 0, 1, 0) != LUA_OK) {
        fail_msg("stock Lua: %s", lua_tostring(L, -1));
    }
    out = strdup(lua_tostring(L, -1));
    lua_close(L);
    return out;
}

static void assert_sandbox(const char *source, const char *expected) {
    char *got = in_sandbox(source);

    if (!strstr(got, expected)) {
        fail_msg("%s\n  gave     %s\n  expected %s", source, got, expected);
    }
    free(got);
}

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

/* A value as text, the same in every Lua. Error texts go without their place and argument number
 * (5.4.4 counts wrong in table.remove). */
#define SERIALISE                                                                                  \
    "local function ser(v)\n"                                                                      \
    "  if type(v) == 'table' then\n"                                                               \
    "    local keys, out = {}, {}\n"                                                               \
    "    for k in pairs(v) do keys[#keys + 1] = k end\n"                                           \
    "    table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)\n"                  \
    "    for i, k in ipairs(keys) do out[i] = ser(k) .. '=' .. ser(v[k]) end\n"                    \
    "    return '{' .. table.concat(out, ',') .. '}'\n"                                            \
    "  elseif type(v) == 'string' then return ('%q'):format(v) end\n"                              \
    "  return tostring(v)\n"                                                                       \
    "end\n"                                                                                        \
    "local function all(ok, ...)\n"                                                                \
    "  if not ok then return 'error: ' .. tostring((...)):gsub('^[^ ]*: ', ''):gsub('#%d', '#') "  \
    "end\n"                                                                                        \
    "  local out = {}\n"                                                                           \
    "  for i = 1, select('#', ...) do out[i] = ser((select(i, ...))) end\n"                        \
    "  return table.concat(out, ' ')\n"                                                            \
    "end\n"

static void assert_same(const char *source) {
    char *ours = in_sandbox(source), *stock = in_stock(source);
    char *a = ours, *b = stock;

    while (*a && *a == *b) {
        a++;
        b++;
    }
    if (*a || *b) {
        for (; a > ours && a[-1] != '\n'; a--, b--) {
        }
        a[strcspn(a, "\n")] = '\0';
        b[strcspn(b, "\n")] = '\0';
        fail_msg("ours:  %s\nstock: %s", a, b);
    }
    free(ours);
    free(stock);
}

/* Goal: results and error texts of chosen calls are those of stock Lua. */
static void test_same_as_stock_by_hand(void **state) {
    static const char *const calls[] = {
        "string.find('hello world', 'o w')",
        "string.find('hello', 'l', -2)",
        "string.find('hello', 'l', -20)",
        "string.find('hello', '', 10)",
        "string.find('hello', '', 6)",
        "string.find('hello', '')",
        "string.find('a.b', '.', 2, true)",
        "string.find('a+b', '+', 1, true)",
        "string.find('a\\0b', '\\0b')",
        "string.find('a\\0b', '%z')",
        "string.find('abc', '(b)(c)')",
        "string.find('abc', '()')",
        "string.find('abc', '^b')",
        "string.find('abc', '^b', 2)",
        "string.find('abc', 'c$')",
        "string.find('a$c', '$c')",
        "string.find('', '')",
        "string.match('key = value', '^(%w+)%s*=%s*(%w+)$')",
        "string.match('2024-01-02', '(%d+)-(%d+)-(%d+)')",
        "string.match('abc', '()b()')",
        "string.match('[[x]]', '%[%[(.-)%]%]')",
        "string.match('f(a(b)c)d', '%b()')",
        "string.match('THE (quick) fox', '%f[%a]%a+', 5)",
        "string.match('abcabc', '(abc)%1')",
        "string.match('x', '[]]')",
        "string.match(']', '[]]')",
        "string.match('^', '[%^]')",
        "string.match('a-z', '[a%-z]+')",
        "string.match('b', '[a-c]')",
        "string.match('-', '[a-]')",
        "string.match('b', '[^a-c]')",
        "string.match('abc', '%')",
        "string.match('abc', '[a')",
        "string.match('abc', '(a')",
        "string.match('abc', 'a)')",
        "string.match('abc', '%b')",
        "string.match('abc', '%f')",
        "string.match('abc', '%1')",
        "string.match('abc', '(a%1)')",
        "string.match('abc', '[a%')",
        "string.match('abc', '[')",
        "string.match('abc', '[^')",
        "string.match('abc', '%0')",
        "string.match(('a'):rep(300), ('a?'):rep(300) .. 'b')",
        "string.match('aaa', ('(a?)'):rep(33))",
        "string.match('abc', ('(a?)'):rep(32))",
        "string.match(5, '%d')",
        "string.match({}, 'x')",
        "string.match('x')",
        "string.match('x', 'x', 'y')",
        "string.gsub('hello world', 'o', '0')",
        "string.gsub('hello world', '(o)', '<%1>')",
        "string.gsub('hello', '', '-')",
        "string.gsub('hello', 'l', '%0%0')",
        "string.gsub('hello', 'l', '%%')",
        "string.gsub('hello', 'l', '%')",
        "string.gsub('hello', 'l', '%x')",
        "string.gsub('hello', 'l', '%2')",
        "string.gsub('hello', '(l)', '%2')",
        "string.gsub('hello', '()', '%1')",
        "string.gsub('hello', 'l', 'x', 1)",
        "string.gsub('hello', 'l', 'x', 0)",
        "string.gsub('hello', 'l', 'x', -1)",
        "string.gsub('hello', '^h', 'x')",
        "string.gsub('hello', '^', 'x')",
        "string.gsub('abc', '%w', '%0%0', 2)",
        "string.gsub('hello', 'l', 5)",
        "string.gsub('hello', 'l', true)",
        "string.gsub('hello', 'l')",
        "string.gsub('hello', '[', 'x')",
        "string.gsub('$a $b', '%$(%w+)', { a = 'A', b = false })",
        "string.gsub('abc', '%w', { a = 1, b = 2.5 })",
        "string.gsub('abc', '%w', { a = {} })",
        "string.gsub('abc', '%w', { a = true })",
        "string.gsub('abc', '(%w)(%w)', function(a, b) return b .. a end)",
        "string.gsub('abc', '', function() return '-' end)",
        "string.gsub('abc', '%w', function() end)",
        "string.gsub('abc', '%w', function() return {} end)",
        "string.gsub('abc', '%w', function(c) error(c) end)",
        "string.gsub('abc', '()%w', function(p) return p end)",
        "string.gsub('abc', '^%w', function(c) return c:upper() end)",
        "string.gsub('abc abc', '%w+', function(c) return c:upper() end, 1)",
        "string.gsub('abc', 'x*', function(c) return '<' .. c .. '>' end)",
        "string.gsub('abc', '%w', function() return false end)",
        "string.gsub('hello', '(l)(x?)', '%2%1')",
        "string.rep('ab', 3)",
        "string.rep('ab', 3, ',')",
        "string.rep('ab', 0)",
        "string.rep('ab', -1)",
        "string.rep('', 10)",
        "string.rep('', 3, ',')",
        "string.rep('x', 1, ',')",
        "string.rep('x', '2')",
        "string.rep('x', 1.5)",
        "string.rep('x')",
        "('abc'):upper() .. ('ABC'):lower() .. ('abc'):reverse()",
        "('abc'):byte(1, -1)",
        "('abc'):byte(10)",
        "table.concat({ 1, 2, 3 })",
        "table.concat({ 1, 2, 3 }, ', ')",
        "table.concat({ 1, 2, 3 }, ', ', 2)",
        "table.concat({ 1, 2, 3 }, ', ', 2, 2)",
        "table.concat({ 1, 2, 3 }, ', ', 3, 2)",
        "table.concat({ 1, {}, 3 })",
        "table.concat({}, 'x')",
        "table.concat({ 1, 2 }, 'x', 1, 3)",
        "table.concat({ 'a', 'b' }, 5)",
        "table.concat(5)",
        "(function() local t = { 1, 2, 3 } table.insert(t, 4) table.insert(t, 1, 0) "
        "table.insert(t, 6, 5) return t end)()",
        "table.insert({}, 2, 'x')",
        "table.insert({}, 0, 'x')",
        "table.insert({}, 1, 2, 3)",
        "table.insert({})",
        "table.insert(1, 2)",
        "(function() local t = {} table.insert(t, nil) return #t end)()",
        "(function() local t = { 1, 2, 3 } return table.remove(t), table.remove(t, 1), t end)()",
        "table.remove({})",
        "table.remove({}, 0)",
        "table.remove({}, 1)",
        "table.remove({ 1 }, 3)",
        "table.remove({ 1, 2 }, 3)",
        "table.remove({ [0] = 'z' })",
        "table.remove({}, -1)",
        "table.remove({ 1 }, 0)",
        "table.move({ 1, 2, 3 }, 1, 3, 2)",
        "table.move({ 1, 2, 3 }, 2, 3, 1)",
        "table.move({ 1, 2, 3 }, 1, 3, 3)",
        "table.move({ 1, 2, 3 }, 1, 3, 1, {})",
        "table.move({ 1, 2, 3 }, 1, 0, 5)",
        "table.move({ 1, 2, 3 }, 2, 2, 10)",
        "table.move({ 1 }, 1, 1, math.maxinteger)",
        "table.move({ 1, 2 }, 1, 2, math.maxinteger)",
        "table.move({}, 1)",
        "table.move({ 1, 2, 3 }, -1, 1, 1)",
        "table.unpack({ 1, 2, 3 })",
        "table.unpack({ 1, 2, 3 }, 2)",
        "table.unpack({ 1, 2, 3 }, 2, 5)",
        "table.unpack({}, 1, 3)",
        "table.unpack({ 1, 2 }, -1, 1)",
        "select('#', table.unpack({}))",
        "table.pack(1, nil, 3)",
        "(function() local t = { 3, 1, 2 } table.sort(t) return t end)()",
        "(function() local t = { 3, 1, 2 } table.sort(t, function(a, b) return a > b end) return t "
        "end)()",
        "table.sort({ 1, 'x' })",
        "table.sort({ 1, 2 }, 5)",
        "table.sort({})",
        "(function() local t = { 'b', 'a', 'C' } table.sort(t) return t end)()",
        "tostring(setmetatable({}, { __tostring = function() return 'me' end }))",
        "tostring(setmetatable({}, { __tostring = function() return 1 end }))",
        "tostring(setmetatable({}, { __tostring = function() return {} end }))",
        "tostring(nil)",
        "tostring()",
        "tostring(1.0)",
        "tostring(-0.0)",
        "xpcall(function(...) return ... end, print, 1, nil, 3)",
        "xpcall(error, function(m) return 'got ' .. m end, 'x')",
        "xpcall(error, function(m) return 1, 2 end, 'x')",
        "xpcall(error, 5)",
        "xpcall(function() return 1 + nil end, function(m) return type(m) end)",
        "pcall(xpcall)",
        "rawlen({ 1, 2 })",
        "rawlen('abc')",
        "rawlen(5)",
        "rawget({ a = 1 }, 'a')",
        "next({}, nil)",
        "next({ 5 })",
        "next({}, 'nope')",
        "setmetatable({}, 5)",
        "setmetatable(5, {})",
        "tonumber('0x10')",
        "tonumber('  12  ')",
        "tonumber('z', 36)",
        "tonumber('1e1')",
        "tonumber('')",
        "utf8.len('häß')",
        "utf8.codepoint('hä', 1, -1)",
        "utf8.offset('häß', 3)",
        "utf8.len('\\xff')",
        "utf8.char(228, 8364)",
        "(function() local t = {} for a, b in ('k=v, x=y'):gmatch('(%w+)=(%w+)') do t[#t + 1] = a "
        ".. b end return t end)()",
        "(function() local t = {} for a in ('abc'):gmatch('') do t[#t + 1] = a end return t end)()",
        "(function() local t = {} for a in ('one two'):gmatch('%w*') do t[#t + 1] = a end return t "
        "end)()",
        "(function() local t = {} for a in ('abc'):gmatch('^a') do t[#t + 1] = a end return t "
        "end)()",
        "(function() local t = {} for a in ('abcabc'):gmatch('b', 3) do t[#t + 1] = a end return t "
        "end)()",
        "(function() local t = {} for a in ('abc'):gmatch('.', -1) do t[#t + 1] = a end return t "
        "end)()",
        "(function() local t = {} for a in ('abc'):gmatch('()', 5) do t[#t + 1] = a end return t "
        "end)()",
        "string.gmatch('x')",
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        char source[4096];

        snprintf(source, sizeof source,
                 "%sreturn all(pcall(function() return %s end)) .. '   <- ' .. [==[%s]==]",
                 SERIALISE, calls[i], calls[i]);
        assert_same(source);
    }
}

/* A generator of numbers that is the same in both. */
#define RANDOM                                                                                     \
    "local seed = 12345\n"                                                                         \
    "local function rnd(n)\n"                                                                      \
    "  seed = (seed * 1103515245 + 12345) % 2147483648\n"                                          \
    "  return seed // 65536 % n + 1\n"                                                             \
    "end\n"                                                                                        \
    "local function pick(t) return t[rnd(#t)] end\n"

/* Goal: on thousands of random patterns and texts the matcher does what stock Lua's does, mistakes
 * in patterns included. */
static void test_same_as_stock_random_patterns(void **state) {
    (void)state;
    assert_same(
        SERIALISE RANDOM
        "local atoms = { 'a', 'b', 'c', '.', '%a', '%d', '%W', '[ab]', '[^a]', '[a-c]', '[%d%-]', "
        "'()', '(a)', '(b?)', '(.)', '%1', '%2', '%b()', '%b', '%f[a]', '%f[^%w]', '(', ')', '^', "
        "'$', '%', '[', '%.', '-' }\n"
        "local suffixes = { '', '', '', '*', '+', '-', '?' }\n"
        "local letters = { 'a', 'b', 'c', '(', ')', '1', ' ', '.', '-', 'a', 'b' }\n"
        "local lines = {}\n"
        "for n = 1, 6000 do\n"
        "  local p, s = {}, {}\n"
        "  for i = 1, rnd(5) do p[i] = pick(atoms) .. pick(suffixes) end\n"
        "  for i = 1, rnd(12) - 1 do s[i] = pick(letters) end\n"
        "  p, s = table.concat(p), table.concat(s)\n"
        "  local init = rnd(9) - 4\n"
        "  local what, got = rnd(8), nil\n"
        "  if what == 1 then got = all(pcall(string.find, s, p, init))\n"
        "  elseif what == 2 then got = all(pcall(string.match, s, p, init))\n"
        "  elseif what == 3 then got = all(pcall(string.gsub, s, p, '<%0>'))\n"
        "  elseif what == 4 then got = all(pcall(string.gsub, s, p, '%1', rnd(3)))\n"
        "  elseif what == 5 then got = all(pcall(string.gsub, s, p, function(...) return '<' .. "
        "all(true, ...) .. '>' end))\n"
        "  elseif what == 6 then got = all(pcall(string.gsub, s, p, { a = 'A', b = 1, [1] = 'one', "
        "ab = false }, rnd(4)))\n"
        "  elseif what == 7 then got = all(pcall(string.find, s, p, init, true))\n"
        "  else\n"
        "    got = all(pcall(function() local t = {} for a, b in s:gmatch(p, init) do t[#t + 1] = "
        "{ a, b } end return t end))\n"
        "  end\n"
        "  lines[n] = what .. ' ' .. ser(p) .. ' ' .. ser(s) .. ' ' .. init .. ' -> ' .. got\n"
        "end\n"
        "return table.concat(lines, '\\n')\n");
}

/* Goal: the table functions do what stock Lua's do on random lists and positions. */
static void test_same_as_stock_random_tables(void **state) {
    (void)state;
    assert_same(
        SERIALISE RANDOM
        "local lines = {}\n"
        "for n = 1, 3000 do\n"
        "  local t = {}\n"
        "  for i = 1, rnd(30) - 1 do t[i] = rnd(20) end\n"
        "  local what, i, j, k = rnd(7), rnd(36) - 3, rnd(36) - 3, rnd(36) - 3\n"
        "  local got\n"
        "  if what == 1 then got = all(pcall(table.insert, t, i, 'x'))\n"
        "  elseif what == 2 then got = all(pcall(table.remove, t, i))\n"
        "  elseif what == 3 then got = all(pcall(table.move, t, i, j, k))\n"
        "  elseif what == 4 then got = all(pcall(table.move, t, i, j, k, { 'a', 'b' }))\n"
        "  elseif what == 5 then got = all(pcall(table.concat, t, ',', i, j))\n"
        "  elseif what == 6 then got = all(pcall(table.unpack, t, i, j))\n"
        "  else got = all(pcall(table.sort, t, rnd(2) == 1 and function(a, b) return a > b end or "
        "nil)) end\n"
        "  lines[n] = what .. ' ' .. i .. ' ' .. j .. ' ' .. k .. ' -> ' .. got .. ' ' .. ser(t)\n"
        "end\n"
        "for n = 1, 40 do\n"
        "  local t, stable = {}, true\n"
        "  for i = 1, rnd(500) do t[i] = { key = rnd(50), i = i } end\n"
        "  table.sort(t, function(a, b) if a.key ~= b.key then return a.key < b.key end return a.i "
        "< b.i end)\n"
        "  local out = {}\n"
        "  for i, v in ipairs(t) do out[i] = v.key .. '/' .. v.i end\n"
        "  lines[#lines + 1] = table.concat(out, ' ')\n"
        "end\n"
        "return table.concat(lines, '\\n')\n");
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
        cmocka_unit_test(test_attacks),
        cmocka_unit_test(test_attacks_at_load),
        cmocka_unit_test(test_limits_of_the_sandbox),
        cmocka_unit_test(test_frozen_reads),
        cmocka_unit_test(test_same_as_stock_by_hand),
        cmocka_unit_test(test_same_as_stock_random_patterns),
        cmocka_unit_test(test_same_as_stock_random_tables),
        cmocka_unit_test(test_config_state),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
