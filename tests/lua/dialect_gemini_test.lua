-- SPDX-License-Identifier: MIT
-- The dialect of Gemini: requests, answers and streams, both ways, with short and with long strings.

local body = require "moongate.body"
local common = require "moongate.dialect.common"
local expect = require "expect"
local data = require "dialects.gemini"
local gemini = require(data.functions)

local CORPUS = arg[0]:match("^(.*)/[^/]*$") .. "/../corpus/gemini/"
local LONGS = { 4096, 8 }

local function file(name)
  local f = assert(io.open(CORPUS .. name))
  local text = f:read("a")
  f:close()
  return text
end

local function corpus(kind)
  local names = {}
  for line in io.popen('ls "' .. CORPUS .. '"'):lines() do
    if line:find("^" .. kind .. "%-") and not line:find(".normal.", 1, true) then names[#names + 1] = line end
  end
  return names
end

local function context(more)
  local ctx = { model = "gemini-2.5-flash", id = "r7", now = 1700000000, dropped = {}, request = {} }
  for name, value in pairs(more or {}) do ctx[name] = value end
  ctx.drop = function(self, name) table.insert(self.dropped, name) end
  return ctx
end

local function decode(text, long) return body.decode(text, data.raw, long) end
local function read(text, ctx, long) return gemini.read_request(decode(text, long), ctx or context()) end
local function write(request, ctx) return body.encode(gemini.write_request(request, ctx or context())) end
local function read_answer(text, ctx, long)
  return gemini.read_answer(decode(text, long), ctx or context())
end
local function write_answer(answer, ctx) return body.encode(gemini.write_answer(answer, ctx or context())) end

local function read_stream(text, ctx, long)
  local feed, deltas = gemini.reader(ctx or context()), {}
  for data in text:gmatch("data: ([^\r\n]*)") do
    feed("", decode(data, long), function(delta) deltas[#deltas + 1] = delta end)
  end
  deltas[#deltas + 1] = { kind = "end" }
  return deltas
end

local function write_stream(deltas, ctx)
  local feed, out = gemini.writer(ctx or context()), {}
  for i, delta in ipairs(deltas) do
    feed(delta, function(type, data)
      expect.equal(type, nil, "event's name")
      out[#out + 1] = body.encode(data)
      out["at" .. #out] = i
    end)
  end
  return out
end

-- A request's JSON with one prompt, with what is given beside contents.
local function asking(more)
  return ('{"contents":[{"role":"user","parts":[{"text":"Hi"}]}]%s}'):format(more and "," .. more or "")
end

-- One message of the common form, written.
local function written(messages, ctx, more)
  local request = more or {}
  request.messages = messages
  return write(request, ctx)
end

local function user(...) return { role = "user", parts = { ... } } end
local function text(value) return { type = "text", text = value } end
local function assistant(...) return { role = "assistant", parts = { ... } } end
local function call(id, name, arguments, signature)
  return { type = "call", id = id, name = name, arguments = arguments, signature = signature }
end

local function round_trips(test)
  for _, long in ipairs(LONGS) do
    for _, name in ipairs(corpus "request") do
      test("base64 in the alphabet of URLs becomes what every other API takes", function()
    for _, long in ipairs(LONGS) do
      local request = read('{"contents":[{"parts":[{"inline_data":{"mime_type":"image/png","data":"-_AAAA-_"}}]}]}',
        nil, long)
      expect.equal(body.encode { request.messages[1].parts[1].data }, '["+/AAAA+/"]')
    end
  end)

  test(("%s is the same after a round trip, long %d"):format(name, long), function()
        local model = name:find("level", 1, true) and "gemini-3-flash-preview" or nil
        local first = read(file(name), context { model = model }, long)
        local again = read(write(first, context { model = model }), context { model = model }, long)
        expect.equal(body.encode(again), body.encode(first))
      end)
    end
    for _, name in ipairs(corpus "answer") do
      test(("%s is the same after a round trip, long %d"):format(name, long), function()
        local ctx = context { request = { reasoning = { show = true } } }
        local first = read_answer(file(name), ctx, long)
        if not first.id then first.id = "r7" end
        expect.equal(body.encode(read_answer(write_answer(first, ctx), ctx, long)), body.encode(first))
      end)
    end
    for _, name in ipairs(corpus "stream") do
      test(("%s is the same after a round trip, long %d"):format(name, long), function()
        local ctx = context { request = { reasoning = { show = true } } }
        local first = read_stream(file(name), ctx, long)
        local events = write_stream(first, ctx)
        local again = read_stream("data: " .. table.concat(events, "\ndata: ") .. "\n", ctx, long)
        for _, deltas in ipairs { first, again } do deltas[1].usage = nil end
        expect.equal(body.encode(again), body.encode(first))
      end)
    end
  end
end

local function requests_in(test)
  test("both spellings of fields are read", function()
    local ctx = context()
    local request = read([[{"system_instruction":{"parts":{"text":"Be brief."}},"contents":{"parts":[
      {"inline_data":{"mime_type":"image/png","data":"AAAA"}}]},"generation_config":{"max_output_tokens":5,
      "stop_sequences":["x"],"thinking_config":{"thinking_budget":0}}}]], ctx)
    expect.equal(request.messages[1].role, "system")
    expect.equal(request.messages[2].parts[1].media_type, "image/png")
    expect.equal(request.max_tokens, 5)
    expect.equal(request.reasoning.effort, "none")
    expect.list(ctx.dropped, {})
  end)

  test("what has no place in the common form is dropped by its name", function()
    local ctx = context()
    local request = read(file "request-google-only.json", ctx)
    expect.list(ctx.dropped, { "cachedContent", "safetySettings", "tools.googleSearch", "tools.codeExecution",
      "generationConfig.mediaResolution" })
    expect.equal(request.tools, nil)
  end)

  test("Google's schema becomes JSON schema, in the order that it asks for", function()
    local request = read(file "request-tools.json")
    expect.equal(body.text(request.tools[1].parameters), '{"properties":{"place":{"description":"A town",'
      .. '"type":"string"},"unit":{"enum":["celsius","fahrenheit"],"type":["string","null"]}},'
      .. '"required":["place"],"type":"object"}')
    local structured = read(file "request-structured.json")
    expect.contains(body.text(structured.format.schema), '"minItems":1')
  end)

  test("a schema that is JSON schema already stays the bytes it was", function()
    local schema = '{ "type": "object", "properties": {"z": {"type":"string"}, "a": {"type":"integer"}} }'
    local tool = '{"functionDeclarations":[{"name":"f","parameters":' .. schema .. "}]}"
    local request = read(asking('"tools":[' .. tool .. "]"))
    expect.equal(body.text(request.tools[1].parameters), schema)
  end)

  test("a history without ids has the same ids each time, and results find their calls", function()
    local request = read(file "request-tool-turn-no-ids.json")
    local calls, results = request.messages[2].parts, request.messages[3].parts
    expect.list({ calls[1].id, calls[2].id }, { "call_1", "call_2" })
    expect.list({ results[1].id, results[2].id }, { "call_1", "call_2" })
    expect.equal(results[1].parts[1].text, "yes")
    expect.equal(results[2].is_error, true)
    expect.equal(request.messages[4].role, "user")
  end)

  test("the pieces of a streamed answer, kept as a content each, are one message", function()
    local request = read([[{"contents":[{"role":"user","parts":[{"text":"Go"}]},
      {"role":"model","parts":[{"text":"I "}]},{"role":"model","parts":[{"text":"look."}]},
      {"role":"model","parts":[{"functionCall":{"name":"f","args":{}}}]},
      {"role":"model","parts":[{"text":""}]},
      {"role":"user","parts":[{"functionResponse":{"name":"f","response":{"ok":true}}},{"text":"Well?"}]}]}]])
    local roles = {}
    for i, message in ipairs(request.messages) do roles[i] = message.role .. #message.parts end
    expect.list(roles, { "user1", "assistant2", "tool1", "user1" })
    expect.equal(request.messages[2].parts[1].text, "I look.")
    expect.equal(request.messages[3].parts[1].parts[1].text, '{"ok":true}')
  end)

  test("tool choice: any of some keeps those tools only, one alone is named, VALIDATED is strict", function()
    local tools = '"tools":[{"functionDeclarations":[{"name":"a"},{"name":"b"},{"name":"c"}]}],'
    local function choice(config)
      return read(asking(tools .. '"toolConfig":{"functionCallingConfig":' .. config .. "}"))
    end
    local some = choice '{"mode":"ANY","allowedFunctionNames":["a","c"]}'
    expect.equal(some.tool_choice, "required")
    expect.equal(#some.tools, 2)
    expect.equal(choice('{"mode":"ANY","allowedFunctionNames":["b"]}').tool_choice.name, "b")
    expect.equal(choice('{"mode":"NONE"}').tool_choice, "none")
    expect.equal(choice('{"mode":"VALIDATED"}').tools[1].strict, true)
  end)

  for _, case in ipairs {
    { '{"contents":"Hi"}', 'contents: expected a list, found a text' },
    { '{}', "contents: expected a value, found none" },
    { '{"contents":[{"role":"system","parts":[]}]}',
      'contents.0.role: expected "user" or "model", found "system"' },
    { '{"contents":[{"parts":[{"text":7}]}]}', "contents.0.parts.0.text: expected a text, found a number" },
    { '{"contents":[null]}', "contents.0: expected a value, found none" },
    { asking '"generationConfig":{"temperature":"hot"}', "generationConfig.temperature: expected a number" },
    { asking '"generationConfig":{"stopSequences":[1]}',
      "generationConfig.stopSequences.0: expected a text" },
    { asking '"tools":[{"functionDeclarations":[{}]}]', "functionDeclarations.0.name: expected a value" },
  } do
    test("is refused: " .. case[1], function()
      local good, problem = pcall(read, case[1])
      expect.equal(good, false, "accepted")
      expect.contains(problem.refuse, case[2])
    end)
  end
end

local function requests_out(test)
  test("all system prompts go first, turns of one role are one content", function()
    local out = written { { role = "system", parts = { text "A" } }, user(text "1"), user(text "2"),
      { role = "developer", parts = { text "B" } }, assistant(text "3") }
    expect.equal(out, '{"contents":[{"parts":[{"text":"1"},{"text":"2"}],"role":"user"},'
      .. '{"parts":[{"text":"3"}],"role":"model"}],"systemInstruction":{"parts":[{"text":"A"},{"text":"B"}]}}')
  end)

  test("a request of system prompts alone is asked as a user's", function()
    expect.equal(written { { role = "system", parts = { text "A" } } },
      '{"contents":[{"parts":[{"text":"A"}],"role":"user"}]}')
  end)

  test("images: data, data URL, address with a guessed type", function()
    local out = written { user({ type = "image", data = "AAAA", media_type = "image/png" },
      { type = "image", url = "data:image/gif;base64,BBBB" },
      { type = "image", url = "https://x.org/a.PNG?b.gif" },
      { type = "image", url = "https://x.org/picture" }) }
    expect.contains(out, '{"inlineData":{"data":"AAAA","mimeType":"image/png"}}')
    expect.contains(out, '{"inlineData":{"data":"BBBB","mimeType":"image/gif"}}')
    expect.contains(out, '{"fileData":{"fileUri":"https://x.org/a.PNG?b.gif","mimeType":"image/png"}}')
    expect.contains(out, '{"fileData":{"fileUri":"https://x.org/picture","mimeType":"image/jpeg"}}')
  end)

  test("arguments: an object stays, none is {}, what is none stands under _text", function()
    local out = written { assistant(call("1", "f", '{"a": 1}'), call("2", "f", ""), call("3", "f", "[1]"),
      call("4", "f", '{"a":')) }
    expect.contains(out, '"args":{"a": 1},"id":"1"')
    expect.contains(out, '"args":{},"id":"2"')
    expect.contains(out, '"args":{"_text":"[1]"},"id":"3"')
    expect.contains(out, '"args":{"_text":"{\\"a\\":"},"id":"4"')
  end)

  test("results are named by their calls, and are objects", function()
    local function result(id, value, more)
      local part = { type = "result", id = id, parts = { text(value) } }
      for name, v in pairs(more or {}) do part[name] = v end
      return part
    end
    local out = written { assistant(call("1", "f", "{}"), call("2", "g", "{}"), call("3", "h", "{}")),
      { role = "tool", parts = { result("1", "sunny"), result("2", ' {"ok":1}'),
        result("3", "no", { is_error = true }) } }, user(text "So?") }
    expect.contains(out, '{"functionResponse":{"id":"1","name":"f","response":{"result":"sunny"}}}')
    expect.contains(out, '{"functionResponse":{"id":"2","name":"g","response": {"ok":1}}}')
    expect.contains(out, '{"id":"3","name":"h","response":{"error":"no"}}},{"text":"So?"}]')
  end)

  test("an image of a result stands beside it, for Gemini 3 inside it", function()
    local plot = { type = "image", data = "AAAA", media_type = "image/png" }
    local messages = { assistant(call("1", "f", "{}")),
      { role = "tool", parts = { { type = "result", id = "1", parts = { text "a plot", plot } } } } }
    expect.contains(written(messages), '"response":{"result":"a plot"}}},{"inlineData":{')
    expect.contains(written(messages, context { model = "gemini-3-flash-preview" }),
      '"parts":[{"inlineData":{"data":"AAAA","mimeType":"image/png"}}],"response":{"result":"a plot"}')
  end)

  test("Gemini 3 gets the placeholder on a turn's first call without a signature, others none", function()
    local foreign = common.seal("anthropic", "c2ln")
    local messages = { assistant(call("1", "f", "{}", foreign), call("2", "f", "{}")) }
    local out = written(messages, context { model = "gemini-3.1-pro-preview" })
    local _, times = out:gsub('"thoughtSignature":"skip_thought_signature_validator"', "")
    expect.equal(times, 1)
    expect.equal(written(messages):find("thoughtSignature"), nil)
    local own = { assistant(call("1", "f", "{}", common.seal("gemini", "AAAA"))) }
    expect.contains(written(own, context { model = "gemini-pro-latest" }), '"thoughtSignature":"AAAA"')
  end)

  test("a signature that came back with the thinking belongs to the call after it", function()
    local seal = common.seal("gemini", "AAAA")
    local unsigned = { { type = "thinking", text = "", signature = seal },
      { type = "redacted", data = seal } }
    for _, before in ipairs(unsigned) do
      local out = written({ assistant(before, call("1", "f", "{}")) }, context { model = "gemini-3-pro" })
      expect.contains(out, '"parts":[{"functionCall":{"args":{},"id":"1","name":"f"},'
        .. '"thoughtSignature":"AAAA"}]')
    end
  end)

  test("another maker's thinking is left out, without a word", function()
    local ctx = context()
    local out = written({ assistant(
      { type = "thinking", text = "Hm", signature = common.seal("anthropic", "eA==") },
      { type = "thinking", text = "Ah", signature = common.seal("openai", "") },
      { type = "redacted", data = common.seal("anthropic", "eA==") }, text "Yes") }, ctx)
    expect.equal(out, '{"contents":[{"parts":[{"text":"Yes"}],"role":"model"}]}')
    expect.list(ctx.dropped, {})
  end)

  test("settings are kept to Google's ranges, and what had to give is told", function()
    local ctx = context()
    local out = written({ user(text "Hi") }, ctx, { temperature = 2.5, top_p = 0.5, n = 1, max_tokens = 9,
      stop = { "1", "2", "3", "4", "5", "6" }, seed = 1 << 40, logprobs = true, top_logprobs = 2, user = "u",
      verbosity = "low", tools = { { name = "f" } }, parallel_tool_calls = false })
    expect.contains(out, '"generationConfig":{"logprobs":2,"maxOutputTokens":9,"responseLogprobs":true,'
      .. '"seed":2147483647,"stopSequences":["1","2","3","4","5"],"temperature":2,"topP":0.5}')
    expect.list(ctx.dropped, { "verbosity", "parallel_tool_calls", "temperature", "seed", "stop" })
  end)

  for _, case in ipairs {
    { "gemini-2.5-flash", { effort = "low", show = true }, '{"includeThoughts":true,"thinkingBudget":2048}' },
    { "gemini-2.5-flash", { effort = "none" }, '{"thinkingBudget":0}' },
    { "gemini-2.5-flash", { budget = 60000 }, '{"thinkingBudget":24576}' },
    { "gemini-2.5-pro", { effort = "none" }, '{"thinkingBudget":128}', "reasoning.effort" },
    { "gemini-3-flash-preview", { effort = "minimal" }, '{"thinkingLevel":"MINIMAL"}' },
    { "gemini-3-flash-preview", { budget = 9000 }, '{"thinkingLevel":"MEDIUM"}' },
    { "gemini-3-pro-preview", { effort = "medium" }, '{"thinkingLevel":"HIGH"}' },
    { "gemini-3.1-pro-preview", { effort = "none" }, '{"thinkingLevel":"LOW"}', "reasoning.effort" },
    { "my-tuned-model", { effort = "high" }, '{"thinkingBudget":16384}' },
  } do
    test(("thinking of %s: %s"):format(case[1], case[3]), function()
      local ctx = context { model = case[1] }
      local out = written({ user(text "Hi") }, ctx, { reasoning = case[2] })
      expect.contains(out, '"thinkingConfig":' .. case[3])
      expect.list(ctx.dropped, { case[4] })
    end)
  end

  test("a model that does not think is not asked to", function()
    local ctx = context { model = "gemini-2.0-flash" }
    expect.equal(written({ user(text "Hi") }, ctx, { reasoning = { effort = "high" } }):find("thinking"), nil)
    expect.list(ctx.dropped, { "reasoning" })
  end)

  test("JSON beside tools is asked for in words of models before Gemini 3", function()
    local request = { messages = { user(text "q") }, tools = { { name = "f" } },
      format = { type = "schema", schema = body.raw '{"type":"array"}' } }
    local ctx = context { model = "gemini-2.5-flash" }
    local out = gemini.write_request(request, ctx)
    expect.equal(out.generationConfig, nil)
    expect.equal(body.encode(out.systemInstruction), '{"parts":[{"text":"Answer with one JSON value and nothing else: '
      .. 'no words around it, no code fence. It must match this JSON schema:\\n{\\"type\\":\\"array\\"}"}]}')
    expect.list(ctx.dropped, { "format" })
    for _, model in ipairs { "gemini-3-pro", "tuned" } do
      expect.equal(gemini.write_request(request, context { model = model }).generationConfig.responseMimeType,
        "application/json")
    end
  end)

  test("the name of who speaks is dropped by name", function()
    local ctx = context()
    gemini.write_request({ messages = { { role = "user", name = "bob", parts = { text "q" } } } }, ctx)
    expect.list(ctx.dropped, { "messages.0.name" })
  end)

  test("tool choice is Google's mode", function()
    local function mode(more)
      more.tools = more.tools or { { name = "f" } }
      return written({ user(text "Hi") }, nil, more)
    end
    expect.contains(mode { tool_choice = "required" }, '{"functionCallingConfig":{"mode":"ANY"}}')
    expect.contains(mode { tool_choice = "none" }, '{"mode":"NONE"}')
    expect.contains(mode { tool_choice = { name = "f" } }, '{"allowedFunctionNames":["f"],"mode":"ANY"}')
    expect.contains(mode { tools = { { name = "f", strict = true } } }, '{"mode":"VALIDATED"}')
    expect.equal(mode({}):find("toolConfig"), nil)
  end)
end

local function answers(test)
  test("calls make the reason to stop, and have ids", function()
    local answer = read_answer(file "answer-call.json")
    local candidate = answer.candidates[1]
    expect.equal(candidate.stop, "calls")
    expect.equal(candidate.parts[1].id, "call_r7_0")
    expect.equal(candidate.parts[1].signature, common.seal("gemini", "CiQB4/H/Xk8="))
    expect.equal(body.table(body.raw(candidate.parts[1].arguments)).place, "Bergen")
  end)

  test("usage: thoughts are output, what is cached is input", function()
    local usage = read_answer(file "answer-cached-thinking.json").usage
    expect.equal(usage.input, 2000)
    expect.equal(usage.output, 144)
    expect.equal(usage.cached, 1792)
    expect.equal(usage.reasoning, 141)
    expect.contains(write_answer { candidates = {}, usage = usage },
      '"usageMetadata":{"cachedContentTokenCount":1792,'
      .. '"candidatesTokenCount":3,"promptTokenCount":2000,"thoughtsTokenCount":141,"totalTokenCount":2144}')
  end)

  for name, stop in pairs { ["answer-safety.json"] = "filter", ["answer-prompt-blocked.json"] = "filter",
    ["answer-max-tokens.json"] = "length", ["answer-max-tokens-in-thought.json"] = "length" } do
    test(name .. " stops for " .. stop, function()
      expect.equal(read_answer(file(name)).candidates[1].stop, stop)
    end)
  end

  test("thoughts go only to who asked for them", function()
    local answer = { candidates = { { parts = { { type = "thinking", text = "Hm", signature =
      common.seal("anthropic", "a+/_-?") }, text "Yes" }, stop = "stop" } } }
    expect.equal(write_answer(answer):find("Hm"), nil)
    expect.contains(write_answer(answer, context { request = { reasoning = { show = true } } }),
      '{"text":"Hm","thought":true,"thoughtSignature":"moongateanthYSsvXy0/"}')
  end)

  test("another maker's signature survives a client that spells base64 anew", function()
    local signed = call("1", "f", "{}", common.seal("anthropic", "a+/_-??~"))
    local answer = { candidates = { { parts = { signed } } } }
    local sent = write_answer(answer):match('"thoughtSignature":"([^"]*)"')
    expect.equal(#sent % 4, 0)
    local request = read(('{"contents":[{"role":"model","parts":[{"functionCall":{"name":"f","args":{}},'
      .. '"thoughtSignature":"%s"}]}]}'):format((sent:gsub("+", "-"):gsub("/", "_"))))
    expect.equal(request.messages[1].parts[1].signature, common.seal("anthropic", "a+/_-??~"))
  end)

  test("a client without alt=sse gets a list of one answer", function()
    expect.equal(write_answer({ candidates = {} }, context { list = true }):sub(1, 15), '[{"candidates":')
  end)

  test("token probabilities are OpenAI's in between", function()
    local logprobs = read_answer(file "answer-logprobs.json").candidates[1].logprobs
    local found = body.table(logprobs).content[1]
    expect.equal(found.token, "Yes")
    expect.near(found.logprob, -0.1)
    expect.equal(found.top_logprobs[2].token, "No")
    expect.near(found.top_logprobs[2].logprob, -2.4)
  end)
end

local function kinds(deltas)
  local out = {}
  for i, delta in ipairs(deltas) do out[i] = delta.kind end
  return out
end

local function streams(test)
  test("a stream's deltas: usage with the reason to stop, once", function()
    expect.list(kinds(read_stream(file "stream-plain.sse")),
      { "start", "text", "text", "text", "stop", "usage", "end" })
    expect.list(kinds(read_stream(file "stream-thoughts.sse")),
      { "start", "thinking", "thinking", "text", "stop", "usage", "end" })
    expect.list(kinds(read_stream(file "stream-parallel-calls.sse")),
      { "start", "text", "call", "arguments", "call", "arguments", "stop", "usage", "end" })
    expect.list(kinds(read_stream(file "stream-prompt-blocked.sse")), { "start", "stop", "usage", "end" })
  end)

  test("a call comes whole, in the turn in which it is; calls side by side keep their order", function()
    local events = write_stream {
      { kind = "start", id = "a", model = "m" },
      { kind = "call", call = 0, id = "1", name = "f" }, { kind = "call", call = 1, id = "2", name = "g" },
      { kind = "arguments", call = 1, text = '{"b":2}' }, { kind = "arguments", call = 0, text = '{"a"' },
      { kind = "arguments", call = 0, text = ":1}" }, { kind = "stop", stop = "calls" },
      { kind = "usage", usage = { input = 3, output = 4 } }, { kind = "end" } }
    expect.equal(#events, 3)
    expect.contains(events[1], '{"functionCall":{"args":{"a":1},"id":"1","name":"f"}}')
    expect.contains(events[2], '{"functionCall":{"args":{"b":2},"id":"2","name":"g"}}')
    expect.contains(events[3], '"finishReason":"STOP"')
    expect.contains(events[3], '"totalTokenCount":7')
    expect.list({ events.at1, events.at2, events.at3 }, { 6, 6, 8 })
  end)

  test("a call is whole where its braces close, not those of a text in it", function()
    local events = write_stream {
      { kind = "call", call = 0, id = "1", name = "f" }, { kind = "arguments", call = 0, text = '{"a":"}\\' },
      { kind = "arguments", call = 0, text = '"}' }, { kind = "arguments", call = 0, text = '"}' } }
    expect.list({ #events, events.at1 }, { 1, 4 })
    expect.contains(events[1], [[{"a":"}\"}"}]])
  end)

  test("text goes out in its turn, and every event has a part, or SDKs forget the answer", function()
    local events = write_stream { { kind = "text", text = "a" }, { kind = "text", text = "b" },
      { kind = "end" } }
    expect.list({ events.at1, events.at2, events.at3 }, { 1, 2, 3 })
    local late = write_stream { { kind = "stop", stop = "length" }, { kind = "usage", usage = { input = 1 } },
      { kind = "usage", usage = { output = 1 } }, { kind = "end" } }
    expect.equal(#late, 2)
    for _, list in ipairs { events, late } do
      for _, event in ipairs(list) do expect.contains(event, '"content":{"parts":[{"text":') end
    end
    expect.contains(late[1], '"finishReason":"MAX_TOKENS"')
  end)
end

-- ---------------------------------------------------------------- hostile shapes

local WRONG = { "null", "7", '"x"', "[]", "{}", "[null]", '[[["x"]]]', "true", '{"parts":7}' }

-- Every value of a JSON text replaced by something else, one at a time.
local function mutations(source, use)
  local at = 1
  while true do
    local from, stop = source:find('":%s*', at)
    if not from then return end
    at = stop + 1
    for size = 1, #source - stop do
      local value = source:sub(stop + 1, stop + size)
      if source:find("^%s*[,}%]]", stop + size + 1) and pcall(body.decode, value) then
        for _, wrong in ipairs(WRONG) do
          use(source:sub(1, stop) .. wrong .. source:sub(stop + size + 1))
        end
        break
      end
    end
  end
end

local function bears(what, run)
  local good, problem = xpcall(run, function(e)
    return type(e) == "table" and e or debug.traceback(tostring(e))
  end)
  if not good and not (type(problem) == "table" and type(problem.refuse) == "string") then
    error(what .. "\n" .. tostring(problem), 0)
  end
end

local function hostile(test)
  for _, name in ipairs(corpus "request") do
    test("no wrong value in " .. name .. " does more than refuse", function()
      mutations(file(name), function(source)
        bears(source, function() write(read(source, nil, 8)) end)
      end)
    end)
  end
  for _, name in ipairs(corpus "answer") do
    test("no wrong value in " .. name .. " does more than refuse", function()
      mutations(file(name), function(source)
        bears(source, function() write_answer(read_answer(source, nil, 8)) end)
        bears(source, function() write_stream(read_stream("data: " .. source:gsub("\n", " "), nil, 8)) end)
      end)
    end)
  end
end

return function(test)
  round_trips(test)
  requests_in(test)
  requests_out(test)
  answers(test)
  streams(test)
  hostile(test)
end
