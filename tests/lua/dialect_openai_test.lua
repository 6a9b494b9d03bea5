-- SPDX-License-Identifier: MIT
-- Chat completions: each feature into the common form and out of it, streams, and bodies that lie.

local body = require "moongate.body"
local chat = require "moongate.dialect.chat"
local dialects = require "dialects"
local expect = require "expect"

local RAW = require("moongate.dialect.openai_rules").raw
local same, refuses, ctx_of = dialects.same, dialects.refuses, dialects.ctx

local HELLO = { { role = "user", parts = { { type = "text", text = "hello" } } } }

return function(test)
  local function both(name, run) dialects.both(test, name, run) end

  local function read(text, long, fields)
    local ctx = ctx_of(fields)
    return chat.read_request(body.decode(text, RAW, long), ctx), ctx
  end

  local function read_messages(messages, long, fields)
    local request, ctx = read('{"model":"gpt-4o","messages":' .. messages .. "}", long, fields)
    return request.messages, ctx
  end

  local function write(request, fields)
    local ctx = ctx_of(fields)
    request.messages = request.messages or HELLO
    return chat.write_request(request, ctx), ctx
  end

  -- ---------------------------------------------------------------- requests, read

  both("prompts stand where they stood; names are kept", function(long)
    same(read_messages([[ [{"role":"system","content":"Be brief, please."},
      {"role":"user","name":"ann","content":[{"type":"text","text":"What is this thing?"}]},
      {"role":"developer","content":"Speak German."}] ]], long), [[ [
      {"role":"system","parts":[{"type":"text","text":"Be brief, please."}]},
      {"role":"user","name":"ann","parts":[{"type":"text","text":"What is this thing?"}]},
      {"role":"developer","parts":[{"type":"text","text":"Speak German."}]}] ]])
  end)

  both("images by URL and as data, with detail; audio; files", function(long)
    same(read_messages([[ [{"role":"user","content":[
      {"type":"image_url","image_url":{"url":"https://images.example/a.jpg","detail":"low"}},
      {"type":"image_url","image_url":{"url":"data:image/png;base64,iVBORw0KGgo="}},
      {"type":"image_url","image_url":"data:image/webp;charset=x;base64,UklGRg=="},
      {"type":"input_audio","input_audio":{"data":"SUQzBAAAAAAA","format":"mp3"}},
      {"type":"file","file":{"file_data":"JVBERi0xLjQK","filename":"a.pdf"}},
      {"type":"file","file":{"file_id":"file-123"}}]}] ]], long)[1].parts, [[ [
      {"type":"image","url":"https://images.example/a.jpg","detail":"low"},
      {"type":"image","data":"iVBORw0KGgo=","media_type":"image/png"},
      {"type":"image","data":"UklGRg==","media_type":"image/webp"},
      {"type":"audio","data":"SUQzBAAAAAAA","media_type":"audio/mpeg"},
      {"type":"file","data":"JVBERi0xLjQK","media_type":"application/pdf","name":"a.pdf"},
      {"type":"file","id":"file-123"}] ]])
  end)

  both("parallel calls, and their results in one message with the tools' names", function(long)
    local messages = read_messages([[ [{"role":"assistant","content":"","tool_calls":[
      {"id":"call_1","type":"function","function":{"name":"get_weather","arguments":"{\"city\": 1}"}},
      {"id":"call_2","type":"function","function":{"name":"list_cities","arguments":""}}]},
      {"role":"tool","tool_call_id":"call_1","content":"rain over Paris"},
      {"role":"tool","tool_call_id":"call_2","content":[{"type":"text","text":"Paris"},{"type":"text","text":"Rome"}]},
      {"role":"user","content":"thanks"}] ]], long)
    same(messages, [[ [{"role":"assistant","parts":[
      {"type":"call","id":"call_1","name":"get_weather","arguments":"{\"city\": 1}"},
      {"type":"call","id":"call_2","name":"list_cities","arguments":"{}"}]},
      {"role":"tool","parts":[
        {"type":"result","id":"call_1","name":"get_weather","parts":[{"type":"text","text":"rain over Paris"}]},
        {"type":"result","id":"call_2","name":"list_cities","parts":[{"type":"text","text":"Paris"},
          {"type":"text","text":"Rome"}]}]},
      {"role":"user","parts":[{"type":"text","text":"thanks"}]}] ]])
  end)

  both("a call without an id gets one, and arguments may be an object", function(long)
    same(read_messages([[ [{"role":"assistant","tool_calls":[
      {"function":{"name":"get_weather","arguments":{"city":"Paris"}}},
      {"id":"","function":{"name":"get_weather","arguments":"{broken"}}]}] ]], long)[1].parts, [[ [
      {"type":"call","id":"call_r1_0","name":"get_weather","arguments":"{\"city\":\"Paris\"}"},
      {"type":"call","id":"call_r1_1","name":"get_weather","arguments":"{broken"}] ]])
  end)

  both("tools with raw schemas; provider's own tools are dropped by name", function(long)
    local request, ctx = read([[{"messages":[],"tools":[
      {"type":"function","function":{"name":"f","description":"Does f, and well","strict":true,
        "parameters":{"type":"object", "properties":{}}}},
      {"type":"web_search","filters":1}],"tool_choice":"required","parallel_tool_calls":false}]], long)
    expect.equal(body.text(request.tools[1].parameters), '{"type":"object", "properties":{}}')
    request.tools[1].parameters = nil
    same(request.tools, [[ [{"name":"f","description":"Does f, and well","strict":true}] ]])
    expect.equal(request.tool_choice, "required")
    expect.equal(request.parallel_tool_calls, false)
    expect.list(ctx.dropped, { "tools.web_search" })
  end)

  both("the choice of a tool by name, and of some tools", function(long)
    local tools = [["messages":[],"tools":[{"type":"function","function":{"name":"first_tool"}},
      {"type":"function","function":{"name":"second_tool"}}],"tool_choice":]]
    same(read("{" .. tools .. [[{"type":"function","function":{"name":"first_tool"}}}]], long).tool_choice,
      [[{"name":"first_tool"}]])
    local request = read("{" .. tools .. [[{"type":"allowed_tools","allowed_tools":{"mode":"required",
      "tools":[{"type":"function","function":{"name":"second_tool"}}]}}}]], long)
    same(request.tools, [[ [{"name":"second_tool"}] ]])
    expect.equal(request.tool_choice, "required")
  end)

  both("structured output, sampling, limits, names for the caller", function(long)
    local request = read([[{"messages":[],"response_format":{"type":"json_schema","json_schema":{"name":"person",
      "strict":true,"description":"a person","schema":{"type":"object"}}},"stop":"the end","max_tokens":5,
      "max_completion_tokens":7,"temperature":1.5,"top_p":0.5,"n":2,"seed":9,"frequency_penalty":1,
      "presence_penalty":-1,"logprobs":true,"top_logprobs":2,"user":"someone-7","metadata":{"a":"b"},
      "reasoning_effort":"minimal","verbosity":"medium","service_tier":"priority","stream":true,
      "stream_options":{"include_usage":true},"prompt_cache_key":"key-of-cache"}]], long)
    expect.equal(body.text(request.format.schema), '{"type":"object"}')
    request.format.schema, request.messages = nil, nil
    same(request, [[{"format":{"type":"schema","name":"person","strict":true,
      "description":"a person"},"stop":["the end"],"max_tokens":7,"temperature":1.5,"top_p":0.5,"n":2,"seed":9,
      "frequency_penalty":1,"presence_penalty":-1,"logprobs":true,"top_logprobs":2,"user":"someone-7",
      "metadata":{"a":"b"},"reasoning":{"effort":"minimal"},"verbosity":"medium","service_tier":"priority",
      "stream":true,"include_usage":true,"cache_key":"key-of-cache"}]])
    same(read([[{"messages":[],"response_format":{"type":"json_object"}}]], long).format, [[{"type":"json"}]])
    expect.equal(read([[{"messages":[],"response_format":{"type":"text"}}]], long).format, nil)
  end)

  both("unknown fields are dropped by name, harmless ones without a word", function(long)
    local request, ctx = read([[{"messages":[{"role":"assistant","content":"hm","audio":{"id":"a"}}],"store":false,
      "logit_bias":{"1":2},"prediction":{},"safety_identifier":"someone-9","n_probs":3}]], long,
      { provider = "anthropic" })
    expect.list(ctx.dropped, { "messages.0.audio", "logit_bias", "n_probs", "prediction" })
    expect.equal(request.user, "someone-9")
    request, ctx = read([[{"messages":[],"logit_bias":{"1":2},"store":true}]], long, { provider = "azure" })
    expect.list(ctx.dropped, {})
    same(write(request, { provider = "azure" }).logit_bias, [[{"1":2}]])
  end)

  both("thinking comes back with its seals", function(long)
    same(read_messages([[ [{"role":"assistant","content":"Yes.","reasoning_content":"I think so.",
      "reasoning_details":[{"type":"reasoning.text","signature":"moongateanthEqQBCgIYAhIM","index":0},
        {"type":"reasoning.encrypted","data":"moongateanthEmwKAhgBEgy3","index":1}]},
      {"role":"assistant","content":"No.","reasoning":"Perhaps not so."}] ]], long), [[ [
      {"role":"assistant","parts":[
        {"type":"thinking","text":"I think so.","signature":"moongateanthEqQBCgIYAhIM"},
        {"type":"redacted","data":"moongateanthEmwKAhgBEgy3"},{"type":"text","text":"Yes."}]},
      {"role":"assistant","parts":[{"type":"thinking","text":"Perhaps not so.","signature":"moongateoaic"},
        {"type":"text","text":"No."}]}] ]])
  end)

  test("what has the wrong kind is refused with the field, what was expected and what was found", function()
    local function refused(part, text) refuses(part, read, text, 4096) end
    refused("messages: expected a value, found none", "{}")
    refused("messages: expected a list, found a number", '{"messages":5}')
    refused("messages.0: expected an object, found a text", '{"messages":["x"]}')
    refused("messages.0.role: expected a value", '{"messages":[{"content":"x"}]}')
    refused('messages.0.role: expected "system"', '{"messages":[{"role":"critic","content":"x"}]}')
    refused("messages.0.content: expected a list, found an object", '{"messages":[{"role":"user","content":{"a":1}}]}')
    refused("messages.0.content.0.image_url.url: expected a text, found a boolean",
      '{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":true}}]}]}')
    refused("messages.0.tool_calls.0.function.name: expected a value",
      '{"messages":[{"role":"assistant","tool_calls":[{"function":{}}]}]}')
    refused("messages.0.tool_call_id", '{"messages":[{"role":"tool","content":"x"}]}')
    refused("temperature: expected a number, found a text", '{"messages":[],"temperature":"hot"}')
    refused("tools.0.function.parameters: expected an object, found a list",
      '{"messages":[],"tools":[{"type":"function","function":{"name":"f","parameters":[1]}}]}')
    refused("functions: the oldest form", '{"messages":[],"functions":[]}')
    refused("body: expected an object, found a list", "[1]")
  end)

  -- ---------------------------------------------------------------- requests, written

  test("the limit of tokens and the developer go by the model's name", function()
    local function limit(model, fields)
      fields = fields or {}
      fields.model = model
      local out = write({ max_tokens = 9, messages = { { role = "developer", parts = HELLO[1].parts } } }, fields)
      return (out.max_tokens and "max_tokens " or "max_completion_tokens ") .. out.messages[1].role
    end
    for _, model in ipairs { "gpt-5.1", "o3-mini", "openai/gpt-4o", "gpt-5-chat-latest", "GPT-4.1" } do
      expect.equal(limit(model), "max_completion_tokens developer", model)
    end
    for _, model in ipairs { "llama-3.3-70b", "deepseek-chat", "mistral-large-latest", "qwen3:8b" } do
      expect.equal(limit(model), "max_tokens system", model)
    end
    expect.equal(limit("our-deployment", { provider = "azure" }), "max_completion_tokens developer")
  end)

  test("reasoning models are not asked what they refuse", function()
    local request = { temperature = 0.2, top_p = 1, presence_penalty = 1, logprobs = true }
    local out, ctx = write(request, { model = "gpt-5-mini" })
    expect.list({ out.temperature, out.top_p, out.presence_penalty, out.logprobs }, {})
    expect.list(ctx.dropped, { "temperature", "presence_penalty", "logprobs" })
    request.reasoning = { effort = "none" }
    expect.equal(write(request, { model = "gpt-5.1" }).temperature, 0.2)
    out, ctx = write({ temperature = 3 }, { model = "llama" })
    expect.equal(out.temperature, 2)
    expect.list(ctx.dropped, { "temperature" })
  end)

  test("servers that only resemble OpenAI are not sent what is its own", function()
    local request = { cache_key = "k", verbosity = "low", openai = { store = false } }
    local out, ctx = write(request, { model = "mistral-large", client = "responses" })
    expect.list({ out.prompt_cache_key, out.verbosity, out.store }, {})
    expect.list(ctx.dropped, { "verbosity" })
    expect.equal(write(request, { model = "mistral-large", client = "openai" }).verbosity, "low")
    expect.equal(write(request, { model = "gpt-5", client = "responses" }).store, false)
  end)

  both("a stream is always asked for its usage", function()
    local out = write({ stream = true }, { stream = true, model = "m" })
    same(out.stream_options, [[{"include_usage":true}]])
    expect.equal(out.stream, true)
    expect.equal(write({}, { model = "m" }).stream_options, nil)
  end)

  test("texts are one text where lists are not known", function()
    local parts = { { type = "text", text = "a" }, { type = "text", text = "b" } }
    local messages = { { role = "system", parts = parts } }
    expect.equal(write({ messages = messages }, { model = "llama" }).messages[1].content, "a\nb")
    same(write({ messages = messages }, { model = "gpt-4o" }).messages[1].content, parts)
  end)

  both("what a tool message cannot hold follows as the user's", function(long)
    local image = body.decode([[{"type":"image","data":"iVBORw0KGgo=","media_type":"image/png"}]], {}, long)
    local out, ctx = write({ messages = { { role = "tool", parts = {
      { type = "result", id = "c1", is_error = true, parts = { { type = "text", text = "seen" }, image } },
      { type = "result", id = "c2", parts = {} } } } } }, { model = "gpt-4o" })
    same(out.messages, [[ [{"role":"tool","tool_call_id":"c1","content":"seen"},
      {"role":"tool","tool_call_id":"c2","content":""},
      {"role":"user","content":[{"type":"text","text":"Of the result of tool call c1:"},
        {"type":"image_url","image_url":{"url":"data:image/png;base64,iVBORw0KGgo="}}]}] ]])
    expect.list(ctx.dropped, { "messages.is_error" })
  end)

  test("thinking goes back to its own maker only, and to models that want it", function()
    local messages = { { role = "assistant", parts = {
      { type = "thinking", text = "hm", signature = "moongateoaic" },
      { type = "thinking", text = "foreign", signature = "moongateanthxyz" },
      { type = "text", text = "yes" } } } }
    expect.equal(write({ messages = messages }, { model = "deepseek-chat" }).messages[1].reasoning_content, "hm")
    expect.equal(write({ messages = messages }, { model = "gpt-4o" }).messages[1].reasoning_content, nil)
    local signed = { { role = "assistant", parts = { { type = "thinking", text = "hm", signature = "moongateoaicEq" },
      { type = "redacted", data = "moongateoaicEm" }, { type = "redacted", data = "moongateanthEm" },
      { type = "text", text = "yes" } } } }
    same(write({ messages = signed }, { model = "anthropic/claude" }).messages[1].reasoning_details, [[ [
      {"type":"reasoning.text","text":"hm","signature":"Eq","index":0},
      {"type":"reasoning.encrypted","data":"Em","index":1}] ]])
    local empty = { { role = "assistant", parts = { messages[1].parts[1] } } }
    expect.equal(#write({ messages = empty }, { model = "gpt-4o" }).messages, 0)
  end)

  test("what chat has no place for is dropped by name", function()
    local _, ctx = write({ messages = { { role = "user", parts = {
      { type = "text", text = "x" }, { type = "file", url = "https://files.example/a.pdf" } } } },
      stop = { "1", "2", "3", "4", "5" }, top_k = 4, service_tier = "standard_only",
      reasoning = { effort = "utmost" } }, { model = "gpt-4o" })
    expect.list(ctx.dropped, { "messages.file", "top_k", "reasoning.effort", "stop", "service_tier" })
    expect.equal(write({ reasoning = { budget = 5000 } }, { model = "o3" }).reasoning_effort, "low")
  end)

  -- Model, effort asked for, effort written, whether it is named as changed.
  for _, case in ipairs {
    { "gpt-4.1", "high", nil, true }, { "gpt-5-chat-latest", "low", nil, true }, { "o3", "none", "low", true },
    { "o3", "xhigh", "high", true }, { "gpt-5", "none", "minimal", true }, { "gpt-5-mini", "minimal", "minimal" },
    { "gpt-5-pro", "low", "high", true }, { "gpt-5-codex", "minimal", "low", true },
    { "gpt-5.1", "minimal", "low", true }, { "gpt-5.1", "none", "none" }, { "gpt-5.1-codex-max", "xhigh", "xhigh" },
    { "gpt-5.2", "max", "xhigh", true }, { "gpt-5.6-terra", "max", "max" }, { "gpt-6-sol", "max", "max" },
    { "openai/gpt-oss-120b", "none", "low", true }, { "qwen3", "minimal", "minimal" },
  } do
    test(("%s is asked for the effort %s in a word that it takes"):format(case[1], case[2]), function()
      local out, ctx = write({ reasoning = { effort = case[2] } }, { model = case[1] })
      expect.equal(out.reasoning_effort, case[3])
      expect.equal(ctx.dropped[1], case[4] and "reasoning.effort" or nil)
    end)
  end

  test("models that call tools here without reasoning only are told not to reason", function()
    local tools = { { name = "f" } }
    local out, ctx = write({ tools = tools, reasoning = { effort = "high" } }, { model = "gpt-5.6-sol" })
    expect.equal(out.reasoning_effort, "none")
    expect.list(ctx.dropped, { "reasoning.effort" })
    local silent, nothing = write({ tools = tools }, { model = "gpt-5.6-sol" })
    expect.equal(silent.reasoning_effort, "none")
    expect.list(nothing.dropped, {})
    expect.equal(write({ reasoning = { effort = "high" } }, { model = "gpt-5.6-sol" }).reasoning_effort, "high")
    expect.equal(write({ tools = tools }, { model = "openai/gpt-5.6-sol" }).reasoning_effort, nil)
    expect.equal(write({ tools = tools }, { model = "gpt-5.2" }).reasoning_effort, nil)
  end)

  test("a tool whose schema OpenAI does not take as strict is not, but for its own clients", function()
    local closed = body.raw [[{"type":"object","properties":{"a":{"type":"string"}},"required":["a"],
      "additionalProperties":false}]]
    local open = body.raw [[{"type":"object","properties":{"a":{"type":"string"}},"additionalProperties":false}]]
    local tools = { { name = "f", strict = true, parameters = closed }, { name = "g", strict = true, parameters = open } }
    local out, ctx = write({ tools = tools }, { model = "gpt-4.1", client = "gemini" })
    expect.equal(out.tools[1]["function"].strict, true)
    expect.equal(out.tools[2]["function"].strict, nil)
    expect.list(ctx.dropped, { "tools.1.strict" })
    expect.equal(write({ tools = tools }, { model = "gpt-4.1", client = "responses" }).tools[2]["function"].strict, true)
  end)

  test("who is no client of OpenAI's says the word JSON, and has schemas that are no object's said in words", function()
    local json = { format = { type = "json" } }
    local out = write(json, { model = "gpt-4.1", client = "gemini" })
    same(out.messages[1], [[{"role":"system","content":"Answer with one JSON object and nothing else: no words around it, no code fence."}]])
    same(out.response_format, [[{"type":"json_object"}]])
    expect.equal(#write(json, { model = "gpt-4.1", client = "openai" }).messages, 1)
    local list = { format = { type = "schema", schema = body.raw '{"type":"array"}' } }
    local asked, ctx = write(list, { model = "gpt-4.1", client = "gemini" })
    expect.equal(asked.response_format, nil)
    expect.contains(asked.messages[1].content, 'schema:\n{"type":"array"}')
    expect.list(ctx.dropped, { "format" })
  end)

  test("ids of calls and the end user's fit: what does not is another, of call and result alike", function()
    local long = ("x"):rep(41)
    local messages = { { role = "assistant", parts = { { type = "call", id = long, name = "f", arguments = "{}" },
      { type = "call", id = "toolu_1", name = "f", arguments = "{}" } } },
      { role = "tool", parts = { { type = "result", id = "toolu_1", parts = {} }, { type = "result", id = long, parts = {} } } } }
    local function ids(model)
      local out = write({ messages = messages }, { model = model }).messages
      return { out[1].tool_calls[1].id, out[1].tool_calls[2].id, out[2].tool_call_id, out[3].tool_call_id }
    end
    expect.list(ids "gpt-4.1", { "mgx_1", "toolu_1", "toolu_1", "mgx_1" })
    expect.list(ids "mistral-small-latest", { "m00000001", "m00000002", "m00000002", "m00000001" })
    local out, ctx = write({ user = ("u"):rep(65) }, { model = "gpt-4.1", client = "anthropic" })
    expect.equal(out.user, nil)
    expect.list(ctx.dropped, { "user" })
  end)

  test("a reasoning model is asked for no stop sequences", function()
    local out, ctx = write({ stop = { "END" } }, { model = "gpt-5" })
    expect.equal(out.stop, nil)
    expect.list(ctx.dropped, { "stop" })
  end)

  test("an assistant's pictures are dropped by name", function()
    local out, ctx = write({ messages = { { role = "assistant", parts = {
      { type = "text", text = "see" }, { type = "image", data = "QUJD", media_type = "image/png" } } } } },
      { model = "gpt-4o" })
    same(out.messages, [[ [{"role":"assistant","content":"see"}] ]])
    expect.list(ctx.dropped, { "messages.image" })
  end)

  -- ---------------------------------------------------------------- answers

  both("each reason to stop, read and written", function(long)
    local function stop(choice)
      local text = [[{"choices":[{"message":{"content":"x"},]] .. choice .. "}]}"
      return chat.read_answer(body.decode(text, RAW, long), ctx_of {}).candidates[1]
    end
    expect.equal(stop('"finish_reason":"stop"').stop, "stop")
    expect.equal(stop('"finish_reason":"length"').stop, "length")
    expect.equal(stop('"finish_reason":"tool_calls"').stop, "calls")
    expect.equal(stop('"finish_reason":"content_filter"').stop, "filter")
    expect.equal(stop('"finish_reason":"eos_token"').stop, "stop")
    expect.equal(stop('"finish_reason":null').stop, nil)
    expect.equal(stop('"finish_reason":"stop","stop_reason":"the end"').stop_sequence, "the end")
    local function reason(name, parts)
      return chat.write_answer({ candidates = { { parts = parts or {}, stop = name } } }, ctx_of {}).choices[1].finish_reason
    end
    for name, wanted in pairs { stop = "stop", length = "length", calls = "tool_calls", filter = "content_filter",
      refusal = "content_filter", sequence = "stop", pause = "stop" } do
      expect.equal(reason(name), wanted, name)
    end
    expect.equal(reason(nil, { { type = "call", id = "c", name = "f", arguments = "{}" } }), "tool_calls")
  end)

  both("usage with its details", function(long)
    local answer = chat.read_answer(body.decode([[{"choices":[],"usage":{"prompt_tokens":20,"completion_tokens":9,
      "total_tokens":29,"prompt_tokens_details":{"cached_tokens":8,"cache_write_tokens":4},
      "completion_tokens_details":{"reasoning_tokens":5}}}]], RAW, long), ctx_of {})
    same(answer.usage, [[{"input":20,"output":9,"cached":8,"cache_write":4,"reasoning":5}]])
    same(chat.write_answer(answer, ctx_of {}).usage, [[{"prompt_tokens":20,"completion_tokens":9,"total_tokens":29,
      "prompt_tokens_details":{"cached_tokens":8,"cache_write_tokens":4},
      "completion_tokens_details":{"reasoning_tokens":5}}]])
  end)

  both("a custom tool's call gets its text back", function(long)
    local request = read([[{"messages":[],"tools":[{"type":"custom","custom":{"name":"apply_patch"}}]}]], long)
    local answer = { candidates = { { parts = { { type = "call", id = "c", name = "apply_patch",
      arguments = '{"input":"*** Begin\\n"}' } } } } }
    same(chat.write_answer(answer, ctx_of { request = request }).choices[1].message.tool_calls,
      [[ [{"id":"c","type":"custom","custom":{"name":"apply_patch","input":"*** Begin\n"}}] ]])
  end)

  -- ---------------------------------------------------------------- streams

  local function deltas_of(sse, long) return dialects.read_stream({ reader = chat.reader, raw = RAW }, ctx_of {},
    dialects.events(sse), long) end

  local function chunks_of(deltas, request)
    local out = {}
    for i, event in ipairs(dialects.write_stream(chat, ctx_of { request = request or {} }, deltas)) do
      expect.equal(event.type, "")
      out[i] = event.data == "[DONE]" and event.data or body.decode(event.data)
    end
    return out
  end

  both("a stream of calls in pieces, interleaved, without ids and indexes", function(long)
    same(deltas_of([[
data: {"id":"c1","model":"m1","created":5,"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}

data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"call_a","function":{"name":"f","arguments":""}},{"index":1,"id":"call_b","function":{"name":"g"}}]}}]}

data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":1,"function":{"arguments":"{\"b\""}},{"index":0,"function":{"arguments":"{}"}}]}}]}

data: {"choices":[{"index":0,"delta":{"tool_calls":[{"function":{"name":"h","arguments":"{}"},"index":2}]},"finish_reason":"stop"}]}

data: [DONE]
]], long), [[ [{"kind":"start","id":"c1","model":"m1","created":5},
      {"kind":"call","call":0,"id":"call_a","name":"f","candidate":0},
      {"kind":"call","call":1,"id":"call_b","name":"g","candidate":0},
      {"kind":"arguments","call":1,"text":"{\"b\""},{"kind":"arguments","call":0,"text":"{}"},
      {"kind":"call","call":2,"id":"call_r1_2","name":"h","candidate":0},
      {"kind":"arguments","call":2,"text":"{}"},{"kind":"stop","stop":"calls","candidate":0}] ]])
  end)

  both("every call under the index 0, and a name that comes late", function(long)
    same(deltas_of([[
data: {"choices":[{"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{}"}}]}}]}

data: {"choices":[{"delta":{"tool_calls":[{"index":0,"id":"b","function":{"arguments":"{"}}]}}]}

data: {"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"name":"g","arguments":"}"}}]}}]}
]], long), [[ [{"kind":"start"},{"kind":"call","call":0,"id":"a","name":"f","candidate":0},
      {"kind":"arguments","call":0,"text":"{}"},{"kind":"call","call":1,"id":"b","name":"g","candidate":0},
      {"kind":"arguments","call":1,"text":"{"},{"kind":"arguments","call":1,"text":"}"}] ]])
  end)

  both("reasoning is marked when it is over", function(long)
    same(deltas_of([[
data: {"choices":[{"delta":{"reasoning_content":"thinking of it"}}]}

data: {"choices":[{"delta":{"content":"done with it","reasoning_content":null}}]}
]], long), [[ [{"kind":"start"},{"kind":"thinking","text":"thinking of it","candidate":0},
      {"kind":"signature","signature":"moongateoaic","candidate":0},
      {"kind":"text","text":"done with it","candidate":0}] ]])
  end)

  test("a written stream: role, deltas, finish, usage when asked for, the marker", function()
    local deltas = { { kind = "start", id = "msg_1", model = "claude", created = 7 }, { kind = "text", text = "Hi" },
      { kind = "call", call = 0, id = "c0", name = "f" }, { kind = "arguments", call = 0, text = "{}" },
      { kind = "stop", stop = "calls" }, { kind = "usage", usage = { input = 3 } },
      { kind = "usage", usage = { output = 4 } } }
    local chunks = chunks_of(deltas, { include_usage = true })
    local said = {}
    for i = 1, #chunks - 2 do said[i] = chunks[i].choices[1].delta end
    same(said, [[ [{"role":"assistant","content":""},{"content":"Hi"},
      {"tool_calls":[{"index":0,"id":"c0","type":"function","function":{"name":"f","arguments":""}}]},
      {"tool_calls":[{"index":0,"function":{"arguments":"{}"}}]},{}] ]])
    expect.equal(chunks[5].choices[1].finish_reason, "tool_calls")
    same(chunks[6], [[{"id":"msg_1","object":"chat.completion.chunk","created":7,"model":"claude","choices":[],
      "usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}}]])
    expect.equal(chunks[7], "[DONE]")
    expect.equal(#chunks_of(deltas), 6, "chunks of a client that did not ask")
  end)

  test("a stream without start, stop and anything at all is one nevertheless", function()
    local chunks = chunks_of {}
    expect.equal(#chunks, 3)
    same(chunks[1].choices[1].delta, [[{"role":"assistant","content":""}]])
    expect.equal(chunks[1].id, "chatcmpl-r1")
    expect.equal(chunks[2].choices[1].finish_reason, "stop")
    chunks = chunks_of { { kind = "arguments", call = 3, text = "lost" }, { kind = "text", text = "x" } }
    expect.equal(chunks[2].choices[1].delta.content, "x")
  end)

  test("signatures: a call's, a thinking's, and none for what nobody signed", function()
    local chunks = chunks_of { { kind = "thinking", text = "hm" }, { kind = "signature", signature = "moongateoaic" },
      { kind = "signature", signature = "moongateanthEqQB" },
      { kind = "call", call = 0, id = "c", name = "f", signature = "moongategemiCvcB" } }
    same(chunks[2].choices[1].delta, [[{"reasoning_content":"hm"}]])
    same(chunks[3].choices[1].delta,
      [[{"reasoning_details":[{"type":"reasoning.text","signature":"moongateanthEqQB","index":0}]}]])
    same(chunks[4].choices[1].delta.tool_calls[1].extra_content,
      [[{"google":{"thought_signature":"moongategemiCvcB"}}]])
  end)

  both("a custom tool's input is said when it is whole", function(long)
    local request = read([[{"messages":[],"tools":[{"type":"custom","custom":{"name":"apply_patch"}}]}]], long)
    local chunks = chunks_of({ { kind = "call", call = 0, id = "c", name = "apply_patch" },
      { kind = "arguments", call = 0, text = '{"inp' }, { kind = "arguments", call = 0, text = 'ut":"do it"}' },
      { kind = "stop", stop = "calls" } }, request)
    same(chunks[3].choices[1].delta, [[{"tool_calls":[{"index":0,"custom":{"input":"do it"}}]}]])
    expect.equal(chunks[4].choices[1].finish_reason, "tool_calls")
  end)

  -- Goal: SDKs parse a call when the next one starts: it must be whole by then.
  test("a call waits for the one before it to be whole, and no longer", function()
    local function pieces(deltas)
      local out = {}
      for i, chunk in ipairs(chunks_of(deltas)) do
        local delta = chunk ~= "[DONE]" and chunk.choices[1].delta or {}
        for _, call in ipairs(delta.tool_calls or {}) do
          out[#out + 1] = i .. ":" .. call.index .. (call.id or "") .. call["function"].arguments
        end
      end
      return out
    end
    local function call(n) return { kind = "call", call = n, id = "abc" .. n, name = "f" } end
    local function args(n, text) return { kind = "arguments", call = n, text = text } end
    expect.list(pieces { call(0), args(0, "{"), args(0, "}"), call(1), args(1, "{}") },
      { "2:0abc0", "3:0{", "4:0}", "5:1abc1", "6:1{}" })
    expect.list(pieces { call(0), call(1), args(1, "{"), args(0, "{"), args(1, "}"), args(0, "}") },
      { "2:0abc0", "3:0{", "4:0}", "5:1abc1", "6:1{}" })
    expect.list(pieces { call(0), call(1), call(2), args(2, "{}"), { kind = "text", text = "x" } },
      { "2:0abc0", "3:0{}", "4:1abc1", "5:1{}", "6:2abc2", "7:2{}" })
  end)

  test("answers beside each other keep their places", function()
    local chunks = chunks_of { { kind = "text", text = "a" }, { kind = "text", text = "b", candidate = 1 },
      { kind = "stop", stop = "length", candidate = 1 }, { kind = "stop", stop = "stop" } }
    local order = {}
    for i = 1, #chunks - 1 do order[i] = chunks[i].choices[1].index end
    expect.list(order, { 0, 0, 1, 1, 1, 0 })
  end)
end
