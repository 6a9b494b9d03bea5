-- SPDX-License-Identifier: MIT
-- req:race (moongate.race): hedged attempts.

local expect = require "expect"
local fake = require "fake"

local function slow(seconds) return { { status = 200, after = seconds } } end

local function race(world, entries, options)
  return world:route({ targets = { "a" } }, function(req) return req:race(entries, options) end)
end

local BOTH = { { "a/m" }, { "b/m" } }

return function(test)
  test("a quick first attempt runs alone", function()
    local world = fake.world { a = slow(0.4), b = slow(0) }
    local result = race(world, BOTH, { delay = 0.5 }):request()
    expect.equal(result.target, "a/m")
    expect.equal(world.calls.b, 0)
  end)

  test("a slow first attempt is overtaken, and cancelled", function()
    local world = fake.world { a = slow(10), b = slow(1) }
    local result = race(world, BOTH, { delay = 0.5 }):request()
    expect.equal(result.target, "b/m")
    expect.near(result.took, 1.5)
    expect.equal(result.attempts[1].outcome, "cancelled")
    expect.equal(world.facts["a/m"].inflight, 0)
    expect.equal(world.facts["a/m"].failures, 0)
  end)

  test("the first may still win", function()
    local world = fake.world { a = slow(1), b = slow(10) }
    local result = race(world, BOTH, { delay = 0.5 }):request()
    expect.equal(result.target, "a/m")
    expect.equal(result.attempts[2].outcome, "cancelled")
  end)

  test("losers are cancelled at once, whatever the policy does next", function()
    local world = fake.world { a = slow(100), b = slow(1) }
    local route = world:route({ targets = { "a" } }, function(req)
      local winner = req:race(BOTH, { delay = 0.5 })
      req:sleep(5)
      return winner
    end)
    route:start()
    world:advance(3)
    expect.equal(world.facts["a/m"].inflight, 0)
  end)

  test("a failure of one does not end the other; of all, the last is returned", function()
    local world = fake.world { a = slow(2), b = { 500 } }
    expect.equal(race(world, BOTH):request().target, "a/m")
    world = fake.world { a = { { status = 500, after = 2 } }, b = { 503 } }
    expect.equal(race(world, BOTH):request().status, 500)
  end)

  test("a first attempt that fails has the second started at once", function()
    local world = fake.world { a = { 500 }, b = slow(1) }
    local result = race(world, BOTH, { delay = 5 }):request()
    expect.equal(result.target, "b/m")
    expect.near(result.took, 1)
  end)

  test("a fault of the caller ends the race", function()
    local world = fake.world { a = { 400 }, b = { 200 } }
    expect.equal(race(world, BOTH):request().status, 400)
    expect.equal(world.calls.b, 0)
  end)

  test("a suspended first has the second started at once", function()
    local world = fake.world { a = { 200 }, b = { 200 } }
    fake.moongate.suspend("a/m", 9, "test")
    expect.equal(race(world, BOTH):request().target, "b/m")
  end)

  test("three start one after another", function()
    local world = fake.world { a = slow(100), b = slow(100), c = slow(1) }
    local result = race(world, { { "a/m" }, { "b/m" }, { "c/m", { total = 9 } } }, { delay = 1 }):request()
    expect.equal(result.target, "c/m")
    expect.near(result.took, 3)
    expect.equal(world.sent[3].options.total, 9)
  end)

  test("budget: no more extra attempts than that share of requests", function()
    local world = fake.world { a = slow(0.6), b = slow(1) }
    local route = race(world, BOTH, { delay = 0.5, budget = 0.1 })
    for _ = 1, 50 do route:request() end
    expect.between(world.calls.b, 1, 5, "extra attempts")
  end)

  test("misuse raises", function()
    local world = fake.world { a = { 200 } }
    local function try(entries, options)
      local route = race(world, entries, options)
      return route.request, route
    end
    expect.raises("expected a list", try({}))
    expect.raises("entry 1", try({ "a/m" }))
    expect.raises('no option "dealy"', try(BOTH, { dealy = 1 }))
    expect.raises("delay: expected a number", try(BOTH, { delay = -1 }))
  end)
end
