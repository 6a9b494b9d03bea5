-- SPDX-License-Identifier: MIT
-- The dialect anthropic: what the API demands of a request, what its answers and streams mean, what a client
-- of it is written. Values come short and, with `long = 8`, as texts of which Lua sees no byte.

local body = require "moongate.body"
local anthropic = require "moongate.dialect.anthropic"
local data = require "dialects.anthropic"
local expect = require "expect"

local function ctx(over)
  local made = { model = "claude-sonnet-4-5", id = "req1", now = 1700000000, dropped = {} }
  for name, value in pairs(over or {}) do made[name] = value end
  function made:drop(name) self.dropped[#self.dropped + 1] = name end
  return made
end

local function decode(text, long) return body.decode(text, data.raw, long) end

local function same(found, expected, what)
  expect.equal(body.encode(found), body.encode(decode(expected)), what)
end

-- A request as an OpenAI client's would stand in the common form.
local function ask(over)
  local request = { messages = { { role = "user", parts = { { type = "text", text = "Hi" } } } } }
  for name, value in pairs(over or {}) do request[name] = value end
  return request
end

local function write(over, ctx_over)
  local c = ctx(ctx_over)
  return anthropic.write_request(ask(over), c), table.concat(c.dropped, ",")
end

local function read(text, long)
  local c = ctx()
  return anthropic.read_request(decode(text, long), c), table.concat(c.dropped, ",")
end

-- A request of one user message with these blocks.
local function read_blocks(blocks)
  return read('{"max_tokens":1,"messages":[{"role":"user","content":' .. blocks .. "}]}")
end

local TOOL = { name = "t", parameters = body.raw('{"type":"object"}') }

-- ---------------------------------------------------------------- reading requests

-- What stands in the body, and what is refused of it.
local REFUSED = {
  { "[]", "messages" }, { "7", "the body: expected an object, found a number" },
  { "{}", "messages: expected a value, found none" },
  { '{"messages":7}', "messages: expected a list, found a number" },
  { '{"messages":[7]}', "messages.0: expected an object, found a number" },
  { '{"messages":[null]}', "messages.0" },
  { '{"messages":[{"content":"x"}]}', "messages.0.role" },
  { '{"messages":[{"role":"tool","content":"x"}]}', 'messages.0.role: expected "user"' },
  { '{"messages":[{"role":"user"}]}', "messages.0.content" },
  { '{"messages":[{"role":"user","content":7}]}', "messages.0.content: expected a list" },
  { '{"messages":[{"role":"user","content":[{"text":"x"}]}]}', "messages.0.content.0.type" },
  { '{"messages":[{"role":"user","content":[{"type":"text","text":7}]}]}',
    "content.0.text: expected a text" },
  { '{"messages":[{"role":"user","content":[{"type":"image"}]}]}', "content.0.source" },
  { '{"messages":[{"role":"user","content":[{"type":"image","source":{"type":"x"}}]}]}', "source.type" },
  { '{"messages":[{"role":"user","content":[{"type":"tool_result"}]}]}', "tool_use_id" },
  { '{"messages":[{"role":"assistant","content":[{"type":"tool_use","id":"a","name":"b","input":[]}]}]}',
    "input" },
  { '{"messages":[],"tools":[{}]}', "tools.0.name" },
  { '{"messages":[],"tools":[{"name":"a","input_schema":3}]}', "tools.0.input_schema: expected an object" },
  { '{"messages":[],"tool_choice":"auto"}', "tool_choice: expected an object, found a text" },
  { '{"messages":[],"tool_choice":{"type":"x"}}', "tool_choice.type" },
  { '{"messages":[],"temperature":"hot"}', "temperature: expected a number, found a text" },
  { '{"messages":[],"max_tokens":1.5}', "max_tokens: expected a whole number" },
  { '{"messages":[],"thinking":{"type":"enabled"}}', "thinking.budget_tokens" },
  { '{"messages":[],"thinking":{"type":"deep"}}', "thinking.type" },
  { '{"messages":[],"stop_sequences":[3]}', "stop_sequences.0: expected a text" },
  { '{"messages":[],"output_config":{"format":{"type":"json_schema"}}}', "output_config.format.schema" },
}

local function reading(test)
  for i, case in ipairs(REFUSED) do
    test(("refused %d: %s"):format(i, case[2]), function()
      for _, long in ipairs { 8, 4096 } do
        local good, raised = pcall(read, case[1], long)
        expect.equal(good, false, "read")
        expect.equal(type(raised) == "table" and type(raised.refuse), "string",
          "refuse of " .. tostring(raised))
        expect.contains(raised.refuse, case[2])
      end
    end)
  end

  test("thinking that was asked for is shown unless it was said otherwise", function()
    for said, expected in pairs {
      ['{"type":"enabled","budget_tokens":2048}'] = true, ['{"type":"adaptive"}'] = true,
      ['{"type":"adaptive","display":"summarized"}'] = true, ['{"type":"adaptive","display":"omitted"}'] = false,
    } do
      local request = read('{"messages":[{"role":"user","content":"x"}],"max_tokens":4096,"thinking":' .. said .. "}")
      expect.equal(request.reasoning.show, expected, said)
      request.model = "claude-opus-4-6"
      expect.equal(write(request).thinking.display, said:match('"display":"(%a+)"'), "display of " .. said)
    end
    local config = '{"messages":[{"role":"user","content":"x"}],"output_config":{"effort":"low"}}'
    expect.equal(read(config).reasoning.show, nil, "thinking was not asked for")
  end)

  test("a turn's results become a message of their own, with the names of their calls", function()
    local request = read [[{"messages":[
      {"role":"assistant","content":[{"type":"tool_use","id":"a","name":"f","input":{"x":1}}]},
      {"role":"user","content":[{"type":"text","text":"and"},{"type":"tool_result","tool_use_id":"a"}]}]}]]
    expect.equal(#request.messages, 3)
    expect.equal(request.messages[1].parts[1].arguments, '{"x":1}')
    expect.equal(request.messages[2].role, "tool")
    expect.equal(request.messages[2].parts[1].name, "f")
    expect.equal(request.messages[3].parts[1].text, "and")
  end)

  test("what only Anthropic runs is dropped by its name", function()
    local request, dropped = read [[{"messages":[{"role":"assistant","content":[{"type":"server_tool_use","id":"s"}]}],
      "tools":[{"type":"web_search_20250305","name":"web_search"}],"tool_choice":{"type":"tool","name":"web_search"},
      "container":"c","mcp_servers":[]}]]
    expect.equal(dropped, "tools.web_search,messages.0.server_tool_use,tool_choice,container,mcp_servers")
    expect.equal(request.tools, nil)
    expect.equal(request.tool_choice, nil)
  end)

  test("a search result and a document of blocks are text", function()
    local request = read_blocks [=[[{"type":"search_result","title":"T","source":"S","content":[{"type":"text","text":"C"}]},
      {"type":"document","source":{"type":"content","content":[{"type":"text","text":"D"}]}}]]=]
    expect.equal(request.messages[1].parts[1].text, "T\nS\nC")
    expect.equal(request.messages[1].parts[2].text, "D")
  end)

  test("a signature is sealed, once", function()
    local request = read [[{"messages":[{"role":"assistant","content":[
      {"type":"thinking","thinking":"a","signature":"sig"},{"type":"thinking","thinking":"b","signature":"moongategemiX"}]}]}]]
    expect.equal(request.messages[1].parts[1].signature, "moongateanthsig")
    expect.equal(request.messages[1].parts[2].signature, "moongategemiX")
  end)
end

-- ---------------------------------------------------------------- writing requests

-- What is asked, and what the body holds then: fields of the body as JSON ("null": absent), and what was dropped.
local WRITTEN = {
  { "max_tokens is demanded", {}, { max_tokens = "4096" } },
  { "max_tokens as asked", { max_tokens = 7 }, { max_tokens = "7" } },
  { "temperature ends at 1", { temperature = 1.5 }, { temperature = "1" }, "temperature" },
  { "temperature as it is", { temperature = 0.5 }, { temperature = "0.5" } },
  { "one of temperature and top_p", { temperature = 0.5, top_p = 0.5 }, { top_p = "null" }, "top_p" },
  { "blank stop sequences are refused", { stop = { " ", "x" } }, { stop_sequences = '["x"]' }, "stop" },
  { "what nobody there knows", { seed = 1, n = 2, logprobs = true, presence_penalty = 0 }, {},
    "seed,n,logprobs" },
  { "the end user", { user = "u" }, { metadata = '{"user_id":"u"}' } },
  { "tiers", { service_tier = "default" }, { service_tier = '"standard_only"' } },
  { "no such tier", { service_tier = "flex" }, { service_tier = "null" }, "service_tier" },
  { "a choice without tools", { tool_choice = "required" }, { tool_choice = "null" } },
  { "a tool must be used", { tools = { TOOL }, tool_choice = "required" },
    { tool_choice = '{"type":"any"}' } },
  { "a named tool", { tools = { TOOL }, tool_choice = { name = "t" } },
    { tool_choice = '{"name":"t","type":"tool"}' } },
  { "one call at a time", { tools = { TOOL }, parallel_tool_calls = false },
    { tool_choice = '{"disable_parallel_tool_use":true,"type":"auto"}' } },
  { "a tool without parameters", { tools = { { name = "t" } } },
    { tools = '[{"input_schema":{"type":"object","properties":{}},"name":"t"}]' } },
  { "thinking by budget", { reasoning = { effort = "medium" } },
    { thinking = '{"budget_tokens":8192,"type":"enabled"}', max_tokens = "12288" } },
  { "the budget is below the maximum", { reasoning = { effort = "high" }, max_tokens = 4000 },
    { thinking = '{"budget_tokens":2000,"type":"enabled"}', max_tokens = "4000" } },
  { "too little to think", { reasoning = { effort = "high" }, max_tokens = 1024 },
    { thinking = "null", max_tokens = "1024" }, "reasoning" },
  { "no sampling while thinking", { reasoning = { effort = "low" }, temperature = 0, top_k = 3, top_p = 0.5 },
    { temperature = "null", top_k = "null", top_p = "null" }, "temperature,top_p,top_k" },
  { "no forced tool while thinking", { reasoning = { effort = "low" }, tools = { TOOL },
    tool_choice = "required" },
    { thinking = '{"type":"disabled"}', tool_choice = '{"type":"any"}' }, "reasoning" },
  { "thinking off", { reasoning = { effort = "none" } }, { thinking = '{"type":"disabled"}' } },
  { "a schema is closed", { format = { type = "schema", schema = body.raw '{"type":"object"}' } },
    { output_config = '{"format":{"schema":{"type":"object","additionalProperties":false},"type":"json_schema"}}' } },
  { "limits are left out of a schema, by name", { format = { type = "schema", schema = body.raw [[{"type":"array",
    "minItems":1,"maxItems":9,"items":{"type":["object","null"],"properties":{"minimum":{"type":"integer","minimum":-1.5,
    "maximum":2e3},"b":{"minLength":2}},"required":["minimum"]}}]] } },
    { output_config = [[{"format":{"schema":{"type":"array",
    "minItems":1,"items":{"type":["object","null"],"additionalProperties":false,"properties":{"minimum":{"type":"integer"},]]
      .. [["b":{}},"required":["minimum"]}},"type":"json_schema"}}]] },
    "format.minimum,format.maximum,format.minLength,format.maxItems" },
  { "a strict tool", { tools = { { name = "t", strict = true, parameters = body.raw
    '{"type":"object","properties":{"a":{}},"additionalProperties":false}' } } },
    { tools = '[{"input_schema":{"type":"object","properties":{"a":{}},"additionalProperties":false},"name":"t",'
      .. '"strict":true}]' } },
  { "an open tool is not strict", { tools = { { name = "t", strict = true, parameters = body.raw
    '{"type":"object","properties":{"a":{}}}' } } },
    { tools = '[{"input_schema":{"type":"object","properties":{"a":{}}},"name":"t"}]' }, "tools.0.strict" },
  { "a limited tool is not strict", { tools = { { name = "t", strict = true, parameters = body.raw
    '{"type":"object","properties":{"a":{"type":"integer","maximum":3}},"additionalProperties":false}' } } },
    {}, "tools.0.strict" },
  { "an address is no end user's id", { user = "someone@example.org" }, { metadata = "null" }, "user" },
  { "a telephone's number is no end user's id", { user = "+49 (30) 1234567" }, { metadata = "null" }, "user" },
  { "a long id of the end user", { user = ("u"):rep(257) }, { metadata = "null" }, "user" },
  { "a uuid is an end user's id", { user = "123e4567-e89b-12d3-a456-426614174000" },
    { metadata = '{"user_id":"123e4567-e89b-12d3-a456-426614174000"}' } },
  { "JSON in words", { format = { type = "json" } },
    { system = '"Answer with one JSON object and nothing else: no words around it, no code fence."' },
      "format" },
}

-- The same of a model that thinks by effort.
local ADAPTIVE = {
  { "claude-opus-4-6", { reasoning = { effort = "xhigh" }, temperature = 1 },
    { thinking = '{"type":"adaptive"}', output_config = '{"effort":"high"}', temperature = "null" } },
  { "claude-opus-4-7", { temperature = 0.2, top_p = 1, top_k = 1 },
    { temperature = "null", top_p = "null", top_k = "null" }, "temperature,top_k" },
  { "claude-sonnet-5", { reasoning = { budget = 9000, show = true }, max_tokens = 100 },
    { thinking = '{"display":"summarized","type":"adaptive"}', output_config = '{"effort":"medium"}' } },
  { "claude-opus-5-5", { reasoning = { effort = "none" } }, { thinking = "null",
    output_config = '{"effort":"low"}' },
    "reasoning" },
  { "claude-opus-5-5", { tools = { TOOL }, tool_choice = "required" }, { tool_choice = '{"type":"auto"}' },
    "tool_choice" },
  { "claude-opus-4-1", { format = { type = "schema", schema = body.raw '{"type":"object"}' } }, { output_config = "null",
    system = '"Answer with one JSON object and nothing else: no words around it, no code fence. It must match this JSON '
      .. 'schema:\\n{\\"type\\":\\"object\\"}"' }, "format" },
  { "claude-3-5-haiku-latest", { tools = { { name = "t", strict = true } } },
    { tools = '[{"input_schema":{"type":"object","properties":{}},"name":"t"}]' }, "tools.0.strict" },
  { "kimi-k2", { reasoning = { effort = "low" } }, { thinking = '{"budget_tokens":2048,"type":"enabled"}' } },
}

local function check_written(case, over)
  local out, dropped = write(case[2], over)
  for name, expected in pairs(case[3]) do
    expect.equal(out[name] == nil and "null" or body.encode(out[name]), expected, name)
  end
  expect.equal(dropped, case[4] or "", "dropped")
end

-- Turns of the common form, and the messages written of them.
local function conversation(messages, expected, dropped)
  local out, names = write { messages = messages }
  same(out.messages, expected, "messages")
  expect.equal(names, dropped or "", "dropped")
  return out
end

local function text(s) return { type = "text", text = s } end
local function user(...) return { role = "user", parts = { ... } } end
local function assistant(...) return { role = "assistant", parts = { ... } } end

local function writing_turns(test)
  test("system and developer texts are hoisted, in order", function()
    local out = conversation({ { role = "system", parts = { text "a" } }, user(text "q"),
      { role = "developer", parts = { text "b" } } }, '[{"role":"user","content":"q"}]')
    same(out.system, '[{"type":"text","text":"a"},{"type":"text","text":"b"}]')
  end)

  test("an assistant's pictures are dropped by name", function()
    conversation({ user(text "q"), assistant(text "see", { type = "image", data = "AA", media_type = "image/png" }) },
      '[{"role":"user","content":"q"},{"role":"assistant","content":"see"}]', "messages.1.image")
  end)

  test("a conversation ends with the user's turn, where the model does not go on from an answer", function()
    local asked = { messages = { user(text "q"), assistant(text "a") } }
    local function last(over, ctx_over)
      for name, value in pairs(asked) do over[name] = value end
      local messages = write(over, ctx_over).messages
      return messages[#messages].role
    end
    expect.equal(last {}, "assistant")
    expect.equal(last({}, { model = "claude-opus-4-6" }), "user")
    expect.equal(last({}, { model = "claude-opus-4-6", client = "anthropic" }), "assistant")
    expect.equal(last { reasoning = { effort = "low" } }, "user")
  end)

  test("instructions alone are asked", function()
    conversation({ { role = "system", parts = { text "a" } } }, '[{"role":"user","content":"a"}]')
  end)

  test("turns alternate, results come first, empty texts are left out", function()
    conversation({ user(text "a"), user(text " "), user(text "b"), assistant({ type = "call", id = "1",
      name = "f",
      arguments = "" }), user(text "c"), { role = "tool", parts = { { type = "result", id = "1",
        parts = { text "r" } } } } },
      [[[{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]},
        {"role":"assistant","content":[{"type":"tool_use","id":"1","name":"f","input":{}}]},
        {"role":"user","content":[{"type":"tool_result","tool_use_id":"1","content":"r"},
          {"type":"text","text":"c"}]}]
      ]])
  end)

  test("the first turn is the user's, the last text of an assistant has no white space behind it", function()
    conversation({ assistant(text "Well \n") }, [[[{"role":"user","content":"."},{"role":"assistant","content":"Well"}]
    ]])
  end)

  test("ids are rewritten, there and back", function()
    local out = write { messages = { user(text "q"), assistant { type = "call", id = "functions.f:0",
      name = "f" } } }
    local id = out.messages[2].content[1].id
    expect.equal(id:find("^[%w_-]+$") ~= nil, true, id)
    local back = read(body.encode(out))
    expect.equal(back.messages[2].parts[1].id, "functions.f:0")
  end)

  test("arguments that are no object are shown as they were said", function()
    conversation({ user(text "q"), assistant { type = "call", id = "1", name = "f", arguments = '{"a":' } },
      [[[{"role":"user","content":"q"},
        {"role":"assistant","content":[{"type":"tool_use","id":"1","name":"f","input":{"arguments":"{\"a\":"}}]}]
      ]], "messages.1.arguments")
  end)

  test("only thinking with a signature of Anthropic's own is passed on", function()
    conversation({ user(text "q"), assistant({ type = "thinking", text = "a", signature = "moongateanthS" },
      { type = "thinking", text = "b", signature = "moongategemiS" }, { type = "thinking", text = "c" },
      { type = "thinking", text = "c", signature = "moongateanth" }, { type = "redacted",
        data = "moongateanthD" },
      { type = "redacted", data = "moongateoairD" }, text "x") },
      [[[{"role":"user","content":"q"},{"role":"assistant","content":[
        {"type":"thinking","thinking":"a","signature":"S"},{"type":"redacted_thinking","data":"D"},
        {"type":"text","text":"x"}]}]
      ]])
  end)

  test("pictures and files, and what is neither", function()
    conversation({ user({ type = "image", url = "data:image/gif;base64,R0lG" }, { type = "image",
      url = "gs://x" },
      { type = "image", data = "AA", media_type = "image/png" }, { type = "file", data = "JV", name = "n" },
      { type = "file", id = "file-of-openai" }, { type = "file", data = "AA", media_type = "text/csv" },
      { type = "file", text = "t" }, { type = "audio", data = "AA", media_type = "audio/wav" }) },
      [[[{"role":"user","content":[
        {"type":"image","source":{"type":"base64","media_type":"image/gif","data":"R0lG"}},
        {"type":"image","source":{"type":"base64","media_type":"image/png","data":"AA"}},
        {"type":"document","title":"n","source":{"type":"base64","media_type":"application/pdf","data":"JV"}},
        {"type":"document","source":{"type":"text","media_type":"text/plain","data":"t"}}]}]
      ]], "messages.0.image,messages.0.file,messages.0.file,messages.0.audio")
  end)

  test("a call in progress without its thinking turns a budget off", function()
    local turns = { user(text "q"), assistant { type = "call", id = "1", name = "f", arguments = "{}" },
      { role = "tool", parts = { { type = "result", id = "1", parts = { text "r" } } } } }
    local out, dropped = write { messages = turns, tools = { TOOL }, reasoning = { budget = 2000 } }
    expect.equal(out.thinking.type, "disabled")
    expect.equal(dropped, "reasoning")
    turns[2].parts = { { type = "thinking", text = "a", signature = "moongateanthS" }, turns[2].parts[1] }
    out, dropped = write { messages = turns, tools = { TOOL }, reasoning = { budget = 2000 } }
    expect.equal(out.thinking.budget_tokens, 2000)
    expect.equal(dropped, "")
  end)
end

local function writing(test)
  for _, case in ipairs(WRITTEN) do
    test("writes: " .. case[1], function() check_written(case) end)
  end
  for i, case in ipairs(ADAPTIVE) do
    test(("writes for %s (%d)"):format(case[1], i), function() check_written(case, { model = case[1] }) end)
  end
  writing_turns(test)
end

-- ---------------------------------------------------------------- answers

local function answers(test)
  test("usage counts what was cached within the input, there and back", function()
    local answer = anthropic.read_answer(decode [[{"usage":{"input_tokens":5,"cache_read_input_tokens":20,
      "cache_creation_input_tokens":3,"output_tokens":7,"output_tokens_details":{"thinking_tokens":2}}}]], ctx())
    expect.equal(answer.usage.input, 28)
    expect.equal(answer.usage.cached, 20)
    expect.equal(answer.usage.reasoning, 2)
    same(anthropic.write_answer(answer, ctx()).usage, [[{"input_tokens":5,"cache_read_input_tokens":20,
      "cache_creation_input_tokens":3,"output_tokens":7,"output_tokens_details":{"thinking_tokens":2}}]])
  end)

  for api, common in pairs { end_turn = "stop", max_tokens = "length", tool_use = "calls",
    pause_turn = "pause",
    refusal = "refusal", stop_sequence = "sequence", model_context_window_exceeded = "length",
      new = "stop" } do
    test("stop reason " .. api, function()
      local answer = anthropic.read_answer({ stop_reason = api }, ctx())
      expect.equal(answer.candidates[1].stop, common)
      local again = anthropic.write_answer(answer, ctx()).stop_reason
      if api ~= "new" and api ~= "model_context_window_exceeded" then expect.equal(again, api) end
    end)
  end

  test("an answer with calls stopped for them; a refusal is one; one of nothing is an answer", function()
    local function stop_of(candidate) return anthropic.write_answer({ candidates = { candidate } },
      ctx()).stop_reason end
    expect.equal(stop_of { stop = "stop", parts = { { type = "call", id = "1", name = "f",
      arguments = "{}" } } }, "tool_use")
    expect.equal(stop_of { stop = "stop", parts = { { type = "refusal", text = "no" } } }, "refusal")
    expect.equal(stop_of { stop = "filter" }, "refusal")
    local empty = anthropic.write_answer({}, ctx())
    same(empty.content, "[]")
    expect.equal(empty.id, "msg_req1")
    expect.equal(empty.model, "claude-sonnet-4-5")
  end)

  test("signatures stand where they can: a call's before it, nobody's as nobody's", function()
    local out = anthropic.write_answer({ candidates = { { parts = { { type = "thinking", text = "a" },
      { type = "call", id = "1", name = "f", arguments = '{"a":1}', signature = "moongategemiS" } } } } },
        ctx())
    same(out.content, [[[{"type":"thinking","thinking":"a","signature":"moongatenone"},
      {"type":"thinking","thinking":"","signature":"moongategemiS"},
      {"type":"tool_use","id":"1","name":"f","input":{"a":1}}]
    ]])
  end)

  test("a provider's nonsense is passed over", function()
    for _, json in ipairs { "[]", "7", '"x"', '{"content":7}',
      '{"content":[7,null,{"type":"text"},{"type":7}]}',
      '{"usage":[],"stop_reason":{}}',
        '{"content":[{"type":"tool_use","input":[1]}],"usage":{"input_tokens":"a"}}' } do
      local c = ctx()
      body.encode(anthropic.write_answer(anthropic.read_answer(decode(json), c), c))
    end
  end)
end

-- ---------------------------------------------------------------- streams

local function write_stream(deltas)
  local events = {}
  local writer = anthropic.writer(ctx())
  for _, delta in ipairs(deltas) do
    writer(delta, function(type, data)
      expect.equal(type, data.type, "name of the event")
      events[#events + 1] = body.encode(data)
      if type == "content_block_start" then events[#events] = "start " .. data.index .. " " .. data.content_block.type end
      if type == "content_block_stop" then events[#events] = "stop " .. data.index end
      if type == "content_block_delta" then
        local d = data.delta
        events[#events] = "delta " .. data.index .. " " .. (body.string(d.text or d.thinking or d.partial_json or d.signature))
      end
    end)
  end
  return events
end

local FIRST = '{"message":{"content":[],"id":"msg_req1","model":"claude-sonnet-4-5","role":"assistant","stop_reason":null,'
  .. '"stop_sequence":null,"type":"message","usage":{"cache_creation_input_tokens":0,"cache_read_input_tokens":0,'
  .. '"input_tokens":0,"output_tokens":0}},"type":"message_start"}'

-- What is between the first event and message_delta.
local function blocks_of(deltas)
  deltas[#deltas + 1] = { kind = "end" }
  local events = write_stream(deltas)
  expect.equal(events[1], FIRST)
  expect.equal(events[#events], '{"type":"message_stop"}')
  return table.concat(events, ", ", 2, #events - 2), events[#events - 1]
end

local function streams(test)
  test("text, thinking and calls, one block open at a time", function()
    local blocks, last = blocks_of { { kind = "thinking", text = "a" }, { kind = "signature",
      signature = "S" },
      { kind = "text", text = "b" }, { kind = "text", text = "" }, { kind = "text", text = "c" },
      { kind = "call", call = 0, id = "1", name = "f" }, { kind = "arguments", call = 0, text = '{"a":' },
      { kind = "arguments", call = 0, text = "1}" }, { kind = "stop", stop = "calls" } }
    expect.equal(blocks, 'start 0 thinking, delta 0 a, delta 0 S, stop 0, start 1 text, delta 1 b, delta 1 c, stop 1, '
      .. 'start 2 tool_use, delta 2 {"a":, delta 2 1}, stop 2')
    expect.contains(last, '"stop_reason":"tool_use"')
  end)

  test("thinking that nobody signed gets the seal of nobody", function()
    expect.equal(blocks_of { { kind = "thinking", text = "a" }, { kind = "text", text = "b" } },
      "start 0 thinking, delta 0 a, delta 0 moongatenone, stop 0, start 1 text, delta 1 b, stop 1")
  end)

  test("a second call goes out at once when the first is complete", function()
    local events = write_stream { { kind = "call", call = 0, id = "1", name = "f" },
      { kind = "arguments", call = 0, text = '{"a":"}\\"' }, { kind = "arguments", call = 0, text = '"}' },
      { kind = "call", call = 1, id = "2", name = "g" } }
    expect.equal(events[#events], "start 1 tool_use")
  end)

  test("pieces of interleaved calls are kept until the earlier one is complete, or the end", function()
    local blocks = blocks_of { { kind = "call", call = 0, id = "1", name = "f" }, { kind = "call", call = 1,
      id = "2", name = "g" },
      { kind = "arguments", call = 1, text = "{" }, { kind = "arguments", call = 0, text = '{"a"' },
      { kind = "arguments", call = 1, text = "}" }, { kind = "arguments", call = 0, text = ":1}" } }
    expect.equal(blocks, 'start 0 tool_use, delta 0 {"a", delta 0 :1}, stop 0, start 1 tool_use, delta 1 {}, stop 1')
    blocks = blocks_of { { kind = "call", call = 0, id = "1", name = "f" }, { kind = "call", call = 1,
      id = "2", name = "g" },
      { kind = "arguments", call = 1, text = "{}" } }
    expect.equal(blocks, "start 0 tool_use, stop 0, start 1 tool_use, delta 1 {}, stop 1")
  end)

  test("an end alone, an order of any kind, other candidates", function()
    local blocks, last = blocks_of {}
    expect.equal(blocks, "")
    expect.contains(last, '"stop_reason":"end_turn"')
    blocks = blocks_of { { kind = "usage", usage = { output = 1 } }, { kind = "text", text = "x",
      candidate = 1 },
      { kind = "stop", stop = "stop" }, { kind = "text", text = "y" }, { kind = "what" }, { kind = "end" },
        { kind = "text", text = "z" } }
    expect.equal(blocks, "start 0 text, delta 0 y, stop 0")
  end)

  test("a call's signature stands before it; without a start of its own it has one", function()
    expect.equal(blocks_of { { kind = "call", call = 0, id = "1", name = "f", signature = "G" } },
      "start 0 thinking, delta 0 G, stop 0, start 1 tool_use, stop 1")
    expect.equal(blocks_of { { kind = "arguments", call = 3, text = "{}" } },
      "start 0 tool_use, delta 0 {}, stop 0")
  end)

  test("a provider's nonsense is passed over", function()
    local reader = anthropic.reader(ctx())
    for _, json in ipairs { "7", "[]", "{}", '{"type":"message_start","message":7}',
      '{"type":"content_block_delta"}',
      '{"type":"content_block_start","index":"a","content_block":{"type":"tool_use","id":7}}',
        '{"type":"content_block_stop"}',
      '{"type":"content_block_delta","index":9,"delta":{"type":"input_json_delta","partial_json":"{"}}',
      '{"type":"message_delta","delta":{"stop_reason":7},"usage":7}', '{"type":"later"}' } do
      reader("x", decode(json), function() end)
    end
  end)
end

return function(test)
  reading(test)
  writing(test)
  answers(test)
  streams(test)
end
