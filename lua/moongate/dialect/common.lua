-- SPDX-License-Identifier: MIT
-- What all dialects share: the common form's little tables, and the seals that keep one maker's signatures
-- from another. Pure functions.

local body = require "moongate.body"

local common = {}

-- Reasoning effort in words and in tokens: who has only one is given the other.
local BUDGETS = { minimal = 1024, low = 2048, medium = 8192, high = 16384, xhigh = 32768, max = 32768 }
local EFFORTS = { "minimal", "low", "medium", "high", "xhigh" }

---Tokens of thinking that an effort stands for; nil for "none" and for what is no effort.
---@param effort string
---@return integer|nil
function common.budget(effort) return BUDGETS[effort] end

---The effort that a number of tokens comes nearest to from below; "none" for 0.
---@param budget number
---@return string
function common.effort(budget)
  if budget <= 0 then return "none" end
  local found = EFFORTS[1]
  for _, effort in ipairs(EFFORTS) do
    if BUDGETS[effort] <= budget then found = effort end
  end
  return found
end

-- A signature of reasoning is valid only at its maker. What a translated answer carries of it is sealed:
-- the gateway's mark, who made it, the signature. The whole stays base64 where the signature was.
local MARK = "moongate"
local TAGS = { openai = "oaic", responses = "oair", azure = "oaic", anthropic = "anth", gemini = "gemi", bedrock = "bedr" }

---@param maker string the provider's dialect
---@param signature string|userdata
---@return string|userdata|nil
function common.seal(maker, signature)
  if not signature then return nil end
  local tag = TAGS[maker] or (maker .. "____"):gsub("[^%w]", "A"):sub(1, 4)
  return MARK .. tag .. signature
end

---The signature, when this dialect made it; nil and true when it is another's, sealed.
---@param maker string
---@param sealed string|userdata|nil
---@return string|userdata|nil signature
---@return boolean|nil foreign
function common.unseal(maker, sealed)
  if not sealed then return nil end
  local head = body.head(sealed, #MARK + 4)
  if head:sub(1, #MARK) ~= MARK then return sealed end
  if head == body.head(common.seal(maker, "x"), #MARK + 4) then return body.after(sealed, #MARK + 4) end
  return nil, true
end

---Limits a number to a range; tells by the second result that it had to be changed.
---@param value number
---@param low number
---@param high number
---@return number
---@return boolean changed
function common.clamp(value, low, high)
  if value < low then return low, true end
  if value > high then return high, true end
  return value, false
end

---The parts of a data URL, or nil: media type, base64 data.
---@param url string|userdata
---@return string|nil media_type
---@return string|userdata|nil data
function common.data_url(url)
  local head = body.head(url, 256)
  local media_type, stop = head:match("^data:([^;,]+);base64,()")
  if not stop then
    media_type, stop = head:match("^data:([^;,]+);[^,]*;base64,()")
  end
  if not stop then return nil end
  return media_type, body.after(url, stop - 1)
end

return common
