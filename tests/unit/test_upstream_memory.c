/* SPDX-License-Identifier: MIT */
/*
 * What transports stand on when memory runs out: names looked up, addresses tried, providers
 * probed, requests signed, frames read. Each allocation fails in turn, ours and libevent's: who
 * asks gets an answer or is refused, and afterwards everything works.
 */
#include <arpa/inet.h>
#include <event2/event.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "../support/failing_memory.h"
#include "../support/frames.h"
#include "base/clock.h"
#include "upstream/dial.h"
#include "upstream/probe.h"
#include "upstream/resolver.h"
#include "upstream/sigv4.h"

#define PATIENCE (60 * USEC_PER_SEC)

/* Turns the loop, without an event of the test's own, which could not be had. */
#define RUN_UNTIL(base, condition)                                                                 \
    do {                                                                                           \
        usec limit_ = clock_now() + PATIENCE;                                                      \
        while (!(condition)) {                                                                     \
            event_base_loop(base, EVLOOP_NONBLOCK);                                                \
            bool on_ = failing_pause();                                                            \
            usleep(50);                                                                            \
            if (clock_now() > limit_) {                                                            \
                fail_msg("allocation %zu: waited in vain for %s", failing()->at, #condition);      \
            }                                                                                      \
            failing_go_on(on_);                                                                    \
        }                                                                                          \
    } while (0)

/* Each act begins with a loop that has made no room for anything yet. */
static struct event_base *fresh_base(void) {
    bool on = failing_pause();
    struct event_base *base = event_base_new();
    assert_non_null(base);
    failing_go_on(on);
    return base;
}

/* ---- names ---- */

static atomic_int *looks(void) {
    static atomic_int under_way;
    return &under_way;
}

static int look(void *ctx, const char *host, struct addresses *found, struct err *err) {
    struct in_addr a = {htonl(INADDR_LOOPBACK)};
    (void)ctx;
    ++*looks();
    addresses_add(found, AF_INET, &a);
    int r = strcmp(host, "none.test") == 0 ? err_set(err, "no such host: %s", host) : 0;
    --*looks();
    return r;
}

struct asker {
    struct resolver_wait wait;
    bool waits;
    int found, failed;
};

static void on_answer(void *user, const struct addresses *found, const char *detail) {
    struct asker *a = user;
    assert_true(found || detail[0]);
    a->waits = false;
    a->found += found != NULL;
    a->failed += found == NULL;
}

static void ask(struct resolver *r, const char *host, struct asker *a) {
    *a = (struct asker){.wait.done = on_answer, .wait.user = a};
    a->waits = resolver_ask(r, str_of(host), &a->wait) == 0;
}

static void names_failing(void *ctx, size_t at) {
    const struct resolver_options options = {.lookup = look};
    struct event_base *base = fresh_base();
    struct asker one, again, none;
    (void)ctx;
    begin(at);
    struct resolver *r = resolver_new(base, &options);
    if (r) {
        ask(r, "one.test", &one);
        ask(r, "One.Test", &again);
        ask(r, "none.test", &none);
        RUN_UNTIL(base, !one.waits && !again.waits && !none.waits);
        ask(r, "one.test", &again);
        RUN_UNTIL(base, !again.waits);
        assert_true(none.found == 0 && (one.found == 1 || failing()->hit));
    }
    end();
    assert_true(r || failing()->hit);
    if (r) {
        ask(r, "one.test", &one);
        ask(r, "none.test", &none);
        RUN_UNTIL(base, !one.waits && !none.waits);
        assert_int_equal(one.found, 1);
        assert_int_equal(none.failed, 1);
    }
    resolver_free(r);
    event_base_free(base);
}

static void names(void **state) {
    /* Goal: whoever was told to wait is answered, and a name that could not be looked up can be
     * later. */
    (void)state;
    size_t failures = sweep(names_failing, NULL);
    printf("%zu failures\n", failures);
    assert_true(failures >= 10);
    while (*looks()) {
        usleep(1000);
    }
}

/* ---- addresses ---- */

struct dialled {
    int calls, fd;
};

static void on_dialled(void *user, int fd, int error) {
    struct dialled *d = user;
    assert_true((fd >= 0) == (error == 0));
    d->calls++;
    d->fd = fd;
}

static int listen_at(const char *address, unsigned port, int backlog, unsigned *got) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    socklen_t n = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(inet_pton(AF_INET, address, &a.sin_addr), 1);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(fd, backlog), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
    *got = ntohs(a.sin_port);
    return fd;
}

/* A listener whose queue is full: who knocks there is not answered. */
static int fill(unsigned port) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(inet_pton(AF_INET, "127.0.0.2", &a.sin_addr), 1);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    return fd;
}

struct dialling {
    struct addresses to;
    unsigned port;
    size_t made;
};

static void dial_failing(void *ctx, size_t at) {
    struct dialling *s = ctx;
    struct event_base *base = fresh_base();
    struct dialled d = {0, -1};
    begin(at);
    struct dial *dial = dial_start(base, &s->to, s->port, on_dialled, &d);
    assert_true(dial || failing()->hit);
    if (dial) {
        /* The silent one may be all that is left. */
        usec enough = clock_now() + 4 * DIAL_HEAD_START;
        RUN_UNTIL(base, d.calls == 1 || (failing()->hit && clock_now() > enough));
        s->made += d.fd >= 0;
        assert_true(d.fd >= 0 || failing()->hit);
        dial_cancel(d.calls ? NULL : dial);
    }
    end();
    if (d.fd >= 0) {
        close(d.fd);
    }
    event_base_free(base);
}

static void addresses(void **state) {
    /* Goal: a dial ends, and what can be reached is tried whatever cannot be had for the others: a
     * first address that refuses, a second that is silent, a third that answers. */
    (void)state;
    static const char *const to[] = {"127.0.0.3", "127.0.0.2", "127.0.0.1"};
    struct dialling s = {.port = 0};
    int answers = listen_at("127.0.0.1", 0, 16, &s.port);
    int silent = listen_at("127.0.0.2", s.port, 0, &s.port), full = fill(s.port);
    for (size_t i = 0; i < 3; i++) {
        struct in_addr a;
        assert_int_equal(inet_pton(AF_INET, to[i], &a), 1);
        addresses_add(&s.to, AF_INET, &a);
    }
    size_t failures = sweep(dial_failing, &s);
    printf("%zu failures, %zu connections all the same\n", failures, s.made);
    assert_true(failures >= 4);
    assert_true(s.made >= 2);
    close(full);
    close(silent);
    close(answers);
}

/* ---- probes ---- */

struct question {
    struct transfer base; /* first */
    struct transfer_events events;
    void *ctx;
    bool open;
};

struct provider {
    struct transport base; /* first */
    struct question question;
};

static struct provider *the_provider(void) {
    static struct provider p;
    return &p;
}

/* One allocation stands for all that a transport makes. */
static struct transfer *question_start(struct transport *t, const struct transfer_request *r,
                                       const struct transfer_events *events, void *ctx) {
    struct question *q = &the_provider()->question;
    (void)r;
    if (fails()) {
        return NULL;
    }
    assert_false(q->open);
    *q = (struct question){{t->ops}, *events, ctx, true};
    return &q->base;
}

static void question_cancel(struct transfer *x) {
    ((struct question *)(void *)x)->open = false;
}

static const struct transport_ops QUESTIONS = {.start = question_start, .cancel = question_cancel};

static void answer_question(void) {
    struct question *q = &the_provider()->question;
    struct transfer_result result = {.outcome = OUTCOME_CONNECT_ERROR, .detail = ""};
    if (q->open) {
        q->open = false;
        q->events.done(q->ctx, &result);
    }
}

static unsigned long verdicts(const struct probes *p) {
    struct probe_stats stats;
    answer_question();
    probes_stats(p, &stats);
    return stats.failed + stats.ok;
}

struct probing {
    struct log log;
    struct config config;
};

static void probe_failing(void *ctx, size_t at) {
    enum { TURNS = 40 };
    struct probing *s = ctx;
    struct event_base *base = fresh_base();
    struct targets *targets = targets_new(100);
    begin(at);
    struct probes *p = probes_new(base, &the_provider()->base, targets, &s->log);
    int bad = p ? probes_configure(p, &s->config) : -1;
    for (int i = 0; !bad && i < TURNS && verdicts(p) < 3; i++) {
        event_base_loop(base, EVLOOP_NONBLOCK);
        usleep(200);
    }
    end();
    assert_true(!bad || failing()->hit);
    if (p && bad) {
        assert_int_equal(probes_configure(p, &s->config), 0);
    }
    if (p) {
        unsigned long so_far = verdicts(p);
        RUN_UNTIL(base, verdicts(p) >= so_far + 3);
        assert_false(targets_is_up(targets, STR("a"), NULL));
        assert_int_equal(probes_configure(p, &s->config), 0);
    }
    probes_free(p);
    assert_false(the_provider()->question.open);
    targets_free(targets);
    event_base_free(base);
}

static void probes(void **state) {
    /* Goal: a provider whose question could not be asked is asked again when memory is back, and
     * one that does not answer is down then. */
    static struct config_provider provider = {.name = (char *)(uintptr_t) "a",
                                              .base_url = (char *)(uintptr_t) "http://h/v1",
                                              .auth = AUTH_BEARER,
                                              .api_key = (char *)(uintptr_t) "sk",
                                              .health = {.enabled = true,
                                                         .method = (char *)(uintptr_t) "POST",
                                                         .path = (char *)(uintptr_t) "/models",
                                                         .body = (char *)(uintptr_t) "{}",
                                                         .status = (char *)(uintptr_t) "2xx",
                                                         .interval = 1000,
                                                         .timeout = PATIENCE,
                                                         .up = 2,
                                                         .down = 3}};
    struct probing s = {.config = {.refs = 100000, .providers = &provider, .n_providers = 1}};
    (void)state;
    the_provider()->base.ops = &QUESTIONS;
    log_init(&s.log, NULL, NULL, LOG_LEVEL_ERROR);
    size_t failures = sweep(probe_failing, &s);
    printf("%zu failures\n", failures);
    assert_true(failures >= 10);
}

/* ---- AWS ---- */

#define SIGNATURE                                                                                  \
    "9db29116b5cea1d662222c48daf1e9c0453a894a83b4edecc11e300ea175efc7" /* test_sigv4.c */

static void signing_failing(void *ctx, size_t at) {
    static const struct sigv4_key key = {
        .access_key = {"AKIDEXAMPLE", 11},
        .secret_key = {"wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", 40},
        .region = {"us-east-1", 9},
        .service = {"bedrock", 7}};
    struct sigv4_request request = {
        STR("POST"), "http://127.0.0.1:8123/model/m/converse?b=2&a=1&c&a=0", NULL, 0};
    struct headers fields;
    struct str value;
    (void)ctx;
    headers_init(&fields, MAX_HEADERS, MAX_HEADER_BYTES);
    begin(at);
    int rc = headers_add(&fields, STR("Content-Type"), STR("application/json"));
    rc = rc ? rc : sigv4_sign(&key, &request, INT64_C(1795301100) * USEC_PER_SEC, &fields);
    end();
    assert_true(rc == 0 || failing()->hit);
    assert_true(rc != 0 || (headers_get(&fields, "authorization", &value) &&
                            str_ends(value, "Signature=" SIGNATURE)));
    headers_release(&fields);
}

static void signing(void **state) {
    /* Goal: what goes out signed is signed rightly. */
    (void)state;
    assert_true(sweep(signing_failing, NULL) >= 10);
}

static void frames_failing(void *ctx, size_t at) {
    const struct buf *bytes = ctx;
    struct eventstream e;
    struct buf text;
    enum eventstream_result result = EVENTSTREAM_OK;
    eventstream_init(&e, NULL);
    buf_init(&text, MIB(1));
    begin(at);
    for (size_t i = 0; i < bytes->len && result == EVENTSTREAM_OK; i += 100) {
        size_t n = bytes->len - i < 100 ? bytes->len - i : 100;
        result = eventstream_feed(&e, str_make(bytes->data + i, n), &text);
    }
    end();
    assert_int_equal(result, failing()->hit ? EVENTSTREAM_NOMEM : EVENTSTREAM_OK);
    assert_true(text.len % strlen("event: a\ndata: [1]\n\n") == 0);
    buf_release(&text);
    eventstream_release(&e);
}

static void frames(void **state) {
    /* Goal: no half event is made. */
    (void)state;
    struct buf bytes;
    buf_init(&bytes, KIB(64));
    for (int i = 0; i < 50; i++) {
        frames_message(&bytes, "event", "a", "[1]");
    }
    assert_true(sweep(frames_failing, &bytes) >= 3);
    buf_release(&bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),     cmocka_unit_test(signing), cmocka_unit_test(frames),
        cmocka_unit_test(addresses), cmocka_unit_test(probes),
    };
    event_set_mem_functions(__wrap_malloc, __wrap_realloc, free);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
