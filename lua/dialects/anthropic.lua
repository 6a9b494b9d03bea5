-- SPDX-License-Identifier: MIT
-- The messages API of Anthropic, and of the servers that speak it. A request translated to it has
-- `max_tokens`, since the API demands one: 4096 where the client named none; a target's
-- `set = { max_tokens = … }` says otherwise. Structured output is `output_config.format`.

-- An event's usage stands in the object, the first event's in its message.
local function counts(...)
  local sums = {}
  for _, object in ipairs { "usage.", "message.usage." } do
    local terms = {}
    for i, name in ipairs { ... } do terms[i] = object .. name end
    sums[#sums + 1] = table.concat(terms, " + ")
  end
  return sums
end

-- Reasons to stop of which an answer without content is the model's own doing. One that says nothing and
-- that it is at its end is empty.
local CUT = { "max_tokens", "model_context_window_exceeded", "stop_sequence", "pause_turn", "tool_use" }

return {
  name = "anthropic",
  auth = "header:x-api-key",
  headers = { ["anthropic-version"] = "2023-06-01" },
  speaks = { "anthropic" },
  prefix = "/v1",
  generate = "/messages",
  model = "body",
  client = {
    generate = "/v1/messages",
    paths = { "/v1/messages/*" },
    headers = { "anthropic-version" },
    drop = { "anthropic-*", "x-stainless-*", "x-app" },
  },
  raw = { "input_schema", "input", "schema", "cache_control" },
  -- As the conformance kit names them: what this API has no word for, and what it says in other words.
  cannot = { "audio", "format_json", "frequency_penalty", "logprobs", "metadata", "n", "presence_penalty",
    "seed",
    "verbosity" },
  changes = { "answer.refusal", "answer.stop_filter" },

  errors = {
    code = { "error.code", "code" },
    type = { "error.type" },
    message = { "error.message", "message", "error", "detail" },
    object = { "error" },
    patterns = {
      { "quota_exhausted", code = "billing_error" },
      { "quota_exhausted", status = "4xx", words = { "credit balance is too low", { "usage limits",
        "reached" },
        { "reached your", "spend limit" }, "monthly spend limit" } },

      { "context_too_long", words = { "prompt is too long", "exceed context limit",
        "exceeds the context window",
        "exceed the context window", "input is too long", { "exceeds the maximum", "context" } } },

      { "content_filtered", words = { "blocked by content filtering", "content filtering policy" } },
      { "content_filtered", status = "4xx", words = { "usage policy", "usage policies" } },

      { "too_large", code = "request_too_large" },
      { "too_large", status = "4xx", words = { "maximum allowed number of bytes", "request size exceeds" } },

      -- What was uploaded is not there, or not at this provider: no fault of the model's.
      { "client_error", status = "4xx", words = { { "file not found" }, { "file_", "not found" } } },
      { "model_unavailable", status = "4xx", words = { { "model:", "not found" }, { "model",
        "does not exist" },
        { "does not have access to", "model" }, { "model", "is not available" }, { "model",
          "is deprecated" } } },
      { "model_unavailable", code = "not_found_error" },

      { "credential_error", code = { "authentication_error", "permission_error" } },
      { "credential_error", status = "400-403", words = { { "organization has been", "disabled" },
        "invalid x-api-key",
        "invalid bearer token", "api key" } },

      { "overloaded", code = "overloaded_error" },
      { "rate_limited", code = "rate_limit_error" },
    },
    statuses = {
      { "quota_exhausted", status = 402 },
      { "credential_error", status = "401-403" },
      { "model_unavailable", status = 404 },
      { "server_error", status = 408 },
      { "too_large", status = 413 },
      { "rate_limited", status = 429 },
      { "overloaded", status = 529 },
      { "server_error", status = "5xx" },
      { "client_error", status = "4xx" },
    },
    stands_for = { invalid_request_error = 400, authentication_error = 401, billing_error = 402,
      permission_error = 403, not_found_error = 404, request_too_large = 413, rate_limit_error = 429,
      api_error = 500, timeout_error = 504, overloaded_error = 529 },
  },

  answers = {
    { path = "*/messages", body = "object", rules = {
      { "error", at = "type", is = "error" },
      { "error", filled = "error" },
      { "answer", filled = "content" },
      { "filtered", at = "stop_reason", is = "refusal" },
      { "answer", at = "stop_reason", is = CUT },
      { "empty" },
    } },
    { rules = { { "error", at = "type", is = "error" } } },
  },

  stream = {
    type = "type",
    rules = {
      { "content", type = "content_block_delta", filled = { "delta.text", "delta.partial_json",
        "delta.thinking" } },
      -- A call without arguments has no delta.
      { "content", type = "content_block_start", at = "content_block.type", is = { "*tool_use",
        "redacted_thinking" } },
      { "content", type = "content_block_start", filled = { "content_block.text",
        "content_block.thinking" } },
      { "finish", type = "message_delta", filled = "delta.stop_reason" },
      { "filtered", type = "message_delta", at = "delta.stop_reason", is = "refusal" },
      { "length", type = "message_delta", at = "delta.stop_reason", is = CUT },
      { "finish", "end", type = "message_stop" },
      { "error", type = "error" },
      { "error", filled = "error" },
    },
  },

  usage = {
    input = counts("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"),
    output = counts("output_tokens"),
    cached = counts("cache_read_input_tokens"),
    reasoning = counts("output_tokens_details.thinking_tokens"),
  },

  say = {
    -- Claude Code makes a conversation shorter when a message begins with these words.
    error = '{"type":"error","error":{"type":$type,"message":"$code$message"}}',
    code = { { "prompt is too long: ", outcome = "context_too_long" }, { "" } },
    event_type = "error",
    type = {
      { "request_too_large", outcome = "too_large" },
      { "not_found_error", outcome = "model_unavailable" },
      { "billing_error", outcome = "quota_exhausted" },
      { "rate_limit_error", outcome = "rate_limited" },
      { "authentication_error", outcome = "credential_error" },
      { "overloaded_error", outcome = "overloaded" },
      { "invalid_request_error", outcome = { "client_error", "context_too_long", "content_filtered" } },
      { "authentication_error", status = 401 },
      { "permission_error", status = 403 },
      { "not_found_error", status = 404 },
      { "request_too_large", status = 413 },
      { "rate_limit_error", status = 429 },
      { "timeout_error", status = 504 },
      { "overloaded_error", status = 529 },
      { "invalid_request_error", status = "4xx" },
      { "api_error" },
    },
  },

  models = {
    path = "/v1/models",
    list = '{"data":[$models],"has_more":false,"first_id":$first,"last_id":$last}',
    item = '{"type":"model","id":$model,"display_name":$model,"created_at":"1970-01-01T00:00:00Z"}',
  },

  functions = "moongate.dialect.anthropic",
}
