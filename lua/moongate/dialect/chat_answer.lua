-- SPDX-License-Identifier: MIT
-- Whole answers of chat completions: a provider's into the common form, the common form for a client.

local body = require "moongate.body"
local chat_messages = require "moongate.dialect.chat_messages"
local common = require "moongate.dialect.common"
local custom_tool = require "moongate.dialect.custom_tool"
local openai_parts = require "moongate.dialect.openai_parts"
local openai_usage = require "moongate.dialect.openai_usage"
local shape = require "moongate.dialect.shape"

local chat_answer = {}

local STOPS = { stop = "stop", length = "length", tool_calls = "calls", function_call = "calls",
  content_filter = "filter" }
local REASONS = { stop = "stop", length = "length", calls = "tool_calls", filter = "content_filter",
  refusal = "content_filter", sequence = "stop", pause = "stop" }

---What a finish_reason says, and the stop sequence where a server tells it (vLLM's stop_reason).
---@param choice table
---@param has_calls boolean
---@return string|nil stop
---@return string|nil stop_sequence
function chat_answer.stop(choice, has_calls)
  local reason = shape.as_name(choice.finish_reason)
  if not reason then return nil end
  local stop = common.stop(STOPS[reason] or "stop", has_calls)
  local sequence = shape.as_name(choice.stop_reason)
  if stop == "stop" and sequence then return "sequence", sequence end
  return stop
end

---@param stop string|nil
---@param has_calls boolean
---@return string finish_reason
function chat_answer.reason(stop, has_calls)
  return REASONS[common.stop(stop, has_calls) or "stop"] or "stop"
end

---The log probabilities of a choice, raw; nil when there are none.
---@param value any
---@return any
function chat_answer.logprobs(value) return shape.as_raw(value) end

local function read_candidate(choice, ctx, numbers)
  local message = shape.as_object(choice.message) or {}
  local before = numbers.calls
  local parts = chat_messages.assistant(message, ctx, shape.soft, "choices", numbers)
  local stop, sequence = chat_answer.stop(choice, numbers.calls > before)
  return { parts = parts, stop = stop, stop_sequence = sequence,
    logprobs = chat_answer.logprobs(choice.logprobs) }
end

---@param fields table the decoded body
---@param ctx table
---@return table answer
function chat_answer.read(fields, ctx)
  local answer = {
    id = shape.as_name(fields.id), model = shape.as_name(fields.model),
    created = shape.as_integer(fields.created), candidates = {},
    usage = openai_usage.read_chat(fields.usage),
  }
  local numbers = { calls = 0 }
  for _, choice in shape.items(fields.choices) do
    answer.candidates[#answer.candidates + 1] = read_candidate(choice, ctx, numbers)
  end
  return answer
end

-- ---------------------------------------------------------------- writing

---A call for the client: custom tools get their free text back.
---@param part table
---@param tools table<string, table>
---@return table
function chat_answer.call(part, tools)
  local tool = tools[part.name]
  local out = { id = part.id, type = "function" }
  if tool and tool.custom then
    out.type = "custom"
    out.custom = { name = part.name, input = custom_tool.unwrap(part.arguments) }
  else
    out["function"] = { name = part.name, arguments = part.arguments }
  end
  if common.is_signed(part.signature) then
    out.extra_content = { google = { thought_signature = part.signature } }
  end
  return out
end

local function append(out, name, text)
  out[name] = out[name] and body.join { out[name], text } or text
end

local WRITE = {}

function WRITE.text(out, part) append(out, "content", part.text) end
function WRITE.refusal(out, part) append(out, "refusal", part.text) end

local function add(out, name, item)
  out[name] = out[name] or {}
  table.insert(out[name], item)
end

function WRITE.thinking(out, part)
  if body.size(part.text or "") > 0 then append(out, "reasoning_content", part.text) end
  if common.is_signed(part.signature) then
    add(out, "reasoning_details", { type = "reasoning.text", text = part.text, signature = part.signature,
      index = #(out.reasoning_details or {}) })
  end
end

function WRITE.redacted(out, part)
  add(out, "reasoning_details", { type = "reasoning.encrypted", data = part.data,
    index = #(out.reasoning_details or {}) })
end

function WRITE.image(out, part)
  add(out, "images", { type = "image_url", image_url = { url = openai_parts.image_url(part) } })
end

function WRITE.call(out, part, tools) add(out, "tool_calls", chat_answer.call(part, tools)) end

---@param parts table[]
---@param tools table<string, table>
---@return table message
function chat_answer.message(parts, tools)
  local out = { role = "assistant" }
  for _, part in ipairs(parts) do
    local write = WRITE[part.type]
    if write then write(out, part, tools) end
  end
  out.content = out.content or body.null
  out.refusal = out.refusal or body.null
  return out
end

---@param answer table the common form
---@param ctx table
---@return table body
function chat_answer.write(answer, ctx)
  local tools = custom_tool.by_name(ctx.request)
  local choices = body.list {}
  for i, candidate in ipairs(answer.candidates) do
    local message = chat_answer.message(candidate.parts, tools)
    choices[i] = {
      index = i - 1, message = message, logprobs = candidate.logprobs or body.null,
      finish_reason = chat_answer.reason(candidate.stop, message.tool_calls ~= nil),
    }
  end
  return {
    id = answer.id or "chatcmpl-" .. ctx.id, object = "chat.completion", created = answer.created or ctx.now,
    model = answer.model or ctx.model, choices = choices, usage = openai_usage.write_chat(answer.usage),
  }
end

return chat_answer
