-- SPDX-License-Identifier: MIT
--
-- fastest: of two targets chosen at random the faster one (power of two choices). Nearly as quick as always
-- taking the fastest, without sending everybody there at once; the slow ones are still measured.
--
-- Worked example. In gateway.lua:
--
--   routes = {
--     { name = "chat", path = "/v1/chat/completions", policy = "fastest",
--       settings = { targets = { "east/llama3", "west/llama3", "north/llama3" } } },
--   }
--
-- East and west answer after 0.3 s, north after 2 s: north gets one request in fifty or so, the others share
-- the rest. West gets slow: within a few requests it is passed by. East fails: the request goes on to the next
-- fastest, and for ten seconds nobody is sent there.
--
-- With backups that are no part of the race it is a group, and the list itself is in order:
-- `order = "listed", targets = { { order = "fastest", targets = { "east/llama3", … } }, "openai/gpt-4o" }`. Then
-- one of the group is asked, and after it gpt-4o.
--
-- Speed is the moving average of the time to the first content for streams, of the whole time otherwise (what
-- moongate.health tells). All workers share it, a reload keeps it, a restart forgets it. What has not been
-- measured yet counts as fast, what only fails as slow; one request in twenty is sent without looking.
-- A stream that shows nothing for ten seconds is taken to be stuck and the next target is asked.
--
-- It is the stock policy with other defaults: every setting of it may be given.

local failover = require "moongate.failover"
local moongate = require "moongate"

return {
  name = "fastest",
  version = 1,
  settings = moongate.merge(failover.settings, {
    order = moongate.merge(failover.settings.order, { default = "fastest" }),
    suspend = moongate.merge(failover.settings.suspend, { default = 10 }),
    first_packet_timeout = moongate.merge(failover.settings.first_packet_timeout, { default = 10 }),
  }),
  check = failover.check,
  prepare = failover.prepare,
  handle = function(req, settings)
    return failover.run(req, settings)
  end,
}
