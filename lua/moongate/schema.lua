-- SPDX-License-Identifier: MIT
-- Checks settings against the schema a policy declares, and completes them with its defaults. Finds
-- every mistake in one go, each with its path. Called by the loader for every route, and by
-- moongate.plan for copies that a policy made. Never raises on bad settings, never prints values that
-- might be secrets (headers), never changes its arguments.
--
-- A field is { type =, required =, default =, help =, unit =, min =, max = } and, by type:
--   enum    values = { … }; number = { min, max }: a number will do as well
--   list    of = field
--   table   fields = { name = field }, or of = field for free names, or neither: any data
--           switch = true: false turns it off, true means all defaults
--           partial = true: nothing is required nor filled in
--   boolean, number, integer, string, target, targets, trigger

local spell = require "moongate.spell"
local trigger = require "moongate.trigger"

local schema = {}

local ORDERS = { "listed", "round_robin", "weighted", "least_busy", "fastest", "cheapest", "sticky" }

---The names of the orders, for schemas.
schema.orders = ORDERS

local ENTRY = {
  target = { type = "target", required = true },
  weight = { type = "number", min = 0, max = 1000000 },
  cost = { type = "number", min = 0 },
  retries = { type = "integer", min = 0, max = 31 },
  request_timeout = { type = "number", min = 0 },
  set = { type = "table" },
  unset = { type = "list", of = { type = "string" } },
  headers = { type = "table", of = { type = "string" } },
}

local GROUP = {
  order = { type = "enum", values = ORDERS, default = "listed" },
  targets = { type = "list", of = { type = "entry" }, required = true, filled = true },
  weight = ENTRY.weight,
  cost = ENTRY.cost,
}

local checkers = {}
local MAX_DEPTH = 32

local function problem(ctx, path, message, warning)
  ctx.problems[#ctx.problems + 1] = { path = path, message = message, warning = warning or false }
  return nil
end

-- What was found. Strings are not shown: they may be secrets.
local function found(value)
  local kind = type(value)
  if kind == "number" or kind == "boolean" then return tostring(value) end
  return "a " .. kind
end

local function wrong(ctx, path, value, expected)
  return problem(ctx, path, ("found %s, expected %s"):format(found(value), expected))
end

local function join(path, key)
  if math.type(key) == "integer" then return ("%s[%d]"):format(path, key) end
  return path == "" and tostring(key) or path .. "." .. tostring(key)
end

local function sorted_keys(value)
  local keys = {}
  for key in pairs(value) do keys[#keys + 1] = key end
  table.sort(keys, function(a, b)
    if type(a) == type(b) and type(a) == "number" then return a < b end
    return tostring(a) < tostring(b)
  end)
  return keys
end

-- The names of a schema's fields in order. Policies share schemas, and a load looks at each many times.
local orders = {}

local function sorted_names(fields)
  local names = orders[fields]
  if not names then
    names = sorted_keys(fields)
    orders[fields] = names
  end
  return names
end

local function copy(value, depth)
  if type(value) ~= "table" then return value end
  depth = depth or 0
  if depth > MAX_DEPTH then return nil end
  local out = {}
  for key, item in pairs(value) do out[key] = copy(item, depth + 1) end
  return out
end

local function check(field, value, ctx, path)
  local checker = checkers[field.type]
  if not checker then
    return problem(ctx, path, ('the schema names an unknown type "%s"'):format(tostring(field.type)))
  end
  return checker(field, value, ctx, path)
end

-- Fills in what was not given. A default is checked like a value, so that nested tables complete.
local function complete(fields, given, out, ctx, path)
  for _, name in ipairs(sorted_names(fields)) do
    local field = fields[name]
    if given[name] == nil then
      if field.required then
        problem(ctx, join(path, name), "is missing")
      elseif field.default ~= nil then
        out[name] = check(field, field.default, ctx, join(path, name))
      end
    end
  end
end

local function check_fields(fields, value, ctx, path, partial)
  local out, was = {}, ctx.partial
  ctx.partial = partial or was
  for _, key in ipairs(sorted_keys(value)) do
    local field = fields[key]
    if field then
      out[key] = check(field, value[key], ctx, join(path, key))
    else
      problem(ctx, join(path, key), ('unknown setting "%s"%s'):format(tostring(key),
        spell.hint(key, fields)))
    end
  end
  if not ctx.partial then complete(fields, value, out, ctx, path) end
  ctx.partial = was
  return out
end

function checkers.boolean(_, value, ctx, path)
  if type(value) ~= "boolean" then return wrong(ctx, path, value, "true or false") end
  return value
end

function checkers.string(_, value, ctx, path)
  if type(value) ~= "string" or value == "" then return wrong(ctx, path, value, "a text") end
  return value
end

local function range(field)
  if field.min and field.max then
    return (" from %s to %s"):format(field.min, field.max)
  elseif field.min then
    return (" of at least %s"):format(field.min)
  end
  return field.max and (" of at most %s"):format(field.max) or ""
end

local function check_number(field, value, ctx, path, kind)
  local number = type(value) == "number" and value or nil
  if number and (number ~= number or number == math.huge or number == -math.huge) then number = nil end
  if number and kind == "a whole number" then number = math.tointeger(number) end
  if not number or (field.min and number < field.min) or (field.max and number > field.max) then
    local unit = field.unit and (" (%s)"):format(field.unit) or ""
    return wrong(ctx, path, value, kind .. range(field) .. unit)
  end
  return number
end

function checkers.number(field, value, ctx, path)
  return check_number(field, value, ctx, path, "a number")
end

function checkers.integer(field, value, ctx, path)
  return check_number(field, value, ctx, path, "a whole number")
end

function checkers.enum(field, value, ctx, path)
  local names = {}
  for _, name in ipairs(field.values) do names[name] = true end
  if type(value) == "string" and names[value] then return value end
  local expected = "one of " .. table.concat(field.values, ", ")
  if field.number then
    if type(value) == "number" then return check_number(field.number, value, ctx, path, "a number") end
    expected = expected .. " or a number" .. range(field.number)
  end
  if type(value) ~= "string" then return wrong(ctx, path, value, expected) end
  return problem(ctx, path, ('found "%s", expected %s%s'):format(value:sub(1, 60), expected,
    spell.hint(value, names)))
end

function checkers.list(field, value, ctx, path)
  if type(value) ~= "table" then return wrong(ctx, path, value, "a list") end
  local out, length = {}, #value
  for _, key in ipairs(sorted_keys(value)) do
    if math.type(key) ~= "integer" or key < 1 or key > length then
      problem(ctx, join(path, key), "does not belong in a list")
    else
      out[key] = check(field.of, value[key], ctx, join(path, key))
    end
  end
  if field.filled and length == 0 then problem(ctx, path, "is empty, expected at least one target") end
  return out
end

function checkers.table(field, value, ctx, path)
  if field.switch and type(value) == "boolean" then
    if not value then return false end
    value = {}
  end
  if type(value) ~= "table" then
    return wrong(ctx, path, value, field.switch and "a table, or false" or "a table")
  end
  if field.fields then return check_fields(field.fields, value, ctx, path, field.partial) end
  if not field.of then return copy(value) end
  local out = {}
  for _, key in ipairs(sorted_keys(value)) do
    if type(key) ~= "string" then
      problem(ctx, join(path, key), "found an index, expected a name")
    else
      out[key] = check(field.of, value[key], ctx, join(path, key))
    end
  end
  return out
end

function checkers.target(_, value, ctx, path)
  if type(value) ~= "string" then
    return wrong(ctx, path, value, '"provider/model" or "provider"')
  end
  local provider, model = value:match("^([^/]+)(.*)$")
  if not provider or model == "/" then
    return problem(ctx, path, ('found "%s", expected "provider/model" or "provider"'):format(value))
  end
  if ctx.providers and not ctx.providers[provider] then
    return problem(ctx, path, ('found "%s": no provider is named "%s"%s'):format(value, provider,
      spell.hint(provider, ctx.providers)))
  end
  return value
end

function checkers.entry(_, value, ctx, path)
  if type(value) == "table" then return check_fields(ENTRY, value, ctx, path) end
  return checkers.target(nil, value, ctx, path)
end

local function is_group(value)
  return type(value) == "table" and value.targets ~= nil
end

-- An entry of a list of targets is never left in part: it has no counterpart to be merged over.
function checkers.step(_, value, ctx, path)
  local was, out = ctx.partial, nil
  ctx.partial = nil
  if is_group(value) then
    out = check_fields(GROUP, value, ctx, path)
  else
    out = checkers.entry(nil, value, ctx, path)
  end
  ctx.partial = was
  return out
end

function checkers.targets(_, value, ctx, path)
  if type(value) == "string" then
    return problem(ctx, path, ('found "%s", expected a list: { "%s" }'):format(value, value))
  end
  return checkers.list({ of = { type = "step" }, filled = true }, value, ctx, path)
end

local function trigger_names()
  local names = {}
  for _, set in ipairs { trigger.classes, trigger.outcomes, trigger.presets } do
    for name in pairs(set) do names[name] = true end
  end
  return names
end

local function bad_trigger(ctx, path, value, expected)
  if type(value) ~= "string" then return wrong(ctx, path, value, expected) end
  return problem(ctx, path, ('found "%s", expected %s%s'):format(value:sub(1, 60), expected,
    spell.hint(value, trigger_names())))
end

function checkers.trigger(_, value, ctx, path)
  if type(value) ~= "table" then
    if trigger.presets[value] then return value end
    if trigger.known(value) then
      local item = type(value) == "string" and ('"%s"'):format(value) or tostring(value)
      return problem(ctx, path, ("found %s, expected a list: { %s }"):format(item, item))
    end
    return bad_trigger(ctx, path, value, '"backend_errors", "errors", "any" or a list')
  end
  local out = {}
  for _, key in ipairs(sorted_keys(value)) do
    local item = value[key]
    if math.type(key) ~= "integer" then
      problem(ctx, join(path, key), "does not belong in a list")
    elseif not trigger.known(item) then
      bad_trigger(ctx, join(path, key), item, 'a class, an outcome or a status (429, "5xx")')
    else
      out[#out + 1] = item
    end
  end
  return out
end

-- A mistake of the policy's author, not of who wrote the settings: told with the policy's file.
local function schema_problem(ctx, path, message)
  problem(ctx, path, message)
  ctx.problems[#ctx.problems].schema = true
end

local sound = {} -- schemas that were looked at and found good

-- What is wrong with the schema itself, whether or not a setting uses the part.
local function check_schema(fields, ctx, path)
  for _, name in ipairs(sorted_names(fields)) do
    local field, at = fields[name], join(path, name)
    if type(field) ~= "table" then
      schema_problem(ctx, at, "the schema has no table { type = … } here")
    elseif not checkers[field.type] then
      schema_problem(ctx, at, ('the schema names an unknown type "%s"%s'):format(tostring(field.type),
        spell.hint(field.type, checkers)))
    elseif type(field.fields) == "table" then
      check_schema(field.fields, ctx, at)
    end
  end
end

---Checks settings and completes them.
---@param fields table<string, table> the schema: name -> field
---@param settings table
---@param env? { providers?: table<string, any> } names that targets may use; none = not checked
---@return table completed plain copy with every default filled in
---@return moongate.Problem[] problems empty when all is well
function schema.check(fields, settings, env)
  local ctx = { problems = {}, providers = env and env.providers or nil }
  if type(settings) ~= "table" then
    wrong(ctx, "", settings, "a table of settings")
    return {}, ctx.problems
  end
  if not sound[fields] then
    check_schema(fields, ctx, "settings")
    if #ctx.problems > 0 then return {}, ctx.problems end
    sound[fields] = true
  end
  return check_fields(fields, settings, ctx, ""), ctx.problems
end

---The settings `over` laid over `base`, without changing either. Tables with fields of their own are
---merged field by field; everything else is replaced as a whole.
---@param fields table<string, table>
---@param base table
---@param over table
---@return table
function schema.overlay(fields, base, over)
  local out = copy(base)
  for key, value in pairs(over) do
    local field = fields[key]
    if field and field.fields and type(value) == "table" and type(out[key]) == "table" then
      out[key] = schema.overlay(field.fields, out[key], value)
    else
      out[key] = copy(value)
    end
  end
  return out
end

-- What a field says about itself, as plain data.
local TOLD = { "type", "required", "default", "help", "unit", "min", "max", "values", "number", "switch",
  "partial", "filled" }

local function describe_field(field, depth)
  local out = {}
  if type(field) ~= "table" or depth > MAX_DEPTH then return out end
  for _, name in ipairs(TOLD) do out[name] = copy(field[name], depth) end
  if type(field.of) == "table" then out.of = describe_field(field.of, depth + 1) end
  if type(field.fields) == "table" then
    out.fields = {}
    for name, inner in pairs(field.fields) do out.fields[name] = describe_field(inner, depth + 1) end
  end
  return out
end

---The schema as plain data, for people and programs that show settings: an independent copy without
---anything that only the checks use.
---@param fields table<string, table>
---@return table<string, table>
function schema.describe(fields)
  local out = {}
  for name, field in pairs(fields) do
    if type(name) == "string" then out[name] = describe_field(field, 1) end
  end
  return out
end

return schema
