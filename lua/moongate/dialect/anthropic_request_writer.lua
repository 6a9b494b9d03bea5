-- SPDX-License-Identifier: MIT
-- Anthropic messages: the common form (lua/dialects/README.md) written as a request that the API takes:
-- tools, structured output, stop sequences and the rest; the conversation and thinking are next door.

local body = require "moongate.body"
local json_schema = require "moongate.dialect.json_schema"
local messages = require "moongate.dialect.anthropic_messages"
local models = require "moongate.dialect.anthropic_models"
local thinking = require "moongate.dialect.anthropic_thinking"
local turn_rules = require "moongate.dialect.turn_rules"

local writer = {}

-- ---------------------------------------------------------------- tools

-- A model that has no strict tools, or a schema that it cannot be held to: the tool is one like others.
local function strict_of(tool, i, ctx, traits)
  if not tool.strict or traits.schema and json_schema.is_strict_for_claude(tool.parameters) then
    return tool.strict
  end
  ctx:drop(("tools.%d.strict"):format(i - 1))
end

local CHOICES = { auto = "auto", required = "any", none = "none" }

local function write_tools(request, ctx, out, traits)
  if not request.tools or not request.tools[1] then return end
  out.tools = {}
  for i, tool in ipairs(request.tools) do
    local strict = strict_of(tool, i, ctx, traits)
    out.tools[i] = { name = tool.name, description = tool.description, strict = strict,
      input_schema = json_schema.of_arguments(tool.parameters, strict), cache_control = tool.cache }
  end
  local choice = request.tool_choice
  local named = type(choice) == "table" and choice.name
  if choice then
    out.tool_choice = { type = named and "tool" or CHOICES[choice] or "auto", name = named or nil }
  end
  if not traits.forced and choice and (named or choice == "required") then
    ctx:drop("tool_choice")
    out.tool_choice = { type = "auto" }
  end
  local parallel = request.parallel_tool_calls
  if parallel ~= nil and choice ~= "none" then
    out.tool_choice = out.tool_choice or { type = "auto" }
    out.tool_choice.disable_parallel_tool_use = not parallel
  end
end

-- ---------------------------------------------------------------- the rest

-- Structured output is native (`output_config.format`), but for the models that came before it.
local function write_format(request, ctx, out, traits)
  local format = request.format
  if not format then return end
  if format.type == "schema" and format.schema and traits.schema then
    local schema, gone = json_schema.for_claude(format.schema)
    for _, limit in ipairs(gone) do ctx:drop("format." .. limit) end
    out.output_config = out.output_config or {}
    out.output_config.format = { type = "json_schema", schema = schema }
    return
  end
  ctx:drop("format") -- asked for in words, which promise nothing
  local words = json_schema.in_words(format)
  if type(out.system) == "table" then
    table.insert(out.system, { type = "text", text = words })
  else
    out.system = out.system and body.join({ out.system, words }, "\n\n") or words
  end
end

-- Stop sequences of white space alone are refused by the API.
local function write_stop(request, ctx, out)
  local stop = {}
  for _, text in ipairs(request.stop or {}) do
    if turn_rules.is_blank(text) then
      ctx:drop("stop")
    else
      stop[#stop + 1] = text
    end
  end
  out.stop_sequences = stop[1] and stop or nil
end

local TIERS = { auto = "auto", default = "standard_only", standard_only = "standard_only" }

-- What Anthropic has no word for, and the value that means the same as saying nothing.
local UNKNOWN = { { "seed" }, { "frequency_penalty", 0 }, { "presence_penalty", 0 }, { "n", 1 },
  { "logprobs", false }, { "top_logprobs", 0 }, { "metadata" }, { "verbosity", "medium" } }

-- The end user's id is refused where it is an address or a telephone's number, or longer.
local USER_MAX = 256

local function is_personal(user)
  local digits = user:find("^%+?[%d%s()-]+$") and select(2, user:gsub("%d", "")) or 0
  return user:find("^[^%s@]+@[^%s@]+%.[^%s@]+$") ~= nil or digits >= 7 and digits <= 15
end

local function write_user(request, ctx, out)
  local user = request.user
  if not user then return end
  if #user > USER_MAX or is_personal(user) then return ctx:drop("user") end
  out.metadata = { user_id = user }
end

local function write_rest(request, ctx, out)
  write_user(request, ctx, out)
  out.service_tier = TIERS[request.service_tier]
  if request.service_tier and not out.service_tier then ctx:drop("service_tier") end
  out.cache_control = request.cache
  for _, field in ipairs(UNKNOWN) do
    local value = request[field[1]]
    if value ~= nil and value ~= field[2] then ctx:drop(field[1]) end
  end
end

-- A client of this API has its own way with a beginning of the answer; for others the conversation goes on
-- with a new one, where the model takes none or thinks.
local function write_end(ctx, out, traits)
  if ctx.client == "anthropic" or traits.prefill and not thinking.is_on(out) then return end
  messages.end_with_user(out.messages)
end

---@param request table common form
---@param ctx table
---@return table body
function writer.write(request, ctx)
  local traits = models.traits(ctx.model)
  local out = { model = ctx.model, stream = request.stream or nil, max_tokens = request.max_tokens }
  local system
  system, out.messages = messages.write(request, ctx)
  out.system = system[1] and messages.content_of(system)
  write_tools(request, ctx, out, traits)
  thinking.write(request, ctx, out, traits)
  thinking.write_sampling(request, ctx, out, traits)
  write_format(request, ctx, out, traits)
  write_stop(request, ctx, out)
  write_rest(request, ctx, out)
  write_end(ctx, out, traits)
  out.max_tokens = out.max_tokens or thinking.MAX_TOKENS
  for _, turn in ipairs(out.messages) do turn.content = messages.content_of(turn.content) end
  return out
end

return writer
