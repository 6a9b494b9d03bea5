-- SPDX-License-Identifier: MIT
-- What a model of Bedrock takes, by its id. Converse has one shape for all makers, but answers 400 to a field
-- that the model behind it does not know, so a translated request must leave it out. From AWS's tables of
-- supported features. An id that tells no maker (the ARN of an application inference profile) is asked for
-- nothing that only some take.

local claude = require "moongate.dialect.anthropic_models"

local models = {}

---@class moongate.BedrockTraits
---@field claude moongate.ClaudeTraits|nil Anthropic's
---@field top_k string[]|nil where top_k stands in additionalModelRequestFields
---@field effort string[]|nil where a reasoning effort in words stands there
---@field reasoning table|nil what goes there to have Nova 2 reason; `effort` is its field for the effort
---@field cache boolean takes cachePoint
---@field schema boolean takes outputConfig.textFormat, and strict tools
---@field any boolean takes toolChoice any
---@field tool boolean takes toolChoice tool
---@field prefill boolean goes on from an answer that the conversation ends with (of Claude's: `claude`)
---@field plain boolean never reasons: to ask for none is no wish

local NOVA_REASONING = { "reasoningConfig" }

-- The first that stands in the id decides.
local MAKERS = {
  { "amazon%.nova%-2", { top_k = { "inferenceConfig", "topK" }, reasoning = NOVA_REASONING, cache = true,
    prefill = true, any = true, tool = true } },
  { "amazon%.nova", { plain = true, top_k = { "inferenceConfig", "topK" }, cache = true, any = true,
    prefill = true, tool = true } },
  { "openai%.gpt%-oss", { effort = { "reasoning_effort" }, schema = true, any = true, tool = true } },
  { "mistral%.mistral%-large%-24", { plain = true, top_k = { "top_k" }, any = true } },
  { "mistral%.", { top_k = { "top_k" }, schema = true, any = true } },
  { "cohere%.", { plain = true, top_k = { "k" } } },
  { "meta%.llama", { plain = true } },
  { "qwen%.", { top_k = { "top_k" }, schema = true, any = true, tool = true } },
  { "deepseek%.r1", {} },
  { "deepseek%.", { schema = true, any = true, tool = true } },
  { "moonshot", { schema = true, any = true, tool = true } },
  { "minimax%.", { schema = true, any = true, tool = true } },
  { "nvidia%.", { schema = true, any = true, tool = true } },
  { "google%.gemma", { plain = true, schema = true } },
}
local UNKNOWN = { any = true, tool = true }

-- The first version of Claude that caches prompts here.
local CLAUDE_CACHES = 3.7

local function of_claude(id, line)
  local version = claude.version(line) or CLAUDE_CACHES
  local traits = claude.traits(id)
  return { claude = traits, top_k = { "top_k" }, any = traits.forced, tool = traits.forced,
    cache = version >= CLAUDE_CACHES or line:find("^3%-5%-haiku") ~= nil, schema = traits.schema }
end

---@param id string a model id, an inference profile's id, or an ARN that ends with one
---@return moongate.BedrockTraits
function models.traits(id)
  id = id:lower()
  local line = id:match("claude%-(.*)")
  if line then return of_claude(id, line) end
  for _, maker in ipairs(MAKERS) do
    if id:find(maker[1]) then return maker[2] end
  end
  return UNKNOWN
end

return models
