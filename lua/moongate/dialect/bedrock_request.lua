-- SPDX-License-Identifier: MIT
-- Bedrock's Converse: the common form written as a request. What Converse has a field for stands there, what
-- only a model knows in additionalModelRequestFields, where the model's id tells that it does.

local body = require "moongate.body"
local common = require "moongate.dialect.common"
local json_schema = require "moongate.dialect.json_schema"
local messages = require "moongate.dialect.bedrock_messages"
local models = require "moongate.dialect.bedrock_models"
local shape = require "moongate.dialect.shape"
local thinking = require "moongate.dialect.anthropic_thinking"

local request_writer = {}

-- The tool that stands for structured output where a model has none.
request_writer.OUTPUT_TOOL = "json_output"

---@class moongate.BedrockWriting
---@field request table
---@field ctx table
---@field traits moongate.BedrockTraits
---@field out table the body
---@field more table additionalModelRequestFields
---@field used table what messages.write told of the conversation

-- A value at a path of names.
local function put(into, path, value)
  for i = 1, #path - 1 do
    into[path[i]] = into[path[i]] or {}
    into = into[path[i]]
  end
  into[path[#path]] = value
end

-- ---------------------------------------------------------------- tools

local function tool_spec(w, tool, i)
  local description = tool.description
  local strict = w.traits.schema and tool.strict and json_schema.is_strict_for_claude(tool.parameters) or nil
  if tool.strict and not strict then w.ctx:drop(("tools.%d.strict"):format(i - 1)) end
  return { toolSpec = { name = tool.name, strict = strict,
    description = description and body.size(description) > 0 and description or nil,
    inputSchema = { json = json_schema.of_arguments(tool.parameters, strict) } } }
end

-- Where the conversation has calls, Converse wants their tools told, also of a request that has none.
local function tools_of_calls(w)
  local list, seen = {}, {}
  for _, name in ipairs(w.used.calls) do
    if not seen[name] then
      seen[name] = true
      list[#list + 1] = tool_spec(w, { name = name }, 0)
    end
  end
  if not list[1] then list[1] = tool_spec(w, { name = "tool" }, 0) end
  return list
end

local function write_choice(w)
  local choice, traits = w.request.tool_choice, w.traits
  if type(choice) == "table" and choice.name then
    if traits.tool then return { tool = { name = choice.name } } end
    if traits.any then
      w.ctx:drop("tool_choice")
      return { any = body.object {} }
    end
  elseif choice == "required" and traits.any then
    return { any = body.object {} }
  end
  if choice and choice ~= "auto" then w.ctx:drop("tool_choice") end
end

local function write_tools(w)
  local request = w.request
  local tools = request.tools or {}
  local history = w.used.calls[1] ~= nil or w.used.results
  if tools[1] and (request.tool_choice ~= "none" or history) then
    local list = {}
    for i, tool in ipairs(tools) do
      list[#list + 1] = tool_spec(w, tool, i)
      if w.traits.cache then list[#list + 1] = messages.cache_point(tool.cache) end
    end
    w.out.toolConfig = { tools = list, toolChoice = write_choice(w) }
  elseif history then
    w.out.toolConfig = { tools = tools_of_calls(w) }
  end
  if request.parallel_tool_calls == false and tools[1] then w.ctx:drop("parallel_tool_calls") end
end

local function is_forced(w)
  return w.out.toolConfig ~= nil and w.out.toolConfig.toolChoice ~= nil
end

-- ---------------------------------------------------------------- structured output

local function write_schema(w, format)
  local description = format.description
  if w.traits.schema then
    local schema, gone = json_schema.for_claude(format.schema)
    for _, limit in ipairs(gone) do w.ctx:drop("format." .. limit) end
    w.out.outputConfig = { textFormat = { type = "json_schema", structure = { jsonSchema = {
      schema = body.text(schema), name = format.name, description = description } } } }
    return true
  end
  if w.traits.tool and not w.out.toolConfig and body.kind(format.schema) == "object" then
    local spec = { name = request_writer.OUTPUT_TOOL, inputSchema = { json = format.schema },
      description = description and body.size(description) > 0 and description or "The answer." }
    w.out.toolConfig = { tools = { { toolSpec = spec } }, toolChoice = { tool = { name = spec.name } } }
    return true
  end
  return false
end

local function write_format(w)
  local format = w.request.format
  if not format or format.type == "schema" and format.schema and write_schema(w, format) then return end
  w.ctx:drop("format") -- asked for in words, which promise nothing
  table.insert(w.system, { text = json_schema.in_words(format) })
end

-- ---------------------------------------------------------------- reasoning

local EFFORTS = { minimal = "low", low = "low", medium = "medium", high = "high", xhigh = "xhigh",
  max = "max" }

local function effort_of(reasoning)
  return EFFORTS[reasoning.effort] or reasoning.budget and EFFORTS[common.effort(reasoning.budget)]
end

-- In the middle of a tool's use a turn must begin with the thinking that led to the call.
local function calls_without_thinking(turns)
  for i = #turns, 1, -1 do
    local content = turns[i].content
    if turns[i].role == "assistant" then
      for _, block in ipairs(content) do
        if block.toolUse then return content[1].reasoningContent == nil end
      end
      return false
    end
    if not content[1].toolResult then return false end -- a new question
  end
  return false
end

local function write_budget(w, reasoning)
  local inference, budget = w.out.inferenceConfig, nil
  budget, inference.maxTokens = thinking.budget(reasoning, inference.maxTokens, w.ctx)
  if budget then w.more.thinking = { type = "enabled", budget_tokens = budget } end
end

local function set_effort(w, effort)
  w.out.outputConfig = w.out.outputConfig or {}
  w.out.outputConfig.effort = effort
end

local function think_as_claude(w, reasoning, off)
  local traits = w.traits.claude
  if not off and (is_forced(w) or not traits.adaptive and calls_without_thinking(w.out.messages)) then
    w.ctx:drop("reasoning")
    off = true
  end
  if off and traits.off then
    if traits.adaptive then w.more.thinking = { type = "disabled" } end
  elseif off then
    w.ctx:drop("reasoning")
    set_effort(w, "low")
  elseif traits.adaptive then
    local effort = effort_of(reasoning)
    w.more.thinking = { type = "adaptive" }
    if effort then set_effort(w, effort == "xhigh" and not traits.xhigh and "high" or effort) end
  else
    write_budget(w, reasoning)
  end
end

local THREE = { low = "low", medium = "medium", high = "high", xhigh = "high", max = "high" }

local function write_reasoning(w)
  local reasoning, traits = w.request.reasoning, w.traits
  if not reasoning then return end
  local off = reasoning.effort == "none" or reasoning.budget == 0
  local effort = not off and (THREE[effort_of(reasoning)] or "medium") or nil
  if traits.claude then
    think_as_claude(w, reasoning, off)
  elseif traits.effort then
    if off then w.ctx:drop("reasoning") end
    put(w.more, traits.effort, effort or "low")
  elseif traits.reasoning then
    local on = { type = "enabled", maxReasoningEffort = effort }
    put(w.more, traits.reasoning, off and { type = "disabled" } or on)
  elseif not (off and traits.plain) then
    w.ctx:drop("reasoning")
  end
end

-- ---------------------------------------------------------------- sampling

-- May this request choose temperature and top_k; top_p; both of the first and the last?
local function freedom(w)
  local claude = w.traits.claude
  local thinks = w.more.thinking ~= nil and w.more.thinking.type ~= "disabled"
  if not claude then return true, true, true end
  return claude.sampling and not thinks, claude.sampling, claude.both, thinks
end

local function write_sampling(w)
  local request, ctx, inference = w.request, w.ctx, w.out.inferenceConfig
  local free, p_free, both, thinks = freedom(w)
  if request.temperature then
    local temperature, changed = common.clamp(request.temperature, 0, 1)
    if changed or not free and temperature ~= 1 then ctx:drop("temperature") end
    if free then inference.temperature = temperature end
  end
  if request.top_p then
    local top_p, changed = common.clamp(request.top_p, 0, 1)
    if p_free and (not thinks or top_p >= 0.95) and (both or inference.temperature == nil) then
      inference.topP = top_p
      if changed then ctx:drop("top_p") end
    elseif request.top_p ~= 1 then
      ctx:drop("top_p")
    end
  end
  if request.top_k and free and w.traits.top_k then
    put(w.more, w.traits.top_k, request.top_k)
  elseif request.top_k then
    ctx:drop("top_k")
  end
end

local function write_stop(w)
  local stop = {}
  for _, text in ipairs(w.request.stop or {}) do
    if type(text) == "string" and not text:find("%S") then
      w.ctx:drop("stop") -- refused by the API
    else
      stop[#stop + 1] = text
    end
  end
  if not stop[1] then return end
  w.out.inferenceConfig.stopSequences = stop
  -- Converse says that one was met; Claude also which.
  if w.traits.claude then w.out.additionalModelResponseFieldPaths = { "/stop_sequence" } end
end

-- ---------------------------------------------------------------- the rest

local TIERS = { auto = false, default = false, standard_only = false, flex = "flex", priority = "priority",
  reserved = "reserved" }

-- What Converse has no word for, and the value that means the same as saying nothing.
local NOWHERE = { { "seed" }, { "frequency_penalty", 0 }, { "presence_penalty", 0 }, { "n", 1 },
  { "logprobs", false }, { "top_logprobs", 0 }, { "verbosity", "medium" }, { "user" } }

local PLAIN = "^[%w%s:_@$#=/+,.-]*$"

-- The metadata of a request are its log's at Bedrock, where they fit: 16 texts of 256 plain bytes.
local function write_metadata(w)
  local metadata = w.request.metadata
  if metadata == nil then return end
  local given = body.is_raw(metadata) and body.kind(metadata) == "object" and body.table(metadata) or metadata
  local fits, n = shape.as_object(given) ~= nil, 0
  for name, value in pairs(fits and given or {}) do
    local text = shape.as_name(value, 256)
    n = n + 1
    fits = fits and n <= 16 and text ~= nil and text:find(PLAIN) ~= nil
      and #name > 0 and #name <= 256 and name:find(PLAIN) ~= nil
  end
  if fits and n > 0 then
    w.out.requestMetadata = given
  elseif not fits then
    w.ctx:drop("metadata")
  end
end

local function write_rest(w)
  local request = w.request
  write_metadata(w)
  local tier = TIERS[request.service_tier]
  w.out.serviceTier = tier and { type = tier } or nil
  if request.service_tier and tier == nil then w.ctx:drop("service_tier") end
  for _, field in ipairs(NOWHERE) do
    local value = request[field[1]]
    if value ~= nil and value ~= field[2] then w.ctx:drop(field[1]) end
  end
end

-- Few models go on from an answer that the conversation ends with: Claude's that do not think, and Nova.
local function write_end(w)
  local claude, asked = w.traits.claude, w.more.thinking
  local thinks = asked ~= nil and asked.type ~= "disabled"
  if claude and (not claude.prefill or thinks) or not claude and not w.traits.prefill then
    messages.end_with_user(w.out.messages)
  end
end

-- The model stands in the path, and the path is signed: what is no model's id would lead elsewhere.
local function check_model(model)
  local good = type(model) == "string" and #model <= 2048 and model:find("^[%w.:/_-]+$") ~= nil
  if not good or model:find("..", 1, true) then
    shape.refuse("model: expected the id or ARN of a model of Bedrock")
  end
end

---@param request table of the common form
---@param ctx table
---@return table body of POST /model/{model}/converse and …/converse-stream
function request_writer.write(request, ctx)
  check_model(ctx.model)
  local w = { request = request, ctx = ctx, traits = models.traits(ctx.model), more = {},
    out = { inferenceConfig = { maxTokens = request.max_tokens } } }
  w.system, w.out.messages, w.used = messages.write(request, ctx, w.traits)
  write_tools(w)
  write_format(w)
  write_reasoning(w)
  write_sampling(w)
  write_stop(w)
  write_rest(w)
  write_end(w)
  local out = w.out
  out.system = w.system[1] and w.system or nil
  out.additionalModelRequestFields = next(w.more) and w.more or nil
  if not next(out.inferenceConfig) then out.inferenceConfig = nil end
  return out
end

return request_writer
