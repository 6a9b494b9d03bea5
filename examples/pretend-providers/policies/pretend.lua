-- SPDX-License-Identifier: MIT
--[[
Answers like an OpenAI provider, without any, and fails as its path says. Faults stand in front of /v1 and combine:

  http://127.0.0.1:8000/v1                             healthy
  http://127.0.0.1:8000/as/alpha/v1                    healthy, and called alpha
  http://127.0.0.1:8000/status/429/retry-after/2/v1    429 with Retry-After: 2
  http://127.0.0.1:8000/delay/1.5/cut/3/v1             a late stream that breaks in place of its third piece

POST /pretend/fault {"fault":"status/503","provider":"alpha","seconds":5} adds faults to a provider while it runs, whatever
its path says; {"fault":""} takes them away again; "alpha/gpt-4o" is one model of it, "alpha#sk-one" one key. GET /pretend/calls/alpha tells how
often alpha was asked.
]]

local moongate = require "moongate"
local answers = require "answers"

-- The faults, and how many words of the path each takes as its value.
local takes = {
  as = 1, status = 1, code = 1, ["retry-after"] = 1, delay = 1, pace = 1, stall = 1, cut = 1, malformed = 1,
  empty = 0, ["error-in-200"] = 0, random = 2,
}
local accidents = { "status/500", "status/429", "empty", "cut/3", "malformed/2", "error-in-200" }
local codes = { [401] = "invalid_api_key", [404] = "model_not_found", [429] = "rate_limit_exceeded" }

-- "/delay/2/v1/models" adds delay = "2" to `fault` and returns "models".
local function parse(path, fault)
  local words = {}
  for word in path:gmatch("[^/]+") do words[#words + 1] = word end
  local i = 1
  while words[i] and words[i] ~= "v1" do
    local name, n = words[i], takes[words[i]]
    if not n then return nil, "'" .. name .. "' is no fault" end
    if i + n > #words then return nil, "'" .. name .. "' needs a value" end
    fault[name] = n == 0 or table.concat(words, "/", i + 1, i + n)
    i = i + 1 + n
  end
  return table.concat(words, "/", i + 1)
end

-- "random/SEED/PERCENT": the n-th request with a seed always meets the same luck.
local function roll_dice(name, fault)
  local seed, percent = fault.random:match("^(.*)/(%d+)$")
  if not seed then return end
  local n = moongate.store("pretend"):incr("rolls:" .. name .. ":" .. seed)
  local roll = moongate.hash(seed .. ":" .. n)
  if roll % 100 < tonumber(percent) then parse(accidents[roll // 100 % #accidents + 1], fault) end
end

local function failure(name, fault, status)
  local code = fault.code or codes[status] or (status < 500 and "invalid_value" or "server_error")
  local kind = status == 429 and "rate_limit_error" or status < 500 and "invalid_request_error" or "server_error"
  return { error = { message = name .. " pretends to fail: " .. code, type = kind, code = code } }
end

local function stream(req, name, fault)
  local list, tool = answers.pieces(req, name)
  local chunk = answers.chunk(req) -- what is known of the request is taken now: the stream outlives `req`
  local usage = req:json("stream_options.include_usage") and answers.usage(req, #list)
  local function text(fields) return moongate.json(moongate.merge(chunk, fields)) end

  return req:respond { status = 200, headers = { ["content-type"] = "text/event-stream" }, stream = function(out)
    local function data(s) out:write("data: " .. s .. "\n\n") end
    local function delta(d, finish) data(text { choices = { { index = 0, delta = d, finish_reason = finish } } }) end
    if fault["error-in-200"] then return data(moongate.json(failure(name, fault, 500))) end
    delta { role = "assistant" }
    for i, piece in ipairs(fault.empty and {} or list) do
      if i == tonumber(fault.stall) then out:sleep(600) end
      if i == tonumber(fault.cut) then return out:abort() end
      if i == tonumber(fault.malformed) then return data('{"choices":[{"delta":{"content":"oo') end
      delta(piece)
      if fault.pace then out:sleep(tonumber(fault.pace)) end
    end
    delta({}, tool and "tool_calls" or "stop")
    if usage then data('{"choices":[],' .. text { usage = usage }:sub(2)) end -- an empty Lua table is {}, not []
    data("[DONE]")
  end }
end

-- An answer that is no stream fails in the same ways, as far as it can.
local function plain(req, name, fault, value)
  local headers = { ["content-type"] = "application/json" }
  local text = moongate.json(fault["error-in-200"] and failure(name, fault, 500) or value)
  if fault.stall then req:sleep(600) end
  if fault.cut then
    return req:respond { status = 200, headers = headers, stream = function(out)
      out:write(text:sub(1, #text // 2))
      out:abort()
    end }
  end
  if fault.empty then text = "" elseif fault.malformed then text = text:sub(1, #text // 2) end
  return req:respond { status = 200, headers = headers, body = text }
end

-- The key that a request came with.
local function key_of(req)
  return (req:header("authorization") or ""):match("^Bearer (.*)$") or ""
end

-- What is asked of the pretence itself, not of a provider.
local function control(req, settings, path)
  local store = moongate.store("pretend")
  local asked = path:match("^/pretend/calls/([^/]+)$")
  if asked then return req:respond { status = 200, json = { calls = store:get("calls:" .. asked) or 0 } } end
  local fault, name = req:json("fault") or "", req:json("provider") or settings.name
  local ok, problem = parse(fault, {})
  if not ok then return req:fail(400, "invalid_fault", problem) end
  if fault == "" then store:del("fault:" .. name) else store:set("fault:" .. name, fault, req:json("seconds")) end
  return req:respond { status = 200, json = { provider = name, fault = fault } }
end

return {
  name = "pretend", version = 1,
  settings = { name = { type = "string", default = "pretend", help = "what the provider calls itself" } },

  handle = function(req, settings)
    local path, store = req.path:match("^[^?]*"), moongate.store("pretend")
    if path:match("^/pretend/") then return control(req, settings, path) end
    local fault = {}
    local what, problem = parse(path, fault)
    if not what then return req:fail(404, "not_found", problem) end
    local name = fault.as or settings.name
    if what ~= "models" then store:incr("calls:" .. name) end -- probes are not counted
    parse(store:get("fault:" .. name) or "", fault)
    parse(store:get("fault:" .. name .. "/" .. (req.model or "")) or "", fault)
    parse(store:get("fault:" .. name .. "#" .. key_of(req)) or "", fault)
    if fault.random then roll_dice(name, fault) end

    if fault.delay then req:sleep(tonumber(fault.delay)) end
    local status = tonumber(fault.status) or (fault["retry-after"] and 429) or 200
    if status >= 400 then
      return req:respond { status = status, headers = { ["retry-after"] = fault["retry-after"] },
                           json = failure(name, fault, status) }
    end
    if not answers[what] then return req:fail(404, "not_found", "there is no /v1/" .. what) end
    if what == "chat/completions" and req.stream then return stream(req, name, fault) end
    return plain(req, name, fault, answers[what](req, name))
  end,
}
