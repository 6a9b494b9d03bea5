/* SPDX-License-Identifier: MIT */
/*
 * Clients that leave: at every moment of a request the transfer is cancelled in the same turn of
 * the loop, nobody is blamed, and nothing is left behind.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "../support/gateway_world.h"

/* The moments, in order; each includes those before. */
enum moment { SENT, CONNECTED, HEAD, HELD, CONTENT, COMMITTED, MOMENTS };

static void reach(struct world *world, struct world_client *c, enum moment moment) {
    client_ask(c, ASK_STREAM);
    WORLD_WAIT(world, world->up.n == 1);
    struct scripted_transfer *it = scripted_at(&world->up, 0);
    if (moment >= CONNECTED) {
        play_connected(it);
    }
    if (moment >= HEAD) {
        play_head(it, 200, STREAM_HEAD);
    }
    if (moment >= HELD) {
        play_data(it, ROLE_EVENT);
    }
    if (moment >= CONTENT) {
        play_data(it, WORD_EVENT("one")); /* the policy has not been resumed yet */
    }
    if (moment >= COMMITTED) {
        WORLD_WAIT(world, client_has(c, "one"));
    }
}

static void assert_nobody_blamed(struct world *world, const char *target) {
    struct target_facts facts = world_facts(world, target);
    assert_int_equal(facts.inflight, 0);
    assert_int_equal(facts.failures, 0);
    assert_int_equal(facts.successes, 0);
    assert_int_equal(facts.streak, 0);
    assert_string_equal(facts.last_error, "");
    assert_int_equal(facts.suspended_for, 0);
}

static void assert_gone_line(struct world *world) {
    assert_true(strstr(world->access.data, "\"end\":\"client_gone\"") != NULL);
    assert_true(strstr(world->access.data, "\"outcome\":\"client_gone\"") != NULL);
}

static void leaves_at_any_moment(void **state) {
    /* Goal: one turn after the client closed, its transfer is cancelled, its slot is free, its
     * policy and exchange are gone, and the target stands as before. */
    for (enum moment m = SENT; m < MOMENTS; m++) {
        struct world *world = world_new(*state, ", max_inflight = 1", "return req:send('a/m')");
        struct world_client *c = world_connect(world);
        reach(world, c, m);
        struct scripted_transfer *it = scripted_at(&world->up, 0);
        assert_true(it->live);
        assert_int_equal(world_slots(world, "a", 1, 256).inflight, 1);
        client_leave(c);
        world_turn(world);
        if (it->cancels != 1 || world->w.exchanges) {
            fail_msg("moment %d: %d cancels", (int)m, it->cancels);
        }
        assert_int_equal(world_slots(world, "a", 1, 256).inflight, 0);
        assert_int_equal(world_runs(world), 0);
        assert_nobody_blamed(world, "a/m");
        assert_gone_line(world);
        world_free(world);
    }
}

static void half_close_counts(void **state) {
    /* Goal: a client that only closes its writing side is gone too. */
    struct world *world = world_new(*state, "", "return req:send('a/m')");
    struct world_client *c = world_connect(world);
    reach(world, c, HELD);
    assert_int_equal(shutdown(c->fd, SHUT_WR), 0);
    world_turn(world);
    assert_int_equal(scripted_at(&world->up, 0)->cancels, 1);
    assert_nobody_blamed(world, "a/m");
    world_free(world);
}

static void leaves_while_the_policy_waits(void **state) {
    /* Goal: a policy that sleeps, waits for several attempts, or holds a good answer goes with its
     * client; nothing is sent any more. */
    static const struct {
        const char *handle;
        size_t starts;
        bool good; /* the first attempt shows content before */
    } table[] = {
        {"req:sleep(0.5); return req:send('a/m')", 0, false},
        {"req:start('a/m'); req:start('b/m'); local a = req:wait(); return a", 2, false},
        {"local a = req:send('a/m'); req:sleep(0.5); return a", 1, true},
        {"req:start('a/m'); local a = req:wait(0.5); return req:send('b/m')", 1, false},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
        struct world *world = world_new(*state, "", table[i].handle);
        struct world_client *c = world_connect(world);
        client_ask(c, ASK_STREAM);
        WORLD_WAIT(world, world->w.exchanges && world->up.n == table[i].starts);
        if (table[i].good) {
            play_connected(scripted_at(&world->up, 0));
            play_head(scripted_at(&world->up, 0), 200, STREAM_HEAD);
            play_data(scripted_at(&world->up, 0), WORD_EVENT("one"));
            world_settle(world);
        }
        client_leave(c);
        world_turn(world);
        assert_null(world->w.exchanges);
        assert_int_equal(world->up.live, 0);
        usec from = clock_now();
        WORLD_WAIT(world, clock_now() - from > 700000); /* beyond all sleeps above */
        assert_int_equal(world->up.n, table[i].starts);
        assert_nobody_blamed(world, "a/m");
        assert_nobody_blamed(world, "b/m");
        world_free(world);
    }
}

static void leaves_the_queue(void **state) {
    /* Goal: one who leaves while it waits for a slot leaves the queue, never gets the slot, and the
     * next one does. */
    struct world *world = world_new(*state, ", max_inflight = 1", "return req:send('a/m')");
    struct world_client *c[3];
    for (size_t i = 0; i < 3; i++) {
        c[i] = world_connect(world);
        client_ask(c[i], ASK_PLAIN);
        WORLD_WAIT(world,
                   i == 0 ? world->up.n == 1 : world_slots(world, "a", 1, 256).queued == (int)i);
    }
    client_leave(c[1]);
    world_turn(world);
    assert_int_equal(world_slots(world, "a", 1, 256).queued, 1);
    assert_nobody_blamed(world, "c/m");
    play_answer(scripted_at(&world->up, 0), 200, JSON_HEAD, GOOD_BODY);
    WORLD_WAIT(world, world->up.n == 2);
    play_answer(scripted_at(&world->up, 1), 200, JSON_HEAD, GOOD_BODY);
    WORLD_WAIT(world, client_whole(c[0]) && client_whole(c[2]));
    assert_int_equal(world_slots(world, "a", 1, 256).inflight, 0);
    assert_int_equal(world_facts(world, "a/m").successes, 2);
    assert_int_equal(world_facts(world, "a/m").failures, 0);
    world_free(world);
}

static void earlier_failures_stay(void **state) {
    /* Goal: what an attempt did before the client left still counts for its own target; only the
     * one under way is nobody's fault. */
    struct world *world =
        world_new(*state, "", "req:send('a/m'); local b = req:send('b/m'); return b");
    struct world_client *c = world_connect(world);
    client_ask(c, ASK_STREAM);
    WORLD_WAIT(world, world->up.n == 1);
    play_answer(scripted_at(&world->up, 0), 500, JSON_HEAD, ERROR_BODY);
    WORLD_WAIT(world, world->up.n == 2);
    client_leave(c);
    world_turn(world);
    assert_int_equal(scripted_at(&world->up, 1)->cancels, 1);
    assert_int_equal(world_facts(world, "a/m").failures, 1);
    assert_nobody_blamed(world, "b/m");
    assert_true(strstr(world->access.data, "\"outcome\":\"server_error\"") != NULL);
    assert_gone_line(world);
    world_free(world);
}

static void leaves_with_output_waiting(void **state) {
    /* Goal: one who stopped reading and then leaves, with the provider paused: the same. */
    struct world *world = world_new(*state, "", "return req:send('a/m')");
    struct world_client *c = world_connect(world);
    reach(world, c, COMMITTED);
    struct scripted_transfer *it = scripted_at(&world->up, 0);
    for (int i = 0; i < 100000 && !it->paused; i++) {
        play_data(it, WORD_EVENT("a word and then some more words to fill what is between us"));
        if (i % 64 == 0) {
            world_settle(world);
        }
    }
    assert_true(it->paused);
    client_leave(c);
    world_turn(world);
    assert_int_equal(it->cancels, 1);
    assert_nobody_blamed(world, "a/m");
    assert_gone_line(world);
    world_free(world);
}

static void leaves_a_local_stream(void **state) {
    /* Goal: a stream that the policy writes itself ends with its client, in a sleep and while it
     * waits for room. */
    static const char *const bodies[] = {
        "out:write('data: one\\n\\n'); out:sleep(30)",
        "out:write('data: one\\n\\n'); local s = string.rep('x', 60000)\n"
        "while true do out:write(s) end",
    };
    char handle[512];
    for (size_t i = 0; i < 2; i++) {
        snprintf(handle, sizeof(handle),
                 "return req:respond { status = 200, stream = function(out) %s end }", bodies[i]);
        struct world *world = world_new(*state, "", handle);
        struct world_client *c = world_connect(world);
        client_ask(c, ASK_STREAM);
        WORLD_WAIT(world, c->got.len || recv(c->fd, (char[1]){0}, 1, MSG_PEEK | MSG_DONTWAIT) > 0);
        world_settle(world);
        assert_int_equal(world_runs(world), 1);
        client_leave(c);
        world_turn(world);
        assert_null(world->w.exchanges);
        assert_int_equal(world_runs(world), 0);
        assert_true(strstr(world->access.data, "\"end\":\"client_gone\"") != NULL);
        world_free(world);
    }
}

static void many_come_and_go(void **state) {
    /* Goal: after many requests cut at all moments in turn, one more finds the provider free. */
    struct world *world = world_new(*state, ", max_inflight = 2", "return req:send('a/m')");
    for (size_t i = 0; i < 40; i++) {
        struct world_client *c = world_connect(world);
        client_ask(c, ASK_STREAM);
        WORLD_WAIT(world, world->up.n == i + 1);
        struct scripted_transfer *it = scripted_at(&world->up, i);
        if (i % 4 > 0) {
            play_connected(it);
            play_head(it, 200, STREAM_HEAD);
        }
        if (i % 4 > 1) {
            play_data(it, WORD_EVENT("one"));
        }
        if (i % 4 > 2) {
            world_settle(world);
        }
        client_leave(c);
        world_turn(world);
        assert_false(it->live);
    }
    assert_nobody_blamed(world, "a/m");
    assert_int_equal(world_slots(world, "a", 2, 256).inflight, 0);
    world_free(world);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, folder_make, folder_remove)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(leaves_at_any_moment),          TEST(half_close_counts),
        TEST(leaves_while_the_policy_waits), TEST(leaves_the_queue),
        TEST(earlier_failures_stay),         TEST(leaves_with_output_waiting),
        TEST(leaves_a_local_stream),         TEST(many_come_and_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
