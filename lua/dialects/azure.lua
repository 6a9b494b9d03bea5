-- SPDX-License-Identifier: MIT
-- Azure OpenAI: OpenAI's dialect under a deployment's path and with another credential. The model is the
-- deployment's name. base_url is "https://NAME.openai.azure.com/openai?api-version=2024-10-21".
--
-- Azure's newer API has no deployments in its paths and no version: that is the dialect openai with
-- base_url "https://NAME.openai.azure.com/openai/v1" and auth = "header:api-key".

local rules = require "moongate.dialect.openai_rules"

-- What only Azure says stands before what all say.
local errors = {}
for name, value in pairs(rules.errors) do errors[name] = value end
errors.patterns = {
  { "model_unavailable", code = "OperationNotSupported" }, -- a deployment of another kind of model
  { "model_unavailable", status = "4xx", words = { "operation does not work with the specified model" } },
  { "overloaded", code = { "NoCapacity", "ServiceUnavailable" } },
  { "overloaded", status = 429, words = { "currently experiencing high demand" } },
}
table.move(rules.errors.patterns, 1, #rules.errors.patterns, #errors.patterns + 1, errors.patterns)

return {
  name = "azure",
  auth = "header:api-key",
  speaks = { "openai" },
  prefix = "/v1",
  pass = "/deployments/{model}",
  generate = "/deployments/{model}/chat/completions",
  model = "body",
  errors = errors,
  answers = rules.answers,
  stream = rules.stream,
  usage = rules.usage,
  say = rules.say,
  raw = rules.raw,
  functions = "moongate.dialect.azure",
  -- What the conformance kit calls what this API has no word for, and what it says in other words.
  cannot = { "file_url", "is_error", "metadata", "top_k", "verbosity" },
  changes = { "file_text", "result_image", "thinking", "answer.stop_pause", "answer.stop_refusal",
    "answer.stop_sequence" },
}
