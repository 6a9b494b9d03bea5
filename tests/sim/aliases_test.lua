-- SPDX-License-Identifier: MIT
-- Public names of models that stand for targets: routes[].models = { fast = { … }, … }.

local sim = require "moongate.sim"

local MODELS = { fast = { "a/small", "b/small" }, smart = "b/big", "gpt*" }

local function route(models, more)
  local made = { name = "chat", path = "/v1/*", policy = "failover", models = models, settings = { targets = { "a/usual" } } }
  for name, value in pairs(more or {}) do made[name] = value end
  return made
end

local function world(models, more, about)
  about = about or {}
  about.routes, about.providers = { route(models, more) }, about.providers or { a = { 200 }, b = { 200 } }
  return sim.world(about)
end

local function refused(part, models, more)
  sim.raises(part, function() world(models, more) end)
end

sim.test("a public name uses its own targets, a pattern those of the settings", function()
  local w = world(MODELS)
  sim.equal(w:request { model = "fast" }.trail, "a/small=ok")
  sim.equal(w:request { model = "smart" }.trail, "b/big=ok")
  sim.equal(w:request { model = "gpt-4o" }.trail, "a/usual=ok")
  sim.equal(w:request { model = "other" }.status, 404)
  sim.equal(w.sent[1]:json("model"), "small")
  sim.equal(w.sent[2]:json("model"), "big")
end)

sim.test("all other settings hold for it, and the log names what was asked for", function()
  local w = world(MODELS, { settings = { targets = { "a/usual" }, retries = 1, backoff = { jitter = "none" } } },
    { providers = { a = { 500 }, b = { 200 } } })
  local r = w:request { model = "fast" }
  sim.equal(r.trail, "a/small=server_error a/small=server_error b/small=ok")
  sim.equal(r.access.model, "fast")
  sim.equal(r.access.route, "chat")
  sim.contains(w:metrics(), 'route="chat"')
end)

sim.test("groups and tables as in settings.targets", function()
  local w = world { any = { { order = "round_robin", targets = { "a/m", "b/m" } } },
    one = { target = "a/m", set = { top_p = 1 } }, group = { order = "round_robin", targets = { "a/n", "b/n" } } }
  sim.equal(w:request { model = "any" }.trail, "a/m=ok")
  sim.equal(w:request { model = "any" }.trail, "b/m=ok")
  w:request { model = "one" }
  sim.equal(w.sent[3]:json("top_p"), 1)
  sim.equal(w:request { model = "group" }.trail, "a/n=ok")
  sim.equal(w:request { model = "group" }.trail, "b/n=ok")
end)

sim.test("with public names only, settings need no targets and nothing else is served", function()
  local w = world({ fast = "a/m" }, { settings = { retries = 1 } })
  sim.equal(w:request { model = "fast" }.trail, "a/m=ok")
  sim.equal(w:request { model = "m" }.status, 404)
  sim.equal(w:request { model = false }.status, 404)
end)

sim.test("a client's key is limited by public names", function()
  local w = world(MODELS, nil, { keys = { { name = "k", secret = "client-key", models = { "fast" } } } })
  sim.equal(w:request { model = "fast", key = "client-key" }.status, 200)
  sim.equal(w:request { model = "smart", key = "client-key" }.status, 403)
end)

sim.test("sandbox keys keep to the sandbox's targets", function()
  local w = world(MODELS, { settings = { targets = { "a/usual" }, sandbox = { targets = { "b/cheap" } } } },
    { keys = { { name = "k", secret = "client-key", environment = "sandbox" } } })
  sim.equal(w:request { model = "fast", key = "client-key" }.trail, "b/cheap=ok")
end)

sim.test("every shipped policy and the default plan serve public names", function()
  local needed = {
    failover = {}, cheapest = {}, fastest = {}, sticky = {}, hedged = {},
    canary = { canaries = { { target = "a/usual", share = 0 } } },
    schedule = { rules = { { header = "x-night", use = { retries = 1 } } } },
    guard = { rules = { { max_body = 100000 } } },
    spend = { once_spent = { targets = { "a/cheap" } }, budget = 1000, prices = { b = { input = 1, output = 1 } } },
    rehearsal = { down = { "a/usual" }, key = "k" },
  }
  for policy, settings in pairs(needed) do
    settings.targets = { "a/usual" }
    local good, made = pcall(world, { fast = "b/m" }, { policy = policy, settings = settings })
    sim.ok(good, policy .. ": " .. tostring(made))
    sim.equal(made:request { model = "fast" }.status, 200, policy)
  end
  local broken = 'return { name = "s", version = 1, settings = require("moongate.failover").settings, handle = function() error("x") end }'
  local w = world(MODELS, { policy = "broken" }, { files = { ["policies/broken.lua"] = broken } })
  sim.equal(w:request { model = "fast" }.trail, "a/small=ok")
end)

sim.test("the policy sees the targets as its settings", function()
  local source = [[return { name = "s", version = 1, settings = { targets = { type = "targets" } },
    handle = function(req, settings) return req:send(settings.targets[#settings.targets]) end }]]
  local w = world(MODELS, { policy = "mine" }, { files = { ["policies/mine.lua"] = source } })
  sim.equal(w:request { model = "fast" }.trail, "b/small=ok")
end)

sim.test("mistakes are told where they stand", function()
  refused('routes[1].models.fast[2]: found "c/m": no provider is named "c"', { fast = { "a/m", "c/m" } })
  refused('routes[1].models.fast: found "c/m"', { fast = "c/m" })
  refused("routes[1].models.fast[1].retries", { fast = { { target = "a/m", retries = -1 } } })
  refused("routes[1].models.fast: a target of a public name needs a model", { fast = "a" })
  refused('routes[1].models["gpt-*"]: a pattern cannot have targets', { ["gpt-*"] = "a/m" })
  refused("routes[1].models.fast: expected a target or a list of targets", { fast = 5 })
  refused("routes[1].models.fast: ", { fast = {} })
  refused("expected at least one model", {})
  refused("settings.retries", { fast = "a/m" }, { settings = { retries = "x" } })
end)

sim.test("a mistake is told once", function()
  local ok, message = pcall(world, { fast = "c/m", smart = "a/m" }, { settings = {} })
  sim.equal(ok, false)
  local _, n = tostring(message):gsub('no provider is named "c"', "")
  sim.equal(n, 1, tostring(message))
end)

sim.test("a reload changes public names", function()
  local w = world { fast = "a/m" }
  sim.equal(w:request { model = "fast" }.trail, "a/m=ok")
  sim.ok(w:reload { routes = { route { fast = "b/m" } }, providers = { a = { 200 }, b = { 200 } } })
  sim.equal(w:request { model = "fast" }.trail, "b/m=ok")
end)
