-- SPDX-License-Identifier: MIT
-- JSON schemas as one maker takes what was written for another: closed objects, limits that a model cannot be
-- held to, strict tools. Schemas are raw JSON, and stay in the order that they were written in. Pure
-- functions.

local body = require "moongate.body"
local shape = require "moongate.dialect.shape"

local json_schema = {}

-- Longer schemas are left as they are: looking at one costs time.
local MAX_LOOK = 64 * 1024
local MAX_DEPTH = 32

-- No arguments at all.
json_schema.NONE = '{"type":"object","properties":{},"required":[],"additionalProperties":false}'

---The schema of a tool's arguments: that of an object; one that says nothing takes anything. A strict tool's
---is closed.
---@param parameters any RAW or nil
---@param strict? boolean
---@return any RAW
function json_schema.of_arguments(parameters, strict)
  if not parameters and strict then return body.raw(json_schema.NONE) end
  local text = parameters and body.string(body.text(parameters), 16)
  if not parameters or body.kind(parameters) ~= "object" or text and not text:find("[^%s{}]") then
    return body.raw('{"type":"object","properties":{}}')
  end
  return parameters
end

-- ---------------------------------------------------------------- for Claude

-- Limits that Claude's grammar does not know: it refuses a schema that has them.
local LIMITS = { "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength",
  "maxLength", "minItems", "maxItems", "minProperties", "maxProperties" }

-- A property of such a name has an object behind it, a limit a number. One item at least can be asked for.
local function without_limits(text)
  local gone = {}
  for _, name in ipairs(LIMITS) do
    local function cut(number)
      if name == "minItems" and (tonumber(number) or 0) <= 1 then return nil end
      if gone[#gone] ~= name then gone[#gone + 1] = name end
      return ""
    end
    text = text:gsub(',%s*"' .. name .. '"%s*:%s*(-?%d[%d.eE+-]*)', cut)
    text = text:gsub('"' .. name .. '"%s*:%s*(-?%d[%d.eE+-]*)%s*,', cut)
    text = text:gsub('"' .. name .. '"%s*:%s*(-?%d[%d.eE+-]*)', cut)
  end
  return text, gone
end

local function closed(text)
  if text:find('"additionalProperties"', 1, true) then return text end
  text = text:gsub('("type"%s*:%s*"object")', '%1,"additionalProperties":false')
  return (text:gsub('("type"%s*:%s*%[%s*"object"%s*,%s*"null"%s*%])', '%1,"additionalProperties":false'))
end

---A schema that Claude keeps its answers to: its objects are closed where it says nothing of it, and limits
---of numbers and lengths are left out.
---@param schema any RAW
---@return any RAW
---@return string[] gone names of the limits
function json_schema.for_claude(schema)
  local text = body.string(body.text(schema), MAX_LOOK)
  if not text then return schema, {} end
  local fitting, gone = without_limits(text)
  fitting = closed(fitting)
  if fitting == text then return schema, gone end
  return body.raw(fitting) or schema, gone
end

local JSON_ONLY = "Answer with one JSON %s and nothing else: no words around it, no code fence."

---Whether a schema is that of an object; of none, and of one too long to look at, it is taken so.
---@param schema any RAW or nil
---@return boolean
function json_schema.is_object(schema)
  if not schema or body.size(body.text(schema)) > MAX_LOOK then return true end
  local root = shape.as_object(body.table(schema)) or {}
  return root.type == "object" or root.properties ~= nil or root["$ref"] ~= nil
end

---What asks in words for an answer in JSON, where there is no field for it.
---@param format table of the common form
---@return string|userdata
function json_schema.in_words(format)
  if not format.schema then return JSON_ONLY:format "object" end
  local kind = json_schema.is_object(format.schema) and "object" or "value"
  local asked = JSON_ONLY:format(kind) .. " It must match this JSON schema:\n"
  return body.join { asked, body.text(format.schema) }
end

-- ---------------------------------------------------------------- strict tools

-- Fields that hold values, not schemas.
local VALUES = { enum = true, const = true, default = true, examples = true, required = true }

local look

local function look_at_object(schema, found, depth)
  local required = {}
  for _, name in ipairs(shape.as_list(schema.required) or {}) do required[name] = true end
  if schema.additionalProperties ~= false then found.open = true end
  for name, property in pairs(shape.as_object(schema.properties) or {}) do
    if not required[name] then found.optional = true end
    look(property, found, depth)
  end
end

function look(schema, found, depth)
  if type(schema) ~= "table" or not (shape.as_object(schema) or shape.as_list(schema)) then return end
  if depth > MAX_DEPTH then
    found.open = true
    return
  end
  local kind = schema.type
  local is_object = kind == "object" or shape.as_object(schema.properties)
    or shape.as_list(kind) and kind[1] == "object"
  if is_object then look_at_object(schema, found, depth + 1) end
  for name, value in pairs(schema) do
    if name ~= "properties" and not VALUES[name] then look(value, found, depth + 1) end
  end
end

local function traits_of(parameters)
  local found = {}
  if not parameters or body.size(body.text(parameters)) > MAX_LOOK then return found end
  look(body.table(parameters), found, 0)
  return found
end

---Whether OpenAI takes the tool as strict: all objects are closed, and all their properties required.
---@param parameters any RAW or nil
---@return boolean
function json_schema.is_strict_for_openai(parameters)
  local found = traits_of(parameters)
  return not found.open and not found.optional
end

---Whether Claude takes the tool as strict: all objects are closed, and nothing is limited.
---@param parameters any RAW or nil
---@return boolean
function json_schema.is_strict_for_claude(parameters)
  if not parameters then return true end
  if traits_of(parameters).open then return false end
  local text = body.string(body.text(parameters), MAX_LOOK)
  return not text or #select(2, without_limits(text)) == 0
end

return json_schema
