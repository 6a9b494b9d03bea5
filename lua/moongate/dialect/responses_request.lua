-- SPDX-License-Identifier: MIT
-- A client's responses request into the common form. What a request leaves at OpenAI (an earlier response, a
-- conversation, a stored prompt) nobody else can answer: it is refused.

local body = require "moongate.body"
local custom_tool = require "moongate.dialect.custom_tool"
local openai_request = require "moongate.dialect.openai_request"
local responses_items = require "moongate.dialect.responses_items"
local shape = require "moongate.dialect.shape"

local responses_request = {}

local FIELDS = {}

-- ---------------------------------------------------------------- tools

local function read_function(tool, at, namespace)
  local name = shape.name(shape.need(tool.name, at .. ".name"), at .. ".name")
  return {
    name = responses_items.joined(namespace, name), namespace = namespace, inner = namespace and name,
    description = shape.text(tool.description, at .. ".description"),
    parameters = shape.raw(tool.parameters, at .. ".parameters"),
    strict = shape.boolean(tool.strict, at .. ".strict"),
  }
end

local read_tools

local TOOLS = {}

TOOLS["function"] = function(out, tool, at, _, namespace)
  out[#out + 1] = read_function(tool, at, namespace)
end

function TOOLS.custom(out, tool, at, _, namespace)
  local read = custom_tool.tool(tool, shape, at)
  read.namespace, read.inner = namespace, namespace and read.name
  read.name = responses_items.joined(namespace, read.name)
  out[#out + 1] = read
end

function TOOLS.namespace(out, tool, at, ctx, outer)
  if outer then shape.refuse(at .. ": expected a tool, found a namespace in a namespace") end
  local name = shape.name(shape.need(tool.name, at .. ".name"), at .. ".name")
  local before = #out
  read_tools(out, tool.tools, at .. ".tools", ctx, name)
  local about = shape.text(tool.description, at .. ".description")
  for i = before + 1, #out do out[i].namespace_description = about end
end

function read_tools(out, tools, path, ctx, namespace)
  for _, tool, at in shape.each(tools, path) do
    local kind = shape.name(shape.need(tool.type, at .. ".type"), at .. ".type")
    if TOOLS[kind] then
      TOOLS[kind](out, tool, at, ctx, namespace)
    else
      ctx:drop("tools." .. body.head(kind, 64)) -- run by OpenAI, or known to its models only
    end
  end
end

function FIELDS.tools(request, fields, ctx)
  request.tools = request.tools or {}
  read_tools(request.tools, fields.tools, "tools", ctx)
end

local WORDS = { auto = true, none = true, required = true }

local function read_choice(request, choice, ctx)
  local kind = shape.name(choice.type, "tool_choice.type")
  if kind == "allowed_tools" then
    local mode = shape.name(choice.mode, "tool_choice.mode")
    openai_request.restrict(request, openai_request.allowed(choice.tools, "tool_choice.tools"))
    request.tool_choice = WORDS[mode] and mode or "auto"
  elseif kind == "function" or kind == "custom" then
    local name = shape.name(shape.need(choice.name, "tool_choice.name"), "tool_choice.name")
    request.tool_choice = { name = name }
  else
    ctx:drop("tool_choice")
  end
end

function FIELDS.tool_choice(request, fields, ctx)
  local choice = fields.tool_choice
  if not body.is_text(choice) then return read_choice(request, shape.object(choice, "tool_choice"), ctx) end
  local word = shape.name(choice, "tool_choice")
  if not WORDS[word] then
    shape.refuse(('tool_choice: expected "auto", "none", "required" or an object, found "%s"'):format(word))
  end
  request.tool_choice = word
end

-- ---------------------------------------------------------------- input and the rest

function FIELDS.instructions(request, fields)
  local text = shape.text(fields.instructions, "instructions")
  table.insert(request.messages, { role = "system", parts = { { type = "text", text = text } } })
end

function FIELDS.input(request, fields, ctx)
  responses_items.read(request.messages, fields.input, ctx, function(item, at)
    request.tools = request.tools or {}
    read_tools(request.tools, item.tools, at .. ".tools", ctx)
  end)
end

function FIELDS.text(request, fields, ctx)
  local text = shape.object(fields.text, "text")
  request.verbosity = shape.name(text.verbosity, "text.verbosity")
  local format = shape.object(text.format, "text.format")
  local kind = format and shape.name(format.type, "text.format.type")
  if kind == "json_object" then
    request.format = { type = "json" }
  elseif kind == "json_schema" then
    request.format = {
      type = "schema",
      name = shape.name(format.name, "text.format.name"),
      schema = shape.raw(format.schema, "text.format.schema"),
      strict = shape.boolean(format.strict, "text.format.strict"),
      description = shape.text(format.description, "text.format.description"),
    }
  elseif kind and kind ~= "text" then
    ctx:drop("text.format")
  end
end

function FIELDS.reasoning(request, fields)
  local reasoning = shape.object(fields.reasoning, "reasoning")
  local summary = shape.name(reasoning.summary, "reasoning.summary")
    or shape.name(reasoning.generate_summary, "reasoning.generate_summary")
  request.reasoning = {
    effort = shape.name(reasoning.effort, "reasoning.effort"),
    show = summary and summary ~= "none" or nil,
    summary = summary,
  }
  if next(request.reasoning) == nil then request.reasoning = nil end
end

function FIELDS.max_output_tokens(request, fields)
  request.max_tokens = shape.integer(fields.max_output_tokens, "max_output_tokens")
end

-- What a client wants to be told besides: only log probabilities are somebody else's to tell.
function FIELDS.include(request, fields)
  request.include = {}
  for i, name in ipairs(shape.list(fields.include, "include")) do
    name = shape.name(shape.need(name, "include." .. (i - 1)), "include." .. (i - 1))
    request.include[i] = name
    if name == "message.output_text.logprobs" then request.logprobs = true end
  end
end

-- Cutting the start of a conversation that is too long is OpenAI's to do.
function FIELDS.truncation(_, fields, ctx)
  if shape.name(fields.truncation, "truncation") == "auto" then ctx:drop("truncation") end
end

function FIELDS.background(_, fields)
  if shape.boolean(fields.background, "background") then
    shape.refuse "background: expected false, found true: an answer in the background cannot be translated"
  end
end

for _, name in ipairs { "previous_response_id", "conversation", "prompt" } do
  FIELDS[name] = function()
    shape.refuse(name .. ": what it stands for is known to its provider only; send the items themselves")
  end
end

-- What only responses has, and a provider that is spoken to by it is sent as it came.
local OWN = { max_tool_calls = true, context_management = true }

local ORDER = { "previous_response_id", "conversation", "prompt", "background", "instructions", "tools",
  "input", "tool_choice", "text", "reasoning", "max_output_tokens", "include", "truncation" }

---@param fields table the decoded body
---@param ctx table
---@return table request
function responses_request.read(fields, ctx)
  shape.object(shape.need(fields, "body"), "body")
  local request = { messages = {} }
  openai_request.read_same(request, fields)
  for _, name in ipairs(ORDER) do
    if fields[name] ~= nil then FIELDS[name](request, fields, ctx) end
  end
  shape.need(request.messages[1], "input")
  openai_request.read_rest(request, fields, FIELDS, OWN, ctx.provider == "responses", ctx)
  return request
end

return responses_request
