/* SPDX-License-Identifier: MIT */
/* fetch: one request that is waited for, and every way in which it may not come back. */
#include "../support/scripted_server.h"

#include "upstream/fetch.h"

struct world {
    struct server server;
    struct fetch_answer answer;
    struct err err;
};

static int fetch_setup(void **state) {
    struct world *w = calloc(1, sizeof *w);
    fetch_answer_init(&w->answer);
    *state = w;
    return 0;
}

static int fetch_teardown(void **state) {
    struct world *w = *state;
    fetch_answer_release(&w->answer);
    free(w);
    return 0;
}

static int get(struct world *w, struct fetch_request *r) {
    r->method = r->method ? r->method : "GET";
    r->url = r->url ? r->url : url_of(&w->server);
    return fetch(r, &w->answer, &w->err);
}

/* Goal: what is asked goes out, and status, fields and body come back. */
static void test_exchange(void **state) {
    struct world *w = *state;
    struct headers fields;
    struct str value;
    server_start(&w->server, script_answer_close,
                 "HTTP/1.1 412 Changed" CRLF "ETag: \"5\"" CRLF "Content-Length: 2" CRLF CRLF "{}");
    headers_init(&fields, 4, 200);
    assert_int_equal(headers_add(&fields, STR("If-Match"), STR("\"4\"")), 0);
    struct fetch_request r = {
        .method = "PUT", .headers = &fields, .body = STR("{\"a\":1}"), .has_body = true};
    assert_int_equal(get(w, &r), 0);
    server_join(&w->server);
    headers_release(&fields);
    assert_int_equal(w->answer.outcome, OUTCOME_OK);
    assert_int_equal(w->answer.status, 412);
    assert_true(headers_get(&w->answer.headers, "etag", &value));
    assert_true(str_is(value, "\"5\""));
    assert_string_equal(w->answer.body.data, "{}");
    assert_int_equal(strncmp(w->server.last, "PUT /v1/x?y=1 HTTP/1.1", 22), 0);
    assert_non_null(strstr(w->server.last, CRLF "If-Match: \"4\"" CRLF));
    assert_non_null(strstr(w->server.last, CRLF CRLF "{\"a\":1}"));
}

/* Goal: an answer is used again for the next request, with nothing of the last in it. */
static void test_again(void **state) {
    struct world *w = *state;
    struct fetch_request r = {.method = "GET"};
    struct str value;
    server_start(&w->server, script_answer_close,
                 OK_HEAD "X-Test: 1" CRLF "Content-Length: 3" CRLF CRLF "abc");
    assert_int_equal(get(w, &r), 0);
    server_join(&w->server);
    server_start(&w->server, script_answer_close, OK_HEAD "Content-Length: 0" CRLF CRLF);
    r.url = NULL;
    assert_int_equal(get(w, &r), 0);
    server_join(&w->server);
    assert_int_equal(w->answer.body.len, 0);
    assert_false(headers_get(&w->answer.headers, "x-test", &value));
}

/* Goal: nobody there is told apart from somebody who fails. */
static void test_unreachable(void **state) {
    struct world *w = *state;
    char url[64];
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM, 0); /* bound, never listening: refused */
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    getsockname(fd, (struct sockaddr *)&a, &n);
    snprintf(url, sizeof url, "http://127.0.0.1:%d/", ntohs(a.sin_port));
    struct fetch_request r = {.url = url};
    assert_int_equal(get(w, &r), -1);
    close(fd);
    assert_int_equal(w->answer.outcome, OUTCOME_CONNECT_ERROR);
    assert_true(fetch_unreachable(&w->answer));
    assert_int_equal(w->answer.status, 0);
    assert_true(strlen(w->err.text) > 0);
}

/* Goal: patience ends, also when bytes trickle. */
static void script_trickle(struct server *s) {
    int fd = server_accept(s);
    if (server_read(s, fd)) {
        server_send(fd, OK_HEAD "Content-Length: 1000" CRLF CRLF "abc");
        server_read(s, fd);
    }
    close(fd);
}

static void test_timeout(void **state) {
    struct world *w = *state;
    struct fetch_request r = {.timeout = USEC_PER_SEC / 5};
    server_start(&w->server, script_trickle, NULL);
    assert_int_equal(get(w, &r), -1);
    server_join(&w->server);
    assert_int_equal(w->answer.outcome, OUTCOME_TIMEOUT_TOTAL);
    assert_false(fetch_unreachable(&w->answer));
    assert_int_equal(w->server.closed, 1);
    assert_non_null(strstr(w->err.text, "0.2 s"));
}

/* Goal: an answer that is longer than wanted is not read to its end. */
static void test_too_long(void **state) {
    struct world *w = *state;
    struct fetch_request r = {.max_body = 4};
    server_start(&w->server, script_once, OK_HEAD "Content-Length: 5" CRLF CRLF "12345");
    assert_int_equal(get(w, &r), -1);
    server_join(&w->server);
    assert_int_equal(w->answer.outcome, OUTCOME_LIMIT_EXCEEDED);
    assert_int_equal(w->answer.body.len, 0);
    assert_non_null(strstr(w->err.text, "4 bytes"));
}

/* Goal: a broken answer is none, and each request is sent once. */
static void test_broken(void **state) {
    static const struct {
        const char *text;
        enum outcome outcome;
    } cases[] = {
        {"", OUTCOME_EMPTY_RESPONSE},
        {"SSH-2.0-OpenSSH_9.2" CRLF, OUTCOME_INVALID_RESPONSE},
        {OK_HEAD "Content-Length: 5" CRLF CRLF "12", OUTCOME_STREAM_BROKEN},
    };
    struct world *w = *state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fetch_request r = {.method = "POST"};
        server_start(&w->server, script_answer_close, cases[i].text);
        assert_int_equal(get(w, &r), -1);
        server_join(&w->server);
        assert_int_equal(w->answer.outcome, cases[i].outcome);
        assert_false(fetch_unreachable(&w->answer));
        assert_int_equal(w->server.requests, 1);
        assert_true(strlen(w->err.text) > 0);
    }
}

/* Goal: what is no address of http or https is an error with words. */
static void test_bad_url(void **state) {
    static const char *const urls[] = {"", "ftp://127.0.0.1/", "http://", "http://[::1", "x"};
    struct world *w = *state;
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        struct fetch_request r = {.url = urls[i], .timeout = 5 * USEC_PER_SEC};
        assert_int_equal(get(w, &r), -1);
        assert_int_not_equal(w->answer.outcome, OUTCOME_OK);
        assert_true(strlen(w->err.text) > 0);
        w->err.text[0] = '\0';
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, fetch_setup, fetch_teardown)
        T(test_exchange), T(test_again),  T(test_unreachable), T(test_timeout),
        T(test_too_long), T(test_broken), T(test_bad_url),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
