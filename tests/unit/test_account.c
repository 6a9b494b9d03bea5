/* SPDX-License-Identifier: MIT */
/*
 * The accounts of policies: what runs use, why they are stopped, which policy keeps failing, and
 * when a state's memory gets short.
 */
#include "sandbox_fixture.h"

/* The policy under test, in `lanes` lanes, logging to `log`. */
static void stage(struct fixture *f, const char *body, size_t lanes, struct log *log) {
    char source[1024];

    snprintf(source, sizeof source, "local kept = {}\nreturn { handle = function(req)\n%s\nend }\n",
             body);
    sandbox_write(f, source);
    f->env.log = log;
    if (!fixture_stage(f, lanes)) {
        fixture_print(f);
        fail_msg("not staged");
    }
}

/* One request to its end; what it used and why it was stopped. */
static enum kill_reason use(struct lane *lane, struct policy_usage *used) {
    struct fake_request r = {.waits = 0};
    struct run *run = run_new(lane, &fixture_first, &r);
    enum kill_reason killed;
    struct err err;

    assert_non_null(run);
    while (run_step(run, &err) == RUN_WAITING) {
    }
    run_usage(run, used);
    killed = run_killed(run);
    run_free(run);
    return killed;
}

/* Goal: instructions, charges of library functions and allocations are counted, over all stretches
 * of a run, and the lane's sums are those of its runs. */
static void test_usage(void **state) {
    static const struct {
        const char *body;
        unsigned long long least_steps, most_steps, least_bytes, most_bytes;
    } cases[] = {
        {"return 'x'", 0, LUA_STEP_COUNT, 0, 2000},
        {"for i = 1, 10000 do end return 'x'", 9000, 12000, 0, 2000},
        {"local w = require 'moongate'.wait for i = 1, 10 do for j = 1, 1000 do end w() end return "
         "'x'",
         9000, 13000, 0, 8000},
        {"require 'moongate'.charge(5000) return 'x'", 5000, 5000 + 2 * LUA_STEP_COUNT, 0, 2000},
        {"local s = ('x'):rep(100000) return 'x'", 100000, 110000, 100000, 400000},
        {"for i = 1, 100 do kept[i] = { i } end return 'x'", 300, 1500, 100 * 56, 40000},
    };
    struct policy_usage sum = {0};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct policy_usage used;
        struct lane_stats stats;
        struct fixture f;

        stage(&f, cases[i].body, 1, NULL);
        f.env.resume_cpu = f.env.request_cpu = 10 * USEC_PER_SEC;
        assert_int_equal(use(f.gen->lanes[0], &used), KILL_NONE);
        if (used.steps < cases[i].least_steps || used.steps > cases[i].most_steps ||
            used.bytes < cases[i].least_bytes || used.bytes > cases[i].most_bytes || used.cpu < 0) {
            fail_msg("%s: %llu steps, %llu bytes", cases[i].body, used.steps, used.bytes);
        }
        sum = used;
        assert_int_equal(use(f.gen->lanes[0], &used), KILL_NONE);
        lane_stats(f.gen->lanes[0], &stats);
        assert_int_equal(stats.used.steps, sum.steps + used.steps);
        assert_int_equal(stats.used.bytes, sum.bytes + used.bytes);
        assert_int_equal(stats.used.cpu, sum.cpu + used.cpu);
        fixture_release(&f);
    }
}

/* Goal: runs too short to be counted are counted in the sum: nothing is lost at their ends. */
static void test_short_runs_add_up(void **state) {
    struct policy_usage used;
    struct lane_stats stats;
    struct fixture f;

    (void)state;
    stage(&f, "for i = 1, 30 do end return 'x'", 1, NULL);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(use(f.gen->lanes[0], &used), KILL_NONE);
        assert_true(used.steps <= LUA_STEP_COUNT);
    }
    lane_stats(f.gen->lanes[0], &stats);
    assert_in_range(stats.used.steps, 30000, 60000);
    fixture_release(&f);
}

static void count_line(void *ctx, enum log_level level, const char *line) {
    int *lines = ctx;

    (void)level;
    *lines += strstr(line, "switched off") || strstr(line, "the policies keep");
}

/* Goal: each reason is told apart, in the run, in the lane's numbers and in the log. */
static void test_kill_reasons(void **state) {
    static const struct {
        const char *body;
        enum kill_reason reason;
    } cases[] = {
        {"while true do end", KILL_STRETCH},
        {"while true do for i = 1, 20000 do end require 'moongate'.wait() end", KILL_REQUEST},
        {"local s = ('x'):rep(1 << 20) return s .. s .. s", KILL_MEMORY},
        {"error('x')", KILL_NONE},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct policy_usage used;
        struct policy_health h;
        struct lane_stats stats;
        struct fixture f;

        stage(&f, cases[i].body, 1, NULL);
        assert_int_equal(use(f.gen->lanes[0], &used), cases[i].reason);
        generation_stats(f.gen, &stats);
        for (int r = KILL_STRETCH; r < KILL_REASONS; r++) {
            assert_int_equal(stats.kills_by[r], r == (int)cases[i].reason);
        }
        assert_int_equal(stats.errors, cases[i].reason == KILL_NONE);
        assert_true(generation_policy(f.gen, 0, &h));
        assert_int_equal(h.kills, cases[i].reason != KILL_NONE);
        assert_int_equal(h.errors, cases[i].reason == KILL_NONE);
        assert_int_equal(h.calls, 1);
        fixture_release(&f);
    }
}

/* Goal: POLICY_FAILURES_MAX failures in a row over all lanes switch a policy off, once, and no
 * other; a success in between starts anew. */
static void test_switched_off(void **state) {
    struct policy_usage used;
    struct policy_health h;
    struct fake_request r;
    struct fixture f;
    struct log log;
    struct err err;
    int lines = 0;

    (void)state;
    log_init(&log, count_line, &lines, LOG_LEVEL_INFO);
    stage(&f, "kept[1] = (kept[1] or 0) + 1 if kept[1] == 4 then return 'x' end error('boom')", 2,
          &log);
    for (int i = 0; i < POLICY_FAILURES_MAX / 2 - 1;
         i++) { /* in each: 3 failures, then a success */
        use(f.gen->lanes[0], &used);
        use(f.gen->lanes[1], &used);
    }
    assert_false(lane_switched_off(f.gen->lanes[0], 0));
    for (int i = 0; i < POLICY_FAILURES_MAX; i++) {
        assert_false(generation_switched_off(f.gen));
        use(f.gen->lanes[i % 2], &used);
    }
    assert_true(lane_switched_off(f.gen->lanes[0], 0) && lane_switched_off(f.gen->lanes[1], 0));
    assert_false(lane_switched_off(f.gen->lanes[0], 1));
    assert_true(generation_switched_off(f.gen));
    assert_true(generation_policy(f.gen, 0, &h));
    assert_true(h.switched_off);
    assert_string_equal(h.label, "policies/t.lua");
    assert_non_null(strstr(h.reason, "boom"));
    use(f.gen->lanes[0], &used); /* one that was under way */
    assert_int_equal(lines, 1);
    assert_int_equal(fixture_run(f.gen->lanes[0], &fixture_second, &r, &err), RUN_DONE);
    assert_true(generation_policy(f.gen, 1, &h));
    assert_false(h.switched_off);
    assert_string_equal(h.reason, "");
    assert_false(generation_policy(f.gen, 2, &h));
    fixture_release(&f);
}

/* Goal: a state whose kept values pass three quarters of its cap warns, once per generation;
 * garbage alone does not. */
static void test_soft_limit(void **state) {
    static const struct {
        const char *body;
        int lines;
    } cases[] = {
        {"kept[#kept + 1] = ('x'):rep(100000) .. #kept return 'x'", 1},
        {"local s = ('x'):rep(100000) .. #kept kept[1] = s return 'x'", 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct policy_usage used;
        struct fixture f;
        struct log log;
        int lines = 0;

        log_init(&log, count_line, &lines, LOG_LEVEL_INFO);
        stage(&f, cases[i].body, 2, &log);
        for (int n = 0; n < 140; n++) { /* 14 of 16 MiB in each */
            if (use(f.gen->lanes[0], &used) || use(f.gen->lanes[1], &used)) {
                fail_msg("%s: stopped in round %d, %zu bytes", cases[i].body, n,
                         f.gen->lanes[0]->box->alloc.used);
            }
        }
        assert_int_equal(lines, cases[i].lines);
        fixture_release(&f);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_usage),        cmocka_unit_test(test_short_runs_add_up),
        cmocka_unit_test(test_kill_reasons), cmocka_unit_test(test_switched_off),
        cmocka_unit_test(test_soft_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
