/* SPDX-License-Identifier: MIT */
/*
 * Every known way to run away, one named test each: what it is (the rows of the attack matrix are
 * numbered as there), how it is to end, and at what cost. Each ends by itself within twice the
 * budget, several times over, and another policy in the same state works afterwards.
 *
 * Twice the budget is held against the thread's CPU clock, the best of three rounds: that is what
 * the sandbox promises, and a busy machine cannot break it. The wall clock only tells an end from
 * a hang: ATTACK_ALARM is thousands of budgets.
 */
#include "sandbox_fixture.h"

#define ATTACK_ALARM 60
#define ROUNDS 10 /* tries to stay within it: another program's cache misses are not ours */
#define BUDGETS 2 /* CPU time that an attack may use, in budgets */
#define LARGE_BUDGETS                                                                              \
    8 /* the same where one step walks a text of a megabyte: nobody looks within */

enum { BEYOND = 0, LARGE = -1 }; /* not a row of the matrix */

enum end { STRETCH, MEMORY, REFUSED };

struct attack {
    int row;
    const char *name;
    enum end end;
    const char *message; /* of a refusal */
    const char *body;
};

static const struct attack ATTACKS[] = {
    /* endless loop */
    {1, "endless loop", STRETCH, NULL, "while true do end"},
    {1, "goto loop", STRETCH, NULL, "::a:: goto a"},
    /* loop around pcall(loop) */
    {2, "pcall loop", STRETCH, NULL,
     "local function loop() while true do end end while true do pcall(loop) end"},
    /* recursive pcall(f) pcall(f) */
    {3, "recursive pcall", STRETCH, NULL, "local f f = function() pcall(f) pcall(f) end f()"},
    /* xpcall(loop, looping handler) */
    {4, "xpcall, looping handler", STRETCH, NULL,
     "local function loop() while true do end end xpcall(loop, loop)"},
    {4, "xpcall, error, looping handler", STRETCH, NULL,
     "xpcall(error, function() while true do end end, 'x')"},
    {4, "xpcall in its own handler", STRETCH, NULL,
     "local f f = function() xpcall(error, f, 'x') xpcall(error, f, 'x') end f()"},
    /* xpcall over a sort comparator that loops, looping handler */
    {5, "xpcall over a looping comparator", STRETCH, NULL,
     "local function loop() while true do end end xpcall(function() table.sort({ 3, 2, 1 }, loop) "
     "end, loop)"},
    /* coroutine.wrap(loop): there is no coroutine library */
    {6, "coroutine.wrap", REFUSED, "global 'coroutine' does not exist",
     "coroutine.wrap(function() while true do end end)()"},
    /* comparator and gsub callback loops */
    {7, "sort comparator loops", STRETCH, NULL,
     "table.sort({ 3, 2, 1 }, function() while true do end end)"},
    {7, "recursive pcall in a comparator", STRETCH, NULL,
     "local f f = function() pcall(f) pcall(f) end table.sort({ 3, 2, 1 }, f)"},
    {7, "inconsistent comparator", STRETCH, NULL,
     "local t = {} for i = 1, 1000 do t[i] = i end while true do table.sort(t, function() return "
     "true end) end"},
    {7, "gsub callback loops", STRETCH, NULL, "('x'):gsub('x', function() while true do end end)"},
    {7, "gsub callback with recursive pcall", STRETCH, NULL,
     "local f f = function() pcall(f) pcall(f) end ('x'):gsub('x', f)"},
    {7, "gsub table with __index", STRETCH, NULL,
     "('x'):gsub('x', setmetatable({}, { __index = function() while true do end end }))"},
    /* __close loops */
    {8, "__close loops", STRETCH, NULL,
     "do local x <close> = setmetatable({}, { __close = function() while true do end end }) end"},
    {8, "__close loops on error", STRETCH, NULL,
     "pcall(function() local x <close> = setmetatable({}, { __close = function() while true do end "
     "end }) error('x') end)"},
    /* __gc loops: refused where the metatable is set */
    {9, "__gc", REFUSED, "'__gc' is not available",
     "setmetatable({}, { __gc = function() while true do end end }) error('not refused')"},
    /* string.rep("", 2^62) */
    {10, "string.rep of nothing", STRETCH, NULL,
     "local s = (''):rep(1 << 62) while true do s = s:rep(1 << 62) end"},
    {10, "string.rep of nothing with a separator", STRETCH, NULL,
     "while true do pcall(string.rep, '', 1 << 62, '') end"},
    /* string.rep("x", 60e6) */
    {11, "string.rep large", REFUSED, "resulting string longer",
     "local s = ('x'):rep(60000000) error(#s)"},
    {11, "string.rep in a loop", STRETCH, NULL, "while true do local s = ('x'):rep(1000000) end"},
    /* table.move({}, 1, 2^50, 2) */
    {12, "table.move", REFUSED, "too many elements to move", "table.move({}, 1, 1 << 50, 2)"},
    {12, "table.move in a loop", STRETCH, NULL,
     "local t = {} while true do table.move(t, 1, 99999, 2) end"},
    /* table functions with __len = 2^50: only the raw length counts */
    {13, "table.insert with __len", STRETCH, NULL,
     "table.insert(setmetatable({}, { __len = function() return 1 << 50 end }), 1, 'x') while true "
     "do end"},
    {13, "table.remove with __len", STRETCH, NULL,
     "table.remove(setmetatable({}, { __len = function() return 1 << 50 end }), 1) while true do "
     "end"},
    {13, "table.concat with __len", STRETCH, NULL,
     "table.concat(setmetatable({}, { __len = function() return 1 << 50 end })) while true do end"},
    {13, "table.unpack with __len", STRETCH, NULL,
     "table.unpack(setmetatable({}, { __len = function() return 1 << 50 end })) while true do end"},
    {13, "table.sort with __len", STRETCH, NULL,
     "table.sort(setmetatable({}, { __len = function() return 1 << 50 end })) while true do end"},
    /* patterns that backtrack */
    {14, "lazy pattern", STRETCH, NULL,
     "local s = ('a'):rep(50000) while true do s:find('.-.-.-.-b') end"},
    {14, "optional pattern", STRETCH, NULL,
     "local s = ('a'):rep(40) while true do s:find(('a?'):rep(40) .. s) end"},
    {14, "lazy pattern under pcall", STRETCH, NULL,
     "local s = ('a'):rep(50000) while true do pcall(string.find, s, '.-.-.-.-b') end"},
    {14, "gmatch of a bad pattern", STRETCH, NULL,
     "for w in ('a'):rep(50000):gmatch('.-.-.-.-b') do end while true do end"},
    {14, "large sets", STRETCH, NULL,
     "local p = '[' .. ('b'):rep(100000) .. ']*c' while true do ('a'):rep(1000):find(p) end"},
    {14, "back references", STRETCH, NULL,
     "local s = ('a'):rep(100000) while true do pcall(string.find, s, '(.*)%1%1%1b') end"},
    {14, "balance", STRETCH, NULL,
     "local s = ('('):rep(100000) while true do pcall(string.find, s, '%b()') end"},
    /* table of 1e9 integers */
    {15, "table of a billion", STRETCH, NULL, "local t = {} for i = 1, 1000000000 do t[i] = i end"},
    {15, "table of a billion under pcall", STRETCH, NULL,
     "while true do pcall(function() local t = {} for i = 1, 1000000000 do t[i] = i end end) end"},
    /* load with an endless reader: there is no load */
    {16, "load with an endless reader", REFUSED, "global 'load' does not exist",
     "load(function() return 'x = 1 ' end)"},
    /* What the sandbox adds, and metamethods. */
    {BEYOND, "table.concat with a range", REFUSED, "too many elements to concat",
     "table.concat({}, '', 1, 1 << 62)"},
    {BEYOND, "table.unpack with a range", REFUSED, "too many elements to unpack",
     "table.unpack({}, math.mininteger, math.maxinteger)"},
    {BEYOND, "table.concat in a loop", STRETCH, NULL,
     "local t = {} for i = 1, 50000 do t[i] = '0123456789' end while true do table.concat(t) end"},
    {BEYOND, "string.byte of a large text", STRETCH, NULL,
     "local s = ('x'):rep(900000) while true do pcall(string.byte, s, 1, -1) end"},
    {BEYOND, "__tostring loops", STRETCH, NULL,
     "tostring(setmetatable({}, { __tostring = function() while true do end end }))"},
    {BEYOND, "__tostring in format loops", STRETCH, NULL,
     "('%s'):format(setmetatable({}, { __tostring = function() while true do end end }))"},
    {BEYOND, "recursive pcall in a __tostring in format", STRETCH, NULL,
     "local f f = function() pcall(f) pcall(f) end while true do pcall(string.format, '%s', "
     "setmetatable({}, { __tostring = f })) end"},
    {BEYOND, "xpcall in a __tostring in format", STRETCH, NULL,
     "local f f = function() xpcall(f, f) xpcall(f, f) end while true do pcall(string.format, "
     "'%s', setmetatable({}, { __tostring = f })) end"},
    {BEYOND, "deep recursion, pcall in a __tostring in format", STRETCH, NULL,
     "local function loop() while true do end end local function deep(n) if n > 0 then return "
     "(deep(n - 1)) end while true do pcall(loop) end end\n('%s'):format(setmetatable({}, { "
     "__tostring = function() deep(10000) end }))"},
    {BEYOND, "__close in a __tostring in format", STRETCH, NULL,
     "('%s'):format(setmetatable({}, { __tostring = function() while true do pcall(function()\n  "
     "local x <close> = setmetatable({}, { __close = function() while true do end end }) end) end "
     "end }))"},
    {BEYOND, "ipairs with a looping __index", STRETCH, NULL,
     "for i in ipairs(setmetatable({}, { __index = function() while true do end end })) do end"},
    {BEYOND, "ipairs without end", STRETCH, NULL,
     "for i in ipairs(setmetatable({}, { __index = function() return 1 end })) do end"},
    {BEYOND, "string arithmetic with a looping metamethod", STRETCH, NULL,
     "local x = 'a' + setmetatable({}, { __add = function() while true do end end })"},
    {BEYOND, "__index chain", STRETCH, NULL,
     "local t = setmetatable({}, { __index = function(t, k) while true do end end }) local x = "
     "t.x"},
    {BEYOND, "__eq, __lt, __concat loops", STRETCH, NULL,
     "local m = { __lt = function() while true do end end } local x = setmetatable({}, m) < "
     "setmetatable({}, m)"},
    {BEYOND, "pairs with a looping __pairs", STRETCH, NULL,
     "for k in pairs(setmetatable({}, { __pairs = function() while true do end end })) do end"},
    {BEYOND, "error value with a looping __tostring", REFUSED, "the error value is a table",
     "error(setmetatable({}, { __tostring = function() while true do end end, __name = 'x' }))"},
    {BEYOND, "infinite recursion", STRETCH, NULL, "local function f() return 1 + f() end f()"},
    {BEYOND, "infinite recursion under pcall", STRETCH, NULL,
     "local f f = function() return 1 + select(2, pcall(f)) end while true do pcall(f) end"},
    {BEYOND, "string metatable recursion", STRETCH, NULL,
     "local t = setmetatable({}, {}) getmetatable(t).__index = t while true do local x = "
     "pcall(function() return t.x end) end"},
    {BEYOND, "many coroutineless closures", STRETCH, NULL,
     "local t = {} while true do t[#t + 1] = function() return t end end"},
    {BEYOND, "require in a loop", STRETCH, NULL, "while true do pcall(require, 'nowhere') end"},
    /* Megabytes in one step. */
    {LARGE, "gsub over a large text", STRETCH, NULL,
     "local s = ('a'):rep(1000000) while true do s:gsub('a', 'b') end"},
    {LARGE, "plain find, quadratic in stock Lua", STRETCH, NULL,
     "local s, p = ('a'):rep(1000000), ('a'):rep(500000) .. 'b' while true do s:find(p, 1, true) "
     "end"},
    {LARGE, "string doubling", MEMORY, NULL, "local s = 'x' while true do s = s .. s end"},
    {LARGE, "string doubling under pcall", STRETCH, NULL,
     "local s = 'x' while true do pcall(function() while true do s = s .. s end end) end"},
    {LARGE, "upper of a large text", STRETCH, NULL,
     "local s = ('x'):rep(1000000) while true do s:upper() end"},
    {LARGE, "concatenation of large texts", STRETCH, NULL,
     "local s = ('x'):rep(1000000) while true do local t = s .. 'y' end"},
    {LARGE, "comparison of large texts", STRETCH, NULL,
     "local s, t = ('x'):rep(1000000) .. 'a', ('x'):rep(1000000) .. 'b' while true do local b = s "
     "< t end"},
    {LARGE, "utf8.len of a large text", STRETCH, NULL,
     "local s = ('x'):rep(1000000) while true do utf8.len(s) end"},
    {LARGE, "tonumber of a large text", STRETCH, NULL,
     "local s = (' '):rep(1000000) while true do tonumber(s) end"},
    {LARGE, "a large text as an operand", STRETCH, NULL,
     "local s = ('0'):rep(1000000) while true do local x = s + 1 end"},
    {LARGE, "a large text negated", STRETCH, NULL,
     "local s = ('0'):rep(1000000) while true do local x = -s end"},
    {LARGE, "a large text of spaces as an operand", STRETCH, NULL,
     "local s = (' '):rep(1000000) .. '1' while true do local x = 1 // s end"},
    {LARGE, "a large text as a number for math", STRETCH, NULL,
     "local s = ('0'):rep(1000000) while true do local x = math.floor(s) end"},
    {LARGE, "a large text as a count", STRETCH, NULL,
     "local s = ('0'):rep(1000000) while true do local x = ('x'):rep(s) end"},
    {LARGE, "a large text as a place", STRETCH, NULL,
     "local s = ('0'):rep(1000000) while true do local x = ('x'):sub(s) end"},
    {LARGE, "a large text formatted as a number", STRETCH, NULL,
     "local s = ('0'):rep(1000000) while true do local x = ('%d'):format(s) end"},
    {LARGE, "a large text as a number for table.concat", STRETCH, NULL,
     "local s = ('0'):rep(999999) .. '2' while true do pcall(function() return table.concat({ 'x' "
     "}, '', s, s) end) end"},
    {LARGE, "a large text as a number for table.unpack", STRETCH, NULL,
     "local s = ('0'):rep(999999) .. '2' while true do pcall(function() return table.unpack({}, s, "
     "s) end) end"},
    {LARGE, "a large text as a number for utf8.char", STRETCH, NULL,
     "local s = ('0'):rep(999999) .. '2' while true do pcall(function() return utf8.char(s) end) "
     "end"},
    {LARGE, "a large text as a number for select", STRETCH, NULL,
     "local s = ('0'):rep(999999) .. '2' while true do pcall(function() return select(s, 1) end) "
     "end"},
    {LARGE, "a large text as a number for string.find", STRETCH, NULL,
     "local s = ('0'):rep(999999) .. '2' while true do pcall(function() return ('x'):find('x', s) "
     "end) end"},
    {LARGE, "a large text as a number for string.match", STRETCH, NULL,
     "local s = ('0'):rep(999999) .. '2' while true do pcall(function() return ('x'):match('x', s) "
     "end) end"},
    {LARGE, "a large text as a number for string.gsub", STRETCH, NULL,
     "local s = ('0'):rep(999999) .. '2' while true do pcall(function() return ('x'):gsub('x', "
     "'y', s) end) end"},
    {LARGE, "a large text as a number for string.byte", STRETCH, NULL,
     "local s = ('0'):rep(999999) .. '2' while true do pcall(function() return ('x'):byte(s) end) "
     "end"},
    {LARGE, "a large text as a number for utf8.offset", STRETCH, NULL,
     "local s = ('0'):rep(999999) .. '2' while true do pcall(function() return utf8.offset('x', 1, "
     "s) end) end"},
    {LARGE, "a large text as a number for tonumber's base", STRETCH, NULL,
     "local s = ('0'):rep(999999) .. '2' while true do pcall(function() return tonumber('1', s) "
     "end) end"},
    {LARGE, "string.format of large texts", STRETCH, NULL,
     "local s = ('x'):rep(1000000) while true do local t = ('%s'):format(s) end"},
    {LARGE, "print of large texts", STRETCH, NULL,
     "local s = ('x'):rep(1000000) while true do print(s, s) end"},
};

#define N_ATTACKS (sizeof ATTACKS / sizeof ATTACKS[0])

static const enum run_status STATUS[] = {
    [STRETCH] = RUN_TIMEOUT, [MEMORY] = RUN_NOMEM, [REFUSED] = RUN_ERROR};
static const enum kill_reason REASON[] = {
    [STRETCH] = KILL_STRETCH, [MEMORY] = KILL_MEMORY, [REFUSED] = KILL_NONE};

/* One request into the attack. Returns its CPU time. */
static usec attack_once(const struct attack *a, struct lane *lane) {
    struct fake_request r;
    enum run_status status;
    struct err err = {""};
    struct run *run = run_new(lane, &fixture_first, &r);
    usec cpu;

    assert_non_null(run);
    alarm(ATTACK_ALARM);
    cpu = clock_thread_cpu();
    status = run_step(run, &err);
    cpu = clock_thread_cpu() - cpu;
    alarm(0);
    if (status != STATUS[a->end] || run_killed(run) != REASON[a->end] ||
        (a->message && !strstr(err.text, a->message))) {
        fail_msg("%s: status %d, reason '%s': %s", a->name, (int)status, kill_name(run_killed(run)),
                 err.text);
    }
    run_free(run);
    return cpu;
}

static void assert_neighbour_works(const struct attack *a, struct lane *lane) {
    struct fake_request r;
    struct err err;

    if (fixture_run(lane, &fixture_second, &r, &err) != RUN_DONE) {
        fail_msg("after %s: %s", a->name, err.text);
    }
    assert_string_equal(r.result, "good100");
    assert_int_equal(lua_gettop(lane->box->L), 0);
}

static void test_in_a_request(void **state) {
    const struct attack *a = *state;
    usec best = USEC_NEVER, limit = LUA_RESUME_CPU * (a->row == LARGE ? LARGE_BUDGETS : BUDGETS);
    struct fixture f;
    char source[1024];

    snprintf(source, sizeof source,
             "return { handle = function(req, settings)\n%s\nreturn 'not stopped' end }\n",
             a->body);
    sandbox_write(&f, source);
    f.env.resume_cpu = a->end == MEMORY ? 10 * USEC_PER_SEC : 0; /* or either might be first */
    f.env.request_cpu = f.env.resume_cpu;
    if (!fixture_stage(&f, 1)) {
        fixture_print(&f);
        fail_msg("%s: not staged", a->name);
    }
    for (int round = 0; round < ROUNDS; round++) {
        usec cpu = attack_once(a, f.gen->lanes[0]);

        best = cpu < best ? cpu : best;
        assert_neighbour_works(a, f.gen->lanes[0]);
    }
    if (best > limit) {
        fail_msg("%s: %lld us of CPU time, at most %lld expected", a->name, (long long)best,
                 (long long)limit);
    }
    assert_true(f.gen->lanes[0]->box->alloc.used <= LUA_STATE_BYTES + LUA_RESERVE);
    fixture_release(&f);
}

/* The same while the file is loaded: ends the load with a message and nothing else. */
static void test_at_load(void **state) {
    const struct attack *a = *state;
    struct fixture f;
    char source[1024];

    snprintf(source, sizeof source, "do %s end\nerror('ran through')\n", a->body);
    sandbox_write(&f, source);
    f.env.load_cpu = 60000;
    alarm(ATTACK_ALARM);
    assert_null(fixture_stage(&f, 1));
    alarm(0);
    assert_true(f.diags.errors > 0);
    fixture_release(&f);
}

int main(void) {
    static struct CMUnitTest tests[2 * N_ATTACKS];
    static char names[2 * N_ATTACKS][128];

    for (size_t i = 0; i < N_ATTACKS; i++) {
        void *a = (void *)(uintptr_t)&ATTACKS[i];
        char row[16] = "";

        if (ATTACKS[i].row > 0) {
            snprintf(row, sizeof row, "row %d: ", ATTACKS[i].row);
        }
        snprintf(names[2 * i], sizeof names[0], "%s%s", row, ATTACKS[i].name);
        snprintf(names[2 * i + 1], sizeof names[0], "%s%s, while loading", row, ATTACKS[i].name);
        tests[2 * i] = (struct CMUnitTest){names[2 * i], test_in_a_request, NULL, NULL, a};
        tests[2 * i + 1] = (struct CMUnitTest){names[2 * i + 1], test_at_load, NULL, NULL, a};
    }
    return cmocka_run_group_tests_name("attacks", tests, NULL, NULL);
}
