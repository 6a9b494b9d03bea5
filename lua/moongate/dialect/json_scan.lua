-- SPDX-License-Identifier: MIT
-- Follows the braces of a JSON object that comes in pieces: a call of a tool is whole once its arguments are,
-- and what waits for it may go. Holds none of the pieces.

local body = require "moongate.body"
local common = require "moongate.dialect.common"

local json_scan = {}

---@class moongate.Scan
---@field depth integer
---@field opened boolean
---@field quoted boolean
---@field escaped boolean
---@field whole boolean the object has been closed
---@field lost boolean a piece was too long to look at: only all of them together tell
---@field ends boolean the last piece may be the object's

---@return moongate.Scan
function json_scan.new()
  return { depth = 0, opened = false, quoted = false, escaped = false, whole = false, lost = false,
    ends = false }
end

local function step(scan, c)
  if c == "\\" then
    scan.escaped = true
  elseif c == '"' then
    scan.quoted = not scan.quoted
  else
    scan.opened = true
    scan.depth = scan.depth + ((c == "{" or c == "[") and 1 or -1)
  end
end

local function follow(scan, piece)
  local at = 1
  while at <= #piece do
    if scan.escaped then
      scan.escaped, at = false, at + 1
    else
      local found = piece:find(scan.quoted and '["\\]' or '[{}%[%]"]', at)
      if not found then break end
      step(scan, piece:sub(found, found))
      at = found + 1
    end
  end
  scan.whole = scan.opened and scan.depth <= 0 and not scan.quoted
end

---@param scan moongate.Scan
---@param piece string|userdata
function json_scan.add(scan, piece)
  local long = type(piece) ~= "string"
  scan.lost, scan.ends = scan.lost or long, long or piece:find("}%s*$") ~= nil
  if scan.lost then
    scan.whole = false
  else
    follow(scan, piece)
  end
end

---Whether the pieces are an object, for who holds them.
---@param scan moongate.Scan
---@param pieces moongate.Pieces
---@return boolean
function json_scan.is_whole(scan, pieces)
  return scan.whole or scan.lost and scan.ends and body.raw(common.joined(pieces)) ~= nil
end

return json_scan
