-- SPDX-License-Identifier: MIT
-- The functions of dialect bedrock (lua/dialects/bedrock.lua).

local answer = require "moongate.dialect.bedrock_answer"
local request_writer = require "moongate.dialect.bedrock_request"

return {
  -- What Converse has no word for, asked of a model that nothing is known of: names of the conformance kit.
  cannot = { "file_url", "format_json", "frequency_penalty", "image_url", "logprobs", "n",
    "parallel_tool_calls", "presence_penalty", "reasoning", "seed", "top_k", "user", "verbosity" },

  write_request = request_writer.write,
  read_answer = answer.read,
  reader = answer.reader,
}
