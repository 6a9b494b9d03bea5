-- SPDX-License-Identifier: MIT
-- Carries a request, an answer or a stream from one dialect to another, by way of the common form: reads
-- with the one's functions, writes with the other's. Knows no dialect; their files are modules dialects.NAME.

local body = require "moongate.body"
local tool_names = require "moongate.dialect.tool_names"

local translate = {}

local SAID = { "text", "arguments", "data", "signature" }

local function dialect(name) return require("dialects." .. name) end

-- The functions stand in a module of their own, or beside the data.
local function functions(name)
  local data = dialect(name)
  return data.functions and require(data.functions) or data
end

local function refusal(why) return { refuse = why } end

---The function of a dialect's file; a refusal when it has none.
local function part(name, fn)
  local found = functions(name)[fn]
  if not found then
    error(refusal(("the dialect %s has no %s: nothing can be translated %s it"):format(
      name, fn, fn:find("^read") and "from" or "to")), 0)
  end
  return found
end

-- A context that drops: each name once, and a client's thousand unknown fields cost a thousand steps.
local function dropper()
  local seen = {}
  return function(ctx, name)
    if seen[name] then return end
    seen[name] = true
    ctx.dropped[#ctx.dropped + 1] = name
  end
end

---Makes a context of what is known of the request.
---@param ctx table model, stream, id, now, strict, client, provider
---@return table ctx
function translate.context(ctx)
  ctx.dropped = {}
  ctx.drop = dropper()
  return ctx
end

---Calls it; a refusal comes back as nil and its text, any other error is raised on.
local function guarded(fn, ...)
  local good, value = pcall(fn, ...)
  if good then return value end
  if type(value) == "table" and value.refuse then return nil, tostring(value.refuse) end
  error(value, 0)
end

-- What answers and streams may know of the request: all but the conversation, which would be held as long
-- as they last.
local function without_messages(request)
  local kept = {}
  for name, value in pairs(request) do
    if name ~= "messages" then kept[name] = value end
  end
  return kept
end

local function write_request(from, to, decoded, ctx)
  if type(decoded) ~= "table" then error(refusal("the request is no JSON object"), 0) end
  local request = part(from, "read_request")(decoded, ctx)
  local names = tool_names.of(request, functions(to).tool_names)
  local written = part(to, "write_request")(names and tool_names.write(names, request, ctx) or request, ctx)
  ctx.tool_names = names
  ctx.request = without_messages(request)
  if ctx.strict and ctx.dropped[1] then
    error(refusal(("%s cannot express: %s"):format(to, table.concat(ctx.dropped, ", "))), 0)
  end
  return written
end

---A client's request as the provider's dialect says it; nil and why when it cannot be said. Names of what
---was left out are in ctx.dropped; ctx.request is the common form without its messages.
---@param from string the client's dialect
---@param to string the provider's
---@param decoded table the client's body
---@param ctx table
---@return table|nil body
---@return string|nil refusal
function translate.request(from, to, decoded, ctx)
  return guarded(write_request, from, to, decoded, ctx)
end

---A provider's whole answer as the client's dialect says it.
---@param from string the provider's dialect
---@param to string the client's
---@param decoded table the answer
---@param ctx table of its request
---@return table|nil body
---@return string|nil refusal
function translate.answer(from, to, decoded, ctx)
  return guarded(function()
    local common = part(from, "read_answer")(decoded, ctx)
    if ctx.tool_names then common = tool_names.read(ctx.tool_names, common) end
    return part(to, "write_answer")(common, ctx)
  end)
end

local function size(value) return value == nil and 0 or body.size(value) end

local function said(delta)
  local n = 0
  for _, field in ipairs(SAID) do n = n + size(delta[field]) end
  return n
end

---A stream on its way from the provider to the client. `emit(type, data)` is called for each event to the
---client: no type, no `event:` line; data is a table, or a text that stands as it is ("[DONE]").
---@param from string the provider's dialect
---@param to string the client's
---@param ctx table of its request
---@param emit fun(type: string|nil, data: table|string)
---@param most? integer bytes that the stream may say: some dialects keep all of it to repeat it at the end
---@return fun(type: string, data: table): boolean feed one event of the provider's; true: it is too much
---@return fun() finish the provider's stream came to its good end
function translate.stream(from, to, ctx, emit, most)
  local read = part(from, "reader")(ctx)
  local write = part(to, "writer")(ctx)
  local total, names = 0, ctx.tool_names
  local function pass(delta)
    total = total + said(delta)
    if most and total > most then error({ limit = true }, 0) end
    write(names and tool_names.read_delta(names, delta) or delta, emit)
  end
  local function feed(type_, data)
    local good, err = pcall(read, type_, data, pass)
    if good then return false end
    if type(err) == "table" and err.limit then return true end
    error(type(err) == "table" and err.refuse or err, 0)
  end
  local function finish() write({ kind = "end" }, emit) end
  return feed, finish
end

---Loads a dialect with its functions, so that no request has to.
---@param name string
function translate.load(name) functions(name) end

---@param a string
---@param b string
function translate.load_both(a, b)
  functions(a)
  functions(b)
end

-- What the core calls: values are made of the bytes here, so that their cost counts as this request's.

---@param source string|userdata the client's body
function translate.from_request(from, to, source, ctx)
  translate.context(ctx)
  local decoded = body.decode(source, dialect(from).raw)
  return translate.request(from, to, decoded, ctx)
end

---@param source string|userdata the provider's answer
function translate.from_answer(from, to, source, ctx)
  local good, decoded = pcall(body.decode, source, dialect(from).raw)
  if not good then return nil, tostring(decoded) end -- no fault of the dialect's
  return translate.answer(from, to, decoded, ctx)
end

---The functions of a stream, and which fields of its events stay raw.
function translate.open_stream(from, to, ctx, emit, most)
  local feed, finish = translate.stream(from, to, ctx, emit, most)
  return feed, finish, body.raw_set(dialect(from).raw or {})
end

return translate
