-- SPDX-License-Identifier: MIT
-- A circuit breaker per target, shared by all workers through moongate.store("breaker"):
--   "<target>"         "open" or "half_open"; absent = closed. Deleting it closes the breaker.
--   "<target>:opened"  when it opened, monotonic seconds
--   "<target>:row"     requests in a row that failed
--   "<target>:probe"   id of the request that is probing; expires, should that request vanish
--   "<target>:gen"     how often it opened: the ratio's windows start anew
-- Closed: everybody passes. Open: nobody, for `recovery` seconds. Then half open: one probe at a time;
-- its success closes, its failure opens again. Decides nothing about order and sends nothing.

local moongate = require "moongate"

local breaker = {}
local methods = {}
methods.__index = methods

local KEEP = 86400     -- seconds counters outlive their last use
local PROBING = 1      -- seconds to tell those who come while a probe is under way
local GENERATIONS = 8  -- window names in turn; by the time one comes back it has run dry

---A circuit breaker with these options, the same for all who use it on a target.
---Waits: no.
---Cost: about 1 µs: keep it. Its methods 1 to 5 µs.
---Errors: none; when the store is full it stays closed, and says so in the log.
---@param options table the setting `breaker`: failures, recovery, ratio, requests, window
---@return moongate.Breaker
function breaker.new(options)
  local failures = options.failures
  if not failures and not options.ratio then failures = 3 end
  return setmetatable({
    failures = failures, ratio = options.ratio, recovery = options.recovery or 60,
    requests = options.requests or 5, window = options.window or 30,
    store = moongate.store("breaker"),
  }, methods)
end

function methods:close(name)
  local store = self.store
  store:del(name .. ":opened")
  store:del(name .. ":row")
  store:del(name .. ":probe")
  if self.ratio then store:incr(name .. ":gen", 1, KEEP) end
  if store:del(name) then moongate.log("info", "breaker of " .. name .. " closed") end
  return "closes"
end

function methods:open(name, why)
  local store, keep = self.store, self.recovery + KEEP
  store:set(name .. ":opened", moongate.now(), keep)
  store:del(name .. ":row")
  store:del(name .. ":probe")
  local done, reason = store:set(name, "open", keep)
  if not done then
    moongate.log("error", ("breaker of %s could not open: %s"):format(name, tostring(reason)))
    return
  end
  moongate.log("warn", ("breaker of %s opened for %g s: %s"):format(name, self.recovery, why))
  return ("opens for %g s: %s"):format(self.recovery, why)
end

---Seconds until it lets somebody pass; 0 = now (closed, or half open and nobody probing).
---@param name string full name of the target
---@param up_since number when a health probe last found the provider up again, 0 = never
---@return number seconds
---@return "closed"|"open"|"half_open" state
function methods:wait(name, up_since)
  local store = self.store
  if not store:get(name) then return 0, "closed" end
  local opened = store:get(name .. ":opened")
  if not opened or (up_since or 0) > opened then
    self:close(name)
    return 0, "closed"
  end
  local left = opened + self.recovery - moongate.now()
  if left > 0 then return left, "open" end
  if not store:get(name .. ":probe") then return 0, "half_open" end
  return PROBING, "half_open"
end

---Asks to pass. A "probe" must be held on to with `hold` and ends with `record`.
---@param name string
---@param up_since number
---@param id string of the request
---@param hold number seconds the probe may last
---@return "closed"|"probe"|nil mode
---@return number|nil wait seconds, when nobody may pass
function methods:enter(name, up_since, id, hold)
  local wait, state = self:wait(name, up_since)
  if wait > 0 then return nil, wait end
  if state == "closed" then return "closed" end
  local taken, reason = self.store:add(name .. ":probe", id, hold)
  if not taken and reason ~= "full" then return nil, PROBING end
  self.store:set(name, "half_open", self.recovery + KEEP)
  return "probe"
end

---Keeps a probe's turn while it goes on.
---@param name string
---@param id string
---@param seconds number from now
function methods:hold(name, id, seconds)
  self.store:cas(name .. ":probe", id, id, seconds)
end

-- Counts a result for the ratio; says whether the ratio is reached.
function methods:over_ratio(name, good)
  local gen = string.format("%d", (self.store:get(name .. ":gen") or 0) % GENERATIONS)
  local all = moongate.window("breaker", name .. ":all" .. gen, self.window)
  local bad = moongate.window("breaker", name .. ":bad" .. gen, self.window)
  all:add(1)
  if not good then bad:add(1) end
  local total = all:count()
  return total >= self.requests and bad:count() >= self.ratio * total
end

function methods:count(name, good)
  local store = self.store
  if self.failures and not good then
    local row = store:incr(name .. ":row", 1, KEEP) or 0
    if row >= self.failures then return self:open(name, ("%d failures in a row"):format(row)) end
  elseif self.failures and store:get(name .. ":row") then
    store:del(name .. ":row")
  end
  if self.ratio and self:over_ratio(name, good) then return self:open(name, "too many failures") end
end

---Tells how a request fared on the target, once per request.
---@param name string
---@param good boolean|nil nil = it says nothing about the target
---@param mode "closed"|"probe"|"forced" how it passed
---@param id string
---@return string|nil change what this did to the breaker: "opens for 60 s: 3 failures in a row"
function methods:record(name, good, mode, id)
  local state = self.store:get(name)
  if mode == "probe" and good == nil then
    self.store:cas(name .. ":probe", id, nil)
  elseif mode == "probe" and not good then
    return self:open(name, "the probe failed")
  elseif good == nil then
    return
  elseif state then
    -- A request that began before it opened proves nothing by ending well now.
    if good and mode ~= "closed" then return self:close(name) end
  else
    return self:count(name, good)
  end
end

return breaker
