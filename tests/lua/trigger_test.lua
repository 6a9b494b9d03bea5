-- SPDX-License-Identifier: MIT
-- moongate.trigger: presets, classes, outcomes, statuses.

local expect = require "expect"
local trigger = require "moongate.trigger"

local function attempt(outcome, status)
  return { ok = outcome == "ok", outcome = outcome, class = trigger.outcomes[outcome], status = status or 0 }
end

local PRESETS = {
  backend_errors = { backend = true, credential = true },
  errors = { backend = true, credential = true, rate_limit = true, intercepted = true, model = true,
    context = true },
  any = { backend = true, credential = true, rate_limit = true, intercepted = true, model = true,
    context = true, client = true },
}

return function(test)
  for name, classes in pairs(PRESETS) do
    test("preset " .. name .. " has its classes and no other", function()
      local rule = trigger.compile(name)
      for outcome, class in pairs(trigger.outcomes) do
        expect.equal(trigger.matches(rule, attempt(outcome, 0)), classes[class] or false, outcome)
      end
    end)
  end

  test("a success and what is nobody's fault never match", function()
    local rule = trigger.compile { "any", 200, "2xx" }
    expect.equal(trigger.matches(rule, attempt("ok", 200)), false)
    expect.equal(trigger.matches(rule, attempt("client_gone", 200)), false)
    expect.equal(trigger.matches(rule, attempt("cancelled", 0)), false)
  end)

  test("statuses as number, text and hundred", function()
    local rule = trigger.compile { 429, "503", "4xx" }
    expect.equal(trigger.matches(rule, attempt("rate_limited", 429)), true)
    expect.equal(trigger.matches(rule, attempt("overloaded", 503)), true)
    expect.equal(trigger.matches(rule, attempt("client_error", 422)), true)
    expect.equal(trigger.matches(rule, attempt("server_error", 500)), false)
    expect.equal(trigger.matches(rule, attempt("connect_error", 0)), false)
  end)

  test("one outcome, not its class", function()
    local rule = trigger.compile { "quota_exhausted" }
    expect.equal(trigger.matches(rule, attempt("quota_exhausted", 429)), true)
    expect.equal(trigger.matches(rule, attempt("rate_limited", 429)), false)
  end)

  test("presets may stand in lists; an empty list matches nothing", function()
    expect.equal(trigger.matches(trigger.compile { "backend_errors", 429 },
      attempt("credential_error", 401)), true)
    expect.equal(trigger.matches(trigger.compile {}, attempt("server_error", 500)), false)
  end)

  test("nonsense raises", function()
    expect.raises("found 5yy", trigger.compile, { "5yy" })
    expect.raises("found 99", trigger.compile, { 99 })
    expect.raises("found 600", trigger.compile, { 600 })
  end)

  test("429.0 is 429", function()
    expect.equal(trigger.matches(trigger.compile { 429.0 }, attempt("rate_limited", 429)), true)
  end)

  test("every outcome has a known class", function()
    for outcome, class in pairs(trigger.outcomes) do
      expect.equal(trigger.classes[class], true, outcome)
    end
  end)
end
