/* SPDX-License-Identifier: MIT */
/*
 * Fuzz target: whatever a provider writes, every shipped dialect tells something that holds
 * together, and so does one made of data that the input itself gives. The first byte of the input
 * chooses the question; from a `@` as the second one on it is a dialect's data as JSON, a zero
 * byte, and what a provider writes. Lives on: the shipped dialects. Reads: upstream/dialect.c
 * upstream/dialect_read.c upstream/dialect_walk.c upstream/dialect_rules.c upstream/dialect_error.c
 * upstream/dialect_say.c upstream/dialect_usage.c upstream/dialect_client.c
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/jscan.h"
#include "../support/dialects.h"
#include "upstream/dialect.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "does not hold: %s\n", #condition);                                    \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

static void check_verdict(const struct verdict *v) {
    CHECK((unsigned)v->outcome < OUTCOME_COUNT);
    CHECK(strlen(v->code) < sizeof v->code);
    CHECK(strlen(v->message) < sizeof v->message);
    CHECK(v->outcome != OUTCOME_ERROR_EVENT || (v->status >= 400 && v->status <= 599));
}

static void judge(const struct dialect *d, int status, struct str body) {
    static const char *const paths[] = {"/v1/files",
                                        "/v1/chat/completions",
                                        "/v1/responses",
                                        "/v1/embeddings",
                                        "/v1/messages",
                                        "/v1beta/models/m:generateContent",
                                        "/models/m:generateContent",
                                        "/model/m/converse"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        struct headers h;
        struct verdict v;
        headers_init(&h, 4, 200);
        if (headers_add(&h, STR("Content-Type"), STR("application/json")) == 0) {
            dialect_judge(d, str_of(paths[i]), status, &h, body, &v);
            check_verdict(&v);
            CHECK(status < 400 || outcome_class(v.outcome) != CLASS_NONE);
            /* What is said to be an answer is JSON. */
            CHECK(status != 200 || v.outcome != OUTCOME_OK || str_trim(body).n == 0 ||
                  jscan_check(body, NULL) == JSCAN_OK || i == 0);
        }
        headers_release(&h);
    }
}

static void event(const struct dialect *d, struct str type, struct str text) {
    struct sse_event e = {.type = type, .data = text, .has_data = true};
    struct usage u = {false, -1, -1, -1, -1};
    unsigned signs = dialect_event(d, &e, &u);
    bool json = jscan_check(text, NULL) == JSCAN_OK;
    CHECK(!(signs & SIGN_MALFORMED) || (signs == SIGN_MALFORMED && !json));
    CHECK(!(signs & SIGN_CONTENT) || json);
    CHECK(!u.seen || u.input >= 0 || u.output >= 0);
    if (signs & SIGN_ERROR) {
        struct verdict v;
        dialect_event_error(d, &e, &v);
        check_verdict(&v);
        CHECK(v.outcome == OUTCOME_ERROR_EVENT);
    }
}

/* What is said is JSON, and a line of a stream where it is one. */
static void say(const struct dialect *d, struct str text) {
    struct buf out;
    char message[64];
    str_copy(message, sizeof message, text);
    struct dialect_error e = {500, OUTCOME_OVERLOADED, "upstream_error", NULL, message};
    struct dialect_model models[] = {{message, "p"}, {"m", message}};
    buf_init(&out, KIB(16));
    CHECK(dialect_write_error(d, &out, &e) != 0 || jscan_check(buf_str(&out), NULL) == JSCAN_OK);
    buf_clear(&out);
    CHECK(dialect_write_error_event(d, &out, &e) != 0 || str_ends(buf_str(&out), "\n\n"));
    buf_clear(&out);
    CHECK(dialect_write_models(d, &out, models, 2) != 0 ||
          jscan_check(buf_str(&out), NULL) == JSCAN_OK);
    buf_release(&out);
}

static void client(const struct dialect *d, struct str path) {
    struct client_path asked;
    struct buf out;
    bool known = dialect_has_path(d, path, &asked);
    CHECK(known || (!asked.generate && !asked.stream));
    CHECK(!asked.model.n ||
          (asked.model.p >= path.p && asked.model.p + asked.model.n <= path.p + path.n));
    (void)dialect_drops_header(d, path);
    buf_init(&out, KIB(64));
    (void)!dialect_generate_path(d, path, true, &out);
    buf_release(&out);
}

static void ask(const struct dialect *d, int status, struct str text) {
    static const char *const types[] = {"",
                                        "error",
                                        "response.output_text.delta",
                                        "content_block_delta",
                                        "message_delta",
                                        "contentBlockDelta",
                                        "throttlingException"};
    struct usage u;
    judge(d, status, text);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        event(d, str_of(types[i]), text);
    }
    dialect_usage(d, text, &u);
    say(d, text);
    client(d, text);
}

/* A dialect of the input's own data. */
static void own(struct str data, int status, struct str text) {
    struct dialect_source source = {"lua/dialects/own.lua", {NULL, 0}};
    struct value v = {0};
    struct diags diags;
    diags_init(&diags);
    if (value_from_json(&v, data, NULL) == 0) {
        struct dialect *d = dialect_compile(STR("own"), &v, &source, &diags);
        CHECK((d != NULL) == (diags.errors == 0));
        if (d) {
            ask(d, status, text);
        }
        dialect_free(d);
    }
    value_release(&v);
    diags_release(&diags);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const int statuses[] = {200, 302, 400, 401, 403, 404, 429, 500, 503};
    static const char *const names[] = {"openai", "responses", "anthropic",
                                        "gemini", "azure",     "bedrock"};
    if (size < 1) {
        return 0;
    }
    int status = statuses[data[0] % 9];
    struct str text = str_make((const char *)data + 1, size - 1);
    if (text.n && text.p[0] == '@') {
        struct str rest = str_make(text.p + 1, text.n - 1), part;
        if (str_split(&rest, '\0', &part)) {
            own(part, status, rest);
        }
        return 0;
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        ask(shipped_dialect(names[i]), status, text);
    }
    return 0;
}
