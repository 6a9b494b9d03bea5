-- SPDX-License-Identifier: MIT
-- Counts of tokens as chat completions and responses have them, and the common form. Pure functions.

local shape = require "moongate.dialect.shape"

local openai_usage = {}

local count = shape.as_integer

local function details(usage, name) return shape.as_object(usage[name]) or {} end

---@param usage any
---@return table|nil common usage
function openai_usage.read_chat(usage)
  usage = shape.as_object(usage)
  if not usage then return nil end
  local input = details(usage, "prompt_tokens_details")
  return {
    input = count(usage.prompt_tokens),
    output = count(usage.completion_tokens),
    cached = count(input.cached_tokens) or count(usage.prompt_cache_hit_tokens),
    cache_write = count(input.cache_write_tokens),
    reasoning = count(details(usage, "completion_tokens_details").reasoning_tokens),
  }
end

---@param usage any
---@return table|nil common usage
function openai_usage.read_responses(usage)
  usage = shape.as_object(usage)
  if not usage then return nil end
  local input = details(usage, "input_tokens_details")
  return {
    input = count(usage.input_tokens),
    output = count(usage.output_tokens),
    cached = count(input.cached_tokens),
    cache_write = count(input.cache_write_tokens),
    reasoning = count(details(usage, "output_tokens_details").reasoning_tokens),
  }
end

---@param usage table|nil common usage
---@return table|nil
function openai_usage.write_chat(usage)
  if not usage then return nil end
  local input, output = usage.input or 0, usage.output or 0
  return {
    prompt_tokens = input, completion_tokens = output, total_tokens = input + output,
    prompt_tokens_details = (usage.cached or usage.cache_write)
      and { cached_tokens = usage.cached or 0, cache_write_tokens = usage.cache_write } or nil,
    completion_tokens_details = usage.reasoning and { reasoning_tokens = usage.reasoning } or nil,
  }
end

---Parsers of responses demand every count.
---@param usage table|nil common usage
---@return table|nil
function openai_usage.write_responses(usage)
  if not usage then return nil end
  local input, output = usage.input or 0, usage.output or 0
  return {
    input_tokens = input, output_tokens = output, total_tokens = input + output,
    input_tokens_details = { cached_tokens = usage.cached or 0, cache_write_tokens = usage.cache_write or 0 },
    output_tokens_details = { reasoning_tokens = usage.reasoning or 0 },
  }
end

---Counts come in pieces: what is known later replaces what was known before.
---@param usage table|nil
---@param more table|nil
---@return table|nil
function openai_usage.merge(usage, more)
  if not usage or not more then return usage or more end
  local merged = {}
  for name, value in pairs(usage) do merged[name] = value end
  for name, value in pairs(more) do merged[name] = value end
  return merged
end

return openai_usage
