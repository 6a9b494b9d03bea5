-- SPDX-License-Identifier: MIT
-- May a target be tried now? Joins what is known of it: suspensions, health probes, its breaker.
-- Reads only.

local moongate = require "moongate"

local availability = {}

---@param name string full name of a target
---@param breaker? moongate.Breaker
---@return number wait seconds until it may be tried; 0 = now, math.huge = nobody can tell
---@return moongate.Health facts
function availability.wait(name, breaker)
  local facts = moongate.health(name)
  local wait = facts.suspended_for or 0
  if facts.up == false then wait = math.huge end
  if breaker then wait = math.max(wait, (breaker:wait(name, facts.up_since))) end
  return wait, facts
end

return availability
