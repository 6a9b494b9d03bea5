-- SPDX-License-Identifier: MIT
-- Deltas into a chat completions stream for a client: the role first, every delta in the turn that it came
-- in, a finish_reason for each choice, the usage when the client asked for it, and the marker of the end.
--
-- SDKs take a call for whole when another one starts, and parse it. So a call that starts while the one
-- before it is not whole JSON yet waits, with its pieces, until that is, or until something else comes.

local body = require "moongate.body"
local chat_answer = require "moongate.dialect.chat_answer"
local common = require "moongate.dialect.common"
local custom_tool = require "moongate.dialect.custom_tool"
local json_scan = require "moongate.dialect.json_scan"
local openai_parts = require "moongate.dialect.openai_parts"
local openai_usage = require "moongate.dialect.openai_usage"

local chat_writer = {}

local function chunk(state, emit, choices, usage)
  emit(nil, {
    id = state.id, object = "chat.completion.chunk", created = state.created, model = state.model,
    choices = choices, usage = usage or (state.include_usage and body.null) or nil,
  })
end

local function say(state, emit, candidate, delta, logprobs)
  chunk(state, emit, { { index = candidate.index, delta = delta, logprobs = logprobs or body.null,
    finish_reason = body.null } })
end

local function begin(state, delta)
  if state.started then return end
  state.started = true
  state.id = delta.id or "chatcmpl-" .. state.ctx.id
  state.model = delta.model or state.ctx.model
  state.created = delta.created or state.ctx.now
end

-- The choice that a delta belongs to; the first of it says the role.
local function candidate_of(state, emit, index)
  local found = state.candidates[index]
  if not found then
    found = { index = index, calls = 0, details = 0, waiting = {} }
    state.candidates[index] = found
    state.order[#state.order + 1] = found
    say(state, emit, found, { role = "assistant", content = "" })
  end
  return found
end

-- ---------------------------------------------------------------- calls

local function say_call(state, emit, call, fields)
  fields.index = call.index
  say(state, emit, call.candidate, { tool_calls = { fields } })
end

local function say_arguments(state, emit, call, text)
  if not call.custom then say_call(state, emit, call, { ["function"] = { arguments = text } }) end
end

-- A call is announced in its turn, with what has come of it by then.
local function announce(state, emit, call)
  call.candidate.current = call
  local said = chat_answer.call({ id = call.id, name = call.name, arguments = "",
    signature = call.signature }, state.tools)
  call.custom = said.custom ~= nil
  say_call(state, emit, call, said)
  local held = common.joined(call.pieces)
  if body.size(held) > 0 then say_arguments(state, emit, call, held) end
end

-- A custom tool's input is inside of its arguments: it can be said when they are whole. No arguments are
-- an empty object of them.
local function end_call(state, emit, candidate)
  local call = candidate.current
  candidate.current = nil
  local text = common.joined(call.pieces)
  if call.custom then
    say_call(state, emit, call, { custom = { input = custom_tool.unwrap(text) } })
  elseif body.size(text) == 0 then
    say_arguments(state, emit, call, "{}")
  end
end

local function next_calls(state, emit, candidate)
  while candidate.waiting[1] and json_scan.is_whole(candidate.current.scan, candidate.current.pieces) do
    end_call(state, emit, candidate)
    announce(state, emit, table.remove(candidate.waiting, 1))
  end
end

local function end_calls(state, emit, candidate)
  while candidate.current do
    end_call(state, emit, candidate)
    local waiting = table.remove(candidate.waiting, 1)
    if waiting then announce(state, emit, waiting) end
  end
end

-- ---------------------------------------------------------------- deltas

local WRITE = {}

function WRITE.start() end
WRITE["end"] = WRITE.start

function WRITE.text(state, candidate, delta, emit)
  say(state, emit, candidate, { content = delta.text }, delta.logprobs)
end

function WRITE.refusal(state, candidate, delta, emit)
  say(state, emit, candidate, { refusal = delta.text })
end

function WRITE.thinking(state, candidate, delta, emit)
  say(state, emit, candidate, { reasoning_content = delta.text })
end

local function say_detail(state, candidate, emit, detail)
  detail.index = candidate.details
  candidate.details = candidate.details + 1
  say(state, emit, candidate, { reasoning_details = { detail } })
end

function WRITE.signature(state, candidate, delta, emit)
  if not common.is_signed(delta.signature) then return end
  say_detail(state, candidate, emit, { type = "reasoning.text", signature = delta.signature })
end

function WRITE.redacted(state, candidate, delta, emit)
  say_detail(state, candidate, emit, { type = "reasoning.encrypted", data = delta.data })
end

function WRITE.image(state, candidate, delta, emit)
  say(state, emit, candidate, { images = { { type = "image_url",
    image_url = { url = openai_parts.data_url(delta.data, delta.media_type) } } } })
end

function WRITE.call(state, candidate, delta, emit)
  local call = { index = candidate.calls, candidate = candidate, id = delta.id, name = delta.name,
    signature = delta.signature, pieces = common.pieces(), scan = json_scan.new() }
  candidate.calls = candidate.calls + 1
  state.calls[delta.call] = call
  if not candidate.current then return announce(state, emit, call) end
  table.insert(candidate.waiting, call)
  next_calls(state, emit, candidate)
end

function WRITE.arguments(state, _, delta, emit)
  local call = state.calls[delta.call]
  if not call then return end
  common.add(call.pieces, delta.text)
  json_scan.add(call.scan, delta.text)
  if call.candidate.current ~= call then return end
  say_arguments(state, emit, call, delta.text)
  next_calls(state, emit, call.candidate)
end

local function finish(state, emit, candidate, stop)
  if candidate.finished then return end
  candidate.finished = true
  end_calls(state, emit, candidate)
  chunk(state, emit, { { index = candidate.index, delta = body.object {}, logprobs = body.null,
    finish_reason = chat_answer.reason(stop, candidate.calls > 0) } })
end

function WRITE.stop(state, candidate, delta, emit) finish(state, emit, candidate, delta.stop) end

local function close(state, emit)
  if not state.order[1] then candidate_of(state, emit, 0) end
  for _, candidate in ipairs(state.order) do finish(state, emit, candidate) end
  if state.include_usage and state.usage then
    chunk(state, emit, body.list {}, openai_usage.write_chat(state.usage))
  end
  emit(nil, "[DONE]")
end

-- What a call is over by.
local SPEAKS = { text = true, thinking = true, refusal = true, image = true }

---@param ctx table
---@return fun(delta: table, emit: fun(type: string|nil, data: any))
function chat_writer.writer(ctx)
  local state = {
    ctx = ctx, started = false, candidates = {}, order = {}, calls = {},
    tools = custom_tool.by_name(ctx.request),
    include_usage = ctx.request and ctx.request.include_usage or false,
  }
  return function(delta, emit)
    begin(state, delta)
    state.usage = openai_usage.merge(state.usage, delta.usage)
    if delta.kind == "end" then return close(state, emit) end
    local write = WRITE[delta.kind]
    if not write then return end
    local candidate = delta.kind ~= "arguments" and candidate_of(state, emit, delta.candidate or 0) or nil
    if SPEAKS[delta.kind] then end_calls(state, emit, candidate) end
    write(state, candidate, delta, emit)
  end
end

return chat_writer
