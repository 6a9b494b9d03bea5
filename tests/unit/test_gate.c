/* SPDX-License-Identifier: MIT */
/*
 * The commit gate's decisions: what is held, when an answer is known to be good, and as what it
 * fails. One attempt without transfer or worker; every stream is tried in one piece, split
 * everywhere, and byte by byte.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "gateway/exchange.h"
#include "gateway/gate.h"
#include "../support/dialects.h"

#define ROLE "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n"
#define WORD "data: {\"choices\":[{\"delta\":{\"content\":\"w\"}}]}\n\n"
#define FINISH(why) "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"" why "\"}]}\n\n"
#define DONE "data: [DONE]\n\n"
#define PING ": ping\n\n"

struct gate {
    struct http_request request;
    struct exchange x;
    struct attempt a;
};

static struct gate *gate_new(int status, const char *type) {
    struct gate *g = calloc(1, sizeof(*g));
    assert_non_null(g);
    g->request.method = STR("POST");
    g->request.path = STR("/v1/chat/completions");
    g->x.request = &g->request;
    g->a.x = &g->x;
    g->a.status = status;
    g->a.dialect = shipped_dialect("openai");
    buf_init(&g->a.held, MAX_PLAIN_BODY + KIB(256));
    headers_init(&g->a.headers, MAX_HEADERS, MAX_ANSWER_HEAD);
    sse_init(&g->a.sse);
    if (type) {
        assert_int_equal(headers_add(&g->a.headers, STR("Content-Type"), str_of(type)), 0);
    }
    return g;
}

static void gate_free(struct gate *g) {
    buf_release(&g->a.held);
    headers_release(&g->a.headers);
    sse_release(&g->a.sse);
    free(g);
}

static enum gate_result feed(struct gate *g, const char *data, size_t n) {
    return gate_data(&g->a, str_make(data, n));
}

static enum gate_result end(struct gate *g, enum outcome how) {
    struct transfer_result result = {.outcome = how, .sent = SENT_ALL, .detail = "detail"};
    return gate_end(&g->a, &result);
}

/* Feeds it in portions until something is known, then ends it. */
static enum gate_result run(struct gate *g, struct str text, size_t first, size_t step,
                            enum outcome how) {
    enum gate_result result = gate_head(&g->a);
    for (size_t at = 0; at < text.n && result == GATE_WAIT;) {
        size_t n = at == 0 ? first : step;
        n = n < text.n - at ? n : text.n - at;
        result = feed(g, text.p + at, n);
        at += n;
    }
    return result == GATE_WAIT ? end(g, how) : result;
}

struct row {
    const char *stream;
    enum gate_result result;
    enum outcome outcome;
    int status; /* of the verdict */
};

static void check_row(const struct row *row, size_t first, size_t step) {
    struct gate *g = gate_new(200, "text/event-stream; charset=utf-8");
    enum gate_result got = run(g, str_of(row->stream), first, step, OUTCOME_OK);
    if (got != row->result || g->a.verdict.outcome != row->outcome ||
        g->a.verdict.status != row->status) {
        fail_msg("%s (first %zu, then %zu): %d, %s, %d", row->stream, first, step, got,
                 outcome_name(g->a.verdict.outcome), g->a.verdict.status);
    }
    gate_free(g);
}

static void event_streams(void **state) {
    /* Goal: a stream is good at its first content and not before; an error event, the end without
     * content, a filter, rubbish are failures, each with its own outcome; a length limit without a
     * word is the model's doing. Portions never matter. */
    static const struct row table[] = {
        {WORD, GATE_GOOD, OUTCOME_OK, 200},
        {ROLE PING ": \n\n" ROLE "event: ping\ndata: {}\n\n" WORD, GATE_GOOD, OUTCOME_OK, 200},
        {"data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0}]}}]}\n\n", GATE_GOOD,
         OUTCOME_OK, 200},
        {"data: {\"choices\":[{\"delta\":{\"reasoning_content\":\"r\"}}]}\n\n", GATE_GOOD,
         OUTCOME_OK, 200},
        {"data: {\"choices\":[{\"delta\":{\"refusal\":\"r\"}}]}\n\n", GATE_GOOD, OUTCOME_OK, 200},
        {ROLE, GATE_FAILED, OUTCOME_EMPTY_RESPONSE, 200},
        {"", GATE_FAILED, OUTCOME_EMPTY_RESPONSE, 200},
        {PING PING, GATE_FAILED, OUTCOME_EMPTY_RESPONSE, 200},
        {ROLE DONE, GATE_FAILED, OUTCOME_EMPTY_RESPONSE, 200},
        {ROLE FINISH("stop") DONE, GATE_FAILED, OUTCOME_EMPTY_RESPONSE, 200},
        {ROLE FINISH("length") DONE, GATE_GOOD, OUTCOME_OK, 200},
        {ROLE FINISH("length"), GATE_GOOD, OUTCOME_OK, 200},
        {ROLE FINISH("content_filter") DONE, GATE_FAILED, OUTCOME_CONTENT_FILTERED, 200},
        {ROLE FINISH("content_filter"), GATE_FAILED, OUTCOME_CONTENT_FILTERED, 200},
        {WORD FINISH("content_filter"), GATE_GOOD, OUTCOME_OK, 200},
        {ROLE "data: {\"error\":{\"message\":\"m\",\"type\":\"rate_limit_error\"}}\n\n" WORD,
         GATE_FAILED, OUTCOME_ERROR_EVENT, 429},
        {"data: {\"error\":{\"message\":\"m\",\"type\":\"server_error\"}}\n\n", GATE_FAILED,
         OUTCOME_ERROR_EVENT, 500},
        {"event: error\ndata: whatever\n\n", GATE_FAILED, OUTCOME_ERROR_EVENT, 500},
        {"data: {\"choices\":[\n\n", GATE_FAILED, OUTCOME_INVALID_RESPONSE, 200},
        {ROLE "data: <html>\n\n" WORD, GATE_FAILED, OUTCOME_INVALID_RESPONSE, 200},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
        size_t n = strlen(table[i].stream);
        check_row(&table[i], n, n);
        check_row(&table[i], 1, 1);
        for (size_t first = 1; first < n; first++) {
            check_row(&table[i], first, n);
        }
    }
}

static void held_bytes(void **state) {
    /* Goal: all that came is held for the relay, byte for byte, and it is known how much of it are
     * whole events. */
    static const char TEXT[] = PING ROLE WORD "data: {\"half";
    (void)state;
    struct gate *g = gate_new(200, "text/event-stream");
    assert_int_equal(gate_head(&g->a), GATE_WAIT);
    assert_true(g->a.event_stream);
    assert_int_equal(feed(g, TEXT, sizeof(TEXT) - 1), GATE_GOOD);
    assert_string_equal(g->a.held.data, TEXT);
    assert_int_equal(g->a.scanned, strlen(PING ROLE WORD));
    assert_int_equal(g->a.fed, g->a.scanned);
    assert_int_equal(g->a.verdict.outcome, OUTCOME_OK);
    gate_free(g);
}

static void error_event_words(void **state) {
    /* Goal: of an error event its own words are kept as the body, without the stream around. */
    static const char WORDS[] =
        "{\"error\":{\"message\":\"too busy\",\"type\":\"overloaded_error\"}}";
    char text[512];
    (void)state;
    struct gate *g = gate_new(200, "text/event-stream");
    snprintf(text, sizeof(text), "%sdata: %s\n\n%s", ROLE, WORDS, DONE);
    assert_int_equal(gate_head(&g->a), GATE_WAIT);
    assert_int_equal(feed(g, text, strlen(text)), GATE_FAILED);
    assert_string_equal(g->a.held.data, WORDS);
    assert_string_equal(g->a.verdict.message, "too busy");
    assert_int_equal(g->a.verdict.status, 503);
    gate_free(g);
}

static void held_cap(void **state) {
    /* Goal: a stream of comments and roles is held up to 256 KiB, then it commits as it is. */
    (void)state;
    struct gate *g = gate_new(200, "text/event-stream");
    enum gate_result result = gate_head(&g->a);
    size_t sent = 0;
    while (result == GATE_WAIT) {
        assert_true(sent < MAX_HELD_STREAM);
        result = feed(g, PING ROLE, strlen(PING ROLE));
        sent += strlen(PING ROLE);
    }
    assert_int_equal(result, GATE_GOOD);
    assert_true(sent >= MAX_HELD_STREAM);
    assert_int_equal(g->a.held.len, sent);
    gate_free(g);
}

static void broken_ends(void **state) {
    /* Goal: an answer that broke is what the transport says, error pages apart; nothing that came
     * before makes it good. */
    static const struct {
        int status;
        const char *type, *body;
        enum outcome how, outcome;
    } table[] = {
        {200, "text/event-stream", ROLE, OUTCOME_STREAM_BROKEN, OUTCOME_STREAM_BROKEN},
        {200, "text/event-stream", ROLE FINISH("length"), OUTCOME_STREAM_BROKEN,
         OUTCOME_STREAM_BROKEN},
        {200, "application/json", "{\"choices\":[", OUTCOME_STREAM_BROKEN, OUTCOME_STREAM_BROKEN},
        {200, "application/json", "", OUTCOME_INVALID_RESPONSE, OUTCOME_INVALID_RESPONSE},
        {0, NULL, "", OUTCOME_CONNECT_ERROR, OUTCOME_CONNECT_ERROR},
        {0, NULL, "", OUTCOME_STALE_CONNECTION, OUTCOME_STALE_CONNECTION},
        {0, NULL, "", OUTCOME_EMPTY_RESPONSE, OUTCOME_EMPTY_RESPONSE},
        {500, "text/html", "<html>oops", OUTCOME_STREAM_BROKEN, OUTCOME_SERVER_ERROR},
        {429, "application/json", "{\"error\":{\"mess", OUTCOME_STREAM_BROKEN,
         OUTCOME_RATE_LIMITED},
        {500, "text/html", "<html>", OUTCOME_INVALID_RESPONSE, OUTCOME_INVALID_RESPONSE},
        {302, "text/html", "moved", OUTCOME_STREAM_BROKEN, OUTCOME_STREAM_BROKEN},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
        struct gate *g = gate_new(table[i].status, table[i].type);
        struct str body = str_of(table[i].body);
        enum gate_result got = run(g, body, body.n, body.n, table[i].how);
        if (got != GATE_FAILED || g->a.verdict.outcome != table[i].outcome) {
            fail_msg("row %zu: %d, %s", i, got, outcome_name(g->a.verdict.outcome));
        }
        gate_free(g);
    }
}

static void error_pages(void **state) {
    /* Goal: an error's body is held up to 64 KiB and judged then, without waiting for the rest; the
     * words in front decide. */
    static char block[4096];
    size_t sent = 0;
    (void)state;
    memset(block, ' ', sizeof(block));
    struct gate *g = gate_new(400, "application/json");
    static const char FRONT[] = "{\"error\":{\"code\":\"context_length_exceeded\"},\"x\":\"";
    enum gate_result result = gate_head(&g->a);
    assert_int_equal(result, GATE_WAIT);
    assert_int_equal(feed(g, FRONT, strlen(FRONT)), GATE_WAIT);
    while (result == GATE_WAIT) {
        assert_true(sent <= MAX_ERROR_BODY);
        result = feed(g, block, sizeof(block));
        sent += sizeof(block);
    }
    assert_int_equal(result, GATE_FAILED);
    assert_int_equal(g->a.verdict.outcome, OUTCOME_CONTEXT_TOO_LONG);
    assert_int_equal(g->a.verdict.status, 400);
    assert_int_equal(g->a.held.len, MAX_ERROR_BODY);
    gate_free(g);
    /* All at once, and exactly as much as fits. */
    for (size_t more = 0; more < 2; more++) {
        char *page = malloc(MAX_ERROR_BODY + more);
        assert_non_null(page);
        memset(page, 'x', MAX_ERROR_BODY + more);
        g = gate_new(503, "text/plain");
        assert_int_equal(gate_head(&g->a), GATE_WAIT);
        assert_int_equal(feed(g, page, MAX_ERROR_BODY + more), more ? GATE_FAILED : GATE_WAIT);
        assert_int_equal(g->a.held.len, MAX_ERROR_BODY);
        assert_int_equal(more ? GATE_FAILED : end(g, OUTCOME_OK), GATE_FAILED);
        assert_int_equal(outcome_class(g->a.verdict.outcome), CLASS_BACKEND);
        gate_free(g);
        free(page);
    }
}

static void plain_answers(void **state) {
    /* Goal: a plain 2xx is judged when it is complete: up to 1 MiB; a larger one is good as it is,
     * whatever it says. */
    (void)state;
    char *page = malloc(MAX_PLAIN_BODY + 1);
    assert_non_null(page);
    memset(page, ' ', MAX_PLAIN_BODY + 1);
    struct gate *g = gate_new(200, "application/json");
    assert_int_equal(gate_head(&g->a), GATE_WAIT);
    assert_int_equal(feed(g, page, MAX_PLAIN_BODY), GATE_WAIT);
    assert_int_equal(end(g, OUTCOME_OK), GATE_FAILED); /* nothing but space */
    assert_int_equal(g->a.verdict.outcome, OUTCOME_EMPTY_RESPONSE);
    assert_true(g->a.whole);
    gate_free(g);
    g = gate_new(200, "application/json");
    assert_int_equal(gate_head(&g->a), GATE_WAIT);
    assert_int_equal(feed(g, page, MAX_PLAIN_BODY), GATE_WAIT);
    assert_int_equal(feed(g, page, 1), GATE_GOOD);
    assert_int_equal(g->a.held.len, MAX_PLAIN_BODY + 1);
    assert_false(g->a.whole);
    gate_free(g);
    free(page);
}

static void plain_verdicts(void **state) {
    /* Goal: what a complete answer says decides: an error in a 200, no choices, no JSON; a stream
     * that was asked for and did not come is judged as what it is. */
    static const struct {
        int status;
        const char *method, *body;
        enum outcome outcome;
    } table[] = {
        {200, "POST", "{\"choices\":[{\"message\":{\"content\":\"x\"}}]}", OUTCOME_OK},
        {201, "POST", "{\"choices\":[{\"message\":{\"content\":\"x\"}}]}", OUTCOME_OK},
        {200, "POST", "{\"choices\":[]}", OUTCOME_EMPTY_RESPONSE},
        {200, "POST", "", OUTCOME_EMPTY_RESPONSE},
        {200, "POST", "{\"error\":{\"message\":\"x\"}}", OUTCOME_ERROR_EVENT},
        {200, "POST", "<html>", OUTCOME_INVALID_RESPONSE},
        {200, "GET", "", OUTCOME_OK},
        {200, "DELETE", "", OUTCOME_OK},
        {200, "HEAD", "", OUTCOME_OK},
        {204, "POST", "", OUTCOME_OK},
        {404, "POST", "", OUTCOME_MODEL_UNAVAILABLE},
        {401, "POST", "", OUTCOME_CREDENTIAL_ERROR},
        {500, "POST", "{\"choices\":[{\"message\":{\"content\":\"x\"}}]}", OUTCOME_SERVER_ERROR},
        {302, "POST", "", OUTCOME_INVALID_RESPONSE},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
        struct gate *g = gate_new(table[i].status, "application/json");
        struct str body = str_of(table[i].body);
        g->request.method = str_of(table[i].method);
        enum gate_result got = run(g, body, 7, 3, OUTCOME_OK);
        if ((got == GATE_GOOD) != (table[i].outcome == OUTCOME_OK) ||
            g->a.verdict.outcome != table[i].outcome) {
            fail_msg("row %zu: %d, %s", i, got, outcome_name(g->a.verdict.outcome));
        }
        gate_free(g);
    }
}

static void usage_of_a_plain_answer(void **state) {
    /* Goal: usage is read from a good answer. */
    static const char BODY[] = "{\"choices\":[{\"message\":{\"content\":\"x\"}}],"
                               "\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":5}}";
    (void)state;
    struct gate *g = gate_new(200, "application/json");
    assert_int_equal(run(g, str_of(BODY), 9, 9, OUTCOME_OK), GATE_GOOD);
    assert_true(g->a.usage.seen);
    assert_int_equal(g->a.usage.input, 3);
    assert_int_equal(g->a.usage.output, 5);
    gate_free(g);
}

static void declared_lengths(void **state) {
    /* Goal: an answer that says it is longer than max_bytes fails before a byte of it is read. */
    static const struct {
        unsigned long long max;
        const char *length;
        enum gate_result result;
    } table[] = {
        {100, "101", GATE_FAILED},          {100, "100", GATE_WAIT},
        {0, "999999999999", GATE_WAIT},     {100, "none", GATE_WAIT},
        {100, "999999999999", GATE_FAILED},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
        struct gate *g = gate_new(200, "application/json");
        g->a.max_bytes = table[i].max;
        assert_int_equal(headers_add(&g->a.headers, STR("Content-Length"), str_of(table[i].length)),
                         0);
        assert_int_equal(gate_head(&g->a), table[i].result);
        if (table[i].result == GATE_FAILED) {
            assert_int_equal(g->a.verdict.outcome, OUTCOME_LIMIT_EXCEEDED);
        }
        gate_free(g);
    }
}

static void streams_are_successes(void **state) {
    /* Goal: only a 2xx is read as an event stream; an error with that content type is an error. */
    (void)state;
    struct gate *g = gate_new(429, "text/event-stream");
    assert_int_equal(run(g, str_of(WORD), 5, 5, OUTCOME_OK), GATE_FAILED);
    assert_false(g->a.event_stream);
    assert_int_equal(g->a.verdict.outcome, OUTCOME_RATE_LIMITED);
    gate_free(g);
    g = gate_new(200, "TEXT/EVENT-STREAM");
    assert_int_equal(run(g, str_of(WORD), 5, 5, OUTCOME_OK), GATE_GOOD);
    assert_true(g->a.event_stream);
    gate_free(g);
}

static void an_event_too_long(void **state) {
    /* Goal: one event that never ends commits at the cap; one that is too long for an event never
     * comes that far before content. */
    (void)state;
    struct gate *g = gate_new(200, "text/event-stream");
    char *page = malloc(MAX_EVENT + 64);
    assert_non_null(page);
    memset(page, 'x', MAX_EVENT + 64);
    memcpy(page, "data: ", 6);
    assert_int_equal(gate_head(&g->a), GATE_WAIT);
    assert_int_equal(feed(g, page, KIB(64)), GATE_WAIT);
    assert_int_equal(feed(g, page + KIB(64), MAX_HELD_STREAM - KIB(64)), GATE_GOOD);
    gate_free(g);
    g = gate_new(200, "text/event-stream");
    assert_int_equal(gate_head(&g->a), GATE_WAIT);
    assert_int_equal(feed(g, page, MAX_EVENT + 64), GATE_FAILED);
    assert_int_equal(g->a.verdict.outcome, OUTCOME_INVALID_RESPONSE);
    gate_free(g);
    free(page);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(event_streams),
        cmocka_unit_test(held_bytes),
        cmocka_unit_test(error_event_words),
        cmocka_unit_test(held_cap),
        cmocka_unit_test(broken_ends),
        cmocka_unit_test(error_pages),
        cmocka_unit_test(plain_answers),
        cmocka_unit_test(plain_verdicts),
        cmocka_unit_test(usage_of_a_plain_answer),
        cmocka_unit_test(declared_lengths),
        cmocka_unit_test(streams_are_successes),
        cmocka_unit_test(an_event_too_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
