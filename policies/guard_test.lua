-- SPDX-License-Identifier: MIT
-- guard: the worked example, and what somebody would try to get round it.

local sim = require "moongate.sim"

local KEYS = {
  { name = "intern", secret = "secret-of-intern-01" }, { name = "app", secret = "secret-of-app-0001" },
  { name = "dev", secret = "secret-of-dev-0001", environment = "sandbox" },
}
local INTERN, APP, DEV = KEYS[1].secret, KEYS[2].secret, KEYS[3].secret

local RULES = {
  { models = { "o1*", "gpt-4.5" }, keys = { "intern" }, message = "ask the platform team first" },
  { environments = { "sandbox" }, max_body = 65536, max_tokens = 1024 },
  { header = "x-team", status = 400, message = "send x-team: your team's name" },
}

local function world(rules)
  return sim.world { policy = "guard", on_error = "deny", keys = KEYS, providers = { openai = { 200 } },
    settings = { targets = { "openai" }, rules = rules or RULES } }
end

local TEAM = { ["x-team"] = "red" }

sim.test("a model that a key may not use", function()
  local w = world()
  for _, model in ipairs { "o1", "o1-mini", "gpt-4.5" } do
    local r = w:request { key = INTERN, model = model, headers = TEAM }
    sim.equal(r.status, 403)
    sim.equal(r.error.code, "refused_by_rule")
    sim.equal(r.error.message, "ask the platform team first")
  end
  sim.equal(w.calls.openai, 0)
  for _, model in ipairs { "gpt-4.5-mini", "xo1", "gpt-4o" } do
    sim.equal(w:request({ key = INTERN, model = model, headers = TEAM }).status, 200, model)
  end
  sim.equal(w:request({ key = APP, model = "o1", headers = TEAM }).status, 200)
  sim.matches(w:metrics(), 'moongate_custom_refused_total{[^}]*rule="1"[^}]*} 3')
end)

sim.test("a body that is too large", function()
  local w = world()
  local r = w:request { key = DEV, headers = TEAM, more = { padding = ("x"):rep(65536) } }
  sim.equal(r.status, 413)
  sim.matches(r.error.message, "^the body has 65%d%d%d bytes, at most 65536 are allowed$")
  sim.equal(w:request({ key = APP, headers = TEAM, more = { padding = ("x"):rep(65536) } }).status, 200)
end)

sim.test("too many tokens, by each of the names; nonsense does not get through", function()
  local w = world()
  local function ask(more) return w:request({ key = DEV, headers = TEAM, more = more, stream = true }).status end
  for _, name in ipairs { "max_tokens", "max_completion_tokens", "max_output_tokens" } do
    sim.equal(ask { [name] = 4000 }, 403, name)
    sim.equal(ask { [name] = 1024 }, 200, name)
  end
  sim.equal(ask { max_tokens = 10, max_completion_tokens = 4000 }, 403)
  sim.equal(ask { max_tokens = "4000" }, 403)
  sim.equal(ask { max_tokens = { 1 } }, 403)
  sim.equal(ask {}, 200)
end)

sim.test("explicit: a request has to say how many", function()
  local w = world { { explicit = true, max_tokens = 100 } }
  sim.equal(w:request({ key = APP }).error.message, "max_tokens of at most 100 has to be given")
  sim.equal(w:request({ key = APP, more = { max_tokens = 100 } }).status, 200)
end)

sim.test("a header that is missing, with a status of the rule's own", function()
  local w = world()
  local r = w:request { key = APP }
  sim.equal(r.status, 400)
  sim.equal(r.error.message, "send x-team: your team's name")
  sim.equal(w:request({ key = APP, headers = TEAM }).status, 200)
end)

sim.test("a rule that names nothing wrong refuses all it is for", function()
  local w = world { { keys = { "in*" } } }
  sim.equal(w:request({ key = INTERN }).error.message, "this request is not allowed here")
  sim.equal(w:request({ key = APP }).status, 200)
end)
