/* SPDX-License-Identifier: MIT */
/*
 * Answers that come in AWS's frames: the client sees an event stream, however the frames are split;
 * a broken frame fails the attempt before its commit and cuts the stream after it. And requests
 * that are signed for AWS.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../support/frames.h"
#include "../support/gateway_world.h"

#define FRAMES_HEAD "content-type: application/vnd.amazon.eventstream\ncontent-length: 999\n"
#define WORD(word) "{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"" word "\"}}]}"
#define FINISH "{\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}"
#define EVENT(data) "event: chunk\ndata: " data "\n\n"

/* A stream of the words one and two; the offset behind the first frame in *first. */
static void stream(struct buf *b, size_t *first) {
    buf_init(b, KIB(16));
    frames_message(b, "event", "chunk", WORD("one"));
    *first = b->len;
    frames_message(b, "event", "chunk", WORD("two"));
    frames_message(b, "event", "chunk", FINISH);
    frames_message(b, "event", "chunk", "[DONE]");
}

static struct scripted_transfer *ask(struct world *world, struct world_client *c, size_t nth) {
    if (nth == 0) {
        client_ask(c, ASK_STREAM);
    }
    WORLD_WAIT(world, world->up.n == nth + 1);
    struct scripted_transfer *it = scripted_at(&world->up, nth);
    play_connected(it);
    return it;
}

static void becomes_events(void **state) {
    /* Goal: wherever the frames are split, the client gets their events, and a clean end. */
    struct buf b;
    size_t first;
    stream(&b, &first);
    for (size_t cut = 1; cut < b.len; cut += cut < first + 20 ? 1 : 37) {
        struct world *world = world_new(*state, "", "return req:send('a/m')");
        struct world_client *c = world_connect(world);
        struct scripted_transfer *it = ask(world, c, 0);
        play_head(it, 200, FRAMES_HEAD);
        play_bytes(it, b.data, cut);
        world_settle(world);
        play_bytes(it, b.data + cut, b.len - cut);
        WORLD_WAIT(world, client_has(c, "[DONE]"));
        if (it->live) {
            play_done(it, OUTCOME_OK);
        }
        WORLD_WAIT(world, !world->w.exchanges);
        assert_true(client_has(c, "text/event-stream"));
        assert_false(client_has(c, "vnd.amazon"));
        assert_true(client_has(c, EVENT(WORD("one"))));
        assert_true(client_has(c, EVENT(WORD("two"))));
        assert_true(client_has(c, EVENT("[DONE]")));
        assert_true(strstr(world->access.data, "\"end\":\"complete\"") != NULL);
        world_free(world);
    }
    buf_release(&b);
}

static void broken_before_commit(void **state) {
    /* Goal: a wrong checksum, or an end within a frame, before any content is invalid_response, and
     * the next target's answer is the client's. */
    struct buf b;
    size_t first;
    stream(&b, &first);
    for (int wrong = 0; wrong < 2; wrong++) {
        struct world *world =
            world_new(*state, "",
                      "local a = req:send('a/m') if a.ok then return a end return req:send('b/m')");
        struct world_client *c = world_connect(world);
        struct scripted_transfer *it = ask(world, c, 0);
        play_head(it, 200, FRAMES_HEAD);
        b.data[first - 1] ^= (char)wrong;
        play_bytes(it, b.data, wrong ? first : first - 1);
        if (!wrong) {
            play_done(it, OUTCOME_OK);
        }
        b.data[first - 1] ^= (char)wrong;
        it = ask(world, c, 1);
        play_head(it, 200, STREAM_HEAD);
        play_data(it, WORD_EVENT("three") FINISH_EVENT DONE_EVENT);
        play_done(it, OUTCOME_OK);
        WORLD_WAIT(world, !world->w.exchanges);
        assert_true(client_has(c, "three"));
        assert_false(client_has(c, "one"));
        assert_true(strstr(world->access.data, "\"outcome\":\"invalid_response\"") != NULL);
        world_free(world);
    }
    buf_release(&b);
}

static void assert_cut(struct world *world, struct world_client *c) {
    WORLD_WAIT(world, !world->w.exchanges && client_has(c, "stream_broken"));
    assert_true(client_has(c, "one"));
    assert_false(client_has(c, "two"));
    assert_false(client_has(c, "[DONE]"));
    assert_true(strstr(world->access.data, "\"end\":\"upstream_cut\"") != NULL);
    assert_int_equal(world->up.live, 0);
    world_free(world);
}

static void broken_after_commit(void **state) {
    /* Goal: after the commit the same cuts the stream, at once; what stood before it is passed on,
     * also when both came in one read, before the policy had decided or after. */
    struct buf b;
    size_t first;
    stream(&b, &first);
    for (int way = 0; way < 4; way++) {
        struct world *world = world_new(*state, "", "return req:send('a/m')");
        struct world_client *c = world_connect(world);
        struct scripted_transfer *it = ask(world, c, 0);
        play_head(it, 200, FRAMES_HEAD);
        b.data[first + 20] ^= 1;
        if (way == 0) { /* one read, before the policy knows */
            play_bytes(it, b.data, b.len);
        } else {
            play_bytes(it, b.data, first);
            if (way != 1) {
                WORLD_WAIT(world, client_has(c, "one"));
            }
            play_bytes(it, b.data + first, way == 3 ? 30 : b.len - first);
        }
        b.data[first + 20] ^= 1;
        if (way == 3) { /* half a frame, and the end */
            play_done(it, OUTCOME_OK);
        }
        assert_cut(world, c);
    }
    buf_release(&b);
}

static void only_good_answers(void **state) {
    /* Goal: an error is an error, whatever it says that it comes in. */
    struct world *world = world_new(*state, "", "return req:send('a/m')");
    struct world_client *c = world_connect(world);
    struct scripted_transfer *it = ask(world, c, 0);
    play_head(it, 500, FRAMES_HEAD);
    play_data(it, ERROR_BODY);
    play_done(it, OUTCOME_OK);
    WORLD_WAIT(world, !world->w.exchanges);
    assert_true(client_has(c, "boom"));
    world_free(world);
}

#define AWS                                                                                        \
    ", auth = 'aws', aws = { access_key = 'AKIDEXAMPLE', secret_key = 'very-secret-key', "         \
    "session_token = 'a-session-token', region = 'eu-west-3' }"

static void requests_are_signed(void **state) {
    /* Goal: a provider with aws gets signed requests, its other key and the client's are not sent,
     * and a provider that repeats its keys does not tell them to clients. */
    struct world *world = world_new(*state, AWS, "return req:send('a/m')");
    struct world_client *c = world_connect(world);
    struct scripted_transfer *it = ask(world, c, 0);
    struct str value = {NULL, 0};
    assert_true(headers_get(&it->headers, "authorization", &value));
    assert_true(str_starts(value, "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/"));
    assert_true(str_has(value, "/eu-west-3/bedrock/aws4_request, SignedHeaders="));
    assert_int_equal(headers_count(&it->headers, "authorization"), 1);
    assert_true(headers_get(&it->headers, "x-amz-security-token", &value));
    assert_true(str_is(value, "a-session-token"));
    assert_true(headers_get(&it->headers, "x-amz-date", &value));
    assert_int_equal(value.n, 16);
    play_head(it, 400, JSON_HEAD);
    play_data(it, "{\"error\":{\"message\":\"AKIDEXAMPLE very-secret-key a-session-token!\"}}");
    play_done(it, OUTCOME_OK);
    WORLD_WAIT(world, !world->w.exchanges);
    assert_true(client_has(c, "*** *** ***!"));
    assert_false(client_has(c, "very-secret-key"));
    world_free(world);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, folder_make, folder_remove)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(becomes_events),    TEST(broken_before_commit), TEST(broken_after_commit),
        TEST(only_good_answers), TEST(requests_are_signed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
