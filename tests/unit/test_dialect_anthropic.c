/* SPDX-License-Identifier: MIT */
/* What Anthropic's answers, errors and events mean, and what a client of its API is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "../support/dialects.h"
#include "upstream/dialect.h"

#define MESSAGES "/v1/messages"
#define ERR(type, message)                                                                         \
    "{\"type\":\"error\",\"error\":{\"type\":\"" type "\",\"message\":\"" message "\"},"           \
    "\"request_id\":\"req_011CSHoEeqs5C35K2UUqR7Fy\"}"

static const struct dialect *anthropic(void) {
    return shipped_dialect("anthropic");
}

static struct verdict judge(int status, const char *body) {
    struct headers h;
    struct verdict v;
    headers_init(&h, 10, 1000);
    assert_int_equal(headers_add(&h, STR("Content-Type"), STR("application/json")), 0);
    dialect_judge(anthropic(), STR(MESSAGES), status, &h, str_of(body), &v);
    headers_release(&h);
    return v;
}

/* clang-format off */
static const struct {
    int status;
    const char *body;
    enum outcome outcome;
} answers[] = {
    {529, ERR("overloaded_error", "Overloaded"), OUTCOME_OVERLOADED},
    {429, ERR("rate_limit_error", "This request would exceed your account's rate limit. Please try again later."), OUTCOME_RATE_LIMITED},
    {400, ERR("invalid_request_error", "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing."), OUTCOME_QUOTA_EXHAUSTED},
    {400, ERR("invalid_request_error", "You have reached your specified API usage limits. You will regain access on 2026-12-01."), OUTCOME_QUOTA_EXHAUSTED},
    {402, ERR("billing_error", "There is an issue with your billing."), OUTCOME_QUOTA_EXHAUSTED},
    {401, ERR("authentication_error", "invalid x-api-key"), OUTCOME_CREDENTIAL_ERROR},
    {403, ERR("permission_error", "Your API key does not have permission to use the specified resource."), OUTCOME_CREDENTIAL_ERROR},
    {400, ERR("invalid_request_error", "This organization has been disabled."), OUTCOME_CREDENTIAL_ERROR},
    {404, ERR("not_found_error", "model: claude-9"), OUTCOME_MODEL_UNAVAILABLE},
    {404, ERR("not_found_error", "File not found: file_011C"), OUTCOME_CLIENT_ERROR},
    {413, ERR("request_too_large", "Request exceeds the maximum size"), OUTCOME_TOO_LARGE},
    {400, ERR("invalid_request_error", "prompt is too long: 208310 tokens > 200000 maximum"), OUTCOME_CONTEXT_TOO_LONG},
    {400, ERR("invalid_request_error", "input length and `max_tokens` exceed context limit: 199999 + 20000 > 200000"), OUTCOME_CONTEXT_TOO_LONG},
    {400, ERR("invalid_request_error", "max_tokens: 100000 > 64000, which is the maximum allowed number of output tokens"), OUTCOME_CLIENT_ERROR},
    {400, ERR("invalid_request_error", "messages.0.content: Field required"), OUTCOME_CLIENT_ERROR},
    {400, ERR("invalid_request_error", "Output blocked by content filtering policy"), OUTCOME_CONTENT_FILTERED},
    {500, ERR("api_error", "Internal server error"), OUTCOME_SERVER_ERROR},
    {504, ERR("timeout_error", "Request timed out"), OUTCOME_SERVER_ERROR},
    {502, "<html>Bad gateway</html>", OUTCOME_SERVER_ERROR},

    {200, "{\"type\":\"message\",\"content\":[{\"type\":\"text\",\"text\":\"x\"}],\"stop_reason\":\"end_turn\"}", OUTCOME_OK},
    {200, "{\"type\":\"message\",\"content\":[{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"f\",\"input\":{}}],\"stop_reason\":\"tool_use\"}", OUTCOME_OK},
    {200, "{\"type\":\"message\",\"content\":[],\"stop_reason\":\"max_tokens\"}", OUTCOME_OK},
    {200, "{\"type\":\"message\",\"content\":[],\"stop_reason\":\"stop_sequence\"}", OUTCOME_OK},
    {200, "{\"type\":\"message\",\"content\":[],\"stop_reason\":\"end_turn\"}", OUTCOME_EMPTY_RESPONSE},
    {200, "{\"type\":\"message\",\"content\":[],\"stop_reason\":\"refusal\"}", OUTCOME_CONTENT_FILTERED},
    {200, "{\"type\":\"message\",\"content\":[{\"type\":\"text\",\"text\":\"ha\"}],\"stop_reason\":\"refusal\"}", OUTCOME_OK},
    {200, ERR("overloaded_error", "Overloaded"), OUTCOME_ERROR_EVENT},
    {200, "[]", OUTCOME_INVALID_RESPONSE},
};

static const struct {
    const char *data;
    unsigned signs;
} events[] = {
    {"{\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"content\":[],\"usage\":{\"input_tokens\":3,\"cache_read_input_tokens\":4,\"cache_creation_input_tokens\":5,\"output_tokens\":1}}}", SIGN_DATA},
    {"{\"type\":\"ping\"}", SIGN_DATA},
    {"{\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}", SIGN_DATA},
    {"{\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}}", SIGN_DATA},
    {"{\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"f\",\"input\":{}}}", SIGN_CONTENT},
    {"{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"a\"}}", SIGN_CONTENT},
    {"{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"thinking_delta\",\"thinking\":\"a\"}}", SIGN_CONTENT},
    {"{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"\"}}", SIGN_DATA},
    {"{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"signature_delta\",\"signature\":\"s\"}}", SIGN_DATA},
    {"{\"type\":\"content_block_stop\",\"index\":0}", SIGN_DATA},
    {"{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":7}}", SIGN_FINISH},
    {"{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"max_tokens\"},\"usage\":{\"output_tokens\":7}}", SIGN_FINISH | SIGN_LENGTH},
    {"{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"refusal\"},\"usage\":{\"output_tokens\":7}}", SIGN_FINISH | SIGN_FILTERED},
    {"{\"type\":\"message_stop\"}", SIGN_FINISH | SIGN_END},
    {ERR("overloaded_error", "Overloaded"), SIGN_ERROR},
};
/* clang-format on */

/* Goal: each answer is the outcome that it means. */
static void test_answers(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        struct verdict v = judge(answers[i].status, answers[i].body);
        if (v.outcome != answers[i].outcome) {
            fail_msg("%s, expected %s: %s", outcome_name(v.outcome),
                     outcome_name(answers[i].outcome), answers[i].body);
        }
    }
    assert_int_equal(judge(200, ERR("overloaded_error", "Overloaded")).status, 529);
}

/* Goal: each event has its signs; usage is all of the input, cached included, and the last output.
 */
static void test_events(void **state) {
    (void)state;
    struct usage usage = {false, -1, -1, -1, -1};
    for (size_t i = 0; i < sizeof events / sizeof *events; i++) {
        struct sse_event e = {.type = STR(""), .data = str_of(events[i].data), .has_data = true};
        unsigned signs = dialect_event(anthropic(), &e, &usage);
        if (signs != events[i].signs) {
            fail_msg("%u, expected %u: %s", signs, events[i].signs, events[i].data);
        }
    }
    assert_int_equal(usage.input, 12);
    assert_int_equal(usage.cached, 4);
    assert_int_equal(usage.output, 7);
}

static void assert_said(const struct dialect_error *e, const char *expected) {
    struct buf out;
    buf_init(&out, 1000);
    assert_int_equal(dialect_write_error(anthropic(), &out, e), 0);
    assert_int_equal(buf_addc(&out, '\0'), 0);
    assert_string_equal((const char *)out.data, expected);
    buf_release(&out);
}

/* Goal: a client reads its own words: a long prompt in those that Claude Code acts on. */
static void test_words(void **state) {
    (void)state;
    struct dialect_error e = {400, OUTCOME_CONTEXT_TOO_LONG, "x", "y", "maximum context length"};
    assert_said(&e, "{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":"
                    "\"prompt is too long: maximum context length\"}}");
    e = (struct dialect_error){429, OUTCOME_RATE_LIMITED, "x", "y", "slow"};
    assert_said(&e, "{\"type\":\"error\",\"error\":{\"type\":\"rate_limit_error\",\"message\":"
                    "\"slow\"}}");
    e = (struct dialect_error){.status = 401, .type = "x", .code = "y", .message = "who"};
    assert_said(&e, "{\"type\":\"error\",\"error\":{\"type\":\"authentication_error\",\"message\":"
                    "\"who\"}}");
    struct buf out;
    buf_init(&out, 1000);
    assert_int_equal(dialect_write_error_event(anthropic(), &out, &e), 0);
    assert_memory_equal(out.data, "event: error\ndata: {", 20);
    buf_release(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_events),
        cmocka_unit_test(test_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
