-- SPDX-License-Identifier: MIT
-- Gemini's requests from the common form. Pure functions.
--
-- Normal form: turns of one role that follow each other are one content; all system prompts stand first, in
-- systemInstruction; a request of nothing but system prompts is asked as a user's.

local body = require "moongate.body"
local common = require "moongate.dialect.common"
local json_schema = require "moongate.dialect.json_schema"
local parts = require "moongate.dialect.gemini_parts"

-- ---------------------------------------------------------------- models

-- The generation of a model by its name: 3.1 for gemini-3.1-pro, 2.5 for gemini-2.5-flash, 3 for Google's
-- "latest" names; nil where the name does not say it (tuned models).
local function generation(model)
  model = model or ""
  return tonumber(model:match("gemini%-(%d+%.?%d*)")) or model:find("gemini%-[%a-]+%-latest") and 3 or nil
end

local function is_third(model) return (generation(model) or 0) >= 3 end

-- ---------------------------------------------------------------- writing: contents

-- Stands where Gemini 3 demands a signature on a call and there is none of its own, because another model
-- made the call: the value that Google documents for a history that comes from elsewhere
-- (ai.google.dev/gemini-api/docs/thought-signatures).
local PLACEHOLDER = "skip_thought_signature_validator"

local MEDIA_TYPES = { png = "image/png", jpg = "image/jpeg", jpeg = "image/jpeg", webp = "image/webp",
  gif = "image/gif", heic = "image/heic", heif = "image/heif", bmp = "image/bmp", pdf = "application/pdf",
  txt = "text/plain", md = "text/markdown", csv = "text/csv", html = "text/html", json = "application/json",
  mp3 = "audio/mp3", wav = "audio/wav", mp4 = "video/mp4", mov = "video/mov", webm = "video/webm" }

-- Gemini wants a media type with each address: by the name's end, else what such a part mostly is.
local function guess(url, default)
  local name = body.head(url, 2048):match("^[^?#]*")
  return MEDIA_TYPES[(name:match("%.(%w+)$") or ""):lower()] or default
end

local function write_media(part, default)
  if part.url then
    local media_type, data = common.data_url(part.url)
    if data then return { inlineData = { mimeType = media_type, data = data } } end
    return { fileData = { mimeType = part.media_type or guess(part.url, default), fileUri = part.url } }
  end
  if part.data then return parts.write_blob(part, default) end
end

local WRITERS = {
  text = function(part) return { text = part.text } end,
  refusal = function(part) return { text = part.text } end,
  image = function(part, at, ctx)
    if part.detail and part.detail ~= "auto" then ctx:drop(at .. ".detail") end
    return write_media(part, "image/jpeg")
  end,
  audio = function(part) return write_media(part, "audio/wav") end,
  file = function(part)
    if part.text then return { text = part.text } end
    return write_media(part, "application/pdf")
  end,
}

-- A signature of Gemini's own; nil, and whether it is another maker's.
local function own_signature(sealed)
  if not sealed then return nil end
  local signature, foreign = common.unseal("gemini", sealed)
  return not foreign and common.is_signed(sealed) and signature or nil, foreign
end

-- A thought's signature belongs to what follows it: Gemini signs the call or the text after its thoughts,
-- clients of other dialects bring it back with the thinking.
local function write_thinking(part, out, state)
  local signature, foreign = own_signature(part.signature or part.data)
  if foreign then return end
  state.signature = signature or state.signature
  local text = part.text
  if part.type == "thinking" and text and body.size(text) > 0 then
    out[#out + 1] = { text = text, thought = true }
  end
end

local function take_signature(part, state)
  local signature = own_signature(part.signature) or state.signature
  state.signature = nil
  return signature
end

local function write_call(part, state)
  local signature = take_signature(part, state)
  if not state.called and not signature and is_third(state.model) then signature = PLACEHOLDER end
  state.called = true
  return parts.write_call(part, signature)
end

local function write_part(part, out, at, state, ctx)
  if part.type == "call" then
    out[#out + 1] = write_call(part, state)
  elseif part.type == "thinking" or part.type == "redacted" then
    write_thinking(part, out, state)
  else
    local written = WRITERS[part.type] and WRITERS[part.type](part, at, ctx)
    if not written then return ctx:drop(at .. "." .. tostring(part.type)) end
    local empty = written.text and body.size(written.text) == 0
    if empty and not own_signature(part.signature) then return end
    written.thoughtSignature = take_signature(part, state)
    out[#out + 1] = written
  end
end

-- The text of a result, and what else it holds.
local function split_result(part)
  local texts, media = {}, {}
  for _, item in ipairs(part.parts or {}) do
    if item.type == "text" or item.type == "refusal" then
      texts[#texts + 1] = item.text
    else
      media[#media + 1] = item
    end
  end
  return #texts == 1 and texts[1] or body.join(texts, "\n"), media
end

-- A result must be an object: JSON objects stand as they are, every other text as { result = … }.
local function response_of(text, is_error)
  if is_error then return { error = text } end
  local raw = body.head(text, 64):find("^%s*{") and body.raw(text)
  if raw and body.kind(raw) == "object" then return raw end
  return { result = text }
end

-- Images of a result: Gemini 3 takes them inside the functionResponse, earlier models beside it.
local function write_result(part, out, at, state, ctx)
  local text, media = split_result(part)
  local response = {
    id = part.id,
    name = part.id and state.names[part.id] or part.name or "function",
    response = response_of(text, part.is_error),
  }
  out[#out + 1] = { functionResponse = response }
  for _, item in ipairs(media) do
    local written = WRITERS[item.type] and WRITERS[item.type](item, at, ctx)
    if not written then
      ctx:drop(at .. "." .. tostring(item.type))
    elseif is_third(state.model) then
      response.parts = response.parts or {}
      table.insert(response.parts, written)
    else
      table.insert(state.beside, written)
    end
  end
end

local function write_message(message, out, at, state, ctx)
  if message.name then ctx:drop(at .. ".name") end
  state.called, state.signature, state.beside = state.called and message.role == "assistant", nil, {}
  for i, part in ipairs(message.parts or {}) do
    local path = ("%s.%d"):format(at, i - 1)
    if part.type == "result" then
      write_result(part, out, path, state, ctx)
    else
      write_part(part, out, path, state, ctx)
    end
    if part.type == "call" and part.id then state.names[part.id] = part.name end
  end
  table.move(state.beside, 1, #state.beside, #out + 1, out)
  if state.signature then out[#out + 1] = { text = "", thoughtSignature = state.signature } end
end

local function content_of(contents, role)
  local last = contents[#contents]
  if last and last.role == role then return last end
  contents[#contents + 1] = { role = role, parts = body.list {} }
  return contents[#contents]
end

local function write_contents(request, ctx)
  local contents, system = body.list {}, body.list {}
  local state = { names = {}, model = ctx.model }
  for i, message in ipairs(request.messages or {}) do
    local at = "messages." .. i - 1
    if message.role == "system" or message.role == "developer" then
      write_message(message, system, at, state, ctx)
    else
      local content = content_of(contents, message.role == "assistant" and "model" or "user")
      write_message(message, content.parts, at, state, ctx)
      if #content.parts == 0 then contents[#contents] = nil end
    end
  end
  return contents, system
end

-- ---------------------------------------------------------------- writing: tools

local function write_tools(request)
  if not request.tools or #request.tools == 0 then return nil end
  local list = body.list {}
  for i, tool in ipairs(request.tools) do
    list[i] = { name = tool.name, description = tool.description, parametersJsonSchema = tool.parameters }
  end
  return body.list { { functionDeclarations = list } }
end

local function any_strict(tools)
  for _, tool in ipairs(tools or {}) do
    if tool.strict then return true end
  end
end

local MODES = { auto = "AUTO", none = "NONE", required = "ANY" }

-- A tool that is marked strict, where the model may choose, is Google's mode VALIDATED.
local function write_tool_config(request, ctx)
  local choice = request.tool_choice
  if request.parallel_tool_calls == false then ctx:drop("parallel_tool_calls") end
  if not request.tools or #request.tools == 0 then return nil end
  local calling = {}
  if type(choice) == "table" then
    calling.mode, calling.allowedFunctionNames = "ANY", body.list { choice.name }
  elseif (choice == nil or choice == "auto") and any_strict(request.tools) then
    calling.mode = "VALIDATED"
  else
    calling.mode = MODES[choice]
  end
  return calling.mode and { functionCallingConfig = calling }
end

-- ---------------------------------------------------------------- writing: generationConfig

local function clamped(request, name, low, high, ctx)
  local value = request[name]
  if value == nil then return nil end
  local limited, changed = common.clamp(value, low, high)
  if changed then ctx:drop(name) end
  return limited
end

local MAX_STOPS = 5

local function write_stop(request, ctx)
  local stop = request.stop
  if not stop or #stop == 0 then return nil end
  if #stop <= MAX_STOPS then return stop end
  ctx:drop("stop")
  return table.move(stop, 1, MAX_STOPS, 1, {})
end

-- Thinking in words, for Gemini 3: its pro models know fewer words.
local LEVELS = { none = "MINIMAL", minimal = "MINIMAL", low = "LOW", medium = "MEDIUM", high = "HIGH",
  xhigh = "HIGH", max = "HIGH" }
local PRO_LEVELS = { MINIMAL = "LOW" }

local function write_level(effort, model, ctx)
  if effort == "none" then ctx:drop("reasoning.effort") end
  local level = LEVELS[effort]
  if model:find("pro", 1, true) then
    level = PRO_LEVELS[level] or level
    if model:find("gemini-3-pro", 1, true) and level == "MEDIUM" then level = "HIGH" end
  end
  return level
end

-- Thinking in tokens, for Gemini 2.5: the ranges that its models take.
local BUDGETS = {
  { "gemini-2.5-pro", 128, 32768 }, { "gemini-2.5-flash-lite", 512, 24576, true },
  { "gemini-2.5-flash", 1, 24576, true },
}

local function write_budget(reasoning, model, ctx)
  local budget = reasoning.budget or reasoning.effort and common.budget(reasoning.effort)
  local off = reasoning.effort == "none" or budget == 0
  if not budget and not off then return nil end
  for _, range in ipairs(BUDGETS) do
    if model:find(range[1], 1, true) then
      if off and not range[4] then ctx:drop("reasoning.effort") end
      return off and (range[4] and 0 or range[2]) or (common.clamp(budget, range[2], range[3]))
    end
  end
  return off and 0 or budget
end

local function write_thinking_config(request, ctx)
  local reasoning, model = request.reasoning, ctx.model or ""
  if not reasoning then return nil end
  local version = generation(model)
  if version and version < 2.5 then
    if reasoning.effort ~= "none" then ctx:drop("reasoning") end
    return nil
  end
  local thinking = { includeThoughts = reasoning.show }
  if version and version >= 3 then
    local effort = reasoning.effort or reasoning.budget and common.effort(reasoning.budget)
    thinking.thinkingLevel = effort and write_level(effort, model, ctx)
  else
    thinking.thinkingBudget = write_budget(reasoning, model, ctx)
  end
  return next(thinking) and thinking
end

-- Models before Gemini 3 refuse JSON beside tools: then it is asked for in words, which promise nothing.
local function has_words(request, model)
  return request.format ~= nil and request.tools ~= nil and request.tools[1] ~= nil
    and request.tool_choice ~= "none" and (generation(model) or 3) < 3
end

local function write_format(request, config, ctx)
  local format = request.format
  if not format then return end
  if has_words(request, ctx.model) then return ctx:drop("format") end
  config.responseMimeType = "application/json"
  config.responseJsonSchema = format.type == "schema" and format.schema or nil
end

local function write_config(request, ctx)
  local config = {
    temperature = clamped(request, "temperature", 0, 2, ctx),
    topP = clamped(request, "top_p", 0, 1, ctx),
    topK = request.top_k and (math.tointeger(request.top_k) or request.top_k),
    maxOutputTokens = request.max_tokens,
    candidateCount = request.n and request.n > 1 and clamped(request, "n", 1, 8, ctx) or nil,
    seed = clamped(request, "seed", -2147483648, 2147483647, ctx),
    presencePenalty = clamped(request, "presence_penalty", -2, 2, ctx),
    frequencyPenalty = clamped(request, "frequency_penalty", -2, 2, ctx),
    responseLogprobs = request.logprobs or nil,
    logprobs = request.logprobs and request.top_logprobs or nil,
    stopSequences = write_stop(request, ctx),
    thinkingConfig = write_thinking_config(request, ctx),
  }
  write_format(request, config, ctx)
  return next(config) and config or nil
end

-- What Gemini has no field for. What no answer depends on (a key for the cache, who the end user is, a
-- caller's metadata) goes without a word.
local INEXPRESSIBLE = { "service_tier", "verbosity" }

---@param request table in common form
---@param ctx table
---@return table a body of generateContent
return function(request, ctx)
  for _, name in ipairs(INEXPRESSIBLE) do
    if request[name] ~= nil then ctx:drop(name) end
  end
  local contents, system = write_contents(request, ctx)
  if has_words(request, ctx.model) then
    system[#system + 1] = { text = json_schema.in_words(request.format) }
  end
  if #contents == 0 and #system > 0 then
    contents, system = body.list { { role = "user", parts = system } }, {}
  end
  return {
    systemInstruction = #system > 0 and { parts = system } or nil,
    contents = contents,
    tools = write_tools(request),
    toolConfig = write_tool_config(request, ctx),
    generationConfig = write_config(request, ctx),
  }
end
