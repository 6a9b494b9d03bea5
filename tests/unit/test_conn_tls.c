/* SPDX-License-Identifier: MIT */
/*
 * All that is asked of a connection, asked again over TLS: the same tests, on a rig whose two ends
 * speak it. Then what only TLS does: handshakes that fail, are slow or are none, and ends that are
 * told from cuts.
 */
#define RIG_TLS
int main_of_conn(void);
#define main main_of_conn
#include "test_conn.c"
#undef main

/* A connection whose peer has said nothing yet. */
static struct rig *rig_silent(void) {
    struct rig *rig = rig_bare();
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    rig->peer = fds[0];
    rig_attach(rig, fds[1]);
    return rig;
}

/* Goal: plain HTTP on a TLS port is answered in plain text, once, and the connection ends. */
static void test_plain_http(void **state) {
    (void)state;
    struct rig *rig = rig_silent();
    rig_send(rig, GET "\r\n");
    RIG_WAIT_READING(rig, rig->peer_eof);
    assert_true(rig_has(rig, "HTTP/1.1 400 Bad Request\r\n"));
    assert_true(rig_has(rig, "plain HTTP was sent to a TLS port"));
    assert_int_equal(rig->refused_status, 400);
    assert_int_equal(rig->tls_failed, 1);
    assert_string_equal(rig->tls_reason, "plain_http");
    assert_int_equal(rig->n_requests, 0);
    rig_hang_up(rig);
    RIG_WAIT(rig, rig->closed);
    rig_free(rig);
}

/* Goal: rubbish, and a peer that leaves before the end of the handshake, end the connection, and
 * are told once. */
static void test_failed_handshakes(void **state) {
    (void)state;
    struct rig *rig = rig_silent();
    rig_send_bytes(rig, "\x16\x03\x01\x00\x05\xff\xff\xff\xff\xff", 10);
    RIG_WAIT(rig, rig->closed);
    assert_int_equal(rig->tls_failed, 1);
    assert_string_equal(rig->tls_reason, "failed");
    rig_free(rig);
    rig = rig_silent();
    rig_send_bytes(rig, "\x16\x03\x01", 3);
    rig_settle(rig);
    rig_hang_up(rig);
    RIG_WAIT(rig, rig->closed);
    assert_string_equal(rig->tls_reason, "closed");
    rig_free(rig);
}

/* Goal: a handshake has the time of a head, however it drips; no answer is given. */
static void test_slow_handshake(void **state) {
    (void)state;
    struct rig *rig = rig_bare();
    int fds[2];
    rig->limits.header_time = 50000;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    rig->peer = fds[0];
    rig_attach(rig, fds[1]);
    rig_send_bytes(rig, "\x16\x03\x01", 3);
    RIG_WAIT(rig, rig->closed);
    rig_read(rig);
    assert_int_equal(rig->got.len, 0);
    assert_int_equal(rig->tls_failed, 1);
    assert_string_equal(rig->tls_reason, "timeout");
    rig_free(rig);
}

/* Goal: a connection in its handshake has nothing to lose: a drain closes it at once. */
static void test_drain_in_handshake(void **state) {
    (void)state;
    struct rig *rig = rig_silent();
    conn_drain(rig->conn, 0);
    assert_int_equal(rig->closed, 1);
    rig_free(rig);
}

/* Goal: who was still shaking hands when a drain's grace was over has that grace for the request.
 */
static void test_drain_outlasted_by_handshake(void **state) {
    (void)state;
    struct clock_virtual at = {.now = clock_now(), .wall = clock_wall()};
    struct clock_virtual *before = clock_use(&at);
    struct rig *rig = rig_silent();
    rig->on_request = answer_ok;
    conn_drain(rig->conn, USEC_PER_SEC);
    rig_settle(rig);
    at.now += 2 * USEC_PER_SEC;
    rig->peer_tls = tls_connect(rig_ends()->client, rig->peer, "rig.test");
    RIG_WAIT(rig, tls_handshake(rig->peer_tls) == 0);
    rig_settle(rig);
    assert_int_equal(rig->closed, 0);
    rig_send(rig, GET "\r\n");
    RIG_WAIT_READING(rig, rig_count(rig, "\r\n\r\nok") == 1);
    rig_free(rig);
    clock_use(before);
}

/* Goal: a request that came with the end of the handshake, and many in one record, are all seen:
 * no event of the socket tells of them. */
static void test_input_within_the_session(void **state) {
    (void)state;
    struct rig *rig = rig_silent();
    char many[20 * 64] = "";
    rig->on_request = answer_ok;
    rig->peer_tls = tls_connect(rig_ends()->client, rig->peer, "rig.test");
    RIG_WAIT(rig, tls_handshake(rig->peer_tls) == 0);
    rig_send(rig, GET "\r\n"); /* in the same turn as what ended the handshake */
    RIG_WAIT_READING(rig, rig_count(rig, "\r\n\r\nok") == 1);
    for (int i = 0; i < 20; i++) {
        strcat(many, GET "\r\n");
    }
    rig_send(rig, many);
    RIG_WAIT_READING(rig, rig_count(rig, "\r\n\r\nok") == 21);
    rig_free(rig);
}

/* Goal: an answer that ends with the connection ends with close_notify when it is whole, and
 * without when it was cut, so that the client can tell. */
static void test_end_or_cut(void **state) {
    (void)state;
    for (int whole = 0; whole < 2; whole++) {
        struct rig *rig = rig_new(SOCK_STREAM);
        char rest[64];
        ssize_t n;
        rig_send(rig, "GET /x HTTP/1.0\r\nHost: h\r\n\r\n");
        RIG_WAIT(rig, rig->n_requests == 1);
        conn_head(rig->conn, 200, NULL, CONN_LENGTH_UNKNOWN);
        conn_body(rig->conn, "abc", 3);
        if (whole) {
            conn_end(rig->conn);
        } else {
            conn_abort(rig->conn);
        }
        RIG_WAIT(rig, (n = tls_read(rig->peer_tls, rest, sizeof(rest))) != TLS_WANT_READ && n <= 0);
        assert_int_equal(n == 0, whole);
        rig_hang_up(rig);
        RIG_WAIT(rig, rig->closed);
        rig_free(rig);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_http),
        cmocka_unit_test(test_failed_handshakes),
        cmocka_unit_test(test_slow_handshake),
        cmocka_unit_test(test_drain_in_handshake),
        cmocka_unit_test(test_drain_outlasted_by_handshake),
        cmocka_unit_test(test_input_within_the_session),
        cmocka_unit_test(test_end_or_cut),
    };
    int failed = main_of_conn();
    return failed + cmocka_run_group_tests(tests, NULL, NULL);
}
