-- SPDX-License-Identifier: MIT
-- Answers /hello/HOUR with a greeting that the embedding program chooses.
local host = require "moongate.host"

return {
  name = "hello",
  version = 1,
  settings = {},
  handle = function(req)
    local hour = tonumber(req.path:match("^/hello/(%d+)$"))
    if not hour then
      return req:fail(404, "unknown_path", "ask for /hello/HOUR")
    end
    return req:respond { json = { greeting = host.greeting(hour) } }
  end,
}
