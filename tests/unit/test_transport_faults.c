/* SPDX-License-Identifier: MIT */
/*
 * The libcurl transport against servers that close, lie, cut short or say too much. One request is
 * one request, whatever they do.
 */
#include "../support/scripted_server.h"

/* Answers once, then reads the second request and closes; would serve a third. */
static void script_stale_after_read(struct server *s) {
    int fd = server_accept(s);
    if (server_read(s, fd)) {
        server_send(fd, s->text);
        server_read(s, fd);
    }
    close(fd);
    fd = server_accept(s);
    if (fd >= 0) {
        if (server_read(s, fd)) {
            server_send(fd, s->text);
        }
        close(fd);
    }
}

/* The same, but closes when the second request has begun to arrive, unread. */
static void script_stale_unread(struct server *s) {
    int fd = server_accept(s);
    if (server_read(s, fd)) {
        server_send(fd, s->text);
        wait_readable(fd);
    }
    close(fd);
    fd = server_accept(s);
    if (fd >= 0) {
        if (server_read(s, fd)) {
            server_send(fd, s->text);
        }
        close(fd);
    }
}

static void stale_case(struct fixture *f, void (*script)(struct server *), const char *method,
                       const char *body, int seen) {
    struct server s;
    struct client c;
    server_start(&s, script, OK_HEAD "Content-Length: 2" CRLF CRLF "ok");
    run(f, &c, method, url_of(&s), body);
    assert_int_equal(c.result.outcome, OUTCOME_OK);
    run(f, &c, method, url_of(&s), body);
    assert_int_equal(c.result.outcome, OUTCOME_STALE_CONNECTION);
    assert_true(c.reused);
    assert_int_equal(c.connected, 1);
    assert_int_equal(c.heads, 0);
    assert_int_not_equal(c.result.sent, SENT_NOTHING);
    assert_int_equal(s.requests, seen);
    assert_int_equal(s.accepted, 1);
    /* And the next one is served by a new connection: nothing is stuck. */
    run(f, &c, method, url_of(&s), body);
    if (c.result.outcome != OUTCOME_OK) {
        fail_msg("after a stale %s: %s (%s)", method, outcome_name(c.result.outcome), c.detail);
    }
    assert_int_equal(c.result.outcome, OUTCOME_OK);
    assert_false(c.reused);
    server_join(&s);
    assert_int_equal(s.requests, seen + 1);
    assert_int_equal(s.accepted, 2);
}

/* Goal: a reused connection that dies is reported, and the request is never sent a second time
 * (libcurl would, by itself). */
static void test_stale(void **state) {
    struct fixture *f = *state;
    static char big[60001];
    memset(big, 'x', sizeof big - 1);
    stale_case(f, script_stale_after_read, "POST", "{\"a\":1}", 2);
    stale_case(f, script_stale_after_read, "GET", NULL, 2);
    stale_case(f, script_stale_after_read, "POST", big, 2);
    stale_case(f, script_stale_unread, "POST", "{\"a\":1}", 1);
    stale_case(f, script_stale_unread, "GET", NULL, 1);
    stale_case(f, script_stale_unread, "POST", big, 1);
}

/* Two connections are kept; the one used again dies. The other idle one must not get the request.
 */
static void script_two_idle(struct server *s) {
    int a = server_accept(s), b = server_accept(s);
    server_read(s, a);
    server_read(s, b);
    server_send(a, s->text);
    server_send(b, s->text);
    struct pollfd p[2] = {{a, POLLIN, 0}, {b, POLLIN, 0}};
    poll(p, 2, 20000);
    int used = p[0].revents ? a : b, other = p[0].revents ? b : a;
    server_read(s, used);
    close(used);
    server_read(s, other); /* until the client closes, or sends again */
    close(other);
}

/* Goal: the same with a second idle connection at hand, where libcurl would need to open none. */
static void test_stale_other_idle(void **state) {
    struct fixture *f = *state;
    struct server s;
    struct client a = {.f = f}, b = {.f = f}, c;
    server_start(&s, script_two_idle, OK_HEAD "Content-Length: 2" CRLF CRLF "ok");
    client_start(&a, "POST", url_of(&s), "a");
    client_start(&b, "POST", url_of(&s), "b");
    RUN_UNTIL(f, a.dones && b.dones);
    run(f, &c, "POST", url_of(&s), "c");
    assert_int_equal(c.result.outcome, OUTCOME_STALE_CONNECTION);
    assert_int_equal(c.connected, 1);
    f->transport->ops->free(f->transport);
    f->transport = NULL;
    server_join(&s);
    assert_int_equal(s.requests, 3);
}

static void script_close_read(struct server *s) {
    int fd = server_accept(s);
    server_read(s, fd);
    close(fd);
}

/* Goal: a fresh connection that closes without a byte is an empty response, however it closes. */
static void test_empty(void **state) {
    struct fixture *f = *state;
    struct server s;
    struct client c;
    void (*scripts[])(struct server *) = {script_close_unread, script_close_read};
    for (int i = 0; i < 2; i++) {
        server_start(&s, scripts[i], NULL);
        run(f, &c, "POST", url_of(&s), "{}");
        assert_int_equal(c.result.outcome, OUTCOME_EMPTY_RESPONSE);
        assert_int_equal(c.heads, 0);
        assert_int_equal(c.result.sent, SENT_ALL);
        server_join(&s);
        assert_int_equal(s.accepted, 1);
    }
}

/* Goal: nobody listens; a name that cannot be resolved. Nothing was sent, and we know it. */
static void test_unreachable(void **state) {
    struct fixture *f = *state;
    struct client c;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    char url[256];
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a),
                     0); /* bound but not listening: refused */
    getsockname(fd, (struct sockaddr *)&a, &n);
    snprintf(url, sizeof url, "http://127.0.0.1:%d/", ntohs(a.sin_port));
    run(f, &c, "POST", url, "{}");
    assert_int_equal(c.result.outcome, OUTCOME_CONNECT_ERROR);
    assert_int_equal(c.result.sent, SENT_NOTHING);
    assert_int_equal(c.connected, 0);
    assert_true(c.detail[0]);
    close(fd);
    snprintf(url, sizeof url, "http://%070d.invalid/",
             1); /* a label too long for any resolver: fails without asking the network */
    run(f, &c, "GET", url, NULL);
    assert_int_equal(c.result.outcome, OUTCOME_DNS_ERROR);
    struct headers h;
    headers_init(&h, 1, 1);
    struct transfer_request r = {.method = STR("GET"), .url = "ftp://127.0.0.1/", .headers = &h};
    assert_null(transfer_start(f->transport, &r, &events, &c));
    headers_release(&h);
}

/* Goal: TLS with somebody who does not speak it. */
static void test_tls(void **state) {
    struct fixture *f = *state;
    struct server s;
    struct client c;
    char url[64];
    server_start(&s, script_close_unread, NULL);
    snprintf(url, sizeof url, "https://127.0.0.1:%d/", s.port);
    run(f, &c, "GET", url, NULL);
    assert_int_equal(c.result.outcome, OUTCOME_TLS_ERROR);
    assert_int_equal(c.result.sent, SENT_NOTHING);
    server_join(&s);
}

/* Goal: every lie about framing ends as invalid_response, without a head for the user, and its
 * connection is closed. */
static void test_invalid(void **state) {
    struct fixture *f = *state;
    static const char *const answers[] = {
        OK_HEAD "Content-Length: 2" CRLF "Transfer-Encoding: chunked" CRLF CRLF "2" CRLF "ok" CRLF
                "0" CRLF CRLF,
        OK_HEAD "Content-Length: 2" CRLF "Content-Length: 3" CRLF CRLF "oki",
        OK_HEAD "Content-Length: 2" CRLF "content-length: 2" CRLF CRLF "ok",
        OK_HEAD "Content-Length: 2, 2" CRLF CRLF "ok",
        OK_HEAD "Content-Length: +2" CRLF CRLF "ok",
        OK_HEAD "Content-Length: 0x2" CRLF CRLF "ok",
        OK_HEAD "Content-Length:" CRLF CRLF "ok",
        OK_HEAD "Content-Length: 99999999999999999999" CRLF CRLF "ok",
        OK_HEAD "Content-Length: -1" CRLF CRLF "ok",
        OK_HEAD "Content-Length : 2" CRLF CRLF "ok",
        OK_HEAD "Transfer-Encoding: gzip, chunked" CRLF CRLF "0" CRLF CRLF,
        OK_HEAD "Transfer-Encoding: chunked, chunked" CRLF CRLF "0" CRLF CRLF,
        OK_HEAD "Transfer-Encoding: chunked" CRLF "Transfer-Encoding: chunked" CRLF CRLF
                "0" CRLF CRLF,
        OK_HEAD "Transfer-Encoding: xchunked" CRLF CRLF "ok",
        OK_HEAD "Transfer-Encoding: identity" CRLF CRLF "ok",
        "HTTP/1.0 200 OK" CRLF "Transfer-Encoding: chunked" CRLF CRLF "0" CRLF CRLF,
        OK_HEAD "X: a\rb" CRLF "Content-Length: 2" CRLF CRLF "ok",
        OK_HEAD "X: a\x01"
                "b" CRLF "Content-Length: 2" CRLF CRLF "ok",
        OK_HEAD "no colon here" CRLF "Content-Length: 2" CRLF CRLF "ok",
        OK_HEAD ": nameless" CRLF "Content-Length: 2" CRLF CRLF "ok",
        OK_HEAD "X: a" CRLF " folded" CRLF "Content-Length: 2" CRLF CRLF "ok",
        "HTTP/1.1 99 Low" CRLF "Content-Length: 2" CRLF CRLF "ok",
        "HTTP/1.1 2000 High" CRLF "Content-Length: 2" CRLF CRLF "ok",
        "HTTP/3.7 200 OK" CRLF "Content-Length: 2" CRLF CRLF "ok",
        "HTTP/1.1 101 Switching" CRLF "Upgrade: x" CRLF CRLF,
        "what is this?" CRLF CRLF "some text that is no HTTP at all" CRLF CRLF,
    };
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        struct server s;
        struct client c;
        server_start(&s, script_once, answers[i]);
        run(f, &c, "POST", url_of(&s), "{}");
        if (c.result.outcome != OUTCOME_INVALID_RESPONSE || c.heads) {
            fail_msg("case %zu: %s, %d heads (%s)", i, outcome_name(c.result.outcome), c.heads,
                     c.detail);
        }
        server_join(&s); /* ends when the client has closed */
        assert_int_equal(s.closed, 1);
    }
}

/* Goal: a NUL in a field is caught too (it cannot stand in the table above). */
static void script_nul(struct server *s) {
    static const char answer[] = OK_HEAD "X: a\0b" CRLF "Content-Length: 2" CRLF CRLF "ok";
    int fd = server_accept(s);
    server_read(s, fd);
    send(fd, answer, sizeof answer - 1, MSG_NOSIGNAL);
    server_read(s, fd);
    close(fd);
}

static void test_nul(void **state) {
    struct fixture *f = *state;
    struct server s;
    struct client c;
    server_start(&s, script_nul, NULL);
    run(f, &c, "GET", url_of(&s), NULL);
    assert_int_equal(c.result.outcome, OUTCOME_INVALID_RESPONSE);
    server_join(&s);
    assert_int_equal(s.closed, 1);
}

/* Goal: heads without end are bounded: by bytes, by fields, by one endless line, and by 1xx after
 * 1xx. */
static void test_big_heads(void **state) {
    struct fixture *f = *state;
    struct client c;
    static char text[300000];
    for (int kind = 0; kind < 4; kind++) {
        struct server s;
        size_t n = (size_t)sprintf(text, "%s", kind == 3 ? "" : OK_HEAD);
        if (kind == 2) {
            n += (size_t)sprintf(text + n, "X: ");
            memset(text + n, 'x', 200000);
            n += 200000;
        }
        for (int i = 0; kind != 2 && i < (kind == 1   ? MAX_HEADERS + 1
                                          : kind == 0 ? 90
                                                      : 5000);
             i++) {
            n += kind == 0   ? (size_t)sprintf(text + n, "X-%d: %01000d" CRLF, i, i)
                 : kind == 1 ? (size_t)sprintf(text + n, "X-%d: a" CRLF, i)
                             : (size_t)sprintf(text + n, "HTTP/1.1 103 Hint" CRLF CRLF);
        }
        sprintf(text + n, CRLF);
        server_start(&s, script_once, text);
        run(f, &c, "GET", url_of(&s), NULL);
        if (c.result.outcome != OUTCOME_INVALID_RESPONSE || c.heads) {
            fail_msg("kind %d: %s (%s)", kind, outcome_name(c.result.outcome), c.detail);
        }
        server_join(&s);
    }
}

/* Goal: an answer cut short after its head is broken, with what came before delivered; one cut
 * within its head is invalid. */
static void test_cut(void **state) {
    struct fixture *f = *state;
    static const struct {
        const char *answer;
        enum outcome outcome;
        int heads;
        const char *body;
    } cases[] = {
        {OK_HEAD "Content-Length: 10" CRLF CRLF "short", OUTCOME_STREAM_BROKEN, 1, "short"},
        {OK_HEAD "Transfer-Encoding: chunked" CRLF CRLF "5" CRLF "short" CRLF,
         OUTCOME_STREAM_BROKEN, 1, "short"},
        {OK_HEAD "Transfer-Encoding: chunked" CRLF CRLF "9" CRLF "short", OUTCOME_STREAM_BROKEN, 1,
         "short"},
        {OK_HEAD "Transfer-Encoding: chunked" CRLF CRLF "zz" CRLF "short", OUTCOME_STREAM_BROKEN, 1,
         ""},
        {OK_HEAD "Content-Length: 10" CRLF CRLF, OUTCOME_STREAM_BROKEN, 1, ""},
        {OK_HEAD "Content-Le", OUTCOME_INVALID_RESPONSE, 0, ""},
        {OK_HEAD, OUTCOME_INVALID_RESPONSE, 0, ""},
        {OK_HEAD CRLF "until the close", OUTCOME_OK, 1, "until the close"},
        {"HTTP/1.0 200 OK" CRLF CRLF "of old", OUTCOME_OK, 1, "of old"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct server s;
        struct client c;
        server_start(&s, script_answer_close, cases[i].answer);
        run(f, &c, "POST", url_of(&s), "{}");
        if (c.result.outcome != cases[i].outcome || c.heads != cases[i].heads ||
            strcmp(c.body, cases[i].body) != 0) {
            fail_msg("case %zu: %s, %d heads, body '%s' (%s)", i, outcome_name(c.result.outcome),
                     c.heads, c.body, c.detail);
        }
        server_join(&s);
        assert_int_equal(s.requests, 1);
    }
}

/* Goal: bytes beyond the announced length are not delivered, and the connection is not used again.
 */
static void test_surplus(void **state) {
    struct fixture *f = *state;
    struct server s;
    struct client c;
    server_start(&s, script_serve,
                 OK_HEAD "Content-Length: 2" CRLF CRLF "okHTTP/1.1 200 OK" CRLF
                         "Content-Length: 4" CRLF CRLF "evil");
    for (int i = 0; i < 2; i++) {
        run(f, &c, "GET", url_of(&s), NULL);
        assert_int_equal(c.result.outcome, OUTCOME_OK);
        assert_string_equal(c.body, "ok");
        assert_false(c.reused);
    }
    s.go = true;
    f->transport->ops->free(f->transport);
    f->transport = NULL;
    server_join(&s);
    assert_int_equal(s.accepted, 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define T(name) OVER_EACH(name)
        T(test_stale), T(test_stale_other_idle), T(test_empty), T(test_unreachable),
        T(test_tls),   T(test_invalid),          T(test_nul),   T(test_big_heads),
        T(test_cut),   T(test_surplus),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
