-- SPDX-License-Identifier: MIT
-- The common form into a chat completions request, for OpenAI and for the many who serve in its shape: what
-- differs between them is told by the model's name (openai_models).

local body = require "moongate.body"
local common = require "moongate.dialect.common"
local models = require "moongate.dialect.openai_models"
local openai_parts = require "moongate.dialect.openai_parts"
local openai_request = require "moongate.dialect.openai_request"

local chat_request_write = {}

-- ---------------------------------------------------------------- content

local PARTS = {}

function PARTS.text(part) return { type = "text", text = part.text } end

function PARTS.image(part)
  local url = openai_parts.image_url(part)
  return url and { type = "image_url", image_url = { url = url, detail = part.detail } }
end

function PARTS.audio(part)
  local audio = openai_parts.input_audio(part)
  return audio and { type = "input_audio", input_audio = audio }
end

function PARTS.file(part)
  if part.text then return { type = "text", text = openai_parts.file_text(part) } end
  local fields = openai_parts.file_fields(part)
  return fields and { type = "file", file = fields }
end

---Content as chat wants it: one text as a text, several as a list, or as one where lists are not known.
local function content_of(parts, traits, ctx)
  local out, only_text = {}, true
  for _, part in ipairs(parts) do
    local write = PARTS[part.type]
    local written = write and write(part)
    if written then
      out[#out + 1] = written
      only_text = only_text and written.type == "text"
    elseif part.type ~= "thinking" and part.type ~= "redacted" then
      ctx:drop("messages." .. part.type)
    end
  end
  if not only_text or (out[2] and traits.lists) then return out end
  if out[2] then return body.join(openai_parts.texts(out), "\n") end
  return out[1] and out[1].text or ""
end

-- ---------------------------------------------------------------- an assistant's message

local function write_call(call, id_of)
  local signature = common.unseal("openai", call.signature)
  local signed = signature and body.size(signature) > 0
  return {
    id = id_of(call.id), type = "function",
    ["function"] = { name = call.name, arguments = call.arguments },
    extra_content = signed and { google = { thought_signature = signature } } or nil,
  }
end

-- What the provider itself has signed (OpenRouter's reasoning_details) it is given back; what it has only
-- said goes to models that want it.
local function write_thinking(message, parts, traits)
  local said, details = {}, {}
  for _, part in ipairs(parts) do
    local signature, foreign = common.unseal("openai", part.signature or part.data)
    local signed = signature and body.size(signature) > 0
    if part.type == "thinking" and not foreign then
      said[#said + 1] = part.text
      if signed then
        details[#details + 1] = { type = "reasoning.text", text = part.text, signature = signature,
          index = #details }
      end
    elseif part.type == "redacted" and signed then
      details[#details + 1] = { type = "reasoning.encrypted", data = signature, index = #details }
    end
  end
  if details[1] then message.reasoning_details = details end
  if said[1] and traits.thinking then message.reasoning_content = body.join(said, "\n\n") end
end

-- What an assistant's message may hold as content: pictures and files are the user's.
local SAID = { text = true, thinking = true, redacted = true }

local function write_assistant(message, traits, ctx, id_of)
  local out, content, calls = { role = "assistant", name = message.name }, {}, {}
  for _, part in ipairs(message.parts) do
    if part.type == "call" then
      calls[#calls + 1] = write_call(part, id_of)
    elseif part.type == "refusal" then
      out.refusal = out.refusal and body.join({ out.refusal, part.text }, "\n") or part.text
    elseif SAID[part.type] then
      content[#content + 1] = part
    else
      ctx:drop("messages." .. part.type)
    end
  end
  out.content = content_of(content, traits, ctx)
  if body.is_text(out.content) and body.size(out.content) == 0 then out.content = body.null end
  if calls[1] then out.tool_calls = calls end
  if out.content == body.null and not calls[1] and not out.refusal then return nil end
  write_thinking(out, message.parts, traits)
  return out
end

-- ---------------------------------------------------------------- results

-- A tool message holds text only: what else a result has follows its turn as a message of the user.
local function write_results(messages, message, traits, ctx, id_of)
  local others = {}
  for _, result in ipairs(message.parts) do
    local texts = {}
    for _, part in ipairs(result.parts or {}) do
      if part.type == "text" then
        texts[#texts + 1] = part
      else
        others[#others + 1] = { type = "text",
          text = ("Of the result of tool call %s:"):format(id_of(result.id)) }
        others[#others + 1] = part
      end
    end
    if result.is_error then ctx:drop("messages.is_error") end
    messages[#messages + 1] = { role = "tool", tool_call_id = id_of(result.id),
      content = content_of(texts, traits, ctx) }
  end
  if others[1] then messages[#messages + 1] = { role = "user", content = content_of(others, traits, ctx) } end
end

local ID_MAX = 40 -- bytes of an id of a call that OpenAI takes here

local function write_messages(request, traits, ctx)
  local out, id_of = body.list {}, openai_request.ids(ID_MAX, traits.ids)
  for _, message in ipairs(request.messages) do
    if message.role == "tool" then
      write_results(out, message, traits, ctx, id_of)
    elseif message.role == "assistant" then
      out[#out + 1] = write_assistant(message, traits, ctx, id_of)
    else
      local role = message.role == "developer" and not traits.developer and "system" or message.role
      out[#out + 1] = { role = role, name = message.name, content = content_of(message.parts, traits, ctx) }
    end
  end
  return out
end

-- ---------------------------------------------------------------- tools and the rest

local function write_tools(out, request, ctx)
  if not request.tools or not request.tools[1] then return end
  out.tools = {}
  for i, tool in ipairs(request.tools) do
    out.tools[i] = { type = "function", ["function"] = {
      name = tool.name, description = tool.description, parameters = tool.parameters,
      strict = openai_request.strict(tool, i, ctx),
    } }
  end
  local choice = request.tool_choice
  if type(choice) == "table" then choice = { type = "function", ["function"] = { name = choice.name } } end
  out.tool_choice = choice
  out.parallel_tool_calls = request.parallel_tool_calls
end

local function write_format(out, request, ctx)
  local format = request.format
  local words, instead = openai_request.format_words(format, ctx)
  if words then table.insert(out.messages, 1, { role = "system", content = words }) end
  if not format or instead then return nil end
  if format.type == "json" then return { type = "json_object" } end
  return { type = "json_schema", json_schema = {
    name = format.name or "answer", schema = format.schema, strict = format.strict,
    description = format.description,
  } }
end

-- An effort that the client named is named as dropped where the model takes another or none.
local function write_effort(out, request, ctx)
  local effort, changed = openai_request.effort(request.reasoning, out.model)
  if out.tools and models.calls_or_reasons(out.model) then
    changed, effort = effort ~= nil and effort ~= "none", "none"
  end
  if changed then ctx:drop("reasoning.effort") end
  out.reasoning_effort = effort
end

local STOPS = 4 -- sequences that OpenAI takes

-- A reasoning model takes none.
local function write_stop(out, request, traits, ctx)
  local stop = request.stop
  if not stop or not stop[1] then return end
  if not traits.sampling then return ctx:drop("stop") end
  out.stop = {}
  for i = 1, math.min(#stop, STOPS) do out.stop[i] = stop[i] end
  if #stop > STOPS then ctx:drop("stop") end
end

local PLAIN = { "n", "seed", "frequency_penalty", "presence_penalty", "logprobs", "verbosity" }

---@param request table the common form
---@param ctx table
---@return table body
function chat_request_write.write(request, ctx)
  local traits = models.traits(ctx.model or request.model, ctx.provider)
  local out = { messages = write_messages(request, traits, ctx) }
  openai_request.write_same(out, request)
  out.parallel_tool_calls = nil
  out.model, out.stream = ctx.model or request.model, ctx.stream or nil
  out.stream_options = ctx.stream and { include_usage = true } or nil
  for _, name in ipairs(PLAIN) do out[name] = request[name] end
  if request.top_k then ctx:drop("top_k") end
  out[traits.limit] = request.max_tokens
  out.response_format = write_format(out, request, ctx)
  write_tools(out, request, ctx)
  write_effort(out, request, ctx)
  write_stop(out, request, traits, ctx)
  openai_request.check_tier(out, ctx)
  openai_request.check_user(out, ctx)
  openai_request.check_own(out, traits, ctx)
  openai_request.check_sampling(out, out.reasoning_effort, traits, ctx)
  return out
end

return chat_request_write
