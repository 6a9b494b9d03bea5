-- SPDX-License-Identifier: MIT
-- moongate.keys by itself, and the stock policy's use of it, in the fake gateway.

local expect = require "expect"
local fake = require "fake"
local keys = require "moongate.keys"

local function settings(changes)
  local own = { order = "listed", suspend = 30, rotate_on = keys.defaults.rotate_on }
  for name, value in pairs(changes or {}) do own[name] = value end
  return { keys = own, retry_after = { honour = true, max = 60 } }
end

local function pool_of(changes, more)
  local world = fake.world { p = { 200, keys = { "a", "b", "c" } }, q = { 200 } }
  for name, value in pairs(more or {}) do world[name] = value end
  return keys.new(settings(changes)):pool("p/m"), world
end

local CLASSES = {
  credential_error = "credential", rate_limited = "rate_limit", quota_exhausted = "rate_limit",
  model_unavailable = "model", unsupported = "model", server_error = "backend", client_error = "client",
}

local function failure(key, outcome, fields)
  local attempt = { ok = false, api_key = key, outcome = outcome, class = CLASSES[outcome], status = 400, n = 1 }
  for name, value in pairs(fields or {}) do attempt[name] = value end
  return attempt
end

-- The keys of the calls that were made, in order.
local function came(world)
  local names = {}
  for i, call in ipairs(world.sent) do names[i] = call.api_key or "-" end
  return table.concat(names, " ")
end

-- A provider whose keys answer as they are told.
local function answers(by)
  return { function(call) return by[call.api_key] end, keys = { "a", "b" } }
end

return function(test)
  test("a provider with one key has no pool", function()
    fake.world { q = { 200 } }
    expect.equal(keys.new(settings()):pool("q/m"), nil)
  end)

  test("which failures rotate", function()
    local pool = pool_of()
    for outcome, yes in pairs { credential_error = true, rate_limited = true, quota_exhausted = true,
      model_unavailable = true, server_error = false, client_error = false } do
      expect.equal(pool:covers(failure("a", outcome)), yes)
    end
    expect.equal(pool:covers(failure(nil, "rate_limited")), false)
    expect.equal(pool:covers(failure("a", "unsupported")), false)
  end)

  test("the next key is the one behind, around, without failed and suspended ones", function()
    local pool = pool_of()
    local a, c = failure("a", "rate_limited"), failure("c", "rate_limited")
    expect.equal(pool:next(a, { a = a }), "b")
    expect.equal(pool:next(c, { c = c }), "a")
    fake.moongate.suspend("p#b", 10)
    expect.equal(pool:next(a, { a = a }), "c")
    expect.equal(pool:next(a, { a = a, c = c }), nil)
    expect.equal(pool:next(a, { a = a, c = c }, true), "b")
  end)

  test("how long a key is left alone", function()
    local pool, world = pool_of()
    local function seconds(attempt)
      world.suspended = {}
      return pool:refused(attempt)
    end
    expect.equal(seconds(failure("a", "rate_limited")), 30)
    expect.equal(seconds(failure("a", "rate_limited", { retry_after = 4 })), 4)
    expect.equal(seconds(failure("a", "rate_limited", { retry_after = 1e9 })), 86400)
    expect.equal(seconds(failure("a", "quota_exhausted", { retry_after = 4 })), 600)
    expect.equal(seconds(failure("a", "quota_exhausted", { retry_after = 4000 })), 4000)
    expect.equal(seconds(failure("a", "credential_error")), 600)
    expect.equal(seconds(failure("a", "model_unavailable")), nil)
    expect.equal(pool_of({ suspend = 0 }):refused(failure("a", "rate_limited")), nil)
  end)

  test("a target is spared while another key is left", function()
    local pool = pool_of()
    local all = {}
    for _, key in ipairs { "a", "b" } do all[key] = failure(key, "rate_limited") end
    expect.equal(pool:spares(all.a), true)
    expect.equal(pool:spares(all.b, all), true)
    all.c = failure("c", "credential_error")
    expect.equal(pool:spares(all.c, all), false)
    expect.equal(pool:spares(failure("a", "server_error")), false)
    expect.equal(pool:spares(failure("a", "model_unavailable")), false)
  end)

  test("the failure that says most is told", function()
    local list = {
      failure("a", "rate_limited", { retry_after = 3 }), failure("b", "rate_limited", { retry_after = 9 }),
      failure("c", "rate_limited"), failure("d", "server_error"), failure("e", "quota_exhausted"),
      failure("f", "model_unavailable"), failure("g", "client_error"), failure("h", "credential_error"),
    }
    for first = 1, #list do
      local failed = {}
      for i = first, #list do failed[list[i].api_key] = list[i] end
      expect.equal(keys.best(failed), list[first])
    end
  end)

  test("round robin: workers share where the next request begins", function()
    local world = fake.world { p = { 200, keys = { "a", "b", "c" } } }
    local one, other = keys.new(settings { order = "round_robin" }), keys.new(settings { order = "round_robin" })
    local seen = {}
    for i = 1, 6 do seen[i] = (i % 2 == 1 and one or other):pool("p/m"):first() end
    expect.list(seen, { "a", "b", "c", "a", "b", "c" })
    fake.moongate.suspend("p#a", world.time + 10)
    expect.equal(one:pool("p"):first(), "b")
  end)

  test("the stock policy: at once, beyond retries and max_attempts", function()
    local world = fake.world { p = answers { a = 401, b = 200 } }
    local result = world:route({ targets = { "p/m" }, max_attempts = 1 }):request()
    expect.equal(result.trail, "p/m=credential_error p/m=ok")
    expect.equal(result.took, 0)
    expect.equal(came(world), "a b")
  end)

  test("the stock policy: a retry stays on the key", function()
    local world = fake.world { p = { 500, 500, 200, keys = { "a", "b" } } }
    world:route({ targets = { "p/m" }, retries = 2, keys = { order = "round_robin" } }):request()
    expect.equal(came(world), "a a a")
  end)

  test("the stock policy: a breaker counts only what all keys met", function()
    local world = fake.world { p = answers { a = 401, b = 401 }, f = { 200 } }
    local route = world:route { targets = { "p/m", "f/m" }, breaker = { failures = 1 }, keys = { suspend = 0 } }
    expect.equal(route:request().trail, "p/m=credential_error p/m=credential_error f/m=ok")
    expect.equal(route:request().trail, "f/m=ok")
  end)

  test("the stock policy: first_error is the best failure of the first target", function()
    local world = fake.world { p = answers { a = { status = 429, retry_after = 5 }, b = 401 }, f = { 500 } }
    local route = world:route { targets = { "p/m", "f/m" }, when_exhausted = "first_error" }
    expect.equal(route:request().status, 429)
  end)

  test("the stock policy: on_result sees each key's failure, and may end it", function()
    local failover = require "moongate.failover"
    local world = fake.world { p = answers { a = 401, b = 200 } }
    local seen = {}
    local route = world:route({ targets = { "p/m" } }, function(req, s)
      return failover.run(req, s, { on_result = function(_, attempt, default)
        seen[#seen + 1] = attempt.api_key .. "=" .. default
        return attempt.api_key == "a" and req:header("x-stop") and "return" or nil
      end })
    end)
    expect.equal(route:request().status, 200)
    expect.list(seen, { "a=retry", "b=return" })
    world.suspended = {}
    expect.equal(route:request { headers = { ["x-stop"] = "1" } }.status, 401)
  end)

  test("keys.send: without a pool it is req:send, with one all are tried", function()
    local world = fake.world { p = answers { a = 403, b = { status = 429, retry_after = 2 } }, q = { 500, 200 } }
    local route = world:route({ targets = { "p/m" } }, function(req)
      return keys.send(req, req:header("x-target") or "p/m")
    end)
    expect.equal(route:request().status, 429)
    expect.equal(came(world), "a b")
    expect.equal(route:request { headers = { ["x-target"] = "q/m" } }.status, 500)
    expect.equal(world.calls.q, 1)
  end)
end
