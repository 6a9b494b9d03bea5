-- SPDX-License-Identifier: MIT
-- Gemini's whole answers, both ways. Pure functions. Thoughts are written only for who asks for them
-- (includeThoughts), as Google does.

local body = require "moongate.body"
local common = require "moongate.dialect.common"
local parts = require "moongate.dialect.gemini_parts"
local shape = require "moongate.dialect.shape"

local answers = {}

local field = parts.field

-- ---------------------------------------------------------------- reasons, usage

local STOPS = {
  STOP = "stop", MAX_TOKENS = "length", SAFETY = "filter", RECITATION = "filter", BLOCKLIST = "filter",
  PROHIBITED_CONTENT = "filter", SPII = "filter", MODEL_ARMOR = "filter", IMAGE_SAFETY = "filter",
  IMAGE_PROHIBITED_CONTENT = "filter", IMAGE_RECITATION = "filter",
}

-- What has no word of its own (LANGUAGE, MALFORMED_FUNCTION_CALL, OTHER …) ended the answer all the same.
function answers.read_stop(candidate, has_calls)
  local reason = shape.as_name(field(candidate, "finishReason"))
  if not reason or reason == "FINISH_REASON_UNSPECIFIED" then return nil end
  return common.stop(STOPS[reason] or "stop", has_calls)
end

answers.REASONS = { stop = "STOP", calls = "STOP", sequence = "STOP", length = "MAX_TOKENS",
  filter = "SAFETY", refusal = "SAFETY", pause = "OTHER" }

local function count(usage, name) return shape.as_number(field(usage, name)) end

function answers.read_usage(data)
  local usage = shape.as_object(field(data, "usageMetadata"))
  if not usage then return nil end
  local input, output = count(usage, "promptTokenCount"), count(usage, "candidatesTokenCount")
  local reasoning, total = count(usage, "thoughtsTokenCount"), count(usage, "totalTokenCount")
  if not output and input and total then output = math.max(0, total - input - (reasoning or 0)) end
  if not input and not output then return nil end
  return {
    input = input and input + (count(usage, "toolUsePromptTokenCount") or 0),
    output = output and output + (reasoning or 0),
    cached = count(usage, "cachedContentTokenCount"),
    reasoning = reasoning,
  }
end

function answers.write_usage(usage)
  if not usage or not (usage.input or usage.output) then return nil end
  local output = usage.output and math.max(0, usage.output - (usage.reasoning or 0))
  return {
    promptTokenCount = usage.input,
    cachedContentTokenCount = usage.cached,
    candidatesTokenCount = output,
    thoughtsTokenCount = usage.reasoning,
    totalTokenCount = (usage.input or 0) + (usage.output or 0),
  }
end

-- ---------------------------------------------------------------- token probabilities

local MIN_LOGPROB = -9999 -- what OpenAI writes for a token out of the question

local function read_token(item)
  return { token = shape.as_text(item.token) or "",
    logprob = shape.as_number(field(item, "logProbability")) or MIN_LOGPROB }
end

-- What OpenAI writes of tokens, which is what the common form holds.
local function read_logprobs(candidate)
  local result = shape.as_object(field(candidate, "logprobsResult"))
  if not result then return nil end
  local top = shape.as_list(field(result, "topCandidates")) or {}
  local content = body.list {}
  for i, item in shape.items(field(result, "chosenCandidates")) do
    local token = read_token(item)
    token.top_logprobs = body.list {}
    for _, other in shape.items((shape.as_object(top[i]) or {}).candidates) do
      table.insert(token.top_logprobs, read_token(other))
    end
    content[#content + 1] = token
  end
  return body.raw_of { content = content }
end

local function write_token(item)
  return { token = shape.as_text(item.token) or "", logProbability = shape.as_number(item.logprob) }
end

local function write_logprobs(raw)
  local object = body.is_raw(raw) and body.kind(raw) == "object" and body.table(raw)
  local content = object and shape.as_list(object.content)
  if not content then return nil end
  local chosen, top = body.list {}, body.list {}
  for _, item in shape.items(content) do
    local others = body.list {}
    for _, other in shape.items(item.top_logprobs) do others[#others + 1] = write_token(other) end
    chosen[#chosen + 1] = write_token(item)
    top[#top + 1] = { candidates = others }
  end
  return { chosenCandidates = chosen, topCandidates = top }
end

-- ---------------------------------------------------------------- whole answers

-- The parts of a candidate; calls without an id are given one.
local function read_parts(candidate, numbers, ctx)
  local list, has_calls = {}, false
  local content = shape.as_object(candidate.content) or {}
  for _, item in shape.items(content.parts) do
    local part = parts.read(item)
    if part and part.type == "call" then
      has_calls = true
      part.id = part.id or ("call_%s_%d"):format(ctx.id, numbers.next)
      numbers.next = numbers.next + 1
    end
    list[#list + 1] = part
  end
  return list, has_calls
end

local function read_candidate(candidate, numbers, ctx)
  local list, has_calls = read_parts(candidate, numbers, ctx)
  return { parts = list, stop = answers.read_stop(candidate, has_calls), logprobs = read_logprobs(candidate) }
end

function answers.is_blocked(data)
  local feedback = shape.as_object(field(data, "promptFeedback"))
  return feedback and field(feedback, "blockReason") ~= nil
end

---@param data table
---@param ctx table
---@return table
function answers.read(data, ctx)
  data = shape.object(shape.need(data, "the answer"), "the answer")
  local candidates, numbers = {}, { next = 0 }
  for _, candidate in shape.items(data.candidates) do
    candidates[#candidates + 1] = read_candidate(candidate, numbers, ctx)
  end
  if #candidates == 0 and answers.is_blocked(data) then candidates[1] = { parts = {}, stop = "filter" } end
  return {
    id = shape.as_name(field(data, "responseId")),
    model = shape.as_name(field(data, "modelVersion")),
    created = ctx.now,
    candidates = candidates,
    usage = answers.read_usage(data),
  }
end

function answers.shows_thoughts(ctx)
  local reasoning = ctx.request and ctx.request.reasoning
  return reasoning ~= nil and reasoning.show == true
end

function answers.write_thought(text, sealed)
  return { text = text or "", thought = true, thoughtSignature = parts.write_seal(sealed) }
end

local WRITERS = {
  text = function(part) return { text = part.text, thoughtSignature = parts.write_seal(part.signature) } end,
  refusal = function(part) return { text = part.text } end,
  call = function(part) return parts.write_call(part, parts.write_seal(part.signature)) end,
  image = function(part) return part.data and parts.write_blob(part, "image/png") end,
  audio = function(part) return part.data and parts.write_blob(part, "audio/wav") end,
  file = function(part) return part.data and parts.write_blob(part, "application/octet-stream") end,
  thinking = function(part, show) return show and answers.write_thought(part.text, part.signature) or nil end,
}

local function write_candidate(candidate, index, show)
  local list = body.list {}
  for _, part in ipairs(candidate.parts or {}) do
    local write = WRITERS[part.type]
    list[#list + 1] = write and write(part, show) or nil
  end
  return {
    index = index,
    content = { role = "model", parts = list },
    finishReason = answers.REASONS[candidate.stop or "stop"] or "OTHER",
    logprobsResult = write_logprobs(candidate.logprobs),
  }
end

---`ctx.list`: the client asked for streamGenerateContent without alt=sse and gets a list of one answer.
---@param answer table
---@param ctx table
---@return table
function answers.write(answer, ctx)
  local candidates = body.list {}
  for i, candidate in ipairs(answer.candidates or {}) do
    candidates[i] = write_candidate(candidate, i - 1, answers.shows_thoughts(ctx))
  end
  local out = {
    candidates = candidates,
    usageMetadata = answers.write_usage(answer.usage),
    modelVersion = answer.model or ctx.model,
    responseId = answer.id or ctx.id,
  }
  return ctx.list and body.list { out } or out
end

return answers
