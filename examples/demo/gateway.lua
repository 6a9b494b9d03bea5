-- SPDX-License-Identifier: MIT
-- What `make demo` runs: two providers, and one route that moves on from the first to the second.

return {
  listen = env("LISTEN", "127.0.0.1:8080"),
  workers = 1,
  log = { access = env("ACCESS_LOG", "stdout") },

  providers = {
    first  = { dialect = "openai", base_url = env("FIRST_URL", "http://127.0.0.1:8001/as/first/v1") },
    second = { dialect = "openai", base_url = env("SECOND_URL", "http://127.0.0.1:8002/as/second/v1") },
  },

  routes = {
    { name = "chat", path = "/v1/chat/completions", policy = "failover",
      settings = {
        targets = { "first/gpt-4o", "second/gpt-4o-mini" },
        request_timeout = 10,
        first_packet_timeout = 1,
      } },
  },
}
