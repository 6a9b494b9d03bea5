-- SPDX-License-Identifier: MIT
-- hedged: who wins, what it costs, and that nobody is blamed for losing.

local sim = require "moongate.sim"

local function world(providers, more)
  local settings = { targets = { "east/llama3", "west/llama3", "openai/gpt-4o" }, delay = 1.5, budget = 1,
    suspend = 10 }
  for name, value in pairs(more or {}) do settings[name] = value end
  return sim.world { policy = "hedged", settings = settings, providers = providers }
end

local SLOW, QUICK = { first_token = 20 }, { first_token = 0.4 }

sim.test("a slow stream is sent to the second target; the first to show content wins", function()
  local w = world { east = { SLOW }, west = { QUICK }, openai = { 200 } }
  local r = w:request { stream = true }
  sim.equal(r.status, 200)
  sim.equal(r.trail, "east/llama3=cancelled west/llama3=ok")
  sim.near(r.first_token, 1.9, 0.05)
  sim.ok(r.done)
  sim.near(w.sent[1].cancelled_at - w.sent[1].at, 1.9, 0.05)
  sim.equal(w:facts("east/llama3").suspended_for, 0)
  sim.equal(w:facts("east/llama3").failures, 0)
end)

sim.test("a quick one is alone, a slow one may still win", function()
  local w = world { east = { QUICK, { first_token = 1.7 } }, west = { { first_token = 1 } }, openai = { 200 } }
  sim.equal(w:request({ stream = true }).trail, "east/llama3=ok")
  sim.equal(w:request({ stream = true }).trail, "east/llama3=ok west/llama3=cancelled")
end)

sim.test("both fail: each is blamed, the third is asked", function()
  local w = world { east = { { after = 2, status = 500 } }, west = { 503 }, openai = { 200 } }
  sim.equal(w:request({ stream = true }).trail, "east/llama3=server_error west/llama3=server_error openai/gpt-4o=ok")
  sim.ok(w:facts("east/llama3").suspended_for > 0)
  sim.ok(w:facts("west/llama3").suspended_for > 0)
end)

sim.test("the budget caps the second attempts", function()
  local w = world({ east = { { first_token = 1.8 } }, west = { QUICK }, openai = { 200 } }, { budget = 0.1 })
  local handles = {}
  for i = 1, 200 do
    handles[i] = w:start { stream = true }
    w:advance(0.05)
  end
  w:finish(handles)
  sim.between(w.calls.west, 5, 20)
end)

sim.test("a budget of 0 never hedges", function()
  local w = world({ east = { SLOW }, west = { QUICK }, openai = { 200 } }, { budget = 0 })
  for _ = 1, 5 do sim.equal(w:request({ stream = true }).trail, "east/llama3=ok") end
end)

sim.test("what is no stream has a limit of its own", function()
  local w = world { east = { { after = 5 } }, west = { 200 }, openai = { 200 } }
  sim.equal(w:request().trail, "east/llama3=ok")
  w = world({ east = { { after = 5 } }, west = { 200 }, openai = { 200 } }, { plain_delay = 3 })
  local r = w:request()
  sim.equal(r.trail, "east/llama3=cancelled west/llama3=ok")
  sim.near(r.took, 3, 0.01)
end)

sim.test("a suspended target is not the second", function()
  local w = world { east = { SLOW }, west = { QUICK }, openai = { QUICK } }
  w:suspend("west/llama3", 60)
  sim.equal(w:request({ stream = true }).trail, "east/llama3=cancelled openai/gpt-4o=ok")
end)

sim.test("the client leaves: both are given up", function()
  local w = world { east = { SLOW }, west = { SLOW }, openai = { 200 } }
  local handle = w:start { stream = true }
  w:advance(3)
  sim.equal(w.calls.west, 1)
  handle:leave()
  w:advance(1)
  sim.ok(w.sent[1].cancelled_at and w.sent[2].cancelled_at)
end)
