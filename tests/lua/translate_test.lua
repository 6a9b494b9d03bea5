-- SPDX-License-Identifier: MIT
-- The driver of translations, over two tiny pretend dialects: what is called with what, what comes out, what
-- is dropped, refused and raised.

local expect = require "expect"
local body = require "moongate.body"
local translate = require "moongate.translate"

-- "up" says WORDS, "low" says words; `odd` misbehaves.
local UP, LOW = { name = "up", raw = { "keep" } }, { name = "low" }

function UP.read_request(b, ctx)
  if b.refuse then error { refuse = b.refuse } end
  if b.odd then error "a mistake" end
  if b.extra then
    ctx:drop("extra")
    ctx:drop("extra")
  end
  return { messages = { b.WORDS }, model = b.MODEL, keep = b.keep }
end

function UP.write_answer(a, ctx) return { WORDS = a.text:upper(), MODEL = ctx.request.model } end

function UP.writer()
  local n = 0
  return function(delta, emit)
    if delta.kind == "text" then
      n = n + 1
      emit("SAID", { WORDS = delta.text:upper() })
    elseif delta.kind == "end" then
      emit(nil, { N = n })
      emit(nil, "[DONE]")
    end
  end
end

function LOW.write_request(r, ctx)
  if r.keep then ctx:drop("keep") end
  return { words = r.messages[1]:lower(), model = ctx.model }
end

function LOW.read_answer(b)
  if b.refuse then error { refuse = "not this" } end
  return { text = b.words }
end

function LOW.reader()
  return function(type_, data, emit)
    if data.odd then error "a mistake" end
    if data.refuse then error { refuse = "not that" } end
    for word in (data.words or ""):gmatch("%S+") do emit { kind = "text", text = type_ .. word } end
  end
end

local DEAF = { name = "deaf" }

package.preload["dialects.up"] = function() return UP end
package.preload["dialects.low"] = function() return { name = "low", functions = "low_functions" } end
package.preload["low_functions"] = function() return LOW end
package.preload["dialects.deaf"] = function() return DEAF end

local function context(fields)
  local ctx = { model = "m-1", id = "mg-1", now = 1, stream = false, strict = false, client = "up", provider = "low" }
  for name, value in pairs(fields or {}) do ctx[name] = value end
  return translate.context(ctx)
end

local function emitted()
  local out = {}
  return out, function(type_, data)
    out[#out + 1] = (type_ or "-") .. " " .. (type(data) == "table" and body.encode(data) or data)
  end
end

return function(test)
  test("a request is read by the one, written by the other", function()
    local ctx = context()
    local written, why = translate.request("up", "low", { WORDS = "HI", MODEL = "m" }, ctx)
    expect.equal(why, nil)
    expect.equal(written.words, "hi")
    expect.equal(written.model, "m-1")
    expect.equal(#ctx.dropped, 0)
  end)

  test("what is kept of the request is all but its messages", function()
    local ctx = context()
    translate.request("up", "low", { WORDS = "HI", MODEL = "m" }, ctx)
    expect.equal(ctx.request.model, "m")
    expect.equal(ctx.request.messages, nil)
    expect.equal(translate.answer("low", "up", { words = "yes" }, ctx).MODEL, "m")
  end)

  test("each thing that is dropped is named once", function()
    local ctx = context()
    translate.request("up", "low", { WORDS = "HI", extra = 1, keep = true }, ctx)
    expect.list(ctx.dropped, { "extra", "keep" })
  end)

  test("strict refuses what would be dropped, by name", function()
    local written, why = translate.request("up", "low", { WORDS = "HI", extra = 1, keep = true }, context { strict = true })
    expect.equal(written, nil)
    expect.equal(why, "low cannot express: extra, keep")
    expect.equal(translate.request("up", "low", { WORDS = "HI" }, context { strict = true }).words, "hi")
  end)

  test("a refusal is a result, a mistake is raised with its place", function()
    local written, why = translate.request("up", "low", { refuse = "never" }, context())
    expect.equal(written, nil)
    expect.equal(why, "never")
    expect.raises("translate_test.lua:", translate.request, "up", "low", { odd = true }, context())
    expect.equal(select(2, translate.answer("low", "up", { refuse = true }, context())), "not this")
  end)

  test("a dialect without the function refuses, and says which is missing", function()
    local _, why = translate.request("up", "deaf", { WORDS = "HI" }, context())
    expect.contains(why, "deaf has no write_request")
    expect.contains(select(2, translate.answer("deaf", "up", {}, context())), "deaf has no read_answer")
    expect.equal(select(2, translate.request("up", "low", "no object", context())), "the request is no JSON object")
  end)

  test("a stream: events in, events out, and the end", function()
    local out, emit = emitted()
    local feed, finish = translate.stream("low", "up", context(), emit)
    expect.equal(feed("", { words = "a b" }), false)
    expect.list(out, { 'SAID {"WORDS":"A"}', 'SAID {"WORDS":"B"}' })
    feed("x", { words = "c" })
    feed("", {})
    finish()
    expect.list(out, { 'SAID {"WORDS":"A"}', 'SAID {"WORDS":"B"}', 'SAID {"WORDS":"XC"}', '- {"N":3}', "- [DONE]" })
  end)

  test("a stream that says too much is told, one that breaks raises a text", function()
    local _, emit = emitted()
    local feed = translate.stream("low", "up", context(), emit, 10)
    expect.equal(feed("", { words = "0123456789" }), false)
    expect.equal(feed("", { words = "0" }), true)
    feed = translate.stream("low", "up", context(), emit)
    expect.raises("a mistake", feed, "", { odd = true })
    expect.raises("not that", feed, "", { refuse = true })
  end)

  test("what the core calls decodes by the dialect's own rules", function()
    local ctx = { model = "m-1", strict = false }
    expect.equal(translate.from_request("up", "low", '{"WORDS":"HI","keep":[1]}', ctx).words, "hi")
    expect.list(ctx.dropped, { "keep" })
    expect.equal(body.text(ctx.request.keep), "[1]")
    expect.equal(translate.from_answer("low", "up", '{"words":"x"}', ctx).WORDS, "X")
    local out, emit = emitted()
    local feed = translate.open_stream("low", "up", ctx, emit)
    feed("", { words = "y" })
    expect.list(out, { 'SAID {"WORDS":"Y"}' })
  end)
end
