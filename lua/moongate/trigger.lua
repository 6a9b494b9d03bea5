-- SPDX-License-Identifier: MIT
-- What counts as a reason to act on a failed attempt: presets, or lists of classes, outcomes and
-- statuses. Owns the vocabulary of classes and outcomes on the Lua side (DESIGN section 5; the C side
-- is core/upstream/outcome.h). Pure functions: knows no request, no clock and no settings but its own.

local trigger = {}

---Every class of failure.
trigger.classes = {
  backend = true, rate_limit = true, intercepted = true, credential = true,
  model = true, context = true, client = true,
}

---Every outcome that is a failure, with its class.
trigger.outcomes = {
  connect_error = "backend", tls_error = "backend", dns_error = "backend",
  stale_connection = "backend", timeout_connect = "backend", timeout_first_byte = "backend",
  timeout_first_token = "backend", timeout_idle = "backend", timeout_total = "backend",
  overloaded = "backend", server_error = "backend", error_event = "backend",
  empty_response = "backend", invalid_response = "backend", stream_broken = "backend",
  limit_exceeded = "backend", queue_full = "backend", suspended = "backend",
  rate_limited = "rate_limit", quota_exhausted = "rate_limit",
  content_filtered = "intercepted", credential_error = "credential",
  model_unavailable = "model", unsupported = "model", context_too_long = "context", too_large = "context",
  client_error = "client",
}

---Names for common lists.
trigger.presets = {
  backend_errors = { "backend", "credential" },
  errors = { "backend", "credential", "rate_limit", "intercepted", "model", "context" },
  any = { "backend", "credential", "rate_limit", "intercepted", "model", "context", "client" },
}

---A status written as 429, "429" or "5xx".
---@param item any
---@return integer|nil status 100 to 599, or 1 to 5 for a hundred
---@return boolean|nil hundred
local function status_of(item)
  if math.type(item) == "float" then item = math.tointeger(item) end
  if math.type(item) == "integer" then
    if item >= 100 and item <= 599 then return item, false end
    return nil
  end
  if type(item) ~= "string" then return nil end
  local digit = item:match("^([1-5])xx$")
  if digit then return tonumber(digit), true end
  if item:match("^[1-5]%d%d$") then return tonumber(item), false end
end

---Is this one item of a list understood?
---@param item any
---@return boolean
function trigger.known(item)
  if type(item) == "string" then
    if trigger.classes[item] or trigger.outcomes[item] or trigger.presets[item] then return true end
  end
  return status_of(item) ~= nil
end

local function add(rule, item)
  local preset = trigger.presets[item]
  if preset then
    for _, class in ipairs(preset) do rule.names[class] = true end
    return true
  end
  if trigger.classes[item] or trigger.outcomes[item] then
    rule.names[item] = true
    return true
  end
  local status, hundred = status_of(item)
  if not status then return false end
  rule[hundred and "hundreds" or "statuses"][status] = true
  return true
end

---Turns a preset or a list into what `matches` reads.
---Waits: no.
---Cost: about 3 µs: do it when the file is loaded.
---Errors: raises on what is no preset, class, outcome or status.
---@param spec string|table "errors", or { "backend", "credential_error", 429, "5xx" }
---@return moongate.Trigger
function trigger.compile(spec)
  local rule = { names = {}, statuses = {}, hundreds = {} }
  if type(spec) ~= "table" then spec = { spec } end
  for _, item in ipairs(spec) do
    if not add(rule, item) then
      error("trigger: found " .. tostring(item)
        .. ", expected a preset, a class, an outcome or a status", 2)
    end
  end
  return rule
end

---Is this attempt a failure of the kind the rule names? What is nobody's fault (a client that left)
---has no class and never is.
---Waits: no.
---Cost: about 0.5 µs.
---Errors: none.
---@param rule moongate.Trigger
---@param attempt moongate.Attempt
---@return boolean
function trigger.matches(rule, attempt)
  local class = attempt.class
  if attempt.ok or not class then return false end
  if rule.names[class] or rule.names[attempt.outcome] then return true end
  local status = attempt.status or 0
  return rule.statuses[status] or rule.hundreds[status // 100] or false
end

return trigger
