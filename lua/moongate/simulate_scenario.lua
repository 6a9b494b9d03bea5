-- SPDX-License-Identifier: MIT
-- A scenario as its file writes it → requests in time, and providers that behave as described. Everything
-- random is drawn from the scenario's seed, with a generator of its own for the traffic and for each
-- provider, so that all policies meet the same day.

local random = require "moongate.sim_random"

local scenario = {}

local DAY = 86400
local MAX_REQUESTS = 10000000 -- of one run: a slip in a rate must not run for hours
local SPEED = 50              -- tokens per second, when a provider does not say
local EVENTS = 4              -- pieces in which a stream's content comes
local EVEN = 10              -- seconds for which a rate is taken as constant
local LONGEST_GAP = 5         -- seconds between two pieces; longer streams come in more

---A scenario's file returns this.
---@class moongate.Scenario
---@field duration? number seconds; a day
---@field rate? number|fun(t: number): number requests per second; 1
---@field stream? number share of requests that are streams; 0.5
---@field seed? integer 1
---@field wall? number seconds since the epoch at the start
---@field models? table<string, number> name → weight; { gpt = 1 }
---@field sessions? integer requests carry one of so many values of x-session-id
---@field prompt? number|table tokens, a distribution; 500
---@field completion? number|table tokens, a distribution; 200
---@field providers table<string, moongate.ScenarioProvider>
---@field policies? table<string, { policy: string?, settings: table?, routes: table[]? }>
---@field settings? table for policies that are named on the command line and not in `policies`
---@field limits? table of the gateway

---Distributions are numbers, { from =, to = }, { mean = } or { median =, p99 = }.
---@class moongate.ScenarioProvider
---@field connect? number|table seconds; 0
---@field latency? number|table seconds to the head of an answer, and of an error; 0.1
---@field first_token? number|table seconds to the first token; 0.5
---@field speed? number|table tokens per second after it; 50
---@field error_rate? number share of calls that fail with error_status; 0
---@field error_status? integer 500
---@field price? { prompt: number, completion: number } per million tokens
---@field outages? { from: number, to: number, status?: integer, refuse?: boolean, stall?: boolean, slow?: number, retry_after?: number }[]
---@field rate_limit? { requests: number, per: number, retry_after?: number }
---@field config? table further fields of the provider in the configuration

local plan = {}
plan.__index = plan

local FIELDS = {
  duration = "number", rate = "any", stream = "number", seed = "number", wall = "number", models = "table",
  sessions = "number", prompt = "any", completion = "any", providers = "table", policies = "table",
  settings = "table", limits = "table",
}

local PROVIDER_FIELDS = {
  connect = "any", latency = "any", first_token = "any", speed = "any", error_rate = "number",
  error_status = "number", price = "table", outages = "table", rate_limit = "table", config = "table",
}

local function check(value, fields, what)
  if type(value) ~= "table" then error(("%s: found a %s, expected a table"):format(what, type(value)), 0) end
  for name, item in pairs(value) do
    local kind = fields[name]
    if not kind then error(("%s: there is no field %q"):format(what, tostring(name)), 0) end
    if kind ~= "any" and type(item) ~= kind then
      error(("%s: %s: found a %s, expected a %s"):format(what, name, type(item), kind), 0)
    end
  end
end

-- Names in order: what is drawn must not depend on the order of a hash table.
local function sorted(names)
  local out = {}
  for name in pairs(names) do out[#out + 1] = name end
  table.sort(out)
  return out
end

-- Draws a name by its weight.
local function chooser(weights)
  local names, total = sorted(weights), 0
  for _, name in ipairs(names) do total = total + weights[name] end
  return function(r)
    local left = r:unit() * total
    for _, name in ipairs(names) do
      left = left - weights[name]
      if left < 0 then return name end
    end
    return names[#names]
  end
end

---@param value moongate.Scenario
---@param file string names it in messages
---@return moongate.SimulatePlan
function scenario.of(value, file)
  check(value, FIELDS, file)
  if not value.providers or not next(value.providers) then error(file .. ": providers: there are none", 0) end
  for name, provider in pairs(value.providers) do
    check(provider, PROVIDER_FIELDS, ("%s: providers.%s"):format(file, name))
  end
  local rate = value.rate or 1
  if type(rate) == "number" and rate > 0 then
    local constant = rate
    rate = function() return constant end
  elseif type(rate) ~= "function" then
    error(file .. ": rate: expected a number above 0 or a function of the time", 0)
  end
  return setmetatable({
    value = value, file = file, rate = rate, duration = value.duration or DAY, stream = value.stream or 0.5,
    seed = math.tointeger(value.seed or 1) or 1, wall = value.wall, limits = value.limits, patience = 600,
    model = chooser(value.models or { gpt = 1 }),
    prompt = random.distribution(value.prompt or 500, file .. ": prompt"),
    completion = random.distribution(value.completion or 200, file .. ": completion"),
  }, plan)
end

---@return string "24 h", "90 s"
function plan:length()
  local n = self.duration
  if n % 3600 == 0 then return ("%d h"):format(n // 3600) end
  if n % 60 == 0 then return ("%d min"):format(n // 60) end
  return ("%g s"):format(n)
end

---The policies to compare: those named, or all of the scenario in the order of their names.
---@param wanted string[]
---@return table[]
function plan:candidates(wanted)
  local known = self.value.policies or {}
  local names = #wanted > 0 and wanted or sorted(known)
  if #names == 0 then error(self.file .. ": it names no policies, and --policy was not given", 0) end
  local out = {}
  for i, name in ipairs(names) do
    local found = known[name] or { policy = name }
    if not known[name] and not self.value.settings then
      error(('%s: there is no policy "%s" in it, and no `settings` for one of policies/'):format(self.file, name), 0)
    end
    out[i] = {
      name = name, policy = found.policy or "failover", settings = found.settings or self.value.settings,
      routes = found.routes, on_error = found.on_error,
    }
  end
  return out
end

-- When the next request comes after this moment. A rate that changes is taken as even for a few seconds.
local function next_arrival(self, r, at)
  local due = r:exponential(1)
  while at < self.duration do
    local rate = math.max(0, self.rate(at))
    if due <= rate * EVEN then return at + due / rate end
    due, at = due - rate * EVEN, at + EVEN
  end
  return at
end

---Iterates over the requests: when (seconds since the start), and what is asked. Arrivals are a Poisson
---process of the scenario's rate.
function plan:requests()
  local r, at, n = random.new(self.seed), 0, 0
  local sessions = self.value.sessions
  return function()
    at = next_arrival(self, r, at)
    n = n + 1
    if at >= self.duration then return nil end
    if n > MAX_REQUESTS then error(("%s: more than %d requests"):format(self.file, MAX_REQUESTS), 0) end
    local about = { model = self.model(r), stream = r:unit() < self.stream }
    if sessions then about.headers = { ["x-session-id"] = ("s%d"):format(r:below(sessions)) } end
    return at, about
  end
end

-- ---------------------------------------------------------------- providers

local function outage_at(outages, t)
  for _, outage in ipairs(outages) do
    if t >= outage.from and t < outage.to then return outage end
  end
end

-- A token bucket: so many requests at once, refilled evenly.
local function limiter(spec)
  if not spec then return function() return nil end end
  local level, before = spec.requests, 0
  return function(t)
    level = math.min(spec.requests, level + (t - before) * spec.requests / spec.per)
    before = t
    if level >= 1 then
      level = level - 1
      return nil
    end
    return { status = 429, retry_after = spec.retry_after }
  end
end

-- What the call of an answer is billed, and when: dollars, and seconds since it was sent.
local function bill_of(price, prompt, completion, first, length)
  return {
    prompt = prompt * (price.prompt or 0) / 1e6, completion = completion * (price.completion or 0) / 1e6,
    first = first, length = length,
  }
end

local function answer(call, spec, drawn, price)
  local length = drawn.completion / drawn.speed
  call.bill = bill_of(price, drawn.prompt, drawn.completion, drawn.first, length)
  local usage = { drawn.prompt, drawn.completion }
  if not call.stream then
    return { after = math.max(spec.after, drawn.first + length), connect = spec.connect, usage = usage, content = "answer" }
  end
  local events = math.max(EVENTS, math.ceil(length / LONGEST_GAP) + 1)
  return {
    after = spec.after, connect = spec.connect, first_token = drawn.first, events = events,
    gap = length / (events - 1), usage = usage,
  }
end

-- The function that answers a provider's calls. Draws the same numbers for each call whatever becomes of
-- it, so that two policies differ by what they do and not by luck.
local function script_of(self, name, provider, clock)
  local r = random.new(self.seed + 7919 * (1 + clock.index))
  local where = ("%s: providers.%s."):format(self.file, name)
  local function draw(field, usual) return random.distribution(provider[field] or usual, where .. field) end
  local connect, latency, first, speed = draw("connect", 0), draw("latency", 0.1), draw("first_token", 0.5),
    draw("speed", SPEED)
  local outages, limited, price = provider.outages or {}, limiter(provider.rate_limit), provider.price or {}
  return function(call)
    local t = call.at - clock.start
    local spec = { connect = connect(r), after = latency(r) }
    local drawn = {
      first = first(r), speed = math.max(0.1, speed(r)), prompt = math.floor(self.prompt(r) + 0.5),
      completion = math.floor(self.completion(r) + 0.5),
    }
    local unlucky = r:unit() < (provider.error_rate or 0)
    local outage = outage_at(outages, t)
    spec.after = math.max(spec.after, spec.connect)
    if outage and not outage.slow then
      spec.status, spec.retry_after = outage.status or 503, outage.retry_after
      spec.refuse, spec.never = outage.refuse, outage.stall
      return spec
    end
    if outage then
      spec.after, drawn.first, drawn.speed = spec.after * outage.slow, drawn.first * outage.slow, drawn.speed / outage.slow
    end
    local refused = limited(t)
    if refused then
      spec.status, spec.retry_after = refused.status, refused.retry_after
      return spec
    end
    if unlucky then
      spec.status = provider.error_status or 500
      return spec
    end
    return answer(call, spec, drawn, price)
  end
end

---The providers, as sim.world takes them; `begin` tells them when the scenario starts.
function plan:behaviour()
  local clock = { start = 0, index = 0 }
  local out = { providers = {} }
  for _, name in ipairs(sorted(self.value.providers)) do
    local provider = self.value.providers[name]
    clock.index = clock.index + 1
    local script = { script_of(self, name, provider, clock) }
    for key, value in pairs(provider.config or {}) do script[key] = value end
    out.providers[name] = script
  end
  function out.begin(_, start) clock.start = start end
  return out
end

return scenario
