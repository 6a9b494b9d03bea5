-- SPDX-License-Identifier: MIT
-- The schema of the stock failover policy: every setting, its default and what it means. Data, and one
-- check of what a schema cannot say. policies/README.md explains the settings at length.

local pool_keys = require "moongate.keys"
local schema = require "moongate.schema"
local warnings = require "moongate.failover_warnings"

local MAX_ATTEMPTS = 32 -- as in core/base/limits.h

local fields = {
  enabled = { type = "boolean", default = true, help = "false: the first target, once" },
  targets = { type = "targets", required = true,
    help = "in order of preference; entries may be tables or groups" },
  trigger = { type = "trigger", default = "errors", help = "failures that move on to the next target" },
  request_timeout = { type = "number", default = 60, min = 0, unit = "s",
    help = "one attempt, up to its commit; 0 = off" },
  first_packet_timeout = { type = "number", default = 0, min = 0, unit = "s",
    help = "to the first content of a stream; 0 = off" },
  idle_timeout = { type = "number", default = 30, min = 0, unit = "s",
    help = "without content once content flows; 0 = off" },
  deadline = { type = "number", default = 120, min = 0, unit = "s",
    help = "all attempts and waits together, up to commit; 0 = off" },
  max_attempts = { type = "integer", default = 0, min = 0, max = MAX_ATTEMPTS,
    help = "all attempts of a request; 0 = as many as targets and retries give" },
  retries = { type = "integer", default = 0, min = 0, max = MAX_ATTEMPTS - 1,
    help = "further tries on the same target" },
  retry_on = { type = "trigger", default = { "backend", "rate_limit" },
    help = "failures that are tried again on the same target" },
  backoff = { type = "table", default = {}, help = "wait before a retry on the same target", fields = {
    base = { type = "number", default = 0.5, min = 0, max = 3600, unit = "s" },
    cap = { type = "number", default = 8, min = 0, max = 3600, unit = "s" },
    jitter = { type = "enum", values = { "none", "full" }, number = { min = 0, max = 1 },
      default = "full" },
  } },
  retry_after = { type = "table", default = {}, help = "the provider's hints", fields = {
    honour = { type = "boolean", default = true },
    max = { type = "number", default = 60, min = 0, max = 86400, unit = "s" },
  } },
  suspend = { type = "number", default = 0, min = 0, unit = "s",
    help = "a target is left alone after its tries in a request failed; 0 = nothing is remembered" },
  keys = { type = "table", default = {}, help = "providers with several api_keys", fields = {
    order = { type = "enum", values = { "listed", "round_robin" }, default = pool_keys.defaults.order,
      help = "which key a request begins with; suspended ones are passed over" },
    suspend = { type = "number", default = pool_keys.defaults.suspend, min = 0, unit = "s",
      help = "a key is left alone after a rate limit without a hint; refused or out of quota 20 times as long" },
    rotate_on = { type = "trigger", default = pool_keys.defaults.rotate_on,
      help = "failures that go on at once with the next key" },
  } },
  breaker = { type = "table", switch = true, default = false, help = "opens after many failures",
    fields = {
      failures = { type = "integer", min = 1, help = "requests in a row; 3 when no ratio is given" },
      recovery = { type = "number", default = 60, min = 0, unit = "s" },
      ratio = { type = "number", min = 0.01, max = 1 },
      requests = { type = "integer", default = 5, min = 1 },
      window = { type = "number", default = 30, min = 1, max = 3600, unit = "s" },
    } },
  order = { type = "enum", values = schema.orders, default = "listed" },
  sticky = { type = "table", default = {}, help = 'for order = "sticky"', fields = {
    header = { type = "string", default = "x-session-id" },
    ttl = { type = "number", default = 3600, min = 1, unit = "s" },
  } },
  slow_failure = { type = "number", default = 0, min = 0, unit = "s",
    help = "a failure that took longer is returned; 0 = off" },
  replay = { type = "boolean", default = true,
    help = "may a request be sent again that was sent whole and not answered?" },
  strict = { type = "boolean", default = false,
    help = "targets of another dialect: refuse what they cannot express, instead of leaving it out" },
  context_targets = { type = "targets", help = "used instead when the prompt is too long" },
  retry_budget = { type = "table", switch = true, default = false,
    help = "further attempts as a share of recent requests", fields = {
      ratio = { type = "number", default = 0.2, min = 0, max = 32 },
      min = { type = "number", default = 10, min = 0 },
    } },
  opt_out_header = { type = "string", help = "a client that sends it gets no failover" },
  when_suspended = { type = "enum", values = { "unavailable", "try_anyway" }, default = "unavailable" },
  when_exhausted = { type = "enum", values = { "last_error", "first_error", "unavailable" },
    default = "last_error" },
}

local settings = { fields = {} }

-- What `sandbox` may hold: every setting but itself.
local inner = {}
for name, field in pairs(fields) do
  inner[name], settings.fields[name] = field, field
end
settings.fields.sandbox = { type = "table", fields = inner, partial = true,
  help = 'any of these settings, for keys with environment = "sandbox"' }

---The settings that count for an environment: for "sandbox", those under `sandbox` over the others.
---@param completed table settings that passed the check
---@param environment? string
---@return table
function settings.effective(completed, environment)
  if environment ~= "sandbox" or not completed.sandbox then return completed end
  local merged = schema.overlay(inner, completed, completed.sandbox)
  merged.sandbox = nil
  return (schema.check(inner, merged))
end

-- Attempts that targets and retries ask for: one member of a group is one step.
local function wanted(effective)
  local total = 0
  for _, entry in ipairs(effective.targets or {}) do
    local most = 0
    local members = type(entry) == "table" and entry.targets or { entry }
    for _, member in ipairs(members) do
      local retries = type(member) == "table" and member.retries or effective.retries
      most = math.max(most, 1 + retries)
    end
    total = total + most
  end
  return total
end

local function has_costs(entries)
  for _, entry in ipairs(entries or {}) do
    if type(entry) == "table" and entry.cost then return true end
  end
  return false
end

-- Adds a warning, unless it was given for what the sandbox has in common with the rest.
local function warn(problems, prefix, path, message)
  for _, one in ipairs(problems) do
    if one.path == path and one.message == message then return end
  end
  problems[#problems + 1] = { path = prefix .. path, message = message, warning = true }
end

local function check(effective, prefix, problems)
  warnings.find(effective, inner, function(path, message) warn(problems, prefix, path, message) end)
  local total, cap = wanted(effective), effective.max_attempts
  if cap > 0 and cap < total then
    warn(problems, prefix, "max_attempts", ("%d cuts off some of the %d attempts that targets and "
      .. "retries are configured for"):format(cap, total))
  elseif total > MAX_ATTEMPTS then
    warn(problems, prefix, "targets", ("targets and retries make %d attempts, a request has at most %d")
      :format(total, MAX_ATTEMPTS))
  end
  if effective.order == "cheapest" and not has_costs(effective.targets) then
    warn(problems, prefix, "order", '"cheapest", but no target has a cost')
  end
end

---What the schema cannot say. Called after it, on settings without mistakes.
---@param completed table
---@return moongate.Problem[]
function settings.check(completed)
  local problems = {}
  check(completed, "", problems)
  if completed.sandbox then
    check(settings.effective(completed, "sandbox"), "sandbox.", problems)
  end
  return problems
end

return settings
