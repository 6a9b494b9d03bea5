-- SPDX-License-Identifier: MIT
-- What can be derived from settings once: compiled triggers, the options of each target's attempts,
-- rings, breaker. Kept per settings table, so that a request costs one look-up; bounded. A settings
-- table must not change after its first use. Knows no request.

local moongate = require "moongate"
local breaker = require "moongate.breaker"
local definition = require "moongate.failover_settings"
local keys = require "moongate.keys"
local order = require "moongate.order"
local retry = require "moongate.retry"
local schema = require "moongate.schema"
local trigger = require "moongate.trigger"

local plan = {}

local MAX_ATTEMPTS = 32
local CACHE = 64 -- settings tables in each of two ages; beyond, the older age is forgotten

local function deep_copy(value)
  if type(value) ~= "table" then return value end
  local out = {}
  for key, item in pairs(value) do out[key] = deep_copy(item) end
  return out
end

local function positive(seconds)
  return seconds and seconds > 0 and seconds or nil
end

-- Where several limits are named the shortest wins.
local function shortest(a, b)
  a, b = positive(a), positive(b)
  return a and b and math.min(a, b) or a or b
end

-- Options of req:send for one entry (and one key of its provider's pool): for streams and for others, each
-- also with force and fresh.
local function options_of(raw, settings, key)
  local function variant(stream, force, fresh)
    return {
      total = shortest(settings.request_timeout, raw.request_timeout),
      first_token = stream and positive(settings.first_packet_timeout) or nil,
      idle = positive(settings.idle_timeout),
      set = raw.set and deep_copy(raw.set), unset = raw.unset and deep_copy(raw.unset),
      headers = raw.headers and deep_copy(raw.headers),
      force = force or nil, fresh = fresh or nil, api_key = key, strict = settings.strict or nil,
    }
  end
  local function both(force, fresh)
    return { stream = variant(true, force, fresh), plain = variant(false, force, fresh) }
  end
  return { usual = both(false, false), fresh = both(false, true), forced = both(true, false),
    forced_fresh = both(true, true) }
end

local entries_of

local function group_of(raw, settings, shared)
  local members, ids = entries_of(raw.targets, settings, shared)
  return {
    id = "(" .. ids .. ")", raw = raw, weight = raw.weight, cost = raw.cost,
    ring = order.ring(raw.order or "listed", members,
      { key = tostring(moongate.hash(ids)), breaker = shared.breaker, sticky = settings.sticky }),
  }
end

local function entry_of(raw, settings, shared)
  local fields = type(raw) == "table" and raw or { target = raw }
  if fields.targets then return group_of(fields, settings, shared) end
  return {
    id = fields.target, target = fields.target, raw = raw,
    name = fields.target:find("/", 1, true) and fields.target or nil,
    weight = fields.weight, cost = fields.cost,
    retries = fields.retries or settings.retries,
    fields = fields, options = options_of(fields, settings),
  }
end

-- The entries of a list of targets, and a text that tells such lists apart.
function entries_of(targets, settings, shared)
  local entries, ids = {}, {}
  for i, raw in ipairs(targets) do
    entries[i] = entry_of(raw, settings, shared)
    ids[i] = ("%s*%g"):format(entries[i].id, entries[i].weight or 1)
  end
  return entries, table.concat(ids, ",")
end

-- Seconds one try may last, to know how long a probe of a breaker may keep its turn.
local function try_time(settings)
  return positive(settings.request_timeout) or positive(settings.deadline) or 120
end

-- The entry that every request tries first, whatever was before it and whoever asks; nil when that is to
-- be found out for each.
local function always_first(self, order_of)
  local entry = self.entries[1]
  local asks = self.breaker or self.budget or self.opt_out_header or self.slow_failure
    or (self.rotates and self.keys:pool(entry.target or ""))
  return self.enabled and order_of == "listed" and not asks and entry and entry.name and entry or nil
end

local function build(settings)
  local shared = { breaker = settings.breaker and breaker.new(settings.breaker) or nil }
  local entries, ids = entries_of(settings.targets, settings, shared)
  local key = tostring(moongate.hash(ids))
  local self = {
    settings = settings, shared = shared, breaker = shared.breaker, entries = entries,
    enabled = settings.enabled, deadline = positive(settings.deadline),
    trigger = trigger.compile(settings.trigger), retry_on = trigger.compile(settings.retry_on),
    max_attempts = settings.max_attempts > 0 and settings.max_attempts or MAX_ATTEMPTS,
    suspend = settings.suspend, slow_failure = positive(settings.slow_failure),
    replay = settings.replay, opt_out_header = settings.opt_out_header,
    when_suspended = settings.when_suspended, when_exhausted = settings.when_exhausted,
    try_time = try_time(settings),
    keys = keys.new(settings), rotates = settings.keys.order == "round_robin",
    budget = settings.retry_budget and retry.budget(settings.retry_budget, key) or nil,
    ring = order.ring(settings.order, entries,
      { key = key, breaker = shared.breaker, sticky = settings.sticky }),
  }
  if settings.context_targets then
    self.context = entries_of(settings.context_targets, settings, shared)
  end
  self.first = always_first(self, settings.order)
  return self
end

local function checked(settings)
  local completed, problems = schema.check(definition.fields, settings)
  local first = problems[1]
  if first then
    local where = first.path == "" and "" or first.path .. ": "
    error("failover settings: " .. where .. first.message, 0)
  end
  return completed
end

local young, old, count = {}, {}, 0

local function remember(settings, entry)
  if count >= CACHE then young, old, count = {}, young, 0 end
  young[settings], count = entry, count + 1
  return entry
end

local function known(settings)
  local entry = young[settings]
  if entry then return entry end
  return remember(settings, old[settings] or {})
end

local function cached(settings)
  local entry = known(settings)
  if not entry.completed then entry.completed = checked(settings) end
  return entry
end

---The plan for these settings in an environment.
---@param settings table
---@param environment? string
---@return moongate.Plan
function plan.of(settings, environment)
  local entry = cached(settings)
  local which = environment == "sandbox" and entry.completed.sandbox and "sandbox" or "usual"
  local found = entry[which]
  if not found then
    found = build(definition.effective(entry.completed, environment))
    entry[which] = found
  end
  return found
end

---A copy of the settings with some of them changed, the same copy for the same two tables.
---@param settings table
---@param changes table
---@return table
function plan.variant(settings, changes)
  local entry = cached(settings)
  local variants = entry.variants
  if not variants or entry.n_variants >= CACHE then
    variants, entry.n_variants = {}, 0
    entry.variants = variants
  end
  local found = variants[changes]
  if not found then
    found = moongate.merge(settings, changes)
    variants[changes], entry.n_variants = found, entry.n_variants + 1
  end
  return found
end

---The settings without those that are not the stock policy's, the same copy for the same table.
---@param settings table
---@return table
function plan.base(settings)
  local entry = known(settings)
  if not entry.base then
    entry.base = {}
    for name in pairs(definition.fields) do entry.base[name] = settings[name] end
  end
  return entry.base
end

---The options of an entry for one key of its provider's pool.
---@param self moongate.Plan
---@param entry moongate.Entry
---@param key string
---@return table
function plan.keyed(self, entry, key)
  entry.keyed = entry.keyed or {}
  local found = entry.keyed[key]
  if not found then
    found = options_of(entry.fields, self.settings, key)
    entry.keyed[key] = found
  end
  return found
end

---Entries for targets that a policy names itself: those of the plan where they are the same values.
---@param self moongate.Plan
---@param targets any[] strings or tables as in `settings.targets`
---@return moongate.Entry[]
function plan.resolve(self, targets)
  local own, out = {}, {}
  for _, entry in ipairs(self.entries) do own[entry.raw] = entry end
  for i, raw in ipairs(targets) do
    out[i] = own[raw] or entry_of(raw, self.settings, self.shared)
  end
  return out
end

return plan
