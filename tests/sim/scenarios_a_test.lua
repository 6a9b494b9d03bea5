-- SPDX-License-Identifier: MIT
-- SCENARIOS.tsv, group A: retries on one target, waits, and what a provider's hints do to them. In virtual
-- time, so waits are compared exactly.

local sim = require "moongate.sim"

local FIXED = { base = 0.1, jitter = "none" }

local function one(replies, settings)
  settings.targets = { "p/m" }
  settings.backoff = settings.backoff or FIXED
  return sim.world { settings = settings, providers = { p = replies } }
end

sim.test("A01 500, 500, 200: the second wait is twice the first", function()
  local world = one({ 500, 500, { content = "third" } }, { retries = 2, retry_on = { 429, 500, 502, 503, 504 } })
  local r = world:request {}
  sim.equal(r.status, 200)
  sim.equal(r.content, "third")
  sim.equal(#r.waits, 2)
  sim.near(r.waits[1], 0.1, 1e-3)
  sim.near(r.waits[2], 0.2, 1e-3)
end)

sim.test("A02 retries used up: the last answer as it came, and no repeating by clients", function()
  local world = one({ function(call)
    return { status = 500, error = { message = "failure " .. call.n },
      headers = { ["content-type"] = "application/json; charset=utf-8" } }
  end }, { retries = 2 })
  local r = world:request {}
  sim.equal(r.status, 500)
  sim.equal(r:json "error.message", "failure 3")
  sim.equal(r.headers["content-type"], "application/json; charset=utf-8")
  sim.equal(r.headers["x-should-retry"], "false")
  sim.equal(r.trail, "p/m=server_error p/m=server_error p/m=server_error")
  world:advance(5)
  sim.equal(world.calls.p, 3)
end)

sim.test("A03 a 400 passes unchanged after one call", function()
  local world = one({ { status = 400, error = { message = "no such field", type = "invalid_request_error", code = "bad_field" } },
    200 }, { retries = 3 })
  local r = world:request {}
  sim.equal(r.status, 400)
  sim.equal(r:json "error.code", "bad_field")
  sim.equal(r:json "error.message", "no such field")
  sim.equal(world.calls.p, 1)
  sim.equal(r.took, 0)
end)

sim.test("A04 Retry-After replaces the back-off", function()
  local world = one({ { status = 429, retry_after = 2 }, 200 }, { retries = 3 })
  local r = world:request {}
  sim.equal(r.status, 200)
  sim.equal(world.calls.p, 2)
  sim.near(r.waits[1], 2, 1e-3)
end)

sim.test("A04 hints in milliseconds", function()
  for _, name in ipairs { "retry-after-ms", "x-ms-retry-after-ms" } do
    local r = one({ { status = 429, headers = { [name] = "700" } }, 200 }, { retries = 1 }):request {}
    sim.equal(r.status, 200)
    sim.near(r.waits[1], 0.7, 1e-3, name)
  end
end)

sim.test("A06 a hint beyond the longest tolerated: the 429 at once, with the hint on it", function()
  local world = one({ { status = 429, retry_after = 120 }, 200 }, { retries = 3, retry_after = { max = 60 } })
  local r = world:request {}
  sim.equal(r.status, 429)
  sim.equal(r.headers["retry-after"], "120")
  sim.equal(r.took, 0)
  sim.equal(world.calls.p, 1)
end)

sim.test("A08 an unreadable hint falls back to our own back-off", function()
  local r = one({ { status = 429, retry_after = "soon" }, 200 }, { retries = 1 }):request {}
  sim.equal(r.status, 200)
  sim.near(r.waits[1], 0.1, 1e-3)
end)

sim.test("A10 a hint that is not honoured", function()
  local r = one({ { status = 429, retry_after = 5 }, 200 },
    { retries = 1, retry_after = { honour = false }, backoff = { base = 0.2, jitter = "none" } }):request {}
  sim.equal(r.status, 200)
  sim.near(r.waits[1], 0.2, 1e-3)
end)

sim.test("A11 an attempt that never answers is given up and tried again", function()
  local world = one({ { never = true }, 200 }, { retries = 1, request_timeout = 0.5 })
  local r = world:request {}
  sim.equal(r.status, 200)
  sim.equal(r.trail, "p/m=timeout_total p/m=ok")
  sim.between(r.took, 0.5, 1.5)
  sim.near(world.sent[1].cancelled_at - world.sent[1].at, 0.5, 1e-3, "when the first was given up")
end)

sim.test("A13 refused credentials are a 502 that says so, and are not repeated", function()
  local world = one({ { status = 401, error = { code = "invalid_api_key" } } }, { retries = 3 })
  local r = world:request {}
  sim.equal(r.status, 502)
  sim.contains(r:json "error.message":lower(), "credential")
  sim.equal(world.calls.p, 1)
end)

sim.test("A14 an unknown model is not in the retried set", function()
  local world = one({ { status = 404, error = { code = "model_not_found" } } }, { retries = 2, retry_on = { "5xx", 429 } })
  local r = world:request {}
  sim.equal(r.status, 404)
  sim.equal(r:json "error.code", "model_not_found")
  sim.equal(world.calls.p, 1)
end)

sim.test("A16 the second attempt is marked for the provider, the first is not", function()
  local world = sim.world { settings = { targets = { "p/m", "f1/m" } }, providers = { p = { 429 }, f1 = { 200 } } }
  sim.equal(world:request({}).status, 200)
  sim.equal(world.sent[1].headers["x-moongate-attempt"], nil)
  sim.equal(world.sent[2].headers["x-moongate-attempt"], "1")
end)

sim.test("A18 script: more retries for one header, for that request only", function()
  local world = sim.world {
    source = [[
      local failover = require "moongate.failover"
      local more = { retries = 3 }
      return { name = "simulated", version = 1, settings = failover.settings, handle = function(req, settings)
        if req:header("x-effort") == "high" then settings = failover.with(settings, more) end
        return failover.run(req, settings)
      end }
    ]],
    settings = { targets = { "p/m" }, retries = 1, backoff = FIXED }, providers = { p = { 500 } },
  }
  sim.equal(world:request({}).status, 500)
  sim.equal(world.calls.p, 2)
  sim.equal(world:request({ headers = { ["x-effort"] = "high" } }).status, 500)
  sim.equal(world.calls.p, 6)
  sim.equal(world:request({}).status, 500)
  sim.equal(world.calls.p, 8)
end)

sim.test("A19 an exhausted answer is marked as not worth repeating", function()
  local world = one({ 503 }, { retries = 1 })
  local r = world:request {}
  sim.equal(r.status, 503)
  sim.equal(r.headers["x-should-retry"], "false")
  sim.equal(world.calls.p, 2)
end)
