-- SPDX-License-Identifier: MIT
--
-- sticky: a session stays with its target, so that the provider's prompt cache is warm and answers of one
-- conversation come from one model. When the target fails the session moves, and stays moved.
--
-- Worked example. In gateway.lua:
--
--   routes = {
--     { name = "chat", path = "/v1/chat/completions", policy = "sticky",
--       settings = {
--         targets = { { target = "east/llama3", weight = 3 }, { target = "west/llama3", weight = 1 } },
--         session = { "header", "user", "key" },
--         sticky = { header = "x-session-id", ttl = 1800 }, suspend = 30,
--       } },
--   }
--
-- A request with `x-session-id: 42` goes to east or west, and so does every other one with that header while
-- there is one at least every half hour. Without the header the body's `prompt_cache_key` or `user` tells the
-- session, without those the client key does; without any of them the targets are tried as listed. East fails:
-- session 42 is served by west from then on, also when east is well again, until half an hour has passed.
--
-- Sessions are spread by weight. A new session's target is computed from its name, so it is the same in all
-- workers and after a restart; where it was really served is kept in the store for `ttl` seconds. When the
-- store is full a session that has moved is not remembered: it starts anew at its computed target each time.

local failover = require "moongate.failover"
local moongate = require "moongate"

local settings = moongate.merge(failover.settings, {
  order = moongate.merge(failover.settings.order, { default = "sticky" }),
  session = { type = "list", of = { type = "enum", values = { "header", "user", "key" } },
    default = { "header", "user" }, help = "what tells a session, the first that is there" },
})

local function text(value)
  return type(value) == "string" and value ~= "" and value or nil
end

-- Each says the session of a request, if it can. Names are told apart by where they came from, so that a
-- client cannot enter another key's session by naming it.
local tells = {}

function tells.header(req, own)
  local name = text(req:header(own.sticky.header))
  return name and "header:" .. name
end

function tells.user(req)
  local name = text(req:json("prompt_cache_key")) or text(req:json("user"))
  return name and "user:" .. name
end

function tells.key(req)
  return req.key and "key:" .. req.key
end

return {
  name = "sticky",
  version = 1,
  settings = settings,
  check = failover.check,
  prepare = function(own) failover.prepare(failover.base(own)) end,
  handle = function(req, own)
    return failover.run(req, failover.base(own), { session = function()
      for _, how in ipairs(own.session) do
        local session = tells[how](req, own)
        if session then return session end
      end
    end })
  end,
}
