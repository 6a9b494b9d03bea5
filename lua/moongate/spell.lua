-- SPDX-License-Identifier: MIT
-- Finds the name somebody probably meant. Pure; used by messages only.

local spell = {}

local MAX = 64 -- longer words are not worth the time

-- Levenshtein distance with one row.
local function distance(a, b)
  local row = {}
  for j = 0, #b do row[j] = j end
  for i = 1, #a do
    local diagonal, left = row[0], i
    row[0] = i
    for j = 1, #b do
      local cost = a:byte(i) == b:byte(j) and 0 or 1
      local best = math.min(row[j] + 1, left + 1, diagonal + cost)
      diagonal, row[j], left = row[j], best, best
    end
  end
  return row[#b]
end

---The nearest of the names, if any is near.
---@param word any
---@param names table<string, any> names are the keys
---@return string|nil
function spell.nearest(word, names)
  if type(word) ~= "string" or #word > MAX then return nil end
  local best, best_distance = nil, math.max(2, #word // 3) + 1
  for name in pairs(names) do
    if type(name) == "string" and #name <= MAX then
      local d = distance(word:lower(), name:lower())
      if d < best_distance or (d == best_distance and best and name < best) then
        best, best_distance = name, d
      end
    end
  end
  return best
end

---"; did you mean "x"?", or nothing.
---@param word any
---@param names table<string, any>
---@return string
function spell.hint(word, names)
  local nearest = spell.nearest(word, names)
  return nearest and ('; did you mean "%s"?'):format(nearest) or ""
end

return spell
