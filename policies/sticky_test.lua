-- SPDX-License-Identifier: MIT
-- sticky: what tells a session, where it goes, and that it moves once.

local sim = require "moongate.sim"

local KEYS = { { name = "app", secret = "secret-of-app-0001" }, { name = "web", secret = "secret-of-web-0001" } }

local function world(providers, more)
  local settings = { targets = { { target = "east/m", weight = 3 }, { target = "west/m", weight = 1 } },
    session = { "header", "user", "key" }, sticky = { ttl = 1800 }, suspend = 30 }
  for name, value in pairs(more or {}) do settings[name] = value end
  return sim.world { policy = "sticky", settings = settings, keys = KEYS, providers = providers }
end

local function both() return { east = { 200 }, west = { 200 } } end

local function with_header(id)
  return { key = KEYS[1].secret, headers = { ["x-session-id"] = id } }
end

sim.test("a session stays, sessions are spread by weight", function()
  local w = world(both())
  local east = 0
  for i = 1, 60 do
    local target = w:request(with_header("s" .. i)).target
    for _ = 1, 2 do sim.equal(w:request(with_header("s" .. i)).target, target) end
    if target == "east/m" then east = east + 1 end
  end
  sim.between(east, 30, 57)
end)

-- A session that begins at east.
local function at_east(w)
  for i = 1, 50 do
    local about = with_header("e" .. i)
    if w:request(about).target == "east/m" then return about end
  end
end

sim.test("when its target fails the session moves, and stays moved until its time is over", function()
  local script = both()
  local bad = false
  script.east = function() return bad and 500 or 200 end
  local w = world(script)
  local about = at_east(w)
  bad = true
  sim.equal(w:request(about).trail, "east/m=server_error west/m=ok")
  bad = false
  w:advance(60)
  sim.equal(w:request(about).target, "west/m")
  w:advance(1799)
  sim.equal(w:request(about).target, "west/m", "each request prolongs it")
  w:advance(1801)
  sim.equal(w:request(about).target, "east/m")
end)

sim.test("without the header the body's user tells, without it the key", function()
  local w = world(both())
  local seen = {}
  for i = 1, 30 do
    local about = { key = KEYS[1].secret, more = { user = "u" .. i } }
    local target = w:request(about).target
    sim.equal(w:request(about).target, target)
    seen[target] = true
  end
  sim.ok(seen["east/m"] and seen["west/m"], "users are spread, though the key is one")
  local target = w:request({ key = KEYS[2].secret }).target
  for _ = 1, 10 do sim.equal(w:request({ key = KEYS[2].secret, stream = true }).target, target) end
end)

sim.test("a user that is no text is not a session", function()
  local w = world(both(), { session = { "user" } })
  for i = 1, 20 do sim.equal(w:request({ key = KEYS[1].secret, more = { user = i } }).target, "east/m") end
end)

sim.test("a header that names another key's session does not enter it", function()
  local script = both()
  local bad = false
  script.east = function() return bad and 500 or 200 end
  local w = world(script, { session = { "header", "key" } })
  local by_key = { key = KEYS[1].secret }
  if w:request(by_key).target ~= "east/m" then by_key = { key = KEYS[2].secret } end
  local name = by_key.key == KEYS[1].secret and "key:app" or "key:web"
  local before = w:request(with_header(name)).target
  bad = true
  w:request(by_key)
  bad = false
  w:advance(60)
  sim.equal(w:request(with_header(name)).target, before, "it is a session of its own")
end)
