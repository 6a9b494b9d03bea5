-- SPDX-License-Identifier: MIT
-- Random numbers that a seed decides (splitmix64), and the distributions that scenarios name. Each
-- generator has its own state; nothing is shared.

local random = {}
local methods = {}
methods.__index = methods

local GAMMA = math.tointeger(-7046029254386353131) -- 2^64 divided by the golden ratio, odd
local P99 = 2.3263478740408408 -- standard deviations from the median to the 99th percentile

---@class moongate.SimRandom
---@param seed integer
---@return moongate.SimRandom
function random.new(seed)
  return setmetatable({ state = math.tointeger(seed) or error("seed: expected a whole number", 2) }, methods)
end

---A number, evenly distributed.
---@return number at least 0 and below 1
function methods:unit()
  local state = self.state + GAMMA
  self.state = state
  local z = (state ~ (state >> 30)) * -4658895280553007687
  z = (z ~ (z >> 27)) * -7723592293110705685
  return ((z ~ (z >> 31)) >> 11) * 0x1p-53
end

---A whole number.
---@param n integer
---@return integer 1 to n
function methods:below(n)
  return math.floor(self:unit() * n) + 1
end

---Exponential, as the gaps between independent arrivals are.
---@param mean number
---@return number
function methods:exponential(mean)
  return -mean * math.log(1 - self:unit())
end

---Normal.
---@return number of mean 0 and deviation 1
function methods:normal()
  return math.sqrt(-2 * math.log(1 - self:unit())) * math.cos(2 * math.pi * self:unit())
end

---Makes a function that draws from a distribution: a number (always that), { from =, to = } (even),
---{ mean = } (exponential) or { median =, p99 = } (log-normal).
---@param spec number|table
---@param what string names the field in messages
---@return fun(random: moongate.SimRandom): number
function random.distribution(spec, what)
  if type(spec) == "number" then return function() return spec end end
  if type(spec) ~= "table" then
    error(("%s: found a %s, expected a number or a distribution"):format(what, type(spec)), 0)
  end
  if spec.from and spec.to then
    return function(r) return spec.from + (spec.to - spec.from) * r:unit() end
  end
  if spec.mean then return function(r) return r:exponential(spec.mean) end end
  if spec.median and spec.p99 and spec.median > 0 and spec.p99 >= spec.median then
    local middle, spread = math.log(spec.median), math.log(spec.p99 / spec.median) / P99
    return function(r) return math.exp(middle + spread * r:normal()) end
  end
  error(what .. ": expected a number, { from =, to = }, { mean = } or { median =, p99 = }", 0)
end

return random
