/* SPDX-License-Identifier: MIT */
/*
 * One request's life on a worker's loop: a real policy decides, a real client connection reads, the
 * providers are played. What was asked for is counted, and what is left over fails the test.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "../support/gateway_world.h"

/* ---- attempts ---- */

struct asked {
    const char *handle;
    const char *plays; /* one letter per start: see play_letter */
    size_t starts;
    int status;
};

/* g: a good answer; e: a 500; l: a 429; x: no connection; b: closed without a byte */
static void play_letter(struct scripted_transfer *it, char letter) {
    switch (letter) {
    case 'g':
        play_answer(it, 200, JSON_HEAD, GOOD_BODY);
        break;
    case 'e':
        play_answer(it, 500, JSON_HEAD, ERROR_BODY);
        break;
    case 'l':
        play_answer(it, 429, JSON_HEAD, ERROR_BODY);
        break;
    case 'x':
        play_done(it, OUTCOME_CONNECT_ERROR);
        break;
    default:
        play_connected(it);
        play_done(it, OUTCOME_EMPTY_RESPONSE);
    }
}

static void run_asked(struct folder *folder, const struct asked *asked) {
    struct world *world = world_new(folder, "", asked->handle);
    struct world_client *c = world_connect(world);
    client_ask(c, ASK_PLAIN);
    size_t played = 0, letters = strlen(asked->plays);
    usec until = clock_now() + WORLD_DEADLINE;
    while (!client_whole(c) && clock_now() < until) {
        world_pump(world);
        for (; played < world->up.n; played++) {
            play_letter(scripted_at(&world->up, played),
                        asked->plays[played < letters ? played : letters - 1]);
        }
    }
    struct world_answer a = client_answer(c);
    if (a.status != asked->status || world->up.n != asked->starts) {
        fail_msg("%s: %zu starts and %d, expected %zu and %d; log: %s", asked->handle, world->up.n,
                 a.status, asked->starts, asked->status, world->log.data);
    }
    buf_release(&a.body);
    world_free(world);
}

static void attempts_made_are_attempts_asked_for(void **state) {
    /* Goal: a transfer is started for each send of the policy and for nothing else. The default
     * plan tries each target once, and only when the policy made no attempt. */
    static const struct asked table[] = {
        {"return req:send('a/m')", "g", 1, 200},
        {"return req:send('a/m')", "e", 1, 500},
        {"return req:send('a/m')", "l", 1, 429},
        {"return req:send('a/m')", "x", 1, 502},
        {"return req:send('a/m')", "b", 1, 502},
        {"local a = req:send('a/m'); if a.ok then return a end; return req:send('b/m')", "eg", 2,
         200},
        {"local a; for _, t in ipairs(settings.targets) do a = req:send(t)\n"
         "if a.ok then break end end; return a",
         "xeg", 3, 200},
        {"local a; for i = 1, 5 do a = req:send('a/m') end; return a", "e", 5, 500},
        {"return req:respond { status = 201, body = 'x' }", "g", 0, 201},
        {"req:send('a/m'); return req:respond { status = 201, body = 'x' }", "e", 1, 201},
        {"error('none')", "g", 1, 200},   /* the plan */
        {"error('none')", "eeg", 3, 200}, /* the plan goes on */
        {"error('none')", "e", 3, 500},   /* to its end */
        {"req:send('a/m'); error('after')", "g", 1, 200},
        {"req:send('a/m'); error('after')", "e", 1, 500},
        {"req:send('a/m'); error('after')", "x", 1, 500}, /* in vain: no plan */
        {"return 7", "g", 1, 200},
        {"local a = req:send('nobody/m'); return a", "g", 1, 200}, /* a fault: the plan */
        {"moongate.suspend('a/m', 60, 'test'); local a = req:send('a/m')\n"
         "assert(a.outcome == 'suspended'); return req:send('b/m')",
         "g", 1, 200},
        {"moongate.suspend('a/m', 60, 'test'); return req:send('a/m')", "g", 0, 503},
        {"moongate.suspend('a/m', 60, 'test'); return req:send('a/m', { force = true })", "g", 1,
         200},
        {"while true do req:send('a/m') end", "e", MAX_ATTEMPTS, 500}, /* the hard cap */
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
        run_asked(*state, &table[i]);
    }
}

static void stock_policy_moves_on(void **state) {
    /* Goal: the shipped failover policy over the same rig: one target after the other, each once,
     * with the provider's own credentials and the target's model in place of what was asked. */
    struct world *world = world_new(*state, "", "return req:send('c/m')");
    struct diags diags;
    diags_init(&diags);
    world_write_config(world, "", "failover");
    assert_int_equal(loader_reload(&world->loader, NULL, &diags), LOAD_APPLIED);
    diags_release(&diags);
    struct world_client *c = world_connect(world);
    client_send(c, "/v1/chat/completions", "authorization: Bearer sk-client\r\n", ASK_PLAIN);
    WORLD_WAIT(world, world->up.n == 1);
    play_letter(scripted_at(&world->up, 0), 'e');
    WORLD_WAIT(world, world->up.n == 2);
    struct scripted_transfer *second = scripted_at(&world->up, 1);
    struct str value;
    assert_string_equal(scripted_at(&world->up, 0)->url, "http://a.test/v1/chat/completions");
    assert_string_equal(second->url, "http://b.test/v1/chat/completions");
    assert_string_equal(second->method, "POST");
    assert_string_equal(second->body.data, "{\"model\":\"m\",\"messages\":[]}");
    assert_int_equal(headers_count(&second->headers, "authorization"), 1);
    assert_true(headers_get(&second->headers, "authorization", &value));
    assert_true(str_is(value, "Bearer sk-bbbbbb"));
    assert_true(headers_get(&second->headers, "x-moongate-attempt", &value));
    assert_true(str_is(value, "1"));
    play_letter(second, 'g');
    WORLD_WAIT(world, client_whole(c));
    struct world_answer a = client_answer(c);
    assert_int_equal(a.status, 200);
    assert_string_equal(a.body.data, GOOD_BODY);
    assert_true(str_has(a.head, "a/m=server_error:500:"));
    assert_true(str_has(a.head, ",b/m=ok:200:"));
    buf_release(&a.body);
    assert_int_equal(world_facts(world, "a/m").failures, 1);
    assert_int_equal(world_facts(world, "b/m").successes, 1);
    world_free(world);
}

static void race_cancels_the_loser(void **state) {
    /* Goal: of two attempts at once the first with content wins; the other is cancelled in the same
     * turn and blamed for nothing. */
    struct world *world =
        world_new(*state, "", "req:start('a/m'); req:start('b/m'); local a = req:wait(); return a");
    struct world_client *c = world_connect(world);
    client_ask(c, ASK_STREAM);
    WORLD_WAIT(world, world->up.n == 2);
    struct scripted_transfer *slow = scripted_at(&world->up, 0);
    struct scripted_transfer *fast = scripted_at(&world->up, 1);
    play_connected(slow);
    play_connected(fast);
    play_head(slow, 200, STREAM_HEAD);
    play_data(slow, ROLE_EVENT);
    play_head(fast, 200, STREAM_HEAD);
    play_data(fast, WORD_EVENT("fast"));
    assert_true(fast->paused); /* until the policy has decided */
    world_turn(world);
    assert_int_equal(slow->cancels, 1);
    assert_false(fast->paused);
    assert_true(fast->live);
    play_data(fast, FINISH_EVENT DONE_EVENT);
    play_done(fast, OUTCOME_OK);
    WORLD_WAIT(world, client_whole(c));
    assert_false(client_has(c, "assistant"));
    assert_int_equal(world_facts(world, "a/m").failures, 0);
    assert_int_equal(world_facts(world, "a/m").successes, 0);
    assert_int_equal(world_facts(world, "b/m").successes, 1);
    world_free(world);
}

static void transfer_that_cannot_start(void **state) {
    /* Goal: an attempt that the transport cannot even start is a failure like others, on the spot.
     */
    struct world *world =
        world_new(*state, "", "local a = req:send('a/m'); return req:respond { body = a.outcome }");
    world->up.refuse = true;
    struct world_client *c = world_connect(world);
    client_ask(c, ASK_PLAIN);
    WORLD_WAIT(world, client_whole(c));
    assert_true(client_has(c, "connect_error"));
    world_free(world);
}

/* ---- relay ---- */

#define SEND "return req:send('a/m')"

/* A client whose stream has shown its first word. */
static struct world_client *relaying(struct world *world, size_t nth) {
    struct world_client *c = world_connect(world);
    client_ask(c, ASK_STREAM);
    WORLD_WAIT(world, world->up.n == nth + 1);
    struct scripted_transfer *it = scripted_at(&world->up, nth);
    play_connected(it);
    play_head(it, 200, STREAM_HEAD "x-other: kept\n");
    play_data(it, ROLE_EVENT);
    world_settle(world);
    assert_int_equal(c->got.len, 0);
    client_read(c);
    assert_int_equal(c->got.len, 0); /* nothing before the commit */
    play_data(it, WORD_EVENT("one"));
    WORLD_WAIT(world, client_has(c, "one"));
    return c;
}

static void assert_body(struct world_client *c, const char *expected, bool whole) {
    struct world_answer a = client_answer(c);
    assert_string_equal(a.body.data, expected);
    assert_int_equal(a.whole, whole);
    buf_release(&a.body);
}

#define WORLD_HAS_LINE(world, text) (strstr((world)->access.data, text) != NULL)

static void whole_events_only(void **state) {
    /* Goal: what a provider sends in any portions reaches the client as whole events, byte for
     * byte, the held ones first; the head is the provider's. */
    static const char SECOND[] = ": ping\r\n\r\nevent: x\r" WORD_EVENT("two");
    struct world *world = world_new(*state, "", SEND);
    struct world_client *c = relaying(world, 0);
    struct scripted_transfer *it = scripted_at(&world->up, 0);
    assert_true(client_has(c, "x-other: kept"));
    assert_body(c, ROLE_EVENT WORD_EVENT("one"), false);
    size_t comment = strlen(": ping\r\n\r\n");
    play_bytes(it, SECOND, comment);
    for (size_t i = comment; i < sizeof(SECOND) - 2; i++) {
        play_bytes(it, SECOND + i, 1);
        world_settle(world);
        assert_body(c, ROLE_EVENT WORD_EVENT("one") ": ping\r\n\r\n", false);
    }
    play_data(it, "\n" FINISH_EVENT "data: [DO");
    world_settle(world);
    char expected[1024];
    snprintf(expected, sizeof(expected), "%s%s%s", ROLE_EVENT WORD_EVENT("one"), SECOND,
             FINISH_EVENT);
    assert_body(c, expected, false);
    play_data(it, "NE]\n\n");
    play_done(it, OUTCOME_OK);
    WORLD_WAIT(world, client_whole(c));
    strcat(expected, DONE_EVENT);
    assert_body(c, expected, true);
    assert_true(WORLD_HAS_LINE(world, "\"end\":\"complete\""));
    assert_int_equal(world_facts(world, "a/m").successes, 1);
    world_free(world);
}

static void broken_streams(void **state) {
    /* Goal: however a stream ends without its end, the client sees an error event and no last
     * chunk, the half event is kept back, and the target is blamed. */
    static const struct {
        const char *more;
        enum outcome outcome;
        const char *code;
    } table[] = {
        {NULL, OUTCOME_STREAM_BROKEN, "stream_broken"},
        {"data: {\"half\":", OUTCOME_STREAM_BROKEN, "stream_broken"},
        {WORD_EVENT("two"), OUTCOME_OK, "stream_broken"}, /* a clean end without end marker */
        {"data: {\"half\":", OUTCOME_OK, "stream_broken"},
        {NULL, OUTCOME_INVALID_RESPONSE, "invalid_response"},
    };
    struct world *world = world_new(*state, "", SEND);
    for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
        struct world_client *c = relaying(world, i);
        struct scripted_transfer *it = scripted_at(&world->up, i);
        if (table[i].more) {
            play_data(it, table[i].more);
        }
        play_done(it, table[i].outcome);
        WORLD_WAIT(world, (client_read(c), c->eof));
        struct world_answer a = client_answer(c);
        assert_false(a.whole);
        assert_false(str_has(buf_str(&a.body), "half"));
        assert_false(str_has(buf_str(&a.body), "[DONE]"));
        assert_true(str_has(buf_str(&a.body), "data: {\"error\":{"));
        assert_true(str_has(buf_str(&a.body), table[i].code));
        assert_true(str_ends(buf_str(&a.body), "\n\n"));
        buf_release(&a.body);
        assert_int_equal(world_facts(world, "a/m").failures, i + 1);
        assert_int_equal(world_facts(world, "a/m").successes, 0);
    }
    assert_true(WORLD_HAS_LINE(world, "\"end\":\"upstream_cut\""));
    assert_false(WORLD_HAS_LINE(world, "\"end\":\"complete\""));
    world_free(world);
}

static void finish_reason_is_an_end(void **state) {
    /* Goal: a stream that has shown its finish reason is complete, whatever the connection does
     * then; nothing is appended. */
    struct world *world = world_new(*state, "", SEND);
    struct world_client *c = relaying(world, 0);
    play_data(scripted_at(&world->up, 0), FINISH_EVENT);
    play_done(scripted_at(&world->up, 0), OUTCOME_STREAM_BROKEN);
    WORLD_WAIT(world, client_whole(c));
    assert_body(c, ROLE_EVENT WORD_EVENT("one") FINISH_EVENT, true);
    assert_true(WORLD_HAS_LINE(world, "\"end\":\"complete\""));
    world_free(world);
}

static void provider_error_after_content(void **state) {
    /* Goal: an error event after content is passed on in the provider's words, once, and the answer
     * is cut there. */
    static const char ERROR[] =
        "data: {\"error\":{\"message\":\"mid\",\"type\":\"server_error\"}}\n\n";
    struct world *world = world_new(*state, "", SEND);
    struct world_client *c = relaying(world, 0);
    struct scripted_transfer *it = scripted_at(&world->up, 0);
    char both[512];
    snprintf(both, sizeof(both), "%s%s", ERROR, WORD_EVENT("never") DONE_EVENT);
    play_data(it, both);
    assert_int_equal(it->cancels, 1);
    WORLD_WAIT(world, (client_read(c), c->eof));
    snprintf(both, sizeof(both), "%s%s", ROLE_EVENT WORD_EVENT("one"), ERROR);
    assert_body(c, both, false);
    assert_true(WORLD_HAS_LINE(world, "\"outcome\":\"error_event\""));
    assert_int_equal(world_facts(world, "a/m").failures, 1);
    world_free(world);
}

static void nothing_after_the_end_marker(void **state) {
    /* Goal: what a provider says after its end marker reaches nobody, in the same portion or later;
     * the answer is complete at once, and the transfer runs out by itself. */
    struct world *world = world_new(*state, "", SEND);
    struct world_client *c = relaying(world, 0);
    struct scripted_transfer *it = scripted_at(&world->up, 0);
    play_data(it, FINISH_EVENT DONE_EVENT WORD_EVENT("late"));
    assert_null(world->w.exchanges);
    assert_int_equal(world_facts(world, "a/m").inflight, 0);
    assert_true(it->live);
    assert_int_equal(it->cancels, 0);
    play_data(it, WORD_EVENT("later"));
    WORLD_WAIT(world, client_whole(c));
    assert_body(c, ROLE_EVENT WORD_EVENT("one") FINISH_EVENT DONE_EVENT, true);
    play_done(it, OUTCOME_OK);
    assert_null(world->w.leftovers);
    assert_int_equal(world_slots(world, "a", 1024, 256).inflight, 0);
    world_free(world);
}

static void body_still_being_sent(void **state) {
    /* Goal: a provider may answer to the end before it has read the whole request. What the
     * transport may still send must outlive the exchange, or the transfer must end with it. */
    struct world *world = world_new(*state, "", SEND);
    relaying(world, 0);
    struct scripted_transfer *it = scripted_at(&world->up, 0);
    it->sent = SENT_PARTIAL;
    play_data(it, FINISH_EVENT DONE_EVENT);
    assert_null(world->w.exchanges);
    if (it->live) {
        scripted_check_body(it);
        play_done(it, OUTCOME_OK);
    }
    world_free(world);
}

static void endless_after_the_end_marker(void **state) {
    /* Goal: one that goes on and on after its end marker is cancelled, by bytes or by time. */
    static char block[4096];
    memset(block, 'x', sizeof(block));
    struct world *world = world_new(*state, "", SEND);
    relaying(world, 0);
    struct scripted_transfer *it = scripted_at(&world->up, 0);
    play_data(it, DONE_EVENT);
    for (size_t n = 0; n <= MAX_DRAIN_BYTES && it->live; n += sizeof(block)) {
        play_bytes(it, block, sizeof(block));
    }
    assert_int_equal(it->cancels, 1);
    relaying(world, 1);
    it = scripted_at(&world->up, 1);
    play_data(it, DONE_EVENT);
    usec from = clock_now();
    WORLD_WAIT(world, !it->live);
    assert_true(it->ended - from >= MAX_DRAIN_TIME / 2);
    assert_int_equal(it->cancels, 1);
    world_free(world);
}

static void end_marker_with_carriage_returns(void **state) {
    /* Goal: when the marker's last CR ends a portion, the LF that belongs to it still goes out, and
     * nothing else does. */
    static const char *const more[] = {"\n" WORD_EVENT("late"), WORD_EVENT("late"), NULL};
    struct world *world = world_new(*state, "", SEND);
    for (size_t i = 0; i < 3; i++) {
        struct world_client *c = relaying(world, i);
        struct scripted_transfer *it = scripted_at(&world->up, i);
        play_data(it, "data: [DONE]\r\n\r");
        if (more[i]) {
            play_data(it, more[i]);
        }
        play_done(it, OUTCOME_OK);
        WORLD_WAIT(world, client_whole(c));
        assert_body(c,
                    i ? ROLE_EVENT WORD_EVENT("one") "data: [DONE]\r\n\r"
                      : ROLE_EVENT WORD_EVENT("one") "data: [DONE]\r\n\r\n",
                    true);
    }
    world_free(world);
}

static void end_marker_before_the_commit(void **state) {
    /* Goal: the same when the end marker is among what the gate held: nothing after it is passed
     * on, and the client need not wait for the provider to hang up. */
    static const struct {
        const char *path, *stream;
    } table[] = {
        {"/v1/chat/completions", "data: {\"choices\":[{\"index\":0,\"delta\":{},"
                                 "\"finish_reason\":\"length\"}]}\n\n" DONE_EVENT},
        {"/v1/responses", "event: response.incomplete\ndata: {\"type\":\"response.incomplete\","
                          "\"response\":{\"incomplete_details\":{\"reason\":"
                          "\"max_output_tokens\"}}}\n\n"},
        {"/v1/images/generations", "data: {\"type\":\"image_generation.completed\","
                                   "\"b64_json\":\"aaaa\"}\n\n"},
        {"/v1/chat/completions", WORD_EVENT("one") FINISH_EVENT DONE_EVENT},
    };
    struct world *world = world_new(*state, "", SEND);
    for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
        char all[1024];
        struct world_client *c = world_connect(world);
        client_send(c, table[i].path, "", ASK_STREAM);
        WORLD_WAIT(world, world->up.n == i + 1);
        struct scripted_transfer *it = scripted_at(&world->up, i);
        snprintf(all, sizeof(all), "%s%s", table[i].stream, WORD_EVENT("late"));
        play_connected(it);
        play_head(it, 200, STREAM_HEAD);
        play_data(it, all);
        world_settle(world);
        assert_body(c, table[i].stream, true);
        play_done(it, OUTCOME_OK);
    }
    world_free(world);
}

static void slow_readers_pause_the_transfer(void **state) {
    /* Goal: a client that does not read pauses the provider, one that reads again resumes it; no
     * byte is lost, and the memory for it stays bounded. */
    struct world *world = world_new(*state, "", SEND);
    struct world_client *c = relaying(world, 0);
    struct scripted_transfer *it = scripted_at(&world->up, 0);
    struct buf event;
    size_t sent = 0;
    buf_init(&event, MIB(1));
    assert_int_equal(buf_adds(&event, "data: {\"choices\":[{\"delta\":{\"content\":\""), BUF_OK);
    for (int i = 0; i < 8192; i++) {
        assert_int_equal(buf_addc(&event, 'w'), BUF_OK);
    }
    assert_int_equal(buf_adds(&event, "\"}}]}\n\n"), BUF_OK);
    client_read(c);
    int pauses = it->pauses, resumes = it->resumes;
    while (!it->paused && sent < MIB(8)) {
        play_bytes(it, event.data, event.len);
        sent += event.len;
        world_settle(world);
    }
    assert_true(sent < MIB(8));
    assert_int_equal(it->pauses, pauses + 1);
    play_bytes(it, event.data, event.len); /* one more read may come after a pause */
    sent += event.len;
    world_settle(world);
    assert_int_equal(it->pauses, pauses + 1);
    assert_int_equal(it->resumes, resumes);
    WORLD_WAIT(world, (client_read(c), !it->paused));
    assert_int_equal(it->resumes, resumes + 1);
    play_data(it, DONE_EVENT);
    play_done(it, OUTCOME_OK);
    WORLD_WAIT(world, client_whole(c));
    struct world_answer a = client_answer(c);
    assert_int_equal(a.body.len, strlen(ROLE_EVENT WORD_EVENT("one") DONE_EVENT) + sent);
    buf_release(&a.body);
    buf_release(&event);
    world_free(world);
}

static void large_plain_answers_stream_on(void **state) {
    /* Goal: a plain answer beyond 1 MiB commits and goes on; cut, it is short of its length. */
    static char block[65536];
    memset(block, 'z', sizeof(block));
    struct world *world = world_new(*state, "", SEND);
    for (size_t i = 0; i < 2; i++) {
        struct world_client *c = world_connect(world);
        client_send(c, "/v1/files/content", "", ASK_PLAIN);
        WORLD_WAIT(world, world->up.n == i + 1);
        struct scripted_transfer *it = scripted_at(&world->up, i);
        play_connected(it);
        play_head(it, 200, "content-type: application/octet-stream\ncontent-length: 2097152\n");
        for (size_t n = 0; n < MIB(2) - (i ? sizeof(block) : 0); n += sizeof(block)) {
            WORLD_WAIT(world, (client_read(c), !it->paused));
            play_bytes(it, block, sizeof(block));
            world_settle(world);
        }
        play_done(it, i ? OUTCOME_STREAM_BROKEN : OUTCOME_OK);
        WORLD_WAIT(world, (client_read(c), c->eof) || client_whole(c));
        struct world_answer a = client_answer(c);
        assert_int_equal(a.status, 200);
        assert_int_equal(a.body.len, MIB(2) - (i ? sizeof(block) : 0));
        assert_int_equal(a.whole, i == 0);
        buf_release(&a.body);
    }
    assert_int_equal(world_facts(world, "a/m").failures, 1);
    assert_int_equal(world_facts(world, "a/m").successes, 1);
    world_free(world);
}

static void good_answers_wait_for_the_policy(void **state) {
    /* Goal: what comes while the policy thinks is kept, and the end of the transfer too. */
    struct world *world =
        world_new(*state, "", "local a = req:send('a/m'); req:sleep(0.05); return a");
    struct world_client *c = world_connect(world);
    client_ask(c, ASK_STREAM);
    WORLD_WAIT(world, world->up.n == 1);
    struct scripted_transfer *it = scripted_at(&world->up, 0);
    play_connected(it);
    play_head(it, 200, STREAM_HEAD);
    play_data(it, WORD_EVENT("one"));
    assert_true(it->paused);
    play_data(it, WORD_EVENT("two"));
    play_data(it, DONE_EVENT);
    play_done(it, OUTCOME_OK);
    assert_int_equal(c->got.len, 0);
    WORLD_WAIT(world, client_whole(c));
    assert_body(c, WORD_EVENT("one") WORD_EVENT("two") DONE_EVENT, true);
    world_free(world);
}

/* ---- generations ---- */

static void reload_in_flight(void **state) {
    /* Goal: a request keeps the policy it began with, attempts of its own included; the next one
     * has the new policy; the old generation's state goes with its last request. */
    struct world *world = world_new(*state, "",
                                    "local a = req:send('a/m'); if a.ok then return a end\n"
                                    "return req:send('b/m')");
    struct generation *old = generation_ref(worker_generation(&world->w));
    struct diags diags;
    struct lane_stats stats;
    struct world_client *before = world_connect(world);
    client_ask(before, ASK_PLAIN);
    WORLD_WAIT(world, world->up.n == 1);
    world_write_policy(world, "return req:respond { body = 'new' }");
    diags_init(&diags);
    assert_int_equal(loader_reload(&world->loader, NULL, &diags), LOAD_APPLIED);
    struct world_client *after = world_connect(world);
    client_ask(after, ASK_PLAIN);
    WORLD_WAIT(world, client_whole(after));
    assert_true(client_has(after, "new"));
    lane_stats(generation_lane(old, 0), &stats);
    assert_int_equal(stats.runs, 1);
    play_letter(scripted_at(&world->up, 0), 'e');
    WORLD_WAIT(world, world->up.n == 2);
    play_letter(scripted_at(&world->up, 1), 'g');
    WORLD_WAIT(world, client_whole(before));
    assert_body(before, GOOD_BODY, true);
    lane_stats(generation_lane(old, 0), &stats);
    assert_int_equal(stats.runs, 0);
    assert_int_equal(stats.bytes, 0); /* its Lua state is closed */
    generation_unref(old);
    /* One that is refused changes nothing. */
    world_write_policy(world, "return oh no");
    assert_int_equal(loader_reload(&world->loader, NULL, &diags), LOAD_REFUSED);
    struct world_client *last = world_connect(world);
    client_ask(last, ASK_PLAIN);
    WORLD_WAIT(world, client_whole(last));
    assert_true(client_has(last, "new"));
    diags_release(&diags);
    world_free(world);
}

static void shutdown_in_flight(void **state) {
    /* Goal: a worker that is released with requests in every state frees all of them. */
    struct world *world = world_new(*state, "", SEND);
    struct world_client *early = world_connect(world);
    client_ask(early, ASK_PLAIN);
    WORLD_WAIT(world, world->up.n == 1);
    struct world_client *late = relaying(world, 1);
    exchange_kill(world->w.exchanges);
    exchange_kill(world->w.exchanges);
    WORLD_WAIT(world, client_whole(early) && (client_read(late), late->eof));
    assert_true(client_has(early, "shutting_down"));
    assert_false(client_whole(late));
    assert_true(client_has(late, "data: {\"error\":"));
    assert_int_equal(world_facts(world, "a/m").failures, 0);
    world_free(world);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, folder_make, folder_remove)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(attempts_made_are_attempts_asked_for),
        TEST(stock_policy_moves_on),
        TEST(race_cancels_the_loser),
        TEST(transfer_that_cannot_start),
        TEST(whole_events_only),
        TEST(broken_streams),
        TEST(finish_reason_is_an_end),
        TEST(provider_error_after_content),
        TEST(nothing_after_the_end_marker),
        TEST(body_still_being_sent),
        TEST(endless_after_the_end_marker),
        TEST(end_marker_with_carriage_returns),
        TEST(end_marker_before_the_commit),
        TEST(slow_readers_pause_the_transfer),
        TEST(large_plain_answers_stream_on),
        TEST(good_answers_wait_for_the_policy),
        TEST(reload_in_flight),
        TEST(shutdown_in_flight),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
