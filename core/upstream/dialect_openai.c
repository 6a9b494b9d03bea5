/* SPDX-License-Identifier: MIT */
/*
 * The dialect of OpenAI and of the many servers that speak it, as data: which codes and which words
 * mean which outcome. The provider's own words decide before the status, since providers disagree
 * on statuses: a bad key is 401 here and 400 there, an empty balance 400, 402 or 429, a prompt too
 * long 400, 413 or 500.
 *
 * Order matters: what is said in a word that means only one thing stands before what several mean.
 * Each row is there because a server says so; test_dialect.c has the answers.
 */
#include "upstream/dialect_impl.h"

#define CODE(code_, outcome_)                                                                      \
    { ANY_STATUS, code_, {NULL, NULL}, OUTCOME_##outcome_ }
#define WORDS(status_, words_, outcome_)                                                           \
    { status_, NULL, {words_, NULL}, OUTCOME_##outcome_ }
#define BOTH(status_, word_, other_, outcome_)                                                     \
    { status_, NULL, {word_, other_}, OUTCOME_##outcome_ }

static const struct pattern patterns[] = {
    /* A request larger than a whole minute's allowance: waiting does not help, whatever the code
       says (OpenAI 429, Groq 413). */
    WORDS(ONLY_4XX, "request too large for", TOO_LARGE),

    /* An empty account. */
    CODE("insufficient_quota", QUOTA_EXHAUSTED),
    CODE("insufficient_balance", QUOTA_EXHAUSTED),
    CODE("insufficient_credits", QUOTA_EXHAUSTED),
    CODE("insufficient_user_quota", QUOTA_EXHAUSTED),
    CODE("billing_hard_limit_reached", QUOTA_EXHAUSTED),
    CODE("billing_not_active", QUOTA_EXHAUSTED),
    CODE("billing_error", QUOTA_EXHAUSTED),
    CODE("exceeded_current_quota_error", QUOTA_EXHAUSTED), /* Moonshot */
    CODE("payment_required", QUOTA_EXHAUSTED),
    CODE("credit_limit", QUOTA_EXHAUSTED), /* Together */
    CODE("Arrearage", QUOTA_EXHAUSTED),    /* DashScope */
    WORDS(ONLY_4XX, "exceeded your current quota", QUOTA_EXHAUSTED),
    WORDS(ONLY_4XX, "insufficient balance", QUOTA_EXHAUSTED),
    WORDS(ONLY_4XX, "insufficient credit", QUOTA_EXHAUSTED),
    WORDS(ONLY_4XX, "insufficient funds", QUOTA_EXHAUSTED),
    WORDS(ONLY_4XX, "insufficient quota", QUOTA_EXHAUSTED),
    WORDS(ONLY_4XX, "credit balance is too low", QUOTA_EXHAUSTED),
    WORDS(ONLY_4XX, "requires more credits", QUOTA_EXHAUSTED),
    WORDS(ONLY_4XX, "run out of credits", QUOTA_EXHAUSTED),
    WORDS(ONLY_4XX, "used all available credits", QUOTA_EXHAUSTED), /* xAI */
    WORDS(ONLY_4XX, "billing hard limit", QUOTA_EXHAUSTED),
    WORDS(ONLY_4XX, "check your plan and billing", QUOTA_EXHAUSTED),
    WORDS(ONLY_4XX, "check your billing", QUOTA_EXHAUSTED),
    WORDS(ONLY_4XX, "monthly spending limit", QUOTA_EXHAUSTED),
    BOTH(ONLY_4XX, "account", "overdue", QUOTA_EXHAUSTED),

    /* Refused for what was said. */
    CODE("content_filter", CONTENT_FILTERED),
    CODE("content_policy_violation", CONTENT_FILTERED),
    CODE("content_filter_error", CONTENT_FILTERED),
    CODE("ResponsibleAIPolicyViolation", CONTENT_FILTERED), /* Azure */
    CODE("moderation_blocked", CONTENT_FILTERED),
    CODE("data_inspection_failed", CONTENT_FILTERED), /* DashScope */
    CODE("DataInspectionFailed", CONTENT_FILTERED),
    CODE("image_content_policy_violation", CONTENT_FILTERED),
    WORDS(ONLY_4XX, "content management policy", CONTENT_FILTERED),
    WORDS(ONLY_4XX, "content exists risk", CONTENT_FILTERED), /* DeepSeek */
    WORDS(ONLY_4XX, "requires moderation", CONTENT_FILTERED), /* OpenRouter */
    WORDS(ONLY_4XX, "input was flagged", CONTENT_FILTERED),
    WORDS(ONLY_4XX, "prompt was flagged", CONTENT_FILTERED),
    WORDS(ONLY_4XX, "our safety system", CONTENT_FILTERED),
    WORDS(ONLY_4XX, "content policy", CONTENT_FILTERED),
    WORDS(ONLY_4XX, "usage policy", CONTENT_FILTERED),
    WORDS(ONLY_4XX, "usage policies", CONTENT_FILTERED),
    WORDS(ONLY_4XX, "inappropriate content", CONTENT_FILTERED),
    BOTH(ONLY_4XX, "content filter", "triggered", CONTENT_FILTERED),
    BOTH(ONLY_4XX, "blocked", "safety", CONTENT_FILTERED),
    BOTH(ONLY_4XX, "content violates", "guidelines", CONTENT_FILTERED), /* xAI */

    /* A prompt longer than the model takes. */
    CODE("context_length_exceeded", CONTEXT_TOO_LONG),
    CODE("exceed_context_size_error", CONTEXT_TOO_LONG), /* llama.cpp, with 400 or 500 */
    CODE("context_window_exceeded", CONTEXT_TOO_LONG),
    CODE("string_above_max_length", CONTEXT_TOO_LONG),
    CODE("model_max_prompt_tokens_exceeded", CONTEXT_TOO_LONG), /* Copilot */
    CODE("tokens_limit_reached", CONTEXT_TOO_LONG),             /* GitHub Models */
    WORDS(ANY_STATUS, "maximum context length", CONTEXT_TOO_LONG),
    WORDS(ANY_STATUS, "available context size", CONTEXT_TOO_LONG),
    WORDS(ANY_STATUS, "exceed context window", CONTEXT_TOO_LONG),
    WORDS(ANY_STATUS, "exceeds the context window", CONTEXT_TOO_LONG),
    WORDS(ANY_STATUS, "exceeds context window", CONTEXT_TOO_LONG),
    WORDS(ANY_STATUS, "exceeds the context length", CONTEXT_TOO_LONG),
    WORDS(ONLY_4XX, "context length exceeded", CONTEXT_TOO_LONG),
    WORDS(ONLY_4XX, "context length of only", CONTEXT_TOO_LONG),       /* LM Studio */
    WORDS(ANY_STATUS, "the model's context length", CONTEXT_TOO_LONG), /* SGLang */
    WORDS(ONLY_4XX, "maximum prompt length", CONTEXT_TOO_LONG),        /* xAI */
    WORDS(ONLY_4XX, "maximum model length", CONTEXT_TOO_LONG),         /* vLLM */
    WORDS(ONLY_4XX, "max_tokens must be at least 1, got -",
          CONTEXT_TOO_LONG), /* vLLM: the prompt alone fills it */
    WORDS(ONLY_4XX, "reduce the length of the messages", CONTEXT_TOO_LONG), /* Groq, Cerebras */
    WORDS(ONLY_4XX, "prompt is too long", CONTEXT_TOO_LONG),
    WORDS(ONLY_4XX, "prompt too long", CONTEXT_TOO_LONG),
    WORDS(ONLY_4XX, "input is too long", CONTEXT_TOO_LONG),                  /* Bedrock */
    WORDS(ONLY_4XX, "input length should be", CONTEXT_TOO_LONG),             /* DashScope */
    BOTH(ONLY_4XX, "too large for model with", "context", CONTEXT_TOO_LONG), /* Mistral */
    BOTH(ONLY_4XX, "token count", "exceeds the", CONTEXT_TOO_LONG),          /* Gemini, Copilot */
    BOTH(ONLY_4XX, "`inputs`", "tokens", CONTEXT_TOO_LONG),                  /* TGI */
    BOTH(ONLY_4XX, "too many tokens", "prompt", CONTEXT_TOO_LONG),           /* Cohere */
    BOTH(ANY_STATUS, "input (", "larger than the max context size", CONTEXT_TOO_LONG),

    /* A body larger than the server takes. */
    CODE("request_too_large", TOO_LARGE),
    CODE("payload_too_large", TOO_LARGE),
    WORDS(ONLY_4XX, "request entity too large", TOO_LARGE),
    WORDS(ONLY_4XX, "payload too large", TOO_LARGE),

    /* A model that is not, or not for us, or not here. */
    CODE("model_not_found", MODEL_UNAVAILABLE),
    CODE("model_not_available", MODEL_UNAVAILABLE),
    CODE("model_decommissioned", MODEL_UNAVAILABLE), /* Groq, with 400 */
    CODE("model_terms_required", MODEL_UNAVAILABLE),
    CODE("model_deprecated", MODEL_UNAVAILABLE),
    CODE("model_not_supported", MODEL_UNAVAILABLE), /* Hugging Face */
    CODE("model_permission_blocked_org", MODEL_UNAVAILABLE),
    CODE("model_permission_blocked_project", MODEL_UNAVAILABLE),
    CODE("invalid_model", MODEL_UNAVAILABLE), /* Mistral, with 400 */
    CODE("unknown_model", MODEL_UNAVAILABLE),
    CODE("unsupported_model", MODEL_UNAVAILABLE),
    CODE("DeploymentNotFound", MODEL_UNAVAILABLE), /* Azure */
    CODE("unsupported_country_region_territory", MODEL_UNAVAILABLE),
    BOTH(ONLY_4XX, "model", "does not exist", MODEL_UNAVAILABLE),
    BOTH(ONLY_4XX, "deployment", "does not exist", MODEL_UNAVAILABLE),
    BOTH(ONLY_4XX, "model", "not found", MODEL_UNAVAILABLE),
    BOTH(ONLY_4XX, "model", "decommissioned", MODEL_UNAVAILABLE),
    BOTH(ONLY_4XX, "model", "has been deprecated", MODEL_UNAVAILABLE),
    BOTH(ONLY_4XX, "does not have access to", "model", MODEL_UNAVAILABLE),
    BOTH(ONLY_4XX, "must be verified to use", "model", MODEL_UNAVAILABLE),
    WORDS(ONLY_4XX, "model not exist", MODEL_UNAVAILABLE), /* DeepSeek */
    WORDS(ONLY_4XX, "invalid model", MODEL_UNAVAILABLE),
    WORDS(ONLY_4XX, "unknown model", MODEL_UNAVAILABLE),
    WORDS(ONLY_4XX, "is not a valid model", MODEL_UNAVAILABLE), /* OpenRouter */
    WORDS(ONLY_4XX, "no endpoints found", MODEL_UNAVAILABLE),   /* OpenRouter */
    WORDS(ONLY_4XX, "no allowed providers", MODEL_UNAVAILABLE), /* OpenRouter */
    WORDS(ONLY_4XX, "country, region, or territory", MODEL_UNAVAILABLE),
    WORDS(ONLY_4XX, "user location is not supported", MODEL_UNAVAILABLE), /* Google */
    WORDS(ONLY_4XX, "not available in your region", MODEL_UNAVAILABLE),
    WORDS(ONLY_4XX, "not available in your country", MODEL_UNAVAILABLE),

    /* Our key, our account. */
    CODE("invalid_api_key", CREDENTIAL_ERROR),
    CODE("invalid_authentication_error", CREDENTIAL_ERROR), /* Moonshot */
    CODE("incorrect_api_key_error", CREDENTIAL_ERROR),
    CODE("InvalidApiKey", CREDENTIAL_ERROR),   /* DashScope */
    CODE("wrong_api_key", CREDENTIAL_ERROR),   /* Cerebras */
    CODE("API_KEY_INVALID", CREDENTIAL_ERROR), /* Google, with 400 */
    CODE("UNAUTHENTICATED", CREDENTIAL_ERROR),
    CODE("PERMISSION_DENIED", CREDENTIAL_ERROR),
    CODE("authentication_error", CREDENTIAL_ERROR),
    CODE("account_deactivated", CREDENTIAL_ERROR),
    CODE("organization_restricted", CREDENTIAL_ERROR),
    CODE("invalid_organization", CREDENTIAL_ERROR),
    CODE("ip_not_authorized", CREDENTIAL_ERROR),
    WORDS(REFUSED, "api key", CREDENTIAL_ERROR),
    WORDS(REFUSED, "api-key", CREDENTIAL_ERROR),
    WORDS(REFUSED, "api_key", CREDENTIAL_ERROR),
    WORDS(REFUSED, "apikey", CREDENTIAL_ERROR),
    WORDS(REFUSED, "subscription key", CREDENTIAL_ERROR), /* Azure */
    WORDS(REFUSED, "access token", CREDENTIAL_ERROR),
    WORDS(REFUSED, "authentication fail", CREDENTIAL_ERROR),
    BOTH(REFUSED, "organization has been", "disabled", CREDENTIAL_ERROR),
    BOTH(REFUSED, "organization has been", "restricted", CREDENTIAL_ERROR),
    BOTH(REFUSED, "account", "deactivated", CREDENTIAL_ERROR),
    BOTH(REFUSED, "account", "suspended", CREDENTIAL_ERROR),
    WORDS(REFUSED, "account is not active", CREDENTIAL_ERROR),

    /* Too busy for anybody. */
    CODE("overloaded_error", OVERLOADED),
    CODE("engine_overloaded", OVERLOADED),
    CODE("engine_overloaded_error", OVERLOADED), /* Moonshot, with 429 */
    CODE("server_overloaded", OVERLOADED),
    CODE("capacity_exceeded", OVERLOADED),
    CODE("over_capacity", OVERLOADED),
    CODE("slow_down", OVERLOADED),
    WORDS(ONLY_5XX, "overloaded", OVERLOADED),
    WORDS(ONLY_5XX, "over capacity", OVERLOADED), /* Groq */
    WORDS(ONLY_5XX, "at capacity", OVERLOADED),
    WORDS(ONLY_5XX, "too busy", OVERLOADED), /* DeepSeek, Hugging Face */
    WORDS(ONLY_5XX, "slow down", OVERLOADED),
    WORDS(ONLY_5XX, "high demand", OVERLOADED),
    WORDS(ONLY_5XX, "loading model", OVERLOADED), /* llama.cpp while it starts */
    WORDS(ONLY_429, "engine is currently overloaded", OVERLOADED),

    /* Too much for our share. */
    CODE("rate_limit_exceeded", RATE_LIMITED),
    CODE("rate_limit_error", RATE_LIMITED),
    CODE("rate_limited", RATE_LIMITED), /* Mistral */
    CODE("rate_limit_reached_error", RATE_LIMITED),
    CODE("rate_limit_usage_exceeded", RATE_LIMITED),
    CODE("RateLimitReached", RATE_LIMITED), /* Azure */
    CODE("too_many_requests", RATE_LIMITED),
    CODE("TooManyRequests", RATE_LIMITED),
    CODE("too_many_requests_error", RATE_LIMITED), /* Cerebras */
    CODE("RESOURCE_EXHAUSTED", RATE_LIMITED),      /* Google */
    CODE("limit_requests", RATE_LIMITED),          /* DashScope */
    CODE("Throttling", RATE_LIMITED),
    CODE("Throttling.RateQuota", RATE_LIMITED),
    CODE("Throttling.AllocationQuota", RATE_LIMITED),
    CODE("ThrottlingException", RATE_LIMITED), /* Bedrock */
    WORDS(ONLY_4XX, "rate limit reached", RATE_LIMITED),
    WORDS(ONLY_4XX, "rate limit exceeded", RATE_LIMITED),
    WORDS(ONLY_4XX, "rate limit is exceeded", RATE_LIMITED),
    WORDS(ONLY_4XX, "exceeded token rate limit", RATE_LIMITED),
    WORDS(ONLY_4XX, "exceeded call rate limit", RATE_LIMITED),
    WORDS(ONLY_4XX, "too many requests", RATE_LIMITED),
};

/* Where no word decides. The last row is every other status. */
static const struct status_rule statuses[] = {
    {401, 403, OUTCOME_CREDENTIAL_ERROR}, {404, 404, OUTCOME_MODEL_UNAVAILABLE},
    {408, 408, OUTCOME_SERVER_ERROR},     {410, 410, OUTCOME_MODEL_UNAVAILABLE},
    {413, 413, OUTCOME_TOO_LARGE},        {429, 429, OUTCOME_RATE_LIMITED},
    {451, 451, OUTCOME_CONTENT_FILTERED}, {529, 529, OUTCOME_OVERLOADED},
    {500, 599, OUTCOME_SERVER_ERROR},     {400, 499, OUTCOME_CLIENT_ERROR},
    {0, 999, OUTCOME_SERVER_ERROR},
};

static const struct code_status codes[] = {
    {"server_error", 500},
    {"internal_server_error", 500},
    {"InternalServerError", 500},
    {"api_error", 500},
    {"invalid_request_error", 400},
    {"BadRequestError", 400},
    {"invalid_prompt", 400},
    {"vector_store_timeout", 504},
    {"permission_error", 403},
    {"not_found_error", 404},
    {"NotFoundError", 404},
    {"timeout_error", 504},
    {"timeout", 504},
    {"unavailable_error", 503},
    {"service_unavailable", 503},
    {"service_unavailable_error", 503},
    {"UNAVAILABLE", 503},
    {"INTERNAL", 500},
    {"INVALID_ARGUMENT", 400},
    {"DEADLINE_EXCEEDED", 504},
};

const struct dialect dialect_openai = {
    .name = "openai",
    .patterns = patterns,
    .n_patterns = sizeof patterns / sizeof *patterns,
    .statuses = statuses,
    .n_statuses = sizeof statuses / sizeof *statuses,
    .codes = codes,
    .n_codes = sizeof codes / sizeof *codes,
    .read_error = openai_read_error,
    .judge_plain = openai_judge_plain,
    .event = openai_event,
    .usage = openai_usage,
    .write_error = openai_write_error,
};
