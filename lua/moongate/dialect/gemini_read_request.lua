-- SPDX-License-Identifier: MIT
-- Gemini's requests made common form. Pure functions.

local body = require "moongate.body"
local common = require "moongate.dialect.common"
local google_schema = require "moongate.dialect.google_schema"
local parts = require "moongate.dialect.gemini_parts"
local shape = require "moongate.dialect.shape"

local field = parts.field

-- ---------------------------------------------------------------- reading: contents

-- A function's result as text: what Google's SDKs wrap as { result = … } or { output = … } is unwrapped, what
-- they wrap as { error = … } is an error, every other object stays JSON.
local WRAPPERS = { result = false, output = false, error = true }

local function read_response(raw)
  if not body.is_raw(raw) then return "" end
  local text = body.text(raw)
  local name = body.head(text, 64):match('^%s*{%s*"(%a+)"%s*:%s*"')
  if name and WRAPPERS[name] ~= nil then
    local object = body.table(raw)
    if next(object, name) == nil and next(object) == name and body.is_text(object[name]) then
      return object[name], WRAPPERS[name]
    end
  end
  return text
end

-- Ids for a history without any: by place, so that the same history has the same ids each time (the provider
-- keeps prefixes it has seen). `open` holds the calls that have no result yet.
local function call_id(state, part)
  state.calls = state.calls + 1
  part.id = part.id or "call_" .. state.calls
  state.open[#state.open + 1] = part
end

local function result_id(state, name, id)
  for i, call in ipairs(state.open) do
    if id and call.id == id or not id and call.name == name then
      table.remove(state.open, i)
      return call.id
    end
  end
  state.calls = state.calls + 1
  return id or "call_" .. state.calls
end

local function read_result(response, state)
  local name = shape.as_name(response.name) or ""
  local text, is_error = read_response(response.response)
  local result = {
    type = "result",
    id = result_id(state, name, shape.as_name(response.id)),
    name = name,
    parts = { { type = "text", text = text } },
    is_error = is_error or nil,
  }
  for _, item in shape.items(response.parts) do
    result.parts[#result.parts + 1] = parts.read(item)
  end
  return result
end

local function other_field(part)
  for name in pairs(part) do
    if name ~= "thoughtSignature" and name ~= "thought_signature" and name ~= "thought" then return name end
  end
  return "part"
end

local function read_part(part, at, state, ctx)
  local response = shape.object(field(part, "functionResponse"), at .. ".functionResponse")
  if response then return read_result(response, state) end
  shape.text(part.text, at .. ".text")
  shape.object(field(part, "functionCall"), at .. ".functionCall")
  shape.object(field(part, "inlineData"), at .. ".inlineData")
  shape.object(field(part, "fileData"), at .. ".fileData")
  local out = parts.read(part)
  if not out then ctx:drop(at .. "." .. other_field(part)) end
  if out and out.type == "call" then call_id(state, out) end
  return out
end

-- A turn of the model, and its results, may come in several contents: Google's SDKs keep each event of a
-- stream as one.
local function add_message(messages, role, list)
  local last = messages[#messages]
  if #list == 0 then return end
  if last and last.role == role and role ~= "user" then
    table.move(list, 1, #list, #last.parts + 1, last.parts)
  else
    messages[#messages + 1] = { role = role, parts = list }
  end
end

local JOINED = { text = true, thinking = true }

local function is_empty(part)
  return JOINED[part.type] and body.size(part.text) == 0 and not common.is_signed(part.signature)
end

-- Pieces of one text follow each other up to the one that is signed.
local function belongs(part, last)
  return last and JOINED[part.type] and part.type == last.type and not common.is_signed(last.signature)
end

local function join_pieces(list)
  local out, texts = {}, {}
  for _, part in ipairs(list) do
    if belongs(part, out[#out]) then
      out[#out].signature = part.signature
      table.insert(texts[#out], part.text)
    elseif not is_empty(part) then
      out[#out + 1] = part
      texts[#out] = { part.text }
    end
  end
  for i, part in ipairs(out) do
    if texts[i][2] then part.text = body.join(texts[i]) end
  end
  return out
end

local function join_answers(messages)
  local out = {}
  for _, message in ipairs(messages) do
    if message.role == "assistant" then message.parts = join_pieces(message.parts) end
    if #message.parts > 0 then out[#out + 1] = message end
  end
  return out
end

local ROLES = { model = "assistant", user = "user", ["function"] = "user", tool = "user" }

local function read_content(content, at, state, messages, ctx)
  local name = shape.name(content.role, at .. ".role") or "user"
  local role = ROLES[name]
  if not role then shape.refuse(('%s.role: expected "user" or "model", found "%s"'):format(at, name)) end
  local results, rest = {}, {}
  for _, part, path in shape.each(parts.list_field(content, "parts"), at .. ".parts") do
    local out = read_part(part, path, state, ctx)
    local list = out and out.type == "result" and results or rest
    list[#list + 1] = out
  end
  add_message(messages, "tool", results)
  add_message(messages, role, rest)
end

local function read_system(request, messages)
  local v = field(request, "systemInstruction")
  if body.is_text(v) then v = { parts = { { text = v } } } end
  local content = shape.object(v, "systemInstruction")
  if not content then return end
  local list = {}
  for _, part, at in shape.each(parts.list_field(content, "parts"), "systemInstruction.parts") do
    local text = shape.text(part.text, at .. ".text")
    list[#list + 1] = text and { type = "text", text = text }
  end
  add_message(messages, "system", list)
end

local function read_messages(request, ctx)
  local messages, state = {}, { calls = 0, open = {} }
  read_system(request, messages)
  shape.need(request.contents, "contents")
  for _, content, at in shape.each(parts.list_field(request, "contents"), "contents") do
    read_content(content, at, state, messages, ctx)
  end
  return join_answers(messages)
end

-- ---------------------------------------------------------------- reading: tools

local FUNCTIONS, CALLING = parts.both { "functionDeclarations" }, parts.both { "functionCallingConfig" }

-- What is not known here is dropped, by its name, in the same order each time.
local function drop_others(object, known, path, ctx)
  local names = {}
  for name in pairs(object) do
    if not known[name] then names[#names + 1] = tostring(name) end
  end
  table.sort(names)
  for _, name in ipairs(names) do ctx:drop(path .. name) end
end

local function read_function(item, at)
  local schema = field(item, "parametersJsonSchema")
  if schema == nil and item.parameters ~= nil then
    schema = google_schema.to_json_schema(shape.raw(item.parameters, at .. ".parameters"))
  end
  return {
    name = shape.need(shape.name(item.name, at .. ".name"), at .. ".name"),
    description = shape.text(item.description, at .. ".description"),
    parameters = shape.raw(schema, at .. ".parametersJsonSchema"),
  }
end

local function read_tools(request, ctx)
  local tools = {}
  for _, tool, at in shape.each(parts.list_field(request, "tools"), "tools") do
    drop_others(tool, FUNCTIONS, "tools.", ctx)
    local list = parts.list_field(tool, "functionDeclarations")
    for _, item, path in shape.each(list, at .. ".functionDeclarations") do
      tools[#tools + 1] = read_function(item, path)
    end
  end
  return #tools > 0 and tools or nil
end

-- Only the tools that the client allows: the common form can name one or all.
local function allow_only(out, allowed)
  local names, kept = {}, {}
  for _, name in ipairs(allowed) do names[shape.as_name(name) or ""] = true end
  for _, tool in ipairs(out.tools or {}) do
    if names[tool.name] then kept[#kept + 1] = tool end
  end
  out.tools = kept
end

local CHOICES = { AUTO = "auto", ANY = "required", NONE = "none", VALIDATED = "auto" }

local function read_tool_config(request, out, ctx)
  local config = shape.object(field(request, "toolConfig"), "toolConfig") or {}
  drop_others(config, CALLING, "toolConfig.", ctx)
  local at = "toolConfig.functionCallingConfig"
  local calling = shape.object(field(config, "functionCallingConfig"), at)
  if not calling then return end
  local mode = (shape.name(calling.mode, at .. ".mode") or "AUTO"):upper()
  out.tool_choice = CHOICES[mode]
  local allowed = shape.list(field(calling, "allowedFunctionNames"), at .. ".allowedFunctionNames") or {}
  if mode == "ANY" and #allowed == 1 then
    out.tool_choice = { name = shape.name(allowed[1], at .. ".allowedFunctionNames.0") }
  elseif #allowed > 0 then
    allow_only(out, allowed)
  end
  for _, tool in ipairs(mode == "VALIDATED" and out.tools or {}) do tool.strict = true end
end

-- ---------------------------------------------------------------- reading: generationConfig

local SETTINGS = {
  temperature = { "temperature", shape.number },
  topP = { "top_p", shape.number }, topK = { "top_k", shape.number },
  maxOutputTokens = { "max_tokens", shape.integer }, candidateCount = { "n", shape.integer },
  seed = { "seed", shape.integer }, presencePenalty = { "presence_penalty", shape.number },
  frequencyPenalty = { "frequency_penalty", shape.number }, responseLogprobs = { "logprobs", shape.boolean },
  logprobs = { "top_logprobs", shape.integer }, stopSequences = { "stop", shape.list },
}

local KNOWN_SETTINGS = { responseMimeType = true, responseSchema = true, responseJsonSchema = true,
  thinkingConfig = true, responseModalities = true }
for name in pairs(SETTINGS) do KNOWN_SETTINGS[name] = true end

local function names_of(set)
  local list = {}
  for name in pairs(set) do list[#list + 1] = name end
  return list
end

KNOWN_SETTINGS = parts.both(names_of(KNOWN_SETTINGS))

local function read_format(config, out, ctx)
  local at = "generationConfig"
  local media_type = shape.name(field(config, "responseMimeType"), at .. ".responseMimeType") or "text/plain"
  local schema = shape.raw(field(config, "responseJsonSchema"), at .. ".responseJsonSchema")
  local google = shape.raw(field(config, "responseSchema"), at .. ".responseSchema")
  schema = schema or google and google_schema.to_json_schema(google)
  if media_type == "application/json" then
    out.format = schema and { type = "schema", name = "response", schema = schema } or { type = "json" }
  elseif media_type ~= "text/plain" then
    ctx:drop(at .. ".responseMimeType")
  end
end

local function read_thinking_config(config, out)
  local at = "generationConfig.thinkingConfig"
  local thinking = shape.object(field(config, "thinkingConfig"), at)
  if not thinking then return end
  local budget = shape.integer(field(thinking, "thinkingBudget"), at .. ".thinkingBudget")
  local level = shape.name(field(thinking, "thinkingLevel"), at .. ".thinkingLevel")
  local reasoning = { show = shape.boolean(field(thinking, "includeThoughts"), at .. ".includeThoughts") }
  if level and level ~= "THINKING_LEVEL_UNSPECIFIED" then
    reasoning.effort = level:lower()
  elseif budget == 0 then
    reasoning.effort = "none"
  elseif budget and budget > 0 then
    reasoning.budget = budget
  end
  out.reasoning = reasoning
end

local function read_modalities(config, ctx)
  local at = "generationConfig.responseModalities"
  for _, name in ipairs(shape.list(field(config, "responseModalities"), at) or {}) do
    if (shape.as_name(name) or ""):upper() ~= "TEXT" then ctx:drop(at) end
  end
end

local function read_config(request, out, ctx)
  local config = shape.object(field(request, "generationConfig"), "generationConfig")
  if not config then return end
  drop_others(config, KNOWN_SETTINGS, "generationConfig.", ctx)
  for name, setting in pairs(SETTINGS) do
    out[setting[1]] = setting[2](field(config, name), "generationConfig." .. name)
  end
  for i, stop in ipairs(out.stop or {}) do
    local at = "generationConfig.stopSequences." .. i - 1
    shape.text(shape.need(stop, at), at)
  end
  read_modalities(config, ctx)
  read_format(config, out, ctx)
  read_thinking_config(config, out)
end

local KNOWN = parts.both { "contents", "systemInstruction", "tools", "toolConfig", "generationConfig",
  "model" }

---@param request table a body of generateContent
---@param ctx table
---@return table in common form
return function(request, ctx)
  shape.object(shape.need(request, "the request"), "the request")
  drop_others(request, KNOWN, "", ctx)
  local out = { model = ctx.model, stream = ctx.stream or nil, include_usage = ctx.stream or nil }
  out.messages = read_messages(request, ctx)
  out.tools = read_tools(request, ctx)
  read_tool_config(request, out, ctx)
  if out.tools and #out.tools == 0 then out.tools, out.tool_choice = nil, nil end
  read_config(request, out, ctx)
  return out
end
