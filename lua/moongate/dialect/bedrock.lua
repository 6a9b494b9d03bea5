-- SPDX-License-Identifier: MIT
-- The functions of dialect bedrock (lua/dialects/bedrock.lua).

local answer = require "moongate.dialect.bedrock_answer"
local request_writer = require "moongate.dialect.bedrock_request"

return {
  tool_names = { most = 64, signs = "%w_-" },
  write_request = request_writer.write,
  read_answer = answer.read,
  reader = answer.reader,
}
