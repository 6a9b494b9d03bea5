-- SPDX-License-Identifier: MIT
-- moongate.schema: completes settings, and finds every mistake at once with its path.

local expect = require "expect"
local fake = require "fake"
local failover = require "moongate.failover"
local schema = require "moongate.schema"

local ENV = { providers = { openai = true, spare = true } }

local function problems_of(settings)
  local _, problems = schema.check(failover.settings, settings, ENV)
  local out = {}
  for i, problem in ipairs(problems) do out[i] = problem.path .. ": " .. problem.message end
  return out
end

-- One mistake each: where it is reported, and a part of what is said.
local MISTAKES = {
  { {}, "targets", "is missing" },
  { { targets = {} }, "targets", "is empty" },
  { { targets = "openai/x" }, "targets", 'a list: { "openai/x" }' },
  { { targets = { "opanai/x" } }, "targets[1]", 'did you mean "openai"?' },
  { { targets = { "openai/" } }, "targets[1]", "provider/model" },
  { { targets = { "/x" } }, "targets[1]", "provider/model" },
  { { targets = { 7 } }, "targets[1]", "found 7" },
  { { targets = { { target = "spare", wieght = 2 } } }, "targets[1].wieght", 'did you mean "weight"?' },
  { { targets = { { weight = 1 } } }, "targets[1].target", "is missing" },
  { { targets = { { target = "spare", headers = { a = 1 } } } }, "targets[1].headers.a", "found 1" },
  { { targets = { { target = "spare", unset = { true } } } }, "targets[1].unset[1]", "a text" },
  { { targets = { { targets = {} } } }, "targets[1].targets", "is empty" },
  { { targets = { { targets = { "nobody" } } } }, "targets[1].targets[1]", "no provider" },
  { { targets = { { order = "best", targets = { "spare" } } } }, "targets[1].order", "one of listed" },
  { { targets = { "spare" }, tirgger = "any" }, "tirgger", 'did you mean "trigger"?' },
  { { targets = { "spare" }, trigger = "error" }, "trigger", 'did you mean "errors"?' },
  { { targets = { "spare" }, trigger = 429 }, "trigger", "{ 429 }" },
  { { targets = { "spare" }, trigger = "backend" }, "trigger", '{ "backend" }' },
  { { targets = { "spare" }, trigger = { "backend", 42 } }, "trigger[2]", "found 42" },
  { { targets = { "spare" }, trigger = { "6xx" } }, "trigger[1]", "6xx" },
  { { targets = { "spare" }, suspend = -1 }, "suspend", "at least 0" },
  { { targets = { "spare" }, suspend = "30" }, "suspend", "found a string, expected a number" },
  { { targets = { "spare" }, suspend = 0 / 0 }, "suspend", "expected a number" },
  { { targets = { "spare" }, suspend = math.huge }, "suspend", "expected a number" },
  { { targets = { "spare" }, retries = 1.5 }, "retries", "a whole number" },
  { { targets = { "spare" }, max_attempts = 33 }, "max_attempts", "from 0 to 32" },
  { { targets = { "spare" }, enabled = "yes" }, "enabled", "true or false" },
  { { targets = { "spare" }, backoff = { jitter = "half" } }, "backoff.jitter", "none, full or a number" },
  { { targets = { "spare" }, backoff = { jitter = 2 } }, "backoff.jitter", "from 0 to 1" },
  { { targets = { "spare" }, breaker = 3 }, "breaker", "a table, or false" },
  { { targets = { "spare" }, breaker = { failure = 3 } }, "breaker.failure", '"failures"' },
  { { targets = { "spare" }, sandbox = { target = "spare" } }, "sandbox.target", '"targets"' },
  { { targets = { "spare" }, sandbox = { targets = { "x" } } }, "sandbox.targets[1]", "no provider" },
  { { targets = { "spare" }, sandbox = { sandbox = {} } }, "sandbox.sandbox", "unknown" },
  { { targets = { "spare" }, context_targets = { "x/y" } }, "context_targets[1]", "no provider" },
  { { targets = { "spare", extra = "spare" } }, "targets.extra", "does not belong in a list" },
}

return function(test)
  for i, case in ipairs(MISTAKES) do
    test(("mistake %d at %s"):format(i, case[2]), function()
      local found = problems_of(case[1])
      expect.equal(#found, 1, table.concat(found, " | "))
      expect.contains(found[1], case[2] .. ": ")
      expect.contains(found[1], case[3])
    end)
  end

  test("all mistakes are reported in one go", function()
    expect.equal(#problems_of { targets = { "x", "y" }, suspend = -1, foo = 1, order = "odd" }, 5)
  end)

  test("defaults of section 6's table are filled in", function()
    local s, problems = schema.check(failover.settings, { targets = { "spare" } }, ENV)
    expect.equal(#problems, 0)
    local defaults = {
      enabled = true, trigger = "errors", request_timeout = 60, first_packet_timeout = 0,
      idle_timeout = 30, deadline = 120, max_attempts = 0, retries = 0, suspend = 0, breaker = false,
      order = "listed", slow_failure = 0, replay = true, retry_budget = false,
      when_suspended = "unavailable", when_exhausted = "last_error",
    }
    for name, value in pairs(defaults) do expect.equal(s[name], value, name) end
    for _, name in ipairs { "sandbox", "context_targets", "opt_out_header" } do
      expect.equal(s[name], nil, name)
    end
    expect.list(s.retry_on, { "backend", "rate_limit" })
    expect.equal(s.backoff.base, 0.5)
    expect.equal(s.backoff.cap, 8)
    expect.equal(s.backoff.jitter, "full")
    expect.equal(s.retry_after.honour, true)
    expect.equal(s.retry_after.max, 60)
    expect.equal(s.sticky.header, "x-session-id")
    expect.equal(s.sticky.ttl, 3600)
  end)

  test("tables given in part are completed", function()
    local s = schema.check(failover.settings, { targets = { "spare" }, backoff = { base = 1 },
      breaker = { ratio = 0.3 }, retry_budget = { min = 3 } }, ENV)
    expect.equal(s.backoff.cap, 8)
    expect.equal(s.breaker.window, 30)
    expect.equal(s.breaker.requests, 5)
    expect.equal(s.breaker.failures, nil)
    expect.equal(s.retry_budget.ratio, 0.2)
  end)

  test("a switch takes true for all defaults", function()
    local s = schema.check(failover.settings, { targets = { "spare" }, breaker = true }, ENV)
    expect.equal(s.breaker.recovery, 60)
  end)

  test("sandbox stays as given", function()
    local s = schema.check(failover.settings, { targets = { "spare" },
      sandbox = { backoff = { base = 1 } } }, ENV)
    expect.equal(s.sandbox.targets, nil)
    expect.equal(s.sandbox.backoff.base, 1)
    expect.equal(s.sandbox.backoff.cap, nil)
  end)

  test("arguments are not changed, frozen settings are read", function()
    local given = { targets = { "spare", { targets = { "openai/x" } } }, trigger = { 429, "5xx" } }
    local s, problems = schema.check(failover.settings, fake.freeze(given), ENV)
    expect.equal(#problems, 0)
    expect.equal(given.suspend, nil)
    expect.equal(given.targets[2].order, nil)
    expect.equal(s.targets[2].order, "listed")
    expect.equal(s.targets[2].targets[1], "openai/x")
    expect.list(s.trigger, { 429, "5xx" })
  end)

  test("a check twice changes nothing", function()
    local once = schema.check(failover.settings, { targets = { "spare" }, breaker = true }, ENV)
    local twice, problems = schema.check(failover.settings, once, ENV)
    expect.equal(#problems, 0)
    expect.equal(twice.breaker.recovery, 60)
  end)

  test("secrets in headers are not shown", function()
    local found = problems_of { targets = { { target = "spare", headers = { a = { "sk-secret" } } } } }
    expect.equal(found[1]:find("sk-secret", 1, true), nil)
  end)

  test("settings that are no table", function()
    local _, problems = schema.check(failover.settings, "x", ENV)
    expect.contains(problems[1].message, "a table of settings")
  end)

  test("a schema with an unknown type says so", function()
    local _, problems = schema.check({ a = { type = "colour" } }, { a = 1 })
    expect.contains(problems[1].message, '"colour"')
  end)

  test("describe gives the schema as independent plain data", function()
    local field = { type = "table", help = "h", fields = { a = { type = "list", of = { type = "number", min = 1 } } },
      check = function() end }
    local told = schema.describe(fake.freeze { x = field, [1] = { type = "string" } })
    expect.equal(told[1], nil)
    expect.equal(told.x.help, "h")
    expect.equal(told.x.check, nil)
    expect.equal(told.x.fields.a.of.min, 1)
    told.x.fields.a.type = "other"
    expect.equal(field.fields.a.type, "list")
    local known = schema.describe(failover.settings)
    expect.equal(known.targets.type, "targets")
    expect.equal(known.enabled.default, true)
  end)

  test("a custom schema: table of free names, list, defaults", function()
    local s, problems = schema.check({
      quotas = { type = "table", of = { type = "integer" }, default = { a = 1 } },
      names = { type = "list", of = { type = "string" }, default = {} },
      any = { type = "table" },
    }, { any = { x = { 1, 2 } } })
    expect.equal(#problems, 0)
    expect.equal(s.quotas.a, 1)
    expect.equal(#s.names, 0)
    expect.equal(s.any.x[2], 2)
  end)

  test("max_attempts that cuts off targets or retries is a warning", function()
    local function warnings(settings)
      local completed, problems = schema.check(failover.settings, settings, ENV)
      expect.equal(#problems, 0)
      return failover.check(completed)
    end
    local found = warnings { targets = { "spare", "openai/x" }, max_attempts = 1 }
    expect.equal(#found, 1)
    expect.equal(found[1].path, "max_attempts")
    expect.equal(found[1].warning, true)
    expect.equal(#warnings { targets = { "spare", "openai/x" }, max_attempts = 2 }, 0)
    expect.equal(#warnings { targets = { "spare", "openai/x" }, max_attempts = 2, retries = 1 }, 1)
    expect.equal(#warnings { targets = { { targets = { "spare", "openai/x" } } }, max_attempts = 1 }, 0)
    found = warnings { targets = { "spare" }, sandbox = { retries = 2, max_attempts = 2 } }
    expect.equal(found[1].path, "sandbox.max_attempts")
    expect.equal(#warnings { targets = { "spare" }, order = "cheapest" }, 1)
    expect.equal(#warnings { targets = { "spare", "openai/x" }, retries = 20 }, 1)
  end)
end
