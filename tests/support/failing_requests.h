/* SPDX-License-Identifier: MIT */
/*
 * For tests of memory that runs out under a request: a world whose log, access log and providers
 * are the test's and never fail, a client that asks once, and what must hold whatever failed: a
 * whole proper answer, an error, or a closed connection; nothing left over; the next request works.
 */
#ifndef SUPPORT_FAILING_REQUESTS_H
#define SUPPORT_FAILING_REQUESTS_H

#include "base/jscan.h"
#include "failing_memory.h"
#include "gateway/accesslog.h"
#include "gateway/answer.h"
#include "gateway_world.h"

struct asking {
    struct world *world;
    const char *text;    /* the request as it is sent */
    const char *plays;   /* one letter per transfer: see play; the last one goes on */
    int status;          /* of the good answer */
    const char *body;    /* of it; NULL: not looked at */
    const char *has;     /* what stands in it; NULL: not looked at */
    const char *planned; /* what stands in the default plan's, if that is told apart */
    void (*play_own)(struct scripted_transfer *it, char letter); /* plays capital letters */
    bool cut;       /* the good answer is one that breaks off */
    bool by_policy; /* nothing fails before the policy calls begin */
    size_t whole, errors, closed;
};

static void quiet_log(void *ctx, enum log_level level, const char *line) {
    bool on = failing_pause();
    world_log(ctx, level, line);
    failing_go_on(on);
}

/* Whatever is written is a JSON object. */
static void quiet_access(void *ctx, const char *line, size_t n) {
    bool on = failing_pause();
    struct jfield id = {.name = "id"};
    if (jscan_object(str_make(line, n), &id, 1, NULL) != JSCAN_OK ||
        id.value.type != JTYPE_STRING) {
        fail_msg("not a line for the access log: \"%.*s\"", (int)n, line);
    }
    world_access(ctx, line, n);
    failing_go_on(on);
}

/* ---- providers ---- */

static struct transport_ops asking_ops;

/* One allocation stands for all that a transport makes. */
static struct transfer *asking_start(struct transport *t, const struct transfer_request *r,
                                     const struct transfer_events *events, void *ctx) {
    if (fails()) {
        return NULL;
    }
    bool on = failing_pause();
    struct transfer *transfer = scripted_start(t, r, events, ctx);
    failing_go_on(on);
    return transfer;
}

static void say_head(struct scripted_transfer *it, int status, const char *type) {
    struct headers headers;
    bool on = failing_pause();
    headers_init(&headers, MAX_HEADERS, MAX_ANSWER_HEAD);
    assert_int_equal(headers_add(&headers, STR("content-type"), str_of(type)), 0);
    failing_go_on(on);
    it->events.head(it->ctx, status, &headers);
    headers_release(&headers);
}

static void say(struct scripted_transfer *it, const char *text) {
    if (it->live) {
        it->events.data(it->ctx, text, strlen(text));
    }
}

static void say_done(struct scripted_transfer *it, enum outcome outcome) {
    if (it->live) {
        play_done(it, outcome);
    }
}

/* Whole events, and some that come in two parts. */
static void say_stream(struct scripted_transfer *it, bool whole) {
    say_head(it, 200, "text/event-stream");
    say(it, ROLE_EVENT);
    say(it, WORD_EVENT("one") "data: {\"choices\":[{\"index\":0,\"del");
    say(it, "ta\":{\"content\":\"two\"}}]}\n\n");
    if (!whole) {
        say_done(it, OUTCOME_STREAM_BROKEN);
        return;
    }
    say(it, FINISH_EVENT "data: [DO");
    say(it, "NE]\n\n");
    say_done(it, OUTCOME_OK);
}
#define STREAM_BODY ROLE_EVENT WORD_EVENT("one") WORD_EVENT("two") FINISH_EVENT DONE_EVENT
#define STREAM_BROKEN ROLE_EVENT WORD_EVENT("one") WORD_EVENT("two")

static void say_json(struct scripted_transfer *it, int status, const char *body) {
    say_head(it, status, "application/json");
    say(it, body);
    say_done(it, OUTCOME_OK);
}

/* g: a good JSON answer; e: a 503; s: a stream; b: a stream that breaks off; x: no connection;
 * capital letters: the test's own */
static void play(const struct asking *a, struct scripted_transfer *it, char letter) {
    if (letter == 'x') {
        play_done(it, OUTCOME_CONNECT_ERROR);
        return;
    }
    it->sent = SENT_ALL;
    it->events.connected(it->ctx, false);
    if (it->live && letter >= 'A' && letter <= 'Z') {
        a->play_own(it, letter);
    } else if (it->live && letter == 'g') {
        say_json(it, 200, GOOD_BODY);
    } else if (it->live && letter == 'e') {
        say_json(it, 503, ERROR_BODY);
    } else if (it->live) {
        say_stream(it, letter == 's');
    }
}

static void play_all(struct asking *a, size_t *played) {
    size_t letters = strlen(a->plays);
    for (; *played < a->world->up.n; (*played)++) {
        struct scripted_transfer *it = scripted_at(&a->world->up, *played);
        if (it->live) {
            play(a, it, a->plays[*played < letters ? *played : letters - 1]);
        }
    }
}

/* ---- the client ---- */

static void asking_refuse(void *ctx, int status, const char *message, struct headers *headers,
                          struct buf *body) {
    const struct world_client *c = ctx;
    answer_refusal(status, message, headers, body);
    accesslog_refused(&c->world->w, status);
}

static const struct conn_ops ASKING_OPS = {.request = world_request,
                                           .refuse = asking_refuse,
                                           .gone = world_gone,
                                           .drained = world_drained,
                                           .closed = world_closed};

/* As world_connect, but its connection may fail to be made. False: closed at once. */
static bool try_connect(struct world *world, struct world_client *c) {
    int fds[2];
    bool on = failing_pause();
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    evutil_make_socket_nonblocking(fds[1]);
    *c = (struct world_client){.world = world, .fd = fds[0]};
    buf_init(&c->got, MIB(64));
    failing_go_on(on);
    worker_generation(&world->w);
    c->conn = conn_new(world->w.base, fds[1], &ASKING_OPS, c, &world->w.limits);
    return c->conn != NULL;
}

static bool is_error_body(const struct buf *body) {
    struct jfield error = {.name = "error"};
    return jscan_object(buf_str(body), &error, 1, NULL) == JSCAN_OK &&
           error.value.type == JTYPE_OBJECT;
}

/* A provider's whole answer: what the default plan brings when the policy ran out of memory. */
static bool is_providers(const struct asking *a, const struct world_answer *got) {
    return got->whole && got->status == 200 &&
           (strcmp(got->body.data, GOOD_BODY) == 0 || strcmp(got->body.data, STREAM_BODY) == 0 ||
            (a->planned && strstr(got->body.data, a->planned)));
}

/* What it may have got when something failed, or (nothing failed) must have got. */
static void judge(struct asking *a, struct world_client *c) {
    struct world_answer got = client_answer(c);
    bool hit = failing()->hit;
    bool good = got.status == a->status && got.whole != a->cut &&
                (!a->body || strncmp(got.body.data, a->body, strlen(a->body)) == 0) &&
                (!a->body || a->cut || got.body.len == strlen(a->body)) &&
                (!a->has || strstr(got.body.data, a->has));
    if (good || (hit && is_providers(a, &got))) {
        a->whole++;
    } else if (!hit) {
        fail_msg("nothing failed, and yet %d, whole %d: %.900s; log: %.900s", got.status, got.whole,
                 c->got.data, a->world->log.data);
    } else if (got.whole && got.status >= 400) {
        a->errors++;
        if (got.body.len && !is_error_body(&got.body)) {
            fail_msg("allocation %zu: no error: %.900s", failing()->at, c->got.data);
        }
    } else if (got.whole) {
        fail_msg("allocation %zu: a false success: %.900s", failing()->at, c->got.data);
    } else {
        a->closed++;
        assert_true(c->eof);
    }
    buf_release(&got.body);
}

static void check_nothing_left(struct world *world) {
    world_check_idle(world);
    world_check_counts(world);
    assert_null(world->w.leftovers);
    assert_int_equal(lua_gettop(world_lane(world)->box->L), 0);
    scripted_free(&world->up.base);
    buf_clear(&world->log);
    buf_clear(&world->access);
}

/* One request, allocation `at` of it failing. */
static void ask_failing(struct asking *a, size_t at) {
    struct world *world = a->world;
    struct world_client c;
    size_t played = 0;
    usec until = clock_now() + WORLD_DEADLINE;
    begin(at);
    failing()->on = !a->by_policy;
    if (try_connect(world, &c)) {
        assert_int_equal(send(c.fd, a->text, strlen(a->text), MSG_NOSIGNAL),
                         (ssize_t)strlen(a->text));
    }
    for (bool over = false; !over;) {
        world_turn(world);
        play_all(a, &played);
        bool on = failing_pause();
        over = client_whole(&c) || c.eof;
        if (clock_now() > until) {
            fail_msg("allocation %zu: no answer; log: %.900s", at, world->log.data);
        }
        failing_go_on(on);
    }
    end();
    judge(a, &c);
    client_leave(&c);
    WORLD_WAIT(world, !c.conn && !world->w.leftovers && !world->w.exchanges);
    buf_release(&c.got);
    check_nothing_left(world);
}

static void ask_and_again(void *ctx, size_t at) {
    struct asking *a = ctx;
    ask_failing(a, at);
    struct failing was = *failing();
    ask_failing(a, 0); /* as if nothing had happened */
    *failing() = was;
}

static struct world *asking_world(struct folder *folder, const char *handle) {
    struct world *world = world_new(folder, "", handle);
    log_init(&world->g.log, quiet_log, world, LOG_LEVEL_DEBUG);
    world->g.access = quiet_access;
    asking_ops = SCRIPTED_OPS;
    asking_ops.start = asking_start;
    world->up.base.ops = &asking_ops;
    return world;
}

#endif
