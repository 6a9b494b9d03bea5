-- SPDX-License-Identifier: MIT
-- May a target be tried now? Joins what is known of it: suspensions, health probes, its breaker.
-- Reads only.

local moongate = require "moongate"

local availability = {}

---May a target be tried now? Suspensions, health probes and a breaker taken together.
---Waits: no.
---Cost: about 0.5 µs, 1 µs with a breaker.
---Errors: raises when there is no such provider.
---@param name string full name of a target
---@param breaker? moongate.Breaker
---@return number wait seconds until it may be tried; 0 = now, math.huge = nobody can tell
---@return number up_since when a probe last found its provider up again
function availability.wait(name, breaker)
  local wait, up_since = moongate.usable_in(name)
  if breaker then wait = math.max(wait, (breaker:wait(name, up_since))) end
  return wait, up_since
end

return availability
