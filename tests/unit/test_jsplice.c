/* SPDX-License-Identifier: MIT */
/*
 * Unit tests of splicing in base/jscan: add, replace, remove at every place; every other byte stays
 * as it came.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/jscan.h"
#include "base/limits.h"

/* Joins the pieces and checks that they are JSON again. */
static void join(const struct jpieces *p, struct buf *out) {
    for (size_t i = 0; i < p->n; i++) {
        assert_true(p->piece[i].n > 0);
        assert_int_equal(buf_add_str(out, p->piece[i]), BUF_OK);
    }
    assert_int_equal(jscan_check(buf_str(out), NULL), JSCAN_OK);
}

static void expect(const char *text, const struct jedit *edits, size_t n, const char *want) {
    struct jpieces p;
    struct buf out;
    jpieces_init(&p);
    buf_init(&out, 100000);
    assert_int_equal(jsplice(str_of(text), edits, n, &p), 0);
    join(&p, &out);
    assert_string_equal(out.data, want);
    buf_release(&out);
    jpieces_release(&p);
}

static void set(const char *text, const char *name, const char *raw, const char *want) {
    struct jedit e = {str_of(name), str_of(raw)};
    expect(text, &e, 1, want);
}

static void replacing(void **state) {
    /* Goal: a value is replaced where it stands: first, middle, last, only; the spaces around it
     * stay. */
    (void)state;
    set("{\"model\":\"a\",\"b\":1}", "model", "\"zz\"", "{\"model\":\"zz\",\"b\":1}");
    set(" { \"a\" : 1 , \"model\" : \"x\" , \"b\" : [ 1 ] } ", "model", "7",
        " { \"a\" : 1 , \"model\" : 7 , \"b\" : [ 1 ] } ");
    set("{\"a\":1,\"model\":\"x\"}\n", "model", "\"y\"", "{\"a\":1,\"model\":\"y\"}\n");
    set("{\"model\":null}", "model", "{\"x\":[1]}", "{\"model\":{\"x\":[1]}}");
    set("{\"mod\\u0065l\":\"a\"}", "model", "\"b\"", "{\"mod\\u0065l\":\"b\"}");
    set("{\"x\":{\"model\":1},\"model\":2}", "model", "3", "{\"x\":{\"model\":1},\"model\":3}");
}

static void adding(void **state) {
    /* Goal: a field that is not there comes last, in an empty object without a comma. */
    (void)state;
    set("{\"a\":1}", "b", "2", "{\"a\":1,\"b\":2}");
    set("{ \"a\":1 }", "b", "2", "{ \"a\":1,\"b\":2 }");
    set("{}", "b", "2", "{\"b\":2}");
    set(" { } ", "b", "2", " {\"b\":2 } ");
    set("{\"a\":1}", "q\"\n", "2", "{\"a\":1,\"q\\\"\\n\":2}");
    set("{\"a\":1}", "", "2", "{\"a\":1,\"\":2}");
}

static void removing(void **state) {
    /* Goal: a field goes with exactly one comma: first, middle, last, only, absent. */
    (void)state;
    set("{ \"a\":1, \"b\":2, \"c\":3 }", "a", "", "{ \"b\":2, \"c\":3 }");
    set("{ \"a\":1, \"b\":2, \"c\":3 }", "b", "", "{ \"a\":1, \"c\":3 }");
    set("{ \"a\":1, \"b\":2, \"c\":3 }", "c", "", "{ \"a\":1, \"b\":2 }");
    set("{ \"a\":1 }", "a", "", "{  }");
    set("{\"a\":1}", "b", "", "{\"a\":1}");
    set("{}", "b", "", "{}");
    set("{\"mod\\u0065l\":1,\"b\":2}", "model", "", "{\"b\":2}");
}

static void together(void **state) {
    /* Goal: several edits at once; neighbours removed, replaced and added; the later edit of a name
     * wins. */
    struct jedit e[] = {{STR("a"), STR("")},     {STR("b"), STR("")},      {STR("model"), STR("1")},
                        {STR("new"), STR("[]")}, {STR("c"), STR("\"C\"")}, {STR("model"), STR("2")},
                        {STR("gone"), STR("5")}, {STR("gone"), STR("")},   {STR("z"), STR("0")}};
    (void)state;
    expect("{\"a\":1,\"b\":2,\"c\":3,\"model\":4,\"k\":5}", e, 9,
           "{\"c\":\"C\",\"model\":2,\"k\":5,\"new\":[],\"z\":0}");
    expect("{\"k\":5, \"a\":1,\"b\":2}", e, 2, "{\"k\":5}");
    expect("{\"b\":2,\"a\":1}", e, 5, "{\"model\":1,\"new\":[],\"c\":\"C\"}");
    expect("{\"b\":2,\"x\":0,\"a\":1}", e, 2, "{\"x\":0}");
    expect("{\"a\":1}", NULL, 0, "{\"a\":1}");
}

static void duplicates_do_not_survive(void **state) {
    /* Goal: an edited field that stands twice leaves no old value for a provider that takes the
     * last one. */
    (void)state;
    set("{\"t\":1,\"a\":0,\"t\":2}", "t", "9", "{\"t\":9,\"a\":0}");
    set("{\"t\":1,\"\\u0074\":2,\"a\":0}", "t", "9", "{\"t\":9,\"a\":0}");
    set("{\"t\":1,\"a\":0,\"t\":2}", "t", "", "{\"a\":0}");
}

static void borrows_what_is_unchanged(void **state) {
    /* Goal: one replacement gives three pieces, the outer two pointing into the original. */
    static const char text[] = "{\"a\":[1,2,3],\"model\":\"x\",\"b\":{\"c\":\"d\"},\"e\":5}";
    struct jedit e = {STR("model"), STR("\"gpt\"")};
    struct jpieces p;
    (void)state;
    jpieces_init(&p);
    assert_int_equal(jsplice(str_of(text), &e, 1, &p), 0);
    assert_int_equal(p.n, 3);
    assert_ptr_equal(p.piece[0].p, text);
    assert_true(str_is(p.piece[1], "\"gpt\""));
    assert_ptr_equal(p.piece[2].p, strstr(text, ",\"b\""));
    assert_int_equal(jsplice(str_of(text), NULL, 0, &p), 0); /* the pieces may be used again */
    assert_int_equal(p.n, 1);
    assert_ptr_equal(p.piece[0].p, text);
    jpieces_release(&p);
}

static void many_edits_keep_their_bytes(void **state) {
    /* Goal: as many edits as are allowed, all with new bytes: no piece is left dangling by growth;
     * one more is refused. */
    enum { N = MAX_SET_FIELDS + 2 };
    static char names[N + 1][4];
    static char values[N + 1][200];
    struct jedit e[N + 1];
    struct buf text;
    struct buf want;
    struct jpieces p;
    struct buf out;
    (void)state;
    buf_init(&text, 100000);
    buf_init(&want, 100000);
    buf_init(&out, 100000);
    jpieces_init(&p);
    for (int i = 0; i <= N; i++) {
        names[i][0] = 'n';
        names[i][1] = (char)('0' + i / 10);
        names[i][2] = (char)('0' + i % 10);
        memset(values[i], '1' + i % 9, 199);
        e[i] = (struct jedit){str_of(names[i]), str_of(values[i])};
    }
    assert_int_equal(buf_adds(&text, "{\"k\":0"), BUF_OK);
    assert_int_equal(buf_adds(&want, "{\"k\":0"), BUF_OK);
    for (int i = 0; i < N; i++) {
        if (i < N / 2) {
            assert_int_equal(buf_addf(&text, ", \"%s\" :0", names[i]), BUF_OK);
        }
        assert_int_equal(
            buf_addf(&want, i < N / 2 ? ", \"%s\" :%s" : ",\"%s\":%s", names[i], values[i]),
            BUF_OK);
    }
    assert_int_equal(buf_addc(&text, '}'), BUF_OK);
    assert_int_equal(buf_addc(&want, '}'), BUF_OK);
    assert_int_equal(jsplice(buf_str(&text), e, N, &p), 0);
    join(&p, &out);
    assert_string_equal(out.data, want.data);
    assert_int_equal(jsplice(buf_str(&text), e, N + 1, &p), -1);
    jpieces_release(&p);
    buf_release(&out);
    buf_release(&want);
    buf_release(&text);
}

static void one_value_by_its_place(void **state) {
    /* Goal: jsplice_value gives the same as jsplice for a field that was found. */
    struct str text = STR(" {\"a\":1,\"model\":\"x\" ,\"b\":2}");
    struct jfield f = {"model", {0}};
    struct jpieces p;
    struct buf out;
    (void)state;
    jpieces_init(&p);
    buf_init(&out, 1000);
    assert_int_equal(jscan_object(text, &f, 1, NULL), JSCAN_OK);
    assert_int_equal(jsplice_value(text, &f.value, STR("\"long\""), &p), 0);
    join(&p, &out);
    assert_string_equal(out.data, " {\"a\":1,\"model\":\"long\" ,\"b\":2}");
    assert_int_equal(p.n, 3);
    buf_release(&out);
    jpieces_release(&p);
}

static void hostile_duplicates_are_bounded(void **state) {
    /* Goal: a body made of thousands of copies of a removed field is refused, not turned into
     * thousands of pieces. */
    struct buf text;
    struct jedit e = {STR("a"), STR("")};
    struct jpieces p;
    (void)state;
    buf_init(&text, 1000000);
    jpieces_init(&p);
    assert_int_equal(buf_addc(&text, '{'), BUF_OK);
    for (int i = 0; i < 2 * MAX_SPLICE_PIECES; i++) {
        assert_int_equal(buf_adds(&text, "\"a\":1,\"b\":2,"), BUF_OK);
    }
    assert_int_equal(buf_adds(&text, "\"c\":3}"), BUF_OK);
    assert_int_equal(jsplice(buf_str(&text), &e, 1, &p), -1);
    assert_int_equal(p.n, 0);
    jpieces_release(&p);
    buf_release(&text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replacing),
        cmocka_unit_test(adding),
        cmocka_unit_test(removing),
        cmocka_unit_test(together),
        cmocka_unit_test(duplicates_do_not_survive),
        cmocka_unit_test(borrows_what_is_unchanged),
        cmocka_unit_test(many_edits_keep_their_bytes),
        cmocka_unit_test(one_value_by_its_place),
        cmocka_unit_test(hostile_duplicates_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
