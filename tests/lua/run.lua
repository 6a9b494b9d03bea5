-- SPDX-License-Identifier: MIT
-- Runs the policy tests: lua5.4 tests/lua/run.lua [name…]. Names select files (order, breaker) or parts
-- of test names (B05). Prints TAP with a plan; exit status 1 when anything failed or nothing ran.
-- A test file returns function(test) and calls test(name, function) for each case.

local here = arg[0]:match("^(.*)/[^/]*$") or "."
local root = here .. "/../.."
package.path = table.concat({ here .. "/?.lua", root .. "/lua/?.lua", root .. "/policies/?.lua" }, ";")
package.preload["moongate.body"] = function() return dofile(here .. "/body.lua") end

-- Undeclared globals are mistakes, here as in the sandbox.
setmetatable(_G, {
  __newindex = function(_, name) error("sets the global " .. tostring(name), 2) end,
  __index = function(_, name) error("reads the global " .. tostring(name), 2) end,
})

math.randomseed(42)
require "fake"

local FILES = { "schema", "trigger", "retry", "rotation", "order", "breaker", "keys", "failover",
  "settings", "hooks", "race", "notes", "policies", "meta", "body", "dialect_openai", "dialect_responses",
  "dialect_anthropic", "dialect_gemini", "dialect_azure", "dialect_bedrock", "roundtrip", "hostile",
  "conformance", "translate", "tool_names" }

local cases = {}
for _, file in ipairs(FILES) do
  local define = dofile(here .. "/" .. file .. "_test.lua")
  define(function(name, run)
    cases[#cases + 1] = { file = file, name = file .. ": " .. name, run = run }
  end)
end

local function selected(case)
  if #arg == 0 then return true end
  for _, name in ipairs(arg) do
    if case.file == name or case.name:find(name, 1, true) then return true end
  end
  return false
end

local chosen = {}
for _, case in ipairs(cases) do
  if selected(case) then chosen[#chosen + 1] = case end
end

io.write("TAP version 13\n1..", #chosen, "\n")
local failed = 0
for i, case in ipairs(chosen) do
  local good, message = xpcall(case.run, debug.traceback)
  io.write(good and "ok " or "not ok ", i, " - ", case.name, "\n")
  if not good then
    failed = failed + 1
    io.write("  # ", (tostring(message):gsub("\n", "\n  # ")), "\n")
  end
end
io.write(("# %d passed, %d failed\n"):format(#chosen - failed, failed))
os.exit(failed == 0 and #chosen > 0 and 0 or 1)
