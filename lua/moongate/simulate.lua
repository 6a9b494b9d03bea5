-- SPDX-License-Identifier: MIT
-- Plays a scenario (a stretch of traffic with outages in it) against several policies and compares what
-- came of each. Every policy sees the same requests at the same moments, and providers whose every call
-- is drawn from the same seed. Returns function(args) → exit status. Arguments: "--scenario", file;
-- "--policy", name (any number); "--json"; "--progress".

local core = require "moongate.sim_core"
local json = require "moongate.sim_json"
local play = require "moongate.simulate_play"
local scenario = require "moongate.simulate_scenario"

local PROGRESS = 0.2 -- seconds between two lines of progress

local function options_of(args)
  local options, i = { policies = {} }, 1
  while args[i] do
    local name = args[i]
    if name == "--policy" then
      options.policies[#options.policies + 1], i = args[i + 1], i + 1
    elseif name == "--scenario" then
      options.scenario, i = args[i + 1], i + 1
    else
      options[name:sub(3)] = true
    end
    i = i + 1
  end
  return options
end

-- Shows how far a policy has come, on a terminal.
local function progress_of(options, name, duration, began)
  if not options.progress then return function() end end
  local next_at = 0
  return function(at)
    local now = core.now()
    if now < next_at then return end
    next_at = now + PROGRESS
    core.progress(("\r%s: %3.0f %% (%.0f s)"):format(name, 100 * at / duration, now - began))
  end
end

local COLUMNS = {
  { "policy", "%s", "name" }, { "requests", "%d", "requests" }, { "success", "%.3f %%", "success", 100 },
  { "p50 first token", "%.2f s", "p50" }, { "p99", "%.2f s", "p99" },
  { "attempts", "%.3f", "attempts" }, { "cost", "$%.2f", "cost" }, { "of it wasted", "$%.2f", "wasted" },
}

local function cell(column, row)
  local value = row[column[3]]
  if value == nil then return "-" end
  return column[2]:format(column[4] and value * column[4] or value)
end

local function table_text(rows)
  local lines, widths = { {} }, {}
  for i, column in ipairs(COLUMNS) do lines[1][i] = column[1] end
  for r, row in ipairs(rows) do
    lines[r + 1] = {}
    for i, column in ipairs(COLUMNS) do lines[r + 1][i] = cell(column, row) end
  end
  for i = 1, #COLUMNS do
    widths[i] = 0
    for _, line in ipairs(lines) do widths[i] = math.max(widths[i], #line[i]) end
  end
  local out = {}
  for r, line in ipairs(lines) do
    local cells = {}
    for i, text in ipairs(line) do
      local pad = (" "):rep(widths[i] - #text)
      cells[i] = i == 1 and text .. pad or pad .. text
    end
    out[r] = table.concat(cells, "  ") .. "\n"
  end
  return table.concat(out)
end

---@param args string[]
---@return integer status
return function(args)
  local options = options_of(args)
  local plan = scenario.of(core.load(options.scenario)(), options.scenario)
  local rows, began = {}, core.now()
  for _, candidate in ipairs(plan:candidates(options.policies)) do
    local row = play(plan, candidate, progress_of(options, candidate.name, plan.duration, core.now()))
    row.name = candidate.name
    rows[#rows + 1] = row
  end
  if options.progress then core.progress("\r\027[K") end
  if options.json then
    core.print(json.encode { scenario = options.scenario, seed = plan.seed, policies = rows } .. "\n")
  else
    core.print(("%s: %s of traffic, seed %d\n\n"):format(options.scenario, plan:length(), plan.seed))
    core.print(table_text(rows))
    core.print(("\nSimulated in %.1f s.\n"):format(core.now() - began))
  end
  return 0
end
