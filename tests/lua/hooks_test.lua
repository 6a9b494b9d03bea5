-- SPDX-License-Identifier: MIT
-- The functions `order` and `on_result` that a policy may give to failover.run.

local expect = require "expect"
local fake = require "fake"
local failover = require "moongate.failover"

local function route_with(world, settings, hooks)
  return world:route(settings, function(req, s) return failover.run(req, s, hooks) end)
end

return function(test)
  test("order: gets the targets as written and gives them back in its own order", function()
    local world = fake.world { a = { 500 }, b = { 500 }, c = { 200 } }
    local route = route_with(world, { targets = { "a/m", { target = "b/m", cost = 1 }, "c/m" } }, {
      order = function(_, targets)
        expect.equal(targets[1], "a/m")
        expect.equal(targets[2].target, "b/m")
        return { targets[2], targets[1], targets[3] }
      end,
    })
    expect.equal(route:request().trail, "b/m=server_error a/m=server_error c/m=ok")
  end)

  test("order: may leave targets out, add others, and change the list it was given", function()
    local world = fake.world { a = { 200 }, b = { 200 } }
    local route = route_with(world, { targets = { "a/m", "a/n" }, request_timeout = 9 }, {
      order = function(req, targets)
        table.remove(targets, 1)
        if req:header("x-b") then targets = { { target = "b/x", set = { top_p = 1 } } } end
        return targets
      end,
    })
    expect.equal(route:request().trail, "a/n=ok")
    expect.equal(route:request({ headers = { ["x-b"] = "1" } }).trail, "b/x=ok")
    expect.equal(world.sent[2].options.total, 9)
    expect.equal(world.sent[2].options.set.top_p, 1)
    expect.equal(route:request().trail, "a/n=ok")
  end)

  test("order: suspended targets are still passed over", function()
    local world = fake.world { a = { 200 }, b = { 200 } }
    local route = route_with(world, { targets = { "a/m", "b/m" } }, {
      order = function(_, targets) return { targets[2], targets[1] } end,
    })
    fake.moongate.suspend("b/m", 9, "test")
    expect.equal(route:request().trail, "a/m=ok")
  end)

  test("order: nonsense raises", function()
    local world = fake.world { a = { 200 } }
    for _, value in ipairs { false, {}, "a/m" } do
      local route = route_with(world, { targets = { "a/m" } }, { order = function() return value end })
      expect.raises("expected a list of targets", route.request, route)
    end
  end)

  test("on_result: is told what the settings would do", function()
    local world = fake.world { a = { 500, 500 }, b = { 400 } }
    local seen = {}
    local route = route_with(world, { targets = { "a/m", "b/m" }, retries = 1, backoff = { base = 0 } }, {
      on_result = function(_, attempt, action) seen[#seen + 1] = attempt.outcome .. ":" .. action end,
    })
    route:request()
    expect.list(seen, { "server_error:retry", "server_error:next", "client_error:return" })
  end)

  test("on_result: next where the settings would return", function()
    local world = fake.world { a = { { status = 400, code = "odd" } }, b = { 200 } }
    local route = route_with(world, { targets = { "a/m", "b/m" } }, {
      on_result = function(_, attempt) if attempt.code == "odd" then return "next" end end,
    })
    expect.equal(route:request().trail, "a/m=client_error b/m=ok")
  end)

  test("on_result: return where the settings would move on", function()
    local world = fake.world { a = { 500 }, b = { 200 } }
    local route = route_with(world, { targets = { "a/m", "b/m" } }, {
      on_result = function() return "return" end,
    })
    expect.equal(route:request().trail, "a/m=server_error")
  end)

  test("on_result: retry beyond the retry count, with back-off, up to max_attempts", function()
    local world = fake.world { a = { 500 }, b = { 200 } }
    local route = route_with(world, { targets = { "a/m", "b/m" }, max_attempts = 4,
      backoff = { base = 1, jitter = "none" } }, {
      on_result = function() return "retry" end,
    })
    local result = route:request()
    expect.equal(world.calls.a, 4)
    expect.equal(result.took, 1 + 2 + 4)
    expect.equal(result.status, 500)
  end)

  test("on_result: a retry whose back-off would pass the deadline is a next", function()
    local world = fake.world { a = { 500 }, b = { 200 } }
    local route = route_with(world, { targets = { "a/m", "b/m" }, deadline = 3,
      backoff = { base = 4, jitter = "none" } }, {
      on_result = function(_, attempt) if not attempt.ok then return "retry" end end,
    })
    expect.equal(route:request().trail, "a/m=server_error b/m=ok")
  end)

  test("on_result: a 200 that is judged useless", function()
    local world = fake.world { a = { 200 }, b = { 200 } }
    local route = route_with(world, { targets = { "a/m", "b/m" }, suspend = 10 }, {
      on_result = function(_, attempt)
        if attempt.target == "a/m" then attempt:fail("empty_response", "no choices") end
      end,
    })
    expect.equal(route:request().target, "b/m")
    expect.equal(world.suspended["a/m"].reason, "empty_response")
  end)

  test("on_result: an answer of the policy's own ends the request", function()
    local world = fake.world { a = { 500 }, b = { 200 } }
    local route = route_with(world, { targets = { "a/m", "b/m" } }, {
      on_result = function(req) return req:respond { status = 418, body = "x" } end,
    })
    expect.equal(route:request().status, 418)
    expect.equal(world.calls.b, 0)
  end)

  test("on_result: a word it does not know raises", function()
    local world = fake.world { a = { 500 } }
    local route = route_with(world, { targets = { "a/m" } }, { on_result = function() return "again" end })
    expect.raises('"again", expected "return", "retry" or "next"', route.request, route)
  end)

  test("on_result: next after a success, and nothing left: the success is the answer", function()
    local world = fake.world { a = { 200 } }
    local route = route_with(world, { targets = { "a/m" } }, { on_result = function() return "next" end })
    expect.equal(route:request().status, 200)
  end)

  test("on_result: what a 200 set aside for a next says is suspended as usual, breaker told once", function()
    local world = fake.world { a = { 500 }, b = { 200 } }
    local route = route_with(world, { targets = { "a/m", "b/m" }, breaker = { failures = 2 } }, {
      on_result = function(_, attempt, action) return attempt.ok and "return" or action end,
    })
    for _ = 1, 4 do expect.equal(route:request().target, "b/m") end
    expect.equal(world.calls.a, 2)
  end)

  test("usable: a target passed over is as if suspended, and nothing is remembered", function()
    local world = fake.world { a = { 200 }, b = { 200 } }
    local hooks = { usable = function(_, name) return name ~= "a/m" end }
    local route = route_with(world, { targets = { { targets = { "a/m", "b/m" } } }, suspend = 9 }, hooks)
    expect.equal(route:request().trail, "b/m=ok")
    expect.equal(next(world.suspended), nil)
    route = route_with(world, { targets = { "a/m" }, when_suspended = "try_anyway" }, hooks)
    expect.equal(route:request().kind, "unavailable", "not even when all are")
    expect.equal(world.calls.a, 0)
  end)

  test("session: the hook's name counts before the header", function()
    local world = fake.world { a = { 500, 200 }, b = { 200 } }
    local named
    local route = route_with(world, { targets = { "a/m", "b/m" }, order = "sticky" },
      { session = function() return named end })
    repeat named = (named or "") .. "x" until route:request({ headers = { ["x-session-id"] = "h" } }).trail:find(" ")
    expect.equal(route:request().trail, "b/m=ok", "the session has moved")
    expect.equal(route:request({ headers = { ["x-session-id"] = "other" } }).trail, "b/m=ok")
  end)

  local SLOW = { status = 200, after = 5 }

  test("hedge: a slow first attempt is raced with the next usable target; the loser is not blamed", function()
    local world = fake.world { a = { SLOW }, b = { 200 }, c = { { status = 200, after = 0.25 } } }
    local route = route_with(world, { targets = { "a/m", "b/m", "c/m" }, suspend = 30,
      breaker = { failures = 1 } }, { hedge = { delay = 1 } })
    fake.moongate.suspend("b/m", 100, "test")
    local result = route:request()
    expect.equal(result.trail, "a/m=cancelled c/m=ok")
    expect.equal(result.took, 1.25)
    expect.equal(world.suspended["a/m"], nil)
    expect.equal(fake.moongate.store("breaker"):get("a/m"), nil)
  end)

  test("hedge: both fail: each is blamed once, neither is asked again, the list goes on", function()
    local world = fake.world { a = { { status = 500, after = 2 } }, b = { 500 }, c = { 200 } }
    local route = route_with(world, { targets = { "a/m", "b/m", "c/m" }, suspend = 30 }, { hedge = { delay = 1 } })
    local result = route:request()
    expect.equal(result.trail, "a/m=server_error b/m=server_error c/m=ok")
    expect.equal(world.suspended["a/m"].reason, "server_error")
    expect.equal(world.suspended["b/m"].reason, "server_error")
    expect.equal(result.took, 2)
  end)

  test("hedge: no second attempt while the first is quick, none for later targets, none without budget", function()
    local world = fake.world { a = { 200 }, b = { 200 } }
    local route = route_with(world, { targets = { "a/m", "b/m" } }, { hedge = { delay = 1 } })
    expect.equal(route:request().trail, "a/m=ok")
    world = fake.world { a = { 500 }, b = { SLOW }, c = { 200 } }
    route = route_with(world, { targets = { "a/m", "b/m", "c/m" } }, { hedge = { delay = 1, budget = 0 } })
    expect.equal(route:request().trail, "a/m=server_error b/m=ok")
    world = fake.world { a = { SLOW }, b = { 200 } }
    route = route_with(world, { targets = { "a/m", "b/m" } }, { hedge = { delay = 1, budget = 0.5 } })
    local raced = 0
    for _ = 1, 20 do
      if route:request().trail ~= "a/m=ok" then raced = raced + 1 end
    end
    expect.between(raced, 8, 10)
  end)

  test("hedge: a breaker's probe as the first gives its turn back when it loses", function()
    local world = fake.world { a = { 500, SLOW, 200 }, b = { 200 } }
    local route = route_with(world, { targets = { "a/m", "b/m" }, breaker = { failures = 1, recovery = 10 } },
      { hedge = { delay = 1 } })
    expect.equal(route:request().trail, "a/m=server_error b/m=ok")
    world:advance(11)
    expect.equal(route:request().trail, "a/m=cancelled b/m=ok")
    expect.equal(route:request().trail, "a/m=ok", "the probe's turn is free again")
  end)

  test("hedge: a session is kept where it was really served", function()
    local world = fake.world { a = { SLOW }, b = { 200 } }
    local route = route_with(world, { targets = { "a/m", "b/m" }, order = "sticky" },
      { hedge = { delay = 1 }, session = function() return "s" end })
    route:request()
    expect.equal(route:request().trail, "b/m=ok")
  end)

  test("base: a policy's own settings are left out, others are the same each time", function()
    local world = fake.world { a = { 200 } }
    local own = fake.freeze { targets = { "a/m" }, mine = 1 }
    expect.raises("unknown setting", failover.run, {}, own)
    local base = failover.base(own)
    expect.equal(base.mine, nil)
    expect.equal(failover.base(own), base)
    expect.equal(route_with(world, failover.base(own)):request().trail, "a/m=ok")
  end)
end
