-- SPDX-License-Identifier: MIT
-- A provider's chat completions stream into deltas. Servers that only resemble OpenAI leave out what they
-- like: ids, indexes, types, a finish_reason; what is missing is made up or told from the order.

local body = require "moongate.body"
local chat_answer = require "moongate.dialect.chat_answer"
local chat_messages = require "moongate.dialect.chat_messages"
local common = require "moongate.dialect.common"
local openai_parts = require "moongate.dialect.openai_parts"
local openai_usage = require "moongate.dialect.openai_usage"
local shape = require "moongate.dialect.shape"

local chat_reader = {}

local function filled(text) return text and body.size(text) > 0 and text or nil end

-- What is known of one choice: `by_index` its calls by the index they came with, `last` the newest one,
-- `thinking` whether a thinking is open that has not been signed.
local function candidate_of(state, index)
  local found = state.candidates[index]
  if not found then
    found = { index = index, by_index = {}, thinking = false }
    state.candidates[index] = found
  end
  return found
end

-- Thinking that its maker does not sign is marked when it is over: so it is told from others' when it
-- comes back.
local function end_thinking(candidate, emit)
  if not candidate.thinking then return end
  candidate.thinking = false
  emit { kind = "signature", signature = common.seal("openai", ""), candidate = candidate.index }
end

local function read_details(candidate, details, said, emit)
  for _, detail in shape.items(details) do
    local kind = shape.as_name(detail.type)
    local text = filled(shape.as_text(detail.text or detail.summary))
    if kind == "reasoning.encrypted" and filled(shape.as_text(detail.data)) then
      end_thinking(candidate, emit)
      emit { kind = "redacted", data = common.seal("openai", detail.data), candidate = candidate.index }
    elseif text and not said then
      candidate.thinking = true
      emit { kind = "thinking", text = text, candidate = candidate.index }
    end
    local signature = filled(shape.as_text(detail.signature))
    if signature then
      candidate.thinking = false
      emit { kind = "signature", signature = common.seal("openai", signature), candidate = candidate.index }
    end
  end
end

local function read_thinking(candidate, delta, emit)
  local said = filled(shape.as_text(delta.reasoning_content)) or filled(shape.as_text(delta.reasoning))
  if said then
    candidate.thinking = true
    emit { kind = "thinking", text = said, candidate = candidate.index }
  end
  if delta.reasoning_details then read_details(candidate, delta.reasoning_details, said, emit) end
end

-- The call that a piece belongs to: by its index, by its id, else the newest. A new id under an index that
-- is known starts another call: some servers give every call the index 0.
local function call_of(state, candidate, piece)
  local index = shape.as_integer(piece.index)
  local id = filled(shape.as_name(piece.id))
  local known = candidate.last
  if index then known = candidate.by_index[index] end
  if known and not (id and known.id and id ~= known.id) then return known end
  local call = { id = id, number = state.calls, started = false, held = {} }
  state.calls = state.calls + 1
  candidate.by_index[index or -call.number - 1] = call
  candidate.last = call
  candidate.list = candidate.list or {}
  table.insert(candidate.list, call)
  return call
end

local function start_call(state, candidate, call, emit)
  call.started = true
  emit {
    kind = "call", call = call.number, id = call.id or ("call_%s_%d"):format(state.ctx.id, call.number),
    name = call.name or "", signature = call.signature, candidate = candidate.index,
  }
  for _, text in ipairs(call.held) do emit { kind = "arguments", call = call.number, text = text } end
  call.held = {}
end

-- Arguments in one piece may be an object where they should be a text of one.
local function arguments_of(value)
  if value == nil then return nil end
  if body.is_text(value) then return filled(value) end
  return chat_messages.arguments(value, shape.soft, "")
end

local function read_call(state, candidate, piece, emit)
  local call = call_of(state, candidate, piece)
  local fields = shape.as_object(piece["function"]) or {}
  candidate.last = call
  call.id = call.id or filled(shape.as_name(piece.id))
  call.name = call.name or filled(shape.as_name(fields.name))
  call.signature = call.signature or chat_messages.call_signature(piece, shape.soft, "")
  if call.name and not call.started then start_call(state, candidate, call, emit) end
  local text = arguments_of(fields.arguments)
  if not text then return end
  if call.started then
    emit { kind = "arguments", call = call.number, text = text }
  else
    call.held[#call.held + 1] = text
  end
end

local function read_stop(state, candidate, choice, emit)
  local stop, sequence = chat_answer.stop(choice, candidate.list ~= nil)
  if not stop then return end
  end_thinking(candidate, emit)
  for _, call in ipairs(candidate.list or {}) do
    if not call.started then start_call(state, candidate, call, emit) end
  end
  emit { kind = "stop", stop = stop, stop_sequence = sequence, candidate = candidate.index }
end

local function read_images(candidate, images, emit)
  for _, image in shape.items(images) do
    local where = shape.as_object(image.image_url)
    local part = where and openai_parts.image(shape.as_text(where.url))
    if part and part.data then
      emit { kind = "image", data = part.data, media_type = part.media_type, candidate = candidate.index }
    end
  end
end

local function read_choice(state, choice, emit)
  local candidate = candidate_of(state, shape.as_integer(choice.index) or 0)
  local delta = shape.as_object(choice.delta) or {}
  read_thinking(candidate, delta, emit)
  local text, refusal = filled(shape.as_text(delta.content)), filled(shape.as_text(delta.refusal))
  local calls = shape.as_list(delta.tool_calls)
  if text or refusal or calls and calls[1] then end_thinking(candidate, emit) end
  if text then
    emit { kind = "text", text = text, logprobs = chat_answer.logprobs(choice.logprobs),
      candidate = candidate.index }
  end
  if refusal then emit { kind = "refusal", text = refusal, candidate = candidate.index } end
  if delta.images then read_images(candidate, delta.images, emit) end
  for _, piece in shape.items(calls) do read_call(state, candidate, piece, emit) end
  read_stop(state, candidate, choice, emit)
end

---@param ctx table
---@return fun(type: string, data: any, emit: fun(delta: table))
function chat_reader.reader(ctx)
  local state = { ctx = ctx, candidates = {}, calls = 0, started = false }
  return function(_, data, emit)
    if not shape.as_object(data) then return end
    if not state.started then
      state.started = true
      emit { kind = "start", id = filled(shape.as_name(data.id)), model = filled(shape.as_name(data.model)),
        created = shape.as_integer(data.created) }
    end
    for _, choice in shape.items(data.choices) do read_choice(state, choice, emit) end
    local usage = openai_usage.read_chat(data.usage)
    if usage then emit { kind = "usage", usage = usage } end
  end
end

return chat_reader
