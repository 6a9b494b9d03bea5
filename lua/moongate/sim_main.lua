-- SPDX-License-Identifier: MIT
-- Runs simulator tests and reports in TAP (version 13). Returns function(args) → exit status. Arguments:
-- "--filter", text (part of a case's "file: name"), and the names of test files; none = every test file
-- of the load.

local core = require "moongate.sim_core"
local cases = require "moongate.sim_cases"

local FAILED, PASSED = 1, 0

local function options_of(args)
  local options, i = { files = {} }, 1
  while args[i] do
    if args[i] == "--filter" then
      options.filter, i = args[i + 1], i + 1
    else
      options.files[#options.files + 1] = args[i]
    end
    i = i + 1
  end
  if #options.files == 0 then options.files = core.tests() end
  return options
end

local function selected(options)
  local out = {}
  for _, file in ipairs(options.files) do
    for _, case in ipairs(cases.of(file)) do
      if case.problem or not options.filter or case.full:find(options.filter, 1, true) then
        out[#out + 1] = case
      end
    end
  end
  return out
end

local function quoted(text)
  return '"' .. text:gsub('["\\]', "\\%0"):gsub("\t", "\\t") .. '"'
end

-- What the message of a failure says, as the lines of a YAML block: where, what, and both values.
local function diagnosis(case, problem)
  local where, text = cases.place(case, problem)
  local lines = { "  ---", "  at: " .. where }
  local first, more = text:match("^([^\n]*)\n?(.*)$")
  table.insert(lines, 2, "  message: " .. quoted(first))
  local others = {}
  for line in more:gmatch("[^\n]+") do
    local name, value = line:match("^(%l+): (.*)$")
    if name == "found" or name == "expected" then
      lines[#lines + 1] = ("  %s: %s"):format(name, quoted(value))
    else
      others[#others + 1] = "    " .. line
    end
  end
  if others[1] then
    lines[#lines + 1] = "  more: |"
    for _, line in ipairs(others) do lines[#lines + 1] = line end
  end
  lines[#lines + 1] = "  ...\n"
  return table.concat(lines, "\n")
end

---@param args string[]
---@return integer status 0 when every case passed and there was one
return function(args)
  local chosen = selected(options_of(args))
  core.print(("TAP version 13\n1..%d\n"):format(#chosen))
  local failed, began = 0, core.now()
  for i, case in ipairs(chosen) do
    local problem = cases.run(case)
    core.print(("%s %d - %s\n"):format(problem and "not ok" or "ok", i, case.full))
    if problem then
      failed = failed + 1
      core.print(diagnosis(case, problem))
    end
  end
  core.print(("# %d passed, %d failed (%.2f s)\n"):format(#chosen - failed, failed, core.now() - began))
  return failed == 0 and #chosen > 0 and PASSED or FAILED
end
