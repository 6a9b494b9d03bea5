-- SPDX-License-Identifier: MIT
-- Runs simulator tests for a load (`reload.tests`): prints one "file \t line \t what" for each case that
-- failed, and nothing for the others. Returns function(files) → how many failed.

local core = require "moongate.sim_core"
local cases = require "moongate.sim_cases"

local function tell(case, problem)
  local where, text = cases.place(case, problem)
  local file, line = where:match("^(.*):(%d+)$")
  core.print(("%s\t%s\ttest \"%s\": %s"):format(file or where, line or "0", case.name or case.full,
    (text:gsub("%s*\n%s*", "; "))))
end

---@param files string[]
---@return integer failed
return function(files)
  local failed = 0
  for _, file in ipairs(files) do
    for _, case in ipairs(cases.of(file)) do
      local problem = cases.run(case)
      if problem then
        failed = failed + 1
        tell(case, problem)
      end
    end
  end
  return failed
end
