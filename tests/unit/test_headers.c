/* SPDX-License-Identifier: MIT */
/*
 * Header lists: order, case, removal, maxima, comma lists, what a name and a value may hold.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/limits.h"
#include "net/headers.h"

static void assert_field(const struct headers *h, size_t i, const char *name, const char *value) {
    assert_true(i < h->n);
    assert_true(str_is(headers_at(h, i).name, name));
    assert_true(str_is(headers_at(h, i).value, value));
}

/* Goal: fields keep order and case, are found without case, and the first of a name is the one
 * given. */
static void test_add_and_get(void **state) {
    (void)state;
    struct headers h;
    struct str v;
    headers_init(&h, 10, 1000);
    assert_false(headers_get(&h, "a", &v));
    assert_int_equal(headers_add(&h, STR("Content-Type"), STR("text/plain")), 0);
    assert_int_equal(headers_add(&h, STR("X-A"), STR("")), 0);
    assert_int_equal(headers_add(&h, STR("x-a"), STR("two")), 0);
    assert_field(&h, 0, "Content-Type", "text/plain");
    assert_field(&h, 2, "x-a", "two");
    assert_true(headers_get(&h, "CONTENT-TYPE", &v));
    assert_true(str_is(v, "text/plain"));
    assert_true(headers_get(&h, "x-A", &v));
    assert_int_equal(v.n, 0);
    assert_int_equal(headers_count(&h, "X-a"), 2);
    headers_clear(&h);
    assert_int_equal(h.n, 0);
    headers_release(&h);
}

/* Goal: removing and setting leave the others whole and in order. */
static void test_remove_and_set(void **state) {
    (void)state;
    struct headers h;
    headers_init(&h, 10, 1000);
    assert_int_equal(headers_add(&h, STR("A"), STR("1")), 0);
    assert_int_equal(headers_add(&h, STR("B"), STR("22")), 0);
    assert_int_equal(headers_add(&h, STR("a"), STR("333")), 0);
    assert_int_equal(headers_add(&h, STR("C"), STR("4444")), 0);
    headers_remove(&h, "A");
    assert_int_equal(h.n, 2);
    assert_field(&h, 0, "B", "22");
    assert_field(&h, 1, "C", "4444");
    assert_int_equal(headers_set(&h, STR("b"), STR("new")), 0);
    assert_field(&h, 0, "C", "4444");
    assert_field(&h, 1, "b", "new");
    headers_remove_at(&h, 0);
    assert_field(&h, 0, "b", "new");
    headers_remove_at(&h, 0);
    assert_int_equal(h.n, 0);
    assert_int_equal(h.text.len, 0);
    headers_release(&h);
}

/* Goal: the maxima hold, a refused field changes nothing, and setting a field over and over does
 * not use room up. */
static void test_maxima(void **state) {
    (void)state;
    struct headers h;
    headers_init(&h, 2, 10);
    assert_int_equal(headers_add(&h, STR("abc"), STR("12345678")), -1);
    assert_int_equal(h.n, 0);
    assert_int_equal(h.text.len, 0);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(headers_set(&h, STR("abc"), STR("1234567")), 0);
    }
    assert_int_equal(headers_add(&h, STR("d"), STR("")), -1);
    headers_remove(&h, "abc");
    assert_int_equal(headers_add(&h, STR("d"), STR("")), 0);
    assert_int_equal(headers_add(&h, STR("e"), STR("")), 0);
    assert_int_equal(headers_add(&h, STR("f"), STR("")), -1);
    headers_release(&h);
}

/* Goal: list members are whole, trimmed, and matched without case over several fields. */
static void test_lists(void **state) {
    (void)state;
    struct headers h;
    headers_init(&h, 10, 1000);
    assert_int_equal(headers_add(&h, STR("Connection"), STR("Keep-Alive ,\tx-thing,")), 0);
    assert_int_equal(headers_add(&h, STR("connection"), STR("CLOSE")), 0);
    assert_true(headers_list_has(&h, "connection", "keep-alive"));
    assert_true(headers_list_has(&h, "connection", "X-Thing"));
    assert_true(headers_list_has(&h, "Connection", "close"));
    assert_false(headers_list_has(&h, "connection", "keep"));
    assert_false(headers_list_has(&h, "connection", "thing"));
    assert_false(headers_list_has(&h, "upgrade", "close"));
    headers_release(&h);
}

/* Goal: names are tokens; values hold no control characters but tabs. Every byte is tried. */
static void test_bytes(void **state) {
    (void)state;
    for (int c = 0; c < 256; c++) {
        char byte = (char)c;
        bool letter = (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
        bool token = letter || (c > 0 && c < 128 && strchr("!#$%&'*+-.^_`|~", c));
        assert_int_equal(header_name_ok(str_make(&byte, 1)), token);
        assert_int_equal(header_value_ok(str_make(&byte, 1)), c == '\t' || (c >= 32 && c != 127));
    }
    assert_false(header_name_ok(STR("")));
    for (size_t at = 0; at < 40; at++) { /* wherever it stands: values are looked at in steps */
        char text[] = "0123456789 123456789\t123456789 123456789";
        assert_true(header_value_ok(str_make(text, 40)));
        text[at] = 0x7f;
        assert_false(header_value_ok(str_make(text, 40)));
        text[at] = '\n';
        assert_false(header_value_ok(str_make(text, 40)));
        assert_true(header_value_ok(str_make(text, at)));
        text[at] = (char)0xff;
        assert_true(header_value_ok(str_make(text, 40)));
    }
    assert_true(header_value_ok(STR("")));
    assert_false(header_value_ok(STR("a\r\nb: c")));
    assert_false(header_value_ok(STR("a\0b")));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_add_and_get), cmocka_unit_test(test_remove_and_set),
        cmocka_unit_test(test_maxima),      cmocka_unit_test(test_lists),
        cmocka_unit_test(test_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
