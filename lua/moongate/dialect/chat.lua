-- SPDX-License-Identifier: MIT
-- The functions of chat completions, the dialect of OpenAI and of most others. What differs between OpenAI
-- and those who serve in its shape stands in openai_models.

return {
  tool_names = { most = 64, signs = "%w_-" },
  read_request = require("moongate.dialect.chat_request").read,
  write_request = require("moongate.dialect.chat_request_write").write,
  read_answer = require("moongate.dialect.chat_answer").read,
  write_answer = require("moongate.dialect.chat_answer").write,
  reader = require("moongate.dialect.chat_reader").reader,
  writer = require("moongate.dialect.chat_writer").writer,
}
