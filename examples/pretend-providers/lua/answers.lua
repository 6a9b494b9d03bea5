-- SPDX-License-Identifier: MIT
-- What a healthy OpenAI provider says: the values behind the endpoints that the pretend providers have.

local moongate = require "moongate"

local m = {}

local function now() return moongate.wall() // 1 | 0 end

local function last_role(req)
  local i = 0
  while req:json("messages." .. i .. ".role") do i = i + 1 end
  return req:json("messages." .. i - 1 .. ".role")
end

--- The pieces that a stream sends one by one: words, or a call of the first tool that was offered.
function m.pieces(req, name)
  local tool = req:json("tools.0.function.name")
  if tool and req:json("tool_choice") ~= "none" and last_role(req) ~= "tool" then
    local call = { index = 0, id = "call_" .. req.id, type = "function", ["function"] = { name = tool, arguments = "" } }
    return { { tool_calls = { call } }, { tool_calls = { { index = 0, ["function"] = { arguments = "{}" } } } } }, tool
  end
  local list = {}
  for word in ("Hello, this is %s speaking as %s."):format(name, req.model or "nobody"):gmatch("%s*%S+") do
    list[#list + 1] = { content = word }
  end
  return list
end

function m.usage(req, pieces)
  local prompt = req.body_size // 4 + 1
  return { prompt_tokens = prompt, completion_tokens = pieces, total_tokens = prompt + pieces }
end

--- What all events of a stream have in common.
function m.chunk(req)
  return { id = "chatcmpl-" .. req.id, object = "chat.completion.chunk", created = now(), model = req.model }
end

m["chat/completions"] = function(req, name)
  local list, tool = m.pieces(req, name)
  local message = { role = "assistant" }
  if tool then
    list[1].tool_calls[1]["function"].arguments = "{}"
    message.tool_calls = list[1].tool_calls
  else
    message.content = ""
    for _, piece in ipairs(list) do message.content = message.content .. piece.content end
  end
  local choice = { index = 0, message = message, finish_reason = tool and "tool_calls" or "stop" }
  return { id = "chatcmpl-" .. req.id, object = "chat.completion", created = now(), model = req.model,
           choices = { choice }, usage = m.usage(req, #list) }
end

m.embeddings = function(req)
  local data, i = {}, 0
  repeat
    local hash = moongate.hash(tostring(req:json("input." .. i) or req:json("input")))
    data[i + 1] = { object = "embedding", index = i, embedding = { hash % 1000 / 1000, hash // 1000 % 1000 / 1000 } }
    i = i + 1
  until not req:json("input." .. i)
  return { object = "list", model = req.model, data = data, usage = m.usage(req, 0) }
end

m.models = function(_, name)
  local data = {}
  for i, id in ipairs { "gpt-4o", "gpt-4o-mini" } do
    data[i] = { id = id, object = "model", created = 0, owned_by = name }
  end
  return { object = "list", data = data }
end

return m
