-- SPDX-License-Identifier: MIT
-- JSON for the simulator: bodies that clients and providers send, and what came back. Reading is the
-- core's; writing is done here, with the names of an object in order, so that the same value is always
-- the same text.

local core = require "moongate.sim_core"

local json = {}

local ESCAPES = { ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t" }

local function escape(c)
  return ESCAPES[c] or ("\\u%04x"):format(c:byte())
end

local function quoted(text)
  if not text:find('[%c"\\]') then return '"' .. text .. '"' end
  return '"' .. text:gsub('[%c"\\]', escape) .. '"'
end

local encode

local function names_of(value)
  local names = {}
  for name in pairs(value) do
    if type(name) ~= "string" then
      error(("a JSON object has names, not a %s, as keys"):format(type(name)), 0)
    end
    names[#names + 1] = name
  end
  table.sort(names)
  return names
end

local function encode_table(value)
  local out = {}
  if value[1] ~= nil then
    for i = 1, #value do out[i] = encode(value[i]) end
    return "[" .. table.concat(out, ",") .. "]"
  end
  for i, name in ipairs(names_of(value)) do out[i] = quoted(name) .. ":" .. encode(value[name]) end
  return "{" .. table.concat(out, ",") .. "}"
end

local function encode_number(value)
  if math.type(value) == "integer" then return ("%d"):format(value) end
  if value ~= value or value == math.huge or value == -math.huge then
    error("JSON has no NaN and no infinity", 0)
  end
  return value % 1 == 0 and math.abs(value) < 1e15 and ("%.0f"):format(value) or ("%.17g"):format(value)
end

function encode(value)
  local kind = type(value)
  if value == nil then return "null" end
  if kind == "boolean" then return tostring(value) end
  if kind == "number" then return encode_number(value) end
  if kind == "string" then return quoted(value) end
  if kind == "table" then return encode_table(value) end
  error("a " .. kind .. " cannot be written as JSON", 0)
end

---@param value any tables with a first item are lists, all others objects
---@return string
function json.encode(value)
  return encode(value)
end

---@param text string
---@return any|nil value nil when it is no JSON; null is nil
function json.decode(text)
  return (core.decode(text))
end

---One field of a decoded value.
---@param value any
---@param path string "choices.0.message.content"; counts from 0; "" is all of it
---@return any|nil
function json.at(value, path)
  for name in path:gmatch("[^.]+") do
    if type(value) ~= "table" then return nil end
    local n = math.tointeger(tonumber(name))
    local item = value[name]
    if item == nil and n then item = value[n + 1] end
    value = item
  end
  return value
end

return json
