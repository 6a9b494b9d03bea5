-- SPDX-License-Identifier: MIT
-- Bodies come from anywhere. What a client sent is checked where it is read: the wrong kind is refused with
-- the field, what was expected and what was found. What a provider sent is taken where it has the right kind
-- and passed over where it has not. Pure functions; values are those of moongate.body.

local body = require "moongate.body"

local shape = {}

local RAW_KINDS = { object = "an object", array = "a list", string = "a text", number = "a number",
  boolean = "a boolean", null = "null" }

---What a value of a body is, in words.
---@param v any
---@return string
function shape.kind(v)
  if v == nil or v == body.null then return "null" end
  if body.is_text(v) then return "a text" end
  if body.is_raw(v) then return RAW_KINDS[body.kind(v)] end
  if type(v) == "table" then return v[1] ~= nil and "a list" or next(v) and "an object" or "an empty one" end
  return "a " .. type(v)
end

---Ends the translation: the client's body cannot be translated.
---@param text string
function shape.refuse(text) error({ refuse = text }, 0) end

local function expected(v, path, what)
  shape.refuse(("%s: expected %s, found %s"):format(path, what, shape.kind(v)))
end

local function is_table(v)
  return type(v) == "table" and v ~= body.null and not body.is_text(v) and not body.is_raw(v)
end

---@param v any
---@return any[]|nil v when it is a list
function shape.as_list(v)
  if is_table(v) and (v[1] ~= nil or next(v) == nil) then return v end
end

---@param v any
---@return table|nil v when it is an object that has been decoded
function shape.as_object(v)
  if is_table(v) and v[1] == nil then return v end
end

---@param v any
---@return string|userdata|nil v when it is a text of any length
function shape.as_text(v)
  if body.is_text(v) then return v end
end

---@param v any
---@return number|nil v when it is a number
function shape.as_number(v)
  if type(v) == "number" then return v end
end

---@param v any
---@return integer|nil v when it is a whole number
function shape.as_integer(v)
  if type(v) == "number" then return math.tointeger(v) end
end

---@param v any
---@param max? integer bytes
---@return string|nil v when it is a plain string of at most `max` bytes, 4096 when not given
function shape.as_name(v, max)
  if body.is_text(v) then return body.string(v, max or 4096) end
end

---@param v any
---@return any|nil v when it is raw JSON of an object; a decoded object is made raw
function shape.as_raw(v)
  if body.is_raw(v) then return body.kind(v) == "object" and v or nil end
  local object = shape.as_object(v)
  return object and body.raw_of(object)
end

local function no_item() end

---The objects of a list, for a provider's bytes: what is no list has none, what is no object is passed over.
---@param v any
---@return fun(): integer|nil, table|nil
function shape.items(v)
  local list, i = shape.as_list(v), 0
  if not list then return no_item end
  return function()
    while true do
      i = i + 1
      if list[i] == nil then return nil end
      if shape.as_object(list[i]) then return i, list[i] end
    end
  end
end

---@param v any
---@param path string
---@return any v
function shape.need(v, path)
  if v == nil or v == body.null then shape.refuse(path .. ": expected a value, found none") end
  return v
end

---@param as fun(v: any): any
---@param what string
---@return fun(v: any, path: string): any
local function checker(as, what)
  return function(v, path)
    if v == nil or v == body.null then return nil end
    local good = as(v)
    if good == nil then expected(v, path, what) end
    return good
  end
end

-- Each returns v, or nil when it is absent or null, or refuses.
shape.list = checker(shape.as_list, "a list")
shape.object = checker(shape.as_object, "an object")
shape.text = checker(shape.as_text, "a text")
shape.number = checker(shape.as_number, "a number")
shape.integer = checker(shape.as_integer, "a whole number")
shape.name = checker(shape.as_name, "a text of at most 4096 bytes")
shape.raw = checker(shape.as_raw, "an object")

---@param v any
---@param path string
---@return boolean|nil
function shape.boolean(v, path)
  if v == nil or v == body.null then return nil end
  if body.is_raw(v) and body.kind(v) == "boolean" then return body.table(v) end
  if type(v) ~= "boolean" then expected(v, path, "a boolean") end
  return v
end

---The objects of a list, for a client's bytes: refuses what is no list and no object.
---@param v any
---@param path string
---@return fun(): integer|nil, table|nil, string|nil
function shape.each(v, path)
  local list, i = shape.list(v, path), 0
  if not list then return no_item end
  return function()
    i = i + 1
    if list[i] == nil then return nil end
    local at = path .. "." .. (i - 1)
    return i, shape.object(shape.need(list[i], at), at), at
  end
end

-- The same names for a provider's bytes: what has the wrong kind counts as absent. Code that reads both
-- directions is handed the one or the other.
shape.soft = {
  list = shape.as_list, object = shape.as_object, text = shape.as_text, number = shape.as_number,
  integer = shape.as_integer, raw = shape.as_raw, each = shape.items,
  name = function(v) return shape.as_name(v) end,
  boolean = function(v) if type(v) == "boolean" then return v end end,
  need = function(v) return v end,
  refuse = function() end,
}

return shape
