-- SPDX-License-Identifier: MIT
-- The conformance kit over every dialect that is shipped, and over files that are wrong on purpose.

local conformance = require "moongate.dialect.conformance"
local expect = require "expect"

local SHIPPED = { "anthropic", "azure", "bedrock", "gemini", "openai", "responses" }

-- A dialect that is right, but for what `spoil` does to it.
local function spoiled(spoil)
  local dialect = {}
  for _, from in ipairs { require "dialects.anthropic", require "moongate.dialect.anthropic" } do
    for name, value in pairs(from) do dialect[name] = value end
  end
  dialect.functions = nil
  spoil(dialect)
  return dialect
end

local function after(dialect, name, change)
  local right = dialect[name]
  dialect[name] = function(...)
    local out = right(...)
    change(out, ...)
    return out
  end
end

-- What is wrong with a file, and a part of what the kit says of it.
local WRONG = {
  { "a feature is lost without a word", function(d)
    after(d, "write_request", function(out) out.top_k = nil end)
  end, "top_k came back changed" },
  { "what it cannot it does not say", function(d)
    d.write_request = function(request) return { messages = request.messages } end
  end, "nothing is dropped or refused" },
  { "what it drops it does not declare", function(d) d.cannot = {} end, "which `cannot` does not tell" },
  { "a seal reaches the provider", function(d)
    after(d, "write_request", function(out,
      request) out.extra = request.messages[2] and request.messages[2].parts end)
  end, "reaches the provider" },
  { "it keeps something between calls", function(d)
    local n = 0
    after(d, "write_request", function(out)
      n = n + 1
      out.number = n
    end)
  end, "the second time" },
  { "it changes what it is given", function(d)
    after(d, "write_request", function(_, request) request.messages[1].role = "other" end)
  end, "changes the request" },
  { "it cannot be written", function(d)
    after(d, "write_answer", function(out) out.self = function() end end)
  end, "is not JSON" },
  { "a wrong body makes it crash", function(d)
    after(d, "read_request", function(_, from) return #from.messages[1].content end)
  end, "attempt to" },
  { "texts of a stream are held back", function(d)
    d.writer = function()
      return function(delta, emit) if delta.kind == "end" then emit(nil, {}) end end
    end
  end, "does not go out in the turn" },
  { "one side is not whole", function(d) d.writer = nil end, "belong together" },
  { "it names what is no feature", function(d) d.cannot = { "smell" } end, 'there is no feature "smell"' },
}

-- Runs cases until one says `part`.
local function find_out(dialect, part)
  local said = {}
  for _, case in ipairs(conformance.cases("anthropic", dialect)) do
    local good, message = pcall(case.run)
    if not good and tostring(message):find(part, 1, true) then return end
    said[#said + 1] = not good and tostring(message) or nil
  end
  expect.contains(table.concat(said, "\n"), part)
end

return function(test)
  for _, name in ipairs(SHIPPED) do
    for _, case in ipairs(conformance.cases(name)) do test(case.name, case.run) end
  end
  for _, case in ipairs(WRONG) do
    test("it is found out that " .. case[1], function()
      find_out(spoiled(case[2]), case[3])
    end)
  end
end
