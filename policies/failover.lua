-- SPDX-License-Identifier: MIT
--
-- failover: the stock policy. Tries a list of targets in order until one answers; when to move on, how
-- often to retry, how long to wait and whom to avoid are settings. policies/README.md has them all.
--
-- Worked example. In gateway.lua:
--
--   routes = {
--     { name = "chat", path = "/v1/chat/completions", policy = "failover",
--       settings = {
--         targets = { "openai/gpt-4o", "azure/gpt-4o-mini", "spare" },
--         sandbox = { targets = { "spare/llama3" } },
--         request_timeout = 30, suspend = 30,
--       } },
--   }
--
-- A request goes to gpt-4o. Answers that with 429, then gpt-4o-mini is asked at once, and for the next
-- 30 seconds every request starts there. Should both fail, "spare" gets the model the client named.
-- Keys with environment = "sandbox" only ever reach llama3. The client sees one answer, and in
-- x-moongate-attempts: openai/gpt-4o=rate_limited:429:120ms,azure/gpt-4o-mini=ok:200:340ms

local failover = require "moongate.failover"

return {
  name = "failover",
  version = 1,
  settings = failover.settings,
  check = failover.check,
  prepare = failover.prepare,
  handle = function(req, settings)
    return failover.run(req, settings)
  end,
}
