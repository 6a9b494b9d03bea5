/* SPDX-License-Identifier: MIT */
/*
 * The bounded library functions give the results and the error texts of stock Lua: the same script
 * runs in the sandbox and in a stock state of whatever Lua the build has.
 */
#include "sandbox_fixture.h"

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

#define SEEDS 3

/* A generator of numbers that is the same in both. */
#define RANDOM                                                                                     \
    "local function rnd(n)\n"                                                                      \
    "  seed = (seed * 1103515245 + 12345) % 2147483648\n"                                          \
    "  return seed // 65536 % n + 1\n"                                                             \
    "end\n"                                                                                        \
    "local function pick(t) return t[rnd(#t)] end\n"

/* The same for each seed: one result must stay below the sandbox's largest text. */
static void assert_same_random(const char *source) {
    for (int seed = 1; seed <= SEEDS; seed++) {
        char whole[KIB(16)];

        assert_true(snprintf(whole, sizeof whole, "local seed = %d\n%s", seed * 12345, source) <
                    (int)sizeof whole);
        assert_same(whole);
    }
}

/* Goal: on thousands of random patterns and texts the matcher does what stock Lua's does, mistakes
 * in patterns included. */
static void test_same_as_stock_random_patterns(void **state) {
    (void)state;
    assert_same_random(
        SERIALISE RANDOM
        "local atoms = { 'a', 'b', 'c', '.', '%a', '%d', '%W', '[ab]', '[^a]', '[a-c]', '[%d%-]', "
        "'()', '(a)', '(b?)', '(.)', '%1', '%2', '%b()', '%b', '%f[a]', '%f[^%w]', '(', ')', '^', "
        "'$', '%', '[', '%.', '-', '\\0', '%z', '[^%z]', '[a\\0]', '%s', '%p', '[%w_]', '(()a)' }\n"
        "local suffixes = { '', '', '', '*', '+', '-', '?' }\n"
        "local letters = { 'a', 'b', 'c', '(', ')', '1', ' ', '.', '-', 'a', 'b', '\\0', '\\xff' "
        "}\n"
        "local lines = {}\n"
        "for n = 1, 6000 do\n"
        "  local p, s = {}, {}\n"
        "  for i = 1, rnd(5) do p[i] = pick(atoms) .. pick(suffixes) end\n"
        "  for i = 1, rnd(12) - 1 do s[i] = pick(letters) end\n"
        "  p, s = table.concat(p), table.concat(s)\n"
        "  local init = rnd(20) == 1 and pick { 100, -100, math.maxinteger, math.mininteger } or "
        "rnd(20) - 5\n"
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
    assert_same_random(
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

/* Goal: so do the other functions on texts, with zeros and broken UTF-8 in them, positions far
 * outside, and every kind of argument. */
static void test_same_as_stock_random_texts(void **state) {
    (void)state;
    assert_same_random(
        SERIALISE RANDOM
        "local pieces = { '', 'a', 'Ab', '\\0', 'a\\0b', 'h\\u{e4}\\u{df}', '\\u{20ac}', "
        "'\\xff', "
        "'\\xc3', '%', '.', '\\n', ' ', '10', '0x1F', '-3', '1e2', 'z', '\"' }\n"
        "local numbers = { 0, 1, -1, 2, 7, 65, 255, 256, 8364, 100000, 1.5, -0.5, 3.0, 2.0^31, "
        "2.0^63, math.maxinteger, math.mininteger, math.huge, -math.huge }\n"
        "local specs = { '%d', '%5d', '%-5d|', '%05d', '%+d', '%i', '%u', '%x', '%X', '%#x', "
        "'%o', '%c', '%s', '%10s', '%-10s|', '%.2s', '%q', '%f', '%.3f', '%g', '%e', '%a', '%%', "
        "'%', '%y', '%100d', '%.100f', '%10q', 'text' }\n"
        "local patterns = { utf8.charpattern, '[\\0-\\x7f]', '%z', '\\0', '.', '[^\\0]+', "
        "'%c*', "
        "'()', '$' }\n"
        "local function text()\n"
        "  local t = {}\n"
        "  for i = 1, rnd(6) - 1 do t[i] = pick(pieces) end\n"
        "  return table.concat(t)\n"
        "end\n"
        "local function place()\n"
        "  return rnd(12) == 1 and pick { 100, -100, math.maxinteger, math.mininteger } or "
        "rnd(14) - 5\n"
        "end\n"
        "local function any()\n"
        "  local what = rnd(8)\n"
        "  if what <= 3 then return pick(numbers) elseif what <= 6 then return text() end\n"
        "  return pick { true, false }\n"
        "end\n"
        "local function codes(s, lax)\n"
        "  local t = {}\n"
        "  for p, c in utf8.codes(s, lax) do t[#t + 1] = p .. ':' .. c end\n"
        "  return t\n"
        "end\n"
        "local function every(s, p)\n"
        "  local t = {}\n"
        "  for a in s:gmatch(p) do t[#t + 1] = a end\n"
        "  return t\n"
        "end\n"
        "local calls = {\n"
        "  function() return string.format, pick(specs) .. pick(pieces):gsub('%%', '') .. "
        "pick(specs), any(), any() end,\n"
        "  function() return string.format, pick(specs), any() end,\n"
        "  function() return string.rep, text(), rnd(8) - 3, text() end,\n"
        "  function() return string.rep, text(), rnd(6) - 2 end,\n"
        "  function() return string.byte, text(), place(), place() end,\n"
        "  function() return string.byte, text(), place() end,\n"
        "  function() return string.byte, any(), any(), any() end,\n"
        "  function() return string.sub, text(), place(), place() end,\n"
        "  function() return string.sub, any(), any() end,\n"
        "  function() return string.find, text(), pick(pieces), place(), rnd(2) == 1 end,\n"
        "  function() return string.find, text(), pick(patterns), place() end,\n"
        "  function() return string.match, any(), pick(patterns), any() end,\n"
        "  function() return string.gsub, text(), pick(patterns), pick(pieces), any() end,\n"
        "  function() return every, text(), pick(patterns) end,\n"
        "  function() return pick { string.upper, string.lower, string.reverse, string.len }, "
        "any() end,\n"
        "  function() return string.char, pick(numbers), pick(numbers) end,\n"
        "  function() return utf8.char, pick(numbers), pick(numbers) end,\n"
        "  function() return utf8.codepoint, text(), place(), place(), rnd(2) == 1 end,\n"
        "  function() return utf8.codepoint, text(), place() end,\n"
        "  function() return utf8.len, text(), place(), place(), rnd(2) == 1 end,\n"
        "  function() return utf8.offset, text(), rnd(7) - 4, place() end,\n"
        "  function() return codes, text(), rnd(2) == 1 end,\n"
        "  function() return tonumber, any(), rnd(3) == 1 and rnd(40) or nil end,\n"
        "  function() return tostring, any() end,\n"
        "  function() return table.concat, { any(), any(), any() }, text(), rnd(6) - 2, rnd(6) - "
        "2 end,\n"
        "}\n"
        "local lines = {}\n"
        "for n = 1, 5000 do\n"
        "  local which = rnd(#calls)\n"
        "  local arguments = table.pack(calls[which]())\n"
        "  local got = all(pcall(table.unpack(arguments, 1, arguments.n)))\n"
        "  arguments[1] = which\n"
        "  lines[n] = ser(arguments) .. ' -> ' .. got\n"
        "end\n"
        "return table.concat(lines, '\\n')\n");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_as_stock_by_hand),
        cmocka_unit_test(test_same_as_stock_random_patterns),
        cmocka_unit_test(test_same_as_stock_random_tables),
        cmocka_unit_test(test_same_as_stock_random_texts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
