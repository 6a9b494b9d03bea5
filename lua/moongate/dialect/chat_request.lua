-- SPDX-License-Identifier: MIT
-- A client's chat completions request into the common form.

local body = require "moongate.body"
local chat_messages = require "moongate.dialect.chat_messages"
local custom_tool = require "moongate.dialect.custom_tool"
local openai_request = require "moongate.dialect.openai_request"
local shape = require "moongate.dialect.shape"

local chat_request = {}

local FIELDS = {}

function FIELDS.messages(request, fields, ctx)
  request.messages = chat_messages.read(fields.messages, ctx, shape)
end

-- ---------------------------------------------------------------- tools

local function read_function(tool, at)
  local fields = shape.object(shape.need(tool["function"], at .. ".function"), at .. ".function")
  at = at .. ".function"
  return {
    name = shape.name(shape.need(fields.name, at .. ".name"), at .. ".name"),
    description = shape.text(fields.description, at .. ".description"),
    parameters = shape.raw(fields.parameters, at .. ".parameters"),
    strict = shape.boolean(fields.strict, at .. ".strict"),
    cache = shape.raw(tool.cache_control, at .. ".cache_control"),
  }
end

function FIELDS.tools(request, fields, ctx)
  request.tools = {}
  for _, tool, at in shape.each(fields.tools, "tools") do
    local kind = shape.name(tool.type, at .. ".type") or "function"
    if kind == "function" then
      request.tools[#request.tools + 1] = read_function(tool, at)
    elseif kind == "custom" then
      local custom = shape.object(shape.need(tool.custom, at .. ".custom"), at .. ".custom")
      request.tools[#request.tools + 1] = custom_tool.tool(custom, shape, at .. ".custom")
    else
      ctx:drop("tools." .. body.head(kind, 64))
    end
  end
end

local WORDS = { auto = "auto", none = "none", required = "required", any = "required" }

local function read_choice(request, choice)
  local kind = shape.name(choice.type, "tool_choice.type")
  if kind == "allowed_tools" then
    local allowed = shape.object(choice.allowed_tools, "tool_choice.allowed_tools") or choice
    local mode = shape.name(allowed.mode, "tool_choice.allowed_tools.mode")
    openai_request.restrict(request, openai_request.allowed(allowed.tools, "tool_choice.allowed_tools.tools"))
    request.tool_choice = WORDS[mode] or "auto"
    return
  end
  local fields = shape.object(choice["function"] or choice.custom, "tool_choice.function") or choice
  request.tool_choice = { name = shape.name(shape.need(fields.name, "tool_choice.function.name"),
    "tool_choice.function.name") }
end

function FIELDS.tool_choice(request, fields)
  local choice = fields.tool_choice
  if not body.is_text(choice) then return read_choice(request, shape.object(choice, "tool_choice")) end
  local word = shape.name(choice, "tool_choice")
  request.tool_choice = WORDS[word]
  if not WORDS[word] then
    shape.refuse(('tool_choice: expected "auto", "none", "required" or an object, found "%s"'):format(word))
  end
end

function FIELDS.functions()
  shape.refuse("functions: the oldest form of tools cannot be translated; use tools")
end
FIELDS.function_call = FIELDS.functions

-- ---------------------------------------------------------------- the rest

function FIELDS.response_format(request, fields, ctx)
  local format = shape.object(fields.response_format, "response_format")
  local kind = shape.name(format.type, "response_format.type")
  if kind == "json_object" then
    request.format = { type = "json" }
  elseif kind == "json_schema" then
    local at = "response_format.json_schema"
    local wanted = shape.object(shape.need(format.json_schema, at), at)
    request.format = {
      type = "schema",
      name = shape.name(wanted.name, at .. ".name"),
      schema = shape.raw(wanted.schema, at .. ".schema"),
      strict = shape.boolean(wanted.strict, at .. ".strict"),
      description = shape.text(wanted.description, at .. ".description"),
    }
  elseif kind ~= "text" then
    ctx:drop("response_format")
  end
end

function FIELDS.stop(request, fields)
  if body.is_text(fields.stop) then
    request.stop = { fields.stop }
    return
  end
  request.stop = {}
  for i, text in ipairs(shape.list(fields.stop, "stop")) do
    request.stop[i] = shape.text(shape.need(text, "stop." .. (i - 1)), "stop." .. (i - 1))
  end
end

local function read_limit(request, fields, _, name) request.max_tokens = shape.integer(fields[name], name) end
FIELDS.max_completion_tokens = read_limit

function FIELDS.max_tokens(request, fields, ctx, name)
  if fields.max_completion_tokens == nil then read_limit(request, fields, ctx, name) end
end

function FIELDS.reasoning_effort(request, fields)
  request.reasoning = request.reasoning or {}
  request.reasoning.effort = shape.name(fields.reasoning_effort, "reasoning_effort")
end

-- OpenRouter's, and of those who followed it.
function FIELDS.reasoning(request, fields)
  local reasoning = shape.object(fields.reasoning, "reasoning")
  local exclude = shape.boolean(reasoning.exclude, "reasoning.exclude")
  request.reasoning = request.reasoning or {}
  request.reasoning.effort = request.reasoning.effort or shape.name(reasoning.effort, "reasoning.effort")
  request.reasoning.budget = shape.integer(reasoning.max_tokens, "reasoning.max_tokens")
  if exclude ~= nil then request.reasoning.show = not exclude end
end

function FIELDS.stream_options(request, fields)
  local options = shape.object(fields.stream_options, "stream_options")
  request.include_usage = shape.boolean(options.include_usage, "stream_options.include_usage")
end

local function plain(check)
  return function(request, fields, _, name) request[name] = check(fields[name], name) end
end

FIELDS.n, FIELDS.seed = plain(shape.integer), plain(shape.integer)
FIELDS.frequency_penalty, FIELDS.presence_penalty = plain(shape.number), plain(shape.number)
FIELDS.logprobs, FIELDS.verbosity = plain(shape.boolean), plain(shape.name)

-- What only chat completions has, and a provider that is spoken to by it is sent as it came.
local OWN = { logit_bias = true, modalities = true, audio = true, prediction = true,
  web_search_options = true }

-- tool_choice may take tools away: it comes after them.
local ORDER = { "messages", "tools", "tool_choice", "functions", "function_call", "response_format", "stop",
  "max_completion_tokens", "max_tokens", "reasoning_effort", "reasoning", "stream_options", "n", "seed",
  "frequency_penalty", "presence_penalty", "logprobs", "verbosity" }

---@param fields table the decoded body
---@param ctx table
---@return table request
function chat_request.read(fields, ctx)
  shape.object(shape.need(fields, "body"), "body")
  shape.need(fields.messages, "messages")
  local request = {}
  openai_request.read_same(request, fields)
  for _, name in ipairs(ORDER) do
    if fields[name] ~= nil then FIELDS[name](request, fields, ctx, name) end
  end
  local keeps = ctx.provider == "openai" or ctx.provider == "azure"
  openai_request.read_rest(request, fields, FIELDS, OWN, keeps, ctx)
  return request
end

return chat_request
