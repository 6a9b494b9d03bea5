-- SPDX-License-Identifier: MIT
-- spend: what is counted against whom, when it turns to the cheaper targets, and when it comes back.

local sim = require "moongate.sim"

local KEYS = { { name = "app", secret = "secret-of-app-0001" }, { name = "web", secret = "secret-of-web-0001" } }
local APP, WEB = KEYS[1].secret, KEYS[2].secret

-- A token of big costs 1, one of small a hundredth.
local function world(more, providers)
  local settings = {
    targets = { "big/m", "other/m" }, once_spent = { targets = { "small/m" } },
    budget = 1000, window = 3200, typical_output = 100,
    prices = { ["big/m"] = { input = 1e6, output = 1e6 }, other = { input = 1e6, output = 1e6 },
      ["small/m"] = { input = 1e4, output = 1e4 } },
  }
  for name, value in pairs(more or {}) do settings[name] = value end
  return sim.world { policy = "spend", settings = settings, keys = KEYS,
    providers = providers or { big = { { usage = { 100, 200 } } }, other = { 200 }, small = { 200 } } }
end

sim.test("answers count as what they say they used, until the budget is spent", function()
  local w = world()
  local big = 0
  for _ = 1, 10 do
    if w:request({ key = APP }).target == "big/m" then big = big + 1 end
  end
  sim.equal(big, 3, "300 each; the fourth might cost more than is left")
  sim.equal(w:request({ key = WEB }).target, "big/m", "each key has its own account")
end)

sim.test("it recovers as the window moves on", function()
  local w = world()
  for _ = 1, 4 do w:request { key = APP } end
  sim.equal(w:request({ key = APP }).target, "small/m")
  w:advance(3300)
  sim.equal(w:request({ key = APP }).target, "big/m")
end)

sim.test("streams count as their estimate: the body's bytes and max_tokens", function()
  local w = world()
  sim.equal(w:request({ key = APP, stream = true, more = { max_tokens = 950 } }).target, "big/m")
  sim.equal(w:request({ key = APP, stream = true, more = { max_tokens = 950 } }).target, "small/m")
  w = world()
  local big = 0
  for _ = 1, 12 do
    if w:request({ key = APP, stream = true }).target == "big/m" then big = big + 1 end
  end
  sim.between(big, 7, 8, "100 of output and some 20 of input each")
end)

sim.test("many at once cannot all spend the same money", function()
  local w = world({}, { big = { { after = 5, usage = { 10, 10 } } }, small = { 200 }, other = { 200 } })
  local handles = {}
  for i = 1, 20 do handles[i] = w:start { key = APP, more = { max_tokens = 300 } } end
  w:finish(handles)
  sim.equal(w.calls.big, 3)
  sim.equal(w:request({ key = APP }).target, "big/m", "what they did not use is given back")
end)

sim.test("what fails costs nothing, what failed over costs once", function()
  local w = world({ budget = 200 }, { big = { 500, 500, { usage = { 100, 200 } } }, other = { { usage = { 10, 10 } } },
    small = { 200 } })
  for _ = 1, 2 do sim.equal(w:request({ key = APP }).trail, "big/m=server_error other/m=ok") end
  sim.equal(w:request({ key = APP }).target, "big/m")
end)

sim.test("nobody was asked: nothing is kept", function()
  local w = world { targets = { "big/m" } }
  w:suspend("big/m", 100)
  for _ = 1, 20 do sim.equal(w:request({ key = APP, more = { max_tokens = 500 } }).status, 503) end
  w:resume("big/m")
  sim.equal(w:request({ key = APP, more = { max_tokens = 500 } }).target, "big/m")
end)

sim.test("odd numbers of a client count as none", function()
  for _, odd in ipairs { -1e6, 1e300, "many", { 1 }, false } do
    local w = world()
    local big = 0
    for _ = 1, 12 do
      if w:request({ key = APP, stream = true, more = { max_tokens = odd } }).target == "big/m" then big = big + 1 end
    end
    sim.between(big, 7, 8)
  end
end)
