-- SPDX-License-Identifier: MIT
-- Smooth weighted round-robin with one rotation for all workers: the turn is a counter in the store,
-- and what each turn picks is computed once (four parts A and one part B: A A B A A). Picking costs one
-- increment.

local moongate = require "moongate"

local rotation = {}
local methods = {}
methods.__index = methods

local MAX_TURNS = 1000 -- length of one round; finer weights are rounded
local KEEP = 86400     -- seconds after which an abandoned counter goes

-- Weights as small whole numbers in the same proportion.
local function whole(weights)
  local total, exact = 0, true
  for _, weight in ipairs(weights) do
    total = total + weight
    if weight % 1 ~= 0 then exact = false end
  end
  local out, divisor = {}, nil
  for i, weight in ipairs(weights) do
    local n = weight
    if total > MAX_TURNS or not exact then
      n = weight > 0 and math.max(1, weight * MAX_TURNS / total + 0.5) or 0
    end
    out[i] = math.floor(n)
  end
  for _, n in ipairs(out) do
    local a, b = divisor or n, n
    while b > 0 do a, b = b, a % b end
    divisor = a
  end
  for i, n in ipairs(out) do out[i] = divisor and divisor > 0 and n // divisor or n end
  return out
end

---The picks of one round.
---@param weights number[]
---@return integer[] indexes into weights; empty when all are zero
function rotation.sequence(weights)
  local parts, current, total = whole(weights), {}, 0
  for i, n in ipairs(parts) do
    current[i], total = 0, total + n
  end
  local out = {}
  for turn = 1, total do
    local best
    for i, n in ipairs(parts) do
      current[i] = current[i] + n
      if n > 0 and (not best or current[i] > current[best]) then best = i end
    end
    current[best] = current[best] - total
    out[turn] = best
  end
  return out
end

---A smooth weighted rotation.
---Waits: no.
---Cost: about 10 µs: keep it. Its `next()` about 1 µs.
---Errors: none; when the store is full picks are drawn at random.
---@param key string workers and reloads that use the same key share the rotation
---@param weights number[] those that are zero are never picked; all zero = all alike
---@return moongate.Rotation
function rotation.new(key, weights)
  local sequence = rotation.sequence(weights)
  if #sequence == 0 then
    for i = 1, #weights do sequence[i] = i end
  end
  return setmetatable({ key = key, sequence = sequence, store = moongate.store("rotation") }, methods)
end

---The next pick.
---@return integer index
function methods:next()
  local sequence = self.sequence
  local length = #sequence
  if length == 1 then return sequence[1] end
  local turn = self.store:incr(self.key, 1, KEEP)
  if not turn then return sequence[moongate.random(length)] end
  return sequence[math.tointeger((turn - 1) % length) + 1]
end

return rotation
