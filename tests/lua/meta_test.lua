-- SPDX-License-Identifier: MIT
-- The editor's definition files against what there is: the fake offers no function and no field that
-- lua/meta does not declare, and the library's public functions are documented where they stand.

local expect = require "expect"
local fake = require "fake"

local ROOT = arg[0]:match("^(.*)/[^/]*$") .. "/../.."

local function text_of(path)
  local file = assert(io.open(ROOT .. "/" .. path))
  local text = file:read("a")
  file:close()
  return text
end

return function(test)
  for _, name in ipairs { "moongate", "host", "body", "sim_core", "req", "attempt", "policy", "library" } do
    test("lua/meta/" .. name .. ".lua is Lua, and marked as definitions", function()
      local text = text_of("lua/meta/" .. name .. ".lua")
      assert(load(text, "@" .. name, "t"))
      expect.contains(text, "---@meta")
    end)
  end

  test("module moongate: the fake's functions and the declared ones are the same", function()
    local declared = {}
    for name in text_of("lua/meta/moongate.lua"):gmatch("\nfunction moongate%.([%w_]+)") do
      declared[name] = true
    end
    for name in pairs(fake.moongate) do expect.equal(declared[name], true, name) end
    for name in pairs(declared) do
      if name ~= "bucket" and name ~= "provider" then -- not needed by the library
        assert(rawget(fake.moongate, name), "the fake lacks moongate." .. name)
      end
    end
  end)

  test("requests and attempts of the fake have declared members only", function()
    local world = fake.world { p = { 200 } }
    local req = text_of("lua/meta/req.lua")
    local attempt = text_of("lua/meta/attempt.lua")
    local result = world:route({ targets = { "p/m" } }):request()
    for name in pairs(result.attempts[1]) do
      if name ~= "request" then -- the fake's own
        expect.contains(attempt, "---@field " .. name .. " ", name)
      end
    end
    for _, name in ipairs { "header", "json", "send", "sleep", "respond", "race", "name", "deadline",
      "unavailable", "fail", "start", "wait" } do
      expect.contains(req, "function req:" .. name .. "(", name)
    end
  end)

  test("public functions of the library are annotated", function()
    for _, module in ipairs { "availability", "breaker", "failover", "order", "plan", "retry", "rotation",
      "schema", "spell", "trigger" } do
      local before = ""
      for line in text_of("lua/moongate/" .. module .. ".lua"):gmatch("[^\n]*\n") do
        if line:find("^function " .. module .. "%.") then
          assert(before:find("^%-%-%-@"), module .. ": " .. line)
        end
        before = line
      end
    end
  end)

  test("the reference in policies/README.md is what lua/meta and the library say", function()
    assert(os.execute(("lua5.4 '%s/tests/support/reference.lua' --check"):format(ROOT)), "run `make reference`")
  end)
end
