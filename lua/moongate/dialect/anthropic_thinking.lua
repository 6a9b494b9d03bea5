-- SPDX-License-Identifier: MIT
-- Anthropic messages: thinking and sampling of a request, as the model, its tools and its maximum allow.

local common = require "moongate.dialect.common"

local thinking = {}

-- The API demands max_tokens. What a request gets whose client named none: every model takes so many. A
-- target's `set = { max_tokens = … }` says otherwise.
thinking.MAX_TOKENS = 4096
-- What thinking may add to that, so that the sum fits every model that thinks.
local MAX_WITH_THINKING = 32000
local LEAST_BUDGET = 1024

-- In the middle of a tool's use the turn must begin with the thinking that led to the call, when the model
-- thinks by budget.
local function calls_without_thinking(turns)
  for i = #turns, 1, -1 do
    local turn = turns[i]
    if turn.role == "assistant" then
      local first = turn.content[1].type
      for _, block in ipairs(turn.content) do
        if block.type == "tool_use" then return first ~= "thinking" and first ~= "redacted_thinking" end
      end
      return false
    end
    if turn.content[1].type ~= "tool_result" then return false end -- a new question
  end
  return false
end

local function is_forced(out)
  return out.tool_choice ~= nil and (out.tool_choice.type == "any" or out.tool_choice.type == "tool")
end

local DISPLAY = { [true] = "summarized", [false] = "omitted" }

-- A client of Anthropic that did not say has what is the model's default.
local function display(reasoning)
  if reasoning.display then return reasoning.display ~= "default" and reasoning.display or nil end
  return DISPLAY[reasoning.show]
end

local EFFORTS = { low = "low", minimal = "low", medium = "medium", high = "high", xhigh = "xhigh",
  max = "max" }

local function write_adaptive(reasoning, out, traits)
  local effort = EFFORTS[reasoning.effort] or EFFORTS[common.effort(reasoning.budget or 0)]
  if effort == "xhigh" and not traits.xhigh then effort = "high" end
  out.thinking = { type = "adaptive", display = display(reasoning) }
  out.output_config = effort and { effort = effort } or nil
  if not out.max_tokens then
    out.max_tokens = math.min(thinking.MAX_TOKENS + common.budget(effort or "high"), MAX_WITH_THINKING)
  end
end

---The tokens that a Claude is to think. They are a part of max_tokens, and something must be left of those to
---say.
---@param reasoning table of the common form
---@param max_tokens integer|nil
---@param ctx table
---@return integer|nil budget nil: max_tokens are too few to think
---@return integer|nil max_tokens as given, else what suits the budget
function thinking.budget(reasoning, max_tokens, ctx)
  local budget = reasoning.budget or common.budget(reasoning.effort) or common.budget("medium")
  budget = math.max(budget, LEAST_BUDGET)
  if not max_tokens then
    budget = reasoning.budget and budget or math.min(budget, MAX_WITH_THINKING - thinking.MAX_TOKENS)
    return budget, budget + thinking.MAX_TOKENS
  end
  if max_tokens <= LEAST_BUDGET then
    ctx:drop("reasoning")
    return nil, max_tokens
  end
  if budget >= max_tokens then
    budget = math.max(LEAST_BUDGET, max_tokens // 2)
    if reasoning.budget then ctx:drop("reasoning.budget") end
  end
  return budget, max_tokens
end

local function write_budget(reasoning, ctx, out)
  local budget
  budget, out.max_tokens = thinking.budget(reasoning, out.max_tokens, ctx)
  if not budget then return end
  out.thinking = { type = "enabled", budget_tokens = budget, display = display(reasoning) }
end

---@param request table of the common form
---@param ctx table
---@param out table the body: its turns, tools and max_tokens are there
---@param traits moongate.ClaudeTraits
function thinking.write(request, ctx, out, traits)
  local reasoning = request.reasoning
  if not reasoning then return end
  local off = reasoning.effort == "none" or reasoning.budget == 0
  if not off and (is_forced(out) or not traits.adaptive and calls_without_thinking(out.messages)) then
    ctx:drop("reasoning")
    off = true
  end
  if not off and traits.adaptive then
    write_adaptive(reasoning, out, traits)
  elseif not off then
    write_budget(reasoning, ctx, out)
  elseif traits.off then
    out.thinking = { type = "disabled" }
  else
    ctx:drop("reasoning")
    out.output_config = { effort = "low" }
  end
end

---Whether the body asks the model to think.
---@param out table
---@return boolean
function thinking.is_on(out) return out.thinking ~= nil and out.thinking.type ~= "disabled" end

---The scale ends at 1 here. With thinking there is no choice of temperature and top_k; models that think by
---themselves have none at all.
---@param request table of the common form
---@param ctx table
---@param out table the body: its thinking is there
---@param traits moongate.ClaudeTraits
function thinking.write_sampling(request, ctx, out, traits)
  local thinks = thinking.is_on(out)
  local free = traits.sampling and not thinks
  if request.temperature then
    local temperature, changed = common.clamp(request.temperature, 0, 1)
    if changed or not free and temperature ~= 1 then ctx:drop("temperature") end
    if free then out.temperature = temperature end
  end
  if request.top_p then
    local allowed = traits.sampling and (not thinks or request.top_p >= 0.95)
      and (traits.both or out.temperature == nil)
    if allowed then
      out.top_p = request.top_p
    elseif request.top_p ~= 1 then
      ctx:drop("top_p")
    end
  end
  if request.top_k and free then
    out.top_k = request.top_k
  elseif request.top_k then
    ctx:drop("top_k")
  end
end
return thinking
