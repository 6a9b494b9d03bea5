/* SPDX-License-Identifier: MIT */
/*
 * Unit tests of state/slots: the limit, first come first served, cancelling, reload, many threads.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "state/slots.h"

struct waiter {
    struct slot_waiter base; /* first */
    int grants;
};

static void granted(struct slot_waiter *w) {
    ((struct waiter *)w)->grants++;
}

static void the_limit_and_the_queue(void **state) {
    /* Goal: max in flight, then a queue of bounded length served in order, then refusals, which are
     * counted. */
    struct slots_table *t = slots_table_new();
    struct waiter w[6];
    struct slots_stats stats;
    (void)state;
    struct slots *s = slots_get(t, STR("openai"), 2, 3);
    for (int i = 0; i < 6; i++) {
        w[i] = (struct waiter){.base = {.granted = granted}};
    }
    assert_int_equal(slots_acquire(s, &w[0].base), SLOT_GRANTED);
    assert_int_equal(slots_acquire(s, &w[1].base), SLOT_GRANTED);
    assert_int_equal(slots_acquire(s, &w[2].base), SLOT_QUEUED);
    assert_int_equal(slots_acquire(s, &w[3].base), SLOT_QUEUED);
    assert_int_equal(slots_acquire(s, &w[4].base), SLOT_QUEUED);
    assert_int_equal(slots_acquire(s, &w[5].base), SLOT_REFUSED);
    assert_false(slots_cancel(s, &w[5].base));
    slots_stats(s, &stats);
    assert_int_equal(stats.inflight, 2);
    assert_int_equal(stats.queued, 3);
    assert_int_equal(stats.refused, 1);
    assert_true(slots_cancel(s, &w[3].base));
    assert_false(slots_cancel(s, &w[3].base));
    slots_release(s);
    assert_int_equal(w[2].grants, 1);
    assert_int_equal(w[4].grants, 0);
    assert_false(slots_cancel(s, &w[2].base)); /* granted meanwhile: it must give the slot back */
    slots_release(s);
    assert_int_equal(w[4].grants, 1);
    slots_release(s);
    slots_release(s);
    slots_stats(s, &stats);
    assert_int_equal(stats.inflight, 0);
    assert_int_equal(stats.queued, 0);
    assert_int_equal(w[0].grants + w[1].grants + w[3].grants + w[5].grants, 0);
    slots_table_free(t);
}

static void cancelling_anywhere(void **state) {
    /* Goal: the first, the last and a middle one can leave the queue; the order of the others
     * stays. */
    struct slots_table *t = slots_table_new();
    struct waiter w[5];
    (void)state;
    struct slots *s = slots_get(t, STR("p"), 1, 10);
    assert_int_equal(slots_acquire(s, &(struct slot_waiter){.granted = granted}), SLOT_GRANTED);
    for (int i = 0; i < 5; i++) {
        w[i] = (struct waiter){.base = {.granted = granted}};
        assert_int_equal(slots_acquire(s, &w[i].base), SLOT_QUEUED);
    }
    assert_true(slots_cancel(s, &w[0].base));
    assert_true(slots_cancel(s, &w[4].base));
    assert_true(slots_cancel(s, &w[2].base));
    slots_release(s);
    assert_int_equal(w[1].grants, 1);
    assert_int_equal(w[3].grants, 0);
    slots_release(s);
    assert_int_equal(w[3].grants, 1);
    slots_table_free(t);
}

static void a_reload_adjusts(void **state) {
    /* Goal: a raised maximum lets the waiting in at once; a lowered one holds back until enough
     * have left. */
    struct slots_table *t = slots_table_new();
    struct waiter w[4];
    (void)state;
    struct slots *s = slots_get(t, STR("p"), 1, 10);
    for (int i = 0; i < 4; i++) {
        w[i] = (struct waiter){.base = {.granted = granted}};
        assert_int_equal(slots_acquire(s, &w[i].base), i ? SLOT_QUEUED : SLOT_GRANTED);
    }
    assert_ptr_equal(slots_get(t, STR("p"), 3, 10), s);
    assert_int_equal(w[1].grants + w[2].grants, 2);
    assert_int_equal(w[3].grants, 0);
    assert_ptr_equal(slots_get(t, STR("p"), 1, 10), s);
    slots_release(s);
    slots_release(s);
    assert_int_equal(w[3].grants, 0);
    slots_release(s);
    assert_int_equal(w[3].grants, 1);
    assert_ptr_not_equal(slots_get(t, STR("q"), 1, 0), s);
    slots_table_free(t);
}

static void no_queue_and_no_limit(void **state) {
    /* Goal: a queue of 0 refuses at once; a maximum of 0 is none. */
    struct slots_table *t = slots_table_new();
    struct waiter w = {.base = {.granted = granted}};
    (void)state;
    struct slots *s = slots_get(t, STR("p"), 1, 0);
    assert_int_equal(slots_acquire(s, &w.base), SLOT_GRANTED);
    assert_int_equal(slots_acquire(s, &w.base), SLOT_REFUSED);
    s = slots_get(t, STR("free"), 0, 0);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(slots_acquire(s, &w.base), SLOT_GRANTED);
    }
    slots_table_free(t);
}

enum { THREADS = 4, ROUNDS = 2000, LIMIT = 2 };

struct crowd {
    struct slots *slots;
    atomic_int inside, most, granted, refused, cancelled;
};

struct person {
    struct slot_waiter base; /* first */
    sem_t called;
};

static void call(struct slot_waiter *w) {
    sem_post(&((struct person *)w)->called);
}

static void be_inside(struct crowd *c) {
    int now = atomic_fetch_add(&c->inside, 1) + 1;
    int most = atomic_load(&c->most);
    while (now > most && !atomic_compare_exchange_weak(&c->most, &most, now)) {
    }
    atomic_fetch_add(&c->granted, 1);
    atomic_fetch_sub(&c->inside, 1);
    slots_release(c->slots);
}

static void *come_and_go(void *arg) {
    struct crowd *c = arg;
    struct person p = {.base = {.granted = call}};
    sem_init(&p.called, 0, 0);
    for (int i = 0; i < ROUNDS; i++) {
        switch (slots_acquire(c->slots, &p.base)) {
        case SLOT_REFUSED:
            atomic_fetch_add(&c->refused, 1);
            break;
        case SLOT_QUEUED:
            if (i % 3 == 0 && slots_cancel(c->slots, &p.base)) {
                atomic_fetch_add(&c->cancelled, 1);
                break;
            }
            sem_wait(&p.called);
            be_inside(c);
            break;
        case SLOT_GRANTED:
            be_inside(c);
            break;
        }
    }
    sem_destroy(&p.called);
    return NULL;
}

static void many_threads(void **state) {
    /* Goal: under contention never more than the limit are inside, nobody is lost, everything is
     * given back. */
    struct slots_table *t = slots_table_new();
    struct crowd c = {.slots = slots_get(t, STR("p"), LIMIT, 1)};
    pthread_t thread[THREADS];
    struct slots_stats stats;
    (void)state;
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&thread[i], NULL, come_and_go, &c), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(thread[i], NULL);
    }
    slots_stats(c.slots, &stats);
    assert_int_equal(stats.inflight, 0);
    assert_int_equal(stats.queued, 0);
    assert_int_equal(stats.refused, c.refused);
    assert_true(c.most >= 1 && c.most <= LIMIT);
    assert_int_equal(c.granted + c.refused + c.cancelled, THREADS * ROUNDS);
    slots_table_free(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_limit_and_the_queue),
        cmocka_unit_test(cancelling_anywhere),
        cmocka_unit_test(a_reload_adjusts),
        cmocka_unit_test(no_queue_and_no_limit),
        cmocka_unit_test(many_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
