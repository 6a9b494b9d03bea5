-- SPDX-License-Identifier: MIT
-- Providers that flap: up for a second, down for a second. Ten requests a second for twenty seconds of virtual time, so that every figure is exact.
-- (With real sockets, and the clock's noise: tests/e2e/test_faults_providers.py.)

local sim = require "moongate.sim"

local REQUESTS = 200

-- A reply by the parity of the second; `odd` is when it is up.
local function flapping(odd, down)
  return function(call)
    local second = math.floor(call.at + 1e-6)
    return (second % 2 == 1) == odd and 200 or down
  end
end

-- Plays them: the share of answers that are 200, and the world.
local function play(providers, settings)
  local world = sim.world { settings = settings, providers = providers }
  local handles, good = {}, 0
  for i = 1, REQUESTS do
    handles[i] = world:start {}
    world:advance(0.1)
  end
  world:finish(handles)
  for _, handle in ipairs(handles) do
    if handle.result.status == 200 then good = good + 1 end
  end
  return good / REQUESTS, world
end


sim.test("a flapping provider before a steady one: no request fails", function()
  local share, world = play({ p = flapping(true, 500), spare = 200 }, { targets = { "p/m", "spare/m" } })
  sim.equal(share, 1)
  sim.equal(world.calls.p, REQUESTS)
end)

sim.test("a breaker keeps most requests off it while it is down", function()
  local share, world = play({ p = flapping(true, 500), spare = 200 },
    { targets = { "p/m", "spare/m" }, breaker = { failures = 3, recovery = 0.95 } })
  sim.equal(share, 1)
  -- Ten times down: 3 failures to open it and one probe at most, of ten requests.
  local tried = REQUESTS - world.calls.spare
  sim.ok(world.calls.p - tried <= 10 * 4, ("%d calls in vain"):format(world.calls.p - tried))
  sim.ok(tried >= 70, ("%d requests served by p"):format(tried))
end)

sim.test("a suspension keeps all but one off it", function()
  local share, world = play({ p = flapping(true, 500), spare = 200 },
    { targets = { "p/m", "spare/m" }, suspend = 0.95 })
  sim.equal(share, 1)
  local vain = world.calls.p - (REQUESTS - world.calls.spare)
  sim.ok(vain <= 20, ("%d calls in vain"):format(vain))
end)

sim.test("two that flap in turns: one is always up, and no request fails", function()
  for _, down in ipairs { 500, 429, { refuse = true } } do
    local share = play({ a = flapping(true, down), b = flapping(false, down) }, { targets = { "a/m", "b/m" } })
    sim.equal(share, 1)
  end
end)

sim.test("two that flap in turns, with breakers: lost is at most what comes while the one that is up is still shut", function()
  local providers = { a = flapping(true, 500), b = flapping(false, 500) }
  local share = play(providers, { targets = { "a/m", "b/m" }, breaker = { failures = 3, recovery = 0.2 },
    when_suspended = "try_anyway" })
  sim.ok(share >= 0.8, ("%.3f succeeded"):format(share)) -- 0.2 of each second
end)

sim.test("one that flaps alone: retries with back-off bring nearly all home", function()
  local share = play({ p = flapping(true, 503) },
    { targets = { "p/m" }, retries = 4, backoff = { base = 0.5, cap = 1, jitter = "none" }, deadline = 10 })
  sim.equal(share, 1)
end)

sim.test("one that flaps by falling silent: the time limit moves every request on", function()
  local share = play({ p = flapping(true, { never = true }), spare = 200 },
    { targets = { "p/m", "spare/m" }, request_timeout = 0.3, breaker = { failures = 3, recovery = 0.7 } })
  sim.equal(share, 1)
end)
