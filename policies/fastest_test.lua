-- SPDX-License-Identifier: MIT
-- fastest: where the requests go when targets differ, and when they change.

local sim = require "moongate.sim"

local function world(targets, providers, more)
  local settings = { targets = targets }
  for name, value in pairs(more or {}) do settings[name] = value end
  providers.openai = providers.openai or { 200 }
  return sim.world { policy = "fastest", settings = settings, providers = providers }
end

-- About so long: no two answers take exactly the same.
local function takes(seconds)
  return function(call) return { first_token = seconds * (1 + 0.2 * (call.n * 7 % 11) / 11) } end
end

local function serve(w, n)
  for _ = 1, n do w:request { stream = true } end
end

sim.test("the slow one is nearly left alone, the others share", function()
  local w = world({ "east/m", "west/m", "north/m" }, { east = takes(0.3), west = takes(0.3), north = takes(2) })
  serve(w, 300)
  sim.between(w.calls.north, 1, 30)
  sim.between(w.calls.east, 60, 240)
  sim.between(w.calls.west, 60, 240)
end)

sim.test("one that gets slow is passed by soon", function()
  local delay = 0.3
  local w = world({ "east/m", "west/m" }, { west = takes(0.5), east = function() return { first_token = delay } end })
  serve(w, 100)
  sim.ok(w.calls.east > 80)
  delay = 3
  local before = w.calls.east
  serve(w, 100)
  sim.between(w.calls.east - before, 1, 30)
end)

sim.test("a group with a backup: one of the group fails, the backup answers", function()
  local w = world({ { order = "fastest", targets = { "east/m", "west/m" } }, "openai/gpt-4o" },
    { east = { 500 }, west = { 500 } }, { order = "listed" })
  local r = w:request()
  sim.equal(#r.attempts, 2)
  sim.equal(r.target, "openai/gpt-4o")
  local first = r.attempts[1].target
  sim.between(w:facts(first).suspended_for, 9, 10)
end)

sim.test("a stream without content for ten seconds is taken to be stuck", function()
  local w = world({ "east/m", "openai/gpt-4o" }, { east = { { after = 0.1, first_token = 1000 } } })
  local stuck
  for _ = 1, 20 do
    local r = w:request { stream = true }
    if #r.attempts == 2 then stuck = r end
  end
  sim.equal(stuck.trail, "east/m=timeout_first_token openai/gpt-4o=ok")
end)
