-- SPDX-License-Identifier: MIT
-- OpenAI's responses: what a client of /v1/responses speaks, and a provider that is to be asked so.

local rules = require "moongate.dialect.openai_rules"

local ERROR = '{"message":$message,"type":$type,"param":null,"code":$code}'

return {
  name = "responses",
  auth = "bearer",
  speaks = { "responses", "openai" },
  prefix = "/v1",
  generate = "/responses",
  model = "body",
  client = {
    generate = "/v1/responses",
    paths = { "/v1/responses", "/v1/responses/*" },
    drop = { "openai-*", "x-stainless-*", "x-codex-*", "session_id", "conversation_id", "originator" },
  },
  errors = rules.errors,
  answers = rules.answers,
  stream = rules.stream,
  usage = rules.usage,
  say = {
    error = rules.say.error,
    -- SDKs raise on the object; Codex ends on response.failed and nothing else.
    event_type = "response.failed",
    event = '{"type":"response.failed","sequence_number":0,"error":' .. ERROR
      .. ',"response":{"id":"resp_failed","object":"response","created_at":0,"status":"failed",'
      .. '"error":{"code":$code,"message":$message},"output":[]}}',
    type = rules.say.type,
    code = rules.say.code,
  },
  raw = rules.raw,
  functions = "moongate.dialect.responses",
  -- What the conformance kit calls what this API has no word for, and what it says in other words.
  cannot = { "audio", "frequency_penalty", "is_error", "n", "presence_penalty", "seed", "stop", "top_k" },
  changes = { "file_text", "answer.stop_pause", "answer.stop_refusal", "answer.stop_sequence" },
}
