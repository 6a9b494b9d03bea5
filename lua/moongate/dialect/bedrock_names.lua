-- SPDX-License-Identifier: MIT
-- Names of tools at Bedrock: letters, digits, _ and -, 64 at most. Others are written so that they fit, and
-- are given back in the answer. Which stands for which follows from the request's tools alone.

local names = {}

local MAX = 64

local function fitting(name)
  local safe = name:gsub("[^%w_-]", "_"):sub(1, MAX)
  return safe == "" and "_" or safe
end

---@class moongate.BedrockNames
---@field to table<string, string> as written for Bedrock
---@field from table<string, string> back

---@param request table|nil of the common form
---@return moongate.BedrockNames
function names.of(request)
  local map = { to = {}, from = {} }
  for _, tool in ipairs(request and request.tools or {}) do
    local safe = fitting(tool.name)
    local n = 1
    while map.from[safe] and map.from[safe] ~= tool.name do
      n = n + 1
      safe = fitting(tool.name):sub(1, MAX - 4) .. "_" .. n
    end
    map.to[tool.name], map.from[safe] = safe, tool.name
  end
  return map
end

---@param map moongate.BedrockNames
---@param name string
---@return string
function names.write(map, name) return map.to[name] or fitting(name) end

---@param map moongate.BedrockNames
---@param name string
---@return string
function names.read(map, name) return map.from[name] or name end

return names
