/* SPDX-License-Identifier: MIT */
/*
 * The data of Gemini's dialect, and what Azure says that OpenAI does not: errors in real shapes,
 * answers, events, usage, whose request it is, and what a client of Gemini is told.
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

#define GENERATE "/v1beta/models/gemini-2.5-flash:generateContent"

static struct verdict judge(const char *dialect, const char *path, int status, const char *body) {
    struct headers h;
    struct verdict v;
    headers_init(&h, 10, 1000);
    assert_int_equal(headers_add(&h, STR("Content-Type"), STR("application/json")), 0);
    dialect_judge(shipped_dialect(dialect), str_of(path), status, &h, str_of(body), &v);
    headers_release(&h);
    return v;
}

#define GOOGLE(code, message, status, details)                                                     \
    "{\"error\":{\"code\":" code ",\"message\":\"" message "\",\"status\":\"" status "\"" details  \
    "}}"
#define INFO(reason)                                                                               \
    ",\"details\":[{\"@type\":\"type.googleapis.com/google.rpc.ErrorInfo\",\"reason\":\"" reason   \
    "\",\"domain\":\"googleapis.com\"}]"
#define QUOTA(id)                                                                                  \
    ",\"details\":[{\"@type\":\"type.googleapis.com/google.rpc.QuotaFailure\",\"violations\":[{"   \
    "\"quotaMetric\":\"generativelanguage.googleapis.com/generate_content_requests\",\"quotaId\":" \
    "\"" id                                                                                        \
    "\"}]},{\"@type\":\"type.googleapis.com/google.rpc.RetryInfo\",\"retryDelay\":\"31s\"}]"
#define EXCEEDED "You exceeded your current quota, please check your plan and billing details."

/* clang-format off */
static const struct {
    const char *dialect;
    int status;
    const char *body;
    enum outcome outcome;
} errors[] = {
    {"gemini", 429, GOOGLE("429", EXCEEDED, "RESOURCE_EXHAUSTED", QUOTA("GenerateRequestsPerMinutePerProjectPerModel-FreeTier")), OUTCOME_RATE_LIMITED},
    {"gemini", 429, GOOGLE("429", EXCEEDED, "RESOURCE_EXHAUSTED", QUOTA("GenerateRequestsPerDayPerProjectPerModel-FreeTier")), OUTCOME_QUOTA_EXHAUSTED},
    {"gemini", 429, GOOGLE("429", EXCEEDED "\\n* Quota exceeded for metric: x, limit: 0, model: gemini-2.5-pro", "RESOURCE_EXHAUSTED", ""), OUTCOME_QUOTA_EXHAUSTED},
    {"gemini", 429, GOOGLE("429", "Resource has been exhausted (e.g. check quota).", "RESOURCE_EXHAUSTED", ""), OUTCOME_RATE_LIMITED},
    {"gemini", 429, "[" GOOGLE("429", "Resource exhausted. Please try again later.", "RESOURCE_EXHAUSTED", "") "]", OUTCOME_RATE_LIMITED},
    {"gemini", 429, GOOGLE("429", "Your prepayment credits are depleted.", "RESOURCE_EXHAUSTED", ""), OUTCOME_QUOTA_EXHAUSTED},
    {"gemini", 400, GOOGLE("400", "API key not valid. Please pass a valid API key.", "INVALID_ARGUMENT", INFO("API_KEY_INVALID")), OUTCOME_CREDENTIAL_ERROR},
    {"gemini", 400, GOOGLE("400", "API key expired. Please renew the API key.", "INVALID_ARGUMENT", ""), OUTCOME_CREDENTIAL_ERROR},
    {"gemini", 401, GOOGLE("401", "Request had invalid authentication credentials.", "UNAUTHENTICATED", INFO("ACCESS_TOKEN_TYPE_UNSUPPORTED")), OUTCOME_CREDENTIAL_ERROR},
    {"gemini", 403, GOOGLE("403", "Method doesn't allow unregistered callers.", "PERMISSION_DENIED", ""), OUTCOME_CREDENTIAL_ERROR},
    {"gemini", 403, GOOGLE("403", "Generative Language API has not been used in project 1 before or it is disabled.", "PERMISSION_DENIED", INFO("SERVICE_DISABLED")), OUTCOME_CREDENTIAL_ERROR},
    {"gemini", 403, GOOGLE("403", "This API method requires billing to be enabled.", "PERMISSION_DENIED", INFO("BILLING_DISABLED")), OUTCOME_QUOTA_EXHAUSTED},
    {"gemini", 404, GOOGLE("404", "models/gemini-9 is not found for API version v1beta, or is not supported for generateContent.", "NOT_FOUND", ""), OUTCOME_MODEL_UNAVAILABLE},
    {"gemini", 400, GOOGLE("400", "User location is not supported for the API use.", "FAILED_PRECONDITION", ""), OUTCOME_MODEL_UNAVAILABLE},
    {"gemini", 400, GOOGLE("400", "Please enable billing on your project in Google AI Studio.", "FAILED_PRECONDITION", ""), OUTCOME_QUOTA_EXHAUSTED},
    {"gemini", 400, GOOGLE("400", "The input token count (1200001) exceeds the maximum number of tokens allowed (1048576).", "INVALID_ARGUMENT", ""), OUTCOME_CONTEXT_TOO_LONG},
    {"gemini", 400, GOOGLE("400", "Request payload size exceeds the limit: 20971520 bytes.", "INVALID_ARGUMENT", ""), OUTCOME_TOO_LARGE},
    {"gemini", 400, GOOGLE("400", "Invalid JSON payload received. Unknown name \\\"foo\\\": Cannot find field.", "INVALID_ARGUMENT", ""), OUTCOME_CLIENT_ERROR},
    {"gemini", 400, GOOGLE("400", "Function call is missing a thought_signature in functionCall parts.", "INVALID_ARGUMENT", ""), OUTCOME_CLIENT_ERROR},
    {"gemini", 503, GOOGLE("503", "The model is overloaded. Please try again later.", "UNAVAILABLE", ""), OUTCOME_OVERLOADED},
    {"gemini", 500, GOOGLE("500", "An internal error has occurred. Please retry.", "INTERNAL", ""), OUTCOME_SERVER_ERROR},
    {"gemini", 504, GOOGLE("504", "The request timed out. Please try again.", "DEADLINE_EXCEEDED", ""), OUTCOME_SERVER_ERROR},
    {"gemini", 499, GOOGLE("499", "The operation was cancelled.", "CANCELLED", ""), OUTCOME_SERVER_ERROR},
    {"gemini", 502, "<html><title>Error 502 (Server Error)!!1</title></html>", OUTCOME_SERVER_ERROR},

    {"azure", 400, "{\"error\":{\"message\":\"The response was filtered due to the prompt triggering Azure OpenAI's content management policy.\",\"type\":null,\"param\":\"prompt\",\"code\":\"content_filter\",\"status\":400,\"innererror\":{\"code\":\"ResponsibleAIPolicyViolation\",\"content_filter_result\":{\"hate\":{\"filtered\":true,\"severity\":\"high\"}}}}}", OUTCOME_CONTENT_FILTERED},
    {"azure", 404, "{\"error\":{\"code\":\"DeploymentNotFound\",\"message\":\"The API deployment for this resource does not exist. If you created the deployment within the last 5 minutes, please wait a moment and try again.\"}}", OUTCOME_MODEL_UNAVAILABLE},
    {"azure", 400, "{\"error\":{\"code\":\"OperationNotSupported\",\"message\":\"The chatCompletion operation does not work with the specified model, text-embedding-3-small. Please choose different model and try again.\"}}", OUTCOME_MODEL_UNAVAILABLE},
    {"azure", 429, "{\"error\":{\"code\":\"RateLimitReached\",\"message\":\"Your requests to gpt-4o for gpt-4o in Sweden Central have exceeded the token rate limit of your current AIServices S0 pricing tier. Please retry after 60 seconds.\"}}", OUTCOME_RATE_LIMITED},
    {"azure", 429, "{\"error\":{\"code\":\"NoCapacity\",\"message\":\"The system is currently experiencing high demand and cannot process your request.\"}}", OUTCOME_OVERLOADED},
    {"azure", 401, "{\"error\":{\"code\":\"401\",\"message\":\"Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a valid key for an active subscription.\"}}", OUTCOME_CREDENTIAL_ERROR},
    {"azure", 401, "{\"statusCode\":401,\"message\":\"Unauthorized. Access token is missing, invalid, audience is incorrect, or have expired.\"}", OUTCOME_CREDENTIAL_ERROR},
    {"azure", 403, "{\"error\":{\"code\":\"AccessDenied\",\"message\":\"Access denied due to Virtual Network/Firewall rules.\"}}", OUTCOME_CREDENTIAL_ERROR},
    {"azure", 408, "{\"error\":{\"code\":\"Timeout\",\"message\":\"The operation was timeout.\"}}", OUTCOME_SERVER_ERROR},
    {"azure", 500, "{\"error\":{\"code\":\"InternalServerError\",\"message\":\"Backend returned unexpected response. Please contact Microsoft for help.\"}}", OUTCOME_SERVER_ERROR},
    {"azure", 400, "{\"error\":{\"message\":\"This model's maximum context length is 128000 tokens. However, your messages resulted in 150000 tokens.\",\"type\":\"invalid_request_error\",\"param\":\"messages\",\"code\":\"context_length_exceeded\"}}", OUTCOME_CONTEXT_TOO_LONG},
};
/* clang-format on */

/* Goal: each real-shaped error is the outcome that it means. */
static void test_errors(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        struct verdict v = judge(errors[i].dialect, "/x", errors[i].status, errors[i].body);
        if (v.outcome != errors[i].outcome) {
            fail_msg("%s %d: %s, expected %s; body %s", errors[i].dialect, errors[i].status,
                     outcome_name(v.outcome), outcome_name(errors[i].outcome), errors[i].body);
        }
    }
    struct verdict v = judge("gemini", GENERATE, 503, errors[19].body);
    assert_string_equal(v.code, "UNAVAILABLE");
    assert_string_equal(v.message, "The model is overloaded. Please try again later.");
}

#define SAYS(part, reason)                                                                         \
    "{\"candidates\":[{\"content\":{\"role\":\"model\",\"parts\":[" part                           \
    "]},\"finishReason\":\"" reason "\",\"index\":0}],\"modelVersion\":\"m\"}"

/* Goal: a 200 is an answer only if something is in it, and a filter's silence is the filter's. */
static void test_answers(void **state) {
    (void)state;
    static const char stream[] = "/v1beta/models/m:streamGenerateContent";
    static const struct {
        const char *path, *body;
        enum outcome outcome;
    } cases[] = {
        {GENERATE, SAYS("{\"text\":\"hi\"}", "STOP"), OUTCOME_OK},
        {GENERATE, SAYS("{\"functionCall\":{\"name\":\"f\",\"args\":{}}}", "STOP"), OUTCOME_OK},
        {GENERATE, SAYS("{\"inlineData\":{\"mimeType\":\"image/png\",\"data\":\"AA\"}}", "STOP"),
         OUTCOME_OK},
        {GENERATE, SAYS("{\"text\":\"\"}", "STOP"), OUTCOME_EMPTY_RESPONSE},
        {GENERATE, SAYS("", "MALFORMED_FUNCTION_CALL"), OUTCOME_EMPTY_RESPONSE},
        {GENERATE, SAYS("", "MAX_TOKENS"), OUTCOME_OK},
        {GENERATE, SAYS("", "SAFETY"), OUTCOME_CONTENT_FILTERED},
        {GENERATE, SAYS("{\"text\":\"half\"}", "RECITATION"), OUTCOME_OK},
        {GENERATE, "{\"promptFeedback\":{\"blockReason\":\"OTHER\"}}", OUTCOME_CONTENT_FILTERED},
        {GENERATE, "{\"usageMetadata\":{\"promptTokenCount\":3}}", OUTCOME_EMPTY_RESPONSE},
        {GENERATE, "", OUTCOME_EMPTY_RESPONSE},
        {GENERATE, "[]", OUTCOME_INVALID_RESPONSE},
        {GENERATE, GOOGLE("503", "busy", "UNAVAILABLE", ""), OUTCOME_ERROR_EVENT},
        {stream, "[" SAYS("{\"text\":\"hi\"}", "STOP") "]", OUTCOME_OK},
        {stream, GOOGLE("503", "busy", "UNAVAILABLE", ""), OUTCOME_ERROR_EVENT},
        {stream, "", OUTCOME_EMPTY_RESPONSE},
        {"/v1beta/models/m:countTokens", "{\"totalTokens\":3}", OUTCOME_OK},
        {"/v1beta/operations/o", "{\"name\":\"o\",\"done\":true,\"error\":{\"code\":3}}",
         OUTCOME_OK},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct verdict v = judge("gemini", cases[i].path, 200, cases[i].body);
        if (v.outcome != cases[i].outcome) {
            fail_msg("%s: %s, expected %s; body %s", cases[i].path, outcome_name(v.outcome),
                     outcome_name(cases[i].outcome), cases[i].body);
        }
    }
    struct verdict v = judge("gemini", GENERATE, 200,
                             GOOGLE("503", "The model is overloaded.", "UNAVAILABLE", ""));
    assert_int_equal(v.status, 503);
    assert_int_equal(v.means, OUTCOME_OVERLOADED);
}

/* Goal: the signs of events; thoughts are content, an event of usage alone is none. */
static void test_events(void **state) {
    (void)state;
    static const struct {
        const char *dialect, *data;
        unsigned signs;
    } cases[] = {
        {"gemini", SAYS("{\"text\":\"hi\"}", ""), SIGN_CONTENT},
        {"gemini", SAYS("{\"text\":\"hm\",\"thought\":true}", ""), SIGN_CONTENT},
        {"gemini", SAYS("{\"functionCall\":{\"name\":\"f\"}}", "STOP"), SIGN_CONTENT | SIGN_FINISH},
        {"gemini", SAYS("{\"text\":\"\",\"thoughtSignature\":\"AA\"}", ""), SIGN_DATA},
        {"gemini", SAYS("{\"text\":\"\"}", "STOP"), SIGN_FINISH},
        {"gemini", SAYS("", "MAX_TOKENS"), SIGN_FINISH | SIGN_LENGTH},
        {"gemini", SAYS("", "PROHIBITED_CONTENT"), SIGN_FINISH | SIGN_FILTERED},
        {"gemini", "{\"promptFeedback\":{\"blockReason\":\"SAFETY\"}}",
         SIGN_FINISH | SIGN_FILTERED},
        {"gemini", "{\"usageMetadata\":{\"promptTokenCount\":3}}", SIGN_DATA},
        {"gemini", GOOGLE("503", "busy", "UNAVAILABLE", ""), SIGN_ERROR},
        {"gemini", "no json", SIGN_MALFORMED},
        {"azure",
         "{\"choices\":[],\"created\":0,\"id\":\"\",\"model\":\"\",\"object\":\"\","
         "\"prompt_filter_results\":[{\"prompt_index\":0,\"content_filter_results\":{}}]}",
         SIGN_DATA},
        {"azure",
         "{\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"content_filter\","
         "\"content_filter_results\":{\"hate\":{\"filtered\":true}}}]}",
         SIGN_FINISH | SIGN_FILTERED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct usage u = {0};
        struct sse_event e = {.data = str_of(cases[i].data), .has_data = true};
        unsigned signs = dialect_event(shipped_dialect(cases[i].dialect), &e, &u);
        if (signs != cases[i].signs) {
            fail_msg("signs %u, expected %u: %s", signs, cases[i].signs, cases[i].data);
        }
    }
}

/* Goal: thoughts are output, and what a tool read is input. */
static void test_usage(void **state) {
    (void)state;
    struct usage u;
    dialect_usage(shipped_dialect("gemini"),
                  STR("{\"usageMetadata\":{\"promptTokenCount\":100,\"toolUsePromptTokenCount\":5,"
                      "\"cachedContentTokenCount\":64,\"candidatesTokenCount\":7,"
                      "\"thoughtsTokenCount\":20,\"totalTokenCount\":132}}"),
                  &u);
    assert_true(u.seen);
    assert_int_equal(u.input, 105);
    assert_int_equal(u.output, 27);
    assert_int_equal(u.cached, 64);
    assert_int_equal(u.reasoning, 20);
}

/* Goal: whose request a path is, which model it names, and whether it wants a stream. */
static void test_paths(void **state) {
    (void)state;
    const struct dialect *d = shipped_dialect("gemini");
    struct client_path p;
    assert_true(dialect_has_path(d, STR("/v1beta/models/gemini-2.5-flash:generateContent"), &p));
    assert_true(p.generate && p.says_stream && !p.stream);
    assert_true(str_is(p.model, "gemini-2.5-flash"));
    assert_true(dialect_has_path(d, STR("/v1/models/team/m:streamGenerateContent"), &p));
    assert_true(p.generate && p.stream);
    assert_string_equal(p.stream_query, "alt=sse");
    assert_true(str_is(p.model, "team/m"));
    assert_true(dialect_has_path(d, STR("/v1beta/models/m:countTokens"), &p));
    assert_true(!p.generate && str_is(p.model, "m"));
    assert_true(dialect_has_path(d, STR("/v1beta/models"), &p));
    assert_false(dialect_has_path(d, STR("/v1/models"), &p));
    assert_false(dialect_has_path(d, STR("/v1beta/openai/chat/completions"), &p));
    struct buf out;
    buf_init(&out, 200);
    assert_int_equal(dialect_generate_path(d, STR("a b"), true, &out), 0);
    assert_string_equal(out.data, "/models/a%20b:streamGenerateContent?alt=sse");
    buf_clear(&out);
    assert_int_equal(dialect_generate_path(shipped_dialect("azure"), STR("my-gpt"), false, &out),
                     0);
    assert_string_equal(out.data, "/deployments/my-gpt/chat/completions");
    buf_release(&out);
}

/* Goal: errors are such as Google's SDKs raise, with Google's word for the status. */
static void test_say(void **state) {
    (void)state;
    const struct dialect *d = shipped_dialect("gemini");
    struct buf out;
    struct dialect_error e = {429, OUTCOME_QUOTA_EXHAUSTED, "upstream_error", "x", "no \"more\""};
    buf_init(&out, 1000);
    assert_int_equal(dialect_write_error(d, &out, &e), 0);
    assert_string_equal(out.data, "{\"error\":{\"code\":429,\"message\":\"no "
                                  "\\\"more\\\"\",\"status\":\"RESOURCE_EXHAUSTED\"}}");
    buf_clear(&out);
    e = (struct dialect_error){504, OUTCOME_OK, "gateway_error", "deadline", "too late"};
    assert_int_equal(dialect_write_error_event(d, &out, &e), 0);
    assert_string_equal(out.data, "data: {\"error\":{\"code\":504,\"message\":\"too late\","
                                  "\"status\":\"DEADLINE_EXCEEDED\"}}\n\n");
    buf_clear(&out);
    const struct dialect_model models[] = {{"fast", "moongate"}};
    assert_int_equal(dialect_write_models(d, &out, models, 1), 0);
    assert_string_equal(
        out.data, "{\"models\":[{\"name\":\"models/fast\",\"version\":\"001\",\"displayName\":"
                  "\"fast\",\"description\":\"moongate\",\"supportedGenerationMethods\":["
                  "\"generateContent\",\"countTokens\"]}]}");
    assert_string_equal(dialect_models_path(d), "/v1beta/models");
    buf_release(&out);
}

/* Goal: the wait that Google asks for in the error's details; what is none does not count. */
static void test_retry_delay(void **state) {
    static const struct {
        const char *said;
        double want;
    } cases[] = {
        {"\"37s\"", 37}, {"\"1.5s\"", 1.5}, {"\"12\"", 12},
        {"7", 7},        {"\"0s\"", 0},     {"\"-3s\"", 0},
        {"\"s\"", 0},    {"\"5m\"", 0},     {"{}", 0},
        {"null", 0},     {"\"9e99s\"", 0},  {"\"99999999999999999999s\"", 10 * 366 * 86400.0}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char body[500];
        snprintf(body, sizeof body,
                 "{\"error\":{\"code\":429,\"status\":\"RESOURCE_EXHAUSTED\",\"details\":[{},"
                 "{\"@type\":\"type.googleapis.com/google.rpc.RetryInfo\",\"retryDelay\":%s}]}}",
                 cases[i].said);
        double got = judge("gemini", GENERATE, 429, body).retry_after;
        if (got < cases[i].want - 1e-9 || got > cases[i].want + 1e-9) {
            fail_msg("%s: %f, expected %f", cases[i].said, got, cases[i].want);
        }
    }
    assert_true(
        judge("openai", "/v1/chat/completions", 429, "{\"retryDelay\":\"37s\"}").retry_after == 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_retry_delay), cmocka_unit_test(test_errors),
        cmocka_unit_test(test_answers),     cmocka_unit_test(test_events),
        cmocka_unit_test(test_usage),       cmocka_unit_test(test_paths),
        cmocka_unit_test(test_say),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
