-- SPDX-License-Identifier: MIT
-- Rows of SCENARIOS.tsv that can be told at this level, by settings alone unless the row says script.
-- The end-to-end tests play them over real sockets; here the decisions and waits are exact.

local expect = require "expect"
local fake = require "fake"
local failover = require "moongate.failover"

local FIXED = { base = 0.1, jitter = "none" }
local REFUSED = { outcome = "connect_error", sent = "nothing" }

local function calls(world, expected)
  for name, count in pairs(expected) do expect.equal(world.calls[name], count, "calls of " .. name) end
end

local function statuses(route, n, about)
  local out = {}
  for i = 1, n do
    local result = route:request(about)
    out[i] = result.kind == "unavailable" and "gateway" or result.status
  end
  return out
end

return function(test)
  test("A01 second wait is longer than the first", function()
    local world = fake.world { P = { 500, 500, 200 } }
    local route = world:route { targets = { "P/m" }, retries = 2, backoff = FIXED,
      retry_on = { 429, 500, 502, 503, 504 } }
    expect.equal(route:request().status, 200)
    expect.near(world.sent[2].at - world.sent[1].at, 0.1)
    expect.near(world.sent[3].at - world.sent[2].at, 0.2)
  end)

  test("A02 retries used up: the last answer", function()
    local world = fake.world { P = { 500 } }
    expect.equal(world:route({ targets = { "P/m" }, retries = 2 }):request().status, 500)
    calls(world, { P = 3 })
  end)

  test("A03 a 400 is not retried", function()
    local world = fake.world { P = { 400, 200 } }
    local result = world:route({ targets = { "P/m" }, retries = 3 }):request()
    expect.equal(result.status, 400)
    expect.equal(result.took, 0)
    calls(world, { P = 1 })
  end)

  test("A04 Retry-After is waited for", function()
    local world = fake.world { P = { { status = 429, retry_after = 2 }, 200 } }
    local result = world:route({ targets = { "P/m" }, retries = 3 }):request()
    expect.equal(result.status, 200)
    expect.between(result.took, 2, 2.6)
    calls(world, { P = 2 })
  end)

  test("A06 a hint beyond the longest tolerated: the 429 at once", function()
    local world = fake.world { P = { { status = 429, retry_after = 120 } } }
    local result = world:route({ targets = { "P/m" }, retries = 3 }):request()
    expect.equal(result.status, 429)
    expect.equal(result.value.retry_after, 120)
    expect.equal(result.took, 0)
    calls(world, { P = 1 })
  end)

  test("A08 an unreadable hint falls back to own back-off", function()
    local world = fake.world { P = { 429, 200 } } -- unreadable: the core gives none
    local result = world:route({ targets = { "P/m" }, retries = 1, backoff = FIXED }):request()
    expect.equal(result.status, 200)
    expect.between(result.took, 0, 0.5)
  end)

  test("A10 hint not honoured", function()
    local world = fake.world { P = { { status = 429, retry_after = 5 }, 200 } }
    local result = world:route({ targets = { "P/m" }, retries = 1, retry_after = { honour = false },
      backoff = { base = 0.2 } }):request()
    expect.equal(result.status, 200)
    expect.between(result.took, 0, 1)
  end)

  test("A11 a timeout is retried", function()
    local world = fake.world { P = { { after = math.huge, status = 200 }, 200 } }
    local result = world:route({ targets = { "P/m" }, retries = 1, request_timeout = 0.5 }):request()
    expect.equal(result.status, 200)
    expect.between(result.took, 0.5, 1.5)
    calls(world, { P = 2 })
  end)

  test("A13 a refused credential is not repeated", function()
    local world = fake.world { P = { 401 } }
    local route = world:route { targets = { "P/m" }, retries = 3 }
    expect.equal(route:request().outcome, "credential_error") -- the core makes it a 502
    calls(world, { P = 1 })
  end)

  test("A14 model not found is not retried", function()
    local world = fake.world { P = { 404 } }
    expect.equal(world:route({ targets = { "P/m" }, retries = 2, retry_on = { "5xx", 429 } }):request().status,
      404)
    calls(world, { P = 1 })
  end)

  test("A16 next target on 429", function()
    local world = fake.world { P = { 429 }, F1 = { 200 } }
    expect.equal(world:route({ targets = { "P/m", "F1/m" } }):request().status, 200)
    calls(world, { P = 1, F1 = 1 })
  end)

  test("A18 script: more retries for one header, for that request only", function()
    local more = { retries = 3 }
    local function handle(req, settings)
      if req:header("x-effort") == "high" then settings = failover.with(settings, more) end
      return failover.run(req, settings)
    end
    local world = fake.world { P = { 500 } }
    local route = world:route({ targets = { "P/m" }, retries = 1 }, handle)
    expect.equal(route:request({ headers = { ["x-effort"] = "high" } }).status, 500)
    calls(world, { P = 4 })
    expect.equal(route:request().status, 500)
    calls(world, { P = 6 })
  end)

  test("B01 fallback on 5xx, ten times, nothing remembered", function()
    local world = fake.world { P = { 500 }, F1 = { 200 } }
    local route = world:route { targets = { "P/m", "F1/m" } }
    for _ = 1, 10 do expect.equal(route:request().target, "F1/m") end
    calls(world, { P = 10, F1 = 10 })
  end)

  test("B02 no waiting on the 429 when another target exists", function()
    local world = fake.world { P = { { status = 429, retry_after = 20 } }, F1 = { 200 } }
    local result = world:route({ targets = { "P/m", "F1/m" } }):request()
    expect.equal(result.took, 0)
    calls(world, { P = 1, F1 = 1 })
  end)

  test("B03 fallback on connect failure", function()
    local world = fake.world { P = { REFUSED }, F1 = { 200 } }
    local route = world:route { targets = { "P/m", "F1/m" } }
    for _ = 1, 10 do expect.equal(route:request().took, 0) end
    calls(world, { F1 = 10 })
  end)

  test("B04 an answer of the gateway's own when everything failed", function()
    local world = fake.world { P = { 429 }, F1 = { 500 } }
    local result = world:route({ targets = { "P/m", "F1/m" }, when_exhausted = "unavailable" }):request()
    expect.equal(result.status, 502)
    expect.equal(result.code, "all_targets_failed")
    calls(world, { P = 1, F1 = 1 })
  end)

  test("B05 at most one extra target", function()
    local world = fake.world { T1 = { 500 }, T2 = { 500 }, T3 = { 500 } }
    local result = world:route({ targets = { "T1/m", "T2/m", "T3/m" }, max_attempts = 2 }):request()
    expect.equal(result.status, 500)
    expect.equal(result.kind, "attempt")
    calls(world, { T1 = 1, T2 = 1, T3 = 0 })
  end)

  test("B06 fallback only for early failures", function()
    local world = fake.world { P = { 500 }, F1 = { 200 } }
    expect.equal(world:route({ targets = { "P/m", "F1/m" }, slow_failure = 5 }):request().status, 200)
  end)

  test("B08 nothing set for one target leaks into the next", function()
    local world = fake.world { P = { 500 }, F1 = { 200 } }
    local route = world:route { targets = {
      { target = "P/A", set = { temperature = 0.9 } }, "F1/B" } }
    expect.equal(route:request({ model = "client-model" }).target, "F1/B")
    expect.equal(world.sent[1].options.set.temperature, 0.9)
    expect.equal(world.sent[2].options.set, nil)
  end)

  test("B09 fallback on 401 and 402", function()
    local world = fake.world { P = { 401 }, F1 = { 402 }, F2 = { 200 } }
    local route = world:route { targets = { "P/m", "F1/m", "F2/m" }, trigger = { 401, 402 } }
    expect.equal(route:request().target, "F2/m")
    calls(world, { P = 1, F1 = 1, F2 = 1 })
  end)

  test("B11 401 when only 429 and 5xx trigger", function()
    local world = fake.world { P = { 401 }, F1 = { 200 } }
    local route = world:route { targets = { "P/m", "F1/m" }, trigger = { 429, "5xx" } }
    expect.equal(route:request().outcome, "credential_error")
    calls(world, { P = 1, F1 = 0 })
  end)

  test("B12 500 when only 429 triggers", function()
    local world = fake.world { P = { 500 }, F1 = { 200 } }
    expect.equal(world:route({ targets = { "P/m", "F1/m" }, trigger = { 429 } }):request().status, 500)
    calls(world, { P = 1, F1 = 0 })
  end)

  test("B14 nested: one weighted pick with an inherited retry, then F1", function()
    local world = fake.world { A = { 500 }, B = { 500 }, F1 = { 200 } }
    local route = world:route { retries = 1, backoff = FIXED,
      targets = { { order = "weighted", targets = { "A/m", "B/m" } }, "F1/m" } }
    expect.equal(route:request().target, "F1/m")
    assert((world.calls.A == 2 and world.calls.B == 0) or (world.calls.A == 0 and world.calls.B == 2))
    calls(world, { F1 = 1 })
  end)

  test("B15 a chain", function()
    local world = fake.world { P = { REFUSED }, F1 = { 500 }, F2 = { 200 } }
    expect.equal(world:route({ targets = { "P/m", "F1/m", "F2/m" } }):request().trail,
      "P/m=connect_error F1/m=server_error F2/m=ok")
  end)

  test("B17 the client opts out", function()
    local world = fake.world { P = { 401 }, F1 = { 200 } }
    local route = world:route { targets = { "P/m", "F1/m" }, trigger = "any", opt_out_header = "x-no-fallback" }
    expect.equal(route:request({ headers = { ["x-no-fallback"] = "true" } }).outcome, "credential_error")
    calls(world, { P = 1, F1 = 0 })
  end)

  test("B18 context overflow goes to a larger model, other 400s do not", function()
    local world = fake.world { F1 = { 200 },
      P = { { status = 400, outcome = "context_too_long", code = "context_length_exceeded" }, 400 } }
    local route = world:route { targets = { "P/m" }, context_targets = { "F1/large" } }
    expect.equal(route:request().target, "F1/large")
    expect.equal(route:request().status, 400)
    calls(world, { P = 2, F1 = 1 })
  end)

  test("B18 script: by code", function()
    local world = fake.world { P = { { status = 400, code = "context_length_exceeded" }, 400 }, F1 = { 200 } }
    local route = world:route({ targets = { "P/m", "F1/m" } }, function(req, settings)
      return failover.run(req, settings, { on_result = function(_, attempt)
        if attempt.code == "context_length_exceeded" then return "next" end
      end })
    end)
    expect.equal(route:request().target, "F1/m")
    expect.equal(route:request().status, 400)
    calls(world, { P = 2, F1 = 1 })
  end)

  test("B23 a fault of the caller ends the chain", function()
    for _, status in ipairs { 400, 422 } do
      local world = fake.world { P = { status }, F1 = { 200 } }
      expect.equal(world:route({ targets = { "P/m", "F1/m" } }):request().status, status)
      calls(world, { P = 1, F1 = 0 })
    end
  end)

  test("B24 a 400 about the key is not a fault of the caller", function()
    local world = fake.world { P = { { status = 400, outcome = "credential_error" } }, F1 = { 200 } }
    expect.equal(world:route({ targets = { "P/m", "F1/m" } }):request().target, "F1/m")
  end)

  test("B26 two of one priority share, the next priority serves", function()
    local world = fake.world { A = { 500 }, B = { 500 }, C = { 200 } }
    local route = world:route { trigger = { "5xx" },
      targets = { { order = "round_robin", targets = { "A/m", "B/m" } }, "C/renamed" } }
    for _ = 1, 20 do expect.equal(route:request().target, "C/renamed") end
    calls(world, { A = 10, B = 10, C = 20 })
  end)

  test("B28 each retry with another key", function()
    local world = fake.world { k1 = { 429 }, k2 = { 500 }, k3 = { 200 } }
    local route = world:route { targets = { "k1/m", "k2/m", "k3/m" }, trigger = "any", max_attempts = 3 }
    expect.equal(route:request().status, 200)
    calls(world, { k1 = 1, k2 = 1, k3 = 1 })
  end)

  test("B29 any 4xx or 5xx, in listed order every time", function()
    local world = fake.world { P = { 403 }, F1 = { 404 }, F2 = { 200 } }
    local route = world:route { targets = { "P/m", "F1/m", "F2/m" }, trigger = "any" }
    for _ = 1, 5 do
      expect.equal(route:request().trail, "P/m=credential_error F1/m=model_unavailable F2/m=ok")
    end
  end)

  test("C01 moving off a dead key costs no retry", function()
    local world = fake.world { A = { 401 }, B = { 200 } }
    expect.equal(world:route({ targets = { "A/m", "B/m" }, retries = 0 }):request().status, 200)
  end)

  test("C02 an unknown model is asked of each key once", function()
    for _, retries in ipairs { 0, 3 } do
      local world = fake.world { A = { 404 }, B = { 404 } }
      expect.equal(world:route({ targets = { "A/m", "B/m" }, retries = retries }):request().status, 404)
      calls(world, { A = 1, B = 1 })
    end
  end)

  test("C04 all keys refused", function()
    local world = fake.world { A = { 401 }, B = { 401 } }
    expect.equal(world:route({ targets = { "A/m", "B/m" }, retries = 3 }):request().outcome,
      "credential_error")
    calls(world, { A = 1, B = 1 })
  end)

  test("C05 a spent quota moves on without a wait", function()
    local world = fake.world { A = { { status = 429, outcome = "quota_exhausted" } }, B = { 200 } }
    expect.equal(world:route({ targets = { "A/m", "B/m" } }):request().took, 0)
  end)

  test("C07 overload: the same key again", function()
    local world = fake.world { A = { 529, 200 }, B = { 200 } }
    expect.equal(world:route({ targets = { "A/m", "B/m" }, retries = 1 }):request().status, 200)
    calls(world, { A = 2, B = 0 })
  end)

  test("C08 a refused connection: the same key again", function()
    local world = fake.world { A = { REFUSED, 200 }, B = { 200 } }
    expect.equal(world:route({ targets = { "A/m", "B/m" }, retries = 1 }):request().status, 200)
    calls(world, { A = 2, B = 0 })
  end)

  test("C10 the pair is suspended, not the model name", function()
    local world = fake.world { P1 = { 200 }, P2 = { 429, 200 } }
    local route = world:route { targets = { "P1/m", "P2/m" }, order = "round_robin", suspend = 30,
      max_attempts = 1 }
    expect.list(statuses(route, 4), { 200, 429, 200, 200 })
    calls(world, { P1 = 3, P2 = 1 })
  end)

  test("D01 the breaker opens", function()
    local world = fake.world { P = { 200, 500, 503, 500, 200 } }
    local route = world:route { targets = { "P/m" }, breaker = { failures = 3 } }
    expect.list(statuses(route, 6), { 200, 500, 503, 500, "gateway", "gateway" })
    calls(world, { P = 4 })
  end)

  test("D02 successes reset the count", function()
    local world = fake.world { P = { 500, 500, 200, 200, 200, 500, 500 } }
    local route = world:route { targets = { "P/m" }, breaker = { failures = 3 } }
    expect.list(statuses(route, 7), { 500, 500, 200, 200, 200, 500, 500 })
    calls(world, { P = 7 })
  end)

  test("D03 a trial after the recovery closes it", function()
    local world = fake.world { P = { 500, 500, 500, 200 } }
    local route = world:route { targets = { "P/m" }, breaker = { failures = 3, recovery = 2 } }
    expect.list(statuses(route, 4), { 500, 500, 500, "gateway" })
    world:advance(3)
    expect.list(statuses(route, 5), { 200, 200, 200, 200, 200 })
    calls(world, { P = 8 })
  end)

  test("D06 every target open: try them anyway", function()
    local world = fake.world { P = { 500 }, F1 = { 500 } }
    local route = world:route { targets = { "P/m", "F1/m" }, breaker = { failures = 1 },
      when_suspended = "try_anyway" }
    route:request()
    local result = route:request()
    expect.equal(result.status, 500)
    expect.equal(#result.attempts, 2)
  end)

  test("D07 every target suspended: a 503 of the gateway", function()
    local world = fake.world { A = { 500 }, B = { 500 } }
    local route = world:route { targets = { "A/m", "B/m" }, suspend = 5, max_attempts = 1 }
    expect.list(statuses(route, 3), { 500, 500, "gateway" })
    calls(world, { A = 1, B = 1 })
  end)

  test("D08 a suspended target comes back", function()
    local world = fake.world { A = { 500, 200 }, B = { 200 } }
    local route = world:route { targets = { "A/m", "B/m" }, order = "weighted", suspend = 3,
      max_attempts = 1 }
    expect.list(statuses(route, 3), { 500, 200, 200 })
    calls(world, { B = 2 })
    world:advance(4)
    expect.list(statuses(route, 4), { 200, 200, 200, 200 })
    assert(world.calls.A > 1 and world.calls.B > 2, "both serve")
  end)

  test("D10 a fault of the caller never cools a target", function()
    for _, trigger in ipairs { "errors", "any" } do
      local world = fake.world { P = { 400, 200 } }
      local route = world:route { targets = { "P/m" }, suspend = 300, breaker = { failures = 1 },
        trigger = trigger }
      expect.list(statuses(route, 2), { 400, 200 })
    end
  end)

  test("D12 only the bad one of three is cooled", function()
    local function failing(share)
      return { function() return math.random() < share and 500 or 200 end }
    end
    local world = fake.world { bad = failing(0.6), x = failing(0.2), y = failing(0.2) }
    local route = world:route { targets = { "bad/m", "x/m", "y/m" }, order = "round_robin",
      max_attempts = 1, breaker = { ratio = 0.5, requests = 20, window = 600, recovery = 6000 } }
    for _ = 1, 300 do route:request() end
    assert(world.calls.bad < 50, "the bad one gets under half of its share")
    expect.equal(fake.moongate.store("breaker"):get("bad/m"), "open")
    expect.equal(fake.moongate.store("breaker"):get("x/m"), nil)
  end)

  test("D13 both failures of one request count, each for its own target", function()
    local world = fake.world { A = { 429 }, B = { 429 } }
    local route = world:route { targets = { "A/m", "B/m" }, suspend = 10 }
    expect.list(statuses(route, 2), { 429, "gateway" })
    calls(world, { A = 1, B = 1 })
  end)

  test("D15 a 429 takes the target out for its hint", function()
    local world = fake.world { A = { { status = 429, retry_after = 3 }, 200 }, B = { 200 } }
    local route = world:route { targets = { "A/m", "B/m" }, order = "round_robin", suspend = 1 }
    for _ = 1, 20 do expect.equal(route:request().status, 200) end
    calls(world, { A = 1, B = 20 })
    world:advance(4)
    for _ = 1, 50 do expect.equal(route:request().status, 200) end
    expect.between(world.calls.A, 20, 32, "calls of A")
  end)

  test("D17 answers of our own count against nobody", function()
    local world = fake.world { A = { 200 }, B = { 200 } }
    local route = world:route({ targets = { "A/m", "B/m" }, order = "round_robin", suspend = 60,
      breaker = { failures = 1 }, trigger = "any" }, function(req, settings)
      if req:header("x-bad") then return req:respond { status = 401 } end
      return failover.run(req, settings)
    end)
    expect.equal(route:request({ headers = { ["x-bad"] = "1" } }).status, 401)
    for _ = 1, 20 do expect.equal(route:request().status, 200) end
    calls(world, { A = 10, B = 10 })
  end)

  test("D18 the retry never goes back to the target that just failed", function()
    local world = fake.world { P = { 429 }, F1 = { 200 } }
    local route = world:route { targets = { "P/m", "F1/m" }, suspend = 1, max_attempts = 2 }
    expect.equal(route:request().trail, "P/m=rate_limited F1/m=ok")
  end)

  test("E02, E05, J07 failures of a stream before content move on", function()
    for _, reply in ipairs { { outcome = "empty_response", status = 200 },
      { outcome = "error_event", status = 200 }, { outcome = "stream_broken", status = 200 } } do
      local world = fake.world { P = { reply }, F1 = { 200 } }
      local route = world:route { targets = { "P/m", "F1/m" } }
      expect.equal(route:request({ stream = true }).target, "F1/m")
    end
  end)

  test("F01 nothing comes: the next target after the first-packet limit", function()
    local world = fake.world { P = { { status = 200, after = math.huge } }, F1 = { 200 } }
    local route = world:route { targets = { "P/m", "F1/m" }, first_packet_timeout = 1 }
    local result = route:request { stream = true }
    expect.equal(result.target, "F1/m")
    expect.equal(result.took, 1)
  end)

  test("F10 all retries within 1.5 s", function()
    local late = { status = 500, after = 1 }
    local world = fake.world { T1 = { late }, T2 = { late }, T3 = { late } }
    local result = world:route({ targets = { "T1/m", "T2/m", "T3/m" }, deadline = 1.5 }):request()
    expect.equal(result.status, 504)
    expect.equal(result.took, 1.5)
    calls(world, { T1 = 1, T2 = 1, T3 = 0 })
  end)

  test("I01 a success in between starts the count again", function()
    local world = fake.world { A = { 500, 500, 200, 500, 500, 500, 200 }, B = { 200 } }
    local route = world:route { targets = { "A/m", "B/m" }, breaker = { failures = 3 } }
    for _ = 1, 20 do expect.equal(route:request().status, 200) end
    calls(world, { A = 6 })
  end)

  test("J01 no replay once the body was fully sent", function()
    local cut = { outcome = "invalid_response", sent = "all" }
    local world = fake.world { P = { cut }, F1 = { 200 } }
    expect.equal(world:route({ targets = { "P/m", "F1/m" }, replay = false }):request().status, 502)
    calls(world, { P = 1, F1 = 0 })
    world = fake.world { P = { cut }, F1 = { 200 } }
    expect.equal(world:route({ targets = { "P/m", "F1/m" } }):request().status, 200)
    calls(world, { P = 1, F1 = 1 })
  end)

  test("J02 a kept connection that dies with the request is not sent twice", function()
    local world = fake.world { P = { 200, { outcome = "stale_connection", sent = "all", reused = true } } }
    local route = world:route { targets = { "P/m" }, replay = false }
    expect.list(statuses(route, 2), { 200, 502 })
    calls(world, { P = 2 })
  end)

  test("J04 never more tries than targets", function()
    local world = fake.world { T1 = { REFUSED }, T2 = { REFUSED } }
    expect.equal(world:route({ targets = { "T1/m", "T2/m" }, max_attempts = 4 }):request().status, 502)
    calls(world, { T1 = 1, T2 = 1 })
  end)

  test("M01 weights 4 and 1", function()
    local world = fake.world { A = { 200 }, B = { 200 } }
    local route = world:route { order = "weighted",
      targets = { { target = "A/m", weight = 4 }, { target = "B/m", weight = 1 } } }
    for _ = 1, 10 do route:request() end
    calls(world, { A = 8, B = 2 })
  end)

  test("M03 one session, one target; it moves when that fails, and stays moved", function()
    local world = fake.world { A = { 200 }, B = { 200 } }
    local route = world:route { targets = { "A/m", "B/m" }, order = "sticky", suspend = 5 }
    local about = { headers = { ["x-session-id"] = "s-1" } }
    local home = route:request(about).target
    for _ = 1, 7 do expect.equal(route:request(about).target, home) end
    calls(world, { [home:sub(1, 1)] = 8 })
    local down = world.providers[home:sub(1, 1)]
    local good = down.replies
    down.replies = { 500 }
    local other = route:request(about).target
    assert(other ~= home, "it moves")
    down.replies = good
    world:advance(100)
    for _ = 1, 5 do expect.equal(route:request(about).target, other) end
  end)

  test("use case: throttled big model, small model elsewhere, timeout 30, suspend 30", function()
    local world = fake.world { big = { { status = 429, retry_after = 2 }, 200 }, small = { 200 } }
    local route = world:route { targets = { "big/gpt-4o", "small/gpt-4o-mini" }, request_timeout = 30,
      suspend = 30 }
    expect.equal(route:request().trail, "big/gpt-4o=rate_limited small/gpt-4o-mini=ok")
    world:advance(29)
    expect.equal(route:request().trail, "small/gpt-4o-mini=ok")
    world:advance(1)
    expect.equal(route:request().trail, "big/gpt-4o=ok")
  end)

  test("use case: rotation, breaker, back-off, fallback, recovery, all at once", function()
    local world = fake.world { A = { 500 }, B = { 200 }, C = { 200 } }
    local route = world:route { retries = 1, backoff = { base = 0.1, jitter = 0.2 },
      breaker = { failures = 3, recovery = 60 },
      targets = { { order = "round_robin", targets = { "A/m", "B/m" } }, "C/m" } }
    for _ = 1, 20 do expect.equal(route:request().status, 200) end
    calls(world, { A = 6, C = 3 })
    world.providers.A.replies = { 200 }
    world:advance(60)
    for _ = 1, 10 do route:request() end
    assert(world.calls.A >= 10, "A is back")
    calls(world, { C = 3 })
  end)
end
