/* SPDX-License-Identifier: MIT */
/*
 * Probes over a scripted transport: the test decides what each question meets, so that rows of
 * verdicts, lateness and configuration changes can be played through without sockets.
 */
#include <event2/event.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "upstream/probe.h"

#define S(literal) ((char *)(literal)) /* the fields are owned strings elsewhere */
#define DEADLINE (90 * USEC_PER_SEC)

/* ---- The scripted transport: keeps what it was asked, answers when told ---- */

struct asked {
    struct transfer base; /* first */
    struct transfer_events events;
    void *ctx;
    char url[200];
    char method[20];
    char authorization[100];
    char body[100];
    bool fresh;
};

struct fake {
    struct transport base;
    struct asked *open[8];
    size_t n_open;
    int started, cancelled;
    struct asked last; /* a copy of what was asked last */
};

static struct fake *the_fake; /* ops have no other way from a transfer to its transport */

static struct transfer *fake_start(struct transport *t, const struct transfer_request *r,
                                   const struct transfer_events *events, void *ctx) {
    struct fake *f = (struct fake *)t;
    struct asked *x = calloc(1, sizeof *x);
    struct str value;
    assert_true(f->n_open < 8);
    x->base.ops = t->ops;
    x->events = *events;
    x->ctx = ctx;
    x->fresh = r->fresh;
    snprintf(x->url, sizeof x->url, "%s", r->url);
    snprintf(x->method, sizeof x->method, "%.*s", (int)r->method.n, r->method.p);
    if (headers_get(r->headers, "Authorization", &value)) {
        snprintf(x->authorization, sizeof x->authorization, "%.*s", (int)value.n, value.p);
    }
    if (r->has_body) {
        snprintf(x->body, sizeof x->body, "%.*s", (int)r->body[0].n, r->body[0].p);
    }
    f->open[f->n_open++] = x;
    f->last = *x;
    f->started++;
    return &x->base;
}

static void drop(struct asked *x) {
    struct fake *f = the_fake;
    for (size_t i = 0; i < f->n_open; i++) {
        if (f->open[i] == x) {
            f->open[i] = f->open[--f->n_open];
            free(x);
            return;
        }
    }
    fail_msg("a transfer that is not open was touched");
}

static void fake_cancel(struct transfer *x) {
    the_fake->cancelled++;
    drop((struct asked *)x);
}

static const struct transport_ops fake_ops = {.start = fake_start, .cancel = fake_cancel};

/* Ends the oldest open transfer. status 0: without an answer. */
static void answer(struct fake *f, int status, enum outcome outcome) {
    struct transfer_result result = {.outcome = outcome, .detail = ""};
    assert_true(f->n_open > 0);
    struct asked *x = f->open[0], copy = *x;
    if (status) {
        struct headers none;
        headers_init(&none, 1, 1);
        copy.events.head(copy.ctx, status, &none);
        copy.events.data(copy.ctx, "{}", 2);
        headers_release(&none);
    }
    drop(x);
    copy.events.done(copy.ctx, &result);
}

/* ---- The fixture ---- */

struct fixture {
    struct event_base *base;
    struct fake fake;
    struct targets *targets;
    struct log log;
    struct probes *probes;
};

static int setup(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    f->base = event_base_new();
    f->fake.base.ops = &fake_ops;
    the_fake = &f->fake;
    f->targets = targets_new(100);
    log_init(&f->log, NULL, NULL, LOG_LEVEL_ERROR);
    f->probes = probes_new(f->base, &f->fake.base, f->targets, &f->log);
    *state = f;
    return f->probes ? 0 : -1;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    probes_free(f->probes);
    size_t left = f->fake.n_open;
    targets_free(f->targets);
    event_base_free(f->base);
    free(f);
    return left == 0 ? 0 : -1; /* everything under way was cancelled */
}

static void on_wake(evutil_socket_t fd, short what, void *arg) {
    (void)fd, (void)what, (void)arg;
}

#define RUN_UNTIL(f, condition)                                                                    \
    do {                                                                                           \
        usec limit_ = clock_now() + DEADLINE;                                                      \
        struct event *wake_ = event_new((f)->base, -1, EV_PERSIST, on_wake, NULL);                 \
        struct timeval tv_ = {0, 1000};                                                            \
        event_add(wake_, &tv_);                                                                    \
        while (!(condition)) {                                                                     \
            event_base_loop((f)->base, EVLOOP_ONCE);                                               \
            assert_true(clock_now() < limit_);                                                     \
        }                                                                                          \
        event_free(wake_);                                                                         \
    } while (0)

static struct config_provider provider(const char *name) {
    struct config_provider p = {
        .name = S(name), .base_url = S("http://h/v1"), .auth = AUTH_BEARER, .api_key = S("sk")};
    p.health = (struct config_health){.enabled = true,
                                      .method = S("GET"),
                                      .path = S("/models"),
                                      .status = S("2xx"),
                                      .interval = 5000,
                                      .timeout = DEADLINE,
                                      .up = 2,
                                      .down = 3};
    return p;
}

/* A configuration on the stack: its references never come to nothing. */
static void configure(struct fixture *f, struct config *c, struct config_provider *p, size_t n) {
    *c = (struct config){.refs = 1000, .providers = p, .n_providers = n};
    assert_int_equal(probes_configure(f->probes, c), 0);
}

static bool up(struct fixture *f, const char *name) {
    return targets_is_up(f->targets, str_of(name), NULL);
}

/* Waits for the next question and answers it. */
static void next(struct fixture *f, int status, enum outcome outcome) {
    RUN_UNTIL(f, f->fake.n_open > 0);
    answer(&f->fake, status, outcome);
}

/* ---- Tests ---- */

/* Goal: down after `down` failures in a row, up after `up` successes in a row, and not before. */
static void test_rows(void **state) {
    struct fixture *f = *state;
    struct config c;
    struct config_provider p = provider("a");
    configure(f, &c, &p, 1);
    assert_true(up(f, "a"));
    next(f, 500, OUTCOME_OK);
    next(f, 0, OUTCOME_CONNECT_ERROR);
    next(f, 200, OUTCOME_OK);
    next(f, 404, OUTCOME_OK);
    next(f, 200, OUTCOME_STREAM_BROKEN);
    assert_true(up(f, "a"));
    next(f, 302, OUTCOME_OK);
    assert_false(up(f, "a"));
    next(f, 200, OUTCOME_OK);
    next(f, 500, OUTCOME_OK);
    next(f, 204, OUTCOME_OK);
    assert_false(up(f, "a"));
    next(f, 200, OUTCOME_OK);
    assert_true(up(f, "a"));
    struct probe_stats stats;
    probes_stats(f->probes, &stats);
    assert_int_equal(stats.ok, 4);
    assert_int_equal(stats.failed, 6);
}

/* Goal: the question is the one configured, with the provider's key. */
static void test_question(void **state) {
    struct fixture *f = *state;
    struct config c;
    struct config_provider p = provider("a");
    p.health.method = S("POST");
    p.health.path = S("/chat/completions?x=1");
    p.health.body = S("{\"model\":\"m\"}");
    p.health.status = S("200, 401,5xx");
    p.health.down = 1;
    p.health.up = 1;
    configure(f, &c, &p, 1);
    RUN_UNTIL(f, f->fake.started == 1);
    assert_string_equal(f->fake.last.method, "POST");
    assert_string_equal(f->fake.last.url, "http://h/v1/chat/completions?x=1");
    assert_string_equal(f->fake.last.authorization, "Bearer sk");
    assert_string_equal(f->fake.last.body, "{\"model\":\"m\"}");
    static const struct {
        int status;
        bool ok;
    } cases[] = {{200, true}, {201, false}, {401, true}, {403, false}, {503, true}, {400, false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        next(f, cases[i].status, OUTCOME_OK);
        assert_int_equal(up(f, "a"), cases[i].ok);
    }
}

/* Goal: no answer in time is a failure, the question is cancelled, and the next one comes. */
static void test_late(void **state) {
    struct fixture *f = *state;
    struct config c;
    struct config_provider p = provider("a");
    p.health.timeout = 1000;
    p.health.down = 2;
    configure(f, &c, &p, 1);
    RUN_UNTIL(f, f->fake.cancelled == 2);
    assert_false(up(f, "a"));
    RUN_UNTIL(f, f->fake.cancelled == 4);
    assert_true(f->fake.started <= 5); /* never two at once */
}

/* Goal: an idle connection that was closed is no verdict: asked again at once, on a fresh one, but
 * only once. */
static void test_stale(void **state) {
    struct fixture *f = *state;
    struct config c;
    struct config_provider p = provider("a");
    p.health.down = 1;
    p.health.interval = DEADLINE * 2; /* no second question in this test */
    configure(f, &c, &p, 1);
    next(f, 0, OUTCOME_STALE_CONNECTION);
    assert_int_equal(f->fake.started, 2);
    assert_true(f->fake.last.fresh);
    assert_true(up(f, "a"));
    answer(&f->fake, 0, OUTCOME_STALE_CONNECTION);
    assert_int_equal(f->fake.started, 2);
    assert_false(up(f, "a"));
}

/* Goal: on a new configuration, what is the same goes on with its row of verdicts; what is changed
 * or gone counts as up. */
static void test_configure(void **state) {
    struct fixture *f = *state;
    struct config one, two;
    struct config_provider old[3] = {provider("same"), provider("changed"), provider("gone")};
    struct config_provider new[3] = {provider("same"), provider("changed"), provider("added")};
    for (int i = 0; i < 3; i++) {
        old[i].health.down = new[i].health.down = 2;
        old[i].health.interval = new[i].health.interval = 1000;
    }
    configure(f, &one, old, 3);
    while (up(f, "same") || up(f, "changed") || up(f, "gone")) {
        next(f, 500, OUTCOME_OK);
    }
    RUN_UNTIL(f, f->fake.n_open == 3); /* all three questions are under way */
    new[1].api_key = S("another");
    configure(f, &two, new, 3);
    assert_false(up(f, "same"));
    assert_true(up(f, "changed"));
    assert_true(up(f, "gone"));
    assert_true(up(f, "added"));
    assert_int_equal(f->fake.n_open, 1);
    assert_int_equal(f->fake.cancelled, 2);
    while (up(f, "changed") || up(f, "added")) {
        next(f, 500, OUTCOME_OK);
    }
    new[0].health.enabled = false;
    configure(f, &one, new, 3);
    assert_true(up(f, "same"));
    assert_false(up(f, "changed"));
    configure(f, &one, NULL, 0);
    assert_true(up(f, "changed"));
    assert_int_equal(f->fake.n_open, 0);
}

/* Goal: while paused nothing is asked and verdicts stay; then each is asked at once and counts on.
 */
static void test_pause(void **state) {
    struct fixture *f = *state;
    struct config c;
    struct config_provider p[2] = {provider("asked"), provider("waits")};
    p[0].health.down = p[1].health.down = 1;
    p[1].health.interval = DEADLINE;
    configure(f, &c, p, 2);
    RUN_UNTIL(f, f->fake.n_open == 2);
    next(f, 500, OUTCOME_OK);
    next(f, 500, OUTCOME_OK);
    RUN_UNTIL(f, f->fake.n_open == 1); /* one question is under way, the other one's time runs */
    probes_pause(f->probes);
    assert_int_equal(f->fake.n_open, 0);
    assert_int_equal(f->fake.started, 3);
    assert_int_equal(event_base_get_num_events(f->base, EVENT_BASE_COUNT_ADDED), 0);
    assert_false(up(f, "asked") || up(f, "waits"));
    probes_resume(f->probes);
    RUN_UNTIL(f, f->fake.n_open == 2);
    configure(f, &c, NULL, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(test_rows),  T(test_question),  T(test_late),
        T(test_stale), T(test_configure), T(test_pause),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
