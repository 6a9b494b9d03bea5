-- SPDX-License-Identifier: MIT
-- Models of one provider in order of preference. Edit the settings and send SIGHUP: the running gateway takes them over.

local pretend = env("PRETEND", "http://127.0.0.1:8000")

return {
  listen = env("LISTEN", "127.0.0.1:8080"),

  providers = {
    openai = { dialect = "openai", base_url = env("OPENAI_URL", pretend .. "/v1"), api_key = env("OPENAI_API_KEY", "none") },
  },

  routes = {
    { name = "chat", path = "/v1/chat/completions", policy = "failover",
      settings = {
        enabled = true,                                                      -- false: the first model, once
        targets = { "openai/gpt-4o", "openai/gpt-4o-mini", "openai/gpt-3.5-turbo" },
        retries = 1,                                                         -- further tries of a model before the next
        max_attempts = 6,                                                    -- all tries of a request together
        backoff = { base = 0.05 },
      } },
  },
}
