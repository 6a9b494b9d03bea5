/* SPDX-License-Identifier: MIT */
/*
 * AWS's event streams: frames to events' text, in any portions; whatever is wrong in a frame breaks
 * the stream, and nothing behind it is read.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../support/frames.h"

/* What botocore 1.43's decoder reads as contentBlockDelta {"contentBlockIndex": 0, "delta":
 * {"text": "Hi"}} and the exception throttlingException {"message": "slow"}. */
static const char sample[] =
    "0000009800000057715b77ef0b3a6576656e742d74797065070011636f6e74656e74426c6f636b44656c7461"
    "0d3a636f6e74656e742d747970650700106170706c69636174696f6e2f6a736f6e0d3a6d6573736167652d74"
    "797065070005"
    "6576656e747b22636f6e74656e74426c6f636b496e646578223a20302c202264656c7461223a207b22746578"
    "74223a20224869227d7d28f0287b"
    "00000084000000611bf198f50f3a657863657074696f6e2d747970650700137468726f74746c696e67457863"
    "657074696f6e0d3a636f6e74656e742d747970650700106170706c69636174696f6e2f6a736f6e0d3a6d6573"
    "736167652d747970650700"
    "09657863657074696f6e7b226d657373616765223a2022736c6f77227d2e9feb30";
static const char sample_text[] =
    "event: contentBlockDelta\n"
    "data: {\"contentBlockIndex\": 0, \"delta\": {\"text\": \"Hi\"}}\n\n"
    "event: throttlingException\n"
    "data: {\"message\": \"slow\"}\n\n";

static void add_hex(struct buf *out, const char *hex) {
    for (; hex[0] && hex[1]; hex += 2) {
        frames_must(buf_addc(out, (char)(hex_digit(hex[0]) * 16 + hex_digit(hex[1]))));
    }
}

static void assert_read(struct str bytes, size_t first, size_t step, enum eventstream_result result,
                        const char *text) {
    struct frames_read r;
    frames_read(&r, bytes, first, step);
    if (strcmp(r.text.data, text) != 0) {
        fail_msg("split at %zu, then every %zu: %s", first, step, r.text.data);
    }
    assert_int_equal(r.result, result);
    assert_true(result != EVENTSTREAM_OK || r.boundary);
    buf_release(&r.text);
}

/* Whole, cut in two at every byte, and in small portions. */
static void check(struct str bytes, enum eventstream_result result, const char *text) {
    for (size_t cut = 1; cut <= bytes.n; cut++) {
        assert_read(bytes, cut, bytes.n, result, text);
    }
    for (size_t step = 1; step < 20; step++) {
        assert_read(bytes, 0, step, result, text);
    }
}

/* Goal: frames become events, however their bytes are split. */
static void test_frames(void **state) {
    (void)state;
    struct buf b;
    buf_init(&b, KIB(4));
    add_hex(&b, sample);
    check(buf_str(&b), EVENTSTREAM_OK, sample_text);
    buf_release(&b);
}

/* Goal: every byte of a frame is covered by a checksum: with any of them changed, the frame breaks
 * the stream, and the frame behind it is not read. */
static void test_any_wrong_byte(void **state) {
    (void)state;
    struct buf b;
    buf_init(&b, KIB(4));
    add_hex(&b, sample);
    for (size_t i = 0; i < b.len; i++) {
        b.data[i] ^= 0x10;
        size_t first =
            i < 0x98 ? 0 : (size_t)(strstr(sample_text, "event: throttling") - sample_text);
        struct frames_read r;
        frames_read(&r, buf_str(&b), 7, 50);
        assert_int_equal(r.result, EVENTSTREAM_BAD);
        assert_int_equal(r.text.len, first);
        buf_release(&r.text);
        b.data[i] ^= 0x10;
    }
    buf_release(&b);
}

/* Goal: fields of all types are passed over; a payload of several lines stays one event; empty ones
 * get data all the same. */
static void test_fields(void **state) {
    (void)state;
    struct buf b, f;
    buf_init(&b, KIB(4));
    buf_init(&f, KIB(4));
    frames_must(buf_add_str(&f, STR("\1a\0\1b\1\1c\2x\1d\3xx\1e\4xxxx\1f\5xxxxxxxx")));
    frames_must(buf_add_str(&f, STR("\1g\6\0\2xx\1h\10xxxxxxxx\1i\11xxxxxxxxxxxxxxxx")));
    frames_field(&f, ":message-type", "event");
    frames_field(&f, ":event-type", "metadata");
    frames_add(&b, buf_str(&f), STR("{\r\n \"a\": 1\n}"));
    frames_message(&b, "event", "contentBlockStop", "");
    buf_clear(&f);
    frames_field(&f, ":message-type", "error");
    frames_field(&f, ":error-code", "InternalFailure");
    frames_field(&f, ":error-message", "it \"broke\"\n");
    frames_add(&b, buf_str(&f), STR(""));
    check(buf_str(&b), EVENTSTREAM_OK,
          "event: metadata\ndata: {   \"a\": 1 }\n\n"
          "event: contentBlockStop\ndata: {}\n\n"
          "event: InternalFailure\ndata: {\"message\":\"it \\\"broke\\\"\\n\"}\n\n");
    buf_release(&b);
    buf_release(&f);
}

/* Goal: a frame whose checksums are right but whose contents are not breaks the stream. */
static void test_bad_contents(void **state) {
    (void)state;
#define TYPES "\15:message-type\7\0\5event\13:event-type\7\0\1a"
    static const struct str bad[] = {
        STR(""),                            /* says nothing of itself */
        STR("\0\7\0\1a"),                   /* a field without a name */
        STR("\15:message-type\7\0\5event"), /* no type */
        STR("\15:message-type\7\0\5other\13:event-type\7\0\1a"),
        STR("\15:message-type\7\0\5event\13:event-type\7\0\0"), /* an empty one */
        STR("\15:message-type\7\0\5event\13:event-type\7\0\3a\nb"),
        STR("\15:message-type\6\0\5event\13:event-type\7\0\1a"), /* bytes, where a text is due */
        STR(TYPES "\13:event-type\7\0\1b"),                      /* twice */
        STR(TYPES "\1x\12"),                                     /* an unknown type of value */
        STR(TYPES "\1x\7\0\2b"),                                 /* a value beyond the fields */
        STR(TYPES "\1x\4\0\0\0"),
        STR(TYPES "\1x"),
        STR(TYPES "\5x"),
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        struct buf b;
        buf_init(&b, KIB(4));
        frames_message(&b, "event", "first", "1");
        frames_add(&b, bad[i], STR("{}"));
        frames_message(&b, "event", "third", "1");
        check(buf_str(&b), EVENTSTREAM_BAD, "event: first\ndata: 1\n\n");
        buf_release(&b);
    }
}

static void add_prelude(struct buf *b, uint32_t total, uint32_t fields) {
    frames_number(b, total);
    frames_number(b, fields);
    frames_number(b, (uint32_t)crc32(0, (const Bytef *)b->data, 8));
}

/* Goal: lengths that cannot be are found when the prelude is there, not when memory is full. */
static void test_bad_lengths(void **state) {
    (void)state;
    static const uint32_t bad[][2] = {{0, 0},         {15, 0},           {16, 1},
                                      {100, 85},      {100, 0xffffffff}, {MAX_EVENT_FRAME + 1, 10},
                                      {0xffffffff, 0}};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        struct buf b;
        buf_init(&b, KIB(1));
        add_prelude(&b, bad[i][0], bad[i][1]);
        check(buf_str(&b), EVENTSTREAM_BAD, "");
        buf_release(&b);
    }
}

/* Goal: a half frame is no boundary; the longest frame passes. */
static void test_ends(void **state) {
    (void)state;
    struct buf b, payload;
    struct frames_read r;
    buf_init(&b, MIB(2));
    buf_init(&payload, MIB(1));
    while (payload.len < MAX_EVENT_FRAME - 16 - 75) {
        frames_must(buf_addc(&payload, '1'));
    }
    frames_message(&b, "event", "a", payload.data);
    frames_read(&r, buf_str(&b), 5, 16384);
    assert_int_equal(r.result, EVENTSTREAM_OK);
    assert_int_equal(r.text.len, strlen("event: a\ndata: \n\n") + payload.len);
    buf_release(&r.text);
    frames_read(&r, str_make(b.data, b.len - 1), 5, 16384);
    assert_int_equal(r.result, EVENTSTREAM_OK);
    assert_false(r.boundary);
    buf_release(&r.text);
    buf_release(&b);
    buf_release(&payload);
}

static void test_content_type(void **state) {
    (void)state;
    assert_true(eventstream_is(STR("application/vnd.amazon.eventstream")));
    assert_true(eventstream_is(STR("Application/Vnd.Amazon.EventStream ; charset=utf-8")));
    assert_false(eventstream_is(STR("application/json")));
    assert_false(eventstream_is(STR("application/vnd.amazon.eventstream2")));
    assert_false(eventstream_is(STR("")));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frames),       cmocka_unit_test(test_any_wrong_byte),
        cmocka_unit_test(test_fields),       cmocka_unit_test(test_bad_contents),
        cmocka_unit_test(test_bad_lengths),  cmocka_unit_test(test_ends),
        cmocka_unit_test(test_content_type),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
