-- SPDX-License-Identifier: MIT
-- moongate.rotation: smooth weighted round-robin, one for all workers.

local expect = require "expect"
local fake = require "fake"
local rotation = require "moongate.rotation"

local function sequence(...) return rotation.sequence { ... } end

return function(test)
  test("smooth: 4 and 1 are A A B A A", function()
    expect.list(sequence(4, 1), { 1, 1, 2, 1, 1 })
  end)

  test("5, 1, 1 as nginx has it", function()
    expect.list(sequence(5, 1, 1), { 1, 1, 2, 1, 3, 1, 1 })
  end)

  test("weights are reduced", function()
    expect.list(sequence(80, 20), { 1, 1, 2, 1, 1 })
    expect.list(sequence(7, 7, 7), { 1, 2, 3 })
  end)

  test("broken weights", function()
    local counts = { 0, 0 }
    for _, i in ipairs(sequence(0.75, 0.25)) do counts[i] = counts[i] + 1 end
    expect.equal(counts[1], 3 * counts[2])
  end)

  test("enormous weights stay bounded, tiny ones are kept", function()
    local found, counts = sequence(1000000, 1), { 0, 0 }
    for _, i in ipairs(found) do counts[i] = counts[i] + 1 end
    expect.between(#found, 2, 1100, "length")
    expect.equal(counts[2], 1)
  end)

  test("zero is never picked", function()
    expect.list(sequence(0, 2, 0), { 2 })
    expect.list(sequence(0, 0), {})
  end)

  test("two workers share one rotation", function()
    fake.world {}
    local a, b = rotation.new("k", { 1, 1 }), rotation.new("k", { 1, 1 })
    expect.list({ a:next(), b:next(), a:next(), b:next() }, { 1, 2, 1, 2 })
  end)

  test("all zero is all alike", function()
    fake.world {}
    local r = rotation.new("z", { 0, 0 })
    expect.list({ r:next(), r:next(), r:next() }, { 1, 2, 1 })
  end)

  test("a full store picks at random instead", function()
    local world = fake.world {}
    world.full = true
    local r = rotation.new("f", { 1, 1 })
    local seen = {}
    for _ = 1, 100 do seen[r:next()] = true end
    expect.equal(seen[1] and seen[2], true)
  end)
end
