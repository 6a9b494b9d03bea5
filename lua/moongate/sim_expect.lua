-- SPDX-License-Identifier: MIT
-- Assertions for simulator tests. Each raises at the line that called it, with a message whose further
-- lines show both values. Knows nothing of worlds.

local expect = {}

local show

local function show_table(value, depth)
  local out, names = {}, {}
  for i = 1, #value do out[i] = show(value[i], depth + 1) end
  for name in pairs(value) do
    if not (math.type(name) == "integer" and name >= 1 and name <= #value) then
      names[#names + 1] = tostring(name)
    end
  end
  table.sort(names)
  for _, name in ipairs(names) do out[#out + 1] = name .. " = " .. show(value[name], depth + 1) end
  return "{ " .. table.concat(out, ", ") .. " }"
end

-- A value as a person reads it, on one line.
function show(value, depth)
  local kind = type(value)
  if kind == "string" then
    return '"' .. value:gsub("[%c]", function(c) return ("\\x%02x"):format(c:byte()) end) .. '"'
  end
  if kind == "number" then return ("%.14g"):format(value) end
  if kind == "table" and depth < 4 then return show_table(value, depth) end
  return tostring(value)
end

---@param value any
---@return string on one line
function expect.show(value)
  return show(value, 0)
end

-- Raises at the caller of the assertion that calls it. Not to be tail-called: that would lose the line.
local function fail(message, found, expected)
  error(("%s\nfound: %s\nexpected: %s"):format(message, found, expected), 3)
end

local function same(a, b)
  if a == b then return true end
  if type(a) ~= "table" or type(b) ~= "table" then return false end
  for key, item in pairs(a) do
    if not same(item, b[key]) then return false end
  end
  for key in pairs(b) do
    if a[key] == nil then return false end
  end
  return true
end

---The same value; tables are compared by what is in them.
---@param found any
---@param expected any
---@param what? string names the value in the message
function expect.equal(found, expected, what)
  if not same(found, expected) then
    fail(what and what .. " is not what was expected" or "the values differ", show(found, 0),
      show(expected, 0))
  end
end

---A number, give or take.
---@param found number
---@param expected number
---@param give? number 1e-6
---@param what? string
function expect.near(found, expected, give, what)
  if type(found) ~= "number" or math.abs(found - expected) > (give or 1e-6) then
    fail((what or "the number") .. " is not near",
      show(found, 0), ("%s, give or take %g"):format(show(expected, 0), give or 1e-6))
  end
end

---A number in a range, both ends included.
---@param found number
---@param low number
---@param high number
---@param what? string
function expect.between(found, low, high, what)
  if type(found) ~= "number" or found < low or found > high then
    fail((what or "the number") .. " is out of range", show(found, 0),
      ("%s to %s"):format(show(low, 0), show(high, 0)))
  end
end

---Anything but false and nil.
---@param found any
---@param what? string
function expect.ok(found, what)
  if not found then fail((what or "the value") .. " does not hold", show(found, 0), "a true value") end
end

---A text that holds another, as it is.
---@param text string
---@param part string
---@param what? string
function expect.contains(text, part, what)
  if not tostring(text):find(part, 1, true) then
    fail((what or "the text") .. " does not contain it", show(text, 0), "…" .. show(part, 0) .. "…")
  end
end

---A text that fits a Lua pattern.
---@param text string
---@param pattern string
---@param what? string
function expect.matches(text, pattern, what)
  if not tostring(text):find(pattern) then
    fail((what or "the text") .. " does not match", show(text, 0), "to match " .. show(pattern, 0))
  end
end

---The function, called with the further arguments, raises with a message that holds `part`; the two
---may come in either order.
---@param part string
---@param run fun(...)
---@param ... any
function expect.raises(part, run, ...)
  if type(part) == "function" then part, run = run, part end
  local good, message = pcall(run, ...)
  if good then fail("nothing was raised", "no error", "…" .. show(part, 0) .. "…") end
  if not tostring(message):find(part, 1, true) then
    fail("something else was raised", show(message, 0), "…" .. show(part, 0) .. "…")
  end
end

return expect
