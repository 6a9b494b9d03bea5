-- SPDX-License-Identifier: MIT
-- rehearsal: whom it touches, what it remembers (nothing), and the rescue.

local sim = require "moongate.sim"

local KEYS = { { name = "staging", secret = "secret-of-staging-1" }, { name = "app", secret = "secret-of-app-0001" } }
local STAGING, APP = KEYS[1].secret, KEYS[2].secret

local function world(more, providers)
  local settings = { targets = { "openai/gpt-4o", "azure/gpt-4o" }, suspend = 30, breaker = true,
    down = { "openai" }, key = "staging", share = 1 }
  for name, value in pairs(more or {}) do settings[name] = value end
  return sim.world { policy = "rehearsal", settings = settings, keys = KEYS,
    providers = providers or { openai = { 200 }, azure = { 200 } } }
end

sim.test("the fallback answers, nothing is remembered, others do not notice", function()
  local w = world()
  sim.equal(w:request({ key = STAGING }).trail, "azure/gpt-4o=ok")
  sim.equal(w:request({ key = STAGING, stream = true }).trail, "azure/gpt-4o=ok")
  sim.equal(w:facts("openai/gpt-4o").suspended_for, 0)
  sim.equal(w:facts("openai/gpt-4o").failures, 0)
  sim.equal(w:request({ key = APP }).trail, "openai/gpt-4o=ok")
  sim.matches(w:metrics(), 'moongate_custom_rehearsal_total{[^}]*result="served"[^}]*} 2')
end)

sim.test("a share of that key's requests", function()
  local w = world { share = 0.1 }
  for _ = 1, 400 do w:request { key = STAGING } end
  sim.between(w.calls.azure, 20, 65)
  w = world { share = 0 }
  for _ = 1, 50 do w:request { key = STAGING } end
  sim.equal(w.calls.azure, 0)
end)

sim.test("one target of a provider, also inside a group", function()
  local w = world { down = { "openai/gpt-4o" }, targets = {
    { order = "listed", targets = { "openai/gpt-4o", "openai/gpt-4o-mini" } }, "azure/gpt-4o" } }
  sim.equal(w:request({ key = STAGING }).trail, "openai/gpt-4o-mini=ok")
end)

sim.test("a fallback that fails: what was passed over answers after all", function()
  local w = world({}, { openai = { 200 }, azure = { 500 } })
  sim.equal(w:request({ key = STAGING }).trail, "azure/gpt-4o=server_error openai/gpt-4o=ok")
  sim.matches(w:metrics(), 'moongate_custom_rehearsal_total{[^}]*result="rescued"[^}]*} 1')
end)

sim.test("rescue = false shows the outage as it would be", function()
  local w = world({ rescue = false }, { openai = { 200 }, azure = { 500 } })
  sim.equal(w:request({ key = STAGING }).status, 500)
  w = world { rescue = false, targets = { "openai/gpt-4o" } }
  local r = w:request { key = STAGING }
  sim.equal(r.status, 503)
  sim.ok(r.headers["retry-after"])
  sim.equal(w.calls.openai, 0)
end)

sim.test("nothing is left: rescued; a fault of the caller is his", function()
  local w = world { targets = { "openai/gpt-4o" } }
  sim.equal(w:request({ key = STAGING }).trail, "openai/gpt-4o=ok")
  w = world({}, { openai = { 200 }, azure = { 400 } })
  sim.equal(w:request({ key = STAGING }).trail, "azure/gpt-4o=client_error")
end)
