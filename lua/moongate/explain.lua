-- SPDX-License-Identifier: MIT
-- Runs one request through the real configuration in a world of its own and tells each step with its
-- reason. Providers do what --outcome says, and answer well otherwise; what is suspended, down or open
-- may come from a running gateway. Returns function(args) → exit status.

local core = require "moongate.sim_core"
local json = require "moongate.sim_json"
local outcome = require "moongate.explain_outcome"
local world = require "moongate.sim_world"

local REPEATED = { ["--header"] = "headers", ["--outcome"] = "outcomes" }
local FLAGS = { ["--stream"] = "stream", ["--json"] = "json" }

local function options_of(args)
  local options, i = { headers = {}, outcomes = {} }, 1
  while args[i] do
    local name = args[i]
    if FLAGS[name] then
      options[FLAGS[name]] = true
    else
      local list = REPEATED[name]
      if list then
        table.insert(options[list], args[i + 1])
      else
        options[name:sub(3):gsub("-", "_")] = args[i + 1]
      end
      i = i + 1
    end
    i = i + 1
  end
  return options
end

-- ---------------------------------------------------------------- the request

local function names_of(list)
  local names = {}
  for i, item in ipairs(list) do names[i] = item.name end
  return #names > 0 and table.concat(names, ", ") or "none"
end

-- The path to ask for: that of the route, with something in place of its star.
local function path_of(routes, options)
  if options.path then return options.path end
  local wanted = options.route
  for _, route in ipairs(routes) do
    if not wanted or route.name == wanted then
      if not route.prefix then return route.path, route end
      local chat = "/v1/chat/completions"
      return chat:find(route.path, 1, true) == 1 and chat or route.path .. "chat/completions", route
    end
  end
  error(wanted and ('--route: there is no route "%s"; there are: %s'):format(wanted, names_of(routes))
    or "the configuration has no routes", 0)
end

-- A model that the route takes, when none was named.
local function model_of(options, route)
  if options.model then return options.model end
  local first = route and route.models and route.models[1]
  return first and first:gsub("%*", "x") or "gpt-4o"
end

local function headers_of(options)
  local headers = {}
  for _, text in ipairs(options.headers) do
    local name, value = text:match("^([^:]+):%s*(.*)$")
    if not name then error(('--header: found "%s", expected "NAME: VALUE"'):format(text), 0) end
    headers[name:lower()] = value
  end
  return headers
end

local function secret_of(made, key)
  return made.core:secret(key) or error(('--key: the configuration has no key "%s"'):format(key), 0)
end

local function request_of(made, options)
  local routes = made.core:routes()
  local path, route = path_of(routes, options)
  local headers = headers_of(options)
  if options.key then headers.authorization = "Bearer " .. secret_of(made, options.key) end
  return { path = path, model = model_of(options, route), stream = options.stream, headers = headers }
end

-- ---------------------------------------------------------------- the providers

-- One function for every provider: targets that were named do as they were told.
local function providers_of(options)
  local scripts, taken = {}, {}
  for _, text in ipairs(options.outcomes) do
    local target, replies = outcome.parse(text)
    scripts[target] = replies
  end
  return function(call)
    local key = scripts[call.target] and call.target or call.provider
    local replies = scripts[key]
    if not replies then return 200 end
    taken[key] = (taken[key] or 0) + 1
    return replies[math.min(taken[key], #replies)]
  end, scripts
end

-- A provider that is not in the configuration is a slip of the pen.
local function check_targets(made, scripts)
  local known = {}
  for _, name in ipairs(made.core:providers()) do known[name] = true end
  for target in pairs(scripts) do
    if not known[target:match("^[^/]+")] then
      error(('--outcome: the configuration has no provider "%s"'):format(target:match("^[^/]+")), 0)
    end
  end
end

-- Puts a running gateway's state into the world. Returns how many targets were not well.
local function load_live(made, text)
  local state = json.decode(text)
  local targets = type(state) == "table" and state.targets
  if type(targets) ~= "table" then error("the running gateway's answer is no list of targets", 0) end
  local known, ill = {}, 0
  for _, name in ipairs(made.core:providers()) do known[name] = true end
  for _, t in ipairs(targets) do
    if type(t) == "table" and known[t.provider] then
      local suspended = tonumber(t.suspended_for) or 0
      if t.up == false then made:probe(t.provider, false) end
      if suspended > 0 then
        made:suspend(t.target, suspended, type(t.reason) == "string" and t.reason or "suspended")
      end
      if t.breaker == "open" or t.breaker == "half_open" then
        made:set("breaker", t.target, t.breaker)
        made:set("breaker", t.target .. ":opened", made:now())
      end
      if t.up == false or suspended > 0 or (t.breaker and t.breaker ~= "closed") then ill = ill + 1 end
    end
  end
  return ill
end

-- ---------------------------------------------------------------- what is told

local function steps_of(result, started)
  local steps = {}
  for i, note in ipairs(result.notes) do
    steps[i] = { at = math.max(0, note.at - started), text = note.text }
  end
  return steps
end

local function answer_of(result)
  local text = ("answer: %d"):format(result.status)
  if result.target then text = text .. " from " .. result.target end
  if result.access and result.access["end"] ~= "complete" then
    text = text .. (", %s"):format(result.access["end"])
  end
  local message = result.error and json.at(result.error, "message")
  if message then text = text .. (' ("%s")'):format(message) end
  return text
end

local function print_people(about, options, result, started, live)
  core.print(("%s %s, model %s%s: route %s, policy %s\n"):format("POST", about.path, about.model,
    about.stream and ", stream" or "", result.access.route or "none", result.access.policy or "none"))
  if live then
    core.print(("state of the running gateway: %d target%s not well\n"):format(live, live == 1 and "" or "s"))
  end
  core.print("\n")
  for _, step in ipairs(steps_of(result, started)) do
    core.print(("%8.3fs  %s\n"):format(step.at, step.text))
  end
  core.print(("%8.3fs  %s\n"):format(result.took, answer_of(result)))
  if result.status == 401 and not options.key then
    core.print("\nThe configuration asks clients for a key: --key NAME uses one of its.\n")
  end
end

local function print_json(about, result, started)
  core.print(json.encode {
    request = { path = about.path, model = about.model, stream = about.stream or false },
    route = result.access.route, policy = result.access.policy, steps = steps_of(result, started),
    status = result.status, target = result.target, took = result.took, trail = result.trail,
    ["end"] = result.access["end"],
  } .. "\n")
end

---@param args string[]
---@return integer status
return function(args)
  local options = options_of(args)
  local script, scripts = providers_of(options)
  local made = world.new { real_config = true, explain = true }
  check_targets(made, scripts)
  for _, name in ipairs(made.core:providers()) do made.providers[name] = script end
  local live = options.live_state and load_live(made, options.live_state)
  local about = request_of(made, options)
  local started = made:now()
  local result = made:request(about)
  if options.json then
    print_json(about, result, started)
  else
    print_people(about, options, result, started, live)
  end
  return 0
end
