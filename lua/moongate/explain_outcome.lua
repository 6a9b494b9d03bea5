-- SPDX-License-Identifier: MIT
-- What a person writes on the command line for what a provider does: "openai/gpt-4o=429/20@0.3,ok".
-- Pure functions.

local outcome = {}

-- Words for replies that no status tells.
local WORDS = {
  ok = { status = 200 }, refuse = { refuse = true }, never = { never = true }, stale = { stale = true },
  reset = { reset = "before" }, cut = { cut_after = 0 }, stall = { stall_after = 0 },
  empty = { no_content = true }, error_event = { error_event = { after = 0 } },
  quota = { status = 429, error = { type = "insufficient_quota", code = "insufficient_quota",
    message = "You exceeded your current quota" } },
  context = { status = 400, error = { code = "context_length_exceeded",
    message = "This model's maximum context length is exceeded" } },
  credential = { status = 401, error = { code = "invalid_api_key", message = "Incorrect API key provided" } },
  filtered = { status = 400, error = { code = "content_filter", message = "The response was filtered" } },
}

-- Outcomes by their own names, as they stand in the trail and in triggers: what a provider does for them.
local OUTCOMES = {
  stale_connection = WORDS.stale, quota_exhausted = WORDS.quota, context_too_long = WORDS.context,
  credential_error = WORDS.credential, content_filtered = WORDS.filtered, rate_limited = { status = 429 },
  server_error = { status = 500 }, overloaded = { status = 529 }, too_large = { status = 413 },
  client_error = { status = 422 },
  model_unavailable = { status = 404, error = { code = "model_not_found", message = "The model does not exist" } },
}
for _, name in ipairs { "connect_error", "dns_error", "tls_error", "timeout_connect", "unsupported" } do
  OUTCOMES[name] = { fail = name, sent = "nothing" }
end
for _, name in ipairs { "timeout_first_byte", "timeout_first_token", "timeout_idle", "timeout_total",
  "empty_response", "invalid_response", "stream_broken", "limit_exceeded" } do
  OUTCOMES[name] = { fail = name }
end

local function words()
  local names = {}
  for name in pairs(WORDS) do names[#names + 1] = name end
  table.sort(names)
  return table.concat(names, ", ")
end

local function reply_of(text)
  local what, hint, after = text, nil, nil
  what, after = what:match("^([^@]+)@?([%d.]*)$")
  if what then what, hint = what:match("^([^/]+)/?([%d.]*)$") end
  local status = what and what:match("^[1-5]%d%d$")
  local base = status and { status = tonumber(status) } or WORDS[what] or OUTCOMES[what]
  if not base or (after ~= "" and not tonumber(after)) or (hint ~= "" and not tonumber(hint)) then
    error(('--outcome: found "%s", expected a status, an outcome (server_error, …) or one of %s; then /SECONDS for '
      .. "Retry-After and @SECONDS for how long it takes"):format(text, words()), 0)
  end
  local reply = {}
  for name, value in pairs(base) do reply[name] = value end
  reply.after, reply.retry_after = tonumber(after), hint ~= "" and hint or nil
  return reply
end

---Reads one --outcome.
---@param text string "TARGET=REPLY[,REPLY…]"
---@return string target "provider/model" or "provider"
---@return moongate.Reply[] replies of which the last repeats
function outcome.parse(text)
  local target, list = text:match("^([^=]+)=(.+)$")
  if not target then error(('--outcome: found "%s", expected TARGET=REPLY[,REPLY…]'):format(text), 0) end
  local replies = {}
  for item in list:gmatch("[^,]+") do replies[#replies + 1] = reply_of(item) end
  return target, replies
end

return outcome
