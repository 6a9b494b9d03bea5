-- SPDX-License-Identifier: MIT
-- A world: a whole gateway in virtual time (moongate.sim_core), with providers that follow scripts and
-- clients that a test starts. Turns what the gateway sends into replies, and what clients get into
-- results. Waits for nothing: time passes when a test lets it.

local core = require "moongate.sim_core"
local config = require "moongate.sim_config"
local json = require "moongate.sim_json"
local random = require "moongate.sim_random"
local reply = require "moongate.sim_reply"
local result = require "moongate.sim_result"

local world = {}

---@class moongate.SimWorld
---@field calls table<string, integer> how often each provider was called
---@field sent moongate.SimCall[] every call, in order
---@field providers table<string, any> the scripts; may be replaced while the world goes on
---@field warnings string[] what the configuration's check had to say
---@field random moongate.SimRandom of the world's seed
local World = {}
World.__index = World

---One call of a provider.
---@class moongate.SimCall
---@field at number virtual seconds
---@field provider string its name
---@field model string|nil that was asked for
---@field target string "provider/model"
---@field api_key string|nil the name of the key it came with, of a provider that has several
---@field url string where it was sent
---@field headers table<string, string> as sent, lower-case names
---@field body string as sent
---@field n integer the how manieth of this provider's calls; 1 is the first
---@field stream boolean a stream is asked for
---@field handle moongate.SimHandle the client's request
---@field cancelled_at number|nil when the gateway gave it up
local Call = {}

---One field of the request's body.
---@param path string
---@return any|nil
function Call:json(path)
  return (core.decode(self.body, path))
end

Call.__index = Call

---A client's request under way.
---@class moongate.SimHandle
---@field result moongate.SimResult|nil once it has ended
---@field started number virtual seconds
---@field sent moongate.SimCall[] the calls that were made for it, in order
local Handle = {}
Handle.__index = Handle

---The client goes away.
function Handle:leave()
  self.world.core:leave(self.id)
end

local WORLD_FIELDS = {
  policy = true, source = true, settings = true, routes = true, keys = true, providers = true, config = true,
  real_config = true, files = true, seed = true, wall = true, explain = true, limits = true,
  on_error = true,
}

---What a world is made of.
---@class moongate.SimWorldSpec
---@field policy? string a policy of policies/; "failover"
---@field source? string the text of a policy instead
---@field settings? table of the policy
---@field on_error? string of the route: "deny" = no default plan
---@field routes? table[] instead of one route for everything under /v1/
---@field keys? table[] clients' keys, as in a gateway.lua
---@field limits? table as in a gateway.lua
---@field config? string the text of a whole gateway.lua instead
---@field real_config? boolean the gateway.lua of the run instead
---@field files? table<string, string> more files: "policies/mine.lua", "lua/helper.lua"
---@field providers? table<string, any> name → replies, of which the last repeats, or one reply, or function(call) → reply
---@field seed? integer decides everything random; 1
---@field wall? number seconds since the epoch at the start
---@field explain? boolean results have notes

---@param about moongate.SimWorldSpec
---@return moongate.SimWorld
function world.new(about)
  for name in pairs(about) do
    if not WORLD_FIELDS[name] then error(("there is no field %q"):format(tostring(name)), 0) end
  end
  local text, files
  if about.real_config then text = core.text("gateway.lua") else text, files = config.text(about) end
  local made, warnings = core.world {
    config = text, files = files, seed = about.seed or 1, wall = about.wall, explain = about.explain or false,
  }
  local self = setmetatable({
    core = made, warnings = warnings or {}, providers = {}, calls = {}, sent = {}, playing = {},
    handles = {}, random = random.new(about.seed or 1),
  }, World)
  for name, script in pairs(about.providers or {}) do
    self.providers[name], self.calls[name] = script, 0
  end
  return self
end

-- ---------------------------------------------------------------- what happens

local OK = { status = 200 }

local function reply_for(self, call)
  local script = self.providers[call.provider]
  if script == nil then return OK end
  local item = script
  if type(script) == "table" then item = reply.alone(script) or script[math.min(call.n, #script)] end
  if type(item) == "function" then item = item(call) end
  if item == nil then return OK end
  return reply.of(item)
end

local events = {}

function events.sent(self, event)
  local handle = self.handles[event.request]
  local n = (self.calls[event.provider] or 0) + 1
  self.calls[event.provider] = n
  local call = setmetatable({
    at = event.at, provider = event.provider, target = event.target, api_key = event.api_key, url = event.url, headers = event.headers, body = event.body,
    n = n, stream = handle.stream, handle = handle, model = event.target:match("/(.*)$"),
  }, Call)
  self.playing[event.id] = call
  handle.ids[#handle.ids + 1] = event.id
  handle.sent[#handle.sent + 1] = call
  self.sent[#self.sent + 1] = call
  local spec = reply_for(self, call)
  call.reply = spec
  self.core:play(event.id, reply.steps(spec, call))
end

function events.cancelled(self, event)
  local call = self.playing[event.id]
  if call then call.cancelled_at = event.at end
end

function events.ended(self, event)
  local handle = self.handles[event.request]
  if not handle then return end
  self.handles[event.request] = nil
  for _, id in ipairs(handle.ids) do self.playing[id] = nil end
  handle.result = result.new(event, handle.started, handle.sent)
end

-- The next thing that happens, at most up to this moment. False when nothing did.
local function step(self, limit)
  local event = self.core:run(limit)
  if not event then return false end
  events[event.kind](self, event)
  return true
end

---Lets time pass; what is due happens.
---@param seconds number
function World:advance(seconds)
  local limit = self:now() + seconds
  while step(self, limit) do end
end

---Lets time pass up to a moment.
---@param at number virtual seconds
function World:advance_to(at)
  while step(self, at) do end
end

---The time in the world; it begins at 1000.
---@return number virtual seconds
function World:now()
  return self.core:now()
end

-- ---------------------------------------------------------------- clients

local REQUEST_FIELDS = {
  model = true, stream = true, headers = true, key = true, body = true, path = true, method = true,
  more = true,
}

---A client's request.
---@class moongate.SimRequest
---@field model? string the model that is asked for, "gpt"; false = none
---@field stream? boolean asks for a stream; false
---@field headers? table<string, string> more headers
---@field key? string the client's secret
---@field more? table<string, any> more fields of the body
---@field body? string instead of the usual body
---@field path? string the path and query; "/v1/chat/completions"
---@field method? string the method; "POST"

local PLAIN = '{"model":%s,"messages":[{"role":"user","content":"hello"}]}'
local STREAM = '{"model":%s,"messages":[{"role":"user","content":"hello"}],"stream":true}'

local function body_of(about, model)
  if about.body then return about.body end
  if model and not about.more then
    return (about.stream and STREAM or PLAIN):format(json.encode(model))
  end
  local value = { model = model or nil, messages = { { role = "user", content = "hello" } },
    stream = about.stream }
  for name, item in pairs(about.more or {}) do value[name] = item end
  return json.encode(value)
end

local function headers_of(about)
  local headers = { ["content-type"] = "application/json" }
  if about.key then headers.authorization = "Bearer " .. about.key end
  for name, value in pairs(about.headers or {}) do headers[name:lower()] = value end
  return headers
end

-- What a client sends, as sim_core takes it.
local function wire_of(about)
  local model = about.model
  if model == nil then model = "gpt" end
  return {
    method = about.method or "POST", path = about.path or "/v1/chat/completions", headers = headers_of(about),
    body = body_of(about, model),
  }
end

---The bytes of a request that is made often, for sim_core's `start`.
---@param about moongate.SimRequest
---@return string
function world.bytes(about)
  local text = core.http(wire_of(about))
  return text
end

---Starts a request; it goes on when time passes.
---@param about? moongate.SimRequest
---@return moongate.SimHandle
function World:start(about)
  about = about or {}
  for name in pairs(about) do
    if not REQUEST_FIELDS[name] then error(("request: there is no field %q"):format(tostring(name)), 2) end
  end
  local handle = setmetatable({
    world = self, started = self:now(), stream = about.stream or false, about = about, ids = {}, sent = {},
  }, Handle)
  handle.id = self.core:start(wire_of(about))
  self.handles[handle.id] = handle
  return handle
end

---A request from beginning to end.
---@param about? moongate.SimRequest
---@return moongate.SimResult
function World:request(about)
  local handle = self:start(about)
  while not handle.result do
    if not step(self, math.huge) then
      error("the request waits for something that never comes: set a time limit", 2)
    end
  end
  return handle.result
end

---Lets everything that is under way end.
---@param handles moongate.SimHandle[]
function World:finish(handles)
  for _, handle in ipairs(handles) do
    while not handle.result and step(self, math.huge) do end
  end
end

-- ---------------------------------------------------------------- state

---Facts on a target, as moongate.health gives them.
---@param target string
---@return moongate.Health
function World:facts(target) return self.core:facts(target) end

---Suspends a target, as moongate.suspend does.
---@param target string
---@param seconds number
---@param reason? string
function World:suspend(target, seconds, reason) self.core:suspend(target, seconds, reason or "test") end

---Ends the suspension of a target.
---@param target string
function World:resume(target) self.core:resume(target) end

---A health probe's verdict on a provider.
---@param provider string
---@param up boolean
function World:probe(provider, up) self.core:probe(provider, up) end

---A value of moongate.store.
---@param ns string
---@param key string
---@return moongate.Value|nil
function World:store(ns, key) return self.core:store(ns, key) end

---Sets a value of moongate.store.
---@param ns string
---@param key string
---@param value moongate.Value|nil
---@param ttl? number seconds
function World:set(ns, key, value, ttl) self.core:set(ns, key, value, ttl) end

---Loads another configuration, as a reload of a running gateway does.
---@param about moongate.SimWorldSpec|string a table as for sim.world, or the text of gateway.lua
---@return integer|nil generation nil when it was refused
---@return string[] diagnostics what was wrong, or the warnings
function World:reload(about)
  if type(about) == "string" then return self.core:reload(about) end
  local text, files = config.text(about)
  for name, script in pairs(about.providers or {}) do
    self.providers[name], self.calls[name] = script, self.calls[name] or 0
  end
  return self.core:reload(text, files)
end

---What /metrics says.
---@return string Prometheus text
function World:metrics() return self.core:metrics() end

---What serving requests has written to the error log so far; what a load has to say is returned.
---@return string[] lines
function World:log() return self.core:log() end

---Gives the world's memory back. A runner does it after each test.
function World:close() self.core:close() end

return world
