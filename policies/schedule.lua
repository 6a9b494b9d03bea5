-- SPDX-License-Identifier: MIT
--
-- schedule: other settings at certain hours, on certain days, or for requests with a certain header.
--
-- Worked example. In gateway.lua:
--
--   routes = {
--     { name = "chat", path = "/v1/chat/completions", policy = "schedule",
--       settings = {
--         targets = { "openai/gpt-4o", "azure/gpt-4o" },
--         utc_offset = 1,
--         rules = {
--           { header = "x-tier", value = "batch", use = { targets = { "spare/llama3" }, deadline = 600 } },
--           { from = "22:00", to = "06:00", use = { targets = { "night/gpt-4o", "openai/gpt-4o" } } },
--           { days = { "sat", "sun" }, use = { retries = 2 } },
--         },
--       } },
--   }
--
-- A request with `x-tier: batch` goes to llama3 at any hour. The others go to the night contract first between
-- ten at night and six in the morning, and by day each target is tried three times on a weekend. The first rule
-- that fits counts, alone; without one the settings as they are.
--
-- `use` holds any settings of the stock policy. Each replaces that setting as a whole (a table, too). `from` is
-- included, `to` is not; with from after to the rule spans midnight and belongs to the day it began on.
-- Time is the gateway's clock plus `utc_offset` hours. There are no time zones: where clocks change in summer,
-- change the setting with them (`moongate set chat utc_offset=2`). A header without `value` only has to be there.

local failover = require "moongate.failover"
local moongate = require "moongate"

local DAY, DAYS = 86400, { "sun", "mon", "tue", "wed", "thu", "fri", "sat" }

local rule = { type = "table", fields = {
  from = { type = "string", help = '"22:00"; with to' }, to = { type = "string", help = '"06:00"' },
  days = { type = "list", of = { type = "enum", values = DAYS } },
  header = { type = "string", help = "has to be there" },
  value = { type = "string", help = "what the header has to say, exactly" },
  use = moongate.merge(failover.settings.sandbox, { required = true }),
} }

local settings = moongate.merge(failover.settings, {
  rules = { type = "list", of = rule, required = true, help = "the first that fits counts" },
  utc_offset = { type = "number", default = 0, min = -14, max = 14, unit = "h", help = "of the rules' times" },
})

-- Seconds since midnight of "22:00", or nil.
local function clock(text)
  local hours, minutes = text:match("^(%d%d?):(%d%d)$")
  local at = hours and hours * 3600 + minutes * 60
  return at and at <= DAY and tonumber(minutes) < 60 and at or nil
end

local function on(days, day)
  for _, name in ipairs(days or {}) do
    if name == DAYS[day % 7 + 1] then return true end
  end
  return not days
end

-- Does the rule hold at that local time? 1970 began on a Thursday.
local function in_time(one, now)
  local day, at = now // DAY + 4, now % DAY
  if not one.from then return on(one.days, day) end
  local from, to = clock(one.from), clock(one.to)
  if from <= to then return at >= from and at < to and on(one.days, day) end
  return (at >= from and on(one.days, day)) or (at < to and on(one.days, day - 1))
end

local function fits(one, req, now)
  local value = one.header and req:header(one.header)
  if one.header and (not value or value ~= (one.value or value)) then return false end
  return in_time(one, now)
end

local function check(own)
  local problems = failover.check(own)
  for i, one in ipairs(own.rules) do
    if (one.from or one.to) and not (clock(one.from or "") and clock(one.to or "")) then
      problems[#problems + 1] = { path = ("rules[%d]"):format(i),
        message = 'from and to: expected two times of a day like "22:00" and "06:00"' }
    end
    if one.value and not one.header then
      problems[#problems + 1] = { path = ("rules[%d].value"):format(i), message = "needs a header" }
    end
  end
  return problems
end

return {
  name = "schedule", version = 1, settings = settings, check = check,
  handle = function(req, own)
    local base, now = failover.base(own), moongate.wall() + own.utc_offset * 3600
    for _, one in ipairs(own.rules) do
      if fits(one, req, now) then return failover.run(req, failover.with(base, one.use)) end
    end
    return failover.run(req, base)
  end,
}
