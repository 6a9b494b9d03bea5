-- SPDX-License-Identifier: MIT
-- A simulation counts in a brief world, with steps that are made once: the same traffic, one request after the
-- other in a world of moongate.sim, must come to the same figures.

local sim = require "moongate.sim"
local play = require "moongate.simulate_play"
local scenario = require "moongate.simulate_scenario"

local TARGETS = { "a/m", "b/m" }
local LENGTH = 200 / 50 -- tokens of a completion by tokens per second
local BEGIN = 1000

local function plan_of(more)
  local value = {
    duration = 120, rate = 1, seed = 3,
    providers = { a = { outages = { { from = 30, to = 60, status = 503 }, { from = 80, to = 85, stall = true } } }, b = {} },
  }
  for name, item in pairs(more or {}) do value[name] = item end
  return scenario.of(value, "test.lua")
end

local function good(call)
  if not call.stream then return { after = 0.5 + LENGTH, usage = { 500, 200 } } end
  return { after = 0.1, first_token = 0.5, events = 4, gap = LENGTH / 3, usage = { 500, 200 } }
end

local function as_outages(call)
  local t = call.at - BEGIN
  if t >= 30 and t < 60 then return { status = 503, after = 0.1 } end
  if t >= 80 and t < 85 then return { never = true } end
  return good(call)
end

-- The plan's requests in a world of moongate.sim; what the tally would say.
local function slowly(plan, settings)
  local w = sim.world { settings = settings, seed = plan.seed,
    providers = { a = as_outages, b = good } }
  local handles, out, first = {}, { requests = 0, succeeded = 0, attempts = 0 }, {}
  for at, about in plan:requests() do
    w:advance_to(BEGIN + at)
    handles[#handles + 1] = w:start { stream = about.stream }
  end
  w:finish(handles)
  for _, handle in ipairs(handles) do
    local r = handle.result
    out.requests, out.attempts = out.requests + 1, out.attempts + #r.attempts
    if r.status == 200 and r.ended == "complete" then
      out.succeeded = out.succeeded + 1
      if handle.stream then first[#first + 1] = r.first_token end
    end
  end
  table.sort(first)
  out.p50, out.p99 = first[math.ceil(#first * 0.5)], first[math.ceil(#first * 0.99)]
  return out
end

local PLAIN = { targets = TARGETS, first_packet_timeout = 3, request_timeout = 20 }
local CASES = {
  { "no suspension", PLAIN },
  { "suspension", { targets = TARGETS, first_packet_timeout = 3, request_timeout = 20, suspend = 10 } },
  { "retries", { targets = { "a/m" }, retries = 2, request_timeout = 6 } },
}

for _, case in ipairs(CASES) do
  local name, settings = case[1], case[2]
  sim.test("a simulation comes to what its requests come to one by one: " .. name, function()
    local plan = plan_of()
    local quick = play(plan, { policy = "failover", settings = settings }, function() end)
    local slow = slowly(plan_of(), settings)
    sim.between(slow.requests, 90, 150)
    sim.equal(quick.requests, slow.requests, "requests")
    sim.equal(quick.succeeded, slow.succeeded, "succeeded")
    sim.near(quick.attempts, slow.attempts / slow.requests, 1e-9, "attempts")
    sim.near(quick.p50, slow.p50, 2e-6, "p50")
    sim.near(quick.p99, slow.p99, 2e-6, "p99")
  end)
end

sim.test("the same seed gives the same figures, another one others", function()
  local function run(seed)
    local made = plan_of { seed = seed, prompt = { median = 300, p99 = 4000 }, sessions = 5 }
    local summary = play(made, { policy = "failover", settings = PLAIN }, function() end)
    return summary
  end
  sim.equal(run(1), run(1))
  sim.ok(run(1).requests ~= run(2).requests or run(1).p99 ~= run(2).p99)
end)

sim.test("what is billed: all of an answer, nothing for a refused call, and what nobody got is wasted", function()
  local plan = plan_of { duration = 100, providers = {
    a = { price = { prompt = 2, completion = 10 }, outages = { { from = 0, to = 50, status = 503 } } } } }
  local got = play(plan, { policy = "failover", settings = { targets = { "a/m" } } }, function() end)
  sim.ok(got.succeeded > 10 and got.succeeded < got.requests)
  sim.near(got.cost, got.succeeded * (500 * 2 + 200 * 10) / 1e6)
  sim.near(got.wasted, 0)
end)

sim.test("a rate limit is that of each key", function()
  local keys = { { name = "a", secret = "sk-key-one" }, { name = "b", secret = "sk-key-two" } }
  local function served(config)
    local limited = { rate_limit = { requests = 28, per = 40, retry_after = 1 }, config = config }
    local figures = play(plan_of { providers = { a = limited } }, { policy = "failover", settings = { targets = { "a/m" } } },
      function() end)
    return figures.succeeded / figures.requests
  end
  sim.between(served({}), 0.5, 0.97)
  sim.between(served { api_keys = keys }, 0.99, 1)
end)
