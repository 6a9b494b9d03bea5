-- SPDX-License-Identifier: MIT
-- The messages API of Anthropic, and of the servers that speak it. What it refuses or means is data; requests,
-- answers and streams are translated by the modules moongate.dialect.anthropic_*.

local answer = require "moongate.dialect.anthropic_answer"
local reader = require "moongate.dialect.anthropic_request_reader"
local stream = require "moongate.dialect.anthropic_stream"
local writer = require "moongate.dialect.anthropic_request_writer"

return {
  name = "anthropic",
  auth = "header:x-api-key",
  headers = { ["anthropic-version"] = "2023-06-01" },
  speaks = { "anthropic" },
  prefix = "/v1",
  generate = "/messages",
  stream = "/messages",
  model = "body",
  client = {
    generate = { "/v1/messages" },
    paths = { "/v1/messages", "/v1/messages/*" },
    headers = { "anthropic-version" },
    drop = { "anthropic-*", "x-stainless-*" },
  },
  raw = { "input_schema", "input", "schema", "cache_control" },
  -- What this API has no word for: names of the conformance kit.
  cannot = { "audio", "format_json", "frequency_penalty", "logprobs", "metadata", "n", "presence_penalty", "seed",
    "verbosity", "answer.refusal", "answer.stop_filter" },

  read_request = reader.read,
  write_request = writer.write,
  read_answer = answer.read,
  write_answer = answer.write,
  reader = stream.reader,
  writer = stream.writer,
}
