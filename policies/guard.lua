-- SPDX-License-Identifier: MIT
--
-- guard: refuses requests by rule, before any provider is asked, with an error the client can read.
--
-- Worked example. In gateway.lua:
--
--   routes = {
--     { name = "chat", path = "/v1/chat/completions", policy = "guard", on_error = "deny",
--       settings = {
--         targets = { "openai/gpt-4o" },
--         rules = {
--           { models = { "o1*", "gpt-4.5" }, keys = { "intern" }, message = "ask the platform team first" },
--           { environments = { "sandbox" }, max_body = 65536, max_tokens = 1024 },
--           { header = "x-team", status = 400, message = "send x-team: your team's name" },
--         },
--       } },
--   }
--
-- The key "intern" asking for o1-mini gets 403, code "refused_by_rule", "ask the platform team first". Sandbox
-- keys get a 413 for a body of more than 64 KiB and a 403 for max_tokens = 4000; everybody gets a 400 without
-- x-team. What passes all rules is served as by the stock policy. Each refusal is counted in
-- moongate_custom_refused_total{rule="2"}; nothing is sent, retried or suspended.
--
-- `models`, `keys`, `environments` say for whom a rule is; what is left out does not matter; names may end in
-- "*". The others say what is wrong, and one of them is enough; a rule with none of them refuses everybody it is
-- for. max_tokens looks at max_completion_tokens and max_output_tokens, too; a request that names none passes
-- unless `explicit = true`, one where it is no number is refused. Keep `on_error = "deny"` on the route: should
-- the policy itself fail, nothing passes.

local failover = require "moongate.failover"
local moongate = require "moongate"

local TOKENS = { "max_tokens", "max_completion_tokens", "max_output_tokens" }

local names = { type = "list", of = { type = "string" } }
local rule = { type = "table", fields = {
  models = names, keys = names, environments = names,
  max_body = { type = "integer", min = 0, unit = "bytes", help = "of the request's body" },
  max_tokens = { type = "integer", min = 0, help = "that a request may ask for" },
  explicit = { type = "boolean", help = "true: a request has to name its max_tokens" },
  header = { type = "string", help = "has to be there" },
  status = { type = "integer", min = 400, max = 499, help = "instead of 403 (413 for max_body)" },
  message = { type = "string", help = "what the client is told" },
} }

local settings = moongate.merge(failover.settings, {
  rules = { type = "list", of = rule, required = true, help = "the first that is broken refuses" },
})

local function one_of(list, name)
  for _, wanted in ipairs(list or {}) do
    local open = wanted:sub(-1) == "*" and #wanted - 1
    if name == wanted or (open and name and name:sub(1, open) == wanted:sub(1, open)) then return true end
  end
  return list == nil
end

local function too_many_tokens(req, one)
  local named = false
  for _, field in ipairs(TOKENS) do
    local n = req:json(field)
    named = named or n ~= nil
    local fine = n == nil or not one.max_tokens or (type(n) == "number" and n <= one.max_tokens)
    if not fine then return true end
  end
  return one.explicit and not named
end

-- What is wrong with the request: a status and a text, or nil.
local function broken(req, one)
  if one.max_body and req.body_size > one.max_body then
    return 413, ("the body has %d bytes, at most %d are allowed"):format(req.body_size, one.max_body)
  elseif (one.max_tokens or one.explicit) and too_many_tokens(req, one) then
    local most = one.max_tokens and (" of at most %d"):format(one.max_tokens) or ""
    return 403, ("max_tokens%s has to be given"):format(most)
  elseif one.header and not req:header(one.header) then
    return 403, ("the header %s is missing"):format(one.header)
  elseif not (one.max_body or one.max_tokens or one.explicit or one.header) then
    return 403, "this request is not allowed here"
  end
end

return {
  name = "guard", version = 1, settings = settings, check = failover.check,
  prepare = function(own) failover.prepare(failover.base(own)) end,
  handle = function(req, own)
    for i, one in ipairs(own.rules) do
      local mine = one_of(one.models, req.model) and one_of(one.keys, req.key)
      local status, text = nil, nil
      if mine and one_of(one.environments, req.environment) then status, text = broken(req, one) end
      if status then
        moongate.metric("refused", 1, { rule = tostring(i) })
        return req:fail(one.status or status, "refused_by_rule", one.message or text)
      end
    end
    return failover.run(req, failover.base(own))
  end,
}
