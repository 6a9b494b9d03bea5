-- SPDX-License-Identifier: MIT
-- Turns of a conversation as Anthropic's and Bedrock's APIs take them: those of one role that follow each
-- other are one, no text is blank, a call's arguments are an object. Pure functions.

local body = require "moongate.body"

local turn_rules = {}

---Whether a text says nothing; one too long to look at does.
---@param text string|userdata
---@return boolean
function turn_rules.is_blank(text) return type(text) == "string" and not text:find("%S") end

---Adds blocks to a conversation.
---@param list table[] turns: { role, content }
---@param role string
---@param blocks table[]
function turn_rules.add(list, role, blocks)
  local last = list[#list]
  if last and last.role == role then
    table.move(blocks, 1, #blocks, #last.content + 1, last.content)
  elseif blocks[1] then
    list[#list + 1] = { role = role, content = blocks }
  end
end

---A call's arguments as the object that these APIs want. What a model got wrong is shown to the next one as
---it was said.
---@param part table of type call
---@param drop fun(what: string)
---@return any
function turn_rules.input_of(part, drop)
  local text = part.arguments
  if not text or body.size(text) == 0 then return body.raw("{}") end
  local raw = body.raw(text)
  if raw and body.kind(raw) == "object" then return raw end
  drop("arguments")
  return { arguments = text }
end

---White space at the end of what the assistant is to go on from is refused.
---@param text string|userdata
---@return string|userdata
function turn_rules.trimmed(text)
  return type(text) == "string" and text:gsub("%s+$", "") or text
end

return turn_rules
