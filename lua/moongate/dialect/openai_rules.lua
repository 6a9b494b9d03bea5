-- SPDX-License-Identifier: MIT
-- What the answers of OpenAI and of the many servers that speak like it mean, as data for dialect files:
-- errors, whole answers, streams, usage. The servers agree on success and on little else: errors come in a
-- dozen shapes, all read here. The language is that of lua/dialects/README.md.

local rules = {}

-- Order matters: what is said in a word that means only one thing stands before what several mean. Each row
-- is there because a server says so; tests/unit/test_dialect.c has the answers.
local patterns = {
  -- A request larger than a whole minute's allowance: waiting does not help, whatever the code says
  -- (OpenAI 429, Groq 413).
  { "too_large", status = "4xx", words = {
    "request too large for",
  } },

  -- An empty account.
  { "quota_exhausted", code = {
    "insufficient_quota", "insufficient_balance", "insufficient_credits", "insufficient_user_quota",
    "billing_hard_limit_reached", "billing_not_active", "billing_error",
    "exceeded_current_quota_error", -- Moonshot
    "payment_required",
    "credit_limit", -- Together
    "Arrearage", -- DashScope
  } },
  { "quota_exhausted", status = "4xx", words = {
    "exceeded your current quota", "insufficient balance", "insufficient credit", "insufficient funds",
    "insufficient quota", "credit balance is too low", "requires more credits", "run out of credits",
    "used all available credits", -- xAI
    "billing hard limit", "check your plan and billing", "check your billing", "monthly spending limit",
    { "account", "overdue" },
  } },

  -- Refused for what was said.
  { "content_filtered", code = {
    "content_filter", "content_policy_violation", "content_filter_error",
    "ResponsibleAIPolicyViolation", -- Azure
    "moderation_blocked",
    "data_inspection_failed", -- DashScope
    "DataInspectionFailed", "image_content_policy_violation",
  } },
  { "content_filtered", status = "4xx", words = {
    "content management policy",
    "content exists risk", -- DeepSeek
    "requires moderation", -- OpenRouter
    "input was flagged", "prompt was flagged", "our safety system", "content policy", "usage policy",
    "usage policies", "inappropriate content", { "content filter", "triggered" }, { "blocked", "safety" },
    { "content violates", "guidelines" }, -- xAI
  } },

  -- A prompt longer than the model takes.
  { "context_too_long", code = {
    "context_length_exceeded",
    "exceed_context_size_error", -- llama.cpp, with 400 or 500
    "context_window_exceeded", "string_above_max_length",
    "model_max_prompt_tokens_exceeded", -- Copilot
    "tokens_limit_reached", -- GitHub Models
  } },
  { "context_too_long", words = {
    "maximum context length", "available context size", "exceed context window",
    "exceeds the context window", "exceeds context window", "exceeds the context length",
    "the model's context length", -- SGLang
    { "input (", "larger than the max context size" },
  } },
  { "context_too_long", status = "4xx", words = {
    "context length exceeded",
    "context length of only", -- LM Studio
    "maximum prompt length", -- xAI
    "maximum model length", -- vLLM
    "max_tokens must be at least 1, got -", -- vLLM: the prompt alone fills it
    "reduce the length of the messages", -- Groq, Cerebras
    "prompt is too long", "prompt too long",
    "input is too long", -- Bedrock
    "input length should be", -- DashScope
    { "too large for model with", "context" }, -- Mistral
    { "token count", "exceeds the" }, -- Gemini, Copilot
    { "`inputs`", "tokens" }, -- TGI
    { "too many tokens", "prompt" }, -- Cohere
  } },

  -- A body larger than the server takes.
  { "too_large", code = {
    "request_too_large", "payload_too_large",
  } },
  { "too_large", status = "4xx", words = {
    "request entity too large", "payload too large",
  } },

  -- A model that is not, or not for us, or not here.
  { "model_unavailable", code = {
    "model_not_found", "model_not_available",
    "model_decommissioned", -- Groq, with 400
    "model_terms_required", "model_deprecated",
    "model_not_supported", -- Hugging Face
    "model_permission_blocked_org", "model_permission_blocked_project",
    "invalid_model", -- Mistral, with 400
    "unknown_model", "unsupported_model",
    "DeploymentNotFound", -- Azure
    "unsupported_country_region_territory",
  } },
  { "model_unavailable", status = "4xx", words = {
    { "model", "does not exist" }, { "deployment", "does not exist" }, { "model", "not found" },
    { "model", "decommissioned" }, { "model", "has been deprecated" },
    { "does not have access to", "model" }, { "must be verified to use", "model" },
    "model not exist", -- DeepSeek
    "invalid model", "unknown model",
    "is not a valid model", -- OpenRouter
    "no endpoints found", -- OpenRouter
    "no allowed providers", -- OpenRouter
    "country, region, or territory",
    "user location is not supported", -- Google
    "not available in your region", "not available in your country",
  } },

  -- Our key, our account.
  { "credential_error", code = {
    "invalid_api_key",
    "invalid_authentication_error", -- Moonshot
    "incorrect_api_key_error",
    "InvalidApiKey", -- DashScope
    "wrong_api_key", -- Cerebras
    "API_KEY_INVALID", -- Google, with 400
    "UNAUTHENTICATED", "PERMISSION_DENIED", "authentication_error", "account_deactivated",
    "organization_restricted", "invalid_organization", "ip_not_authorized",
  } },
  { "credential_error", status = "400-403", words = {
    "api key", "api-key", "api_key", "apikey",
    "subscription key", -- Azure
    "access token", "authentication fail", { "organization has been", "disabled" },
    { "organization has been", "restricted" }, { "account", "deactivated" }, { "account", "suspended" },
    "account is not active",
  } },

  -- Too busy for anybody.
  { "overloaded", code = {
    "overloaded_error", "engine_overloaded",
    "engine_overloaded_error", -- Moonshot, with 429
    "server_overloaded", "capacity_exceeded", "over_capacity", "slow_down",
  } },
  { "overloaded", status = "5xx", words = {
    "overloaded",
    "over capacity", -- Groq
    "at capacity",
    "too busy", -- DeepSeek, Hugging Face
    "slow down", "high demand",
    "loading model", -- llama.cpp while it starts
  } },
  { "overloaded", status = 429, words = {
    "engine is currently overloaded",
  } },

  -- Too much for our share.
  { "rate_limited", code = {
    "rate_limit_exceeded", "rate_limit_error",
    "rate_limited", -- Mistral
    "rate_limit_reached_error", "rate_limit_usage_exceeded",
    "RateLimitReached", -- Azure
    "too_many_requests", "TooManyRequests",
    "too_many_requests_error", -- Cerebras
    "RESOURCE_EXHAUSTED", -- Google
    "limit_requests", -- DashScope
    "Throttling", "Throttling.RateQuota", "Throttling.AllocationQuota",
    "ThrottlingException", -- Bedrock
  } },
  { "rate_limited", status = "4xx", words = {
    "rate limit reached", "rate limit exceeded", "rate limit is exceeded", "exceeded token rate limit",
    "exceeded call rate limit", "too many requests",
  } },
}

-- Where no word decides.
local statuses = {
  { "credential_error", status = "401-403" },
  { "model_unavailable", status = 404 },
  { "server_error", status = 408 },
  { "model_unavailable", status = 410 },
  { "too_large", status = 413 },
  { "rate_limited", status = 429 },
  { "content_filtered", status = 451 },
  { "overloaded", status = 529 },
  { "server_error", status = "5xx" },
  { "client_error", status = "4xx" },
}

rules.errors = {
  code = { "error.code", "response.error.code", "choices.0.error.code", "errors.0.code", "code" },
  type = { "error.type", "error.status", "response.error.type", "error_type", "type" },
  inner = {
    "error.innererror.code", "error.inner_error.code", "error.details.0.reason",
    "error.metadata.error_type",
  },
  message = {
    "error.message", "response.error.message", "message", "detail", "errors.0.message",
    "choices.0.error.message", "error.error.message", "msg", "Message", "error",
  },
  words = { "error.metadata.raw" }, -- OpenRouter: what the provider behind it said
  status = {
    "error.code", "error.status", "error.status_code", "code", "status_code", "statusCode", "status",
    "choices.0.error.code",
  },
  object = { "error", "response.error" }, -- an answer that failed is told by this alone
  patterns = patterns,
  statuses = statuses,
  stands_for = {
    server_error = 500,
    internal_server_error = 500,
    InternalServerError = 500,
    api_error = 500,
    invalid_request_error = 400,
    BadRequestError = 400,
    invalid_prompt = 400,
    vector_store_timeout = 504,
    permission_error = 403,
    not_found_error = 404,
    NotFoundError = 404,
    timeout_error = 504,
    timeout = 504,
    unavailable_error = 503,
    service_unavailable = 503,
    service_unavailable_error = 503,
    UNAVAILABLE = 503,
    INTERNAL = 500,
    INVALID_ARGUMENT = 400,
    DEADLINE_EXCEEDED = 504,
  },
}

-- Where a chat completion has content: under each of these in `delta` and `message`.
local SAID = {
  "content", "reasoning_content", "reasoning", "refusal", "tool_calls", "text", "function_call",
  "reasoning_details", "audio", "images",
}

local said = { "choices.*.text" }
for _, name in ipairs(SAID) do
  said[#said + 1] = "choices.*.delta." .. name
  said[#said + 1] = "choices.*.message." .. name
end

local FINISH = "choices.*.finish_reason"

rules.answers = {
  {
    path = "*/completions",
    body = "object",
    rules = {
      { "error", at = "object", is = "error" },
      { "error", filled = "error" },
      { "answer", at = "object", is = "list" }, -- of completions that were stored
      { "answer", filled = said },
      { "error", at = FINISH, is = "error" },
      { "filtered", at = FINISH, is = "content_filter" },
      { "answer", at = FINISH, is = "length" },
      { "empty" },
    },
  },
  {
    path = "*/responses",
    body = "object",
    rules = {
      { "error", at = "object", is = "error" },
      { "error", filled = "error" },
      { "error", at = "status", is = "failed" },
      { "answer", filled = "output" },
      { "filtered", at = "incomplete_details.reason", is = "content_filter" },
      -- Queued, in progress, cancelled, or out of tokens: nothing said is then what was asked for.
      { "answer", at = "status", isnt = "completed" },
      { "empty" },
    },
  },
  {
    path = {
      "*/embeddings", "*/moderations", "*/images/generations", "*/images/edits", "*/images/variations",
      "*/audio/speech", "*/audio/transcriptions", "*/audio/translations", "*/rerank",
    },
    body = "some",
    rules = { { "error", at = "object", is = "error" }, { "error", filled = "error" } },
  },
  {
    -- Jobs and runs say with `error` how they ended: such an object is an answer.
    rules = {
      { "error", at = "object", is = "error" },
      { "error", filled = "error", lacks = "object" },
    },
  },
}

local ENDED = { "response.completed", "response.incomplete" }

rules.stream = {
  marker = "[DONE]",
  type = "type",
  rules = {
    -- Chat completions.
    { "content", filled = said },
    { "finish", filled = FINISH },
    { "filtered", at = FINISH, is = "content_filter" },
    { "length", at = FINISH, is = "length" },
    { "error", at = FINISH, is = "error" }, -- OpenRouter: the model behind it failed
    { "error", filled = "error" },
    { "error", at = "object", is = "error" },

    -- Responses.
    { "finish", "end", type = ENDED },
    { "filtered", type = ENDED, at = "response.incomplete_details.reason", is = "content_filter" },
    { "length", type = ENDED, at = "response.incomplete_details.reason", is = "max_output_tokens" },
    { "error", "end", type = { "response.failed", "response.cancelled" } },
    { "error", type = "error" },
    { "content", type = "*delta", filled = { "delta", "audio" } },
    { "content", type = "*delta", lacks = { "delta", "audio" } },
    { "content", type = "*partial_image" },
    -- A call that was made whole shows in no delta.
    { "content", type = "response.output_item.done", at = "item.type", is = "*_call" },

    -- Beside them.
    { "finish", "end", type = { "transcript.text.done", "speech.audio.done" } },
    { "content", "finish", "end", type = { "image_generation.completed", "image_edit.completed" } },
    { "finish", type = { "thread.run.completed", "thread.run.incomplete", "thread.run.requires_action" } },
    { "error", type = "thread.run.failed" },
  },
}

-- A count in each object that may hold it: whole answers and chat streams, Groq's, the end of responses.
local function within(...)
  local paths = {}
  for _, object in ipairs({ "usage.", "x_groq.usage.", "response.usage." }) do
    for _, name in ipairs({ ... }) do
      paths[#paths + 1] = object .. name
    end
  end
  return paths
end

rules.usage = {
  input = within("prompt_tokens", "input_tokens"),
  output = within("completion_tokens", "output_tokens"),
  cached = within("prompt_tokens_details.cached_tokens", "input_tokens_details.cached_tokens",
    "prompt_cache_hit_tokens"), -- the last is DeepSeek's
  reasoning = within("completion_tokens_details.reasoning_tokens",
    "output_tokens_details.reasoning_tokens"),
}

-- The words of OpenAI's own errors for a provider's failure that is told in this dialect.
rules.say = {
  error = '{"error":{"message":$message,"type":$type,"param":null,"code":$code}}',
  type = {
    { "invalid_request_error", outcome = {
      "client_error", "context_too_long", "too_large", "content_filtered", "model_unavailable",
    } },
    { "insufficient_quota", outcome = "quota_exhausted" },
    { "rate_limit_error", outcome = "rate_limited" },
    { "authentication_error", outcome = "credential_error" },
    { "server_error", outcome = { "server_error", "overloaded" } },
  },
  code = {
    { "context_length_exceeded", outcome = "context_too_long" },
    { "request_too_large", outcome = "too_large" },
    { "content_filter", outcome = "content_filtered" },
    { "model_not_found", outcome = "model_unavailable" },
    { "insufficient_quota", outcome = "quota_exhausted" },
    { "rate_limit_exceeded", outcome = "rate_limited" },
    { "invalid_api_key", outcome = "credential_error" },
    { "overloaded", outcome = "overloaded" },
  },
}

-- Schemas and what a client or provider wrote freely stay JSON text when a body is decoded.
rules.raw = { "parameters", "schema", "metadata", "logprobs" }

return rules
