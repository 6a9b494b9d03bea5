-- SPDX-License-Identifier: MIT
-- What `make bench` measures: one worker, the stock failover policy, the model rewritten, no log lines. bench.py sets the variables.

return {
  listen = env("LISTEN"),
  workers = 1,
  log = { level = "info", access = "off" },
  providers = {
    main  = { dialect = env("DIALECT", "openai"), base_url = env("UPSTREAM"), api_key = "sk-bench" },
    spare = { dialect = "openai", base_url = env("UPSTREAM"), api_key = "sk-bench" },
  },
  routes = {
    { name = "chat", path = "/v1/chat/completions", policy = "failover",
      settings = { targets = { "main/bench-model", "spare/bench-model" }, first_packet_timeout = 10, suspend = 30 } },
  },
}
