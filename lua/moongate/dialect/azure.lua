-- SPDX-License-Identifier: MIT
-- The functions of Azure's dialect: those of chat completions, but for a stream's first event, which tells
-- what the filters made of the prompt and has neither an id nor a model.

local chat = require "moongate.dialect.chat"
local shape = require "moongate.dialect.shape"

local function tells_filters_only(data)
  data = shape.as_object(data)
  local choices = data and shape.as_list(data.choices)
  return choices and #choices == 0 and not shape.as_object(data.usage)
end

local azure = {}
for name, run in pairs(chat) do azure[name] = run end

---@param ctx table
---@return fun(type: string, data: any, emit: fun(delta: table))
function azure.reader(ctx)
  local read = chat.reader(ctx)
  return function(type, data, emit)
    if not tells_filters_only(data) then read(type, data, emit) end
  end
end

return azure
