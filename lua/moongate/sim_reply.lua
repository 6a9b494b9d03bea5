-- SPDX-License-Identifier: MIT
-- From a reply as a test writes it to what a provider does and when: the steps that sim_core plays, in
-- the OpenAI chat dialect (JSON, or an event stream when the client asked for one). Pure functions: the
-- same reply and call always give the same steps.

local json = require "moongate.sim_json"

local reply = {}

local DONE = "data: [DONE]\n\n"
local STREAM = "text/event-stream"

-- What a reply may say. Times are seconds from the moment the request is sent.
local FIELDS = {
  status = "number", after = "number", connect = "number", first_token = "number", gap = "number",
  events = "number", retry_after = "any", headers = "table", body = "any", error = "any",
  content = "any", usage = "table", model = "string", no_content = "boolean", error_event = "any",
  stall_after = "number", cut_after = "number", refuse = "boolean", stale = "boolean", reset = "string",
  never = "boolean", sent = "string", fail = "string",
}

---What a provider does with a call. A number is a status.
---@class moongate.Reply
---@field status? integer of the answer; 200
---@field after? number seconds to the head of the answer
---@field connect? number seconds to the connection
---@field first_token? number seconds to the first content of a stream
---@field events? integer pieces of content in a stream; 2
---@field gap? number seconds between them
---@field content? string|string[] what the model says; a list: one piece an event
---@field usage? integer[] { prompt, completion } tokens
---@field model? string that the answer names, instead of the one asked for
---@field retry_after? number|string the header Retry-After
---@field headers? table<string, string> more headers of the answer
---@field body? any instead of the usual answer: a text, or a value written as JSON
---@field error? { message?: string, type?: string, code?: string } of a failure's body
---@field no_content? boolean a 200 in which nothing is said
---@field error_event? { after?: integer, message?: string, type?: string, code?: string } an error in a 200, in a stream after so many events
---@field stall_after? integer falls silent after so many events (a plain answer: in its middle)
---@field cut_after? integer the connection breaks after so many events (a plain answer: in its middle)
---@field refuse? boolean nobody listens
---@field stale? boolean a kept connection that turns out to be closed
---@field reset? "before"|"after" the connection breaks before the head (empty_response) or right after it (stream_broken)
---@field never? boolean takes the request and says nothing
---@field fail? string the transfer ends, without an answer, with this outcome: "tls_error", "timeout_connect", …
---@field sent? "nothing"|"partial"|"all" how much of the request had gone out, for stale, reset and fail

local function check(spec)
  for name, value in pairs(spec) do
    local kind = FIELDS[name]
    if not kind then error(("reply: there is no field %q"):format(tostring(name)), 0) end
    if kind ~= "any" and type(value) ~= kind then
      error(("reply: %s: found a %s, expected a %s"):format(name, type(value), kind), 0)
    end
  end
  local n = spec.after or 0
  if n ~= n or n < 0 then error("reply: after: expected seconds", 0) end
end

---A reply as a table, checked.
---@param spec integer|moongate.Reply
---@return moongate.Reply
function reply.of(spec)
  if type(spec) == "number" then return { status = spec } end
  if type(spec) ~= "table" then
    error(("reply: found a %s, expected a status or a table"):format(type(spec)), 0)
  end
  check(spec)
  return spec
end

---The reply that a script of a provider is by itself: a status, or a reply's table instead of a list.
---Fields of the provider's configuration may stand beside; `headers` are the reply's then.
---@param script any
---@return integer|moongate.Reply|nil
function reply.alone(script)
  if type(script) == "number" then return script end
  if type(script) ~= "table" or script[1] ~= nil then return nil end
  local out, found = {}, false
  for name, value in pairs(script) do
    if FIELDS[name] then
      out[name], found = value, found or name ~= "headers"
    end
  end
  return found and out or nil
end

-- Steps under way: data of one moment is joined, since nothing could tell it apart.
local function add(steps, at, step)
  local last = steps[#steps]
  if step.kind == "data" and last and last.kind == "data" and last.at == at then
    last.data = last.data .. step.data
    return
  end
  step.at = at
  steps[#steps + 1] = step
end

local function data(steps, at, text)
  if text ~= "" then add(steps, at, { kind = "data", data = text }) end
end

local function error_body(spec, status)
  local about = type(spec.error) == "table" and spec.error or { message = spec.error }
  return ('{"error":{"message":%s,"type":%s,"param":null,"code":%s}}'):format(
    json.encode(about.message or ("status %d"):format(status)),
    json.encode(about.type or (status < 500 and "invalid_request_error" or "server_error")),
    json.encode(about.code))
end

local function usage_text(usage)
  local prompt, completion = usage[1] or 0, usage[2] or 0
  return ('{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d}'):format(prompt, completion,
    prompt + completion)
end

-- The pieces of content, one for each event of a stream.
local function pieces_of(spec)
  local content = spec.content
  if type(content) == "table" then return content end
  local n = math.max(1, spec.events or 2)
  local out = {}
  if not content then
    for i = 1, n do out[i] = ("word%d "):format(i) end
    return out
  end
  local size = math.max(1, (#content + n - 1) // n)
  for from = 1, #content, size do out[#out + 1] = content:sub(from, from + size - 1) end
  return out
end

local function text_of(spec)
  if spec.no_content then return "" end
  return table.concat(pieces_of(spec))
end

-- The body of an answer that is no stream.
local function plain_body(spec, status, model)
  if spec.body ~= nil then
    return type(spec.body) == "string" and spec.body or json.encode(spec.body)
  end
  if status >= 400 or spec.error_event then
    return error_body({ error = spec.error_event or spec.error }, status)
  end
  return ('{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":%s,"choices":[{"index":0,'
    .. '"finish_reason":"stop","message":{"role":"assistant","content":%s}}],"usage":%s}'):format(
    json.encode(model), json.encode(text_of(spec)), usage_text(spec.usage or { 3, 5 }))
end

local function chunk(model, delta, finish)
  return 'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":' .. model
    .. ',"choices":[{"index":0,"delta":' .. delta .. ',"finish_reason":' .. (finish or "null") .. "}]}\n\n"
end

local function head(spec, status, type_of_body)
  local headers = { ["content-type"] = type_of_body }
  if spec.retry_after then headers["retry-after"] = ("%s"):format(spec.retry_after) end
  for name, value in pairs(spec.headers or {}) do headers[name:lower()] = value end
  return { kind = "head", status = status, headers = headers }
end

local function fail(steps, at, outcome, sent)
  add(steps, at, { kind = "fail", outcome = outcome, sent = sent })
  return steps
end

local function plain_steps(steps, spec, at, status, model)
  local body = plain_body(spec, status, model)
  if spec.stall_after or spec.cut_after then
    data(steps, at, body:sub(1, #body // 2))
    if spec.cut_after then fail(steps, at, "stream_broken", "all") end
    return steps
  end
  data(steps, at, body)
  add(steps, at, { kind = "end" })
  return steps
end

local function last_events(steps, spec, at, model)
  local text = chunk(model, "{}", '"stop"')
  if spec.usage then
    text = text .. ('data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":%s,'
      .. '"choices":[],"usage":%s}\n\n'):format(model, usage_text(spec.usage))
  end
  data(steps, at, text .. DONE)
  add(steps, at, { kind = "end" })
  return steps
end

-- What stops a stream after n events, done at this moment. True when it did.
local function interrupted(steps, spec, at, n)
  local event = spec.error_event
  if event and n >= (event.after or 0) then
    data(steps, at, "data: " .. error_body({ error = event }, 500) .. "\n\n")
    add(steps, at, { kind = "end" })
    return true
  end
  if spec.cut_after and n >= spec.cut_after then
    fail(steps, at, "stream_broken", "all")
    return true
  end
  return spec.stall_after and n >= spec.stall_after or false
end

local function stream_steps(steps, spec, at, model)
  model = json.encode(model)
  data(steps, at, chunk(model, '{"role":"assistant","content":""}'))
  local pieces = spec.no_content and {} or pieces_of(spec)
  if spec.first_token and spec.first_token > at then at = spec.first_token end
  for i, piece in ipairs(pieces) do
    if i > 1 then at = at + (spec.gap or 0) end
    if interrupted(steps, spec, at, i - 1) then return steps end
    data(steps, at, chunk(model, '{"content":' .. json.encode(piece) .. "}"))
  end
  if interrupted(steps, spec, at, #pieces) then return steps end
  return last_events(steps, spec, at, model)
end

---What a provider does with one call, as steps for sim_core.
---@param spec moongate.Reply checked by `of`
---@param call { stream: boolean, model: string } what was asked for
---@return table[] steps
function reply.steps(spec, call)
  local steps, connect = {}, spec.connect or 0
  local at = math.max(spec.after or 0, connect)
  if spec.refuse then return fail(steps, at, "connect_error", "nothing") end
  if spec.fail then return fail(steps, at, spec.fail, spec.sent or "all") end
  add(steps, connect, { kind = "connect", reused = spec.stale or false })
  if spec.never or at == math.huge then return steps end
  if spec.stale then return fail(steps, at, "stale_connection", spec.sent or "all") end
  if spec.reset == "before" then return fail(steps, at, "empty_response", spec.sent or "all") end
  local status = math.tointeger(spec.status or 200)
  local streamed = call.stream and status < 300 and spec.body == nil
  add(steps, at, head(spec, status, streamed and STREAM or "application/json"))
  if spec.reset == "after" then return fail(steps, at, "stream_broken", "all") end
  local model = spec.model or call.model or "m"
  if streamed then return stream_steps(steps, spec, at, model) end
  return plain_steps(steps, spec, at, status, model)
end

return reply
