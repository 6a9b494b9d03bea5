-- SPDX-License-Identifier: MIT
-- A scenario as its file writes it → requests in time, and providers that behave as described. Everything
-- random is drawn from the scenario's seed, with a generator of its own for the traffic and for each
-- provider, so that all policies meet the same day.

local random = require "moongate.sim_random"
local reply = require "moongate.sim_reply"
local timeline = require "moongate.simulate_timeline"
local world = require "moongate.sim_world"

local scenario = {}

local DAY = 86400
local MAX_REQUESTS = 10000000 -- of one run: a slip in a rate must not run for hours
local SPEED = 50              -- tokens per second, when a provider does not say
local EVENTS = 4              -- pieces in which a stream's content comes
local EVEN = 10              -- seconds for which a rate is taken as constant
local LONGEST_GAP = 5         -- seconds between two pieces; longer streams come in more
local KEPT_REQUESTS = 10000   -- different requests whose bytes are kept

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
---@field rate_limit? { requests: number, per: number, retry_after?: number } of each of its keys
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

---@class moongate.PlannedRequest
---@field stream boolean
---@field bytes string

-- Makes requests, of which the same is made once.
local function requester()
  local streams, plains, n = {}, {}, 0
  return function(model, stream, session)
    local kept = stream and streams or plains
    local of_model = kept[model] or {}
    kept[model] = of_model
    local about = of_model[session]
    if about then return about end
    local headers = session > 0 and { ["x-session-id"] = ("s%d"):format(session) } or nil
    about = { stream = stream, bytes = world.bytes { model = model, stream = stream, headers = headers } }
    if n < KEPT_REQUESTS then of_model[session], n = about, n + 1 end
    return about
  end
end

---Iterates over the requests: when (seconds since the start), and what is asked. Arrivals are a Poisson
---process of the scenario's rate.
---@return fun(): number|nil, moongate.PlannedRequest|nil
function plan:requests()
  local r, at, n = random.new(self.seed), 0, 0
  local sessions, request = self.value.sessions, requester()
  return function()
    at = next_arrival(self, r, at)
    n = n + 1
    if at >= self.duration then return nil end
    if n > MAX_REQUESTS then error(("%s: more than %d requests"):format(self.file, MAX_REQUESTS), 0) end
    local model, stream = self.model(r), r:unit() < self.stream
    return at, request(model, stream, sessions and r:below(sessions) or 0)
  end
end

-- ---------------------------------------------------------------- providers

local function outage_at(outages, t)
  for _, outage in ipairs(outages) do
    if t >= outage.from and t < outage.to then return outage end
  end
end

-- A token bucket for each key: so many requests at once, refilled evenly.
local function limiter(spec)
  if not spec then return function() return nil end end
  local buckets = {}
  return function(t, key)
    local bucket = buckets[key or ""] or { level = spec.requests, before = 0 }
    buckets[key or ""] = bucket
    bucket.level = math.min(spec.requests, bucket.level + (t - bucket.before) * spec.requests / spec.per)
    bucket.before = t
    if bucket.level >= 1 then
      bucket.level = bucket.level - 1
      return nil
    end
    return { status = 429, retry_after = spec.retry_after }
  end
end

-- A good answer's steps. What is billed, and when: dollars, and seconds since it was sent.
local function answer(call, price, after, connect, first, prompt, completion, speed)
  local length = completion / speed
  call.prompt_cost, call.completion_cost = prompt * (price.prompt or 0) / 1e6, completion * (price.completion or 0) / 1e6
  call.first, call.length = first, length
  if not call.stream then
    return timeline.plain(call.model, connect, math.max(after, first + length), prompt, completion)
  end
  local events = math.max(EVENTS, math.ceil(length / LONGEST_GAP) + 1)
  return timeline.stream(call.model, events, connect, after, first, length / (events - 1), prompt, completion)
end

-- What fails a call now, as a reply; nil: nothing does.
local function failure(provider, outage, refused, unlucky)
  if outage and not outage.slow then
    return { status = outage.status or 503, retry_after = outage.retry_after, refuse = outage.refuse, never = outage.stall }
  end
  if refused then return refused end
  if unlucky then return { status = provider.error_status or 500 } end
end

-- The function that plays a provider's calls: the steps of each, as sim_core takes them. Draws the same
-- numbers for each call whatever becomes of it, so that two policies differ by what they do and not by luck.
local function script_of(self, name, provider, clock)
  local r = random.new(self.seed + 7919 * (1 + clock.index))
  local where = ("%s: providers.%s."):format(self.file, name)
  local function draw(field, usual) return random.distribution(provider[field] or usual, where .. field) end
  local connect, latency, first_token, speed = draw("connect", 0), draw("latency", 0.1), draw("first_token", 0.5),
    draw("speed", SPEED)
  local outages, limited, price = provider.outages or {}, limiter(provider.rate_limit), provider.price or {}
  local error_rate = provider.error_rate or 0
  return function(call)
    local t = call.at - clock.start
    local connected, after, first = connect(r), latency(r), first_token(r)
    local tokens_per_second = math.max(0.1, speed(r))
    local prompt, completion = math.floor(self.prompt(r) + 0.5), math.floor(self.completion(r) + 0.5)
    local unlucky = r:unit() < error_rate
    local outage = outage_at(outages, t)
    after = math.max(after, connected)
    local slow = outage and outage.slow
    if slow then after, first, tokens_per_second = after * slow, first * slow, tokens_per_second / slow end
    local refused = (slow or not outage) and limited(t, call.api_key) or nil
    local spec = failure(provider, outage, refused, unlucky)
    if not spec then return answer(call, price, after, connected, first, prompt, completion, tokens_per_second) end
    spec.after, spec.connect = after, connected
    return reply.steps(spec, call)
  end
end

---What providers do: `config`, as sim.world takes it, and a function for each that turns a call into
---steps. They count time from `start`.
---@param start number virtual seconds
---@return { config: table<string, table>, scripts: table<string, fun(call: table): table[]> }
function plan:behaviour(start)
  local clock = { start = start, index = 0 }
  local out = { config = {}, scripts = {} }
  for _, name in ipairs(sorted(self.value.providers)) do
    local provider = self.value.providers[name]
    clock.index = clock.index + 1
    out.config[name], out.scripts[name] = provider.config or {}, script_of(self, name, provider, clock)
  end
  return out
end

return scenario
