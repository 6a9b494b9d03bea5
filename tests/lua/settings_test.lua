-- SPDX-License-Identifier: MIT
-- Each row of DESIGN section 6's table, with its edge cases.

local expect = require "expect"
local fake = require "fake"
local failover = require "moongate.failover"
local schema = require "moongate.schema"

-- A world of p and f, and a route over both.
local function pair(p, f, settings)
  local world = fake.world { p = p, f = f or { 200 }, g = { 200 } }
  settings = settings or {}
  settings.targets = settings.targets or { "p/m", "f/m" }
  return world:route(settings), world
end

local NO_WAIT = { base = 0 }
local FIXED = { base = 1, cap = 8, jitter = "none" }

return function(test)
  -- enabled
  test("enabled = false: the first target, once", function()
    local route, world = pair({ 500 }, nil, { enabled = false, retries = 3, suspend = 10, breaker = true })
    for _ = 1, 5 do expect.equal(route:request().status, 500) end
    expect.equal(world.calls.p, 5)
    expect.equal(world.calls.f, 0)
    expect.equal(next(world.suspended), nil)
  end)

  test("enabled = false: whatever is suspended or down", function()
    local route, world = pair({ 200 }, nil, { enabled = false })
    fake.moongate.suspend("p/m", 100, "test")
    world.providers.p.up = false
    expect.equal(route:request().trail, "p/m=ok")
  end)

  test("enabled = false: time limits still hold, a stale connection is replaced", function()
    local route = pair({ { status = 200, after = 9 } }, nil, { enabled = false, request_timeout = 1 })
    expect.equal(route:request().outcome, "timeout_total")
    route = pair({ { outcome = "stale_connection", fresh = 200 } }, nil, { enabled = false })
    expect.equal(route:request().trail, "p/m=stale_connection p/m=ok")
    route = pair({ { outcome = "stale_connection", fresh = 200 } }, nil,
      { enabled = false, replay = false })
    expect.equal(route:request().trail, "p/m=stale_connection")
  end)

  test("enabled = false with a group first: its first choice", function()
    local route = pair({ 500 }, nil, { enabled = false, targets = { { targets = { "p/m", "f/m" } }, "g/m" } })
    expect.equal(route:request().trail, "p/m=server_error")
  end)

  -- targets
  test("targets: per-entry settings go with their target only", function()
    local route, world = pair({ 500 }, nil, { request_timeout = 20, retries = 0, backoff = NO_WAIT,
      targets = { { target = "p/m", retries = 2, request_timeout = 5, set = { temperature = 0.9 },
        unset = { "logit_bias" }, headers = { ["x-a"] = "1" } }, { target = "f/m", request_timeout = 50 } } })
    expect.equal(route:request().trail, "p/m=server_error p/m=server_error p/m=server_error f/m=ok")
    local first, last = world.sent[1].options, world.sent[4].options
    expect.equal(first.total, 5)
    expect.equal(first.set.temperature, 0.9)
    expect.equal(first.unset[1], "logit_bias")
    expect.equal(first.headers["x-a"], "1")
    expect.equal(last.total, 20, "the shortest limit wins")
    expect.equal(last.set or last.unset or last.headers, nil)
  end)

  test("targets: an entry may have no retries where others have", function()
    local route, world = pair({ 500 }, { 500 }, { retries = 2, backoff = NO_WAIT,
      targets = { { target = "p/m", retries = 0 }, "f/m" } })
    route:request()
    expect.equal(world.calls.p, 1)
    expect.equal(world.calls.f, 3)
  end)

  -- sandbox
  test("sandbox: only for keys of that environment", function()
    local route, world = pair({ 200 }, nil, { sandbox = { targets = { "f/m" } } })
    expect.equal(route:request({ environment = "production" }).target, "p/m")
    expect.equal(route:request({ environment = "sandbox" }).target, "f/m")
    expect.equal(route:request({ environment = "staging" }).target, "p/m")
    expect.equal(world.calls.f, 1)
  end)

  test("sandbox: any setting, the others stay", function()
    local route, world = pair({ 500 }, nil, { retries = 1, backoff = FIXED,
      sandbox = { backoff = { base = 4 }, suspend = 9 } })
    expect.equal(route:request().took, 1)
    expect.equal(next(world.suspended), nil)
    expect.equal(route:request({ environment = "sandbox" }).took, 4)
    expect.equal(world.suspended["p/m"].ends, world.time + 9)
  end)

  test("sandbox: a part of a table that is off is completed from the defaults", function()
    local route = pair({ 500 }, { 500 }, { targets = { "p/m" }, sandbox = { breaker = { failures = 1 } } })
    for _ = 1, 5 do expect.equal(route:request().status, 500) end
    expect.equal(route:request({ environment = "sandbox" }).status, 500)
    local result = route:request { environment = "sandbox" }
    expect.equal(result.kind, "unavailable")
    expect.equal(result.retry_after, 60)
  end)

  test("sandbox: switched off for itself only", function()
    local route = pair({ 500 }, nil, { sandbox = { enabled = false } })
    expect.equal(route:request().status, 200)
    expect.equal(route:request({ environment = "sandbox" }).status, 500)
  end)

  -- trigger
  test("trigger: backend_errors moves on for backend and credential, not for 429 and 404", function()
    for status, moves in pairs { [500] = true, [401] = true, [429] = false, [404] = false, [451] = false,
      [413] = false, [400] = false } do
      local route, world = pair({ status }, nil, { trigger = "backend_errors" })
      route:request()
      expect.equal(world.calls.f == 1, moves, status)
    end
  end)

  test("trigger: any moves on for every 4xx and 5xx", function()
    for _, status in ipairs { 400, 401, 402, 403, 404, 405, 409, 410, 413, 418, 422, 429, 451, 500, 501,
      503, 529, 599 } do
      local route, world = pair({ status }, nil, { trigger = "any" })
      expect.equal(route:request().status, 200)
      expect.equal(world.calls.f, 1, status)
    end
  end)

  test("trigger: lists", function()
    local route = pair({ 400 }, nil, { trigger = { 400 } })
    expect.equal(route:request().status, 200)
    route = pair({ 429 }, nil, { trigger = { "5xx" } })
    expect.equal(route:request().status, 429)
    route = pair({ { outcome = "connect_error" } }, nil, { trigger = { "connect_error" } })
    expect.equal(route:request().status, 200)
    route = pair({ { outcome = "dns_error" } }, nil, { trigger = { "connect_error" } })
    expect.equal(route:request().status, 502)
  end)

  test("trigger: an empty list never moves on", function()
    local route = pair({ 500 }, nil, { trigger = {} })
    expect.equal(route:request().status, 500)
  end)

  -- request_timeout, first_packet_timeout, idle_timeout
  test("request_timeout limits each attempt, 0 = off", function()
    local route = pair({ { status = 200, after = 90 } }, nil, { request_timeout = 30 })
    local result = route:request()
    expect.equal(result.trail, "p/m=timeout_total f/m=ok")
    expect.equal(result.took, 30)
    route = pair({ { status = 200, after = 90 } }, nil, { request_timeout = 0 })
    expect.equal(route:request().trail, "p/m=ok")
  end)

  test("first_packet_timeout: streams only, 0 = off", function()
    local settings = { first_packet_timeout = 2.5 }
    local route = pair({ { status = 200, after = 4 } }, nil, settings)
    local result = route:request { stream = true }
    expect.equal(result.trail, "p/m=timeout_first_token f/m=ok")
    expect.equal(result.took, 2.5)
    expect.equal(route:request({ stream = false }).trail, "p/m=ok")
    route = pair({ { status = 200, after = 4 } }, nil, {})
    expect.equal(route:request({ stream = true }).trail, "p/m=ok")
  end)

  test("what is off is not sent as a limit", function()
    local route, world = pair({ 200 }, nil, { request_timeout = 0, idle_timeout = 0 })
    route:request { stream = true }
    local options = world.sent[1].options
    expect.equal(options.total or options.first_token or options.idle, nil)
    route, world = pair({ 200 }, nil, { first_packet_timeout = 3 })
    route:request { stream = false }
    route:request { stream = true }
    expect.equal(world.sent[1].options.first_token, nil)
    expect.equal(world.sent[2].options.first_token, 3)
    route, world = pair({ 200 }, nil, { idle_timeout = 7 })
    route:request()
    expect.equal(world.sent[1].options.idle, 7)
  end)

  -- deadline
  test("deadline: covers attempts and waits; 0 = off", function()
    local route = pair({ { status = 500, after = 40 } }, { { status = 500, after = 40 } },
      { deadline = 60, request_timeout = 50 })
    local result = route:request()
    expect.equal(result.kind, "deadline")
    expect.equal(result.took, 60)
    route = pair({ { status = 200, after = 500 } }, nil, { deadline = 0, request_timeout = 0 })
    expect.equal(route:request().took, 500)
  end)

  test("deadline: a back-off that would pass it is not begun", function()
    local route = pair({ 500 }, nil, { deadline = 3, retries = 2, backoff = { base = 4, jitter = "none" } })
    local result = route:request()
    expect.equal(result.trail, "p/m=server_error f/m=ok")
    expect.equal(result.took, 0)
  end)

  -- max_attempts
  test("max_attempts: counts everything", function()
    local route, world = pair({ 500 }, { 500 }, { max_attempts = 3, retries = 1, backoff = NO_WAIT,
      targets = { "p/m", "f/m", "g/m" } })
    expect.equal(route:request().status, 500)
    expect.equal(world.calls.p, 2)
    expect.equal(world.calls.f, 1)
    expect.equal(world.calls.g, 0)
  end)

  test("max_attempts = 1: no failover, but what failed is remembered", function()
    local route = pair({ 500 }, nil, { max_attempts = 1, suspend = 10 })
    expect.equal(route:request().status, 500)
    expect.equal(route:request().trail, "f/m=ok")
  end)

  test("max_attempts above what there is repeats nothing", function()
    local route, world = pair({ 500 }, { 500 }, { max_attempts = 10 })
    route:request()
    expect.equal(world.calls.p, 1)
    expect.equal(world.calls.f, 1)
  end)

  test("max_attempts: a stale connection's second try counts, too", function()
    local route = pair({ { outcome = "stale_connection", fresh = 200 } }, nil, { max_attempts = 1 })
    expect.equal(route:request().trail, "p/m=stale_connection")
  end)

  -- retries, retry_on
  test("retries: on the same target, then the next", function()
    local route = pair({ 500 }, nil, { retries = 2, backoff = NO_WAIT })
    expect.equal(route:request().trail, "p/m=server_error p/m=server_error p/m=server_error f/m=ok")
  end)

  test("retry_on: others move on at once, or end", function()
    local route = pair({ 401 }, nil, { retries = 2, backoff = NO_WAIT })
    expect.equal(route:request().trail, "p/m=credential_error f/m=ok")
    route = pair({ 400 }, nil, { retries = 2 })
    expect.equal(route:request().trail, "p/m=client_error")
    route = pair({ 429 }, nil, { retries = 2, retry_on = { "backend" } })
    expect.equal(route:request().trail, "p/m=rate_limited f/m=ok")
    route = pair({ 400, 200 }, nil, { retries = 2, retry_on = { 400 }, backoff = NO_WAIT })
    expect.equal(route:request().trail, "p/m=client_error p/m=ok")
    route = pair({ 500, 200 }, nil, { retries = 2, retry_on = {} })
    expect.equal(route:request().trail, "p/m=server_error f/m=ok")
  end)

  test("retry_on: may name what does not trigger: retried, then returned", function()
    local route = pair({ 500 }, nil, { retries = 1, trigger = { 429 }, backoff = NO_WAIT })
    expect.equal(route:request().trail, "p/m=server_error p/m=server_error")
  end)

  test("retries stop at a failure that is not to be retried", function()
    local route = pair({ 500, 404 }, nil, { retries = 5, backoff = NO_WAIT })
    expect.equal(route:request().trail, "p/m=server_error p/m=model_unavailable f/m=ok")
  end)

  -- backoff
  test("backoff: exponential on the same target, none before another", function()
    local route, world = pair({ 500 }, { 500, 200 }, { retries = 3, backoff = FIXED })
    expect.equal(route:request().took, 1 + 2 + 4 + 1)
    local times = {}
    for i, call in ipairs(world.sent) do times[i] = ("%g"):format(call.at - 1000) end
    expect.list(times, { 0, 1, 3, 7, 7, 8 })
  end)

  -- retry_after
  test("retry_after: the hint replaces the back-off, shorter or longer", function()
    local route = pair({ { status = 429, retry_after = 5 }, { status = 429, retry_after = 0.1 }, 200 }, nil,
      { retries = 2, backoff = FIXED })
    expect.near(route:request().took, 5.1)
  end)

  test("retry_after: beyond max, on to the next target at once", function()
    local route = pair({ { status = 429, retry_after = 61 } }, nil, { retries = 3 })
    local result = route:request()
    expect.equal(result.trail, "p/m=rate_limited f/m=ok")
    expect.equal(result.took, 0)
  end)

  test("retry_after: beyond the deadline, too", function()
    local route = pair({ { status = 429, retry_after = 20 } }, nil, { retries = 3, deadline = 15 })
    expect.equal(route:request().trail, "p/m=rate_limited f/m=ok")
  end)

  test("retry_after: max can be raised", function()
    local route = pair({ { status = 429, retry_after = 90 }, 200 }, nil,
      { retries = 1, retry_after = { max = 100 } })
    expect.equal(route:request().took, 90)
  end)

  test("retry_after: not honoured", function()
    local route = pair({ { status = 429, retry_after = 90 }, 200 }, nil,
      { retries = 1, retry_after = { honour = false }, backoff = FIXED })
    expect.equal(route:request().took, 1)
  end)

  -- suspend
  test("suspend: after the tries of a request, not after each", function()
    local route, world = pair({ 500, 500, 200 }, nil, { retries = 1, suspend = 30, backoff = NO_WAIT })
    expect.equal(route:request().trail, "p/m=server_error p/m=server_error f/m=ok")
    expect.equal(route:request().trail, "f/m=ok")
    world:advance(30)
    expect.equal(route:request().trail, "p/m=ok")
  end)

  test("suspend: a retry that worked suspends nothing", function()
    local route, world = pair({ 500, 200 }, nil, { retries = 1, suspend = 30, backoff = NO_WAIT })
    expect.equal(route:request().status, 200)
    expect.equal(next(world.suspended), nil)
  end)

  test("suspend = 0: nothing is remembered, not even a hint", function()
    local route, world = pair({ { status = 429, retry_after = 30 } })
    route:request()
    expect.equal(next(world.suspended), nil)
    expect.equal(route:request().trail, "p/m=rate_limited f/m=ok")
  end)

  test("suspend: a hint only lengthens it", function()
    local route, world = pair({ { status = 429, retry_after = 100 } }, nil, { suspend = 30 })
    route:request()
    expect.equal(world.suspended["p/m"].ends, 1100)
    route, world = pair({ { status = 429, retry_after = 3 } }, nil, { suspend = 30 })
    route:request()
    expect.equal(world.suspended["p/m"].ends, 1030)
  end)

  test("suspend: only for failures that trigger", function()
    local route, world = pair({ 429 }, nil, { suspend = 30, trigger = "backend_errors" })
    route:request()
    expect.equal(next(world.suspended), nil)
  end)

  test("suspend: the pair, not the provider, not the model", function()
    local route = pair({ 500, 200 }, { 200 }, { suspend = 30, targets = { "p/m", "p/other", "f/m" } })
    expect.equal(route:request().trail, "p/m=server_error p/other=ok")
  end)

  test("suspend: a quota group only for rate limits", function()
    local world = fake.world { p = { 429, group = "org" }, f = { 200, group = "org" }, g = { 200 } }
    local route = world:route { targets = { "p/m", "f/m", "g/m" }, suspend = 30 }
    expect.equal(route:request().trail, "p/m=rate_limited g/m=ok")
    world = fake.world { p = { 500, group = "org" }, f = { 200, group = "org" }, g = { 200 } }
    route = world:route { targets = { "p/m", "f/m", "g/m" }, suspend = 30 }
    expect.equal(route:request().trail, "p/m=server_error f/m=ok")
  end)

  test("suspend: a passed-through key's own refusals suspend nothing", function()
    for _, status in ipairs { 401, 429 } do
      local world = fake.world { p = { status, passthrough = true }, f = { 200 } }
      local route = world:route { targets = { "p/m", "f/m" }, suspend = 30 }
      expect.equal(route:request().status, 200)
      expect.equal(next(world.suspended), nil, status)
    end
    local world = fake.world { p = { 500, passthrough = true }, f = { 200 } }
    world:route({ targets = { "p/m", "f/m" }, suspend = 30 }):request()
    expect.equal(world.suspended["p/m"].reason, "server_error")
  end)

  -- slow_failure
  test("slow_failure: a late failure is returned, an early one moves on", function()
    local route = pair({ { status = 500, after = 6 } }, nil, { slow_failure = 5, retries = 1 })
    expect.equal(route:request().trail, "p/m=server_error")
    route = pair({ { status = 500, after = 4 } }, nil, { slow_failure = 5 })
    expect.equal(route:request().trail, "p/m=server_error f/m=ok")
    route = pair({ { status = 500, after = 50 } }, nil, { slow_failure = 0 })
    expect.equal(route:request().trail, "p/m=server_error f/m=ok")
  end)

  test("slow_failure: a late success is a success", function()
    local route = pair({ { status = 200, after = 6 } }, nil, { slow_failure = 5 })
    expect.equal(route:request().trail, "p/m=ok")
  end)

  -- replay
  test("replay: a stale connection is tried once more, fresh, beyond the retry count, without a wait",
    function()
      local route, world = pair({ { outcome = "stale_connection", fresh = 200 } }, nil, { retries = 0 })
      local result = route:request()
      expect.equal(result.trail, "p/m=stale_connection p/m=ok")
      expect.equal(result.took, 0)
      expect.equal(world.sent[1].options.fresh, nil)
      expect.equal(world.sent[2].options.fresh, true)
    end)

  test("replay: only once; then retries and failover as ever", function()
    local route, world = pair({ { outcome = "stale_connection" } }, nil, { retries = 1, backoff = NO_WAIT })
    expect.equal(route:request().trail,
      "p/m=stale_connection p/m=stale_connection p/m=stale_connection f/m=ok")
    expect.equal(world.sent[3].options.fresh, nil)
  end)

  test("replay = false: a stale connection again only if nothing was sent", function()
    local route = pair({ { outcome = "stale_connection", sent = "nothing", fresh = 200 } }, nil,
      { replay = false })
    expect.equal(route:request().trail, "p/m=stale_connection p/m=ok")
    route = pair({ { outcome = "stale_connection", sent = "partial", fresh = 200 } }, nil, { replay = false })
    expect.equal(route:request().trail, "p/m=stale_connection f/m=ok")
    route = pair({ { outcome = "stale_connection", sent = "all", fresh = 200 } }, nil, { replay = false })
    expect.equal(route:request().trail, "p/m=stale_connection")
  end)

  test("replay = false: sent whole and not answered is neither retried nor failed over", function()
    for _, outcome in ipairs { "invalid_response", "timeout_first_byte", "stream_broken" } do
      local route = pair({ { outcome = outcome, sent = "all" } }, nil, { replay = false, retries = 3 })
      expect.equal(route:request().trail, "p/m=" .. outcome)
    end
  end)

  test("replay = false: an answer, or nothing sent, is retried and failed over", function()
    local route = pair({ 500 }, nil, { replay = false })
    expect.equal(route:request().trail, "p/m=server_error f/m=ok")
    route = pair({ { outcome = "connect_error", sent = "nothing" } }, nil, { replay = false })
    expect.equal(route:request().trail, "p/m=connect_error f/m=ok")
    route = pair({ { outcome = "empty_response", status = 200, sent = "all" } }, nil, { replay = false })
    expect.equal(route:request().trail, "p/m=empty_response f/m=ok")
  end)

  -- context_targets
  test("context_targets: used instead of the rest of the list", function()
    local route, world = pair({ { status = 400, outcome = "context_too_long" } }, nil,
      { context_targets = { "g/long" } })
    expect.equal(route:request().trail, "p/m=context_too_long g/long=ok")
    expect.equal(world.calls.f, 0)
    route = pair({ 413 }, nil, { context_targets = { "g/long" } })
    expect.equal(route:request().trail, "p/m=too_large g/long=ok")
  end)

  test("context_targets: whatever the trigger says", function()
    local route = pair({ 413 }, nil, { trigger = "backend_errors", context_targets = { "g/long" } })
    expect.equal(route:request().trail, "p/m=too_large g/long=ok")
  end)

  test("context_targets: other failures go down the list", function()
    local route = pair({ 500 }, nil, { context_targets = { "g/long" } })
    expect.equal(route:request().trail, "p/m=server_error f/m=ok")
  end)

  test("context_targets: never the target that just said so, and no loop", function()
    local route = pair({ 413 }, { 413 }, { context_targets = { "p/m", "f/m", "g/m" } })
    expect.equal(route:request().trail, "p/m=too_large f/m=too_large g/m=ok")
    route = pair({ 413 }, { 413 }, { context_targets = { "f/m" } })
    expect.equal(route:request().status, 413)
  end)

  -- retry_budget
  test("retry_budget: further attempts stop", function()
    local route, world = pair({ 500 }, nil, { retry_budget = { ratio = 0, min = 3 } })
    for _ = 1, 10 do route:request() end
    expect.equal(world.calls.p, 10)
    expect.equal(world.calls.f, 3)
  end)

  test("retry_budget: a share of recent requests, retries included", function()
    local route, world = pair({ 500 }, { 500 }, { retries = 1, backoff = NO_WAIT,
      retry_budget = { ratio = 0.5, min = 0 } })
    for _ = 1, 100 do route:request() end
    expect.between(world.calls.p + world.calls.f - 100, 45, 50, "further attempts")
  end)

  test("retry_budget: given back by time", function()
    local route, world = pair({ 500 }, nil, { retry_budget = { ratio = 0, min = 1 } })
    route:request()
    expect.equal(route:request().status, 500)
    world:advance(30)
    expect.equal(route:request().status, 200)
  end)

  test("retry_budget: shared by workers", function()
    local world = fake.world { p = { 500 }, f = { 200 } }
    local settings = { targets = { "p/m", "f/m" }, retry_budget = { ratio = 0, min = 1 } }
    local one, two = world:route(settings), world:route(settings)
    expect.equal(one:request().status, 200)
    expect.equal(two:request().status, 500)
  end)

  -- opt_out_header
  test("opt_out_header: no failover for a client that sends it", function()
    local route = pair({ 500 }, nil, { opt_out_header = "X-No-Fallback" })
    expect.equal(route:request({ headers = { ["x-no-fallback"] = "1" } }).trail, "p/m=server_error")
    expect.equal(route:request().trail, "p/m=server_error f/m=ok")
  end)

  test("opt_out_header: retries on its target remain, context_targets do not", function()
    local route = pair({ 500, 413 }, nil, { opt_out_header = "x-no", retries = 1, backoff = NO_WAIT,
      context_targets = { "g/m" } })
    expect.equal(route:request({ headers = { ["x-no"] = "1" } }).trail, "p/m=server_error p/m=too_large")
  end)

  test("opt_out_header: its target is suspended, nothing else is tried", function()
    local route = pair({ 200 }, nil, { opt_out_header = "x-no" })
    fake.moongate.suspend("p/m", 5, "test")
    expect.equal(route:request({ headers = { ["x-no"] = "1" } }).kind, "unavailable")
  end)

  -- when_suspended
  test("when_suspended: unavailable, at once, with the soonest real recovery", function()
    local route, world = pair({ 200 })
    fake.moongate.suspend("p/m", 50, "test")
    fake.moongate.suspend("f/m", 20, "test")
    local result = route:request()
    expect.equal(result.kind, "unavailable")
    expect.equal(result.retry_after, 20)
    expect.equal(result.took, 0)
    expect.equal(#world.sent, 0)
  end)

  test("when_suspended: soonest means all reasons of a target", function()
    -- p is suspended for 5 s, but its breaker is open for 60.
    local route = pair({ 500 }, { 500 }, { suspend = 5, breaker = { failures = 1, recovery = 60 },
      targets = { "p/m" } })
    route:request()
    expect.equal(route:request().retry_after, 60)
  end)

  test("when_suspended: of a group, its soonest member", function()
    local route = pair({ 200 }, nil, { targets = { { targets = { "p/m", "f/m" } } } })
    fake.moongate.suspend("p/m", 50, "test")
    fake.moongate.suspend("f/m", 20, "test")
    expect.equal(route:request().retry_after, 20)
  end)

  test("when_suspended: try_anyway, in order, for real", function()
    local route, world = pair({ 500 }, { 200 }, { when_suspended = "try_anyway", suspend = 30 })
    fake.moongate.suspend("p/m", 50, "test")
    fake.moongate.suspend("f/m", 20, "test")
    expect.equal(route:request().trail, "p/m=server_error f/m=ok")
    expect.equal(world.sent[1].options.force, true)
  end)

  test("when_suspended: try_anyway with one left uses that one only", function()
    local route = pair({ 200 }, { 500 }, { when_suspended = "try_anyway" })
    fake.moongate.suspend("p/m", 50, "test")
    expect.equal(route:request().trail, "f/m=server_error")
  end)

  test("when_suspended: try_anyway past an open breaker; a success closes it", function()
    local route = pair({ 500, 500, 200 }, nil, { targets = { "p/m" }, when_suspended = "try_anyway",
      breaker = { failures = 1, recovery = 60 } })
    route:request()
    expect.equal(route:request().status, 500)
    expect.equal(route:request().status, 200)
    expect.equal(fake.moongate.store("breaker"):get("p/m"), nil)
  end)

  -- when_exhausted
  test("when_exhausted: last_error, first_error, unavailable", function()
    local route = pair({ 500 }, { 429 }, {})
    expect.equal(route:request().status, 429)
    route = pair({ 500 }, { 429 }, { when_exhausted = "first_error" })
    expect.equal(route:request().status, 500)
    route = pair({ 500 }, { 429 }, { when_exhausted = "unavailable" })
    local result = route:request()
    expect.equal(result.status, 502)
    expect.equal(result.code, "all_targets_failed")
  end)

  test("when_exhausted: credential failures only when there is no other", function()
    local route = pair({ 401 }, { 500 }, { when_exhausted = "first_error" })
    expect.equal(route:request().status, 500)
    route = pair({ 500 }, { 401 }, {})
    expect.equal(route:request().status, 500)
    route = pair({ 401 }, { 403 }, { when_exhausted = "first_error" })
    expect.equal(route:request().status, 401)
    route = pair({ 401 }, { 403 }, {})
    expect.equal(route:request().outcome, "credential_error")
  end)

  test("when_exhausted: a passed-through key's refusal is the client's to know", function()
    local world = fake.world { p = { 401, passthrough = true }, f = { 500 } }
    local route = world:route { targets = { "p/m", "f/m" }, when_exhausted = "first_error" }
    expect.equal(route:request().status, 401)
  end)

  -- What check warns of.
  local function warned(settings)
    settings.targets = settings.targets or { "p/m", "f/m" }
    local completed, problems = schema.check(failover.settings, settings)
    expect.equal(#problems, 0, problems[1] and problems[1].message)
    local found = {}
    for i, problem in ipairs(failover.check(completed)) do
      expect.equal(problem.warning, true)
      found[i] = problem.path .. ": " .. problem.message
    end
    return table.concat(found, "\n")
  end

  test("warnings: none for the defaults, nor for what works", function()
    expect.equal(warned {}, "")
    expect.equal(warned { trigger = { "backend", 429, "5xx", "timeout_first_token" }, first_packet_timeout = 2,
      request_timeout = 30, deadline = 60, retries = 1, backoff = { base = 2 }, order = "sticky",
      sticky = { ttl = 60 }, breaker = { ratio = 0.5, window = 60 },
      targets = { { target = "p/m", weight = 2 }, "f/m" } }, "")
    expect.equal(warned { backoff = { base = 2 }, targets = { { target = "p/m", retries = 1 } } }, "")
    expect.equal(warned { sticky = { ttl = 9 }, targets = { { order = "sticky", targets = { "p/m" } } } }, "")
  end)

  test("warnings: triggers that nothing reaches", function()
    expect.equal(warned { trigger = { "backend", "1xx", 102, "suspended", "timeout_idle" } }, table.concat({
      'trigger[2]: "1xx" never happens: no answer ends with such a status',
      'trigger[3]: "102" never happens: no answer ends with such a status',
      'trigger[4]: "suspended" never happens: a target that is suspended is passed over, not tried',
      'trigger[5]: "timeout_idle" never happens: it comes after the first content, when nothing can be sent again',
    }, "\n"))
    expect.equal(warned { trigger = { "timeout_first_token" } },
      'trigger[1]: "timeout_first_token" never happens: first_packet_timeout is 0')
    expect.equal(warned { retry_on = { "1xx" } },
      'retry_on[1]: "1xx" never happens: no answer ends with such a status')
    expect.equal(warned { retries = 1, retry_on = {} }, "retry_on: is empty: the retries never happen")
    expect.equal(warned { retry_on = {} }, "")
    expect.equal(warned { trigger = {} }, "trigger: is empty: no failure moves on to the next target")
    expect.equal(warned { trigger = {}, targets = { "p/m" } }, "")
  end)

  test("warnings: limits that another one ends first", function()
    expect.equal(warned { deadline = 30 },
      "request_timeout: 60 s is never reached: the deadline ends the request after 30 s")
    expect.equal(warned { deadline = 60 }, "")
    expect.equal(warned { deadline = 900 }, "deadline: 900 s is never reached: the gateway ends the request after 600 s")
    expect.equal(warned { deadline = 0, request_timeout = 700 },
      "request_timeout: 700 s is never reached: the gateway ends the request after 600 s")
    expect.equal(warned { first_packet_timeout = 90 },
      "first_packet_timeout: 90 s is never reached: request_timeout ends the attempt after 60 s")
    expect.equal(warned { first_packet_timeout = 200, request_timeout = 0 },
      "first_packet_timeout: 200 s is never reached: the deadline ends the request after 120 s")
    expect.equal(warned { targets = { { targets = { { target = "p/m", request_timeout = 150 } } } } },
      "targets[1].targets[1].request_timeout: 150 s is never reached: the deadline ends the request after 120 s")
  end)

  test("warnings: settings of what is switched off", function()
    expect.equal(warned { backoff = { cap = 1 } }, "backoff: has no effect: no target has retries")
    expect.equal(warned { sticky = { header = "x" } }, 'sticky: has no effect: the order is "listed"')
    expect.equal(warned { retry_after = { honour = false, max = 9 } },
      "retry_after.max: has no effect: honour is false")
    expect.equal(warned { breaker = { window = 60, requests = 9 } },
      "breaker.requests: has no effect without a ratio\nbreaker.window: has no effect without a ratio")
    expect.equal(warned { targets = { { target = "p/m", weight = 2 }, "f/m" } },
      'targets[1].weight: has no effect: the order is "listed"')
    expect.equal(warned { retries = 1, backoff = { base = 9 } },
      "backoff.base: 9 s is above the cap: every wait is one of 8 s")
  end)

  test("warnings: the sandbox's own only", function()
    expect.equal(warned { deadline = 30, sandbox = { retries = 0 } },
      "request_timeout: 60 s is never reached: the deadline ends the request after 30 s")
    expect.equal(warned { sandbox = { deadline = 30 } },
      "sandbox.request_timeout: 60 s is never reached: the deadline ends the request after 30 s")
  end)
end
