-- SPDX-License-Identifier: MIT
-- A provider's pool of keys (`api_keys`): which failures are the key's and not the target's, which key is
-- sent next, how long a key that failed is left alone, and which of several failures a client is told.
-- The core sends the first key that is not suspended when nobody names one; a key is suspended as
-- "provider#key". Waits for nothing, sends nothing but in `keys.send`. Used by moongate.failover.

local moongate = require "moongate"
local retry = require "moongate.retry"
local rotation = require "moongate.rotation"
local trigger = require "moongate.trigger"

local keys = {}

local LONGER = 20      -- times as long as for a rate limit: what a person has to mend, or pay for
local MAX_ATTEMPTS = 32 -- as in core/base/limits.h

-- What is wrong with the key alone, so that it is suspended and its target is not.
local OWN = { credential = true, rate_limit = true }

-- What a client can act upon most comes first: it waits as long as it is told, waits, tries again, has the
-- account filled up, asks for another model. What is wrong with our key is no matter of the client's.
local RANKS = { rate_limit = 5, backend = 4, model = 2, credential = 0 }

local function rank(attempt)
  if attempt.outcome == "quota_exhausted" then return 3 end
  if attempt.outcome == "rate_limited" and attempt.retry_after then return 6 end
  return RANKS[attempt.class] or 1
end

---@class moongate.Pool
---@field provider string
---@field names string[] of its keys, in the order of the configuration
local Pool = {}
Pool.__index = Pool

---@class moongate.Keys
---@field private pools table<string, moongate.Pool|false>
local Keys = {}
Keys.__index = Keys

---The pools of all providers under these settings: which key is next, which is left alone, what is told.
---Waits: no.
---Cost: about 3 µs: keep it. The methods of it and of its pools about 1 µs each.
---Errors: none, for settings that passed the check.
---@param settings { keys: table, retry_after: table } of the stock policy
---@return moongate.Keys
function keys.new(settings)
  return setmetatable({
    order = settings.keys.order, suspend = settings.keys.suspend, retry_after = settings.retry_after,
    rule = trigger.compile(settings.keys.rotate_on), pools = {},
  }, Keys)
end

local function new_pool(self, provider, names)
  local pool = setmetatable({ provider = provider, names = names, index = {}, labels = {}, of = self }, Pool)
  local weights = {}
  for i, name in ipairs(names) do
    pool.index[name], pool.labels[i], weights[i] = i, provider .. "#" .. name, 1
  end
  if self.order == "round_robin" then pool.rotation = rotation.new("keys:" .. provider, weights) end
  return pool
end

---The pool of a target's provider.
---@param target string
---@return moongate.Pool|nil pool nil when its provider has one key or none
function Keys:pool(target)
  local provider, _, names = moongate.provider(target)
  local found = self.pools[provider]
  if found == nil then
    found = names and new_pool(self, provider, names) or false
    self.pools[provider] = found
  end
  return found or nil
end

local function usable(self, i)
  return moongate.usable_in(self.labels[i]) <= 0
end

-- The first of all keys from the i-th on, around, that may be sent and is not in `failed`.
local function from(self, i, failed, force)
  local n = #self.names
  for step = 0, n - 1 do
    local at = (i + step - 1) % n + 1
    local name = self.names[at]
    if not (failed and failed[name]) and (force or usable(self, at)) then return name end
  end
end

---The key that a request begins with.
---@return string|nil name nil = the core's choice: the first that is not suspended
function Pool:first()
  return self.rotation and from(self, self.rotation:next())
end

---May another key fare better? Failures of rotate_on, of a key of this pool. What could not be put in the
---provider's words ("unsupported") was never sent.
---@param attempt moongate.Attempt
---@return boolean
function Pool:covers(attempt)
  return attempt.api_key ~= nil and attempt.outcome ~= "unsupported"
    and trigger.matches(self.of.rule, attempt)
end

-- Seconds to leave a key alone: as long as the provider says, at least so long when it takes a person.
local function suspension(self, attempt)
  local seconds, hint = self.of.suspend, retry.hint(self.of.retry_after, attempt)
  if attempt.outcome == "rate_limited" then return math.min(hint or seconds, retry.longest_hint) end
  return math.max(LONGER * seconds, math.min(hint or 0, retry.longest_hint))
end

---Suspends the key that an attempt was made with, when the failure is its own: credential (and quota)
---twenty times as long as the setting says, a rate limit as long as the provider's hint says, or else as
---the setting does.
---@param attempt moongate.Attempt
---@return number|nil seconds nil when it was not suspended
function Pool:refused(attempt)
  if not OWN[attempt.class] or self.of.suspend <= 0 then return nil end
  local seconds = suspension(self, attempt)
  return moongate.suspend(self.provider .. "#" .. attempt.api_key, seconds, attempt.outcome)
end

---The key to try after one that failed.
---@param attempt moongate.Attempt the failure
---@param failed table<string, moongate.Attempt> by their keys, this one included
---@param force? boolean suspended ones, too
---@return string|nil name nil when none is left
function Pool:next(attempt, failed, force)
  return from(self, self.index[attempt.api_key] + 1, failed, force)
end

---Is this failure the key's alone, while others of the pool are left? Then its target is not to blame.
---@param attempt moongate.Attempt
---@param failed? table<string, moongate.Attempt> other failures, by their keys
---@return boolean
function Pool:spares(attempt, failed)
  if not OWN[attempt.class] or not self:covers(attempt) then return false end
  failed = failed or { [attempt.api_key] = attempt }
  return self:next(attempt, failed) ~= nil
end

---Of the failures of several keys the one that says most: a rate limit with a hint (the shortest), a rate
---limit, a fault of the provider's, a spent quota, an unknown model, and last a refused credential.
---@param failed table<string, moongate.Attempt>
---@return moongate.Attempt
function keys.best(failed)
  local best, best_rank
  for _, attempt in pairs(failed) do
    local own = rank(attempt)
    local better = not best or own > best_rank or (own == best_rank and (own == 6
      and attempt.retry_after < best.retry_after or own ~= 6 and attempt.n > best.n))
    if better then best, best_rank = attempt, own end
  end
  return best
end

local DEFAULTS = { order = "listed", suspend = 30, rotate_on = { "credential", "rate_limit", "model" } }

---What the setting `keys` is when nothing is said.
keys.defaults = DEFAULTS

local usual -- the pools for `send`

---Sends a request to one target, for policies that do so themselves: at once with the next key of the pool
---where a failure is the key's, as the stock policy does by its defaults. Without a pool it is req:send.
---Waits: yes, as its attempts do.
---Cost: that of req:send; about 3 µs more for each key that failed.
---Errors: as req:send.
---@param req moongate.Request
---@param target string
---@param options? moongate.SendOptions
---@return moongate.Attempt
function keys.send(req, target, options)
  local attempt = req:send(target, options)
  if attempt.ok or not attempt.api_key then return attempt end
  usual = usual or keys.new { keys = DEFAULTS, retry_after = { honour = true } }
  local pool, failed = usual:pool(target), {}
  while not attempt.ok do
    failed[attempt.api_key] = attempt
    if not pool:covers(attempt) then return attempt end
    pool:refused(attempt)
    local key = #req.attempts < MAX_ATTEMPTS and pool:next(attempt, failed, options and options.force)
    if not key then return keys.best(failed) end
    attempt = req:send(target, moongate.merge(options or {}, { api_key = key }))
  end
  return attempt
end

return keys
