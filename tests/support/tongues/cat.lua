-- SPDX-License-Identifier: MIT
-- A dialect of the tests: what a client speaks. Its requests and answers are of its own making.

local body = require "moongate.body"
local common = require "moongate.dialect.common"

local KNOWN = { model = true, stream = true, say = true, warm = true, tools = true, mew = true }

local cat = {
  name = "cat",
  prefix = "/v1",
  generate = "/cat",
  client = { generate = "/v1/cat", paths = { "/v1/cat/*" }, headers = { "cat-version" }, drop = { "cat-*" } },
  raw = { "tools" },
  errors = { code = "hiss.code", message = "hiss.words", statuses = { { "server_error", status = "5xx" },
    { "client_error", status = "4xx" } } },
  answers = { { path = "*/cat", body = "object", rules = { { "answer", filled = "purr" }, { "empty" } } } },
  stream = { type = "kind", rules = { { "content", filled = "purr" }, { "finish", "end", type = "over" },
    { "error", type = "hiss" } } },
  usage = { input = "usage.read", output = "usage.written" },
  say = { error = '{"hiss":{"words":$message,"code":$code,"type":$type}}', event_type = "hiss" },
}

function cat.read_request(b, ctx)
  for name in pairs(b) do
    if not KNOWN[name] then ctx:drop(name) end
  end
  if b.say == nil then error { refuse = "say is missing" } end
  local parts = {}
  for i, said in ipairs(b.say) do
    if body.is_text(said) then
      parts[i] = { type = "text", text = said }
    else
      parts[i] = { type = "image", data = said.image, media_type = "image/png", sig = common.seal("cat", said.sig) }
    end
  end
  return { model = b.model, stream = b.stream, messages = { { role = "user", parts = parts } }, temperature = b.warm,
    tools = b.tools, mew = b.mew }
end

function cat.write_request(r)
  local say = {}
  for i, part in ipairs(r.messages[1].parts) do
    local sig, foreign = common.unseal("cat", part.sig)
    say[i] = part.text or { image = part.data, sig = not foreign and sig or nil }
  end
  return { model = r.model, stream = r.stream, say = say, warm = r.temperature, tools = r.tools }
end

function cat.read_answer(b)
  return { candidates = { { parts = { { type = "text", text = b.purr } }, stop = b.stop } },
    usage = b.usage and { input = b.usage.read, output = b.usage.written } }
end

function cat.write_answer(a, ctx)
  local c = a.candidates[1]
  return { purr = c.parts[1].text, stop = c.stop, id = ctx.id, model = ctx.request.model,
    usage = a.usage and { read = a.usage.input, written = a.usage.output } }
end

function cat.reader()
  return function(_, data, emit)
    if data.purr then emit { kind = "text", text = data.purr } end
    if data.kind == "over" then emit { kind = "stop", stop = data.stop } end
  end
end

function cat.writer(ctx)
  local n, stop, usage = 0, nil, nil
  return function(delta, emit)
    if delta.kind == "start" then
      emit("hello", { kind = "hello", id = ctx.id, stream = ctx.stream })
    elseif delta.kind == "text" then
      n = n + 1
      emit("purr", body.ordered { { "kind", "purr" }, { "n", n }, { "purr", delta.text } })
    elseif delta.kind == "stop" then
      stop = delta.stop
    elseif delta.kind == "usage" then
      usage = delta.usage
    elseif delta.kind == "end" then
      emit("over", { kind = "over", stop = stop, n = n, usage = usage and { read = usage.input, written = usage.output } })
    end
  end
end

return cat
