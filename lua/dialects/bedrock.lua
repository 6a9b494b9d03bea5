-- SPDX-License-Identifier: MIT
-- AWS Bedrock's Converse, for all models behind it. A provider's dialect only: no client is written in it.
-- Requests are signed (providers.*.aws) or carry a Bedrock API key (api_key); streams come in AWS's frames,
-- of which the core makes events: a frame's :event-type or :exception-type is the event's.

-- Order matters: what an exception says decides before its name, which stands for much.
local patterns = {
  { "quota_exhausted", code = "ServiceQuotaExceededException" },
  { "quota_exhausted", status = "4xx", words = "tokens per day" },

  { "context_too_long", words = {
    "input is too long", "prompt is too long", "too many input tokens", "maximum context length",
    "maximum prompt length", { "input length", "exceed context limit" }, { "exceeds the maximum", "tokens" },
    { "input", "context window" },
  } },
  { "content_filtered", status = "4xx", words = {
    "content filter", "content policy", "blocked by guardrail",
  } },
  { "too_large", code = "RequestEntityTooLargeException" },

  -- A key that AWS does not know, a signature that it cannot follow or whose time has passed.
  { "credential_error", code = {
    "UnrecognizedClientException", "InvalidClientTokenId", "InvalidSignatureException",
    "SignatureDoesNotMatch", "IncompleteSignature", "IncompleteSignatureException",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException", "ExpiredToken", "ExpiredTokenException", "RequestExpired",
    "RequestTimeTooSkewed", "NotAuthorized", "OptInRequired",
  } },
  { "credential_error", status = "4xx", words = {
    "signature expired", "signature not yet current", "security token included in the request",
    "request signature we calculated does not match", "is not authorized to perform",
  } },

  -- The account has no such model, or not in this way.
  { "model_unavailable", status = "4xx", words = {
    "access to the model", "model access is denied", "not authorized to invoke this api operation",
    "on-demand throughput isn", "model identifier is invalid", "could not resolve the foundation model",
    "marked by provider as legacy", "reached the end of its life", "use case details have not been submitted",
    { "model", "is not supported" }, { "model", "doesn't support" },
  } },
  { "model_unavailable", code = {
    "ResourceNotFoundException", "FTUFormNotFilled", "MPAgreementBeingCreated",
  } },
  { "credential_error", code = { "AccessDeniedException", "AccessDenied" } },

  { "overloaded", code = { "ModelNotReadyException", "ServiceUnavailableException", "ServiceUnavailable" } },
  { "rate_limited", code = { "ThrottlingException", "TooManyRequestsException" } },
  { "server_error", code = {
    "ModelErrorException", "ModelStreamErrorException", "ModelTimeoutException", "InternalServerException",
    "InternalFailure", "InternalServerError",
  } },
  { "client_error", code = { "ValidationException", "ValidationError", "SerializationException" } },
}

local MESSAGE = "output.message.content.*."
local DELTA = "delta."
local FILTERED = { "content_filtered", "guardrail_intervened" }
local FULL = { "max_tokens", "model_context_window_exceeded" }

return {
  name = "bedrock",
  auth = "bearer",
  speaks = { "bedrock" },
  generate = "/model/{model}/converse",
  generate_stream = "/model/{model}/converse-stream",
  model = "path",

  errors = {
    -- The last, and error.message, are of servers that stand for Bedrock.
    type = { "__type", "code", "error.type" },
    type_header = "x-amzn-errortype",
    message = { "message", "Message", "error.message", "originalMessage" },
    words = { "originalMessage" },
    patterns = patterns,
    statuses = {
      { "credential_error", status = "401-403" },
      { "model_unavailable", status = 404 },
      { "server_error", status = 408 },
      { "too_large", status = 413 },
      { "server_error", status = 424 },
      { "rate_limited", status = 429 },
      { "overloaded", status = 503 },
    },
    stands_for = {
      throttlingException = 429, validationException = 400, serviceUnavailableException = 503,
      internalServerException = 500, modelStreamErrorException = 424, modelTimeoutException = 408,
      accessDeniedException = 403, resourceNotFoundException = 404,
    },
  },

  answers = { {
    path = "/model/*",
    body = "object",
    rules = {
      { "answer", filled = { MESSAGE .. "text", MESSAGE .. "toolUse", MESSAGE .. "reasoningContent",
        MESSAGE .. "image", MESSAGE .. "citationsContent" } },
      { "error", lacks = "output" },
      { "filtered", at = "stopReason", is = FILTERED },
      { "answer", at = "stopReason", is = FULL },
      { "empty" },
    },
  } },

  stream = { rules = {
    { "content", type = "contentBlockDelta", filled = { DELTA .. "text", DELTA .. "toolUse.input",
      DELTA .. "reasoningContent.text", DELTA .. "reasoningContent.redactedContent", DELTA .. "image" } },
    { "content", type = "contentBlockStart", filled = "start.toolUse" },
    { "finish", type = "messageStop" },
    { "filtered", type = "messageStop", at = "stopReason", is = FILTERED },
    { "length", type = "messageStop", at = "stopReason", is = FULL },
    { "finish", "end", type = "metadata" },
    { "error", type = { "*Exception", "*Failure", "*Error", "*Unavailable" } },
  } },

  usage = {
    input = "usage.inputTokens + usage.cacheReadInputTokens + usage.cacheWriteInputTokens",
    output = "usage.outputTokens",
    cached = "usage.cacheReadInputTokens",
  },

  raw = { "input", "json", "trace" },
  -- What Converse has no word for, asked of a model that nothing is known of: names of the conformance kit.
  cannot = { "file_url", "format_json", "frequency_penalty", "image_url", "logprobs", "n",
    "parallel_tool_calls", "presence_penalty", "reasoning", "seed", "top_k", "user", "verbosity" },
  functions = "moongate.dialect.bedrock",
}
