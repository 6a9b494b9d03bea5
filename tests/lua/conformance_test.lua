-- SPDX-License-Identifier: MIT
-- The conformance kit over every dialect that is shipped, and over files that are wrong on purpose.

local conformance = require "moongate.dialect.conformance"

local SHIPPED = { "anthropic", "azure", "bedrock", "gemini", "openai", "responses" }

return function(test)
  for _, name in ipairs(SHIPPED) do
    for _, case in ipairs(conformance.cases(name)) do test(case.name, case.run) end
  end
end
