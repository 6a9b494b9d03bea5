-- SPDX-License-Identifier: MIT
-- Every body of the corpus with each of its values replaced by a wrong one, each taken away. A request is
-- read, or refused in words; a provider's answer or event is read, whatever it holds; what a writer makes of
-- what was read is JSON.

local body = require "moongate.body"
local dialects = require "dialects"

-- What may stand where something else is expected, as JSON; false: nothing.
local WRONG = { "5", '"x"', '""', "true", "{}", "[]", "[null]", '{"a":1}', "[[]]", "-1.5", "null", false }

-- Calls run(text) with the JSON of a value in which one thing is wrong, for each thing. Of the wrongs every
-- `step`th is tried, counted on from thing to thing: all of them meet all kinds of things.
local tried = 0
local function each_wrong(value, step, run)
  local function walk(node)
    if type(node) ~= "table" or node == body.null or body.is_raw(node) then return end
    local names = {}
    for name in pairs(node) do names[#names + 1] = name end
    for _, name in ipairs(names) do
      local kept = node[name]
      for _, wrong in ipairs(WRONG) do
        tried = tried + 1
        if tried % step == 0 and (wrong or type(name) == "string") then
          node[name] = wrong and body.raw(wrong) or nil
          run(body.encode(value))
        end
      end
      node[name] = kept
      walk(kept)
    end
  end
  walk(value)
end

local function check(good, why, what, text)
  if good or type(why) == "table" and type(why.refuse) == "string" then return end
  error(("%s of %s: %s"):format(what, text, type(why) == "table" and "an error without words" or why), 0)
end

local function is_json(text)
  local good, why = pcall(body.decode, text)
  if not good then error("not JSON: " .. text .. ": " .. tostring(why), 0) end
end

return function(test)
  local all = dialects.all()

  local function request(dialect, text)
    local ctx = dialects.ctx { provider = dialect.name, client = dialect.name, model = "gpt-4o", stream = true }
    local good, common = pcall(dialect.read_request, body.decode(text, dialect.raw, 64), ctx)
    check(good, common, "reading the request", text)
    if not good then return end
    for _, to in ipairs(all) do
      if to.write_request then
        local other = dialects.ctx { provider = to.name, client = dialect.name, model = "gpt-4o", stream = true }
        local wrote, out = pcall(to.write_request, common, other)
        check(wrote, out, "writing as " .. to.name, text)
        if wrote then is_json(body.encode(out)) end
      end
    end
  end

  local function answer(dialect, text)
    local ctx = dialects.ctx { provider = dialect.name, request = {} }
    local common = dialect.read_answer(body.decode(text, dialect.raw, 64), ctx)
    for _, to in ipairs(all) do
      if to.write_answer then is_json(body.encode(to.write_answer(common, ctx))) end
    end
  end

  local function event(dialect, events, at, text)
    local ctx = dialects.ctx { provider = dialect.name, request = { include_usage = true }, stream = true }
    local kept = events[at].data
    events[at].data = text
    local deltas = dialects.read_stream(dialect, ctx, events, 64)
    events[at].data = kept
    for _, to in ipairs(all) do
      if to.writer then
        for _, written in ipairs(dialects.write_stream(to, ctx, deltas)) do
          if written.data ~= "[DONE]" then is_json(written.data) end
        end
      end
    end
  end

  for _, dialect in ipairs(all) do
    for kind, run in pairs { request = dialect.read_request and request, answer = answer } do
      for _, file in ipairs(run and dialects.files(dialect, kind) or {}) do
        test(("%s/%s with each value wrong"):format(dialect.name, file), function()
          each_wrong(body.decode(dialects.file(dialect, file)), 11, function(text) run(dialect, text) end)
        end)
      end
    end
    for _, file in ipairs(dialects.files(dialect, "stream")) do
      test(("%s/%s with each value wrong"):format(dialect.name, file), function()
        local events = dialects.events(dialects.file(dialect, file))
        for at, one in ipairs(events) do
          if one.data ~= "[DONE]" then
            each_wrong(body.decode(one.data), 41, function(text) event(dialect, events, at, text) end)
          end
        end
      end)
    end
  end
end
