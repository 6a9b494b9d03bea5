/* SPDX-License-Identifier: MIT */
/*
 * Unit tests of base/pool and of buffers that share one: what is counted, who is refused first, and
 * that all of it is given back, also by several threads.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/limits.h"

static void share(struct buf *b, size_t max, struct pool *pool, enum pool_claim claim) {
    buf_init(b, max);
    buf_share(b, pool, claim);
}

static void small_buffers_are_not_counted(void **state) {
    /* Goal: up to POOL_GRAIN a buffer grows though the pool is full, and takes nothing. */
    struct pool pool;
    struct buf b;
    (void)state;
    pool_init(&pool, 1);
    share(&b, MIB(1), &pool, POOL_INTAKE);
    assert_int_equal(buf_reserve(&b, KIB(8)), BUF_OK);
    assert_true(b.cap <= POOL_GRAIN);
    assert_int_equal(pool_used(&pool), 0);
    assert_true(pool_has(&pool, POOL_GRAIN, POOL_INTAKE));
    assert_int_equal(buf_reserve(&b, KIB(40)), BUF_NOMEM);
    assert_int_equal(atomic_load(&pool.refused), 1);
    buf_release(&b);
    assert_int_equal(pool_used(&pool), 0);
}

static void a_refusal_changes_nothing(void **state) {
    /* Goal: a buffer that may not grow keeps what it has, and grows later when there is room. */
    struct pool pool;
    struct buf a, b;
    char block[1000];
    (void)state;
    memset(block, 'x', sizeof(block));
    pool_init(&pool, KIB(128));
    share(&a, MIB(1), &pool, POOL_WORK);
    share(&b, MIB(1), &pool, POOL_WORK);
    assert_int_equal(buf_reserve(&a, KIB(100)), BUF_OK);
    int r = BUF_OK;
    while (r == BUF_OK) {
        r = buf_add(&b, block, sizeof(block));
    }
    assert_int_equal(r, BUF_NOMEM);
    size_t had = b.len;
    assert_true(had > 0 && b.data[had - 1] == 'x' && b.data[had] == '\0');
    buf_release(&a);
    assert_int_equal(buf_add(&b, block, sizeof(block)), BUF_OK);
    assert_int_equal(b.len, had + sizeof(block));
    buf_release(&b);
    assert_int_equal(pool_used(&pool), 0);
}

static void work_under_way_goes_further_than_new_work(void **state) {
    /* Goal: intake ends at three quarters, work at the whole pool, output never. */
    static const struct {
        enum pool_claim claim;
        size_t most;
    } rows[] = {{POOL_INTAKE, 750}, {POOL_WORK, 1000}, {POOL_OUTPUT, 5000}};
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct pool pool;
        size_t taken = 0;
        pool_init(&pool, 1000);
        while (taken < 5000 && pool_take(&pool, 10, rows[i].claim)) {
            taken += 10;
        }
        assert_int_equal(taken, rows[i].most);
        assert_int_equal(pool_used(&pool), taken);
        assert_int_equal(pool_roomy(&pool), taken <= 750);
    }
}

static void no_pool_and_no_maximum_take_anything(void **state) {
    /* Goal: NULL and a maximum of 0 refuse nothing. */
    struct pool pool;
    (void)state;
    pool_init(&pool, 0);
    assert_true(pool_take(&pool, SIZE_MAX / 2, POOL_INTAKE));
    assert_true(pool_take(NULL, SIZE_MAX, POOL_INTAKE) && pool_has(NULL, SIZE_MAX, POOL_INTAKE));
    assert_true(pool_roomy(NULL));
    pool_give(NULL, 1);
}

static void what_is_taken_is_given_back(void **state) {
    /* Goal: taking a buffer's storage away, and clearing it down, give its bytes back. */
    struct pool pool;
    struct buf b;
    (void)state;
    pool_init(&pool, MIB(4));
    share(&b, MIB(1), &pool, POOL_WORK);
    assert_int_equal(buf_reserve(&b, KIB(500)), BUF_OK);
    assert_int_equal(pool_used(&pool), b.cap);
    free(buf_take(&b));
    assert_int_equal(pool_used(&pool), 0);
    assert_int_equal(buf_reserve(&b, KIB(500)), BUF_OK);
    buf_clear(&b);
    assert_int_equal(pool_used(&pool), b.cap);
    buf_reuse(&b, KIB(4));
    assert_int_equal(pool_used(&pool), 0);
    buf_release(&b);
}

static void *take_and_give(void *arg) {
    struct pool *pool = arg;
    for (int i = 0; i < 2000; i++) {
        struct buf b;
        share(&b, MIB(1), pool, i % 2 ? POOL_WORK : POOL_INTAKE);
        for (int k = 0; k < 5 && buf_reserve(&b, KIB(20) << k) == BUF_OK; k++) {
        }
        buf_release(&b);
    }
    return NULL;
}

static void threads_leave_nothing(void **state) {
    /* Goal: with four threads at it all is given back in the end. */
    struct pool pool;
    pthread_t threads[4];
    (void)state;
    pool_init(&pool, KIB(600));
    for (int i = 0; i < 4; i++) {
        pthread_create(&threads[i], NULL, take_and_give, &pool);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_int_equal(pool_used(&pool), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_buffers_are_not_counted),
        cmocka_unit_test(a_refusal_changes_nothing),
        cmocka_unit_test(work_under_way_goes_further_than_new_work),
        cmocka_unit_test(no_pool_and_no_maximum_take_anything),
        cmocka_unit_test(what_is_taken_is_given_back),
        cmocka_unit_test(threads_leave_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
