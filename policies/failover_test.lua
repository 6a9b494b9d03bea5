-- SPDX-License-Identifier: MIT
-- The worked example of failover.lua, sentence by sentence.

local sim = require "moongate.sim"

local function world(providers)
  return sim.world {
    policy = "failover",
    settings = {
      targets = { "openai/gpt-4o", "azure/gpt-4o-mini", "spare" },
      sandbox = { targets = { "spare/llama3" } },
      request_timeout = 30, suspend = 30,
    },
    keys = { { name = "app", secret = "secret-of-app-0001" },
      { name = "dev", secret = "secret-of-dev-0001", environment = "sandbox" } },
    providers = providers,
  }
end

local APP, DEV = "secret-of-app-0001", "secret-of-dev-0001"

sim.test("a request goes to the first target", function()
  local w = world { openai = { 200 }, azure = { 200 }, spare = { 200 } }
  sim.equal(w:request({ key = APP }).trail, "openai/gpt-4o=ok")
end)

sim.test("a 429 moves on at once, and for 30 seconds every request starts at the second", function()
  local w = world { openai = { 429, 200 }, azure = { 200 }, spare = { 200 } }
  local r = w:request { key = APP }
  sim.equal(r.status, 200)
  sim.equal(r.trail, "openai/gpt-4o=rate_limited azure/gpt-4o-mini=ok")
  sim.near(r.took, 0, 0.01)
  w:advance(29)
  sim.equal(w:request({ key = APP }).trail, "azure/gpt-4o-mini=ok")
  w:advance(2)
  sim.equal(w:request({ key = APP }).trail, "openai/gpt-4o=ok")
end)

sim.test("should both fail, the third gets the model that the client named", function()
  local w = world { openai = { 500 }, azure = { { refuse = true } }, spare = { 200 } }
  local r = w:request { key = APP, model = "my-model" }
  sim.equal(r.target, "spare/my-model")
  sim.equal(w.sent[3]:json("model"), "my-model")
end)

sim.test("a stream fails over before its first content, never after", function()
  local w = world { openai = { { error_event = {} }, { cut_after = 1 } }, azure = { 200 }, spare = { 200 } }
  local r = w:request { key = APP, stream = true }
  sim.equal(r.trail, "openai/gpt-4o=error_event azure/gpt-4o-mini=ok")
  sim.ok(r.done, "the client sees one whole stream")
  w:advance(31)
  r = w:request { key = APP, stream = true }
  sim.equal(#r.attempts, 1)
  sim.ok(not r.done, "no fake ending")
end)

sim.test("what takes longer than request_timeout is given up", function()
  local w = world { openai = { { never = true } }, azure = { 200 }, spare = { 200 } }
  local r = w:request { key = APP }
  sim.equal(r.trail, "openai/gpt-4o=timeout_total azure/gpt-4o-mini=ok")
  sim.near(r.took, 30, 0.1)
end)

sim.test("sandbox keys only ever reach llama3", function()
  local w = world { openai = { 200 }, azure = { 200 }, spare = { 500 } }
  sim.equal(w:request({ key = DEV }).trail, "spare/llama3=server_error")
  sim.equal(w.calls.openai + w.calls.azure, 0)
end)

sim.test("a fault of the caller goes nowhere else", function()
  local w = world { openai = { 400 }, azure = { 200 }, spare = { 200 } }
  local r = w:request { key = APP }
  sim.equal(r.status, 400)
  sim.equal(#r.attempts, 1)
end)

sim.test("when all fail the client gets the last failure, and nobody is asked while all are suspended", function()
  local w = world { openai = { 500 }, azure = { 503 }, spare = { 502 } }
  sim.equal(w:request({ key = APP }).status, 502)
  local r = w:request { key = APP }
  sim.equal(r.status, 503)
  sim.between(tonumber(r.headers["retry-after"]), 1, 30)
  sim.equal(#r.attempts, 0)
end)
