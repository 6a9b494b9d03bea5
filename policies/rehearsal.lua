-- SPDX-License-Identifier: MIT
--
-- rehearsal: a share of one key's traffic is served as if a target were down. Shows in production, with a
-- few requests of somebody who knows, that the fallback works, before the day it is needed.
--
-- Worked example. In gateway.lua:
--
--   routes = {
--     { name = "chat", path = "/v1/chat/completions", policy = "rehearsal",
--       settings = {
--         targets = { "openai/gpt-4o", "azure/gpt-4o" }, suspend = 30,
--         down = { "openai" }, key = "staging", share = 0.1,
--       } },
--   }
--
-- Of the requests with the key "staging" one in ten passes over everything of the provider openai and is
-- answered by azure; the trail shows azure only. Nobody else's requests change, and nothing is remembered
-- against openai: it was not asked. `down` may name single targets, "openai/gpt-4o", too.
--
-- Should the fallback fail (or nothing be left), the targets that were passed over are asked after all, so a
-- rehearsal costs time but no answer; `rescue = false` shows the client what an outage would look like.
-- moongate_custom_rehearsal_total{result} counts "served", "rescued" and "failed": anything but "served" is what
-- you wanted to know. Drawn anew for each request; what is passed over leaves its turn in a rotation to its
-- neighbour. It lasts until the share is set to 0 (`moongate set chat share=0`); a restart changes nothing.

local failover = require "moongate.failover"
local moongate = require "moongate"

local settings = moongate.merge(failover.settings, {
  down = { type = "list", of = { type = "target" }, required = true, help = "passed over as if they were down" },
  key = { type = "string", required = true, help = "name of the client key whose requests rehearse" },
  share = { type = "number", default = 0.1, min = 0, max = 1, help = "of that key's requests" },
  rescue = { type = "boolean", default = true, help = "ask what was passed over when all else failed" },
})

local function is_down(own, name)
  for _, down in ipairs(own.down) do
    if down == name or down == (moongate.provider(name)) then return true end
  end
  return false
end

local function good(answer)
  return answer.ok == true
end

local function rehearse(req, own, base)
  local answer = failover.run(req, base, {
    usable = function(_, name) return not is_down(own, name) end,
  })
  if good(answer) then return answer, "served" end
  if answer.class == "client" or not own.rescue then return answer, "failed" end
  local rescued = failover.run(req, base, {
    usable = function(_, name) return is_down(own, name) end,
  })
  if good(rescued) then return rescued, "rescued" end
  return answer, "failed"
end

return {
  name = "rehearsal",
  version = 1,
  settings = settings,
  check = failover.check,
  prepare = function(own) failover.prepare(failover.base(own)) end,
  handle = function(req, own)
    local base = failover.base(own)
    if req.key ~= own.key or moongate.random() >= own.share then return failover.run(req, base) end
    local answer, result = rehearse(req, own, base)
    moongate.metric("rehearsal", 1, { result = result })
    return answer
  end,
}
