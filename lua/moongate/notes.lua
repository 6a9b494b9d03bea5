-- SPDX-License-Identifier: MIT
-- What the failover loop says about its decisions, for `moongate explain` and the debug log: each
-- function writes one note about a run of moongate.failover. Called only while somebody listens
-- (`req.explaining`), so nothing here has to be cheap, and nothing here decides.

local moongate = require "moongate"
local retry = require "moongate.retry"

local notes = {}

local function seconds(n)
  if n == math.huge then return "an unknown time" end
  return ("%.3g s"):format(n)
end

local LONGEST = 200 -- bytes of a note

local function write(run, format, ...)
  local text = format:format(...)
  if #text > LONGEST then text = text:sub(1, LONGEST - 3) .. "..." end
  run.req:note(text)
end

local function item_text(item)
  return type(item) == "string" and '"' .. item .. '"' or ("%s"):format(item)
end

-- A trigger as it is written in the settings.
local function trigger_text(spec)
  if type(spec) ~= "table" then return item_text(spec) end
  local items = {}
  for i, item in ipairs(spec) do items[i] = item_text(item) end
  return "{ " .. table.concat(items, ", ") .. " }"
end

local function failure(attempt)
  if attempt.status ~= 0 then return ("%s %d"):format(attempt.outcome, attempt.status) end
  return attempt.outcome
end

local function name_of(run, entry)
  if not entry.ring then return entry.name or run.req:name(entry.target) end
  local names = {}
  for i, member in ipairs(entry.ring.entries) do names[i] = name_of(run, member) end
  return "(" .. table.concat(names, ", ") .. ")"
end

---The targets in the order in which they will be tried.
function notes.order(run, entries, n, hooked)
  local names = {}
  for i = 1, n do names[i] = name_of(run, entries[i]) end
  write(run, "order (%s): %s", hooked and "the policy's own" or run.plan.ring.kind, table.concat(names, ", "))
end

---The order inside a group.
function notes.group(run, ring, members)
  local names = {}
  for i, member in ipairs(members) do names[i] = name_of(run, member) end
  write(run, "in the group (%s): %s", ring.kind, table.concat(names, ", "))
end

function notes.disabled(run)
  write(run, "failover is switched off (enabled = false): the first target, once")
end

function notes.opted_out(run)
  write(run, "the client sent %s: only the first target", run.plan.opt_out_header)
end

---A target that is passed over.
function notes.skip(run, name, wait, up_since)
  local facts, breaker = moongate.health(name), run.plan.breaker
  if not facts.up then return write(run, "skip %s: its provider is down", name) end
  if facts.suspended_for > 0 then
    return write(run, "skip %s: suspended for another %s (%s)", name, seconds(facts.suspended_for),
      facts.reason or "no reason given")
  end
  local left, state
  if breaker then left, state = breaker:wait(name, up_since) end
  if state == "open" then return write(run, "skip %s: its breaker is open for another %s", name, seconds(left)) end
  if state == "half_open" then return write(run, "skip %s: its breaker lets one request try it, not this one", name) end
  write(run, "skip %s: not before %s have passed", name, seconds(wait))
end

---A target that the prompt was too long for, or that was raced before.
function notes.avoided(run, name, hedged)
  write(run, "skip %s: %s", name, hedged and "it was asked beside the first" or "the prompt was too long for it")
end

function notes.passed_over(run, name)
  write(run, "skip %s: the policy passes it over", name)
end

function notes.hedge(run, name)
  write(run, "should it show nothing for %s, %s is asked beside it", seconds(run.hedge.delay or 0.5), name)
end

function notes.probe(run, name)
  write(run, "the breaker of %s lets this request try it", name)
end

function notes.over_budget(run, name)
  write(run, "%s is not tried: the retry budget is used up", name)
end

---Why there is no further attempt although targets are left.
function notes.at_end(run)
  if run.left <= 0 then
    write(run, "no further attempt: max_attempts = %d is reached", run.plan.max_attempts)
  else
    write(run, "no further attempt: the deadline has passed")
  end
end

function notes.slow(run, tries)
  write(run, "returned: it failed after %s, later than slow_failure = %s", seconds(tries.took),
    seconds(run.plan.slow_failure))
end

function notes.stale(run)
  write(run, "again at once over a new connection: the idle one had been closed")
end

function notes.no_replay(run, attempt)
  write(run, "returned: %s after all of the request was sent, and replay = false", attempt.outcome)
end

function notes.retry(run, entry, attempt, tries, wait)
  local hint = retry.hint(run.plan.settings.retry_after, attempt)
  write(run, "retry %d of %d on the same target in %s (%s)", tries.retries, entry.retries, seconds(wait),
    hint and "the provider's hint" or "back-off")
end

---Why the same target is not tried again, when it might have been.
function notes.no_retry(run, entry, attempt, tries, matched, wait)
  local settings, remaining = run.plan.settings, run.req.remaining
  local hint = retry.hint(settings.retry_after, attempt)
  if entry.retries == 0 then return end
  if not matched then
    write(run, "no retry: retry_on = %s does not cover %s", trigger_text(settings.retry_on), failure(attempt))
  elseif tries.retries >= entry.retries then
    write(run, "no retry: %d of %d are used", tries.retries, entry.retries)
  elseif run.left < 1 then
    write(run, "no retry: max_attempts = %d is reached", run.plan.max_attempts)
  elseif wait then
    write(run, "no retry: the retry budget is used up")
  elseif hint and hint > settings.retry_after.max then
    write(run, "no retry: the provider's hint of %s is beyond retry_after.max = %s", seconds(hint),
      seconds(settings.retry_after.max))
  else
    write(run, "no retry: the wait would go beyond the deadline, %s from now", seconds(remaining))
  end
end

---What the trigger makes of a failure.
function notes.trigger(run, attempt, action)
  local spec = trigger_text(run.plan.settings.trigger)
  if action == "context" then
    write(run, "%s: on to context_targets", failure(attempt))
  elseif action == "next" then
    write(run, "%s: trigger = %s moves on", failure(attempt), spec)
  else
    write(run, "%s: trigger = %s does not cover it, so it is returned", failure(attempt), spec)
  end
end

function notes.on_result(run, action, before)
  if action ~= before then write(run, 'on_result makes it "%s" instead of "%s"', action, before) end
end

function notes.suspended(run, name, wanted, left, attempt)
  local hint = retry.hint(run.plan.settings.retry_after, attempt)
  local why = hint and hint > run.plan.suspend and wanted == left and "the provider's hint" or attempt.outcome
  write(run, "%s is suspended for %s (%s)", name, seconds(left), why)
end

---A key that is left alone.
function notes.suspended_key(run, label, left, attempt)
  local hint = attempt.outcome == "rate_limited" and retry.hint(run.plan.settings.retry_after, attempt)
  write(run, "key %s is suspended for %s (%s)", label, seconds(left), hint and "the provider's hint" or attempt.outcome)
end

---What follows a failure that is its key's.
function notes.key(run, pool, attempt, key)
  write(run, "%s with key %s of %s: %s", failure(attempt), attempt.api_key, pool.provider,
    key and "on to key " .. key or "no other key is left")
end

---What a result did to the breaker, as breaker:record says.
function notes.breaker(run, name, change)
  if change then write(run, "the breaker of %s %s", name, change) end
end

function notes.overtaken(run, name)
  write(run, "%s was suspended by another request meanwhile", name)
end

function notes.try_anyway(run)
  write(run, 'nothing could be tried: when_suspended = "try_anyway" tries all')
end

function notes.unavailable(run, wait)
  write(run, "nothing can be tried: the gateway answers 503, Retry-After %s", seconds(wait))
end

function notes.exhausted(run)
  write(run, 'nothing is left to try: when_exhausted = "%s"', run.plan.when_exhausted)
end

return notes
