-- SPDX-License-Identifier: MIT
-- AWS Bedrock's Converse, for all models behind it. A provider's dialect only: no client is written in it.
-- Requests are signed (providers.*.aws) or carry a Bedrock API key (auth = "bearer"); streams come in AWS's
-- frames, which the core makes an event stream. Requests and answers are translated by the modules
-- moongate.dialect.bedrock_*.

local answer = require "moongate.dialect.bedrock_answer"
local request_writer = require "moongate.dialect.bedrock_request"

return {
  name = "bedrock",
  auth = "bearer",
  speaks = { "bedrock" },
  prefix = "/v1",
  generate = "/model/{model}/converse",
  stream = "/model/{model}/converse-stream",
  model = "path",
  raw = { "input", "json", "trace" },

  write_request = request_writer.write,
  read_answer = answer.read,
  reader = answer.reader,
}
