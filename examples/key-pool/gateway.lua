-- SPDX-License-Identifier: MIT
-- One account with two keys, a spare provider behind it, and names of our own for the models.

local pretend = env("PRETEND", "http://127.0.0.1:8000")

return {
  listen = env("LISTEN", "127.0.0.1:8080"),
  admin = { listen = env("ADMIN_LISTEN", "127.0.0.1:8081"), token = env("MOONGATE_ADMIN_TOKEN", "admin-token") },

  providers = {
    main = {
      dialect = "openai", base_url = env("MAIN_URL", pretend .. "/as/main/v1"),
      api_keys = {
        { name = "team", secret = env("MAIN_KEY_TEAM", "sk-pretend-team") },
        { name = "spare", secret = env("MAIN_KEY_SPARE", "sk-pretend-spare") },
      },
    },
    other = { dialect = "openai", base_url = env("OTHER_URL", pretend .. "/as/other/v1"), api_key = env("OTHER_KEY", "none") },
  },

  routes = {
    { name = "chat", path = "/v1/chat/completions", policy = "failover",
      models = {
        fast = { "main/gpt-4o-mini", "other/llama3" }, -- what clients ask for, and who serves it
        smart = "main/gpt-4.1",
        "gpt-4o*",                                     -- these go to the targets of the settings
      },
      settings = {
        targets = { "main", "other" },
        keys = { suspend = tonumber(env("SUSPEND", "30")) }, -- seconds after a rate limit without a hint
      } },
  },
}
