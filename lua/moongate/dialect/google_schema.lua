-- SPDX-License-Identifier: MIT
-- Google's own way to write a schema (types in capitals, nullable, propertyOrdering) made JSON schema. What
-- needs no change stays the bytes that it was, with the order of its properties.

local body = require "moongate.body"
local shape = require "moongate.dialect.shape"

local google_schema = {}

-- Schemas that nest deeper are refused: no model takes them, and each level costs a call.
local MAX_DEPTH = 64
-- Only schemas up to here are looked through for whether they need a change at all.
local MAX_LOOK = 64 * 1024

-- Signs that a schema is not JSON schema yet.
local SIGNS = { '"type"%s*:%s*"%u', '"nullable"', '"property_?[oO]rdering"', '"example"', '"any_of"',
  '"m[axin]+_',  '"m[axin]+%u%a+"%s*:%s*"', '"additional_properties"', '"defs"', '"ref"' }

local RENAMED = { any_of = "anyOf", max_items = "maxItems", min_items = "minItems", max_length = "maxLength",
  min_length = "minLength", max_properties = "maxProperties", min_properties = "minProperties",
  additional_properties = "additionalProperties", prefix_items = "prefixItems", defs = "$defs", ref = "$ref",
  property_ordering = "propertyOrdering" }

-- Google writes 64-bit numbers as texts.
local COUNTS = { maxItems = true, minItems = true, maxLength = true, minLength = true, maxProperties = true,
  minProperties = true }

local convert

local function convert_list(list, depth)
  local out = body.list {}
  for i, item in ipairs(list) do out[i] = convert(item, depth) end
  return out
end

-- The schemas of an object's properties, in the order that is asked for.
local function convert_properties(properties, ordering, depth)
  local out, done = {}, {}
  local function add(name)
    if type(name) ~= "string" or done[name] or properties[name] == nil then return end
    done[name] = true
    out[#out + 1] = { name, convert(properties[name], depth) }
  end
  for _, name in ipairs(shape.as_list(ordering) or {}) do add(name) end
  local rest = {}
  for name in pairs(properties) do rest[#rest + 1] = tostring(name) end
  table.sort(rest)
  for _, name in ipairs(rest) do add(name) end
  if #out == 0 then return body.object {} end
  return body.ordered(out)
end

local function type_of(value, nullable)
  local name = shape.as_name(value)
  if not name then return value end
  name = name:lower()
  if name == "type_unspecified" then return nil end
  return nullable and body.list { name, "null" } or name
end

local KEYWORDS = {
  properties = function(out, value, schema, depth)
    local object = shape.as_object(value)
    if not object then return end
    out.properties = convert_properties(object, schema.propertyOrdering or schema.property_ordering, depth)
  end,
  type = function(out, value, schema) out.type = type_of(value, schema.nullable == true) end,
  example = function(out, value) out.examples = body.list { value } end,
  nullable = function(out, value, schema, depth)
    local any = shape.as_list(schema.anyOf or schema.any_of)
    if value ~= true or schema.type ~= nil or not any then return end
    local list = convert_list(any, depth)
    list[#list + 1] = { type = "null" }
    out.anyOf = list
  end,
  propertyOrdering = function() end,
  -- "enum" is Google's mark for a choice of texts, which JSON schema shows by the list alone.
  format = function(out, value) if value ~= "enum" then out.format = value end end,
}

local NESTED = { items = true, additionalProperties = true, ["not"] = true }
local NESTED_LISTS = { anyOf = true, oneOf = true, allOf = true, prefixItems = true }

local function keyword(out, name, value, schema, depth)
  if KEYWORDS[name] then
    KEYWORDS[name](out, value, schema, depth)
  elseif NESTED[name] then
    out[name] = convert(value, depth)
  elseif NESTED_LISTS[name] then
    out[name] = out[name] or convert_list(shape.as_list(value) or {}, depth)
  elseif name == "$defs" then
    out[name] = convert_properties(shape.as_object(value) or {}, nil, depth)
  elseif COUNTS[name] and type(value) == "string" then
    out[name] = math.tointeger(tonumber(value)) or value
  else
    out[name] = value
  end
end

function convert(schema, depth)
  local object = shape.as_object(schema)
  if not object then return schema end
  if depth > MAX_DEPTH then
    shape.refuse(("a schema: expected at most %d levels, found more"):format(MAX_DEPTH))
  end
  local out = body.object {}
  for name, value in pairs(object) do keyword(out, RENAMED[name] or name, value, object, depth + 1) end
  return out
end

local function needs_change(raw)
  local text = body.string(body.text(raw), MAX_LOOK)
  if not text then return true end
  for _, sign in ipairs(SIGNS) do
    if text:find(sign) then return true end
  end
  return false
end

---@param raw userdata RAW of a schema as Google or as JSON schema writes it
---@return userdata RAW of a JSON schema
function google_schema.to_json_schema(raw)
  if not needs_change(raw) then return raw end
  return body.raw_of(convert(body.table(raw), 1))
end

return google_schema
