-- SPDX-License-Identifier: MIT
-- The conversation as Bedrock's Converse takes it: system texts on top, turns that alternate and begin with
-- the user's, no empty block, results first in the turn behind their calls.

local body = require "moongate.body"
local common = require "moongate.dialect.common"
local shape = require "moongate.dialect.shape"
local turn_rules = require "moongate.dialect.turn_rules"

local NAME = "bedrock"
local messages = {}

-- What stands before an answer that a conversation begins with, and beside a document without words.
local FILLER = "."

-- ---------------------------------------------------------------- media

local IMAGES = { png = "png", jpeg = "jpeg", jpg = "jpeg", gif = "gif", webp = "webp" }
local AUDIO = { wav = "wav", wave = "wav", ["x-wav"] = "wav", mp3 = "mp3", mpeg = "mp3", ogg = "ogg",
  opus = "opus", flac = "flac", aac = "aac", mp4 = "mp4", m4a = "m4a", webm = "webm", pcm = "pcm" }
local DOCUMENTS = { ["application/pdf"] = "pdf", ["text/csv"] = "csv", ["text/html"] = "html",
  ["text/plain"] = "txt", ["text/markdown"] = "md", ["application/msword"] = "doc",
  ["application/vnd.openxmlformats-officedocument.wordprocessingml.document"] = "docx",
  ["application/vnd.ms-excel"] = "xls",
  ["application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"] = "xlsx" }

-- Media type and bytes of a part. URLs are not fetched by Bedrock, other than those of its S3: which a client
-- must not name, since they would be read with the gateway's rights.
local function bytes_of(part)
  local media_type, data
  if part.data then
    media_type, data = common.data_url(part.data)
    return media_type or part.media_type, data or part.data
  elseif part.url then
    return common.data_url(part.url)
  end
end

local function subtype(media_type) return media_type and media_type:lower():match("^%a+/([%w%-%.+]+)") end

-- Documents' names: letters, digits, single spaces, - ( ) [ ], each once in a request.
local function document_name(part, taken)
  local name = (part.name or "document"):gsub("%.%w+$", ""):gsub("[^%w%s%-%(%)%[%]]", "-"):gsub("%s+", " ")
    :sub(1, 190)
  local n, unique = 1, name
  while taken[unique] do
    n = n + 1
    unique = name .. " " .. n
  end
  taken[unique] = true
  return unique
end

-- ---------------------------------------------------------------- parts

---@class moongate.BedrockTurn what a part is written with
---@field drop fun(what: string)
---@field ids table<string, string> of calls that had to be rewritten
---@field documents table<string, boolean> names taken
---@field cache boolean

local WRITE = {} -- type of part = function(part, turn) -> block or nil

function WRITE.text(part)
  return not turn_rules.is_blank(part.text) and { text = part.text } or nil
end
WRITE.refusal = WRITE.text

function WRITE.image(part, turn)
  local media_type, data = bytes_of(part)
  local format = IMAGES[subtype(media_type) or part.data and "png"]
  if not data or not format then return turn.drop("image") end
  if part.detail and part.detail ~= "auto" then turn.drop("detail") end
  return { image = { format = format, source = { bytes = data } } }
end

function WRITE.audio(part, turn)
  local media_type, data = bytes_of(part)
  local format = AUDIO[subtype(media_type)]
  if not data or not format then return turn.drop("audio") end
  return { audio = { format = format, source = { bytes = data } } }
end

function WRITE.file(part, turn)
  if part.text then return WRITE.text(part) end
  local media_type, data = bytes_of(part)
  local format = DOCUMENTS[media_type or "application/pdf"]
  if not data or not format then return turn.drop("file") end
  local name = document_name(part, turn.documents)
  return { document = { format = format, name = name, source = { bytes = data } } }
end

-- Thinking counts only with the signature that its maker gave it here.
function WRITE.thinking(part)
  local signature, foreign = common.unseal(NAME, part.signature)
  if foreign or not signature or body.size(signature) == 0 then return nil end
  return { reasoningContent = { reasoningText = { text = part.text or "", signature = signature } } }
end

function WRITE.redacted(part)
  local data, foreign = common.unseal(NAME, part.data)
  if foreign or not data then return nil end
  return { reasoningContent = { redactedContent = data } }
end

-- Ids of calls: a name of 64 bytes at most. A longer one is another within the request, the same for call and
-- result.
local function id_of(id, turn)
  id = id or ""
  if #id <= 64 and id:find("^[%w_.:-]+$") then return id end
  if not turn.ids[id] then
    turn.ids.n = (turn.ids.n or 0) + 1
    turn.ids[id] = "mgx_" .. turn.ids.n
  end
  return turn.ids[id]
end

function WRITE.call(part, turn)
  turn.calls[#turn.calls + 1] = part.name
  return { toolUse = { toolUseId = id_of(part.id, turn), name = part.name or "_",
    input = turn_rules.input_of(part, turn.drop) } }
end

local write_parts

function WRITE.result(part, turn)
  local content = write_parts(part.parts or {}, turn)
  if not content[1] then content[1] = { json = body.raw("{}") } end
  turn.results = true
  return { toolResult = { toolUseId = id_of(part.id, turn), content = content,
    status = part.is_error and "error" or nil } }
end

---A cache mark of the common form as the block that Converse has for it; nil: there is none.
---@param cache any RAW or a table
---@return table|nil
function messages.cache_point(cache)
  if cache == nil then return nil end
  if body.is_raw(cache) then cache = body.kind(cache) == "object" and body.table(cache) or nil end
  local mark = shape.as_object(cache)
  local ttl = mark and shape.as_name(mark.ttl)
  return { cachePoint = { type = "default", ttl = (ttl == "1h" or ttl == "5m") and ttl or nil } }
end

function write_parts(parts, turn)
  local blocks = {}
  for _, part in ipairs(parts) do
    local write = WRITE[part.type]
    local block
    if write then
      block = write(part, turn)
    else
      turn.drop(tostring(part.type))
    end
    blocks[#blocks + 1] = block
    if block and turn.cache and not block.reasoningContent then
      blocks[#blocks + 1] = messages.cache_point(part.cache)
    end
  end
  return blocks
end

-- ---------------------------------------------------------------- turns

local ROLES = { user = "user", tool = "user", assistant = "assistant" }
-- What an assistant's turn may hold; pictures and documents are the user's.
local SAID = { text = true, refusal = true, thinking = true, redacted = true, call = true }

local function of_assistant(parts, turn)
  local out = {}
  for _, part in ipairs(parts) do
    if SAID[part.type] then
      out[#out + 1] = part
    else
      turn.drop(tostring(part.type))
    end
  end
  return out
end

-- Results, each with its cache mark, before everything else of a turn; and words beside a document.
local function arrange(content)
  local results, rest, after_result, document, text = {}, {}, false, false, false
  for _, block in ipairs(content) do
    after_result = block.toolResult ~= nil or after_result and block.cachePoint ~= nil
    local list = after_result and results or rest
    list[#list + 1] = block
    document, text = document or block.document ~= nil, text or block.text ~= nil
  end
  if document and not text then rest[#rest + 1] = { text = FILLER } end
  return table.move(rest, 1, #rest, #results + 1, results)
end

-- White space at the end of what the assistant is to go on from is refused.
local function trim_end(turn)
  local last = turn.content[#turn.content]
  if turn.role == "assistant" and last.text then last.text = turn_rules.trimmed(last.text) end
end

local function add_system(system, blocks, drop)
  for _, block in ipairs(blocks) do
    if block.text or block.cachePoint then
      system[#system + 1] = block
    else
      drop((next(block)))
    end
  end
end

---@param request table of the common form
---@param ctx table
---@param traits moongate.BedrockTraits
---@return table system blocks
---@return table turns
---@return table used { calls = names of tools called, results = bool }
function messages.write(request, ctx, traits)
  local system, turns = {}, {}
  local turn = { ids = {}, documents = {}, calls = {}, cache = traits.cache }
  for i, message in ipairs(request.messages) do
    function turn.drop(what) ctx:drop(("messages.%d.%s"):format(i - 1, what)) end
    local role = ROLES[message.role]
    local parts = role == "assistant" and of_assistant(message.parts, turn) or message.parts
    local blocks = write_parts(parts, turn)
    if message.name then turn.drop("name") end
    if role then
      turn_rules.add(turns, role, blocks)
    else
      add_system(system, blocks, turn.drop)
    end
  end
  if not turns[1] and system[1] then
    turns[1], system = { role = "user", content = system }, {} -- instructions alone are what is asked
  end
  if not turns[1] then shape.refuse("messages: expected at least one with content, found none") end
  if turns[1].role == "assistant" then
    table.insert(turns, 1, { role = "user", content = { { text = FILLER } } })
  end
  for _, t in ipairs(turns) do t.content = arrange(t.content) end
  trim_end(turns[#turns])
  return system, turns, turn
end

---Ends a conversation with the user's turn, for a model that does not go on from an answer's beginning.
---@param turns table[]
function messages.end_with_user(turns)
  if turns[#turns].role == "user" then return end
  turns[#turns + 1] = { role = "user", content = { { text = FILLER } } }
end

return messages
