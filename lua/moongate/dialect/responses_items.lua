-- SPDX-License-Identifier: MIT
-- Items of responses into the common form: of a client's input (what has the wrong kind is refused: `how` is
-- shape) and of a provider's output (it is passed over: `how` is shape.soft). What an assistant said in one
-- turn is several items here, one message there.

local body = require "moongate.body"
local chat_messages = require "moongate.dialect.chat_messages"
local common = require "moongate.dialect.common"
local custom_tool = require "moongate.dialect.custom_tool"
local openai_parts = require "moongate.dialect.openai_parts"
local shape = require "moongate.dialect.shape"

local responses_items = {}

-- ---------------------------------------------------------------- content

local PARTS = {}

function PARTS.input_text(part, how, at)
  return { type = "text", text = how.text(how.need(part.text, at .. ".text"), at .. ".text") or "" }
end
PARTS.output_text, PARTS.text = PARTS.input_text, PARTS.input_text

function PARTS.refusal(part, how, at)
  at = at .. ".refusal"
  return { type = "refusal", text = how.text(how.need(part.refusal, at), at) or "" }
end

function PARTS.input_image(part, how, at)
  local detail = how.name(part.detail, at .. ".detail")
  local id = how.name(part.file_id, at .. ".file_id")
  if id and part.image_url == nil then return { type = "image", id = id, detail = detail } end
  at = at .. ".image_url"
  return openai_parts.image(how.text(how.need(part.image_url, at), at), detail)
end

function PARTS.input_file(part, how, at) return openai_parts.file(part, how, at) end

function PARTS.input_audio(part, how, at)
  at = at .. ".input_audio"
  return openai_parts.audio(how.object(how.need(part.input_audio, at), at) or {}, how, at)
end

---Log probabilities are a list here, an object of lists in the common form.
---@param part table
---@return any raw
function responses_items.logprobs(part)
  if not body.is_raw(part.logprobs) or body.kind(part.logprobs) ~= "array" then return nil end
  local list = shape.as_list(body.table(part.logprobs))
  return list and list[1] and body.raw_of { content = list } or nil
end

---Appends what a content holds, a text or a list of parts.
---@param out table[]
---@param content any
---@param ctx table
---@param how table
---@param path string
function responses_items.content(out, content, ctx, how, path)
  if body.is_text(content) then
    out[#out + 1] = { type = "text", text = content }
    return
  end
  for _, part, at in how.each(content, path) do
    at = at or path
    local kind = how.name(how.need(part.type, at .. ".type"), at .. ".type") or ""
    local read = PARTS[kind]
    local found = read and read(part, how, at)
    if found and part.prompt_cache_breakpoint then found.cache = body.raw [[{"type":"ephemeral"}]] end
    if found and found.type == "image" and found.id then
      ctx:drop(at .. ".file_id") -- nobody else holds it
    elseif found then
      found.logprobs = responses_items.logprobs(part)
      out[#out + 1] = found
    elseif not read then
      ctx:drop(at .. "." .. body.head(kind, 64))
    end
  end
end

-- ---------------------------------------------------------------- reasoning

-- What another maker redacted has no text, and that is all that tells it from thinking that is not shown:
-- the seal of redacted data says so.
local REDACTED = "redacted."
local SEAL = 12

---@param data string|userdata sealed
---@return string|userdata
function responses_items.redacted(data)
  return body.join { body.head(data, SEAL), REDACTED, body.after(data, SEAL) }
end

local function unredacted(sealed)
  if body.head(sealed, SEAL + #REDACTED):sub(SEAL + 1) ~= REDACTED then return nil end
  return body.join { body.head(sealed, SEAL), body.after(sealed, SEAL + #REDACTED) }
end

local function read_texts(out, list, how, path)
  for _, part, at in how.each(list, path) do
    out[#out + 1] = how.text(part.text, (at or path) .. ".text")
  end
end

---A reasoning item: its summary's parts are one text.
---@param item table
---@param how table
---@param at string
---@return table part
function responses_items.reasoning(item, how, at)
  local texts = {}
  read_texts(texts, item.summary, how, at .. ".summary")
  if not texts[1] then read_texts(texts, item.content, how, at .. ".content") end
  local sealed = common.seal("responses", how.text(item.encrypted_content, at .. ".encrypted_content") or "")
  local data = common.is_signed(sealed) and not texts[1] and unredacted(sealed)
  if data then return { type = "redacted", data = data } end
  return { type = "thinking", text = texts[1] and body.join(texts, "\n\n") or "", signature = sealed }
end

-- ---------------------------------------------------------------- calls

---The name of a function that may stand in a namespace: one name for those who have none.
---@param namespace string|nil
---@param name string
---@return string
function responses_items.joined(namespace, name)
  return namespace and namespace .. "__" .. name or name
end

---A function call or the call of a custom tool.
---@param item table
---@param how table
---@param at string
---@param made string the id of a call that has none
---@return table part
function responses_items.call(item, how, at, made)
  local id = how.name(how.need(item.call_id, at .. ".call_id"), at .. ".call_id")
  local name = how.name(how.need(item.name, at .. ".name"), at .. ".name") or ""
  local part = { type = "call", id = id or made }
  part.name = responses_items.joined(how.name(item.namespace, at .. ".namespace"), name)
  if how.name(item.type, at .. ".type") == "custom_tool_call" then
    part.arguments = custom_tool.wrap(how.text(item.input, at .. ".input") or "")
  else
    part.arguments = chat_messages.arguments(item.arguments, how, at .. ".arguments")
  end
  return part
end

-- ---------------------------------------------------------------- a conversation

local function message_of(out, role)
  local last = out[#out]
  if not last or last.role ~= role then
    last = { role = role, parts = {} }
    out[#out + 1] = last
  end
  return last.parts
end

local ITEMS = {}

local ROLES = { system = true, developer = true, user = true, assistant = true }

function ITEMS.message(out, item, state, at)
  local role = shape.name(shape.need(item.role, at .. ".role"), at .. ".role")
  if not ROLES[role] then
    shape.refuse(('%s.role: expected "system", "developer", "user" or "assistant", found "%s"')
      :format(at, role))
  end
  local parts = {}
  at = at .. ".content"
  responses_items.content(parts, shape.need(item.content, at), state.ctx, shape, at)
  if role ~= "assistant" then
    out[#out + 1] = { role = role, parts = parts }
    return
  end
  local said = message_of(out, role)
  for _, part in ipairs(parts) do said[#said + 1] = part end
end

function ITEMS.reasoning(out, item, _, at)
  table.insert(message_of(out, "assistant"), responses_items.reasoning(item, shape, at))
end

function ITEMS.function_call(out, item, state, at)
  local call = responses_items.call(item, shape, at)
  state.names[call.id] = call.name
  table.insert(message_of(out, "assistant"), call)
end
ITEMS.custom_tool_call = ITEMS.function_call

function ITEMS.function_call_output(out, item, state, at)
  local id = shape.name(shape.need(item.call_id, at .. ".call_id"), at .. ".call_id")
  local parts = {}
  responses_items.content(parts, item.output, state.ctx, shape, at .. ".output")
  table.insert(message_of(out, "tool"), { type = "result", id = id, name = state.names[id], parts = parts })
end
ITEMS.custom_tool_call_output = ITEMS.function_call_output

-- What stands for something that only OpenAI holds: without it the conversation is another.
local ELSEWHERE = { item_reference = true, compaction = true, compaction_trigger = true }

---The input of a request: a text, or a list of items.
---@param out table[] messages
---@param input any
---@param ctx table
---@param tools fun(item: table, at: string) takes tools that stand among the items
function responses_items.read(out, input, ctx, tools)
  if body.is_text(input) then
    out[#out + 1] = { role = "user", parts = { { type = "text", text = input } } }
    return
  end
  local state = { ctx = ctx, names = {} }
  for _, item, at in shape.each(input, "input") do
    local kind = shape.name(item.type, at .. ".type") or (item.role == nil and "item_reference" or "message")
    if ITEMS[kind] then
      ITEMS[kind](out, item, state, at)
    elseif ELSEWHERE[kind] then
      shape.refuse(("%s: an item of type %s stands for what only OpenAI holds; send the items themselves")
        :format(at, kind))
    elseif kind == "additional_tools" then
      tools(item, at)
    else
      ctx:drop(at .. "." .. body.head(kind, 64))
    end
  end
end

return responses_items
