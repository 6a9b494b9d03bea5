-- SPDX-License-Identifier: MIT
-- req:race: a second attempt starts when the first has shown no content for a while; whoever shows some
-- first wins, the others are cancelled and not blamed. Extra attempts keep to a budget that all workers
-- share. Returns a function; built on req:start, req:wait and attempt:cancel.

local moongate = require "moongate"

local DELAY = 0.5  -- seconds
local WINDOW = 60  -- seconds over which the budget is an average

local function check(entries, options)
  if type(entries) ~= "table" or #entries == 0 then
    error("race: expected a list of { target, options }, found nothing in it", 3)
  end
  for i, entry in ipairs(entries) do
    if type(entry) ~= "table" or type(entry[1]) ~= "string" then
      error(("race: entry %d: expected { target, options }"):format(i), 3)
    end
  end
  for name, value in pairs(options) do
    if name ~= "delay" and name ~= "budget" then
      error(('race: there is no option "%s"; options are delay and budget'):format(tostring(name)), 3)
    end
    if type(value) ~= "number" or not (value >= 0) then
      error(("race: %s: expected a number of at least 0"):format(name), 3)
    end
  end
end

-- The windows that count requests and extra attempts of races between the same targets.
local function counters(entries)
  local names = {}
  for i, entry in ipairs(entries) do names[i] = entry[1] end
  local key = tostring(moongate.hash(table.concat(names, ",")))
  return moongate.window("race", key .. ":requests", WINDOW),
    moongate.window("race", key .. ":extra", WINDOW)
end

-- May this race start one more attempt than its first?
local function granted(race)
  if not race.budget then return true end
  if race.extra:count() + 1 > race.budget * race.requests:count() then
    if race.explaining then race.req:note("race: no further attempt, its budget is used up") end
    return false
  end
  race.extra:add(1)
  return true
end

local function start(race)
  race.started = race.started + 1
  local entry = race.entries[race.started]
  race.running[race.started] = race.req:start(entry[1], entry[2])
  if race.explaining then
    race.req:note(("race: attempt %d of %d is %s"):format(race.started, #race.entries, race.req:name(entry[1])))
  end
  race.due = moongate.now() + race.delay
end

local function start_another(race)
  if race.started >= #race.entries or not granted(race) then
    race.due = nil
    return false
  end
  start(race)
  return true
end

-- Takes an attempt off the list; says whether others are still running.
local function remove(race, attempt)
  local others = false
  for i, running in pairs(race.running) do
    if running == attempt then race.running[i] = nil else others = true end
  end
  return others
end

local function cancel_all(race)
  for _, attempt in pairs(race.running) do attempt:cancel() end
end

-- A good answer wins; so does a failure that the others would meet as well.
local function decides(attempt)
  return attempt.ok or attempt.class == "client" or not attempt.class
end

local function run(race)
  start(race)
  while true do
    local limit = race.due and math.max(0, race.due - moongate.now())
    local attempt = race.req:wait(limit)
    if not attempt then
      start_another(race)
    else
      local others = remove(race, attempt)
      if decides(attempt) then
        if race.explaining then race.req:note("race: decided by " .. attempt.target) end
        cancel_all(race)
        return attempt
      end
      if not others and not start_another(race) then return attempt end
    end
  end
end

---@param req moongate.Request
---@param entries { [1]: string, [2]: moongate.SendOptions? }[]
---@param options? { delay?: number, budget?: number }
---@return moongate.Attempt
return function(req, entries, options)
  options = options or {}
  check(entries, options)
  local race = {
    req = req, entries = entries, started = 0, running = {}, delay = options.delay or DELAY,
    budget = options.budget, explaining = req.explaining,
  }
  if race.budget then
    race.requests, race.extra = counters(entries)
    race.requests:add(1)
  end
  return run(race)
end
