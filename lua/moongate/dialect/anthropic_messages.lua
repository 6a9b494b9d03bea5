-- SPDX-License-Identifier: MIT
-- Anthropic messages: the conversation as the API takes it: system texts on top, turns that alternate and
-- begin with the user's, results first in the turn behind their calls, no empty text, an assistant's own
-- words only.

local body = require "moongate.body"
local common = require "moongate.dialect.common"
local shape = require "moongate.dialect.shape"
local turn_rules = require "moongate.dialect.turn_rules"

local NAME = "anthropic"
local messages = {}

-- What stands as the user's turn before an answer that a conversation begins with, and behind one that it
-- ends with, where the model does not go on from it.
local OPENING = "."

-- ---------------------------------------------------------------- parts


local WRITE = {} -- type of part = function(part, drop) -> block or nil

function WRITE.text(part)
  if turn_rules.is_blank(part.text) then return nil end
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
    if turn_rules.is_blank(part.text) then return nil end
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

function WRITE.call(part, drop)
  return { type = "tool_use", id = common.safe_id(part.id), name = part.name,
    input = turn_rules.input_of(part, drop) }
end

local write_parts

---Content that is one text is that text.
---@param blocks table[]
---@return table[]|string|userdata
function messages.content_of(blocks)
  local only = not blocks[2] and blocks[1]
  if only and only.type == "text" and not only.cache_control then return only.text end
  return blocks
end

function WRITE.result(part, drop)
  local content = write_parts(part.parts or {}, drop)
  return { type = "tool_result", tool_use_id = common.safe_id(part.id), is_error = part.is_error,
    content = content[1] and messages.content_of(content) }
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
  if turn.role == "assistant" and last.type == "text" then last.text = turn_rules.trimmed(last.text) end
end

-- What an assistant's turn may hold: pictures and documents are the user's.
local SAID = { text = true, thinking = true, redacted_thinking = true, tool_use = true }
local INSTRUCTED = { text = true }

local function only(blocks, allowed, drop)
  local kept = {}
  for _, block in ipairs(blocks) do
    if allowed[block.type] then
      kept[#kept + 1] = block
    else
      drop(block.type)
    end
  end
  return kept
end

local function read_turns(request, ctx)
  local system, turns = {}, {}
  for i, message in ipairs(request.messages) do
    local function drop(what) ctx:drop(("messages.%d.%s"):format(i - 1, what)) end
    local blocks = write_parts(message.parts, drop)
    if message.name then drop("name") end
    local role = ROLES[message.role]
    if role == "user" then
      turn_rules.add(turns, role, blocks)
    elseif role then
      turn_rules.add(turns, role, only(blocks, SAID, drop))
    else
      blocks = only(blocks, INSTRUCTED, drop)
      table.move(blocks, 1, #blocks, #system + 1, system)
    end
  end
  return system, turns
end

local function say_opening() return { role = "user", content = { { type = "text", text = OPENING } } } end

---The conversation of a request: system blocks, and turns whose content is a list of blocks.
---@param request table of the common form
---@param ctx table
---@return table[] system
---@return table[] turns
function messages.write(request, ctx)
  local system, turns = read_turns(request, ctx)
  if not turns[1] and system[1] then
    turns[1], system = { role = "user", content = system }, {} -- instructions alone are what is asked
  end
  if not turns[1] then shape.refuse("messages: expected at least one with content, found none") end
  if turns[1].role == "assistant" then table.insert(turns, 1, say_opening()) end
  for _, turn in ipairs(turns) do
    if turn.role == "user" then results_first(turn) end
  end
  trim_end(turns[#turns])
  return system, turns
end

---Ends a conversation with the user's turn, for a model that does not go on from an answer's beginning.
---@param turns table[]
function messages.end_with_user(turns)
  if turns[#turns].role == "assistant" then turns[#turns + 1] = say_opening() end
end

return messages
