-- SPDX-License-Identifier: MIT
-- SCENARIOS.tsv, groups D and M: breakers, suspensions, what must not count against a target, weights and
-- sessions.

local sim = require "moongate.sim"

-- What n clients got, one after another: a status, or "gateway" for an answer of the gateway's own.
local function statuses(world, n, about)
  local out = {}
  for i = 1, n do
    local r = world:request(about)
    out[i] = r.status == 503 and #r.attempts == 0 and "gateway" or r.status
  end
  return out
end

local function same(value, n)
  local out = {}
  for i = 1, n do out[i] = value end
  return out
end

local function one(replies, settings)
  settings.targets = { "p/m" }
  return sim.world { settings = settings, providers = { p = replies } }
end

local function pair(a, b, settings)
  settings.targets = settings.targets or { "a/m", "b/m" }
  return sim.world { settings = settings, providers = { a = a, b = b } }
end

sim.test("D01 after three failures in a row the breaker answers", function()
  local world = one({ 200, 500, 503, 500, 200 }, { breaker = { failures = 3 } })
  sim.equal(statuses(world, 6), { 200, 500, 503, 500, "gateway", "gateway" })
  sim.equal(world.calls.p, 4)
  local r = world:request {}
  sim.equal(r.took, 0)
  sim.between(tonumber(r.headers["retry-after"]), 1, 61, "retry-after")
  sim.equal(world:store("breaker", "p/m"), "open")
end)

sim.test("D02 successes start the count again", function()
  local world = one({ 500, 500, 200, 200, 200, 500, 500 }, { breaker = { failures = 3 } })
  sim.equal(statuses(world, 7), { 500, 500, 200, 200, 200, 500, 500 })
  sim.equal(world.calls.p, 7)
end)

sim.test("D03 one trial after the recovery closes it", function()
  local world = one({ 500, 500, 500, 200 }, { breaker = { failures = 3, recovery = 2 } })
  sim.equal(statuses(world, 4), { 500, 500, 500, "gateway" })
  world:advance(3)
  sim.equal(statuses(world, 5), same(200, 5))
  sim.equal(world.calls.p, 8)
end)

sim.test("D03 a failed trial opens it for another recovery", function()
  local world = one({ 500, 500, 500, 200 }, { breaker = { failures = 2, recovery = 10 } })
  sim.equal(statuses(world, 3), { 500, 500, "gateway" })
  world:advance(10)
  sim.equal(statuses(world, 2), { 500, "gateway" })
  world:advance(9.9)
  sim.equal(statuses(world, 1), { "gateway" })
  world:advance(0.1)
  sim.equal(statuses(world, 2), { 200, 200 })
end)

sim.test("D03 one trial at a time", function()
  local world = one({ 500, { after = 5 }, 200 }, { breaker = { failures = 1, recovery = 3 } })
  sim.equal(statuses(world, 1), { 500 })
  world:advance(3)
  local trial = world:start {}
  world:advance(1)
  sim.equal(world.calls.p, 2)
  sim.equal(statuses(world, 3), same("gateway", 3))
  world:advance(5)
  sim.equal(trial.result.status, 200)
  sim.equal(statuses(world, 3), same(200, 3))
end)

sim.test("D06 every breaker open: real attempts anyway", function()
  local world = pair({ { status = 500, error = "real" } }, { { status = 500, error = "real" } },
    { breaker = { failures = 1 }, when_suspended = "try_anyway" })
  world:request {}
  local r = world:request {}
  sim.equal(r.status, 500)
  sim.equal(r:json "error.message", "real")
  sim.equal(#r.attempts, 2)
end)

sim.test("D07 every target suspended: a 503 of the gateway with the soonest recovery", function()
  local world = pair({ 500 }, { 500 }, { suspend = 5, max_attempts = 1 })
  sim.equal(statuses(world, 3), { 500, 500, "gateway" })
  sim.equal(world.calls, { a = 1, b = 1 })
  sim.equal(world:request({}).headers["retry-after"], "5")
end)

sim.test("D08 a suspended target comes back", function()
  local world = pair({ 500, 200 }, { 200 }, { order = "weighted", suspend = 3, max_attempts = 1 })
  sim.equal(statuses(world, 3), { 500, 200, 200 })
  sim.equal(world.calls.b, 2)
  sim.near(world:facts("a/m").suspended_for, 3, 0.01)
  world:advance(4)
  sim.equal(statuses(world, 4), same(200, 4))
  sim.ok(world.calls.a > 1 and world.calls.b > 2, "both serve")
end)

sim.test("D08 nothing is remembered without suspend", function()
  local world = pair({ 500 }, { 200 }, {})
  sim.equal(statuses(world, 3), same(200, 3))
  sim.equal(world.calls, { a = 3, b = 3 })
end)

sim.test("D10 a fault of the caller never cools a target", function()
  for _, trigger in ipairs { "errors", "any" } do
    local world = one({ 400, 200 }, { suspend = 300, breaker = { failures = 1 }, trigger = trigger })
    sim.equal(statuses(world, 2), { 400, 200 })
  end
end)

sim.test("D12 only the bad one of three is cooled", function()
  local r = sim.random(7)
  local function failing(share)
    return { function() return r:unit() < share and 500 or 200 end }
  end
  local world = sim.world {
    settings = { targets = { "bad/m", "x/m", "y/m" }, order = "round_robin", max_attempts = 1,
      breaker = { ratio = 0.5, requests = 20, window = 600, recovery = 6000 } },
    providers = { bad = failing(0.6), x = failing(0.2), y = failing(0.2) },
  }
  statuses(world, 300)
  sim.between(world.calls.bad, 1, 49, "calls of the bad one")
  sim.equal(world:store("breaker", "bad/m"), "open")
  sim.equal(world:store("breaker", "x/m"), nil)
  sim.equal(world:store("breaker", "y/m"), nil)
end)

sim.test("D13 both failures of one request count, each for its own target", function()
  local world = pair({ 429 }, { 429 }, { suspend = 10 })
  sim.equal(statuses(world, 2), { 429, "gateway" })
  sim.equal(world.calls, { a = 1, b = 1 })
end)

sim.test("D15 a 429 takes the target out for its hint", function()
  local world = pair({ { status = 429, retry_after = 3 }, 200 }, { 200 }, { order = "round_robin", suspend = 1 })
  sim.equal(statuses(world, 20), same(200, 20))
  sim.equal(world.calls, { a = 1, b = 20 })
  world:advance(4)
  sim.equal(statuses(world, 50), same(200, 50))
  sim.between(world.calls.a, 20, 32, "calls of a")
end)

sim.test("D17 answers of our own count against nobody", function()
  local world = sim.world {
    source = [[
      local failover = require "moongate.failover"
      return { name = "simulated", version = 1, settings = failover.settings, handle = function(req, settings)
        if req:header("x-guard") then return req:respond { status = 401, json = { error = { message = "guarded" } } } end
        return failover.run(req, settings)
      end }
    ]],
    settings = { targets = { "a/m", "b/m" }, order = "round_robin", suspend = 60, breaker = { failures = 1 }, trigger = "any" },
    providers = { a = { 200 }, b = { 200 } },
  }
  sim.equal(world:request({ headers = { ["x-guard"] = "1" } }).status, 401)
  sim.equal(statuses(world, 20), same(200, 20))
  sim.equal(world.calls, { a = 10, b = 10 })
end)

sim.test("D18 the retry never goes back to the target that just failed", function()
  local world = pair({ 429 }, { 200 }, { suspend = 1, max_attempts = 2 })
  sim.equal(world:request({}).trail, "a/m=rate_limited b/m=ok")
end)

sim.test("what is suspended is the pair of provider and model", function()
  local world = one({ 500, 200 }, { suspend = 60 })
  world = sim.world { settings = { targets = { "p/big", "p/small" }, suspend = 60 }, providers = { p = { 500, 200 } } }
  sim.equal(world:request({}).trail, "p/big=server_error p/small=ok")
  sim.equal(world:request({}).trail, "p/small=ok")
end)

sim.test("a rate limit suspends the whole quota group", function()
  local world = sim.world {
    settings = { targets = { "a/m", "b/m", "c/m" }, suspend = 60 },
    providers = { a = { 429, group = "org" }, b = { 200, group = "org" }, c = { 200 } },
  }
  world:request {}
  sim.equal(world:request({}).target, "c/m")
  sim.equal(world.calls.a, 1)
end)

sim.test("a provider that probes find down is passed over until it is up", function()
  local world = pair({ 200 }, { 200 }, {})
  world:probe("a", false)
  sim.equal(world:request({}).target, "b/m")
  world:probe("a", true)
  sim.equal(world:request({}).target, "a/m")
end)

sim.test("M01 weights 4 and 1", function()
  local world = pair({ 200 }, { 200 }, { order = "weighted",
    targets = { { target = "a/m", weight = 4 }, { target = "b/m", weight = 1 } } })
  sim.equal(statuses(world, 10), same(200, 10))
  sim.equal(world.calls, { a = 8, b = 2 })
end)

sim.test("M03 one session, one target; it moves when that fails, and stays moved", function()
  local world = pair({ 200 }, { 200 }, { order = "sticky", suspend = 5 })
  local about = { headers = { ["x-session-id"] = "s-1" } }
  local home = world:request(about).target
  for _ = 1, 7 do sim.equal(world:request(about).target, home) end
  local name = home:sub(1, 1)
  sim.equal(world.calls[name], 8)
  world.providers[name] = { 500 }
  local other = world:request(about).target
  sim.ok(other ~= home, "it moves")
  world.providers[name] = { 200 }
  world:advance(100)
  for _ = 1, 5 do sim.equal(world:request(about).target, other) end
end)

sim.test("M03 many sessions are spread", function()
  local world = pair({ 200 }, { 200 }, { order = "sticky" })
  for i = 1, 32 do world:request { headers = { ["x-session-id"] = "s" .. i } } end
  sim.ok(world.calls.a > 4 and world.calls.b > 4, "both serve sessions")
end)
