/* SPDX-License-Identifier: MIT */
/*
 * Event stream scanning: the three line ends, any portions, byte order mark, comments, several data
 * lines, maxima.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../support/read_events.h"

static void assert_events(const char *data, size_t n, size_t first, size_t step,
                          const char *expected) {
    struct events e;
    events_init(&e);
    events_run(&e, data, n, first, step);
    if (strcmp(e.account.data, expected) != 0) {
        fail_msg("split at %zu, then every %zu: %s, expected %s", first, step, e.account.data,
                 expected);
    }
    events_release(&e);
}

/* In one piece, split at every byte, byte by byte. */
static void check_events(const char *data, size_t n, const char *expected) {
    assert_events(data, n, n, n, expected);
    for (size_t cut = 1; cut < n; cut++) {
        assert_events(data, n, cut, n, expected);
    }
    for (size_t step = 1; step < 4; step++) {
        assert_events(data, n, 0, step, expected);
    }
}

/* `text` is written with LF; it is tried with each line end. */
static void check_line_ends(const char *text, const char *expected) {
    static const char *const ends[] = {"\n", "\r", "\r\n"};
    for (size_t i = 0; i < 3; i++) {
        struct buf b;
        buf_init(&b, MIB(1));
        for (const char *p = text; *p; p++) {
            int r = *p == '\n' ? buf_adds(&b, ends[i]) : buf_addc(&b, *p);
            assert_int_equal(r, BUF_OK);
        }
        check_events(b.data, b.len, expected);
        buf_release(&b);
    }
}

/* Goal: the same events whatever ends the lines and however the bytes are split. */
static void test_events(void **state) {
    (void)state;
    static const char *const rows[][2] = {
        {"data: a\n\n", "[|a]"},
        {"data:a\n\ndata: b\n\n", "[|a][|b]"},
        {"event: e\ndata: a\n\n", "[e|a]"},
        {"data: a\nevent: e\n\n", "[e|a]"},
        {"event: e\n\ndata: a\n\n", "[-][|a]"},
        {"event: e\nevent: f\ndata: a\n\n", "[f|a]"},
        {"event: e\nevent\ndata: a\n\n", "[|a]"},
        {"data: a\ndata: b\ndata:\ndata: c\n\n", "[|a\nb\n\nc]"},
        {"data\n\n", "[|]"},
        {"data:\ndata\n\n", "[|\n]"},
        {"data:  two spaces \n\n", "[| two spaces ]"},
        {"data: a:b: c\n\n", "[|a:b: c]"},
        {"datax: a\nxdata: b\nDATA: c\n\n", "[-]"},
        {": comment\n\n", "[-]"},
        {": comment\ndata: a\n: more\n\n", "[|a]"},
        {"id: 1\nretry: 5\ndata: a\n\n", "[|a]"},
        {"\n\n\ndata: a\n\n\n\ndata: b\n\n", "[|a][|b]"},
        {"data: a\n\ndata: unfinished\n", "[|a]"},
        {"data: a\n\ndata: unfinis", "[|a]"},
        {"data: {\"choices\":[{\"delta\":{\"content\":\"hi\"}}]}\n\ndata: [DONE]\n\n",
         "[|{\"choices\":[{\"delta\":{\"content\":\"hi\"}}]}][|[DONE]]"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        check_line_ends(rows[i][0], rows[i][1]);
    }
}

/* Goal: line ends may be mixed within one stream, LF CR being two of them. */
static void test_mixed_line_ends(void **state) {
    (void)state;
    static const char text[] =
        "data: a\r\ndata: b\rdata: c\n\r\ndata: d\n\rdata: e\r\r\n\ndata: f\r\n\n";
    check_events(text, sizeof(text) - 1, "[|a\nb\nc][|d][|e][|f]");
}

/* Goal: a byte order mark is skipped at the start, and only there, and only when whole. */
static void test_byte_order_mark(void **state) {
    (void)state;
    static const char one[] = "\xef\xbb\xbf"
                              "data: a\n\n\xef\xbb\xbf"
                              "data: b\n\n";
    check_events(one, sizeof(one) - 1, "[|a][-]");
    static const char alone[] = "\xef\xbb\xbf\ndata: a\n\n";
    check_events(alone, sizeof(alone) - 1, "[|a]");
    static const char half[] = "\xef\xbb"
                               "data: a\n\ndata: b\n\n";
    check_events(half, sizeof(half) - 1, "[-][|b]");
}

/* Goal: NUL and other bytes in data come through. */
static void test_any_bytes(void **state) {
    (void)state;
    struct sse s;
    struct sse_event event;
    size_t used;
    static const char text[] = "data: a\0b\xff\n\n";
    sse_init(&s);
    assert_int_equal(sse_feed(&s, str_make(text, sizeof(text) - 1), &used, &event), SSE_EVENT);
    assert_int_equal(event.data.n, 4);
    assert_memory_equal(event.data.p, "a\0b\xff", 4);
    sse_release(&s);
}

/* Goal: `used` ends behind the blank line, so that a relay passes on whole events, the LF of a CRLF
 * with them. */
static void test_used(void **state) {
    (void)state;
    struct sse s;
    struct sse_event event;
    size_t used;
    sse_init(&s);
    assert_int_equal(sse_feed(&s, STR("data: a\n\ndata: b\n\n"), &used, &event), SSE_EVENT);
    assert_int_equal(used, 9);
    assert_int_equal(sse_feed(&s, STR("data: b\r\n\r\ndata: c"), &used, &event), SSE_EVENT);
    assert_int_equal(used, 11);
    assert_int_equal(sse_feed(&s, STR("data: c\r\n\r"), &used, &event), SSE_EVENT);
    assert_int_equal(used, 10);
    assert_true(sse_at_boundary(&s));
    assert_int_equal(sse_feed(&s, STR("\n"), &used, &event), SSE_MORE);
    assert_int_equal(used, 1);
    assert_true(sse_at_boundary(&s));
    assert_int_equal(sse_feed(&s, STR("data: d\n\n"), &used, &event), SSE_EVENT);
    assert_int_equal(used, 9);
    assert_true(str_is(event.data, "d"));
    sse_release(&s);
}

/* Goal: data that lies whole in the bytes given is not copied. */
static void test_no_copy(void **state) {
    (void)state;
    struct sse s;
    struct sse_event event;
    size_t used;
    static const char text[] = ": c\nevent: e\ndata: abc\n\n";
    sse_init(&s);
    assert_int_equal(sse_feed(&s, str_make(text, sizeof(text) - 1), &used, &event), SSE_EVENT);
    assert_ptr_equal(event.data.p, strstr(text, "abc"));
    assert_ptr_equal(event.type.p, text + 11);
    assert_int_equal(s.data.cap + s.type.cap + s.line.cap, 0);
    sse_release(&s);
}

/* Goal: a stream may end between events and after comments, and nowhere else. */
static void test_boundary(void **state) {
    (void)state;
    static const struct {
        const char *text;
        bool boundary;
    } rows[] = {
        {"", true},
        {"data: a\n\n", true},
        {"data: a\n\n\n", true},
        {"data: a\r\n\r\n", true},
        {"data: a\n\n: ping\n", true},
        {"data: a\n\n: ping\n\n", true},
        {"data: a\n", false},
        {"data: a", false},
        {"d", false},
        {"data: a\n\nevent: e\n", false},
        {"data: a\n\nid: 1\n", false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        for (size_t step = 1; step < 20; step++) {
            struct events e;
            events_init(&e);
            events_run(&e, rows[i].text, strlen(rows[i].text), 0, step);
            assert_int_equal(e.boundary, rows[i].boundary);
            events_release(&e);
        }
    }
}

static enum sse_result result_of(const struct buf *b, size_t step, size_t *count) {
    struct events e;
    events_init(&e);
    events_run(&e, b->data, b->len, 0, step);
    enum sse_result r = e.result;
    *count = e.count;
    events_release(&e);
    return r;
}

/* Goal: an event of MAX_EVENT bytes is read, a longer one refused, be it one line, many, or
 * comments; portions do not matter. */
static void test_too_long(void **state) {
    (void)state;
    static const char *const lines[] = {NULL, "data: 12345678\n", ": 123456789012\n"};
    for (size_t i = 0; i < 3; i++) {
        for (size_t extra = 0; extra < 2; extra++) {
            struct buf b;
            size_t count;
            buf_init(&b, MIB(4));
            assert_int_equal(buf_adds(&b, "data: a\n\n"), BUF_OK);
            size_t end = b.len + MAX_EVENT + extra;
            while (lines[i] && b.len + 64 < end) {
                assert_int_equal(buf_adds(&b, lines[i]), BUF_OK);
            }
            assert_int_equal(buf_adds(&b, "data: "), BUF_OK);
            while (b.len + 2 < end) {
                assert_int_equal(buf_addc(&b, 'x'), BUF_OK);
            }
            assert_int_equal(buf_adds(&b, "\n\n"), BUF_OK);
            static const size_t steps[] = {4093, 65536, MIB(4)};
            for (size_t k = 0; k < 3; k++) {
                assert_int_equal(result_of(&b, steps[k], &count), extra ? SSE_TOO_LONG : SSE_EVENT);
                assert_int_equal(count, extra ? 1 : 2);
            }
            buf_release(&b);
        }
    }
}

/* Goal: a line without end is refused once it is too long, not kept for ever. */
static void test_endless_line(void **state) {
    (void)state;
    struct sse s;
    struct sse_event event;
    size_t used, fed = 0;
    char block[4096];
    enum sse_result r = SSE_MORE;
    memset(block, 'x', sizeof(block));
    sse_init(&s);
    while (r == SSE_MORE && fed < 2 * MAX_EVENT) {
        r = sse_feed(&s, str_make(block, sizeof(block)), &used, &event);
        fed += sizeof(block);
    }
    assert_int_equal(r, SSE_TOO_LONG);
    assert_true(fed <= MAX_EVENT + sizeof(block));
    sse_release(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_events),       cmocka_unit_test(test_mixed_line_ends),
        cmocka_unit_test(test_any_bytes),    cmocka_unit_test(test_byte_order_mark),
        cmocka_unit_test(test_used),         cmocka_unit_test(test_no_copy),
        cmocka_unit_test(test_boundary),     cmocka_unit_test(test_too_long),
        cmocka_unit_test(test_endless_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
