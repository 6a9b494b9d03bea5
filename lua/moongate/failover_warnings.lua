-- SPDX-License-Identifier: MIT
-- What settings of the stock policy say that cannot work or has no effect: a trigger that nothing reaches,
-- limits that another ends first, settings of what is switched off. Only what is certain from the settings
-- alone; a default that somebody left alone is no mistake. Pure functions over completed settings.

local warnings = {}

local MAX_REQUEST_TIME = 600 -- seconds, as in core/base/limits.h
local DAY = 86400 -- seconds; nobody waits longer for a target to come back by itself

-- Calls fn(entry, path, order) for each target that is a table; members of groups with the group's order.
local function each_entry(targets, order, path, fn)
  for i, entry in ipairs(targets or {}) do
    local at = ("%s[%d]"):format(path, i)
    if type(entry) == "table" then
      if entry.targets then each_entry(entry.targets, entry.order, at .. ".targets", fn) end
      fn(entry, at, order)
    end
  end
end

-- Why no failed attempt is ever of this kind, or nil.
local function unreachable(item, effective)
  local status = tostring(item)
  if status:match("^1%d%d$") or status == "1xx" then return "no answer ends with such a status" end
  if item == "suspended" then return "a target that is suspended is passed over, not tried" end
  if item == "timeout_idle" then return "it comes after the first content, when nothing can be sent again" end
  if item == "timeout_first_token" and effective.first_packet_timeout == 0 then
    return "first_packet_timeout is 0"
  end
end

local function triggers(effective, add)
  for _, name in ipairs { "trigger", "retry_on" } do
    local list = effective[name]
    for i, item in ipairs(type(list) == "table" and list or {}) do
      local why = unreachable(item, effective)
      if why then add(("%s[%d]"):format(name, i), ('"%s" never happens: %s'):format(tostring(item), why)) end
    end
  end
  local list = effective.trigger
  if type(list) == "table" and #list == 0 and #effective.targets > 1 then
    add("trigger", "is empty: no failure moves on to the next target")
  end
end

-- "request_timeout" is never reached because "deadline" ends the request before.
local function never(add, path, seconds, other, limit)
  if seconds > 0 and limit > 0 and seconds > limit then
    add(path, ("%g s is never reached: %s ends the request after %g s"):format(seconds, other, limit))
    return true
  end
end

local function times(effective, add)
  local deadline, other = effective.deadline, "the deadline"
  if not never(add, "deadline", deadline, "the gateway", MAX_REQUEST_TIME) and deadline == 0 then
    deadline, other = MAX_REQUEST_TIME, "the gateway"
  end
  local request, first = effective.request_timeout, effective.first_packet_timeout
  never(add, "request_timeout", request, other, deadline)
  if not never(add, "first_packet_timeout", first, other, deadline) and request > 0 and first > request then
    add("first_packet_timeout", ("%g s is never reached: request_timeout ends the attempt after %g s")
      :format(first, request))
  end
  each_entry(effective.targets, effective.order, "targets", function(entry, path)
    never(add, path .. ".request_timeout", entry.request_timeout or 0, other, deadline)
  end)
end

-- A target that fails once and is as good as gone.
local function for_ever(effective, add)
  local breaker = effective.breaker
  local times_out = { suspend = effective.suspend, ["breaker.recovery"] = breaker and breaker.recovery or 0 }
  for path, seconds in pairs(times_out) do
    if seconds > DAY then
      add(path, ("%g s: a target that failed stays away for %.0f days; only `moongate resume` ends it sooner")
        :format(seconds, seconds / DAY))
    end
  end
end

local function has_retries(effective)
  local found = effective.retries > 0
  each_entry(effective.targets, effective.order, "targets", function(entry)
    found = found or (entry.retries or 0) > 0
  end)
  return found
end

local function uses_order(effective, order)
  local found = effective.order == order
  each_entry(effective.targets, effective.order, "targets", function(entry)
    found = found or (entry.targets ~= nil and entry.order == order)
  end)
  return found
end

-- Does a table of settings say anything but its defaults?
local function differs(value, field)
  for name, one in pairs(field.fields) do
    if value[name] ~= one.default then return true end
  end
  return false
end

local function without_effect(effective, fields, add)
  local again = effective.retry_on
  if has_retries(effective) and type(again) == "table" and #again == 0 then
    add("retry_on", "is empty: the retries never happen")
  end
  if not has_retries(effective) and differs(effective.backoff, fields.backoff) then
    add("backoff", "has no effect: no target has retries")
  end
  if not uses_order(effective, "sticky") and differs(effective.sticky, fields.sticky) then
    add("sticky", ('has no effect: the order is "%s"'):format(effective.order))
  end
  local hints = effective.retry_after
  if not hints.honour and hints.max ~= fields.retry_after.fields.max.default then
    add("retry_after.max", "has no effect: honour is false")
  end
  local breaker = effective.breaker
  for _, name in ipairs { "requests", "window" } do
    if breaker and not breaker.ratio and breaker[name] ~= fields.breaker.fields[name].default then
      add("breaker." .. name, "has no effect without a ratio")
    end
  end
  each_entry(effective.targets, effective.order, "targets", function(entry, path, order)
    if entry.weight and order ~= "weighted" and order ~= "sticky" then
      add(path .. ".weight", ('has no effect: the order is "%s"'):format(order))
    end
  end)
  if effective.backoff.base > effective.backoff.cap and has_retries(effective) then
    add("backoff.base", ("%g s is above the cap: every wait is one of %g s"):format(effective.backoff.base,
      effective.backoff.cap))
  end
end

---Everything there is to warn of.
---@param effective table completed settings of one environment
---@param fields table<string, moongate.Field> the schema they were completed by
---@param add fun(path: string, message: string)
function warnings.find(effective, fields, add)
  triggers(effective, add)
  times(effective, add)
  for_ever(effective, add)
  without_effect(effective, fields, add)
end

return warnings
