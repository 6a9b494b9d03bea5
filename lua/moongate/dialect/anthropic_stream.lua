-- SPDX-License-Identifier: MIT
-- Anthropic messages: streams. A reader makes deltas of a provider's events, a writer makes events of deltas.
-- The API has one block open at a time and ends with what it stopped for: the writer keeps a second call's
-- pieces while the first one may still grow, and the reason to stop until the end.

local body = require "moongate.body"
local common = require "moongate.dialect.common"
local answer = require "moongate.dialect.anthropic_answer"
local json_scan = require "moongate.dialect.json_scan"
local shape = require "moongate.dialect.shape"

local NAME = "anthropic"
local stream = {}

-- ---------------------------------------------------------------- reading

---@class moongate.AnthropicReader
---@field ctx table
---@field calls integer how many have begun
---@field blocks table<integer, table> open ones: { call = n, begun = it said arguments, input = RAW }
---@field usage table what the events said so far

local START = {} -- type of block = function(state, block, open, emit)

function START.text(_, block, _, emit)
  local text = shape.as_text(block.text)
  if text and body.size(text) > 0 then emit { kind = "text", text = text } end
end

function START.thinking(_, block, _, emit)
  local text, signature = shape.as_text(block.thinking), shape.as_text(block.signature)
  if text and body.size(text) > 0 then emit { kind = "thinking", text = text } end
  if signature and body.size(signature) > 0 then
    emit { kind = "signature", signature = common.seal(NAME, signature) }
  end
end

function START.redacted_thinking(_, block, _, emit)
  local data = shape.as_text(block.data)
  if data then emit { kind = "redacted", data = common.seal(NAME, data) } end
end

function START.tool_use(state, block, open, emit)
  open.call, open.input = state.calls, shape.as_raw(block.input)
  state.calls = state.calls + 1
  emit { kind = "call", call = open.call, name = shape.as_name(block.name) or "",
    id = shape.as_name(block.id) or ("call_%s_%d"):format(state.ctx.id, open.call) }
end

local DELTA = {} -- type of delta = function(delta, open, emit)

function DELTA.text_delta(delta, _, emit)
  local text = shape.as_text(delta.text)
  if text then emit { kind = "text", text = text } end
end

function DELTA.thinking_delta(delta, _, emit)
  local text = shape.as_text(delta.thinking)
  if text then emit { kind = "thinking", text = text } end
end

function DELTA.signature_delta(delta, _, emit)
  local signature = shape.as_text(delta.signature)
  if signature then emit { kind = "signature", signature = common.seal(NAME, signature) } end
end

function DELTA.input_json_delta(delta, open, emit)
  local text = shape.as_text(delta.partial_json)
  if text and open.call and body.size(text) > 0 then
    open.begun = true
    emit { kind = "arguments", call = open.call, text = text }
  end
end

local READ = {} -- type of event = function(state, data, emit)

function READ.message_start(state, data, emit)
  local message = shape.as_object(data.message) or {}
  answer.add_usage(message.usage, state.usage)
  emit { kind = "start", id = shape.as_name(message.id), model = shape.as_name(message.model),
    usage = answer.total(state.usage) }
end

function READ.content_block_start(state, data, emit)
  local block = shape.as_object(data.content_block) or {}
  local open = {}
  state.blocks[shape.as_integer(data.index) or 0] = open
  local start = START[shape.as_name(block.type)]
  if start then start(state, block, open, emit) end
end

function READ.content_block_delta(state, data, emit)
  local delta = shape.as_object(data.delta) or {}
  local read = DELTA[shape.as_name(delta.type)]
  if read then read(delta, state.blocks[shape.as_integer(data.index) or 0] or {}, emit) end
end

-- A call without arguments has no delta: it says what its block began with.
function READ.content_block_stop(state, data, emit)
  local index = shape.as_integer(data.index) or 0
  local open = state.blocks[index]
  if open and open.call and not open.begun then
    emit { kind = "arguments", call = open.call, text = open.input and body.text(open.input) or "{}" }
  end
  state.blocks[index] = nil
end

function READ.message_delta(state, data, emit)
  local delta = shape.as_object(data.delta) or {}
  local stop = answer.read_stop(delta.stop_reason)
  if stop then emit { kind = "stop", stop = stop, stop_sequence = shape.as_name(delta.stop_sequence) } end
  answer.add_usage(data.usage, state.usage)
  local usage = answer.total(state.usage)
  if usage then emit { kind = "usage", usage = usage } end
end

---@param ctx table
---@return fun(type: string, data: any, emit: fun(delta: table))
function stream.reader(ctx)
  local state = { ctx = ctx, calls = 0, blocks = {}, usage = {} }
  return function(type, data, emit)
    local event = shape.as_object(data)
    if not event then return end
    local read = READ[shape.as_name(event.type) or type]
    if read then read(state, event, emit) end
  end
end

-- ---------------------------------------------------------------- writing

---@class moongate.AnthropicWriter
---@field ctx table
---@field started boolean
---@field ended boolean
---@field index integer the open block's, or the last one's; -1 before the first
---@field open string|nil "text", "thinking", "call": what is open
---@field calls table<integer, table> all calls: { id, name, held = pieces, scan, begun, closed }
---@field current integer|nil the call that is open
---@field waiting integer[] calls that have not begun, in their order

local function send(state, type, data)
  data.type = type
  state.emit(type, data)
end

local function start(state, delta)
  if state.started then return end
  state.started = true
  send(state, "message_start", { message = { type = "message", role = "assistant",
    id = delta.id or "msg_" .. state.ctx.id, model = delta.model or state.ctx.model,
    content = body.list {}, stop_reason = body.null, stop_sequence = body.null,
    usage = answer.write_usage(delta.usage or state.usage) } })
end

local function send_delta(state, delta)
  send(state, "content_block_delta", { index = state.index, delta = delta })
end

local function open_block(state, kind, block)
  state.index, state.open, state.signed = state.index + 1, kind, false
  send(state, "content_block_start", { index = state.index, content_block = block })
end

-- Thinking that nobody signed ends with the seal of nobody: the client must have a signature.
local function close_block(state)
  if not state.open then return end
  if state.open == "thinking" and not state.signed then
    send_delta(state, { type = "signature_delta", signature = answer.UNSIGNED })
  end
  send(state, "content_block_stop", { index = state.index })
  if state.current then state.calls[state.current].closed = true end
  state.open, state.current = nil, nil
end

local function send_arguments(state, call, piece)
  json_scan.add(call.scan, piece)
  send_delta(state, { type = "input_json_delta", partial_json = piece })
end

local function begin_call(state, n)
  local call = state.calls[n]
  close_block(state)
  if call.signature then
    open_block(state, "thinking", { type = "thinking", thinking = "", signature = "" })
    send_delta(state, { type = "signature_delta", signature = call.signature })
    state.signed = true
    close_block(state)
  end
  open_block(state, "call", answer.call_block(call.id, call.name, n, state.ctx))
  state.current = n
  if call.held.size > 0 then send_arguments(state, call, common.joined(call.held)) end
end

-- Begins waiting calls as long as the one that is open cannot grow any more; all of them when something else
-- follows.
local function begin_waiting(state, all)
  while state.waiting[1] and (all or not state.current or state.calls[state.current].scan.whole) do
    begin_call(state, table.remove(state.waiting, 1))
  end
end

local function close_all(state)
  begin_waiting(state, true)
  close_block(state)
end

local function open_as(state, kind, block)
  if state.open ~= kind then
    close_all(state)
    open_block(state, kind, block)
  end
end

local function add_call(state, n, delta)
  local call = { id = delta.id, name = delta.name, signature = delta.signature,
    held = common.pieces(), scan = json_scan.new() }
  state.calls[n] = call
  state.waiting[#state.waiting + 1] = n
  state.has_calls = true
  begin_waiting(state, false)
  return call
end

local WRITE = {} -- kind of delta = function(state, delta)

function WRITE.text(state, delta)
  if body.size(delta.text) == 0 then return end
  open_as(state, "text", { type = "text", text = "" })
  send_delta(state, { type = "text_delta", text = delta.text })
end

function WRITE.refusal(state, delta)
  state.refused = true
  WRITE.text(state, delta)
end

local function open_thinking(state)
  if state.open == "thinking" and state.signed then close_block(state) end
  open_as(state, "thinking", { type = "thinking", thinking = "", signature = "" })
end

function WRITE.thinking(state, delta)
  if body.size(delta.text) == 0 then return end
  open_thinking(state)
  send_delta(state, { type = "thinking_delta", thinking = delta.text })
end

function WRITE.signature(state, delta)
  open_thinking(state)
  send_delta(state, { type = "signature_delta", signature = delta.signature })
  state.signed = true
end

function WRITE.redacted(state, delta)
  close_all(state)
  open_block(state, "redacted", { type = "redacted_thinking", data = delta.data })
  close_block(state)
end

function WRITE.call(state, delta)
  local n = delta.call or 0
  if not state.calls[n] then add_call(state, n, delta) end
end

function WRITE.arguments(state, delta)
  local n = delta.call or 0
  local call = state.calls[n] or add_call(state, n, {})
  if state.current == n then
    send_arguments(state, call, delta.text)
    begin_waiting(state, false)
  elseif not call.closed then
    common.add(call.held, delta.text)
  end
end

function WRITE.stop(state, delta)
  state.stop = delta.stop
  state.stop_sequence = delta.stop_sequence
end

function WRITE.usage(state, delta) state.usage = delta.usage end

WRITE["end"] = function(state)
  close_all(state)
  local stop = state.stop
  if state.refused and (stop == nil or stop == "stop") then stop = "refusal" end
  stop = common.stop(stop, state.has_calls)
  send(state, "message_delta", { usage = answer.write_usage(state.usage), delta = {
    stop_reason = answer.write_stop(stop),
    stop_sequence = stop == "sequence" and state.stop_sequence or body.null } })
  send(state, "message_stop", {})
  state.ended = true
end

---@param ctx table
---@return fun(delta: table, emit: fun(type: string|nil, data: any))
function stream.writer(ctx)
  local state = { ctx = ctx, started = false, ended = false, index = -1, calls = {}, waiting = {} }
  return function(delta, emit)
    if state.ended or delta.candidate and delta.candidate > 0 then return end
    state.emit = emit
    if delta.kind == "start" then
      state.usage = delta.usage or state.usage
      return start(state, delta)
    end
    local write = WRITE[delta.kind]
    if not write then return end
    start(state, {})
    write(state, delta)
  end
end

return stream
