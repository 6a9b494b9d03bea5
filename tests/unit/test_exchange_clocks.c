/* SPDX-License-Identifier: MIT */
/*
 * The clocks of an attempt and of a request, with short real times: each fires, not too early, with
 * its own outcome, ends the transfer and gives its slot back. No upper bounds: a busy machine may
 * be late.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "../support/gateway_world.h"

#define SHORT                                                                                      \
    0.3 /* as written in the policies below; what comes at once is well within it, also on a busy  \
           machine */

static usec since(usec from) {
    return clock_now() - from;
}

/* How far the provider comes before it falls silent. */
enum reach { NOTHING, CONNECTED, HEAD, PLAIN_BODY, ROLE };

static void reach(struct scripted_transfer *it, enum reach how_far) {
    if (how_far >= CONNECTED) {
        play_connected(it);
    }
    if (how_far >= HEAD) {
        play_head(it, 200, how_far == PLAIN_BODY ? JSON_HEAD : STREAM_HEAD);
    }
    if (how_far >= PLAIN_BODY) {
        play_data(it, how_far == ROLE ? ROLE_EVENT ": ping\n\n" : "{\"choices\":");
    }
}

static void before_commit(void **state) {
    /* Goal: each clock that runs before the commit fires at its stage, whatever clocks of other
     * stages say, and the target is blamed. */
    static const struct {
        const char *limit; /* of the send */
        enum reach reach;
        bool stream;
        const char *outcome;
        int status;
    } table[] = {
        {"connect = 0.3, first_byte = 20, total = 20", NOTHING, false, "timeout_connect", 504},
        {"first_byte = 0.3, total = 20", CONNECTED, false, "timeout_first_byte", 504},
        {"first_token = 0.3, total = 20", NOTHING, true, "timeout_first_token", 504},
        {"first_token = 0.3, first_byte = 20", CONNECTED, true, "timeout_first_token", 504},
        {"first_token = 0.3, idle = 0.01", HEAD, true, "timeout_first_token", 504},
        {"first_token = 0.3, idle = 0.01", ROLE, true, "timeout_first_token", 504},
        {"total = 0.3", NOTHING, true, "timeout_total", 504},
        {"total = 0.3, first_byte = 20", CONNECTED, false, "timeout_total", 504},
        /* first_byte and first_token are over or not for plain answers */
        {"total = 0.3, first_byte = 0.2, first_token = 0.2", PLAIN_BODY, true, "timeout_total",
         504},
        {"total = 0.3, idle = 0.01", PLAIN_BODY, false, "timeout_total", 504},
        {"max_seconds = 0.3", PLAIN_BODY, false, "limit_exceeded", 502},
    };
    char handle[512];
    for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
        snprintf(handle, sizeof(handle), "return req:send('a/m', { %s })", table[i].limit);
        struct world *world = world_new(*state, "", handle);
        struct world_client *c = world_connect(world);
        client_ask(c, table[i].stream ? ASK_STREAM : ASK_PLAIN);
        WORLD_WAIT(world, world->up.n == 1);
        struct scripted_transfer *it = scripted_at(&world->up, 0);
        reach(it, table[i].reach);
        WORLD_WAIT(world, client_whole(c));
        struct world_answer a = client_answer(c);
        if (a.status != table[i].status || !str_has(a.head, table[i].outcome)) {
            fail_msg("row %zu: %.*s", i, (int)a.head.n, a.head.p);
        }
        assert_true(str_has(buf_str(&a.body), table[i].outcome));
        assert_true(str_has(a.head, "x-should-retry: false"));
        buf_release(&a.body);
        assert_int_equal(it->cancels, 1);
        assert_true(it->ended - it->started >= usec_from_seconds(SHORT) - 2000);
        assert_int_equal(world_facts(world, "a/m").failures, 1);
        world_free(world);
    }
}

static void provider_limits_count_too(void **state) {
    /* Goal: of the provider's limit and the policy's the shorter one counts, whichever it is. */
    static const struct {
        const char *provider, *send;
    } table[] = {
        {", first_byte_timeout = 0.3", "first_byte = 20"},
        {", first_byte_timeout = 20", "first_byte = 0.3"},
        {", first_byte_timeout = 0.3", ""},
    };
    char handle[256];
    for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
        snprintf(handle, sizeof(handle), "return req:send('a/m', { %s })", table[i].send);
        struct world *world = world_new(*state, table[i].provider, handle);
        struct world_client *c = world_connect(world);
        client_ask(c, ASK_PLAIN);
        WORLD_WAIT(world, world->up.n == 1);
        play_connected(scripted_at(&world->up, 0));
        WORLD_WAIT(world, client_has(c, "a/m=timeout_first_byte:0:"));
        world_free(world);
    }
}

static void content_stops_the_clocks(void **state) {
    /* Goal: once committed, the clocks of the time before are off: a stream may take longer than
     * first_token, first_byte and total allow. */
    struct world *world = world_new(
        *state, "", "return req:send('a/m', { first_byte = 0.3, first_token = 0.3, total = 0.3 })");
    struct world_client *c = world_connect(world);
    client_ask(c, ASK_STREAM);
    WORLD_WAIT(world, world->up.n == 1);
    struct scripted_transfer *it = scripted_at(&world->up, 0);
    reach(it, ROLE);
    play_data(it, WORD_EVENT("one"));
    WORLD_WAIT(world, since(it->started) > 500000);
    assert_true(it->live);
    play_data(it, FINISH_EVENT DONE_EVENT);
    play_done(it, OUTCOME_OK);
    WORLD_WAIT(world, client_whole(c));
    world_free(world);
}

static void idle_runs_on_content_only(void **state) {
    /* Goal: after commit, comments and empty deltas do not keep a stream alive, content does. What
     * the client sees is an error event and no last chunk. */
    struct world *world = world_new(*state, "", "return req:send('a/m', { idle = 0.5 })");
    struct world_client *c = world_connect(world);
    client_ask(c, ASK_STREAM);
    WORLD_WAIT(world, world->up.n == 1);
    struct scripted_transfer *it = scripted_at(&world->up, 0);
    reach(it, ROLE);
    play_data(it, WORD_EVENT("one"));
    WORLD_WAIT(world, client_has(c, "one"));
    usec content = clock_now(), pinged = content;
    play_data(it, WORD_EVENT("two"));
    while (it->live) {
        if (since(pinged) > 10000) {
            play_data(it, ": ping\n\n" ROLE_EVENT);
            pinged = clock_now();
        }
        assert_true(since(content) < WORLD_DEADLINE);
        world_pump(world);
    }
    assert_true(it->ended - content >= 500000 - 2000);
    WORLD_WAIT(world, (client_read(c), c->eof));
    assert_false(client_whole(c));
    assert_true(client_has(c, "\"code\":\"timeout_idle\""));
    assert_int_equal(world_facts(world, "a/m").failures, 1);
    assert_true(strstr(world->access.data, "\"end\":\"upstream_cut\"") != NULL);
    world_free(world);
}

static void content_keeps_a_stream_alive(void **state) {
    /* Goal: a stream that brings content in time lives on far beyond one idle time. */
    struct world *world = world_new(*state, "", "return req:send('a/m', { idle = 2 })");
    struct world_client *c = world_connect(world);
    client_ask(c, ASK_STREAM);
    WORLD_WAIT(world, world->up.n == 1);
    struct scripted_transfer *it = scripted_at(&world->up, 0);
    reach(it, ROLE);
    play_data(it, WORD_EVENT("one"));
    usec last = clock_now();
    while (since(it->started) < 2500000 && it->live) {
        if (since(last) > 50000) {
            play_data(it, WORD_EVENT("more"));
            last = clock_now();
        }
        world_pump(world);
    }
    assert_true(it->live);
    play_data(it, DONE_EVENT);
    play_done(it, OUTCOME_OK);
    WORLD_WAIT(world, client_whole(c));
    world_free(world);
}

static void idle_waits_for_a_slow_client(void **state) {
    /* Goal: while a client does not read, the provider is held back and is not to blame for the
     * silence. */
    struct world *world = world_new(*state, "", "return req:send('a/m', { idle = 0.5 })");
    struct world_client *c = world_connect(world);
    struct buf event;
    client_ask(c, ASK_STREAM);
    WORLD_WAIT(world, world->up.n == 1);
    struct scripted_transfer *it = scripted_at(&world->up, 0);
    buf_init(&event, MIB(1));
    assert_int_equal(buf_adds(&event, "data: {\"choices\":[{\"delta\":{\"content\":\""), BUF_OK);
    for (int i = 0; i < 60000; i++) {
        assert_int_equal(buf_addc(&event, 'w'), BUF_OK);
    }
    assert_int_equal(buf_adds(&event, "\"}}]}\n\n"), BUF_OK);
    reach(it, HEAD);
    for (size_t sent = 0; sent < MIB(8) && (sent == 0 || !it->paused); sent += event.len) {
        play_bytes(it, event.data, event.len);
        world_settle(world);
    }
    assert_true(it->paused);
    usec from = clock_now();
    WORLD_WAIT(world, since(from) > 800000);
    assert_true(it->live);
    WORLD_WAIT(world, (client_read(c), !it->paused));
    play_data(it, DONE_EVENT);
    play_done(it, OUTCOME_OK);
    WORLD_WAIT(world, client_whole(c));
    buf_release(&event);
    world_free(world);
}

static void limits_of_an_answer(void **state) {
    /* Goal: max_bytes and max_seconds hold for the relayed part too, and the log says `limit`. */
    static const char *const limits[] = {"max_seconds = 0.5", "max_bytes = 400"};
    char handle[128];
    for (size_t i = 0; i < 2; i++) {
        snprintf(handle, sizeof(handle), "return req:send('a/m', { %s })", limits[i]);
        struct world *world = world_new(*state, "", handle);
        struct world_client *c = world_connect(world);
        client_ask(c, ASK_STREAM);
        WORLD_WAIT(world, world->up.n == 1);
        struct scripted_transfer *it = scripted_at(&world->up, 0);
        reach(it, ROLE);
        play_data(it, WORD_EVENT("one"));
        WORLD_WAIT(world, client_has(c, "one"));
        for (int n = 0; n < 8 && it->live && i == 1; n++) {
            play_data(it, WORD_EVENT("more"));
        }
        WORLD_WAIT(world, !it->live);
        assert_true(i == 1 || it->ended - it->started >= 500000 - 2000);
        WORLD_WAIT(world, (client_read(c), c->eof));
        assert_false(client_whole(c));
        assert_true(client_has(c, "limit_exceeded"));
        assert_true(strstr(world->access.data, "\"end\":\"limit\"") != NULL);
        world_free(world);
    }
}

static void deadline_caps_everything(void **state) {
    /* Goal: the request's deadline ends attempts and sleeps alike; afterwards no attempt starts. */
    static const struct {
        const char *handle;
        size_t starts;
        const char *said;
    } table[] = {
        {"req:deadline(0.3); return req:send('a/m', { total = 20 })", 1, "timeout_total"},
        {"req:deadline(0.3); req:send('a/m'); return req:send('b/m')", 1, "timeout_total"},
        {"req:deadline(0.3); req:sleep(20); return req:send('a/m')", 0, "timeout_total"},
        {"req:deadline(0.3); req:start('a/m'); local a = req:wait(20)\n"
         "return a or req:fail(504, 'x', 'x')",
         1, ""},
        {"req:deadline(0.3); req:sleep(20); return req:respond { body = 'late' }", 0,
         "deadline_exceeded"},
        {"req:deadline(0.3); req:sleep(20)\n"
         "return req:respond { stream = function(out) out:write('late') end }",
         0, "deadline_exceeded"},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
        struct world *world = world_new(*state, "", table[i].handle);
        struct world_client *c = world_connect(world);
        usec from = clock_now();
        client_ask(c, ASK_PLAIN);
        WORLD_WAIT(world, client_whole(c));
        assert_true(since(from) >= usec_from_seconds(SHORT) - 2000);
        struct world_answer a = client_answer(c);
        if (a.status != 504 || world->up.n != table[i].starts ||
            !str_has(buf_str(&a.body), table[i].said)) {
            fail_msg("row %zu: %d, %zu starts: %s", i, a.status, world->up.n, a.body.data);
        }
        buf_release(&a.body);
        world_free(world);
    }
}

/* ---- admission ---- */

#define NARROW ", max_inflight = 1, queue = 1, queue_timeout = 0.3"

static void queue_time(void **state) {
    /* Goal: one in flight, one waits for its time and gets a 503 with Retry-After, one more is
     * refused at once; the target is blamed for neither. */
    struct world *world = world_new(*state, NARROW, "return req:send('a/m')");
    struct world_client *first = world_connect(world), *second = world_connect(world);
    struct world_client *third = world_connect(world);
    client_ask(first, ASK_PLAIN);
    WORLD_WAIT(world, world->up.n == 1);
    usec from = clock_now();
    client_ask(second, ASK_PLAIN);
    WORLD_WAIT(world, world_slots(world, "a", 1, 1).queued == 1);
    client_ask(third, ASK_PLAIN);
    WORLD_WAIT(world, client_whole(third));
    WORLD_WAIT(world, client_whole(second));
    assert_true(since(from) >= usec_from_seconds(SHORT) - 2000);
    assert_int_equal(world->up.n, 1);
    struct world_client *refused[] = {second, third};
    for (size_t i = 0; i < 2; i++) {
        assert_true(client_has(refused[i], "HTTP/1.1 503"));
        assert_true(client_has(refused[i], "queue_full"));
        assert_true(client_has(refused[i], "retry-after: 1\r\n"));
    }
    assert_int_equal(world_slots(world, "a", 1, 1).queued, 0);
    assert_int_equal(world_slots(world, "a", 1, 1).inflight, 1);
    assert_int_equal(world_facts(world, "a/m").failures, 0);
    play_answer(scripted_at(&world->up, 0), 200, JSON_HEAD, GOOD_BODY);
    WORLD_WAIT(world, client_whole(first));
    world_free(world);
}

static void slot_is_handed_on(void **state) {
    /* Goal: who waits gets the slot of the one before, in order, and only then is sent. */
    struct world *world = world_new(*state, ", max_inflight = 1, queue = 8, queue_timeout = 20",
                                    "return req:send('a/m')");
    struct world_client *c[4];
    for (size_t i = 0; i < 4; i++) {
        c[i] = world_connect(world);
        client_ask(c[i], ASK_PLAIN);
        WORLD_WAIT(world,
                   i == 0 ? world->up.n == 1 : world_slots(world, "a", 1, 8).queued == (int)i);
    }
    for (size_t i = 0; i < 4; i++) {
        WORLD_WAIT(world, world->up.n == i + 1);
        world_settle(world);
        assert_int_equal(world->up.n, i + 1);
        assert_int_equal(world->up.live, 1);
        play_answer(scripted_at(&world->up, i), i % 2 ? 200 : 500, JSON_HEAD,
                    i % 2 ? GOOD_BODY : ERROR_BODY);
        WORLD_WAIT(world, client_whole(c[i]));
    }
    assert_int_equal(world_slots(world, "a", 1, 8).inflight, 0);
    world_free(world);
}

static void slot_granted_to_one_who_left(void **state) {
    /* Goal: a slot granted in the very turn in which its waiter leaves goes on to the next. */
    struct world *world = world_new(*state, ", max_inflight = 1, queue = 8, queue_timeout = 20",
                                    "return req:send('a/m')");
    struct world_client *first = world_connect(world), *gone = world_connect(world);
    struct world_client *next = world_connect(world);
    client_ask(first, ASK_PLAIN);
    WORLD_WAIT(world, world->up.n == 1);
    client_ask(gone, ASK_PLAIN);
    WORLD_WAIT(world, world_slots(world, "a", 1, 8).queued == 1);
    client_ask(next, ASK_PLAIN);
    WORLD_WAIT(world, world_slots(world, "a", 1, 8).queued == 2);
    struct exchange *x = world->w.exchanges->next; /* newest first: next, gone, first */
    play_answer(scripted_at(&world->up, 0), 200, JSON_HEAD, GOOD_BODY); /* grants by mail */
    assert_int_equal(world_slots(world, "a", 1, 8).queued, 1);
    assert_int_equal(world->up.n, 1);
    assert_ptr_equal(x->conn, gone->conn);
    exchange_kill(x); /* before the mail is read */
    WORLD_WAIT(world, world->up.n == 2);
    play_answer(scripted_at(&world->up, 1), 200, JSON_HEAD, GOOD_BODY);
    WORLD_WAIT(world, client_whole(next) && client_whole(first) && client_whole(gone));
    assert_true(client_has(next, "HTTP/1.1 200"));
    assert_true(client_has(gone, "HTTP/1.1 503"));
    assert_int_equal(world_slots(world, "a", 1, 8).inflight, 0);
    world_free(world);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, folder_make, folder_remove)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(before_commit),
        TEST(provider_limits_count_too),
        TEST(content_stops_the_clocks),
        TEST(idle_runs_on_content_only),
        TEST(content_keeps_a_stream_alive),
        TEST(idle_waits_for_a_slow_client),
        TEST(limits_of_an_answer),
        TEST(deadline_caps_everything),
        TEST(queue_time),
        TEST(slot_is_handed_on),
        TEST(slot_granted_to_one_who_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
