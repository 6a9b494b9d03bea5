-- SPDX-License-Identifier: MIT
-- The conformance kit: what any dialect file is held to, whoever wrote it. Beside lua/dialects/NAME.lua, a
-- file NAME_test.lua with the line
--
--   require "moongate.dialect.conformance" "NAME"
--
-- is what `moongate test lua/dialects/NAME_test.lua` runs. What is held: what is written reads the same
-- again, but for what the dialect's `cannot` and `changes` name; what it cannot it says; everything written
-- is JSON; streams tell what whole answers tell; nothing crashes on a wrong body; nothing is kept between
-- calls.

local body = require "moongate.body"
local deltas = require "moongate.dialect.conformance_deltas"
local forms = require "moongate.dialect.conformance_forms"
local hostile = require "moongate.dialect.conformance_hostile"

local conformance = {}

-- Above what Lua sees of a body's texts, in the half of the cases that is about that.
local LONG_BYTES = 512
local SHORT, LONG = math.maxinteger, LONG_BYTES

local function fail(...) error((select("#", ...) > 1 and string.format(...) or ...), 0) end

local function new_ctx(over)
  local made = { model = "model", stream = false, id = "r1", now = 1700000000, strict = false, dropped = {},
    request = { include_usage = true, reasoning = { show = true } } }
  for name, value in pairs(over or {}) do made[name] = value end
  function made.drop(self, name)
    if self ~= made or type(name) ~= "string" or name == "" then fail("ctx:drop is given a field's name") end
    made.dropped[#made.dropped + 1] = name
  end
  return made
end

---@class moongate.Conformance
---@field name string
---@field dialect table
---@field cannot table<string, boolean> features that it has no word for: dropped by name, or refused
---@field changes table<string, boolean> features that it says otherwise: they read as something else

local function decode(held, json, long) return body.decode(json, held.dialect.raw, long) end

local function encode(value, what)
  local good, json = pcall(body.encode, value)
  if not good then fail("%s is not JSON: %s", what, tostring(json)) end
  return json
end

-- Calls it; what it refused, as a text. Any other error is raised on.
local function refused(fn, ...)
  local good, value = pcall(fn, ...)
  if good then return value end
  if type(value) == "table" and type(value.refuse) == "string" then return nil, value.refuse end
  error(value, 0)
end

local function compare(what, found, expected)
  local a, b = body.encode(found), body.encode(expected)
  if a ~= b then fail("%s came back changed\nfound: %s\nexpected: %s", what, a:sub(1, 600), b:sub(1, 600)) end
end

-- ---------------------------------------------------------------- requests

local function write_request(held, request)
  local ctx = new_ctx()
  request.model = request.model or ctx.model
  request.stream = request.stream or false
  local before = body.encode(request)
  local out, why = refused(held.dialect.write_request, request, ctx)
  if body.encode(request) ~= before then fail("write_request changes the request that it is given") end
  return out and encode(out, "what write_request gives"), ctx.dropped, why
end

local function read_request(held, json, long)
  local ctx = new_ctx()
  local request, why = refused(held.dialect.read_request, decode(held, json, long), ctx)
  if why then fail("read_request refuses what write_request wrote: %s\n%s", why, json:sub(1, 600)) end
  if ctx.dropped[1] then fail("read_request drops %s of what write_request wrote", table.concat(ctx.dropped,
    ", ")) end
  return request
end

local function check_request(held, case, long)
  local feature, make, of = case[1], case[2], case[3]
  local json, dropped, why = write_request(held, make(forms.say(long == LONG)))
  if held.cannot[feature] then
    if not why and not dropped[1] then fail("`cannot` names %s, but nothing is dropped or refused",
      feature) end
    return
  end
  if why then fail("it is refused: %s", why) end
  if dropped[1] then fail("it drops %s, which `cannot` does not tell", table.concat(dropped, ", ")) end
  if json:find("moongate", 1, true) then fail("a seal of the gateway's own reaches the provider") end
  if held.changes[feature] or not held.dialect.read_request then return end
  compare(feature, of(read_request(held, json, long)), of(make(forms.say(long == LONG))))
end

local function check_signatures(held, long)
  local own, foreign, secret = forms.signed(held.name)
  local say = forms.say(long == LONG)
  local json = write_request(held, foreign(say))
  if json and json:find(secret, 1, true) then fail("a signature of another maker reaches the provider") end
  json = write_request(held, own(say))
  if not json then fail "thinking that it signed itself is refused" end
  if json:find("moongate", 1,
    true) then fail("its own signature reaches the provider with the seal on it") end
  if held.dialect.read_request and not held.cannot.thinking and not held.changes.thinking then
    compare("thinking", forms.signature_of(read_request(held, json, long)), forms.signature_of(own(say)))
  end
end

-- Every request again, in the other order: the same bytes.
local function check_memory(held)
  local first = {}
  for i, case in ipairs(forms.requests) do first[i] = write_request(held,
    case[2](forms.say(false))) or "refused" end
  for i = #forms.requests, 1, -1 do
    local again = write_request(held, forms.requests[i][2](forms.say(false))) or "refused"
    if again ~= first[i] then fail("%s: the same request is written otherwise the second time",
      forms.requests[i][1]) end
  end
end

-- ---------------------------------------------------------------- answers and streams

local function write_answer(held, answer)
  local before = body.encode(answer)
  local out = held.dialect.write_answer(answer, new_ctx())
  if body.encode(answer) ~= before then fail("write_answer changes the answer that it is given") end
  return encode(out, "what write_answer gives")
end

local function check_answer(held, case, long)
  local feature, make, of = case[1], case[2], case[3]
  local say = forms.say(long == LONG)
  local json = write_answer(held, make(say, held.name))
  if held.cannot[feature] or held.changes[feature] or not held.dialect.read_answer then return end
  compare(feature, of(held.dialect.read_answer(decode(held, json, long), new_ctx())), of(make(say,
    held.name)))
end

-- All that a writer emits for deltas, and the end: { type, data as JSON, or "[DONE]" }.
local function write_stream(held, list, writer)
  local write, events = writer or held.dialect.writer(new_ctx { stream = true }), {}
  local function emit(kind, data)
    if kind ~= nil and type(kind) ~= "string" then fail("an event's type is a %s", type(kind)) end
    if type(data) ~= "string" and type(data) ~= "table" then fail("an event's data is a %s", type(data)) end
    events[#events + 1] = { kind or "", type(data) == "string" and data or encode(data, "an event") }
  end
  for _, delta in ipairs(list) do
    local n = #events
    write(delta, emit)
    local first = (delta.candidate or 0) == 0
    if delta.kind == "text" and body.size(delta.text) > 0 and first and #events == n then
      fail("a text does not go out in the turn that it came in")
    end
  end
  write({ kind = "end" }, emit)
  return events
end

local function read_stream(held, events, long)
  local read, list = held.dialect.reader(new_ctx { stream = true }), {}
  for _, event in ipairs(events) do
    if event[2] ~= "[DONE]" then
      read(event[1], decode(held, event[2], long), function(delta) list[#list + 1] = delta end)
    end
  end
  return list
end

local function check_stream(held, case, long)
  local feature, make, of = case[1], case[2], case[3]
  local say = forms.say(long == LONG)
  local answer = make(say, held.name)
  local events = write_stream(held, deltas.of(answer))
  if held.cannot[feature] or held.changes[feature] or not held.dialect.reader then return end
  compare(feature .. " of a stream", of(deltas.told(read_stream(held, events, long))), of(answer))
end

local function check_odd(held, case)
  local events = write_stream(held, case[2])
  if not held.dialect.reader then return end
  local told, given = deltas.told(read_stream(held, events, SHORT)), deltas.told(case[2])
  compare("the text", forms.text_of(told), forms.text_of(given))
  compare("the calls", forms.calls_of(told), forms.calls_of(given))
end

-- Two streams at once, event by event, are what they are alone.
local function check_streams_apart(held)
  local one, two = {}, {}
  for i, case in ipairs { forms.answers[3], forms.answers[1] } do
    local list = i == 1 and one or two
    for _, delta in ipairs(deltas.of(case[2](forms.say(false), held.name))) do list[#list + 1] = delta end
  end
  local alone = body.encode(write_stream(held, one))
  local a, b = held.dialect.writer(new_ctx { stream = true }), held.dialect.writer(new_ctx { stream = true })
  local events = {}
  local function emit(kind, data)
    events[#events + 1] = { kind or "", type(data) == "string" and data or encode(data, "an event") }
  end
  for i = 1, math.max(#one, #two) do
    if one[i] then a(one[i], emit) end
    if two[i] then b(two[i], function() end) end
  end
  a({ kind = "end" }, emit)
  if body.encode(events) ~= alone then fail("a stream is written otherwise while another one is") end
end

-- ---------------------------------------------------------------- wrong bodies

-- Good bodies: what the dialect itself writes, and what the caller knows beside.
local function good_requests(held)
  local out = {}
  for _, case in ipairs(forms.requests) do out[#out + 1] = write_request(held, case[2](forms.say(false))) end
  return out
end

local function good_answers(held)
  local out = {}
  for _, case in ipairs(forms.answers) do out[#out + 1] = write_answer(held, case[2](forms.say(false),
    held.name)) end
  return out
end

-- Reads a wrong body, and writes what was read: it may be refused, and nothing else.
local function check_wrong(held, read, write, good, long)
  local seen = {}
  for _, json in ipairs(good) do
    hostile.each(json, seen, function(wrong, what)
      local ok, raised = pcall(function()
        local ctx = new_ctx()
        local value, why = refused(read, decode(held, wrong, long), ctx)
        if why or not write then return end
        value, why = refused(write, value, new_ctx())
        if not why then encode(value, "what is written of it") end
      end)
      if not ok then fail("%s: %s\nthe body: %s", what, tostring(raised), wrong:sub(1, 400)) end
    end)
  end
end

local function check_wrong_events(held)
  local seen = {}
  for _, case in ipairs(forms.answers) do
    local events = write_stream(held, deltas.of(case[2](forms.say(false), held.name)))
    for i, event in ipairs(events) do
      if event[2] ~= "[DONE]" then
        hostile.each(event[2], seen, function(wrong, what)
          local read = held.dialect.reader(new_ctx { stream = true })
          local ok, raised = pcall(function()
            for n = 1, #events do
              local json = n == i and wrong or events[n][2]
              if json ~= "[DONE]" then refused(read, events[n][1], decode(held, json, SHORT),
                function() end) end
            end
          end)
          if not ok then fail("event %d, %s: %s\n%s", i, what, tostring(raised), wrong:sub(1, 400)) end
        end)
      end
    end
  end
end

-- ---------------------------------------------------------------- data

-- Functions that belong together: a client's side, a provider's side.
local SIDES = { { "read_request", "write_answer", "writer" }, { "write_request", "read_answer", "reader" } }

local function list_of_texts(value, what)
  if value == nil then return end
  if type(value) ~= "table" then fail("%s is a %s, expected a list of texts", what, type(value)) end
  for i, text in ipairs(value) do
    if type(text) ~= "string" then fail("%s[%d] is a %s, expected a text", what, i, type(text)) end
  end
end

local function check_features(list, what)
  local known = forms.features()
  list_of_texts(list, what)
  for _, name in ipairs(list or {}) do
    if not known[name] then fail("%s: there is no feature %q", what, name) end
  end
end

local function check_data(held)
  local dialect = held.dialect
  if dialect.name ~= held.name then fail('name is %q, expected %q as the file is', tostring(dialect.name),
    held.name) end
  list_of_texts(dialect.raw, "raw")
  list_of_texts(dialect.speaks, "speaks")
  check_features(dialect.cannot, "cannot")
  check_features(dialect.changes, "changes")
  for _, side in ipairs(SIDES) do
    local some
    for _, name in ipairs(side) do
      if dialect[name] ~= nil and type(dialect[name]) ~= "function" then fail("%s is no function", name) end
      some = some or dialect[name] and name
    end
    for _, name in ipairs(side) do
      if some and not dialect[name] then fail("there is %s, but no %s: they belong together", some, name) end
    end
  end
  if dialect.write_request and type(dialect.generate) ~= "string" then
    fail("generate does not tell where requests go")
  end
end

-- ---------------------------------------------------------------- the cases

local function add_requests(held, add)
  for i, case in ipairs(forms.requests) do
    for _, long in ipairs { SHORT, LONG } do
      add(("request %d, %s%s"):format(i, case[1], long == LONG and ", long texts" or ""),
        function() check_request(held, case, long) end)
    end
  end
  add("request: signatures go to their maker only", function() check_signatures(held, SHORT) end)
  add("request: signatures go to their maker only, long texts", function() check_signatures(held, LONG) end)
  add("request: nothing is kept between calls", function() check_memory(held) end)
end

local function add_answers(held, add)
  for i, case in ipairs(forms.answers) do
    for _, long in ipairs { SHORT, LONG } do
      local suffix = (", %s%s"):format(case[1], long == LONG and ", long texts" or "")
      add("answer " .. i .. suffix, function() check_answer(held, case, long) end)
      add("stream " .. i .. suffix, function() check_stream(held, case, long) end)
    end
  end
  for _, case in ipairs(deltas.odd) do
    add("stream: " .. case[1], function() check_odd(held, case) end)
  end
  add("stream: two at once", function() check_streams_apart(held) end)
end

local function add_wrong(held, add)
  local d = held.dialect
  if d.read_request and d.write_request then
    add("wrong requests are refused", function()
      check_wrong(held, d.read_request, d.write_request, good_requests(held), SHORT)
    end)
  end
  if d.read_answer and d.write_answer then
    add("wrong answers do no harm", function()
      check_wrong(held, d.read_answer, d.write_answer, good_answers(held), SHORT)
    end)
  end
  if d.reader and d.writer then
    add("wrong events do no harm", function() check_wrong_events(held) end)
  end
end

-- Data and functions in one table, wherever the functions stand.
local function whole(dialect)
  local out = {}
  for _, from in ipairs { dialect, dialect.functions and require(dialect.functions) } do
    for name, value in pairs(from) do out[name] = value end
  end
  return out
end

---The cases of one dialect, for any runner: each raises what is wrong.
---@param name string
---@param dialect? table what its file returns; without it the module dialects.NAME
---@return { name: string, run: fun() }[]
function conformance.cases(name, dialect)
  local list = {}
  local function add(what, run) list[#list + 1] = { name = name .. ": " .. what, run = run } end
  local held = { name = name, dialect = whole(dialect or require("dialects." .. name)), cannot = {},
    changes = {} }
  for _, feature in ipairs(held.dialect.cannot or {}) do held.cannot[feature] = true end
  for _, feature in ipairs(held.dialect.changes or {}) do held.changes[feature] = true end
  add("data", function() check_data(held) end)
  if held.dialect.write_request then add_requests(held, add) end
  if held.dialect.write_answer and held.dialect.writer then add_answers(held, add) end
  add_wrong(held, add)
  return list
end

---Names the cases of a dialect to `moongate test`.
local function register(_, name)
  local sim = require "moongate.sim"
  for _, case in ipairs(conformance.cases(name)) do sim.test(case.name, case.run) end
end

return setmetatable(conformance, { __call = register })
