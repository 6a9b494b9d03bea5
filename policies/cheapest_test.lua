-- SPDX-License-Identifier: MIT
-- cheapest: the worked example, the floor, the header.

local sim = require "moongate.sim"

local function world(more, providers)
  local settings = {
    targets = {
      { target = "openai/gpt-4o", cost = 10 }, { target = "openai/gpt-4o-mini", cost = 0.6 },
      { target = "spare/llama3", cost = 0.1 },
    },
    quality = { ["openai/gpt-4o"] = 0.9, ["openai/gpt-4o-mini"] = 0.7, ["spare/llama3"] = 0.4 },
    floor = 0.6, floor_header = "x-quality",
  }
  for name, value in pairs(more or {}) do settings[name] = value end
  return sim.world { policy = "cheapest", settings = settings,
    providers = providers or { openai = { 200 }, spare = { 200 } } }
end

local function failing(...)
  local bad = {}
  for _, model in ipairs { ... } do bad[model] = true end
  return function(call) return bad[call.model] and 500 or 200 end
end

sim.test("the cheapest that is good enough, then the next cheapest", function()
  sim.equal(world():request().trail, "openai/gpt-4o-mini=ok")
  local w = world({}, { openai = failing("gpt-4o-mini"), spare = { 200 } })
  sim.equal(w:request({ stream = true }).trail, "openai/gpt-4o-mini=server_error openai/gpt-4o=ok")
end)

sim.test("what is below the floor is not asked, or last", function()
  local bad = failing("gpt-4o-mini", "gpt-4o")
  local w = world({}, { openai = bad, spare = { 200 } })
  sim.equal(w:request().status, 500)
  sim.equal(w.calls.spare, 0)
  w = world({ below = "last" }, { openai = bad, spare = { 200 } })
  sim.equal(w:request().trail, "openai/gpt-4o-mini=server_error openai/gpt-4o=server_error spare/llama3=ok")
end)

sim.test("the header raises the floor, never lowers it, and nonsense is ignored", function()
  local w = world()
  local function ask(value) return w:request({ headers = { ["x-quality"] = value } }).target end
  sim.equal(ask("0.8"), "openai/gpt-4o")
  sim.equal(ask("0.1"), "openai/gpt-4o-mini")
  for _, odd in ipairs { "nan", "-1", "x", "", "0x" } do sim.equal(ask(odd), "openai/gpt-4o-mini", odd) end
end)

sim.test("a floor that nobody reaches: the best there are", function()
  local w = world()
  sim.equal(w:request({ headers = { ["x-quality"] = "1" } }).target, "openai/gpt-4o")
  sim.equal(w:request({ headers = { ["x-quality"] = "1e300" } }).target, "openai/gpt-4o")
end)

sim.test("targets without a cost come last; a group is as good as its best member", function()
  local w = world { floor = 0.8, targets = { "openai/gpt-4o",
    { cost = 1, order = "listed", targets = { "spare/llama3", { target = "openai/gpt-4o" } } } } }
  sim.equal(w:request().target, "spare/llama3")
end)

sim.test("a floor above every target is refused", function()
  sim.raises("0.95 is above every target's quality, the best has 0.9", world, { floor = 0.95 })
end)
