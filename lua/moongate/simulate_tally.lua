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

function methods:started()
  self.requests = self.requests + 1
end

-- What a call has cost when it is over; given up after `seconds`, or not at all.
local function cost_of(call, seconds)
  if not call.length then return 0 end
  local share = 1
  if seconds and call.stream then
    share = 0
    if seconds >= call.first then
      share = call.length > 0 and math.min(1, (seconds - call.first) / call.length) or 1
    end
  end
  return call.prompt_cost + call.completion_cost * share
end

---A call was given up: it costs what had been done by then.
---@param call moongate.SimulatedCall
---@param at number
function methods:call_cancelled(call, at)
  call.cancelled, call.cost = true, cost_of(call, at - call.at)
end

---A request is over.
---@param request moongate.SimulatedRequest
---@param at number
---@param good boolean the client got a whole good answer
---@param attempts integer
---@param provider string|nil whose answer it got
---@param first number|nil seconds to the first content
function methods:request_ended(request, at, good, attempts, provider, first)
  self.attempts = self.attempts + attempts
  local useful = 0
  for _, call in ipairs(request) do
    local cost = call.cost or cost_of(call)
    self.cost = self.cost + cost
    if not call.cancelled and call.length and call.provider == provider then useful = cost end
  end
  if not good then return end
  self.good = self.good + 1
  self.useful = self.useful + useful
  if request.stream then
    if first then self.streams[#self.streams + 1] = first end
  else
    self.plains[#self.plains + 1] = at - request.started
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
