-- SPDX-License-Identifier: MIT
-- The stand-in for the values of a body keeps to the same cases as the core's.

local body = require "moongate.body"

return function(test)
  require "body_cases"(body, test)
end
