-- SPDX-License-Identifier: MIT
-- What a model's name tells about how its provider wants a chat completions request. Thousands of models are
-- served in OpenAI's shape, few by OpenAI; the shape differs in small things, and a wrong guess is a 400.
-- A name may carry its maker before a slash (openai/gpt-5): what is after the last slash counts.

local models = {}

---@class moongate.Traits
---@field limit string max_completion_tokens, or max_tokens where that is all that is known
---@field developer boolean whether the role "developer" is known
---@field lists boolean whether content that is text only may be a list of parts
---@field thinking boolean whether the model's own reasoning_content is to be sent back to it
---@field sampling boolean whether temperature, top_p, penalties and logprobs are taken while it reasons
---@field own boolean whether OpenAI's own fields are known: strict servers refuse what they do not know

local OTHER = { limit = "max_tokens", developer = false, lists = false, thinking = false, sampling = true,
  own = false }
local OPENAI = { limit = "max_completion_tokens", developer = true, lists = true, thinking = false,
  sampling = true, own = true }
local REASONING = { limit = "max_completion_tokens", developer = true, lists = true, thinking = false,
  sampling = false, own = true }
local THINKING = { limit = "max_tokens", developer = false, lists = false, thinking = true, sampling = true,
  own = false }
local OPEN = { limit = "max_tokens", developer = true, lists = true, thinking = true, sampling = true,
  own = false }

-- The first pattern that is found in the name in lower case decides.
local KNOWN = {
  { "^gpt%-oss", OPEN },
  { "^gpt%-[5-9].*%-chat", OPENAI },
  { "^gpt%-[5-9]", REASONING },
  { "^o[1-9]", REASONING },
  { "^codex", REASONING },
  { "^gpt%-", OPENAI },
  { "^chatgpt", OPENAI },
  { "deepseek", THINKING },
  { "kimi", THINKING },
  { "minimax", THINKING },
  { "^glm", THINKING },
}

-- Names that tell nothing. Azure names deployments, not models: what it serves is OpenAI's; and none but
-- OpenAI's own models are asked by responses.
local DIALECTS = { azure = OPENAI, responses = OPENAI }

---@param model string|nil the name that goes to the provider
---@param provider? string the provider's dialect
---@return moongate.Traits
function models.traits(model, provider)
  local name = (model or ""):match("[^/]*$"):lower()
  for _, known in ipairs(KNOWN) do
    if name:find(known[1]) then return known[2] end
  end
  return DIALECTS[provider] or OTHER
end

return models
