-- SPDX-License-Identifier: MIT
-- Rows of SCENARIOS.tsv of the other groups whose decisions and waits can be told exactly in virtual time,
-- and the use cases the project exists for.

local sim = require "moongate.sim"

local function world_of(targets, providers, settings)
  settings = settings or {}
  settings.targets = targets
  return sim.world { settings = settings, providers = providers }
end

local function statuses(world, n, about)
  local out = {}
  for i = 1, n do out[i] = world:request(about).status end
  return out
end

sim.test("C01 moving off a dead key costs no retry", function()
  sim.equal(world_of({ "a/m", "b/m" }, { a = { 401 }, b = { 200 } }, { retries = 0 }):request({}).status, 200)
end)

sim.test("C02 an unknown model is asked of each key once", function()
  for _, retries in ipairs { 0, 3 } do
    local world = world_of({ "a/m", "b/m" }, { a = { 404 }, b = { 404 } }, { retries = retries })
    sim.equal(world:request({}).status, 404)
    sim.equal(world.calls, { a = 1, b = 1 })
  end
end)

sim.test("C04 all keys refused", function()
  local world = world_of({ "a/m", "b/m" }, { a = { 401 }, b = { 401 } }, { retries = 3 })
  local r = world:request {}
  sim.equal(r.status, 502)
  sim.equal(r.trail, "a/m=credential_error b/m=credential_error")
end)

sim.test("C05 a spent quota moves on without a wait", function()
  local world = world_of({ "a/m", "b/m" }, { a = { { status = 429,
    error = { type = "insufficient_quota", code = "insufficient_quota" } } }, b = { 200 } })
  local r = world:request {}
  sim.equal(r.trail, "a/m=quota_exhausted b/m=ok")
  sim.equal(r.took, 0)
end)

sim.test("C07 overload: the same key again", function()
  local world = world_of({ "a/m", "b/m" }, { a = { 529, 200 }, b = { 200 } }, { retries = 1 })
  sim.equal(world:request({}).trail, "a/m=overloaded a/m=ok")
end)

sim.test("C08 a refused connection: the same key again", function()
  local world = world_of({ "a/m", "b/m" }, { a = { { refuse = true }, 200 }, b = { 200 } }, { retries = 1 })
  sim.equal(world:request({}).trail, "a/m=connect_error a/m=ok")
end)

sim.test("C10 the pair is suspended, not the model's name", function()
  local world = world_of({ "p1/m", "p2/m" }, { p1 = { 200 }, p2 = { 429, 200 } },
    { order = "round_robin", suspend = 30, max_attempts = 1 })
  sim.equal(statuses(world, 4), { 200, 429, 200, 200 })
  sim.equal(world.calls, { p1 = 3, p2 = 1 })
end)

sim.test("E02, E05, J07 failures of a stream before its content move on unseen", function()
  for outcome, reply in pairs {
    empty_response = { no_content = true }, error_event = { error_event = { message = "overloaded" } },
    stream_broken = { cut_after = 0 },
  } do
    local world = world_of({ "p/m", "f1/m" }, { p = { reply }, f1 = { { content = "from f1" } } })
    local r = world:request { stream = true }
    sim.equal(r.trail, "p/m=" .. outcome .. " f1/m=ok")
    sim.equal(r.content, "from f1")
    sim.ok(r.whole and r.done and not r.error_event, "a whole stream")
  end
end)

sim.test("F01 nothing comes: the next target after the first-packet limit", function()
  local world = world_of({ "p/m", "f1/m" }, { p = { { never = true } }, f1 = { 200 } }, { first_packet_timeout = 1 })
  local r = world:request { stream = true }
  sim.equal(r.trail, "p/m=timeout_first_token f1/m=ok")
  sim.near(r.took, 1, 1e-3)
end)

sim.test("F10 all retries within 1.5 s", function()
  local late = { status = 500, after = 1 }
  local world = world_of({ "t1/m", "t2/m", "t3/m" }, { t1 = { late }, t2 = { late }, t3 = { late } }, { deadline = 1.5 })
  local r = world:request {}
  sim.equal(r.status, 504)
  sim.near(r.took, 1.5, 1e-3)
  sim.equal(world.calls, { t1 = 1, t2 = 1, t3 = 0 })
end)

sim.test("I01 a success in between starts the count again", function()
  local world = world_of({ "a/m", "b/m" }, { a = { 500, 500, 200, 500, 500, 500, 200 }, b = { 200 } },
    { breaker = { failures = 3 } })
  for _ = 1, 20 do sim.equal(world:request({}).status, 200) end
  sim.equal(world.calls.a, 6)
end)

sim.test("J01 no replay once all of the request was sent, unless it is allowed", function()
  for replay, status in pairs { [false] = 502, [true] = 200 } do
    local world = world_of({ "p/m", "f1/m" }, { p = { { reset = "before" } }, f1 = { 200 } }, { replay = replay })
    sim.equal(world:request({}).status, status)
    sim.equal(world.calls, { p = 1, f1 = replay and 1 or 0 })
  end
end)

sim.test("J02 a kept connection that dies with the request is not sent twice", function()
  local world = world_of({ "p/m" }, { p = { 200, { stale = true }, 200 } }, { replay = false })
  sim.equal(statuses(world, 2), { 200, 502 })
  sim.equal(world.calls.p, 2)
end)

sim.test("J02 with replay it is, once, over a new connection", function()
  local world = world_of({ "p/m" }, { p = { { stale = true }, 200 } })
  sim.equal(world:request({}).trail, "p/m=stale_connection p/m=ok")
end)

sim.test("J04 never more tries than targets", function()
  local world = world_of({ "t1/m", "t2/m" }, { t1 = { { refuse = true } }, t2 = { { refuse = true } } }, { max_attempts = 4 })
  sim.equal(world:request({}).status, 502)
  sim.equal(world.calls, { t1 = 1, t2 = 1 })
end)

sim.test("use case: throttled big model, small model elsewhere, timeout 30, suspend 30", function()
  local world = world_of({ "big/gpt-4o", "small/gpt-4o-mini" },
    { big = { { status = 429, retry_after = 2 }, 200 }, small = { 200 } }, { request_timeout = 30, suspend = 30 })
  sim.equal(world:request({}).trail, "big/gpt-4o=rate_limited small/gpt-4o-mini=ok")
  world:advance(29)
  sim.equal(world:request({}).trail, "small/gpt-4o-mini=ok")
  world:advance(1)
  sim.equal(world:request({}).trail, "big/gpt-4o=ok")
end)

sim.test("use case: rotation, breaker, back-off, fallback, recovery, all at once", function()
  local world = world_of({ { order = "round_robin", targets = { "a/m", "b/m" } }, "c/m" },
    { a = { 500 }, b = { 200 }, c = { 200 } },
    { retries = 1, backoff = { base = 0.1, jitter = 0.2 }, breaker = { failures = 3, recovery = 60 } })
  for _ = 1, 20 do sim.equal(world:request({}).status, 200) end
  sim.equal(world.calls.a, 6)
  sim.equal(world.calls.c, 3)
  world.providers.a = { 200 }
  world:advance(60)
  for _ = 1, 10 do world:request {} end
  sim.between(world.calls.a, 10, 12, "calls of a")
  sim.equal(world.calls.c, 3)
end)
