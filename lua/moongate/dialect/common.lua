-- SPDX-License-Identifier: MIT
-- What all dialects share: the common form's little tables, the seals that keep one maker's signatures from
-- another, and pieces of a stream that have to be said again at its end. Pure functions.

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

-- A signature of reasoning is valid only at its maker. In the common form every signature is sealed: the
-- gateway's mark, the maker's tag, the signature; the whole stays base64 where the signature was. A reader
-- seals (what a client sends back sealed stays as it is), a writer of answers writes it as it stands, a
-- writer of requests unseals, and leaves out the thinking that is not its own.
local MARK = "moongate"
local TAGS = { openai = "oaic", azure = "oaic", responses = "oair", anthropic = "anth", gemini = "gemi",
  bedrock = "bedr" }
local SEAL = #MARK + 4

local function mark_of(maker)
  return MARK .. (TAGS[maker] or (maker .. "____"):gsub("[^%w]", "A"):sub(1, 4))
end

---Seals what `maker` signed; leaves alone what is sealed already. An empty signature may be sealed too: it
---tells who made a thinking that its maker did not sign.
---@param maker string the dialect that made it
---@param signature string|userdata|nil
---@return string|userdata|nil
function common.seal(maker, signature)
  if not signature or common.is_sealed(signature) then return signature end
  return body.join { mark_of(maker), signature }
end

---@param signature string|userdata|nil
---@return boolean
function common.is_sealed(signature)
  return signature ~= nil and body.head(signature, #MARK) == MARK
end

---Whether a seal holds a signature, or tells the maker only.
---@param sealed string|userdata|nil
---@return boolean
function common.is_signed(sealed)
  return sealed ~= nil and (not common.is_sealed(sealed) or body.size(sealed) > SEAL)
end

---The signature, when this dialect made it; nil and true when it is another's. What is not sealed is
---taken for the dialect's own.
---@param maker string
---@param sealed string|userdata|nil
---@return string|userdata|nil signature
---@return boolean|nil foreign
function common.unseal(maker, sealed)
  if not sealed or not common.is_sealed(sealed) then return sealed end
  if body.head(sealed, SEAL) == mark_of(maker) then return body.after(sealed, SEAL) end
  return nil, true
end

---The reason to stop that goes with what was said: an answer with calls stopped for them, also where
---its provider says "stop" (a forced tool at OpenAI, every call at Gemini).
---@param stop string|nil
---@param has_calls boolean
---@return string|nil
function common.stop(stop, has_calls)
  if has_calls and (stop == nil or stop == "stop") then return "calls" end
  return stop
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

-- Pieces that a writer has to repeat as one text: a block's whole text at its end. Pieces are joined by
-- hundreds, so that a long answer in many pieces is not held as many strings.
local TOGETHER = 256
local PIECES_MAX = 32 * 1024 * 1024 -- bytes: more than any provider's longest answer, thirty times

---@class moongate.Pieces
---@field whole (string|userdata)[] what is joined already
---@field recent (string|userdata)[]
---@field size integer bytes

---@return moongate.Pieces
function common.pieces() return { whole = {}, recent = {}, size = 0 } end

---@param pieces moongate.Pieces
---@param text string|userdata
function common.add(pieces, text)
  local recent = pieces.recent
  recent[#recent + 1] = text
  pieces.size = pieces.size + body.size(text)
  if pieces.size > PIECES_MAX then
    error { refuse = ("the answer is longer than %d bytes, and its end repeats it"):format(PIECES_MAX) }
  end
  if #recent >= TOGETHER then
    pieces.whole[#pieces.whole + 1] = body.join(recent)
    pieces.recent = {}
  end
end

---All pieces as one text.
---@param pieces moongate.Pieces
---@return string|userdata
function common.joined(pieces)
  if pieces.recent[1] then
    pieces.whole[#pieces.whole + 1] = body.join(pieces.recent)
    pieces.recent = {}
  end
  if pieces.whole[2] then pieces.whole = { body.join(pieces.whole) } end
  return pieces.whole[1] or ""
end

-- Ids of calls, for an API that takes letters, digits, _ and - only: what has others, or looks like such a
-- rewritten one, is written as a mark and its bytes, those in hexadecimal that are not letters or digits.
local ID_MARK = "mgx_"

---@param id string
---@return string of letters, digits, _ and - only; common.plain_id gives the id back
function common.safe_id(id)
  if id:find("^[%w_-]+$") and id:sub(1, #ID_MARK) ~= ID_MARK then return id end
  return ID_MARK .. id:gsub("[^%w]", function(c) return ("_%02x"):format(c:byte()) end)
end

---@param id string
---@return string what common.safe_id was given
function common.plain_id(id)
  if id:sub(1, #ID_MARK) ~= ID_MARK then return id end
  return (id:sub(#ID_MARK + 1):gsub("_(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end))
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
