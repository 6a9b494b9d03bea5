-- SPDX-License-Identifier: MIT
-- The dialect bedrock: what Converse and the models behind it take of a request, what answers and streams
-- mean. The requests of tests/corpus/bedrock are what is written of the common forms here; its answers and
-- streams are read. Values come short and, with `long = 8`, as texts of which Lua sees no byte.

local body = require "moongate.body"
local dialects = require "dialects"
local expect = require "expect"

local bedrock = {}
for name, value in pairs(require "dialects.bedrock") do bedrock[name] = value end
for name, value in pairs(require "moongate.dialect.bedrock") do bedrock[name] = value end

local CLAUDE = "anthropic.claude-3-7-sonnet-20250219-v1:0"
local NOVA = "us.amazon.nova-lite-v1:0"
local CORPUS = arg[0]:match("^(.*)/[^/]*$") .. "/../corpus/bedrock/"

local function corpus(name)
  local file = assert(io.open(CORPUS .. name))
  local text = file:read("a")
  file:close()
  return text
end

local function text(s) return { type = "text", text = s } end
local function user(...) return { role = "user", parts = { ... } } end
local function assistant(...) return { role = "assistant", parts = { ... } } end
local function result(id, ...) return { type = "result", id = id, parts = { ... } } end
local function tool_turn(...) return { role = "tool", parts = { ... } } end
local function call(id, arguments)
  return { type = "call", id = id, name = "get_weather", arguments = arguments }
end

local function ask(over)
  local request = { messages = { user(text "Hi") } }
  for name, value in pairs(over or {}) do request[name] = value end
  return request
end

local function write(over, model)
  local ctx = dialects.ctx { model = model or CLAUDE }
  return bedrock.write_request(ask(over), ctx), table.concat(ctx.dropped, ",")
end

local WEATHER = { name = "get_weather", description = "Weather of a place.",
  parameters = body.raw '{"type":"object","properties":{"place":{"type":"string"}},"required":["place"]}' }
local TOOL = { name = "t", parameters = body.raw '{"type":"object","properties":{"a":{}}}' }

-- ---------------------------------------------------------------- the corpus of requests

-- What stands in a file of the corpus: model, common form, what is dropped.
local REQUESTS = {
  plain = { NOVA, { messages = { user(text "Name three rivers.") }, max_tokens = 512, temperature = 0.5,
    top_p = 0.9 } },
  ["system-cache"] = { CLAUDE, { messages = {
    { role = "system", parts = { { type = "text", text = "You answer briefly.", cache = { type = "ephemeral" } } } },
    user({ type = "text", text = "A long document.", cache = body.raw '{"type":"ephemeral","ttl":"1h"}' },
      text "What is it about?") } } },
  tools = { CLAUDE, { messages = { user(text "Weather in Oslo?") }, tools = { WEATHER }, tool_choice = "required" } },
  ["tool-results"] = { NOVA, { messages = { user(text "Weather in Oslo and Rome?"),
    assistant(text "I look.", call("tooluse_1", '{"place":"Oslo"}'), call("tooluse_2", '{"place":"Rome"}')),
    tool_turn(result("tooluse_1", text "-3 °C"),
      { type = "result", id = "tooluse_2", parts = { text "no such place" }, is_error = true }) },
    tools = { WEATHER }, tool_choice = "auto" } },
  image = { NOVA, { messages = { user(text "What is this?",
    { type = "image", url = "data:image/png;base64,iVBORw0KGgo=", detail = "auto" }) } } },
  document = { CLAUDE, { messages = { user({ type = "file", data = "JVBERi0xLjcK", media_type = "application/pdf",
    name = "Report  2026.pdf" }, text "Sum it up.") } } },
  thinking = { CLAUDE, { messages = { user(text "How many primes are below 100?"),
    assistant({ type = "thinking", text = "Count them.", signature = "moongatebedrEqoBCkgIARABGAIiQL==" },
      { type = "redacted", data = "moongatebedrcmVkYWN0ZWQ=" }, text "25"), user(text "And below 200?") },
    max_tokens = 8192, reasoning = { effort = "low" } } },
  structured = { "qwen.qwen3-32b-v1:0", { messages = { user(text "Give me a person.") }, format = { type = "schema",
    name = "person", schema = body.raw
      '{"type":"object","properties":{"name":{"type":"string"}},"required":["name"]}' } } },
  stop = { CLAUDE, { messages = { user(text "Count to ten.") }, max_tokens = 100, stop = { "seven", "END" },
    top_k = 40, metadata = body.raw '{"team":"search"}', service_tier = "flex" } },
}

local function corpus_requests(test)
  for name, case in pairs(REQUESTS) do
    test("writes request-" .. name, function()
      local ctx = dialects.ctx { model = case[1] }
      dialects.same(bedrock.write_request(case[2], ctx), corpus("request-" .. name .. ".json"), "body")
      expect.equal(table.concat(ctx.dropped, ","), case[3] or "", "dropped")
    end)
  end
end

-- ---------------------------------------------------------------- settings

-- What is asked, and what the body holds then: fields of the body as JSON ("null": absent), what was dropped.
local EXTRA, INFERENCE = "additionalModelRequestFields", "inferenceConfig"
local SETTINGS = {
  { CLAUDE, {}, { [INFERENCE] = "null", [EXTRA] = "null", toolConfig = "null" } },
  { CLAUDE, { temperature = 1.5 }, { [INFERENCE] = '{"temperature":1}' }, "temperature" },
  { CLAUDE, { top_p = 1.5 }, { [INFERENCE] = '{"topP":1}' }, "top_p" },
  { CLAUDE, { stop = { " ", "x" } }, { [INFERENCE] = '{"stopSequences":["x"]}' }, "stop" },
  { CLAUDE, { top_k = 3 }, { [EXTRA] = '{"top_k":3}' } },
  { NOVA, { top_k = 3, stop = { "x" } }, { [EXTRA] = '{"inferenceConfig":{"topK":3}}',
    additionalModelResponseFieldPaths = "null" } },
  { "cohere.command-r-plus-v1:0", { top_k = 3 }, { [EXTRA] = '{"k":3}' } },
  { "meta.llama3-70b-instruct-v1:0", { top_k = 3 }, { [EXTRA] = "null" }, "top_k" },
  { CLAUDE, { seed = 1, n = 2, logprobs = true, presence_penalty = 0, user = "u", verbosity = "low" }, {},
    "seed,n,logprobs,verbosity,user" },
  { CLAUDE, { service_tier = "default" }, { serviceTier = "null" } },
  { CLAUDE, { service_tier = "scale" }, { serviceTier = "null" }, "service_tier" },
  { CLAUDE, { metadata = body.raw '{"a":"b{}"}' }, { requestMetadata = "null" }, "metadata" },
  { CLAUDE, { metadata = body.raw '{"a":7}' }, { requestMetadata = "null" }, "metadata" },
  { CLAUDE, { metadata = body.raw "{}" }, { requestMetadata = "null" } },

  -- Reasoning
  { CLAUDE, { reasoning = { effort = "medium" } }, { [EXTRA] = '{"thinking":{"budget_tokens":8192,"type":"enabled"}}',
    [INFERENCE] = '{"maxTokens":12288}' } },
  { CLAUDE, { reasoning = { effort = "high" }, max_tokens = 4000 },
    { [EXTRA] = '{"thinking":{"budget_tokens":2000,"type":"enabled"}}' } },
  { CLAUDE, { reasoning = { budget = 9000 }, max_tokens = 4000 },
    { [EXTRA] = '{"thinking":{"budget_tokens":2000,"type":"enabled"}}' }, "reasoning.budget" },
  { CLAUDE, { reasoning = { effort = "high" }, max_tokens = 1000 }, { [EXTRA] = "null" }, "reasoning" },
  { CLAUDE, { reasoning = { effort = "none" } }, { [EXTRA] = "null" } },
  { CLAUDE, { reasoning = { effort = "low" }, temperature = 0, top_p = 0.5, top_k = 1 },
    { [INFERENCE] = '{"maxTokens":6144}' }, "temperature,top_p,top_k" },
  { CLAUDE, { reasoning = { effort = "low" }, tools = { TOOL }, tool_choice = "required" }, { [EXTRA] = "null" },
    "reasoning" },
  { "us.anthropic.claude-opus-4-6-v1", { reasoning = { effort = "xhigh" }, temperature = 1 },
    { [EXTRA] = '{"thinking":{"type":"adaptive"}}', outputConfig = '{"effort":"high"}', [INFERENCE] = "null" } },
  { "anthropic.claude-opus-4-7", { temperature = 0.2, reasoning = { effort = "none" } },
    { [EXTRA] = '{"thinking":{"type":"disabled"}}', [INFERENCE] = "null" }, "temperature" },
  { "anthropic.claude-opus-5-5", { reasoning = { effort = "none" } }, { outputConfig = '{"effort":"low"}' },
    "reasoning" },
  { "openai.gpt-oss-120b-1:0", { reasoning = { effort = "minimal" } }, { [EXTRA] = '{"reasoning_effort":"low"}' } },
  { "openai.gpt-oss-120b-1:0", { reasoning = { effort = "none" } }, { [EXTRA] = '{"reasoning_effort":"low"}' },
    "reasoning" },
  { "us.amazon.nova-2-lite-v1:0", { reasoning = { budget = 9000 } },
    { [EXTRA] = '{"reasoningConfig":{"maxReasoningEffort":"medium","type":"enabled"}}' } },
  { NOVA, { reasoning = { effort = "high" } }, { [EXTRA] = "null" }, "reasoning" },
  { NOVA, { reasoning = { effort = "none" } }, { [EXTRA] = "null" } },

  -- Tools
  { CLAUDE, { tools = { TOOL }, tool_choice = "none" }, { toolConfig = "null" } },
  { CLAUDE, { tools = { TOOL }, tool_choice = { name = "t" } }, { toolConfig =
    '{"toolChoice":{"tool":{"name":"t"}},"tools":[{"toolSpec":{"inputSchema":{"json":{"type":"object",'
    .. '"properties":{"a":{}}}},"name":"t"}}]}' } },
  { "mistral.mistral-large-3-675b-instruct", { tools = { { name = "t" } }, tool_choice = { name = "t" } },
    { toolConfig = '{"toolChoice":{"any":{}},"tools":[{"toolSpec":{"inputSchema":{"json":{"type":"object",'
    .. '"properties":{}}},"name":"t"}}]}' }, "tool_choice" },
  { "meta.llama3-70b-instruct-v1:0", { tools = { { name = "t", description = "" } }, tool_choice = "required" },
    { toolConfig = '{"tools":[{"toolSpec":{"inputSchema":{"json":{"type":"object","properties":{}}},"name":"t"}}]}' },
    "tool_choice" },
  { CLAUDE, { tools = { { name = "t", strict = true } }, parallel_tool_calls = false }, {},
    "tools.0.strict,parallel_tool_calls" },
  { "anthropic.claude-sonnet-4-5-20250929-v1:0", { tools = { { name = "t", strict = true } } },
    { toolConfig = '{"tools":[{"toolSpec":{"inputSchema":{"json":{"type":"object","properties":{},"required":[],'
    .. '"additionalProperties":false}},"name":"t","strict":true}}]}' } },
  { "anthropic.claude-sonnet-4-5-20250929-v1:0", { tools = { { name = "t", strict = true,
    parameters = body.raw '{"type":"object","properties":{"a":{"type":"string"}}}' } } }, {}, "tools.0.strict" },
  { CLAUDE, { tools = { { name = "t", cache = { type = "ephemeral" } } } },
    { toolConfig = '{"tools":[{"toolSpec":{"inputSchema":{"json":{"type":"object","properties":{}}},"name":"t"}},'
    .. '{"cachePoint":{"type":"default"}}]}' } },

  -- Structured output
  { "anthropic.claude-sonnet-4-5-20250929-v1:0", { format = { type = "schema", schema = body.raw '{"type":"object"}' } },
    { outputConfig = '{"textFormat":{"structure":{"jsonSchema":{"schema":"{\\"type\\":\\"object\\",'
    .. '\\"additionalProperties\\":false}"}},"type":"json_schema"}}' } },
  { CLAUDE, { format = { type = "schema", schema = body.raw '{"type":"object"}', description = "A person." } },
    { toolConfig = '{"toolChoice":{"tool":{"name":"json_output"}},"tools":[{"toolSpec":{"description":"A person.",'
    .. '"inputSchema":{"json":{"type":"object"}},"name":"json_output"}}]}' } },
  { CLAUDE, { format = { type = "json" } }, { toolConfig = "null", system =
    '[{"text":"Answer with one JSON object and nothing else: no words around it, no code fence."}]' }, "format" },
  { CLAUDE, { format = { type = "schema", schema = body.raw '{"type":"object"}' }, tools = { TOOL } },
    { outputConfig = "null", system = '[{"text":"Answer with one JSON object and nothing else: no words around it, '
      .. 'no code fence. It must match this JSON schema:\\n{\\"type\\":\\"object\\"}"}]' }, "format" },
  { "anthropic.claude-sonnet-4-5-20250929-v1:0", { format = { type = "schema",
    schema = body.raw '{"type":"integer","minimum":1}' } },
    { outputConfig = '{"textFormat":{"structure":{"jsonSchema":{"schema":"{\\"type\\":\\"integer\\"}"}},'
      .. '"type":"json_schema"}}' }, "format.minimum" },
}

local function settings(test)
  for i, case in ipairs(SETTINGS) do
    test(("setting %d, %s"):format(i, case[1]), function()
      local out, dropped = write(case[2], case[1])
      for name, expected in pairs(case[3]) do
        if expected == "null" then
          expect.equal(out[name], nil, name)
        else
          dialects.same(out[name], expected, name)
        end
      end
      expect.equal(dropped, case[4] or "", "dropped")
    end)
  end

  for _, model in ipairs { "..", "a b", "x/../y", "a?b", "a%2Fb", "", ("m"):rep(2049) } do
    test("no model: " .. model:sub(1, 20), function()
      dialects.refuses("model: expected the id or ARN", write, {}, model)
    end)
  end

  test("an ARN is a model", function()
    write({}, "arn:aws:bedrock:eu-central-1:123456789012:inference-profile/eu.anthropic.claude-sonnet-4-20250514-v1:0")
  end)
end

-- ---------------------------------------------------------------- conversations

local function conversation(messages, expected, dropped, model, over)
  local request = { messages = messages }
  for name, value in pairs(over or {}) do request[name] = value end
  local out, names = write(request, model)
  dialects.same(out.messages, expected, "messages")
  expect.equal(names, dropped or "", "dropped")
  return out
end

local function turns(test)
  test("turns alternate and begin with the user, results come first, blank texts are left out", function()
    local out = conversation({ assistant(text "Well"), user(text "a"), user(text " "), assistant(call("1", "")),
      user(text "c"), tool_turn(result("1")), assistant(text "so \n") }, [[[
      {"role":"user","content":[{"text":"."}]},{"role":"assistant","content":[{"text":"Well"}]},
      {"role":"user","content":[{"text":"a"}]},
      {"role":"assistant","content":[{"toolUse":{"toolUseId":"1","name":"get_weather","input":{}}}]},
      {"role":"user","content":[{"toolResult":{"toolUseId":"1","content":[{"json":{}}]}},{"text":"c"}]},
      {"role":"assistant","content":[{"text":"so"}]}]
    ]])
    -- The calls' tools are told, though the request has none.
    dialects.same(out.toolConfig, [[{"tools":[{"toolSpec":{"name":"get_weather",
      "inputSchema":{"json":{"type":"object","properties":{}}}}}]}]])
  end)

  test("calls keep their tools when none may be used", function()
    local out = conversation({ user(text "a"), assistant(call("1", "{}")), tool_turn(result("1", text "r")) }, [[[
      {"role":"user","content":[{"text":"a"}]},
      {"role":"assistant","content":[{"toolUse":{"toolUseId":"1","name":"get_weather","input":{}}}]},
      {"role":"user","content":[{"toolResult":{"toolUseId":"1","content":[{"text":"r"}]}}]}]
    ]], "tool_choice", nil, { tools = { WEATHER }, tool_choice = "none" })
    expect.equal(#out.toolConfig.tools, 1)
    expect.equal(out.toolConfig.toolChoice, nil)
  end)

  test("instructions alone are asked", function()
    conversation({ { role = "developer", parts = { text "a" } } }, '[{"role":"user","content":[{"text":"a"}]}]')
  end)

  test("nothing to ask is refused", function()
    dialects.refuses("messages: expected at least one", write, { messages = { user(text " ") } })
  end)

  test("ids that do not fit are others, of call and result alike", function()
    local out = write { messages = { user(text "q"), assistant(call("a b", "{}"), call(("x"):rep(65), "{}")),
      tool_turn(result(("x"):rep(65), text "r")) } }
    expect.equal(out.messages[2].content[1].toolUse.toolUseId, "mgx_1")
    expect.equal(out.messages[2].content[2].toolUse.toolUseId, "mgx_2")
    expect.equal(out.messages[3].content[1].toolResult.toolUseId, "mgx_2")
  end)

  test("arguments that are no object are shown as they were said", function()
    conversation({ user(text "q"), assistant(call("1", '{"a":')) }, [[[{"role":"user","content":[{"text":"q"}]},
      {"role":"assistant","content":[{"toolUse":{"toolUseId":"1","name":"get_weather",
        "input":{"arguments":"{\"a\":"}}}]}]
    ]], "messages.1.arguments")
  end)

  test("only thinking with a signature of its maker here is passed on", function()
    conversation({ user(text "q"), assistant({ type = "thinking", text = "a", signature = "moongatebedrS" },
      { type = "thinking", text = "b", signature = "moongateanthS" }, { type = "thinking", text = "c" },
      { type = "thinking", text = "d", signature = "moongatebedr" }, { type = "redacted", data = "moongateanthD" },
      text "x") }, [[[{"role":"user","content":[{"text":"q"}]},{"role":"assistant","content":[
        {"reasoningContent":{"reasoningText":{"text":"a","signature":"S"}}},{"text":"x"}]}]
    ]])
  end)

  test("media: what has bytes and a format; no URL, and none of S3", function()
    conversation({ user({ type = "image", url = "https://x/y.png" }, { type = "image", url = "s3://bucket/y.png" },
      { type = "image", data = "AA", media_type = "image/webp" }, { type = "image", data = "AA", media_type = "image/tiff" },
      { type = "audio", data = "UkYA", media_type = "audio/wav" }, { type = "file", id = "file-1" },
      { type = "file", data = "YSxi", media_type = "text/csv", name = "a/b?.csv" },
      { type = "file", data = "YSxi", media_type = "text/csv", name = "a/b?.csv" }, { type = "file", text = "t" }) }, [[[
      {"role":"user","content":[{"image":{"format":"webp","source":{"bytes":"AA"}}},
        {"audio":{"format":"wav","source":{"bytes":"UkYA"}}},
        {"document":{"format":"csv","name":"a-b-","source":{"bytes":"YSxi"}}},
        {"document":{"format":"csv","name":"a-b- 2","source":{"bytes":"YSxi"}}},{"text":"t"}]}]
    ]], "messages.0.image,messages.0.image,messages.0.image,messages.0.file")
  end)

  test("a document does not stand alone; an assistant has no pictures", function()
    conversation({ user { type = "file", data = "JV" }, assistant({ type = "image", data = "AA" }, text "x") }, [[[
      {"role":"user","content":[{"document":{"format":"pdf","name":"document","source":{"bytes":"JV"}}},{"text":"."}]},
      {"role":"assistant","content":[{"text":"x"}]}]
    ]], "messages.1.image")
  end)

  test("a conversation ends with the user's turn, where the model does not go on from an answer", function()
    local asked = { user(text "q"), assistant(text "a") }
    local ends = '[{"role":"user","content":[{"text":"q"}]},{"role":"assistant","content":[{"text":"a"}]}'
    conversation(asked, ends .. "]")
    conversation(asked, ends .. "]", "", "us.amazon.nova-pro-v1:0")
    for _, model in ipairs { "us.anthropic.claude-opus-4-6-v1", "meta.llama3-70b-instruct-v1:0" } do
      conversation(asked, ends .. ',{"role":"user","content":[{"text":"."}]}]', "", model)
    end
  end)

  test("cache marks stay away from models that have none", function()
    conversation({ user { type = "text", text = "a", cache = { type = "ephemeral" } } },
      '[{"role":"user","content":[{"text":"a"}]}]', "", "meta.llama3-70b-instruct-v1:0")
  end)

  test("a call in progress without its thinking turns a budget off", function()
    local out, dropped = write { messages = { user(text "q"), assistant(call("1", "{}")), tool_turn(result("1", text "r")) },
      tools = { WEATHER }, reasoning = { budget = 2000 } }
    expect.equal(out.additionalModelRequestFields, nil)
    expect.equal(dropped, "reasoning")
  end)
end

-- ---------------------------------------------------------------- answers

local PARTS = { -- file = parts, stop, usage; as JSON
  text = { '[{"type":"text","text":"The Rhine, the Elbe, the Oder."}]', "stop", '{"input":12,"output":14}' },
  cached = { '[{"type":"text","text":"It is about rivers."}]', "stop",
    '{"input":1289,"output":6,"cached":1024,"cache_write":256}' },
  tools = { [[[{"type":"text","text":"I look."},
    {"type":"call","id":"tooluse_1","name":"get_weather","arguments":"{\"place\": \"Oslo\"}"},
    {"type":"call","id":"tooluse_2","name":"get_weather",
     "arguments":"{\"place\": \"Rome\", \"unit\": null, \"days\": 12345678901234567890}"}]
  ]], "calls", '{"input":200,"output":60}' },
  thinking = { [[[{"type":"thinking","text":"Count them.","signature":"moongatebedrEqoBCkgIARABGAIiQL=="},
    {"type":"redacted","data":"moongatebedrcmVkYWN0ZWQ="},{"type":"text","text":"25"}]
  ]], "stop", '{"input":20,"output":90}' },
  ["stop-sequence"] = { '[{"type":"text","text":"one two three four five six "}]', "sequence", '{"input":10,"output":12}' },
  guardrail = { '[{"type":"text","text":"I cannot talk about that."}]', "filter", '{"input":30,"output":0}' },
  length = { '[{"type":"text","text":"Once upon a"}]', "length", '{"input":8,"output":4}' },
  citations = { '[{"type":"text","text":"The sky is blue."}]', "stop", '{"input":40,"output":9}' },
}

-- Arguments as they read, whatever the white space of the file is.
local function tidy(parts)
  for _, part in ipairs(parts) do
    if part.arguments then
      local raw = body.raw(part.arguments)
      part.arguments = body.string(body.text(raw)):gsub("%s+", " "):gsub("([{%[]) ", "%1"):gsub(" ([}%]])", "%1")
    end
  end
  return parts
end

local function answers(test)
  for name, case in pairs(PARTS) do
    dialects.both(test, "reads answer-" .. name, function(long)
      local answer = bedrock.read_answer(body.decode(corpus("answer-" .. name .. ".json"), bedrock.raw, long),
        dialects.ctx { model = CLAUDE })
      local candidate = answer.candidates[1]
      dialects.same(tidy(candidate.parts), case[1], "parts")
      expect.equal(candidate.stop, case[2], "stop")
      dialects.same(answer.usage, case[3], "usage")
      expect.equal(answer.model, CLAUDE)
      if name == "stop-sequence" then expect.equal(candidate.stop_sequence, "seven") end
    end)
  end

  test("the sequence that was met, where only one was asked for", function()
    local said = body.decode '{"stopReason":"stop_sequence","output":{"message":{"content":[]}}}'
    local function stop_of(stop)
      return bedrock.read_answer(said, dialects.ctx { request = { stop = stop } }).candidates[1]
    end
    expect.equal(stop_of({ "a" }).stop_sequence, "a")
    expect.equal(stop_of({ "a", "b" }).stop, "stop")
    expect.equal(stop_of(nil).stop, "stop")
  end)

  dialects.both(test, "the tool that stands for structured output is text", function(long)
    local ctx = dialects.ctx { request = { format = { type = "schema" } } }
    local answer = bedrock.read_answer(body.decode([[{"output":{"message":{"content":[{"toolUse":{"toolUseId":"1",
      "name":"json_output","input":{"a":1}}}]}},"stopReason":"tool_use"}]], bedrock.raw, long), ctx)
    dialects.same(answer.candidates[1].parts, '[{"type":"text","text":"{\\"a\\":1}"}]')
    expect.equal(answer.candidates[1].stop, "stop")
  end)

  test("a provider's nonsense is passed over", function()
    for _, json in ipairs { "[]", "7", '"x"', '{"output":7}', '{"output":{"message":{"content":[7,null,{},{"text":7}]}}}',
      '{"usage":[],"stopReason":{}}', '{"stopReason":"later","usage":{"inputTokens":-1,"outputTokens":"a"}}',
      '{"output":{"message":{"content":[{"toolUse":7},{"toolUse":{"input":[1]}},{"reasoningContent":7},'
        .. '{"reasoningContent":{"reasoningText":7}},{"image":7},{"image":{"source":7}},{"citationsContent":7}]}}}' } do
      body.encode(bedrock.read_answer(body.decode(json, bedrock.raw), dialects.ctx()))
    end
  end)
end

-- ---------------------------------------------------------------- streams

-- A stream's deltas, each as a line of what it says.
local function lines(name, long, ctx_over)
  local ctx = dialects.ctx { model = CLAUDE, stream = true }
  for field, value in pairs(ctx_over or {}) do ctx[field] = value end
  local events = dialects.events(name:find("\n") and name or corpus("stream-" .. name .. ".sse"))
  local out = {}
  for i, delta in ipairs(dialects.read_stream(bedrock, ctx, events, long)) do
    local said = delta.text or delta.signature or delta.data or delta.stop or delta.name or delta.model
    out[i] = delta.kind .. (delta.call and " " .. delta.call or "") .. ": "
      .. (delta.usage and body.encode(delta.usage) or said and body.string(said, 1000) or "")
  end
  return table.concat(out, "\n")
end

local START = "start: " .. CLAUDE .. "\n"
local STREAMS = {
  text = START .. [[
text: The Rhine
text: , the Elbe.
stop: stop
usage: {"input":12,"output":8}]],
  tools = START .. [[
text: I look.
call 0: get_weather
arguments 0: {"place"
arguments 0: :"Oslo"}
call 1: get_weather
arguments 1: 
arguments 1: {"place":"Rome"}
stop: calls
usage: {"input":200,"output":60}]],
  thinking = START .. [[
thinking: Count
thinking:  them.
signature: moongatebedrEqoBCkgIARABGAIiQL==
redacted: moongatebedrcmVkYWN0ZWQ=
text: 25
stop: stop
usage: {"cache_write":0,"cached":1000,"input":1020,"output":90}]],
  ["stop-sequence"] = START .. [[
text: one two 
stop: sequence
usage: {"input":10,"output":3}]],
  throttled = START .. "text: The",
  guardrail = START .. [[
text: I cannot talk about that.
stop: filter
usage: {"input":0,"output":0}]],
}

local function streams(test)
  for name, expected in pairs(STREAMS) do
    dialects.both(test, "reads stream-" .. name, function(long) expect.equal(lines(name, long), expected) end)
  end

  dialects.both(test, "the tool that stands for structured output is text", function(long)
    local sse = [[
event: contentBlockStart
data: {"contentBlockIndex":0,"start":{"toolUse":{"toolUseId":"1","name":"json_output"}}}

event: contentBlockDelta
data: {"contentBlockIndex":0,"delta":{"toolUse":{"input":"{\"a\":1}"}}}

event: contentBlockStop
data: {"contentBlockIndex":0}

event: messageStop
data: {"stopReason":"tool_use"}
]]
    local ctx = { request = { format = { type = "schema" } } }
    expect.equal(lines(sse, long, ctx), 'text: {"a":1}\nstop: stop')
  end)

  test("a provider's nonsense is passed over", function()
    local read = bedrock.reader(dialects.ctx())
    for _, kind in ipairs { "messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop",
      "messageStop", "metadata", "later", "" } do
      for _, json in ipairs { "7", "[]", "{}", '{"contentBlockIndex":"a","delta":7,"start":7,"usage":7,"stopReason":7}',
        '{"delta":{"text":7,"toolUse":7,"reasoningContent":7,"image":7}}', '{"start":{"toolUse":{"name":7}}}',
        '{"delta":{"toolUse":{"input":{"a":1}}}}', '{"delta":{"toolUse":{"input":"x"}}}',
        '{"delta":{"reasoningContent":{"signature":7,"text":7,"redactedContent":7}}}' } do
        read(kind, body.decode(json, bedrock.raw), function(delta) body.encode(delta) end)
      end
    end
  end)
end

return function(test)
  corpus_requests(test)
  settings(test)
  turns(test)
  answers(test)
  streams(test)
end
