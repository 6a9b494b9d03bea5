-- SPDX-License-Identifier: MIT
-- Servers that speak as OpenAI does: the openai dialect with another base URL. What is particular to each stands beside it.

-- Only chat completions (and what is beside it: /models, /embeddings). A request to /v1/responses is translated for these.
local chat_only = { "openai" }

-- Mistral refuses a request for each field that it does not know.
local unknown_to_mistral = { "store", "metadata", "user", "logprobs", "top_logprobs", "logit_bias", "service_tier",
  "max_completion_tokens", "stream_options" }

return {
  listen = env("LISTEN", "127.0.0.1:8080"),

  providers = {
    -- On machines of one's own. A server without a key takes any.
    vllm   = { dialect = "openai", speaks = chat_only, base_url = env("VLLM_URL", "http://127.0.0.1:8001/v1"),
               api_key = env("VLLM_KEY", "none") },
    ollama = { dialect = "openai", speaks = chat_only, base_url = env("OLLAMA_URL", "http://127.0.0.1:11434/v1"),
               api_key = env("OLLAMA_KEY", "ollama") },

    -- Services.
    groq       = { dialect = "openai", speaks = { "openai", "responses" },
                   base_url = env("GROQ_URL", "https://api.groq.com/openai/v1"), api_key = env("GROQ_API_KEY", "none") },
    deepseek   = { dialect = "openai", speaks = chat_only,
                   base_url = env("DEEPSEEK_URL", "https://api.deepseek.com/v1"), api_key = env("DEEPSEEK_API_KEY", "none") },
    openrouter = { dialect = "openai", speaks = chat_only,
                   base_url = env("OPENROUTER_URL", "https://openrouter.ai/api/v1"), api_key = env("OPENROUTER_API_KEY", "none") },
    mistral    = { dialect = "openai", speaks = chat_only,
                   base_url = env("MISTRAL_URL", "https://api.mistral.ai/v1"), api_key = env("MISTRAL_API_KEY", "none") },
  },

  routes = {
    { name = "chat", path = "/v1/chat/completions", policy = "failover",
      settings = {
        targets = {
          "vllm/Qwen/Qwen3-8B", -- what stands behind the first slash is the model, slashes included
          "ollama/qwen3:8b",
          "groq/openai/gpt-oss-20b",
          "deepseek/deepseek-chat",
          { target = "openrouter/qwen/qwen3-8b", headers = { ["X-Title"] = "moongate" } }, -- shown in its statistics
          { target = "mistral/mistral-small-latest", unset = unknown_to_mistral },
        },
      } },
  },
}
