-- SPDX-License-Identifier: MIT
-- A service and its backups in order, each with its own model or the one that the client asked for.

local pretend = env("PRETEND", "http://127.0.0.1:8000")

-- What moves a request on to the next service. Choose one with TRIGGER.
local triggers = {
  any     = "any",                                                 -- every 4xx and 5xx, and whatever else goes wrong
  backend = "backend_errors",                                      -- only what is the service's own fault
  limits  = { "backend", "credential", "rate_limit", "intercepted" }, -- also when rate-limited or stopped by a filter
}

return {
  listen = env("LISTEN", "127.0.0.1:8080"),

  providers = {
    main   = { dialect = "openai", base_url = env("MAIN_URL", pretend .. "/as/main/v1"), api_key = env("MAIN_KEY", "none") },
    second = { dialect = "openai", base_url = env("SECOND_URL", pretend .. "/as/second/v1"), api_key = env("SECOND_KEY", "none") },
    third  = { dialect = "openai", base_url = env("THIRD_URL", pretend .. "/as/third/v1"), api_key = env("THIRD_KEY", "none") },
  },

  routes = {
    { name = "chat", path = "/v1/chat/completions", policy = "failover",
      settings = {
        targets = { "main", "second/qwen-max", "third" }, -- main and third get the client's model as it is
        trigger = triggers[env("TRIGGER", "any")],
        first_packet_timeout = tonumber(env("FIRST_PACKET_TIMEOUT", "2.5")), -- seconds, streams only; 0 = off
      } },
  },
}
