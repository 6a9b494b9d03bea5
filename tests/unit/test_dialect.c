/* SPDX-License-Identifier: MIT */
/*
 * The openai dialect against answers in the shapes that its many servers really give: which error
 * is which outcome, which 200 is none, and what the gateway writes itself. Streams are in
 * test_dialect_stream.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/jscan.h"
#include "../support/dialects.h"
#include "upstream/dialect.h"

#define CHAT "/v1/chat/completions"

static const struct dialect *openai(void) {
    return shipped_dialect("openai");
}

static struct verdict judge(const char *path, int status, const char *type, const char *body) {
    struct headers h;
    struct verdict v;
    headers_init(&h, 10, 1000);
    if (type) {
        assert_int_equal(headers_add(&h, STR("Content-Type"), str_of(type)), 0);
    }
    dialect_judge(openai(), str_of(path), status, &h, str_of(body), &v);
    headers_release(&h);
    return v;
}

#define OAI(message, type, code)                                                                   \
    "{\"error\":{\"message\":\"" message "\",\"type\":\"" type "\",\"param\":null,\"code\":" code  \
    "}}"

/* One line per answer, as it came over the wire. */
/* clang-format off */
static const struct {
    const char *who;
    int status;
    const char *body;
    enum outcome outcome;
    const char *code; /* NULL: not looked at */
} errors[] = {
    /* Rate and quota */
    {"OpenAI", 429, OAI("Rate limit reached for gpt-4o in organization org-x on tokens per min (TPM): Limit 30000, Used 29000, Requested 2000. Please try again in 2s. Visit https://platform.openai.com/account/rate-limits to learn more.", "tokens", "\"rate_limit_exceeded\""), OUTCOME_RATE_LIMITED, "rate_limit_exceeded"},
    {"OpenAI", 429, OAI("Request too large for gpt-4 in organization org-x on tokens per min (TPM): Limit 10000, Requested 12345.", "tokens", "\"rate_limit_exceeded\""), OUTCOME_TOO_LARGE, NULL},
    {"OpenAI", 429, OAI("You exceeded your current quota, please check your plan and billing details.", "insufficient_quota", "\"insufficient_quota\""), OUTCOME_QUOTA_EXHAUSTED, "insufficient_quota"},
    {"OpenAI", 400, OAI("Billing hard limit has been reached", "image_generation_user_error", "\"billing_hard_limit_reached\""), OUTCOME_QUOTA_EXHAUSTED, NULL},
    {"OpenAI", 403, OAI("Your account is not active, please check your billing details on our website.", "billing_not_active", "\"billing_not_active\""), OUTCOME_QUOTA_EXHAUSTED, NULL},
    {"Azure", 429, "{\"error\":{\"code\":\"429\",\"message\":\"Requests to the ChatCompletions_Create Operation under Azure OpenAI API version 2024-05-01-preview have exceeded token rate limit of your current OpenAI S0 pricing tier. Please retry after 86400 seconds.\"}}", OUTCOME_RATE_LIMITED, "429"},
    {"Azure gateway", 429, "{\"statusCode\":429,\"message\":\"Rate limit is exceeded. Try again in 5 seconds.\"}", OUTCOME_RATE_LIMITED, NULL},
    {"Groq", 429, OAI("Rate limit reached for model `llama-3.3-70b-versatile` in organization `org_x` service tier `on_demand` on tokens per day (TPD): Limit 100000, Used 97050, Requested 3619. Please try again in 9m38.016s. Need more tokens? Upgrade to Dev Tier today at https://console.groq.com/settings/billing", "tokens", "\"rate_limit_exceeded\""), OUTCOME_RATE_LIMITED, NULL},
    {"Groq", 413, OAI("Request too large for model `llama-3.1-8b-instant` in organization `org_x` service tier `on_demand` on tokens per minute (TPM): Limit 6000, Requested 12328, please reduce your message size and try again.", "tokens", "\"rate_limit_exceeded\""), OUTCOME_TOO_LARGE, NULL},
    {"Mistral", 429, "{\"object\":\"error\",\"message\":\"Service tier capacity exceeded for this model.\",\"type\":\"service_tier_capacity_exceeded\",\"param\":null,\"code\":\"3505\"}", OUTCOME_RATE_LIMITED, "service_tier_capacity_exceeded"},
    {"Mistral", 429, "{\"message\":\"Requests rate limit exceeded\"}", OUTCOME_RATE_LIMITED, ""},
    {"OpenRouter", 402, "{\"error\":{\"message\":\"This request requires more credits, or fewer max_tokens. You requested up to 4096 tokens, but can only afford 222.\",\"code\":402}}", OUTCOME_QUOTA_EXHAUSTED, "402"},
    {"OpenRouter", 402, "{\"error\":{\"message\":\"Insufficient credits. This account never purchased credits. Make sure your key is on the correct account or org\",\"code\":402}}", OUTCOME_QUOTA_EXHAUSTED, NULL},
    {"OpenRouter", 429, "{\"error\":{\"message\":\"Provider returned error\",\"code\":429,\"metadata\":{\"raw\":\"some/model:free is temporarily rate-limited upstream. Please retry shortly\",\"provider_name\":\"Chutes\"}}}", OUTCOME_RATE_LIMITED, NULL},
    {"DeepSeek", 402, OAI("Insufficient Balance", "unknown_error", "\"invalid_request_error\""), OUTCOME_QUOTA_EXHAUSTED, NULL},
    {"DashScope", 400, OAI("Access denied, please make sure your account is in good standing.", "Arrearage", "\"Arrearage\""), OUTCOME_QUOTA_EXHAUSTED, NULL},
    {"Moonshot", 429, OAI("Your account org-x is suspended, please check your plan and billing details", "exceeded_current_quota_error", "null"), OUTCOME_QUOTA_EXHAUSTED, "exceeded_current_quota_error"},
    {"Moonshot", 429, OAI("The engine is currently overloaded, please try again later", "engine_overloaded_error", "null"), OUTCOME_OVERLOADED, NULL},
    {"Google", 429, "[{\"error\":{\"code\":429,\"message\":\"Resource has been exhausted (e.g. check quota).\",\"status\":\"RESOURCE_EXHAUSTED\"}}]", OUTCOME_RATE_LIMITED, "RESOURCE_EXHAUSTED"},
    {"xAI", 429, "{\"code\":\"Some resource has been exhausted\",\"error\":\"Your team has used all available credits or reached its monthly spending limit.\"}", OUTCOME_QUOTA_EXHAUSTED, NULL},
    {"anyone", 429, "", OUTCOME_RATE_LIMITED, ""},
    {"a proxy", 429, "<html><body>Too Many Requests</body></html>", OUTCOME_RATE_LIMITED, ""},

    /* Credentials */
    {"OpenAI", 401, OAI("Incorrect API key provided: sk-abc. You can find your API key at https://platform.openai.com/account/api-keys.", "invalid_request_error", "\"invalid_api_key\""), OUTCOME_CREDENTIAL_ERROR, "invalid_api_key"},
    {"OpenAI", 401, OAI("Your OpenAI account has been deactivated", "invalid_request_error", "\"account_deactivated\""), OUTCOME_CREDENTIAL_ERROR, NULL},
    {"OpenAI", 403, OAI("You have insufficient permissions for this operation.", "invalid_request_error", "null"), OUTCOME_CREDENTIAL_ERROR, "invalid_request_error"},
    {"Azure", 401, "{\"statusCode\":401,\"message\":\"Access denied due to invalid subscription key or wrong API endpoint.\"}", OUTCOME_CREDENTIAL_ERROR, NULL},
    {"Groq", 401, OAI("Invalid API Key", "invalid_request_error", "\"invalid_api_key\""), OUTCOME_CREDENTIAL_ERROR, NULL},
    {"Groq", 400, OAI("Organization has been restricted. Please reach out to support if you believe this was in error.", "invalid_request_error", "\"organization_restricted\""), OUTCOME_CREDENTIAL_ERROR, NULL},
    {"Mistral", 401, "{\"message\":\"Unauthorized\",\"request_id\":\"x\"}", OUTCOME_CREDENTIAL_ERROR, ""},
    {"DeepSeek", 401, OAI("Authentication Fails, Your api key: ****abc is invalid", "authentication_error", "\"invalid_request_error\""), OUTCOME_CREDENTIAL_ERROR, NULL},
    {"vLLM", 401, "{\"error\":\"Unauthorized\"}", OUTCOME_CREDENTIAL_ERROR, ""},
    {"Google", 400, "[{\"error\":{\"code\":400,\"message\":\"API key not valid. Please pass a valid API key.\",\"status\":\"INVALID_ARGUMENT\",\"details\":[{\"@type\":\"type.googleapis.com/google.rpc.ErrorInfo\",\"reason\":\"API_KEY_INVALID\"}]}}]", OUTCOME_CREDENTIAL_ERROR, NULL},
    {"xAI", 400, "{\"code\":\"Client specified an invalid argument\",\"error\":\"Incorrect API key provided: ab***cd. You can obtain an API key from https://console.x.ai.\"}", OUTCOME_CREDENTIAL_ERROR, NULL},
    {"OpenRouter", 401, "{\"error\":{\"message\":\"No auth credentials found\",\"code\":401}}", OUTCOME_CREDENTIAL_ERROR, NULL},
    {"anyone", 402, "{}", OUTCOME_CREDENTIAL_ERROR, ""},
    {"a proxy", 403, "<html><head><title>403 Forbidden</title></head></html>", OUTCOME_CREDENTIAL_ERROR, ""},

    /* Content */
    {"OpenAI", 400, OAI("Your request was rejected as a result of our safety system.", "invalid_request_error", "\"content_policy_violation\""), OUTCOME_CONTENT_FILTERED, NULL},
    {"OpenAI", 400, OAI("Your request was rejected by the safety system.", "image_generation_user_error", "\"moderation_blocked\""), OUTCOME_CONTENT_FILTERED, NULL},
    {"OpenAI", 400, OAI("Invalid prompt: your prompt was flagged as potentially violating our usage policy.", "invalid_request_error", "\"invalid_prompt\""), OUTCOME_CONTENT_FILTERED, NULL},
    {"Azure", 400, "{\"error\":{\"message\":\"The response was filtered due to the prompt triggering Azure OpenAI's content management policy. Please modify your prompt and retry.\",\"type\":null,\"param\":\"prompt\",\"code\":\"content_filter\",\"status\":400,\"innererror\":{\"code\":\"ResponsibleAIPolicyViolation\",\"content_filter_result\":{\"hate\":{\"filtered\":true,\"severity\":\"high\"}}}}}", OUTCOME_CONTENT_FILTERED, "content_filter"},
    {"Azure, inner only", 400, "{\"error\":{\"message\":\"Bad request\",\"innererror\":{\"code\":\"ResponsibleAIPolicyViolation\"}}}", OUTCOME_CONTENT_FILTERED, NULL},
    {"OpenRouter", 403, "{\"error\":{\"message\":\"openai/gpt-4o requires moderation on OpenAI. Your input was flagged for \\\"harassment\\\".\",\"code\":403,\"metadata\":{\"reasons\":[\"harassment\"],\"flagged_input\":\"x\"}}}", OUTCOME_CONTENT_FILTERED, NULL},
    {"DeepSeek", 400, OAI("Content Exists Risk", "invalid_request_error", "\"invalid_request_error\""), OUTCOME_CONTENT_FILTERED, NULL},
    {"DashScope", 400, OAI("Input data may contain inappropriate content.", "data_inspection_failed", "\"data_inspection_failed\""), OUTCOME_CONTENT_FILTERED, NULL},
    {"anyone", 451, "{}", OUTCOME_CONTENT_FILTERED, NULL},

    /* Context */
    {"OpenAI", 400, OAI("This model's maximum context length is 8192 tokens. However, your messages resulted in 10000 tokens.", "invalid_request_error", "\"context_length_exceeded\""), OUTCOME_CONTEXT_TOO_LONG, "context_length_exceeded"},
    {"OpenAI responses", 400, OAI("Your input exceeds the context window of this model. Please adjust your input and try again.", "invalid_request_error", "\"context_length_exceeded\""), OUTCOME_CONTEXT_TOO_LONG, NULL},
    {"vLLM", 400, "{\"object\":\"error\",\"message\":\"This model's maximum context length is 131072 tokens. However, you requested 156632 tokens (152536 in the messages, 4096 in the completion). Please reduce the length of the messages or completion.\",\"type\":\"BadRequestError\",\"param\":null,\"code\":400}", OUTCOME_CONTEXT_TOO_LONG, "BadRequestError"},
    {"vLLM, newer", 400, "{\"error\":{\"message\":\"'max_tokens' or 'max_completion_tokens' is too large: 8192. This model's maximum context length is 4096 tokens and your request has 100 input tokens.\",\"type\":\"BadRequestError\",\"param\":null,\"code\":400}}", OUTCOME_CONTEXT_TOO_LONG, "BadRequestError"},
    {"vLLM", 400, "{\"object\":\"error\",\"message\":\"max_tokens must be at least 1, got -186.\",\"type\":\"BadRequestError\",\"param\":null,\"code\":400}", OUTCOME_CONTEXT_TOO_LONG, NULL},
    {"vLLM", 400, "{\"error\":{\"message\":\"The decoder prompt (length 40000) is longer than the maximum model length of 8192.\",\"type\":\"BadRequestError\",\"code\":400}}", OUTCOME_CONTEXT_TOO_LONG, NULL},
    {"llama.cpp", 400, "{\"error\":{\"code\":400,\"message\":\"the request exceeds the available context size. try increasing the context size or enable context shift\",\"type\":\"exceed_context_size_error\",\"n_prompt_tokens\":14429,\"n_ctx\":8192}}", OUTCOME_CONTEXT_TOO_LONG, "exceed_context_size_error"},
    {"llama.cpp, older", 500, "{\"error\":{\"code\":500,\"message\":\"the request exceeds the available context size. try increasing the context size or enable context shift\",\"type\":\"server_error\"}}", OUTCOME_CONTEXT_TOO_LONG, NULL},
    {"llama-cpp-python", 400, OAI("This model's maximum context length is 2048 tokens, however you requested 2285 tokens", "invalid_request_error", "\"context_length_exceeded\""), OUTCOME_CONTEXT_TOO_LONG, NULL},
    {"llama-cpp-python", 500, OAI("Requested tokens (2285) exceed context window of 2048", "internal_server_error", "null"), OUTCOME_CONTEXT_TOO_LONG, NULL},
    {"Groq", 400, "{\"error\":{\"message\":\"Please reduce the length of the messages or completion.\",\"type\":\"invalid_request_error\",\"param\":\"messages\",\"code\":\"context_length_exceeded\"}}", OUTCOME_CONTEXT_TOO_LONG, NULL},
    {"Cerebras", 400, "{\"message\":\"Please reduce the length of the messages or completion. Current length is 69553 while limit is 65536\",\"type\":\"invalid_request_error\",\"param\":\"messages\",\"code\":\"context_length_exceeded\"}", OUTCOME_CONTEXT_TOO_LONG, "context_length_exceeded"},
    {"Mistral", 400, "{\"object\":\"error\",\"message\":\"Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length\",\"type\":\"invalid_request_invalid_args\",\"param\":null,\"code\":\"3051\"}", OUTCOME_CONTEXT_TOO_LONG, "invalid_request_invalid_args"},
    {"SGLang", 400, "{\"object\":\"error\",\"message\":\"The input (12345 tokens) is longer than the model's context length (8192 tokens).\",\"type\":\"BadRequestError\",\"code\":400}", OUTCOME_CONTEXT_TOO_LONG, NULL},
    {"TGI", 422, "{\"error\":\"Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000 `inputs` tokens and 20 `max_new_tokens`\",\"error_type\":\"validation\"}", OUTCOME_CONTEXT_TOO_LONG, "validation"},
    {"Google", 400, "[{\"error\":{\"code\":400,\"message\":\"The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).\",\"status\":\"INVALID_ARGUMENT\"}}]", OUTCOME_CONTEXT_TOO_LONG, NULL},
    {"Copilot", 400, OAI("prompt token count of 93854 exceeds the limit of 90000", "", "\"\""), OUTCOME_CONTEXT_TOO_LONG, NULL},
    {"xAI", 400, "{\"code\":\"Client specified an invalid argument\",\"error\":\"This model's maximum prompt length is 131072 but the request contains 207154 tokens.\"}", OUTCOME_CONTEXT_TOO_LONG, NULL},
    {"LM Studio", 400, "{\"error\":\"Trying to keep the first 10136 tokens when context the overflows. However, the model is loaded with context length of only 7866 tokens, which is not enough.\"}", OUTCOME_CONTEXT_TOO_LONG, NULL},
    {"Anthropic's words", 400, "{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":\"prompt is too long: 208732 tokens > 200000 maximum\"}}", OUTCOME_CONTEXT_TOO_LONG, "invalid_request_error"},
    {"OpenRouter relays", 400, "{\"error\":{\"message\":\"Provider returned error\",\"code\":400,\"metadata\":{\"raw\":\"{\\\"error\\\":{\\\"message\\\":\\\"This endpoint's maximum context length is 8192 tokens.\\\"}}\",\"provider_name\":\"x\"}}}", OUTCOME_CONTEXT_TOO_LONG, NULL},
    {"nginx", 413, "<html><head><title>413 Request Entity Too Large</title></head></html>", OUTCOME_TOO_LARGE, ""},
    {"anyone", 413, "", OUTCOME_TOO_LARGE, ""},

    /* Models */
    {"OpenAI", 404, OAI("The model `gpt-9` does not exist or you do not have access to it.", "invalid_request_error", "\"model_not_found\""), OUTCOME_MODEL_UNAVAILABLE, "model_not_found"},
    {"OpenAI", 403, OAI("Project `proj_x` does not have access to model `gpt-4o`", "invalid_request_error", "\"model_not_found\""), OUTCOME_MODEL_UNAVAILABLE, NULL},
    {"OpenAI", 403, OAI("Country, region, or territory not supported", "request_forbidden", "\"unsupported_country_region_territory\""), OUTCOME_MODEL_UNAVAILABLE, NULL},
    {"OpenAI", 403, OAI("Your organization must be verified to use the model `gpt-image-1`.", "invalid_request_error", "null"), OUTCOME_MODEL_UNAVAILABLE, NULL},
    {"Azure", 404, "{\"error\":{\"code\":\"DeploymentNotFound\",\"message\":\"The API deployment for this resource does not exist. If you created the deployment within the last 5 minutes, please wait a moment and try again.\"}}", OUTCOME_MODEL_UNAVAILABLE, "DeploymentNotFound"},
    {"Groq", 400, OAI("The model `llama2-70b-4096` has been decommissioned and is no longer supported.", "invalid_request_error", "\"model_decommissioned\""), OUTCOME_MODEL_UNAVAILABLE, NULL},
    {"Mistral", 400, "{\"object\":\"error\",\"message\":\"Invalid model: mistral-huge\",\"type\":\"invalid_model\",\"param\":null,\"code\":\"1500\"}", OUTCOME_MODEL_UNAVAILABLE, "invalid_model"},
    {"vLLM", 404, "{\"object\":\"error\",\"message\":\"The model `x` does not exist.\",\"type\":\"NotFoundError\",\"param\":null,\"code\":404}", OUTCOME_MODEL_UNAVAILABLE, NULL},
    {"Ollama", 404, "{\"error\":{\"message\":\"model \\\"llama9\\\" not found, try pulling it first\",\"type\":\"api_error\",\"param\":null,\"code\":null}}", OUTCOME_MODEL_UNAVAILABLE, "api_error"},
    {"OpenRouter", 404, "{\"error\":{\"message\":\"No endpoints found for foo/bar.\",\"code\":404}}", OUTCOME_MODEL_UNAVAILABLE, NULL},
    {"OpenRouter", 400, "{\"error\":{\"message\":\"foo/bar is not a valid model ID\",\"code\":400}}", OUTCOME_MODEL_UNAVAILABLE, NULL},
    {"DeepSeek", 400, OAI("Model Not Exist", "invalid_request_error", "\"invalid_request_error\""), OUTCOME_MODEL_UNAVAILABLE, NULL},
    {"Hugging Face", 400, OAI("The requested model 'x' is not supported by any provider you have enabled.", "invalid_request_error", "\"model_not_supported\""), OUTCOME_MODEL_UNAVAILABLE, NULL},
    {"Google", 400, "[{\"error\":{\"code\":400,\"message\":\"User location is not supported for the API use.\",\"status\":\"FAILED_PRECONDITION\"}}]", OUTCOME_MODEL_UNAVAILABLE, NULL},
    {"FastAPI", 404, "{\"detail\":\"Not Found\"}", OUTCOME_MODEL_UNAVAILABLE, ""},
    {"anyone", 410, "", OUTCOME_MODEL_UNAVAILABLE, ""},

    /* Backend */
    {"OpenAI", 500, OAI("The server had an error while processing your request. Sorry about that!", "server_error", "null"), OUTCOME_SERVER_ERROR, "server_error"},
    {"OpenAI", 503, OAI("The engine is currently overloaded, please try again later", "server_error", "null"), OUTCOME_OVERLOADED, NULL},
    {"OpenAI", 503, OAI("Slow down", "service_unavailable", "\"slow_down\""), OUTCOME_OVERLOADED, NULL},
    {"Groq", 503, OAI("llama-3 is currently over capacity. Please try again and back off exponentially.", "internal_server_error", "null"), OUTCOME_OVERLOADED, NULL},
    {"DeepSeek", 503, OAI("Service is too busy. We advise users to temporarily switch to alternative LLM API service providers.", "service_unavailable_error", "\"service_unavailable_error\""), OUTCOME_OVERLOADED, NULL},
    {"Anthropic's words", 529, "{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}", OUTCOME_OVERLOADED, "overloaded_error"},
    {"llama.cpp", 503, "{\"error\":{\"code\":503,\"message\":\"Loading model\",\"type\":\"unavailable_error\"}}", OUTCOME_OVERLOADED, NULL},
    {"vLLM", 500, "{\"object\":\"error\",\"message\":\"EngineCore encountered an issue.\",\"type\":\"InternalServerError\",\"param\":null,\"code\":500}", OUTCOME_SERVER_ERROR, "InternalServerError"},
    {"Envoy", 503, "upstream connect error or disconnect/reset before headers. reset reason: connection failure", OUTCOME_SERVER_ERROR, ""},
    {"nginx", 502, "<html><head><title>502 Bad Gateway</title></head></html>", OUTCOME_SERVER_ERROR, ""},
    {"Azure", 408, "{\"error\":{\"code\":\"Timeout\",\"message\":\"The operation was timeout.\"}}", OUTCOME_SERVER_ERROR, "Timeout"},
    {"anyone", 599, "", OUTCOME_SERVER_ERROR, ""},

    /* The caller */
    {"OpenAI", 400, OAI("Unrecognized request argument supplied: foo", "invalid_request_error", "null"), OUTCOME_CLIENT_ERROR, "invalid_request_error"},
    {"OpenAI", 400, OAI("Invalid value: 'foo'. Supported values are: 'system', 'assistant', 'user'.", "invalid_request_error", "\"invalid_value\""), OUTCOME_CLIENT_ERROR, NULL},
    {"OpenAI", 405, OAI("Not allowed to POST on /v1/models. (HINT: Perhaps you meant to use a different HTTP method?)", "invalid_request_error", "\"method_not_supported\""), OUTCOME_CLIENT_ERROR, NULL},
    {"OpenAI", 409, "{}", OUTCOME_CLIENT_ERROR, ""},
    {"Mistral", 422, "{\"object\":\"error\",\"message\":{\"detail\":[{\"type\":\"missing\",\"loc\":[\"body\",\"model\"],\"msg\":\"Field required\"}]},\"type\":\"invalid_request_error\",\"param\":null,\"code\":null}", OUTCOME_CLIENT_ERROR, "invalid_request_error"},
    {"FastAPI", 422, "{\"detail\":[{\"loc\":[\"body\",\"messages\"],\"msg\":\"field required\",\"type\":\"value_error.missing\"}]}", OUTCOME_CLIENT_ERROR, ""},
    {"anyone", 418, "", OUTCOME_CLIENT_ERROR, ""},
};
/* clang-format on */

/* Goal: each real-shaped error is the outcome that it means, whatever the status beside it. */
static void test_errors(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        struct verdict v = judge(CHAT, errors[i].status, "application/json", errors[i].body);
        if (v.outcome != errors[i].outcome || v.status != errors[i].status) {
            fail_msg("%s %d: %s, expected %s; body %s", errors[i].who, errors[i].status,
                     outcome_name(v.outcome), outcome_name(errors[i].outcome), errors[i].body);
        }
        if (errors[i].code && strcmp(v.code, errors[i].code) != 0) {
            fail_msg("%s %d: code '%s', expected '%s'", errors[i].who, errors[i].status, v.code,
                     errors[i].code);
        }
    }
}

/* Goal: the provider's words are found wherever its shape keeps them, decoded, and cut between
 * characters. */
static void test_messages(void **state) {
    (void)state;
    static const struct {
        const char *body, *message;
    } cases[] = {
        {"{\"error\":{\"message\":\"caf\\u00e9 \\\"x\\\"\"}}", "café \"x\""},
        {"{\"error\":\"plain\"}", "plain"},
        {"{\"error\":{\"message\":\"\"},\"message\":\"outer\"}", "outer"},
        {"{\"message\":\"top\"}", "top"},
        {"{\"detail\":\"Not Found\"}", "Not Found"},
        {"{\"detail\":[{\"msg\":\"field required\"}]}", "[{\"msg\":\"field required\"}]"},
        {"[{\"error\":{\"message\":\"in a list\"}}]", "in a list"},
        {"{\"success\":false,\"errors\":[{\"code\":10000,\"message\":\"Authentication error\"}]}",
         "Authentication error"},
        {" \n plain text \n", "plain text"},
        {"<html>page</html>", ""},
        {"", ""},
        {"{\"error\":{\"message\":\"cut short\",\"type\":\"ty", "cut short"},
        {"{\"error\":", ""},
        {"{]", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct verdict v = judge(CHAT, 500, "application/json", cases[i].body);
        assert_string_equal(v.message, cases[i].message);
    }
    /* The byte at the maximum is the middle of a character. */
    char body[2 * MAX_MESSAGE];
    size_t n = (size_t)sprintf(body, "{\"error\":{\"message\":\"");
    memset(body + n, 'a', MAX_MESSAGE - 2);
    sprintf(body + n + MAX_MESSAGE - 2, "\xc3\xa9\xc3\xa9\"}}");
    struct verdict v = judge(CHAT, 500, "application/json", body);
    assert_int_equal(strlen(v.message), MAX_MESSAGE - 2);
}

#define MESSAGE(m)                                                                                 \
    "{\"id\":\"x\",\"object\":\"chat.completion\",\"choices\":[{\"index\":0,\"message\":" m        \
    ",\"finish_reason\":\"stop\"}]}"
#define FINISHED(m, reason)                                                                        \
    "{\"id\":\"x\",\"object\":\"chat.completion\",\"choices\":[{\"index\":0,\"message\":" m        \
    ",\"finish_reason\":\"" reason "\"}]}"

/* Goal: a 200 is an answer only if something is in it. */
static void test_successes(void **state) {
    (void)state;
    static const char json[] = "application/json; charset=utf-8";
    /* clang-format off */
    static const struct {
        const char *path;
        int status;
        const char *type, *body;
        enum outcome outcome;
    } cases[] = {
        {CHAT, 200, json, MESSAGE("{\"role\":\"assistant\",\"content\":\"hi\",\"refusal\":null}"), OUTCOME_OK},
        {CHAT, 200, json, " \r\n" MESSAGE("{\"content\":\"hi\"}") "\n", OUTCOME_OK},
        {CHAT, 200, NULL, MESSAGE("{\"content\":\"hi\"}"), OUTCOME_OK},
        {CHAT, 200, json, MESSAGE("{\"content\":null,\"tool_calls\":[{\"id\":\"c\"}]}"), OUTCOME_OK},
        {CHAT, 200, json, MESSAGE("{\"content\":null,\"function_call\":{\"name\":\"f\"}}"), OUTCOME_OK},
        {CHAT, 200, json, MESSAGE("{\"content\":null,\"refusal\":\"no\"}"), OUTCOME_OK},
        {CHAT, 200, json, MESSAGE("{\"content\":null,\"reasoning_content\":\"hm\"}"), OUTCOME_OK},
        {CHAT, 200, json, MESSAGE("{\"content\":null,\"reasoning\":\"hm\"}"), OUTCOME_OK},
        {CHAT, 200, json, MESSAGE("{\"content\":null,\"audio\":{\"id\":\"a\"}}"), OUTCOME_OK},
        {CHAT, 200, json, MESSAGE("{\"content\":[{\"type\":\"text\",\"text\":\"x\"}]}"), OUTCOME_OK},
        {CHAT, 200, json, MESSAGE("{\"content\":null,\"tool_calls\":[]}"), OUTCOME_EMPTY_RESPONSE},
        {CHAT, 200, json, MESSAGE("{\"content\":\"\"}"), OUTCOME_EMPTY_RESPONSE},
        {CHAT, 200, json, MESSAGE("{}"), OUTCOME_EMPTY_RESPONSE},
        {CHAT, 200, json, FINISHED("{\"content\":\"\"}", "length"), OUTCOME_OK},
        {CHAT, 200, json, FINISHED("{\"content\":null}", "content_filter"), OUTCOME_CONTENT_FILTERED},
        {CHAT, 200, json, FINISHED("{\"content\":\"half\"}", "content_filter"), OUTCOME_OK},
        {CHAT, 200, json, "{\"id\":\"x\",\"choices\":[]}", OUTCOME_EMPTY_RESPONSE},
        {CHAT, 200, json, "{\"id\":\"x\",\"choices\":null}", OUTCOME_EMPTY_RESPONSE},
        {CHAT, 200, json, "{}", OUTCOME_EMPTY_RESPONSE},
        {CHAT, 200, json, "", OUTCOME_EMPTY_RESPONSE},
        {CHAT, 200, json, "  \n", OUTCOME_EMPTY_RESPONSE},
        {CHAT, 200, NULL, "", OUTCOME_EMPTY_RESPONSE},
        {CHAT, 204, NULL, "", OUTCOME_OK},
        {CHAT, 200, json, "not json", OUTCOME_INVALID_RESPONSE},
        {CHAT, 200, json, "{\"choices\":[{\"message\":{\"content\":\"cut", OUTCOME_INVALID_RESPONSE},
        {CHAT, 200, json, "{\"choices\":[{\"message\":{\"content\":\"cut behind a member\"}}]", OUTCOME_INVALID_RESPONSE},
        {CHAT, 200, json, MESSAGE("{\"content\":\"hi\"}") "}", OUTCOME_INVALID_RESPONSE},
        {CHAT, 200, json, "[]", OUTCOME_INVALID_RESPONSE},
        {CHAT, 200, "text/html", "<html>Please log in</html>", OUTCOME_INVALID_RESPONSE},
        {CHAT, 301, "text/html", "moved", OUTCOME_INVALID_RESPONSE},
        {CHAT, 304, NULL, "", OUTCOME_OK},
        {"/v1/completions", 200, json, "{\"choices\":[{\"text\":\"x\",\"index\":0}]}", OUTCOME_OK},
        {"/v1/completions", 200, json, "{\"choices\":[{\"text\":\"\",\"index\":0,\"finish_reason\":\"stop\"}]}", OUTCOME_EMPTY_RESPONSE},
        {"/v1/responses", 200, json, "{\"object\":\"response\",\"status\":\"completed\",\"error\":null,\"output\":[{\"type\":\"message\"}]}", OUTCOME_OK},
        {"/v1/responses", 200, json, "{\"object\":\"response\",\"status\":\"completed\",\"error\":null,\"output\":[]}", OUTCOME_EMPTY_RESPONSE},
        {"/v1/responses", 200, json, "{\"object\":\"response\",\"status\":\"queued\",\"error\":null,\"output\":[]}", OUTCOME_OK},
        {"/v1/responses", 200, json, "{\"object\":\"response\",\"status\":\"incomplete\",\"incomplete_details\":{\"reason\":\"max_output_tokens\"},\"output\":[]}", OUTCOME_OK},
        {"/v1/responses", 200, json, "{\"object\":\"response\",\"status\":\"incomplete\",\"incomplete_details\":{\"reason\":\"content_filter\"},\"output\":[]}", OUTCOME_CONTENT_FILTERED},
        {"/v1/embeddings", 200, json, "{\"object\":\"list\",\"data\":[{\"embedding\":[0.1]}]}", OUTCOME_OK},
        {"/v1/embeddings", 200, json, "", OUTCOME_EMPTY_RESPONSE},
        {"/v1/audio/speech", 200, "audio/mpeg", "\xff\xfb mp3", OUTCOME_OK},
        {"/v1/audio/speech", 200, "audio/mpeg", "", OUTCOME_EMPTY_RESPONSE},
        {"/v1/files/f/content", 200, "application/octet-stream", "", OUTCOME_OK},
        {"/v1/files", 200, json, "{\"object\":\"list\",\"data\":[]}", OUTCOME_OK},
        {"/v1/files", 200, json, "{\"object\":", OUTCOME_INVALID_RESPONSE},
        {"/v1/models", 200, json, "[]", OUTCOME_OK},
        {"/v1/chat/completions", 200, json, "{\"object\":\"list\",\"data\":[]}", OUTCOME_OK},
        /* A job says how it ended: that is an answer. */
        {"/v1/fine_tuning/jobs/j", 200, json, "{\"object\":\"fine_tuning.job\",\"error\":{\"code\":\"bad\",\"message\":\"no\"}}", OUTCOME_OK},
        {"/v1/files/f", 200, json, "{\"error\":{\"message\":\"no\"}}", OUTCOME_ERROR_EVENT},
    };
    /* clang-format on */
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct verdict v = judge(cases[i].path, cases[i].status, cases[i].type, cases[i].body);
        if (v.outcome != cases[i].outcome) {
            fail_msg("%s %d: %s, expected %s; body %s", cases[i].path, cases[i].status,
                     outcome_name(v.outcome), outcome_name(cases[i].outcome), cases[i].body);
        }
    }
}

/* Goal: an error inside a 200 is told with the status its type stands for. */
static void test_errors_in_success(void **state) {
    (void)state;
    static const struct {
        const char *body;
        int status;
        const char *code, *message;
    } cases[] = {
        {OAI("slow", "rate_limit_error", "\"rate_limit_exceeded\""), 429, "rate_limit_exceeded",
         "slow"},
        {OAI("empty", "insufficient_quota", "\"insufficient_quota\""), 429, "insufficient_quota",
         "empty"},
        {OAI("busy", "overloaded_error", "null"), 503, "overloaded_error", "busy"},
        {OAI("oops", "server_error", "null"), 500, "server_error", "oops"},
        {OAI("odd", "something_new", "null"), 500, "something_new", "odd"},
        {OAI("what", "invalid_request_error", "null"), 400, "invalid_request_error", "what"},
        {OAI("who", "authentication_error", "null"), 401, "authentication_error", "who"},
        {OAI("where", "x", "\"model_not_found\""), 404, "model_not_found", "where"},
        {"{\"error\":{\"code\":502,\"message\":\"Provider returned error\"}}", 502, "502",
         "Provider returned error"},
        {"{\"object\":\"error\",\"message\":\"m\",\"type\":\"BadRequestError\",\"code\":400}", 400,
         "BadRequestError", "m"},
        {"{\"error\":\"plain words\"}", 500, "", "plain words"},
        {"{\"id\":\"x\",\"choices\":[{\"error\":{\"code\":502,\"message\":\"behind\"},\"finish_"
         "reason\":\"error\",\"message\":{\"content\":\"\"}}]}",
         502, "502", "behind"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct verdict v = judge(CHAT, 200, "application/json", cases[i].body);
        if (v.outcome != OUTCOME_ERROR_EVENT || v.status != cases[i].status) {
            fail_msg("case %zu: %s %d, expected error_event %d", i, outcome_name(v.outcome),
                     v.status, cases[i].status);
        }
        assert_string_equal(v.code, cases[i].code);
        assert_string_equal(v.message, cases[i].message);
    }
    struct verdict v = judge("/v1/responses", 200, "application/json",
                             "{\"object\":\"response\",\"status\":\"failed\",\"error\":{\"code\":"
                             "\"server_error\",\"message\":\"gone\"},\"output\":[]}");
    assert_int_equal(v.outcome, OUTCOME_ERROR_EVENT);
    assert_int_equal(v.status, 500);
    assert_string_equal(v.message, "gone");
}

/* Goal: usage is read in every spelling, and only when it is there. */
static void test_usage(void **state) {
    (void)state;
    static const struct {
        const char *body;
        struct usage want;
    } cases[] = {
        {"{\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":20,\"total_tokens\":30,\"prompt_"
         "tokens_details\":{\"cached_tokens\":4},\"completion_tokens_details\":{\"reasoning_"
         "tokens\":5}}}",
         {true, 10, 20, 4, 5}},
        {"{\"usage\":{\"input_tokens\":1,\"output_tokens\":2,\"input_tokens_details\":{\"cached_"
         "tokens\":3},\"output_tokens_details\":{\"reasoning_tokens\":4}}}",
         {true, 1, 2, 3, 4}},
        {"{\"usage\":{\"prompt_tokens\":7,\"total_tokens\":7}}", {true, 7, -1, -1, -1}},
        {"{\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":0,\"prompt_cache_hit_tokens\":6}}",
         {true, 7, 0, 6, -1}},
        {"{\"usage\":null}", {false, -1, -1, -1, -1}},
        {"{\"usage\":{\"prompt_tokens\":\"7\"}}", {false, -1, -1, -1, -1}},
        {"{\"usage\":{\"prompt_tokens\":-7}}", {false, -1, -1, -1, -1}},
        {"nothing", {false, -1, -1, -1, -1}},
        {"", {false, -1, -1, -1, -1}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct usage u;
        dialect_usage(openai(), str_of(cases[i].body), &u);
        assert_int_equal(u.seen, cases[i].want.seen);
        assert_int_equal(u.input, cases[i].want.input);
        assert_int_equal(u.output, cases[i].want.output);
        assert_int_equal(u.cached, cases[i].want.cached);
        assert_int_equal(u.reasoning, cases[i].want.reasoning);
    }
}

/* Goal: our own errors have the shape that the SDKs read, whatever the text. */
static void test_write_error(void **state) {
    (void)state;
    struct buf out;
    struct dialect_error e = {
        .status = 502, .type = "upstream_error", .code = "no_luck", .message = "say \"no\"\n"};
    buf_init(&out, 1000);
    assert_int_equal(dialect_write_error(openai(), &out, &e), 0);
    assert_string_equal(
        out.data,
        "{\"error\":{\"message\":\"say "
        "\\\"no\\\"\\n\",\"type\":\"upstream_error\",\"param\":null,\"code\":\"no_luck\"}}");
    buf_clear(&out);
    e.code = NULL;
    e.message = "cut";
    assert_int_equal(dialect_write_error_event(openai(), &out, &e), 0);
    assert_string_equal(out.data, "data: "
                                  "{\"error\":{\"message\":\"cut\",\"type\":\"upstream_error\","
                                  "\"param\":null,\"code\":null}}\n\n");
    buf_release(&out);
    buf_init(&out, 30);
    e.message = "too long for the buffer";
    assert_int_equal(dialect_write_error(openai(), &out, &e), -1);
    assert_int_equal(out.len, 0);
    assert_int_equal(dialect_write_error_event(openai(), &out, &e), -1);
    assert_int_equal(out.len, 0);
    buf_release(&out);
}

/* Goal: a provider's failure that is told in OpenAI's dialect has OpenAI's words for its outcome,
 * and an error in a stream of responses is one that SDKs raise and Codex ends on. */
static void test_write_foreign(void **state) {
    (void)state;
    struct buf out;
    struct dialect_error e = {400, OUTCOME_CONTEXT_TOO_LONG, "upstream_error",
                              "invalid_request_error", "prompt is too long"};
    buf_init(&out, 1000);
    assert_int_equal(dialect_write_error(openai(), &out, &e), 0);
    assert_string_equal(out.data, "{\"error\":{\"message\":\"prompt is too long\",\"type\":"
                                  "\"invalid_request_error\",\"param\":null,\"code\":"
                                  "\"context_length_exceeded\"}}");
    buf_clear(&out);
    e = (struct dialect_error){502, OUTCOME_OK, "upstream_error", "stream_broken", "cut"};
    assert_int_equal(dialect_write_error_event(shipped_dialect("responses"), &out, &e), 0);
    assert_string_equal(
        out.data,
        "event: response.failed\ndata: "
        "{\"type\":\"response.failed\",\"sequence_number\":0,\"error\":"
        "{\"message\":\"cut\",\"type\":\"upstream_error\",\"param\":null,\"code\":\"stream_"
        "broken\"},"
        "\"response\":{\"id\":\"resp_failed\",\"object\":\"response\",\"created_at\":0,\"status\":"
        "\"failed\",\"error\":{\"code\":\"stream_broken\",\"message\":\"cut\"},\"output\":[]}}"
        "\n\n");
    buf_release(&out);
}

/* Goal: of an error that a provider of the same dialect said, its own object is passed on. */
static void test_pass_error(void **state) {
    (void)state;
    struct buf out;
    buf_init(&out, 1000);
    assert_int_equal(dialect_pass_error(openai(), STR("{\"id\":1,\"error\":{\"a\":2}}"), &out), 1);
    assert_string_equal(out.data, "{\"error\":{\"a\":2}}");
    buf_clear(&out);
    assert_int_equal(
        dialect_pass_error(openai(), STR("{\"response\":{\"error\":{\"b\":3}}}"), &out), 1);
    assert_string_equal(out.data, "{\"error\":{\"b\":3}}");
    assert_int_equal(dialect_pass_error(openai(), STR("{\"error\":\"words\"}"), &out), 0);
    assert_int_equal(dialect_pass_error(openai(), STR(""), &out), 0);
    buf_release(&out);
}

static double retry_after(const char *const *fields) {
    struct headers h;
    headers_init(&h, 10, 1000);
    for (; *fields; fields += 2) {
        assert_int_equal(headers_add(&h, str_of(fields[0]), str_of(fields[1])), 0);
    }
    double s =
        retry_after_seconds(&h, 1445412480LL * USEC_PER_SEC); /* Wed, 21 Oct 2015 07:28:00 GMT */
    headers_release(&h);
    return s;
}

/* Goal: the three fields in their order; what cannot be read is as if it were not there. */
static void test_retry_after(void **state) {
    (void)state;
    static const struct {
        const char *fields[7];
        double want;
    } cases[] = {
        {{NULL}, -1},
        {{"Retry-After", "20"}, 20},
        {{"retry-after", "0"}, 0},
        {{"Retry-After", "1.5"}, 1.5},
        {{"Retry-After", ".5"}, .5},
        {{"Retry-After", "-1"}, -1},
        {{"Retry-After", "+1"}, -1},
        {{"Retry-After", "1e3"}, -1},
        {{"Retry-After", "1.2.3"}, -1},
        {{"Retry-After", "soon"}, -1},
        {{"Retry-After", ""}, -1},
        {{"Retry-After", "."}, -1},
        {{"Retry-After", "Wed, 21 Oct 2015 07:28:30 GMT"}, 30},
        {{"Retry-After", "Wed, 21 Oct 2015 07:27:30 GMT"}, 0},
        {{"retry-after-ms", "1500"}, 1.5},
        {{"x-ms-retry-after-ms", "250"}, .25},
        {{"Retry-After", "20", "retry-after-ms", "1500", "x-ms-retry-after-ms", "250"}, 1.5},
        {{"Retry-After", "20", "retry-after-ms", "soon"}, 20},
        {{"Retry-After", "99999999999999999999999999999999"}, 10 * 366 * 86400.0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double got = retry_after(cases[i].fields);
        if (got < cases[i].want - 1e-9 || got > cases[i].want + 1e-9) {
            fail_msg("case %zu: %f, expected %f", i, got, cases[i].want);
        }
    }
}

static void test_names(void **state) {
    (void)state;
    struct generation *g = dialects_generation();
    assert_string_equal(dialect_name(openai()), "openai");
    assert_null(generation_dialect(g, STR("opanai")));
    assert_null(generation_dialect(g, STR("")));
    assert_string_equal(dialect_name(dialect_builtin()), "openai");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_errors),        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_successes),     cmocka_unit_test(test_errors_in_success),
        cmocka_unit_test(test_usage),         cmocka_unit_test(test_write_error),
        cmocka_unit_test(test_retry_after),   cmocka_unit_test(test_names),
        cmocka_unit_test(test_write_foreign), cmocka_unit_test(test_pass_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
