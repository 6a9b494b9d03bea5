-- SPDX-License-Identifier: MIT
-- Parts of a message that chat completions and responses write alike but for the names around them: images,
-- audio, files, in data URLs and by reference. Pure functions.

local body = require "moongate.body"
local common = require "moongate.dialect.common"

local parts = {}

local AUDIO = { wav = "audio/wav", mp3 = "audio/mpeg", flac = "audio/flac", opus = "audio/opus",
  ogg = "audio/ogg", m4a = "audio/mp4", aac = "audio/aac", webm = "audio/webm", pcm16 = "audio/L16" }
local FORMATS = { ["audio/mp3"] = "mp3", ["audio/x-wav"] = "wav", ["audio/wave"] = "wav" }
for format, media_type in pairs(AUDIO) do FORMATS[media_type] = format end

-- File data without a data URL around it: the name tells what it is.
local FILES = { pdf = "application/pdf", txt = "text/plain", md = "text/markdown", csv = "text/csv",
  html = "text/html", json = "application/json", xml = "application/xml",
  docx = "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
  xlsx = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet" }

---@param url string|userdata|nil
---@param detail string|nil
---@return table|nil part
function parts.image(url, detail)
  if not url then return nil end
  local media_type, data = common.data_url(url)
  if data then return { type = "image", data = data, media_type = media_type, detail = detail } end
  return { type = "image", url = url, detail = detail }
end

---@param data string|userdata
---@param media_type string|nil
---@return string|userdata
function parts.data_url(data, media_type)
  return body.join { "data:", media_type or "application/octet-stream", ";base64,", data }
end

---Where an image is: its URL, or its data as one.
---@param part table
---@return string|userdata|nil
function parts.image_url(part)
  if part.data then return parts.data_url(part.data, part.media_type or "image/png") end
  return part.url
end

---@param audio table { data, format } as both APIs have it
---@param how table shape, or shape.soft
---@param path string
---@return table|nil part
function parts.audio(audio, how, path)
  local data = how.text(how.need(audio.data, path .. ".data"), path .. ".data")
  local format = how.name(audio.format, path .. ".format") or "wav"
  return data and { type = "audio", data = data, media_type = AUDIO[format] or "audio/" .. format }
end

---@param part table
---@return table|nil audio { data, format }
function parts.input_audio(part)
  if not part.data then return nil end
  local media_type = part.media_type or "audio/wav"
  return { data = part.data, format = FORMATS[media_type] or media_type:match("^audio/([%w]+)") or "wav" }
end

---@param file table { file_data, file_id, file_url, filename }
---@param how table shape, or shape.soft
---@param path string
---@return table|nil part
function parts.file(file, how, path)
  local name = how.name(file.filename, path .. ".filename")
  local data = how.text(file.file_data, path .. ".file_data")
  local part = { type = "file", name = name }
  if data then
    part.media_type, part.data = common.data_url(data)
    if not part.data then
      part.data = data
      part.media_type = FILES[(name or ""):match("%.(%w+)$") or "pdf"] or "application/octet-stream"
    end
    return part
  end
  part.id = how.name(file.file_id, path .. ".file_id")
  part.url = how.text(file.file_url, path .. ".file_url")
  if part.id or part.url then return part end
  how.refuse(path .. ": expected file_data, file_id or file_url, found none")
end

---A file as the fields of both APIs; nil when there is nothing of it that they have.
---@param part table
---@return table|nil
function parts.file_fields(part)
  if part.data then
    return { file_data = parts.data_url(part.data, part.media_type), filename = part.name or "file" }
  end
  if part.id then return { file_id = part.id, filename = part.name } end
  return nil
end

---A file that is text, said as text: both APIs take documents as PDF and the like only.
---@param part table
---@return string|userdata
function parts.file_text(part)
  if part.name then return body.join({ part.name, part.text }, "\n\n") end
  return part.text
end

---Texts of parts, in order; other parts are passed over.
---@param list table[]
---@return (string|userdata)[]
function parts.texts(list)
  local found = {}
  for _, part in ipairs(list) do
    if part.type == "text" then found[#found + 1] = part.text end
  end
  return found
end

return parts
