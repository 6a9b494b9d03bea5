/* SPDX-License-Identifier: MIT */
/*
 * Both transports, libcurl and our own: what goes out, what comes back, and pausing, cancelling and
 * starting at every moment. Faults are in test_transport_faults.c.
 */
#include <zlib.h>

#include "../support/scripted_server.h"

/* Goal: a second request uses the connection of the first, and says so. */
static void test_reuse(void **state) {
    struct fixture *f = *state;
    struct server s;
    struct client c;
    struct transport_stats stats;
    server_start(&s, script_serve,
                 OK_HEAD "X-Test: a b" CRLF "Content-Length: 5" CRLF CRLF "hello");
    run(f, &c, "POST", url_of(&s), "{}");
    assert_int_equal(c.result.outcome, OUTCOME_OK);
    assert_int_equal(c.result.sent, SENT_ALL);
    assert_false(c.reused);
    assert_int_equal(c.status, 200);
    assert_string_equal(c.field, "a b");
    assert_string_equal(c.body, "hello");
    run(f, &c, "POST", url_of(&s), "{}");
    assert_int_equal(c.result.outcome, OUTCOME_OK);
    assert_true(c.reused);
    assert_int_equal(c.connected, 1);
    f->transport->ops->stats(f->transport, &stats);
    assert_int_equal(stats.active, 0);
    assert_int_equal(stats.connections, 1);
    assert_int_equal(stats.opened, 1);
    s.go = true;
    f->transport->ops->free(f->transport);
    f->transport = NULL;
    server_join(&s);
    assert_int_equal(s.requests, 2);
    assert_int_equal(s.accepted, 1);
}

/* Goal: `fresh` opens a connection though an idle one is there. */
static void test_fresh(void **state) {
    struct fixture *f = *state;
    struct server s;
    struct client c;
    server_start(&s, script_serve, OK_HEAD "Content-Length: 0" CRLF CRLF);
    run(f, &c, "GET", url_of(&s), NULL);
    struct extra extra = {.fresh = true};
    c = (struct client){.f = f};
    struct transport_stats stats;
    client_start_with(&c, "GET", url_of(&s), NULL, &extra);
    /* The server serves one connection at a time, so the second answer needs the first one closed.
     */
    RUN_UNTIL(f, c.connected == 1);
    assert_false(c.reused);
    f->transport->ops->stats(f->transport, &stats);
    assert_int_equal(stats.opened, 2);
    s.go = true;
    f->transport->ops->free(f->transport);
    f->transport = NULL;
    server_join(&s);
}

/* Goal: what goes out is the request and nothing of libcurl's own making. */
static void test_request_bytes(void **state) {
    struct fixture *f = *state;
    struct server s;
    struct client c = {.f = f};
    static const char *const fields[] = {"X-One",
                                         "1",
                                         "Empty",
                                         "",
                                         "Host",
                                         "evil",
                                         "Content-Length",
                                         "99",
                                         "Accept-Encoding",
                                         "br",
                                         "Expect",
                                         "100-continue",
                                         "X-Colon",
                                         ":",
                                         "Bad Name",
                                         "x",
                                         "X-Bad",
                                         "a\r\nb: c",
                                         NULL};
    struct extra extra = {.fields = fields};
    char want[512];
    server_start(&s, script_answer_close, OK_HEAD "Content-Length: 0" CRLF CRLF);
    client_start_with(&c, "POST", url_of(&s), "{\"a\":1}", &extra);
    RUN_UNTIL(f, c.dones == 1);
    server_join(&s);
    snprintf(want, sizeof want,
             "POST /v1/x?y=1 HTTP/1.1" CRLF "Host: 127.0.0.1:%d" CRLF
             "Accept-Encoding: identity" CRLF "X-One: 1" CRLF "Empty:" CRLF "X-Colon: :" CRLF
             "Content-Length: 7" CRLF CRLF "{\"a\":1}",
             s.url_port);
    assert_string_equal(s.last, want);
}

static void serve_one(struct fixture *f, struct server *s, struct client *c, const char *method,
                      const char *body, const struct extra *extra) {
    server_start(s, script_answer_close, OK_HEAD "Content-Length: 0" CRLF CRLF);
    *c = (struct client){.f = f};
    client_start_with(c, method, url_of(s), body, extra);
    RUN_UNTIL(f, c->dones == 1);
    server_join(s);
    assert_int_equal(c->result.outcome, OUTCOME_OK);
    assert_int_equal(c->result.sent, SENT_ALL);
}

/* Goal: methods and bodies in every combination frame themselves rightly, one handle after the
 * other. */
static void test_methods(void **state) {
    struct fixture *f = *state;
    struct server s;
    struct client c;
    struct extra none = {0}, empty = {.no_bytes = true};
    serve_one(f, &s, &c, "POST", NULL, &empty);
    assert_non_null(strstr(s.last, "Content-Length: 0" CRLF));
    serve_one(f, &s, &c, "POST", NULL, &none);
    assert_int_equal(strncmp(s.last, "POST ", 5), 0);
    assert_null(strstr(s.last, "Content-Length"));
    serve_one(f, &s, &c, "PUT", "abc", &none);
    assert_int_equal(strncmp(s.last, "PUT ", 4), 0);
    assert_non_null(strstr(s.last, "Content-Length: 3" CRLF));
    assert_null(strstr(s.last, "Content-Type"));
    serve_one(f, &s, &c, "DELETE", NULL, &none);
    assert_int_equal(strncmp(s.last, "DELETE ", 7), 0);
    serve_one(f, &s, &c, "GET", "q", &none);
    assert_int_equal(strncmp(s.last, "GET ", 4), 0);
    assert_non_null(strstr(s.last, CRLF CRLF "q"));
    serve_one(f, &s, &c, "GET", NULL, &none);
    assert_null(strstr(s.last, "Content-Length"));
}

/* Goal: a body in pieces arrives as one, small (joined) and large (read piece by piece). */
static void test_pieces(void **state) {
    struct fixture *f = *state;
    struct server s;
    struct client c;
    static char big[90000];
    memset(big, 'b', sizeof big);
    struct str pieces[] = {STR("{\"a\":"), {NULL, 0}, STR("1"), {big, 10}, STR("}")};
    struct extra extra = {.pieces = pieces, .n_pieces = 5};
    serve_one(f, &s, &c, "POST", NULL, &extra);
    assert_non_null(strstr(s.last, CRLF CRLF "{\"a\":1bbbbbbbbbb}"));
    pieces[3].n = sizeof big;
    serve_one(f, &s, &c, "POST", NULL, &extra);
    char *body = strstr(s.last, CRLF CRLF);
    assert_non_null(body);
    assert_int_equal(strlen(body + 4), 7 + sizeof big);
    assert_int_equal(strncmp(body + 4, "{\"a\":1bbb", 9), 0);
    assert_int_equal(s.last[s.last_n - 1], '}');
}

/* Goal: 1xx answers are skipped, trailers ignored, bodies that must not be are not waited for. */
static void test_shapes(void **state) {
    struct fixture *f = *state;
    static const struct {
        const char *method, *answer;
        int status;
        const char *field, *body;
    } cases[] = {
        {"GET",
         "HTTP/1.1 100 Continue" CRLF CRLF "HTTP/1.1 103 Hints" CRLF "X-Test: no" CRLF CRLF OK_HEAD
         "X-Test: yes" CRLF "Content-Length: 2" CRLF CRLF "ok",
         200, "yes", "ok"},
        {"GET",
         OK_HEAD "Transfer-Encoding: chunked" CRLF "Trailer: X-Test" CRLF CRLF "2;ext=1" CRLF
                 "ok" CRLF "0" CRLF "X-Test: late" CRLF "Content-Length: 9" CRLF CRLF,
         200, "", "ok"},
        {"HEAD", OK_HEAD "Content-Length: 1000" CRLF CRLF, 200, "", ""},
        {"GET", "HTTP/1.1 204 No Content" CRLF CRLF, 204, "", ""},
        {"GET", "HTTP/1.1 304 Not Modified" CRLF "Content-Length: 10" CRLF CRLF, 304, "", ""},
        {"GET",
         "HTTP/1.1 302 Found" CRLF "Location: /other" CRLF "Content-Length: 2" CRLF CRLF "go", 302,
         "", "go"},
        {"POST", "HTTP/1.1 429 Slow" CRLF "Content-Length: 2" CRLF CRLF "no", 429, "", "no"},
        {"POST", "HTTP/1.1 529" CRLF "Content-Length: 2" CRLF CRLF "no", 529, "", "no"},
        {"GET",
         "HTTP/1.1 401 Unauthorized" CRLF "WWW-Authenticate: Basic" CRLF
         "Content-Length: 2" CRLF CRLF "no",
         401, "", "no"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct server s;
        struct client c;
        server_start(&s, script_serve, cases[i].answer);
        for (int round = 0; round < 2; round++) {
            run(f, &c, cases[i].method, url_of(&s),
                strcmp(cases[i].method, "POST") == 0 ? "{}" : NULL);
            if (c.result.outcome != OUTCOME_OK || c.heads != 1 || c.status != cases[i].status ||
                strcmp(c.body, cases[i].body) != 0 || strcmp(c.field, cases[i].field) != 0) {
                fail_msg("case %zu: %s, %d heads, status %d, '%s', '%s' (%s)", i,
                         outcome_name(c.result.outcome), c.heads, c.status, c.field, c.body,
                         c.detail);
            }
        }
        assert_true(c.reused); /* the connection is clean after each of them */
        s.go = true;
        f->transport->ops->free(f->transport);
        server_join(&s);
        assert_int_equal(s.requests, 2);
        f->transport = f->make(f->base, 8, NULL);
    }
}

static void script_gzip(struct server *s) {
    static const char head[] = OK_HEAD "Content-Encoding: gzip" CRLF "Content-Length: 31" CRLF CRLF;
    static const char body[] = "\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xcb\x48\xcd\xc9\xc9\xd7"
                               "\x51\xc8\x20\x44\x71\x01\x00\x63\x9f\x59\xd8\x29\x00\x00\x00";
    int fd = server_accept(s);
    server_read(s, fd);
    assert_non_null(strstr(s->last, "Accept-Encoding: identity" CRLF));
    send(fd, head, sizeof head - 1, MSG_NOSIGNAL);
    send(fd, body, 31, MSG_NOSIGNAL);
    server_read(s, fd);
    close(fd);
}

/* Goal: what comes encoded though identity was asked for is decoded; an unknown coding is refused.
 */
static void test_encoding(void **state) {
    struct fixture *f = *state;
    struct server s;
    struct client c;
    server_start(&s, script_answer_close,
                 OK_HEAD "Content-Encoding: zorp" CRLF "Content-Length: 2" CRLF CRLF "ok");
    run(f, &c, "GET", url_of(&s), NULL);
    assert_int_equal(c.result.outcome, OUTCOME_INVALID_RESPONSE);
    assert_int_equal(c.datas, 0);
    server_join(&s);
    server_start(&s, script_gzip, NULL);
    run(f, &c, "GET", url_of(&s), NULL);
    assert_int_equal(c.result.outcome, OUTCOME_OK);
    assert_string_equal(c.body, "hello, hello, hello, hello, hello, hello\n");
    f->transport->ops->free(f->transport);
    f->transport = NULL;
    server_join(&s);
}

enum { DEFLATED = 16455 }; /* its last byte goes in while more than one read's room must come out */

/* One answer in raw deflate, without anything behind its last code; then the server closes. */
static void script_deflate(struct server *s) {
    static char plain[2 * DEFLATED], packed[1024];
    size_t n = s->text ? sizeof plain : DEFLATED;
    z_stream z = {0};
    memset(plain, 'x', n);
    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, -MAX_WBITS, 9, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = (unsigned char *)plain;
    z.avail_in = (unsigned)n;
    z.next_out = (unsigned char *)packed;
    z.avail_out = sizeof packed;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    int fd = server_accept(s);
    server_read(s, fd);
    server_send(fd, OK_HEAD "Content-Encoding: deflate" CRLF CRLF);
    send(fd, packed, z.total_out, MSG_NOSIGNAL);
    close(fd);
    deflateEnd(&z);
}

/* Goal: bytes that wait inside the decoder when all input is used up come out, too. */
static void test_decoder_drained(void **state) {
    struct fixture *f = *state;
    struct server s;
    struct client c;
    server_start(&s, script_deflate, NULL);
    run(f, &c, "GET", url_of(&s), NULL);
    assert_int_equal(c.result.outcome, OUTCOME_OK);
    assert_int_equal(c.total, DEFLATED);
    server_join(&s);
}

static void resume_now(evutil_socket_t fd, short what, void *arg) {
    struct client *c = arg;
    (void)fd, (void)what;
    transfer_resume(c->transfer);
}

/* Goal: the end of the connection, seen in the turn in which a paused client goes on, cuts nothing
 * off that waits to be decoded, whether he pauses again or not. */
static void test_resume_at_end(void **state) {
    struct fixture *f = *state;
    for (int again = 0; again < 2; again++) {
        struct server s;
        struct client c = {.f = f, .pause_at = AT_DATA};
        struct event *resume = event_new(f->base, -1, 0, resume_now, &c);
        server_start(&s, script_deflate, "twice");
        client_start(&c, "GET", url_of(&s), NULL);
        RUN_UNTIL(f, c.datas == 1);
        server_join(&s);
        usleep(20000); /* so that the end is there before the loop looks */
        c.pause_at = again ? AT_DATA : AT_NONE;
        while (c.dones == 0) {
            event_active(resume, 0, 0); /* in the queue before what the loop finds */
            event_base_loop(f->base, EVLOOP_ONCE);
            event_base_loop(f->base, EVLOOP_NONBLOCK);
            if (c.dones == 0) {
                assert_true(again);
            }
        }
        assert_int_equal(c.result.outcome, OUTCOME_OK);
        assert_int_equal(c.total, 2 * DEFLATED);
        event_free(resume);
    }
}

/* Says more than its answer, a moment later; answers properly on the next connection. */
static void script_chatter(struct server *s) {
    int a = server_accept(s);
    server_read(s, a);
    server_send(a, OK_HEAD "Content-Length: 2" CRLF CRLF "ok");
    while (!s->go) {
        usleep(1000);
    }
    server_send(a, OK_HEAD "Content-Length: 4" CRLF CRLF "evil");
    s->blocked = true;
    int b = server_accept(s);
    server_read(s, b);
    server_send(b, OK_HEAD "Content-Length: 4" CRLF CRLF "good");
    close(a);
    close(b);
}

/* Goal: what a provider says out of turn is not taken for the next answer, though the loop has not
 * seen it yet. */
static void test_out_of_turn(void **state) {
    struct fixture *f = *state;
    struct server s;
    struct client c;
    server_start(&s, script_chatter, NULL);
    run(f, &c, "GET", url_of(&s), NULL);
    assert_string_equal(c.body, "ok");
    s.go = true;
    while (!s.blocked) {
        usleep(1000);
    }
    run(f, &c, "GET", url_of(&s), NULL);
    assert_int_equal(c.result.outcome, OUTCOME_OK);
    assert_string_equal(c.body, "good");
    assert_false(c.reused);
    server_join(&s);
}

enum { BULK = 24 * 1024 * 1024 };

/* Sends BULK bytes as fast as the client takes them; notes when it takes none for a while. */
static void script_bulk(struct server *s) {
    static char block[65536];
    char head[128];
    int fd = server_accept(s), small = 65536;
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    server_read(s, fd);
    snprintf(head, sizeof head, OK_HEAD "Content-Length: %d" CRLF CRLF, BULK);
    server_send(fd, head);
    while (s->sent < BULK) {
        struct pollfd p = {fd, POLLOUT, 0};
        if (poll(&p, 1, 200) == 0) {
            s->blocked = true;
            if (s->go) {
                break;
            }
            continue;
        }
        size_t n = BULK - s->sent < sizeof block ? BULK - s->sent : sizeof block;
        ssize_t w = send(fd, block, n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (w < 0 && errno != EAGAIN) {
            s->closed++;
            break;
        }
        s->sent += w > 0 ? (size_t)w : 0;
    }
    close(fd);
}

/* Goal: a paused transfer holds the server back, and loses nothing when it goes on. */
static void test_pause(void **state) {
    struct fixture *f = *state;
    enum point points[] = {AT_CONNECTED, AT_HEAD, AT_DATA};
    for (int i = 0; i < 3; i++) {
        struct server s;
        struct client c = {.f = f, .pause_at = points[i]};
        server_start(&s, script_bulk, NULL);
        client_start(&c, "GET", url_of(&s), NULL);
        RUN_UNTIL(f, s.blocked);
        assert_true(s.sent < BULK);
        assert_true(c.total <= 16384);
        assert_int_equal(c.dones, 0);
        c.pause_at = AT_NONE;
        transfer_resume(c.transfer);
        transfer_pause(c.transfer); /* a change of mind before anything moved */
        transfer_resume(c.transfer);
        RUN_UNTIL(f, c.dones == 1);
        assert_int_equal(c.result.outcome, OUTCOME_OK);
        assert_int_equal(c.total, BULK);
        server_join(&s);
    }
}

/* Goal: pausing at every piece of data and resuming from outside makes steady progress; a paused
 * transfer can be cancelled. */
static void test_pause_often(void **state) {
    struct fixture *f = *state;
    struct server s;
    struct client c = {.f = f, .pause_at = AT_DATA};
    server_start(&s, script_bulk, NULL);
    client_start(&c, "GET", url_of(&s), NULL);
    for (int i = 0; i < 50; i++) {
        int before = c.datas;
        RUN_UNTIL(f, c.datas > before);
        transfer_resume(c.transfer);
    }
    int before = c.datas;
    RUN_UNTIL(f, c.datas > before);
    transfer_resume(c.transfer);
    transfer_cancel(c.transfer);
    c.transfer = NULL;
    RUN_UNTIL(f, s.closed == 1);
    assert_int_equal(c.dones, 0);
    server_join(&s);
}

/* Goal: a transfer cancelled from inside any callback makes no other one, and closes its
 * connection. */
static void test_cancel(void **state) {
    struct fixture *f = *state;
    static const struct {
        enum point at;
        int connected, heads, datas;
    } cases[] = {{AT_CONNECTED, 1, 0, 0}, {AT_HEAD, 1, 1, 0}, {AT_DATA, 1, 1, 1}};
    for (size_t i = 0; i < 3; i++) {
        struct server s;
        struct client c = {.f = f, .cancel_at = cases[i].at};
        struct transport_stats stats;
        /* A length that is never reached: only a close can end the script. */
        server_start(&s, script_once, OK_HEAD "Content-Length: 100" CRLF CRLF "some");
        client_start(&c, "POST", url_of(&s), "{}");
        RUN_UNTIL(f, s.closed == 1);
        assert_int_equal(c.connected, cases[i].connected);
        assert_int_equal(c.heads, cases[i].heads);
        assert_int_equal(c.datas, cases[i].datas);
        assert_int_equal(c.dones, 0);
        f->transport->ops->stats(f->transport, &stats);
        assert_int_equal(stats.active, 0);
        assert_int_equal(stats.connections, 0);
        server_join(&s);
    }
}

/* Goal: cancelling at once, before the loop has turned, makes no callback and no connection. */
static void test_cancel_at_once(void **state) {
    struct fixture *f = *state;
    struct client c = {.f = f}, d;
    struct server s;
    struct transport_stats stats;
    server_start(&s, script_serve, OK_HEAD "Content-Length: 2" CRLF CRLF "ok");
    client_start(&c, "POST", url_of(&s), "{}");
    transfer_cancel(c.transfer);
    c.transfer = NULL;
    f->transport->ops->stats(f->transport, &stats);
    assert_int_equal(stats.active, 0);
    run(f, &d, "POST", url_of(&s), "{}");
    assert_int_equal(d.result.outcome, OUTCOME_OK);
    assert_int_equal(c.connected + c.heads + c.datas + c.dones, 0);
    s.go = true;
    f->transport->ops->free(f->transport);
    f->transport = NULL;
    server_join(&s);
    assert_int_equal(s.requests, 1);
}

/* Two connections at a time, one answer each. */
static void script_two(struct server *s) {
    int a = server_accept(s);
    server_read(s, a);
    server_send(a, s->text);
    server_read(s, a); /* the second request comes here when the first is done, else on b */
    server_send(a, s->text);
    server_read(s, a);
    close(a);
}

/* Reads a request and does not answer until told; then closes. */
static void script_silent(struct server *s) {
    int fd = server_accept(s);
    server_read(s, fd);
    server_read(s, fd);
    close(fd);
}

/* Goal: while an answer is waited for, it is known how much of the request is out: that decides
 * whether it may be sent again. */
static void test_sent(void **state) {
    struct fixture *f = *state;
    static char big[90000];
    memset(big, 'x', sizeof big);
    size_t sizes[] = {0, 10, sizeof big};
    for (size_t i = 0; i < 3; i++) {
        struct server s;
        struct client c = {.f = f};
        struct str piece = {big, sizes[i]};
        struct extra extra = {.pieces = &piece, .n_pieces = 1};
        server_start(&s, script_silent, NULL);
        client_start_with(&c, "POST", url_of(&s), NULL, &extra);
        assert_int_equal(transfer_sent(c.transfer), SENT_NOTHING);
        RUN_UNTIL(f, s.requests == 1);
        assert_int_equal(transfer_sent(c.transfer), SENT_ALL);
        transfer_cancel(c.transfer);
        c.transfer = NULL;
        RUN_UNTIL(f, s.closed == 1);
        server_join(&s);
    }
}

/* Goal: a server that takes no more of a large body has had a part of it. */
static void test_sent_part(void **state) {
    struct fixture *f = *state;
    struct server s;
    struct client c = {.f = f};
    size_t n = 20 * 1024 * 1024;
    char *big = malloc(n);
    memset(big, 'x', n);
    struct str piece = {big, n};
    struct extra extra = {.pieces = &piece, .n_pieces = 1};
    server_start(&s, script_close_unread, NULL);
    client_start_with(&c, "POST", url_of(&s), NULL, &extra);
    RUN_UNTIL(f, c.dones == 1);
    assert_int_equal(c.result.outcome, OUTCOME_EMPTY_RESPONSE);
    assert_int_equal(c.result.sent, SENT_PARTIAL);
    server_join(&s);
    free(big);
}

/* Goal: a transfer may be started from inside `done`, and uses the connection that has just become
 * free. */
static void test_start_in_done(void **state) {
    struct fixture *f = *state;
    struct server s;
    struct client b = {.f = f}, a = {.f = f, .start_at = AT_DONE, .next = &b};
    server_start(&s, script_two, OK_HEAD "Content-Length: 2" CRLF CRLF "ok");
    char url[64];
    snprintf(url, sizeof url, "%s", url_of(&s));
    a.url = url;
    client_start(&a, "GET", url, NULL);
    RUN_UNTIL(f, b.dones == 1);
    assert_int_equal(a.dones, 1);
    assert_int_equal(b.result.outcome, OUTCOME_OK);
    assert_true(b.reused);
    f->transport->ops->free(f->transport);
    f->transport = NULL;
    server_join(&s);
    assert_int_equal(s.requests, 2);
}

/* Two requests, on one connection or on two. */
static void script_parallel(struct server *s) {
    int fd[2] = {server_accept(s), -1};
    for (int left = 2; left > 0;) {
        struct pollfd p[3] = {{fd[0], POLLIN, 0}, {fd[1], POLLIN, 0}, {s->listener, POLLIN, 0}};
        if (poll(p, 3, 20000) < 1) {
            break;
        }
        if (p[2].revents) {
            fd[1] = server_accept(s);
        }
        for (int i = 0; i < 2; i++) {
            if (p[i].revents && server_read(s, fd[i])) {
                server_send(fd[i], s->text);
                left--;
            } else if (p[i].revents) {
                close(fd[i]);
                fd[i] = -1;
            }
        }
    }
    for (int i = 0; i < 2; i++) {
        if (fd[i] >= 0) {
            server_read(s, fd[i]);
            close(fd[i]);
        }
    }
}

/* Goal: a transfer may be started, and another one cancelled, from inside libcurl's callbacks. */
static void test_start_inside(void **state) {
    struct fixture *f = *state;
    enum point points[] = {AT_CONNECTED, AT_HEAD, AT_DATA};
    for (int i = 0; i < 3; i++) {
        struct server s;
        struct client b = {.f = f}, a = {.f = f,
                                         .start_at = points[i],
                                         .cancel_at = i == 1 ? AT_HEAD : AT_NONE,
                                         .next = &b};
        server_start(&s, script_parallel, OK_HEAD "Content-Length: 2" CRLF CRLF "ok");
        char url[64];
        snprintf(url, sizeof url, "%s", url_of(&s));
        a.url = url;
        client_start(&a, "GET", url, NULL);
        RUN_UNTIL(f, b.dones == 1 && (a.dones == 1 || a.cancel_at));
        assert_int_equal(b.result.outcome, OUTCOME_OK);
        f->transport->ops->free(f->transport);
        f->transport = NULL;
        server_join(&s);
        f->transport = f->make(f->base, 8, NULL);
        assert_non_null(f->transport);
    }
}

/* Answers before the large body has been read. */
static void script_early(struct server *s) {
    char some[1024];
    int fd = server_accept(s);
    recv(fd, some, sizeof some, 0);
    server_send(fd, s->text);
    while (recv(fd, some, sizeof some, 0) > 0) {
    }
    close(fd);
}

/* Goal: an error that comes while the body is still going out is an answer like any other. */
static void test_early_answer(void **state) {
    struct fixture *f = *state;
    struct server s;
    struct client c = {.f = f};
    size_t n = 20 * 1024 * 1024;
    char *big = malloc(n);
    memset(big, 'x', n);
    struct str piece = {big, n};
    struct extra extra = {.pieces = &piece, .n_pieces = 1};
    server_start(&s, script_early,
                 "HTTP/1.1 413 Too Large" CRLF "Content-Length: 2" CRLF CRLF "no");
    client_start_with(&c, "POST", url_of(&s), NULL, &extra);
    RUN_UNTIL(f, c.dones == 1);
    assert_int_equal(c.result.outcome, OUTCOME_OK);
    assert_int_equal(c.status, 413);
    assert_int_equal(c.result.sent, SENT_PARTIAL);
    f->transport->ops->free(f->transport);
    f->transport = NULL;
    server_join(&s);
    free(big);
}

/* Goal: freeing the transport with transfers in every state under way makes no callback and leaks
 * nothing (ASan looks). */
static void test_free_all(void **state) {
    struct fixture *f = *state;
    struct server s;
    struct client waiting = {.f = f}, paused = {.f = f, .pause_at = AT_HEAD}, young = {.f = f};
    server_start(&s, script_bulk, NULL);
    client_start(&paused, "GET", url_of(&s), NULL);
    RUN_UNTIL(f, s.blocked);
    client_start(&waiting, "GET", url_of(&s),
                 NULL); /* in the listen queue: connects, is never answered */
    RUN_UNTIL(f, waiting.connected == 1);
    client_start(&young, "POST", url_of(&s), "{}");
    s.go = true;
    f->transport->ops->free(f->transport);
    f->transport = NULL;
    assert_int_equal(waiting.dones + paused.dones + young.dones + young.connected, 0);
    server_join(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define T(name) OVER_EACH(name)
        T(test_reuse),
        T(test_fresh),
        T(test_request_bytes),
        T(test_methods),
        T(test_pieces),
        T(test_shapes),
        T(test_encoding),
        T(test_pause),
        T(test_pause_often),
        T(test_cancel),
        T(test_cancel_at_once),
        T(test_sent),
        T(test_sent_part),
        T(test_start_in_done),
        T(test_start_inside),
        T(test_early_answer),
        T(test_free_all),
#undef T
        cmocka_unit_test_setup_teardown(test_decoder_drained, setup_native, teardown),
        cmocka_unit_test_setup_teardown(test_resume_at_end, setup_native, teardown),
        cmocka_unit_test_setup_teardown(test_out_of_turn, setup_native, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
