-- SPDX-License-Identifier: MIT
-- Bodies that are wrong in one place, for the conformance kit: every value of a good body in turn replaced by
-- one of another kind. Pure functions.

local body = require "moongate.body"

local hostile = {}

local OTHERS = { 7, -0.5, "x", "", true, body.null, ("long "):rep(40), body.list {},
  body.list { 7, body.null },
  body.object {}, body.object { type = "x" } }
local FIRST_TABLE = 8

local function copy(v)
  if type(v) ~= "table" or v == body.null then return v end
  local out = {}
  for name, item in pairs(v) do out[name] = copy(item) end
  return next(out) == nil and v or out
end

local function paths_of(v, at, out)
  out[#out + 1] = at
  if type(v) ~= "table" or v == body.null then return out end
  local names = {}
  for name in pairs(v) do names[#names + 1] = name end
  table.sort(names, function(a, b) return tostring(a) < tostring(b) end)
  for _, name in ipairs(names) do
    local path = table.move(at, 1, #at, 1, {})
    path[#path + 1] = name
    paths_of(v[name], path, out)
  end
  return out
end

local function set(doc, path, value)
  if #path == 0 then return value end
  local at = doc
  for i = 1, #path - 1 do at = at[path[i]] end
  at[path[#path]] = value
  return doc
end

-- What a path is about: items of a list are alike, and so are objects that say the same of their kind.
local function meaning(doc, path)
  local at, words = doc, {}
  for i, name in ipairs(path) do
    local kind = at.type or at.role or at.object
    words[i] = (type(kind) == "string" and kind .. ":" or "") .. (type(name) == "number" and "#" or name)
    at = at[name]
  end
  return table.concat(words, ".")
end

---Calls see(json, what) for each variation whose meaning has not been seen.
---@param json string a good body
---@param seen table<string, boolean> grows
---@param see fun(json: string, what: string)
function hostile.each(json, seen, see)
  local doc = body.decode(json, nil, math.maxinteger)
  for _, path in ipairs(paths_of(doc, {}, {})) do
    local about = meaning(doc, path)
    if not seen[about] then
      seen[about] = true
      -- A body that is no object or list does not come this far.
      for i = #path == 0 and FIRST_TABLE or 1, #OTHERS do
        local other = OTHERS[i]
        local text = body.encode(set(copy(doc), path, other))
        see(text, ("%s = %s"):format(about == "" and "the body" or about, body.encode(other):sub(1, 40)))
      end
    end
  end
end

return hostile
