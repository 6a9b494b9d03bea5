/* SPDX-License-Identifier: MIT */
/*
 * Unit tests of the small parts of base: clock, hash, diag, json, log, err.
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
#include <time.h>

#include "base/clock.h"
#include "base/diag.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/log.h"

static void durations(void **state) {
    /* Goal: seconds become microseconds, nonsense becomes 0 or the maximum; a negative rest is 0.
     */
    (void)state;
    assert_int_equal(usec_from_seconds(2.5), 2500000);
    assert_int_equal(usec_from_seconds(0.000001), 1);
    assert_int_equal(usec_from_seconds(-1), 0);
    assert_int_equal(usec_from_seconds(NAN), 0);
    assert_true(usec_from_seconds(INFINITY) == usec_from_seconds(1e300));
    assert_true(usec_from_seconds(INFINITY) > 9 * 365 * 86400 * USEC_PER_SEC);
    assert_true(usec_from_seconds(INFINITY) < 11 * 365 * 86400 * USEC_PER_SEC);
    assert_true(usec_to_seconds(1500000) == 1.5);
    struct timeval tv = usec_to_timeval(2500001);
    assert_int_equal(tv.tv_sec, 2);
    assert_int_equal(tv.tv_usec, 500001);
    tv = usec_to_timeval(-5);
    assert_int_equal(tv.tv_sec, 0);
    assert_int_equal(tv.tv_usec, 0);
}

static void clocks_run(void **state) {
    /* Goal: the monotonic clock never steps back, CPU time moves when work is done. */
    usec a = clock_now();
    usec cpu = clock_thread_cpu();
    volatile unsigned long x = 1;
    (void)state;
    while (clock_thread_cpu() == cpu) {
        x = x * 3 + 1;
    }
    assert_true(clock_now() >= a);
    assert_true(clock_wall() > INT64_C(1600000000) * USEC_PER_SEC);
}

static void dates_written(void **state) {
    /* Goal: ISO times and those of a Date header agree with the C library's calendar, over leap
     * days and centuries. */
    static const int64_t seconds[] = {0,          951782400,  951868799,  1709164800,
                                      1709251199, 4107542399, 4107542400, 253402300799};
    char have[32];
    char want[32];
    (void)state;
    for (size_t i = 0; i < sizeof(seconds) / sizeof(seconds[0]); i++) {
        time_t t = (time_t)seconds[i];
        struct tm tm;
        gmtime_r(&t, &tm);
        strftime(want, sizeof(want), "%Y-%m-%dT%H:%M:%S.789Z", &tm);
        clock_format(seconds[i] * USEC_PER_SEC + 789999, have, sizeof(have));
        assert_string_equal(have, want);
        strftime(want, sizeof(want), "%a, %d %b %Y %H:%M:%S GMT", &tm);
        clock_format_http(seconds[i] * USEC_PER_SEC + 789999, have, sizeof(have));
        assert_string_equal(have, want);
    }
    clock_format(-1, have, sizeof(have));
    assert_string_equal(have, "1970-01-01T00:00:00.000Z");
}

static usec date(const char *text) {
    usec t = clock_parse_http_date(text, strlen(text));
    return t < 0 ? t : t / USEC_PER_SEC;
}

static void dates_read(void **state) {
    /* Goal: the three forms of HTTP dates, and nothing that only looks like one. */
    static const char *const wrong[] = {
        "",
        "5",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 31 Feb 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:00:00 GMT",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "Xun, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06 nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 GMT x",
        "Sun, 29 Feb 2023 00:00:00 GMT",
        "Sun, 00 Nov 1994 08:49:37 GMT",
        "Sun",
        "Sunday",
        "Sun, 06 Nov 1900 08:49:37 GMT",
    };
    (void)state;
    assert_int_equal(date("Sun, 06 Nov 1994 08:49:37 GMT"), 784111777);
    assert_int_equal(date(" Sunday, 06-Nov-94 08:49:37 GMT "), 784111777);
    assert_int_equal(date("Sun Nov  6 08:49:37 1994"), 784111777);
    assert_int_equal(date("Thu, 29 Feb 2024 23:59:60 GMT"), 1709251200);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        if (date(wrong[i]) != -1) {
            fail_msg("taken as a date: %s", wrong[i]);
        }
    }
}

static void two_digit_years(void **state) {
    /* Goal: a two-digit year is never more than 50 years ahead. */
    char text[64];
    struct tm tm;
    time_t now = time(NULL);
    (void)state;
    gmtime_r(&now, &tm);
    for (int year = tm.tm_year + 1900 - 49; year <= tm.tm_year + 1900 + 49; year++) {
        struct tm first = {.tm_year = year - 1900, .tm_mon = 0, .tm_mday = 1};
        snprintf(text, sizeof(text), "Monday, 01-Jan-%02d 00:00:00 GMT", year % 100);
        usec t = clock_parse_http_date(text, strlen(text));
        if (timegm(&first) >= 0) {
            assert_int_equal(t / USEC_PER_SEC, timegm(&first));
        }
    }
}

static void sha256(void **state) {
    /* Goal: the published vectors, in hexadecimal; comparing tells equal from nearly equal. */
    unsigned char a[HASH_SIZE];
    unsigned char b[HASH_SIZE];
    char hex[2 * HASH_SIZE + 1];
    (void)state;
    hash_sha256(STR("abc"), a);
    hash_hex(a, HASH_SIZE, hex);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    hash_sha256(str_make(NULL, 0), b);
    hash_hex(b, HASH_SIZE, hex);
    assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_false(hash_equal(a, b, HASH_SIZE));
    memcpy(b, a, HASH_SIZE);
    assert_true(hash_equal(a, b, HASH_SIZE));
    b[31] ^= 1;
    assert_false(hash_equal(a, b, HASH_SIZE));
}

static void sha256_of_pieces(void **state) {
    /* Goal: pieces hash as one text, none as the empty one; the HMAC is that of RFC 4231, case 2.
     */
    (void)state;
    const struct str pieces[] = {STR("a"), {NULL, 0}, STR("bc")};
    unsigned char whole[HASH_SIZE], parts[HASH_SIZE];
    char hex[2 * HASH_SIZE + 1];
    hash_sha256(STR("abc"), whole);
    hash_sha256_pieces(pieces, 3, parts);
    assert_memory_equal(whole, parts, HASH_SIZE);
    hash_sha256(STR(""), whole);
    hash_sha256_pieces(NULL, 0, parts);
    assert_memory_equal(whole, parts, HASH_SIZE);
    hash_hmac(STR("Jefe"), STR("what do ya want for nothing?"), parts);
    hash_hex(parts, HASH_SIZE, hex);
    assert_string_equal(hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

static void quick_hash(void **state) {
    /* Goal: the same bytes hash alike wherever they stand, changes of one bit or of the length do
     * not. */
    char text[40];
    (void)state;
    for (size_t n = 0; n < 32; n++) {
        memset(text, 'a', sizeof(text));
        uint64_t h = hash_quick(str_make(text, n));
        assert_true(hash_quick(str_make(text + 3, n)) == h);
        assert_true(hash_quick(str_make(text, n + 1)) != h);
        for (size_t i = 0; i < n; i++) {
            text[i] ^= 1;
            assert_true(hash_quick(str_make(text, n)) != h);
            text[i] ^= 1;
        }
    }
    assert_true(hash_quick(str_make(NULL, 0)) == hash_quick(STR("")));
}

static void random_numbers(void **state) {
    /* Goal: a seed gives one sequence, the published one of xoshiro256**; units stay in [0, 1). */
    struct rng a = {{1, 2, 3, 4}};
    struct rng b;
    struct rng c;
    (void)state;
    assert_true(rng_next(&a) == 11520);
    assert_true(rng_next(&a) == 0);
    assert_true(rng_next(&a) == 1509978240);
    assert_true(rng_next(&a) == 1215971899390074240);
    rng_seed(&b, 42);
    rng_seed(&c, 42);
    double sum = 0;
    for (int i = 0; i < 10000; i++) {
        double u = rng_unit(&b);
        assert_true(u >= 0 && u < 1);
        assert_true(u == rng_unit(&c));
        sum += u;
    }
    assert_true(sum > 4500 && sum < 5500);
    assert_int_equal(rng_init(&b), 0);
    assert_int_equal(rng_init(&c), 0);
    assert_true(rng_next(&b) != rng_next(&c));
}

static void diagnostics(void **state) {
    /* Goal: all in order with their place; only errors count as failure; what exceeds the limit is
     * counted and said. */
    struct diags d;
    struct buf out;
    (void)state;
    diags_init(&d);
    buf_init(&out, 100000);
    diags_warn(&d, "gateway.lua", 3, "odd %s", "thing");
    assert_int_equal(d.errors, 0);
    diags_error(&d, "policies/x.lua", 0, "wrong");
    assert_int_equal(diags_format(&d, &out), BUF_OK);
    assert_string_equal(out.data,
                        "gateway.lua:3: warning: odd thing\npolicies/x.lua: error: wrong\n");
    for (int i = 0; i < MAX_DIAGS + 5; i++) {
        diags_error(&d, "f", i, "e%d", i);
    }
    assert_int_equal(d.n, MAX_DIAGS);
    assert_int_equal(d.dropped, 7);
    assert_int_equal(d.errors, MAX_DIAGS + 6);
    buf_clear(&out);
    assert_int_equal(diags_format(&d, &out), BUF_OK);
    assert_non_null(strstr(out.data, "f:97: error: e97\n"));
    assert_non_null(strstr(out.data, "7 more not shown\n"));
    diags_release(&d);
    assert_int_equal(d.n, 0);
    buf_release(&out);
}

static void json_written(void **state) {
    /* Goal: a document built and printed; text is made valid UTF-8; additions to nothing make
     * printing fail. */
    struct json *j = json_object();
    struct buf out;
    (void)state;
    buf_init(&out, 10000);
    json_add_str(j, "s", STR("a\"\xff\n"));
    json_add_num(j, "n", 1.5);
    json_add_bool(j, "b", true);
    json_add_null(j, "z");
    struct json *list = json_add_array(j, "l");
    json_push_str(list, str_make("xyz", 2));
    json_add_num(json_push_object(list), "k", 7);
    json_add_num(json_add_object(j, "o"), "k", 8);
    assert_int_equal(json_print(j, &out), BUF_OK);
    assert_string_equal(out.data, "{\"s\":\"a\\\"\xef\xbf\xbd\\n\",\"n\":1.5,\"b\":true,\"z\":null,"
                                  "\"l\":[\"xy\",{\"k\":7}],\"o\":{\"k\":8}}");
    json_free(j);
    assert_null(json_add_object(NULL, "a"));
    json_add_str(NULL, "a", STR("b"));
    assert_int_not_equal(json_print(NULL, &out), BUF_OK);
    buf_release(&out);
}

static void hide(void *ctx, struct buf *text) {
    buf_replace(text, str_of(ctx), STR("*"));
}

static void json_values_and_texts(void **state) {
    /* Goal: a value is printed as value_to_json prints it; texts and inner names are changed on the
     * way in, texts alone afterwards. */
    const char *given =
        "{\"secret\":[1,2.5,true,\"a secret\"],\"o\":{\"my secret\":{},\"l\":[\"secret\"]}}";
    struct json_texts texts = {hide, (void *)(uintptr_t) "secret"};
    struct value v;
    struct buf out, plain;
    (void)state;
    buf_init(&out, 1024);
    buf_init(&plain, 1024);
    assert_int_equal(value_from_json(&v, str_of(given), NULL), 0);
    struct json *j = json_object();
    json_add_value(j, "secret", &v, NULL);
    assert_int_equal(json_print(j, &out), BUF_OK);
    assert_int_equal(value_to_json(&v, &plain), BUF_OK);
    assert_true(str_is(str_make(out.data + 10, out.len - 11), plain.data));
    assert_int_equal(json_change_texts(j, &texts), 0);
    buf_clear(&out);
    assert_int_equal(json_print(j, &out), BUF_OK);
    assert_string_equal(out.data, "{\"secret\":{\"o\":{\"l\":[\"*\"],\"my secret\":{}},"
                                  "\"secret\":[1,2.5,true,\"a *\"]}}");
    json_free(j);
    j = json_object();
    json_add_value(j, "secret", &v, &texts);
    json_add_value(j, "none", NULL, &texts);
    buf_clear(&out);
    assert_int_equal(json_print(j, &out), BUF_OK);
    assert_string_equal(out.data, "{\"secret\":{\"o\":{\"l\":[\"*\"],\"my *\":{}},"
                                  "\"*\":[1,2.5,true,\"a *\"]},\"none\":null}");
    json_free(j);
    value_release(&v);
    buf_release(&plain);
    buf_release(&out);
}

static void json_read(void **state) {
    /* Goal: names are matched exactly, wrong types are no values, and only strict JSON is taken. */
    struct json *j = json_parse(STR(" {\"A\":1,\"a\":\"x\",\"l\":[true,null],\"o\":{}} "));
    struct str s;
    double n = 0;
    bool b = false;
    const char *name = NULL;
    const struct json *it = NULL;
    int fields = 0;
    (void)state;
    assert_non_null(j);
    assert_true(json_is_object(j));
    assert_true(json_str(json_get(j, "a"), &s) && str_is(s, "x"));
    assert_true(json_num(json_get(j, "A"), &n) && n == 1);
    assert_false(json_num(json_get(j, "a"), &n));
    assert_false(json_str(json_get(j, "A"), &s));
    assert_null(json_get(j, "L"));
    assert_null(json_get(NULL, "a"));
    assert_false(json_str(NULL, &s));
    assert_int_equal(json_len(json_get(j, "l")), 2);
    assert_true(json_bool(json_at(json_get(j, "l"), 0), &b) && b);
    assert_null(json_at(json_get(j, "l"), 2));
    assert_true(json_is_array(json_get(j, "l")));
    while ((it = json_each(j, it, &name))) {
        fields++;
    }
    assert_int_equal(fields, 4);
    assert_string_equal(name, "o");
    json_free(j);
    assert_null(json_parse(STR("{} x")));
    assert_null(json_parse(STR("{\"a\":01}")));
    assert_null(json_parse(STR("")));
    json_free(NULL);
}

struct sink {
    int lines;
    enum log_level level;
    char last[MAX_LOG_LINE];
};

static void keep(void *ctx, enum log_level level, const char *line) {
    struct sink *s = ctx;
    s->lines++;
    s->level = level;
    strcpy(s->last, line);
}

static void logging(void **state) {
    /* Goal: lines below the level are dropped, nobody can forge a line, long ones are cut and say
     * so. */
    static struct sink s;
    struct log log;
    char text[MAX_LOG_LINE + 10];
    (void)state;
    log_init(&log, keep, &s, LOG_LEVEL_INFO);
    log_debug(&log, "no");
    assert_int_equal(s.lines, 0);
    log_warn(&log, "a %s", "x\r\nERROR forged\x7f");
    assert_string_equal(s.last, "a x  ERROR forged ");
    assert_int_equal(s.level, LOG_LEVEL_WARN);
    memset(text, 'y', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    log_error(&log, "%s", text);
    assert_int_equal(strlen(s.last), MAX_LOG_LINE - 1);
    assert_string_equal(s.last + MAX_LOG_LINE - 6, "y ...");
    log_init(&log, NULL, NULL, LOG_LEVEL_DEBUG);
    log_error(&log, "nobody listens");
    log_error(NULL, "nobody listens");
    assert_int_equal(s.lines, 2);
    for (int level = LOG_LEVEL_DEBUG; level <= LOG_LEVEL_ERROR; level++) {
        assert_int_equal(log_level_parse(log_level_name((enum log_level)level)), level);
    }
    assert_int_equal(log_level_parse("loud"), -1);
    assert_int_equal(log_level_parse(NULL), -1);
}

static void errors(void **state) {
    /* Goal: err_set returns -1, truncates, and takes NULL. */
    struct err e;
    char text[ERR_TEXT_MAX * 2];
    (void)state;
    memset(text, 'x', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    assert_int_equal(err_set(&e, "%s", text), -1);
    assert_int_equal(strlen(e.text), ERR_TEXT_MAX - 1);
    assert_int_equal(err_set(NULL, "%d", 1), -1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations),        cmocka_unit_test(clocks_run),
        cmocka_unit_test(dates_written),    cmocka_unit_test(dates_read),
        cmocka_unit_test(two_digit_years),  cmocka_unit_test(sha256),
        cmocka_unit_test(sha256_of_pieces), cmocka_unit_test(quick_hash),
        cmocka_unit_test(random_numbers),   cmocka_unit_test(diagnostics),
        cmocka_unit_test(json_written),     cmocka_unit_test(json_values_and_texts),
        cmocka_unit_test(json_read),        cmocka_unit_test(logging),
        cmocka_unit_test(errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
