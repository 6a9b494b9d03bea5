-- SPDX-License-Identifier: MIT
-- What the library says about its decisions while somebody listens, and that it says nothing otherwise.

local expect = require "expect"
local fake = require "fake"

-- The notes of one request, one a line.
local function notes_of(world, settings, about)
  world.explaining = true
  local result = world:route(settings):request(about)
  return table.concat(result.notes, "\n"), result
end

local function says(text, ...)
  for _, part in ipairs { ... } do expect.contains(text, part) end
end

return function(test)
  test("nothing is noted when nobody listens", function()
    local world = fake.world { p = { 500 }, f = { 200 } }
    expect.equal(#world:route({ targets = { "p/m", "f/m" } }):request().notes, 0)
  end)

  test("order, trigger and suspension", function()
    local world = fake.world { p = { { status = 429, retry_after = 40 } }, f = { 200 } }
    local settings = { targets = { "p/m", "f/m" }, suspend = 30 }
    says(notes_of(world, settings), "order (listed): p/m, f/m",
      'rate_limited 429: trigger = "errors" moves on', "p/m is suspended for 40 s (the provider's hint)")
    says(notes_of(world, settings), "skip p/m: suspended for another 40 s (rate_limited)")
  end)

  test("a failure that no trigger covers", function()
    local world = fake.world { p = { 400 }, f = { 200 } }
    says(notes_of(world, { targets = { "p/m", "f/m" }, trigger = { 429, "5xx" } }),
      'client_error 400: trigger = { 429, "5xx" } does not cover it, so it is returned')
  end)

  test("retries: which wait and why, and why there is none", function()
    local world = fake.world { p = { 500, { status = 429, retry_after = 2 }, { status = 429, retry_after = 99 } } }
    says(notes_of(world, { targets = { "p/m" }, retries = 3, backoff = { base = 0.5, jitter = "none" } }),
      "retry 1 of 3 on the same target in 0.5 s (back-off)",
      "retry 2 of 3 on the same target in 2 s (the provider's hint)",
      "no retry: the provider's hint of 99 s is beyond retry_after.max = 60 s",
      'nothing is left to try: when_exhausted = "last_error"')
  end)

  test("no retry beyond the deadline, for what retry_on leaves out, and after the last", function()
    local world = fake.world { p = { 500 } }
    local backoff = { base = 5, cap = 5, jitter = "none" }
    says(notes_of(world, { targets = { "p/m" }, retries = 1, backoff = backoff, deadline = 3 }),
      "no retry: the wait would go beyond the deadline, 3 s from now")
    says(notes_of(world, { targets = { "p/m" }, retries = 1, retry_on = { 429 } }),
      "no retry: retry_on = { 429 } does not cover server_error 500")
    says(notes_of(world, { targets = { "p/m" }, retries = 1 }), "no retry: 1 of 1 are used")
  end)

  test("the breaker opens, keeps off, lets one try, closes", function()
    local world = fake.world { p = { 500, 200 } }
    local settings = { targets = { "p/m" }, breaker = { failures = 1, recovery = 60 } }
    says(notes_of(world, settings), "the breaker of p/m opens for 60 s: 1 failures in a row")
    says(notes_of(world, settings), "skip p/m: its breaker is open for another 60 s",
      "nothing can be tried: the gateway answers 503, Retry-After 60 s")
    world:advance(61)
    says(notes_of(world, settings), "the breaker of p/m lets this request try it", "the breaker of p/m closes")
  end)

  test("a provider that is down, caps and switches", function()
    local world = fake.world { p = { 500, up = false }, f = { 500 }, g = { 200 } }
    says(notes_of(world, { targets = { "p/m", "f/m", "g/m" }, max_attempts = 1 }),
      "skip p/m: its provider is down", "no further attempt: max_attempts = 1 is reached")
    says(notes_of(world, { targets = { "f/m", "g/m" }, enabled = false }), "failover is switched off")
    says(notes_of(world, { targets = { "f/m", "g/m" }, opt_out_header = "x-no" }, { headers = { ["x-no"] = "1" } }),
      "the client sent x-no: only the first target")
  end)

  test("groups, long prompts and try_anyway", function()
    local world = fake.world { p = { { status = 400, outcome = "context_too_long" } }, f = { 200 } }
    says(notes_of(world, { targets = { { targets = { "p/m", "f/m" }, order = "round_robin" } },
      context_targets = { "f/large" } }), "order (listed): (p/m, f/m)", "in the group (round_robin): p/m, f/m",
      "context_too_long 400: on to context_targets")
    world.suspended["f/m"] = { ends = math.huge, reason = "maintenance" }
    says(notes_of(world, { targets = { "f/m" }, when_suspended = "try_anyway" }), "(maintenance)", "tries all")
  end)

  test("a note fits the core's limit, whatever the names", function()
    local providers, targets = {}, {}
    for i = 1, 20 do
      local name = ("provider-with-a-long-name-%d"):format(i)
      providers[name], targets[i] = { 200 }, name .. "/model"
    end
    expect.contains(notes_of(fake.world(providers), { targets = targets }), "...")
  end)
end
