-- SPDX-License-Identifier: MIT
-- Google's Gemini API: generateContent and streamGenerateContent, and untouched everything beside them.
-- base_url is "https://generativelanguage.googleapis.com/v1beta".

-- A reason to stop that is a filter's. Google has one for texts and one for images of most.
local FILTERS = { "SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "MODEL_ARMOR",
  "IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION" }

-- Where a candidate says something.
local said = {}
for i, name in ipairs { "text", "functionCall", "inlineData", "fileData", "executableCode",
  "codeExecutionResult" } do
  said[i] = "candidates.*.content.parts.*." .. name
end

local FINISH = "candidates.*.finishReason"
local BLOCKED = "promptFeedback.blockReason"

-- Google's message is the same for a minute's limit and for a day's; which it was stands in the details. The
-- words of a status (RESOURCE_EXHAUSTED) say little, the reasons in the details more.
local patterns = {
  { "quota_exhausted", status = 429, words = {
    "PerDay", -- the quotaId of a day's allowance
    "limit: 0,", -- a model that the account's plan does not have
    "spending cap", "credits are depleted",
  } },
  { "quota_exhausted", code = "BILLING_DISABLED" },
  { "quota_exhausted", status = "400-403", words = {
    { "enable", "billing" }, { "billing", "to be enabled" },
  } },

  { "model_unavailable", status = "4xx", words = {
    "user location is not supported", "not available in your country",
    { "is not found for api version" }, { "models/", "not found" }, "is not supported for generatecontent",
    { "no longer available", "model" }, { "permission", "tuned model" },
  } },

  { "context_too_long", status = "4xx", words = {
    { "token count", "exceeds the maximum number of tokens" }, -- "The input token count (…) exceeds …"
    { "input token count", "exceeds" },
  } },
  { "too_large", status = "4xx", words = { "request payload size exceeds", "request entity too large" } },
  { "content_filtered", status = "4xx", words = {
    { "violate", "policy" }, "responsible ai", "prohibited use", { "blocked", "safety" },
  } },

  { "credential_error", code = {
    "API_KEY_INVALID", "API_KEY_SERVICE_BLOCKED", "API_KEY_HTTP_REFERRER_BLOCKED",
    "API_KEY_IP_ADDRESS_BLOCKED", "API_KEY_ANDROID_APP_BLOCKED", "API_KEY_IOS_APP_BLOCKED",
    "SERVICE_DISABLED", "CONSUMER_SUSPENDED",
    "CONSUMER_INVALID", "ACCESS_TOKEN_EXPIRED", "ACCESS_TOKEN_SCOPE_INSUFFICIENT", "CREDENTIALS_MISSING",
    "ACCOUNT_STATE_INVALID", "UNAUTHENTICATED", "PERMISSION_DENIED",
  } },
  { "credential_error", status = "400-403", words = { "api key not valid", "api key expired" } },

  { "overloaded", code = "UNAVAILABLE" },
  { "overloaded", status = "5xx", words = { "overloaded", "high demand" } },
  { "rate_limited", code = "RESOURCE_EXHAUSTED" },
  { "model_unavailable", code = "NOT_FOUND" },
}

local statuses = {
  { "credential_error", status = "401-403" },
  { "model_unavailable", status = 404 },
  { "server_error", status = 408 },
  { "server_error", status = 499 },
  { "too_large", status = 413 },
  { "rate_limited", status = 429 },
  { "overloaded", status = 503 },
  { "server_error", status = "5xx" },
  { "client_error", status = "4xx" },
}

-- The methods of a model beside the two that can be translated.
local OTHERS = {}
for i, method in ipairs { "countTokens", "embedContent", "batchEmbedContents", "predict",
  "predictLongRunning", "batchGenerateContent", "asyncBatchEmbedContent" } do
  OTHERS[2 * i - 1] = "/v1beta/models/{model}:" .. method
  OTHERS[2 * i] = "/v1/models/{model}:" .. method
end
for _, path in ipairs { "/v1beta/models", "/v1beta/models/*", "/v1beta/files", "/v1beta/files/*",
  "/v1beta/cachedContents", "/v1beta/cachedContents/*", "/v1beta/tunedModels/*", "/v1beta/batches/*",
  "/v1beta/operations/*", "/upload/v1beta/*" } do
  OTHERS[#OTHERS + 1] = path
end

return {
  name = "gemini",
  auth = "header:x-goog-api-key",
  speaks = { "gemini" },
  prefix = { "/v1beta", "/v1" },
  generate = "/models/{model}:generateContent",
  generate_stream = "/models/{model}:streamGenerateContent?alt=sse",
  model = "path",
  client = {
    generate = { "/v1beta/models/{model}:generateContent", "/v1/models/{model}:generateContent" },
    stream = { "/v1beta/models/{model}:streamGenerateContent", "/v1/models/{model}:streamGenerateContent" },
    stream_query = "alt=sse", -- without it the answer is a list
    paths = OTHERS,
    headers = { "x-goog-api-client" },
    drop = { "x-goog-*" },
  },
  raw = { "args", "response", "parameters", "parametersJsonSchema", "parameters_json_schema",
    "responseSchema", "response_schema", "responseJsonSchema", "response_json_schema" },
  errors = {
    type = "error.status",
    inner = { "error.details.0.reason", "error.details.1.reason", "error.details.2.reason" },
    message = { "error.message", "message", "error" },
    words = "error.details",
    retry_after = { -- of a RetryInfo: "37s"
      "error.details.0.retryDelay", "error.details.1.retryDelay", "error.details.2.retryDelay",
      "error.details.3.retryDelay",
    },
    status = "error.code",
    object = "error",
    patterns = patterns,
    statuses = statuses,
    stands_for = {
      INVALID_ARGUMENT = 400, FAILED_PRECONDITION = 400, OUT_OF_RANGE = 400, UNAUTHENTICATED = 401,
      PERMISSION_DENIED = 403, NOT_FOUND = 404, RESOURCE_EXHAUSTED = 429, CANCELLED = 499, INTERNAL = 500,
      UNKNOWN = 500, UNAVAILABLE = 503, DEADLINE_EXCEEDED = 504,
    },
  },
  answers = {
    { path = "*:generateContent", body = "object", rules = {
      { "error", filled = "error" },
      { "answer", filled = said },
      { "filtered", filled = BLOCKED },
      { "filtered", at = FINISH, is = FILTERS },
      { "answer", at = FINISH, is = "MAX_TOKENS" },
      { "empty" },
    } },
    -- Without alt=sse a stream is a JSON list, which is passed on as it comes.
    { path = "*:streamGenerateContent", body = "some", rules = { { "error", filled = "error" } } },
    -- An operation that failed has a name beside the error, and is an answer.
    { body = "some", rules = { { "error", filled = "error", lacks = "name" } } },
  },
  stream = {
    rules = {
      { "content", filled = said },
      { "finish", filled = FINISH },
      { "filtered", at = FINISH, is = FILTERS },
      { "length", at = FINISH, is = "MAX_TOKENS" },
      { "finish", "filtered", filled = BLOCKED },
      { "error", filled = "error" },
    },
  },
  usage = {
    input = "usageMetadata.promptTokenCount + usageMetadata.toolUsePromptTokenCount",
    output = "usageMetadata.candidatesTokenCount + usageMetadata.thoughtsTokenCount",
    cached = "usageMetadata.cachedContentTokenCount",
    reasoning = "usageMetadata.thoughtsTokenCount",
  },
  say = {
    -- Google's SDKs look for `error` first in an event, and for a number in its code.
    error = '{"error":{"code":$status,"message":$message,"status":$type}}',
    type = {
      { "RESOURCE_EXHAUSTED", outcome = { "rate_limited", "quota_exhausted" } },
      { "UNAVAILABLE", outcome = "overloaded" },
      { "UNAUTHENTICATED", outcome = "credential_error" },
      { "NOT_FOUND", outcome = "model_unavailable" },
      { "INVALID_ARGUMENT", outcome = {
        "client_error", "context_too_long", "too_large", "content_filtered",
      } },
      { "UNAUTHENTICATED", status = 401 },
      { "PERMISSION_DENIED", status = 403 },
      { "NOT_FOUND", status = 404 },
      { "RESOURCE_EXHAUSTED", status = 429 },
      { "CANCELLED", status = 499 },
      { "INVALID_ARGUMENT", status = "4xx" },
      { "UNAVAILABLE", status = 503 },
      { "DEADLINE_EXCEEDED", status = 504 },
      { "INTERNAL", status = "5xx" },
    },
  },
  models = {
    path = "/v1beta/models",
    list = '{"models":[$models]}',
    item = '{"name":"models/$model","version":"001","displayName":$model,"description":$owner,'
      .. '"supportedGenerationMethods":["generateContent","countTokens"]}',
  },
  functions = "moongate.dialect.gemini",
  -- What the conformance kit calls what this API has no word for, and what it says in other words.
  cannot = { "parallel_tool_calls", "verbosity" },
  changes = { "file_text", "result_image", "thinking", "user", "metadata", "answer.thinking",
    "answer.refusal", "answer.stop_refusal", "answer.stop_sequence", "answer.stop_pause",
    "answer.cache_write" },
}
