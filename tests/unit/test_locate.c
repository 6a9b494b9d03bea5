/* SPDX-License-Identifier: MIT */
/*
 * Unit tests of config/locate: the line of a value, whatever surrounds it. In the texts, a comment
 * "@path" marks the line that must be found for that path, so that the expectation stands beside
 * what it is about.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "config/locate.h"

static int line_of(const char *text, const char *path) {
    return locate_line(str_of(text), path);
}

/* Checks every "@path" in the text; returns how many there were. */
static size_t check_marks(const char *text) {
    size_t n = 0;
    int line = 1;
    for (const char *p = text; *p; p++) {
        char path[128];
        line += *p == '\n';
        if (*p == '@' && sscanf(p + 1, "%127[^ \n]", path) == 1) {
            int found = line_of(text, path);
            if (found != line) {
                fail_msg("%s: found in line %d, stands in line %d of\n%s", path, found, line, text);
            }
            n++;
        }
    }
    return n;
}

static void plain_tables(void **state) {
    /* Goal: fields, items and mixtures of both in one constructor, with every separator and key
     * form. */
    (void)state;
    assert_int_equal(check_marks("return {\n"
                                 "  listen = '127.0.0.1:1', -- @listen\n"
                                 "  providers = {           -- @providers\n"
                                 "    openai = {            -- @providers.openai\n"
                                 "      base_url = 'x';     -- @providers.openai.base_url\n"
                                 "    },\n"
                                 "    ['my-own'] = {        -- @providers[\"my-own\"]\n"
                                 "      queue = 1 + 2,      -- @providers[\"my-own\"].queue\n"
                                 "    },\n"
                                 "  },\n"
                                 "  routes = {\n"
                                 "    { name = 'a' },       -- @routes[1].name\n"
                                 "    { name = 'b',         -- @routes[2].name\n"
                                 "      settings = {\n"
                                 "        targets = { 'x',  -- @routes[2].settings.targets[1]\n"
                                 "          'y' },          -- @routes[2].settings.targets[2]\n"
                                 "        trigger = 'any',  -- @routes[2].settings.trigger\n"
                                 "      } },\n"
                                 "    [3] = {               -- @routes[3]\n"
                                 "      name = 'c' },       -- @routes[3].name\n"
                                 "  },\n"
                                 "}\n"),
                     13);
}

static void what_stands_between(void **state) {
    /* Goal: functions, calls, comments, strings and long brackets with braces, commas and keywords
     * in them mislead nobody. */
    (void)state;
    assert_int_equal(
        check_marks("#!/usr/bin/lua\n"
                    "--[[ return { a = 1 } ]] local s = \"return { a = 'x\\\" }\" --[==[ ]]\n"
                    "]==] local t = [==[ a = 1, ]] }\n"
                    "]==]\n"
                    "local function f() return { a = 2, end_ = 3 } end\n"
                    "if f then f() else while false do f() end end\n"
                    "repeat local a = 1 until a == 1\n"
                    "for i = 1, 2 do local a = { a = 4 } end\n"
                    "return {\n"
                    "  z = (function() local a = 1; if a then return { a = 2, } end end)(),\n"
                    "  y = f { a = 1, b = 2 },\n"
                    "  x = env('A', \"b, a = }\") .. '\\\n"
                    "  a = 7,',\n"
                    "  w = \"\\z   \n\n   end\",\n"
                    "  [f(1, 2)] = 3,\n"
                    "  [1 + 1] = 5,\n"
                    "  v = 1e-5 == 0x1p+4,\n"
                    "  a = 5, -- @a\n"
                    "  b = a == 1, 'item', -- @[1]\n"
                    "  c = { a = 1, -- @c.a\n"
                    "  }\n"
                    "}\n"),
        3);
}

static void names_that_stand_for_tables(void **state) {
    /* Goal: what is assigned to a local, to a field of it, or to one of several locals is followed;
     * the deepest find counts. */
    (void)state;
    assert_int_equal(check_marks("local shared = {\n"
                                 "  openai = {\n"
                                 "    base_url = 'x' }, -- @providers.openai.base_url\n"
                                 "}\n"
                                 "local a <const>, limits = 1, {\n"
                                 "  body = 1, -- @limits.body\n"
                                 "}\n"
                                 "local config = {\n"
                                 "  listen = 'x', -- @listen\n"
                                 "  providers = { openai = shared.openai, spare = "
                                 "shared['nothing'] }, -- @providers.spare.base_url\n"
                                 "}\n"
                                 "config.limits = limits\n"
                                 "config.log = {\n"
                                 "  level = 'info', -- @log.level\n"
                                 "}\n"
                                 "config.log.trail = true -- @log.trail\n"
                                 "config['routes'] = { { name = 1 } } -- @routes[1].name\n"
                                 "if a then config.listen = 'y' end\n"
                                 "return config\n"),
                     7);
}

static void nearest_parents(void **state) {
    /* Goal: what is not written is placed at the nearest parent that is; a file without a return
     * has no lines. */
    const char *text = "local x = 1\n"
                       "return {\n"
                       "  log = {\n"
                       "    level = 'info' },\n"
                       "  health = make {\n"
                       "    path = 'x' },\n"
                       "}\n";
    (void)state;
    assert_int_equal(line_of(text, ""), 2);
    assert_int_equal(line_of(text, "listen"), 2);
    assert_int_equal(line_of(text, "routes[1].name"), 2);
    assert_int_equal(line_of(text, "log.access"), 3);
    assert_int_equal(line_of(text, "log.level.deeper[4]"), 4);
    assert_int_equal(line_of(text, "health.path"), 5); /* what make() does is anybody's guess */
    assert_int_equal(line_of("local x = 1", "x"), 0);
    assert_int_equal(line_of("", "x"), 0);
    assert_int_equal(line_of("if a then return { x = 1 } end", "x"), 0);
    assert_int_equal(line_of("\n\nreturn f()", "x"), 3);
}

static void odd_texts(void **state) {
    /* Goal: broken texts, broken paths and circles of names end, with the best answer there is. */
    (void)state;
    assert_int_equal(line_of("local a = b\nlocal b = a\nreturn a", "x.y"), 3);
    assert_int_equal(line_of("a = a.a\nreturn { x = a.a.a }", "x.y"), 2);
    assert_int_equal(line_of("return { x = { y = 'unfinished\n, z = 2", "x.z"), 2);
    assert_int_equal(line_of("return { x = [[unfinished\n, z = 2", "z"), 1);
    assert_int_equal(line_of("return } ) end x = 1", "x"), 1);
    assert_int_equal(line_of("return {\r\n a = 1,\r\n b = 2 }", "b"), 3);
    assert_int_equal(line_of("return {\n\r a = 1,\r b = 2 }", "b"), 3);
    assert_int_equal(line_of("return {\n a = 1,\n a = 2 }", "a"),
                     3); /* as in Lua, the last one counts */
    assert_int_equal(line_of("return {\n a = { 5 } }", "a[x"), 2);
    assert_int_equal(line_of("return {\n a = { 5 } }", "a..[1]"), 2);
    assert_int_equal(line_of("return {\n a = { 5 } }", "a[99999999999999999999999]"), 2);
    assert_int_equal(line_of("return {\n a = 1 }", "[\"a"), 1);
}

struct told {
    char text[256];
    size_t n;
};

static void tell(void *ctx, struct str name, int line, int first_line) {
    struct told *t = ctx;
    t->n += (size_t)snprintf(t->text + t->n, sizeof(t->text) - t->n, "%.*s %d %d;", (int)name.n,
                             name.p, line, first_line);
}

static void names_given_twice(void **state) {
    /* Goal: each key that stands twice in one constructor is told with both lines, and none that
     * only looks like it. */
    struct told t = {"", 0};
    (void)state;
    locate_twice(STR("return { a = 1,\n"
                     " b = { a = 2, c = f(a, b),\n"
                     " ['a'] = 3 },\n"
                     " c = function(a) local a, b = 1, 2; return { b = 1 } end,\n"
                     " x == y, x == y, 'a', 'a', { a = 1 }, { a = 1 },\n"
                     " a = 4 }"),
                 tell, &t);
    assert_string_equal(t.text, "a 3 2;a 6 1;");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_tables),
        cmocka_unit_test(what_stands_between),
        cmocka_unit_test(names_that_stand_for_tables),
        cmocka_unit_test(nearest_parents),
        cmocka_unit_test(odd_texts),
        cmocka_unit_test(names_given_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
