---@meta moongate
-- SPDX-License-Identifier: MIT
-- The module `moongate`, written in C (core/bind). For editors; never loaded.

local moongate = {}

---JSON's null, for moongate.json and `set`.
moongate.null = nil

---@alias moongate.Value number|boolean|string

---@class moongate.Health facts on a target
---@field suspended_for number seconds; 0 = not suspended
---@field reason string|nil
---@field up boolean the probes' verdict; true before the first
---@field up_since number monotonic seconds of the last verdict that turned it up; 0 = never
---@field inflight integer
---@field ewma_first_token number seconds; 0 = not known
---@field ewma_total number seconds; 0 = not known
---@field successes integer last 30 s
---@field failures integer last 30 s
---@field streak integer failures in a row

---@class moongate.Store shared by all workers, survives reloads
local store = {}
---@param key string
---@return moongate.Value|nil
function store:get(key) end
---@param key string
---@param value moongate.Value
---@param ttl? number seconds
---@return true|nil done
---@return "full"|nil reason
function store:set(key, value, ttl) end
---Only when absent.
---@param key string
---@param value moongate.Value
---@param ttl? number seconds
---@return boolean|nil added
---@return "full"|nil reason
function store:add(key, value, ttl) end
---@param key string
---@param by? number 1
---@param ttl? number seconds, when the key is made
---@return number|nil result
---@return string|nil reason
function store:incr(key, by, ttl) end
---Replaces `old` (nil = absent) by `new` (nil = delete).
---@param key string
---@param old moongate.Value|nil
---@param new moongate.Value|nil
---@param ttl? number seconds
---@return boolean|nil done
---@return "full"|nil reason
function store:cas(key, old, new, ttl) end
---@param key string
---@return boolean deleted
function store:del(key) end
---@param key string
---@return number|nil seconds left; math.huge = for ever, nil = absent
function store:ttl(key) end

---@class moongate.Window
local window = {}
---@param n? number 1
---@return number|nil count with it
---@return "full"|nil reason
function window:add(n) end
---@return number
function window:count() end

---@class moongate.Bucket
local bucket = {}
---@param n? number 1
---@return boolean|nil taken
---@return number|"full" wait seconds until there are enough
function bucket:take(n) end

---@return number seconds, monotonic
function moongate.now() end

---@return number seconds since the epoch
function moongate.wall() end

---@overload fun(): number
---@param n integer
---@return integer 1 to n; without n a number from 0 up to 1
function moongate.random(n) end

---@param level "debug"|"info"|"warn"|"error"
---@param message string
function moongate.log(level, message) end

---Counts. Appears in /metrics as moongate_custom_NAME_total with the route and these labels.
---@param name string a-z, 0-9 and _
---@param by? number 1
---@param labels? table<string, string>
function moongate.metric(name, by, labels) end

---@param value any
---@return string text
function moongate.json(value) end

---@param text string
---@return integer number at least 0, the same in every process
function moongate.hash(text) end

---A writable copy of a with the fields of b over it; a field is replaced as a whole.
---@param a table
---@param b table
---@return table
function moongate.merge(a, b) end

---@param namespace string
---@return moongate.Store
function moongate.store(namespace) end

---@param namespace string
---@param key string
---@param seconds number
---@return moongate.Window
function moongate.window(namespace, key, seconds) end

---@param namespace string
---@param key string
---@param rate number tokens per second
---@param burst number
---@return moongate.Bucket
function moongate.bucket(namespace, key, rate, burst) end

---@param target string full name
---@return moongate.Health
function moongate.health(target) end

---Of the facts what most decisions need, without making a table.
---@param target string
---@return number seconds until it may be used: 0 = now, math.huge = its provider is down
---@return number up_since when a health probe last found the provider up again, 0 = never
function moongate.usable_in(target) end

---The later deadline wins. The whole quota group of the provider, unless options.group is false.
---@param target string full name
---@param seconds number
---@param reason? string
---@param options? { group: boolean }
---@return number seconds now suspended for
function moongate.suspend(target, seconds, reason, options) end

---@param target string full name
function moongate.resume(target) end

---@param target string
---@return string provider
---@return string|nil model
function moongate.provider(target) end

return moongate
