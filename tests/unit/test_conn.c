/* SPDX-License-Identifier: MIT */
/*
 * Client connections: requests in, answers out, back-pressure, deadlines, and clients that leave,
 * lie, or hang.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "../support/rig.h"

#define GET "GET /v1/x?a=b HTTP/1.1\r\nHost: h\r\n"
#define POST "POST /v1/x HTTP/1.1\r\nHost: h\r\n"
#define MS 1000

static void answer_ok(struct rig *rig, struct http_request *request) {
    (void)request;
    rig_answer(rig, 200, "ok");
}

/* Answers with the request's path and query, so that answers can be told apart. */
static void answer_target(struct rig *rig, struct http_request *request) {
    conn_head(rig->conn, 200, NULL, (long long)request->target.n);
    conn_body(rig->conn, request->target.p, request->target.n);
    conn_end(rig->conn);
}

/* Goal: a request arrives whole, with all that is known of it. */
static void test_request(void **state) {
    (void)state;
    struct rig *rig = rig_tcp();
    struct str v;
    rig_send(rig, "POST /v1/x?a=b HTTP/1.1\r\nHost: h\r\nX-A: b\r\nContent-Length: 5\r\n\r\nhello");
    RIG_WAIT(rig, rig->n_requests == 1);
    const struct http_request *r = rig->requests[0];
    assert_true(str_is(r->method, "POST"));
    assert_true(str_is(r->target, "/v1/x?a=b"));
    assert_true(str_is(r->path, "/v1/x"));
    assert_true(str_is(r->query, "a=b"));
    assert_true(headers_get(&r->headers, "x-a", &v));
    assert_true(str_is(v, "b"));
    assert_true(str_is(buf_str(&r->body), "hello"));
    assert_int_equal(r->minor, 1);
    assert_int_equal(
        r->wire_bytes,
        strlen("POST /v1/x?a=b HTTP/1.1\r\nHost: h\r\nX-A: b\r\nContent-Length: 5\r\n\r\nhello"));
    assert_true(r->started > 0 && r->received >= r->started);
    assert_int_equal(strncmp(r->peer, "127.0.0.1:", 10), 0);
    assert_int_equal(rig->heads, 1);
    rig_free(rig);
}

/* Goal: a request that comes byte by byte is the same request. */
static void test_byte_by_byte(void **state) {
    (void)state;
    static const char text[] =
        POST "Transfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nA: b\r\n\r\n";
    struct rig *rig = rig_new(SOCK_STREAM);
    rig->on_request = answer_ok;
    for (size_t i = 0; i < sizeof(text) - 1; i++) {
        assert_int_equal(rig->n_requests, 0);
        rig_send_bytes(rig, text + i, 1);
        event_base_loop(rig->base, EVLOOP_NONBLOCK);
    }
    RIG_WAIT_READING(rig, rig_has(rig, "\r\n\r\nok"));
    assert_true(str_is(buf_str(&rig->requests[0]->body), "abcde"));
    assert_int_equal(rig->requests[0]->wire_bytes, sizeof(text) - 1);
    rig_free(rig);
}

/* Goal: one connection serves one request after another. */
static void test_keep_alive(void **state) {
    (void)state;
    struct rig *rig = rig_new(SOCK_STREAM);
    rig->on_request = answer_target;
    for (int i = 1; i <= 3; i++) {
        rig_send(rig, GET "\r\n");
        RIG_WAIT_READING(rig, rig_count(rig, "\r\n\r\n/v1/x?a=b") == (size_t)i);
        assert_true(conn_idle(rig->conn));
    }
    assert_int_equal(rig_count(rig, "HTTP/1.1 200 OK\r\n"), 3);
    assert_int_equal(rig_count(rig, "Content-Length: 9\r\n"), 3);
    assert_int_equal(rig_count(rig, "Date: "), 3);
    assert_false(rig_has(rig, "Connection:"));
    assert_false(rig_has(rig, "Transfer-Encoding:"));
    rig_free(rig);
}

/* Goal: pipelined requests are delivered one at a time, each after the answer to the one before, in
 * order. */
static void test_pipelining(void **state) {
    (void)state;
    struct rig *rig = rig_new(SOCK_STREAM);
    rig_send(rig,
             "POST /1 HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nab"
             "POST /2 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nc\r\n0\r\n\r\n"
             "GET /3 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    for (size_t i = 0; i < 3; i++) {
        RIG_WAIT_READING(rig, rig->n_requests == i + 1);
        rig_settle(rig);
        assert_int_equal(rig->n_requests, i + 1);
        answer_target(rig, rig->requests[i]);
    }
    RIG_WAIT_READING(rig, rig->peer_eof);
    const char *one = strstr(rig->got.data, "\r\n\r\n/1HTTP/1.1");
    const char *two = strstr(rig->got.data, "\r\n\r\n/2HTTP/1.1");
    const char *three = strstr(rig->got.data, "\r\n\r\n/3");
    assert_true(one && two && three && one < two && two < three);
    assert_int_equal(rig_count(rig, "Connection: close\r\n"), 1);
    rig_free(rig);
}

/* Goal: hundreds of requests in one packet are answered without growing the stack, by an owner that
 * answers at once. */
static void test_many_pipelined(void **state) {
    (void)state;
    struct rig *rig = rig_new(SOCK_STREAM);
    rig->on_request = answer_ok;
    for (int i = 0; i < 500; i++) {
        rig_send(rig, GET "\r\n");
    }
    RIG_WAIT_READING(rig, rig_count(rig, "\r\n\r\nok") == 500);
    assert_int_equal(rig->n_requests, 500);
    rig_free(rig);
}

static void answer_large(struct rig *rig, struct http_request *request) {
    static const char block[KIB(64)];
    (void)request;
    conn_head(rig->conn, 200, NULL, sizeof(block));
    conn_body(rig->conn, block, sizeof(block));
    conn_end(rig->conn);
}

/* Goal: a client that sends requests and reads no answers has to wait: what is kept for it stays
 * bounded. */
static void test_pipelining_without_reading(void **state) {
    (void)state;
    struct rig *rig = rig_new(SOCK_STREAM);
    rig->on_request = answer_large;
    for (int i = 0; i < 200; i++) {
        rig_send(rig, GET "\r\n");
    }
    rig_settle(rig);
    assert_true(rig->n_requests < 20);
    RIG_WAIT_READING(rig, rig->got.len >= (size_t)200 * KIB(64));
    RIG_WAIT_READING(rig, rig->n_requests == 200);
    rig_free(rig);
}

/* Goal: 100 Continue comes when the body is wanted and not there, once, and only then. */
static void test_expect_continue(void **state) {
    (void)state;
    struct rig *rig = rig_new(SOCK_STREAM);
    rig->on_request = answer_ok;
    rig_send(rig, POST "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    RIG_WAIT_READING(rig, rig_has(rig, "HTTP/1.1 100 Continue\r\n\r\n"));
    assert_int_equal(rig->n_requests, 0);
    rig_send(rig, "ab");
    RIG_WAIT_READING(rig, rig_has(rig, "\r\n\r\nok"));
    assert_int_equal(rig_count(rig, " 100 "), 1);

    buf_clear(&rig->got);
    rig_send(rig, POST "Expect: 100-continue\r\nContent-Length: 2\r\n\r\nab");
    RIG_WAIT_READING(rig, rig_has(rig, "\r\n\r\nok"));
    rig_send(rig, GET "Expect: 100-continue\r\n\r\n");
    RIG_WAIT_READING(rig, rig_count(rig, "\r\n\r\nok") == 2);
    assert_false(rig_has(rig, " 100 "));
    rig_free(rig);
}

/* Goal: a head that its owner refuses gets that status and no 100 Continue; its body is neither
 * waited for nor delivered. */
static void test_head_refused(void **state) {
    (void)state;
    struct rig *rig = rig_new(SOCK_STREAM);
    rig->head_status = 401;
    rig_send(rig, POST "Expect: 100-continue\r\nContent-Length: 2000\r\n\r\n");
    RIG_WAIT_READING(rig, rig->peer_eof);
    assert_true(rig_has(rig, "HTTP/1.1 401 Unauthorized\r\n"));
    assert_true(rig_has(rig, "Connection: close\r\n"));
    assert_true(rig_has(rig, "{\"refused\":"));
    assert_false(rig_has(rig, " 100 "));
    assert_int_equal(rig->n_requests, 0);
    assert_int_equal(rig->refusals, 1);
    rig_free(rig);
}

/* Goal: malformed and oversized requests are refused with the right status, counted, and the
 * connection ends. */
static void test_refusals(void **state) {
    (void)state;
    static const struct {
        int status;
        const char *text;
    } rows[] = {
        {400, "GET / HTTP/1.1\r\n\r\n"},
        {400, "GET / HTTP/1.1\nHost: h\n\n"},
        {501, POST "Transfer-Encoding: xchunked\r\n\r\n"},
        {505, "GET / HTTP/3.0\r\nHost: h\r\n\r\n"},
        {413, POST "Content-Length: 65537\r\n\r\n"},
        {413, POST "Transfer-Encoding: chunked\r\n\r\n10001\r\n"},
        {400, POST "Transfer-Encoding: chunked\r\n\r\n0x5\r\n"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct rig *rig = rig_new(SOCK_STREAM);
        char line[32];
        rig_send(rig, rows[i].text);
        RIG_WAIT_READING(rig, rig->peer_eof);
        snprintf(line, sizeof(line), "HTTP/1.1 %d ", rows[i].status);
        assert_int_equal(strncmp(rig->got.data, line, strlen(line)), 0);
        assert_true(rig_has(rig, "\r\nContent-Type: application/json\r\n"));
        assert_true(rig_has(rig, "\r\nConnection: close\r\n"));
        assert_int_equal(rig->refused_status, rows[i].status);
        assert_int_equal(rig->refusals, 1);
        assert_int_equal(rig->n_requests, 0);
        rig_hang_up(rig);
        RIG_WAIT(rig, rig->closed);
        rig_free(rig);
    }
}

/* Goal: a body of exactly the limit is accepted, framed either way. */
static void test_body_of_the_limit(void **state) {
    (void)state;
    static char body[KIB(64)];
    struct rig *rig = rig_new(SOCK_STREAM);
    memset(body, 'x', sizeof(body));
    rig->on_request = answer_ok;
    rig_send(rig, POST "Content-Length: 65536\r\n\r\n");
    rig_send_bytes(rig, body, sizeof(body));
    RIG_WAIT(rig, rig->n_requests == 1);
    rig_send(rig, POST "Transfer-Encoding: chunked\r\n\r\n10000\r\n");
    rig_send_bytes(rig, body, sizeof(body));
    rig_send(rig, "\r\n0\r\n\r\n");
    RIG_WAIT(rig, rig->n_requests == 2);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(rig->requests[i]->body.len, sizeof(body));
        assert_memory_equal(rig->requests[i]->body.data, body, sizeof(body));
    }
    rig_free(rig);
}

/* Goal: a client that is still sending its far too large body gets the whole 413 and an orderly
 * end, not a reset. */
static void refused_while_sending(const char *head) {
    static const char block[KIB(16)];
    struct rig *rig = rig_tcp();
    rig_send(rig, head);
    for (int i = 0; i < 64; i++) {
        ssize_t n = rig_send_some(rig, block, sizeof(block));
        assert_true(n > 0 || errno == EAGAIN);
        rig_pump(rig);
    }
    RIG_WAIT_READING(rig, rig->peer_eof);
    assert_int_equal(rig->peer_errno, 0);
    assert_int_equal(strncmp(rig->got.data, "HTTP/1.1 413 ", 13), 0);
    assert_true(rig_has(rig, "\"}"));
    rig_hang_up(rig);
    RIG_WAIT(rig, rig->closed);
    rig_free(rig);
}

static void test_413_while_sending(void **state) {
    (void)state;
    refused_while_sending(POST "Content-Length: 9999999\r\n\r\n");
    refused_while_sending(POST "Transfer-Encoding: chunked\r\n\r\nffffff\r\n");
}

/* Goal: the lingering of a client that never closes ends by itself. */
static void test_lingering_ends(void **state) {
    (void)state;
    struct rig *rig = rig_new(SOCK_STREAM);
    rig_send(rig, "nonsense\r\n");
    RIG_WAIT_READING(rig, rig->peer_eof);
    assert_int_equal(rig->closed, 0);
    RIG_WAIT(rig, rig->closed);
    rig_free(rig);
}

/* Goal: HEAD and 204 and 304 carry no body whatever the owner gives, and what follows is
 * understood. */
static void test_no_body(void **state) {
    (void)state;
    struct rig *rig = rig_new(SOCK_STREAM);
    rig_send(rig, "HEAD /x HTTP/1.1\r\nHost: h\r\n\r\n" GET "\r\n" GET "\r\n" GET "\r\n");
    RIG_WAIT(rig, rig->n_requests == 1);
    rig_answer(rig, 200, "12345");
    assert_int_equal(conn_bytes_out(rig->conn), 0);
    RIG_WAIT(rig, rig->n_requests == 2);
    rig_answer(rig, 204, "12345");
    RIG_WAIT(rig, rig->n_requests == 3);
    conn_head(rig->conn, 304, NULL, CONN_LENGTH_UNKNOWN);
    conn_body(rig->conn, "12345", 5);
    conn_end(rig->conn);
    RIG_WAIT(rig, rig->n_requests == 4);
    rig_answer(rig, 200, "end");
    RIG_WAIT_READING(rig, rig_has(rig, "\r\n\r\nend"));
    assert_false(rig_has(rig, "12345"));
    assert_false(rig_has(rig, "chunked"));
    assert_int_equal(rig_count(rig, "Content-Length: 5\r\n"), 1);
    assert_int_equal(rig_count(rig, "Content-Length:"), 2);
    rig_free(rig);
}

/* Goal: HTTP/1.0 clients get no chunks: a body of unknown length ends with the connection; a known
 * one may keep it. */
static void test_http10(void **state) {
    (void)state;
    struct rig *rig = rig_new(SOCK_STREAM);
    rig_send(rig, "GET /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    RIG_WAIT(rig, rig->n_requests == 1);
    rig_answer(rig, 200, "known");
    RIG_WAIT_READING(rig, rig_has(rig, "known"));
    assert_true(rig_has(rig, "Connection: keep-alive\r\n"));
    rig_send(rig, "GET /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    RIG_WAIT(rig, rig->n_requests == 2);
    conn_head(rig->conn, 200, NULL, CONN_LENGTH_UNKNOWN);
    conn_body(rig->conn, "a", 1);
    conn_body(rig->conn, "b", 1);
    conn_end(rig->conn);
    RIG_WAIT_READING(rig, rig->peer_eof);
    assert_true(rig_has(rig, "Connection: close\r\n\r\nab"));
    assert_false(rig_has(rig, "Transfer-Encoding"));
    rig_free(rig);
}

/* Goal: a stream goes out in chunks, its head together with the first of them, each turn's output
 * in one write. */
static void test_chunks(void **state) {
    (void)state;
    struct rig *rig = rig_new(SOCK_SEQPACKET);
    struct headers h;
    char big[300];
    memset(big, 'z', sizeof(big));
    rig_send(rig, GET "\r\n");
    RIG_WAIT(rig, rig->n_requests == 1);
    headers_init(&h, 10, 1000);
    assert_int_equal(headers_add(&h, STR("Content-Type"), STR("text/event-stream")), 0);
    assert_int_equal(headers_add(&h, STR("Content-Length"), STR("99")), 0);
    assert_int_equal(headers_add(&h, STR("transfer-encoding"), STR("gzip")), 0);
    assert_int_equal(headers_add(&h, STR("Connection"), STR("upgrade")), 0);
    assert_int_equal(headers_add(&h, STR("DATE"), STR("never")), 0);
    conn_head(rig->conn, 200, &h, CONN_LENGTH_UNKNOWN);
    headers_release(&h);
    conn_body(rig->conn, "data: a\n\n", 9);
    conn_body(rig->conn, "", 0);
    RIG_WAIT(rig, (rig_read(rig), rig->got.len > 0));
    assert_true(rig_has(rig, "Transfer-Encoding: chunked\r\n\r\n9\r\ndata: a\n\n\r\n"));
    assert_int_equal(rig_count(rig, "Content-Length"), 0);
    assert_int_equal(rig_count(rig, "gzip"), 0);
    assert_int_equal(rig_count(rig, "upgrade"), 0);
    assert_int_equal(rig_count(rig, "never"), 0);

    buf_clear(&rig->got);
    conn_body(rig->conn, big, sizeof(big));
    conn_body(rig->conn, "b", 1);
    RIG_WAIT(rig, (rig_read(rig), rig->got.len > 0));
    assert_int_equal(strncmp(rig->got.data, "12c\r\nzzz", 8), 0);
    assert_true(rig_has(rig, "z\r\n1\r\nb\r\n"));
    assert_int_equal(conn_bytes_out(rig->conn), 310);

    buf_clear(&rig->got);
    conn_end(rig->conn);
    RIG_WAIT(rig, (rig_read(rig), rig->got.len > 0));
    assert_string_equal(rig->got.data, "0\r\n\r\n");
    rig_free(rig);
}

/* Goal: an aborted stream ends without its final chunk, an aborted or short body short of its
 * length; both end the connection. */
static void test_abort(void **state) {
    (void)state;
    for (int way = 0; way < 3; way++) {
        struct rig *rig = rig_new(SOCK_STREAM);
        rig_send(rig, GET "\r\n" GET "\r\n");
        RIG_WAIT(rig, rig->n_requests == 1);
        conn_head(rig->conn, 200, NULL, way == 0 ? CONN_LENGTH_UNKNOWN : 13);
        conn_body(rig->conn, "abc", 3);
        if (way == 2) {
            conn_end(rig->conn);
        } else {
            conn_abort(rig->conn);
        }
        RIG_WAIT_READING(rig, rig->peer_eof);
        assert_true(rig_has(rig, way == 0 ? "\r\n\r\n3\r\nabc\r\n" : "\r\n\r\nabc"));
        assert_false(rig_has(rig, "0\r\n\r\n"));
        assert_true(str_ends(buf_str(&rig->got), way == 0 ? "abc\r\n" : "abc"));
        rig_hang_up(rig);
        RIG_WAIT(rig, rig->closed);
        assert_int_equal(rig->n_requests, 1);
        assert_int_equal(rig->gone, 0);
        rig_free(rig);
    }
}

/* Goal: an aborted answer that would end with the connection is reset after its bytes, since a
 * plain end would look whole. */
static void test_abort_http10(void **state) {
    (void)state;
    struct rig *rig = rig_tcp();
    rig_send(rig, "GET /x HTTP/1.0\r\nHost: h\r\n\r\n");
    RIG_WAIT(rig, rig->n_requests == 1);
    conn_head(rig->conn, 200, NULL, CONN_LENGTH_UNKNOWN);
    conn_body(rig->conn, "abc", 3);
    conn_abort(rig->conn);
    RIG_WAIT_READING(rig, rig->peer_eof);
    assert_int_equal(rig->peer_errno, ECONNRESET);
    assert_true(rig_has(rig, "\r\n\r\nabc"));
    assert_int_equal(rig->closed, 1);
    rig_free(rig);
}

/* Goal: so is one whose connection is closed under it, or whose client takes it too slowly. */
static void test_close_http10(void **state) {
    (void)state;
    static const char much[MIB(1)];
    for (int stalls = 0; stalls < 2; stalls++) {
        struct rig *rig = rig_tcp();
        rig->limits.write_time = 50000;
        rig_send(rig, "GET /x HTTP/1.0\r\nHost: h\r\n\r\n");
        RIG_WAIT(rig, rig->n_requests == 1);
        conn_head(rig->conn, 200, NULL, CONN_LENGTH_UNKNOWN);
        conn_body(rig->conn, "abc", 3);
        if (stalls) {
            for (int i = 0; i < 6; i++) {
                conn_body(rig->conn, much, sizeof(much));
            }
            RIG_WAIT(rig, rig->closed);
        } else {
            RIG_WAIT_READING(rig, rig_has(rig, "\r\n\r\nabc"));
            conn_kill(rig->conn);
        }
        RIG_WAIT_READING(rig, rig->peer_eof);
        assert_int_equal(rig->peer_errno, ECONNRESET);
        rig_free(rig);
    }
}

/* Goal: an abort before the head sends nothing at all. */
static void test_abort_before_head(void **state) {
    (void)state;
    struct rig *rig = rig_new(SOCK_STREAM);
    rig_send(rig, GET "\r\n");
    RIG_WAIT(rig, rig->n_requests == 1);
    conn_abort(rig->conn);
    RIG_WAIT_READING(rig, rig->peer_eof);
    assert_int_equal(rig->got.len, 0);
    rig_free(rig);
}

/* Goal: bytes beyond the length that was promised are dropped, and the connection ends. */
static void test_surplus(void **state) {
    (void)state;
    struct rig *rig = rig_new(SOCK_STREAM);
    rig_send(rig, GET "\r\n");
    RIG_WAIT(rig, rig->n_requests == 1);
    conn_head(rig->conn, 200, NULL, 3);
    conn_body(rig->conn, "ab", 2);
    conn_body(rig->conn, "cde", 3);
    conn_body(rig->conn, "f", 1);
    assert_int_equal(conn_bytes_out(rig->conn), 3);
    conn_end(rig->conn);
    RIG_WAIT_READING(rig, rig->peer_eof);
    assert_true(str_ends(buf_str(&rig->got), "\r\n\r\nabc"));
    rig_free(rig);
}

/* Goal: a client that leaves while its answer is awaited is noticed, once, with the request's
 * context; likewise in mid-stream. */
static void test_gone(void **state) {
    (void)state;
    for (int streaming = 0; streaming < 2; streaming++) {
        struct rig *rig = rig_tcp();
        rig_send(rig, GET "\r\n");
        RIG_WAIT(rig, rig->n_requests == 1);
        conn_set_request_ctx(rig->conn, rig->requests[0]);
        if (streaming) {
            conn_head(rig->conn, 200, NULL, CONN_LENGTH_UNKNOWN);
            conn_body(rig->conn, "a", 1);
            RIG_WAIT_READING(rig, rig_has(rig, "1\r\na\r\n"));
        }
        assert_int_equal(rig->gone, 0);
        rig_hang_up(rig);
        RIG_WAIT(rig, rig->closed);
        assert_int_equal(rig->gone, 1);
        assert_ptr_equal(rig->gone_ctx, rig->requests[0]);
        rig_free(rig);
    }
}

/* Goal: the end is seen behind pipelined requests, too; those are never delivered. */
static void test_gone_behind_pipelined(void **state) {
    (void)state;
    struct rig *rig = rig_new(SOCK_STREAM);
    rig_send(rig, GET "\r\n" GET "\r\n" GET "\r\n");
    RIG_WAIT(rig, rig->n_requests == 1);
    rig_hang_up(rig);
    RIG_WAIT(rig, rig->closed);
    assert_int_equal(rig->gone, 1);
    assert_int_equal(rig->n_requests, 1);
    rig_free(rig);
}

/* Goal: a reset is noticed even while reading is stopped because so much is pipelined. */
static void test_reset_while_not_reading(void **state) {
    (void)state;
    struct rig *rig = rig_tcp();
    struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    rig_send(rig, GET "\r\n");
    RIG_WAIT(rig, rig->n_requests == 1);
    for (int i = 0; i < 2000; i++) {
        rig_send(rig, GET "\r\n");
    }
    rig_settle(rig);
    assert_int_equal(rig->gone, 0);
    assert_int_equal(setsockopt(rig->peer, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)), 0);
    rig_hang_up(rig);
    RIG_WAIT(rig, rig->closed);
    assert_int_equal(rig->gone, 1);
    rig_free(rig);
}

/* Goal: a client that closes its sending side right after the answer was given still gets all of
 * it. */
static void test_half_close_after_answer(void **state) {
    (void)state;
    static char body[MIB(1)];
    struct rig *rig = rig_new(SOCK_STREAM);
    memset(body, 'x', sizeof(body));
    rig_send(rig, GET "\r\n");
    RIG_WAIT(rig, rig->n_requests == 1);
    conn_head(rig->conn, 200, NULL, sizeof(body));
    conn_body(rig->conn, body, sizeof(body));
    conn_end(rig->conn);
    rig_half_close(rig);
    rig_settle(rig);
    RIG_WAIT_READING(rig, rig->peer_eof);
    assert_true(rig->got.len > sizeof(body));
    assert_int_equal(rig->gone, 0);
    rig_free(rig);
}

static void fill(struct rig *rig) {
    char block[1000];
    memset(block, 'y', sizeof(block));
    while (!conn_full(rig->conn)) {
        conn_body(rig->conn, block, sizeof(block));
    }
}

/* Goal: with a reader that stops, the connection says full after a bounded amount; once it reads
 * on, drained comes, once. */
static void test_back_pressure(void **state) {
    (void)state;
    struct rig *rig = rig_new(SOCK_STREAM);
    rig_send(rig, GET "\r\n");
    RIG_WAIT(rig, rig->n_requests == 1);
    conn_head(rig->conn, 200, NULL, 100 * 1000 * 1000);
    for (int i = 0; i < 10; i++) {
        fill(rig);
        rig_settle(rig);
    }
    size_t given = conn_bytes_out(rig->conn);
    assert_true(given < MIB(4));
    assert_int_equal(rig->drained, 0);
    RIG_WAIT_READING(rig, rig->drained == 1);
    assert_false(conn_full(rig->conn));
    const char *body = strstr(rig->got.data, "\r\n\r\n") + 4;
    size_t head = (size_t)(body - rig->got.data);
    RIG_WAIT_READING(rig, rig->got.len == head + given);
    assert_int_equal(rig->drained, 1);
    assert_int_equal(strspn(body, "y"), given);
    rig_free(rig);
}

static void refill(struct rig *rig) {
    if (rig->drained < 5) {
        fill(rig);
    } else {
        conn_end(rig->conn);
    }
}

/* Goal: an owner may write and end from inside drained. */
static void test_refill_when_drained(void **state) {
    (void)state;
    struct rig *rig = rig_new(SOCK_STREAM);
    rig->on_drained = refill;
    rig_send(rig, GET "\r\n");
    RIG_WAIT(rig, rig->n_requests == 1);
    conn_head(rig->conn, 200, NULL, CONN_LENGTH_UNKNOWN);
    fill(rig);
    RIG_WAIT_READING(rig, str_ends(buf_str(&rig->got), "\r\n0\r\n\r\n"));
    assert_int_equal(rig->drained, 5);
    rig_free(rig);
}

static void kill_conn(struct rig *rig) {
    conn_kill(rig->conn);
}

static void kill_on_request(struct rig *rig, struct http_request *request) {
    (void)request;
    rig_answer(rig, 200, "never seen");
    conn_kill(rig->conn);
}

static void abort_on_request(struct rig *rig, struct http_request *request) {
    (void)request;
    conn_abort(rig->conn);
}

static void drain_on_request(struct rig *rig, struct http_request *request) {
    conn_drain(rig->conn, 0);
    answer_ok(rig, request);
    conn_drain(rig->conn, 0);
}

/* Goal: every way to end a connection from inside its callbacks is safe, and closed is reported
 * once. */
static void test_ending_inside_callbacks(void **state) {
    (void)state;
    static void (*const ways[])(struct rig *, struct http_request *) = {
        kill_on_request, abort_on_request, drain_on_request};
    for (size_t i = 0; i < 3; i++) {
        struct rig *rig = rig_new(SOCK_STREAM);
        rig->on_request = ways[i];
        rig_send(rig, POST "Content-Length: 1\r\n\r\na" GET "\r\n");
        RIG_WAIT_READING(rig, rig->peer_eof);
        rig_hang_up(rig);
        RIG_WAIT(rig, rig->closed);
        assert_int_equal(rig->n_requests, 1);
        assert_int_equal(rig->gone, 0);
        rig_free(rig);
    }
    struct rig *rig = rig_new(SOCK_STREAM);
    rig->on_gone = kill_conn;
    rig_send(rig, GET "\r\n");
    RIG_WAIT(rig, rig->n_requests == 1);
    rig_hang_up(rig);
    RIG_WAIT(rig, rig->closed);
    rig_free(rig);

    rig = rig_new(SOCK_STREAM);
    rig->on_drained = kill_conn;
    rig_send(rig, GET "\r\n");
    RIG_WAIT(rig, rig->n_requests == 1);
    conn_head(rig->conn, 200, NULL, CONN_LENGTH_UNKNOWN);
    fill(rig);
    RIG_WAIT_READING(rig, rig->closed);
    assert_int_equal(rig->gone, 0);
    rig_free(rig);
}

/* Goal: at shutdown an idle connection closes at once, and one at work after its answer, which says
 * so. */
static void test_drain(void **state) {
    (void)state;
    struct rig *rig = rig_new(SOCK_STREAM);
    rig->on_request = answer_ok;
    rig_send(rig, GET "\r\n");
    RIG_WAIT_READING(rig, rig_has(rig, "\r\n\r\nok"));
    RIG_WAIT(rig, conn_idle(rig->conn));
    conn_drain(rig->conn, 0);
    assert_int_equal(rig->closed, 1);
    rig_free(rig);

    rig = rig_new(SOCK_STREAM);
    rig_send(rig, GET "\r\n" GET "\r\n");
    RIG_WAIT(rig, rig->n_requests == 1);
    conn_drain(rig->conn, 0);
    rig_settle(rig);
    assert_int_equal(rig->closed, 0);
    assert_false(conn_idle(rig->conn));
    rig_answer(rig, 200, "last");
    RIG_WAIT_READING(rig, rig->peer_eof);
    assert_true(rig_has(rig, "Connection: close\r\n\r\nlast"));
    assert_int_equal(rig->n_requests, 1);
    rig_free(rig);
}

/* Goal: the owner can end the connection with an answer, before its head or after. */
static void test_close_after(void **state) {
    (void)state;
    for (int late = 0; late < 2; late++) {
        struct rig *rig = rig_new(SOCK_STREAM);
        rig_send(rig, GET "\r\n");
        RIG_WAIT(rig, rig->n_requests == 1);
        if (!late) {
            conn_close_after(rig->conn);
        }
        conn_head(rig->conn, 200, NULL, 2);
        conn_close_after(rig->conn);
        conn_body(rig->conn, "ok", 2);
        conn_end(rig->conn);
        RIG_WAIT_READING(rig, rig->peer_eof);
        assert_int_equal(rig_has(rig, "Connection: close\r\n"), !late);
        assert_true(str_ends(buf_str(&rig->got), "ok"));
        rig_free(rig);
    }
}

/* Goal: a head that dribbles is cut off by a deadline that its bytes do not move, with a 408. */
static void test_head_deadline(void **state) {
    (void)state;
    struct rig *rig = rig_new(SOCK_STREAM);
    rig->limits.header_time = 200 * MS;
    rig_send(rig, "GET / HTTP/1.1\r\n");
    usec started = clock_now(), sent = started;
    usec until = started + RIG_DEADLINE;
    while (!rig->peer_eof && clock_now() < until) {
        rig_pump(rig);
        rig_read(rig);
        if (!rig->peer_eof && rig->got.len == 0 && clock_now() - sent > 20 * MS) {
            rig_send(rig, "A: b\r\n");
            sent = clock_now();
        }
    }
    assert_true(clock_now() - started >= 200 * MS);
    assert_int_equal(strncmp(rig->got.data, "HTTP/1.1 408 ", 13), 0);
    assert_true(rig_has(rig, "Connection: close\r\n"));
    assert_int_equal(rig->refused_status, 408);
    rig_free(rig);
}

/* Goal: an idle connection is closed without a word; line ends between requests do not make it
 * busy. */
static void test_idle_deadline(void **state) {
    (void)state;
    struct rig *rig = rig_new(SOCK_STREAM);
    rig->on_request = answer_ok;
    rig->limits.idle_time = 100 * MS;
    conn_set_limits(rig->conn, &rig->limits);
    rig_send(rig, GET "\r\n\r\n");
    RIG_WAIT_READING(rig, rig->peer_eof);
    assert_int_equal(rig_count(rig, "HTTP/1.1"), 1);
    assert_int_equal(rig->refusals, 0);
    assert_int_equal(rig->closed, 1);
    rig_free(rig);
}

/* Goal: waiting for an answer is no idling. */
static void test_answer_may_take_long(void **state) {
    (void)state;
    struct rig *rig = rig_new(SOCK_STREAM);
    rig->limits = (struct conn_limits){.body = 10,
                                       .header_time = 50 * MS,
                                       .body_time = 50 * MS,
                                       .idle_time = 50 * MS,
                                       .write_time = 50 * MS};
    conn_set_limits(rig->conn, &rig->limits);
    rig_send(rig, GET "\r\n" GET);
    RIG_WAIT(rig, rig->n_requests == 1);
    usec until = clock_now() + 200 * MS;
    RIG_WAIT(rig, clock_now() > until);
    rig_answer(rig, 200, "ok");
    RIG_WAIT_READING(rig, rig_has(rig, "\r\n\r\nok"));
    assert_int_equal(rig->gone, 0);
    rig_free(rig);
}

/* Goal: a body that does not come whole in time gets a 408. */
static void test_body_deadline(void **state) {
    (void)state;
    struct rig *rig = rig_new(SOCK_STREAM);
    rig->limits.body_time = 100 * MS;
    rig_send(rig, POST "Content-Length: 10\r\n\r\nabc");
    RIG_WAIT_READING(rig, rig->peer_eof);
    assert_int_equal(strncmp(rig->got.data, "HTTP/1.1 408 ", 13), 0);
    assert_int_equal(rig->n_requests, 0);
    rig_free(rig);
}

/* Goal: a client that takes nothing for write_time is gone; when its answer was complete, it is
 * just closed. */
static void test_write_stall(void **state) {
    (void)state;
    static const char block[MIB(2)];
    for (int ended = 0; ended < 2; ended++) {
        struct rig *rig = rig_new(SOCK_STREAM);
        rig->limits.write_time = 100 * MS;
        rig_send(rig, GET "\r\n");
        RIG_WAIT(rig, rig->n_requests == 1);
        conn_head(rig->conn, 200, NULL, sizeof(block));
        conn_body(rig->conn, block, sizeof(block));
        if (ended) {
            conn_end(rig->conn);
        }
        RIG_WAIT(rig, rig->closed);
        assert_int_equal(rig->gone, !ended);
        rig_free(rig);
    }
}

/* Goal: output beyond every bound ends the connection instead of growing. */
static void test_output_bounded(void **state) {
    (void)state;
    static const char block[MIB(1)];
    struct rig *rig = rig_new(SOCK_STREAM);
    rig_send(rig, GET "\r\n");
    RIG_WAIT(rig, rig->n_requests == 1);
    conn_head(rig->conn, 200, NULL, CONN_LENGTH_UNKNOWN);
    for (int i = 0; i < 20; i++) {
        conn_body(rig->conn, block, sizeof(block));
    }
    RIG_WAIT(rig, rig->closed);
    assert_int_equal(rig->gone, 1);
    rig_free(rig);
}

/* Goal: a client that leaves before its request is whole costs no callback but closed. */
static void test_leaves_early(void **state) {
    (void)state;
    static const char *const texts[] = {"", "GET / HT", GET, POST "Content-Length: 5\r\n\r\nab"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct rig *rig = rig_new(SOCK_STREAM);
        rig_send(rig, texts[i]);
        rig_settle(rig);
        rig_hang_up(rig);
        RIG_WAIT(rig, rig->closed);
        assert_int_equal(rig->n_requests + (size_t)rig->gone + (size_t)rig->refusals, 0);
        rig_free(rig);
    }
}

/* ---- without a socket ---- */

static struct rig *rig_fed(void) {
    struct rig *rig = rig_bare();
    rig_attach(rig, -1);
    return rig;
}

static size_t feed(struct rig *rig, const char *text) {
    size_t n = conn_feed(rig->conn, text, strlen(text));
    event_base_loop(rig->base, EVLOOP_NONBLOCK);
    return n;
}

/* Goal: requests that are fed are read, and answered in order, like those of a socket. */
static void test_fed_requests(void **state) {
    (void)state;
    static const char text[] = POST "Content-Length: 5\r\n\r\nhello" GET "\r\n";
    struct rig *rig = rig_fed();
    rig->on_request = answer_target;
    for (size_t i = 0; i < strlen(text); i++) {
        assert_int_equal(conn_feed(rig->conn, text + i, 1), 1);
    }
    event_base_loop(rig->base, EVLOOP_NONBLOCK);
    assert_int_equal(rig->n_requests, 2);
    assert_true(str_is(buf_str(&rig->requests[0]->body), "hello"));
    assert_string_equal(rig->requests[0]->peer, "local");
    assert_int_equal(feed(rig, text), strlen(text));
    assert_int_equal(rig->n_requests, 4);
    assert_int_equal(rig_count(rig, "HTTP/1.1 200 OK\r\n"), 4);
    assert_int_equal(rig_count(rig, "\r\n\r\n/v1/x?a=b"), 2);
    conn_feed_eof(rig->conn);
    assert_null(rig->conn);
    assert_int_equal(rig->gone, 0);
    rig_free(rig);
}

/* Goal: what cannot be a request is refused, and the connection closes by itself; a large body
 * comes whole. */
static void test_fed_refused(void **state) {
    (void)state;
    struct rig *rig = rig_fed();
    feed(rig, "no request at all\r\n\r\n");
    assert_null(rig->conn);
    assert_int_equal(rig->refusals, 1);
    assert_true(rig_has(rig, "HTTP/1.1 400 "));
    rig_free(rig);
    rig = rig_fed();
    struct buf big;
    buf_init(&big, MIB(1));
    assert_int_equal(buf_adds(&big, POST "Content-Length: 60000\r\n\r\n"), BUF_OK);
    size_t head = big.len;
    for (int i = 0; i < 60000; i++) {
        assert_int_equal(buf_addc(&big, (char)('a' + i % 26)), BUF_OK);
    }
    assert_int_equal(conn_feed(rig->conn, big.data, big.len), big.len);
    assert_int_equal(rig->n_requests, 1);
    assert_memory_equal(rig->requests[0]->body.data, big.data + head, 60000);
    buf_release(&big);
    rig_free(rig);
}

/* Goal: more than MAX_HEADER_BYTES does not wait behind an answer. */
static void test_fed_too_much(void **state) {
    (void)state;
    struct rig *rig = rig_fed();
    static char block[KIB(16)];
    memset(block, 'x', sizeof(block));
    feed(rig, GET "\r\n");
    size_t taken = 0;
    for (int i = 0; i < 8; i++) {
        taken += conn_feed(rig->conn, block, sizeof(block));
    }
    assert_true(taken >= MAX_HEADER_BYTES && taken < 4 * sizeof(block));
    rig_free(rig);
}

/* Goal: a client that leaves is told of at once; an answer that is cut closes the connection. */
static void test_fed_ends(void **state) {
    (void)state;
    struct rig *rig = rig_fed();
    feed(rig, GET "\r\n");
    conn_head(rig->conn, 200, NULL, CONN_LENGTH_UNKNOWN);
    conn_body(rig->conn, "part", 4);
    conn_feed_eof(rig->conn);
    assert_int_equal(rig->gone, 1);
    assert_null(rig->conn);
    rig_free(rig);
    rig = rig_fed();
    feed(rig, GET "\r\n");
    conn_head(rig->conn, 200, NULL, CONN_LENGTH_UNKNOWN);
    conn_body(rig->conn, "part", 4);
    conn_abort(rig->conn);
    event_base_loop(rig->base, EVLOOP_NONBLOCK);
    assert_null(rig->conn);
    assert_int_equal(rig->gone, 0);
    assert_true(rig_has(rig, "4\r\npart\r\n"));
    assert_false(rig_has(rig, "0\r\n\r\n"));
    rig_free(rig);
}

/* Goal: no deadline of the loop's time ends it. */
static void test_fed_keeps_no_time(void **state) {
    (void)state;
    struct rig *rig = rig_bare();
    rig->limits.header_time = rig->limits.idle_time = rig->limits.body_time = MS;
    rig_attach(rig, -1);
    feed(rig, "GET / HT");
    for (int i = 0; i < 5; i++) {
        rig_pump(rig);
    }
    assert_non_null(rig->conn);
    assert_int_equal(event_base_get_num_events(rig->base, EVENT_BASE_COUNT_ADDED), 0);
    rig_free(rig);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request),
        cmocka_unit_test(test_byte_by_byte),
        cmocka_unit_test(test_keep_alive),
        cmocka_unit_test(test_pipelining),
        cmocka_unit_test(test_many_pipelined),
        cmocka_unit_test(test_pipelining_without_reading),
        cmocka_unit_test(test_expect_continue),
        cmocka_unit_test(test_head_refused),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_body_of_the_limit),
        cmocka_unit_test(test_413_while_sending),
        cmocka_unit_test(test_lingering_ends),
        cmocka_unit_test(test_no_body),
        cmocka_unit_test(test_http10),
        cmocka_unit_test(test_chunks),
        cmocka_unit_test(test_abort),
        cmocka_unit_test(test_abort_http10),
        cmocka_unit_test(test_close_http10),
        cmocka_unit_test(test_abort_before_head),
        cmocka_unit_test(test_surplus),
        cmocka_unit_test(test_gone),
        cmocka_unit_test(test_gone_behind_pipelined),
        cmocka_unit_test(test_reset_while_not_reading),
        cmocka_unit_test(test_half_close_after_answer),
        cmocka_unit_test(test_back_pressure),
        cmocka_unit_test(test_refill_when_drained),
        cmocka_unit_test(test_ending_inside_callbacks),
        cmocka_unit_test(test_drain),
        cmocka_unit_test(test_close_after),
        cmocka_unit_test(test_head_deadline),
        cmocka_unit_test(test_idle_deadline),
        cmocka_unit_test(test_answer_may_take_long),
        cmocka_unit_test(test_body_deadline),
        cmocka_unit_test(test_write_stall),
        cmocka_unit_test(test_output_bounded),
        cmocka_unit_test(test_leaves_early),
        cmocka_unit_test(test_fed_requests),
        cmocka_unit_test(test_fed_refused),
        cmocka_unit_test(test_fed_too_much),
        cmocka_unit_test(test_fed_ends),
        cmocka_unit_test(test_fed_keeps_no_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
