-- SPDX-License-Identifier: MIT
-- OpenAI's custom tools take free text, where every other tool takes a JSON object. For a provider that is
-- asked through the common form a custom tool is a function with one text, `input`; for the client it is a
-- custom tool again. The grammar that OpenAI would hold the text to can only be told to the model.

local body = require "moongate.body"
local shape = require "moongate.dialect.shape"

local custom_tool = {}

local PARAMETERS = [[{"type":"object","properties":{"input":{"type":"string","description":"the whole input ]]
  .. [[of the tool, as free text"}},"required":["input"],"additionalProperties":false}]]

local function description(text, format, how, path)
  text = text or ""
  if not format or how.name(format.type, path .. ".type") ~= "grammar" then return text end
  local grammar = how.object(format.grammar, path .. ".grammar") or format
  local definition = how.text(grammar.definition, path .. ".definition")
  if not definition then return text end
  local syntax = how.name(grammar.syntax, path .. ".syntax") or "given"
  local gap = body.size(text) > 0 and "\n\n" or ""
  return body.join { text, gap, "The field \"input\" must match this ", syntax, " grammar:\n", definition }
end

---The common form of a custom tool: { name, description, format } as chat and responses both have it.
---@param fields table
---@param how table shape, or shape.soft
---@param path string
---@return table tool
function custom_tool.tool(fields, how, path)
  local text = how.text(fields.description, path .. ".description")
  local format = how.object(fields.format, path .. ".format")
  return {
    name = how.name(how.need(fields.name, path .. ".name"), path .. ".name"),
    description = description(text, format, how, path .. ".format"),
    parameters = body.raw(PARAMETERS),
    custom = { description = text, format = format },
  }
end

---The arguments of a function call that stand for the input of a custom tool.
---@param input string|userdata
---@return string|userdata
function custom_tool.wrap(input) return body.text(body.raw_of { input = input }) end

---The input that a model wrote into a call's arguments; the arguments themselves when they are not what was
---asked for.
---@param arguments string|userdata
---@return string|userdata
function custom_tool.unwrap(arguments)
  local raw = body.raw(arguments)
  local fields = raw and body.kind(raw) == "object" and body.table(raw)
  return fields and shape.as_text(fields.input) or arguments
end

---The tools of a request by their names.
---@param request table|nil
---@return table<string, table>
function custom_tool.by_name(request)
  local found = {}
  for _, tool in ipairs(request and request.tools or {}) do found[tool.name] = tool end
  return found
end

return custom_tool
