-- SPDX-License-Identifier: MIT
-- Streams for the conformance kit: an answer as the deltas that would tell it, and deltas as the answer that
-- they told. Pure functions.

local body = require "moongate.body"

local deltas = {}

-- A text in two pieces, cut where a character may be cut in JSON's pieces but none of UTF-8's bytes is.
local function pieces(text)
  local head = body.head(text, 4)
  if head:find("[\128-\255]") or body.size(text) <= 4 then return { text } end
  return { head, body.after(text, 4) }
end

local TELL = {} -- type of part = function(part, add, state)

function TELL.text(part, add)
  for _, piece in ipairs(pieces(part.text)) do add { kind = "text", text = piece } end
end

function TELL.refusal(part, add) add { kind = "refusal", text = part.text } end

function TELL.thinking(part, add)
  for _, piece in ipairs(pieces(part.text)) do add { kind = "thinking", text = piece } end
  if part.signature then add { kind = "signature", signature = part.signature } end
end

function TELL.call(part, add, state)
  add { kind = "call", call = state.calls, id = part.id, name = part.name, signature = part.signature }
  for _, piece in ipairs(pieces(part.arguments)) do add { kind = "arguments", call = state.calls,
    text = piece } end
  state.calls = state.calls + 1
end

---@param answer table common form
---@return table[] without the end
function deltas.of(answer)
  local out, state = {}, { calls = 0 }
  local function add(delta) out[#out + 1] = delta end
  add { kind = "start", id = answer.id, model = answer.model, created = answer.created }
  local candidate = answer.candidates[1]
  for _, part in ipairs(candidate.parts) do TELL[part.type](part, add, state) end
  add { kind = "stop", stop = candidate.stop, stop_sequence = candidate.stop_sequence }
  if answer.usage then add { kind = "usage", usage = answer.usage } end
  return out
end

local function grow(parts, kind, text)
  local last = parts[#parts]
  if last and last.type == kind and not last.signature then
    last.text = body.join { last.text, text }
  else
    parts[#parts + 1] = { type = kind, text = text }
  end
end

local TOLD = {} -- kind of delta = function(delta, answer, parts, calls)

function TOLD.text(delta, _, parts) grow(parts, "text", delta.text) end
function TOLD.refusal(delta, _, parts) grow(parts, "refusal", delta.text) end
function TOLD.thinking(delta, _, parts) grow(parts, "thinking", delta.text) end

function TOLD.signature(delta, _, parts)
  local last = parts[#parts]
  if last and last.type == "thinking" then last.signature = delta.signature end
end

function TOLD.call(delta, _, parts, calls)
  calls[delta.call] = { type = "call", id = delta.id, name = delta.name, arguments = "" }
  parts[#parts + 1] = calls[delta.call]
end

function TOLD.arguments(delta, _, _, calls)
  local call = calls[delta.call] or error("arguments of a call that has not begun: " .. tostring(delta.call))
  call.arguments = body.join { call.arguments, delta.text }
end

function TOLD.stop(delta, answer)
  answer.candidates[1].stop, answer.candidates[1].stop_sequence = delta.stop, delta.stop_sequence
end

function TOLD.usage(delta, answer) answer.usage = delta.usage end

function TOLD.start(delta, answer)
  answer.id, answer.model, answer.usage = delta.id, delta.model, delta.usage or answer.usage
end

---@param list table[]
---@return table answer common form
function deltas.told(list)
  local parts, calls = {}, {}
  local answer = { candidates = { { parts = parts } } }
  for _, delta in ipairs(list) do
    local told = TOLD[delta.kind]
    if told and (delta.candidate or 0) == 0 then told(delta, answer, parts, calls) end
  end
  for _, call in pairs(calls) do
    if body.size(call.arguments) == 0 then call.arguments = "{}" end
  end
  return answer
end

-- Streams that no provider ought to send and some do: what a writer must bear.
deltas.odd = {
  { "nothing but an end", {} },
  { "no start, no usage, no stop", { { kind = "text", text = "Hi" } } },
  { "usage before everything", { { kind = "usage", usage = { input = 1 } }, { kind = "text",
    text = "Hi" } } },
  { "text after the stop", { { kind = "start" }, { kind = "stop", stop = "stop" }, { kind = "text",
    text = "Hi" } } },
  { "empty texts", { { kind = "text", text = "" }, { kind = "thinking", text = "" }, { kind = "text",
    text = "" } } },
  { "a signature of nothing", { { kind = "signature", signature = "moongatesomeQQ==" }, { kind = "text",
    text = "Hi" } } },
  { "thinking after text", { { kind = "text", text = "Hi" }, { kind = "thinking", text = "Hm" },
    { kind = "text", text = "Ho" } } },
  { "another candidate", { { kind = "text", text = "Hi", candidate = 0 }, { kind = "text", text = "no",
    candidate = 1 } } },
  { "a picture", { { kind = "image", data = "QQ==", media_type = "image/png" } } },
  { "a kind of later", { { kind = "hologram" }, { kind = "text", text = "Hi" } } },
  { "redacted thinking", { { kind = "redacted", data = "moongatesomeQQ==" }, { kind = "text",
    text = "Hi" } } },
  { "calls in turns", { { kind = "call", call = 0, id = "a", name = "f" }, { kind = "call", call = 1,
    id = "b", name = "g" },
    { kind = "arguments", call = 0, text = '{"x":' }, { kind = "arguments", call = 1, text = '{"y":' },
    { kind = "arguments", call = 0, text = "1}" }, { kind = "arguments", call = 1, text = "2}" } } },
  { "a call between texts", { { kind = "text", text = "a" }, { kind = "call", call = 0, id = "a",
    name = "f" },
    { kind = "arguments", call = 0, text = "{}" }, { kind = "text", text = "b" }, { kind = "call", call = 1,
      id = "b", name = "g" } } },
}

return deltas
