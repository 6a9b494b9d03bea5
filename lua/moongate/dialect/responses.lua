-- SPDX-License-Identifier: MIT
-- The functions of OpenAI's responses.

return {
  tool_names = { most = 64, signs = "%w_-" },
  read_request = require("moongate.dialect.responses_request").read,
  write_request = require("moongate.dialect.responses_request_write").write,
  read_answer = require("moongate.dialect.responses_answer").read,
  write_answer = require("moongate.dialect.responses_answer").write,
  reader = require("moongate.dialect.responses_reader").reader,
  writer = require("moongate.dialect.responses_writer").writer,
}
