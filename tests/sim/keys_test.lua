-- SPDX-License-Identifier: MIT
-- Pools of keys, whole: the stock policy, the core's choice, suspensions. Rows of SCENARIOS are named.

local sim = require "moongate.sim"

local TWO = { { name = "a", secret = "sk-key-one" }, { name = "b", secret = "sk-key-two" } }
local QUOTA = { status = 429, error = { type = "insufficient_quota", code = "insufficient_quota" } }
local MISSING = { status = 404, error = { code = "model_not_found" } }

-- A provider with two keys; `by` says what each gets.
local function pool(by, more)
  local script = { api_keys = TWO, function(call) return by[call.api_key] end }
  for name, value in pairs(more or {}) do script[name] = value end
  return script
end

local function world(by, settings, more)
  settings = settings or {}
  settings.targets = settings.targets or { "p/m" }
  local providers = { p = pool(by, more), f = { 200 } }
  return sim.world { settings = settings, providers = providers }
end

-- The names of the keys that came, in order.
local function came(w)
  local names = {}
  for i, call in ipairs(w.sent) do names[i] = call.api_key or "-" end
  return table.concat(names, " ")
end

sim.test("C01: moving off a dead key costs no retry", function()
  local w = world { a = 401, b = 200 }
  local r = w:request()
  sim.equal(r.trail, "p/m=credential_error p/m=ok")
  sim.equal(came(w), "a b")
  sim.near(r.waits[1], 0)
  sim.equal(r.access.attempts[1].api_key, "a")
  sim.between(w:facts("p#a").suspended_for, 599, 600)
  sim.equal(w:facts("p/m").suspended_for, 0)
  w:request()
  sim.equal(came(w), "a b b")
end)

sim.test("C02: an unknown model is asked with each key once, whatever the retries, and told", function()
  for _, retries in ipairs { 0, 3 } do
    local w = world({ a = MISSING, b = MISSING }, { retries = retries })
    local r = w:request()
    sim.equal(r.status, 404)
    sim.equal(r.error.code, "model_not_found")
    sim.equal(came(w), "a b")
    sim.equal(w:facts("p#a").suspended_for, 0)
  end
end)

sim.test("C04: all keys refused is a 502 of the gateway's own", function()
  local w = world({ a = 401, b = 401 }, { retries = 3 })
  local r = w:request()
  sim.equal(r.status, 502)
  sim.equal(came(w), "a b")
  r = w:request()
  sim.equal(r.status, 503)
  sim.between(tonumber(r.headers["retry-after"]), 599, 600)
end)

sim.test("C05: a spent quota moves on at once and is told as such", function()
  local w = world { a = QUOTA, b = 200 }
  local r = w:request()
  sim.equal(r.trail, "p/m=quota_exhausted p/m=ok")
  sim.near(r.waits[1], 0)
  sim.equal(w:facts("p#a").reason, "quota_exhausted")
end)

sim.test("C07: overload is nobody's key: the same again", function()
  local n = 0
  local w = world({}, { retries = 1 })
  w.providers.p = function() n = n + 1 return n == 1 and 529 or 200 end
  sim.equal(w:request().trail, "p/m=overloaded p/m=ok")
  sim.equal(came(w), "a a")
end)

sim.test("C08: transport failures stay on the key", function()
  local n = 0
  local w = world({}, { retries = 1 })
  w.providers.p = function() n = n + 1 return n == 1 and { refuse = true } or 200 end
  sim.equal(w:request().trail, "p/m=connect_error p/m=ok")
  sim.equal(came(w), "a a")
end)

sim.test("a rate limit suspends its key for the hint, and the target only with the last key", function()
  local w = world({ a = { status = 429, retry_after = 40 }, b = { status = 429, retry_after = 7 } },
    { suspend = 5, targets = { "p/m", "f/m" } })
  sim.equal(w:request().trail, "p/m=rate_limited p/m=rate_limited f/m=ok")
  sim.between(w:facts("p#a").suspended_for, 39, 40)
  sim.between(w:facts("p#b").suspended_for, 6, 7)
  sim.between(w:facts("p/other").suspended_for, 6, 7)
  sim.equal(w:facts("p/other").reason, "all keys are suspended")
  sim.equal(w:request().trail, "f/m=ok")
end)

sim.test("the most actionable failure is told: the shortest hint", function()
  local w = world { a = { status = 429, retry_after = 9 }, b = 401 }
  local r = w:request()
  sim.equal(r.status, 429)
  sim.equal(r.headers["retry-after"], "9")
  r = w:request()
  sim.equal(r.status, 503)
  sim.equal(r.headers["retry-after"], "9")
  w:advance(9)
  w:request()
  sim.equal(came(w), "a b a")
end)

sim.test("a retry after all keys were limited waits for the one that is free first", function()
  local n = 0
  local w = world({}, { retries = 1 })
  w.providers.p = function(call)
    n = n + 1
    return n > 2 and 200 or { status = 429, retry_after = call.api_key == "a" and 2 or 50 }
  end
  local r = w:request()
  sim.equal(r.status, 200)
  sim.equal(came(w), "a b a")
  sim.near(r.waits[2], 2)
end)

sim.test("round robin spreads requests over the keys and passes over suspended ones", function()
  local w = world({ a = 200, b = 200 }, { keys = { order = "round_robin" } })
  for _ = 1, 4 do w:request() end
  sim.equal(came(w), "a b a b")
  w:suspend("p#a", 10)
  w:request()
  w:request()
  sim.equal(came(w), "a b a b b b")
end)

sim.test("B28: rotate_on = 4xx and 5xx takes another key for each try", function()
  local three = { { name = "k1", secret = "sk-key-001" }, { name = "k2", secret = "sk-key-002" },
    { name = "k3", secret = "sk-key-003" } }
  local w = world({ k1 = 429, k2 = 500, k3 = 200 }, { keys = { rotate_on = { "4xx", "5xx" } } }, { api_keys = three })
  sim.equal(w:request().status, 200)
  sim.equal(came(w), "k1 k2 k3")
  sim.equal(w:facts("p#k2").suspended_for, 0)
end)

sim.test("try_anyway sends with suspended keys, too", function()
  local w = world({ a = 401, b = 200 }, { when_suspended = "try_anyway" })
  w:suspend("p#a", 10)
  w:suspend("p#b", 10)
  sim.equal(w:request().status, 200)
  sim.equal(came(w), "a b")
end)

sim.test("max_attempts does not count keys, the cap of 32 does", function()
  local many = {}
  for i = 1, 32 do many[i] = { name = ("k%d"):format(i), secret = ("sk-key-%03d"):format(i) } end
  local w = sim.world { settings = { targets = { "p/m", "f/m" }, max_attempts = 2 },
    providers = { p = { api_keys = many, 401 }, f = { 200 } } }
  sim.equal(w:request().status, 502)
  sim.equal(w.calls.p, 32)
  w = sim.world { settings = { targets = { "f/m", "p/m" }, retries = 1, backoff = { base = 0.01 } },
    providers = { p = { api_keys = many, 401 }, f = { 500 } } }
  sim.equal(w:request().status, 500)
  sim.equal(w.calls, { f = 2, p = 30 })
  w = world({ a = 401, b = 401 }, { max_attempts = 2, targets = { "p/m", "f/m" } })
  sim.equal(w:request().status, 200)
end)

sim.test("a race with a pool loses the key, not the target", function()
  local w = sim.world { policy = "hedged", settings = { targets = { "p/m", "f/m" }, delay = 1, budget = 1, suspend = 30 },
    providers = { p = pool { a = { status = 429, after = 2 }, b = 200 }, f = { { first_token = 5, after = 5 } } } }
  sim.equal(w:request { stream = true }.trail, "p/m=rate_limited f/m=ok")
  sim.ok(w:facts("p#a").suspended_for > 0)
  sim.equal(w:facts("p/m").suspended_for, 0)
end)

sim.test("a policy without the library gets the first key that is not suspended; keys.send the others", function()
  local source = [[
    local keys = require "moongate.keys"
    return { name = "s", version = 1, handle = function(req)
      if req:header("x-plain") then return req:send("p/m") end
      if req:header("x-named") then return req:send("p/m", { api_key = req:header("x-named") }) end
      return keys.send(req, "p/m")
    end }]]
  local w = sim.world { source = source, providers = { p = pool { a = 403, b = 200 } } }
  sim.equal(w:request().status, 200)
  sim.equal(w:request { headers = { ["x-plain"] = "1" } }.status, 200)
  sim.equal(came(w), "a b b")
  sim.equal(w:request { headers = { ["x-named"] = "a" } }.status, 502)
  sim.equal(w:request { headers = { ["x-named"] = "c" } }.status, 500)
  sim.contains(table.concat(w:log(), "\n"), 'provider "p" has no key "c"')
end)

sim.test("explain tells what became of the keys", function()
  local w = sim.world { explain = true, settings = { targets = { "p/m" } },
    providers = { p = pool { a = 401, b = 200 } } }
  local texts = {}
  for i, note in ipairs(w:request().notes) do texts[i] = note.text end
  local all = table.concat(texts, "\n")
  sim.contains(all, "attempt 1 on p/m, key a")
  sim.contains(all, "key p#a is suspended for 600 s (credential_error)")
  sim.contains(all, "credential_error 401 with key a of p: on to key b")
end)

sim.test("a passed-through key is the client's: the pool is left alone", function()
  local w = sim.world { settings = { targets = { "p/m" } },
    providers = { p = pool({ a = 401, b = 200 }, { auth = "passthrough", 401 }) } }
  sim.equal(w:request().status, 401)
  sim.equal(came(w), "-")
end)
