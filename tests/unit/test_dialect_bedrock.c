/* SPDX-License-Identifier: MIT */
/*
 * The bedrock dialect's data: which of AWS's errors is which outcome, by its name in the body or in
 * a field of the answer, and by its words; which answers and streams of Converse are good; usage.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "../support/dialects.h"
#include "upstream/dialect.h"

#define PATH "/model/anthropic.claude-3-5-sonnet-20241022-v2%3A0/converse"

static const struct dialect *bedrock(void) {
    return shipped_dialect("bedrock");
}

static struct verdict judge(int status, const char *name, const char *body) {
    struct headers h;
    struct verdict v;
    headers_init(&h, 10, 1000);
    assert_int_equal(headers_add(&h, STR("Content-Type"), STR("application/json")), 0);
    if (name) {
        assert_int_equal(headers_add(&h, STR("x-amzn-ErrorType"), str_of(name)), 0);
    }
    dialect_judge(bedrock(), STR(PATH), status, &h, str_of(body), &v);
    headers_release(&h);
    return v;
}

/* clang-format off */
static const struct {
    int status;
    const char *name, *body; /* name: the field's, NULL when there is none */
    enum outcome outcome;
    const char *code;
} errors[] = {
    {429, "ThrottlingException", "{\"message\":\"Too many requests, please wait before trying again.\"}", OUTCOME_RATE_LIMITED, "ThrottlingException"},
    {429, "ThrottlingException:http://internal.amazon.com/coral/com.amazon.bedrock/", "{\"message\":\"Too many tokens, please wait before trying again.\"}", OUTCOME_RATE_LIMITED, "ThrottlingException"},
    {429, "ThrottlingException", "{\"message\":\"Too many tokens per day, please wait before trying again.\"}", OUTCOME_QUOTA_EXHAUSTED, NULL},
    {400, "ServiceQuotaExceededException", "{\"message\":\"Your request exceeds the service quota for your account.\"}", OUTCOME_QUOTA_EXHAUSTED, NULL},
    {429, "ModelNotReadyException", "{\"message\":\"Model is not ready for inference.\"}", OUTCOME_OVERLOADED, NULL},
    {503, "ServiceUnavailableException", "{\"message\":\"Bedrock is unable to process your request.\"}", OUTCOME_OVERLOADED, NULL},
    {500, "InternalServerException", "{\"message\":\"The system encountered an unexpected error during processing. Try your request again.\"}", OUTCOME_SERVER_ERROR, NULL},
    {424, "ModelErrorException", "{\"message\":\"The system encountered an unexpected error during processing.\",\"originalStatusCode\":500}", OUTCOME_SERVER_ERROR, NULL},
    {408, "ModelTimeoutException", "{\"message\":\"Model timeout\"}", OUTCOME_SERVER_ERROR, NULL},

    {400, "ValidationException", "{\"message\":\"Input is too long for requested model.\"}", OUTCOME_CONTEXT_TOO_LONG, NULL},
    {400, "ValidationException", "{\"message\":\"The model returned the following errors: prompt is too long: 215000 tokens > 200000 maximum\"}", OUTCOME_CONTEXT_TOO_LONG, NULL},
    {400, "ValidationException", "{\"message\":\"The model returned the following errors: input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000\"}", OUTCOME_CONTEXT_TOO_LONG, NULL},
    {400, "ValidationException", "{\"message\":\"Too many input tokens. Max input tokens: 8192, request input token count: 9000\"}", OUTCOME_CONTEXT_TOO_LONG, NULL},
    {400, "ValidationException", "{\"message\":\"Malformed input request: #: required key [messages] not found, please reformat your input and try again.\"}", OUTCOME_CLIENT_ERROR, "ValidationException"},
    {400, "ValidationException", "{\"message\":\"The provided model identifier is invalid.\"}", OUTCOME_MODEL_UNAVAILABLE, NULL},
    {400, "ValidationException", "{\"message\":\"Invocation of model ID anthropic.claude-sonnet-4-20250514-v1:0 with on-demand throughput isn\\u2019t supported. Retry your request with the ID or ARN of an inference profile that contains this model.\"}", OUTCOME_MODEL_UNAVAILABLE, NULL},
    {400, "ValidationException", "{\"message\":\"This model doesn't support tool use.\"}", OUTCOME_MODEL_UNAVAILABLE, NULL},
    {404, "ResourceNotFoundException", "{\"message\":\"Could not resolve the foundation model from the provided model identifier.\"}", OUTCOME_MODEL_UNAVAILABLE, NULL},
    {404, "ResourceNotFoundException", "{\"message\":\"Model use case details have not been submitted for this account.\"}", OUTCOME_MODEL_UNAVAILABLE, NULL},

    {403, "AccessDeniedException", "{\"message\":\"You don't have access to the model with the specified model ID.\"}", OUTCOME_MODEL_UNAVAILABLE, NULL},
    {403, "AccessDeniedException", "{\"Message\":\"User: arn:aws:iam::123456789012:user/x is not authorized to perform: bedrock:InvokeModel on resource: arn:aws:bedrock:us-east-1::foundation-model/m because no identity-based policy allows the action\"}", OUTCOME_CREDENTIAL_ERROR, NULL},
    {403, "AccessDeniedException", "{\"Message\":\"Authentication failed: Please make sure your API Key is valid.\"}", OUTCOME_CREDENTIAL_ERROR, NULL},
    {403, "UnrecognizedClientException", "{\"message\":\"The security token included in the request is invalid.\"}", OUTCOME_CREDENTIAL_ERROR, NULL},
    {403, NULL, "{\"__type\":\"com.amazon.coral.service#UnrecognizedClientException\",\"message\":\"The security token included in the request is invalid.\"}", OUTCOME_CREDENTIAL_ERROR, "UnrecognizedClientException"},
    {403, "ExpiredTokenException", "{\"message\":\"The security token included in the request is expired\"}", OUTCOME_CREDENTIAL_ERROR, NULL},
    {403, "InvalidSignatureException", "{\"message\":\"Signature expired: 20261121T100000Z is now earlier than 20261121T120000Z (20261121T120500Z - 5 min.)\"}", OUTCOME_CREDENTIAL_ERROR, "InvalidSignatureException"},
    {400, "IncompleteSignatureException", "{\"message\":\"Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.\"}", OUTCOME_CREDENTIAL_ERROR, NULL},
    {429, NULL, "{\"type\":\"error\",\"error\":{\"type\":\"rate_limit_error\",\"message\":\"Rate limited\"}}", OUTCOME_RATE_LIMITED, "rate_limit_error"}, /* aimock */
    {403, NULL, "<html>Forbidden</html>", OUTCOME_CREDENTIAL_ERROR, ""},
    {413, NULL, "{\"message\":null}", OUTCOME_TOO_LARGE, ""},
    {502, NULL, "", OUTCOME_SERVER_ERROR, ""},
};
/* clang-format on */

/* Goal: each error is what it means. */
static void test_errors(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        struct verdict v = judge(errors[i].status, errors[i].name, errors[i].body);
        if (v.outcome != errors[i].outcome ||
            (errors[i].code && strcmp(v.code, errors[i].code) != 0)) {
            fail_msg("%d %s: %s (%s)", errors[i].status, errors[i].body, outcome_name(v.outcome),
                     v.code);
        }
    }
}

#define ANSWER(content, stop)                                                                      \
    "{\"output\":{\"message\":{\"role\":\"assistant\",\"content\":[" content                       \
    "]}},\"stopReason\":\"" stop "\",\"metrics\":{\"latencyMs\":1},\"usage\":{\"inputTokens\":5,"  \
    "\"outputTokens\":7,\"totalTokens\":42,\"cacheReadInputTokens\":20,"                           \
    "\"cacheWriteInputTokens\":10}}"

/* Goal: an answer is one when something was said. */
static void test_answers(void **state) {
    (void)state;
    static const struct {
        const char *body;
        enum outcome outcome;
    } rows[] = {
        {ANSWER("{\"text\":\"Hi\"}", "end_turn"), OUTCOME_OK},
        {ANSWER("{\"toolUse\":{\"toolUseId\":\"t\",\"name\":\"f\",\"input\":{}}}", "tool_use"),
         OUTCOME_OK},
        {ANSWER("{\"reasoningContent\":{\"reasoningText\":{\"text\":\"a\"}}}", "end_turn"),
         OUTCOME_OK},
        {ANSWER("{\"text\":\"Blocked.\"}", "guardrail_intervened"), OUTCOME_OK},
        {ANSWER("", "guardrail_intervened"), OUTCOME_CONTENT_FILTERED},
        {ANSWER("", "content_filtered"), OUTCOME_CONTENT_FILTERED},
        {ANSWER("", "max_tokens"), OUTCOME_OK},
        {ANSWER("{\"text\":\"\"}", "end_turn"), OUTCOME_EMPTY_RESPONSE},
        {ANSWER("", "end_turn"), OUTCOME_EMPTY_RESPONSE},
        {"{\"Output\":{\"__type\":\"com.amazon.coral.service#UnknownOperationException\"}}",
         OUTCOME_ERROR_EVENT},
        {"[]", OUTCOME_INVALID_RESPONSE},
        {"no", OUTCOME_INVALID_RESPONSE},
        {"", OUTCOME_EMPTY_RESPONSE},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct verdict v = judge(200, NULL, rows[i].body);
        if (v.outcome != rows[i].outcome) {
            fail_msg("%s: %s", rows[i].body, outcome_name(v.outcome));
        }
    }
    struct usage usage = {false, -1, -1, -1, -1};
    dialect_usage(bedrock(), str_of(rows[0].body), &usage);
    assert_int_equal(usage.input, 35);
    assert_int_equal(usage.output, 7);
    assert_int_equal(usage.cached, 20);
}

/* clang-format off */
static const struct {
    const char *type, *data;
    unsigned signs;
} events[] = {
    {"messageStart", "{\"role\":\"assistant\"}", SIGN_DATA},
    {"contentBlockDelta", "{\"contentBlockIndex\":0,\"delta\":{\"text\":\"\"}}", SIGN_DATA},
    {"contentBlockDelta", "{\"contentBlockIndex\":0,\"delta\":{\"text\":\"Hi\"},\"p\":\"abc\"}", SIGN_CONTENT},
    {"contentBlockDelta", "{\"contentBlockIndex\":0,\"delta\":{\"reasoningContent\":{\"text\":\"hm\"}}}", SIGN_CONTENT},
    {"contentBlockDelta", "{\"contentBlockIndex\":0,\"delta\":{\"reasoningContent\":{\"signature\":\"S\"}}}", SIGN_DATA},
    {"contentBlockStart", "{\"contentBlockIndex\":1,\"start\":{\"toolUse\":{\"toolUseId\":\"t\",\"name\":\"f\"}}}", SIGN_CONTENT},
    {"contentBlockStart", "{\"contentBlockIndex\":1,\"start\":{}}", SIGN_DATA},
    {"contentBlockDelta", "{\"contentBlockIndex\":1,\"delta\":{\"toolUse\":{\"input\":\"{\"}}}", SIGN_CONTENT},
    {"contentBlockStop", "{\"contentBlockIndex\":1}", SIGN_DATA},
    {"messageStop", "{\"stopReason\":\"end_turn\"}", SIGN_FINISH},
    {"messageStop", "{\"stopReason\":\"max_tokens\"}", SIGN_FINISH | SIGN_LENGTH},
    {"messageStop", "{\"stopReason\":\"guardrail_intervened\"}", SIGN_FINISH | SIGN_FILTERED},
    {"metadata", "{\"usage\":{\"inputTokens\":3,\"outputTokens\":4,\"totalTokens\":7},\"metrics\":{\"latencyMs\":1}}", SIGN_FINISH | SIGN_END},
    {"throttlingException", "{\"message\":\"Too many tokens\"}", SIGN_ERROR},
    {"InternalFailure", "{}", SIGN_ERROR},
    {"later", "{}", SIGN_DATA},
};
/* clang-format on */

/* Goal: events mean what they say; usage is the end's. */
static void test_events(void **state) {
    (void)state;
    struct usage usage = {false, -1, -1, -1, -1};
    for (size_t i = 0; i < sizeof events / sizeof *events; i++) {
        struct sse_event e = {str_of(events[i].type), str_of(events[i].data), true};
        unsigned signs = dialect_event(bedrock(), &e, &usage);
        if (signs != events[i].signs) {
            fail_msg("%s %s: %u, expected %u", events[i].type, events[i].data, signs,
                     events[i].signs);
        }
    }
    assert_int_equal(usage.input, 3);
    assert_int_equal(usage.output, 4);
}

/* Goal: an exception in a stream is told by its name. */
static void test_exceptions(void **state) {
    (void)state;
    static const struct {
        const char *type, *data;
        enum outcome means;
        int status;
    } rows[] = {
        {"throttlingException", "{\"message\":\"Too many tokens, please wait.\"}",
         OUTCOME_RATE_LIMITED, 429},
        {"validationException", "{\"message\":\"Input is too long for requested model.\"}",
         OUTCOME_CONTEXT_TOO_LONG, 400},
        {"serviceUnavailableException", "{\"message\":\"x\"}", OUTCOME_OVERLOADED, 503},
        {"modelStreamErrorException", "{\"message\":\"x\",\"originalMessage\":\"y\"}",
         OUTCOME_SERVER_ERROR, 424},
        {"internalServerException", "{}", OUTCOME_SERVER_ERROR, 500},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct sse_event e = {str_of(rows[i].type), str_of(rows[i].data), true};
        struct verdict v = {0};
        dialect_event_error(bedrock(), &e, &v);
        assert_int_equal(v.outcome, OUTCOME_ERROR_EVENT);
        assert_string_equal(v.code, rows[i].type);
        assert_int_equal(v.means, rows[i].means);
        assert_int_equal(v.status, rows[i].status);
    }
}

/* Goal: a model's id is one part of the path. */
static void test_paths(void **state) {
    (void)state;
    struct buf path;
    buf_init(&path, 1000);
    assert_int_equal(dialect_generate_path(bedrock(), STR("a.b-v2:0"), false, &path), 0);
    assert_string_equal(path.data, "/model/a.b-v2%3A0/converse");
    buf_clear(&path);
    assert_int_equal(dialect_generate_path(bedrock(), STR("arn:aws:x:y/z"), true, &path), 0);
    assert_string_equal(path.data, "/model/arn%3Aaws%3Ax%3Ay%2Fz/converse-stream");
    buf_release(&path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_errors), cmocka_unit_test(test_answers),
        cmocka_unit_test(test_events), cmocka_unit_test(test_exceptions),
        cmocka_unit_test(test_paths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
