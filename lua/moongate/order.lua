-- SPDX-License-Identifier: MIT
-- In which order targets are tried. A ring is a list of entries (from moongate.plan) with one order;
-- `order.list` says, for one request, which comes first and which follow. Targets that may not be tried
-- stay in the list: whoever walks it passes them over. Waits for nothing, sends nothing.

local moongate = require "moongate"
local availability = require "moongate.availability"
local rotation = require "moongate.rotation"

local order = {}

local EXPLORE = 0.05      -- share of requests for which "fastest" picks at random
local MAX_SUBSETS = 64    -- remembered combinations of usable targets of one ring

local function weight_of(entry)
  return entry.weight or 1
end

-- The entries from the i-th on and around; those of weight zero come last, as reserves.
local function around(entries, i)
  local out, reserve = { entries[i] }, {}
  for step = 1, #entries - 1 do
    local entry = entries[(i + step - 1) % #entries + 1]
    local list = weight_of(entry) > 0 and out or reserve
    list[#list + 1] = entry
  end
  for _, entry in ipairs(reserve) do out[#out + 1] = entry end
  return out
end

-- Sorts a short list in place; equal ones keep their order.
local function sort_by(list, values)
  for i = 2, #list do
    local entry, j = list[i], i - 1
    while j >= 1 and values[list[j]] > values[entry] do
      list[j + 1] = list[j]
      j = j - 1
    end
    list[j + 1] = entry
  end
  return list
end

---A list with the cheapest first; those without a cost last, equal ones as they were.
---Waits: no.
---Cost: about 2 µs for three targets.
---Errors: none.
---@param targets any[] as in `settings.targets`, or entries of a plan
---@return any[] a new list
function order.cheapest(targets)
  local list, costs = {}, {}
  for i, target in ipairs(targets) do
    list[i], costs[target] = target, type(target) == "table" and target.cost or math.huge
  end
  return sort_by(list, costs)
end

local function weights_of(ring, only)
  local weights = {}
  for i, entry in ipairs(ring.entries) do
    local weight = ring.kind == "round_robin" and 1 or weight_of(entry)
    weights[i] = (not only or only[i]) and weight or 0
  end
  return weights
end

---@param kind string one of moongate.schema.orders
---@param entries moongate.Entry[]
---@param options { key: string, breaker?: moongate.Breaker, sticky?: { header: string, ttl: number } }
---@return moongate.Ring
function order.ring(kind, entries, options)
  local ring = {
    kind = kind, entries = entries, key = kind .. ":" .. options.key,
    breaker = options.breaker, sticky = options.sticky,
  }
  if kind == "cheapest" then
    ring.sorted = order.cheapest(entries)
  elseif kind == "round_robin" or kind == "weighted" or kind == "sticky" then
    ring.from, ring.by_id = {}, {}
    for i, entry in ipairs(entries) do
      ring.from[i] = around(entries, i)
      ring.by_id[entry.id] = ring.by_id[entry.id] or i
    end
    if kind == "sticky" then
      ring.sequence, ring.store = rotation.sequence(weights_of(ring)), moongate.store("sticky")
    else
      ring.rotation, ring.subsets, ring.n_subsets = rotation.new(ring.key, weights_of(ring)), {}, 0
    end
  end
  return ring
end

-- Seconds until an entry may be tried, and the facts of its (best) target.
local function outlook(ring, req, entry)
  if not entry.ring then
    local name = entry.name or req:name(entry.target)
    return (availability.wait(name, ring.breaker)), moongate.health(name)
  end
  local best, best_facts = math.huge, nil
  for _, member in ipairs(entry.ring.entries) do
    local wait, facts = outlook(entry.ring, req, member)
    if not best_facts or wait < best or (wait == best and facts.inflight < best_facts.inflight) then
      best, best_facts = wait, facts
    end
  end
  return best, best_facts
end

local kinds = {}

function kinds.listed(ring)
  return ring.entries
end

function kinds.cheapest(ring)
  return ring.sorted
end

-- The rotation over the usable entries only. It has a counter of its own, so that the share of a target
-- that is out is spread over all others by their weights, not given to its neighbour.
local function subset_rotation(ring, req)
  local only, mask = {}, {}
  for i, entry in ipairs(ring.entries) do
    only[i] = outlook(ring, req, entry) == 0
    mask[i] = only[i] and "1" or "0"
  end
  local name = table.concat(mask)
  local found = ring.subsets[name]
  if found == nil then
    if ring.n_subsets >= MAX_SUBSETS then ring.subsets, ring.n_subsets = {}, 0 end
    local key = ("%s:%d"):format(ring.key, moongate.hash(name))
    found = name:find("1", 1, true) and rotation.new(key, weights_of(ring, only)) or false
    ring.subsets[name], ring.n_subsets = found, ring.n_subsets + 1
  end
  return found
end

local function rotate(ring, req)
  local i = ring.rotation:next()
  if outlook(ring, req, ring.entries[i]) > 0 then
    local others = subset_rotation(ring, req)
    if others then i = others:next() end
  end
  return ring.from[i]
end

kinds.round_robin, kinds.weighted = rotate, rotate

-- Entries that may be tried, from a random one on so that ties are spread, then the others.
local function shuffled(ring, req, value)
  local usable, others, values = {}, {}, {}
  local n = #ring.entries
  local start = moongate.random(n)
  for step = 0, n - 1 do
    local entry = ring.entries[(start + step - 1) % n + 1]
    local wait, facts = outlook(ring, req, entry)
    local list = wait == 0 and usable or others
    list[#list + 1], values[entry] = entry, value(facts, req)
  end
  return usable, others, values
end

local function append(list, others)
  for _, entry in ipairs(others) do list[#list + 1] = entry end
  return list
end

local function busyness(facts)
  return facts.inflight
end

function kinds.least_busy(ring, req)
  local usable, others, inflight = shuffled(ring, req, busyness)
  return append(sort_by(usable, inflight), others)
end

-- What has not been measured yet counts as fast, so that it is; what only fails counts as slow.
local function slowness(facts, req)
  local seconds = req.stream and facts.ewma_first_token or facts.ewma_total
  if (seconds or 0) == 0 and facts.failures > 0 and facts.successes == 0 then return math.huge end
  return seconds or 0
end

function kinds.fastest(ring, req)
  local usable, others, seconds = shuffled(ring, req, slowness)
  local n = #usable
  if n < 2 then return append(usable, others) end
  -- The list starts at a random place: its first is one random choice, a second one stands beside it.
  local a, b = 1, 1 + moongate.random(n - 1)
  if moongate.random() >= EXPLORE and seconds[usable[b]] < seconds[usable[a]] then a = b end
  local first = table.remove(usable, a)
  sort_by(usable, seconds)
  table.insert(usable, 1, first)
  return append(usable, others)
end

local function session_key(ring, req, session)
  session = session or req:header(ring.sticky.header)
  if not session or session == "" then return nil end
  return ("%s:%d"):format(ring.key, moongate.hash(session)), session
end

function kinds.sticky(ring, req, named)
  local key, session = session_key(ring, req, named)
  if not key then return ring.entries end
  local i = ring.by_id[ring.store:get(key) or false]
  if not i then
    local sequence = ring.sequence
    i = #sequence > 0 and sequence[moongate.hash(session .. ring.key) % #sequence + 1] or 1
  end
  return ring.from[i]
end

---The entries in the order in which this request should try them. Not to be changed.
---@param ring moongate.Ring
---@param req moongate.Request
---@param session? string for "sticky"; none = the header's
---@return moongate.Entry[]
function order.list(ring, req, session)
  return kinds[ring.kind](ring, req, session)
end

---Tells the ring which entry served the request: a session stays there.
---@param ring moongate.Ring
---@param req moongate.Request
---@param entry moongate.Entry
---@param session? string as given to `list`
function order.served(ring, req, entry, session)
  if ring.kind ~= "sticky" or not ring.by_id[entry.id] then return end
  local key = session_key(ring, req, session)
  if key then ring.store:set(key, entry.id, ring.sticky.ttl) end
end

return order
