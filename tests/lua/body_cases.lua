-- SPDX-License-Identifier: MIT
-- What the values of a body are and how they are written: the same cases for the stand-in of the tests and
-- for the core's own (tests/unit/test_body.c). Strings of 8 bytes and more are texts here.

local LONG = 8

return function(body, case)
  local function equal(found, expected)
    if found ~= expected then error(("found %s, expected %s"):format(tostring(found), tostring(expected)), 2) end
  end

  local function raises(part, fn, ...)
    local good, err = pcall(fn, ...)
    if good then error("nothing was raised, expected: " .. part, 2) end
    if not tostring(err):find(part, 1, true) then error("raised " .. tostring(err), 2) end
  end

  local function decode(text, raw) return body.decode(text, raw, LONG) end
  local function same(text, raw) equal(body.encode(decode(text, raw)), text) end

  case("numbers, words and short strings come as Lua's own", function()
    local v = decode '{"a":1,"b":-2.5,"c":true,"d":false,"e":null,"f":"x","g":1e3,"h":9007199254740993}'
    equal(v.a, 1)
    equal(math.type(v.a), "integer")
    equal(v.b, -2.5)
    equal(v.c, true)
    equal(v.d, false)
    equal(v.e, nil)
    equal(v.f, "x")
    equal(v.g, 1000.0)
    equal(v.h, 9007199254740993)
  end)

  case("what was read is written the same", function()
    same '{"a":[1,2,{"b":[]}],"c":"d","e":0.1,"f":0.7}'
    same '[]'
    same '{}'
    same '{"a":[true,false,null]}'
    same '{"n":123456789012345678901234567890}'
    same '{"n":-0.25,"o":1.5e+300}'
    same '{"t":"a long \\n text \\" with \\\\ escapes"}'
    same '{"t":"h\195\169 \226\130\172 \240\159\152\128 and more"}'
  end)

  case("a number beyond 64 bits is raw, so nothing is lost", function()
    local v = decode '{"seed":18446744073709551616}'
    equal(body.kind(v.seed), "number")
    equal(body.text(v.seed), "18446744073709551616")
  end)

  case("a number beyond all numbers is raw too", function()
    local v = decode '{"temperature":1e999,"top_p":-1e999}'
    equal(body.text(v.temperature), "1e999")
    equal(body.encode(v), '{"temperature":1e999,"top_p":-1e999}')
  end)

  -- Goal: an escape of twelve bytes becomes a character of four, more than it counts for.
  case("the front of a text of escaped pairs", function()
    local v = decode('"' .. ("\\ud83d\\ude00"):rep(60) .. '"')
    local plain = ("\240\159\152\128"):rep(60)
    for _, n in ipairs { 1, 4, 30, 59, 60, 61, 200, 240, 500 } do
      equal(body.head(v, n), plain:sub(1, n))
      if n % 4 == 0 then equal(body.string(body.after(v, n)), plain:sub(n + 1)) end
    end
  end)

  case("escapes are undone in short strings", function()
    equal(decode '{"a":"\\n\\""}'.a, "\n\"")
    equal(body.string(decode '["\\u00e9"]'[1]), "\195\169")
    equal(decode '{"\\u0061":"\\/"}'.a, "/")
    equal(body.string(decode '"\\ud83d\\ude00"'), "\240\159\152\128")
    equal(body.string(decode '"\\ud83d lone"'), "\239\191\189 lone")
  end)

  case("null in a list keeps its place", function()
    local v = decode '[1,null,3]'
    equal(#v, 3)
    equal(v[2], body.null)
  end)

  case("long strings are texts: head, after, size, string", function()
    local v = decode('{"t":"0123456789abcdef"}').t
    equal(type(v) == "string", false)
    equal(body.is_text(v), true)
    equal(body.is_text("x"), true)
    equal(body.is_text(1), false)
    equal(body.is_text({}), false)
    equal(body.head(v, 4), "0123")
    equal(body.head(v, 100), "0123456789abcdef")
    equal(body.head(v, 0), "")
    equal(body.string(body.after(v, 10)), "abcdef")
    equal(body.string(body.after(v, 100)), "")
    equal(body.size(v), 16)
    equal(body.string(v, 16), "0123456789abcdef")
    equal(body.string(v, 15), nil)
    equal(body.string("abc", 2), nil)
    equal(body.string("abc", 3), "abc")
    equal(body.head("abc", 2), "ab")
    equal(body.after("abc", 2), "c")
    equal(body.after("abc", 5), "")
  end)

  case("head and after cut where the text says so, not its escapes", function()
    local v = decode('{"t":"a\\nb\\u00e9\\ud83d\\ude00cdefgh"}').t
    local whole = "a\nb\195\169\240\159\152\128cdefgh"
    equal(body.string(v), whole)
    for n = 0, #whole do
      equal(body.head(v, n), whole:sub(1, n))
      equal(body.string(body.after(v, n)), whole:sub(n + 1))
    end
    for n = 0, 4 do
      local rest = body.after(body.after(v, 1), n)
      equal(body.string(rest), whole:sub(n + 2))
    end
  end)

  case("texts join with strings, numbers and each other", function()
    local v = decode('{"t":"0123456789"}').t
    local w = body.join { "<", v, 7, v, ">" }
    equal(body.string(w), "<012345678970123456789>")
    equal(body.encode { w = w }, '{"w":"<012345678970123456789>"}')
    equal(body.head(w, 3), "<01")
    equal(body.string(body.after(w, 9)), "8970123456789>")
    equal(body.size(w), 23)
    for _, odd in ipairs { {}, true, print, (body.raw "1") } do
      raises("expected a string or a text", body.join, { v, odd })
    end
    raises("expected a string or a text", body.join, { v, nil, "x" })
  end)

  -- Goal: no metamethod joins. Debian 12's Lua 5.4.4 loses what __concat gives when the stack moves below it.
  case("neither a text nor raw JSON is joined with ..", function()
    for _, v in ipairs { decode '"0123456789"', (body.raw "[1]") } do
      for _, join in ipairs {
        function() return v .. "b" end, function() return "a" .. v end, function() return v .. v end,
        function() return v .. 1 end, function() return v .. {} end,
        function() return "a" .. "b" .. v end, function() return "a" .. v .. "c" end,
        function() return v .. "b" .. "c" end, function() return "a" .. 2 .. "c" .. v end,
        function() return "a" .. v .. v .. "d" end, function() return v .. "b" .. 3 .. "d" end,
      } do
        raises("use body.join", join)
      end
    end
  end)

  case("join", function()
    local v = decode('{"t":"0123456789"}').t
    equal(body.join({}, ","), "")
    equal(body.join({ "a", "b" }, ", "), "a, b")
    equal(body.join { "a", "b" }, "ab")
    equal(body.string(body.join({ "a", v, "b" }, "\n\n")), "a\n\n0123456789\n\nb")
    equal(body.join { "a", 1, 2.5, -3 }, "a12.5-3")
    equal(body.join({ 1, 2 }, "."), "1.2")
    equal(body.join { 1 }, "1")
    local list = { 1, "b" }
    body.join(list)
    equal(math.type(list[1]), "integer")
  end)

  case("base64 for URLs becomes plain base64, short and long, cut and joined", function()
    local v = decode('{"t":"a-b_c+d\\/ef-_=="}').t
    local said = "a+b/c+d/ef+/=="
    equal(body.base64 "a-b_", "a+b/")
    equal(body.base64 "", "")
    equal(body.string(body.base64(v)), said)
    equal(body.string(v), "a-b_c+d/ef-_==")
    equal(body.string(decode(body.encode { body.base64(v) })[1]), said)
    for n = 0, #said do
      equal(body.head(body.base64(v), n), said:sub(1, n))
      equal(body.string(body.after(body.base64(v), n)), said:sub(n + 1))
    end
    local joined = body.join { "-", body.base64(body.join { "_-", v, "_" }), "-" }
    equal(body.string(joined), "-/+" .. said .. "/-")
    equal(body.string(body.after(joined, 2)), "+" .. said .. "/-")
    raises("expected a string or a text", body.base64, {})
  end)

  case("a text joined many times over stays whole", function()
    local t, plain = decode('"0123456789"'), "0123456789"
    local v = t
    for i = 1, 200 do
      v = body.join { v, i % 2 == 0 and "x" or t }
      plain = plain .. (i % 2 == 0 and "x" or "0123456789")
    end
    equal(body.string(v), plain)
    equal(body.string(body.after(v, 333)), plain:sub(334))
    equal(body.encode(v), '"' .. plain .. '"')
  end)

  case("a text is no string", function()
    local v = decode('"0123456789"')
    raises("length", function() return #v end)
    raises("string", tostring, v)
  end)

  case("raw fields: kind, text, table", function()
    local v = decode('{"p":{ "type" : "object","n":18446744073709551616 },"q":"abcdefghij","r":[1],"s":null,"x":{"p":3}}',
      { "p", "q", "r", "s" })
    equal(body.kind(v.p), "object")
    equal(body.is_raw(v.p), true)
    equal(body.is_raw("x"), false)
    equal(body.text(v.p), '{ "type" : "object","n":18446744073709551616 }')
    equal(body.table(v.p).type, "object")
    equal(body.kind(v.q), "string")
    equal(body.table(v.q), "abcdefghij")
    equal(body.kind(v.r), "array")
    equal(v.s, nil)
    equal(body.kind(v.x.p), "number")
    equal(body.encode { a = v.p }, '{"a":{ "type" : "object","n":18446744073709551616 }}')
    raises("length", function() return #v.p end)
  end)

  case("raw of a text that is JSON within JSON, and back", function()
    local v = decode('{"arguments":"{\\"city\\":\\"K\\u00f6ln\\",\\"days\\":[1, 2]}"}')
    local raw = assert(body.raw(v.arguments))
    equal(body.kind(raw), "object")
    equal(body.table(raw).city, "K\195\182ln")
    equal(body.encode { input = raw }, '{"input":{"city":"K\195\182ln","days":[1, 2]}}')
    equal(body.string(body.text(raw)), '{"city":"K\195\182ln","days":[1, 2]}')
    local again = body.decode(body.encode { arguments = body.text(raw) }) -- escaped as it was, or anew
    equal(again.arguments, '{"city":"K\195\182ln","days":[1, 2]}')
  end)

  case("raw of a string", function()
    equal(body.encode { a = body.raw '{"x": 1}' }, '{"a":{"x": 1}}')
    local raw, why = body.raw '{"x": 1'
    equal(raw, nil)
    equal(type(why), "string")
    equal(body.raw(decode '"no JSON at all"'), nil)
    equal(body.raw "", nil)
    equal(body.kind(body.raw_of { a = { 1 } }), "object")
    equal(body.encode { a = body.raw_of { b = body.list {} } }, '{"a":{"b":[]}}')
    equal(body.text(body.raw_of { 1, "two" }), '[1,"two"]')
  end)

  case("lists, objects, order, null", function()
    equal(body.encode { a = body.list {}, b = body.object {}, c = {}, d = { 1, 2 } }, '{"a":[],"b":{},"c":{},"d":[1,2]}')
    equal(body.encode(body.ordered { { "z", 1 }, { "gone", nil }, { "a", body.null }, { "m", { "x" } } }),
      '{"z":1,"a":null,"m":["x"]}')
    equal(body.encode { zebra = 1, apple = 2, mango = { b = 1, a = 2 } }, '{"apple":2,"mango":{"a":2,"b":1},"zebra":1}')
    equal(body.encode(decode '[]'), "[]")
  end)

  case("strings are escaped", function()
    equal(body.encode { a = '"\\' }, '{"a":"\\"\\\\"}')
    equal(body.table(body.raw(body.encode { a = "\0\1\n\31" })).a, "\0\1\n\31")
    equal(body.encode { ['q"'] = 1 }, '{"q\\"":1}')
  end)

  case("what cannot be written raises", function()
    raises("function", body.encode, { print })
    raises("names", body.encode, { [{}] = 1 })
    raises("NaN", body.encode, { 0 / 0 })
    raises("infinity", body.encode, { math.huge })
  end)

  case("what is no JSON raises", function()
    for _, text in ipairs { "", "{", "[1,]", '{"a"}', '{"a":}', "nul", '"abc', '"\\x"', '{"a":1}x', "[1 2]", "01", "+1", '"\1"' } do
      raises("byte", body.decode, text)
    end
  end)

  case("fields given twice: the last counts", function()
    equal(decode '{"a":1,"a":2}'.a, 2)
  end)
end
