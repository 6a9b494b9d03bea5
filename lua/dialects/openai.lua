-- SPDX-License-Identifier: MIT
-- OpenAI: chat completions, and untouched everything beside them; also the many servers that speak so (vLLM,
-- Ollama, Groq, Mistral, DeepSeek, OpenRouter, llama.cpp …).

local rules = require "moongate.dialect.openai_rules"

return {
  name = "openai",
  auth = "bearer",
  speaks = { "openai", "responses" },
  prefix = "/v1",
  generate = "/chat/completions",
  model = "body",
  client = {
    generate = "/v1/chat/completions",
    drop = { "openai-*", "x-stainless-*" },
  },
  errors = rules.errors,
  answers = rules.answers,
  stream = rules.stream,
  usage = rules.usage,
  say = rules.say,
  models = {
    path = "/v1/models",
    list = '{"object":"list","data":[$models]}',
    item = '{"id":$model,"object":"model","created":0,"owned_by":$owner}',
  },
  raw = rules.raw,
  functions = "moongate.dialect.chat",
  -- What the conformance kit calls what this API has no word for, and what it says in other words.
  -- (Of a model whose maker its name does not tell: OpenAI takes metadata and verbosity.)
  cannot = { "file_url", "is_error", "metadata", "top_k", "verbosity" },
  changes = { "file_text", "result_image", "thinking", "answer.stop_pause", "answer.stop_refusal",
    "answer.stop_sequence" },
}
