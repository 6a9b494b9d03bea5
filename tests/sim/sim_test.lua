-- SPDX-License-Identifier: MIT
-- The simulator itself: that each thing a provider can be told to do is what the gateway meets, when it
-- meets it, and what a client sees of it; that time is virtual and chance is seeded.

local sim = require "moongate.sim"

local function one(reply, settings)
  settings = settings or {}
  settings.targets = { "p/m" }
  return sim.world { settings = settings, providers = { p = { reply } } }
end

local function streamed(reply, settings)
  return one(reply, settings):request { stream = true }
end

sim.test("a plain answer: content, usage, target, time", function()
  local r = one({ content = "hello there", usage = { 7, 9 }, after = 1.5 }):request { model = "gpt-4o" }
  sim.equal(r.status, 200)
  sim.equal(r.content, "hello there")
  sim.equal(r:json "usage.completion_tokens", 9)
  sim.equal(r.target, "p/m")
  sim.equal(r.outcome, "ok")
  sim.equal(r.ended, "complete")
  sim.near(r.took, 1.5)
  sim.ok(r.whole, "whole")
end)

sim.test("a reply instead of a list of replies", function()
  local world = sim.world {
    settings = { targets = { "a/m", "b/m", "c/m", "d/m" } },
    providers = {
      a = 503, b = { status = 502, headers = { ["x-of"] = "b" }, group = "g" }, c = { refuse = true },
      d = { content = "of d" },
    },
  }
  for _ = 1, 2 do
    local r = world:request()
    sim.equal(r.content, "of d")
    sim.equal(r.target, "d/m")
  end
  sim.equal(world.calls, { a = 2, b = 2, c = 2, d = 2 })
  world.providers.d = { status = 418 }
  sim.equal(world:request().status, 418)
  local only = sim.world { settings = { targets = { "a/m" } }, providers = { a = { headers = { ["x-sent"] = "1" } } } }
  only:request()
  sim.equal(only.sent[1].headers["x-sent"], "1", "headers alone are the provider's configuration")
end)

sim.test("a stream drips: first token, gaps, and a whole end", function()
  local r = streamed { after = 0.2, first_token = 1, events = 4, gap = 0.5, content = "abcdefgh" }
  sim.equal(r.content, "abcdefgh")
  sim.near(r.first_token, 1, 1e-3)
  sim.near(r.took, 2.5, 1e-3)
  sim.ok(r.done and r.whole and not r.error_event, "a good end")
  local at = {}
  for i, chunk in ipairs(r.chunks) do at[i] = chunk.at - r.chunks[1].at end
  sim.equal(#at, 4) -- what comes before the first content is held back and comes with it
  sim.near(at[2], 0.5, 1e-3)
  sim.near(at[4], 1.5, 1e-3)
end)

sim.test("pieces of a stream as they are given, and its usage", function()
  local r = streamed { content = { "a", "bc", 'd"\n' }, usage = { 11, 22 } }
  sim.equal(r.content, 'abcd"\n')
  sim.equal(r.access.usage, { input = 11, output = 22 })
end)

sim.test("a stall runs into the idle limit and ends in an error event, never in a clean end", function()
  local r = streamed({ events = 5, stall_after = 2 }, { idle_timeout = 3 })
  sim.equal(r.status, 200)
  sim.equal(r.content, "word1 word2 ")
  sim.near(r.took, 3, 1e-3)
  sim.ok(r.error_event and not r.done, "an error event and no [DONE]")
  sim.equal(r.ended, "upstream_cut")
end)

sim.test("a stall before any content is the first-packet limit's", function()
  local r = streamed({ stall_after = 0 }, { first_packet_timeout = 2 })
  sim.equal(r.status, 504)
  sim.equal(r.trail, "p/m=timeout_first_token")
  sim.near(r.took, 2, 1e-3)
end)

sim.test("a cut after content: what came is kept, the end is not clean", function()
  local r = streamed { events = 5, cut_after = 3, gap = 0.1 }
  sim.equal(r.content, "word1 word2 word3 ")
  sim.ok(r.error_event and not r.done, "an error event and no [DONE]")
  sim.equal(r.ended, "upstream_cut")
end)

sim.test("a cut plain answer moves nothing to the client", function()
  local r = one({ cut_after = 0 }):request {}
  sim.equal(r.trail, "p/m=stream_broken")
  sim.equal(r.status, 502)
end)

sim.test("an error event in the middle, and one at the start", function()
  local r = streamed { events = 3, error_event = { after = 1, message = "overloaded" } }
  sim.equal(r.content, "word1 ")
  sim.ok(r.error_event, "the event is passed on")
  r = streamed { error_event = { message = "overloaded" } }
  sim.equal(r.trail, "p/m=error_event")
  sim.ok(r.status >= 500, "an error status")
end)

sim.test("refused, reset before the head, reset after it, never answered", function()
  sim.equal(one({ refuse = true }):request({}).trail, "p/m=connect_error")
  sim.equal(one({ reset = "before" }):request({}).trail, "p/m=empty_response")
  sim.equal(one({ reset = "after" }):request({}).trail, "p/m=stream_broken")
  local r = one({ never = true }, { request_timeout = 7 }):request {}
  sim.equal(r.trail, "p/m=timeout_total")
  sim.near(r.took, 7, 1e-3)
  sim.equal(r.status, 504)
end)

sim.test("a slow connection runs into the provider's connect limit", function()
  local world = sim.world {
    settings = { targets = { "p/m" } }, providers = { p = { { connect = 9, after = 9 }, connect_timeout = 2 } },
  }
  local r = world:request {}
  sim.equal(r.trail, "p/m=timeout_connect")
  sim.near(r.took, 2, 1e-3)
end)

sim.test("a 200 in which nothing is said is a failure", function()
  sim.equal(one({ no_content = true }):request({}).trail, "p/m=empty_response")
  sim.equal(streamed({ no_content = true }).trail, "p/m=empty_response")
end)

sim.test("Retry-After, headers and bodies of one's own", function()
  local r = one({ status = 429, retry_after = 17, headers = { ["X-Own"] = "yes" }, body = { error = { message = "slow" } } })
    :request {}
  sim.equal(r.status, 429)
  sim.equal(r.headers["retry-after"], "17")
  sim.equal(r.error.message, "slow")
end)

sim.test("a provider as a function sees the call and answers by it", function()
  local world = sim.world {
    settings = { targets = { "p/first", "p/second" } },
    providers = { p = function(call)
      sim.equal(call.provider, "p")
      sim.equal(call.headers.authorization, "Bearer sk-sim-p")
      return call.model == "first" and 500 or { content = ("call %d of %s"):format(call.n, call.target) }
    end },
  }
  sim.equal(world:request({}).content, "call 2 of p/second")
end)

sim.test("several clients at once, and one that leaves", function()
  local world = one({ after = 10 })
  local first = world:start {}
  world:advance(4)
  local second = world:start {}
  sim.equal(world:facts("p/m").inflight, 2)
  second:leave()
  world:advance(3)
  sim.equal(first.result, nil)
  sim.equal(world:facts("p/m").inflight, 1)
  world:advance(3)
  sim.equal(first.result.status, 200)
  sim.near(first.result.took, 10)
  sim.equal(second.result.ended, "client_gone")
end)

sim.test("keys: who may pass, and as whom", function()
  local world = sim.world {
    settings = { targets = { "p/m" }, sandbox = { targets = { "q/m" } } }, providers = { p = { 200 }, q = { 200 } },
    keys = { { name = "app", secret = "secret-of-app" }, { name = "dev", secret = "secret-of-dev", environment = "sandbox" } },
  }
  sim.equal(world:request({}).status, 401)
  sim.equal(world:request({ key = "secret-of-app" }).target, "p/m")
  sim.equal(world:request({ key = "secret-of-dev" }).target, "q/m")
end)

sim.test("suspensions by hand", function()
  local world = sim.world { settings = { targets = { "a/m", "b/m" } }, providers = { a = { 200 }, b = { 200 } } }
  world:suspend("a/m", 30, "maintenance")
  sim.equal(world:facts("a/m").reason, "maintenance")
  sim.equal(world:request({}).target, "b/m")
  world:resume "a/m"
  sim.equal(world:request({}).target, "a/m")
end)

sim.test("the same seed, the same world; another seed, another", function()
  local function run(seed)
    local out = {}
    local world = sim.world {
      settings = { targets = { "a/m" }, retries = 3, backoff = { base = 1, jitter = "full" } },
      providers = { a = { 500 } }, seed = seed,
    }
    for i = 1, 5 do out[i] = world:request({}).took end
    return out
  end
  local first = run(1)
  sim.equal(run(1), first)
  sim.ok(run(2)[1] ~= first[1], "another seed")
end)

sim.test("the generator for scripts is even and repeats", function()
  local a, b, sum = sim.random(5), sim.random(5), 0
  for _ = 1, 1000 do
    local value = a:unit()
    sim.equal(b:unit(), value)
    sum = sum + value
  end
  sim.near(sum / 1000, 0.5, 0.05)
end)

sim.test("long waits cost nothing", function()
  local world = one({ after = 500 }, { request_timeout = 0, deadline = 0 })
  for _ = 1, 20 do sim.near(world:request({}).took, 500) end
end)

sim.test("notes say what was decided", function()
  local world = sim.world {
    settings = { targets = { "a/m", "b/m" }, suspend = 30 }, providers = { a = { 429 }, b = { 200 } }, explain = true,
  }
  local text = {}
  for i, note in ipairs(world:request({}).notes) do text[i] = note.text end
  text = table.concat(text, "\n")
  sim.contains(text, "order (listed): a/m, b/m")
  sim.contains(text, 'trigger = "errors" moves on')
  sim.contains(text, "a/m is suspended for 30 s (rate_limited)")
end)

sim.test("a reload that is refused changes nothing and says why", function()
  local world = one(200)
  local good, why = world:reload { settings = { targets = { "nobody/m" } } }
  sim.equal(good, nil)
  sim.contains(table.concat(why, "\n"), "nobody")
  sim.equal(world:request({}).status, 200)
end)

sim.test("mistakes are told where they are made", function()
  sim.raises("sim_test.lua", function() sim.world { setings = {} } end)
  sim.raises(function() sim.world { setings = {} } end, "sim_test.lua")
  sim.raises('there is no field "setings"', function() sim.world { setings = {} } end)
  sim.raises("targets", function() sim.world { settings = { targets = { "nobody/m" } } } end)
  sim.raises('there is no field "statsu"', function() one({ statsu = 500 }):request {} end)
  sim.raises('there is no field "strem"', function() one(200):request { strem = true } end)
end)

sim.test("assertions show both values", function()
  sim.raises("found: 1", function() sim.equal(1, 2) end)
  sim.raises("expected: { 2, x = \"y\" }", function() sim.equal({ 1 }, { 2, x = "y" }) end)
  sim.raises("sim_test.lua", function() sim.equal(1, 2) end)
  sim.raises("out of range", function() sim.between(5, 1, 2) end)
  sim.raises("not near", function() sim.near(5, 1) end)
  sim.raises("does not hold", function() sim.ok(nil) end)
  sim.raises("does not contain", function() sim.contains("abc", "x") end)
  sim.raises("does not match", function() sim.matches("abc", "^b") end)
end)
