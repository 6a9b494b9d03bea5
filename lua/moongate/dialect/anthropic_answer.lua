-- SPDX-License-Identifier: MIT
-- Anthropic messages: a whole answer, read from a provider and written for a client, and the words for stop
-- reasons and usage that its streams share.

local body = require "moongate.body"
local common = require "moongate.dialect.common"
local shape = require "moongate.dialect.shape"

local NAME = "anthropic"
local answer = {}

local READ_STOP = { end_turn = "stop", max_tokens = "length", stop_sequence = "sequence", tool_use = "calls",
  pause_turn = "pause", refusal = "refusal", model_context_window_exceeded = "length" }
local WRITE_STOP = { stop = "end_turn", length = "max_tokens", sequence = "stop_sequence", calls = "tool_use",
  pause = "pause_turn", refusal = "refusal", filter = "refusal" }

---@param reason any a provider's stop_reason
---@return string|nil
function answer.read_stop(reason)
  local name = shape.as_name(reason)
  return name and (READ_STOP[name] or "stop")
end

---@param stop string|nil
---@return string
function answer.write_stop(stop) return WRITE_STOP[stop] or "end_turn" end

-- ---------------------------------------------------------------- usage

local function count(v)
  local n = shape.as_integer(v)
  return n and n >= 0 and n or nil
end

---Adds what a usage object says to `usage`; later ones overwrite, as the API's totals do. Anthropic counts
---what was cached beside `input_tokens`, the common form within.
---@param from any
---@param usage table { plain, cached, cache_write, output, reasoning }
function answer.add_usage(from, usage)
  local said = shape.as_object(from)
  if not said then return end
  usage.plain = count(said.input_tokens) or usage.plain
  usage.cached = count(said.cache_read_input_tokens) or usage.cached
  usage.cache_write = count(said.cache_creation_input_tokens) or usage.cache_write
  usage.output = count(said.output_tokens) or usage.output
  local details = shape.as_object(said.output_tokens_details)
  usage.reasoning = details and count(details.thinking_tokens) or usage.reasoning
end

---@param usage table what answer.add_usage filled
---@return table|nil usage of the common form
function answer.total(usage)
  if next(usage) == nil then return nil end
  local input = usage.plain and usage.plain + (usage.cached or 0) + (usage.cache_write or 0)
  return { input = input, output = usage.output, cached = usage.cached, cache_write = usage.cache_write,
    reasoning = usage.reasoning }
end

---@param usage table|nil common form
---@return table the API's usage object; what is not known counts 0, since clients add it up
function answer.write_usage(usage)
  usage = usage or {}
  local cached, cache_write = usage.cached or 0, usage.cache_write or 0
  return {
    input_tokens = math.max(0, (usage.input or 0) - cached - cache_write),
    cache_read_input_tokens = cached, cache_creation_input_tokens = cache_write,
    output_tokens = usage.output or 0,
    output_tokens_details = usage.reasoning and { thinking_tokens = usage.reasoning } or nil,
  }
end

-- ---------------------------------------------------------------- reading

local READ = {}

function READ.text(block)
  local text = shape.as_text(block.text)
  return text and body.size(text) > 0 and { type = "text", text = text } or nil
end

function READ.thinking(block)
  return { type = "thinking", text = shape.as_text(block.thinking) or "",
    signature = common.seal(NAME, shape.as_text(block.signature) or "") }
end

function READ.redacted_thinking(block)
  local data = shape.as_text(block.data)
  return data and { type = "redacted", data = common.seal(NAME, data) }
end

function READ.tool_use(block, n, ctx)
  local input = shape.as_raw(block.input)
  return { type = "call", id = shape.as_name(block.id) or ("call_%s_%d"):format(ctx.id, n),
    name = shape.as_name(block.name) or "", arguments = input and body.text(input) or "{}" }
end

---@param from any the decoded body
---@param ctx table
---@return table answer
function answer.read(from, ctx)
  from = shape.as_object(from) or {}
  local parts, usage = body.list {}, {}
  for n, block in shape.items(from.content) do
    local read = READ[shape.as_name(block.type)]
    parts[#parts + 1] = read and read(block, n, ctx) or nil
  end
  answer.add_usage(from.usage, usage)
  return { id = shape.as_name(from.id), model = shape.as_name(from.model), usage = answer.total(usage),
    candidates = { { parts = parts, stop = answer.read_stop(from.stop_reason),
      stop_sequence = shape.as_name(from.stop_sequence) } } }
end

-- ---------------------------------------------------------------- writing

local WRITE = {}

function WRITE.text(part)
  return body.size(part.text) > 0 and { type = "text", text = part.text } or nil
end
WRITE.refusal = WRITE.text

function WRITE.thinking(part)
  return { type = "thinking", thinking = part.text or "", signature = part.signature or answer.UNSIGNED }
end

function WRITE.redacted(part) return { type = "redacted_thinking", data = part.data } end

---What stands as the signature of thinking that nobody signed: the seal of nobody, so that the gateway finds
---it when it comes back, and sends it to no one as a signature.
answer.UNSIGNED = common.seal("none", "")

---The block of a call, without its arguments.
---@param id string|nil
---@param name string|nil
---@param n integer
---@param ctx table
function answer.call_block(id, name, n, ctx)
  return { type = "tool_use", id = common.safe_id(id or ("call_%s_%d"):format(ctx.id, n)), name = name or "",
    input = body.raw("{}") }
end

function WRITE.call(part, n, ctx)
  local block = answer.call_block(part.id, part.name, n, ctx)
  local text = part.arguments
  if text and body.size(text) > 0 then
    local raw = body.raw(text)
    block.input = raw and body.kind(raw) == "object" and raw or { arguments = text }
  end
  return block
end

-- Gemini signs calls: what signed it stands before the call, as thinking of which nothing is shown.
local function add(content, part, ctx)
  local write = WRITE[part.type]
  if part.type == "call" and part.signature then
    content[#content + 1] = WRITE.thinking { signature = part.signature }
  end
  content[#content + 1] = write and write(part, #content, ctx) or nil
end

---@param from table common form
---@param ctx table
---@return table body
function answer.write(from, ctx)
  local candidate = from.candidates and from.candidates[1] or {}
  local content, has_calls, stop = body.list {}, false, candidate.stop
  for _, part in ipairs(candidate.parts or {}) do
    add(content, part, ctx)
    has_calls = has_calls or part.type == "call"
    if part.type == "refusal" and (stop == nil or stop == "stop") then stop = "refusal" end
  end
  stop = common.stop(stop, has_calls)
  return { type = "message", role = "assistant", id = from.id or "msg_" .. ctx.id,
    model = from.model or ctx.model, content = content, stop_reason = answer.write_stop(stop),
    stop_sequence = stop == "sequence" and candidate.stop_sequence or body.null,
    usage = answer.write_usage(from.usage) }
end

return answer
