-- SPDX-License-Identifier: MIT
-- Anthropic messages: a client's request, read into the common form (lua/dialects/README.md). What other
-- dialects have no word for is dropped by the name of its field; a shape that the API does not know is
-- refused.

local body = require "moongate.body"
local common = require "moongate.dialect.common"
local shape = require "moongate.dialect.shape"

local NAME = "anthropic"
local reader = {}

-- Fields of the body that are read below; `cache_control` of the whole body and `diagnostics` change no
-- answer.
local KNOWN = { model = true, messages = true, system = true, stream = true, max_tokens = true, tools = true,
  tool_choice = true, stop_sequences = true, temperature = true, top_p = true, top_k = true, thinking = true,
  output_config = true, output_format = true, metadata = true, service_tier = true, cache_control = true,
  diagnostics = true }

-- ---------------------------------------------------------------- blocks

-- Where a part's bytes stand: `source` into url, data + media_type, id.
local function read_source(source, at, part)
  local kind = shape.need(shape.name(source.type, at .. ".type"), at .. ".type")
  if kind == "base64" then
    part.data = shape.need(shape.text(source.data, at .. ".data"), at .. ".data")
    part.media_type = shape.name(source.media_type, at .. ".media_type")
  elseif kind == "url" then
    part.url = shape.need(shape.text(source.url, at .. ".url"), at .. ".url")
  elseif kind == "file" then
    part.id = shape.need(shape.name(source.file_id, at .. ".file_id"), at .. ".file_id")
  else
    return kind
  end
end

local function unknown_source(at, kind)
  shape.refuse(("%s.type: expected a kind of source that the messages API knows, found %q"):format(at, kind))
end

local function texts_of(list, at)
  local texts = {}
  for _, block, here in shape.each(list, at) do
    if shape.as_name(block.type) == "text" then
      texts[#texts + 1] = shape.text(block.text, here .. ".text")
    end
  end
  return body.join(texts, "\n")
end

local READ = {} -- type of block = function(block, at, state) -> part

function READ.text(block, at)
  local text = shape.need(shape.text(block.text, at .. ".text"), at .. ".text")
  return { type = "text", text = text }
end

function READ.image(block, at)
  local part, source = { type = "image" }, at .. ".source"
  local other = read_source(shape.need(shape.object(block.source, source), source), source, part)
  if other then unknown_source(source, other) end
  return part
end

function READ.document(block, at, state)
  local part, source = { type = "file", name = shape.name(block.title, at .. ".title") }, at .. ".source"
  local from = shape.need(shape.object(block.source, source), source)
  local other = read_source(from, source, part)
  if other == "text" then
    part.text = shape.need(shape.text(from.data, source .. ".data"), source .. ".data")
    part.media_type = "text/plain"
  elseif other == "content" then
    local content = from.content
    part.media_type = "text/plain"
    part.text = body.is_text(content) and content or texts_of(content, source .. ".content")
  elseif other then
    unknown_source(source, other)
  elseif not part.media_type and not part.id then
    part.media_type = "application/pdf"
  end
  if block.context then state.drop("context") end
  if shape.as_object(block.citations) and block.citations.enabled == true then state.drop("citations") end
  return part
end

-- What a search of the client's own found: its text, under its title and where it is from.
function READ.search_result(block, at)
  local texts = { shape.text(block.title, at .. ".title") or "" }
  texts[#texts + 1] = shape.text(block.source, at .. ".source") or ""
  texts[#texts + 1] = texts_of(block.content, at .. ".content")
  return { type = "text", text = body.join(texts, "\n") }
end

function READ.tool_use(block, at, state)
  local id = shape.need(shape.name(block.id, at .. ".id"), at .. ".id")
  local name = shape.need(shape.name(block.name, at .. ".name"), at .. ".name")
  local input = shape.raw(block.input, at .. ".input")
  state.names[id] = name
  local arguments = input and body.text(input) or "{}"
  return { type = "call", id = common.plain_id(id), name = name, arguments = arguments }
end

function READ.thinking(block, at)
  local text = shape.text(block.thinking, at .. ".thinking") or ""
  local signature = shape.text(block.signature, at .. ".signature")
  return { type = "thinking", text = text, signature = common.seal(NAME, signature or "") }
end

function READ.redacted_thinking(block, at)
  local data = shape.need(shape.text(block.data, at .. ".data"), at .. ".data")
  return { type = "redacted", data = common.seal(NAME, data) }
end

local read_content -- a text or a list of blocks

function READ.tool_result(block, at, state)
  local id = shape.need(shape.name(block.tool_use_id, at .. ".tool_use_id"), at .. ".tool_use_id")
  return { type = "result", id = common.plain_id(id), name = state.names[id],
    is_error = shape.boolean(block.is_error, at .. ".is_error") or nil,
    parts = read_content(block.content, at .. ".content", state) }
end

-- What a user, an assistant or a tool cannot say is dropped as what no dialect knows is.
function read_content(content, at, state)
  if content == nil then return body.list {} end
  if body.is_text(content) then
    return body.list(body.size(content) > 0 and { { type = "text", text = content } } or {})
  end
  local parts = body.list {}
  for _, block, here in shape.each(content, at) do
    local kind = shape.need(shape.name(block.type, here .. ".type"), here .. ".type")
    local part = READ[kind] and READ[kind](block, here, state)
    if part then
      part.cache = block.cache_control
      parts[#parts + 1] = part
    else
      state.drop(kind)
    end
  end
  return parts
end

-- ---------------------------------------------------------------- messages

-- A turn of the user's that holds results is a message of results, and one of the rest behind it.
local function add_user(messages, parts)
  local results, rest = {}, {}
  for _, part in ipairs(parts) do
    local list = part.type == "result" and results or rest
    list[#list + 1] = part
  end
  if results[1] then messages[#messages + 1] = { role = "tool", parts = results } end
  if rest[1] then messages[#messages + 1] = { role = "user", parts = rest } end
end

local function read_messages(from, ctx)
  local messages, state = {}, { names = {} }
  if from.system ~= nil then
    state.drop = function(what) ctx:drop("system." .. what) end
    local parts = read_content(from.system, "system", state)
    if parts[1] then messages[1] = { role = "system", parts = parts } end
  end
  for i, message, at in shape.each(shape.need(from.messages, "messages"), "messages") do
    state.drop = function(what) ctx:drop(("messages.%d.%s"):format(i - 1, what)) end
    local role = shape.need(shape.name(message.role, at .. ".role"), at .. ".role")
    local parts = read_content(shape.need(message.content, at .. ".content"), at .. ".content", state)
    if role == "user" then
      add_user(messages, parts)
    elseif role == "assistant" or role == "system" then
      if parts[1] then messages[#messages + 1] = { role = role, parts = parts } end
    else
      shape.refuse(('%s.role: expected "user", "assistant" or "system", found %q'):format(at, role))
    end
  end
  return messages
end

-- ---------------------------------------------------------------- tools

-- Fields of a tool that make a difference and that nobody else knows.
local OWN = { "input_examples", "allowed_callers" }

local function read_tools(from, ctx)
  local tools, dropped = {}, {}
  for _, tool, at in shape.each(from.tools, "tools") do
    local kind = shape.name(tool.type, at .. ".type")
    local name = shape.name(tool.name, at .. ".name") or kind or shape.need(nil, at .. ".name")
    if kind and kind ~= "custom" then
      dropped[name] = true
      ctx:drop("tools." .. name)
    else
      tools[#tools + 1] = { name = name, description = shape.text(tool.description, at .. ".description"),
        parameters = shape.raw(tool.input_schema, at .. ".input_schema"),
        strict = shape.boolean(tool.strict, at .. ".strict"), cache = tool.cache_control }
      for _, field in ipairs(OWN) do
        if tool[field] ~= nil then ctx:drop(("tools.%s.%s"):format(name, field)) end
      end
    end
  end
  return tools[1] and tools or nil, dropped
end

local CHOICES = { auto = "auto", any = "required", none = "none" }

local function read_tool_choice(from, dropped, request, ctx)
  local choice = shape.object(from.tool_choice, "tool_choice")
  if not choice then return end
  local kind = shape.need(shape.name(choice.type, "tool_choice.type"), "tool_choice.type")
  local single = shape.boolean(choice.disable_parallel_tool_use, "tool_choice.disable_parallel_tool_use")
  if single ~= nil then request.parallel_tool_calls = not single end
  if kind == "tool" then
    local name = shape.need(shape.name(choice.name, "tool_choice.name"), "tool_choice.name")
    if dropped[name] then
      ctx:drop("tool_choice")
    else
      request.tool_choice = { name = name }
    end
  else
    request.tool_choice = CHOICES[kind]
      or shape.refuse(('tool_choice.type: expected "auto", "any", "tool" or "none", found %q'):format(kind))
  end
end

-- ---------------------------------------------------------------- settings

local function read_reasoning(from, config)
  local effort = config and shape.name(config.effort, "output_config.effort")
  local thinking = shape.object(from.thinking, "thinking")
  if not thinking then return effort and { effort = effort } end
  local kind = shape.need(shape.name(thinking.type, "thinking.type"), "thinking.type")
  if kind == "disabled" or kind == "between_tools" then return { effort = "none" } end
  local display = shape.name(thinking.display, "thinking.display")
  local out = { effort = effort, show = display ~= "omitted", display = display or "default" }
  if kind == "adaptive" then
    out.effort = effort or "high"
    return out
  end
  if kind ~= "enabled" then
    shape.refuse(('thinking.type: expected "enabled", "adaptive" or "disabled", found %q'):format(kind))
  end
  local budget = shape.integer(thinking.budget_tokens, "thinking.budget_tokens")
  out.budget = shape.need(budget, "thinking.budget_tokens")
  return out
end

local function read_format(from, config)
  local at = config and config.format and "output_config.format" or "output_format"
  local format = shape.object(config and config.format or from.output_format, at)
  if not format then return nil end
  if shape.as_name(format.type) ~= "json_schema" then shape.refuse(at .. '.type: expected "json_schema"') end
  return { type = "schema", schema = shape.need(shape.raw(format.schema, at .. ".schema"), at .. ".schema") }
end

local TIERS = { auto = "auto", standard_only = "default" }

local function drop_unknown(from, ctx)
  local unknown = {}
  for name in pairs(from) do
    if not KNOWN[name] then unknown[#unknown + 1] = tostring(name) end
  end
  table.sort(unknown)
  for _, name in ipairs(unknown) do ctx:drop(name) end
end

local function read_metadata(from, request, ctx)
  local metadata = shape.object(from.metadata, "metadata")
  if not metadata then return end
  request.user = shape.name(metadata.user_id, "metadata.user_id")
  for name in pairs(metadata) do
    if name ~= "user_id" then return ctx:drop("metadata") end
  end
end

local function read_stop(from)
  local stop = {}
  for i, text in ipairs(shape.list(from.stop_sequences, "stop_sequences") or {}) do
    stop[i] = shape.need(shape.name(text, "stop_sequences." .. i - 1), "stop_sequences." .. i - 1)
  end
  return stop[1] and stop or nil
end

---@param from any the decoded body
---@param ctx table
---@return table request
function reader.read(from, ctx)
  from = shape.need(shape.object(from, "the body"), "the body")
  local config = shape.object(from.output_config, "output_config")
  local tools, dropped = read_tools(from, ctx)
  local request = {
    model = shape.name(from.model, "model"), stream = shape.boolean(from.stream, "stream") or false,
    messages = read_messages(from, ctx), tools = tools, format = read_format(from, config),
    stop = read_stop(from), max_tokens = shape.integer(from.max_tokens, "max_tokens"),
    temperature = shape.number(from.temperature, "temperature"), top_p = shape.number(from.top_p, "top_p"),
    top_k = shape.integer(from.top_k, "top_k"), reasoning = read_reasoning(from, config),
    cache = from.cache_control,
  }
  read_tool_choice(from, dropped, request, ctx)
  read_metadata(from, request, ctx)
  local tier = shape.name(from.service_tier, "service_tier")
  request.service_tier = TIERS[tier] or tier
  drop_unknown(from, ctx)
  return request
end

return reader
