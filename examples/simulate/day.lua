-- SPDX-License-Identifier: MIT
-- A day of traffic with a bad morning: the usual provider refuses calls for half an hour, is slow in the afternoon, and
-- has a rate limit that the peak at noon goes beyond. Times are seconds; a distribution is a number, { from =, to = },
-- { mean = } or { median =, p99 = }.

local HOUR = 3600
local DAY = 24 * HOUR

-- One request a second on average: quiet at night, twice as much at noon.
local function rate(t)
  return 1 - math.cos(2 * math.pi * t / DAY)
end

return {
  duration = DAY, rate = rate, stream = 0.7, seed = 42,
  models = { ["gpt-4o"] = 1 },
  sessions = 500,
  prompt = { median = 800, p99 = 6000 },     -- tokens
  completion = { median = 200, p99 = 1200 },

  providers = {
    main = {
      latency = { median = 0.2, p99 = 0.9 }, first_token = { median = 0.6, p99 = 2.5 }, speed = { from = 60, to = 100 },
      error_rate = 0.004, price = { prompt = 2.5, completion = 10 },
      rate_limit = { requests = 110, per = 60, retry_after = 5 },
      outages = {
        { from = 9 * HOUR, to = 9.5 * HOUR, status = 503 },
        { from = 15 * HOUR, to = 15.25 * HOUR, stall = true },
        { from = 16 * HOUR, to = 17 * HOUR, slow = 6 },
      },
    },
    spare = {
      latency = { median = 0.3, p99 = 1.5 }, first_token = { median = 0.9, p99 = 4 }, speed = { from = 40, to = 80 },
      error_rate = 0.01, price = { prompt = 3.0, completion = 12 },
    },
  },

  policies = {
    alone = { settings = { targets = { "main/gpt-4o" }, request_timeout = 30 } },
    retries = { settings = { targets = { "main/gpt-4o" }, request_timeout = 30, retries = 2 } },
    fallback = { settings = { targets = { "main/gpt-4o", "spare/gpt-4o" }, request_timeout = 30 } },
    suspending = { settings = { targets = { "main/gpt-4o", "spare/gpt-4o" }, request_timeout = 30, suspend = 30 } },
    careful = {
      settings = {
        targets = { "main/gpt-4o", "spare/gpt-4o" }, request_timeout = 30, first_packet_timeout = 5,
        breaker = { failures = 3, recovery = 60 }, when_suspended = "try_anyway",
      },
    },
  },
  settings = { targets = { "main/gpt-4o", "spare/gpt-4o" } }, -- for policies that are named on the command line only
}
