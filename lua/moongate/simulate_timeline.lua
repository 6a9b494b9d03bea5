-- SPDX-License-Identifier: MIT
-- The steps of good answers, made once for each model and number of events and then only given new times
-- and token counts: a simulation plays hundreds of thousands of them. What is returned is valid until the
-- next call; sim_core copies it.

local reply = require "moongate.sim_reply"

local timeline = {}

local MAX_KEPT_EVENTS = 64
local USAGE = '{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d}'
local NO_USAGE = USAGE:format(0, 0, 0)

local plains, streams = {}, {}

-- Steps with the text around the token counts of the last piece of data.
local function frame(spec, call)
  local steps = reply.steps(spec, call)
  local last = steps[#steps - 1]
  local from, to = last.data:find(NO_USAGE, 1, true)
  return { steps = steps, last = last, before = last.data:sub(1, from - 1), after = last.data:sub(to + 1) }
end

local function with_usage(made, prompt, completion)
  made.last.data = made.before .. USAGE:format(prompt, completion, prompt + completion) .. made.after
  return made.steps
end

---@param model string
---@param connect number seconds to the connection
---@param at number seconds to the answer
---@param prompt integer tokens
---@param completion integer tokens
---@return table[] steps
function timeline.plain(model, connect, at, prompt, completion)
  local made = plains[model]
  if not made then
    made = frame({ after = 1, content = "answer", usage = { 0, 0 } }, { stream = false, model = model })
    plains[model] = made
  end
  local steps = made.steps
  steps[1].at = connect
  for i = 2, #steps do steps[i].at = at end
  return with_usage(made, prompt, completion)
end

local function stream_of(model, events)
  local of_model = streams[model] or {}
  streams[model] = of_model
  local made = of_model[events]
  if not made then
    local spec = { after = 1, first_token = 2, gap = 1, events = events, usage = { 0, 0 } }
    made = frame(spec, { stream = true, model = model })
    of_model[events] = events <= MAX_KEPT_EVENTS and made or nil
  end
  return made
end

---@param model string
---@param events integer pieces of content
---@param connect number seconds to the connection
---@param after number seconds to the head, and the role
---@param first number seconds to the first piece of content
---@param gap number seconds between two of them
---@param prompt integer tokens
---@param completion integer tokens
---@return table[] steps
function timeline.stream(model, events, connect, after, first, gap, prompt, completion)
  local made = stream_of(model, events)
  local steps = made.steps -- connection, head, role, one for each event, end
  steps[1].at, steps[2].at, steps[3].at = connect, after, after
  local at = math.max(first, after)
  for i = 4, events + 3 do
    steps[i].at = at
    at = at + gap
  end
  steps[events + 4].at = steps[events + 3].at
  return with_usage(made, prompt, completion)
end

return timeline
