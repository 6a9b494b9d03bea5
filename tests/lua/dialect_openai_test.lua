-- SPDX-License-Identifier: MIT
-- Chat completions: each feature into the common form and back, streams, and bodies that lie.

local body = require "moongate.body"
local chat = require "moongate.dialect.chat"
local dialects = require "dialects"
local expect = require "expect"

local RAW = require("moongate.dialect.openai_rules").raw
local same, refuses, ctx_of = dialects.same, dialects.refuses, dialects.ctx

return function(test)
  local function both(name, run) dialects.both(test, name, run) end

  local function read(text, long, fields)
    local ctx = ctx_of(fields)
    return chat.read_request(body.decode(text, RAW, long), ctx), ctx
  end

  both("text, system and developer prompts where they stand", function(long)
    local request = read([[{"model":"gpt-4o","messages":[
      {"role":"system","content":"Be brief, please."},
      {"role":"user","content":[{"type":"text","text":"What is this thing?"}]},
      {"role":"developer","content":"Speak German."}]}]], long)
    expect.equal(request.model, "gpt-4o")
    same(request.messages, [[ [{"role":"system","parts":[{"type":"text","text":"Be brief, please."}]},
      {"role":"user","parts":[{"type":"text","text":"What is this thing?"}]},
      {"role":"developer","parts":[{"type":"text","text":"Speak German."}]}] ]])
  end)

end
