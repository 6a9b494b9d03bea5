-- SPDX-License-Identifier: MIT
-- What Gemini's requests and answers share: parts of a content, seals, names in two spellings.

local base64 = require "moongate.dialect.base64"
local body = require "moongate.body"
local common = require "moongate.dialect.common"
local shape = require "moongate.dialect.shape"

local parts = {}

local SNAKE = {}

local function snake(name)
  local spelled = SNAKE[name]
  if not spelled then
    spelled = name:gsub("%u", function(c) return "_" .. c:lower() end)
    SNAKE[name] = spelled
  end
  return spelled
end

---A field in camelCase, as documented, or in snake_case, as Google's own servers take it too.
---@param object table
---@param name string in camelCase
---@return any
function parts.field(object, name)
  local v = object[name]
  if v == nil then v = object[snake(name)] end
  return v
end

---A list of names in both spellings, as a set.
---@param names string[]
---@return table<string, boolean>
function parts.both(names)
  local out = {}
  for _, name in ipairs(names) do out[name], out[snake(name)] = true, true end
  return out
end

---A list field; Google takes a single object for a list of one.
---@param object table
---@param name string
---@return any
function parts.list_field(object, name)
  local v = parts.field(object, name)
  return v ~= nil and shape.as_object(v) and next(v) ~= nil and { v } or v
end

-- ---------------------------------------------------------------- seals

-- google-genai decodes a thoughtSignature from base64 and refuses the whole answer where it is none, and
-- encodes it anew with the other alphabet: what another maker signed travels as base64 of what it was, behind
-- the seal's mark, whose 12 bytes keep their place.
local HEAD = 12
-- A longer signature is left out rather than made a string of Lua.
local MAX_SIGNATURE = 256 * 1024

---@param sealed string|userdata
---@return string|userdata|nil what stands as thoughtSignature
function parts.write_seal(sealed)
  if not sealed or common.unseal("gemini", sealed) then return sealed end
  local signature = body.string(body.after(sealed, HEAD), MAX_SIGNATURE)
  return signature and body.head(sealed, HEAD) .. base64.encode(signature)
end

---@param signature string|userdata|nil a thoughtSignature as the client gave it
---@return string|userdata|nil sealed
function parts.read_seal(signature)
  if not signature then return nil end
  local sealed = common.seal("gemini", signature)
  if common.unseal("gemini", sealed) then return sealed end
  local text = body.string(body.after(sealed, HEAD), MAX_SIGNATURE * 4 // 3 + 4)
  local decoded = text and base64.decode(text)
  return decoded and body.head(sealed, HEAD) .. decoded
end

-- ---------------------------------------------------------------- reading

local function read_thinking(text, signature)
  return { type = "thinking", text = text or "", signature = signature or common.seal("gemini", "") }
end

---A blob's part by its media type: image, audio or file.
---@param media_type string
---@param part table
---@return table
function parts.typed(media_type, part)
  part.media_type = media_type
  part.type = media_type:match("^(%a+)/")
  if part.type ~= "image" and (part.type ~= "audio" or not part.data) then part.type = "file" end
  return part
end

-- Google takes both alphabets of base64, and its SDK for Python writes the one for URLs; others take one.
local function read_blob(blob)
  local media_type = shape.as_name(parts.field(blob, "mimeType")) or "application/octet-stream"
  local data = shape.as_text(blob.data)
  local name = shape.as_name(parts.field(blob, "displayName"))
  return data and parts.typed(media_type, { data = body.base64(data), name = name })
end

local function read_file(file)
  local uri = shape.as_text(parts.field(file, "fileUri"))
  local media_type = shape.as_name(parts.field(file, "mimeType")) or "application/octet-stream"
  local name = shape.as_name(parts.field(file, "displayName"))
  return uri and parts.typed(media_type, { url = uri, name = name })
end

local function read_call(call)
  local args = call.args
  return {
    type = "call",
    id = shape.as_name(call.id),
    name = shape.as_name(call.name) or "",
    arguments = body.is_raw(args) and body.kind(args) == "object" and body.text(args) or "{}",
  }
end

---One part of a content in common form; nil for what has no place there (code that ran at the provider).
---@param part table
---@return table|nil
function parts.read(part)
  local signature = parts.read_seal(shape.as_text(parts.field(part, "thoughtSignature")))
  local text = shape.as_text(part.text)
  if part.thought == true then return read_thinking(text, signature) end
  local call = shape.as_object(parts.field(part, "functionCall"))
  if call then
    local out = read_call(call)
    out.signature = signature
    return out
  end
  if text then return { type = "text", text = text, signature = signature } end
  local blob = shape.as_object(parts.field(part, "inlineData"))
  if blob then return read_blob(blob) end
  local file = shape.as_object(parts.field(part, "fileData"))
  if file then return read_file(file) end
end

-- ---------------------------------------------------------------- writing

---Arguments as the object that Gemini wants: what is no JSON object stands under `_text`, so that neither the
---call nor what the model wrote is lost.
---@param text string|userdata
---@return any
function parts.args(text)
  if not text or body.size(text) == 0 then return body.object {} end
  local raw = body.raw(text)
  if raw and body.kind(raw) == "object" then return raw end
  return { _text = text }
end

---@param part table of type call
---@param signature string|userdata|nil
---@return table
function parts.write_call(part, signature)
  return {
    functionCall = { id = part.id, name = part.name or "", args = parts.args(part.arguments) },
    thoughtSignature = signature,
  }
end

---@param part table with data and media_type
---@param default string
---@return table
function parts.write_blob(part, default)
  return { inlineData = { mimeType = part.media_type or default, data = part.data } }
end

return parts
