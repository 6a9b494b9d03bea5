-- SPDX-License-Identifier: MIT
-- Gemini's streams, both ways. Pure functions but for what a reader and a writer remember.
--
-- A stream is a row of whole answers, each with what is new; it has no mark at its end. A call comes whole.

local answers = require "moongate.dialect.gemini_answer"
local body = require "moongate.body"
local common = require "moongate.dialect.common"
local json_scan = require "moongate.dialect.json_scan"
local parts = require "moongate.dialect.gemini_parts"
local shape = require "moongate.dialect.shape"

local gemini_stream = {}

local field, REASONS = parts.field, answers.REASONS

-- ---------------------------------------------------------------- reading a stream

local DELTAS = {
  text = function(part, emit, _, candidate)
    if body.size(part.text) > 0 then emit { kind = "text", text = part.text, candidate = candidate } end
  end,
  thinking = function(part, emit)
    if body.size(part.text) > 0 then emit { kind = "thinking", text = part.text } end
    if common.is_signed(part.signature) then emit { kind = "signature", signature = part.signature } end
  end,
  call = function(part, emit, state)
    local call = state.calls
    state.calls = call + 1
    local id = part.id or ("call_%s_%d"):format(state.id, call)
    emit { kind = "call", call = call, id = id, name = part.name, signature = part.signature }
    emit { kind = "arguments", call = call, text = part.arguments }
  end,
  image = function(part, emit)
    if part.data then emit { kind = "image", data = part.data, media_type = part.media_type } end
  end,
}

local function read_pieces(candidate, index, state, emit)
  local content = shape.as_object(candidate.content) or {}
  for _, item in shape.items(content.parts) do
    local part = parts.read(item)
    local delta = part and DELTAS[part.type]
    if part and part.type == "call" then state.called[index] = true end
    if delta then delta(part, emit, state, index > 0 and index or nil) end
  end
end

local function read_delta(candidate, state, emit)
  local index = shape.as_integer(candidate.index) or 0
  read_pieces(candidate, index, state, emit)
  local stop = answers.read_stop(candidate, state.called[index])
  if not stop then return end
  state.stopped = true
  emit { kind = "stop", stop = stop, candidate = index > 0 and index or nil }
end

local function read_start(data, state, ctx, emit)
  if state.started then return end
  state.started = true
  emit {
    kind = "start",
    id = shape.as_name(field(data, "responseId")),
    model = shape.as_name(field(data, "modelVersion")),
    created = ctx.now,
    usage = answers.read_usage(data),
  }
end

-- Each event repeats the usage so far; what counts is the last, with the reason to stop or after it.
---@param ctx table
---@return fun(type: string, data: any, emit: fun(delta: table))
function gemini_stream.reader(ctx)
  local state = { id = ctx.id, calls = 0, called = {} }
  return function(_, data, emit)
    data = shape.as_object(data)
    if not data then return end
    read_start(data, state, ctx, emit)
    for _, candidate in shape.items(data.candidates) do read_delta(candidate, state, emit) end
    if answers.is_blocked(data) and not state.stopped then
      state.stopped = true
      emit { kind = "stop", stop = "filter" }
    end
    local usage = state.stopped and answers.read_usage(data)
    if usage then emit { kind = "usage", usage = usage } end
  end
end

-- ---------------------------------------------------------------- writing a stream

local Writer = {}
Writer.__index = Writer

function Writer:event(emit, candidates, usage)
  emit(nil, {
    candidates = body.list(candidates),
    usageMetadata = usage,
    modelVersion = self.model,
    responseId = self.id,
  })
end

function Writer:part(emit, part, index)
  self:event(emit, { { index = index or 0, content = { role = "model", parts = body.list { part } } } })
end

-- The open calls, in their order. `complete`: only those whose arguments are whole already, since pieces of
-- calls that run side by side may still come.
function Writer:flush(emit, complete)
  while self.open[1] do
    local call = self.open[1]
    if complete and not json_scan.is_whole(call.scan, call.pieces) then return end
    local arguments = common.joined(call.pieces)
    table.remove(self.open, 1)
    self.by_number[call.number] = nil
    call.part.arguments = arguments
    self:part(emit, parts.write_call(call.part, parts.write_seal(call.part.signature)))
  end
end

-- Later numbers overwrite earlier ones: a provider tells its usage in parts.
function Writer:add_usage(usage)
  for name, value in pairs(usage or {}) do self.usage[name] = value end
end

-- Google's SDKs forget an answer from their history when one event of it has no part.
local function nothing_new(index, reason)
  local content = { role = "model", parts = body.list { { text = "" } } }
  return { index = index, finishReason = reason, content = content }
end

function Writer:finish(emit)
  if self.finished then return end
  self.finished = true
  local candidates = {}
  for index, stop in pairs(self.stops) do
    candidates[#candidates + 1] = nothing_new(index, REASONS[stop] or "OTHER")
  end
  table.sort(candidates, function(a, b) return a.index < b.index end)
  if #candidates == 0 then candidates[1] = nothing_new(0, "STOP") end
  self:event(emit, candidates, answers.write_usage(self.usage))
end

local ON = {}

function ON.start(self, delta)
  self.id, self.model = delta.id or self.id, delta.model or self.model
  self:add_usage(delta.usage)
end

function ON.text(self, delta, emit)
  self:flush(emit)
  self:part(emit, { text = delta.text }, delta.candidate)
end

ON.refusal = ON.text

function ON.thinking(self, delta, emit)
  if not self.show then return end
  self:flush(emit)
  self:part(emit, { text = delta.text, thought = true })
end

function ON.signature(self, delta, emit)
  if self.show then self:part(emit, answers.write_thought(nil, delta.signature)) end
end

function ON.image(self, delta, emit)
  self:flush(emit)
  self:part(emit, parts.write_blob(delta, "image/png"))
end

function ON.call(self, delta, emit)
  self:flush(emit, true)
  local call = { number = delta.call or 0, pieces = common.pieces(), scan = json_scan.new(),
    part = { id = delta.id, name = delta.name, signature = delta.signature } }
  self.open[#self.open + 1] = call
  self.by_number[call.number] = call
end

-- A call goes in the turn in which it becomes whole.
function ON.arguments(self, delta, emit)
  local call = self.by_number[delta.call or 0]
  if not call then return end
  common.add(call.pieces, delta.text)
  json_scan.add(call.scan, delta.text)
  self:flush(emit, true)
end

function ON.stop(self, delta, emit)
  self:flush(emit)
  self.stops[delta.candidate or 0] = delta.stop
end

-- The last event holds the reason and the usage together, as Google's does.
function ON.usage(self, delta, emit)
  self:add_usage(delta.usage)
  if self.finished then
    self:event(emit, { nothing_new(0) }, answers.write_usage(self.usage))
  elseif next(self.stops) and not self.several then
    self:finish(emit)
  end
end

ON["end"] = function(self, _, emit)
  self:flush(emit)
  self:finish(emit)
end

---@param ctx table
---@return fun(delta: table, emit: fun(type: string|nil, data: any))
function gemini_stream.writer(ctx)
  local request = ctx.request or {}
  local self = setmetatable({
    id = ctx.id, model = ctx.model, show = answers.shows_thoughts(ctx), several = (request.n or 1) > 1,
    open = {}, by_number = {}, stops = {}, usage = {},
  }, Writer)
  return function(delta, emit)
    local on = ON[delta.kind]
    if on then on(self, delta, emit) end
  end
end

return gemini_stream
