-- SPDX-License-Identifier: MIT
-- What the conformance kit has dialects say: requests and answers in the common form, each for one feature,
-- with the way to tell whether it came back. Made anew by each call: who changes what it was given harms
-- only itself.

local body = require "moongate.body"
local common = require "moongate.dialect.common"

local forms = {}

local PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
local PDF = "JVBERi0xLjQKMSAwIG9iago8PC9UeXBlL0NhdGFsb2c+PgplbmRvYmoKdHJhaWxlcjw8L1Jvb3QgMSAwIFI+PgolJUVPRgo="
local WAV = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQAAAAA="
local SCHEMA = '{"type":"object","properties":{"city":{"type":"string"},"people":{"type":"integer"}},'
  .. '"required":["city","people"],"additionalProperties":false}'
local LONG = (" and so on, in words that are many"):rep(20) -- above what Lua sees of it

-- ---------------------------------------------------------------- what came back

local function string_of(text) return text and body.string(text, math.maxinteger) or "" end

local function words(list)
  local out = {}
  for i, text in ipairs(list) do out[i] = string_of(text) end
  return (table.concat(out, " "):gsub("%s+", " "):gsub("^ ", ""):gsub(" $", ""))
end

local function texts(parts)
  local out = {}
  for _, part in ipairs(parts or {}) do
    if part.type == "text" then out[#out + 1] = part.text end
  end
  return words(out)
end

-- Who said what, neighbours of one role joined.
local function turns(request)
  local out = {}
  for _, message in ipairs(request.messages) do
    local text = texts(message.parts)
    local last = out[#out]
    if (message.role == "user" or message.role == "assistant") and text ~= "" then
      if last and last.role == message.role then
        last.text = body.join({ last.text, text }, " ")
      else
        out[#out + 1] = { role = message.role, text = text }
      end
    end
  end
  return out
end

local function system(request)
  local out = {}
  for _, message in ipairs(request.messages) do
    if message.role == "system" or message.role == "developer" then out[#out + 1] = texts(message.parts) end
  end
  return words(out)
end

local function each_part(messages, see)
  for _, message in ipairs(messages) do
    for _, part in ipairs(message.parts) do see(part) end
  end
end

-- Fields of all parts of a type.
local function parts(kind, fields)
  return function(request)
    local out = {}
    each_part(request.messages, function(part)
      if part.type ~= kind then return end
      local picked = {}
      for _, name in ipairs(fields) do picked[name] = part[name] end
      out[#out + 1] = picked
    end)
    return out
  end
end

-- Arguments as a value: who decodes and encodes them may change their white space.
local function value_of(text)
  local raw = body.raw(text or "{}")
  return raw and body.table(raw) or string_of(text)
end

-- Calls, and what each of them was answered; ids may be others as long as they belong together.
local function calls_and_results(request)
  local calls, results, number = {}, {}, {}
  each_part(request.messages, function(part)
    if part.type == "call" then
      calls[#calls + 1] = { name = part.name, arguments = value_of(part.arguments) }
      number[part.id] = #calls
    elseif part.type == "result" then
      results[#results + 1] = { call = number[part.id], text = texts(part.parts) }
    end
  end)
  return { calls, results }
end

local function result_fields(request)
  local out = {}
  each_part(request.messages, function(part)
    if part.type ~= "result" then return end
    local image
    for _, inner in ipairs(part.parts) do
      if inner.type == "image" then image = inner.data end
    end
    out[#out + 1] = { is_error = part.is_error or false, image = image }
  end)
  return out
end

local function tools(request)
  local out = {}
  for i, tool in ipairs(request.tools or {}) do
    out[i] = { name = tool.name, description = tool.description,
      parameters = tool.parameters and body.table(tool.parameters) }
  end
  return out
end

local function field(name)
  return function(request) return request[name] == nil and body.null or request[name] end
end

local function effort(request)
  local reasoning = request.reasoning or {}
  return reasoning.effort == "none" and 0 or reasoning.budget or common.budget(reasoning.effort) or 0
end

local function format(request)
  local said = request.format or {}
  return { type = said.type, schema = said.schema and body.table(said.schema) }
end

-- ---------------------------------------------------------------- requests

local function user(...) return { role = "user", parts = { ... } } end
local function assistant(...) return { role = "assistant", parts = { ... } } end
local function text(s) return { type = "text", text = s } end

local function tool_list()
  return {
    { name = "get_weather", description = "The weather at a place.", parameters = body.raw(
      '{"type":"object","properties":{"place":{"type":"string"},"unit":{"type":"string","enum":["c","f"]}},'
      .. '"required":["place"]}') },
    { name = "get_time", description = "The time.",
      parameters = body.raw '{"type":"object","properties":{}}' },
  }
end

-- A conversation in which two tools were used at once.
local function used_tools(say)
  return {
    user(text(say "Oslo, and the time?")),
    assistant({ type = "call", id = "call_a1", name = "get_weather",
      arguments = say '{"place":"Oslo","unit":"c"}' },
      { type = "call", id = "call_b2", name = "get_time", arguments = "{}" }),
    { role = "tool", parts = {
      { type = "result", id = "call_a1", name = "get_weather", parts = { text(say "4 degrees") } },
      { type = "result", id = "call_b2", name = "get_time", parts = { text "noon" } } } },
  }
end

local function with(messages, fields)
  return function(say)
    local given = type(messages) == "function" and messages(say)
    local request = { messages = given or { user(text(say "Hello")) } }
    for name, value in pairs(fields or {}) do
      if type(value) == "function" then value = value() end
      request[name] = value
    end
    return request
  end
end

local function turn(...)
  local given = { ... }
  return function() -- a fresh copy, as deep as parts go
    local copy = {}
    for i, part in ipairs(given) do
      copy[i] = {}
      for name, value in pairs(part) do copy[i][name] = value end
    end
    copy[#copy + 1] = text "What is that?"
    return { user(table.unpack(copy)) }
  end
end

local function thinking(signature)
  return function(say)
    local messages = used_tools(say)
    table.insert(messages[2].parts, 1, { type = "thinking", text = say "They want both.",
      signature = signature })
    return messages
  end
end

-- { feature, request(say), what must come back }. Features are what a dialect's `cannot` names.
forms.requests = {
  { "text", with(function(say) return { user(text(say "Hello")), assistant(text(say "Hi.")),
    user(text "Well?") } end), turns },
  { "text", with(function(say) return { user(text "One.", text(say "Two.")), assistant(text "Hi."),
    user(text "…ümläut\n\"\\") } end),
    turns },
  { "system", with(function(say) return { { role = "system", parts = { text(say "Be short.") } },
    user(text "Hi") } end), system },
  { "system", with(function(say)
    return { { role = "system", parts = { text "Be short." } }, { role = "developer",
      parts = { text(say "In Norwegian.") } },
      user(text "Hi") }
  end), system },
  { "image", with(turn { type = "image", data = PNG, media_type = "image/png" }), parts("image", { "data",
    "media_type" }) },
  { "image_url", with(turn { type = "image", url = "https://pictures.example/a.png" }), parts("image",
    { "url" }) },
  { "audio", with(turn { type = "audio", data = WAV, media_type = "audio/wav" }), parts("audio",
    { "data" }) },
  { "file", with(turn { type = "file", data = PDF, media_type = "application/pdf", name = "a.pdf" }),
    parts("file", { "data", "media_type" }) },
  { "file_url", with(turn { type = "file", url = "https://papers.example/a.pdf",
    media_type = "application/pdf" }),
    parts("file", { "url" }) },
  { "file_text", with(turn { type = "file", text = "High water at noon.", media_type = "text/plain",
    name = "a.txt" }),
    parts("file", { "text" }) },
  { "tools", with(nil, { tools = tool_list }), tools },
  { "tools", with(nil, { tools = function() return { { name = "bare" } } end }), function(request)
    return request.tools[1].name
  end },
  { "tool_choice", with(nil, { tools = tool_list, tool_choice = "auto" }), function(request)
    return request.tool_choice or "auto"
  end },
  { "tool_choice", with(nil, { tools = tool_list, tool_choice = "none" }), field "tool_choice" },
  { "tool_choice", with(nil, { tools = tool_list, tool_choice = "required" }), field "tool_choice" },
  { "named_tool", with(nil, { tools = tool_list, tool_choice = { name = "get_time" } }),
    field "tool_choice" },
  { "parallel_tool_calls", with(nil, { tools = tool_list, parallel_tool_calls = false }),
    field "parallel_tool_calls" },
  { "calls", with(used_tools, { tools = tool_list }), calls_and_results },
  { "calls", with(function(say)
    local messages = used_tools(say)
    messages[4], messages[5] = assistant(text "4 degrees, noon."), user(text(say "Thanks"))
    return messages
  end, { tools = tool_list }), function(request) return { calls_and_results(request), turns(request) } end },
  { "is_error", with(function(say)
    local messages = used_tools(say)
    messages[3].parts[1].is_error = true
    return messages
  end, { tools = tool_list }), result_fields },
  { "result_image", with(function(say)
    local messages = used_tools(say)
    table.insert(messages[3].parts[1].parts, { type = "image", data = PNG, media_type = "image/png" })
    return messages
  end, { tools = tool_list }), result_fields },
  { "stop", with(nil, { stop = function() return { "END", "STOP" } end }), field "stop" },
  { "max_tokens", with(nil, { max_tokens = 321 }), field "max_tokens" },
  { "temperature", with(nil, { temperature = 0.5 }), field "temperature" },
  { "top_p", with(nil, { top_p = 0.5 }), field "top_p" },
  { "top_k", with(nil, { top_k = 40 }), field "top_k" },
  { "seed", with(nil, { seed = 7 }), field "seed" },
  { "frequency_penalty", with(nil, { frequency_penalty = 0.5 }), field "frequency_penalty" },
  { "presence_penalty", with(nil, { presence_penalty = 0.5 }), field "presence_penalty" },
  { "n", with(nil, { n = 2 }), field "n" },
  { "logprobs", with(nil, { logprobs = true, top_logprobs = 3 }), field "logprobs" },
  { "user", with(nil, { user = "user-7" }), field "user" },
  { "metadata", with(nil, { metadata = function() return body.raw '{"team":"a"}' end }), function(request)
    return request.metadata and body.table(request.metadata) or body.null
  end },
  { "verbosity", with(nil, { verbosity = "low" }), field "verbosity" },
  { "reasoning", with(nil, { reasoning = function() return { effort = "medium" } end, max_tokens = 20000 }),
    effort },
  { "reasoning", with(nil, { reasoning = function() return { budget = 8192 } end, max_tokens = 20000 }),
    effort },
  { "reasoning", with(nil, { reasoning = function() return { effort = "none" } end }), effort },
  { "format_json", with(nil, { format = function() return { type = "json" } end }), format },
  { "format_schema", with(nil, { format = function()
    return { type = "schema", name = "town", schema = body.raw(SCHEMA), strict = true }
  end }), format },
}

---Requests that hold thinking: signed by the dialect itself, and by another, which must not be passed on.
---@param name string the dialect's
function forms.signed(name)
  return with(thinking(common.seal(name, "b3duIHNpZ25hdHVyZQ==")), { tools = tool_list }),
    with(thinking(common.seal("somebody", "Zm9yZWlnbg==")), { tools = tool_list }), "Zm9yZWlnbg=="
end

---How the thinking of such a request came back.
function forms.signature_of(request)
  local out = {}
  each_part(request.messages, function(part)
    if part.signature or part.type == "redacted" then
      out[#out + 1] = string_of(part.signature or part.data)
    end
  end)
  return out
end

-- ---------------------------------------------------------------- answers

local function first(answer) return answer.candidates[1] or { parts = {} } end

local function answer_text(answer) return texts(first(answer).parts) end

local function answer_calls(answer)
  local out = {}
  for _, part in ipairs(first(answer).parts) do
    if part.type == "call" then out[#out + 1] = { name = part.name, arguments = value_of(part.arguments) } end
  end
  return out
end

local function answer_parts(kind, name)
  return function(answer)
    local out = {}
    for _, part in ipairs(first(answer).parts) do
      if part.type == kind then out[#out + 1] = string_of(part[name]) end
    end
    return table.concat(out)
  end
end

local function stop(answer) return { first(answer).stop or body.null,
  first(answer).stop_sequence or body.null } end

local function usage(...)
  local names = { ... }
  return function(answer)
    local out = {}
    for i, name in ipairs(names) do out[i] = (answer.usage or {})[name] or body.null end
    return out
  end
end

local function answer(made_parts, made_stop, made_usage)
  return function(say, name)
    return { id = "answer1", model = "model", created = 1700000000,
      usage = made_usage and made_usage() or { input = 10, output = 5 },
      candidates = { { parts = made_parts(say, name), stop = made_stop or "stop",
        stop_sequence = made_stop == "sequence" and "END" or nil } } }
  end
end

local function one_text(say) return { text(say "Hello to you.") } end
local function nothing() return {} end

local function two_calls(say)
  return { text "I look.", { type = "call", id = "call_a1", name = "get_weather",
    arguments = say '{"place":"Os\\"lo}","n":[1]}' },
    { type = "call", id = "call_b2", name = "get_time", arguments = "{}" } }
end

local function thought(say, name)
  return { { type = "thinking", text = say "They greet.", signature = common.seal(name, "c2lnbmVk") },
    text "Hello." }
end

---What an answer says in all, white space aside, and what it calls: what any stream must tell.
function forms.text_of(from) return (answer_text(from):gsub("%s", "")) end
forms.calls_of = answer_calls

-- { feature, answer(say, name of the dialect), what must come back }
forms.answers = {
  { "answer.text", answer(one_text), answer_text },
  { "answer.text", answer(nothing), answer_text },
  { "answer.calls", answer(two_calls, "calls"), answer_calls },
  { "answer.calls", answer(two_calls, "calls"), stop },
  { "answer.thinking", answer(thought), answer_parts("thinking", "text") },
  { "answer.thinking", answer(thought), answer_text },
  { "answer.refusal", answer(function(say) return { { type = "refusal", text = say "I will not." } } end,
    "refusal"),
    answer_parts("refusal", "text") },
  { "answer.stop", answer(one_text), stop },
  { "answer.stop", answer(one_text, "length"), stop },
  { "answer.stop_filter", answer(nothing, "filter"), stop },
  { "answer.stop_refusal", answer(one_text, "refusal"), stop },
  { "answer.stop_sequence", answer(one_text, "sequence"), stop },
  { "answer.stop_pause", answer(one_text, "pause"), stop },
  { "answer.usage", answer(one_text, "stop", function() return { input = 100, output = 50 } end),
    usage("input", "output") },
  { "answer.cached", answer(one_text, "stop", function() return { input = 100, output = 50,
    cached = 40 } end),
    usage("input", "output", "cached") },
  { "answer.cache_write", answer(one_text, "stop", function()
    return { input = 100, output = 50, cached = 40, cache_write = 20 }
  end), usage("input", "output", "cached", "cache_write") },
  { "answer.reasoning", answer(one_text, "stop", function() return { input = 100, output = 50,
    reasoning = 30 } end),
    usage("input", "output", "reasoning") },
}

-- ---------------------------------------------------------------- texts of either kind

---Makes texts short, as Lua strings, or long, as values of which Lua sees nothing.
---@param long boolean
---@return fun(s: string): string|userdata
function forms.say(long)
  return function(s)
    if not long then return s end
    if s:sub(1, 1) == "{" then return body.decode(body.encode((s:gsub("}$", (" "):rep(#LONG) .. "}"))), nil,
      1) end
    return body.decode(body.encode(s .. LONG), nil, 1)
  end
end

---All features that there are, as a set.
function forms.features()
  local known = { thinking = true }
  for _, case in ipairs(forms.requests) do known[case[1]] = true end
  for _, case in ipairs(forms.answers) do known[case[1]] = true end
  return known
end

return forms
