/* SPDX-License-Identifier: MIT */
/*
 * Unit tests of state/targets: facts, suspensions, groups, verdicts, eviction, the document, many
 * threads.
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

#include "base/buf.h"
#include "base/json.h"
#include "base/limits.h"
#include "state/targets.h"

#define NONE STR("")
#define HOUR (3600 * USEC_PER_SEC)

static int setup(void **state) {
    *state = targets_new(MAX_TARGETS);
    return *state ? 0 : -1;
}

static int teardown(void **state) {
    targets_free(*state);
    return 0;
}

static void attempt(struct targets *t, const char *name, struct target_end end) {
    struct target *e = target_get(t, str_of(name), NONE);
    assert_non_null(e);
    target_begin(e);
    target_done(e, &end);
    target_put(e);
}

static void facts_of_attempts(void **state) {
    /* Goal: counts, streak, averages and the last error follow the attempts. */
    struct targets *t = *state;
    struct target_facts f;
    attempt(t, "openai/gpt-4o",
            (struct target_end){.succeeded = true, .first_token = 1, .total = 4});
    attempt(t, "openai/gpt-4o", (struct target_end){.failed = true, .error = "server_error 503"});
    attempt(t, "openai/gpt-4o", (struct target_end){.failed = true, .error = "timeout_total"});
    attempt(t, "openai/gpt-4o", (struct target_end){.succeeded = false});
    targets_facts(t, STR("openai/gpt-4o"), NONE, &f);
    assert_string_equal(f.name, "openai/gpt-4o");
    assert_string_equal(f.provider, "openai");
    assert_int_equal(f.successes, 1);
    assert_int_equal(f.failures, 2);
    assert_int_equal(f.streak, 2);
    assert_string_equal(f.last_error, "timeout_total");
    assert_true(f.last_error_at > 0);
    assert_true(f.ewma_first_token == 1 && f.ewma_total == 4);
    assert_true(f.up && f.up_since == 0 && f.suspended_for == 0 && f.inflight == 0);
    attempt(t, "openai/gpt-4o", (struct target_end){.succeeded = true, .first_token = 2});
    targets_facts(t, STR("openai/gpt-4o"), NONE, &f);
    assert_int_equal(f.streak, 0);
    assert_true(f.ewma_first_token > 1 && f.ewma_first_token < 2 && f.ewma_total == 4);
}

static void in_flight(void **state) {
    /* Goal: what has begun and not ended is in flight, over all references. */
    struct targets *t = *state;
    struct target_facts f;
    struct target *a = target_get(t, STR("p/m"), NONE);
    struct target *b = target_get(t, STR("p/m"), NONE);
    assert_ptr_equal(a, b);
    target_begin(a);
    target_begin(b);
    targets_facts(t, STR("p/m"), NONE, &f);
    assert_int_equal(f.inflight, 2);
    target_done(a, &(struct target_end){0});
    target_put(a);
    targets_facts(t, STR("p/m"), NONE, &f);
    assert_int_equal(f.inflight, 1);
    target_done(b, &(struct target_end){0});
    target_put(b);
    target_put(NULL);
    targets_facts(t, STR("p/m"), NONE, &f);
    assert_int_equal(f.inflight, 0);
}

static void unknown_targets(void **state) {
    /* Goal: asking makes nothing, and what is not known is up and at rest. */
    struct targets *t = *state;
    struct target_facts f;
    targets_facts(t, STR("spare"), NONE, &f);
    assert_string_equal(f.name, "spare");
    assert_string_equal(f.provider, "spare");
    assert_true(f.up);
    assert_int_equal(f.failures, 0);
    assert_int_equal(targets_suspended_for(t, STR("spare"), STR("g")), 0);
}

static void suspensions(void **state) {
    /* Goal: the later end wins with its reason, resume ends it, the serial tells of each change. */
    struct targets *t = *state;
    struct target_facts f;
    unsigned long serial = targets_serial(t);
    usec left = targets_suspend(t, STR("p/m"), NONE, false, HOUR, "first");
    assert_true(left > 0 && left <= HOUR);
    assert_int_not_equal(targets_serial(t), serial);
    serial = targets_serial(t);
    left = targets_suspend(t, STR("p/m"), NONE, false, USEC_PER_SEC, "shorter");
    assert_true(left > USEC_PER_SEC);
    assert_int_equal(targets_serial(t), serial);
    targets_facts(t, STR("p/m"), NONE, &f);
    assert_string_equal(f.reason, "first");
    assert_true(targets_suspend(t, STR("p/m"), NONE, false, 2 * HOUR, "longer") > HOUR);
    targets_facts(t, STR("p/m"), NONE, &f);
    assert_string_equal(f.reason, "longer");
    assert_true(f.suspended_for > HOUR);
    assert_int_equal(targets_suspended_for(t, STR("p/other"), NONE), 0);
    serial = targets_serial(t);
    targets_resume(t, STR("p/m"), NONE);
    assert_int_not_equal(targets_serial(t), serial);
    assert_int_equal(targets_suspended_for(t, STR("p/m"), NONE), 0);
    assert_int_equal(targets_suspend(t, STR("p/m"), NONE, false, 0, "nothing"), 0);
    assert_true(targets_suspend(t, STR("p/m"), NONE, false, USEC_NEVER, "for ever") > 1000 * HOUR);
}

static void suspensions_end(void **state) {
    /* Goal: a suspension is over when its time is. */
    struct targets *t = *state;
    struct target_facts f;
    usec start = clock_now();
    assert_true(targets_suspend(t, STR("p/m"), NONE, false, 10000, "brief") <= 10000);
    while (targets_suspended_for(t, STR("p/m"), NONE) > 0) {
        assert_true(clock_now() < start + 10 * USEC_PER_SEC);
        sched_yield();
    }
    assert_true(clock_now() >= start + 10000);
    targets_facts(t, STR("p/m"), NONE, &f);
    assert_string_equal(f.reason, "");
}

static void groups(void **state) {
    /* Goal: a quota group is suspended as one, whichever ends later counts, resume frees both. */
    struct targets *t = *state;
    struct target_facts f;
    assert_true(targets_suspend(t, STR("a/m"), STR("org"), true, HOUR, "quota") > 0);
    assert_true(targets_suspended_for(t, STR("b/n"), STR("org")) > 0);
    assert_int_equal(targets_suspended_for(t, STR("b/n"), NONE), 0);
    assert_int_equal(targets_suspended_for(t, STR("org"), NONE),
                     0); /* a target of that name is another thing */
    assert_true(targets_suspend(t, STR("b/n"), STR("org"), false, 2 * HOUR, "own") > HOUR);
    targets_facts(t, STR("b/n"), STR("org"), &f);
    assert_string_equal(f.reason, "own");
    targets_facts(t, STR("a/m"), STR("org"), &f);
    assert_string_equal(f.reason, "quota");
    targets_resume(t, STR("b/n"), STR("org"));
    assert_int_equal(targets_suspended_for(t, STR("a/m"), STR("org")), 0);
    assert_true(targets_suspend(t, STR("c"), NONE, true, HOUR, "no group") >
                0); /* then it is its own */
    assert_true(targets_suspended_for(t, STR("c"), NONE) > 0);
}

static void verdicts(void **state) {
    /* Goal: up before the first verdict; each turn to up has a time of its own. */
    struct targets *t = *state;
    struct target_facts f;
    assert_true(targets_is_up(t, STR("p"), NULL));
    targets_set_up(t, STR("p"), false);
    assert_false(targets_is_up(t, STR("p"), NULL));
    assert_true(targets_is_up(t, STR("q"), NULL));
    targets_facts(t, STR("p/m"), NONE, &f);
    assert_true(!f.up && f.up_since == 0);
    usec before = clock_now();
    targets_set_up(t, STR("p"), true);
    targets_facts(t, STR("p/m"), NONE, &f);
    assert_true(f.up && f.up_since >= before);
    usec since = f.up_since;
    targets_set_up(t, STR("p"), true);
    targets_facts(t, STR("p"), NONE, &f);
    assert_int_equal(f.up_since, since);
}

static void long_names(void **state) {
    /* Goal: a name longer than facts can hold is cut alike everywhere, so that it still means the
     * same target. */
    struct targets *t = *state;
    struct target_facts f;
    char name[2000];
    memset(name, 'x', sizeof(name));
    memcpy(name, "p/", 2);
    struct str s = str_make(name, sizeof(name));
    struct target *e = target_get(t, s, NONE);
    target_begin(e);
    assert_true(targets_suspend(t, s, NONE, false, HOUR, "long") > 0);
    targets_facts(t, s, NONE, &f);
    assert_int_equal(f.inflight, 1);
    assert_true(f.suspended_for > 0);
    assert_int_equal(strlen(f.name), sizeof(f.name) - 1);
    target_done(e, &(struct target_end){0});
    target_put(e);
}

static bool known(struct targets *t, const char *name) {
    struct target_facts f;
    targets_facts(t, str_of(name), NONE, &f);
    return f.streak > 0;
}

static void eviction(void **state) {
    /* Goal: the idle entry seen longest ago makes room; busy and suspended ones stay; a table full
     * of busy ones refuses. */
    struct targets *t = targets_new(3);
    struct target_end failed = {.failed = true};
    (void)state;
    attempt(t, "a", failed);
    attempt(t, "b", failed);
    attempt(t, "c", failed);
    assert_true(targets_suspend(t, STR("a"), NONE, false, HOUR, "x") > 0);
    attempt(t, "d", failed);
    assert_true(known(t, "a") && !known(t, "b") && known(t, "c") && known(t, "d"));
    attempt(t, "c", failed);
    attempt(t, "e", failed);
    assert_true(known(t, "a") && known(t, "c") && !known(t, "d") && known(t, "e"));
    struct target *a = target_get(t, STR("a"), NONE);
    struct target *c = target_get(t, STR("c"), NONE);
    struct target *f = target_get(t, STR("f"), NONE);
    assert_non_null(f);
    assert_false(known(t, "e"));
    assert_null(target_get(t, STR("g"), NONE));
    target_put(a);
    assert_non_null(
        a = target_get(t, STR("g"), NONE)); /* only a suspended one is idle: it goes … */
    assert_true(targets_suspended_for(t, STR("a"), NONE) > 0); /* … and its suspension stays */
    target_put(a);
    target_put(c);
    target_put(f);
    targets_free(t);
}

static void collect(void *ctx, const struct target_facts *facts) {
    struct buf *out = ctx;
    assert_int_equal(buf_addf(out, "%s%s ", facts->name, facts->suspended_for > 0 ? "!" : ""),
                     BUF_OK);
}

static void each_target(void **state) {
    /* Goal: all that is known comes, in order of name, suspended targets without facts included,
     * groups applied. */
    struct targets *t = *state;
    struct buf out;
    buf_init(&out, 1000);
    target_put(target_get(t, STR("z/1"), STR("org")));
    attempt(t, "b/1", (struct target_end){.succeeded = true});
    targets_suspend(t, STR("a/1"), NONE, false, HOUR, "x");
    targets_suspend(t, STR("y"), STR("org"), true, HOUR, "x");
    assert_int_equal(targets_each(t, collect, &out), 0);
    assert_string_equal(out.data, "a/1! b/1 z/1! ");
    buf_release(&out);
}

static void saving_and_loading(void **state) {
    /* Goal: suspensions of targets and groups travel through the document; ends that have passed do
     * not. */
    struct targets *t = *state;
    struct targets *other = targets_new(10);
    struct target_facts f;
    struct buf out;
    buf_init(&out, 10000);
    targets_suspend(t, STR("p/\"m\""), NONE, false, HOUR, "bad \"day\"");
    targets_suspend(t, STR("p/x"), STR("org"), true, 2 * HOUR, "quota");
    targets_suspend(t, STR("p/gone"), NONE, false, 1, "over");
    assert_int_equal(targets_save(t, &out), 0);
    assert_null(strstr(out.data, "gone"));
    assert_int_equal(targets_load(other, buf_str(&out)), 0);
    targets_facts(other, STR("p/\"m\""), NONE, &f);
    assert_string_equal(f.reason, "bad \"day\"");
    assert_true(f.suspended_for > HOUR - 60 * USEC_PER_SEC &&
                f.suspended_for <= HOUR + USEC_PER_SEC);
    assert_true(targets_suspended_for(other, STR("q"), STR("org")) > HOUR);
    assert_int_equal(targets_suspended_for(other, STR("p/x"), NONE), 0);
    targets_free(other);
    buf_release(&out);
}

static void documents_that_are_not_ours(void **state) {
    /* Goal: anything damaged is refused as a whole; what has ended is skipped; unreasonable ends
     * are bounded. */
    static const char *const wrong[] = {
        "",
        "{",
        "[]",
        "{}",
        "{\"version\":1}",
        "{\"version\":2,\"suspended\":[]}",
        "{\"version\":1,\"suspended\":{}}",
        "{\"version\":1,\"suspended\":[{\"name\":\"ok\",\"group\":false,\"until_ms\":9e15,"
        "\"reason\":\"\"},{}]}",
        "{\"version\":1,\"suspended\":[{\"name\":\"ok\",\"group\":false,\"until_ms\":9e15,"
        "\"reason\":\"\"},7]}",
        "{\"version\":1,\"suspended\":[{\"name\":7,\"group\":false,\"until_ms\":1,\"reason\":\"\"}]"
        "}",
        "{\"version\":1,\"suspended\":[{\"name\":\"a\",\"group\":0,\"until_ms\":1,\"reason\":\"\"}]"
        "}",
    };
    struct targets *t = *state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_int_equal(targets_load(t, str_of(wrong[i])), -1);
    }
    assert_int_equal(targets_suspended_for(t, STR("ok"), NONE), 0);
    assert_int_equal(
        targets_load(
            t, STR("{\"version\":1,\"suspended\":["
                   "{\"name\":\"old\",\"group\":false,\"until_ms\":1000,\"reason\":\"\"},"
                   "{\"name\":\"far\",\"group\":false,\"until_ms\":1e300,\"reason\":\"\"}]}")),
        0);
    assert_int_equal(targets_suspended_for(t, STR("old"), NONE), 0);
    assert_true(targets_suspended_for(t, STR("far"), NONE) > HOUR);
}

static void a_clock_set_back_lengthens_nothing(void **state) {
    /* Goal: an end that was ten minutes ahead when it was saved is no further ahead now, although
     * the wall clock says years; a file without the time of saving is read as before. */
    struct targets *t = *state;
    assert_int_equal(
        targets_load(t, STR("{\"version\":1,\"saved_ms\":9000000000000,\"suspended\":["
                            "{\"name\":\"ten\",\"group\":false,\"until_ms\":9000000600000,"
                            "\"reason\":\"\"}]}")),
        0);
    usec left = targets_suspended_for(t, STR("ten"), NONE);
    assert_true(left > 590 * USEC_PER_SEC && left <= 600 * USEC_PER_SEC);
}

static void suspensions_are_bounded(void **state) {
    /* Goal: suspending ever new names (a client may choose them) keeps the latest ends and a
     * bounded table. */
    struct targets *t = *state;
    char name[32];
    for (int i = 0; i < MAX_SUSPENSIONS + 20; i++) {
        int n = snprintf(name, sizeof(name), "p/%d", i);
        assert_true(targets_suspend(t, str_make(name, (size_t)n), NONE, false,
                                    HOUR + i * USEC_PER_SEC, "x") > 0);
    }
    assert_int_equal(targets_suspended_for(t, STR("p/0"), NONE), 0);
    assert_int_equal(targets_suspended_for(t, STR("p/19"), NONE), 0);
    assert_true(targets_suspended_for(t, STR("p/20"), NONE) > 0);
}

enum { THREADS = 4, ROUNDS = 2000 };

static void look(void *ctx, const struct target_facts *facts) {
    *(int *)ctx += facts->inflight < 0 ? 1 : 0;
}

static void *work(void *arg) {
    struct targets *t = arg;
    int wrong = 0;
    for (int i = 0; i < ROUNDS; i++) {
        char name[16];
        int n = snprintf(name, sizeof(name), "p/%d", i % 20);
        struct str s = str_make(name, (size_t)n);
        struct target *e = target_get(t, s, i % 2 ? STR("org") : NONE);
        if (!e) {
            return (void *)(intptr_t)-1;
        }
        target_begin(e);
        targets_suspend(t, s, STR("org"), i % 3 == 0, 50, "brief");
        wrong += targets_suspended_for(t, s, STR("org")) > 50 ? 1 : 0;
        target_done(e, &(struct target_end){.failed = i % 2, .succeeded = i % 2 == 0, .total = 1});
        targets_set_up(t, STR("p"), i % 2);
        target_put(e);
        if (i % 200 == 0) {
            targets_each(t, look, &wrong);
        }
    }
    return (void *)(intptr_t)wrong;
}

static void many_threads(void **state) {
    /* Goal: with room for half of the names and everything going on at once, nothing is lost or
     * left over. */
    struct targets *t = targets_new(12);
    pthread_t thread[THREADS];
    struct target_facts f;
    (void)state;
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&thread[i], NULL, work, t), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        void *result = NULL;
        pthread_join(thread[i], &result);
        assert_int_equal((intptr_t)result, 0);
    }
    for (int i = 0; i < 20; i++) {
        char name[16];
        int n = snprintf(name, sizeof(name), "p/%d", i);
        targets_facts(t, str_make(name, (size_t)n), NONE, &f);
        assert_int_equal(f.inflight, 0);
        assert_true(f.ewma_total == 0 || f.ewma_total == 1);
    }
    targets_free(t);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(facts_of_attempts),
        TEST(in_flight),
        TEST(unknown_targets),
        TEST(suspensions),
        TEST(suspensions_end),
        TEST(groups),
        TEST(verdicts),
        TEST(long_names),
        TEST(eviction),
        TEST(each_target),
        TEST(saving_and_loading),
        TEST(documents_that_are_not_ours),
        TEST(a_clock_set_back_lengthens_nothing),
        TEST(suspensions_are_bounded),
        TEST(many_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
