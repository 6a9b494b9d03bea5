-- SPDX-License-Identifier: MIT
-- A dialect of the tests: what a provider speaks. `bark` among what is said makes its functions misbehave as
-- it names: raise, loop, hoard.

local body = require "moongate.body"
local common = require "moongate.dialect.common"

local dog = {
  name = "dog",
  auth = "header:x-bone",
  headers = { ["dog-version"] = "3" },
  prefix = "/v1",
  generate = "/dogs/{model}/bark",
  generate_stream = "/dogs/{model}/bark?flow=1",
  client = { generate = "/v1/bark", headers = { "dog-version" } },
  raw = { "tricks" },
  errors = { code = "growl.code", message = "growl.words",
    patterns = { { "overloaded", code = "tired" } },
    statuses = { { "rate_limited", status = 429 }, { "server_error", status = "5xx" }, { "client_error", status = "4xx" } } },
  answers = { { path = "*/bark", body = "object", rules = { { "filtered", at = "why", is = "muzzle" },
    { "answer", filled = "woof" }, { "empty" } } } },
  stream = { type = "kind", rules = { { "content", type = "woof", filled = "woof" }, { "finish", type = "why", filled = "why" },
    { "filtered", type = "why", at = "why", is = "muzzle" },
    { "end", type = "sleep" }, { "error", type = "growl" } } },
  usage = { input = "bones.eaten", output = "bones.left" },
  say = { error = '{"growl":{"words":$message,"code":$code}}' },
}

local function misbehave(how)
  if how == "raise" then
    local nothing
    return nothing.field
  elseif how == "loop" then
    while true do end
  elseif how == "hoard" then
    local all = {}
    for i = 1, 1e9 do all[i] = ("x"):rep(1000) .. i end
  elseif how == "refuse" then
    error { refuse = "dogs do not do that" }
  elseif how == "unwritable" then
    return { bark = print }
  end
end

function dog.read_request(b)
  return { model = b.m, stream = b.flow, messages = { { role = "user", parts = { { type = "text", text = b.bark[1] } } } } }
end

function dog.write_request(r, ctx)
  local bark = {}
  for i, part in ipairs(r.messages[1].parts) do
    if part.type == "text" then
      bark[i] = body.join { "woof: ", part.text }
      local odd = misbehave(body.head(part.text, 16))
      if odd then return odd end
    else
      local sig, foreign = common.unseal("dog", part.sig)
      bark[i] = { picture = part.data, sig = not foreign and sig or nil }
    end
  end
  if r.mew then ctx:drop("mew") end
  if r.temperature and r.temperature > 1 then ctx:drop("warm") end
  return { m = ctx.model, bark = bark, heat = r.temperature and math.min(r.temperature, 1), tricks = r.tools }
end

function dog.read_answer(b)
  misbehave(b.odd)
  return { candidates = { { parts = { { type = "text", text = b.woof } }, stop = b.why } },
    usage = { input = b.bones and b.bones.eaten, output = b.bones and b.bones.left } }
end

function dog.write_answer(a) return { woof = a.candidates[1].parts[1].text, why = a.candidates[1].stop } end

function dog.reader()
  local started
  return function(type_, data, emit)
    if not started then
      started = true
      emit { kind = "start", id = "d" }
    end
    if data.kind == "woof" then
      misbehave(data.odd)
      emit { kind = "text", text = data.woof }
    elseif data.kind == "why" then
      emit { kind = "stop", stop = data.why .. (type_ == "" and "" or "/" .. type_) }
    elseif data.kind == "bones" then
      emit { kind = "usage", usage = { input = data.bones.eaten, output = data.bones.left } }
    end
  end
end

function dog.writer()
  return function(delta, emit)
    if delta.kind == "text" then emit(nil, { kind = "woof", woof = delta.text }) end
    if delta.kind == "stop" then emit(nil, { kind = "why", why = delta.stop }) end
    if delta.kind == "end" then emit(nil, { kind = "sleep" }) end
  end
end

return dog
