-- SPDX-License-Identifier: MIT
--
-- hedged: when the first target is slow a second one is asked beside it; who shows content first wins, the
-- other is cancelled and not blamed. Cuts off the slow tail, at a price that has a cap.
--
-- Worked example. In gateway.lua:
--
--   routes = {
--     { name = "chat", path = "/v1/chat/completions", policy = "hedged",
--       settings = {
--         targets = { "east/llama3", "west/llama3", "openai/gpt-4o" },
--         delay = 1.5, budget = 0.05, suspend = 10,
--       } },
--   }
--
-- East shows its first token after 0.4 s as a rule. A stream that has none after 1.5 s is sent to west, too:
-- west's answer comes after 0.4 s more, the client gets it, east's is cancelled. The trail says
-- east/llama3=cancelled:0:1900ms,west/llama3=ok:200:400ms. When both fail, gpt-4o is asked.
--
-- `budget` caps the extra cost: of the requests of the last minute at most that share starts a second attempt
-- (0.05 = 5 in 100). Below 20 requests a minute that is none at all, and in an outage, when everything is slow,
-- it is no more either. A cancelled attempt may still be billed for what it made until then.
-- `delay`: set it near the 95th percentile of the time to the first token. Answers that are no stream show
-- nothing until they are complete, so they have a limit of their own, `plain_delay`; 0 = never hedged. A target
-- that is suspended, or whose breaker is not closed, is never the second.

local failover = require "moongate.failover"
local moongate = require "moongate"

local settings = moongate.merge(failover.settings, {
  delay = { type = "number", default = 1, min = 0.01, max = 600, unit = "s",
    help = "a stream without content after so long is sent to a second target" },
  plain_delay = { type = "number", default = 0, min = 0, max = 600, unit = "s",
    help = "the same for answers that are no stream; 0 = never" },
  budget = { type = "number", default = 0.05, min = 0, max = 1,
    help = "second attempts as a share of the requests of the last minute" },
})

local function check(own)
  local problems = failover.check(own)
  for _, name in ipairs { "delay", "plain_delay" } do
    if own.request_timeout > 0 and own[name] >= own.request_timeout then
      problems[#problems + 1] = { path = name, warning = true,
        message = ("%g s is never reached: request_timeout is %g s"):format(own[name], own.request_timeout) }
    end
  end
  return problems
end

return {
  name = "hedged",
  version = 1,
  settings = settings,
  check = check,
  prepare = function(own) failover.prepare(failover.base(own)) end,
  handle = function(req, own)
    local delay = own.plain_delay
    if req.stream then delay = own.delay end
    if delay == 0 then return failover.run(req, failover.base(own)) end
    return failover.run(req, failover.base(own), { hedge = { delay = delay, budget = own.budget } })
  end,
}
