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
    -- SDKs raise on the object, and read the event's own fields.
    event_type = "error",
    event = '{"type":"error","code":$code,"message":$message,"param":null,"sequence_number":0,"error":'
      .. ERROR .. "}",
    type = rules.say.type,
    code = rules.say.code,
  },
  raw = { "parameters", "schema" },
}
