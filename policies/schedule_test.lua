-- SPDX-License-Identifier: MIT
-- schedule: hours, days, midnight, headers. 1700000000 is Tuesday, 14 November 2023, 22:13:20 UTC.

local sim = require "moongate.sim"

local TUESDAY = 1700000000 - 22 * 3600 - 13 * 60 - 20 -- its midnight
local SATURDAY = TUESDAY + 4 * 86400

local function world(wall, more)
  local settings = {
    targets = { "day/m" },
    rules = {
      { header = "x-tier", value = "batch", use = { targets = { "batch/m" }, deadline = 600 } },
      { from = "22:00", to = "06:00", use = { targets = { "night/m", "day/m" } } },
      { days = { "sat", "sun" }, use = { targets = { "weekend/m" } } },
    },
  }
  for name, value in pairs(more or {}) do settings[name] = value end
  return sim.world { policy = "schedule", settings = settings, wall = wall,
    providers = { day = { 200 }, night = { 200 }, batch = { 200 }, weekend = { 200 } } }
end

local function at(wall, more, about)
  return world(wall, more):request(about).target
end

local HOUR = 3600

sim.test("hours: from is included, to is not, midnight is spanned", function()
  sim.equal(at(TUESDAY + 22 * HOUR - 2), "day/m")
  sim.equal(at(TUESDAY + 22 * HOUR), "night/m")
  sim.equal(at(TUESDAY + 24 * HOUR - 1), "night/m")
  sim.equal(at(TUESDAY + 24 * HOUR), "night/m")
  sim.equal(at(TUESDAY + 30 * HOUR - 2), "night/m")
  sim.equal(at(TUESDAY + 30 * HOUR), "day/m")
end)

sim.test("hours of one day", function()
  local rules = { { from = "9:30", to = "17:00", use = { targets = { "weekend/m" } } } }
  sim.equal(at(TUESDAY + 9.5 * HOUR - 1, { rules = rules }), "day/m")
  sim.equal(at(TUESDAY + 9.5 * HOUR, { rules = rules }), "weekend/m")
  sim.equal(at(TUESDAY + 17 * HOUR - 1, { rules = rules }), "weekend/m")
  sim.equal(at(TUESDAY + 17 * HOUR, { rules = rules }), "day/m")
end)

sim.test("the clock moves on while the gateway runs", function()
  local w = world(TUESDAY + 21 * HOUR)
  sim.equal(w:request().target, "day/m")
  w:advance(HOUR + 1)
  sim.equal(w:request({ stream = true }).target, "night/m")
end)

sim.test("utc_offset: the rules' own time, halves of hours too", function()
  sim.equal(at(TUESDAY + 21 * HOUR, { utc_offset = 1 }), "night/m")
  sim.equal(at(TUESDAY + 22 * HOUR, { utc_offset = -1 }), "day/m")
  sim.equal(at(TUESDAY + 16.5 * HOUR, { utc_offset = 5.5 }), "night/m")
end)

sim.test("days", function()
  sim.equal(at(SATURDAY + 12 * HOUR), "weekend/m")
  sim.equal(at(SATURDAY + 36 * HOUR), "weekend/m")
  sim.equal(at(SATURDAY + 60 * HOUR), "day/m")
  sim.equal(at(SATURDAY - 12 * HOUR), "day/m")
end)

sim.test("a night belongs to the day it began on", function()
  local rules = { { from = "22:00", to = "06:00", days = { "sat" }, use = { targets = { "night/m" } } } }
  sim.equal(at(SATURDAY + 2 * HOUR, { rules = rules }), "day/m", "Saturday before dawn is Friday's night")
  sim.equal(at(SATURDAY + 23 * HOUR, { rules = rules }), "night/m")
  sim.equal(at(SATURDAY + 26 * HOUR, { rules = rules }), "night/m")
  sim.equal(at(SATURDAY + 47 * HOUR, { rules = rules }), "day/m")
end)

sim.test("a header counts before the hour; another value does not", function()
  local night = TUESDAY + 23 * HOUR
  sim.equal(at(night, nil, { headers = { ["X-Tier"] = "batch" } }), "batch/m")
  sim.equal(at(night, nil, { headers = { ["X-Tier"] = "interactive" } }), "night/m")
  local any = { { header = "x-tier", use = { targets = { "batch/m" } } } }
  sim.equal(at(night, { rules = any }, { headers = { ["x-tier"] = "" } }), "batch/m")
end)

sim.test("mistakes are refused", function()
  local function refused(text, rule)
    rule.use = {}
    sim.raises(text, world, nil, { rules = { rule } })
  end
  refused('expected two times of a day like "22:00"', { from = "22:00" })
  refused("expected two times", { from = "22.00", to = "06:00" })
  refused("expected two times", { from = "25:00", to = "06:00" })
  refused("expected two times", { from = "22:00", to = "24:30" })
  refused("expected two times", { from = "22:60", to = "06:00" })
  refused("needs a header", { value = "x" })
  refused("expected one of sun", { days = { "tuesday" } })
end)
