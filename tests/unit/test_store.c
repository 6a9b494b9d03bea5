/* SPDX-License-Identifier: MIT */
/*
 * Unit tests of state/store: values, expiry, limits, compare-and-swap, windows, buckets, many
 * threads. Tests of time wait for a condition with a deadline; they never assert that something was
 * fast.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>

#include "base/limits.h"
#include "state/store.h"

#define NS STR("ns")
#define MSEC INT64_C(1000)

static struct store_value *num(double n) {
    static struct store_value v;
    v = (struct store_value){.type = STORE_NUM};
    v.as.n = n;
    return &v;
}

static struct store_value *text(const char *s) {
    static struct store_value v;
    v = (struct store_value){.type = STORE_STR};
    v.len = strlen(s);
    memcpy(v.text, s, v.len);
    return &v;
}

static int setup(void **state) {
    *state = store_new();
    return *state ? 0 : -1;
}

static int teardown(void **state) {
    store_free(*state);
    return 0;
}

/* True when the condition came true within ten seconds. */
#define EVENTUALLY(condition)                                                                      \
    __extension__({                                                                                \
        usec deadline = clock_now() + 10 * USEC_PER_SEC;                                           \
        bool met = false;                                                                          \
        while (!(met = (condition)) && clock_now() < deadline) {                                   \
            sched_yield();                                                                         \
        }                                                                                          \
        met;                                                                                       \
    })

static void values_of_every_type(void **state) {
    /* Goal: what is set is got, with its type; strings may hold NUL; namespaces keep apart. */
    struct store *s = *state;
    struct store_value v = {.type = STORE_BOOL};
    struct store_value out;
    assert_int_equal(store_get(s, NS, STR("k"), &out), STORE_ABSENT);
    assert_int_equal(out.type, STORE_NONE);
    v.as.b = true;
    assert_int_equal(store_set(s, NS, STR("k"), &v, 0), STORE_OK);
    assert_int_equal(store_get(s, NS, STR("k"), &out), STORE_OK);
    assert_true(out.type == STORE_BOOL && out.as.b);
    v.type = STORE_INT;
    v.as.i = INT64_MIN;
    assert_int_equal(store_set(s, NS, STR("k"), &v, 0), STORE_OK);
    assert_int_equal(store_get(s, NS, STR("k"), &out), STORE_OK);
    assert_true(out.type == STORE_INT && out.as.i == INT64_MIN);
    v = (struct store_value){.type = STORE_STR, .len = 3};
    memcpy(v.text, "a\0b", 3);
    assert_int_equal(store_set(s, NS, STR("k"), &v, 0), STORE_OK);
    assert_int_equal(store_get(s, NS, STR("k"), &out), STORE_OK);
    assert_int_equal(out.len, 3);
    assert_memory_equal(out.text, "a\0b", 3);
    assert_int_equal(store_get(s, STR("n"), STR("sk"), &out), STORE_ABSENT);
    assert_int_equal(store_get(s, STR("other"), STR("k"), &out), STORE_ABSENT);
    assert_int_equal(store_set(s, NS, STR("k"), num(0.5), 0), STORE_OK);
    assert_int_equal(store_get(s, NS, STR("k"), &out), STORE_OK);
    assert_true(out.type == STORE_NUM && out.as.n == 0.5);
    assert_int_equal(store_del(s, NS, STR("k")), STORE_OK);
    assert_int_equal(store_del(s, NS, STR("k")), STORE_ABSENT);
}

static void sizes_are_bounded(void **state) {
    /* Goal: the longest key and value go in, one byte more does not; a value must be one. */
    struct store *s = *state;
    char key[MAX_STORE_KEY + 1];
    struct store_value v = {.type = STORE_STR, .len = MAX_STORE_VALUE};
    struct store_value out;
    struct store_value none = {.type = STORE_NONE};
    memset(key, 'k', sizeof(key));
    memset(v.text, 'v', sizeof(v.text));
    struct str longest = str_make(key, MAX_STORE_KEY - 2);
    struct str too_long = str_make(key, MAX_STORE_KEY - 1);
    assert_int_equal(store_set(s, NS, longest, &v, 0), STORE_OK);
    assert_int_equal(store_get(s, NS, longest, &out), STORE_OK);
    assert_memory_equal(out.text, v.text, MAX_STORE_VALUE);
    assert_int_equal(store_set(s, NS, too_long, &v, 0), STORE_TOO_BIG);
    assert_int_equal(store_get(s, NS, too_long, &out), STORE_ABSENT);
    assert_int_equal(store_set(s, str_make(key, sizeof(key)), STR(""), &v, 0), STORE_TOO_BIG);
    v.len++;
    assert_int_equal(store_set(s, NS, STR("k"), &v, 0), STORE_TOO_BIG);
    assert_int_equal(store_set(s, NS, STR("k"), &none, 0), STORE_TOO_BIG);
    assert_int_equal(store_set(s, STR(""), STR(""), num(1), 0), STORE_OK);
}

static void expiry(void **state) {
    /* Goal: a value lives as long as its ttl says, setting it again gives it a new one, 0 means for
     * ever. */
    struct store *s = *state;
    struct store_value out;
    struct store_stats stats;
    assert_int_equal(store_set(s, NS, STR("for ever"), num(1), 0), STORE_OK);
    assert_int_equal(store_set(s, NS, STR("hour"), num(1), 3600 * USEC_PER_SEC), STORE_OK);
    assert_int_equal(store_set(s, NS, STR("short"), num(1), 5 * MSEC), STORE_OK);
    assert_int_equal(store_set(s, NS, STR("was short"), num(1), 5 * MSEC), STORE_OK);
    assert_int_equal(store_set(s, NS, STR("was short"), num(1), 0), STORE_OK);
    assert_int_equal(store_ttl(s, NS, STR("for ever")), 0);
    assert_int_equal(store_ttl(s, NS, STR("absent")), -1);
    usec left = store_ttl(s, NS, STR("hour"));
    assert_true(left > 0 && left <= 3600 * USEC_PER_SEC);
    assert_true(EVENTUALLY(store_get(s, NS, STR("short"), &out) == STORE_ABSENT));
    assert_int_equal(store_ttl(s, NS, STR("short")), -1);
    assert_int_equal(store_get(s, NS, STR("was short"), &out), STORE_OK);
    store_stats(s, &stats);
    assert_int_equal(stats.keys, 3);
    assert_int_equal(stats.expired, 1);
}

static void adding_and_counting(void **state) {
    /* Goal: add only when absent; incr from nothing, its ttl set once, whole numbers stay whole. */
    struct store *s = *state;
    struct store_value out;
    double n = 0;
    assert_int_equal(store_add(s, NS, STR("k"), text("a"), 0), STORE_OK);
    assert_int_equal(store_add(s, NS, STR("k"), text("b"), 0), STORE_EXISTS);
    assert_int_equal(store_get(s, NS, STR("k"), &out), STORE_OK);
    assert_memory_equal(out.text, "a", 1);
    assert_int_equal(store_incr(s, NS, STR("k"), 1, 0, &n), STORE_TYPE);
    assert_int_equal(store_incr(s, NS, STR("n"), 2, 3600 * USEC_PER_SEC, &n), STORE_OK);
    assert_true(n == 2);
    assert_int_equal(store_incr(s, NS, STR("n"), -5, 7200 * USEC_PER_SEC, &n), STORE_OK);
    assert_true(n == -3);
    assert_true(store_ttl(s, NS, STR("n")) <= 3600 * USEC_PER_SEC);
    assert_int_equal(store_get(s, NS, STR("n"), &out), STORE_OK);
    assert_true(out.type == STORE_INT && out.as.i == -3);
    assert_int_equal(store_incr(s, NS, STR("n"), 0.5, 0, &n), STORE_OK);
    assert_true(n == -2.5);
    assert_int_equal(store_incr(s, NS, STR("n"), NAN, 0, &n), STORE_TYPE);
    out = (struct store_value){.type = STORE_INT};
    out.as.i = INT64_MAX;
    assert_int_equal(store_set(s, NS, STR("big"), &out, 0), STORE_OK);
    assert_int_equal(store_incr(s, NS, STR("big"), 1, 0, &n), STORE_OK);
    assert_true(n == 9223372036854775808.0);
}

static void comparing_and_swapping(void **state) {
    /* Goal: only the expected old value is replaced; absent is a value to expect, and to become. */
    struct store *s = *state;
    struct store_value none = {.type = STORE_NONE};
    struct store_value one = {.type = STORE_INT};
    struct store_value out;
    struct store_value a = *text("a");
    struct store_value b = *text("b");
    one.as.i = 1;
    assert_int_equal(store_cas(s, NS, STR("k"), &a, &b, 0), STORE_MISMATCH);
    assert_int_equal(store_cas(s, NS, STR("k"), &none, &a, 0), STORE_OK);
    assert_int_equal(store_cas(s, NS, STR("k"), &none, &b, 0), STORE_MISMATCH);
    assert_int_equal(store_cas(s, NS, STR("k"), &b, &a, 0), STORE_MISMATCH);
    assert_int_equal(store_cas(s, NS, STR("k"), &a, &b, 0), STORE_OK);
    assert_int_equal(store_get(s, NS, STR("k"), &out), STORE_OK);
    assert_memory_equal(out.text, "b", 1);
    assert_int_equal(store_cas(s, NS, STR("k"), &b, num(1.0), 0), STORE_OK);
    assert_int_equal(store_cas(s, NS, STR("k"), &one, &none, 0), STORE_OK); /* 1 == 1.0 */
    assert_int_equal(store_get(s, NS, STR("k"), &out), STORE_ABSENT);
    assert_int_equal(store_cas(s, NS, STR("k"), &none, &none, 0), STORE_OK);
}

static void a_full_store_refuses(void **state) {
    /* Goal: a new key in a full store is refused and counted, old keys still work, expired ones
     * make room. */
    struct store *s = *state;
    struct store_stats stats;
    struct store_value v = *num(1);
    char key[32];
    for (int i = 0; i < MAX_STORE_KEYS - 1; i++) {
        int n = snprintf(key, sizeof(key), "k%d", i);
        assert_int_equal(store_set(s, NS, str_make(key, (size_t)n), &v, 0), STORE_OK);
    }
    assert_int_equal(store_set(s, NS, STR("short"), &v, 50 * MSEC), STORE_OK);
    double n = 0;
    if (store_ttl(s, NS, STR("short")) > 25 * MSEC) { /* not on a machine that stood still */
        assert_int_equal(store_set(s, NS, STR("more"), &v, 0), STORE_FULL);
        assert_int_equal(store_incr(s, NS, STR("more"), 1, 0, &n), STORE_FULL);
        store_stats(s, &stats);
        assert_int_equal(stats.refused, 2);
    }
    assert_int_equal(store_set(s, NS, STR("k7"), &v, 0), STORE_OK);
    assert_true(EVENTUALLY(store_set(s, NS, STR("more"), &v, 0) == STORE_OK));
    assert_int_equal(store_set(s, NS, STR("even more"), &v, 0), STORE_FULL);
    store_stats(s, &stats);
    assert_int_equal(stats.keys, MAX_STORE_KEYS);
    assert_int_equal(stats.expired, 1);
    bool taken = false;
    assert_int_equal(store_window_add(s, NS, STR("w"), USEC_PER_SEC, 1, &n),
                     STORE_OK); /* limits of their own */
    assert_int_equal(store_bucket_take(s, NS, STR("b"), 1, 1, 1, &taken, NULL), STORE_OK);
}

static void windows(void **state) {
    /* Goal: what was added counts until its time is over; looking makes nothing; another span
     * starts anew. */
    struct store *s = *state;
    struct store_stats stats;
    double n = 0;
    assert_true(store_window_count(s, NS, STR("w"), 3600 * USEC_PER_SEC) == 0);
    store_stats(s, &stats);
    assert_int_equal(stats.windows, 0);
    assert_int_equal(store_window_add(s, NS, STR("w"), 3600 * USEC_PER_SEC, 1, &n), STORE_OK);
    assert_int_equal(store_window_add(s, NS, STR("w"), 3600 * USEC_PER_SEC, 2.5, &n), STORE_OK);
    assert_true(n == 3.5);
    assert_true(store_window_count(s, NS, STR("w"), 3600 * USEC_PER_SEC) == 3.5);
    assert_true(store_window_count(s, NS, STR("w"), 60 * USEC_PER_SEC) == 0);
    assert_int_equal(store_window_add(s, NS, STR("w"), 60 * USEC_PER_SEC, 1, &n), STORE_OK);
    assert_true(n == 1);
    assert_int_equal(store_window_add(s, NS, STR("short"), 32 * MSEC, 5, &n), STORE_OK);
    assert_true(EVENTUALLY(store_window_count(s, NS, STR("short"), 32 * MSEC) == 0));
    store_stats(s, &stats);
    assert_true(stats.windows >= 1 && stats.windows <= 2);
}

static void windows_slide(void **state) {
    /* Goal: additions leave the window one after another, not all at once. */
    struct store *s = *state;
    const usec span = 320 * MSEC;
    double n = 0;
    assert_int_equal(store_window_add(s, NS, STR("w"), span, 1, &n), STORE_OK);
    usec first = clock_now();
    assert_true(EVENTUALLY(clock_now() > first + span / 2));
    assert_int_equal(store_window_add(s, NS, STR("w"), span, 10, &n), STORE_OK);
    double seen = 0;
    assert_true(EVENTUALLY((seen = store_window_count(s, NS, STR("w"), span)) != 11));
    /* 10 is what everyone sees but a machine that stood still; it may also have passed both ends.
     */
    assert_true(seen == 10 || seen == 0);
    assert_true(EVENTUALLY(store_window_count(s, NS, STR("w"), span) == 0));
}

static void buckets(void **state) {
    /* Goal: a bucket starts full, refuses when empty and says how long, and fills again. */
    struct store *s = *state;
    bool taken = false;
    usec wait = 0;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(store_bucket_take(s, NS, STR("slow"), 0.001, 3, 1, &taken, &wait),
                         STORE_OK);
        assert_true(taken);
        assert_int_equal(wait, 0);
    }
    assert_int_equal(store_bucket_take(s, NS, STR("slow"), 0.001, 3, 1, &taken, &wait), STORE_OK);
    assert_false(taken);
    assert_true(wait > 0 && wait <= 1000 * USEC_PER_SEC);
    assert_int_equal(store_bucket_take(s, NS, STR("slow"), 0.001, 3, 4, &taken, &wait), STORE_OK);
    assert_true(!taken && wait == USEC_NEVER); /* more than it can ever hold */
    assert_int_equal(store_bucket_take(s, NS, STR("never"), 0, 1, 1, &taken, &wait), STORE_OK);
    assert_true(taken);
    assert_int_equal(store_bucket_take(s, NS, STR("never"), 0, 1, 1, &taken, &wait), STORE_OK);
    assert_true(!taken && wait == USEC_NEVER);
    assert_int_equal(store_bucket_take(s, NS, STR("fast"), 100, 1, 1, &taken, NULL), STORE_OK);
    assert_true(taken);
    assert_true(EVENTUALLY(
        store_bucket_take(s, NS, STR("fast"), 100, 1, 1, &taken, NULL) == STORE_OK && taken));
}

static void a_bucket_never_gives_more(void **state) {
    /* Goal: over any time no more than burst + rate × time is taken. */
    struct store *s = *state;
    const double rate = 1000;
    int n = 0;
    usec start = clock_now();
    while (clock_now() < start + 50 * MSEC) {
        bool taken = false;
        assert_int_equal(store_bucket_take(s, NS, STR("b"), rate, 5, 1, &taken, NULL), STORE_OK);
        n += taken ? 1 : 0;
    }
    assert_true(n <= 5 + rate * usec_to_seconds(clock_now() - start) + 1);
    assert_true(n >= 5);
}

enum { THREADS = 4, ROUNDS = 3000 };

static void *count_up(void *arg) {
    struct store *s = arg;
    struct store_value v;
    double n = 0;
    long wins = 0;
    for (int i = 0; i < ROUNDS; i++) {
        char key[16];
        int len = snprintf(key, sizeof(key), "once%d", i % 500);
        v = (struct store_value){.type = STORE_INT};
        wins += store_add(s, NS, str_make(key, (size_t)len), &v, 0) == STORE_OK ? 1 : 0;
        if (store_incr(s, NS, STR("n"), 1, 0, &n) ||
            store_window_add(s, NS, STR("w"), 3600 * USEC_PER_SEC, 1, &n)) {
            return (void *)(intptr_t)-1;
        }
        len = snprintf(key, sizeof(key), "brief%d", i % 50);
        (void)store_set(s, NS, str_make(key, (size_t)len), &v, 1 + i % 200);
        bool swapped = false;
        while (!swapped) {
            struct store_value old;
            store_get(s, NS, STR("cas"), &old);
            v = (struct store_value){.type = STORE_INT};
            v.as.i = old.type == STORE_NONE ? 1 : old.as.i + 1;
            swapped = store_cas(s, NS, STR("cas"), &old, &v, 0) == STORE_OK;
        }
    }
    return (void *)(intptr_t)wins;
}

static void many_threads(void **state) {
    /* Goal: no increment is lost, each key is added by exactly one thread, swaps count exactly. */
    struct store *s = *state;
    pthread_t thread[THREADS];
    struct store_value out;
    intptr_t wins = 0;
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&thread[i], NULL, count_up, s), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        void *result = NULL;
        pthread_join(thread[i], &result);
        assert_true((intptr_t)result >= 0);
        wins += (intptr_t)result;
    }
    assert_int_equal(wins, 500);
    assert_int_equal(store_get(s, NS, STR("n"), &out), STORE_OK);
    assert_int_equal(out.as.i, THREADS * ROUNDS);
    assert_int_equal(store_get(s, NS, STR("cas"), &out), STORE_OK);
    assert_int_equal(out.as.i, THREADS * ROUNDS);
    assert_true(store_window_count(s, NS, STR("w"), 3600 * USEC_PER_SEC) == THREADS * ROUNDS);
}

static void many_expiries_in_order(void **state) {
    /* Goal: hundreds of ends set, moved and taken away: exactly those that are over are gone. */
    struct store *s = *state;
    struct store_value out;
    char key[16];
    unsigned random = 7;
    for (int i = 0; i < 2000; i++) {
        int n = snprintf(key, sizeof(key), "k%d", i % 400);
        random = random * 1103515245u + 12345u;
        usec ttl = (i % 400) % 2 ? 1 + random % 3000 : (random & 1024 ? 0 : 3600 * USEC_PER_SEC);
        assert_int_equal(store_set(s, NS, str_make(key, (size_t)n), num(i), ttl), STORE_OK);
    }
    for (int i = 0; i < 400; i++) {
        int n = snprintf(key, sizeof(key), "k%d", i);
        if (i % 2) {
            assert_true(
                EVENTUALLY(store_get(s, NS, str_make(key, (size_t)n), &out) == STORE_ABSENT));
        } else {
            assert_int_equal(store_get(s, NS, str_make(key, (size_t)n), &out), STORE_OK);
        }
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(values_of_every_type),
        TEST(sizes_are_bounded),
        TEST(expiry),
        TEST(adding_and_counting),
        TEST(comparing_and_swapping),
        TEST(a_full_store_refuses),
        TEST(windows),
        TEST(windows_slide),
        TEST(buckets),
        TEST(a_bucket_never_gives_more),
        TEST(many_threads),
        TEST(many_expiries_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
