/* SPDX-License-Identifier: MIT */
/*
 * Unit tests of base/str: comparing, cutting, globs, numbers, nearest names.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/str.h"

static void comparing(void **state) {
    /* Goal: equality with and without case, prefixes, suffixes, containment, and slices without a
     * pointer. */
    struct str none = {NULL, 0};
    (void)state;
    assert_true(str_eq(none, STR("")));
    assert_true(str_is(none, ""));
    assert_true(str_is(none, NULL));
    assert_true(str_case_eq(none, STR("")));
    assert_true(str_starts(none, ""));
    assert_true(str_ends(none, ""));
    assert_true(str_has(none, ""));
    assert_false(str_starts(none, "a"));
    assert_true(str_eq(STR("a\0b"), STR("a\0b")));
    assert_false(str_eq(STR("a\0b"), STR("a\0c")));
    assert_false(str_is(STR("a\0b"), "a"));
    assert_true(str_case_is(STR("Content-TYPE"), "content-type"));
    assert_false(str_case_is(STR("a@"), "a`")); /* only letters have case */
    assert_true(str_starts(STR("/v1/chat"), "/v1/"));
    assert_true(str_ends(STR("a.lua"), ".lua"));
    assert_false(str_ends(STR("ua"), ".lua"));
    assert_true(str_has(STR("a Rate Limit"), "Rate"));
    assert_false(str_has(STR("a Rate Limit"), "rate"));
    assert_true(str_case_has(STR("a Rate Limit"), "rate lIMIT"));
    assert_false(str_case_has(STR("rat"), "rate"));
    assert_true(str_case_has(STR("x"), ""));
}

static void trimming(void **state) {
    /* Goal: spaces and tabs go at both ends, nothing else does. */
    (void)state;
    assert_true(str_is(str_trim(STR(" \t a b\t ")), "a b"));
    assert_int_equal(str_trim(STR(" \t ")).n, 0);
    assert_true(str_is(str_trim(STR("\na")), "\na"));
}

static void splitting(void **state) {
    /* Goal: n separators give n + 1 parts, empty ones included; an empty text is one empty part. */
    struct str rest = STR("a,,b,");
    struct str part;
    (void)state;
    assert_true(str_split(&rest, ',', &part) && str_is(part, "a"));
    assert_true(str_split(&rest, ',', &part) && part.n == 0);
    assert_true(str_split(&rest, ',', &part) && str_is(part, "b"));
    assert_true(str_split(&rest, ',', &part) && part.n == 0);
    assert_false(str_split(&rest, ',', &part));
    rest = STR("");
    assert_true(str_split(&rest, ',', &part));
    assert_int_equal(part.n, 0);
    assert_false(str_split(&rest, ',', &part));
}

static void globs(void **state) {
    /* Goal: star and question mark anywhere, with backtracking where it is needed. */
    (void)state;
    assert_true(str_glob("gpt-4o*", STR("gpt-4o")));
    assert_true(str_glob("gpt-4o*", STR("gpt-4o-mini")));
    assert_false(str_glob("gpt-4o*", STR("gpt-4")));
    assert_true(str_glob("*", STR("")));
    assert_true(str_glob("", STR("")));
    assert_false(str_glob("", STR("a")));
    assert_true(str_glob("a*b*c", STR("a1b2b3c")));
    assert_false(str_glob("a*b*c", STR("a1b2b3")));
    assert_true(str_glob("*aab", STR("aaaab")));
    assert_true(str_glob("a?c", STR("abc")));
    assert_false(str_glob("a?c", STR("ac")));
    assert_false(str_glob("?", STR("")));
    assert_true(str_glob("a**", STR("a")));
    assert_false(str_glob("abc", STR("ab")));
}

static void glob_is_never_exponential(void **state) {
    /* Goal: the pattern that takes naive matchers for ever is answered; recursion would not come
     * back in years. */
    char text[2000];
    (void)state;
    memset(text, 'a', sizeof(text));
    assert_false(str_glob("a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b", str_make(text, sizeof(text))));
}

static void numbers(void **state) {
    /* Goal: decimal digits only, at most 18. */
    unsigned long long n = 7;
    (void)state;
    assert_true(str_to_u64(STR("0"), &n) && n == 0);
    assert_true(str_to_u64(STR("0042"), &n) && n == 42);
    assert_true(str_to_u64(STR("999999999999999999"), &n) && n == 999999999999999999ULL);
    n = 7;
    assert_false(str_to_u64(STR("1000000000000000000"), &n));
    assert_false(str_to_u64(STR(""), &n));
    assert_false(str_to_u64(STR("-1"), &n));
    assert_false(str_to_u64(STR("+1"), &n));
    assert_false(str_to_u64(STR(" 1"), &n));
    assert_false(str_to_u64(STR("1x"), &n));
    assert_false(str_to_u64(STR("1\0"), &n));
    assert_int_equal(n, 7);
}

static void copies(void **state) {
    /* Goal: the copy is terminated and keeps inner NULs. */
    (void)state;
    char *a = str_dup(str_make(NULL, 0));
    char *b = str_dup(STR("x\0y"));
    assert_string_equal(a, "");
    assert_memory_equal(b, "x\0y", 4);
    free(a);
    free(b);
}

static void nearest_names(void **state) {
    /* Goal: slips of the finger find their name, other words find none. */
    static const char *const names[] = {"targets", "trigger", "request_timeout",
                                        "suspend", "id",      NULL};
    char longer[200];
    (void)state;
    assert_string_equal(str_nearest("target", names), "targets");
    assert_string_equal(str_nearest("tragets", names), "targets");
    assert_string_equal(str_nearest("Trigger", names), "trigger");
    assert_string_equal(str_nearest("requst_timout", names), "request_timeout");
    assert_null(str_nearest("colour", names));
    assert_null(str_nearest("up", names));
    assert_null(str_nearest("", names));
    memset(longer, 'x', sizeof(longer));
    longer[199] = '\0';
    assert_null(str_nearest(longer, names));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comparing),
        cmocka_unit_test(trimming),
        cmocka_unit_test(splitting),
        cmocka_unit_test(globs),
        cmocka_unit_test(glob_is_never_exponential),
        cmocka_unit_test(numbers),
        cmocka_unit_test(copies),
        cmocka_unit_test(nearest_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
