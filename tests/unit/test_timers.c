/* SPDX-License-Identifier: MIT */
/*
 * Unit tests of base/timers and of the virtual clock: the heap against a plain list that is
 * searched, and what functions may do to timers while they run.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/hash.h"
#include "base/timers.h"

#define COUNT 300

struct item {
    struct timer timer;
    usec at; /* as the list has it; USEC_NEVER: not set */
    uint64_t order;
    int runs;
};

struct pool {
    struct timers timers;
    struct item items[COUNT];
    uint64_t order;
};

static struct pool pool;

/* The first in the list: what the heap must give. */
static struct item *first_of(struct pool *p) {
    struct item *first = NULL;
    for (size_t i = 0; i < COUNT; i++) {
        struct item *it = &p->items[i];
        if (it->at != USEC_NEVER &&
            (!first || it->at < first->at || (it->at == first->at && it->order < first->order))) {
            first = it;
        }
    }
    return first;
}

static void on_item(void *ctx) {
    struct item *it = ctx;
    assert_ptr_equal(it, first_of(&pool));
    assert_false(timer_is_set(&it->timer));
    it->at = USEC_NEVER;
    it->runs++;
}

static void set(struct item *it, usec at) {
    it->at = at;
    it->order = pool.order++;
    timer_set(&pool.timers, &it->timer, at);
}

static void random_steps(void **state) {
    struct rng rng;
    usec now = 0;
    (void)state;
    rng_seed(&rng, 3);
    memset(&pool, 0, sizeof(pool));
    timers_init(&pool.timers);
    for (size_t i = 0; i < COUNT; i++) {
        pool.items[i].at = USEC_NEVER;
        assert_int_equal(timer_join(&pool.timers, &pool.items[i].timer, on_item, &pool.items[i]),
                         0);
    }
    for (int step = 0; step < 50000; step++) {
        struct item *it = &pool.items[rng_next(&rng) % COUNT];
        switch (rng_next(&rng) % 8) {
        case 0:
            timer_clear(&pool.timers, &it->timer);
            it->at = USEC_NEVER;
            break;
        case 1:
            now += (usec)(rng_next(&rng) % 20);
            timers_run(&pool.timers, now);
            break;
        default:
            set(it, now + 1 + (usec)(rng_next(&rng) % 100));
        }
        struct item *first = first_of(&pool);
        assert_int_equal(timers_next(&pool.timers), first ? first->at : USEC_NEVER);
    }
    timers_run(&pool.timers, USEC_NEVER - 1);
    assert_null(first_of(&pool));
    for (size_t i = 0; i < COUNT; i++) {
        timer_leave(&pool.timers, &pool.items[i].timer);
    }
    assert_int_equal(pool.timers.joined, 0);
    timers_release(&pool.timers);
}

/* ---- what functions do ---- */

struct actor {
    struct timers *of;
    struct timer timer;
    struct actor *other;
    usec again; /* sets itself to that; 0: no */
    int runs;
};

static void make(struct timers *t, struct actor *a, void (*fn)(void *ctx)) {
    memset(a, 0, sizeof(*a));
    a->of = t;
    assert_int_equal(timer_join(t, &a->timer, fn, a), 0);
}

static void on_again(void *ctx) {
    struct actor *a = ctx;
    a->runs++;
    timer_set(a->of, &a->timer, a->again);
}

static void on_remove(void *ctx) {
    struct actor *a = ctx;
    a->runs++;
    timer_leave(a->of, &a->other->timer);
    timer_leave(a->of, &a->timer);
}

static void set_again_in_its_function(void **state) {
    struct timers t;
    struct actor a, b;
    (void)state;
    timers_init(&t);
    make(&t, &a, on_again);
    make(&t, &b, on_again);
    a.again = 5; /* a time that has come: waits for the next call */
    b.again = 100;
    timer_set(&t, &a.timer, 10);
    timer_set(&t, &b.timer, 10);
    size_t first = timers_run(&t, 10), second = timers_run(&t, 10);
    assert_int_equal(a.runs + b.runs, (int)(first + second));
    assert_true(a.runs >= 1 && a.runs <= 2);
    timer_clear(&t, &a.timer);
    timers_run(&t, 10);
    assert_int_equal(b.runs, 1);
    assert_int_equal(timers_next(&t), 100);
    assert_false(timers_run_first(&t, 99));
    assert_true(timers_run_first(&t, 100));
    timer_leave(&t, &a.timer);
    timer_leave(&t, &b.timer);
    assert_false(timers_run_first(&t, USEC_NEVER));
    timers_release(&t);
}

static void removed_in_a_function(void **state) {
    struct timers t;
    struct actor a, b, c;
    (void)state;
    timers_init(&t);
    make(&t, &a, on_remove);
    make(&t, &b, on_remove);
    make(&t, &c, on_again);
    a.other = &b; /* due in the same call, and gone before its turn */
    b.other = &a;
    c.again = 50;
    timer_set(&t, &c.timer, 3);
    timer_set(&t, &b.timer, 2);
    timer_set(&t, &a.timer, 1);
    assert_int_equal(timers_run(&t, 10), 2);
    assert_int_equal(a.runs, 1);
    assert_int_equal(b.runs, 0);
    assert_int_equal(c.runs, 1);
    assert_int_equal(t.joined, 1);
    timer_leave(&t, &b.timer); /* a second time: nothing */
    timer_leave(&t, &c.timer);
    timers_release(&t);
}

static void virtual_clock(void **state) {
    struct clock_virtual one = {.now = 5, .wall = 7}, two = {.now = 50, .wall = 70};
    (void)state;
    assert_null(clock_use(&one));
    assert_int_equal(clock_now(), 5);
    assert_int_equal(clock_wall(), 7);
    assert_true(clock_steady() > 50);
    assert_ptr_equal(clock_use(&two), &one);
    two.now++;
    assert_int_equal(clock_now(), 51);
    assert_ptr_equal(clock_use(NULL), &two);
    assert_true(clock_now() >= clock_steady() - USEC_PER_SEC);
    assert_true(clock_wall() > 70);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_steps),
        cmocka_unit_test(set_again_in_its_function),
        cmocka_unit_test(removed_in_a_function),
        cmocka_unit_test(virtual_clock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
