-- SPDX-License-Identifier: MIT
-- canary: shares, stickiness, and that a failing canary costs no answer.

local sim = require "moongate.sim"

local KEYS = {}
for i = 1, 40 do KEYS[i] = { name = "key" .. i, secret = ("secret-of-key-%04d"):format(i) } end

local function world(settings, providers)
  settings.targets = settings.targets or { "openai/gpt-4o", "azure/gpt-4o" }
  settings.canaries = settings.canaries or { { target = "new/gpt-5", share = 0.2 } }
  return sim.world { policy = "canary", settings = settings, keys = KEYS,
    providers = providers or { openai = { 200 }, azure = { 200 }, new = { 200 } } }
end

sim.test("a share of the requests goes to the canary", function()
  local w = world {}
  for _ = 1, 500 do w:request { key = KEYS[1].secret } end
  sim.between(w.calls.new, 70, 130)
  sim.equal(w.calls.openai, 500 - w.calls.new)
  sim.matches(w:metrics(), 'moongate_custom_canary_total{[^}]*arm="new/gpt%-5"[^}]*} ' .. w.calls.new)
end)

sim.test("shares of 0 and of 1", function()
  local w = world { canaries = { { target = "new/gpt-5", share = 0 } } }
  for _ = 1, 50 do sim.equal(w:request({ key = KEYS[1].secret }).target, "openai/gpt-4o") end
  w = world { canaries = { { target = "new/gpt-5", share = 1 } } }
  for _ = 1, 50 do sim.equal(w:request({ key = KEYS[1].secret }).target, "new/gpt-5") end
end)

sim.test("by key: a key stays where it is, and stays in when the share grows", function()
  local w = world { by = "key" }
  local function members()
    local inside, n = {}, 0
    for _, key in ipairs(KEYS) do
      local target = w:request({ key = key.secret }).target
      for _ = 1, 3 do sim.equal(w:request({ key = key.secret }).target, target) end
      if target == "new/gpt-5" then inside[key.name], n = true, n + 1 end
    end
    return inside, n
  end
  local before, n = members()
  sim.between(n, 2, 18)
  w = world { by = "key", canaries = { { target = "new/gpt-5", share = 0.6 } } }
  local after, more = members()
  sim.ok(more > n)
  for name in pairs(before) do sim.ok(after[name], name) end
end)

sim.test("by header: the same value, the same arm; without it each request is drawn", function()
  local w = world { by = "header", canaries = { { target = "new/gpt-5", share = 0.5 } } }
  local about = { key = KEYS[1].secret, headers = { ["x-session-id"] = "abc" } }
  local target = w:request(about).target
  for _ = 1, 20 do sim.equal(w:request(about).target, target) end
  local before = w.calls.new
  for _ = 1, 60 do w:request { key = KEYS[1].secret } end
  sim.between(w.calls.new - before, 10, 50)
end)

sim.test("several canaries share what is left", function()
  local w = world { canaries = { { target = "new/gpt-5", share = 0.5 }, { target = "azure/gpt-5", share = 0.5 } } }
  for _ = 1, 100 do w:request { key = KEYS[1].secret } end
  sim.equal(w.calls.openai, 0)
  sim.between(w.calls.new, 25, 75)
end)

sim.test("a canary that fails is answered for by the listed targets, then left alone", function()
  local w = world({ canaries = { { target = "new/gpt-5", share = 1 } }, suspend = 30 },
    { openai = { 200 }, azure = { 200 }, new = { 500 } })
  sim.equal(w:request({ key = KEYS[1].secret }).trail, "new/gpt-5=server_error openai/gpt-4o=ok")
  sim.equal(w:request({ key = KEYS[1].secret, stream = true }).trail, "openai/gpt-4o=ok")
end)

sim.test("the first of the listed targets may itself be the next to fail", function()
  local w = world({ canaries = { { target = "new/gpt-5", share = 1 } } },
    { openai = { 500 }, azure = { 200 }, new = { 500 } })
  sim.equal(w:request({ key = KEYS[1].secret }).target, "azure/gpt-4o")
end)

sim.test("shares above 1 in all are refused", function()
  sim.raises("the shares make 1.2, expected at most 1", world,
    { canaries = { { target = "new/a", share = 0.6 }, { target = "new/b", share = 0.6 } } })
end)
