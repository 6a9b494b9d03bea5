-- SPDX-License-Identifier: MIT
-- The shipped policies and the library as files: loading has no side effects, no file uses what the
-- sandbox lacks, the stock policy keeps to the contract.

local expect = require "expect"
local fake = require "fake"
local schema = require "moongate.schema"

local ROOT = arg[0]:match("^(.*)/[^/]*$") .. "/../.."
local MODULES = { "availability", "breaker", "failover", "failover_settings", "failover_warnings", "notes",
  "order", "plan", "race", "retry", "rotation", "schema", "spell", "trigger" }

local POLICIES = { "canary", "cheapest", "failover", "fastest", "guard", "hedged", "rehearsal", "schedule",
  "spend", "sticky" }

local function text_of(path)
  local file = assert(io.open(ROOT .. "/" .. path))
  local text = file:read("a")
  file:close()
  return text
end

-- What the core's sandbox offers (DESIGN section 7).
local function sandbox()
  local env = { math = math, utf8 = utf8, string = string, table = table }
  for _, name in ipairs { "assert", "error", "getmetatable", "ipairs", "next", "pairs", "pcall", "rawequal",
    "rawget", "rawlen", "select", "setmetatable", "tonumber", "tostring", "type", "xpcall" } do
    env[name] = _G[name]
  end
  local loaded = { moongate = fake.moongate }
  function env.require(name)
    if not loaded[name] then
      local path = "lua/" .. name:gsub("%.", "/") .. ".lua"
      loaded[name] = assert(load(text_of(path), "@" .. path, "t", env))()
    end
    return loaded[name]
  end
  return setmetatable(env, {
    __index = function(_, name) error("reads the global " .. tostring(name), 2) end,
    __newindex = function(_, name) error("sets the global " .. tostring(name), 2) end,
  })
end

return function(test)
  test("the stock policy loads in the sandbox and serves", function()
    local world = fake.world { p = { 500 }, f = { 200 } }
    local policy = assert(load(text_of("policies/failover.lua"), "@failover", "t", sandbox()))()
    expect.equal(policy.name, "failover")
    expect.equal(policy.version, 1)
    local route = world:route({ targets = { "p/m", "f/m" } }, policy.handle)
    expect.equal(route:request().trail, "p/m=server_error f/m=ok")
    expect.equal(#policy.check((schema.check(policy.settings, { targets = { "p/m" } }))), 0)
  end)

  for _, name in ipairs(POLICIES) do
    test("policies/" .. name .. ".lua is short, opens with its intent, is tested and listed", function()
      local text = text_of("policies/" .. name .. ".lua")
      local _, lines = text:gsub("\n", "\n")
      expect.between(lines, 10, 99, "lines")
      expect.contains(text, "-- SPDX-License-Identifier: MIT\n--\n-- " .. name .. ": ")
      expect.contains(text, "Worked example. In gateway.lua:")
      expect.contains(text_of("policies/" .. name .. "_test.lua"), "sim.test(")
      expect.contains(text_of("policies/README.md"), ("| [`%s`](%s.lua) |"):format(name, name))
    end)

    test("policies/" .. name .. ".lua loads in the sandbox, without side effects, and says its settings", function()
      local world = fake.world {}
      local text = text_of("policies/" .. name .. ".lua")
      local policy = assert(load(text, "@" .. name, "t", sandbox()))()
      expect.equal(policy.name, name)
      expect.equal(next(world.cells) or next(world.windows) or world.logged[1], nil)
      for setting, field in pairs(policy.settings) do
        assert(field.help or field.values or field.fields or field.default, name .. ": " .. setting)
      end
    end)
  end

  for _, name in ipairs(MODULES) do
    test("loading moongate." .. name .. " has no side effects", function()
      local world = fake.world {}
      sandbox().require("moongate." .. name)
      expect.equal(next(world.cells) or next(world.windows) or world.logged[1], nil)
    end)

    test("moongate." .. name .. " opens with its licence and what it is", function()
      local text = text_of("lua/moongate/" .. name .. ".lua")
      expect.equal(text:sub(1, 32), "-- SPDX-License-Identifier: MIT\n")
      expect.equal(text:sub(33, 35), "-- ")
    end)
  end

  test("every setting is explained in policies/README.md", function()
    local readme = text_of("policies/README.md")
    for name in pairs(require("moongate.failover").settings) do
      expect.contains(readme, "| `" .. name .. "` |", name)
    end
  end)

  test("every setting says what it is to a tool, or is of a kind that does", function()
    for name, field in pairs(require("moongate.failover").settings) do
      assert(field.help or field.values or field.fields, name)
    end
  end)
end
