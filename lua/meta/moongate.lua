---@meta moongate
-- SPDX-License-Identifier: MIT
-- The module `moongate`, written in C (core/bind). For editors and for the reference in
-- policies/README.md, which is made from this file; never loaded. "Errors: raises …" is a mistake of the
-- policy: the request is then answered by the default plan.

local moongate = {}

---JSON's null, for moongate.json and `set`.
---@type lightuserdata
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

---@class moongate.Store keys and values, shared by all workers; survives reloads, not restarts
local store = {}

---The value, nil when there is none.
---Waits: no.
---Cost: about 0.4 µs.
---Errors: raises when the key is no text of at most 256 bytes.
---@param key string
---@return moongate.Value|nil
function store:get(key) end

---Sets it; nil deletes.
---Waits: no.
---Cost: about 0.5 µs.
---Errors: nil, "full" (65,536 keys); raises on a value that is no number, boolean or text of at most 4 KiB.
---@param key string
---@param value moongate.Value|nil
---@param ttl? number seconds it lasts; none = for ever
---@return true|nil done
---@return "full"|nil reason
function store:set(key, value, ttl) end

---Sets it when it is absent; of all who try at once one gets true.
---Waits: no.
---Cost: about 0.5 µs.
---Errors: nil, "full"; raises as `set` does.
---@param key string
---@param value moongate.Value
---@param ttl? number seconds
---@return boolean|nil added
---@return "full"|nil reason
function store:add(key, value, ttl) end

---Adds to a number, which begins at 0.
---Waits: no.
---Cost: about 0.5 µs.
---Errors: nil, "full" or "not a number".
---@param key string
---@param by? number 1
---@param ttl? number seconds, when the key is made
---@return number|nil result
---@return string|nil reason
function store:incr(key, by, ttl) end

---Replaces `old` (nil = absent) by `new` (nil = delete), if it is `old`.
---Waits: no.
---Cost: about 0.5 µs.
---Errors: false when it was something else; nil, "full".
---@param key string
---@param old moongate.Value|nil
---@param new moongate.Value|nil
---@param ttl? number seconds
---@return boolean|nil done
---@return "full"|nil reason
function store:cas(key, old, new, ttl) end

---Deletes a key.
---Waits: no.
---Cost: about 0.4 µs.
---Errors: none but a bad key.
---@param key string
---@return boolean deleted false when there was none
function store:del(key) end

---How long a key will last.
---Waits: no.
---Cost: about 0.3 µs.
---Errors: none but a bad key.
---@param key string
---@return number|nil seconds left; math.huge = for ever, nil = absent
function store:ttl(key) end

---@class moongate.Window a count over the last seconds, in 32 slices; shared by all workers
local window = {}

---Adds to the count; a negative number takes away.
---Waits: no.
---Cost: about 0.3 µs.
---Errors: nil, "full" (8,192 windows).
---@param n? number 1
---@return number|nil count with it
---@return "full"|nil reason
function window:add(n) end

---The count over the window's time up to now.
---Waits: no.
---Cost: about 0.3 µs.
---Errors: none; 0 when nothing was added.
---@return number
function window:count() end

---@class moongate.Bucket tokens that come at a rate; shared by all workers
local bucket = {}

---Takes tokens, all or none.
---Waits: no.
---Cost: about 0.3 µs.
---Errors: nil, "full" (8,192 buckets).
---@param n? number 1
---@return boolean|nil taken
---@return number|"full" wait seconds until there are enough; math.huge when it never holds so many
function bucket:take(n) end

---The time that only goes forward: for measuring.
---Waits: no.
---Cost: below 0.1 µs.
---Errors: none.
---@return number seconds, from some moment on
function moongate.now() end

---The time of day.
---Waits: no.
---Cost: below 0.1 µs.
---Errors: none.
---@return number seconds since the epoch
function moongate.wall() end

---A random number: from 0 up to 1, or a whole one from 1 to n.
---Waits: no.
---Cost: below 0.1 µs.
---Errors: raises while a file is loaded, and when n is not from 1 to 1e9.
---@overload fun(): number
---@param n integer
---@return integer
function moongate.random(n) end

---Writes to the error log, with the policy's file and line and the request's id.
---Waits: no.
---Cost: about 0.5 µs when the level is off, 3 µs when it is on.
---Errors: raises on another level.
---@param level "debug"|"info"|"warn"|"error"
---@param message string cut after 2,048 bytes
function moongate.log(level, message) end

---Counts. Appears in /metrics as moongate_custom_NAME_total with the route and these labels.
---Waits: no.
---Cost: about 0.7 µs, 2 µs with a label.
---Errors: raises on a name that is not of a-z, 0-9 and _, on a negative number, and on more labels than fit in 512 bytes. Beyond 4,096 series they are dropped, and counted as such.
---@param name string
---@param by? number 1
---@param labels? table<string, string>
function moongate.metric(name, by, labels) end

---A value as JSON. Lists are arrays; an empty table is an object.
---Waits: no.
---Cost: about 2 µs for five values.
---Errors: raises on functions, cycles, NaN and infinity, and above 1 MiB.
---@param value any
---@return string text
function moongate.json(value) end

---A number for a text, the same in every worker and after every restart: for drawing lots that stay.
---Waits: no.
---Cost: about 0.5 µs, and 5 ns a byte.
---Errors: raises above 64 KiB.
---@param text string
---@return integer number from 0 up to 2^48
function moongate.hash(text) end

---A writable copy of a with the fields of b over it; a field is replaced as a whole.
---Waits: no.
---Cost: about 10 µs for the settings of a route: keep the copy, or use failover.with.
---Errors: raises when nested deeper than 32.
---@param a table
---@param b table
---@return table
function moongate.merge(a, b) end

---The keys and values under a name. The object holds no more than the name: it may be made at load and kept.
---Waits: no.
---Cost: about 0.3 µs.
---Errors: raises when the name has more than 128 bytes.
---@param namespace string
---@return moongate.Store
function moongate.store(namespace) end

---The sliding window of that name.
---Waits: no.
---Cost: about 0.3 µs.
---Errors: raises on a name of more than 128 bytes and on seconds that are not above 0. Another span under the same name starts anew.
---@param namespace string
---@param key string
---@param seconds number
---@return moongate.Window
function moongate.window(namespace, key, seconds) end

---The token bucket of that name; it begins full.
---Waits: no.
---Cost: about 0.3 µs.
---Errors: raises on a name of more than 128 bytes and on numbers that are not above 0.
---@param namespace string
---@param key string
---@param rate number tokens per second
---@param burst number tokens it holds
---@return moongate.Bucket
function moongate.bucket(namespace, key, rate, burst) end

---What is known of a target, or whether a key ("provider#key") is suspended; a target is, too, while all keys of its provider are. A moment's view: a new table each time.
---Waits: no.
---Cost: about 1 µs.
---Errors: raises when there is no such provider or key.
---@param target string full name
---@return moongate.Health
function moongate.health(target) end

---Of the facts what most decisions need, without making a table.
---Waits: no.
---Cost: about 0.3 µs.
---Errors: raises when there is no such provider or key.
---@param target string full name, or "provider#key"
---@return number seconds until it may be used: 0 = now, math.huge = its provider is down
---@return number up_since when a health probe last found the provider up again, 0 = never
function moongate.usable_in(target) end

---Leaves a target alone, in all workers; the later deadline wins. The whole quota group of the provider, unless options.group is false.
---Waits: no.
---Cost: about 0.6 µs.
---Errors: raises while a file is loaded, and when there is no such provider or key.
---@param target string full name, or "provider#key": one key of a provider that has several
---@param seconds number
---@param reason? string shown to admins
---@param options? { group: boolean }
---@return number seconds now suspended for
function moongate.suspend(target, seconds, reason, options) end

---Ends the suspension of a target and of its quota group.
---Waits: no.
---Cost: about 0.3 µs.
---Errors: as `suspend`.
---@param target string full name, or "provider#key"
function moongate.resume(target) end

---Splits a target at its first slash, and names the keys of its provider.
---Waits: no.
---Cost: about 0.2 µs; with several keys 0.5 µs.
---Errors: raises above 500 bytes.
---@param target string
---@return string provider
---@return string|nil model
---@return string[]|nil keys the names of its api_keys in their order; nil when it has one key or none
function moongate.provider(target) end

return moongate
