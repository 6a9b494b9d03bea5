-- SPDX-License-Identifier: MIT
-- The cases of simulator test files: found, run one by one, and what went wrong with them. What goes
-- wrong in a file, or in a case, is a failure of that file or case, and the others go on.

local core = require "moongate.sim_core"
local sim = require "moongate.sim"

local cases = {}

---@class moongate.SimCase
---@field full string "FILE: NAME"
---@field where string where it stands, "FILE:LINE"
---@field problem? string it cannot be run
---@field run function

---The cases of one file. A file that cannot be read, or that holds none, is a case that fails.
---@param file string
---@return moongate.SimCase[]
function cases.of(file)
  sim.take_cases()
  local good, message = core.call(function() core.load(file)() end)
  local found = sim.take_cases()
  local problem = not good and tostring(message) or #found == 0 and "there is no sim.test in this file"
  if problem then
    found = { { name = "is read", problem = problem, where = file } }
  end
  for _, case in ipairs(found) do case.full = file .. ": " .. case.name end
  return found
end

---What went wrong, nil when it passed.
---@param case moongate.SimCase
---@return string|nil
function cases.run(case)
  if case.problem then return case.problem end
  local good, message = core.call(case.run)
  sim.close_worlds()
  if not good then return tostring(message) end
end

---Where a problem is, "FILE:LINE", and the rest of its text.
---@param case moongate.SimCase
---@param problem string
---@return string where
---@return string text
function cases.place(case, problem)
  local where, rest = problem:match("^([^\n]-:%d+): (.*)$")
  return where or case.where or "unknown", rest or problem
end

return cases
