-- SPDX-License-Identifier: MIT
--
-- spend: a budget of money per client key; who has spent it is served by cheaper targets until it recovers.
--
-- Worked example. In gateway.lua:
--
--   routes = {
--     { name = "chat", path = "/v1/chat/completions", policy = "spend",
--       settings = {
--         targets = { "openai/gpt-4o", "azure/gpt-4o" },
--         once_spent = { targets = { "openai/gpt-4o-mini" } },
--         budget = 5, window = 86400,
--         prices = { ["openai/gpt-4o"] = { input = 2.5, output = 10 }, ["azure/gpt-4o"] = { input = 2.5, output = 10 },
--                    ["openai/gpt-4o-mini"] = { input = 0.15, output = 0.6 } },
--       } },
--   }
--
-- Each key may spend 5 (of whatever money `prices` are in, per million tokens) in 24 hours. Once it has, its
-- requests go to gpt-4o-mini, whose price counts as well. The day slides: what was spent 24 hours ago (to a 32nd
-- of the window) is forgiven. Nobody is refused; for that, see guard. moongate_custom_spent_total{target} adds up.
--
-- What is counted: before a request is sent the most it may cost is reserved, so that many at once cannot
-- overdraw by more than one estimate is wrong: four bytes of its body as one token of input, and max_tokens (or
-- `typical_output`) of output. An answer that is no stream says what it used, and that takes the place of the
-- estimate. A stream's usage comes after the policy has let go of it, so its estimate stands: set `typical_output`
-- to your average and let clients send max_tokens. What fails costs nothing.
-- Requests without a key share one account. The account is in memory, shared by all workers: a reload keeps it, a
-- restart starts anew. When the store is full (8192 windows) what cannot be counted is served by `once_spent`.

local failover = require "moongate.failover"
local moongate = require "moongate"

local money = { type = "number", required = true, min = 0, unit = "per million tokens" }

local settings = moongate.merge(failover.settings, {
  once_spent = moongate.merge(failover.settings.sandbox, { required = true,
    help = "settings that count instead, targets above all" }),
  budget = { type = "number", required = true, min = 0, help = "of one client key in one window" },
  window = { type = "number", default = 86400, min = 1, max = 2678400, unit = "s" },
  prices = { type = "table", required = true, of = { type = "table", fields = { input = money, output = money } },
    help = "of a target, or of all of a provider's; what is not listed is free" },
  typical_output = { type = "integer", default = 500, min = 0, unit = "tokens",
    help = "of an answer, when the request names no max_tokens" },
})

local function cost(own, target, input, output)
  local price = own.prices[target] or own.prices[(moongate.provider(target))]
  return price and (input * price.input + output * price.output) / 1e6 or 0
end

local function number(value, otherwise)
  return type(value) == "number" and value >= 0 and value < 1e9 and value or otherwise
end

-- The most that this request may cost at this target.
local function estimate(req, own, target)
  local output = number(req:json("max_completion_tokens"), number(req:json("max_tokens"), own.typical_output))
  return cost(own, target, req.body_size / 4, output)
end

-- What an attempt has really cost, as far as can be told.
local function actual(req, own, attempt)
  if not attempt.ok then return 0 end
  local input = not req.stream and number(attempt:json("usage.prompt_tokens"))
  if not input then return estimate(req, own, attempt.target) end
  return cost(own, attempt.target, input, number(attempt:json("usage.completion_tokens"), 0))
end

local function first_target(req, entry)
  while type(entry) == "table" do entry = entry.target or entry.targets[1] end
  return req:name(entry)
end

return {
  name = "spend", version = 1, settings = settings, check = failover.check,
  prepare = function(own) failover.prepare(failover.base(own)) end,
  handle = function(req, own)
    local base = failover.base(own)
    local account = moongate.window("spend", req.key or "", own.window)
    local reserved = estimate(req, own, first_target(req, own.targets[1]))
    local spent = account:add(reserved)
    if not spent or spent > own.budget then base = failover.with(base, own.once_spent) end
    local answer = failover.run(req, base, { on_result = function(_, attempt)
      local real = actual(req, own, attempt)
      account:add(real - reserved)
      moongate.metric("spent", real, { target = attempt.target })
      reserved = 0
    end })
    if reserved > 0 then account:add(-reserved) end
    return answer
  end,
}
