/* SPDX-License-Identifier: MIT */
/*
 * Both transports when memory runs out, in plain text and through TLS: each allocation of a
 * transfer fails in turn, ours and libevent's. It ends with an outcome or is never started, and the
 * transport is as good as before. Over libcurl it may hang as well, until its caller's clock ends
 * it. OpenSSL's own allocations, and libcurl's, do not fail here.
 */
#define SOME 50 /* each act is a server, a transport and two transfers */
#include "../support/failing_memory.h"
#include "../support/scripted_server.h"

#define PATIENCE (3 * USEC_PER_SEC / 2) /* the caller's clock: longer than libcurl's tick */
enum { PORTION = 7 }; /* bytes of the answer at a time: lines and chunks come in parts */

struct shape {
    struct fixture *f;
    const char *answer;
    size_t n;
    size_t body; /* bytes of it, decoded */
    bool large;  /* the request */
    bool pauses; /* at the head, for a turn of the loop */
    size_t ok;
};

static const struct shape *shape_of(struct server *s) {
    return (const struct shape *)(const void *)s->text;
}

/* To one connection after another, until the test is over: the whole answer, then the end. */
static void script_portions(struct server *s) {
    const struct shape *shape = shape_of(s);
    int fd;
    while (server_wait(s) && (fd = server_accept(s)) >= 0) {
        if (server_read(s, fd)) {
            for (size_t at = 0; at < shape->n; at += PORTION) {
                size_t n = shape->n - at < PORTION ? shape->n - at : PORTION;
                send(fd, shape->answer + at, n, MSG_NOSIGNAL);
                usleep(200);
            }
        }
        close(fd);
    }
}

/* Turns the loop without an event of the test's own, which could not be had. */
static void run_to_end(struct fixture *f, struct client *c, const struct shape *shape) {
    usec began = clock_now();
    bool resumed = !shape->pauses;
    while (c->dones == 0) {
        event_base_loop(f->base, EVLOOP_NONBLOCK);
        if (c->transfer && c->heads && !resumed) {
            resumed = true;
            transfer_resume(c->transfer);
        }
        bool on = failing_pause();
        usleep(50);
        bool may_hang = f->make == curl_transport_new && failing()->hit;
        if (clock_now() > began + (may_hang ? PATIENCE : DEADLINE)) {
            if (!may_hang) {
                fail_msg("allocation %zu: the transfer does not end", failing()->at);
            }
            transfer_cancel(c->transfer);
            c->dones = 1;
            c->result.outcome = OUTCOME_TIMEOUT_TOTAL;
        }
        failing_go_on(on);
    }
}

static void transfer_once(struct shape *shape, const struct server *s) {
    static char big[MAX_JOINED_BODY + 1];
    struct fixture *f = shape->f;
    struct client c = {.f = f, .pause_at = shape->pauses ? AT_HEAD : AT_NONE};
    struct headers h;
    struct str pieces[2] = {{big, sizeof big}, {big, 1}};
    bool on = failing_pause();
    memset(big, 'x', sizeof big);
    headers_init(&h, MAX_HEADERS, MAX_HEADER_BYTES);
    assert_int_equal(headers_add(&h, STR("X-A"), STR("1")), 0);
    struct transfer_request r = {.method = STR("POST"),
                                 .url = url_of(s),
                                 .headers = &h,
                                 .body = pieces,
                                 .n_body = shape->large ? 2 : 0,
                                 .has_body = true,
                                 .fresh = true,
                                 .tls = *through_tls() ? (*through_tls())->client : NULL};
    failing_go_on(on);
    c.transfer = transfer_start(f->transport, &r, &events, &c);
    bool started = c.transfer != NULL;
    if (started) {
        run_to_end(f, &c, shape);
        assert_int_equal(c.dones, 1);
        assert_true(c.result.outcome != OUTCOME_OK || c.total == shape->body);
        shape->ok += c.result.outcome == OUTCOME_OK;
    }
    if (!failing()->hit && c.result.outcome != OUTCOME_OK) {
        fail_msg("nothing failed, and yet: started %d, %s", started, c.detail);
    }
    headers_release(&h);
}

/* One transfer, allocation `at` of it failing, and another with nothing failing. */
static void transfer_failing(void *ctx, size_t at) {
    struct shape *shape = ctx;
    struct fixture *f = shape->f;
    struct server s;
    struct err err;
    server_start(&s, script_portions, (const char *)shape);
    begin(at);
    f->transport = f->make(f->base, 8, &err);
    assert_true(f->transport || failing()->hit);
    if (f->transport) {
        transfer_once(shape, &s);
    }
    end();
    struct failing was = *failing();
    failing()->hit = false;
    if (f->transport) {
        transfer_once(shape, &s);
        f->transport->ops->free(f->transport);
        f->transport = NULL;
    }
    *failing() = was;
    s.go = true;
    server_join(&s);
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
        {.answer = chunked, .n = sizeof chunked - 1, .body = 11, .large = true},
        {.answer = chunked, .n = sizeof chunked - 1, .body = 11, .pauses = true}};
    struct fixture *f = *state;
    f->transport->ops->free(f->transport);
    f->transport = NULL;
    size_t step = f->make == curl_transport_new ? 3 : 1; /* the first and the last: each may wait */
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i += step) {
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
        cmocka_unit_test_setup_teardown(transfers, setup_native_tls, teardown),
        cmocka_unit_test_setup_teardown(transfers, setup_curl, teardown),
        cmocka_unit_test_setup_teardown(transfers, setup_curl_tls, teardown),
    };
    event_set_mem_functions(__wrap_malloc, __wrap_realloc, free);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
