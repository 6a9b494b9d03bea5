-- SPDX-License-Identifier: MIT
-- Messages of chat completions into the common form: of a client's request (what has the wrong kind is
-- refused: `how` is shape) and of a provider's answer (it is passed over: `how` is shape.soft).

local body = require "moongate.body"
local common = require "moongate.dialect.common"
local custom_tool = require "moongate.dialect.custom_tool"
local openai_parts = require "moongate.dialect.openai_parts"

local chat_messages = {}

-- ---------------------------------------------------------------- content

local PARTS = {}

function PARTS.text(part, how, at)
  return { type = "text", text = how.text(how.need(part.text, at .. ".text"), at .. ".text") or "" }
end

function PARTS.refusal(part, how, at)
  at = at .. ".refusal"
  return { type = "refusal", text = how.text(how.need(part.refusal, at), at) or "" }
end

function PARTS.image_url(part, how, at)
  at = at .. ".image_url"
  if body.is_text(part.image_url) then return openai_parts.image(part.image_url) end
  local image = how.object(how.need(part.image_url, at), at) or {}
  local url = how.text(how.need(image.url, at .. ".url"), at .. ".url")
  return openai_parts.image(url, how.name(image.detail, at .. ".detail"))
end

function PARTS.input_audio(part, how, at)
  at = at .. ".input_audio"
  return openai_parts.audio(how.object(how.need(part.input_audio, at), at) or {}, how, at)
end

function PARTS.file(part, how, at)
  at = at .. ".file"
  return openai_parts.file(how.object(how.need(part.file, at), at) or {}, how, at)
end

local function cache_of(part, how, at)
  if part.prompt_cache_breakpoint then return body.raw [[{"type":"ephemeral"}]] end
  return how.raw(part.cache_control, at .. ".cache_control")
end

---Appends what a content holds, a text or a list of parts, to a list of common parts.
---@param out table[]
---@param content any
---@param ctx table
---@param how table
---@param path string
function chat_messages.content(out, content, ctx, how, path)
  if body.is_text(content) then
    out[#out + 1] = { type = "text", text = content }
    return
  end
  for _, part, at in how.each(content, path) do
    at = at or path
    local kind = how.name(how.need(part.type, at .. ".type"), at .. ".type") or ""
    local read = PARTS[kind]
    local found = read and read(part, how, at)
    if found then
      found.cache = cache_of(part, how, at)
      out[#out + 1] = found
    elseif not read then
      ctx:drop(at .. "." .. kind)
    end
  end
end

-- ---------------------------------------------------------------- what an assistant said

local function read_details(out, details, said, how, path)
  for _, detail, at in how.each(details, path) do
    at = at or path
    local kind = how.name(detail.type, at .. ".type")
    if kind == "reasoning.encrypted" then
      local data = how.text(detail.data, at .. ".data")
      out[#out + 1] = data and { type = "redacted", data = common.seal("openai", data) }
    elseif kind == "reasoning.text" or kind == "reasoning.summary" then
      local signature = how.text(detail.signature, at .. ".signature")
      out[#out + 1] = {
        type = "thinking",
        text = how.text(detail.text or detail.summary, at .. ".text") or said or "",
        signature = common.seal("openai", signature or ""),
      }
    end
  end
end

local function read_thinking(out, message, how, at)
  local said = how.text(message.reasoning_content, at .. ".reasoning_content")
  if not said and body.is_text(message.reasoning) then said = message.reasoning end
  local before = #out
  if message.reasoning_details then
    read_details(out, message.reasoning_details, said, how, at .. ".reasoning_details")
  end
  for i = before + 1, #out do
    if out[i].type == "thinking" then return end
  end
  if said and body.size(said) > 0 then
    table.insert(out, before + 1, { type = "thinking", text = said, signature = common.seal("openai", "") })
  end
end

---The signature that a call carries for Gemini, sealed.
---@param call table
---@param how table
---@param at string
---@return string|userdata|nil
function chat_messages.call_signature(call, how, at)
  local extra = how.object(call.extra_content, at .. ".extra_content")
  at = at .. ".extra_content.google"
  local google = extra and how.object(extra.google, at)
  local signature = google and how.text(google.thought_signature, at .. ".thought_signature")
  return signature and common.seal("openai", signature)
end

---Arguments as the text of a JSON object: servers that only resemble OpenAI send the object itself, and
---nothing for no arguments.
---@param arguments any
---@param how table
---@param at string
---@return string|userdata
function chat_messages.arguments(arguments, how, at)
  if body.is_raw(arguments) then return body.text(arguments) end
  if type(arguments) == "table" and not body.is_text(arguments) then
    local object = how.object(arguments, at)
    return object and body.text(body.raw_of(object)) or "{}"
  end
  arguments = how.text(arguments, at)
  if not arguments or body.size(arguments) == 0 then return "{}" end
  return arguments
end

local function read_call(call, ctx, how, at, n)
  local part = { type = "call", signature = chat_messages.call_signature(call, how, at) }
  part.id = how.name(call.id, at .. ".id")
  if not part.id or part.id == "" then part.id = ("call_%s_%d"):format(ctx.id, n) end
  local custom = how.object(call.custom, at .. ".custom")
  local fields = custom or how.object(how.need(call["function"], at .. ".function"), at .. ".function") or {}
  at = at .. (custom and ".custom" or ".function")
  part.name = how.name(how.need(fields.name, at .. ".name"), at .. ".name") or ""
  if custom then
    part.arguments = custom_tool.wrap(how.text(fields.input, at .. ".input") or "")
  else
    part.arguments = chat_messages.arguments(fields.arguments, how, at .. ".arguments")
  end
  return part
end

local function read_images(out, images, how, path)
  for _, image, at in how.each(images, path) do
    if image.image_url then out[#out + 1] = PARTS.image_url(image, how, at or path) end
  end
end

---The parts of an assistant's message: thinking, content, refusal, images, calls.
---@param message table
---@param ctx table
---@param how table
---@param at string
---@param numbers { calls: integer } calls counted so far, for the ids of those that have none
---@return table[] parts
function chat_messages.assistant(message, ctx, how, at, numbers)
  local out = {}
  read_thinking(out, message, how, at)
  if not body.is_text(message.content) or body.size(message.content) > 0 then
    chat_messages.content(out, message.content, ctx, how, at .. ".content")
  end
  local refusal = how.text(message.refusal, at .. ".refusal")
  if refusal and body.size(refusal) > 0 then out[#out + 1] = { type = "refusal", text = refusal } end
  read_images(out, message.images, how, at .. ".images")
  for _, call, where in how.each(message.tool_calls, at .. ".tool_calls") do
    out[#out + 1] = read_call(call, ctx, how, where or at, numbers.calls)
    numbers.calls = numbers.calls + 1
  end
  return out
end

-- ---------------------------------------------------------------- a conversation

local function read_result(message, ctx, how, at, names)
  local id = how.name(how.need(message.tool_call_id, at .. ".tool_call_id"), at .. ".tool_call_id")
  local parts = {}
  chat_messages.content(parts, message.content, ctx, how, at .. ".content")
  return { type = "result", id = id, name = names[id], parts = parts }
end

local ROLES = { system = true, developer = true, user = true, assistant = true, tool = true }

local function read_role(message, how, at)
  local role = how.name(how.need(message.role, at .. ".role"), at .. ".role")
  if role == "function" or message.function_call then
    how.refuse(at .. ": the oldest form of calls cannot be translated; use tool_calls and role \"tool\"")
  end
  if not ROLES[role] then
    how.refuse(('%s.role: expected "system", "developer", "user", "assistant" or "tool", found "%s"')
      :format(at, role))
  end
  return role
end

---The messages of a request.
---@param messages any
---@param ctx table
---@param how table
---@return table[]
function chat_messages.read(messages, ctx, how)
  local out, names, numbers = {}, {}, { calls = 0 }
  for _, message, at in how.each(how.need(messages, "messages"), "messages") do
    local role = read_role(message, how, at)
    local last = out[#out]
    if role == "tool" then
      if not last or last.role ~= "tool" then
        last = { role = "tool", parts = {} }
        out[#out + 1] = last
      end
      last.parts[#last.parts + 1] = read_result(message, ctx, how, at, names)
    else
      local parts = {}
      if role == "assistant" then
        if message.audio then ctx:drop(at .. ".audio") end
        parts = chat_messages.assistant(message, ctx, how, at, numbers)
        for _, part in ipairs(parts) do
          if part.type == "call" then names[part.id] = part.name end
        end
      else
        chat_messages.content(parts, how.need(message.content, at .. ".content"), ctx, how, at .. ".content")
      end
      out[#out + 1] = { role = role, parts = parts, name = how.name(message.name, at .. ".name") }
    end
  end
  return out
end

return chat_messages
