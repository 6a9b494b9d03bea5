-- SPDX-License-Identifier: MIT
-- One target and two fallbacks, other ones for sandbox keys; a pair that failed is left alone for a while.

local pretend = env("PRETEND", "http://127.0.0.1:8000")

return {
  listen = env("LISTEN", "127.0.0.1:8080"),

  providers = {
    main  = { dialect = "openai", base_url = env("MAIN_URL", pretend .. "/as/main/v1"), api_key = env("MAIN_KEY", "none") },
    other = { dialect = "openai", base_url = env("OTHER_URL", pretend .. "/as/other/v1"), api_key = env("OTHER_KEY", "none") },
    tiny  = { dialect = "openai", base_url = env("TINY_URL", pretend .. "/as/tiny/v1"), api_key = env("TINY_KEY", "none") },
  },

  keys = {
    { name = "app", secret = env("APP_KEY", "app-secret"), environment = "production" },
    { name = "dev", secret = env("DEV_KEY", "dev-secret"), environment = "sandbox" },
  },

  routes = {
    { name = "chat", path = "/v1/chat/completions", policy = "failover",
      settings = {
        targets = { "main/gpt-4o", "other/gpt-4o", "other/gpt-4o-mini" }, -- the target, then its fallback pairs in order
        request_timeout = tonumber(env("REQUEST_TIMEOUT", "30")),         -- seconds for each of them
        suspend = tonumber(env("SUSPEND", "60")),                         -- seconds a failed pair is left alone; 0 = never
        sandbox = { targets = { "tiny/llama3", "other/gpt-4o-mini" } },   -- for keys of the sandbox
      } },
  },
}
