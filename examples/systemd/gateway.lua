-- SPDX-License-Identifier: MIT
-- What /etc/moongate/gateway.lua may look like with these units: listen and admin.listen name the addresses of the socket units.
return {
  listen = "127.0.0.1:8080",
  admin = { listen = "127.0.0.1:9090" },
  state_dir = env("STATE_DIRECTORY", "state"), -- set by StateDirectory=
  limits = { drain_time = 30 },
  providers = {
    openai = { dialect = "openai", base_url = env("OPENAI_URL", "https://api.openai.com/v1"), api_key = env("OPENAI_API_KEY", "none") },
  },
  routes = {
    { name = "chat", path = "/v1/*", policy = "failover", settings = { targets = { "openai" } } },
  },
}
