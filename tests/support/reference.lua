-- SPDX-License-Identifier: MIT
-- Writes the reference in policies/README.md, between its two marks, from what lua/meta declares and from
-- the functions of lua/moongate that say whether they wait: lua5.4 tests/support/reference.lua
-- With --check it writes nothing and exits with 1 when the page is not what it would write.
--
-- A function is told with the lines that stand above it: what it does, then "Waits:", "Cost:" and
-- "Errors:", then ---@param and ---@return. One that lacks any of the three is an error.

local ROOT = arg[0]:match("^(.*)/[^/]*$") .. "/../.."
local PAGE = ROOT .. "/policies/README.md"
local BEGIN = "<!-- reference: made by `make reference` from lua/meta and lua/moongate, not by hand -->\n"
local END = "<!-- end of the reference -->\n"

local SECTIONS = {
  { "The policy file", "lua/meta/policy.lua", fields = { "moongate.Policy" },
    text = "What a file in `policies/` returns." },
  { "`req`: the request", "lua/meta/req.lua", variable = "req", fields = { "moongate.Request" } },
  { "Options of `req:send`", "lua/meta/req.lua", fields = { "moongate.SendOptions" } },
  { "What `req:respond` takes", "lua/meta/req.lua", fields = { "moongate.ResponseSpec" } },
  { "`out`: a stream of the policy's own", "lua/meta/req.lua", variable = "out" },
  { "Attempts: what `req:send` returns", "lua/meta/attempt.lua", variable = "attempt",
    fields = { "moongate.Attempt", "moongate.Times" } },
  { 'Module `moongate`: `local moongate = require "moongate"`', "lua/meta/moongate.lua", variable = "moongate" },
  { "What `moongate.health` returns", "lua/meta/moongate.lua", fields = { "moongate.Health" } },
  { "Stores: `moongate.store(namespace)`", "lua/meta/moongate.lua", variable = "store" },
  { "Windows: `moongate.window(namespace, key, seconds)`", "lua/meta/moongate.lua", variable = "window" },
  { "Buckets: `moongate.bucket(namespace, key, rate, burst)`", "lua/meta/moongate.lua", variable = "bucket" },
  { 'Library: `require "moongate.failover"` and its parts', "lua/moongate", library = true,
    fields = { "moongate.FailoverHooks" }, fields_file = "lua/meta/library.lua" },
  { "Fields of a schema", "lua/meta/policy.lua", fields = { "moongate.Field" } },
  { 'Module `moongate.sim`: `local sim = require "moongate.sim"`', text = "For `*_test.lua` files, run by "
    .. "`moongate test`. Nothing waits: time is virtual, and one request takes about 0.1 ms of CPU. The comparisons end "
    .. "the test when they do not hold, with file, line and both values.", plain = {
      { "lua/moongate/sim.lua", from = "sim", names = { test = true, world = true, random = true } },
      { "lua/moongate/sim_expect.lua", from = "expect", as = "sim", except = { show = true } },
      { "lua/moongate/sim_random.lua", from = "methods", as = "random" } } },
  { "Worlds: `sim.world`", "lua/moongate/sim_world.lua", fields = { "moongate.SimWorldSpec", "moongate.SimWorld" },
    titles = { "What a world is made of. In `providers` other keys of a script (`group`, `passthrough`, "
      .. "`max_inflight`, …) are the provider's configuration.", "What it has." },
    plain = { { "lua/moongate/sim_world.lua", from = "World", as = "world" } } },
  { "Requests of a world", "lua/moongate/sim_world.lua",
    fields = { "moongate.SimRequest", "moongate.SimHandle", "moongate.SimCall" },
    titles = { "What `world:request` and `world:start` take.", "What `world:start` returns.",
      "A call of a provider: in `world.sent`, `handle.sent`, and what a provider's function gets." },
    plain = { { "lua/moongate/sim_world.lua", from = "Handle", as = "handle" },
      { "lua/moongate/sim_world.lua", from = "Call", as = "call" } } },
  { "Replies: what a provider does", "lua/moongate/sim_reply.lua", fields = { "moongate.Reply" },
    text = "A number is a status; everything else is this table. Seconds count from the moment the call is sent." },
  { "Results: what became of a request", "lua/moongate/sim_result.lua", fields = { "moongate.SimResult" },
    text = "What `world:request` returns, and `handle.result` once the request has ended.",
    plain = { { "lua/moongate/sim_result.lua", from = "methods", as = "result" } } },
}
local LIBRARY = { "failover", "keys", "order", "trigger", "retry", "breaker", "rotation", "availability" }

local function read(path)
  local file = assert(io.open(path))
  local text = file:read("a")
  file:close()
  return text
end

-- A type at the start of a text, and what follows it. Types have no blanks outside brackets, but for
-- "fun(…): result".
local function split_type(text)
  local depth, i = 0, 1
  while i <= #text do
    local c = text:sub(i, i)
    if c:find("[%(%[{<]") then depth = depth + 1 end
    if c:find("[%)%]}>]") then depth = depth - 1 end
    if c == " " and depth == 0 and text:sub(i - 1, i - 1) ~= ":" and text:sub(i - 1, i - 1) ~= "," then break end
    i = i + 1
  end
  return text:sub(1, i - 1), text:sub(i + 1)
end

local function escaped(text)
  return (text:gsub("|", "\\|"))
end

-- The lines above a function as a table: what, waits, cost, errors, params, returns. A plain function says
-- only what it does.
local function understood(doc, name, plain)
  local out, what = { params = {}, returns = {} }, {}
  for _, line in ipairs(doc) do
    local word, rest = line:match("^(%u%l+): (.*)$")
    if word == "Waits" or word == "Cost" or word == "Errors" then
      out[word:lower()] = rest:gsub("%.$", "")
    elseif line:find("^@param ") then
      local param, more = line:match("^@param (%S+) (.*)$")
      local kind, text = split_type(more)
      out.params[#out.params + 1] = { name = param:gsub("%?$", ""), optional = param:find("%?$") ~= nil, kind = kind,
        text = text }
    elseif line:find("^@return ") then
      local kind, text = split_type(line:match("^@return (.*)$"))
      out.returns[#out.returns + 1] = { kind = kind, text = text }
    elseif not line:find("^@") then
      what[#what + 1] = line
    end
  end
  out.what = table.concat(what, " ")
  for _, field in ipairs { "waits", "cost", "errors" } do
    if not out[field] and not plain then error(("%s does not say its %s"):format(name, field), 0) end
  end
  if out.what == "" then error(name .. " does not say what it does", 0) end
  return out
end

-- Every function of a text that `wanted` accepts, with what its lines say.
local function functions_of(text, wanted, plain)
  local out, doc = {}, {}
  for line in text:gmatch("([^\n]*)\n") do
    local name = line:match("^function ([%w_]+[.:][%w_]+)%(")
    if name and wanted(name, doc) then
      local one = understood(doc, name, plain)
      one.name = name
      out[#out + 1] = one
    end
    local said = line:match("^%-%-%-(.*)$")
    if said then doc[#doc + 1] = said else doc = {} end
  end
  return out
end

local function fields_of(text, class)
  local out, inside = {}, false
  for line in text:gmatch("([^\n]*)\n") do
    local begins = line:match("^%-%-%-@class (%S+)")
    if begins then inside = begins == class end
    local name, rest = line:match("^%-%-%-@field (%S+) (.*)$")
    if inside and name then
      local kind, more = split_type(rest)
      out[#out + 1] = { name = name, kind = kind, text = more }
    end
  end
  if #out == 0 then error("no fields of " .. class, 0) end
  return out
end

local function signature(one)
  local params = {}
  for i, param in ipairs(one.params) do
    local text = (i > 1 and ", " or "") .. param.name
    params[i] = param.optional and "[" .. text .. "]" or text
  end
  return ("%s(%s)"):format(one.name, table.concat(params))
end

-- What a function does, with its parameters and results where there is more to say than their names.
local function description(one)
  local parts = { one.what }
  for _, param in ipairs(one.params) do
    if param.text ~= "" then parts[#parts + 1] = ("`%s`: %s."):format(param.name, (param.text:gsub("%.$", ""))) end
  end
  local results = {}
  for _, result in ipairs(one.returns) do
    results[#results + 1] = ("`%s`%s"):format(result.kind, result.text ~= "" and " " .. result.text or "")
  end
  if #results > 0 then parts[#parts + 1] = "→ " .. table.concat(results, "; ") end
  return table.concat(parts, " ")
end

local function add_functions(out, list)
  out[#out + 1] = "| call | what it does | waits | cost | when it goes wrong |\n| --- | --- | --- | --- | --- |"
  for _, one in ipairs(list) do
    out[#out + 1] = ("| `%s` | %s | %s | %s | %s |"):format(signature(one), escaped(description(one)),
      escaped(one.waits), escaped(one.cost), escaped(one.errors))
  end
  out[#out + 1] = ""
end

-- Functions of the simulator, which cost nothing worth telling: from = "World", as = "world".
local function add_plain(out, sources)
  out[#out + 1] = "| call | what it does |\n| --- | --- |"
  for _, source in ipairs(sources) do
    local function wanted(name)
      local own, short = name:match("^([%w_]+)[.:]([%w_]+)$")
      return own == source.from and (not source.names or source.names[short])
        and not (source.except and source.except[short])
    end
    for _, one in ipairs(functions_of(read(ROOT .. "/" .. source[1]), wanted, true)) do
      one.name = one.name:gsub("^[%w_]+", source.as or source.from)
      out[#out + 1] = ("| `%s` | %s |"):format(signature(one), escaped(description(one)))
    end
  end
  out[#out + 1] = ""
end

local function add_fields(out, list)
  out[#out + 1] = "| field | type | meaning |\n| --- | --- | --- |"
  for _, one in ipairs(list) do
    out[#out + 1] = ("| `%s` | `%s` | %s |"):format(one.name, escaped(one.kind), escaped(one.text))
  end
  out[#out + 1] = ""
end

local function library()
  local list = {}
  for _, module in ipairs(LIBRARY) do
    local text = read(("%s/lua/moongate/%s.lua"):format(ROOT, module))
    for _, one in ipairs(functions_of(text, function(_, doc)
      return table.concat(doc, "\n"):find("Waits: ", 1, true) ~= nil
    end)) do
      list[#list + 1] = one
    end
  end
  return list
end

local function section(out, about)
  local title, file = about[1], about[2]
  out[#out + 1] = ("### %s\n"):format(title)
  if about.text then out[#out + 1] = about.text .. "\n" end
  for i, class in ipairs(about.fields or {}) do
    if about.titles then out[#out + 1] = about.titles[i] .. "\n" end
    add_fields(out, fields_of(read(ROOT .. "/" .. (about.fields_file or file)), class))
  end
  if about.plain then add_plain(out, about.plain) end
  if about.library then
    add_functions(out, library())
  elseif about.variable then
    add_functions(out, functions_of(read(ROOT .. "/" .. file), function(name)
      return name:match("^[%w_]+") == about.variable
    end))
  end
end

local function reference()
  local out = {}
  for _, about in ipairs(SECTIONS) do section(out, about) end
  return table.concat(out, "\n")
end

local page = read(PAGE)
local from, after = page:find(BEGIN, 1, true)
local to = page:find(END, 1, true)
assert(from and to, "policies/README.md lacks the marks of the reference")
local fresh = page:sub(1, after) .. "\n" .. reference() .. page:sub(to)
if arg[1] ~= "--check" then
  local file = assert(io.open(PAGE, "w"))
  file:write(fresh)
  file:close()
elseif fresh ~= page then
  io.stderr:write("policies/README.md is not what lua/meta says: run `make reference`\n")
  os.exit(1)
end
