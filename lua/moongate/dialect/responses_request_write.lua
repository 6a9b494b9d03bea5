-- SPDX-License-Identifier: MIT
-- The common form into a responses request.

local body = require "moongate.body"
local common = require "moongate.dialect.common"
local json_schema = require "moongate.dialect.json_schema"
local models = require "moongate.dialect.openai_models"
local openai_parts = require "moongate.dialect.openai_parts"
local openai_request = require "moongate.dialect.openai_request"

local responses_request_write = {}

-- ---------------------------------------------------------------- content

local PARTS = {}

function PARTS.text(part) return { type = "input_text", text = part.text } end

function PARTS.image(part)
  local url = openai_parts.image_url(part)
  return url and { type = "input_image", image_url = url, detail = part.detail or "auto" }
end

function PARTS.file(part)
  if part.text then return { type = "input_text", text = openai_parts.file_text(part) } end
  local fields = openai_parts.file_fields(part) or (part.url and { file_url = part.url })
  if fields then fields.type = "input_file" end
  return fields
end

local function content_of(parts, ctx)
  local out = body.list {}
  for _, part in ipairs(parts) do
    local write = PARTS[part.type]
    local written = write and write(part)
    if written then
      out[#out + 1] = written
    elseif part.type ~= "thinking" and part.type ~= "redacted" then
      ctx:drop("messages." .. part.type)
    end
  end
  return out
end

-- One text is written as one.
local function output_of(result, ctx)
  local content = content_of(result.parts or {}, ctx)
  if not content[1] then return "" end
  if not content[2] and content[1].type == "input_text" then return content[1].text end
  return content
end

-- ---------------------------------------------------------------- items

local SAID = {}

function SAID.text(part) return { type = "output_text", text = part.text, annotations = body.list {} } end
function SAID.refusal(part) return { type = "refusal", refusal = part.text } end

-- Only what OpenAI itself has encrypted can be given back to it: it holds nothing of ours.
local function write_reasoning(items, part)
  local signature = common.unseal("responses", part.signature)
  if not signature or body.size(signature) == 0 then return end
  items[#items + 1] = {
    type = "reasoning", encrypted_content = signature,
    summary = body.size(part.text) > 0 and { { type = "summary_text", text = part.text } } or body.list {},
  }
end

local function write_call(part, tools, id_of)
  local tool = tools[part.name] or {}
  return { type = "function_call", call_id = id_of(part.id), name = tool.inner or part.name,
    namespace = tool.namespace, arguments = part.arguments }
end

local function write_assistant(items, message, ctx, tools, id_of)
  local open
  for _, part in ipairs(message.parts) do
    local say = SAID[part.type]
    if say then
      if not open then
        open = { type = "message", role = "assistant", content = {} }
        items[#items + 1] = open
      end
      table.insert(open.content, say(part))
    else
      open = nil
      if part.type == "thinking" then
        write_reasoning(items, part)
      elseif part.type == "call" then
        items[#items + 1] = write_call(part, tools, id_of)
      elseif part.type ~= "redacted" then
        ctx:drop("messages." .. part.type)
      end
    end
  end
end

local function write_results(items, message, ctx, id_of)
  for _, result in ipairs(message.parts) do
    if result.is_error then ctx:drop("messages.is_error") end
    items[#items + 1] = { type = "function_call_output", call_id = id_of(result.id),
      output = output_of(result, ctx) }
  end
end

-- A system prompt at the start is the instructions; what stands later stays where it is.
local function instructions_of(messages)
  local first = messages[1]
  if not first or first.role ~= "system" then return nil end
  local texts = openai_parts.texts(first.parts)
  return #texts == #first.parts and texts[1] and body.join(texts, "\n\n") or nil
end

local ID_MAX = 64 -- bytes of an id of a call that OpenAI takes here

local function write_items(out, request, ctx, tools)
  local items, id_of = body.list {}, openai_request.ids(ID_MAX)
  out.instructions = instructions_of(request.messages)
  for i, message in ipairs(request.messages) do
    if message.role == "assistant" then
      write_assistant(items, message, ctx, tools, id_of)
    elseif message.role == "tool" then
      write_results(items, message, ctx, id_of)
    elseif i > 1 or not out.instructions then
      if message.name then ctx:drop(("messages.%d.name"):format(i - 1)) end
      items[#items + 1] = { type = "message", role = message.role, content = content_of(message.parts, ctx) }
    end
  end
  out.input = items
end

-- ---------------------------------------------------------------- tools and the rest

local function write_tool(tool, native, strict)
  if native and tool.custom then
    return { type = "custom", name = tool.inner or tool.name, description = tool.custom.description,
      format = tool.custom.format }
  end
  return {
    type = "function", name = tool.inner or tool.name, description = tool.description,
    parameters = json_schema.of_arguments(tool.parameters, strict),
    strict = strict or false,
  }
end

---Tools as responses has them, in a request and in what an answer repeats of it.
---@param request table
---@param native? boolean custom tools as such
---@param ctx? table of a request, where it is to be named what OpenAI does not take
---@return table[]
function responses_request_write.tools(request, native, ctx)
  local out, namespaces = body.list {}, {}
  for i, tool in ipairs(request.tools or {}) do
    local list = out
    if tool.namespace then
      local holder = namespaces[tool.namespace]
      if not holder then
        holder = { type = "namespace", name = tool.namespace, description = tool.namespace_description or "",
          tools = {} }
        namespaces[tool.namespace] = holder
        out[#out + 1] = holder
      end
      list = holder.tools
    end
    local strict = tool.strict
    if ctx then strict = openai_request.strict(tool, i, ctx) end
    list[#list + 1] = write_tool(tool, native, strict)
  end
  return out
end

---@param choice any
---@return any
function responses_request_write.choice(choice)
  if type(choice) == "table" then return { type = "function", name = choice.name } end
  return choice
end

---@param request table
---@return table|nil text
function responses_request_write.text(request)
  local format = request.format
  if not format and not request.verbosity then return nil end
  local written = { type = "text" }
  if format and format.type == "json" then
    written.type = "json_object"
  elseif format then
    written = { type = "json_schema", name = format.name or "answer", schema = format.schema,
      strict = format.strict, description = format.description }
  end
  return { format = written, verbosity = request.verbosity }
end

-- OpenAI looks for the word JSON in the input, not in the instructions.
local function write_text(out, request, ctx)
  local words, instead = openai_request.format_words(request.format, ctx)
  out.text = responses_request_write.text(instead and { verbosity = request.verbosity } or request)
  if words then
    table.insert(out.input, 1, { type = "message", role = "developer",
      content = { { type = "input_text", text = words } } })
  end
end

---What an answer repeats of the reasoning that was asked for.
---@param request table
---@return table|nil reasoning
function responses_request_write.reasoning(request)
  local reasoning = request.reasoning
  if not reasoning then return nil end
  local effort = reasoning.effort or (reasoning.budget and common.effort(reasoning.budget))
  local summary = reasoning.summary or (reasoning.show and "auto" or nil)
  return (effort or summary) and { effort = effort, summary = summary } or nil
end

-- What the model is asked for; a model that does not reason knows neither field.
local function write_reasoning_wish(out, request, ctx)
  local reasoning = responses_request_write.reasoning(request)
  if not reasoning then return end
  local effort, changed = openai_request.effort(request.reasoning, out.model)
  if changed then ctx:drop("reasoning.effort") end
  if not models.reasons(out.model) then return end
  local summary = effort ~= "none" and reasoning.summary or nil
  out.reasoning = (effort or summary) and { effort = effort, summary = summary } or nil
end

-- OpenAI refuses fewer.
local LEAST_TOKENS = 16

local function write_limit(out, request, ctx)
  out.max_output_tokens = request.max_tokens
  if request.max_tokens and request.max_tokens < LEAST_TOKENS then
    out.max_output_tokens = LEAST_TOKENS
    ctx:drop("max_tokens")
  end
end

-- What chat completions can ask and responses cannot.
local ABSENT = { "stop", "n", "seed", "frequency_penalty", "presence_penalty", "top_k" }

local function write_tools(out, request, ctx)
  if not request.tools or not request.tools[1] then return end
  out.tools = responses_request_write.tools(request, false, ctx)
  out.tool_choice = responses_request_write.choice(request.tool_choice)
end

local function write_include(out, request, traits, ctx)
  local include = {}
  if request.logprobs and traits.sampling then
    include[#include + 1] = "message.output_text.logprobs"
  elseif request.logprobs then
    ctx:drop("logprobs")
  end
  if not traits.sampling then include[#include + 1] = "reasoning.encrypted_content" end
  if include[1] then out.include = include end
end

---@param request table the common form
---@param ctx table
---@return table body
function responses_request_write.write(request, ctx)
  local traits = models.traits(ctx.model or request.model, "responses")
  local out = { store = false }
  openai_request.write_same(out, request)
  out.model, out.stream = ctx.model or request.model, ctx.stream or nil
  local tools = {}
  for _, tool in ipairs(request.tools or {}) do tools[tool.name] = tool end
  write_items(out, request, ctx, tools)
  write_tools(out, request, ctx)
  write_limit(out, request, ctx)
  write_text(out, request, ctx)
  write_reasoning_wish(out, request, ctx)
  write_include(out, request, traits, ctx)
  for _, name in ipairs(ABSENT) do
    local default = name == "n" and request.n == 1
    if request[name] and not default and not (name == "stop" and not request.stop[1]) then ctx:drop(name) end
  end
  openai_request.check_tier(out, ctx)
  openai_request.check_user(out, ctx)
  openai_request.check_sampling(out, out.reasoning and out.reasoning.effort, traits, ctx)
  return out
end

return responses_request_write
