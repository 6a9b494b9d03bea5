-- SPDX-License-Identifier: MIT
-- Orders of targets, through the policy: which is asked first, which next, and how the share of a target
-- that is out is spread.

local expect = require "expect"
local fake = require "fake"

local function world_of(a, b, c)
  return fake.world { a = a or { 200 }, b = b or { 200 }, c = c or { 200 } }
end

local function ask(route, n, about)
  local counts = {}
  for _ = 1, n do
    local result = route:request(about)
    counts[result.target or result.kind] = (counts[result.target or result.kind] or 0) + 1
  end
  return counts
end

return function(test)
  test("listed: the first, always", function()
    local world = world_of()
    ask(world:route { targets = { "a/m", "b/m" } }, 5)
    expect.equal(world.calls.a, 5)
    expect.equal(world.calls.b, 0)
  end)

  test("round_robin takes turns and ignores weights", function()
    local world = world_of()
    ask(world:route { targets = { { target = "a/m", weight = 5 }, "b/m", "c/m" }, order = "round_robin" }, 9)
    expect.list({ world.calls.a, world.calls.b, world.calls.c }, { 3, 3, 3 })
  end)

  test("round_robin spreads the share of a target that is out evenly", function()
    local world = world_of({ 500 })
    local route = world:route { targets = { "a/m", "b/m", "c/m" }, order = "round_robin", suspend = 1000 }
    ask(route, 61)
    expect.equal(world.calls.a, 1)
    expect.between(world.calls.b, 29, 32, "calls of b")
    expect.between(world.calls.c, 29, 32, "calls of c")
  end)

  test("weighted spreads the share of a target that is out by weight", function()
    local world = world_of({ 500 })
    local route = world:route { order = "weighted", suspend = 10000, targets = {
      { target = "a/m", weight = 4 }, { target = "b/m", weight = 3 }, { target = "c/m", weight = 1 } } }
    ask(route, 401)
    expect.equal(world.calls.a, 1)
    expect.between(world.calls.b, 290, 310, "calls of b")
    expect.between(world.calls.c, 90, 110, "calls of c")
  end)

  test("weighted: weight 0 is a reserve", function()
    local world = world_of({ 200, 500 }, { 500 })
    local route = world:route { order = "weighted", targets = {
      { target = "c/m", weight = 0 }, "a/m", "b/m" } }
    expect.equal(route:request().target, "a/m")
    expect.equal(route:request().trail, "b/m=server_error a/m=server_error c/m=ok")
  end)

  test("two routes with the same targets in one gateway share a rotation, workers too", function()
    local world = world_of()
    local settings = { targets = { "a/m", "b/m" }, order = "round_robin" }
    local one, two = world:route(settings), world:route(settings)
    expect.list({ one:request().target, two:request().target, one:request().target,
      two:request().target }, { "a/m", "b/m", "a/m", "b/m" })
  end)

  test("a reload with other targets starts a rotation of its own", function()
    local world = world_of()
    world:route({ targets = { "a/m", "b/m" }, order = "round_robin" }):request()
    local route = world:route { targets = { "a/m", "b/m", "c/m" }, order = "round_robin" }
    expect.equal(route:request().target, "a/m")
  end)

  test("least_busy: the one with the fewest in flight", function()
    local world = world_of({ { status = 200, after = 10 } }, { { status = 200, after = 10 } })
    local route = world:route { targets = { "a/m", "b/m" }, order = "least_busy" }
    for _ = 1, 10 do route:start() end
    expect.list({ world.calls.a, world.calls.b }, { 5, 5 })
  end)

  test("least_busy: ties are spread", function()
    local world = world_of()
    local counts = ask(world:route { targets = { "a/m", "b/m" }, order = "least_busy" }, 200)
    expect.between(counts["a/m"], 50, 150, "calls of a")
  end)

  test("least_busy: an idle target that is suspended is not chosen", function()
    local world = world_of({ { status = 200, after = 10 } })
    local route = world:route { targets = { "a/m", "b/m" }, order = "least_busy" }
    fake.moongate.suspend("b/m", 100, "test")
    for _ = 1, 3 do route:start() end
    expect.list({ world.calls.a, world.calls.b }, { 3, 0 })
  end)

  test("fastest: mostly the faster of two, now and then another", function()
    local world = world_of()
    world.facts["a/m"] = { inflight = 0, ewma = 0.2, successes = 1, failures = 0 }
    world.facts["b/m"] = { inflight = 0, ewma = 2.0, successes = 1, failures = 0 }
    local counts = ask(world:route { targets = { "b/m", "a/m" }, order = "fastest" }, 1000)
    expect.between(counts["a/m"], 930, 995, "calls of the fast one")
  end)

  test("fastest: the slowest of three gets little but not nothing", function()
    local world = world_of()
    for name, seconds in pairs { a = 0.1, b = 0.2, c = 3 } do
      world.facts[name .. "/m"] = { inflight = 0, ewma = seconds, successes = 1, failures = 0 }
    end
    local counts = ask(world:route { targets = { "a/m", "b/m", "c/m" }, order = "fastest" }, 3000)
    expect.between(counts["c/m"] or 0, 5, 120, "calls of the slowest")
    assert(counts["a/m"] > counts["b/m"], "the fastest gets most")
  end)

  test("fastest: what is not known yet is tried, what only fails is not", function()
    local world = world_of(nil, nil, { 500 })
    world.facts["a/m"] = { inflight = 0, ewma = 0.2, successes = 1, failures = 0 }
    local counts = ask(world:route { targets = { "a/m", "b/m" }, order = "fastest" }, 50)
    assert(counts["b/m"] > 30, "the unknown one counts as fast")
    world.facts["c/m"] = { inflight = 0, ewma = 0, successes = 0, failures = 5 }
    ask(world:route { targets = { "a/m", "c/m" }, order = "fastest" }, 200)
    expect.between(world.calls.c, 0, 25, "calls of the failing one")
  end)

  test("cheapest: by cost, those without one last", function()
    local world = world_of({ 500 }, { 500 })
    local route = world:route { order = "cheapest", targets = {
      "c/m", { target = "a/m", cost = 2 }, { target = "b/m", cost = 0.5 } } }
    expect.equal(route:request().trail, "b/m=server_error a/m=server_error c/m=ok")
  end)

  test("sticky: sessions stay, and are spread", function()
    local world = world_of()
    local route = world:route { targets = { "a/m", "b/m" }, order = "sticky" }
    for i = 1, 60 do
      local about = { headers = { ["X-Session-Id"] = "session-" .. i } }
      local first = route:request(about).target
      expect.equal(route:request(about).target, first)
    end
    expect.between(world.calls.a, 30, 90, "calls of a")
  end)

  test("sticky: spread by weight", function()
    local world = world_of()
    local route = world:route { order = "sticky",
      targets = { { target = "a/m", weight = 9 }, { target = "b/m", weight = 1 } } }
    for i = 1, 200 do route:request { headers = { ["x-session-id"] = "s" .. i } } end
    expect.between(world.calls.b, 5, 45, "calls of b")
  end)

  test("sticky: no session, listed order", function()
    local world = world_of()
    ask(world:route { targets = { "a/m", "b/m" }, order = "sticky" }, 5)
    expect.equal(world.calls.a, 5)
  end)

  test("sticky: the header and the ttl are settings", function()
    local world = world_of()
    local route = world:route { targets = { "a/m", "b/m" }, order = "sticky",
      sticky = { header = "x-user", ttl = 10 } }
    route:request { headers = { ["x-user"] = "u" } }
    local keys = 0
    for _, cell in pairs(world.cells) do
      keys = keys + 1
      expect.equal(cell.ends, world.time + 10)
    end
    expect.equal(keys, 1)
  end)

  test("sticky: a session is not written down in clear", function()
    local world = world_of()
    local route = world:route { targets = { "a/m" }, order = "sticky" }
    route:request { headers = { ["x-session-id"] = "my-secret-session" } }
    for name in pairs(world.cells) do assert(not name:find("secret"), name) end
  end)

  test("group: one member is one step", function()
    local world = world_of({ 500 }, { 500 })
    local route = world:route { targets = { { order = "round_robin", targets = { "a/m", "b/m" } }, "c/m" } }
    expect.equal(route:request().trail, "a/m=server_error c/m=ok")
    expect.equal(route:request().trail, "b/m=server_error c/m=ok")
  end)

  test("group: a member that is suspended is passed over, a group without any is too", function()
    local world = world_of()
    local route = world:route { targets = { { targets = { "a/m", "b/m" } }, "c/m" } }
    fake.moongate.suspend("a/m", 100, "test")
    expect.equal(route:request().trail, "b/m=ok")
    fake.moongate.suspend("b/m", 100, "test")
    expect.equal(route:request().trail, "c/m=ok")
  end)

  test("group: a healthy primary does not turn the rotation of the group behind it", function()
    local world = world_of({ 200, 200, 200, 500 })
    local route = world:route { targets = { "a/m", { order = "round_robin", targets = { "b/m", "c/m" } } } }
    for _ = 1, 3 do route:request() end
    expect.equal(route:request().trail, "a/m=server_error b/m=ok")
  end)

  test("group: weight of its own in a weighted list", function()
    local world = world_of()
    ask(world:route { order = "weighted", targets = {
      { weight = 3, order = "round_robin", targets = { "a/m", "b/m" } }, { target = "c/m", weight = 1 } } }, 40)
    expect.equal(world.calls.a + world.calls.b, 30)
    expect.equal(world.calls.a, 15)
  end)

  test("group in a least_busy list counts by its best member", function()
    local world = world_of({ { status = 200, after = 10 } }, nil, { { status = 200, after = 10 } })
    local route = world:route { order = "least_busy",
      targets = { { order = "least_busy", targets = { "a/m", "b/m" } }, "c/m" } }
    for _ = 1, 4 do route:start() end
    assert(world.calls.a + world.calls.b >= 2, "the group is used")
    assert(world.calls.c <= 2, "the busy one is not piled on")
  end)

  test("sticky group keeps its member", function()
    local world = world_of()
    local route = world:route { targets = { { order = "sticky", targets = { "a/m", "b/m" } } } }
    local about = { headers = { ["x-session-id"] = "s" } }
    local first = route:request(about).target
    for _ = 1, 5 do expect.equal(route:request(about).target, first) end
  end)

  test("sticky group: a session that moved stays moved", function()
    local world = world_of()
    local route = world:route { suspend = 5, targets = { { order = "sticky", targets = { "a/m", "b/m" } } } }
    local about = { headers = { ["x-session-id"] = "s" } }
    local first = route:request(about).target
    fake.moongate.suspend(first, 5, "test")
    local second = route:request(about).target
    assert(first ~= second)
    world:advance(100)
    for _ = 1, 5 do expect.equal(route:request(about).target, second) end
  end)
end
