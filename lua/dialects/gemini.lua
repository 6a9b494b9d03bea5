-- SPDX-License-Identifier: MIT
-- Google's generateContent and streamGenerateContent: the dialect of the Gemini API.

local answer = require "moongate.dialect.gemini_answer"
local read_request = require "moongate.dialect.gemini_read_request"
local stream = require "moongate.dialect.gemini_stream"
local write_request = require "moongate.dialect.gemini_write_request"

return {
  name = "gemini",
  auth = "header:x-goog-api-key",
  speaks = { "gemini" },
  prefix = "/v1beta",
  generate = "/models/{model}:generateContent",
  stream = "/models/{model}:streamGenerateContent?alt=sse",
  model = "path",
  raw = { "args", "response", "parameters", "parametersJsonSchema", "parameters_json_schema",
    "responseSchema", "response_schema", "responseJsonSchema", "response_json_schema" },

  read_request = read_request,
  write_request = write_request,
  read_answer = answer.read,
  write_answer = answer.write,
  reader = stream.reader,
  writer = stream.writer,
}
