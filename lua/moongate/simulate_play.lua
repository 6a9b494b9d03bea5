-- SPDX-License-Identifier: MIT
-- One policy through a whole scenario, in a brief world of sim_core: it tells only what is counted here, and
-- as values, since hundreds of thousands of requests go through. Tests use moongate.sim_world instead.

local config = require "moongate.sim_config"
local core = require "moongate.sim_core"
local tally = require "moongate.simulate_tally"

local BEGIN = 1000 -- where the clock of a world begins

---A request under way; its list part is the calls made for it.
---@class moongate.SimulatedRequest
---@field stream boolean
---@field started number

---A call of a provider. What it is billed is set when it is answered.
---@class moongate.SimulatedCall
---@field at number
---@field provider string
---@field api_key string|nil
---@field stream boolean
---@field model string|nil
---@field prompt_cost? number
---@field completion_cost? number
---@field first? number seconds to the first token
---@field length? number seconds from there to the last
---@field cancelled? boolean
---@field cost? number

local function world_of(plan, candidate, providers)
  local text = config.text {
    policy = candidate.policy, settings = candidate.settings, routes = candidate.routes, limits = plan.limits,
    providers = providers, on_error = candidate.on_error,
  }
  local made = core.world { config = text, seed = plan.seed, wall = plan.wall, brief = true }
  return made
end

local function model_of(target)
  return target:match("/(.*)$")
end

-- The same, looked up once for each target.
local function models()
  return setmetatable({}, { __index = function(known, target)
    local model = model_of(target)
    known[target] = model
    return model
  end })
end

---@param plan moongate.SimulatePlan
---@param candidate table a policy with its settings
---@param progress fun(at: number) told the seconds that have passed in the scenario
---@return table summary
return function(plan, candidate, progress)
  local behaviour, counts = plan:behaviour(BEGIN), tally.new(plan)
  local world, scripts = world_of(plan, candidate, behaviour.config), behaviour.scripts
  local requests, calls, model_at = {}, {}, models() -- the first two under way, by sim_core's numbers
  local start, next_event, answer = world.start, world.next, world.play

  local function sent(at, id, of, provider, target, api_key)
    local request = requests[of]
    local call = { at = at, provider = provider, api_key = api_key, stream = request.stream, model = model_at[target], id = id }
    calls[id] = call
    request[#request + 1] = call
    answer(world, id, scripts[provider](call))
  end

  local function ended(at, id, ...)
    local request = requests[id]
    requests[id] = nil
    for _, call in ipairs(request) do calls[call.id] = nil end
    counts:request_ended(request, at, ...)
  end

  local function advance(limit)
    local kind, at, id, a, b, c, d = next_event(world, limit)
    while kind do
      if kind == "sent" then
        sent(at, id, a, b, c, d)
      elseif kind == "ended" then
        ended(at, id, a, b, c, d)
      elseif calls[id] then
        counts:call_cancelled(calls[id], at)
      end
      kind, at, id, a, b, c, d = next_event(world, limit)
    end
  end

  for at, about in plan:requests() do
    at = BEGIN + at
    advance(at)
    requests[start(world, about.bytes)] = { stream = about.stream, started = at }
    counts:started()
    progress(at - BEGIN)
  end
  advance(BEGIN + plan.duration + plan.patience)
  world:close()
  return counts:summary()
end
