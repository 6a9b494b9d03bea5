-- SPDX-License-Identifier: MIT
-- When the key for the big model is throttled (429), a small model on another endpoint answers for 30 seconds.

local pretend = env("PRETEND", "http://127.0.0.1:8000")

return {
  listen = env("LISTEN", "127.0.0.1:8080"),

  providers = {
    big   = { dialect = "openai", base_url = env("BIG_URL", pretend .. "/as/big/v1"), api_key = env("BIG_KEY", "none") },
    small = { dialect = "openai", base_url = env("SMALL_URL", pretend .. "/as/small/v1"), api_key = env("SMALL_KEY", "none") },
  },

  routes = {
    { name = "chat", path = "/v1/chat/completions", policy = "failover",
      settings = {
        targets = { "big/gpt-4o", "small/gpt-4o-mini" },
        trigger = { "rate_limit" }, -- a short limit or a spent quota; add "backend" to move on from outages, too
        request_timeout = 30,
        suspend = 30,
      } },
  },
}
