/* SPDX-License-Identifier: MIT */
/*
 * Unit tests of base/jscan: the grammar, fields by offset, paths, iterating, strings and numbers.
 * Each text is scanned from a heap block of exactly its size, so that the sanitizer sees any read
 * beyond it.
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

#include "base/jscan.h"
#include "base/limits.h"

static int check(struct str text) {
    char *exact = malloc(text.n ? text.n : 1);
    assert_non_null(exact);
    if (text.n) {
        memcpy(exact, text.p, text.n);
    }
    struct err err = {""};
    int rc = jscan_check(str_make(exact, text.n), &err);
    assert_int_equal(rc == JSCAN_OK, err.text[0] == '\0');
    free(exact);
    return rc;
}

static void grammar_accepts(void **state) {
    /* Goal: every form that RFC 8259 allows is taken. */
    static const char *const good[] = {
        "{}",
        " [ ] ",
        "null",
        "true",
        "false",
        "0",
        "-0",
        "-1.5e+10",
        "1E5",
        "0.0",
        "10",
        "1e-07",
        "\"\"",
        "\"a\\\"b\\\\c\\/\\b\\f\\n\\r\\t\\u00e9\\uD83D\\ude00\"",
        "[1,2,[3,{\"a\":[]}],{}]",
        "{\"a\":1,\"b\":{\"c\":[true,false,null]},\"a\":2}",
        "\t\r\n {\"\" : \"\"} \n",
        "\"\x7f\xc3\xa9\xff\"",
        "\"\\ud800 lone\"",
        "[[[[[]]]]]",
        "{\"a\":\"0123456789abcdef0123456789abcdef\"}",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        if (check(str_of(good[i])) != JSCAN_OK) {
            fail_msg("refused: %s", good[i]);
        }
    }
}

static void grammar_refuses(void **state) {
    /* Goal: nothing that RFC 8259 forbids is taken, whatever lenient parsers do. */
    static const char *const wrong[] = {
        "",
        " ",
        "{",
        "}",
        "[",
        "]",
        "[1",
        "[1,",
        "[1,]",
        "[,1]",
        "[1 2]",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{,}",
        "{\"a\":1 \"b\":2}",
        "{a:1}",
        "{'a':1}",
        "{1:2}",
        "[1}",
        "{\"a\":1]",
        "01",
        "-",
        "-01",
        "+1",
        ".5",
        "1.",
        "1.e5",
        "1e",
        "1e+",
        "0x10",
        "NaN",
        "Infinity",
        "-Infinity",
        "tru",
        "truee",
        "nul",
        "True",
        "1 2",
        "{} {}",
        "[]]",
        "\"",
        "\"a",
        "\"\\\"",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u12g4\"",
        "\"\\",
        "\"\\u",
        "\"a\nb\"",
        "\"\t\"",
        "\"0123456789abcdef\x01\"",
        "\xef\xbb\xbf{}",
        "// c\n{}",
        "{}/**/",
        "[1,\f2]",
        "\"\x1f\"",
        "{\"a\":1}x",
        "\v1",
        "--1",
        "1..2",
        "[\"a\":1]",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        if (check(str_of(wrong[i])) != JSCAN_BAD) {
            fail_msg("taken: %s", wrong[i]);
        }
    }
    assert_int_equal(check(STR("\0")), JSCAN_BAD);
    assert_int_equal(check(STR("{}\0")), JSCAN_BAD);
    assert_int_equal(check(STR("\"a\0b\"")), JSCAN_BAD);
}

static void every_cut_is_refused(void **state) {
    /* Goal: no proper prefix of an object is JSON, and none makes the scanner read past its end. */
    static const char text[] = "{\"model\":\"gpt-4o\",\"n\":[1.5e3,true,null,\"\\u00e9\\n\"],\"o\":"
                               "{\"deep\":[{\"x\":\"0123456789abcdefgh\"}]}}";
    (void)state;
    for (size_t n = 0; n < sizeof(text) - 1; n++) {
        assert_int_equal(check(str_make(text, n)), JSCAN_BAD);
    }
    assert_int_equal(check(str_of(text)), JSCAN_OK);
}

static void strings_of_every_length(void **state) {
    /* Goal: what ends or spoils a string is seen at every place of the 16-byte steps. */
    char text[80];
    (void)state;
    for (size_t n = 0; n < 70; n++) {
        memset(text, 'x', sizeof(text));
        text[0] = '"';
        text[n + 1] = '"';
        assert_int_equal(check(str_make(text, n + 2)), JSCAN_OK);
        assert_int_equal(check(str_make(text, n + 1)), JSCAN_BAD);
        for (size_t i = 1; i <= n; i++) {
            text[i] = '\x1f';
            assert_int_equal(check(str_make(text, n + 2)), JSCAN_BAD);
            text[i] = '\x80';
            assert_int_equal(check(str_make(text, n + 2)), JSCAN_OK);
            text[i] = ' ';
        }
    }
}

static int nested(size_t depth, char open, char close) {
    char text[2 * MAX_JSON_DEPTH + 10];
    memset(text, open, depth);
    memset(text + depth, close, depth);
    return check(str_make(text, 2 * depth));
}

static void depth_is_bounded(void **state) {
    /* Goal: MAX_JSON_DEPTH levels are taken, one more is JSCAN_DEEP, also below a field and along a
     * path. */
    char text[2000] = "{\"a\":";
    struct jvalue v;
    struct jfield f = {"a", {0}};
    (void)state;
    assert_int_equal(nested(MAX_JSON_DEPTH, '[', ']'), JSCAN_OK);
    assert_int_equal(nested(MAX_JSON_DEPTH + 1, '[', ']'), JSCAN_DEEP);
    size_t n = strlen(text);
    memset(text + n, '[', MAX_JSON_DEPTH);
    memset(text + n + MAX_JSON_DEPTH, ']', MAX_JSON_DEPTH);
    text[n + 2 * MAX_JSON_DEPTH] = '}';
    struct err err;
    assert_int_equal(jscan_object(str_of(text), &f, 1, &err), JSCAN_DEEP);
    assert_non_null(strstr(err.text, "128"));
    assert_int_equal(jscan_find(str_of(text), "a", &v), -1);
    memmove(text + n, text + n + 1, strlen(text + n)); /* one level less at the front … */
    memmove(text + strlen(text) - 2, "}", 2);          /* … and at the back */
    assert_int_equal(jscan_object(str_of(text), &f, 1, NULL), JSCAN_OK);
    assert_int_equal(f.value.type, JTYPE_ARRAY);
}

static void fields_by_offset(void **state) {
    /* Goal: the bytes of each field looked for, whatever stands around them; inner fields of the
     * same name do not count. */
    struct str text = STR(" { \"x\":{\"model\":\"inner\"}, \"model\" : \"gpt-4o\" "
                          ",\"stream\":true,\"n\":-1.5,\"z\":null}\n");
    struct jfield f[] = {{"model", {0}}, {"stream", {0}}, {"n", {0}},
                         {"z", {0}},     {"x", {0}},      {"absent", {0}}};
    (void)state;
    assert_int_equal(jscan_object(text, f, 6, NULL), JSCAN_OK);
    assert_true(str_is(jvalue_raw(text, &f[0].value), "\"gpt-4o\""));
    assert_int_equal(f[0].value.type, JTYPE_STRING);
    assert_int_equal(f[1].value.type, JTYPE_TRUE);
    assert_true(str_is(jvalue_raw(text, &f[2].value), "-1.5"));
    assert_int_equal(f[3].value.type, JTYPE_NULL);
    assert_true(str_is(jvalue_raw(text, &f[4].value), "{\"model\":\"inner\"}"));
    assert_int_equal(f[5].value.type, JTYPE_NONE);
    assert_int_equal(jscan_object(STR("{}"), f, 6, NULL), JSCAN_OK);
    assert_int_equal(f[0].value.type, JTYPE_NONE);
}

static void duplicates(void **state) {
    /* Goal: a field looked for that stands twice is refused, escaped spellings included; others may
     * repeat. */
    struct jfield f[] = {{"model", {0}}, {"stream", {0}}};
    struct err err;
    (void)state;
    assert_int_equal(jscan_object(STR("{\"model\":1,\"model\":2}"), f, 2, &err), JSCAN_DUPLICATE);
    assert_non_null(strstr(err.text, "\"model\""));
    assert_int_equal(jscan_object(STR("{\"model\":\"a\",\"mod\\u0065l\":\"b\"}"), f, 2, &err),
                     JSCAN_DUPLICATE);
    assert_int_equal(jscan_object(STR("{\"\\u006dodel\":\"a\",\"mod\\u0065l\":\"b\"}"), f, 2, &err),
                     JSCAN_DUPLICATE);
    assert_int_equal(jscan_object(STR("{\"mod\\u0065l\":\"b\"}"), f, 2, &err), JSCAN_OK);
    assert_int_equal(f[0].value.type, JTYPE_STRING);
    assert_int_equal(jscan_object(STR("{\"Model\":1,\"model\":2,\"model \":3}"), f, 2, &err),
                     JSCAN_OK);
    assert_int_equal(jscan_object(STR("{\"a\":1,\"a\":2}"), f, 2, &err), JSCAN_OK);
    assert_int_equal(jscan_object(STR("{\"model\\u0000\":1,\"model\":2}"), f, 2, &err), JSCAN_OK);
    assert_int_equal(jscan_object(STR("{\"model\":1,\"model\":}"), f, 2, &err), JSCAN_BAD);
}

static void objects_only(void **state) {
    /* Goal: other values are told apart from what is no JSON; errors name the byte but not the
     * text. */
    struct err err;
    (void)state;
    assert_int_equal(jscan_object(STR("[1]"), NULL, 0, &err), JSCAN_NOT_OBJECT);
    assert_int_equal(jscan_object(STR(" \"a\""), NULL, 0, &err), JSCAN_NOT_OBJECT);
    assert_int_equal(jscan_object(STR("7"), NULL, 0, &err), JSCAN_NOT_OBJECT);
    assert_int_equal(jscan_object(STR("hello"), NULL, 0, &err), JSCAN_BAD);
    assert_int_equal(jscan_object(STR(""), NULL, 0, &err), JSCAN_BAD);
    assert_int_equal(jscan_object(STR("{} x"), NULL, 0, &err), JSCAN_BAD);
    assert_int_equal(jscan_object(STR("{\"secret\":sesame}"), NULL, 0, &err), JSCAN_BAD);
    assert_non_null(strstr(err.text, "byte 10"));
    assert_null(strstr(err.text, "sesame"));
    assert_int_equal(jscan_object(STR("{\"a\""), NULL, 0, &err), JSCAN_BAD);
    assert_non_null(strstr(err.text, "ends"));
}

static void expect_path(struct str text, const char *path, const char *want) {
    struct jvalue v;
    int rc = jscan_find(text, path, &v);
    if (!want) {
        assert_int_equal(rc, 0);
        assert_int_equal(v.type, JTYPE_NONE);
        return;
    }
    assert_int_equal(rc, 1);
    assert_true(str_is(jvalue_raw(text, &v), want));
}

static void paths(void **state) {
    /* Goal: keys and indexes lead to the value; what is not there is 0, never an error. */
    struct str t = STR(" {\"choices\":[{\"message\":{\"content\":\"hi\"}}, 7 ,[ "
                       "]],\"a\":{\"\":1,\"0\":2},\"d\":1,\"d\":2,\"\\u0065\":3} ");
    struct jvalue v;
    (void)state;
    expect_path(t, "choices.0.message.content", "\"hi\"");
    expect_path(t, "choices.0.message", "{\"content\":\"hi\"}");
    expect_path(t, "choices.1", "7");
    expect_path(t, "choices.2", "[ ]");
    expect_path(t, "choices.2.0", NULL);
    expect_path(t, "choices.3", NULL);
    expect_path(t, "choices.-1", NULL);
    expect_path(t, "choices.x", NULL);
    expect_path(t, "choices.1.x", NULL);
    expect_path(t, "a.", "1");
    expect_path(t, "a.0", "2");
    expect_path(t, "a.1", NULL);
    expect_path(t, "d", "1");
    expect_path(t, "e", "3");
    expect_path(t, "nothing", NULL);
    expect_path(STR(" [1, 2] "), "", "[1, 2]");
    expect_path(STR("\"x\""), "a", NULL);
    assert_int_equal(jscan_find(STR(""), "", &v), -1);
    assert_int_equal(jscan_find(STR(""), "a", &v), -1);
    assert_int_equal(jscan_find(STR("{\"a\":[1,}"), "b", &v), -1);
    assert_int_equal(jscan_find(STR("{\"a\":[1,}"), "a.5", &v), -1);
    assert_int_equal(jscan_find(STR("{\"a\":1"), "b", &v), -1);
    assert_int_equal(jscan_find(STR("{\"a\":1, garbage"), "a", &v),
                     1); /* what follows is not read */
}

static void iterating(void **state) {
    /* Goal: members come in order with raw keys; empty, broken and scalar values end the walk. */
    struct str t = STR("x{\"a\": 1 ,\"b\\n\":[2,3]}y");
    struct jvalue in = {JTYPE_OBJECT, 1, t.n - 2};
    struct jvalue item;
    struct str key;
    size_t pos = 0;
    (void)state;
    assert_int_equal(jscan_next(t, &in, &pos, &key, &item), 1);
    assert_true(str_is(key, "a") && str_is(jvalue_raw(t, &item), "1"));
    assert_int_equal(jscan_next(t, &in, &pos, &key, &item), 1);
    assert_true(str_is(key, "b\\n") && str_is(jvalue_raw(t, &item), "[2,3]"));
    struct jvalue array = item;
    assert_int_equal(jscan_next(t, &in, &pos, &key, &item), 0);
    assert_int_equal(jscan_next(t, &in, &pos, &key, &item), 0);
    pos = 0;
    for (int i = 2; i <= 3; i++) {
        double number = 0;
        assert_int_equal(jscan_next(t, &array, &pos, &key, &item), 1);
        assert_int_equal(key.n, 0);
        assert_true(jscan_number(t, &item, &number) && number == i);
    }
    assert_int_equal(jscan_next(t, &array, &pos, &key, &item), 0);
    pos = 0;
    assert_int_equal(jscan_next(t, &item, &pos, &key, &item), 0);
    struct jvalue empty = {JTYPE_ARRAY, 0, 3};
    pos = 0;
    assert_int_equal(jscan_next(STR("[ ]"), &empty, &pos, &key, &item), 0);
    struct jvalue broken = {JTYPE_ARRAY, 0, 3};
    pos = 0;
    assert_int_equal(jscan_next(STR("[1,"), &broken, &pos, &key, &item), 1);
    assert_int_equal(jscan_next(STR("[1,"), &broken, &pos, &key, &item), -1);
}

static void expect_decoded(struct str text, struct str want) {
    struct buf out;
    struct jvalue v;
    buf_init(&out, 1000);
    assert_int_equal(jscan_find(text, "", &v), 1);
    assert_int_equal(jscan_string(text, &v, &out), 0);
    assert_int_equal(out.len, want.n);
    assert_memory_equal(out.data, want.p, want.n);
    buf_release(&out);
}

static void decoding_strings(void **state) {
    /* Goal: escapes become UTF-8; halves of pairs and invalid bytes become U+FFFD. */
    struct buf out;
    struct jvalue v;
    (void)state;
    expect_decoded(STR("\"\""), STR(""));
    expect_decoded(STR("\"a\\\"\\\\\\/\\b\\f\\n\\r\\tz\""), STR("a\"\\/\b\f\n\r\tz"));
    expect_decoded(STR("\"\\u0041\\u00e9\\u20AC\\u0000\""), STR("A\xc3\xa9\xe2\x82\xac\0"));
    expect_decoded(STR("\"\\ud83d\\ude00\""), STR("\xf0\x9f\x98\x80"));
    expect_decoded(STR("\"\\ud83dx\""), STR("\xef\xbf\xbdx"));
    expect_decoded(STR("\"\\ud83d\\u0041\""), STR("\xef\xbf\xbd"
                                                  "A"));
    expect_decoded(STR("\"\\ude00\\ud83d\""), STR("\xef\xbf\xbd\xef\xbf\xbd"));
    expect_decoded(
        STR("\"\xc3\xa9\xff\xc0\xaf\xed\xa0\x80\""),
        STR("\xc3\xa9\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"));
    buf_init(&out, 4);
    assert_int_equal(buf_addc(&out, '<'), BUF_OK);
    assert_int_equal(jscan_find(STR("\"abc\\u20ac\""), "", &v), 1);
    assert_int_equal(jscan_string(STR("\"abc\\u20ac\""), &v, &out), BUF_FULL);
    assert_string_equal(out.data, "<");
    assert_int_equal(jscan_find(STR("17"), "", &v), 1);
    assert_int_equal(jscan_string(STR("17"), &v, &out), -1);
    buf_release(&out);
}

static void comparing_strings(void **state) {
    /* Goal: a string is compared as it reads, not as it is spelt. */
    struct str t = STR("[\"auto\",\"a\\u0075to\",\"aut\",\"autos\",null]");
    struct jvalue v;
    (void)state;
    static const bool want[] = {true, true, false, false, false};
    for (int i = 0; i < 5; i++) {
        char path[16];
        snprintf(path, sizeof(path), "%d", i);
        assert_int_equal(jscan_find(t, path, &v), 1);
        assert_int_equal(jscan_string_is(t, &v, "auto"), want[i]);
    }
}

static bool number_of(const char *text, double *out) {
    struct jvalue v;
    assert_int_equal(jscan_find(str_of(text), "", &v), 1);
    return jscan_number(str_of(text), &v, out);
}

static void reading_numbers(void **state) {
    /* Goal: numbers in every spelling; what is no finite number is refused. */
    double n = 0;
    (void)state;
    assert_true(number_of("0", &n) && n == 0);
    assert_true(number_of("-12.5e1", &n) && n == -125);
    assert_true(number_of("9007199254740993", &n) && n == 9007199254740992.0);
    assert_true(number_of("1e-400", &n) && n == 0);
    assert_false(number_of("1e999", &n));
    assert_false(number_of("\"1\"", &n));
    assert_false(number_of("true", &n));
}

static void writing_strings(void **state) {
    /* Goal: what is written is JSON that reads back as it was; invalid UTF-8 becomes U+FFFD; a full
     * buffer stays as it was. */
    struct buf out;
    (void)state;
    buf_init(&out, 100);
    assert_int_equal(json_write_string(&out, STR("a\"\\\n\t\x01\x7f/\xc3\xa9\xff\0z")), BUF_OK);
    assert_string_equal(out.data, "\"a\\\"\\\\\\n\\t\\u0001\x7f/\xc3\xa9\xef\xbf\xbd\\u0000z\"");
    assert_int_equal(check(buf_str(&out)), JSCAN_OK);
    expect_decoded(buf_str(&out), STR("a\"\\\n\t\x01\x7f/\xc3\xa9\xef\xbf\xbd\0z"));
    buf_clear(&out);
    assert_int_equal(json_write_string(&out, str_make(NULL, 0)), BUF_OK);
    assert_string_equal(out.data, "\"\"");
    buf_release(&out);
    buf_init(&out, 5);
    assert_int_equal(buf_addc(&out, '<'), BUF_OK);
    assert_int_equal(json_write_string(&out, STR("abc")), BUF_FULL);
    assert_string_equal(out.data, "<");
    buf_release(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grammar_accepts),
        cmocka_unit_test(grammar_refuses),
        cmocka_unit_test(every_cut_is_refused),
        cmocka_unit_test(strings_of_every_length),
        cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(fields_by_offset),
        cmocka_unit_test(duplicates),
        cmocka_unit_test(objects_only),
        cmocka_unit_test(paths),
        cmocka_unit_test(iterating),
        cmocka_unit_test(decoding_strings),
        cmocka_unit_test(comparing_strings),
        cmocka_unit_test(reading_numbers),
        cmocka_unit_test(writing_strings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
