-- SPDX-License-Identifier: MIT
-- The response object and the items of its output, as a client is given them: whole, or at the ends of a
-- stream. Parsers demand every field that stands here.

local body = require "moongate.body"
local common = require "moongate.dialect.common"
local custom_tool = require "moongate.dialect.custom_tool"
local openai_usage = require "moongate.dialect.openai_usage"
local responses_items = require "moongate.dialect.responses_items"
local responses_request_write = require "moongate.dialect.responses_request_write"
local shape = require "moongate.dialect.shape"

local responses_object = {}

local INCOMPLETE = { length = "max_output_tokens", filter = "content_filter", refusal = "content_filter" }

---@param stop string|nil
---@return string status
---@return table|nil incomplete_details
function responses_object.status(stop)
  local reason = INCOMPLETE[stop]
  if reason then return "incomplete", { reason = reason } end
  return "completed", nil
end

---A response object, in progress and without output.
---@param head { id: string|nil, model: string|nil, created: integer|nil }
---@param ctx table
---@param tools table[] what is said of the request's tools
---@return table
function responses_object.new(head, ctx, tools)
  local request = ctx.request or {}
  return {
    id = head.id or "resp_" .. ctx.id, object = "response", created_at = head.created or ctx.now,
    model = head.model or ctx.model, status = "in_progress", error = body.null,
    incomplete_details = body.null, instructions = body.null, previous_response_id = body.null,
    output = body.list {}, tools = tools,
    tool_choice = responses_request_write.choice(request.tool_choice) or "auto",
    parallel_tool_calls = request.parallel_tool_calls ~= false, store = false, truncation = "disabled",
    max_output_tokens = request.max_tokens or body.null, temperature = request.temperature or 1,
    top_p = request.top_p or 1, usage = body.null, metadata = request.metadata or body.object {},
    reasoning = responses_request_write.reasoning(request) or { effort = body.null, summary = body.null },
    text = responses_request_write.text(request) or { format = { type = "text" } },
  }
end

---The same when it is over.
---@param response table
---@param output table[]
---@param stop string|nil
---@param usage table|nil common usage
---@return table response
function responses_object.close(response, output, stop, usage)
  local status, details = responses_object.status(stop)
  response.output = body.list(output)
  response.status, response.incomplete_details = status, details or body.null
  response.usage = openai_usage.write_responses(usage) or body.null
  return response
end

-- ---------------------------------------------------------------- items

---@param id string
---@param text string|userdata|nil
---@param sealed string|userdata|nil
---@return table
function responses_object.reasoning(id, text, sealed)
  local summary = body.list {}
  if text and body.size(text) > 0 then summary[1] = { type = "summary_text", text = text } end
  return { type = "reasoning", id = id, summary = summary, encrypted_content = sealed }
end

---What stands for the signature of a thinking that was not signed: a client that sends the item back to
---OpenAI itself would be told that there is no such item; the mark has it left out on the way.
---@param ctx table
---@return string
function responses_object.unsigned(ctx) return common.seal(ctx.provider or "none", "") end

---@param id string
---@param data string|userdata sealed
---@return table
function responses_object.redacted(id, data)
  return responses_object.reasoning(id, nil, responses_items.redacted(data))
end

---@param id string
---@param status string
---@param content table[]
---@return table
function responses_object.message(id, status, content)
  return { type = "message", id = id, status = status, role = "assistant", content = body.list(content) }
end

---@param text string|userdata
---@param logprobs table[]|nil
---@return table
function responses_object.text(text, logprobs)
  return { type = "output_text", text = text, annotations = body.list {},
    logprobs = logprobs or body.list {} }
end

---Log probabilities as the list that stands here, of the object that the common form has.
---@param raw any
---@return table[]|nil
function responses_object.logprobs(raw)
  local fields = raw and body.is_raw(raw) and body.kind(raw) == "object" and body.table(raw)
  return fields and shape.as_list(fields.content) or nil
end

---@param id string
---@param call table { id, name }
---@param tools table<string, table>
---@param status string
---@param arguments string|userdata
---@return table
function responses_object.call(id, call, tools, status, arguments)
  local tool = tools[call.name] or {}
  if tool.custom then
    return { type = "custom_tool_call", id = "ctc_" .. id, call_id = call.id, name = tool.inner or call.name,
      namespace = tool.namespace, input = custom_tool.unwrap(arguments), status = status }
  end
  return { type = "function_call", id = "fc_" .. id, call_id = call.id, name = tool.inner or call.name,
    namespace = tool.namespace, arguments = arguments, status = status }
end

---@param id string
---@param part table an image
---@return table
function responses_object.image(id, part)
  return { type = "image_generation_call", id = id, status = "completed", result = part.data,
    output_format = (part.media_type or "image/png"):match("/(%w+)") }
end

return responses_object
