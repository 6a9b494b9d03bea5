/* SPDX-License-Identifier: MIT */
/*
 * Names and their addresses, with a lookup function that does what a test tells it: it answers,
 * fails, or hangs until it is let go. Time is a clock of the test's own, so nothing here waits for
 * one.
 */
#include <arpa/inet.h>
#include <event2/event.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "upstream/resolver.h"

#define PATIENCE (20 * USEC_PER_SEC)

/* What the lookups do. It outlives its resolver, as lookups.h asks. */
struct zone {
    atomic_int begun, ended;
    atomic_bool closed; /* they hang */
    atomic_bool failing;
    atomic_int last; /* byte of the address that is found */
};

static int look(void *ctx, const char *host, struct addresses *found, struct err *err) {
    struct zone *z = ctx;
    bool hangs = strncmp(host, "quick", 5) != 0;
    struct in_addr a = {htonl(0x7f000000u + (unsigned)z->last)};
    bool fails = z->failing;
    z->begun++;
    while (hangs && z->closed) {
        usleep(1000);
    }
    addresses_add(found, AF_INET, &a);
    z->ended++;
    return fails ? err_set(err, "no such host: %s", host) : 0;
}

struct fixture {
    struct event_base *base;
    struct resolver *resolver;
    struct zone zone;
    struct clock_virtual clock;
};

struct asker {
    struct fixture *f;
    struct resolver_wait wait;
    int answers;
    unsigned last; /* byte of the first address; 0: none */
    char detail[128];
    bool asking, again;
};

static void ask(struct asker *a, const char *host);

static void on_answer(void *user, const struct addresses *found, const char *detail) {
    struct asker *a = user;
    assert_false(a->asking); /* never from inside */
    a->answers++;
    a->last = found ? ntohl(found->at[0].v4.sin_addr.s_addr) & 255 : 0;
    snprintf(a->detail, sizeof a->detail, "%s", detail);
    if (a->again) {
        a->again = false;
        ask(a, "again.test");
    }
}

static void ask(struct asker *a, const char *host) {
    a->wait.done = on_answer;
    a->wait.user = a;
    a->asking = true;
    assert_int_equal(resolver_ask(a->f->resolver, str_of(host), &a->wait), 0);
    a->asking = false;
}

static void turn_once(struct fixture *f) {
    event_base_loop(f->base, EVLOOP_NONBLOCK);
    usleep(500);
}

#define RUN_UNTIL(f, condition)                                                                    \
    do {                                                                                           \
        usec limit_ = clock_steady() + PATIENCE;                                                   \
        while (!(condition)) {                                                                     \
            turn_once(f);                                                                          \
            assert_true(clock_steady() < limit_);                                                  \
        }                                                                                          \
    } while (0)

static unsigned answer(struct fixture *f, const char *host) {
    struct asker a = {.f = f};
    ask(&a, host);
    RUN_UNTIL(f, a.answers == 1);
    return a.last;
}

static int setup(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    const struct resolver_options options = {.lookup = look, .ctx = &f->zone};
    f->base = event_base_new();
    f->zone.last = 1;
    f->clock.now = 1000 * USEC_PER_SEC;
    clock_use(&f->clock);
    f->resolver = resolver_new(f->base, &options);
    *state = f;
    return f->resolver ? 0 : -1;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    resolver_free(f->resolver);
    f->zone.closed = false;
    while (f->zone.begun != f->zone.ended) {
        usleep(1000);
    }
    event_base_free(f->base);
    clock_use(NULL);
    free(f);
    return 0;
}

/* Goal: all who wait for a name are told by one look, and who asks later by none, in whatever
 * letters. */
static void test_one_look(void **state) {
    struct fixture *f = *state;
    struct asker a[5] = {{.f = f}, {.f = f}, {.f = f}, {.f = f}, {.f = f}};
    f->zone.closed = true;
    for (int i = 0; i < 5; i++) {
        ask(&a[i], "Name.test");
    }
    RUN_UNTIL(f, f->zone.begun == 1);
    f->zone.closed = false;
    for (int i = 0; i < 5; i++) {
        RUN_UNTIL(f, a[i].answers == 1);
        assert_int_equal(a[i].last, 1);
    }
    assert_int_equal(answer(f, "name.TEST"), 1);
    assert_int_equal(f->zone.begun, 1);
}

/* Goal: addresses that are no longer fresh are used at once, while another look is under way; then
 * the new ones are. */
static void test_stale(void **state) {
    struct fixture *f = *state;
    assert_int_equal(answer(f, "a.test"), 1);
    f->clock.now += NAME_FRESH - 1;
    assert_int_equal(answer(f, "a.test"), 1);
    assert_int_equal(f->zone.begun, 1);
    f->clock.now += 1;
    f->zone.closed = true;
    f->zone.last = 2;
    assert_int_equal(answer(f, "a.test"), 1);
    assert_int_equal(answer(f, "a.test"), 1);
    RUN_UNTIL(f, f->zone.begun == 2);
    f->zone.closed = false;
    RUN_UNTIL(f, answer(f, "a.test") == 2);
    assert_int_equal(f->zone.begun, 2);
}

/* Goal: while looks fail, the last addresses are good for NAME_STALE and no longer. */
static void test_look_fails(void **state) {
    struct fixture *f = *state;
    struct asker a = {.f = f};
    assert_int_equal(answer(f, "a.test"), 1);
    f->zone.failing = true;
    f->clock.now += NAME_FRESH;
    assert_int_equal(answer(f, "a.test"), 1);
    RUN_UNTIL(f, f->zone.ended == 2);
    f->clock.now += NAME_STALE;
    ask(&a, "a.test");
    RUN_UNTIL(f, a.answers == 1);
    assert_int_equal(a.last, 0);
    assert_string_equal(a.detail, "no such host: a.test");
}

/* Goal: a failure is believed for NAME_FAILED, then looked at again. */
static void test_negative(void **state) {
    struct fixture *f = *state;
    f->zone.failing = true;
    assert_int_equal(answer(f, "a.test"), 0);
    assert_int_equal(answer(f, "a.test"), 0);
    assert_int_equal(f->zone.begun, 1);
    f->clock.now += NAME_FAILED;
    f->zone.failing = false;
    assert_int_equal(answer(f, "a.test"), 1);
    assert_int_equal(f->zone.begun, 2);
}

/* Goal: addresses that do not work are not handed out again before another look, and that look is
 * not taken more than once in NAME_FAILED. */
static void test_doubt(void **state) {
    struct fixture *f = *state;
    assert_int_equal(answer(f, "a.test"), 1);
    resolver_doubt(f->resolver, STR("unknown.test"));
    resolver_doubt(f->resolver, STR("A.test"));
    assert_int_equal(answer(f, "a.test"), 1);
    assert_int_equal(f->zone.begun, 1);
    f->clock.now += NAME_FAILED;
    f->zone.last = 3;
    resolver_doubt(f->resolver, STR("a.test"));
    assert_int_equal(answer(f, "a.test"), 3);
    assert_int_equal(f->zone.begun, 2);
    f->clock.now += NAME_FAILED;
    f->zone.failing = true;
    resolver_doubt(f->resolver, STR("a.test"));
    assert_int_equal(answer(f, "a.test"), 0);
}

/* Goal: who no longer waits is not told; the others are. */
static void test_forget(void **state) {
    struct fixture *f = *state;
    struct asker a = {.f = f}, b = {.f = f}, c = {.f = f};
    f->zone.closed = true;
    ask(&a, "a.test");
    ask(&b, "a.test");
    ask(&c, "a.test");
    resolver_forget(&b.wait);
    resolver_forget(&b.wait);
    f->zone.closed = false;
    RUN_UNTIL(f, a.answers && c.answers);
    assert_int_equal(b.answers, 0);
    ask(&b, "a.test"); /* known by now */
    resolver_forget(&b.wait);
    assert_int_equal(answer(f, "a.test"), 1);
    assert_int_equal(b.answers, 0);
}

/* Goal: somebody may ask again from inside his answer, for the same name, too. */
static void test_ask_inside(void **state) {
    struct fixture *f = *state;
    struct asker a = {.f = f, .again = true}, b = {.f = f};
    ask(&a, "again.test");
    ask(&b, "again.test");
    RUN_UNTIL(f, a.answers == 2 && b.answers == 1);
    a.again = true;
    ask(&a, "again.test");
    RUN_UNTIL(f, a.answers == 4);
    assert_int_equal(f->zone.begun, 1);
}

/* Goal: names that hang do not hold up others before MAX_LOOKUP_THREADS of them do, and what waits
 * behind them is served when one comes back. */
static void test_hanging(void **state) {
    struct fixture *f = *state;
    struct asker a[MAX_LOOKUP_THREADS] = {0}, behind = {.f = f};
    char host[32];
    f->zone.closed = true;
    for (int i = 0; i < MAX_LOOKUP_THREADS - 1; i++) {
        a[i].f = f;
        snprintf(host, sizeof host, "%d.test", i);
        ask(&a[i], host);
    }
    assert_int_equal(answer(f, "quick.test"), 1);
    a[MAX_LOOKUP_THREADS - 1].f = f;
    ask(&a[MAX_LOOKUP_THREADS - 1], "last.test");
    RUN_UNTIL(f, f->zone.begun == MAX_LOOKUP_THREADS + 1);
    ask(&behind, "quick2.test");
    turn_once(f);
    assert_int_equal(behind.answers, 0);
    f->zone.closed = false;
    RUN_UNTIL(f, behind.answers == 1);
    for (int i = 0; i < MAX_LOOKUP_THREADS; i++) {
        RUN_UNTIL(f, a[i].answers == 1);
    }
}

/* Goal: two names that are asked for at once do not share the one thread that is idle: the first
 * may hang. */
static void test_at_once(void **state) {
    struct fixture *f = *state;
    struct asker a = {.f = f}, b = {.f = f};
    assert_int_equal(answer(f, "quick.test"), 1); /* its thread stays for a while */
    usleep(20000);                                /* it may be idle by now; if not, no matter */
    f->zone.closed = true;
    ask(&a, "a.test");
    ask(&b, "b.test");
    RUN_UNTIL(f, f->zone.begun == 3);
    f->zone.closed = false;
    RUN_UNTIL(f, a.answers == 1 && b.answers == 1);
}

/* Goal: freeing the resolver waits for no lookup, however long it hangs; what it finds comes to
 * nothing, and nothing leaks (ASan looks). */
static void test_free_hanging(void **state) {
    struct fixture *f = *state;
    struct asker a = {.f = f};
    f->zone.closed = true;
    ask(&a, "a.test");
    RUN_UNTIL(f, f->zone.begun == 1);
    resolver_forget(&a.wait);
    resolver_free(f->resolver); /* would not come back: the lookup hangs until teardown */
    f->resolver = NULL;
    assert_int_equal(f->zone.ended, 0);
    assert_int_equal(a.answers, 0);
}

/* Goal: more names than are remembered: the one asked for longest ago is forgotten. */
static void test_many_names(void **state) {
    struct fixture *f = *state;
    char host[32];
    for (int i = 0; i <= MAX_KNOWN_NAMES; i++) {
        snprintf(host, sizeof host, "quick%d.test", i);
        assert_int_equal(answer(f, host), 1);
    }
    assert_int_equal(f->zone.begun, MAX_KNOWN_NAMES + 1);
    assert_int_equal(answer(f, "quick1.test"), 1);
    assert_int_equal(f->zone.begun, MAX_KNOWN_NAMES + 1);
    assert_int_equal(answer(f, "quick0.test"), 1);
    assert_int_equal(f->zone.begun, MAX_KNOWN_NAMES + 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(test_one_look), T(test_stale),        T(test_look_fails), T(test_negative),
        T(test_doubt),    T(test_forget),       T(test_ask_inside), T(test_hanging),
        T(test_at_once),  T(test_free_hanging), T(test_many_names),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
