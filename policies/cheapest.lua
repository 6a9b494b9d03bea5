-- SPDX-License-Identifier: MIT
--
-- cheapest: the cheapest target that is good enough. Targets below the floor are not asked, or only when
-- all others failed.
--
-- Worked example. In gateway.lua:
--
--   routes = {
--     { name = "chat", path = "/v1/chat/completions", policy = "cheapest",
--       settings = {
--         targets = {
--           { target = "openai/gpt-4o", cost = 10 },
--           { target = "openai/gpt-4o-mini", cost = 0.6 },
--           { target = "spare/llama3", cost = 0.1 },
--         },
--         quality = { ["openai/gpt-4o"] = 0.9, ["openai/gpt-4o-mini"] = 0.7, ["spare/llama3"] = 0.4 },
--         floor = 0.6, floor_header = "x-quality",
--       } },
--   }
--
-- A request goes to gpt-4o-mini, and to gpt-4o when that fails; llama3 is below the floor. A client that
-- sends `x-quality: 0.8` gets gpt-4o at once: the header may raise the floor, never lower it.
-- With `below = "last"` llama3 is tried too, but only after all others.
--
-- `cost` is any unit, the same for all (money per million tokens, say); targets without one come last.
-- `quality` is your own measure from 0 to 1; a target without one has 0. When nobody reaches a floor that
-- a client asked for, the best there is are used: no request fails for its header.

local failover = require "moongate.failover"
local moongate = require "moongate"
local order = require "moongate.order"

local settings = moongate.merge(failover.settings, {
  quality = { type = "table", of = { type = "number", min = 0, max = 1 }, default = {},
    help = "target = how good it is, 0 to 1" },
  floor = { type = "number", default = 0, min = 0, max = 1, help = "targets below it are left out" },
  floor_header = { type = "string", help = "a client may raise the floor with this header" },
  below = { type = "enum", values = { "never", "last" }, default = "never",
    help = "what becomes of targets below the floor" },
})

-- How good an entry of the list is; a group is as good as its best member.
local function quality_of(entry, quality)
  if type(entry) ~= "table" then return quality[entry] or 0 end
  if entry.target then return quality[entry.target] or 0 end
  local best = 0
  for _, member in ipairs(entry.targets) do best = math.max(best, quality_of(member, quality)) end
  return best
end

local function floor_of(req, own)
  local wish = own.floor_header and tonumber(req:header(own.floor_header) or nil)
  if not wish or wish ~= wish then return own.floor end
  return math.max(own.floor, math.min(wish, 1))
end

-- Those at least as good as the floor, or as the best there is; then, if wanted, the others.
local function ordered(targets, own, floor)
  local best = 0
  for _, entry in ipairs(targets) do best = math.max(best, quality_of(entry, own.quality)) end
  floor = math.min(floor, best)
  local good, others = {}, {}
  for _, entry in ipairs(order.cheapest(targets)) do
    local list = quality_of(entry, own.quality) >= floor and good or others
    list[#list + 1] = entry
  end
  if own.below == "last" then table.move(others, 1, #others, #good + 1, good) end
  return good
end

local function check(own)
  local problems, best = failover.check(own), 0
  for _, entry in ipairs(own.targets) do best = math.max(best, quality_of(entry, own.quality)) end
  if own.floor > best then
    problems[#problems + 1] = { path = "floor",
      message = ("%g is above every target's quality, the best has %g"):format(own.floor, best) }
  end
  return problems
end

return {
  name = "cheapest",
  version = 1,
  settings = settings,
  check = check,
  prepare = function(own) failover.prepare(failover.base(own)) end,
  handle = function(req, own)
    local floor = floor_of(req, own)
    return failover.run(req, failover.base(own), {
      order = function(_, targets) return ordered(targets, own, floor) end,
    })
  end,
}
