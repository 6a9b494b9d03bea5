-- SPDX-License-Identifier: MIT
-- How long to wait before the same target is tried again, what a provider's hint means, and the
-- budget that keeps retries from multiplying an outage. Waits for nothing itself: it computes.

local moongate = require "moongate"

local retry = {}

---Seconds a hint may lengthen a suspension to: a daily quota, not a typing error.
retry.longest_hint = 86400

local BUDGET_WINDOW = 10 -- seconds that "recent" means for a budget

---Exponential back-off.
---Waits: no: it says how long to sleep.
---Cost: about 0.5 µs.
---Errors: none.
---@param backoff { base: number, cap: number, jitter: "none"|"full"|number }
---@param n integer 1 before the first retry
---@return number seconds
function retry.backoff(backoff, n)
  local wait = math.min(backoff.cap, backoff.base * 2.0 ^ (n - 1))
  local jitter = backoff.jitter
  if jitter == "full" then return wait * moongate.random() end
  if jitter == "none" then return wait end
  return math.min(backoff.cap, wait * (1 + jitter * (2 * moongate.random() - 1)))
end

---The provider's hint, when it is to be honoured.
---Waits: no.
---Cost: about 0.3 µs.
---Errors: none.
---@param rule { honour: boolean, max: number }
---@param attempt moongate.Attempt
---@return number|nil seconds
function retry.hint(rule, attempt)
  local hint = rule.honour and attempt.retry_after or nil
  return hint and hint >= 0 and hint or nil
end

---How long to wait before retry n on the same target.
---@param settings { backoff: table, retry_after: table }
---@param attempt moongate.Attempt the failure
---@param n integer
---@param remaining number seconds to the request's deadline
---@return number|nil seconds nil when waiting is not worth it: the hint is too long, or the deadline too near
function retry.wait(settings, attempt, n, remaining)
  local wait = retry.hint(settings.retry_after, attempt)
  if wait then
    if wait > settings.retry_after.max then return nil end
  else
    wait = retry.backoff(settings.backoff, n)
  end
  if wait >= remaining then return nil end
  return wait
end

---How long to leave a target alone after this failure: a hint lengthens, never shortens.
---@param settings { suspend: number, retry_after: table }
---@param attempt moongate.Attempt
---@return number seconds
function retry.suspension(settings, attempt)
  local hint = retry.hint(settings.retry_after, attempt) or 0
  return math.max(settings.suspend, math.min(hint, retry.longest_hint))
end

local budget = {}
budget.__index = budget

---A budget shared by all workers: further attempts may be `ratio` of recent requests, and `min` in any
---case.
---Waits: no.
---Cost: about 1 µs: keep it. Its `request()` and `take()` about 0.5 µs each.
---Errors: none; when the store is full everything is allowed.
---@param options { ratio: number, min: number }
---@param key string
---@return moongate.RetryBudget
function retry.budget(options, key)
  return setmetatable({
    ratio = options.ratio,
    min = options.min,
    requests = moongate.window("retry_budget", key .. ":requests", BUDGET_WINDOW),
    further = moongate.window("retry_budget", key .. ":further", BUDGET_WINDOW),
  }, budget)
end

---Counts a request.
function budget:request()
  self.requests:add(1)
end

---Asks for one further attempt, and counts it when it is granted.
---@return boolean
function budget:take()
  local allowed = math.max(self.min, self.ratio * self.requests:count())
  if self.further:count() + 1 > allowed then return false end
  self.further:add(1)
  return true
end

return retry
