-- SPDX-License-Identifier: MIT
-- The functions of Gemini's dialect: generateContent and streamGenerateContent.

local answer = require "moongate.dialect.gemini_answer"
local stream = require "moongate.dialect.gemini_stream"

return {
  tool_names = { most = 64, signs = "%w_.:-", start = "%a_" },
  read_request = require "moongate.dialect.gemini_read_request",
  write_request = require "moongate.dialect.gemini_write_request",
  read_answer = answer.read,
  write_answer = answer.write,
  reader = stream.reader,
  writer = stream.writer,
}
