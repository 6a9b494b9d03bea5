-- SPDX-License-Identifier: MIT
-- moongate.retry: back-off, hints, suspension, budget.

local expect = require "expect"
local fake = require "fake"
local retry = require "moongate.retry"

local HONOUR = { honour = true, max = 60 }

return function(test)
  test("without jitter the wait doubles up to its cap", function()
    local backoff = { base = 0.5, cap = 8, jitter = "none" }
    local waits = {}
    for n = 1, 7 do waits[n] = ("%g"):format(retry.backoff(backoff, n)) end
    expect.list(waits, { 0.5, 1, 2, 4, 8, 8, 8 })
  end)

  test("full jitter spreads over the whole wait", function()
    local world = fake.world {}
    for _, r in ipairs { 0, 0.25, 0.999 } do
      world.random = function() return r end
      expect.near(retry.backoff({ base = 1, cap = 8, jitter = "full" }, 2), 2 * r)
    end
  end)

  test("a share of jitter goes both ways", function()
    local world = fake.world {}
    world.random = function() return 0 end
    expect.near(retry.backoff({ base = 1, cap = 8, jitter = 0.2 }, 1), 0.8)
    world.random = function() return 1 end
    expect.near(retry.backoff({ base = 1, cap = 8, jitter = 0.2 }, 1), 1.2)
  end)

  test("a large n does not overflow", function()
    expect.equal(retry.backoff({ base = 1, cap = 8, jitter = "none" }, 5000), 8)
  end)

  test("a hint replaces the back-off, too long ends it", function()
    local settings = { backoff = { base = 1, cap = 8, jitter = "none" }, retry_after = HONOUR }
    expect.equal(retry.wait(settings, { retry_after = 2.5 }, 1, 100), 2.5)
    expect.equal(retry.wait(settings, { retry_after = 0 }, 1, 100), 0)
    expect.equal(retry.wait(settings, { retry_after = 60 }, 1, 100), 60)
    expect.equal(retry.wait(settings, { retry_after = 61 }, 1, 100), nil)
    expect.equal(retry.wait(settings, { retry_after = 10 }, 1, 10), nil)
    expect.equal(retry.wait(settings, {}, 1, 100), 1)
    expect.equal(retry.wait(settings, {}, 1, 0.5), nil)
  end)

  test("a hint that is not honoured changes nothing", function()
    local settings = { backoff = { base = 1, cap = 8, jitter = "none" }, suspend = 3,
      retry_after = { honour = false, max = 60 } }
    expect.equal(retry.wait(settings, { retry_after = 90 }, 1, 100), 1)
    expect.equal(retry.suspension(settings, { retry_after = 90 }), 3)
  end)

  test("a hint lengthens a suspension, never shortens it", function()
    local settings = { suspend = 10, retry_after = HONOUR }
    expect.equal(retry.suspension(settings, { retry_after = 3 }), 10)
    expect.equal(retry.suspension(settings, { retry_after = 300 }), 300)
    expect.equal(retry.suspension(settings, {}), 10)
    expect.equal(retry.suspension(settings, { retry_after = 1e12 }), 86400)
  end)

  test("a budget grants its minimum, then a share of recent requests", function()
    local world = fake.world {}
    local budget = retry.budget({ ratio = 0.2, min = 2 }, "k")
    expect.equal(budget:take(), true)
    expect.equal(budget:take(), true)
    expect.equal(budget:take(), false)
    for _ = 1, 15 do budget:request() end
    expect.equal(budget:take(), true)
    expect.equal(budget:take(), false)
    world:advance(11)
    expect.equal(budget:take(), true)
  end)
end
