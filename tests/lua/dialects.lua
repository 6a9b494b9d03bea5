-- SPDX-License-Identifier: MIT
-- What tests of dialects need: bodies decoded as the core does it, contexts that note what was dropped,
-- streams fed event by event. Everything runs at two lengths: what is "long" decodes to TEXT, and a short
-- length finds code that bears short strings only.

local body = require "moongate.body"

local dialects = {}

dialects.LONG = { 4096, 8 }

---@param fields? table
---@return table ctx with `dropped`, a list of names
function dialects.ctx(fields)
  local ctx = { id = "r1", now = 1700000000, model = "m", stream = false, strict = false, dropped = {} }
  for name, value in pairs(fields or {}) do ctx[name] = value end
  function ctx.drop(self, name)
    assert(self == ctx and type(name) == "string", "ctx:drop wants a name")
    ctx.dropped[#ctx.dropped + 1] = name
  end
  return ctx
end

---A stream's events from the text of one: { type, data } each, without the marker of the end.
---@param sse string
---@return { type: string, data: string }[]
function dialects.events(sse)
  local out = {}
  for block in (sse .. "\n\n"):gmatch("(.-)\r?\n\r?\n") do
    local data = {}
    for line in block:gmatch("data: ?([^\n]*)") do data[#data + 1] = line end
    local text = table.concat(data, "\n")
    if text ~= "" then
      out[#out + 1] = { type = block:match("event: ?([^\r\n]*)") or "", data = text }
    end
  end
  return out
end

---All deltas that a dialect reads from a stream.
---@param dialect table
---@param ctx table
---@param events { type: string, data: string }[]
---@param long integer
---@return table[]
function dialects.read_stream(dialect, ctx, events, long)
  local read, deltas = dialect.reader(ctx), {}
  for _, event in ipairs(events) do
    if event.data ~= "[DONE]" then
      read(event.type, body.decode(event.data, dialect.raw, long),
        function(delta) deltas[#deltas + 1] = delta end)
    end
  end
  return deltas
end

---What a dialect writes of deltas: { type, data } each, data as the JSON text or the marker of the end. The
---last delta { kind = "end" } is added.
---@param dialect table
---@param ctx table
---@param deltas table[]
---@return { type: string, data: string }[]
function dialects.write_stream(dialect, ctx, deltas)
  local write, out = dialect.writer(ctx), {}
  local function emit(kind, data)
    out[#out + 1] = { type = kind or "", data = type(data) == "string" and data or body.encode(data) }
  end
  for _, delta in ipairs(deltas) do write(delta, emit) end
  write({ kind = "end" }, emit)
  return out
end

---A value as one comparable text: JSON with sorted names, texts and raw values as what they hold. A null in
---an object counts as absent.
---@param value any
---@return string
function dialects.text(value)
  local function plain(v)
    if type(v) ~= "table" then return v end
    local list, copy = v[1] ~= nil, {}
    for name, item in pairs(v) do copy[name] = plain(item) end
    if list or next(copy) == nil and body.encode(v) == "[]" then return body.list(copy) end
    return copy
  end
  return body.encode(plain(body.decode(body.encode(value))))
end

---@param found any
---@param expected any a value, or JSON as a text
---@param what? string
function dialects.same(found, expected, what)
  if type(expected) == "string" then expected = body.decode(expected) end
  local a, b = dialects.text(found), dialects.text(expected)
  if a ~= b then error(("%s:\nfound    %s\nexpected %s"):format(what or "value", a, b), 2) end
end

-- ---------------------------------------------------------------- the corpus

local CORPUS = arg[0]:match("^(.*)/[^/]*$") .. "/../corpus"
local NAMES = { "openai", "azure", "responses", "anthropic", "gemini", "bedrock" }

local function load_dialect(name)
  local good, data = pcall(require, "dialects." .. name)
  if not good then return nil end
  local functions = data.functions and require(data.functions) or data
  return setmetatable({ name = name, raw = data.raw }, { __index = functions })
end

---The dialects of the library that translate: their functions, `name` and `raw`.
---@return table[]
function dialects.all()
  local all = {}
  for _, name in ipairs(NAMES) do all[#all + 1] = load_dialect(name) end
  return all
end

---The names of a dialect's corpus files of a kind, without those that tell a normal form.
---@param dialect table
---@param kind "request"|"answer"|"stream"
---@return string[]
function dialects.files(dialect, kind)
  local found = {}
  local list = io.popen(("ls '%s/%s' 2>/dev/null"):format(CORPUS, dialect.name))
  for file in list:lines() do
    if file:find("^" .. kind .. "%-") and not file:find(".normal.", 1, true) then found[#found + 1] = file end
  end
  list:close()
  return found
end

---@param dialect table
---@param name string
---@return string|nil
function dialects.file(dialect, name)
  local file = io.open(("%s/%s/%s"):format(CORPUS, dialect.name, name))
  if not file then return nil end
  local text = file:read("a")
  file:close()
  return text
end

---Runs a case at each length.
---@param test function
---@param name string
---@param run fun(long: integer)
function dialects.both(test, name, run)
  for _, long in ipairs(dialects.LONG) do
    test(name .. (long == 8 and " (texts)" or ""), function() run(long) end)
  end
end

---Expects a refusal that holds a text.
---@param part string
---@param run function
function dialects.refuses(part, run, ...)
  local good, why = pcall(run, ...)
  if good then error("nothing was refused, expected: " .. part, 2) end
  if type(why) ~= "table" or not why.refuse then error("raised instead of refused: " .. tostring(why), 2) end
  if not why.refuse:find(part, 1, true) then
    error(("refused %q, expected %q"):format(why.refuse, part), 2)
  end
end

return dialects
