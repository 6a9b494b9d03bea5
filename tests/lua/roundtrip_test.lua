-- SPDX-License-Identifier: MIT
-- The corpus there and back. A -> common form -> A gives what the file holds, or, where the dialect's normal
-- form differs, what stands beside it as NAME.normal.json; and a normal form is its own normal form. A ->
-- common form -> B -> common form -> A keeps what both dialects have: what a writer cannot say it must have
-- dropped by name. lua/dialects/README.md, "Normal form", says what is normal.

local body = require "moongate.body"
local dialects = require "dialects"
local expect = require "expect"

-- ---------------------------------------------------------------- the common form, told shortly

local function canonical(arguments)
  local good, value = pcall(body.decode, body.string(arguments))
  return good and body.encode(value) or body.string(arguments)
end

local function plain(v) return v and body.string(v) or "" end

local SAID = {}
function SAID.text(part) return "text " .. plain(part.text) end
function SAID.refusal(part) return "refusal " .. plain(part.text) end
function SAID.image(part) return "image " .. plain(part.data or part.url) end
function SAID.audio(part) return "audio " .. plain(part.data) end
function SAID.file(part) return "file " .. plain(part.data or part.url or part.id or part.text) end
function SAID.document(part) return "text " .. (part.name and part.name .. "\n\n" or "") .. plain(part.text) end
function SAID.call(part) return "call " .. part.name .. " " .. canonical(part.arguments) end
function SAID.result(part)
  local out = {}
  for _, one in ipairs(part.parts or {}) do out[#out + 1] = one.type == "text" and plain(one.text) or nil end
  return "result " .. table.concat(out, "\n")
end

local function add_parts(list, parts, only)
  for _, part in ipairs(parts) do
    -- A refusal, and a document that is text, are a text where there is no word for them.
    local kind = (part.type == "refusal" or part.type == "file" and part.text) and "text" or part.type
    if kind == only then list[#list + 1] = SAID[part.type == "file" and "document" or only](part) end
    if part.type == "result" and only == "image" then add_parts(list, part.parts or {}, only) end
  end
end

-- Parts of one kind: dialects differ in the order that they can keep between text and calls, not within
-- each. Chat says where images of a result come from: it has no place for them in the result. Texts of a
-- prompt may have been joined, and a wish for JSON added to them.
local function digest(messages, only)
  local prompt, rest = {}, {}
  for _, message in ipairs(messages) do
    local prompts = message.role == "system" or message.role == "developer"
    add_parts(prompts and prompt or rest, message.parts, only)
  end
  for i = #rest, 1, -1 do
    if rest[i]:find("^text Of the result of tool call") then table.remove(rest, i) end
  end
  return table.concat(rest, "\n"), (table.concat(prompt, "\n"):gsub("\n+text ", "\n"):gsub("\n+", "\n"))
end

-- ---------------------------------------------------------------- streams

local JOINED = { text = true, thinking = true, refusal = true }

-- Deltas with neighbours of one kind joined, arguments gathered under their calls, counts merged.
local function told(deltas)
  local out, calls, usage, last = {}, {}, {}, nil
  for _, delta in ipairs(deltas) do
    local where = delta.kind .. (delta.candidate or 0)
    if delta.kind == "arguments" then
      calls[delta.call].arguments = calls[delta.call].arguments .. body.string(delta.text)
    elseif delta.kind == "usage" or delta.kind == "start" then
      for name, value in pairs(delta.usage or {}) do usage[name] = value end
    elseif JOINED[delta.kind] and last and last.where == where then
      last.text = last.text .. body.string(delta.text)
    else
      last = { where = where, text = delta.text and body.string(delta.text) or "", id = delta.id,
        name = delta.name, stop = delta.stop, signature = delta.signature, arguments = "" }
      if delta.kind == "call" then calls[delta.call] = last end
      out[#out + 1] = last
    end
  end
  -- A count of none is no count: some dialects demand one.
  for name, value in pairs(usage) do usage[name] = value ~= 0 and value or nil end
  for _, one in pairs(calls) do one.arguments = canonical(one.arguments == "" and "{}" or one.arguments) end
  out[#out + 1] = usage
  return out
end

-- A stream that broke off says no reason to stop; one that is written always does.
local function without_stop(deltas)
  local out = {}
  for _, delta in ipairs(deltas) do
    if delta.kind ~= "stop" then out[#out + 1] = delta end
  end
  return out
end

-- What the clients of streams asked for, and those of Gemini, who are told thoughts only when they ask.
local ASKED = { include_usage = true }
local THOUGHTS = { include_usage = true, reasoning = { show = true } }

return function(test)
  local all = dialects.all()

  local function read(dialect, what, text, long, model)
    local ctx = dialects.ctx { provider = dialect.name, client = dialect.name, model = model,
      request = dialect.name == "gemini" and THOUGHTS or nil }
    local decoded = body.decode(text, dialect.raw, long)
    if not model and what == "request" then ctx.model = decoded.model and body.string(decoded.model) or "m" end
    return dialect["read_" .. what](decoded, ctx), ctx
  end

  local function there_and_back(dialect, what, text, long)
    local common, ctx = read(dialect, what, text, long)
    ctx.stream = common.stream or false
    return body.encode(dialect["write_" .. what](common, ctx))
  end

  local function whole(dialect, what, file)
    dialects.both(test, ("%s/%s there and back"):format(dialect.name, file), function(long)
      local text = dialects.file(dialect, file)
      local normal = dialects.file(dialect, (file:gsub("%.json$", ".normal.json"))) or text
      local found = there_and_back(dialect, what, text, long)
      dialects.same(body.decode(found), normal, file)
      dialects.same(body.decode(there_and_back(dialect, what, found, long)), normal, file .. ", its normal form")
    end)
  end

  local function stream(dialect, file)
    dialects.both(test, ("%s/%s there and back"):format(dialect.name, file), function(long)
      local ctx = dialects.ctx { provider = dialect.name, stream = true,
        request = dialect.name == "gemini" and THOUGHTS or ASKED }
      local events = dialects.events(dialects.file(dialect, file))
      local deltas = dialects.read_stream(dialect, ctx, events, long)
      expect.equal(deltas[1] and deltas[1].kind, "start", "the first delta")
      local written = dialects.write_stream(dialect, ctx, deltas)
      for _, event in ipairs(written) do
        if event.data ~= "[DONE]" then body.decode(event.data) end
      end
      local again = dialects.read_stream(dialect, ctx, written, long)
      if #without_stop(deltas) == #deltas then again = without_stop(again) end
      dialects.same(told(again), told(deltas), file)
    end)
  end

  local function across(from, to, file)
    test(("%s/%s by way of %s"):format(from.name, file, to.name), function()
      local text = dialects.file(from, file)
      local ctx = dialects.ctx { provider = to.name, client = from.name, model = "gpt-4o" }
      local common = from.read_request(body.decode(text, from.raw, 64), ctx)
      ctx.stream = common.stream or false
      local other = body.encode(to.write_request(common, ctx))
      local back = to.read_request(body.decode(other, to.raw, 64), dialects.ctx { provider = from.name })
      if not table.concat(ctx.dropped, " "):find("messages") then
        for _, only in ipairs { "call", "result", "image", "text" } do
          local found, found_prompt = digest(back.messages, only)
          local wanted, wanted_prompt = digest(common.messages, only)
          expect.equal(found, wanted, "messages")
          expect.contains(found_prompt, wanted_prompt, "prompts")
        end
      end
      expect.equal(#(back.tools or {}), #(common.tools or {}), "tools")
      local again = from.write_request(back, dialects.ctx { provider = from.name, stream = ctx.stream })
      body.decode(body.encode(again))
    end)
  end

  for _, dialect in ipairs(all) do
    if dialect.read_request then
      for _, file in ipairs(dialects.files(dialect, "request")) do
        whole(dialect, "request", file)
        for _, to in ipairs(all) do
          if to ~= dialect and to.read_request and to.write_request then across(dialect, to, file) end
        end
      end
    end
    if dialect.write_answer then
      for _, file in ipairs(dialects.files(dialect, "answer")) do whole(dialect, "answer", file) end
      for _, file in ipairs(dialects.files(dialect, "stream")) do stream(dialect, file) end
    end
  end
end
