-- SPDX-License-Identifier: MIT
-- Three providers take turns; those that are ill are found by probes and by failures, left alone, and taken back by themselves.

local pretend = env("PRETEND", "http://127.0.0.1:8000")

-- Rehearsal: a provider named in outage.txt is moved to an address where nobody listens. SIGHUP begins and ends it.
local outage = file("outage.txt")

local function provider(name, url, key)
  return {
    dialect = "openai",
    base_url = outage:find(name, 1, true) and "http://127.0.0.1:9/v1" or url,
    api_key = key,
    health = { path = "/models", interval = tonumber(env("HEALTH_INTERVAL", "10")), timeout = 2, up = 1, down = 3 },
  }
end

return {
  listen = env("LISTEN", "127.0.0.1:8080"),
  admin = { listen = env("ADMIN_LISTEN", "127.0.0.1:9090"), token = env("MOONGATE_ADMIN_TOKEN", "rehearsal") },

  providers = {
    alpha = provider("alpha", env("ALPHA_URL", pretend .. "/as/alpha/v1"), env("ALPHA_KEY", "none")),
    beta  = provider("beta", env("BETA_URL", pretend .. "/as/beta/v1"), env("BETA_KEY", "none")),
    gamma = provider("gamma", env("GAMMA_URL", pretend .. "/as/gamma/v1"), env("GAMMA_KEY", "none")),
  },

  routes = {
    { name = "chat", path = "/v1/chat/completions", policy = "failover",
      settings = {
        targets = { "alpha/gpt-4o", "beta/gpt-4o", "gamma/gpt-4o" },
        order = "round_robin", -- each request starts at the next one; the others are its fallbacks, in order
        retries = 1,
        backoff = { base = 0.2, cap = 8, jitter = "full" },
        breaker = { failures = 3, recovery = tonumber(env("RECOVERY", "60")) },
      } },
  },
}
