-- SPDX-License-Identifier: MIT
-- The module moongate.body for tests of dialects in stock Lua: the same values as the core makes of a body
-- that is being translated. `body.decode(text, raw, long)` and `body.encode(value)` stand for what the core
-- does before and after a dialect's functions: fields named in `raw` come as RAW, strings of at least
-- `long` bytes as TEXT. Tests give a small `long`, so that what bears a short prompt only is found out.

local body = {}

body.null = setmetatable({}, { __name = "null" })

local TEXT, RAW, ORDERED = { __name = "moongate.text" }, { __name = "moongate.raw" }, {}
local LIST, OBJECT = {}, {}

local function is(v, meta) return type(v) == "table" and getmetatable(v) == meta end

local function plain(v)
  if type(v) == "string" then return v end
  if is(v, TEXT) then return v.value end
  error("expected a string or a text, got " .. (is(v, RAW) and "raw JSON" or type(v)), 3)
end

local function like(value, ...)
  for _, v in ipairs { ... } do
    if is(v, TEXT) then return setmetatable({ value = value }, TEXT) end
  end
  return value
end

TEXT.__concat = function()
  error("a text is not joined with ..: use body.join (Lua 5.4.4 loses operands of longer joins)", 2)
end
TEXT.__tostring = function() error("a text is not turned into a string: use moongate.body", 2) end
TEXT.__len = function() error("a text has no length: use body.size", 2) end
RAW.__len = TEXT.__len
RAW.__concat = TEXT.__concat

function body.is_text(v) return type(v) == "string" or is(v, TEXT) end
function body.is_raw(v) return is(v, RAW) end
function body.head(v, n) return plain(v):sub(1, n) end
function body.after(v, n) return like(plain(v):sub(n + 1), v) end
function body.size(v) return #plain(v) end
function body.base64(v) return like((plain(v):gsub("[-_]", { ["-"] = "+", ["_"] = "/" })), v) end

function body.join(list, sep)
  local out = {}
  for i = 1, #list do out[i] = type(list[i]) == "number" and tostring(list[i]) or plain(list[i]) end
  return like(table.concat(out, sep), table.unpack(list))
end

function body.string(v, max)
  local s = plain(v)
  if #s <= (max or math.huge) then return s end
end

-- ---------------------------------------------------------------- reading

local ESCAPES = { b = "\b", f = "\f", n = "\n", r = "\r", t = "\t", ['"'] = '"', ["\\"] = "\\", ["/"] = "/" }

local function fail(at, what) error({ json = ("byte %d: %s"):format(at, what) }, 0) end

local function skip(s, at) return s:match("^[ \t\r\n]*()", at) end

local function read_string(s, at)
  local out, from = {}, at + 1
  while true do
    local stop = s:find('["\\%c]', from)
    if not stop then fail(at, "a string without end") end
    out[#out + 1] = s:sub(from, stop - 1)
    local c = s:sub(stop, stop)
    if c == '"' then return table.concat(out), stop + 1 end
    if c ~= "\\" then fail(stop, "a control character in a string") end
    local escape = s:sub(stop + 1, stop + 1)
    if escape == "u" then
      local code = tonumber(s:match("^%x%x%x%x", stop + 2) or fail(stop, "a bad escape"), 16)
      from = stop + 6
      if code >= 0xD800 and code < 0xDC00 then
        local low = s:match("^\\u([dD][c-fC-F]%x%x)", from)
        if low then
          code = 0x10000 + (code - 0xD800) * 0x400 + (tonumber(low, 16) - 0xDC00)
          from = from + 6
        else
          code = 0xFFFD
        end
      elseif code >= 0xDC00 and code < 0xE000 then
        code = 0xFFFD
      end
      out[#out + 1] = utf8.char(code)
    else
      out[#out + 1] = ESCAPES[escape] or fail(stop, "a bad escape")
      from = stop + 2
    end
  end
end

local read

local function read_object(s, at, way)
  local out = {}
  at = skip(s, at + 1)
  if s:sub(at, at) == "}" then return out, at + 1 end
  while true do
    if s:sub(at, at) ~= '"' then fail(at, "expected a name") end
    local name, value
    name, at = read_string(s, at)
    at = skip(s, at)
    if s:sub(at, at) ~= ":" then fail(at, "expected a colon") end
    local from = skip(s, at + 1)
    value, at = read(s, from, way)
    if way.raw[name] and value ~= nil then
      value = setmetatable({ text = s:sub(from, at - 1) }, RAW)
    end
    out[name] = value
    at = skip(s, at)
    local c = s:sub(at, at)
    if c == "}" then return out, at + 1 end
    if c ~= "," then fail(at, "expected a comma") end
    at = skip(s, at + 1)
  end
end

local function read_list(s, at, way)
  local out, n = setmetatable({}, LIST), 0
  at = skip(s, at + 1)
  if s:sub(at, at) == "]" then return out, at + 1 end
  while true do
    local value
    value, at = read(s, skip(s, at), way)
    n = n + 1
    out[n] = value == nil and body.null or value
    at = skip(s, at)
    local c = s:sub(at, at)
    if c == "]" then return out, at + 1 end
    if c ~= "," then fail(at, "expected a comma") end
    at = at + 1
  end
end

function read(s, at, way)
  local c = s:sub(at, at)
  if c == "{" then return read_object(s, at, way) end
  if c == "[" then return read_list(s, at, way) end
  if c == '"' then
    local value, stop = read_string(s, at)
    if stop - at >= way.long then value = setmetatable({ value = value }, TEXT) end
    return value, stop
  end
  for word, value in pairs { ["true"] = true, ["false"] = false } do
    if s:sub(at, at + #word - 1) == word then return value, at + #word end
  end
  if s:sub(at, at + 3) == "null" then return nil, at + 4 end
  local number = s:match("^-?%d+%.?%d*[eE]?[+-]?%d*", at)
  if not number or not tonumber(number) or number:find "^-?0%d" or number:find "%.$" then
    fail(at, "expected a value")
  end
  local value = tonumber(number)
  local beyond = number:find "^-?%d+$" and math.type(value) ~= "integer" or math.abs(value) == math.huge
  if beyond then -- 64 bits, or all numbers: as it was written
    value = setmetatable({ text = number }, RAW)
  end
  return value, at + #number
end

---What the core makes of a body. Raises a text when it is no JSON.
---@param text string
---@param raw? string[] names of fields that stay raw
---@param long? integer strings of at least so many bytes are texts
---@return any
function body.decode(text, raw, long)
  local way = { raw = {}, long = long or 4096 }
  for _, name in ipairs(raw or {}) do way.raw[name] = true end
  local good, value, at = pcall(read, text, skip(text, 1), way)
  if not good then error(type(value) == "table" and value.json or value, 2) end
  at = skip(text, at)
  if at <= #text then error(("byte %d: something follows the value"):format(at), 2) end
  return value
end

---What decode makes of the names of raw fields; here they stay a list.
function body.raw_set(names) return names end

function body.raw(text)
  local good, why = pcall(body.decode, plain(text))
  if not good then return nil, why end
  return setmetatable({ text = plain(text) }, RAW)
end

function body.text(raw) return raw.text end
function body.table(raw) return body.decode(raw.text) end

local KINDS = { ["{"] = "object", ["["] = "array", ['"'] = "string", t = "boolean", f = "boolean", n = "null" }
function body.kind(raw) return KINDS[raw.text:match("%S")] or "number" end

-- ---------------------------------------------------------------- writing

function body.list(t) return setmetatable(t, LIST) end
function body.object(t) return setmetatable(t, OBJECT) end

function body.ordered(pairs_)
  return setmetatable({ fields = pairs_ }, ORDERED)
end

local SHORT = { ["\b"] = "b", ["\f"] = "f", ["\n"] = "n", ["\r"] = "r", ["\t"] = "t", ['"'] = '"', ["\\"] = "\\" }

local function quoted(s)
  return '"' .. s:gsub('[%c"\\]', function(c)
    if c == "\127" then return c end
    return SHORT[c] and "\\" .. SHORT[c] or ("\\u%04x"):format(c:byte())
  end) .. '"'
end

local encode

local function encode_object(t)
  local names, out = {}, {}
  for name in pairs(t) do
    if type(name) ~= "string" then error("a JSON object has names as keys, not " .. tostring(name), 0) end
    names[#names + 1] = name
  end
  table.sort(names)
  for i, name in ipairs(names) do out[i] = quoted(name) .. ":" .. encode(t[name]) end
  return "{" .. table.concat(out, ",") .. "}"
end

local function encode_table(t)
  if t == body.null then return "null" end
  if is(t, TEXT) then return quoted(t.value) end
  if is(t, RAW) then return t.text end
  local out = {}
  if is(t, ORDERED) then
    for _, field in ipairs(t.fields) do
      if field[2] ~= nil then out[#out + 1] = quoted(field[1]) .. ":" .. encode(field[2]) end
    end
    return "{" .. table.concat(out, ",") .. "}"
  end
  if t[1] ~= nil or getmetatable(t) == LIST then
    for i = 1, #t do out[i] = encode(t[i]) end
    return "[" .. table.concat(out, ",") .. "]"
  end
  return encode_object(t)
end

function encode(v)
  local kind = type(v)
  if kind == "table" then return encode_table(v) end
  if kind == "string" then return quoted(v) end
  if kind == "boolean" then return tostring(v) end
  if kind == "number" then
    if math.type(v) == "integer" then return ("%d"):format(v) end
    if v ~= v or v == math.huge or v == -math.huge then error("JSON has no NaN and no infinity", 0) end
    for digits = 15, 17 do -- the shortest that reads back the same
      local text = ("%." .. digits .. "g"):format(v)
      if tonumber(text) == v then return text end
    end
  end
  error("a " .. kind .. " cannot be written as JSON", 0)
end

---@param value any
---@return string
function body.encode(value) return encode(value) end

function body.raw_of(t) return setmetatable({ text = encode(t) }, RAW) end

return body
