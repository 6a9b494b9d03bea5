-- SPDX-License-Identifier: MIT
-- A provider of a dialect that stands beside this file, lua/dialects/cohere.lua, behind one that is built in:
-- OpenAI's clients are answered by Cohere when OpenAI is not there.

return {
  listen = env("LISTEN", "127.0.0.1:8080"),

  providers = {
    openai = { dialect = "openai", base_url = env("OPENAI_URL", "https://api.openai.com/v1"),
      api_key = env("OPENAI_API_KEY", "none") },
    cohere = { dialect = "cohere", base_url = env("COHERE_URL", "https://api.cohere.com/v2"),
      api_key = env("COHERE_API_KEY", "none") },
  },

  routes = {
    { name = "chat", path = "/v1/chat/completions", policy = "failover",
      settings = { targets = { "openai", "cohere/command-a-03-2025" } } },
  },
}
