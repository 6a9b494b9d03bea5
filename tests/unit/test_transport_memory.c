/* SPDX-License-Identifier: MIT */
/*
 * Our own transport when memory runs out: each allocation of a transfer fails in turn. It ends with
 * an outcome or is never started, and the transport is as good as before.
 */
#include "../support/failing_memory.h"
#include "../support/scripted_server.h"

enum { PORTION = 7 }; /* bytes of the answer at a time: lines and chunks come in parts */

struct shape {
    struct fixture *f;
    const char *answer;
    size_t n;
    size_t body; /* bytes of it, decoded */
    bool large;  /* the request */
    size_t ok;
};

static const struct shape *shape_of(struct server *s) {
    return (const struct shape *)(const void *)s->text;
}

static void script_portions(struct server *s) {
    const struct shape *shape = shape_of(s);
    int fd = server_accept(s);
    if (fd >= 0 && server_read(s, fd)) {
        for (size_t at = 0; at < shape->n; at += PORTION) {
            size_t n = shape->n - at < PORTION ? shape->n - at : PORTION;
            send(fd, shape->answer + at, n, MSG_NOSIGNAL);
            usleep(200);
        }
    }
    close(fd);
}

static void transfer_failing(void *ctx, size_t at) {
    static char big[MAX_JOINED_BODY + 1];
    struct shape *shape = ctx;
    struct fixture *f = shape->f;
    struct server s;
    struct client c = {.f = f};
    struct headers h;
    struct err err;
    struct str pieces[2] = {{big, sizeof big}, {big, 1}};
    char url[64];
    memset(big, 'x', sizeof big);
    headers_init(&h, MAX_HEADERS, MAX_HEADER_BYTES);
    assert_int_equal(headers_add(&h, STR("X-A"), STR("1")), 0);
    server_start(&s, script_portions, (const char *)shape);
    snprintf(url, sizeof url, "%s", url_of(&s));
    struct transfer_request r = {.method = STR("POST"),
                                 .url = url,
                                 .headers = &h,
                                 .body = pieces,
                                 .n_body = shape->large ? 2 : 0,
                                 .has_body = true};
    begin(at);
    f->transport = native_transport_new(f->base, 8, &err);
    c.transfer = f->transport ? transfer_start(f->transport, &r, &events, &c) : NULL;
    if (c.transfer) {
        RUN_UNTIL(f, c.dones == 1);
        assert_true(c.result.outcome != OUTCOME_OK || c.total == shape->body);
        assert_true(c.result.outcome == OUTCOME_OK || failing()->hit);
        shape->ok += c.result.outcome == OUTCOME_OK;
    }
    bool refused = c.connected == 0;
    end();
    assert_true(!refused || failing()->hit);
    if (f->transport) {
        f->transport->ops->free(f->transport);
        f->transport = NULL;
    }
    if (refused) { /* so that the server does not wait for it */
        struct sockaddr_in a = {.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)s.port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        (void)connect(fd, (struct sockaddr *)&a, sizeof a);
        close(fd);
    }
    server_join(&s);
    headers_release(&h);
}

static void transfers(void **state) {
    /* Goal: whatever cannot be had, the transfer ends once, nothing leaks (ASan looks), and an
     * answer that is called whole is whole. */
    static const char chunked[] = OK_HEAD "Transfer-Encoding: chunked" CRLF CRLF "5" CRLF
                                          "hello" CRLF "6" CRLF " again" CRLF "0" CRLF CRLF;
    static const char gzip[] =
        OK_HEAD "Content-Encoding: gzip" CRLF "Content-Length: 31" CRLF CRLF
                "\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xcb\x48\xcd\xc9\xc9\xd7"
                "\x51\xc8\x20\x44\x71\x01\x00\x63\x9f\x59\xd8\x29\x00\x00\x00";
    struct shape shapes[] = {
        {.answer = chunked, .n = sizeof chunked - 1, .body = 11},
        {.answer = gzip, .n = sizeof gzip - 1, .body = 41},
        {.answer = chunked, .n = sizeof chunked - 1, .body = 11, .large = true}};
    struct fixture *f = *state;
    f->transport->ops->free(f->transport);
    f->transport = NULL;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        shapes[i].f = f;
        size_t failures = sweep(transfer_failing, &shapes[i]);
        printf("%zu failures, %zu whole answers\n", failures, shapes[i].ok);
        assert_true(failures >= 8);
        assert_true(shapes[i].ok >= 2);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(transfers, setup_native, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
