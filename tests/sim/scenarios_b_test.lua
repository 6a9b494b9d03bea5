-- SPDX-License-Identifier: MIT
-- SCENARIOS.tsv, group B: which failures move on, to whom, and what each target is sent.

local sim = require "moongate.sim"

local FIXED = { base = 0.1, jitter = "none" }

-- A world of P and F1, unless more are named, with a target of model "m" for each in the order given.
local function chain(names, providers, settings)
  settings = settings or {}
  if not settings.targets then
    settings.targets = {}
    for i, name in ipairs(names) do settings.targets[i] = name .. "/m" end
  end
  return sim.world { settings = settings, providers = providers }
end

local function pair(p, f1, settings)
  return chain({ "p", "f1" }, { p = p, f1 = f1 }, settings)
end

sim.test("B01 every request tries the first target and is answered by the second", function()
  local world = pair({ 500 }, { { content = "from f1" } })
  for _ = 1, 10 do
    local r = world:request {}
    sim.equal(r.content, "from f1")
    sim.equal(r.trail, "p/m=server_error f1/m=ok")
    sim.equal(r.headers["x-moongate-target"], "f1/m")
  end
  sim.equal(world.calls, { p = 10, f1 = 10 })
end)

sim.test("B02 no waiting on a 429 when another target exists", function()
  local world = pair({ { status = 429, retry_after = 40 } }, { 200 })
  local r = world:request {}
  sim.equal(r.status, 200)
  sim.equal(r.took, 0)
  sim.equal(world.calls, { p = 1, f1 = 1 })
end)

sim.test("B03 nobody listens: the next", function()
  local world = pair({ { refuse = true } }, { 200 })
  for _ = 1, 10 do
    local r = world:request {}
    sim.equal(r.trail, "p/m=connect_error f1/m=ok")
    sim.equal(r.took, 0)
  end
  sim.equal(world.calls.f1, 10)
end)

sim.test("B04 an answer of the gateway's own names no address and no key", function()
  local world = pair({ { status = 429, error = "slow down, p.sim" } }, { { status = 500, error = "dead" } },
    { when_exhausted = "unavailable" })
  local r = world:request {}
  sim.equal(r.status, 502)
  sim.equal(r:json "error.code", "all_targets_failed")
  sim.equal(r.body:find(".sim", 1, true), nil)
  sim.equal(r.body:find("sk-sim", 1, true), nil)
  sim.equal(r.headers["x-should-retry"], "false")
  sim.equal(world.calls, { p = 1, f1 = 1 })
end)

sim.test("B05 at most one extra target, and a real answer", function()
  local world = chain({ "t1", "t2", "t3" }, { t1 = { 500 }, t2 = { { status = 500, error = "of t2" } }, t3 = { 500 } },
    { max_attempts = 2 })
  local r = world:request {}
  sim.equal(r.status, 500)
  sim.equal(r:json "error.message", "of t2")
  sim.equal(world.calls, { t1 = 1, t2 = 1, t3 = 0 })
end)

sim.test("B06 only failures that came early move on", function()
  sim.equal(pair({ 500 }, { 200 }, { slow_failure = 5 }):request({}).status, 200)
  local world = pair({ { status = 500, after = 6 } }, { 200 }, { slow_failure = 5 })
  sim.equal(world:request({}).status, 500)
  sim.equal(world.calls, { p = 1, f1 = 0 })
end)

sim.test("B08 nothing set for one target leaks into the next, and the log keeps the client's model", function()
  local world = pair({ 500 }, { 200 }, { targets = { { target = "p/A", set = { temperature = 0.9 } }, "f1/B" } })
  local r = world:request { model = "client-model", more = { n = 3 } }
  sim.equal(r.status, 200)
  sim.equal(world.sent[1]:json "model", "A")
  sim.equal(world.sent[1]:json "temperature", 0.9)
  sim.equal(world.sent[2]:json "model", "B")
  sim.equal(world.sent[2]:json "temperature", nil)
  sim.equal(world.sent[2]:json "n", 3)
  sim.equal(r.access.model, "client-model")
end)

sim.test("B08 but for the model's value the body is sent byte for byte", function()
  local world = chain({ "p" }, { p = { 200 } }, { targets = { "p/B" } })
  local body = '{ "a" : 1.0e+3,"model"\t:\n"client" , "messages":[{"role":"user","content":"\\u00e9 é"}], "z":{"model":"x"} }'
  sim.equal(world:request({ body = body }).status, 200)
  sim.equal(world.sent[1].body, (body:gsub('"client"', '"B"')))
end)

sim.test("B09 fallback on exactly the listed statuses", function()
  local world = chain({ "p", "f1", "f2" }, { p = { 401 }, f1 = { 402 }, f2 = { 200 } }, { trigger = { 401, 402 } })
  sim.equal(world:request({}).target, "f2/m")
  sim.equal(world.calls, { p = 1, f1 = 1, f2 = 1 })
end)

sim.test("B11 a 401 that is no trigger ends the chain, and is never shown as one", function()
  local world = pair({ 401 }, { 200 }, { trigger = { 429, "5xx" } })
  local r = world:request {}
  sim.equal(r.status, 502)
  sim.contains(r:json "error.message":lower(), "credential")
  sim.equal(world.calls, { p = 1, f1 = 0 })
end)

sim.test("B12 a 500 when only 429 triggers", function()
  local world = pair({ 500 }, { 200 }, { trigger = { 429 } })
  sim.equal(world:request({}).status, 500)
  sim.equal(world.calls, { p = 1, f1 = 0 })
end)

sim.test("B14 a group is one step: one weighted pick with the inherited retry, then F1", function()
  local world = chain({}, { a = { 500 }, b = { 500 }, f1 = { 200 } }, { retries = 1, backoff = FIXED,
    targets = { { order = "weighted", targets = { "a/m", "b/m" } }, "f1/m" } })
  sim.equal(world:request({}).target, "f1/m")
  sim.ok((world.calls.a == 2 and world.calls.b == 0) or (world.calls.a == 0 and world.calls.b == 2), "one member, twice")
  sim.equal(world.calls.f1, 1)
end)

sim.test("B15 a chain, and its trail in the header", function()
  local world = chain({ "p", "f1", "f2" }, { p = { { refuse = true } }, f1 = { 500 }, f2 = { 200 } })
  local r = world:request {}
  sim.equal(r.trail, "p/m=connect_error f1/m=server_error f2/m=ok")
  sim.matches(r.headers["x-moongate-attempts"], "^p/m=connect_error:0:%d+ms,f1/m=server_error:500:%d+ms,f2/m=ok:200:%d+ms$")
  world = chain({ "p", "f1", "f2" }, { p = { 200 }, f1 = { 500 }, f2 = { 200 } })
  sim.equal(world:request({}).trail, "p/m=ok")
end)

sim.test("B17 the client opts out, and no other client", function()
  local world = pair({ 401 }, { 200 }, { trigger = "any", opt_out_header = "x-no-fallback" })
  sim.equal(world:request({ headers = { ["X-No-Fallback"] = "1" } }).status, 502)
  sim.equal(world.calls, { p = 1, f1 = 0 })
  sim.equal(world:request({}).status, 200)
end)

local TOO_LONG = { status = 400, error = { message = "This model's maximum context length is 8192 tokens",
  type = "invalid_request_error", code = "context_length_exceeded" } }

sim.test("B18 a prompt that is too long goes to the target for long ones; other 400s do not", function()
  local world = pair({ TOO_LONG, 400 }, { 200 }, { targets = { "p/m" }, context_targets = { "f1/large" } })
  sim.equal(world:request({}).trail, "p/m=context_too_long f1/large=ok")
  sim.equal(world.sent[2]:json "model", "large")
  sim.equal(world:request({}).status, 400)
  sim.equal(world.calls, { p = 2, f1 = 1 })
end)

sim.test("B18 script: the same by the provider's code", function()
  local world = sim.world {
    source = [[
      return { name = "simulated", version = 1, handle = function(req)
        local attempt = req:send("p/small")
        if attempt.code == "context_length_exceeded" then return req:send("f1/large") end
        return attempt
      end }
    ]],
    providers = { p = { TOO_LONG, { status = 400, error = { code = "other" } } }, f1 = { 200 } },
  }
  sim.equal(world:request({}).target, "f1/large")
  local r = world:request {}
  sim.equal(r.status, 400)
  sim.equal(r:json "error.code", "other")
  sim.equal(world.calls, { p = 2, f1 = 1 })
end)

sim.test("B23 a fault of the caller ends the chain", function()
  for _, status in ipairs { 400, 422 } do
    local world = pair({ { status = status, error = "messages must not be empty" } }, { 200 })
    local r = world:request {}
    sim.equal(r.status, status)
    sim.equal(r:json "error.message", "messages must not be empty")
    sim.equal(world.calls, { p = 1, f1 = 0 })
  end
end)

sim.test("B24 a 400 about the key is not a fault of the caller", function()
  for _, about in ipairs { { message = "API key not valid. Please pass a valid API key." },
    { message = "Incorrect API key provided", code = "invalid_api_key" } } do
    local world = pair({ { status = 400, error = about } }, { 200 })
    sim.equal(world:request({}).trail, "p/m=credential_error f1/m=ok")
  end
end)

sim.test("B26 two share a priority, the next priority serves with its own model", function()
  local world = chain({}, { a = { 500 }, b = { 500 }, c = { { content = "from c" } } }, { trigger = { "5xx" },
    targets = { { order = "round_robin", targets = { "a/m", "b/m" } }, "c/renamed" } })
  for _ = 1, 20 do
    local r = world:request {}
    sim.equal(r.content, "from c")
    sim.equal(r.target, "c/renamed")
  end
  sim.equal(world.calls, { a = 10, b = 10, c = 20 })
end)

sim.test("B27 a reload adds the fallback for the next request", function()
  local providers = { p = { { refuse = true } }, f1 = { 200 } }
  local world = sim.world { settings = { targets = { "p/m" } }, providers = providers }
  for _ = 1, 5 do sim.equal(world:request({}).status, 502) end
  sim.ok(world:reload { settings = { targets = { "p/m", "f1/m" } }, providers = providers }, "the reload")
  for _ = 1, 5 do sim.equal(world:request({}).status, 200) end
  sim.equal(world.calls.f1, 5)
end)

sim.test("B28 each try with another key", function()
  local world = chain({ "k1", "k2", "k3" }, { k1 = { 429 }, k2 = { 500 }, k3 = { 200 } }, { trigger = "any", max_attempts = 3 })
  sim.equal(world:request({}).status, 200)
  local keys = {}
  for i, call in ipairs(world.sent) do keys[i] = call.headers.authorization end
  sim.equal(keys, { "Bearer sk-sim-k1", "Bearer sk-sim-k2", "Bearer sk-sim-k3" })
end)

sim.test("B29 any 4xx or 5xx, in the listed order every time", function()
  local world = chain({ "p", "f1", "f2" }, { p = { 403 }, f1 = { 404 }, f2 = { 200 } }, { trigger = "any" })
  for _ = 1, 5 do
    sim.equal(world:request({}).trail, "p/m=credential_error f1/m=model_unavailable f2/m=ok")
  end
  sim.equal(pair({ 422 }, { 200 }, { trigger = "any" }):request({}).target, "f1/m")
end)
