/* SPDX-License-Identifier: MIT */
/*
 * Unit tests of base/value: building, order, copying, JSON.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>

#include "base/limits.h"
#include "base/value.h"

static struct value integer(int64_t i) {
    struct value v = {0};
    v.type = VALUE_INT;
    v.as.i = i;
    return v;
}

static struct value number(double n) {
    struct value v = {0};
    v.type = VALUE_NUM;
    v.as.n = n;
    return v;
}

static struct value text(struct str s) {
    struct value v = {0};
    assert_int_equal(value_set_str(&v, s), 0);
    return v;
}

static void expect_json(const struct value *v, const char *want) {
    struct buf out;
    buf_init(&out, 10000);
    assert_int_equal(value_to_json(v, &out), BUF_OK);
    assert_string_equal(out.data, want);
    buf_release(&out);
}

static void fields_are_sorted_and_found(void **state) {
    /* Goal: fields set in any order are found and stand sorted; setting one again replaces it. */
    static const char *const names[] = {"m", "z", "a", "mm", "", "b", "y"};
    struct value t = value_table();
    (void)state;
    for (int i = 0; i < 7; i++) {
        assert_int_equal(value_set_field(&t, str_of(names[i]), integer(i)), 0);
    }
    assert_int_equal(value_set_field(&t, STR("mm"), text(STR("again"))), 0);
    assert_int_equal(t.as.t.n_fields, 7);
    for (size_t i = 1; i < 7; i++) {
        assert_true(strcmp(t.as.t.fields[i - 1].name, t.as.t.fields[i].name) < 0);
    }
    assert_int_equal(value_field(&t, "a")->as.i, 2);
    assert_int_equal(value_field(&t, "")->as.i, 4);
    assert_true(str_is(value_str(value_field(&t, "mm")), "again"));
    assert_null(value_field(&t, "mmm"));
    assert_null(value_field(&t, "l"));
    assert_null(value_field(value_field(&t, "a"), "x"));
    assert_null(value_field(NULL, "x"));
    assert_int_equal(value_set_field(&t, STR("a\0b"), text(STR("x"))),
                     -1); /* names are C strings */
    value_release(&t);
    assert_int_equal(t.type, VALUE_NIL);
}

static void copies_are_deep(void **state) {
    /* Goal: a copy reads the same and outlives its original. */
    struct value inner = value_table();
    struct value t = value_table();
    struct value copy;
    (void)state;
    for (int i = 0; i < 20; i++) {
        assert_int_equal(value_add_item(&inner, integer(i)), 0);
    }
    assert_int_equal(value_add_item(&t, inner), 0);
    assert_int_equal(value_set_field(&t, STR("s"), text(STR("a\0b"))), 0);
    assert_int_equal(value_copy(&copy, &t), 0);
    value_release(&t);
    assert_int_equal(copy.as.t.items[0].as.t.n_items, 20);
    assert_int_equal(copy.as.t.items[0].as.t.items[19].as.i, 19);
    assert_true(str_eq(value_str(value_field(&copy, "s")), STR("a\0b")));
    value_release(&copy);
}

static void misuse_releases_what_was_given(void **state) {
    /* Goal: adding to what is no table fails and does not leak (the sanitizer looks). */
    struct value v = integer(1);
    (void)state;
    assert_int_equal(value_add_item(&v, text(STR("lost"))), -1);
    assert_int_equal(value_set_field(&v, STR("a"), text(STR("lost"))), -1);
    assert_int_equal(v.as.i, 1);
}

static void reading(void **state) {
    /* Goal: accessors take any value, and types have the names Lua gives them. */
    struct value i = integer(-3);
    struct value n = number(2.5);
    struct value t = value_table();
    struct value none = {0};
    double out = 0;
    (void)state;
    assert_true(value_number(&i, &out) && out == -3);
    assert_true(value_number(&n, &out) && out == 2.5);
    assert_false(value_number(&t, &out));
    assert_false(value_number(NULL, &out));
    assert_int_equal(value_str(&t).n, 0);
    assert_string_equal(value_type_name(&i), "number");
    assert_string_equal(value_type_name(&n), "number");
    assert_string_equal(value_type_name(&t), "table");
    assert_string_equal(value_type_name(&none), "nil");
    assert_string_equal(value_type_name(NULL), "nil");
}

static void json(void **state) {
    /* Goal: arrays, objects, mixed tables, escapes and numbers that read back exactly. */
    struct value list = value_table();
    struct value t = value_table();
    struct value yes = {0};
    (void)state;
    yes.type = VALUE_BOOL;
    yes.as.b = true;
    expect_json(&t, "{}");
    assert_int_equal(value_add_item(&list, integer(INT64_MIN)), 0);
    assert_int_equal(value_add_item(&list, number(0.1)), 0);
    assert_int_equal(value_add_item(&list, number(1e300)), 0);
    assert_int_equal(value_add_item(&list, number(0.1 + 0.2)), 0);
    assert_int_equal(value_add_item(&list, number(NAN)), 0);
    assert_int_equal(value_add_item(&list, yes), 0);
    assert_int_equal(value_add_item(&list, value_table()), 0);
    expect_json(&list, "[-9223372036854775808,0.1,1e+300,0.30000000000000004,null,true,{}]");
    assert_int_equal(value_set_field(&t, STR("z"), list), 0);
    assert_int_equal(value_set_field(&t, STR("a\""), text(STR("x\ny"))), 0);
    expect_json(&t, "{\"a\\\"\":\"x\\ny\",\"z\":[-9223372036854775808,0.1,1e+300,0."
                    "30000000000000004,null,true,{}]}");
    value_release(&t);
    assert_int_equal(value_add_item(&t, integer(1)), -1);
    t = value_table();
    assert_int_equal(value_add_item(&t, integer(7)), 0);
    assert_int_equal(value_set_field(&t, STR("k"), integer(8)), 0);
    expect_json(&t, "{\"1\":7,\"k\":8}");
    value_release(&t);
}

static void from_json(void **state) {
    /* Goal: JSON comes back as it went; what a tree cannot hold is refused with its place. */
    static const char *const good[] = {"{}",
                                       "7",
                                       "-0.5",
                                       "true",
                                       "\"x\\u0000y\"",
                                       "[1,[2,{\"a\":false}],\"b\"]",
                                       "{\"a\":{\"b\":[1]},\"c\":9007199254740991}"};
    static const struct {
        const char *text, *said;
    } bad[] = {
        {"", "invalid JSON at byte 0"},
        {"{\"a\":1,}", "invalid JSON"},
        {"{\"a\":1} x", "invalid JSON"},
        {"null", "byte 1: null"},
        {"{\"a\":[1,null]}", "byte 9: null"},
        {"{\"a\":1,\"\\u0061\":2}", "\"a\" is given twice"},
        {"{\"a\\u0000b\":1}", "a key holds a NUL"},
        {"1e999", "too large"},
    };
    struct err err = {""};
    struct value v;
    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
        assert_int_equal(value_from_json(&v, str_of(good[i]), &err), 0);
        expect_json(&v, good[i]);
        assert_true(value_equal(&v, &v));
        value_release(&v);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        assert_int_equal(value_from_json(&v, str_of(bad[i].text), &err), -1);
        assert_int_equal(v.type, VALUE_NIL);
        if (!strstr(err.text, bad[i].said)) {
            fail_msg("%s: expected \"%s\", got: %s", bad[i].text, bad[i].said, err.text);
        }
    }
    char deep[2 * MAX_VALUE_DEPTH + 3];
    for (int extra = 0; extra < 2; extra++) {
        int n = MAX_VALUE_DEPTH + extra;
        memset(deep, '[', (size_t)n);
        memset(deep + n, ']', (size_t)n);
        assert_int_equal(value_from_json(&v, str_make(deep, 2 * (size_t)n), &err), -extra);
        value_release(&v);
    }
}

static void tables_have_a_limit(void **state) {
    /* Goal: the named fields of one table are bounded. */
    struct value t = value_table();
    char name[16];
    int i = 0;
    (void)state;
    do {
        snprintf(name, sizeof(name), "f%06d", i);
    } while (value_set_field(&t, str_of(name), integer(i++)) == 0 && i < 1000000);
    assert_int_equal(t.as.t.n_fields, 10000);
    value_release(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_are_sorted_and_found),
        cmocka_unit_test(copies_are_deep),
        cmocka_unit_test(misuse_releases_what_was_given),
        cmocka_unit_test(reading),
        cmocka_unit_test(json),
        cmocka_unit_test(from_json),
        cmocka_unit_test(tables_have_a_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
