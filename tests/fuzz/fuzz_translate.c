/* SPDX-License-Identifier: MIT */
/*
 * Fuzz target: whatever a client sends and a provider says, what is translated is valid JSON, each
 * event of a stream leaves as a whole, and no function of a shipped dialect fails. The first byte
 * of the input chooses client, provider, what the rest is (a request, an answer, or a stream) and
 * whether what would be lost is refused; run.sh makes such inputs of tests/corpus, for every pair.
 * JSON is changed by whole values, so that what is inside of it is reached.
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
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed);

/* Clients, with a request of each for answers and streams to belong to; behind them who only
 * provides. */
enum { CLIENTS = 4, PROVIDERS = 6 };
static const struct {
    const char *dialect, *request;
} DIALECTS[PROVIDERS] = {
    {"openai", "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],"
               "\"stream_options\":{\"include_usage\":true}}"},
    {"responses", "{\"model\":\"m\",\"input\":\"hi\",\"instructions\":\"be brief\"}"},
    {"anthropic", "{\"model\":\"m\",\"max_tokens\":9,\"messages\":[{\"role\":\"user\","
                  "\"content\":\"hi\"}]}"},
    {"gemini", "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"hi\"}]}]}"},
    {"azure", NULL},
    {"bedrock", NULL},
};

/* What the first byte says. */
struct choice {
    size_t client, provider;
    enum { REQUEST, ANSWER, STREAM, KINDS } what;
    bool strict; /* of an answer: it is wanted in a list */
};

static struct choice choose(unsigned byte) {
    unsigned rest = byte / CLIENTS / PROVIDERS;
    return (struct choice){byte % CLIENTS, byte / CLIENTS % PROVIDERS, rest % KINDS,
                           rest / KINDS % 2};
}

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "does not hold: %s\n", #condition);                                    \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* What a hostile body may cost is bounded: that it is, is no mistake of a dialect's. */
static bool is_bound(const char *why) {
    static const char *const bounds[] = {"stopped",     "memory",    "too long",
                                         "longer than", "more than", "too deep"};
    for (size_t i = 0; i < sizeof bounds / sizeof *bounds; i++) {
        if (strstr(why, bounds[i])) {
            return true;
        }
    }
    return false;
}

static void check_result(enum translate_result result, const struct err *err) {
    if (result == TRANSLATE_FAILED && !is_bound(err->text)) {
        fprintf(stderr, "a dialect's function failed: %s\n", err->text);
        abort();
    }
}

static void check_body(enum translate_result result, const struct buf *out, const struct err *why) {
    struct err err = {""};
    check_result(result, why);
    if (result == TRANSLATE_OK && jscan_check(buf_str(out), &err) != JSCAN_OK) {
        fprintf(stderr, "%s: %s\n", err.text, out->data);
        abort();
    }
    CHECK(result == TRANSLATE_OK || out->len == 0);
}

/* All that became of one event is events, each with JSON or an end marker. */
static void check_events(struct str out) {
    struct sse sse;
    struct sse_event event;
    size_t used = 0;
    sse_init(&sse);
    while (out.n) {
        CHECK(sse_feed(&sse, out, &used, &event) == SSE_EVENT);
        CHECK(event.has_data);
        CHECK(str_is(event.data, "[DONE]") || jscan_object(event.data, NULL, 0, NULL) == JSCAN_OK);
        out = str_make(out.p + used, out.n - used);
    }
    sse_release(&sse);
}

/* `made` and what it added to *out since *at. */
static enum translate_result step(enum translate_result made, const struct err *err,
                                  const struct buf *out, size_t *at) {
    check_result(made, err);
    check_events(str_make(out->data + *at, out->len - *at));
    *at = out->len;
    return made;
}

static void as_stream(struct translate *t, struct str text, struct buf *out) {
    struct sse sse;
    struct sse_event event;
    struct err err = {""};
    enum translate_result result = TRANSLATE_OK;
    size_t used = 0, at = 0;
    sse_init(&sse);
    while (text.n && result == TRANSLATE_OK && sse_feed(&sse, text, &used, &event) == SSE_EVENT) {
        text = str_make(text.p + used, text.n - used);
        if (event.has_data && jscan_check(event.data, NULL) == JSCAN_OK) {
            result = step(translate_event(t, event.type, event.data, out, &err), &err, out, &at);
        }
    }
    if (result == TRANSLATE_OK) {
        (void)step(translate_finish(t, out, &err), &err, out, &at);
    }
    sse_release(&sse);
}

static void as_answer(struct translate *t, struct str text, struct buf *out) {
    struct err err = {""};
    enum translate_result result = translate_answer(t, text, out, &err);
    check_body(result, out, &err);
}

static void check_nothing_left(const struct lane *lane) {
    struct lane_stats stats;
    lane_stats(lane, &stats);
    CHECK(stats.references == 0 && stats.runs == 0 && stats.coroutines == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct lane *lane = generation_lane(dialects_generation(), 0);
    struct buf request, out;
    struct err err = {""};
    if (size < 1) {
        return 0;
    }
    struct str text = {(const char *)data + 1, size - 1};
    struct choice c = choose(data[0]);
    bool own = c.what == REQUEST && jscan_object(text, NULL, 0, NULL) == JSCAN_OK;
    struct translate_order order = {.client = str_of(DIALECTS[c.client].dialect),
                                    .provider = str_of(DIALECTS[c.provider].dialect),
                                    .model = STR("m-1"),
                                    .id = STR("mg-1"),
                                    .now = 1700000000,
                                    .stream = c.what == STREAM,
                                    .list = c.what == ANSWER && c.strict,
                                    .strict = c.what == REQUEST && c.strict};
    struct translate *t = translate_new(lane, &order);
    buf_init(&request, MIB(4));
    buf_init(&out, MIB(4));
    enum translate_result result =
        translate_request(t, own ? text : str_of(DIALECTS[c.client].request), &request, &err);
    check_body(result, &request, &err);
    CHECK(own || order.strict || result == TRANSLATE_OK || is_bound(err.text));
    if (result == TRANSLATE_OK && c.what == ANSWER) {
        as_answer(t, text, &out);
    } else if (result == TRANSLATE_OK && c.what == STREAM) {
        as_stream(t, text, &out);
    }
    translate_free(t);
    check_nothing_left(lane);
    buf_release(&request);
    buf_release(&out);
    return 0;
}

/* ---- changes by whole values ---- */

/* The end of the value that begins at `at`; `n` when it has none. */
static size_t value_end(const char *p, size_t n, size_t at) {
    bool inside = false;
    int depth = 0;
    for (size_t i = at; i < n; i++) {
        if (inside) {
            i += p[i] == '\\';
            inside = i >= n || p[i] != '"';
        } else if (p[i] == '"') {
            inside = true;
        } else if (p[i] == '{' || p[i] == '[') {
            depth++;
            continue;
        } else if (strchr("]},:\n", p[i]) && depth == 0) {
            return i;
        } else if (p[i] == '}' || p[i] == ']') {
            depth--;
        }
        if (depth == 0 && !inside && strchr("\"}]", p[i])) {
            return i + 1;
        }
    }
    return n;
}

static size_t behind_spaces(const char *p, size_t n, size_t at) {
    while (at < n && (p[at] == ' ' || p[at] == '\n')) {
        at++;
    }
    return at;
}

/* A value's place: behind one of the colons, commas or brackets, from a place chosen on. A field's
 * name is none. */
static struct str some_value(const char *p, size_t n, unsigned *random) {
    size_t from = (size_t)rand_r(random) % n;
    for (size_t i = 0; i < n; i++) {
        size_t at = (from + i) % n;
        if (!p[at] || !strchr(":,[", p[at])) {
            continue;
        }
        at = behind_spaces(p, n, at + 1);
        size_t end = value_end(p, n, at), next = behind_spaces(p, n, end);
        if (next >= n || p[next] != ':') {
            return str_make(p + at, end - at);
        }
    }
    return str_make(NULL, 0);
}

/* Another value for it: an odd one, or one of those around. */
static struct str other_value(const char *p, size_t n, unsigned *random) {
    static const char *const odd[] = {
        "null",
        "true",
        "false",
        "0",
        "-1",
        "1.5",
        "1e300",
        "99999999999999999999",
        "\"\"",
        "\"x\"",
        "[]",
        "{}",
        "[null]",
        "[[]]",
        "[{}]",
        "{\"a\":1}",
        "[\"x\"]",
        "[1,2]",
        "\"\\ud800\"",
        "\"\\u0000\"",
        "\"{\\\"a\\\":1}\"",
        "{\"type\":\"text\"}",
        "{\"type\":\"text\",\"text\":\"x\"}",
        "\"data:image/png;base64,AAAA\"",
        "\"auto\"",
        "\"moongateanth\"",
        "\"moongategemixyz\"",
    };
    size_t i = (size_t)rand_r(random) % (2 * sizeof odd / sizeof *odd);
    return i < sizeof odd / sizeof *odd ? str_of(odd[i]) : some_value(p, n, random);
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed) {
    unsigned random = seed;
    char text[8192];
    if (size < 8 || size > sizeof text || rand_r(&random) % 4 == 0) {
        return LLVMFuzzerMutate(data, size, max);
    }
    if (rand_r(&random) % 8 == 0) {
        data[0] = (uint8_t)rand_r(&random);
    }
    const char *p = (char *)data + 1;
    struct str old = some_value(p, size - 1, &random), new = other_value(p, size - 1, &random);
    size_t before = (size_t)(old.p - p), after = size - 1 - before - old.n;
    if (!old.p || !new.p || 1 + before + new.n + after > max ||
        before + new.n + after > sizeof text) {
        return LLVMFuzzerMutate(data, size, max);
    }
    memcpy(text, p, before);
    memcpy(text + before, new.p, new.n);
    memcpy(text + before + new.n, old.p + old.n, after);
    memcpy(data + 1, text, before + new.n + after);
    return 1 + before + new.n + after;
}
