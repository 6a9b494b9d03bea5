-- SPDX-License-Identifier: MIT
-- The configuration of a world: the text of a gateway.lua, made from what a test names, so that it goes
-- through the same reading and the same checks as any other. Pure functions.

local reply = require "moongate.sim_reply"

local config = {}

local WORDS = {
  ["and"] = true, ["break"] = true, ["do"] = true, ["else"] = true, ["elseif"] = true, ["end"] = true,
  ["false"] = true, ["for"] = true, ["function"] = true, ["goto"] = true, ["if"] = true, ["in"] = true,
  ["local"] = true, ["nil"] = true, ["not"] = true, ["or"] = true, ["repeat"] = true, ["return"] = true,
  ["then"] = true, ["true"] = true, ["until"] = true, ["while"] = true,
}

local literal

local function key_text(key)
  if type(key) == "string" and key:find("^[%a_][%w_]*$") and not WORDS[key] then return key end
  return "[" .. literal(key, 0) .. "]"
end

-- Names in order: the same table is always the same text.
local function sorted_keys(value)
  local keys, n = {}, #value
  for key in pairs(value) do
    if not (math.type(key) == "integer" and key >= 1 and key <= n) then keys[#keys + 1] = key end
  end
  table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
  return keys
end

local function table_text(value, depth)
  if depth > 32 then error("a configuration is nested too deeply, or a table holds itself", 0) end
  local pad, out = ("  "):rep(depth + 1), {}
  for i = 1, #value do out[#out + 1] = pad .. literal(value[i], depth + 1) .. ",\n" end
  for _, key in ipairs(sorted_keys(value)) do
    out[#out + 1] = ("%s%s = %s,\n"):format(pad, key_text(key), literal(value[key], depth + 1))
  end
  if #out == 0 then return "{}" end
  return "{\n" .. table.concat(out) .. ("  "):rep(depth) .. "}"
end

-- A value as Lua source.
function literal(value, depth)
  local kind = type(value)
  if kind == "table" then return table_text(value, depth) end
  if kind == "string" then return '"' .. value:gsub('[%c"\\]', function(c)
    return ("\\%03d"):format(c:byte())
  end) .. '"' end
  if kind == "number" then
    if math.type(value) == "integer" then return ("%d"):format(value) end
    if value == math.huge then return "math.huge" end
    return ("%.17g"):format(value)
  end
  if kind == "boolean" then return tostring(value) end
  error(("a %s cannot stand in a configuration"):format(kind), 0)
end

-- What a provider's script says about itself, not about its replies.
local SHORT = { group = "quota_group" }

local function provider_of(name, script)
  local out = { dialect = "openai", base_url = ("http://%s.sim/v1"):format(name), api_key = "sk-sim-" .. name }
  if type(script) ~= "table" then return out end
  local alone = reply.alone(script) or {}
  if script.api_keys then out.api_key = nil end
  for key, value in pairs(script) do
    if key == "passthrough" then
      if value then out.auth, out.api_key = "passthrough", nil end
    elseif type(key) == "string" and alone[key] == nil then
      out[SHORT[key] or key] = value
    end
  end
  return out
end

local function routes_of(about, policy)
  if about.routes then return about.routes end
  return { { name = "chat", path = "/v1/*", policy = policy, settings = about.settings,
    on_error = about.on_error } }
end

---The text of a world's gateway.lua.
---@param about table what sim.world was given
---@return string
---@return table<string, string>|nil files more files of the load
function config.text(about)
  local files, policy = about.files, about.policy or "failover"
  if about.source then
    files, policy = { ["policies/simulated.lua"] = about.source }, "simulated"
    for name, text in pairs(about.files or {}) do files[name] = text end
  end
  if about.config then return about.config, files end
  local root = {
    providers = {}, routes = routes_of(about, policy), keys = about.keys, limits = about.limits,
    workers = 1,
  }
  for name, script in pairs(about.providers or {}) do root.providers[name] = provider_of(name, script) end
  return "return " .. literal(root, 0) .. "\n", files
end

return config
