-- SPDX-License-Identifier: MIT
--
-- canary: a share of the traffic goes to another model first. Everything else is the stock policy's: when
-- a canary fails, is suspended or its breaker is open, the listed targets answer as they always did.
--
-- Worked example. In gateway.lua:
--
--   routes = {
--     { name = "chat", path = "/v1/chat/completions", policy = "canary",
--       settings = {
--         targets = { "openai/gpt-4o", "azure/gpt-4o" },
--         canaries = { { target = "openai/gpt-5", share = 0.05 } },
--         by = "key", suspend = 30, breaker = { failures = 3, recovery = 300 },
--       } },
--   }
--
-- One client key in twenty gets gpt-5, always the same keys: raise the share and they stay, with others
-- beside them. `by = "request"` draws anew for each request, `by = "header"` keeps what has the same
-- x-session-id together. Three failures in a row, and for five minutes everybody gets gpt-4o; the client
-- notices nothing. Watch moongate_custom_canary_total{arm="openai/gpt-5"} beside {arm="stable"}.
--
-- A request for a canary that fails goes on through `targets` as listed, whatever `order` says. Where requests
-- have no key or no such header they are drawn one by one. Nothing is stored: which arm a key belongs to is
-- computed, so workers, restarts and a full store do not matter.

local failover = require "moongate.failover"
local moongate = require "moongate"

local FINE = 1000000 -- steps between a share of 0 and of 1

local canary = { type = "table", fields = {
  target = { type = "target", required = true },
  share = { type = "number", required = true, min = 0, max = 1, help = "of all requests (or keys)" },
} }

local settings = moongate.merge(failover.settings, {
  canaries = { type = "list", of = canary, required = true, help = "models on trial, with their shares" },
  by = { type = "enum", values = { "request", "key", "header" }, default = "request",
    help = "what is drawn for: each request, or all of a client key or of a header's value" },
  header = { type = "string", default = "x-session-id", help = 'for by = "header"' },
})

-- A number from 0 up to 1: the same for the same key or header's value.
local function draw(req, own)
  local identity
  if own.by == "key" then identity = req.key end
  if own.by == "header" then identity = req:header(own.header) end
  if not identity then return moongate.random() end
  return moongate.hash("canary:" .. identity) % FINE / FINE
end

-- The canary this request is for, or nil.
local function chosen(req, own)
  local at = draw(req, own)
  for _, one in ipairs(own.canaries) do
    if at < one.share then return one.target end
    at = at - one.share
  end
end

local function check(own)
  local problems, total = failover.check(own), 0
  for _, one in ipairs(own.canaries) do total = total + one.share end
  if total > 1 then
    problems[#problems + 1] = { path = "canaries",
      message = ("the shares make %g, expected at most 1"):format(total) }
  end
  return problems
end

return {
  name = "canary",
  version = 1,
  settings = settings,
  check = check,
  prepare = function(own) failover.prepare(failover.base(own)) end,
  handle = function(req, own)
    local target = chosen(req, own)
    moongate.metric("canary", 1, { arm = target or "stable" })
    local base = failover.base(own)
    if not target then return failover.run(req, base) end
    return failover.run(req, base, { order = function(_, targets)
      table.insert(targets, 1, target)
      return targets
    end })
  end,
}
