-- SPDX-License-Identifier: MIT
-- Anthropic messages: the functions of the dialect, and of others that speak to a Claude.

local answer = require "moongate.dialect.anthropic_answer"
local reader = require "moongate.dialect.anthropic_request_reader"
local stream = require "moongate.dialect.anthropic_stream"
local writer = require "moongate.dialect.anthropic_request_writer"

return {
  tool_names = { most = 128, signs = "%w_-" },
  read_request = reader.read,
  write_request = writer.write,
  read_answer = answer.read,
  write_answer = answer.write,
  reader = stream.reader,
  writer = stream.writer,
}
