-- SPDX-License-Identifier: MIT
-- The failover loop: tries targets in order, retries, moves on, remembers who failed. Everything that
-- decides is in the modules it composes; this file is the one place where a request is sent more than
-- once. Uses plan (settings made ready), order, availability, breaker, retry, trigger. Holds no state
-- between requests: that is in the store and in the targets' facts.

local moongate = require "moongate"
local availability = require "moongate.availability"
local definition = require "moongate.failover_settings"
local keys = require "moongate.keys"
local notes = require "moongate.notes"
local order = require "moongate.order"
local plans = require "moongate.plan"
local retry = require "moongate.retry"
local trigger = require "moongate.trigger"

local failover = {}

---The schema, for a policy's `settings`.
failover.settings = definition.fields
---What the schema cannot say, for a policy's `check`.
failover.check = definition.check

local UNKNOWN_RECOVERY = 5 -- seconds to tell a client when nobody knows
local ALONE = { group = false }
local MAX_ATTEMPTS = 32   -- of a request, keys that were tried in vain included; as in core/base/limits.h

-- Failures of the target. The others are of the request (or of a policy): they may move it on, but say
-- nothing about the next request.
local BLAME = { backend = true, rate_limit = true, credential = true, model = true }

-- Of these classes, what nothing was sent for.
local BLAMELESS = { queue_full = true, suspended = true, unsupported = true }

local ACTIONS = { ["return"] = true, retry = true, next = true }

-- A passed-through key is the client's own: what is refused to it is no fault of the target's.
local function own_key(attempt)
  return attempt.passthrough and (attempt.class == "credential" or attempt.class == "rate_limit")
end

local function blames(attempt)
  local outcome = attempt.outcome
  return BLAME[attempt.class] and not BLAMELESS[outcome] and not own_key(attempt)
end

-- Tells the breaker how a request fared on a target; nil = it says nothing about it.
local function record(run, name, good, mode)
  local breaker = run.plan.breaker
  if not breaker then return end
  local change = breaker:record(name, good, mode, run.req.id)
  if run.explaining then notes.breaker(run, name, change) end
end

-- The pool that the key of an attempt is of; nil when its provider has none.
local function pool_of(run, attempt)
  return attempt.api_key and run.plan.keys:pool(attempt.target)
end

-- Was it the key's failure, not the target's? Not when all keys of the pool failed.
local function spared(run, attempt, failed)
  local pool = pool_of(run, attempt)
  return pool and pool:spares(attempt, failed)
end

-- Suspends the key that was refused, by itself.
local function refuse_key(run, pool, attempt)
  local left = pool:refused(attempt)
  if left and run.explaining then
    notes.suspended_key(run, pool.provider .. "#" .. attempt.api_key, left, attempt)
  end
end

-- Tells breaker and suspensions how a request's tries on one target ended. `failed`: by keys of its pool.
local function settle(run, name, attempt, mode, failed)
  local plan, good = run.plan, nil
  if attempt.ok then
    good = true
  elseif blames(attempt) and trigger.matches(plan.trigger, attempt) and not spared(run, attempt, failed) then
    good = false
  end
  record(run, name, good, mode)
  if good == false and plan.suspend > 0 then
    local seconds = retry.suspension(plan.settings, attempt)
    local left = moongate.suspend(name, seconds, attempt.outcome,
      attempt.class ~= "rate_limit" and ALONE or nil)
    if run.explaining then notes.suspended(run, name, seconds, left, attempt) end
  end
end

-- Keeps what may be handed over when nothing works. A credential failure only when there is nothing
-- else: a client would take it for a fault of its own key. Nor a target that could not be asked: what the
-- others said is more to the point.
local function note(run, attempt)
  if attempt.outcome == "unsupported" then
    run.unsupported = run.unsupported or attempt
  elseif attempt.class == "credential" and not attempt.passthrough then
    run.refused = run.refused or attempt
  else
    run.first = run.first or attempt
    run.last = attempt
  end
end

-- May a failure without an answer be followed by another attempt? The provider may have worked on it.
local function may_resend(plan, attempt)
  return plan.replay or attempt.sent ~= "all" or attempt.status ~= 0
end

local function is_stale(plan, attempt)
  return attempt.outcome == "stale_connection" and (plan.replay or attempt.sent == "nothing")
end

-- Another try on the same target: how long to wait for it, or nil.
local function retry_wait(run, entry, attempt, tries)
  local plan = run.plan
  local matched, wait, granted = trigger.matches(plan.retry_on, attempt), nil, true
  if matched and tries.retries < entry.retries and run.left >= 1 then
    wait = retry.wait(plan.settings, attempt, tries.retries + 1, run.req.remaining)
    granted = not (wait and plan.budget) or plan.budget:take()
    if wait and granted then return wait end
  end
  if run.explaining then notes.no_retry(run, entry, attempt, tries, matched, wait) end
end

-- A failure that is its key's: true when the next key of the pool is to be tried, at once and beyond all
-- counts but that of a request's attempts. When no key is left, tries.best is what there is to tell.
local function next_key(run, attempt, tries)
  local pool = pool_of(run, attempt)
  if not pool or not pool:covers(attempt) then return false end
  tries.failed = tries.failed or {}
  tries.failed[attempt.api_key] = attempt
  refuse_key(run, pool, attempt)
  local room = run.sends < MAX_ATTEMPTS and run.req.remaining > 0
  tries.key = room and pool:next(attempt, tries.failed, run.force) or nil
  if run.explaining then notes.key(run, pool, attempt, tries.key) end
  if tries.key then
    run.left = math.min(run.left + 1, MAX_ATTEMPTS - run.sends)
    return true
  end
  tries.best = keys.best(tries.failed)
  return false
end

-- What the settings want done about an attempt: "return", "retry" (after seconds), "next", "context".
local function decide(run, entry, attempt, tries)
  local plan = run.plan
  if attempt.ok or not attempt.class then return "return" end
  if plan.slow_failure and tries.took > plan.slow_failure then
    if run.explaining then notes.slow(run, tries) end
    return "return"
  end
  if not tries.freshened and run.left > 0 and is_stale(plan, attempt) then
    tries.freshened, tries.fresh = true, true
    if run.explaining then notes.stale(run) end
    return "retry", 0
  end
  if not may_resend(plan, attempt) then
    if run.explaining then notes.no_replay(run, attempt) end
    return "return"
  end
  if next_key(run, attempt, tries) then return "retry", 0 end
  attempt = tries.best or attempt
  local wait = retry_wait(run, entry, attempt, tries)
  if wait then
    tries.retries = tries.retries + 1
    if run.explaining then notes.retry(run, entry, attempt, tries, wait) end
    return "retry", wait
  end
  local action = trigger.matches(plan.trigger, attempt) and "next" or "return"
  if attempt.class == "context" and plan.context and not run.no_context then action = "context" end
  if run.explaining then notes.trigger(run, attempt, action) end
  return action
end

-- Lets a policy's own function change what is done. Anything but an action is the handler's answer.
local function ask(run, entry, attempt, tries, action, wait)
  local was_ok = attempt.ok
  local wanted = run.on_result(run.req, attempt, action == "context" and "next" or action)
  if wanted == nil then
    if attempt.ok == was_ok then return action, wait end
    return decide(run, entry, attempt, tries)
  end
  if type(wanted) ~= "string" then return "answer", wanted end
  if not ACTIONS[wanted] then
    error(('on_result returned "%s", expected "return", "retry" or "next"'):format(wanted), 2)
  end
  if wanted == "next" and action == "context" then return "context" end
  if wanted == "retry" and action ~= "retry" then
    if run.left < 1 then return "next" end
    tries.retries = tries.retries + 1
    wait = retry.backoff(run.plan.settings.backoff, tries.retries)
    if wait >= run.req.remaining then return "next" end
  end
  return wanted, wait
end

-- The options of an entry for a key, or for the key that it begins with.
local function options_for(run, entry, key)
  if not key and run.plan.rotates then
    local pool = run.plan.keys:pool(entry.target)
    key = pool and pool:first()
  end
  return key and plans.keyed(run.plan, entry, key) or entry.options
end

local function send(run, entry, fresh, key)
  local options = options_for(run, entry, key)
  if run.force then
    options = fresh and options.forced_fresh or options.forced
  else
    options = fresh and options.fresh or options.usual
  end
  run.left, run.sends = run.left - 1, run.sends + 1
  local req = run.req
  return req:send(entry.target, req.stream and options.stream or options.plain)
end

-- The attempts of a race that did not win. One that failed says what it says; one that was cancelled
-- says nothing, and gives a probe's turn back.
local function settle_others(run, made, from, winner, name, mode, beside)
  for i = from, #made do
    local other = made[i]
    local is_first = other.target == name
    if not is_first then run.hedged = beside.name end
    if other ~= winner then
      if other.class then
        run.tried = true
        note(run, other)
        local pool = pool_of(run, other)
        if pool then refuse_key(run, pool, other) end
      end
      settle(run, is_first and name or beside.name, other, is_first and mode or "closed")
    end
  end
end

-- Sends to an entry, and to the one beside it when the first is slow (hooks.hedge).
local function send_both(run, entry, name, mode, beside)
  local req = run.req
  local kind = req.stream and "stream" or "plain"
  local before = #req.attempts
  if run.explaining then notes.hedge(run, beside.name) end
  local attempt = req:race({ { entry.target, options_for(run, entry).usual[kind] },
    { beside.entry.target, options_for(run, beside.entry).usual[kind] } }, run.hedge)
  local made = req.attempts
  local n = math.max(1, #made - before)
  run.left, run.sends = run.left - n, run.sends + n
  settle_others(run, made, before + 1, attempt, name, mode, beside)
  beside.won = attempt.target == beside.name
  return attempt
end

-- Waits before a retry; a probe keeps its turn meanwhile and for the try that follows.
local function pause(run, name, mode, wait)
  local plan = run.plan
  if mode == "probe" then
    plan.breaker:hold(name, run.req.id, math.min(run.req.remaining, wait + plan.try_time) + 1)
  end
  if wait > 0 then run.req:sleep(wait) end
end

-- Another request had the target suspended in the meantime; `failed` is what this one got before.
local function overtaken(run, name, mode, failed)
  if run.explaining then notes.overtaken(run, name) end
  if failed then
    settle(run, name, failed, mode)
    return trigger.matches(run.plan.trigger, failed) and "next" or "return", failed
  end
  record(run, name, nil, mode)
  return "suspended"
end

-- All tries of this request on one target. Returns what to do next, the last attempt, and an answer.
-- `beside`: the target to race it with in its first try; when that wins it takes its place.
-- `made`: its first try, where that was made already.
local function try(run, entry, name, mode, beside, made)
  local tries, failed
  while true do
    local began = run.plan.slow_failure and moongate.now()
    local attempt
    if made then
      attempt, made = made, nil
    elseif beside then
      attempt = send_both(run, entry, name, mode, beside)
      if beside.won then entry, name, mode = beside.entry, beside.name, "closed" end
      beside = nil
    else
      attempt = send(run, entry, tries and tries.fresh, tries and tries.key)
    end
    if attempt.ok and not run.on_result then
      record(run, name, true, mode)
      return "return", attempt
    end
    tries = tries or { retries = 0, freshened = false, fresh = false, took = 0 }
    if attempt.outcome == "suspended" then
      run.left, run.sends = run.left + 1, run.sends - 1
      return overtaken(run, name, mode, failed)
    end
    if began then tries.took = moongate.now() - began end
    tries.fresh, tries.key, tries.best, run.tried = false, nil, nil, true
    local action, detail = decide(run, entry, attempt, tries)
    if run.on_result then
      local usual = action
      action, detail = ask(run, entry, attempt, tries, action, detail)
      if run.explaining then notes.on_result(run, action, usual) end
    end
    local other_key = tries.key
    attempt = tries.best or attempt
    if (not attempt.ok or action ~= "return") and not other_key then note(run, attempt) end
    if action ~= "retry" then
      settle(run, name, attempt, mode, tries.failed)
      return action, attempt, detail
    end
    failed, tries.key = attempt, other_key or attempt.api_key
    pause(run, name, mode, detail or 0)
  end
end

local function skip(run, wait)
  if wait < run.soonest then run.soonest = wait end
end

-- Is this target to be tried now? Returns its full name and how it passes, or nil.
local function enter(run, entry)
  local req, breaker = run.req, run.plan.breaker
  local name = entry.name or req:name(entry.target)
  if name == run.avoid or name == run.hedged then
    if run.explaining then notes.avoided(run, name, name == run.hedged) end
    return nil
  end
  if run.usable and not run.usable(req, name) then
    if run.explaining then notes.passed_over(run, name) end
    skip(run, UNKNOWN_RECOVERY)
    return nil
  end
  if run.force then return name, "forced" end
  local wait, up_since = availability.wait(name, breaker)
  local mode = "closed"
  if wait <= 0 and breaker then
    local hold = math.min(req.remaining, run.plan.try_time) + 1
    mode, wait = breaker:enter(name, up_since, req.id, hold)
  end
  if mode and (wait or 0) <= 0 then
    if run.explaining and mode == "probe" then notes.probe(run, name) end
    return name, mode
  end
  if run.explaining then notes.skip(run, name, wait, up_since) end
  skip(run, wait or UNKNOWN_RECOVERY)
end

-- The target that stands for an entry: itself, or the first member of a group that may be tried.
local function choose(run, entry)
  local ring = entry.ring
  if not ring then return entry, enter(run, entry) end
  local members = order.list(ring, run.req, run.session)
  if run.explaining then notes.group(run, ring, members) end
  for _, member in ipairs(members) do
    local name, mode = enter(run, member)
    if name then return member, name, mode end
  end
end

-- May there be another attempt after one that failed?
local function may_go_on(run)
  if not run.tried or (run.left > 0 and run.req.remaining > 0) then return true end
  if run.explaining then notes.at_end(run) end
  return false
end

local function over_budget(run, name, mode)
  local budget = run.plan.budget
  if not run.tried or not budget or budget:take() then return false end
  record(run, name, nil, mode)
  if run.explaining then notes.over_budget(run, name) end
  return true
end

-- The target that the one of entry i is hedged with: the next that anybody may try. Nobody probes here.
local function next_to(run, name, entries, i, n)
  if not run.hedge or run.tried or run.force or run.left < 2 then return nil end
  for at = i + 1, n do
    local target, other, mode = choose(run, entries[at])
    if mode == "probe" then record(run, other, nil, mode) end
    if other and other ~= name and mode == "closed" then
      return { entry = target, name = other, at = at }
    end
  end
end

local function served(run, entry, target)
  if run.ring then order.served(run.ring, run.req, entry, run.session) end
  if entry.ring then order.served(entry.ring, run.req, target, run.session) end
end

local walk

-- Entry i of n. Returns true and the answer when the request is done, false when it may go on, nil when
-- it may not. `made`: the attempt at the first entry that at_once has made.
local function step(run, entries, i, n, made)
  if not may_go_on(run) then return nil end
  local entry = entries[i]
  local target, name, mode, beside
  if made then
    target, name, mode = entry, entry.name, "closed"
  else
    target, name, mode = choose(run, entry)
    if not name then return false end
    if over_budget(run, name, mode) then return nil end
    beside = next_to(run, name, entries, i, n)
  end
  local action, attempt, answer = try(run, target, name, mode, beside, made)
  if action == "return" then
    if beside and beside.won then entry, target = entries[beside.at], beside.entry end
    if attempt.ok then served(run, entry, target) end
    return true, attempt
  elseif action == "answer" then
    return true, answer
  elseif action == "suspended" then
    skip(run, moongate.health(name).suspended_for)
  elseif action == "context" then
    run.no_context, run.ring, run.avoid = true, nil, name
    local done, result = walk(run, run.plan.context, #run.plan.context)
    if done then return true, result end
    return nil
  end
  return false
end

-- Steps through the first n entries. Returns true and the answer when the request is done.
function walk(run, entries, n, made)
  for i = 1, n do
    local done, result = step(run, entries, i, n, made)
    if done then return true, result end
    if done == nil then return false end
    made = nil
  end
  return false
end

-- What most requests are: the first target of a list may be tried, and answers. It is what the walk would
-- do first, without what the walk needs to go on; nil when the first target is not to be tried now.
local function at_once(req, entry)
  if moongate.usable_in(entry.name) > 0 then return nil end
  local options = entry.options.usual
  return req:send(entry.target, req.stream and options.stream or options.plain)
end

local function unavailable(run)
  local seconds = run.soonest
  if seconds == math.huge or seconds <= 0 then seconds = UNKNOWN_RECOVERY end
  if run.explaining then notes.unavailable(run, seconds) end
  return run.req:unavailable(seconds, "every target of this route is suspended at the moment")
end

local function exhausted(run)
  local how = run.plan.when_exhausted
  if run.explaining then notes.exhausted(run) end
  if how == "unavailable" then
    return run.req:fail(502, "all_targets_failed", "every target of this route failed")
  end
  if how == "first_error" then return run.first or run.unsupported or run.refused end
  return run.last or run.unsupported or run.refused
end

-- Failover is switched off: the first target whatever its state, once. A connection that turned out to
-- be closed is replaced, as any proxy would.
local function first_once(run)
  local entry = run.plan.entries[1]
  if run.explaining then notes.disabled(run) end
  if entry.ring then entry = order.list(entry.ring, run.req)[1] end
  run.force = true
  local attempt = send(run, entry, false)
  if is_stale(run.plan, attempt) then attempt = send(run, entry, true, attempt.api_key) end
  return attempt
end

local function opted_out(run)
  local header = run.plan.opt_out_header
  return header and run.req:header(header) ~= nil
end

local function listed(run, hooks)
  local plan, req = run.plan, run.req
  if not (hooks and hooks.order) then
    run.ring = plan.ring
    return order.list(plan.ring, req, run.session)
  end
  local targets = {}
  for i, entry in ipairs(plan.entries) do targets[i] = entry.raw end
  local wanted = hooks.order(req, targets)
  if type(wanted) ~= "table" or wanted[1] == nil then
    error(("order returned %s, expected a list of targets"):format(type(wanted)), 2)
  end
  return plans.resolve(plan, wanted)
end

---Serves a request by the settings: what a policy's `handle` returns.
---Waits: yes, as its attempts and back-offs do.
---Cost: about 3 µs when the first target answers.
---Errors: raises on settings that would not pass the check, and on what hooks return that is none of their words.
---@param req moongate.Request
---@param settings table settings of the stock policy, or a copy of them; not to be changed afterwards
---@param hooks? moongate.FailoverHooks
---@return moongate.Attempt|moongate.Response
function failover.run(req, settings, hooks)
  local plan = plans.of(settings, req.environment)
  if plan.deadline then req:deadline(plan.deadline) end
  local explaining, made = req.explaining, nil
  if plan.first and not hooks and not explaining then
    made = at_once(req, plan.first)
    if made and made.ok then return made end
  end
  local run = {
    req = req, plan = plan, left = plan.max_attempts - (made and 1 or 0), sends = made and 1 or 0,
    tried = false, force = false,
    soonest = math.huge, explaining = explaining,
  }
  if hooks then
    run.on_result, run.usable, run.hedge = hooks.on_result, hooks.usable, hooks.hedge
    run.session = hooks.session and hooks.session(req)
  end
  if not plan.enabled then return first_once(run) end
  if plan.budget then plan.budget:request() end
  local entries = listed(run, hooks)
  local n = #entries
  if opted_out(run) then
    n, run.no_context = 1, true
    if run.explaining then notes.opted_out(run) end
  end
  if run.explaining then notes.order(run, entries, n, run.ring == nil) end
  local done, result = walk(run, entries, n, made)
  if done then return result end
  if not run.tried and plan.when_suspended == "try_anyway" then
    run.force = true
    if run.explaining then notes.try_anyway(run) end
    done, result = walk(run, entries, n)
    if done then return result end
  end
  if run.tried then return exhausted(run) end
  return unavailable(run)
end

---Makes ready what the first request would have to, for a policy's `prepare`.
---@param settings table
function failover.prepare(settings)
  plans.of(settings)
  plans.of(settings, "sandbox")
end

---A copy of settings with some changed, made once for the same two tables: cheap enough for every
---request when `changes` is a constant.
---Waits: no.
---Cost: about 0.5 µs; the first time as moongate.merge.
---Errors: raises on settings that would not pass the check.
---@param settings table
---@param changes table
---@return table
function failover.with(settings, changes)
  return plans.variant(settings, changes)
end

---The settings without those that a policy has added to the schema: what `run` and `with` take. The same
---copy for the same table.
---Waits: no.
---Cost: about 0.3 µs; the first time 10 µs.
---Errors: none.
---@param settings table
---@return table
function failover.base(settings)
  return plans.base(settings)
end

return failover
