/* SPDX-License-Identifier: MIT */
/*
 * Unit tests of base/buf: the maximum, all-or-nothing additions, taking the storage.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/buf.h"

static void empty_reads_as_text(void **state) {
    /* Goal: a buffer without storage is a valid empty C string and may be released twice. */
    struct buf b;
    (void)state;
    buf_init(&b, 10);
    assert_string_equal(b.data, "");
    assert_int_equal(buf_str(&b).n, 0);
    buf_clear(&b);
    buf_truncate(&b, 0);
    buf_consume(&b, 0);
    buf_release(&b);
    buf_release(&b);
    assert_string_equal(b.data, "");
}

static void grows_to_its_maximum_and_no_further(void **state) {
    /* Goal: exactly max bytes fit; one more is BUF_FULL and changes nothing. */
    struct buf b;
    (void)state;
    buf_init(&b, 1000);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(buf_addc(&b, (char)('a' + i % 26)), BUF_OK);
        assert_int_equal(b.data[b.len], 0);
        assert_true(b.cap <= 1000);
    }
    assert_int_equal(buf_addc(&b, 'x'), BUF_FULL);
    assert_int_equal(buf_adds(&b, ""), BUF_OK);
    assert_int_equal(b.len, 1000);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(b.data[i], 'a' + i % 26);
    }
    buf_release(&b);
    assert_int_equal(b.max, 1000);
}

static void format_is_all_or_nothing(void **state) {
    /* Goal: a formatted text that does not fit leaves the contents and their terminator as they
     * were. */
    struct buf b;
    (void)state;
    buf_init(&b, 8);
    assert_int_equal(buf_addf(&b, "%d-%s", 12, "abc"), BUF_OK);
    assert_string_equal(b.data, "12-abc");
    assert_int_equal(buf_addf(&b, "%s", "xyz"), BUF_FULL);
    assert_string_equal(b.data, "12-abc");
    assert_int_equal(b.len, 6);
    assert_int_equal(buf_addf(&b, "%s", "yz"), BUF_OK);
    assert_string_equal(b.data, "12-abcyz");
    assert_int_equal(buf_addf(&b, "%s", ""), BUF_OK);
    buf_release(&b);
}

static void format_longer_than_the_storage(void **state) {
    /* Goal: a text longer than the free storage, but within the maximum, comes out whole. */
    struct buf b;
    char want[501];
    (void)state;
    memset(want, 'q', 500);
    want[500] = '\0';
    buf_init(&b, 4096);
    assert_int_equal(buf_adds(&b, "ab"), BUF_OK);
    assert_int_equal(buf_addf(&b, "%s", want), BUF_OK);
    assert_int_equal(b.len, 502);
    assert_string_equal(b.data + 2, want);
    buf_release(&b);
}

static void huge_reserve_is_refused(void **state) {
    /* Goal: sizes near SIZE_MAX do not wrap around. */
    struct buf b;
    (void)state;
    buf_init(&b, SIZE_MAX);
    assert_int_equal(buf_adds(&b, "abc"), BUF_OK);
    assert_int_not_equal(buf_reserve(&b, SIZE_MAX), BUF_OK);
    assert_int_equal(buf_reserve(&b, SIZE_MAX - 3), BUF_FULL);
    assert_string_equal(b.data, "abc");
    buf_release(&b);
}

static void consume_and_truncate(void **state) {
    /* Goal: both ends can be cut; what stays is terminated. */
    struct buf b;
    (void)state;
    buf_init(&b, 100);
    assert_int_equal(buf_add(&b, "0123456789", 10), BUF_OK);
    buf_consume(&b, 3);
    assert_string_equal(b.data, "3456789");
    buf_truncate(&b, 2);
    assert_string_equal(b.data, "34");
    buf_truncate(&b, 50);
    assert_int_equal(b.len, 2);
    buf_consume(&b, 2);
    assert_string_equal(b.data, "");
    buf_release(&b);
}

static void take_gives_the_storage_away(void **state) {
    /* Goal: take returns the text, also of a buffer that never had storage, and leaves a usable
     * buffer. */
    struct buf b;
    (void)state;
    buf_init(&b, 100);
    char *empty = buf_take(&b);
    assert_non_null(empty);
    assert_string_equal(empty, "");
    free(empty);
    assert_int_equal(buf_add_str(&b, STR("a\0b")), BUF_OK);
    char *text = buf_take(&b);
    assert_memory_equal(text, "a\0b", 4);
    free(text);
    assert_int_equal(b.len, 0);
    assert_int_equal(buf_adds(&b, "again"), BUF_OK);
    assert_string_equal(b.data, "again");
    buf_release(&b);
}

static void numbers(void **state) {
    /* Goal: decimal digits as printf writes them, all or nothing. */
    static const unsigned long long values[] = {0, 7, 10, 99, 100, 4294967296, ~0ULL};
    struct buf b;
    char want[32];
    (void)state;
    buf_init(&b, 24);
    for (size_t i = 0; i < sizeof(values) / sizeof(*values); i++) {
        buf_clear(&b);
        snprintf(want, sizeof(want), "n=%llu", values[i]);
        assert_int_equal(buf_adds(&b, "n=") | buf_addn(&b, values[i]), BUF_OK);
        assert_string_equal(b.data, want);
    }
    assert_int_equal(buf_addn(&b, 100), BUF_FULL);
    assert_string_equal(b.data, want);
    buf_release(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty_reads_as_text),
        cmocka_unit_test(grows_to_its_maximum_and_no_further),
        cmocka_unit_test(format_is_all_or_nothing),
        cmocka_unit_test(format_longer_than_the_storage),
        cmocka_unit_test(huge_reserve_is_refused),
        cmocka_unit_test(consume_and_truncate),
        cmocka_unit_test(take_gives_the_storage_away),
        cmocka_unit_test(numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
