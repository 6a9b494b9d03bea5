-- SPDX-License-Identifier: MIT
-- Names of tools: an API takes some signs and so many of them, and each name once. Others are written so that
-- they fit, and are given back in the answer. The driver does this around a dialect's functions, which see
-- names that their API takes: what it takes stands beside the functions as `tool_names`.

local tool_names = {}

---@class moongate.ToolNames what an API takes
---@field most integer bytes
---@field signs string a class of Lua's patterns, without its brackets
---@field start? string the same for the first sign, where it is another

---@class moongate.ToolNamesMap
---@field to table<string, string> as the provider is told them
---@field from table<string, string> back
---@field changed boolean whether any name is another, or stands twice

local function fitting(name, rule)
  local safe = name:gsub("[^" .. rule.signs .. "]", "_")
  if rule.start and not safe:find("^[" .. rule.start .. "]") then safe = "_" .. safe end
  safe = safe:sub(1, rule.most)
  return safe == "" and "_" or safe
end

local function add(map, name, rule)
  if map.to[name] then return end
  local base, n = fitting(name, rule), 1
  local safe = base
  while map.from[safe] do
    n = n + 1
    safe = base:sub(1, rule.most - 4) .. "_" .. n
  end
  map.to[name], map.from[safe] = safe, name
  map.changed = map.changed or safe ~= name
end

local function each_call(messages, visit)
  for _, message in ipairs(messages or {}) do
    for _, part in ipairs(message.parts or {}) do
      if (part.type == "call" or part.type == "result") and part.name then visit(part) end
    end
  end
end

-- Names that fit keep their place: those that do not are found others behind them.
local function fits(name, rule) return fitting(name, rule) == name end

---@param request table of the common form
---@param rule moongate.ToolNames|nil
---@return moongate.ToolNamesMap|nil nil where every name fits, and stands once
function tool_names.of(request, rule)
  if not rule then return nil end
  local map, names, seen = { to = {}, from = {}, changed = false }, {}, {}
  for _, tool in ipairs(request.tools or {}) do
    map.changed = map.changed or seen[tool.name] == true
    seen[tool.name] = true
    names[#names + 1] = tool.name
  end
  each_call(request.messages, function(part) names[#names + 1] = part.name end)
  for _, name in ipairs(names) do
    if fits(name, rule) then add(map, name, rule) end
  end
  for _, name in ipairs(names) do add(map, name, rule) end
  return map.changed and map or nil
end

local function with(object, fields)
  local copy = {}
  for name, value in pairs(object) do copy[name] = value end
  for name, value in pairs(fields) do copy[name] = value end
  return copy
end

local function renamed(list, names)
  local out = {}
  for i, part in ipairs(list) do
    local name = part.name and (part.type == "call" or part.type == "result") and names[part.name]
    out[i] = name and with(part, { name = name }) or part
  end
  return out
end

-- Of tools with one name the first stands.
local function write_tools(map, tools, ctx)
  local out, seen = {}, {}
  for i, tool in ipairs(tools) do
    if seen[tool.name] then
      ctx:drop("tools." .. i - 1)
    else
      seen[tool.name] = true
      out[#out + 1] = with(tool, { name = map.to[tool.name] })
    end
  end
  return out
end

---The request with names that the provider takes; the one that is given stays as it is.
---@param map moongate.ToolNamesMap
---@param request table
---@param ctx table
---@return table
function tool_names.write(map, request, ctx)
  local messages, choice = {}, request.tool_choice
  for i, message in ipairs(request.messages or {}) do
    messages[i] = with(message, { parts = renamed(message.parts or {}, map.to) })
  end
  if type(choice) == "table" then choice = with(choice, { name = map.to[choice.name] or choice.name }) end
  return with(request, { messages = messages, tool_choice = choice,
    tools = request.tools and write_tools(map, request.tools, ctx) })
end

---A whole answer with the client's names.
---@param map moongate.ToolNamesMap
---@param answer table
---@return table
function tool_names.read(map, answer)
  local candidates = {}
  for i, candidate in ipairs(answer.candidates or {}) do
    candidates[i] = with(candidate, { parts = renamed(candidate.parts or {}, map.from) })
  end
  return with(answer, { candidates = candidates })
end

---A delta of a stream with the client's names.
---@param map moongate.ToolNamesMap
---@param delta table
---@return table
function tool_names.read_delta(map, delta)
  local name = delta.kind == "call" and map.from[delta.name]
  return name and with(delta, { name = name }) or delta
end

return tool_names
