-- SPDX-License-Identifier: MIT
-- Deltas into a responses stream for a client. The events of an item come in the order that the SDKs and the
-- Codex CLI build on: added, its parts and deltas, what it has become, done; one message or reasoning item is
-- open at a time, calls may be open together. Every event is numbered. The end repeats the whole output: of
-- each item no more than that is held. The request's tools are not repeated in a stream.

local body = require "moongate.body"
local common = require "moongate.dialect.common"
local custom_tool = require "moongate.dialect.custom_tool"
local openai_usage = require "moongate.dialect.openai_usage"
local responses_object = require "moongate.dialect.responses_object"

local responses_writer = {}

local function say(state, emit, kind, data)
  data.type, data.sequence_number = kind, state.sequence
  state.sequence = state.sequence + 1
  emit(kind, data)
end

-- An event about an item, with its place.
local function tell(state, emit, item, kind, data)
  data.item_id, data.output_index = item.id, item.index
  say(state, emit, kind, data)
end

local function response_of(state) return responses_object.new(state.head, state.ctx, body.list {}) end

local function begin(state, delta, emit)
  if state.head then return end
  state.head = { id = delta.kind == "start" and delta.id or nil, model = delta.model,
    created = delta.created }
  say(state, emit, "response.created", { response = response_of(state) })
  say(state, emit, "response.in_progress", { response = response_of(state) })
end

-- ---------------------------------------------------------------- items

local function add_item(state, emit, item, fields)
  item.index = #state.output
  item.id = fields.id
  state.output[item.index + 1] = fields
  say(state, emit, "response.output_item.added", { output_index = item.index, item = fields })
  return item
end

local function end_item(state, emit, item, fields)
  state.output[item.index + 1] = fields
  say(state, emit, "response.output_item.done", { output_index = item.index, item = fields })
end

local function next_id(state, prefix) return ("%s%s_%d"):format(prefix, state.ctx.id, #state.output) end

-- ---------------------------------------------------------------- messages

local function part_of(part)
  local text = common.joined(part.pieces)
  if part.kind == "refusal" then return { type = "refusal", refusal = text } end
  return responses_object.text(text, part.logprobs)
end

local function end_part(state, emit, item)
  local part = item.part
  if not part then return end
  item.part = nil
  local whole = part_of(part)
  item.content[#item.content + 1] = whole
  if part.kind == "refusal" then
    tell(state, emit, item, "response.refusal.done", { content_index = part.index, refusal = whole.refusal })
  else
    tell(state, emit, item, "response.output_text.done",
      { content_index = part.index, text = whole.text, logprobs = whole.logprobs })
  end
  tell(state, emit, item, "response.content_part.done", { content_index = part.index, part = whole })
end

local function close_message(state, emit, item)
  end_part(state, emit, item)
  end_item(state, emit, item, responses_object.message(item.id, "completed", item.content))
end

local function open_message(state, emit)
  local item = { close = close_message, content = {}, kind = "message" }
  return add_item(state, emit, item, responses_object.message(next_id(state, "msg_"), "in_progress", {}))
end

local function open_part(state, emit, item, kind)
  if item.part and item.part.kind == kind then return item.part end
  end_part(state, emit, item)
  item.part = { kind = kind, index = #item.content, pieces = common.pieces() }
  tell(state, emit, item, "response.content_part.added",
    { content_index = item.part.index, part = part_of(item.part) })
  return item.part
end

-- ---------------------------------------------------------------- reasoning

local function close_reasoning(state, emit, item)
  local text
  if item.pieces then
    text = common.joined(item.pieces)
    local part = { type = "summary_text", text = text }
    tell(state, emit, item, "response.reasoning_summary_text.done", { summary_index = 0, text = text })
    tell(state, emit, item, "response.reasoning_summary_part.done", { summary_index = 0, part = part })
  end
  end_item(state, emit, item, responses_object.reasoning(item.id, text,
    item.signature or responses_object.unsigned(state.ctx)))
end

local function open_reasoning(state, emit)
  local item = { close = close_reasoning, kind = "reasoning" }
  return add_item(state, emit, item, responses_object.reasoning(next_id(state, "rs_")))
end

-- ---------------------------------------------------------------- calls

local function close_call(state, emit, call)
  local text = common.joined(call.pieces)
  local whole = responses_object.call(call.name_of_item, call.delta, state.tools, "completed",
    body.size(text) > 0 and text or "{}")
  if whole.type == "custom_tool_call" then
    tell(state, emit, call, "response.custom_tool_call_input.delta", { delta = whole.input })
    tell(state, emit, call, "response.custom_tool_call_input.done", { input = whole.input })
  else
    tell(state, emit, call, "response.function_call_arguments.done",
      { arguments = whole.arguments, name = whole.name })
  end
  end_item(state, emit, call, whole)
end

local function open_call(state, emit, delta)
  local call = { delta = delta, name_of_item = next_id(state, ""), pieces = common.pieces() }
  local fields = responses_object.call(call.name_of_item, delta, state.tools, "in_progress", "")
  call.streams = fields.type == "function_call"
  add_item(state, emit, call, fields)
  state.calls[delta.call] = call
  state.open_calls[#state.open_calls + 1] = call
end

-- ---------------------------------------------------------------- what is open

local function close_calls(state, emit)
  local calls = state.open_calls
  state.open_calls, state.calls = {}, {}
  for _, call in ipairs(calls) do close_call(state, emit, call) end
end

local function close_block(state, emit)
  local item = state.open
  state.open = nil
  if item then item.close(state, emit, item) end
end

-- The open item of a kind; another kind is closed first.
local function open(state, emit, kind, make)
  close_calls(state, emit)
  if state.open and state.open.kind == kind then return state.open end
  close_block(state, emit)
  state.open = make(state, emit)
  return state.open
end

-- ---------------------------------------------------------------- deltas

local WRITE = {}

function WRITE.text(state, delta, emit)
  local item = open(state, emit, "message", open_message)
  local part = open_part(state, emit, item, "text")
  local logprobs = responses_object.logprobs(delta.logprobs)
  if logprobs then
    part.logprobs = part.logprobs or body.list {}
    for _, one in ipairs(logprobs) do part.logprobs[#part.logprobs + 1] = one end
  end
  common.add(part.pieces, delta.text)
  tell(state, emit, item, "response.output_text.delta",
    { content_index = part.index, delta = delta.text, logprobs = logprobs or body.list {} })
end

function WRITE.refusal(state, delta, emit)
  local item = open(state, emit, "message", open_message)
  local part = open_part(state, emit, item, "refusal")
  common.add(part.pieces, delta.text)
  tell(state, emit, item, "response.refusal.delta", { content_index = part.index, delta = delta.text })
end

function WRITE.thinking(state, delta, emit)
  if state.open and state.open.signature then close_block(state, emit) end
  local item = open(state, emit, "reasoning", open_reasoning)
  if not item.pieces then
    item.pieces = common.pieces()
    tell(state, emit, item, "response.reasoning_summary_part.added",
      { summary_index = 0, part = { type = "summary_text", text = "" } })
  end
  common.add(item.pieces, delta.text)
  tell(state, emit, item, "response.reasoning_summary_text.delta", { summary_index = 0, delta = delta.text })
end

function WRITE.signature(state, delta, emit)
  if not delta.signature then return end
  local item = state.open
  if not item or item.kind ~= "reasoning" or common.is_signed(item.signature) then
    if not common.is_signed(delta.signature) then return end
    close_calls(state, emit)
    close_block(state, emit)
    item = open_reasoning(state, emit)
    state.open = item
  end
  item.signature = delta.signature
end

function WRITE.redacted(state, delta, emit)
  close_calls(state, emit)
  close_block(state, emit)
  local item = add_item(state, emit, {}, responses_object.reasoning(next_id(state, "rs_")))
  end_item(state, emit, item, responses_object.redacted(item.id, delta.data))
end

-- Gemini signs a call, and a call has no place for that here: it stands on the reasoning before it.
function WRITE.call(state, delta, emit)
  if common.is_signed(delta.signature) then WRITE.signature(state, { signature = delta.signature }, emit) end
  close_block(state, emit)
  open_call(state, emit, delta)
end

function WRITE.arguments(state, delta, emit)
  local call = state.calls[delta.call]
  if not call then return end
  common.add(call.pieces, delta.text)
  if call.streams then
    tell(state, emit, call, "response.function_call_arguments.delta", { delta = delta.text })
  end
end

function WRITE.image(state, delta, emit)
  close_calls(state, emit)
  close_block(state, emit)
  local fields = responses_object.image(next_id(state, "ig_"), {})
  fields.status = "in_progress"
  local item = add_item(state, emit, {}, fields)
  end_item(state, emit, item, responses_object.image(item.id, delta))
end

function WRITE.stop(state, delta, emit)
  close_calls(state, emit)
  close_block(state, emit)
  state.stop = delta.stop
end

WRITE["end"] = function(state, _, emit)
  close_calls(state, emit)
  close_block(state, emit)
  local response = responses_object.close(response_of(state), state.output, state.stop, state.usage)
  say(state, emit, "response." .. response.status, { response = response })
end

---@param ctx table
---@return fun(delta: table, emit: fun(type: string|nil, data: any))
function responses_writer.writer(ctx)
  local state = { ctx = ctx, sequence = 0, output = {}, calls = {}, open_calls = {},
    tools = custom_tool.by_name(ctx.request) }
  return function(delta, emit)
    if (delta.candidate or 0) ~= 0 then return end
    begin(state, delta, emit)
    state.usage = openai_usage.merge(state.usage, delta.usage)
    local write = WRITE[delta.kind]
    if write then write(state, delta, emit) end
  end
end

return responses_writer
