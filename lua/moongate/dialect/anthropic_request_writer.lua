-- SPDX-License-Identifier: MIT
-- Anthropic messages: the common form (lua/dialects/README.md) written as a request that the API takes, with
-- its rules: system texts on top, turns that alternate, results first in the turn behind their calls, no empty
-- text, thinking that fits the model, its tools and its maximum.

local body = require "moongate.body"
local common = require "moongate.dialect.common"
local models = require "moongate.dialect.anthropic_models"
local shape = require "moongate.dialect.shape"

local NAME = "anthropic"
local writer = {}

-- The API demands max_tokens. What a request gets whose client named none: every model takes so many. A
-- target's `set = { max_tokens = … }` says otherwise.
writer.MAX_TOKENS = 4096
-- What thinking may add to that, so that the sum fits every model that thinks.
local MAX_WITH_THINKING = 32000
local LEAST_BUDGET = 1024

-- What stands before an answer that a conversation begins with: the first turn is the user's.
local OPENING = "."

-- ---------------------------------------------------------------- parts

local function is_blank(text) return type(text) == "string" and not text:find("%S") end

local WRITE = {} -- type of part = function(part, drop) -> block or nil

function WRITE.text(part)
  if is_blank(part.text) then return nil end
  return { type = "text", text = part.text }
end
WRITE.refusal = WRITE.text

-- A file of another provider's store is not in this one; ids tell them apart ("file_…", OpenAI's "file-…").
local function source_of(part, drop, what)
  if part.data then
    local media_type, data = common.data_url(part.data)
    return { type = "base64", media_type = media_type or part.media_type, data = data or part.data }
  elseif part.url then
    local media_type, data = common.data_url(part.url)
    if media_type then return { type = "base64", media_type = media_type, data = data } end
    if body.head(part.url, 8):find("^https?://") then return { type = "url", url = part.url } end
  elseif part.id and part.id:find("^file_") then
    return { type = "file", file_id = part.id }
  end
  return drop(what)
end

function WRITE.image(part, drop)
  local source = source_of(part, drop, "image")
  if not source then return nil end
  if part.detail and part.detail ~= "auto" then drop("detail") end
  if source.type == "base64" then source.media_type = source.media_type or "image/png" end
  return { type = "image", source = source }
end

function WRITE.audio(_, drop) return drop("audio") end

local PDF = "application/pdf"

-- Documents are PDF or plain text.
function WRITE.file(part, drop)
  local source
  if part.text then
    if is_blank(part.text) then return nil end
    source = { type = "text", media_type = "text/plain", data = part.text }
  else
    source = source_of(part, drop, "file")
    if not source then return nil end
    local is_pdf = source.media_type == nil or source.media_type == PDF
    if source.type == "base64" and not is_pdf then return drop("file") end
    if source.type == "base64" then source.media_type = PDF end
  end
  return { type = "document", title = part.name, source = source }
end

-- Thinking counts only with the signature that Anthropic gave it.
function WRITE.thinking(part)
  local signature, foreign = common.unseal(NAME, part.signature)
  if foreign or not signature or body.size(signature) == 0 then return nil end
  return { type = "thinking", thinking = part.text or "", signature = signature }
end

function WRITE.redacted(part)
  local data, foreign = common.unseal(NAME, part.data)
  if foreign or not data then return nil end
  return { type = "redacted_thinking", data = data }
end

-- Arguments are an object here. What a model got wrong is shown to the next one as it was said.
local function input_of(part, drop)
  local text = part.arguments
  if not text or body.size(text) == 0 then return body.raw("{}") end
  local raw = body.raw(text)
  if raw and body.kind(raw) == "object" then return raw end
  drop("arguments")
  return { arguments = text }
end

function WRITE.call(part, drop)
  return { type = "tool_use", id = common.safe_id(part.id), name = part.name, input = input_of(part, drop) }
end

local write_parts

-- Content that is one text is that text.
local function content_of(blocks)
  local only = not blocks[2] and blocks[1]
  if only and only.type == "text" and not only.cache_control then return only.text end
  return blocks
end

function WRITE.result(part, drop)
  local content = write_parts(part.parts or {}, drop)
  return { type = "tool_result", tool_use_id = common.safe_id(part.id), is_error = part.is_error,
    content = content[1] and content_of(content) }
end

function write_parts(parts, drop)
  local blocks = {}
  for _, part in ipairs(parts) do
    local write = WRITE[part.type]
    local block
    if write then
      block = write(part, drop)
    else
      drop(tostring(part.type))
    end
    if block then
      block.cache_control = part.cache
      blocks[#blocks + 1] = block
    end
  end
  return blocks
end

-- ---------------------------------------------------------------- messages

local ROLES = { user = "user", tool = "user", assistant = "assistant" }

local function add_turn(turns, role, blocks)
  local last = turns[#turns]
  if last and last.role == role then
    table.move(blocks, 1, #blocks, #last.content + 1, last.content)
  elseif blocks[1] then
    turns[#turns + 1] = { role = role, content = blocks }
  end
end

-- Results stand before everything else of a turn.
local function results_first(turn)
  local results, rest = {}, {}
  for _, block in ipairs(turn.content) do
    local list = block.type == "tool_result" and results or rest
    list[#list + 1] = block
  end
  if results[1] then turn.content = table.move(rest, 1, #rest, #results + 1, results) end
end

-- White space at the end of what the assistant is to go on from is refused.
local function trim_end(turn)
  local last = turn.content[#turn.content]
  if turn.role == "assistant" and last.type == "text" and type(last.text) == "string" then
    last.text = last.text:gsub("%s+$", "")
  end
end

local function only_texts(blocks, drop)
  local texts = {}
  for _, block in ipairs(blocks) do
    if block.type == "text" then
      texts[#texts + 1] = block
    else
      drop(block.type)
    end
  end
  return texts
end

local function read_turns(request, ctx)
  local system, turns = {}, {}
  for i, message in ipairs(request.messages) do
    local function drop(what) ctx:drop(("messages.%d.%s"):format(i - 1, what)) end
    local blocks = write_parts(message.parts, drop)
    if message.name then drop("name") end
    if ROLES[message.role] then
      add_turn(turns, ROLES[message.role], blocks)
    else
      blocks = only_texts(blocks, drop)
      table.move(blocks, 1, #blocks, #system + 1, system)
    end
  end
  return system, turns
end

local function write_messages(request, ctx, out)
  local system, turns = read_turns(request, ctx)
  if not turns[1] and system[1] then
    turns[1], system = { role = "user", content = system }, {} -- instructions alone are what is asked
  end
  if not turns[1] then shape.refuse("messages: expected at least one with content, found none") end
  if turns[1].role == "assistant" then
    table.insert(turns, 1, { role = "user", content = { { type = "text", text = OPENING } } })
  end
  for _, turn in ipairs(turns) do
    if turn.role == "user" then results_first(turn) end
  end
  trim_end(turns[#turns])
  out.messages = turns
  out.system = system[1] and content_of(system)
end

-- ---------------------------------------------------------------- tools

-- A schema of arguments is that of an object; one that says nothing takes anything.
local function input_schema(parameters)
  local text = parameters and body.string(body.text(parameters), 16)
  if not parameters or body.kind(parameters) ~= "object" or text and not text:find("[^%s{}]") then
    return body.raw('{"type":"object","properties":{}}')
  end
  return parameters
end

local CHOICES = { auto = "auto", required = "any", none = "none" }

local function write_tools(request, ctx, out, traits)
  if not request.tools or not request.tools[1] then return end
  out.tools = {}
  for i, tool in ipairs(request.tools) do
    out.tools[i] = { name = tool.name, description = tool.description, strict = tool.strict,
      input_schema = input_schema(tool.parameters), cache_control = tool.cache }
  end
  local choice = request.tool_choice
  local named = type(choice) == "table" and choice.name
  if choice then
    out.tool_choice = { type = named and "tool" or CHOICES[choice] or "auto", name = named or nil }
  end
  if not traits.forced and choice and (named or choice == "required") then
    ctx:drop("tool_choice")
    out.tool_choice = { type = "auto" }
  end
  local parallel = request.parallel_tool_calls
  if parallel ~= nil and choice ~= "none" then
    out.tool_choice = out.tool_choice or { type = "auto" }
    out.tool_choice.disable_parallel_tool_use = not parallel
  end
end

-- ---------------------------------------------------------------- thinking and sampling

-- In the middle of a tool's use the turn must begin with the thinking that led to the call, when the model
-- thinks by budget.
local function calls_without_thinking(turns)
  for i = #turns, 1, -1 do
    local turn = turns[i]
    if turn.role == "assistant" then
      local first = turn.content[1].type
      for _, block in ipairs(turn.content) do
        if block.type == "tool_use" then return first ~= "thinking" and first ~= "redacted_thinking" end
      end
      return false
    end
    if turn.content[1].type ~= "tool_result" then return false end -- a new question
  end
  return false
end

local function is_forced(out)
  return out.tool_choice ~= nil and (out.tool_choice.type == "any" or out.tool_choice.type == "tool")
end

local DISPLAY = { [true] = "summarized", [false] = "omitted" }
local EFFORTS = { low = "low", minimal = "low", medium = "medium", high = "high", xhigh = "xhigh", max = "max" }

local function write_adaptive(reasoning, out, traits)
  local effort = EFFORTS[reasoning.effort] or EFFORTS[common.effort(reasoning.budget or 0)]
  if effort == "xhigh" and not traits.xhigh then effort = "high" end
  out.thinking = { type = "adaptive", display = DISPLAY[reasoning.show] }
  out.output_config = effort and { effort = effort } or nil
  if not out.max_tokens then
    out.max_tokens = math.min(writer.MAX_TOKENS + (common.budget(effort or "high")), MAX_WITH_THINKING)
  end
end

-- The budget is a part of max_tokens, and something must be left of them to say.
local function write_budget(reasoning, ctx, out)
  local budget = reasoning.budget or common.budget(reasoning.effort) or common.budget("medium")
  budget = math.max(budget, LEAST_BUDGET)
  if not out.max_tokens then
    budget = reasoning.budget and budget or math.min(budget, MAX_WITH_THINKING - writer.MAX_TOKENS)
    out.max_tokens = budget + writer.MAX_TOKENS
  elseif out.max_tokens <= LEAST_BUDGET then
    return ctx:drop("reasoning")
  elseif budget >= out.max_tokens then
    budget = math.max(LEAST_BUDGET, out.max_tokens // 2)
    if reasoning.budget then ctx:drop("reasoning.budget") end
  end
  out.thinking = { type = "enabled", budget_tokens = budget, display = DISPLAY[reasoning.show] }
end

local function write_thinking(request, ctx, out, traits)
  local reasoning = request.reasoning
  if not reasoning then return end
  local off = reasoning.effort == "none" or reasoning.budget == 0
  if not off and (is_forced(out) or not traits.adaptive and calls_without_thinking(out.messages)) then
    ctx:drop("reasoning")
    off = true
  end
  if not off and traits.adaptive then
    write_adaptive(reasoning, out, traits)
  elseif not off then
    write_budget(reasoning, ctx, out)
  elseif traits.off then
    out.thinking = { type = "disabled" }
  else
    ctx:drop("reasoning")
    out.output_config = { effort = "low" }
  end
end

-- The scale ends at 1 here. With thinking there is no choice of temperature and top_k; models that think by
-- themselves have none at all.
local function write_sampling(request, ctx, out, traits)
  local thinks = out.thinking ~= nil and out.thinking.type ~= "disabled"
  local free = traits.sampling and not thinks
  if request.temperature then
    local temperature, changed = common.clamp(request.temperature, 0, 1)
    if changed or not free and temperature ~= 1 then ctx:drop("temperature") end
    if free then out.temperature = temperature end
  end
  if request.top_p then
    local allowed = traits.sampling and (not thinks or request.top_p >= 0.95)
      and (traits.both or out.temperature == nil)
    if allowed then
      out.top_p = request.top_p
    elseif request.top_p ~= 1 then
      ctx:drop("top_p")
    end
  end
  if request.top_k and free then
    out.top_k = request.top_k
  elseif request.top_k then
    ctx:drop("top_k")
  end
end

-- ---------------------------------------------------------------- the rest

-- Structured output is native (`output_config.format`). Its schemas must close their objects: one that says
-- nothing of it is closed here, which its own answers keep to as well.
local SCHEMA_MAX = 65536

local function closed(schema)
  local text = body.string(body.text(schema), SCHEMA_MAX)
  if not text or text:find('"additionalProperties"', 1, true) then return schema end
  return body.raw((text:gsub('("type"%s*:%s*"object")', '%1,"additionalProperties":false')))
end

local JSON_ONLY = "Answer with one JSON object and nothing else: no words around it, no code fence."

local function write_format(request, ctx, out)
  local format = request.format
  if not format then return end
  if format.type == "schema" and format.schema then
    out.output_config = out.output_config or {}
    out.output_config.format = { type = "json_schema", schema = closed(format.schema) }
    return
  end
  ctx:drop("format") -- asked for in words, which promise nothing
  local line = { type = "text", text = JSON_ONLY }
  if type(out.system) == "table" then
    table.insert(out.system, line)
  else
    out.system = out.system and body.join({ out.system, JSON_ONLY }, "\n\n") or JSON_ONLY
  end
end

local function write_stop(request, ctx, out)
  local stop = {}
  for _, text in ipairs(request.stop or {}) do
    if is_blank(text) then
      ctx:drop("stop") -- refused by the API
    else
      stop[#stop + 1] = text
    end
  end
  out.stop_sequences = stop[1] and stop or nil
end

local TIERS = { auto = "auto", default = "standard_only", standard_only = "standard_only" }

-- What Anthropic has no word for, and the value that means the same as saying nothing.
local UNKNOWN = { { "seed" }, { "frequency_penalty", 0 }, { "presence_penalty", 0 }, { "n", 1 },
  { "logprobs", false }, { "top_logprobs", 0 }, { "metadata" }, { "verbosity", "medium" } }

local function write_rest(request, ctx, out)
  out.metadata = request.user and { user_id = request.user } or nil
  out.service_tier = TIERS[request.service_tier]
  if request.service_tier and not out.service_tier then ctx:drop("service_tier") end
  out.cache_control = request.cache
  for _, field in ipairs(UNKNOWN) do
    local value = request[field[1]]
    if value ~= nil and value ~= field[2] then ctx:drop(field[1]) end
  end
end

---@param request table common form
---@param ctx table
---@return table body
function writer.write(request, ctx)
  local traits = models.traits(ctx.model)
  local out = { model = ctx.model, stream = request.stream or nil, max_tokens = request.max_tokens }
  write_messages(request, ctx, out)
  write_tools(request, ctx, out, traits)
  write_thinking(request, ctx, out, traits)
  write_sampling(request, ctx, out, traits)
  write_format(request, ctx, out)
  write_stop(request, ctx, out)
  write_rest(request, ctx, out)
  out.max_tokens = out.max_tokens or writer.MAX_TOKENS
  for _, turn in ipairs(out.messages) do turn.content = content_of(turn.content) end
  return out
end

return writer
