-- SPDX-License-Identifier: MIT
-- What the requests of chat completions and responses have in common: simple fields, and what becomes of a
-- field that the common form has no place for.

local body = require "moongate.body"
local common = require "moongate.dialect.common"
local json_schema = require "moongate.dialect.json_schema"
local models = require "moongate.dialect.openai_models"
local shape = require "moongate.dialect.shape"

local openai_request = {}

-- Fields that have the same name and meaning in both, and in the common form: how each is checked.
local SAME = {
  temperature = shape.number, top_p = shape.number, top_logprobs = shape.integer,
  parallel_tool_calls = shape.boolean, metadata = shape.raw, service_tier = shape.name,
  stream = shape.boolean, model = shape.name, top_k = shape.integer,
}

-- Fields that change no answer, or not the answer to this request: they go without a word.
local QUIET = { stream_options = true, prompt_cache_options = true, prompt_cache_retention = true,
  safety_identifier = true, client_metadata = true }

-- Dialects whose providers know OpenAI's own fields.
local FAMILY = { openai = true, azure = true, responses = true }

---Reads the fields that both have into the request.
---@param request table
---@param fields table the body
function openai_request.read_same(request, fields)
  for name, check in pairs(SAME) do request[name] = check(fields[name], name) end
  request.user = shape.name(fields.user, "user") or shape.name(fields.safety_identifier, "safety_identifier")
  request.cache_key = shape.name(fields.prompt_cache_key, "prompt_cache_key")
end

---What nobody has read: kept for a provider of OpenAI's family under `request.openai`, else dropped by name.
---@param request table
---@param fields table the body
---@param known table<string, any> names that have been read
---@param own string[] names that only this API has: kept when the provider is spoken to by it
---@param keeps boolean whether it is
---@param ctx table
function openai_request.read_rest(request, fields, known, own, keeps, ctx)
  local names = {}
  for name in pairs(fields) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    if not known[name] and not SAME[name] and name ~= "user" and name ~= "prompt_cache_key" then
      local kept = own[name] and keeps or openai_request.BOTH[name] and FAMILY[ctx.provider]
      if kept then
        request.openai = request.openai or {}
        request.openai[name] = fields[name]
      elseif not QUIET[name] and not (name == "store" and fields.store == false) then
        ctx:drop(body.head(name, 64))
      end
    end
  end
end

-- OpenAI's own fields that both of its APIs have.
openai_request.BOTH = { store = true, safety_identifier = true, prompt_cache_options = true,
  prompt_cache_retention = true, moderation = true }

---Writes the fields that both have.
---@param out table the body
---@param request table
function openai_request.write_same(out, request)
  for name in pairs(SAME) do out[name] = request[name] end
  out.top_k = nil
  out.user = request.user
  out.prompt_cache_key = request.cache_key
  for name, value in pairs(request.openai or {}) do out[name] = value end
end

-- A caller's tier of another maker is no word of OpenAI's.
local TIERS = { auto = true, default = true, flex = true, scale = true, priority = true, fast = true }

---@param out table the body
---@param ctx table
function openai_request.check_tier(out, ctx)
  if out.service_tier and not TIERS[out.service_tier] then
    out.service_tier = nil
    ctx:drop("service_tier")
  end
end

-- OpenAI's own: what no answer depends on, and the rest.
local OWN_QUIET = { "store", "prompt_cache_key", "safety_identifier", "prompt_cache_options",
  "prompt_cache_retention" }
local OWN_LOUD = { "metadata", "moderation", "service_tier", "verbosity" }

---Takes away what only OpenAI knows; a client that wrote it for such a provider knows better.
---@param out table the body
---@param traits moongate.Traits
---@param ctx table
function openai_request.check_own(out, traits, ctx)
  if traits.own or ctx.client == "openai" or ctx.client == "azure" then return end
  for _, name in ipairs(OWN_QUIET) do out[name] = nil end
  for _, name in ipairs(OWN_LOUD) do
    if out[name] ~= nil then ctx:drop(name) end
    out[name] = nil
  end
end

---Ids of calls as an API takes them: one that it does not is another within the request, the same for call
---and result.
---@param most integer bytes
---@param exact? integer of so many letters and digits instead
---@return fun(id: string): string
function openai_request.ids(most, exact)
  local others, n = {}, 0
  return function(id)
    if exact and #id == exact and not id:find("%W") or not exact and #id <= most then return id end
    if not others[id] then
      n = n + 1
      others[id] = exact and ("m%0" .. exact - 1 .. "d"):format(n) or "mgx_" .. n
    end
    return others[id]
  end
end

-- OpenAI takes so many bytes of an end user's id. A client of another maker may have a longer one.
local USER_MAX = 64

---@param out table the body
---@param ctx table
function openai_request.check_user(out, ctx)
  if not out.user or #out.user <= USER_MAX or FAMILY[ctx.client] then return end
  out.user = nil
  ctx:drop("user")
end

---Whether a tool is strict. OpenAI refuses a strict one whose schema leaves something open or optional, which
---other makers take; its own clients know.
---@param tool table of the common form
---@param i integer
---@param ctx table
---@return boolean|nil
function openai_request.strict(tool, i, ctx)
  if not tool.strict or FAMILY[ctx.client] or json_schema.is_strict_for_openai(tool.parameters) then
    return tool.strict
  end
  ctx:drop(("tools.%d.strict"):format(i - 1))
end

---What has to be said in words of the form of the answer. OpenAI takes schemas of objects only, and demands
---that the word JSON be said where it is to answer in JSON; its own clients know.
---@param format table|nil of the common form
---@param ctx table
---@return string|userdata|nil words
---@return boolean|nil instead of the field, not beside it
function openai_request.format_words(format, ctx)
  if not format or FAMILY[ctx.client] then return nil end
  if format.type == "json" then return json_schema.in_words(format), false end
  if json_schema.is_object(format.schema) then return nil end
  ctx:drop("format")
  return json_schema.in_words(format), true
end

---The effort that a model is asked for: the client's, else the one that its number of tokens comes to, in a
---word that the model takes.
---@param reasoning table|nil of the common form
---@param model string|nil
---@return string|nil effort
---@return boolean|nil changed the client named another one
function openai_request.effort(reasoning, model)
  if not reasoning then return nil end
  local wanted = reasoning.effort or (reasoning.budget and common.effort(reasoning.budget))
  local effort = wanted and models.effort(model, wanted)
  return effort, reasoning.effort ~= nil and effort ~= reasoning.effort
end

-- Fields that a reasoning model refuses, unless it is told not to reason.
local SAMPLING = { "temperature", "top_p", "frequency_penalty", "presence_penalty", "logprobs",
  "top_logprobs" }

---@param out table the body
---@param effort string|nil what the model is asked for
---@param traits moongate.Traits
---@param ctx table
function openai_request.check_sampling(out, effort, traits, ctx)
  if out.temperature and out.temperature > 2 then
    out.temperature = 2
    ctx:drop("temperature")
  end
  if traits.sampling or effort == "none" then return end
  for _, name in ipairs(SAMPLING) do
    local default = (name == "temperature" or name == "top_p") and out[name] == 1
    if out[name] and not default then ctx:drop(name) end
    out[name] = nil
  end
end

---Names of the tools that a choice allows, of both shapes.
---@param tools any
---@param path string
---@return table<string, boolean>
function openai_request.allowed(tools, path)
  local names = {}
  for _, tool, at in shape.each(tools, path) do
    local fields = shape.object(tool["function"] or tool.custom, at) or tool
    local name = shape.name(fields.name, at .. ".name")
    if name then names[name] = true end
  end
  return names
end

---Leaves only the tools that are allowed: no other maker has a list beside the list.
---@param request table
---@param names table<string, boolean>
function openai_request.restrict(request, names)
  local kept = {}
  for _, tool in ipairs(request.tools or {}) do
    if names[tool.name] or tool.inner and names[tool.inner] then kept[#kept + 1] = tool end
  end
  request.tools = kept
end

return openai_request
