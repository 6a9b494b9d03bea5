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
---@field sampling boolean whether temperature, top_p, penalties, logprobs and stop are taken while it reasons
---@field ids integer|nil ids of calls have so many letters and digits, else 40 bytes at most
---@field own boolean whether OpenAI's own fields are known: strict servers refuse what they do not know

local OTHER = { limit = "max_tokens", developer = false, lists = false, thinking = false, sampling = true,
  own = false }
local OPENAI = { limit = "max_completion_tokens", developer = true, lists = true, thinking = false,
  sampling = true, own = true }
local REASONING = { limit = "max_completion_tokens", developer = true, lists = true, thinking = false,
  sampling = false, own = true }
local THINKING = { limit = "max_tokens", developer = false, lists = false, thinking = true, sampling = true,
  own = false }
local MISTRAL = { limit = "max_tokens", developer = false, lists = false, thinking = false, sampling = true,
  own = false, ids = 9 }
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
  { "%a+stral", MISTRAL }, -- Mistral, Ministral, Codestral …
  { "%a+xtral", MISTRAL }, -- Mixtral, Pixtral …
  { "deepseek", THINKING },
  { "kimi", THINKING },
  { "minimax", THINKING },
  { "^glm", THINKING },
}

-- Names that tell nothing. Azure names deployments, not models: what it serves is OpenAI's; and none but
-- OpenAI's own models are asked by responses.
local DIALECTS = { azure = OPENAI, responses = OPENAI }

local function plain_name(model) return (model or ""):match("[^/]*$"):lower() end

---@param model string|nil the name that goes to the provider
---@param provider? string the provider's dialect
---@return moongate.Traits
function models.traits(model, provider)
  local name = plain_name(model)
  for _, known in ipairs(KNOWN) do
    if name:find(known[1]) then return known[2] end
  end
  return DIALECTS[provider] or OTHER
end

-- Words for the effort to reason, from the weakest on, and which of them a model takes: the first pattern
-- that is found in the name decides, `{}` is a model that does not reason. OpenAI answers 400 to every
-- other word.
local WORDS = { "none", "minimal", "low", "medium", "high", "xhigh", "max" }
local THREE = { low = true, medium = true, high = true }
local FOUR = { low = true, medium = true, high = true, xhigh = true }
local OFF_TO_HIGH = { none = true, low = true, medium = true, high = true }
local OFF_TO_XHIGH = { none = true, low = true, medium = true, high = true, xhigh = true }
local OFF_TO_MAX = { none = true, low = true, medium = true, high = true, xhigh = true, max = true }
local EFFORTS = {
  { "^gpt%-oss", THREE },
  { "^gpt%-[5-9].*%-chat", {} },
  { "^gpt%-5%-pro", { high = true } },
  { "^gpt%-5%.1%-codex%-max", FOUR },
  { "^gpt%-5%.1%-codex", THREE },
  { "^gpt%-5%-codex", THREE },
  { "^gpt%-5%.%d%-codex", FOUR },
  { "^gpt%-5%.%d%-pro", { medium = true, high = true, xhigh = true } },
  { "^gpt%-5%.1", OFF_TO_HIGH },
  { "^gpt%-5%.[2-5]", OFF_TO_XHIGH },
  { "^gpt%-5%.", OFF_TO_MAX },
  { "^gpt%-5", { minimal = true, low = true, medium = true, high = true } },
  { "^gpt%-[6-9]", OFF_TO_MAX },
  { "^o[1-9]", THREE },
  { "^codex", THREE },
  { "^gpt%-", {} },
  { "^chatgpt", {} },
}

local function efforts_of(name)
  for _, known in ipairs(EFFORTS) do
    if name:find(known[1]) then return known[2] end
  end
end

local function place_of(effort)
  for i, word in ipairs(WORDS) do
    if word == effort then return i end
  end
end

---The word that a model takes for an effort: the effort itself, else the nearest below it, else the nearest
---above it. nil where it takes none, or where the effort is no word of OpenAI's.
---@param model string|nil
---@param effort string
---@return string|nil
function models.effort(model, effort)
  local place, taken = place_of(effort), efforts_of(plain_name(model))
  if not place or not taken then return place and effort end -- whose model this is, its name does not tell
  for i = place, 1, -1 do
    -- "none" stands for itself alone: who asks for a little is not given nothing.
    if taken[WORDS[i]] and (i > 1 or place == 1) then return WORDS[i] end
  end
  for i = place, #WORDS do
    if taken[WORDS[i]] then return WORDS[i] end
  end
end

-- OpenAI's models that do not reason in chat completions where there are tools: it answers 400 unless the
-- effort is "none", from GPT-5.6 on also when there is none in the request. By responses they do. A maker
-- before a slash is a name at somebody who asks OpenAI in his own way.
local EITHER = { "^gpt%-5%.[4-9]", "^gpt%-[6-9]" }

---@param model string|nil
---@return boolean
function models.calls_or_reasons(model)
  for _, pattern in ipairs(EITHER) do
    if model and model:lower():find(pattern) then return true end
  end
  return false
end

---Whether a model can reason; a name that tells nothing may.
---@param model string|nil
---@return boolean
function models.reasons(model)
  local taken = efforts_of(plain_name(model))
  return taken == nil or next(taken) ~= nil
end

return models
