-- SPDX-License-Identifier: MIT
-- What a Claude takes, by its name: thinking in tokens or by effort, sampling, forced tools. Anthropic says
-- 400 to a setting that the model does not know, so a translated request must leave it out. From Anthropic's
-- migration guides of each model. A name that is no Claude's (another maker behind this API) is asked to
-- think the old way, which is what such servers implement.

local models = {}

---@class moongate.ClaudeTraits
---@field adaptive boolean thinks by effort; otherwise by a budget of tokens
---@field sampling boolean takes temperature, top_p, top_k
---@field both boolean takes temperature and top_p in one request
---@field off boolean takes thinking = { type = "disabled" }
---@field forced boolean takes tool_choice any and tool
---@field xhigh boolean knows the effort "xhigh"

---@field schema boolean keeps to a schema, in answers and in strict tools
---@field prefill boolean goes on from an answer that the conversation ends with

-- From the newest to the oldest; the first whose version is not above the model's applies.
local SINCE = {
  { 5.5, { adaptive = true, sampling = false, both = false, off = false, forced = false, xhigh = true,
    schema = true, prefill = false } },
  { 4.7, { adaptive = true, sampling = false, both = false, off = true, forced = true, xhigh = true,
    schema = true, prefill = false } },
  { 4.6, { adaptive = true, sampling = true, both = false, off = true, forced = true, xhigh = false,
    schema = true, prefill = false } },
  { 4.5, { adaptive = false, sampling = true, both = false, off = true, forced = true, xhigh = false,
    schema = true, prefill = true } },
  { 4.1, { adaptive = false, sampling = true, both = false, off = true, forced = true, xhigh = false,
    schema = false, prefill = true } },
  { 0, { adaptive = false, sampling = true, both = true, off = true, forced = true, xhigh = false,
    schema = false, prefill = true } },
}

-- A name that is no Claude's.
local OTHER = { adaptive = false, sampling = true, both = true, off = true, forced = true, xhigh = false,
  schema = true, prefill = true }

-- Models beside the three lines, which think whatever they are told.
local ALWAYS = { fable = true, mythos = true }

---The version in a model's name: 4.5 of "claude-sonnet-4-5-20250929", 3.7 of "claude-3-7-sonnet-latest",
---4.6 of "anthropic/claude-opus-4.6"; nil when there is none.
---@param name string
---@return number|nil
function models.version(name)
  local major, minor
  for number in name:gmatch("%d+") do
    if #number > 2 then break end -- a date
    if not major then
      major = number
    else
      minor = number
      break
    end
  end
  return major and tonumber(major .. "." .. (minor or "0"))
end

---@param name string the model's name as the provider knows it
---@return moongate.ClaudeTraits
function models.traits(name)
  local line = name:lower():match("claude%-(.*)")
  if not line then return OTHER end
  local version = models.version(line)
  if ALWAYS[line:match("^%a+")] or not version then return SINCE[1][2] end
  for _, since in ipairs(SINCE) do
    if version >= since[1] then return since[2] end
  end
  return SINCE[#SINCE][2]
end

return models
