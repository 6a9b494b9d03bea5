-- SPDX-License-Identifier: MIT
-- Bedrock's Converse: whole answers and streams read into the common form. The events of a stream come as
-- text: their frames were undone by the core.

local body = require "moongate.body"
local common = require "moongate.dialect.common"
local request_writer = require "moongate.dialect.bedrock_request"
local shape = require "moongate.dialect.shape"

local NAME = "bedrock"
local answer = {}

local STOP = { end_turn = "stop", tool_use = "calls", max_tokens = "length", stop_sequence = "sequence",
  guardrail_intervened = "filter", content_filtered = "filter", model_context_window_exceeded = "length" }

-- ---------------------------------------------------------------- what both share

-- Which of the request's sequences was met is said by Claude alone; where only one was asked for it is that.
local function stop_of(said, ctx)
  local reason = shape.as_name(said.stopReason)
  local stop = reason and (STOP[reason] or "stop")
  if stop ~= "sequence" then return stop end
  local fields = shape.as_object(said.additionalModelResponseFields)
  local asked = ctx.request and ctx.request.stop or {}
  local sequence = fields and shape.as_name(fields.stop_sequence)
    or asked[1] and not asked[2] and shape.as_name(asked[1]) or nil
  return sequence and "sequence" or "stop", sequence
end

local function count(v)
  local n = shape.as_integer(v)
  return n and n >= 0 and n or nil
end

-- What was cached is counted beside inputTokens here, within the input in the common form.
local function usage_of(from)
  local said = shape.as_object(from)
  if not said then return nil end
  local plain, cached, written = count(said.inputTokens), count(said.cacheReadInputTokens),
    count(said.cacheWriteInputTokens)
  return { input = plain and plain + (cached or 0) + (written or 0), output = count(said.outputTokens),
    cached = cached, cache_write = written }
end

-- A text that may have been kept raw for its field's name.
local function text_of(v)
  if body.is_raw(v) then v = body.kind(v) == "string" and body.table(v) or nil end
  return shape.as_text(v)
end

-- The forced tool that stood for structured output: its arguments are the answer's text.
local function is_output(name, ctx)
  return name == request_writer.OUTPUT_TOOL and ctx.request ~= nil and ctx.request.format ~= nil
    and not (ctx.request.tools and ctx.request.tools[1])
end

local function call_id(id, n, ctx)
  return shape.as_name(id) or ("call_%s_%d"):format(ctx.id, n)
end

local function image_of(image)
  local source = shape.as_object(image.source)
  local data = source and shape.as_text(source.bytes)
  return data and { data = data, media_type = "image/" .. (shape.as_name(image.format) or "png") }
end

-- ---------------------------------------------------------------- whole answers

local READ = {} -- field of a block = function(value, n, ctx) -> part or nil

function READ.text(text)
  text = shape.as_text(text)
  return text and body.size(text) > 0 and { type = "text", text = text } or nil
end

function READ.toolUse(use, n, ctx)
  use = shape.as_object(use)
  if not use then return nil end
  local name, input = shape.as_name(use.name) or "", shape.as_raw(use.input)
  local arguments = input and body.text(input) or "{}"
  if is_output(name, ctx) then return { type = "text", text = arguments } end
  return { type = "call", id = call_id(use.toolUseId, n, ctx), name = name,
    arguments = arguments }
end

function READ.reasoningContent(reasoning)
  reasoning = shape.as_object(reasoning) or {}
  local said, redacted = shape.as_object(reasoning.reasoningText), shape.as_text(reasoning.redactedContent)
  if said then
    return { type = "thinking", text = shape.as_text(said.text) or "",
      signature = common.seal(NAME, shape.as_text(said.signature) or "") }
  end
  return redacted and { type = "redacted", data = common.seal(NAME, redacted) } or nil
end

function READ.image(image)
  local part = shape.as_object(image) and image_of(image)
  if part then part.type = "image" end
  return part or nil
end

function READ.citationsContent(cited)
  local texts = {}
  for _, piece in shape.items((shape.as_object(cited) or {}).content) do
    texts[#texts + 1] = shape.as_text(piece.text)
  end
  return texts[1] and { type = "text", text = body.join(texts) } or nil
end

local function read_block(block, n, ctx)
  for field, read in pairs(READ) do
    if block[field] ~= nil then return read(block[field], n, ctx) end
  end
end

---@param from any the decoded body
---@param ctx table
---@return table answer of the common form
function answer.read(from, ctx)
  from = shape.as_object(from) or {}
  local output = shape.as_object(from.output) or {}
  local message = shape.as_object(output.message) or {}
  local parts, calls = body.list {}, false
  for n, block in shape.items(message.content) do
    local part = read_block(block, n, ctx)
    calls = calls or part ~= nil and part.type == "call"
    parts[#parts + 1] = part
  end
  local stop, sequence = stop_of(from, ctx)
  if stop == "calls" and not calls then stop = "stop" end
  return { model = ctx.model, usage = usage_of(from.usage),
    candidates = { { parts = parts, stop = common.stop(stop, calls), stop_sequence = sequence } } }
end

-- ---------------------------------------------------------------- streams

---@class moongate.BedrockReading
---@field ctx table
---@field blocks table<integer, table> open ones: { call = n | output = true | thinks, signed = pieces }
---@field calls integer

local EVENTS = {} -- type of event = function(state, data, emit)

local function block_at(state, data)
  local index = shape.as_integer(data.contentBlockIndex) or 0
  local block = state.blocks[index]
  if not block then
    block = {}
    state.blocks[index] = block
  end
  return block, index
end

function EVENTS.messageStart(state, _, emit)
  emit { kind = "start", model = state.ctx.model, created = state.ctx.now }
end

local function begin_call(state, block, use, emit)
  local name = shape.as_name(use.name) or ""
  if is_output(name, state.ctx) then
    block.output = true
    return
  end
  block.call = state.calls
  state.calls = state.calls + 1
  emit { kind = "call", call = block.call, id = call_id(use.toolUseId, state.calls, state.ctx),
    name = name }
end

function EVENTS.contentBlockStart(state, data, emit)
  local block = block_at(state, data)
  local start = shape.as_object(data.start) or {}
  local use, image = shape.as_object(start.toolUse), shape.as_object(start.image)
  if use then begin_call(state, block, use, emit) end
  if image then block.format = image.format end
end

local DELTAS = {} -- field of a delta = function(state, block, value, emit)

function DELTAS.text(_, _, text, emit)
  text = shape.as_text(text)
  if text and body.size(text) > 0 then emit { kind = "text", text = text } end
end

function DELTAS.toolUse(state, block, use, emit)
  local text = text_of((shape.as_object(use) or {}).input)
  if not text then return end
  if block.output then
    emit { kind = "text", text = text }
    return
  end
  if not block.call then begin_call(state, block, {}, emit) end
  emit { kind = "arguments", call = block.call, text = text }
end

-- A signature may come in pieces: it is sealed, and said, whole.
function DELTAS.reasoningContent(_, block, reasoning, emit)
  reasoning = shape.as_object(reasoning) or {}
  local text, redacted = shape.as_text(reasoning.text), shape.as_text(reasoning.redactedContent)
  block.signature = block.signature or common.pieces()
  if text then emit { kind = "thinking", text = text } end
  if shape.as_text(reasoning.signature) then common.add(block.signature, reasoning.signature) end
  if redacted then
    emit { kind = "redacted", data = common.seal(NAME, redacted) }
    block.redacted = true
  end
end

function DELTAS.image(_, block, image, emit)
  image = shape.as_object(image)
  local part = image and image_of { source = image.source, format = block.format }
  if part then emit { kind = "image", data = part.data, media_type = part.media_type } end
end

function EVENTS.contentBlockDelta(state, data, emit)
  local block = block_at(state, data)
  local delta = shape.as_object(data.delta) or {}
  for field, read in pairs(DELTAS) do
    if delta[field] ~= nil then read(state, block, delta[field], emit) end
  end
end

function EVENTS.contentBlockStop(state, data, emit)
  local block, index = block_at(state, data)
  if block.signature and not block.redacted then
    emit { kind = "signature", signature = common.seal(NAME, common.joined(block.signature)) }
  end
  state.blocks[index] = nil
end

function EVENTS.messageStop(state, data, emit)
  local stop, sequence = stop_of(data, state.ctx)
  if stop == "calls" and state.calls == 0 then stop = "stop" end
  emit { kind = "stop", stop = common.stop(stop, state.calls > 0), stop_sequence = sequence }
end

function EVENTS.metadata(_, data, emit)
  local usage = usage_of(data.usage)
  if usage then emit { kind = "usage", usage = usage } end
end

---@param ctx table
---@return fun(type: string, data: any, emit: fun(delta: table))
function answer.reader(ctx)
  local state = { ctx = ctx, blocks = {}, calls = 0 }
  return function(kind, data, emit)
    local read = EVENTS[kind]
    if read and shape.as_object(data) then read(state, data, emit) end
  end
end

return answer
