/* SPDX-License-Identifier: MIT */
/*
 * Fuzz target: whatever a client sends and a provider says, what is translated is valid JSON, and
 * nothing that a dialect's functions meet does harm. The first byte of the input chooses client,
 * provider and what the rest is: a request, an answer, or a stream.
 * Lives on: the generation with its lane.
 * Reads: policy/body.c policy/body_values.c policy/body_decode.c policy/body_encode.c
 * policy/translate.c
 */
#include <stddef.h>
#include <stdint.h>

#include "../support/dialects.h"
#include "base/jscan.h"
#include "net/sse.h"
#include "policy/translate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A request of each, for answers and streams to belong to. */
static const struct {
    const char *dialect, *request;
} DIALECTS[] = {
    {"openai", "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],"
               "\"stream_options\":{\"include_usage\":true}}"},
    {"responses", "{\"model\":\"m\",\"input\":\"hi\",\"instructions\":\"be brief\"}"},
    {"anthropic", "{\"model\":\"m\",\"max_tokens\":9,\"messages\":[{\"role\":\"user\","
                  "\"content\":\"hi\"}]}"},
    {"gemini", "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"hi\"}]}]}"},
};

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "does not hold: %s\n", #condition);                                    \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* With FUZZ_TELL set: what a dialect's functions raised. */
static void tell(enum translate_result result, const struct err *err) {
    if (result == TRANSLATE_FAILED && getenv("FUZZ_TELL")) {
        fprintf(stderr, "failed: %s\n", err->text);
    }
}

static void check_body(enum translate_result result, const struct buf *out) {
    struct err err = {""};
    if (result == TRANSLATE_OK && jscan_check(buf_str(out), &err) != JSCAN_OK) {
        fprintf(stderr, "%s: %s\n", err.text, out->data);
        abort();
    }
    CHECK(result == TRANSLATE_OK || out->len == 0);
}

/* All that became of a stream is events, each with JSON or an end marker. */
static void check_events(const struct buf *out) {
    struct sse sse;
    struct sse_event event;
    size_t at = 0, used = 0;
    sse_init(&sse);
    while (at < out->len) {
        CHECK(sse_feed(&sse, str_make(out->data + at, out->len - at), &used, &event) == SSE_EVENT);
        CHECK(event.has_data);
        CHECK(str_is(event.data, "[DONE]") || jscan_check(event.data, NULL) == JSCAN_OK);
        at += used;
    }
    sse_release(&sse);
}

static void as_stream(struct translate *t, struct str text, struct buf *out) {
    struct sse sse;
    struct sse_event event;
    struct err err;
    enum translate_result result = TRANSLATE_OK;
    size_t used = 0;
    sse_init(&sse);
    while (text.n && result == TRANSLATE_OK && sse_feed(&sse, text, &used, &event) == SSE_EVENT) {
        text = str_make(text.p + used, text.n - used);
        if (event.has_data && jscan_check(event.data, NULL) == JSCAN_OK) {
            result = translate_event(t, event.type, event.data, out, &err);
            tell(result, &err);
        }
    }
    if (result == TRANSLATE_OK) {
        tell(translate_finish(t, out, &err), &err);
    }
    sse_release(&sse);
    check_events(out);
}

static void as_answer(struct translate *t, struct str text, struct buf *out) {
    struct err err;
    enum translate_result result = translate_answer(t, text, out, &err);
    tell(result, &err);
    check_body(result, out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct lane *lane = generation_lane(dialects_generation(), 0);
    struct str text = size ? str_make((const char *)data + 1, size - 1) : str_make(NULL, 0);
    struct buf request, out;
    struct err err;
    if (size < 1) {
        return 0;
    }
    size_t client = data[0] % 4, provider = data[0] / 4 % 4, what = data[0] / 16 % 3;
    bool checked = what == 0 && jscan_object(text, NULL, 0, NULL) == JSCAN_OK;
    struct translate_order order = {str_of(DIALECTS[client].dialect),
                                    str_of(DIALECTS[provider].dialect),
                                    STR("m-1"),
                                    STR("mg-1"),
                                    1700000000,
                                    what == 2,
                                    data[0] >= 192};
    struct translate *t = translate_new(lane, &order);
    buf_init(&request, MIB(4));
    buf_init(&out, MIB(4));
    enum translate_result result =
        translate_request(t, checked ? text : str_of(DIALECTS[client].request), &request, &err);
    tell(result, &err);
    check_body(result, &request);
    if (result == TRANSLATE_OK && what == 1) {
        as_answer(t, text, &out);
    } else if (result == TRANSLATE_OK && what == 2) {
        as_stream(t, text, &out);
    }
    translate_free(t);
    buf_release(&request);
    buf_release(&out);
    return 0;
}
