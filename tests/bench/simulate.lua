-- SPDX-License-Identifier: MIT
-- Ordinary traffic for tests/bench/simulate.sh: half streams, one call in a hundred fails and goes to the next target.
return {
  duration = 20000, rate = 1, seed = 1,
  providers = { a = { error_rate = 0.01, first_token = { median = 0.5, p99 = 2 } }, b = {} },
  policies = { failover = { settings = { targets = { "a/m", "b/m" }, retries = 1, suspend = 5, breaker = true } } },
}
