-- SPDX-License-Identifier: MIT
-- Cohere's chat (v2): a provider whose API is none of those that are built in. Requests are said in its
-- words, its answers in the common form; what they mean stands at the end, as data. The rules of such a
-- file: lua/dialects/README.md.

local body = require "moongate.body"
local shape = require "moongate.dialect.shape"

-- What stands beside content, or is not passed on.
local BESIDE = { call = true, thinking = true, redacted = true }

local function content_of(parts, at, ctx)
  local content = body.list {}
  for _, part in ipairs(parts) do
    if part.text and not BESIDE[part.type] then
      content[#content + 1] = { type = "text", text = part.text }
    elseif part.type == "image" and (part.url or part.data) then
      local media_type = part.media_type or "image/png"
      local url = part.url or body.join { "data:", media_type, ";base64,", part.data }
      content[#content + 1] = { type = "image_url", image_url = { url = url } }
    elseif not BESIDE[part.type] then
      ctx:drop(at .. "." .. part.type)
    end
  end
  return content[1] and content or nil
end

local function calls_of(parts)
  local calls = {}
  for _, part in ipairs(parts) do
    local call = { id = part.id, type = "function" }
    call["function"] = { name = part.name, arguments = part.arguments }
    if part.type == "call" then calls[#calls + 1] = call end
  end
  return calls[1] and calls or nil
end

local function tools_of(request)
  local out = {}
  for i, tool in ipairs(request.tools or {}) do
    local parameters = tool.parameters or body.raw '{"type":"object","properties":{}}'
    local said = { name = tool.name, description = tool.description, parameters = parameters }
    out[i] = { type = "function", ["function"] = said }
  end
  return out[1] and out or nil
end

local function messages_of(request, ctx)
  local out = body.list {}
  for i, message in ipairs(request.messages) do
    local at, parts = "messages." .. i - 1, message.parts
    for _, part in ipairs(message.role == "tool" and parts or {}) do -- a message for each result
      if part.is_error then ctx:drop(at .. ".is_error") end
      local content = content_of(part.parts, at, ctx) or ""
      out[#out + 1] = { role = "tool", tool_call_id = part.id, content = content }
    end
    if message.role ~= "tool" then
      local role = message.role == "developer" and "system" or message.role
      out[#out + 1] = { role = role, content = content_of(parts, at, ctx), tool_calls = calls_of(parts) }
    end
  end
  return out
end

-- Fields of one meaning under both names; fields that there is no word for.
local NAMES = { stop = "stop_sequences", top_p = "p", top_k = "k" }
for _, name in ipairs { "max_tokens", "temperature", "seed", "frequency_penalty", "presence_penalty" } do
  NAMES[name] = name
end
local CHOICE = { required = "REQUIRED", none = "NONE" }
local UNKNOWN = { "n", "logprobs", "user", "metadata", "verbosity", "reasoning", "parallel_tool_calls" }

local function write_request(request, ctx)
  local out = { model = ctx.model, stream = ctx.stream, messages = messages_of(request, ctx) }
  out.tools, out.tool_choice = tools_of(request), CHOICE[request.tool_choice]
  if type(request.tool_choice) == "table" then ctx:drop("tool_choice") end -- one by its name
  out.response_format = request.format and { type = "json_object", json_schema = request.format.schema }
  for name, theirs in pairs(NAMES) do out[theirs] = request[name] end
  for _, name in ipairs(UNKNOWN) do
    if request[name] ~= nil then ctx:drop(name) end
  end
  return out
end

-- What stands at the end of a path; nil where something on the way is no object.
local function at(v, name, ...)
  if not name then return v end
  return shape.as_object(v) and at(v[name], ...)
end

local STOP = { MAX_TOKENS = "length", TOOL_CALL = "calls" }
local function stop_of(reason) return STOP[shape.as_name(reason)] or "stop" end
local function usage_of(from)
  local tokens = shape.as_object(at(from, "tokens")) or {}
  return { input = shape.as_integer(tokens.input_tokens), output = shape.as_integer(tokens.output_tokens) }
end

local function read_answer(from, ctx)
  local parts = body.list {}
  for _, block in shape.items(at(from, "message", "content")) do
    if shape.as_text(block.text) then parts[#parts + 1] = { type = "text", text = block.text } end
  end
  for i, call in shape.items(at(from, "message", "tool_calls")) do
    local name, arguments = at(call, "function", "name"), at(call, "function", "arguments")
    parts[#parts + 1] = { type = "call", id = shape.as_name(call.id) or ("call_%s_%d"):format(ctx.id, i),
      name = shape.as_name(name) or "", arguments = shape.as_text(arguments) or "{}" }
  end
  return { id = shape.as_name(from.id), usage = usage_of(from.usage),
    candidates = { { parts = parts, stop = stop_of(from.finish_reason) } } }
end

local READ = {} -- what each kind of event tells
READ["message-start"] = function(event, emit) emit { kind = "start", id = shape.as_name(event.id) } end
READ["content-delta"] = function(event, emit)
  local text = shape.as_text(at(event, "delta", "message", "content", "text"))
  if text then emit { kind = "text", text = text } end
end
READ["tool-call-start"] = function(event, emit)
  local call = at(event, "delta", "message", "tool_calls")
  emit { kind = "call", call = shape.as_integer(event.index) or 0, id = shape.as_name(at(call, "id")),
    name = shape.as_name(at(call, "function", "name")) }
end
READ["tool-call-delta"] = function(event, emit)
  local text = shape.as_text(at(event, "delta", "message", "tool_calls", "function", "arguments"))
  if text then emit { kind = "arguments", call = shape.as_integer(event.index) or 0, text = text } end
end
READ["message-end"] = function(event, emit)
  emit { kind = "stop", stop = stop_of(at(event, "delta", "finish_reason")) }
  emit { kind = "usage", usage = usage_of(at(event, "delta", "usage")) }
end

local function ignore() end
local function read_event(_, event, emit) (READ[shape.as_name(event.type)] or ignore)(event, emit) end

return { name = "cohere", auth = "bearer", generate = "/chat",
  cannot = { "audio", "file", "file_url", "is_error", "logprobs", "metadata", "n", "named_tool",
    "parallel_tool_calls", "reasoning", "user", "verbosity" },
  errors = { message = "message", statuses = { { "credential_error", status = "401-403" },
    { "model_unavailable", status = 404 }, { "rate_limited", status = 429 },
    { "server_error", status = "5xx" }, { "client_error", status = "4xx" } } },
  answers = { { body = "object", rules = {
    { "answer", filled = { "message.content", "message.tool_calls" } }, { "empty" } } } },
  stream = { type = "type", rules = {
    { "content", type = "content-delta", filled = "delta.message.content.text" },
    { "content", type = "tool-call-start" }, { "error", at = "delta.finish_reason", is = "ERROR" },
    { "finish", "end", type = "message-end" } } },
  usage = { input = { "usage.tokens.input_tokens", "delta.usage.tokens.input_tokens" },
    output = { "usage.tokens.output_tokens", "delta.usage.tokens.output_tokens" } },
  write_request = write_request, read_answer = read_answer, reader = function() return read_event end }
