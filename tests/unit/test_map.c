/* SPDX-License-Identifier: MIT */
/*
 * Unit tests of base/map: against a plain array as model, the limit, removal during a walk.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <stdio.h>

#include "base/map.h"

static struct str key_of(int i, char text[16]) {
    int n = snprintf(text, 16, "key%d", i);
    return str_make(text, (size_t)n);
}

static void basics(void **state) {
    /* Goal: set, replace, get, remove; keys may hold NUL or be empty and are copied. */
    int a = 1;
    int b = 2;
    char name[] = "name";
    struct map *m = map_new(10);
    (void)state;
    assert_null(map_get(m, STR("name")));
    assert_null(map_key(m, STR("name")).p);
    assert_null(map_remove(m, STR("name")));
    assert_int_equal(map_set(m, str_of(name), &a), 0);
    name[0] = 'X';
    assert_ptr_equal(map_get(m, STR("name")), &a);
    assert_int_equal(map_set(m, STR("name"), &b), 0);
    assert_int_equal(map_count(m), 1);
    assert_ptr_equal(map_get(m, STR("name")), &b);
    assert_string_equal(map_key(m, STR("name")).p, "name");
    assert_int_equal(map_set(m, STR("a\0b"), &a), 0);
    assert_null(map_get(m, STR("a\0c")));
    assert_null(map_get(m, STR("a")));
    assert_int_equal(map_set(m, str_make(NULL, 0), &a), 0);
    assert_ptr_equal(map_get(m, STR("")), &a);
    assert_ptr_equal(map_remove(m, STR("name")), &b);
    assert_null(map_get(m, STR("name")));
    assert_null(map_key(m, STR("name")).p);
    assert_int_equal(map_count(m), 2);
    map_free(m);
    map_free(NULL);
}

static void the_limit_holds(void **state) {
    /* Goal: a full map refuses new keys, still replaces old ones, and takes new ones after a
     * removal. */
    int v = 1;
    struct map *m = map_new(2);
    (void)state;
    assert_int_equal(map_set(m, STR("a"), &v), 0);
    assert_int_equal(map_set(m, STR("b"), &v), 0);
    assert_int_equal(map_set(m, STR("c"), &v), -1);
    assert_int_equal(map_set(m, STR("a"), &v), 0);
    assert_null(map_get(m, STR("c")));
    map_remove(m, STR("a"));
    assert_int_equal(map_set(m, STR("c"), &v), 0);
    map_free(m);
}

static void against_a_model(void **state) {
    /* Goal: after many additions and removals in changing order the map agrees with an array. */
    enum { N = 500 };
    static int values[N];
    bool there[N] = {false};
    char text[16];
    unsigned random = 12345;
    size_t count = 0;
    struct map *m = map_new(N);
    (void)state;
    for (int step = 0; step < 20000; step++) {
        random = random * 1103515245u + 12345u;
        int i = (int)(random >> 8) % N;
        struct str key = key_of(i, text);
        if (random >> 31) {
            assert_int_equal(map_set(m, key, &values[i]), 0);
            count += there[i] ? 0 : 1;
            there[i] = true;
        } else {
            assert_ptr_equal(map_remove(m, key), there[i] ? &values[i] : NULL);
            count -= there[i] ? 1 : 0;
            there[i] = false;
        }
        assert_int_equal(map_count(m), count);
    }
    for (int i = 0; i < N; i++) {
        assert_ptr_equal(map_get(m, key_of(i, text)), there[i] ? &values[i] : NULL);
    }
    map_free(m);
}

static void removal_during_a_walk(void **state) {
    /* Goal: a walk that removes every other entry it is given still sees each entry exactly once.
     */
    enum { N = 300 };
    static int seen[N];
    char text[16];
    size_t pos = 0;
    struct str key;
    void *value = NULL;
    int turn = 0;
    struct map *m = map_new(N);
    (void)state;
    memset(seen, 0, sizeof(seen));
    for (int i = 0; i < N; i++) {
        assert_int_equal(map_set(m, key_of(i, text), &seen[i]), 0);
    }
    while (map_next(m, &pos, &key, &value)) {
        ++*(int *)value;
        if (turn++ % 2) {
            char copy[16];
            memcpy(copy, key.p, key.n);
            assert_ptr_equal(map_remove(m, str_make(copy, key.n)), value);
        }
    }
    for (int i = 0; i < N; i++) {
        assert_int_equal(seen[i], 1);
    }
    assert_int_equal(map_count(m), N / 2);
    map_free(m);
}

static void walk_of_an_empty_map(void **state) {
    /* Goal: an empty map ends at once, before and after it had storage. */
    size_t pos = 0;
    struct str key;
    void *value = NULL;
    int v = 0;
    struct map *m = map_new(4);
    (void)state;
    assert_false(map_next(m, &pos, &key, &value));
    assert_int_equal(map_set(m, STR("a"), &v), 0);
    map_remove(m, STR("a"));
    pos = 0;
    assert_false(map_next(m, &pos, &key, &value));
    map_free(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(basics),
        cmocka_unit_test(the_limit_holds),
        cmocka_unit_test(against_a_model),
        cmocka_unit_test(removal_during_a_walk),
        cmocka_unit_test(walk_of_an_empty_map),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
