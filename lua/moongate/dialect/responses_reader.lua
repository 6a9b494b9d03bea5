-- SPDX-License-Identifier: MIT
-- A provider's responses stream into deltas. Items are told by their output_index; what came as deltas is not
-- taken again from the events that repeat it, and what came only whole is taken from there.

local body = require "moongate.body"
local chat_messages = require "moongate.dialect.chat_messages"
local common = require "moongate.dialect.common"
local custom_tool = require "moongate.dialect.custom_tool"
local openai_usage = require "moongate.dialect.openai_usage"
local responses_answer = require "moongate.dialect.responses_answer"
local responses_items = require "moongate.dialect.responses_items"
local shape = require "moongate.dialect.shape"

local responses_reader = {}

local function filled(v)
  local text = shape.as_text(v)
  return text and body.size(text) > 0 and text or nil
end

-- What is known of an item: `said` whether its content came in deltas, `call` its number.
local function item_of(state, data)
  local index = shape.as_integer(data.output_index) or 0
  local item = state.items[index]
  if not item then
    item = {}
    state.items[index] = item
  end
  return item
end

local READ = {}

READ["response.created"] = function(state, data, emit)
  if state.started then return end
  state.started = true
  local response = shape.as_object(data.response) or {}
  emit { kind = "start", id = shape.as_name(response.id), model = shape.as_name(response.model),
    created = shape.as_integer(response.created_at) }
end
READ["response.in_progress"] = READ["response.created"]

-- ---------------------------------------------------------------- text and reasoning

local function said(kind)
  return function(state, data, emit)
    local text = filled(data.delta)
    if not text then return end
    item_of(state, data).said = true
    emit { kind = kind, text = text }
  end
end

READ["response.refusal.delta"] = said "refusal"

READ["response.output_text.delta"] = function(state, data, emit)
  local text = filled(data.delta)
  if not text then return end
  item_of(state, data).said = true
  emit { kind = "text", text = text, logprobs = responses_items.logprobs(data) }
end

-- A summary has parts, a thinking is one text: an empty line parts them.
READ["response.reasoning_summary_text.delta"] = function(state, data, emit)
  local text, item = filled(data.delta), item_of(state, data)
  if not text then return end
  local part = shape.as_integer(data.summary_index) or 0
  if item.part and item.part ~= part then emit { kind = "thinking", text = "\n\n" } end
  item.part, item.said = part, true
  emit { kind = "thinking", text = text }
end
READ["response.reasoning_text.delta"] = said "thinking"

-- ---------------------------------------------------------------- calls

local function is_call(kind) return kind == "function_call" or kind == "custom_tool_call" end

local function start_call(state, item, fields, emit)
  item.call = state.calls
  state.calls = state.calls + 1
  local made = ("call_%s_%d"):format(state.ctx.id, item.call)
  local call = responses_items.call(fields, shape.soft, "output", made)
  emit { kind = "call", call = item.call, id = call.id, name = call.name }
end

READ["response.output_item.added"] = function(state, data, emit)
  local fields, item = shape.as_object(data.item), item_of(state, data)
  if not fields or item.call or not is_call(shape.as_name(fields.type)) then return end
  start_call(state, item, fields, emit)
end

READ["response.function_call_arguments.delta"] = function(state, data, emit)
  local text, item = filled(data.delta), item_of(state, data)
  if not text or not item.call then return end
  item.said = true
  emit { kind = "arguments", call = item.call, text = text }
end

-- ---------------------------------------------------------------- the end of an item

local DONE = {}

function DONE.function_call(state, item, fields, emit)
  if not item.call then start_call(state, item, fields, emit) end
  if item.said then return end
  emit { kind = "arguments", call = item.call,
    text = chat_messages.arguments(fields.arguments, shape.soft, "output") }
end

function DONE.custom_tool_call(state, item, fields, emit)
  if not item.call then start_call(state, item, fields, emit) end
  emit { kind = "arguments", call = item.call, text = custom_tool.wrap(shape.as_text(fields.input) or "") }
end

function DONE.reasoning(_, item, fields, emit)
  local part = responses_items.reasoning(fields, shape.soft, "output")
  if part.type == "redacted" then return emit { kind = "redacted", data = part.data } end
  if not item.said and body.size(part.text) > 0 then emit { kind = "thinking", text = part.text } end
  if item.said or body.size(part.text) > 0 or common.is_signed(part.signature) then
    emit { kind = "signature", signature = part.signature }
  end
end

function DONE.message(state, item, fields, emit)
  if item.said then return end
  local parts = {}
  responses_items.content(parts, fields.content, state.ctx, shape.soft, "output")
  for _, part in ipairs(parts) do
    if (part.type == "text" or part.type == "refusal") and body.size(part.text) > 0 then
      emit { kind = part.type, text = part.text }
    end
  end
end

function DONE.image_generation_call(_, _, fields, emit)
  local data = filled(fields.result)
  local format = shape.as_name(fields.output_format) or "png"
  if data then emit { kind = "image", data = data, media_type = "image/" .. format } end
end

READ["response.output_item.done"] = function(state, data, emit)
  local fields, item = shape.as_object(data.item), item_of(state, data)
  local done = fields and DONE[shape.as_name(fields.type) or ""]
  if not done or item.done then return end
  item.done = true
  done(state, item, fields, emit)
end

-- ---------------------------------------------------------------- the end

local function finish(state, data, emit)
  local response = shape.as_object(data.response) or {}
  local usage = openai_usage.read_responses(response.usage)
  emit { kind = "stop", stop = responses_answer.stop(response, state.calls > 0) }
  if usage then emit { kind = "usage", usage = usage } end
end
READ["response.completed"], READ["response.incomplete"] = finish, finish

---@param ctx table
---@return fun(type: string, data: any, emit: fun(delta: table))
function responses_reader.reader(ctx)
  local state = { ctx = ctx, items = {}, calls = 0, started = false }
  return function(kind, data, emit)
    if not shape.as_object(data) then return end
    local read = READ[shape.as_name(data.type) or kind]
    if not read then return end
    if not state.started then READ["response.created"](state, data, emit) end
    read(state, data, emit)
  end
end

return responses_reader
