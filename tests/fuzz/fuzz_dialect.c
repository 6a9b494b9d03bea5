/* SPDX-License-Identifier: MIT */
/*
 * Fuzz target: whatever a provider writes, the openai dialect tells something that holds together.
 * The first byte of the input chooses the question.
 * Reads: upstream/dialect.c upstream/dialect_openai.c upstream/openai_answer.c
 * upstream/openai_stream.c
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/jscan.h"
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
    static const char *const paths[] = {"/v1/chat/completions", "/v1/responses", "/v1/embeddings",
                                        "/v1/files"};
    for (size_t i = 0; i < 4; i++) {
        struct headers h;
        struct verdict v;
        headers_init(&h, 4, 200);
        if (headers_add(&h, STR("Content-Type"), STR("application/json")) == 0) {
            dialect_judge(d, str_of(paths[i]), status, &h, body, &v);
            check_verdict(&v);
            CHECK(status < 400 || outcome_class(v.outcome) != CLASS_NONE);
            /* What is said to be an answer is JSON. */
            CHECK(status != 200 || v.outcome != OUTCOME_OK || str_trim(body).n == 0 ||
                  jscan_check(body, NULL) == JSCAN_OK || i == 3);
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const int statuses[] = {200, 302, 400, 401, 403, 404, 429, 500, 503};
    const struct dialect *d = dialect_find(STR("openai"));
    if (size < 1) {
        return 0;
    }
    struct str text = str_make((const char *)data + 1, size - 1);
    struct usage u;
    judge(d, statuses[data[0] % 9], text);
    event(d, data[0] & 1 ? STR("error") : STR("response.output_text.delta"), text);
    event(d, STR(""), text);
    dialect_usage(d, text, &u);
    return 0;
}
