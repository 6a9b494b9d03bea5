-- SPDX-License-Identifier: MIT
-- Base64 of short things: seals for clients that refuse what is not base64. Pure functions.

local base64 = {}

local ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
local DIGIT, VALUE = {}, { ["-"] = 62, ["_"] = 63 }
for i = 1, #ALPHABET do
  DIGIT[i - 1] = ALPHABET:sub(i, i)
  VALUE[DIGIT[i - 1]] = i - 1
end

local function encode_three(three)
  local a, b, c = three:byte(1, 3)
  local n = a << 16 | (b or 0) << 8 | (c or 0)
  local third, fourth = b and DIGIT[n >> 6 & 63] or "=", c and DIGIT[n & 63] or "="
  return DIGIT[n >> 18] .. DIGIT[n >> 12 & 63] .. third .. fourth
end

---@param text string
---@return string
function base64.encode(text) return (text:gsub("..?.?", encode_three)) end

local function decode_four(four)
  local n, digits = 0, #four
  for i = 1, 4 do n = n << 6 | (i <= digits and VALUE[four:sub(i, i)] or 0) end
  return string.char(n >> 16, n >> 8 & 255, n & 255):sub(1, digits - 1)
end

---Both alphabets, with and without padding.
---@param text string
---@return string|nil nil when it is no base64
function base64.decode(text)
  local digits = text:match("^([%w+/_-]*)=?=?$")
  if not digits or #digits % 4 == 1 then return nil end
  return (digits:gsub("..?.?.?", decode_four))
end

return base64
