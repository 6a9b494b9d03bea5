-- SPDX-License-Identifier: MIT
-- What tests say about values. Each raises at its caller's line.

local expect = {}

function expect.equal(found, expected, what)
  if found ~= expected then
    error(("%s: found %s, expected %s"):format(what or "value", tostring(found), tostring(expected)), 2)
  end
end

function expect.near(found, expected, what)
  if type(found) ~= "number" or math.abs(found - expected) > 1e-6 then
    error(("%s: found %s, expected about %s"):format(what or "value", tostring(found), expected), 2)
  end
end

function expect.between(found, low, high, what)
  if type(found) ~= "number" or found < low or found > high then
    error(("%s: found %s, expected %s to %s"):format(what or "value", tostring(found), low, high), 2)
  end
end

function expect.contains(text, part, what)
  if not tostring(text):find(part, 1, true) then
    error(('%s: found "%s", expected it to contain "%s"'):format(what or "text", tostring(text), part), 2)
  end
end

function expect.raises(part, run, ...)
  local good, message = pcall(run, ...)
  if good then error("nothing was raised, expected: " .. part, 2) end
  if not tostring(message):find(part, 1, true) then
    error(('raised "%s", expected "%s"'):format(tostring(message), part), 2)
  end
end

function expect.list(found, expected, what)
  local a, b = {}, {}
  for i, item in ipairs(found) do a[i] = tostring(item) end
  for i, item in ipairs(expected) do b[i] = tostring(item) end
  local left, right = table.concat(a, " "), table.concat(b, " ")
  if left ~= right then
    error(("%s: found [%s], expected [%s]"):format(what or "list", left, right), 2)
  end
end

return expect
