-- SPDX-License-Identifier: MIT
-- The failover loop: moving on, retrying, waiting, remembering. What each setting does is in
-- settings_test.lua.

local expect = require "expect"
local fake = require "fake"
local failover = require "moongate.failover"

return function(test)
  test("the first target that answers is the answer", function()
    local world = fake.world { p = { 200 }, f = { 200 } }
    local result = world:route({ targets = { "p/m", "f/m" } }):request()
    expect.equal(result.trail, "p/m=ok")
    expect.equal(world.calls.f, 0)
  end)

  test("no wait before a different target", function()
    local world = fake.world { p = { { status = 429, retry_after = 30 } }, f = { 503 }, g = { 200 } }
    local result = world:route({ targets = { "p/m", "f/m", "g/m" } }):request()
    expect.equal(result.trail, "p/m=rate_limited f/m=overloaded g/m=ok")
    expect.equal(result.took, 0)
  end)

  test("the client's model passes through to a provider without one", function()
    local world = fake.world { p = { 500 }, f = { 200 } }
    local result = world:route({ targets = { "p/big", "f" } }):request { model = "asked" }
    expect.equal(result.target, "f/asked")
  end)

  test("suspensions of a passed-through model are of that model", function()
    local world = fake.world { p = { 500, 200 } }
    local route = world:route { targets = { "p" }, suspend = 10 }
    expect.equal(route:request({ model = "a" }).status, 500)
    expect.equal(route:request({ model = "b" }).status, 200)
    expect.equal(route:request({ model = "a" }).kind, "unavailable")
  end)

  test("every class of failure does what the default says", function()
    local moves = { connect_error = true, timeout_total = true, server_error = true, error_event = true,
      queue_full = true, rate_limited = true, quota_exhausted = true, content_filtered = true,
      credential_error = true, model_unavailable = true, unsupported = true, context_too_long = true, too_large = true,
      client_error = false }
    for outcome, expected in pairs(moves) do
      local world = fake.world { p = { { outcome = outcome } }, f = { 200 } }
      world:route({ targets = { "p/m", "f/m" } }):request()
      expect.equal(world.calls.f == 1, expected, outcome)
    end
  end)

  test("a client that left, or a cancelled attempt, ends the request", function()
    for _, outcome in ipairs { "client_gone", "cancelled" } do
      local world = fake.world { p = { { outcome = outcome } }, f = { 200 } }
      world:route({ targets = { "p/m", "f/m" }, retries = 3, suspend = 10, trigger = "any" }):request()
      expect.equal(world.calls.p, 1)
      expect.equal(world.calls.f, 0)
      expect.equal(next(world.suspended), nil)
    end
  end)

  test("suspended targets are passed over without an attempt", function()
    local world = fake.world { p = { 200 }, f = { 200 } }
    local route = world:route { targets = { "p/m", "f/m" } }
    fake.moongate.suspend("p/m", 5, "by hand")
    local result = route:request()
    expect.equal(result.trail, "f/m=ok")
    world:advance(5)
    expect.equal(route:request().trail, "p/m=ok")
  end)

  -- A request for which p/m is suspended between the look at it and the attempt.
  local function late(route)
    local health = fake.moongate.health
    fake.moongate.suspend("p/m", 5, "late")
    fake.moongate.health = function(name)
      local facts = health(name)
      facts.suspended_for = 0
      return facts
    end
    local good, result = pcall(route.request, route)
    fake.moongate.health = health
    assert(good, result)
    return result
  end

  test("a target that is suspended between the look and the attempt is passed over, uncounted", function()
    local world = fake.world { p = { 200 }, f = { 500 }, g = { 200 } }
    local route = world:route { targets = { "p/m", "f/m", "g/m" }, max_attempts = 2 }
    expect.equal(late(route).trail, "f/m=server_error g/m=ok")
  end)

  test("the same, when it was to be a breaker's probe: the turn is given back", function()
    local world = fake.world { p = { 500 }, f = { 200 } }
    local route = world:route { targets = { "p/m", "f/m" }, breaker = { failures = 1, recovery = 5 } }
    route:request()
    world:advance(5)
    expect.equal(late(route).trail, "f/m=ok")
    expect.equal(fake.moongate.store("breaker"):get("p/m"), "half_open")
    expect.equal(fake.moongate.store("breaker"):get("p/m:probe"), nil)
  end)

  test("a probe that the retry budget refuses gives its turn back", function()
    local world = fake.world { p = { 500 }, f = { 500 } }
    local route = world:route { targets = { "p/m", "f/m" }, breaker = { failures = 2, recovery = 5 },
      retry_budget = { ratio = 0, min = 2 } }
    route:request()
    route:request() -- both open, the budget is spent
    fake.moongate.store("breaker"):del("p/m")
    world:advance(5)
    expect.equal(route:request().trail, "p/m=server_error")
    expect.equal(fake.moongate.store("breaker"):get("f/m"), "half_open")
    expect.equal(fake.moongate.store("breaker"):get("f/m:probe"), nil)
  end)

  test("a target that others had suspended during the back-off is not tried again", function()
    local world = fake.world { p = { 500 }, f = { 200 } }
    local route = world:route { targets = { "p/m", "f/m" }, retries = 1, suspend = 7, breaker = { failures = 1 },
      backoff = { base = 1, jitter = "none" } }
    local req = route:start()
    world:advance(0.5)
    fake.moongate.suspend("p/m", 60, "by hand")
    world:advance(2)
    expect.equal(req.result.trail, "p/m=server_error f/m=ok")
    expect.equal(fake.moongate.store("breaker"):get("p/m"), "open", "its failure counts")
  end)

  test("a provider that its probes found down is treated as suspended", function()
    local world = fake.world { p = { 200 }, f = { 200 } }
    world.providers.p.up = false
    local route = world:route { targets = { "p/m", "f/m" } }
    expect.equal(route:request().trail, "f/m=ok")
    world.providers.p.up = true
    expect.equal(route:request().trail, "p/m=ok")
  end)

  test("all down: a 503 with a recovery that is a number", function()
    local world = fake.world { p = { 200 } }
    world.providers.p.up = false
    local result = world:route({ targets = { "p/m" } }):request()
    expect.equal(result.kind, "unavailable")
    expect.between(result.retry_after, 1, 60)
  end)

  test("the same pair may stand in the list twice", function()
    local world = fake.world { p = { 500, 200 } }
    local result = world:route({ targets = { "p/m", "p/m" } }):request()
    expect.equal(result.trail, "p/m=server_error p/m=ok")
  end)

  test("never more than 32 attempts", function()
    local world = fake.world { p = { 500 }, f = { 500 } }
    local result = world:route({ targets = { "p/m", "f/m" }, retries = 31, backoff = { base = 0 } })
      :request()
    expect.equal(#result.attempts, 32)
    expect.equal(world.calls.p, 32)
  end)

  test("a failure at the end of a chain that triggers nothing is the answer", function()
    local world = fake.world { p = { 500 }, f = { 400 }, g = { 200 } }
    local result = world:route({ targets = { "p/m", "f/m", "g/m" } }):request()
    expect.equal(result.status, 400)
    expect.equal(world.calls.g, 0)
  end)

  test("an outcome that blames nobody suspends nothing", function()
    for _, reply in ipairs { 400, { outcome = "queue_full" }, 413, 451 } do
      local world = fake.world { p = { reply } }
      world:route({ targets = { "p/m" }, suspend = 10, trigger = "any" }):request()
      expect.equal(next(world.suspended), nil, tostring(reply))
    end
  end)

  test("the deadline ends everything, whatever was going to happen", function()
    local world = fake.world { p = { { status = 500, after = 3 } }, f = { { status = 200, after = 3 } } }
    local result = world:route({ targets = { "p/m", "f/m" }, deadline = 5 }):request()
    expect.equal(result.kind, "deadline")
    expect.equal(result.took, 5)
  end)

  test("a policy may run twice with different settings in one request", function()
    local world = fake.world { p = { 500 }, f = { 200 } }
    local route = world:route({ targets = { "p/m" } }, function(req, settings)
      local first = failover.run(req, settings)
      if first.ok then return first end
      return failover.run(req, fake.moongate.merge(settings, { targets = { "f/m" } }))
    end)
    expect.equal(route:request().trail, "p/m=server_error f/m=ok")
  end)

  test("a copy of settings that is wrong raises and says where", function()
    local world = fake.world { p = { 200 } }
    local route = world:route({ targets = { "p/m" } }, function(req, settings)
      return failover.run(req, fake.moongate.merge(settings, { triger = "any" }))
    end)
    expect.raises("triger", route.request, route)
  end)

  test("a copy given in part is completed", function()
    local world = fake.world { p = { 500, 200 } }
    local route = world:route({ targets = { "p/m" }, retries = 1 }, function(req, settings)
      return failover.run(req, fake.moongate.merge(settings, { backoff = { jitter = "none" } }))
    end)
    local result = route:request()
    expect.equal(result.status, 200)
    expect.near(result.took, 0.5)
  end)

  test("settings derived once are forgotten in time, and work again", function()
    local world = fake.world { p = { 200 } }
    local route = world:route({ targets = { "p/m" } }, function(req, settings)
      return failover.run(req, fake.moongate.merge(settings, {}))
    end)
    for _ = 1, 300 do expect.equal(route:request().status, 200) end
    collectgarbage()
    local before = collectgarbage("count")
    for _ = 1, 600 do route:request() end
    world.sent, world.events = {}, {}
    collectgarbage()
    assert(collectgarbage("count") - before < 300, "memory grows with the number of copies")
  end)

  test("failover.with gives the same copy for the same two tables", function()
    local world = fake.world { p = { 500 } }
    local more = { retries = 3, backoff = { base = 0 } }
    local copies = {}
    local route = world:route({ targets = { "p/m" } }, function(req, settings)
      local copy = failover.with(settings, more)
      copies[#copies + 1] = copy
      return failover.run(req, copy)
    end)
    route:request()
    route:request()
    expect.equal(copies[1], copies[2])
    expect.equal(world.calls.p, 8)
  end)

  test("random settings and random failures: attempts end, and stay within bounds", function()
    local statuses = { 200, 400, 401, 404, 413, 429, 451, 500, 503, 529 }
    local function any(list) return list[math.random(#list)] end
    for _ = 1, 400 do
      local function reply()
        return function()
          return any { { status = any(statuses), after = math.random() * 3,
            retry_after = any { false, 1, 90 } or nil },
            { outcome = any { "connect_error", "stale_connection", "stream_broken", "queue_full" } } }
        end
      end
      local world = fake.world { a = { reply() }, b = { reply(), group = "g" }, c = { reply(), group = "g" } }
      local route = world:route {
        targets = { "a/m", { order = any { "listed", "weighted", "fastest" }, targets = { "b/m", "c/m" } }, "c/x" },
        order = any { "listed", "round_robin", "weighted", "least_busy", "fastest", "sticky", "cheapest" },
        retries = math.random(0, 3), suspend = any { 0, 5 }, max_attempts = any { 0, 1, 3 },
        breaker = any { false, { failures = 2, recovery = 3 }, { ratio = 0.5, recovery = 3 } },
        deadline = any { 0, 4 }, request_timeout = any { 0, 2 }, trigger = any { "errors", "any", { "5xx" } },
        retry_budget = any { false, { min = 2 } }, replay = any { true, false },
        when_suspended = any { "unavailable", "try_anyway" }, context_targets = { "b/long" },
        when_exhausted = any { "last_error", "first_error", "unavailable" },
      }
      local settings, running = route.settings, {}
      for i = 1, 12 do
        running[i] = route:start { model = "m", headers = { ["x-session-id"] = "s" .. i % 3 } }
        world:advance(math.random() * 2)
      end
      world:advance(2000)
      local cap = settings.max_attempts > 0 and settings.max_attempts or 32
      for _, req in ipairs(running) do
        assert(req.done, "a request hangs")
        assert(#req.attempts <= cap, "too many attempts")
      end
      for name, facts in pairs(world.facts) do expect.equal(facts.inflight, 0, name) end
      for name, cell in pairs(world.cells) do
        assert(cell.ends <= world.time or not name:find(":probe", 1, true), "a probe's turn is kept for ever")
      end
    end
  end)
end
