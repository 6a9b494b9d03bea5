-- SPDX-License-Identifier: MIT
-- What became of a request, as a test reads it: made from sim_core's "ended" event. What costs work (the
-- body as JSON, the text of a stream) is done when it is asked for.

local json = require "moongate.sim_json"

local result = {}

---What a client got, and how.
---@class moongate.SimResult
---@field status integer what the client saw; 0 = no answer
---@field headers table<string, string> lower-case names
---@field body string without its transfer coding
---@field whole boolean the answer's framing is complete
---@field chunks { at: number, text: string }[] when which bytes came
---@field trail string targets and outcomes of all attempts: "a/m=server_error b/m=ok"
---@field attempts table[] target, outcome, class, status, ms as in the access log, and `at` when sent
---@field waits number[] seconds from the end of one attempt to the start of the next
---@field target string|nil that answered
---@field outcome string|nil of the attempt that was handed over, else of the last one
---@field ended string how it ended, as in the access log: "complete", "upstream_cut", "client_gone", …
---@field took number seconds from the request to the end of the answer
---@field first_token number|nil seconds to the first content the client got
---@field content string what the model said
---@field done boolean the stream ended with [DONE]
---@field error_event boolean the stream, or the 200, holds an error
---@field error table|nil the error object of the body or of the stream's error event
---@field notes { at: number, text: string }[] with `explain`: what was decided and why
---@field access table the record of the access log
local methods = {}

-- The values of a stream's events, in order.
local function events_of(body)
  local out = {}
  for text in body:gmatch("data: ?([^\n]*)") do
    out[#out + 1] = text ~= "[DONE]" and json.decode(text) or nil
  end
  return out
end

local function is_stream(self)
  return (self.headers["content-type"] or ""):find("event-stream", 1, true) ~= nil
end

---One field of the answer's JSON.
---@param path string "choices.0.message.content"
---@return any|nil
function methods:json(path)
  local value = rawget(self, "decoded")
  if value == nil then
    value = json.decode(self.body) or false
    self.decoded = value
  end
  return value and json.at(value, path or "")
end

local lazy = {}

function lazy.content(self)
  if not is_stream(self) then return self:json("choices.0.message.content") or "" end
  local out = {}
  for _, event in ipairs(events_of(self.body)) do
    out[#out + 1] = json.at(event, "choices.0.delta.content")
  end
  return table.concat(out)
end

function lazy.error(self)
  if not is_stream(self) then return self:json("error") end
  for _, event in ipairs(events_of(self.body)) do
    local found = json.at(event, "error")
    if found then return found end
  end
end

function lazy.error_event(self)
  return self.status == 200 and self.error ~= nil
end

function lazy.done(self)
  return self.body:find("data: [DONE]", 1, true) ~= nil
end

local mt = {
  __index = function(self, name)
    local found = methods[name]
    if found == nil and lazy[name] then
      found = lazy[name](self)
      self[name] = found
    end
    return found
  end,
}

-- Gives each attempt of the record the moment at which it was sent.
local function attempts_of(access, sent)
  local attempts, next_sent = {}, 1
  for i, record in ipairs(access.attempts or {}) do
    local attempt = {}
    for name, value in pairs(record) do attempt[name] = value end
    local call = sent[next_sent]
    if call and attempt.target:match("^[^/]+") == call.provider then
      attempt.at, next_sent = call.at, next_sent + 1
    end
    attempts[i] = attempt
  end
  return attempts
end

local function trail_of(attempts)
  local trail = {}
  for i, attempt in ipairs(attempts) do trail[i] = attempt.target .. "=" .. attempt.outcome end
  return table.concat(trail, " ")
end

local function waits_of(attempts)
  local waits = {}
  for i = 2, #attempts do
    local before, this = attempts[i - 1], attempts[i]
    if before.at and this.at then
      waits[#waits + 1] = math.max(0, this.at - before.at - (before.ms or 0) / 1000)
    end
  end
  return waits
end

local function outcome_of(attempts, target)
  for i = #attempts, 1, -1 do
    if not target or attempts[i].target == target then return attempts[i].outcome end
  end
end

---@param event table sim_core's
---@param started number when the client sent its request
---@param sent table[] calls that were made for it, in order
---@return moongate.SimResult
function result.new(event, started, sent)
  local access = event.access or {}
  local attempts = attempts_of(access, sent)
  local target = access.target
  local first = access.first_token_ms
  return setmetatable({
    status = event.status or 0, headers = event.headers or {}, body = event.body or "",
    whole = event.whole or false, chunks = event.chunks or {}, notes = event.notes or {},
    access = access, attempts = attempts, trail = trail_of(attempts), waits = waits_of(attempts),
    target = target, outcome = outcome_of(attempts, target), ended = access["end"],
    took = event.at - started, first_token = first and first / 1000,
  }, mt)
end

return result
