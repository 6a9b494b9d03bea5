-- SPDX-License-Identifier: MIT
-- Whole answers of responses: a provider's into the common form, the common form for a client.

local body = require "moongate.body"
local common = require "moongate.dialect.common"
local custom_tool = require "moongate.dialect.custom_tool"
local openai_usage = require "moongate.dialect.openai_usage"
local responses_items = require "moongate.dialect.responses_items"
local responses_object = require "moongate.dialect.responses_object"
local responses_request_write = require "moongate.dialect.responses_request_write"
local shape = require "moongate.dialect.shape"

local responses_answer = {}

local REASONS = { max_output_tokens = "length", content_filter = "filter" }

---Why a response ended.
---@param response table
---@param has_calls boolean
---@return string stop
function responses_answer.stop(response, has_calls)
  if shape.as_name(response.status) == "incomplete" then
    local details = shape.as_object(response.incomplete_details) or {}
    return REASONS[shape.as_name(details.reason) or ""] or "length"
  end
  return common.stop("stop", has_calls)
end

local OUTPUT = {}

function OUTPUT.message(parts, item, ctx)
  responses_items.content(parts, item.content, ctx, shape.soft, "output")
end

function OUTPUT.reasoning(parts, item)
  parts[#parts + 1] = responses_items.reasoning(item, shape.soft, "output")
end

function OUTPUT.function_call(parts, item, ctx)
  local made = ("call_%s_%d"):format(ctx.id, #parts)
  parts[#parts + 1] = responses_items.call(item, shape.soft, "output", made)
end
OUTPUT.custom_tool_call = OUTPUT.function_call

function OUTPUT.image_generation_call(parts, item)
  local data = shape.as_text(item.result)
  local format = shape.as_name(item.output_format) or "png"
  parts[#parts + 1] = data and { type = "image", data = data, media_type = "image/" .. format }
end

---@param fields table the decoded body
---@param ctx table
---@return table answer
function responses_answer.read(fields, ctx)
  local candidate = { parts = {} }
  for _, item in shape.items(fields.output) do
    local read = OUTPUT[shape.as_name(item.type) or ""]
    if read then read(candidate.parts, item, ctx) end
  end
  local has_calls = false
  for _, part in ipairs(candidate.parts) do
    has_calls = has_calls or part.type == "call"
    candidate.logprobs = candidate.logprobs or part.logprobs
  end
  candidate.stop = responses_answer.stop(fields, has_calls)
  return {
    id = shape.as_name(fields.id), model = shape.as_name(fields.model),
    created = shape.as_integer(fields.created_at), candidates = { candidate },
    usage = openai_usage.read_responses(fields.usage),
  }
end

-- ---------------------------------------------------------------- writing

local SAID = {}

function SAID.text(part, logprobs) return responses_object.text(part.text, logprobs) end
function SAID.refusal(part) return { type = "refusal", refusal = part.text } end

-- Gemini signs a call, and a call has no place for that here: it stands on the reasoning before it.
local function sign_call(output, part, next_id)
  if not common.is_signed(part.signature) then return end
  local last = output[#output]
  if last and last.type == "reasoning" and not common.is_signed(last.encrypted_content) then
    last.encrypted_content = part.signature
  else
    output[#output + 1] = responses_object.reasoning("rs_" .. next_id(), nil, part.signature)
  end
end

local ITEMS = {}

function ITEMS.thinking(output, part, next_id, _, ctx)
  local sealed = part.signature or responses_object.unsigned(ctx)
  output[#output + 1] = responses_object.reasoning("rs_" .. next_id(), part.text, sealed)
end

function ITEMS.redacted(output, part, next_id)
  output[#output + 1] = responses_object.redacted("rs_" .. next_id(), part.data)
end

function ITEMS.call(output, part, next_id, tools)
  sign_call(output, part, next_id)
  output[#output + 1] = responses_object.call(next_id(), part, tools, "completed", part.arguments)
end

function ITEMS.image(output, part, next_id)
  if part.data then output[#output + 1] = responses_object.image("ig_" .. next_id(), part) end
end

local function write_output(candidate, ctx)
  local output, tools, made = {}, custom_tool.by_name(ctx.request), 0
  local function next_id()
    made = made + 1
    return ("%s_%d"):format(ctx.id, made - 1)
  end
  local logprobs = responses_object.logprobs(candidate.logprobs)
  for _, part in ipairs(candidate.parts) do
    local say, write = SAID[part.type], ITEMS[part.type]
    if say then
      local last = output[#output]
      if not last or last.type ~= "message" then
        last = responses_object.message("msg_" .. next_id(), "completed", {})
        output[#output + 1] = last
      end
      table.insert(last.content, say(part, logprobs))
      logprobs = nil
    elseif write then
      write(output, part, next_id, tools, ctx)
    end
  end
  return output
end

---@param answer table the common form
---@param ctx table
---@return table body
function responses_answer.write(answer, ctx)
  local candidate = answer.candidates[1] or { parts = {} }
  local tools = ctx.request and responses_request_write.tools(ctx.request, true) or body.list {}
  local response = responses_object.new(answer, ctx, tools)
  return responses_object.close(response, write_output(candidate, ctx), candidate.stop, answer.usage)
end

return responses_answer
