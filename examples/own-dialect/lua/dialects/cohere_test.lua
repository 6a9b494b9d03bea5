-- SPDX-License-Identifier: MIT
-- moongate test lua/dialects/cohere_test.lua: what every dialect is held to, and what this one is about.

local body = require "moongate.body"
local cohere = require "dialects.cohere"
local sim = require "moongate.sim"

require "moongate.dialect.conformance" "cohere"

local ctx = { model = "command-a-03-2025", stream = true, id = "r1" }

sim.test("a whole answer", function()
  local answer = cohere.read_answer(body.decode [[{"id":"c1","finish_reason":"TOOL_CALL","message":{"role":"assistant",
    "tool_calls":[{"id":"t1","type":"function","function":{"name":"get_time","arguments":"{}"}}]},
    "usage":{"tokens":{"input_tokens":7,"output_tokens":3}}}]], ctx)
  sim.equal(answer.candidates[1].stop, "calls")
  sim.equal(answer.candidates[1].parts[1].name, "get_time")
  sim.equal(answer.usage.input, 7)
end)

sim.test("a stream", function()
  local told = {}
  local read = cohere.reader(ctx)
  for _, event in ipairs { '{"type":"message-start","id":"c1"}',
    '{"type":"content-start","index":0,"delta":{"message":{"content":{"type":"text","text":""}}}}',
    '{"type":"content-delta","index":0,"delta":{"message":{"content":{"text":"Hei"}}}}',
    '{"type":"message-end","delta":{"finish_reason":"COMPLETE","usage":{"tokens":{"input_tokens":7,"output_tokens":3}}}}',
  } do
    read("", body.decode(event), function(delta) told[#told + 1] = delta.kind end)
  end
  sim.equal(table.concat(told, " "), "start text stop usage")
end)
