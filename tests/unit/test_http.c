/* SPDX-License-Identifier: MIT */
/*
 * HTTP/1.1 reading and writing. Each way of misreading a request that was measured on other servers
 * is a row of a table, and every row is read in one piece, split at every byte, and byte by byte.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../support/read_request.h"

#define BODY_MAX 64

struct row {
    const char *what;
    int status; /* 200: whole; 0: more is needed */
    const char *body;
    struct str bytes;
};

#define POST "POST /v1/x HTTP/1.1\r\nHost: h\r\n"
#define GET "GET /v1/x HTTP/1.1\r\nHost: h\r\n"
#define CHUNKED POST "Transfer-Encoding: chunked\r\n\r\n"
#define ROW(what, status, body, text)                                                              \
    {                                                                                              \
        what, status, body, {                                                                      \
            "" text, sizeof(text) - 1                                                              \
        }                                                                                          \
    }

static void assert_same(const struct row *row, const struct reading *whole, size_t first,
                        size_t step) {
    struct reading split;
    reading_init(&split, BODY_MAX);
    reading_run(&split, row->bytes.p, row->bytes.n, first, step);
    const char *what = reading_differs(whole, &split);
    if (what) {
        fail_msg("%s: split at %zu, then every %zu: the %s differs: %d %s, %d %s", row->what, first,
                 step, what, whole->status, whole->err.text, split.status, split.err.text);
    }
    reading_release(&split);
}

static void check_row(const struct row *row) {
    struct reading whole;
    reading_init(&whole, BODY_MAX);
    reading_run(&whole, row->bytes.p, row->bytes.n, row->bytes.n, row->bytes.n);
    if (whole.status != row->status) {
        fail_msg("%s: status %d (%s), expected %d", row->what, whole.status, whole.err.text,
                 row->status);
    }
    if (row->body && !str_is(buf_str(&whole.body), row->body)) {
        fail_msg("%s: body \"%s\", expected \"%s\"", row->what, whole.body.data, row->body);
    }
    if (row->status == 200 && whole.used != row->bytes.n) {
        fail_msg("%s: %zu bytes used of %zu", row->what, whole.used, row->bytes.n);
    }
    if (row->status >= 400 && whole.err.text[0] == 0) {
        fail_msg("%s: refused without a reason", row->what);
    }
    for (size_t cut = 1; cut < row->bytes.n; cut++) {
        assert_same(row, &whole, cut, row->bytes.n);
    }
    assert_same(row, &whole, 0, 1);
    reading_release(&whole);
}

static void check_rows(const struct row *rows, size_t n) {
    for (size_t i = 0; i < n; i++) {
        check_row(&rows[i]);
    }
}

#define CHECK_ROWS(rows) check_rows(rows, sizeof(rows) / sizeof((rows)[0]))

/* Goal: framing that two parties could read in two ways is refused, whatever a lenient server would
 * make of it. */
static void test_framing(void **state) {
    (void)state;
    static const struct row rows[] = {
        ROW("length and coding", 400, NULL,
            POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ROW("length and unknown coding", 400, NULL,
            POST "Content-Length: 5\r\nTransfer-Encoding: x\r\n\r\n"),
        ROW("two lengths", 400, NULL, POST "Content-Length: 0\r\nContent-Length: 30\r\n\r\n"),
        ROW("the same length twice", 400, NULL,
            POST "Content-Length: 2\r\ncontent-length: 2\r\n\r\nab"),
        ROW("a list of lengths", 400, NULL, POST "Content-Length: 2, 2\r\n\r\nab"),
        ROW("xchunked", 501, NULL, POST "Transfer-Encoding: xchunked\r\n\r\n"),
        ROW("gzip, chunked", 501, NULL, POST "Transfer-Encoding: gzip, chunked\r\n\r\n"),
        ROW("chunked, gzip", 501, NULL, POST "Transfer-Encoding: chunked, gzip\r\n\r\n"),
        ROW("identity", 501, NULL, POST "Transfer-Encoding: identity\r\n\r\n"),
        ROW("chunked twice", 501, NULL,
            POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ROW("no coding at all", 501, NULL, POST "Transfer-Encoding:\r\n\r\n"),
        ROW("chunked in HTTP/1.0", 400, NULL,
            "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ROW("length +5", 400, NULL, POST "Content-Length: +5\r\n\r\n12345"),
        ROW("length -5", 400, NULL, POST "Content-Length: -5\r\n\r\n"),
        ROW("length 0x5", 400, NULL, POST "Content-Length: 0x5\r\n\r\n12345"),
        ROW("length 5 5", 400, NULL, POST "Content-Length: 5 5\r\n\r\n12345"),
        ROW("empty length", 400, NULL, POST "Content-Length:\r\n\r\n"),
        ROW("length beyond 64 bits", 413, NULL,
            POST "Content-Length: 99999999999999999999\r\n\r\n"),
        ROW("length beyond the limit", 413, NULL, POST "Content-Length: 65\r\n\r\n"),
        ROW("space before the colon", 400, NULL, POST "Content-Length : 5\r\n\r\n12345"),
        ROW("tab before the colon", 400, NULL,
            POST "Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n"),
        ROW("plain length", 200, "12345", POST "Content-Length: 5\r\n\r\n12345"),
        ROW("blanks around the length", 200, "12345", POST "Content-Length: \t 5 \t\r\n\r\n12345"),
        ROW("length 0", 200, "", POST "Content-Length: 0\r\n\r\n"),
        ROW("Chunked in any case", 200, "", POST "Transfer-Encoding: ChunKed\r\n\r\n0\r\n\r\n"),
        ROW("the body is not whole", 0, "1234", POST "Content-Length: 5\r\n\r\n1234"),
    };
    CHECK_ROWS(rows);
}

/* Goal: lines end with CRLF, fields stand on one line, names are tokens, values hold no controls,
 * Host stands once. */
static void test_fields(void **state) {
    (void)state;
    static const struct row rows[] = {
        ROW("bare LF after the request line", 400, NULL, "GET / HTTP/1.1\nHost: h\r\n\r\n"),
        ROW("bare LF after a field", 400, NULL, "GET / HTTP/1.1\r\nHost: h\n\r\n"),
        ROW("bare LF as the empty line", 400, NULL, "GET / HTTP/1.1\r\nHost: h\r\n\n"),
        ROW("bare LF, whole head", 400, NULL, "GET / HTTP/1.1\nHost: h\n\n"),
        ROW("bare CR in a value", 400, NULL, GET "A: b\rc\r\n\r\n"),
        ROW("bare CR in the request line", 400, NULL, "GET /\r HTTP/1.1\r\nHost: h\r\n\r\n"),
        ROW("two CR before LF", 400, NULL, GET "A: b\r\r\n\r\n"),
        ROW("folded line, space", 400, NULL, GET "A: b\r\n c\r\n\r\n"),
        ROW("folded line, tab", 400, NULL, GET "A: b\r\n\tc\r\n\r\n"),
        ROW("space before the first field", 400, NULL, "GET / HTTP/1.1\r\n Host: h\r\n\r\n"),
        ROW("empty name", 400, NULL, GET ": b\r\n\r\n"),
        ROW("no colon", 400, NULL, GET "abc\r\n\r\n"),
        ROW("space in a name", 400, NULL, GET "a b: c\r\n\r\n"),
        ROW("NUL in a name", 400, NULL, GET "a\0b: c\r\n\r\n"),
        ROW("NUL in a value", 400, NULL, GET "A: b\0c\r\n\r\n"),
        ROW("DEL in a value", 400, NULL, GET "A: b\177c\r\n\r\n"),
        ROW("control in a value", 400, NULL, GET "A: b\001c\r\n\r\n"),
        ROW("non-ASCII name", 400, NULL, GET "\xc3\xa9: c\r\n\r\n"),
        ROW("no Host", 400, NULL, "GET / HTTP/1.1\r\nA: b\r\n\r\n"),
        ROW("two Hosts", 400, NULL, "GET / HTTP/1.1\r\nHost: h\r\nhost: h\r\n\r\n"),
        ROW("two Hosts in HTTP/1.0", 400, NULL, "GET / HTTP/1.0\r\nHost: h\r\nhost: i\r\n\r\n"),
        ROW("Host with a path", 400, NULL, "GET / HTTP/1.1\r\nHost: h/x\r\n\r\n"),
        ROW("Host with a user", 400, NULL, "GET / HTTP/1.1\r\nHost: u@h\r\n\r\n"),
        ROW("no Host in HTTP/1.0", 200, "", "GET / HTTP/1.0\r\n\r\n"),
        ROW("tabs and UTF-8 in a value", 200, "", GET "A: b\tc \xc3\xa9\r\n\r\n"),
        ROW("empty value", 200, "", GET "A:\r\nB: \t \r\n\r\n"),
        ROW("one empty line in front", 200, "", "\r\n" GET "\r\n"),
        ROW("two empty lines in front", 200, "", "\r\n\r\n" GET "\r\n"),
        ROW("three empty lines in front", 400, NULL, "\r\n\r\n\r\n" GET "\r\n"),
        ROW("LF in front", 400, NULL, "\n" GET "\r\n"),
        ROW("CR in front", 400, NULL, "\r" GET "\r\n"),
        ROW("space in front", 400, NULL, " " GET "\r\n"),
        ROW("the head is not whole", 0, NULL, GET "A: b\r\n\r"),
        ROW("nothing but line ends", 0, NULL, "\r\n\r\n"),
    };
    CHECK_ROWS(rows);
}

/* Goal: the request line is method, target and version, one space between each, and the target is a
 * plain path. */
static void test_request_line(void **state) {
    (void)state;
    static const struct row rows[] = {
        ROW("two spaces", 400, NULL, "GET  / HTTP/1.1\r\nHost: h\r\n\r\n"),
        ROW("space at the end", 400, NULL, "GET / HTTP/1.1 \r\nHost: h\r\n\r\n"),
        ROW("tab for space", 400, NULL, "GET\t/\tHTTP/1.1\r\nHost: h\r\n\r\n"),
        ROW("no version", 400, NULL, "GET /\r\n\r\n"),
        ROW("lower case version", 400, NULL, "GET / http/1.1\r\nHost: h\r\n\r\n"),
        ROW("long version", 400, NULL, "GET / HTTP/1.10\r\nHost: h\r\n\r\n"),
        ROW("version 2.0", 505, NULL, "GET / HTTP/2.0\r\nHost: h\r\n\r\n"),
        ROW("version 1.2", 505, NULL, "GET / HTTP/1.2\r\nHost: h\r\n\r\n"),
        ROW("version 0.9", 505, NULL, "GET / HTTP/0.9\r\nHost: h\r\n\r\n"),
        ROW("the preface of HTTP/2", 505, NULL, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        ROW("TLS", 400, NULL, "\x16\x03\x01\x02\x00\x01\x00"),
        ROW("method is no token", 400, NULL, "G(T / HTTP/1.1\r\nHost: h\r\n\r\n"),
        ROW("CONNECT", 501, NULL, "CONNECT h:443 HTTP/1.1\r\nHost: h\r\n\r\n"),
        ROW("asterisk with GET", 400, NULL, "GET * HTTP/1.1\r\nHost: h\r\n\r\n"),
        ROW("asterisk with OPTIONS", 200, "", "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n"),
        ROW("no slash", 400, NULL, "GET x HTTP/1.1\r\nHost: h\r\n\r\n"),
        ROW("fragment", 400, NULL, "GET /x#y HTTP/1.1\r\nHost: h\r\n\r\n"),
        ROW("NUL in the target", 400, NULL, "GET /x\0y HTTP/1.1\r\nHost: h\r\n\r\n"),
        ROW("control in the target", 400, NULL, "GET /x\001y HTTP/1.1\r\nHost: h\r\n\r\n"),
        ROW("non-ASCII target", 400, NULL, "GET /\xc3\xa9 HTTP/1.1\r\nHost: h\r\n\r\n"),
        ROW("backslash", 400, NULL, "GET /x\\..\\y HTTP/1.1\r\nHost: h\r\n\r\n"),
        ROW("..", 400, NULL, "GET /v1/../x HTTP/1.1\r\nHost: h\r\n\r\n"),
        ROW(".. at the end", 400, NULL, "GET /v1/.. HTTP/1.1\r\nHost: h\r\n\r\n"),
        ROW(". before the query", 400, NULL, "GET /v1/.?x HTTP/1.1\r\nHost: h\r\n\r\n"),
        ROW("encoded ..", 400, NULL, "GET /v1/%2E%2e/x HTTP/1.1\r\nHost: h\r\n\r\n"),
        ROW("half encoded ..", 400, NULL, "GET /v1/.%2e/x HTTP/1.1\r\nHost: h\r\n\r\n"),
        ROW(".. and encoded slash", 400, NULL, "GET /v1/..%2fx HTTP/1.1\r\nHost: h\r\n\r\n"),
        ROW(".. and encoded backslash", 400, NULL,
            "GET /v1/x%5c..%5Cy HTTP/1.1\r\nHost: h\r\n\r\n"),
        ROW("dots that are names", 200, "", "GET /v1/.../a..b/.c/d. HTTP/1.1\r\nHost: h\r\n\r\n"),
        ROW(".. in the query", 200, "", "GET /x?a=/../b HTTP/1.1\r\nHost: h\r\n\r\n"),
        ROW("absolute form without host", 400, NULL, "GET http:///x HTTP/1.1\r\nHost: h\r\n\r\n"),
        ROW("absolute form with a user", 400, NULL, "GET http://u@h/x HTTP/1.1\r\nHost: h\r\n\r\n"),
        ROW("absolute form without Host", 400, NULL, "GET http://h/x HTTP/1.1\r\n\r\n"),
        ROW("absolute form, ..", 400, NULL, "GET http://h/../x HTTP/1.1\r\nHost: h\r\n\r\n"),
        ROW("other scheme", 400, NULL, "GET ftp://h/x HTTP/1.1\r\nHost: h\r\n\r\n"),
    };
    CHECK_ROWS(rows);
}

/* Goal: chunk sizes are hex digits and nothing else; extensions and trailers are dropped; every
 * CRLF is where it belongs. */
static void test_chunks(void **state) {
    (void)state;
    static const struct row rows[] = {
        ROW("one chunk", 200, "12345", CHUNKED "5\r\n12345\r\n0\r\n\r\n"),
        ROW("several, hex in any case", 200, "abcdefghijklmnopqrstuvw",
            CHUNKED "A\r\nabcdefghij\r\n00d\r\nklmnopqrstuvw\r\n000\r\n\r\n"),
        ROW("payload like framing", 200, "\r\n0\r\n\r\n",
            CHUNKED "7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n"),
        ROW("extension", 200, "12345", CHUNKED "5;a=b\r\n12345\r\n0;c\r\n\r\n"),
        ROW("extension after blanks", 200, "12345", CHUNKED "5 \t;a=\"b c\"\r\n12345\r\n0\r\n\r\n"),
        ROW("trailers", 200, "1", CHUNKED "1\r\n1\r\n0\r\nA: b\r\nContent-Length: 7\r\n\r\n"),
        ROW("0x5", 400, NULL, CHUNKED "0x5\r\n12345\r\n0\r\n\r\n"),
        ROW("+5", 400, NULL, CHUNKED "+5\r\n12345\r\n0\r\n\r\n"),
        ROW("-5", 400, NULL, CHUNKED "-5\r\n12345\r\n0\r\n\r\n"),
        ROW("space before the size", 400, NULL, CHUNKED " 5\r\n12345\r\n0\r\n\r\n"),
        ROW("space after the size", 400, NULL, CHUNKED "5 \r\n12345\r\n0\r\n\r\n"),
        ROW("no size", 400, NULL, CHUNKED "\r\n12345\r\n0\r\n\r\n"),
        ROW("no size before the extension", 400, NULL, CHUNKED ";a\r\n12345\r\n0\r\n\r\n"),
        ROW("5g", 400, NULL, CHUNKED "5g\r\n12345\r\n0\r\n\r\n"),
        ROW("16 digits", 400, NULL, CHUNKED "0000000000000005\r\n12345\r\n0\r\n\r\n"),
        ROW("15 digits, too large", 413, NULL, CHUNKED "fffffffffffffff\r\n"),
        ROW("larger than the limit", 413, NULL, CHUNKED "41\r\n"),
        ROW("larger together", 413, NULL, CHUNKED "3\r\nabc\r\n3e\r\n"),
        ROW("LF after the size", 400, NULL, CHUNKED "5\n12345\r\n0\r\n\r\n"),
        ROW("CR alone after the size", 400, NULL, CHUNKED "5\r12345\r\n0\r\n\r\n"),
        ROW("LF in an extension", 400, NULL, CHUNKED "5;a\n12345\r\n0\r\n\r\n"),
        ROW("NUL in an extension", 400, NULL, CHUNKED "5;\0\r\n12345\r\n0\r\n\r\n"),
        ROW("data too long", 400, NULL, CHUNKED "5\r\n123456\r\n0\r\n\r\n"),
        ROW("LF after the data", 400, NULL, CHUNKED "5\r\n12345\n0\r\n\r\n"),
        ROW("LF at the end", 400, NULL, CHUNKED "0\r\n\n"),
        ROW("folded trailer", 400, NULL, CHUNKED "0\r\n a: b\r\n\r\n"),
        ROW("trailer without colon", 400, NULL, CHUNKED "0\r\nab\r\n\r\n"),
        ROW("trailer with LF", 400, NULL, CHUNKED "0\r\na: b\n\r\n"),
        ROW("trailer with NUL", 400, NULL, CHUNKED "0\r\na: \0\r\n\r\n"),
        ROW("not whole", 0, "12345", CHUNKED "5\r\n12345\r\n0\r\n"),
    };
    CHECK_ROWS(rows);
}

static struct reading read_text(struct str text) {
    struct reading r;
    reading_init(&r, BODY_MAX);
    reading_run(&r, text.p, text.n, text.n, text.n);
    return r;
}

/* Goal: what follows a request is left for the next one, to the byte. */
static void test_leaves_the_next(void **state) {
    (void)state;
    static const struct str texts[] = {
        {GET "\r\nGET", sizeof(GET "\r\n") - 1},
        {POST "Content-Length: 2\r\n\r\nabGET", sizeof(POST "Content-Length: 2\r\n\r\nab") - 1},
        {CHUNKED "1\r\na\r\n0\r\nB: c\r\n\r\nGET",
         sizeof(CHUNKED "1\r\na\r\n0\r\nB: c\r\n\r\n") - 1},
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct reading r = read_text(str_make(texts[i].p, texts[i].n + 3));
        assert_int_equal(r.status, 200);
        assert_int_equal(r.used, texts[i].n);
        reading_release(&r);
    }
}

/* Reads `text`, which must be whole, and looks at its head. */
static void with_head(const char *text, struct http_head *head, struct headers *h) {
    size_t scanned = 0;
    struct err err;
    headers_init(h, MAX_HEADERS, MAX_HEADER_BYTES);
    int r = http_read_head(text, strlen(text), &scanned, head, h, &err);
    if (r != (int)strlen(text)) {
        fail_msg("%d: %s", r, err.text);
    }
}

/* Goal: a target is cut into path and query, and the absolute form becomes the origin form, its
 * host replacing Host. */
static void test_targets(void **state) {
    (void)state;
    struct http_head head;
    struct headers h;
    struct str host;
    with_head("GET /a/b?c=d?e HTTP/1.1\r\nHost: h\r\n\r\n", &head, &h);
    assert_true(str_is(head.method, "GET"));
    assert_true(str_is(head.target, "/a/b?c=d?e"));
    assert_true(str_is(head.path, "/a/b"));
    assert_true(str_is(head.query, "c=d?e"));
    headers_release(&h);
    with_head("GET HTTP://Other:81/a?b HTTP/1.1\r\nHost: h\r\n\r\n", &head, &h);
    assert_true(str_is(head.target, "/a?b"));
    assert_true(str_is(head.path, "/a"));
    assert_int_equal(headers_count(&h, "host"), 1);
    assert_true(headers_get(&h, "host", &host));
    assert_true(str_is(host, "Other:81"));
    headers_release(&h);
    with_head("GET https://other HTTP/1.1\r\nHost: h\r\n\r\n", &head, &h);
    assert_true(str_is(head.path, "/"));
    assert_int_equal(head.query.n, 0);
    headers_release(&h);
}

/* Goal: persistence and expectations follow version and fields. */
static void test_connection(void **state) {
    (void)state;
    static const struct {
        const char *text;
        bool keep, expect;
    } rows[] = {
        {GET "\r\n", true, false},
        {GET "Connection: close\r\n\r\n", false, false},
        {GET "Connection: x, Close\r\n\r\n", false, false},
        {"GET / HTTP/1.0\r\n\r\n", false, false},
        {"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true, false},
        {"GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", false, false},
        {GET "Expect: 100-Continue\r\n\r\n", true, true},
        {GET "Expect: something\r\n\r\n", true, false},
        {"GET / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n", false, false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct http_head head;
        struct headers h;
        with_head(rows[i].text, &head, &h);
        assert_int_equal(head.keep_alive, rows[i].keep);
        assert_int_equal(head.expect_continue, rows[i].expect);
        headers_release(&h);
    }
}

/* Appends `n` times `c`. */
static void pad(struct buf *b, size_t n, char c) {
    while (n-- > 0) {
        assert_int_equal(buf_addc(b, c), BUF_OK);
    }
}

static void start(struct buf *b, const char *text) {
    buf_clear(b);
    assert_int_equal(buf_adds(b, text), BUF_OK);
}

/* The status of what is in b, the same in one piece, in two, and in steps. */
static int status_of(const struct buf *b) {
    struct row row = {"limit", 0, NULL, {b->data, b->len}};
    struct reading r;
    reading_init(&r, BODY_MAX);
    reading_run(&r, b->data, b->len, b->len, b->len);
    assert_same(&row, &r, b->len / 2, b->len);
    assert_same(&row, &r, b->len - 1, 1);
    assert_same(&row, &r, 0, 1021);
    int status = r.status;
    reading_release(&r);
    return status;
}

/* Goal: each maximum is exact, gives the status of its own, and is noticed before the end of an
 * endless line. */
static void test_limits(void **state) {
    (void)state;
    struct buf b;
    buf_init(&b, MIB(2));

    start(&b, "GET /");
    pad(&b, MAX_REQUEST_LINE - strlen("GET / HTTP/1.1"), 'a');
    assert_int_equal(buf_adds(&b, " HTTP/1.1\r\nHost: h\r\n\r\n"), BUF_OK);
    assert_int_equal(status_of(&b), 200);
    start(&b, "GET /");
    pad(&b, MAX_REQUEST_LINE + 1 - strlen("GET / HTTP/1.1"), 'a');
    assert_int_equal(buf_adds(&b, " HTTP/1.1\r\nHost: h\r\n\r\n"), BUF_OK);
    assert_int_equal(status_of(&b), 414);
    start(&b, "GET /");
    pad(&b, MIB(1), 'a');
    assert_int_equal(status_of(&b), 414);

    start(&b, GET "A: ");
    pad(&b, MAX_HEADER_BYTES - b.len - 4, 'a');
    assert_int_equal(buf_adds(&b, "\r\n\r\n"), BUF_OK);
    assert_int_equal(status_of(&b), 200);
    start(&b, GET "A: ");
    pad(&b, MAX_HEADER_BYTES - b.len - 3, 'a');
    assert_int_equal(buf_adds(&b, "\r\n\r\n"), BUF_OK);
    assert_int_equal(status_of(&b), 431);
    start(&b, GET "A: ");
    pad(&b, MIB(1), 'a');
    assert_int_equal(status_of(&b), 431);

    for (size_t extra = 0; extra < 2; extra++) {
        start(&b, GET);
        for (size_t i = 1; i < MAX_HEADERS + extra; i++) {
            assert_int_equal(buf_adds(&b, "a: b\r\n"), BUF_OK);
        }
        assert_int_equal(buf_adds(&b, "\r\n"), BUF_OK);
        assert_int_equal(status_of(&b), extra ? 431 : 200);
    }

    start(&b, CHUNKED "1;");
    pad(&b, MAX_CHUNK_LINE - 4, 'a');
    assert_int_equal(buf_adds(&b, "\r\nx\r\n0\r\n\r\n"), BUF_OK);
    assert_int_equal(status_of(&b), 200);
    start(&b, CHUNKED "1;");
    pad(&b, MAX_CHUNK_LINE - 3, 'a');
    assert_int_equal(buf_adds(&b, "\r\nx\r\n0\r\n\r\n"), BUF_OK);
    assert_int_equal(status_of(&b), 400);

    start(&b, CHUNKED "0\r\na:");
    pad(&b, MAX_TRAILER_BYTES - 6, 'a');
    assert_int_equal(buf_adds(&b, "\r\n\r\n"), BUF_OK);
    assert_int_equal(status_of(&b), 200);
    start(&b, CHUNKED "0\r\na:");
    pad(&b, MAX_TRAILER_BYTES - 5, 'a');
    assert_int_equal(buf_adds(&b, "\r\n\r\n"), BUF_OK);
    assert_int_equal(status_of(&b), 431);
    buf_release(&b);
}

/* Goal: refusals repeat nothing that could be a secret or break a log line. */
static void test_messages_are_safe(void **state) {
    (void)state;
    static const struct str texts[] = {
        {GET "Authorization: Bearer sk-secret\001\r\n\r\n",
         sizeof(GET "Authorization: Bearer sk-secret\001\r\n\r\n") - 1},
        {"GET /sk-secret\x7f HTTP/1.1\r\nHost: h\r\n\r\n",
         sizeof("GET /sk-secret\x7f HTTP/1.1\r\nHost: h\r\n\r\n") - 1},
        {GET "sk-secret\r\n\r\n", sizeof(GET "sk-secret\r\n\r\n") - 1},
        {POST "Content-Length: sk-secret\r\n\r\n",
         sizeof(POST "Content-Length: sk-secret\r\n\r\n") - 1},
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct reading r = read_text(texts[i]);
        assert_int_equal(r.status, 400);
        assert_null(strstr(r.err.text, "secret"));
        assert_true(header_value_ok(str_of(r.err.text)));
        reading_release(&r);
    }
}

/* Goal: a head is written as it is given, nothing breaks out of its line, and a full buffer is left
 * as it was. */
static void test_write(void **state) {
    (void)state;
    struct headers h;
    struct buf out;
    headers_init(&h, 10, 1000);
    buf_init(&out, 1000);
    assert_int_equal(headers_add(&h, STR("Content-Type"), STR("text/plain")), 0);
    assert_int_equal(headers_add(&h, STR("X-A"), STR("b\r\nSet-Cookie: c")), 0);
    assert_int_equal(headers_add(&h, STR("X B"), STR("c")), 0);
    assert_int_equal(headers_add(&h, STR("X-C"), STR("")), 0);
    assert_int_equal(http_write_head(&out, 429, &h), 0);
    assert_string_equal(
        out.data, "HTTP/1.1 429 Too Many Requests\r\nContent-Type: text/plain\r\nX-C: \r\n\r\n");
    out.max = out.len + 20;
    size_t before = out.len;
    assert_int_equal(http_write_head(&out, 200, &h), -1);
    assert_int_equal(out.len, before);
    assert_string_equal(http_reason(200), "OK");
    assert_string_equal(http_reason(599), "Unknown");
    buf_release(&out);
    headers_release(&h);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_framing),           cmocka_unit_test(test_fields),
        cmocka_unit_test(test_request_line),      cmocka_unit_test(test_chunks),
        cmocka_unit_test(test_leaves_the_next),   cmocka_unit_test(test_targets),
        cmocka_unit_test(test_connection),        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_messages_are_safe), cmocka_unit_test(test_write),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
