-- SPDX-License-Identifier: MIT
-- The dialect of Azure OpenAI: chat completions, whose streams begin with what the filters say.

local dialects = require "dialects"
local expect = require "expect"

local data = require "dialects.azure"
local azure = require(data.functions)
local CORPUS = arg[0]:match("^(.*)/[^/]*$") .. "/../corpus/azure/"

local function deltas_of(name, long)
  local file = assert(io.open(CORPUS .. name))
  local text = file:read("a")
  file:close()
  local dialect = { reader = azure.reader, raw = data.raw }
  local ctx = dialects.ctx { provider = "azure", stream = true }
  return dialects.read_stream(dialect, ctx, dialects.events(text), long)
end

return function(test)
  dialects.both(test, "a stream starts with the answer's id, not with the filters' empty one", function(long)
    local deltas = deltas_of("stream-plain.sse", long)
    expect.equal(deltas[1].kind, "start")
    expect.equal(deltas[1].id, "chatcmpl-Cz3")
    expect.equal(deltas[1].model, "gpt-4o-2024-11-20")
    expect.equal(deltas[#deltas].kind, "usage")
  end)

  dialects.both(test, "what the filters say in the middle is no word of the answer", function(long)
    local deltas, kinds = deltas_of("stream-filtered.sse", long), {}
    for i, delta in ipairs(deltas) do kinds[i] = delta.kind end
    expect.list(kinds, { "start", "text", "stop" })
    expect.equal(deltas[3].stop, "filter")
  end)

  test("the deployment is OpenAI's, whatever its name says", function()
    local message = { role = "developer", parts = { { type = "text", text = "x" } } }
    local body = azure.write_request({ messages = { message }, max_tokens = 7 }, dialects.ctx { provider = "azure", model = "my-deployment" })
    expect.equal(body.max_completion_tokens, 7)
  end)
end
