-- SPDX-License-Identifier: MIT
-- OpenAI's responses: each feature into the common form and out of it, the order of a stream's events, and
-- bodies that lie.

local body = require "moongate.body"
local dialects = require "dialects"
local expect = require "expect"
local responses = require "moongate.dialect.responses"

local RAW = require("moongate.dialect.openai_rules").raw
local same, refuses, ctx_of = dialects.same, dialects.refuses, dialects.ctx

return function(test)
  local function both(name, run) dialects.both(test, name, run) end

  local function read(text, long, fields)
    local ctx = ctx_of(fields)
    return responses.read_request(body.decode(text, RAW, long), ctx), ctx
  end

  local function write(request, fields)
    local ctx = ctx_of(fields)
    return responses.write_request(request, ctx), ctx
  end

  -- ---------------------------------------------------------------- requests, read

  both("input as a text, and instructions before it", function(long)
    same(read([[{"input":"Hello there, you","instructions":"Be brief, please."}]], long).messages, [[ [
      {"role":"system","parts":[{"type":"text","text":"Be brief, please."}]},
      {"role":"user","parts":[{"type":"text","text":"Hello there, you"}]}] ]])
  end)

  both("items of one turn are one message; results are another", function(long)
    same(read([[{"input":[
      {"role":"developer","content":"Think about it."},
      {"type":"message","role":"user","content":[{"type":"input_text","text":"Weather?"},
        {"type":"input_image","image_url":"data:image/png;base64,iVBORw0KGgo=","detail":"low"},
        {"type":"input_file","file_url":"https://files.example/a.pdf"}]},
      {"type":"reasoning","id":"rs_1","summary":[{"type":"summary_text","text":"Hm."}],"encrypted_content":"gAAAAABo"},
      {"type":"message","role":"assistant","content":[{"type":"output_text","text":"Looking.","annotations":[]},
        {"type":"refusal","refusal":"Not that."}]},
      {"type":"function_call","call_id":"call_1","name":"get_weather","arguments":"{}","id":"fc_1"},
      {"type":"function_call","call_id":"call_2","name":"get_time","arguments":"{}","id":"fc_2"},
      {"type":"function_call_output","call_id":"call_1","output":"rain over Paris"},
      {"type":"function_call_output","call_id":"call_2","output":[{"type":"input_text","text":"ten o'clock"}]}]}]], long)
      .messages, [[ [
      {"role":"developer","parts":[{"type":"text","text":"Think about it."}]},
      {"role":"user","parts":[{"type":"text","text":"Weather?"},
        {"type":"image","data":"iVBORw0KGgo=","media_type":"image/png","detail":"low"},
        {"type":"file","url":"https://files.example/a.pdf"}]},
      {"role":"assistant","parts":[{"type":"thinking","text":"Hm.","signature":"moongateoairgAAAAABo"},
        {"type":"text","text":"Looking."},{"type":"refusal","text":"Not that."},
        {"type":"call","id":"call_1","name":"get_weather","arguments":"{}"},
        {"type":"call","id":"call_2","name":"get_time","arguments":"{}"}]},
      {"role":"tool","parts":[
        {"type":"result","id":"call_1","name":"get_weather","parts":[{"type":"text","text":"rain over Paris"}]},
        {"type":"result","id":"call_2","name":"get_time","parts":[{"type":"text","text":"ten o'clock"}]}]}] ]])
  end)

  both("custom tools and tools in a namespace are functions, reversibly", function(long)
    local request, ctx = read([[{"input":[
      {"type":"custom_tool_call","call_id":"c1","name":"apply_patch","input":"*** Begin"},
      {"type":"function_call","call_id":"c2","name":"find","namespace":"mcp__docs","arguments":"{}"}],
      "tools":[{"type":"custom","name":"apply_patch","description":"Edits files, freely",
        "format":{"type":"grammar","syntax":"lark","definition":"start: patch"}},
        {"type":"namespace","name":"mcp__docs","tools":[{"type":"function","name":"find"}]},
        {"type":"web_search"},{"type":"local_shell"}],
      "tool_choice":{"type":"custom","name":"apply_patch"}}]], long)
    local parts = request.messages[1].parts
    expect.equal(body.string(parts[1].arguments), '{"input":"*** Begin"}')
    expect.equal(parts[2].name, "mcp__docs__find")
    expect.contains(body.string(request.tools[1].description), "lark grammar:\nstart: patch")
    expect.equal(request.tools[2].name, "mcp__docs__find")
    same(request.tool_choice, [[{"name":"apply_patch"}]])
    expect.list(ctx.dropped, { "tools.web_search", "tools.local_shell" })
    local answer = { candidates = { { parts = {
      { type = "call", id = "c3", name = "apply_patch", arguments = '{"input":"*** End"}' },
      { type = "call", id = "c4", name = "mcp__docs__find", arguments = "{}" },
      { type = "call", id = "c5", name = "apply_patch", arguments = "{broken" } } } } }
    same(responses.write_answer(answer, ctx_of { request = request }).output, [[ [
      {"type":"custom_tool_call","id":"ctc_r1_0","call_id":"c3","name":"apply_patch","input":"*** End",
        "status":"completed"},
      {"type":"function_call","id":"fc_r1_1","call_id":"c4","name":"find","namespace":"mcp__docs","arguments":"{}",
        "status":"completed"},
      {"type":"custom_tool_call","id":"ctc_r1_2","call_id":"c5","name":"apply_patch","input":"{broken",
        "status":"completed"}] ]])
  end)

  both("structured output, reasoning, sampling, names", function(long)
    local request, ctx = read([[{"input":"hello","text":{"format":{"type":"json_schema","name":"person","strict":true,
      "schema":{"type":"object"}},"verbosity":"medium"},"reasoning":{"effort":"high","summary":"detailed"},
      "max_output_tokens":64,"temperature":0.3,"top_p":0.8,"top_logprobs":2,
      "include":["message.output_text.logprobs","reasoning.encrypted_content"],"metadata":{"a":"b"},
      "parallel_tool_calls":false,"service_tier":"priority","user":"someone-7","prompt_cache_key":"key-of-cache",
      "store":false,"stream":true,"truncation":"disabled","client_metadata":{}}]], long)
    expect.list(ctx.dropped, {})
    expect.equal(body.text(request.format.schema), '{"type":"object"}')
    request.format.schema, request.messages, request.include = nil, nil, nil
    same(request, [[{"format":{"type":"schema","name":"person","strict":true},"verbosity":"medium",
      "reasoning":{"effort":"high","show":true,"summary":"detailed"},"max_tokens":64,"temperature":0.3,
      "top_p":0.8,"logprobs":true,"top_logprobs":2,"metadata":{"a":"b"},"parallel_tool_calls":false,
      "service_tier":"priority","user":"someone-7","cache_key":"key-of-cache","stream":true}]])
  end)

  both("what stands for something at OpenAI is refused, what is OpenAI's own is dropped", function(long)
    for _, field in ipairs { '"previous_response_id":"resp_1"', '"conversation":"conv_1"', '"prompt":{"id":"p"}' } do
      refuses(field:match('"(.-)"') .. ": what it stands for", read, '{"input":"x",' .. field .. "}", long)
    end
    refuses("background", read, '{"input":"x","background":true}', long)
    refuses("input.0: an item of type item_reference", read, '{"input":[{"type":"item_reference","id":"msg_1"}]}', long)
    refuses("input.0: an item of type item_reference", read, '{"input":[{"id":"msg_1"}]}', long)
    refuses("input.0: an item of type compaction", read, '{"input":[{"type":"compaction","encrypted_content":"x"}]}', long)
    local _, ctx = read([[{"input":[{"type":"web_search_call","id":"ws_1"},{"role":"user","content":[
      {"type":"input_image","file_id":"file-1"}]}],"truncation":"auto","store":true,"max_tool_calls":3}]], long)
    expect.list(ctx.dropped, { "input.0.web_search_call", "input.1.content.0.file_id", "truncation",
      "max_tool_calls", "store" })
  end)

  test("what has the wrong kind is refused with the field, what was expected and what was found", function()
    local function refused(part, text) refuses(part, read, text, 4096) end
    refused("input: expected a value, found none", "{}")
    refused("input: expected a list, found a number", '{"input":5}')
    refused("input.0: expected an object, found a text", '{"input":["x"]}')
    refused('input.0.role: expected "system"', '{"input":[{"role":"tool","content":"x"}]}')
    refused("input.0.call_id: expected a value", '{"input":[{"type":"function_call","name":"f"}]}')
    refused("input.0.content.0.text: expected a text, found a number",
      '{"input":[{"role":"user","content":[{"type":"input_text","text":5}]}]}')
    refused("tools.0.type: expected a value", '{"input":"x","tools":[{}]}')
    refused("tools.0.parameters: expected an object, found a text",
      '{"input":"x","tools":[{"type":"function","name":"f","parameters":"p"}]}')
    refused("text.format: expected an object", '{"input":"x","text":{"format":"json"}}')
    refused("namespace in a namespace", [[{"input":"x","tools":[{"type":"namespace","name":"a","tools":[
      {"type":"namespace","name":"b","tools":[]}]}]}]])
  end)

  -- ---------------------------------------------------------------- requests, written

  test("what responses cannot ask is dropped by name", function()
    local request = { messages = { { role = "user", parts = { { type = "text", text = "x" },
      { type = "audio", data = "a", media_type = "audio/wav" } } } }, stop = { "END" }, n = 2, seed = 1,
      frequency_penalty = 1, presence_penalty = 1, top_k = 3 }
    local out, ctx = write(request, { model = "gpt-4o" })
    expect.list(ctx.dropped, { "messages.audio", "stop", "n", "seed", "frequency_penalty", "presence_penalty",
      "top_k" })
    expect.equal(out.store, false)
    local _, other = write({ messages = request.messages, n = 1, stop = {} }, { model = "gpt-4o" })
    expect.list(other.dropped, { "messages.audio" })
  end)

  test("only OpenAI's own reasoning goes back to it", function()
    local function thinking(text, signature) return { type = "thinking", text = text, signature = signature } end
    local out = write { messages = { { role = "assistant", parts = {
      thinking("mine", "moongateoairgAAA"), thinking("unsigned", "moongateoair"), thinking("hers", "moongateanthEq"),
      { type = "redacted", data = "moongateanthEm" }, { type = "text", text = "yes" } } } } }
    same(out.input, [[ [{"type":"reasoning","summary":[{"type":"summary_text","text":"mine"}],
      "encrypted_content":"gAAA"},
      {"type":"message","role":"assistant","content":[{"type":"output_text","text":"yes","annotations":[]}]}] ]])
  end)

  test("a reasoning model's reasoning is asked for, sealed", function()
    same(write({ messages = {} }, { model = "gpt-5" }).include, [[ ["reasoning.encrypted_content"] ]])
    expect.equal(write({ messages = {} }, { model = "gpt-4o" }).include, nil)
    same(write({ messages = {}, reasoning = { budget = 20000, show = true } }, { model = "gpt-5" }).reasoning,
      [[{"effort":"high","summary":"auto"}]])
  end)

  test("reasoning is asked for in words that the model takes", function()
    local asked = { messages = {}, reasoning = { effort = "none", show = true } }
    local out, ctx = write(asked, { model = "o3" })
    same(out.reasoning, [[{"effort":"low","summary":"auto"}]])
    expect.list(ctx.dropped, { "reasoning.effort" })
    same(write(asked, { model = "gpt-5.2" }).reasoning, [[{"effort":"none"}]])
    local other, dropped = write({ messages = {}, reasoning = { effort = "high" } }, { model = "gpt-4.1" })
    expect.equal(other.reasoning, nil)
    expect.list(dropped.dropped, { "reasoning.effort" })
  end)

  test("who is no client of OpenAI's says the word JSON in the input", function()
    local out = write({ messages = {}, format = { type = "json" } }, { model = "gpt-4.1", client = "gemini" })
    same(out.text, [[{"format":{"type":"json_object"}}]])
    same(out.input, [[ [{"type":"message","role":"developer","content":[{"type":"input_text",
      "text":"Answer with one JSON object and nothing else: no words around it, no code fence."}]}] ]])
    local list, ctx = write({ messages = {}, verbosity = "low", format = { type = "schema",
      schema = body.raw '{"type":"array"}' } }, { model = "gpt-4.1", client = "gemini" })
    same(list.text, [[{"format":{"type":"text"},"verbosity":"low"}]])
    expect.list(ctx.dropped, { "format" })
  end)

  test("the name of who speaks is dropped by name", function()
    local _, ctx = write({ messages = { { role = "user", name = "bob", parts = { { type = "text", text = "x" } } } } },
      { model = "gpt-4.1" })
    expect.list(ctx.dropped, { "messages.0.name" })
  end)

  test("an id of a call that is too long is another, of call and result alike", function()
    local long = ("x"):rep(65)
    local out = write({ messages = { { role = "assistant", parts = { { type = "call", id = long, name = "f",
      arguments = "{}" } } }, { role = "tool", parts = { { type = "result", id = long, parts = {} } } } } })
    expect.list({ out.input[1].call_id, out.input[2].call_id }, { "mgx_1", "mgx_1" })
  end)

  test("fewer tokens than OpenAI takes are its least, named", function()
    local out, ctx = write({ messages = {}, max_tokens = 1 }, { model = "gpt-4.1" })
    expect.equal(out.max_output_tokens, 16)
    expect.list(ctx.dropped, { "max_tokens" })
  end)

  -- ---------------------------------------------------------------- answers

  both("redacted thinking is told from thinking that is not shown", function(long)
    local answer = { candidates = { { parts = {
      { type = "redacted", data = "moongateanthEmwKAhgB" },
      { type = "thinking", text = "", signature = "moongateanthEqQBCgIY" } } } } }
    local output = responses.write_answer(answer, ctx_of {}).output
    local parts = read(body.encode { input = output }, long).messages[1].parts
    same(parts, [[ [{"type":"redacted","data":"moongateanthEmwKAhgB"},
      {"type":"thinking","text":"","signature":"moongateanthEqQBCgIY"}] ]])
  end)

  test("a call's signature stands on the reasoning before it", function()
    local function output(parts)
      local out = {}
      for i, item in ipairs(responses.write_answer({ candidates = { { parts = parts } } }, ctx_of {}).output) do
        out[i] = item.type .. " " .. (item.encrypted_content or "")
      end
      return out
    end
    local call = { type = "call", id = "c", name = "f", arguments = "{}", signature = "moongategemiCv" }
    expect.list(output { call }, { "reasoning moongategemiCv", "function_call " })
    expect.list(output { { type = "thinking", text = "hm" }, call }, { "reasoning moongategemiCv", "function_call " })
  end)

  test("how it ended, and the fields that parsers demand", function()
    local function ended(stop)
      local out = responses.write_answer({ candidates = { { parts = {}, stop = stop } } }, ctx_of {})
      return out.status .. " " .. (out.incomplete_details ~= body.null and out.incomplete_details.reason or "")
    end
    expect.equal(ended "stop", "completed ")
    expect.equal(ended "calls", "completed ")
    expect.equal(ended "length", "incomplete max_output_tokens")
    expect.equal(ended "filter", "incomplete content_filter")
    expect.equal(ended "refusal", "incomplete content_filter")
    local out = body.decode(body.encode(responses.write_answer({ candidates = {}, usage = { input = 3 } }, ctx_of {})))
    for _, name in ipairs { "id", "object", "created_at", "model", "output", "parallel_tool_calls", "tool_choice",
      "tools", "text", "usage" } do
      assert(out[name] ~= nil, name .. " is missing")
    end
    same(out.usage, [[{"input_tokens":3,"output_tokens":0,"total_tokens":3,
      "input_tokens_details":{"cached_tokens":0,"cache_write_tokens":0},"output_tokens_details":{"reasoning_tokens":0}}]])
  end)

  -- ---------------------------------------------------------------- streams

  local function events_of(deltas, request)
    local out = {}
    for i, event in ipairs(dialects.write_stream(responses, ctx_of { request = request or {} }, deltas)) do
      local data = body.decode(event.data)
      expect.equal(data.type, event.type, "the event's name and its type")
      expect.equal(data.sequence_number, i - 1, "sequence_number")
      out[i] = data
    end
    return out
  end

  local function names(events)
    local out = {}
    for i, event in ipairs(events) do out[i] = event.type:gsub("^response%.", "") end
    return table.concat(out, "\n")
  end

  test("the events of thinking, text and a call come in their order", function()
    local events = events_of { { kind = "start", id = "msg_1", model = "claude", created = 7 },
      { kind = "thinking", text = "Let " }, { kind = "thinking", text = "me." },
      { kind = "signature", signature = "moongateanthEq" }, { kind = "text", text = "He" },
      { kind = "text", text = "llo" }, { kind = "call", call = 0, id = "c0", name = "f" },
      { kind = "arguments", call = 0, text = '{"a"' }, { kind = "arguments", call = 0, text = ":1}" },
      { kind = "stop", stop = "calls" }, { kind = "usage", usage = { input = 3, output = 4 } } }
    expect.equal(names(events), [[
created
in_progress
output_item.added
reasoning_summary_part.added
reasoning_summary_text.delta
reasoning_summary_text.delta
reasoning_summary_text.done
reasoning_summary_part.done
output_item.done
output_item.added
content_part.added
output_text.delta
output_text.delta
output_text.done
content_part.done
output_item.done
output_item.added
function_call_arguments.delta
function_call_arguments.delta
function_call_arguments.done
output_item.done
completed]])
    local response = events[#events].response
    expect.equal(response.id, "msg_1")
    expect.equal(response.status, "completed")
    same(response.output, [[ [
      {"type":"reasoning","id":"rs_r1_0","summary":[{"type":"summary_text","text":"Let me."}],
        "encrypted_content":"moongateanthEq"},
      {"type":"message","id":"msg_r1_1","status":"completed","role":"assistant","content":[
        {"type":"output_text","text":"Hello","annotations":[],"logprobs":[]}]},
      {"type":"function_call","id":"fc_r1_2","call_id":"c0","name":"f","arguments":"{\"a\":1}",
        "status":"completed"}] ]])
    expect.equal(response.usage.total_tokens, 7)
    for i, event in ipairs(events) do
      if event.item_id then
        expect.equal(event.item_id, response.output[event.output_index + 1].id, "item_id of event " .. i)
      end
    end
  end)

  test("interleaved calls are open together, and every piece goes to its own", function()
    local events = events_of { { kind = "call", call = 0, id = "a", name = "f" },
      { kind = "call", call = 1, id = "b", name = "g" }, { kind = "arguments", call = 1, text = "[1" },
      { kind = "arguments", call = 0, text = "{}" }, { kind = "arguments", call = 1, text = "]" },
      { kind = "text", text = "done" } }
    local output = events[#events].response.output
    expect.list({ output[1].arguments, output[2].arguments, output[3].type }, { "{}", "[1]", "message" })
    expect.equal(events[5].output_index, 1)
    expect.equal(events[6].output_index, 0)
  end)

  test("refusals, images, and an end for want of room", function()
    local events = events_of { { kind = "text", text = "I" }, { kind = "refusal", text = "No." },
      { kind = "image", data = "iVBO", media_type = "image/png" }, { kind = "stop", stop = "length" } }
    local last = events[#events]
    expect.equal(last.type, "response.incomplete")
    same(last.response.incomplete_details, [[{"reason":"max_output_tokens"}]])
    same(last.response.output[1].content, [[ [{"type":"output_text","text":"I","annotations":[],"logprobs":[]},
      {"type":"refusal","refusal":"No."}] ]])
    same(last.response.output[2], [[{"type":"image_generation_call","id":"ig_r1_1","status":"completed",
      "result":"iVBO","output_format":"png"}]])
  end)

  test("a stream of nothing is one nevertheless; what belongs nowhere is passed over", function()
    expect.equal(names(events_of {}), "created\nin_progress\ncompleted")
    expect.equal(names(events_of { { kind = "arguments", call = 4, text = "x" }, { kind = "stop" },
      { kind = "text", text = "other", candidate = 1 } }), "created\nin_progress\ncompleted")
  end)

  both("a custom tool's input is said when it is whole", function(long)
    local request = read([[{"input":"x","tools":[{"type":"custom","name":"apply_patch"}]}]], long)
    local events = events_of({ { kind = "call", call = 0, id = "c", name = "apply_patch" },
      { kind = "arguments", call = 0, text = '{"input":' }, { kind = "arguments", call = 0, text = '"*** Begin"}' } },
      request)
    expect.equal(names(events), "created\nin_progress\noutput_item.added\ncustom_tool_call_input.delta\n"
      .. "custom_tool_call_input.done\noutput_item.done\ncompleted")
    expect.equal(events[6].item.input, "*** Begin")
  end)

  test("a long answer is held once, in few pieces", function()
    local deltas = {}
    for i = 1, 3000 do deltas[i] = { kind = "text", text = "x" } end
    local events = events_of(deltas)
    expect.equal(#events[#events].response.output[1].content[1].text, 3000)
  end)

  local function deltas_of(sse, long)
    return dialects.read_stream({ reader = responses.reader, raw = RAW }, ctx_of {}, dialects.events(sse), long)
  end

  both("a stream that says whole items only is read all the same", function(long)
    same(deltas_of([[
event: response.output_item.done
data: {"type":"response.output_item.done","output_index":0,"item":{"type":"message","role":"assistant","content":[{"type":"output_text","text":"All at once"}]}}

event: response.output_item.done
data: {"type":"response.output_item.done","output_index":1,"item":{"type":"custom_tool_call","call_id":"c","name":"run_it","input":"print(1)"}}

event: response.completed
data: {"type":"response.completed","response":{"id":"resp_1","status":"completed","usage":{"input_tokens":1,"output_tokens":2}}}
]], long), [[ [{"kind":"start"},{"kind":"text","text":"All at once"},{"kind":"call","call":0,"id":"c","name":"run_it"},
      {"kind":"arguments","call":0,"text":"{\"input\":\"print(1)\"}"},{"kind":"stop","stop":"calls"},
      {"kind":"usage","usage":{"input":1,"output":2}}] ]])
  end)

  both("parts of a summary are parted, and its seal follows", function(long)
    same(deltas_of([[
data: {"type":"response.created","response":{"id":"resp_1","model":"gpt-5","created_at":9}}

data: {"type":"response.reasoning_summary_text.delta","output_index":0,"summary_index":0,"delta":"First of all"}

data: {"type":"response.reasoning_summary_text.delta","output_index":0,"summary_index":1,"delta":"and then"}

data: {"type":"response.output_item.done","output_index":0,"item":{"type":"reasoning","summary":[{"type":"summary_text","text":"First of all"}],"encrypted_content":"gAAAAABo"}}
]], long), [[ [{"kind":"start","id":"resp_1","model":"gpt-5","created":9},
      {"kind":"thinking","text":"First of all"},{"kind":"thinking","text":"\n\n"},
      {"kind":"thinking","text":"and then"},{"kind":"signature","signature":"moongateoairgAAAAABo"}] ]])
  end)
end
