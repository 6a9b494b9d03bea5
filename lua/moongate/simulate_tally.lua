-- SPDX-License-Identifier: MIT
-- Counts what came of the requests of a simulation: success, time to first token, attempts, cost. Costs are
-- what providers would bill: nothing for a refused call; prompt and all completion tokens for an answer;
-- for a stream that was given up the prompt and the tokens sent so far; for a plain answer that was
-- given up all of it, since the provider has computed it.

local tally = {}
local methods = {}
methods.__index = methods

---@param plan moongate.SimulatePlan
---@return moongate.SimulateTally
function tally.new(plan)
  return setmetatable({
    plan = plan, requests = 0, good = 0, attempts = 0, cost = 0, useful = 0, streams = {}, plains = {},
  }, methods)
end

---What a world calls when something has ended.
---@return { ended: function, cancelled: function }
function methods:hooks()
  return {
    ended = function(handle, event) self:request_ended(handle, event) end,
    cancelled = function(call, at) self:call_cancelled(call, at) end,
  }
end

function methods:started()
  self.requests = self.requests + 1
end

-- What a call has cost by this moment of its life.
local function cost_of(call, seconds)
  local bill = call.bill
  if not bill then return 0 end
  local share = 1
  if seconds and call.stream then
    share = 0
    if seconds >= bill.first then
      share = bill.length > 0 and math.min(1, (seconds - bill.first) / bill.length) or 1
    end
  end
  return bill.prompt + bill.completion * share
end

-- A call was given up: it costs what had been done by then.
function methods:call_cancelled(call, at)
  call.cost = cost_of(call, at - call.at)
end

local function succeeded(event)
  return event.status == 200 and event.whole and event.access["end"] == "complete"
end

local function provider_of(target)
  return target and target:match("^[^/]+")
end

function methods:request_ended(handle, event)
  local access = event.access
  self.attempts = self.attempts + #access.attempts
  local provider, served = provider_of(access.target), nil
  for _, call in ipairs(handle.sent) do
    call.cost = call.cost or cost_of(call)
    self.cost = self.cost + call.cost
    if not call.cancelled_at and call.bill and call.provider == provider then served = call end
  end
  if not succeeded(event) then return end
  self.good = self.good + 1
  if served then self.useful = self.useful + served.cost end
  local first = access.first_token_ms
  if handle.stream and first then
    self.streams[#self.streams + 1] = first / 1000
  elseif not handle.stream then
    self.plains[#self.plains + 1] = event.at - handle.started
  end
end

local function percentile(sorted, share)
  if #sorted == 0 then return nil end
  return sorted[math.max(1, math.ceil(#sorted * share))]
end

---What is told about a policy. Times are of successful requests: to the first token of streams, or, when
---the scenario has none, to the whole answer.
---@return table
function methods:summary()
  local times = #self.streams > 0 and self.streams or self.plains
  table.sort(times)
  local n = math.max(1, self.requests)
  return {
    requests = self.requests, succeeded = self.good, success = self.good / n,
    p50 = percentile(times, 0.5), p99 = percentile(times, 0.99), attempts = self.attempts / n,
    cost = self.cost, wasted = self.cost - self.useful,
  }
end

return tally
