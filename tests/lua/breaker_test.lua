-- SPDX-License-Identifier: MIT
-- The circuit breaker, through the policy and by itself.

local expect = require "expect"
local fake = require "fake"

local function state(name) return fake.moongate.store("breaker"):get(name) end

local function route_of(world, breaker, more)
  local settings = { targets = { "p/m" }, breaker = breaker }
  for key, value in pairs(more or {}) do settings[key] = value end
  return world:route(settings)
end

local function statuses(route, n)
  local out = {}
  for i = 1, n do
    local result = route:request()
    out[i] = result.kind == "unavailable" and "open" or result.status
  end
  return out
end

return function(test)
  test("opens after so many failures in a row, for `recovery` seconds", function()
    local world = fake.world { p = { 500 } }
    local route = route_of(world, { failures = 2, recovery = 10 })
    expect.list(statuses(route, 3), { 500, 500, "open" })
    expect.equal(state("p/m"), "open")
    expect.equal(route:request().retry_after, 10)
    world:advance(4)
    expect.equal(route:request().retry_after, 6)
    expect.equal(world.calls.p, 2)
  end)

  test("a success in between starts the count again", function()
    local world = fake.world { p = { 500, 500, 200, 500, 500, 200 } }
    expect.list(statuses(route_of(world, true), 6), { 500, 500, 200, 500, 500, 200 })
    expect.equal(state("p/m"), nil)
  end)

  test("a request with retries counts once", function()
    local world = fake.world { p = { 500 } }
    local route = route_of(world, { failures = 2 }, { retries = 3, backoff = { base = 0 } })
    route:request()
    expect.equal(state("p/m"), nil)
    route:request()
    expect.equal(state("p/m"), "open")
    expect.equal(world.calls.p, 8)
  end)

  test("a good probe closes", function()
    local world = fake.world { p = { 500, 200 } }
    local route = route_of(world, { failures = 1, recovery = 5 })
    expect.list(statuses(route, 2), { 500, "open" })
    world:advance(5)
    expect.list(statuses(route, 3), { 200, 200, 200 })
    expect.equal(state("p/m"), nil)
  end)

  test("a bad probe opens again, for another recovery", function()
    local world = fake.world { p = { 500 } }
    local route = route_of(world, { failures = 3, recovery = 5 })
    expect.list(statuses(route, 4), { 500, 500, 500, "open" })
    world:advance(5)
    expect.list(statuses(route, 2), { 500, "open" })
    expect.equal(route:request().retry_after, 5)
    expect.equal(world.calls.p, 4)
  end)

  test("half open lets one probe through at a time", function()
    local world = fake.world { p = { 500, { status = 200, after = 3 } } }
    local route = route_of(world, { failures = 1, recovery = 5 })
    route:request()
    world:advance(5)
    local probe = route:start()
    expect.equal(state("p/m"), "half_open")
    expect.list(statuses(route, 2), { "open", "open" })
    expect.equal(world.calls.p, 2)
    world:advance(3)
    expect.equal(probe.result.status, 200)
    expect.list(statuses(route, 1), { 200 })
  end)

  test("a probe's retries belong to the probe, its turn is kept while it waits", function()
    local world = fake.world { p = { 500, 500, { status = 200, after = 1 } } }
    local route = route_of(world, { failures = 1, recovery = 5 },
      { retries = 1, backoff = { base = 30, cap = 30, jitter = "none" }, request_timeout = 2 })
    route:request() -- two tries, opens
    world:advance(5)
    world.providers.p.count = 1
    local probe = route:start() -- 500, waits 30 s, then 200
    world:advance(20)
    expect.list(statuses(route, 1), { "open" })
    world:advance(11)
    expect.equal(probe.result.status, 200)
    expect.equal(state("p/m"), nil)
  end)

  test("a probe whose client leaves does not block the breaker for ever", function()
    local world = fake.world { p = { 500, { status = 200, after = math.huge }, 200 } }
    local route = route_of(world, { failures = 1, recovery = 5 }, { request_timeout = 10 })
    route:request()
    world:advance(5)
    world:leave(route:start())
    expect.list(statuses(route, 1), { "open" })
    world:advance(11.5)
    expect.list(statuses(route, 1), { 200 })
  end)

  test("a probe that ends in the caller's fault gives the turn back and decides nothing", function()
    local world = fake.world { p = { 500, 400, 200 } }
    local route = route_of(world, { failures = 1, recovery = 5 })
    route:request()
    world:advance(5)
    expect.list(statuses(route, 1), { 400 })
    expect.equal(state("p/m"), "half_open")
    expect.list(statuses(route, 1), { 200 })
    expect.equal(state("p/m"), nil)
  end)

  test("an up verdict later than the opening closes it", function()
    local world = fake.world { p = { 500, 200 } }
    local route = route_of(world, { failures = 1, recovery = 600 })
    world.providers.p.up_since = world.time - 1
    route:request()
    expect.list(statuses(route, 1), { "open" })
    world:advance(10)
    world.providers.p.up_since = world.time
    expect.list(statuses(route, 1), { 200 })
    expect.equal(state("p/m"), nil)
  end)

  test("deleting the state closes it", function()
    local world = fake.world { p = { 500, 500, 500, 200 } }
    local route = route_of(world, { failures = 2, recovery = 600 })
    statuses(route, 2)
    fake.moongate.store("breaker"):del("p/m")
    expect.list(statuses(route, 2), { 500, 200 })
  end)

  test("a request that began before it opened does not close it by ending well", function()
    local world = fake.world { p = { { status = 200, after = 5 }, 500, 500 } }
    local route = route_of(world, { failures = 2, recovery = 60 })
    local slow = route:start()
    statuses(route, 2)
    world:advance(5)
    expect.equal(slow.result.status, 200)
    expect.equal(state("p/m"), "open")
  end)

  test("ratio: judged at every result, a success too", function()
    local world = fake.world { p = { 500, 500, 500, 200, 200, 200 } }
    local route = route_of(world, { ratio = 0.5, requests = 5, window = 30 })
    expect.list(statuses(route, 6), { 500, 500, 500, 200, 200, "open" })
  end)

  test("ratio alone does not count failures in a row", function()
    local world = fake.world { p = { 500 } }
    local route = route_of(world, { ratio = 1, requests = 6, window = 30 })
    expect.list(statuses(route, 7), { 500, 500, 500, 500, 500, 500, "open" })
  end)

  test("ratio and failures together: what comes first", function()
    local world = fake.world { p = { 500 } }
    local route = route_of(world, { ratio = 1, requests = 6, failures = 2 })
    expect.list(statuses(route, 3), { 500, 500, "open" })
  end)

  test("ratio: what is older than the window is forgotten", function()
    local world = fake.world { p = { 500, 500, 200 } }
    local route = route_of(world, { ratio = 0.5, requests = 4, window = 10 })
    statuses(route, 2)
    world:advance(11)
    expect.list(statuses(route, 6), { 200, 200, 200, 200, 200, 200 })
  end)

  test("ratio: after closing it starts anew", function()
    local world = fake.world { p = { 500, 500, 500, 500, 200, 500, 200 } }
    local route = route_of(world, { ratio = 0.5, requests = 4, window = 600, recovery = 5 })
    expect.list(statuses(route, 5), { 500, 500, 500, 500, "open" })
    world:advance(5)
    expect.list(statuses(route, 4), { 200, 500, 200, 200 })
    expect.equal(state("p/m"), nil)
  end)

  test("ratio: below `requests` nothing is judged", function()
    local world = fake.world { p = { 500 } }
    expect.list(statuses(route_of(world, { ratio = 0.1, requests = 5 }), 4), { 500, 500, 500, 500 })
  end)

  test("the next target serves while one is open, its own breaker apart", function()
    local world = fake.world { p = { 500 }, f = { 200 } }
    local route = world:route { targets = { "p/m", "f/m" }, breaker = { failures = 2 } }
    for _ = 1, 5 do expect.equal(route:request().status, 200) end
    expect.equal(world.calls.p, 2)
    expect.equal(world.calls.f, 5)
    expect.equal(state("f/m"), nil)
  end)

  test("workers share it", function()
    local world = fake.world { p = { 500 } }
    local one, two = route_of(world, { failures = 2 }), route_of(world, { failures = 2 })
    one:request()
    two:request()
    expect.equal(one:request().kind, "unavailable")
  end)

  test("a passed-through key's failures do not count", function()
    local world = fake.world { p = { 401, passthrough = true } }
    expect.list(statuses(route_of(world, { failures = 1 }), 3), { 401, 401, 401 })
  end)

  test("a full store is logged, requests go on", function()
    local world = fake.world { p = { 500 } }
    world.full = true
    local route = route_of(world, { failures = 1 })
    expect.list(statuses(route, 2), { 500, 500 })
  end)

  test("two that find it half open at the same moment: one gets the turn", function()
    fake.world {}
    local one = require("moongate.breaker").new { failures = 1, recovery = 5 }
    one.wait = function() return 0, "half_open" end
    expect.equal(one:enter("p/m", 0, "r1", 9), "probe")
    expect.equal(one:enter("p/m", 0, "r2", 9), nil)
    one:record("p/m", nil, "probe", "r2")
    expect.equal(one:enter("p/m", 0, "r3", 9), nil, "a turn is given back by its holder only")
  end)

  test("opening and closing are logged", function()
    local world = fake.world { p = { 500, 200 } }
    local route = route_of(world, { failures = 1, recovery = 1 })
    route:request()
    world:advance(1)
    route:request()
    expect.contains(world.logged[1], "breaker of p/m opened")
    expect.contains(world.logged[2], "breaker of p/m closed")
  end)
end
