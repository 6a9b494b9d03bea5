-- SPDX-License-Identifier: MIT
-- Azure OpenAI: OpenAI's dialect under a deployment's path and with another credential. base_url is
-- "https://NAME.openai.azure.com/openai?api-version=…".

local rules = require "moongate.dialect.openai_rules"

return {
  name = "azure",
  auth = "header:api-key",
  speaks = { "openai" },
  prefix = "/v1",
  pass = "/deployments/{model}",
  generate = "/deployments/{model}/chat/completions",
  model = "body",
  errors = rules.errors,
  answers = rules.answers,
  stream = rules.stream,
  usage = rules.usage,
  say = rules.say,
  raw = rules.raw,
  functions = "moongate.dialect.chat",
}
