-- SPDX-License-Identifier: MIT
-- Names of tools that the provider's API does not take: written as others that it takes, and given back in
-- whole answers and in streams, through the driver and the library's own dialects.

local body = require "moongate.body"
local dialects = require "dialects"
local expect = require "expect"
local tool_names = require "moongate.dialect.tool_names"
local translate = require "moongate.translate"

local function names_of(list, rule)
  local tools = {}
  for i, name in ipairs(list) do tools[i] = { name = name } end
  local map = tool_names.of({ tools = tools }, rule)
  local out = {}
  for i, name in ipairs(list) do out[i] = map and map.to[name] or name end
  return out
end

local PLAIN = { most = 8, signs = "%w_-" }

-- A client of Gemini's, whose names may hold dots and colons.
local ASKED = [[{"contents":[{"role":"user","parts":[{"text":"q"}]},
  {"role":"model","parts":[{"functionCall":{"name":"srv.find","id":"1","args":{}}}]},
  {"role":"user","parts":[{"functionResponse":{"name":"srv.find","id":"1","response":{"result":"r"}}}]}],
  "tools":[{"functionDeclarations":[{"name":"srv.find"},{"name":"srv_find"},{"name":"srv_find"}]}],
  "toolConfig":{"functionCallingConfig":{"mode":"ANY","allowedFunctionNames":["srv.find"]}}}]]

local function ask(provider, over)
  local ctx = { model = "m", id = "r1", now = 1, client = "gemini", provider = provider, strict = false }
  for name, value in pairs(over or {}) do ctx[name] = value end
  translate.context(ctx)
  local decoded = body.decode(ASKED, require("dialects.gemini").raw)
  return translate.request("gemini", provider, decoded, ctx), ctx
end

return function(test)
  test("a name that fits keeps itself, another finds a free one", function()
    expect.list(names_of({ "a.b", "a_b", "a:b", "" }, PLAIN), { "a_b_2", "a_b", "a_b_3", "_" })
    expect.list(names_of({ ("n"):rep(9), ("n"):rep(10) }, PLAIN), { ("n"):rep(8), ("n"):rep(4) .. "_2" })
    expect.list(names_of({ "1st", "ok" }, { most = 8, signs = "%w_", start = "%a_" }), { "_1st", "ok" })
  end)

  test("nothing is made where every name fits, or no rule is told", function()
    expect.equal(tool_names.of({ tools = { { name = "a" } } }, PLAIN), nil)
    expect.equal(tool_names.of({ tools = { { name = "a.b" } } }, nil), nil)
    expect.equal(tool_names.of({}, PLAIN), nil)
  end)

  test("tools, choice, calls and results are written so; of two with one name the first stands", function()
    local out, ctx = ask "openai"
    expect.list(ctx.dropped, { "tools.2" })
    dialects.same(out.tools, [[ [{"type":"function","function":{"name":"srv_find_2"}},
      {"type":"function","function":{"name":"srv_find"}}] ]])
    dialects.same(out.tool_choice, [[{"type":"function","function":{"name":"srv_find_2"}}]])
    expect.equal(out.messages[2].tool_calls[1]["function"].name, "srv_find_2")
    expect.equal(ctx.request.tools[1].name, "srv.find")
  end)

  test("a whole answer has the client's names", function()
    local _, ctx = ask "anthropic"
    local answer = translate.answer("anthropic", "gemini", body.decode([[{"content":[
      {"type":"tool_use","id":"1","name":"srv_find_2","input":{}},{"type":"tool_use","id":"2","name":"srv_find","input":{}}],
      "stop_reason":"tool_use"}]], require("dialects.anthropic").raw), ctx)
    local parts = answer.candidates[1].content.parts
    expect.equal(parts[1].functionCall.name, "srv.find")
    expect.equal(parts[2].functionCall.name, "srv_find")
  end)

  test("a stream has the client's names", function()
    local _, ctx = ask("bedrock", { stream = true })
    local said = {}
    local feed, finish = translate.stream("bedrock", "gemini", ctx, function(_, data) said[#said + 1] = data end)
    feed("contentBlockStart", { contentBlockIndex = 0, start = { toolUse = { toolUseId = "1", name = "srv_find_2" } } })
    feed("contentBlockStop", { contentBlockIndex = 0 })
    finish()
    expect.equal(said[1].candidates[1].content.parts[1].functionCall.name, "srv.find")
  end)
end
