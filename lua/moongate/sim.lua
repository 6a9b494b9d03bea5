-- SPDX-License-Identifier: MIT
-- The simulator for policy authors: what a *_test.lua file uses. A world is a whole gateway whose clock is
-- virtual, whose providers follow scripts and whose clients have no socket; everything between them is
-- the code that serves in production. Every field and function: policies/README.md, "Module moongate.sim".
--
--   local sim = require "moongate.sim"
--   sim.test("fails over on a 500", function()
--     local world = sim.world { settings = { targets = { "a/m", "b/m" } }, providers = { a = { 500 }, b = { 200 } } }
--     local r = world:request {}
--     sim.equal(r.status, 200)
--     sim.equal(r.trail, "a/m=server_error b/m=ok")
--   end)

local expect = require "moongate.sim_expect"
local random = require "moongate.sim_random"
local world = require "moongate.sim_world"

local sim = {
  equal = expect.equal, near = expect.near, between = expect.between, ok = expect.ok,
  contains = expect.contains, matches = expect.matches, raises = expect.raises,
}

-- The cases of the file that is being loaded, in order: the runner takes them. And the worlds that live.
local cases, worlds = {}, {}

---Names a case. It is run after the whole file has been read.
---@param name string
---@param run fun() raises when something does not hold
function sim.test(name, run)
  if type(name) ~= "string" or type(run) ~= "function" then
    error("test: expected a name and a function", 2)
  end
  local _, where = pcall(error, "", 3)
  cases[#cases + 1] = { name = name, run = run, where = where:match("^(.-:%d+)") }
end

---For the runner: the cases registered since the last call.
---@return { name: string, run: fun(), where: string|nil }[]
function sim.take_cases()
  local taken = cases
  cases = {}
  return taken
end

---Makes a world. Raises with every mistake of its configuration.
---@param about moongate.SimWorldSpec
---@return moongate.SimWorld
function sim.world(about)
  local good, made = pcall(world.new, about)
  if not good then error("no world was made: " .. tostring(made), 2) end
  worlds[#worlds + 1] = made
  return made
end

---For the runner: closes the worlds that were made since the last call.
function sim.close_worlds()
  for _, made in ipairs(worlds) do made:close() end
  worlds = {}
end

---A generator of random numbers that the seed decides.
---@param seed integer
---@return moongate.SimRandom
function sim.random(seed)
  local made = random.new(seed)
  return made
end

return sim
